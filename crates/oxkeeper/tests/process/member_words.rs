//! The four-letter words of an ensemble's members, in the shape recorded from ZooKeeper 3.9.5 in
//! each role. Which numbers they show is tested in `crates/node`; here, that a running server
//! gathers them from where they are.

use std::collections::BTreeSet;
use std::time::Instant;

use oxkeeper_proto::ErrorCode;

use crate::client::{Client, DEADLINE, word};
use crate::server::{Dir, Server, Setup};

/// Three voters and an observer.
const MEMBERS: [(u8, &str); 4] =
    [(1, "participant"), (2, "participant"), (3, "participant"), (4, "observer")];

fn golden(name: &str) -> String {
    let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../node/tests/fixtures/text");
    std::fs::read_to_string(format!("{dir}/{name}.txt")).unwrap()
}

/// Addresses of this process alone: the ports can then be those of the manual.
pub fn host(sid: u8) -> String {
    let [high, low, ..] = (std::process::id() as u16).to_be_bytes();
    format!("127.{}.{low}.{sid}", 128 | high)
}

fn start() -> Vec<Server> {
    let mut setup = Setup::new().set("tickTime", 2000).set("initLimit", 10).set("syncLimit", 5);
    setup = setup.set("observerMasterPort", 2889);
    for (sid, role) in MEMBERS {
        setup = setup.set(&format!("server.{sid}"), format!("{}:2888:3888:{role}", host(sid)));
    }
    let member = |(sid, role): (u8, &str)| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("myid"), sid.to_string()).unwrap();
        let observer = role == "observer";
        let setup = if observer { setup.clone().set("peerType", role) } else { setup.clone() };
        setup.start_in(Dir::New(dir))
    };
    MEMBERS.into_iter().map(member).collect()
}

pub fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(found) = ask() {
            return found;
        }
        assert!(Instant::now() < until, "nothing of the kind");
        std::thread::yield_now();
    }
}

pub fn mode(server: &Server) -> Option<String> {
    let srvr = word(server.addr, "srvr");
    srvr.lines().find_map(|line| line.strip_prefix("Mode: ")).map(str::to_owned)
}

/// The part of each line before a separator.
fn keys(text: &str, separator: char) -> Vec<&str> {
    text.lines().map(|line| line.split(separator).next().unwrap_or(line)).collect()
}

/// The keys of mntr but for those that come with what clients and learners have done.
fn metrics(text: &str) -> BTreeSet<&str> {
    let of_sets = |key: &&str| key.contains("_per_namespace") || key.contains("_learner_handler_");
    keys(text, '\t').into_iter().filter(|key| !of_sets(key)).collect()
}

fn number(mntr: &str, name: &str) -> Option<i64> {
    let prefix = format!("zk_{name}\t");
    mntr.lines().find_map(|line| line.strip_prefix(&prefix))?.parse().ok()
}

#[test]
fn members_say_what_they_are_until_they_are_nothing() {
    let mut servers = start();
    let modes: Vec<String> = servers.iter().map(|server| wait_for(|| mode(server))).collect();
    assert_eq!(modes[3], "observer");
    let leader = modes.iter().position(|mode| mode == "leader").expect("one leads");
    let follower = modes.iter().position(|mode| mode == "follower").expect("others follow");
    // Its other learners may come later than the first.
    let learners = || number(&word(servers[leader].addr, "mntr"), "synced_followers");
    wait_for(|| learners().filter(|synced| *synced == 2));

    let mut client = Client::connect(servers[follower].addr, 30_000);
    assert_eq!(client.create_ephemeral("/e").err, ErrorCode::OK);
    let session = client.session.to_string();
    for (at, role) in [(leader, "leader"), (follower, "follower"), (3, "observer")] {
        let addr = servers[at].addr;
        // The others have heard of it when they have.
        wait_for(|| word(addr, "dump").contains(&format!("{session}:\n\t/e\n")).then_some(()));
        let srvr = word(addr, "srvr");
        assert_eq!(keys(&srvr, ':'), keys(&golden(&format!("busy-{role}.srvr")), ':'), "{role}");
        let zxid = srvr.lines().find_map(|line| line.strip_prefix("Zxid: 0x")).unwrap();
        assert!(zxid.ends_with("00000002"), "{role}: {srvr}");

        let (conf, recorded) = (word(addr, "conf"), golden(&format!("busy-{role}.conf")));
        assert_eq!(keys(&conf, '='), keys(&recorded, '='), "{role}");
        let sid = at + 1;
        let own = format!(
            "serverId={sid}\ninitLimit=10\nsyncLimit=5\nelectionAlg=3\nelectionPort=3888\n\
             quorumPort=2888\npeerType={}\nmembership: \nserver.1={}:2888:3888:participant\n",
            u8::from(role == "observer"),
            host(1),
        );
        assert!(conf.contains(&own) && conf.ends_with("\nversion=0"), "{role}: {conf}");

        let (mntr, recorded) = (word(addr, "mntr"), golden(&format!("busy-{role}.mntr")));
        let (ours, theirs) = (metrics(&mntr), metrics(&recorded));
        let more: Vec<_> = ours.symmetric_difference(&theirs).copied().collect();
        assert_eq!(more, ["zk_unresolved_peer_names"], "{role}");
        let states = |text: &str| -> Vec<String> {
            text.lines().skip(1).take(2).map(str::to_owned).collect()
        };
        assert_eq!(states(&mntr), states(&recorded), "{role}");
        for (name, expected) in [
            ("quorum_size", 3),
            ("global_sessions", 1),
            ("ephemerals_count", 1),
            ("unresolved_peer_names", 0),
            ("cnt_propagation_latency", 2),
        ] {
            assert_eq!(number(&mntr, name), Some(expected), "{role}: {name}");
        }
        for name in ["looking_count", "cnt_unavailable_time"] {
            assert!(number(&mntr, name) >= Some(1), "{role}: {name}");
        }
        let committed =
            if role == "leader" { "commit_count" } else { "learner_commit_received_count" };
        assert_eq!(number(&mntr, committed), Some(2), "{role}");

        let sessions = match role {
            "leader" => "SessionTracker dump:\nSession Sets (1)/(1):\n1 expire at ".to_owned(),
            _ => format!("SessionTracker dump:\nGlobal Sessions(1):\n{session}\t30000ms\n"),
        };
        let dump = word(addr, "dump");
        assert!(dump.starts_with(&sessions), "{role}: {dump}");
        assert_eq!(word(addr, "isro"), "rw");
    }
    let master = number(&word(servers[3].addr, "mntr"), "observer_master_id");
    // One of the followers serves it.
    assert!(master.is_some_and(|sid| (1..=3).contains(&sid) && sid != leader as i64 + 1));

    // Both other voters die.
    let left = servers.swap_remove(leader);
    drop(servers);
    wait_for(|| mode(&left).is_none().then_some(()));
    for name in ["srvr", "stat", "mntr", "conf", "cons", "dump", "isro", "dirs", "wchs", "hash"] {
        assert_eq!(word(left.addr, name), golden(&format!("not-serving.{name}")), "{name}");
    }
}
