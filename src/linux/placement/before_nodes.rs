//! What is taken before the kernel knows any node: by firmware, by the boot loader, and by the kernel itself
//! (`arch/x86/kernel/setup.c: early_reserve_memory`, `arch/x86/mm/init.c: init_mem_mapping`).

use super::direct_map::DirectMap;
use super::sizes::BootSizes;
use super::{Boot, Owner, Reservation};
use crate::linux::command_line::parse_size;
use crate::linux::kernel::Kernel;
use crate::linux::memory_map::{MemoryMap, PAGE};
use crate::linux::placement::memblock::Request;
use crate::range::AddressRange;
use crate::tables::e820::E820Type;
use crate::units::PhysAddr;
use alloc::vec::Vec;

/// Where the kernel is unpacked when nothing moves it (`LOAD_PHYSICAL_ADDR`).
const LOAD_ADDRESS: u64 = 16 << 20;

/// The longest log that can be asked for (`LOG_BUF_LEN_MAX`).
const LONGEST_LOG: u64 = 1 << 31;

/// What firmware and the boot loader put somewhere, as far as it is known.
fn known(map: &MemoryMap, kernel: &Kernel) -> Vec<Reservation> {
    let platform = &kernel.platform;
    let first = [AddressRange::new(PhysAddr(0), PhysAddr(1 << 20))];
    let of = |owner, ranges: &[AddressRange]| Reservation { owner, ranges: ranges.to_vec(), early: true };
    let soft: Vec<AddressRange> = map.of_kind(E820Type::SOFT_RESERVED).collect();
    let mut all = Vec::from([
        of(Owner::FirstMegabyte, &first),
        of(Owner::KernelImage, kernel_image(map, kernel).as_slice()),
        of(Owner::Initrd, platform.initrd.as_slice()),
        of(Owner::Tables, &platform.tables),
        of(Owner::SoftReserved, &soft),
        of(Owner::Given, &platform.reserved),
    ]);
    all.retain(|reservation| !reservation.ranges.is_empty());
    all
}

/// Where the kernel image is: as told, or where it is unpacked when `nokaslr` leaves it there.
fn kernel_image(map: &MemoryMap, kernel: &Kernel) -> Option<AddressRange> {
    let stays = || {
        let size = BootSizes::of(kernel.version).image;
        let range = AddressRange::from_base_size(PhysAddr(LOAD_ADDRESS), size)?;
        let fits = map.ram.iter().any(|ram| ram.covers(&range));
        (kernel.command_line.has("nokaslr") && fits).then_some(range)
    };
    kernel.platform.kernel_image.or_else(stays)
}

impl Boot<'_> {
    /// Everything up to the SRAT.
    pub(super) fn before_nodes(&mut self, map: &MemoryMap) {
        let known = known(map, self.kernel);
        for reservation in &known {
            for range in &reservation.ranges {
                self.memblock.reserve(*range);
            }
        }
        let has = |owner| known.iter().any(|reservation| reservation.owner == owner);
        let (image, loader) = (has(Owner::KernelImage), has(Owner::Initrd) || has(Owner::Given));
        self.placement.reservations = known;
        if !image {
            let consequence = "it lies somewhere in memory that the SRAT does not mark as hot-pluggable, and what \
                               would go there goes beside it";
            self.missing("where the kernel image is (--platform kernel_image=START-END)", consequence);
        }
        if !loader {
            let consequence =
                "it costs the node where it lies its movable zone, and moves what would go there";
            self.missing("where the initrd is (--platform initrd=START-END)", consequence);
        }
        self.page_tables(map);
        self.log();
    }

    /// Page tables of the direct map that do not fit behind the kernel image.
    fn page_tables(&mut self, map: &MemoryMap) {
        let Some(image) = kernel_image(map, self.kernel) else { return };
        let huge = self.kernel.platform.gib_pages;
        let count = |huge| DirectMap::new(map, &image, huge).pages(self.memblock.bottom_up, image.end);
        let pages = match huge {
            Some(huge) => count(huge),
            None if count(true) == count(false) => count(true),
            None => {
                let consequence = "without them the direct map needs page tables before any node is known";
                self.missing(
                    "whether processors map pages of 1 GiB (--platform gib_pages=yes|no)",
                    consequence,
                );
                return;
            }
        };
        let ranges = self.memblock.allocate_many(&Request::new(PAGE, PAGE), pages);
        if !ranges.is_empty() {
            self.note(Owner::PageTables, ranges, true);
        }
    }

    /// `log_buf_len=` (`kernel/printk/printk.c: setup_log_buf`).
    fn log(&mut self) {
        let sizes = BootSizes::of(self.kernel.version);
        let wanted = self.kernel.command_line.value("log-buf-len").map_or(0, |text| parse_size(text).0);
        let text = wanted.min(LONGEST_LOG).checked_next_power_of_two().unwrap_or_default();
        if wanted == 0 || text <= sizes.log.0 {
            return;
        }
        let records = (text >> 5).saturating_mul(sizes.log_record.0);
        self.take(Owner::Log, &Request::new(text.saturating_add(records), 64), true);
    }
}
