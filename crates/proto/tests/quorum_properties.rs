//! What holds of every hello, notification and packet: it comes back as it was written, and a piece
//! of it asks for more.

use std::borrow::Cow;

use oxkeeper_proto::limits::FIELD_BYTES_MAX_DEFAULT;
use oxkeeper_proto::notification::{Address, HelloForm, split_message};
use oxkeeper_proto::packet::{
    ForwardedRequest, Identities, Ours, PacketError, TouchedSessions, encode_identities,
    put_touched,
};
use oxkeeper_proto::quorum_auth::AuthStatus;
use oxkeeper_proto::{
    Capabilities, Hello, LearnerInfo, Notification, OpCode, Packet, PacketKind, PeerState,
    QuorumAuth, SessionId, Sid, Split, Zxid,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// What packets are made of; they borrow from it.
#[derive(Debug, Clone)]
struct Parts {
    kind: i32,
    long: i64,
    sid: i64,
    int: i32,
    bytes: Vec<u8>,
    maybe: Option<Vec<u8>>,
    identities: Option<Vec<u8>>,
    touched: Vec<u8>,
    config: Option<String>,
    answer: bool,
}

fn parts() -> impl Strategy<Value = Parts> {
    let identities = vec((".{0,8}", ".{0,20}"), 0..4).prop_map(|list| {
        let mut raw = Vec::new();
        let list: Vec<_> = list.iter().map(|(scheme, id)| (&scheme[..], &id[..])).collect();
        encode_identities(&mut raw, &list);
        raw
    });
    let touched = vec(any::<(i64, i32)>(), 0..6).prop_map(|list| {
        let mut raw = Vec::new();
        list.iter().for_each(|(session, ms)| put_touched(&mut raw, SessionId(*session), *ms));
        raw
    });
    let kind = prop_oneof![9 => 1..=19, 2 => 0x4f78_4b01..=0x4f78_4b04, 1 => any::<i32>()];
    let numbers = (kind, any::<i64>(), any::<i64>(), any::<i32>(), any::<bool>());
    // Entries are at least a transaction's header.
    let bytes = vec(any::<u8>(), 32..80);
    let maybe = option::of(vec(any::<u8>(), 0..20));
    (numbers, bytes, maybe, option::of(identities), touched, option::of(".{0,40}")).prop_map(
        |((kind, long, sid, int, answer), bytes, maybe, identities, touched, config)| Parts {
            kind,
            long,
            sid,
            int,
            bytes,
            maybe,
            identities,
            touched,
            config,
            answer,
        },
    )
}

impl Parts {
    fn packet(&self) -> Packet<'_> {
        let (zxid, entry, trailing) = (Zxid(self.long), &self.bytes[..], &self.bytes[..]);
        let designated_leader = Sid(self.sid);
        let identities =
            self.identities.as_deref().map(|raw| Identities::from_raw(raw).expect("a list"));
        let info = LearnerInfo {
            sid: Sid(self.sid),
            protocol_version: self.int,
            config_version: self.long,
            trailing,
        };
        let session = SessionId(self.long);
        match PacketKind(self.kind) {
            PacketKind::REQUEST => Packet::Request(ForwardedRequest {
                session,
                cxid: self.int,
                op: OpCode(self.kind ^ self.int),
                body: &self.bytes,
                identities,
            }),
            PacketKind::PROPOSAL => Packet::Proposal { zxid, entry },
            PacketKind::ACK => Packet::Ack { zxid },
            PacketKind::COMMIT => Packet::Commit { zxid },
            PacketKind::PING => {
                let touched = TouchedSessions::from_raw(&self.touched).expect("whole elements");
                Packet::Ping { zxid, touched: self.answer.then_some(touched) }
            }
            PacketKind::REVALIDATE if self.answer => {
                Packet::Revalidated { session, valid: self.int > 0 }
            }
            PacketKind::REVALIDATE => Packet::Revalidate { session, timeout_ms: self.int },
            PacketKind::SYNC => Packet::Sync,
            PacketKind::INFORM => Packet::Inform { zxid, entry },
            PacketKind::COMMIT_AND_ACTIVATE => {
                Packet::CommitAndActivate { zxid, designated_leader }
            }
            PacketKind::NEW_LEADER => {
                Packet::NewLeader { zxid, config: self.config.as_deref().map(Cow::Borrowed) }
            }
            PacketKind::FOLLOWER_INFO => Packet::FollowerInfo { zxid, info },
            PacketKind::UP_TO_DATE => Packet::UpToDate,
            PacketKind::DIFF => Packet::Diff { zxid },
            PacketKind::TRUNC => Packet::Trunc { zxid },
            PacketKind::SNAP => Packet::Snap { zxid },
            PacketKind::OBSERVER_INFO => Packet::ObserverInfo { zxid, info },
            PacketKind::LEADER_INFO => {
                Packet::LeaderInfo { zxid, protocol_version: self.int, trailing }
            }
            PacketKind::ACK_EPOCH => Packet::AckEpoch { zxid, current_epoch: self.int },
            PacketKind::INFORM_AND_ACTIVATE => {
                Packet::InformAndActivate { zxid, designated_leader, entry }
            }
            PacketKind(0x4f78_4b01) => {
                Packet::Ours(Ours::Handover { zxid, successor: Sid(self.sid) })
            }
            PacketKind(0x4f78_4b02) => {
                Packet::Ours(Ours::Pulse { interval_ms: self.int.cast_unsigned() })
            }
            PacketKind(0x4f78_4b03) => {
                Packet::Ours(Ours::Ensemble { id: u128::from(self.sid.cast_unsigned()) << 60 })
            }
            PacketKind(0x4f78_4b04) => Packet::Ours(Ours::Counted),
            kind => Packet::Unknown { kind, zxid, data: self.maybe.as_deref(), identities },
        }
    }
}

fn split(bytes: &[u8]) -> Result<Split<'_, Packet<'_>>, PacketError> {
    Packet::split(bytes, FIELD_BYTES_MAX_DEFAULT)
}

proptest! {
    #[test]
    fn packets_come_back_as_they_were_written(all in vec(parts(), 1..6)) {
        let mut bytes = Vec::new();
        all.iter().for_each(|parts| parts.packet().encode(&mut bytes));
        let mut rest = &bytes[..];
        for parts in &all {
            let (packet, behind) = split(rest).unwrap().whole().expect("whole");
            prop_assert_eq!(packet, parts.packet());
            rest = behind;
        }
        prop_assert!(rest.is_empty());
    }

    #[test]
    fn a_piece_of_a_packet_asks_for_no_more_than_is_missing(parts in parts()) {
        let mut bytes = Vec::new();
        parts.packet().encode(&mut bytes);
        for cut in 0..bytes.len() {
            let Ok(Split::Incomplete { needed }) = split(&bytes[..cut]) else {
                panic!("{cut} of {} bytes", bytes.len())
            };
            prop_assert!(needed > 0 && needed <= bytes.len() - cut);
        }
    }

    #[test]
    fn a_damaged_packet_is_read_or_refused(
        parts in parts(),
        at in any::<prop::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut bytes = Vec::new();
        parts.packet().encode(&mut bytes);
        let at = at.index(bytes.len());
        bytes[at] = byte;
        if let Ok(Split::Whole(packet, rest)) = split(&bytes) {
            prop_assert!(bytes.len() - rest.len() >= Packet::BYTES_MIN);
            let mut again = Vec::new();
            packet.encode(&mut again);
            prop_assert_eq!(split(&again), Ok(Split::Whole(packet, &[][..])));
        }
    }

    #[test]
    fn notifications_come_back_as_they_were_written(
        state in 0..4,
        numbers in any::<(i64, i64, i64, i64)>(),
        version in 2..=i32::MAX,
        config in option::of(".{0,80}"),
        proposed in option::of(".{0,80}"),
    ) {
        let (leader, zxid, election_epoch, peer_epoch) = numbers;
        let notification = Notification {
            state: PeerState::from_code(state).unwrap(),
            leader: Sid(leader),
            zxid: Zxid(zxid),
            election_epoch,
            peer_epoch,
            // Without a configuration the form is the one that has no version.
            version: if config.is_some() { version } else { 0 },
            // The one proposed stands behind the one in force.
            proposed: proposed.filter(|_| config.is_some()).map(Cow::Owned),
            config: config.map(Cow::Owned),
        };
        let mut bytes = Vec::new();
        notification.encode_message(&mut bytes);
        for cut in 0..bytes.len() {
            let Ok(Split::Incomplete { needed }) = split_message(&bytes[..cut]) else {
                panic!("{cut} of {} bytes", bytes.len())
            };
            prop_assert!(needed > 0 && needed <= bytes.len() - cut);
        }
        let (payload, rest) = split_message(&bytes).unwrap().whole().expect("whole");
        prop_assert!(rest.is_empty());
        prop_assert_eq!(Notification::decode(payload).unwrap(), notification);
        let mut apaches = Vec::new();
        Notification { proposed: None, ..Notification::decode(payload).unwrap() }
            .encode(&mut apaches);
        for cut in 0..apaches.len() {
            // 28 and 40 bytes are forms of their own, all else is cut.
            prop_assert_eq!(Notification::decode(&payload[..cut]).is_ok(), [28, 40].contains(&cut));
        }
    }

    #[test]
    fn hellos_come_back_as_they_were_written(
        sid in 0..i64::MAX,
        form in 0..3,
        hosts in vec(("[a-z0-9.:-]{1,30}", any::<u16>()), 1..8),
    ) {
        let form = [HelloForm::Bare, HelloForm::V1, HelloForm::V2][form as usize];
        let addresses: Vec<_> = hosts
            .into_iter()
            .map(|(host, port)| Address { host: host.into(), port })
            .filter(|address| !address.is_wildcard())
            .take(match form { HelloForm::Bare => 0, HelloForm::V1 => 1, HelloForm::V2 => 8 })
            .collect();
        prop_assume!(form == HelloForm::Bare || !addresses.is_empty());
        let hello = Hello { form, sid: Sid(sid), addresses };
        let mut bytes = Vec::new();
        hello.encode(&mut bytes);
        for cut in 0..bytes.len() {
            let Ok(Split::Incomplete { needed }) = Hello::split(&bytes[..cut]) else {
                panic!("{cut} of {} bytes", bytes.len())
            };
            prop_assert!(needed > 0 && needed <= bytes.len() - cut);
        }
        bytes.push(7);
        prop_assert_eq!(Hello::split(&bytes), Ok(Split::Whole(hello, &[7][..])));
    }

    #[test]
    fn sasl_messages_come_back_as_they_were_written(
        status in 0..3,
        token in option::of(vec(any::<u8>(), 0..60)),
    ) {
        let statuses = [AuthStatus::InProgress, AuthStatus::Success, AuthStatus::Error];
        let message = QuorumAuth { status: statuses[status as usize], token: token.as_deref() };
        let mut bytes = Vec::new();
        message.encode(&mut bytes);
        for cut in 0..bytes.len() {
            let Ok(Split::Incomplete { needed }) = QuorumAuth::split(&bytes[..cut]) else {
                panic!("{cut} of {} bytes", bytes.len())
            };
            prop_assert!(needed > 0 && needed <= bytes.len() - cut);
        }
        prop_assert_eq!(QuorumAuth::split(&bytes), Ok(Split::Whole(message, &[][..])));
    }

    #[test]
    fn capabilities_come_back_as_they_were_written(bits: u64, id: u128, behind: Vec<u8>) {
        let ours = Capabilities { bits, ensemble_id: id };
        let mut bytes = Vec::new();
        ours.encode(&mut bytes);
        bytes.extend_from_slice(&behind);
        prop_assert_eq!(Capabilities::from_trailing(&bytes), Some(ours));
    }
}
