//! `/api/v1`: the API that Prometheus's clients speak, and incidents beside it.

mod drill;
pub(super) mod feedback;
pub(super) mod incidents;
mod labels;
pub(super) mod oncall;
mod parse_tree;
pub(super) mod postmortem;
mod query;
pub(super) mod report;
mod rules;
mod status;
mod targets;

use std::sync::Arc;

use hyper::header::{self, HeaderMap};
use hyper::{Method, StatusCode};

pub(super) use query::{evaluate_range, series_selector};

use super::respond::{Answer, ApiError, ErrorKind, method_not_allowed, not_found, text};
use super::server::Asked;
use super::state::State;

/// Answers `/api/v1/…`; with the answer goes the route's name, for counting.
pub(super) async fn route(state: &Arc<State>, asked: Asked, rest: Vec<String>) -> (&'static str, Answer) {
    let headers = asked.head.headers.clone();
    if asked.method() == Method::OPTIONS {
        let answer = text(StatusCode::NO_CONTENT, "");
        return ("/api/v1", cross_origin(answer, &headers));
    }
    let words: Vec<&str> = rest.iter().map(String::as_str).collect();
    if let ["incidents", path @ ..] = words.as_slice() {
        // Never open to other sites: it shows and changes more than numbers.
        return ("/api/v1/incidents", incidents::route(state, &asked, path).await);
    }
    if words == ["drill"] {
        return ("/api/v1/drill", drill::route(state, &asked).await);
    }
    if words == ["report"] {
        return ("/api/v1/report", report::route(state, &asked).await);
    }
    if words == ["oncall"] && asked.reads() {
        let answer = match oncall::oncall(state, &asked.params) {
            Ok(success) => success.answer(),
            Err(e) => e.answer(),
        };
        return ("/api/v1/oncall", answer);
    }
    if words == ["rules", "feedback"] {
        // Not open to other sites either.
        let answer = match asked.method() == Method::POST {
            true => feedback::rule(state, &asked).await.map_or_else(|e| e.answer(), |s| s.answer()),
            false => method_not_allowed("POST"),
        };
        return ("/api/v1/rules/feedback", answer);
    }
    let form = matches!(*asked.method(), Method::GET | Method::HEAD | Method::POST);
    let get = asked.reads();
    let (name, result) = match words.as_slice() {
        ["query"] if form => ("/api/v1/query", query::instant(state, asked).await),
        ["query_range"] if form => ("/api/v1/query_range", query::range(state, asked).await),
        ["query_exemplars"] if form => ("/api/v1/query_exemplars", query::exemplars(&asked.params)),
        ["format_query"] if form => ("/api/v1/format_query", query::format(&asked.params)),
        ["parse_query"] if form => ("/api/v1/parse_query", query::parse(&asked.params)),
        ["series"] if form => ("/api/v1/series", labels::series(state, asked).await),
        ["labels"] if form => ("/api/v1/labels", labels::names(state, asked).await),
        ["label", name, "values"] if get => ("/api/v1/label", labels::values(state, asked, name).await),
        ["metadata"] if get => ("/api/v1/metadata", targets::metadata(state, &asked.params)),
        ["targets"] if get => ("/api/v1/targets", targets::targets(state, &asked.params)),
        ["targets", "metadata"] if get => ("/api/v1/targets", targets::target_metadata(state, &asked.params)),
        ["scrape_pools"] if get => ("/api/v1/scrape_pools", targets::pools(state)),
        ["rules"] if get => ("/api/v1/rules", rules::rules(state, &asked.params)),
        ["alerts"] if get => ("/api/v1/alerts", rules::alerts(state)),
        ["alertmanagers"] if get => ("/api/v1/alertmanagers", rules::alertmanagers(state)),
        ["status", what] if get => ("/api/v1/status", status::status(state, what, asked.params).await),
        [
            "query" | "query_range" | "query_exemplars" | "format_query" | "parse_query" | "series"
            | "labels" | "metadata" | "targets" | "rules" | "alerts" | "alertmanagers" | "status",
            ..,
        ] if !get => return ("/api/v1", cross_origin(method_not_allowed("GET, OPTIONS"), &headers)),
        _ => return ("/api/v1", cross_origin(not_found(), &headers)),
    };
    let answer = match result {
        Ok(success) => success.answer(),
        Err(error) => error.answer(),
    };
    (name, cross_origin(answer, &headers))
}

/// Lets pages of any origin read the answer, as Prometheus does.
fn cross_origin(answer: Answer, asked: &HeaderMap) -> Answer {
    if !asked.contains_key(header::ORIGIN) {
        return answer;
    }
    answer
        .with(header::ACCESS_CONTROL_ALLOW_ORIGIN, "*")
        .with(header::ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin")
        .with(header::ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS")
        .with(header::ACCESS_CONTROL_EXPOSE_HEADERS, "Date")
}

/// Runs work that may take long, or wait for the disk, where it holds up nobody.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ApiError> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|_| Err(ApiError::new(ErrorKind::Internal, "the work was given up")))
}
