//! The targets of one job: which of them run, which were dropped.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::file_sd::FileDiscovery;
use super::job::ScrapeJob;
use super::manager::Env;
use super::metrics::Limit;
use super::scrape_loop::{Scraper, Status, Stop};
use super::target::{self, Outcome, Target};
use super::view::{DroppedTargetView, TargetHealth, TargetView};
use crate::model::{Labels, Order as _};
use crate::net::http::HttpClient;
use crate::storage::SourceId;

/// Files are looked at (not read) so often at least, since a new target should not wait for the
/// refresh interval of minutes.
const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(5);

pub(super) struct Pool {
    env: Arc<Env>,
    pub job: Arc<ScrapeJob>,
    client: HttpClient,
    running: HashMap<u64, Running>,
    dropped: Vec<Labels>,
    dropped_count: usize,
    job_error: Arc<Mutex<Option<String>>>,
    discovery: Option<JoinHandle<()>>,
}

struct Running {
    target: Arc<Target>,
    status: Arc<Mutex<Status>>,
    source: SourceId,
    stop: watch::Sender<Stop>,
    task: JoinHandle<()>,
}

impl Pool {
    /// Starts the job's targets; those that the `old` pool had keep their source.
    pub fn start(
        env: Arc<Env>,
        job: Arc<ScrapeJob>,
        client: HttpClient,
        old: Option<&Mutex<Self>>,
    ) -> Arc<Mutex<Self>> {
        let mut files = FileDiscovery::new(&job.file_sd, &job.base_dir);
        files.refresh(true, &env.metrics);
        let mut pool = Self {
            env,
            job,
            client,
            running: HashMap::new(),
            dropped: Vec::new(),
            dropped_count: 0,
            job_error: Arc::default(),
            discovery: None,
        };
        let mut inherited = HashMap::new();
        if let Some(old) = old {
            let mut old = old.lock().unwrap_or_else(PoisonError::into_inner);
            inherited = std::mem::take(&mut old.running);
            old.shut(Stop::Replaced);
        }
        pool.sync(&files.groups(), inherited);
        let pool = Arc::new(Mutex::new(pool));
        if let Ok(mut locked) = pool.lock()
            && !locked.job.file_sd.is_empty()
        {
            locked.discovery = Some(tokio::spawn(discover(Arc::downgrade(&pool), files)));
        }
        pool
    }

    /// Brings the running loops in line with the groups.
    fn sync(&mut self, discovered: &[super::TargetGroup], mut inherited: HashMap<u64, Running>) {
        let mut wanted: HashMap<u64, Arc<Target>> = HashMap::new();
        self.dropped.clear();
        self.dropped_count = 0;
        for group in self.job.static_groups.iter().chain(discovered) {
            for outcome in target::of_group(&self.job, group) {
                match outcome {
                    Outcome::Target(target) => {
                        wanted.entry(target.key).or_insert_with(|| Arc::from(target));
                    }
                    Outcome::Dropped(labels) => {
                        self.dropped_count += 1;
                        let keep = self.job.keep_dropped_targets;
                        if keep == 0 || (self.dropped.len() as u64) < keep {
                            self.dropped.push(labels);
                        }
                    }
                    Outcome::Failed(error) => {
                        self.env.metrics.targets_failed.inc();
                        tracing::error!(job = self.job.name, error, "an address makes no target");
                    }
                }
            }
        }
        let limit = self.job.target_limit;
        let error = (limit > 0 && wanted.len() as u64 > limit).then(|| {
            self.env.metrics.limits_exceeded.get_or_create(&Limit { limit: "targets" }).inc();
            format!("target_limit exceeded (number of targets: {}, limit: {limit})", wanted.len())
        });
        *self.job_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.running.retain(|key, running| {
            let stays = wanted.contains_key(key);
            if !stays {
                let _ = running.stop.send(Stop::Gone);
            }
            stays
        });
        for (key, target) in wanted {
            if self.running.contains_key(&key) {
                continue;
            }
            let source = match inherited.remove(&key) {
                Some(old) => {
                    let _ = old.stop.send(Stop::Replaced);
                    old.source
                }
                None => (self.env.next_source)(),
            };
            let running = self.spawn(target, source);
            self.running.insert(key, running);
        }
        for old in inherited.into_values() {
            let _ = old.stop.send(Stop::Gone);
        }
    }

    fn spawn(&self, target: Arc<Target>, source: SourceId) -> Running {
        let scraper = Scraper::new(
            self.env.clone(),
            self.job.clone(),
            target.clone(),
            self.client.clone(),
            source,
            self.job_error.clone(),
        );
        let status = scraper.status.clone();
        let (stop, stopped) = watch::channel(Stop::Run);
        let task = tokio::spawn(scraper.run(stopped));
        Running { target, status, source, stop, task }
    }

    /// Stops everything; gives the tasks to wait for.
    pub fn shut(&mut self, why: Stop) -> Vec<JoinHandle<()>> {
        if let Some(discovery) = self.discovery.take() {
            discovery.abort();
        }
        let running = std::mem::take(&mut self.running);
        running
            .into_values()
            .map(|r| {
                let _ = r.stop.send(why);
                r.task
            })
            .collect()
    }

    pub fn views(&self, out: &mut Vec<TargetView>) {
        let first = out.len();
        for running in self.running.values() {
            let (target, status) =
                (&running.target, running.status.lock().unwrap_or_else(PoisonError::into_inner).clone());
            out.push(TargetView {
                discovered_labels: target.discovered.clone(),
                labels: target.labels.clone(),
                scrape_pool: self.job.name.clone(),
                scrape_url: target.url.clone(),
                global_url: target.url.clone(),
                health: match status.error {
                    None => TargetHealth::Unknown,
                    Some(Ok(())) => TargetHealth::Up,
                    Some(Err(_)) => TargetHealth::Down,
                },
                last_error: status.error.and_then(Result::err).unwrap_or_default(),
                last_scrape: status.last_scrape,
                last_scrape_duration: status.seconds,
                scrape_interval: target.interval.to_string(),
                scrape_timeout: target.timeout.to_string(),
            });
        }
        out[first..].order_by(|a, b| (&a.labels, &a.scrape_url).cmp(&(&b.labels, &b.scrape_url)));
    }

    pub fn dropped(&self, out: &mut Vec<DroppedTargetView>) -> usize {
        out.extend(self.dropped.iter().map(|labels| DroppedTargetView {
            discovered_labels: labels.clone(),
            scrape_pool: self.job.name.clone(),
        }));
        self.dropped_count
    }

    pub fn sources(&self) -> impl Iterator<Item = SourceId> {
        self.running.values().map(|r| r.source)
    }
}

/// Looks at the job's files until the pool is gone.
async fn discover(pool: Weak<Mutex<Pool>>, mut files: FileDiscovery) {
    let Some((refresh, metrics)) = pool.upgrade().and_then(|p| {
        let pool = p.lock().ok()?;
        let refresh = pool.job.file_sd.iter().map(super::file_sd::FileSdConfig::refresh_interval).min()?;
        Some((refresh.to_std(), pool.env.metrics.clone()))
    }) else {
        return;
    };
    let look = refresh.min(LOOK_EVERY);
    let mut since_read = std::time::Duration::ZERO;
    loop {
        tokio::time::sleep(look).await;
        since_read += look;
        let all = since_read >= refresh;
        if all {
            since_read = std::time::Duration::ZERO;
        }
        let changed = files.refresh(all, &metrics);
        let Some(pool) = pool.upgrade() else { return };
        if changed {
            pool.lock().unwrap_or_else(PoisonError::into_inner).sync(&files.groups(), HashMap::new());
        }
    }
}
