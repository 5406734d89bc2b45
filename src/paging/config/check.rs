//! From the file to what runs: everything checked, everything resolved.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::callbacks::{self, Callbacks};
use super::file::{File, NamedIntervals};
use super::global::Global;
use super::people::{self, AckSettings, Heartbeat, Policy, Severities, User};
use super::receivers::Receiver;
use super::{reach, visit};
use crate::model::yaml::{self, FileError, Spanned};
use crate::model::{Duration, Secret, set};
use crate::paging::inhibit::InhibitRule;
use crate::paging::route::Route;
use crate::paging::schedule::Schedule;
use crate::paging::time_interval::TimeInterval;

/// The paging file, ready to be used.
#[derive(Debug)]
pub struct PagingConfig {
    /// Where it was read from; relative files in it are beside it.
    pub path: PathBuf,
    /// The file's text as it may be shown, set by whoever has read it.
    pub shown: String,
    pub resolve_timeout: Duration,
    pub route: Arc<Route>,
    pub receivers: BTreeMap<String, Receiver>,
    pub inhibit_rules: Vec<InhibitRule>,
    pub time_intervals: BTreeMap<String, Vec<TimeInterval>>,
    /// Patterns of template files.
    pub templates: Vec<PathBuf>,
    pub users: BTreeMap<String, User>,
    pub schedules: BTreeMap<String, Schedule>,
    pub policies: BTreeMap<String, Policy>,
    pub severities: Severities,
    pub heartbeat: Option<Heartbeat>,
    pub acknowledge: AckSettings,
    pub history: people::History,
    pub callbacks: Callbacks,
    /// Secrets of the section `global`, which integrations may have taken over or not.
    global_secrets: Vec<Secret>,
    /// What a person should know, though it runs.
    pub warnings: Vec<FileError>,
    /// What only a look at the flags can answer: a person who checks the file should know it.
    pub hints: Vec<FileError>,
    /// Receivers that a route or a step reaches and that cannot be sent to: warnings when checking, errors
    /// when running.
    pub unsendable: Vec<FileError>,
}

impl PagingConfig {
    /// Reads a file.
    ///
    /// # Errors
    /// Everything that is wrong in it, at least one error.
    pub fn load(path: &Path) -> Result<Self, Vec<FileError>> {
        let text = std::fs::read_to_string(path).map_err(|e| vec![FileError::whole(path, e)])?;
        Self::parse(path, &text)
    }

    /// Reads a file's text.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &Path, text: &str) -> Result<Self, Vec<FileError>> {
        let file: File = yaml::parse(path, text).map_err(|e| vec![e])?;
        Self::check(path, file)
    }

    /// Checks a file that has been read (as the section `paging:` of the main file).
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn check(path: &Path, file: File) -> Result<Self, Vec<FileError>> {
        let mut check = Check { path, errors: Vec::new(), warnings: Vec::new() };
        let made = check.all(file);
        match made {
            Some(config) if check.errors.is_empty() => Ok(Self { warnings: check.warnings, ..config }),
            _ => Err(check.errors),
        }
    }
}

impl PagingConfig {
    /// Everything in it that must not be shown.
    pub fn secrets(&self) -> impl Iterator<Item = &Secret> {
        let integrations = self.receivers.values().flat_map(|r| &r.integrations).flat_map(|i| &i.secrets);
        let callbacks = [&self.callbacks.pagerduty, &self.callbacks.slack];
        let callbacks = callbacks.into_iter().flatten().flat_map(|c| &c.secrets);
        let heartbeat = self.heartbeat.iter().flat_map(|h| &h.url);
        integrations.chain(callbacks).chain(heartbeat).chain(&self.global_secrets)
    }

    /// Receivers that are reached, and whose files (URLs, keys) are not there: a sentence that names them all.
    /// Looks at the disk.
    pub fn without_files(&self) -> Option<String> {
        reach::without_files(self)
    }

    /// A text without the secrets of this configuration.
    pub fn without_secrets(&self, text: &str) -> String {
        visit::without(text, self.secrets().map(Secret::expose))
    }
}

/// A check on its way: what it has found so far.
pub(super) struct Check<'a> {
    pub path: &'a Path,
    pub errors: Vec<FileError>,
    pub warnings: Vec<FileError>,
}

impl Check<'_> {
    pub fn whole(&mut self, message: impl std::fmt::Display) {
        self.errors.push(FileError::whole(self.path, message));
    }

    pub fn at<T>(&mut self, place: &Spanned<T>, message: impl std::fmt::Display) {
        self.errors.push(FileError::at(self.path, place, message));
    }

    fn all(&mut self, file: File) -> Option<PagingConfig> {
        let base = self.path.parent().unwrap_or(Path::new("")).to_owned();
        for (key, given) in
            [("tracing", file.tracing.is_some()), ("event_recorder", file.event_recorder.is_some())]
        {
            if given {
                self.warnings.push(FileError::whole(self.path, format!("{key} has no effect here")));
            }
        }
        let global: Option<Global> =
            file.global.as_ref().and_then(|raw| raw.read(self.path).map_err(|e| self.errors.push(e)).ok());
        let global = global.unwrap_or_default();
        for error in global.check() {
            self.whole(error);
        }
        let receivers = self.receivers(&file.receivers, &global);
        let time_intervals = self.intervals(&file);
        let mut errors = Vec::new();
        let names = set(receivers.keys().cloned());
        let people = people::people(&file, &names, &time_intervals, &mut |place, why| {
            errors.push(FileError::at(self.path, place, why));
        });
        self.errors.append(&mut errors);
        let mut inhibit_rules = Vec::new();
        for rule in &file.inhibit_rules {
            let r = &rule.value;
            for pairs in [&r.source_match, &r.source_match_re, &r.target_match, &r.target_match_re] {
                for name in pairs.keys() {
                    self.legacy_name(rule, name);
                }
            }
            if r.equal.iter().any(String::is_empty) {
                self.at(rule, "invalid label name \"\" in equal list");
            }
            self.nulls(rule, &rule.value.source_match_re);
            self.nulls(rule, &rule.value.target_match_re);
            for list in [&rule.value.source_matchers, &rule.value.target_matchers] {
                for warning in &list.warnings {
                    self.warnings.push(FileError::at(self.path, rule, warning));
                }
            }
            match rule.value.rule() {
                Ok(rule) => inhibit_rules.push(rule),
                Err(e) => self.at(rule, e),
            }
        }
        let Some(route) = &file.route else {
            self.whole("no routes provided");
            return None;
        };
        self.root(route);
        self.route(route, &route.value, &names, &time_intervals, &people.policies, 0);
        if !self.errors.is_empty() {
            return None;
        }
        let tree = Route::tree(&route.value).map_err(|e| self.at(route, e)).ok()?;
        let heartbeat = match &file.heartbeat {
            Some(h) => people::heartbeat(self.path, h, &base, global.http_config.as_ref())
                .map_err(|e| self.errors.push(e))
                .ok(),
            None => None,
        };
        let acknowledge = people::acknowledge(self.path, &file.acknowledge, &base)
            .map_err(|e| self.errors.push(e))
            .unwrap_or_default();
        let history =
            people::history(self.path, &file.history).map_err(|e| self.errors.push(e)).unwrap_or_default();
        let mut config = PagingConfig {
            path: self.path.to_owned(),
            shown: String::new(),
            resolve_timeout: global.resolve_timeout.unwrap_or(Duration::from_secs(300)),
            route: tree,
            receivers,
            inhibit_rules,
            time_intervals,
            templates: file.templates.iter().map(|t| base.join(t)).collect(),
            severities: people::severities(&file),
            users: people.users,
            schedules: people.schedules,
            policies: people.policies,
            heartbeat,
            acknowledge,
            history,
            callbacks: callbacks::callbacks(self.path, &file.callbacks, &base, &mut self.errors),
            global_secrets: global.secrets(),
            warnings: Vec::new(),
            hints: Vec::new(),
            unsendable: Vec::new(),
        };
        let reached = reach::reached(&config);
        config.unsendable = reach::unsendable(self.path, &config, &reached);
        self.warnings.extend(reach::callbacks(self.path, &config, &reached));
        config.hints = reach::links(self.path, &config, &reached);
        Some(config)
    }

    fn intervals(&mut self, file: &File) -> BTreeMap<String, Vec<TimeInterval>> {
        let mut out = BTreeMap::new();
        let all =
            [("mute time interval", &file.mute_time_intervals), ("time interval", &file.time_intervals)];
        for (word, list) in all {
            for entry in list {
                let NamedIntervals { name, time_intervals } = &entry.value;
                match name.as_deref() {
                    None | Some("") => self.at(entry, format!("missing name in {word}")),
                    Some(name) => {
                        if out.insert(name.to_owned(), time_intervals.clone()).is_some() {
                            self.at(entry, format!("{word} {name:?} is not unique"));
                        }
                    }
                }
            }
        }
        out
    }
}
