//! History on a server: expressions are evaluated there.

use tokio::runtime::Runtime;

use crate::model::{Labels, Sample, Timestamp};
use crate::promql::Expr;
use crate::remote::RemoteQuery;

use super::run::Fetch;

/// Asks a Prometheus-compatible server, on a runtime of its own.
pub struct RemoteHistory {
    query: RemoteQuery,
    runtime: Runtime,
}

impl RemoteHistory {
    /// # Errors
    /// No runtime can be made.
    pub fn new(query: RemoteQuery) -> std::io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Ok(Self { query, runtime })
    }
}

impl Fetch for RemoteHistory {
    fn range(
        &self,
        expr: &Expr,
        start: Timestamp,
        end: Timestamp,
        step: i64,
    ) -> Result<Vec<(Labels, Vec<Sample>)>, String> {
        let asked = self.query.range(expr.text(), start, end, step);
        self.runtime.block_on(asked).map_err(|e| format!("{}: {e}", expr.text()))
    }
}
