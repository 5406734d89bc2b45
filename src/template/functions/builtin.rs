//! The functions that every Go template has.

use super::super::print;
use super::super::value::{MapKind, Value};
use super::{Call, Function, MANY, Run, compare, plain, text};

pub(super) const FUNCTIONS: &[Function] = &[
    Function { name: "and", arity: (1, MANY), run: Run::And },
    Function { name: "or", arity: (1, MANY), run: Run::Or },
    plain("not", 1, 1, |c| Ok(Value::Bool(!c.arg(0).truth()))),
    plain("eq", 1, MANY, compare::eq),
    plain("ne", 2, 2, compare::ne),
    plain("lt", 2, 2, compare::lt),
    plain("le", 2, 2, compare::le),
    plain("gt", 2, 2, compare::gt),
    plain("ge", 2, 2, compare::ge),
    plain("len", 1, 1, len),
    plain("index", 1, MANY, index),
    plain("slice", 1, 4, slice),
    plain("print", 0, MANY, |c| print::join(c.args, false, c.limit).map(Value::from)),
    plain("println", 0, MANY, |c| print::join(c.args, true, c.limit).map(Value::from)),
    plain("printf", 1, MANY, |c| print::printf(c.text(0)?, &c.args[1..], c.limit).map(Value::from)),
    plain("html", 0, MANY, |c| c.bounded(text::html_escape(&one_text(c)?))),
    plain("js", 0, MANY, |c| c.bounded(text::js_escape(&one_text(c)?))),
    plain("urlquery", 0, MANY, |c| c.bounded(text::query_escape(&one_text(c)?))),
    plain("call", 1, MANY, |c| Err(format!("non-function of type {}", c.arg(0).type_name()))),
];

/// The arguments as one text.
fn one_text(c: &Call<'_>) -> Result<String, String> {
    match c.args {
        [one] if one.as_str().is_some() => Ok(one.as_str().unwrap_or_default().to_owned()),
        [Value::Nil] => Ok("<no value>".to_owned()),
        args => print::join(args, false, c.limit),
    }
}

fn len(c: &Call<'_>) -> Result<Value, String> {
    let n = match c.arg(0) {
        Value::Str(s) | Value::Safe(_, s) => s.len(),
        Value::List(l) => l.items.len(),
        Value::Map(m) => m.entries.len(),
        Value::Nil => return Err("len of nil pointer".to_owned()),
        other => return Err(format!("len of type {}", other.type_name())),
    };
    Ok(Value::Int(n as i64))
}

/// A number that points into something `length` long.
fn position(value: &Value, length: usize, inclusive: bool) -> Result<usize, String> {
    let n = match value {
        Value::Int(i) | Value::Duration(i) => i128::from(*i),
        Value::Calendar(c) => i128::from(c.number()),
        Value::Uint(u) => i128::from(*u),
        Value::Nil => return Err("cannot index slice/array with nil".to_owned()),
        other => return Err(format!("cannot index slice/array with type {}", other.type_name())),
    };
    let most = length + usize::from(inclusive);
    usize::try_from(n).ok().filter(|n| *n < most).ok_or_else(|| format!("index out of range: {n}"))
}

fn index(c: &Call<'_>) -> Result<Value, String> {
    let mut value = c.arg(0).clone();
    for at in &c.args[1..] {
        value = match &value {
            Value::Nil => return Err("index of untyped nil".to_owned()),
            Value::List(l) => l.items[position(at, l.items.len(), false)?].clone(),
            Value::Str(s) | Value::Safe(_, s) => {
                Value::Uint(u64::from(s.as_bytes()[position(at, s.len(), false)?]))
            }
            Value::Map(m) => {
                let Value::Str(key) = at else {
                    return Err(format!("value has type {}; should be string", at.type_name()));
                };
                match (m.entries.get(key), m.kind) {
                    (Some(v), _) => v.clone(),
                    (None, MapKind::Any) => Value::Nil,
                    (None, _) => Value::from(""),
                }
            }
            other => return Err(format!("can't index item of type {}", other.type_name())),
        };
    }
    Ok(value)
}

fn slice(c: &Call<'_>) -> Result<Value, String> {
    let item = c.arg(0);
    let length = match item {
        Value::Str(s) | Value::Safe(_, s) => {
            if c.args.len() > 3 {
                return Err("cannot 3-index slice a string".to_owned());
            }
            s.len()
        }
        Value::List(l) => l.items.len(),
        Value::Nil => return Err("slice of untyped nil".to_owned()),
        other => return Err(format!("can't slice item of type {}", other.type_name())),
    };
    let bound = |i: usize, default: usize| match c.args.get(i) {
        Some(v) => position(v, length, true),
        None => Ok(default),
    };
    let (from, to) = (bound(1, 0)?, bound(2, length)?);
    bound(3, length)?;
    if from > to {
        return Err(format!("invalid slice index: {from} > {to}"));
    }
    match item {
        Value::List(l) => Value::list_of(l.kind, l.items[from..to].to_vec()),
        other => {
            let bytes = &other.as_str().unwrap_or_default().as_bytes()[from..to];
            Ok(Value::from(String::from_utf8_lossy(bytes).into_owned()))
        }
    }
}
