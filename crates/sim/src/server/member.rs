//! A server as a member of an ensemble: what its host does for the agreement.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;
use std::sync::Arc;

use oxkeeper_node::{Core, Now};
use oxkeeper_proto::packet::Packet;
use oxkeeper_proto::{Capabilities, Sid};
use oxkeeper_server::history_thread::HistoryCommand;
use oxkeeper_server::log_thread::LogCommand;
use oxkeeper_storage::{SimDisk, past};
use oxkeeper_zab as zab;
use zab::messages::Effect as PeerEffect;
use zab::quorum::{Membership, QuorumVerifier};
use zab::wrong::{self, Wrong};
use zab::{Input, LinkId, Outgoing, Recovered, State, election};

use super::archive::{Found, Inlet};
use super::ports::{Link, Ports, Told};
use super::running::Running;
use super::{DATA, Ensemble, Outage, Server};
use crate::dice::Dice;
use crate::history::{Configured, Moment};
use crate::net::{Delivery, Port, WireId};
use crate::world::Ground;

/// How often groups are drawn before all are one.
const DRAWS_MAX: usize = 50;

impl Ensemble {
    /// Puts those that vote into groups, with weights, so that no single one is needed by every
    /// quorum: what it alone has acknowledged would be lost with its data, and should be.
    pub fn draw_groups(&mut self, dice: &mut Dice) {
        for _ in 0..DRAWS_MAX {
            let count = dice.between(1, 4) as usize;
            let one = |dice: &mut Dice| {
                (1 + dice.below(count as u64) as usize, *dice.pick(&[0, 1, 1, 1, 1, 2, 3]))
            };
            self.groups = (0..self.voters).map(|_| one(dice)).collect();
            if (0..self.voters).all(|lost| spares(&self.groups, lost)) {
                return;
            }
        }
        self.groups = vec![(1, 1); self.voters];
    }
}

/// Whether all but one of those in these groups, with these weights, are a quorum. Servers are not
/// asked: their mistakes would draw other ensembles, for which losing what they lose may be right.
fn spares(servers: &[(usize, i64)], lost: usize) -> bool {
    let mut groups: BTreeMap<usize, (i64, i64)> = BTreeMap::new();
    for (at, (group, weight)) in servers.iter().enumerate() {
        let (all, left) = groups.entry(*group).or_default();
        *all += weight;
        *left += if at == lost { 0 } else { *weight };
    }
    let won = groups.values().filter(|(all, left)| 2 * left > *all).count();
    2 * won > groups.values().filter(|(all, _)| *all > 0).count()
}

/// What each member knows of the others when it first starts.
fn membership(ensemble: &Ensemble) -> Membership {
    let mut text = String::new();
    for sid in 1..=ensemble.members() {
        let role = if sid <= ensemble.voters { "participant" } else { "observer" };
        let _ = writeln!(text, "server.{sid}=server-{sid}:2888:3888:{role}");
    }
    let mut groups: BTreeMap<usize, Vec<String>> = BTreeMap::new();
    for (sid, (group, weight)) in (1..).zip(&ensemble.groups) {
        groups.entry(*group).or_default().push(sid.to_string());
        let _ = writeln!(text, "weight.{sid}={weight}");
    }
    for (group, sids) in groups {
        let _ = writeln!(text, "group.{group}={}", sids.join(":"));
    }
    text.push_str("version=0");
    let config = QuorumVerifier::parse(&text, false).expect("the members make an ensemble");
    Membership::new(Arc::new(config), None)
}

/// What an operator gives a server that is not, or no longer, a member: where the members are, and
/// itself as an observer, which nobody counts.
fn guest(sid: Sid, membership: &Membership) -> Membership {
    let lines = membership.current().to_string();
    let lines = lines.lines().filter(|line| !line.starts_with("version="));
    let mut text: String = lines.flat_map(|line| [line, "\n"]).collect();
    let _ = write!(text, "server.{sid}=server-{sid}:2888:3888:observer\nversion=0");
    let config = QuorumVerifier::parse(&text, false).expect("the members make an ensemble");
    Membership::new(Arc::new(config), None)
}

impl Server {
    /// Makes the core a member, if there is an ensemble.
    pub(super) fn join(
        &mut self,
        ground: &mut Ground,
        core: &mut Core,
        recovered: Recovered,
        now: Now,
    ) -> Option<Ports> {
        let ensemble = self.settings.ensemble.as_ref()?;
        let sid = Sid(self.id as i64 + 1);
        let own = self.membership.take();
        let by_hand = own.as_ref().is_some_and(|own| own.current().server(sid).is_none());
        let membership = match own {
            Some(membership) if !by_hand => membership,
            Some(removed) => self.files_of_who_was_removed(sid, &removed, &recovered.config),
            None => membership(ensemble),
        };
        self.membership = Some(membership.clone());
        let mut settings = zab::Settings::new(sid);
        settings.tick_time_ms = self.settings.tick_ms.into();
        settings.init_limit = ensemble.init_limit;
        settings.sync_limit = ensemble.sync_limit;
        settings.observer = membership.current().is_observer(sid);
        settings.reconfig_enabled = ensemble.reconfig;
        settings.sync_enabled = ensemble.sync_enabled;
        settings.force_snapshot = ensemble.force_snapshot;
        settings.snapshot_size_permille = ensemble.snapshot_size_permille;
        settings.committed_count_max = ensemble.window;
        if let Some(max) = ensemble.epoch_transactions_max {
            settings.counter_max = max;
        }
        // With Apache's rules for emptied members, those can lose what was acknowledged.
        settings.capabilities = Capabilities::PROBATION;
        if ensemble.ours {
            settings.capabilities |=
                Capabilities::LEADER_TRANSFER | Capabilities::QUICK_PING | Capabilities::CUMULATIVE;
        }
        let ports = Ports::new(sid, &membership);
        let voting = election::Settings {
            interval_max_ms: 4000,
            reconfig_enabled: ensemble.reconfig,
            ..Default::default()
        };
        let config = membership.current();
        let (version, text) = (if by_hand { 0 } else { config.version() }, config.to_string());
        ground.history.configured.push(Configured { server: self.id, version, text });
        let peer = zab::Peer::new(settings, voting, membership, recovered);
        core.join(peer, self.settings.fronts as u16, now);
        Some(ports)
    }

    /// What an operator gives a server whose own files do not name it. Where nobody else knows of
    /// that, and its data does not either, it was removed by what it had put in force alone, and is
    /// a member yet: it gets the files of another. With a list of his own he would take from it
    /// what only it and its files knew.
    fn files_of_who_was_removed(&self, sid: Sid, removed: &Membership, data: &str) -> Membership {
        let version = removed.current().version();
        let in_data = QuorumVerifier::parse(data, false).is_ok_and(|its| its.version() >= version);
        match &self.others {
            Some(others)
                if !in_data
                    && others.current().version() < version
                    && others.current().server(sid).is_some() =>
            {
                Membership::new(Arc::clone(others.current()), others.last_seen().cloned())
            }
            _ => guest(sid, removed),
        }
    }

    /// An operator looks at the files of others before it starts.
    pub fn looked_at_others(&mut self, files: Option<Membership>) {
        self.others = files;
    }

    /// What its files say of members.
    pub fn files(&self) -> Option<&Membership> {
        self.membership.as_ref()
    }

    /// The configuration that its files say is in force; none before it has started.
    pub fn config(&self) -> Option<Arc<QuorumVerifier>> {
        self.membership.as_ref().map(|membership| Arc::clone(membership.current()))
    }

    /// Its number, if observers keep no log.
    pub(super) fn without_log(&self) -> Option<usize> {
        let ensemble = self.settings.ensemble.as_ref()?;
        (!ensemble.sync_enabled).then_some(self.id)
    }

    /// True if it leads, or means to.
    pub fn leads(&self) -> bool {
        let running = self.running.as_ref();
        running.is_some_and(|running| running.core.state() == Some(State::Leading))
    }

    /// True if its data is gone, and what it has forgotten may matter still.
    pub fn is_wiped(&self) -> bool {
        self.wiped || !self.disk.bytes(&Path::new(DATA).join(past::EMPTIED_FILE)).is_empty()
    }

    /// Its process ends and its data is gone; that it had some is remembered.
    pub fn wipe(&mut self, ground: &mut Ground) {
        ground.note(format_args!("server {} is wiped", self.id));
        self.fail(ground, Outage::Power);
        let marker = Path::new(DATA).join(past::HELD_FILE);
        let held = self.disk.bytes(&marker);
        self.repair();
        self.disk = SimDisk::new();
        if !held.is_empty() {
            self.disk.put(&marker, &held);
            self.wiped = true;
        }
        ground.history.wiped(self.id);
    }

    /// It is asked to end: a leader gives the lead to another.
    pub fn hand_over(&mut self, ground: &mut Ground) {
        let now = self.now(ground);
        let Some(running) = &mut self.running else { return };
        let under_way = running.core.hand_over(now);
        ground.note(format_args!("server {} is asked to go; {under_way}", self.id));
        self.effects(ground);
        self.plan_all(ground);
    }

    /// Its role ends, for no reason that it knows of.
    pub fn step_down(&mut self, ground: &mut Ground) {
        let now = self.now(ground);
        let Some(running) = &mut self.running else { return };
        running.core.step_down(now);
        ground.note(format_args!("server {} steps down", self.id));
        self.effects(ground);
        self.plan_all(ground);
    }

    /// Something has arrived on a wire between servers.
    pub(super) fn peer_arrival(&mut self, ground: &mut Ground, wire: WireId, delivery: Delivery) {
        let now = self.now(ground);
        let Some(running) = &mut self.running else { return };
        match ground.net.port(wire) {
            Port::Election => running.election_arrival(ground, now, wire, delivery),
            _ => running.quorum_arrival(ground, now, wire, delivery),
        }
        self.effects(ground);
    }

    /// What has come in meanwhile, and what is due by the clock.
    pub(super) fn hear_peers(&mut self, ground: &mut Ground, now: Now) {
        let Some(running) = &mut self.running else { return };
        for input in std::mem::take(&mut running.reports.inputs) {
            running.core.peer_input(now, input);
        }
        let Some(ports) = &mut running.ports else { return };
        if ports.votes.deadline_ms().is_some_and(|due_ms| due_ms <= now.mono_ms()) {
            ports.votes.tick(now.mono_ms());
        }
        running.election_calls(ground, now);
        let Some(ports) = &mut running.ports else { return };
        let mut links = Vec::new();
        for (id, link) in &mut ports.links {
            if let Some(rest) = link.inlet.as_ref().and_then(Inlet::rest) {
                (link.inlet, link.raw, link.inbox) = (None, false, rest);
                links.push(*id);
            }
        }
        for link in links {
            running.packets(ground, now, link);
        }
    }

    /// The log's thread gets on by what waits for it, or by some of it.
    pub(super) fn log_turn(&mut self, ground: &mut Ground) -> Result<(), String> {
        let Server { running: Some(running), dice, .. } = self else { return Ok(()) };
        running.to_log.left = if dice.one_in(3) { dice.below(3) as usize } else { usize::MAX };
        let awaited = running.to_log.snapshot();
        if let Some(first) = running.to_log.take() {
            let turned = running.log.turn(first, &mut running.to_log, &running.reports);
            // One turn may roll the log, or write, and then take a snapshot over.
            if running.to_log.snapshot().is_none()
                && let (Some(zxid), Some(wire)) = (awaited, running.installing)
            {
                running.installing = None;
                ground.history.installs(self.id, wire, zxid);
            }
            turned.map_err(|error| error.to_string())?;
        }
        if running.to_log.is_empty() && dice.one_in(4) {
            running.log.settle().map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// The history's thread answers a question.
    pub(super) fn history_turn(&mut self, ground: &mut Ground) {
        let Some(running) = &mut self.running else { return };
        for found in running.archive.step() {
            let Some(ports) = &mut running.ports else { return };
            match found {
                Found::Input(input) => running.reports.inputs.push(input),
                Found::Chunk(link, Some(chunk)) => ports.send_chunk(ground, link, &chunk),
                Found::Chunk(link, None) => {
                    ports.close(ground, link);
                    running.reports.inputs.push(Input::Unlinked(link));
                }
                Found::Wanted => running.core.request_snapshot_for_learner(),
            }
        }
    }
}

/// What a server is about to do to its files.
fn moment_of(effect: &PeerEffect) -> Option<Moment> {
    match effect {
        PeerEffect::SaveEpochs(epochs) if epochs.accepted == epochs.current => {
            Some(Moment::Establishes)
        }
        PeerEffect::Truncate { .. } => Some(Moment::Cuts),
        PeerEffect::ReceiveSnapshot { .. } => Some(Moment::Installs),
        _ => None,
    }
}

/// The transaction that a packet brings.
fn payload_of<'a>(packet: &'a Packet<'_>) -> Option<&'a [u8]> {
    match packet {
        Packet::Proposal { entry, .. }
        | Packet::Inform { entry, .. }
        | Packet::InformAndActivate { entry, .. } => Some(entry),
        _ => None,
    }
}

impl Running {
    /// The agreement has got another configuration: the ports know, and the files have it at once.
    pub(super) fn configured(
        &mut self,
        ground: &mut Ground,
        server: usize,
        in_force: bool,
    ) -> Option<Membership> {
        let membership = self.core.peer()?.membership().clone();
        if let Some(ports) = &mut self.ports {
            ports.votes.configure(&membership);
        }
        let moment = if in_force { Moment::Changes } else { Moment::Sees };
        ground.history.moments.push((moment, server));
        if in_force {
            let (version, text) =
                (membership.current().version(), membership.current().to_string());
            ground.note(format_args!("server {server} is configured: {text:?}"));
            ground.history.configured.push(Configured { server, version, text });
        }
        Some(membership)
    }

    /// Others need a configuration that this server has only heard of.
    pub(super) fn heard(&mut self) {
        if let (Some(ports), Some(peer)) = (&mut self.ports, self.core.peer()) {
            ports.votes.configure(peer.membership());
        }
    }

    /// Carries out what the agreement wants. False if it wants the server to end.
    pub(super) fn peer_effect(
        &mut self,
        ground: &mut Ground,
        server: usize,
        now: Now,
        effect: PeerEffect,
    ) -> bool {
        let Some(ports) = &mut self.ports else { return true };
        match effect {
            PeerEffect::Dial(sid) => ports.dial(ground, sid),
            PeerEffect::Send(link, packet) => {
                if let Outgoing::Ack(zxid) = packet
                    && zxid.counter() == 0
                {
                    ground.history.moments.push((Moment::Stands, server));
                }
                ports.send(ground, link, &packet);
            }
            PeerEffect::Close(link, why) => {
                ground.note(format_args!("server {server} closes link {}: {why}", link.0));
                if let zab::messages::Drop::Violation(violation) = why {
                    ground.history.accused(server, &violation);
                }
                ports.close(ground, link);
                self.archive.forget(link);
            }
            PeerEffect::OpenSnapshot { link, at_least } => {
                self.archive.ask(HistoryCommand::OpenSnapshot { link, at_least });
            }
            PeerEffect::SendSnapshot(link) => {
                if let Some(to) = ports.links.get(&link) {
                    ground.history.sends_snapshot(server, to.wire);
                }
                ports.expect_snapshot(link);
                self.archive.send(link);
            }
            PeerEffect::SurveyLog { link, peer } => {
                self.archive.ask(HistoryCommand::Survey { link, peer });
            }
            PeerEffect::ReadLog { link, after, to } => {
                self.archive.ask(HistoryCommand::Read { link, after, to });
            }
            PeerEffect::SaveEpochs(_)
            | PeerEffect::SaveTrust
            | PeerEffect::Truncate { .. }
            | PeerEffect::ReceiveSnapshot { .. }
            | PeerEffect::Reload { .. } => {
                let moment = moment_of(&effect).map(|moment| (moment, server));
                ground.history.moments.extend(moment);
                self.disk_effect(effect);
            }
            PeerEffect::Notify { to, state, vote, configs } => {
                let mut message = Vec::new();
                vote.notification(state, &configs).encode(&mut message);
                ports.votes.send(now.mono_ms(), to, message.into());
                self.election_calls(ground, now);
            }
            PeerEffect::State(state) => self.enter(ground, server, now, state),
            PeerEffect::Fatal(why) => {
                ground.note(format_args!("server {server} gives up: {why}"));
                return false;
            }
            other => unreachable!("{other:?} is the core's"),
        }
        true
    }

    /// It does something else from now on.
    fn enter(&mut self, ground: &mut Ground, server: usize, now: Now, state: State) {
        let Some(ports) = &mut self.ports else { return };
        ground.note(format_args!("server {server} is {state:?}"));
        if let State::Settling(zab::Why::Violation(violation)) = state {
            ground.history.accused(server, &violation);
        }
        let waiting = match state {
            State::Leading => ports.settle_waiting(ground, true),
            State::Following(_) | State::Observing(_) => ports.settle_waiting(ground, false),
            State::Settling(_) if wrong::is(Wrong::Z4712) => {
                self.to_log.outlive();
                Vec::new()
            }
            State::Looking | State::Settling(_) => Vec::new(),
        };
        for link in waiting {
            self.core.peer_input(now, Input::Linked(link));
            self.packets(ground, now, link);
        }
    }

    /// What the log's thread has to do.
    fn disk_effect(&mut self, effect: PeerEffect) {
        let Some(ports) = &mut self.ports else { return };
        match effect {
            PeerEffect::SaveEpochs(epochs) => {
                self.to_log.revive();
                let command = LogCommand::SaveEpochs(epochs);
                match wrong::is(Wrong::Z4643) || wrong::is(Wrong::Z4646) {
                    true => self.to_log.push_in_front(command),
                    false => self.to_log.push(command),
                }
            }
            PeerEffect::SaveEnsembleId(id) => self.to_log.push(LogCommand::SaveEnsembleId(id)),
            PeerEffect::SaveTrust => self.to_log.push(LogCommand::SaveTrust),
            PeerEffect::Truncate { generation, to } => {
                self.to_log.push(LogCommand::Truncate { generation, to });
            }
            PeerEffect::ReceiveSnapshot { generation, link, zxid } => {
                let inlet = Inlet::default();
                match ports.links.get_mut(&link) {
                    Some(link) => {
                        inlet.push(&std::mem::take(&mut link.inbox));
                        link.inlet = Some(inlet.clone());
                        self.installing = Some(link.wire);
                    }
                    None => inlet.break_off(),
                }
                self.to_log.push_snapshot(generation, zxid, inlet);
            }
            PeerEffect::Reload { generation } => {
                self.to_log.push(LogCommand::Reload { generation });
            }
            other => unreachable!("{other:?} is not the log's"),
        }
    }

    fn quorum_arrival(&mut self, ground: &mut Ground, now: Now, wire: WireId, what: Delivery) {
        let state = self.core.state();
        let Some(ports) = &mut self.ports else { return };
        match what {
            Delivery::Opened => {
                let leads = state == Some(State::Leading);
                let follows = matches!(state, Some(State::Following(_) | State::Observing(_)));
                if let Some(link) = ports.came(ground, wire, leads, follows) {
                    self.core.peer_input(now, Input::Linked(link));
                }
            }
            Delivery::Accepted => {
                // The role may have changed while the call was under way.
                let wanted = |sid| match state {
                    Some(State::Following(leader) | State::Observing(leader)) => sid == leader,
                    _ => false,
                };
                if let Some(link) = ports.accepted(ground, wire, wanted) {
                    self.core.peer_input(now, Input::Linked(link));
                }
            }
            Delivery::Closed => {
                if let Some(sid) = ports.refused(wire) {
                    self.core.peer_input(now, Input::DialFailed(sid));
                } else if let Some(link) = ports.ended(wire) {
                    self.archive.forget(link);
                    self.core.peer_input(now, Input::Unlinked(link));
                }
            }
            Delivery::Bytes(bytes) => {
                let Some(id) = ports.link_of(wire) else {
                    return ports.disown(ground, wire, &bytes);
                };
                let Some(link) = ports.links.get_mut(&id) else { return };
                match &link.inlet {
                    Some(inlet) => inlet.push(&bytes),
                    None => link.inbox.extend(bytes),
                }
                if link.raw {
                    self.core.peer_input(now, Input::Progress(id));
                } else {
                    self.packets(ground, now, id);
                }
            }
        }
    }

    /// Hands on the packets that have come on a link.
    fn packets(&mut self, ground: &mut Ground, now: Now, id: LinkId) {
        let Running { core, shared, ports: Some(ports), .. } = self else { return };
        let Some(link) = ports.links.get_mut(&id) else { return };
        let (at, without_log) = (ground.agenda.now(), self.without_log);
        let taken = Link::each_packet(&mut link.inbox, |packet| {
            if let (Some(server), Some(payload)) = (without_log, payload_of(packet)) {
                ground.history.told(at, server, payload);
            }
            core.packet(shared, now, id, packet);
        });
        match taken {
            Ok(snapshot) => link.raw |= snapshot,
            Err(error) => {
                ground.note(format_args!("nonsense on link {}: {error}", id.0));
                ports.close(ground, id);
                core.peer_input(now, Input::Unlinked(id));
            }
        }
    }

    fn election_arrival(&mut self, ground: &mut Ground, now: Now, wire: WireId, what: Delivery) {
        let Some(ports) = &mut self.ports else { return };
        let now_ms = now.mono_ms();
        let mut told = Vec::new();
        match what {
            Delivery::Opened => drop(ports.call(ground, now_ms, wire)),
            Delivery::Accepted => ports.call_taken(now_ms, wire),
            Delivery::Closed => ports.call_ended(now_ms, wire),
            Delivery::Bytes(bytes) => ports.overhear(ground, now_ms, wire, &bytes, &mut told),
        }
        ports.calls(ground, &mut told);
        self.tell_election(now, told);
    }

    fn election_calls(&mut self, ground: &mut Ground, now: Now) {
        let Some(ports) = &mut self.ports else { return };
        let mut told = Vec::new();
        ports.calls(ground, &mut told);
        self.tell_election(now, told);
    }

    fn tell_election(&mut self, now: Now, told: Vec<Told>) {
        for told in told {
            match told {
                Told::Link(sid, up) => self.core.election_link(now, sid, up),
                Told::Heard(sid, heard) => self.core.notification(now, sid, &heard),
            }
        }
    }
}
