//! Every operation, and the answers that users work with.
//!
//! One client and a server that is well. What is claimed is what a user would notice: values,
//! stats, names, errors with their codes and fates, and the order in which requests are executed.

use std::time::Duration;

use oxkeeper_client::{
    Acl, AddWatchMode, Client, CreateMode, ErrorCode, ErrorKind, EventType, Fate, MultiResult,
    ReadResult, Reconfig, Refused, WatchItem, perms,
};

use crate::server::{addr, client, place, start};
use crate::soon;

#[tokio::test]
async fn a_znode_is_created_read_changed_and_deleted() {
    let zk = client().await;
    let created = zk.create("/a", b"one").await.unwrap();
    assert_eq!(created.path, "/a");
    let data = zk.get("/a").await.unwrap();
    assert_eq!((data.bytes(), data.stat), (&b"one"[..], created.stat.unwrap()));
    let stat = zk.set("/a", "two").version(0).await.unwrap();
    assert_eq!((stat.version, zk.exists("/a").await.unwrap()), (1, Some(stat)));
    assert_eq!(zk.get("/a").await.unwrap().text(), Ok("two"));
    let error = zk.set("/a", b"").version(0).await.unwrap_err();
    assert!(error.is_bad_version() && error.fate() == Fate::DidNotHappen);
    assert_eq!(error.to_string(), "setData /a: BADVERSION");
    zk.create("/a/b", b"").await.unwrap();
    let (names, stat) = zk.children("/a").with_stat().await.unwrap();
    assert_eq!((names, stat.num_children), (vec!["b".to_owned()], 1));
    assert_eq!(zk.children("/a").await.unwrap(), ["b"]);
    assert_eq!(zk.children_count("/").await.unwrap(), 2);
    assert!(zk.delete("/a").await.unwrap_err().is_not_empty());
    zk.delete("/a/b").version(0).await.unwrap();
    zk.delete("/a").await.unwrap();
    assert_eq!(zk.exists("/a").await.unwrap(), None);
    assert!(zk.get("/a").await.unwrap_err().is_no_node());
    assert!(zk.close().await);
}

#[tokio::test]
async fn null_data_is_not_empty_data() {
    let zk = client().await;
    zk.create("/null", b"").data(None).await.unwrap();
    assert_eq!(zk.get("/null").await.unwrap().bytes, None);
    zk.set("/null", b"").await.unwrap();
    assert_eq!(zk.get("/null").await.unwrap().bytes, Some(Vec::new()));
    zk.set("/null", b"").data(None).await.unwrap();
    assert_eq!(zk.get("/null").await.unwrap().bytes, None);
}

#[tokio::test]
async fn every_mode_is_created_as_such() {
    let zk = client().await;
    let session = zk.session_id().unwrap();
    let stat = zk.create("/e", b"").ephemeral().await.unwrap().stat.unwrap();
    assert_eq!(stat.ephemeral_owner, session);
    assert_eq!(zk.ephemerals("/").await.unwrap(), ["/e"]);
    assert_eq!(zk.ephemerals("/f").await.unwrap(), [""; 0]);
    let first = zk.create("/s-", b"").sequential().await.unwrap().path;
    let second = zk.create("/s-", b"").mode(CreateMode::EphemeralSequential).await.unwrap().path;
    assert_eq!((&*first, &*second), ("/s-0000000001", "/s-0000000002"));
    zk.create("/c", b"").container().await.unwrap();
    zk.create("/ttl", b"").ttl(Duration::from_secs(3600)).await.unwrap();
    let ttl = zk.create("/ttl-", b"").sequential().ttl(Duration::from_secs(3600)).await.unwrap();
    assert_eq!(ttl.path, "/ttl-0000000005");
    let error = zk.create("/x", b"").container().ephemeral().await.unwrap_err();
    assert_eq!(error.fate(), Fate::DidNotHappen);
    let error = zk.create("/e/child", b"").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::NO_CHILDREN_FOR_EPHEMERALS));
}

#[tokio::test]
async fn containers_and_what_has_a_time_to_live_go_by_themselves() {
    let server = start(&["znode.container.checkIntervalMs=50"]);
    let zk = Client::connect(&server.to_string()).await.unwrap();
    let mut all = zk.add_watch("/", AddWatchMode::Recursive).await.unwrap();
    let mut gone = async || loop {
        match soon(all.next()).await {
            Some(WatchItem::Event(event)) if event.kind == EventType::NodeDeleted => {
                return event.path;
            }
            Some(WatchItem::Event(_)) => {}
            other => panic!("{other:?}"),
        }
    };
    let brief = Duration::from_millis(100);
    let made = zk.create("/ttl-", b"").ttl(brief).sequential().await.unwrap();
    assert_eq!(gone().await, made.path);
    // The same in a multi.
    zk.multi().create("/short", &b""[..]).ttl(brief).create("/plain", &b""[..]).await.unwrap();
    assert_eq!(gone().await, "/short");
    // With a child a container stays, and without one it goes.
    zk.create("/container", b"").container().await.unwrap();
    let multi = zk.multi().create("/other", &b""[..]).container();
    multi.create("/other/child", &b""[..]).await.unwrap();
    zk.create("/container/child", b"").await.unwrap();
    zk.delete("/container/child").await.unwrap();
    assert_eq!((gone().await, gone().await), ("/container/child".into(), "/container".into()));
    zk.create("/container", b"").container().await.unwrap();
    // One that never had a child is not old enough to go.
    let mut left = zk.children("/").await.unwrap();
    left.sort();
    assert_eq!(left, ["container", "other", "plain", "zookeeper"]);
}

#[tokio::test]
async fn parents_are_made_where_they_are_missing() {
    let zk = client().await;
    assert!(zk.create("/x/y/z", b"").await.unwrap_err().is_no_node());
    let made = zk.create("/x/y/z", b"deep").parents().await.unwrap();
    assert_eq!((&*made.path, zk.get("/x/y/z").await.unwrap().bytes()), ("/x/y/z", &b"deep"[..]));
    zk.create("/x/y/w", b"").parents().await.unwrap();
    assert!(zk.create("/x/y/w", b"").parents().await.unwrap_err().is_node_exists());
    zk.delete_all("/x").await.unwrap();
    assert_eq!(zk.exists("/x").await.unwrap(), None);
    zk.delete_all("/x").await.unwrap();
    // A namespace is made as well; a chroot cannot be made from inside.
    let ns = zk.namespace("/new/ns").unwrap();
    ns.create("/a", b"").parents().await.unwrap();
    assert_eq!(zk.children("/new/ns").await.unwrap(), ["a"]);
    let lost = Client::connect(&format!("{}/no-such-chroot", addr())).await.unwrap();
    assert!(lost.create("/a", b"").parents().await.unwrap_err().is_no_node());
    assert!(lost.create("/a", b"").parents().protected().await.unwrap_err().is_no_node());
}

#[tokio::test]
async fn acls_bind_who_has_not_proved_the_identity() {
    let zk = client().await;
    let (acl, _) = zk.acl("/").await.unwrap();
    assert_eq!(acl, [Acl::new(perms::ALL, "world", "anyone")]);
    zk.add_auth("digest", b"u:secret").await.unwrap();
    let identities = zk.whoami().await.unwrap();
    assert!(identities.iter().any(|who| who.scheme == "digest" && who.user == "u"));
    zk.create("/mine", b"").acl([Acl::new(perms::ALL, "auth", "")].to_vec()).await.unwrap();
    let other = Client::connect(&format!("{}{}", addr(), zk.chroot())).await.unwrap();
    assert!(other.get("/mine").await.unwrap_err().is_no_auth());
    let open = [Acl::new(perms::READ | perms::ADMIN, "world", "anyone")];
    let stat = zk.set_acl("/mine", &open).version(0).await.unwrap();
    assert_eq!(stat.aversion, 1);
    other.get("/mine").await.unwrap();
    assert!(zk.set_acl("/mine", &open).version(0).await.unwrap_err().is_bad_version());
}

#[tokio::test]
async fn a_multi_happens_as_a_whole_or_not_at_all() {
    let zk = client().await;
    let results = zk
        .multi()
        .create("/m", &b"1"[..])
        .create("/m/e-", &b""[..])
        .ephemeral()
        .sequential()
        .set("/m", &b"2"[..])
        .version(0)
        .check("/m", 1)
        .delete("/m/e-0000000000")
        .await
        .unwrap();
    let [made, numbered, set, MultiResult::Checked, MultiResult::Deleted] = &results[..] else {
        panic!("{results:?}");
    };
    let path = |of: &MultiResult| match of {
        MultiResult::Created(created) => created.path.clone(),
        other => panic!("{other:?}"),
    };
    assert_eq!((&*path(made), &*path(numbered)), ("/m", "/m/e-0000000000"));
    assert!(matches!(set, MultiResult::Set(stat) if stat.version == 1));
    let multi = zk.multi().create("/n", &b""[..]).check("/m", 7).delete("/m");
    let error = multi.await.unwrap_err();
    assert_eq!(error.multi(), Some((1, ErrorCode::BAD_VERSION)));
    assert_eq!(zk.exists("/n").await.unwrap(), None);
    let read = zk.multi_read().get("/m").children("/").get("/none").await.unwrap();
    let [ReadResult::Data(data), ReadResult::Children(names), ReadResult::Failed(code)] = &read[..]
    else {
        panic!("{read:?}");
    };
    assert_eq!((data.bytes(), &names[..]), (&b"2"[..], &["m".to_owned()][..]));
    assert_eq!(*code, ErrorCode::NO_NODE);
    assert!(zk.multi().delete("/m").ephemeral().await.is_err(), "no mode for a delete");
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_here() {
    let zk = client().await;
    let namespace = zk.namespace("/sub").unwrap();
    for path in ["", "a", "/a/", "/a//b", "/./a", "/a\0"] {
        for zk in [&zk, &namespace] {
            let error = zk.get(path).await.unwrap_err();
            assert!(matches!(error.code(), Some(ErrorCode::BAD_ARGUMENTS)), "{path:?} {error}");
            assert_eq!(error.fate(), Fate::DidNotHappen);
            assert!(zk.create(path, b"").await.is_err());
            assert!(zk.multi().delete(path).await.is_err());
            assert!(zk.multi_read().get(path).await.is_err());
        }
    }
    let error = zk.create("/large", &vec![0; 2 << 20]).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::Refused(Refused::TooLarge { .. })), "{error}");
    assert_eq!((error.code(), error.fate()), (None, Fate::DidNotHappen));
    assert!(Client::connect("").await.is_err() && Client::connect("a:b:c").await.is_err());
}

#[tokio::test]
async fn a_namespace_is_another_root_of_the_same_session() {
    let zk = client().await;
    zk.create("/ns/deep", b"").parents().await.unwrap();
    let ns = zk.namespace("/ns").unwrap().namespace("/deep").unwrap();
    assert_eq!(ns.session_id(), zk.session_id());
    let made = ns.create("/s-", b"1").sequential().ephemeral().await.unwrap();
    assert_eq!(made.path, "/s-0000000000");
    assert_eq!(zk.children("/ns/deep").await.unwrap(), ["s-0000000000"]);
    assert_eq!(ns.children("/").await.unwrap(), ["s-0000000000"]);
    assert_eq!(ns.ephemerals("/").await.unwrap(), ["/s-0000000000"]);
    let results = ns.multi().create("/m", &b""[..]).await.unwrap();
    assert!(matches!(&results[..], [MultiResult::Created(created)] if created.path == "/m"));
    let protected = ns.create("/p/q", b"").parents().protected().await.unwrap();
    assert!(protected.path.starts_with("/p/_c_") && protected.path.ends_with("-q"));
    assert!(zk.exists(&format!("/ns/deep{}", protected.path)).await.unwrap().is_some());
    ns.delete_all("/p").await.unwrap();
    assert_eq!(ns.exists("/p").await.unwrap(), None);
}

#[tokio::test]
async fn requests_are_executed_in_the_order_in_which_they_were_submitted() {
    let zk = client().await;
    zk.create("/n", b"").await.unwrap();
    let sets: Vec<_> = (0..1000).map(|n: i32| zk.set("/n", &n.to_be_bytes()).send()).collect();
    let last = zk.get("/n").send();
    for (n, set) in sets.into_iter().enumerate() {
        assert_eq!(set.await.unwrap().version, n as i32 + 1);
    }
    assert_eq!(last.await.unwrap().bytes(), 999i32.to_be_bytes());
}

#[tokio::test]
async fn the_ensemble_is_asked_about_itself() {
    let zk = client().await;
    zk.sync("/").await.unwrap();
    // A server that stands alone has the znode and no members in it.
    zk.config().await.unwrap();
    let change = Reconfig { leaving: Some("9".to_owned()), ..Reconfig::default() };
    let error = zk.reconfig(&change).await.unwrap_err();
    assert_eq!(error.fate(), Fate::DidNotHappen, "{error}");
    assert!(place().await.starts_with("/t"));
}
