//! What can be set at run time, or on the command line, about memory that comes and goes
//! (`mm/memory_hotplug.c`, `drivers/base/memory.c`, `mm/memory-tiers.c`).

use super::added::OnlinePolicy;
use super::command_line::parse_integer;
use super::kernel::Kernel;
use alloc::format;
use alloc::string::String;
use core::fmt;

/// How the kernel picks a zone when nobody asks for one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum ZonePolicy {
    /// The zone whose span the memory lies in; otherwise a kernel zone.
    #[default]
    ContigZones,
    /// The movable zone as long as there is little of it compared with kernel memory.
    AutoMovable,
}

impl ZonePolicy {
    /// Its name, as `online_policy` has it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ContigZones => "contig-zones",
            Self::AutoMovable => "auto-movable",
        }
    }

    fn from_name(name: &str) -> Option<Self> {
        [Self::ContigZones, Self::AutoMovable].into_iter().find(|policy| policy.name() == name)
    }
}

/// Whether added memory holds its own page structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum MemmapOnMemory {
    /// It does not.
    #[default]
    Off,
    /// It does where that wastes nothing.
    On,
    /// It does even where that wastes some.
    Force,
}

impl MemmapOnMemory {
    /// Its name, as `memmap_on_memory` reads.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "N",
            Self::On => "Y",
            Self::Force => "force",
        }
    }
}

/// The settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How added memory comes online by itself (`auto_online_blocks`).
    pub auto_online: OnlinePolicy,
    /// How a zone is picked (`memory_hotplug.online_policy`).
    pub zone_policy: ZonePolicy,
    /// Movable memory in percent of kernel memory that the auto-movable policy allows
    /// (`memory_hotplug.auto_movable_ratio`).
    pub movable_ratio: u32,
    /// Whether it looks at the node by itself as well (`memory_hotplug.auto_movable_numa_aware`).
    pub numa_aware: bool,
    /// Whether added memory holds its own page structures (`memory_hotplug.memmap_on_memory`).
    pub memmap_on_memory: MemmapOnMemory,
    /// Whether cold pages are demoted at all (`/sys/kernel/mm/numa/demotion_enabled`).
    pub demotion: bool,
}

/// One setting that can be changed at run time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Setting {
    /// `auto_online_blocks`.
    AutoOnlineBlocks(OnlinePolicy),
    /// `online_policy`.
    OnlinePolicy(ZonePolicy),
    /// `auto_movable_ratio`, in percent.
    AutoMovableRatio(u32),
    /// `auto_movable_numa_aware`.
    AutoMovableNumaAware(bool),
    /// `demotion_enabled`.
    DemotionEnabled(bool),
}

impl Setting {
    /// Names of the settings.
    pub const NAMES: [&'static str; 5] = [
        "auto_online_blocks",
        "online_policy",
        "auto_movable_ratio",
        "auto_movable_numa_aware",
        "demotion_enabled",
    ];

    /// The setting that writing `value` to the file `name` makes; `None` for a value that the kernel refuses, or a
    /// name that is none of [`NAMES`](Self::NAMES).
    #[must_use]
    pub fn parse(name: &str, value: &str) -> Option<Self> {
        let value = value.trim_end_matches('\n');
        match name {
            "auto_online_blocks" => OnlinePolicy::from_name(value).map(Self::AutoOnlineBlocks),
            "online_policy" => ZonePolicy::from_name(value).map(Self::OnlinePolicy),
            "auto_movable_ratio" => parse_number(value).map(Self::AutoMovableRatio),
            "auto_movable_numa_aware" => parse_flag(value).map(Self::AutoMovableNumaAware),
            "demotion_enabled" => parse_flag(value).map(Self::DemotionEnabled),
            _ => None,
        }
    }

    /// The file that a setting of this name is written to; below `/sys/devices/system/memory` where nothing else is
    /// said.
    #[must_use]
    pub fn file(name: &str) -> String {
        match name {
            "online_policy" | "auto_movable_ratio" | "auto_movable_numa_aware" => {
                format!("/sys/module/memory_hotplug/parameters/{name}")
            }
            "demotion_enabled" => format!("/sys/kernel/mm/numa/{name}"),
            _ => String::from(name),
        }
    }

    /// Its name.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::AutoOnlineBlocks(_) => "auto_online_blocks",
            Self::OnlinePolicy(_) => "online_policy",
            Self::AutoMovableRatio(_) => "auto_movable_ratio",
            Self::AutoMovableNumaAware(_) => "auto_movable_numa_aware",
            Self::DemotionEnabled(_) => "demotion_enabled",
        }
    }
}

/// Prints the value as it reads back.
impl fmt::Display for Setting {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AutoOnlineBlocks(policy) => f.write_str(policy.name()),
            Self::OnlinePolicy(policy) => f.write_str(policy.name()),
            Self::AutoMovableRatio(ratio) => ratio.fmt(f),
            Self::AutoMovableNumaAware(yes) => f.write_str(if *yes { "Y" } else { "N" }),
            Self::DemotionEnabled(yes) => yes.fmt(f),
        }
    }
}

impl Settings {
    /// What the command line says, and the defaults.
    #[must_use]
    pub fn new(kernel: &Kernel) -> Self {
        let line = &kernel.command_line;
        let of = |name: &str, value: &str| line.value(name).and_then(|text| Setting::parse(value, text));
        let mut settings = Self {
            auto_online: kernel.online_policy(),
            zone_policy: ZonePolicy::default(),
            movable_ratio: 301,
            numa_aware: true,
            memmap_on_memory: match line.value("memory-hotplug.memmap-on-memory") {
                Some("force") if kernel.switches.memmap_force => MemmapOnMemory::Force,
                Some(text) if parse_flag(text) == Some(true) => MemmapOnMemory::On,
                None if line.has("memory-hotplug.memmap-on-memory") => MemmapOnMemory::On,
                _ => MemmapOnMemory::Off,
            },
            demotion: false,
        };
        for setting in [
            of("memory-hotplug.online-policy", "online_policy"),
            of("memory-hotplug.auto-movable-ratio", "auto_movable_ratio"),
            of("memory-hotplug.auto-movable-numa-aware", "auto_movable_numa_aware"),
        ] {
            setting.into_iter().for_each(|setting| settings.set(setting));
        }
        settings
    }

    /// Changes one.
    pub fn set(&mut self, setting: Setting) {
        match setting {
            Setting::AutoOnlineBlocks(policy) => self.auto_online = policy,
            Setting::OnlinePolicy(policy) => self.zone_policy = policy,
            Setting::AutoMovableRatio(ratio) => self.movable_ratio = ratio,
            Setting::AutoMovableNumaAware(yes) => self.numa_aware = yes,
            Setting::DemotionEnabled(yes) => self.demotion = yes,
        }
    }
}

/// A number in C notation, all of the text (`kstrtouint`).
fn parse_number(text: &str) -> Option<u32> {
    let (number, rest) = parse_integer(text);
    let digits = text.starts_with(|first: char| first.is_ascii_digit());
    u32::try_from(number).ok().filter(|_| digits && rest.is_empty())
}

/// A yes or no (`kstrtobool`).
fn parse_flag(text: &str) -> Option<bool> {
    let mut bytes = text.bytes();
    match (bytes.next()?.to_ascii_lowercase(), bytes.next().map(|second| second.to_ascii_lowercase())) {
        (b'y' | b't' | b'1', _) | (b'o', Some(b'n')) => Some(true),
        (b'n' | b'f' | b'0', _) | (b'o', Some(b'f')) => Some(false),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_sets_what_files_set() {
        let kernel = Kernel::default().with_command_line(
            "memory_hotplug.online_policy=auto-movable memory_hotplug.auto_movable_ratio=400 \
             memory_hotplug.memmap_on_memory=1 memhp_default_state=online_movable",
        );
        let settings = Settings::new(&kernel);
        assert_eq!(settings.zone_policy, ZonePolicy::AutoMovable);
        assert_eq!((settings.movable_ratio, settings.numa_aware), (400, true));
        assert_eq!(settings.memmap_on_memory, MemmapOnMemory::On);
        assert_eq!(settings.auto_online, OnlinePolicy::Movable);
    }

    #[test]
    fn values_that_the_kernel_refuses_are_none() {
        assert_eq!(Setting::parse("auto_movable_ratio", "20"), Some(Setting::AutoMovableRatio(20)));
        assert_eq!(
            Setting::parse("auto_movable_numa_aware", "N"),
            Some(Setting::AutoMovableNumaAware(false))
        );
        for (name, value) in [("auto_movable_ratio", "-1"), ("auto_online_blocks", "on"), ("swappiness", "1")]
        {
            assert_eq!(Setting::parse(name, value), None);
        }
    }
}
