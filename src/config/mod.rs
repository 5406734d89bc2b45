//! The configuration file as a whole: read, checked, and composed of the rooms' own structs.
//!
//! All or nothing: [`load`] gives everything that the daemon needs, or every error with its place.

mod external_labels;
mod file;
mod inputs;
mod kind;
mod loader;
pub mod paging_file;
mod redact;
mod templates;

use std::path::{Path, PathBuf};

pub use inputs::Inputs;
pub use kind::FileKind;
use loader::Loader;
pub use paging_file::load_paging;
pub use redact::redact;
pub use templates::message_templates;

use crate::host::HostConfig;
use crate::model::yaml::{self, FileError};
use crate::model::{Duration, Labels, Secret};
use crate::paging::config::PagingConfig;
use crate::remote::{AlertingConfig, WarmStartConfig};
use crate::rules::GateMode;
use crate::rules::file::RuleFile;
use crate::scrape::ScrapeJob;

/// A configuration that can run.
#[derive(Debug)]
pub struct Config {
    pub scrape_interval: Duration,
    pub evaluation_interval: Duration,
    pub rule_query_offset: Duration,
    pub external_labels: Labels,
    pub scrape_jobs: Vec<ScrapeJob>,
    pub rule_files: Vec<RuleFile>,
    pub alerting: AlertingConfig,
    pub host: HostConfig,
    /// `None`: nobody is paged from here.
    pub paging: Option<PagingConfig>,
    pub retention_time: Option<Duration>,
    /// Bytes.
    pub retention_size: Option<u64>,
    pub max_series: Option<usize>,
    pub resend_delay: Option<Duration>,
    pub warm_start: Option<WarmStartConfig>,
    /// What happens to sigma rules that a reload changed.
    pub reload_gate: GateMode,
}

/// A configuration, and what was noticed while it was read.
#[derive(Debug)]
pub struct Loaded {
    pub config: Config,
    /// What runs but is worth a look.
    pub warnings: Vec<String>,
    /// The file's text without its secrets.
    pub shown: String,
    /// Rule and scrape files that are named and do not exist: not for running.
    pub missing: Vec<FileError>,
    path: PathBuf,
    /// Files that requests need (certificates, passwords).
    files_named: Vec<PathBuf>,
}

impl Loaded {
    /// What more than reading shows: everything named that does not exist, the files that only requests
    /// need too, and static targets that cannot be scraped.
    pub fn faults(&self) -> Vec<FileError> {
        let gone = self.files_named.iter().filter(|f| !f.exists());
        let gone = gone.map(|f| FileError::whole(f, "does not exist"));
        let jobs = self.config.scrape_jobs.iter();
        let targets = jobs.flat_map(|job| {
            let faults = job.target_faults().into_iter();
            faults.map(|fault| FileError::whole(&self.path, format!("{fault} (job {:?})", job.name)))
        });
        self.missing.iter().cloned().chain(gone).chain(targets).collect()
    }

    /// What a check should say beside the warnings, and what a running process, which knows its flags, says in its
    /// own words. `exist`: also look for the files of receivers.
    pub fn hints(&self, exist: bool) -> Vec<String> {
        let Some(paging) = &self.config.paging else { return Vec::new() };
        paging_file::hints(paging, exist)
    }

    /// One line for a person.
    pub fn summary(&self) -> String {
        let c = &self.config;
        let rules: usize = c.rule_files.iter().flat_map(|f| &f.groups).map(|g| g.rules.len()).sum();
        let paging = match &c.paging {
            Some(p) => paging_file::summary(p),
            None => "no paging".to_owned(),
        };
        format!(
            "{} scrape jobs, {rules} rules in {} files, {paging}",
            c.scrape_jobs.len(),
            c.rule_files.len()
        )
    }
}

/// As [`load`], for running: also refused when a rule or scrape file does not exist, or when a route
/// reaches a receiver that cannot be sent to. `inputs` then has what was read, to know when it changes: of a
/// refused configuration too, since what puts it right may be a file that the running one does not know.
///
/// # Errors
/// As [`load`].
pub fn load_to_run(path: &Path, inputs: &mut Inputs) -> Result<Loaded, Vec<FileError>> {
    let loaded = load_noting(path, inputs)?;
    let unsendable = loaded.config.paging.iter().flat_map(|p| &p.unsendable);
    let errors: Vec<FileError> = loaded.missing.iter().chain(unsendable).cloned().collect();
    if errors.is_empty() { Ok(loaded) } else { Err(errors) }
}

/// Reads the configuration file and every file that it names.
///
/// # Errors
/// Everything that is wrong, each with its file and, where it is known, line and column.
pub fn load(path: &Path) -> Result<Loaded, Vec<FileError>> {
    load_noting(path, &mut Inputs::default())
}

fn load_noting(path: &Path, inputs: &mut Inputs) -> Result<Loaded, Vec<FileError>> {
    *inputs = Inputs::default();
    let text = &inputs.read(path).map_err(|e| vec![e])?;
    // An empty file, or one with comments alone, is a configuration of defaults.
    let documents: Vec<file::File> = yaml::read_all(path, text).map_err(|e| {
        FileKind::of(text).is_no_configuration(path).into_iter().chain([e]).collect::<Vec<_>>()
    })?;
    let file = documents.into_iter().next().unwrap_or_default();
    let mut loader = Loader::new(path, inputs);
    let config = loader.load(file, text);
    if !loader.errors.is_empty() {
        return Err(loader.errors);
    }
    Ok(Loaded {
        shown: redact(text, config.paging.iter().flat_map(PagingConfig::secrets).map(Secret::expose)),
        config,
        warnings: loader.warnings,
        missing: loader.missing,
        path: path.to_owned(),
        files_named: loader.files_named,
    })
}
