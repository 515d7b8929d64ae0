//! What does not fit together in a CXL hierarchy: each is told, and what is sound goes on without it.

use super::reason::{Fact, Notes, Reason, Subject};
use super::rules;
use super::windows::Root;
use crate::tables::cedt::CxlVersion;
use crate::topology::cxl::{CxlTree, PortKind, numbers};
use alloc::format;
use alloc::string::String;

/// Tells what is missing or cannot be in a hierarchy, before regions are put together. `bridges` are those below the
/// root.
pub(super) fn report(tree: &CxlTree, root: &Root, bridges: &[u32], notes: &mut Notes) {
    let mut tell = |rule, detail: String| {
        notes.reason(Subject::Cxl, Reason::new(rule).because(detail));
    };
    for memdev in &tree.memdevs {
        let attached = tree
            .ports
            .iter()
            .any(|port| port.kind == PortKind::Endpoint && port.host.as_ref() == Some(&memdev.name));
        if !attached {
            tell(rules::DEVICE_UNATTACHED, memdev.name.clone());
        }
    }
    for decoder in tree.decoders.iter().filter(|decoder| tree.is_committed(decoder)) {
        let of_switch = tree.port(&decoder.port).is_some_and(|port| port.kind == PortKind::Switch);
        let listed = u32::try_from(decoder.targets.len()).unwrap_or(u32::MAX);
        if of_switch && listed < decoder.ways {
            tell(rules::TARGETS_SHORT, format!("{}: {listed} of {}", decoder.name, decoder.ways));
        }
    }
    for decoder in &root.decoders {
        for target in decoder.targets.iter().filter(|target| !bridges.contains(&target.0)) {
            tell(rules::TARGET_ABSENT, format!("decoder0.{}: host bridge {target}", decoder.index));
        }
    }
    for bridge in root.bridges.iter().filter(|bridge| bridge.version == CxlVersion::CXL_1_1) {
        let fact = Fact::at(bridge.source, "UID", u64::from(bridge.uid.0));
        let detail = format!("host bridge {}", bridge.uid);
        notes.reason(Subject::Cxl, Reason::new(rules::HOST_RESTRICTED).with([fact]).because(detail));
    }
}

/// Tells which regions wait for devices, after all endpoints are in.
pub(super) fn report_regions(tree: &CxlTree, notes: &mut Notes) {
    for region in tree.regions.iter().filter(|region| region.committed != Some(true)) {
        let there = region.targets.iter().flatten().count();
        let ways = usize::try_from(region.ways).unwrap_or(usize::MAX);
        if there < ways {
            let number = Fact::known("region", u64::from(numbers(&region.name).0));
            let detail = format!("{}: {there} of {ways} devices are there", region.name);
            notes.reason(Subject::Cxl, Reason::new(rules::DEVICE_ABSENT).with([number]).because(detail));
        }
    }
}
