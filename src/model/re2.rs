//! Regular expressions in RE2's syntax, which rules, matchers and templates are written in, for the regex library:
//! the two read much alike, but not all.
//!
//! What differs: `\d`, `\w`, `\s` and `\b` know ASCII only; classes have no operators and no classes inside, but
//! `[:name:]`; a `{` that begins no repetition is a brace; `\Q…\E`, octal escapes and `\<` as a plain sign; repetition of
//! a repetition, flags beyond `imsU` and escapes that RE2 does not know are errors.
//! (<https://github.com/google/re2/wiki/Syntax>)

use regex::{Regex, RegexBuilder};

/// How many bytes a compiled expression may take.
const COMPILED: usize = 1 << 20;
/// The longest pattern, in bytes.
const LONGEST: usize = 64 * 1024;
/// The highest count of a repetition.
const MOST_REPEATED: u32 = 1000;

/// What may stand in `[:…:]`.
const POSIX_CLASSES: [&str; 14] = [
    "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph", "lower", "print", "punct", "space",
    "upper", "word", "xdigit",
];

/// Compiles a pattern that may match anywhere.
///
/// # Errors
/// The pattern is none of RE2's, or too large; says why.
pub fn compile(pattern: &str) -> Result<Regex, String> {
    build(&translated(pattern)?)
}

/// Compiles a pattern that must match the whole text; with `dot_all`, `.` matches a line break too.
///
/// # Errors
/// As [`compile`].
pub fn compile_anchored(pattern: &str, dot_all: bool) -> Result<Regex, String> {
    let inner = translated(pattern)?;
    // A pattern that only balances inside the anchors ("a)(b") must not pass.
    build(&inner)?;
    build(&if dot_all { format!("^(?s:{inner})$") } else { format!("^(?:{inner})$") })
}

fn build(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(pattern).size_limit(COMPILED).build().map_err(|e| {
        // The library draws a picture over several lines; its last line is the reason.
        let text = e.to_string();
        text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
    })
}

/// The pattern in the library's syntax.
fn translated(pattern: &str) -> Result<String, String> {
    if pattern.len() > LONGEST {
        return Err(format!("expression of {} bytes is too long", pattern.len()));
    }
    let mut reader = Reader { rest: pattern, out: String::with_capacity(pattern.len() + 8) };
    reader.all()?;
    Ok(reader.out)
}

struct Reader<'a> {
    rest: &'a str,
    out: String,
}

impl<'a> Reader<'a> {
    fn peek(&self) -> Option<char> {
        self.rest.chars().next()
    }

    fn next(&mut self) -> Option<char> {
        let c = self.peek()?;
        self.rest = &self.rest[c.len_utf8()..];
        Some(c)
    }

    fn skip(&mut self, prefix: &str) -> bool {
        let tail = self.rest.strip_prefix(prefix);
        self.rest = tail.unwrap_or(self.rest);
        tail.is_some()
    }

    fn all(&mut self) -> Result<(), String> {
        let mut repeated = false;
        while let Some(c) = self.peek() {
            let start = self.rest;
            let mut repeats = false;
            match c {
                '\\' if self.skip("\\Q") => {
                    let (text, tail) = self.rest.split_once("\\E").unwrap_or((self.rest, ""));
                    text.chars().for_each(|c| push_literal(c, &mut self.out));
                    self.rest = tail;
                }
                // An end without a beginning says nothing.
                '\\' if self.skip("\\E") => {}
                '\\' => self.escape()?,
                '[' => self.class()?,
                '(' => self.group()?,
                '*' | '+' | '?' => {
                    self.next();
                    repeats = true;
                    self.out.push(c);
                }
                '{' => match repetition(start) {
                    Some((counts, length)) => {
                        if counts.iter().any(|n| *n > MOST_REPEATED) {
                            return Err(format!("invalid repeat count: `{}`", &start[..length]));
                        }
                        repeats = true;
                        self.out.push_str(&start[..length]);
                        self.rest = &start[length..];
                    }
                    None => {
                        self.next();
                        self.out.push_str("\\{");
                    }
                },
                c => {
                    self.next();
                    // `}` and `]` alone are themselves.
                    if matches!(c, '}' | ']') {
                        self.out.push('\\');
                    }
                    self.out.push(c);
                }
            }
            if repeats {
                if self.skip("?") {
                    self.out.push('?');
                }
                if repeated {
                    let operator = &start[..start.len() - self.rest.len()];
                    return Err(format!("invalid nested repetition operator: `{operator}`"));
                }
            }
            repeated = repeats;
        }
        Ok(())
    }

    /// `(`, `(?:`, `(?P<name>`, `(?i)`: up to what is inside.
    fn group(&mut self) -> Result<(), String> {
        let start = self.rest;
        self.next();
        if self.skip("?P<") || self.skip("?<") {
            let name = self.rest.split_once('>').map_or("", |(name, _)| name);
            if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
                return Err(format!("invalid named capture: `{start}`"));
            }
            self.out.push_str("(?P<");
            return Ok(());
        }
        if self.skip("?") {
            let flags = self.rest.trim_start_matches(['i', 'm', 's', 'U', '-']);
            if !flags.starts_with([')', ':']) {
                return Err(format!("invalid or unsupported Perl syntax: `{start}`"));
            }
        }
        self.out.push_str(&start[..start.len() - self.rest.len()]);
        Ok(())
    }

    /// An escape outside of a class.
    fn escape(&mut self) -> Result<(), String> {
        let start = self.rest;
        if let Some(members) = self.perl_class() {
            self.out.push_str(&format!("[{members}]"));
            return Ok(());
        }
        match start[1..].chars().next() {
            Some(c @ ('A' | 'z')) => {
                self.rest = &start[2..];
                self.out.push('\\');
                self.out.push(c);
            }
            Some(c @ ('b' | 'B')) => {
                self.rest = &start[2..];
                self.out.push_str(if c == 'b' { "(?-u:\\b)" } else { "(?-u:\\B)" });
            }
            Some('p' | 'P') => self.unicode_class()?,
            _ => {
                let c = self.escaped_char()?;
                push_literal(c, &mut self.out);
            }
        }
        Ok(())
    }

    /// `\d` and its kin: their members.
    fn perl_class(&mut self) -> Option<&'static str> {
        let members = match self.rest.as_bytes().get(1)? {
            b'd' => "0-9",
            b'D' => "^0-9",
            b's' => "\\t\\n\\f\\r ",
            b'S' => "^\\t\\n\\f\\r ",
            b'w' => "0-9A-Za-z_",
            b'W' => "^0-9A-Za-z_",
            _ => return None,
        };
        self.rest = &self.rest[2..];
        Some(members)
    }

    /// `\pL`, `\p{Greek}`, `\p{^Greek}`.
    fn unicode_class(&mut self) -> Result<(), String> {
        let start = self.rest;
        let bad = || format!("invalid character class range: `{start}`");
        let mut negated = start.starts_with("\\P");
        self.rest = &start[2..];
        let name = if self.skip("{") {
            let (name, tail) = self.rest.split_once('}').ok_or_else(bad)?;
            self.rest = tail;
            name
        } else {
            let c = self.next().ok_or_else(bad)?;
            &start[2..2 + c.len_utf8()]
        };
        let plain = name.strip_prefix('^').unwrap_or(name);
        negated ^= plain.len() < name.len();
        if plain.is_empty() || !plain.chars().all(|c| c.is_ascii_alphanumeric() || c == '_') {
            return Err(bad());
        }
        self.out.push_str(if negated { "\\P{" } else { "\\p{" });
        self.out.push_str(plain);
        self.out.push('}');
        Ok(())
    }

    /// An escape that stands for one character.
    fn escaped_char(&mut self) -> Result<char, String> {
        let start = self.rest;
        self.next();
        let Some(c) = self.next() else {
            return Err("trailing backslash at end of expression: ``".to_owned());
        };
        let bad = || format!("invalid escape sequence: `\\{c}`");
        match c {
            'a' => Ok('\x07'),
            'f' => Ok('\x0c'),
            'n' => Ok('\n'),
            'r' => Ok('\r'),
            't' => Ok('\t'),
            'v' => Ok('\x0b'),
            '0'..='7' => {
                // A single digit but 0 would be a reference to a group.
                let digits = start[1..].bytes().take(3).take_while(|b| (b'0'..b'8').contains(b)).count();
                if c != '0' && digits < 2 {
                    return Err(bad());
                }
                self.rest = &start[1 + digits..];
                u32::from_str_radix(&start[1..=digits], 8).ok().and_then(char::from_u32).ok_or_else(bad)
            }
            'x' => {
                let digits = if self.skip("{") {
                    let (digits, tail) = self.rest.split_once('}').ok_or_else(bad)?;
                    self.rest = tail;
                    digits
                } else {
                    let digits = self.rest.get(..2).ok_or_else(bad)?;
                    self.rest = &self.rest[2..];
                    digits
                };
                let hex =
                    !digits.is_empty() && digits.len() <= 8 && digits.bytes().all(|b| b.is_ascii_hexdigit());
                let number = hex.then(|| u32::from_str_radix(digits, 16).ok()).flatten();
                number.and_then(char::from_u32).ok_or_else(bad)
            }
            c if c.is_ascii() && !c.is_ascii_alphanumeric() => Ok(c),
            _ => Err(bad()),
        }
    }

    /// `[…]`.
    fn class(&mut self) -> Result<(), String> {
        let start = self.rest;
        let unclosed = || format!("missing closing ]: `{start}`");
        self.next();
        self.out.push('[');
        if self.skip("^") {
            self.out.push('^');
        }
        let mut first = true;
        loop {
            let item = self.rest;
            match self.peek().ok_or_else(unclosed)? {
                ']' if !first => {
                    self.next();
                    self.out.push(']');
                    return Ok(());
                }
                '[' if item.starts_with("[:") && item.contains(":]") => {
                    let end = item.find(":]").map_or(2, |at| at + 2);
                    if !POSIX_CLASSES.contains(&item[2..end - 2].trim_start_matches('^')) {
                        return Err(format!("invalid character class range: `{}`", &item[..end]));
                    }
                    self.out.push_str(&item[..end]);
                    self.rest = &item[end..];
                }
                '\\' if matches!(item.as_bytes().get(1), Some(b'p' | b'P')) => self.unicode_class()?,
                c => {
                    if c == '\\'
                        && let Some(members) = self.perl_class()
                    {
                        self.out.push_str(&format!("[{members}]"));
                        first = false;
                        continue;
                    }
                    let low = self.member(&unclosed)?;
                    push_literal(low, &mut self.out);
                    if self.rest.starts_with('-') && !self.rest.starts_with("-]") {
                        self.next();
                        let high = self.member(&unclosed)?;
                        if low > high {
                            return Err(format!(
                                "invalid character class range: `{}`",
                                &item[..item.len() - self.rest.len()]
                            ));
                        }
                        self.out.push('-');
                        push_literal(high, &mut self.out);
                    }
                }
            }
            first = false;
        }
    }

    fn member(&mut self, unclosed: &dyn Fn() -> String) -> Result<char, String> {
        match self.peek() {
            Some('\\') => self.escaped_char(),
            _ => self.next().ok_or_else(unclosed),
        }
    }
}

/// A character that means only itself, in a class and outside.
fn push_literal(c: char, out: &mut String) {
    // `\<` and `\>` would be the ends of a word.
    if c.is_ascii_punctuation() && !matches!(c, '<' | '>') {
        out.push('\\');
    }
    out.push(c);
}

/// `{n}`, `{n,}` or `{n,m}` at the beginning: the counts and the length.
fn repetition(text: &str) -> Option<(Vec<u32>, usize)> {
    let (inside, _) = text.strip_prefix('{')?.split_once('}')?;
    let (low, high) = inside.split_once(',').unwrap_or((inside, ""));
    let is_count = |s: &str| {
        !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit()) && (s.len() == 1 || !s.starts_with('0'))
    };
    if !is_count(low) || !high.is_empty() && !is_count(high) {
        return None;
    }
    // What does not fit is too much in any case.
    let counts = [low, high].into_iter().filter(|s| !s.is_empty());
    Some((counts.map(|s| s.parse().unwrap_or(u32::MAX)).collect(), inside.len() + 2))
}

#[cfg(test)]
mod tests {
    use super::{compile, compile_anchored};

    #[test]
    fn patterns_mean_what_re2_says() {
        for (pattern, value, expect) in [
            ("a.b", "a\nb", false),
            ("(?s)a.b", "a\nb", true),
            (r"\Qa.b\E.", "a.bc", true),
            (r"\Qa.b\E.", "axbc", false),
            ("a{", "a{", true),
            ("a{2}", "aa", true),
            ("a{,2}", "a{,2}", true),
            ("a{02}", "a{02}", true),
            ("a}]", "a}]", true),
            ("[]a]+", "]a", true),
            ("[[a]", "[", true),
            ("[[:alpha:].]+", "a.b", true),
            ("[[:^alpha:]]", "1", true),
            (r"\p{Greek}+", "αβ", true),
            (r"\p{^Greek}+", "ab", true),
            (r"\pL\PL", "a1", true),
            (r"[&&a~]+", "&~a", true),
            (r"[+--]+", "+,-", true),
            (r"[a-c-z]+", "b-z", true),
            (r"[\w-]+", "a-b", true),
            (r"[\w-.]+", "a-.", true),
            (r"[\d\-x]+", "1-x", true),
            (r"[^\D5]", "4", true),
            (r"[^\D5]", "5", false),
            (r"\d+\.\d+", "1.5", true),
            // Only ASCII, unlike in the library.
            (r"\d", "٣", false),
            (r"\w", "é", false),
            (r"\s", "\u{a0}", false),
            (r"\W", "é", true),
            (r"é\b", "é", false),
            (r"a\b.*", "aé", true),
            (r"a\Bb", "ab", true),
            ("(a|b).*", "bcd", true),
            (r"\<a\>", "<a>", true),
            (r"\101\x42\x{43}\07", "ABC\x07", true),
            ("(?i)STRASSE|é", "É", true),
            ("(?P<n>a)(?:b)", "ab", true),
            ("(?<n>a)", "a", true),
            ("(?U)a+", "aa", true),
            ("a*?", "aa", true),
            ("(?i:a)b", "Ab", true),
            ("(?m)^a$", "a", true),
            ("|a", "", true),
        ] {
            let found = compile_anchored(pattern, false).map(|r| r.is_match(value));
            assert_eq!(found, Ok(expect), "{pattern} on {value:?}");
        }
        assert!(compile_anchored("a.b", true).unwrap().is_match("a\nb"));
        assert!(compile("b").unwrap().is_match("abc"));
    }

    #[test]
    fn what_re2_refuses_is_refused() {
        for pattern in [
            "(",
            ")",
            "a)(b",
            "[a",
            "[]",
            "[^]",
            "[z-a]",
            r"[a-\d]",
            r"\8",
            r"\1",
            "\\",
            r"\Z",
            r"\h",
            r"\u0041",
            r"\é",
            "(?P<n",
            "(?P<>a)",
            "(?=a)",
            "(?<!a)",
            "(?x)a",
            "(?i",
            "a**",
            "a+*",
            "a{2}{3}",
            "a??*",
            "*",
            "(*)",
            "|*",
            "a{1001}",
            "a{2,1}",
            r"\x{110000}",
            r"\xg",
            r"\p{",
            r"\pQ",
            "[[:foo:]]",
        ] {
            assert!(compile(pattern).is_err(), "{pattern}");
        }
        assert!(compile(&"a{1000}{1000}".repeat(3)).is_err());
        assert!(compile(&"x".repeat(100_000)).is_err());
    }
}
