//! Events: what happens to a booted machine, one step after another.
//!
//! A state is a value, and [`State::apply`] makes the next one from it and an [`Event`]. What the kernel needs locks,
//! notifiers and late initcalls for is an order of pure steps here. A refused event has a [`Refusal`] that names the
//! errno, the file whose write failed, the rule, and the state that is left.

mod cxl;
mod dax;
mod memory;
mod owner;
mod tables;

use super::added::MemoryDevice;
use super::block_map::BlockId;
use super::changes::Change;
use super::online::OnlineKind;
use super::plan::Plan;
use super::reason::{Reason, Rule, Section};
use super::rules;
use super::settings::Setting;
use super::state::State;
use super::tiers::TierId;
use crate::range::AddressRange;
use crate::topology::TableBytes;
use crate::units::{ByteCount, NodeId};
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// Something that happens to a booted machine.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A driver is loaded, with those that it depends on.
    Load {
        /// Its module name.
        driver: String,
    },
    /// A run-time setting is written.
    Set {
        /// Its name, one of [`Setting::NAMES`].
        name: String,
        /// What is written.
        value: String,
    },
    /// An ACPI memory device is plugged in.
    AddMemory(MemoryDevice),
    /// An ACPI memory device is asked back: its blocks go offline first.
    RemoveMemory {
        /// Its addresses.
        range: AddressRange,
        /// What comes of it, where that hangs on pages that no table tells of.
        outcome: Option<Given>,
    },
    /// A memory block is brought online.
    Online {
        /// The block.
        block: BlockId,
        /// In which zone.
        kind: OnlineKind,
    },
    /// A memory block is taken offline.
    Offline {
        /// The block.
        block: BlockId,
        /// What comes of it, where that hangs on pages that no table tells of.
        outcome: Option<Given>,
    },
    /// A CXL region is made.
    CreateRegion(RegionWish),
    /// A CXL region is taken apart.
    DeleteRegion {
        /// Its name.
        region: String,
    },
    /// A DAX device is given to a driver.
    BindDax {
        /// Its name.
        device: String,
        /// The driver.
        driver: String,
        /// Written to the device's `memmap_on_memory` before.
        memmap_on_memory: Option<bool>,
    },
    /// A DAX device is taken from its driver.
    UnbindDax {
        /// Its name.
        device: String,
    },
    /// A table has other contents than at boot.
    UpdateTable(TableUpdate<'a>),
    /// The owner of the machine wants a node in another tier.
    MoveNode {
        /// The node.
        node: NodeId,
        /// The tier.
        tier: TierId,
    },
}

/// New contents of a table.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum TableUpdate<'a> {
    /// What the `_HMA` method would give.
    Hmat(TableBytes<'a>),
    /// What a CXL device would give, header and all.
    Cdat(&'a [u8]),
}

/// What is asked of a new CXL region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionWish {
    /// The root decoder.
    pub root: String,
    /// `ram` or `pmem`.
    pub mode: String,
    /// Bytes from one target to the next.
    pub granularity: ByteCount,
    /// How many targets; as many as there are in `targets` where it is not given.
    pub ways: Option<u32>,
    /// Size of the region.
    pub size: ByteCount,
    /// Serial numbers of the devices, in order of interleave.
    pub targets: Vec<u64>,
    /// Whether its driver takes it.
    pub bind: bool,
}

/// The outcome of taking kernel memory offline. It hangs on where the running kernel had put pages that cannot move,
/// so it is an input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Given {
    /// It worked.
    Ok,
    /// Some page could not be moved.
    Busy,
}

/// An error number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Errno {
    /// No such block, device or file.
    NoEntry,
    /// No such device, or none that fits.
    NoDevice,
    /// Too large for the address space.
    TooBig,
    /// No memory for what it takes.
    NoMemory,
    /// In use.
    Busy,
    /// There already.
    Exists,
    /// Not allowed in this state, or a value that means nothing.
    Invalid,
    /// Nothing of that name that the driver takes.
    NoMatch,
    /// No room left in a device.
    NoSpace,
    /// No addresses left.
    OutOfRange,
    /// Locked.
    NotPermitted,
    /// The kernel is not set up for it.
    NotSupported,
}

impl Errno {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoEntry => "ENOENT",
            Self::NoDevice => "ENXIO",
            Self::TooBig => "E2BIG",
            Self::NoMemory => "ENOMEM",
            Self::Busy => "EBUSY",
            Self::Exists => "EEXIST",
            Self::Invalid => "EINVAL",
            Self::NoMatch => "ENODEV",
            Self::NoSpace => "ENOSPC",
            Self::OutOfRange => "ERANGE",
            Self::NotPermitted => "EPERM",
            Self::NotSupported => "EOPNOTSUPP",
        }
    }
}

impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Why an event does not take place.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// The kernel refuses it.
    Errno(Errno),
    /// It is not modelled.
    NotModelled,
    /// The inputs do not tell what comes of it; what they lack.
    Undetermined(String),
}

/// An event that does not take place.
#[derive(Clone, Debug)]
pub struct Refusal<'a> {
    /// Why.
    pub cause: Cause,
    /// The file whose write failed.
    pub refused_at: Option<String>,
    /// The rule.
    pub reason: Reason,
    /// The state that is left. It differs from the one before where the kernel does not put back all that it did.
    pub left: State<'a>,
    /// What differs in it.
    pub changes: Changes,
}

/// What a step changes, in order, each with its reason.
pub type Changes = Vec<(Change, Reason)>;

/// What ends a step early.
struct Stop {
    cause: Cause,
    at: Option<String>,
    reason: Reason,
}

impl Stop {
    fn errno(errno: Errno, at: impl Into<String>, rule: Rule) -> Box<Self> {
        Self::with(Cause::Errno(errno), Some(at.into()), Reason::new(rule))
    }

    fn with(cause: Cause, at: Option<String>, reason: Reason) -> Box<Self> {
        Box::new(Self { cause, at, reason })
    }
}

impl<'a> State<'a> {
    /// The state after an event, and what changed.
    ///
    /// # Errors
    /// When the kernel refuses the event, when it is not modelled, or when the inputs do not tell.
    pub fn apply(&self, event: &Event<'a>) -> Result<(Self, Changes), Box<Refusal<'a>>> {
        let mut next = self.clone();
        next.changes.clear();
        let result = next.step(event);
        let changes = core::mem::take(&mut next.changes);
        match result {
            Ok(()) => Ok((next, changes)),
            Err(stop) => {
                let Stop { cause, at, reason } = *stop;
                match &cause {
                    Cause::Errno(_) => {}
                    Cause::NotModelled => {
                        for section in [Section::Events, Section::Devices, Section::Cxl] {
                            next.notes.missing(section, format!("{event}: not modelled"));
                        }
                    }
                    Cause::Undetermined(missing) => {
                        next.notes.missing(Section::Events, format!("{event}: {missing}"));
                    }
                }
                Err(Box::new(Refusal { cause, refused_at: at, reason, left: next, changes }))
            }
        }
    }

    fn step(&mut self, event: &Event<'a>) -> Result<(), Box<Stop>> {
        match event {
            Event::Load { driver } => {
                if self.load(driver) {
                    return Ok(());
                }
                Err(Stop::errno(Errno::Exists, "insmod", rules::DRIVER_THERE))
            }
            Event::Set { name, value } => {
                let Some(setting) = Setting::parse(name, value) else {
                    return Err(Stop::errno(Errno::Invalid, Setting::file(name), rules::SETTING_INVALID));
                };
                self.settings.set(setting);
                self.changed(Change::Set(setting), Reason::new(rules::SETTING));
                Ok(())
            }
            Event::AddMemory(device) => self.plug(device),
            Event::RemoveMemory { range, outcome } => self.unplug(range, *outcome),
            Event::Online { block, kind } => self.online_block(*block, *kind),
            Event::Offline { block, outcome } => self.offline_block(*block, *outcome),
            Event::UpdateTable(update) => self.update_table(update),
            Event::MoveNode { node, tier } => self.obey_move(*node, *tier),
            Event::CreateRegion(wish) => self.create_region(wish),
            Event::DeleteRegion { region } => self.delete_region(region),
            Event::BindDax { device, driver, memmap_on_memory } => {
                self.bind_dax(device, driver, *memmap_on_memory)
            }
            Event::UnbindDax { device } => self.unbind_dax(device),
        }
    }

    /// Applies events one after another. A refused one is passed over, as a script would that does not look.
    #[must_use]
    pub fn steps(&self, events: &[Event<'a>]) -> Vec<Step<'a>> {
        let mut state = self.clone();
        let mut steps = Vec::with_capacity(events.len());
        for event in events {
            let before = state.offered.is_some();
            let (next, mut step) = match state.apply(event) {
                Ok((next, changes)) => (next, Step::new(event, None, None, changes)),
                Err(refusal) => {
                    let Refusal { cause, refused_at, reason, left, changes } = *refusal;
                    let mut step = Step::new(event, Some(cause), Some(reason), changes);
                    step.refused_at = refused_at;
                    (left, step)
                }
            };
            state = next;
            step.after = Some(state.plan());
            if before || matches!(event, Event::UpdateTable(_)) {
                step.reevaluated = state.reevaluated().map(|state| state.plan());
            }
            steps.push(step);
        }
        steps
    }
}

/// One event and what came of it.
#[derive(Clone, Debug)]
pub struct Step<'a> {
    /// The event.
    pub event: Event<'a>,
    /// Why it did not take place; `None` when it did.
    pub refused: Option<Cause>,
    /// The file whose write failed.
    pub refused_at: Option<String>,
    /// Why; for an event that took place the reason of its first change.
    pub reason: Option<Reason>,
    /// What changed.
    pub changes: Changes,
    /// The machine after it.
    pub after: Option<Plan>,
    /// The machine if the kernel read the tables that firmware would give now; `None` where they are those of the
    /// boot, or were read.
    pub reevaluated: Option<Plan>,
}

impl<'a> Step<'a> {
    fn new(event: &Event<'a>, refused: Option<Cause>, reason: Option<Reason>, changes: Changes) -> Self {
        let reason = reason.or_else(|| changes.first().map(|(_, reason)| reason.clone()));
        let event = event.clone();
        Self { event, refused, refused_at: None, reason, changes, after: None, reevaluated: None }
    }

    /// `ok` or the name of an errno; `None` where it is not known.
    #[must_use]
    pub const fn result(&self) -> Option<&'static str> {
        match &self.refused {
            None => Some("ok"),
            Some(Cause::Errno(errno)) => Some(errno.name()),
            Some(Cause::NotModelled | Cause::Undetermined(_)) => None,
        }
    }
}

impl Event<'_> {
    /// Its name in the input.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Load { .. } => "load",
            Self::Set { .. } => "set",
            Self::AddMemory(_) => "add_memory",
            Self::RemoveMemory { .. } => "remove_memory",
            Self::Online { .. } => "online",
            Self::Offline { .. } => "offline",
            Self::CreateRegion(_) => "create_region",
            Self::DeleteRegion { .. } => "delete_region",
            Self::BindDax { .. } => "bind_dax",
            Self::UnbindDax { .. } => "unbind_dax",
            Self::UpdateTable(_) => "update_table",
            Self::MoveNode { .. } => "move_node",
        }
    }
}

/// Prints as a short line for people.
impl fmt::Display for Event<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        match self {
            Self::Load { driver } => write!(f, "{name} {driver}"),
            Self::Set { name: setting, value } => write!(f, "{name} {setting}={value}"),
            Self::AddMemory(device) => write!(f, "{name} {}", device.range),
            Self::RemoveMemory { range, .. } => write!(f, "{name} {range}"),
            Self::Online { block, kind } => write!(f, "{} {block}", kind.name()),
            Self::Offline { block, .. } => write!(f, "{name} {block}"),
            Self::CreateRegion(wish) => write!(f, "{name} {}", wish.root),
            Self::DeleteRegion { region } => write!(f, "{name} {region}"),
            Self::BindDax { device, driver, .. } => write!(f, "{name} {device} {driver}"),
            Self::UnbindDax { device } => write!(f, "{name} {device}"),
            Self::UpdateTable(TableUpdate::Hmat(_)) => write!(f, "{name} HMAT"),
            Self::UpdateTable(TableUpdate::Cdat(_)) => write!(f, "{name} CDAT"),
            Self::MoveNode { node, tier } => write!(f, "{name} {node} to tier {}", tier.printed()),
        }
    }
}
