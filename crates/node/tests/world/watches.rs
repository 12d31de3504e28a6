//! What those get who watch, in which order, and whoever sends it.

use super::*;

#[test]
fn an_event_precedes_the_reply_that_could_show_its_change() {
    let mut world = World::new(Settings::default());
    let mut watcher = world.connect(10_000);
    let mut writer = world.connect(10_000);
    world.ask(&mut watcher, &exists("/a", true));
    world.ask(&mut watcher, &children("/", true));
    world.ask(&mut writer, &create("/a", 0));
    world.send(&mut watcher, &get("/a", false));
    let got = world.got(&mut watcher);
    let zxid = world.shared.tree.last_zxid();
    assert_eq!(got[0], Got::Event(EventType::NodeCreated, "/a".into(), zxid));
    assert_eq!(got[1], Got::Event(EventType::NodeChildrenChanged, "/".into(), zxid));
    assert_eq!(data_of(&got[2]), b"0");
}

/// Has one client watch what the other changes, until it is known to do nothing else.
fn listen(world: &mut World, watcher: &mut Client, writer: &mut Client) {
    world.ask(writer, &create("/a", 0));
    let watch = PathKind { path: "/a".into(), kind: 0 };
    world.ask(watcher, &Request::AddWatch(watch));
    world.front.drain_dirty(&mut Vec::new());
    world.ask(writer, &set("/a", b"0"));
    // It may ask at once: its own task is to send the event.
    assert_eq!(world.front.lend(watcher.id), None);
    assert_eq!(world.got(watcher).len(), 1);
    world.front.drain_dirty(&mut Vec::new());
}

#[test]
fn nothing_overtakes_events_that_are_sent_elsewhere() {
    let mut world = World::new(Settings::default());
    let mut watcher = world.connect(10_000);
    let mut writer = world.connect(10_000);
    listen(&mut world, &mut watcher, &mut writer);
    world.ask(&mut writer, &set("/a", b"1"));

    let lent = world.front.lend(watcher.id).expect("an event");
    assert_eq!(world.front.lend(watcher.id), None);
    // Who has a reply to come is not sent to by others.
    assert_eq!(world.front.lend(writer.id), None);
    world.send(&mut watcher, &get("/a", false));
    assert_eq!(world.got(&mut watcher), []);
    assert!(world.front.state(watcher.id).has_output);
    assert!(!world.front.is_still());

    // The socket took half of it: the rest is sent here, and the reply behind it.
    let half = lent.len() / 2;
    watcher.left.extend_from_slice(&lent[..half]);
    world.front.drain_dirty(&mut Vec::new());
    world.front.take_back(watcher.id, lent, half);
    let mut dirty = Vec::new();
    world.front.drain_dirty(&mut dirty);
    assert_eq!(dirty, [watcher.id]);
    let got = world.got(&mut watcher);
    let zxid = world.shared.tree.last_zxid();
    assert_eq!(got[0], Got::Event(EventType::NodeDataChanged, "/a".into(), zxid));
    assert_eq!(data_of(&got[1]), b"1");
    assert!(world.front.is_still());
}

#[test]
fn a_connection_that_ends_meanwhile_is_closed_when_its_events_are_sent() {
    let mut world = World::new(Settings::default());
    let mut watcher = world.connect(10_000);
    let mut writer = world.connect(10_000);
    listen(&mut world, &mut watcher, &mut writer);
    world.ask(&mut writer, &set("/a", b"1"));
    let lent = world.front.lend(watcher.id).expect("an event");
    world.send(&mut watcher, &Request::CloseSession);
    world.sync();
    let state = world.front.state(watcher.id);
    assert!(state.close_after_output && state.has_output && !state.close_now);
    let all = lent.len();
    world.front.take_back(watcher.id, lent, all);
    let mut dirty = Vec::new();
    world.front.drain_dirty(&mut dirty);
    assert!(dirty.contains(&watcher.id));
    assert_eq!(world.got(&mut watcher).len(), 1);
    assert!(!world.front.state(watcher.id).has_output);
}

#[test]
fn set_watches_tells_what_was_missed_and_arms_the_rest() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    world.ask(&mut client, &create("/a", 0));
    let seen = world.shared.tree.last_zxid();
    world.ask(&mut client, &set("/a", b"1"));
    let mut body = Vec::new();
    use oxkeeper_proto::codec::Put;
    body.put_long(seen.0);
    oxkeeper_proto::data::encode_strings(&mut body, &["/a"]);
    oxkeeper_proto::data::encode_strings(&mut body, &["/b"]);
    oxkeeper_proto::data::encode_strings::<&str>(&mut body, &[]);
    let request = Request::decode(OpCode::SET_WATCHES, &mut Reader::new(&body)).unwrap().unwrap();
    world.send(&mut client, &request);
    world.send(&mut client, &create("/b", 0));
    world.sync();
    let got = world.got(&mut client);
    assert_eq!(got[0], Got::Event(EventType::NodeDataChanged, "/a".into(), Zxid(-1)));
    assert!(matches!(got[1], Got::Reply { err: ErrorCode::OK, .. }));
    assert!(matches!(&got[2], Got::Event(EventType::NodeCreated, path, _) if path == "/b"));
}

#[test]
fn a_persistent_watch_outlives_its_events_and_unknown_modes_are_refused() {
    let mut world = World::new(Settings::default());
    let mut client = world.connect(10_000);
    let add = |mode| Request::AddWatch(PathKind { path: "/a".into(), kind: mode });
    assert_eq!(world.ask(&mut client, &add(2)).0, ErrorCode::MARSHALLING_ERROR);
    assert_eq!(world.ask(&mut client, &add(0)), (ErrorCode::OK, vec![0; 4]));
    for request in [create("/a", 0), set("/a", b"1"), delete("/a"), create("/a", 0)] {
        world.send(&mut client, &request);
        world.sync();
        let got = world.got(&mut client);
        assert!(matches!(&got[0], Got::Event(_, path, _) if path == "/a"), "{got:?}");
    }
}

#[test]
fn a_client_that_leaves_its_events_unread_is_closed_in_the_end_and_nobody_else() {
    let mut world = World::new(Settings::default());
    let mut writer = world.connect(10_000);
    let mut silent = world.connect(10_000);
    // Long paths make long events: a few dozen are more than a client may be owed.
    let path = format!("/{}", "x".repeat(900_000));
    world.ask(&mut writer, &create(&path, 0));
    let watch = Request::AddWatch(PathKind { path: path.as_str().into(), kind: 0 });
    assert_eq!(world.ask(&mut silent, &watch).0, ErrorCode::OK);
    let mut events = 0;
    while !world.front.state(silent.id).close_now {
        assert_eq!(world.ask(&mut writer, &set(&path, b"1")).0, ErrorCode::OK);
        events += 1;
        assert!(events < 80, "{events} events of 900 kB wait for it");
    }
    assert!(events > 70, "closed after {events} events of 900 kB");
    assert_eq!(world.ask(&mut writer, &set(&path, b"2")).0, ErrorCode::OK);
}
