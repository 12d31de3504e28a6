//! Directories: the children of one path.
//!
//! A directory exists for every znode that has, or once had, a child; it is found by its path, and
//! a child in it by its name, so any znode is two look-ups away. Small directories are a handle or
//! two beside the path; from five children on they are runs sorted by hash, which readers and
//! snapshots share instead of copying.

use std::fmt;

use triomphe::{Arc, ThinArc};

use crate::limits::{FEW_CHILDREN_MAX, RUN_CHILDREN_MAX};
use crate::run::{ALL, NameHasher, Place, Row, Run};
use crate::znode::Node;

/// A run of children; its marks say which have a directory.
pub(crate) type ChildRun = Arc<Run<Node>>;

/// The children of one directory, 24 bytes.
#[derive(Debug, Default)]
pub(crate) enum Children {
    #[default]
    None,
    One(Node),
    Two([Node; 2]),
    Few(Box<[Node]>),
    Run(ChildRun),
    Many(Box<Row<ChildRun>>),
}

/// A directory: its children and its path in one allocation. The root's path is `""`.
pub(crate) struct Dir(ThinArc<Children, u8>);

impl Dir {
    pub fn new(path: &str, children: Children) -> Dir {
        Dir(ThinArc::from_header_and_slice(children, path.as_bytes()))
    }

    #[inline]
    pub fn path(&self) -> &[u8] {
        &self.0.slice
    }

    #[inline]
    pub fn children(&self) -> &Children {
        &self.0.header.header
    }

    #[inline]
    pub fn change<R>(&mut self, change: impl FnOnce(&mut Children) -> R) -> R {
        self.0.with_arc_mut(|arc| {
            let inner = Arc::get_mut(arc).expect("a directory's handle is never cloned");
            change(inner.header_mut())
        })
    }
}

impl fmt::Debug for Dir {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let path = String::from_utf8_lossy(self.path());
        write!(f, "{path:?}: {} children", self.children().len())
    }
}

/// All directories.
pub(crate) type DirTable = Row<Box<Run<Dir>>>;

impl Children {
    pub fn len(&self) -> usize {
        match self {
            Children::None => 0,
            Children::One(_) => 1,
            Children::Two(_) => 2,
            Children::Few(few) => few.len(),
            Children::Run(run) => run.len(),
            Children::Many(row) => row.len(),
        }
    }

    /// The handles of a directory too small for runs.
    #[inline]
    pub fn few(&self) -> Option<&[Node]> {
        match self {
            Children::None => Some(&[]),
            Children::One(node) => Some(std::slice::from_ref(node)),
            Children::Two(nodes) => Some(nodes),
            Children::Few(nodes) => Some(nodes),
            Children::Run(_) | Children::Many(_) => None,
        }
    }

    /// The runs of a directory that has them.
    #[inline]
    pub fn runs(&self) -> &[ChildRun] {
        match self {
            Children::Run(run) => std::slice::from_ref(run),
            Children::Many(row) => row.cells(),
            _ => &[],
        }
    }

    #[inline]
    pub fn find(&self, hash: u32, name: &[u8]) -> Option<Place> {
        let place = |at: usize| Place { cell: 0, at: at as u32 };
        match self {
            Children::Run(run) => run.find(hash, &ALL, |node| node.name() == name).map(place),
            Children::Many(row) => row.find(hash, |node| node.name() == name),
            _ => self.few()?.iter().position(|node| node.name() == name).map(place),
        }
    }

    #[inline]
    pub fn get(&self, place: Place) -> &Node {
        match self {
            Children::Run(run) => &run.items()[place.at as usize],
            Children::Many(row) => row.get(place),
            _ => &self.few().expect("the others have runs")[place.at as usize],
        }
    }

    #[inline]
    pub fn get_mut(&mut self, place: Place) -> &mut Node {
        let at = place.at as usize;
        match self {
            Children::None => unreachable!("a place in an empty directory"),
            Children::One(node) => node,
            Children::Two(nodes) => &mut nodes[at],
            Children::Few(nodes) => &mut nodes[at],
            Children::Run(run) => Arc::make_mut(run).item_mut(at),
            Children::Many(row) => row.get_mut(place),
        }
    }

    /// Notes that the child has a directory now.
    pub fn mark(&mut self, place: Place) {
        match self {
            Children::Run(run) => Arc::make_mut(run).set_mark(place.at as usize),
            Children::Many(row) => row.set_mark(place),
            _ => {}
        }
    }

    /// Adds a child that is not there yet.
    pub fn insert(&mut self, hasher: &NameHasher, hash: u32, node: Node) {
        let mark = node.has_dir();
        *self = match std::mem::take(self) {
            Children::None => Children::One(node),
            Children::One(first) => Children::Two([first, node]),
            Children::Two([first, second]) => Children::Few(Box::new([first, second, node])),
            Children::Few(few) if few.len() < FEW_CHILDREN_MAX => {
                Children::Few(few.into_iter().chain([node]).collect())
            }
            Children::Few(few) => {
                let all = few.into_iter().chain([node]);
                let hashed = all.map(|n| (hasher.hash(n.name()), n.has_dir(), n));
                Children::from_hashed(&mut hashed.collect())
            }
            Children::Run(mut run) if run.len() < RUN_CHILDREN_MAX => {
                Arc::make_mut(&mut run).insert(hash, mark, node);
                Children::Run(run)
            }
            Children::Run(run) => {
                let mut row = Row::from_cell(run, RUN_CHILDREN_MAX);
                row.insert(hash, mark, node);
                Children::Many(Box::new(row))
            }
            Children::Many(mut row) => {
                row.insert(hash, mark, node);
                Children::Many(row)
            }
        };
    }

    /// A directory of many children at once, each with its hash and mark, in any order. The vector
    /// is emptied.
    pub fn from_hashed(hashed: &mut Vec<(u32, bool, Node)>) -> Children {
        if hashed.len() <= FEW_CHILDREN_MAX {
            let mut nodes = hashed.drain(..).map(|(_, _, node)| node);
            return match (nodes.next(), nodes.next(), nodes.len()) {
                (None, ..) => Children::None,
                (Some(first), None, _) => Children::One(first),
                (Some(first), Some(second), 0) => Children::Two([first, second]),
                (Some(first), Some(second), _) => {
                    Children::Few([first, second].into_iter().chain(nodes).collect())
                }
            };
        }
        hashed.sort_unstable_by_key(|item| item.0);
        if hashed.len() <= RUN_CHILDREN_MAX {
            return Children::Run(Arc::new(Run::from_sorted(hashed.drain(..))));
        }
        Children::Many(Box::new(Row::from_sorted(hashed.drain(..), RUN_CHILDREN_MAX)))
    }

    /// Takes a child out.
    pub fn remove(&mut self, place: Place) -> Node {
        let at = place.at as usize;
        let (rest, node) = match std::mem::take(self) {
            Children::None => unreachable!("a place in an empty directory"),
            Children::One(node) => (Children::None, node),
            Children::Two([first, second]) => match at {
                0 => (Children::One(second), first),
                _ => (Children::One(first), second),
            },
            Children::Few(few) => {
                let mut few = few.into_vec();
                let node = few.swap_remove(at);
                match <[Node; 2]>::try_from(few) {
                    Ok(two) => (Children::Two(two), node),
                    Err(few) => (Children::Few(few.into_boxed_slice()), node),
                }
            }
            Children::Run(mut run) => {
                let node = Arc::make_mut(&mut run).remove(at);
                let rest = match run.items() {
                    [] => Children::None,
                    // A directory that shrank this far may stay small.
                    [last] => Children::One(last.clone()),
                    _ => Children::Run(run),
                };
                (rest, node)
            }
            Children::Many(mut row) => {
                let node = row.remove(place);
                let rest = match row.cells() {
                    [single] => Children::Run(single.clone()),
                    _ => Children::Many(row),
                };
                (rest, node)
            }
        };
        *self = rest;
        node
    }

    pub fn iter(&self) -> impl Iterator<Item = &Node> {
        self.few().unwrap_or(&[]).iter().chain(self.runs().iter().flat_map(|run| run.items()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl_table::AclId;
    use oxkeeper_proto::StatPersisted;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn node(name: &str) -> Node {
        let stat = StatPersisted::default();
        Node::new(&mut Vec::new(), name, None, &stat, AclId::OPEN, 0)
    }

    #[test]
    fn a_directory_has_the_size_the_memory_goal_counts_on() {
        assert_eq!(size_of::<Children>(), 24);
        assert_eq!(size_of::<Dir>(), 8);
    }

    proptest! {
        #[test]
        fn a_directory_is_a_set_of_names(
            ops in proptest::collection::vec((0u8..3, 0u32..12), 0..400),
        ) {
            let hasher = NameHasher::new(3);
            let mut children = Children::None;
            let mut model = BTreeSet::new();
            for (kind, n) in ops {
                let name = n.to_string();
                let hash = hasher.hash(name.as_bytes());
                let found = children.find(hash, name.as_bytes());
                prop_assert_eq!(found.is_some(), model.contains(&name));
                match found {
                    Some(place) if kind == 0 => {
                        let removed = children.remove(place);
                        prop_assert_eq!(removed.name_str(), name.as_str());
                        model.remove(&name);
                    }
                    Some(place) => {
                        children.get_mut(place).edit(|h| h.set_aversion(7));
                        prop_assert_eq!(children.get(place).stat().aversion, 7);
                    }
                    None => {
                        children.insert(&hasher, hash, node(&name));
                        model.insert(name);
                    }
                }
                prop_assert_eq!(children.len(), model.len());
            }
            let names: BTreeSet<_> = children.iter().map(|n| n.name_str().to_owned()).collect();
            prop_assert_eq!(names, model);
        }
    }

    #[test]
    fn a_directory_grows_into_runs_and_back() {
        let hasher = NameHasher::new(3);
        let mut children = Children::None;
        for n in 0..3000u32 {
            let name = n.to_string();
            children.insert(&hasher, hasher.hash(name.as_bytes()), node(&name));
        }
        assert!(matches!(children, Children::Many(_)));
        for n in 0..3000u32 {
            let name = n.to_string();
            let place = children.find(hasher.hash(name.as_bytes()), name.as_bytes()).unwrap();
            children.remove(place);
        }
        assert!(matches!(children, Children::None));
    }
}
