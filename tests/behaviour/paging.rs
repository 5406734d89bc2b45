//! From alerts to people, with simulated time, receivers and disk.

mod callbacks;
mod escalation;
mod groups;
mod mail;
mod model;
mod pager;
mod receivers;
mod schedules;
mod world;
