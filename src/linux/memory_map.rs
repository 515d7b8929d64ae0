//! From the firmware's memory map and the command line to the RAM that the kernel manages (x86:
//! `arch/x86/kernel/e820.c`, `arch/x86/kernel/setup.c: setup_arch`).
//!
//! The order of steps is part of the behaviour: import and sanitise, options, EFI import, sanitise again,
//! fixed adjustments, RAM.

use super::kernel::{Kernel, MapWords, SoftReserved};
use crate::bundle::memory_map::{FirmwareMap, MapKind};
use crate::range::AddressRange;
use crate::tables::e820::E820Type;
use crate::tables::efi::{EfiAttributes, EfiMemoryType};
use crate::units::PhysAddr;
use alloc::collections::BTreeMap;
use alloc::vec::Vec;

/// Bytes in a page.
pub const PAGE: u64 = 4096;

/// One change that the command line makes to the map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapEdit {
    /// `mem=N`, `memmap=N`: RAM from here on is taken out.
    Limit {
        /// First address without RAM.
        from: u64,
        /// Whether memory beyond cannot be added later either (`mem=`).
        hot_add: bool,
    },
    /// `memmap=exactmap`: the map is emptied.
    Clear,
    /// `memmap=N@S` and its like: a range is added.
    Add {
        /// First address.
        start: u64,
        /// Bytes.
        size: u64,
        /// What it becomes.
        kind: E820Type,
    },
    /// `memmap=N%S-old+new`: a range is given another type, or taken out when there is no new one.
    Retype {
        /// First address.
        start: u64,
        /// Bytes.
        size: u64,
        /// Only what has this type.
        from: Option<E820Type>,
        /// What it becomes.
        to: Option<E820Type>,
    },
    /// An option that changes nothing, but still marks the map as changed by the user.
    Nothing,
}

/// One range of an E820 table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MapRange {
    /// The addresses.
    pub range: AddressRange,
    /// What they are.
    pub kind: E820Type,
}

/// The memory map as the kernel has it when it looks at nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MemoryMap {
    /// The map after the command line, as the kernel prints it with `user:`, where an option touched it.
    pub user: Option<Vec<MapRange>>,
    /// The map after all changes.
    pub table: Vec<MapRange>,
    /// Whole pages of RAM, ascending, none touching the next (`memblock.memory`).
    pub ram: Vec<AddressRange>,
    /// First page number behind everything that counts as memory, ACPI ranges included (`max_pfn`).
    pub max_pfn: u64,
    /// Ranges that EFI calls more reliable than the others, in input order.
    pub mirrored: Vec<AddressRange>,
    /// `mem=`: memory that ends behind this cannot be added while booting.
    pub hot_add_limit: Option<PhysAddr>,
}

/// Why there is no memory map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MapFailure {
    /// The kernel stops with `Invalid user supplied memory map`.
    InvalidUserMap,
    /// An entry wraps past the end of the address space: the kernel throws the whole map away and makes one up
    /// from fields of the boot loader that no input holds.
    Unusable,
}

impl MemoryMap {
    /// The map that `kernel` works with on a machine whose firmware hands over `firmware`.
    ///
    /// # Errors
    /// When the kernel would not come up, or from a map that the inputs do not hold.
    pub fn new(firmware: &FirmwareMap, kernel: &Kernel) -> Result<Self, MapFailure> {
        let line = &kernel.command_line;
        let soft_reserve = kernel.config.efi_soft_reserve && !line.efi_nosoftreserve;
        let mut table = E820::import(firmware, kernel, soft_reserve)?;
        table.sanitise();

        let mut hot_add_limit = None;
        for edit in &line.map_edits {
            table.edit(*edit);
            if let MapEdit::Limit { from, hot_add: true } = edit {
                hot_add_limit = Some(PhysAddr(*from));
            }
        }
        if line.add_efi_memmap || (soft_reserve && specific_purpose(firmware)) {
            table.add_efi(firmware, soft_reserve);
            table.sanitise();
        }
        let mut user = None;
        if !line.map_edits.is_empty() {
            if !table.sanitise() {
                return Err(MapFailure::InvalidUserMap);
            }
            user = Some(table.ranges());
        }
        table.remove_large_mmio(firmware);
        // arch/x86/kernel/setup.c: trim_bios_range.
        table.retype(0, PAGE, E820Type::RAM, E820Type::RESERVED);
        table.remove(0xa_0000, 0x6_0000, Some(E820Type::RAM));
        table.sanitise();

        let limit = 1_u64.checked_shl(kernel.config.physical_bits.saturating_sub(12)).unwrap_or(u64::MAX);
        let ranges = table.ranges();
        let max_pfn = ranges
            .iter()
            .filter(|entry| matches!(entry.kind, E820Type::RAM | E820Type::ACPI))
            .map(|entry| entry.range.end.0 >> 12)
            .max()
            .unwrap_or_default()
            .min(limit);
        let mirrored = firmware.entries.iter().filter(|entry| {
            matches!(entry.kind, MapKind::Efi(_, attributes) if attributes.contains(EfiAttributes::MORE_RELIABLE))
        });
        let mirrored = mirrored.map(|entry| entry.range).collect();
        Ok(Self { user, ram: whole_pages(&ranges), table: ranges, max_pfn, mirrored, hot_add_limit })
    }

    /// Pages of RAM in the range, only whole ones.
    #[must_use]
    pub fn ram_pages(&self, range: AddressRange) -> u64 {
        let from = self.ram.partition_point(|ram| ram.end <= range.start);
        let pieces = self.ram.iter().skip(from).take_while(|ram| ram.start < range.end);
        pieces.filter_map(|ram| ram.intersect(&range)).map(|piece| pages(&piece)).sum()
    }

    /// Whether the range holds any byte of RAM.
    #[must_use]
    pub fn touches_ram(&self, range: &AddressRange) -> bool {
        let from = self.ram.partition_point(|ram| ram.end <= range.start);
        self.ram.get(from).is_some_and(|ram| ram.overlaps(range))
    }

    /// Whether a driver can claim these addresses (`kernel/resource.c: __request_region`): no memory of the system's
    /// own lies there, which the kernel has locked as busy (`arch/x86/kernel/e820.c: e820_device_region`), and what
    /// else lies there contains all of them.
    #[must_use]
    pub fn can_be_claimed(&self, range: &AddressRange, kernel: &Kernel) -> bool {
        // Soft-reserved memory is in a tree of its own from 7.2 on.
        let apart = kernel.switches.soft_reserved == SoftReserved::AnyOverlap;
        let mut met = self.table.iter().filter(|entry| entry.range.overlaps(range));
        met.all(|entry| match entry.kind {
            E820Type::SOFT_RESERVED if apart => true,
            E820Type::RESERVED | E820Type::SOFT_RESERVED | E820Type::PMEM | E820Type::PRAM => {
                entry.range.covers(range)
            }
            _ => false,
        })
    }

    /// Ranges of one type.
    pub fn of_kind(&self, kind: E820Type) -> impl Iterator<Item = AddressRange> + '_ {
        self.table.iter().filter(move |entry| entry.kind == kind).map(|entry| entry.range)
    }
}

/// Whole pages in a range.
#[must_use]
pub fn pages(range: &AddressRange) -> u64 {
    let first = range.start.0.div_ceil(PAGE);
    (range.end.0 >> 12).saturating_sub(first)
}

/// Joins touching RAM and trims it to whole pages (`e820__memblock_setup`, `memblock_trim_memory`).
fn whole_pages(table: &[MapRange]) -> Vec<AddressRange> {
    let mut ram: Vec<AddressRange> = Vec::new();
    for entry in table.iter().filter(|entry| entry.kind == E820Type::RAM) {
        match ram.last_mut() {
            Some(last) if last.end == entry.range.start => last.end = entry.range.end,
            _ => ram.push(entry.range),
        }
    }
    for range in &mut ram {
        range.start = PhysAddr(range.start.0.checked_next_multiple_of(PAGE).unwrap_or(u64::MAX));
        range.end = PhysAddr(range.end.0 & !0xfff);
    }
    ram.retain(|range| !range.is_empty());
    ram
}

/// How the kernel's log calls a type.
#[must_use]
pub fn type_name(kind: E820Type, words: MapWords) -> Option<&'static str> {
    let (short, long) = match kind {
        E820Type::RAM => ("usable", "System RAM"),
        E820Type::RESERVED => ("reserved", "device reserved"),
        E820Type::ACPI => ("ACPI data", "ACPI data"),
        E820Type::NVS => ("ACPI NVS", "ACPI NVS"),
        E820Type::UNUSABLE => ("unusable", "unusable"),
        E820Type::PMEM => ("persistent (type 7)", "persistent RAM (type 7)"),
        E820Type::PRAM => ("persistent (type 12)", "persistent RAM (type 12)"),
        E820Type::SOFT_RESERVED => ("soft reserved", "soft reserved"),
        _ => return None,
    };
    Some(if words == MapWords::Long { long } else { short })
}

/// Whether conventional memory is marked for a specific purpose (`do_efi_soft_reserve`).
fn specific_purpose(firmware: &FirmwareMap) -> bool {
    firmware.entries.iter().any(|entry| {
        matches!(entry.kind, MapKind::Efi(EfiMemoryType::CONVENTIONAL, attributes)
            if attributes.contains(EfiAttributes::SP))
    })
}

/// One entry while the table is edited: start, size, type. A size of 0 is an empty slot.
#[derive(Clone, Copy, Debug)]
struct Slot {
    start: u64,
    size: u64,
    kind: E820Type,
}

impl Slot {
    const fn end(&self) -> u64 {
        self.start.saturating_add(self.size)
    }
}

/// The table while it is edited.
#[derive(Debug, Default)]
struct E820 {
    slots: Vec<Slot>,
}

impl E820 {
    /// What the boot loader or the EFI stub hands over.
    fn import(firmware: &FirmwareMap, kernel: &Kernel, soft_reserve: bool) -> Result<Self, MapFailure> {
        let mut table = Self::default();
        for entry in &firmware.entries {
            let (start, size) = (entry.range.start.0, entry.range.size().0);
            match entry.kind {
                MapKind::E820(kind) => table.add(start, size, kind),
                MapKind::Efi(kind, attributes) => {
                    let Some(kind) =
                        stub_kind(kind, attributes, soft_reserve, kernel.config.unaccepted_memory)
                    else {
                        continue;
                    };
                    match table.slots.last_mut() {
                        Some(last) if last.kind == kind && last.end() == start => {
                            last.size = last.size.wrapping_add(size);
                        }
                        _ => table.add(start, size, kind),
                    }
                }
            }
        }
        let wraps =
            |slot: &Slot| slot.size != 0 && slot.start.checked_add(slot.size.wrapping_sub(1)).is_none();
        if table.slots.iter().any(wraps) { Err(MapFailure::Unusable) } else { Ok(table) }
    }

    fn add(&mut self, start: u64, size: u64, kind: E820Type) {
        self.slots.push(Slot { start, size, kind });
    }

    /// Orders the table and settles overlaps: the numerically largest type wins (`e820__update_table`). `false`
    /// when it refuses to work and leaves the table as it is.
    fn sanitise(&mut self) -> bool {
        if self.slots.len() < 2 || self.slots.iter().any(|slot| slot.start.checked_add(slot.size).is_none()) {
            return false;
        }
        // Starts go before ends at the same address.
        let mut points: Vec<(u64, bool, E820Type)> = Vec::new();
        for slot in self.slots.iter().filter(|slot| slot.size > 0) {
            points.push((slot.start, false, slot.kind));
            points.push((slot.end(), true, slot.kind));
        }
        points.sort_unstable_by_key(|(address, is_end, _)| (*address, *is_end));

        let mut active: BTreeMap<E820Type, u32> = BTreeMap::new();
        let mut slots = Vec::new();
        let mut last_kind = None;
        let mut last_address = 0_u64;
        for (address, is_end, kind) in points {
            if is_end {
                if let Some(count) = active.get_mut(&kind) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        active.remove(&kind);
                    }
                }
            } else {
                let count = active.entry(kind).or_default();
                *count = count.saturating_add(1);
            }
            let current = active.last_key_value().map(|(kind, _)| *kind);
            let never_merged = matches!(current, Some(E820Type::PRAM | E820Type::SOFT_RESERVED));
            if current != last_kind || never_merged {
                if let Some(kind) = last_kind.filter(|_| address > last_address) {
                    slots.push(Slot {
                        start: last_address,
                        size: address.saturating_sub(last_address),
                        kind,
                    });
                }
                if current.is_some() {
                    last_address = address;
                }
                last_kind = current;
            }
        }
        self.slots = slots;
        true
    }

    fn edit(&mut self, edit: MapEdit) {
        match edit {
            MapEdit::Limit { from, .. } => {
                self.remove(from, u64::MAX.wrapping_sub(from), Some(E820Type::RAM))
            }
            MapEdit::Clear => self.slots.clear(),
            MapEdit::Add { start, size, kind } => self.add(start, size, kind),
            MapEdit::Retype { start, size, from: Some(from), to: Some(to) } => {
                self.retype(start, size, from, to)
            }
            MapEdit::Retype { start, size, from: None, to: Some(to) } => self.add(start, size, to),
            MapEdit::Retype { start, size, from, to: None } => self.remove(start, size, from),
            MapEdit::Nothing => {}
        }
    }

    /// Gives the part of every entry of one type that lies in the range another type (`e820__range_update`).
    fn retype(&mut self, start: u64, size: u64, from: E820Type, to: E820Type) {
        self.cut(start, size, Some(from), Some(to));
    }

    /// Takes the range out, only entries of one type where one is given (`e820__range_remove`).
    fn remove(&mut self, start: u64, size: u64, kind: Option<E820Type>) {
        self.cut(start, size, kind, None);
    }

    fn cut(&mut self, start: u64, size: u64, from: Option<E820Type>, to: Option<E820Type>) {
        let end = start.saturating_add(size);
        let mut pieces = Vec::new();
        for slot in &mut self.slots {
            if from.is_some_and(|kind| kind != slot.kind) {
                continue;
            }
            let (inside_start, inside_end) = (slot.start.max(start), slot.end().min(end));
            if inside_start >= inside_end {
                continue;
            }
            let (whole_end, kind) = (slot.end(), slot.kind);
            slot.size = inside_start.saturating_sub(slot.start);
            if let Some(kind) = to {
                pieces.push(Slot {
                    start: inside_start,
                    size: inside_end.saturating_sub(inside_start),
                    kind,
                });
            }
            if inside_end < whole_end {
                pieces.push(Slot { start: inside_end, size: whole_end.saturating_sub(inside_end), kind });
            }
        }
        self.slots.retain(|slot| slot.size > 0);
        self.slots.append(&mut pieces);
    }

    /// `arch/x86/platform/efi/efi.c: do_add_efi_memmap`.
    fn add_efi(&mut self, firmware: &FirmwareMap, soft_reserve: bool) {
        for entry in &firmware.entries {
            if let MapKind::Efi(kind, attributes) = entry.kind {
                let kind = kernel_kind(kind, attributes, soft_reserve);
                self.add(entry.range.start.0, entry.range.size().0, kind);
            }
        }
    }

    /// `arch/x86/platform/efi/efi.c: efi_remove_e820_mmio`.
    fn remove_large_mmio(&mut self, firmware: &FirmwareMap) {
        const LARGE: u64 = 256 << 10;
        for entry in &firmware.entries {
            let size = entry.range.size().0;
            if matches!(entry.kind, MapKind::Efi(EfiMemoryType::MAPPED_IO, _)) && size >= LARGE {
                self.remove(entry.range.start.0, size, Some(E820Type::RESERVED));
            }
        }
    }

    fn ranges(&self) -> Vec<MapRange> {
        let range = |slot: &Slot| AddressRange::new(PhysAddr(slot.start), PhysAddr(slot.end()));
        self.slots
            .iter()
            .filter(|slot| slot.size > 0)
            .map(|slot| MapRange { range: range(slot), kind: slot.kind })
            .collect()
    }
}

/// Types that hold RAM once boot services have ended.
const fn becomes_ram(kind: EfiMemoryType) -> bool {
    matches!(
        kind,
        EfiMemoryType::LOADER_CODE
            | EfiMemoryType::LOADER_DATA
            | EfiMemoryType::BOOT_SERVICES_CODE
            | EfiMemoryType::BOOT_SERVICES_DATA
            | EfiMemoryType::CONVENTIONAL
    )
}

/// `drivers/firmware/efi/libstub/x86-stub.c: setup_e820`; `None` for what becomes a hole.
fn stub_kind(
    kind: EfiMemoryType,
    attributes: EfiAttributes,
    soft_reserve: bool,
    unaccepted: bool,
) -> Option<E820Type> {
    Some(match kind {
        _ if becomes_ram(kind) && soft_reserve && attributes.contains(EfiAttributes::SP) => {
            E820Type::SOFT_RESERVED
        }
        _ if becomes_ram(kind) => E820Type::RAM,
        EfiMemoryType::UNACCEPTED if unaccepted => E820Type::RAM,
        EfiMemoryType::RESERVED
        | EfiMemoryType::RUNTIME_SERVICES_CODE
        | EfiMemoryType::RUNTIME_SERVICES_DATA
        | EfiMemoryType::MAPPED_IO
        | EfiMemoryType::MAPPED_IO_PORT_SPACE
        | EfiMemoryType::PAL_CODE => E820Type::RESERVED,
        EfiMemoryType::UNUSABLE => E820Type::UNUSABLE,
        EfiMemoryType::ACPI_RECLAIM => E820Type::ACPI,
        EfiMemoryType::ACPI_NVS => E820Type::NVS,
        EfiMemoryType::PERSISTENT => E820Type::PMEM,
        _ => return None,
    })
}

/// `arch/x86/platform/efi/efi.c: do_add_efi_memmap`.
fn kernel_kind(kind: EfiMemoryType, attributes: EfiAttributes, soft_reserve: bool) -> E820Type {
    match kind {
        _ if becomes_ram(kind) && soft_reserve && attributes.contains(EfiAttributes::SP) => {
            E820Type::SOFT_RESERVED
        }
        _ if becomes_ram(kind) && attributes.contains(EfiAttributes::WB) => E820Type::RAM,
        EfiMemoryType::UNUSABLE => E820Type::UNUSABLE,
        EfiMemoryType::ACPI_RECLAIM => E820Type::ACPI,
        EfiMemoryType::ACPI_NVS => E820Type::NVS,
        EfiMemoryType::PERSISTENT => E820Type::PMEM,
        _ => E820Type::RESERVED,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::memory_map::{MapEntry, MapForm};

    fn map(entries: &[(u64, u64, u32)]) -> FirmwareMap {
        FirmwareMap {
            form: MapForm::KernelE820,
            entries: entries
                .iter()
                .map(|(start, end, kind)| MapEntry {
                    range: AddressRange::new(PhysAddr(*start), PhysAddr(*end)),
                    kind: MapKind::E820(E820Type(*kind)),
                    place: 0,
                })
                .collect(),
        }
    }

    fn plan(entries: &[(u64, u64, u32)], line: &str) -> MemoryMap {
        MemoryMap::new(&map(entries), &Kernel::default().with_command_line(line)).unwrap()
    }

    fn flat(table: &[MapRange]) -> Vec<(u64, u64, u32)> {
        table.iter().map(|entry| (entry.range.start.0, entry.range.end.0, entry.kind.0)).collect()
    }

    #[test]
    fn soft_reserved_is_cut_at_every_change() {
        // A capture of a 7.2.12 boot: 512 MiB soft reserved, 64 MiB of ACPI data inside.
        let got = plan(
            &[
                (0x1000, 0x9_f000, 1),
                (0x1_0400_0000, 0x1_2400_0000, 0xefff_ffff),
                (0x1_0c00_0000, 0x1_1000_0000, 3),
            ],
            "",
        );
        assert_eq!(
            flat(&got.table),
            [
                (0x1000, 0x9_f000, 1),
                (0x1_0400_0000, 0x1_0c00_0000, 0xefff_ffff),
                (0x1_0c00_0000, 0x1_1000_0000, 0xefff_ffff),
                (0x1_1000_0000, 0x1_2400_0000, 0xefff_ffff),
            ]
        );
    }

    #[test]
    fn options_edit_in_order_and_page_zero_is_reserved() {
        let firmware = [(0, 0x9_fc00, 1), (0x9_fc00, 0xa_0000, 2), (0x10_0000, 0x4000_0000, 1)];
        let got = plan(&firmware, "memmap=512M%512M-1+0xefffffff");
        assert_eq!(
            flat(&got.table),
            [
                (0, 0x1000, 2),
                (0x1000, 0x9_fc00, 1),
                (0x9_fc00, 0xa_0000, 2),
                (0x10_0000, 0x2000_0000, 1),
                (0x2000_0000, 0x4000_0000, 0xefff_ffff),
            ]
        );
        assert_eq!(flat(got.user.as_deref().unwrap())[0], (0, 0x9_fc00, 1));
        assert_eq!(
            got.ram,
            [
                AddressRange::new(PhysAddr(0x1000), PhysAddr(0x9_f000)),
                AddressRange::new(PhysAddr(0x10_0000), PhysAddr(0x2000_0000)),
            ]
        );
        assert_eq!(got.max_pfn, 0x2_0000);
        let got = plan(&firmware, "mem=768M mem=nopentium");
        assert_eq!(got.max_pfn, 0x3_0000);
        assert_eq!(got.hot_add_limit, Some(PhysAddr(768 << 20)));
        assert!(plan(&firmware, "mem=nopentium").user.is_none());
        assert!(plan(&firmware, "mem=0").user.is_some());
    }

    #[test]
    fn efi_types_become_e820_types_twice() {
        const WB: EfiAttributes = EfiAttributes::WB;
        let special = WB.union(EfiAttributes::SP);
        let entries = |conventional_special: bool| {
            let sp = if conventional_special { special } else { WB };
            let kinds = [
                (EfiMemoryType::CONVENTIONAL, WB),
                (EfiMemoryType::LOADER_DATA, WB),
                (EfiMemoryType::CONVENTIONAL, EfiAttributes::UC),
                (EfiMemoryType::UNACCEPTED, WB),
                (EfiMemoryType::ACPI_RECLAIM, WB),
                (EfiMemoryType::CONVENTIONAL, sp),
                (EfiMemoryType(0x8000_0000), WB),
            ];
            let entry = |(at, (kind, attributes)): (u64, (EfiMemoryType, EfiAttributes))| MapEntry {
                range: AddressRange::new(PhysAddr(at << 20), PhysAddr((at + 1) << 20)),
                kind: MapKind::Efi(kind, attributes),
                place: 0,
            };
            FirmwareMap { form: MapForm::EfiDescriptors, entries: (1..).zip(kinds).map(entry).collect() }
        };
        let plan = |special: bool, line: &str| {
            let kernel = Kernel::default().with_command_line(line);
            flat(&MemoryMap::new(&entries(special), &kernel).unwrap().table)
                .into_iter()
                .map(|(start, end, kind)| (start >> 20, end >> 20, kind))
                .collect::<Vec<_>>()
        };
        // The stub takes cacheability for granted, and what it does not know becomes a hole.
        assert_eq!(plan(false, ""), [(1, 5, 1), (5, 6, 3), (6, 7, 1)]);
        // Specific-purpose memory brings the kernel's own import in, which reserves what is not write-back,
        // unaccepted or unknown.
        assert_eq!(plan(true, ""), [(1, 3, 1), (3, 5, 2), (5, 6, 3), (6, 7, 0xefff_ffff), (7, 8, 2)]);
        assert_eq!(plan(true, "efi=nosoftreserve"), [(1, 5, 1), (5, 6, 3), (6, 7, 1)]);
        // The import comes after the options and undoes them.
        assert_eq!(plan(true, "mem=2M"), plan(true, ""));
    }

    #[test]
    fn an_emptied_map_stops_the_kernel() {
        let kernel = Kernel::default().with_command_line("memmap=exactmap memmap=512M@1M");
        assert_eq!(MemoryMap::new(&map(&[(0, 0x1000_0000, 1)]), &kernel), Err(MapFailure::InvalidUserMap));
    }
}
