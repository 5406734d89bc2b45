//! `GET /api/v1/incidents/ID/postmortem` and `…/band.svg`: an incident to write about, and its picture.

use std::sync::Arc;

use base64::Engine as _;
use hyper::StatusCode;
use hyper::header::CONTENT_SECURITY_POLICY;

use super::super::respond::{Answer, ApiError, ErrorKind, body};
use super::super::server::Asked;
use super::super::state::State;
use super::{blocking, evaluate_range};
use crate::chart::svg;
use crate::model::METRIC_NAME;
use crate::paging::incident::Incident;
use crate::paging::report::{picture, postmortem};
use crate::promql::{self, NodeKind, Value, ValueType};
use crate::rules::RuleType;

/// Points of a line that is evaluated anew.
const POINTS: i64 = 900;

/// The Markdown. `picture=link` names a file beside it, `none` leaves it out; otherwise it stands in the text.
pub(super) async fn markdown(state: &Arc<State>, asked: &Asked, id: &str) -> Result<Answer, ApiError> {
    let incident = record(state, id).await?;
    let picture = match asked.params.get("picture") {
        "none" => None,
        "link" => band(state, &incident).await.map(|_| format!("incident-{}.svg", incident.id)),
        "" | "inline" => band(state, &incident).await.map(|svg| {
            let encoded = base64::engine::general_purpose::STANDARD.encode(svg::standalone(&svg));
            format!("data:image/svg+xml;base64,{encoded}")
        }),
        other => {
            return Err(ApiError::invalid("picture", format_args!("{other:?} is no inline, link or none")));
        }
    };
    let text = postmortem::markdown(&incident, picture.as_deref());
    Ok(body(StatusCode::OK, "text/markdown; charset=utf-8", text))
}

/// The picture as a file.
pub(super) async fn picture_file(state: &Arc<State>, id: &str) -> Result<Answer, ApiError> {
    let incident = record(state, id).await?;
    let svg = band(state, &incident)
        .await
        .ok_or_else(|| ApiError::new(ErrorKind::NotFound, "no series of the alert's rule is stored"))?;
    let answer = body(StatusCode::OK, "image/svg+xml", svg::standalone(&svg));
    Ok(answer.with(CONTENT_SECURITY_POLICY, "default-src 'none'; style-src 'unsafe-inline'"))
}

/// The incident as the ledger has it.
pub(in crate::web) async fn record(state: &State, id: &str) -> Result<Incident, ApiError> {
    let none = || ApiError::new(ErrorKind::NotFound, format_args!("no incident {id}"));
    let number: u64 = id.parse().map_err(|_| none())?;
    let pager = (state.parts.pager)().ok_or_else(none)?;
    let found = pager.record(number).await.map_err(|e| ApiError::new(ErrorKind::Internal, e))?;
    found.ok_or_else(none)
}

/// The picture of an incident: the band if its rule stores one, else the value of the rule's expression.
pub(in crate::web) async fn band(state: &Arc<State>, incident: &Incident) -> Option<String> {
    let now = state.now();
    let (storage, of) = (state.parts.storage.clone(), incident.clone());
    if let Ok(Some((rule, points))) = blocking(move || Ok(picture::recorded(&storage, &of, now))).await {
        return Some(picture::draw(incident, &rule, &points));
    }
    let (from, to) = picture::window(incident, now);
    let step = ((to - from) / POINTS).max(1000);
    for alert in incident.alerts.iter().take(3) {
        let Some(name) = alert.labels.get("alertname") else { continue };
        let groups = state.parts.rules.groups();
        let rules = groups.iter().flat_map(|g| &g.rules);
        let rule = rules.filter(|r| r.kind != RuleType::Recording).find(|r| r.name == *name);
        let Some(query) = rule.map(|r| r.query.clone()) else { continue };
        let query = measured(&query);
        let Ok(result) = evaluate_range(state, &query, from, to, step).await else { continue };
        let Value::Matrix(rows) = result.value else { continue };
        let row = rows.iter().find(|(labels, _)| {
            let mut own = labels.iter().filter(|(n, _)| *n != METRIC_NAME);
            own.all(|(n, v)| alert.labels.get(n).is_some_and(|of_alert| of_alert == v))
        });
        if let Some((_, samples)) = row {
            return Some(picture::draw(incident, name, &picture::line(samples)));
        }
    }
    None
}

/// What an alerting expression measures, without the limit that it holds it against: what a picture is to show also
/// before and after. `rate(x[5m]) > 3` is about `rate(x[5m])`.
fn measured(query: &str) -> String {
    let Ok(expr) = promql::parse(query) else { return query.to_owned() };
    let mut node = expr.root();
    loop {
        node = match &node.kind {
            NodeKind::Paren(inner) => inner,
            NodeKind::Binary(b) if matches!(b.op, promql::Op::And | promql::Op::Unless) => &b.lhs,
            NodeKind::Binary(b) if b.op.is_comparison() => match (b.lhs.value_type(), b.rhs.value_type()) {
                (ValueType::Scalar, ValueType::Vector) => &b.rhs,
                (ValueType::Vector, _) => &b.lhs,
                _ => break,
            },
            _ => break,
        };
    }
    let span = node.span.start as usize..node.span.end as usize;
    expr.text().get(span).unwrap_or(query).to_owned()
}

#[cfg(test)]
mod tests {
    use super::measured;

    #[test]
    fn an_expression_without_its_limit() {
        for (query, expect) in [
            ("queue_depth > 10", "queue_depth"),
            ("10 < (sum by (job) (rate(x[5m])))", "sum by (job) (rate(x[5m]))"),
            ("(a > 1) and b", "a"),
            ("a / b >= bool 0.5 unless on (job) c == 1", "a / b"),
            ("up == 0", "up"),
            ("a > b", "a"),
            ("absent(x)", "absent(x)"),
            ("a or b", "a or b"),
            ("nonsense((", "nonsense(("),
        ] {
            assert_eq!(measured(query), expect, "{query}");
        }
    }
}
