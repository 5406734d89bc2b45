//! How fast pages are read, in bytes a second, beside the floor of finding the line breaks.
#![allow(clippy::expect_used, reason = "a bench may stop")]

use std::fmt::Write as _;
use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use sideband::exposition::{Format, Scanner};
use sideband::model::Labels;
use sideband::scrape::{GlobalDefaults, Ingest, PageReader, ScrapeConfig, ScrapeMetrics};
use sideband::storage::{SourceId, Storage};

/// A page as a Flask app with many endpoints serves it: histograms, counters, few comments.
fn page(series: usize, round: u64) -> String {
    let mut out = String::new();
    out.push_str("# HELP flask_http_request_duration_seconds Flask HTTP request duration in seconds\n");
    out.push_str("# TYPE flask_http_request_duration_seconds histogram\n");
    let mut n = 0u64;
    'all: for endpoint in 0.. {
        for method in ["GET", "POST"] {
            for le in ["0.005", "0.01", "0.025", "0.05", "0.075", "0.1", "0.25", "0.5", "1.0", "2.5", "+Inf"]
            {
                n += 1;
                let value = n * 37 + round;
                let _ = writeln!(
                    out,
                    "flask_http_request_duration_seconds_bucket{{le=\"{le}\",method=\"{method}\",path=\"/api/v1/orders/{endpoint}\",status=\"200\"}} {value}.0"
                );
            }
            let _ = writeln!(
                out,
                "flask_http_request_duration_seconds_sum{{method=\"{method}\",path=\"/api/v1/orders/{endpoint}\",status=\"200\"}} {}.{:06}",
                n * 3,
                (n * 7919 + round) % 1_000_000
            );
            n += 1;
            if n as usize >= series {
                break 'all;
            }
        }
    }
    out
}

fn reading(c: &mut Criterion) {
    for series in [1_000, 100_000] {
        let pages: Vec<String> = (0..4).map(|round| page(series, round)).collect();
        let mut group = c.benchmark_group(format!("{series} series"));
        group.throughput(Throughput::Bytes(pages[0].len() as u64)).sample_size(20);
        group.bench_function("floor: line breaks", |b| {
            b.iter(|| memchr::memchr_iter(b'\n', black_box(pages[0].as_bytes())).count());
        });
        let mut scanner = Scanner::new(pages[0].as_bytes(), Format::Text);
        let mut known = Vec::new();
        while let Some(Ok(entry)) = scanner.next() {
            if let sideband::exposition::Entry::Series(series) = entry {
                known.push(series.text.to_vec());
            }
        }
        group.bench_function("scanner: known lines", |b| {
            b.iter(|| {
                let mut scanner = Scanner::new(black_box(pages[1].as_bytes()), Format::Text);
                let _ = scanner.next();
                let _ = scanner.next();
                let mut sum = 0.0;
                for text in &known {
                    sum += scanner.next_known(text).expect("known").0;
                }
                sum
            });
        });
        group.bench_function("scanner: every line anew", |b| {
            b.iter(|| {
                let mut scanner = Scanner::new(black_box(pages[1].as_bytes()), Format::Text);
                let mut n = 0;
                while let Some(Ok(_)) = scanner.next() {
                    n += 1;
                }
                n
            });
        });
        group.bench_function("into storage, known lines", |b| {
            let storage = Storage::in_memory();
            let config: ScrapeConfig =
                sideband::model::yaml::read(std::path::Path::new("bench"), "job_name: app").expect("config");
            let job = config.resolve(&GlobalDefaults::default(), std::path::Path::new(".")).expect("job");
            let labels = Labels::from_pairs([("job", "app"), ("instance", "localhost:8080")]);
            let metrics = ScrapeMetrics::default();
            let mut reader = PageReader::default();
            let mut round = 0;
            let start = i64::from(u32::MAX) * 400;
            b.iter(|| {
                round += 1;
                let t = start + round * 15_000;
                let ingest =
                    Ingest { job: &job, target_labels: &labels, storage: &storage, metrics: &metrics, t };
                let mut appender = storage.appender(SourceId(1));
                let page = pages[round as usize % pages.len()].as_bytes();
                let (counts, result) = reader.read(&ingest, page, Format::Text, &mut appender);
                result.expect("good page");
                appender.commit(t);
                counts.kept
            });
        });
        group.finish();
    }
}

criterion_group!(benches, reading);
criterion_main!(benches);
