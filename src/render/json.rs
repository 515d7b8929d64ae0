//! A small JSON writer (RFC 8259) over `core::fmt::Write`: no allocation, keys in the order they are given.

use core::fmt::{self, Display, Write};

/// Writes one JSON value, indented by one space a level.
///
/// Calls have to be balanced: a key before every value inside an object, an `end_` for every `begin_`. Objects
/// and arrays opened with an `_inline` call stay on one line, with all that is inside them.
#[derive(Debug)]
pub struct JsonWriter<W> {
    out: W,
    depth: u32,
    /// Level from which everything stays on one line; 0 when nothing does.
    inline_from: u32,
    /// Nothing stands before the next element on its level.
    first: bool,
    /// A key was written and its value is due.
    after_key: bool,
}

impl<W: Write> JsonWriter<W> {
    /// Starts a value.
    pub const fn new(out: W) -> Self {
        Self { out, depth: 0, inline_from: 0, first: true, after_key: false }
    }

    /// Gives the destination back.
    pub fn into_inner(self) -> W {
        self.out
    }

    fn line(&mut self) -> fmt::Result {
        if self.inline_from != 0 {
            return Ok(());
        }
        self.out.write_char('\n')?;
        for _ in 0..self.depth {
            self.out.write_char(' ')?;
        }
        Ok(())
    }

    /// Separates the next key or element from what stands before it.
    fn element(&mut self) -> fmt::Result {
        if core::mem::take(&mut self.after_key) {
            return Ok(());
        }
        if !core::mem::take(&mut self.first) {
            self.out.write_str(if self.inline_from == 0 { "," } else { ", " })?;
        }
        if self.depth == 0 { Ok(()) } else { self.line() }
    }

    fn open(&mut self, bracket: char, inline: bool) -> fmt::Result {
        self.element()?;
        self.out.write_char(bracket)?;
        self.depth = self.depth.saturating_add(1);
        if inline && self.inline_from == 0 {
            self.inline_from = self.depth;
        }
        self.first = true;
        Ok(())
    }

    fn close(&mut self, bracket: char) -> fmt::Result {
        let was_inline = self.inline_from != 0;
        if self.inline_from == self.depth {
            self.inline_from = 0;
        }
        self.depth = self.depth.saturating_sub(1);
        if !self.first && !was_inline {
            self.line()?;
        }
        self.first = false;
        self.out.write_char(bracket)
    }

    /// Opens an object.
    ///
    /// # Errors
    /// As the destination has them; so for every method.
    pub fn begin_object(&mut self) -> fmt::Result {
        self.open('{', false)
    }

    /// Opens an object that stays on one line.
    pub fn begin_object_inline(&mut self) -> fmt::Result {
        self.open('{', true)
    }

    /// Closes an object.
    pub fn end_object(&mut self) -> fmt::Result {
        self.close('}')
    }

    /// Opens an array.
    pub fn begin_array(&mut self) -> fmt::Result {
        self.open('[', false)
    }

    /// Opens an array that stays on one line.
    pub fn begin_array_inline(&mut self) -> fmt::Result {
        self.open('[', true)
    }

    /// Closes an array.
    pub fn end_array(&mut self) -> fmt::Result {
        self.close(']')
    }

    /// Writes the key of the next value.
    pub fn key(&mut self, key: impl Display) -> fmt::Result {
        self.string(key)?;
        self.out.write_str(": ")?;
        self.after_key = true;
        Ok(())
    }

    /// Writes a text value.
    pub fn string(&mut self, text: impl Display) -> fmt::Result {
        self.element()?;
        self.out.write_char('"')?;
        write!(Escape(&mut self.out), "{text}")?;
        self.out.write_char('"')
    }

    /// Writes a number; `number` has to print as JSON wants it.
    pub fn number(&mut self, number: impl Display) -> fmt::Result {
        self.element()?;
        write!(self.out, "{number}")
    }

    /// Writes `true` or `false`.
    pub fn bool(&mut self, value: bool) -> fmt::Result {
        self.number(value)
    }

    /// Writes `null`.
    pub fn null(&mut self) -> fmt::Result {
        self.number("null")
    }
}

/// Escapes what passes through as the inside of a JSON string.
struct Escape<W>(W);

impl<W: Write> Write for Escape<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '"' => self.0.write_str("\\\"")?,
                '\\' => self.0.write_str("\\\\")?,
                '\n' => self.0.write_str("\\n")?,
                // C1 controls too: a terminal may obey them.
                control if control.is_control() => {
                    write!(self.0, "\\u{:04x}", u32::from(control))?;
                }
                other => self.0.write_char(other)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    extern crate alloc;
    use alloc::string::String;

    #[test]
    fn nesting_commas_and_escapes() {
        let mut json = JsonWriter::new(String::new());
        json.begin_object().unwrap();
        json.key("a").unwrap();
        json.begin_array_inline().unwrap();
        json.number(1).unwrap();
        json.begin_object().unwrap();
        json.key("x").unwrap();
        json.null().unwrap();
        json.end_object().unwrap();
        json.end_array().unwrap();
        json.key("empty").unwrap();
        json.begin_object().unwrap();
        json.end_object().unwrap();
        json.key("t").unwrap();
        json.string("q\"\\\n\u{1}").unwrap();
        json.end_object().unwrap();
        assert_eq!(
            json.into_inner(),
            "{\n \"a\": [1, {\"x\": null}],\n \"empty\": {},\n \"t\": \"q\\\"\\\\\\n\\u0001\"\n}"
        );
    }
}
