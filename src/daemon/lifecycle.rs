//! The process as the web room sees it: what it was started with, and what can be done to it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::oneshot;

use crate::model::Timestamp;
use crate::web::{BoxFuture, Lifecycle, RuntimeView};

use super::alerts::AlertOutput;
use super::reload::{Request, Requests};

/// Facts about the process that change.
pub struct Status {
    started_at: Timestamp,
    retention: String,
    ready: AtomicBool,
    reload_ok: AtomicBool,
    reload_at: AtomicI64,
    config: Mutex<String>,
}

impl Status {
    /// Of a process that started now and is not ready yet.
    pub fn new(started_at: Timestamp, retention: String) -> Self {
        Self {
            started_at,
            retention,
            ready: AtomicBool::new(false),
            reload_ok: AtomicBool::new(true),
            reload_at: AtomicI64::new(0),
            config: Mutex::default(),
        }
    }

    /// Everything is started.
    pub fn set_ready(&self) {
        self.ready.store(true, Ordering::Release);
    }

    /// How the last reload went, and when (ms).
    pub fn reloaded(&self, ok: bool, at: Timestamp) {
        self.reload_ok.store(ok, Ordering::Relaxed);
        if ok {
            self.reload_at.store(at, Ordering::Relaxed);
        }
    }

    /// The text that is in force, without secrets.
    pub fn set_config(&self, text: String) {
        *self.config.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// The process.
pub struct LifecycleAdapter {
    pub requests: Requests,
    pub status: Arc<Status>,
    pub output: Arc<AlertOutput>,
}

impl Lifecycle for LifecycleAdapter {
    fn reload(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async {
            let (answer, wait) = oneshot::channel();
            let stopping = |_| "the daemon is stopping".to_owned();
            self.requests.send(Request::Reload(Some(answer))).await.map_err(|e| stopping(e.to_string()))?;
            wait.await.map_err(|e| stopping(e.to_string()))?
        })
    }

    fn quit(&self) {
        // Full means that requests wait, and the end will not be missed twice.
        let _ = self.requests.try_send(Request::Quit);
    }

    fn ready(&self) -> bool {
        self.status.ready.load(Ordering::Acquire)
    }

    fn config_yaml(&self) -> String {
        self.status.config.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn alertmanagers(&self) -> (Vec<String>, Vec<String>) {
        (self.output.sender().urls(), self.output.sender().dropped_urls())
    }

    fn runtime(&self) -> RuntimeView {
        RuntimeView {
            started_at: self.status.started_at,
            last_reload_ok: self.status.reload_ok.load(Ordering::Relaxed),
            last_reload_at: self.status.reload_at.load(Ordering::Relaxed),
            storage_retention: self.status.retention.clone(),
        }
    }
}
