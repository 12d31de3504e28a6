//! Watches: what is told, when, and that nothing is lost without a word.

use oxkeeper_client::{
    AddWatchMode, Client, End, EventType, Loss, State, WatchItem, WatchStream, WatcherKind,
};
use oxkeeper_scratch::Proxy;

use crate::server::{addr, client, place, start};
use crate::soon;

/// What a stream tells next.
async fn next(stream: &mut WatchStream) -> (Option<EventType>, String) {
    match soon(stream.next()).await {
        Some(WatchItem::Event(event)) => (Some(event.kind), event.path),
        Some(WatchItem::Gap) => (None, "gap".to_owned()),
        Some(WatchItem::Lost(loss)) => (None, format!("{loss:?}")),
        None => (None, "end".to_owned()),
    }
}

fn told(kind: EventType, path: &str) -> (Option<EventType>, String) {
    (Some(kind), path.to_owned())
}

/// Watches that a server holds, by its own count (`wchs`).
async fn watches_of(server: std::net::SocketAddr) -> usize {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let mut stream = tokio::net::TcpStream::connect(server).await.unwrap();
    stream.write_all(b"wchs").await.unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).await.unwrap();
    text.trim().rsplit_once(':').unwrap().1.parse().unwrap_or_else(|_| panic!("{text}"))
}

#[tokio::test]
async fn a_watch_fires_once_and_before_the_answer_that_shows_the_change() {
    let other = client().await;
    let mine = Client::connect(&format!("{}{}", addr(), other.chroot())).await.unwrap();
    let (absent, created) = mine.exists("/n").watch().await.unwrap();
    assert_eq!(absent, None);
    let made = other.create("/n", b"").await.unwrap();
    mine.get("/n").await.unwrap();
    let event = at_once(created).expect("told before the answer").unwrap();
    assert_eq!((event.kind, &*event.path), (EventType::NodeCreated, "/n"));
    assert_eq!(event.zxid, made.stat.map(|stat| stat.czxid));

    let (_, data) = mine.get("/n").watch().await.unwrap();
    let (_, children) = mine.children("/n").watch().await.unwrap();
    let ((_, stat), both) = mine.children("/n").with_stat().watch().await.unwrap();
    assert_eq!(stat.num_children, 0);
    other.create("/n/c", b"").await.unwrap();
    assert_eq!(soon(children).await.unwrap().kind, EventType::NodeChildrenChanged);
    assert_eq!(soon(both).await.unwrap().path, "/n");
    other.set("/n", b"1").await.unwrap();
    assert_eq!(soon(data).await.unwrap().kind, EventType::NodeDataChanged);

    let error = mine.get("/none").watch().await.unwrap_err();
    assert!(error.is_no_node());
}

/// What is there without waiting.
fn at_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match std::pin::Pin::new(&mut future).poll(&mut cx) {
        std::task::Poll::Ready(output) => Some(output),
        std::task::Poll::Pending => None,
    }
}

#[tokio::test]
async fn streams_tell_what_their_mode_is_about() {
    let zk = client().await;
    let mut one = zk.add_watch("/a", AddWatchMode::Persistent).await.unwrap();
    let mut all = zk.add_watch("/", AddWatchMode::Recursive).await.unwrap();
    zk.create("/a/b", b"").parents().await.unwrap();
    zk.set("/a", b"1").await.unwrap();
    zk.delete_all("/a").await.unwrap();
    use EventType::*;
    for expected in [
        told(NodeCreated, "/a"),
        told(NodeChildrenChanged, "/a"),
        told(NodeDataChanged, "/a"),
        told(NodeChildrenChanged, "/a"),
        told(NodeDeleted, "/a"),
    ] {
        assert_eq!(next(&mut one).await, expected);
    }
    for expected in [
        told(NodeCreated, "/a"),
        told(NodeCreated, "/a/b"),
        told(NodeDataChanged, "/a"),
        told(NodeDeleted, "/a/b"),
        told(NodeDeleted, "/a"),
    ] {
        assert_eq!(next(&mut all).await, expected);
    }
    zk.remove_watches("/a", WatcherKind::Persistent).await.unwrap();
    assert_eq!(soon(one.next()).await, Some(WatchItem::Lost(Loss::Removed)));
    assert_eq!(soon(one.next()).await, None);
    zk.close().await;
    assert_eq!(soon(all.next()).await, Some(WatchItem::Lost(Loss::Session(End::Closed))));
    assert_eq!(soon(all.next()).await, None);
}

#[tokio::test]
async fn a_namespace_tells_its_own_paths() {
    let zk = client().await;
    zk.create("/ns", b"").await.unwrap();
    let ns = zk.namespace("/ns").unwrap();
    let mut all = ns.add_watch("/", AddWatchMode::Recursive).await.unwrap();
    let (_, once) = ns.exists("/a").watch().await.unwrap();
    zk.create("/ns/a", b"").await.unwrap();
    assert_eq!(next(&mut all).await, told(EventType::NodeCreated, "/a"));
    assert_eq!(soon(once).await.unwrap().path, "/a");
}

#[tokio::test]
async fn watches_survive_a_reconnect_and_tell_what_they_missed() {
    let (proxy, place) = (Proxy::before(addr()).await, place().await);
    let zk = Client::connect(&format!("{}{place}", proxy.addr)).await.unwrap();
    let direct = Client::connect(&format!("{}{place}", addr())).await.unwrap();
    zk.create("/n", b"").await.unwrap();
    let mut stream = zk.add_watch("/", AddWatchMode::Recursive).await.unwrap();
    let (_, data) = zk.get("/n").watch().await.unwrap();
    let (_, absent) = zk.exists("/later").watch().await.unwrap();
    let (_, quiet) = zk.exists("/never").watch().await.unwrap();
    let mut states = zk.states();
    proxy.refuse(true);
    while !matches!(soon(states.next()).await, Some(State::Suspended { .. })) {}
    direct.set("/n", b"1").await.unwrap();
    direct.create("/later", b"").await.unwrap();
    proxy.refuse(false);
    assert_eq!(soon(data).await.unwrap().kind, EventType::NodeDataChanged);
    assert_eq!(soon(absent).await.unwrap().kind, EventType::NodeCreated);
    // What may have been missed is said, and what follows is told.
    while next(&mut stream).await != (None, "gap".to_owned()) {}
    direct.create("/after", b"").await.unwrap();
    assert_eq!(next(&mut stream).await, told(EventType::NodeCreated, "/after"));
    assert!(at_once(quiet).is_none(), "nothing happened there");
}

#[tokio::test]
async fn who_does_not_fetch_is_told_of_the_gap() {
    let zk = client().await;
    let mut slow = zk.add_watch("/", AddWatchMode::Recursive).buffer(3).await.unwrap();
    for n in 0..10 {
        zk.create(&format!("/n{n}"), b"").await.unwrap();
    }
    for n in 0..3 {
        assert_eq!(next(&mut slow).await, told(EventType::NodeCreated, &format!("/n{n}")));
    }
    assert_eq!(next(&mut slow).await, (None, "gap".to_owned()));
    zk.create("/last", b"").await.unwrap();
    assert_eq!(next(&mut slow).await, told(EventType::NodeCreated, "/last"));
}

#[tokio::test]
async fn who_stops_waiting_misses_nothing() {
    let zk = client().await;
    let mut all = zk.add_watch("/", AddWatchMode::Recursive).await.unwrap();
    let mut states = zk.states();
    assert!(soon(states.next()).await.is_some_and(|state| state.is_connected()));
    let (_, mut once) = zk.exists("/n9").watch().await.unwrap();
    for n in 0..10 {
        let path = format!("/n{n}");
        // Begun, not ready, and given up, as the arm of a select is that another one beats.
        assert!(at_once(Box::pin(all.next())).is_none());
        assert!(at_once(Box::pin(states.next())).is_none());
        assert!(at_once(&mut once).is_none());
        zk.create(&path, b"").await.unwrap();
        assert_eq!(next(&mut all).await, told(EventType::NodeCreated, &path));
    }
    assert_eq!(soon(once).await.unwrap().path, "/n9");
    // So is a close that nobody waits for: it goes on.
    assert!(at_once(Box::pin(zk.close())).is_none());
    assert_eq!(soon(states.next()).await, Some(State::Closed { confirmed: true }));
}

#[tokio::test]
async fn a_dropped_watch_is_gone() {
    let server = start(&[]);
    let proxy = Proxy::before(server).await;
    let zk = Client::connect(&proxy.addr.to_string()).await.unwrap();
    let one = zk.add_watch("/a", AddWatchMode::Persistent).await.unwrap();
    let other = zk.add_watch("/a", AddWatchMode::Persistent).await.unwrap();
    let recursive = zk.add_watch("/a", AddWatchMode::Recursive).await.unwrap();
    let ns = zk.namespace("/b").unwrap();
    let named = ns.add_watch("/c", AddWatchMode::Recursive).await.unwrap();
    let before = watches_of(server).await;
    drop(one);
    zk.sync("/").await.unwrap();
    assert_eq!(watches_of(server).await, before, "the other is still there");
    drop((other, recursive, named));
    zk.sync("/").await.unwrap();
    assert_eq!(watches_of(server).await, 0);
    // One that fires once is forgotten: it is not armed again.
    let (_, kept) = zk.exists("/kept").watch().await.unwrap();
    let (_, dropped) = zk.exists("/dropped").watch().await.unwrap();
    drop(dropped);
    // So is that of a request whose user has gone before the answer came.
    drop(zk.exists("/gone").watch().send());
    drop(zk.add_watch("/gone", AddWatchMode::Persistent).send());
    zk.sync("/").await.unwrap();
    proxy.cut();
    let mut states = zk.states();
    while !matches!(soon(states.next()).await, Some(State::Suspended { .. })) {}
    zk.sync("/").await.unwrap();
    assert_eq!(watches_of(server).await, 1);
    drop(kept);
}

#[tokio::test]
async fn out_of_touch_a_watch_is_removed_here_if_that_is_asked_for() {
    let server = start(&[]);
    let proxy = Proxy::before(server).await;
    let zk = Client::connect(&proxy.addr.to_string()).await.unwrap();
    let mut stream = zk.add_watch("/a", AddWatchMode::Recursive).await.unwrap();
    let mut states = zk.states();
    proxy.refuse(true);
    while !matches!(soon(states.next()).await, Some(State::Suspended { .. })) {}
    zk.remove_watches("/a", WatcherKind::Any).local().await.unwrap();
    assert_eq!(soon(stream.next()).await, Some(WatchItem::Lost(Loss::Removed)));
    let error = zk.remove_watches("/a", WatcherKind::Any).local().await.unwrap_err();
    assert_eq!(error.code(), Some(oxkeeper_client::ErrorCode::NO_WATCHER));
    proxy.refuse(false);
    zk.sync("/").await.unwrap();
    assert_eq!(watches_of(server).await, 0, "it is not armed again");
}
