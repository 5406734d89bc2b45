//! Pushover: a form for each message.

use super::text::{self, cut};
use super::{Message, deliver, form_request};
use crate::net::http::HttpClient;
use crate::paging::config::{GoDuration, PushoverConfig};
use crate::paging::engine::Outcome;

const URL: &str = "https://api.pushover.net/1/messages.json";
/// Characters of the parts of a message.
const MAX_TITLE: usize = 250;
const MAX_TEXT: usize = 1024;
const MAX_URL: usize = 512;
const MAX_URL_TITLE: usize = 100;

/// One attempt.
pub(super) async fn send(config: &PushoverConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    let secrets = message.secret(config.token.as_ref(), config.token_file.as_deref()).and_then(|token| {
        Ok((token, message.secret(config.user_key.as_ref(), config.user_key_file.as_deref())?))
    });
    let (token, user) = match secrets {
        Ok(secrets) => secrets,
        Err(outcome) => return outcome,
    };
    let n = message.notification();
    let firing = !message.is_over() && n.status() == "firing";
    let part = |t: &Option<String>| t.as_deref().map(|t| message.text(t)).unwrap_or_default();
    // A page is repeated on the phone until somebody looks.
    let priority = message.text_or(config.priority.as_deref(), || if firing { "2" } else { "0" }.to_owned());
    // What is no priority would be refused, and the page lost.
    let known = ["-2", "-1", "0", "1", "2"].contains(&priority.trim());
    let priority = if known { priority.trim().to_owned() } else { "0".to_owned() };
    let text = message.text_or(config.message.as_deref(), || text::body(n, None));
    let text = if text.trim().is_empty() { message.title(None) } else { text };
    let (url, url_title) = match message.ack_url() {
        Some(url) => (url, "Acknowledge".to_owned()),
        None => {
            let url = message.text_or(config.url.as_deref(), || message.external_url().to_owned());
            (url, part(&config.url_title))
        }
    };
    let mut fields = vec![
        ("token", message.text(&token)),
        ("user", message.text(&user)),
        ("title", cut(&message.title(config.title.as_deref()), MAX_TITLE)),
        ("message", cut(&text, MAX_TEXT)),
        ("url", if url.chars().count() > MAX_URL { String::new() } else { url }),
        ("url_title", cut(&url_title, MAX_URL_TITLE)),
        ("priority", priority),
        // Their bounds for what is repeated until somebody looks.
        ("retry", seconds(config.retry.as_ref(), 60).max(30).to_string()),
        ("expire", seconds(config.expire.as_ref(), 3600).min(10_800).to_string()),
        ("device", part(&config.device)),
        ("sound", part(&config.sound)),
    ];
    if config.ttl.is_some() {
        fields.push(("ttl", seconds(config.ttl.as_ref(), 0).to_string()));
    }
    for (name, given) in [("html", config.html), ("monospace", config.monospace)] {
        if given.is_some_and(|b| b.0) {
            fields.push((name, "1".to_owned()));
        }
    }
    fields.retain(|(_, value)| !value.is_empty());
    deliver(client, Ok(form_request(URL.to_owned(), &fields, message)), None).await
}

fn seconds(given: Option<&GoDuration>, default: u64) -> u64 {
    given.map_or(default, GoDuration::seconds)
}
