//! Mattermost: one message to an incoming webhook.

use hyper::Method;
use serde_json::{Map, Value, json};

use super::text::{self, cut};
use super::{Message, deliver, json_request};
use crate::net::http::HttpClient;
use crate::paging::config::{AttachmentField, MattermostAttachment, MattermostConfig};
use crate::paging::engine::Outcome;

/// Characters of a message's text, below what the server takes.
const MAX_TEXT: usize = 12_000;

type Text = Option<String>;

/// One attempt.
pub(super) async fn send(config: &MattermostConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    let request = message
        .secret(config.webhook_url.as_ref().map(|u| &u.0), config.webhook_url_file.as_deref())
        .and_then(|url| json_request(Method::POST, url, &body(config, message), message));
    deliver(client, request, None).await
}

fn body(config: &MattermostConfig, message: &Message<'_>) -> Value {
    let n = message.notification();
    let mut body = Map::new();
    let mut put = |name: &str, value: Value| {
        if !value.is_null() && value.as_str().is_none_or(|s| !s.is_empty()) {
            body.insert(name.to_owned(), value);
        }
    };
    let part = |t: &Text| Value::from(t.as_deref().map(|t| message.text(t)).unwrap_or_default());
    put("channel", part(&config.channel));
    put("username", message.text_or(config.username.as_deref(), || "sideband".to_owned()).into());
    put("icon_url", part(&config.icon_url));
    put("icon_emoji", part(&config.icon_emoji));
    put("type", part(&config.r#type));
    let link = message.ack_url().map(|url| format!("[Acknowledge]({url})\n")).unwrap_or_default();
    if let Some(text) = config.text.as_deref() {
        put("text", cut(&format!("{link}{}", message.marked(message.text(text))), MAX_TEXT).into());
    }
    if let Some(card) = config.props.as_ref().and_then(|p| p.card.as_deref()) {
        put("props", json!({"card": message.text(card)}));
    }
    if let Some(p) = &config.priority {
        put(
            "priority",
            json!({
                "priority": part(&p.priority),
                "requested_ack": p.requested_ack.is_some_and(|b| b.0),
                "persistent_notifications": p.persistent_notifications.is_some_and(|b| b.0),
            }),
        );
    }
    let attachments: Vec<Value> = match &config.attachments {
        Some(list) if !list.is_empty() => list.iter().map(|a| attachment(a, message)).collect(),
        _ => vec![own(config, message, if config.text.is_some() { "" } else { &link }, n.status())],
    };
    put("attachments", attachments.into());
    Value::Object(body)
}

/// The attachment that the keys of the configuration itself describe.
fn own(config: &MattermostConfig, message: &Message<'_>, link: &str, status: &str) -> Value {
    let n = message.notification();
    let color = if status == "firing" && !message.is_over() { "danger" } else { "good" };
    let text = match config.text {
        Some(_) => String::new(),
        None => format!("{link}{}", text::body(n, None)),
    };
    let a = MattermostAttachment {
        fallback: config.fallback.clone(),
        color: config.color.clone(),
        pretext: config.pretext.clone(),
        author_name: config.author_name.clone(),
        author_link: config.author_link.clone(),
        author_icon: config.author_icon.clone(),
        title_link: config.title_link.clone(),
        fields: config.fields.clone(),
        thumb_url: config.thumb_url.clone(),
        footer: config.footer.clone(),
        footer_icon: config.footer_icon.clone(),
        image_url: config.image_url.clone(),
        ..MattermostAttachment::default()
    };
    let mut value = attachment(&a, message);
    value["title"] = message.title(config.title.as_deref()).into();
    if !text.is_empty() {
        value["text"] = cut(&text, MAX_TEXT).into();
    }
    if config.color.is_none() {
        value["color"] = color.into();
    }
    value
}

fn attachment(a: &MattermostAttachment, message: &Message<'_>) -> Value {
    let mut out = Map::new();
    for (name, template) in [
        ("fallback", &a.fallback),
        ("color", &a.color),
        ("pretext", &a.pretext),
        ("text", &a.text),
        ("author_name", &a.author_name),
        ("author_link", &a.author_link),
        ("author_icon", &a.author_icon),
        ("title", &a.title),
        ("title_link", &a.title_link),
        ("thumb_url", &a.thumb_url),
        ("footer", &a.footer),
        ("footer_icon", &a.footer_icon),
        ("image_url", &a.image_url),
    ] {
        let text = template.as_deref().map(|t| message.text(t)).unwrap_or_default();
        if !text.is_empty() {
            out.insert(name.to_owned(), cut(&text, MAX_TEXT).into());
        }
    }
    let fields: Vec<Value> = a.fields.iter().flatten().map(|f| field(f, message)).collect();
    if !fields.is_empty() {
        out.insert("fields".to_owned(), fields.into());
    }
    Value::Object(out)
}

fn field(f: &AttachmentField, message: &Message<'_>) -> Value {
    let part = |t: &Text| t.as_deref().map(|t| message.text(t)).unwrap_or_default();
    json!({"title": part(&f.title), "value": part(&f.value), "short": f.short.is_some_and(|b| b.0)})
}
