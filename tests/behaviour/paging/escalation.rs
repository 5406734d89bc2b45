//! Who is paged when.

use sideband::model::Labels;
use sideband::paging::engine::{CommandError, Outcome};
use sideband::paging::incident::{Actor, Incident, State};
use sideband::paging::notification::Reason;

use super::world::*;

const A: &[(&str, &str)] = &[("alertname", "Slow"), ("severity", "page")];

#[test]
fn the_backup_is_called_after_five_minutes_and_not_before() {
    for (ack_after, pages) in [
        (Some(4 * MINUTE + 59 * SECOND), vec![("pager-b", 0)]),
        (Some(5 * MINUTE), vec![("pager-b", 0), ("pager-a", 300)]),
        (
            None,
            vec![
                ("pager-b", 0),
                ("pager-a", 300),
                ("team", 600),
                ("pager-b", 900),
                ("pager-a", 1200),
                ("team", 1500),
            ],
        ),
    ] {
        let mut w = World::new(CONFIG);
        w.fire(A);
        w.pass(ack_after.unwrap_or(30 * MINUTE));
        if ack_after.is_some() {
            w.ack("b");
            w.pass(HOUR);
            assert_eq!(w.incident().state, State::Acknowledged);
        }
        assert_eq!(w.pages(), pages, "{ack_after:?}");
    }
}

#[test]
fn the_history_keeps_what_the_alert_said_when_it_began() {
    for (name, text, expect) in [
        ("explanation", "value 9 is 19σ from its normal 1", ": value 9 is 19σ from its normal 1"),
        ("summary", "slow", ": slow"),
        ("other", "slow", ""),
        ("explanation", "", ""),
    ] {
        let mut w = World::new(CONFIG);
        let mut alert = w.alert(A);
        alert.annotations = Labels::from_pairs([(name, text)]);
        w.engine.alerts(w.now, vec![alert]);
        w.pump();
        let first = w.incident().history[0].what.clone();
        assert!(first.starts_with("triggered by 1 alert under policy"), "{first}");
        assert!(first.ends_with(&format!("\"{expect}")), "{first}");
    }
    let mut w = World::new(CONFIG);
    let mut alert = w.alert(A);
    alert.annotations = Labels::from_pairs([("summary", "σ".repeat(100_000).as_str())]);
    w.engine.alerts(w.now, vec![alert]);
    w.pump();
    assert!(w.incident().history[0].what.chars().count() < 500);
}

#[test]
fn nobody_acknowledges_and_it_begins_again() {
    let mut w = World::new(CONFIG);
    w.fire(A);
    w.pass(5 * HOUR);
    // Two loops of three steps end at 25 minutes; the third begins a repeat interval after the last step.
    assert_eq!(w.pages()[6], ("pager-a", 1500 + 4 * 3600));
    assert_eq!(w.engine.tallies.exhausted, 2);
    let mut keys: Vec<_> = w.seen.iter().map(|s| s.key.clone()).collect();
    let all = keys.len();
    keys.sort();
    keys.dedup();
    assert_eq!(keys.len(), all, "every page has a key of its own");
}

#[test]
fn resolution_tells_those_who_were_paged() {
    let mut w = World::new(CONFIG);
    w.fire(A);
    w.pass(6 * MINUTE);
    w.end(A);
    w.pass(10 * MINUTE);
    let told: Vec<_> = w
        .seen
        .iter()
        .filter(|s| s.reason == Reason::Resolved)
        .map(|s| (s.receiver.as_str(), s.status))
        .collect();
    assert_eq!(told, [("pager-a", "resolved"), ("pager-b", "resolved")]);
    assert_eq!(w.pages().len(), 2, "the team is not woken for what is over");
    assert_eq!(w.incident().state, State::Resolved);
    w.pass(HOUR);
    assert!(w.engine.next_due().is_none() && w.engine.pending().next().is_none());
}

#[test]
fn what_ends_before_the_next_step_pages_nobody_else() {
    let mut w = World::new(CONFIG);
    w.fire(A);
    w.pass(4 * MINUTE);
    w.end(A);
    w.pass(HOUR);
    assert_eq!(w.pages(), [("pager-b", 0)]);
}

#[test]
fn failures_hurry_the_escalation() {
    // Refused for good: the next at once. Down: the next after 30 s, while the retries go on.
    let mut w = World::new(CONFIG);
    w.moods.insert("pager-b".to_owned(), Mood::Refuses);
    w.fire(A);
    assert_eq!(w.pages(), [("pager-b", 0), ("pager-a", 0)]);

    let mut w = World::new(CONFIG);
    w.moods.insert("pager-b".to_owned(), Mood::Down);
    w.fire(A);
    w.pass(29 * SECOND);
    assert_eq!(w.pages(), [("pager-b", 0)]);
    w.pass(SECOND);
    assert_eq!(w.pages(), [("pager-b", 0), ("pager-a", 30)]);
    w.pass(2 * MINUTE);
    w.moods.clear();
    w.pass(2 * MINUTE);
    let first: Vec<_> = w.seen.iter().filter(|s| s.receiver == "pager-b").collect();
    assert!(first.len() > 3 && first.iter().all(|s| s.key == first[0].key), "retries keep the key");
    assert!(first.last().unwrap().arrived);
    // The second step has its five minutes from its own page.
    w.pass(MINUTE);
    assert_eq!(w.pages()[2], ("team", 330));
}

#[test]
fn a_page_that_gets_through_late_gives_the_person_the_whole_time() {
    let mut w = World::new(CONFIG);
    w.moods.insert("pager-b".to_owned(), Mood::Down);
    w.fire(A);
    w.pass(10 * SECOND);
    w.moods.clear();
    w.pass(20 * MINUTE);
    assert_eq!(w.pages()[1], ("pager-a", 300));
}

#[test]
fn timers_go_on_after_a_crash() {
    for (crash_at, down, backup_at) in [
        (2 * MINUTE, MINUTE, 300),
        // Overdue: at once.
        (2 * MINUTE, HOUR, 120 + 3600),
        (4 * MINUTE + 59 * SECOND, 0, 300),
        (0, 0, 300),
        // The clock went back a day: never longer than the five minutes.
        (2 * MINUTE, -24 * HOUR, 120 - 24 * 3600 + 300),
    ] {
        let mut w = World::new(CONFIG);
        w.fire(A);
        w.pass(crash_at);
        w.crash(down);
        w.pass(9 * MINUTE);
        let keys: std::collections::BTreeSet<_> =
            w.seen.iter().filter(|s| s.receiver == "pager-a").map(|s| &s.key).collect();
        assert_eq!(w.pages()[1], ("pager-a", backup_at), "{crash_at} {down}");
        assert_eq!(keys.len(), 1);
    }
}

#[test]
fn the_wall_clock_may_jump_while_it_runs() {
    let mut w = World::new(CONFIG);
    w.fire(A);
    w.pass(MINUTE);
    w.now.wall += HOUR;
    w.skew = HOUR;
    w.pass(3 * MINUTE + 59 * SECOND);
    assert_eq!(w.pages().len(), 1);
    w.pass(SECOND);
    assert_eq!(w.pages()[1], ("pager-a", 300));
}

#[test]
fn what_was_not_sent_before_a_crash_is_sent_after_it_under_the_same_key() {
    let mut w = World::new(CONFIG);
    w.moods.insert("pager-b".to_owned(), Mood::Hangs);
    w.fire(A);
    assert_eq!(w.hanging.len(), 1);
    w.crash(SECOND);
    assert_eq!(w.seen.len(), 2);
    assert_eq!(w.seen[0].key, w.seen[1].key);
}

#[test]
fn next_is_nobody_who_was_notified_also_across_a_handover() {
    // The handover at 09:00 makes `a` the one on call between the steps: the next would be `b` again.
    let mut w = World::new(CONFIG);
    w.pass(57 * MINUTE);
    w.fire(A);
    w.pass(6 * MINUTE);
    assert_eq!(w.pages(), [("pager-b", 57 * 60), ("pager-a", 62 * 60)]);
    w.pass(5 * MINUTE);
    // The second loop begins with who is on call now.
    w.pass(5 * MINUTE);
    assert_eq!(w.pages()[3].0, "pager-a");
    w.pass(5 * MINUTE);
    assert_eq!(w.pages()[4].0, "pager-b");
}

#[test]
fn a_worse_alert_reopens_what_was_acknowledged() {
    let mut w = World::new(CONFIG);
    w.fire(&[("alertname", "Slow"), ("severity", "ticket")]);
    w.pass(MINUTE);
    w.ack("b");
    w.fire(&[("alertname", "Slow"), ("severity", "ticket"), ("instance", "2")]);
    w.pass(10 * MINUTE);
    assert_eq!(w.pages().len(), 1, "as severe as before: it stays acknowledged");
    w.fire(A);
    assert_eq!(w.pages(), [("pager-b", 0), ("pager-b", 660)]);
    assert_eq!(w.incident().state, State::Triggered);
    // The link of the first page does not acknowledge what its reader has not seen.
    let actor = Actor::new("b", "link", "");
    let id = w.incident().id;
    assert_eq!(w.engine.acknowledge(w.now, id, actor.clone(), Some(0)), Err(CommandError::OutOfDate(id)));
    let round = w.incident().links_from;
    assert!(w.engine.acknowledge(w.now, id, actor, Some(round)).is_ok());
}

#[test]
fn what_people_say_is_in_the_history() {
    let mut w = World::new(CONFIG);
    w.fire(A);
    let id = w.incident().id;
    let said = |by: &str, text: &str| Actor::new(by, "api", "::1").saying(text);
    assert!(w.engine.acknowledge(w.now, id, said("b", "  rolling back\n"), None).is_ok());
    // The same again is harmless; something else, or somebody else, is one more line.
    for (by, text) in [("b", "rolling back"), ("b", ""), ("c", "me too"), ("b", "done in 5"), ("c", "me too")]
    {
        assert!(w.engine.acknowledge(w.now, id, said(by, text), None).is_ok());
    }
    let long = "x".repeat(5000);
    w.engine.resolve(w.now, id, &said("reopened", &long)).unwrap();
    w.pump();
    let incident = w.incident();
    let lines: Vec<&str> = incident.history.iter().map(|e| e.what.as_str()).collect();
    let told = |text: &str| lines.iter().filter(|l| **l == text).count();
    assert_eq!(told("acknowledged by b (api, from ::1): rolling back"), 1, "{lines:#?}");
    assert_eq!(told("comment by c (api, from ::1): me too"), 1, "{lines:#?}");
    assert_eq!(told("comment by b (api, from ::1): done in 5"), 1, "{lines:#?}");
    assert_eq!(
        told(&format!("resolved: by reopened (api, from ::1): {}", "x".repeat(1000))),
        1,
        "{lines:#?}"
    );
    let view = serde_json::to_value(sideband::paging::IncidentView::new(&incident, w.now)).unwrap();
    assert_eq!(view["acknowledgedComment"], "done in 5");
    assert_eq!(view["resolvedComment"].as_str().map(str::len), Some(1000));
    // A record from before there were comments can still be read.
    let mut old = serde_json::to_value(&incident).unwrap();
    old["closed_by"].as_object_mut().unwrap().remove("comment");
    assert_eq!(serde_json::from_value::<Incident>(old).unwrap().closed_by.unwrap().comment, "");
}

#[test]
fn closed_by_hand_stays_closed_unless_it_becomes_worse() {
    let mut w = World::new(CONFIG);
    w.fire(&[("alertname", "Slow"), ("severity", "ticket")]);
    let id = w.incident().id;
    let actor = Actor::new("b", "api", "::1");
    w.engine.resolve(w.now, id, &actor).unwrap();
    w.pump();
    assert_eq!(w.engine.resolve(w.now, id, &actor), Err(CommandError::Resolved(id)));
    w.pass(HOUR);
    assert_eq!(w.pages().len(), 1);
    w.fire(A);
    assert_eq!(w.pages().len(), 2);
    assert_ne!(w.incident().id, id);
}

#[test]
fn acknowledging_again_is_harmless_and_everybody_stands_in_the_history() {
    let mut w = World::new(CONFIG);
    w.fire(A);
    w.ack("b");
    w.ack("a");
    let i = w.incident();
    assert_eq!(i.acknowledged.as_ref().unwrap().actor.by, "b");
    let history: Vec<_> = i.history.iter().map(|e| e.what.as_str()).collect();
    assert!(history.iter().any(|h| h.contains("acknowledged by b (api)")), "{history:?}");
    assert!(history.iter().any(|h| h.contains("b (schedule/primary) notified by pager-b")), "{history:?}");
}

#[test]
fn an_acknowledgement_can_run_out() {
    let mut w = World::new(&CONFIG.replace("repeat: 1", "repeat: 1\n  unack_after: 1h"));
    w.fire(A);
    w.pass(MINUTE);
    w.ack("b");
    w.pass(59 * MINUTE);
    assert_eq!(w.pages().len(), 1);
    w.pass(MINUTE);
    // By now it is the other one's turn.
    assert_eq!(w.pages()[1], ("pager-a", 3660));
}

#[test]
fn automation_runs_before_people_are_woken() {
    let config = CONFIG.replace(
        "  - {notify: [schedule/primary]}",
        "  - {notify: [receiver/team], automation: true, timeout: 1m}\n  - {notify: [schedule/primary]}",
    );
    let mut w = World::new(&config);
    w.fire(A);
    w.pass(59 * SECOND);
    w.end(A);
    w.pass(HOUR);
    assert_eq!(w.pages(), [("team", 0)]);
    let mut w = World::new(&config);
    w.fire(A);
    w.pass(MINUTE);
    assert_eq!(w.pages(), [("team", 0), ("pager-b", 60)]);
}

#[test]
fn a_reload_leaves_live_incidents_on_their_policy() {
    let mut w = World::new(CONFIG);
    w.fire(A);
    w.pass(MINUTE);
    let other =
        CONFIG.replace("['schedule/primary:next'], ack_timeout: 5m", "[receiver/team], ack_timeout: 1m");
    w.engine.reload(w.now, config(&other));
    w.pump();
    w.pass(10 * MINUTE);
    assert_eq!(w.pages()[1], ("pager-a", 300));
}

#[test]
fn a_hundred_series_make_one_page_and_flapping_makes_one_incident() {
    let mut w = World::new(CONFIG);
    let alerts = (0..100)
        .map(|i| w.alert(&[("alertname", "Slow"), ("severity", "page"), ("instance", &i.to_string())]))
        .collect();
    w.engine.alerts(w.now, alerts);
    w.pump();
    assert_eq!((w.seen.len(), w.seen[0].alerts), (1, 100));

    let mut w = World::new(CONFIG);
    for _ in 0..8 {
        w.fire(A);
        w.pass(15 * SECOND);
        w.end(A);
        w.pass(15 * SECOND);
    }
    assert_eq!(w.pages().len(), 1);
}

/// A page arrives, but the process is killed before it hears so; after its start the receiver fails. It has the page all the same, and hears of
/// the end.
#[test]
fn a_page_that_may_have_arrived_is_told_of_the_end() {
    let down = |w: &mut World| w.moods.insert("pager-b".to_owned(), Mood::Down);
    let told =
        |w: &World| w.seen.iter().any(|s| s.receiver == "pager-b" && s.status == "resolved" && s.arrived);
    for acknowledged in [false, true] {
        let mut w = World::new(CONFIG);
        w.moods.insert("pager-b".to_owned(), Mood::Hangs);
        w.fire(A);
        down(&mut w);
        w.crash(SECOND);
        if acknowledged {
            w.ack("b");
        }
        w.pass(10 * SECOND);
        w.end(A);
        w.pass(5 * MINUTE);
        w.moods.clear();
        w.pass(5 * MINUTE);
        assert!(told(&w), "after a crash: {:?}", w.seen);
    }
    // The answer was lost without a crash.
    let mut w = World::new(CONFIG);
    w.moods.insert("pager-b".to_owned(), Mood::Hangs);
    w.fire(A);
    let job = w.hanging.pop().expect("a page");
    down(&mut w);
    w.engine.delivered(w.now, job.id, &Outcome::Unsure { reason: "timeout".to_owned() });
    w.pass(10 * SECOND);
    w.end(A);
    w.pass(5 * MINUTE);
    w.moods.clear();
    w.pass(5 * MINUTE);
    assert!(told(&w), "after a lost answer");
    // Whoever surely has nothing hears nothing.
    let mut w = World::new(CONFIG);
    down(&mut w);
    w.fire(A);
    w.pass(10 * SECOND);
    w.end(A);
    w.pass(5 * MINUTE);
    w.moods.clear();
    w.pass(5 * MINUTE);
    assert!(!told(&w));
}

/// While the disk takes nothing, incidents get numbers that a later process does not know of. It gives them to nothing else.
#[test]
fn numbers_that_are_forgotten_are_not_given_again() {
    for failing_after in [0, 3] {
        let mut w = World::new(CONFIG);
        w.fire(A);
        w.end(A);
        w.pass(HOUR);
        w.may_fail = true;
        w.disk.fail_after(failing_after);
        w.fire(&[("alertname", "Forgotten")]);
        w.pass(6 * MINUTE);
        w.crash(SECOND);
        w.fire(&[("alertname", "Another")]);
        w.pass(6 * MINUTE);
        let mut began = std::collections::BTreeMap::new();
        for (id, at) in w.seen.iter().filter_map(|s| s.incident) {
            assert_eq!(*began.entry(id).or_insert(at), at, "incident {id} twice");
        }
        assert_eq!(began.len(), 3);
    }
}

/// All loops are done, and it becomes more severe: the steps are gone through again, each with its time, however often that happens.
#[test]
fn what_becomes_worse_after_the_last_loop_begins_again_and_skips_nothing() {
    let fire = |w: &mut World, severity| w.fire(&[("alertname", "Slow"), ("severity", severity)]);
    let mut w = World::new(CONFIG);
    fire(&mut w, "info");
    w.pass(40 * MINUTE);
    let before = w.pages().len();
    fire(&mut w, "ticket");
    fire(&mut w, "page");
    w.pass(11 * MINUTE);
    let times: Vec<i64> = w.pages()[before..].iter().map(|(_, at)| at / 60).collect();
    assert_eq!(times, [40, 45, 50]);
}
