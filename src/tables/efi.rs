//! EFI memory descriptors (UEFI 2.10 §7.2, `GetMemoryMap`), with the stride that firmware reported.

use super::layout::{code, flags, layout};
use super::wire::Reserved;
use crate::units::{EfiPageCount, PhysAddr, VirtAddr};

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
