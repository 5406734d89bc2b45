//! Percent-encoding, as URLs and forms have it.

/// Encodes text for a path or for the value of a query.
pub fn percent_encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 16);
    for b in text.bytes() {
        if b.is_ascii_alphanumeric() || b"-_.~".contains(&b) {
            out.push(char::from(b));
        } else {
            out.push('%');
            push_hex(&mut out, b, b"0123456789ABCDEF");
        }
    }
    out
}

/// Encodes text for the value of a query, a space as `+`: what Go's `url.QueryEscape` writes.
pub fn query_encode(text: &str) -> String {
    percent_encode(text).replace("%20", "+")
}

/// Undoes percent-encoding; what is no valid escape stays as it is, and broken UTF-8 becomes U+FFFD.
pub fn percent_decode(text: &[u8]) -> String {
    let digit = |i: usize| text.get(i).and_then(|b| char::from(*b).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut i = 0;
    while let Some(&b) = text.get(i) {
        match (b, digit(i + 1), digit(i + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high << 4 | low) as u8);
                i += 3;
            }
            _ => {
                out.push(b);
                i += 1;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Undoes the encoding of forms and query strings, where `+` is a space.
pub fn query_decode(text: &[u8]) -> String {
    let spaced: Vec<u8> = text.iter().map(|b| if *b == b'+' { b' ' } else { *b }).collect();
    percent_decode(&spaced)
}

/// Bytes in hexadecimal, in small letters.
pub fn hex(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(2 * bytes.len());
    for b in bytes {
        push_hex(&mut out, *b, b"0123456789abcdef");
    }
    out
}

fn push_hex(out: &mut String, b: u8, digits: &[u8; 16]) {
    out.push(char::from(digits[usize::from(b >> 4)]));
    out.push(char::from(digits[usize::from(b & 15)]));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        for (text, path, query) in [
            ("", "", ""),
            ("a-Z_0.~", "a-Z_0.~", "a-Z_0.~"),
            ("a b+ü%\n", "a%20b%2B%C3%BC%25%0A", "a+b%2B%C3%BC%25%0A"),
            ("%20", "%2520", "%2520"),
        ] {
            assert_eq!((percent_encode(text).as_str(), query_encode(text).as_str()), (path, query), "{text}");
            assert_eq!(
                (percent_decode(path.as_bytes()), query_decode(query.as_bytes())),
                (text.into(), text.into())
            );
        }
        for (text, expect) in [
            ("%zz%4", "%zz%4"),
            ("%", "%"),
            ("a+b", "a+b"),
            ("%fF", "\u{fffd}"),
            ("%2", "%2"),
            ("%2fx", "/x"),
        ] {
            assert_eq!(percent_decode(text.as_bytes()), expect, "{text}");
        }
        assert_eq!(hex(&[0, 0x1f, 0xab]), "001fab");
    }
}
