//! What would do better: the same goal under other settings, on another boot, with another window, each run through the
//! model and compared by its figures.

use super::add::Added;
use super::goal::{DeviceKind, Goal, Wanted, WantedZone};
use super::{Answer, Request, booted};
use crate::linux::events::Event;
use crate::linux::settings::{MemmapOnMemory, ZonePolicy};
use crate::linux::state::State;
use crate::linux::zones::Zone;
use crate::linux::{Inputs, Kernel};
use crate::range::AddressRange;
use crate::tables::cedt::{CedtWriter, FixedMemoryWindowHeader};
use crate::tables::header::Identity;
use crate::tables::output::Seal;
use crate::topology::{TableBytes, Topology};
use crate::units::{AcpiUid, BinarySize, ByteCount, PhysAddr};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// The figures of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the page allocator gets.
    pub managed: ByteCount,
    /// What alignment costs.
    pub lost: ByteCount,
    /// What page structures take of kernel memory that was there before.
    pub kernel_cost: ByteCount,
    /// The zone that all of it is in; `None` for several, or offline.
    pub zone: Option<Zone>,
    /// It can go at any time.
    pub removable: bool,
    /// Bytes in a memory block.
    pub block_size: ByteCount,
}

impl Outcome {
    /// The figures of an answer; `None` where nothing is added.
    fn of(answer: &Answer, block_size: ByteCount) -> Option<Self> {
        let Added { forecast, placed, device, .. } = answer.added.as_ref()?;
        let zone = placed.first()?.zone.filter(|zone| placed.iter().all(|run| run.zone == Some(*zone)));
        Some(Self {
            managed: forecast.managed,
            lost: forecast.trimmed.lost_size(),
            kernel_cost: forecast.kernel_cost,
            zone,
            removable: device.as_ref().is_some_and(|device| device.kernel.0 == 0),
            block_size,
        })
    }

    /// Better in something that people ask for.
    fn is_better_than(&self, other: &Self) -> bool {
        self.managed > other.managed
            || self.kernel_cost < other.kernel_cost
            || self.lost < other.lost
            || (self.removable && !other.removable)
    }
}

/// Another way to the same goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alternative {
    /// What to change, as it is written.
    pub setting: String,
    /// Where: on the kernel command line, at run time, in firmware.
    pub place: Place,
    /// What comes of it.
    pub outcome: Outcome,
}

/// Where something is changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// At run time.
    RunTime,
    /// On the kernel command line.
    CommandLine,
    /// In firmware, or in what plugs the memory in.
    Firmware,
}

impl Place {
    /// In a word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::RunTime => "run time",
            Self::CommandLine => "boot",
            Self::Firmware => "firmware",
        }
    }
}

/// The ways that do better than the plan in some figure, and the plan itself first; empty where none does.
pub(super) fn alternatives(
    request: &Request<'_, '_>,
    earlier: &[Answer],
    state: &State<'_>,
    wanted: &Wanted,
    plan: &Answer,
) -> Vec<Alternative> {
    // The device stays where the plan has it.
    let at = plan.added.as_ref().map(|added| added.range.start);
    let wanted = Wanted { at, ..*wanted };
    let base = Outcome::of(plan, state.blocks.size).filter(|_| plan.unmet.is_none());
    let mut found: Vec<Alternative> = Vec::new();
    let mut take = |setting: &str, place: Place, outcome: Option<Outcome>| {
        let better = outcome.filter(|outcome| base.is_none_or(|base| outcome.is_better_than(&base)));
        found.extend(better.map(|outcome| Alternative { setting: setting.to_owned(), place, outcome }));
    };

    // At run time: only where the plan leaves the zone to the settings.
    if wanted.zone == WantedZone::Auto {
        let settings = &state.settings;
        let mut ways: Vec<(&str, Vec<(&str, &str)>)> = Vec::from([(
            "auto_online_blocks=online_movable",
            Vec::from([("auto_online_blocks", "online_movable")]),
        )]);
        if settings.zone_policy != ZonePolicy::AutoMovable {
            ways.push(("online_policy=auto-movable", Vec::from([("online_policy", "auto-movable")])));
        }
        if settings.numa_aware {
            ways.push((
                "online_policy=auto-movable auto_movable_numa_aware=N",
                Vec::from([("online_policy", "auto-movable"), ("auto_movable_numa_aware", "N")]),
            ));
        }
        for (name, writes) in ways {
            let mut other = state.clone();
            for (name, value) in writes {
                let event = Event::Set { name: name.to_owned(), value: value.to_owned() };
                if let Ok((next, _)) = other.apply(&event) {
                    other = next;
                }
            }
            take(name, Place::RunTime, tried(&other, &wanted));
        }
    }

    // On another boot.
    let inputs = request.inputs;
    let mut lines: Vec<&str> = Vec::new();
    if state.settings.memmap_on_memory == MemmapOnMemory::Off {
        lines.push(ON_MEMORY);
    }
    if wanted.zone == WantedZone::Auto && !inputs.kernel.command_line.movable_node {
        lines.push("movable_node");
    }
    for line in lines {
        let kernel = with_line(inputs.kernel, line);
        take(line, Place::CommandLine, again(inputs, &kernel, request.events, earlier, &wanted));
    }

    // By firmware: where the device begins, and what a window would make of the block size.
    let lost = plan.added.as_ref().is_some_and(|added| added.forecast.trimmed.lost_size().0 > 0)
        || plan.unmet.is_some();
    if let Some(range) = plan.added.as_ref().map(|added| added.range).filter(|_| lost) {
        let block = state.blocks.size;
        let down = PhysAddr(range.start.0.checked_div(block.0).unwrap_or_default().saturating_mul(block.0));
        let up = PhysAddr(range.start.0.checked_next_multiple_of(block.0).unwrap_or(u64::MAX));
        for start in [down, up].into_iter().filter(|start| *start != range.start) {
            let name = format!("device at {:#x}, a multiple of {}", start, BinarySize(block));
            let outcome = tried(state, &Wanted { at: Some(start), ..wanted });
            let good = outcome.filter(|_| places_free(state, start, range.size()));
            if good.is_some() {
                take(&name, Place::Firmware, good);
                break;
            }
        }
        let covered = inputs.topology.windows.is_some()
            && state.nodes.windows.iter().any(|window| window.range.covers(&range));
        if wanted.device == DeviceKind::Cxl && !covered {
            if let Some(bytes) = window_table(&range) {
                let name = format!("a CXL window (CFMWS) of {range}");
                let outcome = with_window(request, inputs.kernel, earlier, &bytes, &wanted);
                let blocks =
                    |outcome: Outcome| format!("{name}: blocks of {}", BinarySize(outcome.block_size));
                take(&outcome.map_or_else(|| name.clone(), blocks), Place::Firmware, outcome);
                if state.settings.memmap_on_memory == MemmapOnMemory::Off {
                    let kernel = with_line(inputs.kernel, ON_MEMORY);
                    let outcome = with_window(request, &kernel, earlier, &bytes, &wanted);
                    take(&format!("the same window, and {ON_MEMORY}"), Place::Firmware, outcome);
                }
            }
        }
    }
    if let (Some(outcome), false) = (base, found.is_empty()) {
        let setting = "as planned".to_owned();
        found.insert(0, Alternative { setting, place: Place::RunTime, outcome });
    }
    found
}

/// Has added memory hold its own page structures.
const ON_MEMORY: &str = "memory_hotplug.memmap_on_memory=Y";

/// Whether nothing is there already.
fn places_free(state: &State<'_>, start: PhysAddr, size: ByteCount) -> bool {
    let Some(range) = AddressRange::from_base_size(start, size) else { return false };
    let map = state.memory_map.table.iter().map(|entry| entry.range);
    let added = state.added.iter().map(|added| added.range);
    !map.chain(added).any(|other| other.overlaps(&range))
}

/// What comes of a goal in another state, where it can be met.
fn tried(state: &State<'_>, wanted: &Wanted) -> Option<Outcome> {
    let (answer, _) = super::answer(state, &Goal::Add(*wanted));
    answer.unmet.is_none().then(|| Outcome::of(&answer, state.blocks.size))?
}

/// The same after another boot, and after the goals before.
fn again(
    inputs: Inputs<'_>,
    kernel: &Kernel,
    events: &[Event<'_>],
    earlier: &[Answer],
    wanted: &Wanted,
) -> Option<Outcome> {
    let mut state = booted(inputs, events, kernel)?;
    for answer in earlier {
        state = super::answer(&state, &answer.goal).1;
    }
    tried(&state, wanted)
}

/// The same kernel with one more parameter.
fn with_line(kernel: &Kernel, parameter: &str) -> Kernel {
    let mut kernel = kernel.clone();
    kernel.command_line.append(parameter);
    kernel
}

/// A CEDT of one window.
fn window_table(range: &AddressRange) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    let mut writer = CedtWriter::new(&mut bytes, Identity::default());
    let mut window: FixedMemoryWindowHeader = zerocopy::FromZeros::new_zeroed();
    window.r#type = 1.into();
    window.base_hpa = range.start.into();
    window.window_size = range.size().into();
    writer.push_window(&window, &[AcpiUid(0)]).ok()?;
    writer.finish(Seal::Fill).ok()?;
    Some(bytes)
}

/// The same on a machine whose firmware announces one more window.
fn with_window(
    request: &Request<'_, '_>,
    kernel: &Kernel,
    earlier: &[Answer],
    bytes: &[u8],
    wanted: &Wanted,
) -> Option<Outcome> {
    let more = Topology::read([TableBytes::copy(bytes).ok()?]).windows?;
    let mut topology: Topology<'_> = request.inputs.topology.clone();
    match &mut topology.windows {
        Some(windows) => windows.entries.extend(more.entries),
        none => *none = Some(more),
    }
    let inputs = Inputs { topology: &topology, ..request.inputs };
    again(inputs, kernel, request.events, earlier, wanted)
}
