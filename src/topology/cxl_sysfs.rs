//! The CXL hierarchy of a copied `/sys`.

use super::cxl::{
    CxlTree, Decoder, DpaRange, Dport, Memdev, Mode, PciLink, Port, PortKind, Region, RootCapabilities,
    TargetType, numbers,
};
use crate::bundle::cxl_sysfs::{CxlObject, CxlSysfs};
use crate::units::{ByteCount, DeviceAddr, LaneCount, PhysAddr};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

impl CxlTree {
    /// Reads what a copy of the CXL bus holds. Files that are missing or hold something else are left out.
    #[must_use]
    pub fn from_sysfs(bus: &CxlSysfs) -> Self {
        let mut tree = Self::default();
        for (name, object) in &bus.objects {
            if name.starts_with("decoder") {
                tree.decoders.push(decoder(name, object, bus));
            } else if name.starts_with("mem") {
                tree.memdevs.push(memdev(name, object));
            } else if name.starts_with("region") {
                tree.regions.push(region(name, object));
            } else if let Some(kind) = port_kind(name) {
                tree.ports.push(port(name, kind, object));
            }
        }
        for (function, files) in &bus.functions {
            let of = |name: &str| files.get(name).map(String::as_str);
            let speed = of("current_link_speed").and_then(PciLink::parse_speed);
            let width =
                of("current_link_width").and_then(|text| text.parse().ok().filter(|width| *width != 0));
            if let (Some(speed), Some(width)) = (speed, width) {
                let link = PciLink { speed, width: LaneCount(width), flit: None };
                tree.links.insert(function.clone(), link);
            }
        }
        tree.sort();
        tree
    }
}

fn port_kind(name: &str) -> Option<PortKind> {
    [("root", PortKind::Root), ("port", PortKind::Switch), ("endpoint", PortKind::Endpoint)]
        .into_iter()
        .find_map(|(prefix, kind)| name.starts_with(prefix).then_some(kind))
}

/// The object above in the device tree, where it is a port.
fn port_above(object: &CxlObject) -> Option<String> {
    object.ancestor(1).filter(|name| port_kind(name).is_some()).map(ToOwned::to_owned)
}

fn port(name: &str, kind: PortKind, object: &CxlObject) -> Port {
    let dport = |(link, target): (&String, &String)| {
        let id = link.strip_prefix("dport")?.parse().ok()?;
        Some(Dport { id, device: target.rsplit('/').next()?.to_owned() })
    };
    Port {
        name: name.to_owned(),
        kind,
        host: object.linked("uport").map(ToOwned::to_owned),
        parent: port_above(object),
        parent_dport: object.linked("parent_dport").map(ToOwned::to_owned),
        dports: object.links.iter().filter_map(dport).collect(),
        decoders_committed: small(object, "decoders_committed"),
    }
}

fn decoder(name: &str, object: &CxlObject, bus: &CxlSysfs) -> Decoder {
    let (port, index) = numbers(name);
    let by_number = || {
        let candidates = ["root", "port", "endpoint"].map(|kind| format!("{kind}{port}"));
        candidates.into_iter().find(|name| bus.objects.contains_key(name)).unwrap_or_default()
    };
    let targets = text(object, "target_list").unwrap_or_default();
    let dpa = bytes(object, "dpa_size").filter(|size| size.0 != 0).and_then(|size| {
        // All ones when none is allocated.
        let start = value(object, "dpa_resource").filter(|start| *start != u64::MAX)?;
        Some(DpaRange { start: DeviceAddr(start), size })
    });
    let is_root = text(object, "devtype") == Some("cxl_decoder_root") || port == 0;
    Decoder {
        name: name.to_owned(),
        port: port_above(object).unwrap_or_else(by_number),
        index,
        start: PhysAddr(value(object, "start").unwrap_or_default()),
        size: bytes(object, "size").unwrap_or_default(),
        ways: small(object, "interleave_ways").unwrap_or(1),
        granularity: bytes(object, "interleave_granularity"),
        targets: targets.split(',').map_while(|id| id.trim().parse().ok()).collect(),
        target_type: text(object, "target_type").and_then(|name| match name {
            "accelerator" => Some(TargetType::Accelerator),
            "expander" => Some(TargetType::Expander),
            _ => None,
        }),
        locked: flag(object, "locked"),
        region: text(object, "region").filter(|name| !name.is_empty()).map(ToOwned::to_owned),
        dpa,
        mode: text(object, "mode").and_then(Mode::from_name),
        root: is_root.then(|| RootCapabilities {
            ram: flag(object, "cap_ram"),
            pmem: flag(object, "cap_pmem"),
            type2: flag(object, "cap_type2"),
            type3: flag(object, "cap_type3"),
            qos_class: signed(object, "qos_class"),
        }),
    }
}

fn memdev(name: &str, object: &CxlObject) -> Memdev {
    Memdev {
        name: name.to_owned(),
        serial: value(object, "serial"),
        host: object.ancestor(1).map(ToOwned::to_owned),
        ram_size: bytes(object, "ram/size").unwrap_or_default(),
        pmem_size: bytes(object, "pmem/size").unwrap_or_default(),
        numa_node: signed(object, "numa_node"),
        ram_qos_class: signed(object, "ram/qos_class"),
        pmem_qos_class: signed(object, "pmem/qos_class"),
    }
}

fn region(name: &str, object: &CxlObject) -> Region {
    let ways = small(object, "interleave_ways").unwrap_or(0);
    // A region without ways shows as many targets as it has files for.
    let target = |position: u32| {
        text(object, &format!("target{position}")).filter(|name| !name.is_empty()).map(ToOwned::to_owned)
    };
    Region {
        name: name.to_owned(),
        root_decoder: object.ancestor(1).filter(|name| name.starts_with("decoder")).map(ToOwned::to_owned),
        // All ones before it has addresses.
        start: PhysAddr(value(object, "resource").filter(|start| *start != u64::MAX).unwrap_or_default()),
        size: bytes(object, "size").unwrap_or_default(),
        ways,
        granularity: bytes(object, "interleave_granularity"),
        mode: text(object, "mode").and_then(Mode::from_name),
        committed: flag(object, "commit"),
        bound: Some(object.links.contains_key("driver")),
        targets: (0..ways.min(MOST_WAYS)).map(target).collect::<Vec<_>>(),
    }
}

/// No decoder interleaves over more.
const MOST_WAYS: u32 = 16;

fn text<'o>(object: &'o CxlObject, name: &str) -> Option<&'o str> {
    object.attributes.get(name).map(|value| value.trim())
}

fn value(object: &CxlObject, name: &str) -> Option<u64> {
    let text = text(object, name)?;
    match text.strip_prefix("0x") {
        Some(digits) => u64::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn bytes(object: &CxlObject, name: &str) -> Option<ByteCount> {
    value(object, name).map(ByteCount)
}

fn small(object: &CxlObject, name: &str) -> Option<u32> {
    value(object, name).and_then(|value| u32::try_from(value).ok())
}

fn signed(object: &CxlObject, name: &str) -> Option<i64> {
    text(object, name)?.parse().ok()
}

fn flag(object: &CxlObject, name: &str) -> Option<bool> {
    value(object, name).map(|value| value != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listing_becomes_a_tree() {
        let root = "/sys/devices/platform/ACPI0017:00/root0";
        let text = format!(
            "{root}/dport32 -> ../../../pci0000:20\n\
             {root}/port1/uport -> ../../../../pci0000:20\n\
             {root}/port1/dport0 -> ../../../../pci0000:20/0000:20:00.0\n\
             {root}/port1/decoders_committed\t1\n\
             {root}/port1/decoder1.0/start\t0x110000000\n\
             {root}/port1/decoder1.0/size\t0x20000000\n\
             {root}/port1/decoder1.0/target_list\t0,1\n\
             {root}/port1/decoder1.0/target_type\texpander\n\
             {root}/port1/endpoint2/uport -> ../../../../../pci0000:20/0000:20:00.0/0000:21:00.0/mem0\n\
             {root}/port1/endpoint2/decoder2.0/dpa_resource\t0xffffffffffffffff\n\
             {root}/port1/endpoint2/decoder2.0/dpa_size\t0x0000000000000000\n\
             /sys/devices/pci0000:20/0000:20:00.0/0000:21:00.0/mem0/serial\t0x1\n\
             {root}/decoder0.0/region0/interleave_ways\t2\n\
             {root}/decoder0.0/region0/target1\tdecoder2.0\n\
             /sys/devices/pci0000:20/0000:20:00.0/current_link_speed\t16.0 GT/s PCIe\n\
             /sys/devices/pci0000:20/0000:20:00.0/current_link_width\t8\n\
             /sys/devices/pci0000:20/0000:20:00.0/0000:21:00.0/current_link_speed\tUnknown\n\
             /sys/devices/pci0000:20/0000:20:00.0/0000:21:00.0/current_link_width\t0\n"
        );
        let tree = CxlTree::from_sysfs(&CxlSysfs::read_listing(&text));
        let names: Vec<_> = tree.ports.iter().map(|port| port.name.as_str()).collect();
        assert_eq!(names, ["root0", "port1", "endpoint2"]);
        let bridge = tree.port("port1").unwrap();
        assert_eq!((bridge.host.as_deref(), bridge.parent.as_deref()), (Some("pci0000:20"), Some("root0")));
        assert_eq!(bridge.dports, [Dport { id: 0, device: "0000:20:00.0".to_owned() }]);
        let decoder = tree.decoders_of("port1").next().unwrap();
        assert!(tree.is_committed(decoder));
        assert_eq!(
            (decoder.targets.as_slice(), decoder.target_type),
            (&[0, 1][..], Some(TargetType::Expander))
        );
        assert_eq!(tree.decoders_of("endpoint2").next().unwrap().dpa, None);
        let memdev = tree.memdev_of(tree.port("endpoint2").unwrap()).unwrap();
        assert_eq!((memdev.serial, memdev.host.as_deref()), (Some(1), Some("0000:21:00.0")));
        assert_eq!(tree.regions[0].root_decoder.as_deref(), Some("decoder0.0"));
        let link = tree.links["0000:20:00.0"];
        assert_eq!((tree.links.len(), link.speed.0, link.width.0), (1, 16000, 8));
        assert_eq!(tree.regions[0].targets, [None, Some("decoder2.0".to_owned())]);
    }
}
