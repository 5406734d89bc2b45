//! Pages for people, and the pages behind signed links.

use std::collections::BTreeMap;

use sideband::paging::{IncidentAlertView, PageView};
use sideband::rules::*;

use super::{NOW, World};

#[tokio::test]
async fn pages_escape_and_load_nothing_from_elsewhere() {
    let world = World::local().await;
    world.append(NOW, &[(&[("__name__", "up"), ("evil", "<script>alert(1)</script>")], 1.0)]);
    let mut rule =
        RuleView { name: "<b>".into(), kind: RuleType::Sigma, query: "up".into(), ..RuleView::default() };
    rule.alerts.push(AlertView { state: AlertState::Firing, ..AlertView::default() });
    let group = GroupView { name: "g".into(), interval: 15.0, rules: vec![rule], ..GroupView::default() };
    world.fake.groups.lock().unwrap().push(group);
    for path in [
        "/",
        "/alerts",
        "/rules",
        "/targets",
        "/graph",
        "/graph?expr=up",
        "/graph?g0.expr=up&g0.range_input=6h",
        "/graph?expr=up%7B",
        "/graph?expr=%22%3Cscript",
        "/status",
    ] {
        let reply = world.get(path).await;
        let text = reply.text();
        assert_eq!(reply.status, 200, "{path}");
        assert!(
            text.starts_with("<!doctype html>") && !text.contains("<script") && !text.contains("<b><"),
            "{path}: {text}"
        );
        assert!(reply.header("content-security-policy").unwrap().contains("default-src 'none'"));
        assert!(!text.contains("http://") && !text.contains("https://"), "{path}");
    }
    assert!(world.get("/graph?expr=up").await.text().contains("<svg"));
    assert_eq!(world.get("/style.css").await.header("content-type"), Some("text/css; charset=utf-8"));
    assert_eq!(world.get("/nothing").await.status, 404);
    assert_eq!(world.post("/rules", "").await.status, 405);
    world.end().await;
}

#[tokio::test]
async fn the_overview_acknowledges() {
    let world = World::local().await;
    let page = world.get("/").await.text();
    assert!(page.contains("Checkout &lt;slow&gt;") && page.contains("/api/v1/incidents/i1/ack"), "{page}");
    let reply = world.post("/api/v1/incidents/i1/ack", "page=overview&by=web+page").await;
    assert_eq!((reply.status, reply.header("location")), (303, Some("/")));
    assert_eq!(world.done(), ["ack i1 by web page: "]);
    assert!(world.get("/").await.text().contains("Acknowledged by <b>web page</b>"));
    world.end().await;
}

#[tokio::test]
async fn a_signed_link_acts_only_when_told_to() {
    let world = World::local().await;
    let page = world.get("/ack/good-i1").await;
    assert!(
        page.text().contains("Acknowledge as engineer-a") && page.text().contains("<form method=\"post\">")
    );
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert!(world.done().is_empty());
    let origin = [("Origin", "null"), ("Content-Type", "application/x-www-form-urlencoded")];
    let done = world.ask("POST", "/ack/good-i1", &origin, "comment=on+it+%3Cb%3E").await;
    assert!(done.text().contains("Acknowledged by <b>engineer-a</b>"), "{done:?}");
    assert!(done.text().contains("on it &lt;b&gt;"), "{done:?}");
    assert_eq!(world.done(), ["ack i1 by engineer-a: by link, on it <b>"]);
    for method in ["GET", "POST"] {
        let bad = world.ask(method, "/ack/forged", &[], "").await;
        assert_eq!(bad.status, 403);
        assert!(bad.text().contains("This link does not work"));
    }
    assert_eq!(world.done().len(), 1);
    world.end().await;
}

/// What an alert says stands on the pages once, as text, with links of the web alone.
#[tokio::test]
async fn a_page_explains_itself() {
    let world = World::local().await;
    let pairs = |pairs: &[(&str, &str)]| -> BTreeMap<String, String> {
        pairs.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
    };
    let alert = |runbook: &str| IncidentAlertView {
        labels: pairs(&[("alertname", "Slow")]),
        annotations: pairs(&[
            ("summary", "Checkout <slow>"),
            ("description", "Look at the database."),
            ("explanation", "value 0.08 is 19.6σ from its normal 0.04"),
            ("runbook_url", runbook),
        ]),
        firing: true,
        starts_at: NOW,
        generator_url: String::new(),
    };
    let paged = |user: &str| PageView {
        step: 1,
        round: 1,
        target: "schedule/primary".to_owned(),
        user: user.to_owned(),
        receiver: "pager".to_owned(),
        automation: false,
        at: NOW,
        arrivals: Vec::new(),
    };
    {
        let mut incidents = world.fake.incidents.lock().unwrap();
        incidents[0].alerts = vec![alert("https://runbooks.test/slow"), alert("javascript:alert(1)")];
        incidents[0].pages = ["ann", "ben", "ann"].map(paged).into();
        incidents[0].next_step_at = Some(NOW + 60_000);
    }
    for (path, times) in [("/ack/good-i1", 1), ("/incidents/i1", 3)] {
        let page = world.get(path).await.text();
        assert!(page.matches("Look at the database.").count() <= times, "{path}: {page}");
        assert_eq!(page.matches("19.6σ").count(), 1, "{path}: {page}");
        assert!(page.contains("href=\"https://runbooks.test/slow\""), "{path}: {page}");
        assert!(!page.contains("href=\"javascript:"), "{path}: {page}");
        assert!(page.contains("(60 s ago)"), "{path}: {page}");
    }
    let ack = world.get("/ack/good-i1").await.text();
    assert_eq!(ack.matches("Checkout &lt;slow&gt;").count(), 1, "{ack}");
    assert!(ack.contains("goes on at") && ack.contains("href=\"/incidents/i1\""), "{ack}");
    assert!(world.get("/").await.text().contains("ann (2×), ben"));
    world.end().await;
}

#[tokio::test]
async fn a_feedback_link_judges_only_when_told_to() {
    let world = World::local().await;
    let page = world.get("/judge/judge-i1").await;
    for part in ["<form method=\"post\">", "value=\"useful\"", "value=\"useless\""] {
        assert!(page.text().contains(part), "{page:?}");
    }
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.header("cache-control"), Some("no-store"));
    let origin = [("Origin", "null"), ("Content-Type", "application/x-www-form-urlencoded")];
    assert_eq!(world.ask("POST", "/judge/judge-i1", &origin, "").await.status, 400);
    assert!(world.done().is_empty());
    let done = world.ask("POST", "/judge/judge-i1", &origin, "verdict=useless&comment=a+%3Cdeploy%3E").await;
    assert!(done.text().contains("Judged <b>useless</b> by engineer-a"), "{done:?}");
    assert_eq!(world.done(), ["judge i1: Some(Useless) None None None by engineer-a: a <deploy>"]);
    for method in ["GET", "POST"] {
        let bad = world.ask(method, "/judge/forged", &origin, "verdict=useful").await;
        assert_eq!(bad.status, 403);
        assert!(bad.text().contains("This link does not work"));
    }
    world.end().await;
}

#[tokio::test]
async fn the_alerts_page_shows_what_a_sigma_rule_is_worth() {
    let world = World::local().await;
    let all = TallyView {
        pages: 5,
        useful: 5,
        useless: 0,
        unjudged: 0,
        coin_p_value: 0.031,
        better_than_coin: true,
    };
    world.fake.groups.lock().unwrap().push(GroupView {
        name: "s".into(),
        rules: vec![RuleView {
            kind: RuleType::Sigma,
            name: "Slow".into(),
            sigma: Some(SigmaView {
                learning: Some(LearningView { series: 4, ready: 1, seconds: 130.0 }),
                bands: Vec::new(),
                series: Vec::new(),
                record: RecordView {
                    text: "This rule paged twice <b>.".into(),
                    last_30d: all.clone(),
                    all,
                    last_page_at: None,
                },
                page_budget: Some(BudgetView {
                    pages: 2,
                    per: 2_592_000.0,
                    used: 2,
                    state: "spent",
                    factor: 1.6,
                    pages_from: Some(7.25),
                    noise: None,
                }),
                gate: None,
            }),
            ..RuleView::default()
        }],
        ..GroupView::default()
    });
    let page = world.get("/alerts").await.text();
    for part in [
        "This rule paged twice &lt;b&gt;.",
        "5 of 5 judged pages were useful: a coin does as well with a chance of 3.1 %",
        "Page budget: 2 of 2 in 30d, spent",
        "pages from 7.2σ",
        "1 of 4 series know enough to fire; all of them in about 3m",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    world.end().await;
}
