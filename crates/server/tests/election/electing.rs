//! Who leads: the outcome of elections among our own ports, when all are there, when one comes back
//! and when one goes; and that neither names, addresses nor moves stand in the way of it. Each
//! expectation follows from the order of votes (epoch, zxid, id), never from who was first.

use oxkeeper_proto::ids::{Sid, Zxid};
use oxkeeper_proto::notification::PeerState;
use oxkeeper_server::UnresolvedNames;
use oxkeeper_server::election_port::Settings;
use oxkeeper_zab::election;
use oxkeeper_zab::quorum::Role;

use crate::ensemble::{Ensemble, PORT, fresh_ip, membership, patient, run, settings, standing};
use crate::voter::{Event, Heard};

/// Elects among servers with these epochs and zxids, by ascending id.
async fn elect(standings: &[(i64, i64)], leader: i64) {
    let count = standings.len() as i64;
    let mut ensemble = Ensemble::of(count);
    ensemble.open(1..=count).await;
    for (sid, &(epoch, zxid)) in (1..).zip(standings) {
        ensemble.look(sid, standing(epoch, zxid));
    }
    ensemble.settles_on(leader).await;
}

#[test]
fn three_elect_by_epoch_then_zxid_then_id() {
    run(async {
        elect(&[(0, 0), (0, 0), (0, 0)], 3).await;
        elect(&[(1, 0x1_0000_0009), (1, 0x1_0000_0008), (1, 0x1_0000_0008)], 1).await;
        elect(&[(1, 0x1_0000_0009), (2, 0x1_0000_0007), (1, 0x1_0000_0008)], 2).await;
    });
}

#[test]
fn five_elect_by_epoch_then_zxid_then_id() {
    run(async {
        elect(&[(3, 7); 5], 5).await;
        elect(&[(3, 8), (3, 9), (3, 9), (3, 7), (2, 99)], 3).await;
    });
}

#[test]
fn who_was_restarted_learns_the_leader_from_the_others() {
    run(async {
        let mut ensemble = Ensemble::of(3);
        ensemble.open(1..=3).await;
        (1..=3).for_each(|sid| ensemble.look(sid, standing(1, 5)));
        ensemble.settles_on(3).await;
        (1..=3).for_each(|sid| ensemble.handle(sid).established(2));
        ensemble.kill(1).await;
        ensemble.open([1]).await;
        // Even if its log is longer: there is a leader, and what is not of a quorum will go.
        ensemble.look(1, standing(1, 6));
        let (state, vote) = ensemble.decision(1).await;
        assert_eq!((state, vote.leader), (PeerState::Following, Sid(3)));
        assert_eq!(vote.peer_epoch, 2, "the epoch of the established leader");
        assert!(ensemble.is_calm(2) && ensemble.is_calm(3), "for them nothing has changed");
    });
}

#[test]
fn a_killed_leader_is_replaced_and_comes_back_as_a_follower() {
    run(async {
        let mut ensemble = Ensemble::of(5);
        ensemble.open(1..=5).await;
        (1..=5).for_each(|sid| ensemble.look(sid, standing(1, 5)));
        ensemble.settles_on(5).await;
        ensemble.kill(5).await;
        ensemble.look(1, standing(2, 6));
        ensemble.look(2, standing(2, 7));
        ensemble.look(3, standing(2, 7));
        ensemble.look(4, standing(2, 6));
        ensemble.settles_on(3).await;
        ensemble.open([5]).await;
        ensemble.look(5, standing(2, 8));
        let (state, vote) = ensemble.decision(5).await;
        assert_eq!((state, vote.leader), (PeerState::Following, Sid(3)));
    });
}

#[test]
fn what_members_said_last_can_be_watched() {
    run(async {
        let mut ensemble = Ensemble::of(3);
        ensemble.open(1..=3).await;
        ensemble.look(1, standing(1, 5));
        let mut heard = ensemble.handle(2).heard();
        let heard = heard.wait_for(|heard| heard.contains_key(&Sid(1))).await.unwrap();
        let told = heard[&Sid(1)];
        assert_eq!(told.state, PeerState::Looking);
        assert_eq!((told.vote.leader, told.vote.zxid.0), (Sid(1), 5));
    });
}

#[test]
fn a_designated_leader_needs_no_election() {
    run(async {
        let mut ensemble = Ensemble::of(3);
        ensemble.open(1..=3).await;
        (1..=3).for_each(|sid| ensemble.handle(sid).designate(Sid(2), Zxid(7)));
        ensemble.settles_on(2).await;
    });
}

#[test]
fn a_name_that_does_not_resolve_delays_nobody_and_is_counted() {
    run(async {
        let mut ensemble = Ensemble::of(2);
        let config = format!("{}server.3=oxkeeper.invalid:2888:{PORT}", ensemble.config);
        // Whether the third is alive cannot be known: the others wait for it a moment.
        let unresolved = UnresolvedNames::default();
        for sid in 1..=2 {
            let settings = Settings { unresolved: unresolved.clone(), ..settings(sid) };
            ensemble.open_with(settings, election::Settings::default(), &config).await;
        }
        ensemble.look(1, standing(1, 5));
        ensemble.look(2, standing(1, 5));
        ensemble.settles_on(2).await;
        // The system may take its time to say so.
        while unresolved.among(["oxkeeper.invalid", "127.0.0.1"].into_iter()) != 1 {
            tokio::task::yield_now().await;
        }
    });
}

#[test]
fn of_several_addresses_the_one_that_answers_is_found() {
    run(async {
        let mut ensemble = Ensemble::of(3);
        let nobody = fresh_ip();
        let several: String = ensemble
            .config
            .lines()
            .map(|line| format!("{}\n", line.replace('=', &format!("={nobody}:2888:{PORT}|"))))
            .collect();
        // Each knows its own address, and of the others' also one where nobody is.
        for sid in 1..=3 {
            let own = format!("server.{sid}=");
            let pairs = several.lines().zip(ensemble.config.lines());
            let lines = pairs.map(|(both, one)| if one.starts_with(&own) { one } else { both });
            let config: Vec<&str> = lines.collect();
            ensemble.open_with(settings(sid), patient(), &config.join("\n")).await;
        }
        (1..=3).for_each(|sid| ensemble.look(sid, standing(1, 5)));
        ensemble.settles_on(3).await;
    });
}

#[test]
fn a_newer_configuration_of_a_peer_is_told_before_the_decision() {
    run(async {
        let mut ensemble = Ensemble::of(3);
        let newer = format!("{}version=100000007", ensemble.config);
        for sid in 1..=3 {
            let rules = election::Settings { reconfig_enabled: true, ..patient() };
            let config = if sid == 2 { newer.clone() } else { ensemble.config.clone() };
            ensemble.open_with(settings(sid), rules, &config).await;
        }
        (1..=3).for_each(|sid| ensemble.look(sid, standing(1, 5)));
        for sid in [1, 3] {
            match ensemble.event(sid).await {
                Event::Adopted(config) => assert_eq!(config.version(), 0x1_0000_0007),
                other => panic!("server {sid} is told {other:?} first"),
            }
        }
        ensemble.settles_on(3).await;
    });
}

#[test]
fn a_port_moves_with_the_configuration() {
    run(async {
        let mut ensemble = Ensemble::of(3);
        ensemble.open(1..=3).await;
        (1..=3).for_each(|sid| ensemble.look(sid, standing(1, 5)));
        ensemble.settles_on(3).await;
        let (old, new) = (ensemble.ips[&3], fresh_ip());
        let config = ensemble.config.replace(&old.to_string(), &new.to_string());
        let config = membership(&format!("{config}version=100000001"));
        for sid in 1..=3 {
            ensemble.handle(sid).reconfigure(config.clone(), Role::Participant);
        }
        // It can be reached at the new place and nowhere else.
        while tokio::net::TcpStream::connect((new, PORT)).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert!(tokio::net::TcpStream::connect((old, PORT)).await.is_err());
        // For the others it was gone for a moment: they wait for its vote once they hear it again.
        ensemble.look(3, standing(2, 6));
        for sid in 1..=2 {
            let mut heard = ensemble.handle(sid).heard();
            let looks = |heard: &Heard| heard[&Sid(3)].vote.zxid == Zxid(6);
            heard.wait_for(looks).await.unwrap();
        }
        (1..=2).for_each(|sid| ensemble.look(sid, standing(2, 6)));
        ensemble.settles_on(3).await;
    });
}
