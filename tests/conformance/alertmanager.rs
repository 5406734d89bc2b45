//! Alertmanager's configuration, routing, matchers, time intervals and inhibition.

use std::path::Path;

use serde_json::Value;
use sideband::model::yaml::{parse, parse_all};
use sideband::model::{Labels, MatchOp};
use sideband::paging::config::{InhibitConfig, PagingConfig, RouteConfig};
use sideband::paging::inhibit::inhibited_by;
use sideband::paging::matcher::{Matcher, parse_classic, parse_utf8};
use sideband::paging::route::Route;
use sideband::paging::time_interval::{TimeInterval, TimeRange};

use crate::tally::Tally;

fn lines(file: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    text.lines().filter(|l| !l.is_empty()).map(|l| serde_json::from_str(l).expect("JSON")).collect()
}

fn text<'a>(v: &'a Value, key: &str) -> &'a str {
    v[key].as_str().unwrap_or_default()
}

fn labels(v: &Value) -> Labels {
    let pairs = v.as_object().into_iter().flatten();
    Labels::from_pairs(pairs.map(|(n, v)| (n.as_str(), v.as_str().unwrap_or_default())))
}

/// A single integration as the only one of a configuration: `EmailConfig` under `email_configs`, with what it
/// would take from the global section.
fn wrapped(kind: &str, body: &str) -> String {
    let kind = kind.trim_end_matches("Config").to_lowercase();
    let mut out = String::from(
        "global: {smtp_smarthost: 'localhost:25', smtp_from: a@b.c, slack_api_url: 'http://slack.test/', \
         opsgenie_api_key: k, victorops_api_key: k, wechat_api_secret: k, wechat_api_corp_id: k, \
         telegram_bot_token: k, rocketchat_token: k, rocketchat_token_id: k, jira_api_url: 'http://jira.test/', \
         mattermost_webhook_url: 'http://mm.test/'}\nroute: {receiver: r}\nreceivers:\n- name: r\n",
    );
    out += &format!("  {kind}_configs:\n  -\n");
    for line in body.lines() {
        out += &format!("    {line}\n");
    }
    out
}

pub fn config(dir: &Path, tally: &mut Tally) {
    let table = std::fs::read_to_string(dir.join("expected.tsv")).expect("expected.tsv");
    for row in table.lines().skip(1).filter(|r| !r.is_empty()) {
        let cells: Vec<&str> = row.split('\t').collect();
        let (file, expect, note) = (cells[0], cells[1], cells.get(3).copied().unwrap_or_default());
        tally.case(file, || {
            let mut body = std::fs::read_to_string(dir.join(file)).map_err(|e| e.to_string())?;
            if let Some(rest) = note.strip_prefix("one ") {
                body = wrapped(rest.split(',').next().unwrap_or_default(), &body);
            }
            match (PagingConfig::parse(Path::new(file), &body), expect) {
                (Ok(_), "ok") | (Err(_), "error") => Ok(()),
                (Ok(_), _) => Err(format!("accepted; expected {}", cells[2])),
                (Err(e), _) => Err(format!("{e:?}")),
            }
        });
    }
}

fn tree(dir: &Path, name: &str) -> Result<std::sync::Arc<Route>, String> {
    let file = dir.join(format!("{name}.tree.yml"));
    let body = std::fs::read_to_string(&file).map_err(|e| e.to_string())?;
    let config: RouteConfig = parse(&file, &body).map_err(|e| e.to_string())?;
    Route::tree(&config).map_err(|e| e.to_string())
}

fn shape(route: &Route) -> Value {
    serde_json::json!({
        "receiver": route.receiver,
        "group_by": route.group_by.iter().collect::<Vec<_>>(),
        "group_by_all": route.group_by_all,
        "group_wait_s": route.group_wait.ms() / 1000,
        "group_interval_s": route.group_interval.ms() / 1000,
        "repeat_interval_s": route.repeat_interval.ms() / 1000,
    })
}

fn sorted(mut route: Value) -> Value {
    if let Some(names) = route["group_by"].as_array_mut() {
        names.sort_by_key(ToString::to_string);
    }
    route
}

fn equal<T: PartialEq + std::fmt::Debug>(found: T, expected: T) -> Result<(), String> {
    if found == expected { Ok(()) } else { Err(format!("{found:?}, not {expected:?}")) }
}

pub fn routing(dir: &Path, tally: &mut Tally) {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("the folder")
        .filter_map(|f| f.ok()?.file_name().to_str()?.strip_suffix(".tree.yml").map(str::to_owned))
        .collect();
    names.sort();
    for name in names {
        for case in lines(&dir.join(format!("{name}.cases.jsonl"))) {
            tally.case(format!("{name} {case}"), || {
                let found = tree(dir, &name)?.matching(&labels(&case["labels"]));
                if let Some(routes) = case["routes"].as_array() {
                    let expected: Vec<_> = routes.iter().cloned().map(sorted).collect();
                    equal(found.iter().map(|r| shape(r)).collect(), expected)?;
                }
                if let Some(keys) = case["keys"].as_array() {
                    equal(found.iter().map(|r| Value::from(r.key.as_str())).collect(), keys.clone())?;
                }
                match case["route_labels"].as_object() {
                    Some(expected) => equal(
                        found.iter().map(|r| serde_json::json!(r.labels)).collect(),
                        vec![Value::Object(expected.clone())],
                    ),
                    None => Ok(()),
                }
            });
        }
        for case in lines(&dir.join(format!("{name}.expected.jsonl"))) {
            tally.case(&name, || single(&name, &*tree(dir, &name)?, &case));
        }
    }
}

fn single(name: &str, root: &Route, expected: &Value) -> Result<(), String> {
    match name {
        "route_walk" => {
            let mut found = Vec::new();
            root.walk(&mut |r| found.push(Value::from(r.receiver.as_str())));
            equal(Value::from(found), expected.clone())
        }
        "inherit_group_by_all" => {
            let parent = &root.children[0];
            let found = serde_json::json!({
                "parent": parent.group_by_all,
                "child1": parent.children[0].group_by_all,
                "child2": parent.children[1].group_by_all,
            });
            equal(found, expected.clone())
        }
        // The wording of identities is ours; that they differ is the point.
        "route_id" => {
            let mut ids = Vec::new();
            root.walk(&mut |r| ids.push(r.id.clone()));
            let (all, count) = (ids.len(), expected.as_array().map_or(ids.len(), Vec::len));
            ids.sort();
            ids.dedup();
            equal((ids.len(), all), (all, count))
        }
        other => Err(format!("unknown case {other}")),
    }
}

pub fn matchers(dir: &Path, tally: &mut Tally) {
    for case in lines(&dir.join("parse.jsonl")) {
        tally.case(&case, || {
            let input = text(&case, "input");
            let found =
                if text(&case, "parser") == "utf8" { parse_utf8(input) } else { parse_classic(input) };
            let single = case["single"].as_bool() == Some(true);
            let found = found.map_err(|e| e.to_string()).and_then(|list| match list.len() {
                1 => Ok(list),
                n if single => Err(format!("{n} matchers")),
                _ => Ok(list),
            });
            let found = found.map(|list| {
                list.iter().map(|m| serde_json::json!([m.name, m.op.as_str(), m.value])).collect::<Vec<_>>()
            });
            match (found, case["expect"].as_array()) {
                (Ok(found), Some(expected)) => equal(&found, expected),
                (Err(_), None) => Ok(()),
                (found, _) => Err(format!("{found:?}")),
            }
        });
    }
    for case in lines(&dir.join("match.jsonl")) {
        tally.case(&case, || {
            let op = match text(&case, "op") {
                "=" => MatchOp::Equal,
                "!=" => MatchOp::NotEqual,
                "=~" => MatchOp::Regex,
                _ => MatchOp::NotRegex,
            };
            let m = Matcher::new(op, "x", text(&case, "pattern")).map_err(|e| e.to_string())?;
            equal(Some(m.matches(text(&case, "value"))), case["match"].as_bool())
        });
    }
}

fn moment(text: &str) -> i64 {
    jiff::fmt::strtime::parse("%d %b %y %H:%M %z", text)
        .and_then(|t| t.to_timestamp())
        .expect("a time")
        .as_millisecond()
}

pub fn timeintervals(dir: &Path, tally: &mut Tally) {
    for case in lines(&dir.join("cases.jsonl")) {
        tally.case(&case, || {
            let path = Path::new("case.yml");
            if let Some(range) = case["time_range"].as_str() {
                return match (parse::<TimeRange>(path, range), case["minutes"].as_array()) {
                    (Ok(r), Some(m)) => equal(vec![Value::from(r.start), Value::from(r.end)], m.clone()),
                    (Err(_), None) => Ok(()),
                    (r, _) => Err(format!("{r:?}")),
                };
            }
            let intervals = parse_all::<Vec<TimeInterval>>(path, text(&case, "yaml"));
            let intervals: Vec<TimeInterval> = match (intervals, case.get("error")) {
                (Ok(list), None) => list.into_iter().flatten().collect(),
                (Err(_), Some(_)) => return Ok(()),
                (r, _) => return Err(format!("{r:?}")),
            };
            for (key, expected) in [("contains", true), ("excludes", false)] {
                for at in case[key].as_array().into_iter().flatten().filter_map(Value::as_str) {
                    let found = intervals.iter().any(|i| i.contains(moment(at)));
                    equal((at, found), (at, expected))?;
                }
            }
            Ok(())
        });
    }
}

pub fn inhibition(dir: &Path, tally: &mut Tally) {
    for case in lines(&dir.join("cases.jsonl")) {
        tally.case(&case, || {
            let yaml = case["inhibit_rules"].to_string();
            let rules: Vec<InhibitConfig> = parse(Path::new("case.yml"), &yaml).map_err(|e| e.to_string())?;
            let rules: Result<Vec<_>, _> = rules.iter().map(InhibitConfig::rule).collect();
            let active: Vec<Labels> = case["active"].as_array().into_iter().flatten().map(labels).collect();
            let muted =
                inhibited_by(&rules.map_err(|e| e.to_string())?, &labels(&case["target"]), active.iter());
            equal(Some(muted.is_some()), case["muted"].as_bool())
        });
    }
}
