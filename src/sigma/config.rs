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
    /// After a page of a series, no further one of that series for so long, unless it is worse. Default: 12h with a
    /// `page_budget`, 0 without.
    #[serde(default)]
    pub page_quiet: Option<Duration>,
    /// Which series about the band are stored and exposed. Default `zscore`.
    #[serde(default)]
    pub record: Record,
    /// Judge a short mean in place of single samples. Default: single samples.
    #[serde(default)]
    pub judge: Option<Judge>,
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
    /// The standard deviation is taken to be at least this, in the unit of the expression. Default 0.
    #[serde(default)]
    pub stddev_floor: f64,
    /// And at least this share of |centre|. Default 0.01.
    #[serde(default = "default_floor_ratio")]
    pub stddev_floor_ratio: f64,
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

/// `judge: mean 1h`: what is judged in place of a single sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judge {
    /// Length of the mean.
    pub mean: Duration,
}

impl FromStr for Judge {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("judge: want \"mean DURATION\", for instance \"mean 1h\", not {text:?}");
        let duration = text.trim().strip_prefix("mean ").ok_or_else(wrong)?;
        let mean: Duration = duration.trim().parse().map_err(|_| wrong())?;
        if mean.is_zero() { Err(wrong()) } else { Ok(Self { mean }) }
    }
}

/// Nobody counts more pages than these.
const MAX_PAGES: u32 = 1000;

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
        if !(1..=MAX_PAGES).contains(&pages) || per.ms() < 3_600_000 { Err(wrong()) } else { Ok(Self { pages, per }) }
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
            stddev_floor: 0.0,
            stddev_floor_ratio: default_floor_ratio(),
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
const MAX_BANDS: usize = 6;

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
        if let Some(judge) = self.judge
            && judge.mean >= b.window
        {
            wrong("judge", format!("a mean of {} is not shorter than the window ({})", judge.mean, b.window));
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
