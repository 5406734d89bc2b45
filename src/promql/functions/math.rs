//! Functions of single values.

use super::FunctionId as F;
use crate::promql::ast::Call;
use crate::promql::error::EvalError;
use crate::promql::eval::Evaluator;
use crate::promql::grid::Grid;
use crate::promql::table::{ABSENT, Table, present};
use crate::promql::value::Column;

/// A function whose first argument is a vector and whose others are scalars.
pub fn eval(e: &mut Evaluator<'_>, c: &Call, grid: Grid) -> Result<Table, EvalError> {
    let Some(arg) = c.args.first() else {
        return Err(EvalError::failed(format!("{} needs an argument", c.function.name)));
    };
    let mut table = e.vector(arg, grid)?;
    let mut params = Vec::new();
    for arg in &c.args[1..] {
        params.push(e.scalar(arg, grid)?);
    }
    let id = c.function.id;
    if let Some(f) = plain(id) {
        table = table.map(f);
        return e.dropped(table);
    }
    let param = |n: usize, k: usize, default: f64| params.get(n).map_or(default, |p| p.at(k));
    for i in 0..table.len() {
        for (k, cell) in table.row_mut(i).iter_mut().enumerate().filter(|(_, v)| present(**v)) {
            *cell = match id {
                F::Round => round(*cell, param(0, k, 1.0)),
                F::ClampMin => max_of(*cell, param(0, k, f64::NAN)),
                F::ClampMax => min_of(*cell, param(0, k, f64::NAN)),
                F::Clamp => {
                    let (low, high) = (param(0, k, f64::NAN), param(1, k, f64::NAN));
                    if high < low { ABSENT } else { max_of(low, min_of(high, *cell)) }
                }
                _ => return Err(EvalError::Unsupported(format!("function {:?}", c.function.name))),
            };
        }
    }
    e.dropped(table)
}

fn plain(id: F) -> Option<fn(f64) -> f64> {
    Some(match id {
        F::Abs => f64::abs,
        F::Ceil => f64::ceil,
        F::Floor => f64::floor,
        F::Exp => f64::exp,
        F::Ln => f64::ln,
        F::Log2 => f64::log2,
        F::Log10 => f64::log10,
        F::Sqrt => f64::sqrt,
        F::Sgn => |v| match v {
            v if v > 0.0 => 1.0,
            v if v < 0.0 => -1.0,
            v => v,
        },
        F::Sin => f64::sin,
        F::Cos => f64::cos,
        F::Tan => f64::tan,
        F::Asin => f64::asin,
        F::Acos => f64::acos,
        F::Atan => f64::atan,
        F::Sinh => f64::sinh,
        F::Cosh => f64::cosh,
        F::Tanh => f64::tanh,
        F::Asinh => f64::asinh,
        F::Acosh => f64::acosh,
        F::Atanh => f64::atanh,
        F::Deg => |v| v * 180.0 / std::f64::consts::PI,
        F::Rad => |v| v * std::f64::consts::PI / 180.0,
        _ => return None,
    })
}

/// Rounds half up to a multiple. The inverse keeps `round(x, 0.1)` from showing float dust.
fn round(v: f64, to_nearest: f64) -> f64 {
    let inverse = 1.0 / to_nearest;
    (v * inverse + 0.5).floor() / inverse
}

/// The smaller one; NaN wins.
pub fn min_of(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// The larger one; NaN wins.
pub fn max_of(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// `scalar()`: the value of the only series at each step, NaN when there is none or more than one.
pub fn scalar_of(table: &Table) -> Column {
    let cells = (0..table.width)
        .map(|k| {
            let mut found = (0..table.len()).map(|i| table.row(i)[k]).filter(|v| present(*v));
            match (found.next(), found.next()) {
                (Some(v), None) => v,
                _ => f64::NAN,
            }
        })
        .collect();
    Column::Steps(cells)
}

/// Every value of a scalar changed.
pub fn map_column(c: Column, f: impl Fn(f64) -> f64) -> Column {
    match c {
        Column::Same(v) => Column::Same(f(v)),
        Column::Steps(v) => Column::Steps(v.into_iter().map(f).collect()),
    }
}

/// Two scalars made one.
pub fn zip_columns(l: &Column, r: &Column, steps: usize, f: impl Fn(f64, f64) -> f64) -> Column {
    match (l, r) {
        (Column::Same(l), Column::Same(r)) => Column::Same(f(*l, *r)),
        _ => Column::Steps((0..steps).map(|i| f(l.at(i), r.at(i))).collect()),
    }
}
