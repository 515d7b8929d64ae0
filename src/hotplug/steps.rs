//! Steps of a plan, each with the commands that carry it out.

use super::goal::DeviceKind;
use crate::linux::added::{MemoryDevice, OnlinePolicy};
use crate::linux::block_map::BlockId;
use crate::linux::events::{Event, Given};
use crate::linux::settings::Setting;
use crate::linux::state::State;
use crate::range::AddressRange;
use crate::units::{BinarySize, NodeId, ProximityDomain};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec;
use alloc::vec::Vec;

/// One step.
#[derive(Clone, Debug)]
pub struct Step {
    /// What it is for.
    pub what: String,
    /// Shell commands, in order. A word in capitals is to be filled in.
    pub commands: Vec<String>,
    /// The same as an event, where there is one.
    pub event: Option<Event<'static>>,
}

impl Step {
    fn new(what: impl Into<String>, commands: Vec<String>) -> Self {
        Self { what: what.into(), commands, event: None }
    }

    fn with(mut self, event: Event<'static>) -> Self {
        self.event = Some(event);
        self
    }
}

/// A setting is written.
pub(super) fn set(setting: Setting, why: &str) -> Step {
    let (name, value) = (setting.name(), setting.to_string());
    let file = Setting::file(name);
    let path = if file.starts_with('/') { file } else { format!("/sys/devices/system/memory/{file}") };
    Step::new(why, vec![format!("echo {value} > {path}")]).with(Event::Set { name: name.to_owned(), value })
}

/// Added memory comes online in this way from now on.
pub(super) fn online_as(policy: OnlinePolicy, why: &str) -> Step {
    set(Setting::AutoOnlineBlocks(policy), why)
}

/// Drivers that a device of this kind needs and that are not there.
pub(super) fn drivers(state: &State<'_>, device: DeviceKind) -> Option<Step> {
    let needed: &[&str] = match device {
        DeviceKind::Dimm => &[],
        DeviceKind::Cxl => &["cxl_acpi", "cxl_pci", "cxl_mem", "dax_cxl", "kmem"],
        DeviceKind::SoftReserved => &["dax_hmem", "kmem"],
    };
    let missing: Vec<&str> =
        needed.iter().copied().filter(|driver| !state.loaded.iter().any(|known| known == driver)).collect();
    (!missing.is_empty())
        .then(|| Step::new("load the drivers", vec![format!("modprobe -a {}", missing.join(" "))]))
}

/// The device itself.
pub(super) fn plug(
    state: &State<'_>,
    device: DeviceKind,
    range: &AddressRange,
    node: Option<NodeId>,
    domain: Option<ProximityDomain>,
) -> Step {
    let size = range.size();
    match device {
        DeviceKind::Dimm => {
            let where_to = node.map_or_else(String::new, |node| format!(",node={node}"));
            Step::new(
                format!("plug the DIMM in at {range}; in a virtual machine, on the emulator's monitor"),
                vec![
                    format!("object_add memory-backend-ram,id=memN,size={size}"),
                    format!("device_add pc-dimm,id=dimmN,memdev=memN,addr={:#x}{where_to}", range.start),
                ],
            )
            .with(Event::AddMemory(MemoryDevice { range: *range, domain }))
        }
        DeviceKind::Cxl => {
            let windows = state.cxl.iter().flat_map(|cxl| &cxl.root.decoders);
            let root = windows.map(|decoder| {
                let window = AddressRange::from_base_size(decoder.start, decoder.size);
                (decoder.index, window)
            });
            let root = root.into_iter().find(|(_, window)| window.is_some_and(|all| all.covers(range)));
            let by_table = || {
                let mut windows = (0_u32..).zip(&state.nodes.windows);
                windows.find(|(_, window)| window.range.covers(range)).map(|(index, _)| index)
            };
            match root.map(|(index, _)| index).or_else(by_table) {
                Some(index) => Step::new(
                    format!("make the region at {range}; kmem makes it System RAM"),
                    vec![format!("cxl create-region -t ram -d decoder0.{index} -m -s {size} MEMDEV...")],
                ),
                None => Step::new(
                    format!("no CXL window holds {range}: firmware has to make the region; then"),
                    vec!["cxl list -R -v".to_owned(), "daxctl list -u".to_owned()],
                ),
            }
        }
        DeviceKind::SoftReserved => Step::new(
            format!("give the DAX device over {range} to kmem, which the drivers do when they are loaded"),
            vec!["daxctl list -u".to_owned()],
        ),
    }
}

/// Shell words for block numbers.
fn blocks(first: BlockId, end: BlockId) -> String {
    format!("$(seq {first} {})", end.0.saturating_sub(1))
}

/// Blocks are brought online.
pub(super) fn bring_online(first: BlockId, end: BlockId, word: &str, why: impl Into<String>) -> Step {
    Step::new(
        why,
        vec![
            format!("for b in {}; do", blocks(first, end)),
            format!("  echo {word} > /sys/devices/system/memory/memory$b/state"),
            "done".to_owned(),
        ],
    )
}

/// Blocks are taken offline; it stops at the first that the kernel refuses.
pub(super) fn take_offline(first: BlockId, end: BlockId, why: impl Into<String>) -> Step {
    Step::new(
        why,
        vec![
            format!("for b in {}; do", blocks(first, end)),
            "  echo offline > /sys/devices/system/memory/memory$b/state || break".to_owned(),
            "done".to_owned(),
        ],
    )
}

/// What shows that it worked.
pub(super) fn check(first: BlockId, end: BlockId) -> Step {
    let last = end.0.saturating_sub(1);
    Step::new(
        "check what came of it",
        vec![format!("lsmem -o RANGE,SIZE,STATE,NODE,ZONES,BLOCK | less   # blocks {first} to {last}")],
    )
}

/// An ACPI memory device is asked back. The kernel takes its blocks offline itself, and brings them back when one
/// refuses; a device whose blocks are offline already cannot fail half-way.
pub(super) fn eject(first: BlockId, range: &AddressRange) -> Step {
    Step::new(
        format!("eject the memory device at {range} ({})", BinarySize(range.size())),
        vec![format!("echo 1 > /sys/devices/system/memory/memory{first}/firmware_node/eject")],
    )
    .with(Event::RemoveMemory { range: *range, outcome: Some(Given::Ok) })
}

/// A DAX device is taken from kmem.
pub(super) fn unbind(name: &str) -> Step {
    Step::new(
        "take the device from kmem, which gives its memory back",
        vec![format!("echo {name} > /sys/bus/dax/drivers/kmem/unbind")],
    )
    .with(Event::UnbindDax { device: name.to_owned() })
}

/// A CXL region is taken apart.
pub(super) fn destroy(region: &str) -> Step {
    Step::new("take the region apart", vec![format!("cxl destroy-region -f {region}")])
        .with(Event::DeleteRegion { region: region.to_owned() })
}
