//! RSDP, RSDT and XSDT: where the other tables are (ACPI 6.6 §5.2.5, §5.2.7, §5.2.8).

use super::layout::layout;
use super::wire::{Checksum, Hex, Length, Reserved, Text};
use crate::units::PhysAddr;

layout! {
    /// Root System Description Pointer of ACPI 1.0, 20 bytes, and the start of every later one.
    RsdpV1("rsdp", "Root System Description Pointer", 20) {
        /// `RSD PTR ` with the space.
        signature: Text<8> = "Signature",
        /// Makes the first 20 bytes sum to 0 modulo 256, in every revision.
        checksum: Checksum = "Checksum",
        /// Name of the manufacturer.
        oem_id: Text<6> = "Oem ID",
        /// 0 for ACPI 1.0, 2 for ACPI 2.0 and later.
        revision: u8 = "Revision",
        /// Physical address of the RSDT; 0 when there is none.
        rsdt_address: Hex<u32> = "RSDT Address",
    }
}

layout! {
    /// What revision 2 adds to [`RsdpV1`]: the 16 bytes from offset 20.
    RsdpExtension("rsdp_extension", "ACPI 2.0 extension", 16) {
        /// Length of the whole structure in bytes: 36.
        length: Length<u32> = "Length",
        /// Physical address of the XSDT; 0 when there is none.
        xsdt_address: PhysAddr = "XSDT Address",
        /// Makes all `length` bytes sum to 0 modulo 256.
        extended_checksum: Checksum = "Extended Checksum",
        /// Zero.
        reserved: Reserved<3> = "Reserved",
    }
}
