//! One client: random requests from a seed, one after the other, and a watch that it keeps.
//!
//! It pauses between requests, so that ensembles of slow machines keep up, and stands still when
//! the [gate](super::Gate) is closed: then it keeps its session alive and hears of watches, and
//! nothing changes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::history::{Behind, Entry, Fate, What};
use super::session::{Session, Told};
use super::{EPHEMERALS, PAIR, QUEUE, REGISTERS, Shared, UNIQUE, register};
use crate::differential::rng::Rng;
use crate::wire::{Acl, Blob, Request, op};

/// Between two requests.
const PACE: Duration = Duration::from_millis(4);
/// Between two pings while the gate is closed.
const IDLE: Duration = Duration::from_millis(100);
/// Znodes of unique names that a worker keeps before it deletes the oldest.
const KEPT: usize = 30;
/// `KeeperException.Code`.
const BAD_VERSION: i32 = -103;

/// What a worker does next.
#[derive(Clone, Copy)]
enum Act {
    Read,
    SyncedRead,
    Set,
    SetIfUnchanged,
    Create,
    Delete,
    Sequential,
    Pair,
    FailingMulti,
    Burst,
    OwnEphemeral,
}

const ACTS: [(usize, Act); 11] = [
    (24, Act::Read),
    (8, Act::SyncedRead),
    (12, Act::Set),
    (16, Act::SetIfUnchanged),
    (10, Act::Create),
    (9, Act::Delete),
    (8, Act::Sequential),
    (5, Act::Pair),
    (3, Act::FailingMulti),
    (2, Act::Burst),
    (3, Act::OwnEphemeral),
];

pub(super) struct Worker<'a> {
    shared: &'a Shared,
    me: usize,
    session: Session,
    rng: Rng,
    count: u64,
    /// Unique znodes that were acknowledged, the oldest first.
    kept: Vec<String>,
    /// The version of each register as last seen.
    versions: Vec<i64>,
    /// The version that our register had when we left a watch; none if there is no watch.
    armed: Option<i64>,
}

impl<'a> Worker<'a> {
    /// A worker with a session and its ephemeral.
    pub(super) fn begin(shared: &'a Shared, me: usize, seed: u64) -> Result<Worker<'a>> {
        let session = shared.begin(me)?;
        let versions = vec![0; REGISTERS];
        let (kept, rng) = (Vec::new(), Rng::new(seed));
        let mut worker = Worker { shared, me, session, rng, count: 0, kept, versions, armed: None };
        let path = worker.ephemeral();
        while !shared.is_over() {
            match worker.session.ask(create(&path, "", 1))? {
                Told::Done { .. } => break,
                Told::Refused(super::NODE_EXISTS) => break,
                Told::Refused(code) => bail!("{path} is refused with {code}"),
                Told::Unknown => {}
            }
        }
        shared.set_live(me, &path, worker.session.id());
        Ok(worker)
    }

    fn ephemeral(&self) -> String {
        format!("{EPHEMERALS}/{}", self.me)
    }

    /// Goes on until the load is over, and ends the session.
    pub(super) fn run(mut self) -> Result<()> {
        while !self.shared.is_over() {
            if self.shared.gate.is_closed() {
                self.stand_still()?;
                continue;
            }
            let act = self.rng.weighted(&ACTS);
            self.act(act)?;
            self.hear()?;
            std::thread::sleep(PACE);
        }
        self.shared.set_dead(self.me);
        let connections = self.session.connections;
        self.shared.reconnects.fetch_add(connections - 1, std::sync::atomic::Ordering::Relaxed);
        self.session.close()
    }

    /// Keeps the session and the watch while nobody writes.
    fn stand_still(&mut self) -> Result<()> {
        self.session.ping()?;
        self.hear()?;
        if self.armed.is_none() {
            self.read(self.own_register(), false)?;
        }
        self.shared.gate.park(self.me, self.armed, IDLE);
        Ok(())
    }

    fn own_register(&self) -> usize {
        self.me % REGISTERS
    }

    /// Takes the events that have come.
    fn hear(&mut self) -> Result<()> {
        while let Some(event) = self.session.next_event() {
            ensure!(event.path == register(self.own_register()), "an event for {}", event.path);
            let armed = self.armed.take();
            ensure!(armed.is_some() && event.kind == 3, "{event:?}, with a watch at {armed:?}");
        }
        if self.armed.is_none() {
            self.read(self.own_register(), false)?;
        }
        Ok(())
    }

    fn act(&mut self, act: Act) -> Result<()> {
        let any = self.rng.below(REGISTERS);
        match act {
            Act::Read => self.read(any, false),
            Act::SyncedRead => self.read(any, true),
            Act::Set => self.set(any, -1),
            Act::SetIfUnchanged => self.set(any, self.versions[any]),
            Act::Create => self.create(),
            Act::Delete => self.delete(),
            Act::Sequential => self.sequential(),
            Act::Pair => self.pair(),
            Act::FailingMulti => self.failing_multi(),
            Act::Burst => self.burst(),
            Act::OwnEphemeral => self.own_ephemeral(),
        }
    }

    fn tell(&self, asked: Instant, what: What, fate: Fate) {
        let (by, told) = (self.me, Instant::now());
        self.shared.tell(Entry { by, asked, told, what, fate });
    }

    fn read(&mut self, at: usize, synced: bool) -> Result<()> {
        let path = register(at);
        let watch = at == self.own_register() && self.armed.is_none();
        let asked = Instant::now();
        let mut requests = Vec::new();
        if synced {
            requests.push(Request::Path { op: op::SYNC, path: Some(path.clone()) });
        }
        requests.push(Request::Read { op: op::GET_DATA, path: Some(path.clone()), watch });
        let told = self.session.ask_all(&requests)?;
        let behind = match synced && told[0].done().is_some() {
            false => Behind::Nothing,
            true if self.shared.is_loose(self.session.server()) => Behind::LooseSync,
            true => Behind::Sync,
        };
        match told.last().context("an answer")? {
            Told::Unknown => Ok(()),
            Told::Refused(code) => bail!("reading {path} is refused with {code}"),
            Told::Done { zxid, body } => {
                let version = body["stat"]["version"].as_i64().context("a version")?;
                let text = body["data"].as_str().unwrap_or_default().to_owned();
                self.saw(at, version)?;
                if watch {
                    self.armed = Some(version);
                }
                self.tell(
                    asked,
                    What::Read { path, behind },
                    Fate::Done { zxid: *zxid, version, text },
                );
                Ok(())
            }
        }
    }

    /// Nothing that we see goes back, and no change of a watched register is seen before its event.
    fn saw(&mut self, at: usize, version: i64) -> Result<()> {
        let path = register(at);
        let before = std::mem::replace(&mut self.versions[at], version);
        ensure!(version >= before, "{path} went back from version {before} to {version}");
        if at == self.own_register()
            && let Some(armed) = self.armed
        {
            let mut fired = version == armed;
            while let Some(event) = self.session.next_event() {
                ensure!(event.path == path, "an event for {}", event.path);
                self.armed = None;
                fired = true;
            }
            ensure!(fired, "{path}: version {version} is seen before the event of {armed}");
        }
        Ok(())
    }

    fn unique(&mut self) -> String {
        self.count += 1;
        format!("{}-{}", self.me, self.count)
    }

    fn set(&mut self, at: usize, version: i64) -> Result<()> {
        let (path, value) = (register(at), self.unique());
        let asked = Instant::now();
        let told = self.session.ask(set(&path, &value, i32::try_from(version)?))?;
        let fate = match told {
            Told::Done { body, .. } => {
                let version = body["stat"]["version"].as_i64().context("a version")?;
                let zxid = body["stat"]["mzxid"].as_i64().context("a zxid")?;
                self.saw(at, version)?;
                Fate::Done { zxid, version, text: String::new() }
            }
            Told::Refused(BAD_VERSION) if version >= 0 => Fate::Refused,
            Told::Refused(code) => bail!("setting {path} is refused with {code}"),
            Told::Unknown => Fate::Unknown,
        };
        self.tell(asked, What::Set { path, value }, fate);
        Ok(())
    }

    fn create(&mut self) -> Result<()> {
        let path = format!("{UNIQUE}/{}", self.unique());
        let asked = Instant::now();
        let told = self.session.ask(create(&path, &path, 0))?;
        let fate = made(&told)?;
        if matches!(fate, Fate::Done { .. }) {
            self.kept.push(path.clone());
        }
        self.tell(asked, What::Create { path }, fate);
        Ok(())
    }

    fn delete(&mut self) -> Result<()> {
        if self.kept.len() <= KEPT {
            return self.create();
        }
        let path = self.kept.remove(0);
        let request = Request::PathInt { op: op::DELETE, path: Some(path.clone()), number: -1 };
        let asked = Instant::now();
        let fate = match self.session.ask(request)? {
            Told::Done { zxid, .. } => Fate::Done { zxid, version: 0, text: String::new() },
            Told::Refused(code) => bail!("deleting {path}, which was made, fails with {code}"),
            Told::Unknown => Fate::Unknown,
        };
        self.tell(asked, What::Delete { path }, fate);
        Ok(())
    }

    fn sequential(&mut self) -> Result<()> {
        let prefix = format!("{QUEUE}/{}-", self.me);
        let asked = Instant::now();
        let told = self.session.ask(create(&prefix, "", 2))?;
        let fate = made(&told)?;
        if let Fate::Done { text, .. } = &fate {
            self.kept.push(text.clone());
        }
        self.tell(asked, What::Sequential { prefix }, fate);
        Ok(())
    }

    fn pair(&mut self) -> Result<()> {
        let value = self.unique();
        let parts = PAIR.map(|path| set(path, &value, -1)).to_vec();
        let asked = Instant::now();
        let fate = match self.session.ask(Request::Multi { op: op::MULTI, parts })? {
            Told::Done { body, .. } => {
                let stats = [&body["results"][0]["stat"], &body["results"][1]["stat"]];
                ensure!(stats[0]["mzxid"] == stats[1]["mzxid"], "half a multi: {body}");
                let zxid = stats[0]["mzxid"].as_i64().context("a zxid")?;
                let version = stats[0]["version"].as_i64().context("a version")?;
                Fate::Done { zxid, version, text: String::new() }
            }
            Told::Refused(code) => bail!("the pair is refused with {code}"),
            Told::Unknown => Fate::Unknown,
        };
        self.tell(asked, What::Pair { value }, fate);
        Ok(())
    }

    /// A multi whose second half cannot be done; nothing of it may be.
    fn failing_multi(&mut self) -> Result<()> {
        let path = format!("{UNIQUE}/never-{}", self.unique());
        let path_of_check = Some(register(0));
        let check = Request::PathInt { op: op::CHECK, path: path_of_check, number: 1_000_000_000 };
        // Members of 3.5 and 3.6 cannot apply a create2 inside a multi, whoever leads them.
        let create = Request::Create {
            op: op::CREATE,
            path: Some(path.clone()),
            data: Blob::text(""),
            acl: Acl::open(),
            flags: 0,
            ttl: None,
        };
        let parts = vec![create, check];
        match self.session.ask(Request::Multi { op: op::MULTI, parts })? {
            Told::Done { body, .. } => {
                let codes = [0, 1].map(|at| body["results"][at]["errorResult"].as_i64());
                ensure!(
                    codes == [Some(0), Some(i64::from(BAD_VERSION))],
                    "a failing multi says {body}"
                );
            }
            Told::Refused(BAD_VERSION) | Told::Unknown => {}
            Told::Refused(code) => bail!("a failing multi fails with {code}"),
        }
        let read = Request::Read { op: op::EXISTS, path: Some(path.clone()), watch: false };
        let there = self.session.ask(read)?;
        ensure!(there.done().is_none(), "{path} was never done, and is there");
        Ok(())
    }

    /// Creates sent in one go: done in order, and none behind a lost one.
    fn burst(&mut self) -> Result<()> {
        let paths: Vec<String> = (0..8).map(|_| format!("{UNIQUE}/{}", self.unique())).collect();
        let requests: Vec<Request> = paths.iter().map(|path| create(path, path, 0)).collect();
        let asked = Instant::now();
        let told = self.session.ask_all(&requests)?;
        let mut newest = 0;
        for (path, told) in paths.into_iter().zip(told) {
            let fate = made(&told)?;
            if let Fate::Done { zxid, .. } = fate {
                ensure!(zxid > newest, "a burst out of order: {zxid:x} after {newest:x}");
                newest = zxid;
                self.kept.push(path.clone());
            }
            self.tell(asked, What::Create { path }, fate);
        }
        Ok(())
    }

    fn own_ephemeral(&mut self) -> Result<()> {
        let path = self.ephemeral();
        let read = Request::Read { op: op::EXISTS, path: Some(path.clone()), watch: false };
        match self.session.ask(read)? {
            Told::Done { body, .. } => {
                let owner = &body["stat"]["ephemeralOwner"];
                ensure!(*owner == self.session.id(), "{path} belongs to session {owner}");
            }
            Told::Refused(code) => bail!("{path} is gone ({code}), its session lives"),
            Told::Unknown => {}
        }
        Ok(())
    }
}

/// A znode open to all.
pub(in crate::mixed) fn create(path: &str, data: &str, flags: i32) -> Request {
    Request::Create {
        op: op::CREATE2,
        path: Some(path.to_owned()),
        data: Blob::text(data),
        acl: Acl::open(),
        flags,
        ttl: None,
    }
}

pub(in crate::mixed) fn set(path: &str, data: &str, version: i32) -> Request {
    Request::SetData { path: Some(path.to_owned()), data: Blob::text(data), version }
}

/// What became of a znode whose name is used once.
fn made(told: &Told) -> Result<Fate> {
    Ok(match told {
        Told::Done { body, .. } => {
            let zxid = body["stat"]["czxid"].as_i64().context("a zxid")?;
            let text = body["path"].as_str().context("a path")?.to_owned();
            Fate::Done { zxid, version: 0, text }
        }
        Told::Refused(code) => bail!("a new znode is refused with {code}"),
        Told::Unknown => Fate::Unknown,
    })
}
