//! What a report needs to know of an incident.

use crate::model::{Labels, Timestamp};
use crate::paging::incident::{Incident, Verdict};

/// One incident, as a report counts it. Times are ms since the epoch.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Facts {
    pub id: u64,
    /// The names of the rules whose alerts are in it.
    pub rules: Vec<String>,
    /// The label sets of its alerts.
    pub series: Vec<String>,
    pub severity: String,
    pub triggered_at: Timestamp,
    /// The first acknowledgement: when, and by whom.
    pub acknowledged: Option<(Timestamp, String)>,
    pub resolved_at: Option<Timestamp>,
    /// Who closed it by hand.
    pub closed_by: Option<String>,
    /// Who was paged, and when; automations are not in it.
    pub pages: Vec<(String, Timestamp)>,
    /// Did an automation run?
    pub automated: bool,
    /// What people said of it afterwards.
    pub useful: Option<bool>,
    pub drill: bool,
    /// Of a drill: was every step delivered?
    pub delivered: bool,
}

impl From<&Incident> for Facts {
    fn from(i: &Incident) -> Self {
        let mut rules: Vec<String> = Vec::new();
        let names = i.alerts.iter().filter_map(|a| a.labels.get("alertname"));
        for name in names.chain(i.group_labels.get("alertname")) {
            if !rules.contains(name) {
                rules.push(name.clone());
            }
        }
        if rules.is_empty() {
            rules.push("(no alertname)".to_owned());
        }
        let pages = i.notified.iter().filter(|n| !n.automation);
        Self {
            id: i.id,
            rules,
            series: i.alerts.iter().map(|a| Labels::from_pairs(&a.labels).to_string()).collect(),
            severity: i.severity_name.clone(),
            triggered_at: i.triggered_at,
            acknowledged: i.first_acknowledged.clone(),
            resolved_at: i.resolved_at,
            closed_by: i.closed_by.as_ref().map(|a| a.by.clone()),
            pages: pages.map(|n| (n.whom().to_owned(), n.at)).collect(),
            automated: i.notified.iter().any(|n| n.automation),
            useful: i.judged.as_ref().map(|j| j.verdict == Verdict::Useful),
            drill: i.drill,
            delivered: i.is_delivered(),
        }
    }
}
