//! The CXL hierarchy of a described machine: what Linux finds below its host bridges, numbered in the order of the file.

use super::text::{Link, Place, Size};
use super::{Bridge, DecoderText, HdmText, Machine};
use anyhow::{Context, Result, bail, ensure};
use memtopo::bundle::paths::CdatOwner;
use memtopo::region::{Granularity, Ways};
use memtopo::tables::hdm::{HdmCapability, HdmControl, HdmDecoder, HdmGlobalControl};
use memtopo::tables::wire::Reserved;
use memtopo::topology::cxl::{CxlTree, Decoder, Dport, Memdev, Port, PortKind, TargetType};
use memtopo::topology::cxl_registers::PortRegisters;
use memtopo::units::{ByteCount, PhysAddr};

/// What the decoder of a port without registers shows: a page.
const PASSTHROUGH_GRANULARITY: ByteCount = ByteCount(4096);
/// The root.
const ROOT: &str = "root0";

impl Machine {
    /// The hierarchy; `None` where the description places nothing below a bridge.
    pub(crate) fn tree(&self) -> Result<Option<CxlTree>> {
        let placed = self.devices.iter().any(|device| device.below.is_some())
            || self.switches.iter().any(|switch| switch.below.is_some());
        if !placed {
            return Ok(None);
        }
        Builder { machine: self, tree: CxlTree::default(), functions: self.functions()?, next: 1 }
            .build()
            .map(Some)
    }

    /// Whose the CDAT is that is built with a name.
    pub(crate) fn cdat_owner(&self, name: &str) -> Option<CdatOwner> {
        let name = name.strip_prefix("CDAT_")?;
        if let Some(index) = self.devices.iter().position(|device| device.name == name) {
            return Some(CdatOwner::Memdev(format!("mem{index}")));
        }
        let index = self.switches.iter().position(|switch| switch.name == name)?;
        let (upstream, _) = self.functions().ok()?.switches.get(index)?.clone()?;
        Some(CdatOwner::Function(upstream))
    }

    /// The PCI functions of everything below the bridges, as a firmware numbers buses: depth first, ports in order.
    fn functions(&self) -> Result<Functions> {
        let mut functions = Functions { switches: Vec::new(), devices: Vec::new() };
        functions.switches.resize(self.switches.len(), None);
        functions.devices.resize(self.devices.len(), None);
        for bridge in &self.bridges {
            let mut next = bridge.bus()?;
            for port in &bridge.root_ports {
                self.number(
                    &Place { above: bridge.uid.to_string(), port: *port },
                    &mut next,
                    0,
                    &mut functions,
                )?;
            }
        }
        Ok(functions)
    }

    /// Numbers what is at one downstream port.
    fn number(&self, place: &Place, bus: &mut u8, depth: usize, functions: &mut Functions) -> Result<()> {
        ensure!(depth <= self.switches.len(), "switch below {place}: it is below itself");
        let one_more = |bus: &mut u8| {
            *bus = bus.checked_add(1).context("more PCI buses than there are")?;
            Ok::<u8, anyhow::Error>(*bus)
        };
        if let Some(index) = self.devices.iter().position(|device| device.below.as_ref() == Some(place)) {
            functions.devices[index] = Some(format!("0000:{:02x}:00.0", one_more(bus)?));
        }
        if let Some(index) = self.switches.iter().position(|switch| switch.below.as_ref() == Some(place)) {
            let switch = &self.switches[index];
            let (upstream, inside) = (one_more(bus)?, one_more(bus)?);
            functions.switches[index] = Some((format!("0000:{upstream:02x}:00.0"), inside));
            for port in &switch.ports {
                self.number(&Place { above: switch.name.clone(), port: *port }, bus, depth + 1, functions)?;
            }
        }
        Ok(())
    }
}

impl Bridge {
    /// The first PCI bus below it: as given, or its `_UID`, as QEMU does.
    fn bus(&self) -> Result<u8> {
        match self.bus {
            Some(bus) => Ok(bus),
            None => u8::try_from(self.uid).with_context(|| format!("bridge {}: give it a bus", self.uid)),
        }
    }
}

/// Names of PCI functions, by index of the description's lists; `None` for what is below nothing.
struct Functions {
    /// The upstream port of each switch, and the bus of its downstream ports.
    switches: Vec<Option<(String, u8)>>,
    devices: Vec<Option<String>>,
}

struct Builder<'m> {
    machine: &'m Machine,
    tree: CxlTree,
    functions: Functions,
    /// The number of the next port.
    next: u32,
}

impl Builder<'_> {
    fn build(mut self) -> Result<CxlTree> {
        let machine = self.machine;
        self.port(ROOT.to_owned(), PortKind::Root, Some("ACPI0017:00".to_owned()), None);
        for bridge in &machine.bridges {
            let host = format!("pci0000:{:02x}", bridge.bus()?);
            self.dport(ROOT, bridge.uid, host.clone());
            if !bridge.cxl11 {
                let name = self.name("port");
                self.port(name.clone(), PortKind::Switch, Some(host.clone()), Some((ROOT.to_owned(), host)));
                let place = || format!("bridge {}", bridge.uid);
                let ports = &bridge.root_ports;
                self.registers(&name, ports, &bridge.hdm, &bridge.decoder).with_context(place)?;
            }
        }
        for (index, device) in machine.devices.iter().enumerate() {
            let place = || format!("device {}", device.name);
            let name = format!("mem{index}");
            let sum = |non_volatile: bool| {
                let parts = device.memory.iter().filter(|memory| memory.non_volatile == non_volatile);
                parts
                    .map(|memory| memory.size.0)
                    .try_fold(0_u64, u64::checked_add)
                    .context("its memory passes 64 bits")
            };
            let (ram, pmem) = (sum(false).with_context(place)?, sum(true).with_context(place)?);
            let host = self.functions.devices[index].clone();
            self.tree.memdevs.push(Memdev {
                name: name.clone(),
                serial: device.serial,
                host,
                ram_size: ByteCount(ram),
                pmem_size: ByteCount(pmem),
                numa_node: None,
                ram_qos_class: None,
                pmem_qos_class: None,
            });
            let Some(below) = &device.below else { continue };
            // What is below a bridge of CXL 1.1 has no port.
            let Some((parent, function)) = self.above(below, 0).with_context(place)? else { continue };
            let endpoint = self.name("endpoint");
            self.link(device.link, [self.functions.devices[index].clone(), Some(function.clone())]);
            self.port(endpoint.clone(), PortKind::Endpoint, Some(name), Some((parent, function)));
            self.registers(&endpoint, &[], &device.hdm, &device.decoder).with_context(place)?;
        }
        // Switches with nothing below them have no port: Linux finds them on the way to a device.
        for switch in machine.switches.iter().filter(|switch| switch.below.is_some()) {
            let above = Place { above: switch.name.clone(), port: 0 };
            ensure!(!switch.ports.is_empty(), "switch {}: expected ports, such as [0, 1]", switch.name);
            self.known(&above).with_context(|| format!("switch {}", switch.name))?;
        }
        self.tree.sort();
        Ok(self.tree)
    }

    fn name(&mut self, kind: &str) -> String {
        let number = self.next;
        self.next += 1;
        format!("{kind}{number}")
    }

    fn port(&mut self, name: String, kind: PortKind, host: Option<String>, above: Option<(String, String)>) {
        let (parent, parent_dport) = above.unzip();
        let decoders_committed = Some(0);
        self.tree.ports.push(Port {
            name,
            kind,
            host,
            parent,
            parent_dport,
            dports: Vec::new(),
            decoders_committed,
        });
    }

    fn dport(&mut self, port: &str, id: u32, device: String) {
        let port = self.tree.ports.iter_mut().find(|known| known.name == port);
        if let Some(port) = port.filter(|port| port.dports.iter().all(|known| known.id != id)) {
            port.dports.push(Dport { id, device });
        }
    }

    /// The link between two functions, as both show it.
    fn link(&mut self, own: Option<Link>, functions: [Option<String>; 2]) {
        if let Some(Link(link)) = own.or(self.machine.link) {
            self.tree.links.extend(functions.into_iter().flatten().map(|function| (function, link)));
        }
    }

    /// Whether what a place is on is there.
    fn known(&self, place: &Place) -> Result<()> {
        let bridge = self.machine.bridges.iter().any(|bridge| bridge.uid.to_string() == place.above);
        let switch = self.machine.switches.iter().any(|switch| switch.name == place.above);
        ensure!(
            bridge || switch,
            "below {place}: no bridge has the UID, and no switch the name, {:?}",
            place.above
        );
        Ok(())
    }

    /// The port that a place is a downstream port of, and the function of that; `None` below a bridge of CXL 1.1.
    fn above(&mut self, place: &Place, depth: usize) -> Result<Option<(String, String)>> {
        let machine = self.machine;
        ensure!(depth <= machine.switches.len(), "below {place}: it is below itself");
        self.known(place)?;
        let has = |ports: &[u32]| {
            ensure!(ports.contains(&place.port), "below {place}: the ports there are {ports:?}");
            Ok(())
        };
        let index = |ports: &[u32]| ports.iter().position(|port| *port == place.port).unwrap_or_default();
        if let Some(bridge) = machine.bridges.iter().find(|bridge| bridge.uid.to_string() == place.above) {
            has(&bridge.root_ports)?;
            if bridge.cxl11 {
                return Ok(None);
            }
            let bus = bridge.bus()?;
            let host = format!("pci0000:{bus:02x}");
            let port = self.tree.ports.iter().find(|port| port.host.as_deref() == Some(&host));
            let name = port.map(|port| port.name.clone()).unwrap_or_default();
            let function = format!("0000:{bus:02x}:{:02x}.0", index(&bridge.root_ports));
            self.dport(&name, place.port, function.clone());
            return Ok(Some((name, function)));
        }
        let found = machine.switches.iter().position(|switch| switch.name == place.above);
        let Some((at, switch)) = found.map(|at| (at, &machine.switches[at])) else {
            bail!("below {place}: no such switch");
        };
        has(&switch.ports)?;
        let below =
            switch.below.as_ref().with_context(|| format!("switch {}: expected below", switch.name))?;
        let Some(parent) = self.above(below, depth + 1)? else { return Ok(None) };
        let (upstream, bus) = self.functions.switches[at]
            .clone()
            .with_context(|| format!("switch {}: another is below {below}", switch.name))?;
        let there = self.tree.ports.iter().find(|port| port.host.as_deref() == Some(&upstream));
        let name = match there.map(|port| port.name.clone()) {
            Some(name) => name,
            None => {
                let name = self.name("port");
                self.link(switch.link, [Some(upstream.clone()), Some(parent.1.clone())]);
                self.port(name.clone(), PortKind::Switch, Some(upstream), Some(parent));
                self.registers(&name, &switch.ports, &switch.hdm, &switch.decoder)
                    .with_context(|| format!("switch {}", switch.name))?;
                name
            }
        };
        let function = format!("0000:{bus:02x}:{:02x}.0", index(&switch.ports));
        self.dport(&name, place.port, function.clone());
        Ok(Some((name, function)))
    }

    /// The decoders of a port: registers, or for a bridge or switch with one downstream port none, unless described.
    fn registers(
        &mut self,
        port: &str,
        ports: &[u32],
        hdm: &Option<HdmText>,
        decoders: &[DecoderText],
    ) -> Result<()> {
        let is_device = self.tree.port(port).is_some_and(|port| port.kind == PortKind::Endpoint);
        if !is_device && ports.len() < 2 && hdm.is_none() && decoders.is_empty() {
            self.tree.decoders.push(Decoder {
                name: format!("decoder{}.0", port.trim_start_matches("port")),
                port: port.to_owned(),
                index: 0,
                start: PhysAddr(0),
                size: ByteCount(0),
                ways: 1,
                granularity: Some(PASSTHROUGH_GRANULARITY),
                targets: ports.to_vec(),
                target_type: Some(TargetType::Expander),
                locked: Some(false),
                region: None,
                dpa: None,
                mode: None,
                root: None,
            });
            return Ok(());
        }
        let default = HdmText::default();
        let hdm = hdm.as_ref().unwrap_or(&default);
        let capability = hdm.capability(is_device)?;
        let count = usize::from(capability.decoder_count().unwrap_or(0));
        ensure!(
            decoders.len() <= count,
            "{} decoders are described, hdm.decoders says {count}",
            decoders.len()
        );
        let mut raw = decoders
            .iter()
            .enumerate()
            .map(|(index, decoder)| decoder.raw(is_device).with_context(|| format!("decoder {index}")))
            .collect::<Result<Vec<_>>>()?;
        raw.resize(count, unused());
        let control = if hdm.enabled { HdmGlobalControl::ENABLED } else { HdmGlobalControl(0) };
        self.tree.registers.insert(port.to_owned(), PortRegisters { capability, control, decoders: raw });
        Ok(())
    }
}

fn unused() -> HdmDecoder {
    HdmDecoder {
        base: PhysAddr(0).into(),
        size: ByteCount(0).into(),
        control: HdmControl(0).into(),
        targets_or_skip: 0.into(),
        reserved: Reserved([0; 4]).into(),
    }
}

impl HdmText {
    fn capability(&self, is_device: bool) -> Result<HdmCapability> {
        let counted = |code: &u32| HdmCapability(*code).decoder_count() == Some(self.decoders);
        let code = (0..16).find(counted).with_context(|| {
            format!("hdm.decoders: expected 1, 2, 4 and so on to 32, found {}", self.decoders)
        })?;
        let targets = if is_device { 0 } else { u32::from(self.targets.min(15)) };
        let flags = [
            (self.bits_8_to_11, HdmCapability::BITS_8_TO_11),
            (self.bits_12_to_14, HdmCapability::BITS_12_TO_14),
            (self.ways_3_6_12.unwrap_or(is_device), HdmCapability::WAYS_3_6_12),
            (self.ways_16.unwrap_or(is_device), HdmCapability::WAYS_16),
        ];
        let set = flags.iter().filter(|(set, _)| *set);
        Ok(set.fold(HdmCapability(code | targets << 4), |all, (_, flag)| all.union(*flag)))
    }
}

impl DecoderText {
    fn raw(&self, is_device: bool) -> Result<HdmDecoder> {
        let ways = Ways::from_count(self.ways)
            .with_context(|| format!("{} ways; a decoder has 1, 2, 3, 4, 6, 8, 12 or 16", self.ways))?;
        let Size(bytes) = self.granularity;
        let granularity = Granularity::from_bytes(ByteCount(bytes))
            .with_context(|| format!("granularity {bytes} is none of 256, 512, 1K, 2K, 4K, 8K, 16K"))?;
        ensure!(!is_device || self.targets.is_empty(), "a device has no targets");
        ensure!(is_device || self.skip.0 == 0, "only a device has a skip");
        ensure!(self.targets.len() <= 8, "{} targets, registers have room for 8", self.targets.len());
        let mut targets = [0; 8];
        targets[..self.targets.len()].copy_from_slice(&self.targets);
        let flags = [
            (self.lock, HdmControl::LOCK),
            (self.committed, HdmControl::COMMIT.union(HdmControl::COMMITTED)),
            (!self.device_coherent, HdmControl::HOST_ONLY),
        ];
        let control =
            flags.iter().filter(|(set, _)| *set).fold(HdmControl(0), |all, (_, flag)| all.union(*flag));
        let list = if is_device { self.skip.0 } else { u64::from_le_bytes(targets) };
        Ok(HdmDecoder {
            base: PhysAddr(self.range.start).into(),
            size: ByteCount(self.range.size).into(),
            control: control.with_interleave(granularity.code(), ways.code()).into(),
            targets_or_skip: list.into(),
            ..unused()
        })
    }
}
