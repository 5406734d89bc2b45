//! Targets and what they said of their metrics.

use std::collections::BTreeMap;

use serde::Serialize;

use super::super::params::Params;
use super::super::respond::{ApiError, Success};
use super::super::state::State;
use crate::model::{MetricMetadata, Order as _, set, tree};
use crate::scrape::{DroppedTargetView, TargetView};

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Targets {
    active_targets: Vec<TargetView>,
    dropped_targets: Vec<DroppedTargetView>,
    dropped_target_counts: BTreeMap<String, usize>,
}

/// `/targets`.
pub(super) fn targets(state: &State, params: &Params) -> Result<Success, ApiError> {
    let wanted = params.get("state").to_ascii_lowercase();
    let pool = params.get("scrapePool");
    let of_pool = |name: &str| pool.is_empty() || pool == name;
    let any = wanted.is_empty() || wanted == "any";
    let mut active = Vec::new();
    if any || wanted == "active" {
        active = state.parts.targets.active();
        active.retain(|t| of_pool(&t.scrape_pool));
    }
    let mut dropped = Vec::new();
    let mut counts = BTreeMap::new();
    if any || wanted == "dropped" {
        (dropped, counts) = state.parts.targets.dropped();
        dropped.retain(|t| of_pool(&t.scrape_pool));
        counts.retain(|name, _| of_pool(name));
    }
    Success::of(&Targets { active_targets: active, dropped_targets: dropped, dropped_target_counts: counts })
}

/// `/scrape_pools`.
pub(super) fn pools(state: &State) -> Result<Success, ApiError> {
    let pools: std::collections::BTreeSet<_> =
        set(state.parts.targets.active().into_iter().map(|t| t.scrape_pool));
    Success::of(&serde_json::json!({ "scrapePools": pools }))
}

fn described(m: &MetricMetadata) -> serde_json::Value {
    serde_json::json!({ "type": m.kind.as_str(), "help": m.help, "unit": m.unit })
}

/// `/metadata`.
pub(super) fn metadata(state: &State, params: &Params) -> Result<Success, ApiError> {
    let limit = params.limit("limit")?.unwrap_or(usize::MAX);
    // One description is known of each metric, so a limit per metric changes nothing.
    params.limit("limit_per_metric")?;
    let storage = &state.parts.storage;
    let known: BTreeMap<String, MetricMetadata> = match params.get("metric") {
        "" => tree(storage.all_metadata()),
        name => tree(storage.metadata(name).map(|m| (name.to_owned(), m))),
    };
    let all: BTreeMap<&str, [serde_json::Value; 1]> =
        tree(known.iter().take(limit).map(|(name, m)| (name.as_str(), [described(m)])));
    Success::of(&all)
}

/// `/targets/metadata`: as it is known, which is for all targets alike.
pub(super) fn target_metadata(state: &State, params: &Params) -> Result<Success, ApiError> {
    let limit = params.limit("limit")?.unwrap_or(usize::MAX);
    let selector = match params.get("match_target") {
        "" => Vec::new(),
        text => super::series_selector(text)?,
    };
    let wanted = params.get("metric");
    let mut known = state.parts.storage.all_metadata();
    known.retain(|(name, _)| wanted.is_empty() || wanted == name);
    known.order_by(|a, b| a.0.cmp(&b.0));
    let mut all = Vec::new();
    for target in state.parts.targets.active() {
        if !selector.iter().all(|m| m.matches_labels(&target.labels)) {
            continue;
        }
        for (name, m) in &known {
            if all.len() >= limit {
                return Success::of(&all);
            }
            let mut one = described(m);
            one["target"] = serde_json::json!(target.labels);
            if wanted.is_empty() {
                one["metric"] = serde_json::json!(name);
            }
            all.push(one);
        }
    }
    Success::of(&all)
}
