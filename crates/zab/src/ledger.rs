//! What outlives a role: the promises, the positions in history, the configuration, and the
//! effects not yet taken by the host.
//!
//! Roles come and go; each writes history through this one ledger, leader and learner alike, so
//! there is one place that appends, one that commits, and one that knows whether the disk is quiet
//! (ZOOKEEPER-4925 came of two ways to apply a transaction, ZOOKEEPER-4712 of writes that outlived
//! the role that had begun them).

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::{Capabilities, Sid, Zxid};

use crate::cursors::{Cursors, Window, follows};
use crate::messages::{Disk, Effect, Entry, Epochs, Fatal, Outgoing, Recovered};
use crate::messages::{Drop, LinkId, State, Violation};
use crate::quorum::{Membership, QuorumVerifier};
use crate::settings::Settings;
use crate::wrong::{self, Wrong};

/// See the module's essay.
#[derive(Debug)]
pub struct Ledger {
    /// As configured.
    pub settings: Settings,
    /// The configuration in force and the last one seen.
    pub membership: Membership,
    /// Learners that get a snapshot from this server, because its log could not serve them. They
    /// may come back only after another election.
    pub snapshot_next: BTreeSet<Sid>,
    epochs: Epochs,
    saving: Option<Epochs>,
    cursors: Cursors,
    window: Window,
    outstanding: VecDeque<Entry>,
    outstanding_bytes: usize,
    generation: u64,
    rebuilding: bool,
    trusted: bool,
    /// Where history is being cut.
    cutting_to: Option<Zxid>,
    wants_snapshot: bool,
    /// The ensemble's number, on disk; 0 while none is known.
    ensemble_id: u128,
    saving_ensemble_id: Option<u128>,
    effects: VecDeque<Effect>,
}

/// A disk report that concerns the role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// The log reached further.
    Synced,
    /// The epochs are saved.
    Epochs,
    /// The ensemble's number is saved.
    EnsembleId,
    /// TRUNC or SNAP is done, or memory was read anew.
    Rebuilt,
    /// Of a generation that is over.
    Stale,
}

impl Ledger {
    /// Of a server that has just started.
    pub fn new(settings: Settings, membership: Membership, recovered: Recovered) -> Ledger {
        let last = recovered.last_logged;
        // Two files, so a crash may lie between them, and an operator may have lost one. To have
        // promised more than is known is always safe (ZOOKEEPER-2354, 2307).
        let Epochs { accepted, current } = recovered.epochs;
        let in_log = if last > Zxid::ZERO { last.epoch() } else { 0 };
        let epochs = Epochs { accepted: accepted.max(current).max(in_log), current };
        let (count_max, bytes_max) = (settings.committed_count_max, settings.committed_bytes_max);
        let window = Window::recovered(recovered.tail, count_max, bytes_max)
            .filter(|window| window.last() == last)
            .unwrap_or_else(|| Window::new(last, count_max, bytes_max));
        let ensemble_id = settings.ensemble_id;
        Ledger {
            ensemble_id,
            saving_ensemble_id: None,
            settings,
            membership,
            snapshot_next: BTreeSet::new(),
            epochs,
            saving: None,
            cursors: Cursors::at(last),
            window,
            outstanding: VecDeque::new(),
            outstanding_bytes: 0,
            generation: 0,
            rebuilding: false,
            trusted: recovered.trusted,
            cutting_to: None,
            wants_snapshot: false,
            effects: VecDeque::new(),
        }
    }

    /// The next effect for the host.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// Adds an effect.
    pub fn push(&mut self, effect: Effect) {
        self.effects.push_back(effect);
    }

    /// Sends a packet.
    pub fn send(&mut self, link: LinkId, packet: Outgoing) {
        self.effects.push_back(Effect::Send(link, packet));
    }

    /// Hangs up.
    pub fn close(&mut self, link: LinkId, why: Drop) {
        self.effects.push_back(Effect::Close(link, why));
    }

    /// Tells the host the state.
    pub fn state(&mut self, state: State) {
        self.effects.push_back(Effect::State(state));
    }

    /// Asks the host to stop.
    pub fn fatal(&mut self, fatal: Fatal) {
        self.effects.push_back(Effect::Fatal(fatal));
    }

    /// What this server says of itself behind LearnerInfo and LEADERINFO.
    pub fn trailer(&self) -> Bytes {
        let mut out = Vec::new();
        if self.settings.capabilities != 0 {
            let mut said = self.capabilities();
            said.bits |= if self.trusted { 0 } else { Capabilities::NO_VOICE };
            said.bits |= if self.wants_snapshot { Capabilities::WANTS_SNAPSHOT } else { 0 };
            said.encode(&mut out);
        }
        Bytes::from(out)
    }

    /// What this server can do, and the number of its ensemble if that is on disk.
    pub fn capabilities(&self) -> Capabilities {
        Capabilities { bits: self.settings.capabilities, ensemble_id: self.ensemble_id }
    }

    /// The ensemble's number, on disk or about to be; 0 while none is known.
    pub fn ensemble_id(&self) -> u128 {
        self.saving_ensemble_id.unwrap_or(self.ensemble_id)
    }

    /// Takes a number for the ensemble, if there is none; true if it is not another than ours.
    pub fn take_ensemble_id(&mut self, id: u128) -> bool {
        let keeps = self.settings.capabilities & Capabilities::ENSEMBLE_ID != 0;
        if !keeps || id == 0 {
            return true;
        }
        if self.ensemble_id() == 0 {
            self.saving_ensemble_id = Some(id);
            self.push(Effect::SaveEnsembleId(id));
        }
        self.ensemble_id() == id
    }

    /// The promises that are on disk.
    pub fn epochs(&self) -> Epochs {
        self.epochs
    }

    /// The positions.
    pub fn cursors(&self) -> Cursors {
        self.cursors
    }

    /// The committed transactions in memory.
    pub fn window(&self) -> &Window {
        &self.window
    }

    /// Transactions appended and not committed.
    pub fn outstanding(&self) -> &VecDeque<Entry> {
        &self.outstanding
    }

    /// False for a database whose past is unknown: it was empty, and may have held more.
    pub fn trusted(&self) -> bool {
        self.trusted
    }

    /// What was forgotten with the past does not matter any more.
    pub fn trust(&mut self) {
        if !self.trusted {
            self.trusted = true;
            self.push(Effect::SaveTrust);
        }
    }

    /// True if history could not be cut where a leader wanted it, or what a leader sent to complete
    /// it had a hole.
    pub fn wants_snapshot(&self) -> bool {
        self.wants_snapshot
    }

    /// The next leader is asked for a snapshot, whatever it could send instead.
    pub fn want_snapshot(&mut self) {
        self.wants_snapshot = true;
    }

    /// Writes both epochs.
    pub fn save_epochs(&mut self, epochs: Epochs) {
        assert!(self.saving.is_none(), "one save of the epochs at a time");
        assert!(epochs.accepted >= self.epochs.accepted, "promises are kept");
        assert!(epochs.current >= self.epochs.current, "epochs only grow");
        self.saving = Some(epochs);
        self.push(Effect::SaveEpochs(epochs));
    }

    /// Adds a transaction to history, after checking that it follows the last one (ZOOKEEPER-4925).
    /// `logged` is false on an observer that keeps no log.
    pub fn append(&mut self, entry: Entry, logged: bool) -> Result<(), Violation> {
        let last = self.cursors.appended;
        let begins = self.settings.epochs_begin_at.and_then(|before| before.checked_add(1));
        let new_epoch = begins == Some(entry.zxid.counter())
            && entry.zxid > last
            && (entry.zxid.epoch() > last.epoch() || last.counter() == 0);
        if !follows(last, entry.zxid) && !new_epoch {
            return Err(Violation::Gap { last, got: entry.zxid });
        }
        if self.outstanding.len() >= self.settings.outstanding_count_max
            || self.outstanding_bytes + entry.payload.len() > self.settings.outstanding_bytes_max
        {
            return Err(Violation::TooMuchOutstanding);
        }
        self.cursors.appended = entry.zxid;
        self.outstanding_bytes += entry.payload.len();
        self.outstanding.push_back(entry.clone());
        if logged {
            self.push(Effect::Append(entry));
        } else {
            self.cursors.synced = entry.zxid;
            self.push(Effect::Hold(entry));
        }
        Ok(())
    }

    /// Commits the oldest outstanding transaction, which has to be this one, and returns it.
    pub fn commit(&mut self, zxid: Zxid) -> Result<Entry, Violation> {
        let next = self.outstanding.front().map_or(Zxid::ZERO, |entry| entry.zxid);
        if next != zxid || zxid == Zxid::ZERO {
            return Err(Violation::CommitOrder { next, got: zxid });
        }
        let entry = self.outstanding.pop_front().expect("the front was just looked at");
        self.outstanding_bytes -= entry.payload.len();
        self.cursors.committed = zxid;
        self.window.push(entry.clone());
        self.push(Effect::Commit(zxid));
        self.cursors.check();
        Ok(entry)
    }

    /// For [`Wrong::Z4925`] alone.
    pub fn skip_in_window(&mut self) {
        self.window.forget_last();
    }

    /// Cuts history behind `to`.
    pub fn truncate(&mut self, to: Zxid) {
        let generation = self.rebuild();
        self.cutting_to = Some(to);
        self.push(Effect::Truncate { generation, to });
    }

    /// Replaces history by a snapshot that this link sends.
    pub fn receive_snapshot(&mut self, link: LinkId, zxid: Zxid) {
        let generation = self.rebuild();
        self.cursors = Cursors::at(zxid);
        self.window.clear(zxid);
        self.push(Effect::ReceiveSnapshot { generation, link, zxid });
    }

    /// Drops memory, which a broken off TRUNC or SNAP has left anywhere (ZOOKEEPER-5094, 3642).
    pub fn reload(&mut self) {
        let generation = self.rebuild();
        self.push(Effect::Reload { generation });
    }

    fn rebuild(&mut self) -> u64 {
        self.outstanding.clear();
        self.outstanding_bytes = 0;
        self.generation += 1;
        self.rebuilding = true;
        self.generation
    }

    /// True while TRUNC, SNAP or a reload is under way.
    pub fn rebuilding(&self) -> bool {
        self.rebuilding
    }

    /// True if no write is under way.
    pub fn settled(&self) -> bool {
        // Who may have a number for the ensemble must not tell the next leader that it has none.
        if wrong::is(Wrong::Z4712) {
            return self.saving.is_none() && !self.rebuilding;
        }
        let saving = self.saving.is_some() || self.saving_ensemble_id.is_some();
        !saving && !self.rebuilding && self.cursors.synced == self.cursors.appended
    }

    /// Takes the log at its word: what was appended counts as committed from now on.
    pub fn fast_forward(&mut self) {
        while let Some(entry) = self.outstanding.pop_front() {
            self.window.push(entry);
        }
        self.outstanding_bytes = 0;
        self.cursors.committed = self.cursors.appended;
        self.push(Effect::FastForward(self.cursors.appended));
    }

    /// A report of the disk.
    pub fn done(&mut self, disk: Disk) -> Result<Done, Fatal> {
        let done = match disk {
            Disk::Failed => return Err(Fatal::Disk),
            // Appended before a TRUNC or SNAP, done before it: history has moved on.
            Disk::Synced(_) if self.rebuilding => Done::Stale,
            Disk::Synced(zxid) if zxid < self.cursors.synced => Done::Stale,
            Disk::Synced(zxid) if zxid > self.cursors.appended => {
                return Err(Fatal::Report("a transaction"));
            }
            Disk::Synced(zxid) => {
                self.cursors.synced = zxid;
                Done::Synced
            }
            Disk::EpochsSaved(epochs) => {
                if self.saving.take() != Some(epochs) {
                    return Err(Fatal::Report("epochs"));
                }
                self.epochs = epochs;
                Done::Epochs
            }
            Disk::EnsembleIdSaved(id) => {
                if self.saving_ensemble_id.take() != Some(id) {
                    return Err(Fatal::Report("the ensemble's number"));
                }
                self.ensemble_id = id;
                Done::EnsembleId
            }
            Disk::Truncated { generation, last } | Disk::Reloaded { generation, last } => {
                if generation != self.generation {
                    return Ok(Done::Stale);
                }
                self.rebuilding = false;
                if let (Disk::Truncated { .. }, Some(to)) = (disk, self.cutting_to.take()) {
                    self.wants_snapshot = last > to;
                }
                self.cursors = Cursors::at(last);
                self.membership.cut_history(last);
                if self.window.last() > last {
                    self.window.truncate(last);
                }
                if self.window.last() != last {
                    self.window.clear(last);
                }
                Done::Rebuilt
            }
            Disk::SnapshotInstalled { generation } => {
                if generation != self.generation {
                    return Ok(Done::Stale);
                }
                self.rebuilding = false;
                self.wants_snapshot = false;
                // NEWLEADER says what holds with the leader's history.
                self.membership.cut_history(Zxid::ZERO);
                Done::Rebuilt
            }
        };
        self.cursors.check();
        Ok(done)
    }

    /// A configuration was proposed.
    pub fn config_seen(&mut self, config: Arc<QuorumVerifier>) {
        self.membership.see(Arc::clone(&config));
        self.push(Effect::ConfigSeen(config));
    }

    /// Others need a proposed configuration.
    pub fn config_heard(&mut self, config: Arc<QuorumVerifier>) {
        self.membership.hear(Arc::clone(&config));
        self.push(Effect::ConfigHeard(config));
    }

    /// A configuration is in force.
    pub fn config_active(&mut self, config: Arc<QuorumVerifier>) {
        let seen = self.membership.commit(Arc::clone(&config));
        self.push(Effect::ConfigActive(config));
        if seen {
            self.tell_seen();
        }
    }

    /// History holds a configuration that is newer than the one in force.
    fn tell_seen(&mut self) {
        let Some(seen) = self.membership.last_seen().map(Arc::clone) else { return };
        tracing::warn!(
            version = seen.version(),
            in_force = self.membership.current().version(),
            "the log or a snapshot holds a newer configuration than the one in force: both count \
             until a leader has put it in force"
        );
        self.push(Effect::ConfigSeen(seen));
    }

    /// Weighs the configuration that history ends with.
    pub fn recovered_config(&mut self, config: Option<Arc<QuorumVerifier>>) {
        let before = self.membership.last_seen().map(Arc::as_ptr);
        self.membership = self.membership.clone().with_history(config);
        if self.membership.last_seen().map(Arc::as_ptr) != before {
            self.tell_seen();
        }
    }

    /// The last configuration seen, or the one in force.
    pub fn config_last_seen(&self) -> Arc<QuorumVerifier> {
        Arc::clone(self.membership.last_seen().unwrap_or(self.membership.current()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(epochs: Epochs, last_logged: Zxid) -> Ledger {
        let config = QuorumVerifier::parse("server.1=a:1:2\nversion=0", false).unwrap();
        let recovered = Recovered { last_logged, epochs, ..Recovered::default() };
        let membership = Membership::new(Arc::new(config), None);
        Ledger::new(Settings::new(Sid(1)), membership, recovered)
    }

    #[test]
    fn zookeeper_2354_2307_every_crash_between_the_epochs_starts() {
        let log = Zxid(5 << 32 | 3);
        for (accepted, current, expected) in
            [(5, 5, (5, 5)), (6, 5, (6, 5)), (5, 4, (5, 4)), (4, 5, (5, 5)), (0, 0, (5, 0))]
        {
            let started = ledger(Epochs { accepted, current }, log).epochs();
            assert_eq!((started.accepted, started.current), expected, "{accepted} {current}");
        }
    }

    #[test]
    fn reports_of_what_was_never_asked_for_are_fatal() {
        let mut ledger = ledger(Epochs::default(), Zxid(1 << 32 | 1));
        assert!(ledger.done(Disk::Synced(Zxid(1 << 32 | 2))).is_err());
        assert!(ledger.done(Disk::EpochsSaved(Epochs { accepted: 1, current: 1 })).is_err());
        assert_eq!(ledger.done(Disk::Failed), Err(Fatal::Disk));
        // Of a generation that is over: only late.
        let late = Disk::Truncated { generation: 7, last: Zxid::ZERO };
        assert_eq!(ledger.done(late), Ok(Done::Stale));
    }

    #[test]
    fn outstanding_transactions_are_bounded() {
        let mut ledger = ledger(Epochs::default(), Zxid::ZERO);
        ledger.settings.outstanding_count_max = 2;
        let entry = |counter: i64| Entry { zxid: Zxid(1 << 32 | counter), payload: "x".into() };
        assert_eq!(ledger.append(entry(1), true), Ok(()));
        assert_eq!(ledger.append(entry(2), true), Ok(()));
        assert_eq!(ledger.append(entry(3), true), Err(Violation::TooMuchOutstanding));
        assert!(ledger.commit(entry(1).zxid).is_ok());
        assert_eq!(ledger.append(entry(3), true), Ok(()));
    }

    #[test]
    fn where_epochs_begin_near_their_end_a_hole_is_still_one() {
        let entry = |zxid: i64| Entry { zxid: Zxid(zxid), payload: "x".into() };
        let append = |last, next, begin_at| {
            let mut ledger = ledger(Epochs::default(), Zxid(last));
            ledger.settings.epochs_begin_at = begin_at;
            ledger.append(entry(next), true)
        };
        let hole = |last, got| Err(Violation::Gap { last: Zxid(last), got: Zxid(got) });
        let begin = Some(0xffff_f63a);
        for (last, next) in [
            (0, 0x1_ffff_f63b),
            (0x1_ffff_fffe, 0x2_ffff_f63b),
            (0x1_ffff_fffe, 0x3_ffff_f63b),
            (0x2_0000_0000, 0x2_ffff_f63b),
            // A server that was not told.
            (0x1_ffff_fffe, 0x2_0000_0001),
        ] {
            assert_eq!(append(last, next, begin), Ok(()), "{last:x} {next:x}");
        }
        assert_eq!(append(0x1_ffff_fffe, 0x2_ffff_f63b, None), hole(0x1_ffff_fffe, 0x2_ffff_f63b));
        for (last, next) in
            [(0x1_ffff_fffe, 0x2_ffff_fb1a), (0x2_ffff_f63b, 0x2_ffff_f63d), (0, 0x1_ffff_f63c)]
        {
            assert_eq!(append(last, next, begin), hole(last, next), "{last:x} {next:x}");
        }
    }
}
