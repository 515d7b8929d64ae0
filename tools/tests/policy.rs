//! Policies on small machines whose layouts are worked out by hand.
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
    reason = "a failing test is meant to stop, and to say why"
)]

mod machine;

use core::num::NonZeroU16;
use machine::{MIB, Machine, cpu, four_domains, initiator, lat_bw, locality, memory, push_all};
use memtopo::linux::added::MemoryDevice;
use memtopo::linux::events::Event;
use memtopo::linux::quirks::Quirk;
use memtopo::linux::tiers::{AbstractDistance, TierId};
use memtopo::linux::{Inputs, State};
use memtopo::policy::{
    MemoryType, Override, Policy, PolicyFailure, PolicyPlan, Selector, TierClass, TierName, TierRules, Wish,
    apply,
};
use memtopo::range::AddressRange;
use memtopo::tables::cedt::{CedtWriter, FixedMemoryWindowHeader};
use memtopo::tables::hmat::{DataType, MemoryProximityAttributes};
use memtopo::tables::output::Seal;
use memtopo::tables::srat::{Device, GenericAffinity, GenericFlags};
use memtopo::units::{
    AcpiUid, ByteCount, MegabytesPerSecond, Nanoseconds, NodeId, PhysAddr, ProximityDomain,
};

fn try_owner(
    machine: &Machine,
    devices: &[MemoryDevice],
    policy: &Policy,
) -> Result<PolicyPlan, PolicyFailure> {
    let topology = machine.topology();
    let inputs = Inputs {
        topology: &topology,
        memory_map: &machine.map,
        memory_devices: devices,
        kernel: &machine.kernel,
    };
    apply(policy, inputs)
}

fn owner(machine: &Machine, policy: &Policy) -> PolicyPlan {
    try_owner(machine, &[], policy).unwrap()
}

fn without(quirks: &[Quirk]) -> Policy {
    Policy { quirks_off: quirks.to_vec(), ..Policy::default() }
}

fn wishes(wishes: &[(Selector, Wish)]) -> Policy {
    let overrides = wishes.iter().map(|(who, what)| Override { who: *who, what: what.clone() }).collect();
    Policy { overrides, ..Policy::default() }
}

fn tiers(plan: &PolicyPlan) -> String {
    let tiers: Vec<_> = plan.owner.tiers.iter().map(|(tier, nodes)| format!("{tier}: {nodes}")).collect();
    tiers.join("; ").replace("memory_tier", "")
}

fn demotion(plan: &PolicyPlan) -> String {
    let all = plan.owner.demotion.iter().filter(|(_, targets)| !targets.preferred.is_empty());
    let all: Vec<_> =
        all.map(|(node, targets)| format!("{node}>{} of {}", targets.preferred, targets.fallback)).collect();
    all.join(" ")
}

/// Each difference with the names of the rules that made it.
fn changes(plan: &PolicyPlan) -> Vec<String> {
    plan.changes
        .iter()
        .map(|change| {
            let because: Vec<_> = change.because.iter().map(|reason| reason.rule.id).collect();
            format!("{} {}: {} ({})", change.node, change.what.name(), change.what, because.join(", "))
        })
        .collect()
}

/// Node 2 is fast and wide, node 3 slow and narrow: abstract distances 576, 576, 129, 8064.
fn hbm_and_far() -> Machine {
    lat_bw(
        four_domains().slit(&[&[10, 20, 15, 30], &[20, 10, 25, 40], &[15, 25, 10, 50], &[30, 40, 50, 10]]),
        &[Some(0), Some(1), Some(0), Some(0)],
        &[&[100, 200, 90, 350], &[200, 100, 200, 400]],
        &[&[10000, 5000, 40000, 2500], &[5000, 10000, 5000, 2500]],
    )
}

/// Nodes 0 and 1 with these figures for node 1; nodes 2 and 3 have 300 ns and 5000 MB/s.
fn two_kinds_of_dram(latency: u16, bandwidth: u16) -> Machine {
    lat_bw(
        four_domains(),
        &[Some(0), Some(1), Some(0), Some(0)],
        &[&[100, 200, 300, 300], &[200, latency, 300, 300]],
        &[&[10000, 5000, 5000, 5000], &[5000, bandwidth, 5000, 5000]],
    )
}

#[test]
fn an_empty_policy_changes_nothing() {
    let plan = owner(&hbm_and_far(), &Policy::default());
    assert_eq!(plan.kernel, plan.owner);
    assert_eq!(plan.changes, []);
}

#[test]
fn another_width_of_tiers() {
    let rules = TierRules { chunk: NonZeroU16::new(1000), ..TierRules::default() };
    let plan = owner(&hbm_and_far(), &Policy { tiers: rules, ..Policy::default() });
    assert_eq!(tiers(&plan), "0: 0-2; 8: 3");
    assert_eq!(demotion(&plan), "0>3 of 3 1>3 of 3 2>3 of 3");
    assert_eq!(
        changes(&plan),
        [
            "0 tier: memory_tier4 -> memory_tier0 (policy-chunk)",
            "1 tier: memory_tier4 -> memory_tier0 (policy-chunk)",
            "2 tier: memory_tier1 -> memory_tier0 (policy-chunk)",
            "2 demotion: 0 (of 0-1,3) -> 3 (of 3) (policy-chunk, demotion-next)",
            "3 tier: memory_tier63 -> memory_tier8 (policy-chunk)",
        ]
    );
    assert_eq!(plan.changes[2].because[0].detail.as_deref(), Some("abstract distance 129/1000"));
}

#[test]
fn classes_by_figures() {
    let class = |name: &str, latency: Option<u32>, bandwidth: Option<u32>| TierClass {
        name: name.into(),
        max_latency: latency.map(Nanoseconds),
        min_bandwidth: bandwidth.map(MegabytesPerSecond),
    };
    let classes = vec![class("wide", None, Some(20000)), class("near", Some(150), Some(9000))];
    let mut policy = Policy { tiers: TierRules { classes, ..TierRules::default() }, ..Policy::default() };
    let plan = owner(&hbm_and_far(), &policy);
    // Node 3 is in no class: two classes and 8064/128 = 63 tiers in front of it.
    assert_eq!(tiers(&plan), "wide: 2; near: 0-1; 65: 3");
    let last = plan.changes.last().unwrap();
    assert_eq!(last.because[0].rule.id, "policy-no-class");
    assert!(plan.changes.iter().all(|change| change.what.name() == "tier"));

    policy.overrides =
        vec![Override { who: Selector::Node(NodeId(3)), what: Wish::Tier(TierName::Class("near".into())) }];
    assert_eq!(tiers(&owner(&hbm_and_far(), &policy)), "wide: 2; near: 0-1,3");
    policy.overrides[0].what = Wish::Tier(TierName::Class("slow".into()));
    assert!(
        matches!(try_owner(&hbm_and_far(), &[], &policy), Err(PolicyFailure::NoClass(name)) if name == "slow")
    );
}

#[test]
fn near_equal_nodes_share_a_tier() {
    // 576*220/200 = 633; *20000/18000 = 703: tier 5 for the kernel.
    let machine = two_kinds_of_dram(110, 9000);
    let near = |percent| TierRules { near_percent: Some(percent), ..TierRules::default() };
    let plan = owner(&machine, &Policy { tiers: near(10), ..Policy::default() });
    assert_eq!(tiers(&plan), "4: 0-1; 27: 2-3");
    assert_eq!(
        changes(&plan),
        [
            "0 demotion: 1 (of 1-3) -> 2-3 (of 2-3) (policy-near, demotion-next)",
            "1 tier: memory_tier5 -> memory_tier4 (policy-near)",
        ]
    );
    assert_eq!(plan.changes[1].because[0].detail.as_deref(), Some("within 10 % of node 0"));
    let plan = owner(&machine, &Policy { tiers: near(9), ..Policy::default() });
    assert_eq!(tiers(&plan), "4: 0; 5: 1; 27: 2-3");
}

#[test]
fn quirks_of_the_reference() {
    let with = |latency, bandwidth, quirk| {
        let plan = owner(&two_kinds_of_dram(latency, bandwidth), &without(&[quirk]));
        (tiers(&plan), demotion(&plan))
    };
    let expected = ("4: 0-1; 27: 2-3".to_owned(), "0>2-3 of 2-3 1>2-3 of 2-3".to_owned());
    // 576*222/200 = 639; *20000/20000 = 639, the last distance of tier 4.
    assert_eq!(with(111, 10000, Quirk::MismatchDisables), expected);
    assert_eq!(with(110, 0, Quirk::IncompleteDisables), expected);
    assert_eq!(with(110, 9000, Quirk::DramSpread), expected);
    let plan = owner(&two_kinds_of_dram(111, 10000), &without(&[Quirk::MismatchDisables]));
    assert_eq!(changes(&plan)[0], "0 demotion: nobody -> 2-3 (of 2-3) (mismatch-disables, demotion-next)");
    assert_eq!(changes(&plan)[2], "2 tier: memory_tier4 -> memory_tier27 (mismatch-disables)");
}

#[test]
fn quirks_of_the_arithmetic() {
    // 576*40/200 = 115.2 and *20000/6000 = 384, but 383 when 115.2 is cut first.
    let machine = lat_bw(
        four_domains(),
        &[Some(0), Some(1), Some(0), Some(0)],
        &[&[100, 200, 20, 300], &[200, 100, 300, 300]],
        &[&[10000, 5000, 3000, 5000], &[5000, 10000, 3000, 5000]],
    );
    let plan = owner(&machine, &without(&[Quirk::TruncatedDistance]));
    assert_eq!(tiers(&plan), "3: 2; 4: 0-1; 27: 3");
    assert_eq!(changes(&plan), ["2 tier: memory_tier2 -> memory_tier3 (truncated-distance)"]);

    // Node 2: reads 300 ns, writes unknown. 576*600/200*20000/10000 = 3456.
    let machine = four_domains().hmat(|hmat| {
        for (kind, unit, rows) in [
            (DataType::WRITE_LATENCY, 1000, [[100, 150, 0, 200], [150, 100, 0, 200]]),
            (DataType::READ_LATENCY, 1000, [[100, 150, 300, 200], [150, 100, 300, 200]]),
            (DataType::ACCESS_BANDWIDTH, 1, [[10000, 7000, 5000, 4000], [7000, 10000, 5000, 4000]]),
        ] {
            locality(hmat, kind, unit, &[0, 1], &[&rows[0], &rows[1]]);
        }
    });
    // Node 3: 576*400/200 = 1152; *20000/8000 = 2880.
    assert_eq!(tiers(&owner(&machine, &without(&[]))), "4: 0-1; 13: 2; 22: 3");
    assert_eq!(tiers(&owner(&machine, &without(&[Quirk::HalfKnown]))), "4: 0-1; 22: 3; 27: 2");
}

#[test]
fn quirks_of_demotion() {
    // The next tier of node 1 has node 2 at 40; behind it is node 3 at 30.
    let c = lat_bw(
        four_domains().slit(&[&[10, 20, 30, 40], &[20, 10, 40, 30], &[30, 40, 10, 50], &[40, 30, 50, 10]]),
        &[],
        &[&[100, 150, 300, 250], &[150, 100, 300, 251]],
        &[&[10000, 7000, 5000, 4000], &[7000, 10000, 5000, 4000]],
    );
    let plan = owner(&c, &without(&[Quirk::DemotionNextTier]));
    assert_eq!(demotion(&plan), "0>2 of 2-3 1>3 of 2-3 2>3 of 3");
    assert_eq!(changes(&plan), ["1 demotion: 2 (of 2-3) -> 3 (of 2-3) (demotion-next-tier, demotion-next)"]);
    // From node 1 node 0 is at 20 and node 3 at 21; a lower number and a processor make that 22 and 21.
    let f = lat_bw(
        four_domains().slit(&[&[10, 20, 30, 30], &[20, 10, 40, 21], &[30, 40, 10, 50], &[30, 30, 50, 10]]),
        &[Some(0), Some(1), Some(0), Some(0)],
        &[&[100, 100, 100, 100], &[100, 90, 100, 100]],
        &[&[10000, 10000, 10000, 10000], &[10000, 11000, 10000, 10000]],
    );
    let plan = owner(&f, &without(&[Quirk::DemotionPenalties]));
    assert_eq!(
        changes(&plan),
        ["1 demotion: 3 (of 0,2-3) -> 0 (of 0,2-3) (demotion-penalties, demotion-next)"]
    );
}

#[test]
fn quirks_of_the_tables() {
    let disabled = GenericAffinity { flags: GenericFlags(0).into(), ..initiator(5) };
    let mut machine = Machine::new(&[(1, 1024)], 2).srat(|srat| {
        srat.push(&cpu(0, 0));
        srat.push(&disabled);
        srat.push(&cpu(1, 1));
        push_all(srat, &[memory(0, 0, 512), memory(1, 512, 1024)]);
    });
    machine.kernel.switches.quirks = machine.kernel.switches.quirks.without(Quirk::InitiatorEndsWalk);
    assert_eq!(machine.plan().masks.unwrap().has_cpu.unwrap().to_string(), "0-1");

    let stray = |machine: Machine| {
        machine.hmat(|hmat| {
            hmat.push(&MemoryProximityAttributes::new(ProximityDomain(77), Some(ProximityDomain(0))));
            let rows: [&[u16]; 2] = [&[100, 200, 300, 300], &[200, 100, 300, 300]];
            locality(hmat, DataType::ACCESS_LATENCY, 1000, &[0, 1], &rows);
            let rows: [&[u16]; 2] = [&[10000, 5000, 5000, 5000], &[5000, 10000, 5000, 5000]];
            locality(hmat, DataType::ACCESS_BANDWIDTH, 1, &[0, 1], &rows);
        })
    };
    let machine = stray(four_domains());
    assert_eq!(tiers(&owner(&machine, &without(&[]))), "4: 0-3");
    assert_eq!(tiers(&owner(&machine, &without(&[Quirk::UnknownMemoryDropsHmat]))), "4: 0-1; 27: 2-3");
}

/// Memory in a CXL window behind the last domain of the SRAT, which is that of a generic port.
#[test]
fn devices_of_the_boot_and_the_port_of_a_window() {
    let port = GenericAffinity::port(ProximityDomain(2), Device::Acpi { hid: *b"ACPI0016", uid: AcpiUid(7) });
    let mut machine = Machine::new(&[(1, 1024)], 2)
        .srat(|srat| {
            push_all(srat, &[cpu(0, 0), cpu(1, 1)]);
            push_all(srat, &[memory(0, 0, 512), memory(1, 512, 1024)]);
            srat.push(&port);
        })
        .hmat(|hmat| {
            let lat: [&[u16]; 2] = [&[100, 150, 40], &[150, 100, 40]];
            let bw: [&[u16]; 2] = [&[10000, 7000, 8000], &[7000, 10000, 8000]];
            locality(hmat, DataType::ACCESS_LATENCY, 1000, &[0, 1], &lat);
            locality(hmat, DataType::ACCESS_BANDWIDTH, 1, &[0, 1], &bw);
        });
    let mut bytes = Vec::new();
    let mut writer = CedtWriter::new(&mut bytes, Default::default());
    let mut window: FixedMemoryWindowHeader = zerocopy::FromZeros::new_zeroed();
    window.r#type = 1.into();
    window.base_hpa = PhysAddr(8192 * MIB).into();
    window.window_size = ByteCount(4096 * MIB).into();
    writer.push_window(&window, &[AcpiUid(7)]).unwrap();
    writer.finish(Seal::Fill).unwrap();
    machine.tables.push(bytes);
    let range = AddressRange::from_base_size(PhysAddr(8192 * MIB), ByteCount(4096 * MIB)).unwrap();
    // In the domain that the kernel makes up for the window.
    let on = |domain: u32, policy: &Policy| {
        let devices = [MemoryDevice { range, domain: Some(ProximityDomain(domain)) }];
        try_owner(&machine, &devices, policy).unwrap()
    };
    let with = |policy: &Policy| on(2, policy);

    // On before the HMAT is read: tier 4, whatever the figures say.
    assert_eq!(tiers(&with(&without(&[]))), "4: 0-2");
    // The made-up domain is that of the port: 576*80/200 = 230; *20000/16000 = 287.
    let late = with(&without(&[Quirk::EarlyDevices]));
    assert_eq!(tiers(&late), "2: 2; 4: 0-1");
    // Behind the port's domain nothing is known of the memory.
    let apart = on(3, &without(&[Quirk::EarlyDevices, Quirk::PortCollision]));
    assert_eq!(tiers(&apart), "4: 0-2");

    let behind = wishes(&[(Selector::Port(AcpiUid(7)), Wish::Tier(TierName::Id(TierId(20))))]);
    assert_eq!(tiers(&with(&behind)), "4: 0-1; 20: 2");
    let cxl = wishes(&[(Selector::Memory(MemoryType::Cxl), Wish::Distance(AbstractDistance(2560)))]);
    let plan = with(&cxl);
    assert_eq!(tiers(&plan), "4: 0-1; 20: 2");
    assert_eq!(changes(&plan)[2], "2 tier: memory_tier4 -> memory_tier20 (policy-distance)");
}

#[test]
fn a_domain_that_is_memory_and_port() {
    let port = GenericAffinity::port(ProximityDomain(2), Device::Acpi { hid: *b"ACPI0016", uid: AcpiUid(7) });
    let machine = Machine::new(&[(1, 1024)], 2).srat(|srat| {
        push_all(srat, &[cpu(0, 0), cpu(1, 1)]);
        push_all(srat, &[memory(0, 0, 512), memory(1, 512, 768), memory(2, 768, 1024)]);
        srat.push(&port);
    });
    let mut machine = lat_bw(
        machine,
        &[],
        &[&[100, 150, 300], &[150, 100, 300]],
        &[&[10000, 7000, 5000], &[7000, 10000, 5000]],
    );
    let shown =
        |machine: &Machine| machine.plan().nodes[2].access[1].clone().and_then(|class| class.coordinates);
    assert_eq!(shown(&machine), None);
    machine.kernel.switches.quirks = machine.kernel.switches.quirks.without(Quirk::PortHidesMemory);
    let figures = shown(&machine).unwrap();
    assert_eq!((figures.read_latency.0, figures.write_bandwidth.0), (300, 5000));
}

#[test]
fn tiers_and_targets_by_wish() {
    let machine = hbm_and_far();
    assert_eq!(demotion(&owner(&machine, &without(&[]))), "0>3 of 3 1>3 of 3 2>0 of 0-1,3");

    let moved = owner(
        &machine,
        &wishes(&[(Selector::Domain(ProximityDomain(3)), Wish::Tier(TierName::Id(TierId(4))))]),
    );
    assert_eq!((tiers(&moved), demotion(&moved)), ("1: 2; 4: 0-1,3".into(), "2>0 of 0-1,3".into()));
    assert_eq!(
        changes(&moved),
        [
            "0 demotion: 3 (of 3) -> nobody (policy-tier, demotion-last)",
            "1 demotion: 3 (of 3) -> nobody (policy-tier, demotion-last)",
            "3 tier: memory_tier63 -> memory_tier4 (policy-tier)",
        ]
    );
    let kinds = [(Selector::Memory(MemoryType::CpuLess), Wish::Distance(AbstractDistance(600)))];
    assert_eq!(tiers(&owner(&machine, &wishes(&kinds))), "4: 0-3");

    let spared = owner(&machine, &wishes(&[(Selector::Node(NodeId(3)), Wish::NotTo)]));
    assert_eq!(demotion(&spared), "2>0 of 0-1");
    assert_eq!(changes(&spared)[0], "0 demotion: 3 (of 3) -> nobody (policy-limits, demotion-forbidden)");
    let kept = owner(&machine, &wishes(&[(Selector::Memory(MemoryType::Dram), Wish::NotFrom)]));
    assert_eq!(demotion(&kept), "2>0 of 0-1,3");
    let only = [NodeId(3)].into_iter().collect();
    let far = owner(&machine, &wishes(&[(Selector::Node(NodeId(2)), Wish::Targets(only))]));
    assert_eq!(demotion(&far), "0>3 of 3 1>3 of 3 2>3 of 3");

    let nobody = owner(&machine, &wishes(&[(Selector::Dax(0), Wish::NotTo)]));
    assert_eq!((nobody.changes.len(), nobody.unmatched.len()), (0, 1));
}

/// The memory that a generic initiator reaches best.
#[test]
fn wishes_for_the_memory_of_an_initiator() {
    let machine = Machine::new(&[(1, 1024)], 2)
        .srat(|srat| {
            srat.push(&initiator(9));
            push_all(srat, &[cpu(0, 0), cpu(1, 1)]);
            push_all(
                srat,
                &[memory(0, 0, 256), memory(1, 256, 512), memory(2, 512, 768), memory(3, 768, 1024)],
            );
        })
        .hmat(|hmat| {
            let lat: [&[u16]; 3] = [&[100, 150, 300, 260], &[150, 100, 300, 250], &[200, 200, 50, 270]];
            let bw: [&[u16]; 3] =
                [&[10000, 7000, 5000, 4000], &[7000, 10000, 5000, 4000], &[6000, 6000, 20000, 900]];
            locality(hmat, DataType::ACCESS_LATENCY, 1000, &[0, 1, 9], &lat);
            locality(hmat, DataType::ACCESS_BANDWIDTH, 1, &[0, 1, 9], &bw);
        });
    let device = Selector::Initiator(ProximityDomain(9));
    let plan = owner(&machine, &wishes(&[(device, Wish::Tier(TierName::Id(TierId(1))))]));
    // Domain 2 is node 3; 576*500/200*20000/8000 = 3600 for node 4.
    assert_eq!(tiers(&plan), "1: 3; 4: 1-2; 28: 4");
}

#[test]
fn a_move_can_be_undone() {
    let machine = hbm_and_far();
    let topology = machine.topology();
    let inputs = Inputs {
        topology: &topology,
        memory_map: &machine.map,
        memory_devices: &[],
        kernel: &machine.kernel,
    };
    let mut state = State::boot(inputs).unwrap();
    let before = state.plan();
    state.move_node(NodeId(2), TierId(63)).unwrap();
    let plan = state.plan();
    let of = |node: u32| plan.demotion.as_ref().unwrap()[&NodeId(node)].preferred.to_string();
    // From node 0 node 2 is at 15 and node 3 at 30; the others see the same.
    assert_eq!((of(0), of(1), of(2), of(3)), ("2".into(), "2".into(), String::new(), String::new()));
    assert_eq!(state.tiers.distance[&NodeId(2)], AbstractDistance(63 * 128 + 64));
    assert!(state.undo_move(NodeId(2)) && !state.undo_move(NodeId(2)));
    let after = state.plan();
    assert_eq!((&after.tiers, &after.demotion), (&before.tiers, &before.demotion));
    assert_eq!(after.reasons.len(), before.reasons.len());
    assert!(state.move_node(NodeId(9), TierId(1)).is_err());
}

/// A node with a processor whose memory comes later: its figures are known before.
#[test]
fn weights_of_memory_that_comes_later() {
    let mut machine = Machine::new(&[(1, 1024)], 2)
        .srat(|srat| {
            push_all(srat, &[cpu(0, 0), cpu(1, 1)]);
            push_all(srat, &[memory(0, 0, 1024), memory(1, 4096, 5120)]);
        })
        .hmat(|hmat| {
            locality(hmat, DataType::ACCESS_LATENCY, 1000, &[0, 1], &[&[10, 20], &[20, 20]]);
            locality(hmat, DataType::ACCESS_BANDWIDTH, 1, &[0, 1], &[&[10, 5], &[5, 5]]);
        });
    let weights = |machine: &Machine| {
        let topology = machine.topology();
        let inputs = Inputs {
            topology: &topology,
            memory_map: &machine.map,
            memory_devices: &[],
            kernel: &machine.kernel,
        };
        let range = AddressRange::from_base_size(PhysAddr(4096 * MIB), ByteCount(1024 * MIB)).unwrap();
        let event = Event::AddMemory(MemoryDevice { range, domain: Some(ProximityDomain(1)) });
        let steps = State::boot(inputs).unwrap().steps(&[event]);
        let after = steps[0].after.as_ref().unwrap();
        after.weights.as_ref().unwrap().weights.iter().map(|(_, weight)| *weight).collect::<Vec<_>>()
    };
    assert_eq!(weights(&machine), [1, 1]);
    // 32*10/15 = 21, 32*5/15 = 10.
    machine.kernel.switches.quirks = machine.kernel.switches.quirks.without(Quirk::StaleWeights);
    assert_eq!(weights(&machine), [21, 10]);
}
