//! Labels and annotations of an alert from its templates.

use crate::model::{Labels, Timestamp};
use crate::template::{Env, Field, Limits, Template, TemplateError, Value};

use super::context::{Context, TemplateQuery};

/// The data of a rule's templates: the dot and the variables.
pub(super) struct Data {
    dot: Value,
    variables: Vec<(&'static str, Value)>,
}

impl Data {
    /// For one series; `more` are the variables of sigma rules (name with its `$`, field, value).
    pub fn new(
        context: &Context<'_>,
        labels: &Labels,
        value: f64,
        more: &[(&'static str, &'static str, Value)],
    ) -> Self {
        let mut all = vec![
            ("$labels", "Labels", Value::labels(labels)),
            ("$externalLabels", "ExternalLabels", Value::labels(&context.settings.external_labels)),
            ("$externalURL", "ExternalURL", Value::from(context.settings.external_url.as_str())),
            ("$value", "Value", Value::Float(value)),
        ];
        all.extend(more.iter().cloned());
        let fields = all.iter().map(|(_, name, v)| Field { name, json: name, value: v.clone() }).collect();
        // Flat, so it cannot be nested too deep.
        let dot = Value::structure("template.AlertData", fields).unwrap_or(Value::Nil);
        Self { dot, variables: all.into_iter().map(|(name, _, v)| (name, v)).collect() }
    }

    /// The text of a template; an error becomes a text that says so.
    pub fn expand(
        &self,
        context: &Context<'_>,
        rule: &str,
        template: &Template,
        ts: Timestamp,
        read_at: Timestamp,
    ) -> String {
        if let Some(text) = template.constant() {
            return text.to_owned();
        }
        let query = TemplateQuery { context: *context, t: read_at };
        let env = Env {
            now: ts,
            external_url: &context.settings.external_url,
            query: Some(&query),
            ..Env::default()
        };
        match template.run(&self.dot, &self.variables, None, &env, LIMITS) {
            Ok(text) => text,
            Err(e) => {
                let reason = match &e {
                    TemplateError::Run(text) => format!("error executing template __alert_{rule}: {text}"),
                    TemplateError::Parse { .. } => e.to_string(),
                };
                tracing::warn!(rule, error = %reason, "a template of an alert failed");
                format!("<error expanding template: {reason}>")
            }
        }
    }
}

/// An annotation is a text for people: 64 KiB are plenty.
const LIMITS: Limits = Limits { output: 64 << 10, steps: 200_000 };
