//! Clients that take too much, and machines that give too little: each costs itself its connection
//! or a wait, and nobody else anything.

use std::io::{ErrorKind, Write};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use oxkeeper_proto::{ErrorCode, OpCode, Request};

use crate::client::{Client, DEADLINE, dial, is_closed, read, word};
use crate::server::{Server, Setup};

/// A number from mntr.
fn metric(server: &Server, name: &str) -> i64 {
    let text = word(server.addr, "mntr");
    let line = text.lines().find_map(|line| line.strip_prefix(&format!("zk_{name}\t")));
    line.unwrap_or_else(|| panic!("no {name} in\n{text}")).parse().unwrap()
}

#[test]
fn an_oversized_frame_costs_its_connection_and_is_told_with_peer_size_and_limit() {
    let mut server = Setup::new().set("jute.maxbuffer", 4096).start();
    let mut other = Client::connect(server.addr, 10_000);
    let mut client = Client::connect(server.addr, 10_000);
    client.stream.write_all(&5_000_000i32.to_be_bytes()).unwrap();
    assert!(is_closed(&mut client.stream));
    let peer = client.stream.local_addr().unwrap().to_string();
    let line = server.wait_for_log(&[&peer, "jute.maxbuffer"]);
    assert!(line.contains("5000000") && line.contains("4096"), "{line}");
    let session = format!("{}", client.session);
    assert!(line.contains(&session), "{line}");
    // Before the handshake too.
    let mut stream = dial(server.addr);
    stream.write_all(&[0x7f, 0xff, 0xff, 0xff]).unwrap();
    assert!(is_closed(&mut stream));
    let peer = stream.local_addr().unwrap().to_string();
    server.wait_for_log(&[&peer, "2147483647"]);
    // The session itself is unharmed, and so is everybody else.
    assert!(Client::resume(server.addr, 10_000, client.session).is_some());
    assert_eq!(other.create("/x", &[1; 4000]).err, ErrorCode::OK);
}

#[test]
fn connections_beyond_a_limit_are_closed_at_once_and_the_others_go_on() {
    for key in ["maxClientCnxns", "maxCnxns"] {
        let mut server = Setup::new().set(key, 3).start();
        let mut clients: Vec<Client> =
            (0..3).map(|_| Client::connect(server.addr, 10_000)).collect();
        let mut refused = dial(server.addr);
        assert!(is_closed(&mut refused), "{key}");
        server.wait_for_log(&["too many connections", key, "3"]);
        for client in &mut clients {
            assert_eq!(client.ping().err, ErrorCode::OK);
        }
        // A place becomes free with the connection.
        clients.pop().unwrap().close();
        let rejected = wait_for(|| {
            let mut stream = dial(server.addr);
            stream.write_all(b"mntr").ok()?;
            let mut text = String::new();
            std::io::Read::read_to_string(&mut stream, &mut text).ok()?;
            let line = text.lines().find_map(|l| l.strip_prefix("zk_connection_rejected\t"))?;
            line.parse::<u64>().ok()
        });
        assert!(rejected >= 1, "{key}");
    }
}

/// Asks until there is an answer.
fn wait_for<T>(mut ask: impl FnMut() -> Option<T>) -> T {
    let until = Instant::now() + DEADLINE;
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(Instant::now() < until, "it did not come in time");
        std::thread::yield_now();
    }
}

#[test]
fn a_connection_that_says_nothing_is_closed() {
    let server = Setup::new().set("nio.sessionlessCnxnTimeout", 200).start();
    let mut client = Client::connect(server.addr, 10_000);
    let mut silent = dial(server.addr);
    let mut half = dial(server.addr);
    half.write_all(&[0, 0]).unwrap();
    assert!(is_closed(&mut silent) && is_closed(&mut half));
    assert_eq!(client.ping().err, ErrorCode::OK, "one with a session stays");
    assert_eq!(metric(&server, "sessionless_connections_expired"), 2);
}

/// The server takes no more from a client that does not read, so that what it owes it stays small;
/// others notice nothing; with its session the client loses the connection.
#[test]
fn a_client_that_does_not_read_is_held_back_and_others_go_on() {
    let server = Setup::new()
        .set("tickTime", 100)
        .set("maxSessionTimeout", 20_000)
        .set("oxkeeper.ioThreads", 1)
        .start();
    let mut other = Client::connect(server.addr, 20_000);
    let value = vec![b'v'; 500_000];
    assert_eq!(other.create("/big", &value).err, ErrorCode::OK);
    // Long enough to fill all buffers on a busy machine, too.
    let mut silent = Client::connect(server.addr, 4_000);
    silent.stream.set_nonblocking(true).unwrap();
    let mut request = Vec::new();
    silent.encode(OpCode::GET_DATA, &Request::GetData(read("/big", false)), &mut request);
    // Far more than all buffers between here and there hold: it must stop taking them.
    let (mut asked, mut of_next) = (0usize, 0);
    let until = Instant::now() + DEADLINE;
    let mut since_taken = Instant::now();
    while since_taken.elapsed() < Duration::from_millis(200) {
        match silent.stream.write(&request[of_next..]) {
            Ok(written) => {
                asked += (of_next + written) / request.len();
                of_next = (of_next + written) % request.len();
                since_taken = Instant::now();
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                // Others are served meanwhile, at once.
                let began = Instant::now();
                assert_eq!(other.ping().err, ErrorCode::OK);
                assert!(began.elapsed() < Duration::from_secs(2));
            }
            Err(error) => panic!("after {asked}: {error}"),
        }
        assert!(Instant::now() < until, "it never stopped taking requests: {asked}");
    }
    let memory_mb = resident_mb(&server);
    assert!(asked > 1_000, "the test asks for far more than fits: {asked}");
    assert!(memory_mb < 150, "{memory_mb} MB for {asked} replies of half a megabyte");
    // Nothing is heard of it any more, so its session ends, and with it the connection.
    silent.stream.set_nonblocking(false).unwrap();
    let mut received = 0;
    while let Ok(reply) = silent.receive() {
        assert_eq!(reply.err, ErrorCode::OK);
        received += 1;
        keep_alive(&mut other);
    }
    assert!(received < asked / 2, "{received} of {asked}");
    assert_eq!(other.get("/big").unwrap().len(), value.len());
}

fn keep_alive(client: &mut Client) {
    assert_eq!(client.ping().err, ErrorCode::OK);
}

fn resident_mb(server: &Server) -> u64 {
    let path = format!("/proc/{}/status", server.pid());
    let status = std::fs::read_to_string(path).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.split_whitespace().next().unwrap().parse::<u64>().unwrap() / 1024
}

/// With no descriptors left nobody new is accepted, the rest is served, the processor stays idle;
/// and as soon as some are free the waiting ones get in.
#[test]
fn without_descriptors_accepting_pauses_and_goes_on_later() {
    let mut server = Setup::new()
        .set("tickTime", 100)
        .set("maxSessionTimeout", 10_000)
        .shell("ulimit -n 48")
        .start();
    let mut client = Client::connect(server.addr, 10_000);
    // The session whose end tells that time has passed.
    let mut clock = Client::connect(server.addr, 2_000);
    let mut waiting: Vec<TcpStream> = (0..60).map(|_| dial(server.addr)).collect();
    let line = server.wait_for_log(&["no descriptors left"]);
    assert!(line.contains("48"), "{line}");
    assert_eq!(client.create("/while-short", b"").err, ErrorCode::OK);

    let (began, before) = (Instant::now(), server.cpu_ticks());
    assert!(is_closed(&mut clock.stream), "its session ends");
    let (elapsed, ticks) = (began.elapsed(), server.cpu_ticks() - before);
    let busy = ticks as f64 * 0.01 / elapsed.as_secs_f64();
    assert!(busy < 0.1, "{ticks} ticks of 10 ms in {elapsed:?}");

    // The last one has not been accepted; it is as soon as the others have left.
    let mut last = waiting.pop().unwrap();
    last.write_all(b"ruok").unwrap();
    for stream in waiting {
        stream.shutdown(Shutdown::Both).unwrap();
    }
    let mut answer = String::new();
    std::io::Read::read_to_string(&mut last, &mut answer).unwrap();
    assert_eq!(answer, "imok");
    assert_eq!(client.get("/while-short").unwrap(), b"");
    let told = server.log_so_far().iter().filter(|l| l.contains("no descriptors")).count();
    assert!(told <= 3, "told {told} times");
}
