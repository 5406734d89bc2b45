//! A paging file on its own, as somebody has it who comes from Alertmanager.

use std::path::Path;

use super::{Inputs, message_templates, redact};
use crate::model::Secret;
use crate::model::yaml::FileError;
use crate::paging::config::PagingConfig;

/// Reads a paging file and the template files that it names, without a configuration around it.
///
/// # Errors
/// Everything that is wrong, each with its file and, where it is known, line and column.
pub fn load_paging(path: &Path) -> Result<PagingConfig, Vec<FileError>> {
    let inputs = &mut Inputs::default();
    let text = inputs.read(path).map_err(|e| vec![e])?;
    let config = PagingConfig::parse(path, &text)?;
    complete(config, &text, inputs)
}

/// A checked configuration with its text, secrets left out, once its templates are right too.
pub(super) fn complete(
    mut config: PagingConfig,
    text: &str,
    inputs: &mut Inputs,
) -> Result<PagingConfig, Vec<FileError>> {
    config.shown = redact(text, config.secrets().map(Secret::expose));
    message_templates(&config, inputs)?;
    Ok(config)
}

/// What runs but is worth a look.
pub fn warnings(config: &PagingConfig) -> impl Iterator<Item = String> {
    config.warnings.iter().chain(&config.unsendable).map(ToString::to_string)
}

/// What a check says beside the warnings; `exist`: also look for the files of receivers.
pub fn hints(config: &PagingConfig, exist: bool) -> Vec<String> {
    let files = exist.then(|| config.without_files()).flatten();
    config.hints.iter().map(ToString::to_string).chain(files).collect()
}

/// A few words about how much is in it.
pub fn summary(config: &PagingConfig) -> String {
    format!("{} receivers, {} escalation policies", config.receivers.len(), config.policies.len())
}
