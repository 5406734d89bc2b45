//! Expressions as text, in the canonical form.

use std::fmt::{self, Display, Formatter, Write as _};

use super::ast::{
    At, Binary, Cardinality, DurationExpr, DurationKind, Expr, Extension, Matching, Node, NodeKind,
    NumberLiteral, Selector, Shift,
};
use crate::model::{Duration, GoQuoted, METRIC_NAME, MatchOp, format_float_go, is_legacy_label_name};

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.root.fmt(f)
    }
}

impl Display for Node {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            NodeKind::Number(n) => n.fmt(f),
            NodeKind::String(s) => write!(f, "{}", GoQuoted::new(s)),
            NodeKind::Selector(s) => {
                selector(f, s)?;
                extension(f, s.extension)?;
                s.shift.fmt(f)
            }
            NodeKind::Range(r) => {
                let NodeKind::Selector(s) = &r.of.kind else {
                    return write!(f, "{}[{}]", r.of, r.range);
                };
                selector(f, s)?;
                write!(f, "[{}]", InBrackets(&r.range))?;
                extension(f, s.extension)?;
                s.shift.fmt(f)
            }
            NodeKind::Subquery(s) => {
                write!(f, "{}[{}:", s.of, InBrackets(&s.range))?;
                if let Some(step) = &s.step {
                    InBrackets(step).fmt(f)?;
                }
                f.write_char(']')?;
                s.shift.fmt(f)
            }
            NodeKind::Call(c) => {
                write!(f, "{}(", c.function.name)?;
                for (i, arg) in c.args.iter().enumerate() {
                    write!(f, "{}{arg}", if i > 0 { ", " } else { "" })?;
                }
                f.write_char(')')
            }
            NodeKind::Aggregate(a) => {
                write!(f, "{}", a.op)?;
                if a.without || !a.grouping.is_empty() {
                    let word = if a.without { "without" } else { "by" };
                    write!(f, " {word} ({}) ", Names(&a.grouping))?;
                }
                f.write_char('(')?;
                if let Some(param) = &a.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", a.of)
            }
            NodeKind::Binary(b) => {
                write!(f, "{} {}", b.lhs, b.op)?;
                modifiers(f, b)?;
                write!(f, " {}", b.rhs)
            }
            NodeKind::Unary(minus, e) => write!(f, "{}{e}", if *minus { '-' } else { '+' }),
            NodeKind::Paren(e) => write!(f, "({e})"),
        }
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.is_duration {
            return f.write_str(&seconds_as_duration(self.value));
        }
        f.write_str(&format_float_go(self.value))
    }
}

fn seconds_as_duration(seconds: f64) -> String {
    Duration::from_ms((seconds * 1000.0).round() as i64).to_string()
}

struct Names<'a>(&'a [String]);

impl Display for Names<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            f.write_str(if i > 0 { ", " } else { "" })?;
            if is_legacy_label_name(name) {
                f.write_str(name)?;
            } else {
                write!(f, "{}", GoQuoted::new(name))?;
            }
        }
        Ok(())
    }
}

fn selector(f: &mut Formatter<'_>, s: &Selector) -> fmt::Result {
    f.write_str(&s.name)?;
    let is_name = |m: &&crate::model::Matcher| {
        m.name == METRIC_NAME && m.op == MatchOp::Equal && m.value == s.name && !s.name.is_empty()
    };
    let mut first = true;
    for matcher in s.matchers.iter().filter(|m| !is_name(m)) {
        write!(f, "{}{matcher}", if first { "{" } else { "," })?;
        first = false;
    }
    if first { Ok(()) } else { f.write_char('}') }
}

fn extension(f: &mut Formatter<'_>, extension: Extension) -> fmt::Result {
    f.write_str(match extension {
        Extension::None => "",
        Extension::Anchored => " anchored",
        Extension::Smoothed => " smoothed",
    })
}

impl Display for Shift {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self.at {
            None => {}
            Some(At::Time(ms)) => {
                let sign = if ms < 0 { "-" } else { "" };
                let ms = ms.unsigned_abs();
                write!(f, " @ {sign}{}.{:03}", ms / 1000, ms % 1000)?;
            }
            Some(At::Start) => f.write_str(" @ start()")?,
            Some(At::End) => f.write_str(" @ end()")?,
        }
        match &self.offset {
            None => Ok(()),
            Some(offset) => write!(f, " offset {}", InBrackets(offset)),
        }
    }
}

/// A duration that stands alone: a bare number is printed as a duration.
struct InBrackets<'a>(&'a DurationExpr);

impl Display for InBrackets<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            DurationKind::Literal(n) => f.write_str(&seconds_as_duration(n.value)),
            _ => self.0.fmt(f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match &self.kind {
            DurationKind::Literal(n) => n.fmt(f),
            DurationKind::Step => f.write_str("step()"),
            DurationKind::Range => f.write_str("range()"),
            DurationKind::Unary(true, e) => write!(f, "-{e}"),
            DurationKind::Unary(false, e) => e.fmt(f),
            DurationKind::Binary(op, l, r) => write!(f, "{l} {op} {r}"),
            DurationKind::MinOf(l, r) => write!(f, "min_of({l}, {r})"),
            DurationKind::MaxOf(l, r) => write!(f, "max_of({l}, {r})"),
            DurationKind::Paren(e) => write!(f, "({e})"),
        }
    }
}

fn modifiers(f: &mut Formatter<'_>, b: &Binary) -> fmt::Result {
    if b.return_bool {
        f.write_str(" bool")?;
    }
    match &b.matching {
        Some(m) => matching(f, m),
        None => Ok(()),
    }
}

fn matching(f: &mut Formatter<'_>, m: &Matching) -> fmt::Result {
    let grouped = matches!(m.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany);
    if m.on || !m.labels.is_empty() || grouped {
        write!(f, " {} ({})", if m.on { "on" } else { "ignoring" }, Names(&m.labels))?;
    }
    if grouped {
        let word = if m.cardinality == Cardinality::ManyToOne { "group_left" } else { "group_right" };
        write!(f, " {word} ({})", Names(&m.include))?;
    }
    match (m.fill_left, m.fill_right) {
        (Some(l), Some(r)) if l.to_bits() == r.to_bits() => write!(f, " fill ({})", format_float_go(l)),
        (l, r) => {
            if let Some(l) = l {
                write!(f, " fill_left ({})", format_float_go(l))?;
            }
            if let Some(r) = r {
                write!(f, " fill_right ({})", format_float_go(r))?;
            }
            Ok(())
        }
    }
}
