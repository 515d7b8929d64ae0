//! What the kernel does that hardly anybody wants, by name, each with what a kernel without it would do.
//!
//! A version has its quirks in [`Switches`](super::kernel::Switches); taking one out of the set gives the plan of a
//! kernel that is the same but for that.

use core::fmt;

macro_rules! quirks {
    ($($(#[$meta:meta])* $name:ident = $id:literal, $function:literal, $sentence:literal, $instead:literal;)*) => {
        /// One behaviour that hardly anybody wants.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[non_exhaustive]
        pub enum Quirk {
            $(#[doc = $sentence] $name,)*
        }

        impl Quirk {
            /// Every quirk, in the order in which it acts while booting.
            pub const ALL: &'static [Self] = &[$(Self::$name),*];

            /// Its stable name.
            #[must_use]
            pub const fn id(self) -> &'static str {
                match self { $(Self::$name => $id,)* }
            }

            /// What the kernel does, in one sentence.
            #[must_use]
            pub const fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }

            /// What is done instead where the quirk is off.
            #[must_use]
            pub const fn instead(self) -> &'static str {
                match self { $(Self::$name => $instead,)* }
            }

            /// Where the kernel has it: file and function.
            #[must_use]
            pub const fn function(self) -> &'static str {
                match self { $(Self::$name => $function,)* }
            }
        }
    };
}

quirks! {
    InitiatorEndsWalk = "initiator-ends-walk", "drivers/acpi/numa/srat.c: acpi_parse_gi_affinity",
        "a disabled generic initiator ends the walk over processors and initiators, so later ones are not seen",
        "only the disabled entry is passed over";
    PortCollision = "port-collision", "drivers/acpi/numa/srat.c: acpi_parse_cfmws",
        "the domain made up for a CXL window can be that of a generic port, whose figures then count for the memory in the window",
        "domains are made up behind every domain that an enabled entry of the SRAT names, generic ports included";
    UnknownMemoryDropsHmat = "unknown-memory-drops-hmat", "drivers/acpi/numa/hmat.c: hmat_parse_proximity_domain",
        "one structure about a memory domain without memory, or attached to a domain without a node, drops the whole HMAT",
        "only that structure is passed over";
    PortHidesMemory = "port-hides-memory", "drivers/acpi/numa/hmat.c: hmat_register_target",
        "memory whose domain is also a generic port shows no figures",
        "it shows those of memory";
    HalfKnown = "half-known", "mm/memory-tiers.c: mt_perf_to_adistance",
        "of memory of which only one direction is known the other counts as 0, so it looks twice as fast, or half as wide",
        "the known direction counts for both";
    IncompleteDisables = "incomplete-disables", "mm/memory-tiers.c: mt_set_default_dram_perf",
        "one node with processors and memory without complete figures keeps the HMAT from giving any abstract distance",
        "that node is passed over and has the distance of DRAM";
    MismatchDisables = "mismatch-disables", "mm/memory-tiers.c: mt_set_default_dram_perf",
        "nodes with processors and memory that differ by more than a tenth turn abstract distances off for all memory",
        "the first such node stays the reference, and the others have distances of their own";
    DramSpread = "dram-spread", "mm/memory-tiers.c: mt_perf_to_adistance",
        "nodes with processors and memory within a tenth of the reference can fall into different tiers and demote into each other",
        "all of them have the distance of DRAM";
    TruncatedDistance = "truncated-distance", "mm/memory-tiers.c: mt_perf_to_adistance",
        "the abstract distance is divided by the latency of the reference, rounded down, before it is multiplied by its bandwidth",
        "both are multiplied first, and one division rounds down once";
    EarlyDevices = "early-devices", "mm/memory-tiers.c: memtier_hotplug_callback",
        "memory devices of the boot that come online before the HMAT is read have the distance of DRAM for good",
        "their distance is found again when the HMAT has been read";
    DemotionNextTier = "demotion-next-tier", "mm/memory-tiers.c: establish_demotion_targets",
        "pages are demoted to the next slower tier only, even where a node of a tier behind it is nearer",
        "they go to the slower tier with the nearest node, the fastest of several";
    DemotionPenalties = "demotion-penalties", "mm/page_alloc.c: find_next_best_node",
        "a lower number, processors and the load of fallback lists count against a demotion target, so that a farther one can win and equally near ones can be left out",
        "all nodes at the smallest distance are targets";
    StaleWeights = "stale-weights", "mm/mempolicy.c: mempolicy_set_node_perf",
        "a node whose figures were known before it had memory keeps the interleave weight 1, and the others keep theirs",
        "weights are found again whenever a node gets its first memory";
    LinkLatencyUnit = "link-latency-unit", "drivers/cxl/core/pci.c: cxl_pci_get_latency",
        "the latency of a CXL link is computed in picoseconds and added to nanoseconds, so a link counts a thousandfold",
        "it is turned into nanoseconds, rounded up";
    PortByUid = "port-by-uid", "drivers/acpi/numa/hmat.c: acpi_find_genport_target",
        "memory counts as a generic port with UID 0 when that of a host bridge is looked for, so bridge 0 has no figures",
        "only generic ports are looked at";
}

impl Quirk {
    /// The quirk with this name.
    #[must_use]
    pub fn from_id(id: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|quirk| quirk.id() == id)
    }

    /// Its place in [`ALL`](Self::ALL).
    fn place(self) -> Option<usize> {
        Self::ALL.iter().position(|quirk| *quirk == self)
    }
}

impl fmt::Display for Quirk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

/// The quirks that a kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    on: [bool; Quirk::ALL.len()],
}

impl Quirks {
    /// Every quirk.
    pub const ALL: Self = Self { on: [true; Quirk::ALL.len()] };
    /// No quirk.
    pub const NONE: Self = Self { on: [false; Quirk::ALL.len()] };

    /// Whether the kernel has `quirk`.
    #[must_use]
    pub fn has(&self, quirk: Quirk) -> bool {
        quirk.place().and_then(|place| self.on.get(place)).copied().unwrap_or_default()
    }

    /// The same without `quirk`.
    #[must_use]
    pub fn without(mut self, quirk: Quirk) -> Self {
        if let Some(on) = quirk.place().and_then(|place| self.on.get_mut(place)) {
            *on = false;
        }
        self
    }

    /// The quirks that the kernel has, in the order of [`Quirk::ALL`].
    pub fn iter(&self) -> impl Iterator<Item = Quirk> + '_ {
        Quirk::ALL.iter().zip(&self.on).filter(|(_, on)| **on).map(|(quirk, _)| *quirk)
    }
}

impl Default for Quirks {
    fn default() -> Self {
        Self::ALL
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec::Vec;

    #[test]
    fn names_lead_back_and_differ() {
        for quirk in Quirk::ALL {
            assert_eq!(Quirk::from_id(quirk.id()), Some(*quirk));
        }
        assert_eq!(Quirk::from_id("truncation"), None);
    }

    #[test]
    fn one_goes_and_the_others_stay() {
        let rest = Quirks::ALL.without(Quirk::DramSpread);
        assert!(!rest.has(Quirk::DramSpread) && rest.has(Quirk::HalfKnown));
        assert_eq!(rest.iter().count(), Quirk::ALL.len() - 1);
        assert_eq!(Quirk::ALL.iter().fold(Quirks::ALL, |quirks, quirk| quirks.without(*quirk)), Quirks::NONE);
        assert_eq!(Quirks::NONE.iter().collect::<Vec<_>>(), []);
    }
}
