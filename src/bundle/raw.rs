//! ACPI tables as bytes, one after another.

use super::set::{Container, Contents, Found, Uncovered};
use crate::tables::anatomy::Format;
use crate::tables::header::{SdtHeader, byte_sum};
use crate::tables::root::Rsdp;
use crate::tables::schema::{Body, TableSchema};
use crate::units::{Signature, widen};
use alloc::borrow::Cow;
use zerocopy::FromBytes;

/// A table at the start of some bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Record {
    pub(super) signature: Signature,
    pub(super) format: Format,
    /// Bytes that it takes: never more than there are.
    pub(super) length: usize,
}

/// Whether the ids of a header are text, as they are in nearly every table and in nearly nothing else.
pub(super) fn has_text_ids(header: &SdtHeader) -> bool {
    let text = |bytes: &[u8]| bytes.iter().all(|byte| matches!(byte, 0 | 0x20..=0x7e));
    text(&header.oem_id.get().0) && text(&header.oem_table_id.get().0) && text(&header.creator_id.get().0)
}

/// The RSDP or table at the start of `bytes`.
///
/// One whose Length is impossible is only taken when `damaged` ones are asked for; one with a wrong checksum has to
/// look like a table otherwise.
fn record(bytes: &[u8], damaged: bool) -> Option<Record> {
    if let Ok(rsdp) = Rsdp::parse(bytes) {
        return Some(Record { signature: Signature::RSDP, format: Format::Rsdp, length: rsdp.bytes().len() });
    }
    let (header, _) = SdtHeader::ref_from_prefix(bytes).ok()?;
    let signature = header.signature.get();
    if !signature.is_plausible() {
        return None;
    }
    let declared = usize::try_from(header.length.get().0).unwrap_or(usize::MAX);
    let whole = bytes.get(..declared).filter(|table| table.len() >= SdtHeader::SIZE);
    let known = !matches!(TableSchema::of(signature).body, Body::Opaque);
    let sound = whole.is_some_and(|table| byte_sum(table) == 0);
    // FACS has no ids and no checksum.
    let facs = signature.0 == *b"FACS" && declared == 64;
    let taken = sound || ((damaged || whole.is_some()) && (known || facs || has_text_ids(header)));
    let length = declared.clamp(SdtHeader::SIZE, bytes.len());
    taken.then_some(Record { signature, format: Format::Sdt, length })
}

/// Reads an input that begins with a table, or with anything that has room for a header when the caller is `certain`
/// that it is one. `None` when it is none.
pub(super) fn read(bytes: &[u8], certain: bool) -> Option<Contents<'_>> {
    let any = || {
        let (header, _) = SdtHeader::ref_from_prefix(bytes).ok().filter(|_| certain)?;
        let length =
            usize::try_from(header.length.get().0).unwrap_or(usize::MAX).clamp(SdtHeader::SIZE, bytes.len());
        Some(Record { signature: header.signature.get(), format: Format::Sdt, length })
    };
    let mut contents = Contents::new(Container::Tables);
    let mut next = record(bytes, true).or_else(any);
    let mut offset = 0_usize;
    while let Some(found) = next {
        let end = offset.saturating_add(found.length);
        let table = bytes.get(offset..end)?;
        contents.tables.push(Found::borrowed(found.signature, found.format, offset, table));
        let rest = bytes.get(end..).unwrap_or_default();
        let padding = rest.iter().take_while(|byte| **byte == 0).count();
        next = rest.get(padding..).and_then(|rest| record(rest, false));
        // Padding stands alone when a table follows, and is with what cannot be read otherwise.
        let gap = if next.is_some() { rest.get(..padding)? } else { rest };
        if !gap.is_empty() {
            contents.uncovered.push(Uncovered { offset: widen(end), bytes: gap });
        }
        offset = end.saturating_add(padding);
    }
    match &mut contents.tables[..] {
        [] => None,
        [only] => {
            only.bytes = Cow::Borrowed(bytes);
            contents.uncovered.clear();
            Some(contents)
        }
        _ => Some(contents),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::sdt;
    use alloc::vec::Vec;

    fn tables(bytes: &[u8]) -> Vec<(Signature, u64, usize)> {
        let found = read(bytes, false).map_or_else(Vec::new, |contents| contents.tables);
        found.iter().map(|table| (table.signature, table.offset, table.bytes.len())).collect()
    }

    #[test]
    fn concatenated_tables_are_told_apart_and_the_padding_is_kept() {
        let (first, second) = (sdt(b"SRAT", &[0; 12]), sdt(b"OEM1", b"x"));
        let bytes = [&first[..], &[0; 16], &second, &first, &[0xff, 1, 0]].concat();
        assert_eq!(
            tables(&bytes),
            [(Signature::SRAT, 0, 48), (Signature(*b"OEM1"), 64, 37), (Signature::SRAT, 101, 48)]
        );
        let contents = read(&bytes, false).unwrap();
        let padding = Uncovered { offset: 48, bytes: &[0; 16] };
        let rest = Uncovered { offset: 149, bytes: &[0xff, 1, 0] };
        assert_eq!(contents.uncovered, [padding, rest]);
    }

    #[test]
    fn what_follows_an_only_table_stays_with_it() {
        for tail in [&[0; 5][..], b"trailing", &[0, 0, 7]] {
            let bytes = [&sdt(b"HMAT", &[0; 4])[..], tail].concat();
            assert_eq!(tables(&bytes), [(Signature::HMAT, 0, 40 + tail.len())]);
            assert_eq!(read(&bytes, false).unwrap().uncovered, []);
        }
    }

    #[test]
    fn damaged_tables_are_taken_at_the_start_only() {
        let good = sdt(b"SLIT", &[0; 8]);
        for (at, byte) in [(4, 0xff), (4, 35), (4, 0), (7, 0x80), (9, 0x11), (8, 0xee)] {
            let mut damaged = good.clone();
            damaged[at] = byte;
            assert_eq!(tables(&damaged), [(Signature::SLIT, 0, 44)], "byte {at}");
            let behind = tables(&[&good[..], &damaged].concat());
            let expected = if at == 9 || at == 8 { 2 } else { 1 };
            assert_eq!(behind.len(), expected, "byte {at}");
        }
        // Nothing but four letters speaks for these.
        assert_eq!(
            tables(b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\x01\0\x02\0\x44\xac\0\0\x10\xb1\x02\0\x04\0"),
            []
        );
        assert_eq!(tables(&[0xff; 64]), []);
        let certain = read(&[0xff; 64], true).unwrap();
        assert_eq!((certain.tables.len(), certain.tables[0].bytes.len()), (1, 64));
    }

    #[test]
    fn a_pointer_may_stand_among_the_tables() {
        let rsdp = crate::tables::root::rsdp_bytes(
            *b"MTOPO ",
            crate::tables::wire::Hex(0),
            crate::units::PhysAddr(9),
        );
        let mut facs = [0; 64];
        facs[..4].copy_from_slice(b"FACS");
        facs[4] = 64;
        facs[8] = 0xef;
        let bytes = [&rsdp[..], &sdt(b"FACP", &[1; 8]), &facs].concat();
        let signatures: Vec<_> = tables(&bytes).iter().map(|table| table.0).collect();
        assert_eq!(signatures, [Signature::RSDP, Signature(*b"FACP"), Signature(*b"FACS")]);
    }
}
