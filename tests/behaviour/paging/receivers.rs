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
const PATIENCE: Duration = Duration::from_secs(60);

/// A request that arrived.
#[derive(Debug, Clone)]
struct Asked {
    /// `POST /path`
    line: String,
    headers: BTreeMap<String, String>,
    body: String,
}

impl Asked {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_default()
    }
}

type Answers = Arc<dyn Fn(&Asked, usize) -> (u16, String) + Send + Sync>;

/// An HTTP server; `answers` get the request and its number.
struct Server {
    url: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Server {
    async fn start(answers: impl Fn(&Asked, usize) -> (u16, String) + Send + Sync + 'static) -> Self {
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

    fn all(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// Everything, once there are so many.
    async fn until(&self, n: usize) -> Vec<Asked> {
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

fn alert(name: &str, over: bool) -> Alert {
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
fn start(dir: &Path, integrations: &str, more: &str, ledger: Ledger) -> PagerHandle {
    start_with(dir, integrations, more, ledger, PagerOptions::default())
}

fn start_with(
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

fn ben() -> Actor {
    Actor::new("ben", "api", "")
}

async fn told(pager: &PagerHandle, part: &str) -> String {
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

async fn incident(pager: &PagerHandle) -> u64 {
    let deadline = tokio::time::Instant::now() + PATIENCE;
    loop {
        if let Some(i) = pager.incidents().await.unwrap().first() {
            return i.id.parse().unwrap();
        }
        assert!(tokio::time::Instant::now() < deadline, "no incident");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test]
async fn slack_keeps_one_message_up_to_date_also_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_memory().unwrap();
    let server = Server::start(|asked, nth| {
        // The first update is put off.
        if asked.line.ends_with("chat.update") && nth == 1 {
            return (429, String::new());
        }
        (200, json!({"ok": true, "channel": "C42", "ts": "1700000000.000100"}).to_string())
    })
    .await;
    let integration = format!(
        "slack_configs: [{{bot_token: xoxb-very-secret, app_url: '{}/api/chat.postMessage', channel: '#ops', send_resolved: true}}]",
        server.url
    );
    let callbacks = "callbacks: {slack: {secrets: [12345678]}}";
    let pager = start(dir.path(), &integration, callbacks, ledger.clone());
    assert!(pager.alerts(vec![alert("Slow", false)]));
    let first = server.until(1).await.remove(0);
    assert_eq!(first.line, "POST /api/chat.postMessage");
    assert_eq!(first.headers["authorization"], "Bearer xoxb-very-secret");
    let body = first.json();
    let button = &body["attachments"][0]["actions"][0];
    assert_eq!(
        (&body["channel"], &button["name"]),
        (&json!("#ops"), &json!("sideband_acknowledge")),
        "{body}"
    );
    assert_eq!(body["attachments"][0]["callback_id"], "sideband_acknowledge");
    let claim = pager.check_link(button["value"].as_str().unwrap()).unwrap();
    assert_eq!(claim.person, "anna");
    told(&pager, "page delivered").await;
    pager.shutdown().await;

    let pager = start(dir.path(), &integration, callbacks, ledger);
    let id = incident(&pager).await;
    assert!(pager.acknowledge(id, ben()).await.unwrap().is_ok());
    let all = server.until(4).await;
    let lines: Vec<&str> = all[1..4].iter().map(|a| a.line.as_str()).collect();
    assert_eq!(lines, ["POST /api/chat.update", "POST /api/chat.update", "POST /api/chat.postMessage"]);
    assert_eq!(all[1].headers["idempotency-key"], all[2].headers["idempotency-key"]);
    let update = all[2].json();
    assert_eq!((&update["channel"], &update["ts"]), (&json!("C42"), &json!("1700000000.000100")));
    let attachment = &update["attachments"][0];
    assert!(attachment["text"].as_str().unwrap().starts_with("Acknowledged by ben"), "{update}");
    assert!(attachment["actions"].is_null() && update["username"].is_null(), "{update}");
    let reply = all[3].json();
    assert_eq!(
        (&reply["thread_ts"], &reply["text"]),
        (&json!("1700000000.000100"), &json!("Acknowledged by ben"))
    );
    assert!(reply["reply_broadcast"].is_null());

    assert!(pager.resolve(id, ben()).await.unwrap().is_ok());
    let all = server.until(6).await;
    assert_eq!(all[4].json()["attachments"][0]["color"], "good");
    assert_eq!(all[5].json()["thread_ts"], "1700000000.000100");
    pager.shutdown().await;
}

#[tokio::test]
async fn a_page_that_slack_cannot_update_is_written_anew_and_a_second_page_rings() {
    let dir = tempfile::tempdir().unwrap();
    let server = Server::start(|asked, nth| {
        if asked.line.ends_with("chat.update") && nth < 4 {
            return (200, json!({"ok": false, "error": "message_not_found"}).to_string());
        }
        (200, json!({"ok": true, "channel": "C1", "ts": format!("{nth}.0")}).to_string())
    })
    .await;
    let integration = format!(
        "slack_configs: [{{app_token: xoxb-1, app_url: '{}/api/chat.postMessage', channel: '#ops'}}]",
        server.url
    );
    let pager = start(
        dir.path(),
        &integration,
        "severities: [info, page, worse, worst]",
        Ledger::in_memory().unwrap(),
    );
    let worse = |severity: &str| {
        let mut alert = alert("Slow", false);
        alert.labels = Labels::from_pairs([("alertname", "Slow"), ("severity", severity), ("x", severity)]);
        alert
    };
    assert!(pager.alerts(vec![alert("Slow", false)]));
    server.until(1).await;
    told(&pager, "page delivered").await;
    let id = incident(&pager).await;
    assert!(pager.acknowledge(id, ben()).await.unwrap().is_ok());
    // chat.update is refused, so a new message is written.
    let all = server.until(3).await;
    assert!(all[1].line.ends_with("chat.update") && all[2].json()["thread_ts"].is_null());
    told(&pager, "message delivered").await;
    // A worse alert reopens it. The update is refused again, and so a message of its own goes out.
    assert!(pager.alerts(vec![worse("worse")]));
    let all = server.until(5).await;
    assert!(all[3].line.ends_with("chat.update") && all[3].json()["ts"] == "2.0", "{:?}", all[3]);
    assert!(all[4].json()["thread_ts"].is_null(), "{:?}", all[4]);
    told(&pager, "loop 2, step 1").await;
    assert!(pager.acknowledge(id, ben()).await.unwrap().is_ok());
    server.until(7).await;
    // Once more, and now the message can be updated: the channel hears of it by the thread.
    assert!(pager.alerts(vec![worse("worst")]));
    let all = server.until(9).await;
    assert_eq!(all[7].json()["ts"], "4.0");
    let reply = all[8].json();
    assert_eq!((&reply["thread_ts"], &reply["reply_broadcast"]), (&json!("4.0"), &json!(true)), "{reply}");
    assert!(reply["text"].as_str().unwrap().contains("Paged: anna"), "{reply}");
    pager.shutdown().await;
}

/// Nothing that an alert or a person says rings a channel or forges a link; what the configuration says does.
#[tokio::test]
async fn slack_reads_values_as_text() {
    let templates = |clock| Arc::new(sideband::daemon::MessageTemplates::new(clock));
    for (keys, escaped) in [("", true), (", escape_values: false", false)] {
        let dir = tempfile::tempdir().unwrap();
        let server =
            Server::start(|_, _| (200, json!({"ok": true, "channel": "C", "ts": "1"}).to_string())).await;
        let own = "<!here> <{{ .CommonAnnotations.runbook_url }}|Runbook> {{ .CommonAnnotations.summary }}";
        let integration = format!(
            "slack_configs: [{{bot_token: x, app_url: '{0}/chat.postMessage', channel: '#{{{{ .CommonLabels.team }}}}', \
             pretext: '{own}', title_link: '{{{{ .CommonAnnotations.runbook_url }}}}', link_names: true, \
             fields: [{{title: t, value: '{{{{ .CommonLabels.path }}}}'}}]{keys}}}]",
            server.url
        );
        let options = PagerOptions { render: templates(Arc::new(SystemClock)), ..PagerOptions::default() };
        let pager = start_with(dir.path(), &integration, "", Ledger::in_memory().unwrap(), options);
        let mut bad = alert("Slow", false);
        bad.labels = Labels::from_pairs([
            ("alertname", "Slow"),
            ("severity", "page"),
            ("path", "<!channel> & <https://evil.test|Acknowledge> @here"),
            ("team", "r&d"),
        ]);
        bad.annotations = Labels::from_pairs([
            ("summary", "a > b <@U1> &lt;ok&gt;"),
            ("runbook_url", "https://r.test/?a=1&b=2"),
        ]);
        assert!(pager.alerts(vec![bad]));
        let body = server.until(1).await.remove(0).json();
        let a = &body["attachments"][0];
        let text = a["text"].as_str().unwrap();
        assert!(text.starts_with("<https://me.example/ack/"), "our own link is one: {text}");
        assert_eq!((&body["channel"], &a["title_link"]), (&json!("#r&d"), &json!("https://r.test/?a=1&b=2")));
        let (pretext, value) = (a["pretext"].as_str().unwrap(), a["fields"][0]["value"].as_str().unwrap());
        if escaped {
            let expect = "<!here> <https://r.test/?a=1&amp;b=2|Runbook> a &gt; b &lt;@U1&gt; &lt;ok&gt;";
            assert_eq!(pretext, expect);
            let expect = "&lt;!channel&gt; &amp; &lt;https://evil.test|Acknowledge&gt; @\u{200b}here";
            assert_eq!(value, expect);
            assert!(
                !text.contains("<!") && !text.contains("<@") && !text.contains("<https://evil"),
                "{text}"
            );
        } else {
            assert!(value.starts_with("<!channel> & <https://evil"), "{value}");
        }
        told(&pager, "page delivered").await;
        // Whoever acknowledges may call himself what he likes.
        let id = incident(&pager).await;
        let eve = Actor::new("<!channel>", "api", "").saying("on <it>");
        assert!(pager.acknowledge(id, eve).await.unwrap().is_ok());
        let reply = server.until(3).await[2].json();
        let expect = if escaped {
            "Acknowledged by &lt;!channel&gt;: on &lt;it&gt;"
        } else {
            "Acknowledged by <!channel>: on <it>"
        };
        assert_eq!(reply["text"], expect);
        pager.shutdown().await;
    }
}

#[tokio::test]
async fn slacks_refusals() {
    for (error, retried) in [
        ("channel_not_found", false),
        ("invalid_auth", false),
        ("not_in_channel", false),
        ("ratelimited", true),
        ("internal_error", true),
        ("service_unavailable", true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let server = Server::start(move |_, nth| match nth {
            0 => (200, json!({"ok": false, "error": error}).to_string()),
            _ => (200, json!({"ok": true, "channel": "C", "ts": "1"}).to_string()),
        })
        .await;
        let integration = format!(
            "slack_configs: [{{bot_token: x, app_url: '{}/chat.postMessage', channel: c}}]",
            server.url
        );
        let pager = start(dir.path(), &integration, "", Ledger::in_memory().unwrap());
        assert!(pager.alerts(vec![alert("Slow", false)]));
        let line = told(&pager, error).await;
        assert_eq!(line.contains("trying again"), retried, "{line}");
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
