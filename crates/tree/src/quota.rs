//! Quotas: how much may lie below a path, and how much does.
//!
//! A quota on `/a` is two znodes, `/zookeeper/quota/a/zookeeper_limits` and `…/zookeeper_stats`,
//! with a line of text each. The statistics are kept by every member on its own: the stats znode's
//! text is rewritten in place whenever something below `/a` changes, without transaction, zxid or
//! watch, which is why everything below `/zookeeper/` stays out of digests. Only the deepest quota
//! on a path counts (`Quotas`, `StatsTrack`, `PathTrie`).

use std::collections::BTreeMap;
use std::fmt::Write;

use foldhash::fast::FixedState;
use hashbrown::HashSet;

use crate::path;
use crate::wrong::{self, Wrong};

const LIMITS: &str = "zookeeper_limits";
const STATS: &str = "zookeeper_stats";
const COUNT: &str = "count";
const BYTES: &str = "bytes";
const COUNT_HARD: &str = "countHardLimit";
const BYTES_HARD: &str = "byteHardLimit";

/// A quota and what is used of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuotaView {
    /// The znode it is set on.
    pub root: String,
    /// What is allowed.
    pub limits: QuotaStats,
    /// What is used by the committed tree; its hard limits mean nothing.
    pub stats: QuotaStats,
}

/// The text of a limits or stats znode, −1 where it says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QuotaStats {
    /// Znodes, the quota's own included. As a limit: exceeding it is only logged.
    pub count: i64,
    /// Bytes of data. As a limit: exceeding it is only logged.
    pub bytes: i64,
    /// Znodes that may not be exceeded.
    pub count_hard_limit: i64,
    /// Bytes that may not be exceeded.
    pub byte_hard_limit: i64,
}

impl QuotaStats {
    /// Reads the text of a limits or stats znode. What cannot be read counts as unset; Java ends
    /// the server over it.
    pub fn parse(data: Option<&[u8]>) -> QuotaStats {
        let text = StatsText::parse(data);
        QuotaStats {
            count: text.value(COUNT),
            bytes: text.value(BYTES),
            count_hard_limit: text.value(COUNT_HARD),
            byte_hard_limit: text.value(BYTES_HARD),
        }
    }
}

/// The text as a map: what we do not know is kept when the statistics are rewritten.
#[derive(Debug, Default)]
pub(crate) struct StatsText {
    values: BTreeMap<String, i64>,
}

impl StatsText {
    pub fn parse(data: Option<&[u8]>) -> StatsText {
        let text = String::from_utf8_lossy(data.unwrap_or(&[]));
        let mut values = BTreeMap::new();
        for pair in text.split([',', ';']).filter(|pair| !pair.is_empty()) {
            let mut parts = pair.split('=');
            let key = parts.next().unwrap_or_default();
            match parts.next().unwrap_or_default() {
                "" => _ = values.insert(key.to_owned(), -1),
                value => {
                    if let Ok(value) = value.parse() {
                        values.insert(key.to_owned(), value);
                    }
                }
            }
        }
        StatsText { values }
    }

    /// Fresh statistics.
    pub fn of(count: i64, bytes: i64) -> StatsText {
        let mut text = StatsText::default();
        text.values.insert(COUNT.to_owned(), count);
        text.values.insert(BYTES.to_owned(), bytes);
        text
    }

    fn value(&self, key: &str) -> i64 {
        self.values.get(key).copied().unwrap_or(-1)
    }

    /// Adds to both; what was unset counts from −1, as in Java.
    pub fn add(&mut self, count: i64, bytes: i64) {
        let (count, bytes) =
            (self.value(COUNT).wrapping_add(count), self.value(BYTES).wrapping_add(bytes));
        self.values.insert(COUNT.to_owned(), count);
        self.values.insert(BYTES.to_owned(), bytes);
    }

    /// The text. Count and bytes come first and an odd `=` behind them, so that servers before 3.7
    /// read no further.
    pub fn format(&self) -> String {
        let mut out = format!("{COUNT}={},{BYTES}={}", self.value(COUNT), self.value(BYTES));
        let mut others = self.values.iter().filter(|(key, _)| *key != COUNT && *key != BYTES);
        if let Some((key, value)) = others.next() {
            _ = write!(out, "=;{key}={value}");
            others.for_each(|(key, value)| _ = write!(out, ";{key}={value}"));
        }
        out
    }
}

/// The paths that have a limits znode (`PathTrie`).
#[derive(Debug)]
pub(crate) struct QuotaRoots {
    roots: HashSet<Box<str>, FixedState>,
}

impl QuotaRoots {
    pub fn new(hash_seed: u64) -> QuotaRoots {
        QuotaRoots { roots: HashSet::with_hasher(FixedState::with_seed(hash_seed)) }
    }

    pub fn insert(&mut self, root: &str) {
        self.roots.insert(root.into());
    }

    pub fn remove(&mut self, root: &str) {
        self.roots.remove(root);
    }

    pub fn iter(&self) -> impl Iterator<Item = &str> {
        self.roots.iter().map(|root| &**root)
    }

    /// The deepest quota on a path.
    #[inline]
    pub fn deepest<'p>(&self, of: &'p str) -> Option<&'p str> {
        if self.roots.is_empty() {
            return None;
        }
        let mut at = of;
        let mut outermost = None;
        while !at.is_empty() {
            if self.roots.contains(at) {
                if !wrong::is(Wrong::QuotaOnWrongNode) {
                    return Some(at);
                }
                outermost = Some(at);
            }
            at = path::split(at).map_or("", |(parent, _)| parent);
        }
        outermost
    }
}

/// A znode with a meaning for quotas, and the path it speaks of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QuotaNode<'p> {
    Limits(&'p str),
    Stats(&'p str),
}

impl<'p> QuotaNode<'p> {
    /// What a znode means, from its parent's path and its name.
    #[inline]
    pub fn of(parent: &'p str, name: &str) -> Option<QuotaNode<'p>> {
        let root = parent.strip_prefix(path::QUOTA)?;
        // Right below /zookeeper/quota it would speak of the root, which cannot have a quota.
        match name {
            _ if !root.starts_with('/') => None,
            LIMITS => Some(QuotaNode::Limits(root)),
            STATS => Some(QuotaNode::Stats(root)),
            _ => None,
        }
    }
}

/// Where the limits of a path are.
pub(crate) fn limits_path(root: &str) -> String {
    format!("{}{root}/{LIMITS}", path::QUOTA)
}

/// Where the statistics of a path are.
pub(crate) fn stats_path(root: &str) -> String {
    format!("{}{root}/{STATS}", path::QUOTA)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_is_javas() {
        let read = |text: &str| QuotaStats::parse(Some(text.as_bytes()));
        let all = "count=5,bytes=10=;byteHardLimit=20;countHardLimit=";
        assert_eq!(
            read(all),
            QuotaStats { count: 5, bytes: 10, count_hard_limit: -1, byte_hard_limit: 20 }
        );
        assert_eq!(read("").count, -1);
        assert_eq!(read(";;count=7,,x").count, 7);
        assert_eq!(read("count=many").count, -1);
        let mut text = StatsText::parse(Some(b"bytes=10,count=5;zeta=1;byteHardLimit=20"));
        text.add(-1, 3);
        assert_eq!(text.format(), "count=4,bytes=13=;byteHardLimit=20;zeta=1");
        let mut empty = StatsText::parse(None);
        empty.add(1, 0);
        assert_eq!(empty.format(), "count=0,bytes=-1");
        assert_eq!(StatsText::of(2, 3).format(), "count=2,bytes=3");
    }

    #[test]
    fn the_deepest_quota_counts() {
        let mut roots = QuotaRoots::new(1);
        assert_eq!(roots.deepest("/a"), None);
        roots.insert("/a");
        roots.insert("/a/b/c");
        assert_eq!(roots.deepest("/a"), Some("/a"));
        assert_eq!(roots.deepest("/a/b"), Some("/a"));
        assert_eq!(roots.deepest("/a/b/c/d"), Some("/a/b/c"));
        assert_eq!(roots.deepest("/ab"), None);
        assert_eq!(roots.deepest("/"), None);
        roots.remove("/a");
        assert_eq!(roots.deepest("/a/b"), None);
    }

    #[test]
    fn quota_znodes_are_known_by_place_and_name() {
        let of = QuotaNode::of;
        assert_eq!(of("/zookeeper/quota/a/b", LIMITS), Some(QuotaNode::Limits("/a/b")));
        assert_eq!(of("/zookeeper/quota/a", STATS), Some(QuotaNode::Stats("/a")));
        assert_eq!(of("/zookeeper/quota", LIMITS), None);
        assert_eq!(of("/zookeeper/quotas/a", LIMITS), None);
        assert_eq!(of("/a", LIMITS), None);
        assert_eq!(limits_path("/a"), "/zookeeper/quota/a/zookeeper_limits");
        assert_eq!(stats_path("/a"), "/zookeeper/quota/a/zookeeper_stats");
    }
}
