//! What is about the session and the ensemble more than about one znode: watches that stay,
//! identities, sync, and what is asked about the ensemble.
//!
//! An identity is not only sent but kept, to be proved on every later connection, so it does not go
//! the way of other requests. Watches that stay are registered when the server has said that it
//! armed them; their stream exists from the moment of the request, and nothing falls between.

use std::borrow::Cow;
use std::mem::take;

use oxkeeper_proto::request::{PathKind, ReconfigRequest};
use oxkeeper_proto::{ErrorCode, OpCode, Request};

use super::read::Data;
use super::{awaited, done};
use crate::client::Client;
use crate::core::{Answer, Identity, Outcome};
use crate::driver::Registration;
use crate::error::ErrorKind;
use crate::reply::{Asked, Reply};
use crate::watch::{AddWatchMode, WatchStream, WatcherKind};

fn nothing(outcome: &mut Outcome, _: &mut Asked) -> Result<(), ErrorKind> {
    done(outcome).map(|_| ())
}

/// See [`Client::add_watch`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{AddWatch, AddWatchMode, WatchItem};
///
/// let add: AddWatch<'_> = zk.add_watch("/add-watch-builder", AddWatchMode::Persistent);
/// let mut events = add.buffer(100).await?;
/// zk.create("/add-watch-builder", b"").await?;
/// assert!(matches!(events.next().await, Some(WatchItem::Event(_))));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct AddWatch<'a> {
    zk: &'a Client,
    path: &'a str,
    mode: AddWatchMode,
    buffer: usize,
}

/// Events that wait for who holds a stream, unless something else is said.
const BUFFER: usize = 4096;

impl AddWatch<'_> {
    /// How many events may wait until they are fetched; more become a
    /// [`Gap`](crate::WatchItem::Gap). 4096.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{AddWatchMode, WatchItem};
    ///
    /// let watch = zk.add_watch("/watch-buffer", AddWatchMode::Recursive);
    /// let mut events = watch.buffer(1).await?;
    /// zk.create("/watch-buffer/a/b", b"").parents().await?;
    /// assert!(matches!(events.next().await, Some(WatchItem::Event(_))));
    /// assert_eq!(events.next().await, Some(WatchItem::Gap), "three happened, one was kept");
    /// # Ok(())
    /// # });
    /// ```
    pub fn buffer(self, events: usize) -> Self {
        AddWatch { buffer: events, ..self }
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{AddWatchMode, WatchItem};
    ///
    /// let watch = zk.add_watch("/watch-send", AddWatchMode::Persistent).send();
    /// let create = zk.create("/watch-send", b"").send();
    /// let mut events = watch.await?;
    /// create.await?;
    /// assert!(matches!(events.next().await, Some(WatchItem::Event(_))));
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<WatchStream> {
        let AddWatch { zk, path, mode, buffer } = self;
        let read = |outcome: &mut Outcome, asked: &mut Asked| {
            done(outcome)?;
            asked.watch.take().map(|held| WatchStream::new(*held)).ok_or(ErrorKind::Answer)
        };
        let kind = match mode {
            AddWatchMode::Persistent => 0,
            AddWatchMode::Recursive => 1,
        };
        let full = match zk.full(path, false) {
            Ok(full) => full,
            Err(error) => return zk.refused(error.into(), OpCode::ADD_WATCH, path, read),
        };
        let at = full.clone();
        let request = Request::AddWatch(PathKind { path: full, kind });
        let mut registration = Registration::new(Some(buffer));
        let held = |held: crate::watch::Held| held.persistent(&at, mode);
        zk.submit_with(request.into(), path, read, Some(&mut registration), held)
    }
}

awaited!(AddWatch => WatchStream);

/// See [`Client::remove_watches`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{ErrorCode, RemoveWatches, WatcherKind};
///
/// let remove: RemoveWatches<'_> = zk.remove_watches("/not-there", WatcherKind::Any);
/// let error = remove.await.expect_err("nobody watches it");
/// assert_eq!(error.code(), Some(ErrorCode::NO_WATCHER));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct RemoveWatches<'a> {
    zk: &'a Client,
    path: &'a str,
    kind: WatcherKind,
    local: bool,
}

impl RemoveWatches<'_> {
    /// Removes them here alone if no server is in reach now, rather than waiting for one.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |_| {
    /// # let proxy = oxkeeper_scratch::Proxy::before(oxkeeper_scratch::addr()).await;
    /// # let zk = oxkeeper_client::Client::connect(&proxy.addr.to_string()).await?;
    /// use oxkeeper_client::{AddWatchMode, Loss, WatchItem, WatcherKind};
    ///
    /// let mut events = zk.add_watch("/watch-local", AddWatchMode::Recursive).await?;
    /// # let mut states = zk.states();
    /// # proxy.refuse(true);
    /// # while states.next().await.is_some_and(|state| state.is_connected()) {}
    /// // No server is in reach any more.
    /// zk.remove_watches("/watch-local", WatcherKind::Any).local().await?;
    /// assert_eq!(events.next().await, Some(WatchItem::Lost(Loss::Removed)));
    /// # Ok(())
    /// # });
    /// ```
    pub fn local(self) -> Self {
        RemoveWatches { local: true, ..self }
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{AddWatchMode, Loss, WatchItem, WatcherKind};
    ///
    /// let mut events = zk.add_watch("/watch-removed", AddWatchMode::Persistent).await?;
    /// zk.remove_watches("/watch-removed", WatcherKind::Persistent).send().await?;
    /// assert_eq!(events.next().await, Some(WatchItem::Lost(Loss::Removed)));
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<()> {
        let kind = self.kind.number();
        if self.local && !self.zk.state().is_connected() {
            let full = self.zk.full(self.path, false).map_err(ErrorKind::from);
            let gone = full.and_then(|path| {
                self.zk.shared().forget_at(&path, kind).map_err(ErrorKind::Refused)
            });
            let zxid = self.zk.last_zxid();
            let outcome = gone.map(|gone| match gone {
                0 => Outcome::Failed { zxid, code: ErrorCode::NO_WATCHER },
                _ => Outcome::Done { zxid, answer: Answer::Nothing },
            });
            return Reply::known(outcome, OpCode::REMOVE_WATCHES, self.path, nothing);
        }
        let request = |path| Request::RemoveWatches(PathKind { path, kind });
        self.zk.ask(self.path, request, nothing)
    }
}

awaited!(RemoveWatches => ());

/// See [`Client::add_auth`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// let add = zk.add_auth("digest", "ann:secret");
/// assert!(!format!("{add:?}").contains("secret"), "it may be logged");
/// add.await?;
/// # Ok(())
/// # });
/// ```
#[derive(Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct AddAuth<'a> {
    zk: &'a Client,
    scheme: &'a str,
    proof: &'a [u8],
}

impl AddAuth<'_> {
    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Acl, perms};
    ///
    /// // Proved before the create that needs it.
    /// let proved = zk.add_auth("digest", "ann:secret").send();
    /// let mine = vec![Acl::new(perms::ALL, "auth", "")];
    /// let created = zk.create("/auth-send", b"").acl(mine).send();
    /// proved.await?;
    /// assert!(created.await.is_ok());
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<()> {
        let shared = self.zk.shared();
        let slot = shared.add_auth(self.scheme, self.proof);
        let slot = slot.map(|slot| (shared.clone(), slot)).map_err(ErrorKind::Refused);
        let asked = Asked { root: Default::default(), watch: None };
        Reply::new(slot, OpCode::AUTH, "", asked, nothing)
    }
}

impl std::fmt::Debug for AddAuth<'_> {
    /// Without the proof.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AddAuth").field("scheme", &self.scheme).finish_non_exhaustive()
    }
}

awaited!(AddAuth => ());

/// See [`Client::sync`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::Sync;
///
/// let sync: Sync<'_> = zk.sync("/");
/// assert!(sync.await.is_ok());
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Sync<'a> {
    zk: &'a Client,
    path: &'a str,
}

impl Sync<'_> {
    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let other = oxkeeper_client::Client::connect(&servers).await?;
    /// other.create("/sync-send", b"").await?;
    /// let (synced, found) = (zk.sync("/").send(), zk.exists("/sync-send").send());
    /// synced.await?;
    /// assert!(found.await?.is_some(), "whichever servers they are connected to");
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<()> {
        self.zk.ask(self.path, |path| Request::Sync(Some(path)), nothing)
    }
}

awaited!(Sync => ());

/// See [`Client::whoami`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::WhoAmI;
///
/// let ask: WhoAmI<'_> = zk.whoami();
/// assert!(!ask.await?.is_empty(), "its address at least");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct WhoAmI<'a> {
    zk: &'a Client,
}

impl WhoAmI<'_> {
    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let (proved, known) = (zk.add_auth("digest", "ann:secret").send(), zk.whoami().send());
    /// proved.await?;
    /// assert!(known.await?.iter().any(|identity| identity.scheme == "digest"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Vec<Identity>> {
        self.zk.submit(Request::WhoAmI.into(), "", |outcome, _| match done(outcome)? {
            Answer::Identities(identities) => Ok(take(identities)),
            _ => Err(ErrorKind::Answer),
        })
    }
}

awaited!(WhoAmI => Vec<Identity>);

/// See [`Client::ephemerals`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::Ephemerals;
///
/// let mine: Ephemerals<'_> = zk.ephemerals("/");
/// assert!(mine.clone().await?.is_empty());
/// zk.create("/ephemerals-builder", b"").ephemeral().await?;
/// assert_eq!(mine.await?, ["/ephemerals-builder"]);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Ephemerals<'a> {
    zk: &'a Client,
    prefix: &'a str,
}

impl Ephemerals<'_> {
    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let create = zk.create("/ephemerals-send", b"").ephemeral().send();
    /// assert_eq!(zk.ephemerals("/").send().await?, ["/ephemerals-send"]);
    /// create.await?;
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Vec<String>> {
        let read = |outcome: &mut Outcome, asked: &mut Asked| match done(outcome)? {
            Answer::Ephemerals(paths) if asked.root.path().is_empty() => Ok(take(paths)),
            Answer::Ephemerals(paths) => {
                let inside = paths.iter().filter_map(|path| asked.root.client_path(path));
                Ok(inside.map(str::to_owned).collect())
            }
            _ => Err(ErrorKind::Answer),
        };
        let prefix = if self.prefix.is_empty() { "/" } else { self.prefix };
        self.zk.ask(prefix, |path| Request::GetEphemerals(Some(path)), read)
    }
}

awaited!(Ephemerals => Vec<String>);

/// A change of the ensemble's membership. Either `joining` and `leaving`, or all `members`.
///
/// ```
/// use oxkeeper_client::Reconfig;
///
/// let joining = Some("server.4=zk4:2888:3888:participant;2181".to_owned());
/// let change = Reconfig { joining, leaving: Some("1".to_owned()), ..Reconfig::default() };
/// assert_eq!(change.members, None, "either what changes or all that there are to be");
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Reconfig {
    /// Servers that join or change: `server.5=host:2888:3888:participant;2181`, several with
    /// commas between them.
    pub joining: Option<String>,
    /// Ids of servers that leave, with commas between them.
    pub leaving: Option<String>,
    /// All members that there are to be, with commas between them.
    pub members: Option<String>,
    /// Only if the membership has this version (in hexadecimal in its last line).
    pub from_version: Option<i64>,
}

/// See [`Client::reconfig`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{Fate, Reconfig, ReconfigCall};
///
/// let change = Reconfig { leaving: Some("9".to_owned()), ..Reconfig::default() };
/// let call: ReconfigCall<'_> = zk.reconfig(&change);
/// let error = call.await.expect_err("reconfiguration has to be enabled");
/// assert_eq!(error.fate(), Fate::DidNotHappen);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct ReconfigCall<'a> {
    zk: &'a Client,
    change: Cow<'a, Reconfig>,
}

impl ReconfigCall<'_> {
    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::Reconfig;
    ///
    /// let change = Reconfig { leaving: Some("9".to_owned()), ..Reconfig::default() };
    /// let refused = zk.reconfig(&change).send();
    /// assert!(refused.await.is_err(), "reconfiguration has to be enabled");
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Data> {
        let text = |text: &'_ Option<String>| text.clone().map(Cow::Owned);
        let request = Request::Reconfig(ReconfigRequest {
            joining: text(&self.change.joining),
            leaving: text(&self.change.leaving),
            new_members: text(&self.change.members),
            current_config_id: self.change.from_version.unwrap_or(-1),
        });
        self.zk.submit(request.into(), "", |outcome, _| match done(outcome)? {
            Answer::Data(bytes, stat) => Ok(Data { bytes: bytes.take(), stat: *stat }),
            _ => Err(ErrorKind::Answer),
        })
    }
}

awaited!(ReconfigCall => Data);

impl Client {
    /// Leaves a watch that stays (`addWatch`, 3.6). There need not be such a znode.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{AddWatchMode, WatchItem};
    ///
    /// let mut events = zk.add_watch("/add-watch", AddWatchMode::Recursive).await?;
    /// zk.create("/add-watch/child", b"").parents().await?;
    /// for expected in ["/add-watch", "/add-watch/child"] {
    ///     let item = events.next().await;
    ///     assert!(matches!(item, Some(WatchItem::Event(event)) if event.path == expected));
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn add_watch<'a>(&'a self, path: &'a str, mode: AddWatchMode) -> AddWatch<'a> {
        AddWatch { zk: self, path, mode, buffer: BUFFER }
    }

    /// Removes all of this session's watches of a kind at a path; those who hold them are told
    /// [`Loss::Removed`](crate::Loss::Removed). To remove one of several, drop it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Loss, WatcherKind};
    ///
    /// zk.create("/remove-watches", b"").await?;
    /// let (_, changed) = zk.children("/remove-watches").watch().await?;
    /// zk.remove_watches("/remove-watches", WatcherKind::Children).await?;
    /// assert_eq!(changed.await, Err(Loss::Removed));
    /// # Ok(())
    /// # });
    /// ```
    pub fn remove_watches<'a>(&'a self, path: &'a str, kind: WatcherKind) -> RemoveWatches<'a> {
        RemoveWatches { zk: self, path, kind, local: false }
    }

    /// Adds an identity, proved now and on every later connection. For `digest` the proof is
    /// `user:password`. A refusal ends the session.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Acl, perms};
    ///
    /// zk.add_auth("digest", "ann:secret").await?;
    /// zk.create("/add-auth", b"").acl(vec![Acl::new(perms::ALL, "auth", "")]).await?;
    /// assert!(zk.get("/add-auth").await.is_ok());
    /// let other = oxkeeper_client::Client::connect(&servers).await?;
    /// assert!(other.get("/add-auth").await.is_err_and(|error| error.is_no_auth()));
    /// # Ok(())
    /// # });
    /// ```
    pub fn add_auth<'a>(
        &'a self,
        scheme: &'a str,
        proof: &'a (impl AsRef<[u8]> + ?Sized),
    ) -> AddAuth<'a> {
        AddAuth { zk: self, scheme, proof: proof.as_ref() }
    }

    /// Brings the server that we are connected to up to what the leader has committed: a read that
    /// is submitted behind it sees everything that was answered to anybody before.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// let other = oxkeeper_client::Client::connect(&servers).await?;
    /// other.create("/sync", b"").await?;
    /// zk.sync("/sync").await?;
    /// assert!(zk.exists("/sync").await?.is_some());
    /// # Ok(())
    /// # });
    /// ```
    pub fn sync<'a>(&'a self, path: &'a str) -> Sync<'a> {
        Sync { zk: self, path }
    }

    /// Who the server takes this connection for (3.7).
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.add_auth("digest", "ann:secret").await?;
    /// let identities = zk.whoami().await?;
    /// assert!(identities.iter().any(|of| of.scheme == "digest" && of.user == "ann"));
    /// # Ok(())
    /// # });
    /// ```
    pub fn whoami(&self) -> WhoAmI<'_> {
        WhoAmI { zk: self }
    }

    /// The ephemeral znodes of this session whose paths begin with `prefix`, compared as plain text
    /// (`getEphemerals`, 3.6).
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/ephemerals-a", b"").ephemeral().await?;
    /// zk.create("/ephemerals-b", b"").ephemeral().await?;
    /// assert_eq!(zk.ephemerals("/ephemerals-a").await?, ["/ephemerals-a"]);
    /// assert_eq!(zk.ephemerals("/").await?.len(), 2);
    /// # Ok(())
    /// # });
    /// ```
    pub fn ephemerals<'a>(&'a self, prefix: &'a str) -> Ephemerals<'a> {
        Ephemerals { zk: self, prefix }
    }

    /// Changes the ensemble's membership (3.5) and returns the new one.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Fate, Reconfig};
    ///
    /// let members = Some("server.1=zk1:2888:3888:participant;2181".to_owned());
    /// let change = Reconfig { members, ..Reconfig::default() };
    /// let error = zk.reconfig(change).await.expect_err("reconfiguration has to be enabled");
    /// assert_eq!(error.fate(), Fate::DidNotHappen);
    /// # Ok(())
    /// # });
    /// ```
    pub fn reconfig<'a>(&'a self, change: impl Into<Cow<'a, Reconfig>>) -> ReconfigCall<'a> {
        ReconfigCall { zk: self, change: change.into() }
    }
}

impl From<Reconfig> for Cow<'_, Reconfig> {
    fn from(change: Reconfig) -> Self {
        Cow::Owned(change)
    }
}

impl<'a> From<&'a Reconfig> for Cow<'a, Reconfig> {
    fn from(change: &'a Reconfig) -> Self {
        Cow::Borrowed(change)
    }
}
