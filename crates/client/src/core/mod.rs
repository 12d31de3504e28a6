//! A client as a value.
//!
//! [`Client`] keeps one session from its first handshake to its end. The host dials what it is told
//! to dial, carries bytes, and wakes it when [`Client::deadline_us`] has come; everything else is
//! decided here.
//!
//! ```text
//!             dial, handshake                       connection lost
//! Connecting ─────────────────► Connected ─────────────────────────────► Suspended
//!                                   ▲    same session, watches armed again    │
//!                                   └─────────────────────────────────────────┤
//!  Expired ◄── refused by a server, or out of touch for 4/3 of its timeout ───┘
//!  AuthFailed ◄── an identity was refused        Closed ◄── the user closed it
//! ```
//!
//! # What it promises
//! - **One outcome** for each request taken, and a true one: what never left is *not sent*, what
//!   left without an answer is *unknown*, and nothing is sent twice.
//! - **Order.** Requests leave in the order they were submitted; answers and events come out in the
//!   order in which the server sent them. On a new connection identities are proved first, then
//!   watches armed, then requests sent.
//! - **No silence.** A watcher registered by an answer is told of its event, or that it was lost.
//!   A persistent one is told of every gap.
//! - **Never back.** The newest zxid seen only grows; a server that is behind it is left.
//!
//! # Inputs and effects
//! Each connection has a [`LinkId`], so that late news of an old one is recognised and dropped.
//! After every call the host takes effects until there are none. Handing out [`Effect::Send`]
//! counts as sending. Times are microseconds on any clock; where it goes back, the client stands.
//! A host that was held up brings the bytes that have come before it says that time has passed.
//!
//! ```
//! use oxkeeper_client::core::{Call, Client, Config, ConnectString, Effect, Input, Watcher};
//! use oxkeeper_proto::Request;
//! use oxkeeper_proto::request::PathWatch;
//!
//! let connect = ConnectString::parse("zk1,zk2:2182/app")?;
//! let mut client = Client::new(Config::new(connect), 7);
//! let read = Request::GetData(PathWatch { path: "/config".into(), watch: true });
//! let ticket = client.submit(0, Call::watched(read, Watcher(1)))?;
//! client.handle(0, Input::Wake);
//! let Some(Effect::Dial(link, host)) = client.poll_effect() else { panic!("nothing to dial") };
//! println!("{ticket:?} waits for a connection to {}:{}", host.name, host.port);
//! // Resolve, connect, and then:
//! client.handle(1_500, Input::Connected(link));
//! assert!(matches!(client.poll_effect(), Some(Effect::Send(to, _)) if to == link));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Sources
//! `ClientCnxn`, `ZooKeeper`, `ZKWatchManager`, `StaticHostProvider`.

pub mod answer;
mod auth;
mod call;
mod chance;
mod chroot;
mod hosts;
pub mod limits;
mod link;
mod messages;
mod outcome;
mod pending;
mod reply;
mod session;
mod watches;

use std::collections::VecDeque;

use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::request::RequestHeader;
use oxkeeper_proto::{OpCode, SessionId, Zxid};

pub use answer::{Answer, Identity, OpAnswer, ReadAnswer};
pub use call::Call;
pub(crate) use chance::Chance;
pub use chroot::{Chroot, PathError, check_path};
pub use hosts::{Backoff, ConnectString, ConnectStringError, Host, PORT_DEFAULT};
pub use limits::Limits;
pub use messages::{Config, Effect, Input, LinkId, State};
pub(crate) use outcome::fate_of;
pub use outcome::{Cause, End, Fate, Outcome, Refused, Ticket, Unsent, Violation};
pub use session::Credentials;
pub use watches::{Loss, WatchEvent, WatchKind, Watcher};

use auth::Auth;
use hosts::Hosts;
use pending::{Asked, OnReply, Pending, Sent, Waiting, What};
use session::Session;
use watches::Watches;

/// Where the connection stands.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Phase {
    /// None; dial then.
    Waiting { until_us: u64 },
    /// Dialled, not connected.
    Dialing { link: LinkId, since_us: u64 },
    /// Connected, the handshake not answered.
    Greeting { link: LinkId, since_us: u64 },
    /// In use.
    Up { link: LinkId, sent_us: u64, pings: u32, ping_us: u64 },
    /// Nothing happens any more.
    Over,
}

impl Phase {
    fn link(self) -> Option<LinkId> {
        match self {
            Phase::Dialing { link, .. } | Phase::Greeting { link, .. } | Phase::Up { link, .. } => {
                Some(link)
            }
            Phase::Waiting { .. } | Phase::Over => None,
        }
    }

    fn is_up(self) -> bool {
        matches!(self, Phase::Up { .. })
    }
}

/// The search for a server that takes writes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Probing {
    next_us: u64,
    interval_us: u64,
    /// The question under way, and which host it went to.
    asked: Option<(LinkId, usize)>,
}

/// See the module's essay.
///
/// ```
/// # use oxkeeper_client::core::{Client, Config, ConnectString};
/// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
/// # use oxkeeper_client::core::{Effect, Input};
/// assert_eq!(client.poll_effect(), None, "nothing happens by itself");
/// client.handle(0, Input::Wake);
/// assert!(matches!(client.poll_effect(), Some(Effect::Dial(..))));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Client {
    limits: Limits,
    read_only: bool,
    expire_unheard: bool,
    close_timeout_us: u64,
    chroot: Chroot,
    hosts: Hosts,
    chance: Chance,
    now_us: u64,
    phase: Phase,
    state: State,
    session: Session,
    pending: Pending,
    watches: Watches,
    auth: Auth,
    probing: Option<Probing>,
    /// The user wants out, at the latest then.
    closing_until_us: Option<u64>,
    /// Bytes of a frame that is not whole yet.
    inbox: Vec<u8>,
    /// Bytes to send, gathered until the host asks.
    out: Vec<u8>,
    /// Requests in them.
    gathered: usize,
    effects: VecDeque<Effect>,
    next_link: u64,
    next_ticket: u64,
}

impl Client {
    /// A client that has done nothing yet: [`Input::Wake`] sets it going. The seed decides the
    /// order of hosts and the delays, nothing else.
    ///
    /// ```
    /// use oxkeeper_client::core::{Client, Config, ConnectString, Input};
    ///
    /// let config = Config::new(ConnectString::parse("zk1,zk2,zk3")?);
    /// let (mut one, mut other) = (Client::new(config.clone(), 7), Client::new(config, 7));
    /// one.handle(0, Input::Wake);
    /// other.handle(0, Input::Wake);
    /// assert_eq!(one.poll_effect(), other.poll_effect(), "the same seed, the same first host");
    /// # Ok::<(), oxkeeper_client::ConnectStringError>(())
    /// ```
    pub fn new(config: Config, seed: u64) -> Client {
        let mut chance = Chance::new(seed);
        let hosts = Hosts::new(config.connect.hosts().to_vec(), config.backoff, &mut chance);
        Client {
            limits: config.limits,
            read_only: config.read_only,
            expire_unheard: config.expire_unheard,
            close_timeout_us: config.close_timeout_ms.saturating_mul(1000),
            chroot: config.connect.chroot().clone(),
            hosts,
            chance,
            now_us: 0,
            phase: Phase::Waiting { until_us: 0 },
            state: State::Connecting,
            session: Session::new(config.session_timeout_ms, config.resume),
            pending: Pending::new(),
            watches: Watches::default(),
            auth: Auth::default(),
            probing: None,
            closing_until_us: None,
            inbox: Vec::new(),
            out: Vec::new(),
            gathered: 0,
            effects: VecDeque::new(),
            next_link: 0,
            next_ticket: 0,
        }
    }

    /// Takes an input.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::{Effect, Input, LinkId};
    /// client.handle(0, Input::Wake);
    /// assert!(matches!(client.poll_effect(), Some(Effect::Dial(LinkId(1), _))));
    /// client.handle(9, Input::Bytes(LinkId(77), b"of a connection long gone"));
    /// assert_eq!(client.poll_effect(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn handle(&mut self, now_us: u64, input: Input<'_>) {
        self.clock(now_us);
        match input {
            Input::Wake => self.wake(),
            Input::Connected(link) => self.connected(link),
            Input::Bytes(link, bytes) => self.bytes(link, bytes),
            Input::Disconnected(link) => {
                if self.phase.link() == Some(link) {
                    self.drop_link(Cause::Lost);
                }
            }
            Input::Probed(link, writable) => self.probed(link, writable),
            Input::Close => self.close(),
        }
    }

    /// Takes a request. It is sent at once, or when there is a connection; its end comes as
    /// [`Effect::Completed`]. A request that waits goes on waiting while dials fail, until the
    /// session ends or it is cancelled.
    ///
    /// # Errors
    /// It was refused here and did not happen.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::{Refused, PathError};
    /// use oxkeeper_proto::Request;
    ///
    /// assert!(client.submit(0, Request::GetAcl("/a".into()).into()).is_ok());
    /// let refused = client.submit(0, Request::GetAcl("a".into()).into());
    /// assert_eq!(refused, Err(Refused::Path(PathError::Relative)));
    /// assert_eq!(client.pending(), 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn submit(&mut self, now_us: u64, call: Call<'_>) -> Result<Ticket, Refused> {
        self.clock(now_us);
        self.check_open()?;
        if call.watcher.is_some()
            && self.watches.len() + self.pending.registering() >= self.limits.watches_max
        {
            return Err(Refused::Full("watches"));
        }
        let absolute = call.absolute;
        let ready = self.phase.is_up();
        let mut own = Vec::new();
        let frame = if ready { &mut self.out } else { &mut own };
        let start = frame.len();
        let (op, on_reply) = call.encode(&self.chroot, frame)?;
        let bytes = frame.len() - start;
        // The limit is on what stands behind the length.
        if let Err(refused) = self.pending.admit(&self.limits, bytes - 4) {
            frame.truncate(start);
            return Err(refused);
        }
        let asked = Asked { ticket: self.take_ticket(), op, absolute, on_reply };
        let ticket = asked.ticket;
        if ready {
            self.sent(start, bytes, asked);
        } else {
            self.pending.push_waiting(Waiting { asked, frame: own });
        }
        Ok(ticket)
    }

    /// Takes back a request that was not sent; it then completes as such. One that was sent cannot
    /// be taken back: its outcome comes as ever.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::{Effect, Outcome, Unsent};
    /// use oxkeeper_proto::Request;
    ///
    /// let ticket = client.submit(0, Request::GetAcl("/a".into()).into())?;
    /// assert!(client.cancel(ticket) && !client.cancel(ticket));
    /// let ended = Effect::Completed(ticket, Outcome::NotSent(Unsent::Cancelled));
    /// assert_eq!(client.poll_effect(), Some(ended));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn cancel(&mut self, ticket: Ticket) -> bool {
        let found = self.pending.cancel(ticket);
        if found {
            self.effects.push_back(Effect::Completed(ticket, Outcome::NotSent(Unsent::Cancelled)));
        }
        found
    }

    /// Adds an identity (`addAuthInfo`), proved now and on every later connection. Requests that
    /// are submitted after it are sent after it. The first answer completes the ticket; a refusal
    /// ends the session.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::Refused;
    /// client.add_auth(0, "digest", b"ann:secret")?;
    /// let huge = vec![b'x'; 2 << 20];
    /// assert!(matches!(client.add_auth(0, "digest", &huge), Err(Refused::TooLarge { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn add_auth(&mut self, now_us: u64, scheme: &str, proof: &[u8]) -> Result<Ticket, Refused> {
        self.clock(now_us);
        self.check_open()?;
        if self.auth.len() >= self.limits.auth_max {
            return Err(Refused::Full("identities"));
        }
        let bytes = scheme.len() + proof.len() + 20;
        if bytes > self.limits.request_bytes_max {
            return Err(Refused::TooLarge { bytes, max: self.limits.request_bytes_max });
        }
        let ticket = self.take_ticket();
        self.auth.add(scheme, proof, ticket);
        if let Phase::Up { sent_us, .. } = &mut self.phase {
            *sent_us = self.now_us;
            self.auth.send_last(&mut self.out);
        }
        Ok(ticket)
    }

    /// Takes a watcher out everywhere, at once and without asking the server: it is told nothing
    /// more, and its watches are not armed again after a reconnect.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::Watcher;
    /// client.forget(Watcher(1));
    /// assert_eq!(client.watches(), 0, "that it was not known is no harm");
    /// assert_eq!(client.poll_effect(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forget(&mut self, watcher: Watcher) {
        self.watches.forget(watcher);
    }

    /// Takes out all watchers at a path without asking the server, which may be out of reach; they
    /// are told so, and their watches are not armed again. `kind` is what removeWatches would name.
    /// Returns how many there were.
    ///
    /// # Errors
    /// If it is no path or no kind.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::Refused;
    /// use oxkeeper_proto::OpCode;
    ///
    /// const ANY: i32 = 3;
    /// assert_eq!(client.forget_at("/a", ANY), Ok(0), "nobody watches there");
    /// assert_eq!(client.forget_at("/a", 9), Err(Refused::Watcher(OpCode::REMOVE_WATCHES)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn forget_at(&mut self, path: &str, kind: i32) -> Result<usize, Refused> {
        check_path(path, false)?;
        let kinds = watches::kinds_of_removal(kind);
        let kinds = kinds.ok_or(Refused::Watcher(OpCode::REMOVE_WATCHES))?;
        let gone = self.watches.remove(kinds, &self.chroot.server_path(path.into()), None);
        for watcher in &gone {
            self.effects.push_back(Effect::Event(*watcher, WatchEvent::Lost(Loss::Removed)));
        }
        Ok(gone.len())
    }

    /// Takes a new list of servers, as after a reconfiguration (`ZooKeeper.updateServerList`); its
    /// chroot is not looked at. Some clients leave their server for another, so that all servers
    /// have as many.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::{Effect, Input};
    /// client.set_hosts(0, &ConnectString::parse("new:2182")?);
    /// client.handle(0, Input::Wake);
    /// let Some(Effect::Dial(_, host)) = client.poll_effect() else { panic!("a dial") };
    /// assert_eq!((host.name.as_str(), host.port), ("new", 2182));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn set_hosts(&mut self, now_us: u64, hosts: &ConnectString) {
        self.clock(now_us);
        let moves = self.hosts.replace(hosts.hosts().to_vec(), &mut self.chance);
        // A question under way is about a place in the old list.
        if let Some(probing) = &mut self.probing {
            probing.asked = None;
        }
        if moves && self.phase.link().is_some() && self.closing_until_us.is_none() {
            self.drop_link(Cause::Rebalanced);
        }
    }

    /// The next thing to do.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::Input;
    /// client.handle(0, Input::Wake);
    /// let todo = std::iter::from_fn(|| client.poll_effect());
    /// assert_eq!(todo.count(), 1, "a dial");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn poll_effect(&mut self) -> Option<Effect> {
        if self.effects.is_empty() {
            self.flush();
        }
        self.effects.pop_front()
    }

    /// When to wake the client at the latest, µs; `None` once it is over.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::Input;
    /// assert_eq!(client.deadline_us(), Some(0), "it wants to begin");
    /// client.handle(0, Input::Wake);
    /// assert!(client.deadline_us() > Some(0), "a dial may not take for ever");
    /// client.handle(0, Input::Close);
    /// assert_eq!(client.deadline_us(), None);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn deadline_us(&self) -> Option<u64> {
        let timing = self.session.timing(self.hosts.len());
        let mut deadline = match self.phase {
            Phase::Over => return None,
            Phase::Waiting { until_us } => until_us,
            Phase::Dialing { since_us, .. } | Phase::Greeting { since_us, .. } => {
                since_us.saturating_add(timing.connect_us)
            }
            Phase::Up { sent_us, .. } => {
                (self.session.heard_us + timing.read_us).min(sent_us + timing.ping_us)
            }
        };
        deadline = deadline.min(self.unheard_until_us().unwrap_or(u64::MAX));
        deadline = deadline.min(self.closing_until_us.unwrap_or(u64::MAX));
        deadline = deadline.min(self.probing.map_or(u64::MAX, |probing| probing.next_us));
        Some(deadline)
    }

    /// The session's state.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::{Input, State};
    /// client.handle(0, Input::Wake);
    /// assert_eq!(client.state(), State::Connecting, "dialling");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn state(&self) -> State {
        self.state
    }

    /// What another client needs to go on with this session; `None` before there is one that other
    /// servers know, and after its end.
    ///
    /// ```
    /// use oxkeeper_client::core::{Client, Config, ConnectString, Credentials};
    /// use oxkeeper_client::{SessionId, Zxid};
    ///
    /// let known = Credentials { session: SessionId(5), password: [7; 16], last_zxid: Zxid(9) };
    /// let config = Config::new(ConnectString::parse("zk1")?);
    /// assert_eq!(Client::new(config.clone(), 7).credentials(), None);
    /// let resumed = Client::new(Config { resume: Some(known), ..config }, 7);
    /// assert_eq!(resumed.credentials(), Some(known));
    /// # Ok::<(), oxkeeper_client::ConnectStringError>(())
    /// ```
    pub fn credentials(&self) -> Option<Credentials> {
        let alive = !matches!(self.phase, Phase::Over) && self.session.writable_seen;
        (alive && self.session.id != SessionId::NONE).then_some(Credentials {
            session: self.session.id,
            password: self.session.password,
            last_zxid: self.session.last_zxid,
        })
    }

    /// The newest zxid seen.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// use oxkeeper_client::Zxid;
    ///
    /// assert_eq!(client.last_zxid(), Zxid::ZERO, "nothing was seen yet");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn last_zxid(&self) -> Zxid {
        self.session.last_zxid
    }

    /// Requests under way, sent or waiting.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// use oxkeeper_proto::Request;
    ///
    /// client.submit(0, Request::WhoAmI.into())?;
    /// client.submit(0, Request::WhoAmI.into())?;
    /// assert_eq!(client.pending(), 2);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn pending(&self) -> usize {
        self.pending.sent.len() + self.pending.waiting.len()
    }

    /// Of these, how many wait in the bytes that the next [`Effect::Send`] will bear. A server
    /// could be working on them while more are asked.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// use oxkeeper_proto::Request;
    ///
    /// client.submit(0, Request::WhoAmI.into())?;
    /// assert_eq!(client.gathered(), 0, "it waits for a connection, not to be sent");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn gathered(&self) -> usize {
        self.gathered
    }

    /// Registered watches, counted per watcher and path.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::{Call, Watcher};
    /// use oxkeeper_proto::{Request, request::PathWatch};
    ///
    /// let read = Request::Exists(PathWatch { path: "/a".into(), watch: true });
    /// client.submit(0, Call::watched(read, Watcher(1)))?;
    /// assert_eq!(client.watches(), 0, "the server has not said that it is armed");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watches(&self) -> usize {
        self.watches.len()
    }

    /// The subtree that this client sees.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// assert_eq!(client.chroot().path(), "/app");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn chroot(&self) -> &Chroot {
        &self.chroot
    }

    fn clock(&mut self, now_us: u64) {
        self.now_us = self.now_us.max(now_us);
    }

    fn check_open(&self) -> Result<(), Refused> {
        let over = matches!(self.phase, Phase::Over) || self.closing_until_us.is_some();
        if over { Err(Refused::Over) } else { Ok(()) }
    }

    fn take_ticket(&mut self) -> Ticket {
        self.next_ticket += 1;
        Ticket(self.next_ticket)
    }

    /// A frame at `start` of the outgoing bytes counts as sent: fills in what was left open.
    /// Inlined with what it calls, or what was put together just now is copied as often as it is
    /// passed on.
    #[inline(always)]
    fn sent(&mut self, start: usize, bytes: usize, mut asked: Asked) {
        let xid = self.pending.take_xid();
        asked.op = self.op_to_send(&asked);
        let frame = &mut self.out[start..start + bytes];
        oxkeeper_proto::codec::patch_int(frame, 4, xid);
        oxkeeper_proto::codec::patch_int(frame, 8, asked.op.0);
        self.push_sent(xid, bytes, What::User(asked));
    }

    #[inline(always)]
    fn push_sent(&mut self, xid: i32, bytes: usize, what: What) {
        if let Phase::Up { sent_us, .. } = &mut self.phase {
            *sent_us = self.now_us;
        }
        self.gathered += 1;
        self.pending.push_sent(Sent { xid, sent_us: self.now_us, bytes, what });
    }

    /// The server has one watch for all watchers of a path and kind. One watcher of several is
    /// removed here alone, and the server is only asked whether it agrees that there is a watch
    /// (`ZooKeeper.removeWatches` does so always, and leaves the last one armed there).
    fn op_to_send(&self, asked: &Asked) -> OpCode {
        match &asked.on_reply {
            OnReply::Remove { which: Some(watcher), path, kinds }
                if self.watches.shared(kinds, path, *watcher)
                    || self.pending.registers_at(path) =>
            {
                OpCode::CHECK_WATCHES
            }
            _ => asked.op,
        }
    }

    /// Appends a request of the client's own, with an empty body or an encoded one.
    fn send_own(&mut self, xid: i32, op: OpCode, body: &[u8]) -> usize {
        let start = begin_frame(&mut self.out);
        RequestHeader { xid, op }.encode(&mut self.out);
        self.out.extend_from_slice(body);
        end_frame(&mut self.out, start);
        self.out.len() - start + 4
    }

    /// Turns gathered bytes into an effect, before one that must come behind them.
    fn flush(&mut self) {
        if let (false, Some(link)) = (self.out.is_empty(), self.phase.link()) {
            self.gathered = 0;
            self.effects.push_back(Effect::Send(link, std::mem::take(&mut self.out)));
        }
    }

    fn set_state(&mut self, state: State) {
        self.state = state;
        self.effects.push_back(Effect::State(state));
    }

    fn close(&mut self) {
        if self.check_open().is_err() {
            return;
        }
        while let Some(waiting) = self.pending.pop_waiting() {
            let outcome = Outcome::NotSent(Unsent::Over(End::Closed));
            self.effects.push_back(Effect::Completed(waiting.asked.ticket, outcome));
        }
        self.closing_until_us = Some(self.now_us.saturating_add(self.close_timeout_us));
        match self.phase {
            Phase::Up { .. } => self.send_close(),
            // A session may come of it, to be closed then.
            Phase::Greeting { .. } => {}
            Phase::Waiting { .. } | Phase::Dialing { .. } | Phase::Over => {
                if self.session.asked() == SessionId::NONE {
                    self.end(End::Closed, true);
                }
            }
        }
    }

    fn send_close(&mut self) {
        let xid = self.pending.take_xid();
        let bytes = self.send_own(xid, OpCode::CLOSE_SESSION, &[]);
        self.push_sent(xid, bytes, What::CloseSession);
    }

    /// The session is over: everything that waits is told so.
    fn end(&mut self, end: End, confirmed: bool) {
        let cause = Cause::Ended(end);
        self.hang_up(cause);
        while let Some(waiting) = self.pending.pop_waiting() {
            let outcome = Outcome::NotSent(Unsent::Over(end));
            self.effects.push_back(Effect::Completed(waiting.asked.ticket, outcome));
        }
        for (ticket, sent) in self.auth.drain() {
            let unsent = Outcome::NotSent(Unsent::Over(end));
            let outcome = if sent { Outcome::Unknown(cause) } else { unsent };
            self.effects.push_back(Effect::Completed(ticket, outcome));
        }
        for watcher in self.watches.drain() {
            self.effects.push_back(Effect::Event(watcher, WatchEvent::Lost(Loss::Session(end))));
        }
        self.probing = None;
        self.phase = Phase::Over;
        self.set_state(match end {
            End::Expired => State::Expired,
            End::AuthFailed => State::AuthFailed,
            End::Closed => State::Closed { confirmed },
        });
    }
}
