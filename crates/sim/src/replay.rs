//! What should have been answered: the log of a run, done again on the model.
//!
//! Every write has a zxid, its own, and every reply names the zxid of the state it was made from.
//! So nothing has to be searched, as checkers of histories usually must: the log gives one order of
//! all writes, the model goes through it once, and each answer is compared with the one state that
//! it claims to be of. What remains to be shown is that the order is a fair one (it agrees with
//! real time, with each session's own order) and that nothing was put in or left out; that is what
//! the invariants do. The cost is one step of the model for each transaction and each read.
//!
//! A request without an answer is unknown. If it stands in the log it was done there; if not,
//! never.

use std::collections::{BTreeMap, BTreeSet};

use oxkeeper_proto::response::EventType;
use oxkeeper_proto::{ErrorCode, SessionId, Zxid};

use crate::asked::{Asked, Rewatch, normalised};
use crate::history::{Entry, History, Kind};
use crate::model::{Answer, Change, Model, State, Who};

/// What setWatches has to come to.
#[derive(Debug, Clone, Default)]
pub struct Rewatched {
    /// What its client has missed and is told now.
    pub missed: Vec<(EventType, String)>,
    /// Paths on which a data watch is left.
    pub data: Vec<String>,
    /// Paths on which a child watch is left.
    pub child: Vec<String>,
}

/// What one transaction comes to.
#[derive(Debug, Clone)]
pub struct Step {
    /// Which.
    pub zxid: Zxid,
    /// What it changes, in order.
    pub changes: Vec<Change>,
    /// The digest afterwards.
    pub digest: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Truth {
    /// By place: the first transaction is the first.
    pub steps: Vec<Step>,
    /// What can be behind a place in the log that counts, by everything up to it; nothing among it.
    pub chains: BTreeSet<u64>,
    /// For each request the place of its transaction, if the log has it.
    pub places: Vec<Option<Zxid>>,
    /// For each request that was answered what the answer has to be, its names sorted; none where
    /// that does not depend on the tree.
    pub answers: Vec<Option<Answer>>,
    /// For each setWatches that was answered.
    pub rewatched: BTreeMap<usize, Rewatched>,
    /// Entries that nobody asked for.
    pub unasked: Vec<String>,
    /// Requests that were done twice.
    pub repeated: Vec<String>,
    /// What servers held and should not have.
    pub differences: Vec<String>,
}

impl Truth {
    /// What the transaction at this place comes to.
    pub fn step(&self, zxid: Zxid) -> Option<&Step> {
        let at = self.steps.binary_search_by_key(&zxid, |step| step.zxid).ok()?;
        Some(&self.steps[at])
    }

    /// The transactions behind the one and up to and with the other.
    pub fn between(&self, after: Zxid, to: Zxid) -> &[Step] {
        let upto = |zxid: Zxid| self.steps.partition_point(|step| step.zxid <= zxid);
        &self.steps[upto(after)..upto(to).max(upto(after))]
    }

    /// The last transaction that is not behind this place; the place itself if there is none.
    pub fn last_by(&self, zxid: Zxid) -> Zxid {
        let upto = self.steps.partition_point(|step| step.zxid <= zxid);
        upto.checked_sub(1).map_or(zxid, |at| self.steps[at].zxid)
    }

    /// The last place.
    pub fn last(&self) -> Zxid {
        self.steps.last().map_or(Zxid::ZERO, |step| step.zxid)
    }

    /// Goes through the log of a run.
    pub fn of(history: &History) -> Truth {
        let ledger = history.ledger();
        let mut replay = Replay::new(history);
        replay.truth.chains = ledger.iter().map(|entry| entry.chain).chain([0]).collect();
        let mut before = Zxid::ZERO;
        for entry in ledger {
            let follows = entry.zxid == before.next()
                || (entry.zxid.epoch() > before.epoch() && entry.zxid.counter() == 1);
            if !follows {
                let what = format!("entry {} of the log follows {before}", entry.zxid);
                replay.truth.unasked.push(what);
                break;
            }
            // A server is at the bare zxid of an epoch before it has any transaction of it.
            replay.looks(Zxid(entry.zxid.0 - 1));
            replay.step(entry);
            before = entry.zxid;
        }
        replay.looks(Zxid(i64::MAX));
        replay.truth
    }
}

struct Replay<'a> {
    history: &'a History,
    model: Model,
    /// Requests by session and xid.
    asked: BTreeMap<(SessionId, i32), usize>,
    /// Answered reads by zxid, from the last to the first.
    reads: Vec<(Zxid, usize)>,
    /// What servers held, the same way.
    holdings: Vec<(Zxid, usize)>,
    truth: Truth,
}

impl<'a> Replay<'a> {
    fn new(history: &'a History) -> Replay<'a> {
        let ops = history.ops.iter().enumerate();
        let asked = ops.clone().filter(|(_, op)| op.xid >= 0);
        let answered = ops.filter(|(_, op)| !op.asked.is_write());
        let mut reads: Vec<(Zxid, usize)> =
            answered.filter_map(|(at, op)| Some((op.reply.as_ref()?.zxid, at))).collect();
        reads.sort_by(|a, b| b.cmp(a));
        let holdings = history.holdings.iter().enumerate();
        let mut holdings: Vec<(Zxid, usize)> =
            holdings.map(|(at, holding)| (holding.zxid, at)).collect();
        holdings.sort_by(|a, b| b.cmp(a));
        let first = history.holdings.first();
        let state = first.map_or_else(State::default, |holding| holding.state.clone());
        Replay {
            history,
            model: Model::new(state),
            asked: asked.map(|(at, op)| ((op.session, op.xid), at)).collect(),
            reads,
            holdings,
            truth: Truth {
                places: vec![None; history.ops.len()],
                answers: vec![None; history.ops.len()],
                ..Truth::default()
            },
        }
    }

    fn step(&mut self, entry: &Entry) {
        let Entry { zxid, session, time_ms, .. } = *entry;
        match &entry.kind {
            Kind::Begin { timeout_ms } => self.model.begin_session(session, *timeout_ms),
            Kind::Expiry { .. } => self.model.end_session(session, zxid),
            Kind::Nothing => {}
            Kind::Moved => self.moved(entry),
            Kind::Reap(path) => {
                if !self.model.reap(path, zxid, time_ms) {
                    self.truth.unasked.push(format!("{zxid} removes {path}, which is not due"));
                }
            }
            Kind::Request | Kind::Reconfig => {
                self.request(entry, Who { session, zxid, time_ms });
            }
        }
        let step = Step { zxid, changes: self.model.take_changes(), digest: self.model.digest() };
        self.truth.steps.push(step);
    }

    fn request(&mut self, entry: &Entry, who: Who) {
        let Entry { zxid, session, cxid, .. } = *entry;
        let Some(&number) = self.asked.get(&(session, cxid)) else {
            let what = format!("{zxid} is request {cxid} of {session}, which never made it");
            return self.truth.unasked.push(what);
        };
        let op = &self.history.ops[number];
        if !op.asked.is_write() || op.sent > entry.at {
            self.truth.unasked.push(format!("{zxid} is op {number}, before it was sent"));
        }
        if let Some(before) = self.truth.places[number].replace(zxid) {
            self.truth.repeated.push(format!("op {number} is done at {before} and at {zxid}"));
        }
        let reconfigures = matches!(op.asked, Asked::Reconfig(_));
        if !reconfigures && entry.kind == Kind::Reconfig {
            self.truth.unasked.push(format!("{zxid} changes the ensemble, and op {number} not"));
        }
        if reconfigures {
            // Whether it may be depends on who is connected, which is not the model's to know.
            if entry.kind == Kind::Reconfig {
                self.model.reconfigured();
            }
            return;
        }
        let answer = self.model.write(who, &op.asked);
        self.truth.answers[number] = Some(answer);
    }

    /// A request came by a way that its session had left.
    fn moved(&mut self, entry: &Entry) {
        if let Some(&number) = self.asked.get(&(entry.session, entry.cxid)) {
            let answer = Answer { err: ErrorCode::SESSION_MOVED, body: Vec::new() };
            self.truth.places[number].get_or_insert(entry.zxid);
            self.truth.answers[number].get_or_insert(answer);
        }
    }

    /// What is seen of the state at this place.
    fn looks(&mut self, zxid: Zxid) {
        while let Some((_, number)) = self.reads.pop_if(|(at, _)| *at <= zxid) {
            let op = &self.history.ops[number];
            if let Asked::SetWatches(set) = &op.asked {
                let rewatched = self.rewatch(set);
                self.truth.rewatched.insert(number, rewatched);
            }
            let sort =
                |answer: Answer| Answer { body: normalised(&op.asked, &answer.body), ..answer };
            self.truth.answers[number] = self.model.read(op.session, &op.asked).map(sort);
        }
        while let Some((_, at)) = self.holdings.pop_if(|(at, _)| *at <= zxid) {
            let holding = &self.history.holdings[at];
            // What was never committed is nobody's business.
            if !self.truth.chains.contains(&holding.chain) {
                continue;
            }
            if let Some(difference) = holding.state.difference(self.model.state()) {
                let (server, life) = (holding.server, holding.life);
                let what = format!("server {server}, life {life} at {zxid}: {difference}");
                self.truth.differences.push(what);
            }
        }
    }

    fn rewatch(&self, set: &Rewatch) -> Rewatched {
        let mut result = Rewatched::default();
        let stat = |path: &String| self.model.state().znodes.get(path).map(|znode| znode.stat);
        for path in &set.data {
            match stat(path) {
                None => result.missed.push((EventType::NodeDeleted, path.clone())),
                Some(stat) if stat.mzxid > set.since => {
                    result.missed.push((EventType::NodeDataChanged, path.clone()));
                }
                Some(_) => result.data.push(path.clone()),
            }
        }
        for path in &set.exist {
            match stat(path) {
                None => result.data.push(path.clone()),
                Some(_) => result.missed.push((EventType::NodeCreated, path.clone())),
            }
        }
        for path in &set.child {
            match stat(path) {
                None => result.missed.push((EventType::NodeDeleted, path.clone())),
                Some(stat) if stat.pzxid > set.since => {
                    result.missed.push((EventType::NodeChildrenChanged, path.clone()));
                }
                Some(_) => result.child.push(path.clone()),
            }
        }
        result
    }
}
