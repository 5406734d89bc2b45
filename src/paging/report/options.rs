//! Of which time a report is, and what is night there.

use jiff::Timestamp as Instant;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::model::Timestamp;
use crate::paging::time_interval::zone;

/// The longest time that a report covers, ms.
pub const MAX_WINDOW_MS: i64 = 400 * 86_400_000;

/// The part of the day in which a page wakes somebody, in minutes since midnight; it may go over midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Night {
    pub start: u16,
    pub end: u16,
}

impl Default for Night {
    fn default() -> Self {
        Self { start: 22 * 60, end: 7 * 60 }
    }
}

impl Night {
    /// Reads `22:00-07:00`.
    ///
    /// # Errors
    /// It is not of that form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let minute = |t: &str| {
            let (h, m) = t.trim().split_once(':')?;
            let (h, m): (u16, u16) = (h.parse().ok()?, m.parse().ok()?);
            (h < 24 && m < 60).then_some(h * 60 + m)
        };
        let both = text.split_once('-').and_then(|(a, b)| Some((minute(a)?, minute(b)?)));
        let (start, end) = both.ok_or_else(|| format!("{text:?} is no night like 22:00-07:00"))?;
        Ok(Self { start, end })
    }

    /// Is this minute of the day in it?
    pub fn contains(self, minute: u16) -> bool {
        match self.start <= self.end {
            true => (self.start..self.end).contains(&minute),
            false => minute >= self.start || minute < self.end,
        }
    }
}

impl std::fmt::Display for Night {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (s, e) = (self.start, self.end);
        write!(f, "{:02}:{:02}-{:02}:{:02}", s / 60, s % 60, e / 60, e % 60)
    }
}

/// What a report covers.
#[derive(Debug, Clone)]
pub struct ReportOptions {
    /// Incidents that were triggered from here on, ms.
    pub from: Timestamp,
    /// And before this time, ms.
    pub to: Timestamp,
    /// Where days and hours are counted.
    pub location: TimeZone,
    pub location_name: String,
    pub night: Night,
}

impl ReportOptions {
    /// From `from` to `to` (ms), at most [`MAX_WINDOW_MS`] long; days and hours are those of a location in the time
    /// zone database, or of `UTC`.
    ///
    /// # Errors
    /// The location is not known.
    pub fn new(from: Timestamp, to: Timestamp, location: &str, night: Night) -> Result<Self, String> {
        let location = if location.is_empty() { "UTC" } else { location };
        Ok(Self {
            from: from.clamp(to.saturating_sub(MAX_WINDOW_MS), to),
            to,
            location: zone(location)?,
            location_name: location.to_owned(),
            night,
        })
    }

    /// Day, hour and minute of the day at a time (ms) in the location.
    pub(super) fn local(&self, t: Timestamp) -> Option<(Date, u8, u16)> {
        let z = Instant::from_millisecond(t).ok()?.to_zoned(self.location.clone());
        let hour = z.hour().unsigned_abs();
        Some((z.date(), hour, u16::from(hour) * 60 + u16::from(z.minute().unsigned_abs())))
    }
}
