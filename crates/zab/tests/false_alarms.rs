//! A day in which nobody dies, and nobody may be taken for dead: three servers of ours whose
//! packets are late, which are stopped for a while one by one, and whose machine is stopped
//! altogether. And the counter-proof: who is really stopped is found out in time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::sync::Arc;

use bytes::Bytes;
use oxkeeper_proto::notification::PeerState;
use oxkeeper_proto::{Capabilities, Sid};
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::{
    Disk, Effect, Input, LinkId, Outgoing, Peer, Recovered, Settings, State, election,
};

/// SplitMix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// What arrives at a server.
enum Mail {
    Packet(LinkId, Outgoing),
    Linked(LinkId),
    Unlinked(LinkId),
    Vote(Sid, PeerState, oxkeeper_zab::vote::Vote, oxkeeper_zab::vote::Configs),
}

struct Day {
    dice: Dice,
    now_ms: u64,
    peers: Vec<Peer>,
    /// Until when each is stopped.
    stopped_ms: Vec<u64>,
    /// By moment, then by the order of sending.
    mail: BinaryHeap<Reverse<(u64, u64)>>,
    letters: BTreeMap<u64, (usize, Mail)>,
    sent: u64,
    /// The last moment at which something from one server reaches another.
    last_ms: BTreeMap<(usize, usize), u64>,
    /// The ends of each link.
    links: BTreeMap<LinkId, [usize; 2]>,
    /// Links whose other end does not know yet that it leads.
    waiting: BTreeSet<LinkId>,
    /// Roles that ended: when, whose, why.
    ended: Vec<(u64, usize, String)>,
    /// The longest that a packet takes.
    late_ms: u64,
}

impl Day {
    fn new(seed: u64) -> Day {
        let text = "server.1=a:1:2\nserver.2=b:1:2\nserver.3=c:1:2\nversion=0";
        let config = Arc::new(QuorumVerifier::parse(text, false).unwrap());
        let peers = (1..=3).map(|sid| {
            let mut settings = Settings::new(Sid(sid));
            settings.capabilities = Capabilities::QUICK_PING;
            let membership = Membership::new(Arc::clone(&config), None);
            let voting = election::Settings::default();
            Peer::new(settings, voting, membership, Recovered::default())
        });
        let mut day = Day {
            dice: Dice(seed),
            now_ms: 0,
            peers: peers.collect(),
            stopped_ms: vec![0; 3],
            mail: BinaryHeap::new(),
            letters: BTreeMap::new(),
            sent: 0,
            last_ms: BTreeMap::new(),
            links: BTreeMap::new(),
            waiting: BTreeSet::new(),
            ended: Vec::new(),
            late_ms: 3,
        };
        for at in 0..3 {
            day.peers[at].start(0);
            day.effects(at);
        }
        day
    }

    fn post(&mut self, from: usize, to: usize, mail: Mail) {
        let late_ms = if self.dice.below(50) == 0 { self.late_ms } else { 3 };
        let last_ms = self.last_ms.entry((from, to)).or_default();
        *last_ms = (*last_ms).max(self.now_ms + 1 + self.dice.below(late_ms));
        self.mail.push(Reverse((*last_ms, self.sent)));
        self.letters.insert(self.sent, (to, mail));
        self.sent += 1;
    }

    fn other_end(&self, at: usize, link: LinkId) -> Option<usize> {
        let [one, other] = *self.links.get(&link)?;
        Some(if one == at { other } else { one })
    }

    fn effects(&mut self, at: usize) {
        while let Some(effect) = self.peers[at].poll_effect() {
            match effect {
                Effect::Dial(sid) => {
                    let (to, link) = (sid.0 as usize - 1, LinkId(self.sent));
                    self.links.insert(link, [at, to]);
                    self.post(at, to, Mail::Linked(link));
                    self.peers[at].handle(self.now_ms, Input::Linked(link));
                }
                Effect::Send(link, packet) => {
                    if let Some(to) = self.other_end(at, link) {
                        self.post(at, to, Mail::Packet(link, packet));
                    }
                }
                Effect::Close(link, _) => {
                    if let Some(to) = self.other_end(at, link) {
                        self.links.remove(&link);
                        self.post(at, to, Mail::Unlinked(link));
                    }
                }
                Effect::SaveEpochs(epochs) => {
                    self.peers[at].handle(self.now_ms, Input::Disk(Disk::EpochsSaved(epochs)));
                }
                // Nobody has any history: a snapshot of nothing is there at once.
                Effect::SurveyLog { link, .. } => {
                    self.peers[at].handle(self.now_ms, Input::LogSurveyed { link, survey: None });
                }
                Effect::OpenSnapshot { link, at_least: zxid } => {
                    self.peers[at].handle(self.now_ms, Input::SnapshotOpened { link, zxid });
                }
                Effect::ReceiveSnapshot { generation, .. } => {
                    let installed = Input::Disk(Disk::SnapshotInstalled { generation });
                    self.peers[at].handle(self.now_ms, installed);
                }
                Effect::AskTouched { zxid } => self.peers[at].answer_ping(zxid, Bytes::new()),
                Effect::Notify { to, state, vote, configs } => {
                    let from = Sid(at as i64 + 1);
                    self.post(at, to.0 as usize - 1, Mail::Vote(from, state, vote, configs));
                }
                Effect::State(State::Settling(why)) => {
                    self.ended.push((self.now_ms, at, why.to_string()));
                }
                _ => {}
            }
        }
    }

    /// Goes on until then. A server that is stopped does nothing; what comes for it waits. When it
    /// goes on it looks at the clock first, and then at what has come.
    fn until(&mut self, end_ms: u64) {
        loop {
            let wakes = (0..3).filter_map(|at| {
                Some((self.peers[at].deadline_ms()?.max(self.stopped_ms[at]), at))
            });
            let wake = wakes.min();
            let mail_ms = self.mail.peek().map_or(u64::MAX, |Reverse((at_ms, _))| *at_ms);
            match wake {
                Some((at_ms, at)) if at_ms <= mail_ms && at_ms < end_ms => {
                    self.now_ms = self.now_ms.max(at_ms);
                    self.peers[at].wake(self.now_ms);
                    self.effects(at);
                }
                _ if mail_ms < end_ms => self.deliver(),
                _ => break,
            }
        }
        self.now_ms = self.now_ms.max(end_ms);
    }

    fn deliver(&mut self) {
        let Some(Reverse((at_ms, nth))) = self.mail.pop() else { return };
        let Some((to, _)) = self.letters.get(&nth) else { return };
        if self.stopped_ms[*to] > at_ms {
            return self.mail.push(Reverse((self.stopped_ms[*to], nth)));
        }
        self.now_ms = self.now_ms.max(at_ms);
        let Some((to, mail)) = self.letters.remove(&nth) else { return };
        if self.waits(to, &mail) {
            self.mail.push(Reverse((self.now_ms + 2, nth)));
            self.letters.insert(nth, (to, mail));
            return;
        }
        let (peer, now_ms) = (&mut self.peers[to], self.now_ms);
        match mail {
            Mail::Packet(link, packet) => drop(peer.packet(now_ms, link, &packet.as_packet())),
            Mail::Linked(link) => peer.handle(now_ms, Input::Linked(link)),
            Mail::Unlinked(link) => peer.handle(now_ms, Input::Unlinked(link)),
            Mail::Vote(from, state, vote, configs) => {
                peer.notification(now_ms, from, &vote.notification(state, &configs));
            }
        }
        self.effects(to);
    }

    /// Whoever looks for a leader keeps connections until it knows whether it is one.
    fn waits(&mut self, to: usize, mail: &Mail) -> bool {
        match mail {
            Mail::Linked(link) if self.peers[to].state() == PeerState::Looking => {
                self.waiting.insert(*link);
                true
            }
            Mail::Linked(link) => {
                self.waiting.remove(link);
                false
            }
            Mail::Packet(link, _) | Mail::Unlinked(link) => self.waiting.contains(link),
            Mail::Vote(..) => false,
        }
    }

    fn serving(&self) -> Vec<usize> {
        (0..3).filter(|at| self.peers[*at].established().is_some()).collect()
    }

    fn leader(&self) -> usize {
        let leads = |at: &usize| self.peers[*at].state() == PeerState::Leading;
        self.serving().into_iter().find(leads).expect("somebody leads")
    }
}

const HOUR_MS: u64 = 3_600_000;

#[test]
fn nobody_who_lives_is_taken_for_dead_all_day() {
    for seed in 0..4 {
        let mut day = Day::new(seed);
        day.until(5_000);
        assert_eq!(day.serving().len(), 3);
        day.ended.clear();
        day.late_ms = 500;
        while day.now_ms < 6 * HOUR_MS {
            let calm_ms = day.dice.below(4_000);
            let at = day.now_ms + calm_ms;
            day.until(at);
            match day.dice.below(10) {
                // The machine with all of them on it.
                0 => {
                    let stopped_ms = at + day.dice.below(30_000);
                    day.stopped_ms = vec![stopped_ms; 3];
                    day.until(stopped_ms);
                }
                _ => {
                    let one = day.dice.below(3) as usize;
                    day.stopped_ms[one] = at + day.dice.below(700);
                }
            }
        }
        assert!(day.ended.is_empty(), "seed {seed}: {:?}", &day.ended[..day.ended.len().min(4)]);
        assert_eq!(day.serving().len(), 3);
        assert!(day.sent > 100_000, "hardly anybody said anything: {}", day.sent);
    }
}

#[test]
fn a_leader_that_is_stopped_is_replaced_within_two_seconds() {
    for seed in 0..50 {
        let mut day = Day::new(seed);
        day.until(5_000 + 37 * seed);
        let (leader, begun_ms) = (day.leader(), day.now_ms);
        day.stopped_ms[leader] = begun_ms + 5_000;
        let others = |day: &Day| day.serving().iter().filter(|at| **at != leader).count();
        let new_epoch = |day: &Day| {
            let old = day.peers[leader].established();
            (0..3).filter(|at| day.peers[*at].established() > old).count()
        };
        while new_epoch(&day) < 2 && day.now_ms < begun_ms + 4_000 {
            let next_ms = day.now_ms + 5;
            day.until(next_ms);
        }
        let took_ms = day.now_ms - begun_ms;
        assert_eq!(others(&day), 2, "seed {seed}");
        assert!((1_200..=2_000).contains(&took_ms), "seed {seed}: {took_ms} ms");
        // It goes on, and finds that it leads nobody.
        day.until(begun_ms + 10_000);
        assert_eq!(day.serving().len(), 3, "seed {seed}");
        assert_ne!(day.leader(), leader, "seed {seed}");
    }
}
