//! The grammar of the values in a machine description.

use memtopo::tables::srat;
use memtopo::topology::cxl::PciLink;
use memtopo::units::{AcpiUid, PciSegment};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use std::fmt;

/// A number of bytes or an address: a number, or text such as `"0x1_0000_0000"`, `"640K"`, `"4G"`, `"256MiB"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Size(pub(crate) u64);

impl Size {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no size: write 4096, 0x1000, 4K, 16MiB");
        let plain: String = text.chars().filter(|character| !matches!(character, '_' | ' ')).collect();
        if let Some(digits) = plain.strip_prefix("0x") {
            return u64::from_str_radix(digits, 16).map(Self).map_err(|_| bad());
        }
        let end = plain.find(|character: char| !character.is_ascii_digit()).unwrap_or(plain.len());
        let (digits, suffix) = plain.split_at(end);
        let shift = match suffix.trim_end_matches("iB").trim_end_matches('B') {
            "" => 0,
            "K" | "k" => 10,
            "M" => 20,
            "G" => 30,
            "T" => 40,
            "P" => 50,
            _ => return Err(bad()),
        };
        let number: u64 = digits.parse().map_err(|_| bad())?;
        number.checked_mul(1 << shift).map(Self).ok_or_else(|| format!("{text:?} exceeds 64 bits"))
    }
}

/// What TOML offers where a number or text may stand.
#[derive(Deserialize)]
#[serde(untagged)]
enum Scalar {
    Integer(u64),
    Float(f64),
    Text(String),
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match Scalar::deserialize(deserializer)? {
            Scalar::Integer(number) => Ok(Self(number)),
            Scalar::Text(text) => Self::parse(&text).map_err(D::Error::custom),
            Scalar::Float(_) => Err(D::Error::custom("a size is a whole number")),
        }
    }
}

/// Addresses: `"START-END"` without END itself, or `"START+SIZE"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) start: u64,
    pub(crate) size: u64,
}

impl Range {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let bad = || format!("{text:?} is no range: write START-END or START+SIZE, such as 1M-2G or 4G+60G");
        let (start, end, relative) = match (text.split_once('+'), text.split_once('-')) {
            (Some((start, size)), _) => (start, size, true),
            (None, Some((start, end))) => (start, end, false),
            (None, None) => return Err(bad()),
        };
        let (start, end) = (Size::parse(start)?.0, Size::parse(end)?.0);
        let size = if relative { Some(end) } else { end.checked_sub(start) };
        Ok(Self { start, size: size.ok_or_else(bad)? })
    }
}

impl<'de> Deserialize<'de> for Range {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(&String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// Numbers in the list style of Linux: `"0-3,8"`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Ids(pub(crate) Vec<u32>);

impl<'de> Deserialize<'de> for Ids {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bad = |part: &str| D::Error::custom(format!("{part:?} is no list of ids such as 0-3,8"));
        let mut ids = Vec::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last): (u32, u32) = match (first.trim().parse(), last.trim().parse()) {
                (Ok(first), Ok(last)) if first <= last => (first, last),
                _ => return Err(bad(part)),
            };
            // A slip of the pen should not ask for billions of processors.
            if last - first >= 1 << 16 {
                return Err(bad(part));
            }
            ids.extend(first..=last);
        }
        Ok(Self(ids))
    }
}

/// A latency in picoseconds or a bandwidth in MB/s, by the key it stands under.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cell {
    /// The number as written.
    Value(f64),
    /// Not provided: `"-"` or 0.
    Unknown,
    /// `"unreachable"`.
    Unreachable,
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = match Scalar::deserialize(deserializer)? {
            Scalar::Integer(number) => f64::from(u32::try_from(number).map_err(D::Error::custom)?),
            Scalar::Float(number) => number,
            Scalar::Text(text) if text == "unreachable" => return Ok(Self::Unreachable),
            Scalar::Text(text) if text == "-" => return Ok(Self::Unknown),
            Scalar::Text(text) => {
                return Err(D::Error::custom(format!("{text:?}: write a number, \"-\" or \"unreachable\"")));
            }
        };
        if value == 0.0 {
            return Ok(Self::Unknown);
        }
        if value.is_finite() && value > 0.0 {
            Ok(Self::Value(value))
        } else {
            Err(D::Error::custom(format!("{value} is no latency or bandwidth")))
        }
    }
}

/// A PCIe link: `"32x16"`, with `:68` or `:256` for the bytes in a flit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link(pub(crate) PciLink);

impl<'de> Deserialize<'de> for Link {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let bad = || D::Error::custom(format!("{text:?} is no link: write 32x16 for 16 lanes of 32 GT/s"));
        PciLink::parse(&text).map(Self).ok_or_else(bad)
    }
}

/// A port of a switch: a number, `"upstream"` or `"any"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port(pub(crate) u16);

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use memtopo::tables::cdat::PortId;
        match Scalar::deserialize(deserializer)? {
            Scalar::Integer(number) => u16::try_from(number).map(Self).map_err(D::Error::custom),
            Scalar::Text(text) if text == "upstream" => Ok(Self(PortId::UPSTREAM.0)),
            Scalar::Text(text) if text == "any" => Ok(Self(PortId::ANY.0)),
            _ => Err(D::Error::custom("a port is a number, \"upstream\" or \"any\"")),
        }
    }
}

/// A downstream port: `"12/0"` is the root port 0 of the bridge with the UID 12, `"switch0/1"` a port of a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Place {
    /// The UID of a bridge or the name of a switch.
    pub(crate) above: String,
    /// The port number.
    pub(crate) port: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.above, self.port)
    }
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let parts =
            text.rsplit_once('/').and_then(|(above, port)| Some((above.to_owned(), port.parse().ok()?)));
        let (above, port) = parts.ok_or_else(|| {
            D::Error::custom(format!("{text:?} is no downstream port: write BRIDGE_UID/PORT or SWITCH/PORT"))
        })?;
        Ok(Self { above, port })
    }
}

/// A device: `"SSSS:BB:DD.F"` for PCI, `"HID:UID"` for ACPI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DeviceName(pub(crate) srat::Device);

impl DeviceName {
    pub(super) fn parse(text: &str) -> Option<Self> {
        if let Some((slot, function)) = text.split_once('.') {
            let mut parts = slot.split(':').map(|part| u16::from_str_radix(part, 16).ok());
            let (segment, bus, device) = (parts.next()??, parts.next()??, parts.next()??);
            let function: u8 = function.parse().ok().filter(|function| *function < 8)?;
            let device = u8::try_from(device).ok().filter(|device| *device < 32)?;
            return Some(Self(srat::Device::Pci {
                segment: PciSegment(segment),
                bus: u8::try_from(bus).ok()?,
                device_function: device << 3 | function,
            }));
        }
        let (hid, uid) = text.split_once(':')?;
        let mut bytes = [0; 8];
        bytes.get_mut(..hid.len())?.copy_from_slice(hid.as_bytes());
        Some(Self(srat::Device::Acpi { hid: bytes, uid: AcpiUid(uid.parse().ok()?) }))
    }
}

impl<'de> Deserialize<'de> for DeviceName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            D::Error::custom(format!("{text:?} is no device such as 0000:17:02.0 or ACPI0017:0"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_ranges_read_as_people_write_them() {
        assert_eq!(Size::parse("640K"), Ok(Size(655_360)));
        assert_eq!(Size::parse("0x1_0000_0000"), Ok(Size(1 << 32)));
        assert_eq!(Size::parse("256MiB"), Ok(Size(1 << 28)));
        assert!(Size::parse("16777216T").unwrap_err().contains("64 bits"));
        assert!(Size::parse("4 apples").is_err());
        assert_eq!(Range::parse("1M-2G"), Ok(Range { start: 1 << 20, size: (1 << 31) - (1 << 20) }));
        assert_eq!(Range::parse("4G+60G"), Ok(Range { start: 4 << 30, size: 60 << 30 }));
        assert!(Range::parse("2G-1G").is_err());
    }

    #[test]
    fn device_names() {
        let pci = srat::Device::Pci { segment: PciSegment(0), bus: 0x17, device_function: 0x10 };
        assert_eq!(DeviceName::parse("0000:17:02.0"), Some(DeviceName(pci)));
        let acpi = srat::Device::Acpi { hid: *b"ACPI0017", uid: AcpiUid(3) };
        assert_eq!(DeviceName::parse("ACPI0017:3"), Some(DeviceName(acpi)));
        assert_eq!(DeviceName::parse("nonsense"), None);
    }
}
