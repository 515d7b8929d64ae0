//! The CXL bus of a capture: as a listing that a plan takes, and as facts under names that do not depend on the order
//! in which devices were found.

use memtopo::bundle::cxl_sysfs::{CxlObject, CxlSysfs};
use memtopo::topology::cxl::numbers;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;

const BUS: &str = "/sys/bus/cxl/devices/";

/// The bus as a listing: a line for each object, link and attribute. Empty without CXL.
///
/// `links` is what `ls -l` shows of the bus folder and of every object, `attributes` are lines of `PATH:VALUE` with
/// paths through the bus folder, which have no colon.
#[must_use]
pub fn listing(links: &str, attributes: &str) -> String {
    let mut places: Vec<(&str, String)> = Vec::new();
    let mut inside: BTreeMap<&str, Vec<(&str, &str)>> = BTreeMap::new();
    let mut folder = "";
    for line in links.lines() {
        if let Some(header) = line.strip_suffix(':') {
            folder = header.trim_end_matches('/');
        } else if let Some((before, target)) = line.split_once(" -> ") {
            let name = before.rsplit(' ').next().unwrap_or(before);
            if let Some(object) = folder.strip_prefix(BUS) {
                inside.entry(object).or_default().push((name, target));
            } else {
                places.push((name, format!("/sys/{}", target.trim_start_matches("../"))));
            }
        }
    }
    let mut values: BTreeMap<&str, Vec<(&str, String)>> = BTreeMap::new();
    for line in attributes.lines() {
        let Some((path, value)) = line.split_once(':') else { continue };
        let Some((object, name)) = path.strip_prefix(BUS).and_then(|path| path.split_once('/')) else {
            continue;
        };
        let values = values.entry(object).or_default();
        match values.last_mut() {
            Some((last, text)) if *last == name => {
                text.push_str("\\n");
                text.push_str(value);
            }
            _ => values.push((name, value.to_owned())),
        }
    }
    places.sort_by(|one, other| one.1.cmp(&other.1));
    let mut text = String::new();
    for (name, place) in places {
        text.push_str(&format!("{BUS}{name} -> {place}\n"));
        for (link, target) in inside.get(name).into_iter().flatten().filter(|(link, _)| *link != "subsystem")
        {
            text.push_str(&format!("{place}/{link} -> {target}\n"));
        }
        for (attribute, value) in values.get(name).into_iter().flatten() {
            text.push_str(&format!("{place}/{attribute}\t{value}\n"));
        }
    }
    text
}

/// The listing without what the kernel made of it: regions, and which decoders have one. What firmware programmed
/// stays.
#[must_use]
pub fn as_programmed(listing: &str) -> String {
    let kernels_own = |line: &&str| {
        let (path, _) = line.split_once(" -> ").or_else(|| line.split_once('\t')).unwrap_or((line, ""));
        let mut parts = path.rsplit('/');
        let last = parts.next().unwrap_or_default();
        let of_region = |part: &str| {
            let name = part.strip_prefix("dax_").or_else(|| part.strip_prefix("pmem_")).unwrap_or(part);
            name.strip_prefix("region").is_some_and(|number| number.parse::<u32>().is_ok())
        };
        let decoder = parts.next().is_some_and(|part| part.starts_with("decoder"));
        let taken = ["region", "dpa_resource", "dpa_size", "mode", "create_ram_region", "create_pmem_region"];
        !(path.split('/').any(of_region) || decoder && taken.contains(&last))
    };
    listing.lines().filter(kernels_own).flat_map(|line| [line, "\n"]).collect()
}

/// One bus, looked at by name.
#[derive(Debug)]
pub(crate) struct Bus(CxlSysfs);

impl Bus {
    pub(crate) fn read(listing: &str) -> Self {
        Self(CxlSysfs::read_listing(listing))
    }

    fn named(&self, start: &str) -> Vec<(&str, &CxlObject)> {
        let mut found: Vec<_> = self
            .0
            .objects
            .iter()
            .filter(|(name, _)| {
                name.strip_prefix(start).is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            })
            .map(|(name, object)| (name.as_str(), object))
            .collect();
        found.sort_by_key(|(name, _)| numbers(name));
        found
    }

    /// An attribute of an object.
    pub(crate) fn value(&self, object: &str, attribute: &str) -> Option<&str> {
        self.0.objects.get(object)?.attributes.get(attribute).map(String::as_str)
    }

    /// An attribute of an object as a number.
    pub(crate) fn number(&self, object: &str, attribute: &str) -> Option<u64> {
        let text = self.value(object, attribute)?;
        match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        }
    }

    /// Whether a driver has an object.
    pub(crate) fn is_bound(&self, object: &str) -> bool {
        self.0.objects.get(object).is_some_and(|object| object.links.contains_key("driver"))
    }

    /// The root decoder that a region is part of.
    pub(crate) fn root_of(&self, region: &str) -> Option<&str> {
        self.0.objects.get(region)?.ancestor(1)
    }

    /// The endpoint decoders of a region by position; `None` for a position that is free.
    pub(crate) fn targets(&self, region: &str) -> Vec<Option<&str>> {
        let ways = self.number(region, "interleave_ways").unwrap_or_default();
        let target =
            |position| self.value(region, &format!("target{position}")).filter(|name| !name.is_empty());
        (0..ways).map(target).collect()
    }

    /// The decoders of the device with a serial number, by index.
    pub(crate) fn decoders_of(&self, serial: u64) -> Vec<&str> {
        let own = |decoder: &&str| self.serial(decoder) == Some(serial);
        self.named("decoder").into_iter().map(|(name, _)| name).filter(own).collect()
    }

    /// The serial number of the device that an endpoint decoder belongs to.
    fn serial(&self, decoder: &str) -> Option<u64> {
        let endpoint = self.0.objects.get(decoder)?.ancestor(1)?;
        self.number(self.0.objects.get(endpoint)?.linked("uport")?, "serial")
    }

    /// The name of a decoder of a device, bridge or switch.
    fn shown(&self, decoder: &str) -> Option<String> {
        let (_, index) = numbers(decoder);
        if let Some(serial) = self.serial(decoder) {
            return Some(format!("device {serial}/decoder.{index}"));
        }
        let port = self.0.objects.get(decoder)?.ancestor(1)?;
        Some(format!("port {}/decoder.{index}", self.0.objects.get(port)?.linked("uport")?))
    }

    /// Some attributes of an object, those that are there.
    fn attributes(&self, object: &str, names: &[&str]) -> Map<String, Value> {
        let named =
            names.iter().filter_map(|name| Some(((*name).to_owned(), json!(self.value(object, name)?))));
        named.collect()
    }

    /// The `cxl` section of a capture; `None` where there is no root.
    pub(crate) fn facts(&self) -> Option<Value> {
        if self.named("root").is_empty() {
            return None;
        }
        let mut sections = Map::new();
        let mut put = |key: &str, items: Vec<Value>| {
            if !items.is_empty() {
                sections.insert(key.to_owned(), json!(items));
            }
        };
        put("memdevs", self.memdevs());
        put("root_decoders", self.root_decoders());
        let attributes = ["region", "start", "size", "interleave_ways", "interleave_granularity"];
        put(
            "switch_decoders",
            self.in_use("cxl_decoder_switch", &[&attributes[..], &["target_list"]].concat()),
        );
        let of_device = ["dpa_resource", "dpa_size", "mode"];
        put(
            "endpoint_decoders",
            self.in_use("cxl_decoder_endpoint", &[&attributes[..], &of_device].concat()),
        );
        put("regions", self.regions());
        Some(Value::Object(sections))
    }

    fn memdevs(&self) -> Vec<Value> {
        let mut memdevs: Vec<(Option<u64>, Value)> = self
            .named("mem")
            .into_iter()
            .map(|(name, object)| {
                let serial = self.number(name, "serial");
                let mut shown = json!({"serial": serial, "pci": object.ancestor(1),
                    "pmem_size": self.value(name, "pmem/size"), "ram_size": self.value(name, "ram/size")});
                for (key, attribute) in
                    [("ram_qos_class", "ram/qos_class"), ("pmem_qos_class", "pmem/qos_class")]
                {
                    if let Some(class) = self.value(name, attribute) {
                        shown[key] = json!(class);
                    }
                }
                (serial, shown)
            })
            .collect();
        memdevs.sort_by_key(|(serial, _)| *serial);
        memdevs.into_iter().map(|(_, shown)| shown).collect()
    }

    fn root_decoders(&self) -> Vec<Value> {
        const SHOWN: [&str; 11] = [
            "start",
            "size",
            "interleave_ways",
            "interleave_granularity",
            "target_list",
            "qos_class",
            "cap_ram",
            "cap_pmem",
            "cap_type2",
            "cap_type3",
            "locked",
        ];
        let is_root = |name: &&str| self.value(name, "devtype") == Some("cxl_decoder_root");
        let decoders = self.named("decoder").into_iter().map(|(name, _)| name).filter(is_root);
        decoders
            .map(|name| {
                let mut shown = self.attributes(name, &SHOWN);
                shown.insert("name".to_owned(), json!(name));
                Value::Object(shown)
            })
            .collect()
    }

    /// Decoders that have a region, or memory of their device.
    fn in_use(&self, kind: &str, attributes: &[&str]) -> Vec<Value> {
        let used = |name: &&str| {
            let region = self.value(name, "region").is_some_and(|region| !region.is_empty());
            self.value(name, "devtype") == Some(kind)
                && (region || self.number(name, "dpa_size").is_some_and(|size| size > 0))
        };
        let decoders = self.named("decoder").into_iter().map(|(name, _)| name).filter(used);
        let mut shown: Vec<(String, Value)> = decoders
            .filter_map(|name| {
                let mut shown = self.attributes(name, attributes);
                let own_name = self.shown(name)?;
                shown.insert("name".to_owned(), json!(own_name));
                Some((own_name, Value::Object(shown)))
            })
            .collect();
        shown.sort_by(|one, other| one.0.cmp(&other.0));
        shown.into_iter().map(|(_, shown)| shown).collect()
    }

    fn regions(&self) -> Vec<Value> {
        const SHOWN: [&str; 7] = [
            "resource",
            "size",
            "interleave_ways",
            "interleave_granularity",
            "mode",
            "commit",
            "extended_linear_cache_size",
        ];
        let regions = self.named("region").into_iter().map(|(name, object)| {
            let mut shown = self.attributes(name, &SHOWN);
            shown.insert("name".to_owned(), json!(name));
            shown.insert("root_decoder".to_owned(), json!(object.ancestor(1)));
            shown.insert("bound".to_owned(), json!(object.links.contains_key("driver")));
            let targets: Vec<_> = self
                .targets(name)
                .into_iter()
                .map(|target| target.and_then(|name| self.shown(name)))
                .collect();
            shown.insert("targets".to_owned(), json!(targets));
            Value::Object(shown)
        });
        regions.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check;
    use crate::workshop::Kernel;
    use std::path::Path;

    const LINKS: &str = "\
/sys/bus/cxl/devices:
total 0
lrwxrwxrwx    1 0        0                0 Nov 20 09:40 mem0 -> ../../../devices/pci0000:20/0000:21:00.0/mem0
lrwxrwxrwx    1 0        0                0 Nov 20 09:40 root0 -> ../../../devices/platform/ACPI0017:00/root0

/sys/bus/cxl/devices/mem0/:
-r--r--r--    1 0        0             4096 Nov 20 09:40 serial
lrwxrwxrwx    1 0        0                0 Nov 20 09:40 subsystem -> ../../../../bus/cxl

/sys/bus/cxl/devices/root0/:
lrwxrwxrwx    1 0        0                0 Nov 20 09:40 dport32 -> ../../../pci0000:20
";
    const ATTRIBUTES: &str = "\
/sys/bus/cxl/devices/mem0/serial:0x1
/sys/bus/cxl/devices/mem0/ram/size:0x10000000
/sys/bus/cxl/devices/mem0/notes:one: two
/sys/bus/cxl/devices/mem0/notes:three
";

    #[test]
    fn files_of_the_guest_become_a_listing() {
        let expected = "\
/sys/bus/cxl/devices/mem0 -> /sys/devices/pci0000:20/0000:21:00.0/mem0
/sys/devices/pci0000:20/0000:21:00.0/mem0/serial\t0x1
/sys/devices/pci0000:20/0000:21:00.0/mem0/ram/size\t0x10000000
/sys/devices/pci0000:20/0000:21:00.0/mem0/notes\tone: two\\nthree
/sys/bus/cxl/devices/root0 -> /sys/devices/platform/ACPI0017:00/root0
/sys/devices/platform/ACPI0017:00/root0/dport32 -> ../../../pci0000:20
";
        assert_eq!(listing(LINKS, ATTRIBUTES), expected);
        assert_eq!(listing("", ""), "");
    }

    #[test]
    fn regions_are_the_kernels_own() {
        let root = "/sys/devices/platform/ACPI0017:00/root0";
        let kept = format!("{root}/port1/decoder1.0/size\t0x1\n{root}/decoder0.0/locked\t0\n");
        let taken = format!(
            "/sys/bus/cxl/devices/region0 -> {root}/decoder0.0/region0\n{root}/decoder0.0/region0/commit\t1\n\
             {root}/decoder0.0/region0/dax_region0/devtype\tx\n{root}/port1/decoder1.0/region\tregion0\n\
             {root}/port1/endpoint2/decoder2.0/dpa_size\t0x1\n"
        );
        assert_eq!(as_programmed(&format!("{kept}{taken}")), kept);
    }

    #[test]
    fn captured_listings_have_the_captured_facts() {
        let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/oracle/cases");
        let Ok(list) = std::fs::read_dir(&cases) else {
            return eprintln!("SKIPPED: the captures in {} are not there", cases.display());
        };
        let mut compared = 0;
        for folder in list.map(|item| item.expect("an entry").path()) {
            let Ok(text) = std::fs::read_to_string(folder.join("cxl-sysfs.tsv")) else { continue };
            let observed = check::observed(&folder, Kernel::V7_2).expect("facts");
            let captures = std::iter::once((text, &observed["cxl"])).chain((0..40).filter_map(|step| {
                let text = std::fs::read_to_string(folder.join(format!("cxl-sysfs.step{step}.tsv"))).ok()?;
                Some((text, &observed["steps"][step]["after"]["cxl"]))
            }));
            for (text, expected) in captures {
                assert_eq!(Bus::read(&text).facts().as_ref(), Some(expected), "{}", folder.display());
                compared += 1;
            }
        }
        assert!(compared >= 30, "{compared} listings");
    }
}
