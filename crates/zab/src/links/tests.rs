use oxkeeper_proto::notification::{Address, Hello, HelloForm};

use super::*;
use crate::quorum::QuorumVerifier;

const CONFIG: &str = "server.1=one:1:11\nserver.2=two:1:12|zwei:1:12\nserver.3=three:1:13";

/// Server 2, between a smaller and a larger one.
fn links(settings: Settings) -> Links {
    let config = QuorumVerifier::parse(CONFIG, true).unwrap();
    let mut links = Links::new(Sid(2), vec![address("two", 12)], settings);
    links.configure(&Membership::new(Arc::new(config), None));
    links
}

fn address(host: &str, port: u16) -> Address {
    Address { host: host.into(), port }
}

fn hello(sid: i64, addresses: &[Address]) -> Hello {
    Hello { form: HelloForm::V1, sid: Sid(sid), addresses: addresses.to_vec() }
}

fn message(text: &str) -> Arc<[u8]> {
    text.as_bytes().into()
}

fn effects(links: &mut Links) -> Vec<String> {
    let shown = |effect| match effect {
        Effect::Dial { conn, sid, addresses } => {
            let at: Vec<String> = addresses.iter().map(Address::to_string).collect();
            format!("{} dial {sid} {}", conn.0, at.join(" "))
        }
        Effect::Greet { conn, hello } => format!("{} greet as {}", conn.0, hello.sid),
        Effect::Authenticate { conn, opened } => format!("{} authenticate {opened}", conn.0),
        Effect::Write { conn, message } => {
            format!("{} write {}", conn.0, String::from_utf8_lossy(&message))
        }
        Effect::Close(conn) => format!("{} close", conn.0),
        Effect::Up(sid) => format!("up {sid}"),
        Effect::Down(sid) => format!("down {sid}"),
    };
    core::iter::from_fn(|| links.poll_effect()).map(shown).collect()
}

#[test]
fn the_larger_id_keeps_what_it_opened() {
    let mut links = links(Settings::default());
    links.send(0, Sid(1), message("a"));
    assert_eq!(effects(&mut links), ["0 dial 1 one:11"]);
    links.connected(1, ConnId(0));
    assert_eq!(effects(&mut links), ["0 greet as 2", "up 1", "0 write a"]);
    assert_eq!(links.sender(ConnId(0)), Some(Sid(1)));
    assert_eq!(links.deadline_ms(), None);
}

#[test]
fn the_smaller_id_knocks_and_is_called_back() {
    let mut links = links(Settings::default());
    links.send(0, Sid(3), message("a"));
    assert_eq!(effects(&mut links), ["0 dial 3 three:13"]);
    links.connected(1, ConnId(0));
    assert_eq!(effects(&mut links), ["0 greet as 2", "0 close"]);
    assert_eq!(links.sender(ConnId(0)), None);
    let called = links.accepted(2);
    links.greeted(3, called, &hello(3, &[]));
    assert_eq!(effects(&mut links), ["up 3", "1 write a"]);
    // The answer may get lost: then it knocks again, ever more rarely.
    links.closed(4, called);
    links.send(4, Sid(3), message("b"));
    assert_eq!(effects(&mut links), ["down 3", "2 dial 3 three:13"]);
    links.connected(5, ConnId(2));
    assert_eq!(effects(&mut links), ["2 greet as 2", "2 close"]);
    assert_eq!(links.deadline_ms(), Some(105));
    links.tick(105);
    assert_eq!(effects(&mut links), ["3 dial 3 three:13"]);
}

#[test]
fn who_is_smaller_and_knocks_is_connected_back_where_it_said_first() {
    let mut links = links(Settings::default());
    let knock = links.accepted(0);
    links.greeted(200, knock, &hello(1, &[address("uno", 9)]));
    assert_eq!(effects(&mut links), ["0 close", "1 dial 1 uno:9 one:11"]);
    links.connected(201, ConnId(1));
    assert_eq!(effects(&mut links), ["1 greet as 2", "up 1"]);
    // It was restarted: the old connection stays until the new one is up.
    let knock = links.accepted(500);
    links.greeted(500, knock, &hello(1, &[]));
    assert_eq!(effects(&mut links), ["2 close", "3 dial 1 one:11"]);
    assert_eq!(links.sender(ConnId(1)), Some(Sid(1)));
    links.connected(501, ConnId(3));
    assert_eq!(effects(&mut links), ["3 greet as 2", "1 close", "up 1"]);
    links.closed(502, ConnId(1));
    assert_eq!(effects(&mut links), [""; 0], "what was replaced breaks nothing");
}

#[test]
fn a_false_knock_cuts_nothing_and_makes_us_dial_only_so_often() {
    let mut links = links(Settings::default());
    links.send(0, Sid(1), message("a"));
    links.connected(1, ConnId(0));
    effects(&mut links);
    let mut dials = 0;
    for now_ms in 1_000..2_000 {
        let knock = links.accepted(now_ms);
        links.greeted(now_ms, knock, &hello(1, &[address("evil", 1)]));
        links.tick(now_ms);
        while let Some(effect) = links.poll_effect() {
            if let Effect::Dial { conn, .. } = effect {
                dials += 1;
                links.dial_failed(now_ms, conn, DialError::Refused);
            } else {
                assert!(!matches!(effect, Effect::Down(_)), "it is connected");
            }
        }
    }
    assert_eq!(links.sender(ConnId(0)), Some(Sid(1)));
    assert!((9..=11).contains(&dials), "{dials} dials in a second");
}

#[test]
fn only_the_latest_message_waits_and_the_last_one_is_said_again() {
    let mut links = links(Settings::default());
    links.send(0, Sid(1), message("a"));
    links.send(0, Sid(1), message("b"));
    links.connected(1, ConnId(0));
    assert_eq!(effects(&mut links)[1..], ["0 greet as 2", "up 1", "0 write b"]);
    links.send(2, Sid(1), message("c"));
    links.send(2, Sid(1), message("d"));
    assert_eq!(effects(&mut links), [""; 0]);
    links.written(ConnId(0));
    assert_eq!(effects(&mut links), ["0 write d"]);
    links.written(ConnId(0));
    links.closed(3, ConnId(0));
    assert_eq!(effects(&mut links), ["down 1"], "nothing to say: no dial");
    // The old connection may have swallowed it.
    let knock = links.accepted(300);
    links.greeted(300, knock, &hello(1, &[]));
    links.connected(301, ConnId(2));
    assert_eq!(effects(&mut links)[3..], ["up 1", "2 write d"]);
    // Unless there is news, and then the news alone.
    links.closed(400, ConnId(2));
    links.send(400, Sid(1), message("e"));
    links.connected(401, ConnId(3));
    assert_eq!(effects(&mut links)[2..], ["3 greet as 2", "up 1", "3 write e"]);
}

#[test]
fn failed_dials_are_tried_again_after_ever_longer_pauses() {
    let mut links = links(Settings::default());
    links.send(0, Sid(1), message("a"));
    let mut now_ms = 0;
    let mut pauses = Vec::new();
    for conn in 0..8 {
        effects(&mut links);
        links.dial_failed(now_ms, ConnId(conn), DialError::Unreachable);
        assert_eq!(effects(&mut links), [""; 0], "perhaps it is alive");
        let next_ms = links.deadline_ms().unwrap();
        pauses.push(next_ms - now_ms);
        links.tick(next_ms - 1);
        assert_eq!(effects(&mut links), [""; 0]);
        now_ms = next_ms;
        links.tick(now_ms);
    }
    assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
    effects(&mut links);
    links.dial_failed(now_ms, ConnId(8), DialError::Refused);
    assert_eq!(effects(&mut links), ["down 1"], "its process is gone");
    // A dial without any answer is given up.
    now_ms = links.deadline_ms().unwrap();
    links.tick(now_ms);
    assert_eq!(effects(&mut links), ["9 dial 1 one:11"]);
    assert_eq!(links.deadline_ms(), Some(now_ms + 5_000));
    links.tick(now_ms + 5_000);
    assert_eq!(effects(&mut links), ["9 close"]);
}

#[test]
fn our_own_id_and_the_anonymous_one_are_turned_away() {
    let mut links = links(Settings::default());
    for sid in [2, i64::MAX] {
        let conn = links.accepted(0);
        links.greeted(0, conn, &hello(sid, &[address("x", 1)]));
        assert_eq!(effects(&mut links), [format!("{} close", conn.0)]);
    }
    assert_eq!(links.deadline_ms(), None);
}

#[test]
fn strangers_may_come_but_not_too_many() {
    let mut links = links(Settings::default());
    // A larger one keeps its connection, a smaller one is called back where it says it is.
    let larger = links.accepted(0);
    links.greeted(0, larger, &hello(9, &[]));
    assert_eq!(effects(&mut links), ["up 9"]);
    links.send(0, Sid(9), message("a"));
    assert_eq!(effects(&mut links), ["0 write a"]);
    let smaller = links.accepted(200);
    links.greeted(200, smaller, &hello(0, &[address("zero", 5)]));
    assert_eq!(effects(&mut links), ["1 close", "2 dial 0 zero:5"]);
    links.dial_failed(200, ConnId(2), DialError::Refused);
    assert_eq!(effects(&mut links), ["down 0"]);
    links.send(300, Sid(0), message("b"));
    assert_eq!(effects(&mut links), [""; 0], "nobody knows where it is");
    for sid in 100..300 {
        let conn = links.accepted(0);
        links.greeted(0, conn, &hello(sid, &[]));
    }
    let up = effects(&mut links).iter().filter(|effect| effect.starts_with("up")).count();
    assert_eq!(up, STRANGERS_MAX - 1);
    // A member finds its place all the same.
    let member = links.accepted(0);
    links.greeted(0, member, &hello(3, &[]));
    assert_eq!(effects(&mut links), ["up 3"]);
}

#[test]
fn who_does_not_say_its_name_is_closed() {
    let mut links = links(Settings::default());
    let silent = links.accepted(0);
    assert_eq!(links.deadline_ms(), Some(10_000));
    links.tick(10_000);
    assert_eq!(effects(&mut links), [format!("{} close", silent.0)]);
    let first = links.accepted(0);
    for _ in 0..UNPROVEN_MAX {
        links.accepted(0);
    }
    assert_eq!(effects(&mut links), [format!("{} close", first.0)]);
    links.greeted(0, first, &hello(3, &[]));
    assert_eq!(effects(&mut links), [""; 0], "what was closed says nothing");
}

#[test]
fn with_authentication_nothing_is_kept_before_it() {
    let mut links = links(Settings { authenticate: true, ..Settings::default() });
    links.send(0, Sid(1), message("a"));
    links.connected(1, ConnId(0));
    assert_eq!(effects(&mut links)[1..], ["0 greet as 2", "0 authenticate true"]);
    assert_eq!(links.sender(ConnId(0)), None);
    links.authenticated(2, ConnId(0));
    assert_eq!(effects(&mut links), ["up 1", "0 write a"]);
    // Neither a knock nor a larger peer counts before it has proved itself.
    for sid in [1, 3] {
        let conn = links.accepted(200);
        links.greeted(200, conn, &hello(sid, &[]));
        assert_eq!(effects(&mut links), [format!("{} authenticate false", conn.0)]);
        assert_eq!(links.sender(conn), None);
    }
    links.closed(201, ConnId(1));
    links.authenticated(201, ConnId(2));
    assert_eq!(effects(&mut links), ["up 3"]);
    assert_eq!(links.sender(ConnId(0)), Some(Sid(1)));
    // As many as like may claim to be a member; those that prove nothing make room.
    for _ in 0..UNPROVEN_MAX + 5 {
        let conn = links.accepted(300);
        links.greeted(300, conn, &hello(3, &[]));
    }
    let closed = effects(&mut links).iter().filter(|effect| effect.ends_with("close")).count();
    assert_eq!(closed, 5);
}

#[test]
fn a_new_configuration_brings_new_addresses() {
    let mut links = links(Settings::default());
    let old = Arc::new(QuorumVerifier::parse(CONFIG, true).unwrap());
    let new = "server.1=eins:1:11\nserver.2=two:1:12\nserver.4=four:1:14\nversion=1";
    let new = Arc::new(QuorumVerifier::parse(new, false).unwrap());
    links.configure(&Membership::new(old, Some(Arc::clone(&new))));
    links.send(0, Sid(1), message("a"));
    links.send(0, Sid(4), message("a"));
    assert_eq!(effects(&mut links), ["0 dial 1 one:11 eins:11", "1 dial 4 four:14"]);
    links.configure(&Membership::new(new, None));
    links.send(0, Sid(3), message("a"));
    assert_eq!(effects(&mut links), [""; 0], "server 3 has left");
    links.dial_failed(0, ConnId(0), DialError::Unreachable);
    links.tick(100);
    assert_eq!(effects(&mut links), ["2 dial 1 eins:11"]);
}
