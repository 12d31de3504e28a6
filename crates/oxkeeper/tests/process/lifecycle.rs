//! Start, stop, kill, start again: whatever ended a server, what it had acknowledged is there, and
//! who asked it to stop waits no longer than its clients need to hear their answers.

use std::collections::BTreeSet;
use std::io::Write;

use oxkeeper_proto::{ErrorCode, OpCode};
use rustix::process::Signal;

use crate::client::{Client, create};
use crate::server::Setup;

#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    let setup = Setup::new().set("snapCount", 50);
    let mut dir = None;
    let mut expected: BTreeSet<String> = BTreeSet::new();
    let mut session = None;
    // Several rounds: some end behind a snapshot, some in the middle of one.
    for round in 0..4 {
        let server = match dir.take() {
            None => setup.start(),
            Some(dir) => setup.start_in(dir),
        };
        let mut client = match session {
            None => Client::connect(server.addr, 30_000),
            Some(id) => Client::resume(server.addr, 30_000, id).expect("the session lives on"),
        };
        session = Some(client.session);
        if round == 0 {
            assert_eq!(client.create("/kept", b"").err, ErrorCode::OK);
            assert_eq!(client.create_ephemeral("/owned").err, ErrorCode::OK);
        }
        let found: BTreeSet<String> = client.children("/kept").into_iter().collect();
        assert!(found.is_superset(&expected), "round {round}: {found:?}");
        assert_eq!(client.get("/owned").unwrap(), b"");
        let mut out = Vec::new();
        for n in 0..150 {
            let path = format!("/kept/{round}-{n:03}");
            client.encode(OpCode::CREATE, &create(&path, b"data", 0), &mut out);
        }
        client.stream.write_all(&out).unwrap();
        // The kill comes while the rest is under way.
        for n in 0..100 {
            assert_eq!(client.receive().unwrap().err, ErrorCode::OK);
            expected.insert(format!("{round}-{n:03}"));
        }
        dir = Some(server.kill());
    }
    let server = setup.start_in(dir.unwrap());
    let mut client = Client::resume(server.addr, 30_000, session.unwrap()).unwrap();
    let found: BTreeSet<String> = client.children("/kept").into_iter().collect();
    assert!(found.is_superset(&expected));
    assert_eq!(client.get("/kept/2-042").unwrap(), b"data");
    client.close();
    let mut other = Client::connect(server.addr, 30_000);
    assert_eq!(other.get("/owned"), Err(ErrorCode::NO_NODE));
}

#[test]
fn a_stop_answers_what_was_taken_and_loses_nothing() {
    for (signal, threads) in [(Signal::TERM, 1), (Signal::INT, 3)] {
        let setup = Setup::new().set("oxkeeper.ioThreads", threads);
        let server = setup.start();
        let mut client = Client::connect(server.addr, 30_000);
        assert_eq!(client.create("/c", b"").err, ErrorCode::OK);
        let mut out = Vec::new();
        let first = client.next_xid();
        // Long names make long replies: more than lies in the buffers of a socket.
        let name = "n".repeat(500);
        for n in 0..6_000 {
            client.encode(OpCode::CREATE, &create(&format!("/c/{n:04}{name}"), b"", 0), &mut out);
        }
        let mut sending = client.stream.try_clone().unwrap();
        // It ends with an error once the server has hung up.
        let sender = std::thread::spawn(move || sending.write_all(&out).is_ok());
        assert_eq!(client.receive().unwrap().err, ErrorCode::OK);
        server.signal(signal);
        let mut answered = 1;
        while let Ok(reply) = client.receive() {
            assert_eq!((reply.xid, reply.err), (first + answered, ErrorCode::OK));
            answered += 1;
        }
        let _ = client.stream.shutdown(std::net::Shutdown::Both);
        sender.join().unwrap();
        let (status, log, dir) = server.wait();
        assert_eq!(status.code(), Some(0), "{log:?}");
        assert!(log.last().unwrap().contains("stopped"), "{log:?}");

        // Exactly what was answered was done: no write was taken without its answer.
        let server = setup.start_in(dir);
        let mut client = Client::connect(server.addr, 30_000);
        assert_eq!(client.children("/c").len(), answered as usize);
    }
}

/// What waits in the buffers of a socket when the server stops reaches a client that reads late,
/// although it went on sending.
#[test]
fn a_stop_leaves_late_readers_their_answers() {
    let mut server = Setup::new().start();
    let mut late = Client::connect(server.addr, 30_000);
    let mut other = Client::connect(server.addr, 30_000);
    let name = "n".repeat(500);
    let mut out = Vec::new();
    let first = late.next_xid();
    for n in 0..700 {
        late.encode(OpCode::CREATE, &create(&format!("/{n:03}{name}"), b"", 0), &mut out);
    }
    late.stream.write_all(&out).unwrap();
    // One more than what every tree has.
    while other.children("/").len() < 701 {}
    server.signal(Signal::TERM);
    server.wait_for_log(&["stopping"]);
    // These come too late, and lie unread when the server closes.
    let _ = late.stream.write_all(&out);
    drop(other);
    let (status, log, _) = server.wait();
    assert_eq!(status.code(), Some(0), "{log:?}");
    for n in 0..700 {
        let reply = late.receive().unwrap_or_else(|error| panic!("{n} of 700: {error}"));
        assert_eq!((reply.xid, reply.err), (first + n, ErrorCode::OK));
    }
    assert!(late.receive().is_err());
}

#[test]
fn a_stop_does_not_wait_for_a_client_that_reads_nothing() {
    let server = Setup::new().set("request_throttler.shutdownTimeout", 300).start();
    let mut silent = Client::connect(server.addr, 30_000);
    let big = vec![7; 900_000];
    assert_eq!(silent.create("/big", &big).err, ErrorCode::OK);
    for _ in 0..20 {
        let read = crate::client::read("/big", false);
        silent.send(OpCode::GET_DATA, &oxkeeper_proto::Request::GetData(read));
    }
    let mut other = Client::connect(server.addr, 30_000);
    assert_eq!(other.ping().err, ErrorCode::OK);
    let (status, log, _) = server.terminate();
    assert_eq!(status.code(), Some(0), "{log:?}");
}

/// A second signal while stopping changes nothing for the worse.
#[test]
fn stopping_twice_is_stopping_once() {
    let server = Setup::new().start();
    let client = Client::connect(server.addr, 30_000);
    server.signal(Signal::TERM);
    server.signal(Signal::TERM);
    let (status, log, _) = server.wait();
    assert_eq!(status.code(), Some(0), "{log:?}");
    drop(client);
}

#[test]
fn json_logs_are_json_to_the_last_line() {
    let setup = Setup::new().argument("--log-format").argument("json");
    let mut server = setup.start();
    let mut stream = crate::client::dial(server.addr);
    stream.write_all(&[0x7f, 0, 0, 0]).unwrap();
    server.wait_for_log(&["jute.maxbuffer"]);
    let addr = server.addr;
    let busy = Setup::new()
        .argument("--log-format")
        .argument("json")
        .argument("--set")
        .argument(&format!("clientPort={}", addr.port()));
    let (failed, mut log) = busy.fails();
    assert_eq!(failed.code(), Some(1));
    let last: serde_json::Value = serde_json::from_str(log.last().unwrap()).unwrap();
    assert_eq!((last["level"].as_str(), last["exit_code"].as_u64()), (Some("ERROR"), Some(1)));
    let (_, more, _) = server.terminate();
    log.extend(more);
    for line in log {
        let event: serde_json::Value =
            serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        for field in ["timestamp", "level", "message"] {
            assert!(event[field].is_string(), "{field} in {line}");
        }
    }
}
