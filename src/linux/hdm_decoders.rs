//! Decoders as their registers say (`drivers/cxl/core/hdm.c`): which of them there are, what each does, and which state
//! of the registers makes a port unusable.

use super::events::Errno;
use super::reason::{Notes, Reason, Section, Subject};
use super::rules;
use crate::region::{Granularity, Ways};
use crate::tables::hdm::{HdmControl, HdmDecoder, HdmGlobalControl};
use crate::topology::cxl::{CxlTree, Decoder, DpaRange, Memdev, Mode, Port, PortKind, TargetType};
use crate::topology::cxl_registers::PortRegisters;
use crate::units::{ByteCount, DeviceAddr, PhysAddr};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

/// Why registers make a port unusable.
struct Refusal(Errno, String);

fn refused<T>(errno: Errno, what: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal(errno, what.into()))
}

/// Makes the decoders of every port whose registers are known, in the order of the ports: those above come before those
/// below. What was known of such a port otherwise gives way, but for the region that a decoder is in.
pub(crate) fn enumerate(tree: &mut CxlTree, notes: &mut Notes) {
    if tree.registers.is_empty() {
        return;
    }
    for port in tree.ports.clone() {
        let Some(registers) = tree.registers.get(&port.name).cloned() else { continue };
        let memdev = tree.memdev_of(&port).cloned();
        let known: Vec<Decoder> = tree.decoders_of(&port.name).cloned().collect();
        tree.decoders.retain(|decoder| decoder.port != port.name);
        if registers.control.contains(HdmGlobalControl::ENABLED) || !any_committed(&registers) {
            match decoders(&port, &registers, memdev.as_ref(), &known) {
                Ok(decoders) => {
                    let committed = registers.decoders.iter().filter(|decoder| is_committed(decoder)).count();
                    set_committed(tree, &port.name, u32::try_from(committed).ok());
                    tree.decoders.extend(decoders);
                }
                Err(Refusal(errno, what)) => {
                    let detail = format!("{}: {errno}: {what}", shown(&port));
                    notes.reason(Subject::Cxl, Reason::new(rules::DECODERS_REFUSED).because(detail));
                    set_committed(tree, &port.name, None);
                    drop_below(tree, &port, notes);
                }
            }
        } else {
            // Linux then goes by the ranges of CXL 1.1, which are in another place.
            set_committed(tree, &port.name, None);
            let missing = format!("the DVSEC ranges of {}, whose HDM decoders are not enabled", shown(&port));
            notes.missing(Section::CxlDevices, missing);
        }
    }
    tree.sort();
}

/// A port by its name and that of its device.
fn shown(port: &Port) -> String {
    match &port.host {
        Some(host) => format!("{} ({host})", port.name),
        None => port.name.clone(),
    }
}

fn set_committed(tree: &mut CxlTree, name: &str, count: Option<u32>) {
    if let Some(port) = tree.ports.iter_mut().find(|port| port.name == name) {
        port.decoders_committed = count;
    }
}

/// Devices below a port that does not come up have no endpoint, and their decoders do nothing.
fn drop_below(tree: &mut CxlTree, port: &Port, notes: &mut Notes) {
    let mut names = Vec::from([port.name.clone()]);
    // A parent stands before what is below it.
    for below in &tree.ports {
        if below.parent.as_ref().is_some_and(|parent| names.contains(parent)) {
            names.push(below.name.clone());
        }
    }
    for name in names.iter().skip(1) {
        let detail = format!("{name}: it is below {}", shown(port));
        notes.reason(Subject::Cxl, Reason::new(rules::PORT_UNREACHABLE).because(detail));
    }
    tree.decoders.retain(|decoder| !names.contains(&decoder.port));
    tree.registers.retain(|name, _| !names.contains(name));
}

fn is_committed(decoder: &HdmDecoder) -> bool {
    decoder.control.get().contains(HdmControl::COMMITTED)
}

fn any_committed(registers: &PortRegisters) -> bool {
    registers.decoders.iter().any(is_committed)
}

/// The decoders of one port (`devm_cxl_enumerate_decoders`). One that is wrong makes all of them fail.
fn decoders(
    port: &Port,
    registers: &PortRegisters,
    memdev: Option<&Memdev>,
    known: &[Decoder],
) -> Result<Vec<Decoder>, Refusal> {
    if registers.capability.decoder_count().is_none() {
        return refused(Errno::NoDevice, "its capability counts its decoders by a reserved code");
    }
    let mut made: Vec<Decoder> = Vec::new();
    let mut base = DeviceAddr(0);
    let mut next = 0;
    for (index, raw) in (0_u32..).zip(&registers.decoders) {
        let named = |what: &str| format!("decoder {index} {what}");
        let control = raw.control.get();
        let (start, size) = (raw.base.get(), raw.size.get());
        let committed = is_committed(raw);
        if start.0 == u64::MAX || (committed && size.0 == u64::MAX) {
            return refused(Errno::NoDevice, named("has registers that read as all ones"));
        }
        if committed && index != next {
            return refused(Errno::NoDevice, named("is committed, one before it is not"));
        }
        if committed && size.0 == 0 {
            return refused(Errno::NoDevice, named("is committed with size 0"));
        }
        let Ok(ways) = Ways::try_from(control.ways()) else {
            return refused(
                Errno::Invalid,
                named(&format!("has the reserved ways code {:#x}", control.ways().0)),
            );
        };
        let Ok(granularity) = Granularity::try_from(control.granularity()) else {
            let code = control.granularity().0;
            return refused(Errno::Invalid, named(&format!("has the reserved granularity code {code:#x}")));
        };
        let old = known.iter().find(|old| old.index == index);
        let mut decoder = Decoder {
            name: format!("decoder{}.{index}", crate::topology::cxl::numbers(&port.name).0),
            port: port.name.clone(),
            index,
            start: if committed { start } else { PhysAddr(0) },
            size: if committed { size } else { ByteCount(0) },
            ways: u32::from(ways.count()),
            granularity: Some(granularity.bytes()),
            targets: Vec::new(),
            target_type: Some(TargetType::Expander),
            locked: Some(committed && control.contains(HdmControl::LOCK)),
            region: old.filter(|_| committed).and_then(|old| old.region.clone()),
            dpa: None,
            mode: None,
            root: None,
        };
        if committed {
            next = index.saturating_add(1);
            let host_only = control.contains(HdmControl::HOST_ONLY);
            decoder.target_type =
                Some(if host_only { TargetType::Expander } else { TargetType::Accelerator });
            if port.kind == PortKind::Endpoint {
                let (dpa, mode) =
                    device_memory(raw, ways, base, memdev).map_err(|what| Refusal(what.0, named(&what.1)))?;
                base = DeviceAddr(dpa.start.0.saturating_add(dpa.size.0));
                (decoder.dpa, decoder.mode) = (Some(dpa), mode);
            } else {
                let count = usize::from(ways.count());
                decoder.targets = raw.targets().into_iter().take(count).map(u32::from).collect();
            }
        }
        made.push(decoder);
    }
    Ok(made)
}

/// The device memory of a committed decoder, behind that of the one before it, and its kind.
fn device_memory(
    raw: &HdmDecoder,
    ways: Ways,
    base: DeviceAddr,
    memdev: Option<&Memdev>,
) -> Result<(DpaRange, Option<Mode>), Refusal> {
    let ways = u64::from(ways.count());
    let size = raw.size.get();
    if size.0.checked_rem(ways) != Some(0) {
        return refused(
            Errno::NoDevice,
            format!("has {:#x} bytes, which its {ways} ways do not divide", size.0),
        );
    }
    let share = ByteCount(size.0.checked_div(ways).unwrap_or_default());
    let start = base.0.checked_add(raw.skip().0);
    let end = start.and_then(|start| start.checked_add(share.0));
    let (Some(start), Some(end)) = (start, end) else {
        return refused(Errno::Busy, "leads behind the memory of the device");
    };
    let Some(memdev) = memdev else { return Ok((DpaRange { start: DeviceAddr(start), size: share }, None)) };
    let ram = memdev.ram_size.0;
    if end > ram.saturating_add(memdev.pmem_size.0) {
        return refused(Errno::Busy, "leads behind the memory of the device");
    }
    let mode = match (end <= ram, start >= ram) {
        (true, _) => Some(Mode::Ram),
        (false, true) => Some(Mode::Pmem),
        (false, false) => None,
    };
    Ok((DpaRange { start: DeviceAddr(start), size: share }, mode))
}
