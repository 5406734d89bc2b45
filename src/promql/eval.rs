//! Evaluates a tree: every part gives its values at all steps at once.

use super::annotations::Notes;
use super::ast::{Call, Node, NodeKind};
use super::binary;
use super::engine::{EngineOptions, scalar_column};
use super::error::EvalError;
use super::functions::{FunctionId as F, calendar, histograms, labels, math};
use super::grid::{Asked, Grid};
use super::range::{Bounds, has_one_name};
use super::source::Source;
use super::table::{RowLabels, Table, present};
use super::value::{Column, Val};
use crate::model::{Labels, Matcher};

/// One evaluation of one query.
pub(super) struct Evaluator<'a> {
    pub source: &'a dyn Source,
    pub options: &'a EngineOptions,
    pub asked: Asked,
    pub is_range: bool,
    pub notes: Notes,
}

/// Takes the rows of a vector one by one: labels, whether the name is to be dropped, the cells.
pub(super) type Sink<'s> = &'s mut dyn FnMut(&Labels, bool, &[f64]) -> Result<(), EvalError>;

impl<'a> Evaluator<'a> {
    pub fn new(source: &'a dyn Source, options: &'a EngineOptions, asked: Asked, is_range: bool) -> Self {
        Self { source, options, asked, is_range, notes: Notes::default() }
    }

    /// The value of a part at every step of the grid.
    pub fn eval(&mut self, node: &Node, grid: Grid) -> Result<Val, EvalError> {
        if grid.count > 1 && node.step_invariant && !matches!(node.kind, NodeKind::Number(_)) {
            let once = self.eval_here(node, Grid { count: 1, ..grid })?;
            return self.widen(once, grid.count);
        }
        self.eval_here(node, grid)
    }

    fn widen(&self, val: Val, count: usize) -> Result<Val, EvalError> {
        Ok(match val {
            Val::Scalar(column) => Val::Scalar(column.widened(count)),
            Val::String(s) => Val::String(s),
            Val::Vector(table) => {
                self.check_size(table.len(), count)?;
                let mut out = Table::new(count);
                out.cells.reserve_exact(table.len() * count);
                for v in &table.cells {
                    out.cells.extend(std::iter::repeat_n(*v, count));
                }
                out.rows = table.rows;
                Val::Vector(out)
            }
        })
    }

    fn eval_here(&mut self, node: &Node, grid: Grid) -> Result<Val, EvalError> {
        match &node.kind {
            NodeKind::Number(n) => Ok(Val::Scalar(Column::Same(n.value))),
            NodeKind::String(s) => Ok(Val::String(s.clone())),
            NodeKind::Paren(e) => self.eval_here(e, grid),
            NodeKind::Selector(_) => self.collect(node, grid).map(Val::Vector),
            NodeKind::Range(_) | NodeKind::Subquery(_) => Err(EvalError::BadRange(
                "invalid expression type \"range vector\" for range query, must be Scalar or instant Vector"
                    .into(),
            )),
            NodeKind::Call(c) => self.call(node, c, grid),
            NodeKind::Aggregate(a) => self.aggregate(a, grid).map(Val::Vector),
            NodeKind::Binary(b) => binary::eval(self, b, grid),
            NodeKind::Unary(minus, e) => {
                let minus = *minus;
                Ok(match self.eval(e, grid)? {
                    val if !minus => val,
                    Val::Scalar(c) => Val::Scalar(math::map_column(c, |v| -v)),
                    Val::Vector(t) => Val::Vector(self.dropped(t.map(|v| -v))?),
                    Val::String(s) => Val::String(s),
                })
            }
        }
    }

    /// Notes that a function dropped the names. Without delayed removal two series that differ in
    /// nothing else are an error here.
    pub fn dropped(&self, table: Table) -> Result<Table, EvalError> {
        let table = table.dropping_names();
        if !self.options.delayed_name_removal {
            table.check_unique_without_names()?;
        }
        Ok(table)
    }

    /// Labels as the operations that look at them may see them.
    pub fn visible(&self, labels: &Labels, drop_name: bool) -> Labels {
        if drop_name && !self.options.delayed_name_removal {
            super::value::without_reserved(labels)
        } else {
            labels.clone()
        }
    }

    /// Refuses to hold more than the allowed number of samples.
    pub fn check_size(&self, rows: usize, width: usize) -> Result<(), EvalError> {
        if rows.saturating_mul(width) > self.options.max_samples {
            return Err(EvalError::TooManySamples);
        }
        Ok(())
    }

    /// A vector as a table.
    pub fn vector(&mut self, node: &Node, grid: Grid) -> Result<Table, EvalError> {
        match self.eval(node, grid)? {
            Val::Vector(table) => Ok(table),
            _ => Err(EvalError::failed("expected an instant vector")),
        }
    }

    /// A scalar at every step.
    pub fn scalar(&mut self, node: &Node, grid: Grid) -> Result<Column, EvalError> {
        scalar_column(self.eval(node, grid)?)
    }

    /// A string.
    pub fn string(&mut self, node: &Node) -> Result<String, EvalError> {
        match &node.unwrap_parens().kind {
            NodeKind::String(s) => Ok(s.clone()),
            _ => Err(EvalError::failed("expected a string")),
        }
    }

    /// The rows of a part that reads series, as a table.
    fn collect(&mut self, node: &Node, grid: Grid) -> Result<Table, EvalError> {
        let mut table = Table::new(grid.count);
        let max = self.options.max_samples;
        self.rows(node, grid, &mut |labels, drop_name, cells| {
            if table.cells.len() + cells.len() > max {
                return Err(EvalError::TooManySamples);
            }
            table.push(RowLabels { labels: labels.clone(), drop_name }, cells);
            Ok(())
        })?;
        Ok(table)
    }

    /// The rows of a vector, one by one. Selectors and functions of ranges are never held as a whole.
    pub fn rows(&mut self, node: &Node, grid: Grid, sink: Sink<'_>) -> Result<(), EvalError> {
        let streamed = !(node.step_invariant && grid.count > 1);
        match &node.kind {
            NodeKind::Paren(e) => return self.rows(e, grid, sink),
            NodeKind::Selector(s) if streamed => return self.instant_selector(s, grid, sink),
            NodeKind::Call(c) if streamed && takes_range(c) && self.stays_unique(c) => {
                return self.range_function(c, grid, sink);
            }
            _ => {}
        }
        let table = self.vector(node, grid)?;
        for (row, cells) in table.iter() {
            sink(&row.labels, row.drop_name, cells)?;
        }
        Ok(())
    }

    /// Do the rows of a function of a range differ, also without the metric name, so that nothing
    /// is to be checked?
    fn stays_unique(&self, c: &Call) -> bool {
        if c.function.id == F::AbsentOverTime {
            return false;
        }
        self.options.delayed_name_removal || c.args.iter().any(has_one_name)
    }

    fn call(&mut self, node: &Node, c: &Call, grid: Grid) -> Result<Val, EvalError> {
        let id = c.function.id;
        if id == F::AbsentOverTime {
            return self.absent_over_time(c, grid).map(Val::Vector);
        }
        if takes_range(c) {
            let mut table = Table::new(grid.count);
            let max = self.options.max_samples;
            self.range_function(c, grid, &mut |labels, drop_name, cells| {
                if table.cells.len() + cells.len() > max {
                    return Err(EvalError::TooManySamples);
                }
                table.push(RowLabels { labels: labels.clone(), drop_name }, cells);
                Ok(())
            })?;
            if !self.options.delayed_name_removal && table.rows.iter().any(|r| r.drop_name) {
                table.check_unique_without_names()?;
            }
            return Ok(Val::Vector(table));
        }
        let seconds = |ms: i64| Val::Scalar(Column::Same(ms as f64 / 1000.0));
        match id {
            F::Pi => Ok(Val::Scalar(Column::Same(std::f64::consts::PI))),
            F::Start => Ok(seconds(self.asked.start)),
            F::End => Ok(seconds(self.asked.end)),
            F::Range => Ok(seconds(self.asked.end - self.asked.start)),
            F::Step => Ok(seconds(self.asked.step)),
            F::Time => {
                let times = (0..grid.count).map(|i| grid.at(i) as f64 / 1000.0).collect();
                Ok(Val::Scalar(Column::Steps(times)))
            }
            F::MinOf | F::MaxOf => {
                let (l, r) = (self.scalar(&c.args[0], grid)?, self.scalar(&c.args[1], grid)?);
                let pick = if id == F::MinOf { math::min_of } else { math::max_of };
                Ok(Val::Scalar(math::zip_columns(&l, &r, grid.count, pick)))
            }
            F::ScalarOf => Ok(Val::Scalar(math::scalar_of(&self.vector(&c.args[0], grid)?))),
            F::VectorOf => {
                let column = self.scalar(&c.args[0], grid)?;
                let mut table = Table::new(grid.count);
                let cells: Vec<f64> = (0..grid.count).map(|i| column.at(i)).collect();
                table.push(RowLabels::new(Labels::empty()), &cells);
                Ok(Val::Vector(table))
            }
            F::Absent => self.absent(&c.args[0], grid).map(Val::Vector),
            F::Timestamp => self.timestamp(&c.args[0], grid).map(Val::Vector),
            F::StartTimestamp => Err(EvalError::Unsupported("start_timestamp()".into())),
            F::Info => super::info::eval(self, c, grid).map(Val::Vector),
            F::LabelReplace | F::LabelJoin => labels::relabel(self, c, grid).map(Val::Vector),
            F::Sort | F::SortDesc | F::SortByLabel | F::SortByLabelDesc => {
                labels::sort(self, node, c, grid).map(Val::Vector)
            }
            F::HistogramQuantile | F::HistogramQuantiles | F::HistogramFraction => {
                histograms::classic(self, c, grid).map(Val::Vector)
            }
            // Of native histograms, which are not kept: floats give nothing.
            F::HistogramAvg
            | F::HistogramCount
            | F::HistogramSum
            | F::HistogramStddev
            | F::HistogramStdvar => {
                self.vector(&c.args[0], grid)?;
                Ok(Val::Vector(Table::new(grid.count)))
            }
            F::DayOfMonth
            | F::DayOfWeek
            | F::DayOfYear
            | F::DaysInMonth
            | F::Hour
            | F::Minute
            | F::Month
            | F::Year => calendar::eval(self, c, grid).map(Val::Vector),
            _ => math::eval(self, c, grid).map(Val::Vector),
        }
    }

    /// One sample where the vector has none, with the labels that its selector fixes.
    fn absent(&mut self, arg: &Node, grid: Grid) -> Result<Table, EvalError> {
        let mut seen = vec![false; grid.count];
        self.rows(arg, grid, &mut |_, _, cells| {
            for (seen, v) in seen.iter_mut().zip(cells) {
                *seen |= present(*v);
            }
            Ok(())
        })?;
        Ok(absence(arg, &seen))
    }

    fn absent_over_time(&mut self, c: &Call, grid: Grid) -> Result<Table, EvalError> {
        let mut seen = vec![false; grid.count];
        let mut bounds = Bounds::default();
        self.windows_of(&c.args[0], grid, &mut |_, _, points, windows| {
            if bounds.fit(points.t, windows) {
                for (seen, (from, to)) in seen.iter_mut().zip(&bounds.ends) {
                    *seen |= from < to;
                }
            }
            Ok(())
        })?;
        Ok(absence(&c.args[0], &seen))
    }
}

fn takes_range(c: &Call) -> bool {
    c.function.args.contains(&super::types::ValueType::Matrix)
}

fn absence(arg: &Node, seen: &[bool]) -> Table {
    let mut table = Table::new(seen.len());
    if seen.iter().any(|s| !s) {
        let matchers: &[Matcher] = match &arg.unwrap_parens().kind {
            NodeKind::Selector(s) => &s.matchers,
            NodeKind::Range(r) => match &r.of.kind {
                NodeKind::Selector(s) => &s.matchers,
                _ => &[],
            },
            _ => &[],
        };
        let cells: Vec<f64> = seen.iter().map(|s| if *s { super::table::ABSENT } else { 1.0 }).collect();
        table.push(RowLabels::new(labels::fixed_by(matchers)), &cells);
    }
    table
}
