//! Peers that are none: scanners, clients at the wrong port, liars, and members gone mad. What they
//! cost is their own connection; elections come out as if they were not there.

use std::borrow::Cow;
use std::net::Ipv4Addr;
use std::sync::Arc;

use oxkeeper_proto::ids::{Sid, Zxid};
use oxkeeper_proto::notification::{Hello, HelloForm, Notification, PeerState, split_message};
use oxkeeper_zab::links::UNPROVEN_MAX;
use oxkeeper_zab::quorum::{Membership, Role};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::ensemble::{Ensemble, PORT, membership, patient, run, settings, standing};

async fn connect(ip: Ipv4Addr, say: &[u8]) -> TcpStream {
    let mut stream = TcpStream::connect((ip, PORT)).await.unwrap();
    stream.write_all(say).await.unwrap();
    stream
}

fn hello(sid: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    Hello { form: HelloForm::V1, sid: Sid(sid), addresses: Vec::new() }.encode(&mut bytes);
    bytes
}

fn looking(sid: i64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let config = Some(Cow::Borrowed("version=0"));
    let (state, leader, zxid) = (PeerState::Looking, Sid(sid), Zxid(9));
    Notification {
        state,
        leader,
        zxid,
        election_epoch: 1,
        peer_epoch: 1,
        version: 2,
        config,
        proposed: None,
    }
    .encode_message(&mut bytes);
    bytes
}

/// Awaits that the other side ends the connection, whichever way, without having said anything.
async fn is_cut(mut stream: TcpStream, what: &str) {
    let mut byte = [0];
    match stream.read(&mut byte).await {
        Ok(0) | Err(_) => {}
        Ok(_) => panic!("{what} is answered"),
    }
}

/// The next notification on a stream.
async fn hear(stream: &mut TcpStream) -> Notification<'static> {
    let mut bytes = Vec::new();
    loop {
        if let Some((payload, _)) = split_message(&bytes).unwrap().whole() {
            return Notification::decode(payload).unwrap().into_owned();
        }
        assert_ne!(stream.read_buf(&mut bytes).await.unwrap(), 0, "the connection is cut");
    }
}

#[test]
fn garbage_silence_and_lies_disturb_no_election() {
    run(async {
        let mut ensemble = Ensemble::of(3);
        ensemble.open(1..=3).await;
        let ips: Vec<Ipv4Addr> = ensemble.ips.values().copied().collect();
        let mut cut = Vec::new();
        let mut kept = Vec::new();
        for &ip in &ips {
            cut.push(("http", connect(ip, b"GET / HTTP/1.1\r\nHost: zoo\r\n\r\n").await));
            cut.push(("tls", connect(ip, &[0x96, 3, 1, 2, 0, 1, 0, 1, 0xfc]).await));
            cut.push(("an endless hello", connect(ip, &endless_hello()).await));
            let oversized = [hello(9), i32::MAX.to_be_bytes().to_vec()].concat();
            cut.push(("an oversized message", connect(ip, &oversized).await));
            let negative = [hello(10), (-1_i32).to_be_bytes().to_vec()].concat();
            cut.push(("a negative length", connect(ip, &negative).await));
            // Half of something, and nothing after it.
            kept.push(connect(ip, b"").await);
            kept.push(connect(ip, &hello(11)[..5]).await);
            let half = [hello(12), 400_000_i32.to_be_bytes().to_vec(), vec![0; 1000]].concat();
            kept.push(connect(ip, &half).await);
        }
        (1..=3).for_each(|sid| ensemble.look(sid, standing(1, 5)));
        ensemble.settles_on(3).await;
        for (what, stream) in cut {
            is_cut(stream, what).await;
        }
        (1..=3).for_each(|sid| ensemble.look(sid, standing(2, 6)));
        ensemble.settles_on(3).await;
        drop(kept);
    });
}

/// A hello that announces more addresses than are accepted.
fn endless_hello() -> Vec<u8> {
    let mut bytes = (-65536_i64).to_be_bytes().to_vec();
    bytes.extend(9_i64.to_be_bytes());
    bytes.extend(i32::MAX.to_be_bytes());
    bytes
}

#[test]
fn a_message_without_sense_costs_the_message_alone() {
    run(async {
        let mut ensemble = Ensemble::of(1);
        ensemble.open([1]).await;
        ensemble.look(1, standing(1, 5));
        ensemble.settles_on(1).await;
        let senseless = [3_i32.to_be_bytes().to_vec(), vec![1, 2, 3]].concat();
        let said = [hello(9), senseless, looking(9)].concat();
        let mut stranger = connect(ensemble.ips[&1], &said).await;
        let told = hear(&mut stranger).await;
        assert_eq!((told.state, told.leader), (PeerState::Leading, Sid(1)));
        assert_eq!(told.config.unwrap().lines().count(), 2, "one server and the version");
    });
}

#[test]
fn a_reconfiguration_on_its_way_goes_along_with_votes() {
    run(async {
        let mut ensemble = Ensemble::of(1);
        ensemble.open([1]).await;
        // The second one is nowhere, and needed: the first goes on looking.
        let next = format!("{}server.2=127.0.0.1:2888:{PORT}\nversion=5", ensemble.config);
        let next = Arc::clone(membership(&next).current());
        let current = Arc::clone(membership(&ensemble.config).current());
        let both = Membership::new(current, Some(Arc::clone(&next)));
        ensemble.handle(1).reconfigure(both, Role::Participant);
        ensemble.look(1, standing(1, 5));
        let mut stranger = connect(ensemble.ips[&1], &[hello(9), looking(9)].concat()).await;
        let told = hear(&mut stranger).await;
        assert_eq!(told.proposed.as_deref(), Some(next.to_string().as_str()));
        assert_ne!(told.config, told.proposed);
    });
}

#[test]
fn who_says_nothing_is_cut_in_time_and_when_there_are_too_many() {
    run(async {
        let mut ensemble = Ensemble::of(1);
        let config = ensemble.config.clone();
        let mut hasty = settings(1);
        hasty.links.greeting_timeout_ms = 200;
        ensemble.open_with(hasty, patient(), &config).await;
        is_cut(connect(ensemble.ips[&1], b"").await, "silence").await;
        ensemble.kill(1).await;

        let mut calm = settings(1);
        calm.links.greeting_timeout_ms = u64::MAX;
        ensemble.open_with(calm, patient(), &config).await;
        let mut silent = Vec::new();
        for _ in 0..UNPROVEN_MAX + 5 {
            silent.push(connect(ensemble.ips[&1], b"").await);
        }
        for oldest in silent.drain(..5) {
            is_cut(oldest, "silence").await;
        }
        // Whoever has something to say is heard all the same.
        let mut member = connect(ensemble.ips[&1], &[hello(9), looking(9)].concat()).await;
        ensemble.look(1, standing(1, 5));
        assert_eq!(hear(&mut member).await.leader, Sid(1));
        drop(silent);
    });
}

#[test]
fn a_voter_that_talks_nonsense_loses_its_connection_and_its_say() {
    run(async {
        let mut ensemble = Ensemble::of(3);
        ensemble.open(1..=2).await;
        let oversized = [hello(3), (1_i32 << 20).to_be_bytes().to_vec()].concat();
        for sid in 1..=2 {
            let nonsense = connect(ensemble.ips[&sid], &oversized).await;
            is_cut(nonsense, "an oversized message").await;
        }
        // Nobody listens where server 3 should be: the others need not wait for it.
        ensemble.look(1, standing(1, 5));
        ensemble.look(2, standing(1, 5));
        ensemble.settles_on(2).await;
    });
}
