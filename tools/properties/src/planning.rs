//! The whole way from bytes to a printed plan, through boot and events.

use memtopo::bundle::memory_map::{self, FirmwareMap, MapEntry, MapForm, MapKind};
use memtopo::bundle::{ReadOptions, TableSet};
use memtopo::linux::added::MemoryDevice;
use memtopo::linux::block_map::BlockId;
use memtopo::linux::events::TableUpdate;
use memtopo::linux::node_set::NodeSet;
use memtopo::linux::online::OnlineKind;
use memtopo::linux::plan::Outcome;
use memtopo::linux::{Event, Inputs, Kernel, Plan, State, Version, plan as plan_of};
use memtopo::range::AddressRange;
use memtopo::render::plan_json::{plan_json, whole_json};
use memtopo::render::plan_text::{Reasons, plan_text};
use memtopo::render::steps_text::steps_text;
use memtopo::render::style::Colour;
use memtopo::tables::e820::E820Type;
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{PhysAddr, ProximityDomain, Signature};

/// The machine that an input holds, planned by every kernel: tables as bytes, and behind them, when there is text in it,
/// lines of a kernel log with a memory map and `Command line:`.
///
/// A plan says which nodes there are exactly when the boot comes up, every online node is a possible one, and the same
/// input gives the same text.
pub fn plan(input: &[u8]) {
    let mut set = TableSet::default();
    // Without a table there is a machine too: one whose firmware says nothing.
    let _ = set.read("input", input, ReadOptions::default());
    let topology =
        Topology::read(set.tables().iter().filter_map(|table| TableBytes::copy(&table.bytes).ok()));
    let reading = memory_map::read_text(input);
    let map = reading.firmware().cloned().unwrap_or_else(usual_map);
    let log = String::from_utf8_lossy(input);
    let line = log.lines().find_map(|line| line.split_once("Command line:")).map_or("", |(_, line)| line);
    let hmat = set.first(Signature::HMAT).map(|table| &table.bytes[..]);
    let devices = [device(64 << 30, 1 << 30, 1)];
    // A plan names every memory block, as the kernel does, so a map of a few lines can make a very long text.
    let printable = map.entries.iter().all(|entry| entry.range.end < PRINTED_BELOW);
    for version in [Version::V7_2, Version::V6_12, Version::V6_1] {
        let kernel = Kernel::new(version).with_command_line(line);
        let inputs =
            Inputs { topology: &topology, memory_map: &map, memory_devices: &devices, kernel: &kernel };
        let plan = plan_of(inputs);
        assert_eq!(State::boot(inputs).is_ok(), matches!(plan.outcome, Outcome::Ok));
        nodes_are_consistent(&plan);
        if !printable || plan.nodes.len() > PRINTED_NODES {
            continue;
        }
        let text = printed(&plan);
        assert!(text == printed(&plan_of(inputs)), "the same input, another plan");
        if version == Version::V7_2 {
            events(inputs, hmat);
        }
    }
}

/// The addresses below which memory has to lie for its blocks to be printed: 2048 blocks of 128 MiB.
const PRINTED_BELOW: PhysAddr = PhysAddr(1 << 38);

/// The most nodes whose distances are printed: `numa=fake=` makes a thousand of one line.
const PRINTED_NODES: usize = 64;

/// 640 KiB, 3 GiB less 1 MiB below the gap, and 13 GiB above it.
fn usual_map() -> FirmwareMap {
    let entry = |start, end| MapEntry {
        range: AddressRange::new(PhysAddr(start), PhysAddr(end)),
        kind: MapKind::E820(E820Type::RAM),
        place: 0,
    };
    let entries = vec![entry(0, 0xa_0000), entry(1 << 20, 3 << 30), entry(4 << 30, 17 << 30)];
    FirmwareMap { form: MapForm::E820Entries, entries }
}

fn device(start: u64, size: u64, domain: u32) -> MemoryDevice {
    let range = AddressRange::new(PhysAddr(start), PhysAddr(start + size));
    MemoryDevice { range, domain: Some(ProximityDomain(domain)) }
}

fn nodes_are_consistent(plan: &Plan) {
    let Some(masks) = &plan.masks else { return };
    let inside = |inner: &NodeSet, outer: &NodeSet| inner.iter().all(|node| outer.contains(node));
    assert!(inside(&masks.online, &masks.possible), "a node is online that is not possible");
    assert!(inside(&masks.has_memory, &masks.online), "a node has memory that is not online");
    let numbers: Vec<_> = plan.nodes.iter().map(|node| node.node).collect();
    assert!(numbers.windows(2).all(|pair| pair[0] < pair[1]), "nodes out of order: {numbers:?}");
    assert!(numbers.iter().all(|node| masks.online.contains(*node)));
}

/// Everything that can be printed of a plan; none of it moves a cursor.
fn printed(plan: &Plan) -> String {
    let mut text = String::new();
    plan_json(&mut text, plan).expect("a string grows");
    plan_text(&mut text, plan, Colour::Off, Reasons::All).expect("a string grows");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "a raw control character in a plan");
    text
}

/// Some events of each kind, accepted or refused.
fn events(inputs: Inputs<'_>, hmat: Option<&[u8]>) {
    let Ok(state) = State::boot(inputs) else { return };
    let hot = device(128 << 30, 1 << 30, 2);
    let load = |driver: &str| Event::Load { driver: driver.to_owned() };
    let set = |name: &str, value: &str| Event::Set { name: name.to_owned(), value: value.to_owned() };
    let mut events = vec![
        load("dax_hmem"),
        load("kmem"),
        set("auto_online_blocks", "online_movable"),
        Event::AddMemory(hot),
        set("auto_online_blocks", "offline"),
        Event::AddMemory(device(256 << 30, 1 << 30, 77)),
        Event::Online { block: BlockId(2048), kind: OnlineKind::Kernel },
        Event::Offline { block: BlockId(33), outcome: None },
        Event::RemoveMemory { range: hot.range, outcome: None },
    ];
    if let Some(table) = hmat.and_then(|bytes| TableBytes::copy(bytes).ok()) {
        events.push(Event::UpdateTable(TableUpdate::Hmat(table)));
    }
    let steps = state.steps(&events);
    assert_eq!(steps.len(), events.len());
    steps.iter().filter_map(|step| step.after.as_ref()).for_each(nodes_are_consistent);
    let mut text = String::new();
    whole_json(&mut text, &state.plan(), Some(&steps), None).expect("a string grows");
    steps_text(&mut text, &steps, Colour::Off).expect("a string grows");
    assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "a raw control character in a step");
}
