//! The functions of Prometheus's rule templates.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::model::{Duration, Labels, Order as _, tree};

use super::super::time::Time;
use super::super::value::{Field, ListKind, MapKind, SafeKind, Value};
use super::{Call, Function, MANY, Run, humanize, plain, text};

pub(super) const FUNCTIONS: &[Function] = &[
    plain("query", 1, 1, query),
    plain("first", 1, 1, first),
    plain("label", 2, 2, |c| label(c.text(0)?, c.arg(1))),
    plain("value", 1, 1, value),
    plain("strvalue", 1, 1, |c| label("__value__", c.arg(0))),
    plain("sortByLabel", 2, 2, sort_by_label),
    plain("args", 0, MANY, args),
    Function { name: "tmpl", arity: (2, 2), run: Run::Template },
    plain("reReplaceAll", 3, 3, text::re_replace_all),
    plain("match", 2, 2, text::matches),
    plain("title", 1, 1, text::title),
    plain("toUpper", 1, 1, text::upper),
    plain("toLower", 1, 1, text::lower),
    plain("safeHtml", 1, 1, |c| Ok(Value::Safe(SafeKind::Html, c.text(0)?.into()))),
    plain("urlQueryEscape", 1, 1, |c| c.bounded(text::query_escape(c.text(0)?))),
    plain("stripPort", 1, 1, text::strip_port),
    plain("stripDomain", 1, 1, text::strip_domain),
    plain("humanize", 1, 1, humanize::humanize),
    plain("humanize1024", 1, 1, humanize::humanize1024),
    plain("humanizeDuration", 1, 1, humanize::humanize_duration),
    plain("humanizePercentage", 1, 1, humanize::humanize_percentage),
    plain("humanizeTimestamp", 1, 1, humanize::humanize_timestamp),
    plain("toTime", 1, 1, humanize::to_time),
    plain("toDuration", 1, 1, humanize::to_duration),
    plain("parseDuration", 1, 1, parse_duration),
    plain("now", 0, 0, |c| Ok(Value::Float(c.env.now as f64 / 1000.0))),
    plain("graphLink", 1, 1, |c| link(c, 0)),
    plain("tableLink", 1, 1, |c| link(c, 1)),
    plain("externalURL", 0, 0, |c| Ok(c.env.external_url.into())),
    plain("pathPrefix", 0, 0, |c| Ok(path_of(c.env.external_url).into())),
];

/// The path of a URL, without query and fragment.
fn path_of(url: &str) -> &str {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let path = rest.find('/').map_or("", |at| &rest[at..]);
    path.split(['?', '#']).next().unwrap_or_default()
}

fn link(c: &Call<'_>, tab: u8) -> Result<Value, String> {
    c.bounded(format!("/graph?g0.expr={}&g0.tab={tab}", text::query_escape(c.text(0)?)))
}

/// A sample of a query's result, with the fields `Labels` and `Value`.
fn sample(labels: &Labels, value: f64) -> Result<Value, String> {
    Value::structure(
        "*template.sample",
        vec![
            Field { name: "Labels", json: "Labels", value: Value::labels(labels) },
            Field { name: "Value", json: "Value", value: Value::Float(value) },
        ],
    )
}

fn query(c: &Call<'_>) -> Result<Value, String> {
    let Some(source) = c.env.query else { return Err("no queries are possible here".to_owned()) };
    let result = source.query(c.text(0)?, c.env.now)?;
    Value::list(result.iter().map(|(labels, v)| sample(labels, *v)).collect::<Result<_, _>>()?)
}

fn field<'a>(sample: &'a Value, name: &str) -> Result<&'a Value, String> {
    match sample {
        Value::Struct(s) if s.name == "*template.sample" => {
            s.fields.iter().find(|f| f.name == name).map(|f| &f.value)
        }
        _ => None,
    }
    .ok_or_else(|| format!("wrong type for value; expected *template.sample; got {}", sample.type_name()))
}

fn label(name: &str, sample: &Value) -> Result<Value, String> {
    match field(sample, "Labels")? {
        Value::Map(m) => Ok(m.entries.get(name).cloned().unwrap_or_else(|| Value::from(""))),
        _ => Ok(Value::from("")),
    }
}

fn value(c: &Call<'_>) -> Result<Value, String> {
    field(c.arg(0), "Value").cloned()
}

fn samples(value: &Value) -> Result<&[Value], String> {
    match value {
        Value::List(l) => Ok(&l.items),
        other => {
            Err(format!("wrong type for value; expected template.queryResult; got {}", other.type_name()))
        }
    }
}

fn first(c: &Call<'_>) -> Result<Value, String> {
    samples(c.arg(0))?.first().cloned().ok_or_else(|| "first() called on vector with no elements".to_owned())
}

fn sort_by_label(c: &Call<'_>) -> Result<Value, String> {
    let name = c.text(0)?;
    let mut keyed: Vec<(String, Value)> = samples(c.arg(1))?
        .iter()
        .map(|s| Ok((label(name, s)?.as_str().unwrap_or_default().to_owned(), s.clone())))
        .collect::<Result<_, String>>()?;
    keyed.order_by(|a, b| a.0.cmp(&b.0));
    Value::list_of(ListKind::Plain, keyed.into_iter().map(|(_, s)| s).collect())
}

fn args(c: &Call<'_>) -> Result<Value, String> {
    let entries: BTreeMap<Arc<str>, Value> =
        tree(c.args.iter().enumerate().map(|(i, v)| (Arc::from(format!("arg{i}")), v.clone())));
    Value::map(MapKind::Any, entries)
}

fn parse_duration(c: &Call<'_>) -> Result<Value, String> {
    let d = Duration::parse_signed(c.text(0)?).map_err(|e| e.to_string())?;
    Ok(Value::Float(d.as_secs_f64()))
}

/// The present time as `now` and `since` give it.
pub(super) fn present(c: &Call<'_>) -> Time {
    Time::from_ms(c.env.now)
}
