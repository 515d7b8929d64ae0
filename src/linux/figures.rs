//! Why memory shows the figures that it shows: the cells of the HMAT, where they stand, and the arithmetic.

use super::access::{Access, Locality};
use super::coordinates::{Class, normalise};
use super::hmat::slots_of;
use super::node_set::NodeSet;
use super::reason::{Fact, Notes, Reason, Subject, Unit};
use super::rules;
use crate::tables::hmat::DataType;
use crate::topology::Source;
use crate::topology::performance::{Content, Entry, Performance};
use crate::units::{EntryBaseUnit, MatrixCell, NodeId, ProximityDomain, widen};
use alloc::format;
use alloc::string::String;

/// Offset of `Entry Base Unit` in a locality structure.
const BASE_UNIT: u64 = 24;

impl Access {
    /// Writes down why a node shows its figures: who counts as initiator, then each figure.
    pub(super) fn explain(
        &self,
        place: usize,
        class: Class,
        node: NodeId,
        best: &[ProximityDomain],
        hmat: &Performance<'_>,
        notes: &mut Notes,
    ) {
        let Some(target) = self.targets.get(place) else { return };
        let subject = Subject::Access(node, class.number());
        let attached = target.attached.filter(|domain| best == [*domain]).zip(target.attached_at);
        let reason = if let Some((domain, source)) = attached {
            let fact = Fact::at(source, "attached initiator domain", u64::from(domain.0));
            Reason::new(rules::ACCESS_ATTACHED).with([fact])
        } else if best.is_empty() || !self.any_locality {
            Reason::new(rules::ACCESS_NONE)
        } else {
            let asked = self.initiators.iter().filter(|one| one.has_cpu || class == Class::Local).count();
            let left: NodeSet = best.iter().map(|domain| NodeId(domain.0)).collect();
            let plural = if best.len() == 1 { "domain" } else { "domains" };
            let detail = format!("of {asked} initiators {plural} {left} {}", remain(best.len()));
            Reason::new(rules::ACCESS_BEST).because(detail)
        };
        notes.reason(subject, reason);
        let number = best
            .first()
            .and_then(|domain| self.initiators.binary_search_by_key(domain, |one| one.domain).ok());
        let Some(number) = number else { return };
        // Where memory is attached, each structure writes the figures of the pairs that it lists; else the last of
        // each kind counts.
        let mut shown: [Option<usize>; 4] = [None; 4];
        for slot in 0..shown.len() {
            let of_slot = |locality: &&Locality| {
                slots_of(locality.kind).is_some_and(|slots| slots.contains(&slot))
                    && locality.cell(number, place).is_some()
            };
            let locality = if attached.is_some() {
                self.localities.iter().rev().find(of_slot)
            } else {
                self.slots.get(slot).copied().flatten().and_then(|at| self.localities.get(at)).filter(of_slot)
            };
            let Some(locality) = locality else { continue };
            // A structure for reads and writes is told once.
            if shown.contains(&Some(locality.entry)) {
                continue;
            }
            if let Some(shown) = shown.get_mut(slot) {
                *shown = Some(locality.entry);
            }
            let Some(entry) = hmat.entries.get(locality.entry) else { continue };
            let value = target.coordinates.get(class).get(locality.kind);
            if let Some(reason) = self.cell_reason(locality, entry, number, place, value) {
                notes.reason(subject, reason);
            }
        }
    }

    /// The reason for one figure, if the cell comes to it: with domains listed twice another one may have counted.
    fn cell_reason(
        &self,
        locality: &Locality,
        entry: &Entry<'_>,
        number: usize,
        place: usize,
        value: u32,
    ) -> Option<Reason> {
        let (row, column) = locality.cell(number, place)?;
        let Content::Locality(_, matrix) = &entry.content else { return None };
        let cell = matrix.get(row, column)?;
        let Locality { kind, base, cells, .. } = locality;
        if normalise(cell, *base, *kind, self.revision) != value {
            return None;
        }
        let before = widen(row.saturating_mul(locality.width).saturating_add(column)).saturating_mul(2);
        let at = Source { offset: cells.offset.saturating_add(before), ..*cells };
        let unit_at = Source { offset: entry.link.source.offset.saturating_add(BASE_UNIT), ..*cells };
        let unit = match (self.revision, kind.is_latency()) {
            (1, _) => Unit::None,
            (_, true) => Unit::Picoseconds,
            (_, false) => Unit::MegabytesPerSecond,
        };
        let facts =
            [Fact::at(at, "cell", u64::from(cell.0)), Fact::at(unit_at, "base unit", base.0).of(unit)];
        let name = kind.name().unwrap_or("data type");
        let detail = format!("{name}: {}", arithmetic(cell, *base, *kind, self.revision));
        Some(Reason::new(rules::FIGURE).with(facts).because(detail))
    }
}

const fn remain(count: usize) -> &'static str {
    if count == 1 { "remains" } else { "remain" }
}

/// How a cell becomes a figure.
fn arithmetic(cell: MatrixCell, base: EntryBaseUnit, kind: DataType, revision: u8) -> String {
    let figure = normalise(cell, base, kind, revision);
    let unit = if kind.is_latency() { "ns" } else { "MB/s" };
    if cell.0 == 0 || cell.0 == 0xffff {
        return format!("cell {:#x} is unknown", cell.0);
    }
    let Some(product) =
        u64::from(cell.0).checked_mul(base.0).filter(|product| *product <= u64::from(u32::MAX))
    else {
        return format!("{}*{} does not fit 32 bits and is unknown", cell.0, base.0);
    };
    let text = format!("{}*{}={product}", cell.0, base.0);
    match revision {
        1 if product < 10 => format!("{text}; below 10 tenths it is unknown"),
        1 => format!("{text} tenths; ({product}+9)/10={figure} {unit}"),
        2 if kind.is_latency() => format!("{text} ps; ({product}+999)/1000={figure} {unit}"),
        _ => {
            let mut text = text;
            text.push(' ');
            text.push_str(unit);
            text
        }
    }
}

impl Locality {
    /// The row and column of an initiator and a target, by their places in the lists of [`Access`].
    fn cell(&self, initiator: usize, target: usize) -> Option<(usize, usize)> {
        let row = self.rows.get(initiator).copied().flatten();
        row.zip(self.columns.get(target).copied().flatten())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_way_of_a_cell_is_told() {
        let tell =
            |cell, base, kind, revision| arithmetic(MatrixCell(cell), EntryBaseUnit(base), kind, revision);
        let (latency, bandwidth) = (DataType::ACCESS_LATENCY, DataType::READ_BANDWIDTH);
        assert_eq!(tell(2, 10_000, latency, 2), "2*10000=20000 ps; (20000+999)/1000=20 ns");
        assert_eq!(tell(301, 999, latency, 2), "301*999=300699 ps; (300699+999)/1000=301 ns");
        assert_eq!(tell(5, 1, bandwidth, 2), "5*1=5 MB/s");
        assert_eq!(tell(3, 5, latency, 1), "3*5=15 tenths; (15+9)/10=2 ns");
        assert_eq!(tell(3, 2, latency, 1), "3*2=6; below 10 tenths it is unknown");
        assert_eq!(tell(0xffff, 1, latency, 2), "cell 0xffff is unknown");
        assert_eq!(tell(2, 1 << 32, latency, 2), "2*4294967296 does not fit 32 bits and is unknown");
    }
}
