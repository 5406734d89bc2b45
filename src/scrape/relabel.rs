//! Relabelling: rules that rewrite or drop label sets, as Prometheus has them.

use std::fmt::Write as _;

use md5::{Digest as _, Md5};
use regex::Regex;
use serde::Deserialize;

use crate::model::yaml::{Error, Spanned};
use crate::model::{Labels, LabelsBuilder, is_legacy_label_name};

/// What a rule does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    Replace,
    Keep,
    Drop,
    KeepEqual,
    DropEqual,
    HashMod,
    LabelMap,
    LabelDrop,
    LabelKeep,
    Lowercase,
    Uppercase,
}

impl Action {
    /// The word in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Replace => "replace",
            Self::Keep => "keep",
            Self::Drop => "drop",
            Self::KeepEqual => "keepequal",
            Self::DropEqual => "dropequal",
            Self::HashMod => "hashmod",
            Self::LabelMap => "labelmap",
            Self::LabelDrop => "labeldrop",
            Self::LabelKeep => "labelkeep",
            Self::Lowercase => "lowercase",
            Self::Uppercase => "uppercase",
        }
    }

    fn parse(word: &str) -> Option<Self> {
        const ALL: [Action; 11] = [
            Action::Replace,
            Action::Keep,
            Action::Drop,
            Action::KeepEqual,
            Action::DropEqual,
            Action::HashMod,
            Action::LabelMap,
            Action::LabelDrop,
            Action::LabelKeep,
            Action::Lowercase,
            Action::Uppercase,
        ];
        ALL.into_iter().find(|a| a.as_str().eq_ignore_ascii_case(word))
    }
}

/// Which names are legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NameValidation {
    /// Any UTF-8 text that is not empty.
    #[default]
    Utf8,
    /// `[a-zA-Z_][a-zA-Z0-9_]*`, metric names also with `:`.
    Legacy,
}

impl NameValidation {
    pub fn is_label_name(self, name: &str) -> bool {
        match self {
            Self::Utf8 => !name.is_empty(),
            Self::Legacy => is_legacy_label_name(name),
        }
    }
}

/// A rule as it is written; every key may be left out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RelabelConfig {
    pub source_labels: Option<Vec<String>>,
    /// Default `;`.
    pub separator: Option<String>,
    pub target_label: Option<String>,
    /// Default `(.*)`. Anchored at both ends; `.` matches a newline too.
    pub regex: Option<String>,
    pub modulus: Option<u64>,
    /// Default `$1`.
    pub replacement: Option<String>,
    /// Default `replace`; in any case.
    pub action: Option<String>,
}

const ANY: &str = "(.*)";
const FIRST_GROUP: &str = "$1";

/// A checked and compiled rule.
#[derive(Debug, Clone)]
pub struct RelabelRule {
    written: RelabelConfig,
    names: NameValidation,
    action: Action,
    source_labels: Vec<String>,
    separator: String,
    target_label: String,
    regex: Regex,
    any: bool,
    modulus: u64,
    replacement: String,
}

impl PartialEq for RelabelRule {
    fn eq(&self, other: &Self) -> bool {
        (&self.written, self.names) == (&other.written, other.names)
    }
}

impl RelabelConfig {
    /// The same rule with every default written out (`modulus` only where it means something).
    #[must_use]
    pub fn with_defaults(&self) -> Self {
        let or =
            |value: &Option<String>, default: &str| Some(value.clone().unwrap_or_else(|| default.into()));
        Self {
            source_labels: self.source_labels.clone(),
            separator: or(&self.separator, ";"),
            target_label: self.target_label.clone(),
            regex: or(&self.regex, ANY),
            modulus: self.modulus,
            replacement: or(&self.replacement, FIRST_GROUP),
            action: Some(self.action.as_deref().unwrap_or("replace").to_lowercase()),
        }
    }

    /// As a YAML mapping, for showing the running configuration: JSON's strings are YAML's.
    pub fn to_yaml(&self) -> String {
        let mut out = String::new();
        if let Some(names) = &self.source_labels {
            let _ = writeln!(out, "source_labels: {}", serde_json::json!(names));
        }
        for (key, value) in [
            ("separator", &self.separator),
            ("target_label", &self.target_label),
            ("regex", &self.regex),
            ("replacement", &self.replacement),
            ("action", &self.action),
        ] {
            if let Some(value) = value {
                let _ = writeln!(out, "{key}: {}", serde_json::json!(value));
            }
        }
        if let Some(modulus) = self.modulus {
            let _ = writeln!(out, "modulus: {modulus}");
        }
        if out.is_empty() { "{}\n".into() } else { out }
    }

    /// Checks and compiles.
    ///
    /// # Errors
    /// A sentence in Prometheus' words.
    pub fn compile(&self, names: NameValidation) -> Result<RelabelRule, String> {
        let word = self.action.as_deref().unwrap_or("replace");
        if word.is_empty() {
            return Err("relabel action cannot be empty".into());
        }
        let action = Action::parse(word).ok_or_else(|| format!("unknown relabel action {word:?}"))?;
        let act = action.as_str();
        let pattern = self.regex.as_deref().unwrap_or(ANY);
        let regex = compile_anchored(pattern)?;
        let target = self.target_label.as_deref().unwrap_or_default();
        let replacement = self.replacement.as_deref().unwrap_or(FIRST_GROUP);
        let modulus = self.modulus.unwrap_or_default();
        let source_labels = self.source_labels.clone().unwrap_or_default();
        if let Some(bad) = source_labels.iter().find(|name| !names.is_label_name(name)) {
            return Err(format!("{bad:?} is not a valid label name"));
        }
        let other_separator = self.separator.as_deref().is_some_and(|s| s != ";");
        let other_replacement = replacement != FIRST_GROUP;
        if action == Action::HashMod && modulus == 0 {
            return Err("relabel configuration for hashmod requires non-zero modulus".into());
        }
        let writes = matches!(
            action,
            Action::Replace
                | Action::KeepEqual
                | Action::DropEqual
                | Action::HashMod
                | Action::Lowercase
                | Action::Uppercase
        );
        if writes && target.is_empty() {
            return Err(format!("relabel configuration for {act} action requires 'target_label' value"));
        }
        let target_fits = if action == Action::Replace {
            is_name_template(target, names)
        } else {
            !writes || names.is_label_name(target)
        };
        if !target_fits {
            return Err(format!("{target:?} is invalid 'target_label' for {act} action"));
        }
        match action {
            Action::KeepEqual | Action::DropEqual
                if pattern != ANY || modulus != 0 || other_separator || other_replacement =>
            {
                return Err(format!(
                    "{act} action requires only 'source_labels' and `target_label`, and no other fields"
                ));
            }
            Action::Lowercase | Action::Uppercase if other_replacement => {
                return Err(format!("'replacement' can not be set for {act} action"));
            }
            Action::LabelMap if !is_name_template(replacement, names) => {
                return Err(format!("{replacement:?} is invalid 'replacement' for {act} action"));
            }
            Action::LabelDrop | Action::LabelKeep => {
                let others = !source_labels.is_empty() || !target.is_empty() || modulus != 0;
                if others || other_separator || other_replacement {
                    return Err(format!("{act} action requires only 'regex', and no other fields"));
                }
            }
            _ => {}
        }
        Ok(RelabelRule {
            written: self.clone(),
            names,
            action,
            source_labels,
            separator: self.separator.clone().unwrap_or_else(|| ";".into()),
            target_label: target.to_owned(),
            regex,
            any: pattern == ANY,
            modulus,
            replacement: replacement.to_owned(),
        })
    }
}

/// Rules as they stand in a file, where an entry may be null.
pub type RelabelConfigs = Vec<Spanned<Option<RelabelConfig>>>;

/// Compiles a list; `what` is the list's name in errors.
///
/// # Errors
/// A sentence in Prometheus' words, at the place of the rule.
pub fn compile_all(
    rules: &[Spanned<Option<RelabelConfig>>],
    names: NameValidation,
    what: &str,
) -> Result<Vec<RelabelRule>, Error> {
    let compile = |rule: &Spanned<Option<RelabelConfig>>| match &rule.value {
        Some(written) => written.compile(names).map_err(|e| Error::at(rule.referenced, e)),
        None => Err(Error::at(rule.referenced, format_args!("empty or null {what} relabeling rule"))),
    };
    rules.iter().map(compile).collect()
}

fn compile_anchored(pattern: &str) -> Result<Regex, String> {
    crate::model::re2::compile_anchored(pattern, true)
        .map_err(|reason| format!("error parsing regexp: {reason}: `{pattern}`"))
}

/// Can this be the name of a label once its `$group`s are filled in?
pub fn is_name_template(template: &str, names: NameValidation) -> bool {
    if names == NameValidation::Utf8 {
        return !template.is_empty();
    }
    let bytes = template.as_bytes();
    let is_word = |b: &u8| b.is_ascii_alphanumeric() || *b == b'_';
    let mut i = 0;
    // A digit cannot come first, but may after a letter or a group.
    let mut digits_allowed = false;
    while i < bytes.len() {
        match bytes[i] {
            b'$' if bytes.get(i + 1) == Some(&b'{') => {
                let inside = bytes[i + 2..].iter().take_while(|b| is_word(b)).count();
                if inside == 0 || bytes.get(i + 2 + inside) != Some(&b'}') {
                    return false;
                }
                i += inside + 3;
            }
            b'$' => {
                let name = bytes[i + 1..].iter().take_while(|b| is_word(b)).count();
                if name == 0 {
                    return false;
                }
                i += name + 1;
            }
            b'0'..=b'9' if !digits_allowed => return false,
            ref b if is_word(b) => i += 1,
            _ => return false,
        }
        digits_allowed = true;
    }
    i > 0
}

/// Runs the rules over a label set; `None` when one of them drops it.
pub fn relabel(labels: &Labels, rules: &[RelabelRule]) -> Option<Labels> {
    if rules.is_empty() {
        return Some(labels.clone());
    }
    let mut builder = labels.to_builder();
    process(&mut builder, rules).then(|| builder.build())
}

/// Runs the rules over a builder; false when one of them drops it.
pub fn process(labels: &mut LabelsBuilder, rules: &[RelabelRule]) -> bool {
    rules.iter().all(|rule| rule.apply(labels))
}

impl RelabelRule {
    fn apply(&self, labels: &mut LabelsBuilder) -> bool {
        let mut value = String::new();
        for (i, name) in self.source_labels.iter().enumerate() {
            if i > 0 {
                value.push_str(&self.separator);
            }
            value.push_str(labels.get(name).unwrap_or_default());
        }
        match self.action {
            Action::Drop => return !self.regex.is_match(&value),
            Action::Keep => return self.regex.is_match(&value),
            Action::DropEqual => return labels.get(&self.target_label).unwrap_or_default() != value,
            Action::KeepEqual => return labels.get(&self.target_label).unwrap_or_default() == value,
            Action::Replace => self.replace(labels, &value),
            Action::Lowercase => {
                labels.set(&self.target_label, &value.to_lowercase());
            }
            Action::Uppercase => {
                labels.set(&self.target_label, &value.to_uppercase());
            }
            Action::HashMod => {
                let digest = Md5::digest(value.as_bytes());
                let last: [u8; 8] = std::array::from_fn(|i| digest[8 + i]);
                let bucket = u64::from_be_bytes(last) % self.modulus;
                labels.set(&self.target_label, &bucket.to_string());
            }
            Action::LabelMap => {
                let mapped: Vec<_> = labels
                    .iter()
                    .filter_map(|(name, value)| {
                        let groups = self.regex.captures(name)?;
                        let mut to = String::new();
                        groups.expand(&self.replacement, &mut to);
                        Some((to, value.to_owned()))
                    })
                    .collect();
                for (name, value) in mapped.iter().filter(|(name, _)| !name.is_empty()) {
                    labels.set(name, value);
                }
            }
            Action::LabelDrop => self.remove(labels, true),
            Action::LabelKeep => self.remove(labels, false),
        }
        true
    }

    fn replace(&self, labels: &mut LabelsBuilder, value: &str) {
        if self.any && value.is_empty() && !self.target_label.contains('$') && !self.replacement.contains('$')
        {
            labels.set(&self.target_label, &self.replacement);
            return;
        }
        let Some(groups) = self.regex.captures(value) else { return };
        let (mut target, mut result) = (String::new(), String::new());
        groups.expand(&self.target_label, &mut target);
        if !self.names.is_label_name(&target) {
            return;
        }
        groups.expand(&self.replacement, &mut result);
        labels.set(&target, &result);
    }

    fn remove(&self, labels: &mut LabelsBuilder, matching: bool) {
        let gone: Vec<String> = labels
            .iter()
            .map(|(name, _)| name)
            .filter(|name| self.regex.is_match(name) == matching)
            .map(str::to_owned)
            .collect();
        for name in gone {
            labels.remove(&name);
        }
    }
}
