//! Durations as Prometheus writes them: `1h30m`, `5m`, `500ms`.

use std::fmt;
use std::str::FromStr;

/// A length of time in whole milliseconds, in [0, 2^63 ns] (about 292 years).
///
/// Text: units `y w d h m s ms` in this order, each at most once, whole numbers; a bare number is
/// refused except `0`; a year has 365 days (Prometheus, `common/model`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Duration(i64);

/// Why a text is no duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    #[error("empty duration string")]
    Empty,
    #[error("not a valid duration string: {0:?}")]
    Invalid(String),
    #[error("duration out of range")]
    OutOfRange,
}

/// Milliseconds of each unit, largest first; the flag says whether the canonical text uses it only
/// when it divides the whole evenly.
const UNITS: [(&str, i64, bool); 7] = [
    ("y", 365 * 86_400_000, true),
    ("w", 7 * 86_400_000, true),
    ("d", 86_400_000, false),
    ("h", 3_600_000, false),
    ("m", 60_000, false),
    ("s", 1_000, false),
    ("ms", 1, false),
];

const MAX_MS: i64 = i64::MAX / 1_000_000;

impl Duration {
    pub const ZERO: Self = Self(0);

    /// From milliseconds.
    pub const fn from_ms(ms: i64) -> Self {
        Self(ms)
    }

    /// From seconds.
    pub const fn from_secs(s: i64) -> Self {
        Self(s * 1000)
    }

    /// In milliseconds.
    pub const fn ms(self) -> i64 {
        self.0
    }

    /// In seconds.
    pub fn as_secs_f64(self) -> f64 {
        self.0 as f64 / 1000.0
    }

    /// For timers.
    pub fn to_std(self) -> std::time::Duration {
        std::time::Duration::from_millis(self.0.max(0).unsigned_abs())
    }

    /// Is it nothing at all?
    pub const fn is_zero(self) -> bool {
        self.0 == 0
    }

    /// Reads a duration that may have a minus before it.
    ///
    /// # Errors
    /// As for [`FromStr`].
    pub fn parse_signed(text: &str) -> Result<Self, DurationError> {
        match text.strip_prefix('-') {
            Some(rest) => Ok(Self(-rest.parse::<Self>()?.0)),
            None => text.parse(),
        }
    }
}

impl FromStr for Duration {
    type Err = DurationError;

    fn from_str(text: &str) -> Result<Self, DurationError> {
        let invalid = || DurationError::Invalid(text.to_owned());
        match text {
            "" => return Err(DurationError::Empty),
            "0" => return Ok(Self::ZERO),
            _ => {}
        }
        let mut rest = text;
        let mut next_unit = 0;
        let mut total = 0i64;
        while !rest.is_empty() {
            let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
            let (number, tail) = rest.split_at(digits);
            let letters = tail.bytes().take_while(u8::is_ascii_alphabetic).count();
            let (unit, tail) = tail.split_at(letters);
            let at = UNITS.iter().position(|(name, ..)| *name == unit).ok_or_else(invalid)?;
            if digits == 0 || at < next_unit {
                return Err(invalid());
            }
            let number: i64 = number.parse().map_err(|_| DurationError::OutOfRange)?;
            total = number
                .checked_mul(UNITS[at].1)
                .and_then(|ms| total.checked_add(ms))
                .filter(|&ms| ms <= MAX_MS)
                .ok_or(DurationError::OutOfRange)?;
            next_unit = at + 1;
            rest = tail;
        }
        Ok(Self(total))
    }
}

/// The canonical text; years and weeks only when they divide the whole evenly.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0 == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        let mut rest = self.0.unsigned_abs();
        for (unit, ms, only_exact) in UNITS {
            let ms = ms.unsigned_abs();
            if only_exact && !rest.is_multiple_of(ms) {
                continue;
            }
            if rest >= ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

impl<'de> serde::Deserialize<'de> for Duration {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct V;
        impl serde::de::Visitor<'_> for V {
            type Value = Duration;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a duration like 30s or 1h30m")
            }
            fn visit_str<E: serde::de::Error>(self, s: &str) -> Result<Duration, E> {
                s.parse().map_err(|e| E::custom(format_args!("{e}, want one like 30s or 1h30m")))
            }
        }
        deserializer.deserialize_str(V)
    }
}

impl serde::Serialize for Duration {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        for (text, ms, canonical) in [
            ("0", 0, "0s"),
            ("0w", 0, "0s"),
            ("1h30m", 5_400_000, "1h30m"),
            ("3w2d1h", 1_990_800_000, "23d1h"),
            ("4d3h2m1s7ms", 356_521_007, "4d3h2m1s7ms"),
            ("10y", 315_360_000_000, "10y"),
            ("90m", 5_400_000, "1h30m"),
        ] {
            let d: Duration = text.parse().unwrap();
            assert_eq!((d.ms(), d.to_string().as_str()), (ms, canonical), "{text}");
        }
        for text in
            ["", "1", "1.5h", "-1s", "1m1h", "1s1s", "5x", "s", "294y", "99999999999999999999s", "1h ", " 1h"]
        {
            assert!(text.parse::<Duration>().is_err(), "{text:?}");
        }
        assert_eq!(Duration::parse_signed("-5m").unwrap().to_string(), "-5m");
    }
}
