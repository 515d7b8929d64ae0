//! What a firmware would have done to the CXL decoders of a guest: done before any driver that looks at them is there.

use crate::guest::Guest;
use anyhow::{Context, Result, ensure};
use memtopo::tables::cedt::{Cedt, Entry};
use memtopo::units::AcpiUid;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One decoder as a firmware leaves it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Programmed {
    /// A host bridge as `pci0000:20`, or a PCI function: an upstream switch port or a memory device.
    pub at: String,
    /// Which of its decoders.
    pub decoder: u32,
    /// The window of the CEDT whose start its addresses are counted from.
    pub window: usize,
    /// Its first address from there.
    pub offset: u64,
    /// Bytes.
    pub size: u64,
    /// Ways.
    pub ways: u32,
    /// Bytes from one target to the next.
    pub granularity: u64,
    /// Bridges and switches: ids of downstream ports by position.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub targets: Vec<u8>,
    /// Devices: bytes of their memory that are left out before this decoder's.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip: u64,
    /// It cannot be changed afterwards.
    #[serde(default, skip_serializing_if = "is_false")]
    pub lock: bool,
    /// For device-coherent memory.
    #[serde(default, skip_serializing_if = "is_false")]
    pub accelerator: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_zero(number: &u64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature that serde asks for")]
fn is_false(flag: &bool) -> bool {
    !*flag
}

/// Where the registers of CXL.cachemem begin in a block of component registers.
const CACHEMEM: u64 = 0x1000;
/// The capability that holds the decoders.
const DECODERS: u64 = 5;

/// Programs decoders, in the order given.
///
/// # Errors
/// A device is not there or has no decoders, or the guest does not answer.
pub(crate) fn program(guest: &mut Guest, programs: &[Programmed]) -> Result<()> {
    if programs.is_empty() {
        return Ok(());
    }
    let bytes = guest.file("/sys/firmware/acpi/tables/CEDT")?;
    let cedt = Cedt::parse(&bytes)?;
    let mut windows = Vec::new();
    let mut bridges = BTreeMap::new();
    for entry in cedt.entries() {
        match entry? {
            Entry::FixedMemoryWindow(window) => windows.push(window.header().base_hpa.get().0),
            Entry::HostBridge(bridge) => {
                bridges.insert(bridge.uid.get(), bridge.base.get().0);
            }
            _ => {}
        }
    }
    let mut blocks: BTreeMap<&str, u64> = BTreeMap::new();
    for program in programs {
        let at = program.at.as_str();
        let block = match blocks.get(at) {
            Some(block) => *block,
            None => {
                let registers = registers(guest, at, &bridges)?;
                let block = decoders(guest, registers).with_context(|| at.to_owned())?;
                blocks.insert(at, block);
                block
            }
        };
        let start = windows.get(program.window).context("no such window")?.wrapping_add(program.offset);
        let words = words(program, start)?;
        let pokes: Vec<_> =
            words.iter().map(|(offset, word)| format!("{:#x}={word:#x}", block + offset)).collect();
        guest.order(&format!("poke {}", pokes.join(" ")))?;
    }
    Ok(())
}

/// Where the component registers of a bridge or a function are.
fn registers(guest: &mut Guest, at: &str, bridges: &BTreeMap<AcpiUid, u64>) -> Result<u64> {
    if let Some(bus) = at.strip_prefix("pci0000:") {
        // The emulator numbers its bridges by their buses.
        let uid = AcpiUid(u32::from_str_radix(bus, 16)?);
        return bridges.get(&uid).copied().with_context(|| format!("no bridge {at}"));
    }
    let resource = guest.order(&format!("read /sys/bus/pci/devices/{at}/resource"))?;
    let start = resource.split(' ').next().and_then(|text| text.strip_prefix("0x"));
    let start = u64::from_str_radix(start.with_context(|| format!("no function {at}"))?, 16)?;
    ensure!(start != 0, "{at} has no registers");
    Ok(start)
}

/// Where the decoders are among component registers.
fn decoders(guest: &mut Guest, registers: u64) -> Result<u64> {
    let base = registers + CACHEMEM;
    let count = peek(guest, &[base])?.first().map_or(0, |header| header >> 24);
    let places: Vec<u64> = (1..=count).map(|index| base + 4 * index).collect();
    let entries = peek(guest, &places)?;
    let found = entries.iter().find(|entry| *entry & 0xffff == DECODERS).context("no HDM decoders")?;
    Ok(base + (found >> 20))
}

fn peek(guest: &mut Guest, places: &[u64]) -> Result<Vec<u64>> {
    let places: Vec<_> = places.iter().map(|place| format!("{place:#x}")).collect();
    let answer = guest.order(&format!("peek {}", places.join(" ")))?;
    answer
        .split_whitespace()
        .map(|word| {
            let digits = word.strip_prefix("0x").with_context(|| format!("device memory reads as {word}"))?;
            Ok(u64::from_str_radix(digits, 16)?)
        })
        .collect()
}

/// Register words by their offset; the one that commits is the last.
fn words(program: &Programmed, start: u64) -> Result<Vec<(u64, u64)>> {
    let ways = match program.ways {
        1 | 2 | 4 | 8 | 16 => program.ways.trailing_zeros(),
        3 | 6 | 12 => 8 + (program.ways / 3).trailing_zeros(),
        other => anyhow::bail!("{other} ways"),
    };
    let granularity = program.granularity;
    ensure!(granularity.is_power_of_two() && granularity >= 256, "granularity {granularity}");
    let mut control = u64::from(granularity.trailing_zeros() - 8) | u64::from(ways) << 4 | 1 << 9;
    if program.lock {
        control |= 1 << 8;
    }
    if !program.accelerator {
        control |= 1 << 12;
    }
    let mut list = program.skip;
    if !program.targets.is_empty() {
        list = program.targets.iter().rev().fold(0, |list, target| list << 8 | u64::from(*target));
    }
    let own = 0x10 + 0x20 * u64::from(program.decoder);
    let halves = [(0, start), (8, program.size), (0x14, list)];
    let mut words = vec![(4, 2)];
    for (offset, value) in halves {
        words.push((own + offset, value & 0xffff_ffff));
        words.push((own + offset + 4, value >> 32));
    }
    words.push((own + 0x10, control));
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decoder_becomes_register_words() {
        let program = Programmed {
            decoder: 1,
            size: 0x2_0000_0000,
            ways: 6,
            granularity: 1024,
            targets: vec![0, 3],
            lock: true,
            ..Programmed::default()
        };
        // Start, size, target list, then control: 1024 bytes are code 2, six ways are code 9.
        let expected = [
            (4, 2),
            (0x30, 0x1000_0000),
            (0x34, 1),
            (0x38, 0),
            (0x3c, 2),
            (0x44, 0x300),
            (0x48, 0),
            (0x40, 0x1392),
        ];
        assert_eq!(words(&program, 0x1_1000_0000).ok(), Some(expected.to_vec()));
    }
}
