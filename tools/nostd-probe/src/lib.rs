//! memtopo in a program without a standard library and without an allocator.
//!
//! Each room has one function for reading and one for writing, with a C interface, so that the compiler has to
//! make code for every view, accessor and writer and cannot know their arguments. `cargo xtask no-std` builds this
//! in two ways: as a static library, which only works when nothing below brings `std` or asks for an allocator;
//! and, optimised as a whole, as a shared library whose panic handler calls a function that does not exist, which
//! only links when no panic can be reached.

#![no_std]

mod sink;

#[cfg(feature = "anatomy")]
mod anatomy;
#[cfg(feature = "cdat")]
mod cdat;
#[cfg(feature = "cedt")]
mod cedt;
#[cfg(feature = "e820")]
mod e820;
#[cfg(feature = "efi")]
mod efi;
#[cfg(feature = "hdm")]
mod hdm;
#[cfg(feature = "hmat")]
mod hmat;
#[cfg(feature = "madt")]
mod madt;
#[cfg(feature = "msct")]
mod msct;
#[cfg(feature = "region")]
mod region;
#[cfg(feature = "root")]
mod root;
#[cfg(feature = "slit")]
mod slit;
#[cfg(feature = "srat")]
mod srat;

use core::panic::PanicInfo;

#[cfg(not(feature = "prove-no-panic"))]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    loop {
        core::hint::spin_loop();
    }
}

#[cfg(feature = "prove-no-panic")]
unsafe extern "C" {
    /// Defined nowhere.
    safe fn memtopo_panic_is_reachable() -> !;
}

#[cfg(feature = "prove-no-panic")]
#[panic_handler]
fn panic(_: &PanicInfo<'_>) -> ! {
    memtopo_panic_is_reachable()
}

#[allow(unused_macros, reason = "one room alone may need another form")]
/// Defines the two entry points of a room: `$read(&[u8], &mut Sink)` and `$write(&[u8], &mut [u8], &mut Sink)`.
macro_rules! entry_points {
    ($read_name:ident => $read:path, $write_name:ident => $write:path) => {
        /// # Safety
        /// `input` is readable for `length` bytes.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $read_name(input: *const u8, length: usize) -> u64 {
            // SAFETY: as the caller promises.
            let input = unsafe { core::slice::from_raw_parts(input, length) };
            let mut sink = $crate::sink::Sink::default();
            $read(input, &mut sink);
            sink.value()
        }

        /// # Safety
        /// `input` is readable for `length` bytes, `output` writable for `room` bytes, and they do not overlap.
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $write_name(
            input: *const u8,
            length: usize,
            output: *mut u8,
            room: usize,
        ) -> u64 {
            // SAFETY: as the caller promises.
            let (input, output) = unsafe {
                (core::slice::from_raw_parts(input, length), core::slice::from_raw_parts_mut(output, room))
            };
            let mut sink = $crate::sink::Sink::default();
            $write(input, output, &mut sink);
            sink.value()
        }
    };
}
#[allow(unused_imports, reason = "as above")]
use entry_points;
