//! Snapshots in the middle of the packets, in both directions: each byte in its place, the packets
//! behind it whole, and an end on either side noticed on the other.

use std::io;

use bytes::Bytes;
use oxkeeper_proto::Zxid;
use oxkeeper_server::snapshot_link::{SnapshotSink, SnapshotSource};
use oxkeeper_zab::Outgoing;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::spawn_blocking;

use crate::bench::{ENOUGH, Ensemble, Server, Told, encoded, is_cut, pair, proposal, run};

/// Far more than the channel, the sockets and the buffers between hold.
const SNAPSHOT_BYTES: usize = 40 << 20;

/// A byte of the snapshot, by its place.
fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

/// Sends a snapshot in chunks of all sizes, as the history thread does.
fn stream(sink: &SnapshotSink, len: usize) {
    let mut at = 0;
    let mut size = 1;
    while at < len {
        let end = (at + size).min(len);
        let chunk: Bytes = (at..end).map(byte).collect();
        if sink.blocking_send(Ok(chunk)).is_err() {
            return;
        }
        at = end;
        size = (size * 7) % 300_000 + 1;
    }
}

/// Takes a snapshot of this length in and gives back the rest, as the log thread does.
fn take_in(mut source: Box<dyn SnapshotSource>, len: usize) -> io::Result<()> {
    let mut at = 0;
    loop {
        let chunk = source.next()?.expect("the link has no end in order");
        assert!(!chunk.is_empty());
        let ours = chunk.len().min(len - at);
        for (index, &found) in chunk[..ours].iter().enumerate() {
            assert_eq!(found, byte(at + index), "byte {}", at + index);
        }
        at += ours;
        if at == len {
            source.give_back(chunk.slice(ours..));
            return Ok(());
        }
    }
}

#[test]
fn a_snapshot_keeps_its_place_between_the_packets() {
    run(async {
        let (leader, theirs, mut learner, ours) = pair().await;
        leader.send(theirs, [Outgoing::Commit(Zxid(1)), Outgoing::Snap(Zxid(9))]);
        let sink = leader.port.send_snapshot(theirs);
        leader.send(theirs, [proposal(10, 100)]);
        let streaming = spawn_blocking(move || stream(&sink, SNAPSHOT_BYTES));
        assert_eq!(learner.packet().await, "COMMIT 1");
        assert_eq!(learner.packet().await, "SNAP 9");
        let source = learner.port.receive_snapshot(ours);
        let taking = spawn_blocking(move || take_in(source, SNAPSHOT_BYTES));
        // Much is proposed while it goes on.
        for zxid in 11..=500 {
            leader.send(theirs, [proposal(zxid, 1000)]);
            tokio::task::yield_now().await;
        }
        streaming.await.unwrap();
        taking.await.unwrap().unwrap();
        assert_eq!(learner.packet().await, "PROPOSAL 10 100");
        for zxid in 11..=500 {
            assert_eq!(learner.packet().await, format!("PROPOSAL {zxid} 1000"));
        }
        assert!(leader.progress(theirs) > 100 && learner.progress(ours) > 50);
        assert_eq!(leader.port.pending_bytes(theirs), 0);
    });
}

#[test]
fn what_came_with_the_snapshot_is_cut_into_packets_again() {
    run(async {
        let mut learner = Server::leading(1, &Ensemble::of(1)).await;
        for len in [0, 1, 100, 100_000] {
            let mut leader = learner.visitor().await;
            let link = learner.linked().await;
            // All at once: nobody can tell from the pieces where the snapshot ends.
            let mut bytes = encoded([Outgoing::Ack(Zxid(1)), Outgoing::Snap(Zxid(2))]);
            bytes.extend((0..len).map(byte));
            bytes.extend(encoded([proposal(3, 40), Outgoing::Commit(Zxid(3))]));
            // And a second one.
            bytes.extend(encoded([Outgoing::Snap(Zxid(4))]));
            bytes.extend((0..len).map(byte));
            bytes.extend(encoded([Outgoing::UpToDate]));
            leader.write_all(&bytes).await.unwrap();
            assert_eq!(learner.packet().await, "ACK 1");
            assert_eq!(learner.packet().await, "SNAP 2");
            let source = learner.port.receive_snapshot(link);
            spawn_blocking(move || take_in(source, len)).await.unwrap().unwrap();
            assert_eq!(learner.packet().await, "PROPOSAL 3 40");
            assert_eq!(learner.packet().await, "COMMIT 3");
            assert_eq!(learner.packet().await, "SNAP 4");
            let source = learner.port.receive_snapshot(link);
            spawn_blocking(move || take_in(source, len)).await.unwrap().unwrap();
            assert_eq!(learner.packet().await, "UPTODATE");
            drop(leader);
            assert_eq!(learner.told().await, Told::Unlinked(link));
        }
    });
}

#[test]
fn a_leader_that_goes_away_is_an_error_for_whoever_takes_its_snapshot() {
    run(async {
        let mut learner = Server::leading(1, &Ensemble::of(1)).await;
        let mut leader = learner.visitor().await;
        let link = learner.linked().await;
        leader.write_all(&encoded([Outgoing::Snap(Zxid(2))])).await.unwrap();
        leader.write_all(&[byte(0), byte(1)]).await.unwrap();
        assert_eq!(learner.packet().await, "SNAP 2");
        let source = learner.port.receive_snapshot(link);
        let taking = spawn_blocking(move || take_in(source, 1000));
        drop(leader);
        assert_eq!(learner.told().await, Told::Unlinked(link));
        assert_eq!(taking.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
    });
}

#[test]
fn a_link_that_we_close_is_an_error_for_whoever_takes_its_snapshot() {
    run(async {
        let mut learner = Server::leading(1, &Ensemble::of(1)).await;
        let mut leader = learner.visitor().await;
        let link = learner.linked().await;
        leader.write_all(&encoded([Outgoing::Snap(Zxid(2))])).await.unwrap();
        assert_eq!(learner.packet().await, "SNAP 2");
        let source = learner.port.receive_snapshot(link);
        let taking = spawn_blocking(move || take_in(source, 1000));
        learner.port.close(link, ENOUGH);
        assert_eq!(taking.await.unwrap().unwrap_err().kind(), io::ErrorKind::ConnectionAborted);
        is_cut(&mut leader).await;
        assert_eq!(learner.rest(), []);
    });
}

#[test]
fn a_snapshot_that_nobody_wants_to_its_end_ends_the_link() {
    run(async {
        let mut learner = Server::leading(1, &Ensemble::of(1)).await;
        let mut leader = learner.visitor().await;
        let link = learner.linked().await;
        leader.write_all(&encoded([Outgoing::Snap(Zxid(2))])).await.unwrap();
        assert_eq!(learner.packet().await, "SNAP 2");
        drop(learner.port.receive_snapshot(link));
        assert_eq!(learner.told().await, Told::Unlinked(link));
        is_cut(&mut leader).await;
    });
}

#[test]
fn half_a_snapshot_is_not_followed_by_packets() {
    run(async {
        let mut leader = Server::leading(1, &Ensemble::of(1)).await;
        let mut visitor = leader.visitor().await;
        let link = leader.linked().await;
        leader.send(link, [Outgoing::Snap(Zxid(2))]);
        let sink = leader.port.send_snapshot(link);
        leader.send(link, [Outgoing::UpToDate]);
        sink.send(Ok(Bytes::from_static(b"half"))).await.unwrap();
        sink.send(Err(io::Error::other("the disk is gone"))).await.unwrap();
        assert_eq!(leader.told().await, Told::Unlinked(link));
        let mut received = Vec::new();
        visitor.read_to_end(&mut received).await.unwrap();
        assert_eq!(received, [encoded([Outgoing::Snap(Zxid(2))]), b"half".to_vec()].concat());
    });
}

#[test]
fn a_snapshot_for_a_learner_that_is_gone_or_closed_goes_nowhere() {
    run(async {
        let mut leader = Server::leading(1, &Ensemble::of(1)).await;
        for closed in [false, true] {
            let visitor = leader.visitor().await;
            let link = leader.linked().await;
            let sink = leader.port.send_snapshot(link);
            let streaming = spawn_blocking(move || stream(&sink, usize::MAX));
            if closed {
                leader.port.close(link, ENOUGH);
            }
            drop(visitor);
            streaming.await.unwrap();
            if !closed {
                assert_eq!(leader.told().await, Told::Unlinked(link));
            }
        }
    });
}
