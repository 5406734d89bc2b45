//! Opsgenie: an alert under one alias, acknowledged and closed.

use hyper::Method;
use serde_json::{Map, Value, json};

use super::text::{self, cut};
use super::{Message, json_request, post};
use crate::net::http::HttpClient;
use crate::paging::config::{OpsgenieConfig, OpsgenieResponder};
use crate::paging::engine::Outcome;
use crate::paging::notification::Reason;

const URL: &str = "https://api.opsgenie.com/";
/// Characters of the parts of an alert.
const MAX_MESSAGE: usize = 130;
const MAX_DESCRIPTION: usize = 15_000;
const MAX_NOTE: usize = 25_000;
const MAX_SOURCE: usize = 100;
const MAX_ENTITY: usize = 512;
/// Characters of all details together.
const MAX_DETAILS: usize = 8000;
/// Tags, actions, and characters of one; what is more would be refused with the whole alert.
const MAX_TAGS: usize = 20;
const MAX_ACTIONS: usize = 10;
const MAX_TAG: usize = 50;

/// One attempt.
pub(super) async fn send(config: &OpsgenieConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    match attempt(config, message, client).await {
        Ok(()) => Outcome::Delivered,
        Err(outcome) => outcome,
    }
}

async fn attempt(config: &OpsgenieConfig, message: &Message<'_>, client: &HttpClient) -> Result<(), Outcome> {
    let key = message.secret(config.api_key.as_ref(), config.api_key_file.as_deref())?;
    let key = message.text(&key);
    let base = config.api_url.as_ref().map_or(URL, |u| u.0.as_str()).trim_end_matches('/');
    let alias = message.dedup_key();
    let n = message.notification();
    let part = |t: &Option<String>| t.as_deref().map(|t| message.text(t)).unwrap_or_default();
    let source = message.text_or(config.source.as_deref(), || message.external_url().to_owned());
    let source = cut(&source, MAX_SOURCE);
    let headline = cut(&message.title(config.message.as_deref()), MAX_MESSAGE);
    let description = message.text_or(config.description.as_deref(), || text::body(n, None));
    let description = match message.ack_url() {
        Some(url) => format!("Acknowledge: {url}\n{description}"),
        None => description,
    };
    let description = cut(&description, MAX_DESCRIPTION);
    let of_alias = |what: &str| format!("{base}/v2/alerts/{alias}/{what}?identifierType=alias");
    let requests = if message.is_over() {
        let body = json!({"source": source, "note": cut(&part(&config.note), MAX_NOTE)});
        vec![(Method::POST, of_alias("close"), body)]
    } else if n.reason == Reason::Acknowledged {
        let body = json!({"source": source, "note": text::acknowledged(n)});
        vec![(Method::POST, of_alias("acknowledge"), body)]
    } else {
        let mut body = Map::new();
        let mut details: Map<String, Value> =
            n.common_labels().into_iter().map(|(k, v)| (k.to_owned(), v.into())).collect();
        for (name, template) in config.details.iter().flatten() {
            details.insert(name.clone(), part(template).into());
        }
        let mut room = MAX_DETAILS;
        details.retain(|name, value| {
            let size = name.chars().count() + value.as_str().map_or(0, |v| v.chars().count());
            let fits = size <= room;
            room -= if fits { size } else { 0 };
            fits
        });
        let list = |t: &Option<String>, most: usize| -> Value {
            let text = part(t);
            let items = text.split(',').map(str::trim).filter(|t| !t.is_empty());
            items.take(most).map(|t| cut(t, MAX_TAG)).collect()
        };
        // Another word would be refused, and the page lost.
        let priority = part(&config.priority).trim().to_ascii_uppercase();
        let known = ["P1", "P2", "P3", "P4", "P5"].contains(&priority.as_str());
        let priority = if known { priority } else { String::new() };
        let responders: Vec<Value> =
            config.responders.iter().flatten().map(|r| responder(r, message)).collect();
        for (name, value) in [
            ("alias", alias.clone().into()),
            ("message", headline.clone().into()),
            ("description", description.clone().into()),
            ("details", details.into()),
            ("source", source.into()),
            ("responders", responders.into()),
            ("tags", list(&config.tags, MAX_TAGS)),
            ("actions", list(&config.actions, MAX_ACTIONS)),
            ("note", cut(&part(&config.note), MAX_NOTE).into()),
            ("priority", priority.into()),
            ("entity", cut(&part(&config.entity), MAX_ENTITY).into()),
        ] {
            let empty =
                value.as_str().is_some_and(str::is_empty) || value.as_array().is_some_and(Vec::is_empty);
            if !empty {
                body.insert(name.to_owned(), value);
            }
        }
        let mut requests = vec![(Method::POST, format!("{base}/v2/alerts"), Value::Object(body))];
        if config.update_alerts.is_some_and(|b| b.0) {
            requests.push((Method::PUT, of_alias("message"), json!({"message": headline})));
            requests.push((Method::PUT, of_alias("description"), json!({"description": description})));
        }
        requests
    };
    for (method, url, body) in requests {
        let mut request = json_request(method, url, &body, message)?;
        request.headers.push(("Authorization".to_owned(), format!("GenieKey {key}")));
        post(client, request, None).await?;
    }
    Ok(())
}

fn responder(r: &OpsgenieResponder, message: &Message<'_>) -> Value {
    let mut out = Map::new();
    let fields = [("id", &r.id), ("name", &r.name), ("username", &r.username), ("type", &r.r#type)];
    for (name, template) in fields {
        let text = template.as_deref().map(|t| message.text(t)).unwrap_or_default();
        if !text.is_empty() {
            out.insert(name.to_owned(), text.into());
        }
    }
    Value::Object(out)
}
