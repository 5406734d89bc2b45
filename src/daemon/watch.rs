//! Notices that configuration files changed.
//!
//! Directories are watched, never files: a ConfigMap update swaps the `..data` symlink beside the files,
//! an editor renames a new file over the old one. What counts in the end is a hash of the contents, which
//! is also looked at now and then without any event (network file systems send none).

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::model::set;
use notify::{RecursiveMode, Watcher};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

/// An update is several events; this long after the last one it is over.
const DEBOUNCE: Duration = Duration::from_millis(150);
/// A stream of events that never ends must not put off a reload for ever.
const DEBOUNCE_MAX: Duration = Duration::from_secs(2);
/// Without any event the contents are compared this often.
const POLL: Duration = Duration::from_secs(30);

/// Watches the directories of a set of files.
pub struct Watch {
    watcher: Option<notify::RecommendedWatcher>,
    directories: BTreeSet<PathBuf>,
    events: mpsc::Receiver<()>,
    next_poll: Instant,
}

impl Watch {
    /// Begins to watch nothing. When the system has no watches left, polling remains, and a warning says so.
    pub fn new() -> Self {
        let (sender, events) = mpsc::channel(1);
        let watcher = notify::recommended_watcher(move |event: notify::Result<notify::Event>| {
            // Reading files is no change. A full channel already says that something happened.
            if !event.is_ok_and(|e| e.kind.is_access()) {
                let _ = sender.try_send(());
            }
        })
        .map_err(|error| tracing::warn!(%error, "files are polled, not watched"))
        .ok();
        Self { watcher, directories: BTreeSet::new(), events, next_poll: Instant::now() + POLL }
    }

    /// From now on watches the directories of these files, as they are named (no symlink is followed), and
    /// no others.
    pub fn set_files<'a>(&mut self, files: impl Iterator<Item = &'a Path>) {
        let wanted: BTreeSet<PathBuf> = set(files
            .filter_map(|f| f.parent())
            .map(|d| if d.as_os_str().is_empty() { PathBuf::from(".") } else { d.to_owned() })
            .filter(|d| d.is_dir()));
        let Some(watcher) = &mut self.watcher else { return };
        for gone in self.directories.difference(&wanted) {
            let _ = watcher.unwatch(gone);
        }
        for new in wanted.difference(&self.directories) {
            if let Err(error) = watcher.watch(new, RecursiveMode::NonRecursive) {
                tracing::warn!(directory = %new.display(), %error, "polled, not watched");
            }
        }
        self.directories = wanted;
    }

    /// Waits until something may have changed: some time after the last event of a burst, or at the poll.
    pub async fn changed(&mut self) {
        tokio::select! {
            Some(()) = self.events.recv() => {
                let give_up = Instant::now() + DEBOUNCE_MAX;
                while Instant::now() < give_up {
                    if !matches!(timeout(DEBOUNCE, self.events.recv()).await, Ok(Some(()))) {
                        break;
                    }
                }
            }
            () = sleep_until(self.next_poll) => {}
        }
        self.next_poll = Instant::now() + POLL;
    }
}
