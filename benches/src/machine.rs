//! Machines to plan, and the least that planning one takes: reading every cell once, and sorting every row.

use crate::inputs::GIB;
use memtopo::bundle::memory_map::{FirmwareMap, MapEntry, MapForm, MapKind};
use memtopo::linux::{Inputs, Kernel, Plan, plan};
use memtopo::range::AddressRange;
use memtopo::tables::e820::E820Type;
use memtopo::tables::header::Identity;
use memtopo::tables::hmat::{DataType, HmatWriter, LocalityHeader};
use memtopo::tables::madt::{LocalX2Apic, MadtWriter};
use memtopo::tables::output::Seal;
use memtopo::tables::slit::SlitWriter;
use memtopo::tables::srat::{MemoryAffinity, MemoryFlags, SratWriter, X2ApicAffinity};
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{
    ApicId, ByteCount, Distance, EntryBaseUnit, MatrixCell, PhysAddr, ProcessorUid, ProximityDomain,
};

/// Tables and memory map of a machine.
pub struct Machine {
    madt: Vec<u8>,
    srat: Vec<u8>,
    /// All distances.
    pub slit: Vec<u8>,
    /// All latencies and bandwidths.
    pub hmat: Vec<u8>,
    map: FirmwareMap,
    nodes: usize,
}

/// Bytes of the HMAT in front of its first structure, and of the SLIT in front of its first distance.
const HMAT_FIXED: usize = 40;
const SLIT_FIXED: usize = 44;

fn range(base: u64, size: u64) -> AddressRange {
    AddressRange::new(PhysAddr(base), PhysAddr(base + size))
}

impl Machine {
    /// A machine of `nodes` nodes with a GiB of memory each. Every second one has a processor; the others are slower,
    /// each by a little. SLIT and HMAT have every pair.
    #[must_use]
    pub fn new(nodes: u16) -> Self {
        let domains: Vec<_> = (0..u32::from(nodes)).map(ProximityDomain).collect();
        let (mut madt, mut srat, mut slit, mut hmat) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut processors = MadtWriter::new(&mut madt, Identity::default());
        let mut affinity = SratWriter::new(&mut srat, Identity::default());
        for domain in domains.iter().step_by(2) {
            processors.push(&LocalX2Apic::new(ProcessorUid(domain.0), ApicId(domain.0)));
            affinity.push(&X2ApicAffinity::new(*domain, ApicId(domain.0)));
        }
        for domain in &domains {
            let base = PhysAddr(u64::from(domain.0) * GIB);
            affinity.push(&MemoryAffinity::new(*domain, base, ByteCount(GIB), MemoryFlags::ENABLED));
        }
        processors.finish(Seal::Fill).expect("below 4 GiB");
        affinity.finish(Seal::Fill).expect("below 4 GiB");

        let distance =
            |from: usize, to: usize| Distance(if from == to { 10 } else { 20 + ((from ^ to) % 97) as u8 });
        SlitWriter::new(&mut slit, Identity::default(), nodes, distance)
            .finish(Seal::Fill)
            .expect("below 4 GiB");

        let mut matrices = HmatWriter::new(&mut hmat, Identity::default());
        let latency = |from: usize, to: usize| {
            let far = if from == to { 0 } else { 100 + ((from ^ to) % 97) as u16 };
            MatrixCell(100 + far + if to % 2 == 1 { 100 + (to / 2) as u16 } else { 0 })
        };
        let bandwidth = |from: usize, to: usize| {
            let near = if from == to { 6000 } else { ((from ^ to) % 97) as u16 };
            MatrixCell(4000 + if to % 2 == 1 { 0 } else { near })
        };
        let header = LocalityHeader::new(DataType::ACCESS_LATENCY, EntryBaseUnit(1000));
        matrices.push_locality(&header, &domains, &domains, latency).expect("below 4 GiB");
        let header = LocalityHeader::new(DataType::ACCESS_BANDWIDTH, EntryBaseUnit(1));
        matrices.push_locality(&header, &domains, &domains, bandwidth).expect("below 4 GiB");
        matrices.finish(Seal::Fill).expect("below 4 GiB");

        // RAM begins at 0, so that no page is without a node.
        let ram = range(0, u64::from(nodes) * GIB);
        let entry = MapEntry { range: ram, kind: MapKind::E820(E820Type::RAM), place: 0 };
        let map = FirmwareMap { form: MapForm::E820Entries, entries: vec![entry] };
        Self { madt, srat, slit, hmat, map, nodes: usize::from(nodes) }
    }

    /// The whole plan, from the bytes of the tables.
    #[must_use]
    pub fn plan(&self, kernel: &Kernel) -> Plan {
        let tables = [&self.madt, &self.srat, &self.slit, &self.hmat];
        let topology =
            Topology::read(tables.iter().map(|table| TableBytes::copy(table).expect("a whole table")));
        plan(Inputs { topology: &topology, memory_map: &self.map, memory_devices: &[], kernel })
    }

    /// Reads every cell of both matrices and of the SLIT once, and sorts the nodes for each node by distance: the sum of
    /// all, and the last node of the last order.
    #[must_use]
    pub fn read_and_sort(&self) -> (u64, u64) {
        let nodes = self.nodes;
        let matrix = 32 + 8 * nodes;
        let mut sum = 0_u64;
        for structure in 0..2 {
            let cells = HMAT_FIXED + structure * (matrix + 2 * nodes * nodes) + matrix;
            let cells = self.hmat[cells..cells + 2 * nodes * nodes].chunks_exact(2);
            for cell in cells.map(|cell| u16::from_le_bytes([cell[0], cell[1]])) {
                if cell != 0 && cell != 0xffff {
                    sum += u64::from(cell);
                }
            }
        }
        let mut order = vec![0_u64; nodes];
        for row in self.slit[SLIT_FIXED..].chunks_exact(nodes) {
            for (place, (distance, node)) in order.iter_mut().zip(row.iter().zip(0_u64..)) {
                sum += u64::from(*distance);
                *place = (u64::from(*distance) << 32) | node;
            }
            order.sort_unstable();
        }
        (sum, order.last().copied().unwrap_or_default())
    }
}
