//! What watches cost here: memory of a million over 100,000 paths, time to add, fire and close.
//!
//! `cargo run --release -p oxkeeper-tree --example watch_cost`
#![allow(clippy::disallowed_methods, clippy::disallowed_types)] // it measures: it needs a clock

use std::time::{Duration, Instant};

use oxkeeper_proto::Zxid;
use oxkeeper_tree::changes::{AclHandle, Change, ChangeKind};
use oxkeeper_tree::watch::{ConnKey, WatchKind, WatchLimits, Watches};

/// Resident bytes of this process, 0 where the system does not say.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    statm.split(' ').nth(1).and_then(|pages| pages.parse::<usize>().ok()).unwrap_or(0) * 4_096
}

fn per(total: Duration, count: usize) -> f64 {
    total.as_nanos() as f64 / count as f64
}

fn path(n: usize) -> String {
    format!("/services/group-{:03}/member-{n:06}", n % 100)
}

fn main() {
    million(WatchKind::Data, 1_000);
    million(WatchKind::Data, 10);
    many_watchers();
    one_connection();
}

/// A million watches: every one of 100,000 paths by ten of `connections`.
fn million(kind: WatchKind, connections: usize) {
    let paths: Vec<String> = (0..100_000).map(path).collect();
    let before = resident_bytes();
    let mut watches = Watches::new(WatchLimits::default(), 1);
    let mut longest = Duration::ZERO;
    let start = Instant::now();
    for turn in 0..10 {
        for (n, path) in paths.iter().enumerate() {
            let conn = ConnKey(((n * 7 + turn * (connections / 10)) % connections) as u32);
            let step = Instant::now();
            watches.add(conn, path, kind).expect("within limits");
            longest = longest.max(step.elapsed());
        }
    }
    let took = start.elapsed();
    let held = watches.counts().data;
    let bytes = resident_bytes().saturating_sub(before);
    println!(
        "{held} watches, {connections} connections: {:.1} MB, {:.0} ns to add, longest {longest:?}",
        bytes as f64 / 1e6,
        per(took, 1_000_000),
    );
    let acl = AclHandle::OPEN;
    let start = Instant::now();
    let mut told = 0;
    for path in &paths {
        let change = Change {
            kind: ChangeKind::DataChanged,
            path,
            zxid: Zxid(1),
            data_bytes: 0,
            acl: &acl,
            parent_acl: &acl,
        };
        watches.fire(&change, |_, _, _, _, _| told += 1);
    }
    println!("  all fired: {:.0} ns a watcher ({told})", per(start.elapsed(), told));
}

/// A thousand watchers of one path: persistent ones, and one-shot ones that are left again.
fn many_watchers() {
    let acl = AclHandle::OPEN;
    let change = Change {
        kind: ChangeKind::DataChanged,
        path: "/config/flags",
        zxid: Zxid(1),
        data_bytes: 0,
        acl: &acl,
        parent_acl: &acl,
    };
    for kind in [WatchKind::Persistent, WatchKind::Data] {
        let mut watches = Watches::new(WatchLimits::default(), 1);
        let (mut firing, mut adding, mut keys) = (Duration::ZERO, Duration::ZERO, 0);
        for _ in 0..1_000 {
            let start = Instant::now();
            for n in 0..1_000 {
                watches.add(ConnKey(n), "/config/flags", kind).expect("within limits");
            }
            adding += start.elapsed();
            let start = Instant::now();
            assert_eq!(watches.fire(&change, |conn, _, _, _, _| keys += conn.0).data, 1_000);
            firing += start.elapsed();
        }
        assert_eq!(keys, 1_000 * 499_500);
        println!(
            "1,000 watchers, {kind:?}: {:.1} ns a watcher to fire, {:.1} ns to leave again",
            per(firing, 1_000_000),
            per(adding, 1_000_000),
        );
    }
}

/// A million watches of one connection, then its end.
fn one_connection() {
    let mut watches = Watches::new(WatchLimits::default(), 1);
    let mut longest = Duration::ZERO;
    for n in 0..1_000_000 {
        let path = path(n);
        let step = Instant::now();
        watches.add(ConnKey(0), &path, WatchKind::Data).expect("within limits");
        longest = longest.max(step.elapsed());
    }
    println!("one connection, a million paths: longest add {longest:?}");
    let start = Instant::now();
    watches.close(ConnKey(0));
    println!("  close: {:?}", start.elapsed());
    let (start, mut longest, mut steps) = (Instant::now(), Duration::ZERO, 0);
    let mut step = Instant::now();
    while watches.sweep(2_000) > 0 {
        longest = longest.max(step.elapsed());
        steps += 1;
        step = Instant::now();
    }
    println!("  swept in {steps} steps of 2,000: {:?}, longest {longest:?}", start.elapsed());
}
