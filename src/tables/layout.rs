//! What the bytes of a structure mean: one description for reading, printing and rebuilding.
//!
//! Every on-disk structure is defined once, by the `layout!` macro, which makes both the Rust struct (a
//! zero-copy view whose fields have typed units) and its [`Layout`]: the list of fields with name, offset and
//! [`Kind`]. Printers and builders work from the [`Layout`] alone, so they cover every field of every
//! structure and cannot disagree with the views.

use super::wire::{Le, Wire};
use core::fmt;
use core::mem::size_of;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// How a field's number is to be understood and shown.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Kind {
    /// A plain number: a count, an index, a revision.
    Number,
    /// A number people read in hexadecimal: an id, a handle, an opaque word.
    Hex,
    /// The length in bytes of the structure or table that holds it.
    Length,
    /// The checksum byte.
    Checksum,
    /// A proximity domain.
    Domain,
    /// A physical address in bytes.
    Address,
    /// A size in bytes.
    Size,
    /// A number of 4 KiB EFI pages.
    Pages,
    /// A matrix cell: 0 not provided, 0xFFFF unreachable.
    Cell,
    /// A code with names for the known values.
    Code(&'static [Name]),
    /// Named bits or bit fields; bits without a name are reserved.
    Flags(&'static [BitField]),
    /// Fixed-width text, padded with spaces or NUL.
    Text,
    /// Reserved bytes: zero from a producer, ignored by a consumer, kept by us.
    Reserved,
    /// Opaque bytes.
    Bytes,
    /// The 16-byte handle of a generic initiator or port; the byte five before it says which kind.
    DeviceHandle,
}

/// One known value of a coded field.
#[derive(Clone, Copy, Debug)]
pub struct Name {
    /// The value in the table.
    pub value: u64,
    /// What the specification calls it.
    pub name: &'static str,
}

/// One bit, or one group of bits, of a flags field.
#[derive(Clone, Copy, Debug)]
pub struct BitField {
    /// Lowest bit.
    pub shift: u32,
    /// Number of bits.
    pub width: u32,
    /// What the specification calls it.
    pub name: &'static str,
    /// Names of the values, for groups whose values have names.
    pub values: &'static [Name],
}

impl BitField {
    /// The value of this group in `word`.
    #[must_use]
    pub const fn extract(&self, word: u64) -> u64 {
        let mask = if self.width >= 64 { u64::MAX } else { !(u64::MAX << self.width) };
        match word.checked_shr(self.shift) {
            Some(shifted) => shifted & mask,
            None => 0,
        }
    }
}

/// One field of a structure.
#[derive(Clone, Copy, Debug)]
pub struct Field {
    /// Stable name for programs: the key in JSON.
    pub key: &'static str,
    /// The specification's name.
    pub label: &'static str,
    /// Byte offset in the structure.
    pub offset: usize,
    /// Width in bytes.
    pub width: usize,
    /// What the value means.
    pub kind: Kind,
}

impl Field {
    /// The bytes of this field in `structure`, or `None` when the structure ends before them.
    #[must_use]
    pub fn bytes<'a>(&self, structure: &'a [u8]) -> Option<&'a [u8]> {
        structure.get(self.offset..self.offset.checked_add(self.width)?)
    }

    /// Whether the value is a number of at most eight bytes (and not text or opaque bytes).
    #[must_use]
    pub const fn is_number(&self) -> bool {
        !matches!(self.kind, Kind::Text | Kind::Reserved | Kind::Bytes | Kind::DeviceHandle)
    }
}

/// Reads up to eight little-endian bytes as a number; longer slices give their low 64 bits.
#[must_use]
pub fn little_endian(bytes: &[u8]) -> u64 {
    bytes.iter().take(8).rev().fold(0, |value, byte| (value << 8) | u64::from(*byte))
}

/// A list of equal elements behind the fixed fields of a structure.
#[derive(Clone, Copy, Debug)]
pub struct List {
    /// Stable name for programs: the key in JSON.
    pub key: &'static str,
    /// The specification's name.
    pub label: &'static str,
    /// Fields of one element; a single field for a list of numbers.
    pub element: &'static [Field],
    /// Size of one element in bytes.
    pub stride: usize,
    /// Which earlier list gives the length of a row, for a matrix; `None` for a plain list.
    pub row: Row,
}

/// How the elements of a [`List`] are arranged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// One after another.
    Plain,
    /// A matrix with one row for each element of list `rows` and one column for each of list `columns`.
    Matrix {
        /// Index of the list that names the rows.
        rows: usize,
        /// Index of the list that names the columns.
        columns: usize,
    },
    /// A square matrix without lists of its own: rows and columns are numbered from 0.
    Square,
}

/// The most lists a structure has.
pub const MAX_LISTS: usize = 3;

/// Elements in each list of a structure, in the order of [`Layout::lists`].
pub type Counts = [u64; MAX_LISTS];

/// The description of one structure.
#[derive(Clone, Copy)]
pub struct Layout {
    /// Stable name for programs: the `kind` of the structure in JSON.
    pub id: &'static str,
    /// The specification's name.
    pub name: &'static str,
    /// Size of the fixed fields in bytes.
    pub size: usize,
    /// The fixed fields, in order, without gaps.
    pub fields: &'static [Field],
    /// Lists behind the fixed fields.
    pub lists: &'static [List],
    /// How many elements each list has, by the fixed fields (all of them present) of a structure.
    pub counts: fn(&[u8]) -> Counts,
}

impl fmt::Debug for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Layout({})", self.id)
    }
}

impl Layout {
    /// Where each list lies in `structure`, cut off where the structure ends.
    ///
    /// The second value is the length in bytes that the structure needs for all of them, which tells whether
    /// something was cut off (more than `structure` has) or follows unexplained (less).
    pub fn parts<'a>(&self, structure: &'a [u8]) -> ([ListPart<'a>; MAX_LISTS], u64) {
        let mut parts = [ListPart::EMPTY; MAX_LISTS];
        let counts = if structure.len() >= self.size { (self.counts)(structure) } else { [0; MAX_LISTS] };
        let mut offset = u64::try_from(self.size).unwrap_or(u64::MAX);
        for ((part, list), count) in parts.iter_mut().zip(self.lists).zip(counts) {
            let stride = u64::try_from(list.stride).unwrap_or(u64::MAX);
            let end = offset.saturating_add(count.saturating_mul(stride));
            let from = usize::try_from(offset).unwrap_or(usize::MAX).min(structure.len());
            let to = usize::try_from(end).unwrap_or(usize::MAX).min(structure.len());
            *part = ListPart { offset: from, count, bytes: structure.get(from..to).unwrap_or_default() };
            offset = end;
        }
        (parts, offset)
    }
}

/// One list of one structure: its place and bytes.
#[derive(Clone, Copy, Debug)]
pub struct ListPart<'a> {
    /// Byte offset in the structure.
    pub offset: usize,
    /// Elements that the structure declares; `bytes` may hold fewer.
    pub count: u64,
    /// The bytes of the elements that are there.
    pub bytes: &'a [u8],
}

impl ListPart<'_> {
    pub(crate) const EMPTY: Self = Self { offset: 0, count: 0, bytes: &[] };
}

/// Defines a coded field: a newtype with a constant for each known value.
///
/// Firmware may send any number, so these are never Rust enums.
macro_rules! code {
    ($(#[$meta:meta])* $name:ident($int:ty) { $($(#[$vmeta:meta])* $value:ident = $number:literal, $label:literal;)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$vmeta])* pub const $value: Self = Self($number);)*

            const NAMES: &'static [$crate::tables::layout::Name] =
                &[$($crate::tables::layout::Name { value: $number, name: $label }),*];

            /// The specification's name of the value, or `None` for one it does not define.
            #[must_use]
            pub fn name(self) -> Option<&'static str> {
                Self::NAMES.iter().find(|known| known.value == u64::from(self.0)).map(|known| known.name)
            }
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x}"), self.0)?;
                if let Some(name) = self.name() {
                    write!(f, " {name}")?;
                }
                f.write_str(")")
            }
        }

        impl $crate::tables::wire::Wire for $name {
            type Raw = <$int as $crate::tables::wire::Wire>::Raw;
            const KIND: $crate::tables::layout::Kind = $crate::tables::layout::Kind::Code(Self::NAMES);
            #[inline]
            fn load(raw: Self::Raw) -> Self { Self(<$int as $crate::tables::wire::Wire>::load(raw)) }
            #[inline]
            fn store(self) -> Self::Raw { <$int as $crate::tables::wire::Wire>::store(self.0) }
        }
    };
}
pub(crate) use code;

/// Defines a flags field: a newtype with a constant for each known bit, and tests for them.
///
/// `groups` adds the fields that take several bits: `getter, setter: Code = lowest bit, width, "Label";`, where
/// `Code` is a `code!` type of the same module over the same integer.
macro_rules! flags {
    (
        $(#[$meta:meta])* $name:ident($int:ty) { $($(#[$bmeta:meta])* $bit:ident = $shift:literal, $label:literal;)* }
        $(groups {
            $($(#[$gmeta:meta])* $get:ident, $with:ident: $code:ident = $low:literal, $width:literal, $glabel:literal;)*
        })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
        #[cfg_attr(feature = "arbitrary", derive(arbitrary::Arbitrary))]
        pub struct $name(pub $int);

        impl $name {
            $($(#[$bmeta])* pub const $bit: Self = Self(1 << $shift);)*

            const BITS: &'static [$crate::tables::layout::BitField] = &[
                $($($crate::tables::layout::BitField {
                    shift: $low, width: $width, name: $glabel, values: $code::NAMES,
                },)*)?
                $($crate::tables::layout::BitField { shift: $shift, width: 1, name: $label, values: &[] },)*
            ];

            /// Whether every bit of `other` is set.
            #[inline]
            #[must_use]
            pub const fn contains(self, other: Self) -> bool {
                self.0 & other.0 == other.0
            }

            /// The bits of both.
            #[inline]
            #[must_use]
            pub const fn union(self, other: Self) -> Self {
                Self(self.0 | other.0)
            }

            $($(
                $(#[$gmeta])*
                #[inline]
                #[must_use]
                pub const fn $get(self) -> $code {
                    $code((self.0 >> $low) & !(<$int>::MAX << $width))
                }

                #[doc = concat!("The same flags with another [`", stringify!($get), "`](Self::", stringify!($get),
                    "); bits that the group has no room for are dropped.")]
                #[inline]
                #[must_use]
                pub const fn $with(self, value: $code) -> Self {
                    let room: $int = !(<$int>::MAX << $width);
                    Self((self.0 & !(room << $low)) | ((value.0 & room) << $low))
                }
            )*)?
        }

        impl core::fmt::Debug for $name {
            fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
                write!(f, concat!(stringify!($name), "({:#x})"), self.0)
            }
        }

        impl $crate::tables::wire::Wire for $name {
            type Raw = <$int as $crate::tables::wire::Wire>::Raw;
            const KIND: $crate::tables::layout::Kind = $crate::tables::layout::Kind::Flags(Self::BITS);
            #[inline]
            fn load(raw: Self::Raw) -> Self { Self(<$int as $crate::tables::wire::Wire>::load(raw)) }
            #[inline]
            fn store(self) -> Self::Raw { <$int as $crate::tables::wire::Wire>::store(self.0) }
        }
    };
}
pub(crate) use flags;

/// The field description of one value of type `T` at `offset`.
pub(crate) const fn field<T: Wire>(name: &'static str, label: &'static str, offset: usize) -> Field {
    // A field named after a keyword is a raw identifier in Rust; in JSON it goes by the bare name.
    let key = match name.as_bytes() {
        [b'r', b'#', bare @ ..] => match core::str::from_utf8(bare) {
            Ok(bare) => bare,
            Err(_) => name,
        },
        _ => name,
    };
    Field { key, label, offset, width: size_of::<Le<T>>(), kind: T::KIND }
}

/// A structure that `layout!` defined.
pub trait Structure: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy {
    /// Its description.
    const LAYOUT: Layout;
}

/// Defines an on-disk structure and its [`Layout`].
///
/// `{ "key" "Label": [Type; Row] }` lines behind the fields name its lists, `counts` tells how many elements
/// they have.
macro_rules! layout {
    (
        $(#[$meta:meta])*
        $name:ident($id:literal, $label:literal, $size:literal) {
            $($(#[$fmeta:meta])* $field:ident: $ty:ty = $flabel:literal,)*
        }
        $(lists($counts:expr) { $($lkey:literal, $llabel:literal: [$lty:ty], $row:expr;)* })?
    ) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq)]
        #[derive(zerocopy::FromBytes, zerocopy::IntoBytes, zerocopy::Immutable, zerocopy::KnownLayout, zerocopy::Unaligned)]
        #[repr(C)]
        pub struct $name {
            $($(#[$fmeta])* pub $field: $crate::tables::wire::Le<$ty>,)*
        }

        const _: () = assert!(size_of::<$name>() == $size);

        impl $crate::tables::layout::Structure for $name {
            const LAYOUT: $crate::tables::layout::Layout = $crate::tables::layout::Layout {
                id: $id,
                name: $label,
                size: $size,
                fields: &[$($crate::tables::layout::field::<$ty>(
                    stringify!($field), $flabel, core::mem::offset_of!($name, $field),
                )),*],
                lists: &[$($($crate::tables::layout::List {
                    key: $lkey,
                    label: $llabel,
                    element: <$lty as $crate::tables::layout::Element>::FIELDS,
                    stride: size_of::<<$lty as $crate::tables::layout::Element>::Stored>(),
                    row: $row,
                }),*)?],
                counts: $crate::tables::layout::counts!($name $(, $counts)?),
            };
        }
    };
}
pub(crate) use layout;

/// The `counts` function of a layout: the given one over the typed structure, or none.
macro_rules! counts {
    ($name:ident) => {
        |_| [0; $crate::tables::layout::MAX_LISTS]
    };
    ($name:ident, $counts:expr) => {
        |bytes| match <$name as zerocopy::FromBytes>::ref_from_prefix(bytes) {
            Ok((fixed, _)) => {
                let counts: fn(&$name, usize) -> $crate::tables::layout::Counts = $counts;
                counts(fixed, bytes.len())
            }
            Err(_) => [0; $crate::tables::layout::MAX_LISTS],
        }
    };
}
pub(crate) use counts;

/// What a [`List`] may hold: a single value, or a structure.
pub trait Element {
    /// The form in the table.
    type Stored;
    /// The fields of one element.
    const FIELDS: &'static [Field];
}

impl<T: Wire> Element for T {
    type Stored = Le<T>;
    const FIELDS: &'static [Field] = &[field::<T>("value", "", 0)];
}
