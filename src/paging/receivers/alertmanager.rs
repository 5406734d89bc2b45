//! Passing alerts on to an Alertmanager, or to another sideband, by `/api/v2/alerts`.

use std::collections::BTreeMap;

use hyper::Method;
use serde::Serialize;

use super::{Message, json_request, post};
use crate::model::GoTime;
use crate::net::http::HttpClient;
use crate::paging::config::AlertmanagerConfig;
use crate::paging::engine::Outcome;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert<'a> {
    labels: &'a BTreeMap<String, String>,
    annotations: &'a BTreeMap<String, String>,
    starts_at: GoTime,
    ends_at: GoTime,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
}

/// One attempt.
pub(super) async fn send(config: &AlertmanagerConfig, message: &Message<'_>, client: &HttpClient) -> Outcome {
    let n = message.notification();
    let alerts: Vec<PostedAlert<'_>> = n
        .alerts
        .iter()
        .map(|a| PostedAlert {
            labels: &a.labels,
            annotations: &a.annotations,
            starts_at: GoTime(Some(a.starts_at)),
            // One that fires holds until it is repeated.
            ends_at: GoTime(Some(a.ends_at.unwrap_or(n.at + n.valid_ms))),
            generator_url: &a.generator_url,
        })
        .collect();
    let base = config.url.as_ref().map(|u| u.0.trim_end_matches('/')).unwrap_or_default();
    let url =
        if base.ends_with("/api/v2/alerts") { base.to_owned() } else { format!("{base}/api/v2/alerts") };
    let request = match json_request(Method::POST, url, &alerts, message) {
        Ok(request) => request,
        Err(outcome) => return outcome,
    };
    match post(client, request, config.timeout).await {
        Ok(_) => Outcome::Delivered,
        Err(outcome) => outcome,
    }
}
