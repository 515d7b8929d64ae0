//! The interleave mathematics of CXL regions: levels, XOR maps, translation one by one and in bulk, what Linux reports.

use crate::sink::{Sink, Source};
use memtopo::range::AddressRange;
use memtopo::region::{
    Granularity, Interleave, Levels, Place, Position, Translator, Ways, XorMaps, reported,
};
use memtopo::tables::cedt::{Cedt, Entry, InterleaveGranularity, InterleaveWays};
use memtopo::units::*;

crate::entry_points!(memtopo_probe_region_read => read, memtopo_probe_region_write => write);

/// Decoders of unknown numbers, and addresses one by one.
fn read(input: &[u8], sink: &mut Sink) {
    of_windows(input, sink);
    let mut source = Source::new(input);
    while let Some(translator) = translator(&mut source, sink) {
        let (Some(address), Some(place)) = (source.next(), place(&mut source)) else { return };
        if let Ok(place) = translator.to_device(PhysAddr(address)) {
            sink.number(place.position.0);
            sink.number(place.address.0);
        }
        if let Ok(address) = translator.to_host(place) {
            sink.number(address.0);
        }
        sink.number(translator.share().0);
        translator.base(place.position).into_iter().for_each(|base| sink.number(base.0));
        translator.position_of_chunk(place.position.0).into_iter().for_each(|found| sink.number(found.0));
        reports(&translator, PhysAddr(address), place, sink);
    }
}

/// Many addresses at a time.
fn write(input: &[u8], output: &mut [u8], sink: &mut Sink) {
    let mut source = Source::new(input);
    let Some(translator) = translator(&mut source, sink) else { return };
    let mut addresses = [PhysAddr(0); 16];
    for place in &mut addresses {
        *place = PhysAddr(source.next().unwrap_or_default());
    }
    let (mut positions, mut places) = ([Position(0); 16], [DeviceAddr(0); 16]);
    let count = usize::from(source.next8().unwrap_or_default());
    let asked = addresses.get(..count).unwrap_or(&addresses);
    sink.number(translator.to_devices(asked, &mut positions, &mut places).is_ok());
    for (byte, position) in output.iter_mut().zip(&positions) {
        *byte = position.0;
    }
    sink.number(translator.to_hosts(&positions, &places, &mut addresses).is_ok());
    addresses.iter().for_each(|address| sink.number(address.0));
}

/// What windows of a CEDT do.
fn of_windows(input: &[u8], sink: &mut Sink) {
    let Ok(cedt) = Cedt::parse(input) else { return };
    let windows = cedt.entries().filter_map(|entry| match entry {
        Ok(Entry::FixedMemoryWindow(window)) => Some(window),
        _ => None,
    });
    for window in windows {
        let structures = cedt.entries().filter_map(|entry| match entry {
            Ok(Entry::XorInterleaveMath(maps)) => Some(maps),
            _ => None,
        });
        if let Ok(root) = Interleave::of_window(window.header()) {
            sink.number(root.ways.count());
        }
        if let Ok(maps) = XorMaps::of_window(window.header(), structures) {
            sink.number(maps.to_hpa(window.header().base_hpa.get()).0);
            sink.number(maps.to_spa(window.header().base_hpa.get()).0);
            sink.number(maps.is_self_inverse());
        }
    }
}

fn interleave(source: &mut Source<'_>) -> Option<Interleave> {
    let ways = Ways::try_from(InterleaveWays(source.next8()?)).ok()?;
    let granularity = Granularity::try_from(InterleaveGranularity(source.next32()?)).ok()?;
    Some(Interleave::new(ways, granularity))
}

fn place(source: &mut Source<'_>) -> Option<Place> {
    Some(Place { position: Position(source.next8()?), address: DeviceAddr(source.next()?) })
}

fn translator(source: &mut Source<'_>, sink: &mut Sink) -> Option<Translator> {
    let (region, root) = (interleave(source)?, interleave(source)?);
    let below = [interleave(source)?, interleave(source)?];
    let [bridge, switch] = below;
    let levels = match source.next8()? & 3 {
        0 => Levels::new(region, &[root, bridge, switch]),
        1 => Levels::of_linux(root, &[bridge.ways, switch.ways], region),
        _ => Ok(Levels::flat(region)),
    };
    let levels = levels.ok()?;
    sink.number(u32::try_from(levels.levels().len()).unwrap_or_default());
    let position = Position(source.next8()?);
    if let Some(path) = levels.path(position) {
        sink.bytes(path.indexes());
        levels.position(path.indexes()).into_iter().for_each(|found| sink.number(found.0));
    }
    let maps = [XorMap(source.next()?), XorMap(source.next()?)];
    let count = usize::from(source.next8()?);
    let maps = XorMaps::new(maps.get(..count).unwrap_or_default()).ok()?;
    let range = AddressRange::new(PhysAddr(source.next()?), PhysAddr(source.next()?));
    let translator = Translator::new(range, levels, maps).ok()?;
    let bases = [DeviceAddr(source.next()?); 16];
    let with = usize::from(source.next8()?);
    match bases.get(..with) {
        Some(bases) => translator.with_bases(bases).ok(),
        None => Some(translator),
    }
}

/// What Linux says of the same.
fn reports(translator: &Translator, address: PhysAddr, place: Place, sink: &mut Sink) {
    let levels = translator.levels();
    let root = levels.levels().first().copied().unwrap_or(levels.region());
    let mut region = reported::Region::new(translator.range(), levels.region(), root);
    region.maps = *translator.maps();
    region.cache_size = ByteCount(place.address.0);
    sink.number(region.is_unaligned());
    let offset = ByteCount(address.0);
    if let Some((position, offset)) = region.offset_to_dpa(offset) {
        sink.number(position.0);
        sink.number(offset.0);
    }
    region.dpa_to_spa(place.position, offset).into_iter().for_each(|address| sink.number(address.0));
    sink.number(reported::calculate_position(offset, region.region).0);
    sink.number(reported::calculate_dpa_offset(offset, region.region).0);
    let back = reported::calculate_hpa_offset(offset, place.position, region.region);
    back.into_iter().for_each(|offset| sink.number(offset.0));
    sink.number(reported::to_spa(&region.maps, address).0);
}
