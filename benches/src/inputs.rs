//! Tables to read, made by the writers of the library.

use memtopo::tables::header::Identity;
use memtopo::tables::output::Seal;
use memtopo::tables::{cdat, cedt, efi, hmat, slit, srat};
use memtopo::units::{
    AcpiUid, ApicId, ByteCount, DeviceAddr, Distance, DsmasHandle, EfiPageCount, EntryBaseUnit, MatrixCell,
    PhysAddr, ProximityDomain,
};

/// One gibibyte.
pub const GIB: u64 = 1 << 30;

/// An index as a domain number.
fn domain(index: usize) -> ProximityDomain {
    ProximityDomain(u32::try_from(index).unwrap_or(u32::MAX))
}

/// The memory structure number `index` of [`srat`].
pub fn memory(index: usize, domain: ProximityDomain) -> srat::MemoryAffinity {
    let base = PhysAddr(index as u64 * GIB);
    srat::MemoryAffinity::new(domain, base, ByteCount(GIB), srat::MemoryFlags::ENABLED)
}

/// An SRAT with `entries` structures, processors and memory in turn.
pub fn srat(entries: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = srat::SratWriter::new(&mut bytes, Identity::default());
    for index in 0..entries {
        if index % 2 == 0 {
            writer.push(&srat::X2ApicAffinity::new(domain(index), ApicId(domain(index).0)));
        } else {
            writer.push(&memory(index, domain(index)));
        }
    }
    writer.finish(Seal::Fill).expect("below 4 GiB");
    bytes
}

/// An SRAT with `entries` memory structures, all of domain 0.
pub fn srat_of_domain_0(entries: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = srat::SratWriter::new(&mut bytes, Identity::default());
    (0..entries).for_each(|index| writer.push(&memory(index, domain(0))));
    writer.finish(Seal::Fill).expect("below 4 GiB");
    bytes
}

/// The cell at a place of [`hmat`]: every third is 0, every seventh unreachable.
#[inline]
pub fn cell(row: usize, column: usize) -> MatrixCell {
    let place = row ^ column;
    MatrixCell(match place {
        _ if place % 3 == 0 => 0,
        _ if place % 7 == 0 => 0xffff,
        _ => u16::try_from(place & 0x3ff).unwrap_or_default(),
    })
}

/// The domains of [`hmat`].
pub fn domains(count: usize) -> Vec<ProximityDomain> {
    (0..count).map(domain).collect()
}

/// An HMAT with one matrix of `side` initiators and targets.
pub fn hmat(side: usize) -> Vec<u8> {
    let domains = domains(side);
    let mut bytes = Vec::new();
    let mut writer = hmat::HmatWriter::new(&mut bytes, Identity::default());
    let header = hmat::LocalityHeader::new(hmat::DataType::ACCESS_LATENCY, EntryBaseUnit(1000));
    writer.push_locality(&header, &domains, &domains, cell).expect("below 4 GiB");
    writer.finish(Seal::Fill).expect("below 4 GiB");
    bytes
}

/// A SLIT with `localities` rows and columns.
pub fn slit(localities: u16) -> Vec<u8> {
    let mut bytes = Vec::new();
    let distance =
        |from: usize, to: usize| Distance(if from == to { 10 } else { 20 + ((from ^ to) & 7) as u8 });
    let writer = slit::SlitWriter::new(&mut bytes, Identity::default(), localities, distance);
    writer.finish(Seal::Fill).expect("below 4 GiB");
    bytes
}

/// A CEDT with `bridges` host bridges and a window over four of them for each.
pub fn cedt(bridges: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = cedt::CedtWriter::new(&mut bytes, Identity::default());
    for uid in 0..bridges {
        let base = PhysAddr(u64::from(uid) * GIB);
        writer.push(&cedt::HostBridge::new(
            AcpiUid(uid),
            cedt::CxlVersion::CXL_2_0,
            base,
            ByteCount(0x1_0000),
        ));
        let window = cedt::FixedMemoryWindowHeader::new(
            base,
            ByteCount(GIB),
            cedt::InterleaveGranularity::KIB_1,
            cedt::WindowRestrictions::VOLATILE,
        );
        let targets = [0, 1, 2, 3].map(|n| AcpiUid(uid ^ n));
        writer.push_window(&window, &targets).expect("short");
    }
    writer.finish(Seal::Fill).expect("below 4 GiB");
    bytes
}

/// A CDAT with `ranges` ranges of memory and four numbers for each.
pub fn cdat(ranges: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = cdat::CdatWriter::new(&mut bytes, &cdat::CdatHeader::new(1, 0));
    for range in 0..ranges {
        let handle = DsmasHandle(range.to_le_bytes()[0]);
        let flags = cdat::DsmasFlags::NON_VOLATILE;
        writer.push(&cdat::Dsmas::new(handle, DeviceAddr(range * GIB), ByteCount(GIB), flags));
        for data_type in [1, 2, 4, 5] {
            let value = MatrixCell(100 + u16::from(data_type));
            writer.push(&cdat::Dslbis::new(handle, hmat::DataType(data_type), EntryBaseUnit(1000), value));
        }
    }
    writer.finish(Seal::Fill).expect("below 4 GiB");
    bytes
}

/// An EFI memory map of `count` descriptors, 48 bytes apart, every fourth of them specific-purpose memory.
pub fn efi_map(count: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = efi::EfiMapWriter::new(&mut bytes, 48).expect("above 40");
    for index in 0..count {
        let purpose = if index % 4 == 0 { efi::EfiAttributes::SP } else { efi::EfiAttributes(0) };
        let attributes = efi::EfiAttributes::WB.union(purpose);
        let kind = efi::EfiMemoryType::CONVENTIONAL;
        writer.push(&efi::EfiDescriptor::new(
            kind,
            PhysAddr(index * GIB),
            EfiPageCount(GIB >> 12),
            attributes,
        ));
    }
    writer.finish().expect("it fits");
    bytes
}
