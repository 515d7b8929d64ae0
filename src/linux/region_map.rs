//! Which byte of which device is behind an address of a region, and back: what its decoders do, and what Linux says.

use super::cxl::Cxl;
use super::cxl_levels::{Step, endpoint_name, path};
use super::state::State;
use super::windows::RootDecoder;
use crate::range::AddressRange;
use crate::region::reported;
use crate::region::{
    Granularity, Interleave, LayoutError, Levels, Place, Position, Refusal, Translator, Ways, XorMaps,
};
use crate::topology::Source;
use crate::topology::cxl::{CxlTree, Decoder, DpaRange, Region, numbers};
use crate::units::{ByteCount, DeviceAddr, PhysAddr};
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use thiserror::Error;

/// A region, and its map where its decoders make one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MappedRegion {
    /// Its name.
    pub name: String,
    /// Its addresses, with the DRAM in front of it; `None` before it has any.
    pub range: Option<AddressRange>,
    /// The root decoder that it is part of.
    pub root_decoder: Option<String>,
    /// The window of that decoder, where a table has it.
    pub window: Option<Source>,
    /// Its endpoint decoders as Linux orders them; `None` for a position that is free.
    pub targets: Vec<Option<String>>,
    /// The map, or why there is none.
    pub map: Result<RegionMap, Unmapped>,
}

/// Why the addresses of a region cannot be translated.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Unmapped {
    /// Its decoders are not committed, so it decodes nothing.
    #[error("its decoders are not committed")]
    NotCommitted,
    /// It has no addresses, or some that pass the end of the address space.
    #[error("it has no addresses")]
    NoAddresses,
    /// Its root decoder is not there.
    #[error("its root decoder is not there")]
    NoRoot,
    /// Only the CEDT tells whether the window interleaves modulo or by XOR.
    #[error("only a CEDT tells how the {ways} ways of its window interleave")]
    Arithmetic {
        /// Ways of the window.
        ways: u32,
    },
    /// A granularity is not known or not one that decoders have.
    #[error("the granularity of {decoder} is not known")]
    Granularity {
        /// The decoder, or the region.
        decoder: String,
    },
    /// A number of ways that decoders do not have.
    #[error("{decoder} has {ways} ways, which decoders cannot have")]
    Ways {
        /// The decoder, or the region.
        decoder: String,
        /// The number.
        ways: u32,
    },
    /// A position without an endpoint decoder, or one that the inputs do not describe.
    #[error("the device at position {0} is not there")]
    NoDevice(usize),
    /// A port on the way to a device has no decoder for the region.
    #[error("{port} has no decoder for it")]
    NoDecoder {
        /// The port.
        port: String,
    },
    /// A port on the way to a device is no target of the decoder above it.
    #[error("downstream port {dport} of {port} is no target of its decoder")]
    NotATarget {
        /// The port above.
        port: String,
        /// The id of its downstream port.
        dport: u32,
    },
    /// The decoders on the way to two devices select by different bits.
    #[error("the decoders above {one} and {other} select by different address bits")]
    Unequal {
        /// The endpoint decoder of one device.
        one: String,
        /// That of the other.
        other: String,
    },
    /// The target lists lead to one position twice.
    #[error("{one} and {other} are both at position {position}")]
    SamePosition {
        /// The endpoint decoder of one device.
        one: String,
        /// That of the other.
        other: String,
        /// The position.
        position: Position,
    },
    /// A device gives another amount of memory than its share.
    #[error("{decoder} has {:#x} bytes of its device, its share is {:#x}", .found.0, .share.0)]
    Share {
        /// The endpoint decoder.
        decoder: String,
        /// What it decodes.
        found: ByteCount,
        /// The share of each device.
        share: ByteCount,
    },
    /// The decoders do not fit together.
    #[error("{0}")]
    Layout(#[from] LayoutError),
}

/// One level on the way to a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hop {
    /// The decoder.
    pub decoder: String,
    /// The device that its port stands for: a host bridge, the upstream port of a switch; `None` for the root.
    pub host: Option<String>,
    /// Its ways and granularity.
    pub interleave: Interleave,
    /// The place of the target in its list.
    pub index: u8,
    /// The id of the target.
    pub dport: u32,
    /// The device of the target.
    pub device: Option<String>,
}

/// A device of a region.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionDevice {
    /// Its endpoint decoder.
    pub decoder: String,
    /// The same under a name that does not depend on the order in which devices were found.
    pub stable_name: Option<String>,
    /// Its name.
    pub memdev: String,
    /// Its serial number.
    pub serial: Option<u64>,
    /// Its PCI function.
    pub host: Option<String>,
    /// Its memory that belongs to the region.
    pub dpa: DpaRange,
    /// The decoders that lead to it, the root's first.
    pub path: Vec<Hop>,
}

/// The addresses of one region, both ways.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegionMap {
    /// Its devices by the position that the decoders give them.
    pub devices: Vec<RegionDevice>,
    /// What the decoders do.
    pub translator: Translator,
    /// What Linux takes them to do.
    pub reported: reported::Region,
    /// The position of the device at each position as Linux numbers them.
    of_linux: Vec<Position>,
}

/// A byte of a region, from both sides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Byte<'a> {
    /// The address that the CPU uses.
    pub address: PhysAddr,
    /// The address that the decoders see, which XOR maps change.
    pub decoded: PhysAddr,
    /// The device and its address.
    pub place: Place,
    /// The device.
    pub device: &'a RegionDevice,
    /// The device and its address that Linux names for the address; `None` where it finds none.
    pub reported_place: Option<(&'a RegionDevice, Place)>,
    /// The address that Linux names for the place; `None` where it finds none.
    pub reported_address: Option<PhysAddr>,
}

impl Byte<'_> {
    /// Whether Linux names another device for the address, or none.
    #[must_use]
    pub fn place_differs(&self) -> bool {
        self.reported_place.map(|(_, place)| place) != Some(self.place)
    }

    /// Whether Linux names another address for the place, or none.
    #[must_use]
    pub fn address_differs(&self) -> bool {
        self.reported_address != Some(self.address)
    }
}

/// Why an address of a region was not translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Untranslated {
    /// It belongs to the DRAM in front of the region, which is a cache of the memory behind it.
    #[error("{:#x} is in the DRAM cache {cache} in front of the region", .address.0)]
    InCache {
        /// The address.
        address: PhysAddr,
        /// The cache.
        cache: AddressRange,
    },
    /// The translator refuses it.
    #[error("{0}")]
    Refused(#[from] Refusal),
}

impl RegionMap {
    /// What is behind an address.
    ///
    /// # Errors
    /// When the region does not hold the address, or the DRAM in front of it does.
    pub fn at(&self, address: PhysAddr) -> Result<Byte<'_>, Untranslated> {
        let start = self.reported.range.start;
        let behind = self.translator.range().start;
        if start <= address && address < behind {
            return Err(Untranslated::InCache { address, cache: AddressRange::new(start, behind) });
        }
        let place = self.translator.to_device(address)?;
        self.byte(address, place)
    }

    /// Where an address of a device is.
    ///
    /// # Errors
    /// When the region does not hold the place.
    pub fn of_device(&self, place: Place) -> Result<Byte<'_>, Untranslated> {
        self.byte(self.translator.to_host(place)?, place)
    }

    /// The position of a device, by its name, its PCI function or its serial number.
    #[must_use]
    pub fn position(&self, device: &str) -> Option<Position> {
        let serial = match device.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => device.parse().ok(),
        };
        let found = self.devices.iter().position(|known| {
            known.memdev == device
                || known.host.as_deref() == Some(device)
                || (serial.is_some() && known.serial == serial)
        })?;
        u8::try_from(found).ok().map(Position)
    }

    fn byte(&self, address: PhysAddr, place: Place) -> Result<Byte<'_>, Untranslated> {
        let ways = self.translator.levels().region().ways.count();
        let absent = Refusal::NoSuchPosition { position: place.position, ways };
        let device = self.devices.get(usize::from(place.position.0)).ok_or(absent)?;
        let offset = ByteCount(address.0.wrapping_sub(self.translator.range().start.0));
        let reported_place = self.reported.offset_to_dpa(offset).and_then(|(position, offset)| {
            let position = *self.of_linux.get(usize::from(position.0))?;
            let device = self.devices.get(usize::from(position.0))?;
            let address = DeviceAddr(device.dpa.start.0.checked_add(offset.0)?);
            Some((device, Place { position, address }))
        });
        let number = self.of_linux.iter().position(|position| *position == place.position);
        let offset = ByteCount(place.address.0.wrapping_sub(device.dpa.start.0));
        let reported_address = number
            .and_then(|number| u8::try_from(number).ok())
            .and_then(|number| self.reported.dpa_to_spa(Position(number), offset));
        let decoded = self.translator.maps().to_hpa(address);
        Ok(Byte { address, decoded, place, device, reported_place, reported_address })
    }

    /// Why what Linux says of this region can differ from what the decoders do; `None` where it does not.
    #[must_use]
    pub fn difference(&self) -> Option<&'static str> {
        let levels = self.translator.levels();
        let ways = levels.region().ways;
        let straight = (0..ways.count())
            .all(|chunk| self.translator.position_of_chunk(chunk).map(|position| position.0) == Some(chunk));
        if self.reported.is_unaligned() {
            Some("the region does not start at a multiple of its root's ways times 256 MiB")
        } else if !straight {
            Some(
                "a port divides further below a root of 3 or 6 ways: chunks are not in the order of positions",
            )
        } else if !self.translator.maps().is_self_inverse() {
            Some("the XOR maps share bits, so that applying them twice does not undo them")
        } else if self.reported.cache_size.0 != 0 {
            Some("the DRAM in front of the region counts in one direction only")
        } else {
            None
        }
    }
}

impl State<'_> {
    /// The regions, each with its map where there is one.
    pub(crate) fn mapped_regions(&self) -> Vec<MappedRegion> {
        let Some(cxl) = &self.cxl else { return Vec::new() };
        let from_table = self.topology.windows.is_some();
        cxl.tree
            .regions
            .iter()
            .map(|region| {
                let root = root_of(cxl, region);
                let range =
                    AddressRange::from_base_size(region.start, region.size).filter(|range| !range.is_empty());
                MappedRegion {
                    name: region.name.clone(),
                    range,
                    root_decoder: region.root_decoder.clone(),
                    window: root.and_then(|root| root.source),
                    targets: region.targets.clone(),
                    map: map(cxl, region, range, root, from_table),
                }
            })
            .collect()
    }
}

fn root_of<'c>(cxl: &'c Cxl, region: &Region) -> Option<&'c RootDecoder> {
    let (port, index) = numbers(region.root_decoder.as_deref()?);
    cxl.root.decoders.iter().find(|root| port == 0 && root.index == index)
}

fn interleave(name: &str, ways: u32, granularity: Option<ByteCount>) -> Result<Interleave, Unmapped> {
    let known = Ways::from_count(ways).ok_or_else(|| Unmapped::Ways { decoder: name.to_owned(), ways })?;
    // Of one way the granularity selects nothing.
    let granularity = granularity.or((ways == 1).then_some(Granularity::BYTES_256.bytes()));
    let found = granularity.and_then(Granularity::from_bytes);
    let any = (ways == 1).then_some(Granularity::BYTES_256);
    let granularity = found.or(any).ok_or_else(|| Unmapped::Granularity { decoder: name.to_owned() })?;
    Ok(Interleave::new(known, granularity))
}

fn map(
    cxl: &Cxl,
    region: &Region,
    range: Option<AddressRange>,
    root: Option<&RootDecoder>,
    from_table: bool,
) -> Result<RegionMap, Unmapped> {
    if region.committed != Some(true) {
        return Err(Unmapped::NotCommitted);
    }
    let range = range.ok_or(Unmapped::NoAddresses)?;
    let root = root.ok_or(Unmapped::NoRoot)?;
    if !from_table && !matches!(root.ways, 1 | 3) {
        return Err(Unmapped::Arithmetic { ways: root.ways });
    }
    let tree = &cxl.tree;
    let cache_size = cxl.caches.get(&region.name).copied().unwrap_or_default();
    let of_region = interleave(&region.name, region.ways, region.granularity)?;
    let of_root =
        interleave(region.root_decoder.as_deref().unwrap_or_default(), root.ways, Some(root.granularity))?;
    let of_root = (of_root, root);

    let mut found = Vec::new();
    for (place, target) in region.targets.iter().enumerate() {
        let device = target
            .as_deref()
            .and_then(|name| tree.decoders.iter().find(|decoder| decoder.name == name))
            .ok_or(Unmapped::NoDevice(place))?;
        found.push(device_of(tree, region, device, of_root, place)?);
    }
    let levels = levels(of_region, &found)?;
    let maps = XorMaps::new(&root.maps)?;
    let behind = AddressRange::new(PhysAddr(range.start.0.saturating_add(cache_size.0)), range.end);
    let translator = Translator::new(behind, levels, maps)?;
    let (devices, of_linux) = by_position(found, translator.share())?;
    let bases: Vec<DeviceAddr> = devices.iter().map(|device| device.dpa.start).collect();
    let translator = translator.with_bases(&bases)?;
    let reported = reported::Region { range, cache_size, region: of_region, root: of_root.0, maps };
    Ok(RegionMap { devices, translator, reported, of_linux })
}

/// A device with the decoders above it.
fn device_of(
    tree: &CxlTree,
    region: &Region,
    decoder: &Decoder,
    root: (Interleave, &RootDecoder),
    place: usize,
) -> Result<RegionDevice, Unmapped> {
    let endpoint = tree.port(&decoder.port);
    let memdev = endpoint.and_then(|port| tree.memdev_of(port));
    let dpa = decoder.dpa.ok_or(Unmapped::NoDevice(place))?;
    let steps = path(tree, &decoder.port);
    if !steps.last().is_some_and(|step| step.is_root) {
        return Err(Unmapped::NoDevice(place));
    }
    let hops = steps.iter().rev().map(|step| hop(tree, region, step, root));
    Ok(RegionDevice {
        decoder: decoder.name.clone(),
        stable_name: endpoint_name(tree, decoder),
        memdev: memdev.map(|memdev| memdev.name.clone()).unwrap_or_default(),
        serial: memdev.and_then(|memdev| memdev.serial),
        host: memdev.and_then(|memdev| memdev.host.clone()),
        dpa,
        path: hops.collect::<Result<_, _>>()?,
    })
}

fn hop(
    tree: &CxlTree,
    region: &Region,
    step: &Step,
    (of_root, root): (Interleave, &RootDecoder),
) -> Result<Hop, Unmapped> {
    let port = tree.port(&step.port);
    let dport = port.and_then(|port| port.dports.iter().find(|dport| dport.id == step.dport));
    let not_a_target = || Unmapped::NotATarget { port: step.port.clone(), dport: step.dport };
    let (decoder, interleave, targets) = if step.is_root {
        let targets: Vec<u32> = root.targets.iter().map(|target| target.0).collect();
        (region.root_decoder.clone().unwrap_or_default(), of_root, targets)
    } else {
        let decoder = tree
            .decoders_of(&step.port)
            .find(|decoder| decoder.region.as_deref() == Some(&region.name))
            .ok_or_else(|| Unmapped::NoDecoder { port: step.port.clone() })?;
        let of = interleave(&decoder.name, decoder.ways, decoder.granularity)?;
        (decoder.name.clone(), of, decoder.targets.clone())
    };
    // A decoder without registers has one target and no list of it.
    let passed = interleave.ways == Ways::ONE && targets.is_empty();
    let index = if passed { Some(0) } else { targets.iter().position(|id| *id == step.dport) };
    let index = index.and_then(|index| u8::try_from(index).ok()).ok_or_else(not_a_target)?;
    Ok(Hop {
        decoder,
        host: port.and_then(|port| port.host.clone()).filter(|_| !step.is_root),
        interleave,
        index,
        dport: step.dport,
        device: dport.map(|dport| dport.device.clone()),
    })
}

/// What selects on the way to a device: levels of one way do nothing, and two that use adjoining bits do the same as one
/// with the ways of both.
fn selectors(hops: &[Hop]) -> Vec<Interleave> {
    let mut all: Vec<Interleave> = Vec::new();
    for found in hops.iter().skip(1).map(|hop| hop.interleave).filter(|of| of.ways != Ways::ONE) {
        let above = all.last_mut().filter(|above| {
            let end = above.granularity.shift().saturating_add(above.ways.power_bits());
            !above.ways.has_three() && !found.ways.has_three() && end == found.granularity.shift()
        });
        let both = above.as_ref().and_then(|above| {
            Ways::from_count(u32::from(above.ways.count()).saturating_mul(found.ways.count().into()))
        });
        match (above, both) {
            (Some(above), Some(ways)) => above.ways = ways,
            _ => all.push(found),
        }
    }
    all
}

/// The levels above all devices, which have to select by the same bits.
fn levels(region: Interleave, devices: &[RegionDevice]) -> Result<Levels, Unmapped> {
    let first = devices.first().ok_or(Unmapped::NoDevice(0))?;
    let below = selectors(&first.path);
    for other in devices {
        if selectors(&other.path) != below {
            return Err(Unmapped::Unequal { one: first.decoder.clone(), other: other.decoder.clone() });
        }
    }
    let root = first.path.first().map_or(region, |hop| hop.interleave);
    let all: Vec<Interleave> = core::iter::once(root).chain(below).collect();
    Ok(Levels::new(region, &all)?)
}

/// The position that the target lists on the way to a device give it.
fn position(device: &RegionDevice) -> Position {
    let digits = device.path.iter().rev().map(|hop| (hop.interleave.ways.count(), hop.index));
    Position(digits.fold(0, |position: u8, (ways, index)| position.wrapping_mul(ways).wrapping_add(index)))
}

/// The devices in the order of their positions, and for each position as Linux numbers them which that is.
fn by_position(
    found: Vec<RegionDevice>,
    share: ByteCount,
) -> Result<(Vec<RegionDevice>, Vec<Position>), Unmapped> {
    for device in &found {
        if device.dpa.size != share {
            let decoder = device.decoder.clone();
            return Err(Unmapped::Share { decoder, found: device.dpa.size, share });
        }
    }
    let of_linux: Vec<Position> = found.iter().map(position).collect();
    let mut sorted: Vec<RegionDevice> = found;
    sorted.sort_by_key(position);
    for pair in sorted.windows(2) {
        let [one, other] = pair else { continue };
        if position(one) == position(other) {
            return Err(Unmapped::SamePosition {
                one: one.decoder.clone(),
                other: other.decoder.clone(),
                position: position(one),
            });
        }
    }
    Ok((sorted, of_linux))
}
