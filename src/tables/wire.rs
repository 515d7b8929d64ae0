//! Typed little-endian values at any alignment: how numbers stand in a table.

use super::layout::Kind;
use core::fmt;
use zerocopy::byteorder::little_endian::{U16, U32, U64};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

/// A value that can stand in a table: its raw form and how it is shown.
pub trait Wire: Copy {
    /// The bytes in the table, at any alignment.
    type Raw: FromBytes + IntoBytes + Immutable + KnownLayout + Unaligned + Copy + PartialEq + fmt::Debug;
    /// How printers show the value.
    const KIND: Kind;
    /// Reads the value.
    fn load(raw: Self::Raw) -> Self;
    /// Makes the bytes.
    fn store(self) -> Self::Raw;
}

/// A typed little-endian value inside a table structure.
///
/// [`get`](Self::get) reads it; `value.into()` makes it, so a structure is written as a struct literal.
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout, Unaligned)]
#[repr(transparent)]
pub struct Le<T: Wire>(T::Raw);

impl<T: Wire> Le<T> {
    /// The value.
    #[inline]
    #[must_use]
    pub fn get(self) -> T {
        T::load(self.0)
    }

    /// Replaces the value.
    #[inline]
    pub fn set(&mut self, value: T) {
        self.0 = value.store();
    }
}

impl<T: Wire> From<T> for Le<T> {
    #[inline]
    fn from(value: T) -> Self {
        Self(value.store())
    }
}

impl<T: Wire> PartialEq for Le<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T: Wire> Eq for Le<T> where T::Raw: Eq {}

impl<T: Wire + fmt::Debug> fmt::Debug for Le<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

/// Reserved bytes, kept as they are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Reserved<const N: usize>(pub [u8; N]);

impl<const N: usize> Wire for Reserved<N> {
    type Raw = [u8; N];
    const KIND: Kind = Kind::Reserved;
    #[inline]
    fn load(raw: [u8; N]) -> Self {
        Self(raw)
    }
    #[inline]
    fn store(self) -> [u8; N] {
        self.0
    }
}

/// Opaque bytes with a meaning that depends on another field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Opaque<const N: usize>(pub [u8; N]);

impl<const N: usize> Wire for Opaque<N> {
    type Raw = [u8; N];
    const KIND: Kind = Kind::Bytes;
    #[inline]
    fn load(raw: [u8; N]) -> Self {
        Self(raw)
    }
    #[inline]
    fn store(self) -> [u8; N] {
        self.0
    }
}

/// Fixed-width text, padded with spaces or NUL; firmware may put any byte there.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Text<const N: usize>(pub [u8; N]);

impl<const N: usize> fmt::Debug for Text<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", crate::units::Ascii(&self.0))
    }
}

impl<const N: usize> Wire for Text<N> {
    type Raw = [u8; N];
    const KIND: Kind = Kind::Text;
    #[inline]
    fn load(raw: [u8; N]) -> Self {
        Self(raw)
    }
    #[inline]
    fn store(self) -> [u8; N] {
        self.0
    }
}

impl Wire for u8 {
    type Raw = u8;
    const KIND: Kind = Kind::Number;
    #[inline]
    fn load(raw: u8) -> Self {
        raw
    }
    #[inline]
    fn store(self) -> u8 {
        self
    }
}

macro_rules! wire_int {
    ($($int:ty => $raw:ty;)*) => {$(
        impl Wire for $int {
            type Raw = $raw;
            const KIND: Kind = Kind::Number;
            #[inline]
            fn load(raw: $raw) -> Self { raw.get() }
            #[inline]
            fn store(self) -> $raw { <$raw>::new(self) }
        }
    )*};
}
wire_int! { u16 => U16; u32 => U32; u64 => U64; }

/// Makes units of [`crate::units`] storable.
macro_rules! wire_unit {
    ($($unit:ident: $int:ty = $kind:expr;)*) => {$(
        impl Wire for crate::units::$unit {
            type Raw = <$int as Wire>::Raw;
            const KIND: Kind = $kind;
            #[inline]
            fn load(raw: Self::Raw) -> Self { Self(<$int as Wire>::load(raw)) }
            #[inline]
            fn store(self) -> Self::Raw { self.0.store() }
        }
    )*};
}

wire_unit! {
    ProximityDomain: u32 = Kind::Domain;
    ApicId: u32 = Kind::Hex;
    ProcessorUid: u32 = Kind::Hex;
    ClockDomain: u32 = Kind::Number;
    ItsId: u32 = Kind::Hex;
    AcpiUid: u32 = Kind::Hex;
    PhysAddr: u64 = Kind::Address;
    VirtAddr: u64 = Kind::Address;
    DeviceAddr: u64 = Kind::Address;
    ByteCount: u64 = Kind::Size;
    EfiPageCount: u64 = Kind::Pages;
    MatrixCell: u16 = Kind::Cell;
    EntryBaseUnit: u64 = Kind::Number;
    Distance: u8 = Kind::Number;
    SmbiosHandle: u16 = Kind::Hex;
    PciSegment: u16 = Kind::Hex;
    PciBdf: u16 = Kind::Hex;
    XorMap: u64 = Kind::Hex;
    DsmasHandle: u8 = Kind::Number;
}

impl Wire for crate::units::Signature {
    type Raw = [u8; 4];
    const KIND: Kind = Kind::Text;
    #[inline]
    fn load(raw: [u8; 4]) -> Self {
        Self(raw)
    }
    #[inline]
    fn store(self) -> [u8; 4] {
        self.0
    }
}

/// The `Length` field of a structure or table, in bytes, header included.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Length<T>(pub T);

impl<T: Wire> Wire for Length<T> {
    type Raw = T::Raw;
    const KIND: Kind = Kind::Length;
    #[inline]
    fn load(raw: T::Raw) -> Self {
        Self(T::load(raw))
    }
    #[inline]
    fn store(self) -> T::Raw {
        self.0.store()
    }
}

/// A checksum byte: chosen so that all bytes it covers sum to 0 modulo 256.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checksum(pub u8);

impl Wire for Checksum {
    type Raw = u8;
    const KIND: Kind = Kind::Checksum;
    #[inline]
    fn load(raw: u8) -> Self {
        Self(raw)
    }
    #[inline]
    fn store(self) -> u8 {
        self.0
    }
}

/// A number that people read in hexadecimal.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Hex<T>(pub T);

impl<T: Wire> Wire for Hex<T> {
    type Raw = T::Raw;
    const KIND: Kind = Kind::Hex;
    #[inline]
    fn load(raw: T::Raw) -> Self {
        Self(T::load(raw))
    }
    #[inline]
    fn store(self) -> T::Raw {
        self.0.store()
    }
}
