//! Text in double quotes, as Go's `strconv.Quote` and `%q` write it; what can be printed is left as it is.

use std::fmt::{self, Write as _};

/// Shows text, or bytes of which broken UTF-8 is escaped byte by byte.
#[derive(Debug, Clone, Copy)]
pub struct GoQuoted<'a>(&'a [u8]);

impl<'a> GoQuoted<'a> {
    pub fn new(text: &'a (impl AsRef<[u8]> + ?Sized)) -> Self {
        Self(text.as_ref())
    }
}

impl fmt::Display for GoQuoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                match c {
                    '"' => f.write_str("\\\"")?,
                    '\\' => f.write_str("\\\\")?,
                    '\n' => f.write_str("\\n")?,
                    '\t' => f.write_str("\\t")?,
                    '\r' => f.write_str("\\r")?,
                    '\x07' => f.write_str("\\a")?,
                    '\x08' => f.write_str("\\b")?,
                    '\x0b' => f.write_str("\\v")?,
                    '\x0c' => f.write_str("\\f")?,
                    c if (c as u32) < 0x20 || c as u32 == 0x7f => write!(f, "\\x{:02x}", c as u32)?,
                    c if c.is_ascii() || can_be_printed(c) => f.write_char(c)?,
                    c if (c as u32) < 0x10000 => write!(f, "\\u{:04x}", c as u32)?,
                    c => write!(f, "\\U{:08x}", c as u32)?,
                }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        f.write_char('"')
    }
}

/// Is it a letter, mark, number, sign or symbol, as Go's `unicode.IsPrint` has it? Rust's own quoting asks the same, but
/// escapes marks where they stand first.
fn can_be_printed(c: char) -> bool {
    c.escape_debug().len() == 1 || format!("a{c}").escape_debug().count() == 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_and_bytes() {
        for (bytes, shown) in [
            (&b"a\"\n\x01"[..], r#""a\"\n\x01""#),
            (b"\\\t\r\x07\x08\x0b\x0c\x7f", r#""\\\t\r\a\b\v\f\x7f""#),
            (b"\xc3\xa9\xff", "\"é\\xff\""),
            ("\u{85}".as_bytes(), r#""\u0085""#),
            ("\u{a0}\u{200b}\u{2028}\u{feff}".as_bytes(), r#""\u00a0\u200b\u2028\ufeff""#),
            ("\u{e000}\u{e0001}".as_bytes(), r#""\ue000\U000e0001""#),
            ("\u{301}e\u{301}😀\u{fffd}§".as_bytes(), "\"\u{301}e\u{301}😀\u{fffd}§\""),
            (b"", "\"\""),
        ] {
            assert_eq!(GoQuoted::new(bytes).to_string(), shown);
        }
    }
}
