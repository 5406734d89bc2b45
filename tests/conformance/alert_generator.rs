//! `alert-generator`: the life of alerts over the compliance suite's scenarios, one case an evaluation.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::Value as Json;
use sideband::model::{Alert, Timestamp, yaml};
use sideband::promql::Engine;
use sideband::promql::series_notation::{parse_labels, parse_values};
use sideband::rules::file::{Options, load};
use sideband::rules::{AlertSink, AlertState, Context, Group, Settings};
use sideband::storage::{SourceId, Storage};

use crate::tally::Tally;

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Series {
    interval: sideband::model::Duration,
    input_series: Vec<Line>,
}

#[derive(serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    series: String,
    values: String,
}

struct Nowhere;

impl AlertSink for Nowhere {
    fn send(&self, _alerts: Vec<Alert>, _now: Timestamp) {}
}

pub fn run(dir: &Path, tally: &mut Tally) {
    let mut names: Vec<String> = std::fs::read_dir(dir)
        .expect("the folder")
        .filter_map(|e| e.ok()?.file_name().to_str()?.strip_suffix(".rules.yml").map(str::to_owned))
        .collect();
    names.sort();
    for name in names {
        scenario(dir, &name, tally);
    }
}

fn scenario(dir: &Path, name: &str, tally: &mut Tally) {
    let file = load(&dir.join(format!("{name}.rules.yml")), Options::default()).expect("rules");
    let path = dir.join(format!("{name}.series.yml"));
    let text = std::fs::read_to_string(&path).expect("series");
    let series: Series = yaml::parse(&path, &text).expect("series");
    let values: Vec<_> = series
        .input_series
        .iter()
        .map(|l| (parse_labels(&l.series).expect("labels"), parse_values(&l.values).expect("values")))
        .collect();
    let storage = Storage::in_memory();
    let engine = Engine::default();
    let settings = Settings::default();
    let context =
        Context { engine: &engine, source: &storage, storage: &storage, settings: &settings, replay: None };
    let groups: Vec<Group> = file
        .groups
        .into_iter()
        .enumerate()
        .map(|(i, spec)| {
            let interval = spec.interval.map_or(30_000, |d| d.ms());
            Group::new(spec, interval, 0, SourceId(i as u32 + 1))
        })
        .collect();
    let timeline = std::fs::read_to_string(dir.join(format!("{name}.timeline.jsonl"))).expect("timeline");
    let mut fed = 0;
    for line in timeline.lines().filter(|l| !l.is_empty()) {
        let expected: Json = serde_json::from_str(line).expect("JSON");
        let t = expected["t"].as_i64().unwrap_or_default() * 1000;
        let step = series.interval.ms();
        while fed as i64 * step <= t {
            let at = fed as i64 * step;
            let mut appender = storage.appender(SourceId(0));
            for (labels, values) in &values {
                if let Some(Some(v)) = values.get(fed) {
                    let id = appender.series(labels).expect("series");
                    appender.append(id, at, *v).expect("sample");
                }
            }
            appender.commit(at);
            fed += 1;
        }
        for group in &groups {
            group.evaluate(&context, &Nowhere, t);
        }
        tally.case(format!("{name} t={t}"), || compare(&groups, &expected["alerts"]));
    }
}

fn compare(groups: &[Group], expected: &Json) -> Result<(), String> {
    let mut got = BTreeSet::new();
    for rule in groups.iter().flat_map(|g| &g.rules) {
        for alert in rule.state().book.active() {
            let mut json = serde_json::json!({ "state": alert.state.as_str(), "labels": alert.labels });
            if alert.state == AlertState::Firing {
                json["annotations"] = serde_json::json!(alert.annotations);
            }
            got.insert(json.to_string());
        }
    }
    let want: BTreeSet<String> = expected.as_array().into_iter().flatten().map(ToString::to_string).collect();
    if got == want { Ok(()) } else { Err(format!("got {got:#?}, want {want:#?}")) }
}
