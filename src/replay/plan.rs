//! In which order rules are replayed, and how far each one looks back.
//!
//! Live, every rule of a group is evaluated at one time before the next time comes. A replay works rule by rule over a long stretch
//! of times, which gives the same as long as no rule reads what a later one writes. Where one does, the replay goes time by time.

use crate::model::{METRIC_NAME, Matcher};
use crate::promql::{At, DurationExpr, DurationKind, Expr, NodeKind, Shift};
use crate::rules::file::{GroupSpec, RuleKind, RuleSpec};

/// One rule: the group's number and the rule's in it.
pub type RulePlace = (usize, usize);

/// The order of a replay.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// The rules that are replayed, in order: recording rules that nothing reads are left out.
    pub order: Vec<RulePlace>,
    /// Rules whose series are read by another.
    pub read: Vec<RulePlace>,
    /// Some rule reads what comes after it (or itself): every time must be evaluated on its own.
    pub stepwise: bool,
}

const SIGMA_SERIES: [&str; 5] = [
    "sideband_sigma_zscore",
    "sideband_sigma_center",
    "sideband_sigma_stddev",
    "sideband_sigma_ready",
    "sideband_sigma_frozen",
];
const ALERT_SERIES: [&str; 2] = ["ALERTS", "ALERTS_FOR_STATE"];

impl Plan {
    /// The plan for these groups, which are in the order of their files: for the rules that are wanted, and those that they need.
    pub fn new(groups: &[GroupSpec], wanted: impl Fn(&GroupSpec, &RuleSpec) -> bool) -> Self {
        let all: Vec<(RulePlace, &RuleSpec)> = groups
            .iter()
            .enumerate()
            .flat_map(|(g, group)| group.rules.iter().enumerate().map(move |(r, rule)| ((g, r), &**rule)))
            .collect();
        // Group `g` reads group `h`.
        let mut reads = vec![vec![false; groups.len()]; groups.len()];
        for (reader, rule) in &all {
            let selectors = rule.expr.selectors();
            for (writer, by) in &all {
                if !selectors.iter().any(|s| may_read(s, by)) {
                    continue;
                }
                reads[reader.0][writer.0] |= reader.0 != writer.0;
            }
        }
        let groups_in_order = sorted(&reads);
        let in_order: Vec<&(RulePlace, &RuleSpec)> =
            groups_in_order.iter().flat_map(|g| all.iter().filter(move |(place, _)| place.0 == *g)).collect();
        // From the end: whatever is needed for an alert.
        let mut needed = vec![false; in_order.len()];
        loop {
            let before = needed.clone();
            for (i, (_, rule)) in in_order.iter().enumerate() {
                needed[i] |= wanted(&groups[in_order[i].0.0], rule)
                    || in_order.iter().zip(&before).any(|((_, reader), n)| {
                        *n && reader.expr.selectors().iter().any(|s| may_read(s, rule))
                    });
            }
            if needed == before {
                break;
            }
        }
        let kept = || in_order.iter().zip(&needed).filter(|(_, n)| **n).map(|(rule, _)| *rule);
        let read = kept()
            .filter(|(_, rule)| {
                kept().any(|(_, reader)| reader.expr.selectors().iter().any(|s| may_read(s, rule)))
            })
            .map(|(place, _)| *place)
            .collect();
        // Whoever reads must come later; a rule that reads itself, or a circle of groups, has none that does.
        let kept: Vec<&(RulePlace, &RuleSpec)> = kept().collect();
        let stepwise = kept.iter().enumerate().any(|(i, (_, reader))| {
            let selectors = reader.expr.selectors();
            kept[i..].iter().any(|(_, by)| selectors.iter().any(|s| may_read(s, by)))
        });
        Self { order: kept.iter().map(|(place, _)| *place).collect(), read, stepwise }
    }
}

/// May a selector find series that this rule writes?
pub fn may_read(selector: &[Matcher], rule: &RuleSpec) -> bool {
    let fits = |name: &str, known: &[(&str, &str)]| {
        selector.iter().all(|m| match m.name.as_str() {
            METRIC_NAME => m.matches(name),
            label => known.iter().find(|(n, _)| *n == label).is_none_or(|(_, v)| m.matches(v)),
        })
    };
    let alerts = || ALERT_SERIES.iter().any(|name| fits(name, &[("alertname", &rule.name)]));
    match &rule.kind {
        RuleKind::Recording => {
            let known: Vec<(&str, &str)> = rule.labels.iter().collect();
            fits(&rule.name, &known)
        }
        RuleKind::Alerting(_) => alerts(),
        RuleKind::Sigma(_) => SIGMA_SERIES.iter().any(|n| fits(n, &[("rule", &rule.name)])) || alerts(),
    }
}

/// Groups so that what is read comes before who reads, as far as there is no circle. Otherwise the order stays.
fn sorted(reads: &[Vec<bool>]) -> Vec<usize> {
    let mut left: Vec<usize> = (0..reads.len()).collect();
    let mut order = Vec::with_capacity(left.len());
    while !left.is_empty() {
        let free = left.iter().position(|g| left.iter().all(|other| !reads[*g][*other]));
        order.push(left.remove(free.unwrap_or(0)));
    }
    order
}

/// How far back the expression looks for samples at the most, ms; `None` when it cannot be said beforehand.
pub fn reach(expr: &Expr, lookback_ms: i64) -> Option<i64> {
    let mut sum = Some(lookback_ms as f64);
    let mut add = |duration: Option<f64>| sum = sum.zip(duration).map(|(a, b)| a + b.abs() * 1000.0);
    let offset = |shift: &Shift| match (&shift.at, &shift.offset) {
        (Some(_), _) => None,
        (None, None) => Some(0.0),
        (None, Some(offset)) => literal(offset),
    };
    expr.root().visit(&mut |node| match &node.kind {
        NodeKind::Selector(s) => add(offset(&s.shift)),
        NodeKind::Range(r) => add(literal(&r.range)),
        NodeKind::Subquery(s) => {
            add(literal(&s.range));
            add(offset(&s.shift));
        }
        _ => {}
    });
    sum.filter(|s| *s < 1e15).map(|s| s as i64)
}

/// Gives the expression the same at a time whether it is asked for alone or within a range? Not if it asks for the range's ends or
/// step.
pub fn same_in_a_range(expr: &Expr) -> bool {
    let mut same = true;
    let plain = |shift: &Shift| {
        !matches!(shift.at, Some(At::Start | At::End))
            && shift.offset.as_ref().is_none_or(|d| literal(d).is_some())
    };
    expr.root().visit(&mut |node| match &node.kind {
        NodeKind::Selector(s) => same &= plain(&s.shift),
        NodeKind::Range(r) => same &= literal(&r.range).is_some(),
        NodeKind::Subquery(s) => {
            same &= plain(&s.shift) && literal(&s.range).is_some();
            same &= s.step.as_ref().is_none_or(|d| literal(d).is_some());
        }
        _ => {}
    });
    same
}

/// Seconds of a duration that is written as a number.
fn literal(duration: &DurationExpr) -> Option<f64> {
    match &duration.kind {
        DurationKind::Literal(n) => Some(n.value),
        DurationKind::Unary(minus, inner) => literal(inner).map(|v| if *minus { -v } else { v }),
        DurationKind::Paren(inner) => literal(inner),
        _ => None,
    }
}

/// The matchers of an expression that is nothing but a selector of the present.
pub fn plain_selector(expr: &Expr) -> Option<&[Matcher]> {
    match &expr.root().unwrap_parens().kind {
        NodeKind::Selector(s) if s.shift.at.is_none() && s.shift.offset.is_none() => Some(&s.matchers),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::promql::parse;
    use crate::rules::file::{self, Options};

    fn groups(text: &str) -> Vec<GroupSpec> {
        file::parse(Path::new("r.yml"), text, Options::default()).unwrap().groups
    }

    fn alerts(_: &GroupSpec, rule: &RuleSpec) -> bool {
        !matches!(rule.kind, RuleKind::Recording)
    }

    fn names(groups: &[GroupSpec], places: &[RulePlace]) -> Vec<String> {
        places.iter().map(|(g, r)| groups[*g].rules[*r].name.clone()).collect()
    }

    #[test]
    fn what_is_read_comes_first_and_what_nobody_needs_not_at_all() {
        let groups = groups(
            "groups:\n\
             - name: a\n  rules:\n  - {alert: A, expr: 'x:rate > 1'}\n  - {record: lonely, expr: up}\n\
             - name: b\n  rules:\n  - {record: 'y:rate', expr: up}\n  - {record: 'x:rate', expr: 'y:rate * 2'}\n\
             - name: c\n  rules:\n  - {alert: C, expr: 'ALERTS{alertname=\"A\"} == 1'}\n",
        );
        let plan = Plan::new(&groups, alerts);
        assert_eq!(names(&groups, &plan.order), ["y:rate", "x:rate", "A", "C"]);
        assert_eq!(names(&groups, &plan.read), ["y:rate", "x:rate", "A"]);
        assert!(!plan.stepwise);
    }

    #[test]
    fn reading_what_comes_later_means_time_by_time() {
        for (rules, stepwise) in [
            ("[{record: a, expr: b}, {record: b, expr: up}, {alert: X, expr: a}]", true),
            ("[{record: a, expr: 'a + 1'}, {alert: X, expr: a}]", true),
            ("[{alert: X, expr: 'up unless ALERTS{alertname=\"Y\"}'}, {alert: Y, expr: up}]", true),
            ("[{alert: X, expr: 'up unless ALERTS{alertname=\"Z\"}'}, {alert: Y, expr: up}]", false),
            ("[{record: b, expr: up}, {record: a, expr: b}, {alert: X, expr: a}]", false),
            ("[{record: b, labels: {k: v}, expr: 'b{k=\"w\"}'}, {alert: X, expr: b}]", false),
            ("[{alert: X, expr: '{job=\"x\"}'}]", true),
        ] {
            let groups = groups(&format!("groups:\n- name: a\n  rules: {rules}\n"));
            assert_eq!(Plan::new(&groups, alerts).stepwise, stepwise, "{rules}");
        }
    }

    #[test]
    fn how_far_an_expression_looks_back() {
        for (expr, want) in [
            ("a", Some(300)),
            ("rate(a[5m])", Some(600)),
            ("rate(a[5m] offset 1h) + b offset 2h", Some(300 + 300 + 3600 + 7200)),
            ("max_over_time(rate(a[5m])[1h:1m])", Some(300 + 300 + 3600)),
            ("a @ 1000", None),
        ] {
            assert_eq!(reach(&parse(expr).unwrap(), 300_000), want.map(|s: i64| s * 1000), "{expr}");
        }
        for (expr, same) in [("rate(a[5m])", true), ("a @ end()", false), ("a @ 1000", true)] {
            assert_eq!(same_in_a_range(&parse(expr).unwrap()), same, "{expr}");
        }
    }
}
