//! Strings in quotes: `"…"` and `'…'` with Go's escapes, and raw ones in backticks.

/// The length in bytes of the string at the start of `text`, quotes included, or why it is none.
pub(super) fn scan_string(text: &str, quote: char) -> Result<usize, String> {
    let raw = quote == '`';
    let mut chars = text.char_indices().skip(1);
    loop {
        let Some((at, c)) = chars.next() else {
            return Err(if raw { "unterminated raw string" } else { "unterminated quoted string" }.into());
        };
        match c {
            c if c == quote => return Ok(at + c.len_utf8()),
            '\u{fffd}' => return Err("invalid UTF-8 rune".into()),
            '\n' if !raw => return Err("unterminated quoted string".into()),
            '\\' if !raw => {
                escape(&mut chars.by_ref().map(|(_, c)| c), quote)?;
            }
            _ => {}
        }
    }
}

enum Unit {
    Char(char),
    Byte(u8),
}

/// Reads what follows a backslash.
fn escape(chars: &mut impl Iterator<Item = char>, quote: char) -> Result<Unit, String> {
    let unfinished = || "escape sequence not terminated".to_owned();
    let c = chars.next().ok_or_else(unfinished)?;
    let (mut digits, base, mut value, is_byte) = match c {
        'a' => return Ok(Unit::Char('\x07')),
        'b' => return Ok(Unit::Char('\x08')),
        'f' => return Ok(Unit::Char('\x0c')),
        'n' => return Ok(Unit::Char('\n')),
        'r' => return Ok(Unit::Char('\r')),
        't' => return Ok(Unit::Char('\t')),
        'v' => return Ok(Unit::Char('\x0b')),
        '\\' => return Ok(Unit::Char('\\')),
        c if c == quote => return Ok(Unit::Char(c)),
        '0'..='7' => (2, 8, c.to_digit(8).unwrap_or_default(), true),
        'x' => (2, 16, 0, true),
        'u' => (4, 16, 0, false),
        'U' => (8, 16, 0, false),
        c => return Err(format!("unknown escape sequence U+{:04X} '{c}'", c as u32)),
    };
    while digits > 0 {
        let c = chars.next().ok_or_else(unfinished)?;
        let digit = c
            .to_digit(base)
            .ok_or_else(|| format!("illegal character U+{:04X} '{c}' in escape sequence", c as u32))?;
        value = value.wrapping_mul(base).wrapping_add(digit);
        digits -= 1;
    }
    let invalid = || "escape sequence is an invalid Unicode code point".to_owned();
    if is_byte {
        return u8::try_from(value).map(Unit::Byte).map_err(|_| invalid());
    }
    char::from_u32(value).map(Unit::Char).ok_or_else(invalid)
}

/// The text that a quoted string stands for. Bytes that are no UTF-8 become U+FFFD.
pub(super) fn unquote(quoted: &str) -> String {
    let quote = quoted.chars().next().unwrap_or('"');
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if quote == '`' || !inner.contains('\\') {
        return inner.to_owned();
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut chars = inner.chars();
    while let Some(c) = chars.next() {
        let unit = if c == '\\' { escape(&mut chars, quote) } else { Ok(Unit::Char(c)) };
        match unit {
            Ok(Unit::Byte(b)) => bytes.push(b),
            Ok(Unit::Char(c)) => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            Err(_) => {}
        }
    }
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings() {
        for (text, meaning) in [
            (r#""a\tb""#, "a\tb"),
            (r"'\x41\102☺'", "AB☺"),
            (r"`\n`", "\\n"),
            (r#""\u00e9\U0001F600""#, "é😀"),
        ] {
            let first = text.chars().next().unwrap();
            assert_eq!(scan_string(text, first), Ok(text.len()));
            assert_eq!(unquote(text), meaning);
        }
        for text in [r#""\x""#, "\"a", "\"a\nb\"", r#""\400""#, r#""\ud800""#, r#""\c""#] {
            assert!(scan_string(text, '"').is_err(), "{text}");
        }
    }
}
