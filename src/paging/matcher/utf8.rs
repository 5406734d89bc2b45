//! Today's grammar of matchers: `{foo="bar", "büz"=~a.c,}`.

use super::{Matcher, MatcherSyntax};
use crate::model::MatchOp;

/// A character that ends an unquoted name or value.
pub(super) fn is_reserved(c: char) -> bool {
    c.is_whitespace() || matches!(c, '{' | '}' | '!' | '=' | '~' | ',' | '\\' | '"' | '\'' | '`')
}

/// Reads a list of matchers; braces are optional but pair, a comma at the end is allowed.
///
/// # Errors
/// Says at which byte (from 0) what was expected.
pub fn parse(text: &str) -> Result<Vec<Matcher>, MatcherSyntax> {
    let mut scanner = Scanner { text, at: 0 };
    let braces = scanner.eat('{');
    let mut matchers = Vec::new();
    loop {
        match (braces, scanner.peek()) {
            (true, Some('}')) => {
                scanner.eat('}');
                break;
            }
            (true, None) => return Err(scanner.expected("close brace")),
            (false, Some('}')) => return Err(scanner.expected("opening brace")),
            (false, None) => break,
            _ => {}
        }
        matchers.push(scanner.matcher()?);
        if !scanner.eat(',') && !matches!(scanner.peek(), None | Some('}')) {
            return Err(scanner.expected("a comma or close brace"));
        }
    }
    match scanner.peek() {
        None => Ok(matchers),
        Some(_) => Err(scanner.expected("end of input")),
    }
}

struct Scanner<'a> {
    text: &'a str,
    at: usize,
}

impl Scanner<'_> {
    fn rest(&self) -> &str {
        &self.text[self.at..]
    }

    /// The next character that is no blank.
    fn peek(&mut self) -> Option<char> {
        let blanks = self.rest().len() - self.rest().trim_start().len();
        self.at += blanks;
        self.rest().chars().next()
    }

    fn eat(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        if there {
            self.at += c.len_utf8();
        }
        there
    }

    fn expected(&mut self, what: &str) -> MatcherSyntax {
        let found = self.peek().map_or_else(|| "end of input".to_owned(), |c| c.to_string());
        MatcherSyntax(format!("{}: {found}: expected {what}", self.at))
    }

    fn matcher(&mut self) -> Result<Matcher, MatcherSyntax> {
        let name = self.word("label name")?;
        let op = self.operator()?;
        let value = self.word("label value")?;
        Matcher::new(op, name, value)
    }

    fn operator(&mut self) -> Result<MatchOp, MatcherSyntax> {
        self.peek();
        for (text, op) in [
            ("=~", MatchOp::Regex),
            ("!~", MatchOp::NotRegex),
            ("!=", MatchOp::NotEqual),
            ("=", MatchOp::Equal),
        ] {
            if self.rest().starts_with(text) {
                self.at += text.len();
                return Ok(op);
            }
        }
        Err(self.expected("an operator such as '=', '!=', '=~' or '!~'"))
    }

    fn word(&mut self, what: &str) -> Result<String, MatcherSyntax> {
        match self.peek() {
            Some('"') => self.quoted(),
            Some(c) if !is_reserved(c) => {
                let end = self.rest().find(is_reserved).unwrap_or(self.rest().len());
                let word = self.rest()[..end].to_owned();
                self.at += end;
                Ok(word)
            }
            _ => Err(self.expected(what)),
        }
    }

    fn quoted(&mut self) -> Result<String, MatcherSyntax> {
        let start = self.at;
        let bad = |why: &str| MatcherSyntax(format!("{start}: {why} in a quoted string"));
        let mut chars = self.rest()[1..].char_indices();
        let mut bytes = Vec::new();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at = start + 1 + i + 1;
                    return String::from_utf8(bytes).map_err(|_| bad("invalid UTF-8"));
                }
                '\n' => return Err(bad("a line break")),
                '\\' => {
                    let (_, escape) = chars.next().ok_or_else(|| bad("missing end quote"))?;
                    unescape(escape, &mut chars, &mut bytes).ok_or_else(|| bad("invalid escape"))?;
                }
                c => bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            }
        }
        Err(bad("missing end quote"))
    }
}

/// One of Go's escapes, after its backslash.
fn unescape(escape: char, chars: &mut std::str::CharIndices<'_>, out: &mut Vec<u8>) -> Option<()> {
    let mut digits = |count: usize, radix: u32, first: u32| {
        (0..count).try_fold(first, |n, _| Some(n * radix + chars.next()?.1.to_digit(radix)?))
    };
    let byte = match escape {
        'a' => 7,
        'b' => 8,
        't' => b'\t',
        'n' => b'\n',
        'v' => 0x0b,
        'f' => 0x0c,
        'r' => b'\r',
        '\\' | '"' => escape as u8,
        'x' => u8::try_from(digits(2, 16, 0)?).ok()?,
        '0'..='7' => u8::try_from(digits(2, 8, escape.to_digit(8)?)?).ok()?,
        'u' | 'U' => {
            let c = char::from_u32(digits(if escape == 'u' { 4 } else { 8 }, 16, 0)?)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(());
        }
        _ => return None,
    };
    out.push(byte);
    Some(())
}
