//! A progress bar on standard error, if that is a terminal.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

const WIDTH: usize = 40;
/// How often it is drawn again.
const EVERY: Duration = Duration::from_millis(100);

/// A bar with a word before it.
pub struct ProgressBar {
    word: &'static str,
    started: Instant,
    drawn: Option<Instant>,
    shown: bool,
}

impl ProgressBar {
    pub fn new(word: &'static str) -> Self {
        Self { word, started: Instant::now(), drawn: None, shown: std::io::stderr().is_terminal() }
    }

    /// `done` is from 0 to 1.
    pub fn set(&mut self, done: f64) {
        if !self.shown || self.drawn.is_some_and(|at| at.elapsed() < EVERY) {
            return;
        }
        self.drawn = Some(Instant::now());
        let done = done.clamp(0.0, 1.0);
        let full = (done * WIDTH as f64).round() as usize;
        let elapsed = self.started.elapsed().as_secs_f64();
        let left =
            if done > 0.01 { format!(", {:.0} s left", elapsed / done - elapsed) } else { String::new() };
        eprint!(
            "\r{} [{}{}] {:3.0} %{left}\x1b[K",
            self.word,
            "#".repeat(full),
            " ".repeat(WIDTH.saturating_sub(full)),
            done * 100.0
        );
        let _ = std::io::stderr().flush();
    }
}

impl Drop for ProgressBar {
    /// Leaves the line empty for what comes next.
    fn drop(&mut self) {
        if self.drawn.is_some() {
            eprint!("\r\x1b[K");
        }
    }
}
