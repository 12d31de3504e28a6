//! The client as a port of recipes.
//!
//! Each method submits its request before it returns, so that requests leave in the order in which
//! recipes ask. Tokio gives the clock and runs what goes on beside.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::pin::Pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use oxkeeper_client::{AddWatchMode, Client, MultiResult, OneShot, State, WatchItem, WatchStream};
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::keeper::Keeper;
use crate::port::{
    Alarm, Asked, Edit, Failure, Kind, New, Pending, Port, Standing, Stat, TreeAlert, TreeWatch,
    Zxid,
};

struct ClientPort {
    client: Client,
    /// Where what goes on beside runs. A guard may be dropped outside of it.
    runtime: Option<Handle>,
    /// When this began: moments are counted from here.
    began: Instant,
}

impl From<&Client> for Keeper {
    fn from(client: &Client) -> Keeper {
        let (client, runtime) = (client.clone(), Handle::try_current().ok());
        Keeper::new(ClientPort { client, runtime, began: Instant::now() })
    }
}

impl From<Client> for Keeper {
    fn from(client: Client) -> Keeper {
        Keeper::from(&client)
    }
}

impl From<oxkeeper_client::Error> for Failure {
    fn from(error: oxkeeper_client::Error) -> Failure {
        Failure {
            code: error.code(),
            fate: error.fate(),
            session_over: error.is_session_over(),
            index: error.multi().map(|(index, _)| index),
            text: error.to_string(),
        }
    }
}

/// The future of a request that is on its way.
fn on_its_way<T, U>(
    reply: impl Future<Output = Result<T, oxkeeper_client::Error>> + Send + 'static,
    read: impl FnOnce(T) -> U + Send + 'static,
) -> Asked<U> {
    Box::pin(async move { Ok(read(reply.await?)) })
}

fn alarm(watch: OneShot) -> Alarm {
    Box::pin(async move {
        // Lost or fired, it is time to look.
        let _ = watch.await;
    })
}

struct Tree(WatchStream);

impl TreeWatch for Tree {
    fn next(&mut self) -> Pin<Box<dyn Future<Output = TreeAlert> + Send + '_>> {
        Box::pin(async {
            match self.0.next().await {
                Some(WatchItem::Event(event)) => TreeAlert::Fired(event.kind, event.path),
                Some(WatchItem::Gap) => TreeAlert::Gap,
                Some(WatchItem::Lost(_)) | None => TreeAlert::Lost,
            }
        })
    }
}

/// Versions on the wire: −1 for any.
fn wire(version: Option<i32>) -> i32 {
    version.unwrap_or(-1)
}

impl ClientPort {
    fn standing_of(&self, state: State) -> Standing {
        match state {
            State::Connected { .. } => Standing::Connected,
            State::Connecting => Standing::Suspended(Duration::ZERO),
            State::Suspended { expires_at, .. } => {
                Standing::Suspended(expires_at.saturating_duration_since(self.began))
            }
            State::Expired | State::AuthFailed | State::Closed { .. } => Standing::Over,
        }
    }
}

impl Port for ClientPort {
    fn create(&self, new: New) -> Asked<(String, Stat)> {
        let create = self.client.create(&new.path, &new.data);
        let create = match new.kind {
            Kind::Persistent => create,
            Kind::Sequential => create.sequential(),
            Kind::Ephemeral => create.ephemeral(),
            Kind::EphemeralSequential => create.ephemeral().sequential(),
            Kind::Container => create.container(),
            Kind::Ttl(ttl) => create.ttl(ttl),
        };
        let client = self.client.clone();
        let reply = create.send();
        Box::pin(async move {
            let created = reply.await?;
            match created.stat {
                Some(stat) => Ok((created.path, stat)),
                // A server that answers without one.
                None => match client.exists(&created.path).await? {
                    Some(stat) => Ok((created.path, stat)),
                    None => Ok((created.path, Stat::default())),
                },
            }
        })
    }

    fn delete(&self, path: &str, version: Option<i32>) -> Asked<()> {
        on_its_way(self.client.delete(path).version(wire(version)).send(), |()| ())
    }

    fn set(&self, path: &str, data: Vec<u8>, version: Option<i32>) -> Asked<Stat> {
        on_its_way(self.client.set(path, &data).version(wire(version)).send(), |stat| stat)
    }

    fn get(&self, path: &str) -> Asked<(Vec<u8>, Stat)> {
        on_its_way(self.client.get(path).send(), |data| (data.bytes().to_vec(), data.stat))
    }

    fn get_watched(&self, path: &str) -> Asked<(Vec<u8>, Stat, Alarm)> {
        on_its_way(self.client.get(path).watch().send(), |(data, watch)| {
            (data.bytes().to_vec(), data.stat, alarm(watch))
        })
    }

    fn exists_watched(&self, path: &str) -> Asked<(Option<Stat>, Alarm)> {
        on_its_way(self.client.exists(path).watch().send(), |(stat, watch)| (stat, alarm(watch)))
    }

    fn exists(&self, path: &str) -> Asked<Option<Stat>> {
        on_its_way(self.client.exists(path).send(), |stat| stat)
    }

    fn children(&self, path: &str) -> Asked<Vec<String>> {
        on_its_way(self.client.children(path).send(), |names| names)
    }

    fn children_watched(&self, path: &str) -> Asked<(Vec<String>, Alarm)> {
        on_its_way(self.client.children(path).watch().send(), |(names, watch)| {
            (names, alarm(watch))
        })
    }

    fn multi(&self, edits: Vec<Edit>) -> Asked<Vec<Option<String>>> {
        let mut multi = self.client.multi();
        for edit in edits {
            multi = match edit {
                Edit::Delete(path, version) => multi.delete(path).version(wire(version)),
                Edit::Set(path, data, version) => multi.set(path, data).version(wire(version)),
                Edit::Check(path, version) => multi.check(path, wire(version)),
                Edit::Create(New { path, data, kind }) => {
                    let create = multi.create(path, data);
                    match kind {
                        Kind::Persistent => create,
                        Kind::Sequential => create.sequential(),
                        Kind::Ephemeral => create.ephemeral(),
                        Kind::EphemeralSequential => create.ephemeral().sequential(),
                        Kind::Container => create.container(),
                        Kind::Ttl(ttl) => create.ttl(ttl),
                    }
                }
            };
        }
        on_its_way(multi.send(), |done| {
            let path = |done| match done {
                MultiResult::Created(created) => Some(created.path),
                MultiResult::Deleted | MultiResult::Set(_) | MultiResult::Checked => None,
            };
            done.into_iter().map(path).collect()
        })
    }

    fn sync(&self, path: &str) -> Asked<()> {
        on_its_way(self.client.sync(path).send(), |()| ())
    }

    fn watch_tree(&self, path: &str) -> Asked<Box<dyn TreeWatch>> {
        on_its_way(self.client.add_watch(path, AddWatchMode::Recursive).send(), |watch| {
            Box::new(Tree(watch)) as Box<dyn TreeWatch>
        })
    }

    fn standing(&self) -> Standing {
        self.standing_of(self.client.state())
    }

    fn standing_other_than(&self, seen: Standing) -> Pending<Standing> {
        let mut states = self.client.states();
        let port = ClientPort { client: self.client.clone(), runtime: None, began: self.began };
        Box::pin(async move {
            while let Some(state) = states.next().await {
                let now = port.standing_of(state);
                if now != seen {
                    return now;
                }
            }
            match seen {
                // Behind the last state there is no other.
                Standing::Over => std::future::pending().await,
                Standing::Connected | Standing::Suspended(_) => Standing::Over,
            }
        })
    }

    fn session_id(&self) -> i64 {
        self.client.session_id().map_or(0, |session| session.0)
    }

    fn now(&self) -> Duration {
        self.began.elapsed()
    }

    fn wall_ms(&self) -> i64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    fn pause(&self, time: Duration) -> Pending<()> {
        Box::pin(tokio::time::sleep(time))
    }

    fn spawn(&self, task: Pending<()>) {
        // Without a runtime there is nobody to do it; the session's end does it then.
        if let Some(runtime) = self.runtime.clone().or_else(|| Handle::try_current().ok()) {
            runtime.spawn(task);
        }
    }

    fn unique(&self) -> u128 {
        // The keys are the system's randomness; time and session part what they may repeat.
        let (now, zxid): (_, Zxid) = (SystemTime::now(), self.client.last_zxid());
        let half = |of: u8| RandomState::new().hash_one((now, zxid.0, self.session_id(), of));
        u128::from(half(0)) << 64 | u128::from(half(1))
    }
}
