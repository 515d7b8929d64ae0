//! E820 entries as an x86 boot loader hands them over (`struct boot_e820_entry`, 20 bytes).

use super::layout::{code, layout};
use crate::units::{ByteCount, PhysAddr};

code! {
    /// Type of an E820 range (ACPI 6.6 §15.1; Linux `enum e820_type`).
    E820Type(u32) {
        /// Usable memory.
        RAM = 1, "RAM";
        /// Not usable.
        RESERVED = 2, "Reserved";
        /// Holds ACPI tables.
        ACPI = 3, "ACPI data";
        /// ACPI non-volatile storage.
        NVS = 4, "ACPI NVS";
        /// Memory with errors.
        UNUSABLE = 5, "Unusable";
        /// Persistent memory.
        PMEM = 7, "Persistent Memory";
        /// Persistent memory, by the older number.
        PRAM = 12, "Persistent Memory (legacy)";
        /// Specific-purpose memory, as Linux marks it.
        SOFT_RESERVED = 0xefff_ffff, "Soft Reserved";
    }
}

layout! {
    /// One E820 entry, 20 bytes.
    E820Entry("e820_entry", "E820 Entry", 20) {
        /// First byte.
        address: PhysAddr = "Address",
        /// Bytes in the range.
        size: ByteCount = "Size",
        /// What the range is.
        r#type: E820Type = "Type",
    }
}
