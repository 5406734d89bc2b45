//! The HTTP side: `/metrics`, `/federate`, the API that Prometheus clients speak, incidents, pages for people.

mod ack;
mod api;
mod api_v2;
mod callbacks;
mod deadline;
mod exposed;
mod guard;
mod json;
mod judge;
mod metrics;
mod pages;
mod params;
mod respond;
mod server;
mod state;
mod views;

pub use metrics::WebMetrics;
pub use server::Web;
pub use state::{Options, Parts};
pub use views::{
    AlertState, AlertView, ArrivalView, Baseline, BoxFuture, CommandError, DroppedTargetView, FeedbackView,
    HistoryView, IncidentAlertView, IncidentFeedback, IncidentState, IncidentView, Incidents, JudgedView,
    Lifecycle, PageView, RuleFeedback, RuleGroupView, RuleHealth, RuleKind, RuleView, RulesView, RuntimeView,
    TargetHealth, TargetView, TargetsView, TokenView, Verdict,
};
