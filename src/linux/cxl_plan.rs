//! CXL and DAX as a plan shows them: under names that do not depend on the order in which devices were found.

use super::cxl::Cxl;
use super::cxl_levels::{endpoint_name, switch_name};
use super::performance_plan::PerformancePlan;
use super::soft_reserved::{DaxDevice, DaxDriver, DaxParent, EXTENT_ALIGNMENT};
use super::state::State;
use super::windows::RootDecoder;
use crate::range::AddressRange;
use crate::tables::cedt::{InterleaveArithmetic, WindowRestrictions};
use crate::topology::cxl::{CxlTree, Decoder, DpaRange, Memdev, Mode, PortKind};
use crate::units::{ByteCount, NodeId, PhysAddr};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What the CXL drivers show.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CxlPlan {
    /// Memory devices, by serial number.
    pub memdevs: Vec<Memdev>,
    /// Root decoders, by index.
    pub root_decoders: Vec<RootDecoderPlan>,
    /// Decoders of bridges and switches that are in use, by name.
    pub switch_decoders: Vec<DecoderPlan>,
    /// Decoders of devices that are in use, by name.
    pub endpoint_decoders: Vec<DecoderPlan>,
    /// Regions, by number.
    pub regions: Vec<RegionPlan>,
    /// Speed of devices and regions.
    pub performance: PerformancePlan,
}

/// A root decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootDecoderPlan {
    /// Its name.
    pub name: String,
    /// First address.
    pub start: PhysAddr,
    /// Bytes.
    pub size: ByteCount,
    /// Over how many targets it interleaves.
    pub ways: u32,
    /// In pieces of how many bytes.
    pub granularity: ByteCount,
    /// Its targets by position, up to the first that is not there.
    pub targets: Vec<u32>,
    /// QoS throttling group.
    pub qos_class: i64,
    /// What it may be used for.
    pub restrictions: WindowRestrictions,
    /// Nothing below it may be changed.
    pub locked: bool,
    /// Whether positions are found by XOR; `None` where the inputs do not tell.
    pub arithmetic: Option<InterleaveArithmetic>,
    /// Size of the DRAM that caches the upper half of the window; 0 for none.
    pub cache_size: ByteCount,
    /// The name of the next region in it.
    pub next_region: Option<String>,
}

/// A decoder that is in use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DecoderPlan {
    /// Its name.
    pub name: String,
    /// The region that it is part of.
    pub region: Option<String>,
    /// First address; 0 while it is not committed.
    pub start: PhysAddr,
    /// Bytes; 0 while it is not committed.
    pub size: ByteCount,
    /// Over how many targets it interleaves.
    pub ways: u32,
    /// In pieces of how many bytes; `None` where the inputs do not tell.
    pub granularity: Option<ByteCount>,
    /// Switches: its targets by position.
    pub targets: Vec<u32>,
    /// Endpoints: the memory of the device.
    pub dpa: Option<DpaRange>,
    /// Endpoints: what kind of memory that is.
    pub mode: Option<Mode>,
}

/// A region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionPlan {
    /// Its name.
    pub name: String,
    /// The root decoder that it is part of.
    pub root_decoder: Option<String>,
    /// Its first address.
    pub start: PhysAddr,
    /// Bytes, with the DRAM in front of it.
    pub size: ByteCount,
    /// Over how many endpoints it interleaves.
    pub ways: u32,
    /// In pieces of how many bytes; `None` where the inputs do not tell.
    pub granularity: Option<ByteCount>,
    /// What kind of memory it has.
    pub mode: Option<Mode>,
    /// Its decoders are committed.
    pub committed: bool,
    /// A driver has it.
    pub bound: bool,
    /// Size of the DRAM in front of it; 0 for none.
    pub cache_size: ByteCount,
    /// The names of its endpoint decoders by position; `None` for a position that is free.
    pub targets: Vec<Option<String>>,
}

/// A DAX device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DaxPlan {
    /// Its name.
    pub name: String,
    /// The device that it stands on.
    pub parent: String,
    /// The driver that has it.
    pub driver: Option<&'static str>,
    /// Its addresses.
    pub range: AddressRange,
    /// What its memory is a multiple of.
    pub alignment: ByteCount,
    /// The node that its memory belongs to.
    pub target_node: Option<NodeId>,
    /// The node that the device is near to; `None` for none, as over every CXL region.
    pub numa_node: Option<NodeId>,
    /// Whether it asks for memmap on its own memory.
    pub memmap_on_memory: bool,
}

impl State<'_> {
    pub(crate) fn cxl_plan(&self) -> Option<CxlPlan> {
        let cxl = self.cxl.as_ref()?;
        let tree = &cxl.tree;
        let from_table = self.topology.windows.is_some();
        let root = |decoder: &RootDecoder| RootDecoderPlan {
            name: format!("decoder0.{}", decoder.index),
            start: decoder.start,
            size: decoder.size,
            ways: decoder.ways,
            granularity: decoder.granularity,
            targets: decoder.shown_targets(&cxl.bridges).collect(),
            qos_class: decoder.qtg,
            restrictions: decoder.restrictions,
            locked: decoder.locked(),
            arithmetic: from_table.then_some(decoder.arithmetic),
            cache_size: decoder.cache_size,
            next_region: self.region_ids.next(decoder.index).map(|id| format!("region{id}")),
        };
        let mut memdevs = tree.memdevs.clone();
        for memdev in &mut memdevs {
            // What the kernel shows where its figures cannot be told is what the capture showed.
            if let Some([ram, pmem]) = self.qos_classes(memdev) {
                (memdev.ram_qos_class, memdev.pmem_qos_class) = (ram, pmem);
            }
        }
        memdevs.sort_by_key(|memdev| memdev.serial);
        let in_use = |kind: PortKind| {
            let of_kind = move |decoder: &&Decoder| {
                // One that lost its region may still show the addresses that it had.
                let used = decoder.region.is_some() || decoder.dpa.is_some();
                used && tree.port(&decoder.port).is_some_and(|port| port.kind == kind)
            };
            let mut decoders: Vec<_> =
                tree.decoders.iter().filter(of_kind).map(|decoder| decoder_plan(tree, decoder)).collect();
            decoders.sort_by(|one, other| one.name.cmp(&other.name));
            decoders
        };
        Some(CxlPlan {
            memdevs,
            root_decoders: cxl.root.decoders.iter().map(root).collect(),
            switch_decoders: in_use(PortKind::Switch),
            endpoint_decoders: in_use(PortKind::Endpoint),
            regions: regions(cxl),
            performance: self.performance_plan().unwrap_or_default(),
        })
    }

    pub(crate) fn dax_plan(&self) -> Vec<DaxPlan> {
        let mut devices: Vec<&DaxDevice> = self.dax.iter().collect();
        devices.sort_by_key(|device| device.id);
        let plan = |device: &DaxDevice| {
            let DaxDevice { id, parent, near, range, node, driver, memmap_on_memory, .. } = *device;
            let parent = match parent {
                DaxParent::SoftReserved => format!("hmem.{id}"),
                DaxParent::Region => format!("dax_region{id}"),
            };
            DaxPlan {
                name: device.name(),
                parent,
                driver: driver.map(DaxDriver::name),
                range,
                alignment: ByteCount(EXTENT_ALIGNMENT),
                target_node: node,
                numa_node: near,
                memmap_on_memory,
            }
        };
        devices.into_iter().map(plan).collect()
    }
}

fn decoder_plan(tree: &CxlTree, decoder: &Decoder) -> DecoderPlan {
    let name = endpoint_name(tree, decoder).or_else(|| switch_name(tree, decoder));
    DecoderPlan {
        name: name.unwrap_or_else(|| decoder.name.clone()),
        region: decoder.region.clone(),
        start: decoder.start,
        size: decoder.size,
        ways: decoder.ways,
        granularity: decoder.granularity,
        targets: decoder.targets.clone(),
        dpa: decoder.dpa,
        mode: decoder.mode,
    }
}

fn regions(cxl: &Cxl) -> Vec<RegionPlan> {
    let tree = &cxl.tree;
    let target = |name: &Option<String>| {
        let name = name.as_deref()?;
        let decoder = tree.decoders.iter().find(|decoder| decoder.name == name)?;
        endpoint_name(tree, decoder)
    };
    let plan = |region: &crate::topology::cxl::Region| RegionPlan {
        name: region.name.clone(),
        root_decoder: region.root_decoder.clone(),
        start: region.start,
        size: region.size,
        ways: region.ways,
        granularity: region.granularity,
        mode: region.mode,
        committed: region.committed == Some(true),
        bound: region.bound == Some(true),
        cache_size: cxl.caches.get(&region.name).copied().unwrap_or_default(),
        targets: region.targets.iter().map(target).collect(),
    };
    tree.regions.iter().map(plan).collect()
}
