//! The walk of a snapshot, and what has to be kept for it.

use std::collections::BTreeMap;
use std::collections::VecDeque;

use crate::dir::{ChildRun, Children};
use crate::limits::RUN_CHILDREN_MAX;
use crate::path;
use crate::run::{HASH_END, NameHasher};
use crate::snapshot::chunk::Chunk;
use crate::tree::Tree;
use crate::znode::Node;

/// Where the walk is.
///
/// Directories are visited parents first; the subdirectories of one are visited in the order of
/// their hashes once all its children have been handed out. Hence whether a given znode has been
/// handed out already follows from its path alone, see [`Cursor::is_past`].
#[derive(Debug)]
pub(crate) struct Cursor {
    /// Handed out first.
    root: Option<Node>,
    /// The directory being visited.
    path: String,
    /// Its children below this hash have been handed out.
    bound: u32,
    /// Those of its children handed out that have a directory, by hash.
    found: VecDeque<Vec<(u32, Node)>>,
    /// Subdirectories still to be visited, level by level.
    levels: Vec<Level>,
    /// What the tree no longer has as it was: by hash of the directory, hash of the name, and a
    /// number that tells apart what collides.
    kept: BTreeMap<(u64, u32), Kept>,
}

#[derive(Debug)]
struct Level {
    /// Length of the common parent's path.
    parent_len: usize,
    dirs: VecDeque<Vec<(u32, Node)>>,
}

/// A znode that changed ahead of the walk.
#[derive(Debug)]
struct Kept {
    path: Box<str>,
    /// As it was; `None` if it was not there.
    old: Option<Node>,
}

impl Level {
    fn next(&mut self) -> Option<Node> {
        loop {
            match self.dirs.front_mut()?.pop() {
                Some((_, node)) => return Some(node),
                None => _ = self.dirs.pop_front(),
            }
        }
    }
}

impl Cursor {
    pub fn new(root: Node) -> Cursor {
        Cursor {
            root: Some(root),
            path: String::new(),
            bound: 0,
            found: VecDeque::new(),
            levels: Vec::new(),
            kept: BTreeMap::new(),
        }
    }

    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// A znode is about to change from `old`, or to come into being.
    pub fn preserve(&mut self, hasher: &NameHasher, path: &str, old: Option<Node>) {
        let Some((parent, name)) = path::split(path) else { return };
        let hash = hasher.hash(name.as_bytes());
        // The root was captured at the beginning.
        if path == "/" || self.is_past(hasher, parent, hash) {
            return;
        }
        let key = key(hasher.hash(parent.as_bytes()), hash);
        let mut number = 0;
        for (&(_, other), kept) in self.kept.range((key, 0)..=(key, u32::MAX)) {
            if &*kept.path == path {
                return;
            }
            number = other + 1;
        }
        self.kept.insert((key, number), Kept { path: path.into(), old });
    }

    /// True if the child of `dir` with this hash has been handed out, or cannot have been there at
    /// the beginning. May be false for one that has: then it is kept for nothing.
    fn is_past(&self, hasher: &NameHasher, dir: &str, hash: u32) -> bool {
        if dir == self.path {
            return hash < self.bound;
        }
        let mut theirs = dir.split('/').skip(1);
        let mut ours = self.path.split('/').skip(1);
        loop {
            match (theirs.next(), ours.next()) {
                // Above us: we came through there.
                (None, _) => return true,
                // Below us: still to come.
                (Some(_), None) => return false,
                (Some(a), Some(b)) if a == b => {}
                (Some(a), Some(b)) => {
                    return hasher.hash(a.as_bytes()) < hasher.hash(b.as_bytes());
                }
            }
        }
    }

    /// Puts about `budget` znodes into the chunk; true when those were the last.
    pub fn fill(&mut self, tree: &Tree, budget: usize, chunk: &mut Chunk) -> bool {
        if let Some(root) = self.root.take() {
            chunk.push_root(root);
        }
        let mut spent = 0;
        while spent < budget.max(1) {
            if self.bound == HASH_END && !self.descend() {
                return true;
            }
            spent += self.visit(tree, chunk);
        }
        false
    }

    /// Goes on to the next directory; false if there is none.
    fn descend(&mut self) -> bool {
        if !self.found.is_empty() {
            let (parent_len, dirs) = (self.path.len(), std::mem::take(&mut self.found));
            self.levels.push(Level { parent_len, dirs });
        }
        while let Some(level) = self.levels.last_mut() {
            if let Some(node) = level.next() {
                self.path.truncate(level.parent_len);
                self.path.push('/');
                self.path.push_str(node.name_str());
                self.bound = 0;
                return true;
            }
            self.levels.pop();
        }
        false
    }

    /// Hands out one run of the directory, or all of a small one. Returns what it cost, in znodes.
    fn visit(&mut self, tree: &Tree, chunk: &mut Chunk) -> usize {
        let children = tree.children_of(&self.path);
        let (run, end) = match children {
            Some(Children::Run(run)) => (Some(run), HASH_END),
            Some(Children::Many(row)) => {
                let (cell, range) = row.cell_of(self.bound);
                (Some(&row.cells()[cell]), range.end)
            }
            _ => (None, HASH_END),
        };
        let (kept, end) = self.take_kept(&tree.hasher, end);
        let (from, to) = run.map_or((0, 0), |r| (r.lower_bound(self.bound), r.lower_bound(end)));
        let cost = match run {
            Some(run) if kept.is_empty() && (from, to) == (0, run.len()) => self.share(run, chunk),
            Some(run) => {
                let nodes = (from..to).map(|at| (run.hash(at), &run.items()[at]));
                self.copy(nodes, kept, chunk)
            }
            None => {
                let few = children.and_then(Children::few).unwrap_or(&[]);
                let range = self.bound..end;
                let hashed = few.iter().map(|node| (tree.hasher.hash(node.name()), node));
                self.copy(hashed.filter(|(hash, _)| range.contains(hash)), kept, chunk)
            }
        };
        self.bound = end;
        cost + 1
    }

    /// Hands out a whole run that is as it was.
    fn share(&mut self, run: &ChildRun, chunk: &mut Chunk) -> usize {
        let mut dirs: Vec<(u32, Node)> = (0..run.len())
            .filter(|&at| run.marked(at))
            .map(|at| (run.hash(at), run.items()[at].clone()))
            .collect();
        let cost = dirs.len() + run.len() / 16;
        dirs.reverse();
        self.push_found(dirs);
        chunk.push_run(&self.path, run.clone());
        cost
    }

    /// Hands out znodes one by one: those that are as they were, and the kept ones.
    fn copy<'n>(
        &mut self,
        nodes: impl Iterator<Item = (u32, &'n Node)>,
        kept: Vec<(u32, Kept)>,
        chunk: &mut Chunk,
    ) -> usize {
        let mut dirs = Vec::new();
        let mut seen = 0;
        chunk.begin_nodes(&self.path);
        let mut hand_out = |hash: u32, node: Node| {
            if node.has_dir() {
                dirs.push((hash, node.clone()));
            }
            chunk.push_node(node);
        };
        for (hash, node) in nodes {
            seen += 1;
            let from = kept.partition_point(|(other, _)| *other < hash);
            let mut same_hash = kept[from..].iter().take_while(|(other, _)| *other == hash);
            if !same_hash.any(|(_, kept)| kept.name() == node.name()) {
                hand_out(hash, node.clone());
            }
        }
        for (hash, kept) in kept {
            seen += 1;
            if let Some(old) = kept.old {
                hand_out(hash, old);
            }
        }
        chunk.end_nodes();
        // The last is taken first.
        dirs.sort_by_key(|(hash, _)| std::cmp::Reverse(*hash));
        self.push_found(dirs);
        seen
    }

    fn push_found(&mut self, dirs: Vec<(u32, Node)>) {
        if !dirs.is_empty() {
            self.found.push_back(dirs);
        }
    }

    /// Takes what was kept of the directory between the bound and `end`, by hash. If that is much,
    /// only the first part; the end it goes to is returned.
    fn take_kept(&mut self, hasher: &NameHasher, end: u32) -> (Vec<(u32, Kept)>, u32) {
        if self.kept.is_empty() {
            return (Vec::new(), end);
        }
        let dir = hasher.hash(self.path.as_bytes());
        let range = (key(dir, self.bound), 0)..(key(dir, end), 0);
        let mut end = end;
        let mut keys = Vec::new();
        for (&key, kept) in self.kept.range(range) {
            let hash = key.0 as u32;
            if keys.len() >= RUN_CHILDREN_MAX && keys.last().is_some_and(|&(h, _)| h < hash) {
                end = hash;
                break;
            }
            if path::split(&kept.path).is_some_and(|(dir, _)| dir == self.path) {
                keys.push((hash, key));
            }
        }
        let take = |(hash, key)| Some((hash, self.kept.remove(&key)?));
        (keys.into_iter().filter_map(take).collect(), end)
    }
}

impl Kept {
    fn name(&self) -> &[u8] {
        path::split(&self.path).map_or(&[], |(_, name)| name.as_bytes())
    }
}

fn key(dir: u32, name: u32) -> u64 {
    u64::from(dir) << 32 | u64::from(name)
}
