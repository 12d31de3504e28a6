//! Whole trees: read, compared, cleared, reaped.
//!
//! Replies show what a client asked for; the walk shows the rest, so that a change that no request
//! happened to look at is found as well.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::side::{Seen, Side};
use crate::peers::four_letter_word;
use crate::wire::{Acl, Blob, Request, op};

/// The counters that both servers must agree on after the same requests.
const COUNTERS: [&str; 4] =
    ["zk_znode_count", "zk_ephemerals_count", "zk_global_sessions", DATA_SIZE];
const DATA_SIZE: &str = "zk_approximate_data_size";
/// How often the reaper runs while it is waited for.
const REAPER_INTERVAL: Duration = Duration::from_millis(200);
/// How many full turns the reaper is given: one per level of the deepest tree, and some.
const REAPER_TURNS: usize = 7;
/// Containers of our own; a new one can only be gone after a turn that began after it was made.
const MARKER: &str = "/reaped-in-turn";

impl Side {
    /// Everything below `top` and the counters, one line a znode, read by the superuser.
    pub(super) fn walk(&mut self, top: &str) -> Result<Seen> {
        let mut seen = Seen::new();
        let mut level = vec![top.to_owned()];
        while !level.is_empty() {
            let requests: Vec<Request> = level.iter().flat_map(|path| questions(path)).collect();
            let answers = self.ask_all(&requests)?;
            ensure!(answers.len() == requests.len(), "walking {top}: {answers:?}");
            let mut next = Vec::new();
            for (path, answers) in level.iter().zip(answers.as_chunks::<3>().0) {
                let [data, acl, children] = answers;
                let names = children["children"].as_array().context("no children")?;
                let base = if path == "/" { "" } else { path };
                next.extend(names.iter().filter_map(Value::as_str).map(|n| format!("{base}/{n}")));
                seen.push(json!({
                    "znode": path, "data": data["data"], "stat": data["stat"], "acl": acl["acl"],
                    "stats agree": acl["stat"] == data["stat"] && children["stat"] == data["stat"],
                }));
            }
            level = next;
        }
        let text = four_letter_word(self.server.addr(), "mntr").context("mntr")?;
        for line in text.lines() {
            let Some((name, value)) = line.split_once('\t') else { continue };
            // Approximate indeed: a Java that has loaded its tree counts otherwise than before.
            let comparable = name != DATA_SIZE || !self.has_restarted;
            if COUNTERS.contains(&name) && comparable {
                seen.push(json!({ "counter": name, "value": value }));
            }
        }
        Ok(seen)
    }

    /// Deletes everything below `top` but ZooKeeper's own znodes, deepest first.
    pub(super) fn clear(&mut self, top: &str) -> Result<Seen> {
        let paths: BTreeSet<String> = self
            .walk(top)?
            .iter()
            .filter_map(|line| line["znode"].as_str().map(str::to_owned))
            .filter(|path| {
                !matches!(
                    path.as_str(),
                    "/" | "/zookeeper" | "/zookeeper/config" | "/zookeeper/quota"
                )
            })
            .collect();
        // Backwards, every path comes before its parent.
        let requests: Vec<Request> = paths
            .into_iter()
            .rev()
            .map(|path| Request::PathInt { op: op::DELETE, path: Some(path), number: -1 })
            .collect();
        if requests.is_empty() {
            return Ok(Seen::new());
        }
        self.ask_all(&requests)
    }

    /// Restarts with a busy reaper and waits until it has nothing left to take.
    pub(super) fn reap(&mut self) -> Result<Seen> {
        let interval = REAPER_INTERVAL.as_millis().to_string();
        let before = self.zxid;
        let properties = [
            ("znode.container.checkIntervalMs", interval.as_str()),
            ("znode.container.maxPerMinute", "600000"),
        ];
        for (name, value) in properties {
            self.server.opts_mut().properties.retain(|(earlier, _)| earlier != name);
            self.server.opts_mut().properties.push((name.into(), value.into()));
        }
        self.come_back(false)?;
        for _ in 0..REAPER_TURNS {
            for request in marker() {
                self.ask(request)?;
            }
            self.until_gone(MARKER)?;
        }
        let mut seen = self.walk("/")?;
        // The order in which the reaper takes them is that of a hash set (D07), so which zxid a
        // parent keeps is nobody's promise.
        for line in &mut seen {
            if line["stat"]["pzxid"].as_i64().is_some_and(|pzxid| pzxid > before) {
                line["stat"]["pzxid"] = "of the reaping".into();
            }
        }
        Ok(seen)
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

/// A container that has had a child, and so may be taken.
fn marker() -> [Request; 3] {
    let create = |op: i32, path: String, flags: i32| Request::Create {
        op,
        path: Some(path),
        data: Blob(None),
        acl: Acl::open(),
        flags,
        ttl: None,
    };
    let child = format!("{MARKER}/child");
    [
        create(op::CREATE_CONTAINER, MARKER.to_owned(), 4),
        create(op::CREATE, child.clone(), 0),
        Request::PathInt { op: op::DELETE, path: Some(child), number: -1 },
    ]
}
