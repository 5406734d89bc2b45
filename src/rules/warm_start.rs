//! A warm start from a central store: what a new series has not seen itself, a Prometheus may remember.
//!
//! In the background, one rule at a time, bounded; evaluations go on meanwhile with what is known here.

use std::collections::HashMap;
use std::fmt::Debug;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use crate::model::{Labels, METRIC_NAME, Timestamp};

use super::file::{RuleKind, SigmaSpec};
use super::group::{Group, Rule};
use super::relearn::{self, History, Span, Worth};

/// The wait after a failure, which doubles, and the longest, ms.
const RETRY_MS: i64 = 60_000;
const LONGEST_RETRY_MS: i64 = 3_600_000;

/// External labels that tell one instance from the next: another one's history is better than none.
const OF_AN_INSTANCE: [&str; 9] = [
    "container_id",
    "host",
    "hostname",
    "instance",
    "node",
    "pod",
    "pod_name",
    "prometheus_replica",
    "replica",
];
/// Labels that a scrape adds to series that have none.
const OF_A_SCRAPE: [&str; 2] = ["instance", "job"];

/// What a query of the past gives, or why it gives nothing.
pub type Asked<'a> = Pin<Box<dyn Future<Output = Result<History, String>> + Send + 'a>>;

/// A store that remembers what happened before this process began.
pub trait RemoteHistory: Send + Sync + Debug {
    /// What `expr` gave from `start` to `end`, every `step` (all ms).
    fn range<'a>(&'a self, expr: &'a str, start: Timestamp, end: Timestamp, step: i64) -> Asked<'a>;
}

/// What a rule remembers of asking.
#[derive(Debug, Default)]
pub struct Asking {
    failures: u32,
    /// Not before, ms.
    next: Timestamp,
}

/// Is there a series that began here and has not been asked for yet?
pub(super) fn wants(rule: &Rule, spec: &SigmaSpec, interval_ms: i64, now: Timestamp) -> bool {
    let state = &mut rule.state().sigma;
    if now < state.asking.next {
        return false;
    }
    let window = spec.detector.config().baseline.window.ms();
    let mut any = false;
    for series in state.series.values_mut().filter(|s| s.fresh) {
        // What half a window of local history has taught needs no other.
        let learnt = series.last.map_or(0, |e| i64::try_from(e.judgement.samples).unwrap_or(i64::MAX));
        series.fresh = learnt.saturating_mul(interval_ms) < window / 2;
        any |= series.fresh && series.last.is_some();
    }
    any
}

/// Asks for the history of a rule's new series and learns from it. How many baselines that made.
///
/// # Errors
/// The store's; it is asked again later.
pub(super) async fn warm(
    remote: &dyn RemoteHistory,
    group: Arc<Group>,
    index: usize,
    external: &Labels,
    now: Timestamp,
) -> Result<usize, String> {
    let Some(rule) = group.rules.get(index) else { return Ok(0) };
    let RuleKind::Sigma(spec) = &rule.spec.kind else { return Ok(0) };
    let fresh: Vec<Labels> = {
        let state = &rule.state().sigma;
        state.series.iter().filter(|(_, s)| s.fresh).map(|(l, _)| l.clone()).collect()
    };
    let span = Span::of(spec, now, group.interval_ms, fresh.len());
    let expr = rule.spec.expr.to_string();
    let found = remote.range(&expr, span.start, span.end, span.step).await;
    let history = settle(rule, found, &fresh, now)?;
    let (group, external) = (Arc::clone(&group), external.clone());
    let learn = move || {
        let chosen = choose(&history, &fresh, &external);
        drop(history);
        match group.rules.get(index).map(|rule| (rule, &rule.spec.kind)) {
            Some((rule, RuleKind::Sigma(spec))) if !chosen.is_empty() => {
                let worth = Worth { least: 1.0, dense: span.step <= group.interval_ms };
                relearn::relearn(&group, rule, spec, chosen, None, span.end, worth).series
            }
            _ => 0,
        }
    };
    tokio::task::spawn_blocking(learn).await.map_err(|e| e.to_string())
}

/// Remembers that a rule was asked for, and when to ask again.
fn settle(
    rule: &Rule,
    found: Result<History, String>,
    fresh: &[Labels],
    now: Timestamp,
) -> Result<History, String> {
    let state = &mut rule.state().sigma;
    match found {
        Ok(history) => {
            state.asking = Asking::default();
            for labels in fresh {
                if let Some(series) = state.series.get_mut(labels) {
                    series.fresh = false;
                }
            }
            Ok(history)
        }
        Err(e) => {
            let wait = RETRY_MS << state.asking.failures.min(6);
            state.asking.failures = state.asking.failures.saturating_add(1);
            state.asking.next = now.saturating_add(wait.min(LONGEST_RETRY_MS));
            Err(e)
        }
    }
}

/// For each local series the remote one that is the same but for external labels, and agrees in most of those; of several the
/// longest.
fn choose(history: &History, local: &[Labels], external: &Labels) -> History {
    let extra = |n: &str| n == METRIC_NAME || external.get(n).is_some() || OF_A_SCRAPE.contains(&n);
    let mut wanted: HashMap<Labels, Vec<&Labels>> = HashMap::new();
    for labels in local {
        wanted.entry(labels.without(extra)).or_default().push(labels);
    }
    // How well it fits, and which it is.
    let mut best: HashMap<&Labels, ((usize, usize), usize)> = HashMap::new();
    for (i, (remote, points)) in history.iter().enumerate() {
        let Some(candidates) = wanted.get(&remote.without(extra)) else { continue };
        for labels in candidates {
            let Some(agreeing) = agrees(remote, labels, external) else { continue };
            let rank = (agreeing, points.len());
            if !points.is_empty() && best.get(labels).is_none_or(|b| b.0 < rank) {
                best.insert(labels, (rank, i));
            }
        }
    }
    best.into_iter().map(|(labels, (_, i))| (labels.clone(), history[i].1.clone())).collect()
}

/// Is `remote` the same series, seen from outside? In how many external labels do they agree?
fn agrees(remote: &Labels, local: &Labels, external: &Labels) -> Option<usize> {
    // What the series has itself must be the same, whatever its name.
    if local.iter().any(|(n, v)| remote.get(n) != Some(v)) {
        return None;
    }
    let mut agreeing = 0;
    for (n, v) in external.iter().filter(|(n, _)| local.get(n).is_none()) {
        match remote.get(n) {
            Some(other) if other == v => agreeing += 1,
            Some(_) if !OF_AN_INSTANCE.contains(&n) => return None,
            _ => {}
        }
    }
    Some(agreeing)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(text: &str) -> Labels {
        let pairs = text.split(',').filter_map(|p| p.split_once('='));
        Labels::from_pairs(pairs)
    }

    #[test]
    fn a_series_is_found_behind_external_labels() {
        let external = labels("pod=app-2,namespace=prod,cluster=c");
        let points = |n: usize| (0..n as i64).map(|t| (t, 1.0)).collect::<Vec<_>>();
        type Case<'a> = (&'a str, &'a [(&'a str, usize)], Option<usize>);
        // (local, remote series and lengths, length of the chosen one)
        let cases: [Case<'_>; 10] = [
            ("path=/a", &[("__name__=x,path=/a,pod=app-1,namespace=prod,cluster=c", 3)], Some(3)),
            (
                "path=/a",
                &[("path=/a,pod=app-1,namespace=prod", 3), ("path=/a,pod=app-0,namespace=prod", 5)],
                Some(5),
            ),
            (
                "path=/a",
                &[("path=/a,pod=app-2,namespace=prod", 3), ("path=/a,pod=app-0,namespace=prod", 5)],
                Some(3),
            ),
            ("path=/a", &[("path=/a,pod=app-1,namespace=test", 9)], None),
            ("path=/a", &[("path=/a,method=GET,namespace=prod", 9)], None),
            ("path=/a", &[("path=/b,namespace=prod", 9)], None),
            ("path=/a", &[("path=/a,job=app,instance=i:1", 4)], Some(4)),
            ("path=/a,job=app", &[("path=/a,job=other", 4)], None),
            ("path=/a,pod=worker", &[("path=/a,pod=app-2", 4), ("path=/a,pod=worker", 2)], Some(2)),
            ("", &[("pod=app-1,namespace=prod", 6)], Some(6)),
        ];
        for (local, remote, expect) in cases {
            let history: History = remote.iter().map(|(l, n)| (labels(l), points(*n))).collect();
            let found = choose(&history, &[labels(local)], &external);
            assert_eq!(found.first().map(|f| f.1.len()), expect, "{local} {remote:?}");
        }
    }
}
