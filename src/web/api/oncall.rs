//! `GET /api/v1/oncall`: who is on call now and next, and when nobody is.

use super::super::params::Params;
use super::super::respond::{ApiError, ErrorKind, Success};
use super::super::state::State;
use crate::paging::oncall::{MAX_DAYS, OnCall};

/// How far ahead gaps are looked for when the request does not say, days.
const DAYS: i64 = 30;

pub(super) fn oncall(state: &State, params: &Params) -> Result<Success, ApiError> {
    Success::of(&at(state, params)?)
}

/// The view that the parameters `at` and `days` ask for.
pub(in crate::web) fn at(state: &State, params: &Params) -> Result<OnCall, ApiError> {
    let config = (state.parts.pager)()
        .and_then(|p| p.config())
        .ok_or_else(|| ApiError::new(ErrorKind::NotFound, "paging is not configured"))?;
    let at = match params.get("at") {
        "" => state.now(),
        text => super::super::params::parse_time(text)
            .ok_or_else(|| ApiError::invalid("at", format_args!("{text:?} is no time")))?,
    };
    let days = match params.get("days") {
        "" => DAYS,
        text => match text.parse::<i64>() {
            Ok(n) if (1..=MAX_DAYS).contains(&n) => n,
            _ => {
                return Err(ApiError::invalid(
                    "days",
                    format_args!("{text:?} is no number from 1 to {MAX_DAYS}"),
                ));
            }
        },
    };
    Ok(OnCall::of(&config, at, days))
}
