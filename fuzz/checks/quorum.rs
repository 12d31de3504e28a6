//! What servers say to each other: the election port, the quorum port, the trailer of our own.
//!
//! The same bytes are taken for each of them. Holds whatever comes: nothing panics, a record only
//! takes bytes that are there, one that lacks its last byte asks for exactly that, and what was
//! decoded encodes to bytes that decode to the same.

use oxkeeper_proto::limits::{
    ELECTION_MESSAGE_BYTES_MAX, FIELD_BYTES_MAX_DEFAULT, HELLO_ADDRESSES_BYTES_MAX,
    IDENTITIES_BYTES_MAX, QUORUM_AUTH_TOKEN_BYTES_MAX,
};
use oxkeeper_proto::notification::split_message;
use oxkeeper_proto::{Capabilities, Hello, Notification, Packet, QuorumAuth, Split};

/// Small enough that inputs reach beyond it.
const DATA_BYTES_MAX: usize = 4096;

/// One stream, from its first byte on.
pub fn run(data: &[u8]) {
    election_port(data);
    quorum_port(data);
    trailer(data);
}

fn election_port(data: &[u8]) {
    let mut rest = data;
    match Hello::split(data) {
        Ok(Split::Whole(hello, behind)) => {
            greeting(data, &hello, behind);
            rest = behind;
        }
        Ok(Split::Incomplete { needed }) => waits(needed, HELLO_ADDRESSES_BYTES_MAX + 20),
        Err(_) => {}
    }
    rest = sasl(rest);
    loop {
        match split_message(rest) {
            Ok(Split::Whole(payload, behind)) => {
                lacks_one(split_message(but_last(rest, behind)).ok());
                vote(payload);
                rest = behind;
            }
            Ok(Split::Incomplete { needed }) => return waits(needed, ELECTION_MESSAGE_BYTES_MAX),
            Err(_) => return,
        }
    }
}

fn greeting(data: &[u8], hello: &Hello, behind: &[u8]) {
    lacks_one(Hello::split(but_last(data, behind)).ok());
    assert!(hello.addresses.iter().all(|address| !address.is_wildcard()));
    let mut out = Vec::new();
    hello.encode(&mut out);
    // The id alone stands for a hello that has nothing else to say; it cannot be negative.
    if !hello.addresses.is_empty() || hello.sid.0 >= 0 {
        let (again, _) = Hello::split(&out).expect("our own bytes").whole().expect("whole");
        assert_eq!(again.sid, hello.sid);
        assert!(hello.addresses.starts_with(&again.addresses));
    }
}

fn vote(payload: &[u8]) {
    let Ok(notification) = Notification::decode(payload) else { return };
    let mut out = Vec::new();
    notification.encode(&mut out);
    let again = Notification::decode(&out).expect("our own bytes");
    let version = if notification.config.is_some() { notification.version } else { 0 };
    assert_eq!(again, Notification { version, ..notification });
}

fn sasl(mut rest: &[u8]) -> &[u8] {
    while QuorumAuth::is_next(rest) == Some(true) {
        match QuorumAuth::split(rest) {
            Ok(Split::Whole(message, behind)) => {
                lacks_one(QuorumAuth::split(but_last(rest, behind)).ok());
                let mut out = Vec::new();
                message.encode(&mut out);
                assert_eq!(QuorumAuth::split(&out), Ok(Split::Whole(message, &[][..])));
                rest = behind;
            }
            Ok(Split::Incomplete { needed }) => {
                waits(needed, QUORUM_AUTH_TOKEN_BYTES_MAX);
                break;
            }
            Err(_) => break,
        }
    }
    rest
}

fn quorum_port(data: &[u8]) {
    let mut rest = sasl(data);
    loop {
        match Packet::split(rest, DATA_BYTES_MAX) {
            Ok(Split::Whole(packet, behind)) => {
                assert!(rest.len() - behind.len() >= Packet::BYTES_MIN);
                lacks_one(Packet::split(but_last(rest, behind), DATA_BYTES_MAX).ok());
                walk(&packet);
                let mut out = Vec::new();
                packet.encode(&mut out);
                let again = Packet::split(&out, FIELD_BYTES_MAX_DEFAULT);
                assert_eq!(again, Ok(Split::Whole(packet, &[][..])));
                rest = behind;
            }
            Ok(Split::Incomplete { needed }) => {
                return waits(needed, Packet::BYTES_MIN + DATA_BYTES_MAX + IDENTITIES_BYTES_MAX);
            }
            Err(_) => return,
        }
    }
}

/// Lists that a packet keeps encoded can be walked to their end.
fn walk(packet: &Packet<'_>) {
    match packet {
        Packet::Request(request) => {
            if let Some(list) = request.identities {
                let count = i32::from_be_bytes(*list.raw().first_chunk().expect("a count"));
                assert_eq!(list.iter().count(), count.max(0) as usize);
            }
        }
        Packet::Ping { touched: Some(touched), .. } => {
            assert_eq!(touched.iter().count() * 12, touched.raw().len());
        }
        Packet::FollowerInfo { info, .. } => trailer(info.trailing),
        Packet::LeaderInfo { trailing, .. } => trailer(trailing),
        _ => {}
    }
}

fn trailer(bytes: &[u8]) {
    if let Some(capabilities) = Capabilities::from_trailing(bytes) {
        let mut out = Vec::new();
        capabilities.encode(&mut out);
        assert_eq!(Capabilities::from_trailing(&out), Some(capabilities));
    }
}

/// The bytes of the first record without its last one.
fn but_last<'a>(bytes: &'a [u8], behind: &[u8]) -> &'a [u8] {
    &bytes[..bytes.len() - behind.len() - 1]
}

fn lacks_one<T>(split: Option<Split<'_, T>>) {
    assert!(matches!(split, Some(Split::Incomplete { needed: 1 })), "a record that is not there");
}

fn waits(needed: usize, max: usize) {
    assert!((1..=max).contains(&needed), "waits for {needed} bytes");
}
