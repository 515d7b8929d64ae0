//! Reading and writing into slices allocate nothing; writing into a vector takes little more than the output.

use memtopo::error::{TableError, WriteError};
use memtopo::tables::anatomy::{Format, anatomy};
use memtopo::tables::header::Identity;
use memtopo::tables::output::{Output, Seal, SliceOutput};
use memtopo::tables::{cdat, cedt, efi, hmat, slit, srat};
use memtopo::units::{EntryBaseUnit, ProximityDomain};
use memtopo_benches::blocks::Blocks;
use memtopo_benches::inputs;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::hint::black_box;

/// What one thread has asked for.
#[derive(Clone, Copy)]
struct Count {
    calls: usize,
    current: usize,
    peak: usize,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { calls: 0, current: 0, peak: 0 }) };
}

/// The allocator of the system, with a count for each thread.
struct Counting;

impl Counting {
    fn note(calls: usize, taken: usize, given_back: usize) {
        COUNT.with(|cell| {
            let mut count = cell.get();
            count.calls += calls;
            // Memory of another thread may be given back here.
            count.current = (count.current + taken).saturating_sub(given_back);
            count.peak = count.peak.max(count.current);
            cell.set(count);
        });
    }
}

// SAFETY: every call goes to the allocator of the system unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        Self::note(1, layout.size(), 0);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        Self::note(0, 0, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        // For a moment there may be both.
        Self::note(1, size, 0);
        Self::note(0, 0, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Runs `work`, and tells how often it asked for memory and how much it held at most.
fn counted<T>(work: impl FnOnce() -> T) -> (T, usize, usize) {
    let before = COUNT.get();
    COUNT.set(Count { peak: before.current, ..before });
    let result = work();
    let after = COUNT.get();
    (result, after.calls - before.calls, after.peak - before.current)
}

fn read(format: Format, bytes: &[u8], view: impl FnOnce(&[u8]) -> Result<usize, TableError>) {
    let (entries, calls, _) = counted(|| view(black_box(bytes)));
    assert!(entries.expect("a good table") > 0, "{format:?}: nothing was read");
    assert_eq!(calls, 0, "{format:?}: reading allocates");
    let (pieces, calls, _) = counted(|| {
        let groups = anatomy(format, black_box(bytes))?;
        Ok::<_, TableError>(groups.map(|group| group.pieces().count()).sum::<usize>())
    });
    assert!(pieces.expect("a good table") > 0);
    assert_eq!(calls, 0, "{format:?}: the anatomy allocates");
}

#[test]
fn the_count_counts() {
    let (vec, calls, peak) = counted(|| vec![0_u8; 1000]);
    assert_eq!((vec.len(), calls, peak), (1000, 1, 1000));
}

#[test]
fn reading_allocates_nothing() {
    read(Format::Sdt, &inputs::srat(1000), |bytes| Ok(srat::Srat::parse(bytes)?.entries().flatten().count()));
    read(Format::Sdt, &inputs::hmat(64), |bytes| Ok(hmat::Hmat::parse(bytes)?.entries().flatten().count()));
    read(Format::Sdt, &inputs::slit(64), |bytes| Ok(slit::Slit::parse(bytes)?.matrix()?.distances().len()));
    read(Format::Sdt, &inputs::cedt(100), |bytes| Ok(cedt::Cedt::parse(bytes)?.entries().flatten().count()));
    read(Format::Cdat, &inputs::cdat(100), |bytes| Ok(cdat::Cdat::parse(bytes)?.entries().flatten().count()));
    read(Format::EfiMap { stride: 48 }, &inputs::efi_map(100), |bytes| {
        Ok(efi::EfiMap::parse(bytes, 48)?.descriptors().count())
    });
}

#[test]
fn reading_what_is_broken_allocates_nothing() {
    let mut bytes = inputs::srat(1000);
    bytes[48 + 24 + 1] = 0;
    let (faults, calls, _) = counted(|| {
        let srat = srat::Srat::parse(black_box(&bytes)).expect("the fixed part is whole");
        (srat.entries().filter(Result::is_err).count(), srat.table().faults().count())
    });
    assert_eq!((faults, calls), ((1, 1), 0));
}

#[test]
fn writing_into_a_slice_allocates_nothing() {
    let domains = inputs::domains(64);
    let mut buffer = vec![0; 0x1_0000];
    let (lengths, calls, _) = counted(|| {
        let mut writer = srat::SratWriter::new(SliceOutput::new(&mut buffer), Identity::default());
        (0..1000).for_each(|index| writer.push(&inputs::memory(index, ProximityDomain(0))));
        let srat = writer.finish(Seal::Fill);
        let mut writer = hmat::HmatWriter::new(SliceOutput::new(&mut buffer), Identity::default());
        let header = hmat::LocalityHeader::new(hmat::DataType::ACCESS_LATENCY, EntryBaseUnit(1000));
        let pushed = writer.push_locality(&header, &domains, &domains, inputs::cell);
        // Too small for both: refused, with the length, and without memory.
        let refused =
            srat::SratWriter::new(SliceOutput::new(&mut []), Identity::default()).finish(Seal::Fill);
        (srat, pushed, refused.is_err())
    });
    assert_eq!(lengths, (Ok(40_048), Ok(()), true));
    assert_eq!(calls, 0, "writing into a slice allocates");
}

/// Rows and columns of the largest matrix that people generate.
const SIDE: usize = 4096;

fn within_5_percent(what: &str, length: usize, peak: usize) {
    let more = 100.0 * (peak as f64 / length as f64 - 1.0);
    println!("{what}: {length} bytes written, at most {peak} held ({more:.2} % more)");
    assert!(peak <= length + length / 20, "{what}: {peak} bytes were held to write {length}");
}

#[test]
fn a_vector_takes_a_large_matrix_without_doubling() {
    let domains = inputs::domains(SIDE);
    let (bytes, _, peak) = counted(|| {
        let mut bytes = Vec::new();
        let mut writer = hmat::HmatWriter::new(&mut bytes, Identity::default());
        let header = hmat::LocalityHeader::new(hmat::DataType::ACCESS_LATENCY, EntryBaseUnit(1000));
        writer.push_locality(&header, &domains, &domains, inputs::cell).expect("below 4 GiB");
        writer.finish(Seal::Fill).expect("below 4 GiB");
        bytes
    });
    assert_eq!(bytes.len(), 72 + 8 * SIDE + 2 * SIDE * SIDE);
    within_5_percent("one matrix", bytes.len(), peak);
}

/// Whatever follows the matrix: measured first, the vector never grows.
#[test]
fn a_table_that_is_measured_first_takes_its_own_size() {
    fn write<O: Output>(output: O, domains: &[ProximityDomain]) -> Result<u64, WriteError> {
        let mut writer = hmat::HmatWriter::new(output, Identity::default());
        for domain in domains {
            writer.push(&hmat::MemoryProximityAttributes::new(*domain, None));
        }
        for data_type in [hmat::DataType::ACCESS_LATENCY, hmat::DataType::ACCESS_BANDWIDTH] {
            let header = hmat::LocalityHeader::new(data_type, EntryBaseUnit(1000));
            writer.push_locality(&header, domains, domains, inputs::cell)?;
        }
        writer.finish(Seal::Fill)
    }
    let domains = inputs::domains(SIDE);
    let (bytes, calls, peak) = counted(|| {
        let Err(WriteError::BufferTooSmall { needed, .. }) = write(SliceOutput::new(&mut []), &domains)
        else {
            panic!("an empty slice holds a table");
        };
        let mut bytes = Vec::with_capacity(usize::try_from(needed).expect("fits in memory"));
        assert_eq!(write(&mut bytes, &domains), Ok(needed));
        bytes
    });
    assert_eq!(calls, 1);
    within_5_percent("two matrices, measured first", bytes.len(), peak);
}

/// Boot layout, an addition of as many blocks again and its removal: memory follows the ranges, not the blocks.
#[test]
fn memory_of_a_hotplug_plan_does_not_grow_with_its_blocks() {
    let mut first = None;
    for order in 10..=20 {
        let machine = Blocks::new(1 << order);
        let (answers, calls, peak) = counted(|| machine.plan(|plan| plan.answers.len()));
        assert_eq!(answers, 2);
        println!(
            "2^{order} blocks at boot, as many added and removed: {calls} allocations, {peak} bytes held"
        );
        let (first_calls, first_peak) = *first.get_or_insert((calls, peak));
        // A span or a border more at most: numbers grow longer, lists do not.
        assert!(peak <= first_peak + first_peak / 4, "2^{order} blocks: {peak} bytes, {first_peak} for 2^10");
        assert!(calls <= first_calls + first_calls / 4, "2^{order} blocks: {calls} allocations");
    }
}
