//! What a scalar's text says: nothing, a boolean, a number.

/// A whole number: negative ones are signed, all others unsigned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Integer {
    Signed(i64),
    Unsigned(u64),
}

/// Is a plain scalar nothing?
pub(super) fn is_null(text: &str) -> bool {
    text.is_empty() || text == "~" || text.eq_ignore_ascii_case("null")
}

/// `true` and `false` only, as in YAML 1.2.
pub(super) fn boolean(text: &str) -> Option<bool> {
    let text = trim(text);
    if text.eq_ignore_ascii_case("true") {
        Some(true)
    } else if text.eq_ignore_ascii_case("false") {
        Some(false)
    } else {
        None
    }
}

/// The other words of YAML 1.1, which Prometheus takes where a boolean is wanted, and only there.
pub(super) fn old_boolean(text: &str) -> Option<bool> {
    match trim(text) {
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Some(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Some(false),
        _ => None,
    }
}

/// Decimal without leading zeros, `0x`, `0o` or `0b`, each with a sign and `_` between digits.
pub(super) fn integer(text: &str) -> Option<Integer> {
    let text = trim(text);
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text.strip_prefix('+').unwrap_or(text)),
    };
    let (radix, digits) = match rest.get(..2) {
        Some("0x" | "0X") => (16, &rest[2..]),
        Some("0o" | "0O") => (8, &rest[2..]),
        Some("0b" | "0B") => (2, &rest[2..]),
        _ => (10, rest),
    };
    if radix == 10 && digits.starts_with('0') && digits != "0" {
        return None;
    }
    let mut value: i128 = 0;
    // An underscore stands between two digits only.
    let mut after_digit = false;
    for c in digits.chars() {
        if c == '_' {
            if !after_digit {
                return None;
            }
            after_digit = false;
            continue;
        }
        value = value.checked_mul(radix.into())?.checked_add(c.to_digit(radix)?.into())?;
        after_digit = true;
    }
    if !after_digit {
        return None;
    }
    if negative {
        i64::try_from(-value).ok().map(Integer::Signed)
    } else {
        u64::try_from(value).ok().map(Integer::Unsigned)
    }
}

/// A decimal number, `.inf` and `.nan` (in any case). One that is too large is no number.
pub(super) fn float(text: &str) -> Option<f64> {
    let text = trim(text);
    let (sign, rest) = match text.strip_prefix('-') {
        Some(rest) => (-1.0, rest),
        None => (1.0, text.strip_prefix('+').unwrap_or(text)),
    };
    if rest.eq_ignore_ascii_case(".inf") {
        return Some(sign * f64::INFINITY);
    }
    if rest.eq_ignore_ascii_case(".nan") {
        return Some(f64::NAN);
    }
    text.parse().ok().filter(|v: &f64| v.is_finite())
}

/// Is it a decimal number beyond what a float holds (`1e999`)?
pub(super) fn overflows(text: &str) -> bool {
    let text = trim(text);
    text.trim_start_matches(['+', '-']).starts_with(|c: char| c.is_ascii_digit())
        && text.parse::<f64>().is_ok_and(f64::is_infinite)
}

fn trim(text: &str) -> &str {
    text.trim_matches([' ', '\t', '\r', '\n'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers() {
        for (text, expected) in [
            ("0", Some(Integer::Unsigned(0))),
            ("+7", Some(Integer::Unsigned(7))),
            ("-7", Some(Integer::Signed(-7))),
            ("1_000", Some(Integer::Unsigned(1000))),
            ("0x1F", Some(Integer::Unsigned(31))),
            ("0o17", Some(Integer::Unsigned(15))),
            ("0b101", Some(Integer::Unsigned(5))),
            ("18446744073709551615", Some(Integer::Unsigned(u64::MAX))),
            ("-9223372036854775808", Some(Integer::Signed(i64::MIN))),
            ("18446744073709551616", None),
            ("-9223372036854775809", None),
            ("0123", None),
            ("_1", None),
            ("1_", None),
            ("1__0", None),
            ("0x", None),
            ("0xg", None),
            ("+-1", None),
            ("", None),
            ("-", None),
            ("1.0", None),
            ("é1", None),
        ] {
            assert_eq!(integer(text), expected, "{text:?}");
        }
    }

    #[test]
    fn floats() {
        for (text, expected) in [
            ("1", Some(1.0)),
            ("-1.5e3", Some(-1500.0)),
            (".5", Some(0.5)),
            (".inf", Some(f64::INFINITY)),
            ("+.INF", Some(f64::INFINITY)),
            ("-.Inf", Some(f64::NEG_INFINITY)),
            ("inf", None),
            ("nan", None),
            ("1e999", None),
            ("0x10", None),
            ("", None),
        ] {
            assert_eq!(float(text), expected, "{text:?}");
        }
        assert!(float(".NaN").is_some_and(f64::is_nan));
        assert!(overflows("-1e999") && !overflows("1e9") && !overflows("inf"));
    }
}
