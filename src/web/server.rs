//! From a request to an answer: authentication, the table of routes, what every answer has in common.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts as Head;
use hyper::{Method, Request, Response, StatusCode};

use super::body::Body;
use super::exposed::{self, MetricsPage, negotiate};
use super::metrics::{CodeLabel, RequestLabels};
use super::params::Params;
use super::respond::{Answer, accepts_gzip, body, method_not_allowed, not_found, text};
use super::state::{Options, Parts, State};
use super::{ack, api, api_v2, callbacks, guard, judge, pages};
use crate::model::percent_decode;
use crate::net::auth::Verdict;
use crate::net::listener::{Handler, Peer};

/// Bodies up to this size are compressed right away, larger ones off the event loop.
const COMPRESS_INLINE: usize = 32 * 1024;

/// Characters that are kept of what a proxy says.
const MAX_FORWARDED: usize = 100;

/// The web room as the listener's handler.
pub struct Web {
    state: Arc<State>,
}

/// A request whose body was read.
pub(super) struct Asked {
    pub head: Head,
    /// The path after the prefix.
    pub path: String,
    /// Of the query string and a form.
    pub params: Params,
    pub body: Bytes,
    /// Who authenticated, if anybody had to.
    pub user: Option<String>,
    /// Where the connection comes from.
    pub peer: SocketAddr,
}

impl Asked {
    pub fn method(&self) -> &Method {
        &self.head.method
    }

    pub fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    pub fn reads(&self) -> bool {
        matches!(self.head.method, Method::GET | Method::HEAD)
    }

    /// Where it comes from, for a history: the address of the connection, and whom a proxy says that it speaks for.
    pub fn origin(&self) -> String {
        let address = self.peer.ip().to_canonical().to_string();
        let named =
            self.head.headers.get("x-forwarded-for").and_then(|v| v.to_str().ok()).unwrap_or_default();
        let named: String = named
            .chars()
            .filter(|c| c.is_ascii_hexdigit() || matches!(c, '.' | ':' | ',' | ' '))
            .take(MAX_FORWARDED)
            .collect();
        match named.trim() {
            "" => address,
            named => format!("{address}, for {named}"),
        }
    }
}

impl Web {
    /// The room over its parts.
    pub fn new(parts: Parts, options: Options) -> Self {
        Self { state: Arc::new(State::new(parts, options)) }
    }

    /// Labels for every series that is exposed to others; in force from the next request on.
    pub fn set_external_labels(&self, labels: Vec<(String, String)>) {
        self.state.set_external_labels(labels);
    }

    async fn answer(&self, request: Request<Incoming>, peer: SocketAddr) -> (&'static str, Answer) {
        let state = &self.state;
        let (head, incoming) = request.into_parts();
        let path = head.uri.path();
        let Some(path) = path.strip_prefix(state.options.route_prefix.as_str()).map(str::to_owned) else {
            return ("other", not_found());
        };
        let mut user = None;
        if !open_to_all(&path) {
            match state.parts.security.check(head.headers.get(header::AUTHORIZATION)).await {
                Verdict::Open => {}
                Verdict::User(name) => user = Some(name),
                Verdict::Refused => {
                    let answer = text(StatusCode::UNAUTHORIZED, "Unauthorized\n");
                    return ("unauthorized", answer.with(header::WWW_AUTHENTICATE, "Basic"));
                }
            }
        }
        let body = match Body::read(state, &path, &head, incoming).await {
            Ok(body) => body,
            Err(refusal) => return ("other", refusal),
        };
        let mut params = if body.is_form(&head) { Params::parse(&body.bytes) } else { Params::default() };
        params.extend(Params::parse(head.uri.query().unwrap_or_default().as_bytes()));
        let asked = Asked { path, params, body: body.bytes.clone(), user, peer, head };
        // The body holds its share of the memory for large ones until it is answered.
        let answer = route(state, asked).await;
        drop(body);
        answer
    }
}

impl Handler for Web {
    async fn handle(self: Arc<Self>, request: Request<Incoming>, peer: Peer) -> Response<Full<Bytes>> {
        let gzip = accepts_gzip(request.headers());
        let head_only = request.method() == Method::HEAD;
        let (handler, mut answer) = self.answer(request, peer.addr).await;
        if answer.status.is_server_error() {
            tracing::warn!(handler, status = answer.status.as_u16(), peer = %peer.addr, "request failed");
        }
        let labels = RequestLabels { handler, code: answer.status.as_u16() };
        self.state.parts.metrics.requests.get_or_create(&labels).inc();
        answer = match answer.body.len() {
            0..COMPRESS_INLINE => answer.compressed(gzip),
            _ => {
                let kept = answer.clone();
                tokio::task::spawn_blocking(move || answer.compressed(gzip)).await.unwrap_or(kept)
            }
        };
        finish(&self.state, answer, head_only)
    }
}

/// Whether a path answers without authentication. A signed link is its own proof, and whoever is woken at night
/// has no password at hand; the style sheet of its page tells nothing. A kubelet or systemd that probes has no
/// password either, and learns nothing but that this runs. A callback is signed.
fn open_to_all(path: &str) -> bool {
    ["/ack/", "/judge/"].iter().any(|link| path.starts_with(link))
        || callbacks::is_one(path)
        || matches!(path, "/style.css" | "/-/healthy" | "/-/ready")
}

fn finish(state: &State, answer: Answer, head_only: bool) -> Response<Full<Bytes>> {
    let length = answer.body.len();
    let mut response = Response::new(Full::new(if head_only { Bytes::new() } else { answer.body }));
    *response.status_mut() = answer.status;
    *response.headers_mut() = answer.headers;
    let headers = response.headers_mut();
    if head_only {
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(length));
    }
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    for (name, value) in state.parts.security.headers() {
        headers.insert(name, value);
    }
    response
}

/// The table of routes; with the answer goes the route's name, for counting.
async fn route(state: &Arc<State>, asked: Asked) -> (&'static str, Answer) {
    let path = asked.path.clone();
    let segments: Vec<&str> = path.trim_start_matches('/').split('/').collect();
    match segments.as_slice() {
        ["metrics"] if asked.reads() => ("/metrics", metrics(state, &asked).await),
        ["federate"] if asked.reads() => ("/federate", federate(state, asked).await),
        ["-", "healthy"] if asked.reads() => ("/-/healthy", text(StatusCode::OK, "sideband is healthy.\n")),
        ["-", "ready"] if asked.reads() => ("/-/ready", ready(state)),
        ["-", action @ ("reload" | "quit")] => ("/-/lifecycle", lifecycle(state, &asked, action).await),
        _ if callbacks::is_one(&path) => ("/api/v1/callbacks", callbacks::answer(state, &asked).await),
        ["api", "v1", rest @ ..] => {
            let rest: Vec<String> = rest.iter().map(|s| percent_decode(s.as_bytes())).collect();
            api::route(state, asked, rest).await
        }
        ["api", "v2", rest @ ..] => {
            let rest: Vec<String> = rest.iter().map(|s| percent_decode(s.as_bytes())).collect();
            let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
            api_v2::route(state, &asked, &rest).await
        }
        ["ack", token] => ("/ack", ack::answer(state, &asked, percent_decode(token.as_bytes())).await),
        ["judge", token] => ("/judge", judge::answer(state, &asked, percent_decode(token.as_bytes())).await),
        ["metrics" | "federate"] | ["-", "healthy" | "ready"] => ("other", method_not_allowed("GET, HEAD")),
        _ => pages::route(state, &asked).await,
    }
}

async fn metrics(state: &Arc<State>, asked: &Asked) -> Answer {
    let counters = state.parts.metrics.clone();
    counters.scrapes_in_flight.inc();
    let negotiated = negotiate(asked.headers());
    let gzip = accepts_gzip(asked.headers());
    let instance = asked.headers().get("x-sideband-instance").map(HeaderValue::as_bytes);
    let own_only = instance.is_some_and(|i| !i.is_empty() && i == state.options.instance_id.as_bytes());
    let state = Arc::clone(state);
    let rendered = tokio::task::spawn_blocking(move || {
        let parts = &state.parts;
        let page = match own_only {
            true => MetricsPage::render_own(&parts.registry, negotiated),
            false => state.page.render(
                &parts.storage,
                &parts.registry,
                &state.external_labels(),
                negotiated,
                state.now(),
                state.options.lookback_ms,
            ),
        };
        body(StatusCode::OK, "", page).with(header::CONTENT_TYPE, &negotiated.content_type()).compressed(gzip)
    })
    .await;
    counters.scrapes_in_flight.dec();
    let answer =
        rendered.unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n"));
    counters.scrapes.get_or_create(&CodeLabel { code: answer.status.as_u16() }).inc();
    answer
}

async fn federate(state: &Arc<State>, asked: Asked) -> Answer {
    let negotiated = negotiate(asked.headers());
    let gzip = accepts_gzip(asked.headers());
    let state = Arc::clone(state);
    tokio::task::spawn_blocking(move || {
        let matches = asked.params.all("match[]");
        let labels = state.external_labels();
        match exposed::federate(
            &state.parts.storage,
            matches,
            &labels,
            negotiated,
            state.now(),
            state.options.lookback_ms,
        ) {
            Ok(page) => body(StatusCode::OK, "", page)
                .with(header::CONTENT_TYPE, &negotiated.content_type())
                .compressed(gzip),
            Err(message) => text(StatusCode::BAD_REQUEST, format_args!("{message}\n")),
        }
    })
    .await
    .unwrap_or_else(|_| text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n"))
}

fn ready(state: &State) -> Answer {
    match state.parts.lifecycle.ready() {
        true if (state.parts.pager)().is_some_and(|p| !p.is_durable()) => text(
            StatusCode::OK,
            "sideband is ready.\nTHE LEDGER TAKES NOTHING: pages go out from memory, and a restart would forget them.\n",
        ),
        true => text(StatusCode::OK, "sideband is ready.\n"),
        false => text(StatusCode::SERVICE_UNAVAILABLE, "Service Unavailable\n"),
    }
}

async fn lifecycle(state: &State, asked: &Asked, action: &str) -> Answer {
    if !matches!(*asked.method(), Method::POST | Method::PUT) {
        let only = format!("Only POST or PUT requests allowed for /-/{action}\n");
        return text(StatusCode::METHOD_NOT_ALLOWED, only).with(header::ALLOW, "POST, PUT");
    }
    if !state.options.enable_lifecycle {
        let message = "Lifecycle API is not enabled: start with --web.enable-lifecycle\n";
        return text(StatusCode::FORBIDDEN, message);
    }
    if let Err(refusal) = guard::check(state.posture(), asked.headers()) {
        return text(StatusCode::FORBIDDEN, format_args!("{refusal}\n"));
    }
    if action == "quit" {
        state.parts.lifecycle.quit();
        return text(StatusCode::OK, "Requesting termination... Goodbye!\n");
    }
    match state.parts.lifecycle.reload().await {
        Ok(()) => text(StatusCode::OK, ""),
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, format_args!("failed to reload config: {e}\n")),
    }
}
