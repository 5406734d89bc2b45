//! What people say of an incident afterwards.

use super::records::Key;
use super::{CommandError, Engine, Now};
use crate::paging::incident::{Actor, Incident, Judged, Verdict};

impl Engine {
    /// Records whether an incident was worth it, open or over; the last word counts. `stored` is the incident as the ledger has it,
    /// for one that is not in memory any more. Nobody is told.
    ///
    /// # Errors
    /// There is no such incident.
    pub fn judge(
        &mut self,
        now: Now,
        id: u64,
        verdict: Verdict,
        actor: Actor,
        comment: String,
        stored: Option<Incident>,
    ) -> Result<(), CommandError> {
        if let Some(stored) = stored.filter(|i| i.id == id && !i.is_open())
            && !self.incidents.contains_key(&id)
        {
            self.incidents.insert(stored);
        }
        let incident = self.incidents.get_mut(&id).ok_or(CommandError::NotFound(id))?;
        let said = incident.judged.as_ref();
        if said.is_some_and(|j| j.verdict == verdict && j.actor == actor && j.comment == comment) {
            return Ok(());
        }
        let word = verdict.as_str();
        let why = if comment.is_empty() { String::new() } else { format!(": {comment}") };
        incident.note(now.wall, format!("judged {word} by {} ({}){why}", actor.by, actor.via));
        incident.judged = Some(Judged { verdict, actor, at: now.wall, comment });
        self.dirty.insert(Key::Incident(id));
        Ok(())
    }
}
