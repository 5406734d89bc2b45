//! The file as it is written: Alertmanager's sections, and ours beside them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::callbacks::CallbacksConfig;
use super::scalar::{Bool, MatcherList, SecretUrl, Url, nullable};
use crate::model::yaml::{Raw, Spanned};
use crate::model::{Duration, set};
use crate::net::http::HttpClientConfig;
use crate::paging::matcher::{MatcherSyntax, Matchers};
use crate::paging::route::merge_matchers;
use crate::paging::time_interval::TimeInterval;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// A [`Global`](super::global::Global).
    pub global: Option<Raw>,
    #[serde(deserialize_with = "nullable")]
    pub templates: Vec<String>,
    pub route: Option<Spanned<RouteConfig>>,
    /// Each a [`ReceiverConfig`](super::receivers::ReceiverConfig).
    #[serde(deserialize_with = "nullable")]
    pub receivers: Vec<Raw>,
    #[serde(deserialize_with = "nullable")]
    pub inhibit_rules: Vec<Spanned<InhibitConfig>>,
    #[serde(deserialize_with = "nullable")]
    pub mute_time_intervals: Vec<Spanned<NamedIntervals>>,
    #[serde(deserialize_with = "nullable")]
    pub time_intervals: Vec<Spanned<NamedIntervals>>,
    /// Accepted, and said to have no effect.
    pub tracing: Option<IgnoredAny>,
    pub event_recorder: Option<IgnoredAny>,

    #[serde(deserialize_with = "nullable")]
    pub users: Vec<UserConfig>,
    #[serde(deserialize_with = "nullable")]
    pub on_call_schedules: Vec<ScheduleConfig>,
    #[serde(deserialize_with = "nullable")]
    pub escalation_policies: Vec<PolicyConfig>,
    /// From the least severe to the most; one entry may name several of one rank, `ticket|warning`.
    pub severities: Option<Vec<String>>,
    pub heartbeat: Option<Spanned<HeartbeatConfig>>,
    #[serde(deserialize_with = "nullable")]
    pub acknowledge: AcknowledgeConfig,
    /// Pages that one person gets in an hour, unless the user says otherwise; 0: no limit.
    pub pages_per_hour: Option<u32>,
    #[serde(deserialize_with = "nullable")]
    pub history: HistoryConfig,
    #[serde(deserialize_with = "nullable")]
    pub callbacks: CallbacksConfig,
}

type Pairs = BTreeMap<String, Option<String>>;

/// A node of the route tree.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RouteConfig {
    pub receiver: Option<Spanned<String>>,
    /// `None` inherits, an empty list groups everything together, `...` alone nothing.
    pub group_by: Option<Vec<String>>,
    #[serde(rename = "continue", deserialize_with = "boolean")]
    pub continues: bool,
    #[serde(rename = "match", deserialize_with = "nullable")]
    pub equal: Pairs,
    #[serde(rename = "match_re", deserialize_with = "nullable")]
    pub regex: Pairs,
    #[serde(deserialize_with = "nullable")]
    pub matchers: MatcherList,
    pub group_wait: Option<Duration>,
    pub group_interval: Option<Duration>,
    pub repeat_interval: Option<Duration>,
    #[serde(deserialize_with = "nullable")]
    pub mute_time_intervals: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub active_time_intervals: Vec<String>,
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    #[serde(deserialize_with = "nullable")]
    pub routes: Vec<RouteConfig>,
    /// Ours: the policy through which the alerts go.
    pub escalation_policy: Option<Spanned<String>>,
}

fn boolean<'de, D: serde::Deserializer<'de>>(d: D) -> Result<bool, D::Error> {
    Ok(Option::<Bool>::deserialize(d)?.is_some_and(|b| b.0))
}

impl RouteConfig {
    /// The receiver, when one is named here.
    pub fn receiver_name(&self) -> Option<&str> {
        self.receiver.as_ref().map(|r| r.value.as_str()).filter(|r| !r.is_empty())
    }

    /// Is it `group_by: [...]`?
    pub fn groups_by_all(&self) -> bool {
        self.group_by.as_ref().is_some_and(|names| names.iter().any(|n| n == "..."))
    }

    /// The matchers of all three ways to write them.
    ///
    /// # Errors
    /// A bad regular expression.
    pub fn all_matchers(&self) -> Result<Matchers, MatcherSyntax> {
        merge_matchers(&self.equal, &self.regex, &self.matchers.matchers)
    }
}

/// An inhibition.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InhibitConfig {
    pub name: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub source_match: Pairs,
    #[serde(deserialize_with = "nullable")]
    pub source_match_re: Pairs,
    #[serde(deserialize_with = "nullable")]
    pub source_matchers: MatcherList,
    #[serde(deserialize_with = "nullable")]
    pub target_match: Pairs,
    #[serde(deserialize_with = "nullable")]
    pub target_match_re: Pairs,
    #[serde(deserialize_with = "nullable")]
    pub target_matchers: MatcherList,
    #[serde(deserialize_with = "nullable")]
    pub equal: Vec<String>,
}

impl InhibitConfig {
    /// The rule.
    ///
    /// # Errors
    /// A bad regular expression.
    pub fn rule(&self) -> Result<crate::paging::inhibit::InhibitRule, MatcherSyntax> {
        Ok(crate::paging::inhibit::InhibitRule {
            source: merge_matchers(
                &self.source_match,
                &self.source_match_re,
                &self.source_matchers.matchers,
            )?,
            target: merge_matchers(
                &self.target_match,
                &self.target_match_re,
                &self.target_matchers.matchers,
            )?,
            equal: set(self.equal.iter().cloned()),
        })
    }
}

/// Alternatives under one name.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NamedIntervals {
    pub name: Option<String>,
    #[serde(deserialize_with = "nullable")]
    pub time_intervals: Vec<TimeInterval>,
}

/// Somebody who can be paged.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserConfig {
    pub name: Spanned<String>,
    pub receiver: Spanned<String>,
    #[serde(default)]
    pub pages_per_hour: Option<u32>,
}

/// How long resolved incidents are kept: whichever limit is reached first.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HistoryConfig {
    pub time: Option<Spanned<Duration>>,
    /// As `64MB`.
    pub size: Option<Spanned<String>>,
}

/// Who is on call when: one rotation here, or several layers of which the last that holds wins.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ScheduleConfig {
    pub name: Spanned<String>,
    /// IANA name; UTC by default. Handovers are at the same wall-clock time there.
    #[serde(default)]
    pub location: Option<String>,
    #[serde(default)]
    pub rotation: Option<Duration>,
    #[serde(default)]
    pub start: Option<Spanned<String>>,
    #[serde(default)]
    pub users: Option<Vec<Spanned<String>>>,
    #[serde(default)]
    pub layers: Option<Vec<LayerConfig>>,
    #[serde(default)]
    pub overrides: Option<Vec<OverrideConfig>>,
}

/// One rotation of a schedule.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LayerConfig {
    pub rotation: Duration,
    pub start: Spanned<String>,
    pub users: Vec<Spanned<String>>,
    /// The layer holds only within these named time intervals.
    #[serde(default)]
    pub active_time_intervals: Option<Vec<Spanned<String>>>,
}

/// Somebody stands in.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverrideConfig {
    pub user: Spanned<String>,
    pub start: Spanned<String>,
    pub end: Spanned<String>,
}

/// Who is notified in which order.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyConfig {
    pub name: Spanned<String>,
    pub steps: Vec<StepConfig>,
    /// How often the steps are gone through again when nobody acknowledges.
    #[serde(default)]
    pub repeat: Option<u32>,
    #[serde(default)]
    pub reopen_on: Option<Vec<Spanned<String>>>,
    /// An acknowledgement holds so long when the incident is not resolved.
    #[serde(default)]
    pub unack_after: Option<Duration>,
    #[serde(default)]
    pub quiet_hours: Option<QuietConfig>,
    /// What fires again so soon after its incident was resolved reopens that incident.
    #[serde(default)]
    pub flap_window: Option<Duration>,
}

/// When incidents of some severities wait, to be told of together.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietConfig {
    pub severities: Vec<Spanned<String>>,
    /// Quiet within any of these time intervals …
    #[serde(default)]
    pub during: Option<Vec<Spanned<String>>>,
    /// … and whenever none of these holds.
    #[serde(default)]
    pub outside: Option<Vec<Spanned<String>>>,
}

/// One step of a policy.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepConfig {
    pub notify: Vec<Spanned<String>>,
    #[serde(default)]
    pub ack_timeout: Option<Spanned<Duration>>,
    /// Runs before people are woken; its notification asks nobody for an acknowledgement.
    #[serde(default)]
    pub automation: Option<Bool>,
    /// How long an automation has before the next step.
    #[serde(default)]
    pub timeout: Option<Spanned<Duration>>,
}

/// Where to say regularly that sideband lives.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HeartbeatConfig {
    pub url: Option<SecretUrl>,
    pub url_file: Option<String>,
    pub interval: Option<Duration>,
    pub http_config: Option<HttpClientConfig>,
}

/// How people acknowledge from a page.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AcknowledgeConfig {
    /// How people reach this sideband; without it pages carry no link.
    pub external_url: Option<Spanned<Url>>,
    /// The file with the key that signs links, at least 16 bytes.
    pub key_file: Option<Spanned<String>>,
    /// How long a link can be used.
    pub expires: Option<Duration>,
}
