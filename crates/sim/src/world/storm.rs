//! What goes wrong in a storm, and when.
//!
//! Under the open sky everything does, as the dice fall. Other weathers lean: towards the moments
//! at which an epoch begins, where most of the mistakes of ZooKeeper's history were made, or
//! towards members that come, go and change their roles.

use std::fmt::Write as _;

use oxkeeper_proto::Sid;
use oxkeeper_storage::sim_disk::Fault;
use oxkeeper_zab::quorum::QuorumVerifier;

use super::World;
use crate::agenda::{Event, MS};
use crate::asked::{Asked, Reconfig};
use crate::history::Moment;
use crate::net::Party;
use crate::server::Outage;
use crate::workload::Phase;

/// What a storm leans to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Weather {
    /// Nothing.
    #[default]
    Open,
    /// Leaders that come and go, and power that fails at those who write history or epochs.
    Epochs,
    /// An operator who adds, removes and changes members.
    Members,
    /// The same, and what goes wrong does so while a change is on its way or has just come.
    Changes,
    /// Nothing, but quorums go by groups and weights.
    Groups,
}

impl Weather {
    /// All of them, with their names.
    pub const ALL: [(&'static str, Weather); 5] = [
        ("open", Weather::Open),
        ("epochs", Weather::Epochs),
        ("members", Weather::Members),
        ("changes", Weather::Changes),
        ("groups", Weather::Groups),
    ];

    /// Whether members come and go.
    pub fn changes_members(self) -> bool {
        matches!(self, Weather::Members | Weather::Changes)
    }

    /// What it is called.
    pub fn name(self) -> &'static str {
        let found = Weather::ALL.iter().find(|(_, weather)| *weather == self);
        found.map_or("", |(name, _)| name)
    }
}

/// Who is lain in wait for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ambush {
    moment: Moment,
    /// Moments before this one are past.
    from: usize,
}

impl World {
    /// One more thing goes wrong.
    pub(super) fn storm(&mut self) {
        if self.phase != Phase::Storm {
            return;
        }
        match self.plan.weather {
            Weather::Members if self.dice.one_in(3) => self.reconfigure(),
            Weather::Epochs if !self.dice.one_in(3) => return self.epochs_storm(),
            Weather::Groups if self.dice.one_in(3) => return self.epochs_storm(),
            Weather::Changes if self.dice.one_in(2) => self.waylay_a_change(),
            Weather::Open
            | Weather::Epochs
            | Weather::Members
            | Weather::Changes
            | Weather::Groups => {}
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
                    let down = self.dice.between(50, 400) * MS;
                    let patience = self.dice.between(100, 600) * MS;
                    let stop = Event::Stop { server, down: Some(down) };
                    ground.agenda.plan(begin + patience, stop);
                    let over = now + begin + patience + down;
                    self.restless_until = self.restless_until.max(over);
                }
            }
            6 => {
                // What a quorum has acknowledged must still be with one of a quorum; and where the
                // quorum changes meanwhile, nobody can know whom it needs.
                let whole = self.servers.iter().all(|server| !server.is_wiped());
                if whole && !self.plan.weather.changes_members() {
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
    pub(super) fn blackout(&mut self) {
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

    /// One more thing goes wrong around the beginning of an epoch.
    fn epochs_storm(&mut self) {
        let count = self.servers.len();
        let at = self.dice.below(count as u64) as usize;
        let leader = (0..count).find(|at| self.servers[*at].leads()).unwrap_or(at);
        match self.dice.below(12) {
            0..5 => {
                // Most of all between what is said and what is written.
                let writes = self.dice.one_in(2);
                let any = *self.dice.pick(&Moment::ALL);
                let moment = if writes { Moment::Establishes } else { any };
                self.ambush = Some(Ambush { moment, from: self.ground.history.moments.len() });
            }
            // It goes on logging what nobody hears; others begin an epoch without it.
            5..7 => {
                let spared = self.dice.one_in(3).then_some(at);
                let (out, back) = (self.dice.one_in(4), self.dice.one_in(4));
                self.ground.note(format_args!("server {leader} is alone but for {spared:?}"));
                for other in (0..count).filter(|other| *other != leader && spared != Some(*other)) {
                    let (a, b) = (Party::Server(leader), Party::Server(other));
                    if !out {
                        self.ground.net.cut(a, b);
                    }
                    if !back {
                        self.ground.net.cut(b, a);
                    }
                }
                let long = self.dice.between(100, 3000) * MS;
                self.ground.agenda.plan(long, Event::Relief(leader));
            }
            // What is acknowledged and what is written drift apart.
            7..9 => {
                let times = self.dice.between(20, 300);
                let slow = (0..count).filter(|_| self.dice.one_in(2)).collect::<Vec<_>>();
                self.ground.note(format_args!("the disks of {slow:?} are {times} times slower"));
                for at in slow {
                    self.servers[at].slow_disk(times);
                    self.ground.agenda.plan(self.dice.between(300, 3000) * MS, Event::Relief(at));
                }
            }
            9 => self.servers[leader].step_down(&mut self.ground),
            _ => self.strike(leader, 1500),
        }
        self.ground.agenda.plan(self.dice.between(20, 500) * MS, Event::Storm);
    }

    /// Whether somebody has come to where they are waited for.
    pub(super) fn look_out(&mut self) {
        let Some(Ambush { moment, from }) = self.ambush else { return };
        let moments = &self.ground.history.moments;
        let come = moments[from..].iter().find(|(what, _)| *what == moment);
        if let Some(&(_, server)) = come {
            self.ambush = None;
            // Time for an answer to get to its leader, and for that to count it; or not.
            let delay = *self.dice.pick(&[0, 1, 3, 8, 20]) * MS;
            self.ground.agenda.plan(self.dice.between(0, delay), Event::Ambush(server));
        } else if let Some(ambush) = &mut self.ambush {
            ambush.from = moments.len();
        }
    }

    /// Who was waited for is there: it and whom it needs.
    pub(super) fn ambush(&mut self, server: usize) {
        if self.phase != Phase::Storm {
            return;
        }
        self.ground.note(format_args!("an ambush on server {server}"));
        if self.plan.weather == Weather::Changes {
            return self.change_storm(server);
        }
        let leaders = (0..self.servers.len()).filter(|at| self.servers[*at].leads());
        let leaders = leaders.collect::<Vec<_>>();
        if !self.dice.one_in(4) {
            self.strike(server, 200);
        }
        for leader in leaders {
            match self.dice.below(4) {
                // Long enough for the others to do without it.
                0 | 1 => self.strike(leader, 4000),
                2 => self.servers[leader].step_down(&mut self.ground),
                _ => {}
            }
        }
    }

    /// A change has just come to a server, or is on its way to it: not all of the others hear of
    /// it, log it, or live to tell.
    fn change_storm(&mut self, server: usize) {
        let count = self.servers.len();
        let leader = (0..count).find(|at| self.servers[*at].leads()).unwrap_or(server);
        for _ in 0..self.dice.between(1, 3) {
            let any = self.dice.below(count as u64) as usize;
            let at = *self.dice.pick(&[server, leader, leader, any]);
            match self.dice.below(if self.plan.newcomers { 8 } else { 6 }) {
                0 => self.strike(at, 400),
                // For good, as far as the others can tell.
                1 => self.strike(at, 6000),
                2 => self.servers[at].step_down(&mut self.ground),
                3 => {
                    let until = self.ground.agenda.now() + self.dice.between(20, 3000) * MS;
                    self.ground.note(format_args!("server {at} is stopped"));
                    self.servers[at].freeze(until);
                }
                4 => {
                    let times = self.dice.between(20, 300);
                    self.ground.note(format_args!("the disk of server {at} is slower: {times}"));
                    self.servers[at].slow_disk(times);
                    self.ground.agenda.plan(self.dice.between(300, 3000) * MS, Event::Relief(at));
                }
                5 => {
                    let spared = self.dice.one_in(2).then_some(any);
                    let way = self.dice.below(3);
                    self.isolate(at, spared, way);
                }
                // One comes anew to who is alone with what it wanted.
                _ => {
                    self.isolate(leader, Some(any), 2);
                    if any != leader {
                        self.servers[any].fail(&mut self.ground, Outage::Kill);
                        let down = self.dice.between(1, 60) * MS;
                        self.ground.agenda.plan(down, Event::Start { server: any });
                    }
                }
            }
        }
    }

    /// Cuts a server off from all but one, for a while: nobody hears it, it hears nobody, or both.
    fn isolate(&mut self, at: usize, spared: Option<usize>, way: u64) {
        self.ground.note(format_args!("server {at} is alone but for {spared:?}: {way}"));
        for other in 0..self.servers.len() {
            if other == at || spared == Some(other) {
                continue;
            }
            let (a, b) = (Party::Server(at), Party::Server(other));
            if way != 1 {
                self.ground.net.cut(a, b);
            }
            if way != 0 {
                self.ground.net.cut(b, a);
            }
        }
        let long = self.dice.between(50, 4000) * MS;
        self.ground.agenda.plan(long, Event::Relief(at));
    }

    /// A server goes, mostly for want of power, and comes back within so many ms.
    fn strike(&mut self, at: usize, within_ms: u64) {
        let outage = if self.dice.one_in(4) { Outage::Kill } else { Outage::Power };
        self.servers[at].fail(&mut self.ground, outage);
        let down = self.dice.between(10, within_ms) * MS;
        self.ground.agenda.plan(down, Event::Start { server: at });
    }

    /// The operator has something changed, and who hears of it first is waited for.
    fn waylay_a_change(&mut self) {
        let moment = *self.dice.pick(&[Moment::Sees, Moment::Changes]);
        self.ambush = Some(Ambush { moment, from: self.ground.history.moments.len() });
        self.reconfigure();
    }

    /// The operator has something changed, by way of some client.
    fn reconfigure(&mut self) {
        let configs = self.servers.iter().filter_map(|server| server.config());
        let Some(newest) = configs.max_by_key(|config| config.version()) else { return };
        let Some(change) = self.draw_change(&newest) else { return };
        let asked = Asked::Reconfig(change);
        let client = self.dice.below(self.clients.len() as u64) as usize;
        self.clients[client].ask_now(&mut self.ground, asked);
    }

    fn draw_change(&mut self, config: &QuorumVerifier) -> Option<Reconfig> {
        let all: Vec<i64> = (1..=self.servers.len() as i64).collect();
        let (members, others): (Vec<i64>, Vec<i64>) =
            all.into_iter().partition(|sid| config.server(Sid(*sid)).is_some());
        let voters: Vec<i64> = config.voters().map(|sid| sid.0).collect();
        let leader = self.servers.iter().position(|server| server.leads());
        let leader = leader.map_or(0, |at| at as i64 + 1);
        let may_shrink = voters.len() > self.plan.voters_least;
        let version = if may_shrink && self.dice.one_in(5) { -1 } else { config.version() };
        let mut change = Reconfig { version, ..Reconfig::default() };
        let one = *self.dice.pick(&members);
        let one = if self.dice.one_in(3) && leader > 0 { leader } else { one };
        let votes = voters.contains(&one);
        let port = 2888 + 1000 * self.dice.below(3);
        let line = |sid: i64, role: &str| {
            format!("server.{sid}=server-{sid}:{port}:{}:{role};2181", port + 1000)
        };
        match self.dice.below(8) {
            0..3 if !others.is_empty() => {
                let other = *self.dice.pick(&others);
                let role = *self.dice.pick(&["participant", "participant", "observer"]);
                change.joining = Some(line(other, role));
                // Another one makes room.
                if self.dice.one_in(3) && role == "participant" {
                    change.leaving = Some(one.to_string());
                }
            }
            3 if members.len() > 2 && (may_shrink || !votes) => {
                change.leaving = Some(one.to_string());
            }
            4 if may_shrink || !votes => {
                let role = if votes { "observer" } else { "participant" };
                change.joining = Some(line(one, role));
            }
            5 => {
                let role = if votes { "participant" } else { "observer" };
                change.joining = Some(line(one, role));
            }
            // All of them by name.
            6 => {
                let text = &mut String::new();
                for sid in members {
                    let goes = sid == one && (may_shrink || !votes);
                    let role = if voters.contains(&sid) { "participant" } else { "observer" };
                    if !goes {
                        let _ = write!(text, "{},", line(sid, role));
                    }
                }
                change.members = Some(text.trim_end_matches(',').to_owned());
            }
            _ => return None,
        }
        Some(change)
    }
}
