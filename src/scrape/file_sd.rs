//! `file_sd_configs`: targets in JSON and YAML files that are looked at again and again.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use serde::Deserialize;

use super::metrics::ScrapeMetrics;
use super::target_group::TargetGroup;
use crate::model::{Duration, Glob, Order as _, yaml};

/// One entry of `file_sd_configs`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileSdConfig {
    /// Paths; the last part may hold `*` and `?`.
    #[serde(default)]
    pub files: Vec<String>,
    /// How often files are read even when they seem unchanged; default 5 minutes.
    #[serde(default)]
    pub refresh_interval: Option<Duration>,
}

/// The largest file that is read.
const LARGEST: u64 = 16 << 20;

fn is_known_ending(name: &str) -> bool {
    let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
    matches!(extension, "json" | "yml" | "yaml" | "JSON" | "YML" | "YAML")
}

impl FileSdConfig {
    /// # Errors
    /// A sentence in Prometheus' words.
    pub fn validate(&self) -> Result<(), String> {
        if self.files.is_empty() {
            return Err("file service discovery config must contain at least one path name".into());
        }
        for file in &self.files {
            let (before, last) = file.rsplit_once('/').unwrap_or(("", file));
            if !is_known_ending(last) || before.contains('*') {
                return Err(format!("path name {file:?} is not valid for file discovery"));
            }
            if Glob::new(last).is_none() {
                return Err(format!("syntax error in pattern {file:?}"));
            }
        }
        Ok(())
    }

    /// How often files are read.
    pub fn refresh_interval(&self) -> Duration {
        self.refresh_interval.filter(|d| !d.is_zero()).unwrap_or(Duration::from_secs(300))
    }
}

/// What the files of one job said last.
#[derive(Debug)]
pub struct FileDiscovery {
    configs: Vec<FileSdConfig>,
    base_dir: PathBuf,
    files: BTreeMap<PathBuf, Known>,
}

#[derive(Debug)]
struct Known {
    stamp: Option<(SystemTime, u64)>,
    groups: Vec<TargetGroup>,
}

impl FileDiscovery {
    /// Nothing is read yet. Paths are relative to `base_dir`.
    pub fn new(configs: &[FileSdConfig], base_dir: &Path) -> Self {
        Self { configs: configs.to_vec(), base_dir: base_dir.to_owned(), files: BTreeMap::new() }
    }

    /// Looks at the files again, and reads those whose time or size changed (`all`: every one). True when
    /// a group changed. A file that cannot be read keeps its old targets; one that is gone loses them.
    pub fn refresh(&mut self, all: bool, metrics: &ScrapeMetrics) -> bool {
        let mut paths = Vec::new();
        for pattern in self.configs.iter().flat_map(|c| &c.files) {
            matching_files(&self.base_dir.join(pattern), &mut paths);
        }
        let before = self.files.len();
        self.files.retain(|path, _| paths.contains(path));
        let mut changed = self.files.len() != before;
        for path in paths {
            let stamp = std::fs::metadata(&path).and_then(|m| Ok((m.modified()?, m.len()))).ok();
            let known = self.files.get(&path);
            if !all && known.is_some_and(|k| k.stamp == stamp) {
                continue;
            }
            match read(&path) {
                Ok(groups) => {
                    changed |= known.is_none_or(|k| k.groups != groups);
                    self.files.insert(path, Known { stamp, groups });
                }
                Err(error) => {
                    metrics.file_sd_read_errors.inc();
                    tracing::error!(file = %path.display(), %error, "targets of the file stay as they were");
                    if let Some(known) = self.files.get_mut(&path) {
                        known.stamp = stamp;
                    }
                }
            }
        }
        changed
    }

    /// The groups, each with the file that it came from as `__meta_filepath`.
    pub fn groups(&self) -> Vec<TargetGroup> {
        let mut all = Vec::new();
        for (path, known) in &self.files {
            for group in &known.groups {
                let mut group = group.clone();
                let path = path.display().to_string();
                group.labels.get_or_insert_default().insert("__meta_filepath".into(), path);
                all.push(group);
            }
        }
        all
    }
}

/// Reads a file of targets.
///
/// # Errors
/// The name has another ending than .json, .yml or .yaml, or the file cannot be read, with the place.
pub fn read(path: &Path) -> Result<Vec<TargetGroup>, String> {
    if !is_known_ending(&path.to_string_lossy()) {
        return Err("the file's name must end in .json, .yml or .yaml".into());
    }
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > LARGEST {
        return Err(format!("larger than {LARGEST} bytes"));
    }
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let json = path.extension().is_some_and(|e| e.eq_ignore_ascii_case("json"));
    let groups: Vec<Option<TargetGroup>> = if json {
        serde_json::from_str(&text).map_err(|e| e.to_string())?
    } else if text.trim().is_empty() {
        Vec::new()
    } else {
        yaml::parse(path, &text).map_err(|e| e.to_string())?
    };
    let mut out = Vec::with_capacity(groups.len());
    for (i, group) in groups.into_iter().enumerate() {
        let group = group.ok_or_else(|| format!("nil target group item found (index {i})"))?;
        // An address is judged when rules have made of it what is scraped: a probe's targets are URLs here.
        group.validate_labels()?;
        out.push(group);
    }
    Ok(out)
}

/// The files that a path with a pattern in its last part stands for.
fn matching_files(pattern: &Path, out: &mut Vec<PathBuf>) {
    let (Some(dir), Some(last)) = (pattern.parent(), pattern.file_name().and_then(|n| n.to_str())) else {
        return;
    };
    if !last.contains(['*', '?', '[']) {
        if pattern.is_file() && !out.iter().any(|p| p == pattern) {
            out.push(pattern.to_owned());
        }
        return;
    }
    let Some(glob) = Glob::new(last) else { return };
    // A name without a directory is one of the working directory.
    let dir = if dir.as_os_str().is_empty() { Path::new(".") } else { dir };
    let mut found: Vec<PathBuf> = std::fs::read_dir(dir)
        .into_iter()
        .flatten()
        .filter_map(|entry| Some(pattern.with_file_name(entry.ok()?.file_name())))
        .filter(|path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| glob.fits(n)))
        .filter(|path| path.is_file())
        .collect();
    found.order();
    for path in found {
        if !out.contains(&path) {
            out.push(path);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_the_working_directory_are_found() {
        for (pattern, found) in
            [("Cargo.tom?", 1), ("[^A-B]argo.toml", 1), ("Cargo.toml", 1), ("none-*.json", 0)]
        {
            let mut out = Vec::new();
            matching_files(Path::new(pattern), &mut out);
            assert_eq!(out.len(), found, "{pattern}");
            // Under one name, however it was found: two would be two groups.
            assert!(out.iter().all(|path| path.as_os_str() == "Cargo.toml"), "{pattern}: {out:?}");
        }
    }

    #[test]
    fn addresses_of_probes_are_urls() {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [
            ("a.yml", "- targets: ['https://me@example.com/x', a:1]\n  labels: {env: }\n"),
            ("a.json", r#"[{"targets": ["https://me@example.com/x", "a:1"], "labels": {"env": null}}]"#),
        ] {
            let path = dir.path().join(name);
            std::fs::write(&path, text).unwrap();
            let groups = read(&path).unwrap();
            assert_eq!(groups[0].targets, ["https://me@example.com/x", "a:1"], "{name}");
            assert_eq!(groups[0].labels.as_ref().unwrap()["env"], "", "{name}");
        }
    }

    #[test]
    fn path_names_are_checked() {
        let config = |file: &str| FileSdConfig { files: vec![file.into()], refresh_interval: None };
        for ok in ["a.yml", "/x/*.json", "x/a*b.YAML"] {
            assert!(config(ok).validate().is_ok(), "{ok}");
        }
        for bad in ["a.txt", "*/a.yml", "yml", "", "a[.yml", "[].json"] {
            assert!(config(bad).validate().is_err(), "{bad}");
        }
    }
}
