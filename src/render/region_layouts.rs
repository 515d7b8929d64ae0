//! The regions that a machine can have: a line for each number of ways and granularity, and the best of them with the
//! commands that make them.

use super::json::JsonWriter;
use super::style::{Colour, Style};
use crate::linux::region_rules::Broken;
use crate::policy::region_layouts::{Best, Layouts, Refused};
use crate::units::BinarySize;
use core::fmt::{self, Write};

/// The layouts, the best by bandwidth and by latency, and how many orders of each are printed.
#[derive(Clone, Debug)]
pub struct Answer {
    /// All of them.
    pub layouts: Layouts,
    /// The best by bandwidth.
    pub by_bandwidth: Option<Best>,
    /// The best by latency.
    pub by_latency: Option<Best>,
    /// How many orders of each are printed.
    pub orders: usize,
}

/// Prints the layouts for a person.
pub fn layouts_text<W: Write>(out: &mut W, answer: &Answer, colour: Colour) -> fmt::Result {
    let layouts = &answer.layouts;
    let window = &layouts.window;
    let name = colour.paint(Style::Heading, "decoder0.");
    write!(out, "{name}{}: {} at {:#x}", window.index, BinarySize(window.size), window.start)?;
    writeln!(out, ", {} free in one piece", BinarySize(layouts.gap))?;
    for device in &layouts.devices {
        write!(out, "{}", colour.paint(Style::Title, &device.memdev))?;
        writeln!(out, "  {} {} free", BinarySize(device.free), layouts.mode.name())?;
    }
    for (device, broken) in &layouts.excluded {
        refused(out, &format_args!("{device} cannot take part"), broken, colour)?;
    }
    if layouts.families.is_empty() {
        out.write_str("\nno layout is legal\n")?;
    } else {
        writeln!(
            out,
            "\n{}",
            colour.paint(Style::Heading, "ways  granularity  orders  levels below the bridges")
        )?;
    }
    for family in &layouts.families {
        write!(out, "{:>4}  {:>11}  {:>6}  ", family.ways, family.granularity, family.orders)?;
        for (place, shape) in family.shapes.iter().enumerate() {
            out.write_str(if place == 0 { "" } else { " or " })?;
            ways_of(out, shape)?;
        }
        out.write_char('\n')?;
        for order in layouts.orders(family, answer.orders) {
            out.write_str("     ")?;
            for device in order {
                let name = layouts.devices.get(device).map_or("", |device| &device.memdev);
                write!(out, " {name}")?;
            }
            out.write_char('\n')?;
        }
    }
    let same = answer.by_bandwidth == answer.by_latency;
    let bests = [("best by bandwidth", &answer.by_bandwidth), ("best by latency", &answer.by_latency)];
    for (title, best) in bests.into_iter().take(if same { 1 } else { 2 }) {
        let Some(best) = best else { continue };
        out.write_char('\n')?;
        best_text(out, layouts, if same { "best" } else { title }, best, colour)?;
    }
    Ok(())
}

/// The ways of each level.
fn ways_of<W: Write>(out: &mut W, shape: &[u8]) -> fmt::Result {
    for (place, ways) in shape.iter().enumerate() {
        write!(out, "{}{ways}", if place == 0 { "" } else { " x " })?;
    }
    Ok(())
}

fn refused<W: Write>(out: &mut W, what: &dyn fmt::Display, broken: &Broken, colour: Colour) -> fmt::Result {
    let rule = broken.rule.rule();
    writeln!(out, "{}: {}: {}", colour.paint(Style::Warning, what), rule.sentence, broken.detail)?;
    writeln!(out, "  {} {} {}", broken.rule.errno(), rule.id, rule.function)
}

/// Prints one layout and the command that makes it.
pub fn best_text<W: Write>(
    out: &mut W,
    layouts: &Layouts,
    title: &str,
    best: &Best,
    colour: Colour,
) -> fmt::Result {
    write!(out, "{}", colour.paint(Style::Title, title))?;
    write!(out, ": {} ways of {} bytes, {}", best.ways, best.granularity, BinarySize(best.size))?;
    match (best.of_processors(), &best.lack) {
        (Some(figures), _) => writeln!(
            out,
            ", {}/{} ns, {}/{} MB/s",
            figures.read_latency, figures.write_latency, figures.read_bandwidth, figures.write_bandwidth
        )?,
        (None, Some(lack)) => writeln!(out, "; how fast is not known: {lack}")?,
        (None, None) => out.write_char('\n')?,
    }
    writeln!(out, "  {}", layouts.command(best.granularity, best.size, &best.order))
}

/// Prints why a wish is not legal, and what is.
pub fn refused_text<W: Write>(out: &mut W, layouts: &Layouts, wish: &Refused, colour: Colour) -> fmt::Result {
    refused(out, &"not legal", &wish.broken, colour)?;
    match &wish.nearest {
        Some(best) => best_text(out, layouts, "nearest", best, colour),
        None => out.write_str("no layout of these devices is legal\n"),
    }
}

/// Prints the layouts as one object.
pub fn layouts_json<W: Write>(out: &mut W, answer: &Answer) -> fmt::Result {
    let layouts = &answer.layouts;
    let mut json = JsonWriter::new(&mut *out);
    begin(&mut json, layouts)?;
    json.key("excluded")?;
    json.begin_array()?;
    for (device, broken) in &layouts.excluded {
        json.begin_object()?;
        json.key("memdev")?;
        json.string(device)?;
        broken_json(&mut json, broken)?;
        json.end_object()?;
    }
    json.end_array()?;
    json.key("layouts")?;
    json.begin_array()?;
    for family in &layouts.families {
        json.begin_object()?;
        json.key("ways")?;
        json.number(family.ways)?;
        json.key("granularity")?;
        json.number(family.granularity)?;
        json.key("orders")?;
        json.number(family.orders)?;
        json.key("levels")?;
        json.begin_array_inline()?;
        for shape in &family.shapes {
            json.begin_array()?;
            shape.iter().try_for_each(|ways| json.number(ways))?;
            json.end_array()?;
        }
        json.end_array()?;
        if answer.orders != 0 {
            json.key("targets")?;
            json.begin_array()?;
            for order in layouts.orders(family, answer.orders) {
                targets_json(&mut json, layouts, &order)?;
            }
            json.end_array()?;
        }
        json.end_object()?;
    }
    json.end_array()?;
    json.key("refused")?;
    json.begin_array()?;
    for (ways, granularity, broken) in &layouts.refused {
        json.begin_object()?;
        json.key("ways")?;
        json.number(ways)?;
        json.key("granularity")?;
        json.number(granularity)?;
        broken_json(&mut json, broken)?;
        json.end_object()?;
    }
    json.end_array()?;
    for (key, best) in [("best_bandwidth", &answer.by_bandwidth), ("best_latency", &answer.by_latency)] {
        if let Some(best) = best {
            json.key(key)?;
            best_json(&mut json, layouts, best)?;
        }
    }
    json.end_object()?;
    out.write_char('\n')
}

/// Prints the answer to a wish as one object.
pub fn wish_json<W: Write>(out: &mut W, layouts: &Layouts, wish: &Result<Best, Refused>) -> fmt::Result {
    let mut json = JsonWriter::new(&mut *out);
    begin(&mut json, layouts)?;
    json.key("legal")?;
    json.bool(wish.is_ok())?;
    match wish {
        Ok(best) => {
            json.key("layout")?;
            best_json(&mut json, layouts, best)?;
        }
        Err(refused) => {
            broken_json(&mut json, &refused.broken)?;
            if let Some(best) = &refused.nearest {
                json.key("nearest")?;
                best_json(&mut json, layouts, best)?;
            }
        }
    }
    json.end_object()?;
    out.write_char('\n')
}

fn begin<W: Write>(json: &mut JsonWriter<W>, layouts: &Layouts) -> fmt::Result {
    json.begin_object()?;
    json.key("schema")?;
    json.string("memtopo.layouts/1")?;
    json.key("window")?;
    json.string(format_args!("decoder0.{}", layouts.window.index))?;
    json.key("mode")?;
    json.string(layouts.mode.name())
}

fn broken_json<W: Write>(json: &mut JsonWriter<W>, broken: &Broken) -> fmt::Result {
    let rule = broken.rule.rule();
    for (key, text) in [("rule", rule.id), ("errno", broken.rule.errno().name()), ("sentence", rule.sentence)]
    {
        json.key(key)?;
        json.string(text)?;
    }
    json.key("detail")?;
    json.string(&broken.detail)
}

fn targets_json<W: Write>(json: &mut JsonWriter<W>, layouts: &Layouts, order: &[usize]) -> fmt::Result {
    json.begin_array_inline()?;
    for device in order.iter().filter_map(|device| layouts.devices.get(*device)) {
        json.string(&device.memdev)?;
    }
    json.end_array()
}

fn best_json<W: Write>(json: &mut JsonWriter<W>, layouts: &Layouts, best: &Best) -> fmt::Result {
    json.begin_object()?;
    json.key("ways")?;
    json.number(best.ways)?;
    json.key("granularity")?;
    json.number(best.granularity)?;
    json.key("size")?;
    json.string(format_args!("{:#x}", best.size.0))?;
    json.key("targets")?;
    targets_json(json, layouts, &best.order)?;
    if let Some(figures) = best.of_processors() {
        for (key, value) in [
            ("read_latency", figures.read_latency.0),
            ("write_latency", figures.write_latency.0),
            ("read_bandwidth", figures.read_bandwidth.0),
            ("write_bandwidth", figures.write_bandwidth.0),
        ] {
            json.key(key)?;
            json.number(value)?;
        }
    }
    if let Some(lack) = &best.lack {
        json.key("unknown")?;
        json.string(lack)?;
    }
    json.key("command")?;
    json.string(layouts.command(best.granularity, best.size, &best.order))?;
    json.end_object()
}
