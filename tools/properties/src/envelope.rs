//! What holds for every table: nothing is lost, nothing overlaps, writers repeat what views show.

use memtopo::error::{Cause, TableError, WriteError};
use memtopo::tables::anatomy::{Format, Group, Piece, Role, anatomy};
use memtopo::tables::entries::{Entries, Framing, RawEntry};
use memtopo::tables::output::{Output, SliceOutput};
use std::fmt::Write;

/// Prints `value` in both forms, so that printing is known not to panic, and on one line.
pub fn print(value: &TableError) {
    let mut text = String::new();
    write!(text, "{value} {value:?}").expect("a string takes everything");
    assert!(!text.contains('\n'), "an error has one line: {text}");
}

/// Checks a refusal: the place is inside the input (or directly behind it).
pub fn refused(error: &TableError, input: &[u8]) {
    print(error);
    assert!(error.offset <= input.len() as u64, "{error}");
    assert_ne!(error.expected, error.found, "{error}: nothing disagrees");
}

/// Checks the anatomy of `input` and returns its groups: they cover it, in order, without gap or overlap, and what
/// each of them explains lies inside it.
pub fn anatomy_of(format: Format, input: &[u8]) -> Vec<Group<'_>> {
    let groups: Vec<Group<'_>> = match anatomy(format, input) {
        Ok(groups) => groups.collect(),
        Err(error) => {
            refused(&error, input);
            return Vec::new();
        }
    };
    let mut covered = 0;
    for group in &groups {
        assert_eq!(group.offset, covered, "{:?}: a gap or an overlap", group.role);
        // The fixed fields of a table may be cut off, and those of a root table are none.
        let may_be_empty = group.role == Role::Prologue;
        assert!(may_be_empty || !group.bytes.is_empty(), "{:?}: an empty group", group.role);
        assert!(input[covered..].starts_with(group.bytes), "{:?}: other bytes", group.role);
        covered += group.bytes.len();
        pieces_cover(group);
        for fault in group.faults.iter().flatten() {
            print(fault);
        }
        if group.role == Role::Unwalked {
            assert!(group.faults[0].is_some(), "bytes that cannot be walked without a reason");
        }
    }
    assert_eq!(covered, input.len(), "bytes at the end belong to no group");
    groups
}

/// The pieces of a group cover it, in order, without gap or overlap, and there are as many as layout and lists allow.
fn pieces_cover(group: &Group<'_>) {
    let mut at = group.offset;
    for piece in group.pieces() {
        let (offset, bytes) = match piece {
            Piece::Field { field, offset, bytes } => {
                assert_eq!(bytes.len(), field.width);
                (offset, bytes)
            }
            Piece::List { list, offset, part } => {
                assert!(part.bytes.len() as u64 <= part.count.saturating_mul(list.stride as u64));
                (offset, part.bytes)
            }
            Piece::Rest { offset, bytes } => {
                assert!(!bytes.is_empty(), "an empty rest");
                (offset, bytes)
            }
        };
        assert_eq!(offset, at, "{:?}: a gap or an overlap between pieces", group.role);
        assert!(
            group.bytes[at - group.offset..].starts_with(bytes),
            "{:?}: other bytes in a piece",
            group.role
        );
        at += bytes.len();
    }
    assert_eq!(at, group.offset + group.bytes.len(), "{:?}: bytes that belong to no piece", group.role);
}

/// Walks the structures of `table`: each follows the one before, and together with the remainder they are all that
/// is behind the point where the walk begins. They are also the structures of the anatomy in `groups`.
pub fn walk<'a, F: Framing>(
    mut entries: Entries<'a, F>,
    table: &'a [u8],
    groups: &[Group<'a>],
) -> (Vec<RawEntry<'a>>, &'a [u8]) {
    let (mut at, body) = entries.remainder();
    assert_eq!(body, table.get(at..).unwrap_or_default());
    let mut walked = Vec::new();
    let mut fault = None;
    for entry in entries.by_ref() {
        match entry {
            Ok(entry) => {
                assert!(fault.is_none(), "the walk goes on behind a fault");
                walked.push(entry);
            }
            Err(error) => assert!(fault.replace(error).is_none(), "two faults end one walk"),
        }
    }
    for entry in &walked {
        assert_eq!(entry.offset, at);
        assert!(entry.bytes.len() >= F::HEADER, "a step shorter than a header");
        assert!(table[at..].starts_with(entry.bytes));
        at += entry.bytes.len();
    }
    let (offset, remainder) = entries.remainder();
    assert_eq!(offset, at);
    assert_eq!(remainder, table.get(at..).unwrap_or_default());
    assert_eq!(remainder.is_empty(), fault.is_none(), "bytes are left exactly when a fault ended the walk");
    if let Some(error) = fault {
        refused(&error, table);
        assert_eq!(error.offset, at as u64);
    }
    let of_anatomy: Vec<_> = groups
        .iter()
        .filter_map(|group| match group.role {
            Role::Structure { kind } => Some((kind, group.offset, group.bytes)),
            _ => None,
        })
        .collect();
    let of_view: Vec<_> = walked.iter().map(|entry| (Some(entry.kind), entry.offset, entry.bytes)).collect();
    assert!(of_view == of_anatomy, "view and anatomy disagree on the structures");
    (walked, remainder)
}

/// Checks that a structure that cannot be decoded is the one that its fault names, and is too short for its type.
pub fn undecoded(error: &TableError, raw: &RawEntry<'_>) {
    print(error);
    assert_eq!(error.offset, raw.offset as u64);
    assert!(matches!(error.cause, Cause::StructureLengthShort | Cause::ListOverrun), "{error}");
    assert_eq!(error.found, raw.bytes.len() as u64, "{error}");
    assert!(error.expected > error.found, "{error}");
}

/// Checks that the lists of a decoded structure are those that the anatomy shows.
pub fn lists_agree(groups: &[Group<'_>], raw: &RawEntry<'_>, lists: &[&[u8]]) {
    let group =
        groups.iter().find(|group| group.offset == raw.offset).expect("view and anatomy agreed before");
    assert_eq!(group.faults[0], None, "the anatomy finds a fault in what was decoded");
    for (of_anatomy, of_view) in group.lists().iter().zip(lists) {
        assert!(of_anatomy.bytes == *of_view, "view and anatomy disagree on a list");
    }
}

/// Checks that a table that was written with Length and Checksum filled in has no fault in them.
pub fn sealed(format: Format, bytes: &[u8]) {
    let groups = anatomy_of(format, bytes);
    assert!(groups.iter().all(|group| group.role != Role::Trailing), "bytes behind a sealed table");
    let header = groups.first().expect("a table has a header");
    assert_eq!(header.faults, [None; 2], "a sealed table has a fault in its header");
}

/// A vector or a slice, chosen at run time.
#[derive(Debug)]
pub enum Place<'a> {
    /// Grows.
    Vec(&'a mut Vec<u8>),
    /// Has an end.
    Slice(SliceOutput<'a>),
}

impl Output for Place<'_> {
    fn claim(&mut self, length: usize) -> Option<&mut [u8]> {
        match self {
            Self::Vec(vec) => vec.claim(length),
            Self::Slice(slice) => slice.claim(length),
        }
    }

    fn written(&mut self) -> (&mut [u8], u64) {
        match self {
            Self::Vec(vec) => vec.written(),
            Self::Slice(slice) => slice.written(),
        }
    }
}

/// Checks that `write` makes exactly `expected`: into a vector, into a slice of the right size; and that a slice
/// one byte too short, or empty, is refused with the right size.
pub fn writes(expected: &[u8], write: impl Fn(Place<'_>) -> Result<u64, WriteError>) {
    let length = expected.len() as u64;
    let mut vec = Vec::new();
    assert_eq!(write(Place::Vec(&mut vec)), Ok(length));
    assert!(vec == expected, "writing what was read gives other bytes");
    let mut buffer = vec![0xa5; expected.len() + 1];
    assert_eq!(write(Place::Slice(SliceOutput::new(&mut buffer))), Ok(length));
    assert!(buffer[..expected.len()] == *expected, "the slice has other bytes than the vector");
    assert_eq!(buffer[expected.len()], 0xa5, "a byte behind the table was touched");
    for size in [0, expected.len().saturating_sub(1)].into_iter().filter(|size| *size < expected.len()) {
        let refused = write(Place::Slice(SliceOutput::new(&mut buffer[..size])));
        assert_eq!(refused, Err(WriteError::BufferTooSmall { needed: length, available: size as u64 }));
    }
}
