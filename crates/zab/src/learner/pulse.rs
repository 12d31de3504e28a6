//! Knowing soon that a leader of ours is lost: the other side of its pulses.

use oxkeeper_proto::packet::Ours;

use super::{Learner, Stage};
use crate::ledger::Ledger;
use crate::messages::Outgoing;
use crate::running::RunningTime;
use crate::settings::PULSES_MISSED;

/// How a leader that pulses is listened to.
#[derive(Debug)]
pub(super) struct Listening {
    running: RunningTime,
    /// When it was last heard, in our running time.
    heard_ran_ms: u64,
    /// For how long it may be silent.
    silence_ms: u64,
}

impl Listening {
    /// Something came from the leader.
    pub(super) fn heard(&mut self, now_ms: u64) {
        self.heard_ran_ms = self.running.turn(now_ms);
    }

    /// Whether the leader is lost.
    pub(super) fn is_lost(&mut self, now_ms: u64) -> bool {
        self.running.turn(now_ms) > self.heard_ran_ms + self.silence_ms
    }

    /// When to look next.
    pub(super) fn due_ms(&self) -> u64 {
        self.running.due_ms(self.heard_ran_ms + self.silence_ms + 1)
    }
}

impl Learner {
    /// PULSE: answered at once. From the first on, the leader is expected to go on with them; it
    /// may do so less often than we would.
    pub(super) fn pulsed(&mut self, ledger: &mut Ledger, now_ms: u64, interval_ms: u32) {
        let (Stage::Broadcasting, Some(link)) = (self.stage, self.link) else { return };
        ledger.send(link, Outgoing::Ours(Ours::Pulse { interval_ms }));
        if self.listening.is_none()
            && let Some(silence_ms) = ledger.settings.quick_silence_ms()
        {
            let silence_ms = silence_ms.max(u64::from(interval_ms) * PULSES_MISSED);
            let running = RunningTime::new(now_ms, silence_ms / PULSES_MISSED);
            self.listening = Some(Listening { running, heard_ran_ms: 0, silence_ms });
        }
    }
}
