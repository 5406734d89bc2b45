//! The dispatcher's thread: inputs in, one transaction, then what is to be sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::Duration;

use super::book::{Book, Written};
use crate::model::{Alert, Clock};
use crate::paging::config::PagingConfig;
use crate::paging::engine::{Engine, Job, Now, Outcome};
use crate::paging::metrics::{Attempt, PagingMetrics};
use crate::paging::receivers::Transport;

/// Attempts under way at once.
const UNDER_WAY: usize = 64;
/// Inputs that share one transaction.
const BATCH: usize = 256;
/// The longest sleep: timers count time that the machine was suspended, sleeping does not.
const NAP: Duration = Duration::from_secs(5);

/// What runs on the dispatcher's thread when its turn comes. It gives back what is to be done after the
/// transaction: the answer.
pub(super) type Call = Box<dyn FnOnce(&mut Engine, Now) -> Box<dyn FnOnce() + Send> + Send>;

pub(super) enum Input {
    Alerts(Vec<Alert>),
    Outcome(u64, Outcome),
    Call(Call),
    Reload(Arc<PagingConfig>, Arc<dyn Transport>, Box<dyn FnOnce() + Send>),
    Stop,
}

pub(super) struct Worker {
    pub engine: Engine,
    pub book: Book,
    pub transport: Arc<dyn Transport>,
    pub clock: Arc<dyn Clock>,
    pub metrics: PagingMetrics,
    pub runtime: tokio::runtime::Handle,
    pub tx: SyncSender<Input>,
    pub under_way: usize,
    /// For those who look from outside.
    pub durable: Arc<AtomicBool>,
}

impl Worker {
    pub fn run(mut self, inputs: &Receiver<Input>) {
        // What a crash left over goes out first.
        let now = self.now();
        self.engine.tick(now);
        self.turn(Vec::new());
        loop {
            let first = match inputs.recv_timeout(self.nap()) {
                Ok(input) => Some(input),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let mut answers = Vec::new();
            let mut stop = false;
            let rest = std::iter::from_fn(|| inputs.try_recv().ok()).take(BATCH);
            for input in first.into_iter().chain(rest) {
                stop |= matches!(input, Input::Stop);
                self.take(input, &mut answers);
            }
            let now = self.now();
            self.engine.tick(now);
            self.turn(answers);
            if stop {
                return;
            }
        }
    }

    fn now(&self) -> Now {
        Now { wall: self.clock.now(), boot: self.clock.boottime() }
    }

    fn nap(&self) -> Duration {
        let due = self.engine.next_due().into_iter().chain(self.book.retry_at()).min();
        let now = self.clock.boottime();
        let ms = due.map_or(i64::MAX, |at| (at - now).max(0));
        // Rows that are due but have no room wait for an answer, not for the time.
        let ms = if ms == 0 && self.under_way > 0 { 20 } else { ms };
        NAP.min(Duration::from_millis(ms.unsigned_abs()))
    }

    fn take(&mut self, input: Input, answers: &mut Vec<Box<dyn FnOnce() + Send>>) {
        let now = self.now();
        match input {
            Input::Alerts(alerts) => self.engine.alerts(now, alerts),
            Input::Outcome(id, outcome) => {
                self.under_way = self.under_way.saturating_sub(1);
                self.engine.delivered(now, id, &outcome);
            }
            Input::Call(call) => answers.push(call(&mut self.engine, now)),
            Input::Reload(config, transport, answer) => {
                self.transport = transport;
                self.engine.reload(now, config);
                answers.push(answer);
            }
            Input::Stop => self.engine.give_back_ids(),
        }
    }

    /// Writes what has changed; then, and not before, answers and sends.
    fn turn(&mut self, answers: Vec<Box<dyn FnOnce() + Send>>) {
        let now = self.now();
        match self.book.keep(&mut self.engine, now) {
            Written::Synced => {
                self.metrics.ledger_bytes.set(i64::try_from(self.book.size()).unwrap_or(i64::MAX));
            }
            Written::Lost => {
                self.metrics.ledger_errors.inc();
            }
            Written::Nothing => {}
        }
        self.metrics.ledger_up.set(i64::from(!self.book.is_degraded()));
        self.engine.set_durable(now, !self.book.is_degraded());
        self.durable.store(!self.book.is_degraded(), Ordering::Relaxed);
        for answer in answers {
            answer();
        }
        let room = UNDER_WAY.saturating_sub(self.under_way);
        for job in self.engine.take_sends(self.now(), room) {
            self.send(job);
        }
        self.metrics.observe(&mut self.engine);
        self.book.prune(now, self.engine.config().history);
    }

    fn send(&mut self, job: Job) {
        self.under_way += 1;
        let (id, receiver, integration) = (job.id, job.receiver.clone(), job.kind.clone());
        let (key, attempt) = (job.key.clone(), job.attempt);
        let sending = self.transport.send(job);
        let (tx, metrics) = (self.tx.clone(), self.metrics.clone());
        self.runtime.spawn(async move {
            let outcome = sending.await;
            let word = match &outcome {
                Outcome::Delivered => {
                    tracing::info!(%receiver, %integration, %key, attempt, "notification delivered");
                    "delivered"
                }
                Outcome::Retry { reason, .. } | Outcome::Unsure { reason } => {
                    tracing::warn!(%receiver, %integration, %key, attempt, %reason, "notification not delivered: trying again");
                    "retry"
                }
                Outcome::Final { reason } => {
                    tracing::error!(%receiver, %integration, %key, attempt, %reason, "notification refused for good");
                    "failed"
                }
            };
            metrics.notifications.get_or_create(&Attempt { receiver: receiver.into(), integration: integration.into(), outcome: word }).inc();
            let mut input = Input::Outcome(id, outcome);
            // The queue is drained by a thread that never waits for this runtime.
            while let Err(std::sync::mpsc::TrySendError::Full(back)) = tx.try_send(input) {
                input = back;
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        });
    }
}
