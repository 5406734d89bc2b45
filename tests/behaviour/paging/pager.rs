//! The whole of paging, with its threads: alerts in, HTTP out, acknowledgement by link.

use std::sync::Arc;
use std::time::Duration;

use sideband::ledger::{Ledger, SimulatedDisk};
use sideband::model::{Alert, Clock as _, Labels, SystemClock};
use sideband::paging::acklink::LinkError;
use sideband::paging::config::PagingConfig;
use sideband::paging::engine::{AckResult, CommandError, Job, Outcome};
use sideband::paging::incident::{Actor, State, Verdict};
use sideband::paging::receivers::{Sending, Transport};
use sideband::paging::{Pager, PagerError, PagerHandle, PagerOptions};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::mpsc;

/// Far longer than anything takes here.
const PATIENCE: Duration = Duration::from_secs(60);

struct Wire(mpsc::UnboundedSender<Job>);

impl Transport for Wire {
    fn send(&self, job: Job) -> Sending {
        let _ = self.0.send(job);
        Box::pin(async { Outcome::Delivered })
    }
}

fn alert(name: &str) -> Alert {
    let now = SystemClock.now();
    Alert {
        labels: Labels::from_pairs([("alertname", name), ("severity", "page")]),
        annotations: Labels::empty(),
        starts_at: now,
        ends_at: now + 3_600_000,
        updated_at: now,
        generator_url: String::new(),
    }
}

fn write_config(dir: &std::path::Path, url: &str) -> PagingConfig {
    std::fs::write(dir.join("key"), "a key that is long enough\n").unwrap();
    let text = format!(
        "
route: {{receiver: p, group_wait: 0s, group_by: [alertname], escalation_policy: x}}
receivers:
- name: p
  webhook_configs: [{{url: '{url}', signing_key: secret}}]
users: [{{name: anna, receiver: p}}]
escalation_policies: [{{name: x, steps: [{{notify: [user/anna]}}]}}]
acknowledge: {{external_url: 'https://me.example/', key_file: key}}
"
    );
    PagingConfig::parse(&dir.join("paging.yml"), &text).unwrap()
}

fn start(dir: &std::path::Path, ledger: Ledger) -> (PagerHandle, mpsc::UnboundedReceiver<Job>) {
    let (tx, rx) = mpsc::unbounded_channel();
    let options = PagerOptions { transport: Some(Arc::new(Wire(tx))), ..PagerOptions::default() };
    (Pager::spawn(write_config(dir, "http://p.test/"), ledger, options).unwrap(), rx)
}

async fn next(rx: &mut mpsc::UnboundedReceiver<Job>) -> Job {
    tokio::time::timeout(PATIENCE, rx.recv()).await.expect("a page in time").expect("a page")
}

fn actor() -> Actor {
    Actor::new("anna", "api", "::1")
}

#[tokio::test]
async fn incidents_survive_a_restart_and_are_acknowledged() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ledger.redb");
    let (pager, mut rx) = start(dir.path(), Ledger::open(&path).unwrap());
    assert!(pager.alerts(vec![alert("Slow")]));
    let page = next(&mut rx).await;
    assert_eq!(page.notification.incident.as_ref().unwrap().user.as_deref(), Some("anna"));
    pager.shutdown().await;
    assert!(matches!(pager.incidents().await, Err(PagerError::Ended)) && !pager.alerts(vec![alert("Late")]));
    drop(pager);

    let ledger = tokio::time::timeout(PATIENCE, async {
        loop {
            match Ledger::open(&path) {
                Ok(ledger) => return ledger,
                Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    });
    let (pager, _rx) = start(dir.path(), ledger.await.unwrap());
    let incidents = pager.incidents().await.unwrap();
    assert_eq!((incidents.len(), incidents[0].state), (1, State::Triggered));
    let id = incidents[0].id.parse().unwrap();
    assert_eq!(pager.acknowledge(id, actor()).await.unwrap(), Ok(AckResult::Acknowledged));
    assert_eq!(pager.acknowledge(99, actor()).await.unwrap(), Err(CommandError::NotFound(99)));
    assert_eq!(pager.resolve(id, actor()).await.unwrap(), Ok(()));
    let seen = pager.incident(id).await.unwrap().unwrap();
    assert_eq!((seen.state, seen.acknowledged.unwrap().by.as_str()), (State::Resolved, "anna"));
    assert!(pager.incident(99).await.unwrap().is_none());
    assert_eq!(pager.check_link("nonsense"), Err(LinkError::Malformed));
    pager.shutdown().await;
}

#[tokio::test]
async fn a_broken_disk_holds_no_page_back_and_heals() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (pager, mut rx) = start(dir.path(), Ledger::on(&disk).unwrap());
    disk.limit(0);
    disk.fail_after(0);
    assert!(pager.alerts(vec![alert("Slow")]));
    next(&mut rx).await;
    disk.repair();
    // The whole is written as soon as the disk takes it again.
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while disk.syncs() < 6 && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pager.shutdown().await;
    disk.crash(|_| false);
    let (pager, _rx) = start(dir.path(), Ledger::on(&disk).unwrap());
    assert_eq!(pager.incidents().await.unwrap().len(), 1);
    pager.shutdown().await;
}

/// At the start the file can be read, but not be opened to be written: what is open is known all the same, and nothing of it is lost
/// when the disk works again.
#[tokio::test]
async fn a_disk_that_can_only_be_read_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let disk = SimulatedDisk::default();
    let (pager, mut rx) = start(dir.path(), Ledger::on(&disk).unwrap());
    assert!(pager.alerts(vec![alert("Slow")]));
    let first = next(&mut rx).await;
    disk.crash(|_| true);
    drop(pager);
    let ledger = Ledger::on(&disk).unwrap();
    disk.crash(|_| true);
    disk.fail_after(0);
    let (pager, mut rx) = start(dir.path(), ledger);
    assert!(!pager.is_durable());
    let incidents = pager.incidents().await.unwrap();
    assert_eq!((incidents.len(), incidents[0].state), (1, State::Triggered));
    assert_eq!(next(&mut rx).await.key, first.key, "nobody knows whether it arrived");
    disk.repair();
    let deadline = tokio::time::Instant::now() + PATIENCE;
    while !pager.is_durable() && tokio::time::Instant::now() < deadline {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    pager.shutdown().await;
    disk.crash(|_| false);
    let (pager, _rx) = start(dir.path(), Ledger::on(&disk).unwrap());
    assert_eq!(pager.incidents().await.unwrap().len(), 1);
    assert_eq!(pager.instance(), first.key.split('-').next().unwrap());
    pager.shutdown().await;
}

/// One HTTP request, answered with 200.
async fn take(listener: &TcpListener) -> (String, String) {
    let (mut stream, _) = tokio::time::timeout(PATIENCE, listener.accept()).await.unwrap().unwrap();
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head
                .lines()
                .find_map(|l| l.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
            if body.len() >= length.map_or(0, |l| l.trim().parse::<usize>().unwrap()) {
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    .await
                    .unwrap();
                return (head.to_owned(), body.to_owned());
            }
        }
        let n = stream.read(&mut buffer).await.unwrap();
        assert!(n > 0, "the request is cut off: {text}");
        bytes.extend_from_slice(&buffer[..n]);
    }
}

#[tokio::test]
async fn a_page_over_http_is_signed_and_its_link_acknowledges() {
    let dir = tempfile::tempdir().unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let ledger = Ledger::in_memory().unwrap();
    let pager = Pager::spawn(write_config(dir.path(), &url), ledger, PagerOptions::default()).unwrap();
    assert!(pager.alerts(vec![alert("Slow")]));
    let (head, body) = take(&listener).await;
    let head = head.to_lowercase();
    for header in ["idempotency-key: ", "x-sideband-timestamp: ", "x-sideband-signature: v1="] {
        assert!(head.contains(header), "{head}");
    }
    let body: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!((body["version"].as_str(), body["step"]["user"].as_str()), (Some("4"), Some("anna")));
    let link = body["ack_url"].as_str().unwrap();
    let token = link.strip_prefix("https://me.example/ack/").unwrap();
    let claim = pager.check_link(token).unwrap();
    assert_eq!(
        (claim.person.as_str(), claim.incident.to_string().as_str()),
        ("anna", body["incident"]["id"].as_str().unwrap())
    );
    let done =
        pager.acknowledge_by_link(claim.clone(), "192.0.2.1".to_owned(), "on it").await.unwrap().unwrap();
    assert_eq!(done.result, AckResult::Acknowledged);
    let again = pager.acknowledge_by_link(claim, "192.0.2.1".to_owned(), "on it").await.unwrap().unwrap();
    assert!(
        matches!(again.result, AckResult::Already(a) if a.actor.via == "link" && a.actor.from == "192.0.2.1")
    );
    // The other link says whether it was useful, and neither does the other's work.
    let link = body["feedback_url"].as_str().unwrap();
    let other = link.strip_prefix("https://me.example/judge/").unwrap();
    assert!(pager.check_link(other).is_err() && pager.check_judge_link(token).is_err());
    let claim = pager.check_judge_link(other).unwrap();
    let actor = || Actor::new(claim.person.clone(), "link", "");
    for verdict in [Verdict::Useless, Verdict::Useful] {
        pager.judge(claim.incident, verdict, actor(), "it helped".to_owned()).await.unwrap().unwrap();
    }
    let judged = pager.incident(claim.incident).await.unwrap().unwrap();
    let said = judged.judged.unwrap();
    assert_eq!((said.verdict, said.by.as_str(), said.comment.as_str()), ("useful", "anna", "it helped"));
    assert_eq!(judged.history.iter().filter(|h| h.what.starts_with("judged ")).count(), 2);
    assert!(pager.judge(77, Verdict::Useful, actor(), String::new()).await.unwrap().is_err());
    pager.shutdown().await;
}

#[tokio::test]
async fn a_receiver_that_cannot_be_sent_to_is_refused_by_name() {
    let text = "
route: {receiver: p}
receivers:
- name: p
  sns_configs: [{topic_arn: x}]
- name: unused
  sns_configs: [{topic_arn: x}]
";
    let config = PagingConfig::parse(std::path::Path::new("paging.yml"), text).unwrap();
    assert_eq!(config.unsendable.len(), 1);
    let Err(refused) = Pager::spawn(config, Ledger::in_memory().unwrap(), PagerOptions::default()) else {
        panic!("it starts");
    };
    let text = refused.to_string();
    assert!(text.contains("\"p\"") && text.contains("sns_configs") && text.contains("use "), "{text}");
}

/// Every kind that is sent to, over HTTP: what arrives.
#[tokio::test]
async fn each_kind_of_receiver_gets_its_own_form() {
    type Check = fn(&serde_json::Value) -> bool;
    let cases: [(&str, &str, Check); 6] = [
        ("alertmanager_configs: [{url: 'URL'}]", "POST /api/v2/alerts", |b| {
            b[0]["labels"]["alertname"] == "Slow"
        }),
        ("pagerduty_configs: [{routing_key: k, url: 'URL/pd'}]", "POST /pd", |b| {
            b["event_action"] == "trigger"
                && b["payload"]["summary"] == "[FIRING:1] Slow (page)"
                && b["dedup_key"].as_str().is_some_and(|k| k.ends_with("-i1"))
                && b["links"][0]["href"].as_str().is_some_and(|l| l.starts_with("https://me.example/ack/"))
        }),
        ("slack_configs: [{api_url: 'URL/slack', channel: '#x'}]", "POST /slack", |b| {
            b["channel"] == "#x"
                && b["attachments"][0]["title"] == "[FIRING:1] Slow (page)"
                && b["attachments"][0]["text"]
                    .as_str()
                    .is_some_and(|t| t.starts_with("<https://me.example/ack/"))
        }),
        ("discord_configs: [{webhook_url: 'URL/discord'}]", "POST /discord", |b| {
            b["embeds"][0]["title"] == "[FIRING:1] Slow (page)"
        }),
        ("msteams_configs: [{webhook_url: 'URL/teams'}]", "POST /teams", |b| b["@type"] == "MessageCard"),
        ("msteamsv2_configs: [{webhook_url: 'URL/teams2'}]", "POST /teams2", |b| {
            b["attachments"][0]["content"]["actions"][0]["type"] == "Action.OpenUrl"
        }),
    ];
    for (integration, line, check) in cases {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("key"), "a key that is long enough\n").unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let integration = integration.replace("URL", &format!("http://{}", listener.local_addr().unwrap()));
        let text = format!(
            "
route: {{receiver: p, group_wait: 0s, group_by: [alertname], escalation_policy: x}}
receivers: [{{name: p, {integration}}}]
escalation_policies: [{{name: x, steps: [{{notify: [receiver/p]}}]}}]
acknowledge: {{external_url: 'https://me.example/', key_file: key}}
"
        );
        let config = PagingConfig::parse(&dir.path().join("paging.yml"), &text).unwrap();
        let ledger = Ledger::in_memory().unwrap();
        let pager = Pager::spawn(config, ledger, PagerOptions::default()).unwrap();
        assert!(pager.alerts(vec![alert("Slow")]));
        let (head, body) = take(&listener).await;
        assert!(head.starts_with(line), "{head}");
        let body: serde_json::Value = serde_json::from_str(&body).unwrap();
        assert!(check(&body), "{integration}: {body}");
        pager.shutdown().await;
    }
}
