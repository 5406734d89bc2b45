//! What a person says of an incident reaches the rules behind its alerts.

use super::views::{Baseline, CommandError, IncidentFeedback, RuleFeedback};
use crate::model::{Labels, Timestamp};
use crate::paging::IncidentView;
use crate::paging::incident::Verdict;
use crate::rules::{Feedback, Manager, Taken, Target};

/// Tells the sigma rules behind an incident's alerts. May read much history: not for a thread that must not wait.
pub(super) fn of_incident(
    rules: &Manager,
    incident: &IncidentView,
    said: &IncidentFeedback,
    now: Timestamp,
) -> Taken {
    let over = incident.resolved_at.unwrap_or(now);
    let mut taken = Taken::default();
    let mut elsewhere = 0;
    for alert in &incident.alerts {
        let target = Target::Alert(Labels::from_pairs(&alert.labels));
        let (from, to) = (alert.starts_at, over);
        let mut found = Taken::default();
        if let Some(verdict) = said.verdict {
            let useful = verdict == Verdict::Useful;
            found.add(rules.feedback(&target, &Feedback::Judged { from, to, useful }));
        }
        if let Some(baseline) = said.baseline {
            let (from, to) = (said.from.unwrap_or(from), said.to.unwrap_or(to));
            let rules_before = found.rules;
            found.add(rules.feedback(&target, &of_baseline(baseline, from, to)));
            // The same rule twice is one rule.
            found.rules -= rules_before.min(found.rules - rules_before);
        }
        elsewhere += usize::from(found.rules == 0);
        taken.add(found);
    }
    if elsewhere > 0 {
        taken.notes.push(format!(
            "{elsewhere} of {} alerts are of no sigma rule that is evaluated here: for those the incident alone says it",
            incident.alerts.len()
        ));
    }
    taken
}

/// Tells the sigma rules of a name.
pub(super) fn of_rule(rules: &Manager, said: &RuleFeedback) -> Result<Taken, CommandError> {
    let target =
        Target::Rule { group: said.group.clone(), rule: said.rule.clone(), series: said.series.clone() };
    let taken = rules.feedback(&target, &of_baseline(said.baseline, said.from, said.to));
    if taken.rules == 0 {
        return Err(CommandError::NotFound(format!("no sigma rule {:?}", said.rule)));
    }
    Ok(taken)
}

fn of_baseline(baseline: Baseline, from: Timestamp, to: Timestamp) -> Feedback {
    match baseline {
        Baseline::Incident => Feedback::Incident { from, to },
        Baseline::NewNormal => Feedback::NewNormal,
    }
}
