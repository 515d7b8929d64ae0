//! What no table tells of a CXL machine: the links as they were negotiated, the answer of its QoS method, and what an
//! emulator has that it does not describe.

use super::qos::QtgReply;
use crate::bundle::paths::CdatOwner;
use crate::tables::cdat::{CdatHeader, CdatWriter, PortId, SslbisEntry, SslbisHeader};
use crate::tables::hmat::DataType;
use crate::tables::output::Seal;
use crate::topology::Topology;
use crate::topology::cxl::{PciLink, PortKind};
use crate::topology::device_tables::DeviceTable;
use crate::units::{EntryBaseUnit, LaneCount, MatrixCell, MegatransfersPerSecond};
use alloc::collections::BTreeMap;
use alloc::string::String;
use alloc::vec::Vec;

/// What no table tells of a CXL machine.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CxlPlatform {
    /// Links by PCI function.
    pub links: BTreeMap<String, PciLink>,
    /// The link of every function that is neither here nor in the hierarchy.
    pub link: Option<PciLink>,
    /// The answer of the QoS method.
    pub qtg: Option<QtgReply>,
    /// Whether the machine is QEMU's; without it, the ids in the CEDT and the MADT tell.
    pub emulated: Option<bool>,
}

/// What the ids of QEMU's tables begin with: OEM id, OEM table id.
const QEMU: ([u8; 6], [u8; 8]) = (*b"BOCHS ", *b"BXPC    ");

/// The link of QEMU's CXL devices, unless `x-speed` and `x-width` make it another (seen on QEMU 10.0.2).
const QEMU_LINK: PciLink =
    PciLink { speed: MegatransfersPerSecond(32000), width: LaneCount(16), flit: Some(false) };

impl CxlPlatform {
    /// Whether the machine is QEMU's.
    #[must_use]
    pub fn is_emulated(&self, topology: &Topology<'_>) -> bool {
        // An initrd may have replaced the CEDT; the MADT is seldom replaced.
        let ids = || {
            let windows = topology.windows.as_ref().map(|windows| windows.oem);
            [windows, topology.processors.as_ref().map(|processors| processors.oem)]
        };
        self.emulated.unwrap_or_else(|| ids().contains(&Some(QEMU)))
    }

    /// The link at a PCI function, and whether that is only what the emulator has by default.
    #[must_use]
    pub fn link(&self, function: &str, topology: &Topology<'_>) -> Option<(PciLink, bool)> {
        let captured = || topology.cxl.as_ref().and_then(|tree| tree.links.get(function)).copied();
        let told = self.links.get(function).copied().or_else(captured).or(self.link);
        let emulated = || self.is_emulated(topology).then_some((QEMU_LINK, true));
        told.map(|link| (link, false)).or_else(emulated)
    }

    /// The answer of the QoS method, and whether that is only what the emulator gives.
    #[must_use]
    pub fn qtg(&self, topology: &Topology<'_>) -> Option<(QtgReply, bool)> {
        let told = self.qtg.clone().map(|reply| (reply, false));
        told.or_else(|| self.is_emulated(topology).then(|| (QtgReply::of_qemu(), true)))
    }
}

/// The CDAT that QEMU's switches have, in which these are the downstream ports (seen on QEMU 10.0.2): 150 ns and
/// 16384 MB/s to each.
#[must_use]
pub fn switch_table_of_qemu(ports: &[u16]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut writer = CdatWriter::new(&mut bytes, &CdatHeader::new(2, 0));
    for (kind, unit, cell) in [(DataType::ACCESS_LATENCY, 10_000, 15), (DataType::ACCESS_BANDWIDTH, 1024, 16)]
    {
        let path = |port: &u16| SslbisEntry::new(PortId::UPSTREAM, PortId(*port), MatrixCell(cell));
        let paths: Vec<_> = ports.iter().map(path).collect();
        // More ports than a structure has room for are more than a switch has.
        if writer.push_sslbis(&SslbisHeader::new(kind, EntryBaseUnit(unit)), &paths).is_err() {
            return Vec::new();
        }
    }
    let finished = writer.finish(Seal::Fill).is_ok();
    if finished { bytes } else { Vec::new() }
}

/// The CDAT of a port or endpoint of the CXL bus.
#[must_use]
pub fn table_of<'t, 'a>(topology: &'t Topology<'a>, port: &str) -> Option<&'t DeviceTable<'a>> {
    let tree = topology.cxl.as_ref()?;
    let port = tree.port(port)?;
    let memdev = tree.memdev_of(port).filter(|_| port.kind == PortKind::Endpoint);
    let is = |owner: &CdatOwner| match owner {
        CdatOwner::Port(name) => *name == port.name,
        CdatOwner::Memdev(name) => memdev.is_some_and(|memdev| memdev.name == *name),
        CdatOwner::Serial(serial) => memdev.is_some_and(|memdev| memdev.serial == Some(*serial)),
        CdatOwner::Function(function) => {
            let own = memdev.map_or(port.host.as_ref(), |memdev| memdev.host.as_ref());
            own == Some(function)
        }
    };
    topology.device_tables.iter().find(|table| table.owner.as_ref().is_some_and(is))
}
