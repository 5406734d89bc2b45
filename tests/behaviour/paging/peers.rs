//! What Alertmanager 0.33 was seen to take and to refuse, where this once differed.

use std::path::Path;

use sideband::model::yaml::parse_all;
use sideband::paging::config::PagingConfig;
use sideband::paging::engine::Now;
use sideband::paging::matcher::parse_classic;
use sideband::paging::silence::{Silence, SilenceError, SilenceMatcher, SilenceState};
use sideband::paging::time_interval::TimeInterval;

use super::world::World;

fn taken(text: &str) -> bool {
    PagingConfig::parse(Path::new("a.yml"), text).is_ok()
}

#[test]
fn configurations() {
    let route =
        |route: &str| format!("route: {{receiver: r, routes: [{route}]}}\nreceivers: [{{name: r}}]\n");
    for (routes, expect) in [
        // Any text is the name of a label.
        ("{group_by: ['1d', '25:00', '{{ .x }}']}", true),
        ("{group_by: ['...', '...']}", true),
        ("{group_by: ['...', a]}", false),
        ("{group_by: ['']}", false),
    ] {
        assert_eq!(taken(&route(routes)), expect, "{routes}");
    }
    let receiver = |global: &str, receiver: &str| {
        format!("global: {{{global}}}\nroute: {{receiver: r}}\nreceivers:\n- name: r\n  {receiver}\n")
    };
    for (global, text, expect) in [
        ("", "incidentio_configs: [{url: 'http://a'}]", true),
        ("", "incidentio_configs: [{url: 'http://a', http_config: {}}]", false),
        ("", "incidentio_configs: [{url: 'http://a', http_config: {authorization: {credentials: x}}}]", true),
        (
            "",
            "mattermost_configs: [{webhook_url: 'http://a', attachments: [{fields: [{title: t, value: v}]}]}]",
            true,
        ),
        ("", "mattermost_configs: [{webhook_url: 'http://a', attachments: [{fields: [{value: v}]}]}]", false),
        ("", "mattermost_configs: [{webhook_url: 'http://a', attachments: [{fields: [{title: v}]}]}]", false),
        ("http_config: {proxy_url: 'http://p', proxy_connect_header: {a: [b]}}", "", true),
        ("http_config: {proxy_url: 'http://p', proxy_connect_header: {a: b}}", "", false),
        ("http_config: {proxy_url: 'http://p', proxy_connect_header: x}", "", false),
        ("smtp_tls_config: {key_file: k}", "", false),
    ] {
        assert_eq!(taken(&receiver(global, text)), expect, "{global} {text}");
    }
}

#[test]
fn time_intervals() {
    for (text, expect) in [
        ("days_of_month: ['1:-27']", true),
        ("days_of_month: ['1:-28']", false),
        ("days_of_month: ['10:-18']", true),
        ("days_of_month: ['10:-19']", false),
        ("times: [null]", true),
        ("weekdays: [null]", true),
        ("location: europe/berlin", false),
        ("location: Europe/Berlin", true),
        ("location: EST5EDT", true),
        ("location: US/Pacific", true),
    ] {
        let found = parse_all::<Vec<TimeInterval>>(Path::new("a.yml"), &format!("[{{{text}}}]"));
        assert_eq!(found.is_ok(), expect, "{text}");
    }
    // No time of the day at all.
    let never = parse_all::<Vec<TimeInterval>>(Path::new("a.yml"), "[{times: [null]}]").unwrap();
    assert!(!never[0][0].contains(0));
}

#[test]
fn the_old_grammar_knows_the_blanks_of_ascii() {
    let value = |text: &str| parse_classic(text).unwrap()[0].value.clone();
    assert_eq!(value("a= \tb \n"), "b");
    assert_eq!(value("a=\u{a0}"), "\u{a0}");
}

#[test]
fn silences() {
    let matcher = |name: &str, value: &str, is_regex, is_equal| SilenceMatcher {
        name: name.to_owned(),
        value: value.to_owned(),
        is_regex,
        is_equal,
    };
    let silence = |matchers: Vec<SilenceMatcher>| Silence {
        id: String::new(),
        matchers,
        starts_at: 1_000_000,
        ends_at: 2_000_000,
        updated_at: 0,
        created_by: "a".to_owned(),
        comment: "b".to_owned(),
    };
    let one = |name, value, is_regex, is_equal| silence(vec![matcher(name, value, is_regex, is_equal)]);
    for (silence, expect) in [
        (one("a", "b", false, true), true),
        (one("a", "b", false, false), true),
        (one("a", ".+", true, false), true),
        (one("a", "", false, false), true),
        (one("a", "", false, true), false),
        (one("a", ".*", true, true), false),
        (one("", "b", false, true), false),
        (one("a", "[", true, true), false),
        (one("ü x", "b", false, true), true),
    ] {
        assert_eq!(silence.compile().is_ok(), expect, "{:?}", silence.matchers);
    }
    // What may be changed under the same id: the matchers never, the start only before it.
    let old = one("a", "b", false, true);
    let with = |starts_at, ends_at| Silence { starts_at, ends_at, comment: "new".to_owned(), ..old.clone() };
    for (now, new, expect) in [
        (1_500_000, with(1_000_000, 2_000_000), true),
        (1_500_000, with(1_000_400, 9_000_000), true),
        (1_500_000, with(1_000_000, 1_600_000), true),
        (1_500_000, with(1_000_000, 1_400_000), false),
        (1_500_000, with(1_600_000, 2_000_000), false),
        (1_500_000, one("a", "c", false, true), false),
        (500_000, with(600_000, 2_000_000), true),
        (500_000, with(400_000, 2_000_000), false),
        (2_000_000, with(1_000_000, 3_000_000), false),
    ] {
        assert_eq!(old.may_become(&new, now), expect, "{now} {new:?}");
    }
}

#[test]
fn a_silence_that_may_not_change_ends_and_another_takes_its_place() {
    let mut w = World::new("route: {receiver: r}\nreceivers: [{name: r}]\n");
    let silence = |id: &str, value: &str, now: Now| Silence {
        id: id.to_owned(),
        matchers: vec![SilenceMatcher {
            name: "a".to_owned(),
            value: value.to_owned(),
            is_regex: false,
            is_equal: true,
        }],
        starts_at: now.wall - 60_000,
        ends_at: now.wall + 60_000,
        updated_at: 0,
        created_by: "a".to_owned(),
        comment: "b".to_owned(),
    };
    let now = w.now;
    let mut post = |id: &str, value: &str, fresh: &str| {
        w.engine.post_silence(now, silence(id, value, now), fresh.to_owned())
    };
    assert_eq!(post("", "x", "one").as_deref(), Ok("one"));
    assert_eq!(post("nobody", "x", "two"), Err(SilenceError::NotFound("nobody".to_owned())));
    assert_eq!(post("one", "y", "two").as_deref(), Ok("two"));
    let states: Vec<_> =
        w.engine.silences().map(|s| (s.id.as_str(), s.state(now.wall), s.starts_at)).collect();
    assert_eq!(states.len(), 2);
    assert!(states.iter().any(|s| s.0 == "one" && s.1 == SilenceState::Expired));
    // A new one begins now at the earliest.
    assert!(states.contains(&("two", SilenceState::Active, now.wall)));
}
