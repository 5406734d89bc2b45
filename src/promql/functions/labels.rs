//! Functions that change or sort by labels.

use std::cmp::Ordering;

use super::FunctionId as F;
use crate::model::{Labels, METRIC_NAME, MatchOp, Matcher};
use crate::promql::ast::{Call, Node};
use crate::promql::error::EvalError;
use crate::promql::eval::Evaluator;
use crate::promql::grid::Grid;
use crate::promql::sums::nan_first;
use crate::promql::table::{RowLabels, Table};

/// The labels that equality matchers fix: those of `absent()`'s result.
pub fn fixed_by(matchers: &[Matcher]) -> Labels {
    let mut builder = Labels::empty().to_builder();
    let counted = |name: &str| matchers.iter().filter(|m| m.name == name).count();
    for m in matchers.iter().filter(|m| m.name != METRIC_NAME && m.op == MatchOp::Equal) {
        // A label that more than one matcher speaks of is not fixed.
        if counted(&m.name) == 1 {
            builder.set(&m.name, &m.value);
        }
    }
    builder.build()
}

/// `label_replace` and `label_join`.
pub fn relabel(e: &mut Evaluator<'_>, c: &Call, grid: Grid) -> Result<Table, EvalError> {
    let mut table = e.vector(&c.args[0], grid)?;
    let mut words = Vec::new();
    for arg in &c.args[1..] {
        words.push(e.string(arg)?);
    }
    let replace = c.function.id == F::LabelReplace;
    let target = words[0].clone();
    if target.is_empty() {
        return Err(EvalError::failed(format!(
            "invalid destination label name in {}(): {target}",
            c.function.name
        )));
    }
    let regex = if replace { Some(anchored(&words[3])?) } else { None };
    for row in &mut table.rows {
        let labels = e.visible(&row.labels, row.drop_name);
        if !e.options.delayed_name_removal {
            row.drop_name = false;
        }
        let value = match &regex {
            Some(regex) => {
                let source = labels.get(&words[2]).unwrap_or_default();
                let Some(captures) = regex.captures(source) else {
                    row.labels = labels;
                    continue;
                };
                let mut out = String::new();
                captures.expand(&words[1], &mut out);
                out
            }
            None => {
                let parts: Vec<&str> =
                    words[2..].iter().map(|name| labels.get(name).unwrap_or_default()).collect();
                parts.join(&words[1])
            }
        };
        // A name that is set anew stays.
        if target == METRIC_NAME {
            row.drop_name = false;
        }
        row.labels = labels.to_builder().set(&target, &value).build();
    }
    table.joined()
}

fn anchored(pattern: &str) -> Result<regex::Regex, EvalError> {
    crate::model::re2::compile_anchored(pattern, true)
        .map_err(|_| EvalError::failed(format!("invalid regular expression in label_replace(): {pattern}")))
}

/// The `sort` family. Without effect on range queries, whose results are sorted by labels.
pub fn sort(e: &mut Evaluator<'_>, node: &Node, c: &Call, grid: Grid) -> Result<Table, EvalError> {
    let table = e.vector(&c.args[0], grid)?;
    if e.is_range {
        e.notes.warn(
            node.span,
            "sort is ineffective for range queries since results are always ordered by labels".into(),
        );
        return Ok(table);
    }
    let mut names = Vec::new();
    for arg in &c.args[1..] {
        names.push(e.string(arg)?);
    }
    let mut order: Vec<usize> = (0..table.len()).collect();
    let value = |i: usize| table.cells[i * table.width];
    let by_label = |a: usize, b: usize| {
        let (a, b): (&RowLabels, &RowLabels) = (&table.rows[a], &table.rows[b]);
        names
            .iter()
            .map(|n| natural(a.labels.get(n).unwrap_or_default(), b.labels.get(n).unwrap_or_default()))
            .find(|o| *o != Ordering::Equal)
            .unwrap_or_else(|| a.labels.cmp(&b.labels))
    };
    match c.function.id {
        // NaN comes last either way.
        F::Sort => order.sort_by(|a, b| nan_last(value(*a), value(*b))),
        F::SortDesc => order.sort_by(|a, b| {
            let (a, b) = (value(*a), value(*b));
            if a.is_nan() || b.is_nan() { nan_last(a, b) } else { nan_first(b, a) }
        }),
        F::SortByLabel => order.sort_by(|a, b| by_label(*a, *b)),
        _ => order.sort_by(|a, b| by_label(*b, *a)),
    }
    Ok(table.reordered(&order))
}

fn nan_last(a: f64, b: f64) -> Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, true) => Ordering::Less,
        (true, false) => Ordering::Greater,
        _ => nan_first(a, b),
    }
}

/// Runs of digits compare as numbers: `4m5` before `4m600`.
fn natural(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a.as_bytes(), b.as_bytes());
    while let (Some(x), Some(y)) = (a.first(), b.first()) {
        if x.is_ascii_digit() && y.is_ascii_digit() {
            let (na, ra) = digits(a);
            let (nb, rb) = digits(b);
            let order = na.len().cmp(&nb.len()).then_with(|| na.cmp(nb));
            if order != Ordering::Equal {
                return order;
            }
            (a, b) = (ra, rb);
        } else {
            if x != y {
                return x.cmp(y);
            }
            (a, b) = (&a[1..], &b[1..]);
        }
    }
    a.len().cmp(&b.len())
}

/// The digits at the start without leading zeros, and the rest.
fn digits(text: &[u8]) -> (&[u8], &[u8]) {
    let n = text.iter().take_while(|b| b.is_ascii_digit()).count();
    let (number, rest) = text.split_at(n);
    let zeros = number.iter().take_while(|b| **b == b'0').count();
    (&number[zeros..], rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_in_labels_sort_as_numbers() {
        for (a, b) in [("4m5", "4m600"), ("2", "10"), ("1.2.3", "1.11.3"), ("a", "b"), ("a1", "a1b")] {
            assert_eq!(natural(a, b), Ordering::Less, "{a} {b}");
            assert_eq!(natural(b, a), Ordering::Greater, "{b} {a}");
        }
    }
}
