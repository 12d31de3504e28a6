//! Sessions recorded with Java's server, replayed from the client's side.
//!
//! The recorded requests are submitted as a user would, one after the answer to the other; the
//! bytes sent must be the recorded ones, and the recorded replies must come out whole: encoded
//! again, they are what Java sent. Numbers of requests are mapped, because the recordings also hold
//! what our client refuses to send; those, and pings, are left out on both sides.

use std::collections::BTreeMap;

use oxkeeper_client::core::{
    Answer, Call, Client, Config, ConnectString, Effect, Input, LinkId, Loss, OpAnswer, Outcome,
    ReadAnswer, Refused, State, Ticket, WatchEvent, Watcher,
};
use oxkeeper_proto::codec::patch_int;
use oxkeeper_proto::connect::{ConnectRequest, begin_frame, end_frame, split_frame};
use oxkeeper_proto::data::{encode_acl, encode_strings};
use oxkeeper_proto::request::{MultiHeader, PathKind, PathWatch, RequestHeader};
use oxkeeper_proto::response::{EventType, ReplyHeader, WatcherEvent, xid};
use oxkeeper_proto::{ErrorCode, OpCode, Put, Reader, Request, Stat, Zxid};

macro_rules! capture {
    ($name:literal) => {
        (
            $name,
            &include_bytes!(concat!(
                "../../../tests/conformance/golden/client/3.9.5/",
                $name,
                ".c-s.bin"
            ))[..],
            &include_bytes!(concat!(
                "../../../tests/conformance/golden/client/3.9.5/",
                $name,
                ".s-c.bin"
            ))[..],
        )
    };
}

fn frames(mut bytes: &[u8]) -> Vec<&[u8]> {
    let mut frames = Vec::new();
    while let Some((frame, rest)) = split_frame(bytes, 1 << 20).expect("a frame") {
        frames.push(frame);
        bytes = rest;
    }
    assert!(bytes.is_empty());
    frames
}

fn framed(frame: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let start = begin_frame(&mut out);
    out.extend_from_slice(frame);
    end_frame(&mut out, start);
    out
}

/// A client on the other side of a recording.
struct Replay {
    client: Client,
    link: LinkId,
    sent: Vec<u8>,
    done: BTreeMap<Ticket, Outcome>,
    events: Vec<(Watcher, WatchEvent)>,
    states: Vec<State>,
}

impl Replay {
    fn new(timeout_ms: i32, read_only: bool) -> Replay {
        let mut config = Config::new(ConnectString::parse("h").expect("a host"));
        (config.session_timeout_ms, config.read_only) = (timeout_ms, read_only);
        let mut replay = Replay {
            client: Client::new(config, 0),
            link: LinkId(0),
            sent: Vec::new(),
            done: BTreeMap::new(),
            events: Vec::new(),
            states: Vec::new(),
        };
        replay.dial();
        replay
    }

    fn dial(&mut self) {
        let due = self.client.deadline_us().expect("alive");
        self.client.handle(due, Input::Wake);
        self.poll();
        self.client.handle(due, Input::Connected(self.link));
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(effect) = self.client.poll_effect() {
            match effect {
                Effect::Dial(link, _) => self.link = link,
                Effect::Send(_, bytes) => self.sent.extend(bytes),
                Effect::Completed(ticket, outcome) => {
                    assert!(self.done.insert(ticket, outcome).is_none());
                }
                Effect::Event(watcher, event) => self.events.push((watcher, event)),
                Effect::State(state) => self.states.push(state),
                Effect::Close(..) | Effect::Probe(..) => {}
            }
        }
    }

    fn feed(&mut self, frame: &[u8]) {
        self.client.handle(0, Input::Bytes(self.link, &framed(frame)));
        self.poll();
    }

    fn take_sent(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.sent)
    }
}

/// What Java's body was, made from what our client understood of it.
fn encode(answer: &Answer, op: OpCode) -> Vec<u8> {
    let mut out = Vec::new();
    match answer {
        Answer::Nothing if op == OpCode::ADD_WATCH => out.put_int(0),
        Answer::Nothing | Answer::Synced => {}
        Answer::Created(path) => out.put_string(path),
        Answer::CreatedWithStat(path, stat) => {
            out.put_string(path);
            stat.encode(&mut out);
        }
        Answer::Stat(stat) => stat.encode(&mut out),
        Answer::Data(data, stat) => put_data(&mut out, data, stat),
        Answer::Acl(acl, stat) => {
            encode_acl(&mut out, acl);
            stat.encode(&mut out);
        }
        Answer::Children(list) | Answer::Ephemerals(list) => encode_strings(&mut out, list),
        Answer::ChildrenWithStat(list, stat) => {
            encode_strings(&mut out, list);
            stat.encode(&mut out);
        }
        Answer::Count(count) => out.put_int(*count),
        Answer::Multi(answers) => {
            answers.iter().for_each(|answer| put_op(&mut out, answer));
            MultiHeader::END.encode(&mut out);
        }
        Answer::MultiRead(answers) => {
            answers.iter().for_each(|answer| put_read(&mut out, answer));
            MultiHeader::END.encode(&mut out);
        }
        // How many operations there were is in the request.
        Answer::MultiRefused { .. } => {}
        Answer::Identities(list) => {
            out.put_int(list.len() as i32);
            for identity in list {
                out.put_string(&identity.scheme);
                out.put_string(&identity.user);
            }
        }
    }
    out
}

fn put_data(out: &mut Vec<u8>, data: &Option<Vec<u8>>, stat: &Stat) {
    out.put_buffer(data.as_deref());
    stat.encode(out);
}

fn put_header(out: &mut Vec<u8>, op: OpCode, err: i32) {
    MultiHeader { op, done: false, err }.encode(out);
}

fn put_op(out: &mut Vec<u8>, answer: &OpAnswer) {
    match answer {
        OpAnswer::Created(path, stat) => {
            put_header(out, if stat.is_some() { OpCode::CREATE2 } else { OpCode::CREATE }, 0);
            out.put_string(path);
            if let Some(stat) = stat {
                stat.encode(out);
            }
        }
        OpAnswer::Deleted => put_header(out, OpCode::DELETE, 0),
        OpAnswer::Checked => put_header(out, OpCode::CHECK, 0),
        OpAnswer::Set(stat) => {
            put_header(out, OpCode::SET_DATA, 0);
            stat.encode(out);
        }
    }
}

fn put_read(out: &mut Vec<u8>, answer: &ReadAnswer) {
    match answer {
        ReadAnswer::Data(data, stat) => {
            put_header(out, OpCode::GET_DATA, 0);
            put_data(out, data, stat);
        }
        ReadAnswer::Children(list) => {
            put_header(out, OpCode::GET_CHILDREN, 0);
            encode_strings(out, list);
        }
        ReadAnswer::Failed(code) => {
            put_header(out, OpCode::ERROR, code.0);
            out.put_int(code.0);
        }
    }
}

/// A multi that failed: the first code that is an error, and where.
fn refusal(mut reader: Reader<'_>) -> (usize, ErrorCode) {
    for index in 0.. {
        assert!(!MultiHeader::decode(&mut reader).expect("a result").done, "none failed");
        let code = ErrorCode(reader.i32().expect("a code"));
        if !code.is_ok() {
            return (index, code);
        }
    }
    unreachable!("counting does not end")
}

/// The watcher that a request of this kind needs.
fn call<'a>(request: Request<'a>, n: u64) -> Call<'a> {
    let watches = match &request {
        Request::Exists(of)
        | Request::GetData(of)
        | Request::GetChildren(of)
        | Request::GetChildren2(of) => of.watch,
        Request::AddWatch(_) => true,
        _ => false,
    };
    if watches { Call::watched(request, Watcher(n)) } else { request.into() }
}

fn check(name: &str, op: OpCode, outcome: &Outcome, reply: &[u8]) {
    let mut reader = Reader::new(reply);
    let header = ReplyHeader::decode(&mut reader).expect("a header");
    match outcome {
        Outcome::Done { zxid, answer } => {
            assert_eq!((*zxid, ErrorCode::OK), (header.zxid, header.err), "{name}");
            match answer {
                Answer::MultiRefused { index, code } => {
                    assert_eq!((*index, *code), refusal(reader), "{name}");
                }
                Answer::Synced => {}
                answer => assert_eq!(encode(answer, op), reader.rest(), "{name}: {answer:?}"),
            }
        }
        Outcome::Failed { zxid, code } => {
            assert_eq!((*zxid, *code), (header.zxid, header.err), "{name}");
        }
        other => panic!("{name}: {other:?}"),
    }
}

/// Replays one recording; returns how many requests were sent and how many refused.
fn replay(name: &str, up: &[u8], down: &[u8]) -> (usize, usize) {
    let requests = frames(up);
    let mut replies = frames(down).into_iter().skip(1).peekable();
    let hello = ConnectRequest::decode(&mut Reader::new(requests[0])).expect("a handshake");
    let mut replay = Replay::new(hello.timeout_ms, hello.read_only == Some(true));
    assert_eq!(replay.take_sent(), framed(requests[0]), "{name}: handshake");
    replay.feed(frames(down)[0]);
    let (mut sent, mut refused) = (0, 0);
    for (n, frame) in requests.iter().enumerate().skip(1) {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).expect("a header");
        let request = Request::decode(header.op, &mut reader).ok().flatten();
        let ticket = match request {
            Some(Request::Auth(auth)) => {
                let scheme = auth.scheme.expect("a scheme");
                replay.client.add_auth(0, &scheme, auth.auth.unwrap_or_default())
            }
            Some(Request::CloseSession) => {
                replay.client.handle(0, Input::Close);
                Ok(Ticket(0))
            }
            Some(request) => replay.client.submit(0, call(request, n as u64)),
            None => Err(Refused::Over),
        };
        replay.poll();
        let mut bytes = replay.take_sent();
        let ours = bytes.get(4..8).map(|xid| i32::from_be_bytes(xid.try_into().expect("four")));
        match &ticket {
            Ok(_) => {
                patch_int(&mut bytes, 4, header.xid);
                assert_eq!(bytes, framed(frame), "{name}: request {n}");
                sent += 1;
            }
            Err(_) => {
                assert_eq!(bytes, [], "{name}: request {n}");
                refused += usize::from(header.xid != xid::PING);
            }
        }
        // Everything up to the reply to this request.
        for reply in replies.by_ref() {
            let header_of = ReplyHeader::decode(&mut Reader::new(reply)).expect("a header");
            if header_of.xid == xid::NOTIFICATION {
                let event = WatcherEvent::decode(&mut Reader::new(&reply[16..])).expect("event");
                let told = replay.events.len();
                replay.feed(reply);
                let new = &replay.events[told..];
                assert!(!new.is_empty(), "{name}: nobody was told of {event:?}");
                for (_, told) in new {
                    let zxid = (header_of.zxid > Zxid::ZERO).then_some(header_of.zxid);
                    let path = event.path.clone().into_owned();
                    assert_eq!(*told, WatchEvent::Fired { event: event.event, path, zxid });
                }
                continue;
            }
            assert_eq!(header_of.xid, header.xid, "{name}: request {n}");
            if let (Ok(ticket), Some(ours)) = (&ticket, ours) {
                let mut reply = reply.to_vec();
                patch_int(&mut reply, 0, ours);
                replay.feed(&reply);
                match replay.done.get(ticket) {
                    Some(outcome) => check(name, header.op, outcome, &reply),
                    None => assert_eq!(header.op, OpCode::CLOSE_SESSION, "{name}: request {n}"),
                }
            }
            break;
        }
    }
    assert!(replies.peek().is_none(), "{name}: replies to nothing");
    (sent, refused)
}

#[test]
fn recorded_sessions_are_sent_and_understood_byte_for_byte() {
    // How many requests our client sends, and how many it refuses: paths that no server takes,
    // operations that are not for users, undecodable ones.
    let cases = [
        (capture!("01-connect-ping-close"), 1, 0),
        (capture!("10-crud"), 61, 7),
        (capture!("11-node-types"), 17, 2),
        (capture!("12-multi"), 16, 2),
        (capture!("20-watches"), 18, 0),
        (capture!("21-watches-persistent"), 10, 1),
        (capture!("30-auth-digest"), 12, 0),
        (capture!("31-auth-other"), 16, 0),
        (capture!("53-reconfig-standalone"), 2, 0),
        (capture!("61-quota"), 15, 0),
        (capture!("62-quota-enforced"), 12, 0),
    ];
    let mut found = Vec::new();
    let mut expected = Vec::new();
    for ((name, up, down), sent, refused) in cases {
        expected.push((name, sent, refused));
        let (sent, refused) = replay(name, up, down);
        found.push((name, sent, refused));
    }
    assert_eq!(found, expected);
}

/// Replies of a server that grants everything, for the connection before the recorded one.
fn grant(replay: &mut Replay, zxid: i64) {
    let sent = replay.take_sent();
    for frame in frames(&sent) {
        let header = RequestHeader::decode(&mut Reader::new(frame)).expect("a header");
        let absent = header.op == OpCode::EXISTS;
        let err = if absent { ErrorCode::NO_NODE } else { ErrorCode::OK };
        let mut reply = Vec::new();
        ReplyHeader { xid: header.xid, zxid: Zxid(zxid), err }.encode(&mut reply);
        match header.op {
            OpCode::GET_DATA => put_data(&mut reply, &None, &Stat::default()),
            OpCode::GET_CHILDREN => reply.put_int(0),
            _ => {}
        }
        replay.feed(&reply);
    }
}

fn lists(frame: &[u8]) -> (Zxid, Vec<Vec<String>>) {
    let mut reader = Reader::new(frame);
    let header = RequestHeader::decode(&mut reader).expect("a header");
    assert_eq!(header.xid, xid::SET_WATCHES);
    let Ok(Some(Request::SetWatches(set))) = Request::decode(header.op, &mut reader) else {
        panic!("no setWatches")
    };
    let lists = [Some(set.data), Some(set.exist), Some(set.child), set.persistent, set.recursive];
    let mut lists: Vec<Vec<_>> = lists
        .into_iter()
        .flatten()
        .map(|list| list.iter().map(|path| path.into_owned()).collect())
        .collect();
    lists.iter_mut().for_each(|list| list.sort());
    (set.relative_zxid, lists)
}

#[test]
fn watches_are_set_again_as_recorded_and_each_watcher_is_told_once() {
    let (name, up, down) = capture!("22-setwatches");
    let (up, down) = (frames(up), frames(down));
    let mut replay = Replay::new(30_000, false);
    replay.take_sent();
    replay.feed(down[0]);
    let of = |path: &str| PathWatch { path: path.to_owned().into(), watch: true };
    let requests = [
        Request::GetData(of("/sw/same")),
        Request::GetData(of("/sw/chg")),
        Request::GetData(of("/sw/gone")),
        Request::Exists(of("/sw/born")),
        Request::Exists(of("/sw/unborn")),
        Request::GetChildren(of("/sw/kids")),
        Request::GetChildren(of("/sw/kids2")),
        Request::GetChildren(of("/sw/gone")),
    ];
    for (n, request) in requests.into_iter().enumerate() {
        replay.client.submit(0, Call::watched(request, Watcher(n as u64))).expect("a request");
    }
    replay.poll();
    grant(&mut replay, 142);
    replay.client.handle(0, Input::Disconnected(replay.link));
    replay.dial();
    replay.take_sent();
    replay.feed(down[0]);
    let sent = replay.take_sent();
    assert_eq!(lists(frames(&sent)[0]), lists(up[1]), "{name}");
    assert_eq!(frames(&sent).len(), 1);
    // Six events and the reply; further events come of what is armed now.
    let replies = down[1..].iter().filter(|frame| {
        ReplyHeader::decode(&mut Reader::new(frame)).expect("a header").xid != xid::PING
    });
    for reply in replies.take(9) {
        replay.feed(reply);
    }
    let told: Vec<_> = replay
        .events
        .drain(..)
        .map(|(watcher, event)| match event {
            WatchEvent::Fired { event, zxid, .. } => (watcher.0, event, zxid.map(|zxid| zxid.0)),
            other => panic!("{other:?}"),
        })
        .collect();
    use EventType::{NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted};
    // What the server found while it armed them bears no zxid.
    let expected = [
        (1, NodeDataChanged, None),
        (2, NodeDeleted, None),
        (7, NodeDeleted, None),
        (3, NodeCreated, None),
        (5, NodeChildrenChanged, None),
        (0, NodeDataChanged, Some(0x94)),
        (4, NodeCreated, Some(0x95)),
        (6, NodeChildrenChanged, Some(0x96)),
    ];
    assert_eq!(told, expected);
    assert_eq!(replay.client.watches(), 0);
}

#[test]
fn persistent_watches_are_set_again_as_recorded() {
    let (name, up, down) = capture!("22-setwatches");
    let (up, down) = (frames(up), frames(down));
    let mut replay = Replay::new(30_000, false);
    replay.take_sent();
    replay.feed(down[0]);
    for (path, kind) in [("/sw/same", 0), ("/sw/kids", 1)] {
        let request = Request::AddWatch(PathKind { path: path.into(), kind });
        replay.client.submit(0, Call::watched(request, Watcher(kind as u64))).expect("a request");
    }
    replay.poll();
    grant(&mut replay, 150);
    replay.client.handle(0, Input::Disconnected(replay.link));
    replay.dial();
    replay.take_sent();
    replay.feed(down[0]);
    let sent = replay.take_sent();
    let recorded = up.iter().rfind(|frame| frame[..4] == xid::SET_WATCHES.to_be_bytes());
    assert_eq!(frames(&sent), [*recorded.expect("the second")], "{name}: byte for byte");
    let from = down.iter().rposition(|frame| frame[..4] == xid::SET_WATCHES.to_be_bytes());
    for reply in &down[from.expect("its reply")..] {
        if reply[..4] != xid::PING.to_be_bytes() && reply[..4] != 1i32.to_be_bytes() {
            replay.feed(reply);
        }
    }
    let fired = |event, path: &str, zxid| WatchEvent::Fired {
        event,
        path: path.into(),
        zxid: Some(Zxid(zxid)),
    };
    let expected = [
        (Watcher(0), fired(EventType::NodeDataChanged, "/sw/same", 0x97)),
        (Watcher(1), fired(EventType::NodeDeleted, "/sw/kids/x", 0x98)),
    ];
    assert_eq!(replay.events, expected, "no gap: nothing was written in between");
    replay.client.handle(0, Input::Close);
    replay.poll();
    assert!(!replay.events.iter().any(|(_, e)| matches!(e, WatchEvent::Lost(Loss::Removed))));
}

#[test]
fn recorded_refusals_end_the_session() {
    for (name, _, down) in [
        capture!("05-connect-bad-session"),
        capture!("43-session-wrong-password"),
        capture!("44-session-expired"),
    ] {
        let mut replay = Replay::new(10_000, false);
        let refusal = frames(down).into_iter().next_back().expect("an answer");
        replay.feed(refusal);
        assert_eq!(replay.states, [State::Expired], "{name}");
    }
    let (name, _, down) = capture!("32-auth-unknown-scheme");
    let mut replay = Replay::new(10_000, false);
    replay.feed(frames(down)[0]);
    replay.client.add_auth(0, "nonsense", b"").expect("room");
    let mut answers = frames(down).into_iter();
    let auth = answers.rfind(|frame| frame[..4] == xid::AUTH.to_be_bytes());
    replay.feed(auth.expect("an answer"));
    assert_eq!(replay.states.last(), Some(&State::AuthFailed), "{name}");
}
