//! From alerts to people: routes, groups, escalation, acknowledgement, receivers.

pub mod matcher;
pub mod time_interval;
