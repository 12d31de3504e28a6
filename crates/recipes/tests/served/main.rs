//! Recipes over sockets, on the client and a server of ours in this process, with a proxy between
//! them where connections are to be lost. What can go wrong in time is for `storms`; this is about
//! the client as a port.

use std::sync::Arc;
use std::time::Duration;

use oxkeeper_client::Client;
use oxkeeper_recipes::port::{Kind, New};
use oxkeeper_recipes::{
    Change, Counter, DelayQueue, Election, Hold, Job, Keeper, Led, LockingQueue, Mutex,
    PersistentNode, PersistentTtlNode, Queue, Schedule, Scheduler, Semaphore, Sessions, TreeCache,
};
use oxkeeper_scratch::{Proxy, addr};

async fn client() -> Client {
    Client::connect(&addr().to_string()).await.expect("a session")
}

/// What must come; a test that hangs says so.
async fn soon<F: Future>(what: F) -> F::Output {
    tokio::time::timeout(Duration::from_secs(30), what).await.expect("it comes soon")
}

/// Waits until a directory is as it should be.
async fn until_empty(zk: &Client, dir: &str) {
    let (names, mut changed) = zk.children(dir).watch().await.expect("the directory");
    let mut left = names;
    while !left.is_empty() {
        let _ = soon(changed).await;
        (left, changed) = zk.children(dir).watch().await.expect("the directory");
    }
}

#[tokio::test]
async fn a_lock_goes_from_one_to_the_next_over_lost_connections() {
    let proxy = Proxy::before(addr()).await;
    let (a, b) = (Client::connect(&proxy.addr.to_string()).await.unwrap(), client().await);
    let first = Mutex::new(&a, "/served/lock").acquire().await.unwrap();
    assert_eq!(first.hold(), Hold::Held);
    let waiting = tokio::spawn(async move {
        let mutex = Mutex::new(&b, "/served/lock");
        (mutex.acquire().await.unwrap(), b)
    });
    let mutex = Mutex::new(&a, "/served/lock");
    while mutex.participants().await.unwrap().len() < 2 {}
    proxy.cut();
    assert!(soon(first.clone().release()).await.is_ok_and(|last| !last), "a clone holds it still");
    let token = first.token();
    assert!(soon(first.release()).await.unwrap());
    let (second, b) = soon(waiting).await.unwrap();
    assert!(second.token() > token);
    drop(second);
    until_empty(&b, "/served/lock").await;
}

#[tokio::test]
async fn an_acquire_that_is_dropped_leaves_nothing_behind() {
    let zk = client().await;
    let held = Mutex::new(&zk, "/served/dropped").acquire().await.unwrap();
    let mutex = Mutex::new(&zk, "/served/dropped");
    // Dropped before its first answer, and somewhere on its way.
    for pause_us in [0, 50, 200, 1000, 5000] {
        let limit = Duration::from_micros(pause_us);
        assert!(mutex.acquire_within(limit).await.unwrap().is_none());
    }
    // A guard may be dropped where there is no runtime.
    std::thread::spawn(move || drop(held)).join().unwrap();
    until_empty(&zk, "/served/dropped").await;
}

#[tokio::test]
async fn what_is_held_is_lost_with_its_session() {
    let (a, b) = (client().await, client().await);
    let guard = Mutex::new(&a, "/served/lost").acquire().await.unwrap();
    let lease = Semaphore::new(&b, "/served/leases", 1).acquire().await.unwrap();
    assert!(lease.token() > guard.token());
    a.close().await;
    soon(guard.lost()).await;
    assert_eq!(guard.hold(), Hold::Lost);
    assert!(guard.release().await.unwrap_err().is_session_over());
    assert!(lease.release().await.unwrap());
    let again = soon(Mutex::new(&b, "/served/lost").acquire()).await.unwrap();
    // A write that is fenced by what is held.
    let keeper = Keeper::from(&b);
    let new = New { path: "/served/fenced".into(), data: Vec::new(), kind: Kind::Persistent };
    let edits = vec![again.check(), oxkeeper_recipes::port::Edit::Create(new.clone())];
    let check = again.check();
    keeper.port().multi(edits).await.unwrap();
    again.release().await.unwrap();
    let edits = vec![check, oxkeeper_recipes::port::Edit::Delete(new.path, None)];
    let refused = keeper.port().multi(edits).await.unwrap_err();
    assert_eq!(refused.index, Some(0));
}

#[tokio::test]
async fn leaders_queues_and_counters_work_over_sockets() {
    let zk = client().await;
    let election = Election::new(&zk, "/served/leader").identity("me");
    let led = election.lead(|leadership| async move { leadership.token() }).await.unwrap();
    assert!(matches!(led, Led::Done(token) if token.0 > 0));
    let mut latch = election.stand().await.unwrap();
    soon(latch.elected()).await.unwrap();
    assert_eq!(election.candidates().await.unwrap()[0].data, b"me");
    latch.close().await;

    let queue = Queue::new(&zk, "/served/queue");
    queue.put(b"1").await.unwrap();
    assert_eq!(soon(queue.take()).await.unwrap().into_bytes(), b"1");
    let locking = LockingQueue::new(&zk, "/served/locking");
    locking.put(b"2").await.unwrap();
    let claim = soon(locking.claim()).await.unwrap();
    assert_eq!(claim.data(), b"2");
    drop(claim);
    assert!(soon(locking.claim()).await.unwrap().consume().await.unwrap());
    let delayed = DelayQueue::new(&zk, "/served/delayed");
    delayed.put(b"3", Keeper::from(&zk).port().wall_ms() + 30).await.unwrap();
    assert_eq!(soon(delayed.take()).await.unwrap().into_bytes(), b"3");
    let counter = Counter::new(&zk, "/served/counter");
    assert_eq!(counter.add(40).await.unwrap(), 40);
    assert_eq!(counter.add(2).await.unwrap(), 42);
}

#[tokio::test]
async fn a_cache_hears_over_a_lost_connection() {
    let proxy = Proxy::before(addr()).await;
    let (far, near) = (Client::connect(&proxy.addr.to_string()).await.unwrap(), client().await);
    near.create("/served-tree/a", b"1").parents().await.unwrap();
    let cache = TreeCache::start(&far, "/served-tree").await.unwrap();
    soon(cache.loaded()).await.unwrap();
    assert_eq!(cache.get("/served-tree/a").unwrap().data, b"1");
    let mut changes = cache.changes();
    proxy.refuse(true);
    near.set("/served-tree/a", b"2").await.unwrap();
    near.create("/served-tree/b", b"3").await.unwrap();
    proxy.refuse(false);
    let mut heard = Vec::new();
    while heard.len() < 2 {
        match soon(changes.next()).await {
            Change::Changed(path, node) | Change::Added(path, node) => {
                heard.push((path, node.data.clone()));
            }
            Change::Loaded => {}
            other => panic!("{other:?}"),
        }
    }
    heard.sort();
    assert_eq!(heard[0], ("/served-tree/a".to_owned(), b"2".to_vec()));
    assert_eq!(heard[1], ("/served-tree/b".to_owned(), b"3".to_vec()));
    assert_eq!(cache.children("/served-tree").len(), 2);
    cache.close().await;
}

#[tokio::test]
async fn what_is_kept_is_there_again_with_the_next_session() {
    let address = addr().to_string();
    let made: Arc<std::sync::Mutex<Vec<Client>>> = Arc::default();
    let own = Arc::clone(&made);
    let connect = move || {
        let (address, own) = (address.clone(), Arc::clone(&own));
        async move {
            let client = Client::connect(&address).await?;
            own.lock().expect("nobody panics").push(client.clone());
            Ok::<_, oxkeeper_client::Error>(client)
        }
    };
    let sessions = Sessions::renewed(connect).await.unwrap();
    let near = client().await;
    let mut node = PersistentNode::ephemeral(&sessions, "/served/here", b"1").await.unwrap();
    soon(node.made()).await.unwrap();
    let (_, gone) = near.exists("/served/here").watch().await.unwrap();
    let first = made.lock().expect("nobody panics")[0].clone();
    first.close().await;
    let _ = soon(gone).await;
    node.set(b"2");
    soon(node.made()).await.unwrap();
    assert_eq!(near.get("/served/here").await.unwrap().bytes(), b"2");
    node.close().await;
    assert!(near.exists("/served/here").await.unwrap().is_none());
    let ttl = Duration::from_secs(60);
    let mut lasting = PersistentTtlNode::start(&near, "/served/ttl", b"x", ttl).await.unwrap();
    soon(lasting.node().made()).await.unwrap();
    lasting.close().await;
    assert!(near.exists("/served/ttl").await.unwrap().is_some(), "left to its time to live");
}

#[tokio::test]
async fn a_job_runs_at_its_time() {
    let zk = client().await;
    let job = Job::new("often", Schedule::every(Duration::from_millis(20)).unwrap());
    let (ran, mut runs) = tokio::sync::mpsc::unbounded_channel();
    let run = move |tick: oxkeeper_recipes::Tick| {
        let ran = ran.clone();
        async move { ran.send(tick.due_ms).expect("somebody listens") }
    };
    let worker = Scheduler::new(&zk, "/served/jobs").work(job, run).await.unwrap();
    let mut last = 0;
    for _ in 0..5 {
        let due = soon(runs.recv()).await.unwrap();
        assert!(due > last && due % 20 == 0);
        last = due;
    }
    worker.close().await;
}
