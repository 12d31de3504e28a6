//! setWatches and setWatches2: a client that lost its connection says which watches it had and what
//! it saw last (`DataTree.setWatches`).
//!
//! Whatever has visibly happened since is told at once instead of being watched. "Visibly" is
//! coarse: a znode deleted and made again is just changed data, and persistent watches, whose
//! missed events cannot be told, are only left again.

use oxkeeper_proto::Zxid;
use oxkeeper_proto::request::SetWatchesRequest;
use oxkeeper_proto::response::EventType;

use super::{ConnKey, WatchKind, Watches, WatchesFull};

/// The transactions of a znode that decide whether a client missed something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LastChanged {
    /// Of its data.
    pub mzxid: Zxid,
    /// Of its set of children.
    pub pzxid: Zxid,
}

impl Watches {
    /// Leaves the watches of a request again, or hands out the event where one was missed.
    /// `node` says what is known about a path now. The events carry zxid −1 and are not subject to
    /// any ACL. On an error the watches before it are left.
    pub fn rearm(
        &mut self,
        conn: ConnKey,
        request: &SetWatchesRequest<'_>,
        node: impl Fn(&str) -> Option<LastChanged>,
        mut deliver: impl FnMut(EventType, &str),
    ) -> Result<(), WatchesFull> {
        let seen = request.relative_zxid;
        for path in request.data.iter() {
            match node(&path) {
                None => deliver(EventType::NodeDeleted, &path),
                Some(last) if last.mzxid > seen => deliver(EventType::NodeDataChanged, &path),
                Some(_) => drop(self.add(conn, &path, WatchKind::Data)?),
            }
        }
        for path in request.exist.iter() {
            match node(&path) {
                None => drop(self.add(conn, &path, WatchKind::Data)?),
                Some(_) => deliver(EventType::NodeCreated, &path),
            }
        }
        for path in request.child.iter() {
            match node(&path) {
                None => deliver(EventType::NodeDeleted, &path),
                Some(last) if last.pzxid > seen => deliver(EventType::NodeChildrenChanged, &path),
                Some(_) => drop(self.add(conn, &path, WatchKind::Child)?),
            }
        }
        for path in request.persistent.iter().flat_map(|list| list.iter()) {
            self.add(conn, &path, WatchKind::Persistent)?;
        }
        for path in request.recursive.iter().flat_map(|list| list.iter()) {
            self.add(conn, &path, WatchKind::Recursive)?;
        }
        Ok(())
    }
}
