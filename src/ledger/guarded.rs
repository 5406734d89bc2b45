//! Runs the database library where a panic of it costs a thread and nothing else.
//!
//! The library checks much of what it reads, but not everything: some wrong bytes in a page (tried: about every tenth damage) make it panic, and
//! the release binary ends when something panics. A damaged file must not end a process that can page from memory.
//! So every operation runs on a thread that may be lost: a panic there is told to whoever waits, and the
//! thread sleeps for good, with all that it holds. It never unwinds, so that this holds for `panic = "abort"` too.
//! A check of the file at the start, in another process or not, would not do: a damage may come later, and
//! reading all of a long history costs more than the start may take.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, Once, PoisonError};
use std::thread::ThreadId;
use std::time::Duration;

/// How often somebody who waits asks whether that is still of use.
const LOOK: Duration = Duration::from_millis(100);
/// How long a thread without work stays.
const STAY: Duration = Duration::from_secs(5);
/// Threads without work that stay.
const MAX_IDLE: usize = 2;

type Tell = Box<dyn Fn(String) + Send>;

struct Job {
    work: Box<dyn FnOnce() + Send>,
    /// Called once when the work panics.
    lost: Tell,
}

thread_local! {
    /// Whom to tell that this thread is lost; nothing on threads of others.
    static LOST: RefCell<Option<Tell>> = const { RefCell::new(None) };
}

/// Threads that wait for work. Whoever takes one out of here sends it some.
static IDLE: Mutex<Vec<(ThreadId, SyncSender<Job>)>> = Mutex::new(Vec::new());

/// Work under way.
pub(super) struct Running<T> {
    done: Receiver<Result<T, String>>,
    over: Arc<AtomicBool>,
}

/// Sets work going on a thread of its own.
///
/// # Errors
/// No thread can be had.
pub(super) fn start<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<Running<T>, std::io::Error> {
    static HOOK: Once = Once::new();
    HOOK.call_once(watch_for_panics);
    let (answer, done) = sync_channel(2);
    let lost = answer.clone();
    let over = Arc::new(AtomicBool::new(false));
    let (ended, panicked) = (Arc::clone(&over), Arc::clone(&over));
    let job = Job {
        work: Box::new(move || {
            let _ = answer.send(Ok(work()));
            ended.store(true, Ordering::Release);
        }),
        lost: Box::new(move |why| {
            let _ = lost.try_send(Err(why));
            panicked.store(true, Ordering::Release);
        }),
    };
    let idle = threads().pop();
    if let Some((_, thread)) = idle {
        let _ = thread.send(job);
    } else {
        std::thread::Builder::new().name("ledger".to_owned()).spawn(move || serve(job))?;
    }
    Ok(Running { done, over })
}

fn threads() -> MutexGuard<'static, Vec<(ThreadId, SyncSender<Job>)>> {
    IDLE.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<T> Running<T> {
    /// Has it ended, or panicked? What came of it is still to be asked for.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// What came of it. `useless` says that it will never end, since something that it waits for is lost.
    ///
    /// # Errors
    /// The panic's text.
    pub fn wait(self, useless: impl Fn() -> bool) -> Result<T, String> {
        loop {
            match self.done.recv_timeout(LOOK) {
                Ok(done) => return done,
                Err(RecvTimeoutError::Timeout) if !useless() => {}
                Err(RecvTimeoutError::Timeout) => return Err("another operation was lost".to_owned()),
                Err(RecvTimeoutError::Disconnected) => return Err("the thread has ended".to_owned()),
            }
        }
    }
}

fn serve(first: Job) {
    let (own, jobs) = sync_channel(1);
    let id = std::thread::current().id();
    let mut next = first;
    loop {
        LOST.set(Some(next.lost));
        (next.work)();
        LOST.set(None);
        {
            let mut idle = threads();
            if idle.len() >= MAX_IDLE {
                return;
            }
            idle.push((id, own.clone()));
        }
        next = match jobs.recv_timeout(STAY) {
            Ok(job) => job,
            Err(_) => {
                let mut idle = threads();
                if let Some(at) = idle.iter().position(|(thread, _)| *thread == id) {
                    idle.remove(at);
                    return;
                }
                drop(idle);
                // It was taken out just now: there is work.
                let Ok(job) = jobs.recv() else { return };
                job
            }
        };
    }
}

/// Threads of ours report and sleep; for all others everything is as it was.
fn watch_for_panics() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        let lost = LOST.try_with(|l| l.try_borrow_mut().ok().and_then(|mut l| l.take())).ok().flatten();
        let Some(lost) = lost else { return before(info) };
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied();
        let text = text
            .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
            .unwrap_or("no reason given");
        // Where the builder keeps its sources is of no interest.
        let place = info.location().map(|l| {
            let file = l.file().rsplit("/src/").next().unwrap_or_default();
            format!(" ({file}:{})", l.line())
        });
        let place = place.unwrap_or_default();
        lost(format!("the database library panicked: {text}{place}"));
        loop {
            std::thread::park();
        }
    }));
}
