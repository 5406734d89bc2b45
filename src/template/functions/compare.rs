//! `eq`, `ne`, `lt`, `le`, `gt`, `ge` with Go's rules about types.

use std::cmp::Ordering;

use super::super::value::Value;
use super::Call;

const INCOMPATIBLE: &str = "incompatible types for comparison";
const INVALID: &str = "invalid type for comparison";

/// A value reduced to what can be compared.
enum Basic<'a> {
    Bool(bool),
    /// Signed and unsigned compare with each other.
    Integer(i128),
    Float(f64),
    Text(&'a str),
    Other,
}

fn basic(value: &Value) -> Basic<'_> {
    match value {
        Value::Bool(b) => Basic::Bool(*b),
        Value::Int(i) | Value::Duration(i) => Basic::Integer(i128::from(*i)),
        Value::Calendar(c) => Basic::Integer(i128::from(c.number())),
        Value::Uint(u) => Basic::Integer(i128::from(*u)),
        Value::Float(f) => Basic::Float(*f),
        Value::Str(s) | Value::Safe(_, s) => Basic::Text(s),
        _ => Basic::Other,
    }
}

fn equal(a: &Value, b: &Value) -> Result<bool, String> {
    match (a, b) {
        (Value::Nil, Value::Nil) => return Ok(true),
        (Value::Nil, _) | (_, Value::Nil) => return Ok(false),
        (Value::Time(a), Value::Time(b)) => return Ok(a == b),
        _ => {}
    }
    match (basic(a), basic(b)) {
        (Basic::Bool(a), Basic::Bool(b)) => Ok(a == b),
        (Basic::Integer(a), Basic::Integer(b)) => Ok(a == b),
        (Basic::Float(a), Basic::Float(b)) => Ok(a == b),
        (Basic::Text(a), Basic::Text(b)) => Ok(a == b),
        (Basic::Other, Basic::Other) => Err(format!("non-comparable type {}", a.type_name())),
        _ => Err(INCOMPATIBLE.to_owned()),
    }
}

fn order(c: &Call<'_>) -> Result<Option<Ordering>, String> {
    match (basic(c.arg(0)), basic(c.arg(1))) {
        (Basic::Integer(a), Basic::Integer(b)) => Ok(Some(a.cmp(&b))),
        (Basic::Float(a), Basic::Float(b)) => Ok(a.partial_cmp(&b)),
        (Basic::Text(a), Basic::Text(b)) => Ok(Some(a.cmp(b))),
        (Basic::Bool(_), Basic::Bool(_)) | (Basic::Other, _) | (_, Basic::Other) => Err(INVALID.to_owned()),
        _ => Err(INCOMPATIBLE.to_owned()),
    }
}

/// Is the first argument equal to any of the others?
pub(super) fn eq(c: &Call<'_>) -> Result<Value, String> {
    let Some((first, others)) = c.args.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Err("missing argument for comparison".to_owned());
    };
    for other in others {
        if equal(first, other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub(super) fn ne(c: &Call<'_>) -> Result<Value, String> {
    equal(c.arg(0), c.arg(1)).map(|same| Value::Bool(!same))
}

pub(super) fn lt(c: &Call<'_>) -> Result<Value, String> {
    order(c).map(|o| Value::Bool(o == Some(Ordering::Less)))
}

pub(super) fn le(c: &Call<'_>) -> Result<Value, String> {
    order(c).map(|o| Value::Bool(matches!(o, Some(Ordering::Less | Ordering::Equal))))
}

pub(super) fn gt(c: &Call<'_>) -> Result<Value, String> {
    order(c).map(|o| Value::Bool(o == Some(Ordering::Greater)))
}

pub(super) fn ge(c: &Call<'_>) -> Result<Value, String> {
    order(c).map(|o| Value::Bool(matches!(o, Some(Ordering::Greater | Ordering::Equal))))
}
