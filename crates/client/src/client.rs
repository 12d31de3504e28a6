//! Handles to a session, and how one begins.
//!
//! A [`Client`] is two words: the session, and the namespace that this handle sees. Whatever it
//! does ends in one place, `submit_with`, which puts a request into the session and returns the
//! future of its answer. The session lives as long as a handle does; futures, streams and the task
//! that carries its bytes share the session's insides and do not keep it alive.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use oxkeeper_proto::{OpCode, Request, SessionId, Zxid};

use crate::core::{
    Backoff, Call, Chroot, Config, ConnectString, Credentials, Limits, PathError, check_path,
};
use crate::driver::{Connector, Registration, Shared, Tcp};
use crate::ensemble;
use crate::error::{Error, ErrorKind};
use crate::reply::{Asked, Read, Reply};
use crate::state::{State, StateStream};
use crate::watch::Held;

/// A session with an ensemble, or a handle to one: clones share it.
///
/// Every operation is a builder: set what differs from the default, then `.await` it. `.send()`
/// submits it at once and returns the future of its answer, for several under way at a time. The
/// session's requests are executed in the order in which they were submitted.
///
/// The session ends with [`Client::close`], or in the background when the last handle is dropped.
/// Futures and streams are no handles.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// let other = zk.clone();
/// zk.create("/client", b"one session").await?;
/// assert_eq!(other.get("/client").await?.text()?, "one session");
/// assert_eq!(zk.session_id(), other.session_id());
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
pub struct Client {
    session: Arc<Handle>,
    /// The namespace.
    root: Chroot,
}

/// Ends the session with the last one who holds it.
struct Handle {
    shared: Arc<Shared>,
    chroot: Chroot,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl Client {
    /// Connects with everything at its default and waits for the session:
    /// `host[:port][,host[:port]…][/chroot]`.
    ///
    /// # Errors
    /// If the connect string cannot be used, or no server was reached within the session timeout.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// use oxkeeper_client::Client;
    ///
    /// let zk = Client::connect(&servers).await?;
    /// assert!(zk.state().is_connected());
    /// assert!(Client::connect("no port:x").await.is_err());
    /// # Ok(())
    /// # });
    /// ```
    pub async fn connect(hosts: &str) -> Result<Client, Error> {
        Client::builder(hosts).connect().await
    }

    /// A session to be begun, with these servers and perhaps a chroot.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// use oxkeeper_client::Client;
    /// use std::time::Duration;
    ///
    /// let timeout = Duration::from_secs(10);
    /// let zk = Client::builder(&servers).session_timeout(timeout).connect().await?;
    /// assert!(zk.session_id().is_some());
    /// # Ok(())
    /// # });
    /// ```
    pub fn builder(hosts: &str) -> Builder {
        Builder::new(hosts)
    }

    /// The session's state now.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// assert!(zk.state().is_connected());
    /// zk.close().await;
    /// assert!(zk.state().is_over());
    /// # Ok(())
    /// # });
    /// ```
    pub fn state(&self) -> State {
        self.session.shared.state()
    }

    /// The session's states, from the one of now on.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::State;
    ///
    /// let mut states = zk.states();
    /// assert!(matches!(states.next().await, Some(State::Connected { .. })));
    /// zk.close().await;
    /// assert_eq!(states.next().await, Some(State::Closed { confirmed: true }));
    /// assert_eq!(states.next().await, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn states(&self) -> StateStream {
        StateStream::new(&self.session.shared)
    }

    /// The session's id, once there is one and while there is.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/who", b"").ephemeral().await?;
    /// let owner = zk.get("/who").await?.stat.ephemeral_owner;
    /// assert_eq!(zk.session_id(), Some(owner));
    /// # Ok(())
    /// # });
    /// ```
    pub fn session_id(&self) -> Option<SessionId> {
        match self.state() {
            State::Connected { session, .. } => Some(session),
            _ => self.credentials().map(|credentials| credentials.session),
        }
    }

    /// What another client needs to go on with this session ([`Builder::resume`]).
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let credentials = zk.credentials().expect("there is a session");
    /// assert_eq!(Some(credentials.session), zk.session_id());
    /// zk.close().await;
    /// assert_eq!(zk.credentials(), None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn credentials(&self) -> Option<Credentials> {
        self.session.shared.credentials()
    }

    /// The newest transaction that this session has seen.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let before = zk.last_zxid();
    /// zk.create("/moves-on", b"").await?;
    /// assert!(zk.last_zxid() > before);
    /// # Ok(())
    /// # });
    /// ```
    pub fn last_zxid(&self) -> Zxid {
        self.session.shared.last_zxid()
    }

    /// The chroot of the connect string; empty for the whole tree.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::Client;
    /// let zk = Client::connect(&format!("{servers}/team")).await?;
    /// assert_eq!(zk.chroot(), "/team");
    /// assert_eq!(Client::connect(&servers).await?.chroot(), "");
    /// # Ok(())
    /// # });
    /// ```
    pub fn chroot(&self) -> &str {
        self.session.chroot.path()
    }

    /// A handle to the same session whose paths begin at `path`. Paths of answers and events are
    /// told accordingly. Namespaces nest. The znode at `path` is not created.
    ///
    /// # Errors
    /// If it is no path.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let team = zk.namespace("/team-a")?;
    /// team.create("/jobs", b"3").parents().await?;
    /// assert_eq!(zk.get("/team-a/jobs").await?.text()?, "3");
    /// assert!(zk.namespace("no path").is_err());
    /// # Ok(())
    /// # });
    /// ```
    pub fn namespace(&self, path: &str) -> Result<Client, Error> {
        let root = self.full(path, false).and_then(|path| Chroot::new(&path));
        let root = root.map_err(|error| Error::new(error.into(), None, path))?;
        Ok(Client { session: Arc::clone(&self.session), root })
    }

    /// The path at which this handle's tree begins, below the chroot; empty for all of it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let inner = zk.namespace("/a")?.namespace("/b")?;
    /// assert_eq!((zk.root(), inner.root()), ("", "/a/b"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn root(&self) -> &str {
        self.root.path()
    }

    /// Takes a new list of servers. Some clients leave their server for another, so that all
    /// servers have as many (`ZooKeeper.updateServerList`).
    ///
    /// # Errors
    /// If it is no list of servers. A chroot in it is not looked at.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.set_hosts(&servers)?;
    /// assert!(zk.set_hosts("").is_err(), "no list leaves the old one");
    /// assert!(zk.state().is_connected(), "its server is still in the list");
    /// # Ok(())
    /// # });
    /// ```
    pub fn set_hosts(&self, hosts: &str) -> Result<(), Error> {
        self.session.shared.set_hosts(&ConnectString::parse(hosts)?);
        Ok(())
    }

    /// Ends the session and its ephemeral znodes. What was sent is still answered, what was not is
    /// not sent any more. Tells whether a server confirmed it; otherwise the session ends by its
    /// timeout.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let other = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/while-i-live", b"").ephemeral().await?;
    /// assert!(zk.close().await);
    /// assert_eq!(other.exists("/while-i-live").await?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub async fn close(&self) -> bool {
        let mut states = self.states();
        self.session.shared.close();
        let mut last = None;
        while let Some(state) = states.next().await {
            last = Some(state);
        }
        match last {
            Some(State::Closed { confirmed }) => confirmed,
            // There is none any more.
            _ => true,
        }
    }

    /// The same session without the namespace.
    pub(crate) fn whole(&self) -> Client {
        Client { session: Arc::clone(&self.session), root: Chroot::default() }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.session.shared
    }

    /// The path below the chroot of what this handle calls `path`.
    pub(crate) fn full<'a>(
        &self,
        path: &'a str,
        sequential: bool,
    ) -> Result<Cow<'a, str>, PathError> {
        if self.root.path().is_empty() {
            // The core looks at it.
            return Ok(path.into());
        }
        check_path(path, sequential)?;
        Ok(self.root.server_path(path.into()))
    }

    /// Submits a request about `path`, its own name for it. `request` gets the full path.
    pub(crate) fn ask<'a, T>(
        &self,
        path: &'a str,
        request: impl FnOnce(Cow<'a, str>) -> Request<'a>,
        read: Read<T>,
    ) -> Reply<T> {
        match self.full(path, false) {
            Ok(full) => self.submit(request(full).into(), path, read),
            Err(error) => self.refused(error.into(), OpCode::EXISTS, path, read),
        }
    }

    /// The same with a watch that fires once.
    pub(crate) fn ask_watched<'a, T>(
        &self,
        path: &'a str,
        request: impl FnOnce(Cow<'a, str>) -> Request<'a>,
        read: Read<T>,
    ) -> Reply<T> {
        match self.full(path, false) {
            Ok(full) => {
                let mut registration = Registration::new(None);
                let call = request(full).into();
                self.submit_with(call, path, read, Some(&mut registration), |held| held)
            }
            Err(error) => self.refused(error.into(), OpCode::EXISTS, path, read),
        }
    }

    pub(crate) fn submit<T>(&self, call: Call<'_>, path: &str, read: Read<T>) -> Reply<T> {
        self.submit_with(call, path, read, None, |held| held)
    }

    pub(crate) fn submit_with<T>(
        &self,
        call: Call<'_>,
        path: &str,
        read: Read<T>,
        mut registration: Option<&mut Registration>,
        held: impl FnOnce(Held) -> Held,
    ) -> Reply<T> {
        let op = call.request.op();
        let shared = self.shared();
        let slot = shared.submit(call, registration.as_deref_mut());
        let watch = match (&slot, registration) {
            (Ok(_), Some(registration)) => {
                Some(Box::new(held(Held::new(shared, registration.watcher, &self.root))))
            }
            _ => None,
        };
        let asked = Asked { root: self.root.clone(), watch };
        let slot = slot.map(|slot| (Arc::clone(shared), slot)).map_err(ErrorKind::Refused);
        Reply::new(slot, op, path, asked, read)
    }

    /// The future of a request that is not even tried.
    pub(crate) fn refused<T>(
        &self,
        kind: ErrorKind,
        op: OpCode,
        path: &str,
        read: Read<T>,
    ) -> Reply<T> {
        Reply::known(Err(kind), op, path, read)
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client")
            .field("state", &self.state())
            .field("root", &self.root.path())
            .finish()
    }
}

/// A session to be begun.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// use oxkeeper_client::Client;
///
/// let builder = Client::builder(&servers).auth("digest", "ann:secret").namespace("/app");
/// assert!(!format!("{builder:?}").contains("secret"), "it may be logged");
/// let zk = builder.connect().await?;
/// assert_eq!(zk.root(), "/app");
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
#[must_use = "a session begins with connect() or start()"]
pub struct Builder {
    hosts: String,
    session_timeout: Duration,
    connect_within: Option<Duration>,
    read_only: bool,
    auth: Vec<(String, Vec<u8>)>,
    resume: Option<Credentials>,
    namespace: String,
    backoff: Backoff,
    limits: Limits,
    expire_unheard: bool,
    close_timeout: Duration,
    follow_ensemble: bool,
    connector: Arc<dyn Connector>,
}

impl Builder {
    fn new(hosts: &str) -> Builder {
        Builder {
            hosts: hosts.to_owned(),
            session_timeout: Duration::from_secs(30),
            connect_within: None,
            read_only: false,
            auth: Vec::new(),
            resume: None,
            namespace: String::new(),
            backoff: Backoff::default(),
            limits: Limits::default(),
            expire_unheard: true,
            close_timeout: Duration::from_secs(5),
            follow_ensemble: false,
            connector: Arc::new(Tcp),
        }
    }

    /// How long the ensemble keeps the session without hearing of us, and with it our ephemeral
    /// znodes. The server grants what its own bounds allow. 30 s.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::{Client, State};
    /// use std::time::Duration;
    ///
    /// let asked = Duration::from_secs(20);
    /// let zk = Client::builder(&servers).session_timeout(asked).connect().await?;
    /// assert!(matches!(zk.state(), State::Connected { timeout, .. } if timeout == asked));
    /// # Ok(())
    /// # });
    /// ```
    pub fn session_timeout(self, session_timeout: Duration) -> Builder {
        Builder { session_timeout, ..self }
    }

    /// How long [`Builder::connect`] waits for the first session. The session timeout.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |_| {
    /// use oxkeeper_client::{Client, ErrorKind};
    /// use std::time::Duration;
    ///
    /// // Nobody listens there.
    /// let refused = Client::builder("127.0.0.1:1").connect_within(Duration::from_millis(50));
    /// let error = refused.connect().await.expect_err("no server");
    /// assert!(matches!(error.kind(), ErrorKind::Unreachable(_)));
    /// # Ok(())
    /// # });
    /// ```
    pub fn connect_within(self, time: Duration) -> Builder {
        Builder { connect_within: Some(time), ..self }
    }

    /// Whether a server that takes no writes, because it has lost its quorum, will do until
    /// another is found. No.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::{Client, State};
    /// let zk = Client::builder(&servers).read_only(true).connect().await?;
    /// // A server that takes writes is as welcome.
    /// assert!(matches!(zk.state(), State::Connected { read_only: false, .. }));
    /// # Ok(())
    /// # });
    /// ```
    pub fn read_only(self, read_only: bool) -> Builder {
        Builder { read_only, ..self }
    }

    /// An identity, proved on every connection before anything else is sent. For `digest` the
    /// proof is `user:password`. A refusal ends the session.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::Client;
    /// let zk = Client::builder(&servers).auth("digest", "ann:secret").connect().await?;
    /// let identities = zk.whoami().await?;
    /// assert!(identities.iter().any(|identity| identity.scheme == "digest"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn auth(mut self, scheme: &str, proof: impl AsRef<[u8]>) -> Builder {
        self.auth.push((scheme.to_owned(), proof.as_ref().to_owned()));
        self
    }

    /// Goes on with a session that another client began.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// # use oxkeeper_client::Client;
    /// let credentials = zk.credentials().expect("there is a session");
    /// let next = Client::builder(&servers).resume(credentials).connect().await?;
    /// assert_eq!(next.session_id(), Some(credentials.session));
    /// # Ok(())
    /// # });
    /// ```
    pub fn resume(self, credentials: Credentials) -> Builder {
        Builder { resume: Some(credentials), ..self }
    }

    /// Where the handle's paths begin; see [`Client::namespace`].
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::Client;
    /// let zk = Client::builder(&servers).namespace("/team-b").connect().await?;
    /// let created = zk.create("/job", b"").parents().await?;
    /// assert_eq!(created.path, "/job", "told as this handle names it");
    /// # Ok(())
    /// # });
    /// ```
    pub fn namespace(self, path: &str) -> Builder {
        Builder { namespace: path.to_owned(), ..self }
    }

    /// Delays before dials.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::Client;
    /// use oxkeeper_client::Backoff;
    ///
    /// let patient = Backoff { first_ms: 500, max_ms: 10_000 };
    /// let zk = Client::builder(&servers).backoff(patient).connect().await?;
    /// assert!(zk.state().is_connected(), "the first dial waits for nothing");
    /// # Ok(())
    /// # });
    /// ```
    pub fn backoff(self, backoff: Backoff) -> Builder {
        Builder { backoff, ..self }
    }

    /// Bounds on memory.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::Client;
    /// use oxkeeper_client::{Fate, Limits};
    ///
    /// let limits = Limits { request_bytes_max: 100, ..Limits::default() };
    /// let zk = Client::builder(&servers).limits(limits).connect().await?;
    /// let error = zk.create("/large", &[0; 100]).await.expect_err("it is too large");
    /// assert_eq!(error.fate(), Fate::DidNotHappen);
    /// # Ok(())
    /// # });
    /// ```
    pub fn limits(self, limits: Limits) -> Builder {
        Builder { limits, ..self }
    }

    /// Whether a session counts as expired, without a server's word, after 4/3 of its timeout out
    /// of touch. Otherwise only a server's word ends it. Yes, as with ZooKeeper since 3.9.3.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::Client;
    /// // An ensemble that was down as a whole brings its sessions back: wait for its word.
    /// let zk = Client::builder(&servers).expire_unheard(false).connect().await?;
    /// assert!(!zk.state().is_over());
    /// # Ok(())
    /// # });
    /// ```
    pub fn expire_unheard(self, expire_unheard: bool) -> Builder {
        Builder { expire_unheard, ..self }
    }

    /// How long a close waits for a server. 5 s.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::Client;
    /// use std::time::Duration;
    ///
    /// let zk = Client::builder(&servers).close_timeout(Duration::from_secs(30)).connect().await?;
    /// assert!(zk.close().await, "a server has confirmed it");
    /// # Ok(())
    /// # });
    /// ```
    pub fn close_timeout(self, close_timeout: Duration) -> Builder {
        Builder { close_timeout, ..self }
    }

    /// Whether the list of servers follows the ensemble's membership (`/zookeeper/config`) as it
    /// changes. Only members that say where clients find them count. No.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::Client;
    /// let zk = Client::builder(&servers).follow_ensemble(true).connect().await?;
    /// // Members that do not say where clients find them leave the list as it is.
    /// assert!(zk.exists("/zookeeper").await?.is_some());
    /// # Ok(())
    /// # });
    /// ```
    pub fn follow_ensemble(self, follow_ensemble: bool) -> Builder {
        Builder { follow_ensemble, ..self }
    }

    /// Who makes the connections. Plain TCP.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// use oxkeeper_client::{Client, Tcp};
    ///
    /// let zk = Client::builder(&servers).connector(Tcp).connect().await?;
    /// assert!(zk.state().is_connected());
    /// # Ok(())
    /// # });
    /// ```
    pub fn connector(self, connector: impl Connector) -> Builder {
        Builder { connector: Arc::new(connector), ..self }
    }

    /// Begins the session and waits until there is one.
    ///
    /// # Errors
    /// As for [`Builder::start`]; if no server was reached in time; if an identity or the session
    /// to be resumed was refused.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::Client;
    /// let zk = Client::builder(&servers).connect().await?;
    /// assert!(zk.state().is_connected());
    /// let error = Client::builder("").connect().await.expect_err("no host is named");
    /// assert!(error.to_string().contains("names no host"));
    /// # Ok(())
    /// # });
    /// ```
    pub async fn connect(self) -> Result<Client, Error> {
        let within = self.connect_within.unwrap_or(self.session_timeout);
        let client = self.start()?;
        let mut states = client.states();
        let first = async {
            while let Some(state) = states.next().await {
                if state.is_connected() || state.is_over() {
                    return state;
                }
            }
            State::Closed { confirmed: false }
        };
        let over = |end| ErrorKind::NotSent(crate::core::Unsent::Over(end));
        let kind = match tokio::time::timeout(within, first).await {
            Ok(State::Expired) => over(crate::core::End::Expired),
            Ok(State::AuthFailed) => over(crate::core::End::AuthFailed),
            Ok(State::Closed { .. }) => over(crate::core::End::Closed),
            Ok(State::Connected { .. } | State::Connecting | State::Suspended { .. }) => {
                return Ok(client);
            }
            Err(_) => ErrorKind::Unreachable(client.shared().dial_error()),
        };
        Err(Error::new(kind, None, ""))
    }

    /// Begins the session and returns at once. Requests wait until there is one.
    ///
    /// # Errors
    /// If the connect string or the namespace cannot be used, if there are too many or too large
    /// identities, or if this is no place of a tokio runtime.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # use oxkeeper_client::{Client, State};
    /// let zk = Client::builder(&servers).start()?;
    /// assert_eq!(zk.state(), State::Connecting);
    /// assert!(zk.exists("/zookeeper").await?.is_some(), "it has waited for the session");
    /// # Ok(())
    /// # });
    /// ```
    pub fn start(self) -> Result<Client, Error> {
        let fault = |kind| Error::new(kind, None, "");
        tokio::runtime::Handle::try_current().map_err(|_| fault(ErrorKind::NoRuntime))?;
        let connect = ConnectString::parse(&self.hosts)?;
        let chroot = connect.chroot().clone();
        let root = Chroot::new(&self.namespace)
            .map_err(|error| Error::new(error.into(), None, self.namespace.as_str()))?;
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let config = Config {
            session_timeout_ms: i32::try_from(ms(self.session_timeout)).unwrap_or(i32::MAX),
            read_only: self.read_only,
            resume: self.resume,
            backoff: self.backoff,
            close_timeout_ms: ms(self.close_timeout),
            expire_unheard: self.expire_unheard,
            limits: self.limits,
            ..Config::new(connect)
        };
        let shared = Shared::start(config, &self.auth, self.connector)
            .map_err(|refused| fault(ErrorKind::Refused(refused)))?;
        if self.follow_ensemble {
            tokio::spawn(ensemble::follow(Arc::downgrade(&shared)));
        }
        Ok(Client { session: Arc::new(Handle { shared, chroot }), root })
    }
}

impl std::fmt::Debug for Builder {
    /// Without what proves who we are.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder")
            .field("hosts", &self.hosts)
            .field("session_timeout", &self.session_timeout)
            .finish_non_exhaustive()
    }
}
