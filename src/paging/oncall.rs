//! Who is on call: for the API, the pages and the command line.

use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::config::PagingConfig;
use super::schedule::Schedule;
use crate::model::Timestamp;

/// The longest time in which gaps are looked for, days.
pub const MAX_DAYS: i64 = 730;
/// Gaps that are listed of one schedule.
const GAPS: usize = 100;
/// Turns that are listed of one schedule.
const TURNS: usize = 5;

/// Who is on call by the schedules of a configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnCall {
    pub at: String,
    /// How far ahead gaps were looked for, days.
    pub days: i64,
    pub schedules: Vec<OnCallSchedule>,
}

/// One schedule.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct OnCallSchedule {
    pub schedule: String,
    /// Of its handovers: a name of the time zone database.
    pub location: Option<String>,
    /// Who is on call now and the next ones, in order.
    pub turns: Vec<Turn>,
    /// When nobody is on call.
    pub gaps: Vec<Gap>,
}

/// Somebody's turn.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// Nobody in a gap.
    pub user: Option<String>,
    pub from: String,
    /// `None` when nobody else is on call within 60 days.
    pub until: Option<String>,
}

/// A time without anybody.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gap {
    pub from: String,
    pub until: String,
}

impl OnCall {
    /// At a time (ms), and for so many days (1 to [`MAX_DAYS`]) after it.
    pub fn of(config: &PagingConfig, at: Timestamp, days: i64) -> Self {
        let days = days.clamp(1, MAX_DAYS);
        let schedules = config.schedules.values().map(|s| schedule(s, at, days)).collect();
        Self { at: time(at), days, schedules }
    }

    /// Is there a schedule with a time without anybody?
    pub fn has_gaps(&self) -> bool {
        self.schedules.iter().any(|s| !s.gaps.is_empty())
    }

    /// For a terminal.
    pub fn text(&self) -> String {
        let mut out = format!("On call at {}\n", self.at);
        if self.schedules.is_empty() {
            out.push_str("\nno on-call schedules are configured\n");
        }
        for s in &self.schedules {
            let _ = writeln!(out, "\n{} ({})", s.schedule, s.location.as_deref().unwrap_or("fixed offset"));
            for (i, turn) in s.turns.iter().enumerate() {
                let word = ["now ", "next"].get(i).copied().unwrap_or("then");
                let until = turn.until.as_deref().map_or("for good".to_owned(), |t| format!("until {t}"));
                let _ = writeln!(out, "  {word}  {}  {until}", turn.user.as_deref().unwrap_or("NOBODY"));
            }
            match s.gaps.as_slice() {
                [] => {
                    let _ = writeln!(out, "  no gaps in the next {} days", self.days);
                }
                gaps => {
                    let _ = writeln!(out, "  NOBODY is on call in the next {} days", self.days);
                    for gap in gaps {
                        let _ = writeln!(out, "    from {} until {}", gap.from, gap.until);
                    }
                }
            }
        }
        out
    }
}

fn schedule(s: &Schedule, at: Timestamp, days: i64) -> OnCallSchedule {
    let mut turns = Vec::new();
    let mut from = at;
    while turns.len() < TURNS {
        let until = s.next_change(from);
        turns.push(Turn {
            user: s.on_call(from).map(str::to_owned),
            from: time(from),
            until: until.map(time),
        });
        match until {
            Some(next) => from = next,
            None => break,
        }
    }
    let gaps = s.gaps(at, at.saturating_add(days * 86_400_000));
    let gap = |(from, until): (Timestamp, Timestamp)| Gap { from: time(from), until: time(until) };
    OnCallSchedule {
        schedule: s.name.clone(),
        location: s.location().map(str::to_owned),
        turns,
        gaps: gaps.into_iter().take(GAPS).map(gap).collect(),
    }
}

fn time(t: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(t).map_or_else(|_| t.to_string(), |t| t.to_string())
}
