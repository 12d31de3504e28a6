//! The watch tables: each rule of ZooKeeper by name, and random sequences against a model that is
//! written the way ZooKeeper's two tables are.

use std::collections::{BTreeMap, BTreeSet};

use oxkeeper_proto::Zxid;
use oxkeeper_proto::response::EventType::{self, *};
use oxkeeper_tree::changes::{AclHandle, Change, ChangeKind};
use oxkeeper_tree::watch::{
    ConnKey, Fired, ReportBy, ReportCursor, ReportLine, WatchCounts, WatchKind, WatchLimits,
    WatcherType, Watches, WatchesFull,
};
use proptest::prelude::*;

const A: ConnKey = ConnKey(0);
const B: ConnKey = ConnKey(1);

type Told = (EventType, String, Vec<ConnKey>);

fn table() -> Watches {
    Watches::new(WatchLimits::default(), 1)
}

fn fire_counted(watches: &mut Watches, kind: ChangeKind, path: &str) -> (Vec<Told>, Fired) {
    let acl = AclHandle::OPEN;
    let change = Change { kind, path, zxid: Zxid(7), data_bytes: 0, acl: &acl, parent_acl: &acl };
    let mut told: Vec<Told> = Vec::new();
    let fired = watches.fire(&change, |conn, event, path, zxid, _| {
        assert_eq!(zxid, Zxid(7));
        match told.last_mut() {
            Some(last) if (last.0, last.1.as_str()) == (event, path) => last.2.push(conn),
            _ => told.push((event, path.to_owned(), vec![conn])),
        }
    });
    told.iter_mut().for_each(|(_, _, conns)| conns.sort_unstable());
    (told, fired)
}

fn fire(watches: &mut Watches, kind: ChangeKind, path: &str) -> Vec<Told> {
    fire_counted(watches, kind, path).0
}

fn told(event: EventType, path: &str, conns: &[ConnKey]) -> Told {
    (event, path.to_owned(), conns.to_vec())
}

fn add(watches: &mut Watches, conn: ConnKey, path: &str, kind: WatchKind) -> bool {
    watches.add(conn, path, kind).unwrap()
}

#[test]
fn a_standard_watch_fires_once() {
    let mut watches = table();
    assert!(add(&mut watches, A, "/a", WatchKind::Data));
    assert!(!add(&mut watches, A, "/a", WatchKind::Data), "it is there already");
    add(&mut watches, B, "/a", WatchKind::Data);
    let events = fire(&mut watches, ChangeKind::DataChanged, "/a");
    assert_eq!(events, [told(NodeDataChanged, "/a", &[A, B])]);
    assert_eq!(fire(&mut watches, ChangeKind::DataChanged, "/a"), []);
    assert_eq!(fire(&mut watches, ChangeKind::DataChanged, "/b"), []);
}

#[test]
fn creating_tells_data_watchers_then_the_parents_child_watchers() {
    let mut watches = table();
    add(&mut watches, A, "/a/b", WatchKind::Data);
    add(&mut watches, A, "/a", WatchKind::Child);
    add(&mut watches, B, "/a", WatchKind::Data);
    let events = fire(&mut watches, ChangeKind::Created, "/a/b");
    let expected = [told(NodeCreated, "/a/b", &[A]), told(NodeChildrenChanged, "/a", &[A])];
    assert_eq!(events, expected, "a data watch of the parent hears nothing");
    add(&mut watches, A, "/", WatchKind::Child);
    let events = fire(&mut watches, ChangeKind::Created, "/top");
    assert_eq!(events, [told(NodeChildrenChanged, "/", &[A])]);
}

#[test]
fn deleting_tells_each_connection_once_about_the_node() {
    let mut watches = table();
    add(&mut watches, A, "/a/b", WatchKind::Data);
    add(&mut watches, A, "/a/b", WatchKind::Child);
    add(&mut watches, B, "/a/b", WatchKind::Child);
    add(&mut watches, B, "/a", WatchKind::Child);
    let (events, fired) = fire_counted(&mut watches, ChangeKind::Deleted, "/a/b");
    let expected = [told(NodeDeleted, "/a/b", &[A, B]), told(NodeChildrenChanged, "/a", &[B])];
    assert_eq!(events, expected);
    assert_eq!(fired, Fired { data: 1, child: 2, parent: 1 }, "the suppressed one is counted");
    assert_eq!(watches.counts().data + watches.counts().child, 0, "all were consumed");
}

#[test]
fn a_child_watch_hears_no_change_of_data() {
    let mut watches = table();
    add(&mut watches, A, "/a", WatchKind::Child);
    assert_eq!(fire(&mut watches, ChangeKind::DataChanged, "/a"), []);
    assert_eq!(fire(&mut watches, ChangeKind::Created, "/a"), []);
    assert!(watches.contains(A, "/a", WatcherType::Children));
}

#[test]
fn a_persistent_watch_stays_and_hears_everything() {
    let mut watches = table();
    add(&mut watches, A, "/a", WatchKind::Persistent);
    for _ in 0..2 {
        let events = fire(&mut watches, ChangeKind::Created, "/a");
        assert_eq!(events, [told(NodeCreated, "/a", &[A])]);
        let events = fire(&mut watches, ChangeKind::Created, "/a/b");
        assert_eq!(events, [told(NodeChildrenChanged, "/a", &[A])]);
        let events = fire(&mut watches, ChangeKind::DataChanged, "/a/b");
        assert_eq!(events, []);
        let events = fire(&mut watches, ChangeKind::Deleted, "/a");
        assert_eq!(events, [told(NodeDeleted, "/a", &[A])]);
    }
}

#[test]
fn a_recursive_watch_hears_all_below_but_never_of_children() {
    let mut watches = table();
    add(&mut watches, A, "/a", WatchKind::Recursive);
    let cases = [
        (ChangeKind::Created, "/a", NodeCreated),
        (ChangeKind::Created, "/a/b/c", NodeCreated),
        (ChangeKind::DataChanged, "/a/b", NodeDataChanged),
        (ChangeKind::Deleted, "/a/b/c", NodeDeleted),
        (ChangeKind::Deleted, "/a", NodeDeleted),
    ];
    for (kind, path, event) in cases {
        assert_eq!(fire(&mut watches, kind, path), [told(event, path, &[A])]);
    }
    assert_eq!(fire(&mut watches, ChangeKind::Created, "/ab"), [], "no ancestor, a prefix only");
    add(&mut watches, A, "/", WatchKind::Recursive);
    let events = fire(&mut watches, ChangeKind::DataChanged, "/");
    assert_eq!(events, [told(NodeDataChanged, "/", &[A])]);
}

#[test]
fn one_event_even_if_several_modes_match() {
    let mut watches = table();
    for kind in [WatchKind::Data, WatchKind::Persistent, WatchKind::Recursive] {
        assert!(add(&mut watches, A, "/a/b", kind));
    }
    add(&mut watches, A, "/a", WatchKind::Recursive);
    add(&mut watches, A, "/", WatchKind::Recursive);
    let events = fire(&mut watches, ChangeKind::DataChanged, "/a/b");
    assert_eq!(events, [told(NodeDataChanged, "/a/b", &[A])]);
    assert!(!watches.contains(A, "/a/b", WatcherType::Data), "the standard one is consumed");
    assert!(watches.contains(A, "/a/b", WatcherType::Persistent));
    assert!(watches.contains(A, "/a/b", WatcherType::PersistentRecursive));
}

#[test]
fn a_recursive_ancestor_suppresses_the_child_tables_deletion() {
    let mut watches = table();
    add(&mut watches, A, "/a", WatchKind::Recursive);
    add(&mut watches, A, "/a/b", WatchKind::Child);
    let events = fire(&mut watches, ChangeKind::Deleted, "/a/b");
    assert_eq!(events, [told(NodeDeleted, "/a/b", &[A])]);
    assert!(!watches.contains(A, "/a/b", WatcherType::Children), "consumed all the same");
}

#[test]
fn removing_touches_the_named_kind_only() {
    use WatcherType::*;
    let all = [Children, Data, Persistent, PersistentRecursive];
    for (removed, kept) in [
        (Children, vec![Data, Persistent, PersistentRecursive]),
        (Data, vec![Children, Persistent, PersistentRecursive]),
        (Persistent, vec![Children, Data, PersistentRecursive]),
        (PersistentRecursive, vec![Children, Data, Persistent]),
        (Any, vec![]),
    ] {
        let mut watches = table();
        assert!(!watches.remove(A, "/a", removed), "NOWATCHER");
        for kind in [WatchKind::Data, WatchKind::Child, WatchKind::Persistent, WatchKind::Recursive]
        {
            add(&mut watches, A, "/a", kind);
        }
        assert!(!watches.remove(B, "/a", removed), "another connection's");
        assert!(watches.remove(A, "/a", removed));
        assert!(!watches.remove(A, "/a", removed), "removed already");
        for kind in all {
            assert_eq!(watches.contains(A, "/a", kind), kept.contains(&kind), "{kind:?}");
        }
        assert_eq!(watches.contains(A, "/a", Any), !kept.is_empty());
    }
}

#[test]
fn numbers_on_the_wire() {
    assert_eq!((1..=5).filter_map(WatcherType::from_code).count(), 5);
    assert_eq!(WatcherType::from_code(3), Some(WatcherType::Any));
    assert_eq!(WatcherType::from_code(0), None);
    assert_eq!(WatcherType::from_code(6), None);
    assert_eq!(WatchKind::from_add_mode(0), Some(WatchKind::Persistent));
    assert_eq!(WatchKind::from_add_mode(1), Some(WatchKind::Recursive));
    assert_eq!(WatchKind::from_add_mode(2), None);
}

#[test]
fn counts_are_those_of_mntr_and_wchs() {
    let mut watches = table();
    add(&mut watches, A, "/a", WatchKind::Data);
    add(&mut watches, A, "/a", WatchKind::Recursive);
    add(&mut watches, A, "/a", WatchKind::Child);
    add(&mut watches, A, "/b", WatchKind::Persistent);
    add(&mut watches, B, "/b", WatchKind::Child);
    let counts = watches.counts();
    assert_eq!(counts, WatchCounts { data: 2, child: 3, data_paths: 2, data_connections: 1 });
    watches.close(A);
    let counts = watches.counts();
    assert_eq!(counts, WatchCounts { data: 0, child: 1, data_paths: 0, data_connections: 0 });
}

#[test]
fn a_connection_stays_listed_when_its_last_watch_fires_not_when_it_is_removed() {
    let mut watches = table();
    add(&mut watches, A, "/a", WatchKind::Data);
    fire(&mut watches, ChangeKind::DataChanged, "/a");
    let counts = watches.counts();
    assert_eq!((counts.data_connections, counts.data_paths, counts.data), (1, 0, 0));
    assert_eq!(lines(&watches, ReportBy::Connection, 100), ["#0"]);
    add(&mut watches, A, "/a", WatchKind::Data);
    watches.remove(A, "/a", WatcherType::Data);
    assert_eq!(watches.counts().data_connections, 0);
    assert!(lines(&watches, ReportBy::Connection, 100).is_empty());
}

#[test]
fn after_a_close_the_key_is_free_at_once() {
    let mut watches = table();
    let count = 5_000;
    for n in 0..count {
        add(&mut watches, A, &format!("/p/{n}"), WatchKind::Data);
    }
    add(&mut watches, A, "/p", WatchKind::Recursive);
    watches.close(A);
    assert_eq!(watches.unswept(), count + 1);
    assert_eq!(watches.counts().data, 0);
    add(&mut watches, A, "/p/1", WatchKind::Child);
    assert_eq!(fire(&mut watches, ChangeKind::DataChanged, "/p/1"), [], "the old ones are dead");
    assert!(!watches.contains(A, "/p/1", WatcherType::Data));
    assert!(watches.contains(A, "/p/1", WatcherType::Children));
    assert_eq!(lines(&watches, ReportBy::Path, 1_000_000).iter().filter(|l| *l == "#0").count(), 0);
    let mut left = watches.unswept();
    while left > 0 {
        let now = watches.sweep(1_000);
        assert!(now < left && now + 1_000 >= left, "a step does what it is given");
        left = now;
    }
    assert_eq!(watches.counts(), WatchCounts { child: 1, ..WatchCounts::default() });
    let events = fire(&mut watches, ChangeKind::Deleted, "/p/1");
    assert_eq!(events, [told(NodeDeleted, "/p/1", &[A])]);
}

#[test]
fn limits_refuse_and_cost_nothing() {
    let limits = WatchLimits { per_connection_max: 2, total_max: 3, path_bytes_max: 9 };
    let mut watches = Watches::new(limits, 1);
    add(&mut watches, A, "/a", WatchKind::Data);
    add(&mut watches, A, "/b", WatchKind::Data);
    let third = watches.add(A, "/c", WatchKind::Data);
    assert_eq!(third, Err(WatchesFull::Connection(2)));
    assert!(add(&mut watches, A, "/b", WatchKind::Recursive), "the pair is counted once");
    let long = watches.add(B, "/cccccc", WatchKind::Data);
    assert_eq!(long, Err(WatchesFull::PathBytes(4)));
    add(&mut watches, B, "/b", WatchKind::Child);
    assert_eq!(watches.add(ConnKey(2), "/b", WatchKind::Data), Err(WatchesFull::Total(3)));
    let absurd = watches.add(ConnKey(u32::MAX), "/b", WatchKind::Data);
    assert_eq!(absurd, Err(WatchesFull::Key(u32::MAX)));
    watches.close(A);
    assert!(add(&mut watches, B, "/c", WatchKind::Data), "room again");
}

fn lines(watches: &Watches, by: ReportBy, budget: usize) -> Vec<String> {
    let mut cursor = ReportCursor::default();
    let mut out = Vec::new();
    let mut steps = 0;
    loop {
        let more = watches.report(by, &mut cursor, budget, |line| match line {
            ReportLine::Path(path) => out.push(path.to_owned()),
            ReportLine::Connection(conn) => out.push(format!("#{}", conn.0)),
        });
        steps += 1;
        if !more {
            assert!(budget > out.len() || steps > 1 || out.len() < 2, "stops in between");
            return out;
        }
    }
}

#[test]
fn reports_walk_the_data_table_in_pieces() {
    let mut watches = table();
    add(&mut watches, A, "/a", WatchKind::Data);
    add(&mut watches, A, "/c", WatchKind::Child);
    add(&mut watches, B, "/a", WatchKind::Recursive);
    add(&mut watches, B, "/b", WatchKind::Persistent);
    for budget in [1, 1_000] {
        assert_eq!(lines(&watches, ReportBy::Path, budget), ["/a", "#0", "#1", "/b", "#1"]);
        assert_eq!(lines(&watches, ReportBy::Connection, budget), ["#0", "/a", "#1", "/a", "/b"]);
    }
}

#[test]
fn a_huge_connection_is_reported_whole() {
    let mut watches = table();
    let mut expected: BTreeSet<String> = (0..40_000).map(|n| format!("/p/{n}")).collect();
    for path in &expected {
        add(&mut watches, A, path, WatchKind::Data);
    }
    expected.insert("#0".into());
    let reported = lines(&watches, ReportBy::Connection, 500);
    assert_eq!(reported.len(), expected.len());
    assert_eq!(reported.into_iter().collect::<BTreeSet<_>>(), expected);
}

/// ZooKeeper's shape: two tables from path to connection to a set of modes.
#[derive(Default)]
struct Model {
    data: ModelTable,
    child: ModelTable,
}

#[derive(Default)]
struct ModelTable {
    modes: BTreeMap<String, BTreeMap<ConnKey, BTreeSet<Mode>>>,
    listed: BTreeSet<ConnKey>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Mode {
    Standard,
    Persistent,
    Recursive,
}

impl ModelTable {
    fn add(&mut self, conn: ConnKey, path: &str, mode: Mode) -> bool {
        self.listed.insert(conn);
        self.modes.entry(path.into()).or_default().entry(conn).or_default().insert(mode)
    }

    fn contains(&self, conn: ConnKey, path: &str, mode: Option<Mode>) -> bool {
        let modes = self.modes.get(path).and_then(|conns| conns.get(&conn));
        modes.is_some_and(|modes| mode.is_none_or(|mode| modes.contains(&mode)))
    }

    fn remove(&mut self, conn: ConnKey, path: &str, mode: Option<Mode>) -> bool {
        let Some(modes) = self.modes.get_mut(path).and_then(|conns| conns.get_mut(&conn)) else {
            return false;
        };
        let before = modes.len();
        modes.retain(|held| mode.is_some_and(|mode| mode != *held));
        let removed = modes.len() < before;
        let emptied = modes.is_empty();
        self.tidy();
        if emptied && !self.modes.values().any(|conns| conns.contains_key(&conn)) {
            self.listed.remove(&conn);
        }
        removed
    }

    fn close(&mut self, conn: ConnKey) {
        self.modes.values_mut().for_each(|conns| drop(conns.remove(&conn)));
        self.listed.remove(&conn);
        self.tidy();
    }

    fn trigger(&mut self, path: &str) -> BTreeSet<ConnKey> {
        let mut told = BTreeSet::new();
        for (watched, conns) in &mut self.modes {
            let ancestor =
                path != watched && (watched == "/" || path.starts_with(&format!("{watched}/")));
            for (conn, modes) in conns {
                if path == watched {
                    told.insert(*conn);
                    modes.remove(&Mode::Standard);
                } else if ancestor && modes.contains(&Mode::Recursive) {
                    told.insert(*conn);
                }
            }
        }
        self.tidy();
        told
    }

    fn tidy(&mut self) {
        self.modes.values_mut().for_each(|conns| conns.retain(|_, modes| !modes.is_empty()));
        self.modes.retain(|_, conns| !conns.is_empty());
    }

    fn size(&self) -> usize {
        self.modes.values().map(BTreeMap::len).sum()
    }
}

impl Model {
    fn add(&mut self, conn: ConnKey, path: &str, kind: WatchKind) -> bool {
        match kind {
            WatchKind::Data => self.data.add(conn, path, Mode::Standard),
            WatchKind::Child => self.child.add(conn, path, Mode::Standard),
            WatchKind::Recursive => self.data.add(conn, path, Mode::Recursive),
            WatchKind::Persistent => {
                self.child.add(conn, path, Mode::Persistent);
                self.data.add(conn, path, Mode::Persistent)
            }
        }
    }

    fn contains(&self, conn: ConnKey, path: &str, watcher_type: WatcherType) -> bool {
        match watcher_type {
            WatcherType::Children => self.child.contains(conn, path, Some(Mode::Standard)),
            WatcherType::Data => self.data.contains(conn, path, Some(Mode::Standard)),
            WatcherType::Persistent => self.data.contains(conn, path, Some(Mode::Persistent)),
            WatcherType::PersistentRecursive => {
                self.data.contains(conn, path, Some(Mode::Recursive))
            }
            WatcherType::Any => {
                self.child.contains(conn, path, None) || self.data.contains(conn, path, None)
            }
        }
    }

    fn remove(&mut self, conn: ConnKey, path: &str, watcher_type: WatcherType) -> bool {
        match watcher_type {
            WatcherType::Children => self.child.remove(conn, path, Some(Mode::Standard)),
            WatcherType::Data => self.data.remove(conn, path, Some(Mode::Standard)),
            WatcherType::Persistent => {
                self.child.remove(conn, path, Some(Mode::Persistent))
                    | self.data.remove(conn, path, Some(Mode::Persistent))
            }
            WatcherType::PersistentRecursive => self.data.remove(conn, path, Some(Mode::Recursive)),
            WatcherType::Any => {
                self.child.remove(conn, path, None) | self.data.remove(conn, path, None)
            }
        }
    }

    fn fire(&mut self, kind: ChangeKind, path: &str) -> Vec<Told> {
        let parent = match path.rfind('/') {
            Some(0) | None => "/",
            Some(slash) => &path[..slash],
        };
        let own = match kind {
            ChangeKind::Created => NodeCreated,
            ChangeKind::Deleted => NodeDeleted,
            ChangeKind::DataChanged => NodeDataChanged,
        };
        let first = self.data.trigger(path);
        let mut events = vec![(own, path, first.clone())];
        if kind == ChangeKind::Deleted {
            let second = self.child.trigger(path);
            events[0].2.extend(second);
        }
        if kind != ChangeKind::DataChanged {
            events.push((NodeChildrenChanged, parent, self.child.trigger(parent)));
        }
        events.retain(|(_, _, conns)| !conns.is_empty());
        events
            .into_iter()
            .map(|(event, path, conns)| told(event, path, &conns.into_iter().collect::<Vec<_>>()))
            .collect()
    }

    fn counts(&self) -> WatchCounts {
        WatchCounts {
            data: self.data.size(),
            child: self.child.size(),
            data_paths: self.data.modes.len(),
            data_connections: self.data.listed.len(),
        }
    }
}

#[derive(Debug, Clone)]
enum Step {
    Add(ConnKey, &'static str, WatchKind),
    Remove(ConnKey, &'static str, WatcherType),
    Fire(ChangeKind, &'static str),
    Close(ConnKey),
}

const PATHS: [&str; 8] = ["/", "/a", "/a/b", "/a/b/c", "/a/d", "/ab", "/e", "/e/f"];

fn step() -> impl Strategy<Value = Step> {
    let conn = || (0u32..5).prop_map(ConnKey);
    let path = || prop::sample::select(&PATHS[..]);
    let kind = prop::sample::select(vec![
        WatchKind::Data,
        WatchKind::Child,
        WatchKind::Persistent,
        WatchKind::Recursive,
    ]);
    let watcher_type = (1i32..=5).prop_map(|code| WatcherType::from_code(code).unwrap());
    let change = prop::sample::select(vec![
        ChangeKind::Created,
        ChangeKind::Deleted,
        ChangeKind::DataChanged,
    ]);
    prop_oneof![
        8 => (conn(), path(), kind).prop_map(|(c, p, k)| Step::Add(c, p, k)),
        3 => (conn(), path(), watcher_type).prop_map(|(c, p, t)| Step::Remove(c, p, t)),
        6 => (change, path()).prop_map(|(k, p)| Step::Fire(k, p)),
        1 => conn().prop_map(Step::Close),
    ]
}

/// The data table as pairs of path and connection, from a report.
fn pairs(watches: &Watches, by: ReportBy) -> BTreeSet<(String, String)> {
    let mut head = String::new();
    let mut pairs = BTreeSet::new();
    for line in lines(watches, by, 1_000_000) {
        match (by, line.starts_with('#')) {
            (ReportBy::Path, false) | (ReportBy::Connection, true) => head = line,
            (ReportBy::Path, true) => drop(pairs.insert((head.clone(), line))),
            (ReportBy::Connection, false) => drop(pairs.insert((line, head.clone()))),
        }
    }
    pairs
}

proptest! {
    #[test]
    fn behaves_as_zookeepers_two_tables(steps in prop::collection::vec(step(), 1..150)) {
        let mut watches = table();
        let mut model = Model::default();
        for step in steps {
            match step {
                Step::Add(conn, path, kind) => {
                    let added = watches.add(conn, path, kind).unwrap();
                    prop_assert_eq!(added, model.add(conn, path, kind));
                }
                Step::Remove(conn, path, kind) => {
                    let removed = watches.remove(conn, path, kind);
                    prop_assert_eq!(removed, model.remove(conn, path, kind));
                }
                Step::Fire(kind, path) => {
                    prop_assert_eq!(fire(&mut watches, kind, path), model.fire(kind, path));
                }
                Step::Close(conn) => {
                    watches.close(conn);
                    model.data.close(conn);
                    model.child.close(conn);
                }
            }
            prop_assert_eq!(watches.counts(), model.counts());
        }
        for (conn, path, code) in
            (0..5).flat_map(|c| PATHS.map(|p| (ConnKey(c), p))).flat_map(|(c, p)| {
                (1..=5).map(move |code| (c, p, code))
            })
        {
            let kind = WatcherType::from_code(code).unwrap();
            prop_assert_eq!(watches.contains(conn, path, kind), model.contains(conn, path, kind));
        }
        let expected: BTreeSet<_> = model.data.modes.iter().flat_map(|(path, conns)| {
            conns.keys().map(move |conn| (path.clone(), format!("#{}", conn.0)))
        }).collect();
        prop_assert_eq!(pairs(&watches, ReportBy::Path), expected.clone());
        prop_assert_eq!(pairs(&watches, ReportBy::Connection), expected);
    }
}
