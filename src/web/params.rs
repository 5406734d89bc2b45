//! The parameters of a request: query string and form body, as Prometheus reads them.

use crate::model::{Duration, Timestamp, query_decode};

use super::respond::ApiError;

/// How many parameters a request may have.
const MAX_PARAMS: usize = 10_000;
/// The earliest and latest times that clients may ask for, ms: what the Go client library calls min and max
/// time is beyond these and is taken as these.
pub const MIN_TIME: Timestamp = i64::MIN / 2;
pub const MAX_TIME: Timestamp = i64::MAX / 2;

/// Decoded names and values, in their order.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Params(Vec<(String, String)>);

impl Params {
    /// Reads `a=1&b=2`, with `+` and `%XX`. Bad escapes and bytes that are no UTF-8 are taken as they are
    /// or replaced: what they were meant for will say what it misses.
    pub fn parse(text: &[u8]) -> Self {
        let pairs = text
            .split(|b| *b == b'&')
            .filter(|pair| !pair.is_empty())
            .take(MAX_PARAMS)
            .map(|pair| match pair.iter().position(|b| *b == b'=') {
                Some(at) => (query_decode(&pair[..at]), query_decode(&pair[at + 1..])),
                None => (query_decode(pair), String::new()),
            })
            .collect();
        Self(pairs)
    }

    /// Adds those of a query string after those of a form, which win.
    pub fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
        self.0.truncate(MAX_PARAMS);
    }

    /// The first value of a name; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(n, _)| n == name).map_or("", |(_, v)| v)
    }

    /// Every value of a name.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A time, or `default` when it is not given.
    ///
    /// # Errors
    /// It is neither Unix seconds nor RFC 3339.
    pub fn time(&self, name: &str, default: Timestamp) -> Result<Timestamp, ApiError> {
        match self.get(name) {
            "" => Ok(default),
            text => parse_time(text).ok_or_else(|| {
                ApiError::invalid(name, format_args!("cannot parse {text:?} to a valid timestamp"))
            }),
        }
    }

    /// A time that must be given.
    ///
    /// # Errors
    /// As [`Params::time`].
    pub fn required_time(&self, name: &str) -> Result<Timestamp, ApiError> {
        let text = self.get(name);
        parse_time(text).ok_or_else(|| {
            ApiError::invalid(name, format_args!("cannot parse {text:?} to a valid timestamp"))
        })
    }

    /// A duration, when it is given: seconds or Prometheus's text.
    ///
    /// # Errors
    /// It is neither.
    pub fn duration(&self, name: &str) -> Result<Option<Duration>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            _ => self.required_duration(name).map(Some),
        }
    }

    /// A duration that must be given.
    ///
    /// # Errors
    /// As [`Params::duration`].
    pub fn required_duration(&self, name: &str) -> Result<Duration, ApiError> {
        let text = self.get(name);
        parse_duration(text).map_err(|reason| ApiError::invalid(name, reason))
    }

    /// `limit` and its kin: 0 or nothing is no limit.
    ///
    /// # Errors
    /// It is no whole number, or negative.
    pub fn limit(&self, name: &str) -> Result<Option<usize>, ApiError> {
        match self.get(name) {
            "" => Ok(None),
            text => match text.parse::<i64>() {
                Err(_) => {
                    Err(ApiError::invalid(name, format_args!("cannot parse {text:?} to a valid limit")))
                }
                Ok(n) if n < 0 => Err(ApiError::invalid(name, "limit must be non-negative")),
                Ok(0) => Ok(None),
                Ok(n) => Ok(Some(usize::try_from(n).unwrap_or(usize::MAX))),
            },
        }
    }
}

/// Unix seconds with decimals, or RFC 3339; in ms, clamped to [`MIN_TIME`] and [`MAX_TIME`].
pub fn parse_time(text: &str) -> Option<Timestamp> {
    // What Go's client library sends for "from ever" and "for ever".
    match text {
        "-292273086-05-16T16:47:06Z" => return Some(MIN_TIME),
        "292277025-08-18T07:12:54.999999999Z" => return Some(MAX_TIME),
        _ => {}
    }
    if let Some(seconds) = parse_seconds(text) {
        let ms = (seconds * 1000.0).round();
        return (!ms.is_nan()).then(|| (ms as i64).clamp(MIN_TIME, MAX_TIME));
    }
    // Only with date, T, time and zone: jiff alone would take more.
    let bytes = text.as_bytes();
    let zoned =
        text.ends_with(['Z', 'z']) || bytes.len() > 6 && matches!(bytes[bytes.len() - 6], b'+' | b'-');
    if bytes.get(10).is_none_or(|b| !matches!(b, b'T' | b't')) || !zoned {
        return None;
    }
    text.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_millisecond)
}

/// Go's ParseFloat takes hexadecimal and underscores nowhere here, but "inf" and "nan".
fn parse_seconds(text: &str) -> Option<f64> {
    crate::model::parse_float(text)
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Some(seconds) = parse_seconds(text) {
        let ms = seconds * 1000.0;
        // Go counts in nanoseconds, in 63 bits.
        if ms.is_nan() || ms.abs() > i64::MAX as f64 / 1e6 {
            return Err(format!("cannot parse {text:?} to a valid duration. It overflows int64"));
        }
        return Ok(Duration::from_ms(ms.round() as i64));
    }
    Duration::parse_signed(text).map_err(|_| format!("cannot parse {text:?} to a valid duration"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters() {
        let p = Params::parse(b"query=up%7Bjob%3D%22a+b%22%7D&match[]=a&match%5B%5D=b&x&=y&bad=%zz%4");
        assert_eq!(p.get("query"), "up{job=\"a b\"}");
        assert_eq!(p.all("match[]").collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!((p.get("x"), p.get("none"), p.get("bad")), ("", "", "%zz%4"));
    }

    #[test]
    fn times() {
        for (text, expect) in [
            ("0", Some(0)),
            ("1435781451.781", Some(1_435_781_451_781)),
            ("-1.5", Some(-1_500)),
            ("1e3", Some(1_000_000)),
            ("2015-07-01T20:10:51.781Z", Some(1_435_781_451_781)),
            ("2015-07-01T22:10:51.781+02:00", Some(1_435_781_451_781)),
            ("-292273086-05-16T16:47:06Z", Some(MIN_TIME)),
            ("292277025-08-18T07:12:54.999999999Z", Some(MAX_TIME)),
            ("", None),
            ("abc", None),
            ("2015-07-01", None),
            ("2015-07-01T20:10:51", None),
            ("2015-13-01T20:10:51Z", None),
            ("NaN", None),
        ] {
            assert_eq!(parse_time(text), expect, "{text:?}");
        }
    }

    #[test]
    fn durations_and_limits() {
        for (text, expect) in [
            ("15", Ok(15_000)),
            ("0.5", Ok(500)),
            ("1h30m", Ok(5_400_000)),
            ("-5m", Ok(-300_000)),
            ("1e20", Err(())),
            ("x", Err(())),
            ("", Err(())),
        ] {
            let p = Params(vec![("step".into(), text.into())]);
            assert_eq!(p.required_duration("step").map(Duration::ms).map_err(|_| ()), expect, "{text:?}");
        }
        for (text, expect) in
            [("", Ok(None)), ("0", Ok(None)), ("7", Ok(Some(7))), ("-1", Err(())), ("x", Err(()))]
        {
            let p = Params(vec![("limit".into(), text.into())]);
            assert_eq!(p.limit("limit").map_err(|_| ()), expect, "{text:?}");
        }
    }
}
