//! The levels between an endpoint and the root, and what a region asks of each.

use super::windows::RootDecoder;
use crate::topology::cxl::{CxlTree, Decoder, PortKind, numbers};
use crate::units::ByteCount;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// One step of the way from an endpoint to the root: a port, and the downstream port of it that leads back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Step {
    /// The port.
    pub port: String,
    /// The id of its downstream port.
    pub dport: u32,
    /// It is the root.
    pub is_root: bool,
}

/// The way from a port up, nearest port first, as far as the hierarchy tells: with the root last, if it leads there.
#[must_use]
pub fn path(tree: &CxlTree, port: &str) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut below = tree.port(port);
    while let Some(port) = below {
        let parent = port.parent.as_deref().and_then(|parent| tree.port(parent));
        let Some(parent) = parent.filter(|_| steps.len() < tree.ports.len()) else { break };
        let dport = parent.dports.iter().find(|dport| Some(&dport.device) == port.parent_dport.as_ref());
        let Some(dport) = dport else { break };
        let is_root = parent.kind == PortKind::Root;
        steps.push(Step { port: parent.name.clone(), dport: dport.id, is_root });
        below = (!is_root).then_some(parent);
    }
    steps
}

/// Ways as they count for the address bits of ports below: without the factor 3.
pub(crate) const fn power_of_two_ways(ways: u32) -> u32 {
    if ways.is_power_of_two() { ways } else { ways / 3 }
}

/// The granularity of the level below one of this granularity and these ways.
pub(crate) fn multiply(granularity: ByteCount, ways: u32) -> Option<ByteCount> {
    granularity.0.checked_mul(u64::from(ways)).map(ByteCount)
}

/// Fills in the granularity of decoders in regions where a source leaves it out: those with one way, which the kernel
/// programs like all others (`cxl_port_setup_targets`).
pub(crate) fn complete_granularity(tree: &mut CxlTree, roots: &[RootDecoder]) {
    let of_region = |name: &str| {
        let region = tree.regions.iter().find(|region| region.name == name)?;
        let root = roots.iter().find(|root| {
            region.root_decoder.as_deref().is_some_and(|name| numbers(name) == (0, root.index))
        })?;
        Some((region.granularity?, root.ways))
    };
    let found: Vec<(usize, ByteCount)> = tree
        .decoders
        .iter()
        .enumerate()
        .filter(|(_, decoder)| decoder.granularity.is_none())
        .filter_map(|(place, decoder)| {
            let (mut granularity, root_ways) = of_region(decoder.region.as_deref()?)?;
            let kind = tree.port(&decoder.port)?.kind;
            if kind == PortKind::Endpoint {
                return Some((place, granularity));
            }
            // From the root down to this port, every level takes its turn.
            granularity = multiply(granularity, power_of_two_ways(root_ways))?;
            for step in path(tree, &decoder.port).iter().rev().filter(|step| !step.is_root) {
                let above = tree.decoders_of(&step.port).find(|above| above.region == decoder.region)?;
                granularity = multiply(granularity, above.ways)?;
            }
            Some((place, granularity))
        })
        .collect();
    for (place, granularity) in found {
        if let Some(decoder) = tree.decoders.get_mut(place) {
            decoder.granularity = Some(granularity);
        }
    }
}

/// The name that does not depend on the order in which devices were found: `device SERIAL/decoder.INDEX`.
pub(crate) fn endpoint_name(tree: &CxlTree, decoder: &Decoder) -> Option<String> {
    let memdev = tree.memdev_of(tree.port(&decoder.port)?)?;
    Some(format!("device {}/decoder.{}", memdev.serial?, decoder.index))
}

/// The same for a decoder of a bridge or switch: `port HOST/decoder.INDEX`.
pub(crate) fn switch_name(tree: &CxlTree, decoder: &Decoder) -> Option<String> {
    let host = tree.port(&decoder.port)?.host.as_deref()?;
    Some(format!("port {host}/decoder.{}", decoder.index))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bundle::cxl_sysfs::CxlSysfs;
    use crate::tables::cedt::{InterleaveArithmetic, WindowRestrictions};
    use crate::units::PhysAddr;

    fn root(ways: u32) -> RootDecoder {
        RootDecoder {
            index: 0,
            window: None,
            start: PhysAddr(0),
            size: ByteCount(1 << 30),
            ways,
            granularity: ByteCount(256),
            targets: Vec::new(),
            arithmetic: InterleaveArithmetic::MODULO,
            maps: Vec::new(),
            restrictions: WindowRestrictions(0xf),
            qtg: 0,
            cache_size: ByteCount(0),
            source: None,
        }
    }

    #[test]
    fn granularity_grows_from_level_to_level() {
        // A region of 256 bytes; decoders of a bridge with two ways and of a switch below it with one.
        let root0 = "/sys/devices/platform/ACPI0017:00/root0";
        let bus = CxlSysfs::read_listing(&format!(
            "{root0}/decoder0.0/region0/interleave_granularity\t256\n\
             {root0}/dport12 -> ../../../pci0000:0c\n\
             {root0}/port1/parent_dport -> ../../../../pci0000:0c\n\
             {root0}/port1/dport0 -> ../../../../pci0000:0c/rp0\n\
             {root0}/port1/decoder1.0/interleave_ways\t2\n\
             {root0}/port1/decoder1.0/region\tregion0\n\
             {root0}/port1/port2/parent_dport -> ../../../../../pci0000:0c/rp0\n\
             {root0}/port1/port2/uport -> ../../../../../pci0000:0c/rp0/0000:0d:00.0\n\
             {root0}/port1/port2/decoder2.0/interleave_ways\t1\n\
             {root0}/port1/port2/decoder2.0/region\tregion0\n"
        ));
        // Of three ways nothing is left for address bits.
        for (ways, bridge, switch) in [(1, 256, 512), (2, 512, 1024), (3, 256, 512), (12, 1024, 2048)] {
            let mut tree = CxlTree::from_sysfs(&bus);
            complete_granularity(&mut tree, &[root(ways)]);
            let found: Vec<_> = tree.decoders.iter().map(|decoder| decoder.granularity).collect();
            assert_eq!(found, [Some(ByteCount(bridge)), Some(ByteCount(switch))], "{ways} ways");
            assert_eq!(switch_name(&tree, &tree.decoders[1]).unwrap(), "port 0000:0d:00.0/decoder.0");
        }
    }
}
