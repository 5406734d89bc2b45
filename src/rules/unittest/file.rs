//! The keys of a test file.

use serde::Deserialize;
use serde::de::{Deserializer, Error as _};

use crate::model::{Duration, Timestamp};

use super::Pairs;

/// A file of unit tests.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TestFile {
    #[serde(default)]
    pub rule_files: Vec<String>,
    /// Default 1m.
    pub evaluation_interval: Option<Duration>,
    #[serde(default)]
    pub group_eval_order: Vec<String>,
    #[serde(default)]
    pub tests: Vec<Test>,
    /// Values may differ by the last bit.
    #[serde(default)]
    pub fuzzy_compare: bool,
}

/// A test: series, and what rules and expressions make of them.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Test {
    #[serde(default)]
    pub name: String,
    /// Step of the series; default: the evaluation interval.
    pub interval: Option<Duration>,
    #[serde(default)]
    pub input_series: Vec<Series>,
    #[serde(default)]
    pub alert_rule_test: Vec<AlertCheck>,
    #[serde(default)]
    pub promql_expr_test: Vec<ExprCheck>,
    #[serde(default)]
    pub external_labels: Pairs,
    #[serde(default)]
    pub external_url: String,
    pub start_timestamp: Option<Start>,
}

/// A series in the notation `labels`, `1+2x3 _ stale`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Series {
    pub series: String,
    pub values: String,
}

/// The alerts of a name that fire at a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AlertCheck {
    #[serde(default)]
    pub eval_time: Duration,
    #[serde(default)]
    pub alertname: String,
    #[serde(default)]
    pub exp_alerts: Vec<ExpectedAlert>,
}

/// One of them; `alertname` is understood.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedAlert {
    #[serde(default)]
    pub exp_labels: Pairs,
    #[serde(default)]
    pub exp_annotations: Pairs,
}

/// The result of an expression at a time.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExprCheck {
    #[serde(default)]
    pub expr: String,
    #[serde(default)]
    pub eval_time: Duration,
    #[serde(default)]
    pub exp_samples: Vec<ExpectedSample>,
}

/// One of its samples.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ExpectedSample {
    #[serde(default)]
    pub labels: String,
    #[serde(default)]
    pub value: Number,
    pub histogram: Option<String>,
}

/// A number, also one that YAML takes for a text (`NaN`).
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        super::number(&text).map(Self).ok_or_else(|| D::Error::custom(format!("{text:?} is no number")))
    }
}

/// When a test begins: RFC 3339, or seconds since the epoch. ms.
#[derive(Debug, Clone, Copy)]
pub(super) struct Start(pub Timestamp);

impl<'de> Deserialize<'de> for Start {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if let Some(seconds) = super::number(&text).filter(|s| s.is_finite()) {
            return Ok(Self((seconds * 1000.0) as Timestamp));
        }
        let read = text.parse::<jiff::Timestamp>();
        read.map(|t| Self(t.as_millisecond())).map_err(|_| D::Error::custom(format!("{text:?} is no time")))
    }
}
