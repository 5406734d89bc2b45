//! Drills, on-call, reports and postmortems over HTTP.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sideband::ledger::Ledger;
use sideband::net::auth::Security;
use sideband::net::listener::ServerLimits;
use sideband::paging::config::PagingConfig;
use sideband::paging::engine::{Job, Outcome};
use sideband::paging::receivers::{Sending, Transport};
use sideband::paging::{Pager, PagerOptions};
use sideband::web::Options;

use super::World;

const CONFIG: &str = "
route: {receiver: p, escalation_policy: main}
receivers:
- name: p
  webhook_configs: [{url: 'http://p.test/'}]
- name: q
  webhook_configs: [{url: 'http://q.test/'}]
users: [{name: ann, receiver: p}, {name: bob, receiver: q}]
on_call_schedules:
- {name: primary, location: Europe/Berlin, rotation: 1w, start: '2026-11-16T09:00:00', users: [ann, bob]}
escalation_policies:
- name: main
  steps: [{notify: [schedule/primary]}, {notify: ['schedule/primary:next']}]
";

struct Takes;

impl Transport for Takes {
    fn send(&self, _: Job) -> Sending {
        Box::pin(async { Outcome::Delivered })
    }
}

async fn with_pager() -> World {
    let world = World::local().await;
    let config = PagingConfig::parse(Path::new("paging.yml"), CONFIG).unwrap();
    let options = PagerOptions { transport: Some(Arc::new(Takes)), ..PagerOptions::default() };
    let pager = Pager::spawn(config, Ledger::in_memory().unwrap(), options).unwrap();
    *world.fake.pager.lock().unwrap() = Some(pager);
    world
}

#[tokio::test]
async fn a_drill_is_begun_reported_and_written_about() {
    let world = with_pager().await;
    let begun = world.post("/api/v1/drill", "ack_timeout=1s&by=eve&steps=1").await.json();
    let data = &begun["data"];
    assert_eq!(
        (&data["policy"], &data["steps"][0]["ackTimeoutSeconds"]),
        (&"main".into(), &1.0.into()),
        "{begun}"
    );
    let id = data["incident"].as_str().unwrap().to_owned();
    assert!(data["writtenSeconds"].as_f64().unwrap() < 60.0);
    // It is delivered at once, and over.
    let path = format!("/api/v1/incidents/{id}/postmortem");
    let mut text = String::new();
    for _ in 0..6000 {
        text = world.get(&path).await.text();
        if text.contains("the drill was good") {
            break;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(
        text.starts_with("# Postmortem: This is a drill") && text.contains("the drill was good"),
        "{text}"
    );
    assert!(text.contains("a drill, started by eve") && text.contains("## Five Whys"), "{text}");
    assert_eq!(world.get(&path).await.header("content-type"), Some("text/markdown; charset=utf-8"));
    assert_eq!(world.get(&format!("/api/v1/incidents/{id}/band.svg")).await.status, 404, "nothing is stored");

    // The clock of the pages is another one than the pager's here: the report is asked for all of the time.
    let all = "since=2026-01-01T00:00:00Z&until=2100-01-01T00:00:00Z";
    let report = world.get(&format!("/api/v1/report?{all}")).await.json();
    assert_eq!(
        (&report["data"]["incidents"], &report["data"]["location"]),
        (&0.into(), &"Europe/Berlin".into())
    );
    let text = world.get(&format!("/api/v1/report?{all}&format=text&location=UTC")).await;
    assert!(text.text().contains("(UTC)"), "{}", text.text());
    let page = world.get(&format!("/api/v1/report?{all}&format=html")).await;
    assert_eq!(page.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(page.header("content-security-policy").unwrap().starts_with("default-src 'none'"));
    assert!(page.text().contains("<svg") && !page.text().contains("<script"));
    world.end().await;
}

#[tokio::test]
async fn who_is_on_call_is_told() {
    let world = with_pager().await;
    let view = world.get("/api/v1/oncall?at=2026-11-24T12:00:00Z&days=7").await.json();
    let schedule = &view["data"]["schedules"][0];
    assert_eq!(schedule["schedule"], "primary");
    assert_eq!(schedule["turns"][0]["user"], "bob");
    assert_eq!(schedule["turns"][0]["until"], "2026-11-30T08:00:00Z");
    assert_eq!((&schedule["turns"][1]["user"], &schedule["gaps"]), (&"ann".into(), &serde_json::json!([])));
    let page = world.get("/oncall?at=2026-11-24T12:00:00Z").await.text();
    assert!(page.contains("Now: <b>bob</b>") && page.contains("Handovers in Europe/Berlin"), "{page}");
    world.end().await;
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let world = with_pager().await;
    for (path, status, expect) in [
        ("/api/v1/report?since=x", 400, "no duration like 30d"),
        ("/api/v1/report?location=Nowhere", 400, "location"),
        ("/api/v1/report?night=25:00-7:00", 400, "no night like"),
        ("/api/v1/report?format=pdf", 400, "no json, text or html"),
        ("/api/v1/oncall?days=0", 400, "no number from 1 to"),
        ("/api/v1/oncall?at=x", 400, "no time"),
        ("/api/v1/incidents/1/postmortem", 404, "no incident 1"),
        ("/api/v1/incidents/x/band.svg", 404, "no incident x"),
        ("/incidents/nothing", 404, ""),
        ("/api/v1/drill", 405, ""),
    ] {
        let reply = world.get(path).await;
        assert!(reply.status == status && reply.text().contains(expect), "{path}: {reply:?}");
    }
    for (form, status, expect) in [
        ("policy=nowhere", 400, "there are: main"),
        ("ack_timeout=x", 400, "ack_timeout"),
        ("ack_timeout=1ms", 400, "from 1s to 1h"),
        ("steps=0", 400, "from 1 on"),
        ("steps=9", 400, "notifies people in 2 of its steps"),
    ] {
        let reply = world.post("/api/v1/drill", form).await;
        assert!(reply.status == status && reply.text().contains(expect), "{form}: {reply:?}");
    }
    world.end().await;
    // Without paging there is nobody to page, and the pages say so.
    let world = World::local().await;
    for path in ["/api/v1/report", "/api/v1/oncall", "/api/v1/incidents/1/postmortem"] {
        assert_eq!(world.get(path).await.status, 404, "{path}");
    }
    assert_eq!(world.post("/api/v1/drill", "").await.status, 404);
    for path in ["/oncall", "/report"] {
        let page = world.get(path).await;
        assert!(page.status == 200 && page.text().contains("paging is not configured"), "{path}");
    }
    world.end().await;
}

#[tokio::test]
async fn a_drill_wants_authentication_beyond_loopback() {
    let world = World::start(Options::default(), Security::open(), ServerLimits::default()).await;
    assert_eq!(world.post("/api/v1/drill", "").await.status, 403);
    world.end().await;
}

#[tokio::test]
async fn the_page_of_an_incident_has_its_buttons() {
    let world = World::local().await;
    let page = world.get("/incidents/i1").await.text();
    for expect in [
        "Checkout &lt;slow&gt;",
        "/api/v1/incidents/i1/ack",
        "/resolve",
        "/judge",
        "value=\"useful\"",
        "/postmortem",
    ] {
        assert!(page.contains(expect), "{expect}: {page}");
    }
    assert!(world.get("/incidents").await.text().contains("<a href=\"/incidents/i1\">"));
    for (command, form) in [("ack", ""), ("judge", "&verdict=useful")] {
        let reply = world
            .post(&format!("/api/v1/incidents/i1/{command}"), &format!("page=incident&by=ann{form}"))
            .await;
        assert_eq!((reply.status, reply.header("location")), (303, Some("/incidents/i1")), "{command}");
    }
    assert_eq!(world.done().len(), 2);
    world.end().await;
}
