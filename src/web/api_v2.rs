//! `/api/v2`: Alertmanager's API, for amtool and for servers that send their alerts here.
//!
//! Paths, fields and parameters are those of Alertmanager's OpenAPI document.

use std::collections::BTreeMap;
use std::sync::Arc;

use hyper::{Method, StatusCode};
use serde::{Deserialize, Serialize};

use super::guard;
use super::respond::{Answer, json_body, method_not_allowed, not_found};
use super::server::Asked;
use super::state::State;
use crate::model::{Alert, Labels, MatchOp, Order as _, Timestamp};
use crate::paging::config::PagingConfig;
use crate::paging::engine::{AlertView, MAX_ALERTS, api_time as time};
use crate::paging::matcher::{self, Matcher};
use crate::paging::silence::{Silence, SilenceError, SilenceMatcher, SilenceState};
use crate::paging::{PagerError, PagerHandle};

/// Answers `/api/v2/…`; with the answer goes the route's name, for counting.
pub(super) async fn route(state: &Arc<State>, asked: &Asked, path: &[&str]) -> (&'static str, Answer) {
    let name = match path {
        ["status"] => "/api/v2/status",
        ["receivers"] => "/api/v2/receivers",
        ["alerts"] | ["alerts", "groups"] => "/api/v2/alerts",
        ["silences"] | ["silence", _] => "/api/v2/silences",
        _ => return ("/api/v2", not_found()),
    };
    let changes = !asked.reads();
    if changes && let Err(refusal) = guard::check(state.posture(), asked.headers()) {
        return (name, error(StatusCode::FORBIDDEN, refusal).into());
    }
    let Some(pager) = (state.parts.pager)() else {
        return (name, error(StatusCode::NOT_FOUND, "paging is not configured here").into());
    };
    let result = match (path, asked.method().clone()) {
        (["status"], Method::GET) => status(state, &pager),
        (["receivers"], Method::GET) => Ok(receivers(&pager)),
        (["alerts"], Method::GET) => alerts(asked, &pager).await,
        (["alerts"], Method::POST) => post_alerts(state, asked, &pager).await,
        (["alerts", "groups"], Method::GET) => groups(asked, &pager).await,
        (["silences"], Method::GET) => silences(state, asked, &pager).await,
        (["silences"], Method::POST) => post_silence(state, asked, &pager).await,
        (["silence", id], Method::GET) => one_silence(state, id, &pager).await,
        (["silence", id], Method::DELETE) => expire(id, &pager).await,
        (["alerts"] | ["silences"], _) => return (name, method_not_allowed("GET, POST")),
        (["silence", _], _) => return (name, method_not_allowed("GET, DELETE")),
        _ => return (name, method_not_allowed("GET")),
    };
    (name, result.unwrap_or_else(Answer::from))
}

type Outcome = Result<Answer, Refusal>;

/// Why nothing was done: a text, or an object for what breaks the OpenAPI document.
struct Refusal(StatusCode, serde_json::Value);

fn error(status: StatusCode, reason: impl std::fmt::Display) -> Refusal {
    Refusal(status, reason.to_string().into())
}

/// What the document asks for is not there, or is not of the right kind: the codes are go-openapi's.
fn breaks_document(code: u16, message: impl std::fmt::Display) -> Refusal {
    let status = if code == 400 { StatusCode::BAD_REQUEST } else { StatusCode::UNPROCESSABLE_ENTITY };
    Refusal(status, serde_json::json!({ "code": code, "message": message.to_string() }))
}

const REQUIRED: u16 = 602;
const NO_ITEMS: u16 = 612;
const WRONG_FORMAT: u16 = 601;

fn required<T>(value: Option<T>, name: impl std::fmt::Display) -> Result<T, Refusal> {
    value.ok_or_else(|| breaks_document(REQUIRED, format_args!("{name} in body is required")))
}

/// The body, or nothing where it is empty or `null`.
fn body<T: serde::de::DeserializeOwned>(asked: &Asked, what: &str) -> Result<T, Refusal> {
    let parsed = match asked.body.trim_ascii() {
        b"" => Ok(None),
        bytes => serde_json::from_slice::<Option<T>>(bytes),
    };
    let parsed = parsed.map_err(|e| breaks_document(400, format_args!("the body is no {what}: {e}")))?;
    required(parsed, what)
}

/// A point in time, or a day.
fn moment(text: &str) -> Result<Timestamp, Refusal> {
    let parsed = text.parse::<jiff::Timestamp>().or_else(|e| {
        let day = text.parse::<jiff::civil::Date>().map_err(|_| e)?;
        day.to_zoned(jiff::tz::TimeZone::UTC).map(|z| z.timestamp())
    });
    parsed
        .map(jiff::Timestamp::as_millisecond)
        .map_err(|e| breaks_document(400, format_args!("{text:?} is no RFC 3339 time: {e}")))
}

/// The id of a silence in a path.
fn uuid(id: &str) -> Result<&str, Refusal> {
    let groups: Vec<&str> = id.split('-').collect();
    let hex = |g: &&str| g.bytes().all(|b| b.is_ascii_hexdigit());
    if groups.iter().map(|g| g.len()).eq([8, 4, 4, 4, 12]) && groups.iter().all(hex) {
        return Ok(id);
    }
    Err(breaks_document(WRONG_FORMAT, format_args!("silenceID in path must be of type uuid: {id:?}")))
}

fn bad(reason: impl std::fmt::Display) -> Refusal {
    error(StatusCode::BAD_REQUEST, reason)
}

/// Alertmanager's errors are a JSON string.
impl From<Refusal> for Answer {
    fn from(Refusal(status, reason): Refusal) -> Self {
        json(status, &reason)
    }
}

fn json(status: StatusCode, value: &impl Serialize) -> Answer {
    match serde_json::to_vec(value) {
        Ok(bytes) => json_body(status, bytes),
        Err(e) => json_body(StatusCode::INTERNAL_SERVER_ERROR, format!("{:?}", e.to_string()).into_bytes()),
    }
}

impl From<PagerError> for Refusal {
    fn from(e: PagerError) -> Self {
        error(StatusCode::SERVICE_UNAVAILABLE, e)
    }
}

fn status(state: &State, pager: &PagerHandle) -> Outcome {
    let original = match pager.config() {
        Some(config) => hidden_urls_are_urls(&config.shown),
        None => String::new(),
    };
    Ok(json(
        StatusCode::OK,
        &serde_json::json!({
            "cluster": { "status": "disabled", "peers": [] },
            "config": { "original": original },
            "uptime": time(state.parts.lifecycle.runtime().started_at),
            "versionInfo": {
                "version": crate::telemetry::VERSION, "revision": state.options.revision,
                "branch": "", "buildUser": "", "buildDate": "", "goVersion": "",
            },
        }),
    ))
}

/// amtool reads what it is shown as a configuration, and before 0.26 the address of a webhook must be one.
fn hidden_urls_are_urls(shown: &str) -> String {
    ["", "'", "\""].iter().fold(shown.to_owned(), |text, quote| {
        text.replace(&format!("url: {quote}<secret>"), &format!("url: {quote}http://<secret>"))
    })
}

fn receivers(pager: &PagerHandle) -> Answer {
    let config = pager.config();
    let mut all: Vec<_> = config.iter().flat_map(|c| c.receivers.values()).collect();
    all.order_by_key(|r| r.position);
    let list: Vec<_> = all
        .into_iter()
        .map(|receiver| {
            let mut labels = receiver.labels.clone();
            labels.insert("name".to_owned(), receiver.name.clone());
            serde_json::json!({ "name": receiver.name, "labels": labels })
        })
        .collect();
    json(StatusCode::OK, &list)
}

/// What a list of alerts is narrowed down to.
struct Wanted {
    matchers: Vec<Matcher>,
    receiver: Option<regex::Regex>,
    active: bool,
    silenced: bool,
    inhibited: bool,
    muted: bool,
}

impl Wanted {
    fn read(asked: &Asked) -> Result<Self, Refusal> {
        // The words of go-openapi; any other one is a no.
        let yes = |name: &str| {
            let word = asked.params.get(name).to_ascii_lowercase();
            let words = ["", "true", "1", "yes", "ok", "y", "on", "selected", "checked", "t", "enabled"];
            words.contains(&word.as_str())
        };
        let mut matchers = Vec::new();
        for text in asked.params.all("filter") {
            if text.trim().is_empty() {
                return Err(bad(format_args!("bad matcher format: {text:?}")));
            }
            let parsed =
                matcher::parse(text).map_err(|e| bad(format_args!("bad matcher format: {}", e.0)))?;
            matchers.extend(parsed.matchers);
        }
        let receiver = match asked.params.get("receiver") {
            "" => None,
            pattern => {
                let anchored = crate::model::re2::compile_anchored(pattern, false);
                Some(anchored.map_err(|_| bad("failed to parse receiver param: not a regular expression"))?)
            }
        };
        Ok(Self {
            matchers,
            receiver,
            active: yes("active"),
            silenced: yes("silenced"),
            inhibited: yes("inhibited"),
            muted: yes("muted"),
        })
    }

    fn passes(&self, alert: &AlertView) -> bool {
        let status = &alert.status;
        // What its route's hours mute counts as active all the same.
        let active = status.silenced_by.is_empty() && status.inhibited_by.is_empty();
        let shown = (self.active || !active)
            && (self.silenced || status.silenced_by.is_empty())
            && (self.inhibited || status.inhibited_by.is_empty())
            && (self.muted || status.muted_by.is_empty());
        let received =
            self.receiver.as_ref().is_none_or(|r| alert.receivers.iter().any(|n| r.is_match(&n.name)));
        shown && received && self.matchers.iter().all(|m| m.matches_labels(&alert.alert.labels))
    }
}

async fn alerts(asked: &Asked, pager: &PagerHandle) -> Outcome {
    let wanted = Wanted::read(asked)?;
    let mut alerts = pager.active_alerts().await?;
    alerts.retain(|a| wanted.passes(a));
    Ok(json(StatusCode::OK, &alerts))
}

async fn groups(asked: &Asked, pager: &PagerHandle) -> Outcome {
    let wanted = Wanted::read(asked)?;
    let mut groups = pager.groups().await?;
    // Of an alert with several receivers, only the groups of those that are asked for.
    groups.retain(|g| wanted.receiver.as_ref().is_none_or(|r| r.is_match(&g.receiver.name)));
    for group in &mut groups {
        group.alerts.retain(|a| wanted.passes(a));
        if let Some(receiver) = &wanted.receiver {
            for alert in &mut group.alerts {
                alert.receivers.retain(|r| receiver.is_match(&r.name));
            }
        }
    }
    groups.retain(|g| !g.alerts.is_empty());
    Ok(json(StatusCode::OK, &groups))
}

/// How long the sender of alerts waits until they are in the ledger.
const TAKING_ALERTS: std::time::Duration = std::time::Duration::from_secs(8);

/// The alerts of one request, as many as paging can hold.
struct Posted(Vec<Option<PostedAlert>>);

impl<'de> Deserialize<'de> for Posted {
    fn deserialize<D: serde::Deserializer<'de>>(source: D) -> Result<Self, D::Error> {
        struct List;
        impl<'de> serde::de::Visitor<'de> for List {
            type Value = Posted;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a list of alerts")
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, mut list: A) -> Result<Posted, A::Error> {
                let mut posted = Vec::new();
                while let Some(alert) = list.next_element()? {
                    if posted.len() >= MAX_ALERTS {
                        return Err(serde::de::Error::custom(format_args!(
                            "more than {MAX_ALERTS} alerts in one request"
                        )));
                    }
                    posted.push(alert);
                }
                Ok(Posted(posted))
            }
        }
        source.deserialize_seq(List)
    }
}

/// An alert as it is posted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedAlert {
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    #[serde(rename = "generatorURL")]
    generator_url: Option<String>,
}

async fn post_alerts(state: &State, asked: &Asked, pager: &PagerHandle) -> Outcome {
    let Posted(posted) = body(asked, "alerts")?;
    // What breaks the document refuses the whole list.
    let checked = |(i, alert): (usize, Option<PostedAlert>)| {
        let alert = required(alert, i)?;
        required(alert.labels.as_ref(), format_args!("{i}.labels"))?;
        let times = (alert.moment(&alert.starts_at)?, alert.moment(&alert.ends_at)?);
        Ok((alert, times))
    };
    let posted = posted.into_iter().enumerate().map(checked).collect::<Result<Vec<_>, Refusal>>()?;
    let resolve_timeout = pager.config().map_or(300_000, |c: Arc<PagingConfig>| c.resolve_timeout.ms());
    let now = state.now();
    let (mut good, mut reasons) = (Vec::new(), Vec::new());
    for (alert, times) in posted {
        match alert.checked(now, resolve_timeout, times) {
            Ok(alert) => good.push(alert),
            Err(reason) => reasons.push(reason),
        }
    }
    // The good ones of a list count also when others are refused.
    if !good.is_empty() {
        // Who hears that they were taken may forget them.
        match tokio::time::timeout(TAKING_ALERTS, pager.keep_alerts(good)).await {
            Ok(kept) => kept?,
            Err(_) => {
                return Err(error(StatusCode::SERVICE_UNAVAILABLE, "too many alerts wait: try again"));
            }
        }
    }
    match reasons.as_slice() {
        [] => Ok(json_body(StatusCode::OK, Vec::new())),
        reasons => Err(bad(reasons.join("; "))),
    }
}

impl PostedAlert {
    /// A time of it; Go's zero time is none.
    fn moment(&self, text: &Option<String>) -> Result<Option<Timestamp>, Refusal> {
        let given = text.as_deref().filter(|t| !t.is_empty() && !t.starts_with("0001-01-01T00:00:00"));
        given.map(moment).transpose()
    }

    fn checked(
        self,
        now: Timestamp,
        resolve_timeout: i64,
        (starts_at, ends_at): (Option<Timestamp>, Option<Timestamp>),
    ) -> Result<Alert, String> {
        let labels = Labels::from_pairs(self.labels.iter().flatten());
        let annotations = self.annotations.unwrap_or_default();
        if labels.is_empty() {
            return Err("at least one label pair required".to_owned());
        }
        if let Some((name, _)) = labels.iter().find(|(name, _)| name.is_empty()) {
            return Err(format!("invalid label name {name:?}"));
        }
        if annotations.contains_key("") {
            return Err("invalid annotations: invalid name \"\"".to_owned());
        }
        // As Alertmanager: without a start it began now, or when it ended if that is earlier.
        let starts_at = starts_at.unwrap_or_else(|| ends_at.map_or(now, |e| e.min(now)));
        let ends_at = ends_at.unwrap_or(now + resolve_timeout);
        if ends_at < starts_at {
            return Err("start time must be before end time".to_owned());
        }
        Ok(Alert {
            labels,
            annotations: Labels::from_pairs(annotations.iter()),
            starts_at,
            ends_at,
            updated_at: now,
            generator_url: self.generator_url.unwrap_or_default(),
        })
    }
}

/// A silence as the API has it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SilenceView {
    id: String,
    status: SilenceStatus,
    updated_at: String,
    matchers: Vec<SilenceMatcher>,
    starts_at: String,
    ends_at: String,
    created_by: String,
    comment: String,
}

#[derive(Serialize)]
struct SilenceStatus {
    state: SilenceState,
}

impl SilenceView {
    fn new(s: Silence, now: Timestamp) -> Self {
        Self {
            status: SilenceStatus { state: s.state(now) },
            id: s.id,
            updated_at: time(s.updated_at),
            matchers: s.matchers,
            starts_at: time(s.starts_at),
            ends_at: time(s.ends_at),
            created_by: s.created_by,
            comment: s.comment,
        }
    }
}

async fn silences(state: &State, asked: &Asked, pager: &PagerHandle) -> Outcome {
    let wanted = Wanted::read(asked)?;
    let now = state.now();
    let mut silences = pager.silences().await?;
    // A filter asks for a matcher that is the same.
    let same = |m: &Matcher, of: &SilenceMatcher| {
        m.name == of.name && m.value == of.value && m.op == MatchOp::of(of.is_regex, of.is_equal)
    };
    silences.retain(|s| wanted.matchers.iter().all(|m| s.matchers.iter().any(|of| same(m, of))));
    // What changes next comes first; of what is over, what ended last.
    silences.order_by_key(|s| match s.state(now) {
        SilenceState::Active => (0, s.ends_at),
        SilenceState::Pending => (1, s.starts_at),
        SilenceState::Expired => (2, -s.ends_at),
    });
    let views: Vec<SilenceView> = silences.into_iter().map(|s| SilenceView::new(s, now)).collect();
    Ok(json(StatusCode::OK, &views))
}

async fn one_silence(state: &State, id: &str, pager: &PagerHandle) -> Outcome {
    let id = uuid(id)?;
    let found = pager.silences().await?.into_iter().find(|s| s.id == id);
    let found = found.ok_or_else(|| error(StatusCode::NOT_FOUND, format_args!("silence {id} not found")))?;
    Ok(json(StatusCode::OK, &SilenceView::new(found, state.now())))
}

/// A silence as it is posted.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedSilence {
    #[serde(default)]
    id: Option<String>,
    matchers: Option<Vec<Option<PostedMatcher>>>,
    starts_at: Option<String>,
    ends_at: Option<String>,
    created_by: Option<String>,
    comment: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostedMatcher {
    name: Option<String>,
    value: Option<String>,
    is_regex: Option<bool>,
    is_equal: Option<bool>,
}

impl PostedMatcher {
    fn checked(self, i: usize) -> Result<SilenceMatcher, Refusal> {
        Ok(SilenceMatcher {
            is_regex: required(self.is_regex, format_args!("matchers.{i}.isRegex"))?,
            name: required(self.name, format_args!("matchers.{i}.name"))?,
            value: required(self.value, format_args!("matchers.{i}.value"))?,
            is_equal: self.is_equal.unwrap_or(true),
        })
    }
}

async fn post_silence(state: &State, asked: &Asked, pager: &PagerHandle) -> Outcome {
    let posted: PostedSilence = body(asked, "silence")?;
    let matchers = required(posted.matchers, "matchers")?;
    if matchers.is_empty() {
        return Err(breaks_document(NO_ITEMS, "matchers in body should have at least 1 items"));
    }
    let matchers =
        matchers.into_iter().enumerate().map(|(i, m)| required(m, format_args!("matchers.{i}"))?.checked(i));
    // Who is logged in has made it, whatever the body says.
    let created_by = asked.user.clone().or(posted.created_by);
    let silence = Silence {
        id: posted.id.unwrap_or_default(),
        matchers: matchers.collect::<Result<_, _>>()?,
        starts_at: moment(&required(posted.starts_at, "startsAt")?)?,
        ends_at: moment(&required(posted.ends_at, "endsAt")?)?,
        updated_at: state.now(),
        created_by: required(created_by, "createdBy")?,
        comment: required(posted.comment, "comment")?,
    };
    let id = pager.set_silence(silence).await?.map_err(refused)?;
    Ok(json(StatusCode::OK, &serde_json::json!({ "silenceID": id })))
}

async fn expire(id: &str, pager: &PagerHandle) -> Outcome {
    pager.expire_silence(uuid(id)?.to_owned()).await?.map_err(refused)?;
    Ok(json_body(StatusCode::OK, Vec::new()))
}

fn refused(e: SilenceError) -> Refusal {
    match e {
        SilenceError::NotFound(_) => error(StatusCode::NOT_FOUND, e),
        _ => bad(e),
    }
}
