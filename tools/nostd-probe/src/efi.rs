//! EFI memory maps.

use crate::sink::{Sink, Source};
use memtopo::tables::efi::*;
use memtopo::tables::output::SliceOutput;
use memtopo::units::*;

crate::entry_points!(memtopo_probe_efi_read => read, memtopo_probe_efi_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let stride = usize::from(source.next16().unwrap_or_default());
    let map = match EfiMap::parse(source.rest(), stride) {
        Ok(map) => map,
        Err(fault) => return sink.fault(&fault),
    };
    for (descriptor, extra) in map.descriptors() {
        sink.structure(descriptor);
        sink.number(descriptor.range().size().0);
        sink.bytes(extra);
    }
    sink.bytes(map.remainder().1);
    map.fault().into_iter().for_each(|fault| sink.fault(&fault));
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let stride = usize::from(source.next16().unwrap_or_default());
    let mut writer = match EfiMapWriter::new(SliceOutput::new(output), stride) {
        Ok(writer) => writer,
        Err(fault) => return sink.fault(&fault),
    };
    while let Some(descriptor) = descriptor(&mut source) {
        writer.push(&descriptor);
        writer.push_with(&descriptor, source.rest());
    }
    writer.push_raw(source.rest());
    sink.written(writer.finish());
}

fn descriptor(source: &mut Source<'_>) -> Option<EfiDescriptor> {
    let (kind, start) = (EfiMemoryType(source.next32()?), PhysAddr(source.next()?));
    Some(EfiDescriptor::new(kind, start, EfiPageCount(source.next()?), EfiAttributes(source.next()?)))
}
