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
    /// Local APIC and x2APIC structures that are known as far as they count, in table order.
    pub entries: Vec<Processor>,
    /// How the chain of structures ended.
    pub end: End,
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
        let entries = chain
            .by_ref()
            .filter_map(|(link, at)| match link.kind {
                0 => {
                    let entry = table.read::<LocalApic>(at);
                    let entry = entry.whole()?;
                    let (apic_id, uid, flags) = (entry.id(), entry.uid(), entry.flags.get());
                    Some(Processor { link, apic_id, uid, flags, x2apic: false })
                }
                9 => {
                    let entry = table.read::<LocalX2Apic>(at);
                    let entry = entry.whole()?;
                    let (apic_id, uid) = (entry.x2apic_id.get(), entry.acpi_processor_uid.get());
                    Some(Processor { link, apic_id, uid, flags: entry.flags.get(), x2apic: true })
                }
                _ => None,
            })
            .collect();
        Self { entries, end: chain.end }
    }
}
