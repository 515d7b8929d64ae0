//! Text inputs as lines, whatever their encoding and line ends.

use crate::units::widen;
use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

/// One line of a text.
#[derive(Clone, Debug)]
pub(crate) struct Line<'a> {
    /// Its number, counted from 1.
    pub(crate) number: u64,
    /// Offset of its first byte in the text.
    pub(crate) offset: u64,
    /// The line without its end; bytes that are not UTF-8 are replaced.
    pub(crate) text: Cow<'a, str>,
}

/// The lines of a text. `\n` and `\r\n` end a line.
pub(crate) fn lines(text: &[u8]) -> impl Iterator<Item = Line<'_>> {
    let mut offset = 0_u64;
    (1..).zip(text.split(|byte| *byte == b'\n')).map(move |(number, bytes)| {
        let start = offset;
        offset = offset.saturating_add(widen(bytes.len())).saturating_add(1);
        let bytes = bytes.strip_suffix(b"\r").unwrap_or(bytes);
        Line { number, offset: start, text: String::from_utf8_lossy(bytes) }
    })
}

/// The text as ASCII-compatible bytes: UTF-16 with a byte order mark, which the UEFI shell writes, is converted,
/// and the mark of UTF-8 is dropped.
pub(crate) fn decode(bytes: &[u8]) -> Cow<'_, [u8]> {
    let utf16 = |rest: &[u8], word: fn([u8; 2]) -> u16| {
        let words: Vec<u16> =
            rest.chunks_exact(2).filter_map(|pair| pair.try_into().ok()).map(word).collect();
        Cow::Owned(String::from_utf16_lossy(&words).into_bytes())
    };
    match bytes {
        [0xff, 0xfe, rest @ ..] => utf16(rest, u16::from_le_bytes),
        [0xfe, 0xff, rest @ ..] => utf16(rest, u16::from_be_bytes),
        [0xef, 0xbb, 0xbf, rest @ ..] => Cow::Borrowed(rest),
        _ => Cow::Borrowed(bytes),
    }
}

/// Whether decoded bytes are text: not empty, and without the control characters, above all NUL, and the bytes alien to
/// UTF-8 that binary forms have near their start.
pub(crate) fn is_text(bytes: &[u8]) -> bool {
    const LOOK: usize = 4096;
    let alien = |byte: &u8| matches!(byte, 0..=8 | 0x0e..=0x1a | 0x1c..=0x1f | 0xf8..=0xff);
    !bytes.is_empty() && !bytes.iter().take(LOOK).any(alien)
}

/// A hexadecimal number with or without `0x`, of at most 64 bits.
pub(crate) fn hex(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    // from_str_radix takes a sign.
    digits.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| u64::from_str_radix(digits, 16).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_know_where_they_are() {
        let lines: Vec<_> = lines(b"a\r\n\xff\n\nlast").map(|l| (l.number, l.offset, l.text)).collect();
        let expected = [(1, 0, "a"), (2, 3, "\u{fffd}"), (3, 5, ""), (4, 6, "last")];
        assert_eq!(lines, expected.map(|(number, offset, text)| (number, offset, Cow::Borrowed(text))));
    }

    #[test]
    fn the_encodings_of_the_shell_are_read() {
        assert_eq!(*decode(b"\xff\xfeA\0\n\0"), *b"A\n");
        assert_eq!(*decode(b"\xfe\xff\0A\0\n"), *b"A\n");
        assert_eq!(*decode(b"\xef\xbb\xbfA"), *b"A");
        assert!(matches!(decode(b"A"), Cow::Borrowed(b"A")));
        assert!(
            !is_text(b"\xff\xff") && !is_text(b"") && !is_text(b"SRAT\x30\0\0\0") && is_text(b"SRAT @ 0x0")
        );
    }

    #[test]
    fn numbers_have_hexadecimal_digits_only() {
        assert_eq!(hex("0x000000000009fbff"), Some(0x9fbff));
        assert_eq!(hex("FFFFFFFFFFFFFFFF"), Some(u64::MAX));
        for bad in ["", "0x", "+1", "-1", "12g", "1ffffffffffffffff", "0x 1"] {
            assert_eq!(hex(bad), None, "{bad}");
        }
    }
}
