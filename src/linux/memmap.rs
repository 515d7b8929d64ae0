//! Where the page structures of added memory live: in each of its blocks, or in kernel memory that is there already
//! (`mm/memory_hotplug.c: mhp_supports_memmap_on_memory, create_altmaps_and_memory_blocks`,
//! `mm/sparse-vmemmap.c: vmemmap_alloc_block_buf`).

use super::kernel::Kernel;
use super::settings::MemmapOnMemory;
use super::soft_reserved::DaxParent;
use super::state::State;
use crate::range::AddressRange;
use crate::units::{BinarySize, ByteCount, NodeId};
use core::fmt;

/// How an architecture lays out pages, as far as page structures of added memory depend on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Architecture {
    /// Its name and page size.
    pub name: &'static str,
    /// Bytes in a page.
    pub page: ByteCount,
    /// Bytes in one page structure (`sizeof(struct page)`).
    pub page_structure: ByteCount,
    /// Bytes in a section, the unit in which page structures exist, and the smallest memory block.
    pub section: ByteCount,
    /// Bytes in a pageblock, the unit in which memory is taken offline.
    pub pageblock: ByteCount,
    /// Bytes that the page structures of a block have to fill to a multiple (`arch_supports_memmap_on_memory`):
    /// those of one entry of the second page table level. `None` where the architecture does not ask for it.
    pub leaf: Option<ByteCount>,
}

impl Architecture {
    /// x86-64.
    pub const X86_64: Self = Self::with_small_pages("x86_64 4K");
    /// arm64 with pages of 4 KiB.
    pub const ARM64_4K: Self = Self::with_small_pages("arm64 4K");
    /// arm64 with pages of 16 KiB.
    pub const ARM64_16K: Self = Self {
        name: "arm64 16K",
        page: ByteCount(16 << 10),
        pageblock: ByteCount(32 << 20),
        leaf: Some(ByteCount(32 << 20)),
        ..Self::X86_64
    };
    /// arm64 with pages of 64 KiB.
    pub const ARM64_64K: Self = Self {
        name: "arm64 64K",
        page: ByteCount(64 << 10),
        section: ByteCount(512 << 20),
        pageblock: ByteCount(512 << 20),
        leaf: Some(ByteCount(512 << 20)),
        ..Self::X86_64
    };
    /// 64-bit PowerPC with radix page tables, pages of 64 KiB and pageblocks of 2 MiB.
    pub const PPC64_RADIX_64K: Self = Self {
        name: "ppc64 radix 64K",
        page: ByteCount(64 << 10),
        section: ByteCount(16 << 20),
        leaf: None,
        ..Self::X86_64
    };
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::X86_64, Self::ARM64_4K, Self::ARM64_16K, Self::ARM64_64K, Self::PPC64_RADIX_64K];

    const fn with_small_pages(name: &'static str) -> Self {
        Self {
            name,
            page: ByteCount(4096),
            page_structure: ByteCount(64),
            section: ByteCount(128 << 20),
            pageblock: ByteCount(2 << 20),
            leaf: Some(ByteCount(2 << 20)),
        }
    }

    /// Whole pages in so many bytes.
    #[must_use]
    pub fn pages(&self, size: ByteCount) -> u64 {
        size.0.checked_div(self.page.0).unwrap_or_default()
    }

    /// What the page structures of so much memory take.
    #[must_use]
    pub fn structures(&self, size: ByteCount) -> ByteCount {
        ByteCount(self.pages(size).saturating_mul(self.page_structure.0))
    }

    /// What the page structures of a block take when the block itself holds them.
    ///
    /// # Errors
    /// When the kernel keeps them elsewhere.
    pub fn self_hosted(&self, mode: MemmapOnMemory, block: ByteCount) -> Result<SelfHosted, Elsewhere> {
        if mode == MemmapOnMemory::Off {
            return Err(Elsewhere::Off);
        }
        let structures = self.structures(block);
        let multiple = |size: u64, of: ByteCount| size.checked_rem(of.0) == Some(0);
        if !multiple(structures.0, self.page) {
            return Err(Elsewhere::PartialPage);
        }
        let filled = structures.0.checked_next_multiple_of(self.pageblock.0).unwrap_or(u64::MAX);
        let reserved = if mode == MemmapOnMemory::Force { filled } else { structures.0 };
        if reserved != filled {
            return Err(Elsewhere::Pageblock);
        }
        if reserved == block.0 {
            return Err(Elsewhere::WholeBlock);
        }
        if self.leaf.is_some_and(|leaf| !multiple(structures.0, leaf)) {
            return Err(Elsewhere::Leaf);
        }
        let pages = self.pages(ByteCount(reserved));
        let wasted_pages = pages.saturating_sub(self.pages(structures));
        Ok(SelfHosted { pages, wasted_pages })
    }
}

/// Page structures that lie at the start of the block that they describe. They count as present in its zone, but not
/// as managed, and the block does not depend on any other memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SelfHosted {
    /// Pages taken from each block.
    pub pages: u64,
    /// Those of them that hold no page structure and only fill up a pageblock.
    pub wasted_pages: u64,
}

/// Why a block does not hold its own page structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Elsewhere {
    /// `memory_hotplug.memmap_on_memory` is off.
    Off,
    /// Who adds the memory does not ask for it.
    NotAsked,
    /// This version adds memory as a whole, and it is more than one block.
    SeveralBlocks,
    /// They do not fill whole pages.
    PartialPage,
    /// They do not fill whole pageblocks; `force` would waste the rest.
    Pageblock,
    /// They would fill the whole block.
    WholeBlock,
    /// They do not fill whole leaves of the page table that maps them.
    Leaf,
}

impl fmt::Display for Elsewhere {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Off => "memory_hotplug.memmap_on_memory is off",
            Self::NotAsked => "who adds the memory does not ask for it",
            Self::SeveralBlocks => "this version does it for single blocks only",
            Self::PartialPage => "the page structures of a block do not fill whole pages",
            Self::Pageblock => "the page structures of a block do not fill whole pageblocks",
            Self::WholeBlock => "the page structures of a block would fill all of it",
            Self::Leaf => "the page structures of a block do not fill whole entries of the page table",
        })
    }
}

/// Who adds memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adder {
    /// An ACPI memory device.
    AcpiDevice,
    /// kmem, for a DAX device; `Some` for what was written to its `memmap_on_memory`.
    Kmem(DaxParent, Option<bool>),
    /// virtio-mem, which never asks.
    VirtioMem,
}

impl Adder {
    /// Whether it asks for the memory to hold its own page structures.
    #[must_use]
    pub const fn asks(self, kernel: &Kernel) -> bool {
        match self {
            Self::AcpiDevice => true,
            Self::VirtioMem => false,
            Self::Kmem(parent, written) => {
                let initial = matches!(parent, DaxParent::Region);
                kernel.switches.dax_memmap_on_memory
                    && match written {
                        Some(written) => written,
                        None => initial,
                    }
            }
        }
    }
}

/// Where page structures live.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Home {
    /// Each block holds its own.
    Itself(SelfHosted),
    /// In kernel memory.
    Kernel {
        /// The first node that has any, in fallback order of the memory's own; `None` when none has.
        node: Option<NodeId>,
        /// Why not in the memory itself.
        why: Elsewhere,
    },
}

/// The page structures of added memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Memmap {
    /// What they take.
    pub size: ByteCount,
    /// Where they live.
    pub home: Home,
}

impl Memmap {
    /// What they take of the added memory itself, padding included.
    #[must_use]
    pub fn taken_from_itself(&self, added: ByteCount, block: ByteCount) -> ByteCount {
        match self.home {
            Home::Itself(hosted) => {
                let blocks = added.0.checked_div(block.0).unwrap_or_default();
                let per_block = hosted.pages.saturating_mul(Architecture::X86_64.page.0);
                ByteCount(blocks.saturating_mul(per_block))
            }
            Home::Kernel { .. } => ByteCount(0),
        }
    }

    /// What they take of kernel memory that was there before.
    #[must_use]
    pub const fn taken_from_kernel(&self) -> ByteCount {
        match self.home {
            Home::Itself(_) => ByteCount(0),
            Home::Kernel { .. } => self.size,
        }
    }
}

/// Prints as part of a sentence: what, and where.
impl fmt::Display for Memmap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of page structures, ", BinarySize(self.size))?;
        match self.home {
            Home::Itself(hosted) => {
                write!(f, "the first {} pages of each block", hosted.pages)?;
                match hosted.wasted_pages {
                    0 => Ok(()),
                    wasted => write!(f, ", {wasted} of them wasted"),
                }
            }
            Home::Kernel { node: Some(node), why } => write!(f, "in kernel memory of node {node}: {why}"),
            Home::Kernel { node: None, why } => write!(f, "for which no node has kernel memory: {why}"),
        }
    }
}

impl State<'_> {
    /// Where the page structures of memory will live that is added to a node; `asked` by who adds it.
    #[must_use]
    pub fn memmap_of(&self, range: &AddressRange, node: NodeId, asked: bool) -> Memmap {
        let machine = Architecture::X86_64;
        let hosted = if self.settings.memmap_on_memory == MemmapOnMemory::Off {
            Err(Elsewhere::Off)
        } else if !asked {
            Err(Elsewhere::NotAsked)
        } else if !self.kernel.switches.memmap_in_pieces && range.size() != self.blocks.size {
            Err(Elsewhere::SeveralBlocks)
        } else {
            machine.self_hosted(self.settings.memmap_on_memory, self.blocks.size)
        };
        let home = match hosted {
            Ok(hosted) => Home::Itself(hosted),
            Err(why) => Home::Kernel { node: self.kernel_memory_near(node), why },
        };
        Memmap { size: machine.structures(range.size()), home }
    }

    /// Whether kmem could add the memory of a device so that it holds its own page structures; writing 1 to the
    /// `memmap_on_memory` of a device fails with `EOPNOTSUPP` where it could not.
    #[must_use]
    pub fn supports_memmap_on_memory(&self) -> bool {
        Architecture::X86_64.self_hosted(self.settings.memmap_on_memory, self.blocks.size).is_ok()
    }

    /// The first node with memory that the kernel can use for itself, in fallback order of a node.
    #[must_use]
    pub fn kernel_memory_near(&self, node: NodeId) -> Option<NodeId> {
        let (_, order) = self.fallback.iter().find(|(owner, _)| *owner == node)?;
        order.iter().copied().find(|node| self.zones.present_in_kernel_zones(*node) > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hand arithmetic over the page and block sizes of each architecture; the waste of 0 pages on x86-64 is what a
    /// booted 7.2.12 logs with `force`.
    #[test]
    fn each_architecture_decides_by_its_pages() {
        let ask = |machine: Architecture, mode, block_mib: u64| {
            machine.self_hosted(mode, ByteCount(block_mib << 20)).map(|own| (own.pages, own.wasted_pages))
        };
        let (on, force) = (MemmapOnMemory::On, MemmapOnMemory::Force);
        for mode in [on, force] {
            for machine in [Architecture::X86_64, Architecture::ARM64_4K] {
                assert_eq!(ask(machine, mode, 128), Ok((512, 0)));
            }
            assert_eq!(ask(Architecture::X86_64, mode, 256), Ok((1024, 0)));
            assert_eq!(ask(Architecture::X86_64, mode, 1024), Ok((4096, 0)));
            assert_eq!(ask(Architecture::X86_64, mode, 2048), Ok((8192, 0)));
        }
        assert_eq!(ask(Architecture::X86_64, MemmapOnMemory::Off, 128), Err(Elsewhere::Off));
        assert_eq!(ask(Architecture::ARM64_16K, on, 128), Err(Elsewhere::Pageblock));
        assert_eq!(ask(Architecture::ARM64_16K, force, 128), Err(Elsewhere::Leaf));
        assert_eq!(ask(Architecture::ARM64_64K, on, 512), Err(Elsewhere::Pageblock));
        assert_eq!(ask(Architecture::ARM64_64K, force, 512), Err(Elsewhere::WholeBlock));
        assert_eq!(ask(Architecture::PPC64_RADIX_64K, on, 256), Err(Elsewhere::Pageblock));
        assert_eq!(ask(Architecture::PPC64_RADIX_64K, force, 256), Ok((32, 28)));
    }
}
