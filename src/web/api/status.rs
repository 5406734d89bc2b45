//! Facts about the process.

use std::sync::Arc;

use serde_json::json;

use super::super::params::Params;
use super::super::respond::{ApiError, ErrorKind, Success};
use super::super::state::State;
use super::blocking;
use crate::model::{GoTime, tree};
use crate::storage::StatsEntry;

/// `/status/…`.
pub(super) async fn status(state: &Arc<State>, what: &str, params: Params) -> Result<Success, ApiError> {
    match what {
        "buildinfo" => build(state),
        "runtimeinfo" => runtime(state),
        "config" => Success::of(&json!({ "yaml": state.parts.lifecycle.config_yaml() })),
        "flags" => Success::of(&tree(state.options.flags.iter().cloned())),
        "tsdb" => {
            let state = Arc::clone(state);
            blocking(move || tsdb(&state, &params)).await
        }
        "walreplay" => Success::of(&json!({ "min": 0, "max": 0, "current": 0 })),
        other => Err(ApiError::new(ErrorKind::NotFound, format_args!("no status {other:?}"))),
    }
}

fn build(state: &State) -> Result<Success, ApiError> {
    Success::of(&json!({
        "application": "sideband",
        "version": env!("CARGO_PKG_VERSION"),
        "revision": state.options.revision,
        "branch": "",
        "buildUser": "",
        "buildDate": "",
        "goVersion": "",
    }))
}

fn runtime(state: &State) -> Result<Success, ApiError> {
    let facts = state.parts.lifecycle.runtime();
    let directory = std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default();
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Success::of(&json!({
        "startTime": GoTime::nonzero(facts.started_at),
        "CWD": directory,
        "hostname": rustix::system::uname().nodename().to_string_lossy(),
        "serverTime": GoTime(Some(state.now())),
        "reloadConfigSuccess": facts.last_reload_ok,
        "pagingDurable": (state.parts.pager)().is_none_or(|p| p.is_durable()),
        "lastConfigTime": GoTime::nonzero(facts.last_reload_at),
        "corruptionCount": 0,
        "goroutineCount": 0,
        "GOMAXPROCS": cores,
        "GOMEMLIMIT": 0,
        "GOGC": "",
        "GODEBUG": "",
        "storageRetention": facts.storage_retention,
    }))
}

fn tsdb(state: &State, params: &Params) -> Result<Success, ApiError> {
    let limit = match params.get("limit") {
        "" => 10,
        text => match text.parse::<usize>() {
            Ok(n) if n > 0 => n.min(10_000),
            _ => return Err(ApiError::new(ErrorKind::BadData, "limit must be a positive number")),
        },
    };
    let stats = state.parts.storage.stats(limit);
    let list = |entries: &[StatsEntry]| -> Vec<serde_json::Value> {
        entries.iter().map(|e| json!({ "name": e.name, "value": e.value })).collect()
    };
    Success::of(&json!({
        "headStats": {
            "numSeries": stats.series,
            "numLabelPairs": stats.label_pairs,
            "chunkCount": stats.chunks,
            // What Prometheus says of an empty head.
            "minTime": stats.min_t.unwrap_or(i64::MAX),
            "maxTime": stats.max_t.unwrap_or(i64::MIN),
        },
        "seriesCountByMetricName": list(&stats.series_by_metric),
        "labelValueCountByLabelName": list(&stats.values_by_label),
        "memoryInBytesByLabelName": list(&stats.bytes_by_label),
        "seriesCountByLabelValuePair": list(&stats.series_by_pair),
    }))
}
