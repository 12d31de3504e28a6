//! What becomes of requests and sessions when connections are lost.
//!
//! Each test has a client behind a proxy that cuts, swallows or refuses, and a second client that
//! goes straight to the server and sees what really happened. What the first one says of its
//! operations must agree.

use oxkeeper_client::{
    Acl, Builder, Cause, Client, End, ErrorKind, Fate, RetryPolicy, State, StateStream, Unsent,
    perms,
};
use oxkeeper_scratch::Proxy;

use crate::server::{addr, place};
use crate::soon;

/// A client behind a proxy, and one that is not, in the same part of the tree.
async fn two(set: impl FnOnce(Builder) -> Builder) -> (Proxy, Client, Client) {
    let (proxy, place) = (Proxy::before(addr()).await, place().await);
    let behind = set(Client::builder(&format!("{}{place}", proxy.addr))).connect().await.unwrap();
    let direct = Client::connect(&format!("{}{place}", addr())).await.unwrap();
    (proxy, behind, direct)
}

/// Waits for a state.
async fn until(states: &mut StateStream, wanted: impl Fn(&State) -> bool) -> State {
    let search = async {
        loop {
            let state = states.next().await.expect("not over yet");
            if wanted(&state) {
                return state;
            }
        }
    };
    soon(search).await
}

fn suspended(state: &State) -> bool {
    matches!(state, State::Suspended { .. })
}

#[tokio::test]
async fn a_lost_connection_is_not_a_lost_session() {
    let (proxy, zk, direct) = two(|builder| builder.auth("digest", "u:secret")).await;
    let session = zk.session_id();
    let mine = [Acl::new(perms::ALL, "auth", "")];
    zk.create("/mine", b"1").ephemeral().acl(&mine).await.unwrap();
    let mut states = zk.states();
    until(&mut states, State::is_connected).await;
    for _ in 0..3 {
        proxy.cut();
        let State::Suspended { expires_at, cause } = until(&mut states, suspended).await else {
            unreachable!("looked at")
        };
        assert_eq!(cause, Cause::Lost);
        assert!(expires_at > tokio::time::Instant::now());
        until(&mut states, State::is_connected).await;
        assert_eq!(zk.session_id(), session);
        assert_eq!(zk.get("/mine").await.unwrap().bytes(), b"1", "the identity is proved again");
        assert!(direct.get("/mine").await.unwrap_err().is_no_auth());
        assert_eq!(direct.children("/").await.unwrap(), ["mine"], "an ephemeral lives on");
    }
}

#[tokio::test]
async fn what_was_sent_without_an_answer_is_unknown_whether_it_happened_or_not() {
    let (proxy, zk, direct) = two(|builder| builder).await;
    zk.create("/n", b"").await.unwrap();
    let (_, changed) = direct.get("/n").watch().await.unwrap();
    proxy.mute(true);
    let happened = zk.set("/n", b"1").send();
    soon(changed).await.unwrap();
    proxy.mute(false);
    proxy.cut();
    let error = soon(happened).await.unwrap_err();
    assert_eq!((error.fate(), error.kind()), (Fate::Unknown, &ErrorKind::Unknown(Cause::Lost)));
    assert!(error.is_temporary() && !error.is_session_over());

    zk.sync("/n").await.unwrap();
    proxy.deaf(true);
    let vanished = zk.set("/n", b"2").send();
    soon(proxy.vanished()).await;
    proxy.deaf(false);
    proxy.cut();
    assert_eq!(soon(vanished).await.unwrap_err().fate(), Fate::Unknown);
    assert_eq!(zk.get("/n").await.unwrap().bytes(), b"1");
}

#[tokio::test]
async fn requests_wait_for_a_connection_and_keep_their_order() {
    let (proxy, zk, _) = two(|builder| builder).await;
    zk.create("/n", b"").await.unwrap();
    let mut states = zk.states();
    proxy.refuse(true);
    until(&mut states, suspended).await;
    let sets: Vec<_> = (0..50).map(|n: i32| zk.set("/n", &n.to_be_bytes()).send()).collect();
    let read = zk.get("/n").send();
    proxy.refuse(false);
    for (n, set) in sets.into_iter().enumerate() {
        assert_eq!(soon(set).await.unwrap().version, n as i32 + 1);
    }
    assert_eq!(soon(read).await.unwrap().bytes(), 49i32.to_be_bytes());
}

#[tokio::test]
async fn a_dropped_future_takes_back_what_was_not_sent() {
    let (proxy, zk, _) = two(|builder| builder).await;
    let mut states = zk.states();
    proxy.refuse(true);
    until(&mut states, suspended).await;
    let one = zk.create("/one", b"").send();
    let two = zk.create("/two", b"").send();
    let three = zk.create("/three", b"").send();
    drop(two);
    proxy.refuse(false);
    soon(one).await.unwrap();
    soon(three).await.unwrap();
    let mut names = zk.children("/").await.unwrap();
    names.sort();
    assert_eq!(names, ["one", "three"]);
    // What was sent stays sent, and the answers of others go to others.
    for n in 0..100 {
        let path = format!("/n{n}");
        drop(zk.create(&path, b"").send());
        assert_eq!(zk.exists("/one").await.unwrap().map(|stat| stat.version), Some(0));
    }
    assert_eq!(zk.children_count("/").await.unwrap(), 102);
}

#[tokio::test]
async fn a_session_that_is_closed_while_out_of_touch_says_what_did_not_happen() {
    let short = std::time::Duration::from_millis(100);
    let (proxy, zk, direct) = two(|builder| builder.close_timeout(short)).await;
    let mut states = zk.states();
    proxy.refuse(true);
    until(&mut states, suspended).await;
    let waiting = zk.create("/n", b"").send();
    assert!(!soon(zk.close()).await, "nobody can have confirmed it");
    let error = soon(waiting).await.unwrap_err();
    assert_eq!(error.kind(), &ErrorKind::NotSent(Unsent::Over(End::Closed)));
    assert!(error.fate() == Fate::DidNotHappen && error.is_session_over());
    assert!(zk.get("/").await.unwrap_err().is_session_over());
    assert_eq!(direct.exists("/n").await.unwrap(), None);
}

#[tokio::test]
async fn a_protected_create_happens_once_whatever_is_lost() {
    let (proxy, zk, direct) = two(|builder| builder).await;
    // The answer is lost.
    let (_, made) = direct.children("/").watch().await.unwrap();
    proxy.mute(true);
    let creating = zk.create("/lock-", b"").ephemeral().sequential().protected().send();
    let creating = tokio::spawn(creating);
    soon(made).await.unwrap();
    proxy.mute(false);
    proxy.cut();
    let created = soon(creating).await.unwrap().unwrap();
    assert_eq!(created.stat.unwrap().ephemeral_owner, zk.session_id().unwrap());
    assert_eq!(direct.children("/").await.unwrap(), [&created.path[1..]]);
    assert!(created.path.starts_with("/_c_") && created.path.ends_with("-lock-0000000000"));
    // The request is lost.
    proxy.deaf(true);
    let creating = tokio::spawn(zk.create("/lock-", b"").sequential().protected().send());
    soon(proxy.vanished()).await;
    proxy.deaf(false);
    proxy.cut();
    let created = soon(creating).await.unwrap().unwrap();
    assert!(created.path.ends_with("-lock-0000000001"));
    assert_eq!(direct.children("/").await.unwrap().len(), 2);
}

#[tokio::test]
async fn who_gives_up_a_protected_create_leaves_no_orphan() {
    let (proxy, zk, direct) = two(|builder| builder).await;
    let (_, made) = direct.children("/").watch().await.unwrap();
    proxy.mute(true);
    let creating = tokio::spawn(zk.create("/lock-", b"").sequential().protected().send());
    soon(made).await.unwrap();
    let (names, gone) = direct.children("/").watch().await.unwrap();
    assert_eq!(names.len(), 1);
    creating.abort();
    proxy.mute(false);
    proxy.cut();
    soon(gone).await.unwrap();
    assert_eq!(direct.children("/").await.unwrap(), [""; 0]);
}

#[tokio::test]
async fn what_is_safe_is_tried_again() {
    let (proxy, zk, direct) = two(|builder| builder).await;
    zk.create("/n", b"").await.unwrap();
    let (_, changed) = direct.get("/n").watch().await.unwrap();
    proxy.mute(true);
    let policy = RetryPolicy::default();
    let handle = zk.clone();
    let work = |zk: Client| async move { zk.set("/n", b"1").await };
    let trying = tokio::spawn(async move { handle.retry(policy.idempotent(), work).await });
    soon(changed).await.unwrap();
    proxy.mute(false);
    proxy.cut();
    assert_eq!(soon(trying).await.unwrap().unwrap().version, 2, "it happened twice");

    let (_, changed) = direct.get("/n").watch().await.unwrap();
    proxy.mute(true);
    let handle = zk.clone();
    let trying = tokio::spawn(async move { handle.retry(policy, work).await });
    soon(changed).await.unwrap();
    proxy.mute(false);
    proxy.cut();
    assert_eq!(soon(trying).await.unwrap().unwrap_err().fate(), Fate::Unknown);
    assert_eq!(direct.get("/n").await.unwrap().stat.version, 3, "and no fourth time");
}

#[tokio::test]
async fn who_tries_again_is_told_that_an_earlier_try_may_have_happened() {
    let (proxy, zk, direct) = two(|builder| builder).await;
    let policy = RetryPolicy::default().idempotent();
    let (_, made) = direct.exists("/n").watch().await.unwrap();
    proxy.mute(true);
    let handle = zk.clone();
    let create = |zk: Client| async move { zk.create("/n", b"").await };
    let trying = tokio::spawn(async move { handle.retry(policy, create).await });
    soon(made).await.unwrap();
    proxy.mute(false);
    proxy.cut();
    // It is there because the first try has made it.
    let error = soon(trying).await.unwrap().unwrap_err();
    assert!(error.is_node_exists(), "{error}");
    assert_eq!(error.fate(), Fate::Unknown);
    assert!(error.to_string().ends_with("NODEEXISTS; an earlier try may have happened"), "{error}");

    // A read has not changed anything, however often it was tried.
    proxy.mute(true);
    let handle = zk.clone();
    let get = |zk: Client| async move { zk.get("/none").await };
    let trying = tokio::spawn(async move { handle.retry(policy, get).await });
    soon(proxy.vanished()).await;
    proxy.mute(false);
    proxy.cut();
    let error = soon(trying).await.unwrap().unwrap_err();
    assert!(error.is_no_node() && error.fate() == Fate::DidNotHappen, "{error}");
}

#[tokio::test]
async fn a_protected_create_that_cannot_be_looked_for_is_unknown() {
    let short = std::time::Duration::from_millis(100);
    let (proxy, zk, direct) = two(|builder| builder.close_timeout(short)).await;
    let (_, made) = direct.children("/").watch().await.unwrap();
    proxy.mute(true);
    let creating = tokio::spawn(zk.create("/lock-", b"").sequential().protected().send());
    soon(made).await.unwrap();
    proxy.mute(false);
    proxy.refuse(true);
    soon(zk.close()).await;
    let error = soon(creating).await.unwrap().unwrap_err();
    assert!(error.is_session_over(), "{error}");
    assert_eq!(error.fate(), Fate::Unknown, "{error}");
    assert_eq!(direct.children("/").await.unwrap().len(), 1, "it did");
}

#[tokio::test]
async fn the_servers_are_tried_one_after_the_other() {
    let place = place().await;
    let (one, two) = (Proxy::before(addr()).await, Proxy::before(addr()).await);
    let hosts = format!("{},localhost:{}{place}", one.addr, two.addr.port());
    let zk = Client::connect(&hosts).await.unwrap();
    let session = zk.session_id();
    let mut states = zk.states();
    for (down, up) in [(&one, &two), (&two, &one), (&one, &two)] {
        down.refuse(true);
        up.refuse(false);
        let get = zk.retry(RetryPolicy::default(), |zk| async move { zk.get("/").await });
        soon(get).await.unwrap();
        assert_eq!(zk.session_id(), session);
    }
    until(&mut states, suspended).await;
}

#[tokio::test]
async fn a_task_that_panics_harms_nobody_else() {
    let (_, zk, _) = two(|builder| builder).await;
    let handle = zk.clone();
    let panics = tokio::spawn(async move {
        let _one = handle.create("/one", b"").send();
        handle.exists("/").await.unwrap();
        panic!("on purpose");
    });
    assert!(soon(panics).await.is_err());
    assert!(zk.exists("/one").await.unwrap().is_some());
}
