//! Caches, members, znodes that are kept, and things shared out: each is compared with the server's
//! own tree when the weather is over.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use oxkeeper_recipes::port::{Kind, New};
use oxkeeper_recipes::{
    Cached, Change, Changes, Group, GroupLayout, NodeCache, Partitioner, PersistentNode,
    PersistentTtlNode, Registry, ServiceInstance, Share, SharedValue, TreeCache,
};

use crate::crew::{Complaints, Crew, Machine};
use crate::executor::Sim;
use crate::seeds;
use crate::weather::{CALM, CUTS, weather};
use crate::world::{MS, SECOND, World};

/// All data at and below a path, by the server's tree.
fn dump(world: &World, path: &str, into: &mut BTreeMap<String, Vec<u8>>) {
    let (data, names) = {
        let ground = world.lock();
        (ground.data(path), ground.names(path))
    };
    if let Some(data) = data {
        into.insert(path.to_owned(), data);
    }
    names.iter().for_each(|name| dump(world, &format!("{path}/{name}"), into));
}

/// Makes, sets and deletes znodes of a small tree.
async fn meddle(mut own: Machine) {
    for round in 0..60u64 {
        let keeper = own.keeper();
        let port = keeper.port();
        let place = ["a", "a/b", "a/c", "d"][own.dice.below(4) as usize];
        let (path, data) = (format!("/t/{place}"), round.to_string().into_bytes());
        let new =
            |path: &str| New { path: path.into(), data: data.clone(), kind: Kind::Persistent };
        match own.dice.below(4) {
            0 => drop(port.delete(&path, None).await),
            1 => drop(port.set(&path, data.clone(), None).await),
            _ => {
                drop(port.create(new("/t")).await);
                drop(port.create(new(&path)).await);
            }
        }
        own.idle(40 * MS).await;
    }
}

/// Keeps what a cache tells of its changes, and complains of what does not fit.
async fn hear(mut changes: Changes, told: &mut BTreeMap<String, Vec<u8>>, complaints: &Complaints) {
    loop {
        let (fits, what) = match changes.next().await {
            Change::Added(path, node) => {
                (told.insert(path.clone(), node.data.clone()).is_none(), format!("{path} added"))
            }
            Change::Changed(path, node) => {
                (told.insert(path.clone(), node.data.clone()).is_some(), format!("{path} changed"))
            }
            Change::Removed(path, _) => (told.remove(&path).is_some(), format!("{path} removed")),
            Change::Loaded => continue,
            other => (false, format!("{other:?}")),
        };
        if !fits {
            complaints.add(what);
        }
    }
}

/// Follows the tree until the storm is over, and compares.
async fn follow(own: Machine, complaints: Complaints) {
    let sessions = own.sessions().await;
    let cache = TreeCache::start(&sessions, "/t").await.unwrap();
    let node = NodeCache::start(&sessions, "/t/a").await.unwrap();
    let mut told: BTreeMap<String, Vec<u8>> = BTreeMap::new();
    tokio::select! {
        biased;
        () = hear(cache.changes(), &mut told, &complaints) => {}
        () = own.rest(60 * SECOND) => {}
    }
    let mut expected = BTreeMap::new();
    dump(&own.world, "/t", &mut expected);
    if told != expected {
        complaints.add(format!("told {told:?}, is {expected:?}"));
    }
    let mut held = BTreeMap::new();
    held.extend(cache.get("/t").map(|node| ("/t".to_owned(), node.data.clone())));
    held.extend(cache.below("/t").into_iter().map(|(p, n)| (p, n.data.clone())));
    if held != expected {
        complaints.add(format!("held {held:?}, is {expected:?}"));
    }
    let one = node.get().node().map(|node| node.data.clone());
    if one.as_ref() != expected.get("/t/a") || node.get() == Cached::Unread {
        complaints.add(format!("one {one:?}, is {:?}", expected.get("/t/a")));
    }
    node.close().await;
    cache.close().await;
}

#[test]
fn a_tree_cache_comes_to_what_the_tree_is_and_tells_each_step() {
    for seed in seeds(42) {
        let complaints = Complaints::default();
        let work = |own: Machine| {
            let complaints = complaints.clone();
            async move {
                match own.number {
                    0 | 1 => meddle(own).await,
                    _ => follow(own, complaints).await,
                }
            }
        };
        let mut crew = Crew::new(seed, weather(seed), 4, work);
        assert_eq!(crew.finish(), [0; 0], "OXKEEPER_SEED={seed}");
        complaints.none(seed);
    }
}

#[test]
fn a_kept_znode_comes_back_with_its_data_and_goes_with_its_keeper() {
    for seed in seeds(42) {
        let complaints = Complaints::default();
        let work = |mut own: Machine| {
            let complaints = complaints.clone();
            async move {
                let sessions = own.sessions().await;
                let path = format!("/here/{}", own.number);
                let mut node = PersistentNode::ephemeral(&sessions, &path, b"0").await.unwrap();
                for round in 1..8 {
                    own.idle(900 * MS).await;
                    if own.dice.below(3) == 0 {
                        // Somebody else takes it away.
                        let _ = own.keeper().port().delete(&path, None).await;
                    }
                    node.set(round.to_string().as_bytes());
                    if node.made().await.is_err() {
                        complaints.add("it ended".to_owned());
                    }
                }
                // Until the storm is over, and for as long as a session may take to end after it.
                own.rest(45 * SECOND).await;
                let data = own.world.lock().data(&path);
                if data.as_deref() != Some(b"7") {
                    complaints.add(format!("{path} is {data:?}"));
                }
                node.close().await;
                // If its session has just expired, the leader knows that before the tree does.
                own.rest(SECOND).await;
                if own.world.lock().data(&path).is_some() {
                    complaints.add(format!("{path} stays"));
                }
            }
        };
        let mut crew = Crew::new(seed, weather(seed), 3, work);
        assert_eq!(crew.finish(), [0; 0], "OXKEEPER_SEED={seed}");
        complaints.none(seed);
        assert_eq!(crew.sim.world.lock().names("/here"), [""; 0], "OXKEEPER_SEED={seed}");
    }
}

#[test]
fn a_ttl_znode_lives_as_long_as_it_is_touched() {
    let mut sim = Sim::new(7, CALM);
    let keeper = sim.world.connect(0);
    let ttl = Duration::from_secs(4);
    let node = sim.run(0, async move {
        let mut node = PersistentTtlNode::start(&keeper, "/ttl", b"x", ttl).await.unwrap();
        node.node().made().await.unwrap();
        node
    });
    sim.pass(300 * SECOND);
    let ground = sim.world.lock().names("/ttl");
    assert_eq!(ground, ["touch"]);
    sim.run(0, node.close());
    sim.pass(300 * SECOND);
    assert_eq!(sim.world.lock().data("/ttl"), None, "left to itself it goes");
}

#[test]
fn members_are_seen_as_they_come_and_go() {
    for layout in [GroupLayout::Curator, GroupLayout::Party, GroupLayout::ShallowParty] {
        let mut sim = Sim::new(8, CALM);
        let (a, b) = (sim.world.connect(0), sim.world.connect(1));
        sim.run(0, async move {
            let ids = |members: &[oxkeeper_recipes::Member]| {
                members.iter().map(|member| member.id.clone()).collect::<Vec<_>>()
            };
            let (here, there) =
                (Group::new(&a, "/g").layout(layout), Group::new(&b, "/g").layout(layout));
            let none = here.members().await.unwrap();
            assert!(none.is_empty());
            let one = here.join("one", b"1").await.unwrap();
            let seen = there.members_other_than(&none).await.unwrap();
            assert_eq!(ids(&seen), ["one"]);
            let two = there.join("two", b"2").await.unwrap();
            let seen = here.members_other_than(&seen).await.unwrap();
            assert_eq!(ids(&seen), ["one", "two"]);
            drop(one);
            let seen = there.members_other_than(&seen).await.unwrap();
            assert_eq!(ids(&seen), ["two"]);
            two.close().await;
            assert!(here.members().await.unwrap().is_empty());
        });
    }
}

#[test]
fn services_are_found_in_turn() {
    let mut sim = Sim::new(9, CALM);
    let (a, b) = (sim.world.connect(0), sim.world.connect(1));
    sim.run(0, async move {
        let (here, there) = (Registry::new(&a, "/services"), Registry::new(&b, "/services"));
        let one = here.register(ServiceInstance::new("mail", "1", "10.0.0.1", 25)).await.unwrap();
        let two = here.register(ServiceInstance::new("mail", "2", "10.0.0.2", 25)).await.unwrap();
        assert_eq!(there.services().await.unwrap(), ["mail"]);
        assert_eq!(there.instances("mail").await.unwrap().len(), 2);
        let provider = there.provider("mail").await.unwrap();
        let mut changes = provider.cache().changes();
        let ids: Vec<_> = (0..4).map(|_| provider.next().unwrap().id).collect();
        assert_eq!(ids, ["1", "2", "1", "2"]);
        one.close().await;
        assert!(matches!(changes.next().await, Change::Removed(..)));
        assert_eq!(provider.all().len(), 1);
        assert!(there.unregister("mail", "2").await.unwrap());
        // It is kept: it comes back.
        assert!(matches!(changes.next().await, Change::Removed(..)));
        assert!(matches!(changes.next().await, Change::Added(..)));
        two.close().await;
        assert!(!here.unregister("mail", "2").await.unwrap());
    });
}

#[test]
fn a_shared_value_is_set_by_who_has_seen_it() {
    let mut sim = Sim::new(10, CALM);
    let (a, b) = (sim.world.connect(0), sim.world.connect(1));
    sim.run(0, async move {
        let mut here = SharedValue::start(&a, "/v", b"0").await.unwrap();
        let mut there = SharedValue::start(&b, "/v", b"other").await.unwrap();
        let seen = here.read().await.unwrap();
        assert_eq!(
            (&seen.data, &there.read().await.unwrap().data),
            (&b"0".to_vec(), &b"0".to_vec())
        );
        assert!(there.try_set(&seen, b"1").await.unwrap());
        assert!(!here.try_set(&seen, b"2").await.unwrap());
        let mut now = here.read().await.unwrap();
        while now.data == b"0" {
            now = here.changed().await.unwrap();
        }
        assert_eq!(now.data, b"1");
        assert!(here.try_set(&now, b"2").await.unwrap());
        here.close().await;
        there.close().await;
    });
}

#[test]
fn things_are_had_by_one_and_all_are_had_in_the_end() {
    for seed in seeds(15) {
        let complaints = Complaints::default();
        let owners: Arc<StdMutex<BTreeMap<String, (usize, i64)>>> = Arc::default();
        let work = |own: Machine| {
            let (complaints, owners) = (complaints.clone(), Arc::clone(&owners));
            async move {
                let sessions = own.sessions().await;
                let things = ["0", "1", "2", "3", "4"];
                let (id, settle) = (format!("m{}", own.number), Duration::from_millis(300));
                own.rest(own.number as u64 * SECOND).await;
                let start = Partitioner::settling(&sessions, "/s", things, &id, settle).await;
                let mut shards = match start {
                    Ok(shards) => shards,
                    Err(error) => return complaints.add(error.to_string()),
                };
                let forget = |owners: &StdMutex<BTreeMap<String, (usize, i64)>>| {
                    owners.lock().unwrap().retain(|_, (owner, _)| *owner != own.number);
                };
                let working = async {
                    loop {
                        match shards.changed().await {
                            Share::Own(parts) => {
                                for part in parts {
                                    let mut owners = owners.lock().unwrap();
                                    let token = part.token.0;
                                    let had = owners.insert(part.name.clone(), (own.number, token));
                                    // A later token fences an owner that has not noticed yet.
                                    if had.is_some_and(|(_, before)| before >= token) {
                                        complaints.add(format!("{part:?} after {had:?}"));
                                    }
                                }
                            }
                            Share::Release => {
                                forget(&owners);
                                shards.release();
                            }
                            Share::Waiting => forget(&owners),
                            Share::Ended => return complaints.add("ended".to_owned()),
                        }
                    }
                };
                tokio::select! {
                    biased;
                    () = working => {}
                    () = own.rest(70 * SECOND) => {}
                }
                if owners.lock().unwrap().len() != things.len() {
                    complaints.add(format!("in the end {:?}", owners.lock().unwrap()));
                }
                own.rest(SECOND * 9).await;
            }
        };
        let weather = [CALM, CUTS][(seed % 2) as usize];
        let mut crew = Crew::new(seed, weather, 3, work);
        crew.finish();
        complaints.none(seed);
        assert_eq!(crew.sim.world.lock().names("/s/party"), [""; 0], "OXKEEPER_SEED={seed}");
    }
}

#[test]
fn a_kept_znode_does_not_wait_for_what_its_last_session_left() {
    let mut sim = Sim::new(16, CALM);
    let connecting = sim.world.clone();
    let node = sim.run(0, async move {
        let connect = move || std::future::ready(Ok::<_, String>(connecting.connect(0)));
        let sessions = oxkeeper_recipes::Sessions::renewed(connect).await.unwrap();
        let kind = Kind::Ephemeral;
        let mut node = PersistentNode::start(&sessions, "/kept", b"x", kind).await.unwrap();
        node.made().await.unwrap();
        node
    });
    let first = sim.world.lock().czxid("/kept").unwrap();
    // An identity that is refused ends the session for its client; the server lets it expire.
    let mut ground = sim.world.lock();
    let now = ground.now.mono_us;
    ground.seats[0].client.add_auth(now, "nosuch", b"x").unwrap();
    ground.all_effects();
    drop(ground);
    sim.pass(2 * SECOND);
    let next = sim.world.lock().czxid("/kept");
    assert!(next.is_some_and(|next| next > first), "{next:?} after {first}");
    drop(node);
}
