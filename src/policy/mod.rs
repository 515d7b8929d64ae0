//! What an owner of a machine may want in place of the kernel's answer: other tiers, other demotion targets, a kernel
//! without some of its quirks; and how that differs from what the kernel does.

mod layout;
mod overrides;
pub mod reasons;
pub mod region_layouts;
mod tier_rules;

pub use layout::{Change, Layout, TierLabel, What};
pub use overrides::{MemoryType, Override, Selector, Wish};
pub use tier_rules::{TierClass, TierName, TierRules};

use crate::linux::Inputs;
use crate::linux::demotion::Limits;
use crate::linux::node_set::NodeSet;
use crate::linux::quirks::Quirk;
use crate::linux::reason::{Reason, Rule, Section, Subject, Unknown};
use crate::linux::rules;
use crate::linux::state::{Failure, State};
use crate::linux::tiers::TierId;
use crate::units::NodeId;
use alloc::boxed::Box;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// What an owner wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// Quirks that the kernel should not have.
    pub quirks_off: Vec<Quirk>,
    /// How memory is sorted into tiers.
    pub tiers: TierRules,
    /// What single nodes get.
    pub overrides: Vec<Override>,
}

/// The owner's layout beside the kernel's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PolicyPlan {
    /// The kernel's layout.
    pub kernel: Layout,
    /// The owner's.
    pub owner: Layout,
    /// The quirks that are off.
    pub quirks_off: Vec<Quirk>,
    /// What differs, and why.
    pub changes: Vec<Change>,
    /// Overrides that no node with memory meets.
    pub unmatched: Vec<Override>,
}

/// Why there is no layout.
#[derive(Clone, Debug)]
pub enum PolicyFailure {
    /// The kernel does not come up, or the inputs do not tell.
    Boot(Box<Failure>),
    /// The inputs do not tell the kernel's own layout.
    Unknown(Vec<Unknown>),
    /// An override names a class that the policy does not have.
    NoClass(String),
}

/// Applies a policy to a machine.
///
/// The steps, each on the result of the one before: quirks off; distances that overrides name; the policy's tiers;
/// near-equal memory; tiers that overrides name; limits on demotion. Targets are found as the kernel finds them, over
/// the tiers of the policy.
///
/// # Errors
/// When the kernel does not come up, the inputs do not tell its layout, or an override names an unknown class.
///
/// # Complexity
/// One boot for each quirk that is off, and one more.
pub fn apply(policy: &Policy, inputs: Inputs<'_>) -> Result<PolicyPlan, PolicyFailure> {
    let kernel_rules = TierRules::default();
    let boot = State::boot(inputs).map_err(PolicyFailure::Boot)?;
    if [Section::Tiers, Section::Demotion].into_iter().any(|section| boot.notes.lacks(section)) {
        return Err(PolicyFailure::Unknown(boot.notes.unknown));
    }
    let kernel_layout = Layout::of(&boot, &kernel_rules);
    let mut history = History { last: kernel_layout.clone(), causes: BTreeMap::new() };

    let mut kernel = inputs.kernel.clone();
    let present = kernel.switches.quirks.iter();
    let quirks_off: Vec<Quirk> = present.filter(|quirk| policy.quirks_off.contains(quirk)).collect();
    for quirk in &quirks_off {
        kernel.switches.quirks = kernel.switches.quirks.without(*quirk);
        let state = State::boot(Inputs { kernel: &kernel, ..inputs }).map_err(PolicyFailure::Boot)?;
        let rule = Rule { id: quirk.id(), sentence: quirk.instead(), function: quirk.function() };
        history.step(Layout::of(&state, &kernel_rules), &state, &Reason::new(rule), |_| None);
    }
    let mut state = State::boot(Inputs { kernel: &kernel, ..inputs }).map_err(PolicyFailure::Boot)?;
    let selected: Vec<(&Override, NodeSet)> =
        policy.overrides.iter().map(|wish| (wish, wish.who.nodes(&state))).collect();
    let unmatched =
        selected.iter().filter(|(_, nodes)| nodes.is_empty()).map(|(wish, _)| (*wish).clone()).collect();

    by_distance(&selected, &mut state, &mut history);
    by_rules(policy, &selected, &mut state, &mut history);
    by_name(policy, &selected, &mut state, &mut history)?;
    let limits = limits(&selected);
    if limits != Limits::default() {
        state.tiers.limits = limits;
        state.find_demotion();
        history.step(Layout::of(&state, &policy.tiers), &state, &Reason::new(reasons::LIMITS), |_| None);
    }
    let changes = history.changes(&kernel_layout);
    Ok(PolicyPlan { kernel: kernel_layout, owner: history.last, quirks_off, changes, unmatched })
}

/// Distances that overrides name.
fn by_distance(selected: &[(&Override, NodeSet)], state: &mut State<'_>, history: &mut History) {
    let mut wanted = BTreeMap::new();
    for (wish, nodes) in selected {
        let Wish::Distance(distance) = wish.what else { continue };
        let detail = format!("{}: abstract distance {}", wish.who, distance.0);
        let reason = Reason::new(reasons::DISTANCE).because(detail);
        wanted.extend(nodes.iter().map(|node| (node, (distance, reason.clone()))));
    }
    if wanted.is_empty() {
        return;
    }
    state.set_distances(wanted.iter().map(|(node, (distance, _))| (*node, *distance)));
    let layout = Layout::of(state, &TierRules::default());
    history.step(layout, state, &Reason::new(reasons::DISTANCE), |node| {
        wanted.get(&node).map(|(_, reason)| reason.clone())
    });
}

/// The tiers by the policy's rules.
fn by_rules(
    policy: &Policy,
    selected: &[(&Override, NodeSet)],
    state: &mut State<'_>,
    history: &mut History,
) {
    let rules = &policy.tiers;
    if !rules.cuts_as_kernel() {
        let named = |node| {
            selected
                .iter()
                .any(|(wish, nodes)| matches!(wish.what, Wish::Distance(_)) && nodes.contains(node))
        };
        let placement = rules.place(state, named);
        put(state, &placement);
        let rule = if rules.classes.is_empty() { reasons::CHUNK } else { reasons::CLASS };
        history.step(Layout::of(state, rules), state, &Reason::new(rule), |node| {
            placement.get(&node).map(|(_, reason)| reason.clone())
        });
    }
    let tiers: BTreeMap<NodeId, TierId> = tiers_of(state);
    let placement = rules.group(state, |node| tiers.get(&node).copied());
    if !placement.is_empty() {
        put(state, &placement);
        history.step(Layout::of(state, rules), state, &Reason::new(reasons::NEAR), |node| {
            placement.get(&node).map(|(_, reason)| reason.clone())
        });
    }
}

/// Tiers that overrides name.
fn by_name(
    policy: &Policy,
    selected: &[(&Override, NodeSet)],
    state: &mut State<'_>,
    history: &mut History,
) -> Result<(), PolicyFailure> {
    let mut placement = BTreeMap::new();
    for (wish, nodes) in selected {
        let Wish::Tier(name) = &wish.what else { continue };
        let tier = match name {
            TierName::Id(tier) => *tier,
            TierName::Class(class) => {
                policy.tiers.class(class).ok_or_else(|| PolicyFailure::NoClass(class.clone()))?
            }
        };
        let reason = Reason::new(reasons::TIER).because(format!("{}", wish.who));
        placement.extend(nodes.iter().map(|node| (node, (tier, reason.clone()))));
    }
    if !placement.is_empty() {
        put(state, &placement);
        history.step(Layout::of(state, &policy.tiers), state, &Reason::new(reasons::TIER), |node| {
            placement.get(&node).map(|(_, reason)| reason.clone())
        });
    }
    Ok(())
}

fn tiers_of(state: &State<'_>) -> BTreeMap<NodeId, TierId> {
    let tiers = state.tiers.tiers.iter();
    tiers.flat_map(|(tier, nodes)| nodes.iter().map(move |node| (node, *tier))).collect()
}

/// Puts nodes into tiers, whatever their abstract distances, and finds demotion targets anew.
fn put(state: &mut State<'_>, placement: &BTreeMap<NodeId, (TierId, Reason)>) {
    let mut tiers: BTreeMap<TierId, NodeSet> = BTreeMap::new();
    for (node, tier) in tiers_of(state) {
        let tier = placement.get(&node).map_or(tier, |(tier, _)| *tier);
        tiers.entry(tier).or_default().insert(node);
    }
    state.tiers.tiers = tiers;
    state.find_demotion();
}

/// The limits that overrides set on demotion.
fn limits(selected: &[(&Override, NodeSet)]) -> Limits {
    let mut limits = Limits::default();
    for (wish, nodes) in selected {
        for node in nodes.iter() {
            match &wish.what {
                Wish::NotFrom => drop(limits.not_from.insert(node)),
                Wish::NotTo => drop(limits.not_to.insert(node)),
                Wish::Targets(targets) => drop(limits.only.insert(node, targets.clone())),
                Wish::Tier(_) | Wish::Distance(_) => {}
            }
        }
    }
    limits
}

/// How the kernel chooses demotion targets.
const CHOICES: [Rule; 3] = [rules::DEMOTION_NEXT, rules::DEMOTION_LAST, rules::DEMOTION_FORBIDDEN];

/// The layouts so far, and which step changed what.
struct History {
    last: Layout,
    causes: BTreeMap<(NodeId, &'static str), Vec<Reason>>,
}

impl History {
    /// Takes the layout after a step, and notes the step's reason wherever something changed. `of` has the reasons that
    /// are about one node's tier.
    fn step(
        &mut self,
        next: Layout,
        state: &State<'_>,
        reason: &Reason,
        of: impl Fn(NodeId) -> Option<Reason>,
    ) {
        for (node, what) in self.last.differences(&next) {
            let causes = self.causes.entry((node, what.name())).or_default();
            let own = of(node).filter(|_| matches!(what, What::Tier { .. }));
            causes.push(own.unwrap_or_else(|| reason.clone()));
            if matches!(what, What::Demotion { .. }) {
                // How the targets were chosen; only the last choice counts.
                let about = |(subject, _): &&(Subject, Reason)| *subject == Subject::Demotion(node);
                let chosen = state.notes.reasons.iter().rev().find(about).map(|(_, reason)| reason.clone());
                causes.retain(|cause| !CHOICES.contains(&cause.rule));
                causes.extend(chosen);
            }
        }
        self.last = next;
    }

    /// What the last layout changes, with the causes.
    fn changes(&mut self, kernel: &Layout) -> Vec<Change> {
        let differences = kernel.differences(&self.last).into_iter();
        differences
            .map(|(node, what)| {
                let because = self.causes.remove(&(node, what.name())).unwrap_or_default();
                Change { node, what, because }
            })
            .collect()
    }
}
