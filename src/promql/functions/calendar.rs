//! Functions of the calendar, in UTC.

use jiff::Timestamp;
use jiff::civil::{DateTime, Weekday};
use jiff::tz::TimeZone;

use super::FunctionId as F;
use crate::model::Labels;
use crate::promql::ast::Call;
use crate::promql::error::EvalError;
use crate::promql::eval::Evaluator;
use crate::promql::grid::Grid;
use crate::promql::table::{RowLabels, Table};

/// A part of the time that a vector's values (seconds since the epoch) or the evaluation stand for.
pub fn eval(e: &mut Evaluator<'_>, c: &Call, grid: Grid) -> Result<Table, EvalError> {
    let id = c.function.id;
    let Some(arg) = c.args.first() else {
        let mut table = Table::new(grid.count);
        let cells: Vec<f64> = (0..grid.count).map(|i| part(id, grid.at(i) as f64 / 1000.0)).collect();
        table.push(RowLabels::new(Labels::empty()), &cells);
        return Ok(table);
    };
    let table = e.vector(arg, grid)?.map(|v| part(id, v));
    e.dropped(table)
}

/// NaN for what is no time of the calendar (years beyond ±9999).
fn part(id: F, seconds: f64) -> f64 {
    if seconds.is_nan() {
        return f64::NAN;
    }
    let Ok(t) = Timestamp::from_second(seconds as i64) else { return f64::NAN };
    let date: DateTime = t.to_zoned(TimeZone::UTC).datetime();
    match id {
        F::Year => f64::from(date.year()),
        F::Month => f64::from(date.month()),
        F::DayOfMonth => f64::from(date.day()),
        F::DayOfWeek => f64::from(Weekday::to_sunday_zero_offset(date.weekday())),
        F::DayOfYear => f64::from(date.date().day_of_year()),
        F::DaysInMonth => f64::from(date.date().days_in_month()),
        F::Hour => f64::from(date.hour()),
        _ => f64::from(date.minute()),
    }
}
