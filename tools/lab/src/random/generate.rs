//! Machines from a seed: mostly sound, each with some of the oddities that firmware has or could have.

use super::machine::{Affinity, Hmat, Machine, Part, Slit, Srat, Window};
use super::prng::Prng;

pub(super) const MIB: u64 = 1 << 20;
pub(super) const GIB: u64 = 1 << 30;
const ENABLED: u32 = 1;
const HOT_PLUGGABLE: u32 = 2;
const NON_VOLATILE: u32 = 4;

/// What the rest of a machine is built on.
struct Plot {
    /// RAM below and above 4 GiB, as ends of `0..` and `4 GiB..`.
    low_end: u64,
    high_end: u64,
    domains: Vec<u32>,
    /// Domains with processors.
    computing: Vec<u32>,
    /// Domains of generic initiators.
    initiators: Vec<u32>,
    /// Domains with memory.
    storing: Vec<u32>,
}

/// The machine of a seed.
#[must_use]
pub fn machine(seed: u64) -> Machine {
    let mut prng = Prng::new(seed);
    let prng = &mut prng;
    // This chipset splits RAM at 2 GiB when there is more than 2.75 GiB of it.
    let high = prng.chance(12);
    let mebibytes = if high { 3072 } else { 256 * prng.between(2, 7) };
    let processors = prng.between(1, 4);
    let (low_end, high_end) = if high { (2 * GIB, 5 * GIB) } else { (mebibytes * MIB, 0) };
    let mut plot = Plot {
        low_end,
        high_end,
        domains: domains(prng),
        computing: Vec::new(),
        initiators: Vec::new(),
        storing: Vec::new(),
    };
    let srat = srat(prng, &mut plot, processors);
    let slit = prng.chance(50).then(|| slit(prng, &plot));
    let hmat = prng.chance(75).then(|| hmat(prng, &plot));
    let windows = if prng.chance(15) { windows(prng, &plot) } else { Vec::new() };
    let mut machine =
        Machine { mebibytes, processors, srat: Some(srat), slit, hmat, windows, ..Machine::default() };
    options(prng, &plot, &mut machine);
    machine
}

/// Numbers of proximity domains: dense, shuffled, sparse, or large.
fn domains(prng: &mut Prng) -> Vec<u32> {
    let count = u32::try_from(prng.between(1, 6)).unwrap_or(1);
    let mut domains: Vec<u32> = (0..count).collect();
    match prng.below(4) {
        0 => {}
        1 => prng.shuffle(&mut domains),
        2 => {
            domains =
                domains.iter().map(|domain| domain * 3 + u32::try_from(prng.below(3)).unwrap_or(0)).collect();
            prng.shuffle(&mut domains);
        }
        _ => {
            let step = u32::try_from(prng.between(1, 90)).unwrap_or(1);
            domains = domains.iter().map(|domain| 5 + domain * step).collect();
            prng.shuffle(&mut domains);
        }
    }
    domains
}

fn srat(prng: &mut Prng, plot: &mut Plot, processors: u64) -> Srat {
    let revision = if prng.chance(12) { 1 } else { *prng.pick(&[2, 3, 3, 3]) };
    let mut cpus = Vec::new();
    let width = prng.between(1, plot.domains.len() as u64);
    for id in 0..u32::try_from(processors).unwrap_or(1) {
        let place = usize::try_from(prng.below(width)).unwrap_or_default();
        let domain = plot.domains[place];
        let (x2apic, enabled) = (prng.chance(15), !prng.chance(4));
        if !prng.chance(4) {
            cpus.push(Affinity::Processor { domain, id, x2apic, enabled });
            plot.computing.push(domain);
        }
        if prng.chance(2) {
            cpus.push(Affinity::Processor {
                domain: *prng.pick(&plot.domains),
                id,
                x2apic: false,
                enabled: true,
            });
        }
    }
    if prng.chance(4) {
        cpus.push(Affinity::Processor {
            domain: *prng.pick(&plot.domains),
            id: 40,
            x2apic: false,
            enabled: true,
        });
    }
    let memory = memory(prng, plot);
    let mut generic = Vec::new();
    if prng.chance(20) {
        let domain = if prng.chance(60) {
            plot.domains.iter().max().unwrap_or(&0) + 1
        } else {
            *prng.pick(&plot.domains)
        };
        generic.push(Affinity::Generic { domain, port: false, enabled: !prng.chance(10) });
        plot.initiators.push(domain);
    }
    if prng.chance(15) {
        let domain = plot.domains.iter().max().unwrap_or(&0) + 2;
        generic.push(Affinity::Generic { domain, port: true, enabled: !prng.chance(10) });
        plot.storing.push(domain);
    }
    plot.computing.sort_unstable();
    plot.computing.dedup();
    let mut entries = Vec::new();
    let groups = if prng.chance(70) { vec![cpus, memory, generic] } else { vec![memory, generic, cpus] };
    groups.into_iter().for_each(|group| entries.extend(group));
    if prng.chance(10) {
        prng.shuffle(&mut entries);
    }
    Srat { revision, entries }
}

/// Cuts RAM into ranges and deals them out.
fn memory(prng: &mut Prng, plot: &mut Plot) -> Vec<Affinity> {
    let unit = *prng.pick(&[2, 16, 64, 128, 128, 128]) * MIB;
    let mut borders = vec![0, plot.low_end];
    let cuts = prng.below(plot.domains.len() as u64 + 2);
    for _ in 0..cuts {
        borders.push((prng.below(plot.low_end) / unit).max(1) * unit);
    }
    borders.sort_unstable();
    borders.dedup();
    let mut ranges: Vec<(u64, u64)> = borders.windows(2).map(|pair| (pair[0], pair[1])).collect();
    if plot.high_end > 0 {
        let middle = 4 * GIB + prng.between(1, 7) * 128 * MIB;
        ranges.extend([(4 * GIB, middle), (middle, plot.high_end)]);
    }
    let mut entries = Vec::new();
    let holders: Vec<u32> = plot.domains.iter().copied().filter(|_| !prng.chance(15)).collect();
    let holders = if holders.is_empty() { plot.domains.clone() } else { holders };
    for (index, (start, end)) in ranges.iter().copied().enumerate() {
        let domain = if prng.chance(70) { holders[index % holders.len()] } else { *prng.pick(&holders) };
        let mut flags = ENABLED;
        if prng.chance(6) {
            flags |= HOT_PLUGGABLE;
        }
        if prng.chance(3) {
            flags |= NON_VOLATILE;
        }
        if index > 0 && prng.chance(4) {
            flags &= !ENABLED;
        }
        // A hole here and there; never at the very start, where a kernel that finds none does not live long.
        let mut end = end;
        if prng.chance(5) {
            end -= prng.between(1, 4) * (end - start) / 8 / 4096 * 4096;
        }
        entries.push(Affinity::Memory { domain, start, size: end - start, flags });
        plot.storing.push(domain);
        if prng.chance(3) {
            entries.push(Affinity::Memory { domain, start, size: end - start, flags });
        }
        if prng.chance(2) {
            let other = *prng.pick(&plot.domains);
            entries.push(Affinity::Memory { domain: other, start, size: (end - start) / 2, flags });
        }
    }
    // Room for memory that may come later.
    let above = plot.high_end.max(4 * GIB);
    if prng.chance(15) {
        let domain = if prng.chance(50) {
            *prng.pick(&plot.domains)
        } else {
            plot.domains.iter().max().unwrap_or(&0) + 3
        };
        let start = above + prng.below(4) * GIB;
        entries.push(Affinity::Memory {
            domain,
            start,
            size: prng.between(1, 8) * 256 * MIB,
            flags: ENABLED | HOT_PLUGGABLE,
        });
    }
    if prng.chance(4) {
        let start = above + 16 * GIB;
        entries.push(Affinity::Memory {
            domain: *prng.pick(&plot.domains),
            start,
            size: GIB,
            flags: ENABLED,
        });
    }
    if prng.chance(3) {
        entries.push(Affinity::Memory {
            domain: *prng.pick(&plot.domains),
            start: GIB,
            size: 0,
            flags: ENABLED,
        });
    }
    if prng.chance(2) {
        entries.push(Affinity::Memory { domain: 1024, start: above + 32 * GIB, size: GIB, flags: ENABLED });
    }
    if prng.chance(20) {
        prng.shuffle(&mut entries);
    }
    plot.storing.sort_unstable();
    plot.storing.dedup();
    entries
}

fn slit(prng: &mut Prng, plot: &Plot) -> Slit {
    let needed = u64::from(plot.domains.iter().max().copied().unwrap_or(0)) + 1;
    let localities = if prng.chance(8) { needed.saturating_sub(1).max(1) } else { needed + prng.below(2) };
    let width = usize::try_from(localities).unwrap_or(1);
    let palette: Vec<u8> =
        (0..prng.between(1, 4)).map(|_| u8::try_from(prng.between(11, 60)).unwrap_or(20)).collect();
    let mut cells = vec![10; width * width];
    for from in 0..width {
        for to in 0..from {
            let distance = *prng.pick(&palette);
            cells[from * width + to] = distance;
            cells[to * width + from] = distance;
        }
    }
    let any = |prng: &mut Prng| usize::try_from(prng.below((width * width) as u64)).unwrap_or_default();
    if prng.chance(15) {
        let place = any(prng);
        cells[place] = if place % (width + 1) == 0 { 10 } else { 77 };
    }
    if prng.chance(6) {
        let place = any(prng);
        cells[place] = *prng.pick(&[0, 9, 10, 255]);
    }
    if prng.chance(4) {
        cells.truncate(cells.len() - 1);
    }
    Slit { localities, cells }
}

fn hmat(prng: &mut Prng, plot: &Plot) -> Hmat {
    let revision = if prng.chance(25) { 1 } else { 2 };
    let mut parts = Vec::new();
    let mut rows: Vec<u32> = plot.computing.iter().chain(&plot.initiators).copied().collect();
    rows.sort_unstable();
    rows.dedup();
    let mut columns = plot.storing.clone();
    if prng.chance(15) {
        prng.shuffle(&mut rows);
        prng.shuffle(&mut columns);
    }
    let unlisted = prng.chance(10);
    if unlisted {
        columns.push(500);
        rows.push(501);
    }
    let listed = prng.chance(75);
    for memory in columns.iter().copied().filter(|_| listed) {
        if rows.is_empty() || prng.chance(15) {
            continue;
        }
        let own = plot.computing.contains(&memory);
        let initiator = if own { memory } else { *prng.pick(&rows) };
        let valid = if own || prng.chance(60) { 1 } else { 0 };
        // Revision 1 has a flag for the memory domain too.
        let memory_valid = if revision == 1 && !prng.chance(10) { 2 } else { 0 };
        parts.push(Part::Proximity { memory, initiator, flags: valid | memory_valid });
    }
    let split = prng.chance(40);
    let mut types: Vec<u8> = if split { vec![1, 2, 4, 5] } else { vec![0, 3] };
    types.retain(|_| !prng.chance(5));
    if prng.chance(5) {
        types.push(*prng.pick(&[0, 1, 3, 6]));
    }
    // How much slower or faster each memory is, in eighths; few values, so that ties are common.
    let factors: Vec<u64> = columns.iter().map(|_| *prng.pick(&[8, 8, 8, 12, 16, 24, 6, 20])).collect();
    let base = prng.between(60, 140);
    for data_type in types {
        let latency = data_type < 3;
        let unit = match (latency, revision) {
            (true, 1) => *prng.pick(&[10, 1, 5]),
            (false, 1) => *prng.pick(&[1, 10]),
            (true, _) => *prng.pick(&[1000, 1000, 100, 500]),
            (false, _) => *prng.pick(&[1, 1, 100, 1024]),
        };
        let per_unit = if latency && revision != 1 { 1000 } else { 1 };
        let mut cells = Vec::new();
        for row in &rows {
            for (column, factor) in columns.iter().zip(&factors) {
                let far = if row == column { 0 } else { prng.below(2) * 2 };
                let figure = if latency {
                    base * (factor + far) / 8 * per_unit / unit
                } else {
                    20_000 * 8 / (factor + far) / unit.min(200)
                };
                let jitter = if prng.chance(30) { prng.below(4) } else { 0 };
                let odd = if prng.chance(4) { Some(*prng.pick(&[0, 0xffff])) } else { None };
                cells.push(odd.unwrap_or_else(|| u16::try_from(figure + jitter).unwrap_or(0xfffe)));
            }
        }
        let flags = if prng.chance(6) { u8::try_from(prng.between(1, 3)).unwrap_or(1) } else { 0 };
        parts.push(Part::Locality {
            flags,
            data_type,
            unit,
            initiators: rows.clone(),
            targets: columns.clone(),
            cells,
        });
    }
    if prng.chance(20) && !columns.is_empty() {
        let memory = *prng.pick(&columns);
        let levels = prng.between(1, 3);
        for level in 1..=levels {
            let (associativity, policy) = (prng.below(4), prng.below(4));
            let attributes = levels | level << 4 | associativity << 8 | policy << 12 | 64 << 16;
            parts.push(Part::Cache {
                memory,
                size: prng.between(1, 1 << 20) << prng.below(20),
                attributes: u32::try_from(attributes).unwrap_or_default(),
            });
        }
    }
    if prng.chance(12) {
        prng.shuffle(&mut parts);
    }
    Hmat { revision, parts }
}

fn windows(prng: &mut Prng, plot: &Plot) -> Vec<Window> {
    let first = if prng.chance(15) {
        plot.low_end / 2
    } else {
        plot.high_end.max(4 * GIB) + prng.below(8) * 256 * MIB
    };
    let first = first / (256 * MIB) * (256 * MIB);
    let size = prng.between(1, 8) * 256 * MIB;
    let second = first + size + prng.below(3) * 256 * MIB;
    let mut windows = vec![Window { start: first, size }];
    if prng.chance(40) {
        windows.push(Window { start: second, size: 512 * MIB });
    }
    windows
}

fn options(prng: &mut Prng, plot: &Plot, machine: &mut Machine) {
    let options = &mut machine.options;
    if prng.chance(15) {
        options.push(match prng.below(12) {
            0 => "numa=off".to_owned(),
            1 => "numa=noacpi".to_owned(),
            2 => "numa=nohmat".to_owned(),
            3 | 4 => format!("numa=fake={}", prng.between(2, 5)),
            5 | 6 => format!("numa=fake={}U", prng.between(2, 3)),
            7 => "numa=fake=256M".to_owned(),
            8 => "movable_node".to_owned(),
            9 => format!("mem={}M", plot.low_end / MIB - prng.between(1, 2) * 64),
            10 => "kernelcore=50%".to_owned(),
            _ => "movablecore=256M".to_owned(),
        });
    }
    if prng.chance(20) && plot.low_end >= 1024 * MIB {
        // Where the kernel neither is nor unpacks itself: the upper half.
        let unit = *prng.pick(&[128, 128, 128, 64, 2]) * MIB;
        let start = (plot.low_end / 2 + prng.below(plot.low_end / 8)) / unit * unit;
        let size = prng.between(1, 2) * 128 * MIB;
        options.push(format!("memmap={}M%{}M-1+0xefffffff", size / MIB, start / MIB));
        machine.modules = if prng.chance(50) {
            vec!["kmem".to_owned(), "dax_hmem".to_owned()]
        } else {
            vec!["dax_hmem".to_owned(), "kmem".to_owned()]
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use memtopo::tables::hmat::Hmat as HmatView;
    use memtopo::tables::srat::Srat as SratView;

    #[test]
    fn a_seed_is_one_machine_with_tables_that_read_back() {
        for seed in 0..300 {
            let first = machine(seed);
            assert_eq!(first, machine(seed), "seed {seed}");
            for (name, bytes) in first.tables().expect("tables") {
                match name.as_str() {
                    "input/SRAT.bin" => {
                        let entries = SratView::parse(&bytes).expect("a SRAT").entries().count();
                        assert_eq!(
                            Some(entries),
                            first.srat.as_ref().map(|srat| srat.entries.len()),
                            "seed {seed}"
                        );
                    }
                    "input/HMAT.bin" => {
                        let entries =
                            HmatView::parse(&bytes).expect("an HMAT").entries().filter(Result::is_ok).count();
                        assert_eq!(
                            Some(entries),
                            first.hmat.as_ref().map(|hmat| hmat.parts.len()),
                            "seed {seed}"
                        );
                    }
                    _ => assert_eq!(bytes.iter().fold(0u8, |sum, byte| sum.wrapping_add(*byte)), 0, "{name}"),
                }
            }
        }
    }
}
