//! incident.io: the webhook's body to an alert source.

use hyper::Method;

use super::{Message, deliver, json_request};
use crate::net::http::HttpClient;
use crate::paging::config::IncidentioConfig;
use crate::paging::engine::Outcome;
use crate::paging::notification::WebhookBody;

/// One attempt.
pub(super) async fn send(config: &IncidentioConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    let request =
        message.secret(config.url.as_ref().map(|u| &u.0), config.url_file.as_deref()).and_then(|url| {
            let token = message
                .secret(config.alert_source_token.as_ref(), config.alert_source_token_file.as_deref())?;
            let body = WebhookBody::new(
                message.notification(),
                message.external_url(),
                config.max_alerts.unwrap_or_default(),
                message.ack_url(),
            );
            let mut request = json_request(Method::POST, url, &body, message)?;
            if !token.is_empty() {
                request.headers.push(("Authorization".to_owned(), format!("Bearer {token}")));
            }
            Ok(request)
        });
    deliver(client, request, config.timeout).await
}
