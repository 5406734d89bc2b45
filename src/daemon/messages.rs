//! Templates of messages: the template room lent to paging, which stands beside it.

use std::sync::{Arc, PoisonError, RwLock};

use crate::model::{Clock, Labels};
use crate::paging::notification::NotifiedAlert;
use crate::paging::receivers::{Render, RenderContext};
use crate::template::{self, Dialect, Env, MessageAlert, MessageData, Mode, TemplateSet, Value};

/// Expands the templates of receivers, with Alertmanager's data and functions.
pub struct MessageTemplates {
    clock: Arc<dyn Clock>,
    /// Named templates of the files under `templates:`.
    files: RwLock<Arc<TemplateSet>>,
}

impl MessageTemplates {
    /// Without named templates.
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, files: RwLock::default() }
    }

    /// From now on these are the named templates.
    pub fn set(&self, files: TemplateSet) {
        *self.files.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(files);
    }
}

impl Render for MessageTemplates {
    fn render(&self, template: &str, context: &RenderContext<'_>) -> Result<String, String> {
        let (notification, external_url) = (context.notification, context.external_url);
        if !template.contains("{{") {
            return Ok(template.to_owned());
        }
        let labels = |pairs: &std::collections::BTreeMap<String, String>| Labels::from_pairs(pairs);
        let alert = |a: &NotifiedAlert| MessageAlert {
            status: a.status().to_owned(),
            labels: labels(&a.labels),
            annotations: labels(&a.annotations),
            starts_at: Some(a.starts_at),
            ends_at: a.ends_at,
            generator_url: a.generator_url.clone(),
            fingerprint: a.fingerprint.clone(),
        };
        let data = MessageData {
            receiver: notification.receiver.clone(),
            status: notification.status().to_owned(),
            alerts: notification.alerts.iter().map(alert).collect(),
            notification_reason: notification.why.clone(),
            group_labels: labels(&notification.group_labels),
            common_labels: Labels::from_pairs(notification.common_labels()),
            common_annotations: Labels::from_pairs(notification.common_annotations()),
            external_url: external_url.to_owned(),
            extra: vec![
                ("AckURL", "ackURL", Value::from(context.ack_url.unwrap_or_default())),
                ("FeedbackURL", "feedbackURL", Value::from(context.feedback_url.unwrap_or_default())),
            ],
        };
        let files = self.files.read().unwrap_or_else(PoisonError::into_inner).clone();
        let mode = if context.html { Mode::Html } else { Mode::Text };
        let env = Env { now: self.clock.now(), external_url, mode, ..Env::default() };
        template::expand(Dialect::Alertmanager, template, &data.to_value()?, Some(&files), &env)
            .map_err(|e| e.to_string())
    }
}
