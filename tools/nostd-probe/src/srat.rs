//! SRAT.

use crate::sink::{Sink, Source};
use memtopo::tables::header::Identity;
use memtopo::tables::output::{Seal, SliceOutput};
use memtopo::tables::srat::*;
use memtopo::units::*;

crate::entry_points!(memtopo_probe_srat_read => read, memtopo_probe_srat_write => write);

fn read(input: &[u8], sink: &mut Sink) {
    let srat = match Srat::parse(input) {
        Ok(srat) => srat,
        Err(fault) => return sink.fault(&fault),
    };
    sink.table(srat.table());
    for entry in srat.entries() {
        match entry {
            Ok(Entry::LocalApic(structure)) => {
                sink.structure(structure);
                sink.number(structure.proximity_domain(srat.table().revision()).0);
            }
            Ok(Entry::Memory(structure)) => {
                sink.structure(structure);
                sink.number(structure.flags.get().contains(MemoryFlags::ENABLED));
            }
            Ok(Entry::X2Apic(structure)) => sink.structure(structure),
            Ok(Entry::Gicc(structure)) => sink.structure(structure),
            Ok(Entry::Its(structure)) => sink.structure(structure),
            Ok(Entry::GenericInitiator(structure) | Entry::GenericPort(structure)) => {
                sink.structure(structure);
                match structure.device() {
                    Device::Acpi { hid, uid } => {
                        sink.bytes(&hid);
                        sink.number(uid.0);
                    }
                    Device::Pci { segment, bus, device_function } => {
                        sink.number(segment.0);
                        sink.bytes(&[bus, device_function]);
                    }
                    Device::Unknown(_, bytes) => sink.bytes(&bytes),
                    _ => {}
                }
            }
            Ok(Entry::Rintc(structure)) => sink.structure(structure),
            Ok(Entry::Unknown(raw)) => sink.bytes(raw.bytes),
            Ok(_) => {}
            Err(fault) => sink.fault(&fault),
        }
    }
    sink.walk(srat.raw_entries());
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let mut writer = SratWriter::new(SliceOutput::new(output), Identity::default());
    while let Some(()) = push(&mut source, &mut writer) {}
    writer.push_raw(source.rest());
    let seal = if source.rest().is_empty() { Seal::Fill } else { Seal::Keep };
    sink.written(writer.finish(seal));
}

fn push(source: &mut Source<'_>, writer: &mut SratWriter<SliceOutput<'_>>) -> Option<()> {
    let domain = ProximityDomain(source.next32()?);
    writer.push(&LocalApicAffinity::new(domain, source.next8()?));
    let (base, size) = (PhysAddr(source.next()?), ByteCount(source.next()?));
    writer.push(&MemoryAffinity::new(domain, base, size, MemoryFlags(source.next32()?)));
    writer.push(&X2ApicAffinity::new(domain, ApicId(source.next32()?)));
    writer.push(&GiccAffinity::new(domain, ProcessorUid(source.next32()?)));
    writer.push(&ItsAffinity::new(domain, ItsId(source.next32()?)));
    writer.push(&RintcAffinity::new(domain, ProcessorUid(source.next32()?)));
    let device = match source.next8()? {
        0 => Device::Acpi { hid: source.next()?.to_le_bytes(), uid: AcpiUid(source.next32()?) },
        1 => Device::Pci {
            segment: PciSegment(source.next16()?),
            bus: source.next8()?,
            device_function: source.next8()?,
        },
        other => Device::Unknown(HandleType(other), [source.next8()?; 16]),
    };
    writer.push(&GenericAffinity::initiator(domain, device));
    writer.push(&GenericAffinity::port(domain, device));
    Some(())
}
