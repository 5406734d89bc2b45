//! The types of expressions, and the checks that need them.

use std::fmt;

use super::ast::{Aggregate, Binary, Call, Cardinality, Node, NodeKind, Selector};
use super::functions::FunctionId;
use super::token::{AggregateOp, Span};
use crate::model::METRIC_NAME;

/// What an expression gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ValueType {
    Scalar,
    String,
    /// An instant vector.
    Vector,
    /// A range vector.
    Matrix,
}

impl ValueType {
    /// The word of the HTTP API.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "vector",
            Self::Matrix => "matrix",
        }
    }

    /// The word of the documentation and of errors.
    fn documented(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            Self::String => "string",
            Self::Vector => "instant vector",
            Self::Matrix => "range vector",
        }
    }
}

impl fmt::Display for ValueType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Node {
    /// What it gives.
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            NodeKind::Number(_) => ValueType::Scalar,
            NodeKind::String(_) => ValueType::String,
            NodeKind::Selector(_) | NodeKind::Aggregate(_) => ValueType::Vector,
            NodeKind::Range(_) | NodeKind::Subquery(_) => ValueType::Matrix,
            NodeKind::Call(c) => c.function.returns,
            NodeKind::Binary(b) => {
                if b.lhs.value_type() == ValueType::Scalar && b.rhs.value_type() == ValueType::Scalar {
                    ValueType::Scalar
                } else {
                    ValueType::Vector
                }
            }
            NodeKind::Unary(_, e) | NodeKind::Paren(e) => e.value_type(),
        }
    }
}

/// Checks a whole tree and completes what depends on types (the matching of set operators).
pub(super) struct Checker<'a> {
    pub text: &'a str,
    pub errors: Vec<(Span, String)>,
}

impl Checker<'_> {
    fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push((span, message.into()));
    }

    fn expect(&mut self, node: &mut Node, want: ValueType, context: &str) {
        let got = self.check(node);
        if got != want {
            let (want, got) = (want.documented(), got.documented());
            self.error(node.span, format!("expected type {want} in {context}, got {got}"));
        }
    }

    /// Checks a part and all below it.
    pub fn check(&mut self, node: &mut Node) -> ValueType {
        let span = node.span;
        match &mut node.kind {
            NodeKind::Number(_) | NodeKind::String(_) => {}
            NodeKind::Selector(s) => self.selector(s, span),
            NodeKind::Range(r) => {
                self.check(&mut r.of);
            }
            NodeKind::Subquery(s) => {
                let got = self.check(&mut s.of);
                if got != ValueType::Vector {
                    self.error(
                        span,
                        format!("subquery is only allowed on instant vector, got {got} instead"),
                    );
                }
            }
            NodeKind::Call(c) => self.call(c, span),
            NodeKind::Aggregate(a) => self.aggregate(a),
            NodeKind::Binary(b) => self.binary(b, span),
            NodeKind::Unary(_, e) => {
                let got = self.check(e);
                if !matches!(got, ValueType::Scalar | ValueType::Vector) {
                    let got = got.documented();
                    self.error(
                        span,
                        format!(
                            "unary expression only allowed on expressions of type scalar or instant vector, got {got:?}"
                        ),
                    );
                }
            }
            NodeKind::Paren(e) => {
                self.check(e);
            }
        }
        node.value_type()
    }

    fn selector(&mut self, s: &Selector, span: Span) {
        if !s.name.is_empty() {
            let others = &s.matchers[..s.matchers.len().saturating_sub(1)];
            for other in others.iter().filter(|m| m.name == METRIC_NAME) {
                let message = format!("metric name must not be set twice: {:?} or {:?}", s.name, other.value);
                self.error(span, message);
            }
        } else if s.matchers.iter().all(crate::model::Matcher::matches_empty) {
            self.error(span, "vector selector must contain at least one non-empty matcher");
        }
    }

    fn aggregate(&mut self, a: &mut Aggregate) {
        self.expect(&mut a.of, ValueType::Vector, "aggregation expression");
        if let Some(param) = &mut a.param {
            let want = if a.op == AggregateOp::CountValues { ValueType::String } else { ValueType::Scalar };
            self.expect(param, want, "aggregation parameter");
        }
    }

    fn call(&mut self, c: &mut Call, span: Span) {
        let f = c.function;
        let (declared, given) = (f.args.len(), c.args.len());
        let name = f.name;
        if f.variadic == 0 {
            if declared != given {
                self.error(span, format!("expected {declared} argument(s) in call to {name:?}, got {given}"));
            }
        } else {
            let least = declared.saturating_sub(1);
            let most = least.saturating_add(usize::try_from(f.variadic).unwrap_or(usize::MAX / 2));
            if least > given {
                self.error(
                    span,
                    format!("expected at least {least} argument(s) in call to {name:?}, got {given}"),
                );
            } else if f.variadic > 0 && most < given {
                self.error(
                    span,
                    format!("expected at most {most} argument(s) in call to {name:?}, got {given}"),
                );
            }
        }
        let context = format!("call to function {name:?}");
        for (i, arg) in c.args.iter_mut().enumerate() {
            if i >= declared && f.variadic == 0 {
                break;
            }
            let Some(&want) = f.args.get(i).or(f.args.last()) else { break };
            if f.id == FunctionId::Info && i == 1 {
                self.info_selector(arg);
            } else {
                self.expect(arg, want, &context);
            }
        }
    }

    /// The second argument of `info` holds matchers only.
    fn info_selector(&mut self, arg: &mut Node) {
        match &arg.kind {
            NodeKind::Selector(s) if s.name.is_empty() => {}
            NodeKind::Selector(_) => {
                self.error(arg.span, "expected label selectors only, got vector selector instead");
            }
            _ => self.error(arg.span, "expected label selectors only"),
        }
    }

    /// The operator with its modifiers, between the operands.
    fn operator_span(&self, b: &Binary) -> Span {
        let bytes = self.text.as_bytes();
        let space = |i: usize| bytes.get(i).is_some_and(u8::is_ascii_whitespace);
        let mut start = b.lhs.span.end as usize;
        let mut end = (b.rhs.span.start as usize).saturating_sub(1);
        while space(start) {
            start += 1;
        }
        while end > start && space(end) {
            end -= 1;
        }
        Span::new(start, end)
    }

    fn binary(&mut self, b: &mut Binary, span: Span) {
        let (lt, rt) = (self.check(&mut b.lhs), self.check(&mut b.rhs));
        if b.return_bool && !b.op.is_comparison() {
            self.error(self.operator_span(b), "bool modifier can only be used on comparison operators");
        }
        if b.op.is_comparison() && !b.return_bool && lt == ValueType::Scalar && rt == ValueType::Scalar {
            self.error(self.operator_span(b), "comparisons between scalars must use BOOL modifier");
        }
        let mut matching = b.matching.take().unwrap_or_default();
        if b.op.is_set() && matching.cardinality == Cardinality::OneToOne {
            matching.cardinality = Cardinality::ManyToMany;
        }
        if matching.on {
            for label in matching.labels.iter().filter(|l| matching.include.contains(l)) {
                let message = format!("label {label:?} must not occur in ON and GROUP clause at once");
                self.error(self.operator_span(b), message);
            }
        }
        for (t, operand) in [(lt, b.lhs.span), (rt, b.rhs.span)] {
            if !matches!(t, ValueType::Scalar | ValueType::Vector) {
                self.error(operand, "binary expression must contain only scalar and instant vector types");
            }
        }
        let vectors = lt == ValueType::Vector && rt == ValueType::Vector;
        let filled = matching.fill_left.is_some() || matching.fill_right.is_some();
        if !vectors && !matching.labels.is_empty() {
            self.error(span, "vector matching only allowed between instant vectors");
        } else if !vectors && filled {
            self.error(span, "filling in missing series only allowed between instant vectors");
        } else if vectors && b.op.is_set() {
            if matches!(matching.cardinality, Cardinality::ManyToOne | Cardinality::OneToMany) {
                self.error(span, format!("no grouping allowed for {:?} operation", b.op.as_str()));
            }
            if matching.cardinality != Cardinality::ManyToMany {
                self.error(span, "set operations must always be many-to-many");
            }
            if filled {
                self.error(span, "filling in missing series not allowed for set operators");
            }
        }
        b.matching = vectors.then_some(matching);
        if (lt == ValueType::Scalar || rt == ValueType::Scalar) && b.op.is_set() {
            let op = b.op.as_str();
            self.error(span, format!("set operator {op:?} not allowed in binary scalar expression"));
        }
    }
}
