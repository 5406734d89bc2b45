//! `alerting:`: what its configuration allows, and what becomes of alerts when the receiver or the process is down.

use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sideband::ledger::Ledger;
use sideband::model::{Alert, Labels, ManualClock, Timestamp, yaml};
use sideband::remote::{AlertingConfig, AlertmanagerSender, NOTIFICATIONS_TABLE, SenderMetrics, SenderParts};
use sideband::scrape::ScrapeMetrics;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

#[test]
fn configurations() {
    let file = Path::new("alerting.yml");
    for (text, fault) in [
        ("alertmanagers: []", ""),
        (
            "alertmanagers: [{static_configs: [{targets: ['a:9093']}], api_version: v2, timeout: 3s, path_prefix: /x/}]",
            "",
        ),
        (
            "alertmanagers: [{file_sd_configs: [{files: ['*.json']}], relabel_configs: [{action: keep, regex: a}]}]",
            "",
        ),
        ("alertmanagers: [{alert_relabel_configs: [{action: labeldrop, regex: pod}]}]", ""),
        // Relabelling may still make an address of it.
        (
            "alertmanagers: [{static_configs: [{targets: ['http://a']}], relabel_configs: [{replacement: b, target_label: __address__}]}]",
            "",
        ),
        ("alertmanagers: [{static_configs: [{targets: ['http://a']}]}]", "is not a valid hostname"),
        ("alertmanagers: [{scheme: ftp}]", "unknown scheme"),
        ("alertmanagers: [{api_version: v1}]", "expected Alertmanager api version"),
        ("alertmanagers: [{api_version: v3}]", "expected Alertmanager api version"),
        ("alertmanagers: [{file_sd_configs: [{files: []}]}]", "must contain at least one path name"),
        ("alertmanagers: [{file_sd_configs: [{files: ['a.txt']}]}]", "not valid for file discovery"),
        ("alertmanagers: [{relabel_configs: [null]}]", "empty or null Alertmanager target relabeling rule"),
        (
            "alertmanagers: [{alert_relabel_configs: [null]}]",
            "empty or null Alertmanager alert relabeling rule",
        ),
        ("alert_relabel_configs: [null]", "empty or null alert relabeling rule"),
        ("alert_relabel_configs: [{regex: '('}]", "error parsing regexp"),
        ("alertmanagers: [{dns_sd_configs: [{names: [a]}]}]", "dns_sd_configs is not built yet"),
        ("alertmanagers: [{sigv4: {}}]", "sigv4 is not built yet"),
        ("alertmanagers: [{adresses: []}]", "adresses"),
        ("alertmanagers: [{bearer_token: x, basic_auth: {username: a}}]", "at most one of"),
    ] {
        let read = yaml::read::<AlertingConfig>(file, text).map_err(|e| e.to_string());
        let checked = read.and_then(|config| config.validate().map_err(|e| e.to_string()));
        match checked {
            Ok(()) => assert_eq!(fault, "", "{text}"),
            Err(reason) => assert!(!fault.is_empty() && reason.contains(fault), "{text}: {reason}"),
        }
    }
}

/// A receiver whose status can be set, and the bodies that it took with 200.
struct Receiver {
    address: String,
    status: Arc<AtomicU16>,
    taken: Arc<Mutex<Vec<serde_json::Value>>>,
}

async fn receiver(status: u16) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (status, taken) = (Arc::new(AtomicU16::new(status)), Arc::new(Mutex::new(Vec::new())));
    let (now, into) = (Arc::clone(&status), Arc::clone(&taken));
    tokio::spawn(async move {
        loop {
            let Ok((mut socket, _)) = listener.accept().await else { return };
            let (now, into) = (Arc::clone(&now), Arc::clone(&into));
            tokio::spawn(async move {
                loop {
                    let mut head = Vec::new();
                    while !head.ends_with(b"\r\n\r\n") {
                        match socket.read_u8().await {
                            Ok(b) => head.push(b),
                            Err(_) => return,
                        }
                    }
                    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
                    let length = head.lines().find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
                    let mut body = vec![0; length.unwrap_or(0)];
                    socket.read_exact(&mut body).await.unwrap();
                    let status = now.load(Ordering::SeqCst);
                    if status == 200 {
                        let alerts: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
                        into.lock().unwrap().extend(alerts);
                    }
                    let out = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
                    if socket.write_all(out.as_bytes()).await.is_err() {
                        return;
                    }
                }
            });
        }
    });
    Receiver { address, status, taken }
}

const NOW: Timestamp = 1_800_000_000_000;

fn alert(name: &str, resolved: bool) -> Alert {
    Alert {
        labels: Labels::from_pairs([("alertname", name), ("pod", "own")]),
        annotations: Labels::from_pairs([("summary", "s")]),
        starts_at: NOW - 60_000,
        ends_at: if resolved { NOW } else { NOW + 240_000 },
        updated_at: NOW,
        generator_url: "http://g".to_owned(),
    }
}

fn sender(ledger: &Ledger) -> AlertmanagerSender {
    AlertmanagerSender::new(SenderParts {
        ledger: ledger.clone(),
        clock: Arc::new(ManualClock::new(NOW)),
        metrics: SenderMetrics::default(),
        scrape_metrics: ScrapeMetrics::default(),
    })
}

async fn apply(sender: &AlertmanagerSender, text: &str, dir: &Path) {
    let config: AlertingConfig = yaml::read(Path::new("alerting.yml"), text).unwrap();
    let external = Labels::from_pairs([("pod", "external"), ("zone", "a")]);
    let prepared = AlertmanagerSender::prepare(&config, dir, external).unwrap();
    sender.apply(prepared).await;
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    for _ in 0..6000 {
        if holds() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("not in time: {what}");
}

#[tokio::test]
async fn an_end_that_nobody_took_is_sent_by_the_next_process() {
    let there = receiver(503).await;
    let config = format!("alertmanagers: [{{static_configs: [{{targets: ['{}']}}]}}]", there.address);
    let ledger = Ledger::in_memory().unwrap();
    let first = sender(&ledger);
    apply(&first, &config, Path::new("")).await;
    first.send(&[alert("ended", false), alert("burns", false)]);
    first.send(&[alert("ended", true)]);
    // Not at the end alone: a kill leaves no time for that.
    until("both are on the disk", || ledger.scan(NOTIFICATIONS_TABLE, &[], None).unwrap().len() == 2).await;
    first.stop().await;
    drop(first);

    there.status.store(200, Ordering::SeqCst);
    let second = sender(&ledger);
    apply(&second, &config, Path::new("")).await;
    until("both are taken", || there.taken.lock().unwrap().len() == 2).await;
    let taken = there.taken.lock().unwrap().clone();
    let ended = taken.iter().find(|a| a["labels"]["alertname"] == "ended").unwrap();
    assert_eq!(ended["endsAt"], "2027-01-15T08:00:00.000Z");
    assert_eq!(ended["labels"], serde_json::json!({"alertname": "ended", "pod": "own", "zone": "a"}));
    assert_eq!(ended["annotations"], serde_json::json!({"summary": "s"}));
    until("nothing is left", || ledger.scan(NOTIFICATIONS_TABLE, &[], None).unwrap().is_empty()).await;
    second.stop().await;
}

#[tokio::test]
async fn a_reload_keeps_what_waits_and_a_file_moves_receivers() {
    let dir = std::env::temp_dir().join(format!("sideband-alerting-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let (one, two) = (receiver(500).await, receiver(200).await);
    let write = |r: &Receiver| std::fs::write(dir.join("to.yml"), format!("- targets: ['{}']\n", r.address));
    write(&one).unwrap();
    let config = "alertmanagers: [{file_sd_configs: [{files: [to.yml]}], alert_relabel_configs: [{action: labeldrop, regex: zone}]}]";
    let ledger = Ledger::in_memory().unwrap();
    let sender = sender(&ledger);
    apply(&sender, config, &dir).await;
    assert_eq!(sender.urls(), [format!("http://{}/api/v2/alerts", one.address)]);
    sender.send(&[alert("a", true)]);
    one.status.store(200, Ordering::SeqCst);
    apply(&sender, config, &dir).await;
    until("the alert of before the reload is taken", || one.taken.lock().unwrap().len() == 1).await;
    assert!(one.taken.lock().unwrap()[0]["labels"].get("zone").is_none(), "relabelled for this receiver");
    write(&two).unwrap();
    apply(&sender, config, &dir).await;
    assert_eq!(sender.urls(), [format!("http://{}/api/v2/alerts", two.address)]);
    sender.send(&[alert("b", false)]);
    until("the new receiver has it", || two.taken.lock().unwrap().len() == 1).await;
    sender.stop().await;
    assert_eq!(one.taken.lock().unwrap().len(), 1);
    std::fs::remove_dir_all(&dir).unwrap();
}
