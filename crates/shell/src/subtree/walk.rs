//! Subtrees as streams of znodes, several requests under way.
//!
//! [`Walk`] gives parents before their children and siblings by name, which is the order in which
//! a subtree can be created again. It keeps the names of what is still to be visited along one
//! branch, and answers for `AHEAD` znodes; never the subtree. [`Levels`] gives ZooKeeper's order
//! for `ls -R`: all children of a znode, then what is below each.
//!
//! What is deleted while we walk is passed over, unless it is where we began.

use std::collections::VecDeque;

use oxkeeper_client::{Acl, Client, Data, Error, ErrorCode, Reply, Stat};

use crate::failure::Failure;
use crate::path;
use crate::session::Watched;
use crate::shell::{OnPath, Shell};

/// Znodes that are asked for before their turn.
const AHEAD: usize = 64;

/// What is wanted of every znode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// Its stat.
    Stat,
    /// Its data and its ACL too.
    Whole,
}

/// A znode that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Where.
    pub path: String,
    /// Levels below the beginning.
    pub depth: usize,
    /// Its stat.
    pub stat: Stat,
    /// Names of its children, by name. Empty if they may not be seen.
    pub children: Vec<String>,
    /// Its data and ACL, if they are wanted.
    pub whole: Option<(Option<Vec<u8>>, Vec<Acl>)>,
    /// What is below may not be seen.
    pub denied: bool,
}

struct Asked {
    children: Reply<(Vec<String>, Stat)>,
    data: Option<Reply<Data>>,
    acl: Option<Reply<(Vec<Acl>, Stat)>>,
}

struct Waiting {
    path: String,
    depth: usize,
    asked: Option<Asked>,
}

/// A subtree, parents first.
pub struct Walk {
    zk: Client,
    want: Want,
    depth_max: Option<usize>,
    tolerant: bool,
    stack: Vec<Waiting>,
    ahead: usize,
}

impl Walk {
    /// The subtree of `path`, down to `depth_max` levels below it.
    pub fn new(zk: &Client, path: &str, want: Want, depth_max: Option<usize>) -> Walk {
        let first = Waiting { path: path.to_owned(), depth: 0, asked: None };
        Walk { zk: zk.clone(), want, depth_max, tolerant: false, stack: vec![first], ahead: 0 }
    }

    /// Goes on where something may not be seen.
    #[must_use]
    pub fn tolerant(mut self) -> Walk {
        self.tolerant = true;
        self
    }

    fn ask(&self, path: &str) -> Asked {
        let children = self.zk.children(path).with_stat().send();
        let whole = self.want == Want::Whole;
        let data = whole.then(|| self.zk.get(path).send());
        let acl = whole.then(|| self.zk.acl(path).send());
        Asked { children, data, acl }
    }

    /// The next znode.
    ///
    /// # Errors
    /// If there is nothing where we began, or something may not be seen.
    pub async fn next(&mut self) -> Result<Option<Found>, Failure> {
        while let Some(mut waiting) = self.stack.pop() {
            let asked = match waiting.asked.take() {
                Some(asked) => {
                    self.ahead -= 1;
                    asked
                }
                None => self.ask(&waiting.path),
            };
            self.ask_ahead();
            match self.found(&waiting, asked).await {
                Ok(found) => {
                    self.push_children(&found);
                    return Ok(Some(found));
                }
                Err(error) if error.is_no_node() && waiting.depth > 0 => {}
                Err(error) => return Err(Failure::of(&error, &waiting.path)),
            }
        }
        Ok(None)
    }

    fn push_children(&mut self, found: &Found) {
        if self.depth_max.is_some_and(|max| found.depth >= max) {
            return;
        }
        for name in found.children.iter().rev() {
            let path = path::child(&found.path, name);
            self.stack.push(Waiting { path, depth: found.depth + 1, asked: None });
        }
    }

    /// Asks for those that are next.
    fn ask_ahead(&mut self) {
        for at in (0..self.stack.len()).rev().take(AHEAD) {
            if self.ahead >= AHEAD {
                return;
            }
            if self.stack[at].asked.is_none() {
                self.stack[at].asked = Some(self.ask(&self.stack[at].path));
                self.ahead += 1;
            }
        }
    }

    async fn found(&self, waiting: &Waiting, asked: Asked) -> Result<Found, Error> {
        let (path, depth) = (waiting.path.clone(), waiting.depth);
        let (mut children, mut stat, denied) = match asked.children.await {
            Ok((children, stat)) => (children, stat, false),
            Err(error) if self.tolerant && error.is_no_auth() => {
                // That it is there, and its stat, may be seen by everybody.
                match self.zk.exists(&path).await? {
                    Some(stat) => (Vec::new(), stat, true),
                    None => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        children.sort();
        let whole = match asked.data.zip(asked.acl) {
            None => None,
            Some((data, acl)) => {
                let (data, (acl, _)) = (data.await?, acl.await?);
                stat = data.stat;
                Some((data.bytes, acl))
            }
        };
        Ok(Found { path, depth, stat, children, whole, denied })
    }
}

/// A subtree in the order of ZooKeeper's `ls -R`.
pub struct Levels {
    zk: Client,
    told: VecDeque<String>,
    open: Vec<(String, Option<Reply<Vec<String>>>)>,
    root: String,
}

impl Levels {
    /// The subtree of `path`.
    ///
    /// # Errors
    /// If there is no such znode, or its data may not be read.
    pub async fn new(zk: &Client, path: &str) -> Result<Levels, Failure> {
        zk.get(path).await.on(path)?;
        Ok(Levels {
            zk: zk.clone(),
            told: VecDeque::from([path.to_owned()]),
            open: vec![(path.to_owned(), None)],
            root: path.to_owned(),
        })
    }

    /// The next path.
    ///
    /// # Errors
    /// If something may not be seen.
    pub async fn next(&mut self) -> Result<Option<String>, Failure> {
        loop {
            if let Some(path) = self.told.pop_front() {
                return Ok(Some(path));
            }
            let Some((parent, asked)) = self.open.pop() else { return Ok(None) };
            let asked = asked.unwrap_or_else(|| self.zk.children(&parent).send());
            for (path, reply) in self.open.iter_mut().rev().take(AHEAD) {
                if reply.is_none() {
                    *reply = Some(self.zk.children(path).send());
                }
            }
            match asked.await {
                Ok(names) => self.opened(&parent, names),
                Err(error) if error.code() == Some(ErrorCode::NO_NODE) && parent != self.root => {}
                Err(error) => return Err(Failure::of(&error, &parent)),
            }
        }
    }

    fn opened(&mut self, parent: &str, mut names: Vec<String>) {
        names.sort();
        let paths = names.iter().map(|name| path::child(parent, name));
        self.told.extend(paths.clone());
        self.open.extend(paths.rev().map(|path| (path, None)));
    }
}

/// `ls -R`: every path, and with a watch, one on the data where it begins and one on all children.
///
/// # Errors
/// As [`Levels`].
pub async fn levels(shell: &Shell, path: &str, watch: bool) -> Result<(), Failure> {
    let zk = shell.zk()?;
    let mut levels = Levels::new(&zk, path).await?;
    if watch {
        let (_, event) = zk.get(path).watch().await.on(path)?;
        shell.session()?.tell(Watched::Data, path, event);
    }
    let mut all = Vec::new();
    while let Some(found) = levels.next().await? {
        if watch && let Ok((_, event)) = zk.children(&found).watch().await {
            shell.session()?.tell(Watched::Children, &found, event);
        }
        if shell.json {
            all.push(found);
        } else {
            shell.out.line(found);
        }
        if shell.out.gone() {
            break;
        }
    }
    if shell.json {
        shell.out.json(&serde_json::json!(all));
    }
    Ok(())
}
