//! The functions of Alertmanager's message templates.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;

use super::super::print::Bounded;
use super::super::time::{self, Time};
use super::super::value::{ListKind, MapKind, SafeKind, Value};
use super::{Call, Function, MANY, humanize, json, plain, prometheus, text};

pub(super) const FUNCTIONS: &[Function] = &[
    plain("toUpper", 1, 1, text::upper),
    plain("toLower", 1, 1, text::lower),
    plain("title", 1, 1, text::title_and_lower),
    plain("trimSpace", 1, 1, |c| Ok(c.text(0)?.trim().into())),
    plain("join", 2, 2, join),
    plain("match", 2, 2, text::matches),
    plain("reReplaceAll", 3, 3, text::re_replace_all),
    plain("safeHtml", 1, 1, |c| Ok(Value::Safe(SafeKind::Html, c.text(0)?.into()))),
    plain("safeUrl", 1, 1, |c| Ok(Value::Safe(SafeKind::Url, c.text(0)?.into()))),
    plain("urlUnescape", 1, 1, |c| c.bounded(text::query_unescape(c.text(0)?)?)),
    plain("stringSlice", 0, MANY, string_slice),
    plain("list", 0, MANY, |c| Value::list(c.args.to_vec())),
    plain("append", 1, MANY, append),
    plain("dict", 0, MANY, dict),
    plain("toJson", 1, 1, json::to_json),
    plain("base64encode", 1, 1, |c| c.bounded(URL_SAFE.encode(c.text(0)?))),
    plain("base64decode", 1, 1, base64_decode),
    plain("date", 2, 2, |c| c.bounded(time_of(c.arg(1))?.format(c.text(0)?))),
    plain("tz", 2, 2, |c| Ok(Value::Time(time_of(c.arg(1))?.in_zone(c.text(0)?)?))),
    plain("since", 1, 1, since),
    plain("now", 0, 0, |c| Ok(Value::Time(prometheus::present(c)))),
    plain("toDate", 2, 2, |c| {
        Ok(Value::Time(time::parse(c.text(0)?, c.text(1)?).unwrap_or_else(|_| Time::zero())))
    }),
    plain("mustToDate", 2, 2, |c| Ok(Value::Time(time::parse(c.text(0)?, c.text(1)?)?))),
    plain("humanizeDuration", 1, 1, humanize::humanize_duration),
];

fn time_of(value: &Value) -> Result<&Time, String> {
    match value {
        Value::Time(t) => Ok(t),
        other => Err(format!("wrong type for value; expected time.Time; got {}", other.type_name())),
    }
}

fn since(c: &Call<'_>) -> Result<Value, String> {
    let passed = prometheus::present(c).nanos() - time_of(c.arg(0))?.nanos();
    Ok(Value::Duration(passed.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64))
}

fn join(c: &Call<'_>) -> Result<Value, String> {
    let separator = c.text(0)?;
    let list = match c.arg(1) {
        Value::List(list) if list.kind == ListKind::Strings => list,
        other => return Err(format!("wrong type for value; expected []string; got {}", other.type_name())),
    };
    let mut out = Bounded::new(c.limit);
    for (i, item) in list.items.iter().enumerate() {
        out.push(if i == 0 { "" } else { separator });
        out.push(item.as_str().ok_or_else(|| {
            format!("wrong type for value; expected []string; got an element of type {}", item.type_name())
        })?);
    }
    out.finish().map(Value::from)
}

fn string_slice(c: &Call<'_>) -> Result<Value, String> {
    for i in 0..c.args.len() {
        c.text(i)?;
    }
    Ok(Value::strings(c.args.to_vec()))
}

fn append(c: &Call<'_>) -> Result<Value, String> {
    let list = match c.arg(0) {
        Value::List(list) if list.kind == ListKind::Plain => list,
        other => {
            return Err(format!(
                "wrong type for value; expected []interface {{}}; got {}",
                other.type_name()
            ));
        }
    };
    // Each element is at least a byte of output; a list longer than that is of no use.
    if list.items.len() + c.args.len() > c.limit {
        return Err(format!("list is longer than {}", c.limit));
    }
    let mut items = list.items.clone();
    items.extend_from_slice(&c.args[1..]);
    Value::list_of(ListKind::Plain, items)
}

fn dict(c: &Call<'_>) -> Result<Value, String> {
    if !c.args.len().is_multiple_of(2) {
        return Err("invalid dict call: uneven number of arguments".to_owned());
    }
    let mut entries = BTreeMap::new();
    for pair in c.args.chunks_exact(2) {
        let Value::Str(key) = &pair[0] else { return Err("dict keys must be strings".to_owned()) };
        entries.insert(key.clone(), pair[1].clone());
    }
    Value::map(MapKind::Any, entries)
}

fn base64_decode(c: &Call<'_>) -> Result<Value, String> {
    let bytes = URL_SAFE.decode(c.text(0)?).map_err(|e| format!("illegal base64 data: {e}"))?;
    c.bounded(String::from_utf8_lossy(&bytes).into_owned())
}
