//! The net holds: a host that makes a mistake is caught, by the invariant that the mistake breaks,
//! in this many of the first seeds.

use oxkeeper_sim::Report;
use oxkeeper_sim::report::NO_PANIC;
use oxkeeper_sim::server::{Mistake, ServerSettings};
use oxkeeper_sim::world::Plan;

const SEEDS: u64 = 20;

/// In how many seeds the mistake is found, and in how many by this invariant.
fn caught(mistake: Mistake, invariant: &str, seeds: u64) -> (u64, u64) {
    let mut found = (0, 0);
    for seed in 0..seeds {
        let plan = Plan::new(seed);
        let server = ServerSettings { mistake: Some(mistake), fronts: 3, ..plan.server.clone() };
        let report = Report::of(Plan { server, ..plan });
        found.0 += u64::from(!report.is_good());
        let by = report.violations.iter().any(|violation| violation.invariant == invariant);
        found.1 += u64::from(by);
    }
    println!("{mistake:?}: found in {} of {seeds} seeds, in {} by {invariant}", found.0, found.1);
    found
}

fn assert_caught(mistake: Mistake, invariant: &str, least: u64) {
    assert_caught_in(SEEDS, mistake, invariant, least);
}

fn assert_caught_in(seeds: u64, mistake: Mistake, invariant: &str, least: u64) {
    let (_, by) = caught(mistake, invariant, seeds);
    assert!(by >= least, "{mistake:?}: {invariant} finds it in {by} of {seeds} seeds");
}

#[test]
fn answering_before_the_disk_has_it() {
    assert_caught(Mistake::AnswersBeforeSync, "acknowledged_kept", 12);
}

#[test]
fn losing_mail_to_a_front() {
    assert_caught(Mistake::DropsMail, "watch_once_in_order", 12);
}

#[test]
fn telling_of_changes_after_outcomes() {
    assert_caught(Mistake::EventsAfterReplies, "watch_once_in_order", 17);
}

#[test]
fn reading_the_tree_before_the_mail() {
    // One seed in six. The answer to a sync, which comes from the core, brings the mail with it.
    assert_caught_in(60, Mistake::ReadsBeforeMail, "watch_once_in_order", 6);
}

#[test]
fn taking_a_turns_messages_backwards() {
    // The server itself notices that it answers another write than it was asked.
    assert_caught(Mistake::TakesMailBackwards, NO_PANIC, 18);
}

/// The host's mistake is made good by the core, which looks whose session it is: without that,
/// `session_fifo` finds it in 9 of these seeds.
#[test]
fn a_write_of_a_connection_that_its_session_has_left_is_refused() {
    assert_eq!(caught(Mistake::HoldsMessages, "session_fifo", SEEDS), (0, 0));
}

#[test]
fn expiring_sessions_that_were_heard() {
    assert_caught(Mistake::ForgetsHeard, "ephemeral_dies_with_session", 17);
}

#[test]
fn keeping_sessions_that_fell_silent() {
    assert_caught(Mistake::HearsTheDead, "ephemeral_dies_with_session", 6);
}
