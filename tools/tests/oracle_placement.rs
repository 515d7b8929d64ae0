//! Compares where the boot allocator puts the data and the page structures of nodes with where booted kernels put them.
//!
//! The log tells the place of each node's data, and the zones how many pages of a node are taken for good. Every capture
//! is read from `../shared/oracle/cases`; without that folder the test says so and passes.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "a failing test is meant to stop, and to say why"
)]

mod oracle;

use memtopo::bundle::memory_map;
use memtopo::linux::placement::{Owner, Reservation};
use memtopo::linux::{Inputs, Kernel, State, Version};
use memtopo::range::AddressRange;
use memtopo::topology::Topology;
use memtopo::units::{ByteCount, NodeId, PhysAddr};
use oracle::{Case, cases, logged_range, number};
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What the guests of the captures were started with beside the case's own parameters is part of what they observed.
fn kernel(case: &Case, version: Version) -> Option<Kernel> {
    let observed = case.observed("observed.json")?;
    let mut kernel = case.kernel(version).with_command_line(observed["cmdline"].as_str()?);
    // The emulated processors have pages of 1 GiB.
    kernel.platform.gib_pages = Some(true);
    Some(kernel)
}

/// Where the tables of the initrd were copied to, which no input tells but the map after the kernel's own changes.
fn copied_tables(case: &Case) -> Option<AddressRange> {
    let observed = case.observed("observed.json")?;
    let entries = observed["e820"].as_array()?;
    let nvs = |entry: &&Value| entry[0] == "modified" && entry[3].as_str().unwrap().contains("NVS");
    let entry = entries.iter().find(nvs)?;
    Some(AddressRange::new(PhysAddr(number(&entry[1])?), PhysAddr(number(&entry[2])? + 1)))
}

/// The boot loader puts the initrd at the end of low RAM. The log does not say where it begins, but from the top
/// downwards the tables of the initrd are copied to just below a log of 1 MiB with its records and page tables. Those are
/// there too unless memory reaches beyond 4 GiB.
fn initrd(tables: &AddressRange, low_end: PhysAddr, end: PhysAddr, page_tables: ByteCount) -> AddressRange {
    const LOG: u64 = (1 << 20) + 32768 * (24 + 112);
    let between = if low_end == end { LOG + page_tables.0 } else { 0 };
    AddressRange::new(PhysAddr(tables.end.0.next_multiple_of(4096) + between), low_end)
}

/// Where the log says that each node's data are.
fn logged(log: &str) -> BTreeMap<NodeId, AddressRange> {
    let of = |line: &str| {
        let node = line.split("NODE_DATA(").nth(1)?.split(')').next()?.parse().ok()?;
        Some((NodeId(node), logged_range(line)?))
    };
    log.lines().filter(|line| line.contains("allocated")).filter_map(of).collect()
}

#[derive(Default)]
struct Tally {
    same_node: usize,
    same_address: usize,
    untold: BTreeSet<String>,
    differences: Vec<String>,
    left_out: BTreeSet<String>,
    /// Nodes with as many pages taken, and nodes with other things beside.
    pages: BTreeMap<Version, (usize, usize)>,
}

fn compare(tally: &mut Tally, case: &Case) {
    let log = case.log();
    let logged = logged(&log);
    let Some(mut kernel) = kernel(case, Version::V7_2).filter(|_| !logged.is_empty()) else { return };
    case.with_tables(|tables| {
        let topology = Topology::read(tables);
        let maps = memory_map::read_text(log.as_bytes());
        let memory_map = maps.firmware().expect("a memory map");
        let memory_devices = &[];
        let first = kernel.clone();
        let inputs = Inputs { topology: &topology, memory_map, memory_devices, kernel: &first };
        let Ok(state) = State::boot(inputs) else { return };
        let map = &state.memory_map;
        let low = map.ram.iter().rfind(|ram| ram.end <= PhysAddr(4 << 30)).unwrap();
        let copied = copied_tables(case);
        kernel.platform.tables.extend(copied);
        // With movable_node the tables are copied to the lowest address, and tell nothing of the initrd but its node.
        let upwards = kernel.command_line.movable_node;
        kernel.platform.initrd = match copied {
            _ if upwards => Some(AddressRange::new(PhysAddr(low.end.0 - 4096), low.end)),
            copied => {
                let tables = state.placement.of(Owner::PageTables).map_or(ByteCount(0), Reservation::size);
                copied.map(|copied| initrd(&copied, low.end, map.ram.last().unwrap().end, tables))
            }
        };
        let Ok(state) = State::boot(Inputs { kernel: &kernel, ..inputs }) else { return };
        let (placement, nodes) = (&state.placement, &state.nodes);
        for (node, range) in &logged {
            let ours = placement.nodes_of(Owner::NodeData(*node), &nodes.pieces);
            let piece = nodes.pieces.iter().find(|piece| piece.range.overlaps(range));
            let theirs = piece.and_then(|piece| piece.node);
            if ours.iter().collect::<Vec<_>>() == Vec::from_iter(theirs) {
                tally.same_node += 1;
            } else {
                tally.differences.push(format!(
                    "{}: data of node {node}: planned on {ours}, booted on {theirs:?}",
                    case.name
                ));
            }
            let reservation = placement.of(Owner::NodeData(*node)).unwrap();
            if reservation.ranges == [*range] {
                tally.same_address += 1;
            } else if placement.tells(reservation) && !upwards {
                tally.differences.push(format!(
                    "{}: data of node {node}: planned {:?}, booted {range:?}",
                    case.name, reservation.ranges
                ));
            } else {
                tally.untold.insert(format!("{} node {node}", case.name));
            }
        }
        if !case.memory_devices().is_empty() {
            tally.left_out.insert(format!("{}: pages, as memory devices were there at boot", case.name));
            return;
        }
        pages(tally, case, &state, Version::V7_2, "observed.json");
        // Older kernels left no log, but their zones.
        for (version, file) in [(Version::V6_12, "observed-6.12.json"), (Version::V6_1, "observed-6.1.json")]
        {
            let Some(mut older) = self::kernel(case, version) else { continue };
            older.platform = kernel.platform.clone();
            if let Ok(state) = State::boot(Inputs { kernel: &older, ..inputs }) {
                pages(tally, case, &state, version, file);
            }
        }
    });
}

/// The pages of each node that are present but not managed are those that are taken for good. On nodes that hold nothing
/// but what the size of is known they have to be as many, but for a page or two in which small things are.
fn pages(tally: &mut Tally, case: &Case, state: &State<'_>, version: Version, file: &str) {
    let Some(observed) = case.observed(file) else { return };
    let mut taken: BTreeMap<NodeId, u64> = BTreeMap::new();
    for zone in observed["zones"].as_array().into_iter().flatten() {
        let pages = |key: &str| number(&zone[key]).unwrap();
        let node = NodeId(u32::try_from(number(&zone["node"]).unwrap()).unwrap());
        *taken.entry(node).or_default() += pages("present") - pages("managed");
    }
    for (node, theirs) in taken {
        if state.added.iter().any(|added| added.node == node) {
            tally.left_out.insert(format!("{}: pages of node {node}, which drivers added to", case.name));
            continue;
        }
        let own = || state.nodes.pieces.iter().filter(|piece| piece.node == Some(node));
        let bytes = |reservation: &Reservation| -> u64 {
            let part = |range: &AddressRange| {
                own().filter_map(|own| own.range.intersect(range)).map(|part| part.size().0).sum::<u64>()
            };
            reservation.ranges.iter().map(part).sum()
        };
        let (mut ours, mut others) = (0, false);
        for reservation in &state.placement.reservations {
            match reservation.owner {
                Owner::NodeData(_) | Owner::PageStructures(_) | Owner::PerCpu(_) => {
                    ours += bytes(reservation)
                }
                _ => others |= bytes(reservation) > 0,
            }
        }
        let ours = ours.div_ceil(4096);
        let fits = if others { ours <= theirs } else { (ours..=ours + 2).contains(&theirs) };
        if fits {
            let (same, at_most) = tally.pages.entry(version).or_default();
            *(if others { at_most } else { same }) += 1;
        } else {
            tally.differences.push(format!(
                "{} ({}): node {node}: {ours} pages planned, {theirs} taken",
                case.name,
                version.name()
            ));
        }
    }
}

#[test]
fn the_boot_puts_its_data_where_booted_kernels_did() {
    let Some(cases) = cases() else { return };
    let mut tally = Tally::default();
    for case in &cases {
        compare(&mut tally, case);
    }
    let Tally { same_node, same_address, pages, .. } = &tally;
    println!("data of nodes: {same_node} on the same node, {same_address} at the same address");
    for (version, (same, at_most)) in pages {
        println!(
            "pages taken, Linux {}: {same} nodes as many, {at_most} nodes with other things beside",
            version.name()
        );
    }
    for untold in &tally.untold {
        println!("  not told (where the initrd is): {untold}");
    }
    for left_out in &tally.left_out {
        println!("  left out: {left_out}");
    }
    for difference in &tally.differences {
        println!("  DIFFERENT: {difference}");
    }
    assert!(tally.differences.is_empty(), "{} differences", tally.differences.len());
}
