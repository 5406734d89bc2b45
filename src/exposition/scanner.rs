//! Entry by entry over a scraped page, refusing exactly what Prometheus refuses.

use std::borrow::Cow;

use super::entry::{Entry, Exemplar, Format, LabelError, ParseError, Series};
use super::lexer::{Lexer, Token};
use super::number::{canonical_bound, parse_value};
use super::quote::{go_quoted, unescape};
use super::start_time::StartTimes;
use crate::model::{Labels, METRIC_NAME, MetricType, Order as _, Timestamp};

/// Ranges of a label's name and value, without quotes.
type Span = (usize, usize);

/// Reads a whole page.
#[derive(Debug)]
pub struct Scanner<'a> {
    lexer: Lexer<'a>,
    format: Format,
    /// Where the entry that is read starts.
    line_start: usize,
    /// The metric name of the current series, if there is one yet.
    name: Option<Span>,
    labels: Vec<(Span, Span)>,
    exemplar_labels: Vec<(Span, Span)>,
    /// The last TYPE line's.
    kind: MetricType,
    start_times: Option<StartTimes>,
    finished: bool,
}

impl<'a> Scanner<'a> {
    pub fn new(page: &'a [u8], format: Format) -> Self {
        Self {
            lexer: Lexer::new(page, format == Format::OpenMetrics),
            format,
            line_start: 0,
            name: None,
            labels: Vec::new(),
            exemplar_labels: Vec::new(),
            kind: MetricType::Unknown,
            start_times: None,
            finished: false,
        }
    }

    /// Turns `_created` lines of OpenMetrics counters, histograms and summaries into start times of
    /// their series, instead of giving them out as series.
    #[must_use]
    pub fn with_start_times(mut self) -> Self {
        self.start_times = (self.format == Format::OpenMetrics).then(StartTimes::default);
        self
    }

    /// The next entry; `None` at the (proper) end. After an error there is nothing more.
    #[expect(clippy::should_implement_trait, reason = "labels() must be called between two steps")]
    pub fn next(&mut self) -> Option<Result<Entry<'a>, ParseError>> {
        if self.finished {
            return None;
        }
        loop {
            match self.entry() {
                Ok(Some(Entry::Series(mut series))) => {
                    if let Some(mut times) = self.start_times.take() {
                        let skipped = self.is_created_line();
                        series.start = times.of(self);
                        self.start_times = Some(times);
                        if skipped {
                            continue;
                        }
                    }
                    return Some(Ok(Entry::Series(series)));
                }
                Ok(Some(entry)) => {
                    if matches!(entry, Entry::Type { .. }) && self.start_times.is_some() {
                        self.start_times = Some(StartTimes::ahead(self));
                    }
                    return Some(Ok(entry));
                }
                Ok(None) => {
                    self.finished = true;
                    return None;
                }
                Err(message) => {
                    self.finished = true;
                    return Some(Err(ParseError { line: self.line_number(), message }));
                }
            }
        }
    }

    /// The labels of the series given last, its name among them. Bounds of buckets and quantiles are put
    /// in OpenMetrics' canonical form, as Prometheus does.
    ///
    /// # Errors
    /// A name is there twice or is no UTF-8.
    pub fn labels(&self) -> Result<Labels, LabelError> {
        self.label_set(self.kind)
    }

    /// The labels as they stand, bounds as they are spelled.
    pub(super) fn exact_labels(&self) -> Result<Labels, LabelError> {
        self.label_set(MetricType::Unknown)
    }

    fn label_set(&self, kind: MetricType) -> Result<Labels, LabelError> {
        let mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)> = Vec::with_capacity(self.labels.len() + 1);
        pairs.push((Cow::Borrowed(METRIC_NAME), self.metric_name()?));
        for (name, value) in &self.labels {
            let name = self.string(*name)?;
            let value = canonical_label(kind, &name, self.string(*value)?);
            pairs.push((name, value));
        }
        label_set(pairs)
    }

    /// The metric name of the series given last.
    ///
    /// # Errors
    /// It is quoted and no UTF-8.
    pub fn metric_name(&self) -> Result<Cow<'a, str>, LabelError> {
        self.string(self.name.unwrap_or_default())
    }

    /// The type that the last TYPE line gave.
    pub fn kind(&self) -> MetricType {
        self.kind
    }

    /// The line of the entry given last, without its line break.
    pub fn last_line(&self) -> &'a [u8] {
        let bytes = self.lexer.bytes;
        let line = bytes.get(self.line_start..self.lexer.end.min(bytes.len())).unwrap_or_default();
        line.strip_suffix(b"\n").unwrap_or_default()
    }

    /// Takes the place of a TYPE line that was stepped over as known.
    pub fn set_kind(&mut self, kind: MetricType) {
        self.kind = kind;
    }

    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// What is not read yet.
    pub(super) fn rest(&self) -> &'a [u8] {
        self.lexer.bytes.get(self.lexer.end..).unwrap_or_default()
    }

    /// Goes on after `used` bytes of [`Self::rest`], which must have been whole lines.
    pub(super) fn skip(&mut self, used: usize) {
        self.lexer.jump(self.lexer.end + used);
    }

    /// A scanner of the same page from the place that this one has reached.
    pub(super) fn fork(&self) -> Self {
        let mut fork = Self::new(self.lexer.bytes, self.format);
        fork.lexer = self.lexer.clone();
        fork.kind = self.kind;
        fork
    }

    pub(super) fn is_created_line(&self) -> bool {
        matches!(self.kind, MetricType::Counter | MetricType::Histogram | MetricType::Summary)
            && self.name.is_some_and(|(a, b)| self.lexer.bytes[a..b].ends_with(b"_created"))
    }

    fn line_number(&self) -> usize {
        let upto = &self.lexer.bytes[..self.line_start.min(self.lexer.bytes.len())];
        memchr::memchr_iter(b'\n', upto).count() + 1
    }

    fn string(&self, (from, to): Span) -> Result<Cow<'a, str>, LabelError> {
        let bytes = &self.lexer.bytes[from..to];
        match std::str::from_utf8(bytes) {
            Ok(text) => Ok(unescape(text, true)),
            Err(_) => Err(LabelError::NotUtf8(go_quoted(bytes))),
        }
    }

    fn token(&mut self) -> Token {
        match self.format {
            Format::Text => self.lexer.next_solid(),
            Format::OpenMetrics => self.lexer.next(),
        }
    }

    fn entry(&mut self) -> Result<Option<Entry<'a>>, String> {
        let token = loop {
            self.line_start = self.lexer.end;
            match self.token() {
                // Only text 0.0.4 allows blank lines.
                Token::Linebreak => {}
                token => break token,
            }
        };
        match (token, self.format) {
            (Token::EofWord, _) => match self.token() {
                Token::Eof => Ok(None),
                _ => Err("unexpected data after # EOF".into()),
            },
            (Token::Eof, Format::OpenMetrics) => Err("data does not end with # EOF".into()),
            (Token::Eof, Format::Text) => Ok(None),
            (Token::Help | Token::Type | Token::Unit, _) => self.metadata(token).map(Some),
            (Token::Comment, _) => {
                let text = &self.lexer.bytes[self.lexer.start..self.lexer.end.min(self.lexer.bytes.len())];
                match self.token() {
                    Token::Linebreak => Ok(Some(Entry::Comment(text))),
                    other => Err(self.unexpected("linebreak expected after comment", other)),
                }
            }
            (Token::BraceOpen, _) => {
                let start = self.lexer.start;
                self.name = None;
                self.labels.clear();
                self.label_pairs(false)?;
                let text = &self.lexer.bytes[start..self.lexer.end];
                let token = self.token();
                self.series(text, token).map(Some)
            }
            (Token::MetricName, _) => {
                let start = self.lexer.start;
                self.name = Some((start, self.lexer.end));
                self.labels.clear();
                let mut text = self.lexer.text();
                let mut token = self.token();
                if token == Token::BraceOpen {
                    self.label_pairs(false)?;
                    text = &self.lexer.bytes[start..self.lexer.end];
                    token = self.token();
                }
                self.series(text, token).map(Some)
            }
            (other, _) => Err(self.unexpected("expected a valid start token", other)),
        }
    }

    fn metadata(&mut self, what: Token) -> Result<Entry<'a>, String> {
        let next = self.token();
        if next != Token::MetricName {
            return Err(self.unexpected(&format!("expected metric name after {}", what.name()), next));
        }
        let mut name = (self.lexer.start, self.lexer.end);
        if self.lexer.text().starts_with(b"\"") {
            name = (name.0 + 1, name.1 - 1);
        }
        let metric = self.string(name).map_err(|e| e.to_string())?;
        // Not next_solid: the text starts with the space that ends the name.
        if self.lexer.next() != Token::Text {
            return Err(format!("expected text in {}", what.name()));
        }
        let text = self.lexer.text();
        let text = match self.format {
            Format::Text => text.get(1..).unwrap_or_default(),
            Format::OpenMetrics => text.get(1..text.len() - 1).unwrap_or_default(),
        };
        let entry = match (what, std::str::from_utf8(text)) {
            (Token::Type, text_str) => {
                let kind = text_str.ok().and_then(|word| self.kind_of(word));
                let kind = kind.ok_or_else(|| format!("invalid metric type {}", go_quoted(text)))?;
                self.kind = kind;
                Entry::Type { metric, kind }
            }
            (Token::Help, Ok(help)) => {
                Entry::Help { metric, help: unescape(help, self.format == Format::OpenMetrics) }
            }
            (Token::Help, Err(_)) => {
                return Err(format!("help text {} is not a valid utf8 string", go_quoted(text)));
            }
            (_, Ok(unit)) => {
                let fits = unit.is_empty()
                    || metric.strip_suffix(unit).is_some_and(|rest| rest.ends_with(['_', '.']));
                if !fits {
                    let (unit, metric) = (go_quoted(text), go_quoted(metric.as_bytes()));
                    return Err(format!("unit {unit} not a suffix of metric {metric}"));
                }
                Entry::Unit { metric, unit: Cow::Borrowed(unit) }
            }
            (_, Err(_)) => return Err(format!("unit {} is not a valid utf8 string", go_quoted(text))),
        };
        if self.format == Format::Text {
            let next = self.token();
            if next != Token::Linebreak {
                return Err(self.unexpected("linebreak expected after metadata", next));
            }
        }
        Ok(entry)
    }

    fn kind_of(&self, word: &str) -> Option<MetricType> {
        match (self.format, word) {
            (Format::Text, "unknown" | "gaugehistogram" | "info" | "stateset") => None,
            (Format::OpenMetrics, "untyped") => None,
            (_, word) => MetricType::parse(word),
        }
    }

    /// Reads labels up to the closing brace.
    fn label_pairs(&mut self, exemplar: bool) -> Result<(), String> {
        let mut token = self.token();
        loop {
            let quoted = match token {
                Token::BraceClose => return Ok(()),
                Token::LabelName => false,
                Token::Quoted => true,
                other => return Err(self.unexpected("expected label name", other)),
            };
            let quote = usize::from(quoted);
            let name = (self.lexer.start + quote, self.lexer.end - quote);
            token = self.token();
            if quoted && !exemplar && matches!(token, Token::Comma | Token::BraceClose) {
                if self.name.is_some() {
                    return Err(self.at_line("metric name already set"));
                }
                self.name = Some(name);
                if token == Token::BraceClose {
                    return Ok(());
                }
                token = self.token();
                continue;
            }
            if token != Token::Equal {
                return Err(self.unexpected("expected equal", token));
            }
            token = self.token();
            if token != Token::LabelValue {
                return Err(self.unexpected("expected label value", token));
            }
            if std::str::from_utf8(self.lexer.text()).is_err() {
                return Err(format!("invalid UTF-8 label value: {}", go_quoted(self.lexer.text())));
            }
            let value = (self.lexer.start + 1, self.lexer.end - 1);
            if exemplar {
                self.exemplar_labels.push((name, value))
            } else {
                self.labels.push((name, value))
            }
            token = self.token();
            match (self.format, token) {
                (_, Token::Comma) => token = self.token(),
                (_, Token::BraceClose) => {}
                // Prometheus reads labels without a comma between them in text 0.0.4.
                (Format::Text, _) => {}
                (Format::OpenMetrics, other) => {
                    return Err(self.unexpected("expected comma or brace close", other));
                }
            }
        }
    }

    /// After name and labels: value, timestamp, exemplar, end of the line.
    fn series(&mut self, text: &'a [u8], token: Token) -> Result<Entry<'a>, String> {
        if self.name.is_none() {
            return Err(self.at_line("metric name not set"));
        }
        let value = self.value(token, "metric")?;
        let mut series = Series { text, value, timestamp: None, start: None, exemplar: None };
        let mut token = self.token();
        if token == Token::Timestamp {
            series.timestamp = Some(self.timestamp("timestamp")?);
            token = self.token();
            if !matches!(token, Token::Linebreak | Token::Comment) {
                return Err(self.unexpected("expected next entry after timestamp", token));
            }
        }
        match token {
            Token::Linebreak => {}
            Token::Comment => series.exemplar = Some(self.exemplar()?),
            Token::Eof => return Err("data does not end with # EOF".into()),
            other => return Err(self.unexpected("expected timestamp or new record", other)),
        }
        Ok(Entry::Series(series))
    }

    fn exemplar(&mut self) -> Result<Exemplar, String> {
        self.exemplar_labels.clear();
        self.label_pairs(true)?;
        let token = self.token();
        let value = self.value(token, "exemplar labels")?;
        let mut timestamp = None;
        match self.token() {
            Token::Linebreak => {}
            Token::Eof => return Err("data does not end with # EOF".into()),
            Token::Timestamp => {
                timestamp = Some(self.timestamp("exemplar timestamp")?);
                match self.token() {
                    Token::Linebreak => {}
                    other => {
                        return Err(self.unexpected("expected next entry after exemplar timestamp", other));
                    }
                }
            }
            other => return Err(self.unexpected("expected timestamp or comment", other)),
        }
        let pairs: Result<Vec<_>, _> =
            self.exemplar_labels.iter().map(|(n, v)| Ok((self.string(*n)?, self.string(*v)?))).collect();
        let labels = pairs.and_then(label_set).map_err(|e: LabelError| e.to_string())?;
        Ok(Exemplar { labels, value, timestamp })
    }

    /// The token's text without the space that OpenMetrics has before it.
    fn word(&self) -> &'a [u8] {
        let text = self.lexer.text();
        if self.format == Format::OpenMetrics { text.get(1..).unwrap_or_default() } else { text }
    }

    fn value(&self, token: Token, after: &str) -> Result<f64, String> {
        if token != Token::Value {
            return Err(self.unexpected(&format!("expected value after {after}"), token));
        }
        parse_value(self.word()).map_err(|e| self.at_line(&e))
    }

    fn timestamp(&self, what: &str) -> Result<Timestamp, String> {
        let word = self.word();
        if self.format == Format::Text {
            let parsed = std::str::from_utf8(word).ok().and_then(|w| w.parse().ok());
            return parsed.ok_or_else(|| {
                self.at_line(&format!("strconv.ParseInt: parsing {}: value out of range", go_quoted(word)))
            });
        }
        let seconds = parse_value(word).map_err(|e| self.at_line(&e))?;
        if !seconds.is_finite() {
            return Err(format!("invalid {what} {}", crate::model::format_float(seconds)));
        }
        Ok((seconds * 1000.0) as Timestamp)
    }

    fn at_line(&self, what: &str) -> String {
        format!("{what} while parsing: {}", go_quoted(&self.shown(self.line_start, self.lexer.end)))
    }

    fn unexpected(&self, expected: &str, got: Token) -> String {
        let end = self.lexer.end + 1;
        let token = go_quoted(&self.shown(self.lexer.start, end));
        let line = go_quoted(&self.shown(self.line_start, end));
        format!("{expected}, got {token} ({:?}) while parsing: {line}", got.name())
    }

    /// The bytes of a range; long ones are cut, for this goes into logs.
    fn shown(&self, from: usize, to: usize) -> Cow<'a, [u8]> {
        const LONGEST: usize = 1024;
        let bytes = self.lexer.bytes;
        let shown = bytes.get(from..to.min(bytes.len())).unwrap_or_default();
        if shown.len() > LONGEST {
            return Cow::Owned([&shown[..LONGEST], b"..."].concat());
        }
        if to > bytes.len() && self.format == Format::Text {
            return Cow::Owned([shown, b"\n"].concat());
        }
        Cow::Borrowed(shown)
    }
}

/// Sorts pairs into a label set.
fn label_set(mut pairs: Vec<(Cow<'_, str>, Cow<'_, str>)>) -> Result<Labels, LabelError> {
    pairs.order_by(|a, b| a.0.cmp(&b.0));
    if let Some(twice) = pairs.windows(2).find(|w| w[0].0 == w[1].0) {
        return Err(LabelError::Duplicate(twice[0].0.to_string()));
    }
    let with_value = pairs.iter().filter(|(_, value)| !value.is_empty());
    Ok(Labels::from_sorted(with_value.map(|(n, v)| (n.as_ref(), v.as_ref()))))
}

fn canonical_label<'a>(kind: MetricType, name: &str, value: Cow<'a, str>) -> Cow<'a, str> {
    let bound = matches!((kind, name), (MetricType::Summary, "quantile") | (MetricType::Histogram, "le"));
    if !bound {
        return value;
    }
    parse_value(value.as_bytes()).map_or(value, |v| Cow::Owned(canonical_bound(v)))
}
