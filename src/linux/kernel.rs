//! The kernel as a value: its version as a set of named switches, its configuration, its command line, and
//! what it learns from the processor.

use super::added::OnlinePolicy;
use super::command_line::CommandLine;
use super::cxl_platform::CxlPlatform;
use super::quirks::Quirks;
use crate::range::AddressRange;
use crate::units::ApicId;
use alloc::string::String;
use alloc::vec::Vec;

/// A version whose behaviour is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
#[non_exhaustive]
pub enum Version {
    /// Linux 6.1, as 6.1.192.
    V6_1,
    /// Linux 6.12, as 6.12.95.
    V6_12,
    /// Linux 7.2, as 7.2.12.
    #[default]
    V7_2,
}

impl Version {
    /// The version with this name: `7.2`, `6.12` or `6.1`.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        match name {
            "6.1" => Some(Self::V6_1),
            "6.12" => Some(Self::V6_12),
            "7.2" => Some(Self::V7_2),
            _ => None,
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::V6_1 => "6.1",
            Self::V6_12 => "6.12",
            Self::V7_2 => "7.2",
        }
    }

    /// What this version does where versions differ.
    #[must_use]
    pub const fn switches(self) -> Switches {
        let since_6_12 = !matches!(self, Self::V6_1);
        let since_7_2 = matches!(self, Self::V7_2);
        Switches {
            tiers_from_performance: since_6_12,
            demotion_log: since_6_12,
            interleave: match self {
                Self::V6_1 => Interleave::None,
                Self::V6_12 => Interleave::ByHand,
                Self::V7_2 => Interleave::FromBandwidth,
            },
            one_mib_gap_refused: !since_6_12,
            ranges_start_at_ram: since_6_12,
            windows_are_ranges: !since_7_2,
            windows_advise_block_size: since_7_2,
            cache_address_mode: since_7_2,
            reserved_ranges_first: since_6_12,
            soft_reserved: match self {
                Self::V6_1 => SoftReserved::NoKmem,
                Self::V6_12 => SoftReserved::NothingElse,
                Self::V7_2 => SoftReserved::AnyOverlap,
            },
            holes_have_a_node: !since_7_2,
            emulation_moves_domains: since_6_12,
            rereads_hmat: false,
            memmap_in_pieces: since_6_12,
            memmap_force: since_6_12,
            memmap_buffer: !since_7_2,
            dax_memmap_on_memory: since_6_12,
            memory_map_words: if since_7_2 { MapWords::Long } else { MapWords::Short },
            quirks: Quirks::ALL,
        }
    }
}

/// What differs between versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Switches {
    /// Memory tiers follow the abstract distance that HMAT gives (`mm/memory-tiers.c: mt_calc_adistance`);
    /// otherwise all memory of the boot has the distance of DRAM.
    pub tiers_from_performance: bool,
    /// The log tells demotion targets (`mm/memory-tiers.c: establish_demotion_targets`).
    pub demotion_log: bool,
    /// Weighted interleave (`mm/mempolicy.c`).
    pub interleave: Interleave,
    /// RAM without a node makes the description of nodes void from exactly 1 MiB on
    /// (`arch/x86/mm/numa.c: numa_meminfo_cover_memory`); otherwise from one byte more on.
    pub one_mib_gap_refused: bool,
    /// The ranges of nodes are cut at the first RAM address; otherwise at 0 (`numa_cleanup_meminfo`).
    pub ranges_start_at_ram: bool,
    /// CXL windows go on the list of described memory, where later windows find them; otherwise they are apart
    /// (`drivers/acpi/numa/srat.c: acpi_parse_cfmws`).
    pub windows_are_ranges: bool,
    /// CXL windows advise the size of memory blocks (`drivers/acpi/numa/srat.c: acpi_parse_cfmws`).
    pub windows_advise_block_size: bool,
    /// Memory-side caches show their address mode (`drivers/base/node.c`).
    pub cache_address_mode: bool,
    /// Memory added later goes to the node of a reserved range that holds it before that of the memory of the
    /// boot (`mm/numa_memblks.c: phys_to_target_node`).
    pub reserved_ranges_first: bool,
    /// Which ranges become DAX devices, and who takes them (`drivers/dax/hmem`).
    pub soft_reserved: SoftReserved,
    /// Pages that are no RAM, in a section of the sparse memory model that has some, count as pages of the lowest
    /// online node when memory blocks find their nodes (`drivers/base/node.c: get_nid_for_pfn`); otherwise only RAM
    /// counts.
    pub holes_have_a_node: bool,
    /// `numa=fake=` gives made-up nodes the proximity domains of the physical ones, and other nodes with a domain new
    /// numbers (`drivers/acpi/numa/srat.c: fix_pxm_node_maps`); otherwise domains lead where they led before.
    pub emulation_moves_domains: bool,
    /// An HMAT that changes at run time is read again. No version does; on, it tells what one would do that did.
    pub rereads_hmat: bool,
    /// Memory that holds its own page structures is added one block at a time; otherwise only memory of a single
    /// block can hold them (`mm/memory_hotplug.c: add_memory_resource`).
    pub memmap_in_pieces: bool,
    /// `memory_hotplug.memmap_on_memory` knows `force`; otherwise it is a plain yes or no.
    pub memmap_force: bool,
    /// At boot all page structures of a node are taken in one piece where there is room for it; otherwise section by
    /// section (`mm/sparse.c: sparse_init_nid`).
    pub memmap_buffer: bool,
    /// DAX devices can be told to hold their own page structures (`drivers/dax/bus.c`).
    pub dax_memmap_on_memory: bool,
    /// The words of the memory map in the log.
    pub memory_map_words: MapWords,
    /// What hardly anybody wants of it.
    pub quirks: Quirks,
}

/// What a kernel knows of weighted interleave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interleave {
    /// Nothing.
    None,
    /// One weight for each possible node, 1 until it is set by hand.
    ByHand,
    /// Weights from bandwidth, with a switch to turn that off.
    FromBandwidth,
}

/// How a kernel treats ranges that may be soft-reserved memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SoftReserved {
    /// kmem does not take the devices by itself.
    NoKmem,
    /// A range becomes a device if nothing but soft-reserved memory is in it; kmem takes it.
    NothingElse,
    /// A range becomes a device if any soft-reserved memory is in it; kmem takes it.
    AnyOverlap,
}

/// How the log words the types of memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapWords {
    /// `usable`, `reserved`, `soft reserved`.
    Short,
    /// `System RAM`, `device reserved`, `Soft Reserved`.
    Long,
}

/// How the kernel was built, where that matters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// Nodes that the kernel has room for: 1 to the power of `CONFIG_NODES_SHIFT`, 1024 in distributions.
    pub max_nodes: u32,
    /// Local APIC ids that the kernel has room for (`MAX_LOCAL_APIC`).
    pub max_local_apic: u32,
    /// Longest table that the kernel can map while it looks for nodes, in bytes: 64 pages (`NR_FIX_BTMAPS`). A
    /// longer SRAT, SLIT or CEDT is passed over then. (One that needs the last page, and does not begin at a page
    /// border, is too long as well; where tables begin is no input.)
    pub early_table_bytes: usize,
    /// `CONFIG_CXL_ACPI`: CXL windows without memory get a node.
    pub cxl_acpi: bool,
    /// `CONFIG_NUMA_EMU`: `numa=fake=` works.
    pub numa_emulation: bool,
    /// `CONFIG_EFI_SOFT_RESERVE`: specific-purpose memory is left to drivers.
    pub efi_soft_reserve: bool,
    /// `CONFIG_UNACCEPTED_MEMORY`: unaccepted memory of a confidential guest becomes RAM.
    pub unaccepted_memory: bool,
    /// How added memory comes online when the command line does not say.
    pub online_policy: OnlinePolicy,
    /// Address bits that page structures cover (`MAX_PHYSMEM_BITS`): 46, or 52 with five levels of page tables.
    pub physical_bits: u32,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_nodes: 1024,
            max_local_apic: 32768,
            early_table_bytes: 64 << 12,
            cxl_acpi: true,
            numa_emulation: true,
            efi_soft_reserve: true,
            unaccepted_memory: true,
            online_policy: OnlinePolicy::Online,
            physical_bits: 52,
        }
    }
}

impl Config {
    /// How many proximity domains the kernel can map (`MAX_PXM_DOMAINS`).
    #[must_use]
    pub fn max_domains(&self) -> u32 {
        self.max_nodes.max(256)
    }
}

/// Who made the processor, as far as it decides where processors without a SRAT entry go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CpuVendor {
    /// Intel and others that keep the node of the first pass.
    Intel,
    /// AMD and Hygon, which go by the id of the last-level cache.
    Amd,
}

/// What no table tells, but the processor or the boot loader.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Platform {
    /// The CPUID bit of a hypervisor.
    pub hypervisor: bool,
    /// The boot processor, where it is not the first that the MADT lists.
    pub boot_apic_id: Option<ApicId>,
    /// Who made the processors.
    pub cpu_vendor: Option<CpuVendor>,
    /// Last-level-cache id of processors, by APIC id, for processors of AMD and Hygon that have no SRAT entry. One
    /// that is not listed has cache 0, as all have in a machine with one socket.
    pub cache_ids: Vec<(ApicId, u32)>,
    /// Whether firmware handed over in x2APIC mode.
    pub x2apic: Option<bool>,
    /// Memory that was taken before nodes were known, whoever took it.
    pub reserved: Vec<AddressRange>,
    /// The kernel image, with the room for page tables behind it. With `nokaslr` it is where it is linked to be.
    pub kernel_image: Option<AddressRange>,
    /// The initrd.
    pub initrd: Option<AddressRange>,
    /// ACPI tables that the kernel reads before it looks at nodes.
    pub tables: Vec<AddressRange>,
    /// Whether processors map pages of 1 GiB.
    pub gib_pages: Option<bool>,
    /// CXL links and the answer of the QoS method.
    pub cxl: CxlPlatform,
}

/// A kernel on a machine: everything that decides, but for the tables and the memory map.
#[derive(Clone, Debug)]
pub struct Kernel {
    /// Which version.
    pub version: Version,
    /// What that version does. Free to change, to see what another kernel would do.
    pub switches: Switches,
    /// How it was built.
    pub config: Config,
    /// What it was told.
    pub command_line: CommandLine,
    /// What it finds in the processor.
    pub platform: Platform,
    /// Drivers that are loaded, in order, by module name.
    pub drivers: Vec<String>,
}

impl Kernel {
    /// A kernel of this version, configured as Debian does, with an empty command line.
    #[must_use]
    pub fn new(version: Version) -> Self {
        let online_policy =
            if version == Version::V6_1 { OnlinePolicy::Offline } else { OnlinePolicy::Online };
        Self {
            version,
            switches: version.switches(),
            config: Config { online_policy, ..Config::default() },
            command_line: CommandLine::default(),
            platform: Platform::default(),
            drivers: Vec::new(),
        }
    }

    /// How added memory comes online: `memhp_default_state=`, or what the configuration says.
    #[must_use]
    pub fn online_policy(&self) -> OnlinePolicy {
        let named = self.command_line.value("memhp-default-state").and_then(OnlinePolicy::from_name);
        named.unwrap_or(self.config.online_policy)
    }

    /// The same kernel with another command line.
    #[must_use]
    pub fn with_command_line(mut self, text: &str) -> Self {
        self.command_line = CommandLine::parse(text);
        self
    }
}

impl Default for Kernel {
    fn default() -> Self {
        Self::new(Version::default())
    }
}
