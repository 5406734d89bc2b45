//! Speaks with a running sideband.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use crate::model::percent_encode;
use crate::model::yaml;
use crate::net::http::{HttpClient, HttpClientConfig, HttpRequest, Limits};

/// A report over a year may take a while.
const LIMITS: Limits = Limits { timeout: Duration::from_secs(60), max_body: 64 << 20 };

#[derive(Debug, Clone, Args)]
pub struct ServerFlags {
    /// Base URL of the running sideband; a user and a password may stand in it
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:19309")]
    pub server: String,
    /// How to reach it: TLS and authentication (the keys of Prometheus's HTTP clients, as promtool's flag has them)
    #[arg(long = "http.config.file", value_name = "FILE")]
    pub http_config_file: Option<PathBuf>,
}

/// A connection to it.
pub struct Server {
    base: String,
    client: HttpClient,
    runtime: tokio::runtime::Runtime,
}

/// An answer: its status, and its body.
pub struct Answer {
    pub status: u16,
    pub body: Vec<u8>,
}

impl Server {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// The configuration of the client cannot be read.
    pub fn new(flags: &ServerFlags) -> Result<Self, String> {
        let (config, base_dir) = match &flags.http_config_file {
            None => (HttpClientConfig::default(), Path::new(".")),
            Some(file) => {
                let text = std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?;
                let config = yaml::parse(file, &text).map_err(|e| e.to_string())?;
                (config, file.parent().unwrap_or(Path::new(".")))
            }
        };
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        let client = HttpClient::new(&config, base_dir).map_err(|e| e.to_string())?;
        Ok(Self { base: flags.server.trim_end_matches('/').to_owned(), client, runtime })
    }

    fn send(&self, request: HttpRequest) -> Result<Answer, String> {
        let response = self
            .runtime
            .block_on(async { self.client.send(request, LIMITS).await })
            .map_err(|e| format!("{}: {e}", self.base))?;
        Ok(Answer { status: response.status, body: response.body })
    }

    /// Asks for a path with parameters.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn get(&self, path: &str, params: &[(&str, &str)]) -> Result<Answer, String> {
        let query = form(params);
        let url = format!("{}{path}{}{query}", self.base, if query.is_empty() { "" } else { "?" });
        self.send(HttpRequest { url, ..HttpRequest::default() })
    }

    /// Sends a form.
    ///
    /// # Errors
    /// Nobody answers.
    pub fn post(&self, path: &str, params: &[(&str, &str)]) -> Result<Answer, String> {
        self.send(HttpRequest {
            method: hyper::Method::POST,
            url: format!("{}{path}", self.base),
            headers: vec![("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned())],
            body: form(params).into_bytes(),
        })
    }
}

impl Answer {
    /// The `data` of a good answer of the API.
    ///
    /// # Errors
    /// What the server said instead.
    pub fn data(self) -> Result<serde_json::Value, String> {
        let mut answer: serde_json::Value = serde_json::from_slice(&self.body).map_err(|_| {
            let text = String::from_utf8_lossy(&self.body);
            format!(
                "the server answered with status {}: {}",
                self.status,
                text.trim().lines().next().unwrap_or("")
            )
        })?;
        if answer["status"] != "success" {
            return Err(answer["error"].as_str().unwrap_or("the server gave no reason").to_owned());
        }
        Ok(answer["data"].take())
    }

    /// The body of a good answer that is text.
    ///
    /// # Errors
    /// What the server said instead.
    pub fn text(self) -> Result<String, String> {
        if self.status != 200 {
            let status = self.status;
            return Err(self.data().err().unwrap_or(format!("the server answered with status {status}")));
        }
        String::from_utf8(self.body).map_err(|_| "the server's answer is no text".to_owned())
    }
}

fn form(params: &[(&str, &str)]) -> String {
    let given = params.iter().filter(|(_, v)| !v.is_empty());
    given.map(|(n, v)| format!("{n}={}", percent_encode(v))).collect::<Vec<_>>().join("&")
}
