//! Our learner in the place of Apache's.
//!
//! It starts from the promises and the log that the recorded learner had by its first words, hears
//! what the recorded leader said, and has to introduce itself, acknowledge and answer pings as that
//! one did. What it acknowledges one by one is compared with 3.9.5's habit.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::packet::Packet;
use oxkeeper_proto::{Sid, Zxid};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::{
    Disk, Effect, Epochs, Input, LinkId, Outgoing, Peer, Recovered, Settings, Why, election,
};

use crate::recording::Recording;

const LINK: LinkId = LinkId(1);

/// What Apache's learner said, in the parts that a node does not add.
#[derive(Debug, PartialEq, Eq)]
enum Said {
    Info { zxid: Zxid, observer: bool, sid: Sid, config_version: i64 },
    AckEpoch(Zxid, i32),
    Ack(Zxid),
}

fn said(packet: &Packet<'_>) -> Option<Said> {
    match packet {
        Packet::FollowerInfo { zxid, info } | Packet::ObserverInfo { zxid, info } => {
            let observer = matches!(packet, Packet::ObserverInfo { .. });
            let config_version = info.config_version;
            Some(Said::Info { zxid: *zxid, observer, sid: info.sid, config_version })
        }
        Packet::AckEpoch { zxid, current_epoch } => Some(Said::AckEpoch(*zxid, *current_epoch)),
        Packet::Ack { zxid } => Some(Said::Ack(*zxid)),
        _ => None,
    }
}

/// A learner that stands where the recorded one stood.
fn stand_in(recording: &Recording) -> Option<Peer> {
    let (accepted, observer, version) = recording.find(|packet| match packet {
        Packet::FollowerInfo { zxid, info } => Some((zxid.0 >> 32, false, info.config_version)),
        Packet::ObserverInfo { zxid, info } => Some((zxid.0 >> 32, true, info.config_version)),
        _ => None,
    })?;
    let (last, current) = recording.find(|packet| match packet {
        Packet::AckEpoch { zxid, current_epoch } => Some((*zxid, *current_epoch)),
        _ => None,
    })?;
    let config = QuorumVerifier::parse(&recording.config()?, true).ok()?.with_version(version);
    let accepted = u32::try_from(accepted).unwrap_or(0);
    let mut settings = Settings::new(recording.learner);
    // What its servers were told (`zookeeper.testingonly.initialZxid`).
    settings.epochs_begin_at = recording.name.contains("zxid-rollover").then_some(0xffff_fff5);
    settings.observer = observer;
    settings.multi_address = true;
    settings.reconfig_enabled = true;
    let recovered = Recovered {
        last_logged: last.max(Zxid::ZERO),
        trusted: last >= Zxid::ZERO,
        epochs: Epochs { accepted, current: u32::try_from(current).unwrap_or(accepted) },
        tail: Vec::new(),
        config: String::new(),
    };
    let membership = Membership::new(Arc::new(config), None);
    let mut peer = Peer::new(settings, election::Settings::default(), membership, recovered);
    peer.start(0);
    peer.handle(0, Input::Elected(recording.leader));
    Some(peer)
}

/// False if the recording ends before NEWLEADER: there is nothing to compare.
pub fn replay(recording: &Recording) -> Result<bool, String> {
    let Some(mut peer) = stand_in(recording) else { return Ok(false) };
    let mut ours = Vec::new();
    let mut pings = (0, 0);
    let mut synced_by_history = BTreeSet::new();
    let mut history = true;
    let mut over = None;
    effects(&mut peer, &mut ours, &mut pings, &mut over)?;
    for recorded in recording.packets.iter().filter(|recorded| !recorded.from_learner) {
        let packet = recorded.packet();
        match &packet {
            Packet::Commit { zxid } if history => {
                synced_by_history.insert(*zxid);
            }
            Packet::NewLeader { .. } => history = false,
            Packet::Ping { .. } if peer.established().is_some() => pings.0 += 1,
            _ => {}
        }
        peer.packet(0, LINK, &packet);
        effects(&mut peer, &mut ours, &mut pings, &mut over)?;
        if over.is_some() {
            break;
        }
    }
    if let Some(why) = over
        && !matches!(why, Why::Reconfigured(_))
    {
        return Err(format!("left: {why}"));
    }
    if pings.0 != pings.1 {
        return Err(format!("{} pings, {} answers", pings.0, pings.1));
    }
    // Up to 3.8.0 learners acknowledge what DIFF brought one by one; 3.9.5 with NEWLEADER.
    let theirs: Vec<Said> = recording
        .packets
        .iter()
        .filter(|recorded| recorded.from_learner)
        .filter_map(|recorded| said(&recorded.packet()))
        .filter(|said| !matches!(said, Said::Ack(zxid) if synced_by_history.contains(zxid)))
        .collect();
    // A server that was killed had more to say.
    let same = ours.iter().zip(&theirs).take_while(|(one, other)| one == other).count();
    if same < theirs.len() || ours.len() > theirs.len() + 3 {
        let (ours, theirs) = (&ours[same..], &theirs[same..]);
        return Err(format!("from {same}: ours {ours:?}, Java's {theirs:?}"));
    }
    Ok(true)
}

/// A host whose disk is done at once.
fn effects(
    peer: &mut Peer,
    ours: &mut Vec<Said>,
    pings: &mut (usize, usize),
    over: &mut Option<Why>,
) -> Result<(), String> {
    while let Some(effect) = peer.poll_effect() {
        match effect {
            Effect::Dial(_) => peer.handle(0, Input::Linked(LINK)),
            Effect::Send(_, packet) => {
                if matches!(packet, Outgoing::Pong(..)) {
                    pings.1 += 1;
                }
                ours.extend(said(&packet.as_packet()));
            }
            Effect::Append(entry) => peer.handle(0, Input::Disk(Disk::Synced(entry.zxid))),
            Effect::SaveEpochs(epochs) => peer.handle(0, Input::Disk(Disk::EpochsSaved(epochs))),
            Effect::Truncate { generation, to } => {
                peer.handle(0, Input::Disk(Disk::Truncated { generation, last: to }));
            }
            Effect::ReceiveSnapshot { generation, .. } => {
                peer.handle(0, Input::Disk(Disk::SnapshotInstalled { generation }));
            }
            Effect::AskTouched { zxid } => peer.answer_ping(zxid, Bytes::new()),
            Effect::State(oxkeeper_zab::State::Settling(why)) => *over = Some(why),
            Effect::Fatal(why) => return Err(why.to_string()),
            _ => {}
        }
    }
    Ok(())
}
