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
mod feedback;
pub mod file;
mod group;
mod manager;
mod metrics;
mod pages;
mod recording;
mod relearn;
mod restore;
pub mod schedule;
mod sigma_alert;
mod sigma_rule;
pub mod unittest;
mod view;
mod warm_start;

pub use alerts::{ActiveAlert, AlertBook, AlertState, RESOLVED_RETENTION_MS};
pub use baselines::BaselineError;
pub use budget::{Grounds, Reason, SeriesPages, Standing};
pub use context::{Context, Judged, Paged, RESEND_DELAY_MS, Replay, Settings};
pub use feedback::{Feedback, Taken, Target, feedback};
pub use group::{AlertSink, Group, GroupTimes, Health, Outcome, Rule, RuleState};
pub use manager::{Loaded, Manager, Parts};
pub use metrics::RuleMetrics;
pub use pages::{PageHistory, PageRecord, Tally};
pub use relearn::{History, Incident, Incidents};
pub use sigma_rule::{Series, SigmaState, band_pages};
pub use view::{
    AlertView, BandView, BudgetView, GroupView, RecordView, RuleFilter, RuleType, RuleView, SeriesView,
    TallyView, groups as views,
};
pub use warm_start::{Asked, Asking, RemoteHistory};
