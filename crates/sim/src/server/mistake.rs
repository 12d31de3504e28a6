//! What this host can do wrong, to show that the invariants would notice.

use oxkeeper_node::{ConnId, FrontId, Now, OwnedToCore, ToCore};

use super::running::Running;
use crate::agenda::{MS, Micros};
use crate::dice::Dice;

/// Something that this host can do wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// Writes are answered while they are still on their way to the disk.
    AnswersBeforeSync,
    /// A Front now and then does not hear of a transaction that nobody on it waits for.
    DropsMail,
    /// A Front is told of the outcomes first and of the changes afterwards.
    EventsAfterReplies,
    /// A Front on another thread reads the tree before it has taken its mail.
    ReadsBeforeMail,
    /// The core takes the messages of one turn from the last to the first.
    TakesMailBackwards,
    /// Messages of one connection stay in the core's mailbox for a while, whatever becomes of its
    /// session meanwhile.
    HoldsMessages,
    /// Clients count as not heard of: sessions are lost under their owners.
    ForgetsHeard,
    /// A Front that expires a session keeps its own silence: the core is told it was heard just
    /// now.
    HearsTheDead,
}

impl Running {
    /// A message to the core, as a host that makes mistakes passes it on.
    pub(super) fn misheard(&self, now: Now, mut message: OwnedToCore) -> OwnedToCore {
        if let OwnedToCore::Other(ToCore::Heard(sessions)) = &mut message {
            let heard_us = match self.mistake {
                Some(Mistake::ForgetsHeard) => 0,
                Some(Mistake::HearsTheDead) => now.mono_us,
                _ => return message,
            };
            sessions.iter_mut().for_each(|(_, at)| *at = heard_us);
        }
        message
    }

    /// For [`Mistake::HoldsMessages`]: keeps some back and gives those out that were long enough.
    pub(super) fn hold(
        &mut self,
        now: Micros,
        messages: Vec<(FrontId, OwnedToCore)>,
        dice: &mut Dice,
    ) -> Vec<(FrontId, OwnedToCore)> {
        let mut out = Vec::new();
        let (due, mut held) = std::mem::take(&mut self.held).into_iter().partition(|h| h.0 <= now);
        let due: Vec<(Micros, FrontId, OwnedToCore)> = due;
        out.extend(due.into_iter().map(|(_, front, message)| (front, message)));
        for (front, message) in messages {
            let same = held.iter().find(|(_, other, held): &&(Micros, FrontId, OwnedToCore)| {
                *other == front && conn_of(held) == conn_of(&message)
            });
            match (conn_of(&message), same.map(|same| same.0)) {
                (Some(_), Some(until)) => held.push((until, front, message)),
                (Some(_), None) if dice.one_in(8) => {
                    held.push((now + dice.between(200, 900) * MS, front, message));
                }
                _ => out.push((front, message)),
            }
        }
        self.held = held;
        out
    }
}

fn conn_of(message: &OwnedToCore) -> Option<ConnId> {
    match message {
        OwnedToCore::Write { conn, .. }
        | OwnedToCore::Other(
            ToCore::Write { conn, .. }
            | ToCore::Connect { conn, .. }
            | ToCore::Closed { conn, .. }
            | ToCore::Sync { conn, .. },
        ) => Some(*conn),
        OwnedToCore::Other(ToCore::Heard(_) | ToCore::Touched(_)) => None,
    }
}
