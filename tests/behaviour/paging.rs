//! From alerts to people, with simulated time, receivers and disk.

mod callbacks;
mod drill;
mod escalation;
mod groups;
mod links;
mod load;
mod mail;
mod model;
mod pager;
mod peers;
mod receivers;
mod report;
mod schedules;
mod secrets;
mod slack;
mod storms;
mod templates;
mod timing;
mod world;
