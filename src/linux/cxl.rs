//! CXL after boot: root decoders, devices, what is programmed, and the regions that the drivers make of it.

use super::access::Access;
use super::cxl_levels::complete_granularity;
use super::kernel::{Kernel, Version};
use super::nodes::Nodes;
use super::reason::{Fact, Notes, Reason, Section, Subject};
use super::regions::Assembly;
use super::rules;
use super::state::State;
use super::windows::{Root, RootDecoder};
use crate::tables::cedt::{InterleaveArithmetic, WindowRestrictions};
use crate::topology::Topology;
use crate::topology::cxl::{CxlTree, Decoder, PortKind, Region, RootCapabilities, numbers};
use crate::units::{AcpiUid, ByteCount};
use alloc::collections::BTreeMap;
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
        self.cxl = Some(Cxl { root, bridges, ..Cxl::default() });
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
        complete_granularity(&mut cxl.tree, &cxl.root.decoders);
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
    Some(Root { decoders, ..Root::default() })
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
