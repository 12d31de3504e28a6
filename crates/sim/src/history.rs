//! Everything that was seen during a run: by clients at their ends of the wires, and of servers
//! what they wrote, applied and found again.
//!
//! The invariants judge a run by this alone. What clients asked and were told stands here as it
//! crossed their ends of the wires, whatever client speaks there; a request that was never answered
//! is *unknown*: it may have been done or not, at any time after it was sent. Of servers the log is
//! kept, whose order is the order of everything, and what they held at which zxid.

use std::collections::BTreeMap;

use oxkeeper_node::Batch;
use oxkeeper_proto::response::EventType;
use oxkeeper_proto::{ErrorCode, OpCode, Payload, SessionId, Txn, Zxid};
use oxkeeper_zab::messages::Violation;

use crate::agenda::{MS, Micros};
use crate::asked::Asked;
use crate::model::State;
use crate::net::WireId;
use crate::report::Volume;

/// What the stages of a server may take to notice something.
pub const NOTICED: Micros = 60 * MS;

/// A reply as it arrived.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// When.
    pub at: Micros,
    /// The zxid in its header.
    pub zxid: Zxid,
    /// The code in its header.
    pub err: ErrorCode,
    /// What followed.
    pub body: Vec<u8>,
}

/// One request of a client.
#[derive(Debug, Clone)]
pub struct Op {
    /// Over which of the connections.
    pub conn: usize,
    /// Of which session.
    pub session: SessionId,
    /// The client's number for it.
    pub xid: i32,
    /// What.
    pub asked: Asked,
    /// When it was sent.
    pub sent: Micros,
    /// The answer; none if its connection ended first.
    pub reply: Option<Reply>,
}

/// Something a client heard on a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// The session is open.
    Session {
        /// Its timeout, ms.
        timeout_ms: i32,
    },
    /// The session that was asked for is no more.
    Refused,
    /// The answer to the op of this number.
    Reply(usize),
    /// An answer to nothing that was asked, or out of order.
    Stray {
        /// Its xid.
        xid: i32,
    },
    /// A watch fired.
    Event {
        /// The zxid in its header, −1 after setWatches.
        zxid: Zxid,
        /// What happened.
        event: EventType,
        /// Where.
        path: String,
    },
}

/// What a client said of a request of its user's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was answered, at this zxid.
    Answered(Zxid),
    /// Nobody can know.
    Unknown,
    /// It never left.
    NotSent,
}

/// One connection of a client.
#[derive(Debug, Clone)]
pub struct Conn {
    /// Which client.
    pub client: usize,
    /// To which server.
    pub server: usize,
    /// The session; none until it is open.
    pub session: SessionId,
    /// What was heard, in order.
    pub heard: Vec<(Micros, Heard)>,
    /// True if it was still good when the run ended.
    pub open: bool,
}

/// When a server is at its most vulnerable: what a storm may wait for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// It is about to write the epoch that it is in.
    Establishes,
    /// It is about to cut its log.
    Cuts,
    /// It is about to take over a snapshot.
    Installs,
    /// It says that the history that it was sent is on disk.
    Stands,
    /// It begins to serve.
    Serves,
    /// It has seen a configuration that is on its way.
    Sees,
    /// It has put a configuration in force.
    Changes,
}

impl Moment {
    /// Those of the agreement's beginning.
    pub const ALL: [Moment; 5] =
        [Moment::Establishes, Moment::Cuts, Moment::Installs, Moment::Stands, Moment::Serves];
}

/// A server puts a configuration of the ensemble in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Configured {
    /// Which server.
    pub server: usize,
    /// The configuration's version; 0 if it was given by hand.
    pub version: i64,
    /// All of it.
    pub text: String,
}

/// What an entry of a log is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// A client's request; the model knows what it must come to.
    Request,
    /// A client's change of the ensemble, done.
    Reconfig,
    /// A session begins.
    Begin {
        /// Its timeout, ms.
        timeout_ms: i32,
    },
    /// A session ends without its client asking.
    Expiry {
        /// How long the server had not heard of it, nor been up.
        silent: Micros,
    },
    /// A container or TTL znode is removed by the server.
    Reap(String),
    /// An attempt at that which came to nothing.
    Nothing,
    /// A request that came by a way which its session had left: it came to nothing.
    Moved,
}

/// One entry of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its place.
    pub zxid: Zxid,
    /// In whose name.
    pub session: SessionId,
    /// The client's number for it.
    pub cxid: i32,
    /// The wall clock of the server, ms.
    pub time_ms: i64,
    /// When it was given to the log.
    pub at: Micros,
    /// What.
    pub kind: Kind,
    /// Of its bytes.
    pub hash: u64,
    /// Of its bytes and everything before it.
    pub chain: u64,
}

/// A transaction that a server applied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Applied {
    /// Which server.
    pub server: usize,
    /// In which of its lives.
    pub life: u64,
    /// Since it had to replace its history last.
    pub stint: u64,
    /// Whether it served clients: what is applied then is committed.
    pub served: bool,
    /// The transaction's place.
    pub zxid: Zxid,
    /// Of its bytes.
    pub hash: u64,
    /// Of its bytes and everything before it.
    pub chain: u64,
    /// The tree's digest afterwards.
    pub digest: i64,
}

/// A server began to serve clients, with all of this behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Served {
    /// Which server.
    pub server: usize,
    /// In which of its lives.
    pub life: u64,
    /// As of which transaction.
    pub zxid: Zxid,
    /// Of everything up to there.
    pub chain: u64,
}

/// A transaction that a leader proposed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proposal {
    /// Which server.
    pub server: usize,
    /// The epoch that it leads.
    pub epoch: u32,
    /// The transaction.
    pub zxid: Zxid,
    /// Of its bytes.
    pub hash: u64,
    /// Of everything before it.
    pub behind: u64,
}

/// Everything that a server held at some moment: when it started, and at the end.
#[derive(Debug, Clone)]
pub struct Holding {
    /// Which server.
    pub server: usize,
    /// In which of its lives.
    pub life: u64,
    /// As of which transaction.
    pub zxid: Zxid,
    /// Of everything that led to it.
    pub chain: u64,
    /// Whether it served clients.
    pub serving: bool,
    /// The digest that it keeps.
    pub digest: i64,
    /// What it found amiss when it started, as a sentence.
    pub amiss: Option<String>,
    /// All of it.
    pub state: State,
}

/// See the module.
#[derive(Debug, Default)]
pub struct History {
    /// All requests in the order in which they were sent.
    pub ops: Vec<Op>,
    /// All connections.
    pub conns: Vec<Conn>,
    /// The log of each server as it is now.
    pub logs: Vec<Vec<Entry>>,
    /// Every transaction applied.
    pub applied: Vec<Applied>,
    /// Servers that began to serve.
    pub served: Vec<Served>,
    /// What leaders proposed.
    pub proposals: Vec<Proposal>,
    /// Moments at which something might happen to a server.
    pub moments: Vec<(Moment, usize)>,
    /// Configurations put in force.
    pub configured: Vec<Configured>,
    /// The version that each member has in force at the end.
    pub members_configured: Vec<(usize, i64)>,
    /// Servers that said of others that they break the protocol.
    pub accusations: Vec<String>,
    /// What servers held.
    pub holdings: Vec<Holding>,
    /// The first of the holdings at the end.
    pub last_holdings: Option<usize>,
    /// Servers that did not start on what they had left themselves, and why.
    pub failed_starts: Vec<String>,
    /// What clients said of the requests of these numbers.
    pub fates: Vec<(usize, Fate)>,
    /// What clients should have said, or should not.
    pub untold: Vec<String>,
    /// When the storm was over.
    pub calm_from: Micros,
    /// `tickTime` of the servers.
    pub tick: Micros,
    /// How many servers there are.
    pub members: usize,
    /// What should have come to pass after the storm and did not.
    pub unfinished: Vec<String>,
    wires: BTreeMap<WireId, usize>,
    /// When a session was heard of last, and before that.
    contacts: BTreeMap<SessionId, (Micros, Micros)>,
    boots: Vec<Micros>,
    lives: u64,
    stints: Vec<u64>,
    /// Entries as they were given to a log first, which is that of the server that made them.
    firsts: BTreeMap<(Zxid, u64), Entry>,
    /// What snapshots that were sent on wires had behind them.
    sent: BTreeMap<WireId, Vec<Entry>>,
    /// What servers without a log were told, by server and zxid.
    told: BTreeMap<(usize, Zxid), Entry>,
    /// Snapshots that servers were making theirs.
    installing: BTreeMap<usize, Vec<Entry>>,
}

impl History {
    /// A history of so many servers.
    pub fn new(servers: usize) -> History {
        let logs = vec![Vec::new(); servers];
        let (boots, stints) = (vec![0; servers], vec![0; servers]);
        History { logs, boots, stints, ..History::default() }
    }

    /// A client dials.
    pub fn dialled(&mut self, client: usize, server: usize, session: SessionId, wire: WireId) {
        self.wires.insert(wire, self.conns.len());
        self.conns.push(Conn { client, server, session, heard: Vec::new(), open: false });
    }

    /// The connection that a wire carries.
    pub fn conn_of(&self, wire: WireId) -> Option<usize> {
        self.wires.get(&wire).copied()
    }

    /// A client hears something.
    pub fn heard(&mut self, at: Micros, conn: usize, heard: Heard) {
        self.conns[conn].heard.push((at, heard));
    }

    /// Bytes of a client have reached a server. They count once its session is open there: half a
    /// handshake keeps nobody alive.
    pub fn contact(&mut self, at: Micros, wire: WireId) {
        let Some(conn) = self.conn_of(wire).map(|conn| &self.conns[conn]) else { return };
        if conn.heard.iter().any(|(_, heard)| matches!(heard, Heard::Session { .. })) {
            let contact = self.contacts.entry(conn.session).or_insert((at, at));
            if at - contact.1 > NOTICED {
                contact.0 = contact.1;
            }
            contact.1 = at;
        }
    }

    /// A server has started: what it found is its log from now on.
    pub fn booted(&mut self, at: Micros, mut holding: Holding) {
        self.boots[holding.server] = at;
        self.rebuilt(holding.server, holding.zxid);
        holding.chain = self.chain_at(holding.server, holding.zxid);
        self.holdings.push(holding);
        self.lives += 1;
    }

    /// The run is over, and a server holds this.
    pub fn ended(&mut self, mut holding: Holding) {
        self.last_holdings.get_or_insert(self.holdings.len());
        holding.chain = self.chain_at(holding.server, holding.zxid);
        self.holdings.push(holding);
    }

    fn chain_at(&self, server: usize, zxid: Zxid) -> u64 {
        let log = &self.logs[server];
        let upto = log.partition_point(|entry| entry.zxid <= zxid);
        upto.checked_sub(1).map_or(0, |last| log[last].chain)
    }

    /// A server gives its log something to write; as the leader of this epoch, if it leads.
    pub fn appended(&mut self, at: Micros, server: usize, batch: &Batch, leads: Option<u32>) {
        let mut start = 0;
        for &end in batch.ends.iter() {
            let bytes = &batch.payloads[start..end as usize];
            start = end as usize;
            let known = self.firsts.len();
            let mut entry = self.entry(at, server, bytes);
            let before = self.logs[server].last().map_or(0, |before| before.chain);
            // Who makes one is the first to log it.
            if self.members > 1 && self.firsts.len() > known {
                let epoch = leads.unwrap_or(entry.zxid.epoch());
                let (zxid, hash) = (entry.zxid, entry.hash);
                self.proposals.push(Proposal { server, epoch, zxid, hash, behind: before });
            }
            entry.chain = behind(before, entry.hash);
            self.logs[server].push(entry);
        }
    }

    /// A server that keeps no log is told of a transaction.
    pub fn told(&mut self, at: Micros, server: usize, payload: &[u8]) {
        let entry = self.entry(at, server, payload);
        self.told.insert((server, entry.zxid), entry);
    }

    /// A server begins to serve clients.
    pub fn serves(&mut self, at: Micros, server: usize, life: u64, zxid: Zxid) {
        self.boots[server] = at;
        let chain = self.chain_at(server, zxid);
        self.served.push(Served { server, life, zxid, chain });
        self.moments.push((Moment::Serves, server));
    }

    /// A leader begins to send a snapshot on a wire.
    pub fn sends_snapshot(&mut self, server: usize, wire: WireId) {
        self.sent.insert(wire, self.logs[server].clone());
    }

    /// A learner makes the snapshot that came on a wire its history.
    pub fn installs(&mut self, server: usize, wire: WireId, zxid: Zxid) {
        let mut log = self.sent.get(&wire).cloned().unwrap_or_default();
        log.retain(|entry| entry.zxid <= zxid);
        self.installing.insert(server, log);
    }

    /// A server says that another has broken the protocol.
    pub fn accused(&mut self, server: usize, violation: &Violation) {
        // Who was sent a snapshot has nothing in its log to cut there, and no leader can know that.
        if matches!(violation, Violation::TruncatedElsewhere { .. }) {
            return;
        }
        self.accusations.push(format!("server {server} says: {violation}"));
    }

    /// A server's files are gone.
    pub fn wiped(&mut self, server: usize) {
        self.logs[server].clear();
    }

    /// A server has read its history anew, has cut or replaced it: it ends there.
    pub fn rebuilt(&mut self, server: usize, zxid: Zxid) {
        self.stints[server] += 1;
        let log = &mut self.logs[server];
        log.retain(|entry| entry.zxid <= zxid);
        // Perhaps the power failed while a snapshot became its history.
        if let Some(installed) = self.installing.remove(&server)
            && installed.last().map_or(Zxid::ZERO, |entry| entry.zxid) <= zxid
            && log.last().is_none_or(|entry| entry.zxid != zxid)
        {
            *log = installed;
        }
    }

    fn entry(&mut self, at: Micros, server: usize, bytes: &[u8]) -> Entry {
        let payload = Payload::decode(bytes).expect("a server reads what it writes");
        let header = payload.header;
        let hash = hash(bytes);
        if let Some(first) = self.firsts.get(&(header.zxid, hash)) {
            return first.clone();
        }
        let kind = match (&payload.txn, header.op) {
            (Txn::CreateSession(timeout_ms), _) => Kind::Begin { timeout_ms: *timeout_ms },
            (Txn::CloseSession(_), _) if header.cxid == 0 => {
                let contact = self.contacts.get(&header.session);
                // What came when its end was already on its way did not count.
                let counts = |(before, last)| if at - last > NOTICED { last } else { before };
                let contact = contact.copied().map(counts);
                let since = contact.unwrap_or_default().max(self.boots[server]);
                Kind::Expiry { silent: at - since }
            }
            (Txn::Error(ErrorCode::SESSION_MOVED), _) => Kind::Moved,
            (Txn::SetData(_), OpCode::RECONFIG) => Kind::Reconfig,
            (Txn::Delete(path), OpCode::DELETE_CONTAINER) => Kind::Reap(path.to_string()),
            (Txn::Error(_), _) if header.session == SessionId::NONE => Kind::Nothing,
            _ => Kind::Request,
        };
        let (session, cxid, time_ms) = (header.session, header.cxid, header.time_ms);
        let zxid = header.zxid;
        let entry = Entry { zxid, session, cxid, time_ms, at, kind, hash, chain: 0 };
        self.firsts.insert((zxid, hash), entry.clone());
        entry
    }

    /// A server has applied a transaction that is in its log.
    pub fn applied(&mut self, server: usize, life: u64, served: bool, zxid: Zxid, digest: i64) {
        let log = &mut self.logs[server];
        // Who keeps no log has in its place what it was told last.
        if log.last().is_none_or(|last| last.zxid < zxid)
            && let Some(entry) = self.told.get(&(server, zxid))
        {
            let before = log.last().map_or(0, |before| before.chain);
            log.push(Entry { chain: behind(before, entry.hash), ..entry.clone() });
        }
        let entry = log.binary_search_by_key(&zxid, |entry| entry.zxid).ok().map(|at| &log[at]);
        let (hash, chain) = entry.map_or((0, 0), |entry| (entry.hash, entry.chain));
        let stint = self.stints[server];
        self.applied.push(Applied { server, life, stint, served, zxid, hash, chain, digest });
    }

    /// The log that counts: of the server that has applied most at the end, as far as that. Those
    /// that serve go first.
    pub fn ledger(&self) -> &[Entry] {
        let last = &self.holdings[self.last_holdings.unwrap_or(0)..];
        let last = if last.is_empty() { &self.holdings[..] } else { last };
        let longest = last.iter().rev().max_by_key(|holding| (holding.serving, holding.zxid));
        longest.map_or(&[], |holding| {
            let log = &self.logs[holding.server];
            &log[..log.partition_point(|entry| entry.zxid <= holding.zxid)]
        })
    }
}

impl History {
    /// How much happened.
    pub fn volume(&self) -> Volume {
        let heard = self.conns.iter().flat_map(|conn| &conn.heard);
        let ledger = self.ledger();
        Volume {
            asked: self.ops.len() as u64,
            answered: self.ops.iter().filter(|op| op.reply.is_some()).count() as u64,
            transactions: ledger.len() as u64,
            connections: self.conns.len() as u64,
            events: heard.filter(|(_, heard)| matches!(heard, Heard::Event { .. })).count() as u64,
            lives: self.lives,
            expired: ledger.iter().filter(|e| matches!(e.kind, Kind::Expiry { .. })).count() as u64,
        }
    }
}

/// What stands for a transaction and everything before it.
fn behind(before: u64, hash: u64) -> u64 {
    (before ^ hash).wrapping_mul(0x0100_0000_01b3).rotate_left(23)
}

/// FNV-1a.
fn hash(bytes: &[u8]) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, step)
}
