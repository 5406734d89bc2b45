//! `/api/v1/callbacks/…`: what PagerDuty and Slack call back with.
//!
//! No password is asked for: the body is signed. It changes nothing but the incident that it speaks of.

use hyper::header::CACHE_CONTROL;
use hyper::{Method, StatusCode};
use serde_json::json;

use super::respond::{Answer, json_body, method_not_allowed};
use super::server::Asked;
use super::state::State;
pub(super) use crate::paging::callbacks::MAX_BODY;
use crate::paging::callbacks::{Callback, CallbackError, Service};

const PAGERDUTY: &str = "/api/v1/callbacks/pagerduty";
const SLACK: &str = "/api/v1/callbacks/slack";

/// Is it a path of this module?
pub(super) fn is_one(path: &str) -> bool {
    matches!(path, PAGERDUTY | SLACK)
}

/// Answers a callback.
pub(super) async fn answer(state: &State, asked: &Asked) -> Answer {
    if asked.method() != Method::POST {
        return method_not_allowed("POST");
    }
    let Some(pager) = (state.parts.pager)() else {
        return refused(&CallbackError::NotConfigured);
    };
    let header = |name: &str| {
        let values = asked.headers().get_all(name).iter().filter_map(|v| v.to_str().ok());
        values.collect::<Vec<_>>().join(",")
    };
    let (service, signature) = match asked.path.as_str() {
        PAGERDUTY => (Service::Pagerduty, header("x-pagerduty-signature")),
        _ => (Service::Slack, header("x-slack-signature")),
    };
    let callback = Callback {
        service,
        body: asked.body.to_vec(),
        signature,
        timestamp: header("x-slack-request-timestamp"),
        from: asked.origin(),
    };
    match (pager.call_back(callback).await, service) {
        (Ok(text), Service::Pagerduty) => {
            answered(StatusCode::OK, &json!({"status": "success", "data": text}))
        }
        // Only who pressed the button sees this.
        (Ok(text), Service::Slack) => answered(
            StatusCode::OK,
            &json!({"response_type": "ephemeral", "replace_original": false, "text": text}),
        ),
        // Whoever repeats what has arrived must not try again.
        (Err(CallbackError::Replayed), Service::Pagerduty) => answered(
            StatusCode::OK,
            &json!({"status": "success", "data": CallbackError::Replayed.to_string()}),
        ),
        (Err(e), _) => refused(&e),
    }
}

fn refused(e: &CallbackError) -> Answer {
    let status = match e {
        CallbackError::NotConfigured => StatusCode::NOT_FOUND,
        CallbackError::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        CallbackError::Unsigned | CallbackError::BadSignature => StatusCode::UNAUTHORIZED,
        CallbackError::Stale | CallbackError::Token(_) => StatusCode::FORBIDDEN,
        CallbackError::Replayed => StatusCode::CONFLICT,
        CallbackError::Malformed(_) => StatusCode::BAD_REQUEST,
        CallbackError::Failed(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    // What is wrong here is for the log, not for whoever asks.
    let said = match e {
        CallbackError::Failed(_) => "it could not be taken".to_owned(),
        other => other.to_string(),
    };
    answered(status, &json!({"status": "error", "error": said}))
}

fn answered(status: StatusCode, body: &serde_json::Value) -> Answer {
    json_body(status, body.to_string().into_bytes()).with(CACHE_CONTROL, "no-store")
}
