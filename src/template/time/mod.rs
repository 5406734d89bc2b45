//! Points and lengths of time as Go prints them.

mod layout;
mod parse;

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

use layout::{Piece, piece};
pub use parse::parse;

/// A point in time with its zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Time(Arc<Zoned>);

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

/// RFC 3339 with as many digits of the second as are needed: what JSON has.
pub const RFC3339_NANO: &str = "2006-01-02T15:04:05.999999999Z07:00";
/// What Go's `Time.String` prints.
const STRING: &str = "2006-01-02 15:04:05.999999999 -0700 MST";

/// A month or a day of the week: a number that prints as its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calendar {
    /// From 1.
    Month(u8),
    /// From 0, Sunday.
    Weekday(u8),
}

impl Calendar {
    /// Its name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Month(n) => MONTHS[usize::from(n.saturating_sub(1)) % 12],
            Self::Weekday(n) => DAYS[usize::from(n) % 7],
        }
    }

    /// Its number.
    pub fn number(self) -> i64 {
        match self {
            Self::Month(n) | Self::Weekday(n) => i64::from(n),
        }
    }
}

impl Time {
    /// From nanoseconds since the epoch, in UTC. `None` outside of the years -9999 to 9999.
    pub fn from_nanos(nanos: i128) -> Option<Self> {
        Timestamp::from_nanosecond(nanos).ok().map(|t| Self::new(t, TimeZone::UTC))
    }

    /// From milliseconds since the epoch, in UTC. Times out of range become Go's zero time.
    pub fn from_ms(ms: i64) -> Self {
        Self::from_nanos(i128::from(ms) * 1_000_000).unwrap_or_else(Self::zero)
    }

    fn new(t: Timestamp, zone: TimeZone) -> Self {
        Self(Arc::new(t.to_zoned(zone)))
    }

    /// From a date and a time of day in a zone.
    pub fn from_civil(at: DateTime, zone: TimeZone) -> Option<Self> {
        at.to_zoned(zone).ok().map(|z| Self(Arc::new(z)))
    }

    /// Go's zero time, the start of the year 1.
    pub fn zero() -> Self {
        let start = DateTime::from_parts(Date::constant(1, 1, 1), jiff::civil::Time::midnight());
        Self::from_civil(start, TimeZone::UTC)
            .unwrap_or_else(|| Self::new(Timestamp::UNIX_EPOCH, TimeZone::UTC))
    }

    /// Is it Go's zero time?
    pub fn is_zero(&self) -> bool {
        *self == Self::zero()
    }

    /// Nanoseconds since the epoch.
    pub fn nanos(&self) -> i128 {
        self.0.timestamp().as_nanosecond()
    }

    /// The same point in another zone, by its name in the time zone database.
    ///
    /// # Errors
    /// There is no such zone.
    pub fn in_zone(&self, name: &str) -> Result<Self, String> {
        let zone = match name {
            "" | "UTC" => TimeZone::UTC,
            name => TimeZone::get(name).map_err(|_| format!("unknown time zone {name}"))?,
        };
        Ok(Self::new(self.0.timestamp(), zone))
    }

    /// Later by so many nanoseconds. `None` out of range.
    pub fn add(&self, nanos: i64) -> Option<Self> {
        let sum = self.nanos() + i128::from(nanos);
        Timestamp::from_nanosecond(sum).ok().map(|t| Self::new(t, self.0.time_zone().clone()))
    }

    /// The civil date and time in its zone.
    pub fn civil(&self) -> DateTime {
        self.0.datetime()
    }

    /// The name of the day.
    pub fn weekday(&self) -> Calendar {
        Calendar::Weekday(self.0.weekday().to_sunday_zero_offset().unsigned_abs() % 7)
    }

    /// The name of the month.
    pub fn month(&self) -> Calendar {
        Calendar::Month(self.0.month().unsigned_abs())
    }

    /// As Go's `Time.Format`.
    pub fn format(&self, layout: &str) -> String {
        let mut out = String::new();
        let mut rest = layout;
        while !rest.is_empty() {
            match piece(rest) {
                Some((piece, length)) => {
                    self.write(piece, &rest[..length], &mut out);
                    rest = &rest[length..];
                }
                None => {
                    let c = rest.chars().next().unwrap_or_default();
                    out.push(c);
                    rest = &rest[c.len_utf8()..];
                }
            }
        }
        out
    }

    fn write(&self, piece: Piece, text: &str, out: &mut String) {
        let at = self.0.datetime();
        let hour12 = match at.hour() % 12 {
            0 => 12,
            h => h,
        };
        let nanos = at.subsec_nanosecond();
        // Writing to a String cannot fail.
        let _ = match piece {
            Piece::LongMonth => write!(out, "{}", self.month().name()),
            Piece::ShortMonth => write!(out, "{}", &self.month().name()[..3]),
            Piece::Month => write!(out, "{}", at.month()),
            Piece::ZeroMonth => write!(out, "{:02}", at.month()),
            Piece::LongDay => write!(out, "{}", self.weekday().name()),
            Piece::ShortDay => write!(out, "{}", &self.weekday().name()[..3]),
            Piece::Day => write!(out, "{}", at.day()),
            Piece::SpaceDay => write!(out, "{:2}", at.day()),
            Piece::ZeroDay => write!(out, "{:02}", at.day()),
            Piece::SpaceYearDay => write!(out, "{:3}", at.date().day_of_year()),
            Piece::ZeroYearDay => write!(out, "{:03}", at.date().day_of_year()),
            Piece::Hour => write!(out, "{:02}", at.hour()),
            Piece::Hour12 => write!(out, "{hour12}"),
            Piece::ZeroHour12 => write!(out, "{hour12:02}"),
            Piece::Minute => write!(out, "{}", at.minute()),
            Piece::ZeroMinute => write!(out, "{:02}", at.minute()),
            Piece::Second => write!(out, "{}", at.second()),
            Piece::ZeroSecond => write!(out, "{:02}", at.second()),
            Piece::Year => write!(out, "{:04}", at.year()),
            Piece::ShortYear => write!(out, "{:02}", at.year().rem_euclid(100)),
            Piece::UpperHalf => write!(out, "{}", if at.hour() < 12 { "AM" } else { "PM" }),
            Piece::LowerHalf => write!(out, "{}", if at.hour() < 12 { "am" } else { "pm" }),
            Piece::Zone => {
                let info = self.0.time_zone().to_offset_info(self.0.timestamp());
                match info.abbreviation() {
                    name if name.starts_with(['+', '-']) => write_offset(out, info.offset(), "-07"),
                    name => write!(out, "{name}"),
                }
            }
            Piece::Offset => write_offset(out, self.0.offset(), text),
            Piece::Fraction { zeros: true } => {
                write!(out, "{}{}", &text[..1], &format!("{nanos:09}")[..text.len() - 1])
            }
            Piece::Fraction { zeros: false } => {
                let digits = format!("{nanos:09}");
                match digits[..text.len() - 1].trim_end_matches('0') {
                    "" => Ok(()),
                    digits => write!(out, "{}{digits}", &text[..1]),
                }
            }
        };
    }
}

impl std::fmt::Display for Time {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.format(STRING))
    }
}

fn write_offset(out: &mut String, offset: Offset, text: &str) -> std::fmt::Result {
    let seconds = offset.seconds();
    if text.starts_with('Z') && seconds == 0 {
        out.push('Z');
        return Ok(());
    }
    let sign = if seconds < 0 { '-' } else { '+' };
    let (h, m, s) = (seconds.abs() / 3600, seconds.abs() / 60 % 60, seconds.abs() % 60);
    match &text[1..] {
        "07" => write!(out, "{sign}{h:02}"),
        "0700" => write!(out, "{sign}{h:02}{m:02}"),
        "07:00" => write!(out, "{sign}{h:02}:{m:02}"),
        "070000" => write!(out, "{sign}{h:02}{m:02}{s:02}"),
        _ => write!(out, "{sign}{h:02}:{m:02}:{s:02}"),
    }
}

/// A length of time in nanoseconds as Go prints it: `1h0m0s`, `1.5s`, `100ms`, `0s`.
pub fn duration_text(nanos: i64) -> String {
    let n = nanos.unsigned_abs();
    let sign = if nanos < 0 { "-" } else { "" };
    let with_fraction = |unit: u64, name: &str| {
        let whole = n / unit;
        let digits = unit.ilog10() as usize;
        let part = format!("{:0digits$}", n % unit);
        match part.trim_end_matches('0') {
            "" => format!("{sign}{whole}{name}"),
            part => format!("{sign}{whole}.{part}{name}"),
        }
    };
    match n {
        0 => return "0s".to_owned(),
        n if n < 1_000 => return format!("{sign}{n}ns"),
        n if n < 1_000_000 => return with_fraction(1_000, "µs"),
        n if n < 1_000_000_000 => return with_fraction(1_000_000, "ms"),
        _ => {}
    }
    let seconds = n / 1_000_000_000;
    let (h, m) = (seconds / 3600, seconds / 60 % 60);
    let rest = n % 60_000_000_000;
    let part = format!("{:09}", rest % 1_000_000_000);
    let part = part.trim_end_matches('0');
    let mut out = sign.to_owned();
    // Writing to a String cannot fail.
    let _ = match (h, m) {
        (0, 0) => Ok(()),
        (0, m) => write!(out, "{m}m"),
        (h, m) => write!(out, "{h}h{m}m"),
    };
    out += &(rest / 1_000_000_000).to_string();
    if !part.is_empty() {
        out.push('.');
        out += part;
    }
    out.push('s');
    out
}
