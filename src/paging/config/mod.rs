//! The paging file: a superset of Alertmanager's.

mod callbacks;
mod check;
mod file;
mod kinds;
mod people;
mod reach;
mod scalar;
pub(crate) mod visit;

pub use callbacks::{CallbackSecrets, Callbacks};
pub use check::{Integration, IntegrationConfig, PagingConfig, Receiver, TemplateText};
pub use file::{
    File, Global, InhibitConfig, LayerConfig, NamedIntervals, OverrideConfig, RouteConfig, ScheduleConfig,
};
pub use kinds::*;
pub use people::{
    AckSettings, Heartbeat, History, Policy, QuietHours, ReopenOn, Severities, Step, Target, User,
};
pub use scalar::{Bool, HostPort, MatcherList, SecretUrl, Url, check_url};
