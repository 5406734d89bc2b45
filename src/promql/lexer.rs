//! Cuts a query's text into words.
//!
//! The state that decides what a word is (inside braces, inside brackets) is the lexer's own, so the
//! whole text is cut before it is parsed. The first bad character ends it.

use nom::IResult;
use nom::Parser as _;
use nom::bytes::complete::{tag, take_till, take_while, take_while1};
use nom::sequence::preceded;

use super::number::{NumberScan, scan_number_or_duration};
use super::token::{Keyword, Kind, Op, Span, Token};

/// The words of a text, the last one `Eof` or `Error`; with the error's text.
pub(super) struct Lexed {
    pub tokens: Vec<Token>,
    pub error: Option<(Span, String)>,
}

/// Cuts the text.
pub(super) fn lex(text: &str) -> Lexed {
    let mut lexer =
        Lexer { text, pos: 0, tokens: Vec::with_capacity(text.len() / 3 + 2), ..Lexer::default() };
    let error = lexer.run().err().map(|(start, message)| {
        lexer.push(Kind::Error, start, text.len());
        (Span::new(start, text.len()), message)
    });
    Lexed { tokens: lexer.tokens, error }
}

#[derive(Default)]
struct Lexer<'a> {
    text: &'a str,
    pos: usize,
    tokens: Vec<Token>,
    parens: i32,
    in_braces: bool,
    in_brackets: bool,
    colon_seen: bool,
}

/// Where the refused word begins, and why it is refused.
type Refusal = (usize, String);

fn is_alpha(c: char) -> bool {
    c == '_' || c.is_ascii_alphabetic()
}

pub(super) fn is_word(c: char) -> bool {
    is_alpha(c) || c.is_ascii_digit()
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

fn spaces(input: &str) -> IResult<&str, &str> {
    take_while1(is_space).parse(input)
}

fn comment(input: &str) -> IResult<&str, &str> {
    preceded(tag("#"), take_till(|c| c == '\n' || c == '\r')).parse(input)
}

fn word(input: &str) -> IResult<&str, &str> {
    take_while(is_word).parse(input)
}

fn word_with_colons(input: &str) -> IResult<&str, &str> {
    take_while(|c| is_word(c) || c == ':').parse(input)
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.text.get(self.pos..).unwrap_or_default()
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    fn push(&mut self, kind: Kind, start: usize, end: usize) {
        self.tokens.push(Token { kind, span: Span::new(start, end) });
        self.pos = end;
    }

    /// Takes one character as a word.
    fn one(&mut self, kind: Kind) {
        self.push(kind, self.pos, self.pos + 1);
    }

    fn two(&mut self, kind: Kind) {
        self.push(kind, self.pos, self.pos + 2);
    }

    fn run(&mut self) -> Result<(), Refusal> {
        loop {
            if let Ok((tail, _)) = spaces(self.rest()) {
                self.pos = self.text.len() - tail.len();
                continue;
            }
            if !self.in_brackets
                && let Ok((tail, _)) = comment(self.rest())
            {
                self.pos = self.text.len() - tail.len();
                continue;
            }
            let Some(c) = self.peek() else {
                return self.end();
            };
            if self.in_braces {
                self.inside_braces(c)?;
            } else if self.in_brackets {
                self.inside_brackets(c)?;
            } else {
                self.statement(c)?;
            }
        }
    }

    fn end(&mut self) -> Result<(), Refusal> {
        let n = self.text.len();
        if self.in_braces {
            return Err((n, "unexpected end of input inside braces".into()));
        }
        if self.in_brackets {
            return Err((n, "unexpected end of input in duration expression".into()));
        }
        if self.parens != 0 {
            return Err((n, "unclosed left parenthesis".into()));
        }
        self.push(Kind::Eof, n, n);
        Ok(())
    }

    fn parens_or_op(&mut self, c: char) -> Result<bool, Refusal> {
        match c {
            '(' => {
                self.one(Kind::LeftParen);
                self.parens += 1;
            }
            ')' => {
                self.one(Kind::RightParen);
                self.parens -= 1;
                if self.parens < 0 {
                    // The refusal takes the place of the word.
                    self.tokens.pop();
                    return Err((self.pos, "unexpected right parenthesis ')'".into()));
                }
            }
            ',' => self.one(Kind::Comma),
            '+' => self.one(Kind::Op(Op::Add)),
            '-' => self.one(Kind::Op(Op::Sub)),
            '*' => self.one(Kind::Op(Op::Mul)),
            '/' => self.one(Kind::Op(Op::Div)),
            '%' => self.one(Kind::Op(Op::Mod)),
            '^' => self.one(Kind::Op(Op::Pow)),
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn statement(&mut self, c: char) -> Result<(), Refusal> {
        let start = self.pos;
        let next = self.rest().chars().nth(1);
        if self.parens_or_op(c)? {
            return Ok(());
        }
        match (c, next) {
            ('=', Some('=')) => self.two(Kind::Op(Op::Eql)),
            ('=', Some('~')) => return Err((start, "unexpected character after '=': '~'".into())),
            ('=', _) => self.one(Kind::Eql),
            ('!', Some('=')) => self.two(Kind::Op(Op::Neq)),
            ('!', other) => {
                return Err((start, format!("unexpected character after '!': {}", quoted_char(other))));
            }
            ('<', Some('=')) => self.two(Kind::Op(Op::Lte)),
            ('<', Some('/')) => self.two(Kind::Op(Op::TrimUpper)),
            ('<', _) => self.one(Kind::Op(Op::Lss)),
            ('>', Some('=')) => self.two(Kind::Op(Op::Gte)),
            ('>', Some('/')) => self.two(Kind::Op(Op::TrimLower)),
            ('>', _) => self.one(Kind::Op(Op::Gtr)),
            ('0'..='9', _) | ('.', Some('0'..='9')) => self.number()?,
            ('"' | '\'' | '`', _) => self.string(c)?,
            ('{', _) => {
                self.one(Kind::LeftBrace);
                self.in_braces = true;
            }
            ('[', _) => {
                self.one(Kind::LeftBracket);
                self.in_brackets = true;
                self.colon_seen = false;
            }
            (']', _) => return Err((start, "unexpected right bracket ']'".into())),
            ('@', _) => self.one(Kind::At),
            _ if is_alpha(c) || c == ':' => self.keyword_or_identifier(),
            _ => return Err((start, format!("unexpected character: {}", quoted_char(Some(c))))),
        }
        Ok(())
    }

    fn keyword_or_identifier(&mut self) {
        let Ok((_, found)) = word_with_colons(self.rest()) else { return };
        let lower = found.to_ascii_lowercase();
        let kind = match lower.as_str() {
            "inf" | "nan" => Kind::Number,
            "and" => Kind::Op(Op::And),
            "or" => Kind::Op(Op::Or),
            "unless" => Kind::Op(Op::Unless),
            "atan2" => Kind::Op(Op::Atan2),
            lower => match Keyword::of(lower) {
                Some(keyword) => Kind::Keyword(keyword),
                None if found.contains(':') => Kind::MetricIdentifier,
                None => Kind::Identifier,
            },
        };
        self.push(kind, self.pos, self.pos + found.len());
    }

    fn inside_braces(&mut self, c: char) -> Result<(), Refusal> {
        let start = self.pos;
        let next = self.rest().chars().nth(1);
        match (c, next) {
            (',', _) => self.one(Kind::Comma),
            ('"' | '\'' | '`', _) => self.string(c)?,
            ('=', Some('~')) => self.two(Kind::EqlRegex),
            ('=', _) => self.one(Kind::Eql),
            ('!', Some('~')) => self.two(Kind::NeqRegex),
            ('!', Some('=')) => self.two(Kind::Op(Op::Neq)),
            ('!', other) => {
                let what = quoted_char(other);
                return Err((start, format!("unexpected character after '!' inside braces: {what}")));
            }
            ('{', _) => return Err((start, "unexpected left brace '{'".into())),
            ('}', _) => {
                self.one(Kind::RightBrace);
                self.in_braces = false;
            }
            _ if is_alpha(c) => {
                if let Ok((_, found)) = word(self.rest()) {
                    self.push(Kind::Identifier, start, start + found.len());
                }
            }
            _ => {
                let what = quoted_char(Some(c));
                return Err((start, format!("unexpected character inside braces: {what}")));
            }
        }
        Ok(())
    }

    fn inside_brackets(&mut self, c: char) -> Result<(), Refusal> {
        let start = self.pos;
        if self.parens_or_op(c)? {
            return Ok(());
        }
        match c {
            ']' => {
                self.one(Kind::RightBracket);
                self.in_brackets = false;
            }
            ':' => {
                let first = matches!(self.tokens.last(), Some(Token { kind: Kind::LeftBracket, .. }));
                self.one(Kind::Colon);
                if first || self.colon_seen {
                    self.tokens.pop();
                }
                if first {
                    let why = "unexpected colon before duration in duration expression";
                    return Err((self.pos, why.into()));
                }
                if self.colon_seen {
                    return Err((self.pos, "unexpected repeated colon in duration expression".into()));
                }
                self.colon_seen = true;
            }
            '0'..='9' | '.' => self.number()?,
            _ if is_alpha(c) => {
                let Ok((_, found)) = word(self.rest()) else { return Ok(()) };
                let kind = match found.to_ascii_lowercase().as_str() {
                    "step" => Kind::Keyword(Keyword::Step),
                    "range" => Kind::Keyword(Keyword::Range),
                    "min_of" | "max_of" => Kind::Identifier,
                    _ => {
                        let what = quoted_char(Some(c));
                        return Err((
                            start + c.len_utf8(),
                            format!("unexpected character in duration expression: {what}"),
                        ));
                    }
                };
                self.push(kind, start, start + found.len());
            }
            _ => {
                let what = quoted_char(Some(c));
                return Err((start, format!("unexpected character in duration expression: {what}")));
            }
        }
        Ok(())
    }

    fn number(&mut self) -> Result<(), Refusal> {
        match scan_number_or_duration(self.rest(), false) {
            NumberScan::Number(n) => self.push(Kind::Number, self.pos, self.pos + n),
            NumberScan::Duration(n) => self.push(Kind::Duration, self.pos, self.pos + n),
            NumberScan::Bad(n) => {
                let text = self.rest().get(..n).unwrap_or_default();
                return Err((self.pos, format!("bad number or duration syntax: {text:?}")));
            }
        }
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<(), Refusal> {
        match super::quote::scan_string(self.rest(), quote) {
            Ok(n) => {
                self.push(Kind::String, self.pos, self.pos + n);
                Ok(())
            }
            Err(message) => Err((self.pos, message)),
        }
    }
}

/// A character as Go's `%q` prints it; the end of the text as Go's lexer sees it.
fn quoted_char(c: Option<char>) -> String {
    match c {
        None => "'\u{fffd}'".to_owned(),
        Some(c) => format!("{c:?}"),
    }
}
