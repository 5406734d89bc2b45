//! Queries: instant, range, and what is asked of their text.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::super::deadline::Until;
use super::super::json::{push_labels, push_point, push_str, push_value};
use super::super::params::Params;
use super::super::respond::{ApiError, ErrorKind, Success};
use super::super::server::Asked;
use super::super::state::State;
use super::blocking;
use crate::model::{Matcher, Timestamp, push_seconds};
use crate::promql::{Engine, EvalError, Expr, QueryOutput, Source, Value, ValueType};

/// The most points of a series in a range query's answer.
const MAX_POINTS: i64 = 11_000;
/// Warning of a cut answer, in Prometheus's words.
const TRUNCATED: &str = "results truncated due to limit";

fn parsed(params: &Params) -> Result<Expr, ApiError> {
    crate::promql::parse(params.get("query")).map_err(|e| ApiError::invalid("query", e))
}

/// Reads a selector as `match[]` has them.
///
/// # Errors
/// It is something else, or one that would pick everything.
pub(in crate::web) fn series_selector(text: &str) -> Result<Vec<Matcher>, ApiError> {
    let matchers = crate::promql::parse_selector(text).map_err(|e| ApiError::invalid("match[]", e))?;
    if matchers.iter().all(Matcher::matches_empty) {
        let reason = "match[] must contain at least one non-empty matcher";
        return Err(ApiError::new(ErrorKind::BadData, reason));
    }
    Ok(matchers)
}

fn failed(e: &EvalError) -> ApiError {
    match e {
        EvalError::Timeout => ApiError::new(ErrorKind::Timeout, e),
        EvalError::BadRange(_) => ApiError::invalid("query", e),
        EvalError::Source(_) => ApiError::new(ErrorKind::Internal, e),
        _ => ApiError::new(ErrorKind::Execution, e),
    }
}

/// The engine with the request's own lookback, if it has one.
fn engine(state: &State, params: &Params) -> Result<Arc<Engine>, ApiError> {
    match params.duration("lookback_delta")? {
        None => Ok(Arc::clone(&state.parts.engine)),
        Some(d) if d.ms() <= 0 => Err(ApiError::invalid("lookback_delta", "must be positive")),
        Some(d) => {
            let mut options = state.parts.engine.options().clone();
            options.lookback_ms = d.ms();
            Ok(Arc::new(Engine::new(options)))
        }
    }
}

/// Runs a query on the blocking pool when it is its turn, within the timeout; the samples come from a source
/// that runs dry when the time is up.
async fn run<T: Send + 'static>(
    state: &Arc<State>,
    timeout: Option<crate::model::Duration>,
    work: impl FnOnce(&dyn Source) -> Result<T, EvalError> + Send + 'static,
) -> Result<T, ApiError> {
    let most = state.options.query_timeout_ms;
    let ms = timeout.map_or(most, |t| t.ms().clamp(0, most));
    if ms == 0 {
        return Err(ApiError::new(ErrorKind::Timeout, EvalError::Timeout));
    }
    let limit = Duration::from_millis(ms.unsigned_abs());
    let deadline = Instant::now() + limit;
    let storage = state.parts.storage.clone();
    let queries = Arc::clone(&state.queries);
    let turn = async {
        let permit = queries.acquire_owned().await;
        blocking(move || {
            // The place is free again only when the work is really over.
            let _permit = permit;
            let source = Until::new(&storage, deadline);
            let result = work(&source).map_err(|e| failed(&e))?;
            if source.passed() { Err(failed(&EvalError::Timeout)) } else { Ok(result) }
        })
        .await
    };
    match tokio::time::timeout(limit, turn).await {
        Ok(result) => result,
        Err(_) => Err(ApiError::new(ErrorKind::Timeout, EvalError::Timeout)),
    }
}

/// `/query`.
pub(super) async fn instant(state: &Arc<State>, asked: Asked) -> Result<Success, ApiError> {
    let params = &asked.params;
    let limit = params.limit("limit")?;
    let now = state.now();
    let t = params.time("time", now)?;
    let timeout = params.duration("timeout")?;
    let engine = engine(state, params)?;
    let expr = parsed(params)?;
    run(state, timeout, move |source| {
        let output = engine.instant(source, &expr, t)?;
        Ok(write(output, t, limit))
    })
    .await
}

/// `/query_range`.
pub(super) async fn range(state: &Arc<State>, asked: Asked) -> Result<Success, ApiError> {
    let params = &asked.params;
    let limit = params.limit("limit")?;
    let start = params.required_time("start")?;
    let end = params.required_time("end")?;
    if end < start {
        return Err(ApiError::invalid("end", "end timestamp must not be before start time"));
    }
    let step = params.required_duration("step")?.ms();
    if step <= 0 {
        let reason = "zero or negative query resolution step widths are not accepted. Try a positive integer";
        return Err(ApiError::invalid("step", reason));
    }
    if end.saturating_sub(start) / step > MAX_POINTS {
        let reason = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query \
                      resolution (?step=XX)";
        return Err(ApiError::new(ErrorKind::BadData, reason));
    }
    let timeout = params.duration("timeout")?;
    let engine = engine(state, params)?;
    let expr = parsed(params)?;
    let kind = expr.value_type();
    if !matches!(kind, ValueType::Scalar | ValueType::Vector) {
        let kind = if kind == ValueType::String { "string" } else { "range vector" };
        let reason =
            format!("invalid expression type {kind:?} for range query, must be Scalar or instant Vector");
        return Err(ApiError::invalid("query", reason));
    }
    run(state, timeout, move |source| {
        let output = engine.range(source, &expr, start, end, step)?;
        Ok(write(output, end, limit))
    })
    .await
}

/// For pages: a range query's result.
pub(in crate::web) async fn evaluate_range(
    state: &Arc<State>,
    query: &str,
    start: Timestamp,
    end: Timestamp,
    step: i64,
) -> Result<QueryOutput, ApiError> {
    let expr = crate::promql::parse(query).map_err(|e| ApiError::new(ErrorKind::BadData, e))?;
    let engine = Arc::clone(&state.parts.engine);
    run(state, None, move |source| engine.range(source, &expr, start, end, step)).await
}

/// `/query_exemplars`: none are kept.
pub(super) fn exemplars(params: &Params) -> Result<Success, ApiError> {
    let start = params.required_time("start")?;
    if params.required_time("end")? < start {
        return Err(ApiError::invalid("end", "end timestamp must not be before start timestamp"));
    }
    parsed(params)?;
    Ok(Success::json(b"[]".to_vec()))
}

/// `/format_query`.
pub(super) fn format(params: &Params) -> Result<Success, ApiError> {
    let mut data = Vec::new();
    push_str(&mut data, &parsed(params)?.to_string());
    Ok(Success::json(data))
}

/// `/parse_query`: what the query is, as far as it is told.
pub(super) fn parse(params: &Params) -> Result<Success, ApiError> {
    Success::of(&super::parse_tree::tree(&parsed(params)?))
}

fn write(output: QueryOutput, t: Timestamp, limit: Option<usize>) -> Success {
    let mut out = Vec::with_capacity(256);
    let limit = limit.unwrap_or(usize::MAX);
    let mut truncated = false;
    let type_of = |out: &mut Vec<u8>, word: &str| {
        out.extend_from_slice(br#"{"resultType":""#);
        out.extend_from_slice(word.as_bytes());
        out.extend_from_slice(br#"","result":"#);
    };
    match &output.value {
        Value::Scalar(v) => {
            type_of(&mut out, "scalar");
            push_point(&mut out, crate::model::Sample { t, v: *v });
        }
        Value::String(s) => {
            type_of(&mut out, "string");
            out.push(b'[');
            push_seconds(&mut out, t);
            out.push(b',');
            push_str(&mut out, s);
            out.push(b']');
        }
        Value::Vector(samples) => {
            type_of(&mut out, "vector");
            truncated = samples.len() > limit;
            out.reserve(samples.len().min(limit) * 160);
            out.push(b'[');
            for (i, sample) in samples.iter().take(limit).enumerate() {
                out.extend_from_slice(if i > 0 { br#",{"metric":"# } else { br#"{"metric":"# });
                push_labels(&mut out, &sample.labels);
                out.extend_from_slice(br#","value":["#);
                push_seconds(&mut out, sample.t);
                out.push(b',');
                push_value(&mut out, sample.v);
                out.extend_from_slice(b"]}");
            }
            out.push(b']');
        }
        Value::Matrix(rows) => {
            type_of(&mut out, "matrix");
            truncated = rows.len() > limit;
            out.push(b'[');
            for (i, (labels, samples)) in rows.iter().take(limit).enumerate() {
                out.extend_from_slice(if i > 0 { br#",{"metric":"# } else { br#"{"metric":"# });
                push_labels(&mut out, labels);
                out.extend_from_slice(br#","values":["#);
                out.reserve(samples.len() * 32);
                for (i, sample) in samples.iter().enumerate() {
                    if i > 0 {
                        out.push(b',');
                    }
                    push_point(&mut out, *sample);
                }
                out.extend_from_slice(b"]}");
            }
            out.push(b']');
        }
    }
    out.push(b'}');
    let mut success =
        Success { data: out, warnings: output.annotations.warnings, infos: output.annotations.infos };
    if truncated {
        success.warnings.push(TRUNCATED.to_owned());
    }
    success
}
