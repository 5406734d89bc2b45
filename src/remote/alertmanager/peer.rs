//! One receiver of alerts: its queue, its requests, and how long it is left alone after a failure.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use tokio::sync::Notify;

use super::Journal;
use super::metrics::SenderMetrics;
use super::queue::{Queue, Taken};
use super::receivers::Settings;
use crate::model::{Alert, Clock, Labels, Timestamp};
use crate::net::http::{HttpRequest, Limits};
use crate::scrape::relabel::relabel;

/// Alerts in one request at the most.
const BATCH: usize = 64;
const FIRST_RETRY: Duration = Duration::from_secs(1);
const LAST_RETRY: Duration = Duration::from_secs(30);
/// The longest time that a receiver may ask for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(300);
/// Bytes of an answer that are read, and characters of it that are logged.
const ANSWER: usize = 64 << 10;
const EXCERPT: usize = 200;

pub(super) struct Peer {
    pub url: String,
    pub settings: Arc<Settings>,
    /// Outlives the peer when a reload replaces it.
    pub queue: Arc<Mutex<Queue>>,
    pub journal: Arc<Journal>,
    pub metrics: SenderMetrics,
    pub clock: Arc<dyn Clock>,
    pub news: Notify,
    /// The last request failed, and the next one waits.
    pub failing: AtomicBool,
}

/// Why a request did not do.
enum Failure {
    /// The alerts are at fault: sent again they would be refused again.
    Refused(String),
    /// Anything else, and when to try again if the receiver said so.
    Later(String, Option<Duration>),
}

pub(super) fn lock(queue: &Mutex<Queue>) -> MutexGuard<'_, Queue> {
    queue.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Peer {
    /// Queues alerts for this receiver; its own relabelling happens here.
    pub fn enqueue(&self, alerts: &[Alert]) {
        let (mut news, mut dropped) = (false, 0);
        let mut queue = lock(&self.queue);
        for alert in alerts {
            let Some(labels) = relabel(&alert.labels, &self.settings.alert_rules) else { continue };
            let pushed = queue.push(Alert { labels, ..alert.clone() });
            news |= pushed.news;
            dropped += usize::from(pushed.dropped);
        }
        let length = queue.len();
        drop(queue);
        self.metrics.queue_length(&self.url, length);
        if dropped > 0 {
            self.metrics.dropped(&self.url, "queue_full", dropped);
            tracing::error!(alertmanager = self.url, dropped, "the queue of alerts is full");
        }
        let failing = self.failing.load(Ordering::Acquire);
        // Whoever waits after a failure is woken by news only.
        if news || !failing {
            self.news.notify_one();
        }
        self.journal.changed(failing);
    }

    /// Sends what is queued, until it is aborted.
    pub async fn run(self: Arc<Self>) {
        let mut retry = FIRST_RETRY;
        let mut size = BATCH;
        loop {
            let batch = lock(&self.queue).batch(size);
            if batch.is_empty() {
                self.news.notified().await;
                continue;
            }
            match self.post(&batch).await {
                Ok(()) => {
                    self.metrics.sent(&self.url, batch.len(), self.clock.now());
                    self.failing.store(false, Ordering::Release);
                    (retry, size) = (FIRST_RETRY, (size * 2).min(BATCH));
                    self.done(&batch);
                }
                // One bad alert must not take the others with it: they are sent apart.
                Err(Failure::Refused(_)) if batch.len() > 1 => size = batch.len() / 2,
                Err(Failure::Refused(reason)) => {
                    let labels = batch.first().map(|(_, a)| format!("{:?}", a.labels)).unwrap_or_default();
                    tracing::error!(alertmanager = self.url, reason, labels, "an alert was refused");
                    self.metrics.failed(&self.url, batch.len());
                    self.metrics.dropped(&self.url, "refused", batch.len());
                    self.done(&batch);
                }
                Err(Failure::Later(reason, after)) => {
                    self.failing.store(true, Ordering::Release);
                    self.metrics.failed(&self.url, batch.len());
                    let expired = lock(&self.queue).expire(self.clock.now());
                    self.metrics.dropped(&self.url, "expired", expired);
                    self.journal.changed(true);
                    let waiting = lock(&self.queue).len();
                    tracing::error!(alertmanager = self.url, reason, waiting, "alerts were not sent");
                    self.wait(retry, after).await;
                    retry = (retry * 2).min(LAST_RETRY);
                }
            }
        }
    }

    fn done(&self, batch: &[(Taken, Alert)]) {
        let mut queue = lock(&self.queue);
        queue.done(batch.iter().map(|(taken, _)| *taken));
        let length = queue.len();
        drop(queue);
        self.metrics.queue_length(&self.url, length);
        self.journal.changed(false);
    }

    /// Waits before the next attempt: as long as the receiver asked for; else the time given or, when there is
    /// something new to say, a second, since the receiver may be there again.
    async fn wait(&self, retry: Duration, after: Option<Duration>) {
        if let Some(after) = after {
            tokio::time::sleep(after.clamp(FIRST_RETRY, LONGEST_RETRY_AFTER)).await;
            return;
        }
        // So that not all senders come back in the same moment.
        let jitter = f64::from(RandomState::new().build_hasher().finish() as u8) / 255.0;
        let whole = retry.mul_f64(0.8 + 0.4 * jitter);
        tokio::time::sleep(whole.min(FIRST_RETRY)).await;
        let rest = whole.saturating_sub(FIRST_RETRY);
        // Either is a reason to go on.
        let _ = tokio::time::timeout(rest, self.news.notified()).await;
    }

    async fn post(&self, batch: &[(Taken, Alert)]) -> Result<(), Failure> {
        let body = serde_json::to_vec(&batch.iter().map(|(_, a)| PostableAlert::from(a)).collect::<Vec<_>>())
            .map_err(|e| Failure::Refused(e.to_string()))?;
        let request = HttpRequest {
            method: hyper::Method::POST,
            url: self.url.clone(),
            headers: vec![("Content-Type".to_owned(), "application/json".to_owned())],
            body,
        };
        let limits = Limits { timeout: self.settings.timeout, max_body: ANSWER };
        let sent = self.settings.client.send(request, limits).await;
        let response = sent.map_err(|e| Failure::Later(e.to_string(), None))?;
        if (200..300).contains(&response.status) {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&response.body);
        let text: String = text.chars().filter(|c| !c.is_control()).take(EXCERPT).collect();
        let reason = format!("HTTP status {}: {text}", response.status);
        // A wrong path or a wrong password is the configuration's fault: alerts wait until it is mended.
        if matches!(response.status, 400 | 413 | 422) {
            return Err(Failure::Refused(reason));
        }
        let after = response.headers.get(hyper::header::RETRY_AFTER).and_then(|v| v.to_str().ok());
        let after = after.and_then(|v| v.trim().parse().ok()).map(Duration::from_secs);
        Err(Failure::Later(reason, after))
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
