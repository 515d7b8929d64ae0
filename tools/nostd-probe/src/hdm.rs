//! HDM decoder registers.

use crate::sink::{Sink, Source};
use memtopo::tables::cedt::{InterleaveGranularity, InterleaveWays};
use memtopo::tables::hdm::*;
use memtopo::tables::output::SliceOutput;
use memtopo::tables::wire::Reserved;
use memtopo::units::*;

crate::entry_points!(memtopo_probe_hdm_read => read, memtopo_probe_hdm_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    sink.number(ComponentRegisters::is_plausible(input));
    let registers = match ComponentRegisters::parse(input) {
        Ok(registers) => registers,
        Err(fault) => return sink.fault(&fault),
    };
    if let Some(header) = registers.hdm() {
        sink.structure(header);
        sink.number(header.capability.get().decoder_count().unwrap_or_default());
        sink.number(header.capability.get().target_count());
    }
    for decoder in registers.decoders() {
        sink.structure(decoder);
        sink.bytes(&decoder.targets());
        sink.number(decoder.skip().0);
        sink.number(decoder.control.get().ways().0);
        sink.number(decoder.control.get().granularity().0);
    }
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let capability = HdmCapability(source.next32().unwrap_or_default());
    let control = HdmGlobalControl(source.next32().unwrap_or_default());
    let mut writer = ComponentRegistersWriter::new(SliceOutput::new(output), capability, control);
    while let Some(decoder) = decoder(&mut source) {
        writer.push(&decoder);
    }
    sink.written(writer.finish());
}

fn decoder(source: &mut Source<'_>) -> Option<HdmDecoder> {
    let control = HdmControl(source.next32()?);
    let (granularity, ways) = (InterleaveGranularity(source.next32()?), InterleaveWays(source.next8()?));
    Some(HdmDecoder {
        base: PhysAddr(source.next()?).into(),
        size: ByteCount(source.next()?).into(),
        control: control.with_interleave(granularity, ways).into(),
        targets_or_skip: source.next()?.into(),
        reserved: Reserved([0; 4]).into(),
    })
}
