//! What was said on a quorum port, packet by packet.
//!
//! Which way of synchronisation was used is known only on the wire. The tape reads the bytes that
//! pass a [wire](super::wires) as they come, in both directions, and keeps of each packet its type
//! and its zxid; pings are left out. The raw snapshot behind SNAP is skipped up to its signature.
//!
//! Of the last packets it is kept when they passed, and syncs are counted: where a request hangs,
//! [`Tape::end`] tells on whose side.

use std::collections::VecDeque;
use std::fmt;
use std::time::Instant;

use oxkeeper_proto::packet::SNAPSHOT_SIGNATURE;
use oxkeeper_proto::{OpCode, Packet, PacketKind, Split};

/// Packets kept of one direction of one connection; an hour of any load here has fewer.
const PACKETS_MAX: usize = 4_000_000;
/// Of these it is kept when they passed, pings included.
const LAST_MAX: usize = 24;
/// The largest packet: `jute.maxbuffer` and what Java adds to it, doubled.
const DATA_BYTES_MAX: usize = 4 << 20;

/// One packet.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seen {
    /// Its type.
    pub kind: PacketKind,
    /// Its zxid as it stands on the wire.
    pub zxid: i64,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:x}", self.kind, self.zxid)
    }
}

/// How a learner was brought up to its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sync {
    /// By whom.
    pub leader: i64,
    /// DIFF, TRUNC or SNAP.
    pub mode: Seen,
    /// What the learner said that it has logged (ACKEPOCH).
    pub learner_has: i64,
    /// Proposals that came before NEWLEADER.
    pub proposals: usize,
    /// UPTODATE was sent: the leader had its quorum, and the learner could serve.
    pub complete: bool,
}

/// One connection between a learner and a leader, or an observer and the follower that serves it.
#[derive(Debug)]
pub struct Tape {
    /// Who opened it.
    pub learner: i64,
    /// Who accepted it.
    pub leader: i64,
    /// It was accepted where followers serve observers.
    pub by_master: bool,
    /// When.
    pub opened: Instant,
    /// From the learner.
    pub up: Track,
    /// From the leader.
    pub down: Track,
}

impl Tape {
    pub(super) fn new(learner: i64, leader: i64, by_master: bool) -> Tape {
        let (up, down) = (Track::default(), Track::default());
        Tape { learner, leader, by_master, opened: Instant::now(), up, down }
    }

    /// What came last, for messages.
    pub fn end(&self) -> String {
        let Tape { learner, leader, up, down, .. } = self;
        format!("from {learner} to {leader}: {up}\nfrom {leader} to {learner}: {down}\n")
    }

    /// How the learner was synchronised; none if it did not come to that.
    pub fn sync(&self) -> Option<Sync> {
        let modes = [PacketKind::DIFF, PacketKind::TRUNC, PacketKind::SNAP];
        let down = &self.down.seen;
        let at = down.iter().position(|seen| modes.contains(&seen.kind))?;
        let learner_has = self.up.first(PacketKind::ACK_EPOCH)?.zxid;
        let rest = &down[at..];
        let end = rest.iter().position(|seen| seen.kind == PacketKind::NEW_LEADER);
        let before = &rest[..end.unwrap_or(rest.len())];
        Some(Sync {
            leader: self.leader,
            mode: down[at],
            learner_has,
            proposals: before.iter().filter(|seen| seen.kind == PacketKind::PROPOSAL).count(),
            complete: self.down.first(PacketKind::UP_TO_DATE).is_some(),
        })
    }
}

impl fmt::Display for Track {
    /// How many syncs there were, and the last packets with their age in ms.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} syncs, the last", self.syncs)?;
        for (at, seen) in &self.last {
            write!(f, ", {seen:?} {} ms ago", at.elapsed().as_millis())?;
        }
        Ok(())
    }
}

/// One direction.
#[derive(Debug, Default)]
pub struct Track {
    /// The packets, pings excluded.
    pub seen: Vec<Seen>,
    /// Syncs, asked or answered.
    pub syncs: usize,
    last: VecDeque<(Instant, Seen)>,
    /// Why the bytes could not be understood any further.
    pub broken: Option<String>,
    pending: Vec<u8>,
    in_snapshot: bool,
}

impl Track {
    /// The first of its type.
    pub fn first(&self, kind: PacketKind) -> Option<Seen> {
        self.seen.iter().copied().find(|seen| seen.kind == kind)
    }

    /// How many there are of a type.
    pub fn count(&self, kind: PacketKind) -> usize {
        self.seen.iter().filter(|seen| seen.kind == kind).count()
    }

    /// Takes the next bytes.
    pub(super) fn feed(&mut self, bytes: &[u8]) {
        if self.broken.is_some() {
            return;
        }
        self.pending.extend_from_slice(bytes);
        let mut used = 0;
        loop {
            let rest = &self.pending[used..];
            if self.in_snapshot {
                match end_of_snapshot(rest) {
                    Some(end) => {
                        used += end;
                        self.in_snapshot = false;
                    }
                    None => {
                        // All but the beginning of a signature is done with.
                        used += rest.len().saturating_sub(SNAPSHOT_SIGNATURE.len() + 3);
                        break;
                    }
                }
                continue;
            }
            match Packet::split(rest, DATA_BYTES_MAX) {
                Ok(Split::Whole(packet, behind)) => {
                    let seen = Seen { kind: packet.kind(), zxid: packet.zxid().0 };
                    used += rest.len() - behind.len();
                    self.in_snapshot = seen.kind == PacketKind::SNAP;
                    self.syncs += usize::from(match packet {
                        Packet::Request(request) => request.op == OpCode::SYNC,
                        _ => seen.kind == PacketKind::SYNC,
                    });
                    if self.last.len() == LAST_MAX {
                        self.last.pop_front();
                    }
                    self.last.push_back((Instant::now(), seen));
                    if seen.kind != PacketKind::PING && self.seen.len() < PACKETS_MAX {
                        self.seen.push(seen);
                    }
                }
                Ok(Split::Incomplete { .. }) => break,
                Err(error) => {
                    self.broken = Some(error.to_string());
                    break;
                }
            }
        }
        self.pending.drain(..used);
    }
}

/// Behind the signature, a string with its length before it.
fn end_of_snapshot(bytes: &[u8]) -> Option<usize> {
    let mut signature = u32::try_from(SNAPSHOT_SIGNATURE.len()).ok()?.to_be_bytes().to_vec();
    signature.extend_from_slice(SNAPSHOT_SIGNATURE.as_bytes());
    let at = bytes.windows(signature.len()).position(|window| window == signature)?;
    Some(at + signature.len())
}

#[cfg(test)]
mod tests {
    use oxkeeper_proto::packet::ForwardedRequest;
    use oxkeeper_proto::{LearnerInfo, SessionId, Sid, Zxid};

    use super::*;

    fn bytes_of(packets: &[Packet<'_>]) -> Vec<u8> {
        let mut bytes = Vec::new();
        packets.iter().for_each(|packet| packet.encode(&mut bytes));
        bytes
    }

    #[test]
    fn packets_behind_a_snapshot_are_found_however_the_bytes_are_cut() {
        let mut down = bytes_of(&[Packet::Snap { zxid: Zxid(0x1_0000_0003) }]);
        down.extend_from_slice(b"\0\0\0\x0aBenWasNot anything of a tree \0\0\0\x0aBenWasHere");
        let proposal = Packet::Proposal { zxid: Zxid(0x1_0000_0004), entry: &[0; 64] };
        let ping = Packet::Ping { zxid: Zxid(7), touched: None };
        let new_leader = Packet::NewLeader { zxid: Zxid(0x2_0000_0000), config: None };
        down.extend(bytes_of(&[proposal, ping, new_leader, Packet::UpToDate]));
        for size in [1, 7, down.len()] {
            let mut tape = Tape::new(2, 1, false);
            let info = LearnerInfo {
                sid: Sid(2),
                protocol_version: LearnerInfo::PROTOCOL_VERSION,
                config_version: 0,
                trailing: b"more",
            };
            let zxid = Zxid(0x1_0000_0002);
            let first = Packet::FollowerInfo { zxid, info };
            tape.up.feed(&bytes_of(&[first, Packet::AckEpoch { zxid, current_epoch: 1 }]));
            down.chunks(size).for_each(|chunk| tape.down.feed(chunk));
            let sync = tape.sync().expect("a sync");
            assert_eq!(format!("{:?}", sync.mode), "SNAP 100000003");
            assert_eq!((sync.learner_has, sync.proposals), (0x1_0000_0002, 1));
            assert!(sync.complete);
            assert_eq!(tape.down.count(PacketKind::PING), 0);
        }
    }

    #[test]
    fn a_sync_without_an_answer_is_seen() {
        let mut tape = Tape::new(2, 1, false);
        let asked = |op| {
            Packet::Request(ForwardedRequest {
                session: SessionId(7),
                cxid: 1,
                op,
                body: b"",
                identities: None,
            })
        };
        tape.up.feed(&bytes_of(&[asked(OpCode::SYNC), asked(OpCode::CREATE), asked(OpCode::SYNC)]));
        tape.down.feed(&bytes_of(&[Packet::Sync]));
        let end = tape.end();
        assert!(end.starts_with("from 2 to 1: 2 syncs, the last, REQUEST"), "{end}");
        assert!(end.contains("from 1 to 2: 1 syncs, the last, SYNC"), "{end}");
    }

    #[test]
    fn bytes_that_are_no_packets_are_told() {
        let mut track = Track::default();
        track.feed(&[0x7f; 64]);
        assert!(track.broken.is_some());
    }
}
