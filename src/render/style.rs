//! Colour for a terminal, or none.

use core::fmt::{self, Display};

/// Whether ANSI colour codes are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Colour {
    /// Plain text.
    #[default]
    Off,
    /// ANSI escape sequences for the eight basic colours.
    On,
}

/// What a piece of text is, for choosing its look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A heading.
    Heading,
    /// A name that groups what follows.
    Title,
    /// Something of little interest: offsets, raw bytes, reserved fields.
    Dim,
    /// A value worth finding quickly.
    Value,
    /// What makes a value come out right: nodes, tiers.
    Good,
    /// Something unusual.
    Warning,
    /// Something wrong.
    Fault,
}

impl Colour {
    /// `text` in `style`.
    pub const fn paint<T: Display>(self, style: Style, text: T) -> Painted<T> {
        Painted { colour: self, style, text }
    }
}

/// Text with a look; made by [`Colour::paint`]. Padding of the formatter applies to the text alone.
#[derive(Clone, Copy, Debug)]
pub struct Painted<T> {
    colour: Colour,
    style: Style,
    text: T,
}

impl<T: Display> Display for Painted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.colour == Colour::Off {
            return self.text.fmt(f);
        }
        f.write_str(match self.style {
            Style::Heading => "\x1b[1;4m",
            Style::Title => "\x1b[1;36m",
            Style::Dim => "\x1b[2m",
            Style::Value => "\x1b[1m",
            Style::Good => "\x1b[32m",
            Style::Warning => "\x1b[33m",
            Style::Fault => "\x1b[1;31m",
        })?;
        self.text.fmt(f)?;
        f.write_str("\x1b[0m")
    }
}
