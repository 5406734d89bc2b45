//! `check rules --lint`: what is valid and still should not be kept.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;

use crate::model::{Labels, Order as _};
use crate::promql::{Extension, NodeKind};
use crate::sigma::Action;

use super::file::{RuleFile, RuleKind, RuleSpec};

/// What a finding is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lint {
    /// Two rules of a file with the same name and labels (promtool's `duplicate-rules`).
    DuplicateRules,
    /// A rule that pages says nothing about itself.
    PageWithoutSummary,
    /// A rule that pages does not say what to do.
    PageWithoutRunbook,
    /// Something that Prometheus takes only with a feature flag.
    Experimental,
}

impl Lint {
    /// As it is called on the command line.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::DuplicateRules => "duplicate-rules",
            Self::PageWithoutSummary => "page-without-summary",
            Self::PageWithoutRunbook => "page-without-runbook",
            Self::Experimental => "experimental",
        }
    }
}

/// Something unwise in a rule file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    pub file: PathBuf,
    pub line: u64,
    pub column: u64,
    pub lint: Lint,
    pub message: String,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (file, lint) = (self.file.display(), self.lint.as_str());
        write!(f, "{file}:{}:{}: {lint}: {}", self.line, self.column, self.message)
    }
}

/// Severities that wake a person.
const PAGING: [&str; 2] = ["page", "critical"];

/// Does a label set's `severity` wake a person?
pub fn pages(labels: &Labels) -> bool {
    labels.get("severity").is_some_and(|s| PAGING.contains(&s))
}

/// Does this rule ever page?
pub fn rule_pages(rule: &RuleSpec) -> bool {
    match &rule.kind {
        RuleKind::Recording => false,
        RuleKind::Alerting(_) => pages(&rule.labels),
        RuleKind::Sigma(sigma) => {
            let bands = sigma.detector.config().bands.iter().zip(&sigma.bands);
            bands.into_iter().any(|(band, labels)| {
                // A band's severity takes the place of the rule's.
                let severity = if labels.get("severity").is_some() { labels } else { &rule.labels };
                band.action == Action::Alert && pages(severity)
            })
        }
    }
}

/// Rules of a file that have the same name and the same labels, each such pair named at its later rule.
pub fn duplicates(file: &RuleFile) -> Vec<Finding> {
    let mut seen: HashMap<(&str, &Labels), u64> = HashMap::new();
    let mut findings = Vec::new();
    for group in &file.groups {
        for rule in &group.rules {
            if let Some(line) = seen.insert((&rule.name, &rule.labels), rule.line) {
                findings.push(Finding {
                    file: group.file.clone(),
                    line: rule.line,
                    column: rule.column,
                    lint: Lint::DuplicateRules,
                    message: format!(
                        "{} {} has the same name and labels as the rule in line {line}",
                        rule.name, rule.labels
                    ),
                });
            }
        }
    }
    findings
}

/// Experimental parts of the query language, by the name of Prometheus's feature flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Feature {
    /// Functions and aggregations that may still change.
    ExperimentalFunctions,
    /// `anchored` and `smoothed`.
    ExtendedRangeSelectors,
    /// `fill`, `fill_left`, `fill_right`.
    BinopFillModifiers,
}

impl Feature {
    /// As it is written behind `--enable-feature=`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ExperimentalFunctions => "promql-experimental-functions",
            Self::ExtendedRangeSelectors => "promql-extended-range-selectors",
            Self::BinopFillModifiers => "promql-binop-fill-modifiers",
        }
    }
}

/// Functions and aggregations that Prometheus calls experimental.
const EXPERIMENTAL: [&str; 18] = [
    "double_exponential_smoothing",
    "end",
    "first_over_time",
    "histogram_quantiles",
    "info",
    "mad_over_time",
    "max_of",
    "min_of",
    "range",
    "sort_by_label",
    "sort_by_label_desc",
    "start",
    "start_timestamp",
    "step",
    "ts_of_first_over_time",
    "ts_of_last_over_time",
    "ts_of_max_over_time",
    "ts_of_min_over_time",
];

/// The experimental parts that a rule file needs: each feature with the first rule that uses it. Prometheus
/// refuses them unless the feature is enabled.
pub fn experimental(file: &RuleFile) -> Vec<(Feature, Finding)> {
    let mut found: Vec<(Feature, Finding)> = Vec::new();
    for (group, rule) in file.groups.iter().flat_map(|g| g.rules.iter().map(move |r| (g, r))) {
        rule.expr.root().visit(&mut |node| {
            let feature = match &node.kind {
                NodeKind::Call(c) if EXPERIMENTAL.contains(&c.function.name) => {
                    Feature::ExperimentalFunctions
                }
                NodeKind::Aggregate(a) if matches!(a.op.name(), "limitk" | "limit_ratio") => {
                    Feature::ExperimentalFunctions
                }
                NodeKind::Selector(s) if s.extension != Extension::None => Feature::ExtendedRangeSelectors,
                NodeKind::Binary(b)
                    if b.matching
                        .as_ref()
                        .is_some_and(|m| m.fill_left.is_some() || m.fill_right.is_some()) =>
                {
                    Feature::BinopFillModifiers
                }
                _ => return,
            };
            if found.iter().all(|(f, _)| *f != feature) {
                let message = format!("{} needs the feature {}", rule.name, feature.as_str());
                let (file, line, column) = (group.file.clone(), rule.line, rule.column);
                found.push((feature, Finding { file, line, column, lint: Lint::Experimental, message }));
            }
        });
    }
    found
}

/// Everything unwise in a file.
pub fn lint(file: &RuleFile) -> Vec<Finding> {
    let mut findings = duplicates(file);
    for group in &file.groups {
        for rule in group.rules.iter().filter(|r| rule_pages(r)) {
            let annotations = rule.annotations();
            let wanted = [("summary", Lint::PageWithoutSummary), ("runbook_url", Lint::PageWithoutRunbook)];
            for (name, lint) in wanted.into_iter().filter(|(name, _)| annotations.get(name).is_none()) {
                findings.push(Finding {
                    file: group.file.clone(),
                    line: rule.line,
                    column: rule.column,
                    lint,
                    message: format!("{} pages and has no annotation {name:?}", rule.name),
                });
            }
        }
    }
    findings.order_by_key(|f| (f.line, f.column));
    findings
}
