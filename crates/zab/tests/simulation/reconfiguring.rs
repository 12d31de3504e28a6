//! Ensembles that come back while a reconfiguration is on its way, which some have in their logs,
//! some have seen, and some have not heard of.

use std::collections::BTreeSet;
use std::sync::Arc;

use oxkeeper_proto::Zxid;
use oxkeeper_zab::Epochs;
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};

use crate::entries::{entry, reconfiguration};
use crate::world::{Dice, World};

/// The reconfiguration's zxid, and its version.
const PROPOSED: Zxid = Zxid(3 << 32 | 1);

/// One who comes back.
struct Member {
    sid: usize,
    /// Transactions of the epoch that proposed in its log, the first of which is the proposal.
    logged: i64,
    /// Whether it has taken part in that epoch.
    took_part: bool,
    /// Whether it has seen the proposal.
    has_seen: bool,
}

fn member(sid: usize, logged: i64, has_seen: bool) -> Member {
    Member { sid, logged, took_part: logged > 0, has_seen }
}

fn config(sids: &[usize], version: i64) -> Arc<QuorumVerifier> {
    let lines = sids.iter().map(|sid| format!("server.{sid}=host{sid}:2888:3888:participant\n"));
    let text = format!("{}version={version:x}", lines.collect::<String>());
    Arc::new(QuorumVerifier::parse(&text, false).unwrap())
}

/// These are there from the beginning; nobody else is, but for who is added.
fn come_back(seed: u64, in_force: &[usize], proposed: &[usize], members: &[Member]) -> World {
    let mut world = World::of_members(seed, Membership::new(config(in_force, 1 << 32), None), 6);
    for member in members {
        let proposed = config(proposed, PROPOSED.0);
        let mut log = vec![entry(Zxid(1 << 32 | 5))];
        if member.logged > 0 {
            log.push(reconfiguration(&proposed));
        }
        log.extend((1..member.logged).map(|counter| entry(Zxid(PROPOSED.0 + counter))));
        // All of them have promised themselves to the leader that proposed.
        let epochs = Epochs { accepted: 3, current: if member.took_part { 3 } else { 1 } };
        let seen = member.has_seen.then_some(proposed);
        world.come(member.sid - 1, log, epochs, seen);
    }
    world
}

fn serve_together(world: &mut World, sids: &[usize], within_ms: u64, story: &str) {
    let places: BTreeSet<usize> = sids.iter().map(|sid| sid - 1).collect();
    if let Err(broken) = world.until_they_serve(&places, within_ms) {
        panic!("{}\n{story}: {broken}", world.trace());
    }
}

/// 3 proposed that 2 takes its place, and 1 knows nothing of it. 3 needs 2, which is ahead of it.
#[test]
fn a_newcomer_that_is_ahead_is_found_by_who_has_not_heard_of_it() {
    for seed in 0..100 {
        // Whether it is in the log of its proposer, and what was proposed behind it.
        for (proposer, newcomer) in [(0, 1), (1, 2), (1, 1), (2, 1)] {
            let members =
                [member(1, 0, false), member(2, newcomer, true), member(3, proposer, true)];
            let mut world = come_back(seed, &[1, 3], &[1, 2], &members);
            let story = format!("seed {seed}, {proposer} and {newcomer} in the logs");
            serve_together(&mut world, &[1, 2], 30_000, &story);
        }
    }
}

/// 3 has proposed an ensemble of three newcomers, of whom two never come. 1 and 6 know nothing of
/// it and are a quorum without it, whenever they come, and whatever 3 and the newcomer tell them.
#[test]
fn newcomers_that_never_come_keep_nobody_from_leading() {
    for seed in 0..60 {
        for late_ms in [0, 100, 1_500, 2_500, 4_000, 9_000] {
            let members = [member(1, 0, false), member(2, 2, true), member(3, 0, true)];
            let mut world = come_back(seed, &[1, 3, 6], &[2, 4, 5], &members);
            let story = format!("seed {seed}, the last one comes after {late_ms} ms");
            if let Err(broken) = world.pass(late_ms) {
                panic!("{}\n{story}: {broken}", world.trace());
            }
            let epochs = Epochs { accepted: 1, current: 1 };
            world.come(5, vec![entry(Zxid(1 << 32 | 5))], epochs, None);
            serve_together(&mut world, &[1, 6], 30_000, &story);
        }
    }
}

/// Whatever the two configurations are, and whoever has what in its log: where all are there, one
/// of them leads in the end, and a majority of one or the other is served.
#[test]
fn whoever_knows_what_all_find_a_leader() {
    all_find_a_leader(1_500, 0);
}

/// The same after bad weather, in which the reconfiguration comes or goes. Whether anything is lost
/// by that is better judged by the storms of `crates/sim`.
#[test]
fn after_bad_weather_all_find_a_leader_too() {
    all_find_a_leader(400, 400);
}

/// `SEEDS=n` plays so many.
fn all_find_a_leader(seeds: u64, steps_of_bad_weather: usize) {
    let seeds = std::env::var("SEEDS").map_or(seeds, |given| given.parse().unwrap());
    let mut late = 0;
    for seed in 0..seeds {
        let mut dice = Dice(seed);
        let mut some = |least: usize| {
            let mut sids: Vec<usize> = (1..=6).filter(|_| dice.chance(50)).collect();
            while sids.len() < least {
                let sid = 1 + dice.below(6);
                if !sids.contains(&sid) {
                    sids.push(sid);
                }
            }
            sids
        };
        let (in_force, proposed) = (some(2), some(2));
        let mut members = Vec::new();
        for sid in (1..=6).filter(|sid| in_force.contains(sid) || proposed.contains(sid)) {
            let logged = dice.below(6).saturating_sub(2) as i64;
            let (took_part, has_seen) = (logged > 0 || dice.chance(30), dice.chance(30));
            members.push(Member { sid, logged, took_part, has_seen: logged > 0 || has_seen });
        }
        let mut world = come_back(seed, &in_force, &proposed, &members);
        if steps_of_bad_weather > 0
            && let Err(broken) = world.bad_weather(steps_of_bad_weather)
        {
            panic!("{}\nseed {seed}: {in_force:?} -> {proposed:?}: {broken}", world.trace());
        }
        let leads = |world: &World| {
            [&in_force, &proposed].into_iter().any(|sids| {
                let epochs = world.epochs_of(sids);
                epochs.iter().any(|epoch| {
                    epochs.iter().filter(|other| *other == epoch).count() > sids.len() / 2
                })
            })
        };
        late += usize::from(world.until(leads, 5_000).is_err());
        if let Err(broken) = world.until(leads, 25_000) {
            panic!("{}\nseed {seed}: {in_force:?} -> {proposed:?}: {broken}", world.trace());
        }
    }
    println!("{late} took longer than five seconds");
}
