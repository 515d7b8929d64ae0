//! `numa=fake=`: nodes made up out of those that are there (`mm/numa_emulation.c`,
//! `drivers/acpi/numa/srat.c: fix_pxm_node_maps`).

use super::command_line::{parse_integer, parse_size};
use super::distances::{DistanceTable, LOCAL, REMOTE};
use super::kernel::Kernel;
use super::memory_map::{MemoryMap, PAGE};
use super::node_set::NodeSet;
use super::ranges::{self, Limits, NodeRange};
use super::reason::{Fact, Notes, Reason, Section, Subject};
use super::rules;
use super::srat::Walks;
use crate::range::AddressRange;
use crate::units::{Distance, NodeId, PhysAddr};
use alloc::vec::Vec;

/// The least that a made-up node is given, and the step in which it grows: 32 MiB.
const STEP: u64 = 32 << 20;
/// Where the zone for 32-bit devices ends.
const DMA32_END: u64 = 4 << 30;

/// Which physical node each made-up node lies on.
#[derive(Clone, Debug, Default)]
pub(crate) struct Emulated {
    physical: Vec<NodeId>,
}

impl Emulated {
    fn physical(&self, node: NodeId) -> Option<NodeId> {
        self.physical.get(usize::try_from(node.0).ok()?).copied()
    }

    /// All made-up nodes on the physical node of `node`, itself included.
    pub(crate) fn siblings(&self, node: NodeId) -> Vec<NodeId> {
        let own = self.physical(node);
        let all = self.physical.iter().zip(0..).map(|(physical, number)| (*physical, NodeId(number)));
        all.filter(|(physical, _)| Some(*physical) == own).map(|(_, node)| node).collect()
    }

    /// The lowest made-up node on a physical node.
    fn lowest(&self, physical: NodeId) -> Option<NodeId> {
        let all = self.physical.iter().zip(0..);
        all.filter(|(known, _)| **known == physical).map(|(_, number)| NodeId(number)).next()
    }
}

/// Replaces ranges, nodes, domains, processors and distances by made-up ones, if `text`, what follows
/// `numa=fake=`, asks for something that is possible.
///
/// Reading moves `text` on, as it does the kernel's own pointer: an attempt after this one finds only what is left
/// of it, which most often asks for nothing.
pub(crate) fn apply(
    text: &mut &str,
    walks: &mut Walks,
    map: &MemoryMap,
    limits: Limits,
    kernel: &Kernel,
    notes: &mut Notes,
) -> Result<Option<Emulated>, Reason> {
    let mut cutter = Cutter {
        left: walks.ranges.clone(),
        parsed: walks.parsed.iter().collect(),
        made: Vec::new(),
        physical: Vec::new(),
        map,
        max_nodes: u64::from(kernel.config.max_nodes),
    };
    let done = cutter.cut(text);
    *text = text.strip_prefix(':').unwrap_or(text);
    if done.is_none() {
        return Ok(None);
    }
    let Cutter { mut made, physical, .. } = cutter;
    if ranges::clean(&mut made, &mut walks.reserved, map, limits).is_err() {
        return Ok(None);
    }
    // Numbers between those that were handed out lie on the same node as the first of them.
    let Some(default) = physical.iter().flatten().next().copied() else { return Ok(None) };
    let emulated = Emulated { physical: physical.iter().map(|node| node.unwrap_or(default)).collect() };
    let parsed: NodeSet = made.iter().map(|entry| entry.node).collect();
    let moved = move_domains(walks, &physical, kernel);
    let Some(moved) = moved else { return Ok(None) };

    walks.parsed = parsed.union(&moved);
    walks.ranges = made;
    for node in walks.apic_nodes.values_mut() {
        *node = emulated.lowest(*node).unwrap_or_default();
    }
    transform_distances(walks, &emulated, &moved, text, notes)?;
    for (node, physical) in
        emulated.physical.iter().zip(0_u32..).map(|(physical, node)| (NodeId(node), physical))
    {
        let fact = Fact::known("physical node", u64::from(physical.0));
        notes.reason(Subject::Node(node), Reason::new(rules::NODE_EMULATED).with([fact]));
    }
    Ok(Some(emulated))
}

/// Cuts ranges into made-up nodes.
struct Cutter<'a> {
    /// What is left of the physical ranges.
    left: Vec<NodeRange>,
    parsed: Vec<NodeId>,
    made: Vec<NodeRange>,
    /// The physical node of each made-up node that got something.
    physical: Vec<Option<NodeId>>,
    map: &'a MemoryMap,
    max_nodes: u64,
}

/// How the nodes of one pass are cut.
struct Size {
    bytes: u64,
    /// The first so many nodes get a step more.
    larger: u64,
    /// Node numbers start again from 0 after so many.
    wrap: u64,
    /// Sizes go by addresses; otherwise holes do not count.
    uniform: bool,
}

impl Cutter<'_> {
    /// Cuts as the number or size at the start of `text` says, and takes it off. `None` when it cannot be done.
    fn cut(&mut self, text: &mut &str) -> Option<()> {
        let top = self.map.max_pfn.saturating_mul(PAGE);
        let memory = self.map.ram_pages(AddressRange::new(PhysAddr(0), PhysAddr(top)));
        if text.contains('U') {
            let (count, rest) = parse_integer(text);
            *text = rest;
            self.cut_uniformly(count)
        } else if text.contains(['M', 'G']) {
            let (wanted, rest) = parse_size(text);
            *text = rest;
            if wanted == 0 {
                return None;
            }
            let least = memory.checked_div(self.max_nodes)?.saturating_mul(PAGE);
            let least = least.max(STEP).checked_next_multiple_of(STEP)?;
            let bytes = wanted.max(least) & !(STEP.saturating_sub(1));
            let nodes = self.parsed.clone();
            self.fill(nodes, &Size { bytes, larger: 0, wrap: self.max_nodes, uniform: false }, 0).map(|_| ())
        } else {
            let (count, rest) = parse_integer(text);
            *text = rest;
            // The kernel keeps the count in 32 bits with a sign.
            let [a, b, c, d, ..] = count.to_le_bytes();
            let count = u64::try_from(i32::from_le_bytes([a, b, c, d])).ok().filter(|count| *count > 0)?;
            let count = count.min(self.max_nodes);
            let share = memory.checked_div(count)?.saturating_mul(PAGE);
            let bytes = share & !(STEP.saturating_sub(1));
            if bytes == 0 {
                return None;
            }
            let larger = share.checked_rem(STEP)?.saturating_mul(count).checked_div(STEP)?;
            let nodes = self.parsed.clone();
            self.fill(nodes, &Size { bytes, larger, wrap: count, uniform: false }, 0).map(|_| ())
        }
    }

    /// The first physical range that is left is cut into `count` nodes, and so on, once for each parsed node.
    fn cut_uniformly(&mut self, count: u64) -> Option<()> {
        let mut next = 0;
        for _ in 0..self.parsed.len() {
            let Some(first) = self.left.first().copied() else { continue };
            let span = (first.range.end.0 >> 12).saturating_sub(first.range.start.0 >> 12);
            let share = span.checked_div(count)?.saturating_mul(PAGE);
            let bytes = share.max(STEP).checked_next_multiple_of(STEP)?;
            let size = Size { bytes, larger: 0, wrap: self.max_nodes, uniform: true };
            let after = self.fill(Vec::from([first.node]), &size, next)?;
            if after.saturating_sub(next) < count {
                return None;
            }
            next = after;
        }
        Some(())
    }

    /// Gives made-up nodes from number `next` on their memory, going round the physical nodes until none has any
    /// left. The number behind the last; `None` when there are too many ranges.
    fn fill(&mut self, mut nodes: Vec<NodeId>, size: &Size, mut next: u64) -> Option<u64> {
        while !nodes.is_empty() {
            let round = core::mem::take(&mut nodes);
            for physical in round {
                let Some(place) = self.left.iter().position(|entry| entry.node == physical) else { continue };
                let whole = self.left.get(place)?.range;
                let end = self.end_of_node(whole, size, next < size.larger);
                let node = next.checked_rem(size.wrap)?;
                self.emit(place, PhysAddr(end.min(whole.end.0)), node)?;
                next = next.saturating_add(1);
                nodes.push(physical);
            }
        }
        Some(next)
    }

    /// Where the node ends that begins at the start of `whole`; may lie behind its end.
    fn end_of_node(&self, whole: AddressRange, size: &Size, larger: bool) -> u64 {
        let (start, limit) = (whole.start.0, whole.end.0);
        let mut end = start.saturating_add(size.bytes);
        if larger {
            end = end.saturating_add(STEP);
        }
        if !size.uniform {
            end = self.grow(start, end, limit, size.bytes);
        }
        if end < DMA32_END && self.usable(end, DMA32_END) < STEP {
            end = DMA32_END;
        }
        if !size.uniform && end <= limit && self.usable(end, limit) < size.bytes {
            end = limit;
        }
        end
    }

    /// Moves `end` on in steps until enough of what lies before it is memory, or to the limit where a step goes
    /// beyond it.
    fn grow(&self, start: u64, end: u64, limit: u64, bytes: u64) -> u64 {
        let enough = |steps: u64| {
            let end = end.saturating_add(steps.saturating_mul(STEP));
            self.usable(start, end) >= bytes
        };
        if enough(0) {
            return end;
        }
        let beyond = limit.saturating_sub(end).checked_div(STEP).unwrap_or_default().saturating_add(1);
        // More addresses never mean less memory, so the first number of steps that is enough can be bisected.
        let (mut few, mut many) = (0, beyond);
        while many.saturating_sub(few) > 1 {
            let middle = few.midpoint(many);
            if enough(middle) { many = middle } else { few = middle }
        }
        if many >= beyond { limit } else { end.saturating_add(many.saturating_mul(STEP)) }
    }

    /// Bytes from `start` to `end` that are not whole pages without memory.
    fn usable(&self, start: u64, end: u64) -> u64 {
        let range = AddressRange::new(PhysAddr(start), PhysAddr(end));
        let pages = super::memory_map::pages(&range);
        let hole = pages.saturating_sub(self.map.ram_pages(range)).saturating_mul(PAGE);
        end.saturating_sub(start).saturating_sub(hole)
    }

    /// Cuts the start of a physical range off for a made-up node.
    fn emit(&mut self, place: usize, end: PhysAddr, node: u64) -> Option<()> {
        if u64::try_from(self.made.len()).ok()? >= self.max_nodes.saturating_mul(2) {
            return None;
        }
        let entry = self.left.get_mut(place)?;
        let (range, physical) = (AddressRange::new(entry.range.start, end), entry.node);
        self.made.push(NodeRange { range, node: NodeId(u32::try_from(node).ok()?), source: entry.source });
        entry.range.start = end;
        if entry.range.is_empty() {
            self.left.remove(place);
        }
        let at = usize::try_from(node).ok()?;
        if self.physical.len() <= at {
            self.physical.resize(at.saturating_add(1), None);
        }
        self.physical.get_mut(at)?.get_or_insert(physical);
        Some(())
    }
}

/// Gives made-up nodes the domains of their physical ones, and other nodes with a domain new numbers behind
/// them, which are returned. `None` when numbers run out.
fn move_domains(walks: &mut Walks, physical: &[Option<NodeId>], kernel: &Kernel) -> Option<NodeSet> {
    let mut moved = NodeSet::new();
    if walks.bad.is_some() || !kernel.switches.emulation_moves_domains {
        return Some(moved);
    }
    let mut pairs = Vec::new();
    let mut used = NodeSet::new();
    for (own, number) in physical.iter().zip(0_u32..) {
        if let Some(domain) = own.and_then(|own| walks.domains.domain(own)) {
            pairs.push((NodeId(number), domain));
            used.insert(NodeId(number));
        }
    }
    if pairs.is_empty() {
        return Some(moved);
    }
    // The kernel gives up when the last made-up node has no domain.
    if used.last().map(|node| node.0) != u32::try_from(physical.len()).ok()?.checked_sub(1) {
        return None;
    }
    let kept: NodeSet = physical.iter().flatten().copied().collect();
    let mut next = 0;
    for (_, domain) in walks.domains.nodes().filter(|(node, _)| !kept.contains(*node)) {
        while used.contains(NodeId(next)) {
            next = next.checked_add(1)?;
        }
        if next >= kernel.config.max_nodes {
            return None;
        }
        pairs.push((NodeId(next), domain));
        used.insert(NodeId(next));
        moved.insert(NodeId(next));
    }
    walks.domains.replace(&pairs);
    Some(moved)
}

/// Distances of made-up nodes are those of their physical ones, unless the command line has others.
fn transform_distances(
    walks: &mut Walks,
    emulated: &Emulated,
    moved: &NodeSet,
    given: &mut &str,
    notes: &mut Notes,
) -> Result<(), Reason> {
    let before = core::mem::take(&mut walks.distances);
    if let Some(extra) = moved.first().filter(|_| before.size() == 0) {
        let fact = Fact::known("node", u64::from(extra.0));
        return Err(Reason::new(rules::EMULATION_CRASH).with([fact]));
    }
    let owners: NodeSet = walks.ranges.iter().map(|entry| entry.node).collect();
    let highest = walks.parsed.union(&owners).last().map_or(0, |node| u64::from(node.0).saturating_add(1));
    let mut table = DistanceTable::with_defaults(usize::try_from(highest).unwrap_or_default());
    let made = || emulated.physical.iter().zip(0_u32..).map(|(physical, node)| (NodeId(node), *physical));
    for (from, physical_from) in made() {
        for (to, physical_to) in made() {
            let distance = match option(given) {
                // Anything that does not fit a byte is refused, and what was there stays.
                Some(number) => u8::try_from(number).ok().map(Distance),
                None if before.size() == 0 => Some(if physical_from == physical_to { LOCAL } else { REMOTE }),
                None => Some(before.get(physical_from, physical_to)),
            };
            if let Some(distance) = distance {
                table.set(from, to, distance);
            }
        }
    }
    if !moved.is_empty() {
        extra_distances(&mut table, &before, emulated, highest, notes);
    }
    walks.distances = table;
    Ok(())
}

/// Distances of the nodes that were moved behind the made-up ones: arbitrary cells of the old table.
fn extra_distances(
    table: &mut DistanceTable,
    before: &DistanceTable,
    emulated: &Emulated,
    highest: u64,
    notes: &mut Notes,
) {
    let last = u32::try_from(emulated.physical.len()).unwrap_or(u32::MAX).saturating_sub(1);
    let row =
        |node: NodeId| emulated.physical(node).map_or(node.0.saturating_sub(last), |physical| physical.0);
    let nodes = || (0..u32::try_from(highest).unwrap_or(u32::MAX)).map(NodeId);
    for from in nodes() {
        for to in nodes().filter(|to| from.0 > last || to.0 > last) {
            let width = before.size();
            let at = usize::try_from(row(from)).ok().and_then(|row| row.checked_mul(width));
            let at =
                at.zip(usize::try_from(row(to)).ok()).and_then(|(start, column)| start.checked_add(column));
            match at.and_then(|at| before.cells().get(at)) {
                Some(distance) => table.set(from, to, *distance),
                None => notes.missing(Section::Distances, "memory behind the kernel's distance table"),
            }
        }
    }
}

/// The next number of a list, if a comma follows it (`lib/cmdline.c: get_option`).
fn option(text: &mut &str) -> Option<i64> {
    let negative = text.starts_with('-');
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (number, rest) = parse_integer(digits);
    if rest.len() == digits.len() {
        return None;
    }
    let number = i64::try_from(number).unwrap_or(i64::MAX);
    let followed = rest.strip_prefix(',');
    *text = followed.unwrap_or(rest);
    followed.map(|_| if negative { number.saturating_neg() } else { number })
}
