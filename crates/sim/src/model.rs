//! What ZooKeeper's documentation promises, written down as plainly as possible.
//!
//! One sorted map of paths, no overlay, no pipeline, no cleverness: it takes one request after the
//! other in the order of their zxids and says what the answer has to be and who has to hear of it.
//! It shares nothing with the tree that it judges but the formula of a digest.

use std::collections::{BTreeMap, BTreeSet};

use oxkeeper_proto::codec::Put;
use oxkeeper_proto::data::encode_strings;
use oxkeeper_proto::request::MultiHeader;
use oxkeeper_proto::response::EventType;
use oxkeeper_proto::{
    CreateMode, ErrorCode, OPEN_ACL_UNSAFE, OpCode, SessionId, Stat, StatPersisted, Zxid,
};
use oxkeeper_tree::digest::data_crc;
use oxkeeper_tree::{EphemeralType, OwnerRules, Tree, node_digest};

use crate::asked::{Asked, Create, Edit};

/// One znode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Znode {
    /// Its data.
    pub data: Option<Vec<u8>>,
    /// Its stat as it is stored.
    pub stat: StatPersisted,
}

/// Everything that is replicated.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct State {
    /// Every znode by its path, the root as `/`.
    pub znodes: BTreeMap<String, Znode>,
    /// Every session with its timeout, ms.
    pub sessions: BTreeMap<SessionId, i32>,
}

/// What a request has to be answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The code in the header.
    pub err: ErrorCode,
    /// What follows it.
    pub body: Vec<u8>,
}

impl Answer {
    fn of(result: Result<Vec<u8>, ErrorCode>) -> Answer {
        match result {
            Ok(body) => Answer { err: ErrorCode::OK, body },
            Err(err) => Answer { err, body: Vec::new() },
        }
    }
}

/// A change that watches fire for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Created, deleted or its data changed.
    pub event: EventType,
    /// Which znode.
    pub path: String,
}

/// In whose name and when a write is done.
#[derive(Debug, Clone, Copy)]
pub struct Who {
    /// The session.
    pub session: SessionId,
    /// The transaction.
    pub zxid: Zxid,
    /// The server's wall clock, ms.
    pub time_ms: i64,
}

/// How owners are read: all kinds of znodes exist in simulations.
pub const OWNERS: OwnerRules = OwnerRules { extended_types: true, emulate_353: false };

/// Where an ensemble's configuration is.
const CONFIG: &str = "/zookeeper/config";

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct Model {
    state: State,
    digest: i64,
    changes: Vec<Change>,
}

impl State {
    /// What a tree holds.
    pub fn of(tree: &Tree) -> State {
        let mut znodes = BTreeMap::new();
        let mut paths = vec![String::new()];
        while let Some(path) = paths.pop() {
            // A child that is listed and not there is a fault that shows in the comparison.
            let Some(node) = tree.node(&path) else { continue };
            paths.extend(node.children().map(|name| format!("{path}/{name}")));
            let znode = Znode { data: node.data().map(<[u8]>::to_vec), stat: node.persisted() };
            znodes.insert(if path.is_empty() { "/".to_owned() } else { path }, znode);
        }
        State { znodes, sessions: tree.sessions().collect() }
    }

    /// The first difference to another state, in words.
    pub fn difference(&self, other: &State) -> Option<String> {
        let paths: BTreeSet<&String> = self.znodes.keys().chain(other.znodes.keys()).collect();
        for path in paths {
            // Members write their configuration there when they start, each for itself.
            if path == CONFIG {
                continue;
            }
            let (mine, theirs) = (self.znodes.get(path), other.znodes.get(path));
            if mine != theirs {
                return Some(format!("{path} is {mine:?} here and {theirs:?} there"));
            }
        }
        (self.sessions != other.sessions)
            .then(|| format!("sessions {:?} here, {:?} there", self.sessions, other.sessions))
    }
}

impl Model {
    /// A model that begins with this state.
    pub fn new(state: State) -> Model {
        let digest = state.znodes.iter().map(|(path, znode)| digest_of(path, znode));
        Model { digest: digest.fold(0, i64::wrapping_add), state, changes: Vec::new() }
    }

    /// Everything.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// The digest of all znodes.
    pub fn digest(&self) -> i64 {
        self.digest
    }

    /// What changed since the last call.
    pub fn take_changes(&mut self) -> Vec<Change> {
        std::mem::take(&mut self.changes)
    }

    /// A session begins.
    pub fn begin_session(&mut self, session: SessionId, timeout_ms: i32) {
        self.state.sessions.insert(session, timeout_ms);
    }

    /// A session ends, and its ephemerals with it.
    pub fn end_session(&mut self, session: SessionId, zxid: Zxid) {
        self.state.sessions.remove(&session);
        for path in self.ephemerals(session) {
            self.remove(&path, zxid);
        }
    }

    /// The paths that a session owns.
    pub fn ephemerals(&self, session: SessionId) -> Vec<String> {
        let owned = |znode: &Znode| kind(znode) == EphemeralType::Ephemeral(session);
        let all = self.state.znodes.iter().filter(|(_, znode)| owned(znode));
        all.map(|(path, _)| path.clone()).collect()
    }

    /// The server removes a container or TTL znode of its own accord. False if it may not.
    pub fn reap(&mut self, path: &str, zxid: Zxid, time_ms: i64) -> bool {
        let Some(znode) = self.state.znodes.get(path) else { return false };
        let due = match kind(znode) {
            EphemeralType::Container => znode.stat.cversion > 0,
            EphemeralType::Ttl(ttl_ms) => time_ms - znode.stat.mtime_ms > ttl_ms,
            EphemeralType::Persistent | EphemeralType::Ephemeral(_) => false,
        };
        let may = due && self.children(path).next().is_none();
        if may {
            self.remove(path, zxid);
        }
        may
    }

    /// Does a write and says how it is answered.
    pub fn write(&mut self, who: Who, asked: &Asked) -> Answer {
        if let Asked::Close = asked {
            self.end_session(who.session, who.zxid);
            return Answer::of(Ok(Vec::new()));
        }
        if !self.state.sessions.contains_key(&who.session) {
            return Answer::of(Err(ErrorCode::SESSION_EXPIRED));
        }
        match asked {
            Asked::Edit(edit) => Answer::of(self.edit(who, edit)),
            Asked::SetAcl(path, version) => Answer::of(self.set_acl(path, *version)),
            Asked::Multi(edits) => Answer::of(Ok(self.multi(who, edits))),
            _ => Answer::of(Err(ErrorCode::UNIMPLEMENTED)),
        }
    }

    fn edit(&mut self, who: Who, edit: &Edit) -> Result<Vec<u8>, ErrorCode> {
        match edit {
            Edit::Create(create) => self.create(who, create),
            Edit::Delete(path, version) => {
                self.existing(parent_of(path))?;
                let node = self.existing(path)?;
                must_have(node.stat.version, *version)?;
                if self.children(path).next().is_some() {
                    return Err(ErrorCode::NOT_EMPTY);
                }
                self.remove(path, who.zxid);
                Ok(Vec::new())
            }
            Edit::SetData(path, data, version) => {
                must_have(self.existing(path)?.stat.version, *version)?;
                self.change(path, |znode| {
                    znode.data.clone_from(data);
                    znode.stat.version += 1;
                    znode.stat.mzxid = who.zxid;
                    znode.stat.mtime_ms = who.time_ms;
                });
                self.note(EventType::NodeDataChanged, path);
                self.stat_of(path)
            }
            Edit::Check(path, version) => {
                must_have(self.existing(path)?.stat.version, *version)?;
                Ok(Vec::new())
            }
        }
    }

    fn create(&mut self, who: Who, create: &Create) -> Result<Vec<u8>, ErrorCode> {
        let owner = match create.mode {
            CreateMode::Persistent | CreateMode::PersistentSequential => EphemeralType::Persistent,
            CreateMode::Ephemeral | CreateMode::EphemeralSequential => {
                EphemeralType::Ephemeral(who.session)
            }
            CreateMode::Container => EphemeralType::Container,
            CreateMode::PersistentTtl | CreateMode::PersistentSequentialTtl => {
                EphemeralType::Ttl(create.ttl_ms)
            }
        };
        let parent_path = parent_of(&create.path);
        let parent = self.existing(parent_path)?;
        let path = match create.mode.is_sequential() {
            true => format!("{}{:010}", create.path, parent.stat.cversion),
            false => create.path.clone(),
        };
        if self.state.znodes.contains_key(&path) {
            return Err(ErrorCode::NODE_EXISTS);
        }
        if matches!(kind(parent), EphemeralType::Ephemeral(_)) {
            return Err(ErrorCode::NO_CHILDREN_FOR_EPHEMERALS);
        }
        let stat = StatPersisted {
            czxid: who.zxid,
            mzxid: who.zxid,
            pzxid: who.zxid,
            ctime_ms: who.time_ms,
            mtime_ms: who.time_ms,
            ephemeral_owner: owner.owner().unwrap_or_default(),
            ..StatPersisted::default()
        };
        let znode = Znode { data: create.data.clone(), stat };
        self.digest = self.digest.wrapping_add(digest_of(&path, &znode));
        self.state.znodes.insert(path.clone(), znode);
        self.change(parent_path, |parent| {
            parent.stat.cversion += 1;
            parent.stat.pzxid = who.zxid;
        });
        self.note(EventType::NodeCreated, &path);
        let mut body = Vec::new();
        body.put_string(&path);
        if create.op != OpCode::CREATE {
            body.extend(self.stat_of(&path)?);
        }
        Ok(body)
    }

    fn set_acl(&mut self, path: &str, version: i32) -> Result<Vec<u8>, ErrorCode> {
        must_have(self.existing(path)?.stat.aversion, version)?;
        self.change(path, |znode| znode.stat.aversion += 1);
        self.stat_of(path)
    }

    /// All or nothing.
    fn multi(&mut self, who: Who, edits: &[Edit]) -> Vec<u8> {
        let before = self.clone();
        let mut body = Vec::new();
        let mut failure = None;
        for (at, edit) in edits.iter().enumerate() {
            match self.edit(who, edit) {
                Ok(result) => {
                    let shown = match edit.op() {
                        OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => OpCode::CREATE2,
                        op => op,
                    };
                    MultiHeader { op: shown, done: false, err: 0 }.encode(&mut body);
                    body.extend(result);
                }
                Err(code) => {
                    failure = Some((at, code));
                    break;
                }
            }
        }
        if let Some((failed, code)) = failure {
            *self = before;
            body.clear();
            for at in 0..edits.len() {
                let code = match at.cmp(&failed) {
                    std::cmp::Ordering::Less => ErrorCode::OK,
                    std::cmp::Ordering::Equal => code,
                    std::cmp::Ordering::Greater => ErrorCode::RUNTIME_INCONSISTENCY,
                };
                MultiHeader { op: OpCode::ERROR, done: false, err: code.0 }.encode(&mut body);
                body.put_int(code.0);
            }
        }
        MultiHeader::END.encode(&mut body);
        body
    }

    /// Answers a read that changes nothing and depends on the tree alone. `None` for the others:
    /// what removeWatches and setWatches are answered depends on the connection.
    pub fn read(&self, session: SessionId, asked: &Asked) -> Option<Answer> {
        Some(Answer::of(match asked {
            Asked::Exists(path, _) => self.stat_of(path),
            Asked::GetData(path, _) => self.data_of(path),
            Asked::GetChildren(path, _) => self.names_of(path),
            Asked::GetChildren2(path, _) => self.names_of(path).and_then(|mut body| {
                body.extend(self.stat_of(path)?);
                Ok(body)
            }),
            Asked::GetAcl(path) => self.stat_of(path).map(|stat| {
                let mut body = Vec::new();
                OPEN_ACL_UNSAFE.encode(&mut body);
                body.extend(stat);
                body
            }),
            Asked::GetEphemerals => {
                let mut body = Vec::new();
                encode_strings(&mut body, &self.ephemerals(session));
                Ok(body)
            }
            Asked::GetAllChildrenNumber(path) => self.existing(path).map(|_| {
                let below = if path == "/" { "/".to_owned() } else { format!("{path}/") };
                let inside = |other: &&String| other.starts_with(&below) && other.len() > 1;
                let count = self.state.znodes.keys().filter(inside).count();
                (count as i32).to_be_bytes().to_vec()
            }),
            Asked::MultiRead(reads) => Ok(self.multi_read(reads)),
            Asked::AddWatch(..) => Ok(vec![0; 4]),
            Asked::Sync(path) => {
                let mut body = Vec::new();
                body.put_string(path);
                Ok(body)
            }
            Asked::Ping => Ok(Vec::new()),
            Asked::RemoveWatches(_)
            | Asked::SetWatches(_)
            | Asked::Edit(_)
            | Asked::SetAcl(..)
            | Asked::Multi(_)
            | Asked::Reconfig(_)
            | Asked::Close => return None,
        }))
    }

    fn multi_read(&self, reads: &[(String, bool)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (path, data) in reads {
            let (op, result) = match data {
                true => (OpCode::GET_DATA, self.data_of(path)),
                false => (OpCode::GET_CHILDREN, self.names_of(path)),
            };
            match result {
                Ok(result) => {
                    MultiHeader { op, done: false, err: 0 }.encode(&mut body);
                    body.extend(result);
                }
                Err(code) => {
                    MultiHeader { op: OpCode::ERROR, done: false, err: code.0 }.encode(&mut body);
                    body.put_int(code.0);
                }
            }
        }
        MultiHeader::END.encode(&mut body);
        body
    }

    fn data_of(&self, path: &str) -> Result<Vec<u8>, ErrorCode> {
        let mut body = Vec::new();
        body.put_buffer(self.existing(path)?.data.as_deref());
        body.extend(self.stat_of(path)?);
        Ok(body)
    }

    fn names_of(&self, path: &str) -> Result<Vec<u8>, ErrorCode> {
        self.existing(path)?;
        let names: Vec<&str> = self.children(path).collect();
        let mut body = Vec::new();
        encode_strings(&mut body, &names);
        Ok(body)
    }

    /// What clients are told of a znode.
    fn stat_of(&self, path: &str) -> Result<Vec<u8>, ErrorCode> {
        let znode = self.existing(path)?;
        let stored = &znode.stat;
        let num_children = self.children(path).count() as i32;
        let stat = Stat {
            czxid: stored.czxid,
            mzxid: stored.mzxid,
            ctime_ms: stored.ctime_ms,
            mtime_ms: stored.mtime_ms,
            version: stored.version,
            // Creations and deletions: what was created and is not there was deleted.
            cversion: 2 * stored.cversion - num_children,
            aversion: stored.aversion,
            ephemeral_owner: match kind(znode) {
                EphemeralType::Ephemeral(session) => session,
                _ => SessionId::NONE,
            },
            data_length: znode.data.as_ref().map_or(0, Vec::len) as i32,
            num_children,
            pzxid: stored.pzxid,
        };
        let mut body = Vec::new();
        stat.encode(&mut body);
        Ok(body)
    }

    fn existing(&self, path: &str) -> Result<&Znode, ErrorCode> {
        self.state.znodes.get(path).ok_or(ErrorCode::NO_NODE)
    }

    /// Names of the children, sorted.
    fn children<'a>(&'a self, path: &'a str) -> impl Iterator<Item = &'a str> {
        let below = if path == "/" { "/".to_owned() } else { format!("{path}/") };
        let from = self.state.znodes.range(below.clone()..);
        let inside = from.map(|(other, _)| other).take_while({
            let below = below.clone();
            move |other| other.starts_with(&below)
        });
        inside
            .map(move |other| &other[below.len()..])
            .filter(|name| !name.is_empty() && !name.contains('/'))
    }

    fn change(&mut self, path: &str, edit: impl FnOnce(&mut Znode)) {
        let Some(znode) = self.state.znodes.get_mut(path) else { return };
        let before = digest_of(path, znode);
        edit(znode);
        self.digest = self.digest.wrapping_sub(before).wrapping_add(digest_of(path, znode));
    }

    fn remove(&mut self, path: &str, zxid: Zxid) {
        let Some(znode) = self.state.znodes.remove(path) else { return };
        self.digest = self.digest.wrapping_sub(digest_of(path, &znode));
        self.change(parent_of(path), |parent| parent.stat.pzxid = zxid);
        self.note(EventType::NodeDeleted, path);
    }

    /// The ensemble has another configuration. What it is like is the servers' business.
    pub fn reconfigured(&mut self) {
        self.note(EventType::NodeDataChanged, CONFIG);
    }

    fn note(&mut self, event: EventType, path: &str) {
        self.changes.push(Change { event, path: path.to_owned() });
    }
}

/// The parent's path; the root is its own.
pub fn parent_of(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(slash) => &path[..slash],
    }
}

fn kind(znode: &Znode) -> EphemeralType {
    EphemeralType::of(znode.stat.ephemeral_owner, OWNERS)
}

fn must_have(version: i32, expected: i32) -> Result<(), ErrorCode> {
    if expected == -1 || expected == version { Ok(()) } else { Err(ErrorCode::BAD_VERSION) }
}

fn digest_of(path: &str, znode: &Znode) -> i64 {
    match path.starts_with("/zookeeper/") {
        true => 0,
        false => node_digest(data_crc(path, znode.data.as_deref()), &znode.stat),
    }
}
