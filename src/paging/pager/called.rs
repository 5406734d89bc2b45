//! Doing what a genuine callback asks for.

use std::sync::{Arc, PoisonError};

use super::handle::PagerHandle;
use crate::paging::callbacks::{self, Callback, CallbackError, Wish};
use crate::paging::engine::{AckResult, CommandError, Engine, Now};
use crate::paging::metrics::CalledBack;

/// How much later than the callback's own time an incident may have been (re)opened, ms: clocks differ a little.
const SKEW_MS: i64 = 2000;

impl PagerHandle {
    /// Takes a callback of an outside service, and says in a sentence what came of it. When this returns, it is in
    /// the ledger.
    ///
    /// # Errors
    /// Why it is refused: see [`CallbackError`].
    pub async fn call_back(&self, callback: Callback) -> Result<String, CallbackError> {
        let service = callback.service.as_str();
        let from = callback.from.clone();
        let done = self.called(callback).await;
        let outcome = match &done {
            Ok((outcome, text)) => {
                tracing::info!(service, from, text, "callback");
                outcome
            }
            Err(error) => {
                tracing::warn!(service, from, %error, "callback refused");
                error.as_str()
            }
        };
        self.shared.metrics().callbacks.get_or_create(&CalledBack { service, outcome }).inc();
        done.map(|(_, text)| text)
    }

    async fn called(&self, callback: Callback) -> Result<(&'static str, String), CallbackError> {
        let now = self.shared.now().wall;
        let genuine = {
            let current = self.shared.current().read().unwrap_or_else(PoisonError::into_inner);
            let (config, links) = current.as_ref().ok_or(CallbackError::NotConfigured)?;
            callbacks::read(&callback, &config.callbacks, links.as_ref(), &self.plant.instance, now)?
        };
        let seen = Arc::clone(&self.plant.seen);
        if !seen.take(&genuine.id, genuine.until) {
            return Err(CallbackError::Replayed);
        }
        let wish = genuine.wish;
        let done = match wish {
            Wish::Nothing(why) => Ok(("nothing", why.to_owned())),
            wish => self.call(move |engine, now| carry_out(engine, now, wish)).await.map_err(|e| {
                seen.give_back(&genuine.id);
                CallbackError::Failed(e.to_string())
            }),
        }?;
        let (id, until) = (genuine.id, genuine.until);
        let keep = tokio::task::spawn_blocking(move || seen.keep(&id, until, now));
        let _ = keep.await;
        Ok(done)
    }
}

fn carry_out(engine: &mut Engine, now: Now, wish: Wish) -> (&'static str, String) {
    let (incident, at) = match &wish {
        Wish::Acknowledge { incident, at, .. } | Wish::Resolve { incident, at, .. } => (*incident, *at),
        Wish::Nothing(why) => return ("nothing", (*why).to_owned()),
    };
    // What somebody did before it was opened again says nothing of what happened since.
    let old = engine.incident(incident).is_some_and(|i| at + SKEW_MS < i.opened_at());
    let result = match wish {
        _ if old => Err(CommandError::OutOfDate(incident)),
        Wish::Acknowledge { actor, round, .. } => {
            engine.acknowledge(now, incident, actor, round).map(|done| match done {
                AckResult::Acknowledged => "is acknowledged".to_owned(),
                AckResult::Already(ack) => format!("was acknowledged already by {}", ack.actor.by),
            })
        }
        Wish::Resolve { actor, .. } => {
            engine.resolve(now, incident, &actor).map(|()| "is resolved".to_owned())
        }
        Wish::Nothing(why) => Ok(why.to_owned()),
    };
    match result {
        Ok(what) => ("done", format!("Incident {incident} {what}.")),
        Err(e) => ("nothing", format!("Nothing was done: {e}.")),
    }
}
