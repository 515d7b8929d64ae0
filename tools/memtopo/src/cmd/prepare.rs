//! What the commands about one machine and its kernel share: reading the tables, the memory map and the options.

use super::example;
use crate::args::{Machine, number};
use crate::input::Loaded;
use anyhow::{Context, Result, bail, ensure};
use memtopo::bundle::memory_map::{FirmwareMap, MapEntry, MapForm, MapKind};
use memtopo::bundle::{BundledTable, Container, TableSet};
use memtopo::linux::added::MemoryDevice;
use memtopo::linux::kernel::CpuVendor;
use memtopo::linux::placement::loader::assume_initrd;
use memtopo::linux::qos::QtgReply;
use memtopo::linux::table_upgrade::{self, Fate};
use memtopo::linux::{Inputs, Kernel, Version};
use memtopo::range::AddressRange;
use memtopo::tables::anatomy::Format;
use memtopo::tables::e820::E820Type;
use memtopo::tables::srat::{Entry, MemoryFlags, Srat};
use memtopo::topology::cxl::PciLink;
use memtopo::topology::device_tables::DeviceTable;
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{ApicId, ByteCount, PhysAddr, ProximityDomain, Signature};

/// Reads the machine that the options name and hands it to `work`.
pub(crate) fn machine<T>(args: &Machine, work: impl FnOnce(Inputs<'_>) -> Result<T>) -> Result<T> {
    let no_input = args.inputs.inputs.is_empty() && !args.inputs.live;
    let loaded = if no_input {
        let (name, toml) = example::DEFAULT;
        eprintln!(
            "memtopo: no input: planning the bundled machine `{name}` (memtopo example {name} shows it)"
        );
        Loaded::describe(name, toml)?
    } else {
        Loaded::read(&args.inputs)?
    };
    let set = loaded.tables()?;
    let tables = kernel_tables(&loaded, &set);
    ensure!(!tables.is_empty(), "the inputs hold no ACPI table");
    let mut topology = Topology::read(tables.iter().copied());
    topology.cxl = loaded.cxl.tree()?;
    topology.device_tables = device_tables(&loaded, &set);
    let map = match loaded.memory_map(args.memory_map.as_deref())? {
        Some(map) => map,
        None => {
            eprintln!(
                "memtopo: note: no memory map: taking the memory of the SRAT that is there at boot for RAM"
            );
            assumed_map(&set)?
        }
    };
    let mut kernel = kernel(args)?;
    let qtg = &mut kernel.platform.cxl.qtg;
    *qtg = qtg.take().or_else(|| loaded.qtg.clone());
    if let Some(end) = assume_initrd(&mut kernel, &topology, &map) {
        eprintln!(
            "memtopo: note: taking an initrd to end at {end:#x}, as QEMU puts it; --platform initrd=START-END tells \
             another"
        );
    }
    let devices = args.memory_device.iter().map(|text| memory_device(text)).collect::<Result<Vec<_>>>()?;
    work(Inputs { topology: &topology, memory_map: &map, memory_devices: &devices, kernel: &kernel })
}

/// The ACPI tables that the kernel works with: those of the firmware, upgraded by those of an initrd.
fn kernel_tables<'s>(loaded: &'s Loaded, set: &'s TableSet<'_>) -> Vec<TableBytes<'s>> {
    let tables = set.tables().iter().filter(|table| table.format == Format::Sdt);
    let in_initrd = |table: &&BundledTable<'_>| {
        set.input_of(table).is_some_and(|input| input.container == Container::Initrd)
    };
    let (upgrades, firmware): (Vec<_>, Vec<_>) = tables.partition(in_initrd);
    let firmware: Vec<_> = firmware.iter().filter_map(|table| loaded.bytes_of(set, table)).collect();
    let files: Vec<&[u8]> = upgrades.iter().map(|table| &*table.bytes).collect();
    let (tables, fates) = table_upgrade::upgrade(&firmware, &files);
    for (table, fate) in upgrades.iter().zip(fates) {
        let what = match fate {
            Fate::Replaces(_) => "replaces the firmware's table",
            Fate::Appended => "joins the firmware's tables",
            Fate::NotNewer => "refused: a table with its ids is there and not older",
            Fate::WrongLength => "refused: its size is not its Length",
            Fate::WrongChecksum => "refused: wrong checksum",
            Fate::TooMany => "refused: 64 files were taken before",
            _ => "refused: the kernel takes no such table from an initrd",
        };
        let member = table.origin.member.as_deref().unwrap_or_default();
        eprintln!("memtopo: note: initrd: {member} ({}): {what}", table.signature);
    }
    tables
}

/// The CDATs, each with its device.
fn device_tables<'s>(loaded: &Loaded, set: &'s TableSet<'_>) -> Vec<DeviceTable<'s>> {
    let cdats = set.tables().iter().filter(|table| table.format == Format::Cdat);
    let with_owner = |table: &'s BundledTable<'_>| {
        let name = set.input_of(table).map_or("", |input| input.name.as_str());
        let owner = loaded.owner(name);
        if owner.is_none() {
            eprintln!("memtopo: note: {name}: its name does not tell which device has this CDAT");
        }
        DeviceTable::new(owner, &table.bytes)
    };
    cdats.map(with_owner).collect()
}

/// The map that a machine would have whose RAM is exactly what its SRAT names.
fn assumed_map(set: &TableSet<'_>) -> Result<FirmwareMap> {
    let table = set.first(Signature::SRAT).context("neither a memory map nor a SRAT to take one from")?;
    let srat = Srat::parse(&table.bytes)?;
    let mut entries = Vec::new();
    for entry in srat.entries() {
        let Ok(Entry::Memory(memory)) = entry else { continue };
        let flags = memory.flags.get();
        let at_boot = flags.contains(MemoryFlags::ENABLED) && !flags.contains(MemoryFlags::HOT_PLUGGABLE);
        let range = AddressRange::from_base_size(memory.base_address.get(), memory.address_length.get());
        if let (true, Some(range)) = (at_boot, range.filter(|range| !range.is_empty())) {
            let place = u64::try_from(entries.len())?;
            entries.push(MapEntry { range, kind: MapKind::E820(E820Type::RAM), place });
        }
    }
    entries.sort_by_key(|entry| entry.range);
    Ok(FirmwareMap { form: MapForm::E820Entries, entries })
}

/// The kernel that the options describe.
fn kernel(args: &Machine) -> Result<Kernel> {
    let version = Version::from_name(&args.kernel)
        .with_context(|| format!("--kernel: expected 7.2, 6.12 or 6.1, found {:?}", args.kernel))?;
    let mut kernel = Kernel::new(version).with_command_line(&args.cmdline);
    kernel.drivers = args.drivers.iter().filter(|driver| !driver.is_empty()).cloned().collect();
    for fact in &args.platform {
        platform(&mut kernel, fact).with_context(|| format!("--platform {fact}"))?;
    }
    Ok(kernel)
}

/// Addresses as START-END, without END itself.
fn addresses(text: &str) -> Result<AddressRange> {
    let (start, end) = text.split_once('-').context("expected START-END, without END itself")?;
    Ok(AddressRange::new(PhysAddr(parse(start)?), PhysAddr(parse(end)?)))
}

/// One `--platform` fact.
fn platform(kernel: &mut Kernel, fact: &str) -> Result<()> {
    let (key, value) = fact.split_once('=').context("expected KEY=VALUE")?;
    let yes = || match value {
        "yes" => Ok(true),
        "no" => Ok(false),
        _ => bail!("expected yes or no, found {value:?}"),
    };
    let id = |text: &str| Ok::<_, anyhow::Error>(u32::try_from(parse(text)?)?);
    let platform = &mut kernel.platform;
    match key {
        "hypervisor" => platform.hypervisor = yes()?,
        "x2apic" => platform.x2apic = Some(yes()?),
        "boot_apic_id" => platform.boot_apic_id = Some(ApicId(id(value)?)),
        "cpu_vendor" => {
            platform.cpu_vendor = Some(match value {
                "intel" => CpuVendor::Intel,
                "amd" => CpuVendor::Amd,
                _ => bail!("expected intel or amd, found {value:?}"),
            });
        }
        "cache_id" => {
            let (apic, cache) = value.split_once(':').context("expected APIC_ID:CACHE_ID")?;
            platform.cache_ids.push((ApicId(id(apic)?), id(cache)?));
        }
        "reserved" => platform.reserved.push(addresses(value)?),
        "kernel_image" => platform.kernel_image = Some(addresses(value)?),
        "initrd" => platform.initrd = Some(addresses(value)?),
        "acpi_tables" => platform.tables.push(addresses(value)?),
        "gib_pages" => platform.gib_pages = Some(yes()?),
        "rereads_hmat" => kernel.switches.rereads_hmat = yes()?,
        "max_nodes" => kernel.config.max_nodes = id(value)?,
        "cxl_link" => match value.split_once('=') {
            Some((function, link)) => {
                platform.cxl.links.insert(function.to_owned(), pci_link(link)?);
            }
            None => platform.cxl.link = Some(pci_link(value)?),
        },
        "cxl_qtg" => platform.cxl.qtg = Some(qtg_reply(value)?),
        "emulator" => {
            platform.cxl.emulated = Some(match value {
                "qemu" => true,
                "none" => false,
                _ => bail!("expected qemu or none, found {value:?}"),
            });
        }
        _ => bail!(
            "expected hypervisor, x2apic, boot_apic_id, cpu_vendor, cache_id, reserved, rereads_hmat, \
             max_nodes, cxl_link, cxl_qtg or emulator, found {key:?}"
        ),
    }
    Ok(())
}

/// A PCIe link as speed and width, with the size of a flit where it is not that of the speed.
fn pci_link(text: &str) -> Result<PciLink> {
    let expected = || format!("expected GT/s x LANES, as in 32x16 or 32x16:256, found {text:?}");
    PciLink::parse(text).with_context(expected)
}

/// The answer of the QoS method: the largest group and the list, `1:0` or `3:2,1`, or `none`.
fn qtg_reply(text: &str) -> Result<QtgReply> {
    if text == "none" {
        return Ok(QtgReply::None);
    }
    let (largest, list) = text.split_once(':').context("expected LARGEST:GROUP,GROUP... or none")?;
    let group = |text: &str| Ok::<_, anyhow::Error>(u16::try_from(parse(text)?)?);
    let groups = list.split(',').filter(|text| !text.is_empty()).map(group).collect::<Result<_>>()?;
    Ok(QtgReply::Groups { largest: group(largest)?, groups })
}

/// One `--memory-device`.
fn memory_device(text: &str) -> Result<MemoryDevice> {
    let place = || format!("--memory-device {text}");
    let (mut start, mut size, mut domain) = (None, None, None);
    for part in text.split(',') {
        let (key, value) = part.split_once('=').context("expected KEY=VALUE").with_context(place)?;
        let value = parse(value).with_context(place)?;
        match key {
            "start" => start = Some(PhysAddr(value)),
            "size" => size = Some(ByteCount(value)),
            "domain" => domain = Some(ProximityDomain(u32::try_from(value).with_context(place)?)),
            _ => bail!("{}: expected start, size or domain, found {key:?}", place()),
        }
    }
    let (start, size) = (start.with_context(place)?, size.with_context(place)?);
    let range =
        AddressRange::from_base_size(start, size).context("the range passes 64 bits").with_context(place)?;
    Ok(MemoryDevice { range, domain })
}

fn parse(text: &str) -> Result<u64> {
    number(text).map_err(anyhow::Error::msg)
}
