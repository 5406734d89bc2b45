//! Discord and Microsoft Teams: one message to an incoming webhook.

use hyper::Method;
use hyper::header::HeaderMap;
use serde_json::{Value, json};

use super::answer::judge;
use super::text::{self, cut_json, cut_utf16};
use super::{Message, json_request, post};
use crate::net::http::HttpClient;
use crate::paging::config::{DiscordConfig, MsteamsConfig, Msteamsv2Config, SecretUrl};
use crate::paging::engine::Outcome;

/// What Discord takes, in units of UTF-16: it counts characters, and emoji perhaps as two.
const DISCORD_TITLE: usize = 256;
const DISCORD_DESCRIPTION: usize = 4096;
const DISCORD_CONTENT: usize = 2000;
const DISCORD_USERNAME: usize = 80;
/// What is said to Teams, in bytes of JSON (a message has at most 28 KB).
const TEAMS_TEXT: usize = 20_000;
const TEAMS_TITLE: usize = 1000;

const RED: u32 = 0x00d6_2728;
const GREEN: u32 = 0x002c_a02c;

pub(super) async fn discord(config: &DiscordConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    let n = message.notification();
    let title = message.title(config.title.as_deref());
    let description =
        message.text_or(config.message.as_deref(), || text::body(n, message.ack_url().as_deref()));
    let mut body = json!({
        "content": cut_utf16(&message.text_or(config.content.as_deref(), String::new), DISCORD_CONTENT),
        "embeds": [{
            "title": cut_utf16(&title, DISCORD_TITLE),
            "description": cut_utf16(&description, DISCORD_DESCRIPTION),
            "color": if n.status() == "firing" { RED } else { GREEN },
        }],
    });
    for (name, value) in [("username", &config.username), ("avatar_url", &config.avatar_url)] {
        if let Some(value) = value.as_deref().filter(|v| !v.is_empty()) {
            body[name] = match name {
                "username" => cut_utf16(value, DISCORD_USERNAME).into(),
                _ => value.into(),
            };
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
        "title": cut_json(&title, TEAMS_TITLE),
        "summary": cut_json(&message.text_or(config.summary.as_deref(), || title.clone()), TEAMS_TITLE),
        "text": cut_json(&text, TEAMS_TEXT),
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
            {"type": "TextBlock", "text": cut_json(&title, TEAMS_TITLE), "weight": "Bolder", "size": "Medium", "wrap": true, "style": "heading", "color": color},
            {"type": "TextBlock", "text": cut_json(&text, TEAMS_TEXT), "wrap": true},
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
    match post(client, request, None).await.and_then(|answer| relayed(&answer)) {
        Ok(()) => Outcome::Delivered,
        Err(outcome) => outcome,
    }
}

/// A connector of Teams answers 200 and says in words that the message went no further, and with which status.
fn relayed(answer: &[u8]) -> Result<(), Outcome> {
    let text = String::from_utf8_lossy(answer);
    let Some((_, rest)) = text.split_once("returned HTTP error ") else { return Ok(()) };
    let digits: String = rest.chars().take_while(char::is_ascii_digit).take(3).collect();
    let status = digits.parse().unwrap_or(502);
    judge(status, &HeaderMap::new(), answer)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_teams_says_with_status_200() {
        let says = |status: &str| {
            format!(
                "Webhook message delivery failed with error: Microsoft Teams endpoint returned HTTP error {status} with ContextId x"
            )
        };
        assert_eq!(relayed(b"1"), Ok(()));
        assert!(matches!(relayed(says("429").as_bytes()), Err(Outcome::Retry { .. })));
        assert!(matches!(relayed(says("413").as_bytes()), Err(Outcome::Final { .. })));
        assert!(matches!(relayed(says("?").as_bytes()), Err(Outcome::Unsure { .. })));
    }
}
