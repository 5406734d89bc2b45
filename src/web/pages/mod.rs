//! Pages for people: made on the server, without scripts, and nothing is loaded from elsewhere.

mod alerts;
mod graph;
mod incidents;
pub(super) mod layout;
mod oncall;
mod overview;
mod report;
mod status;
mod svg;
mod targets;

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, REFERRER_POLICY};

use super::respond::{Answer, body, html, method_not_allowed, not_found, see_other};
use super::server::Asked;
use super::state::State;

/// Answers every path that is no API.
pub(super) async fn route(state: &Arc<State>, asked: &Asked) -> (&'static str, Answer) {
    let reads = asked.reads();
    let page = match asked.path.as_str() {
        "" => return ("pages", see_other(&format!("{}/", state.options.route_prefix))),
        "/style.css" if reads => {
            let sheet = body(StatusCode::OK, "text/css; charset=utf-8", layout::STYLE);
            return ("pages", sheet.with(CACHE_CONTROL, "max-age=3600"));
        }
        "/" if reads => overview::page(state).await,
        "/alerts" if reads => alerts::alerts(state),
        "/rules" if reads => alerts::rules(state),
        "/targets" if reads => targets::page(state),
        "/graph" | "/query" if reads => graph::page(state, &asked.params).await,
        "/status" | "/config" if reads => status::page(state).await,
        "/incidents" if reads => incidents::list(state).await,
        "/oncall" if reads => oncall::page(state, &asked.params),
        "/report" if reads => report::page(state, &asked.params).await,
        path if reads && path.starts_with("/incidents/") => {
            let id = crate::model::percent_decode(path.trim_start_matches("/incidents/").as_bytes());
            match incidents::one(state, &id).await {
                Ok(page) => page,
                Err(page) => return ("pages", guarded(html(StatusCode::NOT_FOUND, page))),
            }
        }
        "/" | "/alerts" | "/rules" | "/targets" | "/graph" | "/query" | "/status" | "/config"
        | "/incidents" | "/oncall" | "/report" => {
            return ("pages", method_not_allowed("GET, HEAD"));
        }
        _ => return ("other", not_found()),
    };
    ("pages", guarded(html(StatusCode::OK, page)))
}

/// With the headers that keep a page from loading, framing or telling anything elsewhere.
pub(super) fn guarded(answer: Answer) -> Answer {
    answer
        .with(
            CONTENT_SECURITY_POLICY,
            "default-src 'none'; style-src 'self'; img-src data:; form-action 'self'; frame-ancestors 'none'; \
             base-uri 'none'",
        )
        .with(REFERRER_POLICY, "same-origin")
}
