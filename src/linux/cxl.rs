//! CXL after boot: root decoders, devices, what is programmed, and the regions that the drivers make of it.

use super::access::Access;
use super::cxl_findings;
use super::cxl_levels::complete_granularity;
use super::decoder_state;
use super::hdm_decoders;
use super::kernel::{Kernel, Version};
use super::nodes::Nodes;
use super::reason::{Fact, Notes, Reason, Section, Subject};
use super::regions::Assembly;
use super::rules;
use super::state::State;
use super::windows::{Root, RootDecoder};
use crate::tables::cedt::{CxlVersion, InterleaveArithmetic, WindowRestrictions};
use crate::topology::Topology;
use crate::topology::cxl::{CxlTree, Decoder, PortKind, Region, RootCapabilities, numbers};
use crate::units::{AcpiUid, ByteCount};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The CXL drivers' view of the machine.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cxl {
    /// The root: bridges, and windows as decoders.
    pub root: Root,
    /// Ids of the host bridges below the root: what target lists of root decoders are resolved against.
    pub bridges: Vec<u32>,
    /// Ports, devices, decoders and regions, as far as the drivers are loaded.
    pub tree: CxlTree,
    /// Size of the DRAM in front of regions that have any.
    pub caches: BTreeMap<String, ByteCount>,
    /// Host bridges of CXL 1.1, which become no ports.
    pub restricted: Vec<AcpiUid>,
    /// Decoders below the root that are on.
    pub enabled: BTreeSet<String>,
    /// Regions that the drivers put together from what firmware had programmed.
    pub assembled: BTreeSet<String>,
}

/// Which of the drivers have come up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Loaded {
    pci: bool,
    mem: bool,
}

impl State<'_> {
    /// Loads a CXL driver. `cxl_core` and `cxl_port`, which the others need, are taken as there.
    pub(crate) fn load_cxl(&mut self, driver: &str) {
        match driver {
            "cxl_acpi" => self.load_cxl_acpi(),
            "cxl_pci" => self.cxl_loaded.pci = true,
            "cxl_mem" => self.cxl_loaded.mem = true,
            _ => return,
        }
        self.probe_cxl();
    }

    /// Windows become root decoders.
    fn load_cxl_acpi(&mut self) {
        if self.cxl.is_some() {
            return;
        }
        if self.kernel.version != Version::V7_2 {
            self.notes.missing(Section::Cxl, "how this version treats CXL: only that of 7.2 is modelled");
            return;
        }
        let Some(root) = find_root(self.topology, &self.nodes, &self.access, self.kernel, &mut self.notes)
        else {
            return;
        };
        let bridges = match self.topology.cxl.as_ref().and_then(CxlTree::root) {
            Some(root) => root.dports.iter().map(|dport| dport.id).collect(),
            // Every bridge that the table describes is taken as there.
            None => root.bridges.iter().map(|bridge| bridge.uid.0).collect(),
        };
        let captured = self.topology.cxl.iter().flat_map(|tree| &tree.regions);
        for region in captured {
            self.region_ids.claim(numbers(&region.name).0);
        }
        for decoder in &root.decoders {
            self.region_ids.prepare(decoder.index);
        }
        let old = root.bridges.iter().filter(|bridge| bridge.version == CxlVersion::CXL_1_1);
        let restricted = old.map(|bridge| bridge.uid).collect();
        self.cxl = Some(Cxl { root, bridges, restricted, ..Cxl::default() });
    }

    /// Ports, endpoints and regions appear once all of their drivers are there.
    fn probe_cxl(&mut self) {
        let Loaded { pci, mem } = self.cxl_loaded;
        let Some(cxl) = &mut self.cxl else { return };
        let Some(described) = &self.topology.cxl else {
            if pci {
                let missing =
                    "the CXL devices, which no table lists: what `cxl list -vvv` prints, or a copied /sys";
                self.notes.missing(Section::CxlDevices, missing);
            }
            return;
        };
        if pci && cxl.tree.memdevs.is_empty() {
            cxl.tree.memdevs.clone_from(&described.memdevs);
        }
        if !(pci && mem && cxl.tree.ports.is_empty()) {
            return;
        }
        let tree = &mut cxl.tree;
        tree.clone_from(described);
        let is_root =
            |decoder: &Decoder| described.port(&decoder.port).is_some_and(|port| port.kind == PortKind::Root);
        tree.decoders.retain(|decoder| !is_root(decoder));
        for region in &tree.regions {
            let fact = Fact::known("region", u64::from(numbers(&region.name).0));
            self.notes.reason(Subject::Cxl, Reason::new(rules::REGION_CAPTURED).with([fact]));
        }
        hdm_decoders::enumerate(tree, &mut self.notes);
        cxl_findings::report(tree, &cxl.root, &cxl.bridges, &mut self.notes);
        complete_granularity(tree, &cxl.root.decoders);
        let known = tree.regions.len();
        let mut assembly = Assembly {
            tree,
            roots: &cxl.root.decoders,
            ids: &mut self.region_ids,
            caches: core::mem::take(&mut cxl.caches),
        };
        assembly.run(&mut self.notes);
        cxl.caches = assembly.caches;
        cxl_findings::report_regions(&cxl.tree, &mut self.notes);
        complete_granularity(&mut cxl.tree, &cxl.root.decoders);
        cxl.enabled = decoder_state::enabled(&cxl.tree);
        let captured = |region: &&Region| described.regions.iter().any(|old| old.name == region.name);
        let assembled = cxl.tree.regions.iter().filter(|region| !captured(region));
        cxl.assembled = assembled.map(|region| region.name.clone()).collect();
        if cxl.tree.regions.len() > known {
            for region in cxl.tree.regions.iter().filter(|region| region.committed == Some(true)) {
                let captured = described.regions.iter().any(|old| old.name == region.name);
                if !captured {
                    let fact = Fact::known("start", region.start.0);
                    let detail = region.name.clone();
                    let reason = Reason::new(rules::REGION_ASSEMBLED).with([fact]).because(detail);
                    self.notes.reason(Subject::Cxl, reason);
                }
            }
        }
        self.add_region_devices();
    }
}

/// The root by the CEDT; without one, by what a running system showed.
fn find_root(
    topology: &Topology<'_>,
    nodes: &Nodes,
    access: &Access,
    kernel: &Kernel,
    notes: &mut Notes,
) -> Option<Root> {
    if let Some(cedt) = &topology.windows {
        return Root::probe(cedt, nodes, access, kernel, notes);
    }
    let Some(tree) = &topology.cxl else { return None };
    let root = tree.root()?;
    let decoders: Vec<RootDecoder> = tree.decoders_of(&root.name).map(of_capture).collect();
    if decoders.iter().any(|decoder| decoder.ways > 1 || decoder.granularity.0 == 0) {
        notes.missing(Section::CxlArithmetic, format!("a CEDT: how the windows of {} interleave", root.name));
    }
    let claimed = decoders.iter().map(|decoder| (decoder.start, decoder.size)).collect();
    Some(Root { decoders, claimed, ..Root::default() })
}

fn of_capture(decoder: &Decoder) -> RootDecoder {
    let capabilities = decoder.root.unwrap_or_default();
    let RootCapabilities { ram, pmem, type2, type3, qos_class } = capabilities;
    let flags = [
        (ram, WindowRestrictions::VOLATILE),
        (pmem, WindowRestrictions::PERSISTENT),
        (type2, WindowRestrictions::DEVICE_COHERENT),
        (type3, WindowRestrictions::HOST_ONLY_COHERENT),
        (decoder.locked, WindowRestrictions::FIXED_CONFIGURATION),
    ];
    let none = WindowRestrictions(0);
    let set = flags.into_iter().filter(|(flag, _)| *flag == Some(true));
    RootDecoder {
        index: decoder.index,
        window: None,
        start: decoder.start,
        size: decoder.size,
        ways: decoder.ways,
        // One way always shows 256 bytes.
        granularity: decoder.granularity.unwrap_or(ByteCount(256)),
        targets: decoder.targets.iter().copied().map(AcpiUid).collect(),
        arithmetic: InterleaveArithmetic::MODULO,
        maps: Vec::new(),
        restrictions: set.fold(none, |all, (_, flag)| all.union(flag)),
        qtg: qos_class.unwrap_or_default(),
        cache_size: ByteCount(0),
        source: None,
    }
}

impl Cxl {
    /// Whether a region is of this kind and committed.
    pub fn committed(&self) -> impl Iterator<Item = &Region> {
        self.tree.regions.iter().filter(|region| region.committed == Some(true))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::cxl_sysfs::CxlSysfs;
    use crate::bundle::memory_map::{FirmwareMap, MapEntry, MapForm, MapKind};
    use crate::linux::{Inputs, Plan, plan};
    use crate::range::AddressRange;
    use crate::tables::e820::E820Type;
    use crate::units::PhysAddr;
    use alloc::vec;

    const GIB: u64 = 1 << 30;
    const BASE: u64 = 0x1_1000_0000;

    /// A bridge with a device of 1 GiB behind each of its root ports, programmed for one region, and what the memory
    /// map says of that.
    fn boot(root_ports: u32, kind: Option<E820Type>, drivers: &[&str]) -> Plan {
        let root = "/sys/devices/platform/ACPI0017:00/root0";
        let size = GIB * u64::from(root_ports);
        let list = if root_ports == 2 { "0,1" } else { "0" };
        // One root port: the bridge has no registers.
        let (committed, range) = if root_ports == 1 { (0, (0, 0)) } else { (1, (BASE, size)) };
        let mut bus = format!(
            "{root}/dport12 -> ../../../pci0000:0c\n\
             {root}/decoder0.0/start\t{BASE:#x}\n\
             {root}/decoder0.0/size\t0x100000000\n\
             {root}/decoder0.0/target_list\t12\n\
             {root}/port1/uport -> ../../../../pci0000:0c\n\
             {root}/port1/parent_dport -> ../../../../pci0000:0c\n\
             {root}/port1/decoders_committed\t{committed}\n\
             {root}/port1/decoder1.0/start\t{:#x}\n\
             {root}/port1/decoder1.0/size\t{:#x}\n\
             {root}/port1/decoder1.0/interleave_ways\t{root_ports}\n\
             {root}/port1/decoder1.0/interleave_granularity\t256\n\
             {root}/port1/decoder1.0/target_list\t{list}\n",
            range.0, range.1
        );
        for number in 0..root_ports {
            let endpoint = format!("{root}/port1/endpoint{}", number + 2);
            let decoder = format!("{endpoint}/decoder{}.0", number + 2);
            bus += &format!(
                "{root}/port1/dport{number} -> ../../../../pci0000:0c/rp{number}\n\
                 {endpoint}/uport -> ../../../../../pci0000:0c/rp{number}/dev{number}/mem{number}\n\
                 {endpoint}/parent_dport -> ../../../../../pci0000:0c/rp{number}\n\
                 {endpoint}/decoders_committed\t1\n\
                 {decoder}/start\t{BASE:#x}\n\
                 {decoder}/size\t{size:#x}\n\
                 {decoder}/interleave_ways\t{root_ports}\n\
                 {decoder}/interleave_granularity\t256\n\
                 /sys/devices/pci0000:0c/rp{number}/dev{number}/mem{number}/serial\t{number}\n\
                 /sys/devices/pci0000:0c/rp{number}/dev{number}/mem{number}/ram/size\t0x40000000\n"
            );
        }
        let topology =
            Topology { cxl: Some(CxlTree::from_sysfs(&CxlSysfs::read_listing(&bus))), ..Topology::default() };
        let entry = |start: u64, size: u64, kind| MapEntry {
            range: AddressRange::new(PhysAddr(start), PhysAddr(start + size)),
            kind: MapKind::E820(kind),
            place: 0,
        };
        let mut entries = vec![entry(0, GIB, E820Type::RAM)];
        entries.extend(kind.map(|kind| entry(BASE, size, kind)));
        let memory_map = FirmwareMap { form: MapForm::E820Entries, entries };
        let kernel = Kernel {
            drivers: drivers.iter().map(|driver| String::from(*driver)).collect(),
            ..Kernel::default()
        };
        plan(Inputs { topology: &topology, memory_map: &memory_map, memory_devices: &[], kernel: &kernel })
    }

    const ALL: [&str; 7] = ["cxl_pmem", "cxl_acpi", "cxl_mem", "cxl_pci", "dax_hmem", "dax_cxl", "kmem"];

    fn devices(plan: &Plan) -> Vec<(&str, &str)> {
        plan.devices.iter().flatten().map(|device| (device.name.as_str(), device.parent.as_str())).collect()
    }

    #[test]
    fn a_programmed_region_takes_its_soft_reserved_memory() {
        let plan = boot(2, Some(E820Type::SOFT_RESERVED), &ALL);
        assert_eq!(devices(&plan), [("dax0.0", "dax_region0")]);
        let region = &plan.cxl.as_ref().unwrap().regions[0];
        assert_eq!((region.committed, region.bound), (true, true));
    }

    #[test]
    fn where_no_region_comes_of_it_dax_hmem_takes_it() {
        // Numbers 0 and 1 are those of the failed region and of the next one.
        let plan = boot(1, Some(E820Type::SOFT_RESERVED), &ALL);
        assert_eq!(devices(&plan), [("dax2.0", "hmem.2")]);
        assert!(!plan.cxl.as_ref().unwrap().regions[0].committed);
    }

    #[test]
    fn a_region_over_ram_of_the_boot_has_no_device() {
        let plan = boot(2, Some(E820Type::RAM), &ALL);
        assert_eq!(devices(&plan), []);
        assert!(plan.cxl.as_ref().unwrap().regions[0].committed);
    }

    #[test]
    fn drivers_bring_their_part() {
        let some = |drivers: &[&str]| {
            let cxl = boot(2, None, drivers).cxl.unwrap();
            (cxl.root_decoders.len(), cxl.memdevs.len(), cxl.regions.len())
        };
        assert_eq!(boot(2, None, &["kmem"]).cxl, None);
        assert_eq!(some(&["cxl_acpi"]), (1, 0, 0));
        assert_eq!(some(&["cxl_mem", "cxl_acpi"]), (1, 0, 0));
        assert_eq!(some(&["cxl_pci", "cxl_acpi"]), (1, 2, 1));
        // None named: the capture shows that they were there.
        assert_eq!(some(&[]), (1, 2, 1));
    }
}
