//! An election over a port that carries it, and nothing else of a server: what its
//! `oxkeeper_zab::Peer` does, without the disk and the role that would follow.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use oxkeeper_proto::ids::{Sid, Zxid};
use oxkeeper_proto::notification::PeerState;
use oxkeeper_server::election_port as carrier;
use oxkeeper_zab::election::{Effect, Election, Standing};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier, Role};
use oxkeeper_zab::vote::{Received, Vote};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// What an election comes to, in the order in which to act on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A peer brought a newer configuration.
    Adopted(Arc<QuorumVerifier>),
    /// The election is over.
    Decided { state: PeerState, vote: Vote },
}

/// Where events come out.
pub type Events = mpsc::UnboundedReceiver<Event>;

/// What each server said last.
pub type Heard = BTreeMap<Sid, Received>;

/// What happens to the voter. Dropping it ends voter and port.
#[derive(Debug)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
    heard: watch::Receiver<Heard>,
}

#[derive(Debug)]
enum Command {
    Look(Standing),
    Established(i64),
    Designate(Sid, Zxid),
    Reconfigure(Membership, Role),
}

impl Handle {
    /// Looks for a leader.
    pub fn look(&self, standing: Standing) {
        self.commands.send(Command::Look(standing)).unwrap();
    }

    /// The leader is established.
    pub fn established(&self, epoch: i64) {
        self.commands.send(Command::Established(epoch)).unwrap();
    }

    /// There is nothing to elect.
    pub fn designate(&self, leader: Sid, zxid: Zxid) {
        self.commands.send(Command::Designate(leader, zxid)).unwrap();
    }

    /// The configuration changed.
    pub fn reconfigure(&self, membership: Membership, role: Role) {
        self.commands.send(Command::Reconfigure(membership, role)).unwrap();
    }

    /// What was heard.
    pub fn heard(&self) -> watch::Receiver<Heard> {
        self.heard.clone()
    }
}

struct Voter {
    election: Election,
    port: carrier::Handle,
    events: mpsc::UnboundedSender<Event>,
    heard: watch::Sender<Heard>,
    started: Instant,
}

/// When there is nothing to wait for.
const FAR_MS: u64 = 1_000_000_000;

enum Next {
    Command(Command),
    Event(carrier::Event),
}

/// Joins an election with a port; the future is to be awaited beside that of the port.
pub fn voter(
    election: Election,
    port: carrier::Handle,
    mut carried: carrier::Events,
) -> (Handle, Events, impl Future<Output = ()>) {
    let (sender, mut commands) = mpsc::unbounded_channel();
    let (events, told) = mpsc::unbounded_channel();
    let (heard, hears) = watch::channel(Heard::new());
    let mut voter = Voter { election, port, events, heard, started: Instant::now() };
    let voting = async move {
        loop {
            voter.carry_out();
            let due_ms = voter.election.deadline_ms().unwrap_or(FAR_MS);
            let due = voter.started + Duration::from_millis(due_ms);
            let next = async {
                tokio::select! {
                    command = commands.recv() => command.map(Next::Command),
                    Some(event) = carried.recv() => Some(Next::Event(event)),
                }
            };
            match tokio::time::timeout_at(due, next).await {
                Ok(Some(Next::Command(command))) => voter.obey(command),
                Ok(Some(Next::Event(event))) => voter.hear(event),
                Ok(None) => return,
                Err(_) => voter.election.tick(voter.now_ms()),
            }
        }
    };
    (Handle { commands: sender, heard: hears }, told, voting)
}

impl Voter {
    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn obey(&mut self, command: Command) {
        let now_ms = self.now_ms();
        match command {
            Command::Look(standing) => self.election.look(now_ms, standing, 0),
            Command::Established(epoch) => self.election.established(epoch),
            Command::Designate(leader, zxid) => {
                let state = self.election.designate(leader, zxid);
                let vote = self.election.settled_on();
                self.events.send(Event::Decided { state, vote }).ok();
            }
            Command::Reconfigure(membership, role) => {
                self.port.reconfigure(membership.clone());
                self.election.reconfigure(now_ms, membership, role);
            }
        }
    }

    fn hear(&mut self, event: carrier::Event) {
        let now_ms = self.now_ms();
        match event {
            carrier::Event::Heard { from, told } => {
                let vote = Vote::from(&told);
                let received = Received { vote, state: told.state, version: told.version };
                self.heard.send_modify(|heard| {
                    heard.insert(from, received);
                });
                self.election.notification(now_ms, from, &told);
            }
            carrier::Event::Link { sid, up: true } => self.election.peer_up(sid),
            carrier::Event::Link { sid, up: false } => self.election.peer_down(now_ms, sid),
        }
    }

    fn carry_out(&mut self) {
        while let Some(effect) = self.election.poll_effect() {
            match effect {
                Effect::Send { to, state, vote, configs } => {
                    self.port.notify(to, state, vote, configs);
                }
                Effect::Hear(_) => self.port.reconfigure(self.election.membership().clone()),
                Effect::Adopt(config) => {
                    self.port.reconfigure(self.election.membership().clone());
                    self.events.send(Event::Adopted(config)).ok();
                }
                Effect::Decided { state, vote } => {
                    self.events.send(Event::Decided { state, vote }).ok();
                }
            }
        }
    }
}
