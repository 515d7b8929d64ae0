//! What Linux asks of a CXL region: every rule on its own, with its error, and together all rules on the shape of a
//! layout (`drivers/cxl/core/region.c`, `drivers/cxl/core/hdm.c`).
//!
//! Nothing here knows a state: free decoders, device memory and addresses are looked for by who makes a region. A
//! layout that [`Shape::check`] accepts can be made on a machine on which nothing is in use.

use super::cxl_levels::{Step, multiply, power_of_two_ways};
use super::events::Errno;
use super::reason::{Reason, Rule};
use super::rules;
use super::windows::RootDecoder;
use crate::region::{Granularity, Ways};
use crate::tables::cedt::WindowRestrictions;
use crate::tables::hdm::HdmCapability;
use crate::topology::cxl::{CxlTree, Mode, PortKind};
use crate::units::ByteCount;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// What sizes of regions and of device memory are a multiple of, in bytes.
pub const UNIT: ByteCount = ByteCount(256 << 20);
/// Most targets of a decoder below the root: its target list has a byte for each.
pub const MOST_TARGETS: usize = 8;

/// One thing that Linux asks of a region.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RegionRule {
    /// The window allows regions of this kind.
    WindowKind,
    /// The granularity has a code: a power of two from 256 bytes to 16 KiB.
    GranularityCode,
    /// Under a window with several ways the granularity is the window's.
    WindowGranularity,
    /// The number of ways has a code.
    WaysCode,
    /// The ways are the window's times a power of two.
    WindowWays,
    /// The size is a multiple of 256 MiB for each way.
    SizeUnit,
    /// The window has so many addresses in one piece that are free.
    FreeAddresses,
    /// The device is there, and a decoder of it has no device memory yet.
    FreeEndpointDecoder,
    /// The device has memory of this kind.
    DeviceKind,
    /// The share of a device is a multiple of 256 MiB.
    ShareUnit,
    /// So much memory of the device is left behind what is given away.
    FreeDeviceMemory,
    /// Device memory is given to decoders in the order of their indexes, and taken back in reverse.
    DeviceMemoryOrder,
    /// The decoder of the device is able to interleave so.
    EndpointInterleave,
    /// The region has addresses before it has targets.
    AddressesFirst,
    /// No more targets than ways.
    TargetCount,
    /// The device is below the root of the window.
    BelowRoot,
    /// The decoder gives host-only coherent memory.
    Coherence,
    /// The device memory times the ways is the size of the region.
    Share,
    /// A device takes part once.
    DeviceOnce,
    /// The position belongs to the device's host bridge by the window's targets.
    BridgeTurn,
    /// Every port on the way has a decoder next in turn that is free.
    FreePortDecoder,
    /// Regions of one port come in the order of their addresses.
    AddressOrder,
    /// A decoder has as many targets as the region needs.
    PortTargets,
    /// Below a port a power of two of targets takes part.
    PortPower,
    /// Every port's granularity has a code: that of the level above times its ways.
    PortGranularity,
    /// The decoder of a port is able to interleave so.
    PortInterleave,
    /// Devices behind one downstream port come at equal distances.
    Peers,
    /// All targets are there before a region is committed.
    AllTargets,
    /// Caches of the processor can be flushed, which a guest of a hypervisor cannot.
    Flush,
    /// Decoders are committed in the order of their indexes.
    CommitOrder,
    /// Nothing locks the decoders.
    Unlocked,
}

impl RegionRule {
    /// The error that Linux reports where the rule is broken.
    #[must_use]
    pub const fn errno(self) -> Errno {
        match self {
            Self::WindowKind => Errno::NoEntry,
            Self::FreeAddresses => Errno::OutOfRange,
            Self::FreeDeviceMemory => Errno::NoSpace,
            Self::Unlocked => Errno::NotPermitted,
            Self::GranularityCode
            | Self::WindowGranularity
            | Self::WaysCode
            | Self::WindowWays
            | Self::SizeUnit
            | Self::DeviceKind
            | Self::ShareUnit
            | Self::TargetCount
            | Self::Share
            | Self::PortPower
            | Self::PortGranularity => Errno::Invalid,
            Self::DeviceMemoryOrder
            | Self::DeviceOnce
            | Self::FreePortDecoder
            | Self::AddressOrder
            | Self::CommitOrder => Errno::Busy,
            Self::FreeEndpointDecoder
            | Self::EndpointInterleave
            | Self::AddressesFirst
            | Self::BelowRoot
            | Self::Coherence
            | Self::BridgeTurn
            | Self::PortTargets
            | Self::PortInterleave
            | Self::Peers
            | Self::AllTargets
            | Self::Flush => Errno::NoDevice,
        }
    }

    /// The rule in words, and where the kernel has it.
    #[must_use]
    pub const fn rule(self) -> Rule {
        match self {
            Self::WindowKind => rules::REGION_WINDOW_KIND,
            Self::GranularityCode => rules::REGION_GRANULARITY_CODE,
            Self::WindowGranularity => rules::REGION_WINDOW_GRANULARITY,
            Self::WaysCode => rules::REGION_WAYS_CODE,
            Self::WindowWays => rules::REGION_WINDOW_WAYS,
            Self::SizeUnit => rules::REGION_SIZE_UNIT,
            Self::FreeAddresses => rules::REGION_FREE_ADDRESSES,
            Self::FreeEndpointDecoder => rules::REGION_FREE_ENDPOINT_DECODER,
            Self::DeviceKind => rules::REGION_DEVICE_KIND,
            Self::ShareUnit => rules::REGION_SHARE_UNIT,
            Self::FreeDeviceMemory => rules::REGION_FREE_DEVICE_MEMORY,
            Self::DeviceMemoryOrder => rules::REGION_DEVICE_MEMORY_ORDER,
            Self::EndpointInterleave => rules::REGION_ENDPOINT_INTERLEAVE,
            Self::AddressesFirst => rules::REGION_ADDRESSES_FIRST,
            Self::TargetCount => rules::REGION_TARGET_COUNT,
            Self::BelowRoot => rules::REGION_BELOW_ROOT,
            Self::Coherence => rules::REGION_COHERENCE,
            Self::Share => rules::REGION_SHARE,
            Self::DeviceOnce => rules::REGION_DEVICE_ONCE,
            Self::BridgeTurn => rules::REGION_BRIDGE_TURN,
            Self::FreePortDecoder => rules::REGION_FREE_PORT_DECODER,
            Self::AddressOrder => rules::REGION_ADDRESS_ORDER,
            Self::PortTargets => rules::REGION_PORT_TARGETS,
            Self::PortPower => rules::REGION_PORT_POWER,
            Self::PortGranularity => rules::REGION_PORT_GRANULARITY,
            Self::PortInterleave => rules::REGION_PORT_INTERLEAVE,
            Self::Peers => rules::REGION_PEERS,
            Self::AllTargets => rules::REGION_ALL_TARGETS,
            Self::Flush => rules::REGION_FLUSH,
            Self::CommitOrder => rules::REGION_COMMIT_ORDER,
            Self::Unlocked => rules::REGION_UNLOCKED,
        }
    }
}

/// A broken rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub rule: RegionRule,
    /// What was found, with its numbers.
    pub detail: String,
}

impl Broken {
    pub(crate) fn new(rule: RegionRule, detail: impl Into<String>) -> Self {
        Self { rule, detail: detail.into() }
    }

    /// As the reason of a refusal.
    #[must_use]
    pub fn reason(&self) -> Reason {
        Reason::new(self.rule.rule()).because(self.detail.clone())
    }
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}: {}", self.rule.errno(), self.rule.rule().sentence, self.detail)
    }
}

fn broken<T>(rule: RegionRule, detail: impl Into<String>) -> Result<T, Broken> {
    Err(Broken::new(rule, detail))
}

/// What decoders of a port are able to do (the HDM Decoder Capability register, CXL 3.1 §8.2.4.20.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Capability {
    /// 3, 6 and 12 ways.
    pub three: bool,
    /// 16 ways.
    pub sixteen: bool,
    /// Interleave on address bits 8 to 11.
    pub bits_8_to_11: bool,
    /// Interleave on address bits 12 to 14.
    pub bits_12_to_14: bool,
    /// Most targets of a decoder of a bridge or switch.
    pub targets: usize,
    /// A port without registers, which passes everything on to its only downstream port.
    pub passes_through: bool,
}

impl Capability {
    /// All that the registers can say of a device.
    pub const DEVICE: Self = Self {
        three: true,
        sixteen: true,
        bits_8_to_11: true,
        bits_12_to_14: true,
        targets: 1,
        passes_through: false,
    };
    /// All that Linux uses of a bridge or switch.
    pub const PORT: Self = Self { three: false, sixteen: false, targets: MOST_TARGETS, ..Self::DEVICE };
    /// A port without registers.
    pub const PASSES_THROUGH: Self = Self { targets: 1, passes_through: true, ..Self::DEVICE };

    /// Whether a decoder can interleave so (`check_interleave_cap`). Address bits above 14 select nowhere.
    #[must_use]
    pub fn allows(&self, ways: Ways, granularity: Granularity) -> bool {
        if self.passes_through {
            return true;
        }
        let known = (self.three || !ways.has_three()) && (self.sixteen || ways != Ways::SIXTEEN);
        let selecting = ways.power_bits();
        if !known || selecting == 0 {
            return known;
        }
        let low = granularity.shift();
        let first_above = low.saturating_add(selecting);
        let in_low = self.bits_8_to_11 || low >= 12;
        let in_high = self.bits_12_to_14 || first_above <= 12;
        in_low && in_high && first_above <= 15
    }
}

/// What the decoders of a port are able to do, as far as the hierarchy tells. Where it does not hold the capability
/// register, a port with registers is taken to be able to do all that this can say.
#[must_use]
pub fn capability_of(tree: &CxlTree, port: &str) -> Capability {
    if let Some(registers) = tree.registers.get(port) {
        let can = |flag| registers.capability.contains(flag);
        return Capability {
            three: can(HdmCapability::WAYS_3_6_12),
            sixteen: can(HdmCapability::WAYS_16),
            bits_8_to_11: can(HdmCapability::BITS_8_TO_11),
            bits_12_to_14: can(HdmCapability::BITS_12_TO_14),
            targets: usize::from(registers.capability.target_count()),
            passes_through: false,
        };
    }
    match tree.port(port).map(|port| port.kind) {
        Some(PortKind::Endpoint) => Capability::DEVICE,
        _ if passes_through(tree, port) => Capability::PASSES_THROUGH,
        _ => Capability::PORT,
    }
}

/// Whether a bridge or switch has no decoder registers (`devm_cxl_add_passthrough_decoder`): its one decoder is never
/// committed. One with registers for a single decoder cannot be told from it before that is committed.
#[must_use]
pub fn passes_through(tree: &CxlTree, port: &str) -> bool {
    let Some(port) = tree.port(port).filter(|port| port.kind == PortKind::Switch) else { return false };
    let has_registers = tree.registers.contains_key(&port.name);
    !has_registers
        && port.decoders_committed.unwrap_or_default() == 0
        && tree.decoders_of(&port.name).count() == 1
}

/// The window allows regions of this kind (`can_create_ram`, `can_create_pmem`).
///
/// # Errors
/// [`RegionRule::WindowKind`].
pub fn check_kind(root: &RootDecoder, mode: Mode) -> Result<(), Broken> {
    let (flag, name) = match mode {
        Mode::Ram => (WindowRestrictions::VOLATILE, "volatile"),
        Mode::Pmem => (WindowRestrictions::PERSISTENT, "persistent"),
    };
    for (flag, name) in [(WindowRestrictions::HOST_ONLY_COHERENT, "host-only coherent"), (flag, name)] {
        if !root.restrictions.contains(flag) {
            return broken(
                RegionRule::WindowKind,
                format!("decoder0.{} is not for {name} memory", root.index),
            );
        }
    }
    Ok(())
}

/// The granularity of a region (`set_interleave_granularity`).
///
/// # Errors
/// [`RegionRule::GranularityCode`], [`RegionRule::WindowGranularity`].
pub fn check_granularity(root: &RootDecoder, bytes: ByteCount) -> Result<Granularity, Broken> {
    let Some(granularity) = Granularity::from_bytes(bytes) else {
        return broken(RegionRule::GranularityCode, format!("{bytes} bytes"));
    };
    if root.ways > 1 && bytes != root.granularity {
        let detail = format!("{bytes} bytes, the window's {} ways have {}", root.ways, root.granularity);
        return broken(RegionRule::WindowGranularity, detail);
    }
    Ok(granularity)
}

/// The ways of a region (`set_interleave_ways`).
///
/// # Errors
/// [`RegionRule::WaysCode`], [`RegionRule::WindowWays`].
pub fn check_ways(root: &RootDecoder, count: u32) -> Result<Ways, Broken> {
    let Some(ways) = Ways::from_count(count) else {
        return broken(RegionRule::WaysCode, format!("{count} ways"));
    };
    let below = count.checked_div(root.ways).filter(|_| count.checked_rem(root.ways) == Some(0));
    if !below.is_some_and(u32::is_power_of_two) {
        return broken(RegionRule::WindowWays, format!("{count} ways, the window has {}", root.ways));
    }
    Ok(ways)
}

/// The size of a region (`alloc_hpa`).
///
/// # Errors
/// [`RegionRule::SizeUnit`].
pub fn check_size(ways: u32, size: ByteCount) -> Result<(), Broken> {
    let unit = UNIT.0.saturating_mul(u64::from(ways));
    if size.0.checked_rem(unit) != Some(0) {
        return broken(
            RegionRule::SizeUnit,
            format!("{:#x} bytes, {ways} ways need multiples of {unit:#x}", size.0),
        );
    }
    Ok(())
}

/// The decoder of a device is able to interleave so.
///
/// # Errors
/// [`RegionRule::EndpointInterleave`].
pub fn check_endpoint(
    device: &str,
    capability: &Capability,
    ways: Ways,
    granularity: Granularity,
) -> Result<(), Broken> {
    if capability.allows(ways, granularity) {
        return Ok(());
    }
    broken(RegionRule::EndpointInterleave, format!("{device}: {ways} ways of {granularity} bytes"))
}

/// The position is the turn of a device's host bridge (`cxl_region_attach_position`). `bridges` are those that the root
/// has; a target of the window that is none of them has no device.
///
/// # Errors
/// [`RegionRule::BelowRoot`], [`RegionRule::BridgeTurn`].
pub fn check_turn(
    root: &RootDecoder,
    bridges: &[u32],
    device: &str,
    bridge: Option<u32>,
    position: usize,
) -> Result<(), Broken> {
    let Some(bridge) = bridge.filter(|bridge| bridges.contains(bridge)) else {
        return broken(RegionRule::BelowRoot, format!("{device} is behind no host bridge of the root"));
    };
    let ways = usize::try_from(root.ways).unwrap_or(usize::MAX);
    let turn = position.checked_rem(ways).and_then(|place| root.targets.get(place)).map(|target| target.0);
    if turn == Some(bridge) {
        return Ok(());
    }
    let whose = turn.map_or_else(|| String::from("no bridge"), |turn| format!("bridge {turn}"));
    broken(
        RegionRule::BridgeTurn,
        format!(
            "{device} is behind bridge {bridge}, position {position} of decoder0.{} is {whose}'s",
            root.index
        ),
    )
}

/// What a region makes of one port: how its decoder there is programmed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Programming {
    /// Ways.
    pub ways: u32,
    /// Granularity.
    pub granularity: ByteCount,
    /// Ids of downstream ports, by position.
    pub targets: Vec<u32>,
}

/// How the decoders of all ports between the root and the devices are programmed (`cxl_region_setup_targets`). `paths`
/// are the ways up from the devices, by position, nearest port first and the root last.
///
/// # Errors
/// [`RegionRule::PortPower`], [`RegionRule::PortGranularity`], [`RegionRule::PortTargets`],
/// [`RegionRule::PortInterleave`], [`RegionRule::Peers`].
pub fn program(
    root_ways: u32,
    granularity: ByteCount,
    paths: &[&[Step]],
    capability: &dyn Fn(&str) -> Capability,
) -> Result<BTreeMap<String, Programming>, Broken> {
    let mut used: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
    for step in paths.iter().flat_map(|path| path.iter()) {
        used.entry(&step.port).or_default().insert(step.dport);
    }
    let mut ports: BTreeMap<String, Programming> = BTreeMap::new();
    for (position, path) in paths.iter().enumerate() {
        let (mut ways_above, mut above) = (power_of_two_ways(root_ways), granularity);
        let mut distance = usize::try_from(root_ways).unwrap_or(usize::MAX);
        for step in path.iter().rev().filter(|step| !step.is_root) {
            let count = used.get(step.port.as_str()).map_or(0, BTreeSet::len);
            if !count.is_power_of_two() {
                return broken(RegionRule::PortPower, format!("{count} targets below {}", step.port));
            }
            distance = distance.saturating_mul(count);
            if let Some(port) = ports.get_mut(&step.port) {
                if port.targets.contains(&step.dport) {
                    let peer = position.checked_sub(distance).and_then(|peer| paths.get(peer));
                    let same = |other: &Step| other.port == step.port && other.dport == step.dport;
                    if !peer.is_some_and(|peer| peer.iter().any(same)) {
                        let detail = format!(
                            "position {position} is behind downstream port {} of {}, position {} before it is not",
                            step.dport, step.port, distance
                        );
                        return broken(RegionRule::Peers, detail);
                    }
                } else {
                    port.targets.push(step.dport);
                }
            } else {
                let (ways, granularity) =
                    level(&step.port, count, ways_above, above, &capability(&step.port))?;
                let targets = Vec::from([step.dport]);
                ports.insert(step.port.clone(), Programming { ways, granularity, targets });
            }
            if let Some(port) = ports.get(&step.port) {
                (ways_above, above) = (port.ways, port.granularity);
            }
        }
    }
    Ok(ports)
}

/// Ways and granularity of one port (`cxl_port_setup_targets`).
fn level(
    port: &str,
    count: usize,
    ways_above: u32,
    granularity_above: ByteCount,
    capability: &Capability,
) -> Result<(u32, ByteCount), Broken> {
    let bytes = multiply(granularity_above, ways_above).unwrap_or(ByteCount(u64::MAX));
    let Some(granularity) = Granularity::from_bytes(bytes) else {
        let detail = format!("{port}: {granularity_above} bytes times {ways_above} ways above it");
        return broken(RegionRule::PortGranularity, detail);
    };
    if count > MOST_TARGETS || count > capability.targets {
        return broken(
            RegionRule::PortTargets,
            format!("{port}: {count} targets, it can have {}", capability.targets),
        );
    }
    let ways = u32::try_from(count).unwrap_or(u32::MAX);
    match Ways::from_count(ways) {
        Some(known) if capability.allows(known, granularity) => Ok((ways, bytes)),
        _ => broken(RegionRule::PortInterleave, format!("{port}: {ways} ways of {bytes} bytes")),
    }
}

/// The shape of a region: all that its rules look at beside what is in use.
#[derive(Debug)]
pub struct Shape<'a> {
    /// Its window.
    pub root: &'a RootDecoder,
    /// Ids of the host bridges below the root.
    pub bridges: &'a [u32],
    /// Ways.
    pub ways: u32,
    /// Granularity.
    pub granularity: ByteCount,
    /// Its devices by position: a name, what they are able to do, and the way up.
    pub targets: &'a [Target<'a>],
}

/// A device of a region.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// Its name.
    pub device: &'a str,
    /// What its decoders are able to do.
    pub capability: Capability,
    /// The way up, nearest port first and the root last.
    pub path: &'a [Step],
}

impl Target<'_> {
    /// The id of the host bridge that it is behind.
    #[must_use]
    pub fn bridge(&self) -> Option<u32> {
        self.path.last().filter(|step| step.is_root).map(|step| step.dport)
    }
}

impl Shape<'_> {
    /// All rules on the shape, in the order in which the writes of `cxl create-region` meet them; how the ports are
    /// programmed.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn check(
        &self,
        capability: &dyn Fn(&str) -> Capability,
    ) -> Result<BTreeMap<String, Programming>, Broken> {
        let granularity = check_granularity(self.root, self.granularity)?;
        let ways = check_ways(self.root, self.ways)?;
        let count = usize::from(ways.count());
        if self.targets.len() != count {
            return broken(RegionRule::TargetCount, format!("{} targets, {ways} ways", self.targets.len()));
        }
        let mut used: BTreeMap<&str, BTreeSet<u32>> = BTreeMap::new();
        for (position, target) in self.targets.iter().enumerate() {
            check_endpoint(target.device, &target.capability, ways, granularity)?;
            if self.targets.iter().take(position).any(|other| other.device == target.device) {
                return broken(RegionRule::DeviceOnce, format!("{} at position {position}", target.device));
            }
            check_turn(self.root, self.bridges, target.device, target.bridge(), position)?;
            for step in target.path.iter().filter(|step| !step.is_root) {
                let dports = used.entry(&step.port).or_default();
                dports.insert(step.dport);
                check_target_count(&step.port, dports.len(), &capability(&step.port))?;
            }
        }
        let paths: Vec<&[Step]> = self.targets.iter().map(|target| target.path).collect();
        program(self.root.ways, self.granularity, &paths, capability)
    }
}

/// A decoder of a port has room for so many targets (`cxl_port_attach_region`).
///
/// # Errors
/// [`RegionRule::PortTargets`].
pub fn check_target_count(port: &str, count: usize, capability: &Capability) -> Result<(), Broken> {
    if count <= capability.targets {
        return Ok(());
    }
    broken(RegionRule::PortTargets, format!("{port}: {count} targets, it can have {}", capability.targets))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::cedt::InterleaveArithmetic;
    use crate::units::{AcpiUid, PhysAddr};
    use alloc::string::ToString;

    fn root(ways: u32, granularity: u64, bridges: &[u32]) -> RootDecoder {
        RootDecoder {
            index: 0,
            window: Some(0),
            start: PhysAddr(1 << 32),
            size: ByteCount(1 << 32),
            ways,
            granularity: ByteCount(granularity),
            targets: bridges.iter().copied().map(AcpiUid).collect(),
            arithmetic: InterleaveArithmetic::MODULO,
            maps: Vec::new(),
            restrictions: WindowRestrictions(0xf),
            qtg: 0,
            cache_size: ByteCount(0),
            source: None,
        }
    }

    /// The way up through these downstream ports, the nearest to the root first: `12/1/0` is the first port of the
    /// switch at port 1 of bridge 12.
    fn way(text: &str) -> Vec<Step> {
        let parts: Vec<&str> = text.split('/').collect();
        let step = |depth: usize| {
            let port = parts[..depth].join("/");
            Step { port: format!("/{port}"), dport: parts[depth].parse().unwrap(), is_root: depth == 0 }
        };
        (0..parts.len()).rev().map(step).collect()
    }

    fn check(root: &RootDecoder, granularity: u64, ways: &[&str]) -> Result<Vec<String>, RegionRule> {
        check_with(root, granularity, ways, Capability::PORT)
    }

    fn check_with(
        root: &RootDecoder,
        granularity: u64,
        ways: &[&str],
        port: Capability,
    ) -> Result<Vec<String>, RegionRule> {
        let bridges = [12, 13, 14];
        let paths: Vec<Vec<Step>> = ways.iter().map(|text| way(text)).collect();
        let targets: Vec<Target<'_>> = ways
            .iter()
            .zip(&paths)
            .map(|(device, path)| Target { device, capability: Capability::DEVICE, path })
            .collect();
        let shape = Shape {
            root,
            bridges: &bridges,
            ways: u32::try_from(ways.len()).unwrap(),
            granularity: ByteCount(granularity),
            targets: &targets,
        };
        let shown = |(name, port): (String, Programming)| {
            format!("{name} {}x{} {:?}", port.ways, port.granularity, port.targets)
        };
        let checked = shape.check(&|_| port).map_err(|broken| broken.rule)?;
        Ok(checked.into_iter().map(shown).collect())
    }

    /// The registers that a booted 7.2.12 programmed, section 9.3 of the regions sheet.
    #[test]
    fn ports_are_programmed_as_on_booted_kernels() {
        let one = root(1, 256, &[12]);
        assert_eq!(check(&one, 1024, &["12/0", "12/1"]).unwrap(), ["/12 2x1024 [0, 1]"]);
        let two = root(2, 1024, &[12, 13]);
        assert_eq!(check(&two, 1024, &["12/0", "13/0"]).unwrap(), ["/12 1x2048 [0]", "/13 1x2048 [0]"]);
        let three = root(3, 256, &[12, 13, 14]);
        let passed = check_with(&three, 256, &["12/0", "13/0", "14/0"], Capability::PASSES_THROUGH).unwrap();
        assert_eq!(passed, ["/12 1x256 [0]", "/13 1x256 [0]", "/14 1x256 [0]"]);
        let switches = check(&one, 256, &["12/0/0", "12/1/0", "12/0/1", "12/1/1"]).unwrap();
        assert_eq!(switches, ["/12 2x256 [0, 1]", "/12/0 2x512 [0, 1]", "/12/1 2x512 [0, 1]"]);
    }

    #[test]
    fn each_rule_on_the_shape_has_its_turn() {
        let one = root(1, 256, &[12]);
        let two = root(2, 256, &[12, 13]);
        let three = root(3, 256, &[12, 13, 14]);
        let rule = |root, granularity, ways: &[&str]| check(root, granularity, ways).unwrap_err();
        assert_eq!(rule(&one, 768, &["12/0"]), RegionRule::GranularityCode);
        assert_eq!(rule(&two, 512, &["12/0", "13/0"]), RegionRule::WindowGranularity);
        assert_eq!(rule(&one, 256, &["12/0"; 5]), RegionRule::WaysCode);
        assert_eq!(rule(&one, 256, &["12/0"; 3]), RegionRule::WindowWays);
        assert_eq!(rule(&three, 256, &["12/0", "13/0", "14/0", "12/1"]), RegionRule::WindowWays);
        assert_eq!(rule(&one, 16384, &["12/0", "12/1", "12/2", "12/3"]), RegionRule::EndpointInterleave);
        assert_eq!(rule(&one, 256, &["12/0", "12/0"]), RegionRule::DeviceOnce);
        assert_eq!(rule(&one, 256, &["15/0"]), RegionRule::BelowRoot);
        assert_eq!(rule(&two, 256, &["13/0", "12/0"]), RegionRule::BridgeTurn);
        assert_eq!(rule(&one, 256, &["12/0/0", "12/0/1", "12/1/0", "12/2/0"]), RegionRule::PortPower);
        assert_eq!(rule(&one, 256, &["12/0/0", "12/0/1", "12/1/0", "12/1/1"]), RegionRule::Peers);
        let wide: Vec<String> = (0..16).map(|port| format!("12/{port}")).collect();
        let wide: Vec<&str> = wide.iter().map(String::as_str).collect();
        assert_eq!(rule(&one, 256, &wide), RegionRule::PortTargets);
    }

    #[test]
    fn a_level_can_need_more_than_registers_hold() {
        let two = root(2, 16384, &[12, 13]);
        assert_eq!(check(&two, 16384, &["12/0", "13/0"]).unwrap_err(), RegionRule::PortGranularity);
        // Without registers it does not matter what a bridge would be programmed to, but it is found all the same.
        let passed = check_with(&two, 16384, &["12/0", "13/0"], Capability::PASSES_THROUGH);
        assert_eq!(passed.unwrap_err(), RegionRule::PortGranularity);
    }

    #[test]
    fn registers_say_which_address_bits_select() {
        let low = Capability { bits_12_to_14: false, ..Capability::DEVICE };
        let high = Capability { bits_8_to_11: false, ..Capability::DEVICE };
        let allows = |capability: Capability, ways, bytes| {
            capability
                .allows(Ways::from_count(ways).unwrap(), Granularity::from_bytes(ByteCount(bytes)).unwrap())
        };
        assert!(
            allows(low, 4, 1024) && !allows(low, 4, 2048) && allows(low, 1, 16384) && allows(low, 3, 16384)
        );
        assert!(allows(high, 8, 4096) && !allows(high, 8, 2048) && !allows(high, 16, 4096));
        assert!(!allows(Capability::PORT, 3, 256) && allows(Capability::DEVICE, 12, 8192));
    }

    #[test]
    fn sizes_and_kinds() {
        assert_eq!(check_size(3, ByteCount(768 << 20)), Ok(()));
        let refused = check_size(2, ByteCount(768 << 20)).unwrap_err();
        assert_eq!(
            refused.to_string(),
            "EINVAL: the size of a region is a multiple of 256 MiB for each of its ways: 0x30000000 bytes, 2 ways need \
             multiples of 0x20000000"
        );
        let volatile = RootDecoder { restrictions: WindowRestrictions(0x6), ..root(1, 256, &[12]) };
        assert!(check_kind(&volatile, Mode::Ram).is_ok());
        assert_eq!(check_kind(&volatile, Mode::Pmem).unwrap_err().rule, RegionRule::WindowKind);
    }
}
