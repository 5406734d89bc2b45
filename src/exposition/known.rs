//! The fast way over lines whose series is known: no tokens, the bytes are compared.

use super::entry::Format;
use super::number::plain;
use super::scanner::Scanner;
use crate::model::Timestamp;

impl<'a> Scanner<'a> {
    /// If the next line is this series (its [`super::Series::text`]) with a plain value, reads the line
    /// and gives the value and the timestamp (ms). Otherwise nothing is read, and
    /// [`Scanner::next`] must say what the line is.
    ///
    /// The text was validated when it was new, and it ends the same way wherever it stands, so that
    /// nothing of it needs a second look.
    #[inline]
    pub fn next_known(&mut self, text: &[u8]) -> Option<(f64, Option<Timestamp>)> {
        let rest = self.rest();
        let tail = rest.strip_prefix(text)?;
        let (value, timestamp, used) = sample(tail, self.format(), text.ends_with(b"}"))?;
        self.skip(text.len() + used);
        Some((value, timestamp))
    }

    /// If the next line is exactly this one (without its line break), steps over it.
    #[inline]
    pub fn skip_known_line(&mut self, line: &[u8]) -> bool {
        let known = self.rest().strip_prefix(line).is_some_and(|tail| tail.first() == Some(&b'\n'));
        if known {
            self.skip(line.len() + 1);
        }
        known
    }

    /// The next line up to its line break, if it has one.
    pub fn peek_line(&self) -> Option<&'a [u8]> {
        let rest = self.rest();
        memchr::memchr(b'\n', rest).map(|end| &rest[..end])
    }

    /// A guess what the next line's series text is, for looking it up: right for nearly all lines,
    /// and harmless where it is wrong, since the bytes are compared.
    pub fn peek_series(&self) -> Option<&'a [u8]> {
        let line = self.peek_line()?;
        let first = memchr::memchr2(b'{', b' ', line)?;
        if line[first] == b' ' {
            return Some(&line[..first]);
        }
        // An exemplar has braces too: the first brace followed by a space is the series' end then.
        let end = match self.format() {
            Format::Text => memchr::memrchr(b'}', line)?,
            Format::OpenMetrics => memchr::memmem::find(line, b"} ")?,
        };
        Some(&line[..=end])
    }
}

/// Value and timestamp between a series' text and its line break, and how many bytes that was.
#[inline]
fn sample(tail: &[u8], format: Format, braced: bool) -> Option<(f64, Option<Timestamp>, usize)> {
    let spaces = usize::from(tail.first() == Some(&b' '));
    // Text 0.0.4 lets the value stand right behind the brace.
    if spaces == 0 && !(braced && format == Format::Text) {
        return None;
    }
    let (value, used) = plain(&tail[spaces..])?;
    let mut at = spaces + used;
    match tail.get(at)? {
        b'\n' => return Some((value, None, at + 1)),
        b' ' if format == Format::Text => {}
        _ => return None,
    }
    at += 1;
    let digits = tail[at..].iter().take_while(|b| b.is_ascii_digit()).count();
    // Eighteen digits always fit.
    if digits == 0 || digits > 18 || tail.get(at + digits) != Some(&b'\n') {
        return None;
    }
    let timestamp = tail[at..at + digits].iter().fold(0, |t, b| t * 10 + i64::from(b - b'0'));
    Some((value, Some(timestamp), at + digits + 1))
}
