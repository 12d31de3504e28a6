//! Servers that come back one by one, with what a test has put on their disks, in fair weather.

use std::collections::BTreeSet;
use std::sync::Arc;

use oxkeeper_proto::Sid;
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::{Entry, Epochs, Settings};

use super::{Dice, World, describe};
use crate::host::{Durable, Server};

impl World {
    /// Servers of ours that all have the same configuration in force, and have not come yet.
    pub fn of_members(seed: u64, membership: Membership, count: usize) -> World {
        let mut settings = Settings::new(Sid(0));
        settings.tick_time_ms = 100;
        settings.init_limit = 10;
        settings.sync_limit = 5;
        settings.reconfig_enabled = true;
        let servers = (1..=count).map(|sid| Server::new(Sid(sid as i64), 100)).collect();
        let mut world = World::empty(Dice(seed), settings, membership, servers);
        world.ours = Some((0..count).collect());
        world.calm = true;
        world
    }

    /// A server comes back with what is on its disk.
    pub fn come(
        &mut self,
        at: usize,
        log: Vec<Entry>,
        epochs: Epochs,
        seen: Option<Arc<QuorumVerifier>>,
    ) {
        self.servers[at].durable = Durable { log, epochs, ensemble_id: 0 };
        self.seen.extend(seen.map(|seen| (at, seen)));
        self.start(at);
    }

    /// Bad weather, and then fair again. Who was never there comes with nothing, and is told of
    /// members as they were.
    pub fn bad_weather(&mut self, steps: usize) -> Result<(), String> {
        self.calm = false;
        self.storm(steps)?;
        self.calm = true;
        self.cut.clear();
        for at in 0..self.servers.len() {
            let now_ms = self.now_ms;
            match &mut self.servers[at].peer {
                Some(peer) => peer.may_lead(now_ms, true),
                None => self.start(at),
            }
        }
        self.effects_of_all()
    }

    /// Lets so much time pass.
    pub fn pass(&mut self, ms: u64) -> Result<(), String> {
        let until_ms = self.now_ms + ms;
        while self.now_ms < until_ms {
            self.effects_of_all()?;
            self.step()?;
        }
        Ok(())
    }

    /// Until these serve in one epoch.
    pub fn until_they_serve(
        &mut self,
        places: &BTreeSet<usize>,
        within_ms: u64,
    ) -> Result<(), String> {
        let together = |world: &World| {
            let epochs: BTreeSet<_> = places.iter().map(|at| world.servers[*at].serving).collect();
            epochs.len() == 1 && epochs.first() != Some(&None)
        };
        self.until(together, within_ms)
    }

    /// Until something is so.
    pub fn until(&mut self, so: impl Fn(&World) -> bool, within_ms: u64) -> Result<(), String> {
        let until_ms = self.now_ms + within_ms;
        while self.now_ms < until_ms {
            self.effects_of_all()?;
            self.step()?;
            if so(self) {
                return Ok(());
            }
        }
        let states: Vec<_> = self.servers.iter().map(describe).collect();
        Err(format!("liveness: they do not serve after {within_ms} ms: {states:#?}"))
    }

    /// The epochs that these serve in, of those who serve.
    pub fn epochs_of(&self, sids: &[usize]) -> Vec<u32> {
        sids.iter().filter_map(|sid| self.servers[sid - 1].serving).collect()
    }
}
