//! `promql-queries`: queries that must parse and evaluate, or fail.

use std::path::Path;

use sideband::model::Labels;
use sideband::promql::{Engine, parse};
use sideband::storage::{SourceId, Storage};

use crate::tally::Tally;

pub fn run(dir: &Path, tally: &mut Tally) {
    let text = std::fs::read_to_string(dir.join("queries.jsonl")).expect("queries.jsonl");
    let storage = demo();
    for line in text.lines().filter(|l| !l.is_empty()) {
        let case: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let query = case["query"].as_str().unwrap_or_default();
        let should_fail = case["should_fail"].as_bool().unwrap_or_default();
        tally.case(query, || match (run_one(&storage, query), should_fail) {
            (Ok(()), false) | (Err(_), true) => Ok(()),
            (Ok(()), true) => Err("did not fail".to_owned()),
            (Err(e), false) => Err(e),
        });
    }
}

fn run_one(storage: &Storage, query: &str) -> Result<(), String> {
    let expr = parse(query).map_err(|e| e.to_string())?;
    let printed = parse(&expr.to_string()).map_err(|e| format!("printed as {expr}: {e}"))?;
    if printed.to_string() != expr.to_string() {
        return Err(format!("{expr} prints as {printed}"));
    }
    let engine = Engine::default();
    engine.instant(storage, &expr, 600_000).map_err(|e| e.to_string())?;
    engine.range(storage, &expr, 300_000, 600_000, 30_000).map(|_| ()).map_err(|e| e.to_string())
}

/// Something of the shape of the demo service's metrics: three instances, ten minutes.
fn demo() -> Storage {
    let storage = Storage::in_memory();
    for t in (0..=600_000).step_by(15_000) {
        let mut appender = storage.appender(SourceId(0));
        let n = (t / 15_000) as f64;
        for (i, instance) in ["demo:10000", "demo:10001", "demo:10002"].iter().enumerate() {
            let mut put = |name: &str, more: &[(&str, &str)], v: f64| {
                let mut pairs = vec![("__name__", name), ("instance", *instance), ("job", "demo")];
                pairs.extend_from_slice(more);
                let id = appender.series(&Labels::from_pairs(pairs)).expect("room");
                appender.append(id, t, v).expect("in order");
            };
            let k = (i + 1) as f64;
            for mode in ["user", "system", "idle"] {
                put("demo_cpu_usage_seconds_total", &[("mode", mode)], n * k * 1.5);
            }
            for kind in ["used", "free", "buffers", "cached"] {
                put("demo_memory_usage_bytes", &[("type", kind)], 1e6 * k + n * 1000.0);
            }
            put("demo_num_cpus", &[], 4.0);
            put("demo_disk_usage_bytes", &[], 1e9 + n * k);
            put("demo_disk_total_bytes", &[], 2e9);
            put("demo_batch_last_success_timestamp_seconds", &[], n * 10.0);
            put("demo_batch_last_run_timestamp_seconds", &[], n * 11.0);
            put("demo_intermittent_metric", &[], n % 3.0);
            put("demo_items_shipped_total", &[], n * k);
            for le in ["0.1", "1", "+Inf"] {
                let more = [("method", "GET"), ("path", "/a"), ("status", "200"), ("le", le)];
                put("demo_api_request_duration_seconds_bucket", &more, n * k);
            }
        }
        appender.commit(t);
    }
    storage
}
