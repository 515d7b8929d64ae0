//! CXL interleave arithmetic: which device, and which of its addresses, is behind a host address, and back.
//!
//! A region is a range of host addresses that decoders on the way to the memory spread over devices: the root
//! decoder (a window of the CEDT) over host bridges, bridges and switches over their ports, and the endpoints
//! take out of the address what the others used. [`Levels`] says how each of them divides, [`XorMaps`] what the
//! window does to the address before that, and a [`Translator`] does the arithmetic, one address or many at a
//! time, without an allocator and without a division at run time.
//!
//! The answers are those of the decoders: each selects by the absolute address, as the registers say (CXL 3.1
//! §8.2.4.20 and §9.18.1.3). Linux 7.2 counts in offsets from the start of the region instead, which is the same
//! only for some regions; what it reports is under [`reported`], beside the truth and never mixed with it.
//!
//! Work for one address is constant; for many it grows with their number.
//!
//! # Example
//!
//! Four devices, two behind each of two host bridges, 256 bytes at a time. The bridges divide what the root left
//! of the address, so they select by the next bit.
//!
//! ```
//! use memtopo::range::AddressRange;
//! use memtopo::region::{Granularity, Interleave, Levels, Place, Position, Translator, Ways, XorMaps};
//! use memtopo::units::{ByteCount, DeviceAddr, PhysAddr};
//!
//! let region = Interleave::new(Ways::FOUR, Granularity::BYTES_256);
//! let root = Interleave::new(Ways::TWO, Granularity::BYTES_256);
//! let bridge = Interleave::new(Ways::TWO, Granularity::BYTES_512);
//! let levels = Levels::new(region, &[root, bridge])?;
//!
//! let range = AddressRange::from_base_size(PhysAddr(0x2_5000_0000), ByteCount(1 << 30)).unwrap();
//! let translator = Translator::new(range, levels, XorMaps::NONE)?;
//!
//! let place = Place { position: Position(2), address: DeviceAddr(0x48d_1578) };
//! assert_eq!(translator.to_device(PhysAddr(0x2_6234_5678))?, place);
//! assert_eq!(translator.to_host(place)?, PhysAddr(0x2_6234_5678));
//! // Position 2 is the first bridge's second port.
//! assert_eq!(levels.path(Position(2)).unwrap().indexes(), [0, 1]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod levels;
#[cfg(test)]
mod reference;
mod refusal;
pub mod reported;
mod translate;
mod values;
mod xor;

pub use levels::{Levels, MAX_LEVELS, Path};
pub use refusal::{BulkError, LayoutError, Refusal};
pub use translate::{Place, Translator};
pub use values::{Granularity, Interleave, Position, Ways};
pub use xor::XorMaps;
