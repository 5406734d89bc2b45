//! Aggregations: many series become one a group, or some of them are picked.

use std::collections::HashMap;

use super::ast::Aggregate;
use super::error::EvalError;
use super::eval::Evaluator;
use super::grid::Grid;
use super::group_memo::{GroupMemo, GroupMemos};
use super::grouping::Grouping;
use super::source::Named;
use super::sums::{Mean, Sum, Variance, nan_first, quantile};
use super::table::{ABSENT, RowLabels, Table, present};
use super::token::AggregateOp;
use super::value::Column;
use crate::model::{Labels, format_float};

/// Numbers the groups in the order in which they are met.
struct Groups<'a> {
    grouping: Grouping<'a>,
    delayed: bool,
    places: HashMap<Box<[u8]>, usize>,
    rows: Vec<RowLabels>,
    key: Vec<u8>,
    memo: Option<GroupMemo>,
}

impl<'a> Groups<'a> {
    fn new(a: &'a Aggregate, delayed: bool) -> Self {
        Self {
            grouping: Grouping::new(!a.without, a.grouping.iter().map(String::as_str)),
            delayed,
            places: HashMap::new(),
            rows: Vec::new(),
            key: Vec::new(),
            memo: None,
        }
    }

    /// The group of a series. Its labels are not looked at when they were in an earlier evaluation.
    fn of(&mut self, labels: &Named<'_>, drop_name: bool, memos: &GroupMemos) -> usize {
        let nameless = drop_name && !self.delayed;
        if labels.set == 0 {
            return self.by_labels(labels, drop_name, nameless);
        }
        let grouping = &self.grouping;
        let mut memo = match self.memo.take() {
            Some(memo) if memo.is_for(labels.set, nameless) => memo,
            _ => memos.take(labels.set, grouping, nameless),
        };
        let at = match memo.group(labels.place) {
            Some(at) => {
                self.rows[at].drop_name |= drop_name;
                at
            }
            None => {
                let at = self.by_labels(labels, drop_name, nameless);
                memo.learn(labels.place, at);
                at
            }
        };
        self.memo = Some(memo);
        at
    }

    fn by_labels(&mut self, labels: &Labels, drop_name: bool, nameless: bool) -> usize {
        self.grouping.key(labels, nameless, &mut self.key);
        if let Some(&at) = self.places.get(self.key.as_slice()) {
            self.rows[at].drop_name |= drop_name;
            return at;
        }
        let at = self.rows.len();
        self.places.insert(self.key.as_slice().into(), at);
        self.rows.push(RowLabels { labels: self.grouping.labels(labels, nameless), drop_name });
        at
    }
}

/// What is known of each group at each step.
enum Cells {
    /// Sums, with the number of values.
    Sum(Vec<(Sum, u32)>),
    Mean(Vec<Mean>),
    Variance(Vec<Variance>),
    Extreme(Vec<f64>, fn(f64, f64) -> bool),
    Count(Vec<u32>),
}

impl Cells {
    fn new(op: AggregateOp) -> Self {
        match op {
            AggregateOp::Sum => Self::Sum(Vec::new()),
            AggregateOp::Avg => Self::Mean(Vec::new()),
            AggregateOp::Stddev | AggregateOp::Stdvar => Self::Variance(Vec::new()),
            AggregateOp::Min => Self::Extreme(Vec::new(), |v, best| v < best),
            AggregateOp::Max => Self::Extreme(Vec::new(), |v, best| v > best),
            _ => Self::Count(Vec::new()),
        }
    }

    fn resize(&mut self, n: usize) {
        match self {
            Self::Sum(c) => c.resize(n, Default::default()),
            Self::Mean(c) => c.resize(n, Mean::default()),
            Self::Variance(c) => c.resize(n, Variance::default()),
            Self::Extreme(c, _) => c.resize(n, ABSENT),
            Self::Count(c) => c.resize(n, 0),
        }
    }

    fn add(&mut self, from: usize, row: &[f64]) {
        let at = from..from + row.len();
        match self {
            Self::Sum(c) => {
                for ((sum, n), v) in c[at].iter_mut().zip(row) {
                    if present(*v) {
                        sum.add(*v);
                        *n += 1;
                    }
                }
            }
            Self::Mean(c) => {
                c[at].iter_mut().zip(row).filter(|(_, v)| present(**v)).for_each(|(c, v)| c.add(*v))
            }
            Self::Variance(c) => {
                c[at].iter_mut().zip(row).filter(|(_, v)| present(**v)).for_each(|(c, v)| c.add(*v));
            }
            Self::Extreme(c, better) => {
                for (best, v) in c[at].iter_mut().zip(row).filter(|(_, v)| present(**v)) {
                    if !present(*best) || best.is_nan() || better(*v, *best) {
                        *best = *v;
                    }
                }
            }
            Self::Count(c) => {
                for (n, v) in c[at].iter_mut().zip(row) {
                    *n += u32::from(present(*v));
                }
            }
        }
    }

    fn finish(self, op: AggregateOp) -> Vec<f64> {
        let or_absent = |there: bool, v: f64| if there { v } else { ABSENT };
        match self {
            Self::Sum(c) => c.into_iter().map(|(s, n)| or_absent(n > 0, s.value())).collect(),
            Self::Mean(c) => c.into_iter().map(|m| or_absent(m.count() > 0.0, m.value())).collect(),
            Self::Variance(c) => c
                .into_iter()
                .map(|v| {
                    let value = if op == AggregateOp::Stddev { v.value().sqrt() } else { v.value() };
                    or_absent(v.count() > 0.0, value)
                })
                .collect(),
            Self::Extreme(c, _) => c,
            Self::Count(c) => c
                .into_iter()
                .map(|n| {
                    let value = if op == AggregateOp::Group { 1.0 } else { f64::from(n) };
                    or_absent(n > 0, value)
                })
                .collect(),
        }
    }
}

impl Evaluator<'_> {
    /// An aggregation at every step.
    pub fn aggregate(&mut self, a: &Aggregate, grid: Grid) -> Result<Table, EvalError> {
        let groups = Groups::new(a, self.options.delayed_name_removal);
        match a.op {
            AggregateOp::CountValues => self.count_values(a, groups, grid),
            AggregateOp::Quantile => self.quantiles(a, groups, grid),
            op if op.picks_series() => self.pick(a, groups, grid),
            _ => self.accumulate(a, groups, grid),
        }
    }

    fn accumulate(&mut self, a: &Aggregate, mut groups: Groups<'_>, grid: Grid) -> Result<Table, EvalError> {
        let mut cells = Cells::new(a.op);
        let (max, memos) = (self.options.max_samples, self.group_memos);
        self.rows(&a.of, grid, &mut |labels, drop_name, row| {
            if !row.iter().any(|v| present(*v)) {
                return Ok(());
            }
            let group = groups.of(&labels, drop_name, memos);
            let n = groups.rows.len() * grid.count;
            if n > max {
                return Err(EvalError::TooManySamples);
            }
            cells.resize(n);
            cells.add(group * grid.count, row);
            Ok(())
        })?;
        if let Some(memo) = groups.memo {
            memos.put(memo, &groups.grouping);
        }
        Ok(Table { width: grid.count, cells: cells.finish(a.op), rows: groups.rows })
    }

    fn param(&mut self, a: &Aggregate, grid: Grid) -> Result<Column, EvalError> {
        match &a.param {
            Some(param) => self.scalar(param, grid),
            None => Err(EvalError::failed(format!("{} needs a parameter", a.op))),
        }
    }

    /// The members of each group, in the order of the table.
    fn members(table: &Table, groups: &mut Groups<'_>) -> Vec<Vec<usize>> {
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (i, row) in table.rows.iter().enumerate() {
            let nameless = row.drop_name && !groups.delayed;
            let group = groups.by_labels(&row.labels, row.drop_name, nameless);
            members.resize(groups.rows.len(), Vec::new());
            members[group].push(i);
        }
        members
    }

    fn quantiles(&mut self, a: &Aggregate, mut groups: Groups<'_>, grid: Grid) -> Result<Table, EvalError> {
        let q = self.param(a, grid)?;
        let mut all = (0..grid.count).map(|k| q.at(k));
        if let Some(param) = &a.param {
            // As Prometheus says it: of several, one that is no number, else the highest and the lowest.
            let (least, most) = all.clone().fold((0.0, 1.0), |(least, most), q| (q.min(least), q.max(most)));
            let bad = if all.any(f64::is_nan) { [f64::NAN, 0.0] } else { [most, least] };
            for q in bad.into_iter().filter(|q| !(0.0..=1.0).contains(q)) {
                self.notes.invalid_quantile(param.span, q);
            }
        }
        let table = self.vector(&a.of, grid)?;
        let members = Self::members(&table, &mut groups);
        let mut out = Table::new(grid.count);
        let mut values = Vec::new();
        for (labels, members) in groups.rows.into_iter().zip(members) {
            let at = out.push_absent(labels);
            for k in 0..grid.count {
                values.clear();
                values.extend(members.iter().map(|i| table.row(*i)[k]).filter(|v| present(*v)));
                if !values.is_empty() {
                    out.row_mut(at)[k] = quantile(q.at(k), &mut values);
                }
            }
        }
        Ok(out)
    }

    fn count_values(
        &mut self,
        a: &Aggregate,
        mut groups: Groups<'_>,
        grid: Grid,
    ) -> Result<Table, EvalError> {
        let label = match &a.param {
            Some(param) => self.string(param)?,
            None => String::new(),
        };
        if label.is_empty() {
            return Err(EvalError::failed(format!("invalid label name {label:?}")));
        }
        let table = self.vector(&a.of, grid)?;
        let members = Self::members(&table, &mut groups);
        let mut out = Table::new(grid.count);
        let mut places: HashMap<(usize, String), usize> = HashMap::new();
        for (group, members) in members.iter().enumerate() {
            for &i in members {
                for k in 0..grid.count {
                    let v = table.row(i)[k];
                    if !present(v) {
                        continue;
                    }
                    let text = format_float(v);
                    let at = *places.entry((group, text)).or_insert_with_key(|(_, text)| {
                        let row = &groups.rows[group];
                        // What is left out of the groups is left out of them also when it is set here.
                        let left_out = a.without && a.grouping.contains(&label);
                        let text = if left_out { "" } else { text.as_str() };
                        let labels = row.labels.to_builder().set(&label, text).build();
                        out.push_absent(RowLabels { labels, drop_name: row.drop_name })
                    });
                    let cell = &mut out.row_mut(at)[k];
                    *cell = if present(*cell) { *cell + 1.0 } else { 1.0 };
                }
            }
            self.check_size(out.len(), grid.count)?;
        }
        // Groups that differ in the overwritten label only fall together.
        add_up(out)
    }

    /// `topk`, `bottomk`, `limitk`, `limit_ratio`.
    fn pick(&mut self, a: &Aggregate, mut groups: Groups<'_>, grid: Grid) -> Result<Table, EvalError> {
        let param = self.param(a, grid)?;
        for k in 0..grid.count {
            self.check_pick(a, param.at(k))?;
        }
        let table = self.vector(&a.of, grid)?;
        let members = Self::members(&table, &mut groups);
        let mut out = Table::new(grid.count);
        out.rows.clone_from(&table.rows);
        out.cells = vec![ABSENT; table.cells.len()];
        let mut order = Vec::new();
        let mut there = Vec::new();
        for members in &members {
            for k in 0..grid.count {
                let value = |i: usize| table.cells[i * grid.count + k];
                there.clear();
                there.extend(members.iter().copied().filter(|i| present(value(*i))));
                let p = param.at(k);
                match a.op {
                    AggregateOp::LimitRatio => there.retain(|i| in_ratio(&table.rows[*i].labels, p)),
                    AggregateOp::Topk => there.sort_by(|x, y| nan_last(value(*x), value(*y), true)),
                    AggregateOp::Bottomk => there.sort_by(|x, y| nan_last(value(*x), value(*y), false)),
                    _ => {}
                }
                if a.op != AggregateOp::LimitRatio {
                    there.truncate(if p < 1.0 { 0 } else { p as usize });
                }
                for &i in &there {
                    out.cells[i * grid.count + k] = value(i);
                }
                order.extend_from_slice(&there);
            }
        }
        if self.is_range || grid.count > 1 {
            return Ok(out.without_empty_rows());
        }
        Ok(out.reordered(&order))
    }

    fn check_pick(&mut self, a: &Aggregate, p: f64) -> Result<(), EvalError> {
        if a.op == AggregateOp::LimitRatio {
            if p.is_nan() {
                return Err(EvalError::failed("Ratio value is NaN"));
            }
            if !(-1.0..=1.0).contains(&p)
                && let Some(param) = &a.param
            {
                let (p, cap) = (format_float(p), if p < 0.0 { "-1" } else { "1" });
                self.notes.warn(
                    param.span,
                    format!("ratio value should be between -1 and 1, got {p}, capping to {cap}"),
                );
            }
            return Ok(());
        }
        if p.is_nan() {
            return Err(EvalError::failed("Parameter value is NaN"));
        }
        let limit = i64::MAX as f64;
        if p >= limit {
            return Err(EvalError::failed(format!("Scalar value {} overflows int64", format_float(p))));
        }
        if p <= -limit {
            return Err(EvalError::failed(format!("Scalar value {} underflows int64", format_float(p))));
        }
        Ok(())
    }
}

/// Rows of the same labels become one, their counts added.
fn add_up(table: Table) -> Result<Table, EvalError> {
    let mut places: HashMap<Labels, usize> = HashMap::new();
    let mut out = Table::new(table.width);
    for (row, cells) in table.iter() {
        let at = *places.entry(row.labels.clone()).or_insert_with(|| out.push_absent(row.clone()));
        for (cell, v) in out.row_mut(at).iter_mut().zip(cells).filter(|(_, v)| present(**v)) {
            *cell = if present(*cell) { *cell + v } else { *v };
        }
    }
    Ok(out)
}

/// In order of values, NaN last either way.
fn nan_last(a: f64, b: f64, descending: bool) -> std::cmp::Ordering {
    match (a.is_nan(), b.is_nan()) {
        (false, false) if descending => nan_first(b, a),
        (false, false) => nan_first(a, b),
        (a, b) => a.cmp(&b),
    }
}

/// A ratio above 0 takes the lower part of the hashes, one below 0 the upper part: `r` and `r - 1`
/// share the series out between them.
fn in_ratio(labels: &Labels, ratio: f64) -> bool {
    // FNV's upper bits change little at the end of short texts: they are mixed once more.
    let mut hash = labels.fingerprint().0;
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    let place = hash as f64 / u64::MAX as f64;
    if ratio >= 0.0 { place < ratio || ratio >= 1.0 } else { place >= 1.0 + ratio }
}
