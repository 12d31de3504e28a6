//! The host of an ensemble's member: what the agreement wants of sockets, files and threads.
//!
//! The core decides, on the first I/O thread; this carries out. Votes go to the election port,
//! packets to the quorum port, what has to be durable to the log thread, in one order with the log
//! itself, and what learners need read to the history thread. What comes back from threads comes by
//! the core's mailbox; what comes from sockets is handed to the core where it is read.

use std::rc::Rc;
use std::sync::Arc;

use oxkeeper_node::Core;
use oxkeeper_proto::notification::Address;
use oxkeeper_proto::packet::Packet;
use oxkeeper_proto::{Sid, Zxid};
use oxkeeper_zab as zab;
use tokio::sync::watch;
use zab::messages::{Drop as Why, Fatal};
use zab::{LinkId, State};

use crate::dynamic_config::{DynamicConfig, DynamicConfigError};
use crate::election_port;
use crate::history_thread::{HistoryCommand, HistoryThread};
use crate::io_thread::IoThread;
use crate::log_thread::{LogCommand, LogThread};
use crate::quorum_port::{Origin, QuorumPort, Upcall};

/// A learner is read more of the log for when no more than this waits to be sent to it.
const READ_BELOW_BYTES: usize = 1 << 20;

/// The member's sockets and threads.
#[derive(Debug)]
pub struct Member {
    /// Links with learners and leaders.
    pub quorum: QuorumPort,
    /// Votes.
    pub election: election_port::Handle,
    /// Reads for learners.
    pub history: Arc<HistoryThread>,
    /// Where the membership is kept; nowhere unless it may be changed.
    files: Option<DynamicConfig>,
    /// Where clients are to connect, told to whoever accepts them.
    clients_at: watch::Sender<Option<Address>>,
    /// Learners for whom a snapshot is being written, and what it must reach.
    waiting: Vec<(LinkId, Zxid)>,
}

impl Member {
    /// A member over ports that are open.
    pub fn new(
        quorum: QuorumPort,
        election: election_port::Handle,
        history: HistoryThread,
        files: Option<DynamicConfig>,
        clients_at: watch::Sender<Option<Address>>,
    ) -> Member {
        let (history, waiting) = (Arc::new(history), Vec::new());
        Member { quorum, election, history, files, clients_at, waiting }
    }

    /// Does what the agreement asks for.
    ///
    /// # Errors
    /// This server has to stop.
    pub fn carry_out(
        &mut self,
        core: &Core,
        log: &LogThread,
        effect: zab::Effect,
    ) -> Result<(), Unfit> {
        match effect {
            zab::Effect::Dial(sid) => self.quorum.dial(sid),
            zab::Effect::DialObserverMaster(sid) => self.quorum.dial_observer_master(sid),
            zab::Effect::Send(link, packet) => self.quorum.send(link, &packet),
            zab::Effect::Close(link, why) => {
                self.quorum.close(link, why);
                self.forget(link);
            }
            zab::Effect::OpenSnapshot { link, at_least } => self.open_snapshot(link, at_least),
            zab::Effect::SendSnapshot(link) => {
                let sink = self.quorum.send_snapshot(link);
                self.history.send(HistoryCommand::SendSnapshot { link, sink });
            }
            zab::Effect::SurveyLog { link, peer } => {
                self.history.send(HistoryCommand::Survey { link, peer });
            }
            zab::Effect::ReadLog { link, after, to } => self.read_log(core, link, after, to),
            zab::Effect::SaveEpochs(epochs) => log.send(LogCommand::SaveEpochs(epochs)),
            zab::Effect::SaveEnsembleId(id) => log.send(LogCommand::SaveEnsembleId(id)),
            zab::Effect::SaveTrust => log.send(LogCommand::SaveTrust),
            zab::Effect::Truncate { generation, to } => {
                log.send(LogCommand::Truncate { generation, to });
            }
            zab::Effect::ReceiveSnapshot { generation, link, zxid } => {
                let source = self.quorum.receive_snapshot(link);
                log.send(LogCommand::ReceiveSnapshot { generation, zxid, source });
            }
            zab::Effect::Reload { generation } => log.send(LogCommand::Reload { generation }),
            // Written here and now: a proposal is acknowledged in what follows, and a server that
            // forgot its configuration would count quorums that are none. It happens when an
            // operator changes the ensemble, and takes a few milliseconds.
            zab::Effect::ConfigSeen(config) => {
                if let Some(files) = &self.files {
                    files.seen(&config)?;
                }
                self.reconfigure(core);
            }
            zab::Effect::ConfigHeard(_) => self.reconfigure(core),
            zab::Effect::ConfigActive(_) => {
                if let (Some(files), Some(peer)) = (&self.files, core.peer()) {
                    files.active(peer.membership())?;
                }
                self.reconfigure(core);
            }
            zab::Effect::Notify { to, state, vote, configs } => {
                self.election.notify(to, state, vote, configs);
            }
            zab::Effect::State(state) => {
                tell(state);
                self.quorum.set_state(state);
            }
            zab::Effect::Fatal(fatal) => return Err(fatal.into()),
            // The core's own.
            zab::Effect::Append(_)
            | zab::Effect::Hold(_)
            | zab::Effect::Commit(_)
            | zab::Effect::FastForward(_)
            | zab::Effect::Serve { .. }
            | zab::Effect::Synced(_)
            | zab::Effect::AskTouched { .. } => {}
        }
        Ok(())
    }

    /// Reads what a learner misses as soon as it has taken most of what it was sent before.
    fn read_log(&self, core: &Core, link: LinkId, after: Zxid, to: Zxid) {
        let history = Arc::clone(&self.history);
        // Without an epoch nobody is served, and the learners are who is waited for.
        history.go_gently(core.peer().is_some_and(|peer| peer.established().is_some()));
        self.quorum.when_below(link, READ_BELOW_BYTES, move || {
            history.send(HistoryCommand::Read { link, after, to });
        });
    }

    /// The ports follow the membership.
    fn reconfigure(&self, core: &Core) {
        if let Some(peer) = core.peer() {
            self.quorum.reconfigure(peer.membership());
            self.election.reconfigure(peer.membership().clone());
            let client = clients_at(peer);
            self.clients_at.send_if_modified(|at| {
                let moved = client.is_some() && *at != client;
                if moved {
                    *at = client;
                }
                moved
            });
        }
    }

    fn open_snapshot(&self, link: LinkId, at_least: Zxid) {
        self.history.send(HistoryCommand::OpenSnapshot { link, at_least });
    }

    /// No snapshot reaches what a learner needs: one is to be written first.
    pub fn await_snapshot(&mut self, link: LinkId, at_least: Zxid) {
        self.waiting.push((link, at_least));
    }

    /// A snapshot was written: those who wait may find it.
    pub fn snapshot_over(&mut self) {
        for (link, at_least) in std::mem::take(&mut self.waiting) {
            self.open_snapshot(link, at_least);
        }
    }

    fn forget(&mut self, link: LinkId) {
        self.waiting.retain(|(waits, _)| *waits != link);
        self.history.send(HistoryCommand::Forget { link });
    }
}

/// Where this member's clients connect, if its configuration says so.
pub fn clients_at(peer: &zab::Peer) -> Option<Address> {
    peer.membership().current().server(peer.sid())?.client.clone()
}

/// Why a member has to stop.
#[derive(Debug)]
pub enum Unfit {
    /// The agreement says so.
    Agreement(Fatal),
    /// The membership could not be written down: after a restart this server would count quorums
    /// that are none.
    Files(DynamicConfigError),
}

impl std::fmt::Display for Unfit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unfit::Agreement(fatal) => fatal.fmt(f),
            Unfit::Files(error) => error.fmt(f),
        }
    }
}

impl From<Fatal> for Unfit {
    fn from(fatal: Fatal) -> Unfit {
        Unfit::Agreement(fatal)
    }
}

impl From<DynamicConfigError> for Unfit {
    fn from(error: DynamicConfigError) -> Unfit {
        Unfit::Files(error)
    }
}

/// Tells of a role that begins: an election may not have preceded it. Its end and the looking that
/// follows are told where they are decided.
fn tell(state: State) {
    match state {
        State::Looking | State::Settling(_) => {}
        State::Leading => tracing::info!("leading"),
        State::Following(leader) => tracing::info!(%leader, "following"),
        State::Observing(leader) => tracing::info!(%leader, "observing"),
    }
}

/// What comes from the quorum port goes straight to the core.
pub struct Voice {
    thread: Rc<IoThread>,
}

impl Voice {
    /// The voice that this thread's core hears.
    pub fn new(thread: Rc<IoThread>) -> Voice {
        Voice { thread }
    }
}

impl Upcall for Voice {
    fn linked(&self, link: LinkId, origin: Origin) {
        self.thread.with_core(|part, _, now| {
            // The role may have changed while the connection was made.
            let input = match (origin, part.core.state()) {
                (Origin::Accepted, Some(State::Leading)) => Some(zab::Input::Linked(link)),
                (Origin::Observer, Some(State::Following(_))) => {
                    Some(zab::Input::ObserverLinked(link))
                }
                (Origin::Dialled(sid), _) => {
                    let wanted = part.core.peer().and_then(zab::Peer::learner_master);
                    (wanted == Some(sid)).then_some(zab::Input::Linked(link))
                }
                _ => None,
            };
            if let Some(input) = input {
                return part.core.peer_input(now, input);
            }
            if let Some(member) = &part.member {
                member.quorum.close(link, Why::RoleOver("in that role"));
            }
        });
    }

    fn dial_failed(&self, sid: Sid) {
        self.thread
            .with_core(|part, _, now| part.core.peer_input(now, zab::Input::DialFailed(sid)));
    }

    fn packets<'a>(&self, link: LinkId, packets: &mut dyn Iterator<Item = Packet<'a>>) {
        self.thread.with_core(|part, shared, now| {
            for packet in packets {
                part.core.packet(shared, now, link, &packet);
            }
        });
    }

    fn progress(&self, link: LinkId) {
        self.thread.with_core(|part, _, now| part.core.peer_input(now, zab::Input::Progress(link)));
    }

    fn unlinked(&self, link: LinkId) {
        self.thread.with_core(|part, _, now| {
            part.core.peer_input(now, zab::Input::Unlinked(link));
            if let Some(member) = &mut part.member {
                member.forget(link);
            }
        });
    }

    fn turn(&self) {
        self.thread.attend();
    }
}

/// Hands what is heard on the election port to the core, until the port ends.
pub async fn listen(thread: Rc<IoThread>, mut events: election_port::Events) {
    while let Some(event) = events.recv().await {
        thread.with_core(|part, _, now| match &event {
            election_port::Event::Heard { from, told } => part.core.notification(now, *from, told),
            election_port::Event::Link { sid, up } => part.core.election_link(now, *sid, *up),
        });
        thread.attend();
    }
}
