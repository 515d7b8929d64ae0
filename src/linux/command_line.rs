//! The kernel command line, as far as it changes nodes, tiers and the memory map.

use super::memory_map::MapEdit;
use crate::tables::e820::E820Type;
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;

/// A kernel command line, with what matters read from it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct CommandLine {
    /// All parameters in order: name, with `-` for `_`, and value.
    pub parameters: Vec<(String, Option<String>)>,
    /// `mem=` and `memmap=`, in order.
    pub map_edits: Vec<MapEdit>,
    /// `numa=off`.
    pub numa_off: bool,
    /// `numa=noacpi`.
    pub numa_noacpi: bool,
    /// `numa=nohmat`.
    pub numa_nohmat: bool,
    /// What follows `numa=fake=`, the last time.
    pub numa_fake: Option<String>,
    /// `acpi=off`.
    pub acpi_off: bool,
    /// `add_efi_memmap`.
    pub add_efi_memmap: bool,
    /// `efi=nosoftreserve`.
    pub efi_nosoftreserve: bool,
    /// `movable_node`.
    pub movable_node: bool,
    /// `kernelcore=mirror`.
    pub kernelcore_mirror: bool,
    /// `kernelcore=`.
    pub kernelcore: CoreSize,
    /// `movablecore=`.
    pub movablecore: CoreSize,
    /// Processors that may be used at all, by `nr_cpus=`, `possible_cpus=`, `nosmp` and `nolapic`.
    pub possible_cpus: Option<u32>,
    /// Processors that are started at boot, by `maxcpus=`.
    pub started_cpus: Option<u32>,
}

/// `kernelcore=` or `movablecore=`: a percentage goes before a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct CoreSize {
    /// Bytes.
    pub bytes: u64,
    /// Percent of all memory.
    pub percent: u64,
}

impl CoreSize {
    /// `mm/mm_init.c: cmdline_parse_core`: a percentage sets only itself, a size also clears the percentage.
    fn set(&mut self, value: &str) {
        let (number, rest) = parse_integer(value);
        if rest.starts_with('%') {
            self.percent = number;
        } else {
            *self = Self { bytes: parse_size(value).0, percent: 0 };
        }
    }
}

impl CommandLine {
    /// Reads a command line.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut line = Self::default();
        line.append(text);
        line
    }

    /// Reads more parameters, as if they stood behind the others.
    pub fn append(&mut self, text: &str) {
        for word in words(text) {
            let (name, value) = match word.split_once('=') {
                Some((name, value)) => (name, Some(unquote(value))),
                None => (word.as_str(), None),
            };
            let name = name.trim_matches('"').replace('_', "-");
            if name == "--" {
                break;
            }
            self.take(&name, value);
            self.parameters.push((name, value.map(ToOwned::to_owned)));
        }
    }

    /// The last value of a parameter, by its name with `-` for `_`.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        self.parameters.iter().rev().find(|(known, _)| known == name)?.1.as_deref()
    }

    /// Whether a parameter is given, with or without a value.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.parameters.iter().any(|(known, _)| known == name)
    }

    fn take(&mut self, name: &str, value: Option<&str>) {
        let given = value.unwrap_or_default();
        match (name, value) {
            ("mem", Some(value)) => self.map_edits.extend(parse_mem(value)),
            ("memmap", Some(value)) => self.map_edits.extend(value.split(',').filter_map(parse_memmap)),
            ("numa", Some(value)) => {
                self.numa_off |= value.starts_with("off");
                self.numa_noacpi |= value.starts_with("noacpi");
                self.numa_nohmat |= value.starts_with("nohmat");
                if let Some(fake) = value.strip_prefix("fake=") {
                    self.numa_fake = Some(fake.to_owned());
                }
            }
            ("acpi", Some("off")) => self.acpi_off = true,
            ("add-efi-memmap", _) => self.add_efi_memmap = true,
            ("efi", Some(value)) => {
                self.efi_nosoftreserve |= value.split(',').any(|option| option == "nosoftreserve");
            }
            ("movable-node", _) => self.movable_node = true,
            ("kernelcore", Some(value)) if value.split(',').any(|option| option == "mirror") => {
                self.kernelcore_mirror = true;
            }
            ("kernelcore", Some(value)) => self.kernelcore.set(value),
            ("movablecore", Some(value)) => self.movablecore.set(value),
            ("nr-cpus" | "possible-cpus", Some(_)) => {
                let (count, _) = parse_integer(given);
                if let Some(count) = u32::try_from(count).ok().filter(|count| *count > 0) {
                    let before = self.possible_cpus.unwrap_or(u32::MAX);
                    self.possible_cpus = Some(before.min(count));
                }
            }
            ("nosmp" | "nolapic", _) => self.possible_cpus = Some(1),
            ("maxcpus", Some(_)) => {
                let (count, _) = parse_integer(given);
                // 0 turns multiprocessing off altogether.
                match u32::try_from(count) {
                    Ok(0) => self.possible_cpus = Some(1),
                    Ok(count) => self.started_cpus = Some(count),
                    Err(_) => {}
                }
            }
            _ => {}
        }
    }
}

/// Splits at blanks outside double quotes.
fn words(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in text.chars() {
        if character == '"' {
            quoted = !quoted;
        }
        if character.is_ascii_whitespace() && !quoted {
            if !word.is_empty() {
                words.push(core::mem::take(&mut word));
            }
        } else {
            word.push(character);
        }
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// A value without the quotes around it.
fn unquote(value: &str) -> &str {
    value.strip_prefix('"').map_or(value, |inner| inner.strip_suffix('"').unwrap_or(inner))
}

/// A number in C notation and what follows it: `0x` hexadecimal, leading `0` octal, else decimal. Wraps at 64
/// bits as `simple_strtoull` does; 0 when no digit is there.
pub(crate) fn parse_integer(text: &str) -> (u64, &str) {
    let after_zero = text.strip_prefix('0').unwrap_or_default();
    let hexadecimal =
        after_zero.strip_prefix(['x', 'X']).filter(|rest| rest.starts_with(|c: char| c.is_ascii_hexdigit()));
    let (radix, digits) = match hexadecimal {
        Some(rest) => (16, rest),
        None => (if text.starts_with('0') { 8 } else { 10 }, text),
    };
    let mut value = 0_u64;
    let mut rest = digits;
    while let Some(digit) = rest.chars().next().and_then(|c| c.to_digit(radix)) {
        value = value.wrapping_mul(u64::from(radix)).wrapping_add(u64::from(digit));
        rest = rest.get(1..).unwrap_or_default();
    }
    (value, rest)
}

/// A size and what follows it: a number in C notation and at most one of K M G T P E (`lib/cmdline.c: memparse`).
pub(crate) fn parse_size(text: &str) -> (u64, &str) {
    let (value, rest) = parse_integer(text);
    let shift = match rest.chars().next().map(|c| c.to_ascii_uppercase()) {
        Some('K') => 10,
        Some('M') => 20,
        Some('G') => 30,
        Some('T') => 40,
        Some('P') => 50,
        Some('E') => 60,
        _ => return (value, rest),
    };
    (value.wrapping_shl(shift), rest.get(1..).unwrap_or_default())
}

/// `arch/x86/kernel/e820.c: parse_memopt`.
fn parse_mem(value: &str) -> Option<MapEdit> {
    if value == "nopentium" {
        return None;
    }
    let (size, _) = parse_size(value);
    Some(if size == 0 { MapEdit::Nothing } else { MapEdit::Limit { from: size, hot_add: true } })
}

/// `arch/x86/kernel/e820.c: parse_memmap_one`.
fn parse_memmap(item: &str) -> Option<MapEdit> {
    if item.starts_with("exactmap") {
        return Some(MapEdit::Clear);
    }
    let (size, rest) = parse_size(item);
    if rest.len() == item.len() {
        return None;
    }
    let kind = match rest.chars().next() {
        Some('@') => E820Type::RAM,
        Some('#') => E820Type::ACPI,
        Some('$') => E820Type::RESERVED,
        Some('!') => E820Type::PRAM,
        Some('%') => {
            let (start, rest) = parse_size(rest.get(1..).unwrap_or_default());
            let (from, rest) = rest.strip_prefix('-').map_or((0, rest), parse_integer);
            let (to, rest) = rest.strip_prefix('+').map_or((0, rest), parse_integer);
            if !rest.is_empty() {
                return Some(MapEdit::Nothing);
            }
            // The kernel keeps types in 32 bits.
            let kind = |number: u64| {
                let [a, b, c, d, ..] = number.to_le_bytes();
                let number = u32::from_le_bytes([a, b, c, d]);
                (number != 0).then_some(E820Type(number))
            };
            return Some(MapEdit::Retype { start, size, from: kind(from), to: kind(to) });
        }
        _ => return Some(MapEdit::Limit { from: size, hot_add: false }),
    };
    let (start, _) = parse_size(rest.get(1..).unwrap_or_default());
    Some(MapEdit::Add { start, size, kind })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_in_c() {
        assert_eq!(parse_size("0x10k,"), (16 << 10, ","));
        assert_eq!(parse_size("010"), (8, ""));
        assert_eq!(parse_size("1G-1+2"), (1 << 30, "-1+2"));
        assert_eq!(parse_size("x"), (0, "x"));
        assert_eq!(parse_integer("0xefffffff"), (0xefff_ffff, ""));
        assert_eq!(parse_integer("0x"), (0, "x"));
    }

    #[test]
    fn map_options_are_kept_in_order() {
        let line = CommandLine::parse(
            "mem=2G memmap=1G%1G-1+0xefffffff,64K$0x30000000 mem=nopentium memmap=x memmap=512M",
        );
        assert_eq!(
            line.map_edits,
            [
                MapEdit::Limit { from: 2 << 30, hot_add: true },
                MapEdit::Retype {
                    start: 1 << 30,
                    size: 1 << 30,
                    from: Some(E820Type::RAM),
                    to: Some(E820Type::SOFT_RESERVED)
                },
                MapEdit::Add { start: 0x3000_0000, size: 64 << 10, kind: E820Type::RESERVED },
                MapEdit::Limit { from: 512 << 20, hot_add: false },
            ]
        );
    }

    #[test]
    fn names_quotes_and_the_end_of_options() {
        let line = CommandLine::parse(
            "dyndbg=\"file a.c +p numa=off\" movable-node numa=fake=4 numa=fake=2U -- numa=off",
        );
        assert!(line.movable_node && !line.numa_off);
        assert_eq!(line.numa_fake.as_deref(), Some("2U"));
        assert_eq!(line.value("dyndbg"), Some("file a.c +p numa=off"));
        assert!(line.has("movable-node") && !line.has("acpi"));
    }
}
