//! E820 maps.

use crate::sink::{Sink, Source};
use memtopo::range::AddressRange;
use memtopo::tables::e820::*;
use memtopo::tables::output::SliceOutput;
use memtopo::units::*;

crate::entry_points!(memtopo_probe_e820_read => read, memtopo_probe_e820_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    let map = E820Map::parse(input);
    sink.structure(map.entries());
    map.entries().iter().for_each(|entry| sink.number(entry.range().size().0));
    sink.bytes(map.remainder());
    map.fault().into_iter().for_each(|fault| sink.fault(&fault));
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let mut writer = E820MapWriter::new(SliceOutput::new(output));
    while let Some(entry) = entry(&mut source) {
        writer.push(&entry);
    }
    writer.push_raw(source.rest());
    sink.written(writer.finish());
}

fn entry(source: &mut Source<'_>) -> Option<E820Entry> {
    let range = AddressRange::new(PhysAddr(source.next()?), PhysAddr(source.next()?));
    Some(E820Entry::new(range, E820Type(source.next32()?)))
}
