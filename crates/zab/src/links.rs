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
//!   answer has come up; Apache closes it first, so that anybody could cut the members' links. If
//!   the peer is heard on the old one meanwhile, its knock has crossed our dial and is forgotten.
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
    /// With several addresses: how long a peer may leave unanswered what it is told before the
    /// connection is given up for another, perhaps to another of its addresses. Java probes the
    /// address instead.
    pub unanswered_max_ms: Option<u64>,
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
            unanswered_max_ms: None,
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
    dialled_at_ms: Option<u64>,
    /// When it was first told something since it last said anything.
    told_at_ms: Option<u64>,
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
        for server in membership.known().flat_map(|config| config.members()) {
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
        let unanswered_ms = now_ms.saturating_sub(*peer.told_at_ms.get_or_insert(now_ms));
        let given_up = self.settings.unanswered_max_ms.is_some_and(|max| unanswered_ms > max);
        if let (true, Some(conn)) = (given_up, peer.established) {
            debug!(conn = conn.0, %sid, "what is said on an election connection is not answered");
            self.close(conn);
            self.effects.push_back(Effect::Down(sid));
        }
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
    pub fn received(&mut self, conn: ConnId) -> Option<Sid> {
        let sid = self.sender(conn)?;
        if let Some(peer) = self.peers.get_mut(&sid) {
            // Its knock crossed our dial: what is up leads to it.
            peer.called = false;
            peer.told_at_ms = None;
        }
        Some(sid)
    }

    fn sender(&self, conn: ConnId) -> Option<Sid> {
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
            // end shall not make us dial without end; and if it crossed our own dial, that is up
            // already and will soon show it.
            peer.called = true;
            let soonest_ms = peer.dialled_at_ms.map(|at_ms| at_ms + self.settings.retry_min_ms);
            peer.retry_at_ms = match peer.established {
                Some(_) => soonest_ms.unwrap_or(0),
                None => peer.retry_at_ms.min(soonest_ms.unwrap_or(0)),
            };
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
        peer.told_at_ms = None;
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
            peer.dialled_at_ms = Some(now_ms);
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
                peer.told_at_ms = None;
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
mod tests {
    use oxkeeper_proto::notification::{Address, Hello, HelloForm};

    use super::*;
    use crate::quorum::QuorumVerifier;

    const CONFIG: &str = "server.1=one:1:11\nserver.2=two:1:12|zwei:1:12\nserver.3=three:1:13";

    /// Server 2, between a smaller and a larger one.
    fn links(settings: Settings) -> Links {
        let config = QuorumVerifier::parse(CONFIG, true).unwrap();
        let mut links = Links::new(Sid(2), vec![address("two", 12)], settings);
        links.configure(&Membership::new(Arc::new(config), None));
        links
    }

    fn address(host: &str, port: u16) -> Address {
        Address { host: host.into(), port }
    }

    fn hello(sid: i64, addresses: &[Address]) -> Hello {
        Hello { form: HelloForm::V1, sid: Sid(sid), addresses: addresses.to_vec() }
    }

    fn message(text: &str) -> Arc<[u8]> {
        text.as_bytes().into()
    }

    fn effects(links: &mut Links) -> Vec<String> {
        let shown = |effect| match effect {
            Effect::Dial { conn, sid, addresses } => {
                let at: Vec<String> = addresses.iter().map(Address::to_string).collect();
                format!("{} dial {sid} {}", conn.0, at.join(" "))
            }
            Effect::Greet { conn, hello } => format!("{} greet as {}", conn.0, hello.sid),
            Effect::Authenticate { conn, opened } => format!("{} authenticate {opened}", conn.0),
            Effect::Write { conn, message } => {
                format!("{} write {}", conn.0, String::from_utf8_lossy(&message))
            }
            Effect::Close(conn) => format!("{} close", conn.0),
            Effect::Up(sid) => format!("up {sid}"),
            Effect::Down(sid) => format!("down {sid}"),
        };
        core::iter::from_fn(|| links.poll_effect()).map(shown).collect()
    }

    #[test]
    fn the_larger_id_keeps_what_it_opened() {
        let mut links = links(Settings::default());
        links.send(0, Sid(1), message("a"));
        assert_eq!(effects(&mut links), ["0 dial 1 one:11"]);
        links.connected(1, ConnId(0));
        assert_eq!(effects(&mut links), ["0 greet as 2", "up 1", "0 write a"]);
        assert_eq!(links.received(ConnId(0)), Some(Sid(1)));
        assert_eq!(links.deadline_ms(), None);
    }

    #[test]
    fn where_there_are_other_addresses_silence_is_not_borne() {
        let unanswered_max_ms = Some(3_000);
        let mut links = links(Settings { unanswered_max_ms, ..Settings::default() });
        // How long it was away does not count.
        links.send(0, Sid(1), message("a"));
        links.connected(9_000, ConnId(0));
        links.send(9_001, Sid(1), message("b"));
        links.written(ConnId(0));
        assert_eq!(links.received(ConnId(0)), Some(Sid(1)));
        effects(&mut links);
        // Answered, however late; and told again, and not answered.
        links.send(20_000, Sid(1), message("c"));
        links.written(ConnId(0));
        links.send(23_000, Sid(1), message("d"));
        links.written(ConnId(0));
        assert_eq!(effects(&mut links), ["0 write c", "0 write d"]);
        links.send(23_001, Sid(1), message("e"));
        assert_eq!(effects(&mut links), ["0 close", "down 1", "1 dial 1 one:11"]);
        links.connected(23_002, ConnId(1));
        assert_eq!(effects(&mut links), ["1 greet as 2", "up 1", "1 write e"]);
    }

    #[test]
    fn the_smaller_id_knocks_and_is_called_back() {
        let mut links = links(Settings::default());
        links.send(0, Sid(3), message("a"));
        assert_eq!(effects(&mut links), ["0 dial 3 three:13"]);
        links.connected(1, ConnId(0));
        assert_eq!(effects(&mut links), ["0 greet as 2", "0 close"]);
        assert_eq!(links.received(ConnId(0)), None);
        let called = links.accepted(2);
        links.greeted(3, called, &hello(3, &[]));
        assert_eq!(effects(&mut links), ["up 3", "1 write a"]);
        // The answer may get lost: then it knocks again, ever more rarely.
        links.closed(4, called);
        links.send(4, Sid(3), message("b"));
        assert_eq!(effects(&mut links), ["down 3", "2 dial 3 three:13"]);
        links.connected(5, ConnId(2));
        assert_eq!(effects(&mut links), ["2 greet as 2", "2 close"]);
        assert_eq!(links.deadline_ms(), Some(105));
        links.tick(105);
        assert_eq!(effects(&mut links), ["3 dial 3 three:13"]);
    }

    #[test]
    fn who_is_smaller_and_knocks_is_connected_back_where_it_said_first() {
        let mut links = links(Settings::default());
        let knock = links.accepted(0);
        links.greeted(200, knock, &hello(1, &[address("uno", 9)]));
        assert_eq!(effects(&mut links), ["0 close", "1 dial 1 uno:9 one:11"]);
        links.connected(201, ConnId(1));
        assert_eq!(effects(&mut links), ["1 greet as 2", "up 1"]);
        // It was restarted: the old connection stays until the new one is up.
        let knock = links.accepted(500);
        links.greeted(500, knock, &hello(1, &[]));
        assert_eq!(effects(&mut links), ["2 close", "3 dial 1 one:11"]);
        assert_eq!(links.received(ConnId(1)), Some(Sid(1)));
        links.connected(501, ConnId(3));
        assert_eq!(effects(&mut links), ["3 greet as 2", "1 close", "up 1"]);
        links.closed(502, ConnId(1));
        assert_eq!(effects(&mut links), [""; 0], "what was replaced breaks nothing");
    }

    #[test]
    fn a_knock_that_crossed_our_dial_opens_no_second_connection() {
        let mut links = links(Settings::default());
        links.send(0, Sid(1), message("a"));
        links.connected(1, ConnId(0));
        effects(&mut links);
        let knock = links.accepted(2);
        links.greeted(2, knock, &hello(1, &[]));
        assert_eq!(effects(&mut links), ["1 close"]);
        assert_eq!(links.deadline_ms(), Some(100), "unless the peer is heard until then");
        assert_eq!(links.received(ConnId(0)), Some(Sid(1)));
        assert_eq!(links.deadline_ms(), None);
        let knock = links.accepted(3);
        links.greeted(3, knock, &hello(1, &[]));
        links.tick(100);
        assert_eq!(effects(&mut links), ["2 close", "3 dial 1 one:11"]);
    }

    #[test]
    fn a_false_knock_cuts_nothing_and_makes_us_dial_only_so_often() {
        let mut links = links(Settings::default());
        links.send(0, Sid(1), message("a"));
        links.connected(1, ConnId(0));
        effects(&mut links);
        let mut dials = 0;
        for now_ms in 1_000..2_000 {
            let knock = links.accepted(now_ms);
            links.greeted(now_ms, knock, &hello(1, &[address("evil", 1)]));
            links.tick(now_ms);
            while let Some(effect) = links.poll_effect() {
                if let Effect::Dial { conn, .. } = effect {
                    dials += 1;
                    links.dial_failed(now_ms, conn, DialError::Refused);
                } else {
                    assert!(!matches!(effect, Effect::Down(_)), "it is connected");
                }
            }
        }
        assert_eq!(links.received(ConnId(0)), Some(Sid(1)));
        assert!((9..=11).contains(&dials), "{dials} dials in a second");
    }

    #[test]
    fn only_the_latest_message_waits_and_the_last_one_is_said_again() {
        let mut links = links(Settings::default());
        links.send(0, Sid(1), message("a"));
        links.send(0, Sid(1), message("b"));
        links.connected(1, ConnId(0));
        assert_eq!(effects(&mut links)[1..], ["0 greet as 2", "up 1", "0 write b"]);
        links.send(2, Sid(1), message("c"));
        links.send(2, Sid(1), message("d"));
        assert_eq!(effects(&mut links), [""; 0]);
        links.written(ConnId(0));
        assert_eq!(effects(&mut links), ["0 write d"]);
        links.written(ConnId(0));
        links.closed(3, ConnId(0));
        assert_eq!(effects(&mut links), ["down 1"], "nothing to say: no dial");
        // The old connection may have swallowed it.
        let knock = links.accepted(300);
        links.greeted(300, knock, &hello(1, &[]));
        links.connected(301, ConnId(2));
        assert_eq!(effects(&mut links)[3..], ["up 1", "2 write d"]);
        // Unless there is news, and then the news alone.
        links.closed(400, ConnId(2));
        links.send(400, Sid(1), message("e"));
        links.connected(401, ConnId(3));
        assert_eq!(effects(&mut links)[2..], ["3 greet as 2", "up 1", "3 write e"]);
    }

    #[test]
    fn failed_dials_are_tried_again_after_ever_longer_pauses() {
        let mut links = links(Settings::default());
        links.send(0, Sid(1), message("a"));
        let mut now_ms = 0;
        let mut pauses = Vec::new();
        for conn in 0..8 {
            effects(&mut links);
            links.dial_failed(now_ms, ConnId(conn), DialError::Unreachable);
            assert_eq!(effects(&mut links), [""; 0], "perhaps it is alive");
            let next_ms = links.deadline_ms().unwrap();
            pauses.push(next_ms - now_ms);
            links.tick(next_ms - 1);
            assert_eq!(effects(&mut links), [""; 0]);
            now_ms = next_ms;
            links.tick(now_ms);
        }
        assert_eq!(pauses, [100, 200, 400, 800, 1_600, 3_200, 5_000, 5_000]);
        effects(&mut links);
        links.dial_failed(now_ms, ConnId(8), DialError::Refused);
        assert_eq!(effects(&mut links), ["down 1"], "its process is gone");
        // A dial without any answer is given up.
        now_ms = links.deadline_ms().unwrap();
        links.tick(now_ms);
        assert_eq!(effects(&mut links), ["9 dial 1 one:11"]);
        assert_eq!(links.deadline_ms(), Some(now_ms + 5_000));
        links.tick(now_ms + 5_000);
        assert_eq!(effects(&mut links), ["9 close"]);
    }

    #[test]
    fn our_own_id_and_the_anonymous_one_are_turned_away() {
        let mut links = links(Settings::default());
        for sid in [2, i64::MAX] {
            let conn = links.accepted(0);
            links.greeted(0, conn, &hello(sid, &[address("x", 1)]));
            assert_eq!(effects(&mut links), [format!("{} close", conn.0)]);
        }
        assert_eq!(links.deadline_ms(), None);
    }

    #[test]
    fn strangers_may_come_but_not_too_many() {
        let mut links = links(Settings::default());
        // A larger one keeps its connection, a smaller one is called back where it says it is.
        let larger = links.accepted(0);
        links.greeted(0, larger, &hello(9, &[]));
        assert_eq!(effects(&mut links), ["up 9"]);
        links.send(0, Sid(9), message("a"));
        assert_eq!(effects(&mut links), ["0 write a"]);
        let smaller = links.accepted(200);
        links.greeted(200, smaller, &hello(0, &[address("zero", 5)]));
        assert_eq!(effects(&mut links), ["1 close", "2 dial 0 zero:5"]);
        links.dial_failed(200, ConnId(2), DialError::Refused);
        assert_eq!(effects(&mut links), ["down 0"]);
        links.send(300, Sid(0), message("b"));
        assert_eq!(effects(&mut links), [""; 0], "nobody knows where it is");
        for sid in 100..300 {
            let conn = links.accepted(0);
            links.greeted(0, conn, &hello(sid, &[]));
        }
        let up = effects(&mut links).iter().filter(|effect| effect.starts_with("up")).count();
        assert_eq!(up, STRANGERS_MAX - 1);
        // A member finds its place all the same.
        let member = links.accepted(0);
        links.greeted(0, member, &hello(3, &[]));
        assert_eq!(effects(&mut links), ["up 3"]);
    }

    #[test]
    fn who_does_not_say_its_name_is_closed() {
        let mut links = links(Settings::default());
        let silent = links.accepted(0);
        assert_eq!(links.deadline_ms(), Some(10_000));
        links.tick(10_000);
        assert_eq!(effects(&mut links), [format!("{} close", silent.0)]);
        let first = links.accepted(0);
        for _ in 0..UNPROVEN_MAX {
            links.accepted(0);
        }
        assert_eq!(effects(&mut links), [format!("{} close", first.0)]);
        links.greeted(0, first, &hello(3, &[]));
        assert_eq!(effects(&mut links), [""; 0], "what was closed says nothing");
    }

    #[test]
    fn with_authentication_nothing_is_kept_before_it() {
        let mut links = links(Settings { authenticate: true, ..Settings::default() });
        links.send(0, Sid(1), message("a"));
        links.connected(1, ConnId(0));
        assert_eq!(effects(&mut links)[1..], ["0 greet as 2", "0 authenticate true"]);
        assert_eq!(links.received(ConnId(0)), None);
        links.authenticated(2, ConnId(0));
        assert_eq!(effects(&mut links), ["up 1", "0 write a"]);
        // Neither a knock nor a larger peer counts before it has proved itself.
        for sid in [1, 3] {
            let conn = links.accepted(200);
            links.greeted(200, conn, &hello(sid, &[]));
            assert_eq!(effects(&mut links), [format!("{} authenticate false", conn.0)]);
            assert_eq!(links.received(conn), None);
        }
        links.closed(201, ConnId(1));
        links.authenticated(201, ConnId(2));
        assert_eq!(effects(&mut links), ["up 3"]);
        assert_eq!(links.received(ConnId(0)), Some(Sid(1)));
        // As many as like may claim to be a member; those that prove nothing make room.
        for _ in 0..UNPROVEN_MAX + 5 {
            let conn = links.accepted(300);
            links.greeted(300, conn, &hello(3, &[]));
        }
        let closed = effects(&mut links).iter().filter(|effect| effect.ends_with("close")).count();
        assert_eq!(closed, 5);
    }

    #[test]
    fn a_new_configuration_brings_new_addresses() {
        let mut links = links(Settings::default());
        let old = Arc::new(QuorumVerifier::parse(CONFIG, true).unwrap());
        let new = "server.1=eins:1:11\nserver.2=two:1:12\nserver.4=four:1:14\nversion=1";
        let new = Arc::new(QuorumVerifier::parse(new, false).unwrap());
        links.configure(&Membership::new(old, Some(Arc::clone(&new))));
        links.send(0, Sid(1), message("a"));
        links.send(0, Sid(4), message("a"));
        assert_eq!(effects(&mut links), ["0 dial 1 one:11 eins:11", "1 dial 4 four:14"]);
        links.configure(&Membership::new(new, None));
        links.send(0, Sid(3), message("a"));
        assert_eq!(effects(&mut links), [""; 0], "server 3 has left");
        links.dial_failed(0, ConnId(0), DialError::Unreachable);
        links.tick(100);
        assert_eq!(effects(&mut links), ["2 dial 1 eins:11"]);
    }
}
