//! The tables of a described machine, written with the library's own writers.

use super::super::Built;
use super::text::{Cell, Range, Size};
use super::{Associativity, Cache, Domain, EfiUse, Figures, IdentityText, Machine, Restriction, WritePolicy};
use anyhow::{Context, Result, bail, ensure};
use memtopo::tables::cdat::{
    CdatHeader, CdatWriter, Dsemts, Dslbis, Dsmas, DsmasFlags, EfiMemoryUse, PortId, SslbisEntry,
    SslbisHeader,
};
use memtopo::tables::cedt::{
    CedtWriter, CxlVersion, FixedMemoryWindowHeader, HostBridge, InterleaveArithmetic, InterleaveGranularity,
    InterleaveWays, MapGranularity, WindowRestrictions, XorInterleaveMathHeader,
};
use memtopo::tables::header::Identity;
use memtopo::tables::hmat::{
    AddressMode, CacheAssociativity, CacheAttributes, CacheLevel, CacheLineSize, CacheWritePolicy, DataType,
    HmatWriter, LocalityHeader, MemoryProximityAttributes, MemorySideCacheHeader,
};
use memtopo::tables::madt::{LocalApic, LocalX2Apic, MadtWriter};
use memtopo::tables::output::Seal;
use memtopo::tables::slit::SlitWriter;
use memtopo::tables::srat::{
    Device, GenericAffinity, LocalApicAffinity, MemoryAffinity, MemoryFlags, SratWriter, X2ApicAffinity,
};
use memtopo::units::{
    AcpiUid, ApicId, ByteCount, DeviceAddr, Distance, DsmasHandle, EntryBaseUnit, MatrixCell, PhysAddr,
    ProcessorUid, ProximityDomain, XorMap,
};

/// Every table that the description has something to say for.
pub(super) fn build(machine: &Machine) -> Result<Vec<Built>> {
    let identity = machine.identity.identity()?;
    let numbers = machine.numbers()?;
    let mut built = Vec::new();
    if !machine.domains.is_empty() {
        built.extend(madt(machine, identity)?);
        built.push(srat(machine, identity, &numbers)?);
    }
    if let Some(distances) = &machine.distances {
        built.push(slit(distances, identity, &numbers).context("distances")?);
    }
    if machine.performance.is_some() || machine.domains.iter().any(|domain| !domain.cache.is_empty()) {
        built.push(hmat(machine, identity, &numbers)?);
    }
    if !machine.bridges.is_empty() || !machine.windows.is_empty() {
        built.push(cedt(machine, identity)?);
    }
    built.extend(cdats(machine)?);
    Ok(built)
}

fn finished(name: &str, bytes: Vec<u8>) -> Built {
    Built { name: name.to_owned(), bytes }
}

impl Machine {
    /// The number of each domain: as given, or its position.
    fn numbers(&self) -> Result<Vec<ProximityDomain>> {
        let mut numbers: Vec<ProximityDomain> = Vec::new();
        for (index, domain) in self.domains.iter().enumerate() {
            let number = ProximityDomain(domain.number.map_or_else(|| u32::try_from(index), Ok)?);
            ensure!(!numbers.contains(&number), "domain {index}: number {number} is taken");
            numbers.push(number);
        }
        Ok(numbers)
    }

    /// Every processor, in the order of the file.
    fn cpus(&self) -> impl Iterator<Item = ApicId> {
        self.domains
            .iter()
            .filter_map(|domain| domain.cpus.as_ref())
            .flat_map(|ids| ids.0.iter().copied().map(ApicId))
    }
}

impl Domain {
    fn has_memory(&self) -> bool {
        !self.memory.is_empty() || !self.hot_pluggable.is_empty()
    }

    fn has_cpus(&self) -> bool {
        self.cpus.as_ref().is_some_and(|ids| !ids.0.is_empty())
    }

    fn is_initiator(&self) -> bool {
        self.has_cpus() || self.generic_initiator.is_some()
    }

    fn memory_flags(&self) -> MemoryFlags {
        let all = [
            (true, MemoryFlags::ENABLED),
            (self.non_volatile, MemoryFlags::NON_VOLATILE),
            (self.specific_purpose, MemoryFlags::SPECIFIC_PURPOSE),
        ];
        all.iter().filter(|(set, _)| *set).fold(MemoryFlags(0), |flags, (_, flag)| flags.union(*flag))
    }
}

/// The local APIC id of a structure that has one byte for it; 255 addresses all processors.
fn short_id(id: ApicId) -> Option<u8> {
    u8::try_from(id.0).ok().filter(|id| *id != 0xff)
}

fn madt(machine: &Machine, identity: Identity) -> Result<Option<Built>> {
    if machine.cpus().next().is_none() {
        return Ok(None);
    }
    let mut bytes = Vec::new();
    let mut writer = MadtWriter::new(&mut bytes, identity);
    for (index, id) in machine.cpus().enumerate() {
        let uid = u32::try_from(index)?;
        match (short_id(id), u8::try_from(uid)) {
            (Some(id), Ok(uid)) => writer.push(&LocalApic::new(uid, id)),
            _ => writer.push(&LocalX2Apic::new(ProcessorUid(uid), id)),
        }
    }
    writer.finish(Seal::Fill)?;
    Ok(Some(finished("APIC", bytes)))
}

fn srat(machine: &Machine, identity: Identity, numbers: &[ProximityDomain]) -> Result<Built> {
    let mut bytes = Vec::new();
    let mut writer = SratWriter::new(&mut bytes, identity);
    for (domain, number) in machine.domains.iter().zip(numbers) {
        for id in domain.cpus.iter().flat_map(|ids| &ids.0).copied().map(ApicId) {
            match short_id(id) {
                Some(id) => writer.push(&LocalApicAffinity::new(*number, id)),
                None => writer.push(&X2ApicAffinity::new(*number, id)),
            }
        }
        if let Some(device) = domain.generic_initiator {
            writer.push(&GenericAffinity::initiator(*number, device.0));
        }
    }
    for (domain, number) in machine.domains.iter().zip(numbers) {
        let flags = domain.memory_flags();
        let pluggable = flags.union(MemoryFlags::HOT_PLUGGABLE);
        let fixed = domain.memory.iter().map(|range| (range, flags));
        for (Range { start, size }, flags) in
            fixed.chain(domain.hot_pluggable.iter().map(|range| (range, pluggable)))
        {
            writer.push(&MemoryAffinity::new(*number, PhysAddr(*start), ByteCount(*size), flags));
        }
    }
    for bridge in &machine.bridges {
        if let Some(domain) = bridge.domain {
            let device = Device::Acpi { hid: *b"ACPI0016", uid: AcpiUid(bridge.uid) };
            writer.push(&GenericAffinity::port(ProximityDomain(domain), device));
        }
    }
    writer.finish(Seal::Fill)?;
    Ok(finished("SRAT", bytes))
}

/// Distances stand in the order of the file; the SLIT counts localities by domain number.
fn slit(distances: &[Vec<u8>], identity: Identity, numbers: &[ProximityDomain]) -> Result<Built> {
    shape(distances, numbers.len(), numbers.len(), "one for each domain")?;
    let last = numbers.iter().map(|number| number.0).max().unwrap_or(0);
    let localities = u16::try_from(last).ok().and_then(|last| last.checked_add(1));
    let localities = localities.context("a SLIT ends at domain 65534")?;
    let place = |locality: usize| numbers.iter().position(|number| usize::try_from(number.0) == Ok(locality));
    let distance = |from: usize, to: usize| match (place(from), place(to)) {
        (Some(from), Some(to)) => Distance(distances[from][to]),
        // Localities without a domain need a value that consumers accept.
        _ if from == to => Distance(10),
        _ => Distance(20),
    };
    let mut bytes = Vec::new();
    SlitWriter::new(&mut bytes, identity, localities, distance).finish(Seal::Fill)?;
    Ok(finished("SLIT", bytes))
}

fn shape<T>(rows: &[Vec<T>], height: usize, width: usize, which: &str) -> Result<()> {
    ensure!(rows.len() == height, "expected {height} rows, {which}, found {}", rows.len());
    for (index, row) in rows.iter().enumerate() {
        ensure!(row.len() == width, "row {index}: expected {width} numbers, found {}", row.len());
    }
    Ok(())
}

fn hmat(machine: &Machine, identity: Identity, numbers: &[ProximityDomain]) -> Result<Built> {
    let mut bytes = Vec::new();
    let mut writer = HmatWriter::new(&mut bytes, identity);
    let with_number = || machine.domains.iter().zip(numbers.iter().copied());
    for (domain, number) in with_number().filter(|(domain, _)| domain.has_memory()) {
        let own = domain.has_cpus().then_some(number);
        writer.push(&MemoryProximityAttributes::new(number, domain.initiator.map(ProximityDomain).or(own)));
    }
    let initiators: Vec<_> =
        with_number().filter(|(domain, _)| domain.is_initiator()).map(|(_, n)| n).collect();
    let memory = with_number().filter(|(domain, _)| domain.has_memory()).map(|(_, number)| number);
    let ports = machine.bridges.iter().filter_map(|bridge| bridge.domain).map(ProximityDomain);
    let targets: Vec<_> = memory.chain(ports).collect();
    if let Some(performance) = &machine.performance {
        for (key, data_type, rows) in [
            ("latency_ns", DataType::ACCESS_LATENCY, &performance.latency_ns),
            ("read_latency_ns", DataType::READ_LATENCY, &performance.read_latency_ns),
            ("write_latency_ns", DataType::WRITE_LATENCY, &performance.write_latency_ns),
            ("bandwidth_mb_s", DataType::ACCESS_BANDWIDTH, &performance.bandwidth_mb_s),
            ("read_bandwidth_mb_s", DataType::READ_BANDWIDTH, &performance.read_bandwidth_mb_s),
            ("write_bandwidth_mb_s", DataType::WRITE_BANDWIDTH, &performance.write_bandwidth_mb_s),
        ] {
            let Some(rows) = rows else { continue };
            let cells = || -> Result<_> {
                shape(rows, initiators.len(), targets.len(), "one for each domain with processors")?;
                scale(&rows.concat(), data_type)
            };
            let (unit, cells) = cells().with_context(|| format!("performance.{key}"))?;
            let header = LocalityHeader::new(data_type, unit);
            writer
                .push_locality(&header, &initiators, &targets, |from, to| cells[from * targets.len() + to])?;
        }
    }
    for (domain, number) in with_number() {
        let total = u32::try_from(domain.cache.len()).ok().filter(|total| *total <= 3);
        let total = total.with_context(|| format!("domain {number}: at most 3 levels of cache"))?;
        for (cache, level) in domain.cache.iter().zip(1..) {
            writer.push_memory_side_cache(&side_cache(cache, number, level, total), &[])?;
        }
    }
    writer.finish(Seal::Fill)?;
    Ok(finished("HMAT", bytes))
}

fn side_cache(cache: &Cache, number: ProximityDomain, level: u32, total: u32) -> MemorySideCacheHeader {
    let attributes = CacheAttributes::default()
        .with_total_levels(CacheLevel(total))
        .with_level(CacheLevel(level))
        .with_associativity(match cache.associativity {
            Associativity::None => CacheAssociativity::NONE,
            Associativity::Direct => CacheAssociativity::DIRECT_MAPPED,
            Associativity::Complex => CacheAssociativity::COMPLEX,
        })
        .with_write_policy(match cache.write_policy {
            WritePolicy::None => CacheWritePolicy::NONE,
            WritePolicy::WriteBack => CacheWritePolicy::WRITE_BACK,
            WritePolicy::WriteThrough => CacheWritePolicy::WRITE_THROUGH,
        })
        .with_line_size(CacheLineSize(u32::from(cache.line)));
    let mode = if cache.extended_linear { AddressMode::EXTENDED_LINEAR } else { AddressMode::RESERVED };
    let header = MemorySideCacheHeader::new(number, ByteCount(cache.size.0), attributes);
    MemorySideCacheHeader { address_mode: mode.into(), ..header }
}

/// A base unit in which all figures are whole numbers of 16 bits, and those numbers.
///
/// Nanoseconds (1000 ps) and MB/s are preferred; otherwise the largest unit that divides all of them.
fn scale(figures: &[Cell], data_type: DataType) -> Result<(EntryBaseUnit, Vec<MatrixCell>)> {
    let is_latency = data_type <= DataType::WRITE_LATENCY;
    let (per_figure, usual, what) = if is_latency { (1000.0, 1000, "ps") } else { (1.0, 1, "MB/s") };
    let counts: Vec<Option<u64>> = figures
        .iter()
        .map(|figure| match figure {
            Cell::Value(value) => {
                let count = (value * per_figure).round();
                ensure!((1.0..=4_294_967_295.0).contains(&count), "{value} is out of range");
                // In range by the check above, so the cast keeps the number.
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
                Ok(Some(count as u64))
            }
            Cell::Unknown | Cell::Unreachable => Ok(None),
        })
        .collect::<Result<_>>()?;
    let fits = |unit: u64| counts.iter().flatten().all(|count| count % unit == 0 && count / unit < 0xffff);
    let largest = counts.iter().flatten().copied().fold(0, greatest_divisor).max(1);
    let unit = [usual, largest].into_iter().find(|unit| fits(*unit)).with_context(|| {
        format!(
            "no base unit makes all figures whole 16-bit numbers; their common divisor is {largest} {what}"
        )
    })?;
    let cell = |(count, figure): (&Option<u64>, &Cell)| match (count, figure) {
        (Some(count), _) => Ok(MatrixCell(u16::try_from(count / unit)?)),
        (None, Cell::Unreachable) => Ok(MatrixCell(0xffff)),
        (None, _) => Ok(MatrixCell(0)),
    };
    Ok((EntryBaseUnit(unit), counts.iter().zip(figures).map(cell).collect::<Result<_>>()?))
}

fn greatest_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { greatest_divisor(b, a % b) }
}

/// The code of a granularity: 256 bytes doubled that many times.
fn granularity_code(granularity: Size) -> Result<u8> {
    (0..=6)
        .find(|code| 256 << code == granularity.0)
        .with_context(|| format!("granularity {} is none of 256, 512, 1K, 2K, 4K, 8K, 16K", granularity.0))
}

fn cedt(machine: &Machine, identity: Identity) -> Result<Built> {
    let mut bytes = Vec::new();
    let mut writer = CedtWriter::new(&mut bytes, identity);
    for bridge in &machine.bridges {
        let (version, registers) =
            if bridge.cxl11 { (CxlVersion::CXL_1_1, 0x2000) } else { (CxlVersion::CXL_2_0, 0x1_0000) };
        let base = PhysAddr(bridge.registers.0);
        writer.push(&HostBridge::new(AcpiUid(bridge.uid), version, base, ByteCount(registers)));
    }
    // Maps belong to a granularity, not to a window.
    let mut maps: Vec<(u8, &[Size])> = Vec::new();
    for (index, window) in machine.windows.iter().enumerate() {
        let place = || format!("window {index}");
        let ways = window.targets.len();
        ensure!(
            InterleaveWays::from_ways(ways).is_some(),
            "{}: {ways} targets; a window has 1, 2, 3, 4, 6, 8, 12 or 16",
            place()
        );
        let code = granularity_code(window.granularity).with_context(place)?;
        let restrictions = window.restrictions.iter().fold(WindowRestrictions(0), |all, restriction| {
            all.union(match restriction {
                Restriction::Device => WindowRestrictions::DEVICE_COHERENT,
                Restriction::HostOnly => WindowRestrictions::HOST_ONLY_COHERENT,
                Restriction::Volatile => WindowRestrictions::VOLATILE,
                Restriction::Persistent => WindowRestrictions::PERSISTENT,
                Restriction::Fixed => WindowRestrictions::FIXED_CONFIGURATION,
                Restriction::BackInvalidate => WindowRestrictions::BACK_INVALIDATE,
            })
        });
        let mut header = FixedMemoryWindowHeader::new(
            PhysAddr(window.range.start),
            ByteCount(window.range.size),
            InterleaveGranularity(u32::from(code)),
            restrictions,
        );
        header.qtg_id = memtopo::tables::wire::Le::from(window.qtg);
        if !window.xormaps.is_empty() {
            header.interleave_arithmetic = InterleaveArithmetic::MODULO_XOR.into();
            match maps.iter().find(|(granularity, _)| *granularity == code) {
                Some((_, known)) if *known != window.xormaps.as_slice() => {
                    bail!("{}: another window of the same granularity has other xormaps", place());
                }
                Some(_) => {}
                None => maps.push((code, &window.xormaps)),
            }
        }
        let targets: Vec<_> = window.targets.iter().copied().map(AcpiUid).collect();
        writer.push_window(&header, &targets)?;
    }
    for (code, maps) in maps {
        let maps: Vec<_> = maps.iter().map(|map| XorMap(map.0)).collect();
        writer.push_xor_interleave_math(&XorInterleaveMathHeader::new(MapGranularity(code)), &maps)?;
    }
    writer.finish(Seal::Fill)?;
    Ok(finished("CEDT", bytes))
}

impl Figures {
    /// What is given, with its data type.
    fn given(&self) -> impl Iterator<Item = (DataType, Cell)> {
        let all = [
            (DataType::ACCESS_LATENCY, self.latency_ns),
            (DataType::READ_LATENCY, self.read_latency_ns),
            (DataType::WRITE_LATENCY, self.write_latency_ns),
            (DataType::ACCESS_BANDWIDTH, self.bandwidth_mb_s),
            (DataType::READ_BANDWIDTH, self.read_bandwidth_mb_s),
            (DataType::WRITE_BANDWIDTH, self.write_bandwidth_mb_s),
        ];
        all.into_iter().filter_map(|(data_type, cell)| Some((data_type, cell?)))
    }
}

fn cdats(machine: &Machine) -> Result<Vec<Built>> {
    let header = CdatHeader::new(2, 0);
    let mut built = Vec::new();
    for device in &machine.devices {
        let place = || format!("device {}", device.name);
        let mut bytes = Vec::new();
        let mut writer = CdatWriter::new(&mut bytes, &header);
        let mut base = 0_u64;
        for (index, memory) in device.memory.iter().enumerate() {
            let handle = DsmasHandle(u8::try_from(index).with_context(place)?);
            let flags = [
                (memory.non_volatile, DsmasFlags::NON_VOLATILE),
                (memory.shareable, DsmasFlags::SHAREABLE),
                (memory.dynamic_capacity, DsmasFlags::DYNAMIC_CAPACITY),
                (memory.read_only, DsmasFlags::READ_ONLY),
            ];
            let flags =
                flags.iter().filter(|(set, _)| *set).fold(DsmasFlags(0), |all, (_, flag)| all.union(*flag));
            writer.push(&Dsmas::new(handle, DeviceAddr(base), ByteCount(memory.size.0), flags));
            for (data_type, figure) in memory.figures.given() {
                let (unit, cells) = scale(&[figure], data_type).with_context(place)?;
                writer.push(&Dslbis::new(handle, data_type, unit, cells[0]));
            }
            if let Some(efi) = memory.efi {
                let memory_use = match efi {
                    EfiUse::Conventional => EfiMemoryUse::CONVENTIONAL,
                    EfiUse::SpecificPurpose => EfiMemoryUse::SPECIFIC_PURPOSE,
                    EfiUse::Reserved => EfiMemoryUse::RESERVED,
                };
                writer.push(&Dsemts::new(handle, memory_use, ByteCount(0), ByteCount(memory.size.0)));
            }
            base = base.checked_add(memory.size.0).with_context(place)?;
        }
        writer.finish(Seal::Fill)?;
        built.push(finished(&format!("CDAT_{}", device.name), bytes));
    }
    for switch in &machine.switches {
        let mut bytes = Vec::new();
        let mut writer = CdatWriter::new(&mut bytes, &header);
        for data_type in (0..=5).map(DataType) {
            let paths: Vec<_> = switch
                .path
                .iter()
                .flat_map(|path| path.figures.given().map(move |(kind, figure)| (kind, path, figure)))
                .filter(|(kind, ..)| *kind == data_type)
                .collect();
            if paths.is_empty() {
                continue;
            }
            let figures: Vec<_> = paths.iter().map(|(_, _, figure)| *figure).collect();
            let (unit, cells) =
                scale(&figures, data_type).with_context(|| format!("switch {}", switch.name))?;
            let entries: Vec<_> = paths
                .iter()
                .zip(cells)
                .map(|((_, path, _), cell)| SslbisEntry::new(PortId(path.from.0), PortId(path.to.0), cell))
                .collect();
            writer.push_sslbis(&SslbisHeader::new(data_type, unit), &entries)?;
        }
        writer.finish(Seal::Fill)?;
        built.push(finished(&format!("CDAT_{}", switch.name), bytes));
    }
    Ok(built)
}

impl IdentityText {
    fn identity(&self) -> Result<Identity> {
        let default = Identity::default();
        Ok(Identity {
            oem_id: padded(&self.oem_id, default.oem_id).context("identity.oem_id")?,
            oem_table_id: padded(&self.oem_table_id, default.oem_table_id)
                .context("identity.oem_table_id")?,
            oem_revision: self.oem_revision.unwrap_or(default.oem_revision),
            creator_id: padded(&self.creator_id, default.creator_id).context("identity.creator_id")?,
            creator_revision: self.creator_revision.unwrap_or(default.creator_revision),
        })
    }
}

/// Text filled up with spaces to the width of its field.
fn padded<const N: usize>(text: &Option<String>, default: [u8; N]) -> Result<[u8; N]> {
    let Some(text) = text else { return Ok(default) };
    ensure!(text.is_ascii() && text.len() <= N, "expected at most {N} ASCII characters, found {text:?}");
    let mut bytes = [b' '; N];
    bytes[..text.len()].copy_from_slice(text.as_bytes());
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_become_whole_cells_in_the_usual_unit_where_that_is_exact() {
        let cells = [Cell::Value(100.0), Cell::Value(250.0), Cell::Unknown, Cell::Unreachable];
        let (unit, cells) = scale(&cells, DataType::ACCESS_LATENCY).unwrap();
        assert_eq!(unit, EntryBaseUnit(1000));
        assert_eq!(cells, [100, 250, 0, 0xffff].map(MatrixCell));
        // 99.5 ns is no whole number of nanoseconds: 99 500 ps and 100 000 ps share 500 ps.
        let (unit, cells) =
            scale(&[Cell::Value(99.5), Cell::Value(100.0)], DataType::ACCESS_LATENCY).unwrap();
        assert_eq!((unit, cells), (EntryBaseUnit(500), vec![MatrixCell(199), MatrixCell(200)]));
        // 128 000 MB/s does not fit 16 bits in MB/s; 128 000 and 64 000 share 64 000.
        let (unit, cells) =
            scale(&[Cell::Value(128e3), Cell::Value(64e3)], DataType::READ_BANDWIDTH).unwrap();
        assert_eq!((unit, cells), (EntryBaseUnit(64_000), vec![MatrixCell(2), MatrixCell(1)]));
        assert!(scale(&[Cell::Value(100_003.0), Cell::Value(7.0)], DataType::READ_BANDWIDTH).is_err());
    }
}
