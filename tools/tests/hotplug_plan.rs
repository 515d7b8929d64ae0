//! Plans of memory that comes and goes. Figures are hand arithmetic: the worked examples of the sheet on memory hotplug, and
//! what is worked out beside each test.
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
use memtopo::hotplug::{Answer, Goal, HotplugPlan, Outcome, Percent, Request, Target, plan};
use memtopo::linux::Inputs;
use memtopo::linux::added::MemoryDevice;
use memtopo::linux::events::{Errno, Event};
use memtopo::linux::zones::Zone;
use memtopo::range::AddressRange;
use memtopo::render::hotplug_json::hotplug_json;
use memtopo::render::hotplug_text::hotplug_text;
use memtopo::render::style::Colour;
use memtopo::tables::cedt::{CedtWriter, FixedMemoryWindowHeader};
use memtopo::tables::output::Seal;
use memtopo::units::{AcpiUid, ByteCount, NodeId, PhysAddr, ProximityDomain};

/// A gibibyte in MiB.
const GIB: u64 = 1024;

fn with_window(mut machine: Machine, base_mib: u64, size_mib: u64) -> Machine {
    let mut bytes = Vec::new();
    let mut writer = CedtWriter::new(&mut bytes, Default::default());
    let mut window: FixedMemoryWindowHeader = zerocopy::FromZeros::new_zeroed();
    window.r#type = 1.into();
    window.base_hpa = PhysAddr(base_mib * MIB).into();
    window.window_size = ByteCount(size_mib * MIB).into();
    writer.push_window(&window, &[AcpiUid(7)]).unwrap();
    writer.finish(Seal::Fill).unwrap();
    machine.tables.push(bytes);
    machine
}

/// Processors and RAM in domain 0; domain 1 owns the addresses of memory that is not there.
fn machine(ram_mib: u64, later: (u64, u64)) -> Machine {
    Machine::new(&[(1, ram_mib)], 2).srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(0, 1)]);
        push_all(srat, &[memory(0, 0, ram_mib), memory(1, later.0, later.1)]);
    })
}

fn planned<T>(
    machine: &Machine,
    events: &[Event<'_>],
    goals: &[Goal],
    examine: impl FnOnce(&HotplugPlan<'_>) -> T,
) -> T {
    let topology = machine.topology();
    let Machine { map, kernel, .. } = machine;
    let inputs = Inputs { topology: &topology, memory_map: map, memory_devices: &[], kernel };
    let made = plan(&Request { inputs, events, goals }).expect("it boots");
    let mut text = String::new();
    hotplug_text(&mut text, &made, Colour::Off).unwrap();
    for line in text.lines() {
        assert!(line.chars().count() <= 80, "{line:?}\n{text}");
        assert!(!line.ends_with(' '), "{line:?}");
    }
    let mut json = String::new();
    hotplug_json(&mut json, &made).unwrap();
    let read: serde_json::Value =
        serde_json::from_str(&json).unwrap_or_else(|error| panic!("{error}\n{json}"));
    assert_eq!(read["schema"], "memtopo.hotplug/1");
    assert_eq!(read["met"], made.is_met());
    examine(&made)
}

fn words(text: &str) -> Vec<Goal> {
    Goal::parse(text).unwrap()
}

fn plug(start_mib: u64, size_mib: u64, domain: u32) -> Event<'static> {
    let range = AddressRange::new(PhysAddr(start_mib * MIB), PhysAddr((start_mib + size_mib) * MIB));
    Event::AddMemory(MemoryDevice { range, domain: Some(ProximityDomain(domain)) })
}

fn commands(answer: &Answer) -> Vec<&str> {
    answer.steps.iter().flat_map(|step| &step.commands).map(String::as_str).collect()
}

fn outcome(answer: &Answer, setting: &str) -> Outcome {
    let found = answer.better.iter().find(|other| other.setting.contains(setting));
    found.unwrap_or_else(|| panic!("no {setting} in {:?}", answer.better)).outcome
}

/// Worked example 2: [0x1490000000, 0x5490000000) is [82.25, 338.25) GiB. Of that [84, 338) GiB are 127 blocks of 2 GiB;
/// 1.75 and 0.25 GiB are lost. The page structures of 254 GiB are 127 * 32 = 4064 MiB; blocks that hold their own leave
/// 127 * 2016 = 256032 MiB. A window of the same addresses advises 256 MiB: 1024 blocks, nothing lost, 4096 MiB of page
/// structures, or 252 GiB that are left.
#[test]
fn the_four_questions_for_256_gib_at_an_unaligned_base() {
    let start = 82 * GIB + GIB / 4;
    let machine = machine(start, (start, start + 256 * GIB));
    let goals = words("add 256 GiB of CXL at 0x1490000000 as movable");
    planned(&machine, &[], &goals, |plan| {
        assert_eq!(plan.block_size, ByteCount(2 * GIB * MIB));
        let answer = &plan.answers[0];
        assert!(answer.unmet.is_none());
        let added = answer.added.as_ref().unwrap();
        let forecast = &added.forecast;
        assert_eq!(forecast.trimmed.usable, [AddressRange::new(PhysAddr(84 << 30), PhysAddr(338 << 30))]);
        let lost: Vec<u64> = forecast.trimmed.lost.iter().map(|lost| lost.range.size().0 / MIB).collect();
        assert_eq!((lost, forecast.trimmed.lost_size().0 / MIB), (vec![1792, 256], 2048));
        let run = &added.placed[0];
        assert_eq!((added.placed.len(), run.first.0, run.end.0, run.zone), (1, 42, 169, Some(Zone::Movable)));
        assert_eq!(forecast.node, Some(NodeId(1)));
        assert_eq!((forecast.managed.0 / MIB, forecast.kernel_cost.0 / MIB), (254 * GIB, 4064));
        let device = added.device.as_ref().unwrap();
        assert!(device.is_removable());
        // One table of 512 entries, and one for the page structures of each 64 GiB: [64, 128) to [320, 384); those
        // of the RAM are there. The other pages of the direct map are one for each GiB.
        let tables = forecast.page_tables;
        assert_eq!((tables.of_1_gib_entries, tables.of_2_mib_entries), (0, 254));
        assert_eq!(tables.of_page_structures, 4);

        let own = outcome(answer, "memory_hotplug.memmap_on_memory=Y");
        assert_eq!((own.managed.0 / MIB, own.kernel_cost.0, own.lost.0 / MIB), (256_032, 0, 2048));
        let window = outcome(answer, "a CXL window (CFMWS)");
        assert_eq!((window.managed.0 / MIB, window.kernel_cost.0 / MIB, window.lost.0), (256 * GIB, 4096, 0));
        assert_eq!(window.block_size.0 / MIB, 256);
        let both = outcome(answer, "the same window, and");
        assert_eq!((both.managed.0 / MIB, both.kernel_cost.0, both.lost.0), (252 * GIB, 0, 0));
        // 84 GiB is the next multiple of 2 GiB; 82 GiB is RAM.
        let moved = outcome(answer, "device at 0x1500000000");
        assert_eq!((moved.managed.0 / MIB, moved.lost.0), (256 * GIB, 0));
    });
}

/// RAM ends at 64 GiB, a window of 1 TiB begins at 128 GiB: the lowest bit of its ends is 128 GiB, so blocks of 2 GiB. 512
/// GiB are 256 blocks from block 64 on; their page structures are a 64th, 8 GiB.
#[test]
fn add_512_gib_of_cxl_as_movable() {
    let machine = || with_window(machine(64 * GIB, (2048 * GIB, 2049 * GIB)), 128 * GIB, 1024 * GIB);
    let goals = words("add 512 GiB of CXL as movable");
    planned(&machine(), &[], &goals, |plan| {
        let answer = &plan.answers[0];
        let added = answer.added.as_ref().unwrap();
        assert!(added.chosen && answer.unmet.is_none());
        assert_eq!(added.range, AddressRange::new(PhysAddr(128 << 30), PhysAddr(640 << 30)));
        assert_eq!((added.placed[0].first.0, added.placed[0].end.0), (64, 320));
        assert_eq!(added.placed[0].zone, Some(Zone::Movable));
        assert_eq!(added.forecast.kernel_cost, ByteCount(8 << 30));
        // Node 2 was made for the window.
        assert_eq!(added.device.as_ref().unwrap().node, NodeId(2));
        let commands = commands(answer);
        assert_eq!(commands[0], "echo online_movable > /sys/devices/system/memory/auto_online_blocks");
        assert!(commands[2].starts_with("cxl create-region -t ram -d decoder0.0 -m -s 549755813888 "));
        assert_eq!(commands.last().unwrap(), &"echo online > /sys/devices/system/memory/auto_online_blocks");
        assert_eq!(plan.settings.auto_online.name(), "online");
        // Only where page structures live can be better.
        let settings: Vec<&str> = answer.better.iter().map(|other| other.setting.as_str()).collect();
        assert_eq!(settings, ["as planned", "memory_hotplug.memmap_on_memory=Y"]);
    });
    // Twice as much fits exactly, more does not.
    planned(&machine(), &[], &words("add 2 TiB of CXL as movable"), |plan| {
        let unmet = plan.answers[0].unmet.as_ref().unwrap();
        assert_eq!(unmet.errno, Some(Errno::OutOfRange));
        assert_eq!(unmet.nearest.as_deref(), Some("at most 1 TiB in one piece"));
        assert!(plan.answers[0].steps.is_empty() && plan.before == plan.after);
    });
    planned(&machine(), &[], &words("add 512G of cxl, movable, then add 512G of cxl, movable"), |plan| {
        assert!(plan.is_met());
        let starts: Vec<u64> =
            plan.answers.iter().map(|answer| answer.added.as_ref().unwrap().range.start.0 >> 30).collect();
        assert_eq!(starts, [128, 640]);
        assert_eq!(plan.after.devices.len(), 2);
        assert!(plan.after.devices.iter().all(|device| device.is_removable() && device.after.is_empty()));
    });
}

/// Two DIMMs of 1 GiB on a new node, blocks 32 to 39 and 40 to 47 of 128 MiB: the page structures of the second live on
/// the first, so it goes first.
#[test]
fn be_able_to_remove_device_2() {
    let machine = machine(GIB, (4 * GIB, 8 * GIB)).line("memhp_default_state=online_kernel");
    let events = [plug(4 * GIB, GIB, 1), plug(5 * GIB, GIB, 1)];
    planned(&machine, &events, &words("be able to remove device 2"), |plan| {
        let before: Vec<_> = plan.before.devices.iter().map(|device| device.kernel.0 / MIB).collect();
        assert_eq!(before, [GIB, GIB]);
        let answer = &plan.answers[0];
        assert!(answer.unmet.is_none());
        assert_eq!(
            commands(answer),
            [
                "for b in $(seq 40 47); do",
                "  echo offline > /sys/devices/system/memory/memory$b/state || break",
                "done",
                "for b in $(seq 40 47); do",
                "  echo online_movable > /sys/devices/system/memory/memory$b/state",
                "done",
                "echo online_movable > /sys/devices/system/memory/auto_online_blocks",
            ]
        );
        assert!(answer.risks.iter().any(|risk| risk.id == "kernel-pages"));
        let after = &plan.after.devices;
        assert_eq!((after[1].movable.0 / MIB, after[1].is_removable()), (GIB, true));
        assert_eq!((after[0].after.clone(), after[1].hosted_by.clone()), (vec![2], vec![1]));
    });
    // The first one keeps what belongs to the second.
    planned(&machine, &events, &words("be able to remove device 1"), |plan| {
        assert!(plan.answers[0].risks.iter().any(|risk| risk.id == "memmap-inside"));
    });
    // Taking it out takes the second with it, and that first.
    planned(&machine, &events, &words("remove device 1"), |plan| {
        let answer = &plan.answers[0];
        assert!(answer.risks.iter().any(|risk| risk.id == "others-go-first"));
        let ejects: Vec<&str> =
            commands(answer).into_iter().filter(|command| command.ends_with("eject")).collect();
        assert_eq!(
            ejects,
            [
                "echo 1 > /sys/devices/system/memory/memory40/firmware_node/eject",
                "echo 1 > /sys/devices/system/memory/memory32/firmware_node/eject",
            ]
        );
        assert!(plan.after.devices.is_empty());
        assert!(answer.risks.iter().any(|risk| risk.id == "nodes-vanish"));
    });
    // Movable memory is removable as it is.
    let machine = self::machine(GIB, (4 * GIB, 8 * GIB)).line("memhp_default_state=online_movable");
    planned(&machine, &events, &words("be able to remove device 2"), |plan| {
        assert!(plan.answers[0].unmet.is_none() && plan.answers[0].steps.is_empty());
    });
    planned(&machine, &events, &words("be able to remove device 3"), |plan| {
        let unmet = plan.answers[0].unmet.as_ref().unwrap();
        assert_eq!(unmet.errno, Some(Errno::NoEntry));
        assert_eq!(unmet.nearest.as_deref(), Some("one of 1: DIMM at 0x100000000, 2: DIMM at 0x140000000"));
    });
}

/// The nodes of worked example 3: 130974 and 131040 pages of the boot, 262014 in all. Three times that is 392922, 393120
/// and 786042 pages; in whole blocks of 32768 pages 11, 11 and 23.
#[test]
fn keep_the_movable_to_kernel_ratio_at_3() {
    let machine = || {
        let mut machine = Machine::new(&[], 2);
        let entry = |start: u64, end: u64| memtopo::bundle::memory_map::MapEntry {
            range: AddressRange::new(PhysAddr(start), PhysAddr(end)),
            kind: memtopo::bundle::memory_map::MapKind::E820(memtopo::tables::e820::E820Type::RAM),
            place: 0,
        };
        machine.map.entries = vec![entry(0, 0x9_fc00), entry(MIB, 0x3ffe_0000)];
        machine.srat(|srat| {
            push_all(srat, &[cpu(0, 0), cpu(1, 1)]);
            push_all(srat, &[memory(0, 0, 512), memory(1, 512, 1024)]);
        })
    };
    let words = |text: &str| {
        let mut goals = words("keep the movable to kernel ratio at 3");
        goals.extend(Goal::parse(text).unwrap_or_default());
        goals
    };
    planned(&machine(), &[], &words(""), |plan| {
        let answer = &plan.answers[0];
        assert_eq!(
            commands(answer),
            [
                "echo auto-movable > /sys/module/memory_hotplug/parameters/online_policy",
                "echo 300 > /sys/module/memory_hotplug/parameters/auto_movable_ratio",
            ]
        );
        let room = answer.room.as_ref().unwrap();
        let pages = |size: ByteCount| size.0 / 4096;
        assert_eq!((pages(room.all.kernel), pages(room.all.limit)), (262_014, 786_042));
        let limits: Vec<_> = room.nodes.iter().map(|node| pages(node.limit)).collect();
        assert_eq!(limits, [392_922, 393_120]);
        let left: Vec<_> =
            room.nodes.iter().chain([&room.all]).map(|node| node.left.0 / (128 * MIB)).collect();
        assert_eq!((left, room.now), (vec![11, 11, 23], Some(Percent(0))));
    });
    // 8 blocks fit on node 1; 8 more would make 524288 pages of 393120.
    let goals = words(
        "add 1G on node 1 at 0x100000000; add 1G on node 1 at 0x140000000; add 384M on node 1 at 0x180000000",
    );
    planned(&machine(), &[], &goals, |plan| {
        let zones: Vec<_> = plan.answers[1..]
            .iter()
            .map(|answer| answer.added.as_ref().unwrap().placed[0].zone.unwrap())
            .collect();
        assert_eq!(zones, [Zone::Movable, Zone::Normal, Zone::Movable]);
        assert!(plan.answers[2].risks.iter().any(|risk| risk.id == "all-or-nothing"));
        let movable = outcome(&plan.answers[2], "auto_online_blocks=online_movable");
        assert!(movable.removable);
    });
    // 4 GiB that are movable already are 1048576 pages, 400 %; 262534 pages too many, which is more than 8 blocks.
    let events = [
        Event::Set { name: "auto_online_blocks".into(), value: "online_movable".into() },
        plug(4 * GIB, 4 * GIB, 1),
    ];
    planned(&machine(), &events, &words(""), |plan| {
        let answer = &plan.answers[0];
        assert_eq!(answer.room.as_ref().unwrap().now, Some(Percent(400)));
        let unmet = answer.unmet.as_ref().unwrap();
        assert_eq!(unmet.errno, None);
        let nearest = unmet.nearest.as_deref().unwrap();
        assert!(nearest.starts_with("400 %") && nearest.contains("9 blocks"), "{nearest}");
    });
}

/// Goals that cannot be met: the errno of the kernel, and the state as it was.
#[test]
fn what_cannot_be_met_is_told_with_its_errno() {
    let machine = machine(GIB, (4 * GIB, 8 * GIB));
    for (goal, errno, nearest) in [
        // Half a block.
        ("add a DIMM of 1088 MiB at 0x100000000 on node 1", Errno::Invalid, Some("1 GiB at 0x100000000")),
        ("add a DIMM of 1 GiB at 0x100000000 on node 7", Errno::Invalid, Some("a node of 0-1")),
        ("add a DIMM of 1 GiB at 0x20000000 on node 1", Errno::Exists, Some("the same at 0x100000000")),
        ("add a DIMM of 1 GiB at 0x10000000000000", Errno::TooBig, Some("the same at 0x100000000")),
        ("add 100 MiB of CXL at 0x100200000", Errno::Invalid, Some("the same at 0x100000000")),
        ("add soft-reserved memory of 1 GiB", Errno::NoDevice, None),
        ("remove the memory at 0x0-0x7ffffff", Errno::NoEntry, None),
        ("remove device 1", Errno::NoEntry, None),
    ] {
        planned(&machine, &[], &words(goal), |plan| {
            let unmet = plan.answers[0].unmet.as_ref().unwrap_or_else(|| panic!("{goal} is met"));
            assert_eq!((unmet.errno, unmet.nearest.as_deref()), (Some(errno), nearest), "{goal}");
            assert_eq!(plan.before, plan.after, "{goal}");
            assert!(plan.answers[0].steps.is_empty(), "{goal}");
        });
    }
    // On a node of its own the tables do not name the addresses.
    planned(&machine, &[], &words("add 1 GiB of CXL at 0x100000000 on node 0"), |plan| {
        let unmet = plan.answers[0].unmet.as_ref().unwrap();
        assert_eq!((unmet.errno, unmet.reason.rule.id), (None, "target-node"));
    });
}

/// Where nobody asks for a zone, the ways to a removable device are told: the policy alone does not help, since a node
/// without memory of the boot has no kernel memory to count.
#[test]
fn ways_to_removable_memory_are_tried() {
    let machine = machine(4 * GIB, (8 * GIB, 16 * GIB));
    planned(&machine, &[], &words("add a DIMM of 4 GiB on node 1"), |plan| {
        let answer = &plan.answers[0];
        assert_eq!(answer.added.as_ref().unwrap().placed[0].zone, Some(Zone::Normal));
        let settings: Vec<&str> = answer.better.iter().map(|other| other.setting.as_str()).collect();
        assert_eq!(
            settings,
            [
                "as planned",
                "auto_online_blocks=online_movable",
                "online_policy=auto-movable auto_movable_numa_aware=N",
                "memory_hotplug.memmap_on_memory=Y",
                "movable_node",
            ]
        );
        assert!(!outcome(answer, "memmap_on_memory").removable);
        assert!(outcome(answer, "movable_node").removable);
    });
    // Offline by default: the blocks are brought online by hand, as the policy would.
    let machine = self::machine(4 * GIB, (8 * GIB, 16 * GIB)).line("memhp_default_state=offline");
    planned(&machine, &[], &words("add a DIMM of 4 GiB on node 1"), |plan| {
        let commands = commands(&plan.answers[0]);
        assert!(commands.contains(&"for b in $(seq 64 95); do"), "{commands:?}");
        assert_eq!(plan.after.devices[0].kernel.0 / MIB, 4 * GIB);
    });
}

/// What is added and removed again leaves the machine as it was.
#[test]
fn adding_and_removing_leaves_nothing() {
    let machine = with_window(machine(64 * GIB, (2048 * GIB, 2049 * GIB)), 128 * GIB, 1024 * GIB);
    let mut goals = words("add 512 GiB of CXL as movable");
    goals.push(Goal::Remove(Target::Device(1)));
    planned(&machine, &[], &goals, |plan| {
        assert!(plan.is_met());
        assert_eq!(plan.before, plan.after);
        let commands = commands(&plan.answers[1]);
        assert_eq!(
            commands,
            [
                "for b in $(seq 64 319); do",
                "  echo offline > /sys/devices/system/memory/memory$b/state || break",
                "done",
                "echo dax0.0 > /sys/bus/dax/drivers/kmem/unbind",
                "cxl destroy-region -f region0",
            ]
        );
    });
}
