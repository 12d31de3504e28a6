//! What reads need beyond a znode: listings, counts, quotas.
//!
//! A listing is taken in two steps. Under the lock the handles of the directory's runs are copied,
//! one per five hundred children; the names are written later, from the handles, while the tree
//! goes on. A count of everything below a path walks the table of directories in bounded steps, and
//! is as exact as Java's: neither stops writes while it counts.

use oxkeeper_proto::data::encode_strings;
use oxkeeper_proto::{Put, SessionId};

use crate::dir::{ChildRun, Children};
use crate::path;
use crate::quota::{self, QuotaStats, QuotaView};
use crate::run::HASH_END;
use crate::tree::Tree;
use crate::znode::Node;

/// The names of a directory's children at one moment. Cheap to take; may be encoded anywhere.
#[derive(Debug, Clone, Default)]
pub struct ChildList {
    few: Vec<Node>,
    runs: Vec<ChildRun>,
    len: usize,
}

impl ChildList {
    /// Names in the list.
    pub fn len(&self) -> usize {
        self.len
    }

    /// True if there is none.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Pieces of the list, each of at most about five hundred names.
    pub fn parts(&self) -> usize {
        self.runs.len() + usize::from(!self.few.is_empty())
    }

    /// Appends the names of one piece, without a count.
    pub fn encode_part(&self, part: usize, out: &mut Vec<u8>) {
        let names = match self.runs.get(part) {
            Some(run) => run.items(),
            None => &self.few,
        };
        names.iter().for_each(|node| node.put_name(out));
    }

    /// Appends the list as a vector of strings.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let runs = self.runs.iter().flat_map(|run| run.items());
        put_names(self.len, self.few.iter().chain(runs), out);
    }
}

fn put_names<'a>(len: usize, names: impl Iterator<Item = &'a Node>, out: &mut Vec<u8>) {
    out.put_int(len as i32);
    names.for_each(|node| node.put_name(out));
}

impl Tree {
    /// The children of a path, to be encoded later; `None` if there is no such znode. The cost is
    /// one counted handle per five hundred children.
    pub fn children_handles(&self, path: &str) -> Option<ChildList> {
        if !self.node_at(self.locate(path)?).has_dir() {
            return Some(ChildList::default());
        }
        Some(self.children_of(path).map_or_else(ChildList::default, |children| ChildList {
            few: children.few().unwrap_or(&[]).to_vec(),
            runs: children.runs().to_vec(),
            len: children.len(),
        }))
    }

    /// Appends the children of a path as a vector of strings; false if there is no such znode. The
    /// cost is a cache line and a name per child, so this is for small directories: see
    /// [`Tree::children_handles`].
    pub fn encode_children(&self, path: &str, out: &mut Vec<u8>) -> bool {
        let Some(loc) = self.locate(path) else { return false };
        match self.node_at(loc).has_dir().then(|| self.children_of(path)).flatten() {
            Some(children) => put_names(children.len(), children.iter(), out),
            None => out.put_int(0),
        }
        true
    }

    /// Appends the paths a session owns that start with a prefix, as a vector of strings; all of
    /// them without a prefix or with `/` (getEphemerals).
    pub fn encode_ephemerals(&self, session: SessionId, prefix: Option<&str>, out: &mut Vec<u8>) {
        let prefix = match prefix {
            Some(prefix) if !matches!(prefix.trim(), "" | "/") => prefix,
            _ => "",
        };
        let paths: Vec<&str> =
            self.ephemerals(session).filter(|path| path.starts_with(prefix)).collect();
        encode_strings(out, &paths);
    }

    /// Everything below a path (getAllChildrenNumber), at once. The cost is a look at every
    /// directory: with many of them take [`DescendantCount`].
    pub fn descendants(&self, path: &str) -> i32 {
        let mut count = DescendantCount::new(path);
        loop {
            if let Some(total) = count.step(self, usize::MAX) {
                return total;
            }
        }
    }

    /// The quota that counts for a path: the deepest, never one on the root.
    pub fn quota_for(&self, path: &str) -> Option<QuotaView> {
        let root = self.quota_roots.deepest(path)?;
        let text = |path: String| self.node(&path).map(|node| QuotaStats::parse(node.data()));
        let unset = QuotaStats::parse(None);
        Some(QuotaView {
            root: root.to_owned(),
            limits: text(quota::limits_path(root)).unwrap_or(unset),
            stats: text(quota::stats_path(root)).unwrap_or(unset),
        })
    }

    /// Znodes and bytes of data at and below a path.
    pub(crate) fn count_subtree(&self, path: &str) -> (i64, i64) {
        let Some(node) = self.node(path) else { return (0, 0) };
        let (mut count, mut bytes) = (1, node.data().map_or(0, <[u8]>::len) as i64);
        let mut dirs = vec![path::canonical(path).to_owned()];
        while let Some(dir) = dirs.pop() {
            for node in self.children_of(&dir).into_iter().flat_map(Children::iter) {
                count += 1;
                bytes += node.data_len() as i64;
                if node.has_dir() {
                    dirs.push(format!("{dir}/{}", node.name_str()));
                }
            }
        }
        (count, bytes)
    }
}

/// Counts everything below a path, some directories at a time. Writes may go on in between; as in
/// Java, what comes or goes meanwhile may or may not be counted.
#[derive(Debug, Clone)]
pub struct DescendantCount {
    /// The path with a slash behind it, empty for the root.
    prefix: String,
    from: u32,
    total: usize,
}

impl DescendantCount {
    /// A count below `path`.
    pub fn new(path: &str) -> DescendantCount {
        let path = path::canonical(path);
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        DescendantCount { prefix, from: 0, total: 0 }
    }

    /// Looks at about `dirs_max` directories more; the total, once all have been.
    pub fn step(&mut self, tree: &Tree, dirs_max: usize) -> Option<i32> {
        if self.prefix.is_empty() {
            return Some(tree.znodes as i32 - 1);
        }
        let below = self.prefix.as_bytes();
        let itself = &below[..below.len() - 1];
        let mut seen = 0;
        while self.from < HASH_END && seen < dirs_max {
            let (cell, range) = tree.dirs.cell_of(self.from);
            let run = &tree.dirs.cells()[cell];
            for dir in &run.items()[run.lower_bound(self.from)..] {
                if dir.path() == itself || dir.path().starts_with(below) {
                    self.total += dir.children().len();
                }
            }
            seen += run.len() + 1;
            self.from = range.end;
        }
        (self.from == HASH_END).then_some(self.total as i32)
    }
}
