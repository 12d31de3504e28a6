//! What the members of an ensemble say of themselves, and what they count of its work, against the
//! text that ZooKeeper's said and counted when their clients did the same.
//!
//! The ensemble has no sockets, disks or clocks: what one server sends, the other has; what is
//! appended is on disk; time moves by hand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use oxkeeper_node::admin::{AdminView, ConfigView, EnsembleView, Mode, answer};
use oxkeeper_node::metrics::{Metrics, Value};
use oxkeeper_node::{
    Committed, ConnId, Core, CoreLink, Effect, Front, FrontId, Now, Peer, Settings, Shared, ToCore,
};
use oxkeeper_proto::connect::{ConnectRequest, begin_frame, end_frame, split_frame};
use oxkeeper_proto::packet::Packet;
use oxkeeper_proto::request::{CreateRequest, PathWatch, RequestHeader, SetDataRequest};
use oxkeeper_proto::stream::Split;
use oxkeeper_proto::{AdminWord, OPEN_ACL_UNSAFE, OpCode, Request, SessionId, Sid, Zxid};
use oxkeeper_tree::{Tree, TreeOptions};
use oxkeeper_zab::messages::Effect as Wanted;
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::{self as zab, Disk, Input, LinkId, Recovered, election};

const MEMBERSHIP: &str = "server.1=127.0.0.1:27011:27021:participant
server.2=127.0.0.1:27012:27022:participant
server.3=127.0.0.1:27013:27023:participant
server.4=127.0.0.1:27014:27024:observer
version=0";

struct Server {
    shared: Shared,
    core: Core,
    front: Front,
    up: bool,
}

struct World {
    servers: Vec<Server>,
    now: Now,
    /// The other end of each link, and whose that is.
    ends: BTreeMap<LinkId, (usize, LinkId)>,
    asked: VecDeque<(usize, Wanted)>,
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

struct Client {
    at: usize,
    id: ConnId,
    xid: i32,
}

fn sid(at: usize) -> Sid {
    Sid(at as i64 + 1)
}

impl World {
    fn new() -> World {
        World::of(MEMBERSHIP)
    }

    fn of(membership: &str) -> World {
        let now = Now { mono_us: 60_000_000, wall_ms: 1_700_000_000_000 };
        let config = QuorumVerifier::parse(membership, true).unwrap();
        let membership = Membership::new(Arc::new(config), None);
        let servers = (0..4).map(|at| {
            let settings = Settings { server_id: at as u8 + 1, ..Settings::default() };
            let settings = Arc::new(settings);
            let shared = Shared {
                tree: Tree::new(TreeOptions::default()),
                serving: false,
                read_only: false,
            };
            let core = Core::new(Arc::clone(&settings), &shared, now);
            Server { shared, core, front: Front::new(FrontId(0), settings), up: true }
        });
        let servers = servers.collect();
        let mut world = World { servers, now, ends: BTreeMap::new(), asked: VecDeque::new() };
        for at in 0..4 {
            let own = zab::Settings { observer: at == 3, ..zab::Settings::new(sid(at)) };
            let voting = election::Settings::default();
            let peer = zab::Peer::new(own, voting, membership.clone(), Recovered::default());
            world.servers[at].core.join(peer, 1, now);
        }
        world.settle();
        world
    }

    /// Lets everything happen that needs no time.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for at in 0..self.servers.len() {
                if self.servers[at].up {
                    quiet &= !self.turn(at);
                }
            }
            while let Some((at, wanted)) = self.asked.pop_front() {
                quiet = false;
                if self.servers[at].up {
                    self.carry_out(at, wanted);
                }
            }
            if quiet {
                return;
            }
        }
    }

    fn turn(&mut self, at: usize) -> bool {
        let now = self.now;
        let Server { shared, core, front, .. } = &mut self.servers[at];
        let mut moved = false;
        core.end_turn(now);
        while let Some(effect) = core.poll_effect() {
            moved = true;
            match effect {
                Effect::Append(batch) => core.disk(now, Disk::Synced(batch.last_zxid)),
                Effect::Tell(_, message) => {
                    front.told(shared, now, message, &mut Link { core, shared });
                }
                Effect::Peer(wanted) => self.asked.push_back((at, wanted)),
                other => panic!("nobody takes snapshots here: {other:?}"),
            }
        }
        let mut out = Committed::default();
        while core.apply_next(shared, now, &mut out) {
            moved = true;
            front.committed(shared, now, &out, &mut Link { core, shared });
        }
        moved
    }

    fn carry_out(&mut self, at: usize, wanted: Wanted) {
        let now = self.now;
        match wanted {
            Wanted::SaveEpochs(epochs) => {
                self.servers[at].core.disk(now, Disk::EpochsSaved(epochs));
            }
            Wanted::Notify { to, state, vote, configs } => {
                let to = &mut self.servers[(to.0 - 1) as usize];
                if to.up {
                    to.core.notification(now, sid(at), &vote.notification(state, &configs));
                }
            }
            Wanted::Dial(leader) => {
                let to = (leader.0 - 1) as usize;
                if !self.servers[to].up {
                    return self.servers[at].core.peer_input(now, Input::DialFailed(leader));
                }
                let n = self.ends.len() as u64;
                let (ours, theirs) = (LinkId(n), LinkId(n + 1));
                self.ends.insert(ours, (to, theirs));
                self.ends.insert(theirs, (at, ours));
                self.servers[to].core.peer_input(now, Input::Linked(theirs));
                self.servers[at].core.peer_input(now, Input::Linked(ours));
            }
            Wanted::Send(link, packet) => {
                let (to, link) = self.ends[&link];
                let mut bytes = Vec::new();
                packet.as_packet().encode(&mut bytes);
                let Ok(Split::Whole(packet, [])) = Packet::split(&bytes, usize::MAX) else {
                    panic!("{packet:?} is one packet");
                };
                let to = &mut self.servers[to];
                if to.up {
                    to.core.packet(&to.shared, now, link, &packet);
                }
            }
            Wanted::Close(link, _) => {
                let (to, link) = self.ends[&link];
                self.servers[to].core.peer_input(now, Input::Unlinked(link));
            }
            Wanted::SurveyLog { link, .. } => {
                let input = Input::LogSurveyed { link, survey: None };
                self.servers[at].core.peer_input(now, input);
            }
            Wanted::State(_)
            | Wanted::ConfigSeen(_)
            | Wanted::ConfigHeard(_)
            | Wanted::ConfigActive(_) => {}
            other => panic!("not needed here: {other:?}"),
        }
    }

    fn pass(&mut self, ms: u64) {
        for _ in 0..ms / 10 {
            self.now.mono_us += 10_000;
            self.now.wall_ms += 10;
            for server in self.servers.iter_mut().filter(|server| server.up) {
                if server.core.deadline_us().is_some_and(|due_us| due_us <= self.now.mono_us) {
                    server.core.wake(&server.shared, self.now);
                }
            }
            self.settle();
        }
    }

    /// The process ends, and with it its connections.
    fn kill(&mut self, at: usize) {
        self.servers[at].up = false;
        for (_, (to, link)) in self.ends.clone() {
            let (owner, _) = self.ends[&link];
            if owner == at {
                self.servers[to].core.peer_input(self.now, Input::Unlinked(link));
            }
        }
        for other in (0..self.servers.len()).filter(|other| *other != at) {
            self.servers[other].core.election_link(self.now, sid(at), false);
        }
        self.settle();
    }

    fn connect(&mut self, at: usize) -> Client {
        let addr = "127.0.0.1:40000".parse().unwrap();
        let id = self.servers[at].front.open(self.now, Peer { addr });
        let request = ConnectRequest {
            protocol_version: 0,
            last_zxid_seen: Zxid(0),
            timeout_ms: 30_000,
            session: SessionId::NONE,
            password: Some(&[0; 16]),
            read_only: Some(false),
        };
        let mut client = Client { at, id, xid: 0 };
        self.send(&mut client, |bytes| request.encode(bytes));
        client
    }

    fn ask(&mut self, client: &mut Client, request: &Request<'_>) {
        client.xid += 1;
        let header = RequestHeader { xid: client.xid, op: request.op() };
        self.send(client, |bytes| {
            header.encode(bytes);
            request.encode(bytes);
        });
    }

    /// Sends one frame, and checks that it is answered.
    fn send(&mut self, client: &mut Client, write: impl Fn(&mut Vec<u8>)) {
        let mut bytes = Vec::new();
        let start = begin_frame(&mut bytes);
        write(&mut bytes);
        end_frame(&mut bytes, start);
        let Server { shared, core, front, .. } = &mut self.servers[client.at];
        front.receive(shared, self.now, client.id, &bytes, &mut Link { core, shared });
        self.settle();
        let front = &mut self.servers[client.at].front;
        let out = front.output(client.id).to_vec();
        front.sent(client.id, out.len());
        assert!(matches!(split_frame(&out, 1 << 20), Ok(Some((_, [])))), "one answer");
    }

    fn view(&self, at: usize) -> AdminView {
        let Server { shared, core, .. } = &self.servers[at];
        let mut view = AdminView { serving: core.serves(shared), ..AdminView::default() };
        view.put_member(core.member(self.now).expect("a member"));
        view.zxid = shared.tree.last_zxid();
        core.stats().add_to(&mut view.metrics);
        view
    }
}

/// What clients did while ZooKeeper's texts were recorded: three of them, at the leader, a follower
/// and the observer.
fn work(world: &mut World) {
    let own = [(2, "/w", 1), (0, "/f", 2), (3, "/o", 3)];
    let mut clients: Vec<Client> = own.iter().map(|(at, ..)| world.connect(*at)).collect();
    for ((_, path, bytes), client) in own.iter().zip(&mut clients) {
        let data = vec![b'x'; *bytes];
        let create = CreateRequest {
            op: OpCode::CREATE,
            path: (*path).into(),
            data: Some(&data),
            acl: OPEN_ACL_UNSAFE,
            flags: 1,
            ttl_ms: -1,
        };
        world.ask(client, &Request::Create(create));
    }
    for n in 0..5 {
        for ((_, path, _), client) in own.iter().zip(&mut clients) {
            let (path, data) = ((*path).into(), &b"ddddd"[..n]);
            let set = SetDataRequest { path, data: Some(data), version: -1 };
            world.ask(client, &Request::SetData(set));
        }
    }
    for client in &mut clients {
        world.ask(client, &Request::Sync(Some("/".into())));
        world.ask(client, &Request::GetData(PathWatch { path: "/w".into(), watch: true }));
    }
}

fn golden(name: &str) -> String {
    let path = format!("{}/tests/fixtures/text/{name}.txt", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

fn number(mntr: &str, name: &str) -> Option<u64> {
    let prefix = format!("zk_{name}\t");
    mntr.lines().find_map(|line| line.strip_prefix(&prefix))?.parse().ok()
}

/// How often each metric was counted.
fn counts(metrics: &Metrics) -> BTreeMap<&'static str, u64> {
    let mut counts = BTreeMap::new();
    metrics.each(|description, value| {
        let count = match value {
            Value::Counter(count) => count,
            Value::Summary(summary) => summary.count(),
            Value::Detailed(summary) => summary.summary().count(),
            Value::CounterSet(_) | Value::SummarySet(_) | Value::DetailedSet(_) => return,
        };
        counts.insert(description.name, count);
    });
    counts
}

/// The ensemble's work, as it is counted in every role. Where the rest of the name says a summary,
/// its count is compared: times differ.
const COUNTED: [&str; 22] = [
    "proposal_count",
    "commit_count",
    "request_commit_queued",
    "sync_processor_request_queued",
    "learner_proposal_received_count",
    "learner_commit_received_count",
    "revalidate_count",
    "looking_count",
    "snap_count",
    "diff_count",
    "quit_leading_due_to_disloyal_voter",
    "cnt_quorum_ack_latency",
    "cnt_proposal_latency",
    "cnt_proposal_ack_creation_latency",
    "cnt_commit_propagation_latency",
    "cnt_propagation_latency",
    "cnt_server_write_committed_time_ms",
    "cnt_local_write_committed_time_ms",
    "cnt_write_commitproc_time_ms",
    "cnt_election_time",
    "cnt_follower_sync_time",
    "cnt_unavailable_time",
];

#[test]
fn the_same_work_is_counted_as_zookeeper_counts_it() {
    let mut world = World::new();
    world.pass(1_000);
    world.servers.iter_mut().for_each(|server| server.core.reset_stats());
    work(&mut world);
    for (at, role, mode) in [
        (2, "leader", Mode::Leader),
        (0, "follower", Mode::Follower),
        (3, "observer", Mode::Observer),
    ] {
        let recorded = golden(&format!("busy-{role}.mntr"));
        let view = world.view(at);
        assert_eq!(view.mode, mode);
        let counts = counts(&view.metrics);
        let mut some = 0;
        for name in COUNTED {
            let ours = counts[name.trim_start_matches("cnt_")];
            let java = number(&recorded, name).expect(name);
            // ZooKeeper takes a learner's sync, of which there was one, for a write.
            let local = ["cnt_local_write_committed_time_ms", "cnt_write_commitproc_time_ms"];
            let syncs = u64::from(mode != Mode::Leader && local.contains(&name));
            assert_eq!(ours, java - syncs, "{role}: {name}");
            some += ours;
        }
        assert!(some > 100, "{role} counted {some}");
        let text = answer(AdminWord::Mntr, 0, &view);
        for name in [
            "quorum_size",
            "learners",
            "synced_followers",
            "synced_non_voting_followers",
            "synced_observers",
            "pending_syncs",
            "last_proposal_size",
            "max_proposal_size",
            "min_proposal_size",
            "observer_master_id",
        ] {
            assert_eq!(number(&text, name), number(&recorded, name), "{role}: {name}");
        }
        // Zxid, mode and the sizes of proposals.
        let srvr = golden(&format!("busy-{role}.srvr"));
        let own = answer(AdminWord::Srvr, 0, &view);
        for start in ["Zxid: ", "Mode: ", "Proposal sizes last/min/max: "] {
            let line = |text: &str| text.lines().find(|l| l.starts_with(start)).map(str::to_owned);
            assert_eq!(line(&own), line(&srvr), "{role}");
        }
    }
}

/// A member's `conf` from its id on; before, it is as a server's that is alone.
fn conf(world: &World, at: usize) -> String {
    let fixed =
        EnsembleView { init_limit: 10, sync_limit: 5, election_alg: 3, ..EnsembleView::default() };
    let ensemble = world.servers[at].core.member_conf(&fixed);
    let config = ConfigView { server_id: sid(at).0, ensemble, ..ConfigView::default() };
    let view = AdminView { serving: true, config, ..AdminView::default() };
    from_id(&answer(AdminWord::Conf, 0, &view)).to_owned()
}

fn from_id(conf: &str) -> &str {
    &conf[conf.find("serverId=").expect("an id")..]
}

#[test]
fn conf_tells_the_membership_in_force() {
    let mut world = World::new();
    world.pass(1_000);
    for (at, role) in [(2, "leader"), (0, "follower"), (3, "observer")] {
        assert_eq!(conf(&world, at), from_id(&golden(&format!("busy-{role}.conf"))));
    }
    let recorded = golden("several-addresses.conf");
    let (_, membership) = recorded.split_once("membership: \n").expect("a membership");
    let mut world = World::of(membership);
    world.pass(1_000);
    assert_eq!(conf(&world, 2), from_id(&recorded));
    // Without a quorum it is nobody's.
    world.kill(0);
    world.kill(1);
    world.pass(15_000);
    assert!(conf(&world, 2).ends_with("\npeerType=0\n"));
}

#[test]
fn a_leader_that_dies_is_looked_for_and_nobody_serves_meanwhile() {
    let mut world = World::new();
    world.pass(1_000);
    let before = world.view(0);
    assert_eq!(before.peer_state.as_deref(), Some("following - broadcast"));
    assert_eq!(world.view(3).observer_master_id, Some(3));
    assert_eq!(counts(&world.view(2).metrics)["diff_count"], 3);
    assert_eq!(counts(&world.view(2).metrics)["inflight_diff_count"], 6);
    world.kill(1);
    world.kill(2);
    world.pass(200);
    for at in [0, 3] {
        let text = answer(AdminWord::Mntr, 0, &world.view(at));
        assert_eq!(text, golden("not-serving.mntr"));
    }
    let looking = counts(&world.view(0).metrics);
    assert_eq!((looking["looking_count"], looking["unavailable_time"]), (2, 1));
}

#[test]
fn uptimes_are_those_of_the_role_and_the_leaders_sizes_end_with_it() {
    let mut world = World::new();
    world.pass(1_000);
    work(&mut world);
    world.pass(5_000);
    let leader = world.view(2);
    let since = leader.gauges.leader_uptime.expect("a leader's");
    assert!((5_500..=6_000).contains(&since), "{since}");
    assert!(leader.gauges.uptime >= since);
    assert_eq!(leader.proposal_sizes, Some([62, 48, 89]));
    world.servers[2].core.reset_stats();
    assert_eq!(world.view(2).proposal_sizes, Some([-1, -1, -1]), "srst");
    work(&mut world);
    world.kill(2);
    world.pass(1_000);
    let next = world.view(1);
    assert_eq!(next.mode, Mode::Leader);
    assert!(next.gauges.uptime < 1_100, "{}", next.gauges.uptime);
    assert_eq!(next.proposal_sizes, Some([-1, -1, -1]));
    let counted = &next.metrics;
    assert_eq!((counted.election_time.count(), counted.leader_unavailable_time.count()), (2, 1));
    assert_eq!((counted.follower_sync_time.count(), counted.looking_count), (1, 2));
    assert_eq!(world.view(3).observer_master_id, Some(2));
}
