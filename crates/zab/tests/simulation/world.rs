//! The servers, the links between them, and what goes wrong.
//!
//! Each step lets one thing happen that could happen now: a packet arrives, a write is done, a vote
//! is heard, a client writes, time passes, or a misfortune strikes. Links keep their order and lose
//! at most their tails; a crash keeps some of the writes under way and loses the rest.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::notification::{Notification, PeerState};
use oxkeeper_proto::{Capabilities, OpCode, SessionId, Sid, TxnHeader, Zxid};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::vote::{Configs, Vote};
use oxkeeper_zab::{Disk, Effect, Entry, Input, LinkId, Outgoing, Settings, State};

use crate::host::{Mistake, Server, Write, last};
use crate::oracle::Oracle;

mod returning;

/// SplitMix64.
pub struct Dice(pub u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }
}

/// What travels on a link.
enum Wire {
    Packet(Outgoing),
    Snapshot(Vec<Entry>),
    Closed,
}

/// One connection; index 0 is the learner's end.
struct Link {
    ends: [usize; 2],
    /// What is on its way to each end.
    to: [VecDeque<Wire>; 2],
    /// Ends that have hung up, or were told.
    gone: [bool; 2],
}

struct Told {
    from: usize,
    to: usize,
    state: PeerState,
    vote: Vote,
    configs: Configs,
}

pub struct World {
    dice: Dice,
    now_ms: u64,
    mistake: Mistake,
    settings: Settings,
    membership: Membership,
    /// Where another configuration is in force.
    in_force: BTreeMap<usize, Arc<QuorumVerifier>>,
    /// Who has seen one that is not.
    seen: BTreeMap<usize, Arc<QuorumVerifier>>,
    servers: Vec<Server>,
    links: BTreeMap<LinkId, Link>,
    next_link: u64,
    votes: VecDeque<Told>,
    cut: BTreeSet<(usize, usize)>,
    oracle: Oracle,
    clients: i64,
    trace: String,
    calm: bool,
    /// Servers that are ours and not Apache's, where some are.
    ours: Option<BTreeSet<usize>>,
    handovers: usize,
    relayed: usize,
}

impl World {
    pub fn new(seed: u64, mistake: Mistake) -> World {
        World::with(seed, mistake, false)
    }

    /// Some servers, or all, are ours: they can do what only ours can.
    pub fn of_ours(seed: u64) -> World {
        World::with(seed, Mistake::None, true)
    }

    fn with(seed: u64, mistake: Mistake, ours: bool) -> World {
        let mut dice = Dice(seed);
        let voters = if dice.chance(70) { 3 } else { 5 };
        let observers = usize::from(dice.chance(30));
        let mut text = String::new();
        for sid in 1..=voters + observers {
            let role = if sid <= voters { "participant" } else { "observer" };
            let _ = writeln!(text, "server.{sid}=host{sid}:2888:3888:{role}");
        }
        text.push_str("version=0");
        let config = QuorumVerifier::parse(&text, false).expect("the members make an ensemble");
        let mut settings = Settings::new(Sid(0));
        settings.tick_time_ms = 100;
        settings.init_limit = 10;
        settings.sync_limit = 5;
        settings.committed_count_max = 1 + dice.below(6);
        settings.force_snapshot = dice.chance(10);
        settings.snapshot_size_permille = dice.chance(80).then_some(0);
        settings.sync_enabled = dice.chance(50);
        let reach = 1 + dice.below(30);
        let servers = (1..=voters + observers).map(|sid| Server::new(Sid(sid as i64), reach));
        let all = !ours || dice.chance(70);
        let is_ours = |_: &usize| all || dice.chance(60);
        let ours = ours.then(|| (0..voters + observers).filter(is_ours).collect());
        // In such weather a short measure finds many lost that are not.
        if ours.is_some() {
            settings.silence_ms = dice.chance(70).then_some(0);
            settings.observer_masters = dice.chance(50);
        }
        let membership = Membership::new(Arc::new(config), None);
        let mut world = World::empty(dice, settings, membership, servers.collect());
        world.mistake = mistake;
        world.ours = ours;
        for at in 0..world.servers.len() {
            world.start(at);
        }
        world
    }

    /// Nobody has started yet, all are Apache's, and no mistake is made.
    fn empty(
        dice: Dice,
        settings: Settings,
        membership: Membership,
        servers: Vec<Server>,
    ) -> World {
        World {
            dice,
            now_ms: 0,
            mistake: Mistake::None,
            settings,
            membership,
            in_force: BTreeMap::new(),
            seen: BTreeMap::new(),
            servers,
            links: BTreeMap::new(),
            next_link: 0,
            votes: VecDeque::new(),
            cut: BTreeSet::new(),
            oracle: Oracle::default(),
            clients: 0,
            trace: String::new(),
            calm: false,
            ours: None,
            handovers: 0,
            relayed: 0,
        }
    }

    fn effects_of_all(&mut self) -> Result<(), String> {
        (0..self.servers.len()).try_for_each(|at| self.effects(at))
    }

    pub fn trace(&self) -> String {
        self.trace.clone()
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.mistake == Mistake::None {
            let what = what();
            let _ = writeln!(self.trace, "{} {what}", self.now_ms);
        }
    }

    /// Lets things happen, good and bad.
    pub fn storm(&mut self, steps: usize) -> Result<(), String> {
        self.effects_of_all()?;
        for _ in 0..steps {
            self.step()?;
        }
        Ok(())
    }

    /// Nothing goes wrong any more: the ensemble must find a leader, and commit, within a bound.
    /// Returns how much was ever committed.
    pub fn heal(&mut self) -> Result<usize, String> {
        self.calm = true;
        self.cut.clear();
        for at in 0..self.servers.len() {
            let now_ms = self.now_ms;
            if let Some(peer) = &mut self.servers[at].peer {
                peer.may_lead(now_ms, true);
                self.effects(at)?;
            }
            if self.servers[at].peer.is_none() {
                self.start(at);
                self.effects(at)?;
            }
        }
        let until_ms = self.now_ms + 60_000;
        while self.now_ms < until_ms {
            for _ in 0..50 {
                self.step()?;
            }
            let epochs: BTreeSet<_> = self.servers.iter().map(|server| server.serving).collect();
            if epochs.len() == 1 && epochs.first() != Some(&None) {
                return self.write_once_more();
            }
        }
        let states: Vec<_> = self.servers.iter().map(describe).collect();
        Err(format!("liveness: not everyone serves in one epoch after 60 s of calm: {states:#?}"))
    }

    fn write_once_more(&mut self) -> Result<usize, String> {
        let before = self.oracle.len();
        for _ in 0..4000 {
            self.propose()?;
            self.step()?;
            if self.oracle.len() > before {
                return Ok(self.oracle.len());
            }
        }
        Err("liveness: nothing is committed in calm".into())
    }

    fn step(&mut self) -> Result<(), String> {
        match self.dice.below(100) {
            0..45 => self.deliver(),
            45..65 => self.finish_write(),
            65..75 => self.vote(),
            75..85 => self.propose(),
            85..98 => self.pass_time(),
            _ if self.calm => Ok(()),
            _ => self.misfortune(),
        }
    }

    fn misfortune(&mut self) -> Result<(), String> {
        let at = self.dice.below(self.servers.len());
        match self.dice.below(if self.ours.is_some() { 8 } else { 6 }) {
            6 | 7 => return self.hand_over(at),
            0 | 1 if self.servers[at].peer.is_some() => self.crash(at),
            2 => {
                let links: Vec<LinkId> = self.links.keys().copied().collect();
                if let Some(link) = links.get(self.dice.below(links.len())) {
                    self.cut_link(*link);
                }
            }
            3 => {
                let other = self.dice.below(self.servers.len());
                self.cut.insert((at.min(other), at.max(other)));
                let ids: Vec<LinkId> = self.links.keys().copied().collect();
                for id in ids {
                    let ends = self.links[&id].ends;
                    if ends == [at, other] || ends == [other, at] {
                        self.cut_link(id);
                    }
                }
            }
            4 => self.cut.clear(),
            _ if self.servers[at].peer.is_none() => {
                self.start(at);
                return self.effects(at);
            }
            _ => {}
        }
        Ok(())
    }

    /// Someone who leads is asked to go, as before a restart; others may stand for leader again.
    fn hand_over(&mut self, from: usize) -> Result<(), String> {
        let now_ms = self.now_ms;
        let count = self.servers.len();
        for at in (0..count).map(|at| (from + at) % count) {
            let chance = self.dice.chance(50);
            let Some(peer) = &mut self.servers[at].peer else { continue };
            if peer.hand_over(now_ms) {
                self.handovers += 1;
                self.note(|| format!("{at} hands over"));
            } else if chance {
                peer.may_lead(now_ms, true);
            }
            self.effects(at)?;
        }
        Ok(())
    }

    /// The numbers that servers keep of their ensemble.
    pub fn ensemble_ids(&self) -> BTreeSet<u128> {
        let ids = self.servers.iter().map(|server| server.durable.ensemble_id);
        ids.filter(|id| *id != 0).collect()
    }

    /// How often an observer began to serve what a follower gave it.
    pub fn relayed(&self) -> usize {
        self.relayed
    }

    /// How often the lead was handed over.
    pub fn handovers(&self) -> usize {
        self.handovers
    }

    fn start(&mut self, at: usize) {
        let mut settings = self.settings.clone();
        settings.sid = self.servers[at].sid;
        if self.ours.as_ref().is_some_and(|ours| ours.contains(&at)) {
            settings.capabilities = Capabilities::LEADER_TRANSFER
                | Capabilities::QUICK_PING
                | Capabilities::ENSEMBLE_ID
                | Capabilities::CUMULATIVE;
            settings.ensemble_id = self.servers[at].durable.ensemble_id;
            settings.ensemble_seed = u128::from(self.dice.next()) | 1;
        }
        let in_force = self.in_force.get(&at).unwrap_or(self.membership.current());
        let membership = Membership::new(Arc::clone(in_force), self.seen.get(&at).cloned());
        self.servers[at].start(settings, membership, self.now_ms);
        self.note(|| format!("start {at}"));
    }

    fn crash(&mut self, at: usize) {
        let writes = self.servers[at].writes.len();
        let (log, epochs) = (self.dice.below(writes + 1), self.dice.below(writes.min(2) + 1));
        self.note(|| format!("crash {at}, on disk are {log} writes and {epochs} of epochs"));
        self.servers[at].crash(log, epochs, self.mistake);
        let ids: Vec<LinkId> = self.links.keys().copied().collect();
        for id in ids {
            if self.links[&id].ends.contains(&at) {
                self.cut_link(id);
            }
        }
        self.votes.retain(|told| told.to != at);
    }

    /// Both directions lose a tail; both ends will notice.
    fn cut_link(&mut self, id: LinkId) {
        let Some(link) = self.links.get_mut(&id) else { return };
        for end in 0..2 {
            let keep = self.dice.below(link.to[end].len() + 1);
            link.to[end].truncate(keep);
            link.to[end].push_back(Wire::Closed);
        }
    }

    fn blocked(&self, one: usize, other: usize) -> bool {
        self.cut.contains(&(one.min(other), one.max(other)))
    }

    /// The next thing on some link arrives.
    fn deliver(&mut self) -> Result<(), String> {
        let ready: Vec<(LinkId, usize)> = self
            .links
            .iter()
            .flat_map(|(id, link)| [(*id, 0), (*id, 1)].map(|(id, end)| (id, end, link)))
            .filter(|(_, end, link)| !link.to[*end].is_empty())
            .map(|(id, end, _)| (id, end))
            .collect();
        if ready.is_empty() {
            return self.pass_time();
        }
        let (id, end) = ready[self.dice.below(ready.len())];
        // Packets of one segment arrive together.
        for _ in 0..1 + self.dice.below(4) {
            let Some(link) = self.links.get_mut(&id) else { break };
            let at = link.ends[end];
            let Some(wire) = link.to[end].pop_front() else { break };
            if link.gone[end] || self.servers[at].peer.is_none() {
                link.to[end].clear();
                link.gone[end] = true;
            } else {
                self.arrive(id, end, at, wire)?;
            }
            if self.links.get(&id).is_some_and(|link| link.gone == [true, true]) {
                self.links.remove(&id);
            }
        }
        Ok(())
    }

    fn arrive(&mut self, id: LinkId, end: usize, at: usize, wire: Wire) -> Result<(), String> {
        let now_ms = self.now_ms;
        match wire {
            Wire::Packet(packet) => {
                self.note(|| format!("{at} <- {packet:?}"));
                if let Some(peer) = &mut self.servers[at].peer {
                    peer.packet(now_ms, id, &packet.as_packet());
                }
            }
            Wire::Snapshot(history) => {
                let server = &mut self.servers[at];
                if let Some((link, generation)) = server.receiving
                    && link == id
                {
                    server.receiving = None;
                    if self.mistake == Mistake::KeepMemory {
                        server.memory = history.clone();
                    }
                    server.write(Write::Install(generation, history), self.mistake);
                }
            }
            Wire::Closed => {
                if let Some(link) = self.links.get_mut(&id) {
                    link.gone[end] = true;
                }
                self.input(at, Input::Unlinked(id))?;
            }
        }
        self.effects(at)
    }

    fn finish_write(&mut self) -> Result<(), String> {
        let at = self.dice.below(self.servers.len());
        let writes = self.servers[at].writes.len();
        let mut reports: Vec<Disk> = Vec::new();
        for _ in 0..self.dice.below(writes.min(4) + 1) {
            let report = self.servers[at].finish_write(self.mistake);
            // A host reports a group of appends once.
            match (report, reports.last_mut()) {
                (Some(Disk::Synced(zxid)), Some(Disk::Synced(last))) => *last = zxid,
                (Some(report), _) => reports.push(report),
                (None, _) => {}
            }
        }
        for report in reports {
            if let Disk::EpochsSaved(epochs) = report {
                self.oracle.epochs(self.servers[at].sid, epochs)?;
            }
            if self.mistake == Mistake::SyncedBeforeDurable && matches!(report, Disk::Synced(_)) {
                continue;
            }
            self.note(|| format!("{at} disk {report:?}"));
            self.input(at, Input::Disk(report))?;
        }
        Ok(())
    }

    /// A vote arrives.
    fn vote(&mut self) -> Result<(), String> {
        for _ in 0..3 {
            let Some(told) = self.votes.pop_front() else { return Ok(()) };
            let sid = self.servers[told.from].sid;
            let told_to = &mut self.servers[told.to];
            if self.cut.contains(&(told.from.min(told.to), told.from.max(told.to))) {
                continue;
            }
            if let Some(peer) = &mut told_to.peer {
                let notification: Notification<'_> =
                    told.vote.notification(told.state, &told.configs);
                peer.notification(self.now_ms, sid, &notification);
                self.effects(told.to)?;
            }
        }
        Ok(())
    }

    /// A client writes on whoever thinks it leads.
    fn propose(&mut self) -> Result<(), String> {
        for at in 0..self.servers.len() {
            let Some(peer) = &mut self.servers[at].peer else { continue };
            let Some(zxid) = peer.next_zxid(0) else { continue };
            self.clients += 1;
            let mut payload = Vec::new();
            let header = TxnHeader {
                session: SessionId(1),
                cxid: 0,
                zxid,
                time_ms: self.clients,
                op: OpCode::ERROR,
            };
            header.encode(&mut payload);
            peer.propose(self.now_ms, Entry { zxid, payload: Bytes::from(payload) }, None);
            self.effects(at)?;
        }
        Ok(())
    }

    fn pass_time(&mut self) -> Result<(), String> {
        // Time flies only when there is nothing else to do, or now and then when there is: a
        // stall, in which timeouts strike.
        let busy = !self.votes.is_empty()
            || self.servers.iter().any(|server| !server.writes.is_empty())
            || self.links.values().any(|link| link.to.iter().any(|queue| !queue.is_empty()));
        let least = self.servers.iter().filter_map(|server| server.peer.as_ref()?.deadline_ms());
        let least = least.min().unwrap_or(self.now_ms + 10);
        self.now_ms = if !busy || self.dice.chance(2) {
            self.now_ms.max(least)
        } else {
            self.now_ms + self.dice.below(4) as u64
        };
        for at in 0..self.servers.len() {
            let now_ms = self.now_ms;
            let Some(peer) = &mut self.servers[at].peer else { continue };
            if peer.deadline_ms().is_some_and(|due_ms| due_ms <= now_ms) {
                peer.wake(now_ms);
                self.effects(at)?;
            }
        }
        Ok(())
    }

    fn input(&mut self, at: usize, input: Input) -> Result<(), String> {
        let now_ms = self.now_ms;
        if let Some(peer) = &mut self.servers[at].peer {
            peer.handle(now_ms, input);
        }
        self.effects(at)
    }

    /// Carries out what a server wants.
    fn effects(&mut self, at: usize) -> Result<(), String> {
        while let Some(effect) = self.servers[at].peer.as_mut().and_then(|peer| peer.poll_effect())
        {
            self.effect(at, effect)?;
        }
        if let Some(peer) = &self.servers[at].peer {
            peer.cursors().check();
        }
        Ok(())
    }

    fn effect(&mut self, at: usize, effect: Effect) -> Result<(), String> {
        let mistake = self.mistake;
        if let Some(answer) = self.servers[at].history(&effect, mistake) {
            return self.input(at, answer);
        }
        match effect {
            Effect::Dial(leader) => self.dial(at, leader, Input::Linked)?,
            Effect::DialObserverMaster(follower) => {
                self.dial(at, follower, Input::ObserverLinked)?
            }
            Effect::Send(id, packet) => self.send(at, id, Wire::Packet(packet)),
            Effect::Close(id, why) => {
                self.note(|| format!("{at} closes {id:?}: {why}"));
                self.send(at, id, Wire::Closed);
                if let Some(link) = self.links.get_mut(&id) {
                    let end = usize::from(link.ends[1] == at);
                    link.gone[end] = true;
                }
            }
            Effect::OpenSnapshot { link, at_least } => self.open_snapshot(at, link, at_least)?,
            Effect::SendSnapshot(id) => {
                let opened = &mut self.servers[at].opened;
                if let Some(found) = opened.iter().position(|(link, _)| *link == id) {
                    let (_, history) = opened.remove(found);
                    self.send(at, id, Wire::Snapshot(history));
                }
            }
            Effect::ReceiveSnapshot { generation, link, .. } => {
                self.servers[at].waiting.clear();
                self.servers[at].receiving = Some((link, generation));
            }
            Effect::Append(_)
            | Effect::SaveEpochs(_)
            | Effect::SaveEnsembleId(_)
            | Effect::Truncate { .. }
            | Effect::Reload { .. } => self.write_effect(at, effect)?,
            Effect::Hold(entry) => self.servers[at].waiting.push_back(entry),
            Effect::Commit(zxid) => self.commit(at, zxid)?,
            Effect::FastForward(zxid) => self.fast_forward(at, zxid)?,
            Effect::State(state) => {
                self.note(|| format!("{at} {state:?}"));
                self.servers[at].serving = None;
                if let State::Settling(_) = state {
                    self.servers[at].opened.clear();
                }
            }
            Effect::Serve { epoch } => self.serve(at, epoch)?,
            Effect::Notify { to, state, vote, configs } => {
                let to = (to.0 - 1) as usize;
                let lost = self.servers[to].peer.is_none() || self.blocked(at, to);
                if !lost {
                    self.votes.push_back(Told { from: at, to, state, vote, configs });
                }
            }
            Effect::AskTouched { zxid } => {
                if let Some(peer) = &mut self.servers[at].peer {
                    peer.answer_ping(zxid, Bytes::new());
                }
            }
            Effect::Fatal(why) => return Err(format!("{at} stopped: {why}")),
            Effect::ConfigSeen(config) => {
                self.note(|| format!("{at} has seen {:x}", config.version()));
                self.seen.insert(at, config);
            }
            Effect::ConfigActive(config) => self.configured(at, config),
            Effect::ConfigHeard(_) | Effect::Synced(_) | Effect::SaveTrust => {}
            Effect::SurveyLog { .. } | Effect::ReadLog { .. } => {}
        }
        Ok(())
    }

    fn configured(&mut self, at: usize, config: Arc<QuorumVerifier>) {
        self.note(|| format!("{at} is configured {:x}", config.version()));
        if self.seen.get(&at).is_some_and(|seen| seen.version() <= config.version()) {
            self.seen.remove(&at);
        }
        self.in_force.insert(at, config);
    }

    /// Some snapshot between the least that will do and the newest possible.
    fn open_snapshot(&mut self, at: usize, id: LinkId, at_least: Zxid) -> Result<(), String> {
        let server = &mut self.servers[at];
        let memory = &server.memory;
        let least = memory.partition_point(|entry| entry.zxid <= at_least);
        let least = if self.mistake == Mistake::OldSnapshot { 0 } else { least };
        let count = memory.len() - self.dice.below((memory.len() - least).min(4) + 1);
        let history = memory[..count].to_vec();
        let zxid = last(&history);
        server.opened.push((id, history));
        self.input(at, Input::SnapshotOpened { link: id, zxid })
    }

    fn fast_forward(&mut self, at: usize, zxid: Zxid) -> Result<(), String> {
        let server = &mut self.servers[at];
        let waiting = std::mem::take(&mut server.waiting);
        server.memory.extend(waiting);
        if last(&server.memory) != zxid {
            return Err(format!("{at}: fast forward to {zxid}, memory ends elsewhere"));
        }
        Ok(())
    }

    fn write_effect(&mut self, at: usize, effect: Effect) -> Result<(), String> {
        let server = &mut self.servers[at];
        let write = match effect {
            Effect::Append(entry) => {
                server.waiting.push_back(entry.clone());
                Write::Append(entry)
            }
            Effect::SaveEpochs(epochs) => Write::Epochs(epochs),
            Effect::SaveEnsembleId(id) => Write::EnsembleId(id),
            Effect::Truncate { generation, to } => {
                server.waiting.clear();
                Write::Truncate(generation, to)
            }
            Effect::Reload { generation } => {
                server.waiting.clear();
                server.receiving = None;
                if self.mistake == Mistake::KeepMemory {
                    server.writes.retain(|write| !matches!(write, Write::Install(..)));
                }
                Write::Reload(generation)
            }
            _ => return Ok(()),
        };
        self.begin_write(at, write)
    }

    fn begin_write(&mut self, at: usize, write: Write) -> Result<(), String> {
        match self.servers[at].write(write, self.mistake) {
            Some(report) => self.input(at, Input::Disk(report)),
            None => Ok(()),
        }
    }

    fn dial(&mut self, at: usize, leader: Sid, linked: fn(LinkId) -> Input) -> Result<(), String> {
        let to = (leader.0 - 1) as usize;
        let needed = match linked(LinkId(0)) {
            Input::ObserverLinked(_) => PeerState::Following,
            _ => PeerState::Leading,
        };
        let listens =
            |server: &Server| server.peer.as_ref().is_some_and(|peer| peer.state() == needed);
        if self.blocked(at, to) || !listens(&self.servers[to]) {
            return self.input(at, Input::DialFailed(leader));
        }
        self.next_link += 1;
        let id = LinkId(self.next_link);
        let link =
            Link { ends: [at, to], to: [VecDeque::new(), VecDeque::new()], gone: [false, false] };
        self.links.insert(id, link);
        self.input(to, linked(id))?;
        self.input(at, Input::Linked(id))
    }

    fn send(&mut self, at: usize, id: LinkId, wire: Wire) {
        let Some(link) = self.links.get_mut(&id) else { return };
        let end = usize::from(link.ends[1] == at);
        if !link.gone[end] {
            link.to[1 - end].push_back(wire);
        }
    }

    fn commit(&mut self, at: usize, zxid: Zxid) -> Result<(), String> {
        let server = &mut self.servers[at];
        let Some(entry) = server.waiting.pop_front() else {
            return Err(format!("{at}: commit of {zxid}, nothing waits"));
        };
        if entry.zxid != zxid {
            return Err(format!("{at}: commit of {zxid}, {} waits", entry.zxid));
        }
        server.memory.push(entry);
        if let Some(epoch) = server.serving {
            let leads = server.peer.as_ref().is_some_and(|p| p.state() == PeerState::Leading);
            if leads {
                self.oracle.committed_in_epoch(epoch, zxid)?;
            }
            let from = server.memory.len() - 1;
            self.oracle.serves(server.sid, &server.memory, from)?;
        }
        Ok(())
    }

    fn serve(&mut self, at: usize, epoch: u32) -> Result<(), String> {
        self.note(|| format!("{at} serves in epoch {epoch}"));
        let server = &mut self.servers[at];
        server.serving = Some(epoch);
        let peer = server.peer.as_ref();
        let relayed = peer.is_some_and(|peer| {
            peer.state() == PeerState::Observing && peer.learner_master() != peer.leader()
        });
        self.relayed += usize::from(relayed);
        let leads = server.peer.as_ref().is_some_and(|p| p.state() == PeerState::Leading);
        if leads {
            self.oracle.leads(server.sid, epoch, &server.memory)
        } else {
            self.oracle.serves(server.sid, &server.memory, 0)
        }
    }
}

fn describe(server: &Server) -> String {
    let peer = server.peer.as_ref();
    format!(
        "{}: {:?} {:?} {:?} serving {:?}, writes {}",
        server.sid,
        peer.map(|peer| peer.state()),
        peer.map(|peer| peer.zab_state()),
        peer.map(|peer| peer.cursors()),
        server.serving,
        server.writes.len()
    )
}
