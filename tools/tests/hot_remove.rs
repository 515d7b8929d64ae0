//! What memory can go again, in which order, and what failures leave: facts of booted kernels (7.2.12) and of the
//! kernel's rules on small machines.
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
use memtopo::linux::added::MemoryDevice;
use memtopo::linux::block_map::{BlockId, GroupId};
use memtopo::linux::events::{Errno, Event, Given};
use memtopo::linux::hot_remove::{Fate, Holds};
use memtopo::linux::online::OnlineKind;
use memtopo::linux::zones::Zone;
use memtopo::linux::{Inputs, State};
use memtopo::range::AddressRange;
use memtopo::units::{PhysAddr, ProximityDomain};

const GIB: u64 = 1024;

/// A gigabyte and processors in domain 0; domains 1 and 2 own addresses where nothing is yet.
fn machine(line: &str) -> Machine {
    let machine = Machine::new(&[(1, GIB)], 2).srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(0, 1)]);
        push_all(srat, &[memory(0, 0, GIB), memory(1, 4 * GIB, 8 * GIB), memory(2, 8 * GIB, 12 * GIB)]);
    });
    machine.line(line)
}

fn booted<T>(machine: &Machine, examine: impl FnOnce(State<'_>) -> T) -> T {
    let topology = machine.topology();
    let Machine { map, kernel, .. } = machine;
    examine(
        State::boot(Inputs { topology: &topology, memory_map: map, memory_devices: &[], kernel }).unwrap(),
    )
}

fn mib(start: u64, size: u64) -> AddressRange {
    AddressRange::new(PhysAddr(start * MIB), PhysAddr((start + size) * MIB))
}

fn plug<'a>(state: &State<'a>, start: u64, size: u64, domain: u32) -> State<'a> {
    let device = MemoryDevice { range: mib(start, size), domain: Some(ProximityDomain(domain)) };
    state.apply(&Event::AddMemory(device)).unwrap().0
}

fn after<'a>(state: &State<'a>, event: Event<'a>) -> State<'a> {
    state.apply(&event).unwrap().0
}

/// The typical trap: the second DIMM of a new node keeps its page structures on the first.
#[test]
fn what_was_added_last_goes_first() {
    booted(&machine("memhp_default_state=online_kernel"), |state| {
        let state = plug(&state, 4 * GIB, GIB, 1);
        let state = plug(&state, 5 * GIB, GIB, 1);
        let state = plug(&state, 8 * GIB, GIB, 2);
        let groups: Vec<GroupId> = state.added.iter().map(|added| added.group).collect();
        let order = state.removal_order(&groups[..1]);
        assert_eq!(order.wanted, [groups[0]]);
        // The first DIMM was the node's only kernel memory when the second came. The third came to a node without any;
        // next to that is node 1, as nodes with processors are avoided (`find_next_best_node`).
        assert_eq!(order.in_the_way, [groups[2], groups[1]]);
        let ties: Vec<_> = order.ties.iter().map(|tie| (tie.first, tie.then.group, tie.then.only)).collect();
        let expected =
            [(groups[1], groups[0], true), (groups[2], groups[0], false), (groups[2], groups[1], false)];
        assert_eq!(ties, expected);
        assert!(order.ties.iter().all(|tie| tie.then.holds == Holds::PageStructures));
        let all = state.removal_order(&groups);
        assert_eq!(all.wanted, [groups[2], groups[1], groups[0]]);
        assert!(all.in_the_way.is_empty());
        // Memory of a kernel zone may or may not go; the run decides.
        assert!(
            state
                .fates()
                .iter()
                .filter(|fate| fate.run.group.is_some())
                .all(|fate| fate.fate == Fate::KernelPages)
        );
    });
}

#[test]
fn movable_or_self_hosted_memory_goes_in_any_order() {
    for line in [
        "memhp_default_state=online_movable",
        "memhp_default_state=online_movable memory_hotplug.memmap_on_memory=1",
    ] {
        booted(&machine(line), |state| {
            let state = plug(&state, 4 * GIB, GIB, 1);
            let state = plug(&state, 5 * GIB, GIB, 1);
            assert!(state.ties().is_empty());
            let first = state.added[0].group;
            let order = state.removal_order(&[first]);
            assert_eq!((order.wanted, order.in_the_way), (vec![first], vec![]));
            assert!(state.nodes_that_go_with(&[first]).is_empty());
            let both = [first, state.added[1].group];
            assert_eq!(state.nodes_that_go_with(&both).to_string(), "1");
        });
    }
    // Self-hosted memory of a kernel zone holds at most page tables of others.
    booted(&machine("memory_hotplug.memmap_on_memory=1 memhp_default_state=online_kernel"), |state| {
        let state = plug(&plug(&state, 4 * GIB, GIB, 1), 5 * GIB, GIB, 1);
        assert!(state.ties().iter().all(|tie| tie.then.holds == Holds::PageTables));
        assert!(state.removal_order(&[state.added[0].group]).in_the_way.is_empty());
    });
}

/// What could be taken offline held nothing.
#[test]
fn memory_that_went_offline_holds_nothing() {
    booted(&machine("memhp_default_state=online_kernel"), |state| {
        let mut state = plug(&plug(&state, 4 * GIB, 256, 1), 5 * GIB, GIB, 1);
        assert_eq!(state.ties().len(), 1);
        for block in [32, 33] {
            state = after(&state, Event::Offline { block: BlockId(block), outcome: Some(Given::Ok) });
        }
        assert!(state.ties().is_empty());
    });
}

/// Capture 02: a DIMM of seven movable blocks and a busy one of a kernel zone ended with all blocks in Normal.
#[test]
fn a_failed_eject_may_move_everything_to_a_kernel_zone() {
    booted(&machine("memhp_default_state=offline"), |state| {
        let mut state = plug(&state, 4 * GIB, GIB, 1);
        for block in 32..40 {
            let kind = if block == 32 { OnlineKind::Kernel } else { OnlineKind::Movable };
            state = after(&state, Event::Online { block: BlockId(block), kind });
        }
        let left = state.after_failed_eject(&mib(4 * GIB, GIB));
        assert_eq!(left.len(), 1);
        assert_eq!(
            (left[0].range, left[0].from, left[0].to),
            (mib(4 * GIB + 128, 896), Zone::Movable, Some(Zone::Normal))
        );
    });
}

/// Captures 12 and 14: kmem takes nothing offline, and what is online is stranded until the next boot.
#[test]
fn an_early_unbind_strands_what_is_online() {
    let mut machine = machine("memmap=512M%0x20000000-1+0xefffffff memhp_default_state=online_movable");
    machine.kernel.drivers = ["dax_hmem", "kmem"].map(String::from).to_vec();
    booted(&machine, |state| {
        let group = state.added[0].group;
        assert_eq!(state.stranded_by_unbind(group), [mib(512, 512)]);
        let mut state = state;
        for block in 4..8 {
            state = after(&state, Event::Offline { block: BlockId(block), outcome: None });
        }
        assert!(state.stranded_by_unbind(group).is_empty());
        // Its node has processors.
        assert!(state.nodes_that_go_with(&[group]).is_empty());
    });
}

#[test]
fn blocks_of_the_boot_by_their_fate() {
    // 640 KiB to 1 MiB is a hole, and the last block ends early.
    let mut machine = Machine::new(&[(1, GIB - 16)], 1).srat(|srat| {
        push_all(srat, &[cpu(0, 0)]);
        push_all(srat, &[memory(0, 0, GIB)]);
    });
    machine.kernel = machine.kernel.with_command_line("");
    booted(&machine, |state| {
        let fates: Vec<(u64, u64, Fate)> =
            state.fates().iter().map(|fate| (fate.first.0, fate.end.0, fate.fate)).collect();
        let refused = |fate| match fate {
            Fate::Refused(errno, rule) => (errno, rule.id),
            other => panic!("{other:?}"),
        };
        assert_eq!(
            fates.iter().map(|(first, end, _)| (*first, *end)).collect::<Vec<_>>(),
            [(0, 1), (1, 7), (7, 8)]
        );
        assert_eq!(refused(fates[0].2), (Errno::Invalid, "block-no-zone"));
        assert_eq!(fates[1].2, Fate::KernelPages);
        assert_eq!(refused(fates[2].2), (Errno::Invalid, "block-hole"));
    });
}
