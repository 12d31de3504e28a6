//! A client against a server played by the test: timing to the microsecond, and servers that lie.

use oxkeeper_client::core::{
    Backoff, Call, Cause, Client, Config, ConnectString, Effect, Fate, Host, Input, LinkId,
    Outcome, State, Violation, WatchEvent, Watcher,
};
use oxkeeper_proto::connect::{
    ConnectRequest, ConnectResponse, begin_frame, end_frame, split_frame,
};
use oxkeeper_proto::request::{PathKind, PathWatch, RequestHeader};
use oxkeeper_proto::response::{EventType, ReplyHeader, WatcherEvent, xid};
use oxkeeper_proto::{ErrorCode, OpCode, Put, Reader, Request, SessionId, Zxid};
use proptest::prelude::*;

const MS: u64 = 1000;
const SESSION: SessionId = SessionId(0x100_0000_0000);

struct Wire {
    client: Client,
    now_us: u64,
    link: LinkId,
    /// The host dialled last, as a connect string.
    dialed: String,
    effects: Vec<Effect>,
}

fn config(hosts: &str) -> Config {
    let mut config = Config::new(ConnectString::parse(hosts).expect("hosts"));
    config.session_timeout_ms = 9_000;
    config.backoff = Backoff { first_ms: 100, max_ms: 400 };
    config
}

impl Wire {
    fn new(config: Config) -> Wire {
        let client = Client::new(config, 5);
        Wire { client, now_us: 0, link: LinkId(0), dialed: String::new(), effects: Vec::new() }
    }

    /// A client with a session.
    fn up() -> Wire {
        let mut wire = Wire::new(config("a,b,c"));
        wire.dial();
        wire.greet(SESSION, 9_000, false);
        wire.take();
        wire
    }

    fn input(&mut self, input: Input<'_>) {
        self.client.handle(self.now_us, input);
        self.poll();
    }

    fn poll(&mut self) {
        while let Some(effect) = self.client.poll_effect() {
            if let Effect::Dial(link, host) = &effect {
                self.link = *link;
                self.dialed = host.name.clone();
            }
            self.effects.push(effect);
        }
    }

    fn take(&mut self) -> Vec<Effect> {
        self.poll();
        std::mem::take(&mut self.effects)
    }

    /// Goes to the deadline.
    fn wake(&mut self) {
        self.now_us = self.client.deadline_us().expect("a deadline").max(self.now_us);
        self.input(Input::Wake);
    }

    fn dial(&mut self) -> ConnectRequestSeen {
        self.wake();
        self.take();
        let link = self.link;
        self.input(Input::Connected(link));
        let sent = self.sent();
        let frame = split_frame(&sent, 1 << 20).unwrap().unwrap().0;
        let request = ConnectRequest::decode(&mut Reader::new(frame)).unwrap();
        ConnectRequestSeen { session: request.session, last_zxid: request.last_zxid_seen }
    }

    fn greet(&mut self, session: SessionId, timeout_ms: i32, read_only: bool) {
        let mut body = Vec::new();
        ConnectResponse::granted(session, timeout_ms, Some(read_only)).encode(&mut body);
        self.frame(&body);
    }

    fn frame(&mut self, body: &[u8]) {
        let mut out = Vec::new();
        let start = begin_frame(&mut out);
        out.extend_from_slice(body);
        end_frame(&mut out, start);
        let link = self.link;
        self.input(Input::Bytes(link, &out));
    }

    fn reply(&mut self, xid: i32, zxid: i64, err: ErrorCode) {
        let mut body = Vec::new();
        ReplyHeader { xid, zxid: Zxid(zxid), err }.encode(&mut body);
        self.frame(&body);
    }

    /// The bytes of all sends since the effects were last taken.
    fn sent(&mut self) -> Vec<u8> {
        let bytes = self.take().into_iter().filter_map(|effect| match effect {
            Effect::Send(_, bytes) => Some(bytes),
            _ => None,
        });
        bytes.flatten().collect()
    }

    /// The headers of the requests among them.
    fn requests(&mut self) -> Vec<(i32, OpCode)> {
        let sent = self.sent();
        let mut rest = &sent[..];
        let mut headers = Vec::new();
        while let Some((frame, behind)) = split_frame(rest, 1 << 20).unwrap() {
            let header = RequestHeader::decode(&mut Reader::new(frame)).unwrap();
            headers.push((header.xid, header.op));
            rest = behind;
        }
        headers
    }

    fn submit<'a>(&mut self, call: impl Into<Call<'a>>) {
        self.client.submit(self.now_us, call.into()).expect("a request");
    }

    /// What became of the one request, and why the connection was left.
    fn left(&mut self) -> (Option<Outcome>, Cause) {
        let (mut done, mut why) = (None, None);
        for effect in self.take() {
            match effect {
                Effect::Completed(_, outcome) => assert!(done.replace(outcome).is_none()),
                Effect::Close(_, cause) => why = Some(cause),
                _ => {}
            }
        }
        (done, why.expect("the connection was left"))
    }
}

struct ConnectRequestSeen {
    session: SessionId,
    last_zxid: Zxid,
}

fn get(path: &str) -> Request<'_> {
    Request::GetData(PathWatch { path: path.into(), watch: false })
}

fn sync() -> Request<'static> {
    Request::Sync(None)
}

const PING: (i32, OpCode) = (xid::PING, OpCode::PING);

#[test]
fn pings_go_out_when_nothing_else_does_and_silence_ends_the_connection() {
    let mut wire = Wire::up();
    // 9 s: read timeout 6 s, a ping every 2 s.
    for at_ms in [2_000, 4_000] {
        wire.wake();
        assert_eq!((wire.now_us, wire.requests()), (at_ms * MS, vec![PING]));
    }
    wire.reply(xid::PING, 1, ErrorCode::OK);
    wire.reply(xid::PING, 1, ErrorCode::OK);
    wire.now_us = 5_000 * MS;
    wire.submit(sync());
    assert_eq!(wire.requests().len(), 1);
    wire.wake();
    assert_eq!((wire.now_us, wire.requests()), (7_000 * MS, vec![PING]));
    wire.wake();
    assert_eq!((wire.now_us, wire.requests()), (9_000 * MS, vec![PING]));
    wire.wake();
    assert_eq!(wire.now_us, 10_000 * MS, "6 s after it was last heard, at 4 s");
    let (outcome, cause) = wire.left();
    assert_eq!((outcome, cause), (Some(Outcome::Unknown(Cause::Silent)), Cause::Silent));
    // The first of the two pings answered at 4 s was sent at 2 s; more is not known.
    let suspended = State::Suspended { until_us: 11_000 * MS, cause: Cause::Silent };
    assert_eq!(wire.client.state(), suspended);
}

#[test]
fn dials_and_handshakes_have_a_share_of_the_timeout_each() {
    let mut wire = Wire::new(config("a,b,c"));
    wire.wake();
    assert!(matches!(wire.take()[..], [Effect::Dial(LinkId(1), _)]));
    wire.wake();
    assert_eq!((wire.now_us, wire.left()), (3_000 * MS, (None, Cause::ConnectTimeout)));
    wire.wake();
    let waited = wire.now_us - 3_000 * MS;
    assert!(waited < 100 * MS, "{waited}");
    let link = wire.link;
    wire.now_us += MS;
    wire.input(Input::Connected(link));
    wire.take();
    let greeted = wire.now_us;
    wire.wake();
    assert_eq!((wire.now_us - greeted, wire.left().1), (3_000 * MS, Cause::ConnectTimeout));
    assert_eq!(wire.client.state(), State::Connecting);
}

#[test]
fn late_news_of_an_old_connection_is_dropped() {
    let mut wire = Wire::up();
    let old = wire.link;
    wire.input(Input::Disconnected(old));
    wire.take();
    wire.wake();
    let new = wire.link;
    wire.input(Input::Connected(old));
    wire.input(Input::Bytes(old, &[0xff; 8]));
    wire.input(Input::Disconnected(old));
    wire.input(Input::Probed(old, true));
    assert!(matches!(wire.take()[..], [Effect::Dial(link, _)] if link == new));
    wire.input(Input::Connected(new));
    assert_eq!(wire.take().len(), 1);
}

#[test]
fn the_newest_zxid_seen_is_what_the_next_server_is_asked_for() {
    let mut wire = Wire::up();
    wire.submit(sync());
    wire.submit(sync());
    wire.reply(1, 0x50, ErrorCode::OK);
    // Replies that never reached the tree say nothing.
    wire.reply(2, -1, ErrorCode::UNIMPLEMENTED);
    let link = wire.link;
    wire.input(Input::Disconnected(link));
    let seen = wire.dial();
    assert_eq!((seen.session, seen.last_zxid), (SESSION, Zxid(0x50)));
    wire.greet(SESSION, 9_000, false);
    wire.submit(sync());
    wire.take();
    wire.reply(3, 0x4f, ErrorCode::OK);
    let behind = Violation::Behind { seen: Zxid(0x50), found: Zxid(0x4f) };
    let (outcome, cause) = wire.left();
    assert_eq!(cause, Cause::Violation(behind));
    assert_eq!(outcome.unwrap().fate(), Fate::Unknown);
    assert_eq!(wire.client.last_zxid(), Zxid(0x50));
}

#[test]
fn a_server_that_breaks_the_protocol_is_left_and_what_it_owed_is_unknown() {
    type Breach = (fn(&mut Wire), fn(Violation) -> bool);
    let breaches: [Breach; 6] = [
        (
            |w| w.reply(7, 1, ErrorCode::OK),
            |v| v == Violation::OutOfOrder { expected: 1, found: 7 },
        ),
        (|w| w.reply(xid::AUTH, 0, ErrorCode::OK), |v| v == Violation::Unasked(xid::AUTH)),
        (|w| w.reply(xid::PING, 1, ErrorCode::OK), |v| v == Violation::Unasked(xid::PING)),
        (|w| w.frame(b"short"), |v| matches!(v, Violation::Decode(_))),
        // A getData without its body.
        (|w| w.reply(1, 1, ErrorCode::OK), |v| matches!(v, Violation::Decode(_))),
        (
            |w| {
                let link = w.link;
                w.input(Input::Bytes(link, &[0xff; 4]));
            },
            |v| matches!(v, Violation::Frame(_)),
        ),
    ];
    for (n, (breach, expected)) in breaches.into_iter().enumerate() {
        let mut wire = Wire::up();
        wire.submit(get("/a"));
        wire.take();
        breach(&mut wire);
        let (outcome, cause) = wire.left();
        let Cause::Violation(violation) = cause else { panic!("{n}: {cause:?}") };
        assert!(expected(violation), "{n}: {violation:?}");
        assert_eq!(outcome, Some(Outcome::Unknown(cause)), "{n}");
        assert!(matches!(wire.client.state(), State::Suspended { .. }));
    }
}

#[test]
fn a_session_of_somebody_else_is_not_taken() {
    let mut wire = Wire::up();
    let link = wire.link;
    wire.input(Input::Disconnected(link));
    wire.dial();
    wire.greet(SessionId(7), 9_000, false);
    let other = Violation::OtherSession { asked: SESSION, found: SessionId(7) };
    assert_eq!(wire.left().1, Cause::Violation(other));
    assert_eq!(wire.dial().session, SESSION);
}

#[test]
fn watches_that_cannot_be_armed_again_cost_the_connection_not_the_watch() {
    let mut wire = Wire::up();
    let watch = Request::AddWatch(PathKind { path: "/a".into(), kind: 0 });
    wire.submit(Call::watched(watch, Watcher(1)));
    wire.reply(1, 1, ErrorCode::OK);
    let link = wire.link;
    wire.input(Input::Disconnected(link));
    wire.dial();
    wire.greet(SESSION, 9_000, false);
    assert_eq!(wire.requests(), [(xid::SET_WATCHES, OpCode::SET_WATCHES2)]);
    wire.reply(xid::SET_WATCHES, 9, ErrorCode::UNIMPLEMENTED);
    let refused = Violation::Rearm(ErrorCode::UNIMPLEMENTED);
    assert_eq!(wire.left(), (None, Cause::Violation(refused)));
    wire.dial();
    wire.greet(SESSION, 9_000, false);
    wire.take();
    wire.reply(xid::SET_WATCHES, 9, ErrorCode::OK);
    assert_eq!(wire.take(), [Effect::Event(Watcher(1), WatchEvent::Gap)]);
}

#[test]
fn pieces_of_set_watches_that_did_not_come_through_ask_again_from_where_they_were() {
    let mut wire = Wire::up();
    let paths: Vec<_> = (0..3).map(|n| format!("/{n}{}", "x".repeat(100_000))).collect();
    for (n, path) in paths.iter().enumerate() {
        wire.submit(Call::watched(get(path), Watcher(n as u64)));
    }
    for n in 1..=3 {
        let mut body = Vec::new();
        ReplyHeader { xid: n, zxid: Zxid(5), err: ErrorCode::OK }.encode(&mut body);
        body.put_buffer(None);
        oxkeeper_proto::Stat::default().encode(&mut body);
        wire.frame(&body);
    }
    let asked_from = |wire: &mut Wire| {
        let link = wire.link;
        wire.input(Input::Disconnected(link));
        let seen = wire.dial().last_zxid;
        wire.greet(SESSION, 9_000, false);
        let sent = wire.sent();
        let mut rest = &sent[..];
        let mut from = Vec::new();
        while let Some((frame, behind)) = split_frame(rest, 1 << 20).unwrap() {
            let mut reader = Reader::new(frame);
            assert_eq!(RequestHeader::decode(&mut reader).unwrap().op, OpCode::SET_WATCHES);
            from.push(reader.i64().unwrap());
            rest = behind;
        }
        (seen.0, from)
    };
    assert_eq!(asked_from(&mut wire), (5, vec![5, 5]));
    // The first piece is answered by a server that is at 9, and the connection is lost.
    wire.reply(xid::SET_WATCHES, 9, ErrorCode::OK);
    assert_eq!(asked_from(&mut wire), (9, vec![5, 5]), "the second missed what lies between");
    wire.reply(xid::SET_WATCHES, 9, ErrorCode::OK);
    wire.reply(xid::SET_WATCHES, 9, ErrorCode::OK);
    assert_eq!(asked_from(&mut wire), (9, vec![9, 9]));
}

#[test]
fn a_read_only_session_is_given_up_for_a_server_that_takes_writes() {
    let mut any = config("a,b,c");
    any.read_only = true;
    let mut wire = Wire::new(any);
    wire.dial();
    wire.greet(SessionId(1), 9_000, true);
    let State::Connected { read_only: true, .. } = wire.client.state() else { panic!() };
    assert!(wire.client.credentials().is_none(), "no other server knows it");
    wire.take();
    let mut probes = Vec::new();
    let mut turns = 0..100;
    while probes.len() < 4 {
        assert!(turns.next().is_some(), "nobody is asked: {probes:?}");
        wire.wake();
        // Between two probes there is none, however often the host calls.
        wire.input(Input::Wake);
        for effect in wire.take() {
            if let Effect::Probe(link, host) = effect {
                wire.input(Input::Probed(link, probes.len() == 3));
                probes.push((wire.now_us / MS, host));
            }
        }
    }
    let times: Vec<_> = probes.iter().map(|probe| probe.0).collect();
    assert_eq!(times, [100, 300, 700, 1_500], "twice as long each time");
    let hosts: std::collections::BTreeSet<&Host> = probes.iter().map(|probe| &probe.1).collect();
    assert_eq!(hosts.len(), 3);
    assert_eq!(wire.left().1, Cause::WritableFound);
    let before = wire.now_us;
    wire.wake();
    assert_eq!(wire.now_us, before, "at once");
    let dialed = wire.take();
    assert_eq!(dialed, [Effect::Dial(wire.link, probes[3].1.clone())]);
    let link = wire.link;
    wire.input(Input::Connected(link));
    let sent = wire.sent();
    let frame = split_frame(&sent, 100).unwrap().unwrap().0;
    let request = ConnectRequest::decode(&mut Reader::new(frame)).unwrap();
    assert_eq!((request.session, request.read_only), (SessionId::NONE, Some(true)));
    wire.greet(SESSION, 9_000, false);
    assert_eq!(wire.client.credentials().unwrap().session, SESSION);
    assert!(wire.client.deadline_us().unwrap() >= wire.now_us + 2_000 * MS, "no more probes");
}

#[test]
fn a_session_that_others_know_is_taken_to_a_read_only_server_and_back() {
    let mut any = config("a,b,c");
    any.read_only = true;
    let mut wire = Wire::new(any);
    wire.dial();
    wire.greet(SESSION, 9_000, false);
    let link = wire.link;
    wire.input(Input::Disconnected(link));
    assert_eq!(wire.dial().session, SESSION);
    wire.greet(SESSION, 9_000, true);
    assert_eq!(wire.client.credentials().unwrap().session, SESSION, "it is still theirs");
    wire.take();
    wire.wake();
    let Some(Effect::Probe(asked, _)) = wire.take().pop() else { panic!("no probe") };
    wire.input(Input::Probed(asked, true));
    assert_eq!(wire.left().1, Cause::WritableFound);
    assert_eq!(wire.dial().session, SESSION);
}

#[test]
fn news_of_a_server_that_is_no_longer_in_the_list_is_dropped() {
    let mut any = config("a,b,c,d");
    any.read_only = true;
    let mut wire = Wire::new(any);
    wire.dial();
    wire.greet(SessionId(1), 9_000, true);
    let mine = wire.dialed.clone();
    wire.take();
    wire.wake();
    let Some(Effect::Probe(asked, _)) = wire.take().pop() else { panic!("no probe") };
    let one = ConnectString::parse(&mine).unwrap();
    wire.client.set_hosts(wire.now_us, &one);
    wire.input(Input::Probed(asked, true));
    assert_eq!(wire.take(), []);
}

#[test]
fn an_answer_about_one_identity_is_not_taken_for_another() {
    let mut wire = Wire::up();
    wire.client.add_auth(0, "digest", b"a:1").unwrap();
    let second = wire.client.add_auth(0, "digest", b"b:2").unwrap();
    wire.take();
    wire.reply(xid::AUTH, 0, ErrorCode::OK);
    let link = wire.link;
    wire.input(Input::Disconnected(link));
    wire.dial();
    wire.greet(SESSION, 9_000, false);
    assert_eq!(wire.requests(), [(xid::AUTH, OpCode::AUTH); 2]);
    wire.reply(xid::AUTH, 0, ErrorCode::OK);
    assert_eq!(wire.take(), [], "the first, said already");
    wire.reply(xid::AUTH, 0, ErrorCode::OK);
    assert!(matches!(wire.take()[..], [Effect::Completed(ticket, _)] if ticket == second));
}

#[test]
fn each_server_comes_first_for_its_share_of_the_clients() {
    let order = |seed| {
        let mut client = Client::new(config("a,b,c,d,e"), seed);
        let mut dialed = String::new();
        for _ in 0..5 {
            client.handle(client.deadline_us().unwrap(), Input::Wake);
            let Some(Effect::Dial(link, host)) = client.poll_effect() else { panic!("a dial") };
            dialed += &host.name;
            client.handle(0, Input::Disconnected(link));
            while client.poll_effect().is_some() {}
        }
        dialed
    };
    const CLIENTS: u64 = 12_000;
    let mut firsts = std::collections::BTreeMap::<_, u64>::new();
    let mut orders = std::collections::BTreeMap::<_, u64>::new();
    for order in (0..CLIENTS).map(order) {
        *firsts.entry(order.as_bytes()[0]).or_default() += 1;
        *orders.entry(order).or_default() += 1;
    }
    let share = CLIENTS / 5;
    let even = firsts.values().all(|count| count.abs_diff(share) < share / 20);
    assert!(firsts.len() == 5 && even, "{firsts:?}");
    // And whoever loses the first goes on anywhere: all 120 orders are somebody's.
    let of_each = orders.values().copied();
    assert_eq!(orders.len(), 120);
    assert!(of_each.clone().min() > Some(60) && of_each.max() < Some(150), "{orders:?}");
    assert_eq!(order(7), order(7), "the same seed, the same order");
}

#[test]
fn clients_that_lose_a_server_at_once_come_back_spread_out() {
    const CLIENTS: u64 = 10_000;
    let mut tenths = [0u64; 10];
    for seed in 0..CLIENTS {
        let mut wire = Wire { client: Client::new(config("a,b"), seed), ..Wire::new(config("a")) };
        wire.dial();
        wire.greet(SESSION, 9_000, false);
        let link = wire.link;
        wire.input(Input::Disconnected(link));
        let delay = wire.client.deadline_us().unwrap() - wire.now_us;
        tenths[usize::try_from(delay / (10 * MS)).unwrap()] += 1;
    }
    let share = CLIENTS / 10;
    assert!(tenths.iter().all(|count| count.abs_diff(share) < share / 8), "{tenths:?}");
}

#[test]
fn delays_grow_while_dials_fail_and_are_short_again_after_a_session() {
    let mut wire = Wire::new(config("a,b"));
    let mut longest = 0;
    for _ in 0..40 {
        wire.wake();
        let link = wire.link;
        wire.input(Input::Disconnected(link));
        longest = longest.max(wire.client.deadline_us().unwrap() - wire.now_us);
    }
    assert!((300 * MS..400 * MS).contains(&longest), "{longest}");
    for _ in 0..20 {
        wire.dial();
        wire.greet(SESSION, 9_000, false);
        let link = wire.link;
        wire.input(Input::Disconnected(link));
        assert!(wire.client.deadline_us().unwrap() < wire.now_us + 100 * MS);
    }
}

#[test]
fn a_clock_that_goes_back_does_not_take_the_client_along() {
    let mut wire = Wire::up();
    wire.now_us = 5_000 * MS;
    wire.reply(xid::NOTIFICATION, 1, ErrorCode::NO_NODE);
    assert!(matches!(wire.left().1, Cause::Violation(Violation::Decode(_))));
    let due = wire.client.deadline_us().unwrap();
    wire.now_us = 0;
    wire.input(Input::Wake);
    assert_eq!((wire.take(), wire.client.deadline_us()), (vec![], Some(due)));
    wire.dial();
    wire.greet(SESSION, 9_000, false);
    wire.take();
    wire.now_us = 0;
    wire.submit(sync());
    assert!(wire.client.deadline_us().unwrap() > 5_000 * MS);
}

#[test]
fn who_wants_to_close_a_session_that_is_gone_has_closed_it() {
    for told in [true, false] {
        let mut wire = Wire::up();
        let link = wire.link;
        wire.input(Input::Disconnected(link));
        wire.input(Input::Close);
        wire.dial();
        if told {
            let mut body = Vec::new();
            ConnectResponse::refused(Some(false)).encode(&mut body);
            wire.frame(&body);
        }
        while wire.client.deadline_us().is_some() {
            wire.wake();
        }
        assert_eq!(wire.client.state(), State::Closed { confirmed: told });
    }
}

#[test]
fn events_for_nobody_are_dropped_and_unknown_kinds_cost_the_connection() {
    let mut wire = Wire::up();
    let mut body = Vec::new();
    ReplyHeader { xid: xid::NOTIFICATION, zxid: Zxid(4), err: ErrorCode::OK }.encode(&mut body);
    let header = body.len();
    WatcherEvent { event: EventType::NodeCreated, path: "/a".into() }.encode(&mut body);
    wire.frame(&body);
    assert_eq!(wire.take(), []);
    body[header + 3] = 9;
    wire.frame(&body);
    assert!(matches!(wire.left().1, Cause::Violation(Violation::Decode(_))));
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 400,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Nothing that a server sends can panic a client, make it hold more than a frame, or leave a
    /// request without its one outcome.
    #[test]
    fn a_hostile_server_costs_its_connection_and_nothing_else(
        bodies in prop::collection::vec(
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..60),
                (prop_oneof![-8i32..=-1, 1i32..6], prop::collection::vec(any::<u8>(), 0..80))
                    .prop_map(|(xid, rest)| {
                        let mut body = xid.to_be_bytes().to_vec();
                        body.extend([0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0]);
                        body.extend(rest);
                        body
                    }),
            ],
            1..12,
        ),
        chunk in 1usize..50,
    ) {
        let mut wire = Wire::up();
        wire.submit(get("/a"));
        wire.submit(Call::watched(get("/a"), Watcher(1)));
        wire.submit(sync());
        wire.submit(Request::WhoAmI);
        let mut done = 0;
        for body in bodies {
            let mut out = Vec::new();
            let start = begin_frame(&mut out);
            out.extend_from_slice(&body);
            end_frame(&mut out, start);
            let link = wire.link;
            for chunk in out.chunks(chunk) {
                wire.input(Input::Bytes(link, chunk));
            }
        }
        let link = wire.link;
        wire.input(Input::Disconnected(link));
        for effect in wire.take() {
            done += usize::from(matches!(effect, Effect::Completed(..)));
        }
        prop_assert_eq!(done, 4);
        prop_assert_eq!(wire.client.pending(), 0);
    }
}
