//! From alerts to people: routes, groups, escalation, acknowledgement, receivers.
//!
//! [`engine::Engine`] decides, [`pager::Pager`] runs it against the ledger, the clock and the network.

pub mod acklink;
pub mod callbacks;
pub mod config;
pub mod engine;
pub mod incident;
pub mod inhibit;
mod link_key;
pub mod matcher;
mod metrics;
pub mod notification;
pub mod oncall;
pub mod pager;
pub mod receivers;
pub mod report;
pub mod route;
pub mod schedule;
pub mod silence;
pub mod time_interval;
mod view;

pub use metrics::PagingMetrics;
pub use pager::{OnCallView, Pager, PagerError, PagerHandle, PagerOptions};
pub use view::{AckView, ArrivalView, HistoryView, IncidentAlertView, IncidentView, JudgedView, PageView};
