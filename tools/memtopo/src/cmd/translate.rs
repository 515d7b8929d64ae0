//! `memtopo translate`: system addresses of a CXL region as devices and their addresses, and back.

use super::prepare;
use crate::args::{Translate, TranslateFormat, When, number};
use crate::term;
use anyhow::{Context, Result, bail, ensure};
use memtopo::linux::plan;
use memtopo::linux::region_map::{Byte, MappedRegion, RegionMap, Untranslated};
use memtopo::region::Place;
use memtopo::render::translate::{translate_json, translate_text};
use memtopo::units::{DeviceAddr, PhysAddr};

/// Runs the command.
pub(crate) fn run(args: &Translate, color: When) -> Result<()> {
    prepare::machine(&args.machine, |inputs| {
        let plan = plan(inputs);
        let region = find(&plan.places.regions, &args.region)?;
        let map = region.map.as_ref().map_err(|why| {
            let unknown = plan.unknown.iter().map(|unknown| format!("; needs {}", unknown.missing));
            anyhow::anyhow!("{}: {why}{}", region.name, unknown.collect::<String>())
        })?;
        let asked = args.hpa.iter().map(|address| by_address(map, address));
        let asked = asked.chain(args.dpa.iter().map(|place| by_device(map, place)));
        let answers = asked.collect::<Result<Vec<_>>>().with_context(|| region.name.clone())?;
        match args.format {
            TranslateFormat::Text => {
                term::print(|out| translate_text(out, map, &answers, term::colour(color)))?;
            }
            TranslateFormat::Json => {
                term::print(|out| translate_json(out, &region.name, map, &answers))?;
            }
        }
        // All that could be answered stands on standard output; the first that could not is the error.
        match answers.iter().find_map(|(_, answer)| answer.err()) {
            Some(refusal) => bail!("{}: {refusal}", region.name),
            None => Ok(()),
        }
    })
}

/// The region with this name.
pub(crate) fn find<'p>(regions: &'p [MappedRegion], name: &str) -> Result<&'p MappedRegion> {
    regions.iter().find(|region| region.name == name).with_context(|| {
        let known: Vec<&str> = regions.iter().map(|region| region.name.as_str()).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        format!("no region {name:?}: the plan has {known}")
    })
}

type Answer<'a> = (&'a str, Result<Byte<'a>, Untranslated>);

fn by_address<'a>(map: &'a RegionMap, text: &'a str) -> Result<Answer<'a>> {
    let address = number(text).map_err(|error| anyhow::anyhow!("--hpa: {error}"))?;
    Ok((text, map.at(PhysAddr(address))))
}

fn by_device<'a>(map: &'a RegionMap, text: &'a str) -> Result<Answer<'a>> {
    let expected = || format!("--dpa: expected DEVICE:ADDR, found {text:?}");
    let (device, address) = text.rsplit_once(':').with_context(expected)?;
    let address = number(address).map_err(|error| anyhow::anyhow!("{}: {error}", expected()))?;
    let names = || {
        let name = |device: &memtopo::linux::region_map::RegionDevice| device.memdev.clone();
        map.devices.iter().map(name).collect::<Vec<_>>().join(", ")
    };
    ensure!(!device.is_empty(), expected());
    let position =
        map.position(device).with_context(|| format!("no device {device:?}: the region has {}", names()))?;
    Ok((text, map.of_device(Place { position, address: DeviceAddr(address) })))
}
