//! The command line: flags as they are typed, and what each subcommand does with them.

mod backtest;
mod check;
mod db;
mod drill;
mod export;
mod flags;
mod import;
mod oncall;
mod postmortem;
mod progress;
mod query;
mod report;
mod routes;
mod run;
mod server;
mod unittest;

use std::process::ExitCode;

use clap::Parser;

use flags::{CheckCommand, Cli, Command, ExportCommand, TestCommand};

/// Runs the command that the arguments name; the exit code is 0 for success, 1 for a failure and 2 for
/// wrong usage (3 for lint findings, as promtool has it).
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match cli.command {
        None => run::run(cli.run),
        Some(Command::Run(flags)) => run::run(*flags),
        Some(Command::Check { what: CheckCommand::Config { files, syntax_only } }) => {
            check::config(&files, syntax_only)
        }
        Some(Command::Check { what: CheckCommand::Rules { files, lint } }) => check::rules(&files, lint),
        Some(Command::Check { what: CheckCommand::Routes { config_file, verify, labels } }) => {
            routes::test(&config_file, &labels, &verify)
        }
        Some(Command::Test { what: TestCommand::Rules { files } }) => unittest::rules(&files),
        Some(Command::Query { server, time, expr }) => query::instant(&server, time.as_deref(), &expr),
        Some(Command::Drill(flags)) => drill::run(&flags),
        Some(Command::Oncall(flags)) => oncall::run(&flags),
        Some(Command::Report(flags)) => report::run(&flags),
        Some(Command::Postmortem(flags)) => postmortem::run(&flags),
        Some(Command::Export { what: ExportCommand::Rules { files } }) => export::rules(&files),
        Some(Command::Import(flags)) => import::run(&flags),
        Some(Command::Db { what }) => db::run(what),
        Some(Command::Backtest(flags)) => backtest::run(&flags),
    }
}
