//! EFI memory descriptors (UEFI 2.10 §7.2, `GetMemoryMap`), with the stride that firmware reported.

use super::layout::{code, flags, layout};
use super::output::{Output, finish_bare};
use super::wire::Reserved;
use crate::error::{Cause, TableError, WriteError};
use crate::range::AddressRange;
use crate::units::{EfiPageCount, PhysAddr, Signature, VirtAddr, widen};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

code! {
    /// `EFI_MEMORY_TYPE`. 0x70000000 to 0x7FFFFFFF belong to the OEM, 0x80000000 and up to the OS loader.
    EfiMemoryType(u32) {
        /// Not usable.
        RESERVED = 0, "EfiReservedMemoryType";
        /// Code of a UEFI application.
        LOADER_CODE = 1, "EfiLoaderCode";
        /// Data of a UEFI application.
        LOADER_DATA = 2, "EfiLoaderData";
        /// Code of a boot service driver; free after `ExitBootServices`.
        BOOT_SERVICES_CODE = 3, "EfiBootServicesCode";
        /// Data of a boot service driver; free after `ExitBootServices`.
        BOOT_SERVICES_DATA = 4, "EfiBootServicesData";
        /// Code of a runtime driver.
        RUNTIME_SERVICES_CODE = 5, "EfiRuntimeServicesCode";
        /// Data of a runtime driver.
        RUNTIME_SERVICES_DATA = 6, "EfiRuntimeServicesData";
        /// Free memory.
        CONVENTIONAL = 7, "EfiConventionalMemory";
        /// Memory with errors.
        UNUSABLE = 8, "EfiUnusableMemory";
        /// Holds ACPI tables; free once they are read.
        ACPI_RECLAIM = 9, "EfiACPIReclaimMemory";
        /// Belongs to the firmware.
        ACPI_NVS = 10, "EfiACPIMemoryNVS";
        /// Memory-mapped registers that runtime services use.
        MAPPED_IO = 11, "EfiMemoryMappedIO";
        /// Memory-mapped port space.
        MAPPED_IO_PORT_SPACE = 12, "EfiMemoryMappedIOPortSpace";
        /// Code of the processor's firmware.
        PAL_CODE = 13, "EfiPalCode";
        /// Byte-addressable non-volatile memory.
        PERSISTENT = 14, "EfiPersistentMemory";
        /// Memory of a confidential guest that has not been accepted yet.
        UNACCEPTED = 15, "EfiUnacceptedMemoryType";
    }
}

flags! {
    /// `Attribute` of a descriptor.
    EfiAttributes(u64) {
        /// Can be mapped uncacheable.
        UC = 0, "UC";
        /// Can be mapped write-combining.
        WC = 1, "WC";
        /// Can be mapped write-through.
        WT = 2, "WT";
        /// Can be mapped write-back.
        WB = 3, "WB";
        /// Can be mapped uncacheable, exported; supports fetch-and-add.
        UCE = 4, "UCE";
        /// Write-protected.
        WP = 12, "WP";
        /// Read-protected.
        RP = 13, "RP";
        /// Execute-protected.
        XP = 14, "XP";
        /// Non-volatile.
        NV = 15, "NV";
        /// More reliable than other memory (mirrored, for example).
        MORE_RELIABLE = 16, "MORE_RELIABLE";
        /// Can be made read-only.
        RO = 17, "RO";
        /// Specific-purpose memory: not for general use (UEFI 2.8).
        SP = 18, "SP";
        /// Can be protected by the processor's memory encryption.
        CPU_CRYPTO = 19, "CPU_CRYPTO";
        /// May be removed while the system runs.
        HOT_PLUGGABLE = 20, "HOT_PLUGGABLE";
        /// The ISA-specific bits 44 to 59 are valid.
        ISA_VALID = 62, "ISA_VALID";
        /// Has to be mapped for runtime services.
        RUNTIME = 63, "RUNTIME";
    }
}

layout! {
    /// `EFI_MEMORY_DESCRIPTOR` version 1, 40 bytes: UEFI 2.10 §7.2. Step by the stride that firmware reported,
    /// which is often 48, never by this size.
    EfiDescriptor("efi_descriptor", "EFI Memory Descriptor", 40) {
        /// What the memory is.
        r#type: EfiMemoryType = "Type",
        /// Padding.
        padding: Reserved<4> = "Padding",
        /// First byte; a multiple of 4 KiB.
        physical_start: PhysAddr = "PhysicalStart",
        /// Virtual address; 0 before `SetVirtualAddressMap`.
        virtual_start: VirtAddr = "VirtualStart",
        /// Number of 4 KiB pages.
        number_of_pages: EfiPageCount = "NumberOfPages",
        /// What the memory can do and is for.
        attribute: EfiAttributes = "Attribute",
    }
}

impl EfiDescriptor {
    /// Size of the descriptor in bytes: the least that a stride can be.
    pub const SIZE: usize = 40;

    /// A descriptor without a virtual address.
    #[must_use]
    pub fn new(
        memory_type: EfiMemoryType,
        physical_start: PhysAddr,
        number_of_pages: EfiPageCount,
        attribute: EfiAttributes,
    ) -> Self {
        Self {
            r#type: memory_type.into(),
            physical_start: physical_start.into(),
            number_of_pages: number_of_pages.into(),
            attribute: attribute.into(),
            ..Self::new_zeroed()
        }
    }

    /// The addresses that it covers; one that passes the end of the address space ends there.
    #[must_use]
    pub fn range(&self) -> AddressRange {
        let (start, size) = (self.physical_start.get(), self.number_of_pages.get().bytes());
        AddressRange::new(start, PhysAddr(start.0.saturating_add(size.0)))
    }
}

/// An EFI memory map, read in place.
///
/// ```
/// use memtopo::tables::efi::{EfiAttributes, EfiDescriptor, EfiMap, EfiMapWriter, EfiMemoryType};
/// use memtopo::tables::output::SliceOutput;
/// use memtopo::units::{EfiPageCount, PhysAddr};
///
/// let mut buffer = [0; 48];
/// let mut writer = EfiMapWriter::new(SliceOutput::new(&mut buffer), 48)?;
/// let free = EfiDescriptor::new(
///     EfiMemoryType::CONVENTIONAL,
///     PhysAddr(0x10_0000),
///     EfiPageCount(0x700),
///     EfiAttributes::WB,
/// );
/// writer.push(&free);
/// assert_eq!(writer.finish()?, 48);
///
/// let map = EfiMap::parse(&buffer, 48)?;
/// let (descriptor, extra) = map.descriptors().next().unwrap();
/// assert_eq!(descriptor.range().end, PhysAddr(0x80_0000));
/// assert_eq!(extra.len(), 8);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct EfiMap<'a> {
    bytes: &'a [u8],
    stride: usize,
}

impl<'a> EfiMap<'a> {
    /// Takes all of `bytes` as descriptors, `stride` bytes from one to the next (`DescriptorSize` of
    /// `GetMemoryMap`).
    ///
    /// # Errors
    /// [`Cause::Stride`] when `stride` is below 40.
    pub fn parse(bytes: &'a [u8], stride: usize) -> Result<Self, TableError> {
        checked_stride(stride)?;
        Ok(Self { bytes, stride })
    }

    /// Bytes from one descriptor to the next.
    #[must_use]
    pub const fn stride(&self) -> usize {
        self.stride
    }

    /// The descriptors in map order, each with the bytes that the stride adds behind it.
    pub fn descriptors(&self) -> impl Iterator<Item = (&'a EfiDescriptor, &'a [u8])> + use<'a> {
        // A chunk has at least 40 bytes, so none is left out.
        self.bytes.chunks_exact(self.stride).filter_map(|chunk| EfiDescriptor::ref_from_prefix(chunk).ok())
    }

    /// Offset and bytes of what is left at the end when it is less than a stride.
    #[must_use]
    pub fn remainder(&self) -> (usize, &'a [u8]) {
        let rest = self.bytes.chunks_exact(self.stride).remainder();
        (self.bytes.len().saturating_sub(rest.len()), rest)
    }

    /// What is wrong with the length of the map, if anything.
    #[must_use]
    pub fn fault(&self) -> Option<TableError> {
        let (offset, rest) = self.remainder();
        (!rest.is_empty()).then(|| TableError {
            table: Signature::EFI_MAP,
            offset: widen(offset),
            cause: Cause::PartialEntry,
            expected: widen(self.stride),
            found: widen(rest.len()),
        })
    }
}

fn checked_stride(stride: usize) -> Result<(), TableError> {
    if stride < EfiDescriptor::SIZE {
        return Err(TableError {
            table: Signature::EFI_MAP,
            offset: 0,
            cause: Cause::Stride,
            expected: widen(EfiDescriptor::SIZE),
            found: widen(stride),
        });
    }
    Ok(())
}

/// Writes an EFI memory map.
#[derive(Debug)]
pub struct EfiMapWriter<O> {
    output: O,
    stride: usize,
    start: u64,
}

impl<O: Output> EfiMapWriter<O> {
    /// Starts a map at the end of `output`, with `stride` bytes from one descriptor to the next.
    ///
    /// # Errors
    /// [`Cause::Stride`] when `stride` is below 40.
    pub fn new(mut output: O, stride: usize) -> Result<Self, TableError> {
        checked_stride(stride)?;
        let start = output.written().1;
        Ok(Self { output, stride, start })
    }

    /// Appends a descriptor and fills up with zeros to the stride.
    pub fn push(&mut self, descriptor: &EfiDescriptor) {
        self.push_with(descriptor, &[]);
    }

    /// Appends a descriptor and the bytes behind it, cut off at the stride or filled up with zeros.
    pub fn push_with(&mut self, descriptor: &EfiDescriptor, extra: &[u8]) {
        if let Some(room) = self.output.claim(self.stride) {
            room.fill(0);
            for (place, byte) in room.iter_mut().zip(descriptor.as_bytes().iter().chain(extra)) {
                *place = *byte;
            }
        }
    }

    /// Appends bytes verbatim, such as a fragment at the end of a map that is cut off.
    pub fn push_raw(&mut self, bytes: &[u8]) {
        self.output.put(bytes);
    }

    /// Ends the map and returns its length in bytes.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`].
    pub fn finish(mut self) -> Result<u64, WriteError> {
        finish_bare(&mut self.output, self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::output::SliceOutput;

    /// The example of the format sheet: 2 GiB less 1 MiB free, then 16 GiB of specific-purpose memory.
    const EXAMPLE: [u8; 96] = {
        let mut bytes = [0; 96];
        bytes[0] = 0x07;
        bytes[10] = 0x10;
        bytes[25] = 0xff;
        bytes[26] = 0x07;
        bytes[32] = 0x0f;
        bytes[48] = 0x07;
        bytes[60] = 0x10;
        bytes[74] = 0x40;
        bytes[80] = 0x0f;
        bytes[82] = 0x04;
        bytes
    };

    #[test]
    fn the_example_reads_and_writes_alike() {
        let map = EfiMap::parse(&EXAMPLE, 48).unwrap();
        let mut descriptors = map.descriptors();
        let (free, extra) = descriptors.next().unwrap();
        assert_eq!(free.r#type.get(), EfiMemoryType::CONVENTIONAL);
        assert_eq!(free.range(), AddressRange::new(PhysAddr(0x10_0000), PhysAddr(0x8000_0000)));
        assert_eq!(extra, [0; 8]);
        let (special, _) = descriptors.next().unwrap();
        assert!(special.attribute.get().contains(EfiAttributes::SP));
        assert!(descriptors.next().is_none());
        assert_eq!(special.range(), AddressRange::new(PhysAddr(0x10_0000_0000), PhysAddr(0x14_0000_0000)));

        let caching = EfiAttributes(0xf);
        let mut buffer = [0xee; 96];
        let mut writer = EfiMapWriter::new(SliceOutput::new(&mut buffer), 48).unwrap();
        let conventional = EfiMemoryType::CONVENTIONAL;
        writer.push(&EfiDescriptor::new(conventional, PhysAddr(0x10_0000), EfiPageCount(0x7ff00), caching));
        writer.push(&EfiDescriptor::new(
            conventional,
            PhysAddr(0x10_0000_0000),
            EfiPageCount(0x40_0000),
            caching.union(EfiAttributes::SP),
        ));
        assert_eq!(writer.finish(), Ok(96));
        assert_eq!(buffer, EXAMPLE);
    }

    #[test]
    fn odd_strides_and_fragments_survive() {
        let mut bytes = [0x5a; 53 * 2 + 7];
        bytes[0] = 1;
        let map = EfiMap::parse(&bytes, 53).unwrap();
        assert_eq!(map.remainder(), (106, &[0x5a; 7][..]));
        let fault = map.fault().unwrap();
        assert_eq!(
            (fault.cause, fault.offset, fault.expected, fault.found),
            (Cause::PartialEntry, 106, 53, 7)
        );
        let mut buffer = [0; 113];
        let mut writer = EfiMapWriter::new(SliceOutput::new(&mut buffer), 53).unwrap();
        for (descriptor, extra) in map.descriptors() {
            writer.push_with(descriptor, extra);
        }
        writer.push_raw(map.remainder().1);
        assert_eq!(writer.finish(), Ok(113));
        assert_eq!(buffer, bytes);

        assert_eq!(EfiMap::parse(&bytes, 39).unwrap_err().cause, Cause::Stride);
        let mut writer = EfiMapWriter::new(SliceOutput::new(&mut []), 48).unwrap();
        writer.push_raw(&[1]);
        assert_eq!(writer.finish(), Err(WriteError::BufferTooSmall { needed: 1, available: 0 }));
    }

    #[test]
    fn a_range_never_wraps() {
        let last = EfiDescriptor::new(
            EfiMemoryType::MAPPED_IO,
            PhysAddr(0xffff_ffff_ffff_f000),
            EfiPageCount(1),
            EfiAttributes::UC,
        );
        assert_eq!(last.range().end, PhysAddr(u64::MAX));
        let endless = EfiDescriptor { number_of_pages: EfiPageCount(u64::MAX).into(), ..last };
        assert_eq!(endless.range().end, PhysAddr(u64::MAX));
    }
}
