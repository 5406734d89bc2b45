//! A storm, measured: `cargo test --test behaviour paging::load -- --ignored --nocapture`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use sideband::ledger::Ledger;
use sideband::model::{Alert, Clock as _, Labels, SystemClock};
use sideband::paging::config::PagingConfig;
use sideband::paging::engine::{Job, Outcome};
use sideband::paging::receivers::{Sending, Transport};
use sideband::paging::{Pager, PagerOptions};
use tokio::sync::mpsc;

const ALERTS: usize = 10_000;
const INCIDENTS: usize = 1000;

struct Wire(mpsc::UnboundedSender<(Instant, Job)>);

impl Transport for Wire {
    fn send(&self, job: Job) -> Sending {
        let _ = self.0.send((Instant::now(), job));
        Box::pin(async { Outcome::Delivered })
    }
}

fn resident_kib() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"));
    line.and_then(|l| l.split_whitespace().next()).and_then(|n| n.parse().ok()).unwrap_or(0)
}

fn alerts() -> Vec<Alert> {
    let now = SystemClock.now();
    (0..ALERTS)
        .map(|i| Alert {
            labels: Labels::from_pairs([
                ("alertname", "FlaskLatencyHigh"),
                ("job", &format!("flask-{}", i % INCIDENTS)),
                ("instance", &format!("10.0.{}.{}:8080", i / 250, i % 250)),
                ("namespace", "production"),
                ("severity", "page"),
            ]),
            annotations: Labels::from_pairs([
                (
                    "summary",
                    "The latency of this app is three sigma above what is usual at this time of the day",
                ),
                ("runbook_url", "https://runbooks.example.com/flask-latency"),
            ]),
            starts_at: now,
            ends_at: now + 3_600_000,
            updated_at: now,
            generator_url: "http://localhost:19309/graph?g0.expr=latency".to_owned(),
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn ten_thousand_alerts_in_a_thousand_incidents() {
    let text = "
route: {receiver: team, group_wait: 0s, group_by: [alertname, job], escalation_policy: x}
receivers:
- name: team
  webhook_configs: [{url: 'http://team.test/'}]
- name: p
  webhook_configs: [{url: 'http://p.test/'}]
users: [{name: anna, receiver: p, pages_per_hour: 0}]
escalation_policies: [{name: x, steps: [{notify: [user/anna]}]}]
inhibit_rules:
- {source_matchers: [severity=page], target_matchers: [severity=ticket], equal: [job]}
- {source_matchers: [alertname=Down], target_matchers: ['alertname=~\"Flask.*\"'], equal: [job]}
";
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(&dir.path().join("ledger.redb")).unwrap();
    let (tx, mut rx) = mpsc::unbounded_channel();
    let options = PagerOptions { transport: Some(Arc::new(Wire(tx))), ..PagerOptions::default() };
    let config = PagingConfig::parse(&dir.path().join("paging.yml"), text).unwrap();
    let pager = Pager::spawn(config, ledger, options).unwrap();
    let before = resident_kib();
    let made = alerts();
    let began = Instant::now();
    assert!(pager.alerts(made));
    let mut last = began;
    let mut first = None;
    for _ in 0..INCIDENTS {
        let (at, _) = tokio::time::timeout(Duration::from_secs(60), rx.recv()).await.unwrap().unwrap();
        first.get_or_insert(at);
        last = at;
    }
    println!(
        "first page after {:?}, the last of {INCIDENTS} after {:?}",
        first.unwrap() - began,
        last - began
    );
    println!("memory: {} KiB more", resident_kib().saturating_sub(before));
    for round in 0..2 {
        let t = Instant::now();
        let n = pager.incidents().await.unwrap().len();
        println!("{round}: {n} incidents in {:?}", t.elapsed());
        let t = Instant::now();
        let n = pager.active_alerts().await.unwrap().len();
        println!("{round}: {n} alerts in {:?}", t.elapsed());
        let t = Instant::now();
        let n = pager.groups().await.unwrap().len();
        println!("{round}: {n} groups in {:?}", t.elapsed());
        let t = Instant::now();
        let n = pager.incident(5).await.unwrap().map(|i| i.alert_count);
        println!("{round}: one incident ({n:?} alerts) in {:?}", t.elapsed());
        let t = Instant::now();
        assert!(pager.alerts(alerts()));
        pager.incident(5).await.unwrap();
        println!("{round}: all alerts again in {:?}", t.elapsed());
    }
    pager.shutdown().await;
}
