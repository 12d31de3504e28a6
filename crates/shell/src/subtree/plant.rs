//! Creating znodes on a server: the end of `cp` and `import`.
//!
//! Requests of a session are done in their order, so a child's create is sent without waiting for
//! its parent's answer. `AHEAD` are under way at a time.

use std::collections::VecDeque;

use oxkeeper_client::{BoxFuture, Client, Created, Error};
use serde_json::json;

use super::node::Node;
use crate::acl;
use crate::commands::write::would;
use crate::failure::{Failure, Kind};
use crate::path;
use crate::shell::{OnPath, Shell};
use crate::show;

/// Creates under way.
const AHEAD: usize = 64;

/// What may be done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Leave {
    /// Change what is there.
    pub overwrite: bool,
    /// Only say what would be done.
    pub dry_run: bool,
    /// Everybody may do everything with what is created.
    pub open_acl: bool,
}

/// What was done, or would have been.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Created.
    pub created: u64,
    /// Changed.
    pub changed: u64,
    /// There already, and the same.
    pub same: u64,
    /// Ephemerals, left out.
    pub ephemerals: u64,
}

/// A create that was sent: of which path, what it holds, and its answer.
type UnderWay = (String, Node, BoxFuture<Result<Created, Error>>);

/// Creates znodes, parents before children, below one path.
pub struct Planter {
    zk: Client,
    target: String,
    leave: Leave,
    under_way: VecDeque<UnderWay>,
    /// What was done so far.
    pub tally: Tally,
}

impl Planter {
    /// Creates below `target`.
    pub fn new(zk: &Client, target: &str, leave: Leave) -> Planter {
        Planter {
            zk: zk.clone(),
            target: target.to_owned(),
            leave,
            under_way: VecDeque::new(),
            tally: Tally::default(),
        }
    }

    /// Creates one, or will have when [`Planter::finish`] returns.
    ///
    /// # Errors
    /// If this one, or one before, cannot be created.
    pub async fn plant(&mut self, shell: &Shell, mut node: Node) -> Result<(), Failure> {
        let path = path::under(&self.target, &node.below);
        path::check(&path)?;
        if node.ephemeral {
            self.tally.ephemerals += 1;
            return Ok(());
        }
        if self.leave.open_acl {
            node.acl = acl::open();
        }
        if self.leave.dry_run {
            return self.foresee(shell, &path, &node).await;
        }
        let request = self.zk.create(&path, "").data(node.data.as_deref()).acl(&node.acl[..]);
        // Sent already; the box is only polled for its answer.
        let creating: BoxFuture<Result<Created, Error>> = Box::pin(request.send());
        let node_is_root = node.below.is_empty();
        self.under_way.push_back((path, node, creating));
        if node_is_root {
            // If this one is refused, nothing was done.
            return self.finish().await;
        }
        while self.under_way.len() >= AHEAD {
            self.settle().await?;
        }
        Ok(())
    }

    /// Waits for all that is under way.
    ///
    /// # Errors
    /// If one of them cannot be created.
    pub async fn finish(&mut self) -> Result<(), Failure> {
        while !self.under_way.is_empty() {
            self.settle().await?;
        }
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), Failure> {
        let Some((path, node, creating)) = self.under_way.pop_front() else { return Ok(()) };
        match creating.await {
            Ok(_) => {
                self.tally.created += 1;
                Ok(())
            }
            Err(error) if error.is_node_exists() && *path == *"/" && !self.leave.overwrite => {
                // The root is always there; its data are left as they are.
                self.tally.same += 1;
                Ok(())
            }
            Err(error) if error.is_node_exists() && self.leave.overwrite => {
                self.overwrite(&path, &node).await
            }
            Err(error) => Err(self.explain(&error, &path)),
        }
    }

    fn explain(&self, error: &Error, path: &str) -> Failure {
        let failure = Failure::of(error, path);
        match failure.kind {
            Kind::NodeExists => failure
                .hint("--overwrite changes what is there; --dry-run shows what that would be"),
            Kind::NoNode => {
                failure.hint(format!("its parent is missing: create -p {}", self.target))
            }
            _ => failure,
        }
    }

    async fn overwrite(&mut self, path: &str, node: &Node) -> Result<(), Failure> {
        let (data, acl) = self.differences(path, node).await?;
        if data {
            self.zk.set(path, "").data(node.data.as_deref()).await.on(path)?;
        }
        if acl {
            self.zk.set_acl(path, &node.acl[..]).await.on(path)?;
        }
        if data || acl {
            self.tally.changed += 1;
        } else {
            self.tally.same += 1;
        }
        Ok(())
    }

    /// Whether data and ACL of what is there differ.
    async fn differences(&self, path: &str, node: &Node) -> Result<(bool, bool), Failure> {
        let (there, acl) = (self.zk.get(path).send(), self.zk.acl(path).send());
        let (there, (list, _)) = (there.await.on(path)?, acl.await.on(path)?);
        Ok((there.bytes != node.data, !acl::same(&list, &node.acl)))
    }

    async fn foresee(&mut self, shell: &Shell, path: &str, node: &Node) -> Result<(), Failure> {
        let size = show::size(node.size());
        if self.zk.exists(path).await.on(path)?.is_none() {
            self.tally.created += 1;
            return would(shell, "create", path, &size);
        }
        let (data, acl) = self.differences(path, node).await?;
        let what = match (data, acl) {
            (false, false) => {
                self.tally.same += 1;
                return Ok(());
            }
            (true, false) => format!("data, {size}"),
            (false, true) => "ACL".to_owned(),
            (true, true) => format!("data, {size}, and ACL"),
        };
        self.tally.changed += 1;
        if self.leave.overwrite {
            would(shell, "change", path, &what)
        } else {
            would(shell, "be refused at", path, "it exists, and there is no --overwrite")
        }
    }

    /// Says what came of it.
    pub fn tell(&self, shell: &Shell) {
        let Tally { created, changed, same, ephemerals } = self.tally;
        if shell.json {
            return shell.out.json(&json!({
                "created": created, "changed": changed, "same": same, "ephemerals": ephemerals,
                "dry_run": self.leave.dry_run,
            }));
        }
        let verb = if self.leave.dry_run { "would be created" } else { "created" };
        let mut text = format!("{created} {verb}");
        for (count, what) in
            [(changed, "changed"), (same, "already the same"), (ephemerals, "ephemerals left out")]
        {
            if count > 0 {
                text.push_str(&format!(", {count} {what}"));
            }
        }
        shell.out.note(text);
    }
}
