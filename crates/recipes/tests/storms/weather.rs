//! What goes wrong, and when: with the machines that use recipes, and with the servers.

use oxkeeper_sim::agenda::{Event, MS};
use oxkeeper_sim::net::Party;
use oxkeeper_sim::server::Outage;

use crate::world::Ground;

/// The servers, and what can go wrong.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    /// One alone, or an ensemble.
    pub servers: usize,
    /// Connections of machines break.
    pub cuts: bool,
    /// Nothing passes between a machine and the servers for a while, and then it does.
    pub silences: bool,
    /// A machine does not get to run for a while.
    pub freezes: bool,
    /// Servers are killed, lose power, freeze, lose each other or their leader.
    pub outages: bool,
}

pub const CALM: Weather =
    Weather { servers: 1, cuts: false, silences: false, freezes: false, outages: false };
pub const CUTS: Weather = Weather { cuts: true, ..CALM };
pub const STORM: Weather = Weather { silences: true, freezes: true, ..CUTS };
/// Cuts, and an ensemble in trouble.
pub const OUTAGES: Weather = Weather { servers: 3, outages: true, ..CUTS };
/// Everything at once.
pub const TEMPEST: Weather = Weather { servers: 3, outages: true, ..STORM };

/// How many kinds of weather seeds have.
pub const KINDS: u64 = 5;

/// The weather of a seed.
pub fn weather(seed: u64) -> Weather {
    [STORM, CUTS, CALM, OUTAGES, TEMPEST][(seed % KINDS) as usize]
}

impl Ground {
    /// One more thing goes wrong.
    pub(crate) fn storm(&mut self) {
        let next = self.dice.between(10, 900) * MS;
        self.beneath.agenda.plan(next, Event::Storm);
        if self.weather.outages && self.dice.one_in(3) {
            return self.outage();
        }
        if self.seats.is_empty() {
            return;
        }
        let at = self.dice.below(self.seats.len() as u64) as usize;
        match self.dice.below(8) {
            0..=3 if self.weather.cuts => self.cut(at),
            4 | 5 if self.weather.silences => {
                for server in 0..self.servers.len() {
                    self.beneath.net.cut(Party::Client(at), Party::Server(server));
                    self.beneath.net.cut(Party::Server(server), Party::Client(at));
                }
                let long = self.dice.between(20, 9000) * MS;
                self.beneath.agenda.plan(long, Event::Relief(0));
            }
            6 if self.weather.freezes => {
                let long = self.dice.between(5, 9000) * MS;
                self.freeze(self.seats[at].machine, long);
            }
            _ => {}
        }
    }

    /// A server is in trouble, the leader more often than others.
    fn outage(&mut self) {
        let count = self.servers.len();
        let any = self.dice.below(count as u64) as usize;
        let leader = self.servers.iter().position(|server| server.leads());
        let at = if self.dice.one_in(2) { leader.unwrap_or(any) } else { any };
        match self.dice.below(8) {
            0 | 1 => self.strike(at, Outage::Kill),
            2 => self.strike(at, Outage::Power),
            3 => self.servers[at].step_down(&mut self.beneath),
            // As SIGSTOP does, longer than the others wait or not.
            4 => {
                let long = self.dice.between(300, 4000) * MS;
                self.servers[at].freeze(self.now.mono_us + long);
            }
            5 => {
                let times = self.dice.between(20, 200);
                self.servers[at].slow_disk(times);
                self.beneath.agenda.plan(self.dice.between(500, 4000) * MS, Event::Relief(at));
            }
            6 if self.dice.one_in(3) => {
                (0..count).for_each(|at| self.strike(at, Outage::Power));
            }
            // Nobody hears it, it hears nobody, or both; its clients do not know.
            _ => {
                let way = self.dice.below(3);
                for other in (0..count).filter(|other| *other != at) {
                    let (a, b) = (Party::Server(at), Party::Server(other));
                    if way != 1 {
                        self.beneath.net.cut(a, b);
                    }
                    if way != 0 {
                        self.beneath.net.cut(b, a);
                    }
                }
                self.beneath.agenda.plan(self.dice.between(100, 5000) * MS, Event::Relief(at));
            }
        }
    }

    fn strike(&mut self, at: usize, outage: Outage) {
        self.servers[at].fail(&mut self.beneath, outage);
        let down = self.dice.between(10, 2500) * MS;
        self.beneath.agenda.plan(down, Event::Start { server: at });
    }

    /// The end of bad weather: all wires carry, all machines and servers run.
    pub(crate) fn calm(&mut self) {
        self.weather = Weather { servers: self.servers.len(), ..CALM };
        self.thaw_all();
        self.beneath.net.heal(&mut self.beneath.agenda);
        for (at, server) in self.servers.iter_mut().enumerate() {
            server.repair();
            server.hurry(&mut self.beneath);
            if !server.is_up() {
                self.beneath.agenda.plan(0, Event::Start { server: at });
            }
        }
    }
}
