//! Slack: incoming webhooks, and the Web API with a bot token.

use hyper::Method;
use serde_json::{Map, Value, json};

use super::text::{self, cut};
use super::{Message, json_request, post};
use crate::net::http::HttpClient;
use crate::paging::config::{AttachmentField, SLACK_POST_MESSAGE, SlackAction, SlackConfig};
use crate::paging::engine::Outcome;

/// Characters that Slack shows of a title and of a text.
const MAX_TITLE: usize = 1024;
const MAX_TEXT: usize = 8000;

/// One attempt.
pub(super) async fn send(config: &SlackConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    match attempt(config, message, client).await {
        Ok(()) => Outcome::Delivered,
        Err(outcome) => outcome,
    }
}

async fn attempt(config: &SlackConfig, message: &Message<'_>, client: &HttpClient) -> Result<(), Outcome> {
    let token = message.secret(config.app_token.as_ref(), config.app_token_file.as_deref())?;
    let url = if token.is_empty() {
        message.secret(config.api_url.as_ref().map(|u| &u.0), config.api_url_file.as_deref())?
    } else {
        config.app_url.as_ref().map_or(SLACK_POST_MESSAGE, |u| u.0.as_str()).to_owned()
    };
    let mut request = json_request(Method::POST, url, &body(config, message), message)?;
    if !token.is_empty() {
        request.headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
    }
    let answer = post(client, request, config.timeout).await?;
    refused(&answer).map_or(Ok(()), Err)
}

/// The Web API says no with status 200.
fn refused(answer: &[u8]) -> Option<Outcome> {
    let answer: Value = serde_json::from_slice(answer).ok()?;
    if answer.get("ok")?.as_bool()? {
        return None;
    }
    let error = answer.get("error").and_then(Value::as_str).unwrap_or("no reason given");
    let reason = format!("Slack: {error}");
    Some(match error {
        "ratelimited"
        | "rate_limited"
        | "fatal_error"
        | "internal_error"
        | "service_unavailable"
        | "request_timeout" => Outcome::Retry { reason, after_ms: None },
        _ => Outcome::Final { reason },
    })
}

fn body(config: &SlackConfig, message: &Message<'_>) -> Value {
    let n = message.notification();
    let color = message.text_or(config.color.as_deref(), || {
        if n.status() == "firing" { "danger" } else { "good" }.to_owned()
    });
    let title = message.text_or(config.title.as_deref(), || text::subject(n));
    let mut body_text = message.text_or(config.text.as_deref(), || text::body(n, None));
    if let Some(url) = message.ack_url() {
        body_text = format!("<{url}|Acknowledge>\n{body_text}");
    }
    let mut attachment = Map::new();
    let mut put = |name: &str, value: Value| {
        if value.as_str().is_none_or(|s| !s.is_empty()) && !value.is_null() {
            attachment.insert(name.to_owned(), value);
        }
    };
    let part = |t: &Option<String>| Value::from(t.as_deref().map(|t| message.text(t)).unwrap_or_default());
    put("title", cut(&title, MAX_TITLE).into());
    put(
        "title_link",
        message.text_or(config.title_link.as_deref(), || message.external_url().to_owned()).into(),
    );
    put("pretext", part(&config.pretext));
    put("text", cut(&body_text, MAX_TEXT).into());
    put("fallback", message.text_or(config.fallback.as_deref(), || title.clone()).into());
    put("callback_id", part(&config.callback_id));
    put("footer", part(&config.footer));
    put("image_url", part(&config.image_url));
    put("thumb_url", part(&config.thumb_url));
    put("color", color.into());
    let default_in = || vec!["fallback".to_owned(), "pretext".to_owned(), "text".to_owned()];
    put("mrkdwn_in", config.mrkdwn_in.clone().unwrap_or_else(default_in).into());
    let short = config.short_fields.is_some_and(|b| b.0);
    let fields: Vec<Value> = config.fields.iter().flatten().map(|f| field(f, message, short)).collect();
    if !fields.is_empty() {
        put("fields", fields.into());
    }
    let actions: Vec<Value> = config.actions.iter().flatten().map(|a| action(a, message)).collect();
    if !actions.is_empty() {
        put("actions", actions.into());
    }
    let mut body = Map::new();
    for (name, value) in [
        ("channel", part(&config.channel)),
        ("username", message.text_or(config.username.as_deref(), || "sideband".to_owned()).into()),
        ("icon_emoji", part(&config.icon_emoji)),
        ("icon_url", part(&config.icon_url)),
        ("text", part(&config.message_text)),
    ] {
        if value.as_str().is_some_and(|s| !s.is_empty()) {
            body.insert(name.to_owned(), value);
        }
    }
    if config.link_names.is_some_and(|b| b.0) {
        body.insert("link_names".to_owned(), true.into());
    }
    body.insert("attachments".to_owned(), json!([attachment]));
    Value::Object(body)
}

fn field(f: &AttachmentField, message: &Message<'_>, short: bool) -> Value {
    json!({
        "title": message.text(f.title.as_deref().unwrap_or_default()),
        "value": message.text(f.value.as_deref().unwrap_or_default()),
        "short": f.short.map_or(short, |b| b.0),
    })
}

fn action(a: &SlackAction, message: &Message<'_>) -> Value {
    let mut out = Map::new();
    for (name, text) in [
        ("type", &a.r#type),
        ("text", &a.text),
        ("url", &a.url),
        ("style", &a.style),
        ("name", &a.name),
        ("value", &a.value),
    ] {
        if let Some(text) = text {
            out.insert(name.to_owned(), message.text(text).into());
        }
    }
    if let Some(c) = &a.confirm {
        let part = |t: &Option<String>| t.as_deref().map(|t| message.text(t));
        out.insert(
            "confirm".to_owned(),
            json!({
                "text": part(&c.text), "title": part(&c.title), "ok_text": part(&c.ok_text),
                "dismiss_text": part(&c.dismiss_text),
            }),
        );
    }
    Value::Object(out)
}
