//! The worked examples of the sheet on memory hotplug, digit for digit. Their figures come from hand arithmetic and from
//! booted kernels (captures of 7.2.12), not from this library.
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
use memtopo::linux::added::MemoryDevice;
use memtopo::linux::block_map::{BlockId, BlockState};
use memtopo::linux::events::{Cause, Errno, Event};
use memtopo::linux::hot_add::{Addition, Forecast, LostTo, PageTables, Placed, Trimmed};
use memtopo::linux::memmap::{Adder, Architecture, Home};
use memtopo::linux::placement::Owner;
use memtopo::linux::settings::MemmapOnMemory;
use memtopo::linux::soft_reserved::DaxParent;
use memtopo::linux::zones::Zone;
use memtopo::linux::{Inputs, State};
use memtopo::range::AddressRange;
use memtopo::tables::cedt::{CedtWriter, FixedMemoryWindowHeader};
use memtopo::tables::e820::E820Type;
use memtopo::tables::output::Seal;
use memtopo::tables::srat::{MemoryAffinity, MemoryFlags};
use memtopo::units::{AcpiUid, ByteCount, NodeId, PhysAddr, ProximityDomain};
use std::collections::BTreeMap;

const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

fn range(start: u64, end: u64) -> AddressRange {
    AddressRange::new(PhysAddr(start), PhysAddr(end))
}

/// A machine whose firmware leaves RAM as that of a PC does: up to 0x9fc00, and these ranges, in bytes.
fn pc(ram: &[(u64, u64)]) -> Machine {
    let mut machine = Machine::new(&[], 2);
    let low = [(0, 0x9_fc00)];
    let entry = |(start, end): &(u64, u64)| MapEntry {
        range: range(*start, *end),
        kind: MapKind::E820(E820Type::RAM),
        place: 0,
    };
    machine.map.entries = low.iter().chain(ram).map(entry).collect();
    machine
}

fn with_windows(mut machine: Machine, windows: &[(u64, u64)]) -> Machine {
    let mut bytes = Vec::new();
    let mut writer = CedtWriter::new(&mut bytes, Default::default());
    for (base, size) in windows {
        let mut window: FixedMemoryWindowHeader = zerocopy::FromZeros::new_zeroed();
        window.r#type = 1.into();
        window.base_hpa = PhysAddr(*base).into();
        window.window_size = ByteCount(*size).into();
        writer.push_window(&window, &[AcpiUid(7)]).unwrap();
    }
    writer.finish(Seal::Fill).unwrap();
    machine.tables.push(bytes);
    machine
}

fn one_node(machine: Machine, end_mib: u64) -> Machine {
    machine.srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(0, 1)]);
        push_all(srat, &[memory(0, 0, end_mib)]);
    })
}

/// What `examine` sees of a booted machine.
fn booted<T>(machine: &Machine, examine: impl FnOnce(State<'_>) -> T) -> T {
    let topology = machine.topology();
    let Machine { map, kernel, .. } = machine;
    examine(
        State::boot(Inputs { topology: &topology, memory_map: map, memory_devices: &[], kernel }).unwrap(),
    )
}

fn block_size(machine: &Machine) -> u64 {
    booted(machine, |state| state.blocks.size.0 / MIB)
}

fn plug<'a>(state: &State<'a>, start: u64, size: u64, domain: u32) -> State<'a> {
    let range = range(start, start + size);
    state.apply(&Event::AddMemory(MemoryDevice { range, domain: Some(ProximityDomain(domain)) })).unwrap().0
}

/// The zones that a range is in.
fn zones(state: &State<'_>, start: u64, size: u64) -> Vec<Zone> {
    let (first, end) = (state.blocks.of(PhysAddr(start)), state.blocks.of(PhysAddr(start + size)));
    let mut zones = Vec::new();
    for (_, run) in state.blocks.between(first, end) {
        match run.state {
            BlockState::Online(Some(zone)) => zones.push(zone),
            other => panic!("{other:?}"),
        }
    }
    zones
}

fn set<'a>(state: &State<'a>, name: &str, value: &str) -> State<'a> {
    state.apply(&Event::Set { name: name.to_owned(), value: value.to_owned() }).unwrap().0
}

fn forecast(state: &State<'_>, start: u64, end: u64, adder: Adder) -> Forecast {
    let addition = Addition { ranges: vec![range(start, end)], node: None, adder };
    state.forecast(&addition, &BTreeMap::new())
}

const CXL: Adder = Adder::Kmem(DaxParent::Region, None);

#[test]
fn example_1_memmap_of_a_block() {
    let machine = Architecture::X86_64;
    for (block, structures, pages, usable) in [(128, 2, 512, 126), (2048, 32, 8192, 2016)] {
        let block = ByteCount(block * MIB);
        assert_eq!(machine.pages(block) * 64, structures * MIB);
        assert_eq!(machine.structures(block), ByteCount(structures * MIB));
        let hosted = machine.self_hosted(MemmapOnMemory::On, block).unwrap();
        assert_eq!((hosted.pages, hosted.wasted_pages), (pages, 0));
        assert_eq!(block.0 - hosted.pages * 4096, usable * MIB);
        assert_eq!(block.0 / machine.structures(block).0, 64);
    }
    assert_eq!(machine.pages(ByteCount(128 * MIB)), 32768);
    assert_eq!(machine.pages(ByteCount(2048 * MIB)), 524_288);
    // One pageblock, and one entry of the second page table level.
    assert_eq!(machine.structures(ByteCount(128 * MIB)), machine.pageblock);
    assert_eq!(Some(machine.pageblock), machine.leaf);
}

#[test]
fn example_2_a_large_region_off_the_blocks() {
    let (start, end) = (0x14_9000_0000, 0x54_9000_0000);
    assert_eq!((start, end), (82 * GIB + GIB / 4, 338 * GIB + GIB / 4));
    let large = ByteCount(2 * GIB);
    let trimmed = Trimmed::new(&[range(start, end)], large);
    assert_eq!(trimmed.usable, [range(84 * GIB, 338 * GIB)]);
    let lost: Vec<_> = trimmed.lost.iter().map(|lost| (lost.range.size().0, lost.to)).collect();
    assert_eq!(lost, [(GIB * 7 / 4, LostTo::Head), (GIB / 4, LostTo::Tail)]);
    assert_eq!((trimmed.usable_size().0 / large.0, trimmed.lost_size()), (127, ByteCount(2 * GIB)));

    let machine = |line: &str| one_node(pc(&[(MIB, start)]), start / MIB).line(line);
    let on = "memory_hotplug.memmap_on_memory=1";
    for (line, managed, cost, pieces) in [("", 254 * 1024, 4064, 1), (on, 256_032, 0, 127)] {
        let machine = machine(line);
        booted(&machine, |state| {
            assert_eq!(state.blocks.size, large);
            let seen = forecast(&state, start, end, CXL);
            assert_eq!(seen.trimmed, trimmed);
            assert_eq!((seen.managed.0 / MIB, seen.kernel_cost.0 / MIB), (managed, cost));
            assert_eq!((seen.refused.len(), seen.pieces), (0, pieces));
        });
    }
    // A window of the same addresses advises 256 MiB, and nothing is lost.
    for (line, managed, cost) in [("", 256 * 1024, 4096), (on, 252 * 1024, 0)] {
        let machine = with_windows(machine(line), &[(start, end - start)]);
        booted(&machine, |state| {
            assert_eq!(state.blocks.size, ByteCount(256 * MIB));
            let seen = forecast(&state, start, end, CXL);
            assert_eq!((seen.trimmed.lost_size(), seen.node), (ByteCount(0), Some(NodeId(1))));
            assert_eq!(seen.trimmed.usable_size().0 / state.blocks.size.0, 1024);
            assert_eq!((seen.managed.0 / MIB, seen.kernel_cost.0 / MIB), (managed, cost));
        });
    }
}

/// Two nodes of 512 MiB, as in captures 03 and 23.
fn two_halves(line: &str) -> Machine {
    let machine = pc(&[(MIB, 0x3ffe_0000)]).srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(1, 1)]);
        push_all(srat, &[memory(0, 0, 512), memory(1, 512, 1024)]);
    });
    machine.line(line)
}

fn limits(state: &State<'_>) -> [u64; 3] {
    [Some(NodeId(0)), Some(NodeId(1)), None].map(|node| state.movable_room(node).limit)
}

#[test]
fn example_3_auto_movable_at_301() {
    let machine = two_halves("memory_hotplug.online_policy=auto-movable");
    booted(&machine, |state| {
        let early = [Some(NodeId(0)), Some(NodeId(1)), None].map(|node| state.movable_room(node).early);
        assert_eq!((early, 3998 + 126_976), ([130_974, 131_040, 262_014], 130_974));
        assert_eq!(limits(&state), [394_231, 394_430, 788_662]);
        let mut state = state;
        let steps = [
            (4 * GIB, GIB, 1, Zone::Movable, 262_144),
            (5 * GIB, GIB, 1, Zone::Normal, 262_144),
            (6 * GIB, GIB, 0, Zone::Movable, 524_288),
            (7 * GIB, GIB / 2, 0, Zone::Movable, 655_360),
        ];
        for (start, size, node, zone, movable) in steps {
            state = plug(&state, start, size, node);
            assert_eq!(zones(&state, start, size), [zone]);
            assert_eq!(state.movable_room(None).movable, movable);
        }
        assert_eq!(state.movable_room(Some(NodeId(0))).movable, 393_216);
        // Memory that is added later never raises the limits.
        assert_eq!(limits(&state), [394_231, 394_430, 788_662]);
    });
}

#[test]
fn example_4_ratio_250_then_50() {
    let machine =
        two_halves("memory_hotplug.online_policy=auto-movable memory_hotplug.auto_movable_ratio=250");
    booted(&machine, |state| {
        assert_eq!(limits(&state)[1], 327_600);
        let mut state = state;
        for (start, size, zone) in [
            (4 * GIB, GIB, Zone::Movable),
            (5 * GIB, GIB / 2, Zone::Normal),
            (6 * GIB, 384 * MIB, Zone::Normal),
        ] {
            state = plug(&state, start, size, 1);
            assert_eq!(zones(&state, start, size), [zone]);
        }
        let state = set(&state, "auto_movable_ratio", "50");
        let [first, _, all] = limits(&state);
        assert_eq!((first, all), (65_487, 131_007));
        // Short by 49 pages on the node, and the test over all nodes fails as well.
        assert_eq!((65_536 - first, 262_144 + 65_536), (49, 327_680));
        let state = plug(&state, 7 * GIB, 256 * MIB, 0);
        assert_eq!(zones(&state, 7 * GIB, 256 * MIB), [Zone::Normal]);
    });
}

/// Node 0 below 4 GiB and node 1 above, as in captures 09 to 11.
fn low_and_high(line: &str) -> Machine {
    let machine = pc(&[(MIB, 0xbffe_0000), (4 * GIB, 5 * GIB)]).srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(0, 1)]);
        push_all(srat, &[memory(0, 0, 3072), memory(1, 4096, 5120)]);
    });
    machine.line(line)
}

#[test]
fn example_5_movablecore() {
    booted(&low_and_high("movablecore=600M"), |state| {
        assert_eq!([0, 1].map(|node| state.nodes.ram_pages(NodeId(node))), [158 + 786_144, 262_144]);
        assert_eq!(state.nodes.movable_start, BTreeMap::from([(NodeId(1), 0x11_a800)]));
        assert_eq!(0x10_0000 + 2 * 54_272, 0x11_a800);
        let movable = state.zones.get(NodeId(1), Zone::Movable).span.addresses();
        assert_eq!(movable.start, PhysAddr(0x1_1a80_0000));
    });
}

#[test]
fn example_6_kernelcore() {
    for line in ["kernelcore=1G", "kernelcore=40%"] {
        booted(&low_and_high(line), |state| {
            assert_eq!(state.nodes.movable_start, BTreeMap::from([(NodeId(1), 0x10_0000)]));
            assert_eq!(state.zones.get(NodeId(1), Zone::Movable).present, 262_144);
            assert_eq!(state.zones.present_in_kernel_zones(NodeId(1)), 0);
        });
    }
}

#[test]
fn example_7_block_sizes() {
    let machine = |end: u64, hypervisor: bool| {
        let mut machine = one_node(pc(&[(MIB, end)]), end.div_ceil(MIB));
        machine.kernel.platform.hypervisor = hypervisor;
        machine
    };
    assert_eq!(block_size(&machine(71 * GIB, true)), 1024);
    assert_eq!(block_size(&machine(71 * GIB + GIB / 4, true)), 256);
    let bare = machine(71 * GIB, false);
    assert_eq!(block_size(&bare), 2048);
    // The last block is half absent: it is there, and cannot go offline for the hole.
    booted(&bare, |state| {
        assert_eq!(state.blocks.count(), 36);
        let refusal = state.apply(&Event::Offline { block: BlockId(35), outcome: None }).unwrap_err();
        assert_eq!(refusal.cause, Cause::Errno(Errno::Invalid));
    });
    for hypervisor in [false, true] {
        let below = machine(64 * GIB - 100 * MIB, hypervisor);
        assert_eq!(block_size(&with_windows(below, &[(256 * GIB, 256 * GIB)])), 128);
    }
    let window = (0x12_1000_0000, 0x12_4000_0000 - 0x12_1000_0000);
    assert_eq!(block_size(&with_windows(machine(72 * GIB, false), &[window])), 256);
}

#[test]
fn example_8_64_tib() {
    let machine = Architecture::X86_64;
    assert_eq!(machine.structures(ByteCount(64 * TIB)), ByteCount(TIB));
    assert_eq!(machine.structures(ByteCount(8 * TIB)), ByteCount(128 * GIB));
    for (block, count, reserved) in [(128 * MIB, 524_288, 2 * MIB), (2 * GIB, 32_768, 32 * MIB)] {
        assert_eq!(64 * TIB / block, count);
        let hosted = machine.self_hosted(MemmapOnMemory::On, ByteCount(block)).unwrap();
        assert_eq!(hosted.pages * 4096, reserved);
        assert_eq!(count * reserved, TIB);
    }
    let tables = PageTables::new(&range(0, 64 * TIB), &[]);
    assert_eq!((64 * TIB / GIB, tables.of_1_gib_entries), (65_536, 128));

    let mut full = one_node(pc(&[(MIB, 64 * TIB)]), 64 * TIB / MIB);
    full.kernel.config.physical_bits = 46;
    booted(&full, |state| {
        assert_eq!((state.blocks.size, state.blocks.count()), (ByteCount(2 * GIB), 32_768));
        assert_eq!(1 << 46, 64 * TIB);
        let seen = forecast(&state, 64 * TIB, 64 * TIB + 2 * GIB, Adder::AcpiDevice);
        assert_eq!(seen.refused[0].errno, Errno::TooBig);
        assert!(seen.added.is_empty());
    });
}

#[test]
fn example_9_kmem_on_an_unaligned_range() {
    let line = "memmap=512M%0x104000000-1+0xefffffff";
    let machine = pc(&[(MIB, 0x3ffe_0000), (4 * GIB, 5 * GIB)]).srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(0, 1)]);
        push_all(srat, &[memory(0, 0, 1024), memory(1, 4096, 5120)]);
    });
    let trimmed = Trimmed::new(&[range(0x1_0400_0000, 0x1_2400_0000)], ByteCount(128 * MIB));
    assert_eq!(trimmed.usable, [range(0x1_0800_0000, 0x1_2000_0000)]);
    assert_eq!((trimmed.usable_size().0, trimmed.usable_size().0 / (128 * MIB)), (384 * MIB, 3));
    assert_eq!(trimmed.lost.iter().map(|lost| lost.range.size().0 / MIB).collect::<Vec<_>>(), [64, 64]);
    assert_eq!(trimmed.lost_size(), ByteCount(128 * MIB));

    let mut machine = machine.line(line);
    booted(&machine, |state| {
        assert_eq!(state.zones.get(NodeId(1), Zone::Normal).present, 131_072);
    });
    machine.kernel.drivers = ["dax_hmem", "kmem"].map(String::from).to_vec();
    booted(&machine, |state| {
        assert_eq!(state.zones.get(NodeId(1), Zone::Normal).present, 229_376);
        assert_eq!(state.added.iter().map(|added| added.range).collect::<Vec<_>>(), trimmed.usable);
        // Soft-reserved memory does not ask to hold its own page structures.
        assert!(matches!(state.added[0].memmap.home, Home::Kernel { node: Some(NodeId(1)), .. }));
        for block in [32, 36] {
            let block = BlockId(block);
            assert!(state.blocks.get(block).unwrap().is_early());
            let refusal = state.apply(&Event::Offline { block, outcome: None }).unwrap_err();
            assert_eq!(refusal.cause, Cause::Errno(Errno::Invalid));
        }
    });
}

#[test]
fn example_10_movable_node() {
    let hot = MemoryAffinity::new(
        ProximityDomain(1),
        PhysAddr(4 * GIB),
        ByteCount(GIB),
        MemoryFlags::ENABLED.union(MemoryFlags::HOT_PLUGGABLE),
    );
    let machine = pc(&[(MIB, 0x3ffe_0000), (4 * GIB, 5 * GIB)])
        .srat(|srat| {
            push_all(srat, &[cpu(0, 0), cpu(0, 1)]);
            push_all(srat, &[memory(0, 0, 1024), hot]);
        })
        .line("movable_node");
    booted(&machine, |state| {
        assert_eq!(state.zones.get(NodeId(1), Zone::Movable).present, 262_144);
        // Page structures and the data of node 1 (172 KiB) are on node 0, and nothing of the boot is on node 1.
        let structures = state.placement.of(Owner::PageStructures(NodeId(1))).unwrap();
        assert_eq!(structures.size(), ByteCount(8 * 2 * MIB));
        assert_eq!(structures.nodes(&state.nodes.pieces).to_string(), "0");
        let data = state.placement.of(Owner::NodeData(NodeId(1))).unwrap();
        assert_eq!((data.size().0 >> 10, data.nodes(&state.nodes.pieces).to_string()), (172, "0".to_owned()));
        assert!(!state.placement.holds(&range(4 * GIB, 5 * GIB)));
        assert!(state.findings().is_empty());
        // Removable in any order.
        for order in [[32, 33, 34, 35, 36, 37, 38, 39], [39, 32, 38, 33, 37, 34, 36, 35]] {
            let mut state = state.clone();
            for block in order {
                state = state.apply(&Event::Offline { block: BlockId(block), outcome: None }).unwrap().0;
            }
            assert!(!state.nodes.has_memory.contains(NodeId(1)));
        }
    });
}

#[test]
fn example_11_a_cxl_region_that_holds_its_own_memmap() {
    let line = "memory_hotplug.memmap_on_memory=1 memhp_default_state=online_movable";
    let machine = one_node(pc(&[(MIB, 0x3ffe_0000)]), 1024).line(line);
    let machine = with_windows(machine, &[(0x1_1000_0000, GIB)]);
    booted(&machine, |state| {
        let seen = forecast(&state, 0x1_1000_0000, 0x1_2000_0000, CXL);
        assert_eq!(seen.node, Some(NodeId(1)));
        let placed = Placed { range: range(0x1_1000_0000, 0x1_2000_0000), zone: Some(Zone::Movable) };
        assert_eq!(seen.placed, [placed]);
        let blocks = (state.blocks.of(placed.range.start), state.blocks.of(placed.range.end));
        assert_eq!(blocks, (BlockId(34), BlockId(36)));
        assert_eq!(placed.range.size().0 / 4096, 65_536);
        assert_eq!((seen.managed.0 / 4096, seen.managed.0 >> 10), (64_512, 258_048));
        assert_eq!((seen.pieces, 65_536 - 2 * 512), (2, 64_512));
    });
}

#[test]
fn example_12_dimms_in_bulk() {
    let node = |n: u32| memory(n, u64::from(n) << 16, (u64::from(n) + 1) << 16);
    let machine = pc(&[(MIB, 512 * GIB)]).srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(0, 1)]);
        (0..8).for_each(|n| srat.push(&node(n)));
    });
    let machine = machine.line("memory_hotplug.online_policy=auto-movable");
    booted(&machine, |state| {
        let last = NodeId(7);
        assert_eq!(state.movable_room(Some(last)).early, 16_777_216);
        assert_eq!(state.movable_room(Some(last)).limit, 50_499_420);
        // 192.6 GiB.
        assert_eq!(50_499_420 * 4096 * 10 / GIB, 1926);
        let whole = plug(&state, 512 * GIB, 256 * GIB, 7);
        assert_eq!(zones(&whole, 512 * GIB, 256 * GIB), [Zone::Normal]);
        let mut state = state;
        for (dimm, zone) in (0..4).zip([Zone::Movable, Zone::Movable, Zone::Movable, Zone::Normal]) {
            let start = (512 + dimm * 64) * GIB;
            state = plug(&state, start, 64 * GIB, 7);
            assert_eq!(zones(&state, start, 64 * GIB), [zone]);
        }
        assert_eq!(state.movable_room(Some(last)).movable, 50_331_648);
    });
}
