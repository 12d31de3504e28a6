//! That the library says everything that the protocol knows, by what goes over the wire.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use oxkeeper_client::{Acl, AddWatchMode, Client, OpCode, Reconfig, State, WatcherKind, perms};
use oxkeeper_proto::Reader;
use oxkeeper_proto::connect::split_frame;
use oxkeeper_proto::request::{MultiOp, MultiRequest, RequestHeader};
use oxkeeper_scratch::Proxy;
use tokio::sync::Notify;

use crate::server::{addr, place};
use crate::soon;
use crate::tap::Tapped;

/// The operations that were sent, by their numbers.
#[derive(Default)]
struct Heard {
    said: Mutex<Said>,
    changed: Notify,
}

#[derive(Default)]
struct Said {
    ops: BTreeSet<i32>,
    /// Bytes of a frame that is not whole yet.
    rest: Vec<u8>,
    /// The handshake of this connection has been seen.
    greeted: bool,
}

impl Heard {
    fn listen(&self, bytes: &[u8]) {
        let mut said = self.said.lock().unwrap();
        said.rest.extend_from_slice(bytes);
        let all = std::mem::take(&mut said.rest);
        let mut rest = &all[..];
        while let Some((frame, behind)) = split_frame(rest, 1 << 20).unwrap() {
            rest = behind;
            if std::mem::replace(&mut said.greeted, true) {
                hear(frame, &mut said.ops);
            }
        }
        said.rest = rest.to_vec();
        self.changed.notify_waiters();
    }

    /// The next bytes are of a new connection.
    fn anew(&self) {
        let mut said = self.said.lock().unwrap();
        (said.greeted, said.rest) = (false, Vec::new());
    }

    async fn until(&self, op: OpCode) {
        loop {
            let changed = self.changed.notified();
            if self.said.lock().unwrap().ops.contains(&op.0) {
                return;
            }
            changed.await;
        }
    }
}

/// A request, and what it is made of if it is a multi.
fn hear(frame: &[u8], ops: &mut BTreeSet<i32>) {
    let mut reader = Reader::new(frame);
    let op = RequestHeader::decode(&mut reader).unwrap().op;
    ops.insert(op.0);
    if op != OpCode::MULTI {
        return;
    }
    for part in MultiRequest::decode(&mut reader).unwrap().iter() {
        ops.insert(match part {
            MultiOp::Create(create) => create.op.0,
            MultiOp::Delete(_) => OpCode::DELETE.0,
            MultiOp::SetData(_) => OpCode::SET_DATA.0,
            MultiOp::Check(_) => OpCode::CHECK.0,
        });
    }
}

/// What the library does not say, and why.
const UNSAID: [OpCode; 8] = [
    // Only servers say these, to clients or among themselves.
    OpCode::NOTIFICATION,
    OpCode::ERROR,
    OpCode::CREATE_SESSION,
    OpCode::DELETE_CONTAINER,
    // create2 does what create does, and tells the stat.
    OpCode::CREATE,
    // For servers before 3.6, where nothing but one-shot watches is held; setWatches2 otherwise.
    OpCode::SET_WATCHES,
    // Asked instead of removeWatches where others watch the same: shown by itself.
    OpCode::CHECK_WATCHES,
    // Not yet.
    OpCode::SASL,
];

#[tokio::test]
async fn every_operation_of_the_protocol_is_sent_and_answered() {
    let proxy = Proxy::before(addr()).await;
    let heard = Arc::new(Heard::default());
    let listener = Arc::clone(&heard);
    let builder = Client::builder(&format!("{}{}", proxy.addr, place().await))
        .connector(Tapped::by(move |bytes| listener.listen(bytes)))
        .session_timeout(Duration::from_secs(2));
    let zk = builder.connect().await.unwrap();
    zk.add_auth("digest", b"u:p").await.unwrap();
    zk.whoami().await.unwrap();
    zk.create("/a", b"").await.unwrap();
    zk.create("/container", b"").container().await.unwrap();
    zk.create("/ttl", b"").ttl(Duration::from_secs(60)).await.unwrap();
    zk.exists("/a").await.unwrap();
    zk.get("/a").await.unwrap();
    zk.set("/a", b"1").await.unwrap();
    zk.acl("/a").await.unwrap();
    zk.set_acl("/a", vec![Acl::new(perms::ALL, "world", "anyone")]).await.unwrap();
    zk.children("/").await.unwrap();
    zk.children("/").with_stat().await.unwrap();
    zk.children_count("/").await.unwrap();
    zk.ephemerals("/").await.unwrap();
    zk.sync("/").await.unwrap();
    zk.multi().check("/a", 1).await.unwrap();
    zk.multi_read().get("/a").await.unwrap();
    zk.delete("/a").await.unwrap();
    // Who may not, or cannot, is answered as well.
    let change = Reconfig { leaving: Some("9".to_owned()), ..Reconfig::default() };
    assert!(zk.reconfig(&change).await.unwrap_err().op() == Some(OpCode::RECONFIG));
    let _kept = zk.add_watch("/", AddWatchMode::Recursive).await.unwrap();
    let _gone = zk.add_watch("/gone", AddWatchMode::Persistent).await.unwrap();
    zk.remove_watches("/gone", WatcherKind::Persistent).await.unwrap();
    soon(heard.until(OpCode::PING)).await;

    let mut states = zk.states();
    heard.anew();
    proxy.cut();
    while !matches!(soon(states.next()).await, Some(State::Suspended { .. })) {}
    soon(heard.until(OpCode::SET_WATCHES2)).await;
    zk.sync("/").await.unwrap();
    assert!(soon(zk.close()).await);

    let heard = heard.said.lock().unwrap();
    for op in OpCode::ALL {
        assert_eq!(heard.ops.contains(&op.0), !UNSAID.contains(op), "{op}");
    }
}
