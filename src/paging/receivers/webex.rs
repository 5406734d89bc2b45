//! Webex: a message in a room, with the credentials of the HTTP client.

use hyper::Method;
use serde_json::json;

use super::text;
use super::{Message, deliver, json_request};
use crate::net::http::HttpClient;
use crate::paging::config::WebexConfig;
use crate::paging::engine::Outcome;

const URL: &str = "https://webexapis.com/v1/messages";
/// Bytes of a message.
const MAX_TEXT: usize = 7439;

/// One attempt.
pub(super) async fn send(config: &WebexConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    let n = message.notification();
    let text = message
        .text_or(config.message.as_deref(), || format!("{}\n{}", message.title(None), text::body(n, None)));
    let text = message.marked(text);
    let mut text = match message.ack_url() {
        Some(url) => format!("Acknowledge: {url}\n{text}"),
        None => text,
    };
    let mut end = text.len().min(MAX_TEXT);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    let room = message.text(config.room_id.as_deref().unwrap_or_default());
    let url = config.api_url.as_ref().map_or(URL, |u| u.0.as_str()).to_owned();
    let body = json!({"markdown": text, "roomId": room});
    deliver(client, json_request(Method::POST, url, &body, message), None).await
}
