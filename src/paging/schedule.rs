//! Who is on call: rotations by day, week or hours, layers, stand-ins.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{Timestamp as Instant, ToSpan, Zoned};

use crate::model::yaml::Spanned;
use crate::model::{Duration, Timestamp, set};
use crate::paging::config::{LayerConfig, OverrideConfig, ScheduleConfig, User};
use crate::paging::time_interval::{TimeInterval, zone};

const DAY_MS: i64 = 86_400_000;
const MAX_PEOPLE: usize = 1000;
/// How far ahead the next handover is looked for.
const HORIZON_MS: i64 = 60 * DAY_MS;
/// No rotation is finer than this.
const GRAIN_MS: i64 = 60_000;
/// Gaps that are listed at once.
const MAX_GAPS: usize = 1000;

/// A schedule, checked.
#[derive(Debug, Clone)]
pub struct Schedule {
    pub name: String,
    /// Later ones come before earlier ones.
    layers: Vec<Layer>,
    overrides: Vec<Override>,
}

#[derive(Debug, Clone)]
struct Layer {
    users: Vec<String>,
    rotation: Rotation,
    /// A handover: that to the first user.
    start: Zoned,
    /// Empty: always.
    active: Vec<TimeInterval>,
}

#[derive(Debug, Clone, Copy)]
enum Rotation {
    /// Whole days, at the same wall-clock time whatever the clocks do.
    Days(i64),
    Ms(i64),
}

#[derive(Debug, Clone)]
struct Override {
    user: String,
    start: Timestamp,
    end: Timestamp,
}

/// A mistake in a schedule and its place.
type Mistake<'a> = (&'a Spanned<String>, String);

impl Schedule {
    /// Checks and resolves a schedule.
    ///
    /// # Errors
    /// An unknown user, location or interval, a bad time, an empty rotation.
    pub(super) fn from_config<'a>(
        c: &'a ScheduleConfig,
        users: &BTreeMap<String, User>,
        intervals: &BTreeMap<String, Vec<TimeInterval>>,
    ) -> Result<Self, Mistake<'a>> {
        let tz = zone(c.location.as_deref().unwrap_or_default()).map_err(|e| (&c.name, e))?;
        let mut layers = Vec::new();
        match (&c.users, &c.rotation, &c.start, &c.layers) {
            (Some(people), Some(rotation), Some(start), None) => {
                layers.push(layer(&c.name, people, *rotation, start, Vec::new(), users, &tz)?);
            }
            (None, None, None, Some(list)) if !list.is_empty() => {
                for l in list {
                    layers.push(from_layer(&c.name, l, users, intervals, &tz)?);
                }
            }
            _ => {
                return Err((
                    &c.name,
                    "it needs rotation, start and users, or layers that have them".to_owned(),
                ));
            }
        }
        let mut overrides = Vec::new();
        for o in c.overrides.iter().flatten() {
            overrides.push(stand_in(o, users, &tz)?);
        }
        Ok(Self { name: c.name.value.clone(), layers, overrides })
    }

    /// Where its handovers happen; a name of the time zone database.
    pub fn location(&self) -> Option<&str> {
        self.layers.first()?.start.time_zone().iana_name()
    }

    /// Everybody who can be on call.
    pub fn people(&self) -> BTreeSet<&str> {
        let rotating = self.layers.iter().flat_map(|l| &l.users);
        set(rotating.chain(self.overrides.iter().map(|o| &o.user)).map(String::as_str))
    }

    /// Who is on call at `t` (ms). `None` in a gap between layers.
    pub fn on_call(&self, t: Timestamp) -> Option<&str> {
        self.stand_in(t).or_else(|| {
            let layer = self.layer(t)?;
            layer.users.get(layer.index(t)).map(String::as_str)
        })
    }

    /// Who comes after the one on call at `t`: the first in the order of the rotation for whom `notified` is
    /// false. The one on call comes last, for when a handover has made somebody new the one.
    pub fn next(&self, t: Timestamp, notified: impl Fn(&str) -> bool) -> Option<&str> {
        let now = self.on_call(t);
        let after = self.layer(t).or_else(|| self.layers.last()).into_iter().flat_map(|layer| {
            let n = layer.users.len();
            let at = layer.index(t);
            (1..=n).map(move |i| layer.users[(at + i) % n].as_str())
        });
        after.filter(|u| Some(*u) != now).chain(now).find(|u| !notified(u))
    }

    /// The next moment after `t` (ms) at which somebody else is on call, if there is one within 60 days.
    pub fn next_change(&self, t: Timestamp) -> Option<Timestamp> {
        let now = self.on_call(t);
        let mut at = t;
        loop {
            at = self.next_edge(at, true).filter(|edge| *edge <= t.saturating_add(HORIZON_MS))?;
            if self.on_call(at) != now {
                return Some(at);
            }
        }
    }

    /// The times within `from..to` (ms) at which nobody is on call, in order: start and end of each. At most
    /// 1000 of them, and no further than two years from `from`.
    pub fn gaps(&self, from: Timestamp, to: Timestamp) -> Vec<(Timestamp, Timestamp)> {
        let to = to.min(from.saturating_add(2 * 366 * DAY_MS));
        let mut gaps: Vec<(Timestamp, Timestamp)> = Vec::new();
        let mut at = from;
        while at < to && gaps.len() < MAX_GAPS {
            let end = self.next_edge(at, false).unwrap_or(to).min(to);
            if self.on_call(at).is_none() {
                match gaps.last_mut() {
                    Some((_, last)) if *last == at => *last = end,
                    _ => gaps.push((at, end)),
                }
            }
            at = end;
        }
        gaps
    }

    /// The next moment after `t` at which another override, layer or (`turns`) another turn of a rotation may
    /// hold. Nothing changes between two of them.
    fn next_edge(&self, t: Timestamp, turns: bool) -> Option<Timestamp> {
        let overrides = self.overrides.iter().flat_map(|o| [o.start, o.end]);
        let layers = self.layers.iter().flat_map(|l| {
            let turn = if turns && l.users.len() > 1 { l.next_turn(t) } else { None };
            turn.into_iter().chain(l.active.iter().filter_map(move |i| i.next_edge(t)))
        });
        overrides.chain(layers).filter(|edge| *edge > t).min()
    }

    fn stand_in(&self, t: Timestamp) -> Option<&str> {
        let o = self.overrides.iter().rev().find(|o| (o.start..o.end).contains(&t))?;
        Some(&o.user)
    }

    fn layer(&self, t: Timestamp) -> Option<&Layer> {
        self.layers.iter().rev().find(|l| l.active.is_empty() || l.active.iter().any(|i| i.contains(t)))
    }
}

impl Layer {
    /// Whose turn it is. The rotation also reaches back before its start, so that there is no time without
    /// anybody.
    fn index(&self, t: Timestamp) -> usize {
        let turn = match self.rotation {
            Rotation::Ms(ms) => t.saturating_sub(self.start.timestamp().as_millisecond()).div_euclid(ms),
            Rotation::Days(days) => self.days_since_start(t).div_euclid(days),
        };
        let n = i64::try_from(self.users.len()).unwrap_or(1).max(1);
        usize::try_from(turn.rem_euclid(n)).unwrap_or_default()
    }

    /// The next handover after `t`.
    fn next_turn(&self, t: Timestamp) -> Option<Timestamp> {
        match self.rotation {
            Rotation::Ms(ms) => {
                let start = self.start.timestamp().as_millisecond();
                start.checked_add(t.saturating_sub(start).div_euclid(ms).checked_add(1)?.checked_mul(ms)?)
            }
            Rotation::Days(days) => {
                let turn = self.days_since_start(t).div_euclid(days) + 1;
                let date = self.start.date().checked_add(turn.checked_mul(days)?.days()).ok()?;
                let handover = date.to_datetime(self.start.time()).to_zoned(self.start.time_zone().clone());
                Some(handover.ok()?.timestamp().as_millisecond())
            }
        }
    }

    /// Daily handover times that have passed since the start.
    fn days_since_start(&self, t: Timestamp) -> i64 {
        let Ok(instant) = Instant::from_millisecond(t) else { return 0 };
        let tz = self.start.time_zone();
        let date = instant.to_zoned(tz.clone()).date();
        let days = (date - self.start.date()).get_days();
        // On the day itself the handover may still be to come.
        let handover: DateTime = date.to_datetime(self.start.time());
        let passed = handover.to_zoned(tz.clone()).is_ok_and(|h| h.timestamp() <= instant);
        i64::from(days) - i64::from(!passed)
    }
}

fn from_layer<'a>(
    name: &'a Spanned<String>,
    l: &'a LayerConfig,
    users: &BTreeMap<String, User>,
    intervals: &BTreeMap<String, Vec<TimeInterval>>,
    tz: &TimeZone,
) -> Result<Layer, Mistake<'a>> {
    let mut active = Vec::new();
    for n in l.active_time_intervals.iter().flatten() {
        let named = intervals.get(&n.value).ok_or_else(|| (n, format!("no time interval {:?}", n.value)))?;
        active.extend(named.iter().cloned());
    }
    layer(name, &l.users, l.rotation, &l.start, active, users, tz)
}

fn layer<'a>(
    name: &'a Spanned<String>,
    people: &'a [Spanned<String>],
    rotation: Duration,
    start: &'a Spanned<String>,
    active: Vec<TimeInterval>,
    users: &BTreeMap<String, User>,
    tz: &TimeZone,
) -> Result<Layer, Mistake<'a>> {
    if people.is_empty() || people.len() > MAX_PEOPLE {
        return Err((name, format!("a rotation has 1 to {MAX_PEOPLE} users")));
    }
    for u in people {
        known(u, users)?;
    }
    let rotation = match rotation.ms() {
        ms if ms < GRAIN_MS => return Err((name, format!("a rotation of {rotation} is less than a minute"))),
        ms if ms % DAY_MS == 0 => Rotation::Days(ms / DAY_MS),
        ms => Rotation::Ms(ms),
    };
    let start = moment(start, tz)?.with_time_zone(tz.clone());
    Ok(Layer { users: people.iter().map(|u| u.value.clone()).collect(), rotation, start, active })
}

fn stand_in<'a>(
    o: &'a OverrideConfig,
    users: &BTreeMap<String, User>,
    tz: &TimeZone,
) -> Result<Override, Mistake<'a>> {
    known(&o.user, users)?;
    let (start, end) = (moment(&o.start, tz)?, moment(&o.end, tz)?);
    if start >= end {
        return Err((&o.end, "an override ends before it begins".to_owned()));
    }
    Ok(Override {
        user: o.user.value.clone(),
        start: start.timestamp().as_millisecond(),
        end: end.timestamp().as_millisecond(),
    })
}

fn known<'a>(user: &'a Spanned<String>, users: &BTreeMap<String, User>) -> Result<(), Mistake<'a>> {
    if users.contains_key(&user.value) { Ok(()) } else { Err((user, format!("no user {:?}", user.value))) }
}

/// A time with an offset, or a wall-clock time in the schedule's location.
fn moment<'a>(text: &'a Spanned<String>, tz: &TimeZone) -> Result<Zoned, Mistake<'a>> {
    let bad =
        || (text, format!("{:?} is no time like 2026-11-23T09:00:00Z or 2026-11-23T09:00:00", text.value));
    let value = text.value.trim();
    if let Ok(instant) = value.parse::<Instant>() {
        // Far from the ends of what can be computed with.
        let year = instant.to_zoned(TimeZone::UTC).year();
        return if (1970..=3000).contains(&year) { Ok(instant.to_zoned(tz.clone())) } else { Err(bad()) };
    }
    let local: DateTime = value.parse().map_err(|_| bad())?;
    if !(1970..=3000).contains(&local.year()) {
        return Err(bad());
    }
    local.checked_add(0.seconds()).and_then(|l| l.to_zoned(tz.clone())).map_err(|_| bad())
}
