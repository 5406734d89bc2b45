//! A notification on its way to one integration: its texts, its secrets, its link, its request.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::Method;
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::render::{Render, RenderContext};
use super::threads::Threads;
use super::{answer, text};
use crate::model::{Clock, Secret, Timestamp, hex, percent_encode};
use crate::net::http::{HttpClient, HttpRequest, Limits, NetError};
use crate::paging::acklink::{AckClaim, AckLinks};
use crate::paging::config::visit;
use crate::paging::engine::{Job, Outcome};
use crate::paging::notification::{Notification, Reason};

/// How long a receiver may take when its configuration does not say.
pub(super) const TIMEOUT: Duration = Duration::from_secs(10);
/// How long a page can be judged by its link, ms: people look back in the next meeting.
const FEEDBACK_MS: i64 = 30 * 86_400_000;
/// Bytes of an answer that are read, for its error text.
const MAX_ANSWER: usize = 16 * 1024;

/// What all senders know.
pub(super) struct Shared {
    pub base_dir: PathBuf,
    pub external_url: String,
    pub render: Arc<dyn Render>,
    pub links: Option<AckLinks>,
    pub link_ms: i64,
    pub clock: Arc<dyn Clock>,
    pub threads: Arc<Threads>,
    /// Are Slack's interactions listened to?
    pub slack_button: bool,
}

/// A job and what a sender needs to give it a form.
pub(super) struct Message<'a> {
    pub job: &'a Job,
    shared: &'a Shared,
    /// Secrets that were read from files for this attempt.
    used: Mutex<Vec<String>>,
    /// What makes a text a text where it goes: of texts that are made here.
    escape: fn(&str) -> String,
}

impl<'a> Message<'a> {
    pub fn new(job: &'a Job, shared: &'a Shared) -> Self {
        Self { job, shared, used: Mutex::default(), escape: str::to_owned }
    }

    /// The same for a job that says the same, escaped as the receiver needs it.
    pub fn escaped<'b>(&'b self, job: &'b Job, escape: fn(&str) -> String) -> Message<'b> {
        Message { escape, ..Message::new(job, self.shared) }
    }

    pub fn notification(&self) -> &Notification {
        &self.job.notification
    }

    /// The wall clock, ms.
    pub fn now(&self) -> Timestamp {
        self.shared.clock.now()
    }

    pub fn external_url(&self) -> &str {
        &self.shared.external_url
    }

    pub fn threads(&self) -> &Arc<Threads> {
        &self.shared.threads
    }

    /// The integration, as logs and the ledger call it.
    pub fn integration(&self) -> String {
        format!("{}/{}/{}", self.job.receiver, self.job.kind, self.job.index)
    }

    /// The same for everything that is said about one thing: the incident, or the group.
    pub fn dedup_key(&self) -> String {
        let n = self.notification();
        match &n.incident {
            Some(incident) => {
                let instance = self.job.key.split('-').next().unwrap_or_default();
                format!("{instance}-i{}", incident.id)
            }
            None => hex(&Sha256::digest(n.group_key.as_bytes())),
        }
    }

    /// Is everything over that this is about?
    pub fn is_over(&self) -> bool {
        let n = self.notification();
        n.reason == Reason::Resolved || (n.reason == Reason::Group && n.status() == "resolved")
    }

    fn claim(&self) -> Option<AckClaim> {
        let n = self.notification();
        let incident = n.incident.as_ref().filter(|i| n.reason == Reason::Page && !i.automation)?;
        Some(AckClaim {
            incident: incident.id,
            round: self.job.round,
            step: u16::try_from(self.job.step).unwrap_or(u16::MAX),
            expires: (self.job.created_at + self.shared.link_ms) / 1000 * 1000,
            person: incident.user.clone().unwrap_or_else(|| incident.target.clone()),
        })
    }

    /// The link by which the person who gets this acknowledges; the same for every attempt.
    pub fn ack_url(&self) -> Option<String> {
        Some(self.shared.links.as_ref()?.url(&self.claim()?))
    }

    /// The link by which whoever gets this says whether it was useful: in pages, and in the message that it is over.
    pub fn feedback_url(&self) -> Option<String> {
        let n = self.notification();
        let told = matches!(n.reason, Reason::Page | Reason::Resolved);
        let incident = n.incident.as_ref().filter(|i| told && !i.automation)?;
        let claim = AckClaim {
            incident: incident.id,
            round: self.job.round,
            step: u16::try_from(self.job.step).unwrap_or(u16::MAX),
            expires: (self.job.created_at + self.shared.link_ms.max(FEEDBACK_MS)) / 1000 * 1000,
            person: incident.user.clone().unwrap_or_else(|| incident.target.clone()),
        };
        Some(self.shared.links.as_ref()?.judge_url(&claim))
    }

    /// The token for a button that comes back by a callback, where that is listened to.
    pub fn button_token(&self) -> Option<String> {
        let links = self.shared.links.as_ref().filter(|_| self.shared.slack_button)?;
        Some(links.token(&self.claim()?))
    }

    fn expand(&self, template: &str, html: bool) -> Result<String, String> {
        if !template.contains("{{") {
            return Ok(template.to_owned());
        }
        let (ack_url, feedback_url) = (self.ack_url(), self.feedback_url());
        let context = RenderContext {
            notification: self.notification(),
            external_url: self.external_url(),
            ack_url: ack_url.as_deref(),
            feedback_url: feedback_url.as_deref(),
            html,
        };
        self.shared.render.render(template, &context).inspect_err(|error| {
            tracing::warn!(receiver = %self.job.receiver, %error, "a template could not be expanded");
        })
    }

    /// The text of a template; an error in it is said in the text, and the page goes out.
    pub fn text(&self, template: &str) -> String {
        self.expand(template, false).unwrap_or_else(|e| self.broken(&e))
    }

    /// As [`text`](Self::text), or what stands for a template that is not given, or not in order.
    pub fn text_or(&self, template: Option<&str>, default: impl FnOnce() -> String) -> String {
        match template.map(|t| self.expand(t, false)) {
            None => default(),
            Some(Ok(text)) => text,
            Some(Err(e)) => format!("{}\n{}", default().trim_end(), self.broken(&e)).trim_start().to_owned(),
        }
    }

    /// What a built-in template gives, which a file of the configuration may have defined anew.
    pub fn built_in(&self, template: &str) -> Option<String> {
        self.expand(template, false).ok()
    }

    /// The page of a template, or an error.
    pub fn html(&self, template: &str) -> Result<String, String> {
        self.expand(template, true)
    }

    /// A headline on one line, which says when this is only a drill.
    pub fn title(&self, template: Option<&str>) -> String {
        let n = self.notification();
        self.headline(self.text_or(template, || text::subject(n)))
    }

    fn broken(&self, error: &str) -> String {
        (self.escape)(&format!("<error expanding template: {error}>"))
    }

    /// Is it only a drill?
    pub fn is_drill(&self) -> bool {
        self.notification().incident.as_ref().is_some_and(|i| i.drill)
    }

    /// A text, which says when this is only a drill.
    pub fn marked(&self, text: String) -> String {
        if self.is_drill() && !text.contains("DRILL") { format!("DRILL: {text}") } else { text }
    }

    /// A text on one line, which says when this is only a drill.
    pub fn headline(&self, title: String) -> String {
        let title = self.marked(title);
        title.lines().collect::<Vec<_>>().join(" ").trim().to_owned()
    }

    /// The texts in a JSON value, expanded.
    pub fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(template) => self.text(template).into(),
            Value::Array(list) => list.iter().map(|v| self.json(v)).collect(),
            Value::Object(map) => map.iter().map(|(k, v)| (k.clone(), self.json(v))).collect(),
            other => other.clone(),
        }
    }

    /// A secret, inline or from its file, which is read again every time.
    ///
    /// # Errors
    /// The file cannot be read (now: it may come).
    pub fn secret(&self, inline: Option<&Secret>, file: Option<&str>) -> Result<String, Outcome> {
        let secret = match (inline.filter(|s| !s.is_empty()), file.filter(|f| !f.is_empty())) {
            (Some(secret), _) => secret.expose().to_owned(),
            (None, Some(file)) => {
                let path = self.shared.base_dir.join(file);
                let text = std::fs::read_to_string(&path).map_err(|e| Outcome::Retry {
                    reason: format!("{}: {e}", path.display()),
                    after_ms: None,
                })?;
                text.trim().to_owned()
            }
            (None, None) => return Ok(String::new()),
        };
        self.used.lock().unwrap_or_else(PoisonError::into_inner).push(secret.clone());
        Ok(secret)
    }

    /// An outcome whose reason has none of these secrets, and none that was read from a file. A server's answer may
    /// repeat what it was sent.
    pub fn without_secrets(&self, outcome: Outcome, configured: &[Secret]) -> Outcome {
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let links = [self.ack_url(), self.feedback_url()];
        let hide = |reason: String| {
            let used = used.iter().chain(links.iter().flatten()).map(String::as_str);
            let all: Vec<&str> = configured.iter().map(Secret::expose).chain(used).collect();
            visit::without(&reason, all.iter().copied().chain(all.iter().filter_map(|s| path(s))))
        };
        match outcome {
            Outcome::Delivered => Outcome::Delivered,
            Outcome::Retry { reason, after_ms } => Outcome::Retry { reason: hide(reason), after_ms },
            Outcome::Unsure { reason } => Outcome::Unsure { reason: hide(reason) },
            Outcome::Final { reason } => Outcome::Final { reason: hide(reason) },
        }
    }

    /// The key as a header can carry it: names of receivers may be in any script.
    pub fn key(&self) -> String {
        let mut out = String::with_capacity(self.job.key.len());
        for byte in self.job.key.bytes() {
            if byte.is_ascii_graphic() && byte != b'%' {
                out.push(char::from(byte));
            } else {
                let _ = write!(out, "%{byte:02X}");
            }
        }
        out
    }
}

/// What a server sees of a URL, and may repeat.
fn path(url: &str) -> Option<&str> {
    let (_, rest) = url.split_once("://")?;
    let path = &rest[rest.find('/')? + 1..];
    // A short one is a word that may stand anywhere.
    (path.len() >= 8).then_some(path)
}

/// A request with a JSON body and the idempotency key.
pub(super) fn json_request<T: serde::Serialize>(
    method: Method,
    url: String,
    body: &T,
    message: &Message<'_>,
) -> Result<HttpRequest, Outcome> {
    let body = serde_json::to_vec(body).map_err(|e| Outcome::Final { reason: e.to_string() })?;
    Ok(request(method, url, "application/json", body, message))
}

fn request(method: Method, url: String, kind: &str, body: Vec<u8>, message: &Message<'_>) -> HttpRequest {
    let mut headers = vec![
        ("Content-Type".to_owned(), kind.to_owned()),
        ("User-Agent".to_owned(), concat!("sideband/", env!("CARGO_PKG_VERSION")).to_owned()),
        ("Idempotency-Key".to_owned(), message.key()),
    ];
    if message.is_drill() {
        headers.push(("X-Sideband-Drill".to_owned(), "true".to_owned()));
    }
    HttpRequest { method, url, headers, body }
}

/// A request with a form.
pub(super) fn form_request(url: String, fields: &[(&str, String)], message: &Message<'_>) -> HttpRequest {
    let mut body = String::new();
    for (name, value) in fields {
        if !body.is_empty() {
            body.push('&');
        }
        body.push_str(name);
        body.push('=');
        body.push_str(&percent_encode(value));
    }
    request(Method::POST, url, "application/x-www-form-urlencoded", body.into_bytes(), message)
}

/// Sends a request, and judges the answer by its status.
pub(super) async fn post(
    client: &HttpClient,
    request: HttpRequest,
    timeout: Option<crate::model::Duration>,
) -> Result<Vec<u8>, Outcome> {
    let timeout = timeout.filter(|t| !t.is_zero()).map_or(TIMEOUT, crate::model::Duration::to_std);
    let limits = Limits { timeout, max_body: MAX_ANSWER };
    let mut exchange = client.start(request, limits).await.map_err(|e| failed(&e))?;
    let mut body = Vec::new();
    // The status decides; what comes after it only explains.
    while body.len() < MAX_ANSWER && matches!(exchange.read(&mut body).await, Ok(true)) {}
    answer::judge(exchange.status, &exchange.headers, &body).map(|()| body)
}

/// As [`post`], when what comes back does not matter.
pub(super) async fn deliver(
    client: &HttpClient,
    request: Result<HttpRequest, Outcome>,
    timeout: Option<crate::model::Duration>,
) -> Outcome {
    let request = match request {
        Ok(request) => request,
        Err(outcome) => return outcome,
    };
    match post(client, request, timeout).await {
        Ok(_) => Outcome::Delivered,
        Err(outcome) => outcome,
    }
}

pub(super) fn failed(e: &NetError) -> Outcome {
    match e {
        // What is wrong with an address may be all of it, and the address a secret.
        NetError::Config(reason) if reason.contains("invalid URL") => {
            Outcome::Final { reason: "the URL is no http or https URL".to_owned() }
        }
        // A file with credentials that is exchanged just now.
        NetError::Config(reason) if reason.starts_with("unable to read") => {
            Outcome::Retry { reason: reason.clone(), after_ms: None }
        }
        NetError::Config(reason) => Outcome::Final { reason: reason.clone() },
        // It was on its way; whether it got there, nobody knows.
        NetError::Timeout(_) | NetError::Other(_) | NetError::TooLarge(_) => {
            Outcome::Unsure { reason: e.to_string() }
        }
        NetError::Connect(_) | NetError::Tls(_) => Outcome::Retry { reason: e.to_string(), after_ms: None },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_server_may_repeat_of_an_address() {
        for (url, expect) in [
            ("https://h.test/services/T0/B0", Some("services/T0/B0")),
            ("https://h.test/short", None),
            ("https://h.test", None),
            ("no address at all", None),
            ("https://h.test/ä/long enough", Some("ä/long enough")),
        ] {
            assert_eq!(path(url), expect, "{url}");
        }
    }

    #[test]
    fn what_is_wrong_here_and_what_may_pass() {
        let retried = |e: &NetError| matches!(failed(e), Outcome::Retry { .. } | Outcome::Unsure { .. });
        for (error, expect) in [
            (NetError::Config("unable to read /x: gone".into()), true),
            (NetError::Config("invalid URL \"s3cret\": no scheme".into()), false),
            (NetError::Config("cannot build the request".into()), false),
            (NetError::Tls("not trusted".into()), true),
            (NetError::Timeout(TIMEOUT), true),
        ] {
            assert_eq!(retried(&error), expect, "{error}");
            assert!(!format!("{:?}", failed(&error)).contains("s3cret"));
        }
    }
}
