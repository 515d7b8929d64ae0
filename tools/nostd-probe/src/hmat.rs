//! HMAT.

use crate::sink::{Sink, Source};
use memtopo::tables::header::Identity;
use memtopo::tables::hmat::*;
use memtopo::tables::output::{Seal, SliceOutput};
use memtopo::units::*;

crate::entry_points!(memtopo_probe_hmat_read => read, memtopo_probe_hmat_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    let hmat = match Hmat::parse(input) {
        Ok(hmat) => hmat,
        Err(fault) => return sink.fault(&fault),
    };
    sink.table(hmat.table());
    for entry in hmat.entries() {
        match entry {
            Ok(Entry::MemoryAttributes(structure)) => sink.structure(structure),
            Ok(Entry::AddressRange(structure)) => sink.structure(structure),
            Ok(Entry::Locality(locality)) => {
                sink.structure(locality.header());
                sink.number(locality.header().flags.get().memory_hierarchy().0);
                sink.number(locality.header().data_type.get().is_latency());
                sink.structure(locality.initiators());
                sink.structure(locality.targets());
                sink.structure(locality.cells());
                sink.bytes(locality.rest());
                // Places inside and outside the matrix.
                let (row, column) = (input.len() % 7, usize::from(hmat.table().revision()));
                sink.number(locality.cell(row, column).map_or(1, |cell| cell.0));
                locality.row(row).into_iter().for_each(|cells| sink.structure(cells));
            }
            Ok(Entry::MemorySideCache(cache)) => {
                sink.structure(cache.header());
                sink.number(cache.header().cache_attributes.get().level().0);
                sink.structure(cache.smbios_handles());
                sink.bytes(cache.rest());
            }
            Ok(Entry::Unknown(raw)) => sink.bytes(raw.bytes),
            Ok(_) => {}
            Err(fault) => sink.fault(&fault),
        }
    }
    sink.walk(hmat.raw_entries());
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let mut writer = HmatWriter::new(SliceOutput::new(output), Identity::default());
    while let Some(result) = push(&mut source, &mut writer) {
        if let Err(error) = result {
            return sink.written(Err(error));
        }
    }
    writer.push_raw(source.rest());
    let seal = if source.rest().is_empty() { Seal::Fill } else { Seal::Keep };
    sink.written(writer.finish(seal));
}

fn push(
    source: &mut Source<'_>,
    writer: &mut HmatWriter<SliceOutput<'_>>,
) -> Option<Result<(), memtopo::error::WriteError>> {
    let (near, far) = (ProximityDomain(source.next32()?), ProximityDomain(source.next32()?));
    writer.push(&MemoryProximityAttributes::new(far, (source.next8()? != 0).then_some(near)));
    let (base, size) = (PhysAddr(source.next()?), ByteCount(source.next()?));
    writer.push(&MemorySubsystemAddressRange::new(far, Some(near), base, size));
    let domains = [near; 64];
    let count = usize::from(source.next8()?);
    let header = LocalityHeader::new(DataType(source.next8()?), EntryBaseUnit(source.next()?));
    let domains = domains.get(..count).unwrap_or(&domains);
    let cell = source.next16()?;
    let pushed = writer.push_locality(&header, domains, domains, |row, column| {
        MatrixCell(if row == column { 0 } else { cell })
    });
    let header = MemorySideCacheHeader::new(far, size, CacheAttributes(source.next32()?));
    let handles = [SmbiosHandle(cell); 16];
    Some(
        pushed
            .and_then(|()| writer.push_memory_side_cache(&header, handles.get(..count).unwrap_or_default())),
    )
}
