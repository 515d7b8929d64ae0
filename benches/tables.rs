//! Reading and writing: the plain loop, memtopo, and the crates `acpi` and `acpi_tables` where they can do the job.
//!
//! What they cannot do, or do wrongly, is said at the place where they are missing. `cargo xtask bench-check` runs
//! this and compares the ratios with their limits.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use memtopo::error::{TableError, WriteError};
use memtopo::tables::header::Identity;
use memtopo::tables::output::{Seal, SliceOutput};
use memtopo::tables::{cdat, cedt, efi, hmat, slit, srat};
use memtopo::units::{EntryBaseUnit, ProximityDomain};
use memtopo_benches::{inputs, plain};
use std::hint::black_box;
use std::pin::Pin;
use std::time::Duration;

#[inline(never)]
fn read_srat(bytes: &[u8]) -> Result<(u64, u64), TableError> {
    let (mut memory, mut domains) = (0_u64, 0_u64);
    for entry in srat::Srat::parse(bytes)?.entries() {
        match entry? {
            srat::Entry::Memory(range) => {
                domains = domains.wrapping_add(range.proximity_domain.get().0.into());
                if range.flags.get().contains(srat::MemoryFlags::ENABLED) {
                    memory = memory
                        .wrapping_add(range.base_address.get().0)
                        .wrapping_add(range.address_length.get().0);
                }
            }
            srat::Entry::X2Apic(processor) => {
                domains = domains.wrapping_add(processor.proximity_domain.get().0.into());
            }
            _ => {}
        }
    }
    Ok((memory, domains))
}

/// Number of structures. Everything else is out of reach: the crate takes the length of a structure for two bytes, so
/// every field is one byte off, and the low byte of a domain other than 0 breaks the walk.
#[inline(never)]
fn acpi_count_srat(bytes: &[u8]) -> usize {
    assert!(bytes.len() >= 48);
    // SAFETY: the bytes hold a table, the structure has alignment 1, and nothing moves.
    let srat = unsafe { Pin::new_unchecked(&*bytes.as_ptr().cast::<acpi::sdt::srat::Srat>()) };
    srat.entries().count()
}

#[inline(never)]
fn read_hmat(bytes: &[u8]) -> Result<Option<u64>, TableError> {
    for entry in hmat::Hmat::parse(bytes)?.entries() {
        if let hmat::Entry::Locality(locality) = entry? {
            let mut sum = 0_u64;
            for cell in locality.cells() {
                let cell = cell.get().0;
                if cell != 0 && cell != 0xffff {
                    sum += u64::from(cell);
                }
            }
            return Ok(Some(sum));
        }
    }
    Ok(None)
}

/// The same cells, each asked for by its place.
#[inline(never)]
fn read_hmat_by_place(bytes: &[u8]) -> Result<Option<u64>, TableError> {
    for entry in hmat::Hmat::parse(bytes)?.entries() {
        if let hmat::Entry::Locality(locality) = entry? {
            let mut sum = 0_u64;
            for row in 0..locality.initiators().len() {
                for column in 0..locality.targets().len() {
                    if let Some(cell) =
                        locality.cell(row, column).filter(|cell| cell.0 != 0 && cell.0 != 0xffff)
                    {
                        sum += u64::from(cell.0);
                    }
                }
            }
            return Ok(Some(sum));
        }
    }
    Ok(None)
}

#[inline(never)]
fn read_slit(bytes: &[u8]) -> Result<u64, TableError> {
    let matrix = slit::Slit::parse(bytes)?.matrix()?;
    Ok(matrix.distances().iter().map(|distance| u64::from(distance.get().0)).sum())
}

#[inline(never)]
fn read_cedt(bytes: &[u8]) -> Result<(u64, u64), TableError> {
    let (mut bases, mut targets) = (0_u64, 0_u64);
    for entry in cedt::Cedt::parse(bytes)?.entries() {
        match entry? {
            cedt::Entry::HostBridge(bridge) => bases = bases.wrapping_add(bridge.base.get().0),
            cedt::Entry::FixedMemoryWindow(window) => {
                bases = bases.wrapping_add(window.header().base_hpa.get().0);
                for target in window.targets() {
                    targets = targets.wrapping_add(target.get().0.into());
                }
            }
            _ => {}
        }
    }
    Ok((bases, targets))
}

#[inline(never)]
fn read_cdat(bytes: &[u8]) -> Result<(u64, u64), TableError> {
    let (mut sizes, mut numbers) = (0_u64, 0_u64);
    for entry in cdat::Cdat::parse(bytes)?.entries() {
        match entry? {
            cdat::Entry::Dsmas(range) => sizes = sizes.wrapping_add(range.dpa_length.get().0),
            cdat::Entry::Dslbis(number) => {
                let unit = number.entry_base_unit.get().0;
                numbers = numbers.wrapping_add(unit.wrapping_mul(number.entry0.get().0.into()));
            }
            _ => {}
        }
    }
    Ok((sizes, numbers))
}

#[inline(never)]
fn read_efi_map(bytes: &[u8], stride: usize) -> Result<(u64, u64), TableError> {
    let (mut general, mut specific) = (0_u64, 0_u64);
    for (descriptor, _) in efi::EfiMap::parse(bytes, stride)?.descriptors() {
        if descriptor.r#type.get() == efi::EfiMemoryType::CONVENTIONAL {
            let pages = descriptor.number_of_pages.get().0;
            if descriptor.attribute.get().contains(efi::EfiAttributes::SP) {
                specific = specific.wrapping_add(pages);
            } else {
                general = general.wrapping_add(pages);
            }
        }
    }
    Ok((general, specific))
}

#[inline(never)]
fn write_srat(buffer: &mut [u8], entries: usize) -> Result<u64, WriteError> {
    let mut writer = srat::SratWriter::new(SliceOutput::new(buffer), Identity::default());
    for index in 0..entries {
        let domain = ProximityDomain(u32::try_from(index).unwrap_or(u32::MAX));
        writer.push(&inputs::memory(index, domain));
    }
    writer.finish(Seal::Fill)
}

#[inline(never)]
fn write_srat_to_vec(mut bytes: Vec<u8>, entries: usize) -> Vec<u8> {
    let mut writer = srat::SratWriter::new(&mut bytes, Identity::default());
    for index in 0..entries {
        let domain = ProximityDomain(u32::try_from(index).unwrap_or(u32::MAX));
        writer.push(&inputs::memory(index, domain));
    }
    let _ = writer.finish(Seal::Fill);
    bytes
}

/// A growing vector as the sink of `acpi_tables`.
struct Sink(Vec<u8>);

impl acpi_tables::AmlSink for Sink {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }
    fn vec(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
    }
}

#[inline(never)]
fn acpi_tables_write_srat(buffer: Vec<u8>, entries: usize) -> Vec<u8> {
    use acpi_tables::Aml;
    use acpi_tables::srat::{MemoryAffinity, SRAT};
    let mut table = SRAT::new(*b"MTOPO ", *b"MEMTOPO ", 1);
    for index in 0..entries {
        let domain = u32::try_from(index).unwrap_or(u32::MAX);
        let memory = MemoryAffinity::new(domain, index as u64 * inputs::GIB, inputs::GIB);
        table.add_memory_affinity(memory.enabled());
    }
    let mut sink = Sink(buffer);
    table.to_aml_bytes(&mut sink);
    sink.0
}

#[inline(never)]
fn write_hmat(buffer: &mut [u8], domains: &[ProximityDomain]) -> Result<u64, WriteError> {
    let mut writer = hmat::HmatWriter::new(SliceOutput::new(buffer), Identity::default());
    let header = hmat::LocalityHeader::new(hmat::DataType::ACCESS_LATENCY, EntryBaseUnit(1000));
    writer.push_locality(&header, domains, domains, inputs::cell)?;
    writer.finish(Seal::Fill)
}

/// Square matrices only: the crate finds the place of a cell with the number of rows instead of columns.
#[inline(never)]
fn acpi_tables_write_hmat(buffer: Vec<u8>, side: usize) -> Vec<u8> {
    use acpi_tables::Aml;
    use acpi_tables::hmat::{DataType, HMAT, LocalityType, MinTransferSize, SystemLocality};
    let mut table = HMAT::new(*b"MTOPO ", *b"MEMTOPO ", 1);
    let (kind, data, size) =
        (LocalityType::Memory, DataType::AccessLatency, MinTransferSize::SizeByteAligned);
    let mut locality = SystemLocality::new(kind, data, size, 1000, side, side);
    for index in 0..side {
        let domain = u32::try_from(index).unwrap_or(u32::MAX);
        locality.set_initiator_value(index, domain);
        locality.set_target_value(index, domain);
    }
    for row in 0..side {
        for column in 0..side {
            locality.set_entry_value(row, column, inputs::cell(row, column).0);
        }
    }
    table.add_system_locality(locality);
    let mut sink = Sink(buffer);
    table.to_aml_bytes(&mut sink);
    sink.0
}

/// What two tables have in common when only revision, creator and checksum may differ.
fn body(bytes: &[u8]) -> &[u8] {
    &bytes[36..]
}

fn reading(c: &mut Criterion) {
    for (name, entries) in [("read-srat-1k", 1_000), ("read-srat-100k", 100_000)] {
        let bytes = inputs::srat(entries);
        assert_eq!(read_srat(&bytes).ok(), plain::read_srat(&bytes));
        let of_domain_0 = inputs::srat_of_domain_0(entries);
        assert_eq!(acpi_count_srat(&of_domain_0), entries);
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(entries as u64));
        group.bench_function("plain", |b| b.iter(|| plain::read_srat(black_box(&bytes))));
        group.bench_function("memtopo", |b| b.iter(|| read_srat(black_box(&bytes))));
        group.bench_function("acpi", |b| b.iter(|| acpi_count_srat(black_box(&of_domain_0))));
        group.finish();
    }

    let bytes = inputs::hmat(1024);
    assert_eq!(read_hmat(&bytes).expect("good"), plain::read_hmat(&bytes));
    assert_eq!(read_hmat_by_place(&bytes).expect("good"), plain::read_hmat(&bytes));
    let mut group = c.benchmark_group("read-hmat-1024");
    group.throughput(Throughput::Elements(1024 * 1024));
    group.bench_function("plain", |b| b.iter(|| plain::read_hmat(black_box(&bytes))));
    group.bench_function("memtopo", |b| b.iter(|| read_hmat(black_box(&bytes))));
    group.bench_function("memtopo-by-place", |b| b.iter(|| read_hmat_by_place(black_box(&bytes))));
    group.finish();

    // The crate `acpi` reads SLIT, but squares the number of localities twice when it checks the size, and gives an
    // empty matrix for two localities and more.
    let bytes = inputs::slit(1024);
    assert_eq!(read_slit(&bytes).ok(), plain::read_slit(&bytes));
    let mut group = c.benchmark_group("read-slit-1024");
    group.throughput(Throughput::Elements(1024 * 1024));
    group.bench_function("plain", |b| b.iter(|| plain::read_slit(black_box(&bytes))));
    group.bench_function("memtopo", |b| b.iter(|| read_slit(black_box(&bytes))));
    group.finish();

    let bytes = inputs::cedt(1_000);
    assert_eq!(read_cedt(&bytes).ok(), plain::read_cedt(&bytes));
    let mut group = c.benchmark_group("read-cedt-2k");
    group.throughput(Throughput::Elements(2_000));
    group.bench_function("plain", |b| b.iter(|| plain::read_cedt(black_box(&bytes))));
    group.bench_function("memtopo", |b| b.iter(|| read_cedt(black_box(&bytes))));
    group.finish();

    let bytes = inputs::cdat(1_000);
    assert_eq!(read_cdat(&bytes).ok(), plain::read_cdat(&bytes));
    let mut group = c.benchmark_group("read-cdat-5k");
    group.throughput(Throughput::Elements(5_000));
    group.bench_function("plain", |b| b.iter(|| plain::read_cdat(black_box(&bytes))));
    group.bench_function("memtopo", |b| b.iter(|| read_cdat(black_box(&bytes))));
    group.finish();

    let bytes = inputs::efi_map(10_000);
    assert_eq!(read_efi_map(&bytes, 48).ok(), plain::read_efi_map(&bytes, 48));
    let mut group = c.benchmark_group("read-efi-10k");
    group.throughput(Throughput::Elements(10_000));
    group.bench_function("plain", |b| b.iter(|| plain::read_efi_map(black_box(&bytes), black_box(48))));
    group.bench_function("memtopo", |b| b.iter(|| read_efi_map(black_box(&bytes), black_box(48))));
    group.finish();
}

fn writing(c: &mut Criterion) {
    for (name, entries) in [("write-srat-1k", 1_000), ("write-srat-100k", 100_000)] {
        let size = 48 + 40 * entries;
        let (mut ours, mut plains) = (vec![0; size], vec![0; size]);
        assert_eq!(write_srat(&mut ours, entries), Ok(size as u64));
        assert_eq!(plain::write_srat(&mut plains, entries), Some(size));
        assert!(ours == plains, "the plain loop writes another table");
        let theirs = acpi_tables_write_srat(Vec::new(), entries);
        assert!(body(&theirs) == body(&ours), "acpi_tables writes another body");
        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(entries as u64));
        group.bench_function("plain", |b| b.iter(|| plain::write_srat(black_box(&mut plains), entries)));
        group.bench_function("memtopo", |b| b.iter(|| write_srat(black_box(&mut ours), entries)));
        group.bench_function("memtopo-vec", |b| {
            b.iter(|| write_srat_to_vec(Vec::with_capacity(size), black_box(entries)))
        });
        group.bench_function("acpi_tables", |b| {
            // With all the room reserved, as the others have it.
            b.iter(|| acpi_tables_write_srat(Vec::with_capacity(size), black_box(entries)))
        });
        group.finish();
    }

    const SIDE: usize = 1024;
    let size = 72 + 8 * SIDE + 2 * SIDE * SIDE;
    let domains = inputs::domains(SIDE);
    let (mut ours, mut plains) = (vec![0; size], vec![0; size]);
    let cell = |row, column| inputs::cell(row, column).0;
    assert_eq!(write_hmat(&mut ours, &domains), Ok(size as u64));
    assert_eq!(plain::write_hmat(&mut plains, SIDE, cell), Some(size));
    assert!(ours == plains, "the plain loop writes another table");
    let theirs = acpi_tables_write_hmat(Vec::new(), SIDE);
    assert!(body(&theirs) == body(&ours), "acpi_tables writes another body");
    let mut group = c.benchmark_group("write-hmat-1024");
    group.throughput(Throughput::Elements((SIDE * SIDE) as u64));
    group.bench_function("plain", |b| b.iter(|| plain::write_hmat(black_box(&mut plains), SIDE, cell)));
    group.bench_function("memtopo", |b| b.iter(|| write_hmat(black_box(&mut ours), black_box(&domains))));
    group.bench_function("acpi_tables", |b| {
        b.iter(|| acpi_tables_write_hmat(Vec::with_capacity(size), black_box(SIDE)))
    });
    group.finish();
}

criterion_group! {
    name = tables;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .without_plots();
    targets = reading, writing
}
criterion_main!(tables);
