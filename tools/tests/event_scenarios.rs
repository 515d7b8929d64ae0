//! What events do to tiers, demotion and weights, on small machines whose facts are worked out by hand or were seen on
//! a booted Linux 7.2.12.
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

mod machine;

use machine::{MIB, Machine, cpu, lat_bw, memory, push_all};
use memtopo::linux::added::MemoryDevice;
use memtopo::linux::block_map::BlockId;
use memtopo::linux::changes::Change;
use memtopo::linux::events::{Cause, Errno, Event, Given, TableUpdate};
use memtopo::linux::online::OnlineKind;
use memtopo::linux::tiers::{AbstractDistance, TierId};
use memtopo::linux::zones::Zone;
use memtopo::linux::{Inputs, State};
use memtopo::range::AddressRange;
use memtopo::render::plan_json::whole_json;
use memtopo::render::steps_text::steps_text;
use memtopo::render::style::Colour;
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{ByteCount, NodeId, PhysAddr, ProximityDomain};
use std::time::{Duration, Instant};

const GIB: u64 = 1024;

fn boot<'a>(
    machine: &'a Machine,
    topology: &'a Topology<'a>,
    memory_devices: &'a [MemoryDevice],
) -> State<'a> {
    let Machine { map, kernel, .. } = machine;
    State::boot(Inputs { topology, memory_map: map, memory_devices, kernel }).unwrap()
}

/// A DIMM from `start`, in MiB.
fn dimm(start: u64, size: u64, domain: u32) -> MemoryDevice {
    let range = AddressRange::from_base_size(PhysAddr(start * MIB), ByteCount(size * MIB)).unwrap();
    MemoryDevice { range, domain: Some(ProximityDomain(domain)) }
}

fn after<'a>(state: &State<'a>, event: Event<'a>) -> State<'a> {
    match state.apply(&event) {
        Ok((state, _)) => state,
        Err(refusal) => panic!("{event}: {:?}, {}", refusal.cause, refusal.reason),
    }
}

/// Tiers, preferred demotion targets and weights, as a short text.
fn shown(state: &State<'_>) -> String {
    let plan = state.plan();
    let tiers: Vec<String> =
        plan.tiers.unwrap().iter().map(|(tier, nodes)| format!("{}: {nodes}", tier.printed())).collect();
    let demotion: Vec<String> = plan
        .demotion
        .unwrap()
        .iter()
        .filter(|(_, targets)| !targets.preferred.is_empty())
        .map(|(node, targets)| format!("{node}>{}", targets.preferred))
        .collect();
    let weights: Vec<String> =
        plan.weights.unwrap().weights.iter().map(|(_, weight)| weight.to_string()).collect();
    format!("tiers {}; demotion {}; weights {}", tiers.join(", "), demotion.join(" "), weights.join(":"))
}

/// A gigabyte and a processor in domain 0; domain 1 names addresses from 4 GiB on where nothing is yet.
fn with_window() -> Machine {
    Machine::new(&[(1, GIB)], 1).srat(|srat| {
        push_all(srat, &[cpu(0, 0)]);
        push_all(srat, &[memory(0, 0, GIB), memory(1, 4 * GIB, 8 * GIB)]);
    })
}

/// The same with an HMAT: 10 ns and 10 MB/s to domain 0, 20 ns and 5 MB/s to domain 1.
fn with_window_and_hmat() -> Machine {
    lat_bw(with_window(), &[], &[&[10, 20]], &[&[10, 5]])
}

/// Two domains of half a gigabyte, processors in the first only.
fn half_without_cpu() -> Machine {
    Machine::new(&[(1, GIB)], 2).srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(0, 1)]);
        push_all(srat, &[memory(0, 0, 512), memory(1, 512, GIB)]);
    })
}

/// An HMAT alone, for a machine of these domains.
fn hmat(latency: &[u16], bandwidth: &[u16]) -> Vec<u8> {
    lat_bw(Machine::new(&[(1, GIB)], 1), &[], &[latency], &[bandwidth]).tables.pop().unwrap()
}

fn new_hmat(bytes: &[u8]) -> Event<'_> {
    Event::UpdateTable(TableUpdate::Hmat(TableBytes::copy(bytes).unwrap()))
}

#[test]
fn a_node_without_processors_and_hmat_is_dram() {
    let machine = half_without_cpu();
    let topology = machine.topology();
    let state = boot(&machine, &topology, &[]);
    assert_eq!(shown(&state), "tiers 4: 0-1; demotion ; weights 1:1");
    assert_eq!(state.tiers.distance[&NodeId(1)], AbstractDistance::DRAM);

    // Its last memory gone, it stays a node, as firmware describes it, but is in no tier and shows no weight.
    let mut empty = state;
    for block in 4..8 {
        empty = after(&empty, Event::Offline { block: BlockId(block), outcome: Some(Given::Ok) });
    }
    assert_eq!(shown(&empty), "tiers 4: 0; demotion ; weights 1");
    assert!(empty.nodes.online.contains(NodeId(1)) && !empty.nodes.has_memory.contains(NodeId(1)));
    // Back in its place it is what it was. Boot memory of an empty zone comes back to Normal.
    let back = after(&empty, Event::Online { block: BlockId(4), kind: OnlineKind::Policy });
    assert_eq!(shown(&back), "tiers 4: 0-1; demotion ; weights 1:1");
    assert_eq!(back.zones.get(NodeId(1), Zone::Normal).present, 32768);
}

/// Example J of the tiers sheet, seen on a booted 7.2.12: kmem gives memory of which nothing is known tier 22. Whoever
/// types nodes later, the late initcall or a DIMM on the same node, leaves that alone.
#[test]
fn a_node_that_a_driver_typed_is_left_alone() {
    let machine = Machine::new(&[(1, 2 * GIB)], 1)
        .srat(|srat| {
            push_all(srat, &[cpu(0, 0)]);
            push_all(srat, &[memory(0, 0, GIB), memory(1, GIB, 2 * GIB), memory(1, 4 * GIB, 8 * GIB)]);
        })
        .line("memmap=1G%1G-1+0xefffffff");
    let topology = machine.topology();
    let state = boot(&machine, &topology, &[]);
    assert_eq!(shown(&state), "tiers 4: 0; demotion ; weights 1");
    let load = |driver: &str| Event::Load { driver: driver.to_owned() };
    let state = after(&after(&state, load("dax_hmem")), load("kmem"));
    assert_eq!(shown(&state), "tiers 4: 0, 22: 1; demotion 0>1; weights 1:1");
    let refusal = state.apply(&load("kmem")).unwrap_err();
    assert_eq!(refusal.cause, Cause::Errno(Errno::Exists));

    let (state, changes) = state.apply(&Event::AddMemory(dimm(4 * GIB, 256, 1))).unwrap();
    assert_eq!(shown(&state), "tiers 4: 0, 22: 1; demotion 0>1; weights 1:1");
    assert!(!changes.iter().any(|(change, _)| matches!(change, Change::NodeMoved { .. })));

    // The other order: a DIMM that came first made the node DRAM, and kmem joins it.
    let state = boot(&machine, &topology, &[]);
    let state = after(&state, Event::AddMemory(dimm(4 * GIB, 256, 1)));
    let state = after(&after(&state, load("dax_hmem")), load("kmem"));
    assert_eq!(shown(&state), "tiers 4: 0-1; demotion ; weights 1:1");
}

/// Example B of the tiers sheet, seen on a booted 7.2.12. The HMAT is read after memory devices of the boot are added:
/// what is online by then is DRAM for good, what comes online later has the figures of the HMAT.
#[test]
fn an_hmat_that_comes_after_memory_does_not_move_it() {
    let machine = with_window_and_hmat();
    let topology = machine.topology();
    let present = [dimm(4 * GIB, 512, 1)];
    let state = boot(&machine, &topology, &present);
    assert_eq!(shown(&state), "tiers 4: 0-1; demotion ; weights 21:10");

    let machine = with_window_and_hmat().line("memhp_default_state=offline");
    let topology = machine.topology();
    let state = boot(&machine, &topology, &present);
    assert_eq!(shown(&state), "tiers 4: 0; demotion ; weights 1");
    let (state, changes) =
        state.apply(&Event::Online { block: BlockId(32), kind: OnlineKind::Movable }).unwrap();
    // Its figures were published while it was empty, so the weights do not take part of them.
    assert_eq!(shown(&state), "tiers 4: 0, 18: 1; demotion 0>1; weights 1:1");
    let told: Vec<String> = changes.iter().map(|(change, _)| change.to_string()).collect();
    assert_eq!(
        told,
        [
            "block 32 online on node 1, zone Movable",
            "node 1 got its first memory",
            "tier 18 created",
            "node 1 joined tier 18",
            "demotion targets rebuilt: 0: 1 (fallback 1); 1: none;",
        ]
    );
    let (_, moved) = &changes[3];
    let detail = "576*(20+20)=23040; /20=1152; *20=23040; /10=2304; 2304>>7=18";
    assert_eq!(moved.detail.as_deref(), Some(detail));

    // An HMAT that arrives once the machine runs: Linux does not read it, whenever memory was added.
    let machine = with_window();
    let topology = machine.topology();
    let table = hmat(&[10, 20], &[10, 5]);
    let state = boot(&machine, &topology, &[]);
    let state = after(&state, Event::AddMemory(dimm(4 * GIB, 512, 1)));
    let (state, changes) = state.apply(&new_hmat(&table)).unwrap();
    assert_eq!(shown(&state), "tiers 4: 0-1; demotion ; weights 1:1");
    assert_eq!(changes[0].1.rule.id, "hmat-not-read-again");
    assert_eq!(shown(&state.reevaluated().unwrap()), "tiers 4: 0, 18: 1; demotion 0>1; weights 21:10");
}

/// A new HMAT at run time: nothing in Linux; what a kernel would show that read it; and the way back.
#[test]
fn an_hmat_that_changes_is_told_both_ways() {
    let before = hmat(&[100, 300], &[10000, 5000]);
    // Faster than DRAM: 576*180/200=518; *20000=10360000; /80000=129: tier 1.
    let faster = hmat(&[100, 90], &[10000, 40000]);
    let mut machine = half_without_cpu();
    machine.tables.push(before.clone());
    let topology = machine.topology();
    let first = boot(&machine, &topology, &[]);
    // 576*600/200=1728; *20000/10000=3456: tier 27. 320000/15000=21, 160000/15000=10.
    let original = "tiers 4: 0, 27: 1; demotion 0>1; weights 21:10";
    // 320000/50000=6, 1280000/50000=25.
    let other = "tiers 1: 1, 4: 0; demotion 1>0; weights 6:25";
    assert_eq!(shown(&first), original);
    let state = after(&first, new_hmat(&faster));
    assert_eq!(shown(&state), original);
    assert_eq!(shown(&state.reevaluated().unwrap()), other);
    // Memory that leaves and comes back still has the figures of the boot.
    let mut state = state;
    for block in 4..8 {
        state = after(&state, Event::Offline { block: BlockId(block), outcome: Some(Given::Ok) });
    }
    let state = after(&state, Event::Online { block: BlockId(5), kind: OnlineKind::Policy });
    assert_eq!(shown(&state), original);

    let mut machine = half_without_cpu();
    machine.tables.push(before.clone());
    machine.kernel.switches.rereads_hmat = true;
    let topology = machine.topology();
    let first = boot(&machine, &topology, &[]);
    let (state, changes) = first.apply(&new_hmat(&faster)).unwrap();
    assert_eq!(shown(&state), other);
    assert!(state.reevaluated().is_none());
    let has = |change: Change| changes.iter().any(|(known, _)| *known == change);
    assert!(has(Change::TierCreated(TierId(1))) && has(Change::TierRemoved(TierId(27))));
    assert!(has(Change::NodeMoved { node: NodeId(1), from: Some(TierId(27)), to: Some(TierId(1)) }));
    let state = after(&state, new_hmat(&before));
    assert_eq!(shown(&state), original);
    assert_eq!(state.access.classes, first.access.classes);
    assert_eq!(state.tiers.distance, first.tiers.distance);
}

#[test]
fn an_owner_moves_a_node_and_back() {
    let mut machine = half_without_cpu();
    machine.tables.push(hmat(&[100, 250], &[10000, 4000]));
    let topology = machine.topology();
    let first = boot(&machine, &topology, &[]);
    // 576*500/200=1440; *20000=28800000; /8000=3600: tier 28.
    let original = "tiers 4: 0, 28: 1; demotion 0>1; weights 22:9";
    assert_eq!(shown(&first), original);
    let to = |tier| Event::MoveNode { node: NodeId(1), tier: TierId(tier) };
    let (up, changes) = first.apply(&to(4)).unwrap();
    assert_eq!(shown(&up), "tiers 4: 0-1; demotion ; weights 22:9");
    let told: Vec<String> = changes.iter().map(|(change, _)| change.to_string()).collect();
    assert_eq!(
        told,
        [
            "node 1 moved from tier 28 to tier 4",
            "tier 28 removed",
            "demotion targets rebuilt: 0: none; 1: none;",
        ]
    );
    let top = after(&up, to(0));
    assert_eq!(shown(&top), "tiers 0: 1, 4: 0; demotion 1>0; weights 22:9");
    let back = after(&top, to(28));
    assert_eq!(shown(&back), original);
    assert_eq!(back.tiers.distance[&NodeId(1)], AbstractDistance(3600));
    assert_eq!(back.tiers.demotion, first.tiers.demotion);
    // Where it is already, nothing changes.
    assert!(back.apply(&to(28)).unwrap().1.is_empty());
    let nobody = Event::MoveNode { node: NodeId(7), tier: TierId(4) };
    assert_eq!(back.apply(&nobody).unwrap_err().cause, Cause::Errno(Errno::Invalid));
}

/// The host's CXL memory is plain memory of a node without processors to the guest: without an HMAT nothing tells that
/// it is slow. With the one that the emulator makes it is, as seen on a booted 7.2.12.
#[test]
fn cxl_memory_that_a_guest_gets_as_plain_memory() {
    let machine = half_without_cpu();
    let topology = machine.topology();
    let plain = boot(&machine, &topology, &[]);
    assert_eq!(shown(&plain), "tiers 4: 0-1; demotion ; weights 1:1");
    // What is left to the owner.
    let moved = after(&plain, Event::MoveNode { node: NodeId(1), tier: TierId(22) });
    assert_eq!(shown(&moved), "tiers 4: 0, 22: 1; demotion 0>1; weights 1:1");

    let mut machine = half_without_cpu();
    machine.tables.push(hmat(&[10, 20], &[10, 5]));
    let topology = machine.topology();
    assert_eq!(shown(&boot(&machine, &topology, &[])), "tiers 4: 0, 18: 1; demotion 0>1; weights 21:10");
}

#[test]
fn refusals_say_what_and_where() {
    let machine = with_window().line("memhp_default_state=online_movable");
    let topology = machine.topology();
    let state = boot(&machine, &topology, &[]);
    let refused = |state: &State<'_>, event: Event<'_>| {
        let event = match event {
            Event::AddMemory(device) => Event::AddMemory(device),
            Event::RemoveMemory { range, outcome } => Event::RemoveMemory { range, outcome },
            Event::Online { block, kind } => Event::Online { block, kind },
            Event::Offline { block, outcome } => Event::Offline { block, outcome },
            Event::Set { name, value } => Event::Set { name, value },
            other => panic!("{other}"),
        };
        let refusal = state.apply(&event).unwrap_err();
        let cause = match refusal.cause {
            Cause::Errno(errno) => errno.name().to_owned(),
            other => format!("{other:?}"),
        };
        format!("{cause} at {}", refusal.refused_at.unwrap_or_default())
    };
    let online = |block| Event::Online { block: BlockId(block), kind: OnlineKind::Policy };
    let offline = |block| Event::Offline { block: BlockId(block), outcome: None };
    assert_eq!(refused(&state, online(3)), "EINVAL at memory3/state");
    assert_eq!(refused(&state, online(99)), "ENOENT at memory99/state");
    // DMA and DMA32 in one block, and a hole below 1 MiB.
    assert_eq!(refused(&state, offline(0)), "EINVAL at memory0/state");
    assert!(refused(&state, offline(3)).contains("Undetermined"));
    assert_eq!(refused(&state, Event::AddMemory(dimm(4 * GIB, 100, 1))), "EINVAL at add");
    assert_eq!(refused(&state, Event::AddMemory(dimm(512, 128, 1))), "EEXIST at add");
    let state = after(&state, Event::AddMemory(dimm(4 * GIB, 256, 1)));
    assert_eq!(refused(&state, Event::AddMemory(dimm(4 * GIB + 128, 256, 1))), "EEXIST at emulator");
    let set = Event::Set { name: "online_policy".to_owned(), value: "any".to_owned() };
    assert_eq!(refused(&state, set), "EINVAL at /sys/module/memory_hotplug/parameters/online_policy");
    let range = dimm(4 * GIB, 256, 1).range;
    let busy = Event::RemoveMemory { range, outcome: Some(Given::Busy) };
    assert_eq!(refused(&state, busy), "EBUSY at del");
    let state = after(&state, Event::RemoveMemory { range, outcome: None });
    assert!(!state.nodes.online.contains(NodeId(1)));
}

/// Steps print, and a refused one says what refused it and why.
#[test]
fn steps_print_and_leave_nothing_out() {
    let machine = with_window_and_hmat();
    let topology = machine.topology();
    let state = boot(&machine, &topology, &[]);
    let unbind = Event::UnbindDax { device: "dax0.0".to_owned() };
    let steps = state.steps(&[Event::AddMemory(dimm(4 * GIB, 256, 1)), unbind]);
    let mut json = String::new();
    whole_json(&mut json, &state.plan(), Some(&steps), None).unwrap();
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    let steps_json = json["steps"].as_array().unwrap();
    assert_eq!(steps_json[0]["result"], "ok");
    assert_eq!(steps_json[0]["event"]["start"], "0x100000000");
    assert_eq!(steps_json[0]["after"]["memory_tiers"]["memory_tier18"][0], 1);
    assert_eq!(steps_json[1]["result"], "ENODEV");
    let mut text = String::new();
    steps_text(&mut text, &steps, Colour::Off).unwrap();
    assert!(text.starts_with("step 0: add_memory 0x100000000-0x10fffffff: ok\n"), "{text}");
    assert!(text.contains("step 1: unbind_dax dax0.0: ENODEV"), "{text}");
}

/// 524,288 blocks in one step, and one of them moved: the work follows ranges, not blocks.
#[test]
fn half_a_million_blocks_are_a_few_ranges() {
    let machine = Machine::new(&[(1, GIB)], 1)
        .srat(|srat| {
            push_all(srat, &[cpu(0, 0)]);
            push_all(srat, &[memory(0, 0, GIB), memory(1, 1 << 26, 1 << 27)]);
        })
        .line("memhp_default_state=online_movable");
    let topology = machine.topology();
    let state = boot(&machine, &topology, &[]);
    let start = Instant::now();
    let first = 1 << 19;
    let state = after(&state, Event::AddMemory(dimm(1 << 26, 1 << 26, 1)));
    let state = after(&state, Event::Offline { block: BlockId(first + 1000), outcome: None });
    let state = after(&state, Event::Online { block: BlockId(first + 1000), kind: OnlineKind::Kernel });
    let range = dimm(1 << 26, 1 << 26, 1).range;
    let state_without = after(&state, Event::RemoveMemory { range, outcome: Some(Given::Ok) });
    let taken = start.elapsed();
    assert_eq!(state.blocks.count(), 8 + 524_288);
    assert_eq!(state.blocks.iter().count(), 5);
    assert_eq!(state.zones.get(NodeId(1), Zone::Movable).present, 524_287 * 32768);
    assert_eq!(state_without.blocks.count(), 8);
    assert!(taken < Duration::from_millis(200), "{taken:?}");
}
