//! Host addresses to positions and device addresses: the plain loop, and memtopo.
//!
//! The plain loops are for one region each, with everything known but the numbers; they refuse what memtopo refuses,
//! an address outside the region. `plain-unchecked` is the same loop without that.

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use memtopo::range::AddressRange;
use memtopo::region::{Granularity, Interleave, Levels, Place, Position, Translator, Ways, XorMaps};
use memtopo::units::{ByteCount, DeviceAddr, PhysAddr, XorMap};
use std::hint::black_box;
use std::time::Duration;

/// Addresses of one call: all lists together stay in the first-level cache or close to it.
const COUNT: usize = 1024;

/// A region in plain numbers.
#[derive(Clone, Copy)]
struct Plain {
    start: u64,
    size: u64,
    granule: u32,
    ways: u64,
    maps: [u64; 4],
}

/// Ways that are a power of two.
#[inline(never)]
fn plain_power<const CHECKED: bool>(
    plain: &Plain,
    addresses: &[u64],
    positions: &mut [u8],
    places: &mut [u64],
) -> Option<()> {
    let (granule, power) = (plain.granule, plain.ways.trailing_zeros());
    for ((address, position), place) in addresses.iter().zip(positions).zip(places) {
        let offset = address.wrapping_sub(plain.start);
        if CHECKED && offset >= plain.size {
            return None;
        }
        *position = ((offset >> granule) & (plain.ways - 1)) as u8;
        *place = (offset >> (granule + power) << granule) | (offset & ((1 << granule) - 1));
    }
    Some(())
}

/// Three times a power of two.
#[inline(never)]
fn plain_three<const CHECKED: bool>(
    plain: &Plain,
    addresses: &[u64],
    positions: &mut [u8],
    places: &mut [u64],
) -> Option<()> {
    let (granule, power) = (plain.granule, plain.ways.trailing_zeros());
    for ((address, position), place) in addresses.iter().zip(positions).zip(places) {
        let offset = address.wrapping_sub(plain.start);
        if CHECKED && offset >= plain.size {
            return None;
        }
        let chunk = offset >> granule;
        let stripe = (chunk >> power) / 3;
        *position = (chunk - stripe * plain.ways) as u8;
        *place = (stripe << granule) | (offset & ((1 << granule) - 1));
    }
    Some(())
}

/// Four XOR maps, and ways that are a power of two.
#[inline(never)]
fn plain_xor<const CHECKED: bool>(
    plain: &Plain,
    addresses: &[u64],
    positions: &mut [u8],
    places: &mut [u64],
) -> Option<()> {
    let (granule, power) = (plain.granule, plain.ways.trailing_zeros());
    for ((address, position), place) in addresses.iter().zip(positions).zip(places) {
        let mut address = *address;
        for map in plain.maps {
            let bit = map.trailing_zeros();
            let parity = u64::from((address & map).count_ones() & 1);
            address = (address & !(1 << bit)) | (parity << bit);
        }
        let offset = address.wrapping_sub(plain.start);
        if CHECKED && offset >= plain.size {
            return None;
        }
        *position = ((offset >> granule) & (plain.ways - 1)) as u8;
        *place = (offset >> (granule + power) << granule) | (offset & ((1 << granule) - 1));
    }
    Some(())
}

#[inline(never)]
fn bulk(
    translator: &Translator,
    addresses: &[PhysAddr],
    positions: &mut [Position],
    places: &mut [DeviceAddr],
) -> bool {
    translator.to_devices(addresses, positions, places).is_ok()
}

#[inline(never)]
fn one_by_one(
    translator: &Translator,
    addresses: &[PhysAddr],
    positions: &mut [Position],
    places: &mut [DeviceAddr],
) -> bool {
    for ((address, position), place) in addresses.iter().zip(positions).zip(places) {
        let Ok(found) = translator.to_device(*address) else { return false };
        (*position, *place) = (found.position, found.address);
    }
    true
}

#[inline(never)]
fn back(
    translator: &Translator,
    positions: &[Position],
    places: &[DeviceAddr],
    addresses: &mut [PhysAddr],
) -> bool {
    translator.to_hosts(positions, places, addresses).is_ok()
}

type Loop = fn(&Plain, &[u64], &mut [u8], &mut [u64]) -> Option<()>;

fn translate(c: &mut Criterion) {
    const FOUR: [u64; 4] = [0x202_0100, 0x404_0200, 0x808_0400, 0x1010_0800];
    let cases: [(&str, Ways, [u64; 4], Loop, Loop); 3] = [
        ("translate-power", Ways::FOUR, [0; 4], plain_power::<true>, plain_power::<false>),
        ("translate-three", Ways::TWELVE, [0; 4], plain_three::<true>, plain_three::<false>),
        ("translate-xor-4", Ways::SIXTEEN, FOUR, plain_xor::<true>, plain_xor::<false>),
    ];
    for (name, ways, maps, checked, unchecked) in cases {
        // 12 GiB from a multiple of 3 GiB.
        let plain =
            Plain { start: 0xc0_0000_0000, size: 12 << 30, granule: 8, ways: ways.count().into(), maps };
        let region = Interleave::new(ways, Granularity::BYTES_256);
        let range = AddressRange::from_base_size(PhysAddr(plain.start), ByteCount(plain.size)).expect("fits");
        let list: Vec<XorMap> = maps.into_iter().filter(|map| *map != 0).map(XorMap).collect();
        let maps = XorMaps::new(&list).expect("four");
        let translator = Translator::new(range, Levels::flat(region), maps).expect("sound");

        let numbers: Vec<u64> = (0..COUNT as u64)
            .map(|n| plain.start + n.wrapping_mul(0x9e37_79b9_7f4a_7c15) % plain.size)
            .collect();
        let addresses: Vec<PhysAddr> = numbers.iter().copied().map(PhysAddr).collect();
        let (mut positions, mut places) = (vec![Position(0); COUNT], vec![DeviceAddr(0); COUNT]);
        let (mut plain_positions, mut plain_places) = (vec![0; COUNT], vec![0; COUNT]);
        assert!(bulk(&translator, &addresses, &mut positions, &mut places));
        assert_eq!(checked(&plain, &numbers, &mut plain_positions, &mut plain_places), Some(()));
        for ((ours, place), (theirs, at)) in
            positions.iter().zip(&places).zip(plain_positions.iter().zip(&plain_places))
        {
            assert_eq!((ours.0, place.0), (*theirs, *at));
            let place = Place { position: *ours, address: *place };
            assert!(translator.to_host(place).is_ok());
        }
        let mut returned = vec![PhysAddr(0); COUNT];
        assert!(back(&translator, &positions, &places, &mut returned));
        assert!(returned == addresses);

        let mut group = c.benchmark_group(name);
        group.throughput(Throughput::Elements(COUNT as u64));
        group.bench_function("plain", |b| {
            b.iter(|| {
                checked(black_box(&plain), black_box(&numbers), &mut plain_positions, &mut plain_places)
            })
        });
        group.bench_function("plain-unchecked", |b| {
            b.iter(|| {
                unchecked(black_box(&plain), black_box(&numbers), &mut plain_positions, &mut plain_places)
            })
        });
        group.bench_function("memtopo", |b| {
            b.iter(|| bulk(black_box(&translator), black_box(&addresses), &mut positions, &mut places))
        });
        group.bench_function("one-by-one", |b| {
            b.iter(|| one_by_one(black_box(&translator), black_box(&addresses), &mut positions, &mut places))
        });
        group.bench_function("back", |b| {
            b.iter(|| back(black_box(&translator), black_box(&positions), black_box(&places), &mut returned))
        });
        group.finish();
    }
}

criterion_group! {
    name = translation;
    config = Criterion::default()
        .sample_size(30)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500))
        .without_plots();
    targets = translate
}
criterion_main!(translation);
