//! A CXL machine that can be taken apart: bridges, ports, switches and devices of the emulator, what a firmware leaves
//! in their decoders, and wishes.

use super::Candidate;
use crate::case::Case;
use crate::firmware::Programmed;
use anyhow::Result;
use serde_json::Value;

/// Drivers in the order in which the captures load them.
pub const CXL_DRIVERS: [&str; 5] = ["libnvdimm", "cxl_mem", "cxl_pmem", "cxl_acpi", "cxl_pci"];

/// A machine with CXL.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Fabric {
    /// Processors.
    pub processors: u64,
    /// They say that they are emulated, and so the kernel commits no region.
    pub hypervisor: bool,
    /// Host bridges.
    pub bridges: Vec<Bridge>,
    /// Windows of addresses.
    pub windows: Vec<Window>,
    /// Nodes and their figures, beside the one of a plain machine.
    pub nodes: Option<Nodes>,
    /// What firmware programmed.
    pub firmware: Vec<Programmed>,
    /// Kernel parameters.
    pub options: Vec<String>,
    /// Drivers.
    pub modules: Vec<String>,
    /// Events after the boot.
    pub events: Vec<Value>,
}

/// A host bridge.
#[derive(Clone, Debug, PartialEq)]
pub struct Bridge {
    /// Its bus, which is its `_UID` as well.
    pub bus: u64,
    /// It has decoders even with a single root port.
    pub decoders: bool,
    /// Its root ports.
    pub ports: Vec<RootPort>,
}

/// A root port.
#[derive(Clone, Debug, PartialEq)]
pub struct RootPort {
    /// The number that target lists use.
    pub number: u64,
    /// What is behind it.
    pub below: Below,
}

/// What is behind a root port.
#[derive(Clone, Debug, PartialEq)]
pub enum Below {
    /// Nothing.
    Nothing,
    /// A memory device.
    Device(Device),
    /// A switch with devices behind its downstream ports, each with the number of its port.
    Switch(Vec<(u64, Device)>),
}

/// A memory device.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its serial number.
    pub serial: u64,
    /// MiB of volatile memory.
    pub volatile: u64,
    /// MiB of persistent memory.
    pub persistent: u64,
}

/// A window.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Its bridges by position, as places in the list of bridges.
    pub targets: Vec<usize>,
    /// MiB.
    pub mebibytes: u64,
    /// Bytes from one target to the next.
    pub granularity: u64,
}

/// Nodes that the emulator describes.
#[derive(Clone, Debug, PartialEq)]
pub struct Nodes {
    /// Whether the second half of RAM is a node of its own.
    pub second: bool,
    /// Latency and bandwidth from the processors: of each node with RAM, then of each bridge. Without them there is no
    /// HMAT and no generic port.
    pub figures: Vec<Figures>,
}

/// Latency and bandwidth.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Figures {
    /// Nanoseconds.
    pub latency: u64,
    /// MiB/s.
    pub bandwidth: u64,
}

/// RAM, in MiB.
const RAM: u64 = 1024;

impl Fabric {
    /// Every device with its place on the PCI bus and the way to it.
    #[must_use]
    pub fn devices(&self) -> Vec<Placed<'_>> {
        let mut found = Vec::new();
        for (bridge, own) in self.bridges.iter().enumerate() {
            // Firmware numbers buses from each bridge on, depth first.
            let mut bus = own.bus;
            for (slot, port) in own.ports.iter().enumerate() {
                bus += 1;
                match &port.below {
                    Below::Nothing => {}
                    Below::Device(device) => found.push(Placed {
                        device,
                        bridge,
                        port: port.number,
                        slot,
                        switch: None,
                        function: format!("0000:{bus:02x}:00.0"),
                    }),
                    Below::Switch(devices) => {
                        let upstream = format!("0000:{bus:02x}:00.0");
                        bus += 1;
                        for (number, device) in devices {
                            bus += 1;
                            found.push(Placed {
                                device,
                                bridge,
                                port: port.number,
                                slot,
                                switch: Some((upstream.clone(), *number)),
                                function: format!("0000:{bus:02x}:00.0"),
                            });
                        }
                    }
                }
            }
        }
        found
    }

    fn qemu(&self) -> Vec<String> {
        let hmat = self.nodes.as_ref().is_some_and(|nodes| !nodes.figures.is_empty());
        let mut machine = format!("q35,cxl=on{}", if hmat { ",hmat=on" } else { "" });
        for (index, window) in self.windows.iter().enumerate() {
            for (position, bridge) in window.targets.iter().enumerate() {
                machine.push_str(&format!(",cxl-fmw.{index}.targets.{position}=cxl.{bridge}"));
            }
            machine.push_str(&format!(",cxl-fmw.{index}.size={}M", window.mebibytes));
            if window.granularity != 256 {
                machine.push_str(&format!(
                    ",cxl-fmw.{index}.interleave-granularity={}",
                    size(window.granularity)
                ));
            }
        }
        let hypervisor = if self.hypervisor { "" } else { ",-hypervisor" };
        let mut qemu = Vec::new();
        let mut add = |option: &str, value: String| qemu.extend([option.to_owned(), value]);
        add("-machine", machine);
        add("-cpu", format!("qemu64,phys-bits=46{hypervisor}"));
        add("-m", format!("{RAM}M"));
        add("-smp", self.processors.to_string());
        let mut slot = 0;
        let mut next_slot = || {
            slot += 1;
            slot - 1
        };
        for (index, bridge) in self.bridges.iter().enumerate() {
            let decoders = if bridge.decoders { ",hdm_for_passthrough=true" } else { "" };
            add("-device", format!("pxb-cxl,bus_nr={},bus=pcie.0,id=cxl.{index}{decoders}", bridge.bus));
            for port in &bridge.ports {
                let name = format!("rp{index}_{}", port.number);
                let slot = next_slot();
                let number = port.number;
                add(
                    "-device",
                    format!("cxl-rp,port={number},bus=cxl.{index},id={name},chassis=0,slot={slot}"),
                );
                match &port.below {
                    Below::Nothing => {}
                    Below::Device(device) => device.add(&name, &mut add),
                    Below::Switch(devices) => {
                        let switch = format!("us{index}_{number}");
                        add("-device", format!("cxl-upstream,bus={name},id={switch}"));
                        for (number, device) in devices {
                            let name = format!("{}_{number}", switch.replacen("us", "ds", 1));
                            let slot = next_slot();
                            add(
                                "-device",
                                format!(
                                    "cxl-downstream,port={number},bus={switch},id={name},chassis=0,slot={slot}"
                                ),
                            );
                            device.add(&name, &mut add);
                        }
                    }
                }
            }
        }
        if let Some(nodes) = &self.nodes {
            nodes.add(self.processors, self.bridges.len(), &mut add);
        }
        qemu
    }
}

/// A device and the way to it.
#[derive(Clone, Debug)]
pub struct Placed<'a> {
    /// The device.
    pub device: &'a Device,
    /// The place of its bridge among bridges.
    pub bridge: usize,
    /// The number of its root port.
    pub port: u64,
    /// The place of its root port among those of the bridge.
    pub slot: usize,
    /// The upstream port of its switch, and the number of its downstream port there.
    pub switch: Option<(String, u64)>,
    /// Its own function.
    pub function: String,
}

impl Device {
    fn add(&self, bus: &str, add: &mut impl FnMut(&str, String)) {
        let serial = self.serial;
        let mut memory = String::new();
        for (name, option, mebibytes) in
            [("vm", "volatile-memdev", self.volatile), ("pm", "persistent-memdev", self.persistent)]
        {
            if mebibytes > 0 {
                add("-object", format!("memory-backend-ram,id={name}{serial},size={mebibytes}M"));
                memory.push_str(&format!(",{option}={name}{serial}"));
            }
        }
        if self.persistent > 0 {
            add("-object", format!("memory-backend-ram,id=ls{serial},size=1M"));
            memory.push_str(&format!(",lsa=ls{serial}"));
        }
        add("-device", format!("cxl-type3,bus={bus}{memory},id=dev{serial},sn={serial}"));
    }
}

impl Nodes {
    fn add(&self, processors: u64, bridges: usize, add: &mut impl FnMut(&str, String)) {
        let halves = if self.second { 2 } else { 1 };
        let initiator = if self.figures.is_empty() { "" } else { ",initiator=0" };
        for node in 0..halves {
            add("-object", format!("memory-backend-ram,id=m{node},size={}M", RAM / halves));
        }
        let last = processors - 1;
        add("-numa", format!("node,nodeid=0,memdev=m0,cpus=0-{last}"));
        if self.second {
            add("-numa", format!("node,nodeid=1,memdev=m1{initiator}"));
        }
        if self.figures.is_empty() {
            return;
        }
        for bridge in 0..bridges as u64 {
            add("-numa", format!("node,nodeid={},initiator=0", halves + bridge));
        }
        for bridge in 0..bridges as u64 {
            let node = halves + bridge;
            add("-object", format!("acpi-generic-port,id=gp{bridge},pci-bus=cxl.{bridge},node={node}"));
        }
        for (target, figures) in self.figures.iter().enumerate() {
            let start = format!("hmat-lb,initiator=0,target={target},hierarchy=memory");
            add("-numa", format!("{start},data-type=access-latency,latency={}", figures.latency));
            add("-numa", format!("{start},data-type=access-bandwidth,bandwidth={}M", figures.bandwidth));
        }
    }
}

/// A granularity as the emulator takes it.
fn size(bytes: u64) -> String {
    if bytes >= 1024 { format!("{}k", bytes / 1024) } else { bytes.to_string() }
}

impl Candidate for Fabric {
    fn tables(&self) -> Result<Vec<(String, Vec<u8>)>> {
        Ok(Vec::new())
    }

    fn case(&self, name: &str, description: &str) -> Case {
        Case {
            name: name.to_owned(),
            description: description.to_owned(),
            tags: vec!["cxl".to_owned()],
            qemu: self.qemu(),
            cmdline: self.options.join(" "),
            firmware: self.firmware.clone(),
            modules: self.modules.clone(),
            settle: u32::from(!self.modules.is_empty()),
            events: self.events.clone(),
            ..Case::default()
        }
    }

    /// Bridges and windows stay: everything else is named by them.
    fn simpler(&self) -> Vec<Self> {
        let mut found: Vec<Self> = Vec::new();
        let mut try_to = |change: &dyn Fn(&mut Self)| {
            let mut candidate = self.clone();
            change(&mut candidate);
            if candidate != *self && !found.contains(&candidate) {
                found.push(candidate);
            }
        };
        try_to(&|m| m.events.clear());
        try_to(&|m| m.firmware.clear());
        let count = self.events.len();
        if count > 1 {
            try_to(&|m| m.events.truncate(count / 2));
        }
        for index in (0..count).rev() {
            try_to(&|m| {
                m.events.remove(index);
            });
        }
        try_to(&|m| m.nodes = None);
        try_to(&|m| m.modules.retain(|driver| CXL_DRIVERS.contains(&driver.as_str())));
        for index in 0..self.options.len() {
            try_to(&|m| {
                m.options.remove(index);
            });
        }
        for index in 0..self.firmware.len() {
            try_to(&|m| {
                m.firmware.remove(index);
            });
        }
        for bridge in 0..self.bridges.len() {
            // From the end, so that the buses of the others keep their numbers.
            let last = self.bridges[bridge].ports.last().map(|port| port.below == Below::Nothing);
            try_to(&|m| {
                if let Some(port) = m.bridges[bridge].ports.last_mut() {
                    port.below = Below::Nothing;
                }
            });
            if last == Some(true) {
                try_to(&|m| {
                    m.bridges[bridge].ports.pop();
                });
            }
        }
        try_to(&|m| m.processors = 1);
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buses_are_numbered_as_the_captured_machines_have_them() {
        let device = |serial| Device { serial, volatile: 256, persistent: 0 };
        let switch = Below::Switch(vec![(0, device(1)), (1, device(2))]);
        let port = |number, below| RootPort { number, below };
        let ports = vec![port(0, switch), port(1, Below::Nothing), port(2, Below::Device(device(3)))];
        let machine = Fabric {
            processors: 1,
            bridges: vec![Bridge { bus: 0x20, decoders: false, ports }],
            ..Fabric::default()
        };
        let functions: Vec<_> = machine.devices().into_iter().map(|placed| placed.function).collect();
        assert_eq!(functions, ["0000:23:00.0", "0000:24:00.0", "0000:26:00.0"]);
        assert_eq!(machine.devices()[1].switch, Some(("0000:21:00.0".to_owned(), 1)));
    }
}
