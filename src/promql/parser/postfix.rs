//! Reads what follows an operand: brackets, `offset`, `@`, `anchored` and `smoothed`.

use super::super::ast::{
    At, DurationExpr, DurationKind, Extension, Node, NodeKind, RangeSelector, Shift, Subquery,
};
use super::super::token::{Keyword, Kind, Op, Span};
use super::{Parsed, Parser, Stop};

impl Parser<'_> {
    /// Brackets, `offset`, `@`, `anchored` and `smoothed` after an expression.
    pub fn postfix(&mut self, mut node: Node) -> Parsed<Node> {
        loop {
            let token = self.peek();
            node = match token.kind {
                Kind::LeftBracket => self.brackets(node)?,
                Kind::Keyword(Keyword::Offset) => self.offset(node)?,
                Kind::At => self.at(node)?,
                Kind::Keyword(k @ (Keyword::Anchored | Keyword::Smoothed)) => {
                    self.take();
                    let extension =
                        if k == Keyword::Anchored { Extension::Anchored } else { Extension::Smoothed };
                    self.extend(node, extension, token.span)
                }
                _ => return Ok(node),
            };
        }
    }

    fn extend(&mut self, mut node: Node, extension: Extension, word: Span) -> Node {
        let refused_before =
            matches!(&node.kind, NodeKind::Range(r) if !matches!(r.of.kind, NodeKind::Selector(_)));
        let target = match &mut node.kind {
            NodeKind::Selector(s) => Some(s),
            NodeKind::Range(r) => match &mut r.of.kind {
                NodeKind::Selector(s) => Some(s),
                _ => None,
            },
            _ => None,
        };
        match target {
            Some(s) if s.extension == Extension::None || s.extension == extension => {
                s.extension = extension;
            }
            Some(_) => self.error(word, "anchored and smoothed modifiers cannot be used together"),
            None if refused_before => {}
            None => {
                let name = if extension == Extension::Anchored { "anchored" } else { "smoothed" };
                self.error(
                    node.span,
                    format!("{name} modifier must be preceded by an instant or range vector selector"),
                );
            }
        }
        node
    }

    fn brackets(&mut self, node: Node) -> Parsed<Node> {
        let open = self.take();
        let number = "number, duration, step(), or range()";
        if !self.starts_duration() {
            return self.refuse("subquery or range selector", number);
        }
        let range = match self.positive_duration() {
            Err(Stop::Unexpected) => return self.refuse("subquery or range selector", number),
            read => read?,
        };
        if self.take_if(Kind::Colon).is_some() {
            let step = if self.peek().kind == Kind::RightBracket {
                None
            } else {
                let read =
                    if self.starts_duration() { self.positive_duration() } else { Err(Stop::Unexpected) };
                match read {
                    Err(Stop::Unexpected) => {
                        let expected = "number, duration, step(), range(), or \"]\"";
                        return self.refuse("subquery selector", expected);
                    }
                    read => Some(read?),
                }
            };
            let Some(close) = self.take_if(Kind::RightBracket) else {
                return self.refuse("subquery selector", "\"]\"");
            };
            let span = node.span.to(close.span);
            let subquery = Subquery { of: node, range, step, shift: Shift::default() };
            return Ok(Node::new(NodeKind::Subquery(Box::new(subquery)), span));
        }
        let Some(close) = self.take_if(Kind::RightBracket) else {
            return self.refuse("subquery or range", "\":\" or \"]\"");
        };
        let wrong = match &node.kind {
            NodeKind::Selector(s) if s.shift.offset.is_some() => {
                Some("no offset modifiers allowed before range")
            }
            NodeKind::Selector(s) if s.shift.at.is_some() => Some("no @ modifiers allowed before range"),
            NodeKind::Selector(_) => None,
            _ => Some("ranges only allowed for vector selectors"),
        };
        if let Some(wrong) = wrong {
            self.error(open.span.to(close.span), wrong);
        }
        let span = node.span.to(close.span);
        Ok(Node::new(NodeKind::Range(Box::new(RangeSelector { of: node, range })), span))
    }

    /// Where `offset` and `@` go, with the reason when they cannot.
    fn shift_of<'n>(&mut self, node: &'n mut Node, modifier: &str) -> Option<&'n mut Shift> {
        let span = node.span;
        match &mut node.kind {
            NodeKind::Selector(s) => Some(&mut s.shift),
            NodeKind::Subquery(s) => Some(&mut s.shift),
            NodeKind::Range(r) => match &mut r.of.kind {
                NodeKind::Selector(s) => Some(&mut s.shift),
                _ => {
                    self.error(span, "ranges only allowed for vector selectors");
                    None
                }
            },
            _ => {
                self.error(
                    span,
                    format!(
                        "{modifier} modifier must be preceded by an instant vector selector or range vector selector or a subquery"
                    ),
                );
                None
            }
        }
    }

    fn offset(&mut self, mut node: Node) -> Parsed<Node> {
        self.take();
        let read = if self.starts_duration() { self.offset_duration() } else { Err(Stop::Unexpected) };
        let offset = match read {
            Err(Stop::Unexpected) => {
                return self.refuse("offset", "number, duration, step(), or range()");
            }
            read => read?,
        };
        let span = node.span;
        if let Some(shift) = self.shift_of(&mut node, "offset") {
            if shift.offset.is_some() {
                self.error(span, "offset may not be set multiple times");
            } else {
                shift.offset = Some(offset);
            }
        }
        node.span.end = self.last_closing;
        Ok(node)
    }

    fn at(&mut self, mut node: Node) -> Parsed<Node> {
        self.take();
        let span = node.span;
        let at = match (self.peek().kind, self.peek_at(1).kind) {
            (Kind::Keyword(k @ (Keyword::Start | Keyword::End)), Kind::LeftParen) => {
                self.take();
                self.take();
                if self.take_if(Kind::RightParen).is_none() {
                    return self.refuse("@", "timestamp");
                }
                if k == Keyword::Start { At::Start } else { At::End }
            }
            (Kind::Number | Kind::Duration | Kind::Op(Op::Add | Op::Sub), _) => {
                let Ok(seconds) = self.signed_number() else {
                    return self.refuse("@", "timestamp");
                };
                // i64 milliseconds, as Go's conversion bounds them.
                let limit = i64::MAX as f64;
                if !seconds.is_finite() || seconds >= limit || seconds <= -limit {
                    let text = crate::model::format_float_go(seconds);
                    self.error(span, format!("timestamp out of bounds for @ modifier: {text}"));
                    At::Time(0)
                } else {
                    At::Time((seconds * 1000.0).round() as i64)
                }
            }
            _ => return self.refuse("@", "timestamp"),
        };
        if let Some(shift) = self.shift_of(&mut node, "@") {
            if shift.at.is_some() {
                self.error(span, "@ <timestamp> may not be set multiple times");
            } else {
                shift.at = Some(at);
            }
        }
        node.span.end = self.last_closing;
        Ok(node)
    }

    fn positive_duration(&mut self) -> Parsed<DurationExpr> {
        let duration = self.duration(0)?;
        if let DurationKind::Literal(n) = duration.kind
            && n.value <= 0.0
        {
            self.error(duration.span, "duration must be greater than 0");
        }
        Ok(duration)
    }
}
