//! Reads calls of functions, and aggregations.

use super::super::ast::{Aggregate, Call, Node, NodeKind};
use super::super::functions::Signature;
use super::super::quote::unquote;
use super::super::token::{AggregateOp, Keyword, Kind, Op, Span};
use super::{Parsed, Parser, Stop};

impl Parser<'_> {
    /// A function's name and its arguments.
    pub fn call(&mut self) -> Parsed<Node> {
        let name = self.take();
        let text = self.text_of(name);
        let args = self.call_body()?;
        let span = Span { start: name.span.start, end: self.last_closing };
        let Some(function) = Signature::of(text) else {
            self.error(name.span, format!("unknown function with name {text:?}"));
            return Err(Stop::Noted);
        };
        Ok(Node::new(NodeKind::Call(Call { function, args }), span))
    }

    fn call_body(&mut self) -> Parsed<Vec<Node>> {
        self.expect(Kind::LeftParen)?;
        let mut args = Vec::new();
        if self.take_if(Kind::RightParen).is_some() {
            return Ok(args);
        }
        args.push(self.expression(0)?);
        while let Some(comma) = self.take_if(Kind::Comma) {
            if matches!(self.peek().kind, Kind::RightParen | Kind::Comma | Kind::Error | Kind::Eof) {
                if self.peek().kind == Kind::Error {
                    self.unexpected("", "");
                }
                self.error(comma.span, "trailing commas not allowed in function call args");
                continue;
            }
            args.push(self.expression(0)?);
        }
        self.expect(Kind::RightParen)?;
        Ok(args)
    }

    /// An aggregation.
    pub fn aggregate(&mut self, op: AggregateOp) -> Parsed<Node> {
        let name = self.take();
        let read = self.aggregate_body();
        let (modifier, args) = match read {
            Ok(read) => read,
            Err(Stop::Unexpected) => {
                self.unexpected("aggregation", "");
                let span = Span { start: name.span.start, end: self.last_closing };
                self.error(span, "no arguments for aggregate expression provided");
                return Err(Stop::Noted);
            }
            Err(Stop::Noted) => return Err(Stop::Noted),
        };
        let span = Span { start: name.span.start, end: self.last_closing };
        let wanted = if op.has_param() { 2 } else { 1 };
        let given = args.len();
        if given == 0 {
            self.error(span, "no arguments for aggregate expression provided");
            return Err(Stop::Noted);
        }
        if given != wanted {
            self.error(
                span,
                format!(
                    "wrong number of arguments for aggregate expression provided, expected {wanted}, got {given}"
                ),
            );
            return Err(Stop::Noted);
        }
        let mut args = args.into_iter();
        let param = if op.has_param() { args.next() } else { None };
        let Some(of) = args.next() else { return Err(Stop::Noted) };
        let (without, grouping) = modifier.unwrap_or_default();
        let aggregate = Aggregate { op, of, param, grouping, without };
        Ok(Node::new(NodeKind::Aggregate(Box::new(aggregate)), span))
    }

    #[expect(clippy::type_complexity, reason = "read in one place")]
    fn aggregate_body(&mut self) -> Parsed<(Option<(bool, Vec<String>)>, Vec<Node>)> {
        if let Some(modifier) = self.aggregate_modifier()? {
            return Ok((Some(modifier), self.call_body()?));
        }
        let args = self.call_body()?;
        Ok((self.aggregate_modifier()?, args))
    }

    fn aggregate_modifier(&mut self) -> Parsed<Option<(bool, Vec<String>)>> {
        let without = match self.peek().kind {
            Kind::Keyword(Keyword::By) => false,
            Kind::Keyword(Keyword::Without) => true,
            _ => return Ok(None),
        };
        self.take();
        Ok(Some((without, self.grouping_labels()?)))
    }

    /// Names of labels in parentheses.
    pub fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
        let mut labels = Vec::new();
        if self.take_if(Kind::LeftParen).is_none() {
            return self.refuse("grouping opts", "\"(\"");
        }
        loop {
            if self.take_if(Kind::RightParen).is_some() {
                return Ok(labels);
            }
            let token = self.peek();
            match token.kind {
                Kind::Identifier | Kind::MetricIdentifier | Kind::Keyword(_) => {
                    labels.push(self.text_of(token).to_owned());
                }
                Kind::Op(op) if op.is_set() || op == Op::Atan2 => {
                    labels.push(self.text_of(token).to_owned());
                }
                Kind::String => labels.push(unquote(self.text_of(token))),
                _ => return self.refuse("grouping opts", "label"),
            }
            self.take();
            if !matches!(self.peek().kind, Kind::Comma | Kind::RightParen) {
                return self.refuse("grouping opts", "\",\" or \")\"");
            }
            self.take_if(Kind::Comma);
        }
    }
}
