//! The net holds: a server that makes one of the mistakes of `oxkeeper_tree::wrong` is caught, by
//! the invariant that it breaks, in this many of the first seeds.
//!
//! The choice of a mistake is one for the whole process, so this is one test.

use oxkeeper_sim::Report;
use oxkeeper_sim::world::Plan;
use oxkeeper_tree::wrong;

const SEEDS: u64 = 16;

/// The mistake, who finds it, in how many seeds at least.
const CAUGHT: [(&str, &str, u64); 11] = [
    ("wire-cversion", "sequential_reads", 16),
    ("pzxid-not-moved", "digest_equal", 16),
    ("event-after-reply", "watch_once_in_order", 16),
    ("watch-fired-twice", "watch_once_in_order", 11),
    ("failed-multi-half-applied", "digest_equal", 13),
    ("sequence-per-prefix", "linearizable_writes", 12),
    ("exists-watch-lost", "watch_once_in_order", 6),
    ("close-leaves-ephemeral", "ephemeral_dies_with_session", 14),
    ("timeout-off-by-a-tick", "ephemeral_dies_with_session", 12),
    ("null-data-empty", "digest_equal", 11),
    ("child-of-ephemeral", "linearizable_writes", 11),
];

/// Those that are about permissions and quotas, which clients here have no use for: the
/// conformance run looks after them.
const ELSEWHERE: [&str; 4] =
    ["delete-checked-on-node", "quota-on-wrong-node", "event-unfiltered", "acl-unmasked"];

#[test]
fn every_mistake_is_caught() {
    let mut missed = Vec::new();
    for (name, invariant, least) in CAUGHT {
        assert!(wrong::choose(name), "{name} is no mistake");
        let mut found = 0;
        for seed in 0..SEEDS {
            let report = Report::of(Plan::new(seed));
            found += u64::from(report.violations.iter().any(|v| v.invariant == invariant));
        }
        println!("{name}: {invariant} finds it in {found} of {SEEDS} seeds");
        if found < least {
            missed.push(format!("{name}: {invariant} finds it in {found} of {SEEDS} seeds"));
        }
    }
    assert!(missed.is_empty(), "{missed:#?}");
    let known = CAUGHT.iter().map(|(name, ..)| *name).chain(ELSEWHERE);
    assert_eq!(known.count(), wrong::Wrong::ALL.len(), "a mistake that nobody looks for");
}
