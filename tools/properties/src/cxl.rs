//! CXL: decoder registers up to the regions that Linux makes of them, and addresses of regions both ways.

use memtopo::bundle::cxl_sysfs::CxlSysfs;
use memtopo::bundle::memory_map::{FirmwareMap, MapEntry, MapForm, MapKind};
use memtopo::linux::plan::Plan;
use memtopo::linux::region_map::RegionMap;
use memtopo::linux::{Inputs, Kernel, plan};
use memtopo::policy::region_layouts::{Goal, Layouts, Question};
use memtopo::range::AddressRange;
use memtopo::region::{
    Granularity, Interleave, Levels, Place, Position, Translator, Ways, XorMaps, reported,
};
use memtopo::render::explain::{Question as Asked, explain};
use memtopo::render::style::Colour;
use memtopo::tables::cedt::{
    CedtWriter, CxlVersion, FixedMemoryWindowHeader, HostBridge, InterleaveGranularity, InterleaveWays,
    WindowRestrictions,
};
use memtopo::tables::e820::E820Type;
use memtopo::tables::hdm::{ComponentRegisters, ComponentRegistersWriter};
use memtopo::tables::header::Identity;
use memtopo::tables::output::Seal;
use memtopo::topology::cxl::{CxlTree, Mode};
use memtopo::topology::cxl_registers::PortRegisters;
use memtopo::topology::{TableBytes, Topology};
use memtopo::units::{AcpiUid, ByteCount, DeviceAddr, PhysAddr, XorMap};

/// Bytes that registers with four decoders take.
pub const REGISTERS: usize = 0xa0;
/// Where the window of the machine is, and its size.
pub const WINDOW: (u64, u64) = (16 << 30, 16 << 30);

/// The registers of a bridge and of two devices behind it, one after another: reading and writing agree, the machine
/// boots, and what is a region translates both ways.
pub fn registers(input: &[u8]) {
    let mut tree = CxlTree::from_sysfs(&CxlSysfs::read_listing(LISTING));
    let mut rest = input;
    for port in ["port1", "endpoint2", "endpoint3"] {
        let (own, behind) = rest.split_at(rest.len().min(REGISTERS));
        rest = behind;
        let read = ComponentRegisters::parse(own);
        assert!(!ComponentRegisters::is_plausible(own) || read.is_ok());
        if let Ok(registers) = read {
            same_again(&registers);
        }
        if let Ok(Some(registers)) = PortRegisters::read(own) {
            tree.registers.insert(port.to_owned(), registers);
        }
    }
    with_plan(tree, |plan| {
        for region in &plan.places.regions {
            if let Ok(map) = &region.map {
                both_ways(map);
            }
            let number = region.name.trim_start_matches("region").parse().unwrap_or_default();
            let mut text = String::new();
            explain(&mut text, plan, Asked::Region(number), Colour::Off).expect("a string grows");
            assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "a raw control character");
        }
    });
}

/// Written registers read as what was written.
fn same_again(registers: &ComponentRegisters<'_>) {
    let Some(header) = registers.hdm() else { return };
    let mut bytes = Vec::new();
    let mut writer = ComponentRegistersWriter::new(&mut bytes, header.capability.get(), header.control.get());
    registers.decoders().iter().for_each(|decoder| writer.push(decoder));
    writer.finish().expect("a vector grows");
    let again = ComponentRegisters::parse(&bytes).expect("what was written");
    let (one, other) = (again.hdm().expect("written"), header);
    assert_eq!((one.capability, one.control), (other.capability, other.control));
    assert_eq!(again.decoders(), registers.decoders());
}

/// Boots the machine with this hierarchy. What it would do with the devices can be asked, too.
fn with_plan(tree: CxlTree, look: impl FnOnce(&Plan)) {
    let mut cedt = Vec::new();
    let mut writer = CedtWriter::new(&mut cedt, Identity::default());
    writer.push(&HostBridge::new(AcpiUid(12), CxlVersion::CXL_2_0, PhysAddr(1 << 28), ByteCount(1 << 16)));
    let restrictions = WindowRestrictions::HOST_ONLY_COHERENT.union(WindowRestrictions::VOLATILE);
    let granularity = InterleaveGranularity::BYTES_256;
    let (start, size) = (PhysAddr(WINDOW.0), ByteCount(WINDOW.1));
    let window = FixedMemoryWindowHeader::new(start, size, granularity, restrictions);
    writer.push_window(&window, &[AcpiUid(12)]).expect("one target");
    writer.finish(Seal::Fill).expect("small");
    let table = TableBytes::copy(&cedt).expect("a whole table");
    let topology = Topology { cxl: Some(tree), ..Topology::read([table]) };
    let ram = AddressRange::new(PhysAddr(0), PhysAddr(1 << 30));
    let entry = MapEntry { range: ram, kind: MapKind::E820(E820Type::RAM), place: 0 };
    let memory_map = FirmwareMap { form: MapForm::E820Entries, entries: vec![entry] };
    let kernel = Kernel::default();
    let inputs =
        Inputs { topology: &topology, memory_map: &memory_map, memory_devices: &[], kernel: &kernel };
    look(&plan(inputs));
    let state = memtopo::linux::State::boot(inputs).expect("it comes up");
    let question = Question { window: "decoder0.0".to_owned(), devices: Vec::new(), mode: Mode::Ram };
    if let Ok(layouts) = Layouts::find(&state, &question) {
        for family in &layouts.families {
            for order in layouts.orders(family, 4) {
                assert_eq!(layouts.check(family.ways, family.granularity, &order), Ok(()));
            }
        }
        let best = layouts.best(&state, Goal::Bandwidth);
        assert!(best.is_none_or(|best| layouts.check(best.ways, best.granularity, &best.order).is_ok()));
    }
}

/// Addresses at both ends of a region and of each chunk lead to a place and back.
fn both_ways(map: &RegionMap) {
    let range = map.translator.range();
    let granule = map.translator.levels().region().granularity.bytes().0;
    let last = range.end.0.wrapping_sub(1);
    let near = (0..16).map(|chunk| range.start.0 + chunk * granule).filter(|address| *address <= last);
    for address in near.chain([last]) {
        let byte = map.at(PhysAddr(address)).expect("an address of the region");
        assert_eq!(map.of_device(byte.place).expect("a place of the region").address, PhysAddr(address));
        let dpa = byte.device.dpa;
        assert!((dpa.start.0..dpa.start.0 + dpa.size.0).contains(&byte.place.address.0));
    }
    assert!(map.at(range.end).is_err());
}

/// Numbers of an input, eight bytes each.
struct Numbers<'a>(&'a [u8]);

impl Numbers<'_> {
    fn next(&mut self) -> Option<u64> {
        let (first, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(u64::from_le_bytes(*first))
    }

    fn interleave(&mut self) -> Option<Interleave> {
        let code = self.next()?;
        let ways = Ways::try_from(InterleaveWays(u8::try_from(code & 15).ok()?)).ok()?;
        let granularity = InterleaveGranularity(u32::try_from(code >> 4 & 7).ok()?);
        Some(Interleave::new(ways, Granularity::try_from(granularity).ok()?))
    }
}

/// Any decoders that make a region, and any addresses: translation is one to one, in bulk as one by one, and what Linux
/// reports stays inside.
pub fn translate(input: &[u8]) {
    let mut numbers = Numbers(input);
    let _ = translate_all(&mut numbers);
}

fn translate_all(numbers: &mut Numbers<'_>) -> Option<()> {
    let (region, root) = (numbers.interleave()?, numbers.interleave()?);
    let (bridge, switch) = (numbers.interleave()?, numbers.interleave()?);
    let levels = match numbers.next()? & 3 {
        0 => Levels::new(region, &[root, bridge, switch]),
        1 => Levels::new(region, &[root, bridge]),
        2 => Levels::of_linux(root, &[bridge.ways, switch.ways], region),
        _ => Ok(Levels::flat(region)),
    };
    let levels = levels.ok()?;
    let maps = [XorMap(numbers.next()?), XorMap(numbers.next()?)];
    let maps = XorMaps::new(&maps[..usize::try_from(numbers.next()? % 3).ok()?]).ok()?;
    let (start, size) = (numbers.next()?, numbers.next()?);
    let range = AddressRange::from_base_size(PhysAddr(start), ByteCount(size))?;
    let translator = Translator::new(range, levels, maps).ok()?;
    let root = levels.levels().first().copied().unwrap_or(region);
    let reported = reported::Region { maps, ..reported::Region::new(range, region, root) };
    let mut addresses = Vec::new();
    while let Some(number) = numbers.next() {
        let address = PhysAddr(start.wrapping_add(number % size));
        let place = match translator.to_device(address) {
            Ok(place) => place,
            // XOR maps move addresses inside 256 MiB, so none of the region leaves it.
            Err(refusal) => panic!("{address:?}: {refusal}"),
        };
        assert!(place.address.0 < translator.share().0 && place.position.0 < region.ways.count());
        assert_eq!(translator.to_host(place), Ok(address));
        let said = reported.offset_to_dpa(ByteCount(address.0 - start));
        assert!(said.is_none_or(|(position, _)| position.0 < region.ways.count()));
        let back = reported.dpa_to_spa(place.position, ByteCount(place.address.0));
        assert!(back.is_none_or(|spa| range.contains(spa)));
        addresses.push(address);
    }
    let (mut positions, mut places) =
        (vec![Position(0); addresses.len()], vec![DeviceAddr(0); addresses.len()]);
    translator.to_devices(&addresses, &mut positions, &mut places).expect("all are in the region");
    for ((address, position), place) in addresses.iter().zip(&positions).zip(&places) {
        let place = Place { position: *position, address: *place };
        assert_eq!(translator.to_device(*address), Ok(place));
    }
    Some(())
}

/// One bridge with a device of 4 GiB behind each of its two root ports, as a running system lists them.
const LISTING: &str = "\
/sys/devices/platform/ACPI0017:00/root0/dport12 -> ../../../pci0000:0c
/sys/devices/platform/ACPI0017:00/root0/port1/uport -> ../../../../pci0000:0c
/sys/devices/platform/ACPI0017:00/root0/port1/parent_dport -> ../../../../pci0000:0c
/sys/devices/platform/ACPI0017:00/root0/port1/dport0 -> ../../../../pci0000:0c/rp0
/sys/devices/platform/ACPI0017:00/root0/port1/dport1 -> ../../../../pci0000:0c/rp1
/sys/devices/platform/ACPI0017:00/root0/port1/endpoint2/uport -> ../../../../../pci0000:0c/rp0/dev0/mem0
/sys/devices/platform/ACPI0017:00/root0/port1/endpoint2/parent_dport -> ../../../../../pci0000:0c/rp0
/sys/devices/platform/ACPI0017:00/root0/port1/endpoint3/uport -> ../../../../../pci0000:0c/rp1/dev1/mem1
/sys/devices/platform/ACPI0017:00/root0/port1/endpoint3/parent_dport -> ../../../../../pci0000:0c/rp1
/sys/devices/pci0000:0c/rp0/dev0/mem0/serial\t0
/sys/devices/pci0000:0c/rp0/dev0/mem0/ram/size\t0x100000000
/sys/devices/pci0000:0c/rp1/dev1/mem1/serial\t1
/sys/devices/pci0000:0c/rp1/dev1/mem1/ram/size\t0x100000000
";
