//! Shapes of trees: which znodes a loaded server holds, and how to name the n-th of them.
//!
//! What a znode costs depends on its siblings, so memory and latency are measured over several
//! shapes. A shape is cut into *groups*, each of which one connection creates in order, parents
//! first: requests of one session are executed in order, so no group waits for another.

use crate::template::HOLE;

/// Children of a parent in [`Shape::Wide`], and of a group in [`Shape::OneParent`].
pub const GROUP: u64 = 1000;

/// The form of a tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shape {
    /// Parents with a thousand children each.
    Wide,
    /// All znodes under one parent.
    OneParent,
    /// Kafka's: topics with 1 to 4 partitions, each with one state below it.
    Kafka,
}

/// A shape with a size, below a root.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Its form.
    pub shape: Shape,
    /// The path that everything lies below.
    pub root: String,
    /// How many znodes a reader may name: leaves, in every shape.
    pub leaves: u64,
}

/// Leaves of the first `topics` topics in Kafka's shape: the t-th has `t % 4 + 1` partitions.
fn kafka_leaves(topics: u64) -> u64 {
    topics / 4 * 10 + [0, 1, 3, 6][(topics % 4) as usize]
}

impl Layout {
    /// A layout with about `znodes` znodes, parents included.
    pub fn sized(shape: Shape, root: &str, znodes: u64) -> Layout {
        let leaves = match shape {
            Shape::Wide | Shape::OneParent => znodes,
            // Four topics are 4 + 4 + 10 + 10 znodes, of which 10 are leaves.
            Shape::Kafka => (znodes / 28 * 10).max(10),
        };
        Layout { shape, root: root.to_owned(), leaves }
    }

    /// Number of groups.
    pub fn groups(&self) -> u64 {
        match self.shape {
            Shape::Wide | Shape::OneParent => self.leaves.div_ceil(GROUP),
            Shape::Kafka => self.leaves / 10 * 4,
        }
    }

    /// Parents that must exist before any group is created.
    pub fn prepared(&self) -> Vec<String> {
        match self.shape {
            Shape::Wide => vec![],
            Shape::OneParent => vec![format!("{}/all", self.root)],
            Shape::Kafka => vec![format!("{}/topics", self.root)],
        }
    }

    /// The paths of a group, parents first.
    pub fn group(&self, group: u64) -> Vec<String> {
        let root = &self.root;
        let leaves = group * GROUP..self.leaves.min((group + 1) * GROUP);
        match self.shape {
            Shape::Wide => std::iter::once(format!("{root}/p{group:08}"))
                .chain(leaves.map(|leaf| format!("{root}/p{group:08}/n{leaf:08}")))
                .collect(),
            Shape::OneParent => leaves.map(|leaf| format!("{root}/all/n{leaf:08}")).collect(),
            Shape::Kafka => {
                let topic = format!("{root}/topics/t{group:08}");
                let mut paths = vec![topic.clone(), format!("{topic}/partitions")];
                for partition in 0..group % 4 + 1 {
                    paths.push(format!("{topic}/partitions/{partition}"));
                    paths.push(format!("{topic}/partitions/{partition}/state"));
                }
                paths
            }
        }
    }

    /// How many znodes all groups and parents hold together.
    pub fn znodes(&self) -> u64 {
        match self.shape {
            Shape::Wide => self.leaves + self.groups(),
            Shape::OneParent => self.leaves + 1,
            Shape::Kafka => 1 + 2 * self.groups() + 2 * kafka_leaves(self.groups()),
        }
    }

    /// How many znodes [`Layout::leaf_path`] can name.
    pub fn named(&self) -> u64 {
        match self.shape {
            Shape::Wide | Shape::OneParent => self.leaves,
            Shape::Kafka => self.groups(),
        }
    }

    /// The path of a leaf, with holes that [`Layout::leaf_number`] fills. In Kafka's shape only
    /// the state of every topic's first partition is named.
    pub fn leaf_path(&self) -> String {
        let root = &self.root;
        match self.shape {
            Shape::Wide => format!("{root}/p{HOLE}/n{HOLE}"),
            Shape::OneParent => format!("{root}/all/n{HOLE}"),
            Shape::Kafka => format!("{root}/topics/t{HOLE}/partitions/0/state"),
        }
    }

    /// The number for the given hole of a leaf's path.
    #[inline]
    pub fn leaf_number(&self, leaf: u64, hole: usize) -> u64 {
        match self.shape {
            Shape::Wide if hole == 0 => leaf / GROUP,
            _ => leaf,
        }
    }

    /// How many holes a leaf's path has.
    pub fn leaf_holes(&self) -> usize {
        if self.shape == Shape::Wide { 2 } else { 1 }
    }

    /// The path of a parent with many children, with holes that [`Layout::leaf_number`] fills.
    pub fn parent_path(&self) -> String {
        let root = &self.root;
        match self.shape {
            Shape::Wide => format!("{root}/p{HOLE}"),
            Shape::OneParent => format!("{root}/all"),
            Shape::Kafka => format!("{root}/topics/t{HOLE}/partitions"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    const SHAPES: [Shape; 3] = [Shape::Wide, Shape::OneParent, Shape::Kafka];

    #[test]
    fn groups_create_parents_first_and_every_znode_once() {
        for shape in SHAPES {
            let layout = Layout::sized(shape, "/b", 2800);
            let mut all: BTreeSet<String> = layout.prepared().into_iter().collect();
            for group in 0..layout.groups() {
                for path in layout.group(group) {
                    let parent = path.rsplit_once('/').unwrap().0;
                    assert!(parent == "/b" || all.contains(parent), "{path} has no parent yet");
                    assert!(all.insert(path.clone()), "{path} twice");
                }
            }
            assert_eq!(all.len() as u64, layout.znodes(), "{shape:?}");
            assert!(all.len().abs_diff(2800) <= 40, "{shape:?}: {}", all.len());
        }
    }

    #[test]
    fn every_leaf_that_can_be_named_exists() {
        for shape in SHAPES {
            let layout = Layout::sized(shape, "/b", 2500);
            let all: BTreeSet<String> =
                (0..layout.groups()).flat_map(|group| layout.group(group)).collect();
            for leaf in 0..layout.named() {
                let mut path = layout.leaf_path();
                for hole in 0..layout.leaf_holes() {
                    let number = format!("{:08}", layout.leaf_number(leaf, hole));
                    path = path.replacen(HOLE, &number, 1);
                }
                assert!(all.contains(&path), "{path}");
            }
        }
    }
}
