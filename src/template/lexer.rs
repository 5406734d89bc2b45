//! Template text into tokens: text outside of `{{ }}`, and the words inside.

use nom::branch::alt;
use nom::bytes::complete::{tag, take_while, take_while1};
use nom::character::complete::{char, one_of};
use nom::combinator::{opt, recognize};
use nom::{IResult, Parser};

use super::ParseError;

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'a> {
    pub kind: Kind<'a>,
    /// Byte offsets in the text.
    pub start: usize,
    pub end: usize,
    /// White space stands before it: it separates the arguments of a command.
    pub space_before: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Kind<'a> {
    /// Text outside of actions, trimmed as the neighbouring actions ask.
    Text(&'a str),
    Open,
    Close,
    Identifier(&'a str),
    /// `.name`, without the dot.
    Field(&'a str),
    Dot,
    /// `$` or `$name`, with the dollar.
    Variable(&'a str),
    String(String),
    Number(&'a str),
    /// The number of a character.
    Char(i64),
    LeftParen,
    RightParen,
    Pipe,
    Declare,
    Assign,
    Comma,
    /// Any other printable ASCII character, refused by the parser.
    Other(char),
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

fn is_space(c: char) -> bool {
    SPACE.contains(&c)
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Splits a template's text.
pub(super) fn tokenize(text: &str) -> Result<Vec<Token<'_>>, ParseError> {
    let mut lexer = Lexer { text, at: 0, tokens: Vec::new() };
    let mut trim_next = false;
    loop {
        let open = text[lexer.at..].find("{{").map(|i| lexer.at + i);
        let mut chunk = &text[lexer.at..open.unwrap_or(text.len())];
        if trim_next {
            chunk = chunk.trim_start_matches(SPACE);
        }
        let Some(open) = open else {
            lexer.text_token(chunk);
            return Ok(lexer.tokens);
        };
        let trims = text[open + 2..].starts_with('-') && text[open + 3..].starts_with(is_space);
        if trims {
            chunk = chunk.trim_end_matches(SPACE);
        }
        lexer.text_token(chunk);
        lexer.at = open + if trims { 3 } else { 2 };
        trim_next = lexer.action(open)?;
    }
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
    tokens: Vec<Token<'a>>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn push(&mut self, kind: Kind<'a>, start: usize, space_before: bool) {
        self.tokens.push(Token { kind, start, end: self.at, space_before });
    }

    fn text_token(&mut self, chunk: &'a str) {
        if !chunk.is_empty() {
            let start = self.at;
            self.push(Kind::Text(chunk), start, false);
        }
    }

    fn error(&self, at: usize, message: impl Into<String>) -> ParseError {
        ParseError { offset: at, message: message.into() }
    }

    /// The end of an action: how long it is, and whether it trims the text behind it.
    fn closing(&self, after_space: bool) -> Option<(usize, bool)> {
        let rest = self.rest();
        if rest.starts_with("}}") {
            Some((2, false))
        } else if after_space && rest.starts_with("-}}") {
            Some((3, true))
        } else {
            None
        }
    }

    /// Reads from behind `{{` to behind `}}`; says whether the text that follows is trimmed.
    fn action(&mut self, open: usize) -> Result<bool, ParseError> {
        let inner = self.rest().trim_start_matches(SPACE);
        let comment_at = self.text.len() - inner.len();
        // A comment begins directly behind the delimiter, or behind the trim marker and white space.
        if inner.starts_with("/*") && (comment_at == self.at || self.at == open + 3) {
            return self.comment(comment_at);
        }
        self.push(Kind::Open, open, false);
        let mut parens = 0usize;
        loop {
            let before = self.at;
            self.at += self.rest().len() - self.rest().trim_start_matches(SPACE).len();
            let space = self.at > before;
            if let Some((length, trims)) = self.closing(space) {
                if parens > 0 {
                    return Err(self.error(self.at, "unclosed left paren"));
                }
                let start = self.at;
                self.at += length;
                self.push(Kind::Close, start, space);
                return Ok(trims);
            }
            match self.rest().chars().next() {
                None => return Err(self.error(open, "unclosed action")),
                Some('(') => parens += 1,
                Some(')') if parens == 0 => return Err(self.error(self.at, "unexpected right paren")),
                Some(')') => parens -= 1,
                Some(_) => {}
            }
            let start = self.at;
            let kind = self.word()?;
            self.push(kind, start, space);
        }
    }

    fn comment(&mut self, start: usize) -> Result<bool, ParseError> {
        let Some(end) = self.text[start + 2..].find("*/") else {
            return Err(self.error(start, "unclosed comment"));
        };
        self.at = start + 2 + end + 2;
        let before = self.at;
        self.at += self.rest().len() - self.rest().trim_start_matches(SPACE).len();
        match self.closing(self.at > before) {
            // White space is allowed before the trim marker only.
            Some((length, trims)) if trims || self.at == before => {
                self.at += length;
                Ok(trims)
            }
            _ => Err(self.error(self.at, "comment ends before closing delimiter")),
        }
    }

    fn word(&mut self) -> Result<Kind<'a>, ParseError> {
        let rest = self.rest();
        let start = self.at;
        let mut take = |n: usize| self.at += n;
        let first = rest.chars().next().unwrap_or_default();
        match first {
            '(' => {
                take(1);
                Ok(Kind::LeftParen)
            }
            ')' => {
                take(1);
                Ok(Kind::RightParen)
            }
            '|' => {
                take(1);
                Ok(Kind::Pipe)
            }
            ',' => {
                take(1);
                Ok(Kind::Comma)
            }
            '=' => {
                take(1);
                Ok(Kind::Assign)
            }
            ':' if rest.starts_with(":=") => {
                take(2);
                Ok(Kind::Declare)
            }
            ':' => Err(self.error(start, "expected :=")),
            '"' | '\'' => self.quoted(first),
            '`' => {
                let Some(end) = rest[1..].find('`') else {
                    return Err(self.error(start, "unterminated raw quoted string"));
                };
                take(end + 2);
                Ok(Kind::String(rest[1..=end].to_owned()))
            }
            '$' => {
                let name = rest[1..].len() - rest[1..].trim_start_matches(is_word).len();
                take(1 + name);
                self.terminated()?;
                Ok(Kind::Variable(&rest[..=name]))
            }
            '.' if !rest[1..].starts_with(|c: char| c.is_ascii_digit()) => {
                let name = rest[1..].len() - rest[1..].trim_start_matches(is_word).len();
                take(1 + name);
                self.terminated()?;
                Ok(if name == 0 { Kind::Dot } else { Kind::Field(&rest[1..=name]) })
            }
            '+' | '-' | '.' | '0'..='9' => {
                let Ok((tail, digits)) = number(rest) else {
                    return Err(self.error(start, format!("bad number syntax: {}", shorten(rest))));
                };
                if tail.starts_with(is_word) {
                    return Err(self.error(start, format!("bad number syntax: {}", shorten(rest))));
                }
                take(digits.len());
                Ok(Kind::Number(digits))
            }
            c if is_word(c) => {
                let word = rest.len() - rest.trim_start_matches(is_word).len();
                take(word);
                self.terminated()?;
                Ok(Kind::Identifier(&rest[..word]))
            }
            c if c.is_ascii_graphic() => {
                take(1);
                Ok(Kind::Other(c))
            }
            c => Err(self.error(start, format!("unrecognized character in action: U+{:04X}", c as u32))),
        }
    }

    /// A name ends where something else may begin.
    fn terminated(&self) -> Result<(), ParseError> {
        match self.rest().chars().next() {
            None | Some('.' | ',' | '|' | ':' | '(' | ')') => Ok(()),
            Some(c) if is_space(c) => Ok(()),
            Some(_) if self.rest().starts_with("}}") => Ok(()),
            Some(c) => Err(self.error(self.at, format!("bad character U+{:04X} {c:?}", c as u32))),
        }
    }

    /// A text in double quotes or a character in single ones, with Go's escapes.
    fn quoted(&mut self, quote: char) -> Result<Kind<'a>, ParseError> {
        let start = self.at;
        let unterminated =
            if quote == '"' { "unterminated quoted string" } else { "unterminated character constant" };
        let mut chars = self.text[start + 1..].char_indices();
        let mut bytes = Vec::new();
        let mut one = None;
        let mut count = 0;
        loop {
            let Some((i, c)) = chars.next() else { return Err(self.error(start, unterminated)) };
            match c {
                c if c == quote => {
                    self.at = start + 1 + i + 1;
                    break;
                }
                '\n' => return Err(self.error(start, unterminated)),
                '\\' => {
                    let (escaped, used) = escape(&self.text[start + 1 + i..], quote)
                        .ok_or_else(|| self.error(start + 1 + i, "invalid syntax in quoted text"))?;
                    for _ in 1..used {
                        chars.next();
                    }
                    match escaped {
                        Escaped::Byte(b) => {
                            bytes.push(b);
                            one = Some(i64::from(b));
                        }
                        Escaped::Char(c) => {
                            bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                            one = Some(i64::from(c as u32));
                        }
                    }
                }
                c => {
                    bytes.extend(c.encode_utf8(&mut [0; 4]).bytes());
                    one = Some(i64::from(c as u32));
                }
            }
            count += 1;
        }
        if quote == '"' {
            return Ok(Kind::String(String::from_utf8_lossy(&bytes).into_owned()));
        }
        match (one, count) {
            (Some(c), 1) => Ok(Kind::Char(c)),
            _ => Err(self.error(start, "malformed character constant")),
        }
    }
}

enum Escaped {
    Byte(u8),
    Char(char),
}

/// One escape of Go at the start of `text`, and how many characters it takes (all of them ASCII).
fn escape(text: &str, quote: char) -> Option<(Escaped, usize)> {
    let letter = text[1..].chars().next()?;
    let simple = |c| Some((Escaped::Char(c), 2));
    let hex = |digits: usize| u32::from_str_radix(text.get(2..2 + digits)?, 16).ok();
    match letter {
        'a' => simple('\x07'),
        'b' => simple('\x08'),
        'f' => simple('\x0c'),
        'n' => simple('\n'),
        'r' => simple('\r'),
        't' => simple('\t'),
        'v' => simple('\x0b'),
        '\\' => simple('\\'),
        c if c == quote => simple(c),
        'x' => Some((Escaped::Byte(u8::try_from(hex(2)?).ok()?), 4)),
        'u' => Some((Escaped::Char(char::from_u32(hex(4)?)?), 6)),
        'U' => Some((Escaped::Char(char::from_u32(hex(8)?)?), 10)),
        '0'..='7' => {
            let byte = u8::from_str_radix(text.get(1..4)?, 8).ok()?;
            Some((Escaped::Byte(byte), 4))
        }
        _ => None,
    }
}

fn digits<'a>(
    set: fn(char) -> bool,
) -> impl Parser<&'a str, Output = &'a str, Error = nom::error::Error<&'a str>> {
    take_while1(move |c| set(c) || c == '_')
}

/// A number as Go's templates write it: decimal, `0x`, `0o`, `0b`, with fraction and exponent.
fn number(text: &str) -> IResult<&str, &str> {
    let sign = || opt(one_of("+-"));
    let based = recognize((
        sign(),
        char('0'),
        alt((
            recognize((one_of("xX"), digits(|c| c.is_ascii_hexdigit()))),
            recognize((one_of("oO"), digits(|c| ('0'..='7').contains(&c)))),
            recognize((one_of("bB"), digits(|c| c == '0' || c == '1'))),
        )),
    ));
    let exponent = || opt((one_of("eE"), sign(), digits(|c| c.is_ascii_digit())));
    let fraction = recognize((sign(), tag("."), digits(|c| c.is_ascii_digit()), exponent()));
    let decimal = recognize((
        sign(),
        digits(|c| c.is_ascii_digit()),
        opt((char('.'), take_while(|c: char| c.is_ascii_digit() || c == '_'))),
        exponent(),
    ));
    alt((based, fraction, decimal)).parse(text)
}

fn shorten(text: &str) -> String {
    let end = text.find(|c| is_space(c) || c == '}').unwrap_or(text.len());
    format!("{:?}", text[..end].chars().take(20).collect::<String>())
}
