//! `run`: flags become the daemon's options.

use std::process::ExitCode;

use crate::daemon::{self, Options};
use crate::model::parse_size;
use crate::telemetry;

use super::flags::RunFlags;

/// Runs the daemon until it is told to stop. Exit code 1 when it cannot start.
pub fn run(flags: RunFlags) -> ExitCode {
    telemetry::init(flags.log_level, flags.log_format);
    let retention_size = match flags.retention_size.as_deref().map(parse_size).transpose() {
        Ok(size) => size,
        Err(reason) => {
            tracing::error!(reason, "--storage.retention.size cannot be read");
            return ExitCode::from(2);
        }
    };
    let shown = shown(&flags);
    let mut listen = flags.listen_address;
    if listen.is_empty() {
        listen.push("127.0.0.1:19309".to_owned());
    }
    let options = Options {
        config_file: flags.config_file,
        listen,
        web_config_file: flags.web_config_file,
        external_url: flags.external_url,
        enable_lifecycle: flags.enable_lifecycle,
        max_connections: flags.max_connections,
        storage_path: flags.storage_path,
        retention_time: flags.retention_time,
        retention_size,
        lookback_delta: flags.lookback_delta,
        query_timeout: flags.query_timeout,
        max_samples: flags.max_samples,
        query_concurrency: flags.query_concurrency,
        shown,
    };
    match daemon::run(options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            for reason in error.reasons() {
                tracing::error!("{reason}");
            }
            ExitCode::FAILURE
        }
    }
}

/// The flags as `/api/v1/status/flags` shows them.
fn shown(flags: &RunFlags) -> Vec<(String, String)> {
    let text = |name: &str, value: &dyn std::fmt::Display| (name.to_owned(), value.to_string());
    let path = |p: &std::path::Path| p.display().to_string();
    vec![
        text("config.file", &path(&flags.config_file)),
        text("web.listen-address", &flags.listen_address.join(",")),
        text("web.config.file", &flags.web_config_file.as_deref().map(path).unwrap_or_default()),
        text("web.external-url", &flags.external_url.as_deref().unwrap_or_default()),
        text("web.enable-lifecycle", &flags.enable_lifecycle),
        text("web.max-connections", &flags.max_connections),
        text("storage.path", &path(&flags.storage_path)),
        text("storage.retention.time", &flags.retention_time.map(|t| t.to_string()).unwrap_or_default()),
        text("storage.retention.size", &flags.retention_size.as_deref().unwrap_or_default()),
        text("query.lookback-delta", &flags.lookback_delta),
        text("query.timeout", &flags.query_timeout),
        text("query.max-samples", &flags.max_samples),
        text("query.max-concurrency", &flags.query_concurrency),
    ]
}
