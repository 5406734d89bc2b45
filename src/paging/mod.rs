//! From alerts to people: routes, groups, escalation, acknowledgement, receivers.

pub mod config;
pub mod inhibit;
pub mod matcher;
pub mod route;
pub mod schedule;
pub mod time_interval;
