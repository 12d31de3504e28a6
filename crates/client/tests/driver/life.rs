//! How sessions begin and end.
//!
//! Expired, refused, closed, handed over, out of reach, on a server that takes no writes: in each
//! case everything that was given out, futures, streams and states, must say so, and nothing may
//! wait for ever.

use std::net::TcpListener;
use std::time::Duration;

use oxkeeper_client::{
    AddWatchMode, Cause, Client, End, ErrorCode, ErrorKind, EventType, Fate, Limits, Loss, Refused,
    State, StateStream, WatchItem,
};
use oxkeeper_scratch::Proxy;

use crate::server::{addr, builder, client, place, start};
use crate::soon;

#[tokio::test]
async fn an_expired_session_is_over_and_says_so_everywhere() {
    let (proxy, place) = (Proxy::before(addr()).await, place().await);
    let hosts = format!("{}{place}", proxy.addr);
    let timeout = Duration::from_secs(1);
    let zk = Client::builder(&hosts).session_timeout(timeout).connect().await.unwrap();
    let State::Connected { timeout: granted, .. } = zk.state() else { panic!("connected") };
    assert_eq!(granted, timeout);
    zk.create("/e", b"").ephemeral().await.unwrap();
    let mut stream = zk.add_watch("/", AddWatchMode::Recursive).await.unwrap();
    let (_, once) = zk.get("/").watch().await.unwrap();
    let direct = Client::connect(&format!("{}{place}", addr())).await.unwrap();
    let (_, gone) = direct.exists("/e").watch().await.unwrap();
    let mut states = zk.states();
    proxy.refuse(true);
    while !matches!(soon(states.next()).await, Some(State::Suspended { .. })) {}
    let waiting = zk.create("/never", b"").send();
    assert_eq!(soon(once).await, Err(Loss::Session(End::Expired)));
    assert_eq!(soon(stream.next()).await, Some(WatchItem::Lost(Loss::Session(End::Expired))));
    let error = soon(waiting).await.unwrap_err();
    assert!(error.is_session_over() && error.code() == Some(ErrorCode::SESSION_EXPIRED), "{error}");
    let mut last = None;
    while let Some(state) = soon(states.next()).await {
        last = Some(state);
    }
    assert_eq!((last, zk.state()), (Some(State::Expired), State::Expired));
    soon(gone).await.unwrap();
    let error = zk.get("/").await.unwrap_err();
    assert!(error.is_session_over() && error.fate() == Fate::DidNotHappen);
    assert!(zk.close().await, "there is nothing left to close");
}

#[tokio::test]
async fn the_last_handle_closes_the_session() {
    let zk = client().await;
    let direct = Client::connect(&format!("{}{}", addr(), zk.chroot())).await.unwrap();
    zk.create("/e", b"").ephemeral().await.unwrap();
    let other = zk.namespace("/ns").unwrap();
    drop(zk);
    assert!(other.exists("/").await.unwrap().is_none(), "the session goes on");
    let (there, gone) = direct.exists("/e").watch().await.unwrap();
    assert!(there.is_some());
    drop(other);
    soon(gone).await.unwrap();
}

#[tokio::test]
async fn a_session_is_handed_over_with_its_credentials() {
    let (proxy, place) = (Proxy::before(addr()).await, place().await);
    let first = Client::connect(&format!("{}{place}", proxy.addr)).await.unwrap();
    first.create("/e", b"").ephemeral().await.unwrap();
    let credentials = first.credentials().unwrap();
    proxy.refuse(true);
    let hosts = format!("{}{place}", addr());
    let second = Client::builder(&hosts).resume(credentials).connect().await.unwrap();
    assert_eq!(second.session_id(), Some(credentials.session));
    assert_eq!(second.ephemerals("/").await.unwrap(), ["/e"]);
    assert!(second.close().await);
    assert_eq!(second.credentials(), None);
    let error = Client::builder(&hosts).resume(credentials).connect().await.unwrap_err();
    assert!(error.is_session_over(), "{error}");
}

#[tokio::test]
async fn who_finds_no_server_is_told_why() {
    // Bound and let go again: nobody listens there.
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let within = Duration::from_millis(300);
    let connecting = Client::builder(&nobody.to_string()).connect_within(within).connect();
    let error = soon(connecting).await.unwrap_err();
    let ErrorKind::Unreachable(Some(why)) = error.kind() else { panic!("{error}") };
    assert!(why.starts_with(&nobody.to_string()), "{why}");
    assert_eq!(error.fate(), Fate::DidNotHappen);
    // A list with a server that does not exist in it will do.
    let zk = Client::connect(&format!("{nobody},no-such-host.invalid,{}", addr())).await.unwrap();
    zk.exists("/").await.unwrap();
}

#[tokio::test]
async fn what_is_under_way_is_bounded() {
    let limits = Limits { pending_max: 2, ..Limits::default() };
    let (proxy, place) = (Proxy::before(addr()).await, place().await);
    let hosts = format!("{}{place}", proxy.addr);
    let zk = Client::builder(&hosts).limits(limits).connect().await.unwrap();
    proxy.mute(true);
    let under_way = (zk.get("/").send(), zk.get("/").send());
    let error = zk.get("/").await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::Refused(Refused::Full("requests under way")));
    assert!(error.is_temporary() && error.fate() == Fate::DidNotHappen);
    proxy.cut();
    proxy.mute(false);
    assert!(soon(under_way.0).await.is_err() && soon(under_way.1).await.is_err());
    zk.get("/").await.unwrap();
}

#[test]
fn a_runtime_that_ends_leaves_nobody_waiting() {
    let own = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let (first, second) = (own(), own());
    let (proxy, zk) = first.block_on(async {
        let proxy = Proxy::before(addr()).await;
        let zk = Client::connect(&proxy.addr.to_string()).await.unwrap();
        (proxy, zk)
    });
    let waiting = zk.get("/").send();
    let (_, once) = first.block_on(zk.exists("/none").watch().into_future()).unwrap();
    let unsent = {
        proxy.refuse(true);
        zk.get("/").send()
    };
    drop(first);
    second.block_on(async {
        let _ = soon(waiting).await;
        assert!(soon(unsent).await.is_err());
        assert!(soon(once).await.is_err());
        let error = soon(zk.get("/").send()).await.unwrap_err();
        assert!(error.is_session_over());
        assert_eq!(zk.state(), State::Closed { confirmed: false });
    });
}

#[test]
fn without_a_runtime_there_is_no_session() {
    let error = Client::builder("h").start().unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NoRuntime);
}

#[tokio::test]
async fn a_refused_identity_ends_the_session() {
    let zk = builder().await.auth("digest", "u:p").connect().await.unwrap();
    zk.get("/").await.unwrap();
    let mut states = zk.states();
    let error = zk.add_auth("no-such-scheme", b"x").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::AUTH_FAILED), "{error}");
    let mut last = None;
    while let Some(state) = soon(states.next()).await {
        last = Some(state);
    }
    assert_eq!(last, Some(State::AuthFailed));
}

/// A member of an ensemble whose others are not there.
fn lonely() -> std::net::SocketAddr {
    let free = || TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let member = |id| format!("server.{id}=127.0.0.1:{}:{}", free(), free());
    let members: Vec<String> = (1..=3).map(member).collect();
    let mut set: Vec<&str> = members.iter().map(String::as_str).collect();
    set.extend([
        "readonlymode.enabled=true",
        "localSessionsEnabled=true",
        "initLimit=5",
        "syncLimit=5",
        "myid=1",
    ]);
    start(&set)
}

#[tokio::test]
async fn a_server_without_its_quorum_will_do_for_reads_until_another_is_found() {
    let lonely = lonely();
    let readers = Client::builder(&lonely.to_string()).read_only(true);
    let zk = soon(readers.connect()).await.unwrap();
    assert!(matches!(zk.state(), State::Connected { read_only: true, .. }));
    zk.get("/").await.unwrap();
    let error = zk.create("/n", b"").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NOT_READ_ONLY));
    assert!(error.is_temporary() && error.fate() == Fate::DidNotHappen);
    assert_eq!(zk.credentials(), None, "no other server knows this session");
    // One that takes writes joins the list: it is asked, and preferred.
    let mut states = zk.states();
    zk.set_hosts(&format!("{lonely},{}", addr())).unwrap();
    let search = async {
        while let Some(state) = states.next().await {
            if matches!(state, State::Connected { read_only: false, .. }) {
                return;
            }
        }
        panic!("over");
    };
    soon(search).await;
    zk.exists("/n").await.unwrap();
}

/// The search for a server that takes writes, from a list that does not change.
async fn until_writable(states: &mut StateStream) -> Cause {
    let mut why = None;
    while let Some(state) = soon(states.next()).await {
        match state {
            State::Connected { read_only: false, .. } => return why.expect("it was elsewhere"),
            State::Suspended { cause, .. } => why = Some(cause),
            _ => {}
        }
    }
    panic!("over");
}

#[tokio::test]
async fn while_on_a_server_without_its_quorum_the_others_are_asked_whether_they_take_writes() {
    let (lonely, writable) = (lonely(), Proxy::before(addr()).await);
    writable.refuse(true);
    let hosts = format!("{lonely},{}", writable.addr);
    let zk = soon(Client::builder(&hosts).read_only(true).connect()).await.unwrap();
    let first = zk.session_id();
    assert!(matches!(zk.state(), State::Connected { read_only: true, .. }));
    let mut states = zk.states();
    writable.refuse(false);
    // Nothing else could move it: its server stays, and so does the list.
    assert_eq!(until_writable(&mut states).await, Cause::WritableFound);
    // As with Java's client the session is another: no server but the first knew that one.
    assert!(first.is_some() && zk.session_id() != first);
    assert!(zk.credentials().is_some());
    zk.exists("/n").await.unwrap();
}

#[tokio::test]
async fn the_list_of_servers_follows_the_ensemble() {
    // super:secret
    let digest = "DigestAuthenticationProvider.superDigest=super:lK75jTNcA+U9vtVEw5vB51mj/w4=";
    let server = start(&[digest]);
    let (one, two) = (Proxy::before(server).await, Proxy::before(server).await);
    let hosts = one.addr.to_string();
    let zk = Client::builder(&hosts).follow_ensemble(true).connect().await.unwrap();
    let session = zk.session_id();
    let admin = Client::builder(&server.to_string()).auth("digest", "super:secret");
    let admin = admin.connect().await.unwrap();
    let mut states = zk.states();
    // Whoever sees a part of the tree is told as well.
    let part = Client::connect(&format!("{server}/part")).await.unwrap().namespace("/ns").unwrap();
    let (before, changed) = part.config().watch().await.unwrap();
    let members = format!("server.1=127.0.0.1:1:2:participant;{}\nversion=1", two.addr);
    admin.set("/zookeeper/config", &members).await.unwrap();
    let event = soon(changed).await.unwrap();
    assert_eq!((event.kind, &*event.path), (EventType::NodeDataChanged, "/zookeeper/config"));
    let now = part.config().await.unwrap();
    assert_eq!((before.bytes() == members.as_bytes(), now.text()), (false, Ok(&*members)));
    while !matches!(soon(states.next()).await, Some(State::Suspended { .. })) {}
    one.refuse(true);
    soon(zk.sync("/").send()).await.unwrap();
    assert_eq!(zk.session_id(), session);
    two.cut();
    // It is the second that it is on now.
    while !matches!(soon(states.next()).await, Some(State::Suspended { .. })) {}
}
