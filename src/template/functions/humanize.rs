//! Numbers and times for people.

use super::super::print::four_digits;
use super::super::time::Time;
use super::super::value::Value;
use super::Call;
use crate::model::GoQuoted;

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// A number of any numeric type, or the text of one.
pub(super) fn float(value: &Value) -> Result<f64, String> {
    match value {
        Value::Int(i) => Ok(*i as f64),
        Value::Uint(u) => Ok(*u as f64),
        Value::Float(f) => Ok(*f),
        Value::Duration(nanos) => Ok(*nanos as f64 / 1e9),
        Value::Str(s) => crate::model::parse_float(&without_separators(s))
            .ok_or_else(|| format!("strconv.ParseFloat: parsing {}: invalid syntax", GoQuoted::new(&**s))),
        other => Err(format!("can't convert {} to float", other.type_name())),
    }
}

/// The text of a number without the `_` between its digits.
fn without_separators(text: &str) -> std::borrow::Cow<'_, str> {
    let bytes = text.as_bytes();
    let digit = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_hexdigit);
    let between = |i: usize| i > 0 && (digit(i - 1) || matches!(bytes[i - 1], b'x' | b'X')) && digit(i + 1);
    if !text.contains('_') || text.match_indices('_').any(|(i, _)| !between(i)) {
        return text.into();
    }
    text.replace('_', "").into()
}

/// Divides until it is below `base`; gives the prefix.
fn scale_down(mut v: f64, base: f64, prefixes: &[&'static str]) -> (f64, &'static str) {
    let mut prefix = "";
    for p in prefixes {
        if v.abs() < base {
            break;
        }
        prefix = p;
        v /= base;
    }
    (v, prefix)
}

/// Multiplies until it is at least 1; gives the prefix.
fn scale_up(mut v: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for p in SMALL {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = p;
        v *= 1000.0;
    }
    (v, prefix)
}

pub(super) fn humanize(c: &Call<'_>) -> Result<Value, String> {
    let v = float(c.arg(0))?;
    if v == 0.0 || !v.is_finite() {
        return Ok(four_digits(v).into());
    }
    let (v, prefix) = if v.abs() >= 1.0 { scale_down(v, 1000.0, &LARGE) } else { scale_up(v) };
    Ok((four_digits(v) + prefix).into())
}

pub(super) fn humanize1024(c: &Call<'_>) -> Result<Value, String> {
    let v = float(c.arg(0))?;
    if v.abs() <= 1.0 || !v.is_finite() {
        return Ok(four_digits(v).into());
    }
    let (v, prefix) = scale_down(v, 1024.0, &BINARY);
    Ok((four_digits(v) + prefix).into())
}

pub(super) fn humanize_percentage(c: &Call<'_>) -> Result<Value, String> {
    Ok((four_digits(float(c.arg(0))? * 100.0) + "%").into())
}

pub(super) fn humanize_duration(c: &Call<'_>) -> Result<Value, String> {
    let v = float(c.arg(0))?;
    if !v.is_finite() {
        return Ok(four_digits(v).into());
    }
    if v != 0.0 && v.abs() < 1.0 {
        let (v, prefix) = scale_up(v);
        return Ok(format!("{}{prefix}s", four_digits(v)).into());
    }
    let sign = if v < 0.0 { "-" } else { "" };
    let v = v.abs();
    // Saturates: 292 thousand million years are enough.
    let whole = v as i64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    let text = match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", four_digits(v)),
        (0, 0, m) => format!("{sign}{m}m {seconds}s"),
        (0, h, m) => format!("{sign}{h}h {m}m {seconds}s"),
        (d, h, m) => format!("{sign}{d}d {h}h {m}m {seconds}s"),
    };
    Ok(text.into())
}

/// Seconds since the epoch as nanoseconds, if they fit into 64 bits.
fn nanos(v: f64, what: &str) -> Result<i64, String> {
    let nanos = v * 1e9;
    if !nanos.is_finite() || nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
        let v = crate::model::format_float_exposition(v);
        return Err(format!("{v} cannot be represented as a {what} since it overflows int64"));
    }
    Ok(nanos as i64)
}

/// A point in time from seconds since the epoch, cut to milliseconds.
fn time(v: f64) -> Result<Time, String> {
    if !v.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    Ok(Time::from_ms(nanos(v, "nanoseconds timestamp")? / 1_000_000))
}

pub(super) fn humanize_timestamp(c: &Call<'_>) -> Result<Value, String> {
    let v = float(c.arg(0))?;
    if !v.is_finite() {
        return Ok(four_digits(v).into());
    }
    Ok(time(v)?.to_string().into())
}

pub(super) fn to_time(c: &Call<'_>) -> Result<Value, String> {
    Ok(Value::Time(time(float(c.arg(0))?)?))
}

pub(super) fn to_duration(c: &Call<'_>) -> Result<Value, String> {
    let v = float(c.arg(0))?;
    if !v.is_finite() {
        return Err("value is NaN or Inf".to_owned());
    }
    Ok(Value::Duration(nanos(v, "time.Duration")?))
}
