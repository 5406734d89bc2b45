//! The points in time at which an expression is evaluated.

use super::ast::{At, DurationExpr, DurationKind, Shift};
use super::error::EvalError;
use super::token::Op;

/// `count` points, `step` ms apart, beginning at `start`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Grid {
    pub start: i64,
    pub step: i64,
    pub count: usize,
}

impl Grid {
    pub fn instant(t: i64) -> Self {
        Self { start: t, step: 0, count: 1 }
    }

    /// The `i`-th point.
    pub fn at(&self, i: usize) -> i64 {
        self.start + self.step * i as i64
    }

    pub fn end(&self) -> i64 {
        self.at(self.count.saturating_sub(1))
    }

    /// The same points seen through an `offset` or `@`: where the samples are looked for.
    pub fn shifted(&self, shift: ResolvedShift) -> Self {
        match shift.at {
            Some(t) => Self { start: t.saturating_sub(shift.offset), step: 0, count: self.count },
            None => Self { start: self.start.saturating_sub(shift.offset), ..*self },
        }
    }
}

/// `offset` and `@` as milliseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ResolvedShift {
    pub offset: i64,
    pub at: Option<i64>,
}

/// What `start()`, `end()`, `range()` and `step()` stand for: the query as it was asked.
#[derive(Debug, Clone, Copy)]
pub(super) struct Asked {
    pub start: i64,
    pub end: i64,
    pub step: i64,
}

impl Asked {
    pub fn resolve(&self, shift: &Shift) -> Result<ResolvedShift, EvalError> {
        let offset = match &shift.offset {
            Some(e) => self.milliseconds(e)?,
            None => 0,
        };
        let at = shift.at.map(|at| match at {
            At::Time(t) => t,
            At::Start => self.start,
            At::End => self.end,
        });
        Ok(ResolvedShift { offset, at })
    }

    /// A duration that must be larger than nothing, in ms.
    pub fn positive(&self, e: &DurationExpr) -> Result<i64, EvalError> {
        match self.milliseconds(e)? {
            ms if ms > 0 => Ok(ms),
            _ => Err(EvalError::failed("duration must be greater than 0")),
        }
    }

    /// A duration in ms.
    pub fn milliseconds(&self, e: &DurationExpr) -> Result<i64, EvalError> {
        let seconds = self.seconds(e)?;
        // 292 years, as in the parser.
        if seconds.is_nan() || seconds.abs() > (i64::MAX / 1_000_000_000) as f64 {
            return Err(EvalError::failed("duration out of range"));
        }
        Ok((seconds * 1000.0).round() as i64)
    }

    fn seconds(&self, e: &DurationExpr) -> Result<f64, EvalError> {
        Ok(match &e.kind {
            DurationKind::Literal(n) => n.value,
            DurationKind::Step => self.step as f64 / 1000.0,
            DurationKind::Range => (self.end - self.start) as f64 / 1000.0,
            DurationKind::Unary(true, e) => -self.seconds(e)?,
            DurationKind::Unary(false, e) | DurationKind::Paren(e) => self.seconds(e)?,
            DurationKind::MinOf(l, r) => self.seconds(l)?.min(self.seconds(r)?),
            DurationKind::MaxOf(l, r) => self.seconds(l)?.max(self.seconds(r)?),
            DurationKind::Binary(op, l, r) => {
                let (l, r) = (self.seconds(l)?, self.seconds(r)?);
                match op {
                    Op::Add => l + r,
                    Op::Sub => l - r,
                    Op::Mul => l * r,
                    Op::Div if r == 0.0 => return Err(EvalError::failed("division by zero")),
                    Op::Div => l / r,
                    Op::Mod if r == 0.0 => return Err(EvalError::failed("modulo by zero")),
                    Op::Mod => l % r,
                    _ => l.powf(r),
                }
            }
        })
    }
}
