//! What can be seen from outside.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use serde::ser::SerializeStruct as _;
use serde::{Serialize, Serializer};

use super::filter::time_muted_by;
use super::groups::Group;
use super::{Engine, Now};
use crate::model::{Alert, Fingerprint, Labels, Order as _, Timestamp};
use crate::paging::incident::Incident;
use crate::paging::notification::{alert_order, label_order};
use crate::paging::route::Route;

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
    pub inhibited_by: Vec<String>,
    pub muted_by: Vec<String>,
    pub silenced_by: Vec<String>,
    pub state: &'static str,
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
        // Many groups, few routes.
        let mut routes: HashMap<*const Route, (Vec<u32>, Vec<String>)> = HashMap::new();
        let group = |g: &Group| {
            let of_route = || (place(&g.route), time_muted_by(&self.config, &g.route, now));
            let (place, muted_by) = routes.entry(Arc::as_ptr(&g.route)).or_insert_with(of_route).clone();
            FiringGroup {
                route: Arc::clone(&g.route),
                place,
                labels: g.labels.clone(),
                members: g.alerts.iter().copied().collect(),
                muted_by,
            }
        };
        let mut groups: Vec<FiringGroup> = self.groups.values().map(group).collect();
        groups.order_by(|a, b| a.place.cmp(&b.place));
        FiringNow { alerts, groups }
    }
}

/// Where a route stands in its tree.
fn place(route: &Route) -> Vec<u32> {
    route.id.split('/').map(|index| index.parse().unwrap_or(u32::MAX)).collect()
}

/// The alerts that fire, and their groups.
pub struct FiringNow {
    /// By fingerprint.
    alerts: Vec<FiringAlert>,
    /// In the order of their routes.
    groups: Vec<FiringGroup>,
}

struct FiringGroup {
    route: Arc<Route>,
    /// In the order in which an alert comes to the routes.
    place: Vec<u32>,
    labels: Labels,
    members: Vec<Fingerprint>,
    /// The time intervals that mute it.
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
        // An alert alone is muted by no route's hours: other routes may have it too.
        self.alerts.iter().map(|a| a.view(names(a), &[])).collect()
    }

    /// The receivers of each alert, in the order of the routes.
    fn receivers(&self) -> HashMap<Fingerprint, Vec<NameView>> {
        let mut receivers: HashMap<Fingerprint, Vec<NameView>> = HashMap::new();
        for group in &self.groups {
            for fingerprint in &group.members {
                let names = receivers.entry(*fingerprint).or_default();
                let name = NameView { name: group.route.receiver.clone() };
                if !names.contains(&name) {
                    names.push(name);
                }
            }
        }
        receivers
    }

    /// For `/api/v2/alerts/groups`, by labels and receiver.
    pub fn group_views(&self) -> Vec<GroupView> {
        let mut receivers = self.receivers();
        receivers.values_mut().for_each(|names| names.order());
        let of = |f: &Fingerprint| self.alerts.binary_search_by_key(&f.0, |a| a.fingerprint.0).ok();
        let view = |group: &FiringGroup| {
            let names = |f: &Fingerprint| receivers.get(f).cloned().unwrap_or_default();
            let members: Vec<&FiringAlert> =
                group.members.iter().filter_map(|f| Some(&self.alerts[of(f)?])).collect();
            let labels: Vec<&Labels> = members.iter().map(|a| &a.alert.labels).collect();
            let view = |i: usize| members[i].view(names(&members[i].fingerprint), &group.muted_by);
            GroupView {
                labels: super::groups::owned(&group.labels),
                receiver: NameView { name: group.route.receiver.clone() },
                alerts: alert_order(&labels).into_iter().map(view).collect(),
            }
        };
        let mut groups: Vec<&FiringGroup> = self.groups.iter().collect();
        groups.order_by(|a, b| {
            label_order(&a.labels, &b.labels).then_with(|| a.route.receiver.cmp(&b.route.receiver))
        });
        groups.into_iter().map(view).collect()
    }
}

impl FiringAlert {
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
