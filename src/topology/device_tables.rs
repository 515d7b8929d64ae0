//! CDATs: what CXL devices and switches say about their memory and paths, each with the device that it is of.

use super::Source;
use super::chain::Link;
use crate::bundle::paths::CdatOwner;
use crate::tables::cdat::{Cdat, CdatHeader};
use crate::tables::entries::{Framing, Medium};
use crate::tables::header::byte_sum;
use crate::units::{Signature, widen};
use zerocopy::FromBytes;

/// The CDAT of one device or switch, as it gave it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeviceTable<'a> {
    /// Which device or switch has it; `None` where nothing says so.
    pub owner: Option<CdatOwner>,
    bytes: &'a [u8],
}

/// One structure of a CDAT.
#[derive(Clone, Copy, Debug)]
pub struct Structure<'a> {
    /// Its type, place and declared length.
    pub link: Link,
    bytes: &'a [u8],
}

impl<'a> Structure<'a> {
    /// The structure as type `T`, when so many bytes of the table follow.
    #[must_use]
    pub fn read<T: FromBytes>(&self) -> Option<T> {
        T::read_from_prefix(self.bytes).map(|(value, _)| value).ok()
    }

    /// Its bytes from `offset` on, up to its declared end or that of the table.
    #[must_use]
    pub fn behind(&self, offset: usize) -> &'a [u8] {
        let length = usize::try_from(self.link.length).unwrap_or(usize::MAX);
        let bytes = self.bytes.get(..length).unwrap_or(self.bytes);
        bytes.get(offset..).unwrap_or_default()
    }
}

impl<'a> DeviceTable<'a> {
    /// The table that `bytes` hold, of a device or switch.
    #[must_use]
    pub const fn new(owner: Option<CdatOwner>, bytes: &'a [u8]) -> Self {
        Self { owner, bytes }
    }

    /// Bytes that were read from the device.
    #[must_use]
    pub const fn received(&self) -> usize {
        self.bytes.len()
    }

    /// The length that its header declares, in bytes; `None` without a whole header.
    #[must_use]
    pub fn declared(&self) -> Option<u32> {
        let (header, _) = CdatHeader::read_from_prefix(self.bytes).ok()?;
        Some(header.length.get().0)
    }

    /// Sum of all bytes that were read, modulo 256: 0 for a sound table.
    #[must_use]
    pub fn sum(&self) -> u8 {
        byte_sum(self.bytes)
    }

    /// Where the table ends: as declared, or where its bytes do.
    #[must_use]
    pub fn end(&self) -> usize {
        let declared = self.declared().and_then(|length| usize::try_from(length).ok());
        self.bytes.len().min(declared.unwrap_or(usize::MAX))
    }

    /// The structures, wherever their lengths lead, up to one whose length is 0.
    pub fn structures(&self) -> impl Iterator<Item = Structure<'a>> + use<'a> {
        let known = self.bytes.get(..self.end()).unwrap_or_default();
        let mut next = Some(Cdat::FIXED);
        core::iter::from_fn(move || {
            let offset = next.take()?;
            let bytes = known.get(offset..)?;
            let (kind, length) = Medium::read(bytes)?;
            let step = usize::try_from(length).ok().filter(|step| *step != 0);
            next = step.and_then(|step| offset.checked_add(step));
            let source = Source { table: Signature::CDAT, offset: widen(offset) };
            Some(Structure { link: Link { kind, source, length }, bytes })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use alloc::vec::Vec;

    #[test]
    fn the_walk_goes_wherever_lengths_lead() {
        let mut bytes = vec![0; 16];
        bytes.extend([4, 0, 8, 0, 1, 1, 1, 1]);
        bytes.extend([9, 0, 2, 0, 7, 0, 5, 0, 0, 0, 0, 0]);
        bytes[0] = u8::try_from(bytes.len()).unwrap();
        let table = DeviceTable::new(None, &bytes);
        let walked: Vec<_> = table.structures().map(|one| (one.link.kind, one.link.length)).collect();
        // The second is shorter than its own header, so the third begins inside it.
        assert_eq!(walked, [(4, 8), (9, 2), (2, 7)]);
        assert_eq!(table.sum(), byte_sum(&bytes));
        assert_eq!(DeviceTable::new(None, &bytes[..18]).structures().count(), 0);
        assert_eq!(DeviceTable::new(None, &[]).declared(), None);
    }
}
