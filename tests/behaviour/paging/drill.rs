//! Drills: through the whole chain to the backup, and no further.

use sideband::paging::engine::{DrillError, DrillRequest};
use sideband::paging::incident::{Actor, State};
use sideband::paging::notification::Reason;
use sideband::paging::silence::{Silence, SilenceMatcher};

use super::world::*;

fn request() -> DrillRequest {
    DrillRequest {
        policy: None,
        ack_timeout_ms: Some(5000),
        severity: "page".to_owned(),
        steps: None,
        actor: Actor::new("anna", "api", ""),
    }
}

fn drill(w: &mut World, request: &DrillRequest) -> u64 {
    let id = w.engine.drill(w.now, request).expect("a drill");
    w.pump();
    id
}

#[test]
fn a_drill_reaches_the_backup_and_ends_by_itself() {
    let mut w = World::new(CONFIG);
    drill(&mut w, &request());
    w.pass(4 * SECOND);
    assert_eq!(w.incident().state, State::Triggered);
    w.pass(2 * HOUR);
    assert_eq!(w.pages(), [("pager-b", 0), ("pager-a", 5)], "neither the team nor a second loop");
    let i = w.incident();
    assert!(i.drill && i.is_delivered(), "{i:?}");
    assert_eq!((i.state, i.resolved_at), (State::Resolved, Some(START + 5 * SECOND)));
    assert_eq!(w.engine.last_good_drill(), Some(START + 5 * SECOND));
    let over: Vec<_> = w.seen.iter().filter(|s| s.reason == Reason::Resolved).map(|s| &s.receiver).collect();
    assert_eq!(over, ["pager-a", "pager-b"]);
    // Nothing is left of it, and no new incident began.
    assert_eq!(w.engine.incidents().count(), 1);
    assert!(w.engine.next_due().is_none() && w.engine.firing_now(w.now).alert_views().is_empty());
    // The time of the last good one outlives a restart.
    w.crash(MINUTE);
    assert_eq!(w.engine.last_good_drill(), Some(START + 5 * SECOND));
}

#[test]
fn without_a_shorter_timeout_the_policy_own_one_holds() {
    let mut w = World::new(CONFIG);
    drill(&mut w, &DrillRequest { ack_timeout_ms: None, steps: Some(3), ..request() });
    w.pass(HOUR);
    assert_eq!(w.pages(), [("pager-b", 0), ("pager-a", 300), ("team", 600)]);
    assert!(w.incident().is_delivered());
}

#[test]
fn a_way_that_is_broken_makes_no_good_drill() {
    for (receiver, mood) in [
        ("pager-a", Mood::Refuses),
        ("pager-a", Mood::Down),
        ("pager-a", Mood::Hangs),
        ("pager-b", Mood::Down),
    ] {
        let mut w = World::new(CONFIG);
        w.moods.insert(receiver.to_owned(), mood);
        drill(&mut w, &request());
        w.pass(10 * MINUTE);
        let i = w.incident();
        assert_eq!(i.state, State::Resolved, "{receiver} {mood:?}: {:?}", i.history);
        assert!(!i.is_delivered(), "{receiver} {mood:?}");
        assert_eq!(w.engine.last_good_drill(), None, "{receiver} {mood:?}");
        assert_eq!(w.engine.incidents().count(), 1);
    }
}

#[test]
fn an_acknowledged_drill_does_not_escalate_and_ends() {
    let mut w = World::new(CONFIG);
    drill(&mut w, &request());
    w.pass(2 * SECOND);
    w.ack("b");
    w.pass(HOUR);
    assert_eq!(w.pages(), [("pager-b", 0)]);
    assert_eq!(w.incident().state, State::Resolved);
    assert!(w.engine.last_good_drill().is_some(), "who acknowledges has seen it");
    let note = "the drill was good: b acknowledged it at step 1";
    assert!(w.incident().history.iter().any(|e| e.what == note), "{:?}", w.incident().history);

    // What was refused before that is not good for that.
    let mut w = World::new(CONFIG);
    w.moods.insert("pager-b".to_owned(), Mood::Refuses);
    drill(&mut w, &request());
    w.ack("a");
    w.pass(HOUR);
    assert!(!w.incident().is_delivered());
    assert_eq!(w.engine.last_good_drill(), None);
}

#[test]
fn a_drill_goes_on_after_a_crash_and_stays_out_of_the_routes() {
    let mut w = World::new(CONFIG);
    drill(&mut w, &request());
    w.pass(2 * SECOND);
    w.crash(SECOND);
    w.pass(HOUR);
    assert_eq!(w.pages(), [("pager-b", 0), ("pager-a", 5)]);
    assert_eq!(w.engine.incidents().count(), 1, "no route took the alert of the drill");
    assert_eq!(w.incident().state, State::Resolved);
    assert!(w.engine.last_good_drill().is_some());

    // The same at a reload.
    let mut w = World::new(CONFIG);
    drill(&mut w, &request());
    w.engine.reload(w.now, config(CONFIG));
    w.pump();
    w.pass(HOUR);
    assert_eq!(w.pages(), [("pager-b", 0), ("pager-a", 5)]);
    assert_eq!(w.engine.incidents().count(), 1);
}

#[test]
fn automations_are_left_out() {
    let mut w = World::new(&CONFIG.replace(
        "  - {notify: [schedule/primary]}\n",
        "  - {notify: [receiver/team], automation: true, timeout: 1m}\n  - {notify: [schedule/primary]}\n",
    ));
    drill(&mut w, &request());
    w.pass(HOUR);
    assert_eq!(w.pages(), [("pager-b", 0), ("pager-a", 5)]);
}

#[test]
fn what_makes_no_sense_is_refused_with_the_reason() {
    let mut w = World::new(CONFIG);
    let named = |name: &str| DrillRequest { policy: Some(name.to_owned()), ..request() };
    for (request, expect) in [
        (named("x"), r#"no escalation policy "x"; there are: flask"#),
        (DrillRequest { ack_timeout_ms: Some(10), ..request() }, "from 1s to 1h"),
        (DrillRequest { ack_timeout_ms: Some(i64::MAX), ..request() }, "from 1s to 1h"),
        (DrillRequest { steps: Some(4), ..request() }, "notifies people in 3 of its steps, not in 4"),
    ] {
        let error = w.engine.drill(w.now, &request).expect_err(expect);
        assert!(error.to_string().contains(expect), "{error}");
    }
    let id = drill(&mut w, &named("flask"));
    assert_eq!(w.engine.drill(w.now, &request()), Err(DrillError::Running(id)));

    let mut w = World::new(&CONFIG.replace("  escalation_policy: flask\n", ""));
    let error = w.engine.drill(w.now, &request()).unwrap_err();
    assert!(error.to_string().contains("goes to no escalation policy; name one of: flask"), "{error}");
    drill(&mut w, &named("flask"));

    let matcher =
        SilenceMatcher { name: "severity".into(), value: "page".into(), is_regex: false, is_equal: true };
    let silence = Silence {
        id: "s".into(),
        matchers: vec![matcher],
        starts_at: START,
        ends_at: START + HOUR,
        updated_at: START,
        created_by: "x".into(),
        comment: "y".into(),
    };
    let mut w = World::new(CONFIG);
    w.engine.set_silence(w.now, silence).unwrap();
    assert_eq!(w.engine.drill(w.now, &request()), Err(DrillError::Muted));
    assert!(w.engine.incidents().next().is_none() && w.engine.firing_now(w.now).alert_views().is_empty());
}
