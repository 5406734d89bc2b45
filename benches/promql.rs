//! Queries over 10,000 series of half an hour: what a group tick or a dashboard costs.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use sideband::model::{Labels, Matcher, Sample};
use sideband::promql::{Each, Engine, EvalError, SeriesSet, Source, parse};
use sideband::storage::{SourceId, Storage};

const SERIES: usize = 10_000;
const STEP: i64 = 15_000;
const MINUTES: i64 = 40;
const BUCKETS: [&str; 10] = ["0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "+Inf"];

fn labels(i: usize) -> Labels {
    let path = format!("/api/v1/resource/{}", i / 40);
    Labels::from_pairs([
        ("__name__", "x_bucket"),
        ("instance", "bench"),
        ("job", "app"),
        ("le", BUCKETS[i % 10]),
        ("method", ["GET", "POST", "PUT", "DELETE"][i / 10 % 4]),
        ("path", path.as_str()),
    ])
}

fn value(i: usize, n: i64) -> f64 {
    (n * (1 + i as i64 % 10) * 3 + i as i64) as f64
}

/// The engine by itself: samples that need no decoding.
struct Plain {
    labels: Vec<Labels>,
    t: Vec<i64>,
    v: Vec<Vec<f64>>,
}

impl Plain {
    fn new() -> Self {
        let n = MINUTES * 60_000 / STEP;
        Self {
            labels: (0..SERIES).map(labels).collect(),
            t: (0..=n).map(|k| k * STEP).collect(),
            v: (0..SERIES).map(|i| (0..=n).map(|k| value(i, k)).collect()).collect(),
        }
    }
}

impl Source for Plain {
    fn select(&self, _: &[Matcher], _: i64, _: i64) -> Result<Box<dyn SeriesSet + '_>, EvalError> {
        Ok(Box::new(self))
    }
}

impl SeriesSet for &Plain {
    fn len(&self) -> usize {
        self.labels.len()
    }

    fn labels(&self, i: usize) -> &Labels {
        &self.labels[i]
    }

    fn read(&self, min_t: i64, max_t: i64, each: Each<'_>) {
        let from = self.t.partition_point(|t| *t < min_t);
        let to = self.t.partition_point(|t| *t <= max_t);
        for (i, v) in self.v.iter().enumerate() {
            each(i, &self.t[from..to], &v[from..to]);
        }
    }

    fn last(&self, i: usize, min_t: i64, max_t: i64) -> Option<Sample> {
        let to = self.t.partition_point(|t| *t <= max_t).checked_sub(1)?;
        (self.t[to] >= min_t).then(|| Sample { t: self.t[to], v: self.v[i][to] })
    }
}

fn stored() -> Storage {
    let storage = Storage::in_memory();
    for k in 0..=MINUTES * 60_000 / STEP {
        let mut appender = storage.appender(SourceId(0));
        for i in 0..SERIES {
            if let Ok(id) = appender.series(&labels(i)) {
                let _ = appender.append(id, k * STEP, value(i, k));
            }
        }
        appender.commit(k * STEP);
    }
    storage
}

fn queries(c: &mut Criterion) {
    let engine = Engine::default();
    let end = MINUTES * 60_000;
    let plain = Plain::new();
    let stored = stored();
    let sources: [(&str, &dyn Source); 2] = [("plain", &plain), ("storage", &stored)];
    for (name, query) in [
        ("p99", "histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))"),
        ("sum_rate", "sum by (path) (rate(x_bucket[5m]))"),
        ("selector", "x_bucket"),
        ("zscore", "(x_bucket - avg_over_time(x_bucket[10m])) / stddev_over_time(x_bucket[10m])"),
    ] {
        let Ok(expr) = parse(query) else { continue };
        for (kind, source) in sources {
            c.bench_function(&format!("{name}/instant/{kind}"), |b| {
                b.iter(|| black_box(engine.instant(source, &expr, end)));
            });
            if name == "zscore" {
                continue;
            }
            c.bench_function(&format!("{name}/range/{kind}"), |b| {
                b.iter(|| black_box(engine.range(source, &expr, end - 1_800_000, end, STEP)));
            });
        }
    }
    c.bench_function("parse", |b| {
        b.iter(|| parse(black_box("histogram_quantile(0.99, sum by (le) (rate(x_bucket[5m])))")));
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default().sample_size(10).measurement_time(std::time::Duration::from_secs(1))
        .warm_up_time(std::time::Duration::from_millis(300));
    targets = queries
}
criterion_main!(benches);
