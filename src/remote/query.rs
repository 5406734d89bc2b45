//! Range queries to a Prometheus-compatible server: history for baselines and backtests.
//!
//! A long range is asked for in pieces, each within Prometheus's 11,000 points a series; a piece whose answer is too
//! large is halved. Series, samples and bytes are bounded.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

use crate::model::{Labels, Sample, Timestamp, parse_float, percent_encode};
use crate::net::http::{HttpClient, HttpClientConfig, HttpRequest, HttpResponse, Limits, NetError};

/// Points a series in one request; Prometheus refuses more than 11,000 steps.
pub const MAX_POINTS: i64 = 11_000;
/// A piece is not halved below so many points.
const FEWEST_POINTS: i64 = 16;
/// Characters of an answer that is no JSON that an error shows.
const SHOWN: usize = 200;

/// How much one [`RemoteQuery::range`] may take.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct QueryLimits {
    /// For one request.
    pub timeout: Duration,
    /// Bytes of one answer, decompressed.
    pub max_body: usize,
    /// Series in all answers together.
    pub max_series: usize,
    /// Samples in all answers together; one takes 16 bytes.
    pub max_samples: usize,
}

impl Default for QueryLimits {
    /// Two minutes and 32 MiB a request, 10,000 series, 20 million samples.
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(120),
            max_body: 32 << 20,
            max_series: 10_000,
            max_samples: 20_000_000,
        }
    }
}

/// Why a range could not be had.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum QueryError {
    /// The server could not be asked, or did not answer in full.
    #[error("{url}: {source}")]
    Net { url: String, source: NetError },
    /// The server refused: its words.
    #[error("{url} refused the query: {kind}: {message} (status {status})")]
    Refused { url: String, status: u16, kind: String, message: String },
    /// Something answered that is no Prometheus API.
    #[error("{url} answered status {status} and no JSON of the Prometheus API: {text:?}")]
    NotTheApi { url: String, status: u16, text: String },
    #[error("more than {0} series in the answers")]
    TooManySeries(usize),
    #[error("more than {0} samples in the answers")]
    TooManySamples(usize),
    #[error("the range is empty or the step is not positive")]
    EmptyRange,
}

/// A series and its samples, oldest first.
pub type RangeSeries = (Labels, Vec<Sample>);

/// Asks one server. Clones share its connections.
#[derive(Debug, Clone)]
pub struct RemoteQuery {
    url: String,
    client: HttpClient,
    limits: QueryLimits,
}

impl RemoteQuery {
    /// `base_url` is that of the server (`http://prometheus:9090`, with its path prefix if it has one); files of the
    /// client's configuration are relative to the working directory.
    ///
    /// # Errors
    /// The client's configuration is no good.
    pub fn new(base_url: &str, config: &HttpClientConfig) -> Result<Self, QueryError> {
        Self::in_dir(base_url, config, Path::new("."))
    }

    /// The same, with files relative to `base_dir`.
    ///
    /// # Errors
    /// As [`RemoteQuery::new`].
    pub fn in_dir(base_url: &str, config: &HttpClientConfig, base_dir: &Path) -> Result<Self, QueryError> {
        let url = format!("{}/api/v1/query_range", base_url.trim_end_matches('/'));
        match HttpClient::new(config, base_dir) {
            Ok(client) => Ok(Self { url, client, limits: QueryLimits::default() }),
            Err(source) => Err(QueryError::Net { url: shown(&url), source }),
        }
    }

    /// With other limits than the default ones.
    #[must_use]
    pub fn with_limits(self, limits: QueryLimits) -> Self {
        Self { limits, ..self }
    }

    /// The values of `expr` at `start`, `start + step`, … up to `end` (all ms). Series come in the order in which the
    /// server named them first, each with its samples oldest first; native histograms are left out.
    ///
    /// # Errors
    /// See [`QueryError`]. Nothing is given when a piece is missing.
    pub async fn range(
        &self,
        expr: &str,
        start: Timestamp,
        end: Timestamp,
        step: i64,
    ) -> Result<Vec<RangeSeries>, QueryError> {
        if step <= 0 || end < start {
            return Err(QueryError::EmptyRange);
        }
        let mut all = Gathered::default();
        let mut points = MAX_POINTS;
        let mut from = start;
        while from <= end {
            let to = from.saturating_add(step.saturating_mul(points - 1)).min(end);
            match self.piece(expr, from, to, step).await {
                Ok(series) => {
                    all.add(series, self.limits)?;
                    from = to.saturating_add(step);
                }
                Err(e) if too_large(&e) && points / 2 >= FEWEST_POINTS => points /= 2,
                Err(e) => return Err(e),
            }
        }
        Ok(all.series)
    }

    async fn piece(
        &self,
        expr: &str,
        start: Timestamp,
        end: Timestamp,
        step: i64,
    ) -> Result<Vec<Matrix>, QueryError> {
        let form = format!(
            "query={}&start={}&end={}&step={}",
            percent_encode(expr),
            seconds(start),
            seconds(end),
            seconds(step)
        );
        let mut response = self.post(&form).await?;
        if matches!(response.status, 405 | 501) {
            // A proxy that lets reads through only.
            response =
                self.send(HttpRequest { url: format!("{}?{form}", self.url), ..accepting_gzip() }).await?;
        }
        // Megabytes of JSON: not on the thread that everything waits on.
        let body = std::mem::take(&mut response.body);
        let parse = move || (serde_json::from_slice::<Answer>(&body).ok(), body);
        let (answer, body) = tokio::task::spawn_blocking(parse).await.unwrap_or_default();
        let answer: Answer = match answer {
            Some(answer) => answer,
            None => {
                let text = String::from_utf8_lossy(&body);
                return Err(QueryError::NotTheApi {
                    url: shown(&self.url),
                    status: response.status,
                    text: text.chars().take(SHOWN).collect(),
                });
            }
        };
        match answer.data {
            Some(data) if answer.status == "success" && data.result_type == "matrix" => Ok(data.result),
            _ => Err(QueryError::Refused {
                url: shown(&self.url),
                status: response.status,
                kind: answer.error_type.unwrap_or_else(|| "error".to_owned()),
                message: answer.error.unwrap_or_else(|| "the server gave no reason".to_owned()),
            }),
        }
    }

    async fn post(&self, form: &str) -> Result<HttpResponse, QueryError> {
        let mut request = accepting_gzip();
        request.method = hyper::Method::POST;
        request.url.clone_from(&self.url);
        request.headers.push(("Content-Type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        request.body = form.as_bytes().to_vec();
        self.send(request).await
    }

    async fn send(&self, request: HttpRequest) -> Result<HttpResponse, QueryError> {
        let limits = Limits { timeout: self.limits.timeout, max_body: self.limits.max_body };
        let sent = self.client.send(request, limits).await;
        sent.map_err(|source| QueryError::Net { url: shown(&self.url), source })
    }
}

fn accepting_gzip() -> HttpRequest {
    let headers = vec![("Accept-Encoding".to_owned(), "gzip".to_owned())];
    HttpRequest { headers, ..HttpRequest::default() }
}

/// The answer would fit if less was asked for.
fn too_large(e: &QueryError) -> bool {
    match e {
        QueryError::Net { source: NetError::TooLarge(_), .. } => true,
        QueryError::Refused { message, .. } => message.contains("too many samples"),
        _ => false,
    }
}

/// A URL without user and password, for errors.
fn shown(url: &str) -> String {
    match (url.find("://"), url.rfind('@')) {
        (Some(scheme), Some(at)) if scheme < at => format!("{}{}", &url[..scheme + 3], &url[at + 1..]),
        _ => url.to_owned(),
    }
}

/// ms as seconds, to the millisecond.
fn seconds(ms: i64) -> String {
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    format!("{sign}{}.{:03}", ms / 1000, ms % 1000)
}

/// The pieces joined.
#[derive(Default)]
struct Gathered {
    series: Vec<RangeSeries>,
    places: HashMap<Labels, usize>,
    samples: usize,
}

impl Gathered {
    fn add(&mut self, piece: Vec<Matrix>, limits: QueryLimits) -> Result<(), QueryError> {
        for matrix in piece.into_iter().filter(|m| !m.values.is_empty()) {
            self.samples += matrix.values.len();
            if self.samples > limits.max_samples {
                return Err(QueryError::TooManySamples(limits.max_samples));
            }
            let labels = Labels::from_pairs(&matrix.metric);
            let next = self.series.len();
            let place = *self.places.entry(labels.clone()).or_insert(next);
            if place == next {
                if next >= limits.max_series {
                    return Err(QueryError::TooManySeries(limits.max_series));
                }
                self.series.push((labels, Vec::with_capacity(matrix.values.len())));
            }
            if let Some((_, samples)) = self.series.get_mut(place) {
                for Point(t, v) in matrix.values {
                    // A server that aligns pieces by its own rules may repeat their ends.
                    if samples.last().is_none_or(|last| last.t < t) {
                        samples.push(Sample { t, v });
                    }
                }
            }
        }
        Ok(())
    }
}

#[derive(Deserialize)]
struct Answer {
    status: String,
    data: Option<Data>,
    error: Option<String>,
    #[serde(rename = "errorType")]
    error_type: Option<String>,
}

#[derive(Deserialize)]
struct Data {
    #[serde(rename = "resultType")]
    result_type: String,
    // A range query gives nothing but a matrix: anything else fails to be read, and so is no such API.
    result: Vec<Matrix>,
}

#[derive(Deserialize)]
struct Matrix {
    metric: BTreeMap<String, String>,
    #[serde(default)]
    values: Vec<Point>,
}

/// A sample as the API writes it: `[seconds, "value"]`.
struct Point(Timestamp, f64);

impl<'de> Deserialize<'de> for Point {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let (t, v) = <(f64, Number)>::deserialize(d)?;
        // Seconds with three digits: exact in ms far beyond any calendar.
        Ok(Self((t * 1000.0).round() as i64, v.0))
    }
}

/// A float in quotes, read where it stands.
struct Number(f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct Text;
        impl Visitor<'_> for Text {
            type Value = Number;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a number in quotes")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Number, E> {
                parse_float(text).map(Number).ok_or_else(|| E::custom(format!("{text:?} is no number")))
            }
        }
        d.deserialize_str(Text)
    }
}
