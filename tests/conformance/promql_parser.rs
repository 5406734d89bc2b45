//! `promql-parser`: what parses, how it prints, and where it is wrong.

use std::path::Path;

use serde_json::Value as Json;
use sideband::model::Labels;
use sideband::promql::series_notation::parse_series_line;
use sideband::promql::{Expr, NodeKind, parse};

use crate::tally::Tally;

pub fn run(dir: &Path, tally: &mut Tally) {
    for (file, check) in [
        ("expressions.jsonl", expression as fn(&Json) -> Result<(), String>),
        ("printer.jsonl", printer),
        ("series.jsonl", series),
    ] {
        let text = std::fs::read_to_string(dir.join(file)).expect(file);
        for line in text.lines().filter(|l| !l.is_empty()) {
            let case: Json = serde_json::from_str(line).expect("JSON");
            tally.case(line, || check(&case));
        }
    }
}

/// Text that is no UTF-8 cannot come this far as a string; its bad bytes become U+FFFD.
fn input(case: &Json) -> (String, bool) {
    if let Some(text) = case["input"].as_str() {
        return (text.to_owned(), true);
    }
    let hex = case["input_hex"].as_str().expect("input or input_hex");
    let bytes: Vec<u8> =
        (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).expect("hex")).collect();
    (String::from_utf8_lossy(&bytes).into_owned(), false)
}

fn kind(expr: &Expr) -> &'static str {
    match &expr.root().kind {
        NodeKind::Number(_) => "NumberLiteral",
        NodeKind::String(_) => "StringLiteral",
        NodeKind::Selector(_) => "VectorSelector",
        NodeKind::Range(_) => "MatrixSelector",
        NodeKind::Subquery(_) => "SubqueryExpr",
        NodeKind::Call(_) => "Call",
        NodeKind::Aggregate(_) => "AggregateExpr",
        NodeKind::Binary(_) => "BinaryExpr",
        NodeKind::Unary(..) => "UnaryExpr",
        NodeKind::Paren(_) => "ParenExpr",
    }
}

fn expression(case: &Json) -> Result<(), String> {
    let (text, exact) = input(case);
    match (parse(&text), case["errors"].as_array()) {
        (Ok(expr), None) => {
            let node = case["node"].as_str().unwrap_or_default();
            if kind(&expr) == node { Ok(()) } else { Err(format!("a {}", kind(&expr))) }
        }
        (Err(e), None) => Err(e.to_string()),
        (Ok(expr), Some(_)) => Err(format!("parsed as {expr}")),
        (Err(found), Some(wanted)) => {
            let errors: Vec<_> = found.iter().collect();
            let agree = errors.len() == wanted.len()
                && errors.iter().zip(wanted).all(|(e, w)| {
                    let at = |key: &str, v: u32| w[key].as_u64().is_none_or(|n| n == u64::from(v));
                    let place = at("start", e.span.start) && at("end", e.span.end);
                    w["msg"].as_str().is_none_or(|m| m == e.message) && (place || !exact)
                });
            if agree {
                return Ok(());
            }
            let list: Vec<String> =
                errors.iter().map(|e| format!("{}-{} {}", e.span.start, e.span.end, e.message)).collect();
            Err(format!("refused with {list:?}"))
        }
    }
}

fn printer(case: &Json) -> Result<(), String> {
    let (text, _) = input(case);
    let printed = parse(&text).map_err(|e| e.to_string())?.to_string();
    if Some(printed.as_str()) == case["printed"].as_str() { Ok(()) } else { Err(printed) }
}

fn series(case: &Json) -> Result<(), String> {
    let (text, _) = input(case);
    match (parse_series_line(&text), case["values"].as_array()) {
        (Err(_), None) => Ok(()),
        (Ok(line), Some(values)) => {
            let labels: Vec<(&str, &str)> = case["labels"]
                .as_object()
                .into_iter()
                .flatten()
                .map(|(k, v)| (k.as_str(), v.as_str().unwrap_or_default()))
                .collect();
            let same_values = line.values.len() == values.len()
                && line.values.iter().zip(values).all(|(v, w)| match (v, w) {
                    (None, Json::Null) => true,
                    (Some(v), Json::Number(w)) => w.as_f64() == Some(*v),
                    (Some(v), Json::String(w)) => {
                        format!("{v}") == *w
                            || w.parse::<f64>().is_ok_and(|w| w == *v || (w.is_nan() && v.is_nan()))
                            || w == "stale"
                    }
                    _ => false,
                });
            let same = line.labels == Labels::from_pairs(labels) && same_values;
            if same { Ok(()) } else { Err(format!("{line:?}")) }
        }
        (Ok(line), None) => Err(format!("{line:?}")),
        (Err(e), Some(_)) => Err(e.to_string()),
    }
}
