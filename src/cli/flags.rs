//! Flags as they are typed. Names are those of Prometheus where it has the flag.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::model::Duration;
use crate::telemetry::{LogFormat, LogLevel};

/// Scrapes an application and its host, evaluates Prometheus rules and sigma bands, and pages people.
#[derive(Debug, Parser)]
#[command(
    name = "sideband",
    version,
    args_conflicts_with_subcommands = true,
    after_help = "Without a command, `run` is meant, with the options above. Documentation: docs/ in the repository."
)]
pub struct Cli {
    #[command(flatten)]
    pub run: RunFlags,
    #[command(subcommand)]
    pub command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run the daemon (the default)
    Run(Box<RunFlags>),
    /// Check files without running anything
    Check {
        #[command(subcommand)]
        what: CheckCommand,
    },
    /// Run unit tests
    Test {
        #[command(subcommand)]
        what: TestCommand,
    },
    /// Ask a running sideband (or any Prometheus-compatible server) for the value of an expression
    Query {
        /// Base URL of the server
        #[arg(long, default_value = "http://127.0.0.1:19309")]
        server: String,
        /// Evaluation time, RFC 3339 or seconds since the epoch (default: now)
        #[arg(long)]
        time: Option<String>,
        /// The PromQL expression
        expr: String,
    },
    /// Page people with a drill, to see that pages arrive: the person on call, and unacknowledged the backup
    ///
    /// A synthetic incident goes through the whole chain of the running sideband: route, ledger, escalation, delivery.
    /// Every message says that it is a drill; automations are left out. The exit code is 0 only if every step was
    /// delivered; the metric sideband_paging_last_good_drill_timestamp_seconds says when that last was so.
    Drill(super::drill::DrillFlags),
    /// Replay rules over history: how often would they have paged, and would that have kept their budgets?
    Backtest(Box<BacktestFlags>),
    /// Tell who is on call now and next, and when nobody is
    Oncall(super::oncall::OncallFlags),
    /// Report on the last weeks: pages by day, hour and person, how fast they were acknowledged, rules and coins
    Report(super::report::ReportFlags),
    /// Begin a postmortem: timeline, pages and picture of an incident as Markdown, with the questions to answer
    Postmortem(super::postmortem::PostmortemFlags),
    /// Write rules for other programs
    Export {
        #[command(subcommand)]
        what: ExportCommand,
    },
    /// Put history into the storage (while no sideband runs on it): rules, bands and charts know it from the start
    Import(super::import::ImportFlags),
    /// Look into the embedded database (while no sideband runs on it)
    Db {
        #[command(subcommand)]
        what: DbCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Configuration files, and the rule and paging files they name, or an alertmanager.yml; exit code 1 if one is refused
    Config {
        /// Configuration files, as --config.file takes them, or paging files (alertmanager.yml)
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Do not look whether the files that the configuration names exist
        #[arg(long)]
        syntax_only: bool,
    },
    /// Rule files; exit code 1 if one is refused, 3 if there are lint findings
    Rules {
        /// Rule files
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Ask for a summary and a runbook link on everything that pages, and for rules without duplicates
        #[arg(long)]
        lint: bool,
    },
    /// Which receivers an alert with these labels goes to (as `amtool config routes test`)
    Routes {
        /// A paging file or alertmanager.yml, or the configuration that names it
        #[arg(long = "config.file", value_name = "FILE")]
        config_file: PathBuf,
        /// Fail if these are not the receivers
        #[arg(long = "verify.receivers", value_name = "NAMES", value_delimiter = ',')]
        verify: Vec<String>,
        /// The alert's labels
        #[arg(value_name = "NAME=VALUE")]
        labels: Vec<String>,
    },
}

#[derive(Debug, Subcommand)]
pub enum TestCommand {
    /// Unit tests of rules, in promtool's format
    Rules {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum ExportCommand {
    /// Print rule files as plain Prometheus rules: gaussian and robust sigma rules become recording and alerting rules. What
    /// cannot be said in PromQL stands in comments, and on standard error
    Rules {
        #[arg(required = true)]
        files: Vec<PathBuf>,
    },
}

#[derive(Debug, Subcommand)]
pub enum DbCommand {
    /// Print every record as a line of JSON
    Dump {
        /// The storage path of the daemon
        #[arg(long = "storage.path", default_value = "data")]
        storage_path: PathBuf,
    },
    /// Write a consistent copy
    Backup {
        /// The storage path of the daemon
        #[arg(long = "storage.path", default_value = "data")]
        storage_path: PathBuf,
        /// Where the copy goes; must not exist yet
        to: PathBuf,
    },
    /// Put a copy back in its place; the daemon must not run
    Restore {
        /// The storage path of the daemon
        #[arg(long = "storage.path", default_value = "data")]
        storage_path: PathBuf,
        /// Take the place of the ledger that is there
        #[arg(long)]
        force: bool,
        /// The copy
        from: PathBuf,
    },
    /// Read every record and say what is wrong; exit code 1 if anything is
    Verify {
        /// The storage path of the daemon
        #[arg(long = "storage.path", default_value = "data")]
        storage_path: PathBuf,
    },
}

/// Exactly one history is given. Times are RFC 3339, `YYYY-MM-DD`, `YYYY-MM-DD HH:MM:SS`, seconds since the epoch, or before
/// now: `30d`, `now`.
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("history").required(true))]
pub struct BacktestFlags {
    /// Rule files
    #[arg(required = true, value_name = "RULES")]
    pub rules: Vec<PathBuf>,
    /// Ask this server (sideband, Prometheus, or one with their API) for the history
    #[arg(long, value_name = "URL", group = "history")]
    pub server: Option<String>,
    /// Read the history from a storage directory of sideband, which may be in use
    #[arg(long, value_name = "DIR", group = "history")]
    pub storage: Option<PathBuf>,
    /// Read the history from a text exposition with timestamps (OpenMetrics or Prometheus text)
    #[arg(long, value_name = "FILE", group = "history")]
    pub openmetrics: Option<PathBuf>,
    /// Read histories from CSV files (`timestamp,value`); each is a series value{file="NAME"} and is replayed on its own, at
    /// the times of its rows
    #[arg(long, value_name = "FILE|DIR", group = "history")]
    pub csv: Option<PathBuf>,
    /// Name of the metric that CSV files are series of
    #[arg(long, value_name = "NAME", default_value = crate::replay::csv::CSV_METRIC)]
    pub csv_metric: String,
    /// Client settings for the server: credentials, TLS, proxy (Prometheus's HTTP client configuration)
    #[arg(long = "http.config.file", value_name = "FILE", requires = "server")]
    pub http_config_file: Option<PathBuf>,
    /// Count events from this time on; before it rules learn [default: 30d before the end, or where the history begins]
    #[arg(long, value_name = "TIME", conflicts_with = "csv")]
    pub from: Option<String>,
    /// Until this time [default: now, or where the history ends]
    #[arg(long, value_name = "TIME", conflicts_with = "csv")]
    pub to: Option<String>,
    /// Evaluation interval of groups that name none
    #[arg(long, value_name = "DURATION", default_value = "1m")]
    pub interval: Duration,
    /// How far back an expression looks for a sample
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m")]
    pub lookback_delta: Duration,
    /// Page budget of rules that have none, e.g. "2 per 30d"
    #[arg(long, value_name = "BUDGET")]
    pub budget: Option<crate::sigma::PageBudget>,
    /// Exit with 1 if a rule asked for more pages than its budget allows
    #[arg(long)]
    pub fail_over_budget: bool,
    /// When something really was wrong: windows by series (JSON or YAML, or CSV with series,start,end); pages are compared with a
    /// clock that fires at random
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,
    /// Write a CSV file a series into this directory: timestamp,value,anomaly_score
    #[arg(long, value_name = "DIR")]
    pub scores: Option<PathBuf>,
    /// Write a picture of the pages by day
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Format of the report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ReportFormat,
}

/// How a report is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum ReportFormat {
    /// Tables for people
    Text,
    /// For programs
    Json,
}

#[derive(Debug, Clone, Args)]
pub struct RunFlags {
    /// Configuration file
    #[arg(long = "config.file", value_name = "FILE", default_value = "config/sideband.yml")]
    pub config_file: PathBuf,
    /// Address to listen on; may be repeated [default: 127.0.0.1:19309]
    #[arg(long = "web.listen-address", value_name = "HOST:PORT")]
    pub listen_address: Vec<String>,
    /// File with TLS and authentication settings (Prometheus's web-config format)
    #[arg(long = "web.config.file", value_name = "FILE")]
    pub web_config_file: Option<PathBuf>,
    /// URL under which this sideband is reached from outside: for links in alerts and pages
    #[arg(long = "web.external-url", value_name = "URL")]
    pub external_url: Option<String>,
    /// Allow reload and quit over HTTP
    #[arg(long = "web.enable-lifecycle")]
    pub enable_lifecycle: bool,
    /// How many connections are open at one time; when there are more, the one that is idle longest is closed
    #[arg(long = "web.max-connections", value_name = "N", default_value_t = 512)]
    pub max_connections: usize,
    /// Directory for samples, baselines and the paging ledger
    #[arg(
        long = "storage.path",
        visible_alias = "storage.tsdb.path",
        value_name = "DIR",
        default_value = "data"
    )]
    pub storage_path: PathBuf,
    /// How long samples are kept, e.g. 6h, 15d [default: 15d]
    #[arg(
        long = "storage.retention.time",
        visible_alias = "storage.tsdb.retention.time",
        value_name = "DURATION"
    )]
    pub retention_time: Option<Duration>,
    /// How many bytes of samples are kept, e.g. 512MB [default: no limit]
    #[arg(
        long = "storage.retention.size",
        visible_alias = "storage.tsdb.retention.size",
        value_name = "BYTES"
    )]
    pub retention_size: Option<String>,
    /// How far back an instant query looks for a sample
    #[arg(long = "query.lookback-delta", value_name = "DURATION", default_value = "5m")]
    pub lookback_delta: Duration,
    /// How long a query may take
    #[arg(long = "query.timeout", value_name = "DURATION", default_value = "2m")]
    pub query_timeout: Duration,
    /// How many samples a query may load
    #[arg(long = "query.max-samples", value_name = "N", default_value_t = 50_000_000)]
    pub max_samples: usize,
    /// How many queries run at one time; further ones wait
    #[arg(long = "query.max-concurrency", value_name = "N", default_value_t = 20)]
    pub query_concurrency: usize,
    /// Lowest level that is logged: debug, info, warn or error
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
    /// Format of the log: logfmt or json
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub log_format: LogFormat,
}
