//! Connections cut anywhere: what is said of a request is true, and no watcher waits in vain.

use std::collections::BTreeMap;

use oxkeeper_client::core::{Answer, Call, Fate, Input, Outcome, Ticket, WatchEvent, Watcher};
use oxkeeper_proto::Request;
use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::request::{MultiOp, MultiRequest};
use proptest::prelude::*;

use crate::world::{Seen, World, add_watch, config, create, get, set};

const ANY: usize = usize::MAX;

/// A client whose first connection is cut after so many bytes, not yet begun.
fn cut_client(world: &mut World, cut: (usize, usize)) -> usize {
    let at = world.seat(config("a,b"));
    world.client(at).cuts = vec![cut];
    at
}

fn submit_all(world: &mut World, at: usize) -> BTreeMap<Ticket, String> {
    let mut tickets = BTreeMap::new();
    for n in 0..3 {
        let path = format!("/c{n}");
        tickets.insert(world.submit(at, create(&path, 0)), path);
    }
    let Request::Create(made) = create("/m", 0) else { panic!() };
    let mut raw = Vec::new();
    MultiRequest::encode_ops(&mut raw, [MultiOp::Create(made)]);
    let multi = Request::Multi(MultiRequest::decode(&mut Reader::new(&raw)).unwrap());
    tickets.insert(world.submit(at, multi), "/m".into());
    tickets.insert(world.submit(at, create("/seq-", 2)), "/seq-000000000".into());
    tickets.insert(world.submit(at, create("/c0", 0)), "/c0".into());
    tickets
}

/// One completion each, and none that the tree belies. Returns how many were left unknown.
fn judge(world: &mut World, at: usize, tickets: &BTreeMap<Ticket, String>, what: &str) -> usize {
    let mut outcomes = BTreeMap::new();
    for seen in world.take(at) {
        if let Seen::Done(ticket, outcome) = seen {
            assert!(outcomes.insert(ticket, outcome).is_none(), "{what}: {ticket:?} twice");
        }
    }
    assert_eq!(outcomes.len(), tickets.len(), "{what}: {outcomes:?}");
    let (last, _) = tickets.last_key_value().expect("tickets");
    for (ticket, outcome) in &outcomes {
        let path = &tickets[ticket];
        let is_there = world.tree().node(path).is_some()
            || (path.starts_with("/seq") && sequential(world) == 1);
        match outcome.fate() {
            Fate::Happened => assert!(is_there && ticket != last, "{what}: {path}: {outcome:?}"),
            // The last asks for what is there already, unless the first never came through.
            Fate::DidNotHappen => assert!(!is_there || ticket == last, "{what}: {path}"),
            Fate::Unknown => {}
        }
    }
    assert!(sequential(world) <= 1, "{what}: sent twice");
    outcomes.values().filter(|outcome| outcome.fate() == Fate::Unknown).count()
}

fn sequential(world: &World) -> usize {
    (0..20).filter(|n| world.tree().node(&format!("/seq-{n:010}")).is_some()).count()
}

#[test]
fn a_cut_after_any_byte_loses_no_outcome_and_belies_none() {
    let mut unknown = [0; 2];
    for direction in [0, 1] {
        for bytes in 0.. {
            let mut world = World::new();
            let cut = if direction == 0 { (bytes, ANY) } else { (ANY, bytes) };
            let at = cut_client(&mut world, cut);
            let tickets = submit_all(&mut world, at);
            world.input(at, Input::Wake);
            let was_cut = !world.is_connected(at);
            world.pass(500);
            let what = format!("cut at {cut:?}");
            unknown[direction] += judge(&mut world, at, &tickets, &what);
            assert!(world.is_connected(at), "{what}");
            if !was_cut {
                assert!(bytes > 200, "the exchange is longer than that");
                break;
            }
        }
    }
    assert!(unknown[0] > 100 && unknown[1] > 100, "cuts in the midst: {unknown:?}");
}

#[test]
fn the_same_seed_and_the_same_cuts_give_the_same_history() {
    let history = |seats: usize| {
        let mut world = World::new();
        let mut told = Vec::new();
        for n in 0..seats {
            let at = cut_client(&mut world, (100 + n, 90));
            world.input(at, Input::Wake);
            submit_all(&mut world, at);
            world.pass(700);
            world.cut(at);
            world.pass(700);
            told.push(format!("{:?} {:?}", world.take(at), world.client(at).dialed));
        }
        told
    };
    let first = history(4);
    assert_eq!(first, history(4));
    assert_ne!(first[0], first[1], "seeds differ");
}

#[test]
fn a_cut_while_watches_are_armed_again_loses_no_event() {
    for direction in [0, 1] {
        for bytes in 0.. {
            let mut world = World::new();
            let other = world.connect("b", 30_000);
            let at = world.connect("a,b", 30_000);
            for path in ["/a", "/b", "/c"] {
                world.done(other, create(path, 0));
                world.done(at, Call::watched(get(path), Watcher(u64::from(path.as_bytes()[1]))));
            }
            world.done(at, Call::watched(add_watch("/", 1), Watcher(1)));
            world.take(at);
            let cut = if direction == 0 { (bytes, ANY) } else { (ANY, bytes) };
            world.client(at).cuts = vec![cut];
            world.client(at).dialed.clear();
            world.cut(at);
            world.done(other, set("/a", b"1"));
            world.pass(200);
            world.done(other, set("/b", b"1"));
            world.pass(500);
            world.heal(at);
            world.done(other, set("/c", b"1"));
            let events = world.events(at);
            for watcher in *b"abc" {
                let told = events.iter().filter(|(w, _)| *w == Watcher(u64::from(watcher)));
                assert_eq!(told.count(), 1, "cut at {cut:?}: {events:?}");
            }
            let gap = events.iter().rposition(|(_, event)| *event == WatchEvent::Gap);
            assert!(gap.is_some(), "cut at {cut:?}: {events:?}");
            // What changed once everything is armed is told as it is.
            let last = events.iter().rposition(|(w, event)| {
                *w == Watcher(1) && matches!(event, WatchEvent::Fired { path, .. } if path == "/c")
            });
            assert!(last > gap, "cut at {cut:?}: {events:?}");
            if world.client(at).dialed.len() == 1 {
                assert!(bytes > 100, "the exchange is longer than that");
                break;
            }
        }
    }
}

/// Keeps a copy of one znode's data by reading it with a watch, again after each event.
struct Mirror {
    at: usize,
    path: &'static str,
    persistent: bool,
    reading: Option<Ticket>,
    arming: Option<Ticket>,
    armed: bool,
    copy: Vec<u8>,
}

impl Mirror {
    fn new(at: usize, path: &'static str, persistent: bool) -> Mirror {
        let copy = Vec::new();
        Mirror { at, path, persistent, reading: None, arming: None, armed: false, copy }
    }

    fn step(&mut self, world: &mut World) {
        let watcher = Watcher(1 + u64::from(self.persistent));
        for seen in world.take(self.at) {
            match seen {
                Seen::Done(ticket, outcome) if Some(ticket) == self.reading => {
                    self.reading = None;
                    match outcome {
                        Outcome::Done { answer: Answer::Data(data, _), .. } => {
                            self.copy = data.unwrap_or_default();
                        }
                        _ => self.read(world, watcher),
                    }
                }
                Seen::Done(ticket, outcome) if Some(ticket) == self.arming => {
                    self.arming = None;
                    self.armed = matches!(outcome, Outcome::Done { .. });
                    if self.armed {
                        self.read(world, watcher);
                    }
                }
                Seen::Event(told, _) => {
                    assert_eq!(told, watcher);
                    self.read(world, watcher);
                }
                Seen::Done(..) | Seen::State(_) => {}
            }
        }
        if self.persistent && !self.armed && self.arming.is_none() {
            let arm = Call::watched(add_watch(self.path, 0), watcher);
            self.arming = Some(world.submit(self.at, arm));
        }
    }

    fn read(&mut self, world: &mut World, watcher: Watcher) {
        let call = if self.persistent {
            get(self.path).into()
        } else {
            Call::watched(get(self.path), watcher)
        };
        // An older read may still be answered, with less.
        self.reading = Some(world.submit(self.at, call));
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 96,
        failure_persistence: None,
        ..Default::default()
    })]

    /// Whoever reads again when told so ends up with what is there, wherever connections break.
    #[test]
    fn a_mirror_that_follows_its_watch_is_right_in_the_end(
        cuts in prop::collection::vec((0usize..400, 0usize..500), 0..12),
        chunk in 1usize..40,
        steps in prop::collection::vec((0u64..400, any::<bool>()), 1..30),
        persistent in any::<bool>(),
    ) {
        let mut world = World::new();
        let writer = world.connect("a", 40_000);
        world.done(writer, create("/x", 0));
        let mut patient = config("a,b,c");
        patient.session_timeout_ms = 40_000;
        patient.expire_unheard = false;
        let at = world.seat(patient);
        world.client(at).chunk = chunk;
        world.client(at).cuts = cuts;
        let mut mirror = Mirror::new(at, "/x", persistent);
        mirror.read(&mut world, Watcher(1 + u64::from(persistent)));
        for (n, (ms, write)) in steps.into_iter().enumerate() {
            if write {
                world.done(writer, set("/x", n.to_string().as_bytes()));
            }
            world.pass(ms);
            mirror.step(&mut world);
        }
        for _ in 0..100 {
            world.pass(1_000);
            mirror.step(&mut world);
        }
        let Answer::Data(data, _) = world.done(writer, get("/x")) else { panic!() };
        prop_assert_eq!(String::from_utf8(mirror.copy), String::from_utf8(data.unwrap()));
        prop_assert!(world.client(at).client.pending() == 0);
    }

    /// The judge's rules hold when several connections break, each somewhere.
    #[test]
    fn outcomes_are_true_however_many_connections_break(
        cuts in prop::collection::vec((0usize..450, 0usize..450), 0..8),
        chunk in 1usize..64,
        pause_ms in 0u64..300,
    ) {
        let mut world = World::new();
        let mut patient = config("a,b");
        patient.expire_unheard = false;
        let at = world.seat(patient);
        world.client(at).chunk = chunk;
        world.client(at).cuts = cuts;
        world.input(at, Input::Wake);
        world.pass(pause_ms);
        let tickets = submit_all(&mut world, at);
        world.pass(30_000);
        judge(&mut world, at, &tickets, "drawn");
    }
}
