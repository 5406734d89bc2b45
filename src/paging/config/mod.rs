//! The paging file: a superset of Alertmanager's.

mod callbacks;
mod check;
mod file;
mod global;
mod kinds;
mod people;
mod reach;
mod receivers;
mod routes;
mod scalar;
pub(crate) mod visit;

pub use callbacks::{CallbackSecrets, Callbacks};
pub use check::PagingConfig;
pub use file::{
    File, InhibitConfig, LayerConfig, NamedIntervals, OverrideConfig, RouteConfig, ScheduleConfig,
};
pub use global::Global;
pub use kinds::*;
pub use people::{
    AckSettings, Heartbeat, History, Policy, QuietHours, ReopenOn, Severities, Step, Target, User,
};
pub use receivers::{Integration, IntegrationConfig, Receiver, TemplateText};
pub use scalar::{Bool, HostPort, MatcherList, SecretUrl, Url, check_url};
