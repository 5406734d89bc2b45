//! Binary operators: between scalars, a vector and a scalar, two vectors.

use std::collections::HashMap;

use super::ast::{Binary, Cardinality, Matching};
use super::error::EvalError;
use super::eval::Evaluator;
use super::functions::math::zip_columns;
use super::grid::Grid;
use super::grouping::Grouping;
use super::table::{ABSENT, RowLabels, Table, present};
use super::token::Op;
use super::value::{Column, Val, without_reserved};
use crate::model::{Labels, LabelsBuilder};

/// A binary operation at every step.
pub(super) fn eval(e: &mut Evaluator<'_>, b: &Binary, grid: Grid) -> Result<Val, EvalError> {
    let left = e.eval(&b.lhs, grid)?;
    let right = e.eval(&b.rhs, grid)?;
    match (left, right) {
        (Val::Scalar(l), Val::Scalar(r)) => {
            Ok(Val::Scalar(zip_columns(&l, &r, grid.count, |l, r| match compare(b.op, l, r) {
                Some(yes) => f64::from(u8::from(yes)),
                None => arithmetic(b.op, l, r),
            })))
        }
        (Val::Vector(t), Val::Scalar(s)) => with_scalar(e, b, t, &s, false).map(Val::Vector),
        (Val::Scalar(s), Val::Vector(t)) => with_scalar(e, b, t, &s, true).map(Val::Vector),
        (Val::Vector(l), Val::Vector(r)) => {
            let (l, r) = (seen(e, l)?, seen(e, r)?);
            let default = Matching::default();
            let matching = b.matching.as_ref().unwrap_or(&default);
            if b.op.is_set() {
                return set(b.op, matching, l, r).map(Val::Vector);
            }
            note_trim(e, b, !l.rows.is_empty() && !r.rows.is_empty());
            vectors(b, matching, l, r).map(Val::Vector)
        }
        _ => Err(EvalError::failed("binary expression must contain only scalar and instant vector types")),
    }
}

/// Operands as the operator sees them: names that were dropped are gone, unless their removal waits.
fn seen(e: &Evaluator<'_>, table: Table) -> Result<Table, EvalError> {
    if e.options.delayed_name_removal { Ok(table) } else { table.settled() }
}

/// What a comparison says, `None` for other operators.
fn compare(op: Op, l: f64, r: f64) -> Option<bool> {
    Some(match op {
        Op::Eql => l == r,
        Op::Neq => l != r,
        Op::Lss => l < r,
        Op::Lte => l <= r,
        Op::Gtr => l > r,
        Op::Gte => l >= r,
        _ => return None,
    })
}

fn arithmetic(op: Op, l: f64, r: f64) -> f64 {
    match op {
        Op::Add => l + r,
        Op::Sub => l - r,
        Op::Mul => l * r,
        Op::Div => l / r,
        Op::Mod => l % r,
        Op::Pow => l.powf(r),
        Op::Atan2 => l.atan2(r),
        // Floats have no parts to cut off.
        _ => ABSENT,
    }
}

/// The result of one pair; absent when a comparison filters it out.
#[inline]
fn apply(op: Op, return_bool: bool, l: f64, r: f64) -> f64 {
    match compare(op, l, r) {
        Some(yes) if return_bool => f64::from(u8::from(yes)),
        Some(true) => l,
        Some(false) => ABSENT,
        None => arithmetic(op, l, r),
    }
}

fn drops_name(b: &Binary) -> bool {
    b.return_bool || !(b.op.is_comparison() || b.op.is_set())
}

fn note_trim(e: &mut Evaluator<'_>, b: &Binary, any: bool) {
    if any && matches!(b.op, Op::TrimUpper | Op::TrimLower) {
        let op = b.op.as_str();
        let message =
            format!("incompatible sample types encountered for binary operator {op:?}: float {op} float");
        e.notes.info(b.lhs.span.to(b.rhs.span), message);
    }
}

fn with_scalar(
    e: &mut Evaluator<'_>,
    b: &Binary,
    mut table: Table,
    scalar: &Column,
    scalar_left: bool,
) -> Result<Table, EvalError> {
    note_trim(e, b, !table.rows.is_empty());
    for i in 0..table.len() {
        for (k, cell) in table.row_mut(i).iter_mut().enumerate().filter(|(_, v)| present(**v)) {
            let (l, r) = if scalar_left { (scalar.at(k), *cell) } else { (*cell, scalar.at(k)) };
            *cell = match compare(b.op, l, r) {
                // A filter keeps the vector's value, on whichever side it stands.
                Some(true) if !b.return_bool => *cell,
                _ => apply(b.op, b.return_bool, l, r),
            };
        }
    }
    if drops_name(b) { e.dropped(table) } else { Ok(table) }
}

/// The rows of both sides that belong together.
#[derive(Default)]
struct Group {
    left: Vec<usize>,
    right: Vec<usize>,
}

fn groups(matching: &Matching, left: &Table, right: &Table) -> Vec<Group> {
    let grouping = Grouping::new(matching.on, matching.labels.iter().map(String::as_str));
    let mut places: HashMap<Box<[u8]>, usize> = HashMap::with_capacity(left.len());
    let mut found: Vec<Group> = Vec::with_capacity(left.len());
    let mut key = Vec::new();
    for (table, is_left) in [(left, true), (right, false)] {
        for (i, row) in table.rows.iter().enumerate() {
            grouping.key(&row.labels, false, &mut key);
            let at = match places.get(key.as_slice()) {
                Some(&at) => at,
                None => {
                    places.insert(key.as_slice().into(), found.len());
                    found.push(Group::default());
                    found.len() - 1
                }
            };
            if is_left { found[at].left.push(i) } else { found[at].right.push(i) }
        }
    }
    found
}

/// At which steps does any of the rows have a sample?
fn any_present(table: &Table, rows: &[usize]) -> Vec<bool> {
    let mut any = vec![false; table.width];
    for &i in rows {
        for (any, v) in any.iter_mut().zip(table.row(i)) {
            *any |= present(*v);
        }
    }
    any
}

fn set(op: Op, matching: &Matching, mut left: Table, mut right: Table) -> Result<Table, EvalError> {
    let groups = groups(matching, &left, &right);
    let blank = |table: &mut Table, rows: &[usize], when: &dyn Fn(usize) -> bool| {
        for &i in rows {
            for (k, cell) in table.row_mut(i).iter_mut().enumerate() {
                if when(k) {
                    *cell = ABSENT;
                }
            }
        }
    };
    for g in &groups {
        if op == Op::Or {
            let there = any_present(&left, &g.left);
            blank(&mut right, &g.right, &|k| there[k]);
        } else {
            let there = any_present(&right, &g.right);
            blank(&mut left, &g.left, &|k| there[k] == (op == Op::Unless));
        }
    }
    if op == Op::Or {
        left.rows.append(&mut right.rows);
        left.cells.append(&mut right.cells);
        return left.without_empty_rows().joined();
    }
    Ok(left.without_empty_rows())
}

/// The state of one operation between vectors. "Many" is the left side unless `group_right` says else.
struct Join<'a> {
    b: &'a Binary,
    matching: &'a Matching,
    many: &'a Table,
    one: &'a Table,
    /// The "many" side is the right operand.
    swapped: bool,
    fill_many: Option<f64>,
    fill_one: Option<f64>,
    /// The steps at which the "many" side has any sample.
    matchable: Vec<bool>,
    out: Table,
    places: HashMap<Labels, usize>,
}

fn vectors(b: &Binary, matching: &Matching, left: Table, right: Table) -> Result<Table, EvalError> {
    let swapped = matching.cardinality == Cardinality::OneToMany;
    let (many, one) = if swapped { (&right, &left) } else { (&left, &right) };
    // As Prometheus has it, `fill_left` fills the "many" side also when that is on the right.
    let (fill_many, fill_one) = (matching.fill_left, matching.fill_right);
    let groups = groups(matching, many, one);
    let out = Table::new(many.width);
    // Where one side has nothing, nothing can be matched, and nothing is ambiguous.
    let all: Vec<usize> = (0..many.len()).collect();
    let filled = fill_many.is_some() || fill_one.is_some();
    let matchable = if filled { vec![true; many.width] } else { any_present(many, &all) };
    let places = HashMap::new();
    let mut join = Join { b, matching, many, one, swapped, fill_many, fill_one, matchable, out, places };
    for g in &groups {
        join.group(g)?;
    }
    Ok(join.out)
}

impl Join<'_> {
    fn group(&mut self, g: &Group) -> Result<(), EvalError> {
        let one_at = self.only_present(&g.right, g)?;
        // Which rows of the result a pair of rows goes to; the last row stands for a filled-in side.
        let mut rows: HashMap<(usize, usize), usize> = HashMap::new();
        let none = usize::MAX;
        for (k, one) in one_at.into_iter().enumerate() {
            let mut matched = none;
            for &i in &g.left {
                let v = self.many.row(i)[k];
                if !present(v) {
                    continue;
                }
                let other = match (one, self.fill_one) {
                    (Some(o), _) => self.one.row(o)[k],
                    (None, Some(fill)) => fill,
                    (None, None) => continue,
                };
                if matched != none && self.matching.cardinality == Cardinality::OneToOne {
                    if one.is_none() {
                        return Err(self.duplicates(g, matched, i, true));
                    }
                    return Err(EvalError::failed(
                        "multiple matches for labels: many-to-one matching must be explicit (group_left/group_right)",
                    ));
                }
                matched = i;
                let key = (i, one.unwrap_or(none));
                self.put(&mut rows, key, g, k, v, other)?;
            }
            if let (true, Some(o), Some(fill)) = (matched == none, one, self.fill_many) {
                let other = self.one.row(o)[k];
                self.put(&mut rows, (none, o), g, k, fill, other)?;
            }
        }
        Ok(())
    }

    fn put(
        &mut self,
        rows: &mut HashMap<(usize, usize), usize>,
        key: (usize, usize),
        g: &Group,
        k: usize,
        many: f64,
        one: f64,
    ) -> Result<(), EvalError> {
        let (l, r) = if self.swapped { (one, many) } else { (many, one) };
        let v = apply(self.b.op, self.b.return_bool, l, r);
        let at = match rows.get(&key) {
            Some(at) => *at,
            None => {
                let row = self.labels(key, g);
                let at = match self.places.get(&row.labels) {
                    Some(at) => *at,
                    None => {
                        self.places.insert(row.labels.clone(), self.out.len());
                        self.out.push_absent(row)
                    }
                };
                rows.insert(key, at);
                at
            }
        };
        let cell = &mut self.out.row_mut(at)[k];
        if present(*cell) {
            return Err(EvalError::failed(
                "multiple matches for labels: grouping labels must ensure unique matches",
            ));
        }
        *cell = v;
        Ok(())
    }

    /// The one row that has a sample at each step.
    fn only_present(&self, rows: &[usize], g: &Group) -> Result<Vec<Option<usize>>, EvalError> {
        let mut only: Vec<Option<usize>> = vec![None; self.one.width];
        for &i in rows {
            for (k, v) in self.one.row(i).iter().enumerate() {
                if !present(*v) || !self.matchable[k] {
                    continue;
                }
                if let Some(first) = only[k] {
                    return Err(self.duplicates(g, first, i, false));
                }
                only[k] = Some(i);
            }
        }
        Ok(only)
    }

    fn duplicates(&self, g: &Group, first: usize, second: usize, many: bool) -> EvalError {
        let table = if many { self.many } else { self.one };
        let side = if many == self.swapped { "right" } else { "left" };
        let group = self.group_labels(g);
        let (first, second) = (&table.rows[first].labels, &table.rows[second].labels);
        EvalError::failed(format!(
            "found duplicate series for the match group {} on the {side} hand-side of the operation: [{}, {}];many-to-many matching not allowed: matching labels must be unique on one side",
            braces(group),
            braces(second.clone()),
            braces(first.clone())
        ))
    }

    /// The labels that all rows of a group share.
    fn group_labels(&self, g: &Group) -> Labels {
        let grouping = Grouping::new(self.matching.on, self.matching.labels.iter().map(String::as_str));
        let member = match (g.left.first(), g.right.first()) {
            (Some(i), _) => &self.many.rows[*i],
            (None, Some(i)) => &self.one.rows[*i],
            (None, None) => return Labels::empty(),
        };
        grouping.labels(&member.labels, false)
    }

    /// The labels of the result of a pair.
    fn labels(&self, (i, o): (usize, usize), g: &Group) -> RowLabels {
        let many = self.many.rows.get(i).cloned().unwrap_or_else(|| RowLabels::new(self.group_labels(g)));
        let one = self.one.rows.get(o).map_or_else(|| self.group_labels(g), |r| r.labels.clone());
        let mut labels = many.labels;
        let m = self.matching;
        if !self.b.op.is_comparison() {
            labels = without_reserved(&labels);
        }
        if m.cardinality == Cardinality::OneToOne {
            labels = labels.without(|n| m.labels.iter().any(|l| l == n) != m.on);
        }
        if !m.include.is_empty() {
            let mut builder: LabelsBuilder = labels.to_builder();
            for name in &m.include {
                builder.set(name, one.get(name).unwrap_or_default());
            }
            labels = builder.build();
        }
        RowLabels { labels, drop_name: many.drop_name || self.b.return_bool }
    }
}

/// Labels in braces, the name among them, as error texts have them.
fn braces(labels: Labels) -> String {
    let pairs: Vec<String> =
        labels.iter().map(|(n, v)| format!("{n}={}", crate::model::GoQuoted::new(v))).collect();
    format!("{{{}}}", pairs.join(", "))
}
