//! Links from their beginning to their end, and what is said on them.

use std::cell::Cell;
use std::net::TcpListener;
use std::rc::Rc;
use std::time::Duration;

use oxkeeper_config::ExitCode;
use oxkeeper_proto::notification::PeerState;
use oxkeeper_proto::{Sid, Zxid};
use oxkeeper_server::quorum_port::{Origin, QuorumPort, Settings};
use oxkeeper_zab::election::{self, Election};
use oxkeeper_zab::quorum::Role;
use oxkeeper_zab::vote::{Configs, Vote};
use oxkeeper_zab::{Outgoing, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::bench::{
    ENOUGH, Ensemble, PORT, Server, Told, encoded, fresh_ip, membership, pair, proposal,
    read_packet, run,
};

#[test]
fn packets_come_in_order_both_ways_and_many_of_them_in_one_turn() {
    run(async {
        let (mut leader, theirs, mut learner, ours) = pair().await;
        leader.send(theirs, (1..=1000).map(|zxid| proposal(zxid, 100)));
        for zxid in 1..=1000 {
            assert_eq!(learner.packet().await, format!("PROPOSAL {zxid} 100"));
        }
        assert!(learner.turns() < 20, "{} turns for 150 kB", learner.turns());
        learner.send(ours, [Outgoing::Ack(Zxid(999)), Outgoing::Ack(Zxid(1000))]);
        assert_eq!(leader.packet().await, "ACK 999");
        assert_eq!(leader.packet().await, "ACK 1000");
        assert_eq!(leader.port.pending_bytes(theirs), 0);
    });
}

#[test]
fn a_packet_larger_than_any_buffer_arrives_whole() {
    run(async {
        let (leader, theirs, mut learner, _) = pair().await;
        let packets = [proposal(1, 1_000_000), proposal(2, 40), proposal(3, 2_000_000)];
        leader.send(theirs, packets);
        assert_eq!(learner.packet().await, "PROPOSAL 1 1000000");
        assert_eq!(learner.packet().await, "PROPOSAL 2 40");
        assert_eq!(learner.packet().await, "PROPOSAL 3 2000000");
    });
}

#[test]
fn whoever_sends_a_large_packet_over_a_slow_wire_is_not_silent() {
    run(async {
        let mut leader = Server::leading(1, &Ensemble::of(1)).await;
        let mut visitor = leader.visitor().await;
        visitor.set_nodelay(true).unwrap();
        let link = leader.linked().await;
        visitor.write_all(&encoded([Outgoing::Ack(Zxid(7))])).await.unwrap();
        assert_eq!(leader.packet().await, "ACK 7");
        assert_eq!(leader.progress(link), 0, "a whole packet speaks for itself");
        let packet = encoded([proposal(8, 40_000)]);
        for piece in packet.chunks(10_000) {
            let before = leader.progress(link);
            visitor.write_all(piece).await.unwrap();
            let last = piece.len() < 10_000;
            while !last && leader.progress(link) == before {
                tokio::task::yield_now().await;
            }
        }
        assert_eq!(leader.packet().await, "PROPOSAL 8 40000");
    });
}

#[test]
fn packets_that_come_byte_by_byte_are_put_together() {
    run(async {
        let mut leader = Server::leading(1, &Ensemble::of(1)).await;
        let mut visitor = leader.visitor().await;
        visitor.set_nodelay(true).unwrap();
        leader.linked().await;
        for byte in encoded([Outgoing::Ack(Zxid(7)), proposal(8, 40)]) {
            visitor.write_all(&[byte]).await.unwrap();
            tokio::task::yield_now().await;
        }
        assert_eq!(leader.packet().await, "ACK 7");
        assert_eq!(leader.packet().await, "PROPOSAL 8 40");
    });
}

#[test]
fn who_hangs_up_is_reported_and_its_number_not_used_again() {
    run(async {
        let mut leader = Server::leading(1, &Ensemble::of(1)).await;
        let visitor = leader.visitor().await;
        let first = leader.linked().await;
        drop(visitor);
        assert_eq!(leader.told().await, Told::Unlinked(first));
        let _visitor = leader.visitor().await;
        assert_ne!(leader.linked().await, first);
        // Whatever is still said to it costs nothing.
        leader.send(first, [proposal(1, 40)]);
        leader.port.close(first, ENOUGH);
        assert_eq!(leader.port.pending_bytes(first), 0);
        assert!(leader.port.send_snapshot(first).is_closed());
        let mut source = leader.port.receive_snapshot(first);
        tokio::task::spawn_blocking(move || source.next().unwrap_err()).await.unwrap();
    });
}

#[test]
fn what_was_sent_before_a_link_is_closed_arrives_and_nothing_is_reported() {
    run(async {
        let mut leader = Server::leading(1, &Ensemble::of(1)).await;
        let mut visitor = leader.visitor().await;
        let link = leader.linked().await;
        // More than the socket takes, and input that nobody will read.
        visitor.write_all(&encoded([Outgoing::Ack(Zxid(1))])).await.unwrap();
        leader.send(link, (1..=50).map(|zxid| proposal(zxid, 500_000)));
        leader.port.close(link, ENOUGH);
        let mut bytes = Vec::new();
        for zxid in 1..=50 {
            assert_eq!(
                read_packet(&mut visitor, &mut bytes).await,
                format!("PROPOSAL {zxid} 500000")
            );
        }
        assert_eq!(visitor.read_buf(&mut bytes).await.unwrap(), 0);
        drop(visitor);
        leader.port.end().await;
        assert_eq!(leader.rest(), []);
    });
}

#[test]
fn who_waits_for_a_link_to_get_rid_of_its_bytes_is_called_once() {
    run(async {
        let mut leader = Server::leading(1, &Ensemble::of(1)).await;
        let mut visitor = leader.visitor().await;
        let link = leader.linked().await;
        leader.send(link, (1..=50).map(|zxid| proposal(zxid, 500_000)));
        assert!(leader.port.pending_bytes(link) > 1_000_000, "the system took it all");
        let calls = Rc::new(Cell::new(0));
        let (noted, port) = (Rc::clone(&calls), leader.port.clone());
        leader.port.when_below(link, 1_000_000, move || {
            assert!(port.pending_bytes(link) <= 1_000_000);
            // It may well want to send at once.
            port.send(link, &proposal(51, 40));
            port.flush();
            noted.set(noted.get() + 1);
        });
        tokio::task::yield_now().await;
        assert_eq!(calls.get(), 0);
        let mut bytes = Vec::new();
        while read_packet(&mut visitor, &mut bytes).await != "PROPOSAL 51 40" {}
        assert_eq!(calls.get(), 1);
        // With nothing to wait for it is called soon.
        let (told, called) = tokio::sync::oneshot::channel();
        leader.port.when_below(link, 0, move || told.send(()).unwrap());
        called.await.unwrap();
    });
}

#[test]
fn of_several_addresses_the_one_that_answers_is_found() {
    run(async {
        let mut ensemble = Ensemble::of(2);
        let mut leader = Server::leading(2, &ensemble).await;
        let nobody = fresh_ip();
        let two = format!("server.2={nobody}:{PORT}:3888|{}:", leader.ip);
        ensemble.config = ensemble.config.replace(&format!("server.2={}:", leader.ip), &two);
        let mut learner = Server::open(1, &ensemble).await;
        learner.port.dial(Sid(2));
        let (link, origin) = match learner.told().await {
            Told::Linked(link, origin) => (link, origin),
            other => panic!("{other:?}"),
        };
        assert_eq!(origin, Origin::Dialled(Sid(2)));
        assert_eq!(learner.port.peer_addr(link).unwrap().ip(), leader.ip);
        leader.linked().await;
    });
}

/// A voter that needs server 2 says where it is; our own configuration does not name it.
#[test]
fn a_leader_that_was_only_heard_of_is_called_where_it_is_said_to_be() {
    run(async {
        let all = Ensemble::of(3);
        let mut leader = Server::leading(2, &all).await;
        let ours: Vec<&str> =
            all.config.lines().filter(|line| !line.starts_with("server.2=")).collect();
        let ensemble = Ensemble { ips: all.ips.clone(), config: ours.join("\n") };
        let mut learner = Server::open(1, &ensemble).await;
        learner.port.dial(Sid(2));
        assert_eq!(learner.told().await, Told::DialFailed(Sid(2)), "nobody has said where it is");

        let standing = election::Standing {
            role: Role::Participant,
            last_logged: Zxid::ZERO,
            current_epoch: 0,
        };
        let rules = election::Settings { reconfig_enabled: true, ..Default::default() };
        let mut electing = Election::new(Sid(1), ensemble.membership(), standing, rules);
        electing.look(0, standing, 0);
        let proposed = format!("{}version=5", all.config);
        let vote = Vote { leader: Sid(2), zxid: Zxid(9), peer_epoch: 1, election_epoch: 1 };
        let configs = Configs { in_force: "".into(), proposed: Some(proposed.into()) };
        let told = vote.notification(PeerState::Looking, &configs);
        electing.notification(10_000, Sid(3), &told);
        learner.port.reconfigure(electing.membership());
        learner.port.dial(Sid(2));
        learner.linked().await;
        leader.linked().await;
    });
}

#[test]
fn a_call_that_comes_to_nothing_is_reported_and_delays_no_other() {
    run(async {
        let mut ensemble = Ensemble::of(3);
        ensemble.config += &format!("server.4=oxkeeper.invalid:{PORT}:3888\n");
        let mut leader = Server::leading(2, &ensemble).await;
        let mut learner = Server::open(1, &ensemble).await;
        for sid in [3, 7] {
            // Nobody listens, and nobody knows of it.
            learner.port.dial(Sid(sid));
            assert_eq!(learner.told().await, Told::DialFailed(Sid(sid)));
        }
        // The name may take the resolver a long time. Another call takes its place.
        learner.port.dial(Sid(4));
        tokio::task::yield_now().await;
        learner.port.dial(Sid(2));
        learner.linked().await;
        leader.linked().await;
        assert_eq!(learner.rest(), []);
    });
}

#[test]
fn a_call_takes_no_longer_than_it_may() {
    run(async {
        let mut ensemble = Ensemble::of(1);
        ensemble.config += &format!("server.2=oxkeeper.invalid:{PORT}:3888\n");
        let mut settings = Settings::new(Sid(1));
        settings.connect_timeout = Duration::from_millis(1);
        let mut learner = Server::open_with(settings, &ensemble).await;
        learner.port.dial(Sid(2));
        assert_eq!(learner.told().await, Told::DialFailed(Sid(2)));
    });
}

#[test]
fn a_call_of_an_older_role_is_given_up() {
    run(async {
        let ensemble = Ensemble::of(2);
        let _leader = Server::leading(2, &ensemble).await;
        let mut other = Server::open(1, &ensemble).await;
        other.port.set_state(State::Following(Sid(2)));
        other.port.dial(Sid(2));
        // It may be connected by now, which nobody was told: a leader would take it for a learner.
        other.port.set_state(State::Leading);
        let _visitor = other.visitor().await;
        match other.told().await {
            Told::Linked(_, Origin::Accepted) => {}
            told => panic!("{told:?}"),
        }
        assert_eq!(other.rest(), []);
    });
}

#[test]
fn it_moves_with_the_configuration_and_links_stay() {
    run(async {
        let ensemble = Ensemble::of(1);
        let mut leader = Server::leading(1, &ensemble).await;
        let mut visitor = leader.visitor().await;
        let link = leader.linked().await;
        let (old, new) = (leader.ip, fresh_ip());
        let moved = ensemble.config.replace(&old.to_string(), &new.to_string());
        leader.port.reconfigure(&membership(&moved));
        while TcpStream::connect((new, PORT)).await.is_err() {
            tokio::task::yield_now().await;
        }
        assert!(TcpStream::connect((old, PORT)).await.is_err());
        leader.send(link, [proposal(1, 40)]);
        assert_eq!(read_packet(&mut visitor, &mut Vec::new()).await, "PROPOSAL 1 40");
    });
}

#[test]
fn on_all_addresses_means_all() {
    run(async {
        // A port that is free on every interface; the name in the configuration is not asked.
        let port = TcpListener::bind("0.0.0.0:0").unwrap().local_addr().unwrap().port();
        let config = membership(&format!("server.1=oxkeeper.invalid:{port}:3888"));
        let settings = Settings { listen_on_all_ips: true, ..Settings::new(Sid(1)) };
        let quorum_port = QuorumPort::open(settings, &config).await.unwrap();
        for ip in [fresh_ip(), fresh_ip()] {
            TcpStream::connect((ip, port)).await.unwrap();
        }
        if std::net::TcpListener::bind("[::1]:0").is_ok() {
            TcpStream::connect(("::1", port)).await.unwrap();
        }
        quorum_port.end().await;
        assert!(TcpStream::connect((fresh_ip(), port)).await.is_err());
    });
}

#[test]
fn a_port_that_cannot_be_had_or_is_nobodys_is_an_error() {
    run(async {
        let ensemble = Ensemble::of(1);
        let _blocker = TcpListener::bind((ensemble.ips[0], PORT)).unwrap();
        let once = Settings { bind_attempts: 1, ..Settings::new(Sid(1)) };
        let error = QuorumPort::open(once.clone(), &ensemble.membership()).await.unwrap_err();
        assert_eq!(error.code, ExitCode::UnableToBindQuorumPort);
        assert!(error.message.contains("quorum port"), "{error}");
        let stranger = Settings { my_sid: Sid(2), ..once };
        let error = QuorumPort::open(stranger, &ensemble.membership()).await.unwrap_err();
        assert!(error.message.contains("server.2"), "{error}");
    });
}
