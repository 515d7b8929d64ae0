//! HDM decoder registers of a CXL port, as a copy of its component registers holds them (CXL 3.1 §8.2.4).
//!
//! A component register block has 64 KiB; the CXL.cachemem registers begin at 0x1000 and start with an array of
//! capabilities, one of which leads to the HDM decoders. [`ComponentRegisters::parse`] takes the block or the
//! CXL.cachemem part alone.

use super::layout::{flags, layout};
use super::output::{Output, finish_bare};
use super::wire::{Le, Reserved};
use crate::error::{Cause, TableError, WriteError};
use crate::tables::cedt::{InterleaveGranularity, InterleaveWays};
use crate::units::{ByteCount, PhysAddr, Signature, widen};
use zerocopy::{FromBytes, IntoBytes};

/// Where the CXL.cachemem registers begin in a component register block.
const CACHE_MEM: usize = 0x1000;
/// Capability id of the array itself.
const ARRAY: u32 = 1;
/// Capability id of the HDM decoders.
const HDM_DECODERS: u32 = 5;
/// The most that the array counts.
const MOST_CAPABILITIES: u32 = 255;

flags! {
    /// CXL HDM Decoder Capability register (CXL 3.1 §8.2.4.20.1).
    HdmCapability(u32) {
        /// Can interleave on address bits 8 to 11.
        BITS_8_TO_11 = 8, "A11to8 Interleave Capable";
        /// Can interleave on address bits 12 to 14.
        BITS_12_TO_14 = 9, "A14to12 Interleave Capable";
        /// Returns poison on decode errors.
        POISON_ON_ERROR = 10, "Poison On Decode Error Capability";
        /// Can interleave 3, 6 and 12 ways.
        WAYS_3_6_12 = 11, "3, 6, 12 Way Interleave Capable";
        /// Can interleave 16 ways.
        WAYS_16 = 12, "16 Way Interleave Capable";
    }
}

impl HdmCapability {
    /// How many decoders there are, or `None` for a reserved code.
    #[must_use]
    pub const fn decoder_count(self) -> Option<u8> {
        Some(match self.0 & 0xf {
            0 => 1,
            1 => 2,
            2 => 4,
            3 => 6,
            4 => 8,
            5 => 10,
            6 => 12,
            7 => 14,
            8 => 16,
            9 => 20,
            10 => 24,
            11 => 28,
            12 => 32,
            _ => return None,
        })
    }

    /// The most targets of a decoder of a bridge or switch.
    #[must_use]
    pub const fn target_count(self) -> u8 {
        let [low, ..] = self.0.to_le_bytes();
        low >> 4
    }
}

flags! {
    /// CXL HDM Decoder Global Control register (CXL 3.1 §8.2.4.20.2).
    HdmGlobalControl(u32) {
        /// Decode errors return poison.
        POISON_ON_ERROR = 0, "Poison On Decode Error Enable";
        /// The decoders are used; clear, those of CXL 1.1 are.
        ENABLED = 1, "HDM Decoder Enable";
    }
}

flags! {
    /// CXL HDM Decoder Control register (CXL 3.1 §8.2.4.20.7).
    HdmControl(u32) {
        /// The registers cannot be changed once committed.
        LOCK = 8, "Lock On Commit";
        /// Software asks for the decoder to be used.
        COMMIT = 9, "Commit";
        /// The decoder is used.
        COMMITTED = 10, "Committed";
        /// The decoder could not be used.
        ERROR = 11, "Error Not Committed";
        /// Host-only coherent memory (HDM-H) is behind it; device-coherent memory otherwise.
        HOST_ONLY = 12, "Target Range Type: Host-only Coherent";
    }
}

impl HdmControl {
    /// The code of the granularity.
    #[must_use]
    pub const fn granularity(self) -> InterleaveGranularity {
        InterleaveGranularity(self.0 & 0xf)
    }

    /// The code of the ways.
    #[must_use]
    pub const fn ways(self) -> InterleaveWays {
        let [low, ..] = self.0.to_le_bytes();
        InterleaveWays(low >> 4)
    }

    /// The same bits with another granularity and other ways.
    #[must_use]
    pub const fn with_interleave(self, granularity: InterleaveGranularity, ways: InterleaveWays) -> Self {
        let ways = u32::from_le_bytes([ways.0, 0, 0, 0]);
        Self((self.0 & !0xff) | (granularity.0 & 0xf) | ((ways & 0xf) << 4))
    }
}

layout! {
    /// The two registers in front of the decoders, with the space between (CXL 3.1 §8.2.4.20).
    HdmHeader("hdm_decoder_capability", "CXL HDM Decoder Capability", 16) {
        /// What the decoders are able to do.
        capability: HdmCapability = "Capability",
        /// Whether they are used.
        control: HdmGlobalControl = "Global control",
        /// Zero.
        reserved: Reserved<8> = "Reserved",
    }
}

layout! {
    /// The registers of one decoder, 32 bytes.
    HdmDecoder("hdm_decoder", "CXL HDM Decoder", 32) {
        /// First address; the low 28 bits are zero.
        base: PhysAddr = "Base",
        /// Bytes; the low 28 bits are zero.
        size: ByteCount = "Size",
        /// Interleave, and what state the decoder is in.
        control: HdmControl = "Control",
        /// Bridges and switches: the port id at each position, a byte each, the first in the lowest. Devices: how many
        /// bytes of the device are skipped in front of what the decoder leads to.
        targets_or_skip: u64 = "Target list or DPA skip",
        /// Zero.
        reserved: Reserved<4> = "Reserved",
    }
}

impl HdmDecoder {
    /// The port id at each position, as a bridge or switch has them; the list has room for eight.
    #[must_use]
    pub fn targets(&self) -> [u8; 8] {
        self.targets_or_skip.get().to_le_bytes()
    }

    /// The bytes of the device that are skipped, as a device has them.
    #[must_use]
    pub fn skip(&self) -> ByteCount {
        ByteCount(self.targets_or_skip.get())
    }
}

/// A copy of component registers, read in place.
///
/// ```
/// use memtopo::tables::hdm::{
///     ComponentRegisters, ComponentRegistersWriter, HdmCapability, HdmControl, HdmDecoder, HdmGlobalControl,
/// };
/// use memtopo::tables::wire::Reserved;
/// use memtopo::units::{ByteCount, PhysAddr};
///
/// let decoder = HdmDecoder {
///     base: PhysAddr(0x1_1000_0000).into(),
///     size: ByteCount(1 << 30).into(),
///     control: HdmControl::COMMITTED.into(),
///     targets_or_skip: 0.into(),
///     reserved: Reserved([0; 4]).into(),
/// };
/// let mut bytes = Vec::new();
/// let mut writer =
///     ComponentRegistersWriter::new(&mut bytes, HdmCapability(0), HdmGlobalControl::ENABLED);
/// writer.push(&decoder);
/// writer.finish()?;
///
/// let registers = ComponentRegisters::parse(&bytes)?;
/// assert_eq!(registers.decoders(), [decoder]);
/// # Ok::<(), Box<dyn core::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug)]
pub struct ComponentRegisters<'a> {
    hdm: Option<&'a HdmHeader>,
    decoders: &'a [HdmDecoder],
}

impl<'a> ComponentRegisters<'a> {
    /// Reads a component register block, or its CXL.cachemem part.
    ///
    /// # Errors
    /// [`Cause::NothingDecoded`] where neither begins with an array of capabilities, [`Cause::Truncated`] where the bytes
    /// end inside the array, or before a register that the HDM decoders have to have.
    pub fn parse(bytes: &'a [u8]) -> Result<Self, TableError> {
        let of_block = bytes.get(CACHE_MEM..).filter(|part| array(part).is_some());
        let (at, part) = match of_block {
            Some(part) => (CACHE_MEM, part),
            None => (0, bytes),
        };
        let fault = |offset: usize, cause, expected: usize, found: usize| TableError {
            table: Signature::HDM,
            offset: widen(at.saturating_add(offset)),
            cause,
            expected: widen(expected),
            found: widen(found),
        };
        let count = array(part).ok_or_else(|| fault(0, Cause::NothingDecoded, 1, 0))?;
        let all = count.saturating_add(1).saturating_mul(4);
        if part.len() < all {
            return Err(fault(4, Cause::Truncated, all, part.len()));
        }
        let entries = (1..=count).filter_map(|place| dword(part, place.saturating_mul(4)));
        let Some(entry) = entries.into_iter().find(|entry| entry & 0xffff == HDM_DECODERS) else {
            return Ok(Self { hdm: None, decoders: &[] });
        };
        let offset = usize::try_from(entry >> 20).unwrap_or(usize::MAX);
        let block = part.get(offset..).unwrap_or_default();
        let Ok((hdm, rest)) = HdmHeader::ref_from_prefix(block) else {
            return Err(fault(offset, Cause::Truncated, size_of::<HdmHeader>(), block.len()));
        };
        let count = usize::from(hdm.capability.get().decoder_count().unwrap_or(0));
        let Ok((decoders, _)) = <[HdmDecoder]>::ref_from_prefix_with_elems(rest, count) else {
            let needed = count.saturating_mul(size_of::<HdmDecoder>());
            let at = offset.saturating_add(size_of::<HdmHeader>());
            return Err(fault(at, Cause::Truncated, needed, rest.len()));
        };
        Ok(Self { hdm: Some(hdm), decoders })
    }

    /// Whether bytes look like component registers: an array of capabilities where one has to be, with HDM decoders in
    /// it.
    #[must_use]
    pub fn is_plausible(bytes: &[u8]) -> bool {
        ComponentRegisters::parse(bytes).is_ok_and(|registers| registers.hdm.is_some())
    }

    /// The capability and global control of the HDM decoders; `None` for a port that has none.
    #[must_use]
    pub const fn hdm(&self) -> Option<&'a HdmHeader> {
        self.hdm
    }

    /// The decoders by index: as many as the capability counts, none where its code is reserved.
    #[must_use]
    pub const fn decoders(&self) -> &'a [HdmDecoder] {
        self.decoders
    }
}

/// How many capabilities the array at the start of `part` has; `None` where there is no array.
fn array(part: &[u8]) -> Option<usize> {
    let header = dword(part, 0)?;
    let count = header >> 24;
    // The version of the array is 1, and that of the CXL.cachemem registers is 1 or above.
    let known = header & 0xffff == ARRAY && header >> 16 & 0xf == 1 && header >> 20 & 0xf != 0;
    usize::try_from(count).ok().filter(|_| known && (1..=MOST_CAPABILITIES).contains(&count))
}

fn dword(part: &[u8], offset: usize) -> Option<u32> {
    let (value, _) = Le::<u32>::read_from_prefix(part.get(offset..)?).ok()?;
    Some(value.get())
}

/// Writes the CXL.cachemem part of component registers that have HDM decoders and nothing else.
#[derive(Debug)]
pub struct ComponentRegistersWriter<O> {
    output: O,
    start: u64,
}

impl<O: Output> ComponentRegistersWriter<O> {
    /// Starts the registers at the end of `output`. As many decoders have to follow as `capability` counts.
    pub fn new(mut output: O, capability: HdmCapability, control: HdmGlobalControl) -> Self {
        let start = output.written().1;
        // One capability of version 1, its registers behind the array and a gap up to the next 16 bytes.
        for dword in [ARRAY | 1 << 16 | 1 << 20 | 1 << 24, HDM_DECODERS | 1 << 16 | 0x10 << 20, 0, 0] {
            output.put(&dword.to_le_bytes());
        }
        let header = HdmHeader {
            capability: capability.into(),
            control: control.into(),
            reserved: Reserved([0; 8]).into(),
        };
        output.put(header.as_bytes());
        Self { output, start }
    }

    /// Appends a decoder.
    pub fn push(&mut self, decoder: &HdmDecoder) {
        self.output.put(decoder.as_bytes());
    }

    /// Ends the registers and returns their length in bytes.
    ///
    /// # Errors
    /// [`WriteError::BufferTooSmall`].
    pub fn finish(mut self) -> Result<u64, WriteError> {
        finish_bare(&mut self.output, self.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::output::SliceOutput;

    /// The registers that QEMU gives a device, dword by dword, with the first decoder as a firmware would set it: 1 GiB
    /// at 4 GiB + 256 MiB, two ways of 1 KiB.
    fn registers() -> [u8; 0x1200] {
        let mut bytes = [0; 0x1200];
        let mut put = |at: usize, dword: u32| bytes[at..at + 4].copy_from_slice(&dword.to_le_bytes());
        put(0x1000, 0x0311_0001);
        put(0x1004, 0x0801_0002);
        put(0x1008, 0x1001_0004);
        put(0x100c, 0x1281_0005);
        put(0x1128, 0x1b12 & !0xf | 1);
        put(0x112c, 2);
        put(0x1138, 0x1000_0000);
        put(0x113c, 1);
        put(0x1140, 0x4000_0000);
        put(0x1148, 2 | 1 << 4 | 0x1600);
        put(0x114c, 0x0003_0107);
        bytes
    }

    #[test]
    fn blocks_and_their_second_half_read_the_same() {
        let bytes = registers();
        for bytes in [&bytes[..], &bytes[0x1000..]] {
            let registers = ComponentRegisters::parse(bytes).unwrap();
            let header = registers.hdm().unwrap();
            let capability = header.capability.get();
            assert_eq!((capability.decoder_count(), capability.target_count()), (Some(2), 1));
            assert!(capability.contains(HdmCapability::WAYS_3_6_12.union(HdmCapability::WAYS_16)));
            assert!(header.control.get().contains(HdmGlobalControl::ENABLED));
            let [first, second] = registers.decoders() else { panic!("{registers:?}") };
            assert_eq!((first.base.get(), first.size.get()), (PhysAddr(0x1_1000_0000), ByteCount(1 << 30)));
            let control = first.control.get();
            assert_eq!(
                (control.granularity().bytes(), control.ways().ways()),
                (Some(ByteCount(1024)), Some(2))
            );
            assert!(control.contains(HdmControl::COMMIT.union(HdmControl::COMMITTED)));
            assert!(!control.contains(HdmControl::LOCK) && control.contains(HdmControl::HOST_ONLY));
            assert_eq!(first.targets()[..4], [7, 1, 3, 0]);
            assert_eq!(first.skip(), ByteCount(0x0003_0107));
            assert!(!second.control.get().contains(HdmControl::COMMITTED));
        }
        assert!(ComponentRegisters::is_plausible(&bytes));
    }

    #[test]
    fn what_is_cut_off_is_told() {
        let bytes = registers();
        let part = &bytes[0x1000..];
        let fault = |end: usize| ComponentRegisters::parse(&part[..end]).unwrap_err();
        assert_eq!((fault(3).cause, fault(15).cause), (Cause::NothingDecoded, Cause::Truncated));
        let header = fault(0x130);
        assert_eq!((header.cause, header.offset, header.found), (Cause::Truncated, 0x128, 8));
        let decoders = fault(0x138 + 63);
        assert_eq!((decoders.offset, decoders.expected, decoders.found), (0x138, 64, 63));
        assert!(ComponentRegisters::parse(&part[..0x138 + 64]).is_ok());
        assert!(!ComponentRegisters::is_plausible(b"SRAT with much text behind it"));
    }

    #[test]
    fn decoder_counts_are_codes() {
        let counts = (0..16).map(|code| HdmCapability(code).decoder_count().unwrap_or(0));
        assert!(counts.eq([1, 2, 4, 6, 8, 10, 12, 14, 16, 20, 24, 28, 32, 0, 0, 0]));
    }

    #[test]
    fn written_registers_come_back() {
        let bytes = registers();
        let read = ComponentRegisters::parse(&bytes).unwrap();
        let header = read.hdm().unwrap();
        let mut buffer = [0; 0x60];
        let output = SliceOutput::new(&mut buffer);
        let mut writer = ComponentRegistersWriter::new(output, header.capability.get(), header.control.get());
        read.decoders().iter().for_each(|decoder| writer.push(decoder));
        assert_eq!(writer.finish(), Ok(0x60));
        let again = ComponentRegisters::parse(&buffer).unwrap();
        assert_eq!((again.hdm(), again.decoders()), (read.hdm(), read.decoders()));
        let control = HdmControl(0xff).with_interleave(InterleaveGranularity(3), InterleaveWays::WAYS_6);
        assert_eq!(
            (control.granularity(), control.ways()),
            (InterleaveGranularity(3), InterleaveWays::WAYS_6)
        );
    }
}
