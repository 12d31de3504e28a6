//! When a snapshot is due, and walking one without holding anybody up.
//!
//! The tree freezes nothing: it keeps aside what changes before the walk reaches it. Each step
//! takes a bounded number of znodes, and no more steps are made while the disk is behind, so
//! neither the lock nor memory is held for long.

use oxkeeper_proto::Zxid;

use super::Core;
use crate::front::Shared;
use crate::limits;
use crate::messages::Effect;
use crate::settings::Settings;

/// The thresholds of the running interval, and the snapshot under way.
#[derive(Debug)]
pub(super) struct SnapshotState {
    count: u64,
    bytes: u64,
    count_due: u64,
    bytes_due: u64,
    random: u64,
    wanted: bool,
    /// Wanted by a learner that can get nothing else.
    needed: bool,
    /// A walk is under way, with this many pieces handed out and not written.
    walking: Option<usize>,
    /// The walk is done; the last pieces are being written.
    finishing: bool,
    /// The transaction as of which the walk is.
    zxid: Zxid,
}

impl SnapshotState {
    pub fn new(settings: &Settings) -> Self {
        let mut state = SnapshotState {
            count: 0,
            bytes: 0,
            count_due: 0,
            bytes_due: 0,
            random: settings.seed | 1,
            wanted: false,
            needed: false,
            walking: None,
            finishing: false,
            zxid: Zxid::ZERO,
        };
        state.draw(settings);
        state
    }

    /// Draws the thresholds from the upper halves, so that the members of an ensemble do not all
    /// write at once (`SyncRequestProcessor.resetSnapshotStats`).
    fn draw(&mut self, settings: &Settings) {
        let mut next = || {
            self.random ^= self.random << 13;
            self.random ^= self.random >> 7;
            self.random ^= self.random << 17;
            self.random
        };
        let half = settings.snap_count / 2;
        self.count_due = half + next() % half.max(1);
        let half = settings.snap_size_bytes / 2;
        self.bytes_due = if half == 0 { u64::MAX } else { half + next() % half };
        self.count = 0;
        self.bytes = 0;
    }

    pub fn applied(&mut self, bytes: usize) {
        self.count += 1;
        self.bytes += bytes as u64;
    }
}

impl Core {
    /// Asks for a snapshot at the next opportunity, whatever the thresholds say.
    pub fn request_snapshot(&mut self) {
        self.snapshot.wanted = true;
    }

    /// Asks for a snapshot that a learner waits for: it is written before anyone is served, too.
    pub fn request_snapshot_for_learner(&mut self) {
        self.snapshot.needed = true;
    }

    /// True if [`Core::snapshot_step`] has something to do now.
    pub fn snapshot_wants_step(&self) -> bool {
        let state = &self.snapshot;
        if let Some(ensemble) = &self.ensemble {
            // A snapshot must not say more than this server's own log does, and none is begun
            // before history stands; a learner may need one before anyone is served.
            let complete = self.applied >= self.appliable();
            let stands = ensemble.has_role() || (state.needed && complete);
            if self.synced < state.zxid || (state.walking.is_none() && !stands) {
                return false;
            }
        }
        match state.walking {
            Some(ahead) => !state.finishing && ahead < limits::SNAPSHOT_CHUNKS_AHEAD,
            None => {
                !state.finishing
                    && (state.wanted
                        || state.needed
                        || state.count > state.count_due
                        || state.bytes > state.bytes_due)
            }
        }
    }

    /// Begins a snapshot that is due, or walks one a step further.
    pub fn snapshot_step(&mut self, shared: &mut Shared) {
        if !self.snapshot_wants_step() {
            return;
        }
        let Some(ahead) = self.snapshot.walking else {
            self.snapshot.wanted = false;
            self.snapshot.needed = false;
            self.snapshot.draw(&self.settings);
            self.snapshot.walking = Some(0);
            self.snapshot.zxid = self.applied;
            self.stats.snapshots += 1;
            let Ok(head) = shared.tree.snapshot_begin() else { return };
            self.effects.push_back(Effect::RollLog);
            self.effects.push_back(Effect::SnapshotBegin(Box::new(head)));
            return;
        };
        match shared.tree.snapshot_next(limits::SNAPSHOT_ZNODES_PER_STEP) {
            Some(chunk) => {
                self.snapshot.walking = Some(ahead + 1);
                self.effects.push_back(Effect::SnapshotChunk(chunk));
            }
            None => {
                self.snapshot.finishing = true;
                self.effects.push_back(Effect::SnapshotEnd);
            }
        }
    }

    /// One piece is written.
    pub fn snapshot_written(&mut self) {
        if let Some(ahead) = &mut self.snapshot.walking {
            *ahead = ahead.saturating_sub(1);
        }
    }

    /// The snapshot is published, or failed: the next may begin when it is due.
    pub fn snapshot_done(&mut self) {
        self.snapshot.walking = None;
        self.snapshot.finishing = false;
    }

    /// The tree is about to be another: what was walked of this one is of no use.
    pub(super) fn abandon_snapshot(&mut self) {
        self.snapshot.zxid = Zxid::ZERO;
        if self.snapshot.walking.is_some() && !self.snapshot.finishing {
            // Busy until the host has dropped it.
            self.snapshot.finishing = true;
            self.effects.push_back(Effect::SnapshotAbandon);
        }
    }

    /// True while a snapshot is being walked or written.
    pub fn snapshot_running(&self) -> bool {
        self.snapshot.walking.is_some()
    }
}
