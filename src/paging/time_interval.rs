//! Named intervals of time: when a route is muted or active.

use jiff::Timestamp as Instant;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde::de::{self, Deserializer};

/// One alternative of a named interval: the fields that are given must all hold.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TimeInterval {
    #[serde(deserialize_with = "nullable")]
    times: Vec<TimeRange>,
    #[serde(deserialize_with = "nullable")]
    weekdays: Vec<Range<Weekday>>,
    #[serde(deserialize_with = "nullable")]
    days_of_month: Vec<Range<DayOfMonth>>,
    #[serde(deserialize_with = "nullable")]
    months: Vec<Range<Month>>,
    #[serde(deserialize_with = "nullable")]
    years: Vec<Range<Year>>,
    #[serde(deserialize_with = "location")]
    location: TimeZone,
}

impl Default for TimeInterval {
    fn default() -> Self {
        Self {
            times: Vec::new(),
            weekdays: Vec::new(),
            days_of_month: Vec::new(),
            months: Vec::new(),
            years: Vec::new(),
            location: TimeZone::UTC,
        }
    }
}

impl TimeInterval {
    /// Is this instant (ms since the epoch) inside?
    pub fn contains(&self, at: crate::model::Timestamp) -> bool {
        let Ok(instant) = Instant::from_millisecond(at) else { return false };
        let local = instant.to_zoned(self.location.clone()).datetime();
        let minute = u16::from(local.hour().unsigned_abs()) * 60 + u16::from(local.minute().unsigned_abs());
        let weekday = i32::from(local.weekday().to_sunday_zero_offset());
        any(&self.times, |r| (r.start..r.end).contains(&minute))
            && any(&self.days_of_month, |r| {
                r.holds_in_month(i32::from(local.day()), i32::from(local.days_in_month()))
            })
            && any(&self.months, |r| r.holds(i32::from(local.month())))
            && any(&self.weekdays, |r| r.holds(weekday))
            && any(&self.years, |r| r.holds(i32::from(local.year())))
    }
}

impl TimeInterval {
    /// The next moment after `t` (ms) at which it may begin or end; nothing changes before that.
    pub fn next_edge(&self, t: crate::model::Timestamp) -> Option<crate::model::Timestamp> {
        let zoned = Instant::from_millisecond(t).ok()?.to_zoned(self.location.clone());
        let date = zoned.date();
        let minutes = self.times.iter().flat_map(|r| [r.start, r.end]).filter(|m| *m < 24 * 60);
        let today = minutes.filter_map(|m| {
            let time = jiff::civil::time(i8::try_from(m / 60).ok()?, i8::try_from(m % 60).ok()?, 0, 0);
            // One that the clock passes twice is an edge both times: the change of the clock is one itself,
            // and after it the later of the two is looked at.
            let ambiguous = self.location.to_ambiguous_zoned(date.to_datetime(time));
            let (early, late) = (ambiguous.clone().earlier().ok()?, ambiguous.later().ok()?);
            let after = |z: jiff::Zoned| Some(z.timestamp().as_millisecond()).filter(|ms| *ms > t);
            after(early).or_else(|| after(late))
        });
        let midnight = date.tomorrow().ok()?.to_zoned(self.location.clone()).ok();
        let clock = self.location.following(zoned.timestamp()).next().map(|c| c.timestamp());
        let others = midnight.map(|z| z.timestamp()).into_iter().chain(clock).map(|i| i.as_millisecond());
        today.chain(others).filter(|ms| *ms > t).min()
    }
}

/// An empty list says nothing.
fn any<T>(list: &[T], holds: impl Fn(&T) -> bool) -> bool {
    list.is_empty() || list.iter().any(holds)
}

fn nullable<'de, D: Deserializer<'de>, T: Deserialize<'de>>(d: D) -> Result<Vec<T>, D::Error> {
    Ok(Option::<Vec<T>>::deserialize(d)?.unwrap_or_default())
}

fn location<'de, D: Deserializer<'de>>(d: D) -> Result<TimeZone, D::Error> {
    let name = Option::<String>::deserialize(d)?.unwrap_or_default();
    zone(&name).map_err(de::Error::custom)
}

/// The time zone of an IANA name; `Local` is the machine's, and the empty name is UTC.
///
/// # Errors
/// An unknown name.
pub fn zone(name: &str) -> Result<TimeZone, String> {
    match name {
        "" | "UTC" => Ok(TimeZone::UTC),
        "Local" => Ok(TimeZone::system()),
        // The case counts, as with the files of the time zone database.
        name => TimeZone::get(name)
            .ok()
            .filter(|zone| zone.iana_name() == Some(name))
            .ok_or_else(|| format!("unknown time zone {name}")),
    }
}

/// Minutes since midnight, the end exclusive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeRange {
    pub start: u16,
    pub end: u16,
}

impl<'de> Deserialize<'de> for TimeRange {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Raw {
            #[serde(default)]
            start_time: Option<String>,
            #[serde(default)]
            end_time: Option<String>,
        }
        // Nothing at all is no time of the day.
        let Some(raw) = Option::<Raw>::deserialize(d)? else { return Ok(Self { start: 0, end: 0 }) };
        let (Some(start), Some(end)) = (raw.start_time, raw.end_time) else {
            return Err(de::Error::custom("both start and end times must be provided"));
        };
        let (start, end) = (minutes(&start), minutes(&end));
        let range = Self { start: start.map_err(de::Error::custom)?, end: end.map_err(de::Error::custom)? };
        if range.start >= range.end {
            return Err(de::Error::custom("start time cannot be equal or greater than end time"));
        }
        Ok(range)
    }
}

/// `HH:MM`, and `24:00`.
fn minutes(text: &str) -> Result<u16, String> {
    let bad = || format!("couldn't parse timestamp {text}, invalid format");
    let (hour, minute) = text.split_once(':').ok_or_else(bad)?;
    let number = |s: &str| {
        let two_digits = s.len() == 2 && s.bytes().all(|b| b.is_ascii_digit());
        two_digits.then(|| s.parse::<u16>().ok()).flatten().ok_or_else(bad)
    };
    match (number(hour)?, number(minute)?) {
        (h @ 0..24, m @ 0..60) => Ok(h * 60 + m),
        (24, 0) => Ok(24 * 60),
        _ => Err(bad()),
    }
}

/// What a range counts.
trait Unit {
    /// The number that a text means.
    fn number(text: &str) -> Result<i32, String>;

    /// Why a range from `begin` to `end` makes no sense.
    fn check(begin: i32, end: i32) -> Result<(), String>;
}

/// `a` or `a:b`, both ends inside.
#[derive(Debug, Clone, Copy)]
struct Range<U> {
    begin: i32,
    end: i32,
    unit: std::marker::PhantomData<U>,
}

impl<U> Range<U> {
    fn holds(&self, n: i32) -> bool {
        (self.begin..=self.end).contains(&n)
    }
}

impl Range<DayOfMonth> {
    /// Days from the end are counted in this month; days that it has not are cut off.
    fn holds_in_month(&self, day: i32, days: i32) -> bool {
        let counted = |n: i32| if n < 0 { days + n + 1 } else { n };
        (counted(self.begin)..=counted(self.end)).contains(&day)
    }
}

impl<'de, U: Unit> Deserialize<'de> for Range<U> {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let Some(text) = Option::<String>::deserialize(d)? else {
            return Ok(Self { begin: 0, end: 0, unit: std::marker::PhantomData });
        };
        let mut ends = text.split(':').map(U::number);
        let begin = ends.next().unwrap_or_else(|| U::number("")).map_err(de::Error::custom)?;
        let end = ends.next().unwrap_or(Ok(begin)).map_err(de::Error::custom)?;
        if ends.next().is_some() {
            return Err(de::Error::custom(format!("{text}: a range has two ends")));
        }
        U::check(begin, end).map_err(de::Error::custom)?;
        Ok(Self { begin, end, unit: std::marker::PhantomData })
    }
}

fn named(names: &[&str], text: &str) -> Option<i32> {
    let at = names.iter().position(|name| name.eq_ignore_ascii_case(text))?;
    i32::try_from(at).ok()
}

#[derive(Debug, Clone, Copy)]
struct Weekday;

impl Unit for Weekday {
    fn number(text: &str) -> Result<i32, String> {
        named(&["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"], text)
            .ok_or_else(|| format!("{text} is not a valid weekday"))
    }

    fn check(begin: i32, end: i32) -> Result<(), String> {
        if begin > end { Err("start day cannot be before end day".to_owned()) } else { Ok(()) }
    }
}

#[derive(Debug, Clone, Copy)]
struct DayOfMonth;

impl Unit for DayOfMonth {
    fn number(text: &str) -> Result<i32, String> {
        let n: i32 = text.parse().map_err(|_| format!("{text} is not a valid day of the month"))?;
        match n {
            -31..=-1 | 1..=31 => Ok(n),
            _ => Err(format!("{n} is not a valid day of the month: out of range")),
        }
    }

    fn check(begin: i32, end: i32) -> Result<(), String> {
        // Minus 31 is the first day of every month, so that nothing can come before it.
        if begin < 0 && end > 0 && begin != -31 {
            return Err("end day must be negative if start day is negative".to_owned());
        }
        // An end counted from the end of the month must come after the start in the shortest month, where
        // Alertmanager counts one day too few.
        let shortest = if end < 0 && begin > 0 { 28 + end } else { end };
        if begin > shortest {
            return Err(format!("end day {end} is always before start day {begin}"));
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy)]
struct Month;

impl Unit for Month {
    fn number(text: &str) -> Result<i32, String> {
        const NAMES: [&str; 12] = [
            "january",
            "february",
            "march",
            "april",
            "may",
            "june",
            "july",
            "august",
            "september",
            "october",
            "november",
            "december",
        ];
        named(&NAMES, text)
            .map(|i| i + 1)
            .or_else(|| text.parse().ok().filter(|n| (1..=12).contains(n)))
            .ok_or_else(|| format!("{text} is not a valid month"))
    }

    fn check(begin: i32, end: i32) -> Result<(), String> {
        if begin > end { Err(format!("end month {end} is before start month {begin}")) } else { Ok(()) }
    }
}

#[derive(Debug, Clone, Copy)]
struct Year;

impl Unit for Year {
    fn number(text: &str) -> Result<i32, String> {
        text.parse().map_err(|_| format!("{text} is not a valid year"))
    }

    fn check(begin: i32, end: i32) -> Result<(), String> {
        if begin > end { Err(format!("end year {end} is before start year {begin}")) } else { Ok(()) }
    }
}
