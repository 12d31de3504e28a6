//! Requests on every server: they come back in order, at the right moment, to the right client.

use oxkeeper_proto::data::{Acl, AclList, encode_acl, perms};
use oxkeeper_proto::request::{AuthRequest, CreateRequest, PathWatch, ReconfigRequest};
use oxkeeper_proto::{ErrorCode, OpCode, Put as _, Request, SessionId, Zxid};
use oxkeeper_zab::Outgoing;

use crate::world::{Got, TICK_MS, World};
use crate::{EPHEMERAL, create, creation, delete, get, set, sync};

fn xids(got: &[Got]) -> Vec<i32> {
    got.iter().map(|got| got.xid).collect()
}

#[test]
fn a_write_is_answered_where_it_was_asked_and_seen_everywhere() {
    let mut world = World::with(3, 1, |_| ()).formed();
    for at in 0..4 {
        let mut client = world.connect(at, 10_000);
        let path = format!("/at{at}");
        assert_eq!(world.ask(&mut client, &create(&path, 0)), Some(ErrorCode::OK));
        assert_eq!(world.ask(&mut client, &get(&path)), Some(ErrorCode::OK));
        assert_eq!(world.ask(&mut client, &create(&path, 0)), Some(ErrorCode::NODE_EXISTS));
        assert!((0..4).all(|other| world.has(other, &path)));
    }
}

#[test]
fn replies_keep_the_order_of_their_requests() {
    let mut world = World::new(3).formed();
    for at in [0, 2] {
        let mut client = world.connect(at, 10_000);
        let path = format!("/a{at}");
        world.send(&mut client, &create(&path, 0));
        world.send(&mut client, &get(&path));
        world.send(&mut client, &set(&path, b"1"));
        world.send(&mut client, &sync());
        world.send(&mut client, &get(&path));
        world.send(&mut client, &delete(&path));
        world.send(&mut client, &get(&path));
        world.settle();
        let got = world.got(&client);
        assert_eq!(xids(&got), [1, 2, 3, 4, 5, 6, 7]);
        let codes: Vec<_> = got.iter().map(|got| got.err).collect();
        assert_eq!(codes[..6], [ErrorCode::OK; 6]);
        assert_eq!(codes[6], ErrorCode::NO_NODE);
        assert!(got.is_sorted_by_key(|got| got.zxid));
    }
}

#[test]
fn a_write_waits_for_a_quorum_of_disks() {
    let mut world = World::new(3).formed();
    let mut client = world.connect(0, 10_000);
    world.slow_disk(0, true);
    world.slow_disk(1, true);
    let asked = world.send(&mut client, &create("/a", 0));
    world.settle();
    assert_eq!(world.got(&client), []);
    assert!(!world.has(2, "/a"), "the leader alone is no quorum");
    world.slow_disk(1, false);
    assert_eq!(xids(&world.got(&client)), [asked], "the other follower's disk is enough");
    world.slow_disk(0, false);
}

/// A leader's own copy of a write may come late, where its log has put it off or its disk is slow.
/// A snapshot with that write would say more than the log behind it, and a power cut would leave a
/// history that nobody has logged there.
#[test]
fn a_leaders_snapshot_waits_for_its_own_copy_of_what_the_others_commit() {
    let mut world = World::new(3).formed();
    let mut client = world.connect(0, 10_000);
    world.slow_disk(2, true);
    assert_eq!(world.ask(&mut client, &create("/a", 0)), Some(ErrorCode::OK));
    assert!(world.has(2, "/a"), "the followers are a quorum");
    world.members[2].core.request_snapshot();
    world.walk(2);
    assert!(world.members[2].core.snapshot_running(), "it is begun, and the log has its new file");
    assert_eq!(world.members[2].snapshot_pieces, 0, "nothing of it may be written yet");
    world.slow_disk(2, false);
    world.walk(2);
    assert_eq!(world.members[2].snapshots, 1);
    assert!(world.members[2].snapshot_pieces > 0);
}

/// Who observes is not asked for its acknowledgement: such a change would never be committed, and
/// stand in the way of any other for ever.
#[test]
fn a_reconfiguration_that_needs_an_observer_is_refused() {
    let change = |settings: &mut oxkeeper_node::Settings| settings.rules.reconfig_enabled = true;
    let mut world = World::with(3, 1, change).formed();
    let mut client = world.connect(2, 10_000);
    let mut ask = |sids: &[i64]| {
        let line =
            |sid: &i64| format!("server.{sid}=127.0.0.1:{0}:{1};2181", 2000 + sid, 3000 + sid);
        let lines: Vec<String> = sids.iter().map(line).collect();
        let request = Request::Reconfig(ReconfigRequest {
            joining: None,
            leaving: None,
            new_members: Some(lines.join(",").into()),
            current_config_id: -1,
        });
        world.ask(&mut client, &request)
    };
    assert_eq!(ask(&[3, 4]), Some(ErrorCode::NEW_CONFIG_NO_QUORUM), "the leader and the observer");
    // Whether the client may do that is looked at last.
    assert_eq!(ask(&[2, 3, 4]), Some(ErrorCode::NO_AUTH), "the leader and a follower are enough");
}

#[test]
fn every_member_tells_its_clients_who_the_members_are() {
    let mut world = World::with(3, 1, |_| ()).formed();
    for at in 0..4 {
        let mut client = world.connect(at, 10_000);
        let xid = world.send(&mut client, &get("/zookeeper/config"));
        world.settle();
        let got = world.got(&client);
        assert_eq!((got[0].xid, got[0].err), (xid, ErrorCode::OK));
        let text = String::from_utf8_lossy(&got[0].body);
        assert!(text.contains("server.4=127.0.0.1:2004:3004:observer\nversion=0"), "{text}");
        assert_eq!(
            world.ask(&mut client, &set("/zookeeper/config", b"")),
            Some(ErrorCode::NO_AUTH)
        );
    }
}

/// The leader judges by what the client has proved elsewhere.
#[test]
fn whom_a_client_has_proved_to_be_goes_along_with_its_writes() {
    let mut world = World::with(3, 1, |_| ()).formed();
    let mut owners = Vec::new();
    encode_acl(&mut owners, &[Acl::new(perms::ALL, "auth", "")]);
    let ann = Request::Auth(AuthRequest {
        kind: 0,
        scheme: Some("digest".into()),
        auth: Some(b"ann:secret"),
    });
    for at in 0..4 {
        let mut owner = world.connect(at, 10_000);
        let mut other = world.connect(at, 10_000);
        let path = format!("/of-ann-{at}");
        let acl = AclList::from_raw(&owners).unwrap();
        let guarded = Request::Create(CreateRequest { acl, ..creation(&path, 0) });
        assert_eq!(world.ask(&mut other, &guarded), Some(ErrorCode::INVALID_ACL), "who is it?");
        assert_eq!(world.ask(&mut owner, &ann), Some(ErrorCode::OK));
        assert_eq!(world.ask(&mut owner, &guarded), Some(ErrorCode::OK));
        assert_eq!(world.ask(&mut other, &set(&path, b"1")), Some(ErrorCode::NO_AUTH));
        assert_eq!(world.ask(&mut owner, &set(&path, b"1")), Some(ErrorCode::OK));
        let mut moved = world.renew(owner, (at + 1) % 4).expect("it lives");
        assert_eq!(world.ask(&mut moved, &set(&path, b"2")), Some(ErrorCode::NO_AUTH));
        assert_eq!(world.ask(&mut moved, &ann), Some(ErrorCode::OK));
        assert_eq!(world.ask(&mut moved, &set(&path, b"2")), Some(ErrorCode::OK));
    }
}

#[test]
fn a_sync_on_a_follower_that_lags_waits_for_what_was_committed_before_it() {
    let mut world = World::new(3).formed();
    let mut writer = world.connect(2, 10_000);
    let mut reader = world.connect(0, 10_000);
    world.hold(2, 0);
    assert_eq!(world.ask(&mut writer, &create("/a", 0)), Some(ErrorCode::OK));
    assert_eq!(world.ask(&mut reader, &get("/a")), Some(ErrorCode::NO_NODE), "it lags");
    let synced = world.send(&mut reader, &sync());
    let read = world.send(&mut reader, &get("/a"));
    world.settle();
    assert_eq!(world.got(&reader), []);
    world.release();
    let got = world.got(&reader);
    assert_eq!(xids(&got), [synced, read]);
    assert_eq!(got[1].err, ErrorCode::OK);
}

#[test]
fn a_sync_on_the_leader_is_behind_the_writes_asked_before_it() {
    let mut world = World::new(3).formed();
    let mut client = world.connect(2, 10_000);
    let mut other = world.connect(2, 10_000);
    world.slow_disk(2, true);
    world.slow_disk(1, true);
    world.slow_disk(0, true);
    world.send(&mut other, &create("/a", 0));
    world.send(&mut client, &sync());
    world.send(&mut client, &get("/a"));
    world.settle();
    assert_eq!(world.got(&client), []);
    for at in 0..3 {
        world.slow_disk(at, false);
    }
    assert_eq!(world.got(&client)[1].err, ErrorCode::OK);
}

#[test]
fn what_a_follower_cannot_read_is_answered_in_its_turn_and_costs_no_zxid() {
    let mut world = World::new(3).formed();
    let mut client = world.connect(0, 10_000);
    let before = world.members[2].shared.tree.last_zxid();
    let xid = world.send_raw(&mut client, oxkeeper_proto::OpCode::SET_DATA, &[0, 0]);
    world.settle();
    let got = world.got(&client);
    assert_eq!((got[0].xid, got[0].err), (xid, ErrorCode::MARSHALLING_ERROR));
    assert_eq!(world.members[2].shared.tree.last_zxid(), before);
}

/// ZOOKEEPER-2623: a check is a part of a multi, and alone no request at all. Members of Apache's
/// before 3.5.3 logged one that nobody could read again.
#[test]
fn a_check_outside_a_multi_is_refused_and_leaves_nothing_that_others_could_stumble_over() {
    let mut world = World::new(3).formed();
    let mut body = Vec::new();
    body.put_string("/zookeeper");
    body.put_int(0);
    for at in 0..3 {
        let mut client = world.connect(at, 10_000);
        let xid = world.send_raw(&mut client, OpCode::CHECK, &body);
        world.settle();
        let got = world.got(&client);
        assert_eq!((got[0].xid, got[0].err), (xid, ErrorCode::UNIMPLEMENTED));
        assert!(world.is_closed(&client), "as with any request that there is not");
        let mut client = world.connect(at, 10_000);
        let path = format!("/behind{at}");
        assert_eq!(world.ask(&mut client, &create(&path, 0)), Some(ErrorCode::OK));
    }
    // Whatever was logged of it can be read, where it was asked and elsewhere.
    for at in 0..3 {
        world.kill(at);
        world.start(at);
        world.pass(2000);
        assert!((0..3).all(|behind| world.has(at, &format!("/behind{behind}"))));
    }
}

#[test]
fn a_leader_that_dies_takes_no_acknowledged_write_with_it() {
    let mut world = World::new(3).formed();
    let mut client = world.connect(0, 10_000);
    assert_eq!(world.ask(&mut client, &create("/a", 0)), Some(ErrorCode::OK));
    world.kill(2);
    assert!(world.is_closed(&client), "the role is over: so is its connection");
    world.pass(2000);
    let leader = world.leader().expect("another leader");
    assert!(world.has(leader, "/a"));
    let mut client = world.renew(client, 0).expect("the session lives on");
    assert_eq!(world.ask(&mut client, &create("/b", 0)), Some(ErrorCode::OK));
    assert!(world.members[leader].shared.tree.last_zxid() > Zxid(2 << 32));
    world.start(2);
    world.pass(2000);
    assert!(world.has(2, "/a") && world.has(2, "/b"));
}

#[test]
fn a_write_that_only_a_dead_leader_had_never_happened() {
    let mut world = World::new(3).formed();
    let mut client = world.connect(2, 10_000);
    world.hold(2, 0);
    world.hold(2, 1);
    assert_eq!(world.ask(&mut client, &create("/lost", 0)), None);
    world.kill(2);
    world.release();
    world.pass(2000);
    let mut client = world.connect(0, 10_000);
    assert_eq!(world.ask(&mut client, &create("/kept", 0)), Some(ErrorCode::OK));
    world.start(2);
    world.pass(3000);
    assert!(world.has(2, "/kept"), "it follows");
    assert!(!world.has(2, "/lost"), "its log was cut");
}

#[test]
fn requests_that_come_before_the_leader_serves_wait_for_it() {
    let mut world = World::new(3);
    world.slow_apply(2, true);
    world.start_all();
    world.pass(1000);
    assert!(world.members[0].shared.serving && !world.members[2].shared.serving);
    let id = world.begin_session(0, SessionId::NONE, 10_000, false);
    world.pass(100);
    assert_eq!(world.response(0, id), None, "the leader has not begun to serve");
    world.slow_apply(2, false);
    let session = world.response(0, id).expect("now it has").session;
    assert!(world.knows(2, session));
}

/// Learners of Apache's take the answer to a sync that overtakes that to an earlier write for
/// somebody else's, and wait for it for ever.
#[test]
fn a_sync_that_comes_before_the_leader_serves_is_answered_behind_what_came_before_it() {
    let mut world = World::with(3, 0, |settings| settings.local_sessions = true);
    world.slow_apply(2, true);
    world.start_all();
    world.pass(1000);
    // Sessions of this server alone: the leader is not asked about them.
    let (mut writer, mut asker) = (world.connect(0, 10_000), world.connect(0, 10_000));
    world.send(&mut writer, &create("/a", 0));
    world.send(&mut asker, &sync());
    world.settle();
    let place = |world: &World, wanted: fn(&Outgoing) -> bool| {
        world.members[2].sent.iter().position(wanted)
    };
    let answer: fn(&Outgoing) -> bool = |packet| matches!(packet, Outgoing::Sync);
    assert_eq!(place(&world, answer), None, "the leader has not begun to serve");
    world.slow_apply(2, false);
    let commit = place(&world, |packet| matches!(packet, Outgoing::Commit(_)));
    assert!(commit.is_some() && commit < place(&world, answer), "{:?}", world.members[2].sent);
    assert_eq!(world.got(&asker).len(), 1);
}

#[test]
fn a_watch_on_one_server_hears_of_a_write_on_another_before_its_client_can_see_it() {
    let mut world = World::with(3, 1, |_| ()).formed();
    let mut writer = world.connect(2, 10_000);
    assert_eq!(world.ask(&mut writer, &create("/a", 0)), Some(ErrorCode::OK));
    for at in [0, 3] {
        let mut watcher = world.connect(at, 10_000);
        let watched = Request::GetData(PathWatch { path: "/a".into(), watch: true });
        assert_eq!(world.ask(&mut watcher, &watched), Some(ErrorCode::OK));
        world.send(&mut writer, &set("/a", b"new"));
        world.settle();
        world.send(&mut watcher, &get("/a"));
        world.settle();
        let frames = world.frames(&watcher);
        let xids: Vec<i32> = frames.iter().map(|frame| frame.xid).collect();
        assert_eq!(xids, [-1, watcher.xid], "the event, then what it tells of");
    }
}

#[test]
fn a_server_cut_off_from_its_leader_drops_its_clients_and_they_go_on_elsewhere() {
    let mut world = World::new(3).formed();
    let mut client = world.connect(0, 60_000);
    assert_eq!(world.ask(&mut client, &create("/e", EPHEMERAL)), Some(ErrorCode::OK));
    world.hold(2, 0);
    world.hold(0, 2);
    world.hold(0, 1);
    world.hold(1, 0);
    world.pass(5 * TICK_MS + 3000);
    assert!(world.is_closed(&client), "silence for syncLimit");
    let (_, refused) = world.ask_session(0, client.session, 60_000, false);
    assert_eq!(refused, None, "it knows nothing of sessions now");
    let mut client = world.renew(client, 1).expect("the others do");
    assert_eq!(world.ask(&mut client, &set("/e", b"1")), Some(ErrorCode::OK));
    world.release();
    world.pass(5000);
    assert_eq!(world.members[0].shared.tree.node("/e").unwrap().data(), Some(&b"1"[..]));
}

#[test]
fn a_member_that_lost_its_log_is_sent_everything_and_serves_it() {
    let mut world = World::new(3).formed();
    let mut client = world.connect(1, 60_000);
    assert_eq!(world.ask(&mut client, &create("/e", EPHEMERAL)), Some(ErrorCode::OK));
    world.kill(0);
    for n in 0..600 {
        assert_eq!(world.ask(&mut client, &create(&format!("/n{n}"), 0)), Some(ErrorCode::OK));
    }
    world.wipe(0);
    world.start(0);
    world.pass(2000);
    assert!(world.has(0, "/n0") && world.has(0, "/n599"));
    let mut client = world.renew(client, 0).expect("it knows of the session");
    assert_eq!(world.ask(&mut client, &Request::CloseSession), Some(ErrorCode::OK));
    assert!(!world.has(0, "/e") && !world.has(2, "/e"));
}

#[test]
fn a_leader_hands_over_without_losing_anything() {
    let mut world = World::new(3).formed();
    let mut client = world.connect(2, 30_000);
    assert_eq!(world.ask(&mut client, &create("/e", EPHEMERAL)), Some(ErrorCode::OK));
    world.send(&mut client, &create("/last", 0));
    let now = world.now;
    assert!(world.members[2].core.hand_over(now));
    world.pass(2000);
    let leader = world.leader().expect("a leader");
    assert_ne!(leader, 2);
    assert!(world.is_closed(&client));
    let told = world.has(leader, "/last");
    let mut client = world.renew(client, 0).expect("the session lives on");
    let again = world.ask(&mut client, &create("/last", 0));
    assert_eq!(again, Some(if told { ErrorCode::NODE_EXISTS } else { ErrorCode::OK }));
    assert!(world.has(2, "/e") && world.has(2, "/last"));
}
