//! The webhook: Alertmanager's version 4 body, signed, with an idempotency key.

use hmac::{Hmac, KeyInit, Mac};
use hyper::Method;
use sha2::Sha256;

use super::{Message, deliver, hex, json_request};
use crate::net::http::{HttpClient, HttpRequest};
use crate::paging::config::WebhookConfig;
use crate::paging::engine::Outcome;
use crate::paging::notification::WebhookBody;

/// One attempt.
pub(super) async fn send(config: &WebhookConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    deliver(client, request(config, message), config.timeout).await
}

fn request(config: &WebhookConfig, message: &Message<'_>) -> Result<HttpRequest, Outcome> {
    let url = message.secret(config.url.as_ref(), config.url_file.as_deref())?;
    let body = WebhookBody::new(
        message.notification(),
        message.external_url(),
        config.max_alerts.unwrap_or_default(),
        message.ack_url(),
    )
    .with_feedback(message.feedback_url());
    let url = message.text(&url);
    let mut request = match &config.payload {
        Some(payload) => json_request(Method::POST, url, &message.json(payload), message)?,
        None => json_request(Method::POST, url, &body, message)?,
    };
    let key = message.secret(config.signing_key.as_ref(), config.signing_key_file.as_deref())?;
    if !key.is_empty() {
        // Of the attempt, so that whoever receives it can refuse old ones.
        let timestamp = message.now() / 1000;
        request.headers.push(("X-Sideband-Timestamp".to_owned(), timestamp.to_string()));
        request
            .headers
            .push(("X-Sideband-Signature".to_owned(), signature(key.as_bytes(), timestamp, &request.body)?));
    }
    Ok(request)
}

/// `v1=` and the HMAC-SHA256, in hexadecimal, of the timestamp (seconds), a dot and the body.
fn signature(key: &[u8], timestamp: i64, body: &[u8]) -> Result<String, Outcome> {
    let mut mac =
        Hmac::<Sha256>::new_from_slice(key).map_err(|e| Outcome::Final { reason: e.to_string() })?;
    mac.update(timestamp.to_string().as_bytes());
    mac.update(b".");
    mac.update(body);
    Ok(format!("v1={}", hex(&mac.finalize().into_bytes())))
}

#[cfg(test)]
mod tests {
    #[test]
    fn signature_is_a_plain_hmac() {
        // Python: hmac.new(b"key", b"1000.{}", "sha256").hexdigest()
        let text = super::signature(b"key", 1000, b"{}").unwrap();
        assert_eq!(text, "v1=c32de42341dece79a1511c9e7f74a2734112edcfcf48943c976faf07047065db");
        assert_ne!(text, super::signature(b"key", 1001, b"{}").unwrap());
        assert_ne!(text, super::signature(b"kez", 1000, b"{}").unwrap());
    }
}
