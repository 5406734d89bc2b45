//! PagerDuty's webhooks, version 3.

use serde::Deserialize;

use super::{Callback, CallbackError, Genuine, SKEW_MS, Service, Wish, name, verify};
use crate::model::Timestamp;
use crate::paging::config::CallbackSecrets;
use crate::paging::incident::Actor;

/// Bytes of an event's identity.
const MAX_ID: usize = 200;

#[derive(Deserialize)]
struct Body {
    event: Event,
}

#[derive(Deserialize)]
struct Event {
    id: String,
    event_type: String,
    occurred_at: String,
    #[serde(default)]
    agent: Option<Agent>,
    #[serde(default)]
    data: Option<Data>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Agent {
    summary: Option<String>,
    #[serde(rename = "type")]
    kind: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Data {
    incident_key: Option<String>,
}

pub(super) fn read(
    callback: &Callback,
    secrets: &CallbackSecrets,
    instance: &str,
    now: Timestamp,
) -> Result<Genuine, CallbackError> {
    verify(&callback.signature, "v1", secrets, &[&callback.body])?;
    let body: Body = serde_json::from_slice(&callback.body)
        .map_err(|_| CallbackError::Malformed("no event of webhooks v3"))?;
    let event = body.event;
    if event.id.is_empty() || event.id.len() > MAX_ID {
        return Err(CallbackError::Malformed("the event has no identity"));
    }
    let at = event.occurred_at.parse::<jiff::Timestamp>();
    let at = at.map_err(|_| CallbackError::Malformed("occurred_at is no time"))?.as_millisecond();
    let max_age = secrets.max_age.ms();
    if now.saturating_sub(at) > max_age || at.saturating_sub(now) > SKEW_MS {
        return Err(CallbackError::Stale);
    }
    let wish = wish(&event, callback, instance, at);
    let id = format!("{}:{}", Service::Pagerduty.as_str(), event.id);
    Ok(Genuine { wish, id, until: at.saturating_add(max_age) })
}

fn wish(event: &Event, callback: &Callback, instance: &str, at: Timestamp) -> Wish {
    let resolves = match event.event_type.as_str() {
        "incident.acknowledged" => false,
        "incident.resolved" => true,
        _ => return Wish::Nothing("an event that means nothing here"),
    };
    let key = event.data.as_ref().and_then(|d| d.incident_key.as_deref()).unwrap_or_default();
    // The key that every page of an incident carries.
    let number = key.strip_prefix(instance).and_then(|rest| rest.strip_prefix("-i"));
    let Some(incident) = number.and_then(|n| n.parse().ok()) else {
        return Wish::Nothing("an incident of somebody else");
    };
    let kind = event.agent.as_ref().and_then(|a| a.kind.as_deref()).unwrap_or_default();
    // What sideband itself, or a time limit over there, did is nobody's decision.
    let somebody = kind.starts_with("user") || (kind.is_empty() && !resolves);
    if !somebody {
        return Wish::Nothing("nobody did it");
    }
    let by = event.agent.as_ref().and_then(|a| a.summary.as_deref()).map(name).filter(|n| !n.is_empty());
    let by = by.unwrap_or_else(|| "somebody in PagerDuty".to_owned());
    let actor = Actor::new(by, Service::Pagerduty.as_str(), callback.from.clone());
    if resolves {
        Wish::Resolve { incident, actor, at }
    } else {
        Wish::Acknowledge { incident, actor, round: None, at }
    }
}
