//! Numbers with their meaning: proximity domains, nodes, addresses, sizes, latencies, bandwidths.
//!
//! A proximity domain is firmware's number and a node is the operating system's; an address and a size are
//! both 64 bits wide. Each has a type here, so that one cannot be passed where the other is meant.

use core::fmt;

/// Defines newtypes over integers that print as the integer does.
macro_rules! unit {
    ($($(#[$meta:meta])* $name:ident($int:ty);)*) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
        #[cfg_attr(feature = "serde", derive(serde::Serialize, serde::Deserialize), serde(transparent))]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub struct $name(pub $int);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl fmt::LowerHex for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::LowerHex::fmt(&self.0, f)
            }
        }
    )*};
}

unit! {
    /// Firmware's number of a proximity domain (PXM): ACPI 6.6 §5.2.16. Full 32 bits; Linux accepts 0 to
    /// `MAX_PXM_DOMAINS - 1`.
    ProximityDomain(u32);
    /// The operating system's number of a NUMA node.
    NodeId(u32);
    /// Local APIC or x2APIC id of a processor.
    ApicId(u32);
    /// ACPI Processor UID: the number that ties a SRAT or MADT entry to a processor of the namespace.
    ProcessorUid(u32);
    /// Clock domain of a processor (ACPI 6.6 §5.2.16.1); 0 for synchronous processors.
    ClockDomain(u32);
    /// `GIC ITS ID` of a GIC interrupt translation service.
    ItsId(u32);
    /// `_UID` of an ACPI device; in CEDT and generic ports, of a CXL host bridge.
    AcpiUid(u32);
    /// System physical address in bytes (HPA in CXL terms).
    PhysAddr(u64);
    /// Virtual address in bytes, as an EFI memory descriptor carries it.
    VirtAddr(u64);
    /// Device physical address (DPA) in bytes: CXL 3.1 §8.2.4.20.
    DeviceAddr(u64);
    /// A size in bytes.
    ByteCount(u64);
    /// A number of EFI pages, 4 KiB each whatever the page size of the system.
    EfiPageCount(u64);
    /// A latency in nanoseconds.
    Nanoseconds(u32);
    /// A latency in picoseconds.
    Picoseconds(u32);
    /// A bandwidth in MB/s, the unit of HMAT.
    MegabytesPerSecond(u32);
    /// The speed of one lane of a PCIe link in megatransfers per second: 32000 for 32 GT/s.
    MegatransfersPerSecond(u32);
    /// Lanes of a PCIe link.
    LaneCount(u32);
    /// One cell of an HMAT or CDAT matrix before scaling: 0 is "not provided", 0xFFFF "unreachable", anything
    /// else is multiplied by the base unit of its structure.
    MatrixCell(u16);
    /// `Entry Base Unit` of HMAT and CDAT: what one count of a cell is worth, in picoseconds or MB/s
    /// (HMAT revision 1: in tenths of a nanosecond or tenths of a MB/s).
    EntryBaseUnit(u64);
    /// One SLIT distance: 10 is local, 11 to 254 relative to that, 255 unreachable, 0 to 9 reserved.
    Distance(u8);
    /// SMBIOS handle of a memory device (type 17).
    SmbiosHandle(u16);
    /// PCI segment group.
    PciSegment(u16);
    /// Bus, device and function in the usual PCI order: bus in bits 15:8, device in 7:3, function in 2:0.
    PciBdf(u16);
    /// One XORMAP of a CXL XOR Interleave Math Structure: the address bits whose parity replaces the lowest of them.
    XorMap(u64);
    /// Handle of a Device Scoped Memory Affinity Structure, unique within one CDAT.
    DsmasHandle(u8);
}

impl PhysAddr {
    /// The address `size` bytes further on, or `None` beyond 64 bits.
    #[must_use]
    pub const fn checked_add(self, size: ByteCount) -> Option<Self> {
        match self.0.checked_add(size.0) {
            Some(sum) => Some(Self(sum)),
            None => None,
        }
    }
}

impl EfiPageCount {
    /// The size in bytes, saturating at 2^64 - 1.
    #[must_use]
    pub const fn bytes(self) -> ByteCount {
        ByteCount(self.0.saturating_mul(4096))
    }
}

/// Four-character name of an ACPI table.
///
/// The bytes may be anything firmware sent: `Display` escapes what is not printable ASCII.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Signature(pub [u8; 4]);

impl Signature {
    /// Root System Description Pointer, named as acpidump does: the pointer's own signature has eight bytes.
    pub const RSDP: Self = Self(*b"RSDP");
    /// Root System Description Table.
    pub const RSDT: Self = Self(*b"RSDT");
    /// Extended System Description Table.
    pub const XSDT: Self = Self(*b"XSDT");
    /// Multiple APIC Description Table.
    pub const MADT: Self = Self(*b"APIC");
    /// System Resource Affinity Table.
    pub const SRAT: Self = Self(*b"SRAT");
    /// System Locality Distance Information Table.
    pub const SLIT: Self = Self(*b"SLIT");
    /// Heterogeneous Memory Attribute Table.
    pub const HMAT: Self = Self(*b"HMAT");
    /// CXL Early Discovery Table.
    pub const CEDT: Self = Self(*b"CEDT");
    /// Maximum System Characteristics Table.
    pub const MSCT: Self = Self(*b"MSCT");
    /// Coherent Device Attribute Table; the table itself carries no signature.
    pub const CDAT: Self = Self(*b"CDAT");
    /// EFI memory map; a made-up name, the map carries none.
    pub const EFI_MAP: Self = Self(*b"EFIM");
    /// E820 map; a made-up name, the map carries none.
    pub const E820: Self = Self(*b"E820");
    /// HDM decoder registers; a made-up name, they carry none.
    pub const HDM: Self = Self(*b"HDM ");

    /// Whether all four bytes are what ACPI allows in a table signature: upper-case letters, digits, `_`.
    ///
    /// Some tables in the field use lower-case letters too, so those pass.
    #[must_use]
    pub fn is_plausible(self) -> bool {
        self.0.iter().all(|b| b.is_ascii_alphanumeric() || *b == b'_')
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&Ascii(&self.0), f)
    }
}

impl fmt::Debug for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Signature({self})")
    }
}

/// Bytes shown as text that is safe on a terminal: printable ASCII as it is, everything else as `\xNN`.
#[derive(Clone, Copy, Debug)]
pub struct Ascii<'a>(pub &'a [u8]);

impl fmt::Display for Ascii<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.0 {
            match byte {
                b'\\' => f.write_str("\\\\")?,
                0x20..=0x7e => fmt::Write::write_char(f, char::from(*byte))?,
                other => write!(f, "\\x{other:02x}")?,
            }
        }
        Ok(())
    }
}

/// A size in the largest binary unit that keeps it a whole number: `2 GiB`, `640 KiB`, `17 B`.
#[derive(Clone, Copy, Debug)]
pub struct BinarySize(pub ByteCount);

impl fmt::Display for BinarySize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [&str; 7] = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
        let bytes = self.0.0;
        let step = if bytes == 0 { 0 } else { bytes.trailing_zeros() / 10 };
        let unit = UNITS.get(usize::try_from(step).unwrap_or(0)).copied().unwrap_or("B");
        let scaled = bytes >> step.saturating_mul(10);
        write!(f, "{scaled} {unit}")
    }
}

/// The widening that every supported target allows: a length in memory as a 64-bit number.
#[expect(clippy::as_conversions, reason = "usize is at most 64 bits wide, and core has no From for it")]
#[must_use]
pub(crate) const fn widen(length: usize) -> u64 {
    length as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate alloc;
    use alloc::string::ToString;

    #[test]
    fn sizes_use_the_largest_exact_unit() {
        let show = |n| BinarySize(ByteCount(n)).to_string();
        assert_eq!(show(0), "0 B");
        assert_eq!(show(640 << 10), "640 KiB");
        assert_eq!(show(1 << 40), "1 TiB");
        assert_eq!(show((1 << 30) + 1), "1073741825 B");
        assert_eq!(show(1 << 63), "8 EiB");
    }

    #[test]
    fn signatures_never_reach_a_terminal_raw() {
        assert_eq!(Signature(*b"\x1b[2J").to_string(), "\\x1b[2J");
        assert!(!Signature(*b"\x1b[2J").is_plausible());
        assert!(Signature::SRAT.is_plausible());
    }
}
