//! `query`: asks a server for the value of an expression.

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use crate::model::Labels;
use crate::model::percent_encode;
use crate::net::http::{HttpClient, HttpClientConfig, HttpRequest, Limits};

const LIMITS: Limits = Limits { timeout: Duration::from_secs(120), max_body: 256 << 20 };

/// Prints a line a series, `LABELS => VALUE @[TIME]`, or the server's error.
pub fn instant(server: &str, time: Option<&str>, expr: &str) -> ExitCode {
    match ask(server, time, expr) {
        Ok(text) => {
            print!("{text}");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            eprintln!("query failed: {reason}");
            ExitCode::FAILURE
        }
    }
}

fn ask(server: &str, time: Option<&str>, expr: &str) -> Result<String, String> {
    let mut form = format!("query={}", percent_encode(expr));
    if let Some(time) = time {
        form += &format!("&time={}", percent_encode(time));
    }
    let request = HttpRequest {
        method: hyper::Method::POST,
        url: format!("{}/api/v1/query", server.trim_end_matches('/')),
        headers: vec![("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
        body: form.into_bytes(),
    };
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    let response = runtime
        .block_on(async {
            HttpClient::new(&HttpClientConfig::default(), Path::new("."))?.send(request, LIMITS).await
        })
        .map_err(|e| e.to_string())?;
    let answer: serde_json::Value = serde_json::from_slice(&response.body)
        .map_err(|_| format!("the server answered status {} and no JSON", response.status))?;
    if answer["status"] != "success" {
        return Err(answer["error"].as_str().unwrap_or("the server gave no reason").to_owned());
    }
    Ok(render(&answer["data"]))
}

fn render(data: &serde_json::Value) -> String {
    let point = |pair: &serde_json::Value| format!("{} @[{}]", pair[1].as_str().unwrap_or_default(), pair[0]);
    match data["resultType"].as_str() {
        Some("vector") => data["result"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|row| format!("{} => {}\n", labels_of(&row["metric"]), point(&row["value"])))
            .collect(),
        Some("matrix") => {
            let mut out = String::new();
            for row in data["result"].as_array().into_iter().flatten() {
                out += &format!("{} =>\n", labels_of(&row["metric"]));
                for pair in row["values"].as_array().into_iter().flatten() {
                    out += &format!("{}\n", point(pair));
                }
            }
            out
        }
        _ => format!("{}\n", point(&data["result"])),
    }
}

fn labels_of(metric: &serde_json::Value) -> Labels {
    let pairs = metric.as_object().into_iter().flatten();
    Labels::from_pairs(pairs.map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default())))
}
