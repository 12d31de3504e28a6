//! What votes say of the members.
//!
//! Every vote brings its sender's configuration, and a newer one is adopted. One that was proposed
//! and is not in force comes with the votes of ours alone (D141). Who has it in its log, or has
//! seen it, needs a quorum of it as well, and may need the vote of somebody whom those who have not
//! seen it do not know: they would vote past each other for ever. So who has found nobody for long
//! takes the word of a voter that it knows, and can vote for whomever that one votes for. Its own
//! quorums stay what they were, and to follow a leader is always safe: it leads by quorums of its
//! own. Nobody does so at once, as those who know nothing of it may be a quorum without it, and the
//! members that it would bring in may never come; nor twice in a row.

use std::sync::Arc;

use oxkeeper_proto::ids::Sid;
use oxkeeper_proto::notification::{Notification, PeerState};
use tracing::{debug, info, warn};

use super::{Effect, Election, LOOKS_LONG_MS, Phase};
use crate::quorum::{QuorumVerifier, Role};
use crate::wrong::{self, Wrong};

impl Election {
    /// Whether the sender goes by another configuration of the same version. Its voice is worth
    /// nothing: it counts other quorums.
    pub(super) fn is_of_another_ensemble(&mut self, from: Sid, told: &Notification<'_>) -> bool {
        let (Some(text), true) = (&told.config, self.settings.reconfig_enabled) else {
            return false;
        };
        // The version is the last line of both.
        let last_line = |text: &str| text.rsplit('\n').next().map(str::to_owned);
        if **text == *self.configs.in_force || last_line(text) != last_line(&self.configs.in_force)
        {
            return false;
        }
        let Ok(config) = QuorumVerifier::parse(text, self.settings.multi_address) else {
            return false;
        };
        let conflicts = config.conflicts_with(self.membership.current());
        if conflicts && self.membership.is_voter(from) && self.conflicting.insert(from) {
            warn!(%from, version = config.version(), "another configuration than ours has the \
                same version: this server is of another ensemble, and its votes are ignored");
        }
        conflicts
    }

    /// Takes over the configuration of a notification if it is newer than ours and we are looking.
    /// True if that made everything begin anew.
    pub(super) fn adopt_config(&mut self, now_ms: u64, told: &Notification<'_>) -> bool {
        let (Some(text), true) = (&told.config, self.settings.reconfig_enabled) else {
            return false;
        };
        if self.state() != PeerState::Looking || **text == *self.configs.in_force {
            return false;
        }
        let config = match QuorumVerifier::parse(text, self.settings.multi_address) {
            Ok(config) => config,
            Err(error) => {
                debug!(%error, "a notification brought no configuration that can be read");
                return false;
            }
        };
        let current = self.membership.current();
        if config.version() <= current.version() {
            return false;
        }
        let same = config.agrees_with(current);
        info!(version = config.version(), same, "a newer configuration came with a vote");
        let config = Arc::new(config);
        self.standing.role = match config.is_observer(self.my_sid) {
            true => Role::Observer,
            false => Role::Participant,
        };
        self.membership.commit(Arc::clone(&config));
        self.write_config();
        self.effects.push_back(Effect::Adopt(config));
        let restarts = !same && matches!(self.phase, Phase::Looking(_));
        if restarts {
            self.restart(now_ms);
        }
        restarts
    }

    /// Whether what is proposed is listened to: nobody was found for long, in one search or in
    /// several. Who went to somebody it had only heard of, in vain, listens to nobody for a while:
    /// there may be a quorum without.
    fn listens(&self, now_ms: u64) -> bool {
        let long = now_ms.saturating_sub(self.alone_since_ms) >= LOOKS_LONG_MS;
        long && (!self.went_by_hearsay || self.looks_long(now_ms))
    }

    /// Who has looked for long hears of a proposed configuration that a voter needs.
    pub(super) fn hear_of_proposed(&mut self, now_ms: u64, from: Sid, told: &Notification<'_>) {
        let Some(text) = &told.proposed else { return };
        let membership = &self.membership;
        let listens = self.settings.reconfig_enabled
            && matches!(self.phase, Phase::Looking(_))
            && told.state == PeerState::Looking
            && membership.current().is_voter(from)
            && self.listens(now_ms)
            && !wrong::is(Wrong::Unheard);
        if !listens {
            return;
        }
        let Ok(config) = QuorumVerifier::parse(text, self.settings.multi_address) else { return };
        if membership.known().any(|known| known.version() >= config.version()) {
            return;
        }
        info!(%from, version = config.version(), "a voter needs a configuration that was proposed");
        let config = Arc::new(config);
        self.membership.hear(Arc::clone(&config));
        self.effects.push_back(Effect::Hear(config));
    }
}
