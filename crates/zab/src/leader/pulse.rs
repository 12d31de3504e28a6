//! Knowing soon that a learner of ours is lost, and letting it know that this leader is not.
//!
//! Every pulse is answered at once, so one timer serves both sides. A learner is judged by its
//! silence from its first answer on: one that does not pulse, of Apache's or older, is judged by
//! syncLimit alone.

use oxkeeper_proto::Capabilities;
use oxkeeper_proto::packet::Ours;

use super::{Leader, Phase, Stage};
use crate::ledger::Ledger;
use crate::messages::{Drop, LinkId, Outgoing, Why};
use crate::settings::PULSES_MISSED;

impl Leader {
    /// Sends pulses, and drops learners whose answers stay away.
    pub(super) fn pulse(&mut self, ledger: &mut Ledger, now_ms: u64) -> Result<(), Why> {
        let ran_ms = self.running.turn(now_ms);
        let Some(silence_ms) = ledger.settings.quick_silence_ms() else { return Ok(()) };
        if now_ms < self.next_pulse_ms {
            return Ok(());
        }
        let interval_ms = (silence_ms / PULSES_MISSED).max(1);
        self.next_pulse_ms = now_ms + interval_ms;
        let pulse = Ours::Pulse { interval_ms: interval_ms as u32 };
        let silent: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| {
                link.pulses && ran_ms.saturating_sub(link.heard_ran_ms) > silence_ms
            })
            .map(|(id, _)| *id)
            .collect();
        for id in &silent {
            self.drop_link(ledger, *id, Drop::Silent);
        }
        for (id, link) in &self.links {
            if link.stage == Stage::Broadcasting && link.can(Capabilities::QUICK_PING) {
                ledger.send(*id, Outgoing::Ours(pulse));
            }
        }
        // Who heard nothing of a quorum for so long need not wait for the end of the tick.
        let decides = self.phase == Phase::Broadcast && !self.below;
        if !silent.is_empty() && decides && !self.has_quorum(ledger) {
            return Err(self.quorum_lost());
        }
        Ok(())
    }
}
