//! What the web room shows, fetched from the rooms that it does not know by type.

use std::future::Future;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use crate::model::{Clock, Labels, Timestamp};
use crate::paging::acklink::AckClaim;
use crate::paging::engine as paging;
use crate::paging::incident::{Actor, State};
use crate::paging::{PagerError, PagerHandle};
use crate::rules;
use crate::scrape;
use crate::web::{
    AlertState, AlertView, ArrivalView, BoxFuture, CommandError, DroppedTargetView, FeedbackView, HistoryView,
    IncidentAlertView, IncidentFeedback, IncidentState, IncidentView, Incidents, JudgedView, Lifecycle,
    PageView, RuleFeedback, RuleGroupView, RuleHealth, RuleKind, RuleView, RulesView, RuntimeView,
    TargetHealth, TargetView, TargetsView, TokenView,
};

use super::alerts::AlertOutput;
use super::feedback;
use super::paging::PagerSlot;
use super::reload::{Request, Requests};

/// RFC 3339 to ms; 0, which is "never", for Go's zero time.
pub(super) fn millis(text: &str) -> Timestamp {
    text.parse::<jiff::Timestamp>().map_or(0, |t| t.as_millisecond()).max(0)
}

/// Rule groups.
pub struct RulesAdapter(pub rules::Manager);

impl RulesView for RulesAdapter {
    fn groups(&self) -> Vec<RuleGroupView> {
        let groups = self.0.groups(&rules::RuleFilter::default());
        groups
            .into_iter()
            .map(|g| RuleGroupView {
                name: g.name,
                file: g.file,
                rules: g.rules.into_iter().map(rule).collect(),
                interval: g.interval,
                limit: g.limit as u64,
                evaluation_time: g.evaluation_time,
                last_evaluation: millis(&g.last_evaluation),
            })
            .collect()
    }

    fn feedback(&self, said: &RuleFeedback) -> Result<FeedbackView, CommandError> {
        let done = feedback::of_rule(&self.0, said);
        if done.rules == 0 {
            return Err(CommandError::NotFound(format!("no sigma rule {:?}", said.rule)));
        }
        Ok(done)
    }
}

fn rule(r: rules::RuleView) -> RuleView {
    let sigma = (r.kind == "sigma").then(|| {
        serde_json::json!({
            "bands": r.bands,
            "series": r.series,
            "record": r.record,
            "pageBudget": r.page_budget,
            "gate": r.gate,
        })
    });
    RuleView {
        kind: match r.kind {
            "recording" => RuleKind::Recording,
            "sigma" => RuleKind::Sigma,
            _ => RuleKind::Alerting,
        },
        name: r.name,
        query: r.query,
        labels: r.labels,
        annotations: r.annotations.unwrap_or_default(),
        duration: r.duration.unwrap_or_default(),
        keep_firing_for: r.keep_firing_for.unwrap_or_default(),
        alerts: r.alerts.unwrap_or_default().into_iter().map(alert).collect(),
        health: match r.health {
            "ok" => RuleHealth::Good,
            "err" => RuleHealth::Bad,
            _ => RuleHealth::Unknown,
        },
        last_error: r.last_error.unwrap_or_default(),
        evaluation_time: r.evaluation_time,
        last_evaluation: millis(&r.last_evaluation),
        sigma,
    }
}

fn alert(a: rules::AlertView) -> AlertView {
    AlertView {
        state: match a.state {
            "firing" => AlertState::Firing,
            "pending" => AlertState::Pending,
            _ => AlertState::Inactive,
        },
        active_at: millis(&a.active_at),
        keep_firing_since: a.keep_firing_since.as_deref().map(millis),
        value: crate::model::parse_float(&a.value).unwrap_or(f64::NAN),
        labels: a.labels,
        annotations: a.annotations,
    }
}

/// Scrape targets.
pub struct TargetsAdapter(pub Arc<scrape::Manager>);

impl TargetsView for TargetsAdapter {
    fn active(&self) -> Vec<TargetView> {
        let target = |t: scrape::TargetView| TargetView {
            discovered_labels: t.discovered_labels,
            labels: t.labels,
            scrape_pool: t.scrape_pool,
            scrape_url: t.scrape_url,
            global_url: t.global_url,
            last_error: t.last_error,
            last_scrape: t.last_scrape,
            last_scrape_duration: t.last_scrape_duration,
            health: match t.health {
                "up" => TargetHealth::Up,
                "down" => TargetHealth::Down,
                _ => TargetHealth::Unknown,
            },
            scrape_interval: t.scrape_interval,
            scrape_timeout: t.scrape_timeout,
        };
        self.0.targets().into_iter().map(target).collect()
    }

    fn dropped(&self) -> Vec<DroppedTargetView> {
        let (dropped, _) = self.0.dropped_targets();
        let view = |t: scrape::DroppedTargetView| DroppedTargetView {
            discovered_labels: t.discovered_labels,
            scrape_pool: t.scrape_pool,
        };
        dropped.into_iter().map(view).collect()
    }
}

/// Incidents. The methods are called on threads that may block.
pub struct IncidentsAdapter {
    pager: PagerSlot,
    rules: rules::Manager,
    clock: Arc<dyn Clock>,
    runtime: Handle,
}

impl IncidentsAdapter {
    /// Must be called on the runtime.
    pub fn new(pager: PagerSlot, rules: rules::Manager, clock: Arc<dyn Clock>) -> Self {
        Self { pager, rules, clock, runtime: Handle::current() }
    }

    fn view(&self, number: u64) -> Result<paging::IncidentView, CommandError> {
        let found = self.ask(|pager| async move { pager.incident(number).await })?;
        found.ok_or_else(|| CommandError::NotFound(format!("no incident {number}")))
    }

    /// Records what a person says, then tells the rules.
    fn judged(
        &self,
        number: u64,
        said: &IncidentFeedback,
        actor: Actor,
    ) -> Result<IncidentView, CommandError> {
        if let Some(verdict) = said.verdict.map(feedback::verdict) {
            let comment = said.comment.clone();
            self.ask(|pager| async move { pager.judge(number, verdict, actor, comment).await })?
                .map_err(refused)?;
        }
        let view = self.view(number)?;
        let done = feedback::of_incident(&self.rules, &view, said, self.clock.now());
        Ok(IncidentView { feedback: Some(done), ..incident(view) })
    }

    fn judge_claim(&self, token: &str) -> Result<AckClaim, CommandError> {
        let pager =
            self.pager.get().ok_or_else(|| CommandError::NotFound("paging is not configured".into()))?;
        pager.check_judge_link(token).map_err(|e| CommandError::BadToken(e.to_string()))
    }

    /// Asks the pager and waits for what it says.
    fn ask<T, F: Future<Output = Result<T, PagerError>>>(
        &self,
        question: impl FnOnce(PagerHandle) -> F,
    ) -> Result<T, CommandError> {
        let pager =
            self.pager.get().ok_or_else(|| CommandError::NotFound("paging is not configured".into()))?;
        self.runtime.block_on(question(pager)).map_err(|e| CommandError::Failed(e.to_string()))
    }

    fn claim(&self, token: &str) -> Result<AckClaim, CommandError> {
        let pager =
            self.pager.get().ok_or_else(|| CommandError::NotFound("paging is not configured".into()))?;
        pager.check_link(token).map_err(|e| CommandError::BadToken(e.to_string()))
    }
}

impl IncidentsAdapter {
    fn shown(&self, claim: AckClaim) -> Result<TokenView, CommandError> {
        Ok(TokenView {
            incident: self.get(&claim.incident.to_string())?,
            step: u32::from(claim.step) + 1,
            round: claim.round.saturating_add(1),
            person: claim.person,
        })
    }
}

fn number(id: &str) -> Result<u64, CommandError> {
    id.parse().map_err(|_| CommandError::NotFound(format!("no incident {id}")))
}

fn actor(by: &str, from: &str) -> Actor {
    let by = if by.is_empty() { "somebody" } else { by };
    Actor { by: by.to_owned(), via: "api".to_owned(), from: from.to_owned() }
}

impl Incidents for IncidentsAdapter {
    fn list(&self, resolved_too: bool, limit: usize) -> Result<Vec<IncidentView>, CommandError> {
        if self.pager.get().is_none() {
            return Ok(Vec::new());
        }
        let incidents =
            self.ask(|pager| async move { pager.newest_incidents(resolved_too, limit).await })?;
        Ok(incidents.into_iter().map(incident).collect())
    }

    fn get(&self, id: &str) -> Result<IncidentView, CommandError> {
        self.view(number(id)?).map(incident)
    }

    fn judge(&self, id: &str, said: &IncidentFeedback) -> Result<IncidentView, CommandError> {
        self.judged(number(id)?, said, actor(&said.by, &said.address))
    }

    fn read_judge_token(&self, token: &str) -> Result<TokenView, CommandError> {
        let claim = self.judge_claim(token)?;
        self.shown(claim)
    }

    fn judge_by_token(&self, token: &str, said: &IncidentFeedback) -> Result<TokenView, CommandError> {
        let claim = self.judge_claim(token)?;
        let actor = Actor { via: "link".to_owned(), ..actor(&claim.person, &said.address) };
        self.judged(claim.incident, said, actor)?;
        self.shown(claim)
    }

    fn acknowledge(
        &self,
        id: &str,
        by: &str,
        from: &str,
        _comment: &str,
    ) -> Result<IncidentView, CommandError> {
        let (number, actor) = (number(id)?, actor(by, from));
        self.ask(|pager| async move { pager.acknowledge(number, actor).await })?.map_err(refused)?;
        self.get(id)
    }

    fn resolve(&self, id: &str, by: &str, from: &str, _comment: &str) -> Result<IncidentView, CommandError> {
        let (number, actor) = (number(id)?, actor(by, from));
        self.ask(|pager| async move { pager.resolve(number, actor).await })?.map_err(refused)?;
        self.get(id)
    }

    fn read_token(&self, token: &str) -> Result<TokenView, CommandError> {
        let claim = self.claim(token)?;
        self.shown(claim)
    }

    fn acknowledge_by_token(&self, token: &str, from: &str) -> Result<TokenView, CommandError> {
        let claim = self.claim(token)?;
        let (used, from) = (claim.clone(), from.to_owned());
        match self.ask(|pager| async move { pager.acknowledge_by_link(used, from).await })? {
            // What is over needs nobody any more, and that is what the page then says.
            Ok(_) | Err(paging::CommandError::Resolved(_)) => self.shown(claim),
            Err(e) => Err(refused(e)),
        }
    }
}

fn refused(e: paging::CommandError) -> CommandError {
    match e {
        paging::CommandError::NotFound(_) => CommandError::NotFound(e.to_string()),
        _ => CommandError::Conflict(e.to_string()),
    }
}

fn incident(i: paging::IncidentView) -> IncidentView {
    let labels = |pairs: &std::collections::BTreeMap<String, String>| Labels::from_pairs(pairs);
    let summary = i.alerts.iter().find_map(|a| a.annotations.get("summary"));
    let title =
        summary.or_else(|| i.group_labels.get("alertname")).cloned().unwrap_or_else(|| i.group_key.clone());
    IncidentView {
        state: match i.state {
            State::Triggered => IncidentState::Triggered,
            State::Acknowledged => IncidentState::Acknowledged,
            State::Resolved => IncidentState::Resolved,
        },
        title,
        severity: i.severity,
        group_labels: labels(&i.group_labels),
        escalation_policy: i.policy,
        step: i.step as u32,
        round: i.round,
        notified: i.notified.iter().map(|n| n.user.clone().unwrap_or_else(|| n.receiver.clone())).collect(),
        next_step_at: i.next_step_at.as_deref().map(millis),
        started_at: millis(&i.triggered_at),
        acknowledged_at: i.acknowledged.as_ref().map(|a| millis(&a.at)),
        acknowledged_via: i.acknowledged.as_ref().map_or_else(String::new, |a| match a.from.as_str() {
            "" => a.via.clone(),
            from => format!("{} from {from}", a.via),
        }),
        acknowledged_by: i.acknowledged.map(|a| a.by).unwrap_or_default(),
        resolved_at: i.resolved_at.as_deref().map(millis),
        resolved_by: i.resolved_by.unwrap_or_default(),
        pages: i.notified.iter().map(page).collect(),
        history: i
            .history
            .iter()
            .map(|e| HistoryView { at: millis(&e.at), what: e.what.clone() })
            .collect(),
        drill: i.drill,
        delivered: i.delivered,
        judged: i.judged.map(|j| JudgedView {
            verdict: j.verdict.to_owned(),
            by: j.by,
            at: millis(&j.at),
            comment: j.comment,
        }),
        feedback: None,
        alerts: i
            .alerts
            .iter()
            .map(|a| IncidentAlertView {
                labels: labels(&a.labels),
                annotations: labels(&a.annotations),
                firing: true,
                starts_at: millis(&a.starts_at),
                generator_url: a.generator_url.clone(),
            })
            .collect(),
        id: i.id,
    }
}

fn page(n: &paging::NotifiedView) -> PageView {
    PageView {
        step: u32::try_from(n.step).unwrap_or(u32::MAX),
        round: n.round,
        target: n.target.clone(),
        user: n.user.clone().unwrap_or_default(),
        receiver: n.receiver.clone(),
        automation: n.automation,
        at: millis(&n.at),
        arrivals: n
            .arrivals
            .iter()
            .map(|a| ArrivalView {
                integration: a.integration.clone(),
                at: a.at.as_deref().map(millis),
                attempts: a.attempts,
                error: a.error.clone(),
            })
            .collect(),
    }
}

/// Facts about the process that change.
pub struct Status {
    started_at: Timestamp,
    retention: String,
    ready: AtomicBool,
    reload_ok: AtomicBool,
    reload_at: AtomicI64,
    config: Mutex<String>,
}

impl Status {
    /// Of a process that started now and is not ready yet.
    pub fn new(started_at: Timestamp, retention: String) -> Self {
        Self {
            started_at,
            retention,
            ready: AtomicBool::new(false),
            reload_ok: AtomicBool::new(true),
            reload_at: AtomicI64::new(0),
            config: Mutex::default(),
        }
    }

    /// Everything is started.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// How the last reload went, and when (ms).
    pub fn reloaded(&self, ok: bool, at: Timestamp) {
        self.reload_ok.store(ok, Ordering::Relaxed);
        if ok {
            self.reload_at.store(at, Ordering::Relaxed);
        }
    }

    /// The text that is in force, without secrets.
    pub fn set_config(&self, text: String) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// The process.
pub struct LifecycleAdapter {
    pub requests: Requests,
    pub status: Arc<Status>,
    pub output: Arc<AlertOutput>,
}

impl Lifecycle for LifecycleAdapter {
    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let (answer, wait) = oneshot::channel();
            let stopping = |_| "the daemon is stopping".to_owned();
            self.requests.send(Request::Reload(Some(answer))).await.map_err(|e| stopping(e.to_string()))?;
            wait.await.map_err(|e| stopping(e.to_string()))?
        })
    }

    fn quit(&self) {
        // Full means that requests wait, and the end will not be missed twice.
        let _ = self.requests.try_send(Request::Quit);
    }

    fn ready(&self) -> bool {
        self.status.ready.load(Ordering::Acquire)
    }

    fn config_yaml(&self) -> String {
        self.status.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn alertmanagers(&self) -> (Vec<String>, Vec<String>) {
        (self.output.sender().urls(), self.output.sender().dropped_urls())
    }

    fn runtime(&self) -> RuntimeView {
        RuntimeView {
            started_at: self.status.started_at,
            last_reload_ok: self.status.reload_ok.load(Ordering::Relaxed),
            last_reload_at: self.status.reload_at.load(Ordering::Relaxed),
            storage_retention: self.status.retention.clone(),
        }
    }
}
