//! Learning: following or observing a leader (`Learner`, `Follower`, `Observer`).
//!
//! The mirror of [`crate::leader`]: the same stages seen from below, one enum instead of one long
//! read loop. What a learner must never do is to say that it has something which a power cut could
//! still take away, and to go on from memory that the disk does not agree with:
//!
//! * acceptedEpoch is on disk before ACKEPOCH;
//! * TRUNC or SNAP is on disk before anything behind it is logged;
//! * everything that came before NEWLEADER is on disk, then currentEpoch, then ACK(NEWLEADER)
//!   goes out (ZOOKEEPER-3911, 4643, 4646, 4785), and no other ACK before that one (4685);
//! * every transaction follows the one before it, and is committed in that order, through one path
//!   in synchronisation and broadcast alike (3023, 4394, 4925).
//!
//! Proposals are logged as they come, committed or not, in synchronisation too: the log is then
//! always a beginning of the leader's history, and memory stays bounded however much is missing.
//! Whoever elects compares epochs first, and the epoch of such a log is still the old one.

mod broadcast;
mod discovery;
mod master;
mod pulse;
mod sync;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::packet::{Ours, Packet};
use oxkeeper_proto::{Capabilities, OpCode, Payload, SessionId, Sid, Txn, TxnHeader, Zxid};

use crate::leader::Leader;
use crate::ledger::{Done, Ledger};
use crate::messages::{
    Drop, Effect, Entry, Forward, LinkId, Outgoing, SyncToken, Verdict, Violation, Why,
};
use crate::quorum::QuorumVerifier;
use crate::wrong::{self, Wrong};
use master::Asker;
use pulse::Listening;

/// Attempts to connect (`Learner.connectToLeader`).
const DIALS_MAX: u32 = 5;

/// The pause while a leader that was named by the one before may not know it.
const REDIAL_APPOINTED_MS: u64 = 20;

/// Payloads are copied into pieces of memory of this size, many into one. A piece is kept as long
/// as any of them is, so that the committed window keeps up to one more than it needs.
const PIECE_BYTES: usize = 64 << 10;
/// Larger payloads have memory of their own.
const PIECE_PAYLOAD_BYTES_MAX: usize = 4 << 10;

/// Where a learner stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Connecting.
    Dialing,
    /// LEADERINFO is to come.
    AwaitingEpoch,
    /// The accepted epoch is being written.
    Promising,
    /// DIFF, TRUNC or SNAP is to come.
    AwaitingPlan,
    /// The log is being cut to this transaction.
    Truncating(Zxid),
    /// A snapshot comes in and is made durable.
    Installing,
    /// The leader's history comes in, until NEWLEADER.
    Syncing,
    /// What came before NEWLEADER is being written, up to this one.
    Logging(Zxid),
    /// The current epoch is being written.
    Establishing,
    /// ACK(NEWLEADER) is sent; UPTODATE is to come.
    AwaitingService,
    /// Serving.
    Broadcasting,
}

/// What came while TRUNC or SNAP was not done.
#[derive(Debug)]
enum Held {
    Proposal(Entry),
    Commit(Zxid, Option<Sid>),
    Inform(Entry, Option<Sid>),
    NewLeader(Zxid, Option<String>),
}

/// See the module's essay.
#[derive(Debug)]
pub struct Learner {
    leader: Sid,
    /// The follower that serves us, if it is not the leader that does.
    via: Option<Sid>,
    observer: bool,
    link: Option<LinkId>,
    dials: u32,
    redial_ms: Option<u64>,
    /// The leader was named by the one before, and may not know it yet: until when it has to say
    /// that it leads.
    appointed_until_ms: Option<u64>,
    stage: Stage,
    epoch: u32,
    /// Leader and learner take an ACK and a COMMIT for all before it.
    cumulative: bool,
    /// The leader says when a member counts that has lost its data.
    probation: bool,
    /// The epoch had been accepted before.
    accepted_before: bool,
    heard_ms: u64,
    /// Once the leader pulses.
    listening: Option<Listening>,
    held: VecDeque<Held>,
    held_bytes: usize,
    /// Transactions up to here are in the snapshot that was received; a leader may repeat them.
    in_snapshot: Zxid,
    /// What is free of the piece of memory that payloads are copied into.
    piece: BytesMut,
    /// Proposals that are not acknowledged, in order.
    to_ack: VecDeque<Zxid>,
    /// What the leader says is the ensemble's number.
    ensemble_id: u128,
    /// What NEWLEADER says is the configuration.
    config: Option<Arc<QuorumVerifier>>,
    syncs: VecDeque<Asker<SyncToken>>,
    /// Sessions that the leader was asked about.
    revalidating: VecDeque<(SessionId, Asker<i32>)>,
    /// The observers that this follower serves, and their sessions that were heard from.
    master: Option<Box<Leader>>,
    touched: BTreeMap<SessionId, i32>,
}

/// How a learner gets to its leader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Way {
    /// The leader was named by the one before.
    pub appointed: bool,
    /// By this follower, which serves observers.
    pub via: Option<Sid>,
    /// After this time.
    pub delay_ms: u64,
}

impl Learner {
    /// Begins to connect.
    pub fn new(ledger: &mut Ledger, now_ms: u64, leader: Sid, observer: bool, way: Way) -> Learner {
        let Way { appointed, via, delay_ms } = way;
        let limit_ms = ledger.settings.handover_limit_ms().min(ledger.settings.init_limit_ms());
        let mut learner = Learner {
            leader,
            via,
            observer,
            link: None,
            dials: 0,
            redial_ms: (delay_ms > 0).then_some(now_ms + delay_ms),
            appointed_until_ms: appointed.then_some(now_ms + limit_ms),
            stage: Stage::Dialing,
            epoch: 0,
            cumulative: false,
            probation: false,
            accepted_before: false,
            heard_ms: now_ms + delay_ms,
            listening: None,
            held: VecDeque::new(),
            held_bytes: 0,
            in_snapshot: Zxid::ZERO,
            piece: BytesMut::new(),
            to_ack: VecDeque::new(),
            ensemble_id: 0,
            config: None,
            syncs: VecDeque::new(),
            revalidating: VecDeque::new(),
            master: None,
            touched: BTreeMap::new(),
        };
        if delay_ms == 0 {
            learner.dial(ledger);
        }
        learner
    }

    fn dial(&mut self, ledger: &mut Ledger) {
        self.dials += 1;
        ledger.push(match self.via {
            Some(follower) => Effect::DialObserverMaster(follower),
            None => Effect::Dial(self.leader),
        });
    }

    /// Whom this server connects to.
    pub fn serves_us(&self) -> Sid {
        self.via.unwrap_or(self.leader)
    }

    /// The leader.
    pub fn leader(&self) -> Sid {
        self.leader
    }

    /// Whether it observes.
    pub fn observes(&self) -> bool {
        self.observer
    }

    /// The epoch, once this server serves in it.
    pub fn established(&self) -> Option<u32> {
        (self.stage == Stage::Broadcasting).then_some(self.epoch)
    }

    /// The name of the phase (`QuorumPeer.ZabState`).
    pub fn zab_state(&self) -> &'static str {
        match self.stage {
            Stage::Dialing | Stage::AwaitingEpoch | Stage::Promising => "discovery",
            Stage::Broadcasting => "broadcast",
            _ => "synchronization",
        }
    }

    /// Whether what arrives is logged.
    fn logs(&self, ledger: &Ledger) -> bool {
        !self.observer || ledger.settings.sync_enabled
    }

    /// The connection is there.
    pub fn linked(&mut self, ledger: &mut Ledger, now_ms: u64, link: LinkId) {
        if self.link.is_some() || self.stage != Stage::Dialing {
            return ledger.close(link, Drop::Replaced);
        }
        self.link = Some(link);
        self.redial_ms = None;
        self.heard_ms = now_ms;
        self.introduce(ledger, link);
    }

    /// The connection could not be made.
    pub fn dial_failed(&mut self, ledger: &Ledger, now_ms: u64) -> Result<(), Why> {
        if self.stage != Stage::Dialing || self.link.is_some() {
            return Ok(());
        }
        if self.dials >= DIALS_MAX {
            return Err(Why::LeaderLost);
        }
        let appointed = self.appointed_until_ms.is_some();
        let redial_ms = ledger.settings.redial_ms;
        let pause_ms = if appointed { REDIAL_APPOINTED_MS } else { redial_ms };
        self.redial_ms = Some(now_ms + pause_ms);
        Ok(())
    }

    /// The connection ended.
    pub fn unlinked(&mut self, ledger: &Ledger, now_ms: u64, link: LinkId) -> Result<(), Why> {
        if self.link != Some(link) {
            if let Some(master) = &mut self.master {
                master.unlinked(link);
            }
            return Ok(());
        }
        self.link = None;
        if self.appointed_until_ms.is_some() && self.stage == Stage::AwaitingEpoch {
            // Who does not know yet that it leads turns its learners away.
            self.stage = Stage::Dialing;
            self.dials = 0;
            return self.dial_failed(ledger, now_ms);
        }
        Err(Why::LeaderLost)
    }

    /// A snapshot still comes in.
    pub fn alive(&mut self, link: LinkId, now_ms: u64) {
        if self.link == Some(link) {
            self.heard(now_ms);
        } else if let Some(master) = &mut self.master {
            master.alive(link, now_ms);
        }
    }

    fn heard(&mut self, now_ms: u64) {
        self.heard_ms = now_ms;
        if let Some(listening) = &mut self.listening {
            listening.heard(now_ms);
        }
    }

    /// Takes a packet of the leader.
    pub fn packet(
        &mut self,
        ledger: &mut Ledger,
        now_ms: u64,
        link: LinkId,
        packet: &Packet<'_>,
    ) -> Result<Verdict, Why> {
        if self.link != Some(link) {
            let observers = self.observers_packet(ledger, now_ms, link, packet);
            return Ok(observers.unwrap_or(Verdict::Done));
        }
        self.heard(now_ms);
        match packet {
            Packet::LeaderInfo { zxid, protocol_version, trailing } => {
                self.ensemble_told(ledger, Capabilities::from_trailing(trailing))?;
                self.epoch_told(ledger, *zxid, *protocol_version)?
            }
            Packet::Diff { .. } => self.diff(packet)?,
            Packet::Trunc { zxid } => self.trunc(ledger, packet, *zxid)?,
            Packet::Snap { zxid } => self.snap(ledger, link, packet, *zxid)?,
            Packet::Proposal { zxid, entry } => {
                self.take_entry(ledger, packet, *zxid, entry, Held::Proposal)?
            }
            Packet::Commit { zxid } => self.take(ledger, packet, Held::Commit(*zxid, None))?,
            Packet::CommitAndActivate { zxid, designated_leader } => {
                self.take(ledger, packet, Held::Commit(*zxid, Some(*designated_leader)))?
            }
            Packet::Inform { zxid, entry } => {
                self.take_entry(ledger, packet, *zxid, entry, |entry| Held::Inform(entry, None))?
            }
            Packet::InformAndActivate { zxid, designated_leader, entry } => {
                let entry = self.entry(*zxid, entry);
                self.take(ledger, packet, Held::Inform(entry, Some(*designated_leader)))?
            }
            Packet::NewLeader { zxid, config } => {
                let config = config.as_ref().map(|text| text.to_string());
                self.take(ledger, packet, Held::NewLeader(*zxid, config))?
            }
            Packet::UpToDate => self.up_to_date(ledger, packet)?,
            // Before UPTODATE a learner of Apache's does not answer either.
            Packet::Ping { zxid, .. } if self.stage == Stage::Broadcasting => {
                ledger.push(Effect::AskTouched { zxid: *zxid })
            }
            Packet::Sync => self.synced(ledger),
            Packet::Revalidated { session, valid } => {
                return Ok(self.revalidated(ledger, *session, *valid));
            }
            Packet::Ours(Ours::Handover { zxid, successor }) => {
                return Err(self.handed_over(ledger, *zxid, *successor));
            }
            Packet::Ours(Ours::Pulse { interval_ms }) => {
                self.pulsed(ledger, now_ms, *interval_ms);
            }
            Packet::Ours(Ours::Ensemble { id }) if self.stage == Stage::Broadcasting => {
                self.ensemble_id = *id;
                self.take_ensemble_id(ledger)?;
            }
            Packet::Ping { .. } | Packet::Ours(Ours::Ensemble { .. }) => {}
            Packet::Ours(Ours::Counted) => self.counted(ledger),
            Packet::Unknown { kind, .. } => {
                tracing::warn!(kind = kind.0, "unknown packet of the leader ignored")
            }
            Packet::Request(_)
            | Packet::Ack { .. }
            | Packet::Revalidate { .. }
            | Packet::FollowerInfo { .. }
            | Packet::ObserverInfo { .. }
            | Packet::AckEpoch { .. } => return Err(self.unexpected(packet)),
        }
        Ok(Verdict::Done)
    }

    /// HANDOVER: this role is over, and the next one is known.
    fn handed_over(&self, ledger: &Ledger, zxid: Zxid, successor: Sid) -> Why {
        let committed = ledger.cursors().committed;
        if self.stage != Stage::Broadcasting || !ledger.membership.is_voter(successor) {
            let phase = "no such handover is possible";
            return Violation::Unexpected { packet: "HANDOVER", phase }.into();
        }
        // Who got a snapshot stands at the bare zxid of an epoch, where its leader, which has
        // written nothing in it, stands at the transaction before: the same place.
        let same = |zxid: Zxid, other: Zxid| zxid == other || zxid.max(other).counter() == 0;
        if !same(zxid, committed) || !same(zxid, ledger.cursors().appended) {
            return Violation::HandoverElsewhere { told: zxid, committed }.into();
        }
        Why::Appointed(successor)
    }

    fn take_entry(
        &mut self,
        ledger: &mut Ledger,
        packet: &Packet<'_>,
        zxid: Zxid,
        payload: &[u8],
        held: impl FnOnce(Entry) -> Held,
    ) -> Result<(), Why> {
        let entry = self.entry(zxid, payload);
        self.take(ledger, packet, held(entry))
    }

    fn entry(&mut self, zxid: Zxid, payload: &[u8]) -> Entry {
        if payload.len() > PIECE_PAYLOAD_BYTES_MAX {
            return Entry { zxid, payload: Bytes::copy_from_slice(payload) };
        }
        if self.piece.capacity() < payload.len() {
            self.piece = BytesMut::with_capacity(PIECE_BYTES);
        }
        self.piece.extend_from_slice(payload);
        Entry { zxid, payload: self.piece.split().freeze() }
    }

    fn unexpected(&self, packet: &Packet<'_>) -> Why {
        let phase = match self.stage {
            Stage::Dialing => "connecting",
            Stage::AwaitingEpoch => "awaiting LEADERINFO",
            Stage::Promising => "writing the accepted epoch",
            Stage::AwaitingPlan => "awaiting DIFF, TRUNC or SNAP",
            Stage::Truncating(_) => "truncating",
            Stage::Installing => "installing a snapshot",
            Stage::Syncing => "synchronising",
            Stage::Logging(_) | Stage::Establishing => "writing history",
            Stage::AwaitingService => "awaiting UPTODATE",
            Stage::Broadcasting => "broadcasting",
        };
        let packet = packet.kind().name().unwrap_or("packet");
        Violation::Unexpected { packet, phase }.into()
    }

    /// The disk reports.
    pub fn disk(&mut self, ledger: &mut Ledger, done: Done) -> Result<(), Why> {
        match (done, self.stage) {
            (Done::Epochs, Stage::Promising) => self.promised(ledger),
            (Done::Epochs, Stage::Establishing) => self.history_stands(ledger),
            (Done::Epochs, Stage::Logging(_)) => self.look_at_log(ledger),
            (Done::Rebuilt, Stage::Truncating(_) | Stage::Installing) => self.rebuilt(ledger)?,
            (Done::Synced, _) => {
                self.look_at_log(ledger);
                self.acknowledge(ledger);
            }
            _ => {}
        }
        Ok(())
    }

    /// When [`Learner::wake`] has work next.
    pub fn deadline_ms(&self, ledger: &Ledger) -> u64 {
        let silent_ms = self.heard_ms + self.limit_ms(ledger) + 1;
        let silent_ms = self.patience_ms().map_or(silent_ms, |until_ms| until_ms.min(silent_ms));
        let silent_ms = self.listening.as_ref().map_or(silent_ms, Listening::due_ms);
        let master_ms = self.master.as_ref().map_or(u64::MAX, |master| master.deadline_ms());
        let due_ms = silent_ms.min(master_ms);
        self.redial_ms.map_or(due_ms, |redial_ms| redial_ms.min(due_ms))
    }

    /// Until when the leader has to be there, if the one before has named it.
    fn patience_ms(&self) -> Option<u64> {
        let early = matches!(self.stage, Stage::Dialing | Stage::AwaitingEpoch);
        self.appointed_until_ms.filter(|_| early)
    }

    fn limit_ms(&self, ledger: &Ledger) -> u64 {
        match self.stage {
            Stage::Dialing => ledger.settings.connect_limit_ms(),
            Stage::AwaitingService | Stage::Broadcasting => ledger.settings.sync_limit_ms(),
            _ => ledger.settings.init_limit_ms(),
        }
    }

    /// Does what is due by the clock.
    pub fn wake(&mut self, ledger: &mut Ledger, now_ms: u64) -> Result<(), Why> {
        let lost = match &mut self.listening {
            // The stricter measure, and none that a stall of ours could fill.
            Some(listening) => listening.is_lost(now_ms),
            None => now_ms.saturating_sub(self.heard_ms) > self.limit_ms(ledger),
        };
        if lost {
            return Err(Why::LeaderSilent);
        }
        if let Some(master) = &mut self.master {
            master.wake(ledger, now_ms)?;
        }
        if self.patience_ms().is_some_and(|until_ms| now_ms >= until_ms) {
            return Err(Why::TooSlow("the new leader"));
        }
        if self.redial_ms.is_some_and(|at_ms| at_ms <= now_ms) {
            self.redial_ms = None;
            self.dial(ledger);
        }
        Ok(())
    }

    /// Ends the role. Memory that the disk does not back is dropped.
    pub fn close(&mut self, ledger: &mut Ledger) {
        if let Some(master) = &mut self.master {
            master.close(ledger);
        }
        if let Some(link) = self.link.take() {
            let role = if self.observer { "observing" } else { "following" };
            ledger.close(link, Drop::RoleOver(role));
        }
        if (ledger.rebuilding() && !wrong::is(Wrong::Z5094)) || !self.logs(ledger) {
            ledger.reload();
        }
    }

    /// Sends a client's request to the leader. False if there is none to serve it.
    pub fn forward(&mut self, ledger: &mut Ledger, forward: Forward) -> bool {
        match self.link {
            Some(link) if self.stage == Stage::Broadcasting => {
                ledger.send(link, Outgoing::Request(Box::new(forward)));
                true
            }
            _ => false,
        }
    }

    /// Sends any other packet to the leader.
    pub fn send(&mut self, ledger: &mut Ledger, packet: Outgoing) -> bool {
        match self.link {
            Some(link) if self.stage == Stage::Broadcasting => {
                ledger.send(link, packet);
                true
            }
            _ => false,
        }
    }

    /// Sends a sync; answers come in the order of the questions.
    pub fn sync(&mut self, ledger: &mut Ledger, token: SyncToken, forward: Forward) -> bool {
        let sent = self.forward(ledger, forward);
        if sent {
            self.syncs.push_back(Asker::Node(token));
        }
        sent
    }

    /// The configuration that a reconfiguration's transaction carries; `None` for any other.
    fn reconfiguration(
        &self,
        ledger: &Ledger,
        entry: &Entry,
    ) -> Result<Option<Arc<QuorumVerifier>>, Violation> {
        let bad = Violation::BadEntry(entry.zxid);
        let mut reader = Reader::with_field_max(&entry.payload, usize::MAX);
        let header = TxnHeader::decode(&mut reader).map_err(|_| bad)?;
        if header.zxid != entry.zxid {
            return Err(bad);
        }
        if header.op != OpCode::RECONFIG || !ledger.settings.reconfig_enabled {
            return Ok(None);
        }
        let payload = Payload::decode(&entry.payload).map_err(|_| bad)?;
        let Txn::SetData(set) = payload.txn else { return Err(bad) };
        let text = core::str::from_utf8(set.data.unwrap_or_default()).map_err(|_| bad)?;
        let config = QuorumVerifier::parse(text, ledger.settings.multi_address)
            .map_err(|_| Violation::BadConfig)?;
        Ok(Some(Arc::new(config)))
    }

    /// Puts a configuration in force (`QuorumPeer.processReconfig`). An error if this server's role
    /// or its leader is another in it.
    fn activate(
        &mut self,
        ledger: &mut Ledger,
        config: Arc<QuorumVerifier>,
        designated: Option<Sid>,
    ) -> Result<(), Why> {
        let before = Arc::clone(ledger.membership.current());
        if !ledger.settings.reconfig_enabled || config.version() <= before.version() {
            return Ok(());
        }
        let same = config.agrees_with(&before);
        ledger.config_active(Arc::clone(&config));
        if same {
            return Ok(());
        }
        let address = |config: &QuorumVerifier| {
            let server = config.server(self.leader).filter(|_| config.is_voter(self.leader));
            server.map(|server| server.quorum_addresses().collect::<Vec<_>>())
        };
        let leader_changes = match designated {
            Some(designated) => designated != self.leader,
            None => address(&before).is_none() || address(&before) != address(&config),
        };
        if leader_changes || config.is_observer(ledger.settings.sid) != self.observer {
            return Err(Why::Reconfigured(designated));
        }
        Ok(())
    }
}
