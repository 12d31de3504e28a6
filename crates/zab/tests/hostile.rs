//! Peers that say anything at all. Whatever packets come in whatever order, on however many links,
//! a server drops who broke the rules or leaves the role; it does not panic, it does not stop, and
//! it keeps its promises and positions in order.

use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::packet::{ForwardedRequest, LearnerInfo, Ours, Packet, TouchedSessions};
use oxkeeper_proto::{Capabilities, OpCode, SessionId, Sid, TxnHeader, Zxid};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::{
    Disk, Effect, Entry, Input, LinkId, Peer, Recovered, Settings, Verdict, election,
};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    /// A zxid near where the protocol is, or far from anywhere.
    fn zxid(&mut self) -> Zxid {
        match self.below(12) {
            0 => Zxid(-1),
            1 => Zxid(i64::MAX),
            2 => Zxid(i64::MIN),
            _ => Zxid((self.below(5) << 32 | self.below(5)) as i64),
        }
    }
}

fn peer() -> Peer {
    let text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nversion=0";
    let config = QuorumVerifier::parse(text, false).expect("three servers make an ensemble");
    let mut settings = Settings::new(Sid(1));
    settings.outstanding_count_max = 8;
    settings.links_max = 4;
    settings.reconfig_enabled = true;
    settings.capabilities = u64::MAX;
    settings.observer_masters = true;
    settings.ensemble_seed = 1;
    let membership = Membership::new(Arc::new(config), None);
    let mut peer =
        Peer::new(settings, election::Settings::default(), membership, Recovered::default());
    peer.start(0);
    peer
}

fn payload(zxid: Zxid, op: OpCode) -> Vec<u8> {
    let mut out = Vec::new();
    TxnHeader { session: SessionId(1), cxid: 0, zxid, time_ms: 0, op }.encode(&mut out);
    out
}

/// One packet of a stranger.
fn say(peer: &mut Peer, dice: &mut Dice) -> Verdict {
    let (zxid, link) = (dice.zxid(), LinkId(dice.below(6)));
    let sid = Sid([1, 2, 3, 99, -1, i64::MAX][dice.below(6) as usize]);
    let op = if dice.below(4) == 0 { OpCode::RECONFIG } else { OpCode::ERROR };
    let mut entry = payload(if dice.below(5) == 0 { dice.zxid() } else { zxid }, op);
    entry.truncate(if dice.below(5) == 0 { dice.below(32) as usize } else { 32 });
    let protocol_version = if dice.below(9) == 0 { 1 } else { LearnerInfo::PROTOCOL_VERSION };
    let config_version = if dice.below(9) == 0 { i64::MAX } else { 0 };
    let mut ours = vec![7];
    if dice.below(2) == 0 {
        ours.clear();
        let ensemble_id = u128::from(dice.below(3));
        Capabilities { bits: u64::MAX, ensemble_id }.encode(&mut ours);
    }
    let info = LearnerInfo { sid, protocol_version, config_version, trailing: &ours };
    let session = SessionId(dice.below(3) as i64);
    let op = if dice.below(2) == 0 { OpCode::SYNC } else { OpCode::CREATE };
    let current_epoch = dice.below(6) as i32 - 2;
    let packet = match dice.below(27) {
        0 | 1 => Packet::FollowerInfo { zxid, info },
        2 => Packet::ObserverInfo { zxid, info },
        3 => Packet::LeaderInfo { zxid, protocol_version, trailing: &ours },
        4 | 5 => Packet::AckEpoch { zxid, current_epoch },
        6 | 7 => Packet::Ack { zxid },
        8 => Packet::Diff { zxid },
        9 => Packet::Trunc { zxid },
        10 => Packet::Snap { zxid },
        11 | 12 => Packet::Proposal { zxid, entry: &entry },
        13 => Packet::Commit { zxid },
        14 => Packet::Inform { zxid, entry: &entry },
        15 => Packet::NewLeader { zxid, config: Some("server.1=nonsense".into()) },
        16 => Packet::UpToDate,
        18 => Packet::Ours(Ours::Handover { zxid, successor: sid }),
        19 => Packet::Ours(Ours::Pulse { interval_ms: dice.below(1 << 33) as u32 }),
        20 => Packet::Ours(Ours::Ensemble { id: u128::from(dice.below(3)) }),
        21 => Packet::Sync,
        17 => Packet::Ours(Ours::Counted),
        22 => Packet::Revalidate { session, timeout_ms: 1 },
        23 => Packet::Revalidated { session, valid: true },
        24 => Packet::Ping { zxid, touched: TouchedSessions::from_raw(&[0; 24]).ok() },
        25 => {
            Packet::Request(ForwardedRequest { session, cxid: 1, op, body: &[], identities: None })
        }
        _ => Packet::CommitAndActivate { zxid, designated_leader: sid },
    };
    peer.packet(dice.below(100), link, &packet)
}

/// A host whose disk is done at once.
fn effects(peer: &mut Peer) {
    while let Some(effect) = peer.poll_effect() {
        let answer = match effect {
            Effect::Dial(_) | Effect::DialObserverMaster(_) => Input::Linked(LinkId(0)),
            Effect::Append(entry) => Input::Disk(Disk::Synced(entry.zxid)),
            Effect::SaveEnsembleId(id) => Input::Disk(Disk::EnsembleIdSaved(id)),
            Effect::SaveEpochs(epochs) => Input::Disk(Disk::EpochsSaved(epochs)),
            Effect::Truncate { generation, to } => {
                Input::Disk(Disk::Truncated { generation, last: to.min(peer.cursors().appended) })
            }
            Effect::ReceiveSnapshot { generation, .. } => {
                Input::Disk(Disk::SnapshotInstalled { generation })
            }
            Effect::Reload { generation } => {
                Input::Disk(Disk::Reloaded { generation, last: peer.cursors().committed })
            }
            Effect::OpenSnapshot { link, at_least } => {
                Input::SnapshotOpened { link, zxid: at_least.max(Zxid::ZERO) }
            }
            Effect::SurveyLog { link, .. } => Input::LogSurveyed { link, survey: None },
            Effect::ReadLog { link, .. } => Input::HistoryUnavailable(link),
            Effect::Fatal(why) => panic!("a peer stopped the server: {why}"),
            _ => continue,
        };
        peer.handle(0, answer);
    }
    peer.cursors().check();
}

/// Lets a peer get somewhere with someone honest, so that the others do not all fail at the door.
fn honest_beginning(peer: &mut Peer, dice: &mut Dice) {
    let info = LearnerInfo {
        sid: Sid(2),
        protocol_version: LearnerInfo::PROTOCOL_VERSION,
        config_version: 0,
        trailing: &[],
    };
    let first = Zxid(1 << 32);
    let leads = dice.below(2) == 0;
    let steps = if leads {
        peer.handle(0, Input::Elected(Sid(1)));
        peer.handle(0, Input::Linked(LinkId(0)));
        vec![
            Packet::FollowerInfo { zxid: Zxid::ZERO, info },
            Packet::AckEpoch { zxid: Zxid::ZERO, current_epoch: 0 },
            Packet::Ack { zxid: first },
        ]
    } else {
        peer.handle(0, Input::Elected(Sid(2)));
        vec![
            Packet::LeaderInfo {
                zxid: first,
                protocol_version: LearnerInfo::PROTOCOL_VERSION,
                trailing: &[],
            },
            Packet::Diff { zxid: Zxid::ZERO },
            Packet::NewLeader { zxid: first, config: None },
            Packet::UpToDate,
        ]
    };
    effects(peer);
    let count = dice.below(steps.len() as u64 + 1) as usize;
    for packet in &steps[..count] {
        peer.packet(0, LinkId(0), packet);
        effects(peer);
    }
}

#[test]
fn nothing_that_a_peer_says_breaks_a_server() {
    let mut established = 0;
    for seed in 0..3000 {
        let mut dice = Dice(seed);
        let mut peer = peer();
        if dice.below(4) > 0 {
            honest_beginning(&mut peer, &mut dice);
        }
        established += u32::from(peer.established().is_some());
        for _ in 0..80 {
            let epochs = peer.epochs();
            match dice.below(15) {
                12 => peer.handle(0, Input::ObserverLinked(LinkId(dice.below(6)))),
                13 => {
                    peer.hand_over(0);
                    peer.may_lead(0, true);
                }
                14 => peer.wake(dice.below(3000)),
                0 => peer.handle(0, Input::Elected(Sid(1 + dice.below(3) as i64))),
                1 => peer.handle(0, Input::Linked(LinkId(dice.below(6)))),
                2 => {
                    if let Some(zxid) = peer.next_zxid(0) {
                        let payload = Bytes::from(payload(zxid, OpCode::ERROR));
                        peer.propose(0, Entry { zxid, payload }, None);
                    }
                }
                _ => drop(say(&mut peer, &mut dice)),
            }
            effects(&mut peer);
            let now = peer.epochs();
            assert!(now.accepted >= epochs.accepted && now.current >= epochs.current, "{seed}");
        }
    }
    assert!(established > 100, "the strangers never got far: {established}");
}
