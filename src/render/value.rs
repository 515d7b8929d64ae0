//! One field of a table as text: the value with its unit and its meaning.

use crate::tables::layout::{BitField, Field, Kind, Layout, Name, little_endian};
use crate::tables::srat::{Device, DeviceHandle, HandleType};
use crate::units::{Ascii, BinarySize, ByteCount, EfiPageCount};
use core::fmt::{self, Display};
use core::num::{NonZeroU64, NonZeroU128};

/// Prints the value of `field`, whose bytes are `bytes`, as people read it.
#[derive(Clone, Copy, Debug)]
pub struct FieldValue<'a> {
    /// The description of the field.
    pub field: &'static Field,
    /// The bytes of the field.
    pub bytes: &'a [u8],
    /// The bytes of the structure that holds it.
    pub structure: &'a [u8],
    /// What matrix cells are worth in the structure.
    pub scale: Option<Scale>,
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
                cell => match self.scale {
                    Some(scale) => write!(f, "{cell}  ({} {})", scale.cell(cell), scale.unit()),
                    None => write!(f, "{cell}"),
                },
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

/// What one count of a latency or bandwidth cell is worth in its structure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Scale {
    /// `Entry Base Unit`.
    base: u64,
    /// How many counts of base make one of `unit`.
    divisor: NonZeroU64,
    /// What the scaled number is in.
    unit: &'static str,
}

impl Scale {
    /// The scale of a structure that has a data type and a base unit: in HMAT revision 1 tenths of a nanosecond
    /// or of a MB/s, otherwise picoseconds or MB/s.
    #[must_use]
    pub fn of(layout: &Layout, structure: &[u8], hmat_revision_1: bool) -> Option<Self> {
        let read = |key| {
            let field = layout.fields.iter().find(|field| field.key == key)?;
            Some(little_endian(field.bytes(structure)?))
        };
        let base = read("entry_base_unit")?;
        let (divisor, unit) = match (read("data_type")?, hmat_revision_1) {
            (0..=2, false) => (1000, "ns"),
            (3..=5, false) => (1, "MB/s"),
            (0..=2, true) => (10, "ns"),
            (3..=5, true) => (10, "MB/s"),
            _ => return None,
        };
        Some(Self { base, divisor: NonZeroU64::new(divisor)?, unit })
    }

    /// The unit of the scaled numbers.
    #[must_use]
    pub const fn unit(&self) -> &'static str {
        self.unit
    }

    /// `cell` in that unit.
    #[must_use]
    pub const fn cell(self, cell: u64) -> ScaledCell {
        ScaledCell { scale: self, cell }
    }
}

/// A matrix cell in the unit of its [`Scale`]; `-` where it is not provided, `x` where it is unreachable.
#[derive(Clone, Copy, Debug)]
pub struct ScaledCell {
    scale: Scale,
    cell: u64,
}

impl Display for ScaledCell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Scale { base, divisor, .. } = self.scale;
        let value = u128::from(self.cell).saturating_mul(u128::from(base));
        let divisor = NonZeroU128::from(divisor);
        match (self.cell, value % divisor) {
            (0, _) => f.write_str("-"),
            (0xffff, _) => f.write_str("x"),
            (_, 0) => write!(f, "{}", value / divisor),
            (_, fraction) => {
                let digits = if divisor.get() == 10 { 1 } else { 3 };
                write!(f, "{}.{fraction:0digits$}", value / divisor)
            }
        }
    }
}
