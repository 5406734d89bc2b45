//! Rule groups: recording rules, alerting rules, sigma rules.
//!
//! [`file`] reads rule files, [`check`] looks for what is valid but unwise, a [`Group`] evaluates its rules
//! one after the other, the [`schedule`] says when, and the [`Manager`] does it.

mod alerting;
mod alerts;
pub mod check;
mod context;
mod expand;
pub mod file;
mod group;
mod pages;
mod recording;
mod restore;
mod sigma_rule;

pub use alerts::{ActiveAlert, AlertBook, AlertState, RESOLVED_RETENTION_MS};
pub use context::{Context, RESEND_DELAY_MS, Settings};
pub use group::{AlertSink, Group, GroupTimes, Health, Outcome, Rule, RuleState};
pub use pages::{PageHistory, PageRecord};
pub use sigma_rule::{Series, SigmaState};
