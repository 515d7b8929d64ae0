//! What a booting kernel puts where, on machines that were booted with `memblock=debug` (Linux 7.2.12), and what of it is
//! a complaint.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::as_conversions,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    reason = "a failing test is meant to stop, and to say why"
)]

mod machine;

use machine::{MIB, Machine, cpu, memory, push_all};
use memtopo::bundle::memory_map::{MapEntry, MapKind};
use memtopo::linux::placement::Owner;
use memtopo::linux::placement::findings::{Effect, Finding, Remedy};
use memtopo::linux::zones::Zone;
use memtopo::linux::{Inputs, State};
use memtopo::range::AddressRange;
use memtopo::render::placement::{findings_text, placement_text};
use memtopo::render::plan_json::plan_json;
use memtopo::render::style::Colour;
use memtopo::tables::e820::E820Type;
use memtopo::tables::srat::{MemoryAffinity, MemoryFlags};
use memtopo::units::{ByteCount, NodeId, PhysAddr, ProximityDomain};

const GIB: u64 = 1 << 30;
/// Where the emulator's boot loader put an initrd of 1 990 000 bytes, in a machine with 2 GiB of low RAM.
const INITRD: AddressRange = AddressRange::new(PhysAddr(0x7fdf_a000), PhysAddr(0x7ffe_0000));

fn range(start: u64, end: u64) -> AddressRange {
    AddressRange::new(PhysAddr(start), PhysAddr(end))
}

fn hot(domain: u32, start: u64, end: u64) -> MemoryAffinity {
    let flags = MemoryFlags::ENABLED.union(MemoryFlags::HOT_PLUGGABLE);
    MemoryAffinity::new(ProximityDomain(domain), PhysAddr(start), ByteCount(end - start), flags)
}

/// 2 GiB below 4 GiB and so much above, as the emulator lays it out; node 1 is all that is above, and hot-pluggable.
fn high_node(high: u64, line: &str) -> Machine {
    let mut machine = Machine::new(&[], 2).srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(0, 1)]);
        push_all(srat, &[memory(0, 0, 2048), hot(1, 4 * GIB, 4 * GIB + high)]);
    });
    let ram = [(0, 0x9_fc00), (MIB, 0x7ffe_0000), (4 * GIB, 4 * GIB + high)];
    let entry = |(start, end): (u64, u64)| MapEntry {
        range: range(start, end),
        kind: MapKind::E820(E820Type::RAM),
        place: 0,
    };
    machine.map.entries = ram.into_iter().map(entry).collect();
    machine.kernel.platform.initrd = Some(INITRD);
    machine.kernel.platform.gib_pages = Some(true);
    machine.line(line)
}

fn booted<T>(machine: &Machine, examine: impl FnOnce(State<'_>) -> T) -> T {
    let topology = machine.topology();
    let Machine { map, kernel, .. } = machine;
    examine(
        State::boot(Inputs { topology: &topology, memory_map: map, memory_devices: &[], kernel }).unwrap(),
    )
}

fn of(state: &State<'_>, owner: Owner) -> Vec<AddressRange> {
    state.placement.of(owner).map(|reservation| reservation.ranges.clone()).unwrap_or_default()
}

fn by(findings: &[Finding], owner: Owner) -> &Finding {
    findings.iter().find(|finding| finding.owner == owner).unwrap()
}

/// Booted: with `movable_node` everything of node 1 went to node 0.
#[test]
fn movable_node_keeps_the_boot_off_removable_memory() {
    let mut machine = high_node(2 * GIB, "movable_node");
    let platform = &mut machine.kernel.platform;
    platform.kernel_image = Some(range(0x3220_0000, 0x3561_1000));
    // The SRAT came with the initrd, and was copied to the lowest free address.
    platform.tables = vec![range(0x10_0000, 0x10_00a0)];
    booted(&machine, |state| {
        let [first, second] = [NodeId(0), NodeId(1)];
        assert_eq!(of(&state, Owner::NodeData(first)), [range(0x7fdc_ef80, 0x7fdf_a000)]);
        assert_eq!(of(&state, Owner::NodeData(second)), [range(0x7fda_3f00, 0x7fdc_ef80)]);
        assert_eq!(of(&state, Owner::PageStructures(first)), [range(0x7dc0_0000, 0x7fc0_0000)]);
        assert_eq!(of(&state, Owner::PageStructures(second)), [range(0x7bc0_0000, 0x7dc0_0000)]);
        let kept = [range(0x7ba0_0000, 0x7ba3_f000), range(0x7ba4_0000, 0x7ba7_f000)];
        assert_eq!(of(&state, Owner::PerCpu(first)), kept);
        assert_eq!(of(&state, Owner::BounceBuffers), [range(0x77a0_0000, 0x7ba0_0000)]);
        assert_eq!(state.zones.get(second, Zone::Movable).span.start, 0x10_0000);
        assert!(state.placement.unknown.is_empty());
        assert!(state.findings().is_empty());
    });
}

/// Booted with `nokaslr`: two page tables went to the top of all memory, before the SRAT was read.
#[test]
fn without_it_the_boot_holds_blocks_of_removable_memory() {
    booted(&high_node(2 * GIB, "nokaslr"), |state| {
        assert_eq!(of(&state, Owner::PageTables), [range(0x1_7fff_e000, 0x1_8000_0000)]);
        let findings = state.findings();
        assert!(
            findings.iter().all(|finding| finding.effect == Effect::BlocksHeld && finding.node == NodeId(1))
        );
        let tables = by(&findings, Owner::PageTables);
        assert_eq!(tables.remedies, [Remedy::LocalPageTables, Remedy::MovableNode]);
        assert_eq!(tables.blocks.iter().map(|(first, end)| (first.0, end.0)).collect::<Vec<_>>(), [(47, 48)]);
        let structures = by(&findings, Owner::PageStructures(NodeId(1)));
        // Sixteen sections.
        assert_eq!(structures.ranges.iter().map(|part| part.size().0).sum::<u64>(), 32 * MIB);
        assert_eq!(structures.remedies, [Remedy::MovableNode]);
        assert!(!structures.early);
        // What was put elsewhere is none.
        assert!(findings.iter().all(|finding| finding.owner != Owner::Initrd));
    });
}

/// Capture 06 of the sheet: one stray reservation costs a whole node its movable zone.
#[test]
fn one_early_reservation_loses_the_node() {
    let mut machine = high_node(2 * GIB, "movable_node nokaslr");
    machine.kernel.platform.initrd = Some(range(0x1_7fdf_a000, 0x1_8000_0000));
    booted(&machine, |state| {
        assert!(state.nodes.movable_start.is_empty());
        let findings = state.findings();
        let lost = &findings[0];
        assert_eq!((lost.effect, lost.node, lost.owner), (Effect::NodeLost, NodeId(1), Owner::Initrd));
        assert_eq!(lost.remedies, [Remedy::OtherNode]);
        assert_eq!(lost.blocks.iter().map(|(first, end)| (first.0, end.0)).collect::<Vec<_>>(), [(32, 48)]);
        // The page structures follow, as nothing spares the node any more.
        let structures = by(&findings, Owner::PageStructures(NodeId(1)));
        assert_eq!(structures.remedies, [Remedy::NodeFirst]);
        let mut text = String::new();
        findings_text(&mut text, &findings[..1], Colour::Off).unwrap();
        assert_eq!(
            text,
            "\nin memory that is meant to be removable\n\
             node 1: the boot loader put the initrd at 0x17fdfa000-0x17fffffff, before it knew any node\n  \
             so the kernel takes the whole node for itself, none of it is movable: blocks 32-47\n  \
             would help: relocation to node 0, or any node that stays: by the boot loader or firmware\n"
        );
    });
    // A soft-reserved piece at the edge of the node does the same, and a hole does not (both booted).
    for (line, lost) in [("memmap=128M%0x100000000-1+0xefffffff", true), ("memmap=128M$0x100000000", false)] {
        booted(&high_node(2 * GIB, &format!("movable_node nokaslr {line}")), |state| {
            assert_eq!(state.nodes.movable_start.is_empty(), lost, "{line}");
            let findings = state.findings();
            assert_eq!(findings.iter().any(|finding| finding.owner == Owner::SoftReserved), lost);
        });
    }
}

#[test]
fn what_the_inputs_do_not_tell_is_left_out() {
    let mut machine = high_node(2 * GIB, "");
    machine.kernel.platform.initrd = None;
    booted(&machine, |state| {
        assert_eq!(state.placement.unknown.len(), 2);
        let findings = state.findings();
        let structures = by(&findings, Owner::PageStructures(NodeId(1)));
        assert!(structures.ranges.is_empty() && structures.blocks.is_empty());
        let mut json = String::new();
        plan_json(&mut json, &state.plan()).unwrap();
        let value: serde_json::Value = serde_json::from_str(&json).unwrap();
        let unknown = value["placement"]["unknown"].as_array().unwrap();
        assert!(unknown[1].as_str().unwrap().starts_with("where the initrd is"));
        let found = value["findings"].as_array().unwrap();
        let found = found.iter().find(|finding| finding["owner"] == "page_structures").unwrap();
        assert_eq!((&found["effect"], &found["node"]), (&"blocks-held".into(), &1.into()));
        assert_eq!(found["remedies"][0]["id"], "movable-node");
        assert!(found.get("ranges").is_none());
        let mut text = String::new();
        placement_text(&mut text, &state.boot_plan().unwrap(), Colour::Off).unwrap();
        assert!(text.contains("the kernel put page structures of node 1 (32 MiB) on node 1\n"), "{text}");
    });
}
