//! What can be seen from outside.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::filter::time_muted;
use super::groups::Group;
use super::{Engine, Now};
use crate::model::{Alert, Fingerprint, Labels, Order as _, Timestamp};
use crate::paging::incident::Incident;

/// An alert for `/api/v2/alerts`.
#[derive(Debug, Clone)]
pub struct AlertView {
    pub alert: Arc<Alert>,
    pub fingerprint: Fingerprint,
    pub receivers: Vec<NameView>,
    pub status: AlertStatusView,
}

impl Serialize for AlertView {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let a = &self.alert;
        let mut view = serializer.serialize_struct("Alert", 9)?;
        view.serialize_field("labels", &a.labels)?;
        view.serialize_field("annotations", &a.annotations)?;
        view.serialize_field("startsAt", &ApiTime(a.starts_at))?;
        view.serialize_field("endsAt", &ApiTime(a.ends_at))?;
        view.serialize_field("updatedAt", &ApiTime(a.updated_at))?;
        if !a.generator_url.is_empty() {
            view.serialize_field("generatorURL", &a.generator_url)?;
        }
        view.serialize_field("fingerprint", &self.fingerprint.to_string())?;
        view.serialize_field("receivers", &self.receivers)?;
        view.serialize_field("status", &self.status)?;
        view.end()
    }
}

/// A time as `/api/v2` writes it: always with milliseconds.
struct ApiTime(Timestamp);

impl std::fmt::Display for ApiTime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match jiff::Timestamp::from_millisecond(self.0) {
            Ok(t) => write!(f, "{t:.3}"),
            Err(_) => f.write_str("0001-01-01T00:00:00.000Z"),
        }
    }
}

impl Serialize for ApiTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// Whether an alert is muted, and by what.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct AlertStatusView {
    pub state: &'static str,
    pub silenced_by: Vec<String>,
    pub inhibited_by: Vec<String>,
    pub muted_by: Vec<String>,
}

/// A name in an object of its own, as the API has it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct NameView {
    pub name: String,
}

/// A group for `/api/v2/alerts/groups`.
#[derive(Debug, Clone, Serialize)]
pub struct GroupView {
    pub labels: BTreeMap<String, String>,
    pub receiver: NameView,
    pub alerts: Vec<AlertView>,
}

/// A time as `/api/v2` writes it: always with milliseconds.
pub fn api_time(t: Timestamp) -> String {
    ApiTime(t).to_string()
}

impl Engine {
    /// The incidents in memory, the newest first: all that are open, and the last that were resolved.
    pub fn recent(&self) -> Vec<Arc<Incident>> {
        self.incidents.shared().rev().cloned().collect()
    }

    /// One incident, when it is in memory.
    pub fn incident(&self, id: u64) -> Option<&Incident> {
        self.incidents.get(&id)
    }

    /// All incidents in memory.
    pub fn incidents(&self) -> impl Iterator<Item = &Incident> {
        self.incidents.values()
    }

    /// What muting says of the alerts that fire now, to make views of elsewhere.
    pub fn firing_now(&self, now: Now) -> FiringNow {
        let rules = &self.config.inhibit_rules;
        let inhibitor = self.inhibitor(now);
        let firing = self.alerts.iter().filter(|(_, e)| !e.alert.resolved_at(now.wall));
        let mut alerts: Vec<FiringAlert> = firing
            .map(|(fingerprint, entry)| FiringAlert {
                fingerprint: *fingerprint,
                silenced_by: self.silenced_by(&entry.alert, now).map(str::to_owned).collect(),
                inhibited_by: inhibitor.muted_by(rules, &entry.alert.labels),
                alert: Arc::clone(&entry.alert),
            })
            .collect();
        alerts.sort_by_key(|a| a.fingerprint.0);
        let group = |g: &Group| FiringGroup {
            receiver: g.route.receiver.clone(),
            labels: g.labels.clone(),
            members: g.alerts.iter().copied().collect(),
            muted_by: time_muted(&self.config, &g.route, now).into_iter().map(str::to_owned).collect(),
        };
        let groups = self.groups.values().map(group).collect();
        FiringNow { alerts, groups }
    }
}

/// The alerts that fire, and their groups.
pub struct FiringNow {
    /// By fingerprint.
    alerts: Vec<FiringAlert>,
    groups: Vec<FiringGroup>,
}

struct FiringGroup {
    receiver: String,
    labels: Labels,
    members: Vec<Fingerprint>,
    /// Time intervals.
    muted_by: Vec<String>,
}

struct FiringAlert {
    fingerprint: Fingerprint,
    alert: Arc<Alert>,
    silenced_by: Vec<String>,
    inhibited_by: Option<Fingerprint>,
}

impl FiringNow {
    /// For `/api/v2/alerts`.
    pub fn alert_views(&self) -> Vec<AlertView> {
        let receivers = self.receivers();
        let names = |a: &FiringAlert| receivers.get(&a.fingerprint).cloned().unwrap_or_default();
        self.alerts.iter().map(|a| a.view(names(a), &[])).collect()
    }

    /// The receivers of each alert.
    fn receivers(&self) -> HashMap<Fingerprint, Vec<NameView>> {
        let mut receivers: HashMap<Fingerprint, Vec<NameView>> = HashMap::new();
        for group in &self.groups {
            for fingerprint in &group.members {
                let names = receivers.entry(*fingerprint).or_default();
                let name = NameView { name: group.receiver.clone() };
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        receivers
    }

    /// For `/api/v2/alerts/groups`, by receiver and labels.
    pub fn group_views(&self) -> Vec<GroupView> {
        let receivers = self.receivers();
        let of = |f: &Fingerprint| self.alerts.binary_search_by_key(&f.0, |a| a.fingerprint.0).ok();
        let view = |group: &FiringGroup| {
            let receiver = NameView { name: group.receiver.clone() };
            let names = |f: &Fingerprint| receivers.get(f).cloned().unwrap_or_default();
            let alert = |f: &Fingerprint| Some(self.alerts[of(f)?].view(names(f), &group.muted_by));
            let alerts = group.members.iter().filter_map(alert).collect();
            GroupView { labels: super::groups::owned(&group.labels), alerts, receiver }
        };
        let mut views: Vec<GroupView> = self.groups.iter().map(view).collect();
        views.order_by(|a, b| (&a.receiver, &a.labels).cmp(&(&b.receiver, &b.labels)));
        views
    }
}

impl FiringAlert {
    /// `muted_by` are the time intervals that hold its group back.
    fn view(&self, receivers: Vec<NameView>, muted_by: &[String]) -> AlertView {
        let inhibited_by: Vec<String> = self.inhibited_by.iter().map(ToString::to_string).collect();
        let muted = !self.silenced_by.is_empty() || !inhibited_by.is_empty() || !muted_by.is_empty();
        AlertView {
            alert: Arc::clone(&self.alert),
            fingerprint: self.fingerprint,
            receivers,
            status: AlertStatusView {
                state: if muted { "suppressed" } else { "active" },
                silenced_by: self.silenced_by.clone(),
                inhibited_by,
                muted_by: muted_by.to_vec(),
            },
        }
    }
}
