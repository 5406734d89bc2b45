//! Reads durations in brackets and after `offset`, with their arithmetic.

use super::super::ast::{DurationExpr, DurationKind, NumberLiteral};
use super::super::token::{Keyword, Kind, Op, Span};
use super::{Parsed, Parser, Stop};

/// Durations are kept in milliseconds of an i64 of nanoseconds in Go: about 292 years.
const MAX_SECONDS: f64 = (i64::MAX / 1_000_000_000) as f64;

impl Parser<'_> {
    /// Can the word at hand begin a duration?
    pub fn starts_duration(&self) -> bool {
        match self.peek().kind {
            Kind::Number
            | Kind::Duration
            | Kind::LeftParen
            | Kind::Op(Op::Add | Op::Sub)
            | Kind::Keyword(Keyword::Step | Keyword::Range) => true,
            Kind::Identifier => self.is_min_max(),
            _ => false,
        }
    }

    fn is_min_max(&self) -> bool {
        let word = self.text_of(self.peek());
        word.eq_ignore_ascii_case("min_of") || word.eq_ignore_ascii_case("max_of")
    }

    /// What stands after `offset`: one operand with a sign; arithmetic needs parentheses.
    pub fn offset_duration(&mut self) -> Parsed<DurationExpr> {
        self.signed(|p| p.duration_operand())
    }

    /// A duration with operators that bind tighter than `min`.
    pub fn duration(&mut self, min: u8) -> Parsed<DurationExpr> {
        self.deeper(|p| p.duration_here(min))
    }

    fn duration_here(&mut self, min: u8) -> Parsed<DurationExpr> {
        let mut left = self.signed(|p| {
            let operand = p.duration_operand()?;
            // A sign binds looser than `^`.
            p.duration_operators(operand, Op::Mul.precedence())
        })?;
        left = self.duration_operators(left, min)?;
        Ok(left)
    }

    fn duration_operators(&mut self, mut left: DurationExpr, min: u8) -> Parsed<DurationExpr> {
        let mut chained = 0;
        while let Kind::Op(op @ (Op::Add | Op::Sub | Op::Mul | Op::Div | Op::Mod | Op::Pow)) =
            self.peek().kind
        {
            let precedence = op.precedence();
            if precedence <= min {
                break;
            }
            chained += 1;
            if chained > super::MAX_DEPTH {
                self.error(self.peek().span, "duration expression is too long");
                return Err(Stop::Noted);
            }
            let operator = self.take();
            let right = self.duration(if op == Op::Pow { precedence - 1 } else { precedence })?;
            left = self.duration_binary(op, operator.span, left, right);
        }
        Ok(left)
    }

    fn duration_binary(
        &mut self,
        op: Op,
        operator: Span,
        left: DurationExpr,
        right: DurationExpr,
    ) -> DurationExpr {
        let zero = matches!(right.kind, DurationKind::Literal(n) if n.value == 0.0);
        if zero && matches!(op, Op::Div | Op::Mod) {
            let why = if op == Op::Div { "division by zero" } else { "modulo by zero" };
            self.error(operator, why);
            let nothing = NumberLiteral { value: 0.0, is_duration: true };
            return DurationExpr { kind: DurationKind::Literal(nothing), span: Span::default() };
        }
        let span = left.span.to(right.span);
        DurationExpr { kind: DurationKind::Binary(op, Box::new(left), Box::new(right)), span }
    }

    fn signed(&mut self, operand: impl FnOnce(&mut Self) -> Parsed<DurationExpr>) -> Parsed<DurationExpr> {
        let sign = self.peek();
        let minus = match sign.kind {
            Kind::Op(Op::Sub) => true,
            Kind::Op(Op::Add) => false,
            _ => return operand(self),
        };
        self.take();
        let operand = self.deeper(operand)?;
        let span = sign.span.to(operand.span);
        let kind = match operand.kind {
            DurationKind::Literal(n) => {
                let value = if minus { -n.value } else { n.value };
                DurationKind::Literal(NumberLiteral { value, ..n })
            }
            _ => DurationKind::Unary(minus, Box::new(operand)),
        };
        Ok(DurationExpr { kind, span })
    }

    fn duration_operand(&mut self) -> Parsed<DurationExpr> {
        let token = self.peek();
        match token.kind {
            Kind::Number | Kind::Duration => {
                let literal = self.literal();
                if literal.value.is_nan() || literal.value.abs() > MAX_SECONDS {
                    self.error(token.span, "duration out of range");
                }
                Ok(DurationExpr { kind: DurationKind::Literal(literal), span: token.span })
            }
            Kind::Keyword(k @ (Keyword::Step | Keyword::Range)) => {
                self.take();
                self.expect(Kind::LeftParen)?;
                let close = self.expect(Kind::RightParen)?;
                let kind = if k == Keyword::Step { DurationKind::Step } else { DurationKind::Range };
                Ok(DurationExpr { kind, span: token.span.to(close.span) })
            }
            Kind::Identifier if self.is_min_max() => {
                let min = self.text_of(token).eq_ignore_ascii_case("min_of");
                self.take();
                self.expect(Kind::LeftParen)?;
                let left = Box::new(self.duration(0)?);
                self.expect(Kind::Comma)?;
                let right = Box::new(self.duration(0)?);
                let close = self.expect(Kind::RightParen)?;
                let kind =
                    if min { DurationKind::MinOf(left, right) } else { DurationKind::MaxOf(left, right) };
                Ok(DurationExpr { kind, span: token.span.to(close.span) })
            }
            Kind::LeftParen => {
                self.take();
                let inner = self.duration(0)?;
                let close = self.expect(Kind::RightParen)?;
                Ok(DurationExpr {
                    kind: DurationKind::Paren(Box::new(inner)),
                    span: token.span.to(close.span),
                })
            }
            _ => Err(Stop::Unexpected),
        }
    }
}
