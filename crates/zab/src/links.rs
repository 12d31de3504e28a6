//! The connections of the election port: who keeps which, and what is said on it.
//!
//! A pair of servers shares one connection and uses it both ways. Either may open one, so rules
//! decide which stays (`QuorumCnxManager`): the one that was opened by the server with the larger
//! id. A smaller server that wants to talk *knocks*: it connects, says its hello and hangs up; the
//! larger one then connects back. A connection that comes up replaces an earlier one to the same
//! peer, which is how a restarted peer gets rid of what is left of its past.
//!
//! To each peer there is one slot for a message not yet written: a newer one takes its place,
//! because only the latest vote counts. The last message written is kept, and said again when a new
//! connection comes up with an empty slot, since the old one may have swallowed it. Receivers
//! must therefore expect votes of the past.
//!
//! # Where we are more careful than Apache
//! * Who knocks proves nothing. An established connection stays until the one that was opened in
//!   answer has come up; Apache closes it first, so that anybody could cut the members' links.
//! * Back we connect to the addresses of the hello and, if those fail, to the configured ones.
//! * A failed dial is tried again after a pause that doubles, as long as there is something to say,
//!   and not only when the next vote is cast.
//! * Everything is bounded: connections that have not said who they are, strangers, addresses.
//!
//! Effects come in the order in which they are to be carried out. A connection has a [`ConnId`] for
//! its whole life, never used twice. Once [`Effect::Close`] is given nothing more is said about it,
//! and whatever the host still reports of it is ignored.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use oxkeeper_proto::ids::Sid;
use oxkeeper_proto::notification::{Address, Hello, HelloForm};
use tracing::{debug, warn};

use crate::quorum::Membership;

/// Accepted connections that have not said who they are, or not proved it. A peer does so at once;
/// more than this many in that state are somebody else's, and the oldest has had its time.
pub const UNPROVEN_MAX: usize = 64;

/// Peers outside the configuration that are kept at a time: those who want to join.
pub const STRANGERS_MAX: usize = 64;

/// Addresses of one hello that are tried.
const HELLO_ADDRESSES_MAX: usize = 8;

/// One connection on the election port.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

/// What can be configured.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// How we introduce ourselves: [`HelloForm::V2`] with `multiAddress.enabled`, else
    /// [`HelloForm::V1`].
    pub hello: HelloForm,
    /// How long a dial may take, name and TLS included (`zookeeper.cnxTimeout`), in milliseconds.
    pub dial_timeout_ms: u64,
    /// How long greeting and authentication may take: syncLimit ticks, in milliseconds.
    pub greeting_timeout_ms: u64,
    /// The pause after a failed dial; it doubles with each further failure.
    pub retry_min_ms: u64,
    /// The longest pause.
    pub retry_max_ms: u64,
    /// `quorum.auth.enableSasl`: after the hello the host authenticates the peer and reports
    /// [`Links::authenticated`].
    pub authenticate: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            hello: HelloForm::V1,
            dial_timeout_ms: 5_000,
            greeting_timeout_ms: 10_000,
            retry_min_ms: 100,
            retry_max_ms: 5_000,
            authenticate: false,
        }
    }
}

/// What is to be done, in this order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Connect to the first of these addresses that answers, resolving names anew, and report
    /// [`Links::connected`] or [`Links::dial_failed`].
    Dial {
        /// The connection to be.
        conn: ConnId,
        /// Whom we want to reach.
        sid: Sid,
        /// In the order in which to try them; never empty.
        addresses: Vec<Address>,
    },
    /// Say who we are: the first bytes on a dialled connection.
    Greet {
        /// On which connection.
        conn: ConnId,
        /// The bytes, as a value.
        hello: Hello,
    },
    /// Authenticate this connection, as the one who opened it or as the one who was called.
    Authenticate {
        /// Which.
        conn: ConnId,
        /// We opened it: we are the client of the exchange.
        opened: bool,
    },
    /// Write one message (with its length before it), and report [`Links::written`] when the
    /// connection takes the next.
    Write {
        /// On which connection.
        conn: ConnId,
        /// The payload.
        message: Arc<[u8]>,
    },
    /// Close the connection once what was given to it is written.
    Close(ConnId),
    /// A connection to this peer is up.
    Up(Sid),
    /// This peer is not there: it refused a dial, or its connection broke and none replaced it.
    Down(Sid),
}

/// Why a dial failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DialError {
    /// Nobody listens there: the process is gone. All addresses said so.
    Refused,
    /// No answer, no such name, no way; the peer may well be alive.
    Unreachable,
}

/// The connections of one server's election port.
#[derive(Debug)]
pub struct Links {
    my_sid: Sid,
    my_addresses: Vec<Address>,
    settings: Settings,
    peers: BTreeMap<Sid, Peer>,
    conns: BTreeMap<ConnId, Conn>,
    next_conn: u64,
    effects: VecDeque<Effect>,
}

#[derive(Debug, Default)]
struct Peer {
    /// From the configuration; empty for strangers.
    addresses: Vec<Address>,
    /// From its last hello, until the dial that answers it was made.
    hinted: Vec<Address>,
    established: Option<ConnId>,
    dialling: Option<ConnId>,
    /// A message is being written to the established connection.
    writing: bool,
    slot: Option<Arc<[u8]>>,
    last_written: Option<Arc<[u8]>>,
    /// It knocked: connect back even if there is nothing to say.
    called: bool,
    dialled_at_ms: u64,
    pause_ms: u64,
    retry_at_ms: u64,
}

#[derive(Debug, Clone, Copy)]
struct Conn {
    /// `None` until the hello of an accepted connection came.
    sid: Option<Sid>,
    opened: bool,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Dialling {
        until_ms: u64,
    },
    /// Accepted, without a hello; or being authenticated.
    Greeting {
        until_ms: u64,
    },
    Established,
}

impl Links {
    /// No connections yet. `my_addresses`: where our own election port is, for the hello.
    pub fn new(my_sid: Sid, my_addresses: Vec<Address>, settings: Settings) -> Links {
        Links {
            my_sid,
            my_addresses,
            settings,
            peers: BTreeMap::new(),
            conns: BTreeMap::new(),
            next_conn: 0,
            effects: VecDeque::new(),
        }
    }

    /// Takes the peers' addresses from the configurations, the committed one's first. Connections
    /// to servers that are no longer in either stay until they break.
    pub fn configure(&mut self, membership: &Membership) {
        for peer in self.peers.values_mut() {
            peer.addresses.clear();
        }
        let configs = [Some(membership.current()), membership.last_seen()];
        for server in configs.into_iter().flatten().flat_map(|config| config.members()) {
            if server.sid == self.my_sid {
                continue;
            }
            let peer = self.peers.entry(server.sid).or_default();
            for address in server.election_addresses() {
                if !peer.addresses.contains(&address) {
                    peer.addresses.push(address);
                }
            }
        }
        self.forget_strangers();
    }

    /// The next effect to carry out.
    pub fn poll_effect(&mut self) -> Option<Effect> {
        self.effects.pop_front()
    }

    /// When [`Links::tick`] is due.
    pub fn deadline_ms(&self) -> Option<u64> {
        let conns = self.conns.values().filter_map(|conn| conn.stage.until_ms());
        let wants = |peer: &&Peer| peer.wants_dial();
        let retries = self.peers.values().filter(wants).map(|peer| peer.retry_at_ms);
        conns.chain(retries).min()
    }

    /// Time has passed.
    pub fn tick(&mut self, now_ms: u64) {
        let late = |conn: &Conn| conn.stage.until_ms().is_some_and(|until| until <= now_ms);
        let overdue: Vec<(ConnId, Conn)> = self
            .conns
            .iter()
            .filter(|(_, conn)| late(conn))
            .map(|(&id, &conn)| (id, conn))
            .collect();
        for (id, conn) in overdue {
            debug!(conn = id.0, sid = ?conn.sid, "an election connection took too long");
            self.close(id);
            if let (Some(sid), true) = (conn.sid, conn.opened) {
                self.back_off(now_ms, sid);
            }
        }
        let sids: Vec<Sid> = self.peers.keys().copied().collect();
        for sid in sids {
            self.dial_if_wanted(now_ms, sid);
        }
    }

    /// Tells `sid` something, instead of whatever it has not been told yet. Connects if need be.
    pub fn send(&mut self, now_ms: u64, sid: Sid, message: Arc<[u8]>) {
        let Some(peer) = self.peers.get_mut(&sid) else {
            debug!(%sid, "no server of that id is known");
            return;
        };
        peer.slot = Some(message);
        self.flush(sid);
        self.dial_if_wanted(now_ms, sid);
    }

    /// A connection came in. Its hello is awaited next.
    pub fn accepted(&mut self, now_ms: u64) -> ConnId {
        let unproven = |conn: &Conn| !conn.opened && matches!(conn.stage, Stage::Greeting { .. });
        let waiting = self.conns.iter().filter(|(_, conn)| unproven(conn));
        let (count, oldest) = (waiting.clone().count(), waiting.map(|(&id, _)| id).next());
        if let (true, Some(oldest)) = (count >= UNPROVEN_MAX, oldest) {
            self.close(oldest);
        }
        let until_ms = now_ms.saturating_add(self.settings.greeting_timeout_ms);
        self.open(Conn { sid: None, opened: false, stage: Stage::Greeting { until_ms } })
    }

    /// An accepted connection said who it is.
    pub fn greeted(&mut self, now_ms: u64, conn: ConnId, hello: &Hello) {
        let Some(Conn { sid: None, opened: false, .. }) = self.conns.get(&conn) else { return };
        let sid = hello.sid;
        if sid == self.my_sid {
            warn!(%sid, "a server with our own id connected: a wrong myid, here or there");
            return self.close(conn);
        }
        if sid == Sid::ANONYMOUS_OBSERVER || !self.admit(sid) {
            warn!(%sid, "a stranger to the election port is turned away");
            return self.close(conn);
        }
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.sid = Some(sid);
        }
        if let Some(peer) = self.peers.get_mut(&sid) {
            peer.hinted = hello.addresses.iter().take(HELLO_ADDRESSES_MAX).cloned().collect();
        }
        if self.settings.authenticate {
            self.effects.push_back(Effect::Authenticate { conn, opened: false });
        } else {
            self.take_in(now_ms, conn, sid);
        }
    }

    /// A dial succeeded.
    pub fn connected(&mut self, now_ms: u64, conn: ConnId) {
        let greeting_timeout_ms = self.settings.greeting_timeout_ms;
        let Some(Conn { sid: Some(sid), stage, .. }) = self.conns.get_mut(&conn) else { return };
        if !matches!(stage, Stage::Dialling { .. }) {
            return;
        }
        *stage = Stage::Greeting { until_ms: now_ms.saturating_add(greeting_timeout_ms) };
        let sid = *sid;
        let hello = Hello {
            form: self.settings.hello,
            sid: self.my_sid,
            addresses: self.my_addresses.clone(),
        };
        self.effects.push_back(Effect::Greet { conn, hello });
        if self.settings.authenticate {
            self.effects.push_back(Effect::Authenticate { conn, opened: true });
        } else {
            self.take_out(now_ms, conn, sid);
        }
    }

    /// A dial failed.
    pub fn dial_failed(&mut self, now_ms: u64, conn: ConnId, error: DialError) {
        let Some(Conn { sid: Some(sid), .. }) = self.forget(conn) else { return };
        self.back_off(now_ms, sid);
        let established = self.peers.get(&sid).is_some_and(|peer| peer.established.is_some());
        if error == DialError::Refused && !established {
            self.effects.push_back(Effect::Down(sid));
        }
        self.forget_strangers();
    }

    /// The peer of this connection is who it says it is.
    pub fn authenticated(&mut self, now_ms: u64, conn: ConnId) {
        let Some(&Conn { sid: Some(sid), opened, stage: Stage::Greeting { .. } }) =
            self.conns.get(&conn)
        else {
            return;
        };
        if opened {
            self.take_out(now_ms, conn, sid);
        } else {
            self.take_in(now_ms, conn, sid);
        }
    }

    /// A message came on this connection: from whom? `None` for one that was given up meanwhile.
    pub fn sender(&self, conn: ConnId) -> Option<Sid> {
        let conn = self.conns.get(&conn)?;
        conn.sid.filter(|_| conn.stage == Stage::Established)
    }

    /// The connection takes the next message.
    pub fn written(&mut self, conn: ConnId) {
        let Some(sid) = self.sender(conn) else { return };
        if let Some(peer) = self.peers.get_mut(&sid) {
            peer.writing = false;
        }
        self.flush(sid);
    }

    /// The connection ended, whoever ended it: closed, reset, nonsense on it, refused
    /// authentication.
    pub fn closed(&mut self, now_ms: u64, conn: ConnId) {
        let Some(ended) = self.forget(conn) else { return };
        let Some(sid) = ended.sid else { return };
        if ended.stage == Stage::Established {
            self.effects.push_back(Effect::Down(sid));
        } else if ended.opened {
            self.back_off(now_ms, sid);
        }
        self.dial_if_wanted(now_ms, sid);
        self.forget_strangers();
    }

    /// An incoming connection, named and authenticated: the larger id's stays.
    fn take_in(&mut self, now_ms: u64, conn: ConnId, sid: Sid) {
        if sid > self.my_sid {
            return self.establish(conn, sid);
        }
        self.close(conn);
        if let Some(peer) = self.peers.get_mut(&sid) {
            // A knock is news: the peer is there, however long it was not. But who knocks without
            // end shall not make us dial without end.
            peer.called = true;
            let soonest_ms = peer.dialled_at_ms.saturating_add(self.settings.retry_min_ms);
            peer.retry_at_ms = peer.retry_at_ms.min(soonest_ms);
        }
        self.dial_if_wanted(now_ms, sid);
    }

    /// Our own connection, likewise. If it was a knock, the peer's answer is awaited for a pause.
    fn take_out(&mut self, now_ms: u64, conn: ConnId, sid: Sid) {
        if sid < self.my_sid {
            return self.establish(conn, sid);
        }
        self.close(conn);
        self.back_off(now_ms, sid);
    }

    fn establish(&mut self, conn: ConnId, sid: Sid) {
        let known = |peer: &Peer| [peer.established, peer.dialling];
        let others = self.peers.get(&sid).map(known).into_iter().flatten().flatten();
        for other in others.filter(|&other| other != conn) {
            self.close(other);
        }
        if let Some(conn) = self.conns.get_mut(&conn) {
            conn.stage = Stage::Established;
        }
        let Some(peer) = self.peers.get_mut(&sid) else { return };
        peer.dialling = None;
        peer.established = Some(conn);
        peer.called = false;
        peer.writing = false;
        peer.pause_ms = 0;
        peer.retry_at_ms = 0;
        peer.hinted.clear();
        if peer.slot.is_none() {
            peer.slot = peer.last_written.clone();
        }
        self.effects.push_back(Effect::Up(sid));
        self.flush(sid);
    }

    /// Writes what is in the slot if the connection is ready for it.
    fn flush(&mut self, sid: Sid) {
        let Some(peer) = self.peers.get_mut(&sid) else { return };
        let Some(conn) = peer.established.filter(|_| !peer.writing) else { return };
        let Some(message) = peer.slot.take() else { return };
        peer.writing = true;
        peer.last_written = Some(Arc::clone(&message));
        self.effects.push_back(Effect::Write { conn, message });
    }

    fn dial_if_wanted(&mut self, now_ms: u64, sid: Sid) {
        let Some(peer) = self.peers.get(&sid) else { return };
        if !peer.wants_dial() || peer.retry_at_ms > now_ms {
            return;
        }
        let mut addresses = peer.hinted.clone();
        for address in &peer.addresses {
            if !addresses.contains(address) {
                addresses.push(address.clone());
            }
        }
        let until_ms = now_ms.saturating_add(self.settings.dial_timeout_ms);
        let stage = Stage::Dialling { until_ms };
        let conn = self.open(Conn { sid: Some(sid), opened: true, stage });
        if let Some(peer) = self.peers.get_mut(&sid) {
            peer.dialling = Some(conn);
            peer.dialled_at_ms = now_ms;
        }
        self.effects.push_back(Effect::Dial { conn, sid, addresses });
    }

    fn back_off(&mut self, now_ms: u64, sid: Sid) {
        let Settings { retry_min_ms, retry_max_ms, .. } = self.settings;
        let Some(peer) = self.peers.get_mut(&sid) else { return };
        peer.pause_ms = peer.pause_ms.saturating_mul(2).clamp(retry_min_ms, retry_max_ms);
        peer.retry_at_ms = now_ms.saturating_add(peer.pause_ms);
        // Who knocked and cannot be reached knocks again; the configured addresses remain.
        peer.called = false;
        peer.hinted.clear();
    }

    fn open(&mut self, conn: Conn) -> ConnId {
        let id = ConnId(self.next_conn);
        self.next_conn += 1;
        self.conns.insert(id, conn);
        id
    }

    fn close(&mut self, conn: ConnId) {
        if self.forget(conn).is_some() {
            self.effects.push_back(Effect::Close(conn));
        }
    }

    fn forget(&mut self, id: ConnId) -> Option<Conn> {
        let conn = self.conns.remove(&id)?;
        if let Some(peer) = conn.sid.and_then(|sid| self.peers.get_mut(&sid)) {
            peer.dialling.take_if(|dialling| *dialling == id);
            if peer.established.take_if(|established| *established == id).is_some() {
                peer.writing = false;
            }
        }
        Some(conn)
    }

    /// Whether there is room for this peer; makes it if it is a stranger.
    fn admit(&mut self, sid: Sid) -> bool {
        if self.peers.contains_key(&sid) {
            return true;
        }
        self.forget_strangers();
        let strangers = self.peers.values().filter(|peer| peer.addresses.is_empty()).count();
        if strangers >= STRANGERS_MAX {
            return false;
        }
        self.peers.insert(sid, Peer::default());
        true
    }

    /// Strangers are remembered while they are connected or about to be.
    fn forget_strangers(&mut self) {
        let conns = &self.conns;
        self.peers.retain(|sid, peer| {
            let connected = || conns.values().any(|conn| conn.sid == Some(*sid));
            !peer.addresses.is_empty() || connected() || peer.wants_dial()
        });
    }
}

impl Peer {
    /// Whether a connection is missing: there is something to say and none is up, or the peer
    /// knocked, which also means that whatever is up leads nowhere.
    fn wants_dial(&self) -> bool {
        let has_addresses = !self.addresses.is_empty() || !self.hinted.is_empty();
        let silent = self.established.is_none() && self.slot.is_some();
        self.dialling.is_none() && has_addresses && (silent || self.called)
    }
}

impl Stage {
    fn until_ms(self) -> Option<u64> {
        match self {
            Stage::Dialling { until_ms } | Stage::Greeting { until_ms } => Some(until_ms),
            Stage::Established => None,
        }
    }
}

#[cfg(test)]
mod tests;
