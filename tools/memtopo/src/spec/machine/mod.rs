//! A machine that a person describes in TOML, and the tables that say the same.
//!
//! `text` holds the grammar of the values, `tables` the writing, `tree` what is below the CXL host bridges; this file is the description itself.

mod tables;
mod text;
mod tree;

use crate::input::address_range;
use anyhow::{Context, Result};
use memtopo::linux::qos::QtgReply;
use memtopo::range::AddressRange;
use serde::Deserialize;
pub(crate) use text::{Cell, Range, Size};

/// A whole machine.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Machine {
    /// SLIT, row by row, one row and column for each domain.
    distances: Option<Vec<Vec<u8>>>,
    /// Proximity domains; their numbers count from 0 unless given.
    #[serde(default, rename = "domain")]
    domains: Vec<Domain>,
    /// HMAT matrices.
    performance: Option<Performance>,
    /// CXL host bridges.
    #[serde(default, rename = "bridge")]
    bridges: Vec<Bridge>,
    /// CXL fixed memory windows.
    #[serde(default, rename = "window")]
    windows: Vec<Window>,
    /// CXL devices, each with a CDAT.
    #[serde(default, rename = "device")]
    devices: Vec<Device>,
    /// CXL switches, each with a CDAT.
    #[serde(default, rename = "switch")]
    switches: Vec<Switch>,
    /// The CXL links that have none of their own: `"32x16"`.
    link: Option<text::Link>,
    /// The QoS groups that the platform prefers for all CXL memory, best first; none for one without that method.
    qtg: Option<Vec<u16>>,
    /// Who made the tables.
    #[serde(default)]
    identity: IdentityText,
}

/// One proximity domain.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Domain {
    /// The PXM; the position in the file when it is not given.
    number: Option<u32>,
    /// APIC ids: `"0-3,8"`.
    cpus: Option<text::Ids>,
    /// Memory that is there at boot.
    #[serde(default)]
    memory: Vec<Range>,
    /// Ranges for memory that may be added later.
    #[serde(default)]
    hot_pluggable: Vec<Range>,
    /// Marks the ranges as non-volatile.
    #[serde(default)]
    non_volatile: bool,
    /// Marks the ranges as meant for specific uses; such memory is no ordinary RAM in the memory map.
    #[serde(default)]
    specific_purpose: bool,
    /// The domain that the memory is attached to; the domain itself when it has processors.
    initiator: Option<u32>,
    /// A device that issues memory accesses: `"0000:17:02.0"` or `"ACPI0017:0"`.
    generic_initiator: Option<text::DeviceName>,
    /// Memory-side caches, from the first level on.
    #[serde(default)]
    cache: Vec<Cache>,
}

/// A memory-side cache.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Cache {
    size: Size,
    /// Bytes in a line.
    #[serde(default = "line_size")]
    line: u16,
    #[serde(default)]
    associativity: Associativity,
    #[serde(default)]
    write_policy: WritePolicy,
    /// The addresses beyond the cache are its aliases (ACPI 6.6).
    #[serde(default)]
    extended_linear: bool,
}

const fn line_size() -> u16 {
    64
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Associativity {
    None,
    #[default]
    Direct,
    Complex,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum WritePolicy {
    None,
    #[default]
    WriteBack,
    WriteThrough,
}

/// Matrices from every domain with processors or a generic initiator (rows) to every domain with memory and then
/// every bridge with a domain (columns), in the order of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Performance {
    latency_ns: Option<Vec<Vec<Cell>>>,
    read_latency_ns: Option<Vec<Vec<Cell>>>,
    write_latency_ns: Option<Vec<Vec<Cell>>>,
    bandwidth_mb_s: Option<Vec<Vec<Cell>>>,
    read_bandwidth_mb_s: Option<Vec<Vec<Cell>>>,
    write_bandwidth_mb_s: Option<Vec<Vec<Cell>>>,
}

/// A CXL host bridge.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Bridge {
    /// `_UID` of the ACPI0016 device.
    uid: u32,
    /// Physical address of the component registers (CXL 1.1: of the RCRB).
    registers: Size,
    /// A restricted host of CXL 1.1.
    #[serde(default)]
    cxl11: bool,
    /// The domain of a generic port for the bridge.
    domain: Option<u32>,
    /// The first PCI bus below it; `uid` when it is not given.
    bus: Option<u8>,
    /// PCIe port numbers of its root ports.
    #[serde(default)]
    root_ports: Vec<u32>,
    /// What its decoders are able to do. A bridge with one root port has none unless this or a decoder is given.
    hdm: Option<HdmText>,
    /// Its decoders as firmware left them, by index.
    #[serde(default)]
    decoder: Vec<DecoderText>,
}

/// What the HDM decoders of a port are able to do.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct HdmText {
    /// How many there are.
    decoders: u8,
    /// The most targets of one, for a bridge or switch.
    targets: u8,
    bits_8_to_11: bool,
    bits_12_to_14: bool,
    /// Devices can unless this is given, bridges and switches cannot.
    ways_3_6_12: Option<bool>,
    /// The same.
    ways_16: Option<bool>,
    /// They are used.
    enabled: bool,
}

impl Default for HdmText {
    fn default() -> Self {
        Self {
            decoders: 4,
            targets: 8,
            bits_8_to_11: true,
            bits_12_to_14: true,
            ways_3_6_12: None,
            ways_16: None,
            enabled: true,
        }
    }
}

/// A decoder that firmware programmed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DecoderText {
    range: Range,
    #[serde(default = "one")]
    ways: u32,
    #[serde(default = "granularity")]
    granularity: Size,
    /// Bridges and switches: the port number at each position.
    #[serde(default)]
    targets: Vec<u8>,
    /// Devices: bytes of the device that are left out in front.
    #[serde(default = "nothing")]
    skip: Size,
    #[serde(default)]
    lock: bool,
    #[serde(default = "yes")]
    committed: bool,
    /// Device-coherent memory in place of host-only coherent.
    #[serde(default)]
    device_coherent: bool,
}

const fn one() -> u32 {
    1
}

const fn nothing() -> Size {
    Size(0)
}

const fn yes() -> bool {
    true
}

/// A CXL fixed memory window.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Window {
    range: Range,
    /// `_UID` of the host bridge at each position.
    targets: Vec<u32>,
    /// Interleave granularity in bytes: 256 to 16K.
    #[serde(default = "granularity")]
    granularity: Size,
    /// Maps of the XOR arithmetic; without them the window is modulo.
    #[serde(default)]
    xormaps: Vec<Size>,
    #[serde(default = "restrictions")]
    restrictions: Vec<Restriction>,
    /// Quality-of-service group.
    #[serde(default)]
    qtg: u16,
}

const fn granularity() -> Size {
    Size(256)
}

fn restrictions() -> Vec<Restriction> {
    vec![Restriction::HostOnly, Restriction::Volatile]
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Restriction {
    Device,
    HostOnly,
    Volatile,
    Persistent,
    Fixed,
    BackInvalidate,
}

/// A CXL memory device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Device {
    /// Names the file of its CDAT.
    name: String,
    /// Where it is plugged in: `BRIDGE_UID/PORT` or `SWITCH/PORT`.
    below: Option<text::Place>,
    /// Its serial number.
    serial: Option<u64>,
    /// The link to the port above: `"32x16"`, 16 lanes of 32 GT/s.
    link: Option<text::Link>,
    /// What its decoders are able to do.
    hdm: Option<HdmText>,
    /// Its decoders as firmware left them, by index.
    #[serde(default)]
    decoder: Vec<DecoderText>,
    /// Partitions, one after another in device address space.
    #[serde(default)]
    memory: Vec<DeviceMemory>,
}

/// A partition of a device.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct DeviceMemory {
    size: Size,
    #[serde(default)]
    non_volatile: bool,
    #[serde(default)]
    shareable: bool,
    #[serde(default)]
    dynamic_capacity: bool,
    #[serde(default)]
    read_only: bool,
    /// What the EFI memory map is to say.
    efi: Option<EfiUse>,
    #[serde(flatten)]
    figures: Figures,
}

#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum EfiUse {
    Conventional,
    SpecificPurpose,
    Reserved,
}

/// Latency and bandwidth of one thing.
#[derive(Debug, Default, Deserialize)]
struct Figures {
    latency_ns: Option<Cell>,
    read_latency_ns: Option<Cell>,
    write_latency_ns: Option<Cell>,
    bandwidth_mb_s: Option<Cell>,
    read_bandwidth_mb_s: Option<Cell>,
    write_bandwidth_mb_s: Option<Cell>,
}

/// A CXL switch.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Switch {
    /// Names the file of its CDAT.
    name: String,
    /// Where it is plugged in: `BRIDGE_UID/PORT` or `SWITCH/PORT`.
    below: Option<text::Place>,
    /// The link to the port above.
    link: Option<text::Link>,
    /// PCIe port numbers of its downstream ports.
    #[serde(default)]
    ports: Vec<u32>,
    /// What its decoders are able to do. A switch with one port has none unless this or a decoder is given.
    hdm: Option<HdmText>,
    /// Its decoders as firmware left them, by index.
    #[serde(default)]
    decoder: Vec<DecoderText>,
    /// Paths through it.
    #[serde(default)]
    path: Vec<Path>,
}

/// A path through a switch, in both directions.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Path {
    from: text::Port,
    to: text::Port,
    #[serde(flatten)]
    figures: Figures,
}

/// Identifying fields of the table headers.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct IdentityText {
    oem_id: Option<String>,
    oem_table_id: Option<String>,
    oem_revision: Option<u32>,
    creator_id: Option<String>,
    creator_revision: Option<u32>,
}

impl Machine {
    /// Reads a description.
    pub(crate) fn parse(toml: &str) -> Result<Self> {
        toml::from_str(toml).map_err(|error| {
            // The parser's own message spans lines and draws the place; one line has to do.
            let before = error.span().and_then(|span| toml.get(..span.start)).unwrap_or_default();
            let line = before.matches('\n').count() + 1;
            anyhow::anyhow!("line {line}: {}", error.message())
        })
    }

    /// The memory that is there at boot, each range with whether it is meant for specific uses.
    pub(crate) fn memory(&self) -> impl Iterator<Item = (AddressRange, bool)> {
        self.domains.iter().flat_map(|domain| {
            let range = |range: &Range| address_range(range.start, range.size);
            domain.memory.iter().filter_map(range).map(|range| (range, domain.specific_purpose))
        })
    }

    /// What the platform answers when it is asked for a QoS group, as far as it is described.
    pub(crate) fn qtg(&self) -> Option<QtgReply> {
        let groups = self.qtg.clone()?;
        let largest = groups.iter().copied().max().unwrap_or_default();
        Some(if groups.is_empty() { QtgReply::None } else { QtgReply::Groups { largest, groups } })
    }

    /// The tables of the machine: APIC, SRAT, SLIT, HMAT, CEDT, as far as there is something to say, and the
    /// CDATs.
    pub(crate) fn build(&self) -> Result<Vec<super::Built>> {
        tables::build(self).context("machine description")
    }
}
