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

    TABLE_TOO_LONG = "table-too-long", "mm/early_ioremap.c: __early_ioremap",
        "the table takes more than the 64 pages that can be mapped this early, and is passed over";
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
    DAX_OVER_RAM = "dax-over-ram", "drivers/cxl/core/region.c: cxl_region_probe",
        "a CXL region over RAM of the boot gets no DAX device: it is System RAM already";
    NO_ROOM_IN_WINDOWS = "no-room-in-windows", "drivers/cxl/core/region.c: alloc_hpa",
        "no CXL window has so many free addresses in one piece";
    NO_ROOM_FOR_DEVICE = "no-room-for-device", "mm/memory_hotplug.c: mhp_range_allowed",
        "no free addresses that the kernel can reach hold so much memory";
    NO_SOFT_RESERVED = "no-soft-reserved", "drivers/dax/hmem/device.c: hmem_register_resource",
        "no soft-reserved range that is free holds so much; which there are is settled at boot";
    BOOT_MEMORY_STAYS = "boot-memory-stays", "drivers/acpi/scan.c: acpi_scan_hot_remove",
        "memory of the boot belongs to no device that could be removed; its blocks can go offline at most";
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

    ZONE_ASKED = "zone-asked", "mm/memory_hotplug.c: zone_for_pfn_range",
        "the zone is the one that was asked for; a kernel zone is the one whose span the block lies in, else Normal";
    ZONE_INHERITED = "zone-inherited", "mm/memory_hotplug.c: default_zone_for_pfn",
        "a block inside the span of one zone of its node comes online there";
    ZONE_MOVABLE_NODE = "zone-movable-node", "mm/memory_hotplug.c: default_zone_for_pfn",
        "with movable_node a block outside all zones of its node, or inside two, is movable";
    ZONE_DEFAULT = "zone-default", "mm/memory_hotplug.c: default_zone_for_pfn",
        "a block outside all zones of its node, or inside two, comes online in a kernel zone";
    ZONE_RATIO = "zone-ratio", "mm/memory_hotplug.c: auto_movable_can_online_movable",
        "movable memory stays within the ratio of kernel memory of the boot, so the block is movable";
    ZONE_RATIO_EXCEEDED = "zone-ratio-exceeded", "mm/memory_hotplug.c: auto_movable_can_online_movable",
        "movable memory would exceed the ratio of kernel memory of the boot, so the block comes online in a kernel zone";
    ZONE_GROUP_KERNEL = "zone-group-kernel", "mm/memory_hotplug.c: auto_movable_zone_for_pfn",
        "part of the same device is in a kernel zone, so the rest goes there too";
    MEMORY_ADDED = "memory-added", "mm/memory_hotplug.c: add_memory_resource",
        "memory that is added becomes blocks of its node, offline at first";
    MEMORY_REMOVED = "memory-removed", "mm/memory_hotplug.c: try_remove_memory",
        "memory whose blocks are all offline can be taken away";
    NODE_ADDED = "node-added", "mm/memory_hotplug.c: __try_online_node",
        "a node comes online when memory is added to it, before any of it is online";
    NODE_EMPTY = "node-empty", "mm/memory_hotplug.c: try_offline_node",
        "a node without pages, memory blocks and processors goes offline";
    BLOCK_OFFLINE = "block-offline", "mm/memory_hotplug.c: offline_pages",
        "all pages of the block could be moved elsewhere";
    FIRST_MEMORY = "first-memory", "mm/memory_hotplug.c: online_pages",
        "pages of the node are online, and there were none before";
    LAST_MEMORY = "last-memory", "mm/memory_hotplug.c: offline_pages",
        "no page of the node is online any more";
    ACCESS_SHOWN = "access-shown", "drivers/acpi/numa/hmat.c: hmat_callback",
        "a node that gets its first memory shows the figures of its domain, once";
    TIER_KEPT = "tier-kept", "mm/memory-tiers.c: set_node_memory_tier",
        "a node that had memory before keeps its abstract distance";
    TIER_CREATED = "tier-created", "mm/memory-tiers.c: find_create_memory_tier",
        "no other node has an abstract distance of this tier";
    TIER_LEFT = "tier-left", "mm/memory-tiers.c: clear_node_memory_tier",
        "a node without memory is in no tier";
    TIER_EMPTY = "tier-empty", "mm/memory-tiers.c: clear_node_memory_tier",
        "a tier without nodes vanishes";
    DEMOTION_REBUILT = "demotion-rebuilt", "mm/memory-tiers.c: memtier_hotplug_callback",
        "targets are found anew whenever a node gets its first memory or loses its last";

    DRIVER_LOADED = "driver-loaded", "kernel/module/main.c: load_module",
        "the driver takes the devices that are there";
    DRIVER_THERE = "driver-there", "kernel/module/main.c: module_patient_check_exists",
        "the driver is loaded already";
    SETTING = "setting", "mm/memory_hotplug.c, drivers/base/memory.c, mm/memory-tiers.c",
        "the setting holds from now on";
    SETTING_INVALID = "setting-invalid", "kernel/params.c, drivers/base/memory.c: auto_online_blocks_store",
        "the setting has no such value";
    DEVICE_THERE = "device-there", "no kernel function: the machine itself",
        "a memory device is plugged in at these addresses already";
    NO_DEVICE = "no-device", "no kernel function: the machine itself",
        "no memory device is plugged in at these addresses";
    ADD_UNALIGNED = "add-unaligned", "mm/memory_hotplug.c: check_hotplug_memory_range",
        "memory that is added has to begin and end at block borders";
    ADD_NO_NODE = "add-no-node", "mm/memory_hotplug.c: add_memory_resource",
        "memory can only be added to a node that was possible at boot";
    ADD_OCCUPIED = "add-occupied", "mm/memory_hotplug.c: register_memory_resource",
        "the addresses are taken";
    ADD_BEYOND = "add-beyond", "mm/memory_hotplug.c: mhp_range_allowed",
        "the addresses are beyond those that the kernel can manage";
    ADD_TOO_SMALL = "add-too-small", "drivers/dax/kmem.c: dev_dax_kmem_probe",
        "no whole memory block lies in the ranges, and kmem adds nothing";
    ADD_BUSY = "add-busy", "drivers/dax/kmem.c: dev_dax_kmem_probe",
        "something that does not hold all of the range is at its addresses";
    ADD_NO_MEMORY = "add-no-memory", "mm/sparse-vmemmap.c: vmemmap_populate",
        "kernel memory has no room for the page structures";
    EJECT_BUSY = "eject-busy", "drivers/acpi/scan.c: acpi_scan_hot_remove",
        "a block stays online, and those that had gone offline come back online wherever the policy puts them now";
    NO_BLOCK = "no-block", "drivers/base/memory.c",
        "there is no such block";
    BLOCK_STATE = "block-state", "drivers/base/core.c: device_online, device_offline",
        "the block is in the wanted state already";
    BLOCK_NO_ZONE = "block-no-zone", "drivers/base/memory.c: memory_block_offline",
        "the block lies in several zones or nodes and cannot go offline";
    BLOCK_HOLE = "block-hole", "mm/memory_hotplug.c: offline_pages",
        "the block has a hole and cannot go offline";
    BLOCK_BUSY = "block-busy", "mm/memory_hotplug.c: offline_pages",
        "a page of the block cannot be moved; taken as given";
    BLOCK_MEMMAP = "block-memmap", "mm/memblock.c: memblock_alloc_range_nid, mm/sparse.c: sparse_init_nid",
        "something of the boot lies in the block and cannot be moved, such as page structures";
    KERNEL_PAGES = "kernel-pages", "mm/page_isolation.c: has_unmovable_pages",
        "whether kernel memory can go offline hangs on what the running kernel had put there";
    CEDT_ZERO_LENGTH = "cedt-zero-length", "lib/fw_table.c: acpi_parse_entries_array",
        "a structure of the CEDT has length 0, which makes the walk fail, and cxl_acpi does not come up";
    WINDOW_ACCEPTED = "window-accepted", "drivers/cxl/acpi.c: __cxl_parse_cfmws",
        "a sound window becomes a decoder of the root";
    WINDOW_CACHED = "window-cached", "drivers/cxl/acpi.c: cxl_setup_extended_linear_cache",
        "DRAM of half the size of the window caches it";
    WINDOW_REFUSED = "window-refused", "drivers/cxl/acpi.c: __cxl_parse_cfmws",
        "the window becomes no decoder, and the driver goes on with the next";
    REGION_CAPTURED = "region-captured", "drivers/cxl/core/region.c: cxl_region_attach",
        "the running system that was captured had the region, and it is taken as it was";
    REGION_ASSEMBLED = "region-assembled", "drivers/cxl/core/region.c: cxl_add_to_region",
        "firmware had programmed the region, and all decoders fit together";
    REGION_REFUSED = "region-refused", "drivers/cxl/core/region.c: cxl_add_to_region",
        "a programmed decoder does not become part of a working region";
    DECODERS_REFUSED = "decoders-refused", "drivers/cxl/core/hdm.c: init_hdm_decoder",
        "one decoder in an impossible state makes all decoders of its port fail, and what is below has no endpoint";
    PORT_UNREACHABLE = "port-unreachable", "drivers/cxl/core/port.c: devm_cxl_enumerate_ports",
        "a port is not reached when one above it does not come up";
    HOST_RESTRICTED = "host-restricted", "drivers/cxl/acpi.c: add_host_bridge_dport",
        "a host bridge of CXL 1.1 becomes no port, and what is below it takes part in no region";
    TARGET_ABSENT = "window-target-absent", "drivers/cxl/core/port.c: cxl_decoder_add",
        "a window names a host bridge that is not there, and its target list ends in front of it";
    DEVICE_ABSENT = "device-absent", "drivers/cxl/core/region.c: cxl_region_attach_auto",
        "a region waits for all its devices, and stays without effect while one is not there";
    DEVICE_UNATTACHED = "device-unattached", "drivers/cxl/mem.c: cxl_mem_probe",
        "a memory device without an endpoint takes part in no region";
    TARGETS_SHORT = "targets-short", "drivers/cxl/core/port.c: update_decoder_targets",
        "a decoder has fewer targets than ways: some of its addresses lead nowhere";
    CXL_NO_FIGURES = "cxl-no-figures", "drivers/cxl/core/cdat.c: cxl_endpoint_parse_cdat",
        "the kernel knows no latency and bandwidth of the memory of a CXL device";
    CXL_DEVICE_FIGURES = "cxl-device-figures", "drivers/cxl/core/cdat.c: cxl_port_perf_data_calculate",
        "latencies of host bridge, links, switches and device add up, and the narrowest of them sets the bandwidth";
    QOS_ERASED = "qos-erased", "drivers/cxl/core/cdat.c: cxl_qos_class_verify",
        "memory whose QoS class no window has, or whose host bridge is a target of none, loses class and figures";
    REGION_BANDWIDTH = "region-bandwidth", "drivers/cxl/core/cdat.c: cxl_region_shared_upstream_bandwidth_update",
        "bandwidths of devices add up, at every level up to what the link, the switch or the host bridge carries";
    REGION_BANDWIDTH_KEPT = "region-bandwidth-kept",
        "drivers/cxl/core/cdat.c: cxl_region_shared_upstream_bandwidth_update",
        "the bandwidth of shared links is not looked at, and that of the devices is added up";
    TIER_REGION = "tier-region", "drivers/cxl/core/region.c: cxl_region_calculate_adistance",
        "the abstract distance is that of DRAM, scaled by the latency and bandwidth of the CXL region";
    REGION_DECODED = "region-decoded", "no kernel function: CXL 3.1 §8.2.4.20 and §9.18.1",
        "each decoder on the way selects its target by the absolute address, and the endpoints take the stripes of the region one after another";
    REGION_REPORTED = "region-reported", "drivers/cxl/core/region.c: region_offset_to_dpa_result, cxl_dpa_to_hpa",
        "Linux counts chunks from the start of the region when it names devices and addresses, which is not always what the decoders do";
    REGION_WINDOW_KIND = "region-window-kind", "drivers/cxl/core/port.c: can_create_ram, can_create_pmem",
        "a region can only be made in a window for host-only coherent memory of its kind";
    REGION_GRANULARITY_CODE = "region-granularity-code", "drivers/cxl/cxl.h: granularity_to_eig",
        "a granularity is a power of two from 256 bytes to 16 KiB";
    REGION_WINDOW_GRANULARITY = "region-window-granularity", "drivers/cxl/core/region.c: set_interleave_granularity",
        "in a window with several ways a region has the granularity of the window";
    REGION_WAYS_CODE = "region-ways-code", "drivers/cxl/cxl.h: ways_to_eiw",
        "a region has 1, 2, 3, 4, 6, 8, 12 or 16 ways";
    REGION_WINDOW_WAYS = "region-window-ways", "drivers/cxl/core/region.c: set_interleave_ways",
        "the ways of a region are those of its window times a power of two";
    REGION_SIZE_UNIT = "region-size-unit", "drivers/cxl/core/region.c: alloc_hpa",
        "the size of a region is a multiple of 256 MiB for each of its ways";
    REGION_FREE_ADDRESSES = "region-free-addresses", "kernel/resource.c: alloc_free_mem_region",
        "a region takes the lowest gap of its window that it fits in, from 256 MiB on";
    REGION_FREE_ENDPOINT_DECODER = "region-free-endpoint-decoder", "no kernel function: cxl create-region",
        "a target is a device that is there, with a decoder that has no device memory yet";
    REGION_DEVICE_KIND = "region-device-kind", "drivers/cxl/core/hdm.c: cxl_dpa_set_part",
        "the device has a partition of the kind of the region";
    REGION_SHARE_UNIT = "region-share-unit", "drivers/cxl/core/port.c: dpa_size_store",
        "device memory is given away in multiples of 256 MiB";
    REGION_FREE_DEVICE_MEMORY = "region-free-device-memory", "drivers/cxl/core/hdm.c: cxl_dpa_alloc",
        "a decoder gets device memory behind all that its partition has given away";
    REGION_DEVICE_MEMORY_ORDER = "region-device-memory-order", "drivers/cxl/core/hdm.c: cxl_dpa_free, __cxl_dpa_reserve",
        "device memory goes to decoders in the order of their indexes and comes back in reverse, when they are in no region and off";
    REGION_ENDPOINT_INTERLEAVE = "region-endpoint-interleave", "drivers/cxl/core/region.c: check_interleave_cap",
        "the decoders of a device have to be able to interleave as the region does";
    REGION_ADDRESSES_FIRST = "region-addresses-first", "drivers/cxl/core/region.c: cxl_region_attach",
        "a region needs addresses before it gets targets";
    REGION_TARGET_COUNT = "region-target-count", "drivers/cxl/core/region.c: cxl_region_attach",
        "a region has as many targets as ways";
    REGION_BELOW_ROOT = "region-below-root", "drivers/cxl/core/region.c: cxl_region_attach",
        "a target is behind a host bridge that the root has";
    REGION_COHERENCE = "region-coherence", "drivers/cxl/core/region.c: cxl_region_attach",
        "decoders of one region have one kind of coherence, host-only for one that user space makes";
    REGION_SHARE = "region-share", "drivers/cxl/core/region.c: cxl_region_attach",
        "the device memory of every target times the ways is the size of the region without its cache";
    REGION_DEVICE_ONCE = "region-device-once", "drivers/cxl/core/region.c: cxl_region_validate_position",
        "a device is at one position of a region, and a position has one device";
    REGION_BRIDGE_TURN = "region-bridge-turn", "drivers/cxl/core/region.c: cxl_region_attach_position",
        "position p of a region belongs to the host bridge at p modulo the ways of its window";
    REGION_FREE_PORT_DECODER = "region-free-port-decoder", "drivers/cxl/core/region.c: match_free_decoder",
        "a port gives a region the decoder behind its committed ones, if no region has it and none before it is off";
    REGION_ADDRESS_ORDER = "region-address-order", "drivers/cxl/core/region.c: alloc_region_ref",
        "a region joins a port only with addresses above those of all regions there";
    REGION_PORT_TARGETS = "region-port-targets", "drivers/cxl/core/region.c: cxl_port_attach_region, cxl_port_setup_targets",
        "a decoder of a port leads to no more than its number of targets, 8 at most";
    REGION_PORT_POWER = "region-port-power", "drivers/cxl/core/region.c: cxl_port_setup_targets",
        "below a bridge or switch a power of two of downstream ports takes part";
    REGION_PORT_GRANULARITY = "region-port-granularity", "drivers/cxl/core/region.c: cxl_port_setup_targets",
        "the granularity of a bridge or switch is that of the level above times its ways, 16 KiB at most";
    REGION_PORT_INTERLEAVE = "region-port-interleave", "drivers/cxl/core/region.c: check_interleave_cap",
        "the decoders of a bridge or switch have to be able to interleave as the region needs";
    REGION_PEERS = "region-peers", "drivers/cxl/core/region.c: check_last_peer",
        "devices behind one downstream port are as many positions apart as there are ports beside it on all levels up";
    REGION_ALL_TARGETS = "region-all-targets", "drivers/cxl/core/region.c: __commit",
        "a region is committed when it has all its targets";
    REGION_FLUSH = "region-flush", "drivers/cxl/core/region.c: cxl_region_invalidate_memregion",
        "a region is committed only where the caches of the processors can be flushed, which a guest of a hypervisor cannot";
    REGION_COMMIT_ORDER = "region-commit-order", "drivers/cxl/core/hdm.c: cxl_decoder_commit",
        "the decoders of a port are committed in the order of their indexes";
    REGION_UNLOCKED = "region-unlocked", "drivers/cxl/core/region.c: commit_store",
        "a region with locked decoders, or in a window of fixed configuration, stays as it is";
    REGION_CREATED = "region-created", "drivers/cxl/core/region.c: __create_region, cxl_region_attach, __commit",
        "every write of cxl create-region was taken: the region has addresses, targets and committed decoders";
    REGION_BOUND = "region-bound", "drivers/cxl/core/region.c: cxl_region_probe",
        "the region driver takes a committed region";
    REGION_UNBOUND = "region-unbound", "drivers/cxl/core/region.c: cxl_region_driver",
        "without its driver a region has no device over it";
    REGION_RESET = "region-reset", "drivers/cxl/core/region.c: cxl_region_decode_reset",
        "the decoders of the region are off";
    REGION_TARGET_LEFT = "region-target-left", "drivers/cxl/core/region.c: __cxl_decoder_detach",
        "a decoder leaves its region; ports give their decoder back with the last one behind them";
    REGION_DELETED = "region-deleted", "drivers/cxl/core/region.c: unregister_region, cxl_region_release",
        "the region is gone; its window takes its number for the next one when that is lower";
    REGION_MEMORY_ONLINE = "region-memory-online", "no kernel function: cxl disable-region",
        "memory of the region is online, and the tool does not touch it";
    REGION_MISSING = "region-missing", "no kernel function: cxl destroy-region",
        "there is no such region";
    CXL_NOT_DESCRIBED = "cxl-not-described", "no kernel function: the inputs",
        "what a region would need hangs on devices that no input describes";
    DAX_ADDED = "dax-added", "drivers/dax/cxl.c: cxl_dax_region_probe",
        "a committed region of volatile memory with its driver has a DAX device, unless it lies over memory of the boot";
    DAX_REMOVED = "dax-removed", "drivers/dax/bus.c: unregister_dev_dax",
        "the DAX device goes with its region";
    DAX_BOUND = "dax-bound", "drivers/base/dd.c: device_driver_attach",
        "the driver takes the device";
    DAX_UNBOUND = "dax-unbound", "drivers/dax/kmem.c: dev_dax_kmem_remove",
        "the driver lets the device go; kmem takes its memory away where every block is offline";
    DAX_LEFT = "dax-left", "drivers/dax/kmem.c: dev_dax_kmem_remove",
        "a block is online: the memory stays until the next boot, and the driver lets the device go all the same";
    DAX_MISSING = "dax-missing", "drivers/base/bus.c: bind_store, unbind_store",
        "there is no such device, or no driver of that name is loaded, or the device has none";
    DAX_TAKEN = "dax-taken", "drivers/base/dd.c: device_driver_attach",
        "the device has a driver already";
    DAX_MEMMAP_OFF = "dax-memmap-off", "drivers/dax/bus.c: memmap_on_memory_store",
        "memory can hold its own page structures only where memory_hotplug.memmap_on_memory says so and the block size allows it";
    DAX_MEMMAP_BOUND = "dax-memmap-bound", "drivers/dax/bus.c: memmap_on_memory_store",
        "where page structures go cannot be changed while kmem has the device";
    KMEM_NO_NODE = "kmem-no-node", "drivers/dax/kmem.c: dev_dax_kmem_probe",
        "the device has no node, and kmem refuses it";
    KMEM_TOO_SMALL = "kmem-too-small", "drivers/dax/kmem.c: dax_kmem_range",
        "no whole memory block lies in the device, and kmem refuses it";
    KMEM_BUSY = "kmem-busy", "drivers/dax/kmem.c: dev_dax_kmem_probe",
        "something at these addresses keeps kmem from reserving them: memory of the boot, or memory that an earlier unbind had to leave";
    KMEM_REFUSED = "kmem-refused", "mm/memory_hotplug.c: add_memory_resource",
        "the memory of the device cannot be added";
    ACCESS_REGION = "access-region", "drivers/cxl/core/region.c: cxl_region_perf_attrs_callback",
        "the first CXL region on a node overwrites the figures that the node shows when it gets its first memory";
    MOVED = "moved", "no kernel function: the owner's wish",
        "the owner of the machine wants the node in this tier; it gets the distance in its middle";
    MOVED_BACK = "moved-back", "no kernel function: the owner's wish",
        "the node is back in its own tier and has its own distance again";
    MOVE_NO_MEMORY = "move-no-memory", "mm/memory-tiers.c: set_node_memory_tier",
        "a node without memory is in no tier";
    MOVE_NO_TIER = "move-no-tier", "mm/memory-tiers.c: find_create_memory_tier",
        "no abstract distance leads to this tier";
    HMAT_NOT_READ_AGAIN = "hmat-not-read-again", "drivers/acpi/numa/hmat.c: hmat_init",
        "Linux reads the HMAT once while it boots and does not evaluate _HMA: nothing changes, and memory that is added later still gets the figures of the boot";
    HMAT_READ_AGAIN = "hmat-read-again", "no kernel function: a kernel that evaluates _HMA",
        "the new HMAT is read: access classes, distances and weights are found as at boot, over the nodes as they are";
    CDAT_NOT_READ_AGAIN = "cdat-not-read-again", "drivers/cxl/core/cdat.c: cxl_endpoint_parse_cdat",
        "Linux reads a device's CDAT when it takes the device: nothing changes until then";
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::collections::BTreeSet;

    #[test]
    fn every_rule_has_a_name_of_its_own() {
        let names: BTreeSet<_> = ALL.iter().map(|rule| rule.id).collect();
        assert_eq!(names.len(), ALL.len());
        for rule in ALL {
            let named = rule.function.contains('/') || rule.function.starts_with("no kernel function: ");
            assert!(named && !rule.sentence.ends_with('.'), "{}", rule.id);
        }
    }
}
