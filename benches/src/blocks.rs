//! Machines with many memory blocks, and a plan that adds as much again and takes it out.

use crate::inputs::GIB;
use memtopo::bundle::memory_map::{FirmwareMap, MapEntry, MapForm, MapKind};
use memtopo::hotplug::{DeviceKind, Goal, HotplugPlan, Request, Target, Wanted, WantedZone, plan};
use memtopo::linux::{Inputs, Kernel};
use memtopo::range::AddressRange;
use memtopo::tables::e820::E820Type;
use memtopo::tables::header::Identity;
use memtopo::tables::madt::{LocalX2Apic, MadtWriter};
use memtopo::tables::output::Seal;
use memtopo::tables::srat::{MemoryAffinity, MemoryFlags, SratWriter, X2ApicAffinity};
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{ApicId, ByteCount, PhysAddr, ProcessorUid, ProximityDomain};

/// The smallest memory block.
pub const BLOCK: u64 = GIB / 8;

/// A machine with so many blocks of 128 MiB at boot, and one.
pub struct Blocks {
    madt: Vec<u8>,
    srat: Vec<u8>,
    map: FirmwareMap,
    kernel: Kernel,
    goals: Vec<Goal>,
}

impl Blocks {
    /// The machine. Its RAM ends at an odd block, which keeps the kernel of a virtual machine from larger ones.
    #[must_use]
    pub fn new(blocks: u64) -> Self {
        let (mut madt, mut srat) = (Vec::new(), Vec::new());
        let mut processors = MadtWriter::new(&mut madt, Identity::default());
        let mut affinity = SratWriter::new(&mut srat, Identity::default());
        processors.push(&LocalX2Apic::new(ProcessorUid(0), ApicId(0)));
        affinity.push(&X2ApicAffinity::new(ProximityDomain(0), ApicId(0)));
        let (end, size) = ((blocks + 1) * BLOCK, blocks * BLOCK);
        for (domain, base, size) in [(0, 0, end), (1, end, size)] {
            let (domain, base) = (ProximityDomain(domain), PhysAddr(base));
            affinity.push(&MemoryAffinity::new(domain, base, ByteCount(size), MemoryFlags::ENABLED));
        }
        processors.finish(Seal::Fill).expect("below 4 GiB");
        affinity.finish(Seal::Fill).expect("below 4 GiB");
        let ram = AddressRange::new(PhysAddr(0), PhysAddr(end));
        let entry = MapEntry { range: ram, kind: MapKind::E820(E820Type::RAM), place: 0 };
        let map = FirmwareMap { form: MapForm::E820Entries, entries: vec![entry] };
        let mut kernel = Kernel::default();
        kernel.platform.hypervisor = true;
        let wanted = Wanted {
            size: ByteCount(size),
            at: Some(PhysAddr(end)),
            on: None,
            device: DeviceKind::Dimm,
            zone: WantedZone::Movable,
        };
        let goals = vec![Goal::Add(wanted), Goal::Remove(Target::Device(1))];
        Self { madt, srat, map, kernel, goals }
    }

    /// Boots it, adds as much memory again, and takes that out, with all that there is to say to it.
    ///
    /// # Panics
    /// When a goal is not met.
    pub fn plan<T>(&self, examine: impl FnOnce(&HotplugPlan<'_>) -> T) -> T {
        let tables = [&self.madt, &self.srat];
        let topology =
            Topology::read(tables.iter().map(|table| TableBytes::copy(table).expect("a whole table")));
        let Self { map, kernel, goals, .. } = self;
        let inputs = Inputs { topology: &topology, memory_map: map, memory_devices: &[], kernel };
        let made = plan(&Request { inputs, events: &[], goals }).expect("it boots");
        assert!(made.is_met() && made.block_size == ByteCount(BLOCK));
        examine(&made)
    }
}
