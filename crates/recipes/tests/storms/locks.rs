//! Locks.

use std::sync::{Arc, Mutex as StdMutex};
use std::time::Duration;

use oxkeeper_recipes::{Error, Guard, Keeper, Layout, Mutex};

use crate::seeds;
use crate::world::{CALM, CUTS, Dice, MS, SECOND, STORM, Sim, Weather, World};

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

/// A session of a machine, a new one whenever the last is over.
pub struct Session {
    pub world: World,
    pub machine: usize,
    keeper: Option<Keeper>,
}

impl Session {
    pub fn new(world: &World, machine: usize) -> Session {
        Session { world: world.clone(), machine, keeper: None }
    }

    pub fn keeper(&mut self) -> Keeper {
        let over =
            |keeper: &Keeper| keeper.port().standing() == oxkeeper_recipes::port::Standing::Over;
        if self.keeper.as_ref().is_none_or(over) {
            self.keeper = Some(self.world.connect(self.machine));
        }
        self.keeper.clone().expect("just made")
    }

    pub async fn sleep(&self, us: u64) {
        self.world.sleep(self.machine, us).await;
    }
}

struct Contest {
    layout: Layout,
    weather: Weather,
    machines: usize,
    rounds: u64,
}

async fn contend(
    mut own: Session,
    contest: Arc<Contest>,
    mut dice: Dice,
    referee: Arc<StdMutex<Referee>>,
) {
    let mut done = 0;
    while done < contest.rounds {
        let mutex = Mutex::new(own.keeper(), "/locks/a").layout(contest.layout);
        let acquired = match dice.below(5) {
            // Given up at any moment: what is left behind is seen at the end.
            0 => mutex.acquire_within(Duration::from_micros(dice.below(40 * MS))).await,
            1 => mutex.try_acquire().await,
            _ => mutex.acquire().await.map(Some),
        };
        let guard = match acquired {
            Ok(Some(guard)) => guard,
            Ok(None) => {
                own.sleep(dice.below(30 * MS)).await;
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
        own.sleep(dice.below(20 * MS)).await;
        drop(guard);
        own.sleep(dice.below(20 * MS)).await;
        done += 1;
        referee.lock().unwrap().leave(&again);
        match dice.below(2) {
            0 => drop(again),
            _ => drop(again.release().await),
        }
        own.sleep(dice.below(50 * MS)).await;
    }
}

/// Runs a contest to its end and returns what went wrong.
fn contest(seed: u64, contest: Contest) -> Referee {
    let mut sim = Sim::new(seed, contest.weather);
    let referee: Arc<StdMutex<Referee>> = Arc::default();
    let contest = Arc::new(contest);
    let left = Arc::new(StdMutex::new(contest.machines));
    for machine in 0..contest.machines {
        let own = Session::new(&sim.world, machine);
        let dice = Dice::new(seed * 1000 + machine as u64);
        let (contest, referee) = (Arc::clone(&contest), Arc::clone(&referee));
        let left = Arc::clone(&left);
        sim.spawn(machine, async move {
            contend(own, contest, dice, referee).await;
            *left.lock().unwrap() -= 1;
        });
    }
    let dice = &mut Dice::new(seed);
    sim.pass(dice.between(1, 15) * SECOND);
    if contest.weather.freezes && dice.below(3) == 0 {
        sim.kill(0);
        *left.lock().unwrap() -= 1;
        sim.pass(10 * SECOND);
    }
    sim.calm();
    let waiting = Arc::clone(&left);
    sim.pass_until(120 * SECOND, move || *waiting.lock().unwrap() == 0);
    let stuck = *left.lock().unwrap();
    // Longer than any session lives.
    sim.pass(12 * SECOND);
    let names = sim.world.lock().names("/locks/a");
    drop(sim);
    let mut referee = std::mem::take(&mut *referee.lock().unwrap());
    if stuck > 0 {
        referee.errors.push(format!("{stuck} wait for nothing"));
    }
    if !names.is_empty() {
        referee.errors.push(format!("left behind: {names:?}"));
    }
    referee
}

#[test]
fn a_mutex_has_one_owner_in_any_weather_and_nobody_waits_for_nothing() {
    let (mut entered, mut alive) = (0, 0);
    for seed in seeds(60) {
        let layout = if seed % 2 == 0 { Layout::Curator } else { Layout::Kazoo };
        let weather = [STORM, CUTS, CALM][(seed / 2 % 3) as usize];
        let plan = Contest { layout, weather, machines: 2 + seed as usize % 5, rounds: 12 };
        let referee = contest(seed, plan);
        assert!(referee.errors.is_empty(), "OXKEEPER_SEED={seed}: {:#?}", referee.errors);
        entered += referee.entered;
        alive += referee.alive;
    }
    assert!(alive > 0 && entered >= alive);
    eprintln!("{entered} acquisitions, {} of them lost before they were noticed", entered - alive);
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
