//! Rules over history, faster than real time: backtests, and the gate that changed rules pass after a reload.
//!
//! A [`Replayer`] moves rule files through a [`History`] (series on disk or in files, or a server that answers queries) with the
//! code that evaluates them live, and a [`Report`] says what would have happened: events and pages, how many a month, whether
//! better than a clock that fires at random, and which threshold would keep the budget.

mod ahead;
pub mod csv;
pub mod labels;
mod memory;
pub mod openmetrics;
mod plan;
mod random;
mod recorder;
mod remote;
mod report;
mod run;
mod search;
mod statistics;
pub mod table;
pub mod times;

pub use memory::Memory;
pub use recorder::ScoreSink;
pub use remote::RemoteHistory;
pub use report::{BandReport, Labelled, Report, RuleReport, Suggestion};
pub use run::{Fetch, History, Progress, ReplayError, ReplayOptions, Replayer, Window};
pub use statistics::{poisson_interval, rate_interval};
