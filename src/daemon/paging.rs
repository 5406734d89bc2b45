//! Paging, which a configuration may have or not.

use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};

use crate::ledger::Ledger;
use crate::model::Clock;
use crate::paging::config::PagingConfig;
use crate::paging::{Pager, PagerHandle, PagerOptions, PagingMetrics};

use super::messages::MessageTemplates;

/// The pager, once there is one. Clones share it.
#[derive(Clone)]
pub struct PagerSlot {
    inner: Arc<Inner>,
}

struct Inner {
    pager: RwLock<Option<PagerHandle>>,
    ledger: Ledger,
    clock: Arc<dyn Clock>,
    external_url: String,
    own_key_file: PathBuf,
    metrics: PagingMetrics,
    templates: Arc<MessageTemplates>,
}

impl PagerSlot {
    /// No pager yet. `own_key_file` is where the key of acknowledgement links is kept, unless one is configured.
    pub fn new(
        ledger: Ledger,
        clock: Arc<dyn Clock>,
        external_url: String,
        own_key_file: PathBuf,
        metrics: PagingMetrics,
    ) -> Self {
        let templates = Arc::new(MessageTemplates::new(clock.clone()));
        let inner =
            Inner { pager: RwLock::default(), ledger, clock, external_url, own_key_file, metrics, templates };
        Self { inner: Arc::new(inner) }
    }

    /// The pager, if there is one.
    pub fn get(&self) -> Option<PagerHandle> {
        self.inner.pager.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts a configuration in force, all or nothing. Without one paging ends; what is open stays in the
    /// ledger, and goes on when paging is configured again.
    ///
    /// # Errors
    /// What paging refuses, or a template that is none; what ran goes on.
    pub async fn apply(&self, config: Option<PagingConfig>) -> Result<(), String> {
        let running = self.get();
        let Some(config) = config else {
            if let Some(pager) = running {
                self.set(None);
                pager.shutdown().await;
            }
            return Ok(());
        };
        let templates = crate::config::message_templates(&config, &mut crate::config::Inputs::default());
        let templates = templates
            .map_err(|errors| errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))?;
        match running {
            Some(pager) => pager.reload(config).await.map_err(|e| e.to_string())?,
            None => {
                let options = PagerOptions {
                    clock: self.inner.clock.clone(),
                    external_url: self.inner.external_url.clone(),
                    own_key_file: Some(self.inner.own_key_file.clone()),
                    render: self.inner.templates.clone(),
                    metrics: self.inner.metrics.clone(),
                    transport: None,
                };
                let pager =
                    Pager::spawn(config, self.inner.ledger.clone(), options).map_err(|e| e.to_string())?;
                self.set(Some(pager));
            }
        }
        self.inner.templates.set(templates);
        Ok(())
    }

    fn set(&self, pager: Option<PagerHandle>) {
        *self.inner.pager.write().unwrap_or_else(PoisonError::into_inner) = pager;
    }

    /// Ends paging; what is not sent yet goes out after the next start.
    pub async fn stop(&self) {
        if let Some(pager) = self.get() {
            pager.shutdown().await;
        }
    }
}
