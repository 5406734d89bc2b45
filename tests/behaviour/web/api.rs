//! `/api/v1`.

use serde_json::{Value, json};
use sideband::model::MetricType;
use sideband::rules::{AlertState, AlertView, GroupView, RuleType as RuleKind, RuleView};
use sideband::scrape::{TargetHealth, TargetView};

use super::{NOW, World};

async fn with_data() -> World {
    let world = World::local().await;
    for (t, a, b) in [(NOW - 30_000, 1.0, 10.5), (NOW - 15_000, 2.0, 11.5), (NOW, 3.0, 12.5)] {
        world.append(
            t,
            &[
                (&[("__name__", "up"), ("job", "shop")], a),
                (&[("__name__", "up"), ("job", "node")], b),
                (&[("__name__", "odd.name"), ("job", "a\"b\\c\n"), ("x.y", "ü")], f64::INFINITY),
            ],
        );
    }
    world
}

fn sorted(value: &Value) -> Vec<String> {
    let mut all: Vec<String> = value.as_array().unwrap().iter().map(Value::to_string).collect();
    all.sort();
    all
}

#[tokio::test]
async fn queries_give_prometheus_json() {
    let world = with_data().await;
    let at = NOW / 1000;
    let get = |path: String| {
        let world = &world;
        async move { world.get(&path).await.json()["data"].clone() }
    };
    for (query, expect) in [
        (
            "up%7Bjob=%22shop%22%7D",
            json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "up", "job": "shop"}, "value": [at, "3"]}]}),
        ),
        (
            "%7B%22odd.name%22%7D",
            json!({"resultType": "vector", "result": [
            {"metric": {"__name__": "odd.name", "job": "a\"b\\c\n", "x.y": "ü"}, "value": [at, "+Inf"]}]}),
        ),
        ("1%2B0.5", json!({"resultType": "scalar", "result": [at, "1.5"]})),
        ("%22text%22", json!({"resultType": "string", "result": [at, "text"]})),
        (
            "up%7Bjob=%22shop%22%7D[20s]",
            json!({"resultType": "matrix", "result": [
            {"metric": {"__name__": "up", "job": "shop"}, "values": [[at - 15, "2"], [at, "3"]]}]}),
        ),
        ("nothing", json!({"resultType": "vector", "result": []})),
    ] {
        assert_eq!(get(format!("/api/v1/query?time={at}&query={query}")).await, expect, "{query}");
    }
    // The same as a form, and with a time in RFC 3339; without a time it is now.
    let form = world.post("/api/v1/query", "query=up%7Bjob%3D%22shop%22%7D&time=2026-11-21T00:00:00Z").await;
    assert_eq!(form.json(), world.get("/api/v1/query?query=up{job=%22shop%22}").await.json());
    assert_eq!(form.header("content-type"), Some("application/json"));
    let range =
        get(format!("/api/v1/query_range?query=up{{job=%22node%22}}&start={}&end={at}&step=15", at - 30))
            .await;
    assert_eq!(
        range,
        json!({"resultType": "matrix", "result": [{"metric": {"__name__": "up", "job": "node"},
            "values": [[at - 30, "10.5"], [at - 15, "11.5"], [at, "12.5"]]}]})
    );
    let cut = world.get("/api/v1/query?query=up&limit=1").await.json();
    assert_eq!(cut["data"]["result"].as_array().unwrap().len(), 1);
    assert_eq!(cut["warnings"], json!(["results truncated due to limit"]));
    world.end().await;
}

#[tokio::test]
async fn bad_requests_say_why() {
    let world = with_data().await;
    for (path, status, kind, part) in [
        ("/api/v1/query", 400, "bad_data", "invalid parameter \"query\""),
        ("/api/v1/query?query=up%7B", 400, "bad_data", "parse error"),
        (
            "/api/v1/query?query=up&time=yesterday",
            400,
            "bad_data",
            "invalid parameter \"time\": cannot parse \"yesterday\" to a valid timestamp",
        ),
        (
            "/api/v1/query?query=up&timeout=x",
            400,
            "bad_data",
            "invalid parameter \"timeout\": cannot parse \"x\" to a valid duration",
        ),
        ("/api/v1/query?query=up&limit=-1", 400, "bad_data", "limit"),
        ("/api/v1/query?query=up*on(x)up", 422, "execution", "many-to-many"),
        ("/api/v1/query?query=up&timeout=0", 503, "timeout", "timed out"),
        ("/api/v1/query_range?query=up", 400, "bad_data", "invalid parameter \"start\""),
        (
            "/api/v1/query_range?query=up&start=1&end=0&step=1",
            400,
            "bad_data",
            "end timestamp must not be before start time",
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=1&step=0",
            400,
            "bad_data",
            "zero or negative query resolution step widths are not accepted",
        ),
        ("/api/v1/query_range?query=up&start=0&end=1&step=1e20", 400, "bad_data", "It overflows int64"),
        (
            "/api/v1/query_range?query=up&start=0&end=11001&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries",
        ),
        (
            "/api/v1/query_range?query=up[1m]&start=0&end=1&step=1",
            400,
            "bad_data",
            "invalid expression type \"range vector\" for range query",
        ),
        ("/api/v1/series", 400, "bad_data", "no match[] parameter provided"),
        ("/api/v1/series?match[]=%7Bx=~%22.*%22%7D", 400, "bad_data", "match[]"),
        ("/api/v1/series?match[]=rate(up[1m])", 400, "bad_data", "match[]"),
        ("/api/v1/labels?start=2&end=1", 400, "bad_data", "end timestamp must not be before start"),
        ("/api/v1/query_exemplars?query=up", 400, "bad_data", "start"),
        ("/api/v1/rules?type=x", 400, "bad_data", "type"),
        ("/api/v1/status/nothing", 404, "not_found", "nothing"),
        ("/api/v1/incidents/none", 404, "not_found", "none"),
    ] {
        let reply = world.get(path).await;
        let body = reply.json();
        assert_eq!((reply.status, body["errorType"].as_str()), (status, Some(kind)), "{path}: {body}");
        assert_eq!(body["status"], "error");
        assert!(body["error"].as_str().unwrap().contains(part), "{path}: {body}");
    }
    // As many points as are allowed are allowed.
    assert_eq!(world.get("/api/v1/query_range?query=up&start=0&end=11000&step=1").await.status, 200);
    assert_eq!(world.get("/api/v1/nothing").await.status, 404);
    assert_eq!(world.ask("DELETE", "/api/v1/query", &[], "").await.status, 405);
    world.end().await;
}

#[tokio::test]
async fn labels_and_series() {
    let world = with_data().await;
    let data = |path: &'static str| async { world.get(path).await.json()["data"].clone() };
    assert_eq!(data("/api/v1/labels").await, json!(["__name__", "job", "x.y"]));
    assert_eq!(data("/api/v1/labels?match[]=up").await, json!(["__name__", "job"]));
    assert_eq!(data("/api/v1/label/job/values?match[]=up").await, json!(["node", "shop"]));
    assert_eq!(data("/api/v1/label/job/values?limit=1").await.as_array().unwrap().len(), 1);
    assert_eq!(data("/api/v1/label/U__x_2e_y/values").await, json!(["ü"]));
    assert_eq!(data("/api/v1/label/x.y/values").await, json!(["ü"]));
    assert_eq!(data("/api/v1/label/none/values").await, json!([]));
    let series = data("/api/v1/series?match[]=up&match[]=up{job=%22shop%22}").await;
    assert_eq!(sorted(&series), [r#"{"__name__":"up","job":"node"}"#, r#"{"__name__":"up","job":"shop"}"#]);
    let posted = world.post("/api/v1/series", "match[]=up%7Bjob%3D%22shop%22%7D&start=0&end=1").await;
    assert_eq!(posted.json()["data"], json!([]));
    world.end().await;
}

#[tokio::test]
async fn what_is_told_of_the_process() {
    let world = with_data().await;
    world.describe("up", MetricType::Gauge, "Is it up?");
    let data = |path: &'static str| async { world.get(path).await.json()["data"].clone() };
    let up = json!([{"type": "gauge", "help": "Is it up?", "unit": ""}]);
    assert_eq!(data("/api/v1/metadata").await, json!({ "up": up }));
    assert_eq!(data("/api/v1/metadata?metric=none").await, json!({}));
    assert_eq!(data("/api/v1/status/config").await["yaml"], "global:\n  scrape_interval: 15s\n");
    assert_eq!(data("/api/v1/status/buildinfo").await["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(data("/api/v1/status/runtimeinfo").await["startTime"], "2026-11-20T23:59:59Z");
    assert_eq!(data("/api/v1/status/tsdb").await["headStats"]["numSeries"], 3);
    assert_eq!(data("/api/v1/status/flags").await, json!({}));
    assert_eq!(data("/api/v1/alertmanagers").await["activeAlertmanagers"], json!([]));
    assert_eq!(data("/api/v1/query_exemplars?query=up&start=0&end=1").await, json!([]));
    assert_eq!(data("/api/v1/format_query?query=sum+by(job)(up)").await, "sum by (job) (up)");
    let tree = data("/api/v1/parse_query?query=sum(rate(up[5m]))").await;
    assert_eq!(
        (tree["type"].as_str(), tree["expr"]["args"][0]["range"].as_i64()),
        (Some("aggregation"), Some(300_000))
    );
    world.fake.targets.lock().unwrap().push(TargetView {
        scrape_pool: "app".into(),
        scrape_url: "http://a:1/metrics".into(),
        health: TargetHealth::Up,
        last_scrape: NOW,
        ..TargetView::default()
    });
    let targets = data("/api/v1/targets").await;
    assert_eq!(targets["activeTargets"][0]["health"], "up");
    assert_eq!(targets["activeTargets"][0]["lastScrape"], "2026-11-21T00:00:00Z");
    assert_eq!(targets["droppedTargets"].as_array().unwrap().len(), 1);
    assert_eq!(targets["droppedTargetCounts"], json!({"app": 3, "db": 0}));
    assert_eq!(data("/api/v1/targets?state=active").await["droppedTargets"], json!([]));
    assert_eq!(data("/api/v1/targets?scrapePool=x").await["activeTargets"], json!([]));
    world.end().await;
}

#[tokio::test]
async fn rules_and_alerts() {
    let world = World::local().await;
    let rule =
        |name: &str, kind| RuleView { name: name.into(), kind, query: "up".into(), ..RuleView::default() };
    let mut firing = rule("Down", RuleKind::Alerting);
    firing.alerts.push(AlertView {
        state: AlertState::Firing,
        value: 0.5,
        active_at: NOW,
        ..AlertView::default()
    });
    for (name, rules) in
        [("g1", vec![rule("a:b", RuleKind::Recording), firing]), ("g2", vec![rule("S", RuleKind::Sigma)])]
    {
        let group = GroupView { name: name.into(), file: "r.yml".into(), rules, ..GroupView::default() };
        world.fake.groups.lock().unwrap().push(group);
    }
    let names = |path: &'static str| async {
        let body = world.get(path).await.json();
        let groups = body["data"]["groups"].as_array().unwrap().clone();
        let rules = groups.iter().flat_map(|g| g["rules"].as_array().unwrap().clone());
        rules.map(|r| r["name"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("/api/v1/rules").await, ["a:b", "Down", "S"]);
    assert_eq!(names("/api/v1/rules?type=alert").await, ["Down", "S"]);
    assert_eq!(names("/api/v1/rules?type=record").await, ["a:b"]);
    assert_eq!(names("/api/v1/rules?rule_name[]=S&rule_name[]=a:b").await, ["a:b", "S"]);
    assert_eq!(names("/api/v1/rules?rule_group[]=g2").await, ["S"]);
    assert_eq!(names("/api/v1/rules?file[]=none").await, [""; 0]);
    let first = world.get("/api/v1/rules?group_limit=1").await.json();
    let token = first["data"]["groupNextToken"].as_str().unwrap().to_owned();
    let second = world.get(&format!("/api/v1/rules?group_limit=1&group_next_token={token}")).await.json();
    assert_eq!(second["data"]["groups"][0]["name"], "g2");
    assert_eq!(second["data"]["groupNextToken"], serde_json::Value::Null);
    let alerts = world.get("/api/v1/alerts").await.json();
    let alert = &alerts["data"]["alerts"][0];
    assert_eq!((alert["state"].as_str(), alert["value"].as_str()), (Some("firing"), Some("5e-01")));
    world.end().await;
}

#[tokio::test]
async fn other_origins_may_read_but_not_see_incidents() {
    let world = with_data().await;
    let origin = [("Origin", "http://grafana.example")];
    let reply = world.ask("GET", "/api/v1/query?query=up", &origin, "").await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("*"));
    assert_eq!(world.get("/api/v1/query?query=up").await.header("access-control-allow-origin"), None);
    assert_eq!(world.ask("OPTIONS", "/api/v1/query", &origin, "").await.status, 204);
    let reply = world.ask("GET", "/api/v1/incidents", &origin, "").await;
    assert_eq!((reply.status, reply.header("access-control-allow-origin")), (200, None));
    world.end().await;
}

#[tokio::test]
async fn people_say_what_incidents_were_worth() {
    let world = World::local().await;
    let path = "/api/v1/incidents/i1/judge";
    let body = "{\"verdict\":\"useless\",\"by\":\"b\",\"comment\":\"c\"}";
    let judged = world.ask("POST", path, &[], body).await;
    let json = judged.json();
    assert_eq!(
        (&json["data"]["judged"]["verdict"], &json["data"]["judged"]["by"]),
        (&"useless".into(), &"b".into())
    );
    let form = "verdict=useful&baseline=incident&from=100&to=1970-01-01T00:03:20Z&by=x";
    assert_eq!(world.post(path, form).await.status, 200);
    let form = "rule=Slow&baseline=new_normal&series=job%3Dj&series=pod%3Dp%3D1";
    assert_eq!(world.post("/api/v1/rules/feedback", form).await.json()["data"]["baselines"], 2);
    let body = "{\"rule\":\"Slow\",\"group\":\"g\",\"baseline\":\"incident\",\"from\":1.5,\"series\":{\"job\":\"j\"}}";
    assert_eq!(world.ask("POST", "/api/v1/rules/feedback", &[], body).await.status, 200);
    assert_eq!(
        world.done(),
        [
            "judge i1: Some(Useless) None None None by b: c".to_owned(),
            "judge i1: Some(Useful) Some(Incident) Some(100000) Some(200000) by x: ".to_owned(),
            format!(r#"Slow of None: NewNormal 0 to {NOW}, Some({{job="j", pod="p=1"}})"#),
            format!(r#"Slow of Some("g"): Incident 1500 to {NOW}, Some({{job="j"}})"#),
        ]
    );
    for (path, body, status, says) in [
        (path, "", 400, "say a verdict"),
        (path, "verdict=meh", 400, "useful or useless"),
        (path, "baseline=x", 400, "incident or new_normal"),
        (path, "verdict=useful&from=tomorrow", 400, "valid timestamp"),
        (path, "baseline=incident&from=5&to=4", 400, "before from"),
        (path, "verdict=useful&rule=x", 400, "/api/v1/rules/feedback"),
        ("/api/v1/incidents/none/judge", "verdict=useful", 404, "no incident"),
        ("/api/v1/rules/feedback", "baseline=incident&from=1", 400, "rule is missing"),
        ("/api/v1/rules/feedback", "rule=x", 400, "baseline"),
        ("/api/v1/rules/feedback", "rule=x&baseline=incident", 400, "from is missing"),
        ("/api/v1/rules/feedback", "rule=x&verdict=useful", 400, "/judge"),
    ] {
        let reply = world.post(path, body).await;
        assert_eq!(reply.status, status, "{path} {body}: {reply:?}");
        assert!(reply.json()["error"].as_str().unwrap().contains(says), "{path} {body}: {reply:?}");
    }
    assert_eq!(world.get(path).await.status, 405);
    assert_eq!(world.get("/api/v1/rules/feedback").await.status, 405);
    world.end().await;
}

#[tokio::test]
async fn incidents_are_listed_acknowledged_and_resolved() {
    let world = World::local().await;
    let list = world.get("/api/v1/incidents").await.json();
    assert_eq!(list["data"]["incidents"][0]["state"], "triggered");
    assert_eq!(list["data"]["incidents"][0]["loop"], 1);
    let json_body = r#"{"by": "engineer-b", "comment": "looking"}"#;
    let acked = world.ask("POST", "/api/v1/incidents/i1/ack", &[], json_body).await;
    assert_eq!(acked.json()["data"]["acknowledgedBy"], "engineer-b", "{acked:?}");
    assert_eq!(world.post("/api/v1/incidents/i1/resolve", "by=x").await.json()["data"]["state"], "resolved");
    assert_eq!(world.done(), ["ack i1 by engineer-b: looking", "resolve i1 by x: "]);
    for (state, count) in [("", 0), ("any", 1), ("resolved", 1), ("acknowledged", 0)] {
        let list = world.get(&format!("/api/v1/incidents?state={state}")).await.json();
        assert_eq!(list["data"]["incidents"].as_array().unwrap().len(), count, "{state}");
    }
    assert_eq!(world.get("/api/v1/incidents/i1/ack").await.status, 405);
    assert_eq!(world.ask("POST", "/api/v1/incidents/i1/ack", &[], "{\"who\":1}").await.status, 400);
    assert_eq!(world.post("/api/v1/incidents/none/ack", "").await.status, 404);
    world.end().await;
}
