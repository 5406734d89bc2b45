//! Splunk On-Call (VictorOps): an entity that is critical, acknowledged, recovered.

use hyper::Method;
use serde_json::{Map, Value};

use super::text::{self, cut};
use super::{Message, deliver, json_request};
use crate::model::percent_encode;
use crate::net::http::HttpClient;
use crate::paging::config::VictoropsConfig;
use crate::paging::engine::Outcome;
use crate::paging::notification::Reason;

const URL: &str = "https://alert.victorops.com/integrations/generic/20131114/alert/";
/// Characters of the state's text.
const MAX_TEXT: usize = 20_480;

/// One attempt.
pub(super) async fn send(config: &VictoropsConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    let key = match message.secret(config.api_key.as_ref(), config.api_key_file.as_deref()) {
        Ok(key) => key,
        Err(outcome) => return outcome,
    };
    let n = message.notification();
    let base = config.api_url.as_ref().map_or(URL, |u| u.0.as_str()).trim_end_matches('/');
    let route = message.text(config.routing_key.as_deref().unwrap_or_default());
    let firing = message.text_or(config.message_type.as_deref(), || "CRITICAL".to_owned());
    let kind = match n.reason {
        _ if message.is_over() => "RECOVERY",
        Reason::Acknowledged => "ACKNOWLEDGEMENT",
        _ => match firing.to_ascii_uppercase().as_str() {
            "WARNING" => "WARNING",
            "INFO" => "INFO",
            "ACKNOWLEDGEMENT" => "ACKNOWLEDGEMENT",
            "RECOVERY" => "RECOVERY",
            _ => "CRITICAL",
        },
    };
    let state = message.text_or(config.state_message.as_deref(), || text::body(n, None));
    let state = match message.ack_url() {
        Some(url) => format!("Acknowledge: {url}\n{state}"),
        None => state,
    };
    let mut body = Map::new();
    for (name, template) in config.custom_fields.iter().flatten() {
        body.insert(name.clone(), message.text(template.as_deref().unwrap_or_default()).into());
    }
    for (name, text) in [
        ("message_type", kind.to_owned()),
        ("entity_id", message.dedup_key()),
        ("entity_display_name", message.title(config.entity_display_name.as_deref())),
        ("state_message", cut(&state, MAX_TEXT)),
        ("monitoring_tool", message.text_or(config.monitoring_tool.as_deref(), || "sideband".to_owned())),
    ] {
        body.insert(name.to_owned(), text.into());
    }
    let url = format!("{base}/{}/{}", message.text(&key), percent_encode(&route));
    deliver(client, json_request(Method::POST, url, &Value::Object(body), message), None).await
}
