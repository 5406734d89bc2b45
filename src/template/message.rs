//! The data of message templates: what Alertmanager's `.` is.

use crate::model::{Labels, Timestamp};

use super::time::Time;
use super::value::{Field, ListKind, Value};

/// An alert of a message.
#[derive(Debug, Clone, Default)]
pub struct MessageAlert {
    /// `firing` or `resolved`.
    pub status: String,
    pub labels: Labels,
    pub annotations: Labels,
    /// ms; `None` is Go's zero time.
    pub starts_at: Option<Timestamp>,
    pub ends_at: Option<Timestamp>,
    pub generator_url: String,
    pub fingerprint: String,
}

/// What a message is about.
#[derive(Debug, Clone, Default)]
pub struct MessageData {
    pub receiver: String,
    /// `firing` or `resolved`.
    pub status: String,
    pub alerts: Vec<MessageAlert>,
    /// Why the message goes out.
    pub notification_reason: String,
    pub group_labels: Labels,
    pub common_labels: Labels,
    pub common_annotations: Labels,
    pub external_url: String,
    /// Fields that are sideband's own, beside Alertmanager's: name, key in JSON, value.
    pub extra: Vec<(&'static str, &'static str, Value)>,
}

fn time(t: Option<Timestamp>) -> Value {
    Value::Time(t.map_or_else(Time::zero, Time::from_ms))
}

fn field(name: &'static str, json: &'static str, value: impl Into<Value>) -> Field {
    Field { name, json, value: value.into() }
}

impl MessageAlert {
    /// As the element of `.Alerts`.
    ///
    /// # Errors
    /// None is possible with these fields; the type says so for the caller's convenience.
    pub fn to_value(&self) -> Result<Value, String> {
        Value::structure(
            "template.Alert",
            vec![
                field("Status", "status", self.status.as_str()),
                field("Labels", "labels", Value::kv(&self.labels)),
                field("Annotations", "annotations", Value::kv(&self.annotations)),
                field("StartsAt", "startsAt", time(self.starts_at)),
                field("EndsAt", "endsAt", time(self.ends_at)),
                field("GeneratorURL", "generatorURL", self.generator_url.as_str()),
                field("Fingerprint", "fingerprint", self.fingerprint.as_str()),
            ],
        )
    }
}

impl MessageData {
    /// As the dot of a message template.
    ///
    /// # Errors
    /// The extra fields are nested too deep.
    pub fn to_value(&self) -> Result<Value, String> {
        let alerts = self.alerts.iter().map(MessageAlert::to_value).collect::<Result<Vec<_>, _>>()?;
        let mut fields = vec![
            field("Receiver", "receiver", self.receiver.as_str()),
            field("Status", "status", self.status.as_str()),
            field("Alerts", "alerts", Value::list_of(ListKind::Alerts, alerts)?),
            field("NotificationReason", "notification_reason", self.notification_reason.as_str()),
            field("GroupLabels", "groupLabels", Value::kv(&self.group_labels)),
            field("CommonLabels", "commonLabels", Value::kv(&self.common_labels)),
            field("CommonAnnotations", "commonAnnotations", Value::kv(&self.common_annotations)),
            field("ExternalURL", "externalURL", self.external_url.as_str()),
        ];
        fields.extend(self.extra.iter().map(|(name, json, v)| Field { name, json, value: v.clone() }));
        Value::structure("*template.Data", fields)
    }
}
