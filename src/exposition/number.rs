//! Values as the formats write them.

use super::quote::go_quoted;
use crate::model::{format_float_exposition, parse_float};

/// Powers of ten that a float holds exactly.
const EXACT_POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18,
    1e19, 1e20, 1e21, 1e22,
];

/// The bit pattern of every NaN that is no staleness marker, as Prometheus normalizes it.
const NORMAL_NAN: u64 = 0x7ff8_0000_0000_0001;

/// Reads a value as Prometheus does: decimal, `Inf`, `NaN`; hexadecimal and `_` are refused.
///
/// # Errors
/// The text Prometheus gives.
pub fn parse_value(text: &[u8]) -> Result<f64, String> {
    if let Some((v, used)) = plain(text)
        && used == text.len()
    {
        return Ok(v);
    }
    if text.iter().any(|b| matches!(b, b'p' | b'P' | b'_')) {
        return Err("unsupported character in float".into());
    }
    let parsed = std::str::from_utf8(text).ok().and_then(parse_float);
    match parsed {
        Some(v) if v.is_nan() => Ok(f64::from_bits(NORMAL_NAN)),
        Some(v) if v.is_infinite() && text.iter().any(u8::is_ascii_digit) => {
            Err(format!("strconv.ParseFloat: parsing {}: value out of range", go_quoted(text)))
        }
        Some(v) => Ok(v),
        None => Err(format!("strconv.ParseFloat: parsing {}: invalid syntax", go_quoted(text))),
    }
}

/// Reads the common forms, `-`, digits, `.`, digits, an exponent, where no rounding can happen; with the
/// number of bytes read. `None` says nothing about the text but that the slow way must look at it.
#[inline]
pub(super) fn plain(text: &[u8]) -> Option<(f64, usize)> {
    let negative = text.first() == Some(&b'-');
    let mut i = usize::from(negative);
    let mut mantissa = 0u64;
    let first = i;
    while let Some(d) = digit(text, i) {
        mantissa = mantissa.wrapping_mul(10).wrapping_add(d);
        i += 1;
    }
    let mut digits = i - first;
    let mut exponent = 0i32;
    if text.get(i) == Some(&b'.') {
        i += 1;
        let point = i;
        while let Some(d) = digit(text, i) {
            mantissa = mantissa.wrapping_mul(10).wrapping_add(d);
            i += 1;
        }
        digits += i - point;
        exponent = -i32::try_from(i - point).ok()?;
    }
    if let Some(b'e' | b'E') = text.get(i) {
        i += 1;
        let minus = match text.get(i) {
            Some(b'-') => true,
            Some(b'+') => false,
            _ => return None,
        };
        i += 1;
        let (a, b) = (digit(text, i)?, digit(text, i + 1)?);
        i += 2;
        if digit(text, i).is_some() {
            return None;
        }
        let e = (a * 10 + b) as i32;
        exponent += if minus { -e } else { e };
    }
    // Nineteen digits never overflow; 2^53 is the last whole number without gaps.
    if digits == 0 || digits > 19 || mantissa > 1 << 53 {
        return None;
    }
    let whole = mantissa as f64;
    let power = *EXACT_POWERS.get(exponent.unsigned_abs() as usize)?;
    let v = if exponent < 0 { whole / power } else { whole * power };
    Some((if negative { -v } else { v }, i))
}

#[inline]
fn digit(text: &[u8], i: usize) -> Option<u64> {
    let d = text.get(i)?.wrapping_sub(b'0');
    (d < 10).then_some(u64::from(d))
}

/// A bucket's bound or a quantile in OpenMetrics' canonical form: `1` is `1.0`.
pub fn canonical_bound(v: f64) -> String {
    let mut text = format_float_exposition(v);
    if !text.contains(['.', 'e', 'N', 'I']) {
        text.push_str(".0");
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_as_go_reads_them() {
        for (text, want) in [
            ("0", Some(0.0)),
            ("-0", Some(-0.0)),
            ("+1", Some(1.0)),
            (".5", Some(0.5)),
            ("5.", Some(5.0)),
            ("1e5", Some(1e5)),
            ("1.7560473e+06", Some(1756047.3)),
            ("9007199254740993", Some(9007199254740992.0)),
            ("18446744073709551616", Some(18446744073709551616.0)),
            ("+Inf", Some(f64::INFINITY)),
            ("-infinity", Some(f64::NEG_INFINITY)),
            ("1e-400", Some(0.0)),
            ("1e400", None),
            ("", None),
            (".", None),
            ("-", None),
            ("e5", None),
            ("1e", None),
            ("--1", None),
            ("0x10", None),
            ("0x1p3", None),
            ("1_000", None),
            ("-nan", None),
            ("1 ", None),
        ] {
            let got = parse_value(text.as_bytes()).ok().map(f64::to_bits);
            assert_eq!(got, want.map(f64::to_bits), "{text}");
        }
        assert_eq!(parse_value(b"nAn").unwrap().to_bits(), NORMAL_NAN);
    }

    proptest! {
        #[test]
        fn the_fast_way_rounds_as_the_standard_library(v in any::<f64>(), digits in 0usize..18) {
            for text in [format!("{v}"), format!("{v:.digits$e}"), format!("{:.digits$}", v % 1e9)] {
                if let (Some((fast, used)), Ok(slow)) = (plain(text.as_bytes()), text.parse::<f64>())
                    && used == text.len()
                {
                    prop_assert_eq!(fast.to_bits(), slow.to_bits(), "{}", text);
                }
            }
        }
    }

    #[test]
    fn bounds_are_canonical() {
        for (v, want) in [
            (1.0, "1.0"),
            (0.0, "0.0"),
            (0.25, "0.25"),
            (1e6, "1e+06"),
            (f64::INFINITY, "+Inf"),
            (f64::NAN, "NaN"),
        ] {
            assert_eq!(canonical_bound(v), want);
        }
    }
}
