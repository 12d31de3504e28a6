//! What a server serves: every znode with every field a client can see.

use std::collections::BTreeMap;
use std::fmt;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::client::Client;
use crate::peers::{DumpedZnode, JavaDump};
use crate::wire::{Request, op, reply};

/// Differences shown of one comparison.
const SHOWN: usize = 8;

/// A whole tree, one JSON object a znode: data, acl, stat and children.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Served(pub BTreeMap<String, Value>);

impl Served {
    /// Reads everything from `top` down as the superuser.
    ///
    /// # Errors
    /// When the server does not answer, or contradicts itself.
    pub fn read(client: &mut Client) -> Result<Self> {
        let mut all = BTreeMap::new();
        let mut level = vec!["/".to_owned()];
        while !level.is_empty() {
            let questions: Vec<Request> = level.iter().flat_map(|path| questions(path)).collect();
            let answers = client.ask_all(&questions)?;
            let mut next = Vec::new();
            for (path, answers) in level.into_iter().zip(answers.as_chunks::<3>().0) {
                let [data, acl, children] = answers;
                ensure!(data["stat"] == acl["stat"], "{path} changes while it is read");
                let names = children["children"].as_array().context("no children")?;
                let mut names: Vec<&str> = names.iter().filter_map(Value::as_str).collect();
                names.sort_unstable();
                let base = if path == "/" { "" } else { &path };
                next.extend(names.iter().map(|name| format!("{base}/{name}")));
                let znode = json!({
                    "data": data["data"], "acl": acl["acl"], "stat": data["stat"],
                    "children": names,
                });
                all.insert(path, znode);
            }
            level = next;
        }
        Ok(Self(all))
    }

    /// What a client would be served from a directory as Java's own classes read it.
    pub fn of_dump(dump: &JavaDump) -> Self {
        let mut children: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for path in dump.znodes.keys().filter(|path| *path != "/") {
            let (parent, name) = path.rsplit_once('/').unwrap_or_default();
            children.entry(if parent.is_empty() { "/" } else { parent }).or_default().push(name);
        }
        let none = Vec::new();
        let znodes = dump.znodes.iter().map(|(path, znode)| {
            let children = children.get(path.as_str()).unwrap_or(&none);
            (path.clone(), shown(znode, children))
        });
        Self(znodes.collect())
    }

    /// Compares, and says where the two differ.
    ///
    /// # Errors
    /// The differences.
    pub fn must_equal(&self, other: &Self, what: impl fmt::Display) -> Result<()> {
        let mut lines = Vec::new();
        for path in self.0.keys().chain(other.0.keys().filter(|path| !self.0.contains_key(*path))) {
            let (here, there) = (self.0.get(path), other.0.get(path));
            if here != there {
                let text = |znode: Option<&Value>| znode.map_or("absent".into(), Value::to_string);
                lines.push(format!("{path}:\n    {}\n    {}", text(here), text(there)));
            }
        }
        let count = lines.len();
        lines.truncate(SHOWN);
        ensure!(count == 0, "{what}: {count} znodes differ:\n  {}", lines.join("\n  "));
        Ok(())
    }
}

fn questions(path: &str) -> [Request; 3] {
    let path = Some(path.to_owned());
    [
        Request::Read { op: op::GET_DATA, path: path.clone(), watch: false },
        Request::Path { op: op::GET_ACL, path: path.clone() },
        Request::Read { op: op::GET_CHILDREN2, path, watch: false },
    ]
}

/// A stored znode as clients see it (`DataNode.copyStat`).
fn shown(znode: &DumpedZnode, children: &[&str]) -> Value {
    let count = i32::try_from(children.len()).unwrap_or(i32::MAX);
    let acl: Vec<Value> = znode
        .acl
        .iter()
        .map(|acl| json!({ "perms": acl.perms, "scheme": acl.scheme, "id": acl.id }))
        .collect();
    let data = znode.data.as_deref();
    json!({
        "data": data.map_or(Value::Null, reply::blob),
        "acl": acl,
        "stat": {
            "czxid": znode.czxid, "mzxid": znode.mzxid, "pzxid": znode.pzxid,
            "ctime": znode.ctime_ms, "mtime": znode.mtime_ms,
            "version": znode.version, "aversion": znode.aversion,
            "cversion": znode.cversion.wrapping_mul(2).wrapping_sub(count),
            // Containers and TTL nodes have marks there, which clients are not shown.
            "ephemeralOwner": znode.ephemeral_owner.max(0),
            "dataLength": data.map_or(0, <[u8]>::len),
            "numChildren": count,
        },
        "children": children,
    })
}
