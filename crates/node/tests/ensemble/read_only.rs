//! A server without an ensemble, and leaders without clients. What is expected here was seen with
//! ZooKeeper 3.9.5.

use oxkeeper_node::Settings;
use oxkeeper_proto::{ErrorCode, Request, SessionId};
use oxkeeper_zab::Outgoing;

use crate::world::{Client, World};
use crate::{create, get, set, sync};

fn readable(settings: &mut Settings) {
    settings.read_only_after_ms = Some(2000);
    settings.local_sessions = true;
}

fn alone(change: impl Fn(&mut Settings)) -> World {
    let mut world = World::with(3, 0, change).formed();
    let mut client = world.connect(0, 10_000);
    assert_eq!(world.ask(&mut client, &create("/a", 0)), Some(ErrorCode::OK));
    world.kill(1);
    world.kill(2);
    world
}

fn reader(world: &mut World) -> Client {
    let (id, response) = world.ask_session(0, SessionId::NONE, 10_000, true);
    let response = response.expect("a session");
    assert_eq!(response.read_only, Some(true));
    Client { at: 0, id, session: response.session, xid: 0 }
}

#[test]
fn readers_are_served_after_a_while_and_nobody_else() {
    let mut world = alone(readable);
    world.pass(1900);
    let (_, early) = world.ask_session(0, SessionId::NONE, 10_000, true);
    assert_eq!(early, None, "an election might end any moment");
    world.pass(400);
    let mut client = reader(&mut world);
    assert_eq!(client.session.0 >> 56, 1);
    assert_eq!(world.ask(&mut client, &get("/a")), Some(ErrorCode::OK));
    let (id, writer) = world.ask_session(0, SessionId::NONE, 10_000, false);
    assert_eq!(writer, None);
    assert!(world.members[0].front.state(id).close_now, "one that may want to write goes away");
}

#[test]
fn a_reader_cannot_write_and_is_told_so_in_its_turn() {
    let mut world = alone(readable);
    world.pass(2500);
    let before = world.members[0].shared.tree.last_zxid();
    let mut client = reader(&mut world);
    world.send(&mut client, &get("/a"));
    world.send(&mut client, &set("/a", b"1"));
    world.send(&mut client, &sync());
    world.send(&mut client, &create("/b", 1));
    world.send(&mut client, &get("/a"));
    world.send(&mut client, &Request::CloseSession);
    world.settle();
    let got = world.got(&client);
    let told: Vec<_> = got.iter().map(|got| (got.xid, got.err)).collect();
    let (ok, refused) = (ErrorCode::OK, ErrorCode::NOT_READ_ONLY);
    let expected = [(1, ok), (2, refused), (3, refused), (4, refused), (5, ok), (6, ok)];
    assert_eq!(told, expected);
    assert!(got.iter().all(|got| got.zxid == before));
    assert!(got[1].body.is_empty());
    assert!(world.is_closed(&client));
}

#[test]
fn a_readers_session_is_renewed_here_and_the_ensembles_is_sent_away() {
    let mut world = World::with(3, 0, |settings| {
        readable(settings);
        settings.local_sessions_upgrading = true;
    })
    .formed();
    let mut real = world.connect(0, 30_000);
    assert_eq!(world.ask(&mut real, &create("/e", 1)), Some(ErrorCode::OK));
    world.kill(1);
    world.kill(2);
    world.pass(2500);
    let client = reader(&mut world);
    let (_, again) = world.ask_session(0, client.session, 10_000, true);
    let again = again.expect("renewed");
    assert_eq!((again.session, again.read_only), (client.session, Some(true)));
    let (id, refused) = world.ask_session(0, real.session, 10_000, true);
    assert_eq!(refused, None, "a live session is not declared dead");
    assert!(world.members[0].front.state(id).close_now);
    let (_, unknown) = world.ask_session(0, SessionId(77), 10_000, true);
    assert_eq!(unknown.expect("an answer").session, SessionId::NONE);
}

#[test]
fn readers_without_local_sessions_get_no_new_ones() {
    let mut world = alone(|settings| settings.read_only_after_ms = Some(2000));
    world.pass(2500);
    let (id, none) = world.ask_session(0, SessionId::NONE, 10_000, true);
    assert_eq!(none, None);
    assert!(world.members[0].front.state(id).close_now);
    // One that this server has not heard of is believed, as in ZooKeeper; it cannot be ended.
    let (id, believed) = world.ask_session(0, SessionId(77), 10_000, true);
    assert_eq!(believed.expect("believed").session, SessionId(77));
    let mut client = Client { at: 0, id, session: SessionId(77), xid: 0 };
    assert_eq!(world.ask(&mut client, &get("/a")), Some(ErrorCode::OK));
    let refused = world.ask(&mut client, &Request::CloseSession);
    assert_eq!(refused, Some(ErrorCode::NOT_READ_ONLY));
    assert_eq!(world.ask(&mut client, &get("/a")), Some(ErrorCode::OK), "and goes on");
}

/// ZOOKEEPER-3526: ids that a server gave out on its own looked like history to the next leader.
#[test]
fn a_server_on_its_own_gives_out_no_zxids_and_misses_nothing_when_it_is_back() {
    let mut world = alone(readable);
    let before = world.on_disk(0);
    world.pass(2500);
    for _ in 0..5 {
        let mut leaves = reader(&mut world);
        let stays = reader(&mut world);
        assert_eq!(world.ask(&mut leaves, &create("/x", 0)), Some(ErrorCode::NOT_READ_ONLY));
        assert_eq!(world.ask(&mut leaves, &Request::CloseSession), Some(ErrorCode::OK));
        world.pass(14_000);
        assert!(world.is_closed(&stays), "it has expired");
    }
    assert_eq!(world.on_disk(0), before);
    assert_eq!(world.members[0].shared.tree.last_zxid(), before.0);
    world.start(1);
    world.pass(2000);
    assert_eq!(world.leader(), Some(1));
    let history: Vec<&Outgoing> =
        world.members[1].sent.iter().filter(|sent| begins(sent)).collect();
    assert_eq!(history, [&Outgoing::Diff(before.0)]);
    let mut client = world.connect(0, 10_000);
    assert_eq!(world.ask(&mut client, &create("/x", 0)), Some(ErrorCode::OK));
}

/// Whether it is the first packet of a history.
fn begins(sent: &Outgoing) -> bool {
    matches!(sent, Outgoing::Diff(_) | Outgoing::Trunc(_) | Outgoing::Snap(_))
}

#[test]
fn readers_go_when_the_ensemble_is_back() {
    let mut world = alone(readable);
    world.pass(2500);
    let client = reader(&mut world);
    world.start(1);
    world.pass(2000);
    assert!(world.is_closed(&client));
    let (_, response) = world.ask_session(0, client.session, 10_000, true);
    assert_eq!(
        response.expect("an answer").session,
        SessionId::NONE,
        "it was never the ensemble's"
    );
    let (id, response) = world.ask_session(0, SessionId::NONE, 10_000, true);
    let response = response.expect("a session");
    assert_eq!(response.read_only, Some(false));
    let mut client = Client { at: 0, id, session: response.session, xid: 0 };
    assert_eq!(world.ask(&mut client, &set("/a", b"1")), Some(ErrorCode::OK));
}

#[test]
fn a_readers_session_expires_like_any_other() {
    let mut world = alone(readable);
    world.pass(2500);
    let client = reader(&mut world);
    world.pass(14_000);
    assert!(world.is_closed(&client));
    let (_, response) = world.ask_session(0, client.session, 10_000, true);
    assert_eq!(response.expect("an answer").session, SessionId::NONE);
}

#[test]
fn without_the_mode_nobody_is_served() {
    let mut world = alone(|_| ());
    world.pass(60_000);
    let (_, response) = world.ask_session(0, SessionId::NONE, 10_000, true);
    assert_eq!(response, None);
}

#[test]
fn a_leader_that_is_to_lead_only_serves_no_client_and_everybody_elses() {
    let mut world = World::with(3, 0, |settings| settings.leader_serves = false).formed();
    let leader = world.leader().unwrap();
    let (id, response) = world.ask_session(leader, SessionId::NONE, 10_000, false);
    assert_eq!(response, None);
    assert!(world.members[leader].front.state(id).close_now);
    let mut client = world.connect(0, 10_000);
    assert_eq!(world.ask(&mut client, &create("/a", 1)), Some(ErrorCode::OK));
    assert!(world.has(leader, "/a"));
    for _ in 0..8 {
        world.pass(2000);
        world.ping(&client);
    }
    assert!(world.has(leader, "/a"));
    world.kill(leader);
    world.pass(2000);
    let other = world.leader().expect("another leader");
    assert_ne!(other, leader);
    let at = if other == 0 { 1 } else { 0 };
    assert!(world.renew(client, at).is_some());
}
