//! Asking file systems for their space without waiting for those that do not answer.
//!
//! A call into a dead network file system can hang for ever, and nothing can call it off. So file systems
//! that may hang are asked on threads of their own: a thread a mount, at most one, however often the
//! mount is asked about. Threads that hang are left alone until they come back.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Threads that may hang at the same time.
const MAX_WAITING: usize = 32;
/// How long one collection waits for answers, for all of them together. Later answers serve the next one.
const PATIENCE: Duration = Duration::from_millis(50);
/// A statfs call needs little; so does a thread that hangs in one.
const STACK_BYTES: usize = 64 * 1024;

/// File systems on this machine: statfs reads a structure in memory and returns.
const LOCAL: [&str; 16] = [
    "bcachefs", "btrfs", "exfat", "ext2", "ext3", "ext4", "f2fs", "jfs", "ntfs3", "overlay", "ramfs",
    "reiserfs", "tmpfs", "vfat", "xfs", "zfs",
];

/// Can asking this kind of file system hang?
pub(super) fn may_hang(fs_type: &str) -> bool {
    !LOCAL.contains(&fs_type)
}

/// The space of a file system, in bytes and in inodes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Space {
    pub size: f64,
    pub free: f64,
    pub available: f64,
    pub files: f64,
    pub files_free: f64,
}

/// Space, or why there is none.
pub(super) type Answer = Result<Space, String>;

/// Asks, and waits for the answer.
pub(super) fn ask(path: &Path) -> Answer {
    let s = rustix::fs::statfs(path).map_err(|e| std::io::Error::from(e).to_string())?;
    let block = s.f_bsize as f64;
    Ok(Space {
        size: s.f_blocks as f64 * block,
        free: s.f_bfree as f64 * block,
        available: s.f_bavail as f64 * block,
        files: s.f_files as f64,
        files_free: s.f_ffree as f64,
    })
}

/// Questions that wait for their answers.
pub(super) struct Questions {
    timeout: Duration,
    open: HashMap<PathBuf, Question>,
    ask: fn(&Path) -> Answer,
}

struct Question {
    asked: Instant,
    waiting: Option<Receiver<Answer>>,
    last: Option<Answer>,
    wanted: bool,
}

impl Questions {
    /// A mount that has not answered for `timeout` is an error.
    pub fn new(timeout: Duration) -> Self {
        Self { timeout, open: HashMap::new(), ask }
    }

    /// Asks unless the last question has no answer yet.
    pub fn put(&mut self, path: &Path) {
        let waiting = self.open.values().filter(|q| q.waiting.is_some()).count();
        let now = Instant::now();
        let question = self.open.entry(path.to_owned()).or_insert(Question {
            asked: now,
            waiting: None,
            last: None,
            wanted: true,
        });
        question.wanted = true;
        if question.waiting.is_some() {
            return;
        }
        question.asked = now;
        if waiting >= MAX_WAITING {
            question.last = Some(Err("too many mount points do not answer".to_owned()));
            return;
        }
        let (send, receive) = channel();
        let (ask, path) = (self.ask, path.to_owned());
        let thread = std::thread::Builder::new().name("statfs".to_owned()).stack_size(STACK_BYTES);
        match thread.spawn(move || send.send(ask(&path))) {
            Ok(_) => question.waiting = Some(receive),
            Err(e) => question.last = Some(Err(e.to_string())),
        }
    }

    /// Gathers the answers to what was put since the last time. `None`: none yet, and not overdue.
    pub fn gather(&mut self) -> HashMap<PathBuf, Option<Answer>> {
        let end = Instant::now() + PATIENCE;
        self.open.retain(|_, q| std::mem::take(&mut q.wanted));
        for question in self.open.values_mut() {
            let Some(receive) = &question.waiting else { continue };
            let answer = receive.recv_timeout(end.saturating_duration_since(Instant::now()));
            match answer {
                Ok(answer) => (question.last, question.waiting) = (Some(answer), None),
                Err(RecvTimeoutError::Disconnected) => {
                    (question.last, question.waiting) = (Some(Err("no answer".to_owned())), None);
                }
                Err(RecvTimeoutError::Timeout) if question.asked.elapsed() >= self.timeout => {
                    question.last = Some(Err("mountpoint timeout".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        }
        self.open.iter().map(|(path, q)| (path.clone(), q.last.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_that_hangs_is_an_error_and_delays_nobody() {
        fn slow_or_fine(path: &Path) -> Answer {
            if path.ends_with("stuck") {
                // Longer than the test; the thread ends with the process.
                std::thread::sleep(Duration::from_secs(3600));
            }
            Ok(Space { size: 1.0, free: 1.0, available: 1.0, files: 1.0, files_free: 1.0 })
        }
        let mut questions = Questions::new(Duration::ZERO);
        questions.ask = slow_or_fine;
        let (stuck, fine) = (Path::new("/stuck"), Path::new("/fine"));
        // A machine that is busy may not have come to the fine one either; it will.
        let mut answered = 0;
        for _ in 0..2000 {
            questions.put(stuck);
            questions.put(fine);
            let answers = questions.gather();
            assert_eq!(answers[stuck], Some(Err("mountpoint timeout".to_owned())));
            answered += usize::from(matches!(answers[fine], Some(Ok(_))));
            if answered == 3 {
                break;
            }
        }
        assert_eq!(answered, 3);
        assert_eq!(questions.open.values().filter(|q| q.waiting.is_some()).count(), 1);
    }

    #[test]
    fn the_root_has_space() {
        let space = ask(Path::new("/")).unwrap();
        assert!(space.size >= space.free && space.free >= space.available && space.size > 0.0);
        assert!(ask(Path::new("/no/such/path")).is_err());
    }
}
