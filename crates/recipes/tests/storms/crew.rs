//! Machines that each do something until they are done, in some weather.

use std::collections::BTreeSet;
use std::future::Future;
use std::sync::{Arc, Mutex};

use oxkeeper_recipes::port::Standing;
use oxkeeper_recipes::{Keeper, Sessions};

use crate::executor::Sim;
use crate::weather::Weather;
use crate::world::{Dice, SECOND, World};

/// The sessions of a machine, a new one whenever the last is over.
pub struct Machine {
    pub world: World,
    pub number: usize,
    pub dice: Dice,
    keeper: Option<Keeper>,
}

impl Machine {
    pub fn keeper(&mut self) -> Keeper {
        let over = |keeper: &Keeper| keeper.port().standing() == Standing::Over;
        if self.keeper.as_ref().is_none_or(over) {
            self.keeper = Some(self.world.connect(self.number));
        }
        self.keeper.clone().expect("just made")
    }

    pub async fn sessions(&self) -> Sessions {
        let (world, number) = (self.world.clone(), self.number);
        let connect = move || std::future::ready(Ok::<_, String>(world.connect(number)));
        Sessions::renewed(connect).await.expect("it cannot fail")
    }

    pub async fn rest(&self, us: u64) {
        self.world.rest(self.number, us).await;
    }

    /// Some time below this.
    pub async fn idle(&mut self, us: u64) {
        let time = self.dice.below(us);
        self.rest(time).await;
    }
}

pub struct Crew {
    pub sim: Sim,
    busy: Arc<Mutex<BTreeSet<usize>>>,
    weather: Weather,
    dice: Dice,
}

impl Crew {
    pub fn new<W>(seed: u64, weather: Weather, machines: usize, work: impl Fn(Machine) -> W) -> Crew
    where
        W: Future<Output = ()> + Send + 'static,
    {
        let mut sim = Sim::new(seed, weather);
        let busy: Arc<Mutex<BTreeSet<usize>>> = Arc::default();
        for number in 0..machines {
            let (world, dice) = (sim.world.clone(), Dice::new(seed * 1000 + number as u64));
            let work = work(Machine { world, number, dice, keeper: None });
            busy.lock().unwrap().insert(number);
            let done = Arc::clone(&busy);
            sim.spawn(number, async move {
                work.await;
                done.lock().unwrap().remove(&number);
            });
        }
        Crew { sim, busy, weather, dice: Dice::new(seed) }
    }

    /// The storm, perhaps a death in it, then calm until all are done or two minutes are over, and
    /// longer than any session lives. Returns who is not done.
    pub fn finish(&mut self) -> Vec<usize> {
        let storm = self.dice.between(1, 15) * SECOND;
        self.sim.pass(storm);
        if self.weather.freezes && self.dice.below(3) == 0 {
            self.sim.kill(0);
            self.busy.lock().unwrap().remove(&0);
            self.sim.pass(10 * SECOND);
        }
        self.sim.calm();
        let busy = Arc::clone(&self.busy);
        self.sim.pass_until(120 * SECOND, move || busy.lock().unwrap().is_empty());
        let stuck = self.busy.lock().unwrap().iter().copied().collect();
        self.sim.pass(12 * SECOND);
        let ground = self.sim.world.lock();
        assert!(ground.amiss().is_empty(), "{:#?}", ground.amiss());
        drop(ground);
        stuck
    }
}

/// What went wrong, told by whoever sees it.
#[derive(Clone, Default)]
pub struct Complaints(Arc<Mutex<Vec<String>>>);

impl Complaints {
    pub fn add(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    pub fn none(&self, seed: u64) {
        let all = self.0.lock().unwrap();
        assert!(all.is_empty(), "OXKEEPER_SEED={seed}: {all:#?}");
    }
}
