//! Incidents of the pager, and what people do about them.

use std::future::Future;
use std::sync::Arc;

use tokio::runtime::Handle;

use super::feedback;
use super::state::PagerSource;
use super::views::{CommandError, IncidentFeedback, Incidents, TokenView};
use crate::model::Clock;
use crate::paging::acklink::AckClaim;
use crate::paging::engine;
use crate::paging::incident::Actor;
use crate::paging::{IncidentView, PagerError, PagerHandle};
use crate::rules::{self, Taken};

/// Incidents. The methods are called on threads that may block.
pub struct PagerIncidents {
    pager: PagerSource,
    rules: rules::Manager,
    clock: Arc<dyn Clock>,
    runtime: Handle,
}

impl PagerIncidents {
    /// Must be called on the runtime.
    pub fn new(pager: PagerSource, rules: rules::Manager, clock: Arc<dyn Clock>) -> Self {
        Self { pager, rules, clock, runtime: Handle::current() }
    }

    fn view(&self, number: u64) -> Result<IncidentView, CommandError> {
        let found = self.ask(|pager| async move { pager.incident(number).await })?;
        found.ok_or_else(|| CommandError::NotFound(format!("no incident {number}")))
    }

    /// Records what a person says, then tells the rules.
    fn judged(
        &self,
        number: u64,
        said: &IncidentFeedback,
        actor: Actor,
    ) -> Result<(IncidentView, Taken), CommandError> {
        if let Some(verdict) = said.verdict {
            let comment = said.comment.clone();
            self.ask(|pager| async move { pager.judge(number, verdict, actor, comment).await })?
                .map_err(refused)?;
        }
        let view = self.view(number)?;
        let done = feedback::of_incident(&self.rules, &view, said, self.clock.now());
        Ok((view, done))
    }

    fn pager(&self) -> Result<PagerHandle, CommandError> {
        (self.pager)().ok_or_else(|| CommandError::NotFound("paging is not configured".into()))
    }

    fn judge_claim(&self, token: &str) -> Result<AckClaim, CommandError> {
        let pager = self.pager()?;
        pager.check_judge_link(token).map_err(|e| CommandError::BadToken(e.to_string()))
    }

    /// Asks the pager and waits for what it says.
    fn ask<T, F: Future<Output = Result<T, PagerError>>>(
        &self,
        question: impl FnOnce(PagerHandle) -> F,
    ) -> Result<T, CommandError> {
        let pager = self.pager()?;
        self.runtime.block_on(question(pager)).map_err(|e| CommandError::Failed(e.to_string()))
    }

    fn claim(&self, token: &str) -> Result<AckClaim, CommandError> {
        let pager = self.pager()?;
        pager.check_link(token).map_err(|e| CommandError::BadToken(e.to_string()))
    }

    fn shown(&self, claim: AckClaim) -> Result<TokenView, CommandError> {
        Ok(TokenView {
            incident: self.get(&claim.incident.to_string())?,
            step: u32::from(claim.step) + 1,
            round: claim.round.saturating_add(1),
            person: claim.person,
        })
    }
}

fn number(id: &str) -> Result<u64, CommandError> {
    id.parse().map_err(|_| CommandError::NotFound(format!("no incident {id}")))
}

fn actor(by: &str, from: &str) -> Actor {
    let by = if by.is_empty() { "somebody" } else { by };
    Actor::new(by, "api", from)
}

impl Incidents for PagerIncidents {
    fn list(&self, resolved_too: bool, limit: usize) -> Result<Vec<IncidentView>, CommandError> {
        if (self.pager)().is_none() {
            return Ok(Vec::new());
        }
        self.ask(|pager| async move { pager.newest_incidents(resolved_too, limit).await })
    }

    fn get(&self, id: &str) -> Result<IncidentView, CommandError> {
        self.view(number(id)?)
    }

    fn judge(&self, id: &str, said: &IncidentFeedback) -> Result<(IncidentView, Taken), CommandError> {
        self.judged(number(id)?, said, actor(&said.by, &said.address))
    }

    fn read_judge_token(&self, token: &str) -> Result<TokenView, CommandError> {
        let claim = self.judge_claim(token)?;
        self.shown(claim)
    }

    fn judge_by_token(&self, token: &str, said: &IncidentFeedback) -> Result<TokenView, CommandError> {
        let claim = self.judge_claim(token)?;
        let actor = Actor { via: "link".to_owned(), ..actor(&claim.person, &said.address) };
        self.judged(claim.incident, said, actor)?;
        self.shown(claim)
    }

    fn acknowledge(
        &self,
        id: &str,
        by: &str,
        from: &str,
        comment: &str,
    ) -> Result<IncidentView, CommandError> {
        let (number, actor) = (number(id)?, actor(by, from).saying(comment));
        self.ask(|pager| async move { pager.acknowledge(number, actor).await })?.map_err(refused)?;
        self.get(id)
    }

    fn resolve(&self, id: &str, by: &str, from: &str, comment: &str) -> Result<IncidentView, CommandError> {
        let (number, actor) = (number(id)?, actor(by, from).saying(comment));
        self.ask(|pager| async move { pager.resolve(number, actor).await })?.map_err(refused)?;
        self.get(id)
    }

    fn read_token(&self, token: &str) -> Result<TokenView, CommandError> {
        let claim = self.claim(token)?;
        self.shown(claim)
    }

    fn acknowledge_by_token(
        &self,
        token: &str,
        from: &str,
        comment: &str,
    ) -> Result<TokenView, CommandError> {
        let claim = self.claim(token)?;
        let (used, from) = (claim.clone(), from.to_owned());
        match self.ask(|pager| async move { pager.acknowledge_by_link(used, from, comment).await })? {
            // What is over needs nobody any more, and that is what the page then says.
            Ok(_) | Err(engine::CommandError::Resolved(_)) => self.shown(claim),
            Err(e) => Err(refused(e)),
        }
    }
}

fn refused(e: engine::CommandError) -> CommandError {
    match e {
        engine::CommandError::NotFound(_) => CommandError::NotFound(e.to_string()),
        _ => CommandError::Conflict(e.to_string()),
    }
}
