//! The physical memory map that firmware hands over, from any text or binary form.

use crate::range::AddressRange;
use crate::tables::e820::E820Type;
use crate::tables::efi::{EfiAttributes, EfiMemoryType};
use alloc::vec::Vec;

/// What firmware says a range is, in the words of the form it came in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapKind {
    /// An E820 type.
    E820(E820Type),
    /// An EFI memory type with its attributes.
    Efi(EfiMemoryType, EfiAttributes),
}

/// One range of the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapEntry {
    /// The addresses.
    pub range: AddressRange,
    /// What they are.
    pub kind: MapKind,
    /// Where it stands in the input: a line number, counted from 1, for text; a byte offset for binary forms.
    pub place: u64,
}

/// The form in which a map came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum MapForm {
    /// `BIOS-e820:` lines of a kernel log.
    KernelE820,
    /// `efi: memNN:` lines of a kernel log.
    KernelEfi,
    /// A `/sys/firmware/memmap` tree.
    SysfsMemmap,
    /// A `memmap` listing of the UEFI shell.
    ShellMemmap,
    /// EFI descriptors as bytes.
    EfiDescriptors,
    /// E820 entries as bytes.
    E820Entries,
    /// `/proc/iomem`: the map after the kernel's own changes.
    Iomem,
}

/// A physical memory map in the order in which it was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FirmwareMap {
    /// The form it came in.
    pub form: MapForm,
    /// The ranges, in input order.
    pub entries: Vec<MapEntry>,
}
