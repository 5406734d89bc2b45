//! Telegram: a message of a bot.

use hyper::Method;
use serde_json::json;

use super::text::{self, cut_utf16};
use super::{Message, json_request, post};
use crate::net::http::HttpClient;
use crate::paging::config::TelegramConfig;
use crate::paging::engine::Outcome;

/// Units of UTF-16 of a message.
const MAX_TEXT: usize = 4096;

/// One attempt.
pub(super) async fn send(config: &TelegramConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    match attempt(config, message, client).await {
        Ok(()) => Outcome::Delivered,
        Err(outcome) => wait_as_told(outcome),
    }
}

async fn attempt(config: &TelegramConfig, message: &Message<'_>, client: &HttpClient) -> Result<(), Outcome> {
    let token = message.secret(config.bot_token.as_ref(), config.bot_token_file.as_deref())?;
    let chat = match config.chat_id.filter(|id| *id != 0) {
        Some(id) => id,
        None => {
            let text = message.secret(None, config.chat_id_file.as_deref())?;
            text.parse().map_err(|_| Outcome::Final { reason: "chat_id_file has no number".to_owned() })?
        }
    };
    let base = config.api_url.as_ref().map_or("https://api.telegram.org", |u| u.0.trim_end_matches('/'));
    let url = format!("{base}/bot{token}/sendMessage");
    let plain = || {
        let n = message.notification();
        let body = format!("{}\n{}", message.title(None), text::body(n, message.ack_url().as_deref()));
        cut_utf16(&body, MAX_TEXT)
    };
    let mut mode = config.parse_mode.as_deref().unwrap_or("HTML");
    let mut text = match config.message.as_deref() {
        // What is written here needs no layout.
        None => String::new(),
        Some(template) if mode == "HTML" => match message.html(template) {
            Ok(text) => text,
            Err(_) => {
                mode = "";
                cut_utf16(&format!("{}\n{}", plain(), message.text(template)), MAX_TEXT)
            }
        },
        Some(template) => message.text(template),
    };
    if let Some(url) = message.ack_url().filter(|url| !text.is_empty() && !text.contains(url.as_str())) {
        text = format!("Acknowledge: {url}\n{text}");
    }
    text = if text.is_empty() { text } else { message.marked(text) };
    if text.is_empty() || text.encode_utf16().count() > MAX_TEXT {
        // Cut in the middle of a tag it would be refused.
        (text, mode) = (plain(), "");
    }
    let body = |text: &str, mode: &str| {
        let mut body = json!({"chat_id": chat, "text": text, "disable_web_page_preview": true});
        if !mode.is_empty() {
            body["parse_mode"] = mode.into();
        }
        if config.disable_notifications.is_some_and(|b| b.0) {
            body["disable_notification"] = true.into();
        }
        if let Some(thread) = config.message_thread_id.filter(|id| *id != 0) {
            body["message_thread_id"] = thread.into();
        }
        json_request(Method::POST, url.clone(), &body, message)
    };
    match post(client, body(&text, mode)?, None).await {
        // A layout that Telegram does not like must not cost a page.
        Err(Outcome::Final { reason }) if !mode.is_empty() && reason.contains("parse entities") => {
            post(client, body(&plain(), "")?, None).await.map(drop)
        }
        done => done.map(drop),
    }
}

/// Telegram says in the body how long to wait.
fn wait_as_told(outcome: Outcome) -> Outcome {
    let Outcome::Retry { reason, after_ms: None } = outcome else { return outcome };
    let seconds = reason.split_once("\"retry_after\":").and_then(|(_, rest)| {
        let rest = rest.trim_start();
        let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
        rest[..end].parse::<u32>().ok()
    });
    Outcome::Retry { after_ms: seconds.map(|s| i64::from(s) * 1000), reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_wait_is_in_the_body() {
        for (body, expect) in [
            (r#"status 429: {"ok":false,"parameters":{"retry_after":7}}"#, Some(7000)),
            (r#"{"retry_after": 12}"#, Some(12_000)),
            ("nothing", None),
            (r#"{"retry_after":"#, None),
        ] {
            let outcome = wait_as_told(Outcome::Retry { reason: body.to_owned(), after_ms: None });
            assert_eq!(outcome, Outcome::Retry { reason: body.to_owned(), after_ms: expect });
        }
    }
}
