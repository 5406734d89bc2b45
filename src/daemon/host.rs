//! The host as one more target: collected at its interval, appended as one batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::task::JoinHandle;

use crate::host::{Host, HostConfig, HostError, Sink};
use crate::model::{Clock, Labels, METRIC_NAME, MetricMetadata, Timestamp, stale_nan};
use crate::storage::{AppendError, Appender, SourceId, Storage};

/// Collects until it is dropped.
pub struct HostTask(JoinHandle<()>);

impl Drop for HostTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl HostTask {
    /// Starts to collect every `interval` (on whole multiples of it since the epoch); must be called on
    /// the runtime.
    ///
    /// # Errors
    /// The section says what cannot be.
    pub fn start(
        config: &HostConfig,
        interval: crate::model::Duration,
        storage: Storage,
        source: SourceId,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, HostError> {
        let mut collector =
            Collector { host: Host::new(config)?, own: OwnSeries::new(config), storage, source };
        let interval = interval.ms().max(1);
        Ok(Self(tokio::spawn(async move {
            loop {
                let now = clock.now();
                // Reading /proc takes a while: not on the thread that everything waits on.
                let round = tokio::task::spawn_blocking(move || {
                    collector.collect(now);
                    collector
                });
                collector = match round.await {
                    Ok(collector) => collector,
                    Err(error) => return tracing::error!(%error, "the host collectors ended"),
                };
                tokio::time::sleep(until_next(clock.now(), interval)).await;
            }
        })))
    }
}

/// How long until the next whole multiple of the interval (ms).
fn until_next(now: Timestamp, interval: i64) -> Duration {
    Duration::from_millis((interval - now.rem_euclid(interval)).unsigned_abs())
}

/// The series that every target has, for the host too: `up == 0` and the like need no exception.
struct OwnSeries {
    up: Labels,
    duration: Labels,
    samples: Labels,
}

impl OwnSeries {
    fn new(config: &HostConfig) -> Self {
        let instance = config.instance.clone();
        let node = rustix::system::uname().nodename().to_string_lossy().into_owned();
        let labels = |name: &str| {
            let mut pairs = vec![(METRIC_NAME, name), ("job", &config.job)];
            let instance = instance.as_deref().unwrap_or(&node);
            pairs.push(("instance", instance));
            pairs.extend(config.labels.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            Labels::from_pairs(pairs)
        };
        Self {
            up: labels("up"),
            duration: labels("scrape_duration_seconds"),
            samples: labels("scrape_samples_scraped"),
        }
    }
}

struct Collector {
    host: Host,
    own: OwnSeries,
    storage: Storage,
    source: SourceId,
}

impl Collector {
    fn collect(&mut self, now: Timestamp) {
        let started = Instant::now();
        let mut batch = Batch {
            appender: self.storage.appender(self.source),
            storage: &self.storage,
            now,
            count: 0,
            error: None,
        };
        self.host.collect(now, &mut batch);
        let count = batch.count;
        batch.sample(&self.own.up, 1.0);
        batch.sample(&self.own.duration, started.elapsed().as_secs_f64());
        batch.sample(&self.own.samples, count as f64);
        if let Some(error) = batch.error {
            tracing::warn!(%error, "host samples were not stored");
        }
        batch.appender.commit(now);
    }
}

struct Batch<'a> {
    appender: Appender<'a>,
    storage: &'a Storage,
    now: Timestamp,
    count: usize,
    error: Option<AppendError>,
}

impl Batch<'_> {
    fn append(&mut self, labels: &Labels, value: f64) {
        let result = self.appender.series(labels).and_then(|id| self.appender.append(id, self.now, value));
        if let Err(error) = result {
            self.error = Some(error);
        }
    }
}

impl Sink for Batch<'_> {
    fn family(&mut self, name: &str, metadata: MetricMetadata) {
        self.storage.set_metadata(name, metadata);
    }

    fn sample(&mut self, labels: &Labels, value: f64) {
        self.count += 1;
        self.append(labels, value);
    }

    fn gone(&mut self, labels: &Labels) {
        self.append(labels, stale_nan());
    }
}
