//! Watches: when they are armed, who is told what, and what a lost connection does to them.

use oxkeeper_client::core::{Call, Client, End, Input, Loss, Outcome, State, WatchEvent, Watcher};
use oxkeeper_proto::response::EventType::{
    self, NodeChildrenChanged, NodeCreated, NodeDataChanged, NodeDeleted,
};
use oxkeeper_proto::{ErrorCode, Request, Zxid};

use crate::world::{
    Network, Seen, World, add_watch, children, config, create, delete, exists, get, remove_watches,
    set,
};

const W: [Watcher; 6] = [Watcher(0), Watcher(1), Watcher(2), Watcher(3), Watcher(4), Watcher(5)];

/// An event without its zxid, which tells more than these tests are about.
fn plain(events: Vec<(Watcher, WatchEvent)>) -> Vec<(u64, EventType, String)> {
    let events = events.into_iter();
    events
        .map(|(watcher, event)| match event {
            WatchEvent::Fired { event, path, .. } => (watcher.0, event, path),
            other => panic!("{watcher:?}: {other:?}"),
        })
        .collect()
}

fn fired(watcher: u64, event: EventType, path: &str) -> (u64, EventType, String) {
    (watcher, event, path.to_owned())
}

/// Out of touch while others change things, and back.
fn away(world: &mut World, at: usize, meanwhile: impl FnOnce(&mut World)) {
    world.network = Network::Refusing;
    world.cut(at);
    world.network = Network::Up;
    meanwhile(world);
    world.pass(200);
    assert!(matches!(world.client(at).client.state(), State::Connected { .. }));
}

#[test]
fn a_watch_is_there_when_the_reply_says_so_and_fires_once() {
    let mut world = World::new();
    let (at, other) = (world.connect("a", 10_000), world.connect("a", 10_000));
    let missing = world.ask(at, Call::watched(get("/a"), W[0]));
    assert!(matches!(missing, Outcome::Failed { code: ErrorCode::NO_NODE, .. }));
    let missing = world.ask(at, Call::watched(children("/a"), W[1]));
    assert!(matches!(missing, Outcome::Failed { .. }));
    world.ask(at, Call::watched(exists("/a"), W[2]));
    assert_eq!(world.client(at).client.watches(), 1, "only exists watches what is not there");
    world.done(other, create("/a", 0));
    let seen = world.take(at);
    let zxid = Some(world.tree().last_zxid());
    let event = WatchEvent::Fired { event: NodeCreated, path: "/a".into(), zxid };
    assert_eq!(seen, [Seen::Event(W[2], event)]);
    world.done(other, set("/a", b"1"));
    assert_eq!(world.take(at), []);

    world.done(at, Call::watched(exists("/a"), W[0]));
    world.done(at, Call::watched(get("/a"), W[0]));
    world.done(at, Call::watched(get("/a"), W[1]));
    world.done(at, Call::watched(children("/a"), W[3]));
    world.done(other, create("/a/b", 0));
    world.done(other, delete("/a/b"));
    world.done(other, delete("/a"));
    let told = plain(world.events(at));
    let expected = [
        fired(3, NodeChildrenChanged, "/a"),
        fired(0, NodeDeleted, "/a"),
        fired(1, NodeDeleted, "/a"),
    ];
    assert_eq!(told, expected);
    assert_eq!(world.client(at).client.watches(), 0);
}

#[test]
fn an_event_comes_before_the_answer_that_shows_its_change() {
    let mut world = World::new();
    let at = world.connect("a", 10_000);
    world.done(at, create("/a", 0));
    world.done(at, Call::watched(get("/a"), W[0]));
    let own = world.submit(at, set("/a", b"1"));
    world.settle();
    let seen = world.take(at);
    assert!(
        matches!(&seen[..], [Seen::Event(_, WatchEvent::Fired { .. }), Seen::Done(t, _)]
        if *t == own),
        "{seen:?}"
    );
}

#[test]
fn persistent_and_recursive_watches_stay() {
    let mut world = World::new();
    let (at, other) = (world.connect("a", 10_000), world.connect("a", 10_000));
    world.done(other, create("/a", 0));
    world.done(at, Call::watched(add_watch("/a", 0), W[0]));
    world.done(at, Call::watched(add_watch("/", 1), W[1]));
    world.done(other, create("/a/b", 0));
    world.done(other, set("/a", b"1"));
    world.done(other, set("/a", b"2"));
    let expected = [
        fired(1, NodeCreated, "/a/b"),
        fired(0, NodeChildrenChanged, "/a"),
        fired(0, NodeDataChanged, "/a"),
        fired(1, NodeDataChanged, "/a"),
        fired(0, NodeDataChanged, "/a"),
        fired(1, NodeDataChanged, "/a"),
    ];
    let mut told = plain(world.events(at));
    // The server may tell of the child and of the list of children in either order.
    told[..2].sort_by_key(|event| std::cmp::Reverse(event.0));
    assert_eq!(told, expected);
}

#[test]
fn after_a_reconnect_one_shot_watches_tell_what_was_missed_and_the_others_are_armed() {
    let mut world = World::new();
    let (at, other) = (world.connect("a", 10_000), world.connect("a", 10_000));
    for path in ["/same", "/set", "/gone", "/list"] {
        world.done(other, create(path, 0));
    }
    for (path, watcher) in [("/same", W[0]), ("/set", W[1]), ("/gone", W[2])] {
        world.done(at, Call::watched(get(path), watcher));
    }
    world.ask(at, Call::watched(exists("/born"), W[3]));
    world.ask(at, Call::watched(exists("/unborn"), W[4]));
    world.done(at, Call::watched(children("/list"), W[5]));
    away(&mut world, at, |world| {
        world.done(other, set("/set", b"1"));
        world.done(other, delete("/gone"));
        world.done(other, create("/born", 0));
        world.done(other, create("/list/x", 0));
    });
    let mut told = plain(world.events(at));
    told.sort_by_key(|event| event.0);
    let missed = [
        fired(1, NodeDataChanged, "/set"),
        fired(2, NodeDeleted, "/gone"),
        fired(3, NodeCreated, "/born"),
        fired(5, NodeChildrenChanged, "/list"),
    ];
    assert_eq!(told, missed);
    world.done(other, set("/same", b"1"));
    world.done(other, create("/unborn", 0));
    let rest = [fired(0, NodeDataChanged, "/same"), fired(4, NodeCreated, "/unborn")];
    assert_eq!(plain(world.events(at)), rest);
}

#[test]
fn persistent_watchers_hear_of_every_gap_and_of_none_that_was_not() {
    let mut world = World::new();
    let (at, other) = (world.connect("a", 30_000), world.connect("a", 30_000));
    world.done(at, create("/a", 0));
    world.done(at, Call::watched(add_watch("/a", 0), W[0]));
    world.done(at, Call::watched(add_watch("/", 1), W[1]));
    away(&mut world, at, |_| {});
    // Nobody wrote: renewing a session is no transaction.
    assert_eq!(world.events(at), []);
    away(&mut world, at, |world| {
        world.done(other, set("/a", b"1"));
    });
    assert_eq!(world.events(at), [(W[0], WatchEvent::Gap), (W[1], WatchEvent::Gap)]);
    world.done(other, set("/a", b"2"));
    let both = [fired(0, NodeDataChanged, "/a"), fired(1, NodeDataChanged, "/a")];
    assert_eq!(plain(world.events(at)), both);
}

#[test]
fn watches_are_armed_before_requests_that_have_waited() {
    let mut world = World::new();
    let at = world.connect("a", 10_000);
    world.done(at, create("/a", 0));
    world.done(at, Call::watched(get("/a"), W[0]));
    world.done(at, Call::watched(add_watch("/a", 0), W[1]));
    let mut waiting = None;
    world.network = Network::Refusing;
    world.cut(at);
    waiting.replace(world.submit(at, set("/a", b"1")));
    world.network = Network::Up;
    world.pass(200);
    let seen = world.take(at);
    let told = |watcher| {
        seen.iter().position(|seen| {
            matches!(seen,
            Seen::Event(w, WatchEvent::Fired { zxid: Some(_), .. }) if *w == watcher)
        })
    };
    let done = seen.iter().position(|seen| matches!(seen, Seen::Done(t, _) if Some(*t) == waiting));
    assert!(told(W[0]).is_some() && told(W[0]) < done, "{seen:?}");
    assert!(told(W[1]).is_some() && told(W[1]) < done, "{seen:?}");
}

#[test]
fn thousands_of_watches_are_armed_again_in_pieces() {
    let mut world = World::new();
    let (at, other) = (world.connect("a", 30_000), world.connect("a", 30_000));
    let paths: Vec<_> = (0..3000).map(|n| format!("/{n:0>120}")).collect();
    for (n, path) in paths.iter().enumerate() {
        world.submit(at, Call::watched(exists(path), Watcher(n as u64)));
    }
    world.settle();
    world.take(at);
    assert_eq!(world.server_watches(), 3000);
    away(&mut world, at, |world| {
        world.done(other, create(&paths[0], 0));
    });
    assert_eq!(plain(world.events(at)), [fired(0, NodeCreated, &paths[0])]);
    assert_eq!(world.server_watches(), 2999);
    world.done(other, create(&paths[2999], 0));
    assert_eq!(plain(world.events(at)), [fired(2999, NodeCreated, &paths[2999])]);
}

#[test]
fn one_of_two_watchers_is_removed_and_the_other_is_still_told() {
    let mut world = World::new();
    let (at, other) = (world.connect("a", 10_000), world.connect("a", 10_000));
    world.done(other, create("/a", 0));
    world.done(at, Call::watched(get("/a"), W[0]));
    world.done(at, Call::watched(get("/a"), W[1]));
    world.done(at, Call::watched(remove_watches("/a", 2), W[0]));
    assert_eq!(world.events(at), [(W[0], WatchEvent::Lost(Loss::Removed))]);
    assert_eq!(world.server_watches(), 1, "still needed");
    world.done(other, set("/a", b"1"));
    assert_eq!(plain(world.events(at)), [fired(1, NodeDataChanged, "/a")]);

    world.done(at, Call::watched(add_watch("/a", 0), W[2]));
    let foreign = world.ask(at, Call::watched(remove_watches("/a", 4), W[3]));
    assert!(matches!(foreign, Outcome::Failed { code: ErrorCode::NO_WATCHER, .. }));
    assert_eq!(world.server_watches(), 2, "one, which counts in both tables");
    world.done(at, Call::watched(remove_watches("/a", 3), W[2]));
    assert_eq!(world.server_watches(), 0, "the last one out");
    let none = world.ask(at, remove_watches("/a", 3));
    assert!(matches!(none, Outcome::Failed { code: ErrorCode::NO_WATCHER, .. }));
}

#[test]
fn a_removal_does_not_take_along_a_watch_that_is_on_its_way() {
    let mut world = World::new();
    let (at, other) = (world.connect("a", 10_000), world.connect("a", 10_000));
    world.done(other, create("/a", 0));
    world.done(at, Call::watched(get("/a"), W[0]));
    world.submit(at, Call::watched(get("/a"), W[1]));
    world.submit(at, Call::watched(remove_watches("/a", 2), W[0]));
    world.settle();
    world.take(at);
    world.done(other, set("/a", b"1"));
    assert_eq!(plain(world.events(at)), [fired(1, NodeDataChanged, "/a")]);
}

#[test]
fn a_forgotten_watcher_is_told_nothing_and_not_armed_again() {
    let mut world = World::new();
    let (at, other) = (world.connect("a", 10_000), world.connect("a", 10_000));
    world.done(other, create("/a", 0));
    world.done(at, Call::watched(get("/a"), W[0]));
    world.done(at, Call::watched(add_watch("/", 1), W[0]));
    world.client(at).client.forget(W[0]);
    away(&mut world, at, |_| {});
    assert_eq!(world.server_watches(), 0);
    world.done(other, set("/a", b"1"));
    assert_eq!(world.events(at), []);
}

#[test]
fn every_watcher_learns_of_the_end() {
    for end in [End::Expired, End::Closed] {
        let mut world = World::new();
        let mut short = config("a");
        short.session_timeout_ms = 4_000;
        let at = world.seat(short);
        world.input(at, Input::Wake);
        world.ask(at, Call::watched(exists("/a"), W[0]));
        world.done(at, Call::watched(add_watch("/", 1), W[1]));
        world.take(at);
        if end == End::Expired {
            world.network = Network::Silent;
            world.pass(10_000);
        } else {
            world.input(at, Input::Close);
        }
        let lost = WatchEvent::Lost(Loss::Session(end));
        assert_eq!(world.events(at), [(W[0], lost.clone()), (W[1], lost)]);
    }
}

#[test]
fn events_bear_the_clients_own_paths() {
    let mut world = World::new();
    let (at, other) = (world.connect("a/app", 10_000), world.connect("a", 10_000));
    world.done(other, create("/app", 0));
    world.done(at, Call::watched(children("/"), W[0]));
    world.done(at, Call::watched(add_watch("/", 1), W[1]));
    let config = Call::watched(get("/zookeeper/config"), W[2]).absolute();
    world.done(at, config);
    world.done(other, create("/app/x", 0));
    world.done(other, create("/apple", 0));
    let mut told = plain(world.events(at));
    told.sort_by_key(|event| event.0);
    assert_eq!(told, [fired(0, NodeChildrenChanged, "/"), fired(1, NodeCreated, "/x")]);
    away(&mut world, at, |world| {
        world.done(other, delete("/app/x"));
    });
    assert_eq!(world.events(at), [(W[1], WatchEvent::Gap)]);
    assert_eq!(world.client(at).client.watches(), 2);
}

#[test]
fn what_a_watch_says_of_its_transaction_is_not_taken_for_seen() {
    // The rest of that transaction may still be on its way when the connection is lost.
    let mut world = World::new();
    let (at, other) = (world.connect("a", 10_000), world.connect("a", 10_000));
    world.done(other, create("/a", 0));
    world.done(at, Call::watched(get("/a"), W[0]));
    let seen: Zxid = Client::last_zxid(&world.client(at).client);
    world.done(other, set("/a", b"1"));
    assert_eq!(world.events(at).len(), 1);
    assert_eq!(world.client(at).client.last_zxid(), seen);
    world.done(at, Request::Sync(None));
    assert!(world.client(at).client.last_zxid() > seen);
}
