//! Reports and postmortems of fixed incidents.

use sideband::paging::report::{self, CoinVerdict, Facts, Night, Report, ReportOptions, Tally};

use super::world::*;

const DAY: i64 = 24 * HOUR;

fn options(days: i64) -> ReportOptions {
    // Five days after the start, midnight in Berlin: 23:00 UTC.
    let to = START + 15 * HOUR + 4 * DAY;
    ReportOptions::new(to - days * DAY, to, "Europe/Berlin", Night::default()).unwrap()
}

/// An incident `at` ms after the start, acknowledged after so many seconds, resolved after an hour.
fn facts(id: u64, at: i64, rule: &str, pages: &[(&str, i64)], acked: Option<(i64, &str)>) -> Facts {
    let t = START + at;
    Facts {
        id,
        rules: vec![rule.to_owned()],
        series: vec![format!("{{alertname=\"{rule}\", pod=\"p{}\"}}", id % 2)],
        severity: "page".to_owned(),
        triggered_at: t,
        acknowledged: acked.map(|(s, by)| (t + s * SECOND, by.to_owned())),
        resolved_at: Some(t + HOUR),
        pages: pages.iter().map(|(who, s)| ((*who).to_owned(), t + s * SECOND)).collect(),
        ..Facts::default()
    }
}

fn example() -> Vec<Facts> {
    let slow = |id, at, useful| Facts {
        useful,
        ..facts(id, at, "FlaskLatencyHigh", &[("anna", 0)], Some((60 + 10 * id as i64, "anna")))
    };
    let mut all: Vec<Facts> = (1..=6).map(|i| slow(i, i as i64 * 8 * HOUR, Some(true))).collect();
    // At night by UTC and by day in Berlin, or the other way round: 20:30 UTC is 21:30, 21:30 UTC is 22:30.
    all.push(facts(
        7,
        12 * HOUR + 30 * MINUTE,
        "HostDiskFull",
        &[("anna", 0), ("ben", 300)],
        Some((420, "ben")),
    ));
    all.push(facts(8, 13 * HOUR + 30 * MINUTE, "HostDiskFull", &[("anna", 0), ("ben", 300)], None));
    all.push(Facts { useful: Some(false), ..facts(9, 2 * DAY, "Flappy", &[("anna", 0)], None) });
    all.push(Facts { automated: true, ..facts(10, 2 * DAY + HOUR, "WorkerStuck", &[], None) });
    all.push(Facts { resolved_at: None, ..facts(11, 3 * DAY, "HostDiskFull", &[("anna", 0)], None) });
    all.push(Facts { closed_by: Some("ben".into()), ..facts(12, 3 * DAY, "Flappy", &[("ben", 0)], None) });
    all.push(Facts { drill: true, delivered: true, ..facts(13, DAY, "SidebandDrill", &[("anna", 0)], None) });
    all.push(Facts { drill: true, ..facts(14, DAY + HOUR, "SidebandDrill", &[("anna", 0)], None) });
    // Before the time of the report, and after it.
    all.push(facts(15, -30 * DAY, "Old", &[("anna", 0)], None));
    all.push(facts(16, 30 * DAY, "New", &[("anna", 0)], None));
    all
}

fn report(facts: &[Facts], days: i64) -> Report {
    let mut tally = Tally::new(options(days));
    facts.iter().for_each(|f| tally.add(f));
    tally.finish()
}

#[test]
fn a_week_in_text() {
    let text = report::text(&report(&example(), 7));
    let golden = include_str!("report.txt");
    assert!(text == golden, "the report is now:\n{text}");
}

#[test]
fn the_numbers_behind_it() {
    let r = report(&example(), 7);
    assert_eq!((r.incidents, r.pages, r.drills.count, r.drills.good), (12, 13, 2, 1));
    assert_eq!(r.by_day.len(), 7);
    assert_eq!(r.by_day.iter().map(|d| d.incidents).sum::<u64>(), 12);
    assert_eq!(r.by_hour.iter().map(|h| h.pages).sum::<u64>(), 13);
    assert_eq!(r.by_hour.len(), 24);
    let x = &r.resolutions;
    assert_eq!((x.resolved, x.open, x.by_itself, x.by_automation, x.by_hand), (11, 1, 3, 1, 1));
    assert_eq!(x.self_resolved_share, Some(3.0 / 11.0));
    let a = &r.acknowledgements;
    assert_eq!(
        (a.count, a.median_seconds, a.p90_seconds, a.max_seconds),
        (7, Some(100.0), Some(420.0), Some(420.0))
    );
    let rule = |name: &str| r.by_rule.iter().find(|x| x.rule == name).unwrap();
    let slow = rule("FlaskLatencyHigh");
    assert_eq!((slow.useful, slow.useless, slow.coin), (6, 0, CoinVerdict::Better));
    assert!((slow.coin_p - 1.0 / 64.0).abs() < 1e-12, "{}", slow.coin_p);
    assert_eq!(
        (rule("Flappy").coin, rule("WorkerStuck").coin),
        (CoinVerdict::Undecided, CoinVerdict::Unjudged)
    );
    // The hour of the location decides what is night.
    let night = |at| report(&[facts(1, at, "X", &[("anna", 0)], None)], 7).pages_at_night;
    assert_eq!((night(12 * HOUR + 59 * MINUTE), night(13 * HOUR)), (0, 1));
    // Five useless ones of five: a coin would do better.
    let useless: Vec<Facts> =
        (0..5).map(|i| Facts { useful: Some(false), ..facts(i, 0, "Bad", &[("anna", 0)], None) }).collect();
    assert_eq!(report(&useless, 7).by_rule[0].coin, CoinVerdict::Worse);
}

/// Whoever comes with a plain alertmanager.yml has no incidents, and a report all the same.
#[test]
fn plain_routes_are_counted_by_what_they_sent() {
    let mut w = World::new(
        "
route: {receiver: team, group_by: [alertname], group_wait: 0s, group_interval: 1m, repeat_interval: 1h}
receivers: [{name: team, webhook_configs: [{url: 'http://a/'}, {url: 'http://b/'}]}]
",
    );
    w.fire(&[("alertname", "Slow"), ("pod", "1")]);
    w.fire(&[("alertname", "Full")]);
    w.pass(50 * MINUTE);
    // A kill between two counts of one quarter of an hour loses nothing.
    w.crash(SECOND);
    w.fire(&[("alertname", "Slow"), ("pod", "1")]);
    w.fire(&[("alertname", "Full")]);
    w.pass(40 * MINUTE);
    w.end(&[("alertname", "Slow"), ("pod", "1")]);
    w.pass(2 * MINUTE);
    let told = w.seen.iter().filter(|s| s.status == "firing").count() as u64;
    assert!(told >= 6 && w.seen.iter().any(|s| s.status == "resolved"), "{told}");
    let of = |night: &str| {
        let night = Night::parse(night).unwrap();
        let options = ReportOptions::new(START - DAY, START + DAY, "UTC", night).unwrap();
        report::of_ledger(&w.ledger, &[], options).unwrap()
    };
    let r = of("8:00-9:00");
    assert_eq!((r.incidents, r.pages, r.sent.notifications), (0, 0, told), "{:?}", r.sent);
    assert!(r.sent.at_night > 0 && r.sent.at_night < told, "{:?}", r.sent);
    assert_eq!(of("10:00-11:00").sent.at_night, 0);
    let named = |list: &[report::NamedCount]| {
        list.iter().map(|c| (c.name.clone(), c.notifications)).collect::<Vec<_>>()
    };
    assert_eq!(named(&r.sent.by_receiver), [("team".to_owned(), told)]);
    let rules = named(&r.sent.by_rule);
    assert_eq!(rules.iter().map(|(_, n)| n).sum::<u64>(), told);
    assert!(rules.iter().any(|(name, _)| name == "Full") && rules.len() == 2, "{rules:?}");
    assert_eq!(r.by_day.iter().map(|d| d.notifications).sum::<u64>(), told);
    let text = report::text(&r);
    for expect in ["Notifications by day", "nobody can acknowledge", "Sent without a policy, by receiver"] {
        assert!(text.contains(expect), "{expect}: {text}");
    }
    let page = report::html(&r);
    assert!(page.contains("Notifications by hour of the day") && page.contains("<td>Full</td>"), "{page}");
}

#[test]
fn the_json_keeps_its_names() {
    let json = serde_json::to_value(report(&example(), 7)).unwrap();
    let keys = |v: &serde_json::Value| v.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ");
    assert_eq!(
        keys(&json),
        "acknowledgements byDay byHour byPerson byRule drills from incidents location night noisiest pages \
         pagesAtNight resolutions sent to"
    );
    assert_eq!(keys(&json["byPerson"][0]), "acknowledged atNight pages person");
    assert_eq!(keys(&json["byRule"][0]), "atNight byItself coin coinP incidents pages rule useful useless");
    assert_eq!(keys(&json["acknowledgements"]), "count maxSeconds medianSeconds p90Seconds");
    assert_eq!((&json["from"], &json["location"]), (&"2026-11-20T23:00:00Z".into(), &"Europe/Berlin".into()));
}

#[test]
fn the_html_is_one_file_without_scripts_and_with_everything_escaped() {
    let mut all = example();
    all.push(facts(20, 0, "<script>alert(1)</script>", &[("<b>eve</b>", 0)], None));
    let page = report::html(&report(&all, 7));
    assert!(!page.contains("<script") && !page.contains("<b>eve") && !page.contains("http-equiv"), "{page}");
    assert!(page.contains("&lt;b&gt;eve") && page.matches("<svg").count() == 3, "{page}");
    assert!(page.contains("@media print") && !page.contains("src=") && !page.contains("url("));
    // Of nothing there is a report too, and of a year.
    for days in [0, 1, 400, 10_000] {
        let r = report(&[], days);
        assert!(!report::html(&r).contains("NaN") && report::text(&r).contains("no drill"), "{days}");
        assert!(r.by_day.len() <= 402);
    }
}

#[test]
fn a_night_is_read_or_refused() {
    for (text, good) in
        [("22:00-07:00", true), ("0:00-6:30", true), ("24:00-1:00", false), ("22-7", false), ("", false)]
    {
        assert_eq!(Night::parse(text).is_ok(), good, "{text}");
    }
    assert_eq!(Night::parse("22:00-07:00").unwrap(), Night::default());
    assert!(ReportOptions::new(0, 1, "Nowhere/Land", Night::default()).is_err());
}

#[test]
fn the_engine_incidents_become_facts_and_a_postmortem() {
    let mut w = World::new(CONFIG);
    w.moods.insert("pager-a".to_owned(), Mood::Refuses);
    let mut alert = w.alert(&[("alertname", "Slow|er"), ("severity", "page"), ("pod", "a_b*c")]);
    alert.annotations = sideband::model::Labels::from_pairs([
        ("summary", "the <b>app</b> is slow\n# not a heading"),
        ("explanation", "value 3 is 4σ above the centre 1"),
    ]);
    w.engine.alerts(w.now, vec![alert]);
    w.pump();
    w.pass(7 * MINUTE);
    w.ack("b");
    w.pass(10 * MINUTE);
    let id = w.incident().id;
    let actor = sideband::paging::incident::Actor::new("b", "ui", "").saying("rolled <back>\n");
    w.engine.resolve(w.now, id, &actor).unwrap();
    w.pump();
    let f = Facts::from(&w.incident());
    // The first receiver took it, the second refused for good: the team was next at once.
    assert_eq!(f.pages.iter().map(|(who, _)| who.as_str()).collect::<Vec<_>>(), ["b", "a", "receiver/team"]);
    assert_eq!(f.acknowledged, Some((START + 7 * MINUTE, "b".to_owned())));
    assert_eq!((f.closed_by.as_deref(), f.rules.as_slice()), (Some("b"), &["Slow|er".to_owned()][..]));

    let text = report::postmortem::markdown(&w.incident(), Some("incident-1.svg"));
    for expect in [
        "# Postmortem: the \\<b\\>app\\</b\\> is slow \\# not a heading\n",
        "![The value, its band, and what people did](incident-1.svg)",
        "> value 3 is 4σ above the centre 1",
        "| Acknowledged | 2026-11-23 08:07:00, after 7 min, by b |",
        "| Resolved | 2026-11-23 08:17:00, after 17 min, by b: rolled \\<back\\> |",
        "resolved: by b (ui): rolled",
        "| 2026-11-23 08:00:00 | 1, 1 | b | pager-b | after 0 ms |",
        "| 2026-11-23 08:05:00 | 1, 2 | a | pager-a | NO, after 1 attempts: refused |",
        "- pod = a\\_b\\*c",
        "## Five Whys",
        "## Follow-ups",
    ] {
        assert!(text.contains(expect), "{expect:?} is missing:\n{text}");
    }
    // It is in the ledger as well, where an old report finds it.
    let options = ReportOptions::new(START - DAY, w.now.wall + DAY, "UTC", Night::default()).unwrap();
    let r = report::of_ledger(&w.ledger, &[], options.clone()).unwrap();
    assert_eq!((r.incidents, r.pages, r.resolutions.by_hand), (1, 3, 1));
    assert_eq!(report::of_ledger(&w.ledger, &[f], options).unwrap().incidents, 1, "counted once");
    assert_eq!(report::incident_in(&w.ledger, id).unwrap().map(|i| i.id), Some(id));
    assert!(report::incident_in(&w.ledger, 999).unwrap().is_none());
}
