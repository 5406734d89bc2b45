//! Who is on call: total, exact to the millisecond, right when the clocks change.

use proptest::prelude::*;
use sideband::paging::schedule::Schedule;

use super::world::*;

const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/Sao_Paulo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
    "America/St_Johns",
];

fn schedule(body: &str) -> Schedule {
    let text = CONFIG.replace(
        "- {name: primary, rotation: 1w, start: '2026-11-23T09:00:00Z', users: [a, b]}",
        &format!("- {{name: primary, rotation: 1w, start: '2026-11-23T09:00:00Z', users: [a, b]}}\n{body}"),
    );
    let text = text.replace("users:\n- {name: a,", "users:\n- {name: c, receiver: team}\n- {name: a,");
    let text = format!(
        "{text}
time_intervals:
- name: nights
  time_intervals:
  - {{times: [{{start_time: '00:00', end_time: '08:00'}}, {{start_time: '20:00', end_time: '24:00'}}], location: Europe/Berlin}}
- name: days
  time_intervals:
  - {{times: [{{start_time: '08:00', end_time: '19:30'}}], weekdays: ['monday:friday'], location: Europe/Berlin}}
- name: odd
  time_intervals:
  - {{times: [{{start_time: '01:30', end_time: '02:30'}}], location: America/St_Johns}}
  - {{days_of_month: ['-1'], months: ['march', 'october:november'], location: Australia/Lord_Howe}}
"
    );
    config(&text).schedules["s"].clone()
}

/// Milliseconds of a time.
fn at(text: &str) -> i64 {
    text.parse::<jiff::Timestamp>().expect("a time").as_millisecond()
}

#[test]
fn rotations_hand_over_at_their_times() {
    // (schedule, time, who)
    let weekly =
        "- {name: s, location: Europe/Berlin, rotation: 1w, start: '2026-10-19T09:00:00', users: [a, b, c]}";
    let daily =
        "- {name: s, location: America/New_York, rotation: 1d, start: '2026-03-07T02:30:00', users: [a, b]}";
    let shifts = "- {name: s, rotation: 8h, start: '2026-11-23T06:00:00Z', users: [a, b, c]}";
    let stand_in = "- {name: s, rotation: 1w, start: '2026-11-23T09:00:00Z', users: [a, b], overrides: [\
                    {user: c, start: '2026-11-24T00:00:00Z', end: '2026-11-24T00:10:00Z'},\
                    {user: b, start: '2026-11-24T00:05:00Z', end: '2026-11-24T00:07:00Z'}]}";
    let layers = "- {name: s, location: Europe/Berlin, layers: [\
                  {rotation: 1w, start: '2026-11-23T09:00:00', users: [a, b]},\
                  {rotation: 1d, start: '2026-11-23T20:00:00', users: [c], active_time_intervals: [nights]}]}";
    for (body, time, who) in [
        (weekly, "2026-10-19T06:59:59Z", "c"),
        (weekly, "2026-10-19T07:00:00Z", "a"),
        // The clocks go back on the 25th: the handover stays at nine there.
        (weekly, "2026-10-26T07:59:59.999Z", "a"),
        (weekly, "2026-10-26T08:00:00Z", "b"),
        (weekly, "2026-11-02T08:00:00Z", "c"),
        // 02:30 does not exist on the 8th: the handover is an hour later, and the days stay in step.
        (daily, "2026-03-08T07:29:59Z", "a"),
        (daily, "2026-03-08T07:30:00Z", "b"),
        (daily, "2026-03-09T06:29:59Z", "b"),
        (daily, "2026-03-09T06:30:00Z", "a"),
        (shifts, "2026-11-23T05:59:59Z", "c"),
        (shifts, "2026-11-23T06:00:00Z", "a"),
        (shifts, "2026-11-23T14:00:00Z", "b"),
        (shifts, "2026-11-24T05:59:59Z", "c"),
        (stand_in, "2026-11-23T23:59:59Z", "a"),
        (stand_in, "2026-11-24T00:00:00Z", "c"),
        (stand_in, "2026-11-24T00:05:00Z", "b"),
        (stand_in, "2026-11-24T00:07:00Z", "c"),
        (stand_in, "2026-11-24T00:10:00Z", "a"),
        (layers, "2026-11-23T18:59:59Z", "a"),
        (layers, "2026-11-23T19:00:00Z", "c"),
        (layers, "2026-11-24T07:00:00Z", "a"),
    ] {
        assert_eq!(schedule(body).on_call(at(time)), Some(who), "{body} at {time}");
    }
    // A change of minutes between two quarters of an hour is seen.
    let s = schedule(stand_in);
    let mut changes = Vec::new();
    let mut t = at("2026-11-23T12:00:00Z");
    while let Some(next) = s.next_change(t).filter(|_| changes.len() < 5) {
        changes.push((next, s.on_call(next).unwrap_or_default()));
        t = next;
    }
    let expected = [
        ("2026-11-24T00:00:00Z", "c"),
        ("2026-11-24T00:05:00Z", "b"),
        ("2026-11-24T00:07:00Z", "c"),
        ("2026-11-24T00:10:00Z", "a"),
        ("2026-11-30T09:00:00Z", "b"),
    ];
    assert_eq!(changes, expected.map(|(time, who)| (at(time), who)));
}

#[test]
fn gaps_are_found_and_only_gaps() {
    let days = "- {name: s, location: Europe/Berlin, layers: [\
                {rotation: 1w, start: '2026-11-23T09:00:00', users: [a, b], active_time_intervals: [days]}], \
                overrides: [{user: c, start: '2026-11-25T19:30:00', end: '2026-11-26T07:59:00'}]}";
    let gaps = schedule(days).gaps(at("2026-11-24T12:00:00Z"), at("2026-11-28T12:00:00Z"));
    let expected = [
        ("2026-11-24T18:30:00Z", "2026-11-25T07:00:00Z"),
        ("2026-11-26T06:59:00Z", "2026-11-26T07:00:00Z"),
        ("2026-11-26T18:30:00Z", "2026-11-27T07:00:00Z"),
        ("2026-11-27T18:30:00Z", "2026-11-28T12:00:00Z"),
    ];
    assert_eq!(gaps, expected.map(|(a, b)| (at(a), at(b))));
    let always = "- {name: s, rotation: 1d, start: '2026-11-23T09:00:00', users: [a, b]}";
    assert!(schedule(always).gaps(0, i64::MAX).is_empty());
    assert!(schedule(days).gaps(5, 5).is_empty() && schedule(days).gaps(6, 5).is_empty());
    assert_eq!(schedule(days).gaps(i64::MIN, i64::MIN + 9).len(), 1);
}

fn any_schedule() -> impl Strategy<Value = String> {
    let users = prop::sample::select(vec!["[a, b]", "[a, b, c]", "[c]", "[a, a, b]"]);
    let rotation = prop::sample::select(vec!["1m", "7m", "1h", "8h", "25h", "1d", "2d", "1w"]);
    let start = (0i64..800 * 24 * 60).prop_map(|m| {
        jiff::Timestamp::from_millisecond(1_750_000_000_000 + m * MINUTE).expect("in range").to_string()
    });
    let active = prop::sample::select(vec!["", "nights", "days", "odd", "days, odd"]);
    let layer = (users, rotation, start, active).prop_map(|(u, r, s, a)| {
        let active = if a.is_empty() { String::new() } else { format!(", active_time_intervals: [{a}]") };
        format!("{{rotation: {r}, start: '{s}', users: {u}{active}}}")
    });
    let stand_in = (0i64..60 * 24 * 60, 1i64..600).prop_map(|(from, minutes)| {
        let time = |m: i64| jiff::Timestamp::from_millisecond(START + m * MINUTE).expect("in range");
        format!("{{user: c, start: '{}', end: '{}'}}", time(from), time(from + minutes))
    });
    (
        prop::sample::select(ZONES.to_vec()),
        prop::collection::vec(layer, 1..4),
        prop::collection::vec(stand_in, 0..4),
    )
        .prop_map(|(zone, layers, overrides)| {
            format!(
                "- {{name: s, location: {zone}, layers: [{}], overrides: [{}]}}",
                layers.join(", "),
                overrides.join(", ")
            )
        })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Nothing panics; nothing changes between two changes; a gap is where nobody is on call; `:next` is
    /// nobody who was notified, and somebody as long as there is one.
    #[test]
    fn lookups_are_total(body in any_schedule(), t in prop_oneof![START..START + 400 * 24 * HOUR, any::<i64>(), Just(i64::MIN), Just(i64::MAX - 1)],
                         probes in prop::collection::vec(0.0f64..1.0, 8), told in 0u8..8) {
        let s = schedule(&body);
        let now = s.on_call(t);
        if let Some(next) = s.next_change(t) {
            prop_assert!(next > t);
            prop_assert_ne!(s.on_call(next), now);
            for p in &probes {
                let between = t + ((next - t - 1) as f64 * p) as i64;
                prop_assert_eq!(s.on_call(between), now, "at {}, before {}", between, next);
            }
        }
        let end = t.saturating_add(20 * 24 * HOUR);
        let gaps = s.gaps(t, end);
        for p in &probes {
            let at = t.saturating_add((20.0 * 24.0 * HOUR as f64 * p) as i64).min(end - 1);
            let in_gap = gaps.iter().any(|(a, b)| (*a..*b).contains(&at));
            prop_assert_eq!(in_gap, s.on_call(at).is_none(), "at {}", at);
        }
        let notified = |u: &str| told & [("a", 1), ("b", 2), ("c", 4)].iter().find(|(n, _)| *n == u).map_or(0, |(_, bit)| *bit) != 0;
        let next = s.next(t, notified);
        prop_assert!(next.is_none_or(|u| !notified(u)));
        if let Some(user) = now.filter(|u| !notified(u)) {
            prop_assert!(next.is_some(), "{} at least", user);
        }
    }
}
