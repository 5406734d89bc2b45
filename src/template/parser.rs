//! Tokens into templates. Unknown variables and functions are found here, not when a page is due.

use std::sync::Arc;

use super::ast::{Branch, Command, Definition, Node, Operand, OperandKind, Pipe, Source, Span};
use super::functions::{self, Dialect};
use super::lexer::{Kind, Token, tokenize};
use super::value::Value;
use super::{MAX_TEXT, ParseError};

/// How deep blocks and parentheses may be nested.
const MAX_DEPTH: usize = 48;

/// What a text gave: the template itself and those it defines.
pub(super) struct Parsed {
    pub main: Definition,
    pub definitions: Vec<(String, Definition)>,
}

/// Reads a text. `variables` are known from the start (with their `$`).
pub(super) fn parse(source: Arc<Source>, dialect: Dialect, variables: &[&str]) -> Result<Parsed, ParseError> {
    if source.text.len() > MAX_TEXT {
        return Err(ParseError { offset: 0, message: format!("template is longer than {MAX_TEXT} bytes") });
    }
    let tokens = tokenize(&source.text)?;
    let mut known: Vec<String> = vec!["$".to_owned()];
    known.extend(variables.iter().map(|v| (*v).to_owned()));
    let mut parser = Parser {
        source: Arc::clone(&source),
        tokens: &tokens,
        at: 0,
        dialect,
        variables: known,
        definitions: Vec::new(),
        ranges: 0,
        depth: 0,
    };
    let (nodes, end) = parser.nodes(true)?;
    if let Some(end) = end {
        return Err(parser.error_at(end.at, format!("unexpected {{{{{}}}}}", end.word)));
    }
    let definitions = parser.definitions;
    Ok(Parsed { main: Definition { source, nodes: Arc::new(nodes) }, definitions })
}

struct Parser<'a> {
    source: Arc<Source>,
    tokens: &'a [Token<'a>],
    at: usize,
    dialect: Dialect,
    variables: Vec<String>,
    definitions: Vec<(String, Definition)>,
    /// How many `range` blocks are open.
    ranges: usize,
    depth: usize,
}

/// What ended a list of nodes: `{{end}}` or `{{else…`.
struct End {
    word: &'static str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn peek(&self) -> Option<&'a Token<'a>> {
        self.tokens.get(self.at)
    }

    fn next(&mut self) -> Option<&'a Token<'a>> {
        let token = self.tokens.get(self.at);
        self.at += 1;
        token
    }

    fn error_at(&self, offset: usize, message: impl Into<String>) -> ParseError {
        ParseError { offset, message: message.into() }
    }

    fn offset(&self) -> usize {
        self.peek().map_or(self.source.text.len(), |t| t.start)
    }

    fn unexpected(&self, token: Option<&Token<'_>>, context: &str) -> ParseError {
        match token {
            Some(t) if t.kind == Kind::Close => {
                self.error_at(t.start, format!("unexpected \"}}}}\" in {context}"))
            }
            Some(t) => {
                let text = self.source.text.get(t.start..t.end).unwrap_or_default();
                self.error_at(t.start, format!("unexpected {text:?} in {context}"))
            }
            None => self.error_at(self.source.text.len(), format!("unexpected end of text in {context}")),
        }
    }

    fn expect_close(&mut self, context: &str) -> Result<(), ParseError> {
        match self.next() {
            Some(Token { kind: Kind::Close, .. }) => Ok(()),
            other => Err(self.unexpected(other, context)),
        }
    }

    fn deeper(&mut self) -> Result<(), ParseError> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(self.error_at(self.offset(), format!("nested deeper than {MAX_DEPTH}")));
        }
        Ok(())
    }

    /// Nodes up to the end of the text, `{{end}}` or `{{else`.
    fn nodes(&mut self, top: bool) -> Result<(Vec<Node>, Option<End>), ParseError> {
        let mut nodes = Vec::new();
        while let Some(token) = self.next() {
            if let Kind::Text(text) = token.kind {
                nodes.push(Node::Text(text.into()));
                continue;
            }
            // Outside of text there is only Open, since actions are read to their end.
            let word = match self.peek() {
                Some(Token { kind: Kind::Identifier(word), .. }) => *word,
                _ => "",
            };
            let keyword_at = self.offset();
            let keyword = match word {
                "if" | "with" | "range" | "template" | "block" | "define" | "else" | "end" | "break"
                | "continue" => {
                    self.at += 1;
                    word
                }
                _ => "",
            };
            match keyword {
                "end" => {
                    self.expect_close("end")?;
                    return Ok((nodes, Some(End { word: "end", at: keyword_at })));
                }
                // What follows the word is read by the block.
                "else" => return Ok((nodes, Some(End { word: "else", at: keyword_at }))),
                "if" => nodes.push(Node::If(self.branch("if")?)),
                "with" => nodes.push(Node::With(self.branch("with")?)),
                "range" => nodes.push(Node::Range(self.branch("range")?)),
                "template" => nodes.push(self.template_call(keyword_at)?),
                "block" => nodes.push(self.block(keyword_at)?),
                "define" if top => self.define()?,
                "define" => return Err(self.error_at(keyword_at, "unexpected {{define}}")),
                "break" | "continue" => {
                    self.expect_close(keyword)?;
                    if self.ranges == 0 {
                        return Err(
                            self.error_at(keyword_at, format!("{{{{{keyword}}}}} outside {{{{range}}}}"))
                        );
                    }
                    nodes.push(if keyword == "break" { Node::Break } else { Node::Continue });
                }
                _ => nodes.push(Node::Action(self.pipeline("command", &Kind::Close)?)),
            }
        }
        Ok((nodes, None))
    }

    fn branch(&mut self, word: &'static str) -> Result<Branch, ParseError> {
        self.deeper()?;
        let start = self.offset();
        let scope = self.variables.len();
        let pipe = self.pipeline(word, &Kind::Close)?;
        self.ranges += usize::from(word == "range");
        let (body, end) = self.nodes(false)?;
        // In the else part of a range its variables are still in scope, but it is not repeated.
        self.ranges -= usize::from(word == "range");
        let otherwise = match end {
            None => return Err(self.error_at(start, format!("unexpected end of text in {word}"))),
            Some(End { word: "end", .. }) => Vec::new(),
            Some(_) => self.otherwise(word, start)?,
        };
        self.variables.truncate(scope);
        self.depth -= 1;
        Ok(Branch { pipe, body, otherwise })
    }

    /// Behind `{{else`: `}}`, `if …}}` or `with …}}`.
    fn otherwise(&mut self, word: &'static str, start: usize) -> Result<Vec<Node>, ParseError> {
        match self.peek().map(|t| &t.kind) {
            Some(Kind::Identifier("if")) if word == "if" => {
                self.at += 1;
                return Ok(vec![Node::If(self.branch("if")?)]);
            }
            Some(Kind::Identifier("with")) if word == "with" => {
                self.at += 1;
                return Ok(vec![Node::With(self.branch("with")?)]);
            }
            _ => self.expect_close("else")?,
        }
        match self.nodes(false)? {
            (nodes, Some(End { word: "end", .. })) => Ok(nodes),
            (_, Some(end)) => Err(self.error_at(end.at, "expected end; found {{else}}")),
            (_, None) => Err(self.error_at(start, "unexpected end of text in else")),
        }
    }

    fn name(&mut self, context: &str) -> Result<String, ParseError> {
        match self.next() {
            Some(Token { kind: Kind::String(name), .. }) => Ok(name.clone()),
            other => Err(self.unexpected(other, context)),
        }
    }

    fn template_call(&mut self, start: usize) -> Result<Node, ParseError> {
        let name = self.name("template clause")?;
        let pipe = if matches!(self.peek(), Some(Token { kind: Kind::Close, .. })) {
            self.at += 1;
            None
        } else {
            Some(self.pipeline("template clause", &Kind::Close)?)
        };
        Ok(Node::Template { name: name.into(), pipe, span: self.span_from(start) })
    }

    fn block(&mut self, start: usize) -> Result<Node, ParseError> {
        let name = self.name("block clause")?;
        let pipe = self.pipeline("block clause", &Kind::Close)?;
        self.definition(name.clone(), "block clause")?;
        Ok(Node::Template { name: name.into(), pipe: Some(pipe), span: self.span_from(start) })
    }

    fn define(&mut self) -> Result<(), ParseError> {
        let name = self.name("define clause")?;
        self.expect_close("define clause")?;
        self.definition(name, "define clause")
    }

    /// The body of a definition, which sees no variable but `$`.
    fn definition(&mut self, name: String, context: &str) -> Result<(), ParseError> {
        self.deeper()?;
        let start = self.offset();
        let outer = std::mem::replace(&mut self.variables, vec!["$".to_owned()]);
        let ranges = std::mem::take(&mut self.ranges);
        let (nodes, end) = self.nodes(false)?;
        match end {
            Some(End { word: "end", .. }) => {}
            Some(end) => return Err(self.error_at(end.at, format!("unexpected {{{{else}}}} in {context}"))),
            None => return Err(self.error_at(start, format!("unexpected end of text in {context}"))),
        }
        self.variables = outer;
        self.ranges = ranges;
        self.depth -= 1;
        let definition = Definition { source: Arc::clone(&self.source), nodes: Arc::new(nodes) };
        // As in Go: of two definitions of a name, one must be empty.
        let empty =
            |d: &Definition| d.nodes.iter().all(|n| matches!(n, Node::Text(text) if text.trim().is_empty()));
        match self.definitions.iter_mut().find(|(other, _)| *other == name) {
            Some((_, other)) if empty(other) => *other = definition,
            Some(_) if empty(&definition) => {}
            Some(_) => {
                return Err(self.error_at(start, format!("multiple definition of template {name:?}")));
            }
            None => self.definitions.push((name, definition)),
        }
        Ok(())
    }

    fn span_from(&self, start: usize) -> Span {
        let end = self.tokens.get(self.at.saturating_sub(2)).map_or(start, |t| t.end);
        Span { start: start as u32, end: end.max(start) as u32 }
    }

    /// A pipeline with its closing token.
    fn pipeline(&mut self, context: &str, end: &Kind<'_>) -> Result<Pipe, ParseError> {
        self.deeper()?;
        let start = self.offset();
        let mut pipe = Pipe {
            variables: Vec::new(),
            assigns: false,
            commands: Vec::new(),
            span: Span { start: 0, end: 0 },
        };
        self.declarations(&mut pipe, context)?;
        loop {
            match self.peek() {
                Some(t) if t.kind == *end => {
                    self.at += 1;
                    break;
                }
                Some(Token {
                    kind:
                        Kind::Identifier(_)
                        | Kind::Field(_)
                        | Kind::Dot
                        | Kind::Variable(_)
                        | Kind::String(_)
                        | Kind::Number(_)
                        | Kind::Char(_)
                        | Kind::LeftParen,
                    ..
                }) => {
                    let command = self.command()?;
                    pipe.commands.push(command);
                }
                other => return Err(self.unexpected(other, context)),
            }
        }
        pipe.span = self.span_from(start);
        self.check(&pipe, context)?;
        self.depth -= 1;
        Ok(pipe)
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<(), ParseError> {
        while let Some(Token { kind: Kind::Variable(name), start, .. }) = self.peek() {
            let after = self.tokens.get(self.at + 1).map(|t| &t.kind);
            match after {
                Some(Kind::Declare | Kind::Assign) => {
                    self.at += 2;
                    pipe.assigns = after == Some(&Kind::Assign);
                    pipe.variables.push((*name).into());
                    break;
                }
                Some(Kind::Comma) => {
                    self.at += 2;
                    pipe.variables.push((*name).into());
                    if context != "range" || pipe.variables.len() > 1 {
                        return Err(self.error_at(*start, format!("too many declarations in {context}")));
                    }
                    if !matches!(self.peek(), Some(Token { kind: Kind::Variable(_), .. })) {
                        return Err(self.error_at(*start, "range can only initialize variables"));
                    }
                }
                _ if pipe.variables.is_empty() => return Ok(()),
                _ => return Err(self.error_at(*start, "range can only initialize variables")),
            }
        }
        // Go lets a variable be seen in its own declaration; so `{{$x := $x}}` fails at run time only.
        for name in &pipe.variables {
            if pipe.assigns {
                self.known(name, self.offset())?;
            } else {
                self.variables.push(name.to_string());
            }
        }
        Ok(())
    }

    fn known(&self, name: &str, offset: usize) -> Result<(), ParseError> {
        if self.variables.iter().any(|v| v == name) {
            Ok(())
        } else {
            Err(self.error_at(offset, format!("undefined variable {name:?}")))
        }
    }

    fn check(&self, pipe: &Pipe, context: &str) -> Result<(), ParseError> {
        if pipe.commands.is_empty() {
            return Err(self.error_at(pipe.span.start as usize, format!("missing value for {context}")));
        }
        for (i, command) in pipe.commands.iter().enumerate().skip(1) {
            if let OperandKind::Constant(_) | OperandKind::Dot | OperandKind::Nil = command.operands[0].kind {
                let message = format!("non executable command in pipeline stage {}", i + 1);
                return Err(self.error_at(command.span.start as usize, message));
            }
        }
        Ok(())
    }

    /// Operands separated by white space, with the `|` behind them.
    fn command(&mut self) -> Result<Command, ParseError> {
        let start = self.offset();
        let mut operands: Vec<Operand> = Vec::new();
        let mut end = start;
        loop {
            match self.peek() {
                Some(Token { kind: Kind::Pipe, .. }) if !operands.is_empty() => {
                    self.at += 1;
                    break;
                }
                Some(Token { kind: Kind::Close | Kind::RightParen, .. }) if !operands.is_empty() => break,
                Some(t) if operands.is_empty() || t.space_before => {
                    let operand = self.operand()?;
                    end = operand.span.end as usize;
                    operands.push(operand);
                }
                other => return Err(self.unexpected(other, "operand")),
            }
        }
        Ok(Command { operands, span: Span { start: start as u32, end: end as u32 } })
    }

    /// A term and the fields behind it.
    fn operand(&mut self) -> Result<Operand, ParseError> {
        let start = self.offset();
        let token = self.next();
        let constant = |v| OperandKind::Constant(v);
        let mut kind = match token.map(|t| &t.kind) {
            Some(Kind::Dot) => OperandKind::Dot,
            Some(Kind::Field(name)) => OperandKind::Field(vec![(*name).into()]),
            Some(Kind::Variable(name)) => {
                self.known(name, start)?;
                OperandKind::Variable((*name).into(), Vec::new())
            }
            Some(Kind::String(text)) => constant(Value::str(text.as_str())),
            Some(Kind::Char(c)) => constant(Value::Int(*c)),
            Some(Kind::Number(text)) => constant(number(text).map_err(|m| self.error_at(start, m))?),
            Some(Kind::Identifier("true")) => constant(Value::Bool(true)),
            Some(Kind::Identifier("false")) => constant(Value::Bool(false)),
            Some(Kind::Identifier("nil")) => OperandKind::Nil,
            Some(Kind::Identifier(name)) => match functions::find(self.dialect, name) {
                Some(f) => OperandKind::Function(f),
                None if KEYWORDS.contains(name) => return Err(self.unexpected(token, "operand")),
                None => return Err(self.error_at(start, format!("function {name:?} not defined"))),
            },
            Some(Kind::LeftParen) => {
                OperandKind::Pipe(Box::new(self.pipeline("parenthesized pipeline", &Kind::RightParen)?))
            }
            _ => return Err(self.unexpected(token, "operand")),
        };
        let mut end = self.tokens[self.at - 1].end;
        let term_end = end;
        let mut fields: Vec<Box<str>> = Vec::new();
        while let Some(Token { kind: Kind::Field(name), end: field_end, space_before: false, .. }) =
            self.peek()
        {
            fields.push((*name).into());
            end = *field_end;
            self.at += 1;
        }
        let span = Span { start: start as u32, end: end as u32 };
        if !fields.is_empty() {
            kind = match kind {
                OperandKind::Field(mut names) => {
                    names.append(&mut fields);
                    OperandKind::Field(names)
                }
                OperandKind::Variable(name, _) => OperandKind::Variable(name, fields),
                OperandKind::Constant(_) | OperandKind::Nil | OperandKind::Dot => {
                    let text = self.source.text.get(start..term_end).unwrap_or_default();
                    return Err(self.error_at(start, format!("unexpected . after term {text:?}")));
                }
                kind => OperandKind::Chain(
                    Box::new(Operand { kind, span: Span { start: start as u32, end: term_end as u32 } }),
                    fields,
                ),
            };
        }
        Ok(Operand { kind, span })
    }
}

const KEYWORDS: [&str; 10] =
    ["break", "block", "continue", "define", "else", "end", "if", "range", "template", "with"];

/// The value of a number as Go takes an untyped constant.
fn number(text: &str) -> Result<Value, String> {
    let bad = || format!("bad number syntax: {text:?}");
    let plain = text.replace('_', "");
    let (negative, digits) = match plain.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, plain.strip_prefix('+').unwrap_or(&plain)),
    };
    let lower = digits.to_ascii_lowercase();
    let based = [("0x", 16), ("0o", 8), ("0b", 2)]
        .into_iter()
        .find_map(|(prefix, base)| lower.strip_prefix(prefix).map(|rest| (rest.to_owned(), base)));
    let (digits, base) = match based {
        Some(based) => based,
        None if lower.contains(['.', 'e']) => {
            return plain.parse().ok().filter(|f: &f64| f.is_finite()).map(Value::Float).ok_or_else(bad);
        }
        None if lower.len() > 1 && lower.starts_with('0') => (lower[1..].to_owned(), 8),
        None => (lower, 10),
    };
    let magnitude = i128::from_str_radix(&digits, base).map_err(|_| bad())?;
    let value = if negative { -magnitude } else { magnitude };
    // What fits into 64 bits without a sign is a number, though no function takes it for an index.
    let unsigned = || u64::try_from(value).map(Value::Uint);
    i64::try_from(value)
        .map(Value::Int)
        .or_else(|_| unsigned())
        .map_err(|_| format!("integer overflow: {text}"))
}
