//! Sessions that one server alone knows. What is expected here was seen with ZooKeeper 3.9.5.

use oxkeeper_node::Settings;
use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::request::{MultiOp, MultiRequest, PathVersion};
use oxkeeper_proto::{ErrorCode, OpCode, Request};
use oxkeeper_zab::Outgoing;

use crate::world::{Client, World};
use crate::{EPHEMERAL, create, creation, get, set, sync};

fn upgradeable(settings: &mut Settings) {
    settings.local_sessions = true;
    settings.local_sessions_upgrading = true;
}

fn fixed(settings: &mut Settings) {
    settings.local_sessions = true;
}

fn multi(ops: Vec<MultiOp<'_>>) -> Vec<u8> {
    let mut body = Vec::new();
    MultiRequest::encode_ops(&mut body, ops);
    body
}

fn multi_request(body: &[u8]) -> Request<'_> {
    Request::decode(OpCode::MULTI, &mut Reader::new(body)).unwrap().unwrap()
}

fn tell_apart(world: &World, client: &Client) -> (bool, bool) {
    let member = &world.members[client.at];
    let local = member.core.local_sessions().unwrap().is_open(client.session);
    (local, (0..world.members.len()).any(|at| world.knows(at, client.session)))
}

const LOCAL: (bool, bool) = (true, false);
const GLOBAL: (bool, bool) = (false, true);
const NONE: (bool, bool) = (false, false);

#[test]
fn a_session_begins_and_ends_without_a_transaction_and_writes_all_the_same() {
    let mut world = World::with(3, 1, upgradeable).formed();
    for at in 0..4 {
        let before = world.members[2].shared.tree.last_zxid();
        let mut client = world.connect(at, 10_000);
        assert_eq!(tell_apart(&world, &client), LOCAL);
        assert_eq!(client.session.0 >> 56, at as i64 + 1);
        assert_eq!(world.members[2].shared.tree.last_zxid(), before);
        let path = format!("/a{at}");
        assert_eq!(world.ask(&mut client, &create(&path, 0)), Some(ErrorCode::OK));
        assert_eq!(world.ask(&mut client, &set(&path, b"1")), Some(ErrorCode::OK));
        assert_eq!(world.ask(&mut client, &sync()), Some(ErrorCode::OK));
        assert_eq!(tell_apart(&world, &client), LOCAL);
        let written = world.members[2].shared.tree.last_zxid();
        assert_eq!(written.0, before.0 + 2, "the two writes");
        assert_eq!(world.ask(&mut client, &Request::CloseSession), Some(ErrorCode::OK));
        assert!(world.is_closed(&client));
        assert_eq!(tell_apart(&world, &client), NONE);
        assert_eq!(world.members[2].shared.tree.last_zxid(), written);
    }
}

#[test]
fn the_end_of_a_local_session_is_answered_behind_its_writes() {
    let mut world = World::with(3, 0, upgradeable).formed();
    for at in [0, 2] {
        let mut client = world.connect(at, 10_000);
        let path = format!("/a{at}");
        world.send(&mut client, &create(&path, 0));
        world.send(&mut client, &get(&path));
        world.send(&mut client, &Request::CloseSession);
        world.settle();
        let got = world.got(&client);
        let told: Vec<_> = got.iter().map(|got| (got.xid, got.err)).collect();
        assert_eq!(told, [1, 2, 3].map(|xid| (xid, ErrorCode::OK)));
        assert_eq!(got[2].zxid, got[0].zxid, "it takes no zxid");
        assert!(world.is_closed(&client));
    }
}

#[test]
fn the_first_ephemeral_makes_a_session_everybodys() {
    let mut world = World::with(3, 1, upgradeable).formed();
    for at in 0..4 {
        let mut client = world.connect(at, 10_000);
        let before = world.members[2].shared.tree.last_zxid();
        let path = format!("/e{at}");
        assert_eq!(world.ask(&mut client, &create(&path, EPHEMERAL)), Some(ErrorCode::OK));
        assert_eq!(tell_apart(&world, &client), GLOBAL);
        let after = world.members[2].shared.tree.last_zxid();
        assert_eq!(after.0, before.0 + 2, "createSession and the create");
        assert!(!world.is_closed(&client));
        let mut client = world.renew(client, (at + 1) % 4).expect("it may go anywhere now");
        assert_eq!(world.ask(&mut client, &Request::CloseSession), Some(ErrorCode::OK));
        assert!(!world.has(2, &path));
    }
}

#[test]
fn an_upgrade_keeps_the_order_of_what_is_asked_around_it() {
    let mut world = World::with(3, 0, upgradeable).formed();
    for at in [0, 2] {
        let mut client = world.connect(at, 10_000);
        let paths = [format!("/p{at}"), format!("/e{at}"), format!("/e{at}b")];
        world.send(&mut client, &create(&paths[0], 0));
        world.send(&mut client, &create(&paths[1], EPHEMERAL));
        world.send(&mut client, &get(&paths[1]));
        world.send(&mut client, &create(&paths[2], EPHEMERAL));
        world.send(&mut client, &Request::CloseSession);
        world.settle();
        let told: Vec<_> = world.got(&client).iter().map(|got| (got.xid, got.err)).collect();
        assert_eq!(told, [1, 2, 3, 4, 5].map(|xid| (xid, ErrorCode::OK)));
        assert_eq!(tell_apart(&world, &client), NONE);
        assert!(world.has(0, &paths[0]) && !world.has(0, &paths[1]) && !world.has(0, &paths[2]));
    }
}

#[test]
fn an_ephemeral_within_a_multi_upgrades_too() {
    let mut world = World::with(3, 0, upgradeable).formed();
    for at in [0, 2] {
        let mut client = world.connect(at, 10_000);
        let (plain, own) = (format!("/p{at}"), format!("/e{at}"));
        let body = multi(vec![MultiOp::Create(creation(&plain, 0))]);
        assert_eq!(world.ask(&mut client, &multi_request(&body)), Some(ErrorCode::OK));
        assert_eq!(tell_apart(&world, &client), LOCAL);
        let body = multi(vec![
            MultiOp::Check(PathVersion { path: plain.as_str().into(), version: -1 }),
            MultiOp::Create(creation(&own, EPHEMERAL)),
        ]);
        assert_eq!(world.ask(&mut client, &multi_request(&body)), Some(ErrorCode::OK));
        assert_eq!(tell_apart(&world, &client), GLOBAL);
        assert!(world.has(1, &own));
    }
}

#[test]
fn without_upgrades_an_ephemeral_is_refused_and_the_session_stays_as_it_is() {
    let mut world = World::with(3, 1, fixed).formed();
    for at in 0..4 {
        let mut client = world.connect(at, 10_000);
        let path = format!("/e{at}");
        let refused = world.ask(&mut client, &create(&path, EPHEMERAL));
        assert_eq!(refused, Some(ErrorCode::EPHEMERAL_ON_LOCAL_SESSION));
        assert_eq!(tell_apart(&world, &client), LOCAL);
        assert_eq!(world.ask(&mut client, &create(&path, 0)), Some(ErrorCode::OK));
        // Flags that mean nothing are what is told first.
        assert_eq!(world.ask(&mut client, &create("/x", 99)), Some(ErrorCode::BAD_ARGUMENTS));
    }
}

#[test]
fn without_upgrades_a_multi_says_which_operation_failed_as_the_leader_sees_it() {
    let mut world = World::with(3, 0, fixed).formed();
    for (at, code) in [
        (2, ErrorCode::EPHEMERAL_ON_LOCAL_SESSION),
        // The leader has not heard of a session of another server.
        (0, ErrorCode::SESSION_EXPIRED),
    ] {
        let mut client = world.connect(at, 10_000);
        let (plain, own) = (format!("/p{at}"), format!("/e{at}"));
        let body = multi(vec![
            MultiOp::Create(creation(&plain, 0)),
            MultiOp::Create(creation(&own, EPHEMERAL)),
            MultiOp::Create(creation("/later", 0)),
        ]);
        world.send(&mut client, &multi_request(&body));
        world.settle();
        let got = world.got(&client).remove(0);
        assert_eq!(got.err, ErrorCode::OK, "a multi's header says nothing");
        let codes: Vec<i32> = got
            .body
            .chunks(13)
            .take(3)
            .map(|result| i32::from_be_bytes(result[9..13].try_into().unwrap()))
            .collect();
        assert_eq!(codes, [0, code.0, ErrorCode::RUNTIME_INCONSISTENCY.0]);
        assert!(!world.has(0, &plain));
    }
}

#[test]
fn a_local_session_can_be_renewed_on_its_own_server_alone() {
    let mut world = World::with(3, 0, upgradeable).formed();
    for at in [0, 2] {
        let client = world.connect(at, 10_000);
        let other = world.renew(client, 1);
        assert!(other.is_none(), "nobody else has heard of it");
        assert!(!world.is_closed(&client));
        let again = world.renew(client, at).expect("here it is known");
        assert!(world.is_closed(&client), "one connection at a time");
        world.hang_up(&again);
        assert!(world.renew(again, at).is_some());
    }
}

#[test]
fn a_wrong_password_renews_nothing() {
    let mut world = World::with(3, 0, upgradeable).formed();
    let client = world.connect(0, 10_000);
    let response = world.ask_with_password(0, client.session, &[7; 16]).expect("an answer");
    assert_eq!(response.session.0, 0);
    assert!(world.renew(client, 0).is_some(), "its client is not harmed");
}

#[test]
fn a_local_session_ends_here_when_nobody_hears_of_it_and_is_not_told_in_pings() {
    let mut world = World::with(3, 0, upgradeable).formed();
    for at in [0, 2] {
        let silent = world.connect(at, 6000);
        let gone = world.connect(at, 6000);
        let alive = world.connect(at, 6000);
        world.hang_up(&gone);
        let before = world.members[2].shared.tree.last_zxid();
        world.members[at].sent.clear();
        for _ in 0..6 {
            world.pass(2000);
            world.ping(&alive);
        }
        assert_eq!(tell_apart(&world, &silent), NONE);
        assert_eq!(tell_apart(&world, &gone), NONE);
        assert_eq!(tell_apart(&world, &alive), LOCAL);
        assert!(world.is_closed(&silent));
        assert_eq!(world.members[2].shared.tree.last_zxid(), before, "nobody else hears of it");
        let told = |sent: &Outgoing| matches!(sent, Outgoing::Pong(_, bytes) if !bytes.is_empty());
        assert!(!world.members[at].sent.iter().any(told));
    }
}

#[test]
fn an_upgraded_session_is_told_in_pings_and_lives_by_the_leaders_clock() {
    let mut world = World::with(3, 0, upgradeable).formed();
    let mut alive = world.connect(0, 6000);
    let mut silent = world.connect(0, 6000);
    assert_eq!(world.ask(&mut alive, &create("/alive", EPHEMERAL)), Some(ErrorCode::OK));
    assert_eq!(world.ask(&mut silent, &create("/silent", EPHEMERAL)), Some(ErrorCode::OK));
    for _ in 0..6 {
        world.pass(2000);
        world.ping(&alive);
    }
    assert!(world.has(1, "/alive") && !world.has(1, "/silent"));
    assert!(world.is_closed(&silent) && !world.is_closed(&alive));
}

#[test]
fn a_role_that_ends_takes_its_local_sessions_along() {
    let mut world = World::with(3, 0, upgradeable).formed();
    let local = world.connect(0, 10_000);
    let mut global = world.connect(0, 10_000);
    assert_eq!(world.ask(&mut global, &create("/e", EPHEMERAL)), Some(ErrorCode::OK));
    world.kill(2);
    assert!(world.is_closed(&local) && world.is_closed(&global));
    world.pass(2000);
    assert!(world.renew(local, 0).is_none());
    assert!(world.renew(global, 0).is_some());
}

#[test]
fn a_server_without_local_sessions_refuses_the_writes_of_others_local_ones() {
    let only_followers = |settings: &mut Settings| {
        settings.local_sessions = settings.server_id != 3;
        settings.local_sessions_upgrading = true;
    };
    let mut world = World::with(3, 0, only_followers).formed();
    let mut client = world.connect(0, 10_000);
    assert_eq!(world.ask(&mut client, &create("/a", 0)), Some(ErrorCode::SESSION_EXPIRED));
    assert_eq!(world.ask(&mut client, &create("/e", EPHEMERAL)), Some(ErrorCode::OK));
    assert_eq!(world.ask(&mut client, &create("/a", 0)), Some(ErrorCode::OK), "everybody's now");
}

#[test]
fn a_container_with_the_flags_of_an_ephemeral_upgrades_nothing() {
    for change in [fixed, upgradeable] {
        let mut world = World::with(3, 0, change).formed();
        for at in [0, 2] {
            let mut client = world.connect(at, 10_000);
            let mut create = creation("/c", EPHEMERAL);
            create.op = OpCode::CREATE_CONTAINER;
            let refused = world.ask(&mut client, &Request::Create(create));
            assert_eq!(refused, Some(ErrorCode::SESSION_EXPIRED));
            assert_eq!(tell_apart(&world, &client), LOCAL);
        }
    }
}
