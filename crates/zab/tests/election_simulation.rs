//! Whole ensembles electing, thousands of times, by seed.
//!
//! Three to seven servers, each an [`Election`] over its [`Links`], exchange encoded messages over
//! connections that delay, break and lose their tail; servers crash, come back with what was on
//! their disk, and are cut off from each other. What follows an election is reduced to the least
//! that decides whether it was of use: a leader that a quorum follows is established, with an epoch
//! that no other ever had, and every follower has then logged what it has; a leader or follower for
//! which that does not come true gives up and looks again, as it does when its leader is gone.
//!
//! *Storm* comes first, in which only safety is asked for: what a quorum has logged is in the log
//! of whoever is established later. Then the weather clears, and within a bound all servers that
//! are up must have settled on one leader that leads; in a clear sky from the start, on the best
//! by epoch, zxid and id.
//!
//! `SEED=n` plays one storm and, with `--nocapture`, prints it; `SEEDS=n` plays so many.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::sync::Arc;

use oxkeeper_proto::ids::{Sid, Zxid};
use oxkeeper_proto::notification::{Hello, Notification, PeerState};
use oxkeeper_zab::election::{self, Election, Standing, observer_delay_ms};
use oxkeeper_zab::links::{self, ConnId, DialError, Links};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier, Role};
use oxkeeper_zab::vote::Vote;

#[test]
fn after_every_storm_one_leader_is_followed_by_all() {
    let given = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    let (first, seeds) = match given("SEED") {
        Some(seed) => (seed, 1),
        None => (0, given("SEEDS").unwrap_or(1_000)),
    };
    let mut calm_ms = Vec::new();
    for seed in first..first + seeds {
        let mut world = World::new(seed, true);
        match world.play() {
            Ok(ms) => calm_ms.push(ms),
            Err(fault) => panic!("{}\nSEED={seed}: {fault}", world.trace),
        }
        if seeds == 1 {
            println!("{}", world.trace);
        }
    }
    calm_ms.sort_unstable();
    let (half, last) = (calm_ms[calm_ms.len() / 2], calm_ms[calm_ms.len() - 1]);
    println!("half of them settled {half} ms after the storm, the last after {last} ms");
    // Some that died in the storm come back seconds after it.
    assert!(seeds == 1 || half < 3_000, "half of them took longer than {half} ms");
}

/// Nothing is lost and nobody dies: the best one wins, and as soon as the slowest message has
/// arrived.
#[test]
fn in_a_clear_sky_the_best_one_wins_without_any_wait() {
    for seed in 0..1_000 {
        let mut world = World::new(seed, false);
        let best = world.best();
        let calm_ms = world.play().unwrap_or_else(|fault| panic!("SEED={seed}: {fault}"));
        let leader = world.leader().expect("play has checked");
        assert_eq!(leader, best, "SEED={seed}");
        let trace = &world.trace;
        assert!(calm_ms < 200, "SEED={seed}: {calm_ms} ms, as if one had been waited for\n{trace}");
    }
}

#[test]
fn the_same_seed_gives_the_same_trace() {
    let trace = |seed| {
        let mut world = World::new(seed, true);
        world.play().unwrap();
        world.trace
    };
    for seed in 0..20 {
        assert_eq!(trace(seed), trace(seed));
    }
    assert_ne!(trace(1), trace(2));
}

/// The simulation notices what would be wrong: a server that votes with less than it has logged.
#[test]
fn votes_that_hide_a_logged_entry_are_found_out() {
    let lost = |seed: &u64| {
        let mut world = World::new(*seed, true);
        world.votes_with_less = true;
        world.play().is_err_and(|fault| fault.contains("lost"))
    };
    assert!((0..100).any(|seed| lost(&seed)), "no seed of 100 loses an entry");
}

/// For how long it storms.
const STORM_MS: u64 = 10_000;
/// Within which an ensemble must have settled after it: the longest repetition of a vote or pause
/// of a dial, some rounds that end with a leader giving up, and the wait for its followers.
const CALM_MS: u64 = 30_000;
/// A leader without a quorum, or a follower without its leader, gives up after this.
const INIT_LIMIT_MS: u64 = 2_000;
/// Where doubling of repetitions ends, shorter than by default so as to see the end of it.
const INTERVAL_MAX_MS: u64 = 3_000;

/// xorshift64*.
struct Dice(u64);

impl Dice {
    fn new(seed: u64) -> Dice {
        Dice(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % end
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

/// One end of a connection: whose, in which of its lives, and its number there.
type End = (Sid, u64, ConnId);

#[derive(Clone)]
enum Happens {
    Connects { from: End, to: Sid },
    Arrives { from: End, to: End, said: Said },
    Written { at: End },
    Breaks { at: End },
    Starts { sid: Sid },
    Storms,
    GivesUp { sid: Sid, life: u64, term: u64 },
}

#[derive(Clone)]
enum Said {
    Hello(Vec<u8>),
    Message(Arc<[u8]>),
}

struct Server {
    role: Role,
    last_logged: Zxid,
    current_epoch: i64,
    /// Nothing while it is down.
    running: Option<Running>,
    lives: u64,
}

struct Running {
    election: Election,
    links: Links,
    /// Counts its elections, so that what was meant for an earlier one is known.
    term: u64,
    /// The epoch in which it follows an established leader, or is one.
    epoch: Option<i64>,
}

struct World {
    dice: Dice,
    now_ms: u64,
    storms: bool,
    clear_sky: bool,
    servers: BTreeMap<Sid, Server>,
    config: Arc<QuorumVerifier>,
    agenda: BTreeMap<(u64, u64), Happens>,
    next: u64,
    /// The two ends of each connection, and when the last byte to each end arrives.
    ends: BTreeMap<End, End>,
    arriving_until_ms: BTreeMap<End, u64>,
    cut: BTreeSet<(Sid, Sid)>,
    /// What a quorum has logged.
    committed: (i64, Zxid),
    epoch: i64,
    votes_with_less: bool,
    trace: String,
}

impl World {
    fn new(seed: u64, storms: bool) -> World {
        let mut dice = Dice::new(seed + 1);
        let voters = 3 + dice.below(5) as i64;
        let observers = if storms { dice.below(2) as i64 } else { 0 };
        let weightless = if storms && voters > 3 && dice.chance(20) { 1 } else { 0 };
        let mut text = String::new();
        for sid in 1..=voters + observers {
            let role = if sid > voters { "observer" } else { "participant" };
            let _ = writeln!(text, "server.{sid}=h{sid}:1:2:{role}");
        }
        if weightless > 0 {
            let sids: Vec<String> = (1..=voters).map(|sid| sid.to_string()).collect();
            let _ = write!(text, "group.1={}\nweight.{voters}=0\n", sids.join(":"));
        }
        let config = Arc::new(QuorumVerifier::parse(&text, false).unwrap());
        let mut world = World {
            dice,
            now_ms: 0,
            storms,
            clear_sky: !storms,
            servers: BTreeMap::new(),
            agenda: BTreeMap::new(),
            next: 0,
            ends: BTreeMap::new(),
            arriving_until_ms: BTreeMap::new(),
            cut: BTreeSet::new(),
            committed: (0, Zxid(0)),
            epoch: 3,
            votes_with_less: false,
            trace: text,
            config: Arc::clone(&config),
        };
        for member in config.members() {
            // Histories that share their beginning, as those of a real ensemble do.
            let current_epoch = 1 + world.dice.below(3) as i64;
            let last_logged = Zxid((current_epoch << 32) + world.dice.below(4) as i64);
            let (role, running) = (member.role, None);
            let server = Server { role, last_logged, current_epoch, running, lives: 0 };
            world.servers.insert(member.sid, server);
            let at_ms = if storms { world.dice.below(1_000) } else { 0 };
            world.at(at_ms, Happens::Starts { sid: member.sid });
        }
        if storms {
            world.at(500, Happens::Storms);
        }
        world
    }

    /// The one whom all should elect.
    fn best(&self) -> Sid {
        let voters = self.servers.iter().filter(|(_, server)| server.role == Role::Participant);
        let rank =
            |(sid, server): &(&Sid, &Server)| (server.current_epoch, server.last_logged, **sid);
        *voters.max_by_key(rank).unwrap().0
    }

    /// Storm, then calm: how long it took to settle.
    fn play(&mut self) -> Result<u64, String> {
        let storm_ms = if self.storms { STORM_MS } else { 0 };
        self.run_until(storm_ms, |_| false)?;
        self.clear_up();
        let settled = self.run_until(storm_ms + CALM_MS, World::is_settled)?;
        if !settled {
            return Err(format!("not settled {CALM_MS} ms after the storm"));
        }
        let calm_ms = self.now_ms - storm_ms;
        // It stays so.
        let leader = self.leader();
        self.run_until(self.now_ms + 5_000, |_| false)?;
        if !self.is_settled() || self.leader() != leader {
            return Err(format!("{leader:?} was the leader, and nothing happened to it"));
        }
        Ok(calm_ms)
    }

    fn clear_up(&mut self) {
        self.cut.clear();
        self.storms = false;
        self.say(format_args!("the weather clears"));
        let down = self.servers.iter().filter(|(_, server)| server.running.is_none());
        let down: Vec<Sid> = down.map(|(&sid, _)| sid).collect();
        let starts: BTreeSet<Sid> = self
            .agenda
            .values()
            .filter_map(|happens| match happens {
                Happens::Starts { sid } => Some(*sid),
                _ => None,
            })
            .collect();
        for sid in down.into_iter().filter(|sid| !starts.contains(sid)) {
            self.at(10, Happens::Starts { sid });
        }
    }

    /// All follow one leader, which leads and is established.
    fn is_settled(&self) -> bool {
        let Some(leader) = self.leader() else { return false };
        let epoch = self.epoch_of(leader);
        self.servers.values().all(|server| {
            server.running.as_ref().is_some_and(|running| {
                running.epoch == epoch && running.election.settled_on().leader == leader
            })
        })
    }

    fn leader(&self) -> Option<Sid> {
        let leads = |sid: &Sid| {
            self.epoch_of(*sid).is_some() && self.state_of(*sid) == Some(PeerState::Leading)
        };
        self.servers.keys().copied().find(leads)
    }

    fn epoch_of(&self, sid: Sid) -> Option<i64> {
        self.servers.get(&sid)?.running.as_ref()?.epoch
    }

    fn state_of(&self, sid: Sid) -> Option<PeerState> {
        Some(self.servers.get(&sid)?.running.as_ref()?.election.state())
    }

    fn run_until(&mut self, end_ms: u64, done: impl Fn(&World) -> bool) -> Result<bool, String> {
        loop {
            if done(self) {
                return Ok(true);
            }
            let wakes = self.servers.values().filter_map(|server| {
                let running = server.running.as_ref()?;
                let wakes = [running.election.deadline_ms(), running.links.deadline_ms()];
                wakes.into_iter().flatten().min()
            });
            let wake_ms = wakes.min().unwrap_or(u64::MAX);
            let next = self.agenda.first_key_value().map(|(&(at_ms, _), _)| at_ms);
            let next_ms = next.unwrap_or(u64::MAX);
            let at_ms = next_ms.min(wake_ms).max(self.now_ms);
            if at_ms > end_ms {
                self.now_ms = end_ms;
                return Ok(false);
            }
            self.now_ms = at_ms;
            if next_ms <= wake_ms {
                let (_, happens) = self.agenda.pop_first().expect("looked at above");
                self.happen(happens)?;
            } else {
                let lives: Vec<(Sid, u64)> =
                    self.servers.iter().map(|(&sid, server)| (sid, server.lives)).collect();
                for life in lives {
                    self.with(life, |running, now_ms| {
                        running.election.tick(now_ms);
                        running.links.tick(now_ms);
                    })?;
                }
            }
        }
    }

    fn at(&mut self, in_ms: u64, happens: Happens) {
        self.next += 1;
        self.agenda.insert((self.now_ms + in_ms, self.next), happens);
    }

    fn say(&mut self, line: std::fmt::Arguments<'_>) {
        let _ = writeln!(self.trace, "{:6} {line}", self.now_ms);
    }

    fn is_cut(&self, one: Sid, other: Sid) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    fn happen(&mut self, happens: Happens) -> Result<(), String> {
        match happens {
            Happens::Starts { sid } => self.start(sid),
            Happens::Storms => self.storm(),
            Happens::GivesUp { sid, life, term } => {
                let running = self.running((sid, life));
                match running.is_some_and(|running| running.term == term && running.epoch.is_none())
                {
                    true => self.look(sid),
                    false => Ok(()),
                }
            }
            Happens::Written { at: (sid, life, conn) } => {
                self.with((sid, life), |running, _| running.links.written(conn))
            }
            Happens::Breaks { at } => {
                if self.ends.remove(&at).is_none() {
                    return Ok(());
                }
                let (sid, life, conn) = at;
                self.with((sid, life), |running, now_ms| running.links.closed(now_ms, conn))
            }
            Happens::Connects { from, to } => self.connect(from, to),
            Happens::Arrives { from, to, said } => self.arrive(from, to, said),
        }
    }

    fn running(&self, (sid, life): (Sid, u64)) -> Option<&Running> {
        let server = &self.servers[&sid];
        server.running.as_ref().filter(|_| server.lives == life)
    }

    fn start(&mut self, sid: Sid) -> Result<(), String> {
        let server = self.servers.get_mut(&sid).unwrap();
        if server.running.is_some() {
            return Ok(());
        }
        server.lives += 1;
        let mut links = Links::new(sid, Vec::new(), links::Settings::default());
        let membership = Membership::new(Arc::clone(&self.config), None);
        links.configure(&membership);
        let settings = election::Settings {
            interval_max_ms: INTERVAL_MAX_MS,
            ..election::Settings::default()
        };
        let role = server.role;
        let standing = Standing { role, last_logged: Zxid(0), current_epoch: 0 };
        let election = Election::new(sid, membership, standing, settings);
        server.running = Some(Running { election, links, term: 0, epoch: None });
        self.say(format_args!("{sid} starts"));
        self.look(sid)
    }

    /// What a server says of itself; less than the truth, if that is the mistake to make.
    fn standing(&self, sid: Sid) -> Standing {
        let server = &self.servers[&sid];
        let hidden = i64::from(self.votes_with_less) * i64::from(server.last_logged.counter());
        Standing {
            role: server.role,
            last_logged: Zxid(server.last_logged.0 - hidden),
            current_epoch: server.current_epoch,
        }
    }

    fn look(&mut self, sid: Sid) -> Result<(), String> {
        let delay_ms = match self.servers[&sid].role {
            Role::Observer => observer_delay_ms(self.dice.below(1 << 30), 200),
            Role::Participant => 0,
        };
        let standing = self.standing(sid);
        let life = self.servers[&sid].lives;
        self.say(format_args!("{sid} looks"));
        self.with((sid, life), |running, now_ms| {
            running.epoch = None;
            running.term += 1;
            running.election.look(now_ms, standing, delay_ms);
        })?;
        self.review();
        Ok(())
    }

    /// Lets a server do something, and carries out what it wants done.
    fn with(
        &mut self,
        (sid, life): (Sid, u64),
        act: impl FnOnce(&mut Running, u64),
    ) -> Result<(), String> {
        let now_ms = self.now_ms;
        let server = self.servers.get_mut(&sid).unwrap();
        if server.lives != life {
            return Ok(());
        }
        let Some(running) = server.running.as_mut() else { return Ok(()) };
        act(running, now_ms);
        while let Some(running) = self.servers.get_mut(&sid).unwrap().running.as_mut() {
            if let Some(effect) = running.election.poll_effect() {
                match effect {
                    election::Effect::Send { to, state, vote, configs } => {
                        let mut message = Vec::new();
                        vote.notification(state, &configs).encode(&mut message);
                        running.links.send(now_ms, to, message.into());
                    }
                    election::Effect::Decided { state, vote } => {
                        self.decided((sid, life), state, &vote)?;
                    }
                    election::Effect::Adopt(_) | election::Effect::Hear(_) => {
                        unreachable!("there is one configuration")
                    }
                }
            } else if let Some(effect) = running.links.poll_effect() {
                match effect {
                    links::Effect::Up(peer) => running.election.peer_up(peer),
                    links::Effect::Down(peer) => running.election.peer_down(now_ms, peer),
                    effect => self.carry(sid, life, effect),
                }
            } else {
                break;
            }
        }
        Ok(())
    }

    fn delay_ms(&mut self) -> u64 {
        match (self.storms, self.dice.below(100)) {
            (true, 0..5) => self.dice.below(2_000),
            (true, 5..30) => self.dice.below(300),
            _ => 1 + self.dice.below(4),
        }
    }

    fn carry(&mut self, sid: Sid, life: u64, effect: links::Effect) {
        let delay_ms = self.delay_ms();
        match effect {
            links::Effect::Dial { conn, sid: to, .. } => {
                self.at(delay_ms, Happens::Connects { from: (sid, life, conn), to });
            }
            links::Effect::Greet { conn, hello } => {
                let mut bytes = Vec::new();
                hello.encode(&mut bytes);
                self.tell((sid, life, conn), delay_ms, Said::Hello(bytes));
            }
            links::Effect::Write { conn, message } => {
                self.tell((sid, life, conn), delay_ms, Said::Message(message));
                self.at(delay_ms / 2, Happens::Written { at: (sid, life, conn) });
            }
            links::Effect::Close(conn) => {
                if let Some(other) = self.ends.remove(&(sid, life, conn)) {
                    let in_ms = self.in_order(other, delay_ms);
                    self.at(in_ms, Happens::Breaks { at: other });
                }
            }
            effect => unreachable!("{effect:?}"),
        }
    }

    /// When what takes so long arrives: not before what was said earlier.
    fn in_order(&mut self, to: End, delay_ms: u64) -> u64 {
        let arriving_ms = self.arriving_until_ms.entry(to).or_default();
        *arriving_ms = (*arriving_ms).max(self.now_ms + delay_ms);
        *arriving_ms - self.now_ms
    }

    fn tell(&mut self, from: End, delay_ms: u64, said: Said) {
        if let Some(&to) = self.ends.get(&from) {
            let in_ms = self.in_order(to, delay_ms);
            self.at(in_ms, Happens::Arrives { from, to, said });
        }
    }

    fn connect(&mut self, from: End, to: Sid) -> Result<(), String> {
        let (sid, life, conn) = from;
        if self.running((sid, life)).is_none() || self.is_cut(sid, to) {
            return Ok(());
        }
        let called = self.servers.get_mut(&to).unwrap();
        let Some(running) = called.running.as_mut() else {
            return self.with((sid, life), |running, now_ms| {
                running.links.dial_failed(now_ms, conn, DialError::Refused);
            });
        };
        let accepted = (to, called.lives, running.links.accepted(self.now_ms));
        self.ends.insert(from, accepted);
        self.ends.insert(accepted, from);
        self.with((to, accepted.1), |_, _| {})?;
        self.with((sid, life), |running, now_ms| running.links.connected(now_ms, conn))
    }

    fn arrive(&mut self, from: End, to: End, said: Said) -> Result<(), String> {
        if self.is_cut(from.0, to.0) {
            // What is lost is never made up for: the connection will be found broken.
            for at in [from, to] {
                let in_ms = self.dice.below(1_500);
                self.at(in_ms, Happens::Breaks { at });
            }
            self.ends.insert(from, (to.0, u64::MAX, to.2));
            self.ends.insert(to, (from.0, u64::MAX, from.2));
            return Ok(());
        }
        if self.ends.get(&to) != Some(&from) && matches!(said, Said::Message(_)) {
            // Nobody there knows of this connection: the machine says so, once it is up again.
            if self.servers[&to.0].running.is_some() {
                self.at(1, Happens::Breaks { at: from });
            }
            return Ok(());
        }
        let (sid, life, conn) = to;
        if let (true, Said::Message(bytes)) = (self.clear_sky, &said) {
            let told = Notification::decode(bytes).unwrap();
            let (state, leader) = (told.state, told.leader);
            self.say(format_args!("{} tells {sid}: {state:?} {leader}", from.0));
        }
        self.with((sid, life), |running, now_ms| match said {
            Said::Hello(bytes) => {
                let (hello, _) = Hello::split(&bytes).unwrap().whole().unwrap();
                running.links.greeted(now_ms, conn, &hello);
            }
            Said::Message(bytes) => {
                let Some(from) = running.links.received(conn) else { return };
                let told = Notification::decode(&bytes).unwrap();
                running.election.notification(now_ms, from, &told);
            }
        })
    }

    fn decided(
        &mut self,
        (sid, life): (Sid, u64),
        state: PeerState,
        vote: &Vote,
    ) -> Result<(), String> {
        self.say(format_args!(
            "{sid} decides: {state:?} {} in {}",
            vote.leader, vote.election_epoch
        ));
        if !self.config.is_voter(vote.leader) || self.config.weight(vote.leader) == Some(0) {
            return Err(format!("{sid} elected {}, which cannot be", vote.leader));
        }
        if state == PeerState::Leading && self.config.is_observer(sid) {
            return Err(format!("observer {sid} leads"));
        }
        let term = self.running((sid, life)).expect("it decides").term;
        self.at(INIT_LIMIT_MS, Happens::GivesUp { sid, life, term });
        self.establish(vote.leader)
    }

    /// Who has elected `leader` and can reach it.
    fn supporters(&self, leader: Sid) -> Vec<Sid> {
        let supports = |sid: &Sid| {
            let Some(running) = self.servers[sid].running.as_ref() else { return false };
            let settled = running.election.state() != PeerState::Looking;
            settled && running.election.settled_on().leader == leader && !self.is_cut(*sid, leader)
        };
        self.servers.keys().copied().filter(supports).collect()
    }

    /// What follows an election, in a nutshell: discovery and synchronisation.
    fn establish(&mut self, leader: Sid) -> Result<(), String> {
        if self.state_of(leader) != Some(PeerState::Leading) {
            return Ok(());
        }
        let supporters = self.supporters(leader);
        if self.epoch_of(leader).is_none() {
            // Nobody follows a leader that has less (Leader.waitForEpochAck).
            let rank = |sid: Sid| {
                let standing = self.standing(sid);
                (standing.current_epoch, standing.last_logged)
            };
            let ours = rank(leader);
            let behind = |sid: &Sid| self.config.is_voter(*sid) && rank(*sid) > ours;
            let quorum: Vec<Sid> = supporters.iter().copied().filter(|sid| !behind(sid)).collect();
            // In a clear sky all come before the first has logged the new epoch: it is the election
            // that is measured, and not what it looks like to latecomers.
            let all = supporters.len() == self.servers.len();
            if !self.config.is_quorum(|sid| quorum.contains(&sid)) || (self.clear_sky && !all) {
                return Ok(());
            }
            let server = &self.servers[&leader];
            if (server.current_epoch, server.last_logged) < self.committed {
                let (epoch, zxid) = self.committed;
                return Err(format!("{leader} is established, and {zxid} of epoch {epoch} lost"));
            }
            self.epoch += 1;
            self.committed = (self.epoch, server.last_logged);
            self.say(format_args!("{leader} is established by {supporters:?}"));
        }
        let epoch = self.epoch_of(leader).unwrap_or(self.epoch);
        let last_logged = self.servers[&leader].last_logged;
        for sid in supporters {
            let server = self.servers.get_mut(&sid).unwrap();
            server.current_epoch = epoch;
            server.last_logged = last_logged;
            let running = server.running.as_mut().expect("it supports");
            running.epoch = Some(epoch);
            running.election.established(epoch);
        }
        Ok(())
    }

    /// Each established leader logs an entry, and those who follow it do.
    fn write(&mut self) {
        let sids: Vec<Sid> = self.servers.keys().copied().collect();
        for leader in sids {
            let Some(epoch) = self.epoch_of(leader) else { continue };
            if self.state_of(leader) != Some(PeerState::Leading) {
                continue;
            }
            let zxid = Zxid(self.servers[&leader].last_logged.0.max(epoch << 32) + 1);
            let mut reached = vec![leader];
            for sid in self.supporters(leader) {
                if self.epoch_of(sid) == Some(epoch) && self.dice.chance(80) {
                    reached.push(sid);
                }
            }
            for sid in &reached {
                self.servers.get_mut(sid).unwrap().last_logged = zxid;
            }
            if self.config.is_quorum(|sid| reached.contains(&sid)) {
                self.committed = (epoch, zxid);
            }
        }
    }

    /// Who has lost its leader, or the quorum that followed it, notices sooner or later.
    fn review(&mut self) {
        let sids: Vec<Sid> = self.servers.keys().copied().collect();
        loop {
            let lost = |sid: &Sid| {
                let Some(epoch) = self.epoch_of(*sid) else { return false };
                let running = self.servers[sid].running.as_ref().expect("it has an epoch");
                let leader = running.election.settled_on().leader;
                let follows = self.epoch_of(leader) == Some(epoch) && !self.is_cut(*sid, leader);
                let supporters = self.supporters(leader);
                let follows_it =
                    |sid| supporters.contains(&sid) && self.epoch_of(sid) == Some(epoch);
                !follows || (leader == *sid && !self.config.is_quorum(follows_it))
            };
            let Some(sid) = sids.iter().copied().find(lost) else { return };
            let longest_ms = if self.dice.chance(70) { 20 } else { 1_000 };
            let in_ms = 1 + self.dice.below(longest_ms);
            let server = self.servers.get_mut(&sid).unwrap();
            let life = server.lives;
            let running = server.running.as_mut().expect("it has an epoch");
            running.epoch = None;
            let term = running.term;
            self.at(in_ms, Happens::GivesUp { sid, life, term });
        }
    }

    fn storm(&mut self) -> Result<(), String> {
        if !self.storms {
            return Ok(());
        }
        let in_ms = 20 + self.dice.below(1_500);
        self.at(in_ms, Happens::Storms);
        let sids: Vec<Sid> = self.servers.keys().copied().collect();
        let one = sids[self.dice.below(sids.len() as u64) as usize];
        let other = sids[self.dice.below(sids.len() as u64) as usize];
        match self.dice.below(100) {
            0..30 => self.write(),
            30..55 => self.crash(one),
            55..75 if one != other => {
                self.say(format_args!("{one} and {other} are cut off from each other"));
                self.cut.insert((one.min(other), one.max(other)));
            }
            75..90 => {
                self.cut.remove(&(one.min(other), one.max(other)));
            }
            _ => {
                let ends: Vec<(End, End)> = self.ends.iter().map(|(&a, &b)| (a, b)).collect();
                if !ends.is_empty() {
                    let (at, peer) = ends[self.dice.below(ends.len() as u64) as usize];
                    self.say(format_args!("a connection of {} and {} breaks", at.0, peer.0));
                    for at in [at, peer] {
                        let in_ms = self.dice.below(5);
                        self.at(in_ms, Happens::Breaks { at });
                    }
                }
            }
        }
        self.review();
        Ok(())
    }

    /// The process dies, and its peers are told so; or the machine, and they are not.
    fn crash(&mut self, sid: Sid) {
        let server = self.servers.get_mut(&sid).unwrap();
        if server.running.take().is_none() {
            return;
        }
        let silent = self.dice.chance(30);
        self.say(format_args!("{sid} dies{}", if silent { " without a word" } else { "" }));
        let ends: Vec<(End, End)> =
            self.ends.iter().filter(|(end, _)| end.0 == sid).map(|(&a, &b)| (a, b)).collect();
        for (ours, theirs) in ends {
            self.ends.remove(&ours);
            if !silent {
                let in_ms = self.dice.below(5);
                self.at(in_ms, Happens::Breaks { at: theirs });
            }
        }
        let in_ms = 100 + self.dice.below(4_000);
        self.at(in_ms, Happens::Starts { sid });
    }
}
