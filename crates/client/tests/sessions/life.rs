//! Sessions: how they begin, go on, and end.
//!
//! The server expires sessions by its own clock and rules; what the client says of its session is
//! held against what the server's tree shows.

use oxkeeper_client::core::{
    Answer, Call, Cause, Client, ConnectString, End, Fate, Input, Outcome, Refused, State, Unsent,
    Watcher,
};
use oxkeeper_proto::{ErrorCode, SessionId};

use crate::world::{Network, Seen, World, add_watch, config, create, exists, get, set};

fn session(world: &mut World, at: usize) -> SessionId {
    match world.client(at).client.state() {
        State::Connected { session, .. } => session,
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_session_is_negotiated_kept_by_pings_and_closed() {
    let mut world = World::new();
    let at = world.connect("a,b,c", 1_000_000);
    let State::Connected { timeout_ms, read_only, .. } = world.client(at).client.state() else {
        panic!("no session")
    };
    assert_eq!((timeout_ms, read_only), (40_000, false), "clamped by the server");
    world.done(at, create("/e", 1));
    world.pass(10 * 60_000);
    assert!(world.tree().node("/e").is_some(), "pings keep it for as long as it takes");
    assert_eq!(world.take(at), []);
    world.input(at, Input::Close);
    assert_eq!(world.take(at), [Seen::State(State::Closed { confirmed: true })]);
    assert!(world.tree().node("/e").is_none());
    assert_eq!(world.client(at).client.deadline_us(), None);
    let late = world.client(at).client.submit(0, get("/").into());
    assert_eq!(late, Err(Refused::Over));
}

#[test]
fn a_lost_connection_is_replaced_and_the_session_and_its_ephemerals_stay() {
    let mut world = World::new();
    let at = world.connect("a,b,c", 10_000);
    let before = session(&mut world, at);
    world.done(at, create("/e", 1));
    world.network = Network::Refusing;
    world.cut(at);
    let [Seen::State(State::Suspended { until_us, cause: Cause::Lost })] = world.take(at)[..]
    else {
        panic!("not suspended")
    };
    assert_eq!(until_us, world.now_us() + 10_000_000);
    world.pass(5_000);
    assert_eq!(world.take(at), [], "dials that fail are nothing new");
    let hosts = &world.client(at).dialed;
    assert!(hosts.len() > 6 && hosts[..3] == hosts[3..6] && hosts[0] != hosts[1], "{hosts:?}");
    world.network = Network::Up;
    world.pass(2_100);
    assert_eq!(session(&mut world, at), before);
    assert!(world.tree().node("/e").is_some());
    assert!(matches!(world.done(at, exists("/e")), Answer::Stat(_)));
}

#[test]
fn the_time_left_never_promises_more_than_the_server_gives() {
    let mut world = World::new();
    let (at, other) = (world.connect("a", 10_000), world.connect("a", 40_000));
    world.done(at, create("/e", 1));
    world.done(at, Call::watched(add_watch("/e", 0), Watcher(1)));
    // Answered now; nothing that the server hears later is known to have been heard.
    let heard = world.now_us();
    world.pass(1_000);
    // To hear the server is not to be heard by it.
    world.done(other, set("/e", b"1"));
    assert_eq!(world.events(at).len(), 1);
    world.network = Network::Silent;
    world.pass(7_000);
    let seen = world.take(at);
    let [Seen::State(State::Suspended { until_us, cause: Cause::Silent })] = seen[..] else {
        panic!("{seen:?}")
    };
    assert_eq!(until_us, heard + 10_000_000);
    let left_ms = (until_us - world.now_us()) / 1000;
    world.pass(left_ms - 1);
    assert!(world.tree().node("/e").is_some(), "promised");
}

#[test]
fn a_session_that_the_server_gave_up_is_expired_on_the_next_connection() {
    let mut world = World::new();
    let mut patient = config("a");
    patient.session_timeout_ms = 4_000;
    patient.expire_unheard = false;
    let at = world.seat(patient);
    world.input(at, Input::Wake);
    world.done(at, create("/e", 1));
    world.network = Network::Refusing;
    world.cut(at);
    world.pass(20_000);
    assert!(world.tree().node("/e").is_none());
    world.take(at);
    let waiting = world.submit(at, get("/"));
    world.network = Network::Up;
    world.pass(2_100);
    let outcome = Outcome::NotSent(Unsent::Over(End::Expired));
    assert_eq!(outcome.fate(), Fate::DidNotHappen);
    assert_eq!(world.take(at), [Seen::Done(waiting, outcome), Seen::State(State::Expired)]);
    assert!(world.client(at).client.credentials().is_none());
}

#[test]
fn a_client_that_hears_nothing_for_four_thirds_of_its_timeout_gives_up_as_java_does() {
    let mut world = World::new();
    let at = world.connect("a", 6_000);
    world.network = Network::Silent;
    world.pass(7_999);
    assert!(matches!(world.client(at).client.state(), State::Suspended { .. }));
    world.pass(1);
    assert_eq!(world.client(at).client.state(), State::Expired);
}

#[test]
fn a_session_goes_on_in_another_client_with_its_credentials() {
    let mut world = World::new();
    let first = world.connect("a", 10_000);
    world.done(first, create("/e", 1));
    let mut next = config("a");
    next.resume = world.client(first).client.credentials();
    let second = world.seat(next);
    world.network = Network::Refusing;
    world.cut(first);
    world.network = Network::Up;
    world.input(second, Input::Wake);
    assert_eq!(session(&mut world, second), next_session(&world.client(first).client));
    world.done(second, set("/e", b"1"));
}

fn next_session(client: &Client) -> SessionId {
    client.credentials().expect("a session").session
}

#[test]
fn a_server_that_is_behind_is_left() {
    let mut world = World::new();
    let at = world.connect("a", 10_000);
    world.done(at, create("/a", 0));
    let mut ahead = world.client(at).client.credentials().expect("a session");
    ahead.last_zxid = oxkeeper_proto::Zxid(0x100);
    let mut next = config("a,b");
    next.resume = Some(ahead);
    let second = world.seat(next);
    world.input(second, Input::Wake);
    world.pass(1_000);
    assert_eq!(world.take(second), [], "never connected");
    assert!(world.client(second).dialed.len() > 2, "goes on looking");
}

#[test]
fn closing_waits_for_what_was_sent_and_is_bounded() {
    let mut world = World::new();
    let at = world.connect("a", 30_000);
    let sent = world.submit(at, create("/a", 0));
    world.input(at, Input::Close);
    let seen = world.take(at);
    assert!(
        matches!(&seen[..], [Seen::Done(t, Outcome::Done { .. }),
        Seen::State(State::Closed { confirmed: true })] if *t == sent),
        "{seen:?}"
    );

    let stuck = world.connect("a", 30_000);
    world.network = Network::Silent;
    let lost = world.submit(stuck, create("/b", 0));
    world.input(stuck, Input::Close);
    assert_eq!(world.client(stuck).client.submit(0, get("/").into()), Err(Refused::Over));
    world.pass(4_999);
    assert_eq!(world.take(stuck), []);
    world.pass(1);
    let ended = Outcome::Unknown(Cause::Ended(End::Closed));
    let over = State::Closed { confirmed: false };
    assert_eq!(world.take(stuck), [Seen::Done(lost, ended), Seen::State(over)]);
}

#[test]
fn who_gives_up_before_there_is_a_session_leaves_none() {
    let mut world = World::new();
    let at = world.seat(config("a"));
    world.disk_holds = true;
    world.input(at, Input::Wake);
    let waiting = world.submit(at, create("/never", 0));
    assert_eq!(world.client(at).client.state(), State::Connecting, "the server's disk is slow");
    world.input(at, Input::Close);
    let unsent = Outcome::NotSent(Unsent::Over(End::Closed));
    assert_eq!(world.take(at), [Seen::Done(waiting, unsent)]);
    world.disk_holds = false;
    world.pass(0);
    assert_eq!(world.client(at).client.state(), State::Closed { confirmed: true });
    assert_eq!(world.tree().sessions().len(), 0);
    assert!(world.tree().last_zxid().0 >= 2, "one began, and was ended");
}

#[test]
fn a_suspended_client_comes_back_to_close_its_session() {
    let mut world = World::new();
    let at = world.connect("a", 30_000);
    world.done(at, create("/e", 1));
    world.network = Network::Refusing;
    world.cut(at);
    let waiting = world.submit(at, create("/never", 0));
    world.input(at, Input::Close);
    world.take(at);
    world.network = Network::Up;
    world.pass(2_100);
    assert_eq!(world.client(at).client.state(), State::Closed { confirmed: true });
    assert!(world.tree().node("/e").is_none());
    assert!(world.tree().node("/never").is_none(), "{waiting:?} was not sent");
}

#[test]
fn identities_are_proved_on_every_connection_before_anything_else() {
    let mut world = World::new();
    let at = world.connect("a", 10_000);
    let now_us = world.now_us();
    let ticket = world.client(at).client.add_auth(now_us, "digest", b"u:p").unwrap();
    let who = |world: &mut World| match world.done(at, oxkeeper_proto::Request::WhoAmI) {
        Answer::Identities(list) => {
            list.iter().any(|identity| identity.scheme == "digest" && identity.user == "u")
        }
        other => panic!("{other:?}"),
    };
    assert!(who(&mut world));
    assert!(matches!(&world.take(at)[..], [Seen::Done(t, Outcome::Done { .. })] if *t == ticket));
    world.cut(at);
    let early = world.submit(at, oxkeeper_proto::Request::WhoAmI);
    world.pass(200);
    let seen = world.take(at);
    let proved = seen.iter().any(|seen| match seen {
        Seen::Done(t, Outcome::Done { answer: Answer::Identities(list), .. }) => {
            *t == early && list.len() == 2
        }
        _ => false,
    });
    assert!(proved, "{seen:?}");
}

#[test]
fn a_refused_identity_ends_the_session() {
    let mut world = World::new();
    let at = world.connect("a", 10_000);
    let now_us = world.now_us();
    let auth = world.client(at).client.add_auth(now_us, "nonsense", b"").unwrap();
    world.settle();
    let seen = world.take(at);
    let failed = matches!(seen[0], Seen::Done(t, Outcome::Failed { code, .. })
        if t == auth && code == ErrorCode::AUTH_FAILED);
    assert!(failed && seen.last() == Some(&Seen::State(State::AuthFailed)), "{seen:?}");
    assert!(!world.is_connected(at));
}

#[test]
fn a_client_whose_server_leaves_the_ensemble_goes_on_elsewhere_at_once() {
    let mut world = World::new();
    let at = world.connect("a", 10_000);
    let before = session(&mut world, at);
    world.done(at, create("/e", 1));
    let now_us = world.now_us();
    let hosts = ConnectString::parse("b,c").unwrap();
    world.client(at).client.set_hosts(now_us, &hosts);
    world.pass(0);
    let seen = world.take(at);
    assert!(matches!(seen[0], Seen::State(State::Suspended { cause: Cause::Rebalanced, .. })));
    assert_eq!(session(&mut world, at), before);
    let dialed = world.client(at).dialed.last().cloned();
    assert!(hosts.hosts().contains(&dialed.expect("a dial")));
    let now_us = world.now_us();
    world.client(at).client.set_hosts(now_us, &hosts);
    world.pass(0);
    assert_eq!(world.take(at), [], "nothing changed");
}
