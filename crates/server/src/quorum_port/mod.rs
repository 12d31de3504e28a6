//! The quorum port: where learners find their leader, and the links between them.
//!
//! This hosts what the [`oxkeeper_zab::Peer`] wants of the network. It listens at all quorum
//! addresses of this server, calls leaders, cuts the streams into packets and sends packets. It
//! lives on the core's thread, inside its `LocalSet`, because a packet must not travel from thread
//! to thread:
//!
//! * *In*: a link's task hands the packets of what it has read to the [`Upcall`] in one go,
//!   borrowed from the bytes that they came in, and then asks once for a turn.
//! * *Out*: [`QuorumPort::send`] encodes into the link's buffer, and [`QuorumPort::flush`] at the
//!   end of the turn gives all of it to the system at once.
//!
//! Upcalls are made from the port's tasks alone, never from within a call of the core, and nothing
//! of the port is borrowed meanwhile: the core may call back whatever it likes.
//!
//! # Who comes in
//! Only a leader has use for connections. Who comes while this server still looks for one, is kept
//! unread for a moment in a *waiting room*: it may have counted the votes faster than we have, and
//! would else have to look again. When leading begins the room is emptied into links; whoever
//! follows turns them away. The port is open to anybody: connections that have said nothing are
//! bounded in number, here, and in time, by the leader; lengths are believed within the bound of
//! the settings, and memory grows with what comes and never by what was announced.
//!
//! # Snapshots
//! Behind the packet SNAP the stream is a file. The link then stops cutting packets until someone
//! has taken the snapshot in ([`QuorumPort::receive_snapshot`]) and handed back what lies behind
//! it. In the other direction a snapshot has its place in the order of what is sent
//! ([`QuorumPort::send_snapshot`]), and packets sent later wait behind it.

mod incoming;
mod link;
mod out;
mod room;

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use oxkeeper_config::ExitCode;
use oxkeeper_proto::Sid;
use oxkeeper_proto::notification::Address;
use oxkeeper_proto::packet::Packet;
use oxkeeper_zab::links::DialError;
use oxkeeper_zab::messages::Drop as Why;
use oxkeeper_zab::quorum::Membership;
use oxkeeper_zab::{LinkId, Outgoing, State};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, mpsc};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};
use tracing::{debug, warn};

use self::link::{Fault, Link};
use self::room::Room;
use crate::StartError;
use crate::peer_sockets::dial::{self, Resolver};
use crate::peer_sockets::listen::{self, Listening};
use crate::peer_sockets::{Port, UnresolvedNames};
use crate::seldom::Seldom;
use crate::snapshot_link::{SnapshotSink, SnapshotSource};

/// Bytes read at once, by all links into the same buffer.
const READ_BYTES: usize = 64 << 10;

/// Links that have not said a word. A learner does so at once; more than this many are somebody
/// else's, and the oldest has had its time. More than the waiting room holds.
const SILENT_MAX: usize = 2 * room::PLACES;

/// What can be configured.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Who we are.
    pub my_sid: Sid,
    /// `quorumListenOnAllIPs`: only the ports of our addresses count.
    pub listen_on_all_ips: bool,
    /// `electionPortBindRetry`, which counts here too: attempts at binding each address, a second
    /// apart; 0: no end.
    pub bind_attempts: u32,
    /// `tcpKeepAlive`.
    pub tcp_keep_alive: bool,
    /// `observerMasterPort`: where a follower serves observers, if it does.
    pub observer_master_port: Option<u16>,
    /// How long calling a leader may take, names included: ticks of `connectToLearnerMasterLimit`
    /// or `initLimit`.
    pub connect_timeout: Duration,
    /// The largest data of a packet: `jute.maxbuffer` and its extra size.
    pub data_bytes_max: usize,
    /// Links at once, those included that are being closed.
    pub links_max: usize,
    /// What may wait to be sent on one link. Whoever is that far behind is not served by being
    /// given more: it is quicker to begin anew from the log or a snapshot.
    pub pending_bytes_max: usize,
    /// Where names of peers are noted that do not resolve.
    pub unresolved: UnresolvedNames,
}

impl Settings {
    /// ZooKeeper's defaults, with an initLimit of 10 ticks of 2 s.
    pub fn new(my_sid: Sid) -> Settings {
        Settings {
            my_sid,
            listen_on_all_ips: false,
            bind_attempts: 3,
            tcp_keep_alive: false,
            observer_master_port: None,
            connect_timeout: Duration::from_secs(20),
            data_bytes_max: oxkeeper_proto::limits::FIELD_BYTES_MAX_DEFAULT,
            links_max: 1100,
            pending_bytes_max: 256 << 20,
            unresolved: UnresolvedNames::default(),
        }
    }

    fn listening(&self) -> Listening {
        Listening {
            port: Port::Quorum,
            on_all_ips: self.listen_on_all_ips,
            attempts: self.bind_attempts,
            keep_alive: self.tcp_keep_alive,
        }
    }
}

/// Who made a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// The other side, while we led: a learner, or so it seems.
    Accepted,
    /// The other side, at the observer master's port: an observer, or so it seems.
    Observer,
    /// We: it is this server, which leads or serves observers, or so we think.
    Dialled(Sid),
}

impl Origin {
    /// Whether the other side made it.
    fn is_theirs(self) -> bool {
        matches!(self, Origin::Accepted | Origin::Observer)
    }
}

/// What the port tells the core.
pub trait Upcall {
    /// A link is there ([`oxkeeper_zab::Input::Linked`]).
    fn linked(&self, link: LinkId, origin: Origin);
    /// [`QuorumPort::dial`] came to nothing.
    fn dial_failed(&self, sid: Sid);
    /// Packets came, all that were read at once; they are cut as they are asked for.
    fn packets<'a>(&self, link: LinkId, packets: &mut dyn Iterator<Item = Packet<'a>>);
    /// A piece of a snapshot was read or written.
    fn progress(&self, link: LinkId);
    /// A link ended, and not by [`QuorumPort::close`]. It is not spoken of any more.
    fn unlinked(&self, link: LinkId);
    /// All of the above that could be said at once was said: have a turn taken.
    fn turn(&self);
}

/// What this server is, as far as the port cares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Part {
    /// Nothing yet.
    Undecided,
    Leading,
    Learning,
}

/// See the module's essay. Clones are the same port.
#[derive(Clone)]
pub struct QuorumPort {
    inner: Rc<Inner>,
}

/// What all tasks of the port share.
struct Inner {
    settings: Settings,
    upcall: OnceCell<Rc<dyn Upcall>>,
    membership: RefCell<Membership>,
    part: Cell<Part>,
    /// Counts the times that `part` changed: a connection made for an older one is of no use.
    parts: Cell<u64>,
    links: RefCell<BTreeMap<LinkId, Rc<Link>>>,
    next_link: Cell<u64>,
    /// Links whose task still runs, those closed included.
    open: Cell<usize>,
    closed: Notify,
    to_flush: RefCell<Vec<Rc<Link>>>,
    scratch: RefCell<Box<[u8]>>,
    room: Room,
    dialling: RefCell<Option<AbortHandle>>,
    resolver: Rc<Resolver>,
    tasks: RefCell<JoinSet<()>>,
    spawned: Notify,
    /// Where we listen, and who does: it owns the sockets.
    listening_at: RefCell<Vec<Address>>,
    bound: RefCell<Vec<TcpListener>>,
    listener: RefCell<Option<JoinHandle<()>>>,
    /// Who listens for observers while this server follows.
    for_observers: RefCell<Option<JoinHandle<()>>>,
    failures: (mpsc::UnboundedSender<StartError>, RefCell<mpsc::UnboundedReceiver<StartError>>),
    faults: RefCell<Seldom>,
}

impl std::fmt::Debug for QuorumPort {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "QuorumPort({:?})", self.inner.listening_at.borrow())
    }
}

impl QuorumPort {
    /// Listens at the quorum addresses that the configuration gives us. Nobody is served before
    /// [`QuorumPort::run`].
    ///
    /// # Errors
    /// When the configuration has no such address, or one cannot be bound.
    pub async fn open(
        settings: Settings,
        membership: &Membership,
    ) -> Result<QuorumPort, StartError> {
        let addresses = Port::Quorum.addresses_of(settings.my_sid, membership);
        if addresses.is_empty() {
            let message = format!("server.{} is not in the configuration", settings.my_sid);
            return Err(StartError { message, code: ExitCode::InvalidInvocation });
        }
        let bound = listen::bind_all(&addresses, settings.listening()).await?;
        let (failed, failures) = mpsc::unbounded_channel();
        let unresolved = settings.unresolved.clone();
        let inner = Inner {
            settings,
            upcall: OnceCell::new(),
            membership: RefCell::new(membership.clone()),
            part: Cell::new(Part::Undecided),
            parts: Cell::new(0),
            links: RefCell::default(),
            next_link: Cell::new(0),
            open: Cell::new(0),
            closed: Notify::new(),
            to_flush: RefCell::default(),
            scratch: RefCell::new(vec![0; READ_BYTES].into()),
            room: Room::default(),
            dialling: RefCell::default(),
            resolver: Rc::new(Resolver::new(unresolved)),
            tasks: RefCell::default(),
            spawned: Notify::new(),
            listening_at: RefCell::new(addresses),
            bound: RefCell::new(bound),
            listener: RefCell::default(),
            for_observers: RefCell::default(),
            failures: (failed, RefCell::new(failures)),
            faults: RefCell::default(),
        };
        Ok(QuorumPort { inner: Rc::new(inner) })
    }

    /// Serves the port: begins when called, inside a `LocalSet`, and goes on while the future is
    /// awaited. Ends only in trouble.
    ///
    /// # Errors
    /// When the configuration moved the port to where it cannot listen.
    pub fn run(&self, upcall: Rc<dyn Upcall>) -> impl Future<Output = StartError> + 'static {
        let inner = Rc::clone(&self.inner);
        inner.upcall.set(upcall).ok();
        if inner.listener.borrow().is_none() {
            inner.listen(inner.bound.take());
        }
        async move {
            tokio::select! {
                never = inner.reap() => match never {},
                never = inner.room.keep() => match never {},
                error = poll_fn(|cx| inner.failures.1.borrow_mut().poll_recv(cx)) => {
                    error.unwrap_or_else(|| unreachable!("the port itself holds a sender"))
                }
            }
        }
    }

    /// What this server is from now on. Calls under way are given up: they were another role's.
    pub fn set_state(&self, state: State) {
        let part = match state {
            State::Looking | State::Settling(_) => Part::Undecided,
            State::Leading => Part::Leading,
            State::Following(_) | State::Observing(_) => Part::Learning,
        };
        self.inner.set_part(part);
        let follows = matches!(state, State::Following(_));
        self.inner.serve_observers(follows);
    }

    /// The configuration changed. If our own quorum addresses are others now, the port moves there.
    /// Links stay.
    pub fn reconfigure(&self, membership: &Membership) {
        *self.inner.membership.borrow_mut() = membership.clone();
        let addresses = Port::Quorum.addresses_of(self.inner.settings.my_sid, membership);
        if !addresses.is_empty() && addresses != *self.inner.listening_at.borrow() {
            self.inner.move_to(addresses);
        }
    }

    /// Connects to a server's quorum port. Ends in [`Upcall::linked`] or [`Upcall::dial_failed`],
    /// unless another call or another role takes its place.
    pub fn dial(&self, sid: Sid) {
        self.inner.dial(sid, None);
    }

    /// Connects to where a server serves observers. Ends as [`QuorumPort::dial`] does.
    pub fn dial_observer_master(&self, sid: Sid) {
        self.inner.dial(sid, self.inner.settings.observer_master_port);
    }

    /// Adds a packet to what is to be sent. [`QuorumPort::flush`] sends it.
    pub fn send(&self, link: LinkId, packet: &Outgoing) {
        let Some(link) = self.inner.link(link) else { return };
        link.put(packet, self.inner.settings.pending_bytes_max);
        if !link.listed.replace(true) {
            self.inner.to_flush.borrow_mut().push(link);
        }
    }

    /// Sends everything, as far as the sockets take it; the rest follows when they take more.
    pub fn flush(&self) {
        for link in self.inner.to_flush.borrow_mut().drain(..) {
            link.flush();
        }
    }

    /// Hangs up once everything sent before is on its way, or after a second. Nothing is reported
    /// of this link any more.
    pub fn close(&self, link: LinkId, why: Why) {
        if let Some(link) = self.inner.forget(link) {
            debug!(link = link.id.0, peer = %link.peer, %why, "closing a quorum connection");
            link.close();
        }
    }

    /// Bytes of packets that were given to this link and not yet to the system.
    pub fn pending_bytes(&self, link: LinkId) -> usize {
        self.inner.link(link).map_or(0, |link| link.pending())
    }

    /// Has `then` called once no more than `bytes` wait to be sent on this link: the time to read
    /// more for it. Replaces what was to be called before; never called if the link ends. Calls
    /// come from a task of the port.
    pub fn when_below(&self, link: LinkId, bytes: usize, then: impl FnOnce() + 'static) {
        if let Some(link) = self.inner.link(link) {
            link.when_below(bytes, Box::new(then));
        }
    }

    /// The raw snapshot that follows a packet SNAP. Of a link that is gone, one that fails at once.
    pub fn receive_snapshot(&self, link: LinkId) -> Box<dyn SnapshotSource> {
        match self.inner.link(link) {
            Some(link) => link.receive_snapshot(),
            None => incoming::pipe().1,
        }
    }

    /// Where to put a raw snapshot that is to be sent now, before any packet sent later. Of a link
    /// that is gone, one that takes nothing.
    pub fn send_snapshot(&self, link: LinkId) -> SnapshotSink {
        match self.inner.link(link) {
            Some(link) => link.send_snapshot(),
            None => mpsc::channel(1).0,
        }
    }

    /// The names of peers that do not resolve.
    pub fn unresolved_names(&self) -> &UnresolvedNames {
        &self.inner.settings.unresolved
    }

    /// Who is at the other end.
    pub fn peer_addr(&self, link: LinkId) -> Option<SocketAddr> {
        self.inner.link(link).map(|link| link.peer)
    }

    /// Ends the port: nobody comes in any more, and the links are closed as by
    /// [`QuorumPort::close`], which is awaited.
    pub async fn end(&self) {
        let inner = &self.inner;
        inner.bound.take();
        if let Some(listener) = inner.listener.take() {
            listener.abort();
        }
        inner.serve_observers(false);
        inner.set_part(Part::Learning);
        for link in std::mem::take(&mut *inner.links.borrow_mut()).into_values() {
            link.close();
        }
        while inner.open.get() > 0 {
            inner.closed.notified().await;
        }
    }
}

/// Counts a link as open while its task lives, however that ends.
struct Open(Rc<Inner>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.open.set(self.0.open.get() - 1);
        self.0.closed.notify_one();
    }
}

impl Inner {
    fn upcall(&self) -> &dyn Upcall {
        &**self.upcall.get().expect("nothing happens before the port is run")
    }

    fn link(&self, link: LinkId) -> Option<Rc<Link>> {
        self.links.borrow().get(&link).cloned()
    }

    fn forget(&self, link: LinkId) -> Option<Rc<Link>> {
        self.links.borrow_mut().remove(&link)
    }

    fn spawn(&self, task: impl Future<Output = ()> + 'static) -> AbortHandle {
        let handle = self.tasks.borrow_mut().spawn_local(task);
        self.spawned.notify_one();
        handle
    }

    /// Lets go of tasks that have ended, and goes down with one that panicked: the core may have
    /// done so in it.
    async fn reap(&self) -> Infallible {
        loop {
            let reaped = poll_fn(|cx| {
                let mut tasks = self.tasks.borrow_mut();
                while let Poll::Ready(Some(ended)) = tasks.poll_join_next(cx) {
                    if let Err(error) = ended
                        && error.is_panic()
                    {
                        std::panic::resume_unwind(error.into_panic());
                    }
                }
                Poll::<()>::Pending
            });
            tokio::select! {
                () = reaped => {}
                () = self.spawned.notified() => {}
            }
        }
    }

    fn set_part(self: &Rc<Self>, part: Part) {
        if let Some(dialling) = self.dialling.take() {
            dialling.abort();
        }
        if self.part.replace(part) == part {
            return;
        }
        self.parts.set(self.parts.get() + 1);
        match part {
            Part::Undecided => {}
            Part::Leading => {
                for (stream, from) in self.room.empty() {
                    self.admit(stream, from, Origin::Accepted);
                }
            }
            Part::Learning => drop(self.room.empty()),
        }
    }

    /// Serves these sockets, until the task is aborted; they close with it.
    fn listen(self: &Rc<Self>, listeners: Vec<TcpListener>) {
        let port = Rc::clone(self);
        let task = tokio::task::spawn_local(async move { port.accept(listeners).await });
        *self.listener.borrow_mut() = Some(task);
    }

    async fn accept(self: Rc<Self>, listeners: Vec<TcpListener>) {
        let port = Rc::clone(&self);
        accept_all(listeners, move |stream, from| port.welcome(stream, from)).await;
    }

    /// Opens the observer master's port, or closes it (`ObserverMaster`).
    fn serve_observers(self: &Rc<Self>, follows: bool) {
        let Some(observers_port) = self.settings.observer_master_port else { return };
        let mut serving = self.for_observers.borrow_mut();
        if follows == serving.is_some() {
            return;
        }
        if let Some(before) = serving.take() {
            return before.abort();
        }
        let mut addresses = self.listening_at.borrow().clone();
        addresses.iter_mut().for_each(|address| address.port = observers_port);
        let port = Rc::clone(self);
        *serving = Some(tokio::task::spawn_local(async move {
            match listen::bind_all(&addresses, port.settings.listening()).await {
                Ok(listeners) => {
                    let door = Rc::clone(&port);
                    let welcome = move |stream, from| door.admit(stream, from, Origin::Observer);
                    accept_all(listeners, welcome).await;
                }
                // The ensemble does without: observers go to another follower, or to the leader.
                Err(error) => warn!(%error, "no observers are served"),
            }
        }));
    }

    fn move_to(self: &Rc<Self>, addresses: Vec<Address>) {
        *self.listening_at.borrow_mut() = addresses.clone();
        drop(self.bound.take());
        let (port, before) = (Rc::clone(self), self.listener.take());
        let task = tokio::task::spawn_local(async move {
            if let Some(before) = before {
                before.abort();
                let _ = before.await;
            }
            match listen::bind_all(&addresses, port.settings.listening()).await {
                Ok(listeners) => port.accept(listeners).await,
                Err(error) => drop(port.failures.0.send(error)),
            }
        });
        *self.listener.borrow_mut() = Some(task);
    }

    /// Somebody connected.
    fn welcome(self: &Rc<Self>, stream: TcpStream, from: SocketAddr) {
        match self.part.get() {
            Part::Leading => self.admit(stream, from, Origin::Accepted),
            Part::Undecided => self.room.enter(stream, from),
            Part::Learning => debug!(%from, "turned away: another server leads"),
        }
    }

    fn admit(self: &Rc<Self>, stream: TcpStream, from: SocketAddr, origin: Origin) {
        if self.open.get() >= self.settings.links_max {
            if let Some(before) = self.faults.borrow_mut().may_speak() {
                warn!(%from, before, "too many connections to the quorum port");
            }
            return;
        }
        let silent = |link: &&Rc<Link>| !link.heard.get() && link.origin.is_theirs();
        let links = self.links.borrow();
        let mut waiting = links.values().filter(silent);
        if waiting.clone().count() >= SILENT_MAX
            && let Some(oldest) = waiting.next()
        {
            oldest.cut(Fault::Silent);
        }
        drop(links);
        self.connect(stream, from, origin);
    }

    /// Makes a connection a link.
    fn connect(self: &Rc<Self>, stream: TcpStream, peer: SocketAddr, origin: Origin) {
        let id = LinkId(self.next_link.get());
        self.next_link.set(id.0 + 1);
        let (from, to) = stream.into_split();
        let link = Rc::new(Link::new(id, origin, peer, to));
        self.links.borrow_mut().insert(id, Rc::clone(&link));
        self.open.set(self.open.get() + 1);
        let (open, made_for) = (Open(Rc::clone(self)), self.parts.get());
        self.spawn(async move {
            let port = &open.0;
            if made_for == port.parts.get() {
                link.run(Rc::clone(port), from).await;
            } else {
                // Nobody has heard of it yet, and nobody wants it any more.
                port.forget(id);
            }
        });
    }

    /// `at`: another port than the quorum port.
    fn dial(self: &Rc<Self>, sid: Sid, at: Option<u16>) {
        let mut addresses = Vec::new();
        {
            let membership = self.membership.borrow();
            for server in membership.known().filter_map(|config| config.server(sid)) {
                for mut address in server.quorum_addresses() {
                    address.port = at.unwrap_or(address.port);
                    if !addresses.contains(&address) {
                        addresses.push(address);
                    }
                }
            }
        }
        let port = Rc::clone(self);
        let task = self.spawn(async move {
            let calling = port.call(addresses);
            let called = tokio::time::timeout(port.settings.connect_timeout, calling).await;
            match called.unwrap_or(Err(DialError::Unreachable)) {
                Ok((stream, peer)) => port.connect(stream, peer, Origin::Dialled(sid)),
                Err(error) => {
                    warn!(%sid, ?error, "cannot connect to the leader's quorum port");
                    port.upcall().dial_failed(sid);
                    port.upcall().turn();
                }
            }
        });
        if let Some(before) = self.dialling.replace(Some(task)) {
            before.abort();
        }
    }

    async fn call(&self, addresses: Vec<Address>) -> Result<(TcpStream, SocketAddr), DialError> {
        let keep_alive = self.settings.tcp_keep_alive;
        let stream = dial::dial(addresses, keep_alive, Rc::clone(&self.resolver)).await?;
        let peer = stream.peer_addr().map_err(|_| DialError::Unreachable)?;
        Ok((stream, peer))
    }
}

/// Accepts on all of these, until it is dropped.
async fn accept_all(
    listeners: Vec<TcpListener>,
    welcome: impl Fn(TcpStream, SocketAddr) + 'static,
) {
    type Door = Pin<Box<dyn Future<Output = ()>>>;
    let welcome = Rc::new(welcome);
    let door = |listener| -> Door {
        let welcome = Rc::clone(&welcome);
        Box::pin(listen::accept(listener, Port::Quorum, async move |stream, from| {
            welcome(stream, from);
            true
        }))
    };
    let mut doors: Vec<Door> = listeners.into_iter().map(door).collect();
    poll_fn(|cx| {
        for door in &mut doors {
            let _ = door.as_mut().poll(cx);
        }
        Poll::<()>::Pending
    })
    .await;
}
