//! CEDT.

use crate::sink::{Sink, Source};
use memtopo::error::WriteError;
use memtopo::tables::cedt::*;
use memtopo::tables::header::Identity;
use memtopo::tables::output::{Seal, SliceOutput};
use memtopo::units::*;

crate::entry_points!(memtopo_probe_cedt_read => read, memtopo_probe_cedt_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    let cedt = match Cedt::parse(input) {
        Ok(cedt) => cedt,
        Err(fault) => return sink.fault(&fault),
    };
    sink.table(cedt.table());
    for entry in cedt.entries() {
        match entry {
            Ok(Entry::HostBridge(structure)) => sink.structure(structure),
            Ok(Entry::FixedMemoryWindow(window)) => {
                sink.structure(window.header());
                sink.number(window.header().interleave_ways.get().ways().unwrap_or(0));
                sink.structure(window.targets());
                sink.bytes(window.rest());
            }
            Ok(Entry::XorInterleaveMath(maps)) => {
                sink.structure(maps.header());
                sink.structure(maps.xormaps());
                sink.bytes(maps.rest());
            }
            Ok(Entry::Rdpas(rdpas)) => {
                sink.number(rdpas.segment.0);
                sink.number(rdpas.bdf.0);
                sink.number(rdpas.protocol_type.0);
                sink.number(rdpas.base_address.0);
            }
            Ok(Entry::SystemDescription(structure)) => sink.structure(structure),
            Ok(Entry::Unknown(raw)) => sink.bytes(raw.bytes),
            Ok(_) => {}
            Err(fault) => sink.fault(&fault),
        }
    }
    sink.walk(cedt.raw_entries());
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let mut writer = CedtWriter::new(SliceOutput::new(output), Identity::default());
    while let Some(result) = push(&mut source, &mut writer) {
        if let Err(error) = result {
            return sink.written(Err(error));
        }
    }
    writer.push_raw(source.rest());
    let seal = if source.rest().is_empty() { Seal::Fill } else { Seal::Keep };
    sink.written(writer.finish(seal));
}

fn push(source: &mut Source<'_>, writer: &mut CedtWriter<SliceOutput<'_>>) -> Option<Result<(), WriteError>> {
    let (base, size) = (PhysAddr(source.next()?), ByteCount(source.next()?));
    let uid = AcpiUid(source.next32()?);
    writer.push(&HostBridge::new(uid, CxlVersion(source.next32()?), base, size));
    writer.push(&RdpasC::new(
        PciSegment(source.next16()?),
        PciBdf(source.next16()?),
        ProtocolType(source.next8()?),
        base,
    ));
    writer.push(&SystemDescription::new(SystemCapabilities(source.next16()?)));
    let count = usize::from(source.next8()?);
    let granularity = InterleaveGranularity(source.next32()?);
    let window = FixedMemoryWindowHeader::new(base, size, granularity, WindowRestrictions(source.next16()?));
    let targets = [uid; 16];
    let pushed = writer.push_window(&window, targets.get(..count).unwrap_or(&targets));
    let maps = [XorMap(source.next()?); 8];
    let header = XorInterleaveMathHeader::new(MapGranularity(source.next8()?));
    Some(pushed.and_then(|()| writer.push_xor_interleave_math(&header, maps.get(..count).unwrap_or(&maps))))
}
