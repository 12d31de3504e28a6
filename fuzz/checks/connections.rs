//! Two connections to a whole server without sockets: handshakes, requests, words, time.
//!
//! Holds whatever comes: nothing panics; every request that was taken is answered once the disk has
//! caught up; what waits to be sent is bounded; how the bytes arrive in pieces makes no difference;
//! each transaction leaves the digest that was foretold, and the log replays to the same tree; and
//! when both clients are gone and have been forgotten, nothing of them is left.

use std::sync::Arc;

use oxkeeper_node::limits::{MULTI_READ_BYTES_MAX, OUTBOX_PAUSE_BYTES};
use oxkeeper_node::{
    Committed, ConnId, Core, CoreLink, Effect, Front, FrontId, Now, Peer, Settings, Shared, ToCore,
};
use oxkeeper_proto::connect::{ConnectRequest, begin_frame, end_frame, split_frame};
use oxkeeper_proto::response::{ReplyHeader, xid};
use oxkeeper_proto::{OpCode, Payload, Put, Reader, SessionId, Zxid};
use oxkeeper_tree::{Changes, Tree};

use crate::state::{options, state};

/// Bits of a step.
const SECOND_CONNECTION: u8 = 1;
const HANDSHAKE: u8 = 2;
const REQUEST: u8 = 4;
const SYNC: u8 = 8;
const REOPEN: u8 = 0x10;
const READ_OUTPUT: u8 = 0x20;
const PASS_TIME: u8 = 0x40;
const RENEW: u8 = 0x80;

/// Steps: a byte of the bits above, a byte for the length (255: all that is left), and that many
/// bytes for the connection to receive.
pub fn run(data: &[u8]) {
    let whole = world(data, |bytes| bytes.len());
    let halves = world(data, |bytes| bytes.len() / 2);
    // Of a connection that ends early, more or less is taken by the time it does.
    if let (Some(whole), Some(halves)) = (whole, halves) {
        assert!(whole == halves, "the same bytes in other pieces");
    }
}

/// Runs a script, each piece of bytes cut in two, and returns everything both clients were sent,
/// unless the server ended a connection.
fn world(data: &[u8], cut: fn(&[u8]) -> usize) -> Option<[Vec<u8>; 2]> {
    let mut world = World::new();
    let mut rest = data;
    while let [bits, len, behind @ ..] = rest {
        let len = if *len == 255 { behind.len() } else { behind.len().min((*len).into()) };
        let (body, behind) = behind.split_at(len);
        rest = behind;
        world.step(*bits, body, cut);
    }
    world.finish()
}

struct Client {
    id: ConnId,
    session: SessionId,
    /// Bytes that the server has not taken yet.
    left: Vec<u8>,
    sent: Vec<u8>,
    xid: i32,
    /// Where in `sent` the connection begins whose requests have all had the next xid.
    orderly_from: Option<usize>,
}

struct World {
    settings: Arc<Settings>,
    shared: Shared,
    core: Core,
    front: Front,
    now: Now,
    /// What is in the log, and what of it is not yet on disk.
    log: Vec<Vec<u8>>,
    appended: Zxid,
    clients: [Client; 2],
    /// The server has ended a connection.
    ended: bool,
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

/// Few requests under way, small frames, so that inputs reach beyond.
fn settings() -> Settings {
    let mut settings = Settings {
        outstanding_max: 3,
        frame_bytes_max: 1024,
        large_request_threshold: 200,
        large_request_bytes_max: 600,
        super_digest: Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".to_owned()),
        ..Settings::default()
    };
    settings.rules.enforce_quota = true;
    settings
}

impl World {
    fn new() -> World {
        let now = Now { mono_us: 60_000_000, wall_ms: 1_700_000_000_000 };
        let settings = Arc::new(settings());
        let shared = Shared { tree: Tree::new(options(0)), serving: true, read_only: false };
        let core = Core::new(Arc::clone(&settings), &shared, now);
        let mut front = Front::new(FrontId(0), Arc::clone(&settings));
        let clients = [(); 2].map(|()| Client {
            id: open(&mut front, now),
            session: SessionId::NONE,
            left: Vec::new(),
            sent: Vec::new(),
            xid: 0,
            orderly_from: Some(0),
        });
        let (log, appended) = (Vec::new(), Zxid(0));
        World { settings, shared, core, front, now, log, appended, clients, ended: false }
    }

    fn step(&mut self, bits: u8, body: &[u8], cut: fn(&[u8]) -> usize) {
        let at = usize::from(bits & SECOND_CONNECTION);
        if bits & REOPEN != 0 {
            self.reopen(at);
        }
        let mut bytes = Vec::new();
        if bits & HANDSHAKE != 0 {
            self.handshake(at, bits & RENEW != 0, &mut bytes);
        }
        if bits & REQUEST != 0 {
            let start = begin_frame(&mut bytes);
            bytes.put_int(self.next_xid(at, body));
            bytes.extend_from_slice(body);
            end_frame(&mut bytes, start);
        } else if !body.is_empty() && bits & PASS_TIME == 0 {
            self.clients[at].orderly_from = None;
            bytes.extend_from_slice(body);
        }
        let (first, second) = bytes.split_at(cut(&bytes));
        self.receive(at, first);
        self.receive(at, second);
        if bits & PASS_TIME != 0 {
            self.pass(u64::from(body.len() as u8) * 100);
        }
        if bits & SYNC != 0 {
            self.sync();
        }
        if bits & READ_OUTPUT != 0 {
            self.read_output(at);
        }
    }

    /// Authentication is answered out of order, and clients give it a xid of its own.
    fn next_xid(&mut self, at: usize, body: &[u8]) -> i32 {
        let op = Reader::new(body).i32().map(OpCode);
        if matches!(op, Ok(OpCode::AUTH | OpCode::SASL)) {
            return xid::AUTH;
        }
        self.clients[at].xid += 1;
        self.clients[at].xid
    }

    /// The client goes and another comes, which may want to go on with its session.
    fn reopen(&mut self, at: usize) {
        self.read_output(at);
        let id = self.clients[at].id;
        let mut link = Link { core: &mut self.core, shared: &self.shared };
        self.front.closed(self.now, id, &mut link);
        self.check_order(at);
        let client = &mut self.clients[at];
        client.left.clear();
        client.orderly_from = Some(client.sent.len());
        self.clients[at].id = open(&mut self.front, self.now);
    }

    /// Replies come in the order of their requests. Those to handshakes, and those with a xid of
    /// their own (events, authentication), are not looked at.
    fn check_order(&self, at: usize) {
        let client = &self.clients[at];
        let Some(from) = client.orderly_from else { return };
        let mut rest = &client.sent[from..];
        let mut before = 0;
        while let Ok(Some((frame, behind))) = split_frame(rest, usize::MAX) {
            rest = behind;
            let header = ReplyHeader::decode(&mut Reader::new(frame)).expect("every frame has one");
            if header.xid > 0 {
                assert!(header.xid > before, "{} answered behind {before}", header.xid);
                before = header.xid;
            }
        }
        assert!(rest.is_empty(), "half a frame");
    }

    fn handshake(&self, at: usize, renew: bool, bytes: &mut Vec<u8>) {
        let session = if renew { self.clients[at].session } else { SessionId::NONE };
        let password = session.password();
        let start = begin_frame(bytes);
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms: 10_000,
            session,
            password: Some(&password),
            read_only: Some(false),
        };
        request.encode(bytes);
        end_frame(bytes, start);
    }

    /// Brings what was left and what is new.
    fn receive(&mut self, at: usize, bytes: &[u8]) {
        self.clients[at].left.extend_from_slice(bytes);
        // What the core says at once may make room for more.
        loop {
            let client = &mut self.clients[at];
            let mut link = Link { core: &mut self.core, shared: &self.shared };
            let (id, left) = (client.id, &client.left);
            let used = self.front.receive(&self.shared, self.now, id, left, &mut link);
            assert!(used <= client.left.len());
            client.left.drain(..used);
            self.effects();
            if used == 0 {
                break;
            }
        }
        let state = self.front.state(self.clients[at].id);
        self.ended |= state.close_now || state.close_after_output;
        for asked in self.front.drain_admin() {
            self.front.answer_admin(asked.conn, format!("{:?}", asked.word));
        }
    }

    fn effects(&mut self) {
        self.core.end_turn(self.now);
        while let Some(effect) = self.core.poll_effect() {
            match effect {
                Effect::Append(batch) => {
                    let mut start = 0;
                    for end in batch.ends.iter().map(|end| *end as usize) {
                        self.log.push(batch.payloads[start..end].to_vec());
                        start = end;
                    }
                    self.appended = batch.last_zxid;
                }
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

    /// The disk catches up, everything is applied and answered, and what was held back is taken.
    fn sync(&mut self) {
        loop {
            self.effects();
            if self.appended > self.core.last_synced() {
                self.core.synced(self.appended);
            }
            let mut out = Committed::default();
            let mut moved = false;
            while self.core.apply_next(&mut self.shared, self.now, &mut out) {
                moved = true;
                let mut link = Link { core: &mut self.core, shared: &self.shared };
                self.front.committed(&self.shared, self.now, &out, &mut link);
            }
            let mut link = Link { core: &mut self.core, shared: &self.shared };
            while self.front.work(&self.shared, self.now, &mut link) {}
            self.effects();
            for at in 0..2 {
                let before = self.clients[at].left.len();
                self.receive(at, &[]);
                moved |= self.clients[at].left.len() < before;
            }
            if !moved && !self.core.can_apply() && self.appended == self.core.last_synced() {
                break;
            }
        }
        for client in &self.clients {
            let state = self.front.state(client.id);
            assert!(state.close_now || self.front.is_quiet(client.id), "a request unanswered");
            let pending = self.front.output(client.id).len();
            assert!(pending <= OUTBOX_PAUSE_BYTES + MULTI_READ_BYTES_MAX);
        }
        self.note_sessions();
    }

    /// A client learns its session from the server's first answer.
    fn note_sessions(&mut self) {
        let mut views = Vec::new();
        self.front.conn_views(0, u32::MAX, &mut views);
        for view in views.iter().filter(|view| view.session != SessionId::NONE) {
            if let Some(client) = self.clients.iter_mut().find(|client| client.id == view.id) {
                client.session = view.session;
            }
        }
    }

    /// Sends what waits, unless the connection is to be dropped without another word.
    fn read_output(&mut self, at: usize) {
        let client = &mut self.clients[at];
        let output = self.front.output(client.id);
        let bytes = output.len();
        if !self.front.state(client.id).close_now {
            client.sent.extend_from_slice(output);
        }
        self.front.sent(client.id, bytes);
    }

    fn pass(&mut self, ms: u64) {
        self.now.mono_us += ms * 1000;
        self.now.wall_ms += ms as i64;
        // Who looks at the clock late reads first what clients sent meanwhile, then looks again.
        for _ in 0..2 {
            self.core.wake(&self.shared, self.now);
            self.effects();
            self.now.mono_us += u64::from(self.settings.tick_time_ms) * 500;
        }
    }

    fn finish(mut self) -> Option<[Vec<u8>; 2]> {
        self.sync();
        let ended = self.ended;
        assert_eq!(self.shared.tree.stats().digest_mismatches, 0, "a digest foretold wrongly");
        self.replay();
        for at in 0..2 {
            self.reopen(at);
            let mut link = Link { core: &mut self.core, shared: &self.shared };
            self.front.closed(self.now, self.clients[at].id, &mut link);
        }
        while self.front.sweep() {}
        assert_eq!(self.front.connections(), 0);
        assert!(self.front.watches().is_empty());
        for _ in 0..4 {
            self.pass(u64::from(self.settings.session_timeout_max_ms as u32));
            self.sync();
        }
        assert_eq!(self.shared.tree.sessions().len(), 0, "sessions nobody renews expire");
        assert_eq!(self.shared.tree.ephemeral_count(), 0);
        assert_eq!(self.core.outstanding(), 0);
        self.replay();
        (!ended).then(|| self.clients.map(|client| client.sent))
    }

    /// What the log says is what the tree holds.
    fn replay(&self) {
        let mut tree = Tree::new(self.shared.tree.options());
        let mut changes = Changes::new();
        for payload in &self.log {
            let payload = Payload::decode(payload).expect("what is logged decodes");
            tree.apply(&payload, &mut changes, None);
        }
        assert_eq!(tree.stats().digest_mismatches, 0);
        assert_eq!(state(&tree), state(&self.shared.tree));
    }
}

fn open(front: &mut Front, now: Now) -> ConnId {
    front.open(now, Peer { addr: "127.0.0.1:40000".parse().expect("an address") })
}
