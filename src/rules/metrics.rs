//! Self-metrics of rule groups, named as Prometheus names its own.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::telemetry::LabelValue;

use super::budget::{Level, Policy};
use super::file::RuleKind;
use super::gate::Gate;
use super::group::{Group, Outcome};
use super::pages::EXPLAINED_MS;

const VERDICTS: [&str; 3] = ["useful", "useless", "unjudged"];

/// `FILE;GROUP`
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct GroupLabel {
    rule_group: LabelValue,
}

/// A sigma rule, of whatever group.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RuleLabel {
    rule_group: LabelValue,
    rule: LabelValue,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct VerdictLabel {
    rule_group: LabelValue,
    rule: LabelValue,
    verdict: &'static str,
}

type Float = Gauge<f64, AtomicU64>;

/// What the evaluation of rules counts.
#[derive(Debug, Clone, Default)]
pub struct RuleMetrics {
    evaluations: Family<GroupLabel, Counter>,
    failures: Family<GroupLabel, Counter>,
    iterations: Family<GroupLabel, Counter>,
    missed: Family<GroupLabel, Counter>,
    refused: Family<GroupLabel, Counter>,
    duration: Family<GroupLabel, Float>,
    last: Family<GroupLabel, Float>,
    interval: Family<GroupLabel, Float>,
    rules: Family<GroupLabel, Gauge>,
    samples: Family<GroupLabel, Gauge>,
    sigma_pages: Family<VerdictLabel, Gauge>,
    sigma_factor: Family<RuleLabel, Float>,
    gate_pages: Family<RuleLabel, Float>,
    gate_holds: Family<RuleLabel, Gauge>,
    baselines: Gauge,
    warmed: Counter,
    not_warmed: Counter,
    baseline_saves: Counter,
    baseline_failures: Counter,
    lost_commits: Counter,
}

impl RuleMetrics {
    /// Registers everything under `sideband_rule_…`.
    pub fn register(registry: &mut Registry) -> Self {
        let m = Self::default();
        registry.register("sideband_rule_evaluations", "Rules evaluated", m.evaluations.clone());
        registry.register(
            "sideband_rule_evaluation_failures",
            "Evaluations of rules that failed",
            m.failures.clone(),
        );
        registry.register("sideband_rule_group_iterations", "Evaluations of groups", m.iterations.clone());
        registry.register(
            "sideband_rule_group_iterations_missed",
            "Evaluations of groups left out because an earlier one took too long",
            m.missed.clone(),
        );
        registry.register(
            "sideband_rule_baselines_warmed",
            "Baselines that were learnt from the history of a central store",
            m.warmed.clone(),
        );
        registry.register(
            "sideband_rule_warm_start_failures",
            "Questions to a central store for history that failed",
            m.not_warmed.clone(),
        );
        registry.register(
            "sideband_sigma_rule_pages",
            "Pages of a sigma rule in the last 30 days, by what people said of them",
            m.sigma_pages.clone(),
        );
        registry.register(
            "sideband_sigma_rule_page_factor",
            "By how much earlier pages have widened the paging bands of a sigma rule",
            m.sigma_factor.clone(),
        );
        registry.register(
            "sideband_sigma_rule_gate_pages_per_month",
            "Pages in 30 days that a changed sigma rule asks for over the stored history",
            m.gate_pages.clone(),
        );
        registry.register(
            "sideband_sigma_rule_gate_holds",
            "Whether the gate of the last reload makes tickets of the pages of a changed sigma rule",
            m.gate_holds.clone(),
        );
        registry.register(
            "sideband_rule_samples_refused",
            "Samples of rules that the storage did not take",
            m.refused.clone(),
        );
        registry.register(
            "sideband_rule_group_last_duration_seconds",
            "Duration of the group's last evaluation",
            m.duration.clone(),
        );
        registry.register(
            "sideband_rule_group_last_evaluation_timestamp_seconds",
            "Timestamp of the group's last evaluation",
            m.last.clone(),
        );
        registry.register(
            "sideband_rule_group_interval_seconds",
            "Interval of the group",
            m.interval.clone(),
        );
        registry.register("sideband_rule_group_rules", "Rules of the group", m.rules.clone());
        registry.register(
            "sideband_rule_group_last_evaluation_samples",
            "Samples that the group's last evaluation gave",
            m.samples.clone(),
        );
        registry.register("sideband_sigma_baselines", "Baselines that are kept", m.baselines.clone());
        registry.register(
            "sideband_sigma_baseline_saves",
            "Times the baselines were written",
            m.baseline_saves.clone(),
        );
        registry.register(
            "sideband_sigma_baseline_save_failures",
            "Times the baselines could not be written",
            m.baseline_failures.clone(),
        );
        registry.register(
            "sideband_rule_commits_lost",
            "Announcements of samples that the rules were too slow to hear",
            m.lost_commits.clone(),
        );
        m
    }

    fn label(group: &Group) -> GroupLabel {
        GroupLabel { rule_group: group.key().into() }
    }

    pub(super) fn added(&self, group: &Group) {
        let label = Self::label(group);
        self.interval.get_or_create(&label).set(group.interval_ms as f64 / 1000.0);
        self.rules.get_or_create(&label).set(group.rules.len() as i64);
        for counter in [&self.evaluations, &self.failures, &self.iterations, &self.missed] {
            counter.get_or_create(&label).inc_by(0);
        }
    }

    pub(super) fn removed(&self, group: &Group) {
        let label = Self::label(group);
        for counter in [&self.evaluations, &self.failures, &self.iterations, &self.missed, &self.refused] {
            counter.remove(&label);
        }
        for gauge in [&self.duration, &self.last, &self.interval] {
            gauge.remove(&label);
        }
        for gauge in [&self.rules, &self.samples] {
            gauge.remove(&label);
        }
        self.rules_removed(group);
    }

    /// The rules of a group may be others from now on.
    pub(super) fn rules_removed(&self, group: &Group) {
        for rule in group.rules.iter().filter(|r| matches!(r.spec.kind, RuleKind::Sigma(_))) {
            let (rule_group, rule): (LabelValue, LabelValue) =
                (group.key().into(), rule.spec.name.as_str().into());
            for verdict in VERDICTS {
                let (rule_group, rule) = (rule_group.clone(), rule.clone());
                self.sigma_pages.remove(&VerdictLabel { rule_group, rule, verdict });
            }
            let label = RuleLabel { rule_group, rule };
            self.sigma_factor.remove(&label);
            self.gate_pages.remove(&label);
            self.gate_holds.remove(&label);
        }
    }

    /// What is known of a rule that a reload changed.
    pub(super) fn gated(&self, group: &Group, rule: &str, gate: Option<&Gate>) {
        let Some(gate) = gate else { return };
        let label = RuleLabel { rule_group: group.key().into(), rule: rule.into() };
        self.gate_holds.get_or_create(&label).set(i64::from(gate.holds()));
        if let Some(finding) = &gate.finding {
            self.gate_pages.get_or_create(&label).set(finding.pages_per_month);
        }
    }

    /// What the pages of a group's sigma rules were worth.
    fn pages(&self, group: &Group, now: i64) {
        for rule in &group.rules {
            let RuleKind::Sigma(spec) = &rule.spec.kind else { continue };
            let (tally, factor) = {
                let state = rule.state();
                let level = Level::of(&Policy::of(&rule.spec, spec), &state.sigma.pages, now);
                (state.sigma.pages.tally(now, EXPLAINED_MS), level.factor)
            };
            let (rule_group, rule): (LabelValue, LabelValue) =
                (group.key().into(), rule.spec.name.as_str().into());
            let counts = [tally.useful, tally.useless, tally.unjudged()];
            for (verdict, count) in VERDICTS.into_iter().zip(counts) {
                let (rule_group, rule) = (rule_group.clone(), rule.clone());
                let label = VerdictLabel { rule_group, rule, verdict };
                self.sigma_pages.get_or_create(&label).set(i64::try_from(count).unwrap_or(i64::MAX));
            }
            self.sigma_factor.get_or_create(&RuleLabel { rule_group, rule }).set(factor);
        }
    }

    pub(super) fn evaluated(&self, group: &Group, ts: i64, missed: u64, outcome: Outcome) {
        let label = Self::label(group);
        self.evaluations.get_or_create(&label).inc_by(group.rules.len() as u64);
        self.failures.get_or_create(&label).inc_by(outcome.failures as u64);
        // As in Prometheus, what was missed is among the iterations.
        self.iterations.get_or_create(&label).inc_by(1 + missed);
        self.missed.get_or_create(&label).inc_by(missed);
        if outcome.refused > 0 {
            self.refused.get_or_create(&label).inc_by(outcome.refused as u64);
        }
        self.duration.get_or_create(&label).set(outcome.duration_s);
        self.last.get_or_create(&label).set(ts as f64 / 1000.0);
        self.samples.get_or_create(&label).set(outcome.samples as i64);
        self.pages(group, ts);
    }

    pub(super) fn saved(&self, baselines: Result<usize, ()>) {
        match baselines {
            Ok(count) => {
                self.baselines.set(count as i64);
                self.baseline_saves.inc();
            }
            Err(()) => {
                self.baseline_failures.inc();
            }
        }
    }

    pub(super) fn warmed(&self, baselines: usize) {
        self.warmed.inc_by(baselines as u64);
    }

    pub(super) fn not_warmed(&self) {
        self.not_warmed.inc();
    }

    pub(super) fn lost(&self, commits: u64) {
        self.lost_commits.inc_by(commits);
    }
}
