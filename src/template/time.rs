//! Points and lengths of time as Go prints them, and Go's layouts (`2006-01-02 15:04:05`).

use std::fmt::Write as _;
use std::sync::Arc;

use jiff::civil::{Date, DateTime};
use jiff::tz::{Offset, TimeZone};
use jiff::{Timestamp, Zoned};

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

/// What a piece of a layout stands for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Piece {
    LongMonth,
    ShortMonth,
    Month,
    ZeroMonth,
    LongDay,
    ShortDay,
    Day,
    SpaceDay,
    ZeroDay,
    SpaceYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    Year,
    ShortYear,
    UpperHalf,
    LowerHalf,
    Zone,
    Offset,
    Fraction { zeros: bool },
}

/// The pieces by their text; a longer text stands before what it begins with.
const PIECES: &[(&str, Piece)] = &[
    ("January", Piece::LongMonth),
    ("Jan", Piece::ShortMonth),
    ("Monday", Piece::LongDay),
    ("Mon", Piece::ShortDay),
    ("MST", Piece::Zone),
    ("002", Piece::ZeroYearDay),
    ("01", Piece::ZeroMonth),
    ("02", Piece::ZeroDay),
    ("03", Piece::ZeroHour12),
    ("04", Piece::ZeroMinute),
    ("05", Piece::ZeroSecond),
    ("06", Piece::ShortYear),
    ("15", Piece::Hour),
    ("1", Piece::Month),
    ("2006", Piece::Year),
    ("2", Piece::Day),
    ("__2", Piece::SpaceYearDay),
    ("_2", Piece::SpaceDay),
    ("3", Piece::Hour12),
    ("4", Piece::Minute),
    ("5", Piece::Second),
    ("PM", Piece::UpperHalf),
    ("pm", Piece::LowerHalf),
    ("-07:00:00", Piece::Offset),
    ("-070000", Piece::Offset),
    ("-07:00", Piece::Offset),
    ("-0700", Piece::Offset),
    ("-07", Piece::Offset),
    ("Z07:00:00", Piece::Offset),
    ("Z070000", Piece::Offset),
    ("Z07:00", Piece::Offset),
    ("Z0700", Piece::Offset),
    ("Z07", Piece::Offset),
];

/// The piece at the start of a layout, and its length.
fn piece(layout: &str) -> Option<(Piece, usize)> {
    if layout.starts_with(['.', ',']) {
        let digit = layout[1..].chars().next().filter(|c| matches!(c, '0' | '9'))?;
        let run = layout[1..].chars().take_while(|c| *c == digit).count();
        let ends = !layout[1 + run..].starts_with(|c: char| c.is_ascii_digit());
        return (ends && run <= 9).then_some((Piece::Fraction { zeros: digit == '0' }, 1 + run));
    }
    // "Jan" in a longer word ("Janet") is only text, as in Go; so is "_2006" a plain 2 0 0 6.
    if layout.starts_with("_2006") {
        return None;
    }
    let (text, piece) = PIECES.iter().find(|(text, _)| layout.starts_with(text))?;
    if *text == "Jan" && layout[3..].starts_with(|c: char| c.is_ascii_lowercase()) {
        return None;
    }
    Some((*piece, text.len()))
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

/// As Go's `time.Parse`: absent parts are those of January 1 of the year 0, absent zones UTC.
///
/// # Errors
/// The text does not have the layout, or names no date.
pub fn parse(layout: &str, text: &str) -> Result<Time, String> {
    let mut parts = Parts::default();
    let fail = |layout: &str, rest: &str| {
        format!("parsing time {text:?} as {layout:?}: cannot parse {rest:?} as {layout:?}")
    };
    let mut rest = text;
    let mut pattern = layout;
    while !pattern.is_empty() {
        if let Some((piece, length)) = piece(pattern) {
            rest =
                parts.read(piece, &pattern[..length], rest).ok_or_else(|| fail(&pattern[..length], rest))?;
            pattern = &pattern[length..];
            // Go takes a fraction behind the seconds even when the layout has none.
            if matches!(piece, Piece::Second | Piece::ZeroSecond) && !pattern.starts_with(['.', ',']) {
                let digits = rest.strip_prefix('.').map_or(0, digits_of);
                if digits > 0 {
                    rest = parts.read_fraction(&rest[..=digits], rest).ok_or_else(|| fail(pattern, rest))?;
                }
            }
            continue;
        }
        let c = pattern.chars().next().unwrap_or_default();
        rest = rest.strip_prefix(c).ok_or_else(|| fail(pattern, rest))?;
        pattern = &pattern[c.len_utf8()..];
    }
    if !rest.is_empty() {
        return Err(format!("parsing time {text:?}: extra text: {rest:?}"));
    }
    parts.finish().ok_or_else(|| format!("parsing time {text:?}: day out of range"))
}

fn digits_of(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

#[derive(Default)]
struct Parts {
    year: i16,
    month: Option<i8>,
    day: Option<i8>,
    day_of_year: Option<i16>,
    hour: i8,
    minute: i8,
    second: i8,
    nanos: i32,
    afternoon: Option<bool>,
    offset: Option<i32>,
}

impl Parts {
    /// Reads one piece; gives what is behind it.
    fn read<'t>(&mut self, piece: Piece, layout: &str, text: &'t str) -> Option<&'t str> {
        let number = |min: usize, max: usize, text: &'t str| -> Option<(i16, &'t str)> {
            let digits = digits_of(text).min(max);
            if digits < min {
                return None;
            }
            Some((text[..digits].parse().ok()?, &text[digits..]))
        };
        let small = |min, max, text: &'t str| number(min, max, text).map(|(n, rest)| (n as i8, rest));
        let word = |words: &[&str], short: bool, text: &'t str| -> Option<(i8, &'t str)> {
            words.iter().enumerate().find_map(|(i, w)| {
                let w = if short { &w[..3] } else { w };
                let head = text.get(..w.len())?;
                head.eq_ignore_ascii_case(w).then(|| (i as i8 + 1, &text[w.len()..]))
            })
        };
        let rest;
        match piece {
            Piece::LongMonth | Piece::ShortMonth => {
                let found = word(&MONTHS, piece == Piece::ShortMonth, text)?;
                (self.month, rest) = (Some(found.0), found.1);
            }
            Piece::Month | Piece::ZeroMonth => {
                let found = small(if piece == Piece::Month { 1 } else { 2 }, 2, text)?;
                (self.month, rest) = (Some(found.0), found.1);
            }
            Piece::LongDay | Piece::ShortDay => rest = word(&DAYS, piece == Piece::ShortDay, text)?.1,
            Piece::Day | Piece::SpaceDay | Piece::ZeroDay => {
                let text = if piece == Piece::SpaceDay { text.trim_start_matches(' ') } else { text };
                let found = small(if piece == Piece::ZeroDay { 2 } else { 1 }, 2, text)?;
                (self.day, rest) = (Some(found.0), found.1);
            }
            Piece::SpaceYearDay | Piece::ZeroYearDay => {
                let found = number(1, 3, text.trim_start_matches(' '))?;
                (self.day_of_year, rest) = (Some(found.0), found.1);
            }
            Piece::Hour => (self.hour, rest) = small(1, 2, text).filter(|h| h.0 < 24)?,
            Piece::Hour12 | Piece::ZeroHour12 => {
                (self.hour, rest) = small(1, 2, text).filter(|h| h.0 <= 12)?
            }
            Piece::Minute | Piece::ZeroMinute => {
                (self.minute, rest) = small(1, 2, text).filter(|m| m.0 < 60)?
            }
            Piece::Second | Piece::ZeroSecond => {
                (self.second, rest) = small(1, 2, text).filter(|s| s.0 < 60)?
            }
            Piece::Year => (self.year, rest) = number(4, 4, text)?,
            Piece::ShortYear => {
                let found = number(2, 2, text)?;
                (self.year, rest) = (found.0 + if found.0 >= 69 { 1900 } else { 2000 }, found.1);
            }
            Piece::UpperHalf | Piece::LowerHalf => {
                let half = text.get(..2)?;
                self.afternoon = Some(half.eq_ignore_ascii_case("pm"));
                rest = text
                    .get(2..)
                    .filter(|_| half.eq_ignore_ascii_case("pm") || half.eq_ignore_ascii_case("am"))?;
            }
            Piece::Zone => {
                let letters = text.bytes().take_while(u8::is_ascii_uppercase).count();
                if !(3..=5).contains(&letters) {
                    return None;
                }
                rest = &text[letters..];
            }
            Piece::Offset => rest = self.read_offset(layout, text)?,
            Piece::Fraction { zeros } => {
                let digits = text.strip_prefix(['.', ',']).map_or(0, digits_of);
                if zeros && digits != layout.len() - 1 {
                    return None;
                }
                rest = if digits == 0 { text } else { self.read_fraction(&text[..=digits], text)? };
            }
        }
        Some(rest)
    }

    fn read_fraction<'t>(&mut self, fraction: &str, text: &'t str) -> Option<&'t str> {
        let digits: String = fraction[1..].chars().chain("000000000".chars()).take(9).collect();
        self.nanos = digits.parse().ok()?;
        Some(&text[fraction.len()..])
    }

    fn read_offset<'t>(&mut self, layout: &str, text: &'t str) -> Option<&'t str> {
        if layout.starts_with('Z')
            && let Some(rest) = text.strip_prefix('Z')
        {
            self.offset = Some(0);
            return Some(rest);
        }
        let head = text.get(..layout.len())?;
        let sign = match head.as_bytes()[0] {
            b'+' => 1,
            b'-' => -1,
            _ => return None,
        };
        let mut seconds = 0;
        let mut unit = 3600;
        let mut at = 1;
        while at < layout.len() {
            if layout.as_bytes()[at] == b':' {
                if head.as_bytes()[at] != b':' {
                    return None;
                }
                at += 1;
            }
            seconds += head.get(at..at + 2)?.parse::<i32>().ok()? * unit;
            unit /= 60;
            at += 2;
        }
        self.offset = Some(sign * seconds);
        Some(&text[layout.len()..])
    }

    fn finish(self) -> Option<Time> {
        let hour = match (self.afternoon, self.hour) {
            (Some(true), h) if h < 12 => h + 12,
            (Some(false), 12) => 0,
            (_, h) => h,
        };
        let mut date = Date::new(self.year, self.month.unwrap_or(1), self.day.unwrap_or(1)).ok()?;
        if let Some(day) = self.day_of_year {
            date = date.first_of_year().with().day_of_year(day).build().ok()?;
        }
        let at = date.to_datetime(jiff::civil::Time::new(hour, self.minute, self.second, self.nanos).ok()?);
        let zone = match self.offset {
            None | Some(0) => TimeZone::UTC,
            Some(seconds) => TimeZone::fixed(Offset::from_seconds(seconds).ok()?),
        };
        Time::from_civil(at, zone)
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
