//! Machines with events from a seed: memory maps, settings and drivers of all kinds, and what is done to them.

use super::generate::{self, GIB, MIB};
use super::machine::{Described, Machine};
use super::prng::Prng;
use serde_json::{Value, json};

/// The size of a memory block on the machines made here.
const BLOCK: u64 = 128 * MIB;
/// Words that say whether added memory comes online, and where.
const STATES: [&str; 4] = ["offline", "online", "online_kernel", "online_movable"];

/// The machine of a seed, with events: DIMMs on a machine that the emulator describes, soft-reserved memory and its
/// drivers, or an odd memory map.
#[must_use]
pub fn machine(seed: u64) -> Machine {
    let mut prng = Prng::new(!seed);
    let prng = &mut prng;
    match prng.below(10) {
        0..=3 => with_dimms(prng),
        4..=6 => with_soft_reserved(prng, seed),
        _ => with_odd_map(prng, seed),
    }
}

fn add_memory(start: u64, size: u64, domain: u64) -> Value {
    json!({"event": "add_memory", "start": format!("{start:#x}"), "size": format!("{size:#x}"), "domain": domain})
}

/// Something done to a block from `first` on, or a setting.
fn block_event(prng: &mut Prng, first: u64, count: u64) -> Value {
    const TYPES: [&str; 3] = ["online", "online_kernel", "online_movable"];
    // Block 0 holds what no kernel can do without, and now and then a block is not there.
    let block = first + prng.between(1, count.max(2));
    match prng.below(10) {
        0..=3 => json!({"event": "offline", "block": block}),
        4..=7 => json!({"event": "online", "block": block, "type": prng.pick(&TYPES)}),
        _ => setting(prng),
    }
}

fn setting(prng: &mut Prng) -> Value {
    match prng.below(6) {
        0..=2 => json!({"event": "set", "name": "auto_online_blocks", "value": prng.pick(&STATES)}),
        3 => {
            json!({"event": "set", "name": "online_policy", "value": prng.pick(&["contig-zones", "auto-movable"])})
        }
        4 => json!({"event": "set", "name": "auto_movable_numa_aware", "value": prng.pick(&["Y", "N"])}),
        _ => json!({"event": "set", "name": "auto_movable_ratio", "value": prng.between(1, 500).to_string()}),
    }
}

/// Kernel parameters about added memory and zones.
fn parameters(prng: &mut Prng, options: &mut Vec<String>) {
    if prng.chance(70) {
        options.push(format!("memhp_default_state={}", prng.pick(&STATES)));
    }
    if prng.chance(25) {
        options.push("memory_hotplug.memmap_on_memory=1".to_owned());
    }
    if prng.chance(30) {
        options.push("memory_hotplug.online_policy=auto-movable".to_owned());
        if prng.chance(50) {
            options.push(format!("memory_hotplug.auto_movable_ratio={}", prng.between(1, 400)));
        }
    }
    if prng.chance(20) {
        options.push(match prng.below(4) {
            0 => "movable_node".to_owned(),
            1 => format!("kernelcore={}M", prng.between(2, 8) * 96),
            2 => format!("movablecore={}%", prng.between(10, 60)),
            _ => format!("movablecore={}M", prng.between(1, 5) * 100),
        });
    }
}

fn with_dimms(prng: &mut Prng) -> Machine {
    let processors = prng.between(1, 2);
    let nodes = prng.between(2, 4);
    let mut described = vec![Described { mebibytes: 512, processors: (0..processors).collect() }];
    for _ in 1..nodes {
        let mebibytes = if prng.chance(30) { 0 } else { 128 * prng.between(1, 4) };
        described.push(Described { mebibytes, processors: Vec::new() });
    }
    let mut machine = Machine { processors, described, ..Machine::default() };
    parameters(prng, &mut machine.options);
    let mut plugged: Vec<(u64, u64)> = Vec::new();
    let mut next = 4 * GIB;
    for _ in 0..prng.between(4, 9) {
        let event = match (prng.below(10), plugged.last().copied()) {
            (0..=3, _) | (_, None) => {
                let size = if prng.chance(10) { 130 * MIB } else { BLOCK * prng.between(1, 6) };
                let start = next + BLOCK * prng.below(3);
                next = (start + size).next_multiple_of(BLOCK);
                // One that the kernel refuses stays plugged, and the driver comes back to it at odd times.
                if size % BLOCK == 0 {
                    plugged.push((start, size));
                }
                add_memory(start, size, prng.below(nodes))
            }
            (4 | 5, Some(_)) => {
                let index = usize::try_from(prng.below(plugged.len() as u64)).unwrap_or_default();
                let (start, size) = plugged.remove(index);
                json!({"event": "remove_memory", "start": format!("{start:#x}"), "size": format!("{size:#x}")})
            }
            (_, Some((start, size))) => block_event(prng, start / BLOCK - 1, size / BLOCK),
        };
        machine.events.push(event);
    }
    machine
}

/// End of the RAM below 4 GiB.
fn low_end(machine: &Machine) -> u64 {
    // The chipset splits what is larger than this at 2 GiB.
    if machine.mebibytes > 2816 { 2 * GIB } else { machine.mebibytes * MIB }
}

/// Where the kernel neither is nor unpacks itself: a place in the upper half of low RAM, and a size.
fn upper_half(prng: &mut Prng, machine: &Machine, units: &[u64]) -> (u64, u64) {
    let end = low_end(machine);
    let unit = *prng.pick(units);
    let start = (end / 2 + prng.below(end / 8)) / unit * unit;
    (start, prng.between(1, 3) * (end / 16 / unit).max(1) * unit)
}

/// The machine of a seed without memory maps of its own, and with a gibibyte at least.
fn roomy(prng: &mut Prng, seed: u64) -> Machine {
    let mut machine = generate::machine(seed);
    let mut next = seed;
    while machine.mebibytes < 1024 || machine.options.iter().any(|option| option.starts_with("mem=")) {
        next ^= prng.number();
        machine = generate::machine(next);
    }
    machine.modules.clear();
    machine.options.retain(|option| !option.starts_with("memmap="));
    machine
}

fn with_soft_reserved(prng: &mut Prng, seed: u64) -> Machine {
    let mut machine = roomy(prng, seed);
    parameters(prng, &mut machine.options);
    let (start, mut size) = upper_half(prng, &machine, &[128 * MIB, 128 * MIB, 64 * MIB, 2 * MIB]);
    size = size.max(BLOCK);
    machine.options.push(format!("memmap={}M%{}M-1+0xefffffff", size / MIB, start / MIB));
    let (first, count) = ((start / BLOCK).saturating_sub(1), size / BLOCK + 1);
    let mut drivers = vec!["dax_hmem", "kmem"];
    if prng.chance(30) {
        drivers.reverse();
    }
    for driver in drivers {
        if prng.chance(40) {
            machine.events.push(setting(prng));
        }
        machine.events.push(json!({"event": "load", "driver": driver}));
    }
    for _ in 0..prng.between(2, 7) {
        machine.events.push(match prng.below(10) {
            0 => json!({"event": "unbind_dax", "device": "dax0.0"}),
            1 => json!({"event": "bind_dax", "device": "dax0.0", "driver": "kmem"}),
            2 => block_event(prng, 0, low_end(&machine) / BLOCK),
            _ => block_event(prng, first, count),
        });
    }
    if prng.chance(30) {
        // All of it, so that it can go.
        for block in first..=first + count {
            machine.events.push(json!({"event": "offline", "block": block}));
        }
        machine.events.push(json!({"event": "unbind_dax", "device": "dax0.0"}));
        if prng.chance(60) {
            machine.events.push(setting(prng));
            machine.events.push(json!({"event": "bind_dax", "device": "dax0.0", "driver": "kmem"}));
        }
    }
    machine
}

fn with_odd_map(prng: &mut Prng, seed: u64) -> Machine {
    let mut machine = roomy(prng, seed);
    parameters(prng, &mut machine.options);
    for _ in 0..prng.between(1, 2) {
        let (start, size) = upper_half(prng, &machine, &[128 * MIB, 64 * MIB, 2 * MIB, 4096]);
        let (kibibytes, place) = (size / 1024, start / 1024);
        let option = match prng.below(8) {
            0..=2 => format!("memmap={kibibytes}K${place}K"),
            3 => format!("memmap={kibibytes}K#{place}K"),
            4 => format!("memmap={kibibytes}K!{place}K"),
            5 => format!("memmap={kibibytes}K%{place}K-1"),
            6 => format!("memmap={kibibytes}K%{place}K-1+5"),
            _ => format!("mem={}K", (start + size) / 1024),
        };
        machine.options.push(option);
    }
    let blocks = low_end(&machine) / BLOCK;
    (0..prng.between(3, 8)).for_each(|_| machine.events.push(block_event(prng, 0, blocks)));
    machine
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_follow_from_the_seed_too() {
        let (mut drivers, mut maps) = (0, 0);
        for seed in 0..100 {
            let made = machine(seed);
            assert_eq!(made, machine(seed), "seed {seed}");
            assert!(made.events.len() >= 3, "seed {seed}");
            let dimms = made.events.iter().any(|event| event["event"] == "add_memory");
            assert_eq!(dimms, !made.described.is_empty(), "seed {seed}");
            drivers += u32::from(made.events.iter().any(|event| event["event"] == "load"));
            maps += u32::from(made.options.iter().any(|option| option.starts_with("mem")));
        }
        assert!(drivers > 15 && maps > 50, "{drivers} with drivers, {maps} with a memory map");
    }
}
