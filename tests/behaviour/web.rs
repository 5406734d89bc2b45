//! The web room over a real socket, with made-up rooms behind it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod api;
mod exposed;
mod listener;
mod pages;
mod people;
mod security;
mod tls;

use std::collections::BTreeMap;
use std::io::Read;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use prometheus_client::registry::Registry;
use sideband::model::{Labels, ManualClock, MetricMetadata, MetricType};
use sideband::net::auth::Security;
use sideband::net::listener as server;
use sideband::net::listener::ServerLimits;
use sideband::paging::incident::{State as IncidentState, Verdict};
use sideband::paging::{AckView, IncidentView, JudgedView};
use sideband::promql::{Engine, EngineOptions};
use sideband::rules::{GroupView, Taken};
use sideband::scrape::{DroppedTargetView, TargetView};
use sideband::storage::{SourceId, Storage};
use sideband::web::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// 2026-11-21T00:00:00Z, ms.
const NOW: i64 = 1_795_219_200_000;

/// Everything behind the routes, remembering what was done to it.
#[derive(Default)]
struct Fake {
    groups: Mutex<Vec<GroupView>>,
    targets: Mutex<Vec<TargetView>>,
    incidents: Mutex<Vec<IncidentView>>,
    done: Mutex<Vec<String>>,
    reload_error: Mutex<Option<String>>,
    pager: Mutex<Option<sideband::paging::PagerHandle>>,
}

impl Fake {
    fn did(&self, what: impl Into<String>) {
        self.done.lock().unwrap().push(what.into());
    }

    fn change(&self, id: &str, f: impl FnOnce(&mut IncidentView)) -> Result<IncidentView, CommandError> {
        let mut all = self.incidents.lock().unwrap();
        let incident = all.iter_mut().find(|i| i.id == id);
        let incident = incident.ok_or_else(|| CommandError::NotFound(format!("no incident {id:?}")))?;
        f(incident);
        Ok(incident.clone())
    }
}

impl RulesView for Fake {
    fn groups(&self) -> Vec<GroupView> {
        self.groups.lock().unwrap().clone()
    }
    fn feedback(&self, said: &RuleFeedback) -> Result<Taken, CommandError> {
        let RuleFeedback { group, rule, series, baseline, from, to } = said;
        self.did(format!("{rule} of {group:?}: {baseline:?} {from} to {to}, {series:?}"));
        Ok(Taken { rules: 1, series: 2, ..Taken::default() })
    }
}

impl TargetsView for Fake {
    fn active(&self) -> Vec<TargetView> {
        self.targets.lock().unwrap().clone()
    }
    fn dropped(&self) -> (Vec<DroppedTargetView>, BTreeMap<String, usize>) {
        let kept = DroppedTargetView {
            discovered_labels: Labels::from_pairs([("__address__", "b:1")]),
            scrape_pool: "app".into(),
        };
        // Of `app` more were dropped than `keep_dropped_targets` keeps.
        (vec![kept], [("app", 3), ("db", 0)].map(|(job, n)| (job.to_owned(), n)).into())
    }
}

impl Incidents for Fake {
    fn list(&self, resolved_too: bool, limit: usize) -> Result<Vec<IncidentView>, CommandError> {
        let all = self.incidents.lock().unwrap();
        let wanted = |i: &&IncidentView| resolved_too || i.state != IncidentState::Resolved;
        Ok(all.iter().filter(wanted).take(limit).cloned().collect())
    }
    fn get(&self, id: &str) -> Result<IncidentView, CommandError> {
        self.change(id, |_| {})
    }
    fn acknowledge(&self, id: &str, by: &str, _: &str, comment: &str) -> Result<IncidentView, CommandError> {
        self.did(format!("ack {id} by {by}: {comment}"));
        self.change(id, |i| {
            i.state = IncidentState::Acknowledged;
            i.acknowledged =
                Some(AckView { by: by.into(), at: NOW, comment: comment.into(), ..AckView::default() });
        })
    }
    fn resolve(&self, id: &str, by: &str, _: &str, comment: &str) -> Result<IncidentView, CommandError> {
        self.did(format!("resolve {id} by {by}: {comment}"));
        self.change(id, |i| i.state = IncidentState::Resolved)
    }
    fn judge(&self, id: &str, said: &IncidentFeedback) -> Result<(IncidentView, Taken), CommandError> {
        let IncidentFeedback { verdict, baseline, from, to, by, comment, .. } = said;
        self.did(format!("judge {id}: {verdict:?} {baseline:?} {from:?} {to:?} by {by}: {comment}"));
        self.change(id, |i| {
            let verdict = verdict.map_or("none", |v| if v == Verdict::Useful { "useful" } else { "useless" });
            let (by, comment) = (by.clone(), comment.clone());
            i.judged = Some(JudgedView { verdict, by, at: NOW, comment });
        })
        .map(|incident| (incident, Taken::default()))
    }
    fn read_judge_token(&self, token: &str) -> Result<TokenView, CommandError> {
        self.read_token(&token.replace("judge-", "good-"))
    }
    fn judge_by_token(&self, token: &str, said: &IncidentFeedback) -> Result<TokenView, CommandError> {
        let view = self.read_judge_token(token)?;
        let said = IncidentFeedback { by: view.person.clone(), ..said.clone() };
        Ok(TokenView { incident: self.judge(&view.incident.id, &said)?.0, ..view })
    }
    fn read_token(&self, token: &str) -> Result<TokenView, CommandError> {
        match token.strip_prefix("good-") {
            Some(id) => {
                Ok(TokenView { person: "engineer-a".into(), incident: self.get(id)?, step: 1, round: 1 })
            }
            None => Err(CommandError::BadToken("the link is not genuine or has expired".into())),
        }
    }
    fn acknowledge_by_token(
        &self,
        token: &str,
        from: &str,
        comment: &str,
    ) -> Result<TokenView, CommandError> {
        let view = self.read_token(token)?;
        let comment = if comment.is_empty() { "by link".to_owned() } else { format!("by link, {comment}") };
        let incident = self.acknowledge(&view.incident.id, &view.person, from, &comment)?;
        Ok(TokenView { incident, ..view })
    }
}

impl Lifecycle for Fake {
    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            self.did("reload");
            self.reload_error.lock().unwrap().clone().map_or(Ok(()), Err)
        })
    }
    fn quit(&self) {
        self.did("quit");
    }
    fn ready(&self) -> bool {
        !self.done.lock().unwrap().iter().any(|d| d == "not ready")
    }
    fn config_yaml(&self) -> String {
        "global:\n  scrape_interval: 15s\n".into()
    }
    fn runtime(&self) -> RuntimeView {
        RuntimeView {
            started_at: NOW - 1000,
            last_reload_ok: true,
            last_reload_at: NOW - 500,
            storage_retention: "24h".into(),
        }
    }
}

/// A server on a port of its own.
struct World {
    addr: SocketAddr,
    fake: Arc<Fake>,
    storage: Storage,
    web: Arc<Web>,
    stop: Option<oneshot::Sender<()>>,
    server: JoinHandle<()>,
}

impl World {
    /// As a person on the machine itself would run it.
    async fn local() -> Self {
        Self::start(
            Options { loopback_only: true, enable_lifecycle: true, ..Options::default() },
            Security::open(),
            ServerLimits::default(),
        )
        .await
    }

    async fn start(options: Options, security: Security, limits: ServerLimits) -> Self {
        let fake = Arc::new(Fake::default());
        fake.incidents.lock().unwrap().push(IncidentView {
            id: "i1".into(),
            title: "Checkout <slow>".into(),
            severity: "page".into(),
            group_labels: [("alertname", "Slow"), ("job", "shop")].map(|(n, v)| (n.into(), v.into())).into(),
            step: 1,
            round: 1,
            started_at: NOW - 60_000,
            ..IncidentView::default()
        });
        let storage = Storage::in_memory();
        let mut registry = Registry::default();
        let metrics = WebMetrics::register(&mut registry);
        let security = Arc::new(security);
        let behind = fake.clone();
        let parts = Parts {
            storage: storage.clone(),
            engine: Arc::new(Engine::new(EngineOptions { max_steps: 11_001, ..EngineOptions::default() })),
            clock: Arc::new(ManualClock::new(NOW)),
            registry: Arc::new(registry),
            metrics,
            security: security.clone(),
            rules: fake.clone(),
            targets: fake.clone(),
            incidents: fake.clone(),
            pager: Arc::new(move || behind.pager.lock().unwrap().clone()),
            lifecycle: fake.clone(),
        };
        let web = Arc::new(Web::new(parts, options));
        let listener = server::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let server = tokio::spawn(server::run(vec![listener], web.clone(), security, limits, shutdown));
        Self { addr, fake, storage, web, stop: Some(stop), server }
    }

    /// Samples of one time, as one scrape would bring them: `name{labels}` as pairs, value.
    fn append(&self, t: i64, samples: &[(&[(&str, &str)], f64)]) {
        let mut appender = self.storage.appender(SourceId(1));
        for (pairs, v) in samples {
            let id = appender.series(&Labels::from_pairs(pairs.iter().copied())).unwrap();
            appender.append(id, t, *v).unwrap();
        }
        appender.commit(t);
    }

    fn describe(&self, metric: &str, kind: MetricType, help: &str) {
        let metadata = MetricMetadata { kind, help: help.into(), unit: String::new() };
        self.storage.set_metadata(metric, metadata);
    }

    fn done(&self) -> Vec<String> {
        self.fake.done.lock().unwrap().clone()
    }

    async fn get(&self, path: &str) -> Reply {
        self.ask("GET", path, &[], "").await
    }

    async fn post(&self, path: &str, form: &str) -> Reply {
        self.ask("POST", path, &[("Content-Type", "application/x-www-form-urlencoded")], form).await
    }

    async fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &str) -> Reply {
        let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
        if !headers.iter().any(|(n, _)| *n == "Host") {
            request.push_str(&format!("Host: {}\r\n", self.addr));
        }
        for (name, value) in headers {
            request.push_str(&format!("{name}: {value}\r\n"));
        }
        request.push_str(&format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        Reply::parse(&self.raw(request.as_bytes()).await)
    }

    /// Sends bytes, and reads until the server closes.
    async fn raw(&self, bytes: &[u8]) -> Vec<u8> {
        let mut stream = TcpStream::connect(self.addr).await.unwrap();
        // The server may close before it has read everything.
        let _ = stream.write_all(bytes).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        answer
    }

    async fn end(mut self) {
        let _ = self.stop.take().unwrap().send(());
        self.server.await.unwrap();
    }
}

/// An answer as it came over the wire.
#[derive(Debug)]
struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    body: Vec<u8>,
}

impl Reply {
    fn parse(bytes: &[u8]) -> Self {
        let end = bytes.windows(4).position(|w| w == b"\r\n\r\n").expect("an HTTP head");
        let head = std::str::from_utf8(&bytes[..end]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers = lines
            .map(|l| l.split_once(':').unwrap())
            .map(|(n, v)| (n.to_ascii_lowercase(), v.trim().to_owned()))
            .collect();
        Self { status, headers, body: bytes[end + 4..].to_vec() }
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    fn text(&self) -> String {
        let mut bytes = Vec::new();
        match self.header("content-encoding") {
            Some("gzip") => {
                flate2::read::GzDecoder::new(&self.body[..]).read_to_end(&mut bytes).unwrap();
            }
            _ => bytes.clone_from(&self.body),
        }
        String::from_utf8(bytes).unwrap()
    }

    fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.text()).unwrap_or_else(|e| panic!("{e}: {}", self.text()))
    }
}
