//! Answers: bodies, Prometheus's JSON envelopes and errors, compression.

use std::fmt;
use std::io::Write;

use bytes::Bytes;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::json;

/// What every route returns.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Answer {
    /// With one more header; a value that is none is left out.
    #[must_use]
    pub fn with(mut self, name: HeaderName, value: &str) -> Self {
        if let Ok(value) = HeaderValue::try_from(value) {
            self.headers.insert(name, value);
        }
        self
    }

    /// Compressed, if the client takes it and it is worth it. Costs about 5 ms a megabyte.
    #[must_use]
    pub fn compressed(mut self, accepted: bool) -> Self {
        if self.body.len() < MIN_COMPRESSED || self.headers.contains_key(header::CONTENT_ENCODING) {
            return self;
        }
        self.headers.insert(header::VARY, HeaderValue::from_static("Accept-Encoding"));
        if accepted && let Ok(small) = gzip(&self.body) {
            self.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            self.body = small.into();
        }
        self
    }
}

/// Smaller bodies are not worth compressing.
const MIN_COMPRESSED: usize = 1024;

/// The kinds of errors that API clients know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    BadData,
    Execution,
    Timeout,
    Internal,
    NotFound,
    Conflict,
    Forbidden,
}

impl ErrorKind {
    /// The word in the JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::BadData => "bad_data",
            Self::Execution => "execution",
            Self::Timeout => "timeout",
            Self::Internal => "internal",
            Self::NotFound => "not_found",
            Self::Conflict => "conflict",
            Self::Forbidden => "forbidden",
        }
    }

    /// The status that goes with it.
    pub fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Timeout => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Conflict => StatusCode::CONFLICT,
            Self::Forbidden => StatusCode::FORBIDDEN,
        }
    }
}

/// An error of an API route.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub kind: ErrorKind,
    pub message: String,
}

impl ApiError {
    pub fn new(kind: ErrorKind, message: impl fmt::Display) -> Self {
        Self { kind, message: message.to_string() }
    }

    /// A parameter that makes no sense.
    pub fn invalid(parameter: &str, reason: impl fmt::Display) -> Self {
        Self::new(ErrorKind::BadData, format_args!("invalid parameter {parameter:?}: {reason}"))
    }

    /// The answer that says so.
    pub fn answer(&self) -> Answer {
        let mut body = br#"{"status":"error","errorType":""#.to_vec();
        body.extend_from_slice(self.kind.as_str().as_bytes());
        body.extend_from_slice(br#"","error":"#);
        json::push_str(&mut body, &self.message);
        body.extend_from_slice(b"}");
        json_body(self.kind.status(), body)
    }
}

/// The data of a good answer, with what was odd about it.
#[derive(Debug, Default)]
pub struct Success {
    /// JSON.
    pub data: Vec<u8>,
    pub warnings: Vec<String>,
    pub infos: Vec<String>,
}

impl Success {
    /// Data that is written already.
    pub fn json(data: Vec<u8>) -> Self {
        Self { data, ..Self::default() }
    }

    /// Data that serde can write.
    ///
    /// # Errors
    /// It cannot after all (a map whose keys are no strings).
    pub fn of(data: &impl serde::Serialize) -> Result<Self, ApiError> {
        serde_json::to_vec(data).map(Self::json).map_err(|e| ApiError::new(ErrorKind::Internal, e))
    }

    /// The answer.
    pub fn answer(self) -> Answer {
        let mut body = Vec::with_capacity(self.data.len() + 64);
        body.extend_from_slice(br#"{"status":"success","data":"#);
        body.extend_from_slice(&self.data);
        for (key, texts) in [("warnings", &self.warnings), ("infos", &self.infos)] {
            if !texts.is_empty() {
                body.push(b',');
                json::push_str(&mut body, key);
                body.push(b':');
                push_strings(&mut body, texts.iter().map(String::as_str));
            }
        }
        body.push(b'}');
        json_body(StatusCode::OK, body)
    }
}

/// Appends `["a","b"]`.
pub fn push_strings<'a>(out: &mut Vec<u8>, texts: impl Iterator<Item = &'a str>) {
    out.push(b'[');
    for (i, text) in texts.enumerate() {
        if i > 0 {
            out.push(b',');
        }
        json::push_str(out, text);
    }
    out.push(b']');
}

/// Any body of any type.
pub fn body(status: StatusCode, content_type: &'static str, body: impl Into<Bytes>) -> Answer {
    let mut headers = HeaderMap::with_capacity(8);
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    Answer { status, headers, body: body.into() }
}

/// JSON.
pub fn json_body(status: StatusCode, bytes: Vec<u8>) -> Answer {
    body(status, "application/json", bytes)
}

/// Plain text.
pub fn text(status: StatusCode, text: impl fmt::Display) -> Answer {
    body(status, "text/plain; charset=utf-8", text.to_string())
}

/// An HTML page.
pub fn html(status: StatusCode, page: String) -> Answer {
    body(status, "text/html; charset=utf-8", page)
}

/// To another page, asked for by GET.
pub fn see_other(location: &str) -> Answer {
    text(StatusCode::SEE_OTHER, "").with(header::LOCATION, location)
}

/// 405, and what would do.
pub fn method_not_allowed(allow: &'static str) -> Answer {
    text(StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n").with(header::ALLOW, allow)
}

/// Nothing here.
pub fn not_found() -> Answer {
    text(StatusCode::NOT_FOUND, "404 page not found\n")
}

/// May the answer be compressed?
pub fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers
        .get_all(header::ACCEPT_ENCODING)
        .iter()
        .filter_map(|v| v.to_str().ok())
        .flat_map(|v| v.split(','))
        .any(|part| {
            let mut words = part.split(';').map(str::trim);
            let coding = words.next().unwrap_or_default();
            let refused = words
                .filter_map(|w| w.strip_prefix("q="))
                .any(|q| q.trim().parse::<f32>().is_ok_and(|q| q <= 0.0));
            (coding.eq_ignore_ascii_case("gzip") || coding == "*") && !refused
        })
}

/// Compressed at the cheapest level: a scrape every few seconds must not cost more than the samples in it.
pub fn gzip(data: &[u8]) -> std::io::Result<Vec<u8>> {
    let out = Vec::with_capacity(data.len() / 6 + 64);
    let mut encoder = flate2::write::GzEncoder::new(out, flate2::Compression::fast());
    encoder.write_all(data)?;
    encoder.finish()
}
