//! Times as people and files write them.

use crate::model::{Duration, Timestamp, parse_float};

/// Reads a time to ms since the epoch: RFC 3339, `YYYY-MM-DD`, `YYYY-MM-DD HH:MM:SS` (with or without a fraction, a `T` in the
/// place of the space; UTC when there is no offset), or seconds since the epoch with up to 11 digits before the point, ms with
/// more.
pub fn parse_time(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-' | b'+' | b'e' | b'E'))
        && let Some(v) = parse_float(text)
    {
        let ms = if v.abs() >= 1e11 { v } else { v * 1000.0 };
        return (ms.is_finite() && ms.abs() < 1e16).then(|| ms.round() as Timestamp);
    }
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Some(time.as_millisecond());
    }
    let civil: jiff::civil::DateTime = text.parse().ok()?;
    Some(civil.to_zoned(jiff::tz::TimeZone::UTC).ok()?.timestamp().as_millisecond())
}

/// The same relative to `now` (ms): also `now`, and a duration, which lies before it: `30d`, `-30d`, `now-30d`.
pub fn parse_relative(text: &str, now: Timestamp) -> Option<Timestamp> {
    let text = text.trim();
    if text == "now" {
        return Some(now);
    }
    let past = text.strip_prefix("now").unwrap_or(text);
    let past = past.strip_prefix('-').unwrap_or(past);
    if past.ends_with(|c: char| c.is_ascii_alphabetic())
        && let Ok(duration) = past.parse::<Duration>()
    {
        return Some(now.saturating_sub(duration.ms()));
    }
    parse_time(text)
}

/// `YYYY-MM-DD` of a time, UTC.
pub fn day(t: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(t)
        .map_or_else(|_| t.to_string(), |t| jiff::tz::Offset::UTC.to_datetime(t).date().to_string())
}

/// A time as RFC 3339, UTC, to the second.
pub fn rfc3339(t: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(t).map_or_else(|_| t.to_string(), |t| format!("{t:.0}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_as_they_are_written() {
        for (text, want) in [
            ("2014-04-10 07:15:00", Some(1_397_114_100_000)),
            ("2014-04-10 07:15:00.500000", Some(1_397_114_100_500)),
            ("2014-04-10T07:15:00", Some(1_397_114_100_000)),
            ("2014-04-10T07:15:00Z", Some(1_397_114_100_000)),
            ("2014-04-10T09:15:00+02:00", Some(1_397_114_100_000)),
            ("2014-04-10", Some(1_397_088_000_000)),
            ("1397114100", Some(1_397_114_100_000)),
            ("1397114100.25", Some(1_397_114_100_250)),
            ("1397114100000", Some(1_397_114_100_000)),
            (" 0 ", Some(0)),
            ("", None),
            ("noon", None),
            ("NaN", None),
            ("1e300", None),
            ("2014-13-10", None),
        ] {
            assert_eq!(parse_time(text), want, "{text:?}");
        }
    }

    #[test]
    fn times_may_be_relative() {
        let now = 1_397_114_100_000;
        for (text, want) in [
            ("now", Some(now)),
            ("30d", Some(now - 30 * 86_400_000)),
            ("-90m", Some(now - 5_400_000)),
            ("now-1d", Some(now - 86_400_000)),
            ("2014-04-10", Some(1_397_088_000_000)),
            ("soon", None),
        ] {
            assert_eq!(parse_relative(text, now), want, "{text:?}");
        }
        assert_eq!(day(now), "2014-04-10");
        assert_eq!(rfc3339(now), "2014-04-10T07:15:00Z");
    }
}
