//! Worked examples and traps whose outcome was seen on a booted Linux 7.2.12, rebuilt with the writers of the
//! library. The numbers are those of the kernel, not of this program.
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

use machine::{MIB, Machine, cpu, four_domains, initiator, lat_bw, locality, memory, push_all};
use memtopo::linux::{Inputs, Outcome, State};
use memtopo::tables::cedt::{CedtWriter, FixedMemoryWindowHeader};
use memtopo::tables::hmat::{DataType, LocalityHeader, MemoryProximityAttributes};
use memtopo::tables::output::Seal;
use memtopo::tables::srat::{GenericAffinity, GenericFlags, MemoryAffinity, MemoryFlags, X2ApicAffinity};
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{AcpiUid, ApicId, ByteCount, EntryBaseUnit, NodeId, PhysAddr, ProximityDomain};
use std::time::{Duration, Instant};

/// Example A: numbers go to domains in order of first use, processors and initiators first.
#[test]
fn node_numbers() {
    let hot = MemoryAffinity::new(
        ProximityDomain(77),
        PhysAddr(64 << 30),
        ByteCount(1 << 30),
        MemoryFlags::ENABLED.union(MemoryFlags::HOT_PLUGGABLE),
    );
    let machine = Machine::new(&[(1, 1024)], 2).srat(|srat| {
        push_all(srat, &[memory(9, 0, 512)]);
        srat.push(&X2ApicAffinity::new(ProximityDomain(40), ApicId(1)));
        srat.push(&cpu(7, 0));
        srat.push(&initiator(300));
        push_all(srat, &[memory(5, 512, 1024), hot]);
    });
    let plan = machine.plan();
    let masks = plan.masks.as_ref().unwrap();
    assert_eq!(masks.possible.to_string(), "0-5");
    assert_eq!(masks.online.to_string(), "0-4");
    assert_eq!(masks.has_memory.to_string(), "3-4");
    assert_eq!(masks.has_cpu.as_ref().unwrap().to_string(), "0-1");
    assert_eq!(masks.has_generic_initiator.to_string(), "2");
    assert_eq!(plan.nodes[0].cpus.as_deref(), Some(&[1][..]));
    let domains: Vec<_> = plan.nodes.iter().map(|node| node.domain.unwrap().0).collect();
    assert_eq!(domains, [40, 7, 300, 9, 5]);
}

/// Examples C and F: ties, tiers, and demotion that picks a farther node.
#[test]
fn tiers_and_demotion() {
    let c = lat_bw(
        four_domains().slit(&[&[10, 20, 30, 40], &[20, 10, 40, 30], &[30, 40, 10, 50], &[40, 30, 50, 10]]),
        &[],
        &[&[100, 150, 300, 250], &[150, 100, 300, 251]],
        &[&[10000, 7000, 5000, 4000], &[7000, 10000, 5000, 4000]],
    );
    let (weights, tiers, demotion) = c.outcome();
    assert_eq!(weights, "11:11:5:4");
    assert_eq!(tiers, "4: 0-1; 27: 2; 28: 3");
    assert_eq!(demotion, "0>2 1>2 2>3");
    let plan = c.plan();
    let [_, class] = &plan.nodes[2].access;
    assert_eq!(class.as_ref().unwrap().initiators.to_string(), "0-1");
    let [_, class] = &plan.nodes[3].access;
    assert_eq!(class.as_ref().unwrap().initiators.to_string(), "0");

    let f = lat_bw(
        four_domains().slit(&[&[10, 20, 30, 30], &[20, 10, 40, 21], &[30, 40, 10, 50], &[30, 30, 50, 10]]),
        &[Some(0), Some(1), Some(0), Some(0)],
        &[&[100, 100, 100, 100], &[100, 90, 100, 100]],
        &[&[10000, 10000, 10000, 10000], &[10000, 11000, 10000, 10000]],
    );
    let plan = f.plan();
    let targets = &plan.demotion.as_ref().unwrap()[&NodeId(1)];
    assert_eq!((targets.preferred.to_string(), targets.fallback.to_string()), ("3".into(), "0,2-3".into()));
}

/// Examples D and H: DRAM nodes that differ, memory faster than DRAM.
#[test]
fn reference_dram() {
    let d = |node1_latency: u16, node1_bandwidth: u16| {
        lat_bw(
            four_domains(),
            &[Some(0), Some(1), Some(0), Some(0)],
            &[&[100, 200, 300, 300], &[200, node1_latency, 300, 300]],
            &[&[10000, 5000, 5000, 5000], &[5000, node1_bandwidth, 5000, 5000]],
        )
        .outcome()
    };
    assert_eq!(d(111, 10000), ("2:2:1:1".into(), "4: 0-3".into(), String::new()));
    assert_eq!(d(110, 9000), ("11:9:5:5".into(), "4: 0; 5: 1; 27: 2-3".into(), "0>1 1>2-3".into()));
    assert_eq!(d(110, 0), ("16:1:8:8".into(), "4: 0-3".into(), String::new()));
    let h = lat_bw(
        four_domains().slit(&[&[10, 20, 15, 30], &[20, 10, 25, 40], &[15, 25, 10, 50], &[30, 40, 50, 10]]),
        &[Some(0), Some(1), Some(0), Some(0)],
        &[&[100, 200, 90, 350], &[200, 100, 200, 400]],
        &[&[10000, 5000, 40000, 2500], &[5000, 10000, 5000, 2500]],
    );
    let expected = ("5:5:20:1".to_owned(), "1: 2; 4: 0-1; 63: 3".to_owned(), "0>3 1>3 2>0".to_owned());
    assert_eq!(h.outcome(), expected);
    let topology = h.topology();
    let inputs = Inputs { topology: &topology, memory_map: &h.map, memory_devices: &[], kernel: &h.kernel };
    assert_eq!(State::boot(inputs).unwrap().tiers.top, 4 * 128 + 127);
}

/// Example E: a generic initiator wins class 0 and has no say in class 1.
#[test]
fn initiators_of_both_classes() {
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
            for (memory, initiator) in [(0, 0), (1, 1), (3, 9)] {
                let initiator = Some(ProximityDomain(initiator));
                hmat.push(&MemoryProximityAttributes::new(ProximityDomain(memory), initiator));
            }
            let lat: [&[u16]; 3] = [&[100, 150, 300, 260], &[150, 100, 300, 250], &[200, 200, 50, 120]];
            let bw: [&[u16]; 3] =
                [&[10000, 7000, 5000, 4000], &[7000, 10000, 5000, 4100], &[6000, 6000, 20000, 9000]];
            locality(hmat, DataType::ACCESS_LATENCY, 1000, &[0, 1, 9], &lat);
            locality(hmat, DataType::ACCESS_BANDWIDTH, 1, &[0, 1, 9], &bw);
        });
    let (weights, tiers, _) = machine.outcome();
    assert_eq!((weights.as_str(), tiers.as_str()), ("10:10:5:4", "4: 1-2; 27: 3-4"));
    let plan = machine.plan();
    let shown = |node: usize, class: usize| {
        let access = plan.nodes[node].access[class].as_ref().unwrap();
        let figures = access.coordinates.unwrap();
        (access.initiators.to_string(), figures.read_latency.0, figures.read_bandwidth.0)
    };
    assert_eq!(shown(3, 0), ("0".into(), 50, 20000));
    assert_eq!(shown(3, 1), ("1-2".into(), 300, 5000));
    assert_eq!(shown(4, 0), ("0".into(), 120, 9000));
    assert_eq!(shown(4, 1), ("2".into(), 250, 4100));
}

/// Example G: each slot asks only the initiators that survived the one before.
#[test]
fn split_figures() {
    let machine = four_domains().hmat(|hmat| {
        for (kind, unit, rows) in [
            (DataType::WRITE_LATENCY, 1000, [[150, 100, 0, 200], [100, 150, 0, 200]]),
            (DataType::READ_LATENCY, 1000, [[150, 100, 300, 200], [100, 150, 300, 200]]),
            (DataType::WRITE_BANDWIDTH, 1, [[7000, 10000, 5000, 4001], [10000, 7000, 5000, 4000]]),
            (DataType::READ_BANDWIDTH, 1, [[7000, 10000, 5000, 4000], [10000, 7000, 5000, 9999]]),
        ] {
            locality(hmat, kind, unit, &[1, 0], &[&rows[0], &rows[1]]);
        }
    });
    let plan = machine.plan();
    let [_, class] = &plan.nodes[3].access;
    let figures = class.as_ref().unwrap().coordinates.unwrap();
    assert_eq!((figures.read_latency.0, figures.write_latency.0), (200, 200));
    assert_eq!((figures.read_bandwidth.0, figures.write_bandwidth.0), (4000, 4001));
    let [_, class] = &plan.nodes[2].access;
    assert_eq!(class.as_ref().unwrap().coordinates.unwrap().write_latency.0, 0);
    let (_, tiers, _) = machine.outcome();
    assert_eq!(tiers, "4: 0-1; 13: 2; 22: 3");
}

/// Example I: rounding of the HMAT's units, and figures beyond 16 bits.
#[test]
fn large_figures() {
    let machine = four_domains().hmat(|hmat| {
        let lat: [&[u16]; 2] = [&[100, 200, 301, 65534], &[200, 100, 301, 65534]];
        let bw: [&[u16]; 2] = [&[100, 50, 50, 1], &[50, 100, 50, 1]];
        locality(hmat, DataType::ACCESS_LATENCY, 999, &[0, 1], &lat);
        locality(hmat, DataType::ACCESS_BANDWIDTH, 1 << 20, &[0, 1], &bw);
    });
    let (weights, tiers, _) = machine.outcome();
    assert_eq!(weights, "12:12:6:1");
    assert!(tiers.ends_with("294610: 3"), "{tiers}");
    let [_, class] = &machine.plan().nodes[2].access;
    assert_eq!(class.as_ref().unwrap().coordinates.unwrap().read_latency.0, 301);
}

fn panics(machine: &Machine, rule: &str) {
    match machine.plan().outcome {
        Outcome::Panic(reason) => assert_eq!(reason.rule.id, rule),
        other => panic!("{other:?} in place of {rule}"),
    }
}

/// Traps 1, 2, 10, 17 and the fall back to one node.
#[test]
fn traps_of_the_srat() {
    let disabled = GenericAffinity { flags: GenericFlags(0).into(), ..initiator(5) };
    let machine = Machine::new(&[(1, 1024)], 2).srat(|srat| {
        srat.push(&cpu(0, 0));
        srat.push(&disabled);
        srat.push(&cpu(1, 1));
        push_all(srat, &[memory(0, 0, 512), memory(1, 512, 1024)]);
    });
    let mut machine = machine;
    machine.kernel.platform.cpu_vendor = Some(memtopo::linux::kernel::CpuVendor::Amd);
    machine.kernel.platform.cache_ids = vec![(ApicId(0), 0), (ApicId(1), 0)];
    assert_eq!(machine.plan().masks.unwrap().has_cpu.unwrap().to_string(), "0");

    let low_missing = Machine::new(&[(1, 1024)], 1).srat(|srat| {
        push_all(srat, &[memory(0, 1, 512), memory(1, 512, 1024)]);
    });
    panics(&low_missing, "numa-gap-crash");
    let two_mib_missing = Machine::new(&[(1, 1024)], 1).srat(|srat| {
        push_all(srat, &[memory(0, 0, 512), memory(1, 514, 1024)]);
    });
    assert_eq!(two_mib_missing.plan().masks.unwrap().possible.to_string(), "0");

    let conflict = |initiator_first: bool| {
        Machine::new(&[(1, 1024)], 1).srat(|srat| {
            if initiator_first {
                srat.push(&initiator(8));
            }
            srat.push(&cpu(0, 0));
            if !initiator_first {
                srat.push(&initiator(8));
            }
            push_all(srat, &[memory(0, 0, 600), memory(1, 512, 1024)]);
        })
    };
    assert_eq!(conflict(true).plan().masks.unwrap().has_generic_initiator.to_string(), "0");
    panics(&conflict(false), "initiator-crash");
}

/// `numa=noacpi` still walks the tables; `acpi=off` leaves one processor; `nosmp` and its like count processors.
#[test]
fn command_lines() {
    let with_initiators = |domains: &[u32], line: &str| four_domains_with(domains).line(line);
    let one = with_initiators(&[8], "numa=noacpi").plan();
    assert_eq!(one.masks.unwrap().has_generic_initiator.to_string(), "0");
    panics(&with_initiators(&[8, 9], "numa=noacpi"), "initiator-crash");
    let off = with_initiators(&[], "acpi=off").plan();
    assert_eq!(off.nodes[0].cpus.as_deref(), Some(&[0][..]));
    let masks = with_initiators(&[], "maxcpus=1").plan().masks.unwrap();
    assert_eq!((masks.online.to_string(), masks.has_cpu.unwrap().to_string()), ("0-3".into(), "0".into()));
    assert_eq!(with_initiators(&[], "nosmp").plan().masks.unwrap().has_cpu.unwrap().to_string(), "0");
}

fn four_domains_with(initiators: &[u32]) -> Machine {
    Machine::new(&[(1, 1024)], 2).srat(|srat| {
        initiators.iter().for_each(|domain| srat.push(&initiator(*domain)));
        push_all(srat, &[cpu(0, 0), cpu(1, 1)]);
        push_all(srat, &[memory(0, 0, 256), memory(1, 256, 512), memory(2, 512, 768), memory(3, 768, 1024)]);
    })
}

/// A node that has no memory and `numa=fake=`: the kernel dies without a SLIT.
#[test]
fn emulation_with_a_spare_node() {
    let spare = |machine: Machine| {
        machine
            .srat(|srat| {
                push_all(srat, &[cpu(0, 0), cpu(1, 1)]);
                push_all(srat, &[memory(0, 0, 1024), memory(1, 4096, 8192)]);
            })
            .line("numa=fake=4")
    };
    panics(&spare(Machine::new(&[(1, 1024)], 2)), "fake-crash");
    let with_slit = spare(Machine::new(&[(1, 1024)], 2)).slit(&[&[10, 20], &[20, 10]]);
    assert_eq!(with_slit.plan().masks.unwrap().has_memory.to_string(), "0-3");
}

/// An HMAT whose list sizes overflow the kernel's check, and values behind the end of a copied table.
#[test]
fn tables_that_run_on() {
    let mut header = LocalityHeader::new(DataType::ACCESS_LATENCY, EntryBaseUnit(1));
    header.initiator_count = 2.into();
    header.target_count = (1 << 31).into();
    header.length = memtopo::tables::wire::Length(40).into();
    let mut raw = zerocopy::IntoBytes::as_bytes(&header).to_vec();
    raw.extend([0; 8]);
    panics(&four_domains().hmat(|hmat| hmat.push_raw(&raw)), "hmat-crash");

    let mut cut = lat_bw(
        four_domains(),
        &[],
        &[&[100, 150, 300, 250], &[150, 100, 300, 251]],
        &[&[10000, 7000, 5000, 4000], &[7000, 10000, 5000, 4000]],
    );
    let hmat = cut.tables.last_mut().unwrap();
    let length = u32::try_from(hmat.len() - 4).unwrap();
    hmat[4..8].copy_from_slice(&length.to_le_bytes());
    let plan = cut.plan();
    assert_eq!(plan.outcome, Outcome::Ok);
    assert!(
        plan.masks.is_some() && plan.tiers.is_none() && plan.weights.is_none() && plan.demotion.is_none()
    );
    assert!(plan.unknown.iter().any(|unknown| unknown.missing.contains("HMAT+")));
    // The same bytes in a memory image tell everything.
    let image = cut.tables.pop().unwrap();
    let topology = Topology::read(
        cut.tables
            .iter()
            .map(|table| TableBytes::copy(table).unwrap())
            .chain([TableBytes::in_memory(&image).unwrap()]),
    );
    let inputs =
        Inputs { topology: &topology, memory_map: &cut.map, memory_devices: &[], kernel: &cut.kernel };
    assert_eq!(memtopo::linux::plan(inputs).tiers.unwrap().len(), 3);
}

/// CXL windows: a node of their own, or part of the memory they meet.
#[test]
fn windows() {
    let mut machine = four_domains();
    let mut bytes = Vec::new();
    let mut writer = CedtWriter::new(&mut bytes, Default::default());
    for (base, size) in [(768, 1024), (8192, 4096), (16384, 4096)] {
        let mut window: FixedMemoryWindowHeader = zerocopy::FromZeros::new_zeroed();
        window.r#type = 1.into();
        window.base_hpa = PhysAddr(base * MIB).into();
        window.window_size = ByteCount(size * MIB).into();
        writer.push_window(&window, &[AcpiUid(7)]).unwrap();
    }
    writer.finish(Seal::Fill).unwrap();
    machine.tables.push(bytes);
    let topology = machine.topology();
    let inputs = Inputs {
        topology: &topology,
        memory_map: &machine.map,
        memory_devices: &[],
        kernel: &machine.kernel,
    };
    let state = State::boot(inputs).unwrap();
    assert_eq!(state.nodes.possible.to_string(), "0-5");
    assert_eq!(state.nodes.online.to_string(), "0-3");
    let target = |address: u64| state.nodes.target_node(PhysAddr(address * MIB), &machine.kernel);
    assert_eq!(target(1536), Some(NodeId(3)));
    assert_eq!(target(9000), Some(NodeId(4)));
    assert_eq!(target(17000), Some(NodeId(5)));
    assert_eq!(state.nodes.block_size_advice, Some(256 * MIB));
    assert!(state.nodes.backed_by_real_domain(NodeId(3)) && !state.nodes.backed_by_real_domain(NodeId(4)));
}

/// A thousand nodes with everything described: work grows with the size of the tables, not faster.
#[test]
fn a_thousand_nodes() {
    const NODES: u16 = 1000;
    let build = |nodes: u16| {
        let all: Vec<u32> = (0..u32::from(nodes)).collect();
        let rows = |same: u16, other: u16| -> Vec<Vec<u16>> {
            let cell =
                |a: &u32, b: &u32| if a == b { same } else { other + u16::try_from((a ^ b) % 97).unwrap() };
            all.iter().map(|a| all.iter().map(|b| cell(a, b)).collect()).collect()
        };
        let mut machine = Machine::new(&[(1, 64 * u64::from(nodes))], 8);
        machine = machine.srat(|srat| {
            for node in 0..8 {
                srat.push(&cpu(node, u8::try_from(node).unwrap()));
            }
            for node in 0..u64::from(nodes) {
                srat.push(&memory(u32::try_from(node).unwrap(), 64 * node, 64 * (node + 1)));
            }
        });
        let slit: Vec<Vec<u8>> = rows(10, 20)
            .iter()
            .map(|row| row.iter().map(|cell| u8::try_from(*cell).unwrap()).collect())
            .collect();
        let slit: Vec<&[u8]> = slit.iter().map(Vec::as_slice).collect();
        machine = machine.slit(&slit);
        machine.hmat(|hmat| {
            for (kind, unit, same, other) in
                [(DataType::ACCESS_LATENCY, 1000, 100, 200), (DataType::ACCESS_BANDWIDTH, 1, 10000, 4000)]
            {
                let rows = rows(same, other);
                let rows: Vec<&[u16]> = rows.iter().map(Vec::as_slice).collect();
                locality(hmat, kind, unit, &all, &rows);
            }
        })
    };
    let time = |machine: &Machine| {
        (0..3)
            .map(|_| {
                let start = Instant::now();
                let plan = machine.plan();
                assert!(plan.masks.is_some());
                start.elapsed()
            })
            .min()
            .unwrap()
    };
    let (small, large) = (build(NODES / 4), build(NODES));
    let (quick, slow) = (time(&small), time(&large));
    let bytes: usize = large.tables.iter().map(Vec::len).sum();
    println!("{NODES} nodes, {bytes} bytes of tables: {slow:?}; a quarter of the nodes: {quick:?}");
    // Sixteen times the cells; cubic work would be 64 times.
    assert!(slow < quick.max(Duration::from_micros(500)) * 40, "{slow:?} against {quick:?}");
    let plan = large.plan();
    assert_eq!(plan.masks.unwrap().online.len(), usize::from(NODES));
}
