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
