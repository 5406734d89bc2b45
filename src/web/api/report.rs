//! `GET /api/v1/report`: what the last weeks were like for the people who are paged.

use std::sync::Arc;

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, REFERRER_POLICY};

use super::super::params::{Params, parse_time};
use super::super::respond::{Answer, ApiError, ErrorKind, Success, html, method_not_allowed, text};
use super::super::server::Asked;
use super::super::state::State;
use crate::model::{Duration, Timestamp};
use crate::paging::report::{self, Night, Report, ReportOptions};

/// How far back a report goes when the request does not say, ms.
const SINCE_MS: i64 = 30 * 86_400_000;

/// Answers `/api/v1/report`.
pub(super) async fn route(state: &Arc<State>, asked: &Asked) -> Answer {
    if !asked.reads() {
        return method_not_allowed("GET");
    }
    let made = make(state, &asked.params).await;
    match (made, asked.params.get("format")) {
        (Err(e), _) => e.answer(),
        (Ok(report), "" | "json") => match Success::of(&report) {
            Ok(success) => success.answer(),
            Err(e) => e.answer(),
        },
        (Ok(report), "text") => text(StatusCode::OK, report::text(&report)),
        // It carries its style sheet inside, so that it can be kept as a file.
        (Ok(report), "html") => html(StatusCode::OK, report::html(&report))
            .with(
                CONTENT_SECURITY_POLICY,
                "default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; \
                 frame-ancestors 'none'; base-uri 'none'",
            )
            .with(REFERRER_POLICY, "same-origin"),
        (Ok(_), other) => {
            ApiError::invalid("format", format_args!("{other:?} is no json, text or html")).answer()
        }
    }
}

/// The report that the parameters `since`, `until`, `location` and `night` ask for.
pub(in crate::web) async fn make(state: &Arc<State>, params: &Params) -> Result<Report, ApiError> {
    let pager = (state.parts.pager)()
        .ok_or_else(|| ApiError::new(ErrorKind::NotFound, "paging is not configured"))?;
    let now = state.now();
    let to = moment(params, "until", now, now)?;
    let from = moment(params, "since", now, to.saturating_sub(SINCE_MS))?;
    let night = match params.get("night") {
        "" => Night::default(),
        text => Night::parse(text).map_err(|e| ApiError::invalid("night", e))?,
    };
    // Where people are on call, unless they ask for another place.
    let own = pager.config().and_then(|c| c.schedules.values().find_map(|s| s.location().map(str::to_owned)));
    let location = match params.get("location") {
        "" => own.unwrap_or_default(),
        given => given.to_owned(),
    };
    let options =
        ReportOptions::new(from, to, &location, night).map_err(|e| ApiError::invalid("location", e))?;
    pager.report(options).await.map_err(|e| ApiError::new(ErrorKind::Internal, e))
}

/// A time, or a duration before now.
fn moment(params: &Params, name: &str, now: Timestamp, default: Timestamp) -> Result<Timestamp, ApiError> {
    match params.get(name) {
        "" => Ok(default),
        text => match text.parse::<Duration>() {
            Ok(ago) => Ok(now.saturating_sub(ago.ms())),
            Err(_) => parse_time(text).ok_or_else(|| {
                ApiError::invalid(name, format_args!("{text:?} is no time, and no duration like 30d"))
            }),
        },
    }
}
