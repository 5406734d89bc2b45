//! Reads expressions: a Pratt parser over the lexer's words.

mod binary;
mod call;
mod duration;
mod postfix;
mod selector;

use std::sync::Arc;

use super::ast::{Binary, Expr, Node, NodeKind, NumberLiteral};
use super::error::ParseErrors;
use super::lexer::lex;
use super::number::{duration_value, number_value};
use super::quote::unquote;
use super::token::{Keyword, Kind, Op, Span, Token};
use super::types::Checker;
use crate::model::{Labels, LabelsBuilder, MatchOp, Matcher};

/// Queries nest at most this deep, so that neither reading nor evaluating overflows a thread's stack.
pub const MAX_DEPTH: usize = 128;
/// Queries are at most this long, in bytes.
pub const MAX_LENGTH: usize = 1 << 20;

/// Reads a query.
///
/// # Errors
/// Everything that is wrong with it, with places.
pub fn parse(text: &str) -> Result<Expr, ParseErrors> {
    if text.len() > MAX_LENGTH {
        let message = format!("query is longer than {MAX_LENGTH} bytes");
        return Err(ParseErrors::locate(text, vec![(Span::default(), message)]));
    }
    let mut parser = Parser::new(text);
    let root = parser.whole();
    let mut errors = parser.errors;
    if let (Some(mut root), true) = (root, errors.is_empty()) {
        let mut checker = Checker { text, errors: Vec::new() };
        checker.check(&mut root);
        errors = checker.errors;
        if errors.is_empty() {
            root.mark_step_invariant();
            return Ok(Expr { root: Arc::new(root), text: Arc::from(text) });
        }
    }
    Err(ParseErrors::locate(text, errors))
}

/// Reads a selector, such as `match[]` of the HTTP API: its matchers.
///
/// # Errors
/// It is no plain selector, or it would select everything.
pub fn parse_selector(text: &str) -> Result<Vec<Matcher>, ParseErrors> {
    let expr = parse(text)?;
    match &expr.root().kind {
        NodeKind::Selector(s) if s.shift.at.is_none() && s.shift.offset.is_none() => Ok(s.matchers.clone()),
        _ => {
            let message = "expected a metric selector".to_owned();
            Err(ParseErrors::locate(text, vec![(Span::new(0, text.len()), message)]))
        }
    }
}

/// Reads the labels of a series, `metric{label="value"}`; `{}` is the empty set.
pub(crate) fn parse_selector_labels(text: &str) -> Result<Labels, String> {
    let mut parser = Parser::new(text);
    let first = parser.peek();
    let name = matches!(
        first.kind,
        Kind::Identifier | Kind::MetricIdentifier | Kind::Keyword(_) | Kind::Op(_) | Kind::Number
    );
    if !name && first.kind != Kind::LeftBrace {
        return Err(format!("{text:?} is no series"));
    }
    let read = parser.selector(name.then_some(first));
    let done = parser.peek().kind == Kind::Eof;
    if let Err(Stop::Unexpected) = read {
        parser.unexpected("", "");
    }
    if let Some((_, message)) = parser.errors.first() {
        return Err(message.clone());
    }
    match read.map(|node| node.kind) {
        Ok(NodeKind::Selector(s)) if done => {
            let mut builder = LabelsBuilder::default();
            for m in &s.matchers {
                if m.op != MatchOp::Equal {
                    return Err(format!("{m} is no label"));
                }
                builder.set(&m.name, &m.value);
            }
            Ok(builder.build())
        }
        _ => Err(format!("{text:?} is no series")),
    }
}

/// The parser gave up; what is wrong has been noted, or is the word at hand.
pub(super) enum Stop {
    Noted,
    /// The word at hand fits nowhere.
    Unexpected,
}

pub(super) type Parsed<T> = Result<T, Stop>;

pub(super) struct Parser<'a> {
    text: &'a str,
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// The end of the last number or closing bracket that was taken.
    pub last_closing: u32,
    lex_error: Option<(Span, String)>,
    pub errors: Vec<(Span, String)>,
}

impl<'a> Parser<'a> {
    pub fn new(text: &'a str) -> Self {
        let lexed = lex(text);
        Self {
            text,
            tokens: lexed.tokens,
            at: 0,
            depth: 0,
            last_closing: 0,
            lex_error: lexed.error,
            errors: Vec::new(),
        }
    }

    fn whole(&mut self) -> Option<Node> {
        if self.peek().kind == Kind::Eof {
            self.error(Span::default(), "no expression found in input");
            return None;
        }
        let read = self
            .expression(0)
            .and_then(|node| if self.peek().kind == Kind::Eof { Ok(node) } else { Err(Stop::Unexpected) });
        match read {
            Ok(node) => Some(node),
            Err(Stop::Unexpected) => {
                self.unexpected("", "");
                None
            }
            Err(Stop::Noted) => None,
        }
    }

    pub fn peek(&self) -> Token {
        self.peek_at(0)
    }

    pub fn peek_at(&self, ahead: usize) -> Token {
        let end = Token { kind: Kind::Eof, span: Span::new(self.text.len(), self.text.len()) };
        self.tokens.get(self.at + ahead).or(self.tokens.last()).copied().unwrap_or(end)
    }

    pub fn take(&mut self) -> Token {
        let token = self.peek();
        if !matches!(token.kind, Kind::Eof | Kind::Error) {
            self.at += 1;
        }
        if matches!(
            token.kind,
            Kind::RightBrace | Kind::RightParen | Kind::RightBracket | Kind::Duration | Kind::Number
        ) {
            self.last_closing = token.span.end;
        }
        token
    }

    pub fn take_if(&mut self, kind: Kind) -> Option<Token> {
        (self.peek().kind == kind).then(|| self.take())
    }

    pub fn expect(&mut self, kind: Kind) -> Parsed<Token> {
        self.take_if(kind).ok_or(Stop::Unexpected)
    }

    pub fn text_of(&self, token: Token) -> &'a str {
        self.text.get(token.span.start as usize..token.span.end as usize).unwrap_or_default()
    }

    pub fn error(&mut self, span: Span, message: impl Into<String>) {
        self.errors.push((span, message.into()));
    }

    /// Notes that the word at hand does not fit; the lexer's own refusal comes first.
    pub fn unexpected(&mut self, context: &str, expected: &str) {
        let token = self.peek();
        if token.kind == Kind::Error {
            if let Some(refused) = self.lex_error.take() {
                self.errors.push(refused);
            }
            return;
        }
        let mut message = format!("unexpected {}", self.describe(token));
        if !context.is_empty() {
            message += &format!(" in {context}");
        }
        if !expected.is_empty() {
            message += &format!(", expected {expected}");
        }
        self.error(token.span, message);
    }

    /// Notes it and gives up.
    pub fn refuse<T>(&mut self, context: &str, expected: &str) -> Parsed<T> {
        self.unexpected(context, expected);
        Err(Stop::Noted)
    }

    fn describe(&self, token: Token) -> String {
        let text = self.text_of(token);
        match token.kind {
            Kind::Eof => "end of input".into(),
            Kind::Identifier => format!("identifier {text:?}"),
            Kind::MetricIdentifier => format!("metric identifier {text:?}"),
            Kind::Number => format!("number {text:?}"),
            Kind::Duration => format!("duration {text:?}"),
            Kind::String => format!("string {:?}", text),
            Kind::Keyword(Keyword::Aggregate(_)) => format!("<aggr:{text}>"),
            Kind::Keyword(_) => format!("<{text}>"),
            Kind::Op(_) | Kind::At | Kind::EqlRegex | Kind::NeqRegex => format!("<op:{text}>"),
            _ => format!("{text:?}"),
        }
    }

    /// Reads something nested, unless that is too deep.
    pub fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.depth >= MAX_DEPTH {
            self.error(self.peek().span, format!("expression is nested deeper than {MAX_DEPTH} levels"));
            return Err(Stop::Noted);
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// An expression whose operators bind tighter than `min`.
    pub fn expression(&mut self, min: u8) -> Parsed<Node> {
        self.deeper(|p| p.expression_here(min))
    }

    fn expression_here(&mut self, min: u8) -> Parsed<Node> {
        let mut left = self.unary()?;
        let mut chained = 0;
        while let Kind::Op(op) = self.peek().kind {
            let precedence = op.precedence();
            if precedence <= min {
                break;
            }
            chained += 1;
            if chained + self.depth > MAX_DEPTH {
                self.error(self.peek().span, format!("more than {MAX_DEPTH} operators in a row"));
                return Err(Stop::Noted);
            }
            self.take();
            let (return_bool, matching) = self.binary_modifiers()?;
            // `^` binds to the right, all others to the left.
            let right = self.expression(if op == Op::Pow { precedence - 1 } else { precedence })?;
            let span = left.span.to(right.span);
            let binary = Binary { op, lhs: left, rhs: right, return_bool, matching: Some(matching) };
            left = Node::new(NodeKind::Binary(Box::new(binary)), span);
        }
        Ok(left)
    }

    fn unary(&mut self) -> Parsed<Node> {
        let sign = self.peek();
        let (Kind::Op(Op::Add) | Kind::Op(Op::Sub)) = sign.kind else {
            let primary = self.primary()?;
            return self.postfix(primary);
        };
        self.take();
        // A sign binds as tightly as `*`, looser than `^`.
        let operand = self.expression(Op::Mul.precedence())?;
        let span = sign.span.to(operand.span);
        let minus = sign.kind == Kind::Op(Op::Sub);
        if let NodeKind::Number(n) = operand.kind {
            let value = if minus { -n.value } else { n.value };
            return Ok(Node::new(NodeKind::Number(NumberLiteral { value, ..n }), span));
        }
        Ok(Node::new(NodeKind::Unary(minus, Box::new(operand)), span))
    }

    fn primary(&mut self) -> Parsed<Node> {
        let token = self.peek();
        let next = self.peek_at(1).kind;
        match token.kind {
            Kind::Number | Kind::Duration => {
                let literal = self.literal();
                Ok(Node::new(NodeKind::Number(literal), token.span))
            }
            Kind::String => {
                self.take();
                Ok(Node::new(NodeKind::String(unquote(self.text_of(token))), token.span))
            }
            Kind::LeftParen => {
                self.take();
                let inner = self.expression(0)?;
                let close = self.expect(Kind::RightParen)?;
                Ok(Node::new(NodeKind::Paren(Box::new(inner)), token.span.to(close.span)))
            }
            Kind::LeftBrace => self.selector(None),
            Kind::Identifier if next == Kind::LeftParen => self.call(),
            Kind::Keyword(Keyword::Start | Keyword::End | Keyword::Step | Keyword::Range)
                if next == Kind::LeftParen =>
            {
                self.call()
            }
            Kind::Keyword(Keyword::Aggregate(op))
                if matches!(
                    next,
                    Kind::LeftParen | Kind::Keyword(Keyword::By) | Kind::Keyword(Keyword::Without)
                ) =>
            {
                self.aggregate(op)
            }
            Kind::Identifier | Kind::MetricIdentifier => self.selector(Some(token)),
            Kind::Keyword(k) if k.may_be_metric() => self.selector(Some(token)),
            Kind::Op(op) if op.is_set() => self.selector(Some(token)),
            _ => Err(Stop::Unexpected),
        }
    }

    /// A number or duration at hand, as seconds; what is wrong with it is noted.
    pub fn literal(&mut self) -> NumberLiteral {
        let token = self.take();
        let text = self.text_of(token);
        if token.kind == Kind::Duration {
            let value = duration_value(text).unwrap_or_else(|why| {
                self.error(token.span, why);
                0.0
            });
            return NumberLiteral { value, is_duration: true };
        }
        let value = number_value(text).unwrap_or_else(|| {
            self.error(token.span, format!("error parsing number: invalid syntax in {text:?}"));
            0.0
        });
        NumberLiteral { value, is_duration: false }
    }
}
