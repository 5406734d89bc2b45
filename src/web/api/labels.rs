//! Series, label names, label values.

use std::collections::BTreeSet;
use std::sync::Arc;

use super::super::json::push_labels;
use super::super::params::{MAX_TIME, MIN_TIME, Params};
use super::super::respond::{ApiError, ErrorKind, Success, push_strings};
use super::super::server::Asked;
use super::super::state::State;
use super::{blocking, series_selector};
use crate::model::{Labels, Matcher, Timestamp};

/// What the three routes have in common.
struct Scope {
    sets: Vec<Vec<Matcher>>,
    start: Timestamp,
    end: Timestamp,
    limit: usize,
}

impl Scope {
    fn read(params: &Params) -> Result<Self, ApiError> {
        let limit = params.limit("limit")?.unwrap_or(usize::MAX);
        let start = params.time("start", MIN_TIME)?;
        let end = params.time("end", MAX_TIME)?;
        if end < start {
            return Err(ApiError::invalid("end", "end timestamp must not be before start timestamp"));
        }
        let sets = params.all("match[]").map(series_selector).collect::<Result<_, _>>()?;
        Ok(Self { sets, start, end, limit })
    }

    /// Asks for each of the sets, or once for everything, and puts the answers together.
    fn gather<T: Ord>(&self, ask: impl Fn(&[Matcher]) -> Vec<T>) -> BTreeSet<T> {
        match self.sets.as_slice() {
            [] => ask(&[]).into_iter().collect(),
            sets => sets.iter().flat_map(|s| ask(s)).collect(),
        }
    }

    fn strings(&self, all: &BTreeSet<String>) -> Success {
        let mut data = Vec::new();
        push_strings(&mut data, all.iter().take(self.limit).map(String::as_str));
        let mut success = Success::json(data);
        self.warn(&mut success, all.len());
        success
    }

    fn warn(&self, success: &mut Success, found: usize) {
        if found > self.limit {
            success.warnings.push("results truncated due to limit".to_owned());
        }
    }
}

/// `/series`.
pub(super) async fn series(state: &Arc<State>, asked: Asked) -> Result<Success, ApiError> {
    if asked.params.all("match[]").next().is_none() {
        return Err(ApiError::new(ErrorKind::BadData, "no match[] parameter provided"));
    }
    let scope = Scope::read(&asked.params)?;
    let storage = state.parts.storage.clone();
    blocking(move || {
        let all: BTreeSet<Labels> = scope.gather(|set| storage.series(set, scope.start, scope.end));
        let mut data = Vec::with_capacity(all.len().min(scope.limit) * 128);
        data.push(b'[');
        for (i, labels) in all.iter().take(scope.limit).enumerate() {
            if i > 0 {
                data.push(b',');
            }
            push_labels(&mut data, labels);
        }
        data.push(b']');
        let mut success = Success::json(data);
        scope.warn(&mut success, all.len());
        Ok(success)
    })
    .await
}

/// `/labels`.
pub(super) async fn names(state: &Arc<State>, asked: Asked) -> Result<Success, ApiError> {
    let scope = Scope::read(&asked.params)?;
    let storage = state.parts.storage.clone();
    blocking(move || {
        let all = scope.gather(|set| storage.label_names(set, scope.start, scope.end));
        Ok(scope.strings(&all))
    })
    .await
}

/// `/label/NAME/values`.
pub(super) async fn values(state: &Arc<State>, asked: Asked, name: &str) -> Result<Success, ApiError> {
    // Clients write names outside the old alphabet as `U__` with `_HEX_` for what it lacks.
    let name = unescaped(name).unwrap_or_else(|| name.to_owned());
    if name.is_empty() {
        return Err(ApiError::new(ErrorKind::BadData, format_args!("invalid label name: {name:?}")));
    }
    let scope = Scope::read(&asked.params)?;
    let storage = state.parts.storage.clone();
    blocking(move || {
        let all = scope.gather(|set| storage.label_values(&name, set, scope.start, scope.end));
        Ok(scope.strings(&all))
    })
    .await
}

fn unescaped(name: &str) -> Option<String> {
    let mut rest = name.strip_prefix("U__")?;
    let mut out = String::new();
    while let Some(at) = rest.find('_') {
        out.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(tail) = rest.strip_prefix('_') {
            out.push('_');
            rest = tail;
            continue;
        }
        let (code, tail) = rest.split_once('_')?;
        out.push(u32::from_str_radix(code, 16).ok().and_then(char::from_u32)?);
        rest = tail;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_label_names() {
        for (name, expect) in [
            ("job", None),
            ("U__http_2e_method", Some("http.method")),
            ("U__a__b", Some("a_b")),
            ("U__a_zz_b", None),
            ("U__a_110000_", None),
            ("U__", Some("")),
        ] {
            assert_eq!(unescaped(name).as_deref(), expect, "{name}");
        }
    }
}
