//! Whole metric families of text 0.0.4, as the libraries of the Prometheus world read them: stricter than
//! a scrape (every line ends with a line break, escapes are checked, metadata comes once and first).

use super::entry::ParseError;
pub use super::family::{Family, Metric, MetricValue};
use super::family::{Gathered, Part, Sample};
use super::number::parse_value;
use super::quote::go_quoted as shown;
use crate::model::{METRIC_NAME, MetricType, is_legacy_label_name};

/// Reads a page. `legacy_names` allows only the alphabet of names before UTF-8 came. Families without
/// samples are left out; the rest come in the order of their first line.
///
/// # Errors
/// The line and what is wrong with it.
pub fn parse(page: &[u8], legacy_names: bool) -> Result<Vec<Family>, ParseError> {
    let mut reader =
        Reader { rest: page, byte: 0, line: 0, legacy_names, gathered: Gathered::new(legacy_names) };
    match reader.page() {
        Ok(()) => Ok(reader.gathered.with_samples()),
        Err(Stop::End) => {
            Err(ParseError { line: reader.line, message: "unexpected end of input stream".into() })
        }
        Err(Stop::Bad(message)) => Err(ParseError { line: reader.line, message }),
    }
}

enum Stop {
    End,
    Bad(String),
}

impl From<String> for Stop {
    fn from(message: String) -> Self {
        Self::Bad(message)
    }
}

type Step<T = ()> = Result<T, Stop>;

fn bad<T>(message: impl Into<String>) -> Step<T> {
    Err(Stop::Bad(message.into()))
}

struct Reader<'a> {
    rest: &'a [u8],
    /// The byte that is looked at.
    byte: u8,
    line: usize,
    legacy_names: bool,
    gathered: Gathered,
}

fn is_blank(b: u8) -> bool {
    matches!(b, b' ' | b'\t')
}

impl Reader<'_> {
    fn read(&mut self) -> Step {
        let (first, rest) = self.rest.split_first().ok_or(Stop::End)?;
        self.byte = *first;
        self.rest = rest;
        Ok(())
    }

    fn read_solid(&mut self) -> Step {
        self.read()?;
        while is_blank(self.byte) {
            self.read()?;
        }
        Ok(())
    }

    fn page(&mut self) -> Step {
        loop {
            self.line += 1;
            match self.read_solid() {
                // The only place where a page may end.
                Err(Stop::End) => return Ok(()),
                other => other?,
            }
            match self.byte {
                b'#' => self.comment()?,
                b'\n' => {}
                _ => self.sample()?,
            }
        }
    }

    fn comment(&mut self) -> Step {
        self.read_solid()?;
        if self.byte == b'\n' {
            return Ok(());
        }
        let keyword = self.until_blank()?;
        if self.byte == b'\n' {
            return Ok(());
        }
        let is_help = keyword == b"HELP";
        if !is_help && keyword != b"TYPE" {
            while self.byte != b'\n' {
                self.read()?;
            }
            return Ok(());
        }
        self.read_solid()?;
        let name = self.name(true)?;
        if self.byte == b'\n' {
            return Ok(());
        }
        if !is_blank(self.byte) {
            return bad("invalid metric name in comment");
        }
        let (number, _) = self.gathered.family(name)?;
        self.read_solid()?;
        if self.byte == b'\n' {
            return Ok(());
        }
        let text = self.until_newline(is_help)?;
        if is_help {
            self.gathered.set_help(number, &text)?;
        } else {
            self.gathered.set_kind(number, &text)?;
        }
        Ok(())
    }

    fn sample(&mut self) -> Step {
        let mut family = None;
        let in_braces = self.byte == b'{';
        if !in_braces {
            let name = self.name(true)?;
            if name.is_empty() {
                return bad("invalid metric name");
            }
            family = Some(self.gathered.family(name)?);
            if is_blank(self.byte) {
                self.read_solid()?;
            }
        }
        let mut labels: Vec<(String, String)> = Vec::new();
        if self.byte == b'{' {
            self.labels(&mut family, in_braces, &mut labels)?;
        }
        let Some((number, part)) = family else { return bad("invalid metric name") };
        self.value(number, part, labels)
    }

    /// From the opening brace to the first byte of the value.
    fn labels(
        &mut self,
        family: &mut Option<(usize, Part)>,
        in_braces: bool,
        labels: &mut Vec<(String, String)>,
    ) -> Step {
        loop {
            self.read_solid()?;
            if self.byte == b'}' {
                break;
            }
            let name = self.name(false)?;
            let metric = family.map(|(n, _)| self.gathered.shown_name(n)).unwrap_or_default();
            if name.is_empty() {
                return bad(format!("invalid label name for metric {metric}"));
            }
            if is_blank(self.byte) {
                self.read_solid()?;
            }
            if self.byte != b'=' {
                if !in_braces {
                    return bad(format!("expected '=' after label name, found {}", found(self.byte)));
                }
                if family.is_some() {
                    return bad(format!("multiple metric names for metric {metric}"));
                }
                if !matches!(self.byte, b',' | b'}') {
                    return bad(format!("unexpected end of metric name {}", shown(&name)));
                }
                *family = Some(self.gathered.family(name)?);
                if self.byte == b'}' {
                    break;
                }
                continue;
            }
            let shown_name = shown(&name);
            let Ok(name) = String::from_utf8(name) else {
                return bad(format!("invalid label name {shown_name}"));
            };
            if name == METRIC_NAME {
                return bad(format!("label name {shown_name} is reserved"));
            }
            if self.legacy_names && !is_legacy_label_name(&name) {
                return bad(format!("invalid label name {shown_name}"));
            }
            if labels.iter().any(|(other, _)| *other == name) {
                return bad(format!("duplicate label names for metric {metric}"));
            }
            self.read_solid()?;
            if self.byte != b'"' {
                return bad(format!("expected '\"' at start of label value, found {}", found(self.byte)));
            }
            let value = self.label_value()?;
            let Ok(value) = String::from_utf8(value.clone()) else {
                return bad(format!("invalid label value {}", shown(&value)));
            };
            self.read_solid()?;
            if !matches!(self.byte, b',' | b'}') {
                return bad(format!("unexpected end of label value {}", shown(value.as_bytes())));
            }
            labels.push((name, value));
            if self.byte == b'}' {
                break;
            }
        }
        if family.is_none() {
            return bad("invalid metric name");
        }
        self.read_solid()
    }

    fn value(&mut self, number: usize, part: Part, mut labels: Vec<(String, String)>) -> Step {
        let kind = self.gathered.kind(number);
        let bound_label = match kind {
            MetricType::Summary => Some("quantile"),
            MetricType::Histogram | MetricType::GaugeHistogram => Some("le"),
            _ => None,
        };
        let mut bound = None;
        if let Some(bound_label) = bound_label
            && let Some(i) = labels.iter().position(|(name, _)| name == bound_label)
        {
            let (_, text) = labels.remove(i);
            let Ok(v) = parse_value(text.as_bytes()) else {
                let got = shown(text.as_bytes());
                return bad(format!("expected float as value for '{bound_label}' label, got {got}"));
            };
            bound = Some(v).filter(|v| !v.is_nan());
        }
        let token = self.until_blank()?;
        let Ok(value) = parse_value(&token) else {
            return bad(format!("expected float as value, got {}", shown(&token)));
        };
        let metric = self.gathered.add(number, labels, Sample { part, bound, value })?;
        if self.byte == b'\n' {
            return Ok(());
        }
        self.read_solid()?;
        let token = self.until_blank()?;
        let Some(timestamp) = std::str::from_utf8(&token).ok().and_then(|t| t.parse().ok()) else {
            return bad(format!("expected integer as timestamp, got {}", shown(&token)));
        };
        self.gathered.set_timestamp(number, metric, timestamp);
        let spurious = self.until_newline(false)?;
        if !spurious.is_empty() {
            return bad(format!("spurious string after timestamp: {}", shown(&spurious)));
        }
        Ok(())
    }

    fn until_blank(&mut self) -> Step<Vec<u8>> {
        let mut token = Vec::new();
        while !is_blank(self.byte) && self.byte != b'\n' {
            token.push(self.byte);
            self.read()?;
        }
        Ok(token)
    }

    fn until_newline(&mut self, escapes: bool) -> Step<Vec<u8>> {
        let mut token = Vec::new();
        while self.byte != b'\n' {
            if escapes && self.byte == b'\\' {
                self.read()?;
                token.push(self.unescaped()?);
            } else {
                token.push(self.byte);
            }
            self.read()?;
        }
        Ok(token)
    }

    fn unescaped(&self) -> Step<u8> {
        match self.byte {
            b'\\' | b'"' => Ok(self.byte),
            b'n' => Ok(b'\n'),
            other => bad(format!("invalid escape sequence '\\{}'", char::from(other))),
        }
    }

    /// A metric or label name, quoted or not; empty when none starts here. Afterwards the byte behind it
    /// is looked at.
    fn name(&mut self, metric: bool) -> Step<Vec<u8>> {
        let mut token = Vec::new();
        if self.byte == b'"' {
            loop {
                self.read()?;
                match self.byte {
                    b'"' => break,
                    b'\n' => {
                        let what = if metric { "metric" } else { "label" };
                        return bad(format!("{what} name {} contains unescaped new-line", shown(&token)));
                    }
                    b'\\' => {
                        self.read()?;
                        token.push(self.unescaped()?);
                    }
                    other => token.push(other),
                }
            }
            self.read()?;
            return Ok(token);
        }
        let starts = |b: u8| b.is_ascii_alphabetic() || b == b'_' || metric && b == b':';
        if !starts(self.byte) {
            return Ok(token);
        }
        while starts(self.byte) || self.byte.is_ascii_digit() {
            token.push(self.byte);
            self.read()?;
        }
        Ok(token)
    }

    fn label_value(&mut self) -> Step<Vec<u8>> {
        let mut token = Vec::new();
        loop {
            self.read()?;
            match self.byte {
                b'"' => return Ok(token),
                b'\n' => return bad(format!("label value {} contains unescaped new-line", shown(&token))),
                b'\\' => {
                    self.read()?;
                    token.push(self.unescaped()?);
                }
                other => token.push(other),
            }
        }
    }
}

fn found(b: u8) -> String {
    format!("{:?}", char::from(b))
}
