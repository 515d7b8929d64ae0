//! One field of a table as text: the value with its unit and its meaning.

use crate::tables::layout::{BitField, Field, Kind, Name, little_endian};
use crate::tables::srat::{Device, DeviceHandle, HandleType};
use crate::units::{Ascii, BinarySize, ByteCount, EfiPageCount};
use core::fmt::{self, Display};

/// Prints the value of `field`, whose bytes are `bytes`, as people read it.
#[derive(Clone, Copy, Debug)]
pub struct FieldValue<'a> {
    /// The description of the field.
    pub field: &'static Field,
    /// The bytes of the field.
    pub bytes: &'a [u8],
    /// The bytes of the structure that holds it.
    pub structure: &'a [u8],
}

impl Display for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = little_endian(self.bytes);
        let digits = self.bytes.len().saturating_mul(2);
        match self.field.kind {
            Kind::Number | Kind::Domain => write!(f, "{value}"),
            Kind::Hex | Kind::Checksum => write!(f, "{:#0width$x}", value, width = digits.saturating_add(2)),
            Kind::Length => write!(f, "{value} bytes"),
            Kind::Address => write!(f, "{value:#018x}"),
            Kind::Size => write!(f, "{value:#x} ({})", BinarySize(ByteCount(value))),
            Kind::Pages => write!(f, "{value} pages ({})", BinarySize(EfiPageCount(value).bytes())),
            Kind::Cell => match value {
                0 => f.write_str("not provided"),
                0xffff => f.write_str("unreachable"),
                cell => write!(f, "{cell}"),
            },
            Kind::Code(names) => match name_of(names, value) {
                Some(name) => write!(f, "{value}  {name}"),
                None => write!(f, "{value}  (not defined)"),
            },
            Kind::Flags(bits) => {
                write!(f, "{:#0width$x}", value, width = digits.saturating_add(2))?;
                if value != 0 {
                    write!(f, "  {}", FlagNames { bits, value })?;
                }
                Ok(())
            }
            Kind::Text => write!(f, "\"{}\"", Ascii(self.bytes)),
            Kind::Reserved if self.bytes.iter().all(|byte| *byte == 0) => f.write_str("0"),
            Kind::Reserved => write!(f, "{}  (not zero)", HexBytes(self.bytes)),
            Kind::Bytes => write!(f, "{}", HexBytes(self.bytes)),
            Kind::DeviceHandle => {
                let handle_type = self.field.offset.checked_sub(5).and_then(|at| self.structure.get(at));
                let handle = self.bytes.first_chunk().copied().unwrap_or_default();
                let handle_type = HandleType(handle_type.copied().unwrap_or_default());
                write!(f, "{}", Device::decode(handle_type, DeviceHandle(handle)))
            }
        }
    }
}

/// The name of a coded value.
pub(crate) fn name_of(names: &[Name], value: u64) -> Option<&'static str> {
    names.iter().find(|known| known.value == value).map(|known| known.name)
}

/// The names of the set bits and the values of the groups of a flags word, joined by ` | `; bits without a name
/// at the end, in hexadecimal.
#[derive(Clone, Copy, Debug)]
pub struct FlagNames {
    /// The known bits.
    pub bits: &'static [BitField],
    /// The word.
    pub value: u64,
}

impl Display for FlagNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut left = self.value;
        let mut separator = "";
        for field in self.bits {
            let part = field.extract(self.value);
            left &= !part.checked_shl(field.shift).unwrap_or(0);
            match (field.width, name_of(field.values, part)) {
                (_, Some(name)) => write!(f, "{separator}{}: {name}", field.name)?,
                (_, None) if part == 0 => continue,
                (1, None) => write!(f, "{separator}{}", field.name)?,
                (_, None) => write!(f, "{separator}{}: {part}", field.name)?,
            }
            separator = " | ";
        }
        if left != 0 {
            write!(f, "{separator}reserved {left:#x}")?;
        }
        Ok(())
    }
}

/// Bytes as two-digit hexadecimal numbers, separated by spaces.
#[derive(Clone, Copy, Debug)]
pub struct HexBytes<'a>(pub &'a [u8]);

impl Display for HexBytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for byte in self.0 {
            write!(f, "{separator}{byte:02x}")?;
            separator = " ";
        }
        Ok(())
    }
}
