//! The rules that planned facts point to.

use super::reason::Rule;

macro_rules! rules {
    ($($name:ident = $id:literal, $function:literal, $sentence:literal;)*) => {
        $(
            #[doc = $sentence]
            pub const $name: Rule = Rule { id: $id, sentence: $sentence, function: $function };
        )*
        /// Every rule.
        pub const ALL: &[Rule] = &[$($name),*];
    };
}

rules! {
    MAP_INVALID = "map-invalid", "arch/x86/kernel/e820.c: e820__finish_early_params",
        "the options leave fewer than two entries in the memory map, and the kernel stops";
    MAP_LOST = "map-lost", "arch/x86/kernel/e820.c: e820__memory_setup_default",
        "an entry of the memory map wraps past the end of the address space, and the kernel throws all of it away";

    DESCRIBED = "numa-described", "drivers/acpi/numa/srat.c: acpi_numa_init",
        "the SRAT describes the nodes";
    NUMA_OFF = "numa-off", "arch/x86/mm/numa.c: x86_numa_init",
        "numa=off puts everything on one node";
    ACPI_OFF = "numa-acpi-off", "drivers/acpi/numa/srat.c: acpi_numa_init",
        "acpi=off hides all tables";
    NOACPI = "numa-noacpi", "arch/x86/mm/numa.c: numa_setup",
        "numa=noacpi makes the kernel discard the SRAT, though it still walks it";
    NO_SRAT = "numa-no-srat", "drivers/acpi/numa/srat.c: acpi_numa_init",
        "there is no SRAT";
    NO_MEMORY_ENTRY = "numa-no-memory", "drivers/acpi/numa/srat.c: acpi_numa_init",
        "the SRAT has no enabled memory entry";
    SRAT_BAD_LENGTH = "srat-bad-length", "arch/x86/mm/srat.c, drivers/acpi/numa/srat.c",
        "an entry of the SRAT has a length that its type does not have, and the whole SRAT is discarded";
    SRAT_BAD_DOMAIN = "srat-bad-domain", "drivers/acpi/numa/srat.c: acpi_map_pxm_to_node",
        "a proximity domain is too large for the kernel or node numbers run out, and the whole SRAT is discarded";
    SRAT_TOO_MANY = "srat-too-many-ranges", "mm/numa_memblks.c: numa_add_memblk_to",
        "the SRAT has more memory ranges than the kernel has room for, and is discarded";
    SRAT_ZERO_LENGTH = "srat-zero-length", "lib/fw_table.c: acpi_parse_entries_array",
        "an entry of the SRAT has length 0, which makes the walk fail, and the SRAT is discarded";
    RANGES_CONFLICT = "numa-overlap", "mm/numa_memblks.c: numa_cleanup_meminfo",
        "memory ranges of different nodes overlap in RAM, and the description of nodes is discarded";
    NOT_COVERED = "numa-not-covered", "mm/memblock.c: memblock_validate_numa_coverage",
        "more RAM than the kernel tolerates has no node, and the description of nodes is discarded";
    GAP_CRASH = "numa-gap-crash", "mm/mm_init.c: memmap_init",
        "some RAM has no node, little enough to pass the check, and the kernel dies when it sets up its pages";
    INITIATOR_CRASH = "initiator-crash", "arch/x86/mm/numa.c: init_gi_nodes",
        "a generic initiator's node is put online although the description of nodes was discarded, and the kernel dies";
    EMULATION_CRASH = "fake-crash", "mm/numa_emulation.c: numa_emulation",
        "numa=fake= moves memory-less nodes and there is no SLIT, and the kernel dies on a null pointer";

    NODE_FIRST_USE = "node-first-use", "drivers/acpi/numa/srat.c: acpi_map_pxm_to_node",
        "node numbers are handed out in the order in which proximity domains are first used: processors and initiators in table order, then memory, then windows";
    NODE_WINDOW = "node-window", "drivers/acpi/numa/srat.c: acpi_parse_cfmws",
        "a CXL window that meets no described memory gets a node of its own, with the next proximity domain behind the largest in use";
    WINDOW_FILLED = "window-filled", "mm/numa_memblks.c: numa_fill_memblks",
        "a CXL window that meets described memory is given to the nodes of that memory";
    NODE_FAKED = "node-faked", "arch/x86/mm/numa.c: dummy_numa_init",
        "without a usable description one node is made up for everything";
    NODE_EMULATED = "node-emulated", "mm/numa_emulation.c: numa_emulation",
        "numa=fake= cuts the memory into made-up nodes";
    INITIATOR_DISABLED = "initiator-disabled", "drivers/acpi/numa/srat.c: acpi_parse_gi_affinity",
        "a disabled generic initiator ends the walk over processors and initiators: later ones are not seen";
    INITIATOR_NO_NODE = "initiator-no-node", "drivers/acpi/numa/srat.c: acpi_parse_gi_affinity",
        "a generic initiator whose domain gets no node ends the walk over processors and initiators";
    ONLINE_MEMORY = "online-memory", "arch/x86/mm/numa.c: numa_register_nodes",
        "a node that owns RAM is online";
    ONLINE_CPU = "online-cpu", "arch/x86/mm/numa.c: init_cpu_to_node",
        "the node of a possible processor is online";
    ONLINE_INITIATOR = "online-initiator", "arch/x86/mm/numa.c: init_gi_nodes",
        "the node of a generic initiator is online";
    ONLINE_ADDED = "online-added", "mm/memory_hotplug.c: add_memory_resource",
        "a node comes online when memory is added to it";
    OFFLINE = "offline", "arch/x86/mm/numa.c: numa_register_nodes",
        "a node without RAM, processors and generic initiators is possible, but not online";
    CPU_SRAT = "cpu-srat", "arch/x86/mm/srat.c: acpi_numa_processor_affinity_init",
        "a processor is on the node that the SRAT names for its APIC id";
    CPU_ROUND_ROBIN = "cpu-round-robin", "arch/x86/mm/numa.c: numa_init_array",
        "processors without a SRAT entry are dealt out over the nodes with RAM in turn";
    CPU_CACHE = "cpu-cache", "arch/x86/kernel/cpu/amd.c: srat_detect_node",
        "a processor without a SRAT entry is on the node that has the number of its last-level cache, else on that of a neighbour";

    SLIT_USED = "slit-used", "drivers/acpi/numa/srat.c: acpi_parse_slit",
        "distances come from the SLIT; localities are proximity domains";
    SLIT_INVALID = "slit-invalid", "drivers/acpi/numa/srat.c: slit_valid",
        "the SLIT has a diagonal entry other than 10, or another entry of 10 or less, and is ignored";
    DISTANCE_DEFAULT = "distance-default", "mm/numa_memblks.c: __node_distance",
        "without a SLIT the distance is 10 to the node itself and 20 to any other";

    HMAT_ABSENT = "hmat-absent", "drivers/acpi/numa/hmat.c: hmat_init",
        "there is no HMAT";
    HMAT_OFF = "hmat-off", "drivers/acpi/numa/hmat.c: hmat_init",
        "the HMAT is not looked at: numa=nohmat, no SRAT, or a SRAT that was discarded as bad";
    HMAT_REVISION = "hmat-revision", "drivers/acpi/numa/hmat.c: hmat_init",
        "the HMAT has a revision that the kernel does not know, and is ignored";
    HMAT_DROPPED_LENGTH = "hmat-bad-length", "drivers/acpi/numa/hmat.c: hmat_parse_subtable",
        "a structure of the HMAT has a length that does not fit its type, and the whole HMAT is dropped";
    HMAT_DROPPED_MEMORY = "hmat-unknown-memory", "drivers/acpi/numa/hmat.c: hmat_parse_proximity_domain",
        "the HMAT names a memory domain that the SRAT has no memory for, and the whole HMAT is dropped";
    HMAT_DROPPED_INITIATOR = "hmat-unknown-initiator", "drivers/acpi/numa/hmat.c: hmat_parse_proximity_domain",
        "the HMAT attaches memory to a domain that has no node, and the whole HMAT is dropped";
    HMAT_CRASH = "hmat-crash", "drivers/acpi/numa/hmat.c: hmat_parse_locality",
        "the lists of a locality structure overflow the check of its length, and the kernel reads far behind the table and dies";
    ACCESS_ATTACHED = "access-attached", "drivers/acpi/numa/hmat.c: hmat_update_target_attrs",
        "memory that is attached to an initiator shows the figures from that initiator";
    ACCESS_BEST = "access-best", "drivers/acpi/numa/hmat.c: hmat_update_target_attrs",
        "of all initiators those remain that are best in write latency, then read latency, write bandwidth, read bandwidth; each figure is that of the remaining ones";
    FIGURE = "hmat-figure", "drivers/acpi/numa/hmat.c: hmat_normalize",
        "a cell of the HMAT times the base unit of its structure is the figure: picoseconds are rounded up to nanoseconds, MB/s stay; 0 and 0xffff are unknown";
    ACCESS_NONE = "access-none", "drivers/acpi/numa/hmat.c: hmat_update_target_attrs",
        "the HMAT has no figures for the memory itself, or no initiators";
    ACCESS_PORT = "access-port", "drivers/acpi/numa/hmat.c: hmat_register_target",
        "a domain that is also a generic port shows no access classes";

    DEVICE_REFUSED = "device-refused", "drivers/acpi/acpi_memhotplug.c, mm/memory_hotplug.c: add_memory_resource",
        "the kernel refuses a memory device: not aligned to blocks, on occupied addresses, beyond mem=, or on a node that may not exist";
    TARGET_NODE = "target-node", "mm/numa_memblks.c: phys_to_target_node",
        "memory added at an address goes to the node that the tables name for it";
    TIER_DEFAULT = "tier-default", "mm/memory-tiers.c: set_node_memory_tier",
        "without figures memory has the abstract distance of DRAM, 576";
    TIER_DISTANCE = "tier-distance", "mm/memory-tiers.c: mt_perf_to_adistance",
        "the abstract distance is 576 times the latency and divided by the bandwidth relative to the reference DRAM; 128 of it are one tier";
    TIER_KMEM = "tier-kmem", "drivers/dax/kmem.c: dev_dax_kmem_probe",
        "memory that kmem adds without figures has five times the abstract distance of DRAM, 2880";
    TIER_EARLY = "tier-early", "mm/memory-tiers.c: memtier_hotplug_callback",
        "memory that was added and brought online before the HMAT is read has the abstract distance of DRAM, for good";
    TIER_MOVED = "tier-moved", "mm/memory-tiers.c: set_node_memory_tier",
        "the owner puts the node in this tier; the kernel offers no way to";
    QUIRK_OFF = "quirk-off", "mm/memory-tiers.c: mt_perf_to_adistance",
        "the owner asks for a kernel without this quirk";
    REFERENCE = "reference", "drivers/acpi/numa/hmat.c: hmat_set_default_dram_perf",
        "the reference is the first node with processors and memory";
    REFERENCE_ZERO = "reference-incomplete", "mm/memory-tiers.c: mt_set_default_dram_perf",
        "a node with processors and memory lacks latency or bandwidth in access class 1, so the HMAT gives no abstract distances";
    REFERENCE_MISMATCH = "reference-mismatch", "mm/memory-tiers.c: mt_set_default_dram_perf",
        "nodes with processors and memory differ by more than a tenth, so nothing gives abstract distances any more";
    DEMOTION_NEXT = "demotion-next", "mm/memory-tiers.c: establish_demotion_targets",
        "pages go to the nodes of the next slower tier that come first in fallback order and share the distance of the first";
    DEMOTION_LAST = "demotion-last", "mm/memory-tiers.c: establish_demotion_targets",
        "a node of the slowest tier demotes to nobody";
    DEMOTION_FORBIDDEN = "demotion-forbidden", "mm/memory-tiers.c: establish_demotion_targets",
        "the owner forbids demotion from the node, or to every node of the slower tiers";
    WEIGHTS_DEFAULT = "weights-default", "mm/mempolicy.c: reduce_interleave_weights",
        "without bandwidth every weight is 1";
    WEIGHTS_AUTO = "weights-auto", "mm/mempolicy.c: mempolicy_set_node_perf",
        "weights follow the narrower of read and write bandwidth that nodes with memory show for processors";
    WEIGHTS_BANDWIDTH = "weights-bandwidth", "mm/mempolicy.c: reduce_interleave_weights",
        "each weight is 32 times the node's share of all bandwidth, at least 1, reduced by their common divisor";
    WEIGHTS_BY_HAND = "weights-by-hand", "mm/mempolicy.c",
        "this version has a weight of 1 for each possible node until it is set by hand";
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(names.len(), ALL.len());
        assert!(ALL.iter().all(|rule| rule.function.contains(".c") && !rule.sentence.ends_with('.')));
    }
}
