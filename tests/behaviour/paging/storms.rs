//! Storms and nights: what waits, what is held back, and what flaps.

use sideband::paging::config::PagingConfig;
use sideband::paging::incident::State;
use sideband::paging::notification::{DIGEST, Reason};

use super::world::*;

const A: &[(&str, &str)] = &[("alertname", "Slow"), ("severity", "page")];

/// 08:00 to 09:00 is night here.
fn quiet() -> String {
    let quiet = "repeat: 1\n  quiet_hours: {severities: [ticket], outside: [office]}";
    CONFIG.replace("repeat: 1", quiet)
        + "time_intervals:\n- name: office\n  time_intervals: [{times: [{start_time: '09:00', end_time: '17:00'}]}]\n"
}

fn ticket(w: &mut World, name: &str) {
    w.fire(&[("alertname", name), ("severity", "ticket")]);
}

#[test]
fn tickets_wait_for_the_end_of_the_quiet_hours_and_come_as_one_digest() {
    for crashed in [false, true] {
        let mut w = World::new(&quiet());
        ticket(&mut w, "Disk");
        w.pass(10 * MINUTE);
        ticket(&mut w, "Queue");
        w.fire(A);
        w.pass(MINUTE);
        assert_eq!(w.seen.len(), 1, "a page never waits");
        assert!(w.engine.incidents().filter(|i| i.quiet).count() == 2);
        if crashed {
            w.crash(SECOND);
        }
        w.pass(50 * MINUTE);
        let digests: Vec<_> = w.seen.iter().filter(|s| s.key.contains("-d")).collect();
        assert_eq!(digests.len(), 1, "{:?}", w.seen);
        assert_eq!((digests[0].at / MINUTE, digests[0].alerts), (60, 2));
        // Each goes on by itself: who takes one has not taken the other.
        let waiting: Vec<u64> =
            w.engine.incidents().filter(|i| i.severity_name == "ticket").map(|i| i.id).collect();
        assert!(waiting.iter().all(|i| w.engine.incident(*i).unwrap().state == State::Triggered));
        let notified = &w.engine.incident(waiting[0]).unwrap().notified;
        // The handover at nine has made `a` the one on call.
        assert_eq!(notified[0].user.as_deref(), Some("a"));
    }
}

/// A digest that has not got through yet, of which one incident is taken meanwhile: it tells of the others.
#[test]
fn a_digest_tells_of_nothing_that_was_taken_meanwhile() {
    for (mood, left) in [(Mood::Down, 2), (Mood::Hangs, 3)] {
        let mut w = World::new(&quiet());
        for name in ["Disk", "Queue", "Slow"] {
            ticket(&mut w, name);
        }
        w.moods.insert("pager-a".to_owned(), mood);
        w.pass(HOUR);
        let key = w.seen.iter().find(|s| s.key.contains("-d")).expect("a digest").key.clone();
        w.ack("a");
        w.moods.clear();
        for job in std::mem::take(&mut w.hanging) {
            let late = sideband::paging::engine::Outcome::Unsure { reason: "late".to_owned() };
            w.engine.delivered(w.now, job.id, &late);
        }
        w.pass(2 * MINUTE);
        let arrived = w.seen.iter().find(|s| s.key == key && s.arrived).expect("the digest");
        assert_eq!(arrived.alerts, left, "{mood:?}: {:?}", w.seen);
        assert_eq!(w.verify(), [""; 0]);
    }
}

#[test]
fn one_that_waited_alone_is_an_ordinary_page() {
    let mut w = World::new(&quiet());
    ticket(&mut w, "Disk");
    w.pass(HOUR);
    assert_eq!(w.pages(), [("pager-a", 3600)]);
}

#[test]
fn what_becomes_a_page_does_not_wait_any_longer() {
    let mut w = World::new(&quiet());
    ticket(&mut w, "Slow");
    w.pass(10 * MINUTE);
    assert!(w.seen.is_empty());
    w.fire(A);
    assert_eq!(w.pages(), [("pager-b", 600)]);
}

#[test]
fn what_ends_in_the_quiet_hours_wakes_nobody() {
    let mut w = World::new(&quiet());
    ticket(&mut w, "Disk");
    w.pass(10 * MINUTE);
    w.end(&[("alertname", "Disk"), ("severity", "ticket")]);
    w.pass(2 * HOUR);
    assert!(w.seen.is_empty() && w.engine.incidents().all(|i| !i.is_open()));
}

#[test]
fn quiet_hours_are_checked() {
    for (bad, why) in [
        ("{severities: [page], during: [office]}", "never waits"),
        ("{severities: [tikcet], during: [office]}", "none of the severities"),
        ("{severities: [ticket], during: [offcie]}", "no time interval"),
        ("{severities: [ticket]}", "needs severities"),
    ] {
        let text = quiet().replace("{severities: [ticket], outside: [office]}", bad);
        let errors = PagingConfig::parse(std::path::Path::new("p.yml"), &text).expect_err(bad);
        assert!(errors[0].to_string().contains(why), "{errors:?}");
    }
}

#[test]
fn a_person_gets_so_many_pages_an_hour_and_a_summary_of_the_rest() {
    let limited =
        CONFIG.replace("group_by: [alertname]", "group_by: [alertname, instance]") + "pages_per_hour: 3\n";
    for crashed in [false, true] {
        let mut w = World::new(&limited);
        for i in 0..8 {
            w.fire(&[("alertname", "Slow"), ("severity", "page"), ("instance", &i.to_string())]);
        }
        assert_eq!(w.pages().len(), 3);
        // The first of another rule goes out whatever the limit says, and so does the first that is worse.
        w.fire(&[("alertname", "Down"), ("severity", "page"), ("instance", "x")]);
        w.fire(&[("alertname", "Slow"), ("severity", "ticket"), ("instance", "x")]);
        assert_eq!(w.pages().len(), 5);
        if crashed {
            w.crash(0);
        }
        w.pass(2 * MINUTE);
        let summaries: Vec<_> = w.seen.iter().filter(|s| s.key.contains("-s")).collect();
        assert_eq!(summaries.len(), 1, "{:?}", w.seen);
        assert_eq!(
            (summaries[0].receiver.as_str(), summaries[0].alerts, summaries[0].reason),
            ("pager-b", 5, Reason::Group)
        );
        let held =
            w.engine.incidents().filter(|i| i.history.iter().any(|e| e.what.contains("held back"))).count();
        assert_eq!(held, 5);
        // An hour later there is room again.
        w.pass(3 * HOUR);
        assert!(w.engine.incidents().all(|i| !i.reached.is_empty()));
    }
}

#[test]
fn the_summary_says_what_it_is() {
    let limited =
        CONFIG.replace("group_by: [alertname]", "group_by: [alertname, instance]") + "pages_per_hour: 1\n";
    let mut w = World::new(&limited);
    for i in 0..3 {
        w.fire(&[("alertname", "Slow"), ("severity", "page"), ("instance", &i.to_string())]);
    }
    w.moods.insert("pager-b".to_owned(), Mood::Down);
    w.pass(MINUTE + SECOND);
    let row = w.engine.pending().find(|d| d.summary).expect("a summary");
    let n = &row.notification;
    assert_eq!(n.why, DIGEST);
    assert!(n.notes[0].contains("2 pages to b were held back"), "{:?}", n.notes);
    assert!(n.notes[1].contains("Slow") && n.notes[1].contains("(page)"), "{:?}", n.notes);
}

#[test]
fn an_alert_that_flaps_makes_one_incident() {
    let mut w = World::new(CONFIG);
    for _ in 0..10 {
        w.fire(A);
        w.pass(7 * MINUTE);
        w.end(A);
        w.pass(7 * MINUTE);
    }
    assert_eq!(w.engine.incidents().count(), 1);
    let i = w.incident();
    assert!(i.flaps == 1 && i.is_open(), "from the second time on it stays open: {:?}", i.history);
    w.pass(20 * MINUTE);
    assert_eq!(w.incident().state, State::Resolved);
    // Long afterwards it is another one.
    w.pass(HOUR);
    w.fire(A);
    assert_eq!(w.engine.incidents().count(), 2);
}

#[test]
fn one_that_flaps_and_is_taken_pages_nobody_any_more() {
    let mut w = World::new(CONFIG);
    w.fire(A);
    w.pass(MINUTE);
    w.end(A);
    w.pass(6 * MINUTE);
    assert_eq!(w.incident().state, State::Resolved);
    w.fire(A);
    w.ack("b");
    let pages = w.pages().len();
    for _ in 0..10 {
        w.pass(6 * MINUTE);
        w.end(A);
        w.pass(6 * MINUTE);
        w.fire(A);
    }
    assert_eq!((w.pages().len(), w.incident().state), (pages, State::Acknowledged));
}

#[test]
fn what_repaired_itself_woke_nobody_and_the_history_says_so() {
    let config = CONFIG.replace(
        "  - {notify: [schedule/primary]}",
        "  - {notify: [receiver/team], automation: true, timeout: 1m}\n  - {notify: [schedule/primary]}",
    );
    let mut w = World::new(&config);
    w.fire(A);
    w.pass(30 * SECOND);
    w.end(A);
    w.pass(10 * MINUTE);
    let i = w.incident();
    assert!(i.woke_nobody() && i.state == State::Resolved);
    assert!(i.history.iter().any(|e| e.what.contains("repaired itself")), "{:?}", i.history);
    assert_eq!(w.pages(), [("team", 0)]);
}

#[test]
fn a_handover_within_a_loop_pages_nobody_twice() {
    // The third step names the schedule again; by then the one who was paged as the backup is on call.
    let again = CONFIG.replace(
        "  - {notify: [receiver/team]}",
        "  - {notify: [schedule/primary]}\n  - {notify: [receiver/team]}",
    );
    let mut w = World::new(&again);
    w.pass(52 * MINUTE);
    w.fire(A);
    w.pass(12 * MINUTE);
    assert_eq!(w.pages(), [("pager-b", 52 * 60), ("pager-a", 57 * 60), ("team", 62 * 60)]);
    // Without a handover it is what the policy says.
    let mut w = World::new(&again);
    w.fire(A);
    w.pass(12 * MINUTE);
    assert_eq!(w.pages(), [("pager-b", 0), ("pager-a", 300), ("pager-b", 600)]);
}

#[test]
fn when_everybody_refuses_it_is_tried_again_soon() {
    let mut w = World::new(CONFIG);
    for r in ["pager-a", "pager-b", "team"] {
        w.moods.insert(r.to_owned(), Mood::Refuses);
    }
    w.fire(A);
    assert_eq!(w.pages().len(), 6, "both loops at once");
    w.moods.clear();
    w.pass(5 * MINUTE);
    assert!(!w.incident().reached.is_empty());
}

#[test]
fn a_receiver_that_is_down_for_hours_fills_no_outbox() {
    let mut w = World::new(CONFIG);
    for r in ["pager-a", "pager-b", "team"] {
        w.moods.insert(r.to_owned(), Mood::Down);
    }
    w.fire(A);
    w.pass(40 * HOUR);
    assert!(w.engine.pending().count() <= 3, "one page to each, the latest");
    w.moods.clear();
    w.pass(5 * MINUTE);
    assert!(!w.incident().reached.is_empty());
}

#[test]
fn while_nothing_is_written_down_every_message_says_so() {
    let mut w = World::new(CONFIG);
    w.engine.set_durable(w.now, false);
    let alert = w.alert(A);
    w.engine.alerts(w.now, vec![alert]);
    let jobs = w.engine.take_sends(w.now, 10);
    assert!(jobs[0].notification.notes[0].contains("cannot write its ledger"));
    w.engine.set_durable(w.now, true);
}
