//! RSDP, RSDT and XSDT.

use crate::sink::{Sink, Source};
use memtopo::tables::header::Identity;
use memtopo::tables::output::{Seal, SliceOutput};
use memtopo::tables::root::*;
use memtopo::tables::wire::Hex;
use memtopo::units::*;

crate::entry_points!(memtopo_probe_root_read => read, memtopo_probe_root_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    match Rsdp::parse(input) {
        Ok(rsdp) => {
            sink.structure(rsdp.first());
            rsdp.extension().into_iter().for_each(|extension| sink.structure(extension));
            sink.bytes(rsdp.bytes());
            sink.bytes(rsdp.trailing());
            rsdp.faults().for_each(|fault| sink.fault(&fault));
            sink.number(rsdp.is_sound());
            match rsdp.root() {
                Some(RootPointer::Xsdt(address) | RootPointer::Rsdt(address)) => sink.number(address.0),
                None => {}
            }
        }
        Err(fault) => sink.fault(&fault),
    }
    match Xsdt::parse(input) {
        Ok(xsdt) => {
            sink.table(xsdt.table());
            sink.structure(xsdt.entries());
            sink.bytes(xsdt.remainder());
        }
        Err(fault) => sink.fault(&fault),
    }
    match Rsdt::parse(input) {
        Ok(rsdt) => {
            sink.table(rsdt.table());
            sink.structure(rsdt.entries());
            sink.bytes(rsdt.remainder());
        }
        Err(fault) => sink.fault(&fault),
    }
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let addresses = (source.next32().unwrap_or_default(), source.next().unwrap_or_default());
    sink.structure(&RsdpV1::new(*b"MTOPO ", Hex(addresses.0)));
    sink.bytes(&rsdp_bytes(*b"MTOPO ", Hex(addresses.0), PhysAddr(addresses.1)));
    let mut writer = XsdtWriter::new(SliceOutput::new(output), Identity::default());
    while let Some(address) = source.next() {
        writer.push(PhysAddr(address));
    }
    writer.push_raw(source.rest());
    sink.written(writer.finish(Seal::Fill));
    let mut source = Source::new(input);
    let mut writer = RsdtWriter::new(SliceOutput::new(output), Identity::default());
    while let Some(address) = source.next32() {
        writer.push(Hex(address));
    }
    writer.push_raw(source.rest());
    sink.written(writer.finish(Seal::Keep));
}
