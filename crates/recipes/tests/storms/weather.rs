//! What goes wrong, and when: with the machines that use recipes, and with the servers.

use oxkeeper_client::core::Call;
use oxkeeper_proto::Request;
use oxkeeper_proto::request::ReconfigRequest;
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
    /// Servers lose all their data, one at a time.
    pub wipes: bool,
    /// An operator has members join, leave, vote and observe; there is an observer to begin with.
    pub reconfigures: bool,
}

pub const CALM: Weather = Weather {
    servers: 1,
    cuts: false,
    silences: false,
    freezes: false,
    outages: false,
    wipes: false,
    reconfigures: false,
};
pub const CUTS: Weather = Weather { cuts: true, ..CALM };
pub const STORM: Weather = Weather { silences: true, freezes: true, ..CUTS };
/// Cuts, and an ensemble in trouble.
pub const OUTAGES: Weather = Weather { servers: 3, outages: true, ..CUTS };
/// Everything at once.
pub const TEMPEST: Weather = Weather { servers: 3, outages: true, ..STORM };

/// An ensemble whose members are emptied.
pub const WIPES: Weather = Weather { wipes: true, ..OUTAGES };
/// An ensemble whose members change. Not together with wipes: what a quorum has acknowledged must
/// still be with one of a quorum, and where the quorum changes nobody can know whom it needs.
pub const CHANGES: Weather = Weather { servers: 4, reconfigures: true, ..OUTAGES };

/// How many kinds of weather seeds have.
pub const KINDS: u64 = 7;

/// The weather of a seed.
pub fn weather(seed: u64) -> Weather {
    [STORM, CUTS, CALM, OUTAGES, TEMPEST, WIPES, CHANGES][(seed % KINDS) as usize]
}

impl Ground {
    /// One more thing goes wrong.
    pub(crate) fn storm(&mut self) {
        let next = self.dice.between(10, 900) * MS;
        self.beneath.agenda.plan(next, Event::Storm);
        if self.weather.reconfigures && self.dice.one_in(4) {
            return self.reconfigure();
        }
        if self.weather.wipes && self.dice.one_in(8) {
            return self.wipe();
        }
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

    /// A server loses its data, unless what another has lost may matter still.
    fn wipe(&mut self) {
        if self.servers.iter().any(|server| server.is_wiped()) {
            return;
        }
        let at = self.dice.below(self.servers.len() as u64) as usize;
        self.servers[at].wipe(&mut self.beneath);
        self.wiped += 1;
        let down = self.dice.between(10, 1500) * MS;
        self.beneath.agenda.plan(down, Event::Start { server: at });
    }

    /// The operator has one member join, leave, vote or observe: the leader as often as not.
    fn reconfigure(&mut self) {
        let configs = self.servers.iter().filter_map(|server| server.config());
        let Some(config) = configs.max_by_key(|config| config.version()) else { return };
        let count = self.servers.len() as i64;
        let text = config.to_string();
        let lines = text.lines().filter(|line| line.starts_with("server."));
        self.configurations.insert(lines.collect::<Vec<_>>().join("\n"));
        let is_member = |sid: &i64| text.contains(&format!("server.{sid}="));
        let (members, others): (Vec<i64>, Vec<i64>) = (1..=count).partition(is_member);
        let leader = self.servers.iter().position(|server| server.leads());
        let leader = leader.map(|at| at as i64 + 1).filter(|sid| members.contains(sid));
        let is_voter = |sid: i64| config.voters().any(|voter| voter.0 == sid);
        let idle = members.iter().copied().find(|sid| !is_voter(*sid));
        // Three vote at least; of more, the leader goes as often as not.
        let may_go = config.voters().count() > 3;
        let any = *self.dice.pick(&members);
        let one = match leader.filter(|_| self.dice.one_in(2)) {
            _ if !may_go => idle.unwrap_or(any),
            Some(leader) => leader,
            None => any,
        };
        let (votes, may_go) = (is_voter(one), may_go || idle == Some(one));
        let line =
            |sid: i64, role: &str| format!("server.{sid}=server-{sid}:2888:3888:{role};2181");
        let (joining, leaving) = match (others.first(), self.dice.below(3)) {
            (Some(other), 0) => (Some(line(*other, "observer")), None),
            (Some(other), _) => (Some(line(*other, "participant")), None),
            (None, 0) if may_go => (None, Some(one.to_string())),
            (None, _) if !votes => (Some(line(one, "participant")), None),
            (None, _) if may_go => (Some(line(one, "observer")), None),
            (None, _) => return,
        };
        let change = Request::Reconfig(ReconfigRequest {
            joining: joining.as_deref().map(Into::into),
            leaving: leaving.as_deref().map(Into::into),
            new_members: None,
            current_config_id: config.version(),
        });
        // Whether it is done is seen by what is in force.
        let now = self.now.mono_us;
        let _ = self.operator().client.submit(now, Call::from(change));
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
