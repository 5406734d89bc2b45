//! What outside services call back with: a corpus of genuine, forged, old, repeated, cut and oversized ones.

use std::path::Path;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use sideband::ledger::Ledger;
use sideband::model::{Alert, Clock as _, Labels, SystemClock};
use sideband::paging::callbacks::{Callback, CallbackError, MAX_BODY, Service};
use sideband::paging::config::PagingConfig;
use sideband::paging::engine::{Job, Outcome};
use sideband::paging::incident::State;
use sideband::paging::receivers::{BUTTON, Sending, Transport};
use sideband::paging::{Pager, PagerHandle, PagerOptions};

const OLD: &str = "the secret of last year";
const NEW: &str = "the secret of this year";
const SLACK: &str = "8f742231b10e8888abcd99yyyzzz85a5";

struct Nowhere;

impl Transport for Nowhere {
    fn send(&self, _: Job) -> Sending {
        Box::pin(async { Outcome::Delivered })
    }
}

fn config(dir: &Path) -> PagingConfig {
    std::fs::write(dir.join("key"), "a key that is long enough\n").unwrap();
    std::fs::write(dir.join("new"), format!("{NEW}\n")).unwrap();
    let text = format!(
        "
route: {{receiver: p, group_wait: 0s, group_by: [alertname], escalation_policy: x}}
receivers: [{{name: p, webhook_configs: [{{url: 'http://p.test/'}}]}}]
users: [{{name: anna, receiver: p}}]
escalation_policies: [{{name: x, steps: [{{notify: [user/anna]}}]}}]
acknowledge: {{external_url: 'https://me.example/', key_file: key}}
callbacks:
  pagerduty: {{secrets: [{OLD}], secret_files: [new]}}
  slack: {{secrets: [{SLACK}]}}
"
    );
    PagingConfig::parse(&dir.join("paging.yml"), &text).unwrap()
}

fn pager(dir: &Path, ledger: Ledger) -> PagerHandle {
    let options = PagerOptions { transport: Some(std::sync::Arc::new(Nowhere)), ..PagerOptions::default() };
    Pager::spawn(config(dir), ledger, options).unwrap()
}

/// An incident, and the key and the token of its page.
async fn page(pager: &PagerHandle, name: &str) -> (u64, String) {
    let now = SystemClock.now();
    assert!(pager.alerts(vec![Alert {
        labels: Labels::from_pairs([("alertname", name), ("severity", "page")]),
        annotations: Labels::empty(),
        starts_at: now,
        ends_at: now + 3_600_000,
        updated_at: now,
        generator_url: String::new(),
    }]));
    let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
    loop {
        let found = pager.incidents().await.unwrap();
        let found = found.iter().find(|i| i.group_labels.get("alertname").is_some_and(|n| n == name));
        if let Some(incident) = found {
            let id = incident.id.parse().unwrap();
            return (id, format!("{}-i{id}", pager.instance()));
        }
        assert!(tokio::time::Instant::now() < deadline);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn hmac(key: &str, parts: &[&[u8]]) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.as_bytes()).unwrap();
    parts.iter().for_each(|p| mac.update(p));
    mac.finalize().into_bytes().iter().map(|b| format!("{b:02x}")).collect()
}

fn ago(ms: i64) -> String {
    jiff::Timestamp::from_millisecond(SystemClock.now() - ms).unwrap().to_string()
}

fn event(id: &str, kind: &str, key: &str, at: &str, agent: &str) -> String {
    format!(
        r#"{{"event":{{"id":"{id}","event_type":"{kind}","resource_type":"incident","occurred_at":"{at}",
           "agent":{agent},"data":{{"id":"PGR0VU2","type":"incident","incident_key":"{key}"}}}}}}"#
    )
}

const ANNA: &str = r#"{"id":"PLH1HKV","summary":"Anna\u0007 A.","type":"user_reference"}"#;

fn pagerduty(body: &str, signature: String) -> Callback {
    Callback {
        service: Service::Pagerduty,
        body: body.as_bytes().to_vec(),
        signature,
        timestamp: String::new(),
        from: "192.0.2.7".to_owned(),
    }
}

fn signed(body: &str, key: &str) -> Callback {
    pagerduty(body, format!("v1={}", hmac(key, &[body.as_bytes()])))
}

fn slack(body: &str, timestamp: i64, key: &str) -> Callback {
    let stamp = timestamp.to_string();
    let signature = hmac(key, &[b"v0:", stamp.as_bytes(), b":", body.as_bytes()]);
    Callback {
        service: Service::Slack,
        body: body.as_bytes().to_vec(),
        signature: format!("v0={signature}"),
        timestamp: stamp,
        from: "192.0.2.8".to_owned(),
    }
}

fn pressed(value: &str) -> String {
    let payload = format!(
        r#"{{"type":"interactive_message","user":{{"id":"U1","name":"ben"}},"channel":{{"id":"C1","name":"ops"}},
           "actions":[{{"name":"other","value":"x"}},{{"name":"{BUTTON}","type":"button","value":"{value}"}}]}}"#
    );
    let encoded: String = payload.bytes().map(|b| format!("%{b:02X}")).collect();
    format!("payload={encoded}")
}

fn token(pager: &PagerHandle, incident: u64, round: u32, expires: i64) -> String {
    let links =
        sideband::paging::acklink::AckLinks::new(b"a key that is long enough", pager.instance(), "").unwrap();
    let claim =
        sideband::paging::acklink::AckClaim { incident, round, step: 0, expires, person: "anna".to_owned() };
    links.token(&claim)
}

async fn state(pager: &PagerHandle, id: u64) -> State {
    pager.incident(id).await.unwrap().unwrap().state
}

#[tokio::test]
async fn pagerduty_acknowledges_and_resolves() {
    let dir = tempfile::tempdir().unwrap();
    let pager = pager(dir.path(), Ledger::in_memory().unwrap());
    let (id, key) = page(&pager, "Slow").await;
    // Events that ask for nothing: another kind, another incident, nobody's doing, the test of a subscription.
    for (nth, body) in [
        event("e0", "incident.priority_updated", &key, &ago(0), ANNA),
        event("e1", "incident.acknowledged", "ffff-i1", &ago(0), ANNA),
        event("e2", "incident.acknowledged", &format!("{key}x"), &ago(0), ANNA),
        event("e3", "incident.acknowledged", &key, &ago(0), r#"{"type":"inbound_integration_reference"}"#),
        event("e4", "incident.resolved", &key, &ago(0), "null"),
        event("e5", "incident.resolved", &key, &ago(0), r#"{"type":"service_reference"}"#),
        format!(r#"{{"event":{{"id":"e6","event_type":"pagey.ping","occurred_at":"{}"}}}}"#, ago(0)),
    ]
    .iter()
    .enumerate()
    {
        let done = pager.call_back(signed(body, OLD)).await;
        assert!(done.is_ok(), "{nth}: {done:?}");
        assert_eq!(state(&pager, id).await, State::Triggered, "{nth}");
    }
    // The second of two signatures will do, while the secret is changed.
    let body = event("a1", "incident.acknowledged", &key, &ago(0), ANNA);
    let both = format!("v1={}, v1={}", "0".repeat(64), hmac(NEW, &[body.as_bytes()]));
    let done = pager.call_back(pagerduty(&body, both)).await.unwrap();
    assert_eq!(done, format!("Incident {id} is acknowledged."));
    let view = pager.incident(id).await.unwrap().unwrap();
    let ack = view.acknowledged.unwrap();
    assert_eq!((ack.by.as_str(), ack.via.as_str(), ack.from.as_str()), ("Anna A.", "pagerduty", "192.0.2.7"));
    assert!(view.history.iter().any(|h| h.what == "acknowledged by Anna A. (pagerduty, from 192.0.2.7)"));
    // Again: heard before, whoever signs it; under another identity it is harmless.
    assert_eq!(pager.call_back(signed(&body, OLD)).await, Err(CallbackError::Replayed));
    let body = event("a2", "incident.acknowledged", &key, &ago(0), ANNA);
    assert!(pager.call_back(signed(&body, OLD)).await.unwrap().contains("already by Anna A."));
    let body = event("r1", "incident.resolved", &key, &ago(0), ANNA);
    assert!(pager.call_back(signed(&body, OLD)).await.unwrap().contains("is resolved"));
    assert_eq!(state(&pager, id).await, State::Resolved);
    // What was done before the incident began says nothing of it.
    let (later, key) = page(&pager, "Slower").await;
    let body = event("a3", "incident.acknowledged", &key, &ago(60_000), ANNA);
    assert!(pager.call_back(signed(&body, OLD)).await.unwrap().contains("Nothing was done"));
    assert_eq!(state(&pager, later).await, State::Triggered);
    pager.shutdown().await;
}

#[tokio::test]
async fn a_restart_is_no_way_to_be_heard_twice() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::in_memory().unwrap();
    let first = pager(dir.path(), ledger.clone());
    let (_, key) = page(&first, "Slow").await;
    let body = event("once", "incident.acknowledged", &key, &ago(0), ANNA);
    assert!(first.call_back(signed(&body, OLD)).await.is_ok());
    first.shutdown().await;
    let second = pager(dir.path(), ledger);
    assert_eq!(second.call_back(signed(&body, OLD)).await, Err(CallbackError::Replayed));
    second.shutdown().await;
}

#[tokio::test]
async fn pagerduty_forgeries() {
    use CallbackError::{BadSignature, Malformed, Stale, TooLarge, Unsigned};
    let dir = tempfile::tempdir().unwrap();
    let pager = pager(dir.path(), Ledger::in_memory().unwrap());
    let (id, key) = page(&pager, "Slow").await;
    let good = event("x", "incident.acknowledged", &key, &ago(0), ANNA);
    let right = hmac(OLD, &[good.as_bytes()]);
    let cut_body = &good[..good.len() - 1];
    let changed = good.replace("Anna", "Mallory");
    let sha1ish = &right[..40];
    let old = event("y", "incident.acknowledged", &key, &ago(3_600_001), ANNA);
    let future = event("z", "incident.acknowledged", &key, &ago(-3_600_000), ANNA);
    let no_time = event("w", "incident.acknowledged", &key, "yesterday", ANNA);
    let endless = format!("{good}{}", " ".repeat(MAX_BODY));
    let many = format!("{}v1={right}", "v1=00,".repeat(2000));
    let upper = right.to_uppercase();
    let cases: Vec<(&str, Callback, CallbackError)> = vec![
        ("no signature", pagerduty(&good, String::new()), Unsigned),
        ("blanks", pagerduty(&good, "  ".into()), Unsigned),
        ("nonsense", pagerduty(&good, "v1".into()), BadSignature),
        ("no digits", pagerduty(&good, "v1=".into()), BadSignature),
        ("another version", pagerduty(&good, format!("v2={right}")), BadSignature),
        ("no version", pagerduty(&good, right.clone()), BadSignature),
        ("another algorithm", pagerduty(&good, format!("v1={sha1ish}")), BadSignature),
        ("algorithm named", pagerduty(&good, format!("sha1={sha1ish}")), BadSignature),
        ("one digit less", pagerduty(&good, format!("v1={}", &right[..63])), BadSignature),
        ("one digit more", pagerduty(&good, format!("v1={right}0")), BadSignature),
        ("no hexadecimal", pagerduty(&good, format!("v1={}", "é".repeat(32))), BadSignature),
        ("zeros", pagerduty(&good, format!("v1={}", "0".repeat(64))), BadSignature),
        ("too many", pagerduty(&good, many), BadSignature),
        ("another key", signed(&good, "the secret of nobody"), BadSignature),
        ("an empty key", signed(&good, ""), BadSignature),
        ("Slack's key", signed(&good, SLACK), BadSignature),
        ("cut", pagerduty(cut_body, format!("v1={right}")), BadSignature),
        ("changed", pagerduty(&changed, format!("v1={right}")), BadSignature),
        ("blank added", pagerduty(&format!("{good} "), format!("v1={right}")), BadSignature),
        ("empty", pagerduty("", format!("v1={right}")), BadSignature),
        ("oversized", signed(&endless, OLD), TooLarge),
        ("old", signed(&old, OLD), Stale),
        ("from the future", signed(&future, OLD), Stale),
        ("no time", signed(&no_time, OLD), Malformed("occurred_at is no time")),
        ("no JSON", signed("acknowledge", OLD), Malformed("no event of webhooks v3")),
        ("no event", signed("{}", OLD), Malformed("no event of webhooks v3")),
        ("a list", signed("[]", OLD), Malformed("no event of webhooks v3")),
        ("deep", signed(&"[".repeat(100_000), OLD), Malformed("no event of webhooks v3")),
    ];
    for (what, callback, expect) in cases {
        assert_eq!(pager.call_back(callback).await, Err(expect), "{what}");
        assert_eq!(state(&pager, id).await, State::Triggered, "{what}");
    }
    // How the digits are written is no matter, and what was refused was not used up.
    assert!(pager.call_back(pagerduty(&good, format!("v1={upper}"))).await.is_ok());
    assert_eq!(state(&pager, id).await, State::Acknowledged);
    pager.shutdown().await;
}

#[tokio::test]
async fn slack_acknowledges_once() {
    let dir = tempfile::tempdir().unwrap();
    let pager = pager(dir.path(), Ledger::in_memory().unwrap());
    let (id, _) = page(&pager, "Slow").await;
    let now = SystemClock.now() / 1000;
    let value = token(&pager, id, 0, i64::MAX / 2000 * 1000);
    let body = pressed(&value);
    let callback = slack(&body, now, SLACK);
    let done = pager.call_back(callback.clone()).await.unwrap();
    assert_eq!(done, format!("Incident {id} is acknowledged."));
    let ack = pager.incident(id).await.unwrap().unwrap().acknowledged.unwrap();
    assert_eq!((ack.by.as_str(), ack.via.as_str()), ("ben (U1)", "slack"));
    assert_eq!(ack.from, "channel ops, 192.0.2.8");
    assert_eq!(pager.call_back(callback.clone()).await, Err(CallbackError::Replayed));
    // The same request with its signature in other letters.
    let shouted = Callback { signature: callback.signature.to_uppercase().replace("V0", "v0"), ..callback };
    assert_eq!(pager.call_back(shouted).await, Err(CallbackError::Replayed));
    // Blocks instead of attachments.
    let payload = format!(
        r#"{{"type":"block_actions","user":{{"id":"U2","username":"cleo"}},"actions":[{{"action_id":"{BUTTON}","value":"{value}"}}]}}"#
    );
    let encoded: String = payload.bytes().map(|b| format!("%{b:02x}")).collect();
    let done = pager.call_back(slack(&format!("payload={encoded}"), now, SLACK)).await.unwrap();
    assert!(done.contains("already by ben"), "{done}");
    pager.shutdown().await;
}

#[tokio::test]
async fn slack_forgeries() {
    use CallbackError::{BadSignature, Malformed, Stale, TooLarge, Unsigned};
    let dir = tempfile::tempdir().unwrap();
    let pager = pager(dir.path(), Ledger::in_memory().unwrap());
    let (id, _) = page(&pager, "Slow").await;
    let (_, _) = page(&pager, "Other").await;
    let now = SystemClock.now() / 1000;
    let value = token(&pager, id, 0, i64::MAX / 2000 * 1000);
    let body = pressed(&value);
    let good = slack(&body, now, SLACK);
    let with = |change: &dyn Fn(&mut Callback)| {
        let mut callback = good.clone();
        change(&mut callback);
        callback
    };
    let malformed = |body: &str| slack(body, now, SLACK);
    let bad_token = |value: &str| slack(&pressed(value), now, SLACK);
    let link = sideband::paging::acklink::LinkError::BadSignature;
    let foreign = sideband::paging::acklink::AckLinks::new(b"another key, long enough", "x", "").unwrap();
    let foreign = foreign.token(&sideband::paging::acklink::AckClaim {
        incident: id,
        round: 0,
        step: 0,
        expires: i64::MAX / 2000 * 1000,
        person: "anna".into(),
    });
    // Another last character, one that can stand at the end of any token.
    let (rest, last) = value.split_at(value.len() - 1);
    let forged = format!("{rest}{}", if last == "A" { "Q" } else { "A" });
    let cases: Vec<(&str, Callback, CallbackError)> = vec![
        ("no signature", with(&|c| c.signature.clear()), Unsigned),
        ("no timestamp", with(&|c| c.timestamp.clear()), Unsigned),
        ("another timestamp", with(&|c| c.timestamp = (now - 1).to_string()), BadSignature),
        ("another body", with(&|c| c.body.push(b' ')), BadSignature),
        ("cut body", with(&|c| c.body.truncate(c.body.len() - 1)), BadSignature),
        ("another version", with(&|c| c.signature = c.signature.replace("v0", "v1")), BadSignature),
        ("cut signature", with(&|c| c.signature.truncate(c.signature.len() - 1)), BadSignature),
        ("another key", slack(&body, now, "8f742231b10e8888abcd99yyyzzz85a6"), BadSignature),
        ("PagerDuty's key", slack(&body, now, OLD), BadSignature),
        ("old", slack(&body, now - 301, SLACK), Stale),
        ("from the future", slack(&body, now + 3600, SLACK), Stale),
        ("a huge time", slack(&body, i64::MAX, SLACK), Stale),
        ("oversized", slack(&format!("{body}&x={}", "x".repeat(MAX_BODY)), now, SLACK), TooLarge),
        ("no payload", malformed("a=b"), Malformed("there is no payload")),
        ("no JSON", malformed("payload=x"), Malformed("the payload is no interaction")),
        ("bad escapes", malformed("payload=%"), Malformed("there is no payload")),
        ("a forged token", bad_token(&forged), link.into()),
        ("a token of another key", bad_token(&foreign), link.into()),
        ("an empty token", bad_token(""), sideband::paging::acklink::LinkError::Malformed.into()),
        (
            "an expired token",
            bad_token(&token(&pager, id, 0, 1_000_000)),
            sideband::paging::acklink::LinkError::Expired.into(),
        ),
    ];
    for (what, callback, expect) in cases {
        let said = pager.call_back(callback).await;
        match (&said, &expect) {
            // The last letter has bits that do not count; some of them are refused as no base64 at all.
            (Err(CallbackError::Token(_)), CallbackError::Token(_)) => {}
            _ => assert_eq!(said, Err(expect), "{what}"),
        }
        assert_eq!(state(&pager, id).await, State::Triggered, "{what}");
    }
    let text = "a timestamp that is no number";
    let mut callback = good.clone();
    callback.timestamp = "abc".into();
    callback.signature = format!("v0={}", hmac(SLACK, &[b"v0:abc:", &callback.body]));
    assert_eq!(pager.call_back(callback).await, Err(Malformed("the timestamp is no number")), "{text}");
    assert!(pager.call_back(good).await.unwrap().contains("is acknowledged"));
    pager.shutdown().await;
}

#[tokio::test]
async fn without_secrets_nobody_is_listened_to() {
    let dir = tempfile::tempdir().unwrap();
    let text = "route: {receiver: p}\nreceivers: [{name: p}]\n";
    let config = PagingConfig::parse(&dir.path().join("paging.yml"), text).unwrap();
    let pager = Pager::spawn(config, Ledger::in_memory().unwrap(), PagerOptions::default()).unwrap();
    let body = event("e", "incident.acknowledged", "x", &ago(0), ANNA);
    for callback in [signed(&body, ""), slack("payload={}", SystemClock.now() / 1000, "")] {
        assert_eq!(pager.call_back(callback).await, Err(CallbackError::NotConfigured));
    }
    pager.shutdown().await;
    // And secrets that could be guessed, or that are not there, are no secrets.
    for (callbacks, expect) in [
        ("pagerduty: {secrets: [short]}", "at least 8 characters"),
        ("pagerduty: {}", "1 to 8 secrets"),
        ("slack: {secrets: ['']}", "at least 8 characters"),
        ("slack: {secrets: [12345678], max_age: 1h}", "five minutes"),
        ("pagerduty: {secrets: [12345678], max_age: 0s}", "max_age"),
        ("telegram: {secrets: [12345678]}", "telegram"),
    ] {
        let text = format!("{text}callbacks:\n  {callbacks}\n");
        let errors = PagingConfig::parse(Path::new("p.yml"), &text).unwrap_err();
        assert!(errors[0].to_string().contains(expect), "{callbacks}: {errors:?}");
    }
    let text = format!("{text}callbacks: {{slack: {{secret_files: [nowhere]}}}}\n");
    let config = PagingConfig::parse(&dir.path().join("paging.yml"), &text).unwrap();
    let refused = Pager::spawn(config, Ledger::in_memory().unwrap(), PagerOptions::default()).err().unwrap();
    assert!(refused.to_string().contains("nowhere"), "{refused}");
}
