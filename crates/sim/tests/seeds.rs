//! A fixed set of seeds, on every machine the same: what the server promises holds in all of them,
//! and enough happens in them for that to mean something.

use oxkeeper_sim::world::Plan;
use oxkeeper_sim::world::Weather::{self, Changes, Epochs, Members, Open};
use oxkeeper_sim::{Report, Volume};

/// Seeds that once found something, with what it was.
const REGRESSIONS: [(u64, &str); 3] = [
    (4, "a read released by mail showed changes whose events were still in the mail"),
    (9, "a watch left by such a read fired for a change that its client had seen"),
    (1352, "what had replaced a container or TTL znode was removed in its place"),
];

/// The same of ensembles: servers that vote, the weather, the seed, and what it found.
const ENSEMBLES: [(usize, Weather, u64, &str); 30] = [
    (3, Open, 6, "a write behind a sync was answered before it"),
    (3, Open, 8, "a sync behind a read was overtaken by the write behind it"),
    (3, Open, 14, "a log that begins with an epoch could not be read from the snapshot before it"),
    (3, Open, 16, "who goes on talking to a server that was restarted is told so"),
    (3, Open, 27, "a snapshot for a learner has to be written before anyone is served"),
    (3, Open, 209_285_715_214, "who hung up on a learner just after a word had said nothing"),
    (3, Open, 209_563_236_721, "a log was to be cut at an epoch's bare zxid"),
    (5, Open, 100_163, "who stood at an epoch's bare zxid was handed over from elsewhere"),
    (3, Open, 45, "the bare zxid of an epoch is no transaction that a client could miss"),
    (
        5,
        Open,
        109_565,
        "a connection that its session had left wrote behind the one that came after",
    ),
    (3, Open, 106_363, "a leader told its epoch to a follower that had promised a later one"),
    (5, Open, 233_420, "a leader that had been stopped answered a sync when others had another"),
    (5, Members, 35, "a configuration came with a vote and was forgotten for an older one"),
    (3, Members, 200_602, "a leader that a reconfiguration had replaced answered a sync"),
    (3, Open, 709_243, "an older leader committed with a member that had lost its data"),
    (3, Epochs, 5_241, "a log was to be cut where no snapshot was left"),
    (3, Members, 707_764, "a configuration under way needed who found no leader because of it"),
    (5, Members, 224_555_477_423, "the same, of five"),
    (3, Members, 226_050_168_658, "a leader had forgotten a configuration that its log held"),
    (
        3,
        Epochs,
        237_546_505_815,
        "the log held nothing that a learner missed, and was read in vain",
    ),
    (3, Epochs, 239_076_062_361, "a leader that woke from a freeze answered a sync on its own"),
    (3, Members, 242_475_230_152, "a voter to be, in a later round without a vote, was not joined"),
    (
        3,
        Open,
        251_520_377_959,
        "a leader that had lost its data was elected by who still followed it",
    ),
    (
        3,
        Members,
        251_520_374_152,
        "what was held behind a sync came after the next connection's question",
    ),
    (
        3,
        Changes,
        263_496_215_218,
        "of two that vote one led, and the other did not count its own voice",
    ),
    (
        5,
        Changes,
        263_496_215_779,
        "who alone had put its removal in force was given a list by hand",
    ),
    (3, Changes, 265_045_035_079, "a voter to be had the best history, and voted for nobody"),
    (3, Changes, 265_045_036_987, "a log was cut to before a snapshot that a leader had sent"),
    (3, Changes, 265_554_026_468, "who knew nothing of a proposal did not vote for its newcomer"),
    (3, Members, 249_349_621_732, "the word of who was removed was needed, and not counted"),
];

fn assert_good(seed: u64) -> Report {
    assert_good_of(1, seed)
}

fn assert_good_of(voters: usize, seed: u64) -> Report {
    let report = Report::of(Plan::of_servers(seed, voters));
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
fn the_first_ensembles_are_good_and_full_of_life() {
    let mut total = Volume::default();
    (0..60).for_each(|seed| total += assert_good_of(3, seed).volume);
    (0..15).for_each(|seed| total += assert_good_of(5, seed).volume);
    let seen = [
        ("answers", total.answered, 50_000),
        ("transactions", total.transactions, 18_000),
        ("events", total.events, 8_000),
        ("lives of servers", total.lives, 500),
        ("expired sessions", total.expired, 200),
    ];
    for (what, count, least) in seen {
        assert!(count >= least, "only {count} {what}: {total}");
    }
    // Some found it before members wrote anything themselves, and some when they did.
    for (voters, weather, seed, what) in ENSEMBLES {
        for writes_alone in [false, true] {
            let report = Report::of(with_writes_alone(seed, voters, weather, writes_alone));
            assert!(report.is_good(), "again: {what}\n{report}");
        }
    }
}

/// Whatever happens just when a change of members is on its way or has come.
#[test]
fn changes_of_members_are_survived_at_every_moment() {
    let (mut ambushes, mut changes) = (0, 0);
    for (seed, voters) in (0..24).map(|seed| (seed, 3)).chain((0..8).map(|seed| (seed, 5))) {
        let plan = Plan::in_weather(seed, voters, Changes);
        let report = Report::of(Plan { whole_trace: true, ..plan });
        assert!(report.is_good(), "{report}");
        let lines = |what: &str| report.trace.lines().filter(|line| line.contains(what)).count();
        ambushes += lines(" an ambush on server ");
        changes += lines(" is configured: ");
    }
    assert!(ambushes > 30 && changes > 200, "only {ambushes} ambushes, {changes} changes");
}

/// A run in which members write batches that are alone without their log's thread, or never do.
fn with_writes_alone(seed: u64, voters: usize, weather: Weather, writes_alone: bool) -> Plan {
    let mut plan = Plan::in_weather(seed, voters, weather);
    if let Some(ensemble) = &mut plan.server.ensemble {
        ensemble.writes_alone = writes_alone;
    }
    plan
}

#[test]
fn members_that_write_what_is_alone_themselves_keep_all_promises() {
    let mut alone = 0;
    for seed in 100..130 {
        let plan = with_writes_alone(seed, 3, Open, true);
        let report = Report::of(Plan { whole_trace: true, ..plan });
        assert!(report.is_good(), "{report}");
        alone += report.trace.lines().filter(|line| line.ends_with(" itself")).count();
    }
    assert!(alone > 3_000, "only {alone} batches were alone");
}

/// The end of an epoch's numbers is an election in the midst of everything else: sessions live on
/// with their ephemerals and watches, as the invariants have it of any election.
#[test]
fn epochs_run_out_of_numbers_and_nothing_is_lost() {
    let run = |seed, voters, epoch_transactions_max| {
        let mut plan = Plan { whole_trace: true, ..Plan::in_weather(seed, voters, Open) };
        if let Some(ensemble) = &mut plan.server.ensemble {
            ensemble.epoch_transactions_max = epoch_transactions_max;
        }
        let report = Report::of(plan);
        assert!(report.is_good(), "{report}");
        let leaders = report.trace.lines().filter(|line| line.ends_with(" is Leading")).count();
        (leaders, report.volume)
    };
    let (mut ended, mut total) = (0, Volume::default());
    for (seed, voters) in (200..220).map(|seed| (seed, 3)).chain((220..226).map(|seed| (seed, 5))) {
        let (without, _) = run(seed, voters, None);
        let (with, volume) = run(seed, voters, Some(25));
        ended += with.saturating_sub(without);
        total += volume;
    }
    assert!(ended > 100, "only {ended} more leaders: {total}");
    assert!(total.answered > 10_000, "{total}");
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
    for (voters, seed) in [(1, 3), (1, 4), (3, 5), (5, 6)] {
        let trace = || {
            let plan = Plan { whole_trace: true, ..Plan::of_servers(seed, voters) };
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
