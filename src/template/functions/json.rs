//! Values as JSON, as Go's encoder writes them.

use std::fmt::Write as _;

use super::super::print::Bounded;
use super::super::time::RFC3339_NANO;
use super::super::value::{MapKind, Value};
use super::Call;

pub(super) fn to_json(c: &Call<'_>) -> Result<Value, String> {
    let mut out = Bounded::new(c.limit);
    write(c.arg(0), &mut out)?;
    out.finish().map(Value::from)
}

fn write(value: &Value, out: &mut Bounded) -> Result<(), String> {
    if out.overflowed {
        return Ok(());
    }
    match value {
        Value::Nil => out.push("null"),
        Value::Bool(b) => out.push(if *b { "true" } else { "false" }),
        Value::Int(i) | Value::Duration(i) => out.push(&i.to_string()),
        Value::Calendar(c) => out.push(&c.number().to_string()),
        Value::Uint(u) => out.push(&u.to_string()),
        Value::Float(f) if f.is_finite() => out.push(&number(*f)),
        Value::Float(f) => {
            return Err(format!("json: unsupported value: {}", crate::model::format_float(*f)));
        }
        Value::Str(s) | Value::Safe(_, s) => out.push(&text(s)),
        Value::Time(t) => out.push(&text(&t.format(RFC3339_NANO))),
        Value::List(l) => {
            out.push("[");
            for (i, item) in l.items.iter().enumerate() {
                out.push(if i == 0 { "" } else { "," });
                write(item, out)?;
            }
            out.push("]");
        }
        Value::Map(m) if m.kind == MapKind::NoKv => out.push("null"),
        Value::Map(m) => {
            let entries = m.entries.iter().map(|(k, v)| (k.as_ref(), v));
            object(entries, out)?;
        }
        Value::Struct(s) => object(s.fields.iter().map(|f| (f.json, &f.value)), out)?,
    }
    Ok(())
}

fn object<'a>(entries: impl Iterator<Item = (&'a str, &'a Value)>, out: &mut Bounded) -> Result<(), String> {
    out.push("{");
    for (i, (key, value)) in entries.enumerate() {
        out.push(if i == 0 { "" } else { "," });
        out.push(&text(key));
        out.push(":");
        write(value, out)?;
    }
    out.push("}");
    Ok(())
}

/// Plain between 1e-6 and 1e21, with a short exponent otherwise.
fn number(v: f64) -> String {
    let magnitude = v.abs();
    if magnitude == 0.0 || (1e-6..1e21).contains(&magnitude) {
        return crate::model::format_float(v);
    }
    crate::model::format_float_exposition(v).replace("e-0", "e-")
}

/// A quoted text; `<`, `>` and `&` are escaped, so that it may stand in a page.
pub(super) fn text(s: &str) -> String {
    let mut out = String::with_capacity(s.len() + 2);
    out.push('"');
    for c in s.chars() {
        match c {
            '"' => out += "\\\"",
            '\\' => out += "\\\\",
            '\n' => out += "\\n",
            '\r' => out += "\\r",
            '\t' => out += "\\t",
            '\x08' => out += "\\b",
            '\x0c' => out += "\\f",
            // Writing to a String cannot fail.
            c if (c as u32) < 0x20 || matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
