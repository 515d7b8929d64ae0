//! The description of every byte of an input.

use crate::sink::Sink;
use memtopo::tables::anatomy::{Format, Piece, anatomy};

/// # Safety
/// `input` is readable for `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memtopo_probe_anatomy(input: *const u8, length: usize, stride: usize) -> u64 {
    // SAFETY: as the caller promises.
    let input = unsafe { core::slice::from_raw_parts(input, length) };
    let mut sink = Sink::default();
    for format in [Format::Sdt, Format::Rsdp, Format::Cdat, Format::EfiMap { stride }, Format::E820] {
        describe(format, input, &mut sink);
    }
    sink.value()
}

fn describe(format: Format, input: &[u8], sink: &mut Sink) {
    let groups = match anatomy(format, input) {
        Ok(groups) => groups,
        Err(fault) => return sink.fault(&fault),
    };
    sink.number(groups.revision());
    for group in groups {
        sink.bytes(group.bytes);
        for piece in group.pieces() {
            match piece {
                Piece::Field { bytes, .. } | Piece::Rest { bytes, .. } => sink.bytes(bytes),
                Piece::List { part, .. } => {
                    sink.number(part.count);
                    sink.bytes(part.bytes);
                }
            }
        }
        for fault in group.faults.iter().flatten() {
            sink.fault(fault);
        }
    }
}
