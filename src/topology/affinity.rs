//! What belongs to which proximity domain: the structures of the SRAT in table order.

use super::chain::{Chain, End, Link};
use super::{Partial, TableBytes};
use crate::tables::entries::Narrow;
use crate::tables::srat::{
    GenericAffinity, GiccAffinity, ItsAffinity, LocalApicAffinity, MemoryAffinity, RintcAffinity, Srat,
    X2ApicAffinity,
};
use alloc::vec::Vec;

/// The SRAT.
#[derive(Clone, Debug)]
pub struct Affinity {
    /// Revision of the table, on which the width of some fields depends.
    pub revision: u8,
    /// Declared length of the table in bytes.
    pub length: usize,
    /// The structures, in table order.
    pub entries: Vec<Entry>,
    /// How the chain of structures ended.
    pub end: End,
}

/// One structure of the SRAT.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Entry {
    /// Type, place and declared length.
    pub link: Link,
    /// What it says.
    pub content: Content,
}

/// What a structure of the SRAT says.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub enum Content {
    /// A processor by local APIC id.
    LocalApic(Partial<LocalApicAffinity>),
    /// A range of memory.
    Memory(Partial<MemoryAffinity>),
    /// A processor by x2APIC id.
    X2Apic(Partial<X2ApicAffinity>),
    /// An Arm processor.
    Gicc(Partial<GiccAffinity>),
    /// An Arm interrupt translation service.
    Its(Partial<ItsAffinity>),
    /// A device that issues memory accesses.
    GenericInitiator(Partial<GenericAffinity>),
    /// A port behind which memory lies.
    GenericPort(Partial<GenericAffinity>),
    /// A RISC-V processor.
    Rintc(Partial<RintcAffinity>),
    /// A type without a definition.
    Unknown,
}

impl Affinity {
    /// Reads an SRAT.
    #[must_use]
    pub fn read(table: &TableBytes<'_>) -> Self {
        let mut chain = Chain::<Narrow>::new(*table, Srat::FIXED);
        let entries = chain
            .by_ref()
            .map(|(link, at)| Entry {
                link,
                content: match link.kind {
                    0 => Content::LocalApic(table.read(at)),
                    1 => Content::Memory(table.read(at)),
                    2 => Content::X2Apic(table.read(at)),
                    3 => Content::Gicc(table.read(at)),
                    4 => Content::Its(table.read(at)),
                    5 => Content::GenericInitiator(table.read(at)),
                    6 => Content::GenericPort(table.read(at)),
                    7 => Content::Rintc(table.read(at)),
                    _ => Content::Unknown,
                },
            })
            .collect();
        Self { revision: table.revision(), length: table.length(), entries, end: chain.end }
    }
}
