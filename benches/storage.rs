//! Storage: bytes a series and a sample, and nanoseconds a sample to append and to read.
//!
//! The memory is measured from outside (resident set before and after), so a run with a filter that
//! skips the timings (`cargo bench --bench storage -- nothing`) shows it alone.
#![expect(clippy::unwrap_used, reason = "a bench may fail loudly")]

use std::hint::black_box;
use std::sync::Arc;

use criterion::{Criterion, Throughput};
use sideband::model::{Clock, Labels, Matcher, SystemClock};
use sideband::storage::{SeriesId, SourceId, Storage, StorageOptions};

const STEP: i64 = 5000;

/// The kinds of values that an application and a host expose, by series number.
fn value(series: usize, step: i64) -> f64 {
    let noise = (series as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(step as u64);
    let noise = (noise ^ (noise >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 40;
    match series % 10 {
        0..4 => (series as i64 * 1000 + step * (series as i64 % 17)) as f64, // steady counters, some idle
        4..7 => (step * 100 + (noise % 60) as i64) as f64,                   // busy counters
        7 => 1.0,                                                            // never changes
        8 => (noise % 5000) as f64 / 100.0,                                  // a gauge of two decimals
        _ => step as f64 * 0.1 + noise as f64 * 1e-9,                        // sums of seconds
    }
}

fn labels(series: usize) -> Labels {
    Labels::from_pairs([
        ("__name__", format!("app_request_metric_{}_total", series % 200).as_str()),
        ("instance", "localhost:8080"),
        ("job", "flask"),
        ("path", format!("/api/v1/resource/{}", series / 200).as_str()),
        ("method", ["GET", "POST", "PUT"][series % 3]),
        ("status", ["200", "404", "500"][series % 7 % 3]),
    ])
}

fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

fn fill(storage: &Storage, series: usize) -> Vec<SeriesId> {
    let mut appender = storage.appender(SourceId(1));
    (0..series).map(|s| appender.series(&labels(s)).unwrap()).collect()
}

fn append(storage: &Storage, ids: &[SeriesId], t: i64) {
    let mut appender = storage.appender(SourceId(1));
    for (s, id) in ids.iter().enumerate() {
        appender.append(*id, t, value(s, t / STEP)).unwrap();
    }
    appender.commit(t);
}

fn memory(series: usize, samples: i64) {
    let before = resident();
    let storage = Storage::in_memory();
    let ids = fill(&storage, series);
    let index = resident();
    for i in 0..samples {
        append(&storage, &ids, i * STEP);
    }
    drop(ids);
    let after = resident();
    println!(
        "{series} series, {samples} samples: {} B a series in all (index {}), {:.2} B a sample",
        after.saturating_sub(before) / series,
        index.saturating_sub(before) / series,
        after.saturating_sub(index) as f64 / series as f64 / samples as f64,
    );
}

fn timings(c: &mut Criterion) {
    for series in [1000, 10_000] {
        let storage = Storage::in_memory();
        let ids = fill(&storage, series);
        let mut t = 0;
        let mut group = c.benchmark_group(format!("{series} series"));
        group.throughput(Throughput::Elements(series as u64));
        group.bench_function("append", |b| {
            b.iter(|| {
                t += STEP;
                append(&storage, &ids, t);
            });
        });
        for _ in 0..120 {
            t += STEP;
            append(&storage, &ids, t);
        }
        let name = [Matcher::equal("job", "flask")];
        group.bench_function("select", |b| b.iter(|| black_box(storage.select(&name, t - 100_000, t).len())));
        let handles = storage.select(&name, t - 100_000, t);
        group.throughput(Throughput::Elements(20 * series as u64));
        for (at, end) in [("the end", t), ("300 s before", t - 300_000)] {
            let start = end - 20 * STEP + 1;
            group.bench_function(format!("read 20 samples at {at}"), |b| {
                let mut out = Vec::new();
                b.iter(|| {
                    for handle in &handles {
                        out.clear();
                        handle.read(start, end, &mut out);
                        black_box(&out);
                    }
                });
            });
            group.bench_function(format!("read_many 20 samples at {at}"), |b| {
                b.iter(|| storage.read_many(&handles, start, end, |_, t, v| _ = black_box((t, v))));
            });
        }
        group.throughput(Throughput::Elements(series as u64));
        group.bench_function("last", |b| {
            b.iter(|| handles.iter().filter_map(|h| h.last(t - 300_000, t)).map(|s| s.v).sum::<f64>());
        });
        group.finish();
    }
    disk(c);
}

fn disk(c: &mut Criterion) {
    let dir = std::env::temp_dir().join(format!("sideband-bench-{}", std::process::id()));
    let now = SystemClock.now();
    let open = || {
        let options = StorageOptions { max_future: i64::MAX, ..StorageOptions::at(&dir) };
        Storage::open(options, Arc::new(SystemClock)).unwrap()
    };
    let storage = open();
    let ids = fill(&storage, 1000);
    let mut t = now;
    let mut group = c.benchmark_group("1000 series on disk");
    group.throughput(Throughput::Elements(1000));
    group.bench_function("append", |b| {
        b.iter(|| {
            t += STEP;
            append(&storage, &ids, t);
        });
    });
    storage.flush();
    for _ in 0..720 {
        t += STEP;
        append(&storage, &ids, t);
    }
    drop(storage);
    group.throughput(Throughput::Elements(720_000));
    group.bench_function("open after a kill, an hour to replay", |b| b.iter(|| black_box(open())));
    let storage = open();
    storage.flush();
    let size: u64 =
        std::fs::read_dir(dir.join("blocks")).unwrap().map(|e| e.unwrap().metadata().unwrap().len()).sum();
    println!("blocks: {:.2} B a sample", size as f64 / ((t - now) / STEP) as f64 / 1000.0);
    let handles = storage.select(&[Matcher::equal("job", "flask")], 0, i64::MAX);
    group.throughput(Throughput::Elements(720_000));
    group.bench_function("read an hour from files", |b| {
        b.iter(|| storage.read_many(&handles, t - 720 * STEP, t, |_, t, v| _ = black_box((t, v))));
    });
    drop(handles);
    drop(storage);
    group.bench_function("open after a flush", |b| b.iter(|| black_box(open())));
    group.finish();
    std::fs::remove_dir_all(&dir).unwrap();
}

fn main() {
    // The small one first: what it gives back would hide what the large one takes.
    memory(1000, 1000);
    memory(100_000, 40);
    let mut criterion = Criterion::default().sample_size(20).configure_from_args();
    timings(&mut criterion);
    criterion.final_summary();
}
