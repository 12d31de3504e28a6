//! The world: servers, clients, the wires between them, and a storm.
//!
//! A run has three acts. In the *storm* clients work and everything that can go wrong does. Then
//! everything is *healed*: cuts end, disks work, servers start; nobody writes any more, and within
//! a bound every client must have its session and all its answers. At last most clients are gone,
//! long enough for their sessions to expire, and those that stay look at everything. Then the
//! history is judged.
//!
//! Whole ensembles come in by more servers and by wires between them: a server is addressed by its
//! number everywhere, a wire joins any two parties, and cuts are between any two.

mod storm;

use std::fmt;

use oxkeeper_proto::Sid;

use oxkeeper_zab::quorum::Membership;

use crate::agenda::{Agenda, Event, MS, Micros, SECOND};
use crate::dice::Dice;
use crate::history::{History, Holding};
use crate::net::{Net, Party};
use crate::server::{Ensemble, Outage, Server, ServerSettings};
use crate::trace::Trace;
use crate::workload::{Client, Phase};
use storm::Ambush;
pub use storm::Weather;

/// What everybody in the world stands on.
#[derive(Debug)]
pub struct Ground {
    /// The time, and what is planned.
    pub agenda: Agenda,
    /// All wires.
    pub net: Net,
    /// What happened, to be read.
    pub trace: Trace,
    /// What happened, to be judged.
    pub history: History,
}

impl Ground {
    /// Adds a line to the trace.
    pub fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.agenda.now(), what);
    }
}

/// What a run is like.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Everything that is left to chance follows from it.
    pub seed: u64,
    /// How many clients.
    pub clients: usize,
    /// How long clients pause at most between two things they do, ms.
    pub pace_ms: u64,
    /// How long the storm lasts.
    pub storm: Micros,
    /// What it leans to.
    pub weather: Weather,
    /// Fewer members that vote than these are never asked for.
    pub voters_least: usize,
    /// Whether servers come anew to a leader that is alone with what it wants to change.
    pub newcomers: bool,
    /// The servers.
    pub server: ServerSettings,
    /// Whether all of the trace is kept.
    pub whole_trace: bool,
}

impl Plan {
    /// A run as it is done when nothing else is asked for.
    pub fn new(seed: u64) -> Plan {
        let mut dice = Dice::fork(seed, "plan");
        let server = ServerSettings {
            fronts: dice.between(1, 4) as usize,
            snap_count: *dice.pick(&[40, 120, 400]),
            stalls_once_in: *dice.pick(&[4, 15, 50]),
            ..ServerSettings::default()
        };
        let clients = dice.between(2, 7) as usize;
        let pace_ms = *dice.pick(&[40, 20, 6]);
        Plan {
            seed,
            clients,
            pace_ms,
            storm: 6 * SECOND,
            weather: Weather::Open,
            voters_least: 3,
            newcomers: false,
            server,
            whole_trace: false,
        }
    }

    /// A run of so many servers that vote, and perhaps some that do not: one alone, or an ensemble.
    pub fn of_servers(seed: u64, voters: usize) -> Plan {
        let mut plan = Plan::new(seed);
        if voters > 1 {
            let mut dice = Dice::fork(seed, "ensemble");
            plan.server.ensemble = Some(Ensemble {
                voters,
                observers: *dice.pick(&[0, 0, 0, 1, 2]),
                window: *dice.pick(&[4, 30, 500]),
                force_snapshot: dice.one_in(10),
                snapshot_size_permille: *dice.pick(&[None, Some(0), Some(330), Some(330)]),
                ours: dice.one_in(2),
                // Small seeds are those of fixed sets, of which it is known what happens in them.
                writes_alone: seed > 1 << 20 && dice.one_in(2),
                ..Ensemble::default()
            });
        }
        plan
    }

    /// A run of so many servers that vote in some weather. One server has no other than the open.
    pub fn in_weather(seed: u64, voters: usize, weather: Weather) -> Plan {
        let mut plan = Plan::of_servers(seed, voters);
        let Some(ensemble) = &mut plan.server.ensemble else { return plan };
        plan.weather = weather;
        let mut dice = Dice::fork(seed, weather.name());
        match weather {
            Weather::Open => {}
            Weather::Epochs => {
                plan.clients = plan.clients.max(4);
                plan.pace_ms = *dice.pick(&[4, 8]);
                (ensemble.init_limit, ensemble.sync_limit) = (4, 2);
                ensemble.sync_enabled = !dice.one_in(2);
            }
            Weather::Members => {
                ensemble.reconfig = true;
                ensemble.observers = dice.between(0, 2) as usize;
                // Drawn for what is not asked here any more: seeds keep their storms.
                dice.draw();
                plan.voters_least = *dice.pick(&[2, 3, 3]);
            }
            Weather::Changes => {
                ensemble.reconfig = true;
                ensemble.observers = dice.between(0, 2) as usize;
                plan.voters_least = *dice.pick(&[2, 3]);
                // In every second storm: it takes place from what else may happen.
                plan.newcomers = seed.is_multiple_of(2);
            }
            Weather::Groups => {
                ensemble.draw_groups(&mut dice);
                plan.pace_ms = *dice.pick(&[4, 8, 20]);
            }
        }
        plan
    }

    /// A run as it is done when all that can be asked for is to have its share.
    pub fn of_all(seed: u64) -> Plan {
        use Weather::{Changes, Epochs, Groups, Members, Open};
        let (voters, weather) = match seed % 12 {
            0 => (1, Open),
            1 => (3, Open),
            7 => (3 + 2 * (seed / 12 % 2) as usize, Changes),
            2 | 8 => (5, Open),
            3 | 9 => (3, Epochs),
            4 | 10 => (3, Members),
            5 => (5, Epochs),
            6 => (5 + (seed / 12 % 3) as usize, Groups),
            _ => (5, Members),
        };
        Plan::in_weather(seed, voters, weather)
    }
}

/// Within this time after the storm all clients must have all their answers.
const HEALING: Micros = 30 * SECOND;
/// Beyond the longest session and the time in which a server notices.
const EXPIRING: Micros = 14 * SECOND;
/// Events of one run, far beyond what any has.
const EVENTS_MAX: u64 = 2_000_000;

/// See the module.
#[derive(Debug)]
pub struct World {
    plan: Plan,
    ground: Ground,
    servers: Vec<Server>,
    clients: Vec<Client>,
    phase: Phase,
    /// The power fails for many when the next of them begins to serve.
    lurking: Option<usize>,
    ambush: Option<Ambush>,
    /// When the last rolling restart will be over.
    restless_until: Micros,
    dice: Dice,
}

/// What a run leaves.
#[derive(Debug)]
pub struct Outcome {
    /// What was seen.
    pub history: History,
    /// What happened, to be read.
    pub trace: Trace,
}

impl World {
    /// A world that has not begun.
    pub fn new(plan: Plan) -> World {
        let seed = plan.seed;
        let servers = plan.server.ensemble.as_ref().map_or(1, |ensemble| ensemble.members());
        let mut history = History::new(servers);
        history.members = servers;
        history.tick = Micros::from(plan.server.tick_ms) * MS;
        World {
            ground: Ground {
                agenda: Agenda::default(),
                net: Net::new(seed),
                trace: Trace::new(plan.whole_trace),
                history,
            },
            servers: (0..servers).map(|id| Server::new(id, seed, plan.server.clone())).collect(),
            clients: (0..plan.clients)
                .map(|id| Client::new(id, servers, seed, plan.pace_ms))
                .collect(),
            phase: Phase::Storm,
            lurking: None,
            ambush: None,
            restless_until: 0,
            dice: Dice::fork(seed, "storm"),
            plan,
        }
    }

    /// All three acts.
    pub fn run(&mut self) {
        for server in 0..self.servers.len() {
            self.ground.agenda.plan(0, Event::Start { server });
        }
        for client in 0..self.clients.len() {
            self.ground.agenda.plan(MS * client as u64, Event::Client(client));
        }
        self.ground.agenda.plan(200 * MS, Event::Storm);
        self.pass(self.plan.storm);
        self.heal();
        self.pass(HEALING);
        self.ground.note(format_args!("most clients go"));
        let staying = 1 + self.clients.len() / 3;
        self.clients[staying..].iter_mut().for_each(|client| client.die(&mut self.ground));
        self.pass(EXPIRING);
        self.clients.iter_mut().for_each(Client::look_again);
        self.pass(5 * SECOND);
        self.end();
    }

    fn end(&mut self) {
        self.clients.iter().for_each(|client| client.finish(&mut self.ground));
        for server in &self.servers {
            match server.held() {
                Some(holding) => self.ground.history.ended(holding),
                None => self.ground.history.unfinished.push("a server is down".to_owned()),
            }
        }
        self.all_serve_alike();
    }

    /// Who should serve and does not, and who has not got as far as the others.
    fn all_serve_alike(&mut self) {
        // Who is no member may have lost the others for good.
        let configs = self.servers.iter().filter_map(|server| server.config());
        let newest = configs.max_by_key(|config| config.version());
        let is_member = |at: usize| {
            let sid = Sid(at as i64 + 1);
            newest.as_ref().is_none_or(|config| config.server(sid).is_some())
        };
        let versions = self.servers.iter().enumerate().filter_map(|(at, server)| {
            Some((at, server.config()?.version())).filter(|_| is_member(at))
        });
        let history = &mut self.ground.history;
        history.members_configured = versions.collect();
        let last = &history.holdings[history.last_holdings.unwrap_or(0)..];
        let furthest = last.iter().map(|holding| holding.zxid).max();
        let behind = |holding: &&Holding| !holding.serving || Some(holding.zxid) != furthest;
        let last = last.iter().filter(|holding| is_member(holding.server));
        let behind = last.filter(behind).map(|holding| {
            let (server, zxid) = (holding.server, holding.zxid);
            format!("server {server}, serving {}, is at {zxid} of {furthest:?}", holding.serving)
        });
        let behind: Vec<String> = behind.collect();
        history.unfinished.extend(behind);
    }

    /// What the run has left, also if it came to an early end.
    pub fn leave(self) -> Outcome {
        let Ground { history, trace, .. } = self.ground;
        Outcome { history, trace }
    }

    fn pass(&mut self, time: Micros) {
        let until = self.ground.agenda.now() + time;
        while let Some(event) = self.ground.agenda.next(until) {
            self.happen(event);
            if self.lurking.is_some_and(|served| served < self.ground.history.served.len()) {
                self.lurking = None;
                self.ground.agenda.plan(self.dice.below(8) * MS, Event::Blackout);
            }
            self.look_out();
            if self.ground.agenda.count() > EVENTS_MAX {
                return self.ground.history.unfinished.push("events without end".to_owned());
            }
        }
        // So that the next act begins where this one ends.
        self.ground.agenda.plan_at(until, Event::Relief(usize::MAX));
        self.ground.agenda.next(until);
    }

    fn happen(&mut self, event: Event) {
        if let Some(until) = self.frozen(event) {
            // What arrives is read first, as by a process that polls its sockets before its timers.
            let read_first = Micros::from(!matches!(event, Event::Arrival { .. }));
            return self.ground.agenda.plan_at(until + read_first, event);
        }
        let ground = &mut self.ground;
        match event {
            Event::Arrival { wire, to } => match ground.net.holder(wire, to) {
                Party::Server(server) => {
                    if let Some(delivery) = ground.net.take(ground.agenda.now(), wire, to) {
                        self.servers[server].arrival(ground, wire, delivery);
                    }
                }
                Party::Client(client) => {
                    if let Some(delivery) = ground.net.take(ground.agenda.now(), wire, to) {
                        self.clients[client].arrival(ground, wire, delivery);
                    }
                }
            },
            Event::Turn { server, life, stage } => self.servers[server].turn(ground, life, stage),
            Event::Start { server } => {
                let others = self.servers.iter().enumerate().filter(|(at, _)| *at != server);
                let files = others.filter_map(|(_, other)| other.files());
                let known = |files: &&Membership| {
                    let seen = files.last_seen().map_or(0, |seen| seen.version());
                    (files.current().version(), seen)
                };
                let files = files.max_by_key(known).cloned();
                self.servers[server].looked_at_others(files);
                self.servers[server].start(ground);
            }
            Event::Stop { server, down: None } => self.servers[server].hand_over(ground),
            Event::Stop { server, down: Some(down) } => {
                self.servers[server].fail(ground, Outage::Kill);
                ground.agenda.plan(down, Event::Start { server });
            }
            Event::Client(client) => self.clients[client].turn(ground, self.phase),
            Event::Storm => self.storm(),
            Event::Blackout => self.blackout(),
            Event::Ambush(server) => self.ambush(server),
            Event::Relief(server) => {
                if let Some(server) = self.servers.get_mut(server) {
                    server.slow_disk(1);
                    ground.net.heal(&mut ground.agenda);
                }
            }
        }
    }

    /// Until when an event must wait because its server does not get to run.
    fn frozen(&self, event: Event) -> Option<Micros> {
        let server = match event {
            Event::Arrival { wire, to } => match self.ground.net.holder(wire, to) {
                Party::Server(server) => server,
                Party::Client(_) => return None,
            },
            Event::Turn { server, .. } => server,
            Event::Stop { server, down: None } => server,
            Event::Start { .. }
            | Event::Stop { .. }
            | Event::Client(_)
            | Event::Storm
            | Event::Blackout
            | Event::Ambush(_)
            | Event::Relief(_) => {
                return None;
            }
        };
        let until = self.servers[server].frozen_until();
        (until > self.ground.agenda.now()).then_some(until)
    }

    /// Everything that went wrong ends.
    fn heal(&mut self) {
        self.phase = Phase::Calm;
        let ground = &mut self.ground;
        ground.note(format_args!("calm"));
        // Who is stopped is so to the end, and a rolling restart goes its way.
        let stopped = self.servers.iter().map(Server::frozen_until).max();
        let calm_from = ground.agenda.now().max(stopped.unwrap_or(0)).max(self.restless_until);
        ground.history.calm_from = calm_from;
        ground.net.heal(&mut ground.agenda);
        for (id, server) in self.servers.iter_mut().enumerate() {
            server.repair();
            server.hurry(ground);
            if !server.is_up() {
                ground.agenda.plan(0, Event::Start { server: id });
            }
        }
    }
}
