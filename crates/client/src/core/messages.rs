//! What goes into a client and what comes out of it.
//!
//! A host makes a [`Config`], says what happens as [`Input`]s, and does what comes back as
//! [`Effect`]s, in their order. [`State`] is what a user sees of the session meanwhile.

use oxkeeper_proto::SessionId;

use super::{
    Backoff, Cause, ConnectString, Credentials, Host, Limits, Outcome, Ticket, WatchEvent, Watcher,
};

/// What a client is told once.
///
/// ```
/// use oxkeeper_client::core::{Config, ConnectString};
///
/// let defaults = Config::new(ConnectString::parse("zk1")?);
/// let config = Config { session_timeout_ms: 10_000, ..defaults };
/// assert!(config.resume.is_none() && !config.read_only);
/// # Ok::<(), oxkeeper_client::ConnectStringError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Config {
    /// The servers, and the chroot under which the client sees the tree.
    pub connect: ConnectString,
    /// The session timeout asked for, ms; the server grants what its own bounds allow.
    pub session_timeout_ms: i32,
    /// Whether a server that takes no writes will do for as long as no other is found.
    pub read_only: bool,
    /// A session to go on with.
    pub resume: Option<Credentials>,
    /// Delays before dials.
    pub backoff: Backoff,
    /// How long [`Input::Close`] may take, ms.
    pub close_timeout_ms: u64,
    /// Whether a session counts as expired, without a server's word, after 4/3 of its timeout out
    /// of touch. Java does so since 3.9.3; before, and with `false`, the client goes on trying. An
    /// ensemble that was down as a whole brings its sessions back.
    pub expire_unheard: bool,
    /// Bounds.
    pub limits: Limits,
}

impl Config {
    /// Defaults for these servers.
    ///
    /// ```
    /// use oxkeeper_client::core::{Config, ConnectString};
    ///
    /// let config = Config::new(ConnectString::parse("zk1")?);
    /// assert_eq!((config.session_timeout_ms, config.expire_unheard), (30_000, true));
    /// # Ok::<(), oxkeeper_client::ConnectStringError>(())
    /// ```
    pub fn new(connect: ConnectString) -> Config {
        Config {
            connect,
            session_timeout_ms: 30_000,
            read_only: false,
            resume: None,
            backoff: Backoff::default(),
            close_timeout_ms: 5_000,
            expire_unheard: true,
            limits: Limits::default(),
        }
    }
}

/// One connection of one client.
///
/// ```
/// # use oxkeeper_client::core::{Client, Config, ConnectString};
/// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
/// # use oxkeeper_client::core::{Effect, Input};
/// client.handle(0, Input::Wake);
/// let Some(Effect::Dial(first, _)) = client.poll_effect() else { panic!("a dial") };
/// client.handle(5, Input::Disconnected(first));
/// client.handle(10_000_000, Input::Wake);
/// let dials = std::iter::from_fn(|| client.poll_effect());
/// for effect in dials {
///     assert!(!matches!(effect, Effect::Dial(link, _) if link <= first), "each has its own");
/// }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// What happens to a client.
///
/// ```
/// # use oxkeeper_client::core::{Client, Config, ConnectString};
/// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
/// # use oxkeeper_client::core::{Input, State};
/// client.handle(0, Input::Wake);
/// client.handle(0, Input::Close);
/// assert_eq!(client.state(), State::Closed { confirmed: true }, "there was no session");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub enum Input<'a> {
    /// The deadline has come, or the host has just begun.
    Wake,
    /// A dial led to a connection.
    Connected(LinkId),
    /// Bytes came in.
    Bytes(LinkId, &'a [u8]),
    /// A dial failed, or the connection ended.
    Disconnected(LinkId),
    /// The answer to [`Effect::Probe`]: whether that server takes writes.
    Probed(LinkId, bool),
    /// End the session. What waits for a connection is not sent any more, what was sent is still
    /// awaited, within the bound of [`Config::close_timeout_ms`].
    Close,
}

/// What the host has to do, in this order.
///
/// ```
/// # use oxkeeper_client::core::{Client, Config, ConnectString};
/// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
/// # use oxkeeper_client::core::{Effect, Input};
/// client.handle(0, Input::Wake);
/// let Some(Effect::Dial(link, host)) = client.poll_effect() else { panic!("a dial") };
/// assert!(["zk1", "zk2"].contains(&host.name.as_str()));
/// client.handle(1, Input::Connected(link));
/// assert!(matches!(client.poll_effect(), Some(Effect::Send(to, _)) if to == link));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    /// Resolve the name, connect, and say [`Input::Connected`] or [`Input::Disconnected`].
    Dial(LinkId, Host),
    /// Ask this server `isro` on a connection of its own and say [`Input::Probed`].
    Probe(LinkId, Host),
    /// Send these bytes.
    Send(LinkId, Vec<u8>),
    /// Drop this connection or dial. Nothing more is expected of it.
    Close(LinkId, Cause),
    /// A request ended.
    Completed(Ticket, Outcome),
    /// A watcher is told something.
    Event(Watcher, WatchEvent),
    /// The session's state changed.
    State(State),
}

/// The state of the session as its user sees it.
///
/// ```
/// # use oxkeeper_client::core::{Client, Config, ConnectString};
/// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
/// # use oxkeeper_client::core::{Input, State};
/// assert_eq!(client.state(), State::Connecting);
/// client.handle(0, Input::Close);
/// assert!(matches!(client.state(), State::Closed { .. }));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// No server has granted a session yet.
    Connecting,
    /// In touch with a server.
    Connected {
        /// The session.
        session: SessionId,
        /// Its timeout, ms.
        timeout_ms: i32,
        /// This server takes no writes; a session that began on one is not known to others.
        read_only: bool,
    },
    /// Out of touch.
    Suspended {
        /// Until then the server keeps the session. It may keep it longer, as it may have heard
        /// more of us than we know.
        until_us: u64,
        /// Why the connection was lost.
        cause: Cause,
    },
    /// The session is gone, and its ephemerals with it.
    Expired,
    /// A server refused an identity.
    AuthFailed,
    /// The user ended it.
    Closed {
        /// A server confirmed it, or there was no session. Otherwise it ends by its timeout.
        confirmed: bool,
    },
}
