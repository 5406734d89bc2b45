//! `templates`: the tables of Prometheus's and Alertmanager's template tests.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use serde_json::Value as Json;
use sideband::model::{Labels, Timestamp};
use sideband::template::{
    Dialect, Env, Field, Limits, ListKind, MapKind, MissingKey, Mode, Query, Template, Time, Value, expand,
};

use crate::tally::Tally;

/// What every `query` call returns.
struct Fixed(Vec<(Labels, f64)>);

impl Query for Fixed {
    fn query(&self, _expr: &str, _t: Timestamp) -> Result<Vec<(Labels, f64)>, String> {
        Ok(self.0.clone())
    }
}

pub fn run(dir: &Path, tally: &mut Tally) {
    for (number, cells) in rows(&dir.join("prometheus.tsv")) {
        let [mode, template, data, query, options, expect, expected] = &cells[..] else { continue };
        tally.case(format!("prometheus.tsv:{number} {template}"), || {
            let samples = query.as_array().into_iter().flatten().map(|s| {
                let labels = s["labels"].as_object().into_iter().flatten();
                let labels = labels.map(|(k, v)| (k.clone(), v.as_str().unwrap_or_default().to_owned()));
                (
                    Labels::from_pairs(labels),
                    s["value"].as_str().and_then(|v| v.parse().ok()).unwrap_or(f64::NAN),
                )
            });
            let source = Fixed(samples.collect());
            let strict = options.as_array().is_some_and(|o| o.iter().any(|o| o == "missingkey=error"));
            let env = Env {
                mode: mode_of(mode),
                missing_key: if strict { MissingKey::Error } else { MissingKey::Zero },
                now: 1_353_755_652_000,
                external_url: "http://testhost:9090/path/prefix",
                query: Some(&source),
            };
            let text = template.as_str().unwrap_or_default();
            let output = Template::parse(Dialect::Prometheus, "test", text, &[])
                .and_then(|t| t.run(&typed(data), &[], None, &env, Limits::default()));
            judge(output, expect, expected)
        });
    }
    for (number, cells) in rows(&dir.join("alertmanager.tsv")) {
        let [mode, template, data, expect, expected] = &cells[..] else { continue };
        tally.case(format!("alertmanager.tsv:{number} {template}"), || {
            let env = Env { mode: mode_of(mode), now: 1_353_755_652_000, ..Env::default() };
            let text = template.as_str().unwrap_or_default();
            judge(expand(Dialect::Alertmanager, text, &message(data), None, &env), expect, expected)
        });
    }
}

fn judge<E: std::fmt::Display>(
    output: Result<String, E>,
    expect: &Json,
    expected: &Json,
) -> Result<(), String> {
    match (output, expect.as_str()) {
        (Ok(text), Some("ok")) if Some(text.as_str()) == expected.as_str() => Ok(()),
        (Err(_), Some("error")) => Ok(()),
        (Ok(text), _) => Err(format!("gave {text:?}")),
        (Err(e), _) => Err(format!("error: {e}")),
    }
}

/// The lines below the heading: their number and cells. A cell that is no JSON is a word.
fn rows(file: &Path) -> Vec<(usize, Vec<Json>)> {
    let text = std::fs::read_to_string(file).expect("the table");
    let width = text.lines().next().unwrap_or_default().split('\t').count();
    let cell = |c: &str| match c {
        "" => Json::Null,
        c => serde_json::from_str(c).unwrap_or_else(|_| Json::String(c.to_owned())),
    };
    let mut rows = Vec::new();
    for (i, line) in text.lines().enumerate().skip(1).filter(|(_, l)| !l.is_empty()) {
        let mut cells: Vec<Json> = line.split('\t').map(cell).collect();
        cells.resize(width, Json::Null);
        rows.push((i + 1, cells));
    }
    rows
}

fn mode_of(mode: &Json) -> Mode {
    if mode == "html" { Mode::Html } else { Mode::Text }
}

/// `{"type": …, "values": […]}` is a list of that type of Go.
fn typed(data: &Json) -> Value {
    let (Some(kind), Some(values)) = (data["type"].as_str(), data["values"].as_array()) else {
        return message(data);
    };
    let one = |v: &Json| number(kind, v.as_str().unwrap_or_default());
    Value::list(values.iter().map(one).collect()).expect("flat")
}

fn number(kind: &str, text: &str) -> Value {
    match kind {
        "string" => Value::str(text),
        k if k.starts_with("uint") => Value::Uint(text.parse().expect("uint")),
        k if k.starts_with("int") => Value::Int(text.parse().expect("int")),
        _ => Value::Float(text.parse().expect("float")),
    }
}

/// The dot of an Alertmanager case.
fn message(data: &Json) -> Value {
    match data {
        Json::Null => Value::Nil,
        Json::Bool(b) => Value::Bool(*b),
        Json::Number(n) => {
            n.as_i64().map_or_else(|| Value::Float(n.as_f64().unwrap_or_default()), Value::Int)
        }
        Json::String(s) => Value::str(s.as_str()),
        Json::Array(items) if items.iter().all(Json::is_string) => {
            Value::strings(items.iter().map(message).collect())
        }
        Json::Array(items) => Value::list(items.iter().map(message).collect()).expect("shallow"),
        Json::Object(o) if o.contains_key("numbers") => {
            let kind = data["numbers"].as_str().unwrap_or_default();
            let values = data["values"].as_array().into_iter().flatten();
            let values = values.map(|v| number(kind, v.as_str().unwrap_or_default()));
            Value::list(values.collect()).expect("flat")
        }
        Json::Object(o) if o.contains_key("time") => Value::Time(time(&data["time"])),
        Json::Object(o) if o.keys().any(|k| k.ends_with("Labels") || k == "Alerts") => {
            let fields = ["GroupLabels", "CommonLabels", "CommonAnnotations", "RouteLabels"];
            let mut all: Vec<Field> = fields
                .into_iter()
                .map(|name| Field { name, json: name, value: labels(&data[name]) })
                .collect();
            let alerts = data["Alerts"].as_array().into_iter().flatten().map(alert).collect();
            let alerts = Value::list_of(ListKind::Alerts, alerts).expect("shallow");
            all.push(Field { name: "Alerts", json: "alerts", value: alerts });
            Value::structure("*template.Data", all).expect("shallow")
        }
        Json::Object(o) => {
            let entries: BTreeMap<Arc<str>, Value> =
                o.iter().map(|(k, v)| (Arc::from(k.as_str()), message(v))).collect();
            Value::map(MapKind::Any, entries).expect("shallow")
        }
    }
}

fn labels(data: &Json) -> Value {
    match data.as_object() {
        None => Value::map(MapKind::NoKv, BTreeMap::new()).expect("flat"),
        Some(o) => {
            let pairs = o.iter().map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()));
            Value::kv(&Labels::from_pairs(pairs))
        }
    }
}

fn alert(data: &Json) -> Value {
    let text = |key: &str| Value::str(data[key].as_str().unwrap_or_default());
    let at = |key: &str| match &data[key] {
        Json::Object(o) => Value::Time(time(&o["time"])),
        _ => Value::Time(Time::zero()),
    };
    let field = |name, json, value| Field { name, json, value };
    Value::structure(
        "template.Alert",
        vec![
            field("Status", "status", text("Status")),
            field("Labels", "labels", labels(&data["Labels"])),
            field("Annotations", "annotations", labels(&data["Annotations"])),
            field("StartsAt", "startsAt", at("StartsAt")),
            field("EndsAt", "endsAt", at("EndsAt")),
            field("GeneratorURL", "generatorURL", text("GeneratorURL")),
            field("Fingerprint", "fingerprint", text("Fingerprint")),
        ],
    )
    .expect("shallow")
}

/// `[year, month, day, hour, minute, second, nanosecond, zone]`
fn time(parts: &Json) -> Time {
    let part = |i: usize| parts[i].as_i64().unwrap_or_default();
    let zone = match parts[7].as_str() {
        None | Some("UTC" | "") => jiff::tz::TimeZone::UTC,
        Some(name) => jiff::tz::TimeZone::get(name).expect("a zone"),
    };
    let at = jiff::civil::DateTime::new(
        part(0) as i16,
        part(1) as i8,
        part(2) as i8,
        part(3) as i8,
        part(4) as i8,
        part(5) as i8,
        part(6) as i32,
    );
    Time::from_civil(at.expect("a date"), zone).expect("in range")
}
