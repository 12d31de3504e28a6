//! Our leader in the place of Apache's.
//!
//! The recorded learner speaks as it did. The other servers, played here, make the quorum where
//! they did; what clients wrote is proposed when the recording shows that it was. So every packet
//! of the recorded leader is either an answer that ours has to give by itself, or the sign to do
//! next what was done then.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::packet::{LearnerInfo, Packet};
use oxkeeper_proto::{OpCode, Payload, Sid, Txn, Zxid};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::{
    Disk, Effect, Entry, Epochs, Input, LinkId, LogSurvey, Outgoing, Peer, Recovered, Settings,
    Verdict, election,
};

use crate::recording::Recording;

const LEARNER: LinkId = LinkId(1);

struct Stage {
    peer: Peer,
    epoch: u32,
    /// The other servers: each has the link of its id behind the learner's.
    others: Vec<Sid>,
    now_ms: u64,
    /// What our leader has sent to the learner and the recording has not yet shown.
    sent: VecDeque<Outgoing>,
    snapshot: Zxid,
    multi_address: bool,
    others_are_there: bool,
    others_have_history: bool,
    log: Vec<Entry>,
}

/// A learner cannot see what made the leader say this: an observer not what is outstanding, nobody
/// who else has acknowledged most when a leader leaves.
fn is_same_but_for_chance(ours: &Outgoing, packet: &Packet<'_>) -> bool {
    match (ours, packet) {
        (Outgoing::Ping(ours), Packet::Ping { zxid, .. }) => ours <= zxid,
        (
            Outgoing::CommitAndActivate(ours, successor),
            Packet::CommitAndActivate { zxid, designated_leader },
        ) => ours == zxid && successor.0 < 3 && designated_leader.0 < 3,
        _ => false,
    }
}

fn bytes(packet: &Packet<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    packet.encode(&mut out);
    out
}

fn entries(recording: &Recording) -> Vec<Entry> {
    let before_new_leader = recording.packets.iter().filter(|recorded| !recorded.from_learner);
    before_new_leader
        .map_while(|recorded| match recorded.packet() {
            Packet::NewLeader { .. } => None,
            Packet::Proposal { zxid, entry } => {
                Some(Some(Entry { zxid, payload: Bytes::copy_from_slice(entry) }))
            }
            _ => Some(None),
        })
        .flatten()
        .collect()
}

fn filler(zxid: Zxid) -> Entry {
    Entry { zxid, payload: Bytes::from_static(b"never sent") }
}

/// Where the recorded leader stood before the learner came: its log, and whether its epoch was
/// established already.
struct Before {
    epoch: u32,
    log: Vec<Entry>,
    /// Transactions of the epoch itself.
    proposed: Vec<Entry>,
    established: bool,
    snapshot: Zxid,
}

fn before(recording: &Recording) -> Option<Before> {
    let epoch = recording.find(|packet| match packet {
        Packet::LeaderInfo { zxid, .. } => Some(zxid.epoch()),
        _ => None,
    })?;
    let snap =
        recording.find(|packet| matches!(packet, Packet::Snap { .. }).then_some(())).is_some();
    let (head, late) = recording.find(|packet| match packet {
        Packet::Diff { zxid } => Some((*zxid, false)),
        Packet::Trunc { zxid } | Packet::Snap { zxid } => Some((*zxid, true)),
        _ => None,
    })?;
    let last = recording.find(|packet| match packet {
        Packet::AckEpoch { zxid, .. } => Some(*zxid),
        _ => None,
    })?;
    let mut synced = entries(recording);
    let end = synced.last().map_or(head, |entry| entry.zxid.max(head));
    let (mut log, mut proposed) = (Vec::new(), Vec::new());
    if end.epoch() == epoch {
        let first = synced.first().map_or(end.counter() + 1, |entry| entry.zxid.counter());
        if last.epoch() != epoch && last > Zxid::ZERO {
            // A learner that gets a snapshot has something else there.
            let common = if snap { Zxid(i64::from(last.epoch()) << 32 | 1) } else { last };
            log.push(filler(common));
        }
        let epoch = i64::from(epoch) << 32;
        proposed.extend((1..first).map(|counter| filler(Zxid(epoch | i64::from(counter)))));
        proposed.append(&mut synced);
    } else if end > Zxid::ZERO {
        log.push(filler(if synced.is_empty() { end } else { last }));
        log.append(&mut synced);
    }
    let established = late || end.epoch() == epoch;
    Some(Before { epoch, log, proposed, established, snapshot: head })
}

fn stage(recording: &Recording) -> Option<Stage> {
    let before = before(recording)?;
    let (asked, promised) = recording.find(|packet| match packet {
        Packet::FollowerInfo { zxid, info } => Some((info.config_version, *zxid)),
        Packet::ObserverInfo { zxid, info } => Some((info.config_version, *zxid)),
        _ => None,
    })?;
    let mut config = QuorumVerifier::parse(&recording.config()?, true).ok()?;
    let fresh = config.version() == i64::from(before.epoch) << 32;
    if fresh && !before.established && asked == 0 {
        config = config.with_version(0);
    }
    let established = before.established || promised >= Zxid(i64::from(before.epoch) << 32);
    let others =
        (1..=4).map(Sid).filter(|sid| ![recording.learner, recording.leader].contains(sid));
    let others: Vec<Sid> = others.collect();
    let mut settings = Settings::new(recording.leader);
    settings.reconfig_enabled = true;
    settings.multi_address = true;
    let log: Vec<Entry> = before.log.iter().chain(&before.proposed).cloned().collect();
    let recovered = Recovered {
        last_logged: before.log.last().map_or(Zxid::ZERO, |entry| entry.zxid),
        epochs: Epochs { accepted: before.epoch - 1, current: before.epoch - 1 },
        tail: before.log,
        trusted: true,
        config: String::new(),
    };
    let membership = Membership::new(Arc::new(config), None);
    let mut peer = Peer::new(settings, election::Settings::default(), membership, recovered);
    peer.start(0);
    peer.handle(0, Input::Elected(recording.leader));
    let mut stage = Stage {
        peer,
        epoch: before.epoch,
        others,
        now_ms: 0,
        sent: VecDeque::new(),
        snapshot: before.snapshot,
        multi_address: true,
        others_are_there: false,
        others_have_history: false,
        log: log.clone(),
    };
    stage.effects();
    if established {
        stage.others_join();
        for entry in before.proposed {
            let zxid = entry.zxid;
            stage.propose(entry);
            stage.others_ack(zxid);
        }
    }
    stage.input(Input::Linked(LEARNER));
    Some(stage)
}

impl Stage {
    fn input(&mut self, input: Input) {
        self.peer.handle(self.now_ms, input);
        self.effects();
    }

    fn others_say(&mut self, packet: impl Fn(Sid) -> Packet<'static>) {
        for sid in self.others.clone() {
            self.peer.packet(self.now_ms, LinkId(sid.0 as u64 + 10), &packet(sid));
            self.effects();
        }
    }

    fn others_ack(&mut self, zxid: Zxid) {
        self.others_say(|_| Packet::Ack { zxid });
    }

    fn others_join(&mut self) {
        self.others_come();
        if !std::mem::replace(&mut self.others_have_history, true) {
            self.others_ack(Zxid(i64::from(self.epoch) << 32));
        }
    }

    fn others_come(&mut self) {
        if std::mem::replace(&mut self.others_are_there, true) {
            return;
        }
        let zxid = Zxid(i64::from(self.epoch - 1) << 32);
        let protocol_version = LearnerInfo::PROTOCOL_VERSION;
        let last = self.peer.cursors().committed;
        let current_epoch = self.epoch as i32 - 1;
        for sid in self.others.clone() {
            self.input(Input::Linked(LinkId(sid.0 as u64 + 10)));
        }
        self.others_say(|sid| Packet::FollowerInfo {
            zxid,
            info: LearnerInfo { sid, protocol_version, config_version: 0, trailing: &[] },
        });
        self.others_say(|_| Packet::AckEpoch { zxid: last, current_epoch });
    }

    fn propose(&mut self, entry: Entry) {
        let payload = entry.payload.clone();
        let config = Payload::decode(&payload).ok().and_then(|payload| match payload.txn {
            Txn::SetData(set) if payload.header.op == OpCode::RECONFIG => {
                let text = core::str::from_utf8(set.data?).ok()?;
                QuorumVerifier::parse(text, self.multi_address).ok().map(Arc::new)
            }
            _ => None,
        });
        if self.peer.next_zxid(0) == Some(entry.zxid) {
            self.peer.propose(self.now_ms, entry, config);
        }
        self.effects();
    }

    fn effects(&mut self) {
        while let Some(effect) = self.peer.poll_effect() {
            let answer = match effect {
                Effect::Send(LEARNER, packet) => {
                    self.sent.push_back(packet);
                    continue;
                }
                // Ours asks who follows when it is asked for a sync; Java's asks nobody.
                Effect::Send(other, Outgoing::Ping(zxid)) => {
                    self.peer.packet(self.now_ms, other, &Packet::Ping { zxid, touched: None });
                    continue;
                }
                Effect::Append(entry) => Input::Disk(Disk::Synced(entry.zxid)),
                Effect::SaveEpochs(epochs) => Input::Disk(Disk::EpochsSaved(epochs)),
                Effect::SurveyLog { link, peer } => {
                    let before = self.log.iter().rfind(|entry| entry.zxid <= peer);
                    let after = self.log.iter().find(|entry| entry.zxid > peer);
                    let survey = before.zip(after).map(|(before, after)| LogSurvey {
                        at_or_before: before.zxid,
                        after: after.zxid,
                        log_bytes: 1,
                        snapshot_bytes: 4,
                    });
                    Input::LogSurveyed { link, survey }
                }
                Effect::ReadLog { link, after, to } => {
                    let wanted = |entry: &&Entry| entry.zxid > after && entry.zxid <= to;
                    let entries = self.log.iter().filter(wanted).take(50).cloned().collect();
                    Input::LogRead { link, entries }
                }
                Effect::OpenSnapshot { link, .. } => {
                    Input::SnapshotOpened { link, zxid: self.snapshot }
                }
                _ => continue,
            };
            self.peer.handle(self.now_ms, answer);
        }
    }

    /// Does what the recorded leader was made to do, so that it said this.
    fn bring_about(&mut self, packet: &Packet<'_>) {
        match packet {
            Packet::Commit { .. } | Packet::CommitAndActivate { .. } | Packet::Inform { .. } => {
                self.others_join();
            }
            _ => {}
        }
        match packet {
            Packet::Proposal { zxid, entry } | Packet::Inform { zxid, entry } => {
                self.propose(Entry { zxid: *zxid, payload: Bytes::copy_from_slice(entry) });
                if matches!(packet, Packet::Inform { .. }) {
                    self.others_ack(*zxid);
                }
            }
            Packet::InformAndActivate { zxid, entry, .. } => {
                self.propose(Entry { zxid: *zxid, payload: Bytes::copy_from_slice(entry) });
                self.others_ack(*zxid);
            }
            Packet::Commit { zxid } | Packet::CommitAndActivate { zxid, .. } => {
                self.others_ack(*zxid);
            }
            Packet::UpToDate => self.others_join(),
            Packet::LeaderInfo { .. } | Packet::Diff { .. } => self.others_come(),
            Packet::Ping { .. } => {
                self.now_ms = self.peer.deadline_ms().unwrap_or(self.now_ms);
                self.peer.wake(self.now_ms);
                self.effects();
            }
            _ => {}
        }
    }
}

impl Stage {
    /// What ours sent of this kind next. While it synchronises, that is what it sent next at all;
    /// later, a commit and a proposal that have nothing to do with each other may have passed.
    fn next(&mut self, packet: &Packet<'_>, synchronising: bool) -> Option<Outgoing> {
        let ping = matches!(packet, Packet::Ping { .. });
        for attempt in 0..2 {
            let same = |ours: &Outgoing| ours.as_packet().kind() == packet.kind();
            let found = self.sent.iter().position(same);
            if let Some(at) = found.filter(|at| !synchronising || *at == 0 || ping) {
                return self.sent.remove(at);
            }
            if attempt == 0 {
                self.bring_about(packet);
            }
        }
        None
    }
}

/// False if the recording ends before NEWLEADER: there is nothing to compare.
pub fn replay(recording: &Recording) -> Result<bool, String> {
    let Some(mut stage) = stage(recording) else { return Ok(false) };
    // This leader was told to begin its epoch near the end; ours begins at one.
    if stage.epoch == 1 && recording.name.contains("zxid-rollover") {
        return Ok(false);
    }
    let mut synchronising = true;
    for (at, recorded) in recording.packets.iter().enumerate() {
        let packet = recorded.packet();
        if recorded.from_learner {
            let verdict = stage.peer.packet(stage.now_ms, LEARNER, &packet);
            stage.effects();
            if let (Packet::Revalidate { .. }, Verdict::Done) = (&packet, verdict) {
                return Err(format!("packet {at}: {packet:?} did not reach the node"));
            }
            continue;
        }
        // The node answers these.
        if matches!(packet, Packet::Revalidated { .. }) {
            continue;
        }
        let Some(ours) = stage.next(&packet, synchronising) else {
            let sent = &stage.sent;
            return Err(format!("packet {at}: Java sent {packet:?}, ours next {sent:?}"));
        };
        if is_same_but_for_chance(&ours, &packet) {
            continue;
        }
        if bytes(&ours.as_packet()) != bytes(&packet) {
            return Err(format!("packet {at}: ours {ours:?}, Java's {packet:?}"));
        }
        synchronising &= !matches!(packet, Packet::UpToDate);
    }
    Ok(true)
}
