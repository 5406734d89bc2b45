//! Fields and methods of values: `.Labels.job`, `.SortedPairs`, `.Format "2006"`.

use super::time::{Time, duration_text};
use super::value::{Field, List, ListKind, Map, MapKind, Value};

/// Why there is no such field.
pub(super) enum FieldError {
    /// The key is absent from a map without a zero value.
    NoEntry,
    Other(String),
}

/// The field or method `name` of a value.
pub(super) fn field(receiver: &Value, name: &str, args: &[Value]) -> Result<Value, FieldError> {
    let method = method(receiver, name, args).map_err(FieldError::Other)?;
    if let Some(value) = method {
        return Ok(value);
    }
    let no_method =
        || FieldError::Other(format!("can't evaluate field {name} in type {}", receiver.type_name()));
    if !args.is_empty() {
        return Err(FieldError::Other(format!("{name} has arguments but cannot be invoked as function")));
    }
    match receiver {
        Value::Map(m) => match (m.entries.get(name), m.kind) {
            (Some(value), _) => Ok(value.clone()),
            (None, MapKind::Any) => Err(FieldError::NoEntry),
            (None, _) => Ok(Value::from("")),
        },
        Value::Struct(s) => {
            s.fields.iter().find(|f| f.name == name).map(|f| f.value.clone()).ok_or_else(no_method)
        }
        Value::Nil => Err(FieldError::NoEntry),
        _ => Err(no_method()),
    }
}

/// Calls a method, if the value has it.
fn method(receiver: &Value, name: &str, args: &[Value]) -> Result<Option<Value>, String> {
    match receiver {
        Value::Map(m) if matches!(m.kind, MapKind::Kv | MapKind::NoKv) => labels_method(m, name, args),
        Value::List(l) => list_method(l, name, args),
        Value::Time(t) => time_method(t, name, args),
        Value::Duration(nanos) => duration_method(*nanos, name, args),
        Value::Calendar(c) if name == "String" => no_args(name, args, c.name().into()),
        _ => Ok(None),
    }
}

fn no_args(name: &str, args: &[Value], value: Value) -> Result<Option<Value>, String> {
    if args.is_empty() {
        Ok(Some(value))
    } else {
        Err(format!("wrong number of args for {name}: want 0 got {}", args.len()))
    }
}

fn one_arg<'a>(name: &str, args: &'a [Value]) -> Result<&'a Value, String> {
    match args {
        [one] => Ok(one),
        _ => Err(format!("wrong number of args for {name}: want 1 got {}", args.len())),
    }
}

/// Names and values by name, `alertname` first, as in Alertmanager's messages.
pub(super) fn in_order(map: &Map) -> impl Iterator<Item = (&std::sync::Arc<str>, &Value)> {
    let first = map.entries.get_key_value("alertname");
    first.into_iter().chain(map.entries.iter().filter(|(k, _)| k.as_ref() != "alertname"))
}

fn sorted_pairs(map: &Map) -> Result<Value, String> {
    let pairs = in_order(map).map(|(k, v)| {
        Value::structure(
            "template.Pair",
            vec![
                Field { name: "Name", json: "Name", value: Value::Str(k.clone()) },
                Field { name: "Value", json: "Value", value: v.clone() },
            ],
        )
    });
    Value::list_of(ListKind::Pairs, pairs.collect::<Result<_, _>>()?)
}

fn labels_method(map: &Map, name: &str, args: &[Value]) -> Result<Option<Value>, String> {
    match name {
        "SortedPairs" => no_args(name, args, sorted_pairs(map)?),
        "Names" | "Values" => {
            let pairs = sorted_pairs(map)?;
            method(&pairs, name, args)
        }
        "Remove" => {
            let names = one_arg(name, args)?;
            let Value::List(names) = names else {
                return Err(format!("wrong type for value; expected []string; got {}", names.type_name()));
            };
            if names.kind != ListKind::Strings {
                return Err(format!("wrong type for value; expected []string; got {}", args[0].type_name()));
            }
            let gone: Vec<&str> = names.items.iter().filter_map(Value::as_str).collect();
            let entries = map
                .entries
                .iter()
                .filter(|(k, _)| !gone.contains(&k.as_ref()))
                .map(|(k, v)| (k.clone(), v.clone()))
                .collect();
            Value::map(MapKind::Kv, entries).map(Some)
        }
        _ => Ok(None),
    }
}

fn list_method(list: &List, name: &str, args: &[Value]) -> Result<Option<Value>, String> {
    let fields = |field: &str| -> Vec<Value> {
        let of = |item: &Value| match item {
            Value::Struct(s) => s.fields.iter().find(|f| f.name == field).map(|f| f.value.clone()),
            _ => None,
        };
        list.items.iter().filter_map(of).collect()
    };
    match (list.kind, name) {
        (ListKind::Pairs, "Names") => no_args(name, args, Value::strings(fields("Name"))),
        (ListKind::Pairs, "Values") => no_args(name, args, Value::strings(fields("Value"))),
        (ListKind::Alerts, "Firing" | "Resolved") => {
            let status = name.to_ascii_lowercase();
            let has = |item: &&Value| match item {
                Value::Struct(s) => {
                    s.fields.iter().any(|f| f.name == "Status" && f.value.as_str() == Some(&status))
                }
                _ => false,
            };
            let items = list.items.iter().filter(has).cloned().collect();
            no_args(name, args, Value::list_of(ListKind::Alerts, items)?)
        }
        _ => Ok(None),
    }
}

fn time_method(t: &Time, name: &str, args: &[Value]) -> Result<Option<Value>, String> {
    let other = || match one_arg(name, args)? {
        Value::Time(t) => Ok(t.nanos()),
        other => Err(format!("wrong type for value; expected time.Time; got {}", other.type_name())),
    };
    let civil = t.civil();
    let int = |n: i64| no_args(name, args, Value::Int(n));
    match name {
        "Format" => {
            let layout = one_arg(name, args)?;
            let layout = layout.as_str().ok_or("wrong type for value; expected string")?;
            Ok(Some(t.format(layout).into()))
        }
        "String" => no_args(name, args, t.to_string().into()),
        "UTC" => no_args(name, args, Value::Time(t.in_zone("UTC")?)),
        "Unix" => int(t.nanos().div_euclid(1_000_000_000) as i64),
        "UnixMilli" => int(t.nanos().div_euclid(1_000_000) as i64),
        "UnixNano" => int(t.nanos() as i64),
        "Year" => int(i64::from(civil.year())),
        "Month" => no_args(name, args, Value::Calendar(t.month())),
        "Day" => int(i64::from(civil.day())),
        "YearDay" => int(i64::from(civil.date().day_of_year())),
        "Hour" => int(i64::from(civil.hour())),
        "Minute" => int(i64::from(civil.minute())),
        "Second" => int(i64::from(civil.second())),
        "Nanosecond" => int(i64::from(civil.subsec_nanosecond())),
        "Weekday" => no_args(name, args, Value::Calendar(t.weekday())),
        "IsZero" => no_args(name, args, Value::Bool(t.is_zero())),
        "Before" => Ok(Some(Value::Bool(t.nanos() < other()?))),
        "After" => Ok(Some(Value::Bool(t.nanos() > other()?))),
        "Equal" => Ok(Some(Value::Bool(t.nanos() == other()?))),
        "Sub" => {
            let passed = t.nanos() - other()?;
            Ok(Some(Value::Duration(passed.clamp(i128::from(i64::MIN), i128::from(i64::MAX)) as i64)))
        }
        "Add" => match one_arg(name, args)? {
            Value::Duration(nanos) | Value::Int(nanos) => {
                t.add(*nanos).map(|t| Some(Value::Time(t))).ok_or_else(|| "time out of range".to_owned())
            }
            other => Err(format!("wrong type for value; expected time.Duration; got {}", other.type_name())),
        },
        _ => Ok(None),
    }
}

fn duration_method(nanos: i64, name: &str, args: &[Value]) -> Result<Option<Value>, String> {
    let float = |v: f64| no_args(name, args, Value::Float(v));
    match name {
        "String" => no_args(name, args, duration_text(nanos).into()),
        "Hours" => float(nanos as f64 / 3.6e12),
        "Minutes" => float(nanos as f64 / 6e10),
        "Seconds" => float(nanos as f64 / 1e9),
        "Milliseconds" => no_args(name, args, Value::Int(nanos / 1_000_000)),
        "Microseconds" => no_args(name, args, Value::Int(nanos / 1_000)),
        "Nanoseconds" => no_args(name, args, Value::Int(nanos)),
        "Abs" => no_args(name, args, Value::Duration(nanos.saturating_abs())),
        "Truncate" | "Round" => match one_arg(name, args)? {
            Value::Duration(unit) | Value::Int(unit) if *unit > 0 => {
                let down = nanos - nanos % unit;
                let rounds =
                    name == "Round" && (nanos % unit).unsigned_abs() >= unit.unsigned_abs().div_ceil(2);
                let step = if rounds { nanos.signum() * unit } else { 0 };
                Ok(Some(Value::Duration(down.saturating_add(step))))
            }
            Value::Duration(_) | Value::Int(_) => Ok(Some(Value::Duration(nanos))),
            other => Err(format!("wrong type for value; expected time.Duration; got {}", other.type_name())),
        },
        _ => Ok(None),
    }
}
