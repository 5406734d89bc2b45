//! `check routes`: to whom a configuration sends an alert with given labels.

use std::path::Path;
use std::process::ExitCode;

use crate::config::{self, FileKind};
use crate::model::{Labels, LabelsBuilder, Order as _};
use crate::paging::config::PagingConfig;

/// Prints the receivers for these labels (`name=value`) in the order of the routes, with a comma between them. A
/// route with an escalation policy notifies by that alone: it is printed as `escalation_policy/NAME`.
/// Fails when they are not the `expected` ones.
pub fn test(file: &Path, labels: &[String], expected: &[String]) -> ExitCode {
    let found = match load(file).and_then(|config| Ok(receivers(&config, &parse(labels)?))) {
        Ok(found) => found,
        Err(reason) => {
            eprintln!("FAILED: {reason}");
            return ExitCode::FAILURE;
        }
    };
    println!("{}", found.join(","));
    let (mut got, mut want) = (found, expected.to_vec());
    got.order();
    want.order();
    if want.is_empty() || got == want {
        ExitCode::SUCCESS
    } else {
        eprintln!("WARNING: expected receivers did not match resolved receivers: {}", expected.join(","));
        ExitCode::FAILURE
    }
}

/// A paging file (an `alertmanager.yml`), or the configuration that names it.
fn load(file: &Path) -> Result<PagingConfig, String> {
    let lines = |errors: Vec<crate::model::yaml::FileError>| {
        errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
    };
    let text = config::Inputs::default().read(file).unwrap_or_default();
    if FileKind::of(&text) == FileKind::Paging {
        return config::load_paging(file).map_err(lines);
    }
    let loaded = config::load(file).map_err(lines)?;
    loaded.config.paging.ok_or_else(|| format!("{}: no paging in it", file.display()))
}

fn parse(pairs: &[String]) -> Result<Labels, String> {
    let mut labels = LabelsBuilder::default();
    for pair in pairs {
        let (name, value) = pair.split_once('=').ok_or_else(|| format!("{pair:?}: NAME=VALUE is meant"))?;
        let name = name.trim();
        if name.is_empty() {
            return Err(format!("{pair:?}: the label has no name"));
        }
        let value = value.trim();
        let bare = value.strip_prefix('"').and_then(|v| v.strip_suffix('"'));
        labels.set(name, bare.unwrap_or(value));
    }
    Ok(labels.build())
}

fn receivers(config: &PagingConfig, labels: &Labels) -> Vec<String> {
    let routes = config.route.matching(labels);
    let name = |r: &crate::paging::route::Route| match &r.escalation_policy {
        Some(policy) => format!("escalation_policy/{policy}"),
        None => r.receiver.clone(),
    };
    routes.iter().map(|r| name(r)).collect()
}
