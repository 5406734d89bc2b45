//! From the keys of a file to rules; everything that is wrong is collected.

use std::collections::HashSet;
use std::fmt::Display;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;

use crate::model::yaml::{FileError, Spanned};
use crate::model::{
    Duration, Labels, METRIC_NAME, Order as _, is_legacy_label_name, is_legacy_metric_name, parse_float,
};
use crate::promql::{self, Expr};
use crate::sigma;
use crate::template::{Dialect, Template, TemplateError};

use super::raw::{self, Pairs, Text};
use super::{
    ALERTING_VARIABLES, AlertingSpec, GroupSpec, Names, Options, RuleFile, RuleKind, RuleSpec,
    SIGMA_VARIABLES, SigmaSpec, Templates,
};

pub(super) fn file(
    file: &Path,
    text: &str,
    raw: raw::File,
    options: Options,
) -> Result<RuleFile, Vec<FileError>> {
    let mut check = Check { file, text, options, errors: Vec::new() };
    check.keys("rulefmt.RuleGroups", &raw.unknown, &raw.repeated);
    let mut groups = Vec::new();
    let mut names = HashSet::new();
    for group in raw.groups.unwrap_or_default() {
        if let Some(name) = &group.value.name
            && !name.value.is_empty()
            && !names.insert(name.value.clone())
        {
            check.at(name, format!("groupname: {:?} is repeated in the same file", name.value));
        }
        groups.extend(check.group(group));
    }
    if check.errors.is_empty() {
        Ok(RuleFile { groups, warnings: Vec::new() })
    } else {
        check.errors.order_by_key(|e| (e.line, e.column));
        Err(check.errors)
    }
}

struct Check<'a> {
    file: &'a Path,
    text: &'a str,
    options: Options,
    errors: Vec<FileError>,
}

impl Check<'_> {
    fn at<T>(&mut self, place: &Spanned<T>, message: impl Display) {
        self.errors.push(FileError::at(self.file, place, message));
    }

    /// Complains of keys that are unknown or there twice.
    fn keys(&mut self, owner: &str, unknown: &[Text], repeated: &[Text]) {
        for key in repeated {
            self.at(key, format!("key {:?} is there twice in {owner}", key.value));
        }
        if !self.options.ignore_unknown_fields {
            for key in unknown {
                self.at(key, format!("field {} not found in type {owner}", key.value));
            }
        }
    }

    /// A value of a kind that is read from text; absent when it is left out or wrong.
    fn read<T: FromStr>(&mut self, text: Option<&Text>) -> Option<T>
    where
        T::Err: Display,
    {
        let text = text?;
        match text.value.parse() {
            Ok(value) => Some(value),
            Err(e) => {
                self.at(text, e);
                None
            }
        }
    }

    fn float(&mut self, text: Option<&Text>) -> Option<f64> {
        let text = text?;
        let value = parse_float(&text.value);
        if value.is_none() {
            self.at(text, format!("{:?} is no number", text.value));
        }
        value
    }

    fn group(&mut self, raw: Spanned<raw::Group>) -> Option<GroupSpec> {
        let Spanned { value: group, referenced, defined } = raw;
        let place = Spanned::new((), referenced, defined);
        self.keys("rulefmt.RuleGroup", &group.unknown, &group.repeated);
        match &group.name {
            None => self.at(&place, "Groupname must not be empty"),
            Some(name) if name.value.is_empty() => self.at(name, "Groupname must not be empty"),
            Some(_) => {}
        }
        let interval: Option<Duration> = self.read(group.interval.as_ref());
        let query_offset = self.read(group.query_offset.as_ref());
        let limit = group.limit.as_ref().and_then(|text| {
            let limit = text.value.parse::<usize>().ok();
            if limit.is_none() {
                self.at(text, format!("limit: {:?} is no whole number from 0 upwards", text.value));
            }
            limit
        });
        let labels = self.label_names(group.labels.as_ref());
        let rules: Vec<Arc<RuleSpec>> = group
            .rules
            .unwrap_or_default()
            .into_iter()
            .filter_map(|r| self.rule(r, &labels))
            .map(Arc::new)
            .collect();
        let name = group.name?;
        Some(GroupSpec {
            file: self.file.to_owned(),
            line: name.referenced.line(),
            name: name.value,
            // As in Prometheus, 0 is as good as nothing.
            interval: interval.filter(|i| !i.is_zero()),
            query_offset,
            limit: limit.unwrap_or_default(),
            rules,
        })
    }

    fn rule(&mut self, raw: Spanned<raw::Rule>, group_labels: &Labels) -> Option<RuleSpec> {
        let Spanned { value: rule, referenced, defined } = raw;
        let place = Spanned::new((), referenced, defined);
        self.keys("rulefmt.Rule", &rule.unknown, &rule.repeated);
        let before = self.errors.len();
        let is_set = |text: &Option<Text>| text.as_ref().is_some_and(|t| !t.value.is_empty());
        let sigma = is_set(&rule.sigma);
        let name = match (is_set(&rule.record), is_set(&rule.alert), sigma) {
            (true, true, _) => {
                self.at(&place, "only one of 'record' and 'alert' must be set");
                None
            }
            (_, true, true) => {
                self.at(&place, "only one of 'sigma' and 'alert' must be set");
                None
            }
            (_, _, true) => rule.sigma.clone(),
            (true, ..) => rule.record.clone(),
            (_, true, _) => rule.alert.clone(),
            (false, false, false) => {
                self.at(&place, "one of 'record', 'alert' or 'sigma' must be set");
                None
            }
        };
        if !sigma {
            self.only_in_sigma_rules(&rule);
        }
        let expr = self.expr(&place, rule.expr.as_ref());
        let own = self.label_names(rule.labels.as_ref());
        let mut labels = group_labels.to_builder();
        for (n, v) in own.iter() {
            labels.set(n, v);
        }
        let labels = labels.build();
        let hold: Option<Duration> = self.read(rule.hold.as_ref());
        let keep_firing_for: Option<Duration> = self.read(rule.keep_firing_for.as_ref());
        let annotations = self.annotation_names(rule.annotations.as_ref());
        let kind = if sigma {
            self.sigma(&place, &rule, &labels, annotations, keep_firing_for)
                .map(|s| RuleKind::Sigma(Box::new(s)))
        } else if is_set(&rule.record) {
            self.recording(&rule, hold, keep_firing_for);
            Some(RuleKind::Recording)
        } else {
            let templates = self.templates(&rule, &labels, &ALERTING_VARIABLES);
            Some(RuleKind::Alerting(AlertingSpec {
                hold: hold.unwrap_or_default(),
                keep_firing_for: keep_firing_for.unwrap_or_default(),
                annotations,
                templates,
            }))
        };
        if self.errors.len() > before {
            return None;
        }
        let name = name?;
        Some(RuleSpec {
            line: name.referenced.line(),
            column: name.referenced.column(),
            name: name.value,
            expr: expr?,
            labels,
            kind: kind?,
        })
    }

    fn only_in_sigma_rules(&mut self, rule: &raw::Rule) {
        let texts = [
            ("direction", &rule.direction),
            ("min_deviation", &rule.min_deviation),
            ("clear_sigma", &rule.clear_sigma),
            ("page_budget", &rule.page_budget),
            ("judge", &rule.judge),
        ];
        for (key, text) in texts {
            if let Some(text) = text {
                self.at(text, format!("invalid field '{key}': only sigma rules have it"));
            }
        }
        if let Some(baseline) = &rule.baseline {
            self.at(baseline, "invalid field 'baseline': only sigma rules have it");
        }
        if let Some(bands) = &rule.bands {
            self.at(bands, "invalid field 'bands': only sigma rules have it");
        }
        if let Some(after) = &rule.after_page {
            self.at(after, "invalid field 'after_page': only sigma rules have it");
        }
    }

    fn recording(&mut self, rule: &raw::Rule, hold: Option<Duration>, keep_firing_for: Option<Duration>) {
        if let Some(annotations) = &rule.annotations
            && let Some((first, _)) = annotations.0.first()
        {
            self.at(first, "invalid field 'annotations' in recording rule");
        }
        if let (Some(text), Some(d)) = (&rule.hold, hold)
            && !d.is_zero()
        {
            self.at(text, "invalid field 'for' in recording rule");
        }
        if let (Some(text), Some(d)) = (&rule.keep_firing_for, keep_firing_for)
            && !d.is_zero()
        {
            self.at(text, "invalid field 'keep_firing_for' in recording rule");
        }
        let Some(name) = &rule.record else { return };
        if self.options.names == Names::Legacy && !is_legacy_metric_name(&name.value) {
            self.at(name, format!("invalid recording rule name: {}", name.value));
        } else if name.value.contains(['{', '}']) {
            let message =
                format!("braces present in the recording rule name; should it be in expr?: {}", name.value);
            self.at(name, message);
        }
    }

    /// The labels of a rule or group, if their names are valid.
    fn label_names(&mut self, pairs: Option<&Pairs>) -> Labels {
        let pairs = pairs.map_or(&[][..], |p| &p.0);
        for (name, _) in pairs {
            let valid = match self.options.names {
                Names::Utf8 => !name.value.is_empty(),
                Names::Legacy => is_legacy_label_name(&name.value),
            };
            if !valid || name.value == METRIC_NAME {
                self.at(name, format!("invalid label name: {}", name.value));
            }
        }
        self.twice(pairs);
        Labels::from_pairs(pairs.iter().map(|(n, v)| (&n.value, &v.value)))
    }

    fn annotation_names(&mut self, pairs: Option<&Pairs>) -> Labels {
        let pairs = pairs.map_or(&[][..], |p| &p.0);
        for (name, _) in pairs {
            let valid = match self.options.names {
                Names::Utf8 => !name.value.is_empty(),
                Names::Legacy => is_legacy_label_name(&name.value),
            };
            if !valid {
                self.at(name, format!("invalid annotation name: {}", name.value));
            }
        }
        self.twice(pairs);
        Labels::from_pairs(pairs.iter().map(|(n, v)| (&n.value, &v.value)))
    }

    fn twice(&mut self, pairs: &[(Text, Text)]) {
        for (i, (name, _)) in pairs.iter().enumerate() {
            if pairs[..i].iter().any(|(n, _)| n.value == name.value) {
                self.at(name, format!("{:?} is there twice", name.value));
            }
        }
    }

    fn expr<T>(&mut self, rule: &Spanned<T>, text: Option<&Text>) -> Option<Expr> {
        let Some(text) = text.filter(|t| !t.value.is_empty()) else {
            self.at(rule, "field 'expr' must be set in rule");
            return None;
        };
        match promql::parse(&text.value) {
            Ok(expr) => Some(expr),
            Err(errors) => {
                for e in errors.iter() {
                    let (line, column) = self.inside(text, e.line, e.column);
                    self.errors.push(FileError {
                        file: self.file.to_owned(),
                        line,
                        column,
                        message: format!("could not parse expression: {e}"),
                    });
                }
                None
            }
        }
    }

    /// Where a line and column of a text stand in the file.
    fn inside(&self, text: &Text, line: usize, column: usize) -> (u64, u64) {
        // An alias points at the anchor's text.
        let start = &text.defined;
        let (line, column) = (line as u64, column as u64);
        let from = |n: u64| self.text.lines().nth(usize::try_from(n).unwrap_or(usize::MAX).wrapping_sub(1));
        // The place of a block is its first line of text; the mark stands on a line above.
        let above =
            from(start.line().saturating_sub(1)).unwrap_or_default().trim_end().trim_end_matches(['+', '-']);
        if above.ends_with('|') {
            return (start.line() + line - 1, start.column() + column - 1);
        }
        let first = from(start.line()).unwrap_or_default();
        let skip = usize::try_from(start.column()).unwrap_or(1).saturating_sub(1);
        match first.chars().nth(skip) {
            Some('"' | '\'') if line == 1 => (start.line(), start.column() + column),
            _ if line == 1 => (start.line(), start.column() + column - 1),
            _ => (start.line(), start.column()),
        }
    }

    /// The templates of labels (those of the group too) and annotations.
    fn templates(&mut self, rule: &raw::Rule, labels: &Labels, variables: &[&str]) -> Templates {
        let mut out = Templates::default();
        let name = rule.alert.as_ref().or(rule.sigma.as_ref()).map_or("", |n| n.value.as_str());
        let called = format!("__alert_{name}");
        let own = rule.labels.as_ref().map_or(&[][..], |p| &p.0);
        let annotations = rule.annotations.as_ref().map_or(&[][..], |p| &p.0);
        let mut checked: Vec<&str> = Vec::new();
        for (n, text) in own {
            checked.push(&n.value);
            if let Some(template) = self.template(&called, "label", n, text, variables) {
                out.labels.push((n.value.clone(), template));
            }
        }
        for (n, text) in labels.iter().filter(|(n, _)| !checked.contains(n)) {
            match Template::parse(Dialect::Prometheus, &called, text, variables) {
                Ok(template) => out.labels.push((n.to_owned(), template)),
                Err(e) => self.errors.push(FileError::whole(self.file, format!("group label {n:?}: {e}"))),
            }
        }
        for (n, text) in annotations {
            if let Some(template) = self.template(&called, "annotation", n, text, variables) {
                out.annotations.push((n.value.clone(), template));
            }
        }
        out.labels.order_by(|a, b| a.0.cmp(&b.0));
        out.annotations.order_by(|a, b| a.0.cmp(&b.0));
        out
    }

    fn template(
        &mut self,
        called: &str,
        what: &str,
        name: &Text,
        text: &Text,
        variables: &[&str],
    ) -> Option<Template> {
        match Template::parse(Dialect::Prometheus, called, &text.value, variables) {
            Ok(template) => Some(template),
            Err(e) => {
                let (line, column) = match &e {
                    TemplateError::Parse { line, column, .. } => self.inside(text, *line, *column),
                    TemplateError::Run(_) => (text.referenced.line(), text.referenced.column()),
                };
                let message = format!("{what} {:?}: {e}", name.value);
                self.errors.push(FileError { file: self.file.to_owned(), line, column, message });
                None
            }
        }
    }

    fn sigma<T>(
        &mut self,
        place: &Spanned<T>,
        rule: &raw::Rule,
        labels: &Labels,
        annotations: Labels,
        keep_firing_for: Option<Duration>,
    ) -> Option<SigmaSpec> {
        if let Some(hold) = &rule.hold {
            self.at(hold, "invalid field 'for' in sigma rule: each band has its own");
        }
        let before = self.errors.len();
        let mut config = self.sigma_config(place, rule, keep_firing_for);
        let templates = self.templates(rule, labels, &SIGMA_VARIABLES);
        if self.errors.len() > before {
            return None;
        }
        let identity = format!("{config:?}");
        let bands = config.bands.iter().map(|b| Labels::from_pairs(&b.labels)).collect();
        for (i, band) in config.bands.iter().enumerate() {
            for name in band.labels.keys().filter(|n| n.is_empty() || *n == METRIC_NAME) {
                self.at(place, format!("invalid label name: {name} (bands[{i}])"));
            }
        }
        // Bands that say nothing of their severity have the rule's: the detector needs to know which of them page.
        if let Some(severity) = labels.get("severity") {
            for band in &mut config.bands {
                band.labels.entry("severity".to_owned()).or_insert_with(|| severity.to_owned());
            }
        }
        match sigma::Detector::new(config) {
            Ok(detector) => Some(SigmaSpec { detector, annotations, templates, bands, identity }),
            Err(errors) => {
                for e in errors {
                    self.sigma_error(place, rule, &e);
                }
                None
            }
        }
    }

    fn sigma_config<T>(
        &mut self,
        place: &Spanned<T>,
        rule: &raw::Rule,
        keep_firing_for: Option<Duration>,
    ) -> sigma::Config {
        if rule.bands.is_none() {
            self.at(place, "field 'bands' must be set in sigma rule");
        }
        let direction = match rule.direction.as_ref().map(|t| (t, t.value.as_str())) {
            None | Some((_, "above")) => sigma::Direction::Above,
            Some((_, "below")) => sigma::Direction::Below,
            Some((_, "both")) => sigma::Direction::Both,
            Some((text, other)) => {
                self.at(text, format!("direction: want above, below or both, not {other:?}"));
                sigma::Direction::Above
            }
        };
        let record = match rule.record.as_ref().map(|t| (t, t.value.as_str())) {
            None | Some((_, "zscore")) => sigma::Record::Zscore,
            Some((_, "all")) => sigma::Record::All,
            Some((_, "none")) => sigma::Record::None,
            Some((text, other)) => {
                self.at(text, format!("record: in a sigma rule want all, zscore or none, not {other:?}"));
                sigma::Record::Zscore
            }
        };
        sigma::Config {
            baseline: rule.baseline.as_ref().map(|b| b.value.clone()).unwrap_or_default(),
            direction,
            min_deviation: self.float(rule.min_deviation.as_ref()).unwrap_or_default(),
            bands: rule
                .bands
                .as_ref()
                .map(|b| b.value.iter().map(|b| b.value.clone()).collect())
                .unwrap_or_default(),
            clear_sigma: self.float(rule.clear_sigma.as_ref()).unwrap_or(0.5),
            keep_firing_for: keep_firing_for.unwrap_or_default(),
            page_budget: self.read(rule.page_budget.as_ref()),
            record,
            judge: self.read(rule.judge.as_ref()).unwrap_or_default(),
            after_page: rule.after_page.as_ref().map(|a| a.value).unwrap_or_default(),
        }
    }

    /// Points at the key that a sigma error names, as closely as the places that were kept allow.
    fn sigma_error<T>(&mut self, place: &Spanned<T>, rule: &raw::Rule, e: &sigma::ConfigError) {
        let key = e.key.as_str();
        let texts = [
            ("min_deviation", &rule.min_deviation),
            ("clear_sigma", &rule.clear_sigma),
            ("judge", &rule.judge),
            ("keep_firing_for", &rule.keep_firing_for),
        ];
        if let Some((_, Some(text))) = texts.iter().find(|(k, _)| *k == key) {
            return self.at(text, e);
        }
        if let (true, Some(baseline)) = (key.starts_with("baseline"), &rule.baseline) {
            return self.at(baseline, e);
        }
        if let (true, Some(after)) = (key.starts_with("after_page"), &rule.after_page) {
            return self.at(after, e);
        }
        if let (Some(rest), Some(bands)) = (key.strip_prefix("bands"), &rule.bands) {
            let index = rest
                .strip_prefix('[')
                .and_then(|r| r.split(']').next())
                .and_then(|i| i.parse::<usize>().ok());
            match index.and_then(|i| bands.value.get(i)) {
                Some(band) => self.at(band, e),
                None => self.at(bands, e),
            }
            return;
        }
        self.at(place, e);
    }
}
