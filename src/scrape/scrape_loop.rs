//! One target's life: wait, ask, store, say how it went.

use std::sync::{Arc, Mutex, PoisonError};

use hyper::header::CONTENT_TYPE;
use hyper::{Method, StatusCode};
use tokio::sync::watch;
use tokio::time::Instant;

use super::ingest::{Counts, Ingest, PageReader, end_series, report_labels};
use super::job::ScrapeJob;
use super::manager::Env;
use super::metrics::Limit;
use super::target::Target;
use crate::exposition::Format;
use crate::model::{MetricMetadata, MetricType, Timestamp, format_float};
use crate::net::http::{HttpClient, HttpRequest, Limits, NetError};
use crate::storage::{Appender, SeriesId, SourceId, Storage};

/// A scrape that starts so late (ms) still has the timestamp it was planned for, as in Prometheus:
/// evenly spaced timestamps compress well.
const TOLERANCE_MS: i64 = 2;

/// Why a loop ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stop {
    Run,
    /// Another loop goes on with the target, or the process ends: its series go on.
    Replaced,
    /// The target is no more: its series end.
    Gone,
}

/// How the last scrape went.
#[derive(Debug, Clone, Default)]
pub(super) struct Status {
    /// ms, 0 before the first one.
    pub last_scrape: Timestamp,
    pub seconds: f64,
    /// `None` before the first one.
    pub error: Option<Result<(), String>>,
}

/// Page buffers, shared by the loops: scrapes are spread over time, so few are in use at once.
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

/// Buffers kept for later, and the capacity beyond which a buffer is given back to the system.
const KEPT_BUFFERS: usize = 2;
const KEPT_CAPACITY: usize = 1 << 20;

impl Buffers {
    fn take(&self) -> Vec<u8> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).pop().unwrap_or_default()
    }

    fn put(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() < KEPT_BUFFERS && buffer.capacity() <= KEPT_CAPACITY {
            kept.push(buffer);
        }
    }
}

/// Everything that a loop needs.
pub(super) struct Scraper {
    pub env: Arc<Env>,
    pub job: Arc<ScrapeJob>,
    pub target: Arc<Target>,
    pub client: HttpClient,
    pub source: SourceId,
    pub status: Arc<Mutex<Status>>,
    /// Set while the whole job is at fault (too many targets).
    pub job_error: Arc<Mutex<Option<String>>>,
    reader: PageReader,
    report: Vec<SeriesId>,
}

/// The series that a scrape makes of itself; the last three with `extra_scrape_metrics`.
const REPORT: [&str; 8] = [
    "up",
    "scrape_duration_seconds",
    "scrape_samples_scraped",
    "scrape_samples_post_metric_relabeling",
    "scrape_series_added",
    "scrape_timeout_seconds",
    "scrape_sample_limit",
    "scrape_body_size_bytes",
];
const REPORT_PLAIN: usize = 5;

/// What they say, in the same order.
const REPORT_HELP: [&str; 8] = [
    "Whether the last scrape of the target succeeded",
    "How long the scrape took",
    "Samples that the target exposed",
    "Samples that remained after metric relabelling",
    "Series that were new in this scrape",
    "The timeout of the scrape",
    "The limit of samples, 0 for none",
    "Size of the last page, decompressed; -1 when it was larger than the limit",
];

/// Tells the storage what these series are.
pub(super) fn describe_report(storage: &Storage) {
    for (name, help) in REPORT.into_iter().zip(REPORT_HELP) {
        let metadata = MetricMetadata { kind: MetricType::Gauge, help: help.to_owned(), unit: String::new() };
        storage.set_metadata(name, metadata);
    }
}

impl Scraper {
    pub fn new(
        env: Arc<Env>,
        job: Arc<ScrapeJob>,
        target: Arc<Target>,
        client: HttpClient,
        source: SourceId,
        job_error: Arc<Mutex<Option<String>>>,
    ) -> Self {
        let status = Arc::default();
        Self {
            env,
            job,
            target,
            client,
            source,
            status,
            job_error,
            reader: PageReader::default(),
            report: Vec::new(),
        }
    }

    /// Scrapes at the target's moments until it is told to stop.
    pub async fn run(mut self, mut stop: watch::Receiver<Stop>) {
        let mut planned = 0;
        loop {
            let now = self.env.clock.now();
            let mut next = self.target.next_scrape(now, self.env.seed);
            if next == planned {
                // The wall clock says that the timer was early.
                next += self.target.interval.ms();
            }
            planned = next;
            let wait = std::time::Duration::from_millis((planned - now).max(0).unsigned_abs());
            tokio::select! {
                _ = stop.changed() => break,
                () = tokio::time::sleep(wait) => {}
            }
            let now = self.env.clock.now();
            let tolerance = TOLERANCE_MS.min(self.target.interval.ms() / 100);
            let t = if (0..=tolerance).contains(&(now - planned)) { planned } else { now };
            tokio::select! {
                _ = stop.changed() => break,
                () = self.scrape(t) => {}
            }
        }
        if *stop.borrow() == Stop::Gone {
            self.end(self.env.clock.now());
        }
    }

    /// One scrape with the timestamp `t`, whatever comes of it.
    pub async fn scrape(&mut self, t: Timestamp) {
        let started = Instant::now();
        let mut body = self.env.buffers.take();
        let job_error = self.job_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let fetched = match job_error {
            Some(error) => Err(error),
            None => self.fetch(&mut body).await,
        };
        let size = body.len();
        let (storage, source) = (self.env.storage.clone(), self.source);
        let mut appender = storage.appender(source);
        let mut counts = Counts::default();
        let result = fetched.and_then(|format| {
            let ingest = Ingest {
                job: &self.job,
                target_labels: &self.target.labels,
                storage: &storage,
                metrics: &self.env.metrics,
                t,
            };
            let (read, result) = self.reader.read(&ingest, &body, format, &mut appender);
            counts = read;
            result
        });
        self.env.buffers.put(body);
        if result.is_err() {
            // Nothing of a page that is wrong somewhere is kept.
            drop(appender);
            appender = storage.appender(source);
            self.reader.failed(&mut appender, t);
        }
        let seconds = started.elapsed().as_secs_f64();
        self.report(&mut appender, t, seconds, counts, size, result.is_ok());
        appender.commit(t);
        if let Err(error) = &result {
            tracing::debug!(job = self.job.name, url = self.target.url, error, "scrape failed");
        }
        let mut status = self.status.lock().unwrap_or_else(PoisonError::into_inner);
        *status = Status { last_scrape: t, seconds, error: Some(result) };
    }

    /// Asks the target and reads its answer into `body`.
    async fn fetch(&self, body: &mut Vec<u8>) -> Result<Format, String> {
        let header = |name: &str, value: String| (name.to_owned(), value);
        let timeout = self.target.timeout;
        let encoding = if self.job.compression { "gzip" } else { "identity" };
        let request = HttpRequest {
            method: Method::GET,
            url: self.target.url.clone(),
            headers: vec![
                header("Accept", self.job.accept.clone()),
                header("Accept-Encoding", encoding.to_owned()),
                header("X-Prometheus-Scrape-Timeout-Seconds", format_float(timeout.as_secs_f64())),
                header("X-Sideband-Instance", self.env.instance_id.clone()),
            ],
            body: Vec::new(),
        };
        let limits = Limits { timeout: timeout.to_std(), max_body: self.job.body_size_limit };
        let failed = |e: NetError| match e {
            NetError::Timeout(_) => format!("Get \"{}\": context deadline exceeded", self.target.url),
            NetError::TooLarge(limit) => {
                self.env.metrics.limits_exceeded.get_or_create(&Limit { limit: "body_size" }).inc();
                format!("body size limit exceeded ({limit} bytes)")
            }
            other => format!("Get \"{}\": {other}", self.target.url),
        };
        let mut exchange = self.client.start(request, limits).await.map_err(failed)?;
        if exchange.status != 200 {
            let reason = StatusCode::from_u16(exchange.status).ok().and_then(|s| s.canonical_reason());
            let reason = reason.unwrap_or_default();
            return Err(format!("server returned HTTP status {} {reason}", exchange.status));
        }
        let content_type = exchange.headers.get(CONTENT_TYPE).map_or(&b""[..], |v| v.as_bytes());
        let format = format_of(&String::from_utf8_lossy(content_type), self.job.fallback)?;
        while exchange.read(body).await.map_err(failed)? {}
        Ok(format)
    }

    fn report(
        &mut self,
        appender: &mut Appender<'_>,
        t: Timestamp,
        seconds: f64,
        counts: Counts,
        size: usize,
        good: bool,
    ) {
        let values = [
            f64::from(u8::from(good)),
            seconds,
            counts.scraped as f64,
            counts.kept as f64,
            counts.series_added as f64,
            self.target.timeout.as_secs_f64(),
            self.job.sample_limit as f64,
            size as f64,
        ];
        for attempt in 0..2 {
            if self.report.is_empty() {
                let count = if self.job.extra_scrape_metrics { REPORT.len() } else { REPORT_PLAIN };
                let series = REPORT[..count]
                    .iter()
                    .map(|name| appender.series(&report_labels(name, &self.target.labels)));
                self.report = series.collect::<Result<_, _>>().unwrap_or_default();
            }
            let mut lost = false;
            for (id, value) in self.report.iter().zip(values) {
                lost |=
                    matches!(appender.append(*id, t, value), Err(crate::storage::AppendError::UnknownSeries));
            }
            if !lost || attempt == 1 {
                return;
            }
            // The storage let go of series that had no samples for long.
            self.report.clear();
        }
    }

    /// The target is gone: all of its series end now.
    fn end(&mut self, t: Timestamp) {
        let storage = self.env.storage.clone();
        let mut appender = storage.appender(self.source);
        self.reader.failed(&mut appender, t);
        for id in &self.report {
            end_series(&mut appender, *id, t);
        }
        appender.commit(t);
    }
}

/// The format that a Content-Type names.
fn format_of(content_type: &str, fallback: Option<Format>) -> Result<Format, String> {
    let media = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match (media.as_str(), fallback) {
        ("application/openmetrics-text", _) => Ok(Format::OpenMetrics),
        ("text/plain", _) => Ok(Format::Text),
        (_, Some(fallback)) => Ok(fallback),
        ("", None) => Err("non-compliant scrape target sending blank Content-Type and no \
                           fallback_scrape_protocol specified for target"
            .into()),
        (_, None) => Err(format!(
            "received unsupported Content-Type {content_type:?} and no fallback_scrape_protocol specified \
             for target"
        )),
    }
}
