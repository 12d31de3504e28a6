//! A whole server without sockets, disk or clock: what clients see, and in which order.
//!
//! The world is a host in miniature: it carries bytes between clients and a Front, keeps batches
//! "on disk" until a test says that they are synced, and moves time by hand.

use std::sync::Arc;

use oxkeeper_node::core::ThrottleSettings;
use oxkeeper_node::{
    Batch, Committed, ConnId, Core, CoreLink, Effect, Front, FrontId, Now, Peer, Settings, Shared,
    ToCore,
};
use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::connect::{
    ConnectRequest, ConnectResponse, begin_frame, end_frame, split_frame,
};
use oxkeeper_proto::request::{
    CreateRequest, MultiReadOp, MultiReadRequest, PathKind, PathVersion, PathWatch, RequestHeader,
    SetDataRequest,
};
use oxkeeper_proto::response::{EventType, ReplyHeader, WatcherEvent, xid};
use oxkeeper_proto::{
    ErrorCode, OPEN_ACL_UNSAFE, OpCode, Request, SessionId, Stat, StringList, Zxid,
};
use oxkeeper_tree::{Tree, TreeOptions};

mod watches;

struct World {
    shared: Shared,
    core: Core,
    front: Front,
    now: Now,
    unsynced: Vec<Batch>,
}

struct Link<'a> {
    core: &'a mut Core,
    shared: &'a Shared,
}

impl CoreLink for Link<'_> {
    fn submit(&mut self, now: Now, front: FrontId, message: ToCore<'_>) {
        self.core.submit(self.shared, now, front, message);
    }
}

/// What a client got.
#[derive(Debug, Clone, PartialEq)]
enum Got {
    Event(EventType, String, Zxid),
    Reply { xid: i32, zxid: Zxid, err: ErrorCode, body: Vec<u8> },
}

impl Got {
    fn xid(&self) -> Option<i32> {
        match self {
            Got::Reply { xid, .. } => Some(*xid),
            Got::Event(..) => None,
        }
    }
}

struct Client {
    id: ConnId,
    session: SessionId,
    xid: i32,
    left: Vec<u8>,
}

impl World {
    fn new(settings: Settings) -> World {
        let now = Now { mono_us: 60_000_000, wall_ms: 1_700_000_000_000 };
        let shared =
            Shared { tree: Tree::new(TreeOptions::default()), serving: true, read_only: false };
        let settings = Arc::new(settings);
        let core = Core::new(Arc::clone(&settings), &shared, now);
        let front = Front::new(FrontId(0), settings);
        World { shared, core, front, now, unsynced: Vec::new() }
    }

    fn open(&mut self) -> ConnId {
        let addr = "127.0.0.1:40000".parse().unwrap();
        self.front.open(self.now, Peer { addr })
    }

    fn connect(&mut self, timeout_ms: i32) -> Client {
        let id = self.open();
        let response = self.handshake(id, SessionId::NONE, timeout_ms).expect("a session");
        Client { id, session: response.session, xid: 0, left: Vec::new() }
    }

    fn handshake(
        &mut self,
        id: ConnId,
        session: SessionId,
        timeout_ms: i32,
    ) -> Option<ConnectResponse> {
        let password = session.password();
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms,
            session,
            password: Some(&password),
            read_only: Some(false),
        };
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        request.encode(&mut bytes);
        end_frame(&mut bytes, start);
        self.receive(id, &bytes);
        self.sync();
        let out = self.take_output(id);
        let (frame, _) = split_frame(&out, 1 << 20).unwrap()?;
        Some(ConnectResponse::decode(&mut Reader::new(frame)).unwrap())
    }

    fn receive(&mut self, id: ConnId, bytes: &[u8]) -> usize {
        let mut link = Link { core: &mut self.core, shared: &self.shared };
        let used = self.front.receive(&self.shared, self.now, id, bytes, &mut link);
        self.effects();
        used
    }

    /// Ends the turn: batches reach the log but not yet the disk.
    fn effects(&mut self) {
        self.core.end_turn(self.now);
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Append(batch) => self.unsynced.push(batch),
                Effect::Tell(_, message) => {
                    let mut link = Link { core: &mut self.core, shared: &self.shared };
                    self.front.told(&self.shared, self.now, message, &mut link);
                    self.core.end_turn(self.now);
                }
                Effect::SnapshotChunk(_) => self.core.snapshot_written(),
                Effect::SnapshotEnd => self.core.snapshot_done(),
                // A server that is alone has neither.
                Effect::SnapshotAbandon | Effect::Peer(_) => {}
                Effect::RollLog | Effect::SnapshotBegin(_) => {}
            }
        }
    }

    /// The disk catches up: everything is applied and answered.
    fn sync(&mut self) {
        loop {
            self.effects();
            if let Some(last) = self.unsynced.drain(..).next_back() {
                self.core.synced(last.last_zxid);
            }
            let mut out = Committed::default();
            let mut moved = false;
            while self.core.apply_next(&mut self.shared, self.now, &mut out) {
                moved = true;
                let mut link = Link { core: &mut self.core, shared: &self.shared };
                self.front.committed(&self.shared, self.now, &out, &mut link);
            }
            while {
                let mut link = Link { core: &mut self.core, shared: &self.shared };
                self.front.work(&self.shared, self.now, &mut link)
            } {}
            if !moved && self.unsynced.is_empty() && !self.core.has_work() {
                return;
            }
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_us += ms * 1000;
        self.now.wall_ms += ms as i64;
        let shared = &self.shared;
        self.core.wake(shared, self.now);
        self.sync();
    }

    fn take_output(&mut self, id: ConnId) -> Vec<u8> {
        let out = self.front.output(id).to_vec();
        self.front.sent(id, out.len());
        out
    }

    fn send(&mut self, client: &mut Client, request: &Request<'_>) -> i32 {
        client.xid += 1;
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        RequestHeader { xid: client.xid, op: request.op() }.encode(&mut bytes);
        request.encode(&mut bytes);
        end_frame(&mut bytes, start);
        self.receive(client.id, &bytes);
        client.xid
    }

    fn got(&mut self, client: &mut Client) -> Vec<Got> {
        let mut bytes = std::mem::take(&mut client.left);
        bytes.extend(self.take_output(client.id));
        let mut rest = &bytes[..];
        let mut got = Vec::new();
        while let Ok(Some((frame, after))) = split_frame(rest, usize::MAX) {
            rest = after;
            let mut reader = Reader::new(frame);
            let header = ReplyHeader::decode(&mut reader).unwrap();
            got.push(if header.xid == xid::NOTIFICATION {
                let event = WatcherEvent::decode(&mut reader).unwrap();
                Got::Event(event.event, event.path.into_owned(), header.zxid)
            } else {
                let (xid, zxid, err) = (header.xid, header.zxid, header.err);
                Got::Reply { xid, zxid, err, body: reader.rest().to_vec() }
            });
        }
        client.left = rest.to_vec();
        got
    }

    /// Sends, lets the disk catch up and returns the one reply.
    fn ask(&mut self, client: &mut Client, request: &Request<'_>) -> (ErrorCode, Vec<u8>) {
        let asked = self.send(client, request);
        self.sync();
        let got = self.got(client);
        for item in got {
            if let Got::Reply { xid, err, body, .. } = item
                && xid == asked
            {
                return (err, body);
            }
        }
        panic!("no reply to {request:?}");
    }
}

fn create<'a>(path: &'a str, flags: i32) -> Request<'a> {
    Request::Create(CreateRequest {
        op: OpCode::CREATE,
        path: path.into(),
        data: Some(b"0"),
        acl: OPEN_ACL_UNSAFE,
        flags,
        ttl_ms: -1,
    })
}

fn set<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    Request::SetData(SetDataRequest { path: path.into(), data: Some(data), version: -1 })
}

fn get(path: &str, watch: bool) -> Request<'_> {
    Request::GetData(PathWatch { path: path.into(), watch })
}

fn exists(path: &str, watch: bool) -> Request<'_> {
    Request::Exists(PathWatch { path: path.into(), watch })
}

fn children(path: &str, watch: bool) -> Request<'_> {
    Request::GetChildren(PathWatch { path: path.into(), watch })
}

fn delete(path: &str) -> Request<'_> {
    Request::Delete(PathVersion { path: path.into(), version: -1 })
}

fn data_of(got: &Got) -> Vec<u8> {
    let Got::Reply { body, .. } = got else { panic!("{got:?}") };
    Reader::new(body).buffer().unwrap().unwrap().to_vec()
}

#[test]
fn nothing_is_answered_before_it_is_on_disk() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    world.send(&mut client, &create("/a", 0));
    assert_eq!(world.got(&mut client), []);
    assert!(world.shared.tree.node("/a").is_none());
    world.sync();
    assert_eq!(world.got(&mut client).len(), 1);
    assert!(world.shared.tree.node("/a").is_some());
}

#[test]
fn a_read_between_two_writes_of_its_session_sees_the_first_and_not_the_second() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    world.ask(&mut client, &create("/a", 0));
    world.send(&mut client, &set("/a", b"1"));
    world.send(&mut client, &get("/a", true));
    world.send(&mut client, &set("/a", b"2"));
    world.send(&mut client, &get("/a", false));
    world.sync();
    let got = world.got(&mut client);
    let order: Vec<_> = got.iter().map(Got::xid).collect();
    // The watch that the first read left fires for the second write, before that write's reply.
    assert_eq!(order, [Some(2), Some(3), None, Some(4), Some(5)]);
    assert_eq!(data_of(&got[1]), b"1");
    assert_eq!(data_of(&got[4]), b"2");
}

#[test]
fn others_reads_do_not_wait_for_a_write_under_way() {
    let mut world = World::new(Settings::default());
    let mut writer = world.connect(10_000);
    let mut reader = world.connect(10_000);
    world.ask(&mut writer, &create("/a", 0));
    world.send(&mut writer, &set("/a", b"1"));
    world.send(&mut reader, &get("/a", false));
    assert_eq!(data_of(&world.got(&mut reader)[0]), b"0");
    assert_eq!(world.got(&mut writer), []);
}

#[test]
fn a_sync_waits_for_every_write_before_it_whosever_it_is() {
    let mut world = World::new(Settings::default());
    let (mut writer, mut reader) = (world.connect(10_000), world.connect(10_000));
    world.ask(&mut writer, &create("/a", 0));
    world.send(&mut writer, &set("/a", b"1"));
    world.send(&mut reader, &Request::Sync(Some("/a".into())));
    world.send(&mut reader, &get("/a", false));
    assert_eq!(world.got(&mut reader), [], "the write is not on disk");
    world.sync();
    let got = world.got(&mut reader);
    assert_eq!(got.iter().map(Got::xid).collect::<Vec<_>>(), [Some(1), Some(2)]);
    assert_eq!(data_of(&got[1]), b"1");
}

#[test]
fn requests_behind_close_session_get_no_reply_and_its_ephemerals_go() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    let mut other = world.connect(10_000);
    world.ask(&mut client, &create("/e", 1));
    world.ask(&mut other, &exists("/e", true));
    world.send(&mut client, &Request::CloseSession);
    world.send(&mut client, &get("/e", false));
    assert!(!world.front.state(client.id).close_after_output, "the outcome is still awaited");
    world.sync();
    let got = world.got(&mut client);
    assert_eq!(got.len(), 1);
    assert!(world.front.state(client.id).close_after_output);
    assert!(matches!(&world.got(&mut other)[..], [Got::Event(EventType::NodeDeleted, path, _)]
        if path == "/e"));
}

#[test]
fn a_session_that_is_not_heard_of_ends_with_its_ephemerals() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(4_000);
    let mut other = world.connect(40_000);
    world.ask(&mut client, &create("/e", 1));
    for _ in 0..4 {
        world.pass(1_000);
        world.send(&mut client, &Request::Ping);
        world.sync();
    }
    assert!(world.shared.tree.node("/e").is_some(), "pings keep the session");
    for _ in 0..7 {
        world.pass(1_000);
    }
    assert!(world.shared.tree.node("/e").is_none());
    assert!(world.front.state(client.id).close_now);
    world.send(&mut other, &Request::Ping);
    assert_eq!(world.got(&mut other).len(), 1, "the other session lives on");
}

#[test]
fn a_renewed_session_moves_to_the_new_connection() {
    let mut world = World::new(Settings::default());
    let mut first = world.connect(10_000);
    world.ask(&mut first, &create("/e", 1));
    let id = world.open();
    let response = world.handshake(id, first.session, 10_000).unwrap();
    assert_eq!(response.session, first.session);
    assert!(world.front.state(first.id).close_now, "the old connection is closed");
    let mut second = Client { id, session: first.session, xid: 10, left: Vec::new() };
    assert_eq!(world.ask(&mut second, &delete("/e")).0, ErrorCode::OK);
}

#[test]
fn an_unknown_session_is_refused_with_zeros() {
    let mut world = World::new(Settings::default());
    let id = world.open();
    let response = world.handshake(id, SessionId(0x1234), 10_000).unwrap();
    assert_eq!((response.session, response.timeout_ms), (SessionId::NONE, 0));
    assert_eq!(response.password, [0; 16]);
}

#[test]
fn the_timeout_is_clamped() {
    let mut world = World::new(Settings::default());
    for (asked, granted) in [(1, 4_000), (10_000, 10_000), (1_000_000, 40_000)] {
        let id = world.open();
        let response = world.handshake(id, SessionId::NONE, asked).unwrap();
        assert_eq!(response.timeout_ms, granted);
    }
}

#[test]
fn a_frame_beyond_the_limit_costs_its_connection_and_no_other() {
    let mut world = World::new(Settings::default());
    let client = world.connect(10_000);
    let mut other = world.connect(10_000);
    world.receive(client.id, &(2i32 << 20).to_be_bytes());
    assert!(world.front.state(client.id).close_now);
    assert_eq!(world.ask(&mut other, &create("/a", 0)).0, ErrorCode::OK);
}

#[test]
fn a_handshake_beyond_the_throttle_is_dropped_without_a_word() {
    let throttle = ThrottleSettings { tokens: 1, fill_time_ms: 60_000, ..Default::default() };
    let mut world = World::new(Settings { throttle, ..Settings::default() });
    let client = world.connect(10_000);
    assert!(!world.front.state(client.id).close_now);
    let id = world.open();
    assert!(world.handshake(id, SessionId::NONE, 10_000).is_none());
    assert!(world.front.state(id).close_now);
}

#[test]
fn connections_with_writes_under_way_are_not_read_beyond_the_limit() {
    let mut world = World::new(Settings { outstanding_max: 3, ..Settings::default() });
    let mut busy = world.connect(10_000);
    let mut idle = world.connect(10_000);
    for n in 0..4 {
        world.send(&mut busy, &create(&format!("/n{n}"), 0));
    }
    assert!(!world.front.state(busy.id).wants_input);
    assert!(world.front.state(idle.id).wants_input, "who has nothing under way goes on");
    world.send(&mut idle, &get("/", false));
    assert_eq!(world.got(&mut idle).len(), 1);
    world.sync();
    assert_eq!(world.got(&mut busy).len(), 4);
    assert!(world.front.state(busy.id).wants_input);
}

#[test]
fn too_many_bytes_of_large_requests_cost_the_connection_that_asks_for_more() {
    let mut world = World::new(Settings {
        large_request_threshold: 1000,
        large_request_bytes_max: 5000,
        ..Settings::default()
    });
    let mut client = world.connect(10_000);
    let mut other = world.connect(10_000);
    world.ask(&mut client, &create("/a", 0));
    let data = [1; 2000];
    for _ in 0..3 {
        // Two at a time fit, again and again: what is answered no longer counts.
        world.send(&mut client, &set("/a", &data));
        world.send(&mut client, &set("/a", &data));
        world.sync();
        assert_eq!(world.got(&mut client).len(), 2);
    }
    world.send(&mut client, &set("/a", &data));
    world.send(&mut client, &set("/a", &data));
    world.send(&mut other, &set("/a", &data));
    assert!(world.front.state(other.id).close_now);
    assert!(!world.front.state(client.id).close_now);
}

#[test]
fn a_long_listing_is_whole_in_order_and_keeps_its_watch() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    let mut other = world.connect(10_000);
    world.ask(&mut client, &create("/d", 0));
    for n in 0..10_000 {
        world.send(&mut client, &create(&format!("/d/n{n:05}"), 0));
        if n % 500 == 0 {
            world.sync();
            world.got(&mut client);
        }
    }
    world.sync();
    world.got(&mut client);
    let listing = world.send(&mut client, &children("/d", true));
    let after = world.send(&mut client, &get("/d", false));
    // The change comes while the listing is being written: its event must not overtake the reply.
    world.send(&mut other, &create("/d/x", 0));
    let last = world.unsynced.drain(..).next_back().unwrap().last_zxid;
    world.core.synced(last);
    let mut out = Committed::default();
    while world.core.apply_next(&mut world.shared, world.now, &mut out) {
        let mut link = Link { core: &mut world.core, shared: &world.shared };
        world.front.committed(&world.shared, world.now, &out, &mut link);
    }
    assert_eq!(world.got(&mut client), [], "the listing is still being written");
    world.sync();
    let got = world.got(&mut client);
    assert_eq!(got[0].xid(), Some(listing));
    assert!(matches!(&got[1], Got::Event(EventType::NodeChildrenChanged, path, _)
        if path == "/d"));
    assert_eq!(got[2].xid(), Some(after));
    let Got::Reply { body, .. } = &got[0] else { unreachable!() };
    let mut reader = Reader::new(body);
    let count = reader.count().unwrap().unwrap();
    let mut names: Vec<String> =
        (0..count).map(|_| reader.string().unwrap().into_owned()).collect();
    names.sort();
    assert_eq!(count, 10_000);
    assert_eq!((&names[0][..], &names[9_999][..]), ("n00000", "n09999"));
}

#[test]
fn a_directory_that_many_list_is_told_as_it_is_now() {
    let mut world = World::new(Settings::default());
    let (mut client, mut other) = (world.connect(10_000), world.connect(10_000));
    world.ask(&mut client, &create("/d", 0));
    for n in 0..100 {
        world.ask(&mut client, &create(&format!("/d/n{n}"), 0));
    }
    let mut change = 100;
    for round in 0..40 {
        // Asked for once, twice, or often enough for what was kept to be told.
        for _ in 0..round % 4 {
            for who in [&mut client, &mut other] {
                let (_, body) = world.ask(who, &children("/d", false));
                let told = StringList::decode(&mut Reader::new(&body)).unwrap();
                let mut told: Vec<String> = told.iter().map(|name| name.into_owned()).collect();
                let mut is: Vec<String> = (change - 100..change).map(|n| format!("n{n}")).collect();
                told.sort();
                is.sort();
                assert_eq!(told, is, "round {round}");
            }
        }
        world.ask(&mut client, &create(&format!("/d/n{change}"), 0));
        world.ask(&mut client, &delete(&format!("/d/n{}", change - 100)));
        change += 1;
    }
    // The same name, another directory, as many children.
    for n in change - 100..change {
        world.ask(&mut client, &delete(&format!("/d/n{n}")));
    }
    world.ask(&mut client, &delete("/d"));
    world.ask(&mut client, &create("/d", 0));
    for n in 0..100 {
        world.ask(&mut client, &create(&format!("/d/m{n}"), 0));
    }
    for _ in 0..3 {
        let (_, body) = world.ask(&mut client, &children("/d", false));
        let told = StringList::decode(&mut Reader::new(&body)).unwrap();
        assert!(told.iter().all(|name| name.starts_with('m')));
    }
}

#[test]
fn stat_counts_children_as_clients_know_it() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    world.ask(&mut client, &create("/a", 0));
    world.ask(&mut client, &create("/a/b", 0));
    world.ask(&mut client, &create("/a/c", 0));
    world.ask(&mut client, &delete("/a/b"));
    let (_, body) = world.ask(&mut client, &exists("/a", false));
    let stat = Stat::decode(&mut Reader::new(&body)).unwrap();
    assert_eq!((stat.num_children, stat.cversion), (1, 3));
}

#[test]
fn writes_asked_behind_an_answer_that_takes_long_are_answered_behind_it() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    world.send(&mut client, &create("/a", 0));
    world.send(&mut client, &Request::GetAllChildrenNumber("/".into()));
    world.send(&mut client, &set("/a", b"1"));
    world.send(&mut client, &Request::CloseSession);
    world.sync();
    let order: Vec<_> = world.got(&mut client).iter().map(Got::xid).collect();
    assert_eq!(order, [Some(1), Some(2), Some(3), Some(4)]);
    assert!(world.front.state(client.id).close_after_output);
}

#[test]
fn a_write_that_cannot_be_read_is_told_from_others_with_the_same_xid() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    let mut bytes = Vec::new();
    for request in [Some(create("/a", 0)), Some(create("/a/b", 0)), None] {
        let start = begin_frame(&mut bytes);
        let op = request.as_ref().map_or(OpCode::SET_DATA, Request::op);
        RequestHeader { xid: 7, op }.encode(&mut bytes);
        if let Some(request) = request {
            request.encode(&mut bytes);
        }
        end_frame(&mut bytes, start);
    }
    world.receive(client.id, &bytes);
    assert_eq!(world.got(&mut client), [], "two writes before it are not on disk yet");
    world.sync();
    let got = world.got(&mut client);
    let error = |got: &Got| match got {
        Got::Reply { xid: 7, err, .. } => *err,
        other => panic!("{other:?}"),
    };
    let errors: Vec<_> = got.iter().map(error).collect();
    assert_eq!(errors, [ErrorCode::OK, ErrorCode::OK, ErrorCode::MARSHALLING_ERROR]);
}

#[test]
fn a_multi_read_whose_reply_would_be_unbounded_is_refused_and_costs_nothing_more() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    world.ask(&mut client, &create("/large", 0));
    world.ask(&mut client, &set("/large", &vec![7; 1_000_000]));
    for (times, expected) in [(30, ErrorCode::OK), (50, ErrorCode::SYSTEM_ERROR)] {
        let mut body = Vec::new();
        let parts = (0..times).map(|_| MultiReadOp::GetData("/large".into()));
        MultiReadRequest::encode_ops(&mut body, parts);
        let request =
            Request::decode(OpCode::MULTI_READ, &mut Reader::new(&body)).unwrap().unwrap();
        let (err, body) = world.ask(&mut client, &request);
        assert_eq!(err, expected, "{times} times a megabyte");
        assert_eq!(body.is_empty(), expected != ErrorCode::OK);
    }
    assert_eq!(world.ask(&mut client, &get("/large", false)).0, ErrorCode::OK);
}

#[test]
fn nothing_is_answered_behind_an_operation_that_ends_the_connection() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    world.send(&mut client, &create("/a", 0));
    let mut bytes = Vec::new();
    let start = begin_frame(&mut bytes);
    RequestHeader { xid: 70, op: OpCode(129) }.encode(&mut bytes);
    end_frame(&mut bytes, start);
    world.receive(client.id, &bytes);
    world.send(&mut client, &get("/a", false));
    world.sync();
    let got = world.got(&mut client);
    assert_eq!(got.len(), 2, "{got:?}");
    assert_eq!(got[0].xid(), Some(1));
    assert!(matches!(got[1], Got::Reply { xid: 70, err: ErrorCode::UNIMPLEMENTED, .. }));
    assert!(world.front.state(client.id).close_after_output);
}

#[test]
fn nothing_is_done_behind_a_close_session_that_waited_itself() {
    let held = Settings { hold_writes_behind_reads: true, ..Settings::default() };
    let mut world = World::new(held);
    let mut client = world.connect(10_000);
    world.send(&mut client, &create("/a", 0));
    world.send(&mut client, &get("/a", false));
    world.send(&mut client, &Request::CloseSession);
    world.send(&mut client, &create("/b", 0));
    world.sync();
    let order: Vec<_> = world.got(&mut client).iter().map(Got::xid).collect();
    assert_eq!(order, [Some(1), Some(2), Some(3)]);
    assert_eq!(world.shared.tree.last_zxid(), Zxid(3), "session, create, close and nothing more");
}

#[test]
fn writes_never_overtake_a_write_that_waits_behind_a_read() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    world.ask(&mut client, &create("/d", 0));
    for n in 0..5_000 {
        world.send(&mut client, &create(&format!("/d/n{n:05}"), 0));
        if n % 500 == 0 {
            world.sync();
            world.got(&mut client);
        }
    }
    world.sync();
    world.got(&mut client);
    world.send(&mut client, &children("/d", false));
    for (data, read) in [(b"1", true), (b"2", false)] {
        world.send(&mut client, &set("/d", data));
        if read {
            world.send(&mut client, &get("/d", false));
        }
    }
    let mut link = Link { core: &mut world.core, shared: &world.shared };
    while world.front.work(&world.shared, world.now, &mut link) {}
    // The listing is told, its first write is with the core, the second still waits.
    world.send(&mut client, &set("/d", b"3"));
    world.sync();
    let order: Vec<_> = world.got(&mut client).iter().map(|got| got.xid().unwrap()).collect();
    assert!(order.is_sorted() && order.len() == 5, "{order:?}");
    assert_eq!(world.shared.tree.node("/d").unwrap().data(), Some(&b"3"[..]));
}

#[test]
fn a_read_released_by_mail_waits_until_all_mail_is_taken() {
    let mut world = World::new(Settings::default());
    let mut watcher = world.connect(10_000);
    let mut writer = world.connect(10_000);
    world.ask(&mut writer, &create("/a", 0));
    world.ask(&mut watcher, &get("/a", true));
    world.send(&mut watcher, &create("/b", 0));
    world.send(&mut watcher, &get("/a", false));
    world.send(&mut writer, &set("/a", b"1"));
    // The core's thread is ahead: both writes are applied before this Front takes its mail.
    let last = world.unsynced.drain(..).next_back().unwrap().last_zxid;
    world.core.synced(last);
    let mut mail = Vec::new();
    let mut out = Committed::default();
    while world.core.apply_next(&mut world.shared, world.now, &mut out) {
        mail.push(std::mem::take(&mut out));
    }
    assert_eq!(mail.len(), 2);
    let World { shared, core, front, now, .. } = &mut world;
    let mut link = Link { core, shared };
    front.catch_up();
    mail.iter().for_each(|committed| front.committed(shared, *now, committed, &mut link));
    front.caught_up(shared, *now, &mut link);
    let got = world.got(&mut watcher);
    assert_eq!(got[0].xid(), Some(2));
    assert!(matches!(&got[1], Got::Event(EventType::NodeDataChanged, path, _) if path == "/a"));
    assert_eq!(data_of(&got[2]), b"1");
}

#[test]
fn opening_a_session_is_the_first_operation_of_its_connection_and_renewing_it_is_none() {
    let mut world = World::new(Settings::default());
    let client = world.connect(10_000);
    let told = |world: &World| {
        let mut views = Vec::new();
        world.front.conn_views(0, 100, &mut views);
        let last = views.pop().expect("a connection");
        (last.stats.last_op, last.stats.last_cxid, last.stats.last_zxid, last.stats.latency_count)
    };
    let zxid = world.shared.tree.last_zxid();
    assert_eq!(told(&world), (Some(OpCode::CREATE_SESSION), 0, zxid, 1));
    assert_eq!(world.front.stats().update_latency.summary().count(), 1);
    let again = world.open();
    world.handshake(again, client.session, 10_000).expect("renewed");
    assert_eq!(told(&world), (None, -1, Zxid(-1), 0));
    assert_eq!(world.front.stats().update_latency.summary().count(), 1);
}
