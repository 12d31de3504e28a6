//! The number that an ensemble is known by, so that servers of two ensembles tell each other apart.
//!
//! It is made once, at random, by the first leader that sees every voter and finds that none has
//! one: then nobody who might have another is away. A server keeps it for good; who has none takes
//! it over, who has another is refused. An ensemble with members of Apache's, which keep none, has
//! a number only if it got one before they came.

use oxkeeper_proto::Capabilities;
use oxkeeper_proto::packet::Ours;

use super::{Leader, Stage};
use crate::ledger::Ledger;
use crate::messages::Outgoing;

impl Leader {
    /// Sees to it that the ensemble has a number.
    pub(super) fn look_at_ensemble_id(&mut self, ledger: &mut Ledger) {
        if ledger.ensemble_id() != 0 {
            return;
        }
        let serving = || self.links.values().filter(|link| link.stage == Stage::Broadcasting);
        let voters = ledger.membership.voters();
        let known = serving().filter(|link| voters.contains(&link.sid()));
        let known = known.map(|link| link.ensemble_id()).find(|id| *id != 0);
        let me = ledger.settings.sid;
        let all_keep_it = voters.iter().filter(|sid| **sid != me).all(|sid| {
            serving().any(|link| link.sid() == *sid && link.can(Capabilities::ENSEMBLE_ID))
        });
        let made = all_keep_it.then_some(ledger.settings.ensemble_seed);
        if let Some(id) = known.or(made).filter(|id| *id != 0)
            && ledger.take_ensemble_id(id)
        {
            tracing::info!(id = %format_args!("{id:032x}"), made = known.is_none(),
                "this ensemble has a number");
        }
    }

    /// Tells it to those who serve and do not know it.
    pub(super) fn tell_ensemble_id(&mut self, ledger: &mut Ledger) {
        let id = ledger.capabilities().ensemble_id;
        if id == 0 {
            return;
        }
        for (to, link) in &mut self.links {
            let asks = link.can(Capabilities::ENSEMBLE_ID) && link.ensemble_id() == 0;
            if link.stage == Stage::Broadcasting && asks && !link.told_ensemble_id {
                link.told_ensemble_id = true;
                ledger.send(*to, Outgoing::Ours(Ours::Ensemble { id }));
            }
        }
    }
}
