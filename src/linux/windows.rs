//! Root decoders: what the kernel accepts of the windows of the CEDT (`drivers/cxl/acpi.c`).

use super::access::{Access, Status};
use super::events::Errno;
use super::kernel::Kernel;
use super::nodes::Nodes;
use super::reason::{Fact, Notes, Reason, Section, Subject};
use super::rules;
use crate::tables::cedt::{
    CxlVersion, FixedMemoryWindowHeader, InterleaveArithmetic, InterleaveGranularity, WindowRestrictions,
    XorInterleaveMathHeader,
};
use crate::tables::entries::Medium;
use crate::topology::Source;
use crate::topology::chain::End;
use crate::topology::windows::{Entry, Windows};
use crate::units::{AcpiUid, ByteCount, PhysAddr, XorMap, widen};
use alloc::format;
use alloc::vec::Vec;

/// What base and size of a window have to be a multiple of, in bytes.
const ALIGNMENT: u64 = 256 << 20;
/// Granularity of a window with one way, whatever it says, in bytes.
const ONE_WAY_GRANULARITY: ByteCount = ByteCount(256);

/// A CXL host bridge that the CEDT describes (`add_host_bridge_dport`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bridge {
    /// Its `_UID`, which is its id below the root.
    pub uid: AcpiUid,
    /// Which registers it has; CXL 1.1 bridges become no ports.
    pub version: CxlVersion,
    /// Where its registers are.
    pub base: PhysAddr,
    /// Where the table says so.
    pub source: Source,
}

/// An accepted window: one decoder of the root.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RootDecoder {
    /// Its index: it is called `decoder0.` and this.
    pub index: u32,
    /// The number in `CXL Window n`; refused windows may have taken numbers too. `None` without a CEDT.
    pub window: Option<u32>,
    /// Its first address.
    pub start: PhysAddr,
    /// Its size.
    pub size: ByteCount,
    /// Over how many targets it interleaves.
    pub ways: u32,
    /// In pieces of how many bytes.
    pub granularity: ByteCount,
    /// The `_UID` at each position.
    pub targets: Vec<AcpiUid>,
    /// Whether positions are found by XOR.
    pub arithmetic: InterleaveArithmetic,
    /// The XOR maps that the kernel keeps.
    pub maps: Vec<XorMap>,
    /// What it may be used for.
    pub restrictions: WindowRestrictions,
    /// QoS throttling group.
    pub qtg: i64,
    /// Size of the DRAM that caches the upper half of the window (extended linear cache); 0 for none.
    pub cache_size: ByteCount,
    /// Where the window stands; `None` for one that no table was given for.
    pub source: Option<Source>,
}

impl RootDecoder {
    /// Whether nothing below it may be changed.
    #[must_use]
    pub const fn locked(&self) -> bool {
        self.restrictions.contains(WindowRestrictions::FIXED_CONFIGURATION)
    }

    /// Whether it holds all of the `size` bytes from `start`.
    #[must_use]
    pub fn covers(&self, start: PhysAddr, size: ByteCount) -> bool {
        let last = |start: PhysAddr, size: ByteCount| start.0.saturating_add(size.0.saturating_sub(1));
        size.0 != 0 && self.start <= start && last(start, size) <= last(self.start, self.size)
    }

    /// The targets that `target_list` shows: those in front of the first that is not a bridge of the root.
    pub fn shown_targets<'s>(&'s self, bridges: &'s [u32]) -> impl Iterator<Item = u32> + 's {
        self.targets.iter().map(|target| target.0).take_while(|target| bridges.contains(target))
    }
}

/// Why a window becomes no decoder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum WindowRefusal {
    /// The arithmetic is neither modulo nor XOR.
    Arithmetic,
    /// The base is no multiple of 256 MiB.
    Base,
    /// The size is no multiple of 256 MiB.
    Size,
    /// The number of ways has a reserved code.
    Ways,
    /// The structure is too short for its targets.
    Length,
    /// The granularity has a reserved code.
    Granularity,
    /// It is empty, passes the end of the address space, or overlaps part of an earlier window.
    Overlap,
    /// No structure with XOR maps has its granularity.
    NoMaps,
    /// The structure with XOR maps of its granularity has too few, or one before it is malformed.
    BadMaps,
}

impl WindowRefusal {
    /// The error that the kernel reports.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::Overlap => Errno::Busy,
            _ => Errno::Invalid,
        }
    }

    /// What is wrong.
    #[must_use]
    pub const fn what(self) -> &'static str {
        match self {
            Self::Arithmetic => "its arithmetic is neither modulo nor XOR",
            Self::Base => "its base is no multiple of 256 MiB",
            Self::Size => "its size is no multiple of 256 MiB",
            Self::Ways => "its number of ways has a reserved code",
            Self::Length => "it is too short for its targets",
            Self::Granularity => "its granularity has a reserved code",
            Self::Overlap => "it is empty or overlaps part of an earlier window",
            Self::NoMaps => "no CXIMS has its granularity",
            Self::BadMaps => "a CXIMS has too few maps or a reserved granularity",
        }
    }
}

/// The root of the CXL hierarchy.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Root {
    /// Host bridges with a description, each once.
    pub bridges: Vec<Bridge>,
    /// Decoders by index.
    pub decoders: Vec<RootDecoder>,
    /// Windows that became none.
    pub refused: Vec<(Source, WindowRefusal)>,
    /// Windows that take addresses, by number: start and size, those that became no decoder for lack of XOR maps
    /// among them.
    pub claimed: Vec<(PhysAddr, ByteCount)>,
}

/// What depends on bytes that are not at hand.
struct Untold(Source);

impl Root {
    /// Reads the CEDT as `cxl_acpi` does. `None` when the driver does not come up, or the table is not known well
    /// enough to tell; `notes` says which.
    pub(crate) fn probe(
        cedt: &Windows,
        nodes: &Nodes,
        access: &Access,
        kernel: &Kernel,
        notes: &mut Notes,
    ) -> Option<Self> {
        let mut root = Self::default();
        match root.read(cedt, nodes, access, kernel, notes) {
            Err(Untold(source)) => {
                notes.missing(Section::Cxl, format!("the bytes of the table from {source} on"));
                None
            }
            Ok(()) if cedt.end == End::ZeroLength => {
                notes.reason(Subject::Cxl, Reason::new(rules::CEDT_ZERO_LENGTH));
                None
            }
            Ok(()) => Some(root),
        }
    }

    fn read(
        &mut self,
        cedt: &Windows,
        nodes: &Nodes,
        access: &Access,
        kernel: &Kernel,
        notes: &mut Notes,
    ) -> Result<(), Untold> {
        let visited = || cedt.entries.iter().filter(|entry| entry.link.header_inside::<Medium>(cedt.length));
        for entry in visited() {
            self.bridge(entry)?;
        }
        for entry in visited() {
            let Some(window) = &entry.window else { continue };
            let source = entry.link.source;
            let window = window.whole().ok_or(Untold(source))?;
            let base = Fact::at(source, "window base", window.base_hpa.get().0);
            match self.window(entry, window, visited())? {
                Ok(mut decoder) => {
                    decoder.cache_size = extended_linear_cache(&decoder, nodes, access, kernel);
                    let index = Subject::RootDecoder(decoder.index);
                    if decoder.cache_size.0 != 0 {
                        let fact = Fact::known("cache size", decoder.cache_size.0);
                        notes.reason(index, Reason::new(rules::WINDOW_CACHED).with([base, fact]));
                    } else {
                        notes.reason(index, Reason::new(rules::WINDOW_ACCEPTED).with([base]));
                    }
                    self.decoders.push(decoder);
                }
                Err(refusal) => {
                    let detail = format!("{}: {}", refusal.errno(), refusal.what());
                    let reason = Reason::new(rules::WINDOW_REFUSED).with([base]).because(detail);
                    notes.reason(Subject::Cxl, reason);
                    self.refused.push((source, refusal));
                }
            }
        }
        if let End::Unknown(source) = cedt.end { Err(Untold(source)) } else { Ok(()) }
    }

    /// Takes in a CHBS (`cxl_get_chbs_iter`): one of the wrong length or without registers is passed over, and only
    /// the first for a host bridge counts.
    fn bridge(&mut self, entry: &Entry) -> Result<(), Untold> {
        let Some(bridge) = &entry.bridge else { return Ok(()) };
        let bridge = bridge.whole().ok_or(Untold(entry.link.source))?;
        let version = bridge.cxl_version.get();
        let length = match version {
            CxlVersion::CXL_1_1 => Some(0x2000),
            CxlVersion::CXL_2_0 => Some(0x1_0000),
            _ => None,
        };
        let wrong = length.is_some_and(|length| bridge.register_length.get().0 != length);
        let uid = bridge.uid.get();
        if !wrong && bridge.base.get().0 != 0 && self.bridges.iter().all(|known| known.uid != uid) {
            let (base, source) = (bridge.base.get(), entry.link.source);
            self.bridges.push(Bridge { uid, version, base, source });
        }
        Ok(())
    }

    /// One window (`__cxl_parse_cfmws`), with the checks in the kernel's order.
    fn window<'e>(
        &mut self,
        entry: &Entry,
        window: &FixedMemoryWindowHeader,
        entries: impl Iterator<Item = &'e Entry>,
    ) -> Result<Result<RootDecoder, WindowRefusal>, Untold> {
        let arithmetic = window.interleave_arithmetic.get();
        let (start, size) = (window.base_hpa.get(), window.window_size.get());
        let unaligned = |value: u64| value.checked_rem(ALIGNMENT) != Some(0);
        if !matches!(arithmetic, InterleaveArithmetic::MODULO | InterleaveArithmetic::MODULO_XOR) {
            return Ok(Err(WindowRefusal::Arithmetic));
        }
        if unaligned(start.0) {
            return Ok(Err(WindowRefusal::Base));
        }
        if unaligned(size.0) {
            return Ok(Err(WindowRefusal::Size));
        }
        let Some(ways) = window.interleave_ways.get().ways() else { return Ok(Err(WindowRefusal::Ways)) };
        let targets = usize::from(ways);
        let needed = targets.saturating_mul(4).saturating_add(size_of::<FixedMemoryWindowHeader>());
        if u64::from(entry.link.length) < widen(needed) {
            return Ok(Err(WindowRefusal::Length));
        }
        if entry.targets.len() < targets {
            return Err(Untold(entry.link.source));
        }
        // The helper that decodes it takes 16 bits.
        let code = InterleaveGranularity(window.granularity.get().0 & 0xffff);
        let Some(granularity) = code.bytes() else { return Ok(Err(WindowRefusal::Granularity)) };

        // The number is spent, whatever happens from here on.
        let number = u32::try_from(self.claimed.len()).unwrap_or(u32::MAX);
        let range = Claim::new(start, size);
        let free = range.is_some_and(|range| {
            self.claimed
                .iter()
                .filter_map(|(start, size)| Claim::new(*start, *size))
                .all(|other| !range.overlaps_partly(&other))
        });
        // A window that takes no addresses still counts, as an empty one.
        self.claimed.push((start, if free { size } else { ByteCount(0) }));
        if !free {
            return Ok(Err(WindowRefusal::Overlap));
        }
        let granularity = if ways == 1 { ONE_WAY_GRANULARITY } else { granularity };
        let mut maps = Vec::new();
        if arithmetic == InterleaveArithmetic::MODULO_XOR && !matches!(ways, 1 | 3) {
            match xor_maps(entries, granularity, ways)? {
                Ok(found) => maps = found,
                Err(refusal) => return Ok(Err(refusal)),
            }
        }
        let index = u32::try_from(self.decoders.len()).unwrap_or(u32::MAX);
        Ok(Ok(RootDecoder {
            index,
            window: Some(number),
            start,
            size,
            ways: u32::from(ways),
            granularity,
            targets: entry.targets.clone(),
            arithmetic,
            maps,
            restrictions: window.restrictions.get(),
            qtg: i64::from(window.qtg_id.get()),
            cache_size: ByteCount(0),
            source: Some(entry.link.source),
        }))
    }
}

/// The addresses of a window with the last one inside, so that the end of the address space can be part of it.
#[derive(Clone, Copy)]
struct Claim {
    first: u64,
    last: u64,
}

impl Claim {
    /// `None` for one that is empty or wraps round.
    fn new(start: PhysAddr, size: ByteCount) -> Option<Self> {
        let last = start.0.checked_add(size.0.checked_sub(1)?)?;
        Some(Self { first: start.0, last })
    }

    /// Whether the two share addresses, and neither holds all of the other.
    const fn overlaps_partly(&self, other: &Self) -> bool {
        let apart = self.last < other.first || other.last < self.first;
        let inside = self.first >= other.first && self.last <= other.last;
        let around = self.first <= other.first && self.last >= other.last;
        !apart && !inside && !around
    }
}

/// The XOR maps for a window (`cxl_parse_cxims`): of several structures with its granularity the last one counts.
fn xor_maps<'e>(
    entries: impl Iterator<Item = &'e Entry>,
    granularity: ByteCount,
    ways: u8,
) -> Result<Result<Vec<XorMap>, WindowRefusal>, Untold> {
    let doublings = if ways.is_power_of_two() { ways } else { ways / 3 }.trailing_zeros();
    let needed = usize::try_from(doublings).unwrap_or(usize::MAX);
    let mut found = None;
    for entry in entries {
        let Some(xor) = &entry.xor else { continue };
        let header: &XorInterleaveMathHeader = xor.whole().ok_or(Untold(entry.link.source))?;
        let Some(bytes) = InterleaveGranularity::from(header.granularity.get()).bytes() else {
            return Ok(Err(WindowRefusal::BadMaps));
        };
        if bytes != granularity {
            continue;
        }
        if usize::from(header.map_count.get()) < needed {
            return Ok(Err(WindowRefusal::BadMaps));
        }
        found = Some(entry.maps.get(..needed).ok_or(Untold(entry.link.source))?.to_vec());
    }
    Ok(found.ok_or(WindowRefusal::NoMaps))
}

/// The DRAM in front of a window (`cxl_setup_extended_linear_cache`): a cache of the memory of the window's node that
/// is as large as half the window.
fn extended_linear_cache(
    decoder: &RootDecoder,
    nodes: &Nodes,
    access: &Access,
    kernel: &Kernel,
) -> ByteCount {
    let size = || {
        let node = nodes.target_node(decoder.start, kernel)?;
        let target = access.target(nodes.domains.domain(node)?)?;
        // Only a direct-mapped cache has an address mode.
        let cache = target.caches.iter().find(|cache| cache.address_mode == 1)?;
        Some(cache.size).filter(|size| size.0 == decoder.size.0 / 2)
    };
    if access.status == Status::Used { size().unwrap_or_default() } else { ByteCount(0) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::memory_map::{FirmwareMap, MapEntry, MapForm, MapKind};
    use crate::linux::{Inputs, State};
    use crate::range::AddressRange;
    use crate::tables::cedt::{HostBridge, InterleaveWays, MapGranularity};
    use crate::tables::e820::E820Type;
    use crate::tables::wire::Length;
    use crate::testing::sdt;
    use crate::topology::{TableBytes, Topology};
    use alloc::string::String;
    use alloc::vec;
    use zerocopy::IntoBytes;

    type Header = FixedMemoryWindowHeader;
    /// A decoder as shown: name, targets, next region.
    type Shown = (String, Vec<u32>, Option<String>);
    const GIB: u64 = 1 << 30;
    const RAM_TYPE_3: WindowRestrictions =
        WindowRestrictions::HOST_ONLY_COHERENT.union(WindowRestrictions::VOLATILE);

    fn window(base: u64, size: u64) -> Header {
        Header::new(PhysAddr(base), ByteCount(size), InterleaveGranularity::BYTES_256, RAM_TYPE_3)
    }

    fn xor(base: u64, granularity: InterleaveGranularity) -> Header {
        Header {
            interleave_arithmetic: InterleaveArithmetic::MODULO_XOR.into(),
            granularity: granularity.into(),
            ..window(base, GIB)
        }
    }

    /// A window of one way for each target, as long as that takes.
    fn with(header: Header, targets: &[u32]) -> Vec<u8> {
        let ways = InterleaveWays::from_ways(targets.len()).unwrap();
        with_ways(Header { interleave_ways: ways.into(), ..header }, targets)
    }

    /// A window with the ways that it says, and any number of targets.
    fn with_ways(header: Header, targets: &[u32]) -> Vec<u8> {
        let length = Length(u16::try_from(36 + 4 * targets.len()).unwrap());
        let mut bytes = Header { length: length.into(), ..header }.as_bytes().to_vec();
        bytes.extend(targets.iter().flat_map(|target| target.to_le_bytes()));
        bytes
    }

    fn bridge(uid: u32, version: CxlVersion, base: u64, length: u64) -> Vec<u8> {
        HostBridge::new(AcpiUid(uid), version, PhysAddr(base), ByteCount(length)).as_bytes().to_vec()
    }

    fn maps(granularity: MapGranularity, maps: &[u64]) -> Vec<u8> {
        let mut bytes = XorInterleaveMathHeader {
            length: Length(u16::try_from(8 + 8 * maps.len()).unwrap()).into(),
            map_count: u8::try_from(maps.len()).unwrap().into(),
            ..XorInterleaveMathHeader::new(granularity)
        }
        .as_bytes()
        .to_vec();
        bytes.extend(maps.iter().flat_map(|map| map.to_le_bytes()));
        bytes
    }

    /// The root that a kernel makes of a CEDT, and its decoders as shown.
    fn probe(structures: &[Vec<u8>]) -> (Option<Root>, Vec<Shown>) {
        let cedt = sdt(b"CEDT", &structures.concat());
        let topology = Topology::read([TableBytes::copy(&cedt).unwrap()]);
        let ram = AddressRange::new(PhysAddr(0), PhysAddr(GIB));
        let entries = vec![MapEntry { range: ram, kind: MapKind::E820(E820Type::RAM), place: 0 }];
        let memory_map = FirmwareMap { form: MapForm::E820Entries, entries };
        let kernel = Kernel { drivers: vec![String::from("cxl_acpi")], ..Kernel::default() };
        let inputs =
            Inputs { topology: &topology, memory_map: &memory_map, memory_devices: &[], kernel: &kernel };
        let state = State::boot(inputs).unwrap();
        let shown = state.plan().cxl.unwrap_or_default().root_decoders.into_iter();
        let shown = shown.map(|decoder| (decoder.name, decoder.targets, decoder.next_region)).collect();
        (state.cxl.map(|cxl| cxl.root), shown)
    }

    fn numbers(root: &Root) -> Vec<u32> {
        root.decoders.iter().filter_map(|decoder| decoder.window).collect()
    }

    #[test]
    fn every_check_as_on_a_booted_kernel() {
        use WindowRefusal as R;
        // The rules of thirteen windows that a boot of Linux 7.2 tried, one each.
        let at = |number: u64| (0x10 + number) * 4 * GIB;
        let fixed = RAM_TYPE_3.union(WindowRestrictions::FIXED_CONFIGURATION);
        let structures = [
            bridge(12, CxlVersion::CXL_2_0, 0x2_4000_0000, 1 << 16),
            with(window(at(0), GIB), &[12]),
            with(
                Header { interleave_arithmetic: InterleaveArithmetic(2).into(), ..window(at(1), GIB) },
                &[12],
            ),
            with(window(at(2) + (1 << 20), GIB), &[12]),
            with(window(at(3), GIB + (1 << 20)), &[12]),
            with_ways(Header { interleave_ways: InterleaveWays(5).into(), ..window(at(4), GIB) }, &[12]),
            with_ways(Header { interleave_ways: InterleaveWays::WAYS_2.into(), ..window(at(5), GIB) }, &[12]),
            with(Header { granularity: InterleaveGranularity(7).into(), ..window(at(6), GIB) }, &[12]),
            with(xor(at(7), InterleaveGranularity::KIB_1), &[12, 99]),
            with(xor(at(8), InterleaveGranularity::BYTES_256), &[12, 99, 98, 97]),
            with(
                Header { restrictions: fixed.into(), ..xor(at(9), InterleaveGranularity::BYTES_256) },
                &[12, 99],
            ),
            with(xor(at(10), InterleaveGranularity::KIB_2), &[12, 99, 98]),
            // A target too many; the high half of the granularity is not looked at.
            with_ways(
                Header { granularity: InterleaveGranularity(0x1_0002).into(), ..window(at(11), GIB) },
                &[12, 5],
            ),
            with(window(at(12), 0), &[12]),
            maps(MapGranularity::BYTES_256, &[0x2020900]),
        ];
        let (root, shown) = probe(&structures);
        let root = root.unwrap();
        let one = Vec::from([12]);
        let expected = (0..4).map(|k| (format!("decoder0.{k}"), one.clone(), Some(format!("region{k}"))));
        assert_eq!(shown, expected.collect::<Vec<_>>());
        let starts: Vec<_> = root.decoders.iter().map(|decoder| decoder.start.0).collect();
        assert_eq!(starts, [at(0), at(9), at(10), at(11)]);
        // Windows 1 and 2 take addresses although they lack XOR maps.
        assert_eq!(numbers(&root), [0, 3, 4, 5]);
        assert_eq!(root.claimed.iter().filter(|(_, size)| size.0 != 0).count(), 6);
        assert!(root.decoders[1].locked() && !root.decoders[0].locked());
        assert_eq!(root.decoders[1].maps, [XorMap(0x2020900)]);
        assert_eq!(root.decoders[3].granularity, ByteCount(256));
        let refused: Vec<_> = root.refused.iter().map(|(_, refusal)| *refusal).collect();
        assert_eq!(
            refused,
            [
                R::Arithmetic,
                R::Base,
                R::Size,
                R::Ways,
                R::Length,
                R::Granularity,
                R::NoMaps,
                R::BadMaps,
                R::Overlap
            ]
        );
        assert!(refused.iter().all(|refusal| (refusal.errno() == Errno::Busy) == (*refusal == R::Overlap)));
    }

    #[test]
    fn windows_may_contain_each_other_but_not_cross() {
        let base = 64 * GIB;
        let last = 0_u64.wrapping_sub(GIB);
        let windows = [
            (base + GIB, GIB),
            (base, 4 * GIB),
            (base + GIB, GIB),
            (base + 3 * GIB, 2 * GIB),
            // The last addresses of all, and beyond.
            (last, GIB),
            (last, 2 * GIB),
        ];
        let (root, shown) = probe(&windows.map(|(start, size)| with(window(start, size), &[1])));
        let root = root.unwrap();
        assert_eq!(numbers(&root), [0, 1, 2, 4]);
        assert!(root.refused.iter().all(|(_, refusal)| *refusal == WindowRefusal::Overlap));
        // No host bridge has a description, so no target is there.
        assert!(shown.iter().all(|(_, targets, _)| targets.is_empty()));
    }

    #[test]
    fn of_several_structures_with_maps_the_last_counts() {
        let structures = [
            with(xor(64 * GIB, InterleaveGranularity::KIB_1), &[1, 2, 3, 4, 5, 6]),
            maps(MapGranularity::KIB_1, &[0x400]),
            maps(MapGranularity::BYTES_512, &[]),
            maps(MapGranularity::KIB_1, &[0x1400, 0x2800]),
        ];
        // Six ways need log2(6 / 3) maps.
        assert_eq!(probe(&structures).0.unwrap().decoders[0].maps, [XorMap(0x1400)]);
    }

    #[test]
    fn bridges_need_registers_of_the_right_size() {
        let (root, _) = probe(&[
            bridge(1, CxlVersion::CXL_2_0, 0x1000_0000, 0x2000),
            bridge(1, CxlVersion::CXL_2_0, 0, 0x1_0000),
            bridge(1, CxlVersion::CXL_1_1, 0x2000_0000, 0x2000),
            bridge(1, CxlVersion::CXL_2_0, 0x3000_0000, 0x1_0000),
            bridge(2, CxlVersion(7), 0x4000_0000, 1),
        ]);
        let root = root.unwrap();
        let bridges: Vec<_> = root.bridges.iter().map(|bridge| (bridge.uid.0, bridge.base.0)).collect();
        assert_eq!(bridges, [(1, 0x2000_0000), (2, 0x4000_0000)]);
    }

    #[test]
    fn a_structure_of_length_zero_stops_the_driver() {
        let zero = Header { length: Length(0).into(), ..window(0, GIB) }.as_bytes().to_vec();
        assert_eq!(probe(&[with(window(64 * GIB, GIB), &[1]), zero]).0, None);
    }
}
