//! What a rule's author writes about baseline and bands, its defaults, and what is refused.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde::Deserialize;

use crate::model::Duration;

/// The parts of a sigma rule that this room reads. `rules` builds it from its own rule structure.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// What normal is.
    #[serde(default)]
    pub baseline: BaselineConfig,
    /// Which side of the centre counts. Default: `above`.
    #[serde(default)]
    pub direction: Direction,
    /// In the unit of the expression: a smaller distance from the centre is no event, whatever its sigma.
    /// Default 0.
    #[serde(default)]
    pub min_deviation: f64,
    /// At least one; the sigmas differ and ascend.
    pub bands: Vec<Band>,
    /// How far below its sigma a firing band must be left before it clears. Default 0.5.
    #[serde(default = "default_clear_sigma")]
    pub clear_sigma: f64,
    /// How long a band keeps firing after it was last crossed. Default 0.
    #[serde(default)]
    pub keep_firing_for: Duration,
    /// Pages that this rule may cost, over all its series. Default: none, which means no limit.
    #[serde(default)]
    pub page_budget: Option<PageBudget>,
    /// Which series about the band are stored and exposed. Default `zscore`.
    #[serde(default)]
    pub record: Record,
    /// What is judged: the sample, a short mean in its place, or (novelty) a sum of both. Default: single samples.
    #[serde(default)]
    pub judge: Judge,
    /// What a page does to the pages after it.
    #[serde(default)]
    pub after_page: AfterPage,
}

/// `baseline:` of a sigma rule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BaselineConfig {
    /// Default `gaussian`.
    #[serde(default)]
    pub model: Model,
    /// How far the memory reaches, 1m to 365d. Default 6h.
    #[serde(default = "default_window")]
    pub window: Duration,
    /// The newest part, which is judged and not yet learnt; shorter than `window`. Default 10m.
    #[serde(default = "default_lag")]
    pub lag: Duration,
    /// For the model `seasonal`: one or both of `1d` and `1w`. Default, for that model, `[1d]`.
    #[serde(default)]
    pub seasonality: Vec<Duration>,
    /// Learnt samples before anything may fire, at least 2. Default 240.
    #[serde(default = "default_min_samples")]
    pub min_samples: u32,
    /// Time since the first sample before anything may fire. Default 0.
    #[serde(default)]
    pub min_time: Duration,
    /// The standard deviation is taken to be at least this, in the unit of the expression. Default 0.
    #[serde(default)]
    pub stddev_floor: f64,
    /// And at least this share of |centre|, for novelty of the largest |value| so far. Default 0.01.
    #[serde(default = "default_floor_ratio")]
    pub stddev_floor_ratio: f64,
    /// For novelty: how that floor and σ join. Default `larger`.
    #[serde(default)]
    pub floor: Floor,
    /// For novelty: the mean over so much time tells how unusual these hours are; a distance counts 1 + f times, f = |that mean -
    /// centre| in scales, at most 4. 0 is never. Default 0.
    #[serde(default)]
    pub unrest: Duration,
    /// For novelty: what σ is taken from. Default `variance`.
    #[serde(default)]
    pub spread: Spread,
    /// For novelty: so much of the distance from the mean joins σ (Weber's law: 300 is no news after 280, 40 is after 20). Default 0.
    #[serde(default)]
    pub weber: f64,
    /// For novelty: a value farther than this many σ from all that are remembered is remembered of its own. Default 0.1.
    #[serde(default = "default_remember")]
    pub remember: f64,
    /// For novelty: a value that nothing matched for so long is forgotten. Default 30d.
    #[serde(default = "default_forget")]
    pub forget: Duration,
    /// Learning stops while an alerting band of this sigma or above fires. Default: the lowest alerting band.
    #[serde(default)]
    pub freeze_at: Option<f64>,
    /// How long it may be stopped at the most. Default 6h.
    #[serde(default = "default_freeze_max")]
    pub freeze_max: Duration,
    /// The expression is a raw counter: its increase per second is judged, and resets are no events.
    /// Default false.
    #[serde(default)]
    pub counter: bool,
}

/// How normal is modelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Model {
    /// Exponentially weighted mean and variance.
    #[default]
    Gaussian,
    /// Median and scaled median absolute deviation from a bounded sketch.
    Robust,
    /// Mean and variance by time of day and day of week.
    Seasonal,
    /// Distance from every value seen before.
    Novelty,
}

/// What novelty takes σ from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Spread {
    /// The exponentially weighted variance.
    #[default]
    Variance,
    /// The mean absolute deviation from a running median: a few huge values do not blow it up.
    Deviation,
}

/// How novelty joins σ and its floor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Floor {
    /// The larger of both.
    #[default]
    Larger,
    /// Their geometric mean, σ taken for a tenth of the floor at least: between what the series usually does and how large it gets.
    Mean,
}

/// Which side of the centre counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    #[default]
    Above,
    Below,
    Both,
}

/// One band of a sigma rule.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Band {
    /// Distance from the centre in standard deviations, above 0.
    pub sigma: f64,
    /// Default `alert`.
    #[serde(default)]
    pub action: Action,
    /// How long the band must be crossed without a break before it fires. Default 0.
    #[serde(default, rename = "for")]
    pub for_: Duration,
    /// Labels of the alert.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// A second condition for the crossing to start. Default: none.
    #[serde(default)]
    pub gate: Option<Gate>,
}

/// What a band does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// It becomes an alert.
    #[default]
    Alert,
    /// It is only drawn.
    Record,
}

/// A second condition of a band.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Gate {
    /// The value is also unlike every remembered value.
    Novelty,
}

/// Which series about the band are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Record {
    All,
    #[default]
    Zscore,
    None,
}

/// `judge: mean 1h`, `judge: sample + 0.5 mean 1h`: what is judged, and how much each part counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Judge {
    /// At least one; more than one only for the model novelty.
    pub terms: Vec<Term>,
}

/// One part of [`Judge`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Term {
    /// Its distance counts this many times, above 0.
    pub weight: f64,
    /// Length of the mean; none for the sample itself.
    pub mean: Option<Duration>,
}

/// Parts of a sum at the most: each has a memory of its own, and the state of a series is bounded.
const MAX_TERMS: usize = 3;

impl Default for Judge {
    fn default() -> Self {
        Self { terms: vec![Term { weight: 1.0, mean: None }] }
    }
}

impl Judge {
    /// The longest mean.
    pub fn longest(&self) -> Option<Duration> {
        self.terms.iter().filter_map(|t| t.mean).max()
    }
}

impl FromStr for Judge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("judge: want \"mean DURATION\" or a sum like \"sample + 0.5 mean 1h\", not {text:?}");
        let mut terms: Vec<Term> = Vec::new();
        for part in text.split('+') {
            let words: Vec<&str> = part.split_whitespace().collect();
            let (weight, words) = match words.split_first() {
                Some((first, rest)) if first.starts_with(|c: char| c.is_ascii_digit() || c == '.') => {
                    (first.parse::<f64>().map_err(|_| wrong())?, rest)
                }
                _ => (1.0, words.as_slice()),
            };
            let mean = match words {
                ["sample"] => None,
                ["mean", length] => {
                    Some(length.parse::<Duration>().ok().filter(|d| !d.is_zero()).ok_or_else(wrong)?)
                }
                _ => return Err(wrong()),
            };
            if !(weight.is_finite() && weight > 0.0) || terms.iter().any(|t| t.mean == mean) {
                return Err(wrong());
            }
            terms.push(Term { weight, mean });
        }
        if terms.len() > MAX_TERMS {
            return Err(format!("judge: want at most {MAX_TERMS} parts, not {}", terms.len()));
        }
        Ok(Self { terms })
    }
}

/// Nobody counts more pages than these.
const MAX_PAGES: u32 = 1000;

/// `after_page:` of a sigma rule: what a page does to the pages after it. Who was paged a moment ago knows. `rules` decides by it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AfterPage {
    /// No further page of the same series for so long. Default: 12h with a `page_budget`, 0 without.
    #[serde(default)]
    pub quiet: Option<Duration>,
    /// Each page multiplies the paging bands' sigma by this, 1 to 10: with a `page_budget` those of the rule, without one those of
    /// the series that paged. Default: 1.3 with a `page_budget`, 1 without.
    #[serde(default)]
    pub widen: Option<f64>,
    /// What was widened halves in this time. Default 5d.
    #[serde(default)]
    pub half_life: Option<Duration>,
    /// Without a `page_budget` the half-life may grow with what is known of the series: times (its age in weeks × its interval in 5
    /// minutes) to this power, and never below 1, so that it only ever grows. 0 to 1. Default 0.
    #[serde(default)]
    pub maturing: f64,
    /// Neither holds back what is more than this many times as far as what was last paged for, at least 1. Default 1.
    #[serde(default)]
    pub worse: Option<f64>,
}

/// [`AfterPage`] with its defaults put in.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AfterPagePlan {
    /// ms.
    pub quiet_ms: i64,
    /// 1 to 10.
    pub widen: f64,
    /// ms, above 0.
    pub half_life_ms: f64,
    /// 0 to 1.
    pub maturing: f64,
    /// At least 1.
    pub worse: f64,
}

/// A half-life that matures is the one that is written for a series of this age, ms, ...
const WEEK_MS: f64 = 7.0 * 86_400_000.0;
/// ... at this interval, ms.
const INTERVAL_MS: f64 = 300_000.0;

impl AfterPagePlan {
    /// The same for a series of this age (ms) that was seen so often. A series that was watched for long shows something new less and
    /// less often, and the fewer samples a day, the longer that takes.
    pub fn matured(&self, age_ms: i64, samples: u64) -> Self {
        if self.maturing == 0.0 {
            return *self;
        }
        let age = age_ms.max(0) as f64;
        let interval = age / samples.max(1) as f64;
        let times = ((age / WEEK_MS) * (interval / INTERVAL_MS)).powf(self.maturing).max(1.0);
        Self { half_life_ms: self.half_life_ms * times, ..*self }
    }
}

impl AfterPage {
    /// What holds for a rule with a `page_budget`, or without one.
    pub fn plan(&self, budget: bool) -> AfterPagePlan {
        let usual = |hours: i64| hours * 3_600_000;
        AfterPagePlan {
            quiet_ms: self.quiet.map_or(if budget { usual(12) } else { 0 }, |d| d.ms()),
            widen: self.widen.unwrap_or(if budget { 1.3 } else { 1.0 }),
            half_life_ms: self.half_life.map_or(usual(120), |d| d.ms()).max(1) as f64,
            maturing: self.maturing,
            worse: self.worse.unwrap_or(1.0),
        }
    }
}

/// `page_budget: 2 per 30d`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PageBudget {
    /// Pages, 1 to 1000.
    pub pages: u32,
    /// In this much time, at least 1h.
    pub per: Duration,
}

impl FromStr for PageBudget {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong =
            || format!("page_budget: want \"N per DURATION\", for instance \"2 per 30d\", not {text:?}");
        let (pages, per) = text.split_once(" per ").ok_or_else(wrong)?;
        let pages: u32 = pages.trim().parse().map_err(|_| wrong())?;
        let per: Duration = per.trim().parse().map_err(|_| wrong())?;
        if !(1..=MAX_PAGES).contains(&pages) || per.ms() < 3_600_000 {
            Err(wrong())
        } else {
            Ok(Self { pages, per })
        }
    }
}

macro_rules! deserialize_from_text {
    ($($kind:ty),*) => {$(
        impl<'de> Deserialize<'de> for $kind {
            fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
                String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
            }
        }
    )*};
}
deserialize_from_text!(Judge, PageBudget);

fn default_clear_sigma() -> f64 {
    0.5
}
fn default_window() -> Duration {
    Duration::from_secs(6 * 3600)
}
fn default_lag() -> Duration {
    Duration::from_secs(600)
}
fn default_min_samples() -> u32 {
    240
}
fn default_floor_ratio() -> f64 {
    0.01
}
fn default_remember() -> f64 {
    0.10
}
fn default_forget() -> Duration {
    Duration::from_secs(30 * 86_400)
}
fn default_freeze_max() -> Duration {
    Duration::from_secs(6 * 3600)
}

impl Default for BaselineConfig {
    fn default() -> Self {
        Self {
            model: Model::default(),
            window: default_window(),
            lag: default_lag(),
            seasonality: Vec::new(),
            min_samples: default_min_samples(),
            min_time: Duration::default(),
            stddev_floor: 0.0,
            stddev_floor_ratio: default_floor_ratio(),
            floor: Floor::default(),
            unrest: Duration::default(),
            spread: Spread::default(),
            weber: 0.0,
            remember: default_remember(),
            forget: default_forget(),
            freeze_at: None,
            freeze_max: default_freeze_max(),
            counter: false,
        }
    }
}

/// What is wrong in a [`Config`]: the key's path below the rule, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key}: {message}")]
pub struct ConfigError {
    /// For instance `baseline.lag` or `bands[1].sigma`.
    pub key: String,
    pub message: String,
}

const DAY_MS: i64 = 86_400_000;
/// More bands than this are a mistake, and would make a series' state unbounded.
pub const MAX_BANDS: usize = 6;

impl Config {
    /// Everything that is wrong, in the order of the keys; empty when the rule may run.
    pub fn errors(&self) -> Vec<ConfigError> {
        let mut errors = Vec::new();
        let mut wrong = |key: &str, message: String| {
            errors.push(ConfigError { key: key.to_owned(), message });
        };
        let b = &self.baseline;
        if !(60_000..=365 * DAY_MS).contains(&b.window.ms()) {
            wrong("baseline.window", format!("{} is not between 1m and 365d", b.window));
        }
        if b.lag >= b.window {
            wrong("baseline.lag", format!("{} is not shorter than the window ({})", b.lag, b.window));
        }
        if !b.seasonality.is_empty() && b.model != Model::Seasonal {
            wrong("baseline.seasonality", "only the model seasonal reads it".to_owned());
        }
        for (i, season) in b.seasonality.iter().enumerate() {
            if season.ms() != DAY_MS && season.ms() != 7 * DAY_MS {
                wrong("baseline.seasonality", format!("{season}: only 1d and 1w are known"));
            } else if b.seasonality[..i].contains(season) {
                wrong("baseline.seasonality", format!("{season} is there twice"));
            }
        }
        let longest = b.seasonality.iter().max().map_or(DAY_MS, |d| d.ms());
        if b.model == Model::Seasonal && b.window.ms() < 2 * longest {
            wrong("baseline.window", format!("{} holds less than two seasons", b.window));
        }
        if b.min_samples < 2 {
            wrong("baseline.min_samples", format!("{} is less than 2", b.min_samples));
        }
        let mut not_negative = |key: &str, v: f64| {
            if !(v.is_finite() && v >= 0.0) {
                wrong(key, format!("{v} is not a number from 0 upwards"));
            }
        };
        not_negative("baseline.stddev_floor", b.stddev_floor);
        not_negative("baseline.stddev_floor_ratio", b.stddev_floor_ratio);
        not_negative("baseline.freeze_at", b.freeze_at.unwrap_or(0.0));
        not_negative("min_deviation", self.min_deviation);
        not_negative("clear_sigma", self.clear_sigma);
        not_negative("baseline.weber", b.weber);
        not_negative("baseline.remember", b.remember);
        let novelty = b.model == Model::Novelty;
        let usual = BaselineConfig::default();
        for (key, differs) in [
            ("baseline.spread", b.spread != usual.spread),
            ("baseline.floor", b.floor != usual.floor),
            ("baseline.unrest", b.unrest != usual.unrest),
            ("baseline.weber", b.weber != usual.weber),
            ("baseline.remember", b.remember != usual.remember),
            ("baseline.forget", b.forget != usual.forget),
        ] {
            if differs && !novelty {
                wrong(key, "only the model novelty reads it".to_owned());
            }
        }
        if let Some(mean) = self.judge.longest()
            && mean >= b.window
        {
            wrong("judge", format!("a mean of {mean} is not shorter than the window ({})", b.window));
        }
        if b.unrest >= b.window {
            wrong("baseline.unrest", format!("{} is not shorter than the window ({})", b.unrest, b.window));
        }
        if self.judge.terms.len() != 1 && !novelty {
            wrong("judge", "only the model novelty judges a sum".to_owned());
        }
        let after = self.after_page.plan(self.page_budget.is_some());
        if !(1.0..=10.0).contains(&after.widen) {
            wrong("after_page.widen", format!("{} is not between 1 and 10", after.widen));
        }
        if self.after_page.half_life.is_some_and(|d| d.is_zero()) {
            wrong("after_page.half_life", "must be longer than 0".to_owned());
        }
        if !(0.0..=1.0).contains(&after.maturing) {
            wrong("after_page.maturing", format!("{} is not between 0 and 1", after.maturing));
        }
        if !(after.worse.is_finite() && after.worse >= 1.0) {
            wrong("after_page.worse", format!("{} is not a number from 1 upwards", after.worse));
        }
        self.band_errors(&mut errors);
        errors
    }

    fn band_errors(&self, errors: &mut Vec<ConfigError>) {
        let mut wrong = |key: String, message: String| errors.push(ConfigError { key, message });
        if self.bands.is_empty() || self.bands.len() > MAX_BANDS {
            wrong("bands".to_owned(), format!("want 1 to {MAX_BANDS} bands, not {}", self.bands.len()));
        }
        for (i, band) in self.bands.iter().enumerate() {
            let at = |key: &str| format!("bands[{i}].{key}");
            if !(band.sigma.is_finite() && band.sigma > 0.0) {
                wrong(at("sigma"), format!("{} is not a number above 0", band.sigma));
            }
            if let Some(before) = i.checked_sub(1).map(|j| self.bands[j].sigma)
                && band.sigma <= before
            {
                wrong(
                    at("sigma"),
                    format!("{} does not come after {before}: bands ascend, each once", band.sigma),
                );
            }
            if band.action == Action::Record && (!band.for_.is_zero() || !band.labels.is_empty()) {
                wrong(at("action"), "a recorded band has no `for` and no labels".to_owned());
            }
        }
        if let Some(band) = self.freezing_band()
            && self.baseline.lag < band.for_
        {
            let message = format!(
                "{} is shorter than the `for` ({}) of the band {} that freezes the baseline: it would learn the event",
                self.baseline.lag, band.for_, band.sigma
            );
            wrong("baseline.lag".to_owned(), message);
        }
        if let Some(freeze_at) = self.baseline.freeze_at
            && self.freezing_band().is_none()
            && self.bands.iter().any(|b| b.action == Action::Alert)
        {
            wrong("baseline.freeze_at".to_owned(), format!("no alerting band reaches {freeze_at}"));
        }
    }

    /// The lowest alerting band at or above `freeze_at`: when it fires, learning stops.
    pub fn freezing_band(&self) -> Option<&Band> {
        let at = self.baseline.freeze_at.unwrap_or(0.0);
        self.bands.iter().find(|b| b.action == Action::Alert && b.sigma >= at)
    }

    /// The key paths of mistakes joined to one error text.
    ///
    /// # Errors
    /// When [`Config::errors`] is not empty.
    pub fn validate(&self) -> Result<(), Vec<ConfigError>> {
        let errors = self.errors();
        if errors.is_empty() { Ok(()) } else { Err(errors) }
    }
}
