//! From alerts to people, with simulated time, receivers and disk.

mod escalation;
mod groups;
mod load;
mod model;
mod pager;
mod schedules;
mod storms;
mod world;
