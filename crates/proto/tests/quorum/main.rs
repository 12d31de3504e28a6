//! What real ensembles said to each other, decoded, compared and written again.
//!
//! `fixtures/quorum` holds both directions of every connection that servers of Apache ZooKeeper
//! 3.5.9 to 3.9.5, alone and mixed, opened to each other in some twenty situations; beside them
//! what an independent decoder made of them. Here every stream decodes to its end, every field is
//! the expected one, and every message encodes to the bytes that it came in.

mod as_json;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use oxkeeper_proto::limits::FIELD_BYTES_MAX_DEFAULT;
use oxkeeper_proto::notification::split_message;
use oxkeeper_proto::packet::SNAPSHOT_SIGNATURE;
use oxkeeper_proto::{
    Hello, Notification, Packet, PacketKind, Payload, QuorumAuth, Reader, Request,
};
use serde_json::{Value, json};

/// One connection: who opened it to whom, and what stands in its files.
struct Capture {
    name: String,
    election: bool,
    opener: Stream,
    acceptor: Stream,
}

/// One direction of a connection.
struct Stream {
    bytes: Vec<u8>,
    expected: Vec<Value>,
}

fn captures() -> Vec<Capture> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/quorum");
    let mut told: Vec<PathBuf> = Vec::new();
    for ensemble in std::fs::read_dir(root).expect("the captures are kept here") {
        let ensemble = ensemble.expect("readable").path();
        if ensemble.is_dir() {
            let files = std::fs::read_dir(ensemble).expect("readable");
            told.extend(files.map(|file| file.expect("readable").path()));
        }
    }
    told.retain(|path| path.extension().is_some_and(|extension| extension == "jsonl"));
    told.sort();
    told.iter().map(|path| capture(path)).collect()
}

/// `<case>.<kind>.c<N>.<opener>-<acceptor>.jsonl`, and a `.bin` per direction that has bytes.
fn capture(path: &Path) -> Capture {
    let name = path.display().to_string();
    let stem = path.file_stem().and_then(|stem| stem.to_str()).expect("a name");
    let (connection, pair) = stem.rsplit_once('.').expect("a pair of servers");
    let (opener, acceptor) = pair.split_once('-').expect("two servers");
    let text = std::fs::read_to_string(path).expect("readable");
    let stream = |from: &str, to: &str| {
        let bytes = std::fs::read(path.with_file_name(format!("{connection}.{from}-{to}.bin")));
        let direction = format!("{from}>{to}");
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        let expected = lines.filter(|line| line["dir"] == direction).map(|mut line| {
            line.as_object_mut().expect("an object").remove("dir");
            line
        });
        Stream { bytes: bytes.unwrap_or_default(), expected: expected.collect() }
    };
    let (opener, acceptor) = (stream(opener, acceptor), stream(acceptor, opener));
    Capture { election: connection.contains(".fle."), name, opener, acceptor }
}

/// A stream on its way through the decoders.
struct Walk<'a> {
    name: &'a str,
    whole: &'a [u8],
    rest: &'a [u8],
    seen: Vec<Value>,
}

impl<'a> Walk<'a> {
    fn new(name: &'a str, whole: &'a [u8]) -> Self {
        Walk { name, whole, rest: whole, seen: Vec::new() }
    }

    fn offset(&self) -> usize {
        self.whole.len() - self.rest.len()
    }

    /// Takes a message that encodes to `again` and is told as `value`.
    fn take(&mut self, rest: &'a [u8], again: &[u8], mut value: Value) {
        let from = self.offset();
        let to = self.whole.len() - rest.len();
        assert_eq!(again, &self.whole[from..to], "{} at {from}: other bytes", self.name);
        value["off"] = json!(from);
        self.seen.push(value);
        self.rest = rest;
    }

    fn auth(&mut self) {
        while QuorumAuth::is_next(self.rest) == Some(true) {
            let (message, rest) = QuorumAuth::split(self.rest).unwrap().whole().expect("whole");
            let mut again = Vec::new();
            message.encode(&mut again);
            self.take(rest, &again, as_json::auth(&message));
        }
    }

    fn hello(&mut self) {
        let (hello, rest) = Hello::split(self.rest).unwrap().whole().expect("whole");
        let mut again = Vec::new();
        hello.encode(&mut again);
        self.take(rest, &again, as_json::hello(&hello));
    }

    fn notifications(&mut self) {
        while !self.rest.is_empty() {
            let (payload, rest) = split_message(self.rest).unwrap().whole().expect("whole");
            let notification = Notification::decode(payload).expect("a notification");
            let mut again = Vec::new();
            notification.encode_message(&mut again);
            self.take(rest, &again, as_json::notification(&notification));
        }
    }

    fn packets(&mut self, kinds: &mut BTreeMap<PacketKind, usize>) {
        while !self.rest.is_empty() {
            let split = Packet::split(self.rest, FIELD_BYTES_MAX_DEFAULT);
            let split = split.unwrap_or_else(|error| panic!("{}: {error}", self.name));
            let (packet, rest) = split.whole().expect("whole");
            *kinds.entry(packet.kind()).or_default() += 1;
            let mut again = Vec::new();
            packet.encode(&mut again);
            payload_again(&packet);
            self.take(rest, &again, as_json::packet(&packet));
            if matches!(packet, Packet::Snap { .. }) {
                self.snapshot();
            }
        }
    }

    /// Steps over the raw snapshot; what is in it is the business of other tests.
    fn snapshot(&mut self) {
        let mut signature = 10i32.to_be_bytes().to_vec();
        signature.extend_from_slice(SNAPSHOT_SIGNATURE.as_bytes());
        let at = self.rest.windows(signature.len()).position(|window| window == signature);
        self.rest = &self.rest[at.expect("a signature") + signature.len()..];
    }
}

/// What packets carry encodes to the same bytes, too.
fn payload_again(packet: &Packet<'_>) {
    let mut again = Vec::new();
    match packet {
        Packet::Proposal { entry, .. }
        | Packet::Inform { entry, .. }
        | Packet::InformAndActivate { entry, .. } => {
            let payload = Payload::decode(entry).expect("a transaction");
            assert_eq!(payload.header.zxid, packet.zxid());
            payload.encode(&mut again);
            assert_eq!(again, *entry);
        }
        Packet::Request(request) => {
            let body = Request::decode(request.op, &mut Reader::new(request.body));
            body.expect("a request").expect("a known one").encode(&mut again);
            // createSession is for servers alone, and its body is no client's: a timeout.
            if request.op != oxkeeper_proto::OpCode::CREATE_SESSION {
                assert_eq!(again, request.body);
            }
        }
        _ => {}
    }
}

fn compare(name: &str, seen: &[Value], expected: &[Value]) {
    // The snapshot behind SNAP has a line of its own.
    let expected: Vec<_> = expected.iter().filter(|line| line["snapshot"].is_null()).collect();
    for (seen, expected) in seen.iter().zip(&expected) {
        assert_eq!(seen, *expected, "{name}");
    }
    assert_eq!(seen.len(), expected.len(), "{name}: messages");
}

#[test]
fn every_capture_of_the_election_port_is_understood_and_written_again() {
    let (mut messages, mut forms) = (0, BTreeSet::new());
    for capture in captures().iter().filter(|capture| capture.election) {
        let mut walk = Walk::new(&capture.name, &capture.opener.bytes);
        walk.hello();
        walk.auth();
        walk.notifications();
        compare(&capture.name, &walk.seen, &capture.opener.expected);
        forms.insert(walk.seen[0]["protocolVersion"].as_i64());
        messages += walk.seen.len();

        let mut walk = Walk::new(&capture.name, &capture.acceptor.bytes);
        walk.auth();
        walk.notifications();
        compare(&capture.name, &walk.seen, &capture.acceptor.expected);
        messages += walk.seen.len();
    }
    assert_eq!(forms, BTreeSet::from([Some(-65536), Some(-65535)]), "hellos of both versions");
    assert_eq!(messages, MESSAGES, "messages on the election port");
}

#[test]
fn every_capture_of_the_quorum_port_is_understood_and_written_again() {
    let mut kinds = BTreeMap::new();
    for capture in captures().iter().filter(|capture| !capture.election) {
        for stream in [&capture.opener, &capture.acceptor] {
            let mut walk = Walk::new(&capture.name, &stream.bytes);
            walk.auth();
            walk.packets(&mut kinds);
            compare(&capture.name, &walk.seen, &stream.expected);
        }
    }
    let seen: Vec<_> = kinds.keys().copied().collect();
    assert_eq!(seen, PacketKind::ALL, "every type occurs");
    assert_eq!(kinds.values().sum::<usize>(), PACKETS, "packets on the quorum port: {kinds:?}");
}

/// How much there is, so that captures cannot get lost unnoticed.
const MESSAGES: usize = 770;
const PACKETS: usize = 8910;

#[test]
fn no_prefix_of_a_capture_is_an_error_or_asks_for_too_much() {
    for capture in captures().iter().filter(|capture| !capture.election) {
        let mut rest = &capture.opener.bytes[..];
        if QuorumAuth::is_next(rest) == Some(true) {
            continue;
        }
        while !rest.is_empty() {
            let split = Packet::split(rest, FIELD_BYTES_MAX_DEFAULT).expect("sound");
            let behind = split.whole().expect("whole").1;
            let packet = &rest[..rest.len() - behind.len()];
            let mut have = 0;
            let mut looks = 0;
            // A reader that always waits for as much as it was told gets there, and soon.
            while let Some(needed) = needed(&packet[..have]) {
                assert!(needed > 0 && have + needed <= packet.len(), "{}", capture.name);
                (have, looks) = (have + needed, looks + 1);
            }
            assert_eq!(have, packet.len(), "{}", capture.name);
            assert!(looks <= 8, "{}: looked {looks} times at one packet", capture.name);
            rest = behind;
        }
    }
}

fn needed(bytes: &[u8]) -> Option<usize> {
    match Packet::split(bytes, FIELD_BYTES_MAX_DEFAULT).expect("sound") {
        oxkeeper_proto::Split::Whole(..) => None,
        oxkeeper_proto::Split::Incomplete { needed } => Some(needed),
    }
}
