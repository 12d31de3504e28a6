//! Leading: from the promise of a new epoch to its last commit (`Leader`).
//!
//! # Phases
//! *Discovery*: voters and observers connect and say which epoch they have accepted; when a quorum
//! of voters is there, the new epoch is one more than any of theirs. It is on disk before anyone is
//! told. *Acknowledgement*: a quorum promises to follow nobody older, and says how far its log
//! reaches; nobody may have more than this server, or election went wrong. *Synchronization*: each
//! learner is given this server's history (`sync_plan`) and NEWLEADER; a quorum says that it is on
//! disk. *Broadcast*: proposals, acknowledgements, commits in order, until a quorum is not heard
//! from any more.
//!
//! A learner that comes later goes through the same stages on its own link, past phases that are
//! over.
//!
//! # Counting
//! Learners log in order and acknowledge in order, so an acknowledgement speaks for everything
//! before it; the highest one of each server is all that is kept. It is forgotten when that server
//! is synchronised anew, because TRUNC may take away what it had acknowledged.
//!
//! A link is dropped with a reason when its peer breaks the protocol; nothing that a learner does
//! ends the leader's role but its silence.

mod below;
mod broadcast;
mod discovery;
mod ensemble;
mod handover;
mod link;
mod pulse;
mod sync;
mod voices;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use oxkeeper_proto::packet::{Ours, Packet};
use oxkeeper_proto::{Capabilities, OpCode, Sid, Zxid};

use crate::ledger::{Done, Ledger};
use crate::messages::{Drop, LinkId, SyncToken, Verdict, Why};
use crate::quorum::Membership;
use crate::running::RunningTime;
use crate::settings::PULSES_MISSED;
use crate::wrong::{self, Wrong};

pub use link::{Learner, Link, Stage, Syncing};

/// How far the epoch is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// A quorum of voters is awaited.
    Discovery,
    /// The accepted epoch is being written.
    Promising,
    /// A quorum of ACKEPOCH is awaited.
    AckEpoch,
    /// A quorum of ACK(NEWLEADER) is awaited.
    Synchronization,
    /// The epoch is established.
    Broadcast,
}

/// A proposal that is not committed; its entry is the ledger's.
#[derive(Debug)]
struct Proposal {
    zxid: Zxid,
    /// Whose quorums it needs: of the configuration then, and of the one proposed if any.
    needs: Arc<Membership>,
    reconfig: bool,
}

/// Who waits for a sync.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Syncer {
    Link(LinkId),
    Own(SyncToken),
}

/// A sync that is not answered yet.
#[derive(Debug, Clone, Copy)]
struct PendingSync {
    /// Everything up to here is to be committed before.
    behind: Zxid,
    /// Pings of later rounds than this one were sent after it had come.
    round: u64,
    syncer: Syncer,
}

/// See the module's essay.
#[derive(Debug)]
pub struct Leader {
    phase: Phase,
    /// These are a follower's observers, and another server decides.
    below: bool,
    /// In discovery the largest that anyone asks for, then the epoch.
    epoch: u32,
    /// Who promised what in discovery: voters that are there.
    connecting: BTreeSet<Sid>,
    /// Who acknowledged the epoch.
    epoch_acks: BTreeSet<Sid>,
    /// Who did, and has hung up since: it may come back without its data, and forget that it did.
    epoch_acks_lapsed: BTreeSet<Sid>,
    /// Who has the initial history on disk.
    history_acks: BTreeSet<Sid>,
    /// The last acknowledged proposal of each.
    acked: BTreeMap<Sid, Zxid>,
    /// This server's position when it was elected: current epoch and last transaction.
    own_position: (u32, Zxid),
    links: BTreeMap<LinkId, Link>,
    proposals: VecDeque<Proposal>,
    needs: Arc<Membership>,
    /// The last zxid given out.
    proposed: Zxid,
    /// Who leads from now on, if it is another: nothing is committed any more.
    successor: Option<Sid>,
    exhausted: bool,
    /// The first counter that is given to a transaction, and the last.
    counter_first: u32,
    counter_max: u32,
    /// Acknowledgements came that are not counted.
    acks_due: bool,
    /// The last commit that those have not been told of who take one for many.
    commits_untold: Option<Zxid>,
    /// Until when what is outstanding may be committed, before the lead is given up.
    handing_over_until_ms: Option<u64>,
    /// The leader before has named this server.
    appointed: bool,
    /// A voter has promised a later epoch.
    outpromised: bool,
    syncs: VecDeque<PendingSync>,
    /// A sync has come since all were pinged, and it has to be known who follows.
    doubted: bool,
    /// The last round before the one that was pinged for syncs.
    doubted_before: Option<u64>,
    /// How many times all were pinged.
    round: u64,
    /// When this server's own oldest write that is not on disk was begun.
    own_write: Option<(Zxid, u64)>,
    tick: u64,
    half_tick: bool,
    next_half_tick_ms: u64,
    phase_until_ms: u64,
    running: RunningTime,
    next_pulse_ms: u64,
}

impl Leader {
    /// Begins discovery. `appointed`: the leader before has named this server, and its learners are
    /// on their way.
    pub fn new(ledger: &mut Ledger, now_ms: u64, appointed: bool) -> Leader {
        let mut leader = Leader::blank(ledger, now_ms, appointed);
        leader.look_at_discovery(ledger);
        leader
    }

    fn blank(ledger: &Ledger, now_ms: u64, appointed: bool) -> Leader {
        let epochs = ledger.epochs();
        let settings = &ledger.settings;
        let silence_ms = settings.quick_silence_ms();
        let step_ms = silence_ms.unwrap_or(0) / PULSES_MISSED;
        Leader {
            phase: Phase::Discovery,
            below: false,
            epoch: epochs.accepted.saturating_add(1),
            connecting: BTreeSet::from([settings.sid]),
            epoch_acks: BTreeSet::new(),
            epoch_acks_lapsed: BTreeSet::new(),
            history_acks: BTreeSet::new(),
            acked: BTreeMap::new(),
            own_position: (epochs.current, ledger.cursors().appended),
            links: BTreeMap::new(),
            proposals: VecDeque::new(),
            needs: Arc::new(ledger.membership.clone()),
            proposed: Zxid::ZERO,
            successor: None,
            exhausted: false,
            counter_first: settings.epochs_begin_at.unwrap_or(0).saturating_add(1),
            counter_max: settings.counter_max,
            acks_due: false,
            commits_untold: None,
            handing_over_until_ms: None,
            appointed,
            outpromised: false,
            syncs: VecDeque::new(),
            doubted: false,
            doubted_before: None,
            round: 0,
            own_write: None,
            tick: 0,
            half_tick: false,
            next_half_tick_ms: now_ms + settings.tick_time_ms / 2,
            phase_until_ms: now_ms
                + match appointed {
                    true => settings.handover_limit_ms().min(settings.init_limit_ms()),
                    false => settings.init_limit_ms(),
                },
            running: RunningTime::new(now_ms, step_ms),
            next_pulse_ms: silence_ms.map_or(u64::MAX, |_| now_ms + step_ms),
        }
    }

    /// The epoch, once it is established.
    pub fn established(&self) -> Option<u32> {
        (self.phase == Phase::Broadcast).then_some(self.epoch)
    }

    /// The name of the phase (`QuorumPeer.ZabState`).
    pub fn zab_state(&self) -> &'static str {
        match self.phase {
            Phase::Discovery | Phase::Promising | Phase::AckEpoch => "discovery",
            Phase::Synchronization => "synchronization",
            Phase::Broadcast => "broadcast",
        }
    }

    /// The learners, for reports.
    pub fn links(&self) -> impl Iterator<Item = (LinkId, &Link)> {
        self.links.iter().map(|(id, link)| (*id, link))
    }

    /// Syncs that wait for a commit, for reports.
    pub fn pending_syncs(&self) -> usize {
        self.syncs.len()
    }

    /// The first zxid of the epoch, which is no transaction's.
    fn new_leader_zxid(&self) -> Zxid {
        Zxid(i64::from(self.epoch) << 32)
    }

    /// A learner connected.
    pub fn linked(&mut self, ledger: &mut Ledger, now_ms: u64, link: LinkId) {
        if self.links.len() >= ledger.settings.links_max {
            return ledger.close(link, Drop::TooMany);
        }
        let alive = self.tick + ledger.settings.init_limit + ledger.settings.sync_limit;
        self.links.insert(link, Link::new(now_ms, alive));
    }

    /// A learner hung up. An error if too few are left: those who have gone would not find this
    /// leader again, as a quorum has to say that it is one, and would look in vain until its tick.
    ///
    /// Who was appointed bears it until its first tick: with whom it began may have been the leader
    /// before, which goes now, and the others were told where to go, and are on their way.
    pub fn hung_up(&mut self, ledger: &Ledger, link: LinkId) -> Result<(), Why> {
        self.unlinked(link);
        let others_come = self.appointed && self.tick == 0;
        if self.phase != Phase::Broadcast || self.below || others_come || self.has_quorum(ledger) {
            return Ok(());
        }
        self.tell_of_the_silent(ledger);
        Err(self.quorum_lost())
    }

    /// A learner's connection is no more.
    pub fn unlinked(&mut self, link: LinkId) {
        let sid = self.links.remove(&link).map(|link| link.sid());
        if self.phase == Phase::AckEpoch
            && let Some(sid) = sid.filter(|sid| self.epoch_acks.remove(sid))
        {
            self.epoch_acks_lapsed.insert(sid);
        }
        self.syncs.retain(|sync| sync.syncer != Syncer::Link(link));
    }

    /// Hangs up on a learner.
    fn drop_link(&mut self, ledger: &mut Ledger, link: LinkId, why: Drop) {
        tracing::warn!(link = link.0, sid = self.links.get(&link).map(|l| l.sid().0), %why,
            "closing a learner's connection");
        self.unlinked(link);
        ledger.close(link, why);
    }

    /// Takes a packet of a learner.
    pub fn packet(
        &mut self,
        ledger: &mut Ledger,
        now_ms: u64,
        id: LinkId,
        packet: &Packet<'_>,
    ) -> Result<Verdict, Why> {
        let Some(link) = self.links.get_mut(&id) else { return Ok(Verdict::Done) };
        link.heard(now_ms, self.running.turn(now_ms));
        if link.stage != Stage::Greeting {
            link.alive_until_tick =
                link.alive_until_tick.max(self.tick + ledger.settings.sync_limit);
        }
        let sid = link.sid();
        let serves = link.stage == Stage::Broadcasting;
        let taken = match packet {
            Packet::FollowerInfo { zxid, info } => self.greeted(ledger, id, *zxid, info, false),
            Packet::ObserverInfo { zxid, info } => self.greeted(ledger, id, *zxid, info, true),
            Packet::AckEpoch { zxid, current_epoch } => {
                self.epoch_acked(ledger, id, *zxid, *current_epoch)
            }
            Packet::Ack { zxid } => match self.acknowledged(ledger, id, *zxid) {
                Ok(true) => {
                    self.acks_due = true;
                    return Ok(Verdict::Done);
                }
                Ok(false) => Ok(()),
                Err(why) => Err(why),
            },
            Packet::Request(request) if serves && request.op == OpCode::SYNC && !self.below => {
                self.sync_asked(ledger, Syncer::Link(id));
                Ok(())
            }
            Packet::Request(_) | Packet::Revalidate { .. } if serves => {
                return Ok(Verdict::ForNode(sid));
            }
            Packet::Ping { .. } if link.forwards() => {
                link.pongs += u64::from(link.first_round.is_some());
                self.look_at_voices(ledger);
                self.release_syncs(ledger);
                return Ok(Verdict::ForNode(sid));
            }
            Packet::Ours(Ours::Pulse { .. }) if serves && link.can(Capabilities::QUICK_PING) => {
                link.pulses = true;
                return Ok(Verdict::Done);
            }
            Packet::Unknown { kind, .. } => {
                tracing::warn!(sid = sid.0, kind = kind.0, "unknown packet ignored");
                Ok(())
            }
            other => {
                let name = other.kind().name().unwrap_or("packet");
                Err(Drop::Violation(link.unexpected(name)))
            }
        };
        if let Err(why) = taken {
            self.drop_link(ledger, id, why);
        }
        self.progress(ledger, now_ms)?;
        Ok(Verdict::Done)
    }

    /// The disk reports.
    pub fn disk(&mut self, ledger: &mut Ledger, now_ms: u64, done: Done) -> Result<(), Why> {
        match done {
            Done::Epochs => self.epochs_saved(ledger, now_ms),
            Done::Synced => {
                let cursors = ledger.cursors();
                if self.own_write.is_some_and(|(zxid, _)| zxid <= cursors.synced) {
                    let more = cursors.synced < cursors.appended;
                    self.own_write = more.then_some((cursors.appended, now_ms));
                }
            }
            Done::EnsembleId => self.tell_ensemble_id(ledger),
            Done::Rebuilt | Done::Stale => {}
        }
        self.progress(ledger, now_ms)
    }

    /// Does what acknowledgements have made possible since the last call.
    pub fn count_acks(&mut self, ledger: &mut Ledger, now_ms: u64) -> Result<(), Why> {
        if self.acks_due { self.progress(ledger, now_ms) } else { Ok(()) }
    }

    /// Does what has become possible.
    fn progress(&mut self, ledger: &mut Ledger, now_ms: u64) -> Result<(), Why> {
        self.acks_due = false;
        if self.outpromised {
            return Err(Why::Outpromised);
        }
        match self.phase {
            Phase::Discovery => self.look_at_discovery(ledger),
            Phase::Promising => {}
            Phase::AckEpoch => self.look_at_epoch_acks(ledger, now_ms),
            Phase::Synchronization => self.look_at_history_acks(ledger, now_ms)?,
            Phase::Broadcast => {
                self.commit_what_can_be(ledger)?;
                self.look_at_handover(ledger)?;
            }
        }
        Ok(())
    }

    /// When [`Leader::wake`] has work next.
    pub fn deadline_ms(&self) -> u64 {
        let limit_ms = match self.phase {
            Phase::Broadcast => self.handing_over_until_ms.unwrap_or(u64::MAX),
            _ => self.phase_until_ms,
        };
        self.next_half_tick_ms.min(limit_ms).min(self.next_pulse_ms)
    }

    /// Does what is due by the clock.
    pub fn wake(&mut self, ledger: &mut Ledger, now_ms: u64) -> Result<(), Why> {
        if self.phase != Phase::Broadcast && now_ms >= self.phase_until_ms {
            self.tell_of_the_silent(ledger);
            return Err(Why::TooSlow(self.zab_state()));
        }
        if self.handing_over_until_ms.is_some_and(|until_ms| now_ms >= until_ms) {
            return Err(Why::Asked);
        }
        self.pulse(ledger, now_ms)?;
        if now_ms < self.next_half_tick_ms {
            return Ok(());
        }
        self.next_half_tick_ms = now_ms + ledger.settings.tick_time_ms / 2;
        self.drop_silent(ledger, now_ms);
        if self.phase != Phase::Broadcast {
            return Ok(());
        }
        if self.below {
            self.ping(ledger);
            return Ok(());
        }
        // All that were told are on their way to the next leader. Who stayed would be found by
        // others, and they would follow one that commits nothing any more.
        if self.successor.is_some() && !wrong::is(Wrong::Refound) {
            return Err(self.quorum_lost());
        }
        self.look_at_ensemble_id(ledger);
        self.half_tick = !self.half_tick;
        if !self.half_tick {
            self.tick += 1;
            if !self.has_quorum(ledger) {
                self.tell_of_the_silent(ledger);
                return Err(self.quorum_lost());
            }
            self.release_syncs(ledger);
        }
        let limit_ms = ledger.settings.sync_limit_ms();
        if self.own_write.is_some_and(|(_, begun_ms)| now_ms.saturating_sub(begun_ms) > limit_ms) {
            return Err(Why::StuckDisk);
        }
        self.ping(ledger);
        self.leave_if_exhausted()
    }

    /// Whether this server and the learners that were heard from are a quorum.
    fn has_quorum(&self, ledger: &Ledger) -> bool {
        let alive: BTreeSet<Sid> = self
            .links
            .values()
            .filter(|link| self.tick <= link.alive_until_tick && link.has_voice())
            .filter(|link| !link.observes() || !wrong::is(Wrong::ObserversLeftOut))
            .map(Link::sid)
            .collect();
        let me = ledger.settings.sid;
        ledger.membership.is_quorum(|sid| sid == me || alive.contains(&sid))
    }

    fn quorum_lost(&self) -> Why {
        match self.successor {
            None => Why::NoQuorum,
            successor => Why::Reconfigured(successor),
        }
    }

    /// Drops learners that said nothing, or acknowledged nothing, for too long.
    fn drop_silent(&mut self, ledger: &mut Ledger, now_ms: u64) {
        let (init_ms, sync_ms) = (ledger.settings.init_limit_ms(), ledger.settings.sync_limit_ms());
        let silent: Vec<LinkId> = self
            .links
            .iter()
            .filter(|(_, link)| {
                let limit_ms = if link.synchronized() { sync_ms } else { init_ms };
                // Who pulses is judged by that, and by nothing that a stall of ours could fill.
                (!link.pulses && now_ms.saturating_sub(link.heard_ms) > limit_ms)
                    || (link.synchronized() && link.lags(now_ms.saturating_sub(sync_ms)))
            })
            .map(|(id, _)| *id)
            .collect();
        for id in silent {
            self.drop_link(ledger, id, Drop::Silent);
        }
    }

    /// Ends the role: nobody hears from this leader again.
    pub fn close(&mut self, ledger: &mut Ledger) {
        let role = if self.below { "serving observers" } else { "leading" };
        for id in std::mem::take(&mut self.links).into_keys() {
            ledger.close(id, Drop::RoleOver(role));
        }
    }
}
