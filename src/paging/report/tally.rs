//! From incidents to a report: counts that are kept while the incidents go by.

use std::collections::BTreeMap;

use jiff::civil::Date;

use super::Facts;
use super::options::ReportOptions;
use super::shape::{
    Acknowledgements, CoinVerdict, DayCount, Drills, HourCount, NamedCount, PersonLoad, Report, Resolutions,
    RuleRecord, SentCount, SeriesCount,
};
use crate::model::{Order as _, Timestamp};
use crate::paging::engine::Sent;
use crate::sigma::coin_p_value;

/// Names that are told apart; what comes after them is not counted by name.
const MAX_RULES: usize = 1000;
const MAX_PERSONS: usize = 1000;
const MAX_SERIES: usize = 20_000;
/// Series that are listed.
const NOISIEST: usize = 5;
/// The certainty of the coin's test.
const ALPHA: f64 = 0.05;

#[derive(Debug, Default, Clone, Copy)]
struct Count {
    incidents: u64,
    pages: u64,
    notifications: u64,
}

#[derive(Debug, Default)]
struct OfSent {
    notifications: u64,
    at_night: u64,
}

/// What plain routes have sent, altogether and by name.
#[derive(Debug, Default)]
struct SentTally {
    total: OfSent,
    receivers: BTreeMap<String, OfSent>,
    rules: BTreeMap<String, OfSent>,
}

#[derive(Debug, Default)]
struct OfRule {
    count: Count,
    at_night: u64,
    by_itself: u64,
    useful: u64,
    useless: u64,
}

#[derive(Debug, Default)]
struct OfPerson {
    pages: u64,
    at_night: u64,
    acknowledged: u64,
}

/// Counts incidents.
#[derive(Debug)]
pub struct Tally {
    options: ReportOptions,
    total: Count,
    at_night: u64,
    days: BTreeMap<Date, Count>,
    hours: [Count; 24],
    persons: BTreeMap<String, OfPerson>,
    rules: BTreeMap<String, OfRule>,
    series: BTreeMap<String, Count>,
    /// ms
    acknowledged_after: Vec<i64>,
    resolved: u64,
    by_itself: u64,
    by_automation: u64,
    by_hand: u64,
    drills: u64,
    good_drills: u64,
    last_good_drill: Option<Timestamp>,
    sent: SentTally,
}

impl Tally {
    /// Of nothing yet.
    pub fn new(options: ReportOptions) -> Self {
        Self {
            options,
            total: Count::default(),
            at_night: 0,
            days: BTreeMap::new(),
            hours: [Count::default(); 24],
            persons: BTreeMap::new(),
            rules: BTreeMap::new(),
            series: BTreeMap::new(),
            acknowledged_after: Vec::new(),
            resolved: 0,
            by_itself: 0,
            by_automation: 0,
            by_hand: 0,
            drills: 0,
            good_drills: 0,
            last_good_drill: None,
            sent: SentTally::default(),
        }
    }

    /// Counts an incident, if it was triggered in the time of the report.
    pub fn add(&mut self, f: &Facts) {
        if !(self.options.from..self.options.to).contains(&f.triggered_at) {
            return;
        }
        if f.drill {
            self.drills += 1;
            if f.delivered {
                self.good_drills += 1;
                self.last_good_drill = self.last_good_drill.max(f.resolved_at);
            }
            return;
        }
        let pages = f.pages.len() as u64;
        self.total.incidents += 1;
        self.total.pages += pages;
        if let Some((day, hour, _)) = self.options.local(f.triggered_at) {
            self.days.entry(day).or_default().incidents += 1;
            self.hours[usize::from(hour) % 24].incidents += 1;
        }
        let at_night = self.pages(f);
        let first = f.pages.iter().map(|(_, at)| *at).min().unwrap_or(f.triggered_at);
        if let Some((at, by)) = &f.acknowledged {
            self.acknowledged_after.push((at - first).max(0));
            if let Some(person) = self.person(by) {
                person.acknowledged += 1;
            }
        }
        let by_itself = f.resolved_at.is_some() && f.acknowledged.is_none() && f.closed_by.is_none();
        self.resolved += u64::from(f.resolved_at.is_some());
        self.by_hand += u64::from(f.closed_by.is_some());
        self.by_itself += u64::from(by_itself);
        self.by_automation += u64::from(by_itself && f.automated && pages == 0);
        for name in &f.rules {
            if self.rules.len() >= MAX_RULES && !self.rules.contains_key(name) {
                continue;
            }
            let rule = self.rules.entry(name.clone()).or_default();
            rule.count.incidents += 1;
            rule.count.pages += pages;
            rule.at_night += at_night;
            rule.by_itself += u64::from(by_itself);
            rule.useful += u64::from(f.useful == Some(true));
            rule.useless += u64::from(f.useful == Some(false));
        }
        for labels in &f.series {
            if self.series.len() >= MAX_SERIES && !self.series.contains_key(labels) {
                continue;
            }
            let count = self.series.entry(labels.clone()).or_default();
            count.incidents += 1;
            count.pages += pages;
        }
    }

    /// Counts what plain routes sent in a quarter of an hour from `at` (ms) on.
    pub fn add_sent(&mut self, at: Timestamp, sent: &Sent) {
        if !(self.options.from..self.options.to).contains(&at) {
            return;
        }
        let Some((day, hour, minute)) = self.options.local(at) else { return };
        self.days.entry(day).or_default().notifications += sent.total;
        self.hours[usize::from(hour) % 24].notifications += sent.total;
        let night = self.options.night.contains(minute);
        let add = |to: &mut OfSent, n: u64| {
            to.notifications += n;
            to.at_night += if night { n } else { 0 };
        };
        add(&mut self.sent.total, sent.total);
        for (from, to) in [(&sent.receivers, &mut self.sent.receivers), (&sent.rules, &mut self.sent.rules)] {
            for (name, n) in from {
                if to.len() < MAX_RULES || to.contains_key(name) {
                    add(to.entry(name.clone()).or_default(), *n);
                }
            }
        }
    }

    /// Counts the pages of an incident; gives how many were at night.
    fn pages(&mut self, f: &Facts) -> u64 {
        let mut at_night = 0;
        for (whom, at) in &f.pages {
            let local = self.options.local(*at);
            let night = local.is_some_and(|(_, _, minute)| self.options.night.contains(minute));
            if let Some((day, hour, _)) = local {
                // A page may come after the time of the report, of an incident from before.
                self.days.entry(day).or_default().pages += 1;
                self.hours[usize::from(hour) % 24].pages += 1;
            }
            at_night += u64::from(night);
            if let Some(person) = self.person(whom) {
                person.pages += 1;
                person.at_night += u64::from(night);
            }
        }
        self.at_night += at_night;
        at_night
    }

    fn person(&mut self, name: &str) -> Option<&mut OfPerson> {
        if self.persons.len() >= MAX_PERSONS && !self.persons.contains_key(name) {
            return None;
        }
        Some(self.persons.entry(name.to_owned()).or_default())
    }

    /// The report.
    pub fn finish(self) -> Report {
        let o = &self.options;
        let by_hour = (0u8..).zip(self.hours);
        let mut by_person: Vec<PersonLoad> = self
            .persons
            .into_iter()
            .map(|(person, p)| PersonLoad {
                person,
                pages: p.pages,
                at_night: p.at_night,
                acknowledged: p.acknowledged,
            })
            .collect();
        by_person.order_by(|a, b| b.pages.cmp(&a.pages).then_with(|| a.person.cmp(&b.person)));
        let mut by_rule: Vec<RuleRecord> = self.rules.into_iter().map(|(name, r)| record(name, &r)).collect();
        by_rule.order_by(|a, b| {
            (b.incidents, b.pages).cmp(&(a.incidents, a.pages)).then_with(|| a.rule.cmp(&b.rule))
        });
        let mut noisiest: Vec<SeriesCount> = self
            .series
            .into_iter()
            .map(|(series, c)| SeriesCount { series, incidents: c.incidents, pages: c.pages })
            .collect();
        noisiest.order_by(|a, b| {
            (b.incidents, b.pages).cmp(&(a.incidents, a.pages)).then_with(|| a.series.cmp(&b.series))
        });
        noisiest.truncate(NOISIEST);
        Report {
            from: time(o.from),
            to: time(o.to),
            location: o.location_name.clone(),
            night: o.night.to_string(),
            incidents: self.total.incidents,
            pages: self.total.pages,
            pages_at_night: self.at_night,
            by_day: days(o, &self.days),
            by_hour: by_hour
                .map(|(hour, c)| HourCount {
                    hour,
                    incidents: c.incidents,
                    pages: c.pages,
                    notifications: c.notifications,
                })
                .collect(),
            by_person,
            acknowledgements: acknowledgements(self.acknowledged_after),
            resolutions: Resolutions {
                resolved: self.resolved,
                open: self.total.incidents - self.resolved,
                by_itself: self.by_itself,
                by_automation: self.by_automation,
                by_hand: self.by_hand,
                self_resolved_share: (self.resolved > 0)
                    .then(|| self.by_itself as f64 / self.resolved as f64),
            },
            by_rule,
            noisiest,
            drills: Drills {
                count: self.drills,
                good: self.good_drills,
                last_good: self.last_good_drill.map(time),
            },
            sent: SentCount {
                notifications: self.sent.total.notifications,
                at_night: self.sent.total.at_night,
                by_receiver: named(self.sent.receivers),
                by_rule: named(self.sent.rules),
            },
        }
    }
}

fn named(counts: BTreeMap<String, OfSent>) -> Vec<NamedCount> {
    let one = |(name, c): (String, OfSent)| NamedCount {
        name,
        notifications: c.notifications,
        at_night: c.at_night,
    };
    let mut all: Vec<NamedCount> = counts.into_iter().map(one).collect();
    all.order_by(|a, b| b.notifications.cmp(&a.notifications).then_with(|| a.name.cmp(&b.name)));
    all
}

fn record(rule: String, r: &OfRule) -> RuleRecord {
    let judged = r.useful + r.useless;
    let coin_p = coin_p_value(r.useful, judged);
    let coin = match judged {
        0 => CoinVerdict::Unjudged,
        _ if coin_p < ALPHA => CoinVerdict::Better,
        _ if coin_p_value(r.useless, judged) < ALPHA => CoinVerdict::Worse,
        _ => CoinVerdict::Undecided,
    };
    RuleRecord {
        rule,
        incidents: r.count.incidents,
        pages: r.count.pages,
        at_night: r.at_night,
        by_itself: r.by_itself,
        useful: r.useful,
        useless: r.useless,
        coin_p,
        coin,
    }
}

/// Every day of the report, also the empty ones.
fn days(o: &ReportOptions, counted: &BTreeMap<Date, Count>) -> Vec<DayCount> {
    let ends = (o.local(o.from), o.local(o.to.saturating_sub(1)));
    let (Some((first, ..)), Some((last, ..))) = ends else { return Vec::new() };
    let mut out = Vec::new();
    let mut day = first;
    while day <= last {
        let c = counted.get(&day).copied().unwrap_or_default();
        out.push(DayCount {
            day: day.to_string(),
            incidents: c.incidents,
            pages: c.pages,
            notifications: c.notifications,
        });
        let Ok(next) = day.tomorrow() else { break };
        day = next;
    }
    out
}

fn acknowledgements(mut after_ms: Vec<i64>) -> Acknowledgements {
    after_ms.sort_unstable();
    // The smallest value that is not below the share: no invented ones between two.
    let quantile = |share: f64| {
        let rank = ((after_ms.len() as f64 * share).ceil() as usize).max(1) - 1;
        after_ms.get(rank).map(|ms| *ms as f64 / 1000.0)
    };
    Acknowledgements {
        count: after_ms.len() as u64,
        median_seconds: quantile(0.5),
        p90_seconds: quantile(0.9),
        max_seconds: quantile(1.0),
    }
}

fn time(t: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(t).map_or_else(|_| String::new(), |t| t.to_string())
}
