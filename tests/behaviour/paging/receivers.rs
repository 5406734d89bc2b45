//! What each kind of receiver is told, over HTTP, and what its answers mean.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use sideband::ledger::Ledger;
use sideband::model::{Alert, Clock as _, Labels, SystemClock};
use sideband::paging::config::PagingConfig;
use sideband::paging::incident::Actor;
use sideband::paging::{Pager, PagerHandle, PagerOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

/// Far longer than anything takes here.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A request that arrived.
#[derive(Debug, Clone)]
pub struct Asked {
    /// `POST /path`
    pub line: String,
    pub headers: BTreeMap<String, String>,
    pub body: String,
}

impl Asked {
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

type Answers = Arc<dyn Fn(&Asked, usize) -> (u16, String) + Send + Sync>;

/// An HTTP server; `answers` get the request and its number.
pub struct Server {
    pub url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    pub async fn start(answers: impl Fn(&Asked, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (log, answers): (_, Answers) = (Arc::clone(&asked), Arc::new(answers));
        tokio::spawn(async move {
            loop {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let (log, answers) = (Arc::clone(&log), Arc::clone(&answers));
                tokio::spawn(async move {
                    let mut bytes = Vec::new();
                    let asked = loop {
                        if let Some(asked) = whole(&bytes) {
                            break asked;
                        }
                        if tcp.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                            return;
                        }
                    };
                    let nth = {
                        let mut log = log.lock().unwrap();
                        log.push(asked.clone());
                        log.len() - 1
                    };
                    let (status, body) = answers(&asked, nth);
                    let retry = if status == 429 { "Retry-After: 1\r\n" } else { "" };
                    let length = body.len();
                    let head = format!(
                        "HTTP/1.1 {status} X\r\n{retry}Content-Length: {length}\r\nConnection: close\r\n\r\n"
                    );
                    let _ = tcp.write_all(format!("{head}{body}").as_bytes()).await;
                });
            }
        });
        Self { url, asked }
    }

    pub fn all(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Everything, once there are so many.
    pub async fn until(&self, n: usize) -> Vec<Asked> {
        let deadline = tokio::time::Instant::now() + PATIENCE;
        loop {
            let all = self.all();
            if all.len() >= n {
                return all;
            }
            assert!(tokio::time::Instant::now() < deadline, "{} of {n}: {all:?}", all.len());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
}

fn whole(bytes: &[u8]) -> Option<Asked> {
    let text = String::from_utf8_lossy(bytes);
    let (head, body) = text.split_once("\r\n\r\n")?;
    let mut lines = head.lines();
    let line = lines.next()?.rsplit_once(' ')?.0.to_owned();
    let headers: BTreeMap<String, String> =
        lines.filter_map(|l| l.split_once(": ")).map(|(n, v)| (n.to_lowercase(), v.to_owned())).collect();
    let length: usize = headers.get("content-length").map_or(0, |l| l.parse().unwrap());
    (body.len() >= length).then(|| Asked { line, headers, body: body.to_owned() })
}

pub fn alert(name: &str, over: bool) -> Alert {
    let now = SystemClock.now();
    Alert {
        labels: Labels::from_pairs([("alertname", name), ("severity", "page")]),
        annotations: Labels::from_pairs([("summary", "it is slow")]),
        starts_at: now - 1000,
        ends_at: if over { now } else { now + 3_600_000 },
        updated_at: now,
        generator_url: String::new(),
    }
}

/// A pager with one person, reached by these integrations. `more` is further keys of the file.
pub fn start(dir: &Path, integrations: &str, more: &str, ledger: Ledger) -> PagerHandle {
    start_with(dir, integrations, more, ledger, PagerOptions::default())
}

pub fn start_with(
    dir: &Path,
    integrations: &str,
    more: &str,
    ledger: Ledger,
    options: PagerOptions,
) -> PagerHandle {
    std::fs::write(dir.join("key"), "a key that is long enough\n").unwrap();
    let text = format!(
        "
route: {{receiver: p, group_wait: 0s, group_by: [alertname], escalation_policy: x}}
receivers: [{{name: p, {integrations}}}]
users: [{{name: anna, receiver: p}}]
escalation_policies: [{{name: x, steps: [{{notify: [user/anna]}}]}}]
acknowledge: {{external_url: 'https://me.example/', key_file: key}}
{more}
"
    );
    let config = PagingConfig::parse(&dir.join("paging.yml"), &text).expect(integrations);
    assert!(config.unsendable.is_empty(), "{:?}", config.unsendable);
    Pager::spawn(config, ledger, options).unwrap()
}

pub fn ben() -> Actor {
    Actor::new("ben", "api", "")
}

pub async fn told(pager: &PagerHandle, part: &str) -> String {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        let incidents = pager.incidents().await.unwrap();
        let mut history = incidents.iter().flat_map(|i| i.history.iter().map(|h| h.what.clone()));
        if let Some(line) = history.find(|l| l.contains(part)) {
            return line;
        }
        assert!(tokio::time::Instant::now() < deadline, "no {part:?}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub async fn incident(pager: &PagerHandle) -> u64 {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(i) = pager.incidents().await.unwrap().first() {
            return i.id.parse().unwrap();
        }
        assert!(tokio::time::Instant::now() < deadline, "no incident");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A label calls nobody, wherever it is said; the configuration may.
#[tokio::test]
async fn a_label_calls_nobody() {
    for integration in [
        "discord_configs: [{webhook_url: 'URL/', content: '@here {{ .CommonAnnotations.summary }}'}]",
        "mattermost_configs: [{webhook_url: 'URL/', text: '@here {{ .CommonAnnotations.summary }}'}]",
        "rocketchat_configs: [{api_url: 'URL', token: t, token_id: u, channel: c, text: '@here {{ .CommonAnnotations.summary }}'}]",
        "webex_configs: [{api_url: 'URL/', room_id: r, message: '@here {{ .CommonAnnotations.summary }}', http_config: {authorization: {credentials: t}}}]",
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(|_, _| (200, "{\"success\":true}".to_owned())).await;
        let render = Arc::new(sideband::daemon::MessageTemplates::new(Arc::new(SystemClock)));
        let options = PagerOptions { render, ..PagerOptions::default() };
        let integration = integration.replace("URL", &server.url);
        let pager = start_with(dir.path(), &integration, "", Ledger::in_memory().unwrap(), options);
        let mut bad = alert("Slow", false);
        bad.annotations = Labels::from_pairs([("summary", "<@all> <@123> @everyone @channel x@y.test")]);
        assert!(pager.alerts(vec![bad]));
        let body = server.until(1).await.remove(0).body;
        assert_eq!(body.matches("@here").count(), 1, "{body}");
        for call in ["<@", "@all", "@everyone", "@channel"] {
            assert!(!body.contains(call), "{call}: {body}");
        }
        assert!(body.contains("x@y.test"), "{body}");
        told(&pager, "page delivered").await;
        pager.shutdown().await;
    }
}

#[tokio::test]
async fn pagerduty_hears_of_acknowledgement_and_end_under_one_key() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|_, _| (202, "{}".to_owned())).await;
    let long = "x".repeat(600_000);
    let integration = format!(
        "pagerduty_configs: [{{routing_key: R0, url: '{}/v2/enqueue', details: {{nested: {{a: ['{long}']}}}},
          images: [{{src: 'https://i.test/a.png'}}], links: [{{href: 'https://l.test/', text: more}}]}}]",
        server.url
    );
    let pager = start(dir.path(), &integration, "", Ledger::in_memory().unwrap());
    assert!(pager.alerts(vec![alert(&"long ".repeat(400), false)]));
    server.until(1).await;
    told(&pager, "page delivered").await;
    let id = incident(&pager).await;
    assert!(pager.acknowledge(id, ben()).await.unwrap().is_ok());
    server.until(2).await;
    assert!(pager.resolve(id, ben()).await.unwrap().is_ok());
    let events: Vec<Value> = server.until(3).await.iter().map(Asked::json).collect();
    let actions: Vec<&str> = events.iter().map(|e| e["event_action"].as_str().unwrap()).collect();
    assert_eq!(actions, ["trigger", "acknowledge", "resolve"]);
    assert!(events.iter().all(|e| e["dedup_key"] == format!("{}-i{id}", pager.instance())), "{events:?}");
    let trigger = &events[0];
    let summary = trigger["payload"]["summary"].as_str().unwrap();
    assert!(summary.chars().count() == 1024 && summary.ends_with('…'));
    assert!(trigger.to_string().len() < 512_000);
    // The way to acknowledge is not among what was left out.
    let details = &trigger["payload"]["custom_details"];
    assert!(details["error"].is_string() && details["acknowledge"].is_string(), "{details}");
    assert_eq!(trigger["images"][0]["src"], "https://i.test/a.png");
    assert_eq!(trigger["links"][0]["href"], "https://l.test/");
    pager.shutdown().await;
}

/// The smaller kinds: what arrives.
#[tokio::test]
async fn the_other_kinds() {
    type Check = fn(&Asked) -> bool;
    let cases: [(&str, &str, &str, Check); 12] = [
        (
            "telegram_configs: [{bot_token: '123:abc', chat_id: -7, api_url: 'URL'}]",
            "POST /bot123:abc/sendMessage",
            "{\"ok\":true}",
            |a| {
                let b = a.json();
                b["chat_id"] == -7
                    && b["text"].as_str().is_some_and(|t| t.contains("https://me.example/ack/"))
            },
        ),
        (
            "opsgenie_configs: [{api_key: k1, api_url: 'URL/', responders: [{name: ops, type: team}], tags: 'a, b'}]",
            "POST /v2/alerts",
            "",
            |a| {
                let b = a.json();
                a.headers["authorization"] == "GenieKey k1"
                    && b["alias"].as_str().is_some_and(|k| k.ends_with("-i1"))
                    && b["message"] == "[FIRING:1] it is slow (Slow)"
                    && b["responders"][0]["type"] == "team"
                    && b["tags"] == json!(["a", "b"])
            },
        ),
        // What a service would refuse with the whole alert is left out, cut or put right.
        (
            "opsgenie_configs: [{api_key: k1, api_url: 'URL/', priority: urgent, tags: 'aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbb', source: 'aaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbbaaaaaaaaaabbbbbbbbbb'}]",
            "POST /v2/alerts",
            "",
            |a| {
                let b = a.json();
                let length = |v: &Value| v.as_str().map(|t| t.chars().count());
                b["priority"].is_null()
                    && length(&b["tags"][0]) == Some(50)
                    && length(&b["source"]) == Some(100)
            },
        ),
        (
            "pagerduty_configs: [{routing_key: k, url: 'URL/', description: ' ', severity: Critical, source: ' ', client: ' '}]",
            "POST /",
            "",
            |a| {
                let p = a.json()["payload"].clone();
                p["severity"] == "critical"
                    && p["source"] == "sideband"
                    && p["summary"] == "[FIRING:1] it is slow (Slow)"
            },
        ),
        (
            "victorops_configs: [{api_key: k1, api_url: 'URL/', routing_key: 'a b/c'}]",
            "POST /k1/a%20b%2Fc",
            "",
            |_| true,
        ),
        ("discord_configs: [{webhook_url: 'URL/d', content: '@here', username: u}]", "POST /d", "", |a| {
            let b = a.json();
            b["content"] == "@here"
                && b["username"] == "u"
                && b["embeds"][0]["title"] == "[FIRING:1] it is slow (Slow)"
        }),
        (
            "victorops_configs: [{api_key: k1, api_url: 'URL/', routing_key: ops, custom_fields: {a: b}}]",
            "POST /k1/ops",
            "",
            |a| {
                let b = a.json();
                b["message_type"] == "CRITICAL"
                    && b["a"] == "b"
                    && b["entity_id"].as_str().is_some_and(|k| k.ends_with("-i1"))
            },
        ),
        (
            "webex_configs: [{api_url: 'URL/v1/messages', room_id: r, http_config: {authorization: {credentials: t}}}]",
            "POST /v1/messages",
            "",
            |a| a.headers["authorization"] == "Bearer t" && a.json()["roomId"] == "r",
        ),
        (
            "rocketchat_configs: [{api_url: 'URL/', token: t, token_id: u, channel: '#x'}]",
            "POST /api/v1/chat.postMessage",
            "{\"success\":true}",
            |a| {
                let b = a.json();
                a.headers["x-auth-token"] == "t"
                    && a.headers["x-user-id"] == "u"
                    && b["channel"] == "#x"
                    && b["attachments"][0]["actions"][0]["type"] == "button"
            },
        ),
        ("mattermost_configs: [{webhook_url: 'URL/hooks/1', channel: town}]", "POST /hooks/1", "ok", |a| {
            let b = a.json();
            b["channel"] == "town"
                && b["attachments"][0]["text"]
                    .as_str()
                    .is_some_and(|t| t.starts_with("[Acknowledge](https://"))
        }),
        ("incidentio_configs: [{url: 'URL/v2', alert_source_token: tok}]", "POST /v2", "", |a| {
            a.headers["authorization"] == "Bearer tok" && a.json()["version"] == "4"
        }),
        (
            "webhook_configs: [{url: 'URL/own', payload: {title: fixed, list: [1, {a: b}]}}]",
            "POST /own",
            "",
            |a| a.json() == json!({"title": "fixed", "list": [1, {"a": "b"}]}),
        ),
    ];
    for (integration, line, answer, check) in cases {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(move |_, _| (200, answer.to_owned())).await;
        let pager =
            start(dir.path(), &integration.replace("URL", &server.url), "", Ledger::in_memory().unwrap());
        assert!(pager.alerts(vec![alert("Slow", false)]));
        let asked = server.until(1).await.remove(0);
        assert_eq!(asked.line, line);
        assert!(check(&asked), "{asked:?}");
        told(&pager, "page delivered").await;
        pager.shutdown().await;
    }
}

#[tokio::test]
async fn names_in_any_script_and_answers_that_repeat_secrets() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("token"), "a-token-in-a-file\n").unwrap();
    let server = Server::start(|asked, nth| match nth {
        0 => (200, json!({"ok": true}).to_string()),
        _ => (400, format!("bad token {:?} for {}", asked.headers.get("authorization"), asked.line)),
    })
    .await;
    std::fs::write(dir.path().join("key"), "a key that is long enough\n").unwrap();
    let text = format!(
        "
route: {{receiver: Bereitschaft Süd, group_wait: 0s, group_by: [alertname], escalation_policy: x}}
receivers:
- name: Bereitschaft Süd
  max_concurrency: 2
  slack_configs: [{{app_token_file: token, app_url: '{0}/chat.postMessage', channel: c, send_resolved: true, update_message: false}}]
  webhook_configs: [{{url: '{0}/hook?key=inline-url-secret'}}]
escalation_policies: [{{name: x, steps: [{{notify: [receiver/Bereitschaft Süd]}}]}}]
acknowledge: {{external_url: 'https://me.example/', key_file: key}}
",
        server.url
    );
    let config = PagingConfig::parse(&dir.path().join("paging.yml"), &text).unwrap();
    assert_eq!(config.receivers["Bereitschaft Süd"].max_concurrency, 2);
    let shown = format!("{config:?}");
    assert!(!shown.contains("inline-url-secret"), "{shown}");
    let pager = Pager::spawn(config, Ledger::in_memory().unwrap(), PagerOptions::default()).unwrap();
    assert!(pager.alerts(vec![alert("Slow", false)]));
    server.until(2).await;
    let line = told(&pager, "will not take it").await;
    assert!(line.contains("status 400") && line.contains("<secret>"), "{line}");
    for secret in ["a-token-in-a-file", "inline-url-secret"] {
        assert!(!line.contains(secret), "{line}");
    }
    let id = incident(&pager).await;
    assert!(pager.resolve(id, ben()).await.unwrap().is_ok());
    // Those that took the page hear the end, under a key that a header can carry.
    let all = server.until(3).await;
    let key = &all[2].headers["idempotency-key"];
    assert!(key.contains("Bereitschaft%20S%C3%BCd"), "{key}");
    pager.shutdown().await;
}

/// A template that fails when it is due costs no page: the built-in text goes out, and says so.
#[tokio::test]
async fn a_template_that_fails_costs_no_page() {
    for (integration, place) in [
        (
            "slack_configs: [{api_url: 'URL/', title: '{{ .Broken }}', text: '{{ .Broken }}'}]",
            "/attachments/0/title",
        ),
        (
            "pagerduty_configs: [{routing_key: k, url: 'URL/', description: '{{ .Broken }}'}]",
            "/payload/summary",
        ),
        ("discord_configs: [{webhook_url: 'URL/', title: '{{ .Broken }}'}]", "/embeds/0/title"),
        ("opsgenie_configs: [{api_key: k, api_url: 'URL/', message: '{{ .Broken }}'}]", "/message"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(|_, _| (200, "ok".to_owned())).await;
        let integration = integration.replace("URL", &server.url);
        // Nobody lends templates here, so that every one of them fails.
        let pager = start(dir.path(), &integration, "", Ledger::in_memory().unwrap());
        assert!(pager.alerts(vec![alert("Slow", false)]));
        let body = server.until(1).await.remove(0).json();
        let text = body.pointer(place).and_then(Value::as_str).unwrap_or_else(|| panic!("{body}"));
        assert!(
            text.starts_with("[FIRING:1] it is slow (Slow)") && text.contains("error expanding template"),
            "{text}"
        );
        told(&pager, "page delivered").await;
        pager.shutdown().await;
    }
}

/// As many at once as the receiver takes, and not one more.
#[tokio::test]
async fn a_receiver_is_not_asked_more_often_at_once_than_it_takes() {
    let dir = tempfile::tempdir().unwrap();
    let (running, most) = (Arc::new(Mutex::new(0)), Arc::new(Mutex::new(0)));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (count, high) = (Arc::clone(&running), Arc::clone(&most));
    tokio::spawn(async move {
        loop {
            let (mut tcp, _) = listener.accept().await.unwrap();
            let (count, high) = (Arc::clone(&count), Arc::clone(&high));
            tokio::spawn(async move {
                {
                    let mut n = count.lock().unwrap();
                    *n += 1;
                    let mut high = high.lock().unwrap();
                    *high = (*high).max(*n);
                }
                let mut buffer = [0; 65536];
                let _ = tcp.read(&mut buffer).await;
                // Nobody is answered before as many are here as may come; 20 ms later whoever is too many would be here.
                while *high.lock().unwrap() < 3 {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                *count.lock().unwrap() -= 1;
                let _ =
                    tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").await;
            });
        }
    });
    let text = format!(
        "route: {{receiver: p, group_wait: 0s, group_by: [alertname]}}\nreceivers: [{{name: p, max_concurrency: 3, \
         webhook_configs: [{{url: '{url}'}}]}}]\n"
    );
    let config = PagingConfig::parse(&dir.path().join("paging.yml"), &text).unwrap();
    let pager = Pager::spawn(config, Ledger::in_memory().unwrap(), PagerOptions::default()).unwrap();
    assert!(pager.alerts((0..20).map(|i| alert(&format!("A{i}"), false)).collect()));
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while *most.lock().unwrap() < 3 || *running.lock().unwrap() > 0 {
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(*most.lock().unwrap(), 3);
    pager.shutdown().await;
}
