//! Who comes before it is known whether we lead: it is let in when we do, and sent away when we do
//! not or take too long.

use oxkeeper_proto::{Sid, Zxid};
use oxkeeper_server::quorum_port::Origin;
use oxkeeper_zab::{Outgoing, State};
use tokio::io::AsyncWriteExt;

use crate::bench::{Ensemble, Server, Told, encoded, is_cut, run};

#[test]
fn they_wait_until_leading_begins_and_lose_nothing_that_they_said() {
    run(async {
        let mut server = Server::open(1, &Ensemble::of(1)).await;
        server.port.set_state(State::Looking);
        let mut visitors = Vec::new();
        for zxid in 1..=3 {
            let mut visitor = server.visitor().await;
            visitor.write_all(&encoded([Outgoing::Ack(Zxid(zxid))])).await.unwrap();
            visitors.push(visitor);
        }
        tokio::task::yield_now().await;
        assert_eq!(server.rest(), []);
        server.port.set_state(State::Leading);
        let mut said = Vec::new();
        while said.len() < 3 {
            match server.told().await {
                Told::Linked(_, origin) => assert_eq!(origin, Origin::Accepted),
                Told::Packet(_, words) => said.push(words),
                other => panic!("{other:?}"),
            }
        }
        said.sort();
        assert_eq!(said, ["ACK 1", "ACK 2", "ACK 3"]);
    });
}

#[test]
fn they_are_sent_away_when_we_follow() {
    run(async {
        let mut server = Server::open(1, &Ensemble::of(1)).await;
        let mut early = server.visitor().await;
        tokio::task::yield_now().await;
        server.port.set_state(State::Following(Sid(2)));
        is_cut(&mut early).await;
        is_cut(&mut server.visitor().await).await;
        assert_eq!(server.rest(), []);
    });
}

#[test]
fn they_are_sent_away_in_time() {
    run(async {
        let mut server = Server::open(1, &Ensemble::of(1)).await;
        let mut visitor = server.visitor().await;
        is_cut(&mut visitor).await;
        assert_eq!(server.rest(), []);
    });
}

#[test]
fn there_is_room_for_a_hundred_and_the_first_has_to_go() {
    run(async {
        let mut server = Server::open(1, &Ensemble::of(1)).await;
        let mut first = server.visitor().await;
        let mut others = Vec::new();
        for _ in 0..100 {
            others.push(server.visitor().await);
        }
        is_cut(&mut first).await;
        server.port.set_state(State::Leading);
        server.linked().await;
    });
}
