//! Reading times by a layout.

use jiff::civil::Date;
use jiff::tz::{Offset, TimeZone};

use super::layout::{Piece, piece};
use super::{DAYS, MONTHS, Time};

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
