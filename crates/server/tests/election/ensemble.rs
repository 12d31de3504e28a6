//! Several servers' election ports, and what each of them decides. Every server has an address of
//! its own, so that it finds its port free when it comes back, whatever else runs on the machine.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use oxkeeper_proto::ids::{Sid, Zxid};
use oxkeeper_proto::notification::PeerState;
use oxkeeper_server::election_port::{ElectionPort, Settings};
use oxkeeper_zab::election::{self, Election, Standing};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier, Role};
use oxkeeper_zab::vote::Vote;
use tokio::task::{JoinHandle, LocalSet};

use crate::voter::{self, Event, Events, Handle};

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The election port of every server here; their addresses differ.
pub const PORT: u16 = 3888;

/// Runs a test as a server would run the port: on one thread.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async { tokio::time::timeout(LIMIT, test).await.expect("it takes too long") };
    LocalSet::new().block_on(&runtime, limited);
    // A name that is still being resolved is not waited for.
    runtime.shutdown_background();
}

/// A loopback address that no other test uses, nor another run of them.
pub fn fresh_ip() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(last < 255, "more servers than addresses");
    let run = std::process::id() % (250 * 250);
    Ipv4Addr::new(127, 1 + (run / 250) as u8, 1 + (run % 250) as u8, last)
}

/// What a server has on its disk.
pub fn standing(epoch: i64, zxid: i64) -> Standing {
    Standing { role: Role::Participant, last_logged: Zxid(zxid), current_epoch: epoch }
}

/// A committed configuration and no other.
pub fn membership(text: &str) -> Membership {
    Membership::new(Arc::new(QuorumVerifier::parse(text, true).unwrap()), None)
}

/// Settings of a port with ZooKeeper's defaults.
pub fn settings(sid: i64) -> Settings {
    Settings::new(Sid(sid))
}

/// Rules under which only an election that heard of everybody ends in time.
pub fn patient() -> election::Settings {
    let finalize_wait_ms = 10 * LIMIT.as_millis() as u64;
    election::Settings { finalize_wait_ms, ..election::Settings::default() }
}

/// Servers of one configuration; those that run.
pub struct Ensemble {
    pub config: String,
    pub ips: BTreeMap<i64, Ipv4Addr>,
    servers: BTreeMap<i64, Server>,
}

struct Server {
    handle: Handle,
    events: Events,
    task: JoinHandle<()>,
}

impl Ensemble {
    /// Servers 1 to `count`, none of which runs.
    pub fn of(count: i64) -> Ensemble {
        let ips: BTreeMap<i64, Ipv4Addr> = (1..=count).map(|sid| (sid, fresh_ip())).collect();
        let line = |(sid, ip): (&i64, &Ipv4Addr)| format!("server.{sid}={ip}:2888:{PORT}\n");
        let config = ips.iter().map(line).collect();
        Ensemble { config, ips, servers: BTreeMap::new() }
    }

    /// Opens the ports of these servers, so that nobody finds them closed when looking begins.
    pub async fn open(&mut self, sids: impl IntoIterator<Item = i64>) {
        for sid in sids {
            self.open_with(settings(sid), patient(), &self.config.clone()).await;
        }
    }

    /// Opens one port, which believes in this configuration.
    pub async fn open_with(&mut self, settings: Settings, rules: election::Settings, config: &str) {
        let my_sid = settings.my_sid;
        let membership = membership(config);
        let election = Election::new(my_sid, membership.clone(), standing(0, 0), rules);
        let (carrier, carried, port) = ElectionPort::open(settings, &membership).await.unwrap();
        let (handle, events, voting) = voter::voter(election, carrier, carried);
        let task = tokio::task::spawn_local(async move {
            let (ended, ()) = tokio::join!(port.run(), voting);
            ended.unwrap();
        });
        self.servers.insert(my_sid.0, Server { handle, events, task });
    }

    /// Lets a server look for a leader.
    pub fn look(&self, sid: i64, standing: Standing) {
        self.handle(sid).look(standing);
    }

    /// What a server said to do.
    pub fn handle(&self, sid: i64) -> &Handle {
        &self.servers[&sid].handle
    }

    /// What a server is told next.
    pub async fn event(&mut self, sid: i64) -> Event {
        self.servers.get_mut(&sid).unwrap().events.recv().await.expect("the port has ended")
    }

    /// The outcome of a server's election.
    pub async fn decision(&mut self, sid: i64) -> (PeerState, Vote) {
        match self.event(sid).await {
            Event::Decided { state, vote } => (state, vote),
            other => panic!("{other:?} instead of a decision"),
        }
    }

    /// Awaits that all running servers have settled on this leader, itself included.
    pub async fn settles_on(&mut self, leader: i64) {
        let sids: Vec<i64> = self.servers.keys().copied().collect();
        for sid in sids {
            let (state, vote) = self.decision(sid).await;
            assert_eq!(vote.leader, Sid(leader), "the leader of server {sid}");
            assert_eq!(state, role(sid, leader), "the state of server {sid}");
        }
    }

    /// Whether a server has nothing more to say.
    pub fn is_calm(&mut self, sid: i64) -> bool {
        self.servers.get_mut(&sid).unwrap().events.try_recv().is_err()
    }

    /// Ends a server; its sockets close.
    pub async fn kill(&mut self, sid: i64) {
        let Server { handle, task, .. } = self.servers.remove(&sid).unwrap();
        drop(handle);
        task.await.unwrap();
    }
}

fn role(sid: i64, leader: i64) -> PeerState {
    if sid == leader { PeerState::Leading } else { PeerState::Following }
}
