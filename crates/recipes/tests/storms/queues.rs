//! Queues, and values that many change: every item and every addition is booked when it goes in and
//! when it comes out.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex as StdMutex};

use oxkeeper_recipes::{
    AtomicValue, Claim, Counter, CounterLayout, DelayQueue, Error, Layout, LockingQueue, Mutex,
    PriorityQueue, Queue, QueueLayout,
};

use crate::crew::{Complaints, Crew, Machine};
use crate::executor::Sim;
use crate::weather::{CALM, KINDS, weather};
use crate::world::{MS, SECOND};
use crate::{many, seeds};

/// What became of items.
#[derive(Default)]
struct Books {
    put: BTreeSet<String>,
    /// Of which nobody knows whether they were put, or consumed: how many requests of each.
    perhaps: BTreeMap<String, u32>,
    taken: BTreeMap<String, u32>,
    doubtful: u32,
    closed: usize,
}

impl Books {
    fn perhaps(&mut self, item: &str) {
        *self.perhaps.entry(item.to_owned()).or_default() += 1;
    }

    fn known(&mut self, item: &str) {
        match self.perhaps.get_mut(item) {
            Some(count @ 2..) => *count -= 1,
            _ => drop(self.perhaps.remove(item)),
        }
    }
}

#[test]
fn what_is_put_is_taken_once() {
    for seed in seeds(42) {
        let all = [QueueLayout::Zookeeper, QueueLayout::Curator, QueueLayout::Kazoo];
        let layout = all[(seed / KINDS % 3) as usize];
        let books: Arc<StdMutex<Books>> = Arc::default();
        let complaints = Complaints::default();
        let work = |mut own: Machine| {
            let (books, complaints) = (Arc::clone(&books), complaints.clone());
            async move {
                for round in 0..20 {
                    if own.number.is_multiple_of(2) {
                        let item = format!("{}-{round}", own.number);
                        // A machine that dies on the way does not tell.
                        books.lock().unwrap().perhaps(&item);
                        let put = Queue::of(own.keeper(), "/q", layout).put(item.as_bytes()).await;
                        if put.is_ok() {
                            let mut books = books.lock().unwrap();
                            books.known(&item);
                            books.put.insert(item);
                        }
                        own.idle(40 * MS).await;
                    }
                }
                books.lock().unwrap().closed += 1;
                let mut empty = 0;
                while own.number % 2 == 1 && empty < 40 {
                    let queue = Queue::of(own.keeper(), "/q", layout);
                    match queue.try_take().await {
                        Ok(Some(item)) => {
                            let mut books = books.lock().unwrap();
                            books.doubtful += u32::from(!item.certain);
                            let name = String::from_utf8(item.into_bytes()).unwrap();
                            *books.taken.entry(name).or_default() += 1;
                        }
                        Ok(None) => {
                            empty += 1;
                            own.rest(500 * MS).await;
                        }
                        Err(error) if error.is_session_over() => {
                            // What was on its way out is gone.
                            books.lock().unwrap().doubtful += 1;
                        }
                        Err(error) => return complaints.add(error.to_string()),
                    }
                }
            }
        };
        let mut crew = Crew::new(seed, weather(seed), 4, work);
        assert_eq!(crew.finish(), [0; 0], "OXKEEPER_SEED={seed}");
        complaints.none(seed);
        let books = books.lock().unwrap();
        let twice = books.taken.values().filter(|count| **count > 1).count() as u32;
        let lost = books.put.iter().filter(|item| !books.taken.contains_key(*item)).count() as u32;
        let told = format!("OXKEEPER_SEED={seed}: {twice} twice, {lost} lost, {}", books.doubtful);
        assert!(twice + lost <= books.doubtful, "{told}");
        for item in books.taken.keys() {
            assert!(books.put.contains(item) || books.perhaps.contains_key(item), "{told}");
        }
        assert!(weather(seed).cuts || twice + lost + books.doubtful == 0, "{told}");
    }
}

/// One who puts items, claims what there is, and consumes it or gives it back.
struct Claimer {
    kazoo: bool,
    freezes: bool,
    books: Arc<StdMutex<Books>>,
    /// The last token by item.
    begun: Arc<StdMutex<BTreeMap<String, i64>>>,
    complaints: Complaints,
}

impl Claimer {
    fn queue(&self, own: &mut Machine) -> LockingQueue {
        match self.kazoo {
            true => LockingQueue::new(own.keeper(), "/q"),
            false => LockingQueue::curator(own.keeper(), "/q/entries", "/q/taken"),
        }
    }

    async fn work(self, mut own: Machine) {
        for round in 0..8 {
            let item = format!("{}-{round}", own.number);
            let put = self.queue(&mut own).put(item.as_bytes()).await;
            let mut books = self.books.lock().unwrap();
            match put {
                Ok(()) => drop(books.put.insert(item)),
                Err(_) => books.perhaps(&item),
            }
        }
        let mut empty = 0;
        while empty < 30 {
            match self.queue(&mut own).try_claim().await {
                Ok(Some(claim)) => self.has(&mut own, claim).await,
                Ok(None) => {
                    empty += 1;
                    own.rest(600 * MS).await;
                }
                Err(error) if error.is_session_over() => {}
                Err(error) => return self.complaints.add(error.to_string()),
            }
        }
    }

    async fn has(&self, own: &mut Machine, claim: Claim) {
        let (name, token) = (String::from_utf8(claim.data()).unwrap(), claim.token().0);
        let before = self.begun.lock().unwrap().insert(name.clone(), token);
        // Only one that has been frozen can come behind a later claim.
        if before.is_some_and(|before| before >= token) && !self.freezes {
            self.complaints.add(format!("{name}: {token} after {before:?}"));
        }
        own.idle(60 * MS).await;
        if own.dice.below(6) == 0 {
            return drop(claim);
        }
        // Whether it was consumed dies with a machine, and with a session.
        self.books.lock().unwrap().perhaps(&name);
        let consumed = claim.consume().await;
        let mut books = self.books.lock().unwrap();
        match consumed {
            Ok(done) => {
                books.known(&name);
                *books.taken.entry(name).or_default() += u32::from(done);
            }
            Err(error) if error.is_session_over() => {}
            Err(error) => self.complaints.add(error.to_string()),
        }
    }
}

#[test]
fn a_claimed_item_is_consumed_once_and_never_lost() {
    let mut again = 0;
    for seed in seeds(56) {
        let (books, begun): (Arc<StdMutex<Books>>, Arc<_>) = Default::default();
        let complaints = Complaints::default();
        let work = |own: Machine| {
            let claimer = Claimer {
                kazoo: (seed / KINDS).is_multiple_of(2),
                freezes: weather(seed).freezes,
                books: Arc::clone(&books),
                begun: Arc::clone(&begun),
                complaints: complaints.clone(),
            };
            claimer.work(own)
        };
        let mut crew = Crew::new(seed, weather(seed), 3, work);
        assert_eq!(crew.finish(), [0; 0], "OXKEEPER_SEED={seed}");
        complaints.none(seed);
        let ground = crew.sim.world.lock();
        assert_eq!(ground.names("/q/taken"), [""; 0], "OXKEEPER_SEED={seed}");
        assert_eq!(ground.names("/q/entries"), [""; 0], "OXKEEPER_SEED={seed}");
        let books = books.lock().unwrap();
        for (item, times) in &books.taken {
            assert!(*times <= 1, "OXKEEPER_SEED={seed}: {item} was consumed twice");
        }
        for item in books.put.iter().filter(|item| !books.perhaps.contains_key(*item)) {
            let taken = books.taken.get(item);
            assert_eq!(taken, Some(&1), "OXKEEPER_SEED={seed}: {item} is lost");
        }
        again += books.perhaps.len();
    }
    assert!(again > 0 || !many(), "the weather was too fine");
}

#[test]
fn priorities_and_moments_are_kept() {
    let mut sim = Sim::new(5, CALM);
    let keeper = sim.world.connect(0);
    let started = sim.world.lock().now.wall_ms;
    sim.run(0, async move {
        for layout in [Layout::Curator, Layout::Kazoo] {
            let queue = PriorityQueue::new(&keeper, &format!("/p/{layout:?}"), layout);
            for (item, priority) in [("c", 300), ("a", 2), ("d", 300), ("b", 20)] {
                queue.put(item.as_bytes(), priority).await.unwrap();
            }
            assert_eq!(queue.len().await.unwrap(), 4);
            for item in ["a", "b", "c", "d"] {
                assert_eq!(queue.take().await.unwrap().into_bytes(), item.as_bytes());
            }
            assert!(queue.is_empty().await.unwrap());
        }
        let queue = DelayQueue::new(&keeper, "/d");
        queue.put(b"late", started + 2_000).await.unwrap();
        queue.put(b"soon", started + 1_000).await.unwrap();
        assert_eq!(queue.try_take().await.unwrap(), None);
        for (item, due) in [(&b"soon"[..], 1_000), (b"late", 2_000)] {
            assert_eq!(queue.take().await.unwrap().into_bytes(), item);
            let at = keeper.port().wall_ms() - started;
            assert!((due..due + 100).contains(&at), "taken at {at}, due at {due}");
        }
        let all = vec![b"1".to_vec(), b"2".to_vec()];
        let queue = Queue::of(&keeper, "/all", QueueLayout::Curator);
        queue.put_all(all).await.unwrap();
        assert_eq!(queue.take().await.unwrap().parts, [b"1".to_vec()]);
        assert_eq!(queue.take().await.unwrap().parts, [b"2".to_vec()]);
    });
}

#[test]
fn a_counter_counts_what_was_said_to_be_counted() {
    for seed in seeds(42) {
        let all = [CounterLayout::Long, CounterLayout::Int, CounterLayout::Decimal];
        let layout = all[(seed / KINDS % 3) as usize];
        let sums = Arc::new(StdMutex::new((0, 0)));
        let complaints = Complaints::default();
        let work = |mut own: Machine| {
            let (sums, complaints) = (Arc::clone(&sums), complaints.clone());
            async move {
                for _ in 0..15 {
                    let keeper = own.keeper();
                    let value = AtomicValue::new(&keeper, "/n/counter").tries(2);
                    let value = value.promote_to(Mutex::new(&keeper, "/n/lock"));
                    match Counter::of(value, layout).add(3).await {
                        Ok(_) => sums.lock().unwrap().0 += 3,
                        Err(Error::Unsure { .. } | Error::SessionOver) => {
                            sums.lock().unwrap().1 += 3;
                        }
                        Err(error) => return complaints.add(error.to_string()),
                    }
                    own.idle(8 * MS).await;
                }
            }
        };
        let mut crew = Crew::new(seed, weather(seed), 4, work);
        let stuck = crew.finish();
        assert!(stuck.is_empty(), "OXKEEPER_SEED={seed}: {stuck:?}");
        complaints.none(seed);
        let keeper = crew.sim.world.connect(1);
        let counted = crew.sim.run(1, async move {
            Counter::of(AtomicValue::new(&keeper, "/n/counter"), layout).get().await.unwrap()
        });
        let (sure, unsure) = *sums.lock().unwrap();
        // One more for a machine that died in the middle of it.
        let most = sure + unsure + 3;
        assert!((sure..=most).contains(&counted), "OXKEEPER_SEED={seed}: {counted} of {sure}");
        assert!(weather(seed).cuts || counted == sure, "OXKEEPER_SEED={seed}");
    }
}

#[test]
fn a_value_is_set_on_what_it_was_and_on_nothing_else() {
    let mut sim = Sim::new(6, CALM);
    let keeper = sim.world.connect(0);
    sim.run(0, async move {
        let value = AtomicValue::new(&keeper, "/deep/value");
        assert!(!value.compare_and_set(b"", b"x").await.unwrap(), "it is not there");
        assert!(value.initialize(b"a").await.unwrap());
        assert!(!value.initialize(b"z").await.unwrap());
        assert!(value.compare_and_set(b"a", b"b").await.unwrap());
        assert!(!value.compare_and_set(b"a", b"c").await.unwrap());
        value.force_set(b"d").await.unwrap();
        let (data, stat) = value.get().await.unwrap().unwrap();
        assert_eq!((&data[..], stat.version), (&b"d"[..], 2));
        let int = Counter::of(AtomicValue::new(&keeper, "/int"), CounterLayout::Int);
        int.force_set(i64::from(i32::MAX)).await.unwrap();
        assert!(matches!(int.add(1).await, Err(Error::Invalid(_))));
        assert_eq!(int.get().await.unwrap(), i64::from(i32::MAX));
    });
    sim.pass(SECOND);
}
