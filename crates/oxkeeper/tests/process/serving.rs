//! What any server must do for its clients, on one I/O thread and on several.

use oxkeeper_proto::codec::Reader;
use oxkeeper_proto::request::PathKind;
use oxkeeper_proto::response::{EventType, WatcherEvent, xid};
use oxkeeper_proto::{ErrorCode, OpCode, Request};

use crate::client::{Client, create, read};
use crate::server::{Server, Setup};

#[test]
fn one_thread_serves() {
    serves(&Setup::new().set("oxkeeper.ioThreads", 1).start());
}

/// The first of them steps the core, all of them have connections.
#[test]
fn three_threads_serve() {
    serves(&Setup::new().set("oxkeeper.ioThreads", 3).start());
}

/// The first has the core to itself.
#[test]
fn five_threads_serve() {
    serves(&Setup::new().set("oxkeeper.ioThreads", 5).start());
}

fn serves(server: &Server) {
    // More connections than threads, so that every thread has some.
    let mut clients: Vec<Client> = (0..7).map(|_| Client::connect(server.addr, 10_000)).collect();
    assert_eq!(Client::connect(server.addr, 1_000_000).timeout_ms, 40_000, "the longest granted");
    writes_are_seen_in_order(&mut clients);
    events_come_before_what_they_tell_of(&mut clients);
    sessions_move_between_connections(server);
    pipelined_requests_are_answered_in_order(&mut clients[5]);
    ephemerals_end_with_their_session(server, &mut clients[1]);
    clients.into_iter().for_each(Client::close);
}

/// So many watch that their events are sent by more than one thread.
#[test]
fn a_herd_hears_of_every_change_once_and_in_order() {
    const WATCHERS: usize = 300;
    const SETS: usize = 30;
    let server = Setup::new().set("oxkeeper.ioThreads", 1).set("maxClientCnxns", 0).start();
    let mut writer = Client::connect(server.addr, 30_000);
    assert_eq!(writer.create("/herd", b"0").err, ErrorCode::OK);
    let watch = Request::AddWatch(PathKind { path: "/herd".into(), kind: 0 });
    let mut herd: Vec<Client> =
        (0..WATCHERS).map(|_| Client::connect(server.addr, 30_000)).collect();
    for watcher in &mut herd {
        assert_eq!(watcher.call(OpCode::ADD_WATCH, &watch).err, ErrorCode::OK);
    }
    let mut zxids = Vec::new();
    for round in 1..=SETS {
        let data = round.to_string().into_bytes();
        if round % 3 == 0 {
            // Some ask while they are told.
            for watcher in herd.iter_mut().skip(round).step_by(50) {
                watcher.send(OpCode::GET_DATA, &Request::GetData(read("/herd", false)));
            }
        }
        zxids.push(writer.set("/herd", &data).zxid);
    }
    for watcher in &mut herd {
        watcher.send(OpCode::PING, &Request::Ping);
        let mut heard = 0;
        loop {
            let reply = watcher.receive().unwrap();
            match reply.xid {
                xid::NOTIFICATION => {
                    assert_eq!(reply.zxid, zxids[heard]);
                    heard += 1;
                }
                _ if reply.body.is_empty() => break,
                _ => {
                    // Whoever reads a change has heard of it before.
                    let data = Reader::new(&reply.body).buffer().unwrap().unwrap().to_vec();
                    assert_eq!(data, heard.to_string().into_bytes());
                }
            }
        }
        assert_eq!(heard, SETS);
    }
    herd.into_iter().for_each(Client::close);
}

/// One client's write is read by each other one after a sync.
fn writes_are_seen_in_order(clients: &mut [Client]) {
    assert_eq!(clients[0].create("/order", b"0").err, ErrorCode::OK);
    for round in 1..50u32 {
        let data = round.to_string().into_bytes();
        let writer = round as usize % clients.len();
        assert_eq!(clients[writer].set("/order", &data).err, ErrorCode::OK);
        let reader = (round as usize * 3 + 1) % clients.len();
        let path = oxkeeper_proto::Request::Sync(Some("/order".into()));
        assert_eq!(clients[reader].call(OpCode::SYNC, &path).err, ErrorCode::OK);
        assert_eq!(clients[reader].get("/order").unwrap(), data);
    }
}

/// Every client watches; each hears of the change before it can read it.
fn events_come_before_what_they_tell_of(clients: &mut [Client]) {
    assert_eq!(clients[0].create("/seen", b"old").err, ErrorCode::OK);
    clients.iter_mut().for_each(|client| client.watch("/seen"));
    let zxid = clients[2].call_past_events("/seen", b"new");
    for client in clients.iter_mut().skip(3) {
        client.send(OpCode::GET_DATA, &oxkeeper_proto::Request::GetData(read("/seen", false)));
        let first = client.receive().unwrap();
        if first.xid != xid::NOTIFICATION {
            // It read before the change reached this thread: then it must have seen the old data.
            assert_eq!(Reader::new(&first.body).buffer().unwrap(), Some(&b"old"[..]));
        }
        let second = client.receive().unwrap();
        let event = if first.xid == xid::NOTIFICATION { &first } else { &second };
        assert_eq!((event.xid, event.zxid), (xid::NOTIFICATION, zxid));
        let told = WatcherEvent::decode(&mut Reader::new(&event.body)).unwrap();
        assert_eq!((told.event, &*told.path), (EventType::NodeDataChanged, "/seen"));
    }
    for client in clients.iter_mut().take(2) {
        assert_eq!(client.receive().unwrap().xid, xid::NOTIFICATION);
    }
}

impl Client {
    /// Sets data that this client itself watches: the event comes first, then the reply.
    fn call_past_events(&mut self, path: &str, data: &[u8]) -> oxkeeper_proto::Zxid {
        let set = oxkeeper_proto::request::SetDataRequest {
            path: path.into(),
            data: Some(data),
            version: -1,
        };
        self.send(OpCode::SET_DATA, &oxkeeper_proto::Request::SetData(set));
        let event = self.receive().unwrap();
        assert_eq!(event.xid, xid::NOTIFICATION);
        let reply = self.receive().unwrap();
        assert_eq!((reply.err, reply.zxid), (ErrorCode::OK, event.zxid));
        reply.zxid
    }
}

fn sessions_move_between_connections(server: &Server) {
    let mut first = Client::connect(server.addr, 10_000);
    assert_eq!(first.create_ephemeral("/mine").err, ErrorCode::OK);
    let mut second = Client::resume(server.addr, 10_000, first.session).expect("it is known");
    assert!(crate::client::is_closed(&mut first.stream), "the old connection is closed");
    assert_eq!(second.get("/mine").unwrap(), b"");
    second.close();
    assert!(Client::resume(server.addr, 10_000, first.session).is_none(), "it has ended");
}

fn pipelined_requests_are_answered_in_order(client: &mut Client) {
    assert_eq!(client.create("/pipe", b"").err, ErrorCode::OK);
    let mut out = Vec::new();
    let first = client.next_xid();
    for n in 0..200 {
        let path = format!("/pipe/{n}");
        client.encode(OpCode::CREATE, &create(&path, b"x", 0), &mut out);
        client.encode(
            OpCode::GET_DATA,
            &oxkeeper_proto::Request::GetData(read(&path, false)),
            &mut out,
        );
    }
    std::io::Write::write_all(&mut client.stream, &out).unwrap();
    for n in 0..400 {
        let reply = client.receive().unwrap();
        assert_eq!((reply.xid, reply.err), (first + n, ErrorCode::OK));
    }
    assert_eq!(client.children("/pipe").len(), 200);
}

fn ephemerals_end_with_their_session(server: &Server, other: &mut Client) {
    let mut owner = Client::connect(server.addr, 10_000);
    assert_eq!(owner.create_ephemeral("/gone").err, ErrorCode::OK);
    owner.close();
    assert_eq!(other.get("/gone"), Err(ErrorCode::NO_NODE));
}
