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
    /// Look into the embedded database (while no sideband runs on it)
    Db {
        #[command(subcommand)]
        what: DbCommand,
    },
}

#[derive(Debug, Subcommand)]
pub enum CheckCommand {
    /// Configuration files, and the rule and paging files they name; exit code 1 if one is refused
    Config {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Do not look whether the files that the configuration names exist
        #[arg(long)]
        syntax_only: bool,
    },
    /// Rule files; exit code 1 if one is refused, 3 if there are lint findings
    Rules {
        #[arg(required = true)]
        files: Vec<PathBuf>,
        /// Ask for a summary and a runbook link on everything that pages, and for rules without duplicates
        #[arg(long)]
        lint: bool,
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
    /// Lowest level that is logged
    #[arg(long = "log.level", value_name = "LEVEL", default_value = "info")]
    pub log_level: LogLevel,
    /// Format of the log
    #[arg(long = "log.format", value_name = "FORMAT", default_value = "logfmt")]
    pub log_format: LogFormat,
}
