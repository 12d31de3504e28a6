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

use std::collections::BTreeMap;

use oxkeeper_proto::response::EventType;
use oxkeeper_proto::{SessionId, Zxid};

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
        self.steps.get(usize::try_from(zxid.0).ok()?.checked_sub(1)?)
    }

    /// The last place.
    pub fn last(&self) -> Zxid {
        Zxid(self.steps.len() as i64)
    }

    /// Goes through the log of a run.
    pub fn of(history: &History) -> Truth {
        let mut replay = Replay::new(history);
        let ledger = history.ledger();
        replay.looks(Zxid::ZERO);
        for (at, entry) in ledger.iter().enumerate() {
            if entry.zxid.0 != at as i64 + 1 {
                let what = format!("entry {} of the log is {}", at + 1, entry.zxid);
                replay.truth.unasked.push(what);
                break;
            }
            replay.step(entry);
            replay.looks(entry.zxid);
        }
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
            Kind::Reap(path) => {
                if !self.model.reap(path, zxid, time_ms) {
                    self.truth.unasked.push(format!("{zxid} removes {path}, which is not due"));
                }
            }
            Kind::Request => self.request(entry, Who { session, zxid, time_ms }),
        }
        let step = Step { changes: self.model.take_changes(), digest: self.model.digest() };
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
        let answer = self.model.write(who, &op.asked);
        self.truth.answers[number] = Some(answer);
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
