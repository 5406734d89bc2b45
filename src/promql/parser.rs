//! Reads expressions: a Pratt parser over the lexer's words.

use std::sync::Arc;

use super::ast::{Aggregate, Binary, Call, Cardinality, Expr, Matching, Node, NodeKind, NumberLiteral};
use super::error::ParseErrors;
use super::functions::Signature;
use super::lexer::lex;
use super::number::{duration_value, number_value};
use super::quote::unquote;
use super::token::{AggregateOp, Keyword, Kind, Op, Span, Token};
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

    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
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

    fn call(&mut self) -> Parsed<Node> {
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

    fn aggregate(&mut self, op: AggregateOp) -> Parsed<Node> {
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

    fn grouping_labels(&mut self) -> Parsed<Vec<String>> {
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

    fn binary_modifiers(&mut self) -> Parsed<(bool, Matching)> {
        let mut matching = Matching::default();
        let return_bool = self.take_if(Kind::Keyword(Keyword::Bool)).is_some();
        let on = match self.peek().kind {
            Kind::Keyword(Keyword::On) => Some(true),
            Kind::Keyword(Keyword::Ignoring) => Some(false),
            _ => None,
        };
        if let Some(on) = on {
            self.take();
            matching.on = on;
            matching.labels = self.grouping_labels()?;
            let grouped = match self.peek().kind {
                Kind::Keyword(Keyword::GroupLeft) => Cardinality::ManyToOne,
                Kind::Keyword(Keyword::GroupRight) => Cardinality::OneToMany,
                _ => Cardinality::OneToOne,
            };
            if grouped != Cardinality::OneToOne {
                self.take();
                matching.cardinality = grouped;
                if self.peek().kind == Kind::LeftParen {
                    matching.include = self.grouping_labels()?;
                }
            }
        }
        while let Kind::Keyword(fill @ (Keyword::Fill | Keyword::FillLeft | Keyword::FillRight)) =
            self.peek().kind
        {
            // Without the parenthesis it is a metric of that name.
            if self.peek_at(1).kind != Kind::LeftParen {
                break;
            }
            self.take();
            self.take();
            let value = self.signed_number()?;
            self.expect(Kind::RightParen)?;
            if fill != Keyword::FillRight {
                matching.fill_left = Some(value);
            }
            if fill != Keyword::FillLeft {
                matching.fill_right = Some(value);
            }
        }
        Ok((return_bool, matching))
    }

    pub fn signed_number(&mut self) -> Parsed<f64> {
        let minus = self.take_if(Kind::Op(Op::Sub)).is_some();
        if !minus {
            self.take_if(Kind::Op(Op::Add));
        }
        if !matches!(self.peek().kind, Kind::Number | Kind::Duration) {
            return Err(Stop::Unexpected);
        }
        let value = self.literal().value;
        Ok(if minus { -value } else { value })
    }

    /// For the parts of the parser in other files.
    pub fn nested<T>(&mut self, read: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.deeper(read)
    }
}
