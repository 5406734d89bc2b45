//! Which kind of file somebody hands over: people have an `alertmanager.yml` and rule files before they have a `sideband.yml`.

use std::path::Path;

use crate::model::yaml::{self, FileError};

/// What a file is, by the keys of its top level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FileKind {
    /// A configuration: `prometheus.yml`, `sideband.yml`, and whatever is none of the others.
    Main,
    /// An `alertmanager.yml`, or ours with more keys.
    Paging,
    /// Rule groups.
    Rules,
    /// Unit tests of rules.
    RuleTests,
}

/// Keys that only a paging file has. `global` is in both, and `templates` alone is none yet.
const PAGING: [&str; 10] = [
    "route",
    "receivers",
    "inhibit_rules",
    "mute_time_intervals",
    "time_intervals",
    "users",
    "on_call_schedules",
    "escalation_policies",
    "callbacks",
    "acknowledge",
];
/// Keys that only a main file has: with one of them it is one, and the others are mistakes in it.
const MAIN: [&str; 10] = [
    "scrape_configs",
    "scrape_config_files",
    "alerting",
    "remote_write",
    "remote_read",
    "storage",
    "host",
    "paging",
    "paging_file",
    "rules",
];

impl FileKind {
    /// What a text is; also of one that is no YAML, as well as it can be told.
    pub fn of(text: &str) -> Self {
        let keys = yaml::top_keys(text);
        let has = |names: &[&str]| keys.iter().any(|k| names.contains(&k.as_str()));
        if has(&MAIN) {
            Self::Main
        } else if has(&PAGING) {
            Self::Paging
        } else if has(&["groups"]) {
            Self::Rules
        } else if has(&["tests"]) {
            Self::RuleTests
        } else {
            Self::Main
        }
    }

    /// Why it is no main configuration, and what to do with it instead.
    pub(super) fn is_no_configuration(self, path: &Path) -> Option<FileError> {
        let file = path.display();
        let why = match self {
            Self::Main => return None,
            Self::Paging => {
                let name = path.file_name().unwrap_or_default().display();
                format!("this is a paging file: a configuration names it (paging_file: {name})")
            }
            Self::Rules => format!(
                "this is a rule file: `sideband check rules {file}` checks it, and a configuration names it under rule_files"
            ),
            Self::RuleTests => {
                format!("these are unit tests of rules: `sideband test rules {file}` runs them")
            }
        };
        Some(FileError::whole(path, why))
    }
}

#[cfg(test)]
mod tests {
    use super::FileKind::{self, *};

    #[test]
    fn a_file_is_known_by_its_top_level() {
        for (text, kind) in [
            ("", Main),
            ("global: {}", Main),
            ("global: [", Main),
            ("global: {smtp_from: a@b}\nroute: {receiver: a}\nreceivers: [{name: a}]", Paging),
            ("'receivers': [{name: a}]", Paging),
            ("{\"route\": {\"receiver\": \"a\"}, \"receivers\": [{\"name\": \"a\"}]}", Paging),
            ("# route of it\n  \nroute:\n  receiver: [\n", Paging),
            ("scrape_configs: []\nroute: {}", Main),
            ("paging:\n  route: {receiver: a}", Main),
            ("paging_file: a.yml", Main),
            ("text: |\n  route:\n", Main),
            ("groups:\n  - name: a\n", Rules),
            ("groups: [\n", Rules),
            ("rule_files: [a.yml]\nevaluation_interval: 1m\ntests: []", RuleTests),
            ("rule_files: [a.yml]", Main),
            ("[route, receivers]", Main),
            ("---\n---\nroute: {}", Main),
        ] {
            assert_eq!(FileKind::of(text), kind, "{text:?}");
        }
    }
}
