//! Requests: their answers, their order, the chroot.
//!
//! Answers come from the product's server. What a request did is read from its tree, by the full
//! path.

use oxkeeper_client::core::{
    Answer, Call, Fate, OpAnswer, Outcome, PathError, ReadAnswer, Refused, Watcher,
};
use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::request::{
    MultiOp, MultiReadOp, MultiReadRequest, MultiRequest, PathKind, PathVersion,
};
use oxkeeper_proto::{ErrorCode, OpCode, Request};

use crate::world::{Seen, World, children, config, create, delete, exists, get, set};

fn data(answer: Answer) -> Vec<u8> {
    match answer {
        Answer::Data(Some(data), _) => data,
        other => panic!("{other:?}"),
    }
}

fn made(path: &str, kind: OpCode, flags: i32) -> MultiOp<'_> {
    match create(path, flags) {
        Request::Create(create) => {
            MultiOp::Create(oxkeeper_proto::request::CreateRequest { op: kind, ..create })
        }
        other => panic!("{other:?}"),
    }
}

fn with_multi<R>(ops: Vec<MultiOp<'_>>, use_it: impl FnOnce(Request<'_>) -> R) -> R {
    let mut raw = Vec::new();
    MultiRequest::encode_ops(&mut raw, ops);
    use_it(Request::Multi(MultiRequest::decode(&mut Reader::new(&raw)).unwrap()))
}

#[test]
fn pipelined_requests_are_answered_in_order_and_see_each_other() {
    let mut world = World::new();
    let at = world.connect("a", 10_000);
    let tickets = [
        world.submit(at, create("/a", 0)),
        world.submit(at, set("/a", b"1")),
        world.submit(at, get("/a")),
        world.submit(at, delete("/a")),
        world.submit(at, get("/a")),
    ];
    world.client(at).chunk = 1;
    world.settle();
    let seen = world.take(at);
    let order: Vec<_> =
        seen.iter().map(|s| matches!(s, Seen::Done(t, _) if tickets.contains(t))).collect();
    assert_eq!(order, [true; 5]);
    for (seen, ticket) in seen.iter().zip(tickets) {
        assert!(matches!(seen, Seen::Done(t, _) if *t == ticket), "{seen:?}");
    }
    let Seen::Done(_, Outcome::Done { answer, zxid }) = seen[2].clone() else { panic!() };
    assert_eq!(data(answer), b"1");
    assert!(world.client(at).client.last_zxid() > zxid);
    let Seen::Done(_, failed) = &seen[4] else { panic!() };
    assert!(matches!(failed, Outcome::Failed { code: ErrorCode::NO_NODE, .. }));
    assert_eq!(failed.fate(), Fate::DidNotHappen);
}

#[test]
fn a_multi_happens_whole_or_says_what_stopped_it() {
    let mut world = World::new();
    let at = world.connect("a/app", 10_000);
    world.done(at, Call::from(create("/app", 0)).absolute());
    let ops = vec![
        made("/m", OpCode::CREATE, 0),
        made("/m/s-", OpCode::CREATE2, 2),
        MultiOp::Check(PathVersion { path: "/m".into(), version: 0 }),
    ];
    let Answer::Multi(answers) = with_multi(ops, |multi| world.done(at, multi)) else { panic!() };
    assert_eq!(answers[0], OpAnswer::Created("/m".into(), None));
    assert!(matches!(&answers[1], OpAnswer::Created(path, Some(_)) if path == "/m/s-0000000000"));
    assert_eq!((answers.len(), &answers[2]), (3, &OpAnswer::Checked));
    assert!(world.tree().node("/app/m/s-0000000000").is_some(), "under the chroot");

    let ops = vec![
        made("/n", OpCode::CREATE, 0),
        MultiOp::Delete(PathVersion { path: "/m".into(), version: 7 }),
        made("/o", OpCode::CREATE, 0),
    ];
    let outcome = with_multi(ops, |multi| world.ask(at, multi));
    assert_eq!(outcome.fate(), Fate::DidNotHappen);
    let Outcome::Done { answer, .. } = outcome else { panic!() };
    assert_eq!(answer, Answer::MultiRefused { index: 1, code: ErrorCode::BAD_VERSION });
    assert!(world.tree().node("/app/n").is_none());

    let mut raw = Vec::new();
    let reads = ["/m", "/none"].map(|path| MultiReadOp::GetChildren(path.into()));
    MultiReadRequest::encode_ops(&mut raw, reads);
    let reads = MultiReadRequest::decode(&mut Reader::new(&raw)).unwrap();
    let Answer::MultiRead(answers) = world.done(at, Request::MultiRead(reads)) else { panic!() };
    let expected =
        [ReadAnswer::Children(vec!["s-0000000000".into()]), ReadAnswer::Failed(ErrorCode::NO_NODE)];
    assert_eq!(answers, expected);
}

#[test]
fn a_client_with_a_chroot_never_sees_it() {
    let mut world = World::new();
    let plain = world.connect("a", 10_000);
    let at = world.connect("a/app", 10_000);
    world.done(plain, create("/app", 0));
    world.done(plain, create("/apple", 1));
    let created = world.done(at, create("/x-", 3));
    assert_eq!(created, Answer::Created("/x-0000000000".into()));
    assert!(world.tree().node("/app/x-0000000000").is_some());
    let Answer::Children(list) = world.done(at, children("/")) else { panic!() };
    assert_eq!(list, ["x-0000000000"]);
    let own = world.done(at, Request::GetEphemerals(None));
    assert_eq!(own, Answer::Ephemerals(vec!["/x-0000000000".into()]));
    assert_eq!(world.done(at, Request::GetAllChildrenNumber("/".into())), Answer::Count(1));
    assert_eq!(world.done(at, Request::Sync(Some("/".into()))), Answer::Synced);
    let outside = Call::from(exists("/apple")).absolute();
    assert!(matches!(world.done(at, outside), Answer::Stat(_)));
}

#[test]
fn what_cannot_succeed_is_refused_before_it_is_sent() {
    let mut world = World::new();
    let at = world.connect("a", 10_000);
    let client = &mut world.client(at).client;
    let mut refuse = |call: Call<'_>| client.submit(0, call).unwrap_err();
    assert_eq!(refuse(get("a").into()), Refused::Path(PathError::Relative));
    assert_eq!(refuse(create("/a/", 0).into()), Refused::Path(PathError::TrailingSlash));
    let large = vec![0; 0xf_ffff];
    assert!(matches!(refuse(set("/a", &large).into()), Refused::TooLarge { .. }));
    assert_eq!(refuse(Request::Ping.into()), Refused::NotForUsers(OpCode::PING));
    assert_eq!(refuse(Request::CloseSession.into()), Refused::NotForUsers(OpCode::CLOSE_SESSION));
    let unwatched = Request::AddWatch(PathKind { path: "/a".into(), kind: 0 });
    assert_eq!(refuse(unwatched.into()), Refused::Watcher(OpCode::ADD_WATCH));
    let strange = Call::watched(set("/a", b""), Watcher(1));
    assert_eq!(refuse(strange), Refused::Watcher(OpCode::SET_DATA));
    with_multi(vec![made("b", OpCode::CREATE, 0)], |multi| {
        assert_eq!(refuse(multi.into()), Refused::Path(PathError::Relative));
    });
    assert_eq!(client.pending(), 0);
    world.done(at, get("/"));
}

#[test]
fn the_largest_request_that_a_server_takes_is_taken() {
    let mut world = World::new();
    let at = world.connect("a", 10_000);
    world.done(at, create("/a", 0));
    // Header, path, length and version.
    let data = vec![7; 0xf_ffff - 8 - 6 - 4 - 4];
    world.done(at, set("/a", &data));
    let over = vec![7; data.len() + 1];
    let refused = world.client(at).client.submit(0, set("/a", &over).into());
    assert_eq!(refused, Err(Refused::TooLarge { bytes: 0x10_0000, max: 0xf_ffff }));
}

#[test]
fn a_client_holds_no_more_than_it_was_told() {
    let mut world = World::new();
    let mut small = config("a");
    small.limits.pending_max = 3;
    small.limits.watches_max = 1;
    small.limits.auth_max = 0;
    let at = world.seat(small);
    let client = &mut world.client(at).client;
    let watched = || Call::watched(exists("/a"), Watcher(1));
    client.submit(0, watched()).unwrap();
    assert_eq!(client.submit(0, watched()), Err(Refused::Full("watches")));
    let cancelled = client.submit(0, get("/").into()).unwrap();
    client.submit(0, get("/").into()).unwrap();
    assert!(matches!(client.submit(0, get("/").into()), Err(Refused::Full(_))));
    assert_eq!(client.add_auth(0, "digest", b"a:b"), Err(Refused::Full("identities")));
    assert!(client.cancel(cancelled));
    client.submit(0, get("/").into()).unwrap();
    world.input(at, oxkeeper_client::core::Input::Wake);
    let seen = world.take(at);
    let done = seen.iter().filter(|s| matches!(s, Seen::Done(_, Outcome::NotSent(_))));
    assert_eq!((done.count(), seen.len()), (1, 5), "{seen:?}");
    assert_eq!(world.client(at).client.pending(), 0);
    assert_eq!(world.client(at).client.watches(), 1);
}
