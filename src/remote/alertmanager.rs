//! Sends alerts to Alertmanagers (or to a paging sideband, which speaks the same API).
//!
//! Every Alertmanager has a bounded queue of its own, so that a dead one delays no other. What does not
//! fit is counted; firing alerts are sent again and again by the rules, so nothing is lost for good.

use std::collections::VecDeque;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use serde::Serialize;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::model::{Alert, Labels, Timestamp};
use crate::net::http::{HttpClient, HttpRequest, Limits, NetError};
use crate::scrape::relabel::{RelabelRule, relabel};
use crate::telemetry::LabelValue;

use super::config::AlertingConfig;

/// Alerts that wait for one Alertmanager at the most.
const QUEUE: usize = 10_000;
/// Alerts in one request at the most.
const BATCH: usize = 256;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PeerLabel {
    alertmanager: LabelValue,
}

/// Counters of what was sent, by Alertmanager.
#[derive(Clone, Default)]
pub struct SenderMetrics {
    sent: Family<PeerLabel, Counter>,
    errors: Family<PeerLabel, Counter>,
    dropped: Family<PeerLabel, Counter>,
}

impl SenderMetrics {
    /// Makes the counters and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        let (sent, errors, dropped) = (m.sent.clone(), m.errors.clone(), m.dropped.clone());
        registry.register("sideband_notifications_sent", "Alerts sent to an Alertmanager", sent);
        registry.register("sideband_notifications_errors", "Requests to an Alertmanager that failed", errors);
        registry.register(
            "sideband_notifications_dropped",
            "Alerts dropped because a queue was full",
            dropped,
        );
        m
    }
}

struct Peer {
    url: String,
    client: HttpClient,
    timeout: Duration,
    queue: Mutex<VecDeque<Alert>>,
    wake: Notify,
    metrics: SenderMetrics,
}

/// Sends alerts to every configured Alertmanager. Dropping it stops the sending.
pub struct AlertmanagerSender {
    peers: Vec<Arc<Peer>>,
    tasks: Vec<JoinHandle<()>>,
    rules: Vec<RelabelRule>,
    external_labels: Labels,
}

impl AlertmanagerSender {
    /// Makes the queues and starts to send; must be called on the runtime.
    ///
    /// # Errors
    /// A client cannot be made (a file of its TLS or authentication settings is unreadable).
    pub fn start(
        config: &AlertingConfig,
        base_dir: &Path,
        external_labels: Labels,
        metrics: &SenderMetrics,
    ) -> Result<Self, NetError> {
        let mut peers = Vec::new();
        for alertmanager in &config.alertmanagers {
            for url in alertmanager.urls() {
                peers.push(Arc::new(Peer {
                    url,
                    client: HttpClient::new(&alertmanager.http_client(), base_dir)?,
                    timeout: alertmanager.timeout().to_std(),
                    queue: Mutex::default(),
                    wake: Notify::new(),
                    metrics: metrics.clone(),
                }));
            }
        }
        let tasks = peers.iter().cloned().map(|peer| tokio::spawn(peer.run())).collect();
        Ok(Self { peers, tasks, rules: config.relabel_rules().map_err(NetError::Config)?, external_labels })
    }

    /// Is there anybody to send to?
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The URLs that alerts are posted to.
    pub fn urls(&self) -> impl Iterator<Item = &str> {
        self.peers.iter().map(|p| p.url.as_str())
    }

    /// Queues alerts. External labels are added where the alert lacks them, then alerts are relabelled.
    pub fn send(&self, alerts: &[Alert]) {
        let alerts: Vec<Alert> = alerts.iter().filter_map(|a| self.prepare(a)).collect();
        for peer in &self.peers {
            peer.enqueue(&alerts);
        }
    }

    fn prepare(&self, alert: &Alert) -> Option<Alert> {
        let mut labels = alert.labels.to_builder();
        for (name, value) in self.external_labels.iter() {
            if labels.get(name).is_none() {
                labels.set(name, value);
            }
        }
        relabel(&labels.build(), &self.rules).map(|labels| Alert { labels, ..alert.clone() })
    }
}

impl Drop for AlertmanagerSender {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Peer {
    fn enqueue(&self, alerts: &[Alert]) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        queue.extend(alerts.iter().cloned());
        let excess = queue.len().saturating_sub(QUEUE);
        if excess > 0 {
            // The oldest go: what still fires is said again soon.
            queue.drain(..excess);
            self.count(&self.metrics.dropped, excess);
            tracing::error!(alertmanager = self.url, dropped = excess, "the queue of alerts is full");
        }
        drop(queue);
        self.wake.notify_one();
    }

    fn count(&self, counter: &Family<PeerLabel, Counter>, by: usize) {
        counter.get_or_create(&PeerLabel { alertmanager: self.url.as_str().into() }).inc_by(by as u64);
    }

    async fn run(self: Arc<Self>) {
        let mut retry = FIRST_RETRY;
        loop {
            let batch: Vec<Alert> = {
                let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
                queue.iter().take(BATCH).cloned().collect()
            };
            if batch.is_empty() {
                self.wake.notified().await;
                continue;
            }
            match self.post(&batch).await {
                Ok(()) => {
                    self.count(&self.metrics.sent, batch.len());
                    retry = FIRST_RETRY;
                    self.remove(&batch);
                }
                Err((reason, recoverable)) => {
                    self.count(&self.metrics.errors, 1);
                    tracing::error!(alertmanager = self.url, reason, recoverable, "alerts were not sent");
                    if recoverable {
                        tokio::time::sleep(retry).await;
                        retry = (retry * 2).min(LAST_RETRY);
                    } else {
                        self.count(&self.metrics.dropped, batch.len());
                        self.remove(&batch);
                    }
                }
            }
        }
    }

    /// Takes what was sent off the queue; alerts that came or were dropped meanwhile stay as they are.
    fn remove(&self, sent: &[Alert]) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        for alert in sent {
            if queue.front() == Some(alert) {
                queue.pop_front();
            }
        }
    }

    async fn post(&self, alerts: &[Alert]) -> Result<(), (String, bool)> {
        let body = serde_json::to_vec(&alerts.iter().map(PostableAlert::from).collect::<Vec<_>>())
            .map_err(|e| (e.to_string(), false))?;
        let request = HttpRequest {
            method: hyper::Method::POST,
            url: self.url.clone(),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body,
        };
        let limits = Limits { timeout: self.timeout, max_body: 64 << 10 };
        let response = self.client.send(request, limits).await.map_err(|e| (e.to_string(), true))?;
        match response.status {
            200..300 => Ok(()),
            status => {
                let body = String::from_utf8_lossy(&response.body);
                let text: String = body.chars().take(200).collect();
                Err((format!("HTTP status {status}: {text}"), status == 429 || status >= 500))
            }
        }
    }
}

/// An alert in the JSON of Alertmanager's API v2.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert<'a> {
    labels: &'a Labels,
    annotations: &'a Labels,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL")]
    generator_url: &'a str,
}

impl<'a> From<&'a Alert> for PostableAlert<'a> {
    fn from(a: &'a Alert) -> Self {
        Self {
            labels: &a.labels,
            annotations: &a.annotations,
            starts_at: rfc3339(a.starts_at),
            ends_at: rfc3339(a.ends_at),
            generator_url: &a.generator_url,
        }
    }
}

fn rfc3339(t: Timestamp) -> String {
    jiff::Timestamp::from_millisecond(t).map(|t| format!("{t:.3}")).unwrap_or_default()
}
