//! MSCT.

use crate::sink::{Sink, Source};
use memtopo::tables::header::Identity;
use memtopo::tables::msct::*;
use memtopo::tables::output::{Seal, SliceOutput};
use memtopo::units::*;

crate::entry_points!(memtopo_probe_msct_read => read, memtopo_probe_msct_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    let msct = match Msct::parse(input) {
        Ok(msct) => msct,
        Err(fault) => return sink.fault(&fault),
    };
    sink.table(msct.table());
    sink.structure(msct.prologue());
    sink.number(msct.proximity_domains());
    sink.number(msct.clock_domains());
    match msct.gap() {
        Ok(gap) => sink.bytes(gap),
        Err(fault) => sink.fault(&fault),
    }
    for entry in msct.entries() {
        match entry {
            Ok(Entry::ProximityDomain(structure)) => sink.structure(structure),
            Ok(Entry::Unknown(raw)) => sink.bytes(raw.bytes),
            Ok(_) => {}
            Err(fault) => sink.fault(&fault),
        }
    }
    sink.walk(msct.raw_entries());
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let domains = source.next32().unwrap_or_default();
    let bounds = MsctPrologue::new(domains, domains, PhysAddr(source.next().unwrap_or_default()));
    let mut writer = MsctWriter::new(SliceOutput::new(output), Identity::default(), &bounds);
    while let Some(size) = source.next() {
        let low = ProximityDomain(domains);
        writer.push(&ProximityDomainInformation::new(low, low, domains, ByteCount(size)));
    }
    writer.push_raw(source.rest());
    let seal = if source.rest().is_empty() { Seal::Fill } else { Seal::Keep };
    sink.written(writer.finish(seal));
}
