//! CDAT.

use crate::sink::{Sink, Source};
use memtopo::error::WriteError;
use memtopo::tables::cdat::*;
use memtopo::tables::hmat::{CacheAttributes, DataType};
use memtopo::tables::output::{Seal, SliceOutput};
use memtopo::units::*;

crate::entry_points!(memtopo_probe_cdat_read => read, memtopo_probe_cdat_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    let cdat = match Cdat::parse(input) {
        Ok(cdat) => cdat,
        Err(fault) => return sink.fault(&fault),
    };
    sink.structure(cdat.header());
    sink.bytes(cdat.bytes());
    sink.bytes(cdat.trailing());
    cdat.faults().for_each(|fault| sink.fault(&fault));
    for entry in cdat.entries() {
        match entry {
            Ok(Entry::Dsmas(structure)) => sink.structure(structure),
            Ok(Entry::Dslbis(structure)) => sink.structure(structure),
            Ok(Entry::Dsmscis(structure)) => sink.structure(structure),
            Ok(Entry::Dsis(structure)) => sink.structure(structure),
            Ok(Entry::Dsemts(structure)) => sink.structure(structure),
            Ok(Entry::Sslbis(paths)) => {
                sink.structure(paths.header());
                sink.structure(paths.entries());
                sink.bytes(paths.rest());
            }
            Ok(Entry::Unknown(raw)) => sink.bytes(raw.bytes),
            Ok(_) => {}
            Err(fault) => sink.fault(&fault),
        }
    }
    sink.walk(cdat.raw_entries());
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let mut writer = CdatWriter::new(SliceOutput::new(output), &CdatHeader::new(1, 0));
    while let Some(result) = push(&mut source, &mut writer) {
        if let Err(error) = result {
            return sink.written(Err(error));
        }
    }
    writer.push_raw(source.rest());
    let seal = if source.rest().is_empty() { Seal::Fill } else { Seal::Keep };
    sink.written(writer.finish(seal));
}

fn push(source: &mut Source<'_>, writer: &mut CdatWriter<SliceOutput<'_>>) -> Option<Result<(), WriteError>> {
    let handle = DsmasHandle(source.next8()?);
    let (base, size) = (DeviceAddr(source.next()?), ByteCount(source.next()?));
    let (data_type, unit) = (DataType(source.next8()?), EntryBaseUnit(source.next()?));
    let cell = MatrixCell(source.next16()?);
    writer.push(&Dsmas::new(handle, base, size, DsmasFlags(source.next8()?)));
    writer.push(&Dslbis::new(handle, data_type, unit, cell));
    writer.push(&Dsmscis::new(handle, size, CacheAttributes(source.next32()?)));
    writer.push(&Dsis::new(handle, DsisFlags(source.next8()?)));
    writer.push(&Dsemts::new(handle, EfiMemoryUse(source.next8()?), size, size));
    let entries = [SslbisEntry::new(PortId(source.next16()?), PortId(source.next16()?), cell); 4];
    let count = usize::from(source.next8()?);
    Some(writer.push_sslbis(&SslbisHeader::new(data_type, unit), entries.get(..count).unwrap_or(&entries)))
}
