//! An ensemble without sockets, disks or clocks: cores with their Fronts, joined by queues.
//!
//! What one member sends arrives at the other in order and at once, unless a test holds it back;
//! what is appended is on disk at once, unless a test makes a disk slow. Time moves by hand.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use oxkeeper_node::{
    Batch, Committed, ConnId, Core, CoreLink, Effect, Front, FrontId, Now, Peer, Settings, Shared,
    ToCore,
};
use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::connect::{
    ConnectRequest, ConnectResponse, begin_frame, end_frame, split_frame,
};
use oxkeeper_proto::request::RequestHeader;
use oxkeeper_proto::response::ReplyHeader;
use oxkeeper_proto::{
    Capabilities, ErrorCode, OpCode, Payload, PeerState, Request, SessionId, Sid, Zxid,
};
use oxkeeper_tree::{Changes, Tree, TreeOptions};
use oxkeeper_zab as zab;
use zab::quorum::{Membership, QuorumVerifier};
use zab::vote::{Configs, Vote};
use zab::{Disk, LinkId, Outgoing, State};

pub const TICK_MS: u64 = 2000;

/// What is on its way from one member to another.
enum Mail {
    Vote { from: Sid, state: PeerState, vote: Vote, configs: Configs },
    Linked(LinkId),
    DialFailed(Sid),
    Packet(LinkId, Outgoing),
    Snapshot(LinkId, Vec<(Zxid, Vec<u8>)>),
    Unlinked(LinkId),
}

pub struct Member {
    pub core: Core,
    pub shared: Shared,
    pub front: Front,
    pub up: bool,
    settings: Arc<Settings>,
    /// The log: all there is to replay.
    log: Vec<(Zxid, Vec<u8>)>,
    epochs: zab::Epochs,
    /// Reports of the disk that a test holds back.
    slow: bool,
    /// Nothing is applied: the host is busy elsewhere.
    busy: bool,
    reports: VecDeque<Disk>,
    /// A snapshot that came, and one that is awaited.
    came: HashMap<LinkId, Vec<(Zxid, Vec<u8>)>>,
    awaited: Option<(LinkId, u64, Zxid)>,
    /// How many of this server's packets by kind were sent: what a test is surprised by.
    pub sent: Vec<Outgoing>,
    /// Pieces of snapshots that were handed out to be written.
    pub snapshot_pieces: usize,
    /// Snapshots that were written to their end.
    pub snapshots: usize,
}

pub struct Link<'a> {
    pub core: &'a mut Core,
    pub shared: &'a Shared,
}

impl CoreLink for Link<'_> {
    fn submit(&mut self, now: Now, front: FrontId, message: ToCore<'_>) {
        self.core.submit(self.shared, now, front, message);
    }
}

pub struct World {
    pub members: Vec<Member>,
    pub now: Now,
    config: Arc<QuorumVerifier>,
    mail: VecDeque<(usize, usize, Mail)>,
    /// Mail between these members waits.
    held: Vec<(usize, usize)>,
    /// The other end of each link: whose, and its name there.
    ends: HashMap<LinkId, (usize, LinkId)>,
    next_link: u64,
    /// Who dials whom, and waits until it is known whether that one leads.
    dials: Vec<(usize, usize)>,
}

/// A client of one member.
#[derive(Debug, Clone, Copy)]
pub struct Client {
    pub at: usize,
    pub id: ConnId,
    pub session: SessionId,
    pub xid: i32,
}

/// A reply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Got {
    pub xid: i32,
    pub zxid: Zxid,
    pub err: ErrorCode,
    pub body: Vec<u8>,
}

impl World {
    /// Voters only, with default settings.
    pub fn new(voters: usize) -> World {
        World::with(voters, 0, |_| ())
    }

    /// Voters, then observers; `change` changes everybody's settings. They have not heard of each
    /// other yet.
    pub fn with(voters: usize, observers: usize, change: impl Fn(&mut Settings)) -> World {
        let mut text = String::new();
        for sid in 1..=voters + observers {
            let role = if sid <= voters { "participant" } else { "observer" };
            text += &format!("server.{sid}=127.0.0.1:{}:{}:{role}\n", 2000 + sid, 3000 + sid);
        }
        text += "version=0\n";
        let config = Arc::new(QuorumVerifier::parse(&text, false).unwrap());
        let now = Now { mono_us: 60_000_000, wall_ms: 1_700_000_000_000 };
        let mut world = World {
            members: Vec::new(),
            now,
            config,
            mail: VecDeque::new(),
            held: Vec::new(),
            ends: HashMap::new(),
            next_link: 1,
            dials: Vec::new(),
        };
        for at in 0..voters + observers {
            let mut settings = Settings {
                server_id: at as u8 + 1,
                tick_time_ms: TICK_MS as u32,
                ..Settings::default()
            };
            change(&mut settings);
            let member = world.boot(Arc::new(settings), Vec::new(), Default::default());
            world.members.push(member);
        }
        world
    }

    /// All of them up, connected and with a leader: the last voter.
    pub fn formed(mut self) -> World {
        self.start_all();
        self.pass(1000);
        assert!(self.leader().is_some(), "a leader after a second");
        self
    }

    fn boot(
        &self,
        settings: Arc<Settings>,
        log: Vec<(Zxid, Vec<u8>)>,
        epochs: zab::Epochs,
    ) -> Member {
        let shared = Shared { tree: replayed(&log), serving: false, read_only: false };
        let core = Core::new(Arc::clone(&settings), &shared, self.now);
        let front = Front::new(FrontId(0), Arc::clone(&settings));
        Member {
            core,
            shared,
            front,
            up: false,
            settings,
            log,
            epochs,
            slow: false,
            busy: false,
            reports: VecDeque::new(),
            came: HashMap::new(),
            awaited: None,
            sent: Vec::new(),
            snapshot_pieces: 0,
            snapshots: 0,
        }
    }

    /// Starts a member, with what it has on disk.
    pub fn start(&mut self, at: usize) {
        self.bring_up(at);
        self.meet(at);
        self.settle();
    }

    /// Starts all at one moment.
    pub fn start_all(&mut self) {
        for at in 0..self.members.len() {
            self.bring_up(at);
        }
        for at in 0..self.members.len() {
            self.meet(at);
        }
        self.settle();
    }

    fn bring_up(&mut self, at: usize) {
        let old = &mut self.members[at];
        assert!(!old.up);
        let (log, epochs) = (std::mem::take(&mut old.log), old.epochs);
        let settings = Arc::clone(&old.settings);
        let mut member = self.boot(settings, log, epochs);
        (member.up, member.busy) = (true, self.members[at].busy);
        let entry = |(zxid, payload): &(Zxid, Vec<u8>)| zab::Entry {
            zxid: *zxid,
            payload: payload.clone().into(),
        };
        let recovered = zab::Recovered {
            last_logged: member.shared.tree.last_zxid(),
            epochs,
            tail: member.log.iter().map(entry).collect(),
            trusted: true,
            config: String::new(),
        };
        let membership = Membership::new(Arc::clone(&self.config), None);
        let settings = zab::Settings {
            tick_time_ms: TICK_MS,
            capabilities: Capabilities::LEADER_TRANSFER,
            ..zab::Settings::new(sid(at))
        };
        let voting = zab::election::Settings::default();
        let peer = zab::Peer::new(settings, voting, membership, recovered);
        member.core.join(peer, 1, self.now);
        self.members[at] = member;
    }

    /// Others and it learn of each other.
    fn meet(&mut self, at: usize) {
        for other in (0..self.members.len()).filter(|other| *other != at) {
            let up = self.members[other].up;
            self.members[at].core.election_link(self.now, sid(other), up);
            if up {
                self.members[other].core.election_link(self.now, sid(at), true);
            }
        }
    }

    /// Empties the disk of a member that is down.
    pub fn wipe(&mut self, at: usize) {
        let member = &mut self.members[at];
        assert!(!member.up);
        member.log.clear();
        member.epochs = zab::Epochs::default();
    }

    /// What a member has on disk: the last transaction, how many there are, and the epochs.
    pub fn on_disk(&self, at: usize) -> (Zxid, usize, zab::Epochs) {
        let Member { log, epochs, .. } = &self.members[at];
        (log.last().map_or(Zxid::ZERO, |(zxid, _)| *zxid), log.len(), *epochs)
    }

    /// Ends a member as a crash does.
    pub fn kill(&mut self, at: usize) {
        self.members[at].up = false;
        let mine: Vec<LinkId> =
            self.ends.iter().filter(|(_, (of, _))| *of == at).map(|(link, _)| *link).collect();
        for other_end in mine {
            // The link's name at the other end, whose other end is here.
            let (_, here) = self.ends.remove(&other_end).unwrap();
            let Some((other, _)) = self.ends.remove(&here) else { continue };
            self.mail.push_back((at, other, Mail::Unlinked(other_end)));
        }
        self.mail.retain(|(from, to, mail)| {
            *to != at && (*from != at || matches!(mail, Mail::Unlinked(_)))
        });
        for other in 0..self.members.len() {
            if self.members[other].up {
                self.members[other].core.election_link(self.now, sid(at), false);
            }
        }
        self.settle();
    }

    /// Who leads and serves.
    pub fn leader(&self) -> Option<usize> {
        let leads = |member: &Member| member.core.peer()?.leading()?.established();
        self.members.iter().position(|member| member.up && leads(member).is_some())
    }

    /// Mail from one member to another waits until [`World::release`].
    pub fn hold(&mut self, from: usize, to: usize) {
        self.held.push((from, to));
    }

    /// All mail flows again.
    pub fn release(&mut self) {
        self.held.clear();
        self.settle();
    }

    /// Whether this member's disk reports at once.
    pub fn slow_disk(&mut self, at: usize, slow: bool) {
        self.members[at].slow = slow;
        self.settle();
    }

    /// Whether this member's host is too busy to apply anything.
    pub fn slow_apply(&mut self, at: usize, busy: bool) {
        self.members[at].busy = busy;
        self.settle();
    }

    /// Walks a snapshot of this member's as far as it may be walked.
    pub fn walk(&mut self, at: usize) {
        while self.members[at].core.snapshot_wants_step() {
            let Member { core, shared, .. } = &mut self.members[at];
            core.snapshot_step(shared);
            self.settle();
        }
    }

    /// Time passes.
    pub fn pass(&mut self, ms: u64) {
        let mut left = ms;
        while left > 0 {
            let step = left.min(100);
            left -= step;
            self.now.mono_us += step * 1000;
            self.now.wall_ms += step as i64;
            for at in 0..self.members.len() {
                let Member { core, shared, up, .. } = &mut self.members[at];
                if *up {
                    core.wake(shared, self.now);
                }
            }
            self.settle();
        }
    }

    /// All machines stand still; when they go on, their clocks are looked at before their sockets.
    pub fn stand_still(&mut self, ms: u64) {
        self.now.mono_us += ms * 1000;
        self.now.wall_ms += ms as i64;
        for Member { core, shared, up, .. } in &mut self.members {
            if *up {
                core.wake(shared, self.now);
            }
        }
    }

    /// Runs everybody until nothing moves.
    pub fn settle(&mut self) {
        loop {
            let mut moved = false;
            for at in 0..self.members.len() {
                if self.members[at].up {
                    moved |= self.turn(at);
                }
            }
            for (from, to) in std::mem::take(&mut self.dials) {
                self.dial(from, to);
            }
            let next =
                self.mail.iter().position(|(from, to, _)| !self.held.contains(&(*from, *to)));
            if let Some((_, to, mail)) = next.and_then(|next| self.mail.remove(next)) {
                moved = true;
                if self.members[to].up {
                    self.deliver(to, mail);
                }
            }
            if !moved {
                return;
            }
        }
    }

    fn deliver(&mut self, to: usize, mail: Mail) {
        let now = self.now;
        let Member { core, shared, came, .. } = &mut self.members[to];
        match mail {
            Mail::Vote { from, state, vote, configs } => {
                core.notification(now, from, &vote.notification(state, &configs));
            }
            Mail::Linked(link) => core.peer_input(now, zab::Input::Linked(link)),
            Mail::DialFailed(sid) => core.peer_input(now, zab::Input::DialFailed(sid)),
            Mail::Unlinked(link) => core.peer_input(now, zab::Input::Unlinked(link)),
            Mail::Packet(link, packet) => core.packet(shared, now, link, &packet.as_packet()),
            Mail::Snapshot(link, log) => drop(came.insert(link, log)),
        }
    }

    /// One turn of one member. True if anything moved.
    fn turn(&mut self, at: usize) -> bool {
        let now = self.now;
        let mut moved = self.take_snapshot(at);
        let member = &mut self.members[at];
        if !member.slow {
            while let Some(report) = member.reports.pop_front() {
                moved = true;
                member.core.disk(now, report);
            }
        }
        member.core.end_turn(now);
        while let Some(effect) = self.members[at].core.poll_effect() {
            moved = true;
            self.carry_out(at, effect);
            self.members[at].core.end_turn(now);
        }
        let Member { core, shared, front, busy, .. } = &mut self.members[at];
        let mut out = Committed::default();
        while !*busy && core.apply_next(shared, now, &mut out) {
            moved = true;
            front.committed(shared, now, &out, &mut Link { core, shared });
        }
        while front.work(shared, now, &mut Link { core, shared }) {
            moved = true;
        }
        moved || core.has_work()
    }

    fn carry_out(&mut self, at: usize, effect: Effect) {
        let now = self.now;
        let member = &mut self.members[at];
        let Member { core, shared, front, log, reports, snapshot_pieces, snapshots, .. } = member;
        match effect {
            Effect::Append(batch) => {
                append(log, &batch);
                reports.push_back(Disk::Synced(batch.last_zxid));
            }
            Effect::Tell(_, message) => {
                front.told(shared, now, message, &mut Link { core, shared });
            }
            Effect::SnapshotChunk(_) => {
                *snapshot_pieces += 1;
                core.snapshot_written();
            }
            Effect::SnapshotEnd => {
                *snapshots += 1;
                core.snapshot_done();
            }
            Effect::SnapshotAbandon => core.snapshot_done(),
            Effect::RollLog | Effect::SnapshotBegin(_) => {}
            Effect::Peer(effect) => self.carry_out_peers(at, effect),
        }
    }

    fn carry_out_peers(&mut self, at: usize, effect: zab::Effect) {
        let now = self.now;
        match effect {
            zab::Effect::Notify { to, state, vote, configs } => {
                self.post(at, place(to), Mail::Vote { from: sid(at), state, vote, configs });
            }
            zab::Effect::Dial(to) => self.dial(at, place(to)),
            zab::Effect::Send(link, packet) => {
                self.members[at].sent.push(packet.clone());
                if let Some((to, link)) = self.ends.get(&link).copied() {
                    self.post(at, to, Mail::Packet(link, packet));
                }
            }
            zab::Effect::Close(link, _) => {
                if let Some((to, there)) = self.ends.remove(&link) {
                    self.ends.remove(&there);
                    self.post(at, to, Mail::Unlinked(there));
                }
            }
            zab::Effect::SaveEpochs(epochs) => {
                self.members[at].epochs = epochs;
                self.members[at].reports.push_back(Disk::EpochsSaved(epochs));
            }
            zab::Effect::Truncate { generation, to } => {
                self.members[at].log.retain(|(zxid, _)| *zxid <= to);
                self.rebuild(at, |last| Disk::Truncated { generation, last });
            }
            zab::Effect::Reload { generation } => {
                self.rebuild(at, |last| Disk::Reloaded { generation, last });
            }
            zab::Effect::ReceiveSnapshot { generation, link, zxid } => {
                self.members[at].awaited = Some((link, generation, zxid));
            }
            zab::Effect::OpenSnapshot { link, .. } => {
                let member = &mut self.members[at];
                let zxid = member.shared.tree.last_zxid();
                member.core.peer_input(now, zab::Input::SnapshotOpened { link, zxid });
            }
            zab::Effect::SendSnapshot(link) => {
                let last = self.members[at].shared.tree.last_zxid();
                let log = &self.members[at].log;
                let log = log.iter().filter(|(zxid, _)| *zxid <= last).cloned().collect();
                if let Some((to, link)) = self.ends.get(&link).copied() {
                    self.post(at, to, Mail::Snapshot(link, log));
                }
            }
            zab::Effect::SurveyLog { link, .. } => {
                let none = zab::Input::LogSurveyed { link, survey: None };
                self.members[at].core.peer_input(now, none);
            }
            zab::Effect::ReadLog { link, .. } => {
                self.members[at].core.peer_input(now, zab::Input::HistoryUnavailable(link));
            }
            zab::Effect::Fatal(fatal) => panic!("member {at}: {fatal}"),
            _ => {}
        }
    }

    fn post(&mut self, from: usize, to: usize, mail: Mail) {
        self.mail.push_back((from, to, mail));
    }

    fn dial(&mut self, from: usize, to: usize) {
        let target = &self.members[to];
        match target.core.state() {
            Some(State::Leading) if target.up => {}
            // The port keeps who comes while it is not known who leads.
            Some(State::Looking) if target.up => return self.dials.push((from, to)),
            _ => return self.post(to, from, Mail::DialFailed(sid(to))),
        }
        let (here, there) = (LinkId(self.next_link), LinkId(self.next_link + 1));
        self.next_link += 2;
        self.ends.insert(here, (to, there));
        self.ends.insert(there, (from, here));
        self.post(from, to, Mail::Linked(there));
        self.post(to, from, Mail::Linked(here));
    }

    /// Memory is what the disk says.
    fn rebuild(&mut self, at: usize, disk: impl FnOnce(Zxid) -> Disk) {
        let member = &mut self.members[at];
        let tree = replayed(&member.log);
        let last = tree.last_zxid();
        member.core.rebuilt(&mut member.shared, self.now, tree, disk(last));
    }

    fn take_snapshot(&mut self, at: usize) -> bool {
        let member = &mut self.members[at];
        let Some((link, generation, zxid)) = member.awaited else { return false };
        let Some(log) = member.came.remove(&link) else { return false };
        member.awaited = None;
        member.log = log;
        let mut tree = replayed(&member.log);
        tree.set_last_zxid(zxid);
        let disk = Disk::SnapshotInstalled { generation };
        member.core.rebuilt(&mut member.shared, self.now, tree, disk);
        true
    }
}

impl World {
    pub fn open(&mut self, at: usize) -> ConnId {
        let addr = "127.0.0.1:40000".parse().unwrap();
        self.members[at].front.open(self.now, Peer { addr })
    }

    pub fn connect(&mut self, at: usize, timeout_ms: i32) -> Client {
        let (id, response) = self.ask_session(at, SessionId::NONE, timeout_ms, false);
        let session = response.expect("a session").session;
        Client { at, id, session, xid: 0 }
    }

    /// The client's session, renewed at another member or at the same one; `None` if it is refused
    /// or hung up on.
    pub fn renew(&mut self, client: Client, at: usize) -> Option<Client> {
        let (id, response) = self.ask_session(at, client.session, 10_000, false);
        let session = response.filter(|response| response.session == client.session)?.session;
        Some(Client { at, id, session, xid: 0 })
    }

    /// A handshake, and what came of it by the time nothing moves.
    pub fn ask_session(
        &mut self,
        at: usize,
        session: SessionId,
        timeout_ms: i32,
        read_only: bool,
    ) -> (ConnId, Option<ConnectResponse>) {
        let id = self.begin_session(at, session, timeout_ms, read_only);
        self.settle();
        (id, self.response(at, id))
    }

    /// A handshake with a password of the client's own.
    pub fn ask_with_password(
        &mut self,
        at: usize,
        session: SessionId,
        password: &[u8],
    ) -> Option<ConnectResponse> {
        let id = self.shake_hands(at, session, password, 10_000, false);
        self.settle();
        self.response(at, id)
    }

    /// A handshake, before anything moves.
    pub fn begin_session(
        &mut self,
        at: usize,
        session: SessionId,
        timeout_ms: i32,
        read_only: bool,
    ) -> ConnId {
        self.shake_hands(at, session, &session.password(), timeout_ms, read_only)
    }

    fn shake_hands(
        &mut self,
        at: usize,
        session: SessionId,
        password: &[u8],
        timeout_ms: i32,
        read_only: bool,
    ) -> ConnId {
        let id = self.open(at);
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms,
            session,
            password: Some(password),
            read_only: Some(read_only),
        };
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        request.encode(&mut bytes);
        end_frame(&mut bytes, start);
        self.receive(at, id, &bytes);
        id
    }

    /// What a handshake was answered; `None` if nothing.
    pub fn response(&mut self, at: usize, id: ConnId) -> Option<ConnectResponse> {
        let out = self.output(at, id);
        let (frame, _) = split_frame(&out, 1 << 20).unwrap()?;
        Some(ConnectResponse::decode(&mut Reader::new(frame)).unwrap())
    }

    fn receive(&mut self, at: usize, id: ConnId, bytes: &[u8]) {
        let Member { core, shared, front, .. } = &mut self.members[at];
        front.receive(shared, self.now, id, bytes, &mut Link { core, shared });
    }

    fn output(&mut self, at: usize, id: ConnId) -> Vec<u8> {
        let front = &mut self.members[at].front;
        if front.state(id).close_now {
            return Vec::new();
        }
        let out = front.output(id).to_vec();
        front.sent(id, out.len());
        out
    }

    /// Sends a request; nothing moves yet.
    pub fn send(&mut self, client: &mut Client, request: &Request<'_>) -> i32 {
        client.xid += 1;
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        RequestHeader { xid: client.xid, op: request.op() }.encode(&mut bytes);
        request.encode(&mut bytes);
        end_frame(&mut bytes, start);
        self.receive(client.at, client.id, &bytes);
        client.xid
    }

    /// A request with a body that may be anything.
    pub fn send_raw(&mut self, client: &mut Client, op: OpCode, body: &[u8]) -> i32 {
        client.xid += 1;
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        RequestHeader { xid: client.xid, op }.encode(&mut bytes);
        bytes.extend_from_slice(body);
        end_frame(&mut bytes, start);
        self.receive(client.at, client.id, &bytes);
        client.xid
    }

    /// A ping, as a client sends it; its answer is read away.
    pub fn ping(&mut self, client: &Client) {
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        RequestHeader { xid: -2, op: OpCode::PING }.encode(&mut bytes);
        end_frame(&mut bytes, start);
        self.receive(client.at, client.id, &bytes);
        self.settle();
    }

    /// The replies that came since the last call, without those to pings and without events.
    pub fn got(&mut self, client: &Client) -> Vec<Got> {
        self.frames(client).into_iter().filter(|got| got.xid > 0).collect()
    }

    /// Everything that came since the last call.
    pub fn frames(&mut self, client: &Client) -> Vec<Got> {
        let bytes = self.output(client.at, client.id);
        let mut rest = &bytes[..];
        let mut got = Vec::new();
        while let Ok(Some((frame, after))) = split_frame(rest, usize::MAX) {
            rest = after;
            let mut reader = Reader::new(frame);
            let ReplyHeader { xid, zxid, err } = ReplyHeader::decode(&mut reader).unwrap();
            got.push(Got { xid, zxid, err, body: reader.rest().to_vec() });
        }
        assert!(rest.is_empty());
        got
    }

    /// Sends, lets everything move, and returns how it went; `None` if the connection was closed.
    pub fn ask(&mut self, client: &mut Client, request: &Request<'_>) -> Option<ErrorCode> {
        let xid = self.send(client, request);
        self.settle();
        self.got(client).into_iter().find(|got| got.xid == xid).map(|got| got.err)
    }

    /// Whether the client's connection is over.
    pub fn is_closed(&self, client: &Client) -> bool {
        let state = self.members[client.at].front.state(client.id);
        state.close_now || state.close_after_output
    }

    /// The client's socket is gone.
    pub fn hang_up(&mut self, client: &Client) {
        let Member { core, shared, front, .. } = &mut self.members[client.at];
        front.closed(self.now, client.id, &mut Link { core, shared });
        self.settle();
    }

    pub fn has(&self, at: usize, path: &str) -> bool {
        self.members[at].shared.tree.node(path).is_some()
    }

    /// Whether the ensemble knows a session, as far as this member has heard.
    pub fn knows(&self, at: usize, session: SessionId) -> bool {
        self.members[at].shared.tree.session_timeout_ms(session).is_some()
    }
}

pub fn sid(at: usize) -> Sid {
    Sid(at as i64 + 1)
}

fn place(sid: Sid) -> usize {
    sid.0 as usize - 1
}

fn append(log: &mut Vec<(Zxid, Vec<u8>)>, batch: &Batch) {
    let mut start = 0;
    for &end in batch.ends.iter() {
        let payload = batch.payloads[start..end as usize].to_vec();
        start = end as usize;
        let zxid = Payload::decode(&payload).unwrap().header.zxid;
        log.push((zxid, payload));
    }
}

fn replayed(log: &[(Zxid, Vec<u8>)]) -> Tree {
    let mut tree = Tree::new(TreeOptions::default());
    for (_, payload) in log {
        let payload = Payload::decode(payload).unwrap();
        tree.apply(&payload, &mut Changes::new(), None);
    }
    tree
}
