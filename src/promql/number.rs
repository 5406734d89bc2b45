//! Numbers and durations as they are written in queries.

use crate::model::{Duration, parse_float};

/// What stands at the start of a text, and how many bytes long it is.
pub(super) enum NumberScan {
    Number(usize),
    Duration(usize),
    /// Neither; so much was read before it was clear.
    Bad(usize),
}

struct Scan<'a> {
    bytes: &'a [u8],
    pos: usize,
}

impl Scan<'_> {
    fn is(&self, set: &[u8]) -> bool {
        self.bytes.get(self.pos).is_some_and(|b| set.contains(b))
    }

    fn accept(&mut self, set: &[u8]) -> bool {
        let yes = self.is(set);
        self.pos += usize::from(yes);
        yes
    }

    fn at_end(&self) -> bool {
        self.pos >= self.bytes.len()
    }

    fn at_word(&self) -> bool {
        self.bytes.get(self.pos).is_some_and(|b| b.is_ascii_alphanumeric() || *b == b'_')
    }

    fn number(&mut self, in_series: bool) -> bool {
        let mut digits: &[u8] = b"0123456789";
        // In series descriptions `0x3` is "0, three times".
        if !in_series && self.accept(b"0") && self.accept(b"xX") {
            self.accept(b"_");
            digits = b"0123456789abcdefABCDEF";
        }
        let hex = digits.len() > 10;
        self.accept(b".");
        self.accept(digits);
        let (mut dot, mut exponent) = (self.pos > 0 && self.bytes.get(self.pos - 1) == Some(&b'.'), false);
        dot |= self.bytes.first() == Some(&b'.');
        loop {
            if self.is(digits) {
                self.pos += 1;
            } else if self.is(b".") {
                self.pos += 1;
                if dot || hex || self.accept(b"_.") {
                    return false;
                }
                dot = true;
            } else if !hex && self.is(b"eE") {
                self.pos += 1;
                if exponent {
                    return false;
                }
                exponent = true;
                self.accept(b"+-");
                if self.accept(b"._eE") || self.at_end() {
                    return false;
                }
            } else if self.is(b"_") {
                self.pos += 1;
                if self.accept(b"._eE") || self.at_end() {
                    return false;
                }
            } else {
                break;
            }
        }
        self.pos > 0 && ((in_series && self.is(b"x")) || !self.at_word())
    }

    /// The units after the first number.
    fn duration(&mut self) -> bool {
        if !self.accept(b"smhdwy") {
            return false;
        }
        // `ms`; a wrong one such as `hs` is told when the duration is read.
        self.accept(b"s");
        while self.accept(b"0123456789") {
            while self.accept(b"0123456789") {}
            if !self.accept(b"smhdw") {
                return false;
            }
            self.accept(b"s");
        }
        if self.at_word() {
            self.pos += 1;
            return false;
        }
        true
    }
}

/// Finds the number or duration at the start of the text.
pub(super) fn scan_number_or_duration(text: &str, in_series: bool) -> NumberScan {
    let mut scan = Scan { bytes: text.as_bytes(), pos: 0 };
    if scan.number(in_series) {
        return NumberScan::Number(scan.pos);
    }
    if scan.duration() {
        return NumberScan::Duration(scan.pos);
    }
    NumberScan::Bad(scan.pos)
}

/// The value of a number as it is written: whole numbers in any of Go's bases (`0x1F`, `0755`, `0b1`,
/// `1_000`), or a float.
pub(super) fn number_value(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let sign = if text.starts_with('-') { -1.0 } else { 1.0 };
    if let Some(n) = integer(unsigned) {
        return Some(sign * n as f64);
    }
    parse_float(text)
}

fn integer(text: &str) -> Option<i64> {
    let lower = text.to_ascii_lowercase();
    let (base, digits, prefixed) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..], true),
        [b'0', b'o', ..] => (8, &lower[2..], true),
        [b'0', b'b', ..] => (2, &lower[2..], true),
        [b'0', _, ..] => (8, &lower[1..], true),
        _ => (10, lower.as_str(), false),
    };
    // An underscore stands between digits, or after the base's prefix.
    if digits.ends_with('_') || digits.contains("__") || (digits.starts_with('_') && !prefixed) {
        return None;
    }
    i64::from_str_radix(&digits.replace('_', ""), base).ok()
}

/// The value of a duration in seconds, or why it is none.
pub(super) fn duration_value(text: &str) -> Result<f64, String> {
    match text.parse::<Duration>() {
        Ok(d) => Ok(d.as_secs_f64()),
        Err(e) => Err(unknown_unit(text).unwrap_or_else(|| e.to_string())),
    }
}

fn unknown_unit(text: &str) -> Option<String> {
    text.split(|c: char| c.is_ascii_digit())
        .find(|u| !u.is_empty() && !matches!(*u, "y" | "w" | "d" | "h" | "m" | "s" | "ms"))
        .map(|u| format!("unknown unit {u:?} in duration {text:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_go() {
        for (text, value) in [
            ("1", 1.0),
            ("0x1f", 31.0),
            ("0755", 493.0),
            ("089", 89.0),
            ("1_000", 1000.0),
            ("5e3", 5000.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("0", 0.0),
        ] {
            assert_eq!(number_value(text), Some(value), "{text}");
        }
        assert_eq!(number_value("1__0"), None);
        assert_eq!(duration_value("1h30m"), Ok(5400.0));
        assert_eq!(duration_value("5hs").unwrap_err(), "unknown unit \"hs\" in duration \"5hs\"");
    }
}
