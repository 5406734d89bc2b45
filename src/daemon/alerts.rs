//! Where the alerts of rules go: to paging here, and to the Alertmanagers of `alerting:`.

use std::sync::{Mutex, PoisonError};

use crate::model::{Alert, Timestamp};
use crate::paging::PagerHandle;
use crate::remote::AlertmanagerSender;
use crate::rules::AlertSink;

/// Hands alerts on. What it hands them to changes at a reload.
#[derive(Default)]
pub struct AlertOutput {
    to: Mutex<Targets>,
}

#[derive(Default)]
struct Targets {
    pager: Option<PagerHandle>,
    sender: Option<AlertmanagerSender>,
}

impl AlertOutput {
    /// From now on alerts go here.
    pub fn set(&self, pager: Option<PagerHandle>, sender: AlertmanagerSender) {
        let mut to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        *to = Targets { pager, sender: Some(sender) };
    }
}

impl AlertOutput {
    /// The URLs of the Alertmanagers.
    pub fn alertmanagers(&self) -> Vec<String> {
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        to.sender.iter().flat_map(AlertmanagerSender::urls).map(str::to_owned).collect()
    }
}

impl AlertSink for AlertOutput {
    fn send(&self, alerts: Vec<Alert>, _now: Timestamp) {
        let to = self.to.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = &to.sender {
            sender.send(&alerts);
        }
        if let Some(pager) = &to.pager {
            pager.alerts(alerts);
        }
    }
}
