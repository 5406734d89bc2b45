//! What a replay found, rule by rule, as numbers.

use serde::Serialize;

use crate::model::{Duration, Timestamp};
use crate::rules::file::RuleKind;
use crate::sigma::PageBudget;

use super::labels::LabelledWindows;
use super::random::{self, Clock, Shuffled};
use super::recorder::{DAY_MS, Recorder, searched_bands};
use super::run::Replayer;
use super::search;
use super::statistics::rate_interval;
use super::times::day;

/// A month, ms: 30 days.
pub const MONTH_MS: i64 = 30 * DAY_MS;
/// The least that is taken for a month, ms: a tenth of it.
pub const MONTH_FROM_MS: i64 = 3 * DAY_MS;
/// Days of one rule in a picture.
const MAX_DAYS: i64 = 366;

/// Everything that a replay says.
#[derive(Debug, Clone, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub rules: Vec<RuleReport>,
}

/// One alerting or sigma rule.
#[derive(Debug, Clone, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct RuleReport {
    pub file: String,
    pub group: String,
    pub rule: String,
    /// `sigma` or `alerting`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    pub line: u64,
    /// Not there when rows of files were evaluated at their own times.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub interval_seconds: Option<f64>,
    pub series: usize,
    pub evaluations: u64,
    pub failures: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub first_failure: Option<String>,
    /// Days that were replayed, of every history.
    pub days: f64,
    pub bands: Vec<BandReport>,
    /// Pages as they would have gone out: over all series, with what the rule's budget does; a page of several series is one.
    pub pages: u64,
    /// Pages that the bands ask for, which is what the budget is held against: without it, the bands would page so often.
    pub asked: u64,
    /// Not there when less than a day was replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages_a_day: Option<f64>,
    /// Not there when less than [`MONTH_FROM_MS`] was replayed: a single page of an hour would be 720 a month.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub month: Option<Month>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget: Option<String>,
    /// Days of the budget's time, for each history.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub budget_days: Option<f64>,
    /// What the budget allows in the replayed time.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed: Option<f64>,
    pub over_budget: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub suggestion: Option<Suggestion>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labelled>,
    /// Pages by day, days without one too when they are not too many: `YYYY-MM-DD`, UTC.
    pub by_day: Vec<(String, u64)>,
}

/// Pages to expect in 30 days.
#[derive(Debug, Clone, Copy, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Month {
    pub pages: f64,
    /// The exact 95 % interval for a Poisson process.
    pub low: f64,
    pub high: f64,
}

/// One band of a sigma rule, or the whole of an alerting rule.
#[derive(Debug, Clone, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct BandReport {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    pub for_seconds: f64,
    /// `record`, `alert` or `page`.
    pub action: &'static str,
    /// How often it began to fire (or to be crossed, if it is only recorded), over all series.
    pub events: u64,
    /// Not there when less than a day was replayed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub events_a_day: Option<f64>,
}

/// The smallest thresholds that keep the budget, each with everything else as it is.
#[derive(Debug, Clone, Copy, Default, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Suggestion {
    /// σ of the lowest band that pages; higher ones are raised by the same factor.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sigma_pages: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_seconds: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub for_pages: Option<u64>,
    /// The rule was too noisy to look for any.
    pub too_noisy: bool,
}

/// How pages stand to labelled windows, and to a clock that fires at random, as often and as clustered.
#[derive(Debug, Clone, Copy, Serialize, PartialEq)]
#[serde(rename_all = "camelCase")]
pub struct Labelled {
    /// Pages of series that have labels; those that join another are counted, too.
    pub pages: u64,
    pub hits: u64,
    pub share: f64,
    pub windows: u64,
    pub found: u64,
    pub clock_share: f64,
    pub clock_found: f64,
    pub p_value: f64,
}

impl From<Clock> for Labelled {
    fn from(c: Clock) -> Self {
        Self {
            pages: c.pages,
            hits: c.hits,
            share: c.hits as f64 / c.pages.max(1) as f64,
            windows: c.windows,
            found: c.found,
            clock_share: c.clock_share,
            clock_found: c.clock_found,
            p_value: c.p_value,
        }
    }
}

impl Report {
    /// What was replayed so far. `budget` is for rules that have none of their own.
    pub fn new(replayer: &Replayer, budget: Option<PageBudget>, labels: Option<&LabelledWindows>) -> Self {
        let rules = (0..replayer.plan.order.len())
            .filter(|place| !matches!(replayer.rule(*place).1.kind, RuleKind::Recording))
            .map(|place| rule(replayer, place, budget, labels))
            .collect();
        Self { rules }
    }

    /// The rules whose bands ask for more pages than their budget allows.
    pub fn over_budget(&self) -> impl Iterator<Item = &RuleReport> {
        self.rules.iter().filter(|r| r.over_budget)
    }
}

/// What a budget allows in this time of each history: at least its pages, since a short replay proves nothing by a single page.
fn allowed(budget: PageBudget, exposures: &[i64]) -> f64 {
    let periods = exposures.iter().map(|ms| (*ms as f64 / budget.per.ms().max(1) as f64).max(1.0));
    f64::from(budget.pages) * periods.sum::<f64>()
}

fn rule(
    replayer: &Replayer,
    place: usize,
    budget: Option<PageBudget>,
    labels: Option<&LabelledWindows>,
) -> RuleReport {
    let (group, spec) = replayer.rule(place);
    let recorder = &replayer.recorders[place];
    let exposure = recorder.exposures.iter().sum::<i64>();
    let days = exposure as f64 / DAY_MS as f64;
    let pages = recorder.pages.iter().filter(|p| p.first).count() as u64 + recorder.pages_dropped;
    let month = (exposure >= MONTH_FROM_MS).then(|| {
        let (pages, low, high) = rate_interval(pages, exposure, MONTH_MS);
        Month { pages, low, high }
    });
    let own = match &spec.kind {
        RuleKind::Sigma(sigma) => sigma.detector.config().page_budget,
        _ => None,
    };
    let budget = own.or(budget);
    let may = budget.map(|b| allowed(b, &recorder.exposures));
    let suggestion = match (&spec.kind, may) {
        (RuleKind::Sigma(sigma), Some(most)) => {
            Some(search::search(spec, sigma, recorder, replayer.interval_ms(place), most).map_or(
                Suggestion { too_noisy: true, ..Suggestion::default() },
                |found| Suggestion {
                    sigma: found.sigma.map(|(s, _)| s),
                    sigma_pages: found.sigma.map(|(_, n)| n),
                    for_seconds: found.for_.map(|(d, _)| d.as_secs_f64()),
                    for_pages: found.for_.map(|(_, n)| n),
                    too_noisy: false,
                },
            ))
        }
        _ => None,
    };
    RuleReport {
        file: group.file.display().to_string(),
        group: group.name.clone(),
        rule: spec.name.clone(),
        kind: spec.type_name(),
        line: spec.line,
        interval_seconds: (!replayer.by_rows).then(|| replayer.interval_ms(place) as f64 / 1000.0),
        series: recorder.series().len(),
        evaluations: recorder.evaluations,
        failures: recorder.failures,
        first_failure: recorder.first_failure.clone(),
        days,
        bands: bands(replayer, place, days),
        pages,
        asked: recorder.asked,
        pages_a_day: a_day(pages, days),
        month,
        budget: budget.map(|b| format!("{} per {}", b.pages, b.per)),
        budget_days: budget.map(|b| b.per.as_secs_f64() / 86_400.0),
        allowed: may,
        over_budget: may.is_some_and(|most| recorder.asked as f64 > most),
        suggestion,
        labels: labels.and_then(|l| random::compare(&shuffled(recorder, l))).map(Labelled::from),
        by_day: by_day(recorder),
    }
}

/// How many a day, if there was a day.
fn a_day(count: u64, days: f64) -> Option<f64> {
    (days >= 1.0).then(|| count as f64 / days)
}

fn bands(replayer: &Replayer, place: usize, days: f64) -> Vec<BandReport> {
    let (_, spec) = replayer.rule(place);
    let counts = &replayer.recorders[place].bands;
    match &spec.kind {
        RuleKind::Sigma(sigma) => {
            let paging = super::recorder::paging_bands(spec, sigma);
            let alerting = searched_bands(spec, sigma);
            let config = sigma.detector.config();
            let action = |i: usize| match config.bands[i].action {
                crate::sigma::Action::Record => "record",
                crate::sigma::Action::Alert if paging.contains(&i) => "page",
                crate::sigma::Action::Alert => "alert",
            };
            debug_assert!(alerting.len() <= config.bands.len());
            let row = |(i, count): (usize, &super::recorder::BandCount)| BandReport {
                sigma: Some(config.bands[i].sigma),
                for_seconds: config.bands[i].for_.as_secs_f64(),
                action: action(i),
                events: count.events,
                events_a_day: a_day(count.events, days),
            };
            counts.iter().enumerate().map(row).collect()
        }
        RuleKind::Alerting(alerting) => {
            let pages = crate::rules::check::rule_pages(spec);
            let row = |count: &super::recorder::BandCount| BandReport {
                sigma: None,
                for_seconds: Duration::as_secs_f64(alerting.hold),
                action: if pages { "page" } else { "alert" },
                events: count.events,
                events_a_day: a_day(count.events, days),
            };
            counts.iter().map(row).collect()
        }
        RuleKind::Recording => Vec::new(),
    }
}

fn by_day(recorder: &Recorder) -> Vec<(String, u64)> {
    let (Some((first, _)), Some((last, _))) =
        (recorder.days.first_key_value(), recorder.days.last_key_value())
    else {
        return Vec::new();
    };
    let named = |d: i64, n: u64| (day(d.saturating_mul(DAY_MS)), n);
    if last - first < MAX_DAYS {
        (*first..=*last).map(|d| named(d, recorder.days.get(&d).copied().unwrap_or(0))).collect()
    } else {
        recorder.days.iter().map(|(d, n)| named(*d, *n)).collect()
    }
}

fn shuffled(recorder: &Recorder, labels: &LabelledWindows) -> Vec<Shuffled> {
    let mut pages: Vec<Vec<Timestamp>> = vec![Vec::new(); recorder.series().len()];
    for page in &recorder.pages {
        pages[page.series].push(page.t);
    }
    let of = |(track, pages): (&super::recorder::SeriesTrack, Vec<Timestamp>)| {
        Some(Shuffled { pages, windows: labels.of(&track.labels)?, span: track.span? })
    };
    recorder.series().iter().zip(pages).filter_map(of).collect()
}
