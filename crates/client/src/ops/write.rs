//! set, delete, set_acl, and delete_all.
//!
//! Every write may be bound to a version. That is what makes it safe to repeat after a connection
//! was lost: a set at version 3 happens at most once, and `BADVERSION` at the second try says that
//! somebody, perhaps the first try, was there. `delete_all` is many requests, pipelined, children
//! before their parents.

use std::borrow::Cow;
use std::future::IntoFuture;

use oxkeeper_proto::data::encode_acl;
use oxkeeper_proto::request::{PathVersion, SetAclRequest, SetDataRequest};
use oxkeeper_proto::{AclList, OpCode, Request, Stat};

use super::{awaited, done};
use crate::client::Client;
use crate::core::{Answer, Outcome};
use crate::error::{Error, ErrorKind};
use crate::reply::{Asked, Reply};
use crate::{Acl, BoxFuture};

/// Matches whatever version a znode has.
pub(crate) const ANY_VERSION: i32 = -1;

fn read_stat(outcome: &mut Outcome, _: &mut Asked) -> Result<Stat, ErrorKind> {
    match done(outcome)? {
        Answer::Stat(stat) => Ok(*stat),
        _ => Err(ErrorKind::Answer),
    }
}

/// See [`Client::set`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::Set;
///
/// zk.create("/set-builder", b"").await?;
/// let set: Set<'_> = zk.set("/set-builder", b"1");
/// assert_eq!(zk.get("/set-builder").await?.bytes(), b"", "nothing has been sent");
/// assert_eq!(set.await?.version, 1);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Set<'a> {
    zk: &'a Client,
    path: &'a str,
    data: Option<&'a [u8]>,
    version: i32,
}

impl<'a> Set<'a> {
    /// Only if the data has this version; otherwise `BADVERSION`.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/set-version", b"0").await?;
    /// let stat = zk.set("/set-version", b"1").version(0).await?;
    /// assert_eq!(stat.version, 1);
    /// let again = zk.set("/set-version", b"1").version(0).await;
    /// assert!(again.is_err_and(|error| error.is_bad_version()));
    /// # Ok(())
    /// # });
    /// ```
    pub fn version(self, version: i32) -> Self {
        Set { version, ..self }
    }

    /// Other data; `None` is null, which is not the same as empty.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/set-data", b"1").await?;
    /// zk.set("/set-data", b"").data(None).await?;
    /// assert_eq!(zk.get("/set-data").await?.bytes, None, "not empty, but null");
    /// # Ok(())
    /// # });
    /// ```
    pub fn data(self, data: Option<&'a [u8]>) -> Self {
        Set { data, ..self }
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/set-send", b"").await?;
    /// let under_way = ["1", "2", "3"].map(|data| zk.set("/set-send", data).send());
    /// assert_eq!(zk.get("/set-send").await?.text()?, "3");
    /// for (reply, version) in under_way.into_iter().zip(1..) {
    ///     assert_eq!(reply.await?.version, version);
    /// }
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Stat> {
        let Set { zk, path, data, version } = self;
        zk.ask(path, |path| Request::SetData(SetDataRequest { path, data, version }), read_stat)
    }
}

awaited!(Set => Stat);

/// See [`Client::delete`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::Delete;
///
/// zk.create("/delete-builder", b"").await?;
/// let delete: Delete<'_> = zk.delete("/delete-builder");
/// delete.clone().await?;
/// assert!(delete.await.is_err_and(|error| error.is_no_node()));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct Delete<'a> {
    zk: &'a Client,
    path: &'a str,
    version: i32,
}

impl Delete<'_> {
    /// Only if the data has this version; otherwise `BADVERSION`.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/delete-version", b"").await?;
    /// let stale = zk.delete("/delete-version").version(7).await;
    /// assert!(stale.is_err_and(|error| error.is_bad_version()));
    /// assert!(zk.delete("/delete-version").version(0).await.is_ok());
    /// # Ok(())
    /// # });
    /// ```
    pub fn version(self, version: i32) -> Self {
        Delete { version, ..self }
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/delete-send/child", b"").parents().await?;
    /// let child = zk.delete("/delete-send/child").send();
    /// let parent = zk.delete("/delete-send").send();
    /// assert!(child.await.is_ok() && parent.await.is_ok(), "in this order");
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<()> {
        let version = self.version;
        self.zk.ask(
            self.path,
            |path| Request::Delete(PathVersion { path, version }),
            |outcome, _| done(outcome).map(|_| ()),
        )
    }
}

awaited!(Delete => ());

/// See [`Client::set_acl`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::{Acl, SetAcl, perms};
///
/// zk.create("/set-acl-builder", b"").await?;
/// let acl = [Acl::new(perms::READ, "world", "anyone")];
/// let change: SetAcl<'_> = zk.set_acl("/set-acl-builder", &acl);
/// change.await?;
/// assert_eq!(zk.acl("/set-acl-builder").await?.0, acl);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited or sent"]
pub struct SetAcl<'a> {
    zk: &'a Client,
    path: &'a str,
    acl: Cow<'a, [Acl]>,
    version: i32,
}

impl SetAcl<'_> {
    /// Only if the ACL has this version (`Stat::aversion`); otherwise `BADVERSION`.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Acl, perms};
    ///
    /// zk.create("/set-acl-version", b"").await?;
    /// let acl = [Acl::new(perms::ALL, "world", "anyone")];
    /// assert_eq!(zk.set_acl("/set-acl-version", &acl).version(0).await?.aversion, 1);
    /// let again = zk.set_acl("/set-acl-version", &acl).version(0).await;
    /// assert!(again.is_err_and(|error| error.is_bad_version()));
    /// # Ok(())
    /// # });
    /// ```
    pub fn version(self, version: i32) -> Self {
        SetAcl { version, ..self }
    }

    /// Submits it.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Acl, perms};
    ///
    /// zk.create("/set-acl-send", b"").await?;
    /// let acl = vec![Acl::new(perms::READ, "world", "anyone")];
    /// let closed = zk.set_acl("/set-acl-send", acl.clone()).send();
    /// let read = zk.acl("/set-acl-send").send();
    /// assert_eq!(closed.await?.aversion, 1);
    /// assert_eq!(read.await?.0, acl, "it came behind");
    /// # Ok(())
    /// # });
    /// ```
    pub fn send(self) -> Reply<Stat> {
        let SetAcl { zk, path, acl, version } = self;
        let mut raw = Vec::new();
        encode_acl(&mut raw, &acl);
        let Ok(acl) = AclList::from_raw(&raw) else {
            let kind = ErrorKind::Invalid("an ACL that cannot be encoded");
            return zk.refused(kind, OpCode::SET_ACL, path, read_stat);
        };
        match zk.full(path, false) {
            Ok(full) => {
                let request = Request::SetAcl(SetAclRequest { path: full, acl, version });
                zk.submit(request.into(), path, read_stat)
            }
            Err(error) => zk.refused(error.into(), OpCode::SET_ACL, path, read_stat),
        }
    }
}

awaited!(SetAcl => Stat);

/// See [`Client::delete_all`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// use oxkeeper_client::DeleteAll;
///
/// let delete: DeleteAll<'_> = zk.delete_all("/not-there");
/// assert!(delete.await.is_ok(), "that there is none is no error");
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone)]
#[must_use = "an operation does nothing until it is awaited"]
pub struct DeleteAll<'a> {
    zk: &'a Client,
    path: &'a str,
}

/// Deletes under way at a time.
const DELETES_MAX: usize = 256;

impl DeleteAll<'_> {
    async fn run(zk: Client, path: String) -> Result<(), Error> {
        // Somebody may create below what is being deleted: then it is looked at again, but not
        // for ever.
        const ROUNDS_MAX: usize = 16;
        for round in 1.. {
            let found = zk.descendants(&path).await?;
            let mut refused = None;
            // The deepest first, and those of one depth at once.
            for batch in found.chunks(DELETES_MAX) {
                let sent: Vec<_> = batch.iter().map(|path| zk.delete(path).send()).collect();
                for reply in sent {
                    match reply.await {
                        Err(error) if error.is_not_empty() => refused = Some(error),
                        Err(error) if !error.is_no_node() => return Err(error),
                        Ok(()) | Err(_) => {}
                    }
                }
            }
            match refused {
                Some(error) if round == ROUNDS_MAX => return Err(error),
                Some(_) => {}
                None => return Ok(()),
            }
        }
        Ok(())
    }
}

impl<'a> IntoFuture for DeleteAll<'a> {
    type Output = Result<(), Error>;
    type IntoFuture = BoxFuture<Result<(), Error>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(DeleteAll::run(self.zk.clone(), self.path.to_owned()))
    }
}

impl Client {
    /// Sets a znode's data.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/set-plain", b"old").await?;
    /// let stat = zk.set("/set-plain", "new").await?;
    /// let data = zk.get("/set-plain").await?;
    /// assert_eq!((data.text()?, data.stat), ("new", stat));
    /// # Ok(())
    /// # });
    /// ```
    pub fn set<'a>(&'a self, path: &'a str, data: &'a (impl AsRef<[u8]> + ?Sized)) -> Set<'a> {
        Set { zk: self, path, data: Some(data.as_ref()), version: ANY_VERSION }
    }

    /// Deletes a znode, which must have no children.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/delete/child", b"").parents().await?;
    /// assert!(zk.delete("/delete").await.is_err_and(|error| error.is_not_empty()));
    /// zk.delete("/delete/child").await?;
    /// zk.delete("/delete").await?;
    /// assert_eq!(zk.exists("/delete").await?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn delete<'a>(&'a self, path: &'a str) -> Delete<'a> {
        Delete { zk: self, path, version: ANY_VERSION }
    }

    /// Deletes a znode and everything below it, children first. That there is none is no error.
    /// This is not atomic: who looks meanwhile sees parts, and an error leaves parts behind. The
    /// root and `/zookeeper` stay.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// zk.create("/delete-all/a/b", b"").parents().await?;
    /// zk.delete_all("/delete-all").await?;
    /// assert_eq!(zk.exists("/delete-all").await?, None);
    /// # Ok(())
    /// # });
    /// ```
    pub fn delete_all<'a>(&'a self, path: &'a str) -> DeleteAll<'a> {
        DeleteAll { zk: self, path }
    }

    /// Sets a znode's ACL.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// # let zk = oxkeeper_client::Client::connect(&servers).await?;
    /// use oxkeeper_client::{Acl, perms};
    ///
    /// zk.create("/set-acl", b"").await?;
    /// zk.set_acl("/set-acl", vec![Acl::new(perms::READ, "world", "anyone")]).await?;
    /// assert!(zk.set("/set-acl", b"x").await.is_err_and(|error| error.is_no_auth()));
    /// # Ok(())
    /// # });
    /// ```
    pub fn set_acl<'a>(&'a self, path: &'a str, acl: impl Into<Cow<'a, [Acl]>>) -> SetAcl<'a> {
        SetAcl { zk: self, path, acl: acl.into(), version: ANY_VERSION }
    }

    /// A znode and everything below it, every znode before its parent; nothing if there is none.
    pub(crate) async fn descendants(&self, path: &str) -> Result<Vec<String>, Error> {
        let mut all = vec![path.to_owned()];
        let mut at = 0;
        while at < all.len() {
            let end = all.len().min(at + DELETES_MAX);
            let asked: Vec<_> =
                all[at..end].iter().map(|path| self.children(path).send()).collect();
            for (parent, reply) in (at..end).zip(asked) {
                let names = match reply.await {
                    Err(error) if error.is_no_node() => continue,
                    names => names?,
                };
                let parent = all[parent].trim_end_matches('/').to_owned();
                let whole = self.chroot().is_empty() && self.root().is_empty();
                let own = |name: &String| whole && parent.is_empty() && name == "zookeeper";
                let names = names.into_iter().filter(|name| !own(name));
                all.extend(names.map(|name| format!("{parent}/{name}")));
            }
            at = end;
        }
        all.retain(|path| path != "/");
        all.reverse();
        Ok(all)
    }
}
