//! One server and what its host models: a disk with a queue of writes, the tree as a list.

use std::collections::VecDeque;

use oxkeeper_proto::txn::Payload;
use oxkeeper_proto::{OpCode, Sid, Txn, Zxid};
use oxkeeper_zab::quorum::Membership;
use oxkeeper_zab::{
    Disk, Effect, Entry, Epochs, Input, LinkId, LogSurvey, Peer, Recovered, Settings, election,
};

/// What a host does wrong on purpose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mistake {
    /// Nothing.
    None,
    /// Appends are reported before they would survive (ZOOKEEPER-3911, 4646).
    SyncedBeforeDurable,
    /// A received snapshot is reported and never saved (ZOOKEEPER-3642).
    SnapshotNotSaved,
    /// TRUNC is reported and not done (ZOOKEEPER-2845, 3701).
    TruncateNothing,
    /// A snapshot is loaded as it comes in, and stays in memory when it is broken off before it was
    /// saved (ZOOKEEPER-5094).
    KeepMemory,
    /// A learner is sent a snapshot that is older than its own log.
    OldSnapshot,
    /// The log serves learners with a hole; at an epoch's end nobody can see it (ZOOKEEPER-4925).
    HoleInLog,
}

/// A write under way.
#[derive(Debug, Clone)]
pub enum Write {
    Append(Entry),
    Epochs(Epochs),
    EnsembleId(u128),
    Truncate(u64, Zxid),
    Install(u64, Vec<Entry>),
    Reload(u64),
}

/// The text of the last reconfiguration in a history; empty if there is none.
fn last_config(history: &[Entry]) -> String {
    let config = |entry: &Entry| match Payload::decode(&entry.payload) {
        Ok(Payload { header, txn: Txn::SetData(set), .. }) if header.op == OpCode::RECONFIG => {
            String::from_utf8(set.data?.to_vec()).ok()
        }
        _ => None,
    };
    history.iter().rev().find_map(config).unwrap_or_default()
}

/// What survives.
#[derive(Debug, Clone, Default)]
pub struct Durable {
    pub log: Vec<Entry>,
    pub epochs: Epochs,
    pub ensemble_id: u128,
}

pub struct Server {
    pub sid: Sid,
    pub peer: Option<Peer>,
    pub durable: Durable,
    pub writes: VecDeque<Write>,
    /// The tree: what was applied, in order.
    pub memory: Vec<Entry>,
    /// Appended and not applied.
    pub waiting: VecDeque<Entry>,
    /// The epoch that clients are served in.
    pub serving: Option<u32>,
    /// The snapshot opened for each link.
    pub opened: Vec<(LinkId, Vec<Entry>)>,
    /// ReceiveSnapshot effects whose stream has not arrived.
    pub receiving: Option<(LinkId, u64)>,
    /// Older entries are purged from the log.
    pub log_reaches: usize,
}

impl Server {
    pub fn new(sid: Sid, log_reaches: usize) -> Server {
        Server {
            sid,
            peer: None,
            durable: Durable::default(),
            writes: VecDeque::new(),
            memory: Vec::new(),
            waiting: VecDeque::new(),
            serving: None,
            opened: Vec::new(),
            receiving: None,
            log_reaches,
        }
    }

    /// Starts from what is on disk.
    pub fn start(&mut self, settings: Settings, membership: Membership, now_ms: u64) {
        self.memory = self.durable.log.clone();
        let tail = self.memory.len().saturating_sub(settings.committed_count_max);
        let recovered = Recovered {
            last_logged: last(&self.memory),
            epochs: self.durable.epochs,
            tail: self.memory[tail..].to_vec(),
            trusted: true,
            config: last_config(&self.memory),
        };
        let voting = election::Settings {
            interval_max_ms: 1000,
            reconfig_enabled: settings.reconfig_enabled,
            ..Default::default()
        };
        let mut peer = Peer::new(settings, voting, membership, recovered);
        peer.start(now_ms);
        self.peer = Some(peer);
    }

    /// Power is lost: of the writes to the log under way the first `log` are on disk, unreported,
    /// and of those of the epochs the first `epochs`. They are different files: what was asked for
    /// later may be there without what was asked for before.
    pub fn crash(&mut self, log: usize, epochs: usize, mistake: Mistake) {
        let is_epochs = |write: &Write| matches!(write, Write::Epochs(_));
        let (of_epochs, of_log): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.writes).into_iter().partition(is_epochs);
        for write in of_log.iter().take(log).chain(of_epochs.iter().take(epochs)) {
            self.persist(write, mistake);
        }
        self.peer = None;
        self.memory.clear();
        self.waiting.clear();
        self.serving = None;
        self.opened.clear();
        self.receiving = None;
    }

    fn persist(&mut self, write: &Write, mistake: Mistake) {
        match write {
            Write::Append(entry) => self.durable.log.push(entry.clone()),
            Write::Epochs(epochs) => self.durable.epochs = *epochs,
            Write::EnsembleId(id) => self.durable.ensemble_id = *id,
            Write::Truncate(..) if mistake == Mistake::TruncateNothing => {}
            Write::Truncate(_, to) => self.durable.log.retain(|entry| entry.zxid <= *to),
            Write::Install(..) if mistake == Mistake::SnapshotNotSaved => {}
            Write::Install(_, history) => self.durable.log = history.clone(),
            Write::Reload(_) => {}
        }
    }

    /// Queues a write; a mistaken host may report it at once.
    pub fn write(&mut self, write: Write, mistake: Mistake) -> Option<Disk> {
        match (&write, mistake) {
            (Write::Append(entry), Mistake::SyncedBeforeDurable) => {
                let zxid = entry.zxid;
                self.writes.push_back(write);
                return Some(Disk::Synced(zxid));
            }
            _ => self.writes.push_back(write),
        }
        None
    }

    /// The first write under way is done.
    pub fn finish_write(&mut self, mistake: Mistake) -> Option<Disk> {
        let write = self.writes.pop_front()?;
        self.persist(&write, mistake);
        match write {
            Write::Append(entry) => Some(Disk::Synced(entry.zxid)),
            Write::Epochs(epochs) => Some(Disk::EpochsSaved(epochs)),
            Write::EnsembleId(id) => Some(Disk::EnsembleIdSaved(id)),
            Write::Truncate(generation, to) => {
                self.memory = self.durable.log.clone();
                let last =
                    if mistake == Mistake::TruncateNothing { to } else { last(&self.memory) };
                Some(Disk::Truncated { generation, last })
            }
            Write::Install(generation, history) => {
                self.memory = history;
                Some(Disk::SnapshotInstalled { generation })
            }
            Write::Reload(generation) => {
                if mistake != Mistake::KeepMemory {
                    self.memory = self.durable.log.clone();
                }
                Some(Disk::Reloaded { generation, last: last(&self.memory) })
            }
        }
    }

    /// Everything this server has, applied or not: its log.
    fn log(&self) -> impl Iterator<Item = &Entry> {
        self.memory.iter().chain(&self.waiting)
    }

    /// Answers questions about history.
    pub fn history(&mut self, effect: &Effect, mistake: Mistake) -> Option<Input> {
        let purged = self.memory.len().saturating_sub(self.log_reaches);
        match effect {
            Effect::SurveyLog { link, peer } => {
                let at_or_before = self.log().skip(purged).take_while(|e| e.zxid <= *peer).last();
                let after = self.log().find(|entry| entry.zxid > *peer);
                let survey = match (at_or_before, after) {
                    (Some(before), Some(after)) => Some(LogSurvey {
                        at_or_before: before.zxid,
                        after: after.zxid,
                        log_bytes: 1,
                        snapshot_bytes: 0,
                    }),
                    _ => None,
                };
                Some(Input::LogSurveyed { link: *link, survey })
            }
            Effect::ReadLog { link, after, to } => {
                let wanted = |entry: &&Entry| entry.zxid > *after && entry.zxid <= *to;
                let mut entries: Vec<Entry> = self.log().filter(wanted).take(3).cloned().collect();
                if mistake == Mistake::HoleInLog && entries.len() > 1 {
                    entries.remove(0);
                }
                if entries.is_empty() {
                    return Some(Input::HistoryUnavailable(*link));
                }
                Some(Input::LogRead { link: *link, entries })
            }
            _ => None,
        }
    }
}

pub fn last(history: &[Entry]) -> Zxid {
    history.last().map_or(Zxid::ZERO, |entry| entry.zxid)
}
