//! After a reload, replays the sigma rules that it changed over the stored history, in the background.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::model::Timestamp;
use crate::replay::{History, ReplayError, ReplayOptions, Replayer, Report, RuleReport, Window};
use crate::rules::file::RuleFile;
use crate::rules::{Changed, Finding, GateState, Manager, group_key};
use crate::storage::Storage;

/// History that is looked at, ms: 30 days, which is what budgets are written for.
const SPAN_MS: i64 = 30 * 86_400_000;
/// Less history than this tells nothing, days: an hour.
const FEWEST_DAYS: f64 = 1.0 / 24.0;
/// After each stretch of work it rests for as long, but not longer than this: evaluations and pages come first.
const LONGEST_REST: Duration = Duration::from_secs(2);

/// A replay that goes on. Dropping it stops it.
pub struct Gate {
    stop: Arc<AtomicBool>,
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// What a replay needs.
pub struct Parts {
    pub manager: Manager,
    pub storage: Storage,
    pub files: Vec<RuleFile>,
    pub options: ReplayOptions,
    pub changed: Vec<Changed>,
    /// ms.
    pub now: Timestamp,
}

/// Starts it on a thread of its own; none if nothing was changed.
pub fn start(parts: Parts) -> Option<Gate> {
    if parts.changed.is_empty() {
        return None;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let stopped = Arc::clone(&stop);
    let thread = std::thread::Builder::new().name("reload-gate".to_owned());
    if let Err(error) = thread.spawn(move || replay(&parts, &stopped)) {
        tracing::error!(%error, "changed rules are not replayed");
    }
    Some(Gate { stop })
}

fn replay(parts: &Parts, stopped: &AtomicBool) {
    let started = Instant::now();
    let names: Vec<&str> = parts.changed.iter().map(|c| c.rule.as_str()).collect();
    tracing::info!(rules = names.join(", "), "replaying changed sigma rules over the stored history");
    let mut replayer = Replayer::only(&parts.files, parts.options.clone(), |group, rule| {
        let key = group_key(&group.file, &group.name);
        parts.changed.iter().any(|c| c.group == key && c.rule == rule.name)
    });
    let report = match over(&mut replayer, parts, stopped) {
        Ok(report) => report,
        Err(ReplayError::Stopped) => return,
        Err(error) => {
            tracing::warn!(%error, "changed rules cannot be replayed");
            Report { rules: Vec::new() }
        }
    };
    for changed in &parts.changed {
        let found = report.rules.iter().find(|r| r.rule == changed.rule && r.line == changed.line);
        let finding = finding(found);
        let (rule, days, pages) = (&changed.rule, finding.days, finding.pages_per_month);
        let budget = finding.budget.as_deref().unwrap_or("none");
        match finding.state {
            GateState::Over => {
                tracing::warn!(
                    rule,
                    days,
                    pages_per_month = pages,
                    budget,
                    "a changed rule would not have kept its page budget"
                );
            }
            GateState::Kept => {
                tracing::info!(rule, days, pages_per_month = pages, budget, "a changed rule was replayed");
            }
            _ => tracing::info!(rule, days, "there is too little history to replay a changed rule"),
        }
        parts.manager.gated(changed, finding);
    }
    tracing::debug!(seconds = started.elapsed().as_secs_f64(), "the replay of changed rules is done");
}

fn over(replayer: &mut Replayer, parts: &Parts, stopped: &AtomicBool) -> Result<Report, ReplayError> {
    let Some((first, last)) = parts.storage.extent() else { return Ok(Report { rules: Vec::new() }) };
    let to = last.min(parts.now);
    let from = first.max(to.saturating_sub(SPAN_MS));
    let learn_from = first.max(from.saturating_sub(replayer.learning_ms()));
    let mut worked = Instant::now();
    let mut progress = |_: f64| {
        std::thread::sleep(worked.elapsed().min(LONGEST_REST));
        worked = Instant::now();
        !stopped.load(Ordering::Relaxed)
    };
    replayer.over_grid(&History::Local(&parts.storage), Window { learn_from, from, to }, &mut progress)?;
    Ok(Report::new(replayer, None, None))
}

fn finding(report: Option<&RuleReport>) -> Finding {
    let known = report.filter(|r| r.days >= FEWEST_DAYS);
    let rate = |r: &RuleReport| r.asked as f64 * 30.0 / r.days;
    Finding {
        days: report.map_or(0.0, |r| r.days),
        pages_per_month: known.map_or(0.0, rate),
        budget: report.and_then(|r| r.budget.clone()),
        state: match known {
            None => GateState::Unknown,
            Some(r) if r.over_budget => GateState::Over,
            Some(_) => GateState::Kept,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::model::{Alert, Labels, ManualClock};
    use crate::promql::Engine;
    use crate::rules::file::{Options, parse};
    use crate::rules::{AlertSink, GateMode, Loaded, RuleMetrics};
    use crate::storage::SourceId;

    struct Nowhere;

    impl AlertSink for Nowhere {
        fn send(&self, _: Vec<Alert>, _: Timestamp) {}
    }

    const HOUR: i64 = 3_600_000;
    const NOW: i64 = 1_700_000_000_000 / HOUR * HOUR;

    /// Two days of a quiet gauge that jumps for 10 minutes every 6 hours.
    fn history() -> Storage {
        let storage = Storage::in_memory();
        for i in 0..48 * 60 {
            let t = NOW - 48 * HOUR + i * 60_000;
            let jump = if i % 360 >= 350 { 50.0 } else { 0.0 };
            let mut appender = storage.appender(SourceId(1));
            let id = appender.series(&Labels::from_pairs([("__name__", "x")])).unwrap();
            appender.append(id, t, 10.0 + (i % 7) as f64 + jump).unwrap();
            appender.commit(t);
        }
        storage
    }

    fn files(sigma: u32, budget: &str) -> Vec<RuleFile> {
        let text = format!(
            "groups:\n- name: g\n  interval: 1m\n  rules:\n  - {{alert: Other, expr: x > 1}}\n  - sigma: S\n    expr: x\n    \
             baseline: {{window: 6h, min_samples: 30}}\n    bands: [{{sigma: {sigma}, labels: {{severity: page}}}}]\n{budget}"
        );
        vec![parse(Path::new("r.yml"), &text, Options::default()).unwrap()]
    }

    #[test]
    fn changed_rules_are_replayed_and_held_back_when_they_are_over_their_budget() {
        let storage = history();
        let manager = Manager::new(crate::rules::Parts {
            storage: storage.clone(),
            source: Arc::new(storage.clone()),
            engine: Engine::default(),
            clock: Arc::new(ManualClock::new(NOW)),
            sink: Arc::new(Nowhere),
            metrics: RuleMetrics::default(),
            baseline_file: None,
        });
        let budget = "    page_budget: 2 per 30d\n";
        // The rules, the mode; what is changed, and what comes of it: state, held.
        type Case = (Vec<RuleFile>, GateMode, Option<(GateState, bool)>);
        let cases: [Case; 8] = [
            (files(4, budget), GateMode::Shadow, None),
            (files(4, budget), GateMode::Shadow, None),
            (files(5, budget), GateMode::Shadow, Some((GateState::Over, true))),
            (files(60, budget), GateMode::Shadow, Some((GateState::Kept, false))),
            (files(5, budget), GateMode::Warn, Some((GateState::Over, false))),
            (files(6, ""), GateMode::Shadow, Some((GateState::Kept, false))),
            (files(7, ""), GateMode::Off, None),
            (files(7, ""), GateMode::Shadow, None),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
            let running = manager.clone();
            let task = tokio::spawn(async move {
                running
                    .run(async {
                        let _ = stopped.await;
                    })
                    .await;
            });
            for (i, (files, mode, want)) in cases.into_iter().enumerate() {
                let loaded = Loaded { files: files.clone(), gate: mode, ..Loaded::default() };
                let changed = manager.apply(loaded, || SourceId(7)).await;
                assert_eq!(!changed.is_empty(), want.is_some(), "{i}: {changed:?}");
                let view = || {
                    let groups = manager.groups();
                    groups[0].rules[1].sigma.as_ref().unwrap().gate.clone()
                };
                if want.is_some() {
                    let before = view().unwrap();
                    assert_eq!(
                        (before.state, before.holds),
                        (GateState::Replaying, mode == GateMode::Shadow)
                    );
                }
                let parts = Parts {
                    manager: manager.clone(),
                    storage: storage.clone(),
                    files,
                    options: ReplayOptions::default(),
                    changed: changed.clone(),
                    now: NOW,
                };
                replay(&parts, &AtomicBool::new(false));
                let got = view().filter(|_| want.is_some()).map(|g| (g.state, g.holds));
                assert_eq!(got, want, "{i}: {:?}", view());
                if want.is_some() {
                    let days = view().unwrap().days.unwrap();
                    assert!((1.9..2.1).contains(&days), "{i}: {days}");
                }
            }
            let _ = stop.send(());
            task.await.unwrap();
        });
    }

    #[test]
    fn without_history_nothing_is_known_and_nothing_held() {
        let report = finding(None);
        assert_eq!((report.state, report.pages_per_month), (GateState::Unknown, 0.0));
    }
}
