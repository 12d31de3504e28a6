//! What the clients did and were told, and whether it can be true.
//!
//! The stat in the reply to a write tells the zxid of its transaction. So it is cheap to demand
//! what is hard to see otherwise: whatever was acknowledged before something else was asked has the
//! smaller zxid, no zxid is given twice, versions and sequence numbers count up with the zxids, a
//! read behind a sync has seen all that was acknowledged before. What was never answered may have
//! happened once, at any time after it was asked, or not at all.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use serde_json::Value;

/// How far a leader of Java's may be behind its followers, on a busy machine.
const LAG_MAX: Duration = Duration::from_secs(1);
/// Complaints of one kind that are shown.
const SHOWN: usize = 5;

/// Something asked and what was told.
#[derive(Clone, Debug)]
pub struct Entry {
    /// By which session of the load.
    pub by: usize,
    /// When it was sent.
    pub asked: Instant,
    /// When the answer was there, or the connection was lost.
    pub told: Instant,
    /// What.
    pub what: What,
    /// And what became of it.
    pub fate: Fate,
}

/// What was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are what the variants speak of")]
pub enum What {
    /// A register was set to a value that is written once in a run.
    Set { path: String, value: String },
    /// A register was read.
    Read { path: String, behind: Behind },
    /// A znode of a name that is used once.
    Create { path: String },
    /// A znode was deleted that was there for certain.
    Delete { path: String },
    /// A sequential znode, with what its name begins with.
    Sequential { prefix: String },
    /// Both znodes of a pair set to one value.
    Pair { value: String },
}

/// What stood before a read in its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behind {
    /// Nothing in particular: it may be stale.
    Nothing,
    /// A sync.
    Sync,
    /// A sync at a server of Java's. One that leads answers its own clients' syncs at once, and
    /// may not have applied yet what its followers have told their clients.
    LooseSync,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Done at this zxid.
    Done {
        /// The transaction's; of a deletion or a read, what the server had.
        zxid: i64,
        /// The version that it led to, or was found; 0 where there is none.
        version: i64,
        /// The value that was read, or the path that was made.
        text: String,
    },
    /// Refused, as expected.
    Refused,
    /// Never answered.
    Unknown,
}

impl Entry {
    fn is_write(&self) -> bool {
        !matches!(self.what, What::Read { .. })
    }

    fn zxid(&self) -> Option<i64> {
        if let Fate::Done { zxid, .. } = self.fate { Some(zxid) } else { None }
    }
}

/// Every way in which a history and the tree at its end contradict each other or themselves.
#[derive(Debug, Default)]
pub struct Verdict {
    /// Things that were looked at.
    pub checks: usize,
    /// What is wrong.
    pub complaints: Vec<String>,
}

impl Verdict {
    fn check(&mut self, holds: bool, complaint: impl FnOnce() -> String) {
        self.checks += 1;
        if !holds && self.complaints.len() < SHOWN {
            self.complaints.push(complaint());
        }
    }
}

/// Judges. `tree` is what every member serves at the end, by path, as `disk::served` reads it.
pub fn judge(history: &[Entry], tree: &BTreeMap<String, Value>) -> Verdict {
    let mut verdict = Verdict::default();
    order(history, &mut verdict);
    registers(history, tree, &mut verdict);
    names(history, tree, &mut verdict);
    sequences(history, tree, &mut verdict);
    pairs(history, tree, &mut verdict);
    verdict
}

/// Real time and zxids agree.
fn order(history: &[Entry], verdict: &mut Verdict) {
    let acknowledged = history.iter().filter(|entry| entry.is_write() && entry.zxid().is_some());
    let mut by_told: Vec<&Entry> = acknowledged.collect();
    by_told.sort_by_key(|entry| entry.told);
    let mut given: HashMap<i64, &Entry> = HashMap::new();
    // A deletion's reply tells only what the server had by then.
    for entry in by_told.iter().filter(|e| !matches!(e.what, What::Delete { .. })) {
        if let Some(other) = given.insert(entry.zxid().unwrap_or(0), entry) {
            verdict.check(false, || format!("one zxid for two writes: {other:?} and {entry:?}"));
        }
    }
    let read = |entry: &Entry, wanted: Behind| match entry.what {
        What::Read { behind, .. } => behind == wanted,
        _ => false,
    };
    for (wanted, lag) in [(Behind::Sync, Duration::ZERO), (Behind::LooseSync, LAG_MAX)] {
        let strict = wanted == Behind::Sync;
        let later = history.iter().filter(|entry| entry.zxid().is_some());
        let mut by_asked: Vec<&Entry> =
            later.filter(|entry| read(entry, wanted) || (strict && entry.is_write())).collect();
        by_asked.sort_by_key(|entry| entry.asked);
        grows(&by_told, &by_asked, lag, verdict);
    }
}

/// Whatever was acknowledged by the time that something else was asked has the smaller zxid.
fn grows(by_told: &[&Entry], by_asked: &[&Entry], lag: Duration, verdict: &mut Verdict) {
    let mut before = by_told.iter().peekable();
    let mut newest: Option<&Entry> = None;
    for entry in by_asked {
        while let Some(earlier) = before.next_if(|earlier| earlier.told + lag < entry.asked) {
            if newest.is_none_or(|newest| newest.zxid() < earlier.zxid()) {
                newest = Some(earlier);
            }
        }
        let Some(newest) = newest else { continue };
        let grew = if entry.is_write() {
            entry.zxid() > newest.zxid()
        } else {
            entry.zxid() >= newest.zxid()
        };
        verdict.check(grew, || format!("acknowledged {newest:?}, and then asked {entry:?}"));
    }
}

/// Values and versions of registers.
fn registers(history: &[Entry], tree: &BTreeMap<String, Value>, verdict: &mut Verdict) {
    let mut written: HashMap<&str, &str> = HashMap::new();
    for entry in history {
        if let What::Set { path, value } = &entry.what
            && entry.fate != Fate::Refused
        {
            written.insert(value, path);
        }
    }
    // By path and version: the value, and the zxid if known.
    let mut values: BTreeMap<(&str, i64), (&str, Option<i64>)> = BTreeMap::new();
    let mut highest: HashMap<&str, i64> = HashMap::new();
    for entry in history {
        let Fate::Done { zxid, version, text } = &entry.fate else { continue };
        let (path, value, zxid) = match &entry.what {
            What::Set { path, value } => (path, value, Some(*zxid)),
            What::Read { path, .. } => (path, text, None),
            _ => continue,
        };
        if zxid.is_some() {
            let highest = highest.entry(path).or_default();
            *highest = (*highest).max(*version);
        }
        let known = values.entry((path, *version)).or_insert((value, zxid));
        verdict.check(known.0 == value, || {
            format!("{path} at version {version} is {:?} and {value:?}", known.0)
        });
        verdict.check(known.1.is_none() || zxid.is_none() || known.1 == zxid, || {
            format!("{path}: two writes led to version {version}: {entry:?}")
        });
        known.1 = known.1.or(zxid);
        verdict.check(*version == 0 || written.get(&**value) == Some(&&**path), || {
            format!("{path} was never set to {value:?}: {entry:?}")
        });
    }
    let mut seen_at: HashMap<&str, (&str, i64)> = HashMap::new();
    let mut previous: Option<((&str, i64), i64)> = None;
    for (&(path, version), &(value, zxid)) in &values {
        let before = seen_at.insert(value, (path, version));
        verdict.check(before.is_none() || version == 0, || {
            format!("{value:?} was written once, and is {before:?} and {path} {version}")
        });
        let Some(zxid) = zxid else { continue };
        if let Some(((other, lower), earlier)) = previous {
            verdict.check(other != path || earlier < zxid, || {
                format!("{path}: version {lower} at {earlier:x}, version {version} at {zxid:x}")
            });
        }
        previous = Some(((path, version), zxid));
    }
    for (path, highest) in highest {
        let Some(znode) = tree.get(path) else {
            verdict.check(false, || format!("{path} is gone"));
            continue;
        };
        let version = znode["stat"]["version"].as_i64().unwrap_or(-1);
        verdict.check(version >= highest, || {
            format!("{path}: version {highest} was acknowledged, the last is {version}")
        });
        if let Some((value, _)) = values.get(&(path, version)) {
            verdict.check(znode["data"] == *value, || format!("{path} holds {}", znode["data"]));
        }
    }
}

/// Znodes of names that are used once: there if acknowledged, gone if deleted.
fn names(history: &[Entry], tree: &BTreeMap<String, Value>, verdict: &mut Verdict) {
    let mut must_be: BTreeMap<&str, bool> = BTreeMap::new();
    let mut may_be: BTreeSet<&str> = BTreeSet::new();
    for entry in history {
        let done = entry.zxid().is_some();
        match (&entry.what, &entry.fate) {
            (What::Create { path }, Fate::Done { .. }) => drop(must_be.insert(path, true)),
            (What::Sequential { .. }, Fate::Done { text, .. }) => {
                must_be.insert(text, true);
            }
            (What::Delete { path }, _) if done => drop(must_be.insert(path, false)),
            (What::Create { path } | What::Delete { path }, Fate::Unknown) => {
                must_be.remove(path.as_str());
                may_be.insert(path);
            }
            _ => {}
        }
    }
    for (path, there) in must_be {
        if may_be.contains(path) {
            continue;
        }
        verdict.check(tree.contains_key(path) == there, || {
            let is = if there { "was acknowledged and is gone" } else { "is back" };
            format!("{path} {is}")
        });
    }
}

/// Sequence numbers: unique, and growing with time.
fn sequences(history: &[Entry], tree: &BTreeMap<String, Value>, verdict: &mut Verdict) {
    let mut by_parent: BTreeMap<&str, Vec<(&Entry, i64, i64)>> = BTreeMap::new();
    let mut unknown: BTreeMap<&str, usize> = BTreeMap::new();
    let mut known: BTreeSet<&str> = BTreeSet::new();
    for entry in history {
        let What::Sequential { prefix } = &entry.what else { continue };
        let Fate::Done { zxid, text, .. } = &entry.fate else {
            *unknown.entry(prefix).or_default() += 1;
            continue;
        };
        known.insert(text);
        let number = text.strip_prefix(prefix.as_str()).and_then(|number| number.parse().ok());
        let Some(number) = number else {
            verdict.check(false, || format!("{text} was made of {prefix}"));
            continue;
        };
        let parent = prefix.rsplit_once('/').unwrap_or_default().0;
        by_parent.entry(parent).or_default().push((entry, *zxid, number));
    }
    for (parent, mut made) in by_parent {
        made.sort_by_key(|(_, zxid, _)| *zxid);
        for pair in made.windows(2) {
            let [(_, _, one), (entry, _, other)] = pair else { continue };
            verdict
                .check(one < other, || format!("{parent}: number {other} after {one}: {entry:?}"));
        }
    }
    // What nobody was told of must come from requests without an answer.
    for (prefix, asked) in unknown {
        let extra =
            tree.range(prefix.to_owned()..).take_while(|(path, _)| path.starts_with(prefix));
        let extra = extra.filter(|(path, _)| !known.contains(path.as_str())).count();
        verdict.check(extra <= asked, || {
            format!("{extra} znodes {prefix}*, of which {asked} were asked without an answer")
        });
    }
}

/// The halves of the pair never differ.
fn pairs(history: &[Entry], tree: &BTreeMap<String, Value>, verdict: &mut Verdict) {
    let acknowledged = history.iter().filter(|entry| matches!(entry.what, What::Pair { .. }));
    let newest = acknowledged.filter_map(|entry| Some((entry.zxid()?, entry))).max_by_key(|p| p.0);
    let Some((zxid, newest)) = newest else { return };
    let halves = super::PAIR.map(|path| tree.get(path).map_or(&Value::Null, |znode| znode));
    for field in ["version", "mzxid"] {
        let [one, other] = halves.map(|half| &half["stat"][field]);
        verdict.check(one == other && !one.is_null(), || {
            format!("the pair's {field} differ: {one} and {other}")
        });
    }
    verdict.check(halves[0]["data"] == halves[1]["data"], || "the pair's data differ".to_owned());
    verdict.check(halves[0]["stat"]["mzxid"].as_i64() >= Some(zxid), || {
        format!("the pair has lost {newest:?}: {}", halves[0])
    });
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    struct Story {
        start: Instant,
        entries: Vec<Entry>,
        tree: BTreeMap<String, Value>,
    }

    impl Story {
        fn new() -> Story {
            Story { start: Instant::now(), entries: Vec::new(), tree: BTreeMap::new() }
        }

        /// Asked and told at these moments.
        fn op(mut self, asked: u64, told: u64, what: What, fate: Fate) -> Story {
            let at = |ms| self.start + Duration::from_millis(ms);
            let entry = Entry { by: 0, asked: at(asked), told: at(told), what, fate };
            self.entries.push(entry);
            self
        }

        fn znode(mut self, path: &str, version: i64, data: &str) -> Story {
            let znode = json!({ "data": data, "stat": { "version": version, "mzxid": version } });
            self.tree.insert(path.to_owned(), znode);
            self
        }

        fn complaints(&self) -> usize {
            judge(&self.entries, &self.tree).complaints.len()
        }
    }

    fn set(value: &str) -> What {
        What::Set { path: "/r".to_owned(), value: value.to_owned() }
    }

    fn read(behind: Behind) -> What {
        What::Read { path: "/r".to_owned(), behind }
    }

    fn done(zxid: i64, version: i64, text: &str) -> Fate {
        Fate::Done { zxid, version, text: text.to_owned() }
    }

    fn create(path: &str) -> What {
        What::Create { path: path.to_owned() }
    }

    #[test]
    fn a_good_history_is_believed() {
        let story = Story::new()
            .op(0, 5, set("a"), done(1, 1, ""))
            .op(6, 9, set("b"), Fate::Unknown)
            .op(10, 12, read(Behind::Sync), done(2, 2, "b"))
            .op(13, 14, create("/x"), Fate::Unknown)
            .op(15, 16, set("c"), Fate::Refused)
            .znode("/r", 2, "b");
        assert_eq!(judge(&story.entries, &story.tree).complaints, [""; 0]);
    }

    #[test]
    fn a_lost_write_is_seen() {
        let story = Story::new().op(0, 5, set("a"), done(1, 1, "")).znode("/r", 0, "");
        assert_eq!(story.complaints(), 1, "a register that went back");
        let story = Story::new().op(0, 5, create("/x"), done(1, 0, "/x"));
        assert_eq!(story.complaints(), 1, "a znode that is gone");
        let delete = What::Delete { path: "/x".to_owned() };
        let story = Story::new()
            .op(0, 5, create("/x"), done(1, 0, "/x"))
            .op(6, 7, delete, done(2, 0, ""))
            .znode("/x", 0, "");
        assert_eq!(story.complaints(), 1, "a deletion undone");
    }

    #[test]
    fn a_stale_read_behind_a_sync_is_seen_and_another_is_not() {
        let stale = |behind, asked| {
            Story::new()
                .op(0, 5, set("a"), done(7, 1, ""))
                .op(asked, asked + 3, read(behind), done(6, 0, ""))
                .znode("/r", 1, "a")
                .complaints()
        };
        assert_eq!((stale(Behind::Sync, 6), stale(Behind::Nothing, 6)), (1, 0));
        // Java's leader may be behind, for a moment.
        assert_eq!((stale(Behind::LooseSync, 6), stale(Behind::LooseSync, 1_006)), (0, 1));
    }

    #[test]
    fn two_histories_are_seen() {
        let story = Story::new()
            .op(0, 5, set("a"), done(1, 1, ""))
            .op(0, 5, set("b"), done(2, 1, ""))
            .znode("/r", 1, "a");
        assert!(story.complaints() > 0, "one version, two writes");
        let story = Story::new()
            .op(0, 5, set("a"), done(9, 1, ""))
            .op(6, 8, set("b"), done(8, 2, ""))
            .znode("/r", 2, "b");
        assert!(story.complaints() > 0, "the later write has the smaller zxid");
        let story = Story::new()
            .op(0, 5, set("a"), Fate::Unknown)
            .op(6, 8, read(Behind::Nothing), done(8, 1, "a"))
            .op(9, 10, read(Behind::Nothing), done(9, 3, "a"));
        assert!(story.complaints() > 0, "an unanswered write done twice");
    }

    #[test]
    fn sequence_numbers_count_up() {
        let made = |first: &str, second: &str| {
            let what = What::Sequential { prefix: "/q/s-".to_owned() };
            Story::new()
                .op(0, 5, what.clone(), done(1, 0, first))
                .op(6, 9, what, done(2, 0, second))
                .znode(first, 0, "")
                .znode(second, 0, "")
                .complaints()
        };
        assert_eq!(made("/q/s-0000000001", "/q/s-0000000002"), 0);
        assert_eq!(made("/q/s-0000000002", "/q/s-0000000002"), 1);
        assert_eq!(made("/q/s-0000000003", "/q/s-0000000002"), 1);
    }
}
