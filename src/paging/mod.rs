//! From alerts to people: routes, groups, escalation, acknowledgement, receivers.

pub mod config;
pub mod engine;
pub mod incident;
pub mod inhibit;
pub mod matcher;
pub mod notification;
pub mod route;
pub mod schedule;
pub mod silence;
pub mod time_interval;
