//! All jobs: starting, replacing and stopping them.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::job::ScrapeJob;
use super::metrics::ScrapeMetrics;
use super::pool::Pool;
use super::scrape_loop::{self, Buffers, Stop};
use super::view::{DroppedTargetView, TargetView};
use crate::model::Clock;
use crate::net::http::{HttpClient, NetError};
use crate::storage::{SourceId, Storage};

/// Why jobs could not be started. What ran before goes on running.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScrapeError {
    #[error("job {job:?}: {error}")]
    Client { job: String, error: NetError },
    #[error("found multiple scrape configs with job name {0:?}")]
    DuplicateJob(String),
}

/// What all loops share.
pub(super) struct Env {
    pub storage: Storage,
    pub clock: Arc<dyn Clock>,
    pub instance_id: String,
    /// Moves this instance's scrapes away from those of others with the same targets.
    pub seed: u64,
    pub next_source: Box<dyn Fn() -> SourceId + Send + Sync>,
    pub metrics: ScrapeMetrics,
    pub buffers: Buffers,
}

/// Runs a loop for every target of every job. Must be used inside a tokio runtime.
pub struct Manager {
    env: Arc<Env>,
    pools: Mutex<BTreeMap<String, Arc<Mutex<Pool>>>>,
}

impl Manager {
    /// `instance_id` is sent with every scrape, so that this process knows its own; `next_source` gives
    /// a number for each new target.
    pub fn new(
        storage: Storage,
        clock: Arc<dyn Clock>,
        instance_id: impl Into<String>,
        next_source: impl Fn() -> SourceId + Send + Sync + 'static,
        metrics: ScrapeMetrics,
    ) -> Self {
        let instance_id = instance_id.into();
        scrape_loop::describe_report(&storage);
        let mut hasher = DefaultHasher::new();
        instance_id.hash(&mut hasher);
        let env = Env {
            storage,
            clock,
            seed: hasher.finish(),
            instance_id,
            next_source: Box::new(next_source),
            metrics,
            buffers: Buffers::default(),
        };
        Self { env: Arc::new(env), pools: Mutex::default() }
    }

    /// Makes these the jobs that run. Targets of unchanged jobs do not notice; those of a changed job
    /// that it still has go on without a gap in their series; the series of all others end.
    ///
    /// # Errors
    /// Two jobs have one name, or a job's certificate or key cannot be used: nothing is changed then.
    pub fn apply(&self, jobs: Vec<ScrapeJob>) -> Result<(), ScrapeError> {
        let mut pools = self.lock();
        let mut clients: BTreeMap<String, Option<HttpClient>> = BTreeMap::new();
        for job in &jobs {
            let unchanged = pools
                .get(&job.name)
                .is_some_and(|pool| *pool.lock().unwrap_or_else(PoisonError::into_inner).job == *job);
            let client = if unchanged {
                None
            } else {
                let client = HttpClient::new(&job.http, &job.base_dir);
                Some(client.map_err(|error| ScrapeError::Client { job: job.name.clone(), error })?)
            };
            if clients.insert(job.name.clone(), client).is_some() {
                return Err(ScrapeError::DuplicateJob(job.name.clone()));
            }
        }
        pools.retain(|name, pool| {
            let stays = clients.contains_key(name);
            if !stays {
                pool.lock().unwrap_or_else(PoisonError::into_inner).shut(Stop::Gone);
            }
            stays
        });
        for job in jobs {
            let Some(Some(client)) = clients.remove(&job.name) else { continue };
            let name = job.name.clone();
            let old = pools.remove(&name);
            let pool = Pool::start(self.env.clone(), Arc::new(job), client, old.as_deref());
            pools.insert(name, pool);
        }
        Ok(())
    }

    /// The active targets, by job and labels.
    pub fn targets(&self) -> Vec<TargetView> {
        let mut out = Vec::new();
        for pool in self.lock().values() {
            pool.lock().unwrap_or_else(PoisonError::into_inner).views(&mut out);
        }
        out
    }

    /// The targets that relabelling dropped (as many as are kept), and how many each job dropped.
    pub fn dropped_targets(&self) -> (Vec<DroppedTargetView>, BTreeMap<String, usize>) {
        let mut out = Vec::new();
        let mut counts = BTreeMap::new();
        for (name, pool) in &*self.lock() {
            let count = pool.lock().unwrap_or_else(PoisonError::into_inner).dropped(&mut out);
            counts.insert(name.clone(), count);
        }
        (out, counts)
    }

    /// The sources of the targets that run.
    pub fn sources(&self) -> Vec<SourceId> {
        let pools = self.lock();
        let mut out = Vec::new();
        for pool in pools.values() {
            out.extend(pool.lock().unwrap_or_else(PoisonError::into_inner).sources());
        }
        out
    }

    /// Stops all loops, leaves their series as they are, and waits until the loops have ended.
    pub async fn stop(&self) {
        let mut tasks = Vec::new();
        for (_, pool) in std::mem::take(&mut *self.lock()) {
            tasks.extend(pool.lock().unwrap_or_else(PoisonError::into_inner).shut(Stop::Replaced));
        }
        for task in tasks {
            let _ = task.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Mutex<Pool>>>> {
        self.pools.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
