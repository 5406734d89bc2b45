//! Log lines as Prometheus prints them: `time=… level=INFO source=… msg="…" key=value`, or the same as JSON.

use std::fmt::{self, Write as _};
use std::str::FromStr;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Longest value of one field; what is longer is cut, so that no input can fill a disk through the log.
const MAX_VALUE_BYTES: usize = 8 * 1024;

/// What a log line looks like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    #[default]
    Logfmt,
    Json,
}

/// A log format that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown log format {0:?}, expected \"logfmt\" or \"json\"")]
pub struct LogFormatError(String);

impl FromStr for LogFormat {
    type Err = LogFormatError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "logfmt" => Ok(Self::Logfmt),
            "json" => Ok(Self::Json),
            other => Err(LogFormatError(other.to_owned())),
        }
    }
}

/// The least severe line that is still written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogLevel {
    Debug,
    #[default]
    Info,
    Warn,
    Error,
}

/// A log level that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown log level {0:?}, expected \"debug\", \"info\", \"warn\" or \"error\"")]
pub struct LogLevelError(String);

impl FromStr for LogLevel {
    type Err = LogLevelError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "debug" => Ok(Self::Debug),
            "info" => Ok(Self::Info),
            "warn" => Ok(Self::Warn),
            "error" => Ok(Self::Error),
            other => Err(LogLevelError(other.to_owned())),
        }
    }
}

impl From<LogLevel> for LevelFilter {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Info => Self::INFO,
            LogLevel::Warn => Self::WARN,
            LogLevel::Error => Self::ERROR,
        }
    }
}

/// Writes the lines of this process to stderr from now on. A second call changes nothing.
pub fn init(level: LogLevel, format: LogFormat) {
    // The only error is that a subscriber is there already, and then lines are written too.
    let _ = subscriber(level, format, std::io::stderr).try_init();
}

/// A subscriber that writes lines to `writer`; what libraries say appears from `warn` on.
pub fn subscriber<W>(level: LogLevel, format: LogFormat, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let level = LevelFilter::from(level);
    // A library's debug lines are of no use to who runs the daemon, and h2 alone writes hundreds a request.
    let targets = Targets::new().with_target("sideband", level).with_default(level.min(LevelFilter::WARN));
    let layer = tracing_subscriber::fmt::layer().event_format(LineFormat(format)).with_writer(writer);
    tracing_subscriber::registry().with(targets).with(layer)
}

struct LineFormat(LogFormat);

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _ctx: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        let file =
            metadata.file().map_or("?", |path| path.rsplit_once("src/").map_or(path, |(_, tail)| tail));
        let mut line = Line { format: self.0, out: String::with_capacity(256) };
        line.start();
        line.text("time", &format!("{:.3}", jiff::Timestamp::now()));
        line.text("level", level_name(*metadata.level()));
        line.text("source", &format!("{file}:{}", metadata.line().unwrap_or_default()));
        // The message goes before the other fields, wherever it stands in the macro.
        let mut message = Message(String::new());
        event.record(&mut message);
        line.text("msg", &message.0);
        event.record(&mut line);
        line.end();
        writer.write_str(&line.out)
    }
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::ERROR => "ERROR",
        Level::WARN => "WARN",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            let _ = write!(self.0, "{value:?}");
        }
    }
}

/// One line in the making.
struct Line {
    format: LogFormat,
    out: String,
}

impl Line {
    fn start(&mut self) {
        if self.format == LogFormat::Json {
            self.out.push('{');
        }
    }

    fn end(&mut self) {
        if self.format == LogFormat::Json {
            self.out.push('}');
        }
        self.out.push('\n');
    }

    fn key(&mut self, key: &str) {
        match self.format {
            LogFormat::Logfmt => {
                if !self.out.is_empty() {
                    self.out.push(' ');
                }
                self.out.push_str(key);
                self.out.push('=');
            }
            LogFormat::Json => {
                if self.out.len() > 1 {
                    self.out.push(',');
                }
                push_quoted(&mut self.out, key);
                self.out.push(':');
            }
        }
    }

    fn text(&mut self, key: &str, value: &str) {
        self.key(key);
        let value = cut(value);
        if self.format == LogFormat::Json || needs_quotes(value) {
            push_quoted(&mut self.out, value);
        } else {
            self.out.push_str(value);
        }
    }

    fn plain(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        self.key(field.name());
        let _ = self.out.write_fmt(value);
    }
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() != "message" {
            self.text(field.name(), &format!("{value:?}"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() != "message" {
            self.text(field.name(), value);
        }
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        // JSON has no NaN and no infinities.
        if value.is_finite() {
            self.plain(field, format_args!("{value}"));
        } else {
            self.text(field.name(), &value.to_string());
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.plain(field, format_args!("{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.plain(field, format_args!("{value}"));
    }
}

fn cut(value: &str) -> &str {
    if value.len() <= MAX_VALUE_BYTES {
        return value;
    }
    let mut end = MAX_VALUE_BYTES;
    while !value.is_char_boundary(end) {
        end -= 1;
    }
    &value[..end]
}

fn needs_quotes(value: &str) -> bool {
    value.is_empty() || value.chars().any(|c| c <= ' ' || c == '"' || c == '=' || c.is_control())
}

/// In double quotes; control characters are escaped, so that no value can forge a line or a colour.
fn push_quoted(out: &mut String, value: &str) {
    out.push('"');
    for c in value.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            c if c.is_control() => {
                let _ = write!(out, "\\u{:04x}", c as u32);
            }
            c => out.push(c),
        }
    }
    out.push('"');
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex};

    use super::*;

    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn logged(level: LogLevel, format: LogFormat, write: impl FnOnce()) -> String {
        let buffer = Buffer::default();
        let writer = buffer.clone();
        tracing::subscriber::with_default(subscriber(level, format, move || writer.clone()), write);
        let bytes = buffer.0.lock().unwrap().clone();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn logfmt_lines_have_prometheus_keys_in_their_order() {
        let text = logged(LogLevel::Info, LogFormat::Logfmt, || {
            tracing::info!(job = "flask app", n = 3, ok = true, "scrape \"done\"\nx");
            tracing::debug!("not written");
            tracing::warn!(target: "h2::codec", "library");
            tracing::info!(target: "h2::codec", "chatter");
        });
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines.len(), 2, "{text}");
        assert!(lines[0].starts_with("time=20"), "{text}");
        assert!(lines[0].contains(" level=INFO source=telemetry/logging.rs:"), "{text}");
        let tail = r#" msg="scrape \"done\"\nx" job="flask app" n=3 ok=true"#;
        assert!(lines[0].ends_with(tail), "{text}");
        assert!(lines[1].contains("level=WARN") && lines[1].ends_with("msg=library"), "{text}");
    }

    #[test]
    fn json_lines_are_json() {
        let text = logged(LogLevel::Debug, LogFormat::Json, || {
            tracing::debug!(err = %"a\u{1b}[31m", z = f64::NAN, v = 1.5, n = -2, "page sent");
        });
        let line: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(line["msg"], "page sent");
        assert_eq!(line["level"], "DEBUG");
        assert_eq!(line["err"], "a\u{1b}[31m");
        assert_eq!((line["v"].as_f64(), line["n"].as_i64()), (Some(1.5), Some(-2)));
        assert!(!text.contains('\u{1b}'));
    }

    #[test]
    fn long_values_are_cut_at_a_character() {
        let long = "ä".repeat(MAX_VALUE_BYTES);
        let text = logged(LogLevel::Info, LogFormat::Logfmt, || tracing::info!(body = long.as_str(), "x"));
        assert!(text.len() < MAX_VALUE_BYTES + 200);
    }

    #[test]
    fn words_of_the_flags_are_checked() {
        assert_eq!("json".parse(), Ok(LogFormat::Json));
        assert!("xml".parse::<LogFormat>().unwrap_err().to_string().contains("xml"));
        assert_eq!("warn".parse(), Ok(LogLevel::Warn));
        assert!("trace".parse::<LogLevel>().is_err());
    }
}
