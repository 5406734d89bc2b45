//! The gate that changed sigma rules pass after a reload: they are replayed over the stored history, and what that says is known
//! before they page.
//!
//! The replay itself is done elsewhere, in the background; here is what a rule knows of it. Nothing is gated at a start: a rule that
//! ran before is no news, and a page that is held back by a restart would be worse than one too many.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::METRIC_NAME;

use super::file::{RuleKind, RuleSpec, SigmaSpec};
use super::group::Group;
use super::sigma_rule::band_pages;

/// `rules.reload_gate`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum GateMode {
    /// Changed rules are not replayed.
    Off,
    /// They page at once; that they would not have kept their budget is said.
    #[default]
    Warn,
    /// They page only when they would have kept their budget; until that is known, and if not, what fires is a ticket.
    Shadow,
}

/// How far the gate is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum GateState {
    /// History is being replayed.
    Replaying,
    /// The rule would have kept its budget, or has none.
    Kept,
    /// It would not.
    Over,
    /// There was no history to tell.
    Unknown,
}

/// What the replay found.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Finding {
    /// Days of history.
    pub days: f64,
    /// Pages that the bands ask for in 30 days.
    pub pages_per_month: f64,
    /// As written.
    pub budget: Option<String>,
    #[serde(skip)]
    pub state: GateState,
}

/// What a changed rule knows of its replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Gate {
    pub mode: GateMode,
    pub state: GateState,
    pub finding: Option<Finding>,
    /// Which reload it was.
    pub(super) number: u64,
}

impl Gate {
    /// Is what pages a ticket for now?
    pub fn holds(&self) -> bool {
        self.mode == GateMode::Shadow && matches!(self.state, GateState::Replaying | GateState::Over)
    }

    /// What people are told of it.
    pub(super) fn sentence(&self) -> String {
        match &self.finding {
            Some(f) => format!(
                "a ticket, not a page: the rule was changed, and over {:.1} days of history it asks for {:.1} pages in 30 days (budget {}).",
                f.days,
                f.pages_per_month,
                f.budget.as_deref().unwrap_or("none")
            ),
            None => {
                "a ticket, not a page: the rule was changed and is being replayed over history.".to_owned()
            }
        }
    }
}

/// A sigma rule that a reload changed, or brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Changed {
    /// `FILE;GROUP`
    pub group: String,
    pub rule: String,
    /// Of its file.
    pub line: u64,
    pub(super) number: u64,
}

/// The names of recorded series that mean something else than before, directly or because of what their rules read. Series that nothing
/// records any more are among them.
pub(super) fn changed_names<'a>(
    before: impl IntoIterator<Item = &'a RuleSpec>,
    after: &[&'a RuleSpec],
) -> BTreeSet<String> {
    let recorded = |rules: &mut dyn Iterator<Item = &'a RuleSpec>| {
        let mut names: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for rule in rules.filter(|r| matches!(r.kind, RuleKind::Recording)) {
            let text = format!("{} {:?}", rule.expr, rule.labels);
            names.entry(rule.name.clone()).or_default().insert(text);
        }
        names
    };
    let (before, now) = (recorded(&mut before.into_iter()), recorded(&mut after.iter().copied()));
    let mut changed: BTreeSet<String> =
        before.keys().chain(now.keys()).filter(|n| before.get(*n) != now.get(*n)).cloned().collect();
    // What reads a changed series is changed too; each round adds a name, or is the last.
    loop {
        let more: Vec<String> = after
            .iter()
            .filter(|r| matches!(r.kind, RuleKind::Recording) && !changed.contains(&r.name))
            .filter(|r| reads(r, &changed))
            .map(|r| r.name.clone())
            .collect();
        if more.is_empty() {
            return changed;
        }
        changed.extend(more);
    }
}

/// Does a rule read a series of one of these names?
fn reads(rule: &RuleSpec, names: &BTreeSet<String>) -> bool {
    let of = |name: &str| {
        rule.expr
            .selectors()
            .into_iter()
            .any(|matchers| matchers.iter().all(|m| m.name != METRIC_NAME || m.matches(name)))
    };
    names.iter().any(|name| of(name))
}

/// Does a rule page that was not so before? `before` is the group that it takes the place of; `names`: see [`changed_names`].
pub(super) fn is_changed(rule: &RuleSpec, before: Option<&Group>, names: &BTreeSet<String>) -> bool {
    let RuleKind::Sigma(spec) = &rule.kind else { return false };
    if !(0..spec.bands.len()).any(|i| band_pages(rule, spec, i)) {
        return false;
    }
    if reads(rule, names) {
        return true;
    }
    let same = |old: &SigmaSpec, of: &RuleSpec| {
        old.identity == spec.identity
            && of.expr.to_string() == rule.expr.to_string()
            && of.labels == rule.labels
    };
    !before.is_some_and(|group| {
        group.rules.iter().any(|r| match &r.spec.kind {
            // One whose replay was cut short by this reload is replayed again.
            RuleKind::Sigma(old) => {
                let replaying = |g: &Gate| g.state == GateState::Replaying;
                same(old, &r.spec) && !r.state().sigma.gate.as_ref().is_some_and(replaying)
            }
            _ => false,
        })
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::alerts::AlertState;
    use super::super::context::{Context, Settings};
    use super::super::file::{Options, parse};
    use super::*;
    use crate::model::{Alert, Labels, Timestamp};
    use crate::promql::Engine;
    use crate::storage::{SourceId, Storage};

    struct Nowhere;

    impl super::super::AlertSink for Nowhere {
        fn send(&self, _: Vec<Alert>, _: Timestamp) {}
    }

    #[test]
    fn a_rule_is_changed_by_what_feeds_it() {
        let read = |text: &str| {
            let text = format!("groups:\n- name: g\n  interval: 15s\n  rules:\n{text}");
            parse(Path::new("r.yml"), &text, Options::default()).unwrap().groups.remove(0)
        };
        let sigma = "  - {sigma: S, expr: 'job:b{x=\"1\"}', bands: [{sigma: 3, labels: {severity: page}}]}\n";
        let rules = |first: &str, second: &str| {
            format!(
                "  - {{record: 'job:a', expr: '{first}'}}\n  - {{record: 'job:b', expr: '{second}'}}\n{sigma}"
            )
        };
        let before = read(&rules("rate(x[5m])", "sum(job:a)"));
        let group = Group::new(read(&rules("rate(x[5m])", "sum(job:a)")), 15_000, 0, SourceId(9));
        for (text, changed) in [
            (rules("rate(x[5m])", "sum(job:a)"), false),
            (rules("rate( x[5m] )", "sum(job:a)"), false),
            (rules("rate(x[5m])", "sum(job:a) * 1000"), true),
            (rules("rate(x[1m])", "sum(job:a)"), true),
            (sigma.to_owned(), true),
            (format!("{}  - {{record: 'job:c', expr: job:a}}\n", rules("rate(x[5m])", "sum(job:a)")), false),
        ] {
            let after = read(&text);
            let new: Vec<&RuleSpec> = after.rules.iter().map(AsRef::as_ref).collect();
            let names = changed_names(before.rules.iter().map(AsRef::as_ref), &new);
            let is = new.iter().any(|r| is_changed(r, Some(&group), &names));
            assert_eq!(is, changed, "{text}: {names:?}");
        }
    }

    #[test]
    fn what_is_held_is_a_ticket_and_costs_no_budget_and_pages_once_it_may() {
        let text = "groups:\n- name: g\n  interval: 15s\n  rules:\n  - sigma: S\n    expr: x\n    baseline: {window: 2h, min_samples: 10, lag: 1m}\n    \
                    page_budget: 1 per 1h\n    bands:\n    - {sigma: 3, labels: {severity: page}}\n";
        let spec = parse(Path::new("r.yml"), text, Options::default()).unwrap().groups.remove(0);
        let group = Group::new(spec, 15_000, 0, SourceId(9));
        let storage = Storage::in_memory();
        let (engine, settings) = (Engine::default(), Settings::default());
        let context = Context {
            engine: &engine,
            source: &storage,
            storage: &storage,
            settings: &settings,
            replay: None,
        };
        let gate = |mode, state| Some(Gate { mode, state, finding: None, number: 1 });
        let tick = |i: i64, v: f64| {
            let mut appender = storage.appender(SourceId(1));
            let id = appender.series(&Labels::from_pairs([("__name__", "x")])).unwrap();
            appender.append(id, i * 15_000, v).unwrap();
            appender.commit(i * 15_000);
            group.evaluate(&context, &Nowhere, i * 15_000);
            let state = group.rules[0].state();
            let firing = state.book.active().into_iter().find(|a| a.state == AlertState::Firing);
            let severity = firing.and_then(|a| a.labels.get("severity").map(str::to_owned));
            (severity, state.sigma.pages.iter().count())
        };
        for i in 0..100 {
            assert_eq!(tick(i, 10.0 + (i % 5) as f64), (None, 0));
        }
        let set = |gate| group.rules[0].state().sigma.gate = gate;
        let ticket = Some("ticket".to_owned());
        set(gate(GateMode::Shadow, GateState::Replaying));
        assert_eq!(tick(100, 40.0), (ticket.clone(), 0));
        set(gate(GateMode::Shadow, GateState::Over));
        assert_eq!(tick(101, 40.0), (ticket, 0));
        set(gate(GateMode::Warn, GateState::Over));
        assert_eq!(tick(102, 40.0), (Some("page".to_owned()), 1), "it still fires, and now it pages");
        assert!(!gate(GateMode::Shadow, GateState::Unknown).unwrap().holds());
        assert!(!gate(GateMode::Shadow, GateState::Kept).unwrap().holds());
    }
}
