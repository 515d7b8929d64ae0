//! What an owner wants of memory that comes and goes, as a value and in plain words.

use crate::range::AddressRange;
use crate::units::{BinarySize, ByteCount, NodeId, PhysAddr, ProximityDomain};
use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// A goal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Goal {
    /// More memory.
    Add(Wanted),
    /// A device gone, with all its memory.
    Remove(Target),
    /// A device that can go at any time.
    StayRemovable(Target),
    /// No more movable memory than so many percent of kernel memory.
    KeepRatio(Percent),
}

/// Movable memory in percent of kernel memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(pub u32);

impl Percent {
    /// Reads `3` or `3:1`, how many times as much, or `300%`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(percent) = text.strip_suffix('%') {
            return percent.trim().parse().ok().map(Self);
        }
        let times = text.strip_suffix(":1").unwrap_or(text);
        let (whole, fraction) = times.split_once('.').unwrap_or((times, ""));
        let hundredths = match fraction.len() {
            0 => 0,
            1 => fraction.parse::<u32>().ok()?.checked_mul(10)?,
            2 => fraction.parse().ok()?,
            _ => return None,
        };
        whole.parse::<u32>().ok()?.checked_mul(100)?.checked_add(hundredths).map(Self)
    }
}

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} %", self.0)
    }
}

/// Memory that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// How much.
    pub size: ByteCount,
    /// Where; the first place that has room where nobody says.
    pub at: Option<PhysAddr>,
    /// On which node; the one that the tables name for the address where nobody says.
    pub on: Option<Owner>,
    /// What kind of device brings it.
    pub device: DeviceKind,
    /// In which zone.
    pub zone: WantedZone,
}

/// Whose memory it is to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A node.
    Node(NodeId),
    /// The node of a proximity domain.
    Domain(ProximityDomain),
}

/// What brings memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum DeviceKind {
    /// An ACPI memory device: a DIMM, or what a hypervisor plugs in.
    #[default]
    Dimm,
    /// A CXL region, by way of its DAX device and kmem.
    Cxl,
    /// Soft-reserved memory, by way of its DAX device and kmem.
    SoftReserved,
}

impl DeviceKind {
    const ALL: [Self; 3] = [Self::Dimm, Self::Cxl, Self::SoftReserved];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dimm => "dimm",
            Self::Cxl => "cxl",
            Self::SoftReserved => "hmem",
        }
    }

    /// The kind with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// The zone that is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum WantedZone {
    /// The movable one.
    Movable,
    /// A kernel zone.
    Kernel,
    /// Whatever the settings pick.
    #[default]
    Auto,
}

impl WantedZone {
    const ALL: [Self; 3] = [Self::Movable, Self::Kernel, Self::Auto];

    /// Its name on a command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Movable => "movable",
            Self::Kernel => "kernel",
            Self::Auto => "auto",
        }
    }

    /// The zone with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|zone| zone.name() == name)
    }
}

/// Memory that was added before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A device by its place in the list of devices, from 1.
    Device(u32),
    /// A device by its name.
    Name(String),
    /// The devices whose memory is in a range.
    Range(AddressRange),
    /// All devices of a node.
    Node(NodeId),
}

impl Target {
    /// Reads a target: a number in the list of devices, a range `FIRST-LAST` or `START+SIZE`, `node N`, or a name.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let text = text.trim();
        let node = text.strip_prefix("node").and_then(|rest| rest.trim().parse().ok());
        if let Some(node) = node {
            return Self::Node(NodeId(node));
        }
        match (text.parse(), range(text)) {
            (Ok(number), _) => Self::Device(number),
            (_, Some(range)) => Self::Range(range),
            _ => Self::Name(text.to_owned()),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Device(number) => write!(f, "device {number}"),
            Self::Name(name) => f.write_str(name),
            Self::Range(range) => write!(f, "the memory at {range}"),
            Self::Node(node) => write!(f, "the added memory of node {node}"),
        }
    }
}

impl fmt::Display for Goal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Add(wanted) => {
                let device = match wanted.device {
                    DeviceKind::Dimm => "a DIMM of",
                    DeviceKind::Cxl => "CXL memory of",
                    DeviceKind::SoftReserved => "soft-reserved memory of",
                };
                write!(f, "add {device} {}", BinarySize(wanted.size))?;
                if let Some(at) = wanted.at {
                    write!(f, " at {at:#x}")?;
                }
                match wanted.on {
                    Some(Owner::Node(node)) => write!(f, " on node {node}")?,
                    Some(Owner::Domain(domain)) => write!(f, " in domain {domain}")?,
                    None => {}
                }
                match wanted.zone {
                    WantedZone::Movable => f.write_str(", movable"),
                    WantedZone::Kernel => f.write_str(", in a kernel zone"),
                    WantedZone::Auto => Ok(()),
                }
            }
            Self::Remove(target) => write!(f, "remove {target}"),
            Self::StayRemovable(target) => write!(f, "be able to remove {target}"),
            Self::KeepRatio(ratio) => write!(f, "keep movable memory within {ratio} of kernel memory"),
        }
    }
}

/// What is wrong with a goal in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GoalError {
    /// The word, or what is missing.
    pub found: String,
    /// What was expected.
    pub expected: &'static str,
}

impl fmt::Display for GoalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}, found {}", self.expected, self.found)
    }
}

impl core::error::Error for GoalError {}

fn wrong(found: impl Into<String>, expected: &'static str) -> GoalError {
    GoalError { found: found.into(), expected }
}

/// What a sentence asks for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Verb {
    Add,
    Remove,
    StayRemovable,
    Keep,
}

/// Words that carry nothing.
const FILLERS: [&str; 37] = [
    "a", "an", "the", "of", "as", "in", "into", "on", "onto", "at", "to", "from", "with", "by", "it", "its",
    "be", "i", "we", "want", "would", "like", "please", "more", "another", "new", "memory", "ram", "zone",
    "numa", "so", "that", "can", "is", "for", "all", "able",
];

/// What to expect of a goal.
const GOALS: &str = "add SIZE of CXL|DIMM|soft-reserved memory [at ADDRESS] [on node N | in domain N] [as movable|kernel], \
                     remove device N, be able to remove device N, or keep the movable to kernel ratio at N";

impl Goal {
    /// Reads goals in plain words, several joined by `then` or `;`. Case, fillers and their order do not matter.
    ///
    /// # Errors
    /// When a word is not understood, or something is missing.
    pub fn parse(text: &str) -> Result<Vec<Self>, GoalError> {
        let text = text.to_lowercase().replace(" then ", ";");
        let parts = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        let goals = parts.map(Self::parse_one).collect::<Result<Vec<_>, _>>()?;
        if goals.is_empty() { Err(wrong("nothing", GOALS)) } else { Ok(goals) }
    }

    fn parse_one(text: &str) -> Result<Self, GoalError> {
        let words = text.split(|c: char| c.is_whitespace() || c == ',');
        let words: Vec<&str> = words
            .map(|word| word.trim_end_matches(['.', '!', '?', ':']))
            .filter(|word| !word.is_empty())
            .collect();
        let verb = verb(&words).ok_or_else(|| wrong(format!("{text:?}"), GOALS))?;
        let mut read = Read::default();
        let mut rest = words.as_slice();
        while let Some((word, after)) = rest.split_first() {
            rest = read.word(word, after)?;
        }
        read.goal(verb)
    }
}

fn verb(words: &[&str]) -> Option<Verb> {
    let has = |known: &[&str]| words.iter().any(|word| known.contains(word));
    let able = has(&["able", "removable", "unpluggable"]) || (has(&["can"]) && has(&["remove", "unplug"]));
    if has(&["ratio"]) {
        Some(Verb::Keep)
    } else if able {
        Some(Verb::StayRemovable)
    } else if has(&["remove", "unplug", "eject", "detach"]) {
        Some(Verb::Remove)
    } else if has(&["add", "plug", "hotplug", "attach"]) {
        Some(Verb::Add)
    } else {
        None
    }
}

/// What the words of a sentence say.
#[derive(Default)]
struct Read {
    size: Option<ByteCount>,
    at: Option<PhysAddr>,
    node: Option<NodeId>,
    domain: Option<ProximityDomain>,
    device: Option<DeviceKind>,
    zone: Option<WantedZone>,
    target: Option<Target>,
    ratio: Option<Percent>,
    about_ratio: bool,
}

impl Read {
    /// Takes one word, and those behind it that belong to it; the rest.
    fn word<'w>(&mut self, word: &str, after: &'w [&'w str]) -> Result<&'w [&'w str], GoalError> {
        let next = after.first().copied();
        let behind = after.get(1..).unwrap_or_default();
        let small = |expected| {
            let number = next.and_then(|text| text.parse::<u32>().ok());
            number.ok_or_else(|| wrong(next.unwrap_or("the end"), expected))
        };
        match word {
            "add" | "plug" | "hotplug" | "attach" | "remove" | "unplug" | "eject" | "detach"
            | "removable" | "unpluggable" | "keep" | "hold" | "out" => Ok(after),
            "ratio" => {
                self.about_ratio = true;
                Ok(after)
            }
            "movable" | "moveable" => {
                self.zone = Some(WantedZone::Movable);
                Ok(after)
            }
            "kernel" | "normal" | "unmovable" => {
                self.zone = Some(WantedZone::Kernel);
                Ok(after)
            }
            "cxl" | "region" => {
                self.device = Some(DeviceKind::Cxl);
                Ok(after)
            }
            "dimm" | "dimms" | "acpi" => {
                self.device = Some(DeviceKind::Dimm);
                Ok(after)
            }
            "hmem" | "soft-reserved" | "specific-purpose" => {
                self.device = Some(DeviceKind::SoftReserved);
                Ok(after)
            }
            "node" => {
                self.node = Some(NodeId(small("the number of a node")?));
                Ok(behind)
            }
            "domain" | "pxm" => {
                self.domain = Some(ProximityDomain(small("the number of a domain")?));
                Ok(behind)
            }
            "device" => {
                let name = next.ok_or_else(|| wrong("the end", "the number or name of a device"))?;
                self.target = Some(Target::parse(name));
                Ok(behind)
            }
            filler if FILLERS.contains(&filler) => Ok(after),
            _ => self.value(word, after),
        }
    }

    /// Takes a word that is a number of some kind.
    fn value<'w>(&mut self, word: &str, after: &'w [&'w str]) -> Result<&'w [&'w str], GoalError> {
        if self.about_ratio {
            self.ratio = Some(Percent::parse(word).ok_or_else(|| wrong(word, "a ratio: 3, 3:1 or 300%"))?);
            return Ok(after);
        }
        if let Some(range) = range(word) {
            self.target = Some(Target::Range(range));
            return Ok(after);
        }
        if let Some(address) = word.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok())
        {
            self.at = Some(PhysAddr(address));
            return Ok(after);
        }
        if word.starts_with("dax") || word.starts_with("pnp0c80") {
            self.target = Some(Target::Name(word.to_owned()));
            return Ok(after);
        }
        // The unit may stand apart; a number without one is no size.
        let bare = word.ends_with(|c: char| c.is_ascii_digit());
        let joined = after.first().filter(|_| bare).and_then(|unit| size(&format!("{word}{unit}")));
        if let Some(size) = joined.or_else(|| size(word).filter(|_| !bare)) {
            self.size = Some(size);
            return Ok(after.get(usize::from(bare)..).unwrap_or_default());
        }
        Err(wrong(format!("{word:?}"), GOALS))
    }

    fn goal(self, verb: Verb) -> Result<Goal, GoalError> {
        let of_node = self.node.map(Target::Node);
        let target = || {
            self.target.clone().or(of_node).ok_or_else(|| wrong("no device", "device N, a range or node N"))
        };
        match verb {
            Verb::Add => {
                let domain = self.domain.map(Owner::Domain);
                Ok(Goal::Add(Wanted {
                    size: self.size.ok_or_else(|| wrong("no size", "a size, such as 512 GiB"))?,
                    at: self.at,
                    on: self.node.map(Owner::Node).or(domain),
                    device: self.device.unwrap_or_default(),
                    zone: self.zone.unwrap_or_default(),
                }))
            }
            Verb::Remove => target().map(Goal::Remove),
            Verb::StayRemovable => target().map(Goal::StayRemovable),
            Verb::Keep => {
                let ratio = self.ratio.ok_or_else(|| wrong("no ratio", "a ratio: 3, 3:1 or 300%"))?;
                Ok(Goal::KeepRatio(ratio))
            }
        }
    }
}

/// A size such as `512GiB`, `512G`, `0.5t` or `1024`; all units are powers of 1024.
#[must_use]
pub fn size(text: &str) -> Option<ByteCount> {
    let text = text.trim().to_lowercase();
    if let Some(digits) = text.strip_prefix("0x") {
        return u64::from_str_radix(digits, 16).ok().map(ByteCount);
    }
    let at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(at)?;
    let shift = match unit.trim() {
        "" | "b" | "bytes" => 0_u32,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        "t" | "tb" | "tib" => 40,
        "p" | "pb" | "pib" => 50,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let unit = 1_u64.checked_shl(shift)?;
    let mut bytes = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    if !fraction.is_empty() {
        let scale = 10_u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
        let part = fraction.parse::<u64>().ok()?.checked_mul(unit)?.checked_div(scale)?;
        bytes = bytes.checked_add(part)?;
    }
    Some(ByteCount(bytes))
}

/// A range such as `0x1000-0x1fff`, with its last address inside, or `0x1000+4K`.
#[must_use]
pub fn range(text: &str) -> Option<AddressRange> {
    let address = |text: &str| u64::from_str_radix(text.trim().strip_prefix("0x")?, 16).ok();
    if let Some((start, length)) = text.split_once('+') {
        return AddressRange::from_base_size(PhysAddr(address(start)?), size(length)?);
    }
    let (start, last) = text.split_once('-')?;
    Some(AddressRange::new(PhysAddr(address(start)?), PhysAddr(address(last)?.checked_add(1)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(text: &str) -> Goal {
        let mut goals = Goal::parse(text).unwrap();
        assert_eq!(goals.len(), 1);
        goals.remove(0)
    }

    #[test]
    fn plain_words_become_goals() {
        let wanted = Wanted {
            size: ByteCount(512 << 30),
            at: None,
            on: None,
            device: DeviceKind::Cxl,
            zone: WantedZone::Movable,
        };
        for text in [
            "add 512 GiB of CXL as movable",
            "Add 512GB CXL, movable",
            "I want 512 G more movable memory from CXL: add it.",
            "plug in 0.5 TiB of CXL memory into the movable zone",
        ] {
            assert_eq!(one(text), Goal::Add(wanted), "{text}");
        }
        assert_eq!(
            one("add a DIMM of 1 GiB at 0x100000000 on node 1 as kernel memory"),
            Goal::Add(Wanted {
                size: ByteCount(1 << 30),
                at: Some(PhysAddr(1 << 32)),
                on: Some(Owner::Node(NodeId(1))),
                device: DeviceKind::Dimm,
                zone: WantedZone::Kernel,
            })
        );
        assert_eq!(one("be able to remove device 2"), Goal::StayRemovable(Target::Device(2)));
        assert_eq!(one("keep node 3 removable"), Goal::StayRemovable(Target::Node(NodeId(3))));
        assert_eq!(one("remove dax1.0"), Goal::Remove(Target::Name("dax1.0".to_owned())));
        for text in ["keep the movable to kernel ratio at 3", "hold the ratio at 3:1", "keep ratio 300%"] {
            assert_eq!(one(text), Goal::KeepRatio(Percent(300)), "{text}");
        }
        assert_eq!(Goal::parse("add 1G of CXL then remove device 1").unwrap().len(), 2);
    }

    #[test]
    fn what_is_not_understood_is_named() {
        let fault = |text: &str| Goal::parse(text).unwrap_err().found;
        assert_eq!(fault("add 3 bananas"), "\"3\"");
        assert_eq!(fault("add CXL memory"), "no size");
        assert_eq!(fault("remove"), "no device");
        assert_eq!(fault("add 1G on node x"), "x");
        assert_eq!(fault("dance"), "\"dance\"");
        assert_eq!(fault(" "), "nothing");
    }

    #[test]
    fn ranges_and_targets() {
        let expected = AddressRange::new(PhysAddr(0x1000), PhysAddr(0x2000));
        assert_eq!((range("0x1000-0x1fff"), range("0x1000+4K")), (Some(expected), Some(expected)));
        assert_eq!(Target::parse("2"), Target::Device(2));
        assert_eq!(Target::parse("node 2"), Target::Node(NodeId(2)));
        assert_eq!(Target::parse("0x1000+4K"), Target::Range(expected));
        assert_eq!(size("1.75GiB"), Some(ByteCount(1792 << 20)));
    }
}
