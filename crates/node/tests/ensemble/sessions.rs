//! Sessions of the ensemble: they move between servers, and end where and when they should.

use oxkeeper_proto::{ErrorCode, Request};

use crate::world::World;
use crate::{EPHEMERAL, create, get, set};

#[test]
fn a_session_moves_and_its_old_connection_can_do_no_more() {
    let mut world = World::new(3).formed();
    for (from, to) in [(0, 1), (0, 2), (2, 0)] {
        let mut old = world.connect(from, 10_000);
        let path = format!("/e{from}{to}");
        assert_eq!(world.ask(&mut old, &create(&path, EPHEMERAL)), Some(ErrorCode::OK));
        let mut new = world.renew(old, to).expect("it lives");
        assert_eq!(world.ask(&mut new, &set(&path, b"new")), Some(ErrorCode::OK));
        if !world.is_closed(&old) {
            old.xid += 100;
            assert_eq!(world.ask(&mut old, &set(&path, b"old")), None, "SESSIONMOVED closes");
        }
        assert!(world.is_closed(&old), "{from} -> {to}");
        assert_eq!(world.members[2].shared.tree.node(&path).unwrap().data(), Some(&b"new"[..]));
        assert_eq!(world.ask(&mut new, &get(&path)), Some(ErrorCode::OK));
    }
}

#[test]
fn the_end_of_the_old_connection_does_not_end_the_moved_session() {
    let mut world = World::new(3).formed();
    let old = world.connect(0, 10_000);
    let mut new = world.renew(old, 1).unwrap();
    world.hang_up(&old);
    for _ in 0..8 {
        world.pass(3000);
        world.ping(&new);
    }
    assert_eq!(world.ask(&mut new, &create("/alive", 0)), Some(ErrorCode::OK));
}

#[test]
fn a_session_that_nobody_hears_of_is_ended_by_the_leader() {
    for at in 0..3 {
        let mut world = World::new(3).formed();
        let mut silent = world.connect(at, 6000);
        let alive = world.connect(at, 6000);
        assert_eq!(world.ask(&mut silent, &create("/e", EPHEMERAL)), Some(ErrorCode::OK));
        for _ in 0..3 {
            world.pass(2000);
            world.ping(&alive);
        }
        assert!(world.knows(0, silent.session), "not before its time");
        for _ in 0..3 {
            world.pass(2000);
            world.ping(&alive);
        }
        assert!(!world.has(at, "/e") && !world.has(0, "/e"));
        assert!(world.is_closed(&silent));
        assert!(!world.is_closed(&alive) && world.knows(2, alive.session));
        assert!(world.renew(silent, 1).is_none(), "gone for good");
    }
}

#[test]
fn a_closed_session_is_known_nowhere() {
    let mut world = World::new(3).formed();
    for at in 0..3 {
        let mut client = world.connect(at, 10_000);
        assert!((0..3).all(|other| world.knows(other, client.session)));
        assert_eq!(world.ask(&mut client, &create("/e", EPHEMERAL)), Some(ErrorCode::OK));
        assert_eq!(world.ask(&mut client, &Request::CloseSession), Some(ErrorCode::OK));
        assert!((0..3).all(|other| !world.knows(other, client.session)));
        assert!(!world.has(0, "/e"));
        assert!((0..3).all(|other| world.renew(client, other).is_none()));
    }
}

/// ZOOKEEPER-2355, 4837: a follower that had lost its leader while the end of a session was
/// proposed kept the session's ephemerals for ever, and showed them to everybody once it led.
#[test]
fn the_end_of_a_session_is_not_missed_by_who_lost_its_leader_over_it() {
    for comes in [false, true] {
        let mut world = World::new(3).formed();
        let mut client = world.connect(2, 10_000);
        assert_eq!(world.ask(&mut client, &create("/e", EPHEMERAL)), Some(ErrorCode::OK));
        // Either 0 does not get the proposal, which 1 has; or both do, and nothing is committed.
        match comes {
            true => [0, 1].iter().for_each(|at| world.hold(*at, 2)),
            false => world.hold(2, 0),
        }
        let answer = world.ask(&mut client, &Request::CloseSession);
        assert_eq!(answer.is_some(), !comes);
        assert_eq!((world.has(0, "/e"), world.has(1, "/e")), (true, comes));
        world.kill(2);
        world.release();
        world.pass(2000);
        assert_eq!(world.leader(), Some(1));
        let gone = |world: &World, at| !world.has(at, "/e") && !world.knows(at, client.session);
        assert!(gone(&world, 0) && gone(&world, 1), "{comes}");
        world.kill(1);
        world.start(2);
        world.pass(2000);
        assert!(world.leader().is_some());
        assert!(gone(&world, 0) && gone(&world, 2), "{comes}");
    }
}

#[test]
fn sessions_outlive_a_change_of_leaders() {
    let mut world = World::new(3).formed();
    let mut here = world.connect(0, 10_000);
    let mut there = world.connect(2, 10_000);
    assert_eq!(world.ask(&mut here, &create("/here", EPHEMERAL)), Some(ErrorCode::OK));
    assert_eq!(world.ask(&mut there, &create("/there", EPHEMERAL)), Some(ErrorCode::OK));
    world.kill(2);
    world.pass(2000);
    let here = world.renew(here, 0).expect("as good as new");
    assert!(world.has(0, "/here") && world.has(0, "/there"));
    for _ in 0..8 {
        world.pass(2000);
        world.ping(&here);
    }
    assert!(world.has(1, "/here"));
    assert!(!world.has(1, "/there"), "its client never came back");
}

#[test]
fn a_question_that_comes_before_the_leader_serves_is_answered_by_what_is_true() {
    let mut world = World::new(3).formed();
    let client = world.connect(0, 30_000);
    world.slow_apply(1, true);
    world.kill(2);
    world.pass(2000);
    assert!(world.members[0].shared.serving && world.leader() == Some(1));
    let id = world.begin_session(0, client.session, 30_000, false);
    world.settle();
    assert_eq!(world.response(0, id), None, "the leader has not begun to serve");
    world.slow_apply(1, false);
    assert_eq!(world.response(0, id).expect("an answer").session, client.session);
}

#[test]
fn nobody_is_told_that_a_session_is_over_by_a_server_that_cannot_know() {
    let mut world = World::new(3).formed();
    let client = world.connect(0, 30_000);
    world.kill(1);
    world.kill(2);
    let (id, response) = world.ask_session(0, client.session, 30_000, false);
    assert_eq!(response, None);
    assert!(world.members[0].front.state(id).close_now);
}

#[test]
fn machines_that_stood_still_blame_nobody_before_they_have_listened() {
    let mut world = World::new(3).formed();
    let leader = world.leader().unwrap();
    let mut client = world.connect((leader + 1) % 3, 120_000);
    // What the servers say to each other waits in the sockets.
    for (from, to) in (0..3).flat_map(|from| (0..3).map(move |to| (from, to))) {
        world.hold(from, to);
    }
    world.pass(1_500);
    world.stand_still(60_000);
    world.release();
    world.pass(1_000);
    assert_eq!(world.leader(), Some(leader));
    assert!(!world.is_closed(&client), "no role has ended");
    assert_eq!(world.ask(&mut client, &create("/after", EPHEMERAL)), Some(ErrorCode::OK));
}

#[test]
fn the_last_words_before_a_client_hangs_up_on_a_learner_count() {
    let mut world = World::new(3).formed();
    let learner = (world.leader().unwrap() + 1) % 3;
    let mut client = world.connect(learner, 10_000);
    assert_eq!(world.ask(&mut client, &create("/e", EPHEMERAL)), Some(ErrorCode::OK));
    world.pass(6_000);
    world.ping(&client);
    world.hang_up(&client);
    world.pass(8_000);
    assert!(world.has(learner, "/e"), "it was heard 8 s ago");
    world.pass(5_000);
    assert!(!world.has(learner, "/e"));
}
