//! Who lives in the world: tasks on machines, polled one after the other, in virtual time.
//!
//! Time passes only when nobody can do anything at this moment.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};

use oxkeeper_recipes::port::Pending;

use crate::weather::Weather;
use crate::world::{SECOND, Shared1, TICK, World, fill};

struct Woken {
    id: u64,
    ready: Arc<Mutex<BTreeSet<u64>>>,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.ready.lock().unwrap().insert(self.id);
    }
}

/// The world and who is in it.
pub struct Sim {
    pub world: World,
    tasks: BTreeMap<u64, (usize, Pending<()>)>,
    ready: Arc<Mutex<BTreeSet<u64>>>,
    next_task: u64,
}

impl Sim {
    pub fn new(seed: u64, weather: Weather) -> Sim {
        Sim {
            world: World::new(seed, weather),
            tasks: BTreeMap::new(),
            ready: Arc::default(),
            next_task: 0,
        }
    }

    /// Lets something run on a machine.
    pub fn spawn(&mut self, machine: usize, task: impl Future<Output = ()> + Send + 'static) {
        self.adopt(machine, Box::pin(task));
    }

    fn adopt(&mut self, machine: usize, task: Pending<()>) {
        self.next_task += 1;
        self.tasks.insert(self.next_task, (machine, task));
        self.ready.lock().unwrap().insert(self.next_task);
    }

    /// A machine's process ends at once: no destructor of it runs, its sessions are left behind.
    pub fn kill(&mut self, machine: usize) {
        let tasks = std::mem::take(&mut self.tasks);
        for (id, task) in tasks {
            match task.0 == machine {
                true => std::mem::forget(task),
                false => drop(self.tasks.insert(id, task)),
            }
        }
        self.world.lock().die(machine);
    }

    /// The end of bad weather: all wires carry, all machines and servers run.
    pub fn calm(&mut self) {
        self.world.lock().calm();
    }

    fn poll_ready(&mut self) -> bool {
        let mut moved = false;
        let ready: Vec<u64> = self.ready.lock().unwrap().iter().copied().collect();
        for id in ready {
            let Some((machine, task)) = self.tasks.get_mut(&id) else {
                self.ready.lock().unwrap().remove(&id);
                continue;
            };
            if self.world.lock().is_frozen(*machine) {
                continue;
            }
            self.ready.lock().unwrap().remove(&id);
            moved = true;
            let waker = Waker::from(Arc::new(Woken { id, ready: Arc::clone(&self.ready) }));
            if task.as_mut().poll(&mut Context::from_waker(&waker)).is_ready() {
                self.tasks.remove(&id);
            }
            let spawned = std::mem::take(&mut self.world.lock().spawned);
            for (machine, task) in spawned {
                self.adopt(machine, task);
            }
        }
        moved
    }

    /// Everything that can happen at this moment.
    fn settle(&mut self) {
        while self.poll_ready() {
            self.world.lock().all_effects();
        }
    }

    /// Lets so much time pass, or less if `done` says so.
    pub fn pass_until(&mut self, us: u64, done: impl Fn() -> bool) {
        let end = self.world.now() + us;
        self.world.lock().beneath.agenda.plan_at(end, TICK);
        self.world.lock().all_effects();
        loop {
            self.settle();
            if done() || !self.world.lock().step(end) {
                return;
            }
        }
    }

    pub fn pass(&mut self, us: u64) {
        self.pass_until(us, || false);
    }

    /// Runs one future to its end in this weather; panics if it takes longer than a minute.
    pub fn run<T: Send + 'static>(
        &mut self,
        machine: usize,
        task: impl Future<Output = T> + Send + 'static,
    ) -> T {
        let slot: Shared1<T> = Arc::default();
        let to = Arc::clone(&slot);
        self.spawn(machine, async move { fill(&to, task.await) });
        let seen = Arc::clone(&slot);
        self.pass_until(60 * SECOND, move || seen.lock().unwrap().value.is_some());
        let value = slot.lock().unwrap().value.take();
        value.expect("it ends within a minute")
    }
}
