//! CXL machines from a seed: trees, what firmware left in their decoders, and wishes, legal and not.

use super::fabric::{Below, Bridge, CXL_DRIVERS, Device, Fabric, Figures, Nodes, Placed, RootPort, Window};
use super::prng::Prng;
use crate::firmware::Programmed;
use serde_json::{Value, json};

const MIB: u64 = 1 << 20;
/// What sizes of regions and of device memory are multiples of.
const UNIT: u64 = 256 * MIB;
const GRANULARITIES: [u64; 4] = [256, 512, 1024, 4096];
/// Where the first window begins on a machine with 1 GiB of RAM, and the size of its memory blocks.
const FIRST_WINDOW: u64 = 0x1_1000_0000;
const BLOCK: u64 = 128 * MIB;

/// The machine of a seed.
#[must_use]
pub fn machine(seed: u64) -> Fabric {
    let mut prng = Prng::new(seed ^ 0x00c1_0000_0000);
    let prng = &mut prng;
    let mut serials = 0;
    let bridges: Vec<Bridge> =
        (1..=prng.between(1, 3)).map(|number| bridge(prng, 32 * number, &mut serials)).collect();
    let windows = (0..prng.between(1, 3)).map(|_| window(prng, bridges.len())).collect();
    let mut machine = Fabric {
        processors: prng.between(1, 2),
        hypervisor: prng.chance(10),
        bridges,
        windows,
        nodes: prng.chance(55).then(|| nodes(prng)),
        modules: CXL_DRIVERS.iter().map(|driver| (*driver).to_owned()).collect(),
        options: vec!["cxl_core.dyndbg=+p".to_owned()],
        ..Fabric::default()
    };
    if let Some(nodes) = machine.nodes.as_mut().filter(|_| prng.chance(60)) {
        let count = 1 + usize::from(nodes.second) + machine.bridges.len();
        nodes.figures = (0..count).map(|_| figures(prng)).collect();
    }
    let dax = prng.chance(60);
    let mut late = Vec::new();
    for driver in ["dax_hmem", "dax_cxl", "kmem"].into_iter().filter(|_| dax) {
        if prng.chance(85) { &mut machine.modules } else { &mut late }.push(driver.to_owned());
    }
    // On a machine with one node the allocator would turn to the device at once, and emulated it is far too slow.
    let states: &[&str] = if machine.nodes.is_some() {
        &["offline", "online", "online_movable", "online_kernel"]
    } else {
        &["offline"]
    };
    machine.options.push(format!("memhp_default_state={}", prng.pick(states)));
    if prng.chance(10) {
        machine.options.push("memory_hotplug.memmap_on_memory=1".to_owned());
    }
    if prng.chance(45) {
        firmware(prng, &mut machine);
    }
    let wishes = if machine.firmware.is_empty() { prng.between(2, 5) } else { prng.below(4) };
    // Regions that there may be, more or less.
    let mut regions = machine.firmware.len().min(1) as u64;
    for _ in 0..wishes {
        let event = match prng.below(10) {
            7 | 8 if regions > 0 || prng.chance(20) => {
                let missing = u64::from(prng.chance(20));
                let number = prng.below(regions.max(1) + missing);
                Some(json!({"event": "delete_region", "region": format!("region{number}")}))
            }
            4..=6 => legal_wish(prng, &machine).map(|wish| spoil(prng, &machine, wish)),
            _ => {
                regions += 1;
                legal_wish(prng, &machine)
            }
        };
        machine.events.extend(event);
        if dax && prng.chance(40) {
            let event = dax_event(prng, machine.nodes.is_some());
            machine.events.push(event);
        }
    }
    for driver in late {
        let place = prng.below(machine.events.len() as u64 + 1);
        machine
            .events
            .insert(usize::try_from(place).unwrap_or_default(), json!({"event": "load", "driver": driver}));
    }
    machine
}

fn bridge(prng: &mut Prng, bus: u64, serials: &mut u64) -> Bridge {
    let first = if prng.chance(15) { prng.between(1, 5) } else { 0 };
    let count = *prng.pick(&[1, 1, 2, 2, 2, 3, 4]);
    let mut device = |prng: &mut Prng| {
        *serials += 1;
        let mebibytes = 256 * *prng.pick(&[1, 1, 2, 2, 4]);
        let (volatile, persistent) = match prng.below(10) {
            0 => (0, mebibytes),
            1 => (mebibytes, 256),
            _ => (mebibytes, 0),
        };
        Device { serial: *serials, volatile, persistent }
    };
    let ports = (0..count).map(|index| {
        let below = match prng.below(20) {
            0 => Below::Nothing,
            1..=4 => {
                let ports = *prng.pick(&[1, 2, 2, 2, 4]);
                Below::Switch((0..ports).map(|number| (number, device(prng))).collect())
            }
            _ => Below::Device(device(prng)),
        };
        RootPort { number: first + index, below }
    });
    Bridge { bus, ports: ports.collect(), decoders: prng.chance(40) }
}

fn window(prng: &mut Prng, bridges: usize) -> Window {
    let mut targets: Vec<usize> = (0..bridges).collect();
    if prng.chance(30) {
        prng.shuffle(&mut targets);
    }
    let count = prng.between(1, bridges as u64);
    targets.truncate(usize::try_from(count).unwrap_or(1));
    let granularity = if prng.chance(60) { 256 } else { *prng.pick(&GRANULARITIES) };
    Window { mebibytes: 256 * count * prng.between(2, 8), granularity, targets }
}

fn nodes(prng: &mut Prng) -> Nodes {
    Nodes { second: prng.chance(50), figures: Vec::new() }
}

fn figures(prng: &mut Prng) -> Figures {
    Figures { latency: 10 * prng.between(8, 30), bandwidth: 1000 * prng.between(4, 40) }
}

/// A region that the machine can have.
struct Layout<'a> {
    window: usize,
    granularity: u64,
    /// Its devices by position.
    devices: Vec<Placed<'a>>,
    /// By bridge: how many root ports, and how many downstream ports of each switch.
    split: Vec<(u64, u64)>,
}

/// Any layout below a window.
fn layout<'a>(prng: &mut Prng, machine: &'a Fabric) -> Option<Layout<'a>> {
    let place = usize::try_from(prng.below(machine.windows.len() as u64)).unwrap_or_default();
    let window = &machine.windows[place];
    let devices = machine.devices();
    let each = *prng.pick(&[1, 1, 2, 2, 4]);
    let mut by_bridge = Vec::new();
    let mut split = Vec::new();
    for bridge in &window.targets {
        let (found, ways) = below_bridge(prng, &devices, *bridge, each)?;
        by_bridge.push(found);
        split.push(ways);
    }
    let mut order = Vec::new();
    for turn in 0..usize::try_from(each).unwrap_or(1) {
        for found in &by_bridge {
            order.push(found.get(turn)?.clone());
        }
    }
    let granularity = if window.targets.len() > 1 { window.granularity } else { *prng.pick(&GRANULARITIES) };
    Some(Layout { window: place, granularity, devices: order, split })
}

/// That many devices below a bridge in the order of interleave: root ports turn fastest.
fn below_bridge<'a>(
    prng: &mut Prng,
    devices: &[Placed<'a>],
    bridge: usize,
    count: u64,
) -> Option<(Vec<Placed<'a>>, (u64, u64))> {
    let mut splits: Vec<(u64, u64)> = [1, 2, 4].iter().map(|ports| (*ports, count / ports)).collect();
    splits.retain(|(ports, behind)| ports * behind == count);
    prng.shuffle(&mut splits);
    for (ports, behind) in splits {
        let mut slots: Vec<usize> =
            devices.iter().filter(|one| one.bridge == bridge).map(|one| one.slot).collect();
        slots.dedup();
        let of_slot = |slot: usize| -> Vec<&Placed<'a>> {
            devices.iter().filter(|one| one.bridge == bridge && one.slot == slot).collect()
        };
        slots.retain(|slot| of_slot(*slot).len() as u64 >= behind);
        if (slots.len() as u64) < ports {
            continue;
        }
        if prng.chance(25) {
            prng.shuffle(&mut slots);
        }
        slots.truncate(usize::try_from(ports).unwrap_or(1));
        let mut found = Vec::new();
        for turn in 0..usize::try_from(behind).unwrap_or(1) {
            for slot in &slots {
                found.push((*of_slot(*slot).get(turn)?).clone());
            }
        }
        return Some((found, (ports, behind)));
    }
    None
}

/// What each device of a layout can give at most, and of which kind.
fn share(prng: &mut Prng, layout: &Layout<'_>) -> (&'static str, u64) {
    let all_persistent = layout.devices.iter().all(|placed| placed.device.persistent > 0);
    let all_volatile = layout.devices.iter().all(|placed| placed.device.volatile > 0);
    let persistent = all_persistent && (!all_volatile || prng.chance(40));
    let of = |placed: &Placed<'_>| if persistent { placed.device.persistent } else { placed.device.volatile };
    let most = layout.devices.iter().map(of).min().unwrap_or(256) / 256;
    let units = if prng.chance(70) { prng.between(1, most.max(1)) } else { most.max(1) };
    (if persistent { "pmem" } else { "ram" }, units * UNIT)
}

fn legal_wish(prng: &mut Prng, machine: &Fabric) -> Option<Value> {
    let layout = (0..8).find_map(|_| layout(prng, machine))?;
    let (mode, share) = share(prng, &layout);
    let targets: Vec<_> =
        layout.devices.iter().map(|placed| json!({"serial": placed.device.serial})).collect();
    let size = share * targets.len() as u64;
    let mut wish = json!({"event": "create_region", "root": format!("decoder0.{}", layout.window), "mode": mode,
        "granularity": layout.granularity, "size": format!("{size:#x}"), "targets": targets});
    if prng.chance(12) {
        wish["bind"] = json!(false);
    }
    Some(wish)
}

/// The wish with something that may be wrong.
fn spoil(prng: &mut Prng, machine: &Fabric, mut wish: Value) -> Value {
    let targets = wish["targets"].as_array().cloned().unwrap_or_default();
    let serials = machine.devices().len() as u64;
    let size =
        wish["size"].as_str().and_then(|text| u64::from_str_radix(&text[2..], 16).ok()).unwrap_or(UNIT);
    let count = targets.len() as u64;
    match prng.below(12) {
        0 | 1 => {
            let mut targets = targets;
            prng.shuffle(&mut targets);
            wish["targets"] = json!(targets);
        }
        2 => wish["granularity"] = json!(*prng.pick(&[128, 256, 512, 2048, 16384, 32768, 1000])),
        3 => wish["size"] = json!(format!("{:#x}", size + prng.pick(&[MIB, UNIT / 2, UNIT]))),
        4 => wish["size"] = json!(format!("{:#x}", size * prng.between(2, 16))),
        5 => {
            let mut targets = targets;
            let place = usize::try_from(prng.below(count)).unwrap_or_default();
            targets[place] = json!({"serial": prng.between(1, serials + 1)});
            wish["targets"] = json!(targets);
        }
        6 => {
            let mut targets = targets;
            targets.push(json!({"serial": prng.between(1, serials)}));
            wish["size"] = json!(format!("{:#x}", size / count.max(1) * (count + 1)));
            wish["targets"] = json!(targets);
        }
        7 => wish["ways"] = json!(*prng.pick(&[0, 1, 2, 3, 4, 5, 6, 8, 16])),
        8 => wish["mode"] = json!(if wish["mode"] == "ram" { "pmem" } else { "ram" }),
        9 => wish["root"] = json!(format!("decoder0.{}", prng.below(machine.windows.len() as u64 + 1))),
        10 => {
            let mut targets: Vec<_> = (1..=serials).map(|serial| json!({"serial": serial})).collect();
            prng.shuffle(&mut targets);
            targets.truncate(usize::try_from(prng.between(1, serials.max(1))).unwrap_or(1));
            wish["size"] = json!(format!("{:#x}", UNIT * targets.len() as u64));
            wish["targets"] = json!(targets);
        }
        _ => {
            let mut targets = targets;
            if targets.len() > 1 {
                targets.pop();
            }
            wish["ways"] = json!(count);
            wish["targets"] = json!(targets);
        }
    }
    wish
}

fn dax_event(prng: &mut Prng, may_go_online: bool) -> Value {
    let device = format!("dax{}.0", prng.below(3));
    let block = FIRST_WINDOW / BLOCK + prng.below(6);
    match prng.below(8) {
        0 | 1 => json!({"event": "unbind_dax", "device": device}),
        2 => json!({"event": "bind_dax", "device": device, "driver": "kmem"}),
        3 => json!({"event": "bind_dax", "device": device, "driver": "device_dax"}),
        4 => {
            json!({"event": "bind_dax", "device": device, "driver": "kmem", "memmap_on_memory": prng.chance(50)})
        }
        5 | 6 if may_go_online => {
            json!({"event": "online", "block": block, "type": prng.pick(&["online", "online_movable"])})
        }
        _ => json!({"event": "offline", "block": block}),
    }
}

/// Programs decoders for one or two regions, in most cases as they should be.
fn firmware(prng: &mut Prng, machine: &mut Fabric) {
    let mut programs = Vec::new();
    // By function or bridge: how many of its decoders are used.
    let mut used: Vec<(String, u32)> = Vec::new();
    let mut given: Vec<(u64, u64)> = Vec::new();
    let mut ends = vec![0; machine.windows.len()];
    for _ in 0..*prng.pick(&[1, 1, 1, 2]) {
        let Some(layout) = (0..8).find_map(|_| layout(prng, machine)) else { continue };
        let (mode, share) = share(prng, &layout);
        let spent = |serial: u64| {
            given.iter().filter(|(known, _)| *known == serial).map(|(_, size)| size).sum::<u64>()
        };
        let room = |placed: &Placed<'_>| {
            let whole = if mode == "pmem" { placed.device.persistent } else { placed.device.volatile };
            (whole * MIB).saturating_sub(spent(placed.device.serial))
        };
        if layout.devices.iter().any(|placed| room(placed) < share) {
            continue;
        }
        given.extend(layout.devices.iter().map(|placed| (placed.device.serial, share)));
        let size = share * layout.devices.len() as u64;
        let offset = ends[layout.window];
        ends[layout.window] += size;
        let lock = prng.chance(20);
        let decoders = decoders(machine, &layout);
        for mut decoder in decoders {
            let place = used.iter().position(|(at, _)| *at == decoder.at).unwrap_or_else(|| {
                used.push((decoder.at.clone(), 0));
                used.len() - 1
            });
            decoder.decoder = used[place].1;
            let device = layout.devices.iter().find(|placed| placed.function == decoder.at);
            if let Some(placed) = device.filter(|_| mode == "pmem" && decoder.decoder == 0) {
                decoder.skip = placed.device.volatile * MIB;
            }
            used[place].1 += 1;
            programs.push(Programmed { window: layout.window, offset, size, lock, ..decoder });
        }
    }
    if prng.chance(35) && !programs.is_empty() {
        misprogram(prng, &mut programs);
    }
    // Firmware that programs decoders in most cases says so in its memory map; on one node it has to stay away.
    if prng.chance(45) {
        if let Some(first) = programs.first().filter(|first| first.window == 0 && first.offset == 0) {
            let size = first.size / if prng.chance(15) { 2 } else { 1 };
            machine.options.push(format!("memmap={}M%{FIRST_WINDOW:#x}+0xefffffff", size / MIB));
        }
    }
    machine.firmware = programs;
}

/// Every decoder that a layout needs; without addresses.
fn decoders(machine: &Fabric, layout: &Layout<'_>) -> Vec<Programmed> {
    let window = &machine.windows[layout.window];
    let roots = window.targets.len() as u64;
    let above = if roots.is_power_of_two() { roots } else { roots / 3 };
    let ways = u32::try_from(layout.devices.len()).unwrap_or(1);
    let granularity = layout.granularity;
    let mut found: Vec<Programmed> = Vec::new();
    for placed in &layout.devices {
        found.push(Programmed { at: placed.function.clone(), ways, granularity, ..Programmed::default() });
    }
    for (bridge, (ports, behind)) in window.targets.iter().zip(&layout.split) {
        let own: Vec<_> = layout.devices.iter().filter(|placed| placed.bridge == *bridge).collect();
        let described = &machine.bridges[*bridge];
        let count = |number: u64| u32::try_from(number).unwrap_or(1);
        let id = |number: u64| u8::try_from(number).unwrap_or_default();
        if described.ports.len() > 1 || described.decoders {
            let targets = own.iter().take(usize::try_from(*ports).unwrap_or(1)).map(|placed| id(placed.port));
            found.push(Programmed {
                at: format!("pci0000:{:02x}", described.bus),
                ways: count(*ports),
                granularity: granularity * above,
                targets: targets.collect(),
                ..Programmed::default()
            });
        }
        let mut switches: Vec<&str> = own
            .iter()
            .filter_map(|placed| placed.switch.as_ref().map(|(function, _)| function.as_str()))
            .collect();
        switches.sort_unstable();
        switches.dedup();
        for switch in switches {
            let behind_it =
                own.iter().filter_map(|placed| placed.switch.as_ref().filter(|(at, _)| at == switch));
            found.push(Programmed {
                at: switch.to_owned(),
                ways: count(*behind),
                granularity: granularity * above * ports,
                targets: behind_it.map(|(_, number)| id(*number)).collect(),
                ..Programmed::default()
            });
        }
    }
    // A window may name a bridge twice.
    let mut seen: Vec<String> = Vec::new();
    found.retain(|program| {
        let new = !seen.contains(&program.at);
        seen.push(program.at.clone());
        new
    });
    found.retain(|program| program.granularity <= 16384);
    found
}

/// Does something that a firmware should not.
fn misprogram(prng: &mut Prng, programs: &mut Vec<Programmed>) {
    let place = usize::try_from(prng.below(programs.len() as u64)).unwrap_or_default();
    let program = &mut programs[place];
    match prng.below(10) {
        0 | 1 => program.granularity = if program.granularity == 256 { 512 } else { 256 },
        2 => program.targets.reverse(),
        3 => {
            programs.remove(place);
        }
        4 => program.decoder += 1,
        5 => program.size /= 2,
        6 => program.offset += 64 << 30,
        7 => program.accelerator = true,
        8 => programs.iter_mut().for_each(|program| program.accelerator = true),
        _ => program.skip = if program.targets.is_empty() { UNIT } else { 0 },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machines_are_many_and_repeat() {
        let all: Vec<Fabric> = (1..200).map(machine).collect();
        assert_eq!(all[6], machine(7));
        let count = |what: fn(&Fabric) -> bool| all.iter().filter(|machine| what(machine)).count();
        let switched = |machine: &Fabric| {
            let mut ports = machine.bridges.iter().flat_map(|bridge| &bridge.ports);
            ports.any(|port| matches!(port.below, Below::Switch(_)))
        };
        assert!(count(|machine| machine.bridges.len() == 3) > 30);
        assert!(count(|machine| machine.windows.iter().any(|window| window.targets.len() > 1)) > 50);
        assert!(count(switched) > 50);
        assert!(count(|machine| !machine.firmware.is_empty()) > 50);
        assert!(count(|machine| machine.events.iter().any(|event| event["event"] == "create_region")) > 80);
    }

    #[test]
    fn levels_share_the_address_bits() {
        let device = |serial| Device { serial, volatile: 256, persistent: 0 };
        let switch = |first| Below::Switch(vec![(0, device(first)), (1, device(first + 1))]);
        let ports = vec![RootPort { number: 0, below: switch(1) }, RootPort { number: 1, below: switch(3) }];
        let machine = Fabric {
            processors: 1,
            bridges: vec![Bridge { bus: 32, decoders: false, ports }],
            windows: vec![Window { targets: vec![0], mebibytes: 1024, granularity: 256 }],
            ..Fabric::default()
        };
        let placed = machine.devices();
        let order = [0, 2, 1, 3].map(|index| placed[index].clone());
        let layout = Layout { window: 0, granularity: 256, devices: order.to_vec(), split: vec![(2, 2)] };
        let found: Vec<_> = decoders(&machine, &layout)
            .into_iter()
            .filter(|program| !program.targets.is_empty())
            .map(|program| (program.at, program.ways, program.granularity, program.targets))
            .collect();
        // As Linux programs the two switches of 1HB2RP4Mem.
        let expected = [
            ("pci0000:20".to_owned(), 2, 256, vec![0, 1]),
            ("0000:21:00.0".to_owned(), 2, 512, vec![0, 1]),
            ("0000:25:00.0".to_owned(), 2, 512, vec![0, 1]),
        ];
        assert_eq!(found, expected);
    }
}
