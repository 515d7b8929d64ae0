//! The chain of reasons of small machines: whole screens whose arithmetic was done by hand, and facts that stand where
//! they say.
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

use machine::{Machine, cpu, four_domains, lat_bw, locality, memory, push_all};
use memtopo::bundle::memory_map;
use memtopo::linux::tiers::TierId;
use memtopo::linux::{Inputs, Kernel, Plan, plan};
use memtopo::render::explain::{Question, explain};
use memtopo::render::style::Colour;
use memtopo::tables::hmat::{DataType, MemoryProximityAttributes};
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{NodeId, PhysAddr, ProximityDomain};
use std::path::Path;

fn screen(plan: &Plan, question: Question) -> String {
    let mut text = String::new();
    explain(&mut text, plan, question, Colour::Off).unwrap();
    text
}

/// Two processors on node 0, 512 MiB on each of two nodes; latency 10 and 20 ns, bandwidth 10 and 5 MB/s.
fn two_nodes() -> Machine {
    Machine::new(&[(1, 1024)], 2)
        .srat(|srat| {
            push_all(srat, &[cpu(0, 0), cpu(0, 1)]);
            push_all(srat, &[memory(0, 0, 512), memory(1, 512, 1024)]);
        })
        .hmat(|hmat| {
            for domain in [0, 1] {
                hmat.push(&MemoryProximityAttributes::new(ProximityDomain(domain), Some(ProximityDomain(0))));
            }
            locality(hmat, DataType::ACCESS_LATENCY, 10_000, &[0], &[&[1, 2]]);
            locality(hmat, DataType::ACCESS_BANDWIDTH, 1, &[0], &[&[10, 5]]);
        })
}

/// Cells and base units stand at the offsets that reasons give.
fn check_facts(plan: &Plan, tables: &[Vec<u8>]) -> usize {
    let mut checked = 0;
    for fact in plan.reasons.iter().flat_map(|(_, reason)| &reason.facts) {
        let Some(source) = fact.source else { continue };
        let table = tables.iter().find(|table| table[..4] == source.table.0).expect("the table of a fact");
        let at = usize::try_from(source.offset).unwrap();
        let value = match fact.name {
            "cell" => u64::from(u16::from_le_bytes(table[at..at + 2].try_into().unwrap())),
            "base unit" => u64::from_le_bytes(table[at..at + 8].try_into().unwrap()),
            "APIC id" => u64::from(table[at + 3]),
            "distance" => u64::from(table[at]),
            _ => continue,
        };
        assert_eq!(value, fact.value, "{fact}");
        checked += 1;
    }
    checked
}

#[test]
fn node_1_of_two_nodes() {
    let text = screen(&two_nodes().plan(), Question::Node(NodeId(1)));
    println!("{text}");
    assert_eq!(text, NODE_1);
}

#[test]
fn other_questions() {
    let plan = two_nodes().plan();
    let tier = screen(&plan, Question::Tier(TierId(4)));
    assert!(tier.starts_with("memory_tier4: node 0, abstract distance 512 to 639\n"), "{tier}");
    // Node 0 was first in its own list; node 1 stood in for it once.
    for step in
        ["576*(10+10)=11520", "/20=576", "*20=11520", "576>>7=4", "node 1: (20+0+0)*1024+1=20481 first"]
    {
        assert!(tier.contains(&format!("  {step}\n")), "{step}: {tier}");
    }
    let address = screen(&plan, Question::Address(PhysAddr(0x2100_0000)));
    let head = "address 0x21000000: memory of node 1\n\nmemory map: 0x00100000-0x3fffffff System RAM\nmemory entry: 0x20000000-0x3fffffff of domain 1 (SRAT+0x78)\nRAM of the boot: 0x20000000-0x3fffffff of node 1\n\nnode 1: proximity domain 1, ";
    assert!(address.starts_with(head), "{address}");
    let nowhere = screen(&plan, Question::Address(PhysAddr(1 << 40)));
    assert_eq!(nowhere, "address 0x10000000000: no RAM, and no node has it\n\nmemory map: no entry\n");
}

#[test]
fn facts_stand_where_they_say() {
    let machine = lat_bw(
        four_domains().slit(&[&[10, 20, 30, 40], &[20, 10, 40, 30], &[30, 40, 10, 50], &[40, 30, 50, 10]]),
        &[],
        &[&[100, 150, 300, 250], &[150, 100, 300, 251]],
        &[&[10000, 7000, 5000, 4000], &[7000, 10000, 5000, 4000]],
    );
    let plan = machine.plan();
    // Four nodes, two classes, latency and bandwidth, a cell and a unit each; three targets; two processors.
    assert_eq!(check_facts(&plan, &machine.tables), 4 * 2 * 2 * 2 + 3 + 2);
    let node = screen(&plan, Question::Node(NodeId(3)));
    for line in [
        "  of 2 initiators domain 0 remains\n",
        "  Access Latency: 250*1000=250000 ps\n  (250000+999)/1000=250 ns\n",
        "  576*(250+250)=288000\n  /200=1440\n  *20000=28800000\n  /8000=3600\n  3600>>7=28\n",
    ] {
        assert!(node.contains(line), "{line}: {node}");
    }
}

/// The machine whose boot was captured.
#[test]
fn the_captured_two_nodes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/oracle/cases/mission-2node");
    if !folder.is_dir() {
        eprintln!("SKIPPED: the capture in {} is not there", folder.display());
        return;
    }
    let tables: Vec<Vec<u8>> = ["APIC", "SRAT", "HMAT"]
        .map(|name| std::fs::read(folder.join("tables").join(name).with_extension("bin")).unwrap())
        .into();
    let topology = Topology::read(tables.iter().map(|table| TableBytes::copy(table).unwrap()));
    let log = std::fs::read(folder.join("dmesg.txt")).unwrap();
    let maps = memory_map::read_text(&log);
    let memory_map = maps.firmware().unwrap();
    let kernel = Kernel::default();
    let plan = plan(Inputs { topology: &topology, memory_map, memory_devices: &[], kernel: &kernel });
    // Two nodes, two classes, two figures of a cell and a unit, two processors; no SLIT.
    assert_eq!(check_facts(&plan, &tables), 2 * 2 * 2 * 2 + 2);
    let text = screen(&plan, Question::Node(NodeId(1)));
    for line in [
        "node 1: proximity domain 1, 511.8 MiB of RAM, memory_tier18, demotes to nobody\n",
        "  cell 2 (HMAT+0xa6)\n  base unit 10000 ps (HMAT+0x90)\n  Access Latency: 2*10000=20000 ps\n  (20000+999)/1000=20 ns\n",
        "  cell 5 (HMAT+0xd6)\n  base unit 1 MB/s (HMAT+0xc0)\n  Access Bandwidth: 5*1=5 MB/s\n",
        "  cell 1 (HMAT+0xa4)\n",
        "  node 0\n  latency sum 20 ns\n  bandwidth sum 20 MB/s\n  10+10=20 ns\n  10+10=20 MB/s\n",
        "  576*(20+20)=23040\n  /20=1152\n  *20=23040\n  /10=2304\n  2304>>7=18\n",
        "  32*5=160\n  /15=10\n  /1=10\n",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
}

/// Where each number comes from, found by hand from the tables' layouts and the kernel's rules, the figures once more in
/// the second worked example of the sheet on nodes and tiers, whose kernel was booted:
///
/// * SRAT: 48 bytes of header, two processors of 16 bytes, memory of 40 bytes each: the second memory entry stands at
///   48 + 32 + 40 = 0x78. It holds 512 MiB = 536870912 bytes from 512 MiB = 0x20000000 on.
/// * HMAT: 40 bytes of header, two attributes of 40 bytes at 0x28 and 0x50, and latency at 0x78. There the base unit is
///   24 bytes in, at 0x90; behind 32 bytes of header follow one initiator and two targets of 4 bytes each, so the cells
///   of the two nodes are at 0x78 + 32 + 12 = 0xa4 and 0xa6. The structure has 48 bytes; bandwidth follows at 0xa8,
///   with its unit at 0xc0 and its cells at 0xd4 and 0xd6.
/// * Figures: cells 1 and 2 of 10000 ps are 10 and 20 ns, with (ps + 999) / 1000; cells 10 and 5 are MB/s as they stand.
/// * Reference: node 0 has both processors and memory; read and write are the same, so 10 + 10 ns and 10 + 10 MB/s.
/// * Tier: 576 * 40 = 23040; / 20 = 1152; * 20 = 23040; / (5 + 5) = 2304 = 18 * 128.
/// * Weights: 10 + 5 = 15 MB/s; 32 * 10 / 15 = 21 and 32 * 5 / 15 = 10, which have no common divisor but 1.
const NODE_1: &str = "\
node 1: proximity domain 1, 512 MiB of RAM, memory_tier18, demotes to nobody

node description: the SRAT describes the nodes
  numa-described drivers/acpi/numa/srat.c: acpi_numa_init
node 1: node numbers are handed out in the order in which proximity domains are first used: processors and initiators in table order, then memory, then windows
  proximity domain 1 (SRAT+0x78)
  node-first-use drivers/acpi/numa/srat.c: acpi_map_pxm_to_node
memory entry: 0x20000000-0x3fffffff of domain 1 (SRAT+0x78)
node 1 online: a node that owns RAM is online
  RAM 536870912 bytes
  online-memory arch/x86/mm/numa.c: numa_register_nodes
distances: without a SLIT the distance is 10 to the node itself and 20 to any other
  distance-default mm/numa_memblks.c: __node_distance
distances to online nodes: 20 10
node 1 access0 and access1: memory that is attached to an initiator shows the figures from that initiator
  attached initiator domain 0 (HMAT+0x50)
  access-attached drivers/acpi/numa/hmat.c: hmat_update_target_attrs
node 1 access0 and access1: a cell of the HMAT times the base unit of its structure is the figure: picoseconds are rounded up to nanoseconds, MB/s stay; 0 and 0xffff are unknown
  cell 2 (HMAT+0xa6)
  base unit 10000 ps (HMAT+0x90)
  Access Latency: 2*10000=20000 ps
  (20000+999)/1000=20 ns
  cell 5 (HMAT+0xd6)
  base unit 1 MB/s (HMAT+0xc0)
  Access Bandwidth: 5*1=5 MB/s
  hmat-figure drivers/acpi/numa/hmat.c: hmat_normalize
node 0 access1: memory that is attached to an initiator shows the figures from that initiator
  attached initiator domain 0 (HMAT+0x28)
  access-attached drivers/acpi/numa/hmat.c: hmat_update_target_attrs
node 0 access1: a cell of the HMAT times the base unit of its structure is the figure: picoseconds are rounded up to nanoseconds, MB/s stay; 0 and 0xffff are unknown
  cell 1 (HMAT+0xa4)
  base unit 10000 ps (HMAT+0x90)
  Access Latency: 1*10000=10000 ps
  (10000+999)/1000=10 ns
  cell 10 (HMAT+0xd4)
  base unit 1 MB/s (HMAT+0xc0)
  Access Bandwidth: 10*1=10 MB/s
  hmat-figure drivers/acpi/numa/hmat.c: hmat_normalize
reference DRAM: the reference is the first node with processors and memory
  node 0
  latency sum 20 ns
  bandwidth sum 20 MB/s
  10+10=20 ns
  10+10=20 MB/s
  reference drivers/acpi/numa/hmat.c: hmat_set_default_dram_perf
node 1 tier: the abstract distance is 576 times the latency and divided by the bandwidth relative to the reference DRAM; 128 of it are one tier
  proximity domain 1 (SRAT+0x78)
  latency sum 40 ns
  bandwidth sum 10 MB/s
  576*(20+20)=23040
  /20=1152
  *20=23040
  /10=2304
  2304>>7=18
  tier-distance mm/memory-tiers.c: mt_perf_to_adistance
node 1 demotion: a node of the slowest tier demotes to nobody
  demotion-last mm/memory-tiers.c: establish_demotion_targets
interleave weight: weights follow the narrower of read and write bandwidth that nodes with memory show for processors
  sum 15 MB/s
  common divisor 1
  weights-auto mm/mempolicy.c: mempolicy_set_node_perf
interleave weight: each weight is 32 times the node's share of all bandwidth, at least 1, reduced by their common divisor
  32*5=160
  /15=10
  /1=10
  weights-bandwidth mm/mempolicy.c: reduce_interleave_weights
";
