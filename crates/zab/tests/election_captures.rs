//! The elections of real ensembles, with one of their members replaced by ours.
//!
//! For each recorded case and each member of it, an [`Election`] is told what that member was told,
//! and everything the Java server said must be something that ours says too, in that order and
//! with the same vote. The recordings do not say how messages of different peers fell in time, nor
//! when a timer ended, so all ways in which that could have been are tried until one explains the
//! recording. A repetition of the last message explains itself: that is what a new connection
//! begins with.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use oxkeeper_proto::ids::Sid;
use oxkeeper_proto::notification::{Hello, Notification, PeerState};
use oxkeeper_zab::election::{Effect, Election, Settings, Standing};
use oxkeeper_zab::links::{self, Links};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier, Role};
use oxkeeper_zab::vote::{Configs, Vote};

/// Name, leader, its epoch, and the servers that start within the recording. The others had
/// settled before it began.
const CASES: [(&str, i64, i64, &[i64]); 8] = [
    ("cold-start", 3, 1, &[1, 2, 3]),
    ("diff-join", 3, 1, &[1]),
    ("snap-join", 3, 1, &[1]),
    ("leader-failover-rejoin", 2, 2, &[3]),
    ("trunc-join", 2, 2, &[3]),
    ("observer-join", 3, 1, &[4]),
    ("no-autocreate", 3, 1, &[1, 2, 3]),
    ("read-only", 3, 1, &[1, 2, 3]),
];

#[test]
fn our_election_says_what_each_java_server_said() {
    let mut explained = 0;
    for (name, text) in recordings() {
        let (_, leader, epoch, starters) = case(&name);
        let lines = read(&text);
        // In one ensemble server 3 came too late to be elected.
        let told = lines.iter().filter_map(|line| line.told.as_ref());
        let mut leading = told.filter(|told| told.state == PeerState::Leading);
        let leader = leading.next().map_or(Sid(leader), |told| told.leader);
        let sids: BTreeSet<Sid> = lines.iter().map(|line| line.from).collect();
        for me in sids {
            let starts = starters.contains(&me.0);
            // The observer was started twice: its second life has the connections from 5 on.
            let two_lives = name.ends_with("observer-join") && me == Sid(4);
            let lives: &[(u32, u32)] = if two_lives { &[(0, 4), (5, 99)] } else { &[(0, 99)] };
            for &(first, last) in lives {
                let talk =
                    Talk::of(me, lines.iter().filter(|line| (first..=last).contains(&line.conn)));
                let Some(begin) = Course::begin(me, &talk, starts, epoch) else { continue };
                let found = begin.explain(&talk, epoch);
                assert!(
                    found.is_some_and(|end| end.election.settled_on().leader == leader),
                    "{name}, server {me}: nothing explains what it said"
                );
                explained += 1;
            }
        }
    }
    assert!(explained > 120, "only {explained} parts of elections");
}

/// The same machinery finds no explanation for what no server would say.
#[test]
fn what_java_did_not_say_is_not_explained() {
    let recordings = recordings();
    let text = &recordings["3.9.5.diff-join"];
    let mut refused = 0;
    for change in [
        |told: &mut Notification<'static>| told.leader = Sid(1),
        |told: &mut Notification<'static>| told.election_epoch += 1,
        |told: &mut Notification<'static>| told.peer_epoch += 1,
        |told: &mut Notification<'static>| told.zxid.0 += 1,
        |told: &mut Notification<'static>| told.state = PeerState::Observing,
    ] {
        let mut talk = Talk::of(Sid(2), read(text).iter());
        let begin = Course::begin(Sid(2), &talk, false, 1).unwrap();
        assert!(begin.clone().explain(&talk, 1).is_some());
        let events = talk.peers.get_mut(&Sid(1)).unwrap();
        let said = events.iter_mut().filter(|event| event.out);
        change(&mut said.last().unwrap().told);
        refused += u32::from(begin.explain(&talk, 1).is_none());
    }
    assert_eq!(refused, 5);
}

#[test]
fn every_connection_was_kept_or_dropped_as_we_would() {
    let (mut kept, mut dropped) = (0, 0);
    for (name, text) in recordings() {
        let recorded: Vec<(u32, Sid, Sid, Vec<u8>)> = split(&text).collect();
        let config = read(&text).iter().find_map(|line| Some(verifier(line.told.as_ref()?)));
        let membership = Membership::new(config.unwrap(), None);
        for at in 0..recorded.len() {
            let (conn, opener, acceptor, bytes) = &recorded[at];
            if recorded[..at].iter().any(|(other, ..)| other == conn) {
                continue;
            }
            let more = recorded[at + 1..].iter().filter(|(other, ..)| other == conn).count();
            let (hello, rest) = Hello::split(bytes).unwrap().whole().unwrap();
            assert!(rest.is_empty() && hello.sid == *opener, "{name} c{conn}");
            // The one who was called.
            let mut called = Links::new(*acceptor, Vec::new(), links::Settings::default());
            called.configure(&membership);
            let id = called.accepted(0);
            called.greeted(1_000, id, &hello);
            let up = called.poll_effect() == Some(links::Effect::Up(*opener));
            // The one who opened it.
            let mut opens =
                Links::new(*opener, hello.addresses.clone(), links::Settings::default());
            opens.configure(&membership);
            opens.send(0, *acceptor, Arc::from(&b"vote"[..]));
            let Some(links::Effect::Dial { conn: id, .. }) = opens.poll_effect() else { panic!() };
            opens.connected(0, id);
            let Some(links::Effect::Greet { hello, .. }) = opens.poll_effect() else { panic!() };
            let mut encoded = Vec::new();
            hello.encode(&mut encoded);
            assert_eq!(encoded, *bytes, "{name} c{conn}");
            let keeps = opens.poll_effect() == Some(links::Effect::Up(*acceptor));
            assert!(up == keeps && up == (opener > acceptor), "{name} c{conn}");
            if up {
                kept += 1;
            } else {
                dropped += 1;
                assert_eq!(more, 0, "{name} c{conn}: a knock says nothing more");
                assert!(matches!(
                    core::iter::from_fn(|| called.poll_effect()).last(),
                    Some(links::Effect::Dial { addresses, .. }) if addresses[..1] == hello.addresses
                ));
            }
        }
    }
    assert!(kept > 80 && dropped > 20, "{kept} kept, {dropped} dropped");
}

/// Names that are not ASCII survive, whatever the platform's charset is (ZOOKEEPER-4787).
#[test]
fn a_configuration_with_foreign_names_travels_as_utf_8() {
    let text = "server.1=h\u{f6}st:1:2:participant\nserver.2=\u{4e3b}:1:2:participant\nversion=5";
    let config = |text: &str| Arc::new(QuorumVerifier::parse(text, false).unwrap());
    let standing = Standing {
        role: Role::Participant,
        last_logged: oxkeeper_proto::ids::Zxid(0),
        current_epoch: 0,
    };
    let settings = Settings { reconfig_enabled: true, ..Settings::default() };
    let elections = |sid, text| {
        let membership = Membership::new(config(text), None);
        Election::new(Sid(sid), membership, standing, settings.clone())
    };
    let (mut one, mut two) =
        (elections(1, text), elections(2, &text.replace("version=5", "version=4")));
    two.look(0, standing, 0);
    one.look(0, standing, 0);
    let Some(Effect::Send { to: Sid(2), state, vote, configs: told }) = one.poll_effect() else {
        panic!("server 1 says nothing")
    };
    let mut bytes = Vec::new();
    vote.notification(state, &told).encode(&mut bytes);
    two.notification(0, Sid(1), &Notification::decode(&bytes).unwrap());
    let adopted = core::iter::from_fn(|| two.poll_effect()).find_map(|effect| match effect {
        Effect::Adopt(config) => Some(config.to_string()),
        _ => None,
    });
    assert_eq!(adopted.as_deref(), Some(text));
}

fn case(name: &str) -> (&'static str, i64, i64, &'static [i64]) {
    *CASES.iter().find(|(case, ..)| name.ends_with(&format!(".{case}"))).expect("a known case")
}

fn recordings() -> BTreeMap<String, String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/election");
    let files = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let name = |path: &Path| path.file_stem().unwrap().to_str().unwrap().to_owned();
    files.map(|path| (name(&path), std::fs::read_to_string(&path).unwrap())).collect()
}

struct Line {
    conn: u32,
    from: Sid,
    to: Sid,
    /// Nothing for a hello.
    told: Option<Notification<'static>>,
}

fn split(text: &str) -> impl Iterator<Item = (u32, Sid, Sid, Vec<u8>)> + '_ {
    text.lines().map(|line| {
        let words: Vec<&str> = line.split(' ').collect();
        let (from, to) = words[1].split_once('>').unwrap();
        let sid = |text: &str| Sid(text.parse().unwrap());
        let byte = |at: usize| u8::from_str_radix(&words[2][at..at + 2], 16).unwrap();
        let bytes = (0..words[2].len()).step_by(2).map(byte).collect();
        (words[0][1..].parse().unwrap(), sid(from), sid(to), bytes)
    })
}

fn read(text: &str) -> Vec<Line> {
    let mut greeted = BTreeSet::new();
    let line = |(conn, from, to, bytes): (u32, Sid, Sid, Vec<u8>)| {
        let told = (!greeted.insert(conn)).then(|| {
            let told = Notification::decode(&bytes[4..]).unwrap().into_owned();
            let mut again = Vec::new();
            told.encode_message(&mut again);
            assert_eq!(again, bytes);
            // What Java wrote is what we would write.
            let text = told.config.as_deref().unwrap();
            assert_eq!(QuorumVerifier::parse(text, true).unwrap().to_string(), text);
            told
        });
        Line { conn, from, to, told }
    };
    split(text).map(line).collect()
}

fn verifier(told: &Notification<'_>) -> Arc<QuorumVerifier> {
    Arc::new(QuorumVerifier::parse(told.config.as_deref().unwrap(), true).unwrap())
}

#[derive(Clone)]
struct Event {
    out: bool,
    told: Notification<'static>,
}

/// What one server heard and said, per peer, in the order on the wire.
struct Talk {
    peers: BTreeMap<Sid, Vec<Event>>,
}

impl Talk {
    fn of<'a>(me: Sid, lines: impl Iterator<Item = &'a Line>) -> Talk {
        let mut peers: BTreeMap<Sid, Vec<Event>> = BTreeMap::new();
        for line in lines {
            let (Some(told), true) = (&line.told, line.from == me || line.to == me) else {
                continue;
            };
            let out = line.from == me;
            let peer = if out { line.to } else { line.from };
            peers.entry(peer).or_default().push(Event { out, told: told.clone() });
        }
        Talk { peers }
    }

    fn said(&self) -> impl Iterator<Item = &Notification<'static>> {
        self.peers.values().flatten().filter(|event| event.out).map(|event| &event.told)
    }
}

/// One way in which things may have happened, so far.
#[derive(Clone)]
struct Course {
    election: Election,
    now_ms: u64,
    said: BTreeMap<Sid, Vec<(PeerState, Vote)>>,
    /// Per peer: which events are explained, and up to which of our messages.
    explained: BTreeMap<Sid, (BTreeSet<usize>, usize)>,
    established: bool,
    ticks: u32,
}

impl Course {
    /// The server as the recording finds it; `None` if it says nothing in it.
    fn begin(me: Sid, talk: &Talk, starts: bool, epoch: i64) -> Option<Course> {
        let settled = |told: &&Notification<'_>| told.state != PeerState::Looking;
        let first = match starts {
            true => talk.said().find(|told| told.leader == me || told.leader == Sid::NONE)?,
            false => talk.said().find(settled)?,
        };
        let config = verifier(first);
        let role = if config.is_observer(me) { Role::Observer } else { Role::Participant };
        let current_epoch = if starts { first.peer_epoch } else { epoch - 1 };
        let standing = Standing { role, last_logged: first.zxid, current_epoch };
        let settings = Settings { reconfig_enabled: true, ..Settings::default() };
        let voters: Vec<Sid> = config.voters().collect();
        let membership = Membership::new(config, None);
        let mut path = Course {
            election: Election::new(me, membership, standing, settings),
            now_ms: 0,
            said: BTreeMap::new(),
            explained: BTreeMap::new(),
            established: false,
            ticks: 0,
        };
        path.election.look(0, standing, 0);
        path.listen();
        if !starts {
            // Long ago all voters agreed on what it says now; or the others had, and it came late.
            let agreed = Vote { peer_epoch: epoch - 1, ..Vote::from(first) };
            for state in [PeerState::Looking, PeerState::Following] {
                for &voter in voters.iter().filter(|&&voter| voter != me) {
                    let leads = state == PeerState::Following && voter == agreed.leader;
                    let state = if leads { PeerState::Leading } else { state };
                    let none = Configs::default();
                    let told = agreed.notification(state, &none);
                    path.election.notification(0, voter, &Notification { config: None, ..told });
                }
            }
            // Some of its peers may have asked before the leader was established.
            for &peer in talk.peers.keys() {
                let none = Configs::default();
                let told = agreed.notification(PeerState::Looking, &none);
                path.election.notification(0, peer, &Notification { config: None, ..told });
            }
            path.listen();
            assert_eq!(path.election.state(), first.state);
        }
        Some(path)
    }

    fn listen(&mut self) {
        while let Some(effect) = self.election.poll_effect() {
            if let Effect::Send { to, state, vote, .. } = effect {
                self.said.entry(to).or_default().push((state, vote));
            }
        }
    }

    /// Explains whatever the server said by what ours has said already.
    fn match_said(&mut self, talk: &Talk) {
        for (peer, events) in &talk.peers {
            let said = self.said.get(peer).map_or(&[][..], Vec::as_slice);
            let (done, from) = self.explained.entry(*peer).or_default();
            for (at, event) in events.iter().enumerate().filter(|(_, event)| event.out) {
                if done.contains(&at) {
                    continue;
                }
                let java = (event.told.state, Vote::from(&event.told));
                let Some(place) = said[*from..].iter().position(|ours| *ours == java) else {
                    break;
                };
                *from += place;
                done.insert(at);
            }
        }
    }

    /// Tries everything that could happen next until the whole talk is explained.
    fn explain(mut self, talk: &Talk, epoch: i64) -> Option<Course> {
        self.listen();
        self.match_said(talk);
        let complete = |(peer, events): (&Sid, &Vec<Event>)| {
            self.explained.get(peer).is_some_and(|(done, _)| done.len() == events.len())
        };
        let settled = self.election.state() != PeerState::Looking;
        if talk.peers.iter().all(complete) && settled {
            return Some(self);
        }
        for (&peer, events) in &talk.peers {
            let (done, _) = &self.explained[&peer];
            let heard = |(at, event): &(usize, &Event)| !event.out && !done.contains(at);
            let Some((at, event)) = events.iter().enumerate().find(heard) else { continue };
            // What stood on the wire before it had been said before it was heard.
            if (0..at).any(|earlier| !done.contains(&earlier)) {
                continue;
            }
            let mut next = self.clone();
            next.election.notification(next.now_ms, peer, &event.told);
            next.explained.get_mut(&peer).unwrap().0.insert(at);
            if let Some(end) = next.explain(talk, epoch) {
                return Some(end);
            }
        }
        if settled && !self.established {
            let mut next = self.clone();
            next.election.established(epoch);
            next.established = true;
            if let Some(end) = next.explain(talk, epoch) {
                return Some(end);
            }
        }
        if let (Some(at_ms), true) = (self.election.deadline_ms(), self.ticks < 2) {
            let mut next = self;
            next.ticks += 1;
            next.now_ms = at_ms;
            next.election.tick(at_ms);
            return next.explain(talk, epoch);
        }
        None
    }
}
