//! The files that ship: rules that page say what is wrong and lead to a runbook that exists, copies stay copies.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sideband::model::yaml;

const RUNBOOKS: &str = "https://github.com/sideband/sideband/blob/main/docs/runbooks/";

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// Every rule of `rules/*.yml`, with the name of its file.
fn rules() -> Vec<(String, Value)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(root().join("rules")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "yml") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let file: Value = yaml::parse(&path, &fs::read_to_string(&path).unwrap()).unwrap();
        for group in file["groups"].as_array().unwrap() {
            found.extend(group["rules"].as_array().unwrap().iter().map(|r| (name.clone(), r.clone())));
        }
    }
    found
}

fn name_of(rule: &Value) -> &str {
    ["alert", "sigma", "record"].iter().find_map(|kind| rule[kind].as_str()).unwrap()
}

fn severities(rule: &Value) -> Vec<&str> {
    let bands = rule["bands"].as_array().into_iter().flatten().map(|b| &b["labels"]);
    bands.chain([&rule["labels"]]).filter_map(|l| l["severity"].as_str()).collect()
}

#[test]
fn what_alerts_has_a_severity_and_a_summary_and_what_pages_a_runbook() {
    let mut linked = BTreeSet::new();
    let mut names = BTreeSet::new();
    for (file, rule) in rules() {
        let name = name_of(&rule).to_owned();
        if !rule["alert"].is_string() && !rule["sigma"].is_string() {
            continue;
        }
        assert!(names.insert(name.clone()), "{file}: {name} is there twice");
        let severities = severities(&rule);
        assert!(!severities.is_empty(), "{file}: {name} has no severity");
        assert!(severities.iter().all(|s| ["page", "ticket"].contains(s)), "{file}: {name}: {severities:?}");
        assert!(rule["annotations"]["summary"].is_string(), "{file}: {name} has no summary");
        match rule["annotations"]["runbook_url"].as_str() {
            Some(url) => {
                let page = url.strip_prefix(RUNBOOKS).unwrap_or_else(|| panic!("{file}: {name}: {url}"));
                let text = read(&format!("docs/runbooks/{page}"));
                let heading = text.lines().next().unwrap_or_default();
                assert!(heading.contains(&name), "docs/runbooks/{page} does not name {name}: {heading}");
                linked.insert(page.to_owned());
            }
            None => assert!(!severities.contains(&"page"), "{file}: {name} pages without a runbook"),
        }
    }
    let index = read("docs/runbooks/README.md");
    for entry in fs::read_dir(root().join("docs/runbooks")).unwrap() {
        let page = entry.unwrap().file_name().to_string_lossy().into_owned();
        if page != "README.md" {
            assert!(linked.contains(&page), "no rule leads to docs/runbooks/{page}");
            assert!(index.contains(&format!("({page})")), "docs/runbooks/README.md does not list {page}");
        }
    }
}

#[test]
fn every_expression_can_be_parsed() {
    for (file, rule) in rules() {
        let expr = rule["expr"].as_str().unwrap();
        if let Err(errors) = sideband::promql::parse(expr) {
            panic!("{file}: {}: {errors}", name_of(&rule));
        }
    }
}

#[test]
fn sigma_rules_have_bands_that_can_be_judged() {
    let keys = ["baseline", "bands", "direction", "min_deviation", "clear_sigma", "page_budget"];
    let mut seen = 0;
    for (file, rule) in rules().into_iter().filter(|(_, r)| r["sigma"].is_string()) {
        let mut known = rule.as_object().unwrap().clone();
        known.retain(|key, _| keys.contains(&key.as_str()));
        // JSON is YAML.
        let text = Value::Object(known).to_string();
        let config: sideband::sigma::Config = yaml::parse(Path::new(&file), &text).unwrap();
        assert_eq!(config.errors(), [], "{file}: {}", name_of(&rule));
        seen += 1;
    }
    assert!(seen >= 4);
}

#[test]
fn copies_of_the_paging_file_differ_in_paths_only() {
    let base = read("deploy/kubernetes/base/config/paging.yml");
    assert_eq!(base, read("deploy/kubernetes/overlays/replicas/config/paging.yml"));
    let body = |text: &str| -> Vec<String> {
        let from = text.find("\nroute:").unwrap();
        text[from..].lines().map(|l| l.replace("/etc/sideband/", "")).collect()
    };
    assert_eq!(body(&read("config/paging.yml")), body(&base));
}
