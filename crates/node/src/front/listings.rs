//! Listings that are asked for again and again.
//!
//! When a directory changes, everybody who watches it lists it, and all are told the same: a herd
//! of five hundred workers costs five hundred walks over its children. The second of them leaves
//! its names behind here, encoded, and the others copy them in one piece.
//!
//! What is kept is never told apart from a walk. A directory's children change only by transactions
//! that move its pzxid (`DataTree.createNode`, `deleteNode`), a transaction is seen whole or not at
//! all, and no two have the same zxid; a znode that was removed and made again has another czxid.
//! So path, czxid, pzxid and cversion name a set of children, whichever tree it is read from.

use oxkeeper_proto::Stat;
use oxkeeper_tree::Tree;

use crate::limits::{LISTING_KEPT_BYTES_MAX, LISTING_KEPT_CHILDREN_MIN, LISTINGS_KEPT};

/// The listings that one Front keeps.
#[derive(Debug, Default)]
pub(super) struct Listings {
    kept: [Kept; LISTINGS_KEPT],
    /// The place that is given up next.
    oldest: usize,
}

/// Whose children, as of when, and their names once it was asked for twice.
#[derive(Debug, Default)]
struct Kept {
    path: Box<str>,
    /// czxid, pzxid and cversion; all 0 in a place that is not in use.
    as_of: (i64, i64, i32),
    encoded: Vec<u8>,
}

impl Listings {
    /// Appends the children of the znode at `path`, so many, as a vector of strings. Its stat is
    /// only asked for if there are enough of them.
    pub fn encode(
        &mut self,
        tree: &Tree,
        path: &str,
        children: usize,
        stat: impl FnOnce() -> Stat,
        out: &mut Vec<u8>,
    ) {
        if children < LISTING_KEPT_CHILDREN_MIN {
            tree.encode_children(path, out);
            return;
        }
        let stat = stat();
        let as_of = (stat.czxid.0, stat.pzxid.0, stat.cversion);
        let same = |kept: &&mut Kept| kept.as_of == as_of && *kept.path == *path;
        match self.kept.iter_mut().find(same) {
            Some(kept) if !kept.encoded.is_empty() => out.extend_from_slice(&kept.encoded),
            Some(kept) => {
                let before = out.len();
                tree.encode_children(path, out);
                let names = &out[before..];
                if names.len() <= LISTING_KEPT_BYTES_MAX {
                    kept.encoded.extend_from_slice(names);
                }
            }
            None => {
                tree.encode_children(path, out);
                self.remember(path, as_of);
            }
        }
    }

    /// Notes that this directory was listed, in the place of its last state if that is known.
    fn remember(&mut self, path: &str, as_of: (i64, i64, i32)) {
        let place = self.kept.iter().position(|kept| *kept.path == *path).unwrap_or_else(|| {
            self.oldest = (self.oldest + 1) % LISTINGS_KEPT;
            self.oldest
        });
        let kept = &mut self.kept[place];
        if *kept.path != *path {
            kept.path = path.into();
        }
        kept.as_of = as_of;
        // The room is given back: what is kept is bounded by what is asked for, not by what was.
        kept.encoded = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use oxkeeper_proto::Zxid;
    use oxkeeper_tree::TreeOptions;

    use super::*;

    const LARGE: usize = LISTING_KEPT_CHILDREN_MIN;

    fn stat() -> Stat {
        Stat { pzxid: Zxid(5), ..Stat::default() }
    }

    /// What is kept for a path, as bytes.
    fn kept(listings: &Listings, path: &str) -> usize {
        listings.kept.iter().filter(|kept| *kept.path == *path).map(|kept| kept.encoded.len()).sum()
    }

    #[test]
    fn only_a_large_directory_listed_twice_is_kept() {
        let tree = Tree::new(TreeOptions::default());
        let mut listings = Listings::default();
        let mut out = Vec::new();
        listings.encode(&tree, "/", LARGE, stat, &mut out);
        assert_eq!(kept(&listings, "/"), 0, "asked for once");
        let first = std::mem::take(&mut out);
        listings.encode(&tree, "/", LARGE, stat, &mut out);
        assert_eq!(kept(&listings, "/"), first.len());
        listings.encode(&tree, "/", LARGE, stat, &mut out);
        assert_eq!(out, first.repeat(2));
        for _ in 0..3 {
            listings.encode(&tree, "/zookeeper", 2, stat, &mut out);
        }
        assert_eq!(kept(&listings, "/zookeeper"), 0, "small");
    }

    #[test]
    fn other_directories_take_its_place_and_their_number_is_bounded() {
        let tree = Tree::new(TreeOptions::default());
        let mut listings = Listings::default();
        let mut out = Vec::new();
        for _ in 0..2 {
            listings.encode(&tree, "/", LARGE, stat, &mut out);
        }
        for other in 0..LISTINGS_KEPT {
            listings.encode(&tree, &format!("/{other}"), LARGE, stat, &mut out);
        }
        assert_eq!(kept(&listings, "/"), 0);
    }
}
