//! The report as the API gives it: fields are only ever added.

use serde::Serialize;

/// What the people who are paged went through. Times are RFC 3339; days and hours are those of `location`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    pub from: String,
    pub to: String,
    /// Name in the time zone database.
    pub location: String,
    /// `22:00-07:00`
    pub night: String,
    /// Incidents that were triggered in this time; drills are none.
    pub incidents: u64,
    /// Pages to people: notifications of escalation steps that are no automation.
    pub pages: u64,
    pub pages_at_night: u64,
    /// Every day, also those without incidents.
    pub by_day: Vec<DayCount>,
    /// The 24 hours of the day.
    pub by_hour: Vec<HourCount>,
    /// The most paged first.
    pub by_person: Vec<PersonLoad>,
    pub acknowledgements: Acknowledgements,
    pub resolutions: Resolutions,
    /// The most incidents first, at most 1000. An incident with alerts of several rules counts for each of them.
    pub by_rule: Vec<RuleRecord>,
    /// The series (label sets of alerts) that were in most incidents, at most five.
    pub noisiest: Vec<SeriesCount>,
    pub drills: Drills,
    pub sent: SentCount,
}

/// What routes without an escalation policy have sent, as far as it arrived and told of something that fires. Nobody
/// acknowledges it: whether anybody saw it is not known.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct SentCount {
    pub notifications: u64,
    pub at_night: u64,
    /// The most first.
    pub by_receiver: Vec<NamedCount>,
    /// By rule, the most first, at most 1000. A notification with alerts of several rules counts for each of them.
    pub by_rule: Vec<NamedCount>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct NamedCount {
    pub name: String,
    pub notifications: u64,
    pub at_night: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DayCount {
    /// `2026-11-21`
    pub day: String,
    pub incidents: u64,
    pub pages: u64,
    /// Notifications of routes without a policy.
    pub notifications: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HourCount {
    /// 0 to 23
    pub hour: u8,
    pub incidents: u64,
    pub pages: u64,
    /// Notifications of routes without a policy.
    pub notifications: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct PersonLoad {
    /// The user, or the target when that is no person.
    pub person: String,
    pub pages: u64,
    pub at_night: u64,
    /// Incidents that this person was the first to acknowledge.
    pub acknowledged: u64,
}

/// From the first page to the first acknowledgement, seconds; `None` when nothing was acknowledged.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Acknowledgements {
    pub count: u64,
    pub median_seconds: Option<f64>,
    pub p90_seconds: Option<f64>,
    pub max_seconds: Option<f64>,
}

/// How incidents ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Resolutions {
    pub resolved: u64,
    pub open: u64,
    /// Nobody acknowledged, nobody closed it: it was over by itself.
    pub by_itself: u64,
    /// Of those: an automation ran, and nobody had to be paged.
    pub by_automation: u64,
    /// A person closed it.
    pub by_hand: u64,
    /// `byItself` of `resolved`, 0 to 1.
    pub self_resolved_share: Option<f64>,
}

/// How a rule did.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct RuleRecord {
    pub rule: String,
    pub incidents: u64,
    pub pages: u64,
    pub at_night: u64,
    pub by_itself: u64,
    pub useful: u64,
    pub useless: u64,
    /// The chance that a coin has at least as many useful pages of those that were judged.
    pub coin_p: f64,
    pub coin: CoinVerdict,
}

/// Is a rule better than a coin, by the exact binomial test at 5 %?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum CoinVerdict {
    /// Nobody has said whether its pages were useful.
    Unjudged,
    Better,
    /// A coin does better, with the same certainty.
    Worse,
    Undecided,
}

impl CoinVerdict {
    /// In words.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unjudged => "not judged",
            Self::Better => "better than a coin",
            Self::Worse => "worse than a coin",
            Self::Undecided => "not shown to beat a coin",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SeriesCount {
    /// The label set of the alert.
    pub series: String,
    pub incidents: u64,
    pub pages: u64,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Drills {
    pub count: u64,
    /// Those of which every step was delivered.
    pub good: u64,
    pub last_good: Option<String>,
}
