//! A smaller machine that still shows the same: what can be left out or made plain, one thing at a time.

use super::machine::{Affinity, Machine, Part};

/// Machines that are one step simpler, the boldest steps first.
#[must_use]
pub fn simpler(machine: &Machine) -> Vec<Machine> {
    let mut found: Vec<Machine> = Vec::new();
    let mut try_to = |change: &dyn Fn(&mut Machine)| {
        let mut candidate = machine.clone();
        change(&mut candidate);
        if candidate != *machine && !found.contains(&candidate) {
            found.push(candidate);
        }
    };
    try_to(&|m| m.hmat = None);
    try_to(&|m| m.slit = None);
    try_to(&|m| m.windows.clear());
    try_to(&|m| {
        m.options.clear();
        m.modules.clear();
    });
    try_to(&|m| m.modules.clear());
    for index in 0..machine.windows.len() {
        try_to(&|m| {
            m.windows.remove(index);
        });
    }
    for index in 0..machine.options.len() {
        try_to(&|m| {
            m.options.remove(index);
        });
    }
    let count = machine.events.len();
    if count > 1 {
        // What comes last is most often what counts.
        try_to(&|m| m.events.truncate(count / 2));
        try_to(&|m| {
            m.events.drain(..count / 2);
        });
    }
    for index in (0..count).rev() {
        try_to(&|m| {
            m.events.remove(index);
        });
    }
    if let Some(hmat) = &machine.hmat {
        let count = hmat.parts.len();
        let drain = |m: &mut Machine, from: usize, to: usize| {
            if let Some(hmat) = &mut m.hmat {
                hmat.parts.drain(from..to);
            }
        };
        if count > 3 {
            try_to(&|m| drain(m, 0, count / 2));
            try_to(&|m| drain(m, count / 2, count));
        }
        for index in 0..count {
            try_to(&|m| drain(m, index, index + 1));
        }
    }
    if let Some(srat) = &machine.srat {
        for index in 0..srat.entries.len() {
            try_to(&|m| {
                if let Some(srat) = &mut m.srat {
                    srat.entries.remove(index);
                }
            });
        }
    }
    try_to(&|m| m.processors = 1);
    if let Some(hmat) = &machine.hmat {
        for index in 0..hmat.parts.len() {
            try_to(&|m| {
                if let Some(Part::Locality { flags, .. }) =
                    m.hmat.as_mut().and_then(|hmat| hmat.parts.get_mut(index))
                {
                    *flags = 0;
                }
            });
            let Some(Part::Locality { initiators, targets, .. }) = hmat.parts.get(index) else { continue };
            for row in 0..initiators.len() {
                try_to(&|m| without_row(m, index, row));
            }
            for column in 0..targets.len() {
                try_to(&|m| without_column(m, index, column));
            }
        }
    }
    if let Some(srat) = &machine.srat {
        try_to(&|m| {
            if let Some(srat) = &mut m.srat {
                srat.revision = 3;
            }
        });
        for index in 0..srat.entries.len() {
            try_to(&|m| plain(m.srat.as_mut().and_then(|srat| srat.entries.get_mut(index))));
        }
    }
    found
}

fn plain(entry: Option<&mut Affinity>) {
    match entry {
        Some(Affinity::Processor { x2apic, enabled, .. }) => (*x2apic, *enabled) = (false, true),
        Some(Affinity::Memory { flags, .. }) => *flags = 1,
        Some(Affinity::Generic { enabled, .. }) => *enabled = true,
        None => {}
    }
}

fn without_row(machine: &mut Machine, index: usize, row: usize) {
    let part = machine.hmat.as_mut().and_then(|hmat| hmat.parts.get_mut(index));
    if let Some(Part::Locality { initiators, targets, cells, .. }) = part {
        let start = (row * targets.len()).min(cells.len());
        let end = (start + targets.len()).min(cells.len());
        cells.drain(start..end);
        initiators.remove(row);
    }
}

fn without_column(machine: &mut Machine, index: usize, column: usize) {
    let part = machine.hmat.as_mut().and_then(|hmat| hmat.parts.get_mut(index));
    if let Some(Part::Locality { targets, cells, .. }) = part {
        let width = targets.len();
        let mut place = 0;
        cells.retain(|_| {
            place += 1;
            (place - 1) % width != column
        });
        targets.remove(column);
    }
}

#[cfg(test)]
mod tests {
    use super::super::generate;
    use super::*;

    #[test]
    fn steps_end_at_a_machine_without_anything() {
        let mut machine = generate::machine(3);
        let mut steps = 0;
        while let Some(next) = simpler(&machine).into_iter().next() {
            machine = next;
            steps += 1;
            assert!(steps < 1000, "a step does not make it simpler");
        }
        assert!(machine.hmat.is_none() && machine.options.is_empty() && machine.processors == 1);
        assert_eq!(machine.srat.map(|srat| srat.entries.len()), Some(0));
    }

    #[test]
    fn a_column_goes_from_every_row() {
        let cells = vec![1, 2, 3, 4, 5, 6];
        let part = Part::Locality {
            flags: 0,
            data_type: 0,
            unit: 1,
            initiators: vec![0, 1],
            targets: vec![0, 1, 2],
            cells,
        };
        let hmat = Some(super::super::machine::Hmat { revision: 2, parts: vec![part] });
        let mut machine = Machine { hmat, ..Machine::default() };
        without_column(&mut machine, 0, 1);
        without_row(&mut machine, 0, 0);
        let expected = Part::Locality {
            flags: 0,
            data_type: 0,
            unit: 1,
            initiators: vec![1],
            targets: vec![0, 2],
            cells: vec![4, 6],
        };
        assert_eq!(machine.hmat.map(|hmat| hmat.parts), Some(vec![expected]));
    }
}
