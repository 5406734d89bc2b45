//! What the routes ask of the rooms behind them: small traits over the rooms' own read types, and what people say.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use crate::model::{Labels, Timestamp};
use crate::paging::IncidentView;
use crate::paging::incident::Verdict;
use crate::rules::{self, GroupView, Taken};
use crate::scrape::{self, DroppedTargetView, TargetView};

/// A future behind a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// The rule groups as they stand.
pub trait RulesView: Send + Sync {
    /// Every group, in the order of files and groups.
    fn groups(&self) -> Vec<GroupView>;

    /// What a person says of a sigma rule. May read much history; called on threads that may block.
    fn feedback(&self, said: &RuleFeedback) -> Result<Taken, CommandError>;
}

impl RulesView for rules::Manager {
    fn groups(&self) -> Vec<GroupView> {
        self.groups()
    }

    fn feedback(&self, said: &RuleFeedback) -> Result<Taken, CommandError> {
        super::feedback::of_rule(self, said)
    }
}

/// The targets as they stand.
pub trait TargetsView: Send + Sync {
    /// Every target that is scraped.
    fn active(&self) -> Vec<TargetView>;
    /// The targets that relabelling dropped, as many as are kept, and how many there were of each job.
    fn dropped(&self) -> (Vec<DroppedTargetView>, BTreeMap<String, usize>);
}

impl TargetsView for scrape::Manager {
    fn active(&self) -> Vec<TargetView> {
        self.targets()
    }

    fn dropped(&self) -> (Vec<DroppedTargetView>, BTreeMap<String, usize>) {
        self.dropped_targets()
    }
}

/// Incidents: reading them and what a person does about them. Every method may wait for the disk; they are
/// called on threads that may block.
pub trait Incidents: Send + Sync {
    /// Incidents, newest first. Resolved ones only when asked for.
    fn list(&self, resolved_too: bool, limit: usize) -> Result<Vec<IncidentView>, CommandError>;
    /// One incident.
    fn get(&self, id: &str) -> Result<IncidentView, CommandError>;
    /// Somebody takes it over, from an address. Repeating it is harmless.
    fn acknowledge(
        &self,
        id: &str,
        by: &str,
        from: &str,
        comment: &str,
    ) -> Result<IncidentView, CommandError>;
    /// Somebody says that it is over. Repeating it is harmless.
    fn resolve(&self, id: &str, by: &str, from: &str, comment: &str) -> Result<IncidentView, CommandError>;
    /// Somebody says what it was worth, or what it says of what is normal. The last word counts;
    /// what became of this one comes with the incident.
    fn judge(&self, id: &str, said: &IncidentFeedback) -> Result<(IncidentView, Taken), CommandError>;
    /// What a feedback link is about. Changes nothing.
    fn read_judge_token(&self, token: &str) -> Result<TokenView, CommandError>;
    /// Judges by a feedback link.
    fn judge_by_token(&self, token: &str, said: &IncidentFeedback) -> Result<TokenView, CommandError>;
    /// What a signed link is about. Changes nothing.
    fn read_token(&self, token: &str) -> Result<TokenView, CommandError>;
    /// Acknowledges by a signed link.
    fn acknowledge_by_token(&self, token: &str, from: &str, comment: &str)
    -> Result<TokenView, CommandError>;
}

/// Why a command did nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    #[error("{0}")]
    NotFound(String),
    /// It makes no sense as things stand.
    #[error("{0}")]
    Conflict(String),
    /// A link that is not genuine, or not any more.
    #[error("{0}")]
    BadToken(String),
    #[error("{0}")]
    Failed(String),
}

/// What a time says of what is normal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Baseline {
    /// Nothing in it is: it is taken out of what was learnt.
    Incident,
    /// It is, from now on.
    NewNormal,
}

/// What a person says of a sigma rule.
#[derive(Debug, Clone)]
pub struct RuleFeedback {
    /// In this group; in all without one.
    pub group: Option<String>,
    pub rule: String,
    /// Of this series; of all without one.
    pub series: Option<Labels>,
    pub baseline: Baseline,
    /// The interval, ms.
    pub from: Timestamp,
    pub to: Timestamp,
}

/// What a person says of an incident. Says at least one of `verdict` and `baseline`.
#[derive(Debug, Clone, Default)]
pub struct IncidentFeedback {
    pub verdict: Option<Verdict>,
    pub baseline: Option<Baseline>,
    /// The interval, ms; that of the alerts when it is not said.
    pub from: Option<Timestamp>,
    pub to: Option<Timestamp>,
    pub by: String,
    /// The address that it came from.
    pub address: String,
    pub comment: String,
}

/// What a signed link says.
#[derive(Debug, Clone, Default)]
pub struct TokenView {
    /// Whom the page was sent to.
    pub person: String,
    /// In which step and loop, counted from 1.
    pub step: u32,
    pub round: u32,
    pub incident: IncidentView,
}

/// The process: what it was started with and what can be done to it.
pub trait Lifecycle: Send + Sync {
    /// Reads the configuration anew, all or nothing; the error names file, line and column.
    fn reload(&self) -> BoxFuture<'_, Result<(), String>>;
    /// Begins an orderly end.
    fn quit(&self);
    /// Is everything started?
    fn ready(&self) -> bool;
    /// The configuration as it is in force, secrets hidden.
    fn config_yaml(&self) -> String;
    /// Facts about the process.
    fn runtime(&self) -> RuntimeView;
    /// The URLs of the Alertmanagers that alerts are sent to.
    fn alertmanagers(&self) -> (Vec<String>, Vec<String>) {
        Default::default()
    }
}

/// Facts about the process.
#[derive(Debug, Clone, Default)]
pub struct RuntimeView {
    pub started_at: Timestamp,
    pub last_reload_ok: bool,
    pub last_reload_at: Timestamp,
    /// As text: `24h or 64MiB`.
    pub storage_retention: String,
}
