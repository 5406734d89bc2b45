//! A query as a tree.

use std::sync::Arc;

use super::functions::Signature;
use super::token::{AggregateOp, Op, Span};
use super::types::ValueType;
use crate::model::Matcher;

/// A query that was read: parse once, evaluate often. Clones share the tree.
#[derive(Debug, Clone)]
pub struct Expr {
    pub(super) root: Arc<Node>,
    pub(super) text: Arc<str>,
}

impl Expr {
    /// The tree.
    pub fn root(&self) -> &Node {
        &self.root
    }

    /// The text that was read.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What evaluating it gives.
    pub fn value_type(&self) -> ValueType {
        self.root.value_type()
    }

    /// The matchers of every selector in it: what it reads.
    pub fn selectors(&self) -> Vec<&[Matcher]> {
        let mut found = Vec::new();
        self.root.visit(&mut |node| {
            if let NodeKind::Selector(s) = &node.kind {
                found.push(s.matchers.as_slice());
            }
        });
        found
    }
}

impl PartialEq for Expr {
    fn eq(&self, other: &Self) -> bool {
        self.to_string() == other.to_string()
    }
}

/// A part of a query.
#[derive(Debug, Clone)]
pub struct Node {
    pub kind: NodeKind,
    /// The part of the text that it was read from.
    pub span: Span,
    /// Gives the same at every step of a range query (worked out once, after parsing).
    pub(super) step_invariant: bool,
}

/// What kind of part.
#[derive(Debug, Clone)]
pub enum NodeKind {
    Number(NumberLiteral),
    String(String),
    Selector(Selector),
    Range(Box<RangeSelector>),
    Subquery(Box<Subquery>),
    Call(Call),
    Aggregate(Box<Aggregate>),
    Binary(Box<Binary>),
    /// `-x` when true, `+x` when not.
    Unary(bool, Box<Node>),
    Paren(Box<Node>),
}

/// A number; durations stand for their seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NumberLiteral {
    pub value: f64,
    /// It was written as a duration.
    pub is_duration: bool,
}

/// How a range is read beyond its edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Extension {
    #[default]
    None,
    Anchored,
    Smoothed,
}

/// Series by their labels.
#[derive(Debug, Clone)]
pub struct Selector {
    /// The name before the braces, empty when there is none. It is among the matchers, last.
    pub name: String,
    pub matchers: Vec<Matcher>,
    pub shift: Shift,
    pub extension: Extension,
}

/// `offset` and `@`.
#[derive(Debug, Clone, Default)]
pub struct Shift {
    pub offset: Option<DurationExpr>,
    pub at: Option<At>,
}

/// What stands after `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the epoch.
    Time(i64),
    Start,
    End,
}

/// `selector[range]`.
#[derive(Debug, Clone)]
pub struct RangeSelector {
    /// A selector; anything else was refused.
    pub of: Node,
    pub range: DurationExpr,
}

/// `expr[range:step]`.
#[derive(Debug, Clone)]
pub struct Subquery {
    pub of: Node,
    pub range: DurationExpr,
    pub step: Option<DurationExpr>,
    pub shift: Shift,
}

/// A duration, which may be computed from the query's own range and step.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationExpr {
    pub kind: DurationKind,
    pub span: Span,
}

/// The forms of a duration.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationKind {
    /// Seconds.
    Literal(NumberLiteral),
    Step,
    Range,
    /// Minus when true.
    Unary(bool, Box<DurationExpr>),
    Binary(Op, Box<DurationExpr>, Box<DurationExpr>),
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
    Paren(Box<DurationExpr>),
}

/// A function called.
#[derive(Debug, Clone)]
pub struct Call {
    pub function: &'static Signature,
    pub args: Vec<Node>,
}

/// An aggregation over the series of a vector.
#[derive(Debug, Clone)]
pub struct Aggregate {
    pub op: AggregateOp,
    pub of: Node,
    pub param: Option<Node>,
    /// Sorted copies are made once, when parsed.
    pub grouping: Vec<String>,
    pub without: bool,
}

/// A binary operation.
#[derive(Debug, Clone)]
pub struct Binary {
    pub op: Op,
    pub lhs: Node,
    pub rhs: Node,
    pub return_bool: bool,
    /// Between vectors only.
    pub matching: Option<Matching>,
}

/// Which series of two vectors belong together.
#[derive(Debug, Clone, Default)]
pub struct Matching {
    pub cardinality: Cardinality,
    /// `on` when true, `ignoring` when not.
    pub on: bool,
    pub labels: Vec<String>,
    /// The labels taken over from the "one" side.
    pub include: Vec<String>,
    pub fill_left: Option<f64>,
    pub fill_right: Option<f64>,
}

/// How many series of each side may belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Cardinality {
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    ManyToMany,
}

impl Node {
    pub(super) fn new(kind: NodeKind, span: Span) -> Self {
        Self { kind, span, step_invariant: false }
    }

    /// Without the parentheses around it.
    pub fn unwrap_parens(&self) -> &Self {
        let mut node = self;
        while let NodeKind::Paren(inner) = &node.kind {
            node = inner;
        }
        node
    }

    /// The parts right below.
    pub fn children(&self) -> Vec<&Self> {
        match &self.kind {
            NodeKind::Number(_) | NodeKind::String(_) | NodeKind::Selector(_) => Vec::new(),
            NodeKind::Range(r) => vec![&r.of],
            NodeKind::Subquery(s) => vec![&s.of],
            NodeKind::Call(c) => c.args.iter().collect(),
            NodeKind::Aggregate(a) => a.param.iter().chain([&a.of]).collect(),
            NodeKind::Binary(b) => vec![&b.lhs, &b.rhs],
            NodeKind::Unary(_, e) | NodeKind::Paren(e) => vec![e],
        }
    }

    /// Calls `f` for this part and all below it.
    pub fn visit<'a>(&'a self, f: &mut dyn FnMut(&'a Self)) {
        f(self);
        for child in self.children() {
            child.visit(f);
        }
    }

    /// Works out which parts give the same at every step.
    pub(super) fn mark_step_invariant(&mut self) {
        self.step_invariant = match &mut self.kind {
            NodeKind::Number(_) | NodeKind::String(_) => true,
            NodeKind::Selector(s) => s.shift.at.is_some(),
            NodeKind::Range(r) => {
                r.of.mark_step_invariant();
                r.of.step_invariant
            }
            NodeKind::Subquery(s) => {
                s.of.mark_step_invariant();
                s.shift.at.is_some()
            }
            NodeKind::Call(c) => {
                let mut all = true;
                for arg in &mut c.args {
                    arg.mark_step_invariant();
                    all &= arg.step_invariant;
                }
                all && !(c.function.time_dependent && (c.args.is_empty() || c.function.always_time_dependent))
            }
            NodeKind::Aggregate(a) => {
                a.of.mark_step_invariant();
                let param = a.param.as_mut().is_none_or(|p| {
                    p.mark_step_invariant();
                    p.step_invariant
                });
                a.of.step_invariant && param
            }
            NodeKind::Binary(b) => {
                b.lhs.mark_step_invariant();
                b.rhs.mark_step_invariant();
                b.lhs.step_invariant && b.rhs.step_invariant
            }
            NodeKind::Unary(_, e) | NodeKind::Paren(e) => {
                e.mark_step_invariant();
                e.step_invariant
            }
        };
    }
}
