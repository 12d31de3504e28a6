//! Peers that are none, and peers gone mad: what they cost is their own connection.

use std::io::Write;
use std::sync::{Arc, Mutex};

use oxkeeper_proto::{Sid, Zxid};
use oxkeeper_server::quorum_port::Settings;
use oxkeeper_zab::Outgoing;
use tokio::io::AsyncWriteExt;

use crate::bench::{Ensemble, Server, Told, encoded, is_cut, proposal, run};

/// What is logged on this thread.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn begin() -> (Log, tracing::subscriber::DefaultGuard) {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        (log, tracing::subscriber::set_default(subscriber))
    }

    fn lines(&self) -> Vec<String> {
        let text = String::from_utf8(self.0.lock().unwrap().clone()).unwrap();
        text.lines().map(str::to_owned).collect()
    }
}

/// A PROPOSAL that announces so many bytes.
fn announcing(len: i32) -> Vec<u8> {
    [&2_i32.to_be_bytes()[..], &1_i64.to_be_bytes(), &len.to_be_bytes(), &[0; 100]].concat()
}

#[test]
fn bytes_that_are_no_packet_end_their_link_with_one_line() {
    let nonsense = [
        b"GET / HTTP/1.1\r\nHost: zoo.example.org\r\n\r\n".to_vec(),
        announcing(i32::MAX),
        announcing(-2),
        // A stranger's first packet is a small one.
        announcing(5000),
        [encoded([Outgoing::Ack(Zxid(5))]), announcing(1 << 30)].concat(),
    ];
    for bytes in nonsense {
        run(async {
            let (log, _guard) = Log::begin();
            let mut leader = Server::leading(1, &Ensemble::of(1)).await;
            let mut good = leader.visitor().await;
            let sane = leader.linked().await;
            let mut bad = leader.visitor().await;
            let mad = leader.linked().await;
            bad.write_all(&bytes).await.unwrap();
            let mut told = leader.told().await;
            if let Told::Packet(_, words) = &told {
                assert_eq!(words, "ACK 5", "what was right before it counts");
                told = leader.told().await;
            }
            assert_eq!(told, Told::Unlinked(mad));
            is_cut(&mut bad).await;
            let lines = log.lines();
            assert_eq!(lines.len(), 1, "{lines:?}");
            let from = bad.local_addr().unwrap().to_string();
            assert!(lines[0].contains(&from) && lines[0].contains("bad "), "{lines:?}");
            // Its neighbour has not noticed.
            good.write_all(&encoded([Outgoing::Ack(Zxid(6))])).await.unwrap();
            assert_eq!(leader.told().await, Told::Packet(sane, "ACK 6".to_owned()));
        });
    }
}

#[test]
fn who_does_not_read_is_given_up_when_too_much_waits_for_it() {
    run(async {
        let (log, _guard) = Log::begin();
        let settings = Settings { pending_bytes_max: 4 << 20, ..Settings::new(Sid(1)) };
        let mut leader = Server::open_with(settings, &Ensemble::of(1)).await;
        leader.port.set_state(oxkeeper_zab::State::Leading);
        let visitor = leader.visitor().await;
        let link = leader.linked().await;
        let mut most = 0;
        let mut zxid = 0;
        while leader.rest().is_empty() {
            zxid += 1;
            leader.send(link, [proposal(zxid, 500_000)]);
            most = most.max(leader.port.pending_bytes(link));
            tokio::task::yield_now().await;
        }
        assert!(most < 6 << 20, "{most} bytes were kept");
        let lines = log.lines();
        assert!(lines.len() == 1 && lines[0].contains("unread"), "{lines:?}");
        drop(visitor);
    });
}

#[test]
fn the_silent_are_bounded_and_the_oldest_has_to_go() {
    run(async {
        let mut leader = Server::leading(1, &Ensemble::of(1)).await;
        let mut member = leader.visitor().await;
        let known = leader.linked().await;
        member.write_all(&encoded([Outgoing::Ack(Zxid(1))])).await.unwrap();
        assert_eq!(leader.packet().await, "ACK 1");
        let mut silent = Vec::new();
        for _ in 0..201 {
            silent.push(leader.visitor().await);
        }
        let mut links = Vec::new();
        let gone = loop {
            match leader.told().await {
                Told::Linked(link, _) => links.push(link),
                Told::Unlinked(link) => break link,
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(gone, links[0]);
        is_cut(&mut silent[0]).await;
        member.write_all(&encoded([Outgoing::Ack(Zxid(2))])).await.unwrap();
        loop {
            match leader.told().await {
                Told::Packet(link, _) => break assert_eq!(link, known),
                Told::Linked(..) => {}
                other => panic!("{other:?}"),
            }
        }
    });
}

#[test]
fn there_are_only_so_many_links() {
    run(async {
        let settings = Settings { links_max: 2, ..Settings::new(Sid(1)) };
        let mut leader = Server::open_with(settings, &Ensemble::of(1)).await;
        leader.port.set_state(oxkeeper_zab::State::Leading);
        let (one, _other) = (leader.visitor().await, leader.visitor().await);
        let first = leader.linked().await;
        leader.linked().await;
        is_cut(&mut leader.visitor().await).await;
        drop(one);
        assert_eq!(leader.told().await, Told::Unlinked(first));
        let _third = leader.visitor().await;
        leader.linked().await;
    });
}
