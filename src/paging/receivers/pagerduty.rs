//! PagerDuty's Events API, version 2, and version 1 for integrations of the type `Prometheus`.

use std::collections::BTreeMap;

use hyper::Method;
use serde_json::{Value, json};

use super::text::{self, cut};
use super::{Message, json_request, post};
use crate::net::http::HttpClient;
use crate::paging::config::PagerdutyConfig;
use crate::paging::engine::Outcome;
use crate::paging::notification::Reason;

/// Characters of a summary (version 2) and of a description (version 1).
const MAX_SUMMARY: usize = 1024;
/// Characters of any other text: more than a name or an address has.
const MAX_PART: usize = 8192;
/// Bytes of an event; longer details are left out.
const MAX_EVENT: usize = 512_000;
/// Where version 1 is spoken.
const EVENTS_V1: &str = "https://events.pagerduty.com/generic/2010-04-15/create_event.json";

/// One attempt.
pub(super) async fn send(config: &PagerdutyConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    match attempt(config, message, client).await {
        Ok(()) => Outcome::Delivered,
        Err(outcome) => outcome,
    }
}

async fn attempt(
    config: &PagerdutyConfig,
    message: &Message<'_>,
    client: &HttpClient,
) -> Result<(), Outcome> {
    let service_key = message.secret(config.service_key.as_ref(), config.service_key_file.as_deref())?;
    let routing_key = message.secret(config.routing_key.as_ref(), config.routing_key_file.as_deref())?;
    let details = details(config, message);
    let (url, event) = if routing_key.is_empty() {
        (EVENTS_V1.to_owned(), version_1(config, message, &message.text(&service_key), &details))
    } else {
        let url = config.url.as_ref().map(|u| u.0.clone()).unwrap_or_default();
        (url, version_2(config, message, &message.text(&routing_key), &details))
    };
    let request = json_request(Method::POST, url, &fitted(event, message), message)?;
    let sent = post(client, request, config.timeout).await.map(drop);
    match sent {
        // Version 1 says so when it is asked too often.
        Err(Outcome::Final { reason }) if routing_key.is_empty() && reason.starts_with("status 403") => {
            Err(Outcome::Retry { reason, after_ms: None })
        }
        sent => sent,
    }
}

/// The event in a size that is taken: without details if need be, and then without pictures and links.
fn fitted(mut event: Value, message: &Message<'_>) -> Value {
    if event.to_string().len() > MAX_EVENT {
        let mut short = json!({"error": "the details were longer than PagerDuty takes, and were left out"});
        if let Some(url) = message.ack_url() {
            short["acknowledge"] = url.into();
        }
        match event.get_mut("payload") {
            Some(payload) => payload["custom_details"] = short,
            None => event["details"] = short,
        }
    }
    if event.to_string().len() > MAX_EVENT {
        event["images"] = json!([]);
        event["links"] = json!([]);
    }
    event
}

fn action(message: &Message<'_>) -> &'static str {
    match message.notification().reason {
        Reason::Acknowledged => "acknowledge",
        Reason::Resolved => "resolve",
        Reason::Group if message.notification().status() == "resolved" => "resolve",
        Reason::Group | Reason::Page => "trigger",
    }
}

/// What the configuration says, or what Alertmanager shows.
fn details(config: &PagerdutyConfig, message: &Message<'_>) -> BTreeMap<String, Value> {
    let n = message.notification();
    let mut details: BTreeMap<String, Value> = BTreeMap::from([
        ("firing".to_owned(), text::list(text::firing(n)).into()),
        ("resolved".to_owned(), text::list(text::resolved(n)).into()),
        ("num_firing".to_owned(), text::firing(n).count().to_string().into()),
        ("num_resolved".to_owned(), text::resolved(n).count().to_string().into()),
    ]);
    for (name, value) in config.details.iter().flatten() {
        details.insert(name.clone(), message.json(value));
    }
    if let Some(url) = message.ack_url() {
        details.insert("acknowledge".to_owned(), url.into());
    }
    details
}

fn summary(config: &PagerdutyConfig, message: &Message<'_>) -> String {
    // An empty one would be refused.
    let title = message.title(config.description.as_deref());
    cut(if title.is_empty() { message.title(None) } else { title }.as_str(), MAX_SUMMARY)
}

fn client_name(config: &PagerdutyConfig, message: &Message<'_>) -> String {
    message.text_or(config.client.as_deref(), || "sideband".to_owned())
}

fn version_2(
    config: &PagerdutyConfig,
    message: &Message<'_>,
    routing_key: &str,
    details: &BTreeMap<String, Value>,
) -> Value {
    let client = client_name(config, message);
    let severity = message.text_or(config.severity.as_deref(), || "error".to_owned());
    // Another word would be refused, and the page lost.
    let severity = match severity.trim().to_ascii_lowercase().as_str() {
        known @ ("critical" | "error" | "warning" | "info") => known.to_owned(),
        _ => "error".to_owned(),
    };
    let source = message.text_or(config.source.as_deref(), || client.clone());
    let source = [source, client.clone()].into_iter().find(|s| !s.trim().is_empty());
    let part = |t: &Option<String>| {
        let text = t.as_deref().map(|t| message.text(t)).filter(|t| !t.is_empty());
        text.map(|t| cut(&t, MAX_PART))
    };
    let images: Vec<Value> = config
        .images
        .iter()
        .flatten()
        .map(|i| json!({"href": part(&i.href), "src": part(&i.src), "alt": part(&i.alt)}))
        .filter(|i| !i["src"].is_null())
        .collect();
    let mut links: Vec<Value> = config
        .links
        .iter()
        .flatten()
        .map(|l| json!({"href": part(&l.href), "text": part(&l.text)}))
        .filter(|l| !l["href"].is_null())
        .collect();
    if let Some(url) = message.ack_url() {
        links.push(json!({"href": url, "text": "Acknowledge in sideband"}));
    }
    json!({
        "routing_key": routing_key,
        "event_action": action(message),
        "dedup_key": message.dedup_key(),
        "client": client,
        "client_url": message.text_or(config.client_url.as_deref(), || message.external_url().to_owned()),
        "images": images,
        "links": links,
        "payload": {
            "summary": summary(config, message),
            "source": cut(&source.unwrap_or_else(|| "sideband".to_owned()), MAX_PART),
            "severity": severity,
            "component": part(&config.component),
            "group": part(&config.group),
            "class": part(&config.class),
            "custom_details": details,
        },
    })
}

fn version_1(
    config: &PagerdutyConfig,
    message: &Message<'_>,
    service_key: &str,
    details: &BTreeMap<String, Value>,
) -> Value {
    json!({
        "service_key": service_key,
        "event_type": action(message),
        "incident_key": message.dedup_key(),
        "description": summary(config, message),
        "client": client_name(config, message),
        "client_url": message.text_or(config.client_url.as_deref(), || message.external_url().to_owned()),
        "details": details,
    })
}
