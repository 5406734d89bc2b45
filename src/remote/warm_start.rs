//! `rules: warm_start:` of the configuration: where baselines look for what happened before.

use std::path::Path;

use super::query::{QueryError, QueryLimits, RemoteQuery};
use crate::model::Duration;
use crate::model::yaml::table;
use crate::net::http::HttpClientConfig;

table! {
    /// A Prometheus-compatible server.
    #[derive(Debug, Clone)]
    pub struct WarmStartConfig {
        /// `http://prometheus:9090`, with its path prefix if it has one.
        pub url: String,
        /// Of one request; 30 s when left out.
        pub timeout: Option<Duration>,
        ..
        /// How it is asked.
        pub http: HttpClientConfig,
    }
}

/// A warm start takes what it can get: smaller bounds than a backtest's.
const LIMITS: QueryLimits = QueryLimits {
    timeout: std::time::Duration::from_secs(30),
    max_body: 16 << 20,
    max_series: 20_000,
    max_samples: 3_000_000,
};

impl WarmStartConfig {
    /// Checks what the types alone don't.
    ///
    /// # Errors
    /// A sentence that names the key.
    pub fn validate(&self) -> Result<(), String> {
        if !["http://", "https://"].iter().any(|scheme| self.url.starts_with(scheme)) {
            return Err(format!("url: want http://HOST:PORT or https://HOST:PORT, not {:?}", self.url));
        }
        self.http.validate()
    }

    /// Whom to ask; files are relative to `base_dir`.
    ///
    /// # Errors
    /// The client's configuration is no good.
    pub fn query(&self, base_dir: &Path) -> Result<RemoteQuery, QueryError> {
        let timeout = self.timeout.filter(|t| !t.is_zero()).map_or(LIMITS.timeout, Duration::to_std);
        let query = RemoteQuery::in_dir(&self.url, &self.http, base_dir)?;
        Ok(query.with_limits(QueryLimits { timeout, ..LIMITS }))
    }
}
