//! MADT.

use crate::sink::{Sink, Source};
use memtopo::tables::header::Identity;
use memtopo::tables::madt::*;
use memtopo::tables::output::{Seal, SliceOutput};
use memtopo::units::*;

crate::entry_points!(memtopo_probe_madt_read => read, memtopo_probe_madt_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    let madt = match Madt::parse(input) {
        Ok(madt) => madt,
        Err(fault) => return sink.fault(&fault),
    };
    sink.table(madt.table());
    sink.structure(madt.prologue());
    for entry in madt.entries() {
        match entry {
            Ok(Entry::LocalApic(structure)) => {
                sink.structure(structure);
                sink.number(structure.uid().0);
                sink.number(structure.id().0);
            }
            Ok(Entry::IoApic(structure)) => sink.structure(structure),
            Ok(Entry::InterruptSourceOverride(structure)) => sink.structure(structure),
            Ok(Entry::LocalApicNmi(structure)) => sink.structure(structure),
            Ok(Entry::LocalX2Apic(structure)) => sink.structure(structure),
            Ok(Entry::LocalX2ApicNmi(structure)) => sink.structure(structure),
            Ok(Entry::Gicc(structure, rest)) => {
                sink.structure(structure);
                let extra = Gicc::extra(rest);
                sink.number(extra.efficiency_class.unwrap_or(1));
                sink.number(extra.spe_interrupt.unwrap_or(2));
                sink.number(extra.trbe_interrupt.unwrap_or(3));
            }
            Ok(Entry::GicIts(structure)) => sink.structure(structure),
            Ok(Entry::Rintc(structure)) => sink.structure(structure),
            Ok(Entry::Unknown(raw)) => sink.bytes(raw.bytes),
            Ok(_) => {}
            Err(fault) => sink.fault(&fault),
        }
    }
    sink.walk(madt.raw_entries());
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let mut writer = MadtWriter::new(SliceOutput::new(output), Identity::default());
    while let Some(()) = push(&mut source, &mut writer) {}
    writer.push_raw(source.rest());
    let seal = if source.rest().is_empty() { Seal::Fill } else { Seal::Keep };
    sink.written(writer.finish(seal));
}

fn push(source: &mut Source<'_>, writer: &mut MadtWriter<SliceOutput<'_>>) -> Option<()> {
    let uid = ProcessorUid(source.next32()?);
    writer.push(&LocalApic::new(source.next8()?, source.next8()?));
    writer.push(&LocalX2Apic::new(uid, ApicId(source.next32()?)));
    writer.push(&Gicc::new(uid, source.next()?));
    writer.push(&GicIts::new(ItsId(source.next32()?), PhysAddr(source.next()?)));
    writer.push(&Rintc::new(uid, source.next()?));
    Some(())
}
