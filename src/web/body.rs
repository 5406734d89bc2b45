//! The bodies of requests: bounded in size, in time, and in how much memory the large ones hold together.

use bytes::Bytes;
use http_body_util::{BodyExt as _, Limited};
use hyper::body::{Body as _, Incoming};
use hyper::http::request::Parts as Head;
use hyper::{Method, StatusCode, header};
use tokio::sync::SemaphorePermit;

use super::respond::{Answer, text};
use super::state::{SMALL_BODY, State};
use super::{callbacks, guard};

const FORM: &str = "application/x-www-form-urlencoded";

/// What was read of a body: nothing unless it is a POST or PUT.
pub(super) struct Body<'a> {
    pub bytes: Bytes,
    /// The share that a large one has of the memory for large ones, while this lives.
    _share: Option<SemaphorePermit<'a>>,
}

impl<'a> Body<'a> {
    /// Reads it.
    ///
    /// # Errors
    /// The answer that refuses it: too large, too slow, cut off, or too many others send large ones.
    pub async fn read(state: &'a State, path: &str, head: &Head, incoming: Incoming) -> Result<Self, Answer> {
        if head.method != Method::POST && head.method != Method::PUT {
            return Ok(Self { bytes: Bytes::new(), _share: None });
        }
        let most = largest(state, path, head);
        if incoming.size_hint().lower() > most as u64 {
            return Err(too_large());
        }
        let patience = state.options.body_timeout;
        let size = incoming.size_hint().upper().unwrap_or(most as u64);
        let mut share = None;
        if size > SMALL_BODY {
            let units = u32::try_from(size.div_ceil(SMALL_BODY)).unwrap_or(u32::MAX);
            let Ok(Ok(permit)) = tokio::time::timeout(patience, state.large_bodies.acquire_many(units)).await
            else {
                let busy = "others send large bodies: try again\n";
                return Err(text(StatusCode::SERVICE_UNAVAILABLE, busy));
            };
            share = Some(permit);
        }
        match tokio::time::timeout(patience, Limited::new(incoming, most).collect()).await {
            Ok(Ok(collected)) => Ok(Self { bytes: collected.to_bytes(), _share: share }),
            Ok(Err(e)) if e.is::<http_body_util::LengthLimitError>() => Err(too_large()),
            Ok(Err(_)) => Err(text(StatusCode::BAD_REQUEST, "request body was cut off\n")),
            Err(_) => Err(text(StatusCode::REQUEST_TIMEOUT, "request body took too long\n")),
        }
    }

    /// Are there parameters in it?
    pub fn is_form(&self, head: &Head) -> bool {
        let given = head.headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
        given.get(..FORM.len()).is_some_and(|start| start.eq_ignore_ascii_case(FORM))
    }
}

/// Bytes. Who has proved nothing yet is not listened to for long; the long lists are for those whose alerts would be
/// taken.
fn largest(state: &State, path: &str, head: &Head) -> usize {
    let usual = state.options.max_body_bytes;
    match path {
        path if callbacks::is_one(path) => callbacks::MAX_BODY.min(usual),
        "/api/v2/alerts" if guard::check(state.posture(), &head.headers).is_ok() => {
            usual.max(state.options.max_alerts_bytes)
        }
        _ => usual,
    }
}

fn too_large() -> Answer {
    text(StatusCode::PAYLOAD_TOO_LARGE, "request body too large\n")
}
