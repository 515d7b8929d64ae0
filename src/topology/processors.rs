//! Which processors there are, by the MADT: local APIC and x2APIC structures in table order.

use super::TableBytes;
use super::chain::{Chain, End, Link};
use crate::tables::entries::Narrow;
use crate::tables::madt::{ApicFlags, LocalApic, LocalX2Apic, Madt};
use crate::units::{ApicId, ProcessorUid};
use alloc::vec::Vec;

/// The processors of the MADT.
#[derive(Clone, Debug)]
pub struct Processors {
    /// Local APIC and x2APIC structures that are known to their end, in table order.
    pub entries: Vec<Processor>,
    /// How the chain of structures ended; also unknown when the last processor is.
    pub end: End,
    /// The ids of who made the table: OEM id and OEM table id.
    pub oem: ([u8; 6], [u8; 8]),
}

/// One processor of the MADT.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Processor {
    /// Type, place and declared length.
    pub link: Link,
    /// Local APIC id: eight bits in a local APIC structure.
    pub apic_id: ApicId,
    /// The processor's number in the namespace.
    pub uid: ProcessorUid,
    /// Whether it can be used.
    pub flags: ApicFlags,
    /// Whether an x2APIC structure names it.
    pub x2apic: bool,
}

impl Processors {
    /// Reads a MADT.
    #[must_use]
    pub fn read(table: &TableBytes<'_>) -> Self {
        let mut chain = Chain::<Narrow>::new(*table, Madt::FIXED);
        let mut entries = Vec::new();
        let mut cut = None;
        for (link, at) in chain.by_ref() {
            let processor = match link.kind {
                0 => table.read::<LocalApic>(at).whole().map(|entry| Processor {
                    link,
                    apic_id: entry.id(),
                    uid: entry.uid(),
                    flags: entry.flags.get(),
                    x2apic: false,
                }),
                9 => table.read::<LocalX2Apic>(at).whole().map(|entry| Processor {
                    link,
                    apic_id: entry.x2apic_id.get(),
                    uid: entry.acpi_processor_uid.get(),
                    flags: entry.flags.get(),
                    x2apic: true,
                }),
                _ => continue,
            };
            match processor {
                Some(processor) => entries.push(processor),
                None => cut = Some(link.source),
            }
        }
        Self { entries, end: cut.map_or(chain.end, End::Unknown), oem: table.oem() }
    }
}
