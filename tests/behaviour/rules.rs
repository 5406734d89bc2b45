//! Rules: files and their mistakes, the life of alerts, sigma rules, the manager.

mod pages;

use std::path::Path;
use std::sync::{Arc, Mutex};

use sideband::model::{Alert, Labels, Matcher, SystemClock, Timestamp, is_stale_nan};
use sideband::promql::Engine;
use sideband::rules::check::lint;
use sideband::rules::file::{Options, RuleFile, parse};
use sideband::rules::{
    AlertSink, Context, Feedback, Group, Health, Loaded, Manager, Parts, RuleMetrics, RuleType, Settings,
    Target,
};
use sideband::storage::{SourceId, Storage};

fn read(text: &str) -> RuleFile {
    parse(Path::new("r.yml"), text, Options::default()).unwrap_or_else(|e| panic!("{e:?}"))
}

#[test]
fn all_mistakes_of_a_file_are_reported_with_their_place() {
    let text = r#"
groups:
  - name: a
    interval: 1x
    rules:
      - record: ok
        expr: sum(up
      - alert: A
        expr: |
          up ==
            and 1
        for: soon
        lables: {}
        labels: {severity: "{{ $nope }}", __name__: x}
      - expr: up
  - name: a
    limit: -1
    rules:
      - sigma: S
        expr: up
        for: 1m
        direction: sideways
        bands: [{sigma: 3}]
      - sigma: T
        expr: up
        baseline: {lag: 7h}
        bands: [{sigma: 3}, {sigma: 2}]
      - record: r
        expr: up
        bands: []
"#;
    let errors = parse(Path::new("r.yml"), text, Options::default()).unwrap_err();
    let all: Vec<String> = errors.iter().map(ToString::to_string).collect();
    for wanted in [
        "r.yml:4:15: not a valid duration",
        "r.yml:7:",
        "could not parse expression",
        "r.yml:11:17: could not parse",
        "r.yml:12:14: not a valid duration",
        "r.yml:13:9: field lables not found",
        "r.yml:14:32: label \"severity\": template: __alert_A:1: undefined variable",
        "invalid label name: __name__",
        "r.yml:15:9: one of 'record', 'alert' or 'sigma' must be set",
        "r.yml:16:11: groupname: \"a\" is repeated",
        "r.yml:17:12: limit",
        "invalid field 'for' in sigma rule",
        "direction: want above",
        "baseline.lag",
        "bands[1].sigma",
        "invalid field 'bands'",
    ] {
        assert!(all.iter().any(|e| e.contains(wanted)), "{wanted}: {all:#?}");
    }
    assert!(errors.iter().all(|e| e.line > 0), "{all:#?}");
    for (text, part) in [
        ("groups: 1", "r.yml:1"),
        ("groups:\n- name: [", "r.yml:"),
        ("groups:\n- name: a\n  name: b\n", "r.yml:3:3"),
        ("gruops: []", "field gruops not found"),
    ] {
        let errors = parse(Path::new("r.yml"), text, Options::default()).unwrap_err();
        assert!(errors.iter().any(|e| e.to_string().contains(part)), "{text}: {errors:?}");
    }
    for text in ["", "groups:\n", "groups: []", "# nothing\n"] {
        assert!(read(text).groups.is_empty(), "{text:?}");
    }
    let extra = "groups: [{name: a, owner: x, rules: [{record: r, expr: up, team: y}]}]";
    let lenient = Options { ignore_unknown_fields: true, ..Options::default() };
    assert!(parse(Path::new("r.yml"), extra, Options::default()).is_err());
    assert!(parse(Path::new("r.yml"), extra, lenient).is_ok());
}

#[test]
fn lints_ask_for_what_a_page_needs() {
    let file = read(
        r#"
groups:
  - name: g
    rules:
      - {alert: A, expr: up == 0, labels: {severity: page}, annotations: {summary: s}}
      - {alert: B, expr: up == 0, labels: {severity: ticket}}
      - {alert: B, expr: up == 1, labels: {severity: ticket}}
      - sigma: S
        expr: up
        bands: [{sigma: 2, labels: {severity: ticket}}, {sigma: 3, labels: {severity: critical}}]
        annotations: {runbook_url: u}
      - {sigma: T, expr: up, bands: [{sigma: 3, labels: {severity: ticket}}]}
"#,
    );
    let found: Vec<(u64, &str)> = lint(&file).iter().map(|f| (f.line, f.lint.as_str())).collect();
    assert_eq!(found, [(5, "page-without-runbook"), (7, "duplicate-rules"), (8, "page-without-summary")]);
}

/// Alerts that were sent, with the time.
#[derive(Default)]
struct Sent(Mutex<Vec<(Timestamp, Alert)>>);

impl AlertSink for Sent {
    fn send(&self, alerts: Vec<Alert>, now: Timestamp) {
        self.0.lock().unwrap().extend(alerts.into_iter().map(|a| (now, a)));
    }
}

/// A storage and groups that are evaluated by hand.
struct Bench {
    storage: Storage,
    settings: Settings,
    groups: Vec<Group>,
    sent: Sent,
}

const S: i64 = 1000;

impl Bench {
    fn new(text: &str) -> Self {
        Self::on(Storage::in_memory(), text)
    }

    fn on(storage: Storage, text: &str) -> Self {
        let groups = read(text).groups.into_iter().enumerate();
        let groups = groups.map(|(i, spec)| {
            let interval = spec.interval.map_or(15 * S, |d| d.ms());
            Group::new(spec, interval, 0, SourceId(100 + i as u32))
        });
        Self { groups: groups.collect(), storage, settings: Settings::default(), sent: Sent::default() }
    }

    fn feed(&self, t: Timestamp, series: &[(&[(&str, &str)], f64)]) {
        let mut appender = self.storage.appender(SourceId(1));
        for (labels, v) in series {
            let id = appender.series(&Labels::from_pairs(labels.iter().copied())).unwrap();
            appender.append(id, t, *v).unwrap();
        }
        appender.commit(t);
    }

    /// One value of the series `x`, then an evaluation.
    fn tick(&self, t: Timestamp, x: f64) {
        self.feed(t, &[(&[("__name__", "x"), ("job", "j")], x)]);
        self.evaluate(t);
    }

    /// What a person says at `now`, as the manager does it.
    fn say(&self, target: &Target, feedback: &Feedback, now: Timestamp) -> sideband::rules::Taken {
        let engine = Engine::default();
        let context = Context {
            engine: &engine,
            source: &self.storage,
            storage: &self.storage,
            settings: &self.settings,
            replay: None,
        };
        sideband::rules::feedback(&context, self.groups.iter(), target, feedback, now)
    }

    fn view(&self) -> Vec<sideband::rules::GroupView> {
        sideband::rules::views(self.groups.iter())
    }

    fn evaluate(&self, t: Timestamp) {
        let engine = Engine::default();
        let context = Context {
            engine: &engine,
            source: &self.storage,
            storage: &self.storage,
            settings: &self.settings,
            replay: None,
        };
        for group in &self.groups {
            group.evaluate(&context, &self.sent, t);
        }
    }

    /// The newest samples of a metric, by labels without the name; staleness markers left out.
    fn now(&self, metric: &str) -> Vec<(String, f64)> {
        let all = self.storage.select(&[Matcher::equal("__name__", metric)], i64::MIN, i64::MAX);
        let mut found: Vec<_> = all
            .iter()
            .filter_map(|s| {
                Some((s.labels.without(|n| n == "__name__").to_string(), s.last(i64::MIN, i64::MAX)?))
            })
            .filter(|(_, s)| !is_stale_nan(s.v))
            .map(|(l, s)| (l, s.v))
            .collect();
        found.sort_by(|a, b| a.0.cmp(&b.0));
        found
    }

    /// (time, state) of what was sent: `true` for firing.
    fn sent(&self) -> Vec<(Timestamp, bool)> {
        self.sent.0.lock().unwrap().iter().map(|(t, a)| (*t / S, a.ends_at > *t)).collect()
    }
}

#[test]
fn recording_rules_see_each_other_and_end_with_a_marker() {
    let bench = Bench::new(
        "groups: [{name: g, limit: 1, rules: [{record: a, expr: 2 * x, labels: {k: v}}, {record: b, expr: 'a + 1'}, {record: c, expr: 'label_replace(y, \"job\", \"\", \"\", \"\")'}]}]",
    );
    bench.tick(0, 1.0);
    assert_eq!(bench.now("b"), [(r#"{job="j", k="v"}"#.to_owned(), 3.0)]);
    // Two series with a limit of one: the rule fails, and what it wrote is not marked as gone.
    bench.feed(
        15 * S,
        &[(&[("__name__", "x"), ("job", "k")], 1.0), (&[("__name__", "x"), ("job", "j")], 1.0)],
    );
    bench.evaluate(15 * S);
    assert!(matches!(&bench.groups[0].rules[0].state().health, Health::Err(e) if e.contains("limit")));
    assert_eq!(bench.now("a").len(), 1);
    // All series end.
    for job in ["j", "k"] {
        bench.feed(30 * S, &[(&[("__name__", "x"), ("job", job)], sideband::model::stale_nan())]);
    }
    bench.evaluate(30 * S);
    assert!(bench.now("a").is_empty() && bench.now("b").is_empty());
    // Label sets that fall together fail the rule.
    bench.feed(
        45 * S,
        &[(&[("__name__", "y"), ("job", "j")], 1.0), (&[("__name__", "y"), ("job", "k")], 1.0)],
    );
    bench.evaluate(45 * S);
    assert!(matches!(&bench.groups[0].rules[2].state().health, Health::Err(_)));
}

const ALERT: &str = r#"
groups:
  - name: g
    interval: 15s
    rules:
      - alert: High
        expr: x > 1
        for: 30s
        keep_firing_for: 30s
        labels: {severity: page, value: "{{ $value }}"}
        annotations: {summary: "{{ $labels.job }} {{ $externalLabels.dc }} {{ .Value | humanize }} {{ nope_is_fine }}"}
"#;

#[test]
fn an_alert_lives_from_pending_to_resolved() {
    let text = ALERT.replace(" {{ nope_is_fine }}", " {{ query `x` | first | value }}");
    let bench = Bench {
        settings: Settings { external_labels: Labels::from_pairs([("dc", "d")]), ..Settings::default() },
        ..Bench::new(&text)
    };
    for (t, x, alerts) in [
        (0, 1.0, ""),
        (15, 2.0, "pending"),
        (30, 2.0, "pending"),
        (45, 2.0, "firing"),
        (60, 0.0, "firing"),
        (75, 0.0, "firing"),
        (90, 0.0, ""),
    ] {
        bench.tick(t * S, x);
        let now = bench.now("ALERTS");
        let want = if alerts.is_empty() { 0 } else { 1 };
        assert!(now.len() == want && now.iter().all(|(l, _)| l.contains(alerts)), "{t}: {now:?}");
        let since = bench.now("ALERTS_FOR_STATE");
        assert!(since.iter().all(|(_, v)| *v == 15.0), "{t}: {since:?}");
    }
    for t in 7..90 {
        bench.tick((t * 15) * S, 0.0);
    }
    let sent = bench.sent();
    // At once when it fires, again after a minute, at once when it is resolved, then for 15 minutes.
    assert_eq!(sent[..3], [(45, true), (90, false), (150, false)]);
    assert_eq!(sent.last(), Some(&(990, false)));
    let (_, first) = bench.sent.0.lock().unwrap()[0].clone();
    assert_eq!(first.labels.to_string(), r#"{alertname="High", job="j", severity="page", value="2"}"#);
    assert_eq!(first.annotations.get("summary"), Some("j d 2 2"));
    assert_eq!((first.starts_at, first.ends_at), (45 * S, (45 + 240) * S));
    assert_eq!(first.generator_url, "/graph?g0.expr=x+%3E+1&g0.tab=1");
}

/// An evaluation that waits for its samples is some ms later than the others.
#[test]
fn an_evaluation_that_is_late_delays_no_alert_by_an_interval() {
    let bench = Bench::new(&ALERT.replace(" {{ nope_is_fine }}", ""));
    for (t, x, alerts) in [
        (0, 1.0, ""),
        (15_020, 2.0, "pending"),
        (30_000, 2.0, "pending"),
        (45_000, 2.0, "firing"),
        (60_020, 0.0, "firing"),
        (75_000, 0.0, "firing"),
        (90_000, 0.0, ""),
    ] {
        bench.tick(t, x);
        let now = bench.now("ALERTS");
        let want = usize::from(!alerts.is_empty());
        assert!(now.len() == want && now.iter().all(|(l, _)| l.contains(alerts)), "{t}: {now:?}");
    }
}

#[test]
fn a_template_that_fails_is_a_text_and_the_page_goes_out() {
    let bench = Bench::new(
        "groups: [{name: g, rules: [{alert: A, expr: x > 1, annotations: {summary: 'a {{ query \"nothing\" | first | value }}'}}]}]",
    );
    bench.tick(0, 2.0);
    let (_, alert) = bench.sent.0.lock().unwrap()[0].clone();
    let summary = alert.annotations.get("summary").unwrap();
    assert!(summary.starts_with("<error expanding template: ") && summary.contains("first()"), "{summary}");
}

#[test]
fn pending_goes_on_after_a_restart() {
    let text = ALERT.replace(" {{ nope_is_fine }}", "").replace("for: 30s", "for: 10m");
    let before = Bench::new(&text);
    for t in 0..=36 {
        before.tick(t * 15 * S, 2.0);
    }
    assert!(before.now("ALERTS")[0].0.contains("pending"));
    // Down for two minutes, with one minute of ten left.
    let after = Bench::on(before.storage.clone(), &text);
    for t in 44..=47 {
        after.tick(t * 15 * S, 2.0);
        assert!(after.now("ALERTS").iter().all(|(l, _)| l.contains("pending")), "{t}");
    }
    after.tick(48 * 15 * S, 2.0);
    assert!(after.now("ALERTS").iter().any(|(l, _)| l.contains("firing")));
    // What fired before fires again at once.
    let again = Bench::on(after.storage.clone(), &text);
    again.tick(50 * 15 * S, 2.0);
    assert_eq!(again.sent(), [(750, true)]);
    // But not after longer than the tolerance.
    let late = Bench::on(again.storage.clone(), &text);
    late.tick(50 * 15 * S + 3_700 * S, 2.0);
    assert!(late.sent().is_empty());
}

#[test]
fn what_fired_before_a_restart_and_does_not_any_more_is_said_to_be_over() {
    let text = ALERT.replace(" {{ nope_is_fine }}", "");
    let fired = || {
        let before = Bench::new(&text);
        (0..=4).for_each(|t| before.tick(t * 15 * S, 2.0));
        assert!(before.now("ALERTS")[0].0.contains("firing"));
        before.storage.clone()
    };
    // Down for two minutes, and it is over. For a minute nothing is said: what the rule reads may not have been scraped.
    let after = Bench::on(fired(), &text);
    for t in 12..16 {
        after.tick(t * 15 * S, 0.0);
        assert!(after.sent().is_empty() && after.now("ALERTS")[0].0.contains("firing"), "{t}");
    }
    (16..20).for_each(|t| after.tick(t * 15 * S, 0.0));
    let said = after.sent.0.lock().unwrap().clone();
    let (at, alert) = &said[0];
    assert_eq!((said.len(), alert.starts_at <= 60 * S, alert.ends_at), (1, true, *at), "{said:?}");
    assert!(after.now("ALERTS").is_empty());
    // It goes on after all: said at once, and nothing was said to be over.
    let again = Bench::on(fired(), &text);
    again.tick(12 * 15 * S, 0.0);
    again.tick(13 * 15 * S, 2.0);
    assert_eq!(again.sent(), [(13 * 15, true)]);
    // What had ended before is not spoken of, nor is what ended longer ago than the tolerance.
    let ended = fired();
    let before = Bench::on(ended.clone(), &text);
    (5..=30).for_each(|t| before.tick(t * 15 * S, if t < 6 { 2.0 } else { 0.0 }));
    let next = Bench::on(ended, &text);
    (40..60).for_each(|t| next.tick(t * 15 * S, 0.0));
    assert!(next.sent().is_empty(), "{:?}", next.sent());
    let late = Bench::on(fired(), &text);
    (300..320).for_each(|t| late.tick(t * 15 * S, 0.0));
    assert!(late.sent().is_empty());
}

#[test]
fn a_reload_keeps_the_state_of_rules_that_stay() {
    let text = ALERT.replace(" {{ nope_is_fine }}", "");
    let bench = Bench::new(&text);
    for t in 0..3 {
        bench.tick(t * 15 * S, 2.0);
    }
    let changed = text.replace("      - alert: High", "      - {record: r, expr: x}\n      - alert: High");
    let next = Bench::on(bench.storage.clone(), &changed);
    next.groups[0].take_over(&bench.groups[0]);
    next.tick(45 * S, 2.0);
    assert_eq!(next.now("ALERTS_FOR_STATE")[0].1, 0.0);
    // The rule is gone: its series end.
    let gone = Bench::on(next.storage.clone(), "groups: [{name: g, rules: [{record: r, expr: x}]}]");
    gone.groups[0].take_over(&next.groups[0]);
    gone.tick(60 * S, 2.0);
    assert!(gone.now("ALERTS").is_empty() && gone.now("r").len() == 1);
}

fn by_name(rule: &str) -> Target {
    Target::Rule { group: None, rule: rule.to_owned(), series: None }
}

/// Sends what it is given on.
struct Channel(tokio::sync::mpsc::UnboundedSender<Alert>);

impl AlertSink for Channel {
    fn send(&self, alerts: Vec<Alert>, _now: Timestamp) {
        for alert in alerts {
            let _ = self.0.send(alert);
        }
    }
}

#[tokio::test]
async fn the_manager_pages_when_samples_come_and_keeps_baselines() {
    use sideband::model::Clock as _;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("baselines");
    std::fs::write(&file, b"rubbish").unwrap();
    let storage = Storage::in_memory();
    let (send, mut alerts) = tokio::sync::mpsc::unbounded_channel();
    let mut registry = prometheus_client::registry::Registry::default();
    let parts = Parts {
        storage: storage.clone(),
        source: Arc::new(storage.clone()),
        engine: Engine::default(),
        clock: Arc::new(SystemClock),
        sink: Arc::new(Channel(send)),
        metrics: RuleMetrics::register(&mut registry),
        baseline_file: Some(file.clone()),
    };
    let rules = "groups:\n- name: g\n  interval: 1h\n  rules:\n  - {alert: A, expr: x > 1}\n  - {record: r, expr: x}\n  - {sigma: S, expr: x, bands: [{sigma: 3}]}\n";
    let loaded = |text: &str| Loaded { files: vec![read(text)], ..Loaded::default() };
    let manager = Manager::new(parts.clone());
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let manager = manager.clone();
        async move {
            manager
                .run(async {
                    let _ = stopped.await;
                })
                .await;
        }
    });
    let mut number = 10;
    let mut next = || {
        number += 1;
        SourceId(number)
    };
    manager.apply(loaded(rules), &mut next).await;
    // The interval is an hour: only the commit can be the reason for an evaluation now.
    let t = SystemClock.now();
    let mut appender = storage.appender(SourceId(1));
    let id = appender.series(&Labels::from_pairs([("__name__", "x")])).unwrap();
    appender.append(id, t, 2.0).unwrap();
    appender.commit(t);
    let alert =
        tokio::time::timeout(std::time::Duration::from_secs(60), alerts.recv()).await.unwrap().unwrap();
    assert_eq!((alert.name(), alert.starts_at), ("A", t));
    // A reload in which the rules stay keeps the alert.
    manager.apply(loaded(&format!("{rules}  - {{record: s, expr: x}}\n")), &mut next).await;
    let active =
        |m: &Manager| m.groups().iter().flat_map(|g| &g.rules).map(|r| r.alerts.len()).sum::<usize>();
    assert_eq!(active(&manager), 1);
    let views = manager.groups();
    assert_eq!(
        views[0].rules.iter().map(|r| r.kind).collect::<Vec<_>>(),
        [RuleType::Alerting, RuleType::Recording, RuleType::Sigma, RuleType::Recording]
    );
    assert_eq!(
        (views[0].rules[0].state().as_str(), views[0].rules[3].health.as_str()),
        ("firing", "unknown")
    );
    let json = serde_json::to_value(manager.groups()).unwrap();
    assert_eq!(json[0]["rules"][2]["sigma"]["series"][0]["value"], 2.0);
    assert_eq!(json[0]["rules"][2]["type"], "alerting");
    assert_eq!(manager.feedback(&by_name("S"), &Feedback::NewNormal).series, 1);
    // Groups that are gone end.
    manager.apply(Loaded::default(), &mut next).await;
    assert_eq!(active(&manager), 0);
    manager.apply(loaded(rules), &mut next).await;
    let mut appender = storage.appender(SourceId(1));
    appender.append(id, t + 1, 2.0).unwrap();
    appender.commit(t + 1);
    tokio::time::timeout(std::time::Duration::from_secs(60), alerts.recv()).await.unwrap().unwrap();
    drop(stop);
    running.await.unwrap();
    let mut text = String::new();
    prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
    assert!(text.contains("sideband_rule_evaluations_total{rule_group=\"r.yml;g\"} 3"), "{text}");
    // The baselines are in the file, and the next process goes on with them.
    let manager = Manager::new(parts);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let manager = manager.clone();
        async move {
            manager
                .run(async {
                    let _ = stopped.await;
                })
                .await;
        }
    });
    manager.apply(loaded(rules), &mut next).await;
    drop(stop);
    running.await.unwrap();
    let stored = std::fs::read(&file).unwrap();
    assert!(stored.windows(6).any(|w| w == b"SBSIGM") && stored.len() > 60, "{}", stored.len());
}

/// A central store that knows pods of two namespaces.
#[derive(Debug, Default)]
struct Central(Mutex<Vec<String>>);

impl sideband::rules::RemoteHistory for Central {
    fn range<'a>(
        &'a self,
        expr: &'a str,
        start: Timestamp,
        end: Timestamp,
        step: i64,
    ) -> sideband::rules::Asked<'a> {
        Box::pin(async move {
            self.0.lock().unwrap().push(expr.to_owned());
            let points = |level: f64| {
                (0..=(end - start) / step)
                    .map(|i| (start + i * step, level + pages::calm(i) - 10.0))
                    .collect::<Vec<_>>()
            };
            let labels = |pod: &str, ns: &str| {
                Labels::from_pairs([("job", "j"), ("pod", pod), ("namespace", ns), ("instance", "i:1")])
            };
            Ok(vec![(labels("old", "prod"), points(10.0)), (labels("old", "test"), points(900.0))])
        })
    }
}

#[tokio::test]
async fn a_new_series_learns_from_a_central_store_in_the_background() {
    use sideband::model::Clock as _;
    let storage = Storage::in_memory();
    let mut registry = prometheus_client::registry::Registry::default();
    let (send, _alerts) = tokio::sync::mpsc::unbounded_channel();
    let manager = Manager::new(Parts {
        storage: storage.clone(),
        source: Arc::new(storage.clone()),
        engine: Engine::default(),
        clock: Arc::new(SystemClock),
        sink: Arc::new(Channel(send)),
        metrics: RuleMetrics::register(&mut registry),
        baseline_file: None,
    });
    let central = Arc::new(Central::default());
    let settings = Settings {
        external_labels: Labels::from_pairs([("pod", "new"), ("namespace", "prod")]),
        ..Settings::default()
    };
    let rules =
        "groups:\n- name: g\n  interval: 15s\n  rules:\n  - {sigma: S, expr: x, bands: [{sigma: 3}]}\n";
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let running = tokio::spawn({
        let manager = manager.clone();
        async move {
            let end = async {
                let _ = stopped.await;
            };
            manager.run(end).await;
        }
    });
    let mut number = 10;
    let loaded = Loaded {
        files: vec![read(rules)],
        settings,
        remote_history: Some(central.clone()),
        ..Loaded::default()
    };
    let next = || {
        number += 1;
        SourceId(number)
    };
    manager.apply(loaded, next).await;
    let t = SystemClock.now();
    let mut appender = storage.appender(SourceId(1));
    let id = appender.series(&Labels::from_pairs([("__name__", "x"), ("job", "j")])).unwrap();
    appender.append(id, t, 10.0).unwrap();
    appender.commit(t);
    let warm = async {
        loop {
            let metrics = &mut String::new();
            prometheus_client::encoding::text::encode(metrics, &registry).unwrap();
            if metrics.contains("sideband_rule_baselines_warmed_total 1") {
                return;
            }
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), warm).await.unwrap();
    assert_eq!(*central.0.lock().unwrap(), ["x"]);
    // The next evaluation judges by it.
    let judged = async {
        let mut t = t;
        loop {
            t += 1;
            let mut appender = storage.appender(SourceId(1));
            appender.append(id, t, 10.0).unwrap();
            appender.commit(t);
            manager
                .apply(Loaded { files: vec![read(&rules.replace("15s", "1s"))], ..Loaded::default() }, || {
                    SourceId(99)
                })
                .await;
            let series = manager.groups().remove(0).rules.remove(0).sigma.unwrap().series;
            if let Some(one) = series.iter().find(|s| s.ready) {
                return (one.center.unwrap(), one.samples);
            }
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let (center, samples) = tokio::time::timeout(std::time::Duration::from_secs(60), judged).await.unwrap();
    assert!((center - 10.0).abs() < 0.3 && samples > 1000, "{center} {samples}");
    drop(stop);
    running.await.unwrap();
}
