//! CXL and DAX of a plan for a person: windows, regions, devices.

use super::plan_performance;
use super::style::{Colour, Style};
use crate::linux::cxl_plan::{CxlPlan, DaxPlan, RegionPlan, RootDecoderPlan};
use crate::units::{BinarySize, ByteCount};
use core::fmt::{self, Write};

/// Prints what there is of CXL and DAX; nothing where there is nothing.
pub(crate) fn cxl_text<W: Write>(
    out: &mut W,
    cxl: Option<&CxlPlan>,
    devices: &[DaxPlan],
    colour: Colour,
) -> fmt::Result {
    let windows = cxl.map(|cxl| cxl.root_decoders.as_slice()).unwrap_or_default();
    let regions = cxl.map(|cxl| cxl.regions.as_slice()).unwrap_or_default();
    if !(windows.is_empty() && regions.is_empty() && devices.is_empty()) {
        out.write_char('\n')?;
    }
    for window in windows {
        root_decoder(out, window, colour)?;
    }
    for one in regions {
        region(out, one, colour)?;
    }
    if let Some(cxl) = cxl {
        plan_performance::text(out, &cxl.performance, colour)?;
    }
    for device in devices {
        write!(out, "{}", colour.paint(Style::Title, &device.name))?;
        write!(out, "  {} at {}", BinarySize(device.range.size()), device.range)?;
        if let Some(node) = device.target_node {
            write!(out, ", node {node}")?;
        }
        writeln!(out, ", {}", device.driver.unwrap_or("no driver"))?;
    }
    Ok(())
}

fn interleave<W: Write>(out: &mut W, ways: u32, granularity: Option<ByteCount>) -> fmt::Result {
    match (ways, granularity) {
        (1, _) => out.write_str(", not interleaved"),
        (_, Some(bytes)) => write!(out, ", {ways} ways of {}", BinarySize(bytes)),
        (_, None) => write!(out, ", {ways} ways"),
    }
}

fn root_decoder<W: Write>(out: &mut W, decoder: &RootDecoderPlan, colour: Colour) -> fmt::Result {
    let name = colour.paint(Style::Title, &decoder.name);
    write!(out, "{name}  {} at {:#x}", BinarySize(decoder.size), decoder.start)?;
    interleave(out, decoder.ways, Some(decoder.granularity))?;
    let mut separator = ", bridges ";
    for target in &decoder.targets {
        write!(out, "{separator}{target}")?;
        separator = ",";
    }
    if decoder.locked {
        out.write_str(", locked")?;
    }
    out.write_char('\n')
}

fn region<W: Write>(out: &mut W, region: &RegionPlan, colour: Colour) -> fmt::Result {
    let name = colour.paint(Style::Title, &region.name);
    write!(out, "{name}  {} at {:#x}", BinarySize(region.size), region.start)?;
    if let Some(mode) = region.mode {
        write!(out, ", {}", mode.name())?;
    }
    interleave(out, region.ways, region.granularity)?;
    let state = match (region.committed, region.bound) {
        (true, true) => ", in use",
        (true, false) => ", committed, no driver",
        (false, _) => ", not committed",
    };
    out.write_str(state)?;
    for (place, target) in region.targets.iter().enumerate() {
        let separator = if place == 0 { ": " } else { ", " };
        write!(out, "{separator}{}", target.as_deref().unwrap_or("free"))?;
    }
    out.write_char('\n')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::cedt::WindowRestrictions;
    use crate::topology::cxl::Mode;
    use crate::units::PhysAddr;
    use alloc::borrow::ToOwned;
    use alloc::string::String;
    use alloc::vec;

    #[test]
    fn windows_and_regions_take_a_line_each() {
        let plan = CxlPlan {
            root_decoders: vec![RootDecoderPlan {
                name: "decoder0.0".to_owned(),
                start: PhysAddr(0x1_1000_0000),
                size: ByteCount(4 << 30),
                ways: 2,
                granularity: ByteCount(256),
                targets: vec![32, 64],
                qos_class: 0,
                restrictions: WindowRestrictions(0xf),
                locked: true,
                arithmetic: None,
                cache_size: ByteCount(0),
                next_region: None,
            }],
            regions: vec![RegionPlan {
                name: "region0".to_owned(),
                root_decoder: None,
                start: PhysAddr(0x1_1000_0000),
                size: ByteCount(512 << 20),
                ways: 2,
                granularity: Some(ByteCount(1024)),
                mode: Some(Mode::Ram),
                committed: false,
                bound: false,
                cache_size: ByteCount(0),
                targets: vec![Some("device 1/decoder.0".to_owned()), None],
            }],
            ..CxlPlan::default()
        };
        let mut text = String::new();
        cxl_text(&mut text, Some(&plan), &[], Colour::Off).unwrap();
        assert_eq!(
            text,
            "\ndecoder0.0  4 GiB at 0x110000000, 2 ways of 256 B, bridges 32,64, locked\n\
             region0  512 MiB at 0x110000000, ram, 2 ways of 1 KiB, not committed: device 1/decoder.0, free\n"
        );
        let mut text = String::new();
        cxl_text(&mut text, None, &[], Colour::Off).unwrap();
        assert_eq!(text, "");
    }
}
