//! A disk that takes no more. What is promised must be on it, so a server that cannot write ends; a
//! snapshot promises nothing, so one that cannot be written costs nothing but a line of the log.

use oxkeeper_proto::{ErrorCode, OpCode};

use crate::client::{Client, create};
use crate::server::Setup;

/// The log cannot grow: the server says so and ends before it answers what it could not write;
/// after space was made everything acknowledged is there.
#[test]
fn a_full_disk_ends_the_server_before_it_promises_anything() {
    let full = Setup::new()
        .set("preAllocSize", 64)
        .set("snapCount", 1_000_000)
        // In units of 512 bytes: half a megabyte a file.
        .shell("ulimit -f 1024");
    let server = full.start();
    let mut client = Client::connect(server.addr, 30_000);
    let data = vec![b'd'; 10_000];
    let mut acknowledged = 0;
    loop {
        let path = format!("/n{acknowledged:04}");
        client.send(OpCode::CREATE, &create(&path, &data, 0));
        match client.receive() {
            Ok(reply) => assert_eq!(reply.err, ErrorCode::OK),
            Err(_) => break,
        }
        acknowledged += 1;
        assert!(acknowledged < 100, "more than fits was acknowledged");
    }
    assert!(acknowledged > 10, "it worked until the disk was full: {acknowledged}");
    let (status, log, dir) = server.wait();
    assert_eq!(status.code(), Some(10), "{log:?}");
    let last = log.last().unwrap();
    assert!(last.contains("oxkeeper: stopping") && last.contains("log."), "{last}");

    let roomy = Setup::new().set("preAllocSize", 64);
    let server = roomy.start_in(dir);
    let mut client = Client::resume(server.addr, 30_000, client.session).expect("its session");
    for n in 0..acknowledged {
        assert_eq!(client.get(&format!("/n{n:04}")).unwrap(), data, "{n} of {acknowledged}");
    }
    assert_eq!(client.create("/after", b"").err, ErrorCode::OK);
}

/// A snapshot that cannot be written is said, endangers nothing, and is tried again.
#[test]
fn a_snapshot_that_does_not_fit_leaves_the_server_running() {
    let setup = Setup::new()
        .set("preAllocSize", 16)
        .set("snapCount", 20)
        .set("txnLogSizeLimitInKb", 200)
        .shell("ulimit -f 700");
    let mut server = setup.start();
    let mut client = Client::connect(server.addr, 30_000);
    let data = vec![b'd'; 4_000];
    for n in 0..150 {
        assert_eq!(client.create(&format!("/n{n:03}"), &data).err, ErrorCode::OK);
    }
    server.wait_for_log(&["snapshot", "could not be written"]);
    assert_eq!(client.create("/still-there", b"").err, ErrorCode::OK);
    let dir = server.kill();
    let server = Setup::new().start_in(dir);
    let mut client = Client::resume(server.addr, 30_000, client.session).expect("its session");
    for n in 0..150 {
        assert_eq!(client.get(&format!("/n{n:03}")).unwrap(), data);
    }
    assert_eq!(client.get("/still-there").unwrap(), b"");
}
