//! The central store that baselines learn from when they are new.

use crate::model::Timestamp;
use crate::remote::RemoteQuery;
use crate::rules::{Asked, RemoteHistory};

/// A Prometheus-compatible server as the rules ask it.
#[derive(Debug)]
pub struct CentralHistory(pub RemoteQuery);

impl RemoteHistory for CentralHistory {
    fn range<'a>(&'a self, expr: &'a str, start: Timestamp, end: Timestamp, step: i64) -> Asked<'a> {
        Box::pin(async move {
            let series = self.0.range(expr, start, end, step).await.map_err(|e| e.to_string())?;
            let points = |samples: Vec<crate::model::Sample>| samples.iter().map(|s| (s.t, s.v)).collect();
            Ok(series.into_iter().map(|(labels, samples)| (labels, points(samples))).collect())
        })
    }
}
