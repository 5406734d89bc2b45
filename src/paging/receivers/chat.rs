//! Discord and Microsoft Teams: one message to an incoming webhook.

use hyper::Method;
use serde_json::{Value, json};

use super::text::{self, cut};
use super::{Message, json_request, post};
use crate::net::http::HttpClient;
use crate::paging::config::{DiscordConfig, MsteamsConfig, Msteamsv2Config, SecretUrl};
use crate::paging::engine::Outcome;

/// What Discord takes, in characters.
const DISCORD_TITLE: usize = 256;
const DISCORD_DESCRIPTION: usize = 4096;
const DISCORD_CONTENT: usize = 2000;
/// What is said to Teams, in characters (a message has at most 28 KB).
const TEAMS_TEXT: usize = 12_000;

const RED: u32 = 0x00d6_2728;
const GREEN: u32 = 0x002c_a02c;

pub(super) async fn discord(config: &DiscordConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    let n = message.notification();
    let title = message.title(config.title.as_deref());
    let description =
        message.text_or(config.message.as_deref(), || text::body(n, message.ack_url().as_deref()));
    let mut body = json!({
        "content": cut(&message.text_or(config.content.as_deref(), String::new), DISCORD_CONTENT),
        "embeds": [{
            "title": cut(&title, DISCORD_TITLE),
            "description": cut(&description, DISCORD_DESCRIPTION),
            "color": if n.status() == "firing" { RED } else { GREEN },
        }],
    });
    for (name, value) in [("username", &config.username), ("avatar_url", &config.avatar_url)] {
        if let Some(value) = value.as_deref().filter(|v| !v.is_empty()) {
            body[name] = value.into();
        }
    }
    send(&body, config.webhook_url.as_ref(), config.webhook_url_file.as_deref(), message, client).await
}

pub(super) async fn msteams(config: &MsteamsConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    let n = message.notification();
    let title = message.title(config.title.as_deref());
    let text = message.text_or(config.text.as_deref(), || text::body(n, message.ack_url().as_deref()));
    let color = if n.status() == "firing" { RED } else { GREEN };
    let body = json!({
        "@context": "http://schema.org/extensions",
        "@type": "MessageCard",
        "title": title,
        "summary": message.text_or(config.summary.as_deref(), || title.clone()),
        "text": cut(&text, TEAMS_TEXT),
        "themeColor": format!("{color:06x}"),
    });
    send(&body, config.webhook_url.as_ref(), config.webhook_url_file.as_deref(), message, client).await
}

pub(super) async fn msteamsv2(
    config: &Msteamsv2Config,
    message: &Message<'_>,
    client: &HttpClient,
) -> Outcome {
    let n = message.notification();
    let title = message.title(config.title.as_deref());
    let text = message.text_or(config.text.as_deref(), || text::body(n, None));
    let color = if n.status() == "firing" { "Attention" } else { "Good" };
    let mut card = json!({
        "$schema": "http://adaptivecards.io/schemas/adaptive-card.json",
        "type": "AdaptiveCard",
        "version": "1.4",
        "msTeams": {"width": "full"},
        "body": [
            {"type": "TextBlock", "text": title, "weight": "Bolder", "size": "Medium", "wrap": true, "style": "heading", "color": color},
            {"type": "TextBlock", "text": cut(&text, TEAMS_TEXT), "wrap": true},
        ],
    });
    if let Some(url) = message.ack_url() {
        card["actions"] = json!([{"type": "Action.OpenUrl", "title": "Acknowledge", "url": url}]);
    }
    let body = json!({
        "type": "message",
        "attachments": [{
            "contentType": "application/vnd.microsoft.card.adaptive",
            "contentUrl": null,
            "content": card,
        }],
    });
    send(&body, config.webhook_url.as_ref(), config.webhook_url_file.as_deref(), message, client).await
}

async fn send(
    body: &Value,
    url: Option<&SecretUrl>,
    file: Option<&str>,
    message: &Message<'_>,
    client: &HttpClient,
) -> Outcome {
    let request = message
        .secret(url.map(|u| &u.0), file)
        .and_then(|url| json_request(Method::POST, url, body, message));
    let request = match request {
        Ok(request) => request,
        Err(outcome) => return outcome,
    };
    match post(client, request, None).await {
        Ok(_) => Outcome::Delivered,
        Err(outcome) => outcome,
    }
}
