//! What the forms of a memory map call the types of a range.

use crate::bundle::text::hex;
use crate::tables::e820::E820Type;
use crate::tables::efi::{EfiAttributes, EfiMemoryType};

/// E820 types in the kernel log, `/proc/iomem` and `/sys/firmware/memmap`. Linux 7.2 changed the first two words of
/// the log; kernels after it print the words of `/proc/iomem` there too (`arch/x86/kernel/e820.c`).
const E820_WORDS: &[(&str, E820Type)] = &[
    ("usable", E820Type::RAM),
    ("System RAM", E820Type::RAM),
    ("reserved", E820Type::RESERVED),
    ("device reserved", E820Type::RESERVED),
    ("ACPI data", E820Type::ACPI),
    ("ACPI Tables", E820Type::ACPI),
    ("ACPI NVS", E820Type::NVS),
    ("ACPI Non-volatile Storage", E820Type::NVS),
    ("unusable", E820Type::UNUSABLE),
    ("Unusable memory", E820Type::UNUSABLE),
    ("Persistent Memory", E820Type::PMEM),
    ("Persistent Memory (legacy)", E820Type::PRAM),
    ("soft reserved", E820Type::SOFT_RESERVED),
    ("Unknown E820 type", E820Type(0)),
];

/// The E820 type that `words` name, by name or by number as in `type 20` and `persistent (type 7)`.
pub(super) fn e820_type(words: &str) -> Option<E820Type> {
    let named = E820_WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(words));
    named.map(|(_, found)| *found).or_else(|| {
        let number = words.strip_prefix("type ").or_else(|| {
            let persistent = words.strip_prefix("persistent")?;
            persistent.split_once("(type ")?.1.strip_suffix(')')
        })?;
        number.parse().ok().map(E820Type)
    })
}

/// EFI types in the kernel log, long in older kernels and short in newer ones (`drivers/firmware/efi/efi.c`), and in the
/// listings of the UEFI shell, short and full.
const EFI_WORDS: &[(&str, EfiMemoryType)] = &[
    ("Reserved", EfiMemoryType::RESERVED),
    ("Loader Code", EfiMemoryType::LOADER_CODE),
    ("LoaderCode", EfiMemoryType::LOADER_CODE),
    ("Loader Data", EfiMemoryType::LOADER_DATA),
    ("LoaderData", EfiMemoryType::LOADER_DATA),
    ("Boot Code", EfiMemoryType::BOOT_SERVICES_CODE),
    ("BS_Code", EfiMemoryType::BOOT_SERVICES_CODE),
    ("BootServiceCode", EfiMemoryType::BOOT_SERVICES_CODE),
    ("Boot Data", EfiMemoryType::BOOT_SERVICES_DATA),
    ("BS_Data", EfiMemoryType::BOOT_SERVICES_DATA),
    ("BootServiceData", EfiMemoryType::BOOT_SERVICES_DATA),
    ("Runtime Code", EfiMemoryType::RUNTIME_SERVICES_CODE),
    ("RT_Code", EfiMemoryType::RUNTIME_SERVICES_CODE),
    ("RuntimeCode", EfiMemoryType::RUNTIME_SERVICES_CODE),
    ("Runtime Data", EfiMemoryType::RUNTIME_SERVICES_DATA),
    ("RT_Data", EfiMemoryType::RUNTIME_SERVICES_DATA),
    ("RuntimeData", EfiMemoryType::RUNTIME_SERVICES_DATA),
    ("Conventional", EfiMemoryType::CONVENTIONAL),
    ("Conventional Memory", EfiMemoryType::CONVENTIONAL),
    ("Available", EfiMemoryType::CONVENTIONAL),
    ("Unusable", EfiMemoryType::UNUSABLE),
    ("Unusable Memory", EfiMemoryType::UNUSABLE),
    ("UnusableMemory", EfiMemoryType::UNUSABLE),
    ("ACPI Reclaim", EfiMemoryType::ACPI_RECLAIM),
    ("ACPI Reclaim Memory", EfiMemoryType::ACPI_RECLAIM),
    ("ACPI_Recl", EfiMemoryType::ACPI_RECLAIM),
    ("ACPIReclaimMemory", EfiMemoryType::ACPI_RECLAIM),
    ("ACPI Mem NVS", EfiMemoryType::ACPI_NVS),
    ("ACPI Memory NVS", EfiMemoryType::ACPI_NVS),
    ("ACPI_NVS", EfiMemoryType::ACPI_NVS),
    ("ACPIMemoryNVS", EfiMemoryType::ACPI_NVS),
    ("MMIO", EfiMemoryType::MAPPED_IO),
    ("Memory Mapped I/O", EfiMemoryType::MAPPED_IO),
    ("MemoryMappedIO", EfiMemoryType::MAPPED_IO),
    ("MMIO Port", EfiMemoryType::MAPPED_IO_PORT_SPACE),
    ("MMIO Port Space", EfiMemoryType::MAPPED_IO_PORT_SPACE),
    ("MMIO_Port", EfiMemoryType::MAPPED_IO_PORT_SPACE),
    ("MemoryMappedIOPortSpace", EfiMemoryType::MAPPED_IO_PORT_SPACE),
    ("PAL Code", EfiMemoryType::PAL_CODE),
    ("PalCode", EfiMemoryType::PAL_CODE),
    ("Persistent", EfiMemoryType::PERSISTENT),
    ("Persistent Memory", EfiMemoryType::PERSISTENT),
    ("Unaccepted", EfiMemoryType::UNACCEPTED),
];

/// The EFI type that `words` name.
pub(super) fn efi_type(words: &str) -> Option<EfiMemoryType> {
    EFI_WORDS.iter().find(|(name, _)| name.eq_ignore_ascii_case(words)).map(|(_, found)| *found)
}

/// The cells of the attribute column in the kernel log.
const ATTRIBUTE_CELLS: &[(&str, EfiAttributes)] = &[
    ("RUN", EfiAttributes::RUNTIME),
    ("HP", EfiAttributes::HOT_PLUGGABLE),
    ("MR", EfiAttributes::MORE_RELIABLE),
    ("CC", EfiAttributes::CPU_CRYPTO),
    ("SP", EfiAttributes::SP),
    ("NV", EfiAttributes::NV),
    ("XP", EfiAttributes::XP),
    ("RP", EfiAttributes::RP),
    ("WP", EfiAttributes::WP),
    ("RO", EfiAttributes::RO),
    ("UCE", EfiAttributes::UCE),
    ("WB", EfiAttributes::WB),
    ("WT", EfiAttributes::WT),
    ("WC", EfiAttributes::WC),
    ("UC", EfiAttributes::UC),
];

/// Type and attributes as the kernel's `efi_md_typeattr_format` prints them, without the brackets:
/// `Boot Data   |   |  |WB|WT|WC|UC`, or `Reserved |attr=0x0700...` when a bit has no name. A type without a name is
/// `type=20`.
pub(super) fn efi_type_and_attributes(cells: &str) -> Option<(EfiMemoryType, EfiAttributes)> {
    let mut cells = cells.split('|').map(str::trim);
    let name = cells.next()?;
    let memory_type = match name.strip_prefix("type=") {
        Some(number) => EfiMemoryType(number.parse().ok()?),
        None => efi_type(name)?,
    };
    let mut attributes = EfiAttributes::default();
    for cell in cells.filter(|cell| !cell.is_empty()) {
        attributes = attributes.union(match cell.strip_prefix("attr=") {
            Some(word) => EfiAttributes(hex(word)?),
            None => ATTRIBUTE_CELLS.iter().find(|(name, _)| *name == cell)?.1,
        });
    }
    Some((memory_type, attributes))
}
