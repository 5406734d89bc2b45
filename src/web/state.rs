//! What the routes need: handles to the other rooms, and options.

use std::sync::Arc;
use std::sync::{PoisonError, RwLock};

use prometheus_client::registry::Registry;
use tokio::sync::Semaphore;

use super::exposed::{ExternalLabels, MetricsPage};
use super::guard::{self, Posture};
use super::metrics::WebMetrics;
use super::views::{Incidents, Lifecycle, RulesView, TargetsView};
use crate::model::{Clock, Order as _, Timestamp};
use crate::net::auth::Security;
use crate::paging::PagerHandle;
use crate::promql::Engine;
use crate::storage::Storage;

/// Gives the pager, while paging is configured.
pub type PagerSource = Arc<dyn Fn() -> Option<PagerHandle> + Send + Sync>;

/// The rooms behind the routes.
#[derive(Clone)]
pub struct Parts {
    pub storage: Storage,
    pub engine: Arc<Engine>,
    pub clock: Arc<dyn Clock>,
    /// Everything that the process counts about itself.
    pub registry: Arc<Registry>,
    pub metrics: WebMetrics,
    pub security: Arc<Security>,
    pub rules: Arc<dyn RulesView>,
    pub targets: Arc<dyn TargetsView>,
    pub incidents: Arc<dyn Incidents>,
    /// The pager, while paging is configured.
    pub pager: PagerSource,
    pub lifecycle: Arc<dyn Lifecycle>,
}

/// What the flags say.
#[derive(Debug, Clone)]
pub struct Options {
    /// The URL under which people reach this process, without a slash at the end; empty when not given.
    pub external_url: String,
    /// Where the routes begin: empty, or `/prefix`.
    pub route_prefix: String,
    /// This process, told apart from every other: what it sends in `X-Sideband-Instance` when it scrapes.
    pub instance_id: String,
    /// Do `/-/reload` and `/-/quit` work?
    pub enable_lifecycle: bool,
    /// Is every address that is listened on a loopback address?
    pub loopback_only: bool,
    /// How old a sample may be and still be on `/metrics`, ms.
    pub lookback_ms: i64,
    /// The longest that a query may take, ms.
    pub query_timeout_ms: i64,
    /// Queries at one time; further ones wait within their timeout.
    pub query_concurrency: usize,
    /// Bytes of a request's body.
    pub max_body_bytes: usize,
    /// The same of a list of alerts that is posted.
    pub max_alerts_bytes: usize,
    /// How long a request's body may take.
    pub body_timeout: std::time::Duration,
    /// Flags and their values, for `/api/v1/status/flags`.
    pub flags: Vec<(String, String)>,
    /// Revision of the source, as built; may be empty.
    pub revision: String,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            external_url: String::new(),
            route_prefix: String::new(),
            instance_id: String::new(),
            enable_lifecycle: false,
            loopback_only: false,
            lookback_ms: 300_000,
            query_timeout_ms: 120_000,
            query_concurrency: 20,
            max_body_bytes: 1 << 20,
            max_alerts_bytes: 16 << 20,
            body_timeout: std::time::Duration::from_secs(30),
            flags: Vec::new(),
            revision: String::new(),
        }
    }
}

/// Bodies of the usual greatest size that are read at one time, beside one of `max_alerts_bytes`; further ones wait.
const LARGE_BODIES: usize = 8;
/// A body of this size, bytes, is read at once.
pub(super) const SMALL_BODY: u64 = 64 * 1024;

/// Parts, options, and what the routes remember.
pub(super) struct State {
    pub parts: Parts,
    pub options: Options,
    pub page: MetricsPage,
    pub queries: Arc<Semaphore>,
    /// Memory for large bodies, in pieces of [`SMALL_BODY`]: taken until the request is answered. Or a few hundred slow
    /// clients, or long lists of alerts, would fill a small pod's memory.
    pub large_bodies: Semaphore,
    external_labels: RwLock<ExternalLabels>,
}

impl State {
    pub fn new(parts: Parts, options: Options) -> Self {
        let queries = Arc::new(Semaphore::new(options.query_concurrency.max(1)));
        let bodies = options.max_alerts_bytes + LARGE_BODIES * options.max_body_bytes;
        let pieces = bodies.div_ceil(SMALL_BODY as usize);
        Self {
            parts,
            options,
            page: MetricsPage::default(),
            queries,
            large_bodies: Semaphore::new(pieces),
            external_labels: RwLock::new(Arc::from([])),
        }
    }

    pub fn now(&self) -> Timestamp {
        self.parts.clock.now()
    }

    pub fn external_labels(&self) -> ExternalLabels {
        self.external_labels.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn set_external_labels(&self, mut labels: Vec<(String, String)>) {
        labels.order();
        let mut current = self.external_labels.write().unwrap_or_else(PoisonError::into_inner);
        // The page keeps what it rendered for as long as these are the very same.
        if **current != *labels {
            *current = labels.into();
        }
    }

    /// What the guard of state-changing routes has to know.
    pub fn posture(&self) -> Posture<'_> {
        let external = self.options.external_url.split_once("://").map(|(_, rest)| rest);
        Posture {
            authenticated: self.parts.security.authenticates(),
            loopback_only: self.options.loopback_only,
            external_host: external.map(|rest| guard::host_name(rest.split('/').next().unwrap_or_default())),
        }
    }
}
