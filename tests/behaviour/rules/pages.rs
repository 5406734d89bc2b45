//! Sigma rules: which bands page, what the budget does, what people say of it, what edits keep.

use super::*;

const SIGMA: &str = r#"
groups:
  - name: g
    interval: 15s
    rules:
      - sigma: Slow
        expr: x
        baseline: {window: 1h, lag: 2m, min_samples: 60}
        record: all
        labels: {team: web}
        bands:
          - {sigma: 1, action: record}
          - {sigma: 2, for: 30s, labels: {severity: ticket}}
          - {sigma: 3, for: 30s, labels: {severity: page}}
        keep_firing_for: 30s
        page_budget: 1 per 30d
        annotations: {summary: "{{ $labels.job }} {{ printf \"%.1f\" $zscore }} at {{ $band }}"}
"#;

/// Values around 10 with a σ of about 1.
pub fn calm(i: i64) -> f64 {
    10.0 + [0.0, 1.3, -1.2, 0.4, -0.6, 1.1, -1.0][(i % 7) as usize]
}

#[test]
fn a_sigma_rule_learns_records_and_pages_with_the_highest_band_only() {
    let bench = Bench::new(SIGMA);
    for i in 0..20 {
        bench.tick(i * 15 * S, if i == 10 { 100.0 } else { calm(i) });
    }
    assert!(bench.sent().is_empty(), "cold rules never page");
    assert_eq!(bench.now("sideband_sigma_ready"), [(r#"{job="j", rule="Slow"}"#.to_owned(), 0.0)]);
    let bench = Bench::new(SIGMA);
    for i in 0..200 {
        bench.tick(i * 15 * S, calm(i));
    }
    assert!(bench.sent().is_empty());
    assert_eq!(bench.now("sideband_sigma_ready")[0].1, 1.0);
    let stddev = bench.now("sideband_sigma_stddev")[0].1;
    assert!((bench.now("sideband_sigma_center")[0].1 - 10.0).abs() < 0.3 && stddev > 0.5 && stddev < 2.0);
    // First beyond 2σ, then beyond 3σ.
    for i in 200..205 {
        bench.tick(i * 15 * S, 12.6);
    }
    let firing = |bench: &Bench| -> Vec<String> {
        bench.now("ALERTS").into_iter().map(|a| a.0).filter(|l| l.contains("firing")).collect()
    };
    assert_eq!(
        firing(&bench),
        [r#"{alertname="Slow", alertstate="firing", band="2", job="j", severity="ticket", team="web"}"#]
    );
    for i in 205..210 {
        bench.tick(i * 15 * S, 16.0);
    }
    assert_eq!(
        firing(&bench),
        [r#"{alertname="Slow", alertstate="firing", band="3", job="j", severity="page", team="web"}"#]
    );
    assert_eq!(bench.now("sideband_sigma_frozen")[0].1, 1.0);
    let page = bench
        .sent
        .0
        .lock()
        .unwrap()
        .iter()
        .rev()
        .find(|(_, a)| a.labels.get("band") == Some("3"))
        .unwrap()
        .1
        .clone();
    assert!(page.annotations.get("summary").unwrap().ends_with("at 3"));
    let explanation = page.annotations.get("explanation").unwrap();
    for part in [
        "value 16 is",
        "σ above its normal 9.99",
        "samples",
        "Normal noise comes so far out once in 7779 years at this evaluation interval.",
        "This rule paged once in 30 days: 0 useful, 0 useless, 1 not judged.",
    ] {
        assert!(explanation.contains(part), "{explanation}");
    }
    // It goes back: resolved. The next page is over the budget: a ticket that says so.
    for i in 210..260 {
        bench.tick(i * 15 * S, calm(i));
    }
    assert!(firing(&bench).is_empty() && bench.now("ALERTS").is_empty());
    for i in 260..265 {
        bench.tick(i * 15 * S, 15.5);
    }
    assert_eq!(
        firing(&bench),
        [r#"{alertname="Slow", alertstate="firing", band="3", job="j", severity="ticket", team="web"}"#]
    );
    let last = bench.sent.0.lock().unwrap().last().unwrap().1.clone();
    assert!(
        last.annotations.get("page_budget").unwrap().contains("the page budget is spent (1 of 1 in 30d)")
    );
}

#[test]
fn a_new_sigma_rule_learns_from_what_is_stored() {
    let bench = Bench::new("groups: []");
    for i in 0..200 {
        bench.tick(i * 15 * S, calm(i));
    }
    let warm = Bench::on(bench.storage.clone(), SIGMA);
    warm.tick(200 * 15 * S, 10.0);
    assert_eq!(warm.now("sideband_sigma_ready")[0].1, 1.0);
}

/// What became of each page-severity alert and of tickets, without repeats.
fn severities(bench: &Bench) -> Vec<(i64, String)> {
    let mut out: Vec<(i64, String)> = Vec::new();
    for (t, a) in bench.sent.0.lock().unwrap().iter().filter(|(t, a)| a.ends_at > *t) {
        let severity = a.labels.get("severity").unwrap_or_default().to_owned();
        if out.last().is_none_or(|l| l.1 != severity) {
            out.push((*t / S / 60, severity));
        }
    }
    out
}

#[test]
fn the_page_that_spends_the_budget_says_so_and_something_worse_pages_all_the_same() {
    let text =
        SIGMA.replace("keep_firing_for: 30s", "after_page: {quiet: 0s}").replace("1 per 30d", "2 per 30d");
    let bench = Bench::new(&text);
    let mut i = 0;
    let mut run = |n: i64, x: Option<f64>| {
        for _ in 0..n {
            bench.tick(i * 15 * S, x.unwrap_or_else(|| calm(i)));
            i += 1;
        }
    };
    run(400, None);
    for peak in [16.0, 13.4, 18.0, 15.5, 40.0] {
        run(6, Some(peak));
        run(60, None);
    }
    let said: Vec<String> = severities(&bench).into_iter().map(|s| s.1).collect();
    // 13.4 is beyond 3σ, not beyond the 3.9σ that are left after a page; 18 spends the budget, and 40 is worse.
    assert_eq!(said, ["page", "ticket", "page", "ticket", "page"]);
    let mut told: Vec<String> = Vec::new();
    for (_, a) in bench.sent.0.lock().unwrap().iter() {
        if let Some(text) = a.annotations.get("page_budget").filter(|t| told.last().is_none_or(|l| l != t)) {
            told.push(text.to_owned());
        }
    }
    let begins = [
        "a ticket, not a page: pages before it widened the bands (1 of 2 in 30d). More than 3.",
        "page budget spent: 2 of 2 in 30d. From now on only something worse than this pages; the rest are tickets. This rule paged 2 \
         times in 30 days: 0 useful, 0 useless, 2 not judged.",
        "a ticket, not a page: the page budget is spent (2 of 2 in 30d). More than ",
        "over the page budget (3 of 2 in 30d), because it is worse than the page before it (",
    ];
    assert_eq!(told.len(), begins.len(), "{told:#?}");
    for (text, begin) in told.iter().zip(begins) {
        assert!(text.starts_with(begin), "{text}");
    }
}

#[test]
fn feedback_of_an_alert_finds_its_page_and_takes_its_interval_out() {
    use sideband::rules::RecordView;
    // Nothing freezes the baseline: the band does not fire for an hour.
    let text = SIGMA.replace("{sigma: 3, for: 30s", "{sigma: 3, for: 1m");
    let bench = Bench::new(&text);
    for i in 0..400 {
        bench.tick(i * 15 * S, calm(i));
    }
    for i in 400..410 {
        bench.tick(i * 15 * S, 30.0);
    }
    let page = bench
        .sent
        .0
        .lock()
        .unwrap()
        .iter()
        .rev()
        .find(|(_, a)| a.labels.get("severity") == Some("page"))
        .unwrap()
        .1
        .clone();
    for i in 410..420 {
        bench.tick(i * 15 * S, calm(i));
    }
    let now = 420 * 15 * S;
    let say = |target: &Target, feedback: &Feedback| bench.say(target, feedback, now);
    let alert = Target::Alert(page.labels.clone());
    let useless = Feedback::Judged { from: page.starts_at, to: now, useful: false };
    let useful = Feedback::Judged { from: page.starts_at, to: now, useful: true };
    assert_eq!(say(&alert, &useless).pages, 1);
    let record = || -> RecordView { bench.view().remove(0).rules.remove(0).sigma.unwrap().record };
    assert_eq!((record().last_30d.useless, record().all.better_than_coin), (1, false));
    // The last word counts.
    assert_eq!(say(&alert, &useful).pages, 1);
    assert_eq!((record().last_30d.useless, record().last_30d.useful), (0, 1));
    assert!((record().all.coin_p_value - 0.5).abs() < 1e-9);
    assert!(record().text.contains("1 useful"));
    // Alerts of other rules, other series, other times are none of it.
    for labels in [
        page.labels.to_builder().set("alertname", "Other").build(),
        page.labels.to_builder().set("pod", "from-elsewhere").build(),
    ] {
        assert_eq!(say(&Target::Alert(labels), &useful).rules, 0);
    }
    let later = Feedback::Judged { from: page.starts_at + 3_600_000, to: now + 3_600_000, useful: true };
    assert_eq!(say(&alert, &later).pages, 0);

    // A shift below every band was learnt as normal, and a person knows better.
    let center = |bench: &Bench| bench.now("sideband_sigma_center")[0].1;
    for i in 420..560 {
        bench.tick(i * 15 * S, if i < 500 { 11.5 } else { calm(i) });
    }
    let learnt = center(&bench);
    assert!(learnt > 10.4, "{learnt}");
    let now = 560 * 15 * S;
    let incident = Feedback::Incident { from: 420 * 15 * S, to: 500 * 15 * S };
    let done = bench.say(&alert, &incident, now);
    assert_eq!((done.rules, done.series, done.notes.len()), (1, 1, 0), "{done:?}");
    bench.tick(now, 10.0);
    // 30 was an event, and is out too.
    let clean = center(&bench);
    assert!((clean - 10.0).abs() < 0.15 && clean < learnt - 0.3, "{clean}");
    let normal = bench.say(&by_name("Slow"), &Feedback::NewNormal, now);
    assert_eq!(normal.series, 1);
}

/// A configuration that takes the place of another, as a reload does it.
fn reloaded(old: Bench, text: &str) -> Bench {
    let new = Bench::on(old.storage.clone(), text);
    for (new, old) in new.groups.iter().zip(&old.groups) {
        new.take_over(old);
    }
    new
}

/// A warm rule that has paged once, at `i` 400.
fn paged_once(text: &str) -> Bench {
    let bench = Bench::new(text);
    for i in 0..470 {
        bench.tick(i * 15 * S, if (400..406).contains(&i) { 16.0 } else { calm(i) });
    }
    bench
}

#[test]
fn what_a_rule_knows_and_what_it_spent_survives_edits() {
    let samples = |b: &Bench| b.view()[0].rules[0].sigma.as_ref().unwrap().series[0].samples;
    let used = |b: &Bench| b.view()[0].rules[0].sigma.as_ref().unwrap().page_budget.as_ref().map(|p| p.used);
    // (what is edited, what takes its place)
    for (from, to) in [
        ("team: web", "team: checkout"),
        ("sigma: Slow", "sigma: Slower"),
        ("keep_firing_for: 30s", "keep_firing_for: 1m"),
        ("{sigma: 3, for: 30s", "{sigma: 3.5, for: 1m"),
        ("expr: x", "expr: x * 1"),
        ("summary: ", "text: "),
    ] {
        let old = paged_once(SIGMA);
        let before = samples(&old);
        assert!(before > 350 && used(&old) == Some(1));
        let new = reloaded(old, &SIGMA.replace(from, to));
        new.tick(470 * 15 * S, 10.0);
        // A changed expression knows what fits the window: 240 samples, less what waits.
        let least = if from.starts_with("expr") { 200 } else { before };
        assert!(samples(&new) >= least, "{to}: {} of {before}", samples(&new));
        assert_eq!(used(&new), Some(1), "{to}");
        for i in 471..480 {
            new.tick(i * 15 * S, 15.0);
        }
        // The budget of one page was spent before the edit.
        let sent = new.sent.0.lock().unwrap();
        let last = sent.iter().rev().find(|(t, a)| a.ends_at > *t).unwrap();
        assert_eq!(last.1.labels.get("severity"), Some("ticket"), "{to}");
    }
}

#[test]
fn a_changed_expression_learns_from_what_is_stored_of_it() {
    // Milliseconds in the place of seconds: with the old baseline every value would be 9,000σ away.
    let new = reloaded(paged_once(SIGMA), &SIGMA.replace("expr: x", "expr: x * 1000"));
    for i in 470..490 {
        new.tick(i * 15 * S, calm(i));
    }
    assert!(new.sent().is_empty());
    let center = new.now("sideband_sigma_center")[0].1;
    assert!((center - 10_000.0).abs() < 300.0, "{center}");
    // Nothing is stored of another series: it begins cold, and the old one is no reason for a page either.
    let new = reloaded(paged_once(SIGMA), &SIGMA.replace("expr: x", "expr: y"));
    for i in 470..490 {
        new.feed(i * 15 * S, &[(&[("__name__", "y"), ("job", "k")], 5_000.0)]);
        new.evaluate(i * 15 * S);
    }
    assert!(new.sent().iter().all(|(_, firing)| !firing));
}

#[test]
fn what_was_far_out_under_another_baseline_is_no_noise_of_this_one() {
    // When the baseline is edited, the spell that goes on has seen a ticket's 2.4σ for longer than a page asks.
    let text = SIGMA.replace("1 per 30d", "9 per 30d");
    let noise =
        |b: &Bench| b.view()[0].rules[0].sigma.as_ref().unwrap().page_budget.as_ref().unwrap().pages_from;
    let warm = |text: &str| {
        let bench = Bench::new(text);
        for i in 0..460 {
            bench.tick(i * 15 * S, if (440..450).contains(&i) { 12.4 } else { calm(i) });
        }
        bench
    };
    let end = |b: &Bench| {
        for i in 460..530 {
            b.tick(i * 15 * S, 10.0);
        }
        noise(b)
    };
    let same = end(&warm(&text));
    let other = end(&reloaded(warm(&text), &text.replace("window: 1h", "window: 2h")));
    assert!(same > Some(4.0) && other == Some(3.0), "{same:?} {other:?}");
}

#[test]
fn three_paging_bands_crossed_at_once_are_one_page() {
    let text = SIGMA
        .replace("{sigma: 2, for: 30s, labels: {severity: ticket}}", "{sigma: 2, labels: {severity: page}}")
        .replace(
            "{sigma: 3, for: 30s, labels: {severity: page}}",
            "{sigma: 3, labels: {severity: page}}\n          - {sigma: 4, labels: {severity: critical}}",
        );
    let bench = Bench::new(&text);
    for i in 0..400 {
        bench.tick(i * 15 * S, calm(i));
    }
    for i in 400..420 {
        bench.tick(i * 15 * S, 30.0);
    }
    let sent = bench.sent.0.lock().unwrap();
    let fired: std::collections::BTreeSet<_> = sent.iter().map(|(_, a)| a.labels.clone()).collect();
    assert_eq!(fired.len(), 1, "{fired:?}");
    assert_eq!(fired.first().unwrap().get("severity"), Some("critical"));
    assert_eq!(bench.view()[0].rules[0].sigma.as_ref().unwrap().record.all.pages, 1);
}

#[test]
fn a_series_that_is_new_to_a_warm_rule_is_cold() {
    let bench = Bench::new(SIGMA);
    for i in 0..460 {
        let t = i * 15 * S;
        let (old, new) = ([("__name__", "x"), ("job", "j")], [("__name__", "x"), ("job", "new")]);
        // Calm for a moment, then wild: 60 samples must have been learnt before anything fires.
        let mut series: Vec<(&[(&str, &str)], f64)> = vec![(&old, calm(i))];
        if i >= 400 {
            series.push((&new, if i < 405 { 10.0 } else { 500.0 + calm(i) * 20.0 }));
        }
        bench.feed(t, &series);
        bench.evaluate(t);
    }
    assert!(bench.sent().is_empty(), "{:?}", bench.sent());
}

#[test]
fn a_counter_that_begins_again_is_no_event() {
    // A raw counter of about 10 a second; it is reset twice. Without `counter: true` its plain value would be judged.
    let text =
        SIGMA.replace("min_samples: 60", "min_samples: 60, counter: true").replace("direction: above", "");
    let text = text.replace("record: all", "record: all\n        direction: both");
    let bench = Bench::new(&text);
    let mut total = 0.0;
    for i in 0..500 {
        total = if i == 300 || i == 400 { 3.0 } else { total + calm(i) * 15.0 };
        bench.tick(i * 15 * S, total);
    }
    assert!(bench.sent().is_empty(), "{:?}", bench.sent());
    let center = bench.now("sideband_sigma_center")[0].1;
    assert!((center - 10.0).abs() < 0.5, "{center}");
    // It is not blind to a real one.
    for i in 500..510 {
        total += 60.0 * 15.0;
        bench.tick(i * 15 * S, total);
    }
    assert!(bench.sent().iter().any(|(_, firing)| *firing));
}

#[test]
fn what_is_said_of_pages_stands_under_one_name() {
    // The old second name is no key any more.
    let text = SIGMA.replace("keep_firing_for: 30s", "page_quiet: 1h");
    assert!(parse(Path::new("r.yml"), &text, Options::default()).is_err());
    // Quiet and wider for each series, without a budget.
    let text = SIGMA
        .replace("page_budget: 1 per 30d", "after_page: {quiet: 10m, widen: 1.5, half_life: 1d, worse: 2}")
        .replace("keep_firing_for: 30s", "clear_sigma: 0");
    let bench = Bench::new(&text);
    let mut i = 0;
    let mut run = |n: i64, x: Option<f64>| {
        for _ in 0..n {
            bench.tick(i * 15 * S, x.unwrap_or_else(|| calm(i)));
            i += 1;
        }
    };
    run(400, None);
    // About 5σ: a page. The same again in the quiet time: a ticket, also at 8σ; 13σ is more than twice as far.
    for (peak, pause) in [(15.0, 12), (15.0, 4), (18.0, 4), (23.0, 60), (13.6, 60)] {
        run(6, Some(peak));
        run(pause, None);
    }
    let said: Vec<String> = severities(&bench).into_iter().map(|s| s.1).collect();
    assert_eq!(said, ["page", "ticket", "page", "ticket"], "{:?}", severities(&bench));
}
