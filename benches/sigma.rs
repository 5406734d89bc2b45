//! What judging costs: one sample of one series by model, and 100,000 series once.
#![allow(clippy::unwrap_used, missing_docs, reason = "a bench stops where its own set-up is wrong")]

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use sideband::model::yaml;
use sideband::sigma::{Detector, SeriesState};

const RULES: [(&str, &str); 5] = [
    ("gaussian", "bands: [{sigma: 4, for: 5m}]"),
    ("robust", "baseline: {model: robust}\nbands: [{sigma: 4, for: 5m}]"),
    ("seasonal", "baseline: {model: seasonal, window: 28d}\nbands: [{sigma: 4, for: 5m}]"),
    ("novelty", "baseline: {model: novelty, window: 7d}\nbands: [{sigma: 1, for: 5m}]"),
    (
        "novelty_sum",
        "judge: sample + 0.276 mean 54m\nbaseline: {model: novelty, window: 365d, lag: 0s, freeze_max: 0s, spread: deviation, weber: 0.137}\nbands: [{sigma: 0.127}]",
    ),
];
const STEP_MS: i64 = 15_000;

fn detector(rule: &str) -> Detector {
    Detector::new(yaml::parse(Path::new("rule.yml"), rule).unwrap()).unwrap()
}

/// A value that moves like noise.
fn value(i: i64) -> f64 {
    100.0 + (i.wrapping_mul(7_919) % 1_000) as f64 / 100.0
}

fn warm(detector: &Detector) -> SeriesState {
    detector.warm((0..20_000).map(|i| (i * STEP_MS, value(i))), &[])
}

fn benches(c: &mut Criterion) {
    for (name, rule) in RULES {
        let detector = detector(rule);
        let mut state = warm(&detector);
        let mut i = 20_000;
        c.bench_function(&format!("sigma/sample/{name}"), |b| {
            b.iter(|| {
                i += 1;
                black_box(detector.evaluate(&mut state, i * STEP_MS, value(i)))
            });
        });
        let mut states = vec![warm(&detector); 100_000];
        let mut i = 20_000;
        c.bench_function(&format!("sigma/series_100k/{name}"), |b| {
            b.iter(|| {
                i += 1;
                for state in &mut states {
                    black_box(detector.evaluate(state, i * STEP_MS, value(i)));
                }
            });
        });
    }
}

criterion_group! {name = sigma; config = Criterion::default().sample_size(10); targets = benches}
criterion_main!(sigma);
