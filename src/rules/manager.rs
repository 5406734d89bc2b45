//! Runs the groups: hears of commits, asks the schedule, evaluates on the blocking pool.

use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{broadcast, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::model::{Clock, Duration, Timestamp, set};
use crate::promql::{Engine, Source};
use crate::storage::{Commit, SourceId, Storage};

use super::baselines::{self, StoredRules};
use super::context::{Context, Settings};
use super::feedback::{self, Feedback, Taken, Target};
use super::file::{RuleFile, RuleKind};
use super::gate::{self, Changed, Finding, Gate, GateMode, GateState};
use super::group::{AlertSink, Group, Outcome, mark_stale};
use super::metrics::RuleMetrics;
use super::schedule::{Due, Plan, Scheduler};
use super::sigma_rule::{self, SigmaState};
use super::view::{self, GroupView};
use super::warm_start::{self, RemoteHistory};

/// How often groups are evaluated when nothing says so, ms.
pub const DEFAULT_INTERVAL_MS: i64 = 60_000;
/// Groups that are evaluated at the same time.
const PARALLEL: usize = 4;
/// How often baselines are written, ms.
const SAVE_MS: i64 = 60_000;
/// How often a group's sources are looked up again, ms, and for how many evaluations each time.
const LOOK_UP_MS: i64 = 60_000;
const LOOK_UP_FIRST: u32 = 5;
/// The longest sleep, ms: a wall clock may jump.
const LONGEST_SLEEP_MS: i64 = 10_000;
/// A source that committed nothing for so long is forgotten, ms.
const SILENCE_MS: i64 = 6 * 3_600_000;

/// What a manager is made of.
#[derive(Clone)]
pub struct Parts {
    pub storage: Storage,
    /// What expressions read; usually the storage.
    pub source: Arc<dyn Source + Send + Sync>,
    pub engine: Engine,
    pub clock: Arc<dyn Clock>,
    pub sink: Arc<dyn AlertSink>,
    pub metrics: RuleMetrics,
    /// Where baselines are kept; without it they end with the process.
    pub baseline_file: Option<PathBuf>,
}

/// What a (re)load sets.
#[derive(Debug, Clone, Default)]
pub struct Loaded {
    pub files: Vec<RuleFile>,
    pub settings: Settings,
    /// For groups that name none.
    pub evaluation_interval: Duration,
    pub query_offset: Duration,
    /// Whom new baselines ask for their past.
    pub remote_history: Option<Arc<dyn RemoteHistory>>,
    pub gate: GateMode,
}

struct Shared {
    parts: Parts,
    groups: Mutex<Groups>,
}

#[derive(Default, Clone)]
struct Groups {
    list: Arc<Vec<Arc<Group>>>,
    settings: Arc<Settings>,
    remote: Option<Arc<dyn RemoteHistory>>,
}

/// Evaluates rule groups. Clones share it.
#[derive(Clone)]
pub struct Manager {
    shared: Arc<Shared>,
    reloads: mpsc::Sender<Reload>,
    inbox: Arc<Mutex<Option<mpsc::Receiver<Reload>>>>,
}

struct Reload {
    groups: Vec<(Arc<Group>, String)>,
    settings: Arc<Settings>,
    remote: Option<Arc<dyn RemoteHistory>>,
    gate: GateMode,
    done: oneshot::Sender<Vec<Changed>>,
}

impl Manager {
    /// A manager without groups. Nothing happens before [`Manager::run`].
    pub fn new(parts: Parts) -> Self {
        let (reloads, inbox) = mpsc::channel(1);
        sigma_rule::describe_series(&parts.storage);
        let shared = Arc::new(Shared { parts, groups: Mutex::default() });
        Self { shared, reloads, inbox: Arc::new(Mutex::new(Some(inbox))) }
    }

    /// Takes new rules in the place of the old; rules that stay keep their state, also their baselines if
    /// they can. `source` hands out a number for each group that is new. Returns when they are in force,
    /// which needs [`Manager::run`] to be running (or about to), and gives the rules that wait for [`Manager::gated`].
    pub async fn apply(&self, loaded: Loaded, mut source: impl FnMut() -> SourceId) -> Vec<Changed> {
        let old: HashMap<String, SourceId> =
            self.shared.groups().list.iter().map(|g| (g.key(), g.source)).collect();
        let default_interval = if loaded.evaluation_interval.is_zero() {
            DEFAULT_INTERVAL_MS
        } else {
            loaded.evaluation_interval.ms()
        };
        let mut groups = Vec::new();
        for spec in loaded.files.into_iter().flat_map(|f| f.groups) {
            let interval = spec.interval.map_or(default_interval, Duration::ms);
            let offset = spec.query_offset.unwrap_or(loaded.query_offset).ms();
            let key = super::group::key(&spec.file, &spec.name);
            let number = old.get(&key).copied().unwrap_or_else(&mut source);
            groups.push((Arc::new(Group::new(spec, interval, offset, number)), key));
        }
        let (done, wait) = oneshot::channel();
        let settings = Arc::new(loaded.settings);
        let reload = Reload { groups, settings, remote: loaded.remote_history, gate: loaded.gate, done };
        if self.reloads.send(reload).await.is_err() {
            return Vec::new();
        }
        // An error means that the manager has stopped: there is nothing to wait for.
        wait.await.unwrap_or_default()
    }

    /// What the replay of a changed rule found; without effect when the rule was changed again meanwhile.
    pub fn gated(&self, changed: &Changed, finding: Finding) {
        for group in self.shared.groups().list.iter().filter(|g| g.key() == changed.group) {
            for rule in group.rules.iter().filter(|r| r.spec.name == changed.rule) {
                let mut state = rule.state();
                let Some(gate) = state.sigma.gate.as_mut().filter(|g| g.number == changed.number) else {
                    continue;
                };
                (gate.state, gate.finding) = (finding.state, Some(finding.clone()));
                self.shared.parts.metrics.gated(group, &rule.spec.name, Some(gate));
            }
        }
    }

    /// Evaluates until `shutdown` is done; then waits for what is running and writes the baselines.
    pub async fn run(&self, shutdown: impl Future<Output = ()>) {
        let inbox = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(inbox) = inbox else { return };
        let stored = self.shared.load_baselines().await;
        let clock = Arc::clone(&self.shared.parts.clock);
        let next_save = clock.now() + SAVE_MS;
        let mut runner = Runner {
            shared: Arc::clone(&self.shared),
            commits: self.shared.parts.storage.subscribe(),
            scheduler: Scheduler::default(),
            lookups: Vec::new(),
            running: JoinSet::new(),
            saving: JoinSet::new(),
            warming: JoinSet::new(),
            stored,
            next_save,
            look_up_all: true,
            own: HashMap::new(),
            reloads: 0,
        };
        runner.run(inbox, shutdown).await;
    }

    /// The groups as `/api/v1/rules` shows them.
    pub fn groups(&self) -> Vec<GroupView> {
        view::groups(self.shared.groups().list.iter().map(AsRef::as_ref))
    }

    /// Takes what a person says of sigma rules, or of an alert of theirs. May read much history: call it where waiting holds up
    /// nobody.
    pub fn feedback(&self, target: &Target, feedback: &Feedback) -> Taken {
        let groups = self.shared.groups();
        let context = self.shared.context(&groups.settings);
        feedback::feedback(
            &context,
            groups.list.iter().map(AsRef::as_ref),
            target,
            feedback,
            self.shared.parts.clock.now(),
        )
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Groups> {
        self.groups.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn groups(&self) -> Groups {
        self.lock().clone()
    }

    async fn load_baselines(&self) -> StoredRules {
        let Some(path) = self.parts.baseline_file.clone() else { return StoredRules::new() };
        let shown = path.display().to_string();
        match tokio::task::spawn_blocking(move || baselines::load(&path)).await {
            Ok(Ok(stored)) => stored,
            Ok(Err(e)) => {
                tracing::error!(file = shown, error = %e, "the baselines cannot be read: sigma rules start cold");
                StoredRules::new()
            }
            Err(_) => StoredRules::new(),
        }
    }

    fn save_baselines(&self) {
        let Some(path) = &self.parts.baseline_file else { return };
        let groups = self.groups();
        let (bytes, count) = baselines::encode(groups.list.iter().map(AsRef::as_ref));
        let saved = baselines::save(path, &bytes);
        if let Err(e) = &saved {
            tracing::error!(file = %path.display(), error = %e, "the baselines cannot be written");
        }
        self.parts.metrics.saved(saved.map(|()| count).map_err(|_| ()));
    }

    fn context<'a>(&'a self, settings: &'a Settings) -> Context<'a> {
        Context {
            engine: &self.parts.engine,
            source: &*self.parts.source,
            storage: &self.parts.storage,
            settings,
            replay: None,
        }
    }

    fn evaluate(&self, group: &Group, settings: &Settings, ts: Timestamp) -> Outcome {
        group.evaluate(&self.context(settings), &*self.parts.sink, ts)
    }
}

/// When a group's sources were last looked up.
#[derive(Debug, Clone, Copy, Default)]
struct LookUp {
    last: Timestamp,
    evaluations: u32,
}

struct Runner {
    shared: Arc<Shared>,
    commits: broadcast::Receiver<Commit>,
    scheduler: Scheduler,
    lookups: Vec<LookUp>,
    running: JoinSet<(Due, Outcome)>,
    saving: JoinSet<()>,
    /// At most one question to a central store.
    warming: JoinSet<()>,
    stored: StoredRules,
    next_save: Timestamp,
    look_up_all: bool,
    /// How often groups were put in force.
    reloads: u64,
    /// The groups' own sources, and which group each is.
    own: HashMap<SourceId, usize>,
}

impl Runner {
    fn now(&self) -> Timestamp {
        self.shared.parts.clock.now()
    }

    async fn run(&mut self, mut inbox: mpsc::Receiver<Reload>, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        loop {
            self.start_due();
            let now = self.now();
            let wake = self.scheduler.wake_at(now).unwrap_or(i64::MAX).min(self.next_save);
            let mut sleep = wake.saturating_sub(now).clamp(1, LONGEST_SLEEP_MS);
            if self.running.len() >= PARALLEL {
                // Nothing can start before something ends.
                sleep = LONGEST_SLEEP_MS;
            }
            let sleep = tokio::time::sleep(std::time::Duration::from_millis(sleep.unsigned_abs()));
            tokio::select! {
                () = &mut shutdown => break,
                commit = self.commits.recv() => self.heard(commit),
                Some(done) = self.running.join_next() => self.finished(done),
                Some(_) = self.saving.join_next() => {}
                Some(_) = self.warming.join_next() => {}
                Some(reload) = inbox.recv() => self.reload(reload).await,
                () = sleep => {}
            }
        }
        while let Some(done) = self.running.join_next().await {
            self.finished(done);
        }
        while self.saving.join_next().await.is_some() {}
        let shared = Arc::clone(&self.shared);
        let _ = tokio::task::spawn_blocking(move || shared.save_baselines()).await;
    }

    /// Starts the groups whose time has come.
    fn start_due(&mut self) {
        let now = self.now();
        if std::mem::take(&mut self.look_up_all) {
            for group in 0..self.lookups.len() {
                self.look_up(now, group);
            }
        }
        let groups = self.shared.groups();
        while self.running.len() < PARALLEL
            && let Some(due) = self.scheduler.next(self.now())
        {
            let Some(group) = groups.list.get(due.group).cloned() else { continue };
            let shared = Arc::clone(&self.shared);
            let settings = Arc::clone(&groups.settings);
            self.running.spawn_blocking(move || (due, shared.evaluate(&group, &settings, due.ts)));
        }
        if now >= self.next_save && self.saving.is_empty() {
            self.next_save = now + SAVE_MS;
            if self.shared.parts.baseline_file.is_some() {
                let shared = Arc::clone(&self.shared);
                self.saving.spawn_blocking(move || shared.save_baselines());
            }
            self.scheduler.forget_silent(now, SILENCE_MS);
        }
    }

    /// Which sources a group reads. It waits for a group that it reads only if that one does not wait for it.
    fn look_up(&mut self, now: Timestamp, index: usize) {
        let groups = self.shared.groups();
        let Some(group) = groups.list.get(index) else { return };
        let mut sources = self.reads(group);
        sources.remove(&group.source);
        sources.retain(|source| match self.own.get(source).and_then(|&i| Some((i, groups.list.get(i)?))) {
            Some((other, reads)) => other < index || !self.reads(reads).contains(&group.source),
            None => true,
        });
        self.scheduler.set_sources(now, index, sources);
        self.lookups[index].last = now;
    }

    fn reads(&self, group: &Group) -> std::collections::BTreeSet<SourceId> {
        let storage = &self.shared.parts.storage;
        let selectors = group.rules.iter().flat_map(|r| r.spec.expr.selectors());
        set(selectors.flat_map(|matchers| storage.sources(matchers)))
    }

    fn heard(&mut self, commit: Result<Commit, broadcast::error::RecvError>) {
        let now = self.now();
        match commit {
            // A group commits once a rule; it counts when all its rules are done.
            Ok(commit) if self.own.contains_key(&commit.source) => {}
            Ok(commit) => {
                self.look_up_all |= !self.scheduler.knows(commit.source);
                self.scheduler.committed(now, commit);
            }
            Err(broadcast::error::RecvError::Lagged(lost)) => self.shared.parts.metrics.lost(lost),
            // The storage is held by the parts, so it is never closed.
            Err(broadcast::error::RecvError::Closed) => {}
        }
    }

    fn finished(&mut self, done: Result<(Due, Outcome), tokio::task::JoinError>) {
        let now = self.now();
        let (due, outcome) = match done {
            Ok(done) => done,
            Err(e) => {
                // Which group it was is not known; none may stay marked as running.
                tracing::error!(error = %e, "evaluating a group was cut off");
                for group in 0..self.lookups.len() {
                    self.scheduler.finished(now, group);
                }
                return;
            }
        };
        let groups = self.shared.groups();
        let Some(group) = groups.list.get(due.group) else { return };
        self.shared.parts.metrics.evaluated(group, due.ts, due.missed, outcome);
        self.warm(&groups, group, now);
        self.scheduler.finished(now, due.group);
        self.scheduler.committed(now, Commit { source: group.source, t: due.ts });
        let look_up = &mut self.lookups[due.group];
        look_up.evaluations += 1;
        if look_up.evaluations <= LOOK_UP_FIRST || now - look_up.last >= LOOK_UP_MS {
            self.look_up(now, due.group);
        }
    }

    /// Asks a central store for what new series of a group have not seen, if nobody is asking.
    fn warm(&mut self, groups: &Groups, group: &Arc<Group>, now: Timestamp) {
        let Some(remote) = groups.remote.clone().filter(|_| self.warming.is_empty()) else { return };
        let wanted = group.rules.iter().position(|rule| match &rule.spec.kind {
            RuleKind::Sigma(spec) => warm_start::wants(rule, spec, group.interval_ms, now),
            _ => false,
        });
        let Some(index) = wanted else { return };
        let (group, settings) = (Arc::clone(group), Arc::clone(&groups.settings));
        let metrics = self.shared.parts.metrics.clone();
        self.warming.spawn(async move {
            let name = group.rules[index].spec.name.clone();
            match warm_start::warm(&*remote, group, index, &settings.external_labels, now).await {
                Ok(count) => {
                    tracing::info!(
                        rule = name,
                        baselines = count,
                        "baselines learnt from the central history"
                    );
                    metrics.warmed(count);
                }
                Err(error) => {
                    tracing::warn!(
                        rule = name,
                        error,
                        "the central history cannot be read: asked again later"
                    );
                    metrics.not_warmed();
                }
            }
        });
    }

    /// Puts new groups in force when nothing is being evaluated.
    async fn reload(&mut self, reload: Reload) {
        while let Some(done) = self.running.join_next().await {
            self.finished(done);
        }
        let now = self.now();
        let old = self.shared.groups().list;
        let mut left: Vec<&Arc<Group>> = old.iter().collect();
        let keys: Vec<String> = reload.groups.iter().map(|(_, key)| key.clone()).collect();
        let metrics = self.shared.parts.metrics.clone();
        let mut plans = Vec::new();
        let mut list = Vec::new();
        let mut changed = Vec::new();
        self.reloads += 1;
        let names = {
            let new: Vec<_> =
                reload.groups.iter().flat_map(|(g, _)| &g.rules).map(|r| r.spec.as_ref()).collect();
            gate::changed_names(old.iter().flat_map(|g| &g.rules).map(|r| r.spec.as_ref()), &new)
        };
        for (group, key) in reload.groups {
            // A group whose file was renamed is still the same group.
            let moved = |g: &&Arc<Group>| g.spec.name == group.spec.name && !keys.contains(&g.key());
            let before = left.iter().position(|g| g.key() == key).or_else(|| left.iter().position(moved));
            let before = before.map(|i| left.remove(i));
            // At the start nothing is news.
            let gated: Vec<_> = group
                .rules
                .iter()
                .filter(|r| {
                    self.reloads > 1
                        && reload.gate != GateMode::Off
                        && gate::is_changed(&r.spec, before.map(AsRef::as_ref), &names)
                })
                .collect();
            if let Some(before) = before {
                if before.key() == key {
                    metrics.rules_removed(before);
                } else {
                    metrics.removed(before);
                }
                group.take_over(before);
            }
            self.restore(&group, now);
            metrics.added(&group);
            for rule in gated {
                let gate = Gate {
                    mode: reload.gate,
                    state: GateState::Replaying,
                    finding: None,
                    number: self.reloads,
                };
                metrics.gated(&group, &rule.spec.name, Some(&gate));
                rule.state().sigma.gate = Some(gate);
                let (rule, line) = (rule.spec.name.clone(), rule.spec.line);
                changed.push(Changed { group: key.clone(), rule, line, number: self.reloads });
            }
            // A group that reads the past need not wait for the present.
            plans.push(Plan { key, interval: group.interval_ms, waits: group.query_offset_ms == 0 });
            list.push(group);
        }
        for group in left {
            metrics.removed(group);
            mark_stale(
                &self.shared.parts.storage,
                group.source,
                &group.written(),
                now - group.query_offset_ms,
            );
        }
        self.own = list.iter().enumerate().map(|(i, g)| (g.source, i)).collect();
        self.lookups = vec![LookUp::default(); list.len()];
        self.scheduler.set_groups(now, plans);
        self.look_up_all = true;
        *self.shared.lock() =
            Groups { list: Arc::new(list), settings: reload.settings, remote: reload.remote };
        // Nobody waits any more: that is no error.
        let _ = reload.done.send(changed);
    }

    /// Gives sigma rules that know nothing what the file had of them.
    fn restore(&mut self, group: &Group, now: Timestamp) {
        for rule in &group.rules {
            let RuleKind::Sigma(spec) = &rule.spec.kind else { continue };
            let mut state = rule.state();
            if !state.sigma.series.is_empty() {
                continue;
            }
            let key = (group.spec.name.clone(), rule.spec.name.clone());
            let Some(stored) = self.stored.remove(&key) else { continue };
            let mut refused = 0;
            let mut series = Vec::with_capacity(stored.series.len());
            for (labels, bytes, pages) in stored.series {
                match spec.detector.decode(&bytes) {
                    Ok(state) => series.push((labels, state, pages)),
                    Err(_) => refused += 1,
                }
            }
            if refused > 0 {
                tracing::warn!(
                    rule = rule.spec.name,
                    series = refused,
                    "stored baselines do not fit the rule any more: these series start cold"
                );
            }
            state.sigma = SigmaState::restored(series, stored.pages, stored.incidents, now);
        }
    }
}
