//! Machines made with the writers of the library, for tests whose facts are worked out by hand or seen on a booted kernel.

#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

use memtopo::bundle::memory_map::{FirmwareMap, MapEntry, MapForm, MapKind};
use memtopo::linux::{Inputs, Kernel, Plan, plan};
use memtopo::range::AddressRange;
use memtopo::tables::e820::E820Type;
use memtopo::tables::hmat::{DataType, HmatWriter, LocalityHeader, MemoryProximityAttributes};
use memtopo::tables::madt::{LocalApic, MadtWriter};
use memtopo::tables::output::Seal;
use memtopo::tables::slit::SlitWriter;
use memtopo::tables::srat::{
    Device, GenericAffinity, LocalApicAffinity, MemoryAffinity, MemoryFlags, SratStructure, SratWriter,
};
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{AcpiUid, ByteCount, Distance, EntryBaseUnit, MatrixCell, PhysAddr, ProximityDomain};

/// Bytes in a mebibyte.
pub const MIB: u64 = 1 << 20;

/// A machine: tables as bytes, and its memory map.
pub struct Machine {
    pub tables: Vec<Vec<u8>>,
    pub map: FirmwareMap,
    pub kernel: Kernel,
}

impl Machine {
    /// One with this RAM, in MiB, and so many processors.
    pub fn new(ram: &[(u64, u64)], processors: u8) -> Self {
        let mut madt = Vec::new();
        let mut writer = MadtWriter::new(&mut madt, Default::default());
        (0..processors).for_each(|number| writer.push(&LocalApic::new(number, number)));
        writer.finish(Seal::Fill).unwrap();
        let entry = |(start, end): &(u64, u64)| MapEntry {
            range: AddressRange::new(PhysAddr(start * MIB), PhysAddr(end * MIB)),
            kind: MapKind::E820(E820Type::RAM),
            place: 0,
        };
        let low = MapEntry {
            range: AddressRange::new(PhysAddr(0), PhysAddr(640 << 10)),
            kind: MapKind::E820(E820Type::RAM),
            place: 0,
        };
        let entries = core::iter::once(low).chain(ram.iter().map(entry)).collect();
        let map = FirmwareMap { form: MapForm::E820Entries, entries };
        Self { tables: vec![madt], map, kernel: Kernel::default() }
    }

    pub fn line(mut self, text: &str) -> Self {
        self.kernel = self.kernel.with_command_line(text);
        self
    }

    pub fn srat(mut self, fill: impl FnOnce(&mut SratWriter<&mut Vec<u8>>)) -> Self {
        let mut bytes = Vec::new();
        let mut writer = SratWriter::new(&mut bytes, Default::default());
        fill(&mut writer);
        writer.finish(Seal::Fill).unwrap();
        self.tables.push(bytes);
        self
    }

    pub fn slit(mut self, rows: &[&[u8]]) -> Self {
        let mut bytes = Vec::new();
        let size = u16::try_from(rows.len()).unwrap();
        SlitWriter::new(&mut bytes, Default::default(), size, |from, to| Distance(rows[from][to]))
            .finish(Seal::Fill)
            .unwrap();
        self.tables.push(bytes);
        self
    }

    pub fn hmat(mut self, fill: impl FnOnce(&mut HmatWriter<&mut Vec<u8>>)) -> Self {
        let mut bytes = Vec::new();
        let mut writer = HmatWriter::new(&mut bytes, Default::default());
        fill(&mut writer);
        writer.finish(Seal::Fill).unwrap();
        self.tables.push(bytes);
        self
    }

    pub fn topology(&self) -> Topology<'_> {
        Topology::read(self.tables.iter().map(|table| TableBytes::copy(table).unwrap()))
    }

    pub fn plan(&self) -> Plan {
        let topology = self.topology();
        plan(Inputs { topology: &topology, memory_map: &self.map, memory_devices: &[], kernel: &self.kernel })
    }

    /// Weights, tiers and preferred demotion targets, as short texts.
    pub fn outcome(&self) -> (String, String, String) {
        let plan = self.plan();
        let weights: Vec<_> =
            plan.weights.as_ref().unwrap().weights.iter().map(|(_, weight)| weight.to_string()).collect();
        let tiers: Vec<_> = plan
            .tiers
            .as_ref()
            .unwrap()
            .iter()
            .map(|(tier, nodes)| format!("{}: {nodes}", tier.printed()))
            .collect();
        let demotion: Vec<_> = plan
            .demotion
            .as_ref()
            .unwrap()
            .iter()
            .filter(|(_, targets)| !targets.preferred.is_empty())
            .map(|(node, targets)| format!("{node}>{}", targets.preferred))
            .collect();
        (weights.join(":"), tiers.join("; "), demotion.join(" "))
    }
}

pub fn cpu(domain: u32, apic_id: u8) -> LocalApicAffinity {
    LocalApicAffinity::new(ProximityDomain(domain), apic_id)
}

/// Memory from `start` to `end`, in MiB.
pub fn memory(domain: u32, start: u64, end: u64) -> MemoryAffinity {
    let (base, size) = (PhysAddr(start * MIB), ByteCount((end - start) * MIB));
    MemoryAffinity::new(ProximityDomain(domain), base, size, MemoryFlags::ENABLED)
}

pub fn initiator(domain: u32) -> GenericAffinity {
    GenericAffinity::initiator(ProximityDomain(domain), Device::Acpi { hid: *b"ACPI0016", uid: AcpiUid(1) })
}

pub fn push_all<T: SratStructure>(writer: &mut SratWriter<&mut Vec<u8>>, structures: &[T]) {
    structures.iter().for_each(|structure| writer.push(structure));
}

pub fn locality(
    writer: &mut HmatWriter<&mut Vec<u8>>,
    kind: DataType,
    unit: u64,
    initiators: &[u32],
    rows: &[&[u16]],
) {
    let domains = |numbers: &[u32]| numbers.iter().map(|number| ProximityDomain(*number)).collect::<Vec<_>>();
    let targets: Vec<u32> = (0..).take(rows[0].len()).collect();
    writer
        .push_locality(
            &LocalityHeader::new(kind, EntryBaseUnit(unit)),
            &domains(initiators),
            &domains(&targets),
            |row, column| MatrixCell(rows[row][column]),
        )
        .unwrap();
}

/// The machine of the examples: 1 GiB, two processors, four domains of 256 MiB.
pub fn four_domains() -> Machine {
    Machine::new(&[(1, 1024)], 2).srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(1, 1)]);
        push_all(srat, &[memory(0, 0, 256), memory(1, 256, 512), memory(2, 512, 768), memory(3, 768, 1024)]);
    })
}

pub fn lat_bw(machine: Machine, attached: &[Option<u32>], lat: &[&[u16]], bw: &[&[u16]]) -> Machine {
    machine.hmat(|hmat| {
        for (memory, initiator) in (0..).zip(attached) {
            let initiator = initiator.map(ProximityDomain);
            if initiator.is_some() {
                hmat.push(&MemoryProximityAttributes::new(ProximityDomain(memory), initiator));
            }
        }
        let initiators: Vec<u32> = (0..).take(lat.len()).collect();
        locality(hmat, DataType::ACCESS_LATENCY, 1000, &initiators, lat);
        locality(hmat, DataType::ACCESS_BANDWIDTH, 1, &initiators, bw);
    })
}
