//! SRAT.

use crate::sink::Sink;
use memtopo::tables::header::Identity;
use memtopo::tables::output::{Seal, SliceOutput};
use memtopo::tables::srat::*;
use memtopo::units::*;
use zerocopy::FromBytes;

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
    let mut raw = srat.raw_entries();
    while let Some(Ok(_)) = raw.next() {}
    sink.bytes(raw.remainder().1);
}

fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut writer = SratWriter::new(SliceOutput::new(output), Identity::default());
    let mut rest = input;
    while let Ok((numbers, tail)) = <[u64; 4]>::read_from_prefix(rest) {
        let [a, b, c, d] = numbers;
        let domain = ProximityDomain(low(a));
        writer.push(&LocalApicAffinity::new(domain, b.to_le_bytes()[0]));
        writer.push(&MemoryAffinity::new(domain, PhysAddr(b), ByteCount(c), MemoryFlags(low(d))));
        writer.push(&X2ApicAffinity::new(domain, ApicId(low(b))));
        writer.push(&GiccAffinity::new(domain, ProcessorUid(low(b))));
        writer.push(&ItsAffinity::new(domain, ItsId(low(b))));
        writer.push(&RintcAffinity::new(domain, ProcessorUid(low(b))));
        let device = match d {
            0 => Device::Acpi { hid: b.to_le_bytes(), uid: AcpiUid(low(c)) },
            1 => Device::Pci { segment: PciSegment(c.to_le_bytes()[0].into()), bus: 0, device_function: 8 },
            _ => Device::Unknown(HandleType(2), [c.to_le_bytes()[1]; 16]),
        };
        writer.push(&GenericAffinity::initiator(domain, device));
        writer.push(&GenericAffinity::port(domain, device));
        rest = tail;
    }
    writer.push_raw(rest);
    let seal = if rest.is_empty() { Seal::Fill } else { Seal::Keep };
    sink.written(writer.finish(seal));
}

fn low(number: u64) -> u32 {
    let [a, b, c, d, ..] = number.to_le_bytes();
    u32::from_le_bytes([a, b, c, d])
}
