//! Numbers as text: floats as Go prints and reads them, which is what every Prometheus client expects.

use super::Timestamp;

/// Formats as Go's `strconv.FormatFloat(v, 'f', -1, 64)`: shortest digits, never an exponent.
/// Infinities are `+Inf` and `-Inf`. The HTTP API and templates print values so.
pub fn format_float(v: f64) -> String {
    special(v).map_or_else(|| layout(v, Layout::Plain), str::to_owned)
}

/// Formats as Go's `strconv.FormatFloat(v, 'g', -1, 64)`: shortest digits, an exponent below 1e-4 and
/// from 1e6 on (`7.344136e+06`). The text expositions print values so.
pub fn format_float_exposition(v: f64) -> String {
    special(v).map_or_else(|| layout(v, Layout::ExponentFrom(6)), str::to_owned)
}

/// Formats as Go's `fmt.Sprint(v)`: as [`format_float_exposition`], but plain up to 1e21. Templates
/// print values so.
pub fn format_float_go(v: f64) -> String {
    special(v).map_or_else(|| layout(v, Layout::ExponentFrom(21)), str::to_owned)
}

/// Reads a float as Prometheus does: decimal, exponent, `Inf`, `NaN` in any case, with a sign;
/// no digits with `_`, no hexadecimal.
pub fn parse_float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if unsigned.starts_with(['+', '-']) {
        return None;
    }
    if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
        return Some(if text.starts_with('-') { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if unsigned.eq_ignore_ascii_case("nan") {
        // Go takes no sign here.
        return (unsigned.len() == text.len()).then_some(f64::NAN);
    }
    text.parse().ok()
}

enum Layout {
    Plain,
    /// An exponent when the decimal exponent is below -4 or this or above.
    ExponentFrom(i32),
}

fn special(v: f64) -> Option<&'static str> {
    Some(match v {
        v if v.is_nan() => "NaN",
        f64::INFINITY => "+Inf",
        f64::NEG_INFINITY => "-Inf",
        _ => return None,
    })
}

fn layout(v: f64, layout: Layout) -> String {
    let mut buffer = zmij::Buffer::new();
    let (negative, digits, exponent) = decompose(buffer.format_finite(v));
    let mut out = String::with_capacity(24);
    if negative {
        out.push('-');
    }
    if digits.is_empty() {
        out.push('0');
        return out;
    }
    // The value is 0.DIGITS × 10^exponent.
    if let Layout::ExponentFrom(limit) = layout
        && !(-4..limit).contains(&(exponent - 1))
    {
        out.push_str(&digits[..1]);
        if digits.len() > 1 {
            out.push('.');
            out.push_str(&digits[1..]);
        }
        let e = exponent - 1;
        out.push('e');
        out.push(if e < 0 { '-' } else { '+' });
        if e.abs() < 10 {
            out.push('0');
        }
        out.push_str(&e.abs().to_string());
        return out;
    }
    if exponent <= 0 {
        out.push_str("0.");
        out.extend(std::iter::repeat_n('0', exponent.unsigned_abs() as usize));
        out.push_str(&digits);
    } else if digits.len() as i32 <= exponent {
        out.push_str(&digits);
        out.extend(std::iter::repeat_n('0', exponent as usize - digits.len()));
    } else {
        let (whole, part) = digits.split_at(exponent as usize);
        out.push_str(whole);
        out.push('.');
        out.push_str(part);
    }
    out
}

/// Sign, significant digits without zeros at either end, and the exponent of `0.DIGITS`.
fn decompose(text: &str) -> (bool, String, i32) {
    let (negative, text) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
    // The library prints small whole exponents only.
    let mut exponent: i32 = exponent.parse().unwrap_or_default();
    let (whole, part) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    exponent += whole.len() as i32;
    let all = format!("{whole}{part}");
    let leading = all.bytes().take_while(|b| *b == b'0').count();
    exponent -= leading as i32;
    let digits = all[leading..].trim_end_matches('0').to_owned();
    (negative, digits, exponent)
}

/// Appends a whole number.
pub fn push_int(out: &mut Vec<u8>, n: i64) {
    if n < 0 {
        out.push(b'-');
    }
    let mut digits = [0u8; 20];
    let mut at = digits.len();
    let mut rest = n.unsigned_abs();
    loop {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    out.extend_from_slice(&digits[at..]);
}

/// Appends a time in seconds, with three decimals unless they are zero (`1435781451.781`).
pub fn push_seconds(out: &mut Vec<u8>, t: Timestamp) {
    if t < 0 {
        out.push(b'-');
    }
    let t = t.unsigned_abs();
    push_int(out, (t / 1000) as i64);
    let ms = (t % 1000) as u16;
    if ms != 0 {
        out.push(b'.');
        out.extend([(ms / 100) as u8 + b'0', (ms / 10 % 10) as u8 + b'0', (ms % 10) as u8 + b'0']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layouts_are_those_of_go() {
        for (v, plain, go) in [
            (0.0, "0", "0"),
            (-0.0, "-0", "-0"),
            (1.0, "1", "1"),
            (-1.5, "-1.5", "-1.5"),
            (0.1, "0.1", "0.1"),
            (0.0001, "0.0001", "0.0001"),
            (0.00001, "0.00001", "1e-05"),
            (7_344_136.0, "7344136", "7344136"),
            (1e20, "100000000000000000000", "100000000000000000000"),
            (1e21, "1000000000000000000000", "1e+21"),
            (1.5e300, &format!("15{}", "0".repeat(299)), "1.5e+300"),
            (123_456.789, "123456.789", "123456.789"),
            (f64::INFINITY, "+Inf", "+Inf"),
            (f64::NAN, "NaN", "NaN"),
        ] {
            assert_eq!(format_float(v), plain);
            assert_eq!(format_float_go(v), go);
        }
        for (v, exposition) in [
            (7_344_136.0, "7.344136e+06"),
            (1e5, "100000"),
            (123_456.789, "123456.789"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
        ] {
            assert_eq!(format_float_exposition(v), exposition);
        }
        for (text, v) in [
            ("1", Some(1.0)),
            ("+Inf", Some(f64::INFINITY)),
            ("-inf", Some(f64::NEG_INFINITY)),
            ("1_0", None),
            ("0x1", None),
            ("", None),
            ("+-1", None),
            ("1e3", Some(1000.0)),
        ] {
            assert_eq!(parse_float(text), v, "{text}");
        }
        assert!(parse_float("nan").unwrap().is_nan() && parse_float("-nan").is_none());
    }
}
