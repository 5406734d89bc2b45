//! A query's tree as `/parse_query` gives it.

use serde_json::{Value, json};

use crate::model::{Matcher, format_float_go};
use crate::promql::{
    Aggregate, At, Binary, Cardinality, DurationExpr, DurationKind, Expr, Node, NodeKind, Selector, Shift,
};

/// Nested deeper than this, the rest is left out; the parser's own bound is lower.
const MAX_DEPTH: usize = 500;

/// The tree.
pub(super) fn tree(expr: &Expr) -> Value {
    node(expr.root(), MAX_DEPTH)
}

fn node(n: &Node, depth: usize) -> Value {
    let Some(depth) = depth.checked_sub(1) else { return Value::Null };
    match &n.kind {
        NodeKind::Number(number) => json!({ "type": "numberLiteral", "val": format_float_go(number.value) }),
        NodeKind::String(s) => json!({ "type": "stringLiteral", "val": s }),
        NodeKind::Paren(inner) => json!({ "type": "parenExpr", "expr": node(inner, depth) }),
        NodeKind::Unary(minus, inner) => {
            json!({ "type": "unaryExpr", "op": if *minus { "-" } else { "+" }, "expr": node(inner, depth) })
        }
        NodeKind::Selector(s) => selector("vectorSelector", s),
        NodeKind::Range(r) => {
            let mut value = match &r.of.kind {
                NodeKind::Selector(s) => selector("matrixSelector", s),
                _ => json!({ "type": "matrixSelector" }),
            };
            value["range"] = duration_ms(&r.range);
            value
        }
        NodeKind::Subquery(s) => {
            let mut value = json!({
                "type": "subquery",
                "expr": node(&s.of, depth),
                "range": duration_ms(&s.range),
                "step": s.step.as_ref().map_or(json!(0), duration_ms),
            });
            shift(&mut value, &s.shift);
            value
        }
        NodeKind::Call(c) => {
            let arguments: Vec<Value> = c.args.iter().map(|a| node(a, depth)).collect();
            let types: Vec<&str> = c.function.args.iter().map(|t| t.as_str()).collect();
            json!({
                "type": "call",
                "func": {
                    "name": c.function.name,
                    "argTypes": types,
                    "variadic": c.function.variadic,
                    "returnType": c.function.returns.as_str(),
                },
                "args": arguments,
            })
        }
        NodeKind::Aggregate(a) => aggregate(a, depth),
        NodeKind::Binary(b) => binary(b, depth),
    }
}

fn aggregate(a: &Aggregate, depth: usize) -> Value {
    json!({
        "type": "aggregation",
        "op": a.op.name(),
        "expr": node(&a.of, depth),
        "param": a.param.as_ref().map(|p| node(p, depth)),
        "grouping": a.grouping,
        "without": a.without,
    })
}

fn binary(b: &Binary, depth: usize) -> Value {
    let matching = b.matching.as_ref().map(|m| {
        let card = match m.cardinality {
            Cardinality::OneToOne => "one-to-one",
            Cardinality::ManyToOne => "many-to-one",
            Cardinality::OneToMany => "one-to-many",
            Cardinality::ManyToMany => "many-to-many",
        };
        json!({ "card": card, "labels": m.labels, "on": m.on, "include": m.include })
    });
    json!({
        "type": "binaryExpr",
        "op": b.op.as_str(),
        "lhs": node(&b.lhs, depth),
        "rhs": node(&b.rhs, depth),
        "matching": matching,
        "bool": b.return_bool,
    })
}

fn selector(kind: &str, s: &Selector) -> Value {
    let matchers: Vec<Value> = s.matchers.iter().map(matcher).collect();
    let mut value = json!({ "type": kind, "name": s.name, "matchers": matchers });
    shift(&mut value, &s.shift);
    value
}

fn matcher(m: &Matcher) -> Value {
    json!({ "name": m.name, "value": m.value, "type": m.op.as_str() })
}

fn shift(value: &mut Value, shift: &Shift) {
    value["offset"] = shift.offset.as_ref().map_or(json!(0), duration_ms);
    let (timestamp, edge) = match shift.at {
        None => (Value::Null, Value::Null),
        Some(At::Time(t)) => (json!(t), Value::Null),
        Some(At::Start) => (Value::Null, json!("start")),
        Some(At::End) => (Value::Null, json!("end")),
    };
    value["timestamp"] = timestamp;
    value["startOrEnd"] = edge;
}

/// Milliseconds of what is written out; 0 of what depends on the query's range and step.
fn duration_ms(d: &DurationExpr) -> Value {
    fn seconds(d: &DurationExpr) -> Option<f64> {
        match &d.kind {
            DurationKind::Literal(number) => Some(number.value),
            DurationKind::Unary(minus, inner) => seconds(inner).map(|s| if *minus { -s } else { s }),
            DurationKind::Paren(inner) => seconds(inner),
            _ => None,
        }
    }
    json!(seconds(d).map_or(0, |s| (s * 1000.0).round() as i64))
}
