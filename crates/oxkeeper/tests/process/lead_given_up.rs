//! What the stop of a leader costs its clients: one reconnect, not two.
//!
//! A client that is sent away while the lead has not changed hands yet goes to a server that loses
//! its leader next, and is sent away there, too.

use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Instant;

use oxkeeper_proto::data::OPEN_ACL_UNSAFE;
use oxkeeper_proto::request::{CreateRequest, SetDataRequest};
use oxkeeper_proto::{ErrorCode, OpCode, Request};

use crate::client::{Client, DEADLINE};
use crate::member_words::{host, mode, wait_for};
use crate::server::{Dir, Server, Setup};

const SIDS: [u8; 3] = [11, 12, 13];

fn start() -> Vec<Server> {
    let mut setup = Setup::new().set("tickTime", 2000).set("initLimit", 10).set("syncLimit", 5);
    for sid in SIDS {
        setup = setup.set(&format!("server.{sid}"), format!("{}:2888:3888", host(sid)));
    }
    let member = |sid: u8| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("myid"), sid.to_string()).unwrap();
        setup.start_in(Dir::New(dir))
    };
    SIDS.into_iter().map(member).collect()
}

/// Writes until told to stop, at the first of `servers` as long as it is there. Returns how many
/// requests were lost with their connection.
fn write(servers: &[SocketAddr], over: &AtomicBool, done: &AtomicUsize) -> usize {
    let mut client = Client::connect(servers[0], 30_000);
    let path = format!("/{}", client.session);
    let create = CreateRequest {
        op: OpCode::CREATE,
        path: path.as_str().into(),
        data: None,
        acl: OPEN_ACL_UNSAFE,
        flags: 0,
        ttl_ms: -1,
    };
    assert_eq!(client.call(OpCode::CREATE, &Request::Create(create)).err, ErrorCode::OK);
    let set = SetDataRequest { path: path.as_str().into(), data: Some(b"again"), version: -1 };
    let set = Request::SetData(set);
    let mut lost = 0;
    while !over.load(Ordering::SeqCst) {
        let mut frame = Vec::new();
        client.encode(OpCode::SET_DATA, &set, &mut frame);
        let answer = client.stream.write_all(&frame).and_then(|()| client.receive());
        if let Ok(answer) = answer {
            assert_eq!(answer.err, ErrorCode::OK);
            done.fetch_add(1, Ordering::SeqCst);
            continue;
        }
        lost += 1;
        let until = Instant::now() + DEADLINE;
        client = servers
            .iter()
            .cycle()
            .find_map(|&addr| {
                assert!(Instant::now() < until, "nobody takes the session");
                Client::try_resume(addr, 30_000, client.session).ok()
            })
            .flatten()
            .expect("the session lives");
    }
    lost
}

#[test]
fn clients_of_a_leader_that_stops_connect_again_once() {
    let mut servers = start();
    let modes: Vec<String> = servers.iter().map(|server| wait_for(|| mode(server))).collect();
    let leader = modes.iter().position(|mode| mode == "leader").expect("one leads");
    let addrs: Vec<SocketAddr> = servers.iter().map(|server| server.addr).collect();
    let (over, done) = (AtomicBool::new(false), AtomicUsize::new(0));
    let progress = || {
        let before = done.load(Ordering::SeqCst);
        wait_for(|| (done.load(Ordering::SeqCst) > before + 200).then_some(()));
    };
    let lost = std::thread::scope(|scope| {
        let mut clients = Vec::new();
        for at in 0..6 {
            let mut mine = addrs.clone();
            mine.rotate_left((leader + at / 4) % SIDS.len());
            let (over, done) = (&over, &done);
            clients.push(scope.spawn(move || write(&mine, over, done)));
        }
        progress();
        let (status, log, _) = servers.remove(leader).terminate();
        assert!(status.success(), "{}", log.join("\n"));
        wait_for(|| servers.iter().any(|s| mode(s).as_deref() == Some("leader")).then_some(()));
        progress();
        over.store(true, Ordering::SeqCst);
        clients.into_iter().map(|client| client.join().unwrap()).collect::<Vec<usize>>()
    });
    assert_eq!(lost, [1; 6], "requests lost by the clients, the first four at the leader");
}
