//! Reads selectors: a metric's name, and matchers in braces.

use super::super::ast::{Extension, Node, NodeKind, Selector, Shift};
use super::super::quote::unquote;
use super::super::token::{Kind, Op, Token};
use super::{Parsed, Parser, Stop};
use crate::model::{METRIC_NAME, MatchOp, Matcher};

/// More matchers than this are refused.
const MAX_MATCHERS: usize = 1000;

impl Parser<'_> {
    /// A selector; `name` is the word at hand when it begins with one.
    pub fn selector(&mut self, name: Option<Token>) -> Parsed<Node> {
        let first = self.peek();
        if name.is_some() {
            self.take();
        }
        let mut span = first.span;
        let mut matchers = Vec::new();
        if self.peek().kind == Kind::LeftBrace {
            self.take();
            self.matchers(&mut matchers)?;
            if let Some(close) = self.take_if(Kind::RightBrace) {
                span = span.to(close.span);
            }
        }
        let name = name.map(|n| self.text_of(n).to_owned()).unwrap_or_default();
        if !name.is_empty() {
            matchers.push(Matcher::equal(METRIC_NAME, name.clone()));
        }
        let selector = Selector { name, matchers, shift: Shift::default(), extension: Extension::None };
        Ok(Node::new(NodeKind::Selector(selector), span))
    }

    /// Up to the closing brace, which is left.
    fn matchers(&mut self, out: &mut Vec<Matcher>) -> Parsed<()> {
        loop {
            let token = self.peek();
            match token.kind {
                Kind::RightBrace => return Ok(()),
                Kind::Identifier => {
                    self.take();
                    let name = self.text_of(token).to_owned();
                    if !self.at_match_op() {
                        return self.refuse("label matching", "label matching operator");
                    }
                    self.matcher(name, token, out)?;
                }
                Kind::String => {
                    self.take();
                    let name = unquote(self.text_of(token));
                    if self.at_match_op() {
                        self.matcher(name, token, out)?;
                    } else {
                        out.push(Matcher::equal(METRIC_NAME, name));
                    }
                }
                _ => return self.refuse("label matching", "identifier or \"}\""),
            }
            if out.len() > MAX_MATCHERS {
                self.error(token.span, "too many matchers");
                return Err(Stop::Noted);
            }
            if self.take_if(Kind::Comma).is_none() && self.peek().kind != Kind::RightBrace {
                return self.refuse("label matching", "\",\" or \"}\"");
            }
        }
    }

    fn at_match_op(&self) -> bool {
        matches!(self.peek().kind, Kind::Eql | Kind::EqlRegex | Kind::NeqRegex | Kind::Op(Op::Neq))
    }

    fn matcher(&mut self, name: String, start: Token, out: &mut Vec<Matcher>) -> Parsed<()> {
        let op = match self.take().kind {
            Kind::Eql => MatchOp::Equal,
            Kind::EqlRegex => MatchOp::Regex,
            Kind::NeqRegex => MatchOp::NotRegex,
            _ => MatchOp::NotEqual,
        };
        let value = self.peek();
        if value.kind != Kind::String {
            return self.refuse("label matching", "string");
        }
        self.take();
        match Matcher::new(op, name, unquote(self.text_of(value))) {
            Ok(matcher) => out.push(matcher),
            Err(e) => self.error(start.span.to(value.span), e.to_string()),
        }
        Ok(())
    }
}
