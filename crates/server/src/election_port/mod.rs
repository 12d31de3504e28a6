//! The election port: where servers tell each other whom they vote for.
//!
//! What is said is decided by the [`oxkeeper_zab::Peer`], and who keeps which connection by
//! [`Links`]; this carries it. It listens at all election addresses of this server, calls the
//! peers, cuts the streams into hellos and messages, keeps the time for the links, and carries out
//! what they decide, one after the other in one task. Connections and calls have tasks of their
//! own, so that neither a peer that does not read nor a name that does not resolve delays anybody
//! else.
//!
//! Everything runs on the thread that [`ElectionPort::run`] is awaited on, inside a `LocalSet`. The
//! rest of the server has a [`Handle`] to say something and [`Events`] that tell what was heard;
//! both can live on other threads. When the last handle is dropped the port closes.
//!
//! The port is open to anybody who can reach it, so nothing on it costs more than a connection and
//! a line in the log: lengths are checked before they are believed, connections that say nothing
//! are bounded in number and time by the links, and every queue from a peer to us is bounded. What
//! our own server says is not: it says little.
//!
//! There are no heartbeats here. Who is silent after an election is watched on the quorum port.

mod wire;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use oxkeeper_config::ExitCode;
use oxkeeper_proto::ids::Sid;
use oxkeeper_proto::notification::{Address, Hello, Notification, PeerState};
use oxkeeper_zab::links::{self, ConnId, DialError, Links};
use oxkeeper_zab::quorum::Membership;
use oxkeeper_zab::vote::{Configs, Vote};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;
use tracing::{debug, warn};

use self::wire::{Fault, Out, Wire};
use crate::StartError;
use crate::peer_sockets::dial::{self, Resolver};
use crate::peer_sockets::listen::{self, Listening};
use crate::peer_sockets::{Port, UnresolvedNames};
use crate::seldom::Seldom;

/// What connections have to say and we have not heard yet. Each entry may be a message of half a
/// megabyte; who has more to say waits.
const INPUTS_MAX: usize = 16;

/// What was heard and the server has not taken yet. Again each may be half a megabyte.
const EVENTS_MAX: usize = 16;

/// What can be configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who we are.
    pub my_sid: Sid,
    /// How to connect.
    pub links: links::Settings,
    /// `quorumListenOnAllIPs`: only the ports of our addresses count.
    pub listen_on_all_ips: bool,
    /// `electionPortBindRetry`: attempts at binding each address, a second apart; 0: no end.
    pub bind_attempts: u32,
    /// `tcpKeepAlive`.
    pub tcp_keep_alive: bool,
    /// Where names of peers are noted that do not resolve.
    pub unresolved: UnresolvedNames,
}

impl Settings {
    /// ZooKeeper's defaults.
    pub fn new(my_sid: Sid) -> Settings {
        Settings {
            my_sid,
            links: links::Settings::default(),
            listen_on_all_ips: false,
            bind_attempts: 3,
            tcp_keep_alive: false,
            unresolved: UnresolvedNames::default(),
        }
    }

    fn listening(&self) -> Listening {
        Listening {
            port: Port::Election,
            on_all_ips: self.listen_on_all_ips,
            attempts: self.bind_attempts,
            keep_alive: self.tcp_keep_alive,
        }
    }
}

/// What happens on the port, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A server told us its vote: for [`oxkeeper_zab::Peer::notification`].
    Heard {
        /// Who it says it is.
        from: Sid,
        /// What it said.
        told: Notification<'static>,
    },
    /// A server is connected, or known not to be there: for
    /// [`oxkeeper_zab::Peer::election_link`].
    Link {
        /// Which.
        sid: Sid,
        /// Connected.
        up: bool,
    },
}

/// Where events come out. Whoever does not take them makes the peers wait.
pub type Events = mpsc::Receiver<Event>;

/// The server's side of its election port. Calls never block; they are acted on in their order.
#[derive(Debug, Clone)]
pub struct Handle {
    commands: mpsc::UnboundedSender<Command>,
}

#[derive(Debug)]
enum Command {
    Notify { to: Sid, state: PeerState, vote: Vote, configs: Configs },
    Reconfigure(Membership),
}

impl Handle {
    /// Tells a server of a vote, instead of whatever it has not been told yet. Connects if need be.
    pub fn notify(&self, to: Sid, state: PeerState, vote: Vote, configs: Configs) {
        self.tell(Command::Notify { to, state, vote, configs });
    }

    /// The configuration changed. If our own election addresses are others now, the port moves
    /// there, and its connections are made anew.
    pub fn reconfigure(&self, membership: Membership) {
        self.tell(Command::Reconfigure(membership));
    }

    /// The port may have ended, with an error that its owner was told.
    fn tell(&self, command: Command) {
        self.commands.send(command).ok();
    }
}

/// What tasks have to say to the port.
#[derive(Debug)]
enum Input {
    Accepted(TcpStream, SocketAddr),
    Greeted(ConnId, Hello),
    Message(ConnId, Bytes),
    Written(ConnId),
    Ended(ConnId, Option<Fault>),
    Dialled(ConnId, Result<TcpStream, DialError>),
    Listening(Vec<TcpListener>),
    NotListening(StartError),
}

/// A port that listens, and is served by [`ElectionPort::run`].
#[derive(Debug)]
pub struct ElectionPort {
    settings: Settings,
    my_addresses: Vec<Address>,
    links: Links,
    sockets: Sockets,
    listeners: Vec<TcpListener>,
    commands: mpsc::UnboundedReceiver<Command>,
    events: mpsc::Sender<Event>,
    resolver: Rc<Resolver>,
    faults: Seldom,
    started: Instant,
}

/// All that is open or being opened. Replaced as a whole when the port moves, so that nothing which
/// is still on its way can be taken for something new.
#[derive(Debug)]
struct Sockets {
    tasks: JoinSet<()>,
    wires: HashMap<ConnId, Open>,
    dials: HashMap<ConnId, (Sid, AbortHandle)>,
    sender: mpsc::Sender<Input>,
    inputs: mpsc::Receiver<Input>,
}

#[derive(Debug)]
struct Open {
    wire: Wire,
    /// Where an accepted connection came from.
    from: Option<SocketAddr>,
    /// Whom we called, or who it says it is.
    sid: Option<Sid>,
}

impl Sockets {
    fn new() -> Sockets {
        let (sender, inputs) = mpsc::channel(INPUTS_MAX);
        let (wires, dials) = (HashMap::new(), HashMap::new());
        Sockets { tasks: JoinSet::new(), wires, dials, sender, inputs }
    }

    fn open(
        &mut self,
        conn: ConnId,
        stream: TcpStream,
        from: Option<SocketAddr>,
        sid: Option<Sid>,
    ) {
        let (wire, task) = wire::wire(conn, stream, from.is_some(), self.sender.clone());
        self.wires.insert(conn, Open { wire, from, sid });
        self.tasks.spawn_local(task);
    }

    fn close(&mut self, conn: ConnId) {
        self.wires.remove(&conn);
        if let Some((_, dial)) = self.dials.remove(&conn) {
            dial.abort();
        }
    }

    /// Lets go of tasks that have ended.
    fn reap(&mut self) {
        while let Some(ended) = self.tasks.try_join_next() {
            if let Err(error) = ended
                && error.is_panic()
            {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

impl ElectionPort {
    /// Listens at the election addresses that the configuration gives us. Must be called, as `run`
    /// must, on a runtime with timers and sockets.
    ///
    /// # Errors
    /// When the configuration has no such address, one cannot be bound, or the settings ask for
    /// authentication, which this port cannot do.
    pub async fn open(
        settings: Settings,
        membership: &Membership,
    ) -> Result<(Handle, Events, ElectionPort), StartError> {
        let refused = |message: String| StartError { message, code: ExitCode::InvalidInvocation };
        let my_sid = settings.my_sid;
        if settings.links.authenticate {
            let message = "quorum.auth.enableSasl: the election port cannot authenticate yet";
            return Err(refused(message.to_owned()));
        }
        let my_addresses = Port::Election.addresses_of(my_sid, membership);
        if my_addresses.is_empty() {
            return Err(refused(format!("server.{my_sid} is not in the configuration")));
        }
        let listeners = listen::bind_all(&my_addresses, settings.listening()).await?;
        let (commander, commands) = mpsc::unbounded_channel();
        let (events, told) = mpsc::channel(EVENTS_MAX);
        let links = new_links(&settings, &my_addresses, membership);
        let unresolved = settings.unresolved.clone();
        let port = ElectionPort {
            settings,
            my_addresses,
            links,
            sockets: Sockets::new(),
            listeners,
            commands,
            events,
            resolver: Rc::new(Resolver::new(unresolved)),
            faults: Seldom::default(),
            started: Instant::now(),
        };
        Ok((Handle { commands: commander }, told, port))
    }

    /// Serves the port until the last handle is dropped. To be awaited inside a `LocalSet`.
    ///
    /// # Errors
    /// When the configuration moved the port to where it cannot listen.
    pub async fn run(mut self) -> Result<(), StartError> {
        let listeners = std::mem::take(&mut self.listeners);
        self.listen_at(listeners);
        loop {
            self.carry_out().await;
            self.sockets.reap();
            let due_ms = self.links.deadline_ms();
            let due = self.started + Duration::from_millis(due_ms.unwrap_or_default());
            tokio::select! {
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command).await,
                    None => {
                        self.sockets.tasks.shutdown().await;
                        return Ok(());
                    }
                },
                Some(input) = self.sockets.inputs.recv() => self.take(input).await?,
                () = tokio::time::sleep_until(due), if due_ms.is_some() => {
                    self.links.tick(self.now_ms());
                }
            }
        }
    }

    fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    fn listen_at(&mut self, listeners: Vec<TcpListener>) {
        for listener in listeners {
            let inputs = self.sockets.sender.clone();
            let accepting = listen::accept(listener, Port::Election, async move |stream, from| {
                // How many may wait to be greeted is decided by the links.
                inputs.send(Input::Accepted(stream, from)).await.is_ok()
            });
            self.sockets.tasks.spawn_local(accepting);
        }
    }

    async fn obey(&mut self, command: Command) {
        match command {
            Command::Notify { to, state, vote, configs } => {
                let mut message = Vec::new();
                vote.notification(state, &configs).encode(&mut message);
                self.links.send(self.now_ms(), to, message.into());
            }
            Command::Reconfigure(membership) => self.configure_links(&membership).await,
        }
    }

    async fn take(&mut self, input: Input) -> Result<(), StartError> {
        let now_ms = self.now_ms();
        match input {
            Input::Accepted(stream, from) => {
                let conn = self.links.accepted(now_ms);
                self.sockets.open(conn, stream, Some(from), None);
            }
            Input::Greeted(conn, hello) => {
                if let Some(open) = self.sockets.wires.get_mut(&conn) {
                    open.sid = Some(hello.sid);
                }
                self.links.greeted(now_ms, conn, &hello);
            }
            Input::Message(conn, payload) => self.hear(conn, &payload).await,
            Input::Written(conn) => self.links.written(conn),
            Input::Ended(conn, fault) => {
                if let (Some(open), Some(fault)) = (self.sockets.wires.remove(&conn), fault) {
                    self.say_why(&open, &fault);
                }
                self.links.closed(now_ms, conn);
            }
            Input::Dialled(conn, result) => {
                // Otherwise it was given up meanwhile.
                let Some((sid, _)) = self.sockets.dials.remove(&conn) else { return Ok(()) };
                match result {
                    Ok(stream) => {
                        self.sockets.open(conn, stream, None, Some(sid));
                        self.links.connected(now_ms, conn);
                    }
                    Err(error) => self.links.dial_failed(now_ms, conn, error),
                }
            }
            Input::Listening(listeners) => self.listen_at(listeners),
            Input::NotListening(error) => return Err(error),
        }
        Ok(())
    }

    async fn hear(&mut self, conn: ConnId, payload: &[u8]) {
        let Some(from) = self.links.received(conn) else { return };
        match Notification::decode(payload) {
            Ok(told) => self.report(Event::Heard { from, told: told.into_owned() }).await,
            Err(error) => {
                if let Some(before) = self.faults.may_speak() {
                    warn!(%from, %error, before, "an election message that cannot be understood");
                }
            }
        }
    }

    /// A server that listens no more is about to let go of the port.
    async fn report(&self, event: Event) {
        self.events.send(event).await.ok();
    }

    fn say_why(&mut self, open: &Open, fault: &Fault) {
        let Open { sid, from, .. } = open;
        if let Fault::Io(error) = fault {
            debug!(?sid, ?from, %error, "an election connection broke");
        } else if let Some(before) = self.faults.may_speak() {
            warn!(?sid, ?from, before, "an election connection is closed: {fault}");
        }
    }

    /// Carries out what the links have decided, until they have nothing left.
    async fn carry_out(&mut self) {
        let now_ms = self.now_ms();
        while let Some(effect) = self.links.poll_effect() {
            self.connect(now_ms, effect).await;
        }
    }

    async fn connect(&mut self, now_ms: u64, effect: links::Effect) {
        match effect {
            links::Effect::Dial { conn, sid, addresses } => {
                let (sender, resolver) = (self.sockets.sender.clone(), Rc::clone(&self.resolver));
                let keep_alive = self.settings.tcp_keep_alive;
                let dial = self.sockets.tasks.spawn_local(async move {
                    let result = dial::dial(addresses, keep_alive, resolver).await;
                    sender.send(Input::Dialled(conn, result)).await.ok();
                });
                self.sockets.dials.insert(conn, (sid, dial));
            }
            links::Effect::Greet { conn, hello } => {
                let mut bytes = Vec::new();
                hello.encode(&mut bytes);
                self.put(now_ms, conn, Out::Greeting(bytes));
            }
            links::Effect::Write { conn, message } => {
                let mut bytes = Vec::with_capacity(size_of::<i32>() + message.len());
                bytes.extend_from_slice(&(message.len() as i32).to_be_bytes());
                bytes.extend_from_slice(&message);
                self.put(now_ms, conn, Out::Message(bytes));
            }
            links::Effect::Close(conn) => self.sockets.close(conn),
            links::Effect::Up(sid) => self.report(Event::Link { sid, up: true }).await,
            links::Effect::Down(sid) => self.report(Event::Link { sid, up: false }).await,
            links::Effect::Authenticate { conn, opened: _ } => {
                // Refused when the port was opened; in no case is it as good as proved.
                self.sockets.close(conn);
                self.links.closed(now_ms, conn);
            }
        }
    }

    fn put(&mut self, now_ms: u64, conn: ConnId, out: Out) {
        let Some(open) = self.sockets.wires.get(&conn) else { return };
        if !open.wire.put(out) {
            self.sockets.close(conn);
            self.links.closed(now_ms, conn);
        }
    }

    /// Tells the links of a configuration, and moves the port if it gives us other addresses. Who
    /// is removed from the configuration listens where it did.
    async fn configure_links(&mut self, membership: &Membership) {
        let my_addresses = Port::Election.addresses_of(self.settings.my_sid, membership);
        if my_addresses.is_empty() || my_addresses == self.my_addresses {
            return self.links.configure(membership);
        }
        self.my_addresses = my_addresses;
        self.links = new_links(&self.settings, &self.my_addresses, membership);
        let mut old = std::mem::replace(&mut self.sockets, Sockets::new());
        old.tasks.shutdown().await;
        let (addresses, listening) = (self.my_addresses.clone(), self.settings.listening());
        let sender = self.sockets.sender.clone();
        self.sockets.tasks.spawn_local(async move {
            let input = match listen::bind_all(&addresses, listening).await {
                Ok(listeners) => Input::Listening(listeners),
                Err(error) => Input::NotListening(error),
            };
            sender.send(input).await.ok();
        });
    }
}

fn new_links(settings: &Settings, my_addresses: &[Address], membership: &Membership) -> Links {
    let told = my_addresses.iter().filter(|address| !address.is_wildcard()).cloned().collect();
    let mut links = Links::new(settings.my_sid, told, settings.links.clone());
    links.configure(membership);
    links
}
