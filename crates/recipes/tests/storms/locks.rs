//! Locks: two owners at once by the server's tree, a token that fell, somebody who waits for
//! nothing, and znodes that are left behind.

use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use oxkeeper_recipes::{Error, Guard, Layout, MultiLock, Mutex, ReadWriteLock, Semaphore};

use crate::crew::{Complaints, Crew, Machine};
use crate::executor::Sim;
use crate::weather::{CALM, KINDS, weather};
use crate::world::{MS, SECOND, World};
use crate::{many, seeds};

/// Sees who enters and who leaves, and looks at the server's tree.
#[derive(Default)]
pub struct Referee {
    inside: Vec<(String, i64)>,
    last: i64,
    pub entered: u64,
    /// Of those who entered, whose znode was there.
    pub alive: u64,
    pub errors: Vec<String>,
}

impl Referee {
    /// Somebody believes to have it, alone.
    pub fn enter(&mut self, world: &World, guard: &Guard) {
        let (path, token) = (guard.path(), guard.token().0);
        self.entered += 1;
        let ground = world.lock();
        if ground.czxid(&path) == Some(token) {
            self.alive += 1;
            for (other, held) in &self.inside {
                if ground.czxid(other) == Some(*held) {
                    self.errors.push(format!("{path} and {other} both hold it"));
                }
            }
            if token <= self.last {
                self.errors.push(format!("token {token} after {}", self.last));
            }
            self.last = token;
        }
        self.inside.push((path, token));
    }

    pub fn leave(&mut self, guard: &Guard) {
        let token = guard.token().0;
        self.inside.retain(|(_, held)| *held != token);
    }
}

struct Contest {
    layout: Layout,
    rounds: u64,
}

async fn contend(mut own: Machine, contest: Contest, referee: Arc<StdMutex<Referee>>) {
    let mut done = 0;
    while done < contest.rounds {
        let mutex = Mutex::new(own.keeper(), "/locks/a").layout(contest.layout);
        let acquired = match own.dice.below(5) {
            // Given up at any moment: what is left behind is seen at the end.
            0 => {
                let limit = Duration::from_micros(own.dice.below(40 * MS));
                mutex.acquire_within(limit).await
            }
            1 => mutex.try_acquire().await,
            _ => mutex.acquire().await.map(Some),
        };
        let guard = match acquired {
            Ok(Some(guard)) => guard,
            Ok(None) => {
                own.idle(30 * MS).await;
                continue;
            }
            Err(error) if error.is_session_over() => continue,
            Err(error) => {
                referee.lock().unwrap().errors.push(format!("acquire: {error}"));
                return;
            }
        };
        referee.lock().unwrap().enter(&own.world, &guard);
        let again = guard.clone();
        own.idle(20 * MS).await;
        drop(guard);
        own.idle(20 * MS).await;
        done += 1;
        referee.lock().unwrap().leave(&again);
        match own.dice.below(2) {
            0 => drop(again),
            // Nobody takes it away; at most the answer gets lost.
            _ if matches!(again.release().await, Ok(false)) => {
                let error = "a release says that the lock was lost before";
                referee.lock().unwrap().errors.push(error.to_owned());
            }
            _ => {}
        }
        own.idle(50 * MS).await;
    }
}

#[test]
fn a_mutex_has_one_owner_in_any_weather_and_nobody_waits_for_nothing() {
    let (mut entered, mut alive, mut roles) = (0, 0, 0);
    let (mut wiped, mut changes) = (0, 0);
    for seed in seeds(84) {
        let layout = if (seed / KINDS).is_multiple_of(2) { Layout::Curator } else { Layout::Kazoo };
        let referee: Arc<StdMutex<Referee>> = Arc::default();
        let mut crew = Crew::new(seed, weather(seed), 2 + seed as usize % 5, |own| {
            contend(own, Contest { layout, rounds: 12 }, Arc::clone(&referee))
        });
        let stuck = crew.finish();
        let left = crew.sim.world.lock().names("/locks/a");
        let ground = crew.sim.world.lock();
        roles += ground.roles();
        wiped += ground.wiped;
        changes += ground.configurations.len().saturating_sub(1);
        drop(ground);
        let referee = std::mem::take(&mut *referee.lock().unwrap());
        assert!(referee.errors.is_empty(), "OXKEEPER_SEED={seed}: {:#?}", referee.errors);
        assert!(stuck.is_empty(), "OXKEEPER_SEED={seed}: {stuck:?} wait for nothing");
        assert!(left.is_empty(), "OXKEEPER_SEED={seed}: left behind {left:?}");
        entered += referee.entered;
        alive += referee.alive;
    }
    let lost = entered - alive;
    eprintln!(
        "{entered} acquisitions, {lost} of them lost before they were noticed; {roles} roles, \
         {wiped} servers emptied, {changes} changes of members"
    );
    assert!(alive > 0);
    if seeds(84).len() >= 84 {
        assert!(roles > 200, "servers began to serve {roles} times only");
        assert!(wiped > 12, "only {wiped} servers lost their data");
        assert!(changes > 12, "members were changed {changes} times only");
    }
}

/// Who shares what, by the server's tree.
#[derive(Default)]
struct Sharing {
    inside: Vec<(String, i64, bool)>,
    most: usize,
}

impl Sharing {
    fn enter(&mut self, world: &World, guard: &Guard, alone: bool) -> Vec<(String, i64, bool)> {
        self.inside.push((guard.path(), guard.token().0, alone));
        let ground = world.lock();
        let is_alive = |(path, token, _): &&(String, i64, bool)| ground.czxid(path) == Some(*token);
        let alive: Vec<_> = self.inside.iter().filter(is_alive).cloned().collect();
        self.most = self.most.max(alive.len());
        alive
    }

    fn leave(&mut self, token: i64) {
        self.inside.retain(|(_, held, _)| *held != token);
    }
}

#[test]
fn writers_are_alone_and_readers_are_not() {
    let mut most = 0;
    for seed in seeds(56) {
        let layout = if (seed / KINDS).is_multiple_of(2) { Layout::Curator } else { Layout::Kazoo };
        let sharing: Arc<StdMutex<Sharing>> = Arc::default();
        let complaints = Complaints::default();
        let work = |mut own: Machine| {
            let (sharing, complaints) = (Arc::clone(&sharing), complaints.clone());
            async move {
                let mut done = 0;
                while done < 8 {
                    let lock = ReadWriteLock::new(own.keeper(), "/locks/rw").layout(layout);
                    let alone = own.dice.below(3) == 0;
                    let side = if alone { lock.write() } else { lock.read() };
                    let limit = Duration::from_micros(own.dice.between(1, 400) * MS);
                    let mut guard = match side.acquire_within(limit).await {
                        Ok(Some(guard)) => guard,
                        Ok(None) => continue,
                        Err(error) if error.is_session_over() => continue,
                        Err(error) => return complaints.add(error.to_string()),
                    };
                    for alone in [alone, false] {
                        let with = sharing.lock().unwrap().enter(&own.world, &guard, alone);
                        if with.len() > 1 && with.iter().any(|(_, _, alone)| *alone) {
                            complaints.add(format!("a writer and others: {with:?}"));
                        }
                        own.idle(30 * MS).await;
                        sharing.lock().unwrap().leave(guard.token().0);
                        if !alone {
                            break;
                        }
                        guard = match lock.downgrade(guard).await {
                            Ok(guard) => guard,
                            Err(error) if error.is_session_over() => break,
                            Err(error) => return complaints.add(error.to_string()),
                        };
                    }
                    done += 1;
                    own.idle(30 * MS).await;
                }
            }
        };
        let mut crew = Crew::new(seed, weather(seed), 3 + seed as usize % 3, work);
        let stuck = crew.finish();
        complaints.none(seed);
        assert!(stuck.is_empty(), "OXKEEPER_SEED={seed}: {stuck:?} wait for nothing");
        assert_eq!(crew.sim.world.lock().names("/locks/rw"), [""; 0], "OXKEEPER_SEED={seed}");
        most = most.max(sharing.lock().unwrap().most);
    }
    assert!(most > 1 || !many(), "readers share");
}

#[test]
fn a_semaphore_gives_its_leases_and_no_more() {
    let mut most = 0;
    for seed in seeds(42) {
        let layout = if (seed / KINDS).is_multiple_of(2) { Layout::Curator } else { Layout::Kazoo };
        let sharing: Arc<StdMutex<Sharing>> = Arc::default();
        let complaints = Complaints::default();
        let work = |mut own: Machine| {
            let (sharing, complaints) = (Arc::clone(&sharing), complaints.clone());
            async move {
                let mut done = 0;
                while done < 6 {
                    let semaphore = Semaphore::new(own.keeper(), "/limit", 2).layout(layout);
                    let limit = Duration::from_micros(own.dice.between(1, 600) * MS);
                    let lease = match semaphore.acquire_within(limit).await {
                        Ok(Some(lease)) => lease,
                        Ok(None) => continue,
                        Err(error) if error.is_session_over() => continue,
                        Err(error) => return complaints.add(error.to_string()),
                    };
                    let with = sharing.lock().unwrap().enter(&own.world, lease.guard(), false);
                    if with.len() > 2 {
                        complaints.add(format!("too many: {with:?}"));
                    }
                    own.idle(40 * MS).await;
                    sharing.lock().unwrap().leave(lease.token().0);
                    done += 1;
                    if own.dice.below(2) == 0 {
                        drop(lease.release().await);
                    }
                }
            }
        };
        let mut crew = Crew::new(seed, weather(seed), 4, work);
        let stuck = crew.finish();
        complaints.none(seed);
        assert!(stuck.is_empty(), "OXKEEPER_SEED={seed}: {stuck:?} wait for nothing");
        let leases = if layout == Layout::Curator { "/limit/leases" } else { "/limit" };
        assert_eq!(crew.sim.world.lock().names(leases), [""; 0], "OXKEEPER_SEED={seed}");
        most = most.max(sharing.lock().unwrap().most);
    }
    assert!(most == 2 || !many());
}

#[test]
fn who_wants_the_same_locks_in_another_order_gets_them() {
    let work = |mut own: Machine| async move {
        for _ in 0..10 {
            let dirs =
                if own.number.is_multiple_of(2) { ["/l/a", "/l/b"] } else { ["/l/b", "/l/a"] };
            let both = MultiLock::new(own.keeper(), dirs).acquire().await.unwrap();
            own.idle(10 * MS).await;
            assert!(both.release().await.unwrap());
        }
    };
    assert_eq!(Crew::new(1, CALM, 4, work).finish(), [0; 0]);
}

#[test]
fn a_foreign_name_is_an_error_for_everybody_who_comes() {
    let mut sim = Sim::new(1, CALM);
    let keeper = sim.world.connect(0);
    let found = sim.run(0, async move {
        let kazoo = Mutex::new(&keeper, "/locks/a").layout(Layout::Kazoo);
        let guard = kazoo.acquire().await.unwrap();
        let curator = Mutex::new(&keeper, "/locks/a").acquire().await;
        (guard.release().await, curator)
    });
    assert!(matches!(found, (Ok(true), Err(Error::Foreign { .. }))), "{found:?}");
    sim.pass(SECOND);
    assert!(sim.world.lock().names("/locks/a").is_empty());
}

#[test]
fn an_owner_hears_that_it_is_asked_to_give_up_and_that_it_has_lost() {
    let mut sim = Sim::new(2, CALM);
    let (keeper, other) = (sim.world.connect(0), sim.world.connect(1));
    sim.run(0, async move {
        let guard = Mutex::new(&keeper, "/locks/a").identity("me").acquire().await.unwrap();
        let far = Mutex::new(&other, "/locks/a");
        let all = far.participants().await.unwrap();
        assert_eq!((all.len(), &all[0].data[..], all[0].token), (1, &b"me"[..], guard.token()));
        assert!(far.revoke(&all[0]).await.unwrap());
        guard.revoked().await;
        let path = guard.path();
        other.port().delete(&path, None).await.unwrap();
        guard.lost().await;
        assert!(!guard.release().await.unwrap(), "it was lost before");
    });
}
