//! Plain routes behave as Alertmanager's.

use sideband::paging::engine::Now;
use sideband::paging::notification::WebhookBody;
use sideband::paging::silence::{Silence, SilenceError, SilenceMatcher};

use super::world::*;

const PLAIN: &str = "
route:
  receiver: team
  group_by: [alertname]
  group_wait: 30s
  group_interval: 5m
  repeat_interval: 1h
  routes:
  - matchers: [quiet=yes]
    mute_time_intervals: [morning]
  - matchers: [firing_only=yes]
    receiver: firing-only
receivers:
- name: team
  webhook_configs: [{url: 'http://team.test/'}]
- name: firing-only
  webhook_configs: [{url: 'http://team.test/', send_resolved: false}]
inhibit_rules:
- source_matchers: [alertname=Down]
  target_matchers: [alertname!=Down]
  equal: [instance]
time_intervals:
- name: morning
  time_intervals: [{times: [{start_time: '08:00', end_time: '09:00'}]}]
";

fn sent(w: &World) -> Vec<(i64, &str, usize)> {
    w.seen.iter().map(|s| (s.at / SECOND, s.status, s.alerts)).collect()
}

/// As Alertmanager 0.33 answers for the same routes and alerts.
#[test]
fn groups_are_listed_in_order_and_say_what_hours_mute_them() {
    let mut w = World::new(
        "
route:
  receiver: zeta
  group_by: [alertname]
  group_wait: 1s
  routes:
  - {receiver: beta, matchers: [team=b], mute_time_intervals: [always, also], continue: true}
  - {receiver: alpha, matchers: ['team=~\"a|b\"'], active_time_intervals: [never], continue: true}
  - {receiver: zeta, matchers: [team=b], group_by: ['...']}
receivers: [{name: zeta}, {name: beta}, {name: alpha}, {name: Omega}]
time_intervals:
- {name: always, time_intervals: [{days_of_month: ['1:31']}, {months: ['1:12']}]}
- {name: also, time_intervals: [{months: ['1:12']}]}
- {name: never, time_intervals: [{years: ['1999']}]}
",
    );
    w.fire(&[("alertname", "X"), ("team", "b")]);
    w.fire(&[("alertname", "X"), ("team", "b"), ("b", "1")]);
    w.fire(&[("alertname", "X"), ("team", "b"), ("a", "1")]);
    w.fire(&[("alertname", "X"), ("team", "b"), ("a", "0")]);
    w.fire(&[("alertname", "Y"), ("team", "a"), ("instance", "z")]);
    w.fire(&[("alertname", "Y"), ("team", "a"), ("instance", "a"), ("x", "1")]);
    w.fire(&[("alertname", "Z"), ("team", "z")]);
    let now = w.engine.firing_now(w.now);
    let line = |g: &sideband::paging::engine::GroupView| {
        let alert = |a: &sideband::paging::engine::AlertView| {
            let names: Vec<&str> = a.receivers.iter().map(|r| r.name.as_str()).collect();
            format!("{} {} {:?} {}", a.alert.labels, a.status.state, a.status.muted_by, names.join(","))
        };
        let alerts: Vec<String> = g.alerts.iter().map(alert).collect();
        format!("{} {:?}: {}", g.receiver.name, g.labels, alerts.join("; "))
    };
    let lines: Vec<String> = now.group_views().iter().map(line).collect();
    let all = ["team=\"b\"", "b=\"1\"", "a=\"0\"", "a=\"1\""];
    let heads: Vec<&str> = lines.iter().map(|l| l.split_once(": {").unwrap().0).collect();
    assert_eq!(
        heads,
        [
            "alpha {\"alertname\": \"X\"}",
            "beta {\"alertname\": \"X\"}",
            "alpha {\"alertname\": \"Y\"}",
            "zeta {\"alertname\": \"Z\"}",
            "zeta {\"alertname\": \"X\", \"team\": \"b\"}",
            "zeta {\"alertname\": \"X\", \"b\": \"1\", \"team\": \"b\"}",
            "zeta {\"a\": \"0\", \"alertname\": \"X\", \"team\": \"b\"}",
            "zeta {\"a\": \"1\", \"alertname\": \"X\", \"team\": \"b\"}",
        ]
    );
    // Within a group: the smaller sets first, then by the first name that is not in both.
    let found: Vec<Option<usize>> = all.iter().map(|p| lines[0].find(p)).collect();
    assert!(found.is_sorted() && found.iter().all(Option::is_some), "{found:?} {}", lines[0]);
    assert_eq!(lines[0].matches("suppressed [\"never\"] alpha,beta,zeta").count(), 4, "{}", lines[0]);
    assert_eq!(lines[1].matches("suppressed [\"always\", \"always\", \"also\"]").count(), 4, "{}", lines[1]);
    assert!(lines[2].find("instance=\"a\"") < lines[2].find("instance=\"z\""), "{}", lines[2]);
    assert!(lines[4].contains("active [] alpha,beta,zeta"), "{}", lines[4]);
    // An alert alone is muted by no route's hours; its receivers are in the order of the routes.
    for a in now.alert_views().iter().filter(|a| a.alert.labels.get("team") == Some("b")) {
        let names: Vec<&str> = a.receivers.iter().map(|r| r.name.as_str()).collect();
        assert_eq!((names.as_slice(), a.status.state), (&["beta", "alpha", "zeta"][..], "active"));
        assert!(a.status.muted_by.is_empty());
    }
}

#[test]
fn groups_wait_and_repeat() {
    let mut w = World::new(PLAIN);
    w.fire(&[("alertname", "Slow"), ("instance", "1")]);
    w.pass(10 * SECOND);
    w.fire(&[("alertname", "Slow"), ("instance", "2")]);
    w.pass(20 * SECOND);
    assert_eq!(sent(&w), [(30, "firing", 2)]);
    w.fire(&[("alertname", "Slow"), ("instance", "3")]);
    w.pass(5 * MINUTE);
    assert_eq!(sent(&w)[1..], [(330, "firing", 3)]);
    // Nothing new: with the flush at which the repeat interval is over.
    w.pass(70 * MINUTE);
    assert_eq!(sent(&w)[2..], [(330 + 3600, "firing", 3)]);
    for i in ["1", "2", "3"] {
        w.end(&[("alertname", "Slow"), ("instance", i)]);
    }
    w.pass(10 * MINUTE);
    assert_eq!(sent(&w)[3].1, "resolved");
    w.pass(24 * HOUR);
    assert_eq!(sent(&w).len(), 4);
    assert!(w.engine.next_due().is_none(), "nothing is left of it");
}

#[test]
fn what_resolves_within_the_wait_is_not_spoken_of() {
    let mut w = World::new(PLAIN);
    w.fire(&[("alertname", "Slow")]);
    w.pass(20 * SECOND);
    w.end(&[("alertname", "Slow")]);
    w.pass(HOUR);
    assert!(w.seen.is_empty() && w.engine.next_due().is_none());
}

#[test]
fn send_resolved_false_says_nothing_of_the_end() {
    let mut w = World::new(PLAIN);
    let labels = &[("alertname", "Slow"), ("firing_only", "yes")];
    w.fire(labels);
    w.pass(MINUTE);
    w.end(labels);
    w.pass(10 * MINUTE);
    w.fire(labels);
    w.pass(10 * MINUTE);
    assert_eq!(w.seen.iter().map(|s| s.status).collect::<Vec<_>>(), ["firing", "firing"]);
}

#[test]
fn muted_by_inhibition_silence_and_time() {
    let mut w = World::new(PLAIN);
    w.fire(&[("alertname", "Down"), ("instance", "1")]);
    w.fire(&[("alertname", "Slow"), ("instance", "1")]);
    w.fire(&[("alertname", "Slow"), ("instance", "2"), ("quiet", "yes")]);
    w.pass(MINUTE);
    assert_eq!(sent(&w), [(30, "firing", 1)]);
    w.pass(HOUR);
    // The hour of silence is over; the inhibition is not.
    assert_eq!(w.seen.iter().filter(|s| s.key.ends_with("n2")).count(), 1);
    let muted: Vec<_> = w
        .engine
        .firing_now(w.now)
        .alert_views()
        .into_iter()
        .filter(|a| a.status.state == "suppressed")
        .map(|a| a.alert.labels.get("alertname").unwrap_or_default().to_owned())
        .collect();
    assert_eq!(muted, ["Slow"]);

    let mut w = World::new(PLAIN);
    let silence = |id: &str, now: Now, ends_at| Silence {
        id: id.to_owned(),
        matchers: vec![SilenceMatcher {
            name: "alertname".to_owned(),
            value: "Sl.*".to_owned(),
            is_regex: true,
            is_equal: true,
        }],
        starts_at: now.wall,
        ends_at,
        updated_at: 0,
        created_by: "a".to_owned(),
        comment: "known".to_owned(),
    };
    assert_eq!(w.engine.set_silence(w.now, silence("x", w.now, w.now.wall)), Err(SilenceError::Past));
    w.engine.set_silence(w.now, silence("s", w.now, w.now.wall + HOUR)).unwrap();
    w.fire(&[("alertname", "Slow")]);
    w.pass(50 * MINUTE);
    w.crash(SECOND);
    assert!(w.seen.is_empty());
    w.engine.expire_silence(w.now, "s").unwrap();
    w.pass(10 * MINUTE);
    assert_eq!(w.seen.len(), 1);
}

#[test]
fn a_receiver_that_comes_back_hears_the_latest() {
    let mut w = World::new(PLAIN);
    w.moods.insert("team".to_owned(), Mood::Down);
    w.fire(&[("alertname", "Slow"), ("instance", "1")]);
    w.pass(2 * MINUTE);
    w.fire(&[("alertname", "Slow"), ("instance", "2")]);
    w.pass(5 * MINUTE);
    w.moods.clear();
    w.pass(2 * MINUTE);
    let arrived: Vec<_> = w.seen.iter().filter(|s| s.arrived).map(|s| s.alerts).collect();
    assert_eq!(arrived, [2]);
}

#[test]
fn what_was_said_is_remembered_over_a_restart() {
    let mut w = World::new(PLAIN);
    let labels = &[("alertname", "Slow")];
    w.fire(labels);
    w.pass(MINUTE);
    w.crash(10 * SECOND);
    w.fire(labels);
    w.pass(20 * MINUTE);
    assert_eq!(w.seen.len(), 1, "it is not said twice");
    w.end(labels);
    w.pass(10 * MINUTE);
    assert_eq!(w.seen.last().unwrap().status, "resolved");
}

#[test]
fn the_body_is_alertmanagers() {
    let mut w = World::new(PLAIN);
    let mut alert = w.alert(&[("alertname", "Slow"), ("instance", "a\"b")]);
    alert.annotations = sideband::model::Labels::from_pairs([("summary", "s")]);
    alert.generator_url = "http://g".to_owned();
    alert.starts_at += 120;
    w.engine.alerts(w.now, vec![alert]);
    w.now.boot += 30_000;
    w.now.wall += 30_000;
    w.engine.tick(w.now);
    let job = w.engine.take_sends(w.now, 1).remove(0);
    let body = serde_json::to_string(&WebhookBody::new(&job.notification, "http://me", 0, None)).unwrap();
    let fingerprint = &job.notification.alerts[0].fingerprint;
    assert_eq!(
        body,
        format!(
            r#"{{"receiver":"team","status":"firing","alerts":[{{"status":"firing","labels":{{"alertname":"Slow","instance":"a\"b"}},"annotations":{{"summary":"s"}},"startsAt":"2026-11-23T08:00:00.12Z","endsAt":"0001-01-01T00:00:00Z","generatorURL":"http://g","fingerprint":"{fingerprint}"}}],"notification_reason":"first notification","groupLabels":{{"alertname":"Slow"}},"commonLabels":{{"alertname":"Slow","instance":"a\"b"}},"commonAnnotations":{{"summary":"s"}},"externalURL":"http://me","version":"4","groupKey":"{{}}:{{alertname=\"Slow\"}}","truncatedAlerts":0}}"#
        )
    );
}
