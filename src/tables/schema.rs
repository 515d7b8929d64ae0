//! Which structures each table is made of, for code that treats all tables alike.

use super::layout::Layout;
use crate::units::Signature;

/// The make-up of one table.
#[derive(Clone, Copy, Debug)]
pub struct TableSchema {
    /// The table.
    pub signature: Signature,
    /// The specification's name of it.
    pub name: &'static str,
    /// The fixed fields between the header and the body.
    pub prologue: Option<&'static Layout>,
    /// What follows them.
    pub body: Body,
}

/// The part of a table behind its fixed fields.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub enum Body {
    /// Structures that begin with type and length.
    Structures(Structures),
    /// The lists of the prologue, and nothing else.
    Lists,
    /// Bytes whose meaning this crate does not know.
    Opaque,
}

/// The structures that a table may hold.
#[derive(Clone, Copy, Debug)]
pub struct Structures {
    /// How type and length are written.
    pub framing: FramingKind,
    /// Every layout with its type number; where one type has several, they differ by `id`.
    pub layouts: &'static [(u16, Layout)],
    /// For tables in which one type has several layouts: the `id` of the one that a structure has, by the
    /// revision of the table, the type and the bytes. `None` leaves it to the type.
    pub choose: Option<Choose>,
}

/// Names the layout of a structure by the revision of its table, its type and its bytes.
pub type Choose = fn(u8, u16, &[u8]) -> Option<&'static str>;

/// How a table writes the type and length of its structures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingKind {
    /// [`Narrow`](super::entries::Narrow).
    Narrow,
    /// [`Medium`](super::entries::Medium).
    Medium,
    /// [`Wide`](super::entries::Wide).
    Wide,
}

impl FramingKind {
    /// Offset and width in bytes of the type and the length field.
    #[must_use]
    pub const fn fields(self) -> [(usize, usize); 2] {
        match self {
            Self::Narrow => [(0, 1), (1, 1)],
            Self::Medium => [(0, 1), (2, 2)],
            Self::Wide => [(0, 2), (4, 4)],
        }
    }
}

impl Structures {
    /// The layout of a structure, or `None` for a type that is not known.
    #[must_use]
    pub fn layout(&self, revision: u8, kind: u16, bytes: &[u8]) -> Option<&'static Layout> {
        let id = self.choose.and_then(|choose| choose(revision, kind, bytes));
        let mut of_kind = self.layouts.iter().filter(|(number, _)| *number == kind).map(|(_, layout)| layout);
        match id {
            Some(id) => of_kind.find(|layout| layout.id == id),
            None => of_kind.next(),
        }
    }

    /// The layout with this `id`, and its type number.
    #[must_use]
    pub fn by_id(&self, id: &str) -> Option<(u16, &'static Layout)> {
        self.layouts.iter().find(|(_, layout)| layout.id == id).map(|(kind, layout)| (*kind, layout))
    }
}

/// Every table whose structures are known here.
const KNOWN: &[TableSchema] = &[
    super::cdat::SCHEMA,
    super::cedt::SCHEMA,
    super::hmat::SCHEMA,
    super::madt::SCHEMA,
    super::msct::SCHEMA,
    super::root::RSDT_SCHEMA,
    super::root::XSDT_SCHEMA,
    super::slit::SCHEMA,
    super::srat::SCHEMA,
];

impl TableSchema {
    /// The make-up of the table with this signature; [`Body::Opaque`] for one that is not known.
    #[must_use]
    pub fn of(signature: Signature) -> Self {
        KNOWN.iter().find(|schema| schema.signature == signature).copied().unwrap_or(Self {
            signature,
            name: "unknown table",
            prologue: None,
            body: Body::Opaque,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::layout::{Field, Kind, MAX_LISTS, Row, Structure};

    /// Every layout there is, with the table it belongs to.
    fn every_layout(mut check: impl FnMut(&str, &Layout)) {
        check("headers", &crate::tables::header::SdtHeader::LAYOUT);
        check("headers", &crate::tables::cdat::CdatHeader::LAYOUT);
        check("RSDP", &crate::tables::root::RsdpV1::LAYOUT);
        check("RSDP", &crate::tables::root::RsdpExtension::LAYOUT);
        check("EFI", &crate::tables::efi::EfiDescriptor::LAYOUT);
        check("E820", &crate::tables::e820::E820Entry::LAYOUT);
        for schema in KNOWN {
            schema.prologue.iter().for_each(|layout| check(schema.name, layout));
            if let Body::Structures(structures) = schema.body {
                structures.layouts.iter().for_each(|(_, layout)| check(schema.name, layout));
            }
        }
    }

    /// Checks that `fields` follow each other from 0 to `size` and mean something.
    fn assert_fields(table: &str, id: &str, fields: &[Field], size: usize) {
        let mut next = 0;
        for (index, field) in fields.iter().enumerate() {
            assert_eq!(field.offset, next, "{table} {id} {}", field.key);
            assert!(field.width > 0 && !field.key.is_empty(), "{table} {id}");
            assert!(!field.is_number() || field.width <= 8, "{table} {id} {}", field.key);
            let twins = fields[..index].iter().filter(|earlier| earlier.key == field.key).count();
            assert_eq!(twins, 0, "{table} {id} {}", field.key);
            let bits = u32::try_from(field.width).unwrap() * 8;
            match field.kind {
                Kind::Code(names) => {
                    for (index, name) in names.iter().enumerate() {
                        assert!(bits == 64 || name.value < 1 << bits, "{table} {id} {}", name.name);
                        assert!(names[..index].iter().all(|earlier| earlier.value != name.value), "{id}");
                    }
                }
                Kind::Flags(groups) => {
                    let mut taken = 0_u64;
                    for group in groups {
                        let mask = (u64::MAX >> (64 - group.width)) << group.shift;
                        assert_eq!(taken & mask, 0, "{table} {id} {}", group.name);
                        assert!(group.shift + group.width <= bits, "{table} {id} {}", group.name);
                        assert_eq!(group.extract(mask), u64::MAX >> (64 - group.width));
                        assert!(group.values.iter().all(|name| name.value < 1 << group.width));
                        taken |= mask;
                    }
                }
                _ => {}
            }
            next += field.width;
        }
        assert_eq!(next, size, "{table} {id}");
    }

    #[test]
    fn the_fields_of_every_layout_follow_each_other_to_its_end() {
        let mut layouts = 0;
        every_layout(|table, layout| {
            layouts += 1;
            assert_fields(table, layout.id, layout.fields, layout.size);
            assert!(layout.lists.len() <= MAX_LISTS, "{table} {}", layout.id);
            for (index, list) in layout.lists.iter().enumerate() {
                assert_fields(table, list.key, list.element, list.stride);
                assert!(layout.fields.iter().all(|field| field.key != list.key), "{table} {}", list.key);
                if let Row::Matrix { rows, columns } = list.row {
                    assert!(rows < index && columns < index, "{table} {}", list.key);
                }
            }
        });
        assert!(layouts >= 34, "{layouts}");
    }

    #[test]
    fn every_layout_of_a_table_has_a_name_of_its_own_and_is_found_by_it() {
        for schema in KNOWN {
            assert!(KNOWN.iter().filter(|other| other.signature == schema.signature).count() <= 1);
            let Body::Structures(structures) = schema.body else { continue };
            let [(type_at, type_width), (length_at, length_width)] = structures.framing.fields();
            for (kind, layout) in structures.layouts {
                let found = structures.by_id(layout.id).unwrap();
                assert_eq!((found.0, found.1.size), (*kind, layout.size), "{}", layout.id);
                let same = structures.layouts.iter().filter(|(_, other)| other.id == layout.id);
                assert_eq!(same.count(), 1, "{}", layout.id);
                // Type and length stand where the walker looks for them.
                let [first, ..] = layout.fields else { panic!("{}", layout.id) };
                assert_eq!((first.offset, first.width), (type_at, type_width), "{}", layout.id);
                let length = layout.fields.iter().find(|field| matches!(field.kind, Kind::Length)).unwrap();
                assert_eq!((length.offset, length.width), (length_at, length_width), "{}", layout.id);
            }
        }
    }

    #[test]
    fn a_structure_shorter_than_its_fields_has_empty_lists() {
        every_layout(|table, layout| {
            let zeros = [0; 200];
            for length in 0..layout.size {
                let (parts, needed) = layout.parts(&zeros[..length]);
                assert_eq!(needed, layout.size as u64, "{table} {}", layout.id);
                assert!(parts.iter().all(|part| part.bytes.is_empty() && part.count == 0));
            }
            // Whatever the fields say, the lists stay inside the structure.
            let ones = [0xff; 400];
            let (parts, needed) = layout.parts(&ones);
            assert!(needed >= layout.size as u64);
            for (part, _) in parts.iter().zip(layout.lists) {
                assert!(part.offset + part.bytes.len() <= ones.len(), "{table} {}", layout.id);
            }
        });
    }
}
