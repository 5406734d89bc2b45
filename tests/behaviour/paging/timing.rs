//! Plain groups over time: what is merged, what is told when a receiver was away, what muting leaves open.

use sideband::model::{Alert, Labels};
use sideband::paging::engine::Outcome;
use sideband::paging::silence::{Silence, SilenceMatcher};

use super::world::*;

const PLAIN: &str = "
route:
  receiver: team
  group_by: [alertname]
  group_wait: 10s
  group_interval: 1m
  repeat_interval: 10m
  routes:
  - matchers: [firing_only=yes]
    receiver: firing-only
  - matchers: [hours=yes]
    receiver: two
    mute_time_intervals: [morning, monday]
  - matchers: [hours=other]
    active_time_intervals: [evening]
receivers:
- name: team
  webhook_configs: [{url: 'http://team.test/'}]
- name: firing-only
  webhook_configs: [{url: 'http://team.test/', send_resolved: false}]
- name: two
  webhook_configs: [{url: 'http://one.test/'}, {url: 'http://two.test/'}]
time_intervals:
- name: morning
  time_intervals: [{times: [{start_time: '08:00', end_time: '09:00'}]}]
- name: evening
  time_intervals: [{times: [{start_time: '20:00', end_time: '21:00'}]}]
- name: monday
  time_intervals: [{weekdays: [monday]}]
";

const SLOW: &[(&str, &str)] = &[("alertname", "Slow"), ("instance", "1")];
const SLOW_2: &[(&str, &str)] = &[("alertname", "Slow"), ("instance", "2")];
const ONLY: &[(&str, &str)] = &[("alertname", "Slow"), ("firing_only", "yes")];

/// Status and number of alerts of what arrived.
fn arrived(w: &World) -> Vec<(i64, &'static str, usize)> {
    w.seen.iter().filter(|s| s.arrived).map(|s| (s.at / SECOND, s.status, s.alerts)).collect()
}

fn silence(w: &mut World, id: &str, ms: i64) {
    let silence = Silence {
        id: id.to_owned(),
        matchers: vec![SilenceMatcher {
            name: "alertname".to_owned(),
            value: "Slow".to_owned(),
            is_regex: false,
            is_equal: true,
        }],
        starts_at: w.now.wall,
        ends_at: w.now.wall + ms,
        updated_at: 0,
        created_by: "a".to_owned(),
        comment: "known".to_owned(),
    };
    w.engine.set_silence(w.now, silence).unwrap();
    w.pump();
}

/// What it is; at which second what is said: start and end in seconds after [`START`]; what holds then.
type Case = (&'static str, &'static [(i64, i64, i64)], Option<(i64, i64)>);

#[test]
fn what_is_said_twice_of_one_alert() {
    let cases: &[Case] = &[
        ("a later end", &[(0, 0, 60), (5, 0, 90)], Some((0, 90))),
        ("an earlier end to come does not shorten it", &[(0, 0, 60), (5, 2, 30)], Some((0, 60))),
        ("the end", &[(0, 0, 60), (5, 0, 5)], None),
        ("the end, without its start", &[(0, 0, 60), (5, 5, 5)], None),
        ("an earlier start", &[(0, 0, 60), (5, -20, 70)], Some((-20, 70))),
        ("a later start within", &[(0, 0, 60), (5, 4, 70)], Some((0, 70))),
        ("it fires again", &[(0, 0, 60), (5, 0, 5), (8, 7, 70)], Some((7, 70))),
        ("it fires again from before its end", &[(0, 0, 60), (5, 0, 5), (8, 4, 70)], Some((0, 70))),
        (
            "two ends in the past: the later one",
            &[(0, 0, 60), (5, 0, 5), (8, 0, 4), (9, 8, 70)],
            Some((8, 70)),
        ),
        // Without an end it is five minutes, which holds only until somebody says more.
        ("an end after none", &[(0, 0, 300), (5, 2, 60)], Some((0, 60))),
        ("none after an end", &[(0, 0, 900), (5, 2, 305)], Some((0, 900))),
    ];
    for (name, said, expect) in cases {
        let mut w = World::new(PLAIN);
        for (at, starts, ends) in *said {
            w.pass(at * SECOND - w.at());
            let alert =
                Alert { starts_at: START + starts * SECOND, ends_at: START + ends * SECOND, ..w.alert(SLOW) };
            w.engine.alerts(w.now, vec![alert]);
        }
        let views = w.engine.firing_now(w.now).alert_views();
        let got =
            views.first().map(|v| ((v.alert.starts_at - START) / SECOND, (v.alert.ends_at - START) / SECOND));
        assert_eq!(got, *expect, "{name}");
    }
}

#[test]
fn a_repetition_comes_with_the_flush_that_was_meant() {
    let mut w = World::new(PLAIN);
    w.fire(SLOW);
    w.pass(11 * MINUTE);
    assert_eq!(arrived(&w), [(10, "firing", 1), (610, "firing", 1)]);
    // The clocks need not agree to the millisecond.
    w.now.wall -= 2;
    w.pass(10 * MINUTE);
    assert_eq!(arrived(&w)[2..], [(1209, "firing", 1)]);
    // An interval that is no multiple: rounded up.
    let mut w = World::new(&PLAIN.replace("repeat_interval: 10m", "repeat_interval: 90s"));
    w.fire(SLOW);
    w.pass(5 * MINUTE);
    assert_eq!(arrived(&w), [(10, "firing", 1), (130, "firing", 1), (250, "firing", 1)]);
}

#[test]
fn what_fired_while_its_receiver_was_away_is_told_once() {
    for (labels, expect) in [(SLOW, vec![("resolved", 1)]), (ONLY, vec![])] {
        let mut w = World::new(PLAIN);
        for receiver in ["team", "firing-only"] {
            w.moods.insert(receiver.to_owned(), Mood::Down);
        }
        w.fire(labels);
        w.pass(30 * SECOND);
        w.end(labels);
        w.pass(5 * MINUTE);
        w.moods.clear();
        w.pass(10 * MINUTE);
        let got: Vec<_> = arrived(&w).into_iter().map(|(_, status, n)| (status, n)).collect();
        assert_eq!(got, expect, "{labels:?}");
        w.pass(HOUR);
        assert_eq!(arrived(&w).len(), expect.len());
        assert!(w.engine.next_due().is_none(), "nothing is left of it");
    }
}

#[test]
fn a_receiver_that_is_away_for_hours_is_told_of_the_end() {
    let mut w = World::new(PLAIN);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    w.moods.insert("team".to_owned(), Mood::Down);
    w.end(SLOW);
    w.pass(5 * HOUR);
    w.moods.clear();
    w.pass(5 * MINUTE);
    assert_eq!(arrived(&w).iter().map(|(_, s, _)| *s).collect::<Vec<_>>(), ["firing", "resolved"]);
    // It is not tried for ever.
    let mut w = World::new(PLAIN);
    w.moods.insert("team".to_owned(), Mood::Down);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    w.end(SLOW);
    w.pass(25 * HOUR);
    assert!(w.engine.next_due().is_none() && w.engine.outbox_len() == 0);
}

#[test]
fn what_may_have_arrived_is_told_to_be_over() {
    let mut w = World::new(PLAIN);
    w.moods.insert("team".to_owned(), Mood::Hangs);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    w.end(SLOW);
    w.pass(MINUTE);
    let job = w.hanging.remove(0);
    w.moods.clear();
    w.engine.delivered(w.now, job.id, &Outcome::Unsure { reason: "timeout".to_owned() });
    w.pass(5 * MINUTE);
    assert_eq!(arrived(&w).into_iter().map(|(_, s, n)| (s, n)).collect::<Vec<_>>(), [("resolved", 1)]);
    assert!(w.engine.next_due().is_none());

    // It ends only after the answer was lost.
    let mut w = World::new(PLAIN);
    w.moods.insert("team".to_owned(), Mood::Hangs);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    let job = w.hanging.remove(0);
    w.engine.delivered(w.now, job.id, &Outcome::Unsure { reason: "timeout".to_owned() });
    w.moods.insert("team".to_owned(), Mood::Down);
    w.end(SLOW);
    w.pass(2 * MINUTE);
    w.moods.clear();
    w.pass(5 * MINUTE);
    assert_eq!(arrived(&w).into_iter().map(|(_, s, n)| (s, n)).collect::<Vec<_>>(), [("resolved", 1)]);
}

#[test]
fn what_waits_for_its_receiver_is_brought_up_to_date() {
    let mut w = World::new(PLAIN);
    w.moods.insert("team".to_owned(), Mood::Down);
    w.fire(SLOW);
    w.fire(SLOW_2);
    w.pass(30 * SECOND);
    let mut alert = w.alert(SLOW);
    alert.annotations = Labels::from_pairs([("summary", "worse")]);
    w.engine.alerts(w.now, vec![alert]);
    w.pass(MINUTE);
    let row = w.engine.pending().next().unwrap().clone();
    assert_eq!(row.notification.alerts[0].annotations.get("summary").map(String::as_str), Some("worse"));
    // One that has ended meanwhile is not among those that fire.
    w.end(SLOW_2);
    w.pass(5 * MINUTE);
    w.moods.clear();
    w.pass(MINUTE);
    let last = w.seen.last().unwrap();
    assert!(last.arrived && last.status == "firing" && last.alerts == 2);
    w.end(SLOW);
    w.pass(3 * MINUTE);
    assert_eq!(arrived(&w).iter().map(|(_, s, _)| *s).collect::<Vec<_>>(), ["firing", "resolved"]);
}

#[test]
fn what_is_silenced_is_not_tried_any_more() {
    let mut w = World::new(PLAIN);
    w.moods.insert("team".to_owned(), Mood::Down);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    silence(&mut w, "s", 20 * MINUTE);
    w.pass(2 * MINUTE);
    w.moods.clear();
    w.pass(10 * MINUTE);
    assert_eq!(arrived(&w), [], "silence means silence");
    w.pass(10 * MINUTE);
    assert_eq!(arrived(&w).len(), 1, "it fires still");
}

#[test]
fn one_integration_that_fails_keeps_nothing_from_the_other() {
    let mut w = World::new(&PLAIN.replace("mute_time_intervals: [morning, monday]", ""));
    let labels = &[("alertname", "Slow"), ("hours", "yes")];
    w.moods.insert("two".to_owned(), Mood::Hangs);
    w.fire(labels);
    w.pass(20 * SECOND);
    assert_eq!(w.hanging.len(), 2);
    let (first, second) = (w.hanging.remove(0), w.hanging.remove(0));
    w.moods.clear();
    w.engine.delivered(w.now, first.id, &Outcome::Delivered);
    w.end(labels);
    w.pass(MINUTE);
    assert_eq!(w.seen.last().unwrap().status, "resolved", "to the first, while the second hangs");
    let before = w.seen.len();
    w.engine.delivered(w.now, second.id, &Outcome::Delivered);
    w.pass(5 * MINUTE);
    assert_eq!(w.seen.len(), before + 1, "the second was told that it fired, and is told that it is over");
    assert!(w.engine.next_due().is_none());
}

#[test]
fn what_fires_anew_after_a_silence_is_told() {
    let mut w = World::new(PLAIN);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    silence(&mut w, "s", 3 * MINUTE);
    w.end(SLOW);
    w.pass(4 * MINUTE);
    assert_eq!(arrived(&w).len(), 1, "its end is not spoken of in the silence, nor after it");
    w.fire(SLOW);
    w.pass(2 * MINUTE);
    assert_eq!(arrived(&w).len(), 2, "another firing, though the repeat interval is not over");
    w.end(SLOW);
    w.pass(2 * MINUTE);
    assert_eq!(arrived(&w).last().unwrap().1, "resolved");
    assert!(w.engine.next_due().is_none());
}

#[test]
fn what_was_told_before_a_silence_is_told_to_be_over_after_it() {
    let mut w = World::new(PLAIN);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    silence(&mut w, "s", 10 * MINUTE);
    w.end(SLOW);
    w.pass(3 * MINUTE);
    // Again within the silence; it ends after it, before the group has spoken.
    w.fire(SLOW);
    w.pass(6 * MINUTE + 50 * SECOND);
    w.engine.expire_silence(w.now, "s").unwrap();
    w.end(SLOW);
    w.pass(5 * MINUTE);
    assert_eq!(arrived(&w).iter().map(|(_, s, _)| *s).collect::<Vec<_>>(), ["firing", "resolved"]);
}

/// Prometheus says for 15 minutes that an alert is over.
#[test]
fn an_end_that_is_said_again_after_the_silence_is_told_once() {
    for others in [false, true] {
        let mut w = World::new(PLAIN);
        if others {
            w.fire(SLOW_2);
        }
        w.fire(SLOW);
        w.pass(30 * SECOND);
        silence(&mut w, "s", 3 * MINUTE);
        for _ in 0..10 {
            w.end(SLOW);
            w.pass(MINUTE);
        }
        let told: Vec<_> = arrived(&w).iter().map(|(_, s, n)| (*s, *n)).collect();
        let expect =
            if others { vec![("firing", 2), ("firing", 2)] } else { vec![("firing", 1), ("resolved", 1)] };
        assert_eq!(told, expect, "others: {others}");
        assert!(w.engine.next_due().is_none() || others);
    }
    // What was never told to fire is not told to be over, however often it is said.
    let mut w = World::new(PLAIN);
    w.fire(SLOW_2);
    w.pass(30 * SECOND);
    for _ in 0..5 {
        w.end(SLOW);
        w.pass(MINUTE);
    }
    assert_eq!(arrived(&w).len(), 1);
}

#[test]
fn a_reload_takes_back_what_waits_for_a_group_that_is_gone() {
    let mut w = World::new(PLAIN);
    w.moods.insert("team".to_owned(), Mood::Down);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    w.config = config(&PLAIN.replace("group_by: [alertname]", "group_by: [instance]"));
    let config = std::sync::Arc::clone(&w.config);
    w.engine.reload(w.now, config);
    w.pump();
    w.moods.clear();
    w.pass(9 * MINUTE);
    assert_eq!(arrived(&w).len(), 1, "under its new key only");
    assert!(w.seen.last().unwrap().at <= 32 * SECOND, "at once");
}

#[test]
fn groups_say_by_which_time_intervals_they_are_muted() {
    let mut w = World::new(PLAIN);
    w.fire(&[("alertname", "a"), ("hours", "yes")]);
    w.fire(&[("alertname", "b"), ("hours", "other")]);
    w.fire(&[("alertname", "c")]);
    let told = |w: &World| -> Vec<(String, Vec<String>, &str)> {
        let groups = w.engine.firing_now(w.now).group_views();
        let each = |g: &sideband::paging::engine::GroupView| {
            let status = &g.alerts[0].status;
            (g.labels["alertname"].clone(), status.muted_by.clone(), status.state)
        };
        let mut told: Vec<_> = groups.iter().map(each).collect();
        told.sort();
        told
    };
    let names = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect::<Vec<_>>();
    assert_eq!(
        told(&w),
        [
            ("a".to_owned(), names(&["morning", "monday"]), "suppressed"),
            ("b".to_owned(), names(&["evening"]), "suppressed"),
            ("c".to_owned(), vec![], "active"),
        ]
    );
    // The list of alerts knows no groups.
    assert!(w.engine.firing_now(w.now).alert_views().iter().all(|a| a.status.muted_by.is_empty()));
    w.pass(12 * HOUR);
    let told: Vec<_> = told(&w).into_iter().map(|(_, by, _)| by).collect();
    assert_eq!(told, [names(&["monday"]), vec![], vec![]]);
}

/// A policy, and a plain receiver beside it.
#[test]
fn a_route_under_a_policy_goes_on_to_a_plain_receiver() {
    let text = CONFIG.replace(
        "  escalation_policy: flask\nreceivers:",
        "  routes:
  - {matchers: [severity=page], escalation_policy: flask, continue: true}
  - {matchers: [severity=page], receiver: log, group_wait: 30s}
receivers:
- name: log
  webhook_configs: [{url: 'http://log.test/'}]",
    );
    let mut w = World::new(&text);
    let labels = &[("alertname", "Slow"), ("severity", "page")];
    w.fire(labels);
    w.pass(6 * MINUTE);
    w.ack("b");
    w.pass(4 * HOUR + 10 * MINUTE);
    w.end(labels);
    w.pass(10 * MINUTE);
    let of = |receiver: &str| -> Vec<(i64, &str)> {
        w.seen.iter().filter(|s| s.receiver == receiver).map(|s| (s.at / SECOND, s.status)).collect()
    };
    let statuses = |receiver: &str| of(receiver).into_iter().map(|(_, s)| s).collect::<Vec<_>>();
    assert_eq!(w.pages(), [("pager-b", 0), ("pager-a", 300)]);
    assert_eq!(statuses("pager-a"), ["firing", "resolved"]);
    assert_eq!(statuses("pager-b"), ["firing", "resolved"]);
    // The acknowledgement is nothing to the plain one: it is told, reminded, and told of the end.
    assert_eq!(statuses("log"), ["firing", "firing", "resolved"]);
    assert_eq!(of("log")[..2], [(30, "firing"), (30 + 4 * 3600, "firing")]);
    assert!(of("team").is_empty());
}

/// The same as for a group of its own, beside another alert that fires on.
#[test]
fn what_fires_anew_after_a_silence_is_told_beside_others() {
    for labels in [SLOW, ONLY] {
        let mut w = World::new(PLAIN);
        let other: Vec<(&str, &str)> = labels.iter().copied().chain([("other", "yes")]).collect();
        w.fire(labels);
        w.fire(&other);
        w.pass(30 * SECOND);
        silence(&mut w, "s", 3 * MINUTE);
        w.end(labels);
        w.pass(4 * MINUTE);
        assert_eq!(arrived(&w).len(), 1);
        w.crash(SECOND);
        w.fire(labels);
        w.pass(2 * MINUTE);
        assert_eq!(arrived(&w).len(), 2, "another firing of {labels:?}");
        w.pass(4 * MINUTE);
        assert_eq!(arrived(&w).len(), 2, "told once");
    }
}

/// A message that may have arrived is withdrawn: whatever holds afterwards is told.
#[test]
fn what_may_have_arrived_is_not_forgotten_when_it_is_withdrawn() {
    let unsure = Outcome::Unsure { reason: "timeout".to_owned() };
    // That it is over may have arrived; it fires again, while its receiver is away.
    let mut w = World::new(PLAIN);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    w.moods.insert("team".to_owned(), Mood::Hangs);
    w.end(SLOW);
    w.pass(MINUTE);
    let job = w.hanging.remove(0);
    w.moods.insert("team".to_owned(), Mood::Down);
    w.engine.delivered(w.now, job.id, &unsure);
    w.fire(SLOW);
    w.pass(4 * MINUTE);
    w.moods.clear();
    w.pass(2 * MINUTE);
    let told: Vec<_> = arrived(&w).iter().map(|(_, s, _)| *s).collect();
    assert_eq!(told, ["firing", "firing"], "it is told that it fires again");

    // That it fires may have arrived; it is silenced, and ends.
    let mut w = World::new(PLAIN);
    w.moods.insert("team".to_owned(), Mood::Hangs);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    let job = w.hanging.remove(0);
    w.moods.insert("team".to_owned(), Mood::Down);
    w.engine.delivered(w.now, job.id, &unsure);
    silence(&mut w, "s", 3 * MINUTE);
    w.pass(MINUTE);
    w.moods.clear();
    for _ in 0..6 {
        w.end(SLOW);
        w.pass(MINUTE);
    }
    assert_eq!(arrived(&w).iter().map(|(_, s, _)| *s).collect::<Vec<_>>(), ["resolved"]);
    assert!(w.engine.next_due().is_none());
}

/// What is owed outlives a crash.
#[test]
fn an_end_that_is_said_again_after_a_crash_is_told() {
    let mut w = World::new(PLAIN);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    silence(&mut w, "s", 3 * MINUTE);
    w.end(SLOW);
    w.pass(2 * MINUTE);
    w.crash(5 * SECOND);
    assert_eq!(w.verify(), Vec::<String>::new());
    for _ in 0..6 {
        w.end(SLOW);
        w.pass(MINUTE);
        w.crash(SECOND);
    }
    assert_eq!(arrived(&w).iter().map(|(_, s, _)| *s).collect::<Vec<_>>(), ["firing", "resolved"]);
    assert!(w.engine.next_due().is_none());
    assert_eq!(w.ledger.scan("paging.groups", &[], None).unwrap().len(), 0, "nothing is left of it");
}

/// The message that a group is over waits, a reload takes its group away, and then there is a crash.
#[test]
fn an_end_that_waits_outlives_its_group_and_a_crash() {
    let mut w = World::new(PLAIN);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    w.moods.insert("team".to_owned(), Mood::Down);
    w.end(SLOW);
    w.pass(2 * MINUTE);
    w.config = config(&PLAIN.replace("group_by: [alertname]", "group_by: [instance]"));
    let config = std::sync::Arc::clone(&w.config);
    w.engine.reload(w.now, config);
    w.pump();
    w.crash(SECOND);
    w.moods.clear();
    w.pass(2 * MINUTE);
    assert_eq!(arrived(&w).iter().map(|(_, s, _)| *s).collect::<Vec<_>>(), ["firing", "resolved"]);
    assert_eq!(w.engine.outbox_len(), 0);
}

/// Its matchers change: another silence takes its place, and what both mute is not spoken of in between.
#[test]
fn a_silence_that_another_one_replaces_does_not_let_anything_through() {
    let mut w = World::new(PLAIN);
    silence(&mut w, "s", HOUR);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    let mut wider = w.engine.silences().next().unwrap().clone();
    wider.matchers[0].value = "Slow|Down".to_owned();
    wider.matchers[0].is_regex = true;
    // The group is due at this very moment.
    w.now.boot += MINUTE;
    w.now.wall += MINUTE;
    assert_eq!(w.engine.post_silence(w.now, wider, "t".to_owned()).unwrap(), "t");
    w.pass(3 * MINUTE);
    assert_eq!(arrived(&w), []);
    let ends: Vec<_> = w.engine.silences().map(|s| (s.id.as_str(), s.ends_at > w.now.wall)).collect();
    assert_eq!(ends, [("s", false), ("t", true)]);
}

/// Told by a clock that was years ahead: the next repetition does not wait for those years.
#[test]
fn a_clock_that_is_put_right_does_not_stop_repetitions() {
    let mut w = World::new(PLAIN);
    w.fire(SLOW);
    w.pass(30 * SECOND);
    w.now.wall -= 1000 * 24 * HOUR;
    w.pass(30 * MINUTE);
    let told = arrived(&w).len();
    assert!((3..=4).contains(&told), "{told}");
}

/// Each process counts by itself what plain routes sent, also if it decides nothing new.
#[test]
fn what_was_sent_is_counted_over_crashes() {
    let mut w = World::new(PLAIN);
    for receiver in ["team", "firing-only"] {
        w.moods.insert(receiver.to_owned(), Mood::Down);
    }
    w.fire(SLOW);
    w.fire(ONLY);
    w.pass(15 * SECOND);
    for receiver in ["team", "firing-only"] {
        w.moods.remove(receiver);
        w.crash(SECOND);
    }
    assert_eq!(arrived(&w).len(), 2);
    let rows = w.ledger.scan("paging.sent", &[], None).unwrap();
    let counts = rows.iter().filter_map(|(k, v)| sideband::paging::engine::read_sent(k, v));
    assert_eq!(counts.map(|(_, sent)| sent.total).sum::<u64>(), 2);
}
