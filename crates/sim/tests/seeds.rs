//! A fixed set of seeds, on every machine the same: what the server promises holds in all of them,
//! and enough happens in them for that to mean something.

use oxkeeper_sim::world::Plan;
use oxkeeper_sim::{Report, Volume};

/// Seeds that once found something, with what it was.
const REGRESSIONS: [(u64, &str); 3] = [
    (4, "a read released by mail showed changes whose events were still in the mail"),
    (9, "a watch left by such a read fired for a change that its client had seen"),
    (1352, "what had replaced a container or TTL znode was removed in its place"),
];

fn assert_good(seed: u64) -> Report {
    let report = Report::of(Plan::new(seed));
    assert!(report.is_good(), "{report}");
    report
}

#[test]
fn the_first_seeds_are_good_and_full_of_life() {
    let mut total = Volume::default();
    (0..120).for_each(|seed| total += assert_good(seed).volume);
    let seen = [
        ("answers", total.answered, 60_000),
        ("transactions", total.transactions, 30_000),
        ("events", total.events, 10_000),
        ("lives of servers", total.lives, 200),
        ("expired sessions", total.expired, 200),
    ];
    for (what, count, least) in seen {
        assert!(count >= least, "only {count} {what}: {total}");
    }
    assert!(total.asked > total.answered, "nothing was ever lost: {total}");
}

#[test]
fn what_was_found_once_stays_mended() {
    for (seed, what) in REGRESSIONS {
        let report = Report::of(Plan::new(seed));
        assert!(report.is_good(), "again: {what}\n{report}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace_byte_for_byte() {
    for seed in [3, 4] {
        let trace = || {
            let plan = Plan { whole_trace: true, ..Plan::new(seed) };
            let report = Report::of(plan);
            report.trace.lines().map(str::to_owned).collect::<Vec<_>>()
        };
        let (first, second) = (trace(), trace());
        let differs = first.iter().zip(&second).position(|(a, b)| a != b);
        let at = differs.unwrap_or_default();
        assert_eq!(differs, None, "{}\n{}", first[at], second[at]);
        assert_eq!(first.len(), second.len());
        assert!(first.len() > 300, "only {} lines", first.len());
    }
}

#[test]
fn different_seeds_give_different_traces() {
    let print = |seed| Report::of(Plan::new(seed)).trace.fingerprint();
    assert_ne!(print(3), print(4));
}
