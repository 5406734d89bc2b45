//! `exposition`: pages as Prometheus' scrape parsers and its expfmt library read them.

use std::path::Path;

use serde_json::{Value, json};
use sideband::exposition::families::{self, Family, Metric, MetricValue};
use sideband::exposition::{Entry, Format, Scanner};
use sideband::model::{Labels, MetricType};

use crate::tally::Tally;

pub fn run(dir: &Path, tally: &mut Tally) {
    for file in ["good.jsonl", "bad.jsonl"] {
        let text = std::fs::read_to_string(dir.join(file)).expect(file);
        for (i, line) in text.lines().enumerate() {
            let case: Value = serde_json::from_str(line).expect("JSON");
            tally.case(format!("{file}:{}", i + 1), || check(&case));
        }
    }
    let text = std::fs::read_to_string(dir.join("files.tsv")).expect("files.tsv");
    for line in text.lines().skip(1) {
        let mut cells = line.split('\t');
        let (name, expect) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        tally.case(name, || {
            let page = std::fs::read(dir.join("files").join(name)).map_err(|e| e.to_string())?;
            let result = if name.ends_with(".om.txt") {
                scan(&page, Format::OpenMetrics).map(|_| ())
            } else {
                scan(&page, Format::Text).map(|_| ()).and_then(|()| whole_families(&page, false).map(|_| ()))
            };
            match (expect, result) {
                ("ok", Ok(())) | ("error", Err(_)) => Ok(()),
                (_, result) => Err(format!("{result:?}, expected {expect}")),
            }
        });
    }
}

fn check(case: &Value) -> Result<(), String> {
    let page = match (&case["input"], &case["input_hex"]) {
        (Value::String(text), _) => text.as_bytes().to_vec(),
        (_, Value::String(hex)) => {
            let digits = hex.as_bytes().chunks(2);
            digits
                .map(|d| u8::from_str_radix(std::str::from_utf8(d).expect("hex"), 16).expect("hex"))
                .collect()
        }
        _ => return Err("no input".into()),
    };
    let read = |legacy: bool| match case["parser"].as_str() {
        Some("prometheus") => scan(&page, Format::Text).map(Value::Array),
        Some("openmetrics") => scan(&page, Format::OpenMetrics).map(Value::Array),
        _ => whole_families(&page, legacy),
    };
    let refused = |legacy: bool, wanted: &Value| match (read(legacy), wanted.as_str()) {
        (Err(message), Some(wanted)) if message.starts_with(wanted) => Ok(()),
        (result, _) => Err(format!("got {result:?}, expected {wanted}")),
    };
    if case.get("error_legacy_names").is_some() {
        refused(true, &case["error_legacy_names"])?;
    }
    if case.get("error").is_some() {
        return refused(case["names"] == "legacy", &case["error"]);
    }
    let mut wanted = case.get("expect").or_else(|| case.get("families")).ok_or("nothing expected")?.clone();
    if let (Some(families), true) = (wanted.as_array_mut(), case.get("families").is_some()) {
        families.sort_by_key(|f| f["name"].to_string());
    }
    let got = read(false)?;
    if wanted == "ok" || same(&got, &wanted) { Ok(()) } else { Err(format!("got {got}, expected {wanted}")) }
}

/// JSON has one kind of number; 1 and 1.0 are the same.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(k, v)| b.get(k).is_some_and(|w| same(v, w)))
        }
        _ => a == b,
    }
}

pub fn number(v: f64) -> Value {
    match v {
        v if v.is_nan() => json!("NaN"),
        f64::INFINITY => json!("+Inf"),
        f64::NEG_INFINITY => json!("-Inf"),
        v => json!(v),
    }
}

fn label_map(labels: &Labels) -> Value {
    labels.iter().map(|(n, v)| (n.to_owned(), json!(v))).collect::<serde_json::Map<_, _>>().into()
}

fn scan(page: &[u8], format: Format) -> Result<Vec<Value>, String> {
    let mut scanner = Scanner::new(page, format).with_start_times();
    let mut out = Vec::new();
    while let Some(entry) = scanner.next() {
        out.push(match entry.map_err(|e| e.message)? {
            Entry::Help { metric, help } => json!({"kind": "help", "metric": metric, "help": help}),
            Entry::Type { metric, kind } => json!({"kind": "type", "metric": metric, "type": kind.as_str()}),
            Entry::Unit { metric, unit } => json!({"kind": "unit", "metric": metric, "unit": unit}),
            Entry::Comment(text) => json!({"kind": "comment", "text": String::from_utf8_lossy(text)}),
            Entry::Series(series) => {
                let labels = scanner.labels().map_err(|e| e.to_string())?;
                let mut row = json!({
                    "kind": "series",
                    "text": String::from_utf8_lossy(series.text),
                    "labels": label_map(&labels),
                    "value": number(series.value),
                });
                if let Some(t) = series.timestamp {
                    row["timestamp_ms"] = json!(t);
                }
                if let Some(t) = series.start {
                    row["start_ms"] = json!(t);
                }
                if let Some(e) = series.exemplar {
                    let mut exemplar = json!({"labels": label_map(&e.labels), "value": number(e.value)});
                    if let Some(t) = e.timestamp {
                        exemplar["timestamp_ms"] = json!(t);
                    }
                    row["exemplars"] = json!([exemplar]);
                }
                row
            }
        });
    }
    Ok(out)
}

fn whole_families(page: &[u8], legacy: bool) -> Result<Value, String> {
    let parsed = families::parse(page, legacy)
        .map_err(|e| format!("text format parsing error in line {}: {}", e.line, e.message))?;
    let mut out: Vec<Value> = parsed.iter().map(family).collect();
    out.sort_by_key(|f| f["name"].to_string());
    Ok(out.into())
}

fn family(f: &Family) -> Value {
    let kind = match f.kind {
        MetricType::Unknown => "untyped",
        MetricType::GaugeHistogram => "gauge_histogram",
        kind => kind.as_str(),
    };
    let metrics: Vec<Value> = f.metrics.iter().map(|m| metric(kind, m)).collect();
    let mut out = json!({"name": f.name, "type": kind, "metric": metrics});
    if let Some(help) = &f.help {
        out["help"] = json!(help);
    }
    out
}

fn metric(kind: &str, m: &Metric) -> Value {
    let mut out = json!({});
    if !m.labels.is_empty() {
        let pairs = m.labels.iter().map(|(n, v)| json!({"name": n, "value": v}));
        out["label"] = pairs.collect::<Vec<_>>().into();
    }
    if let Some(t) = m.timestamp {
        out["timestampMs"] = json!(t);
    }
    match &m.value {
        MetricValue::Single(v) => out[kind] = json!({"value": number(*v)}),
        MetricValue::Summary { count, sum, quantiles } => {
            let mut s = json!({});
            set(&mut s, "sampleCount", *count);
            set(&mut s, "sampleSum", *sum);
            if !quantiles.is_empty() {
                let rows =
                    quantiles.iter().map(|(q, v)| json!({"quantile": number(*q), "value": number(*v)}));
                s["quantile"] = rows.collect::<Vec<_>>().into();
            }
            out["summary"] = s;
        }
        MetricValue::Histogram { count, sum, buckets } => {
            // One count that is not whole makes all of them floats.
            let whole = count.iter().chain(buckets.iter().map(|(_, n)| n)).all(|n| n.fract() == 0.0);
            let suffix = if whole { "" } else { "Float" };
            let mut h = json!({});
            set(&mut h, &format!("sampleCount{suffix}"), *count);
            set(&mut h, "sampleSum", *sum);
            if !buckets.is_empty() {
                let key = format!("cumulativeCount{suffix}");
                let rows = buckets
                    .iter()
                    .map(|(le, n)| json!({"upperBound": number(*le), key.as_str(): number(*n)}));
                h["bucket"] = rows.collect::<Vec<_>>().into();
            }
            out["histogram"] = h;
        }
    }
    out
}

fn set(out: &mut Value, key: &str, value: Option<f64>) {
    if let Some(v) = value {
        out[key] = number(v);
    }
}
