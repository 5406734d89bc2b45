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
                    c if c.is_control() => write!(f, "\\u{:04x}", c as u32)?,
                    c => f.write_char(c)?,
                }
            }
            for b in chunk.invalid() {
                write!(f, "\\x{b:02x}")?;
            }
        }
        f.write_char('"')
    }
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
            (b"", "\"\""),
        ] {
            assert_eq!(GoQuoted::new(bytes).to_string(), shown);
        }
    }
}
