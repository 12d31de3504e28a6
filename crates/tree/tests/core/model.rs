//! The tree's rules once more, as plainly as they can be said.

use std::collections::{BTreeMap, BTreeSet};

use oxkeeper_proto::txn::CreateTxn;
use oxkeeper_proto::{ErrorCode, OpCode, Payload, SessionId, StatPersisted, Txn, Zxid};

use crate::support::{Dump, dump};

/// One map from path to znode; the children are looked for.
pub struct Model {
    znodes: BTreeMap<String, Dump>,
    sessions: BTreeMap<SessionId, i32>,
}

fn parent_of(path: &str) -> (String, String) {
    let (parent, name) = path.rsplit_once('/').expect("a path");
    (if parent.is_empty() { "/".to_owned() } else { parent.to_owned() }, name.to_owned())
}

impl Model {
    pub fn of(tree: &oxkeeper_tree::Tree) -> Model {
        Model { znodes: dump(tree), sessions: tree.sessions().collect() }
    }

    pub fn znodes(&self) -> &BTreeMap<String, Dump> {
        &self.znodes
    }

    pub fn sessions(&self) -> Vec<(SessionId, i32)> {
        self.sessions.iter().map(|(id, timeout)| (*id, *timeout)).collect()
    }

    pub fn ephemerals(&self) -> BTreeMap<SessionId, BTreeSet<String>> {
        let mut all: BTreeMap<SessionId, BTreeSet<String>> = BTreeMap::new();
        for (path, node) in &self.znodes {
            let owner = node.stat.ephemeral_owner;
            if owner > 0 {
                all.entry(SessionId(owner)).or_default().insert(path.clone());
            }
        }
        all
    }

    pub fn apply(&mut self, payload: &Payload<'_>) -> ErrorCode {
        let (zxid, time) = (payload.header.zxid, payload.header.time_ms);
        let session = payload.header.session;
        let done = match &payload.txn {
            Txn::CreateSession(timeout) => {
                self.sessions.insert(session, *timeout);
                Ok(())
            }
            Txn::CloseSession(listed) => {
                self.sessions.remove(&session);
                let listed = listed.map(|l| l.iter().map(|p| p.into_owned()).collect());
                let own = self.ephemerals().remove(&session).unwrap_or_default();
                let listed: Vec<String> = listed.unwrap_or_default();
                for path in listed.into_iter().chain(own) {
                    _ = self.delete(&path, zxid);
                }
                Ok(())
            }
            Txn::Create(create) => self.create(payload.header.op, create, session, zxid, time),
            Txn::Delete(path) => self.delete(path, zxid),
            Txn::SetData(set) => match self.znodes.get_mut(&*set.path) {
                None => Err(ErrorCode::NO_NODE),
                Some(node) => {
                    node.data = set.data.map(<[u8]>::to_vec);
                    node.stat.version = set.version;
                    node.stat.mzxid = zxid;
                    node.stat.mtime_ms = time;
                    Ok(())
                }
            },
            Txn::SetAcl(set) => match self.znodes.get_mut(&*set.path) {
                None => Err(ErrorCode::NO_NODE),
                Some(node) => {
                    node.acl = set.acl.raw().to_vec();
                    node.stat.aversion = set.version;
                    Ok(())
                }
            },
            Txn::Error(code) => Err(*code),
            Txn::Check(_) => Ok(()),
            Txn::Multi(multi) => {
                for (op, txn) in multi.iter().filter(|_| multi.failure().is_none()) {
                    let header = oxkeeper_proto::TxnHeader { op, ..payload.header };
                    self.apply(&Payload { header, txn, digest: None });
                }
                Ok(())
            }
        };
        done.err().unwrap_or(ErrorCode::OK)
    }

    fn create(
        &mut self,
        op: OpCode,
        create: &CreateTxn<'_>,
        session: SessionId,
        zxid: Zxid,
        time: i64,
    ) -> Result<(), ErrorCode> {
        let (parent, name) = parent_of(&create.path);
        let exists = self.znodes.contains_key(&*create.path);
        let up = self.znodes.get_mut(&parent).ok_or(ErrorCode::NO_NODE)?;
        let cversion = match create.parent_cversion {
            -1 => up.stat.cversion + 1,
            cversion => cversion,
        };
        // On a znode that exists only the plain create mends the parent.
        if (!exists || op == OpCode::CREATE) && cversion > up.stat.cversion {
            up.stat.cversion = cversion;
            up.stat.pzxid = zxid;
        }
        if let Some(node) = self.znodes.get_mut(&*create.path) {
            node.acl = create.acl.raw().to_vec();
            return Err(ErrorCode::NODE_EXISTS);
        }
        self.znodes.get_mut(&parent).expect("seen").children.insert(name);
        let ephemeral_owner = match op {
            OpCode::CREATE_CONTAINER => i64::MIN,
            OpCode::CREATE_TTL => (0xff << 56) | create.ttl_ms,
            _ if create.ephemeral => session.0,
            _ => 0,
        };
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            pzxid: zxid,
            ctime_ms: time,
            mtime_ms: time,
            ephemeral_owner,
            ..StatPersisted::default()
        };
        let data = create.data.map(<[u8]>::to_vec);
        let acl = create.acl.raw().to_vec();
        self.znodes.insert(
            create.path.clone().into_owned(),
            Dump { data, acl, stat, children: [].into() },
        );
        Ok(())
    }

    fn delete(&mut self, path: &str, zxid: Zxid) -> Result<(), ErrorCode> {
        let (parent, name) = parent_of(path);
        let up = self.znodes.get_mut(&parent).ok_or(ErrorCode::NO_NODE)?;
        up.stat.pzxid = up.stat.pzxid.max(zxid);
        up.children.remove(&name);
        self.znodes.remove(path).map(|_| ()).ok_or(ErrorCode::NO_NODE)
    }
}
