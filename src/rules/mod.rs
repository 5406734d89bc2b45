//! Rule groups: recording rules, alerting rules, sigma rules.
//!
//! [`file`] reads rule files, [`check`] looks for what is valid but unwise, a [`Group`] evaluates its rules
//! one after the other, the [`schedule`] says when, and the [`Manager`] does it.

mod alerting;
mod alerts;
mod baselines;
mod budget;
pub mod check;
mod context;
mod expand;
pub mod export;
mod feedback;
pub mod file;
mod gate;
mod group;
mod manager;
mod metrics;
mod noise;
mod pages;
mod recording;
mod relearn;
mod restore;
mod round;
pub mod schedule;
mod sigma_alert;
mod sigma_rule;
mod standing;
pub mod unittest;
mod view;
mod warm_start;
mod widening;

pub use alerts::{ActiveAlert, AlertBook, AlertState, RESOLVED_RETENTION_MS};
pub use baselines::BaselineError;
pub use budget::{Policy, Reason};
pub use context::{Context, Judged, Paged, RESEND_DELAY_MS, Replay, Settings};
pub use feedback::{Feedback, Taken, Target, feedback};
pub use gate::{Changed, Finding, Gate, GateMode, GateState};
pub use group::{AlertSink, Group, GroupTimes, Health, Outcome, Rule, RuleState, key as group_key};
pub use manager::{DEFAULT_INTERVAL_MS, Loaded, Manager, Parts};
pub use metrics::RuleMetrics;
pub use pages::{JOIN_MS, PageHistory, PageRecord, Tally};
pub use recording::recorded_labels;
pub use relearn::{History, Incident, Incidents};
pub use round::{Decision, Round};
pub use sigma_rule::{Series, SigmaState, band_pages};
pub use standing::{Grounds, SeriesPages, Standing};
pub use view::{
    AlertView, BandView, BudgetView, GateView, GroupView, LearningView, RecordView, RuleType, RuleView,
    SeriesView, SigmaView, TallyView, groups as views,
};
pub use warm_start::{Asked, Asking, RemoteHistory};
