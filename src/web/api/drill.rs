//! `POST /api/v1/drill`: begins a drill.

use std::sync::Arc;

use hyper::Method;
use serde::Deserialize;

use super::super::guard;
use super::super::respond::{Answer, ApiError, ErrorKind, Success, method_not_allowed};
use super::super::server::Asked;
use super::super::state::State;
use crate::model::{Duration, GoTime};
use crate::paging::engine::{DrillError, DrillRequest};
use crate::paging::incident::{Actor, Incident};

/// Characters of a name that are taken.
const MAX_TEXT: usize = 200;

/// What may be asked for, as JSON or as a form; empty means the default.
#[derive(Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Said {
    policy: String,
    ack_timeout: String,
    severity: String,
    steps: String,
    by: String,
}

/// Answers `/api/v1/drill`.
pub(super) async fn route(state: &Arc<State>, asked: &Asked) -> Answer {
    if asked.method() != Method::POST {
        return method_not_allowed("POST");
    }
    match begin(state, asked).await {
        Ok(success) => success.answer(),
        Err(e) => e.answer(),
    }
}

async fn begin(state: &Arc<State>, asked: &Asked) -> Result<Success, ApiError> {
    guard::check(state.posture(), asked.headers()).map_err(|e| ApiError::new(ErrorKind::Forbidden, e))?;
    let request = request(asked)?;
    let pager = (state.parts.pager)()
        .ok_or_else(|| ApiError::new(ErrorKind::NotFound, "paging is not configured: nobody can be paged"))?;
    let before = state.parts.clock.boottime();
    let begun = pager.drill(request).await.map_err(|e| ApiError::new(ErrorKind::Internal, e))?;
    let written_ms = state.parts.clock.boottime() - before;
    let incident = begun
        .map_err(|e| match e {
            DrillError::Running(_) | DrillError::Muted => ApiError::new(ErrorKind::Conflict, e),
            _ => ApiError::new(ErrorKind::BadData, e),
        })?
        .ok_or_else(|| ApiError::new(ErrorKind::Internal, "the drill is gone"))?;
    Success::of(&begun_view(&incident, written_ms))
}

fn begun_view(incident: &Incident, written_ms: i64) -> serde_json::Value {
    let step = |s: &crate::paging::config::Step| {
        serde_json::json!({
            "notify": s.notify.iter().map(ToString::to_string).collect::<Vec<_>>(),
            "ackTimeoutSeconds": s.timeout_ms as f64 / 1000.0,
        })
    };
    serde_json::json!({
        "incident": incident.id.to_string(),
        "policy": incident.policy.name,
        "steps": incident.policy.steps.iter().map(step).collect::<Vec<_>>(),
        "triggeredAt": GoTime(Some(incident.triggered_at)),
        // From the request to the synced transaction.
        "writtenSeconds": written_ms as f64 / 1000.0,
    })
}

fn request(asked: &Asked) -> Result<DrillRequest, ApiError> {
    let body = asked.body.trim_ascii_start();
    let said: Said = if body.starts_with(b"{") {
        serde_json::from_slice(body)
            .map_err(|e| ApiError::new(ErrorKind::BadData, format_args!("bad body: {e}")))?
    } else {
        let get = |name| asked.params.get(name).to_owned();
        Said {
            policy: get("policy"),
            ack_timeout: get("ack_timeout"),
            severity: get("severity"),
            steps: get("steps"),
            by: get("by"),
        }
    };
    let cut = |text: String| text.chars().filter(|c| !c.is_control()).take(MAX_TEXT).collect::<String>();
    let or = |text: String, default: &str| if text.is_empty() { default.to_owned() } else { cut(text) };
    let ack_timeout_ms = match said.ack_timeout.as_str() {
        "" => None,
        text => Some(text.parse::<Duration>().map_err(|e| ApiError::invalid("ack_timeout", e))?.ms()),
    };
    let steps = match said.steps.as_str() {
        "" => None,
        text => match text.parse::<usize>() {
            Ok(n) if n > 0 => Some(n),
            _ => return Err(ApiError::invalid("steps", format_args!("{text:?} is no number from 1 on"))),
        },
    };
    Ok(DrillRequest {
        policy: (!said.policy.is_empty()).then_some(said.policy),
        ack_timeout_ms,
        severity: or(said.severity, "page"),
        steps,
        // Who authenticated is who did it, whatever the body says.
        actor: Actor::new(asked.user.clone().unwrap_or_else(|| or(said.by, "somebody")), "api", ""),
    })
}
