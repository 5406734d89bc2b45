//! `info()`: adds the labels of info series (`target_info`) to the series of the same target.

use std::collections::HashMap;

use super::ast::{At, Call, Node, NodeKind, Selector, Shift};
use super::error::EvalError;
use super::eval::Evaluator;
use super::grid::{Grid, ResolvedShift};
use super::table::{ABSENT, RowLabels, Table, present};
use crate::model::{Labels, METRIC_NAME, MatchOp, Matcher};

/// The labels that say which target a series is of.
const IDENTIFYING: [&str; 2] = ["instance", "job"];

/// The matchers of the second argument, sorted by what they are for.
struct Wanted {
    name: Vec<Matcher>,
    data: Vec<Matcher>,
}

impl Wanted {
    fn new(selector: Option<&Selector>) -> Self {
        let all = selector.map(|s| s.matchers.as_slice()).unwrap_or_default();
        let (mut name, data): (Vec<Matcher>, Vec<Matcher>) =
            all.iter().cloned().partition(|m| m.name == METRIC_NAME);
        let positive = name.iter().any(|m| matches!(m.op, MatchOp::Equal | MatchOp::Regex));
        if name.is_empty() {
            name.push(Matcher::equal(METRIC_NAME, "target_info"));
        } else if !positive {
            // The pattern is a constant that compiles.
            name.extend(Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info").ok());
        }
        Self { name, data }
    }

    fn is_info(&self, labels: &Labels) -> bool {
        self.name.iter().all(|m| m.matches_labels(labels))
    }

    /// Is this a label to be taken over?
    fn takes(&self, name: &str) -> bool {
        name != METRIC_NAME
            && !IDENTIFYING.contains(&name)
            && (self.data.is_empty() || self.data.iter().any(|m| m.name == name))
    }

    /// May a series stay as it is when there is no info about it?
    fn optional(&self) -> bool {
        self.data.iter().all(Matcher::matches_empty)
    }
}

/// Info series with the times (s) of their samples at each step.
struct Infos {
    table: Table,
    by_target: HashMap<[String; 2], Vec<usize>>,
}

fn target(labels: &Labels) -> [String; 2] {
    IDENTIFYING.map(|name| labels.get(name).unwrap_or_default().to_owned())
}

/// `info(vector, {matchers})` at every step.
pub(super) fn eval(e: &mut Evaluator<'_>, c: &Call, grid: Grid) -> Result<Table, EvalError> {
    let base = e.vector(&c.args[0], grid)?;
    let selector = c.args.get(1).and_then(|a| match &a.kind {
        NodeKind::Selector(s) => Some(s),
        _ => None,
    });
    let wanted = Wanted::new(selector);
    let infos = read(e, &wanted, reference(e, &c.args[0])?, grid)?;
    let mut out = Table::new(grid.count);
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut chosen = Vec::new();
    for (row, cells) in base.iter() {
        if wanted.is_info(&row.labels) {
            put(&mut out, &mut places, row.clone(), cells, |_| true)?;
            continue;
        }
        let key = target(&row.labels);
        let candidates = infos.by_target.get(&key).map(Vec::as_slice).unwrap_or_default();
        let identified = key.iter().any(|v| !v.is_empty());
        let candidates = if identified { candidates } else { &[] };
        // The same info series hold over many steps: their labels are put together once.
        let mut variants: Vec<(Vec<usize>, Vec<bool>)> = Vec::new();
        for (k, v) in cells.iter().enumerate() {
            if !present(*v) {
                continue;
            }
            infos.newest(candidates, k, &mut chosen);
            let at = match variants.iter().position(|(of, _)| *of == chosen) {
                Some(at) => at,
                None => {
                    variants.push((chosen.clone(), vec![false; grid.count]));
                    variants.len() - 1
                }
            };
            variants[at].1[k] = true;
        }
        for (of, steps) in variants {
            if of.is_empty() && identified && !wanted.optional() {
                continue;
            }
            let labels = enriched(&row.labels, &of, &infos.table, &wanted)?;
            if labels.is_none() && !wanted.optional() {
                continue;
            }
            let labels = labels.unwrap_or_else(|| row.labels.clone());
            let row = RowLabels { labels, drop_name: row.drop_name };
            put(&mut out, &mut places, row, cells, |k| steps[k])?;
        }
    }
    Ok(out)
}

fn put(
    out: &mut Table,
    places: &mut HashMap<Labels, usize>,
    row: RowLabels,
    cells: &[f64],
    when: impl Fn(usize) -> bool,
) -> Result<(), EvalError> {
    let at = match places.get(&row.labels) {
        Some(at) => *at,
        None => {
            places.insert(row.labels.clone(), out.len());
            out.push_absent(row)
        }
    };
    for (k, (cell, v)) in out.row_mut(at).iter_mut().zip(cells).enumerate() {
        if when(k) && present(*v) {
            if present(*cell) {
                return Err(super::table::same_labels());
            }
            *cell = *v;
        }
    }
    Ok(())
}

/// The labels with those of the info series; `None` when there is nothing to take from.
fn enriched(
    base: &Labels,
    of: &[usize],
    infos: &Table,
    wanted: &Wanted,
) -> Result<Option<Labels>, EvalError> {
    if of.is_empty() {
        return Ok(None);
    }
    let mut builder = base.to_builder();
    let mut taken: HashMap<&str, &str> = HashMap::new();
    for &i in of {
        for (name, value) in infos.rows[i].labels.iter().filter(|(n, _)| wanted.takes(n)) {
            if base.get(name).is_some() {
                continue;
            }
            if let Some(before) = taken.insert(name, value)
                && before != value
            {
                return Err(EvalError::failed(format!("conflicting label: {name}")));
            }
            builder.set(name, value);
        }
    }
    Ok(Some(builder.build()))
}

impl Infos {
    /// Of each info metric the series with the newest sample at a step.
    fn newest(&self, candidates: &[usize], k: usize, out: &mut Vec<usize>) {
        out.clear();
        for &i in candidates {
            let t = self.table.row(i)[k];
            if !present(t) {
                continue;
            }
            let name = self.table.rows[i].labels.metric_name();
            match out.iter_mut().find(|o| self.table.rows[**o].labels.metric_name() == name) {
                Some(other) if self.table.row(*other)[k] < t => *other = i,
                Some(_) => {}
                None => out.push(i),
            }
        }
        out.sort_unstable();
    }
}

fn read(
    e: &mut Evaluator<'_>,
    wanted: &Wanted,
    shift: ResolvedShift,
    grid: Grid,
) -> Result<Infos, EvalError> {
    let matchers: Vec<Matcher> = wanted.name.iter().chain(&wanted.data).cloned().collect();
    let mut table = Table::new(grid.count);
    e.sample_times(&matchers, grid.shifted(shift), &mut |labels, _, cells| {
        table.push(RowLabels::new(labels.clone()), cells);
        Ok(())
    })?;
    e.check_size(table.len(), grid.count)?;
    let mut by_target: HashMap<[String; 2], Vec<usize>> = HashMap::new();
    for (i, row) in table.rows.iter().enumerate() {
        by_target.entry(target(&row.labels)).or_default().push(i);
    }
    debug_assert!(!present(ABSENT));
    Ok(Infos { table, by_target })
}

/// When the first selector in a part is read: its own `@` and `offset` and those of subqueries around it.
fn reference(e: &Evaluator<'_>, node: &Node) -> Result<ResolvedShift, EvalError> {
    fn find(node: &Node) -> Option<Vec<&Shift>> {
        match &node.kind {
            NodeKind::Selector(s) => Some(vec![&s.shift]),
            NodeKind::Subquery(s) => find(&s.of).map(|mut inner| {
                inner.push(&s.shift);
                inner
            }),
            _ => node.children().into_iter().find_map(find),
        }
    }
    let mut total = ResolvedShift::default();
    for shift in find(node).unwrap_or_default() {
        let resolved = e.asked.resolve(shift)?;
        total.offset += resolved.offset;
        total.at = resolved.at;
        if matches!(shift.at, Some(At::Time(_) | At::Start | At::End)) {
            break;
        }
    }
    Ok(total)
}
