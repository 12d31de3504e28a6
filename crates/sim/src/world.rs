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

use std::fmt;

use crate::agenda::{Agenda, Event, MS, Micros, SECOND};
use crate::dice::Dice;
use crate::history::{History, Holding};
use crate::net::{Net, Party};
use crate::server::{Ensemble, Outage, Server, ServerSettings};
use crate::trace::Trace;
use crate::workload::{Client, Phase};
use oxkeeper_storage::sim_disk::Fault;

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
        Plan { seed, clients, pace_ms, storm: 6 * SECOND, server, whole_trace: false }
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
        let history = &mut self.ground.history;
        let last = &history.holdings[history.last_holdings.unwrap_or(0)..];
        let furthest = last.iter().map(|holding| holding.zxid).max();
        let behind = |holding: &&Holding| !holding.serving || Some(holding.zxid) != furthest;
        let behind = last.iter().filter(behind).map(|holding| {
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
            Event::Start { server } => self.servers[server].start(ground),
            Event::Stop { server, down: None } => self.servers[server].hand_over(ground),
            Event::Stop { server, down: Some(down) } => {
                self.servers[server].fail(ground, Outage::Kill);
                ground.agenda.plan(down, Event::Start { server });
            }
            Event::Client(client) => self.clients[client].turn(ground, self.phase),
            Event::Storm => self.storm(),
            Event::Blackout => self.blackout(),
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
            | Event::Relief(_) => {
                return None;
            }
        };
        let until = self.servers[server].frozen_until();
        (until > self.ground.agenda.now()).then_some(until)
    }

    /// One more thing goes wrong.
    fn storm(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        if self.servers.len() > 1 && self.dice.one_in(3) {
            return self.ensemble_storm();
        }
        let at = self.dice.below(self.servers.len() as u64) as usize;
        let server = &mut self.servers[at];
        let ground = &mut self.ground;
        let now = ground.agenda.now();
        match self.dice.below(20) {
            kind @ 0..3 => {
                let outage = if kind == 0 { Outage::Kill } else { Outage::Power };
                server.fail(ground, outage);
                let down = self.dice.between(10, 1500) * MS;
                ground.agenda.plan(down, Event::Start { server: at });
            }
            3 | 4 => {
                let fault = *self.dice.pick(&[Fault::Stop, Fault::NoSpace, Fault::Io]);
                ground.note(format_args!("the disk of server {at} will fail: {fault:?}"));
                server.plan_disk_fault(fault);
            }
            5 | 6 => {
                let times = self.dice.between(5, 60);
                ground.note(format_args!("the disk of server {at} is {times} times slower"));
                server.slow_disk(times);
                ground.agenda.plan(self.dice.between(100, 1000) * MS, Event::Relief(at));
            }
            7 | 8 => {
                let long = self.dice.between(5, 1800) * MS;
                ground.note(format_args!("server {at} is frozen for {long} us"));
                server.freeze(now + long);
            }
            9 => {
                let by_ms = self.dice.between(0, 7_200_000) as i64 - 3_600_000;
                ground.note(format_args!("the clock of server {at} jumps by {by_ms} ms"));
                server.jump_clock(by_ms);
            }
            10..14 => {
                let client = self.dice.below(self.clients.len() as u64) as usize;
                let (a, b) = (Party::Client(client), Party::Server(at));
                let way = self.dice.below(3);
                ground.note(format_args!("a cut between client {client} and server {at}: {way}"));
                if way != 1 {
                    ground.net.cut(a, b);
                }
                if way != 0 {
                    ground.net.cut(b, a);
                }
                ground.agenda.plan(self.dice.between(50, 2500) * MS, Event::Relief(at));
            }
            _ => {}
        }
        ground.agenda.plan(self.dice.between(20, 700) * MS, Event::Storm);
    }

    /// One more thing goes wrong between servers, or with their number.
    fn ensemble_storm(&mut self) {
        let count = self.servers.len();
        let at = self.dice.below(count as u64) as usize;
        let ground = &mut self.ground;
        let now = ground.agenda.now();
        match self.dice.below(12) {
            // When history has just been exchanged is the worst of all moments.
            8..10 => self.lurking = Some(ground.history.served.len()),
            10 => ground.agenda.plan(0, Event::Blackout),
            // One disk is slow and the rest is fast: what is acknowledged and what is written drift
            // apart.
            11 => {
                let times = self.dice.between(20, 200);
                ground.note(format_args!("the disk of server {at} is {times} times slower"));
                self.servers[at].slow_disk(times);
                ground.agenda.plan(self.dice.between(500, 4000) * MS, Event::Relief(at));
            }
            // Nobody hears it, it hears nobody, or both, of one other or of all.
            0..4 => {
                let other = (at + 1 + self.dice.below(count as u64 - 1) as usize) % count;
                let others = if self.dice.one_in(2) { vec![other] } else { (0..count).collect() };
                let way = self.dice.below(3);
                ground.note(format_args!("a cut between server {at} and {others:?}: {way}"));
                for other in others.into_iter().filter(|other| *other != at) {
                    let (a, b) = (Party::Server(at), Party::Server(other));
                    if way != 1 {
                        ground.net.cut(a, b);
                    }
                    if way != 0 {
                        ground.net.cut(b, a);
                    }
                }
                ground.agenda.plan(self.dice.between(50, 4000) * MS, Event::Relief(at));
            }
            // As SIGSTOP does, longer than the others wait.
            4 => {
                let long = self.dice.between(500, 4000) * MS;
                ground.note(format_args!("server {at} is stopped for {long} us"));
                self.servers[at].freeze(now + long);
            }
            5 => {
                ground.note(format_args!("a rolling restart"));
                for turn in 0..count {
                    let server = (at + turn) % count;
                    let begin = turn as u64 * self.dice.between(800, 2000) * MS;
                    ground.agenda.plan(begin, Event::Stop { server, down: None });
                    let down = Some(self.dice.between(50, 400) * MS);
                    let patience = self.dice.between(100, 600) * MS;
                    ground.agenda.plan(begin + patience, Event::Stop { server, down });
                }
            }
            6 => {
                // What a quorum has acknowledged must still be with one of a quorum.
                let whole = self.servers.iter().all(|server| !server.is_wiped());
                if whole {
                    self.servers[at].wipe(ground);
                    let down = self.dice.between(10, 1500) * MS;
                    ground.agenda.plan(down, Event::Start { server: at });
                }
            }
            _ => self.servers[at].step_down(ground),
        }
        ground.agenda.plan(self.dice.between(20, 700) * MS, Event::Storm);
    }

    /// The power fails for several servers at once, or for all.
    fn blackout(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        let all = self.dice.one_in(2);
        self.ground.note(format_args!("a blackout"));
        for at in 0..self.servers.len() {
            if all || self.dice.one_in(2) {
                self.servers[at].fail(&mut self.ground, Outage::Power);
                let down = self.dice.between(10, 1500) * MS;
                self.ground.agenda.plan(down, Event::Start { server: at });
            }
        }
    }

    /// Everything that went wrong ends.
    fn heal(&mut self) {
        self.phase = Phase::Calm;
        let ground = &mut self.ground;
        ground.note(format_args!("calm"));
        ground.history.calm_from = ground.agenda.now();
        ground.net.heal(&mut ground.agenda);
        for (id, server) in self.servers.iter_mut().enumerate() {
            server.repair();
            server.freeze(0);
            if !server.is_up() {
                ground.agenda.plan(0, Event::Start { server: id });
            }
        }
    }
}
