//! The templates of messages: the files under `templates:`, and what receivers say with them, checked before anything
//! runs. What is wrong in a template is found now, not when a page is due.

use std::path::Path;

use super::Inputs;
use crate::model::yaml::FileError;
use crate::paging::config::{PagingConfig, TemplateText};
use crate::paging::receivers::DEFAULT_TEMPLATES;
use crate::template::{Dialect, Template, TemplateError, TemplateSet};

/// Reads the template files of a configuration, and every template in its receivers.
///
/// # Errors
/// A file cannot be read or is no template, a text of a receiver is none, or it calls one that nobody defines; each
/// with file, line and column.
pub fn message_templates(config: &PagingConfig, inputs: &mut Inputs) -> Result<TemplateSet, Vec<FileError>> {
    let mut errors = Vec::new();
    let mut set = TemplateSet::default();
    if let Err(e) = set.add(Dialect::Alertmanager, "default.tmpl", DEFAULT_TEMPLATES) {
        errors.push(FileError::whole(&config.path, e));
    }
    let base = config.path.parent().unwrap_or(Path::new(""));
    for pattern in &config.templates {
        let files = match inputs.expand(&base.join(pattern)) {
            Ok(files) => files,
            Err(e) => {
                errors.push(FileError::whole(&config.path, format!("templates: {e}")));
                continue;
            }
        };
        for file in files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let read = inputs.read(&file);
            let added = read
                .and_then(|text| set.add(Dialect::Alertmanager, &name, &text).map_err(|e| in_file(&file, e)));
            errors.extend(added.err());
        }
    }
    if errors.is_empty() {
        errors = texts(config, &set);
    }
    if errors.is_empty() { Ok(set) } else { Err(errors) }
}

fn in_file(file: &Path, error: TemplateError) -> FileError {
    match error {
        TemplateError::Parse { line, column, message, .. } => {
            FileError { file: file.to_owned(), line: line as u64, column: column as u64, message }
        }
        TemplateError::Run(message) => FileError::whole(file, message),
    }
}

/// What is wrong with the templates in receivers.
fn texts(config: &PagingConfig, set: &TemplateSet) -> Vec<FileError> {
    let mut errors = Vec::new();
    for receiver in config.receivers.values() {
        for integration in &receiver.integrations {
            for text in &integration.templates {
                if let Err(why) = one(text, set) {
                    let (kind, index, key) = (integration.kind, integration.index, &text.key);
                    let why = format!("receiver {:?}: {kind}_configs[{index}].{key}: {why}", receiver.name);
                    errors.push(FileError::at(&config.path, &integration.place, why));
                }
            }
        }
    }
    errors
}

fn one(text: &TemplateText, set: &TemplateSet) -> Result<(), String> {
    let template = Template::parse(Dialect::Alertmanager, "", text.text.expose(), &[]);
    let template = template.map_err(|e| match e {
        // What is wrong with it may be all of it, and it is a secret.
        _ if text.secret => "is no template".to_owned(),
        TemplateError::Parse { line, column, message, .. } => {
            format!("template, line {line}, column {column}: {message}")
        }
        TemplateError::Run(message) => message,
    })?;
    match set.undefined(&template) {
        None => Ok(()),
        Some(_) if text.secret => Err("it calls a template that there is not".to_owned()),
        Some(name) => {
            Err(format!("there is no template {name:?}: neither in the files of `templates` nor built in"))
        }
    }
}
