//! The PromQL of an exported sigma rule.

use crate::model::format_float;
use crate::promql::NodeKind;
use crate::sigma::{Band, Config, Direction, Model};

use super::super::file::{RuleSpec, SigmaSpec};

/// A median absolute deviation is a standard deviation of normal noise divided by this.
const MAD_TO_SIGMA: &str = "1.4826";

/// The metrics of one rule.
pub(super) struct Names {
    prefix: String,
}

impl Names {
    pub fn new(rule: &str) -> Self {
        let ok = |c: char| c.is_ascii_alphanumeric() || c == '_';
        let mut prefix: String = rule.chars().map(|c| if ok(c) { c } else { '_' }).collect();
        if prefix.is_empty() || prefix.starts_with(|c: char| c.is_ascii_digit()) {
            prefix.insert(0, '_');
        }
        Self { prefix }
    }

    pub fn of(&self, what: &str) -> String {
        format!("sigma:{}:{what}", self.prefix)
    }
}

/// Names and expressions of the recording rules, in the order of their evaluation.
pub(super) fn recordings(names: &Names, rule: &RuleSpec, spec: &SigmaSpec) -> Vec<(String, String)> {
    let config = spec.detector.config();
    let b = &config.baseline;
    let [value, center, stddev, samples, zscore] =
        ["value", "center", "stddev", "samples", "zscore"].map(|what| names.of(what));
    let past = |metric: &str| {
        let offset = if b.lag.is_zero() { String::new() } else { format!(" offset {}", b.lag) };
        format!("{metric}[{}]{offset}", b.window)
    };
    let expr = rule.expr.text();
    let judged = if b.counter {
        match rule.expr.root().unwrap_parens().kind {
            NodeKind::Selector(_) => format!("irate({expr}[5m])"),
            _ => format!("irate(({expr})[5m:])"),
        }
    } else {
        expr.to_owned()
    };
    let mut out = Vec::new();
    match config.judge.terms.first().and_then(|t| t.mean) {
        Some(mean) => {
            let sample = names.of("sample");
            out.push((sample.clone(), judged));
            out.push((value.clone(), format!("avg_over_time({sample}[{mean}])")));
        }
        None => out.push((value.clone(), judged)),
    }
    let spread = if b.model == Model::Robust {
        let distance = names.of("distance");
        out.push((center.clone(), format!("quantile_over_time(0.5, {})", past(&value))));
        out.push((distance.clone(), format!("abs({value} - {center})")));
        format!("{MAD_TO_SIGMA} * quantile_over_time(0.5, {})", past(&distance))
    } else {
        out.push((center.clone(), format!("avg_over_time({})", past(&value))));
        format!("stddev_over_time({})", past(&value))
    };
    out.push((stddev.clone(), floored(&spread, &center, b.stddev_floor, b.stddev_floor_ratio)));
    out.push((samples.clone(), format!("count_over_time({})", past(&value))));
    out.push((
        zscore,
        format!("(({value} - {center}) / ({stddev} > 0)) and ({samples} >= {})", b.min_samples),
    ));
    out
}

/// The larger of the spread, its floor, and the floor by the centre.
fn floored(spread: &str, center: &str, floor: f64, ratio: f64) -> String {
    let spread =
        if floor > 0.0 { format!("clamp_min({spread}, {})", format_float(floor)) } else { spread.to_owned() };
    if ratio <= 0.0 {
        return spread;
    }
    let by_center = format!("{} * abs({center})", format_float(ratio));
    format!("({spread}) >= ({by_center}) or ({by_center})")
}

/// When a band fires, with the value as the result.
pub(super) fn condition(
    names: &Names,
    rule: &RuleSpec,
    config: &Config,
    band: &Band,
    added: &[&str],
) -> String {
    let [value, center, zscore] = ["value", "center", "zscore"].map(|what| names.of(what));
    let beyond = |sigma: f64| {
        let edge = format_float(sigma);
        match config.direction {
            Direction::Above => format!("{zscore} >= {edge}"),
            Direction::Below => format!("{zscore} <= -{edge}"),
            Direction::Both => format!("abs({zscore}) >= {edge}"),
        }
    };
    let mut crossed = beyond(band.sigma);
    if config.clear_sigma > 0.0 {
        // What fires goes on until it is well below: ALERTS has the evaluation before this one.
        let firing = format!(
            "ALERTS{{alertname={}, alertstate=\"firing\", band=\"{}\"}}",
            serde_json::Value::from(rule.name.as_str()),
            format_float(band.sigma)
        );
        let held = match (band.sigma - config.clear_sigma).max(0.0) {
            0.0 => match config.direction {
                Direction::Above => format!("{zscore} > 0"),
                Direction::Below => format!("{zscore} < 0"),
                Direction::Both => format!("abs({zscore}) > 0"),
            },
            edge => beyond(edge),
        };
        crossed = format!("{crossed} or ({held} and ignoring ({}) {firing})", added.join(", "));
    }
    let far = if config.min_deviation > 0.0 {
        format!(" and (abs({value} - {center}) >= {})", format_float(config.min_deviation))
    } else {
        String::new()
    };
    format!("{value} and ({crossed}){far}")
}
