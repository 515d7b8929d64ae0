//! A table taken apart: every byte of it, in order, in groups that printers and builders understand.
//!
//! The groups cover the input without gap or overlap, whatever is wrong with it: a fault is told with the group
//! in which it lies, bytes that cannot be walked are a group of their own.

use super::cdat::CdatHeader;
use super::e820::E820Entry;
use super::efi::EfiDescriptor;
use super::entries::{Entries, Medium, Narrow, RawEntry, Wide};
use super::header::{SdtHeader, Table, right_checksum};
use super::layout::{Field, Layout, List, ListPart, MAX_LISTS, Structure};
use super::root::{RsdpExtension, RsdpV1};
use super::schema::{Body, FramingKind, TableSchema};
use crate::error::{Cause, TableError};
use crate::units::{Signature, widen};
use zerocopy::FromBytes;

/// What kind of bytes an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// An ACPI table with the common header.
    Sdt,
    /// The Root System Description Pointer.
    Rsdp,
    /// A CDAT.
    Cdat,
    /// EFI memory descriptors, `stride` bytes apart.
    EfiMap {
        /// Bytes from one descriptor to the next; at least 40.
        stride: usize,
    },
    /// E820 entries.
    E820,
}

/// The part that a group plays in its table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The header.
    Header,
    /// The fixed fields behind the header.
    Prologue,
    /// One structure of the body.
    Structure {
        /// Its type number; `None` in maps, whose entries have none.
        kind: Option<u16>,
    },
    /// A body whose make-up is not known.
    Body,
    /// Bytes of the body that cannot be walked, because of the group's fault.
    Unwalked,
    /// Bytes behind the table.
    Trailing,
}

/// Bytes that belong together.
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    /// What they are.
    pub role: Role,
    /// How they are laid out, when that is known.
    pub layout: Option<&'static Layout>,
    /// Offset of the first byte in the input.
    pub offset: usize,
    /// The bytes.
    pub bytes: &'a [u8],
    /// What is wrong in or with them.
    pub faults: [Option<TableError>; 2],
}

impl<'a> Group<'a> {
    /// What the bytes are, piece by piece, in order and without gap or overlap.
    ///
    /// A structure that ends inside its fixed fields gives the fields that are there, and then the rest.
    pub fn pieces(&self) -> impl Iterator<Item = Piece<'a>> + use<'a> {
        let (bytes, base) = (self.bytes, self.offset);
        let at = move |offset: usize| base.saturating_add(offset);
        let fields = self.layout.map_or(&[][..], |layout| layout.fields);
        let lists = self.layout.map_or(&[][..], |layout| layout.lists);
        let whole = self.layout.is_some_and(|layout| bytes.len() >= layout.size);
        let parts = self.lists();
        let explained = if whole {
            parts.iter().zip(lists).map(|(part, _)| part.offset.saturating_add(part.bytes.len())).max()
        } else {
            None
        };
        let explained = explained.unwrap_or_else(|| {
            let ends = fields.iter().map(|field| field.offset.saturating_add(field.width));
            ends.take_while(|end| *end <= bytes.len()).last().unwrap_or(0)
        });
        let rest = bytes.get(explained..).filter(|rest| !rest.is_empty());
        let fields = fields.iter().map_while(move |field| {
            Some(Piece::Field { field, offset: at(field.offset), bytes: field.bytes(bytes)? })
        });
        let lists = lists.iter().zip(parts).filter(move |_| whole).map(move |(list, part)| Piece::List {
            list,
            offset: at(part.offset),
            part,
        });
        fields.chain(lists).chain(rest.map(|bytes| Piece::Rest { offset: at(explained), bytes }))
    }

    /// The lists of the structure.
    #[must_use]
    pub fn lists(&self) -> [ListPart<'a>; MAX_LISTS] {
        self.layout.map_or([ListPart::EMPTY; MAX_LISTS], |layout| layout.parts(self.bytes).0)
    }
}

/// A part of a group.
#[derive(Clone, Copy, Debug)]
pub enum Piece<'a> {
    /// One fixed field.
    Field {
        /// Its description.
        field: &'static Field,
        /// Its offset in the input.
        offset: usize,
        /// Its bytes.
        bytes: &'a [u8],
    },
    /// A list, perhaps cut off.
    List {
        /// Its description.
        list: &'static List,
        /// Its offset in the input.
        offset: usize,
        /// Its elements.
        part: ListPart<'a>,
    },
    /// Bytes that the layout does not explain.
    Rest {
        /// Their offset in the input.
        offset: usize,
        /// The bytes.
        bytes: &'a [u8],
    },
}

/// The groups of one input, in order. Made by [`anatomy`].
#[derive(Clone, Debug)]
pub struct Anatomy<'a> {
    table: Signature,
    revision: u8,
    schema: TableSchema,
    bytes: &'a [u8],
    fixed: [Option<Group<'a>>; 2],
    body: Walk<'a>,
    body_offset: usize,
    trailing: Option<Group<'a>>,
}

/// What is left of the body.
#[derive(Clone, Debug)]
enum Walk<'a> {
    Narrow(Entries<'a, Narrow>),
    Medium(Entries<'a, Medium>),
    Wide(Entries<'a, Wide>),
    /// Entries of one size, without a type.
    Stride(usize, &'static Layout),
    /// One group for everything that is left.
    Whole(Role),
    Done,
}

/// Takes `input` apart.
///
/// # Errors
/// [`Cause::Truncated`] when it is shorter than the header of its format; [`Cause::Stride`] for an EFI stride
/// below 40.
pub fn anatomy(format: Format, input: &[u8]) -> Result<Anatomy<'_>, TableError> {
    match format {
        Format::Sdt => sdt(input),
        Format::Rsdp => rsdp(input),
        Format::Cdat => cdat(input),
        Format::EfiMap { stride } => {
            if stride < EfiDescriptor::LAYOUT.size {
                return Err(TableError {
                    table: Signature::EFI_MAP,
                    offset: 0,
                    cause: Cause::Stride,
                    expected: widen(EfiDescriptor::LAYOUT.size),
                    found: widen(stride),
                });
            }
            Ok(map(Signature::EFI_MAP, input, stride, &const { EfiDescriptor::LAYOUT }))
        }
        Format::E820 => Ok(map(Signature::E820, input, E820Entry::LAYOUT.size, &const { E820Entry::LAYOUT })),
    }
}

fn group<'a>(role: Role, layout: Option<&'static Layout>, offset: usize, bytes: &'a [u8]) -> Group<'a> {
    Group { role, layout, offset, bytes, faults: [None; 2] }
}

/// Bytes behind a table of `length` bytes, as a group with its fault.
fn trailing(table: Signature, length: usize, bytes: &[u8]) -> Option<Group<'_>> {
    let fault = TableError {
        table,
        offset: widen(length),
        cause: Cause::TrailingBytes,
        expected: widen(length),
        found: widen(length).saturating_add(widen(bytes.len())),
    };
    (!bytes.is_empty())
        .then(|| Group { faults: [Some(fault), None], ..group(Role::Trailing, None, length, bytes) })
}

fn sdt(input: &[u8]) -> Result<Anatomy<'_>, TableError> {
    let table = Table::parse(input)?;
    let bytes = table.bytes();
    let schema = TableSchema::of(table.signature());
    let mut faults = table.faults();
    let header = Group {
        faults: [faults.next(), faults.next()],
        ..group(
            Role::Header,
            Some(&const { SdtHeader::LAYOUT }),
            0,
            bytes.get(..SdtHeader::SIZE).unwrap_or_default(),
        )
    };
    let mut body_offset = SdtHeader::SIZE;
    let prologue = schema.prologue.map(|layout| {
        let rest = bytes.get(SdtHeader::SIZE..).unwrap_or_default();
        let end = match schema.body {
            Body::Lists => rest.len(),
            _ => usize::try_from(layout.parts(rest).1).unwrap_or(usize::MAX).min(rest.len()),
        };
        body_offset = SdtHeader::SIZE.saturating_add(end);
        let mut prologue =
            group(Role::Prologue, Some(layout), SdtHeader::SIZE, rest.get(..end).unwrap_or_default());
        prologue.faults = [layout_fault(schema.signature, &prologue), None];
        prologue
    });
    let body = match schema.body {
        Body::Structures(structures) => match structures.framing {
            FramingKind::Narrow => Walk::Narrow(Entries::new(schema.signature, bytes, body_offset)),
            FramingKind::Medium => Walk::Medium(Entries::new(schema.signature, bytes, body_offset)),
            FramingKind::Wide => Walk::Wide(Entries::new(schema.signature, bytes, body_offset)),
        },
        Body::Lists => Walk::Done,
        Body::Opaque => Walk::Whole(Role::Body),
    };
    Ok(Anatomy {
        table: schema.signature,
        revision: table.revision(),
        schema,
        bytes,
        fixed: [Some(header), prologue],
        body,
        body_offset,
        trailing: trailing(schema.signature, bytes.len(), table.trailing()),
    })
}

fn cdat(input: &[u8]) -> Result<Anatomy<'_>, TableError> {
    let table = super::cdat::Cdat::parse(input)?;
    let bytes = table.bytes();
    let size = CdatHeader::LAYOUT.size;
    let mut faults = table.faults();
    let header = Group {
        faults: [faults.next(), faults.next()],
        ..group(Role::Header, Some(&const { CdatHeader::LAYOUT }), 0, bytes.get(..size).unwrap_or_default())
    };
    Ok(Anatomy {
        table: Signature::CDAT,
        revision: table.header().revision.get(),
        schema: super::cdat::SCHEMA,
        bytes,
        fixed: [Some(header), None],
        body: Walk::Medium(Entries::new(Signature::CDAT, bytes, size)),
        body_offset: size,
        trailing: trailing(Signature::CDAT, bytes.len(), table.trailing()),
    })
}

fn rsdp(input: &[u8]) -> Result<Anatomy<'_>, TableError> {
    let first = RsdpV1::LAYOUT.size;
    let (v1, rest) = RsdpV1::ref_from_prefix(input).map_err(|_| TableError {
        table: Signature::RSDP,
        offset: 0,
        cause: Cause::Truncated,
        expected: widen(first),
        found: widen(input.len()),
    })?;
    let size = if v1.revision.get() >= 2 { RsdpExtension::LAYOUT.size.min(rest.len()) } else { 0 };
    let length = first.saturating_add(size);
    let bytes = input.get(..length).unwrap_or_default();
    let sum_fault = |range: &[u8], at: usize| {
        let found = range.get(at).copied()?;
        let right = right_checksum(range, found);
        (right != found).then(|| TableError {
            table: Signature::RSDP,
            offset: widen(at),
            cause: Cause::Checksum,
            expected: u64::from(right),
            found: u64::from(found),
        })
    };
    let v1_bytes = bytes.get(..first).unwrap_or_default();
    let header = Group {
        faults: [sum_fault(v1_bytes, 8), None],
        ..group(Role::Header, Some(&const { RsdpV1::LAYOUT }), 0, v1_bytes)
    };
    let extension = bytes.get(first..).filter(|bytes| !bytes.is_empty()).map(|extension| {
        let layout = &const { RsdpExtension::LAYOUT };
        let group = group(Role::Prologue, Some(layout), first, extension);
        Group { faults: [layout_fault(Signature::RSDP, &group), sum_fault(bytes, 32)], ..group }
    });
    Ok(Anatomy {
        table: Signature::RSDP,
        revision: v1.revision.get(),
        schema: TableSchema::of(Signature::RSDP),
        bytes,
        fixed: [Some(header), extension],
        body: Walk::Done,
        body_offset: length,
        trailing: trailing(Signature::RSDP, length, input.get(length..).unwrap_or_default()),
    })
}

fn map<'a>(table: Signature, input: &'a [u8], stride: usize, layout: &'static Layout) -> Anatomy<'a> {
    Anatomy {
        table,
        revision: 0,
        schema: TableSchema::of(table),
        bytes: input,
        fixed: [None, None],
        body: Walk::Stride(stride, layout),
        body_offset: 0,
        trailing: None,
    }
}

/// The fault of a group that is too short for its fields or its lists.
fn layout_fault(table: Signature, group: &Group<'_>) -> Option<TableError> {
    let layout = group.layout?;
    let (_, needed) = layout.parts(group.bytes);
    let found = widen(group.bytes.len());
    (needed > found).then(|| TableError {
        table,
        offset: widen(group.offset),
        cause: if group.bytes.len() < layout.size { Cause::StructureLengthShort } else { Cause::ListOverrun },
        expected: needed,
        found,
    })
}

impl<'a> Anatomy<'a> {
    /// The signature of the table, or the made-up one of its format.
    #[must_use]
    pub const fn table(&self) -> Signature {
        self.table
    }

    /// The make-up of the table.
    #[must_use]
    pub const fn schema(&self) -> &TableSchema {
        &self.schema
    }

    /// The revision of the table.
    #[must_use]
    pub const fn revision(&self) -> u8 {
        self.revision
    }

    fn structure(&self, raw: &RawEntry<'a>) -> Group<'a> {
        let layout = match self.schema.body {
            Body::Structures(structures) => structures.layout(self.revision, raw.kind, raw.bytes),
            _ => None,
        };
        let mut structure = group(Role::Structure { kind: Some(raw.kind) }, layout, raw.offset, raw.bytes);
        structure.faults = [layout_fault(self.table, &structure), None];
        structure
    }

    fn step(
        &mut self,
        item: Option<Result<RawEntry<'a>, TableError>>,
        left: (usize, &'a [u8]),
    ) -> Option<Group<'a>> {
        match item? {
            Ok(raw) => Some(self.structure(&raw)),
            Err(fault) => {
                let (offset, bytes) = left;
                Some(Group { faults: [Some(fault), None], ..group(Role::Unwalked, None, offset, bytes) })
            }
        }
    }

    fn next_of_body(&mut self) -> Option<Group<'a>> {
        match &mut self.body {
            Walk::Narrow(entries) => {
                let item = entries.next();
                let left = entries.remainder();
                self.step(item, left)
            }
            Walk::Medium(entries) => {
                let item = entries.next();
                let left = entries.remainder();
                self.step(item, left)
            }
            Walk::Wide(entries) => {
                let item = entries.next();
                let left = entries.remainder();
                self.step(item, left)
            }
            Walk::Stride(stride, layout) => {
                let (stride, layout) = (*stride, *layout);
                let offset = self.body_offset;
                let rest = self.bytes.get(offset..).filter(|rest| !rest.is_empty())?;
                let bytes = rest.get(..stride).unwrap_or(rest);
                self.body_offset = offset.saturating_add(bytes.len());
                if bytes.len() < stride {
                    let fault = TableError {
                        table: self.table,
                        offset: widen(offset),
                        cause: Cause::PartialEntry,
                        expected: widen(stride),
                        found: widen(bytes.len()),
                    };
                    return Some(Group {
                        faults: [Some(fault), None],
                        ..group(Role::Unwalked, None, offset, bytes)
                    });
                }
                Some(group(Role::Structure { kind: None }, Some(layout), offset, bytes))
            }
            Walk::Whole(role) => {
                let role = *role;
                self.body = Walk::Done;
                let bytes = self.bytes.get(self.body_offset..).filter(|bytes| !bytes.is_empty())?;
                Some(group(role, None, self.body_offset, bytes))
            }
            Walk::Done => None,
        }
    }
}

impl<'a> Iterator for Anatomy<'a> {
    type Item = Group<'a>;

    fn next(&mut self) -> Option<Group<'a>> {
        let fixed = self.fixed.iter_mut().find_map(Option::take);
        fixed.or_else(|| self.next_of_body()).or_else(|| self.trailing.take())
    }
}

/// What every table has to stand, for the tests of the tables.
#[cfg(all(test, feature = "alloc"))]
pub(crate) mod testing {
    use super::*;
    use crate::tables::header::Identity;
    use crate::tables::schema::Structures;
    use alloc::vec::Vec;

    /// The identity of the example tables.
    pub(crate) const IDENTITY: Identity = Identity {
        oem_id: *b"MTOPO ",
        oem_table_id: *b"EXAMPLE ",
        oem_revision: 1,
        creator_id: *b"MTPO",
        creator_revision: 1,
    };

    /// The outcome of each structure of a walk, or why the table cannot be walked at all.
    pub(crate) type Walked = Result<Vec<Result<(), TableError>>, TableError>;

    /// The bytes that hexadecimal digits stand for, whatever space is between them.
    pub(crate) fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<_> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }

    /// Checks that the groups of `input` cover all of it without gap or overlap, and that what a layout explains of
    /// a group and the rest of it do the same for the group. Gives the groups.
    pub(crate) fn assert_covered(format: Format, input: &[u8]) -> Vec<Group<'_>> {
        let groups: Vec<_> = anatomy(format, input).unwrap().collect();
        let mut next = 0;
        for group in &groups {
            assert_eq!(group.offset, next, "{group:?}");
            assert_eq!(group.bytes, &input[next..next + group.bytes.len()]);
            assert!(!group.bytes.is_empty() || group.faults[0].is_some(), "{group:?}");
            next += group.bytes.len();
            let mut explained = 0;
            for piece in group.pieces() {
                let (offset, bytes) = match piece {
                    Piece::Field { offset, bytes, .. } | Piece::Rest { offset, bytes } => (offset, bytes),
                    Piece::List { offset, part, .. } => (offset, part.bytes),
                };
                assert_eq!(offset, group.offset + explained, "{piece:?}");
                assert_eq!(bytes, &group.bytes[explained..explained + bytes.len()], "{piece:?}");
                explained += bytes.len();
            }
            assert_eq!(explained, group.bytes.len(), "{group:?}");
        }
        assert_eq!(next, input.len());
        groups
    }

    /// The bytes of `group` that its layout does not explain.
    pub(crate) fn rest<'a>(group: &Group<'a>) -> &'a [u8] {
        let rest = group.pieces().find_map(|piece| match piece {
            Piece::Rest { bytes, .. } => Some(bytes),
            _ => None,
        });
        rest.unwrap_or_default()
    }

    fn structures(format: Format, input: &[u8]) -> (Structures, Vec<Group<'_>>) {
        let anatomy = anatomy(format, input).unwrap();
        let Body::Structures(structures) = anatomy.schema().body else { panic!("no structures") };
        (structures, anatomy.filter(|group| matches!(group.role, Role::Structure { .. })).collect())
    }

    /// Checks that every beginning of the faultless table `input` is walked as far as it goes and then told, where
    /// `fixed` bytes come before the first structure.
    pub(crate) fn assert_truncations(
        format: Format,
        input: &[u8],
        fixed: usize,
        walk: impl Fn(&[u8]) -> Walked,
    ) {
        let (_, groups) = structures(format, input);
        let mut ends: Vec<_> = groups.iter().map(|group| group.offset + group.bytes.len()).collect();
        ends.insert(0, fixed);
        assert_eq!(walk(input).unwrap().len(), groups.len());
        for end in 0..input.len() {
            let cut = &input[..end];
            if end >= if format == Format::Cdat { 16 } else { 36 } {
                let groups = assert_covered(format, cut);
                assert!(groups.iter().flat_map(|group| group.faults).flatten().next().is_some(), "{end}");
            }
            let Ok(walked) = walk(cut) else {
                assert!(end < fixed, "{end}");
                continue;
            };
            assert!(end >= fixed, "{end}");
            let whole = ends.iter().filter(|limit| **limit <= end).count() - 1;
            let clean = ends.contains(&end);
            assert_eq!(walked.len(), whole + usize::from(!clean), "{end}");
            assert!(walked[..whole].iter().all(Result::is_ok), "{end}");
            assert_eq!(walked.last().is_some_and(Result::is_err), !clean, "{end}");
        }
    }

    /// Checks that a structure of `input` whose length field lies is either an error or a shorter walk, whatever it
    /// says, and that nothing before it is touched.
    pub(crate) fn assert_length_lies(format: Format, input: &[u8], walk: impl Fn(&[u8]) -> Walked) {
        let (structures, groups) = structures(format, input);
        let [_, (at, width)] = structures.framing.fields();
        for (index, group) in groups.iter().enumerate() {
            let left = input.len() - group.offset;
            let truth = group.bytes.len();
            for lie in (0..left + 20).chain([255, 256, 65535, 65536, 0xffff_ffff]) {
                if lie as u64 > u64::MAX >> (64 - 8 * width) || lie == truth {
                    continue;
                }
                let mut bytes = input.to_vec();
                bytes[group.offset + at..][..width].copy_from_slice(&lie.to_le_bytes()[..width]);
                assert_covered(format, &bytes);
                let walked = walk(&bytes).unwrap();
                assert!(walked[..index].iter().all(Result::is_ok), "{index} says {lie}");
                let cause = walked[index].err().map(|error| (error.cause, error.offset));
                let place = group.offset as u64;
                let header = at + width;
                if lie == 0 {
                    assert_eq!(cause, Some((Cause::StructureLengthZero, place)));
                } else if lie < header {
                    assert_eq!(cause, Some((Cause::StructureLengthHeader, place)));
                } else if lie > left {
                    assert_eq!(cause, Some((Cause::StructureOverrun, place)));
                } else if lie > truth {
                    assert_eq!(cause, None, "{index} says {lie}");
                } else if let Some((cause, offset)) = cause {
                    assert!(matches!(cause, Cause::StructureLengthShort | Cause::ListOverrun), "{cause:?}");
                    assert_eq!(offset, place);
                }
                if lie < header || lie > left {
                    assert_eq!(walked.len(), index + 1, "the walk is over");
                }
            }
        }
    }

    /// Checks that structures of a type that nobody knows keep their bytes. `input` is left with them.
    pub(crate) fn assert_unknown_kept(format: Format, input: &[u8], walk: impl Fn(&[u8]) -> Walked) {
        let (structures, groups) = structures(format, input);
        let [(at, _), _] = structures.framing.fields();
        let mut bytes = input.to_vec();
        for group in &groups {
            bytes[group.offset + at] = 0xee;
        }
        let unknown: Vec<_> = assert_covered(format, &bytes)
            .into_iter()
            .filter(|group| matches!(group.role, Role::Structure { .. }))
            .collect();
        assert_eq!(unknown.len(), groups.len());
        for (unknown, group) in unknown.iter().zip(&groups) {
            assert_eq!(unknown.role, Role::Structure { kind: Some(0xee) });
            assert!(unknown.layout.is_none());
            assert_eq!(rest(unknown).len(), group.bytes.len());
        }
        assert!(walk(&bytes).unwrap().iter().all(Result::is_ok));
    }
}
