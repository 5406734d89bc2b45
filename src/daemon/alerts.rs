//! Where the alerts of rules go: to paging here, and to the Alertmanagers of `alerting:`.

use std::sync::{Mutex, PoisonError};

use crate::model::{Alert, Timestamp};
use crate::paging::PagerHandle;
use crate::remote::AlertmanagerSender;
use crate::rules::AlertSink;

/// Hands alerts on. Whether there is a pager changes at a reload.
pub struct AlertOutput {
    pager: Mutex<Option<PagerHandle>>,
    sender: AlertmanagerSender,
}

impl AlertOutput {
    /// Without a pager yet.
    pub fn new(sender: AlertmanagerSender) -> Self {
        Self { pager: Mutex::default(), sender }
    }

    /// From now on alerts go to this pager too, or to none.
    pub fn set_pager(&self, pager: Option<PagerHandle>) {
        *self.pager.lock().unwrap_or_else(PoisonError::into_inner) = pager;
    }

    /// Sends alerts to the Alertmanagers.
    pub fn sender(&self) -> &AlertmanagerSender {
        &self.sender
    }
}

impl AlertSink for AlertOutput {
    fn send(&self, alerts: Vec<Alert>, _now: Timestamp) {
        self.sender.send(&alerts);
        let pager = self.pager.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(pager) = pager {
            pager.alerts(alerts);
        }
    }
}
