//! Twelve machines, each about one thing, whose captured boots are kept in the repository.

use crate::boot;
use crate::case::{Case, Located};
use crate::random::machine::{Affinity, Hmat, Machine, Part, Slit, Srat, Window};
use crate::workshop::{Kernel, Workshop};
use anyhow::{Context, Result};
use serde_json::{Value, json};
use std::path::Path;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;

/// One of the twelve.
#[derive(Clone, Debug)]
pub struct Smoke {
    /// Name of its folder.
    pub name: &'static str,
    /// What it is about.
    pub description: &'static str,
    /// Its tables and options.
    pub machine: Machine,
    /// Events after the boot.
    pub events: Vec<Value>,
}

fn cpu(domain: u32, id: u32) -> Affinity {
    Affinity::Processor { domain, id, x2apic: false, enabled: true }
}

fn memory(domain: u32, start: u64, size: u64) -> Affinity {
    Affinity::Memory { domain, start, size, flags: 1 }
}

fn hot_pluggable(domain: u32, start: u64, size: u64) -> Affinity {
    Affinity::Memory { domain, start, size, flags: 3 }
}

fn srat(entries: Vec<Affinity>) -> Option<Srat> {
    Some(Srat { revision: 3, entries })
}

/// Latencies in nanoseconds or bandwidths in MB/s, in a table of revision 2.
fn locality(data_type: u8, initiators: &[u32], targets: &[u32], cells: &[u16]) -> Part {
    let unit = if data_type < 3 { 1000 } else { 1 };
    let (initiators, targets) = (initiators.to_vec(), targets.to_vec());
    Part::Locality { flags: 0, data_type, unit, initiators, targets, cells: cells.to_vec() }
}

fn attached(memory: u32, initiator: u32) -> Part {
    Part::Proximity { memory, initiator, flags: 1 }
}

fn hmat(parts: Vec<Part>) -> Option<Hmat> {
    Some(Hmat { revision: 2, parts })
}

/// The twelve.
#[must_use]
pub fn all() -> Vec<Smoke> {
    let plain = || Machine { mebibytes: 1024, processors: 2, ..Machine::default() };
    let halves = || vec![cpu(0, 0), cpu(0, 1), memory(0, 0, 512 * MIB), memory(1, 512 * MIB, 512 * MIB)];
    let quarters = || (0..4).map(|n| memory(n, u64::from(n) * 256 * MIB, 256 * MIB));
    let smoke = |name, description, machine| Smoke { name, description, machine, events: Vec::new() };
    vec![
        smoke(
            "two-tiers",
            "a slower node without processors",
            Machine {
                srat: srat(halves()),
                hmat: hmat(vec![
                    attached(0, 0),
                    attached(1, 0),
                    locality(0, &[0], &[0, 1], &[100, 250]),
                    locality(3, &[0], &[0, 1], &[20_000, 8_000]),
                ]),
                ..plain()
            },
        ),
        smoke(
            "sparse-domains",
            "domains 9 and 4, distances by domain number",
            Machine {
                srat: srat(vec![
                    cpu(9, 0),
                    cpu(4, 1),
                    memory(4, 0, 384 * MIB),
                    memory(9, 384 * MIB, 640 * MIB),
                ]),
                slit: Some(Slit {
                    localities: 10,
                    cells: (0..100).map(|place| if place % 11 == 0 { 10 } else { 30 + place / 10 }).collect(),
                }),
                ..plain()
            },
        ),
        smoke(
            "revision-1-units",
            "an HMAT of revision 1: tenths of nanoseconds and of MB/s",
            Machine {
                srat: srat(halves()),
                hmat: Some(Hmat {
                    revision: 1,
                    parts: vec![
                        Part::Proximity { memory: 0, initiator: 0, flags: 3 },
                        Part::Proximity { memory: 1, initiator: 0, flags: 2 },
                        Part::Locality {
                            flags: 0,
                            data_type: 0,
                            unit: 10,
                            initiators: vec![0],
                            targets: vec![0, 1],
                            cells: vec![90, 145],
                        },
                        Part::Locality {
                            flags: 0,
                            data_type: 3,
                            unit: 10,
                            initiators: vec![0],
                            targets: vec![0, 1],
                            cells: vec![12_000, 9_000],
                        },
                    ],
                }),
                ..plain()
            },
        ),
        smoke(
            "empty-nodes",
            "a node with a processor only, and two with memory only",
            Machine {
                srat: srat(vec![
                    cpu(2, 0),
                    cpu(0, 1),
                    memory(0, 0, 512 * MIB),
                    memory(1, 512 * MIB, 256 * MIB),
                    memory(3, 768 * MIB, 256 * MIB),
                ]),
                ..plain()
            },
        ),
        smoke(
            "initiator-nearer",
            "a generic initiator is nearer to a node than any processor",
            Machine {
                srat: srat(
                    [halves(), vec![Affinity::Generic { domain: 2, port: false, enabled: true }]].concat(),
                ),
                hmat: hmat(vec![
                    locality(0, &[0, 2], &[0, 1], &[80, 200, 160, 60]),
                    locality(3, &[0, 2], &[0, 1], &[20_000, 6_000, 9_000, 30_000]),
                ]),
                ..plain()
            },
        ),
        smoke(
            "chain-with-ties",
            "three tiers below each other, two nodes alike",
            Machine {
                srat: srat([cpu(0, 0), cpu(0, 1)].into_iter().chain(quarters()).collect()),
                hmat: hmat(vec![
                    attached(0, 0),
                    locality(1, &[0], &[0, 1, 2, 3], &[90, 180, 180, 600]),
                    locality(2, &[0], &[0, 1, 2, 3], &[95, 185, 185, 650]),
                    locality(4, &[0], &[0, 1, 2, 3], &[24_000, 12_000, 12_000, 3_000]),
                    locality(5, &[0], &[0, 1, 2, 3], &[16_000, 9_000, 9_000, 1_500]),
                ]),
                slit: Some(Slit {
                    localities: 4,
                    cells: vec![10, 20, 20, 40, 20, 10, 20, 30, 20, 20, 10, 30, 40, 30, 30, 10],
                }),
                ..plain()
            },
        ),
        smoke(
            "side-caches",
            "two levels of memory-side cache, and one of another node",
            Machine {
                srat: srat(halves()),
                hmat: hmat(vec![
                    locality(0, &[0], &[0, 1], &[100, 200]),
                    locality(3, &[0], &[0, 1], &[20_000, 10_000]),
                    // Direct mapped and written back, with lines of 64 bytes.
                    Part::Cache { memory: 1, size: 64 * MIB, attributes: 0x0040_1112 },
                    Part::Cache { memory: 1, size: GIB, attributes: 0x0040_1122 },
                    Part::Cache { memory: 0, size: 16 * MIB, attributes: 0x0080_2211 },
                ]),
                ..plain()
            },
        ),
        smoke(
            "refused-distances",
            "a SLIT whose distance from a domain to itself is not 10",
            Machine {
                srat: srat(halves()),
                slit: Some(Slit { localities: 2, cells: vec![10, 25, 25, 11] }),
                ..plain()
            },
        ),
        smoke(
            "windows",
            "two CXL windows: one beyond the SRAT, one that it describes",
            Machine {
                srat: srat([halves(), vec![hot_pluggable(5, 8 * GIB, GIB)]].concat()),
                windows: vec![Window { start: 16 * GIB, size: GIB }, Window { start: 8 * GIB, size: GIB }],
                ..plain()
            },
        ),
        smoke(
            "odd-entries",
            "overlap within a domain, entries that do not count, ranges past RAM",
            Machine {
                srat: srat(vec![
                    cpu(0, 0),
                    cpu(1, 1),
                    Affinity::Processor { domain: 7, id: 1, x2apic: true, enabled: false },
                    memory(0, 0, 512 * MIB),
                    memory(0, 256 * MIB, 256 * MIB),
                    Affinity::Memory { domain: 6, start: 128 * MIB, size: 128 * MIB, flags: 0 },
                    Affinity::Memory { domain: 1, start: 512 * MIB, size: 512 * MIB, flags: 5 },
                    hot_pluggable(3, 4 * GIB, 4 * GIB),
                    memory(2, 40 * GIB, GIB),
                ]),
                ..plain()
            },
        ),
        Smoke {
            name: "soft-reserved",
            description: "soft-reserved memory of a slower node, its drivers loaded one by one",
            machine: Machine {
                mebibytes: 1536,
                srat: srat(vec![
                    cpu(0, 0),
                    cpu(0, 1),
                    memory(0, 0, 1024 * MIB),
                    memory(1, 1024 * MIB, 384 * MIB),
                    memory(0, 1408 * MIB, 128 * MIB),
                ]),
                hmat: hmat(vec![
                    locality(0, &[0], &[0, 1], &[100, 300]),
                    locality(3, &[0], &[0, 1], &[20_000, 5_000]),
                ]),
                options: vec!["memmap=384M%1024M-1+0xefffffff".to_owned()],
                ..plain()
            },
            events: vec![
                json!({"event": "load", "driver": "dax_hmem"}),
                json!({"event": "set", "name": "auto_online_blocks", "value": "online_movable"}),
                json!({"event": "load", "driver": "kmem"}),
                json!({"event": "unbind_dax", "device": "dax0.0"}),
            ],
        },
        Smoke {
            name: "movable-blocks",
            description: "blocks of a movable zone taken offline and back, and one that is not there",
            machine: Machine {
                srat: srat(vec![
                    cpu(0, 0),
                    cpu(0, 1),
                    memory(0, 0, 512 * MIB),
                    hot_pluggable(1, 512 * MIB, 256 * MIB),
                    memory(0, 768 * MIB, 256 * MIB),
                ]),
                options: vec!["movable_node".to_owned()],
                ..plain()
            },
            events: vec![
                json!({"event": "offline", "block": 5}),
                json!({"event": "offline", "block": 5}),
                json!({"event": "online", "block": 5, "type": "online_kernel"}),
                json!({"event": "online", "block": 5, "type": "online_movable"}),
                json!({"event": "offline", "block": 99}),
            ],
        },
    ]
}

/// Boots one of them into a folder, in the form of a case.
///
/// # Errors
/// Something of the host is missing or fails.
pub fn run(workshop: &Workshop, kernel: Kernel, smoke: &Smoke, folder: &Path) -> Result<()> {
    if folder.exists() {
        std::fs::remove_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    std::fs::create_dir_all(folder.join("input"))?;
    for (name, bytes) in smoke.machine.tables()? {
        std::fs::write(folder.join(name), bytes)?;
    }
    let case = Case { events: smoke.events.clone(), ..smoke.machine.case(smoke.name, smoke.description) };
    let located = Located { case, folder: folder.to_owned() };
    boot::run(workshop, kernel, &located)?.write(folder, &located, kernel)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_twelve_with_names_and_tables_of_their_own() {
        let mut names: Vec<_> = all().iter().map(|smoke| smoke.name).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), 12);
        for smoke in all() {
            assert!(!smoke.machine.tables().expect("tables").is_empty(), "{}", smoke.name);
        }
    }
}
