//! Rocket.Chat: a message by its REST API.

use hyper::Method;
use serde_json::{Value, json};

use super::text::{self, cut};
use super::{Message, json_request, post};
use crate::net::http::HttpClient;
use crate::paging::config::RocketchatConfig;
use crate::paging::engine::Outcome;

const URL: &str = "https://open.rocket.chat";
/// Characters of a title and of a text.
const MAX_TITLE: usize = 1024;
const MAX_TEXT: usize = 5000;

/// One attempt.
pub(super) async fn send(config: &RocketchatConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    match attempt(config, message, client).await {
        Ok(()) => Outcome::Delivered,
        Err(outcome) => outcome,
    }
}

async fn attempt(
    config: &RocketchatConfig,
    message: &Message<'_>,
    client: &HttpClient,
) -> Result<(), Outcome> {
    let token = message.secret(config.token.as_ref(), config.token_file.as_deref())?;
    let id = message.secret(config.token_id.as_ref(), config.token_id_file.as_deref())?;
    let n = message.notification();
    let part = |t: &Option<String>| t.as_deref().map(|t| message.text(t)).unwrap_or_default();
    let firing = !message.is_over() && n.status() == "firing";
    let color = message.text_or(config.color.as_deref(), || if firing { "red" } else { "green" }.to_owned());
    let text = message.text_or(config.text.as_deref(), || text::body(n, None));
    let short = config.short_fields.is_some_and(|b| b.0);
    let fields: Vec<Value> = config
        .fields
        .iter()
        .flatten()
        .map(|f| json!({"title": part(&f.title), "value": part(&f.value), "short": f.short.map_or(short, |b| b.0)}))
        .collect();
    let mut actions: Vec<Value> = config
        .actions
        .iter()
        .flatten()
        .map(|a| json!({"type": part(&a.r#type), "text": part(&a.text), "url": part(&a.url), "msg": part(&a.msg)}))
        .collect();
    if let Some(url) = message.ack_url() {
        actions.push(json!({"type": "button", "text": "Acknowledge", "url": url}));
    }
    let attachment = json!({
        "title": cut(&message.title(config.title.as_deref()), MAX_TITLE),
        "title_link": message.text_or(config.title_link.as_deref(), || message.external_url().to_owned()),
        "text": cut(&text, MAX_TEXT),
        "image_url": part(&config.image_url),
        "thumb_url": part(&config.thumb_url),
        "color": color,
        "fields": fields,
        "actions": actions,
    });
    let body = json!({
        "channel": part(&config.channel),
        "emoji": part(&config.emoji),
        "avatar": part(&config.icon_url),
        "alias": "sideband",
        "parseUrls": config.link_names.is_some_and(|b| b.0),
        "attachments": [attachment],
    });
    let base = config.api_url.as_ref().map_or(URL, |u| u.0.as_str()).trim_end_matches('/');
    let url = if base.ends_with("/chat.postMessage") {
        base.to_owned()
    } else {
        format!("{base}/api/v1/chat.postMessage")
    };
    let mut request = json_request(Method::POST, url, &body, message)?;
    request.headers.push(("X-Auth-Token".to_owned(), token));
    request.headers.push(("X-User-Id".to_owned(), id));
    let answer = post(client, request, None).await?;
    let answer: Value = serde_json::from_slice(&answer).unwrap_or_default();
    if answer.get("success").and_then(Value::as_bool) == Some(false) {
        let error = answer.get("error").and_then(Value::as_str).unwrap_or("no reason given");
        return Err(Outcome::Final { reason: format!("Rocket.Chat: {}", cut(error, 200)) });
    }
    Ok(())
}
