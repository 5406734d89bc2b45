//! What the evaluation of rules needs from outside: a query engine, its source, and the process's names.

use crate::model::{Labels, Timestamp};
use crate::promql::{self, Engine, Expr, Source, Value, VectorSample};
use crate::sigma::{Evaluation, SeriesState};
use crate::storage::Storage;
use crate::template::Query;

use super::file::{RuleSpec, SigmaSpec};
use super::round::Decision;

/// How often an alert that goes on is sent again, ms.
pub const RESEND_DELAY_MS: i64 = 60_000;

/// What is the same for all rules of a process.
#[derive(Debug, Clone)]
pub struct Settings {
    pub external_labels: Labels,
    /// Without a slash at its end.
    pub external_url: String,
    /// ms.
    pub resend_delay_ms: i64,
    /// How old the stored state of a pending alert may be after a restart, ms.
    pub outage_tolerance_ms: i64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            external_labels: Labels::empty(),
            external_url: String::new(),
            resend_delay_ms: RESEND_DELAY_MS,
            outage_tolerance_ms: 3_600_000,
        }
    }
}

/// What became of a page that a series asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paged {
    /// None was asked for.
    No,
    /// It goes out, and costs budget.
    Sent,
    /// It joins a page of its rule that goes on.
    Joined,
    /// It is a ticket.
    HeldBack,
}

/// A replay of history: it knows results of expressions beforehand, and looks over the shoulder of sigma rules.
/// Live evaluation has none.
pub trait Replay {
    /// The result of a rule's expression at `t` (ms), where it was worked out for many times at once.
    fn vector(&self, expr: &Expr, t: Timestamp) -> Option<Vec<VectorSample>>;

    /// Does somebody read the series that this rule writes?
    fn is_read(&self, rule: &RuleSpec) -> bool;

    /// A series (its labels without the metric name) was judged at `t`, or had no value; its state after that.
    fn judged(&self, judged: &Judged<'_>);
}

/// One judgement of one series, for a [`Replay`].
pub struct Judged<'a> {
    pub rule: &'a RuleSpec,
    pub spec: &'a SigmaSpec,
    /// ms.
    pub t: Timestamp,
    pub series: &'a Labels,
    pub state: &'a SeriesState,
    pub evaluation: &'a Evaluation,
    pub decision: Decision,
}

/// Where rules read and write.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    pub engine: &'a Engine,
    /// What expressions read.
    pub source: &'a dyn Source,
    /// Where results go, and where the state of alerts is found after a restart.
    pub storage: &'a Storage,
    pub settings: &'a Settings,
    pub replay: Option<&'a dyn Replay>,
}

impl Context<'_> {
    /// Evaluates at `t`; a scalar is a sample without labels.
    ///
    /// # Errors
    /// The engine's, or the result is neither vector nor scalar.
    pub fn vector(&self, expr: &Expr, t: Timestamp) -> Result<Vec<VectorSample>, String> {
        if let Some(known) = self.replay.and_then(|r| r.vector(expr, t)) {
            return Ok(known);
        }
        match self.engine.instant(self.source, expr, t).map_err(|e| e.to_string())?.value {
            Value::Vector(v) => Ok(v),
            Value::Scalar(v) => Ok(vec![VectorSample { labels: Labels::empty(), t, v }]),
            Value::String(_) | Value::Matrix(_) => Err("rule result is not a vector or scalar".to_owned()),
        }
    }
}

/// The function `query` of templates, at the time that the rule reads.
pub(super) struct TemplateQuery<'a> {
    pub context: Context<'a>,
    pub t: Timestamp,
}

impl Query for TemplateQuery<'_> {
    fn query(&self, expr: &str, _t: Timestamp) -> Result<Vec<(Labels, f64)>, String> {
        let expr = promql::parse(expr).map_err(|e| e.to_string())?;
        let samples = self.context.vector(&expr, self.t)?;
        Ok(samples.into_iter().map(|s| (s.labels, s.v)).collect())
    }
}
