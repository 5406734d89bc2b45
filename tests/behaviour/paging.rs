//! From alerts to people, with simulated time, receivers and disk.

mod drill;
mod escalation;
mod groups;
mod model;
mod pager;
mod report;
mod schedules;
mod world;
