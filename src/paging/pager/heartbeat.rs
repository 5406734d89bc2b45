//! Says regularly, to a service elsewhere, that this process lives and can send.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::Method;
use tokio::task::JoinHandle;

use crate::model::{Clock, SystemClock};
use crate::net::http::{HttpClient, HttpRequest, Limits};
use crate::paging::config::{Heartbeat, PagingConfig, visit};
use crate::paging::metrics::{Attempt, PagingMetrics};

/// The task that does it; replaced when the configuration changes.
pub(super) struct Heart {
    task: Mutex<Option<JoinHandle<()>>>,
    metrics: PagingMetrics,
}

impl Heart {
    pub fn new(metrics: PagingMetrics) -> Self {
        Self { task: Mutex::new(None), metrics }
    }

    /// Begins anew with this configuration.
    pub fn configure(&self, runtime: &tokio::runtime::Handle, config: &Arc<PagingConfig>) {
        self.stop();
        let Some(heartbeat) = config.heartbeat.clone() else { return };
        let base = config.path.parent().map(ToOwned::to_owned).unwrap_or_default();
        let client = match HttpClient::new(&heartbeat.http, &base) {
            Ok(client) => client,
            Err(error) => {
                tracing::error!(%error, "heartbeat");
                return;
            }
        };
        let task = runtime.spawn(beat(heartbeat, client, self.metrics.clone()));
        *self.task.lock().unwrap_or_else(PoisonError::into_inner) = Some(task);
    }

    pub fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
    }
}

async fn beat(heartbeat: Heartbeat, client: HttpClient, metrics: PagingMetrics) {
    let mut ticks = tokio::time::interval(heartbeat.interval.to_std());
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let count = |outcome| {
        let label = Attempt { receiver: "".into(), integration: "heartbeat".into(), outcome };
        metrics.heartbeats.get_or_create(&label).inc();
    };
    loop {
        ticks.tick().await;
        let error = match once(&heartbeat, &client).await {
            Ok(()) => {
                count("delivered");
                metrics.heartbeat_last_success.set(SystemClock.now() / 1000);
                continue;
            }
            Err(error) => error,
        };
        count("failed");
        tracing::warn!(%error, "heartbeat not delivered");
    }
}

async fn once(heartbeat: &Heartbeat, client: &HttpClient) -> Result<(), String> {
    let url = match (&heartbeat.url, &heartbeat.url_file) {
        (Some(url), _) => url.expose().to_owned(),
        (None, Some(file)) => {
            std::fs::read_to_string(file).map_err(|e| format!("{}: {e}", file.display()))?.trim().to_owned()
        }
        (None, None) => return Ok(()),
    };
    let limits = Limits {
        timeout: heartbeat.interval.to_std().min(std::time::Duration::from_secs(10)),
        max_body: 4096,
    };
    let request = HttpRequest { method: Method::POST, url, headers: Vec::new(), body: Vec::new() };
    // The URL may hold a token: it stays out of the error.
    let hidden = [request.url.clone()];
    let hide =
        |e: crate::net::http::NetError| visit::without(&e.to_string(), hidden.iter().map(String::as_str));
    let answer = client.start(request, limits).await.map_err(hide)?;
    if (200..300).contains(&answer.status) { Ok(()) } else { Err(format!("status {}", answer.status)) }
}
