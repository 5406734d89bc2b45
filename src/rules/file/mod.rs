//! Rule files: Prometheus's groups with one more kind of rule, `sigma:`.
//!
//! A file is read in two steps: [`raw`] keeps every text with its place, [`check`] makes rules of it and
//! collects everything that is wrong, so that a person sees all mistakes at once.

mod check;
mod raw;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::model::yaml::{self, FileError};
use crate::model::{Duration, Labels};
use crate::promql::Expr;
use crate::sigma;
use crate::template::Template;

/// The longest rule file, in bytes.
pub const MAX_FILE: usize = 8 << 20;

/// Which label and metric names are valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Names {
    /// Any text.
    #[default]
    Utf8,
    /// The alphabet of Prometheus before version 3.
    Legacy,
}

/// How strictly a file is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options {
    pub names: Names,
    /// Keys that nobody knows are no error.
    pub ignore_unknown_fields: bool,
}

/// A rule file.
#[derive(Debug, Clone, Default)]
pub struct RuleFile {
    pub groups: Vec<GroupSpec>,
    /// What is odd but harmless.
    pub warnings: Vec<FileError>,
}

/// A group as it was written.
#[derive(Debug, Clone)]
pub struct GroupSpec {
    pub file: PathBuf,
    /// Line of its name.
    pub line: u64,
    pub name: String,
    /// `None`: the global evaluation interval.
    pub interval: Option<Duration>,
    /// `None`: the global one.
    pub query_offset: Option<Duration>,
    /// The most series or alerts of a rule; 0: no limit.
    pub limit: usize,
    pub rules: Vec<Arc<RuleSpec>>,
}

/// A rule as it was written. Labels of the group are among its own.
#[derive(Debug)]
pub struct RuleSpec {
    /// Where it begins, both from 1.
    pub line: u64,
    pub column: u64,
    pub name: String,
    pub expr: Expr,
    /// As written: templates, except in recording rules.
    pub labels: Labels,
    pub kind: RuleKind,
}

/// What a rule does with its result.
#[derive(Debug)]
pub enum RuleKind {
    Recording,
    Alerting(AlertingSpec),
    Sigma(Box<SigmaSpec>),
}

/// An alerting rule.
#[derive(Debug)]
pub struct AlertingSpec {
    /// `for`
    pub hold: Duration,
    pub keep_firing_for: Duration,
    /// As written.
    pub annotations: Labels,
    pub templates: Templates,
}

/// A sigma rule.
#[derive(Debug)]
pub struct SigmaSpec {
    pub detector: sigma::Detector,
    /// As written.
    pub annotations: Labels,
    pub templates: Templates,
    /// The labels of each band of the detector.
    pub bands: Vec<Labels>,
    /// The whole rule as text: a changed rule keeps its baselines only if this is the same.
    pub identity: String,
}

/// Labels and annotations ready to be expanded, in the order of their names.
#[derive(Debug, Default)]
pub struct Templates {
    pub labels: Vec<(String, Template)>,
    pub annotations: Vec<(String, Template)>,
}

/// The variables that templates of alerting rules may use.
pub const ALERTING_VARIABLES: [&str; 4] = ["$labels", "$externalLabels", "$externalURL", "$value"];

/// Those of sigma rules: of one series and the band that fires.
pub const SIGMA_VARIABLES: [&str; 12] = [
    "$labels",
    "$externalLabels",
    "$externalURL",
    "$value",
    "$center",
    "$stddev",
    "$zscore",
    "$band",
    "$samples",
    "$firings",
    "$useful",
    "$useless",
];

impl RuleSpec {
    /// The word of the API: `recording`, `alerting`, `sigma`.
    pub fn type_name(&self) -> &'static str {
        match self.kind {
            RuleKind::Recording => "recording",
            RuleKind::Alerting(_) => "alerting",
            RuleKind::Sigma(_) => "sigma",
        }
    }

    /// The annotations as written; none of a recording rule.
    pub fn annotations(&self) -> Labels {
        match &self.kind {
            RuleKind::Recording => Labels::empty(),
            RuleKind::Alerting(a) => a.annotations.clone(),
            RuleKind::Sigma(s) => s.annotations.clone(),
        }
    }
}

/// Reads a rule file's text. Of several YAML documents the first counts.
///
/// # Errors
/// Everything that is wrong, with line and column.
pub fn parse(file: &Path, text: &str, options: Options) -> Result<RuleFile, Vec<FileError>> {
    if text.len() > MAX_FILE {
        return Err(vec![FileError::whole(file, format!("the file is longer than {MAX_FILE} bytes"))]);
    }
    let documents: Vec<raw::File> = yaml::parse_all(file, text).map_err(|e| vec![e])?;
    let mut documents = documents.into_iter();
    let Some(first) = documents.next() else { return Ok(RuleFile::default()) };
    let mut checked = check::file(file, text, first, options)?;
    if documents.next().is_some() {
        checked.warnings.push(FileError::whole(file, "several YAML documents: only the first counts"));
    }
    Ok(checked)
}

/// Reads a rule file.
///
/// # Errors
/// As [`parse`], or the file cannot be read.
pub fn load(file: &Path, options: Options) -> Result<RuleFile, Vec<FileError>> {
    let text = std::fs::read_to_string(file).map_err(|e| vec![FileError::whole(file, e)])?;
    parse(file, &text, options)
}
