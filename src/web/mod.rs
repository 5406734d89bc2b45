//! The HTTP side: `/metrics`, `/federate`, the API that Prometheus clients speak, incidents, pages for people.

mod ack;
mod api;
mod api_v2;
mod body;
mod callbacks;
mod deadline;
mod exposed;
mod feedback;
mod guard;
mod incidents;
mod json;
mod judge;
mod metrics;
mod pages;
mod params;
mod respond;
mod server;
mod state;
mod views;

pub use incidents::PagerIncidents;
pub use metrics::WebMetrics;
pub use server::Web;
pub use state::{Options, PagerSource, Parts};
pub use views::{
    Baseline, BoxFuture, CommandError, IncidentFeedback, Incidents, Lifecycle, RuleFeedback, RulesView,
    RuntimeView, TargetsView, TokenView,
};
