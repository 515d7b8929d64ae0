//! The planner of memory that comes and goes: from a goal and a booted machine to the steps, what they lead to, what that
//! costs, what may go wrong, and the settings that would do better.
//!
//! [`plan`] is the way in. Nothing here knows a rule of the kernel: every answer is what [`crate::linux`] makes of a
//! state, and every alternative is a boot or a step of its own, compared with the plan by its figures.

mod add;
mod advice;
pub mod devices;
pub mod goal;
mod places;
mod ratio;
mod remove;
mod steps;

pub use add::{Added, Placed};
pub use advice::{Alternative, Outcome, Place};
pub use devices::{Device, Layout};
pub use goal::{DeviceKind, Goal, GoalError, Owner, Percent, Target, Wanted, WantedZone};
pub use ratio::{NodeRoom, Room};
pub use steps::Step;

use crate::linux::events::{self, Errno, Event};
use crate::linux::placement::BootPlan;
use crate::linux::reason::Reason;
use crate::linux::settings::Settings;
use crate::linux::state::{Failure, Inputs, State};
use crate::linux::{Kernel, Version};
use crate::units::ByteCount;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;

/// What is asked of the planner.
#[derive(Clone, Copy, Debug)]
pub struct Request<'r, 'a> {
    /// The machine and its kernel.
    pub inputs: Inputs<'a>,
    /// What happened since the boot.
    pub events: &'r [Event<'a>],
    /// The goals, each on the state that the one before leaves.
    pub goals: &'r [Goal],
}

/// Why a goal cannot be met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unmet {
    /// The errno that the kernel gives; `None` where the kernel does something, but not this.
    pub errno: Option<Errno>,
    /// Why.
    pub reason: Reason,
    /// The nearest goal that can be met.
    pub nearest: Option<String>,
}

/// Something that may go wrong, or follows and is easily overlooked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Risk {
    /// Stable name.
    pub id: &'static str,
    /// What, with its figures.
    pub what: String,
}

/// Adds a risk; nobody tells the same twice.
fn tell(risks: &mut Vec<Risk>, id: &'static str, what: impl Into<String>) {
    let risk = Risk { id, what: what.into() };
    if !risks.contains(&risk) {
        risks.push(risk);
    }
}

/// What the planner says to one goal.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The goal.
    pub goal: Goal,
    /// Why it cannot be met; `None` when it can.
    pub unmet: Option<Unmet>,
    /// What steps to take.
    pub steps: Vec<Step>,
    /// What comes of memory that is added.
    pub added: Option<Added>,
    /// How much movable memory there may be.
    pub room: Option<Room>,
    /// The devices that the goal is about, as they are before.
    pub devices: Vec<Device>,
    /// What may go wrong.
    pub risks: Vec<Risk>,
    /// What else could be done, with what came of it.
    pub better: Vec<Alternative>,
}

impl Answer {
    const fn new(goal: Goal) -> Self {
        Self {
            goal,
            unmet: None,
            steps: Vec::new(),
            added: None,
            room: None,
            devices: Vec::new(),
            risks: Vec::new(),
            better: Vec::new(),
        }
    }
}

/// The plan.
#[derive(Clone, Debug)]
pub struct HotplugPlan<'a> {
    /// Which kernel.
    pub version: Version,
    /// Bytes in a memory block.
    pub block_size: ByteCount,
    /// What is set before the first goal.
    pub settings: Settings,
    /// What came of the events before.
    pub given: Vec<events::Step<'a>>,
    /// What the boot put where for good, where the SRAT marks memory of the boot as hot-pluggable.
    pub boot: Option<BootPlan>,
    /// The machine before the first goal.
    pub before: Layout,
    /// What there is to say to each goal.
    pub answers: Vec<Answer>,
    /// The machine after the last.
    pub after: Layout,
}

impl HotplugPlan<'_> {
    /// Whether every goal can be met.
    #[must_use]
    pub fn is_met(&self) -> bool {
        self.answers.iter().all(|answer| answer.unmet.is_none())
    }
}

/// Plans.
///
/// # Errors
/// When the kernel does not come up.
///
/// # Complexity
/// One boot, and one more for each alternative; each works on ranges, not on blocks.
pub fn plan<'a>(request: &Request<'_, 'a>) -> Result<HotplugPlan<'a>, Box<Failure>> {
    let Request { inputs, events, goals } = *request;
    let mut state = State::boot(inputs)?;
    let given = state.steps(events);
    for event in events {
        state = match state.apply(event) {
            Ok((next, _)) => next,
            Err(refusal) => refusal.left,
        };
    }
    let (before, settings) = (Layout::of(&state), state.settings);
    let mut answers = Vec::with_capacity(goals.len());
    for goal in goals {
        let (mut answer, next) = answer(&state, goal);
        if let Goal::Add(wanted) = goal {
            answer.better = advice::alternatives(request, answers.as_slice(), &state, wanted, &answer);
        }
        answers.push(answer);
        state = next;
    }
    Ok(HotplugPlan {
        version: inputs.kernel.version,
        block_size: state.blocks.size,
        settings,
        given,
        boot: state.boot_plan(),
        before,
        answers,
        after: Layout::of(&state),
    })
}

/// What there is to say to a goal, without alternatives, and the state that its steps lead to.
fn answer<'a>(state: &State<'a>, goal: &Goal) -> (Answer, State<'a>) {
    match goal {
        Goal::Add(wanted) => add::answer(state, wanted),
        Goal::Remove(target) => remove::answer(state, target),
        Goal::StayRemovable(target) => remove::stay_removable(state, target),
        Goal::KeepRatio(percent) => ratio::answer(state, *percent),
    }
}

/// The state of the machine when it has booted another kernel and gone through the same events.
fn booted<'k>(inputs: Inputs<'k>, events: &[Event<'k>], kernel: &'k Kernel) -> Option<State<'k>> {
    let mut state = State::boot(Inputs { kernel, ..inputs }).ok()?;
    for event in events {
        state = match state.apply(event) {
            Ok((next, _)) => next,
            Err(refusal) => refusal.left,
        };
    }
    Some(state)
}
