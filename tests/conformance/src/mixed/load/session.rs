//! A session that goes on whatever becomes of the servers.
//!
//! One request at a time, or a few in one go; when the connection is lost, those without an answer
//! are *unknown* and never sent again. The session goes to the next server, arms its watches there
//! and goes on. That it is refused somewhere as expired ends it, and is a finding: whoever uses it
//! keeps in touch.

use std::collections::{BTreeSet, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::ensemble::PATIENCE;
use crate::wire::reply::Header;
use crate::wire::{Blob, ConnectRequest, Connection, Received, Request, op, reply, xid};

/// Longer than any election or check here takes, on a busy machine.
pub const TIMEOUT_MS: i32 = 40_000;
/// A server that has not answered for so long is left.
const ANSWER_LIMIT: Duration = Duration::from_secs(4);
/// How long one server may take to greet.
const GREETING_LIMIT: Duration = Duration::from_millis(1_500);
/// Before the next server is tried.
const PAUSE: Duration = Duration::from_millis(25);

/// What became of a request.
#[derive(Clone, Debug, PartialEq)]
pub enum Told {
    /// Done, at this zxid, with these fields.
    Done {
        /// Of a write: its own. Of a read: the newest that the server had.
        zxid: i64,
        /// The reply.
        body: Value,
    },
    /// Refused with this code; nothing was done.
    Refused(i32),
    /// Nobody knows.
    Unknown,
}

impl Told {
    /// The reply, if it was done.
    pub fn done(&self) -> Option<(i64, &Value)> {
        if let Told::Done { zxid, body } = self { Some((*zxid, body)) } else { None }
    }
}

/// A watch that fired.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// `Watcher.Event.EventType`.
    pub kind: i64,
    /// Where.
    pub path: String,
}

/// See the module's essay.
#[derive(Debug)]
pub struct Session {
    servers: Vec<SocketAddr>,
    next_server: usize,
    identity: Option<(i64, Vec<u8>)>,
    timeout_ms: i32,
    zxid: i64,
    link: Option<Connection>,
    next_xid: i32,
    data_watches: BTreeSet<String>,
    events: VecDeque<Event>,
    give_up: Arc<AtomicBool>,
    /// Connections made so far.
    pub connections: usize,
}

impl Session {
    /// Begins a session at one of `servers`, the one at `first` if it serves.
    ///
    /// # Errors
    /// When none gives one for a long time.
    pub fn begin(servers: &[SocketAddr], first: usize, timeout_ms: i32) -> Result<Session> {
        Session::begin_until(servers, first, timeout_ms, Arc::default())
    }

    /// [`begin`](Self::begin), for one that stops looking for servers when told to.
    pub(super) fn begin_until(
        servers: &[SocketAddr],
        first: usize,
        timeout_ms: i32,
        give_up: Arc<AtomicBool>,
    ) -> Result<Session> {
        let mut session = Session {
            servers: servers.to_vec(),
            next_server: first % servers.len().max(1),
            identity: None,
            timeout_ms,
            zxid: 0,
            link: None,
            next_xid: 1,
            data_watches: BTreeSet::new(),
            events: VecDeque::new(),
            give_up,
            connections: 0,
        };
        session.connect()?;
        Ok(session)
    }

    /// The session's id.
    pub fn id(&self) -> i64 {
        self.identity.as_ref().map_or(0, |(id, _)| *id)
    }

    /// The server it is connected to, by its place in the list; the next to try if to none.
    pub fn server(&self) -> usize {
        match self.link {
            Some(_) => (self.next_server + self.servers.len() - 1) % self.servers.len(),
            None => self.next_server,
        }
    }

    /// Whether it is connected to no server.
    pub fn is_away(&self) -> bool {
        self.link.is_none()
    }

    /// Leaves its server, and goes to the one at `server` of the list with the next request.
    pub fn move_to(&mut self, server: usize) {
        self.link = None;
        self.next_server = server % self.servers.len();
    }

    /// Falls silent, the session open: it will expire.
    pub fn abandon(self) -> i64 {
        self.id()
    }

    /// Ends the session.
    ///
    /// # Errors
    /// When no server confirms it.
    pub fn close(mut self) -> Result<()> {
        loop {
            match self.ask(Request::Bare { op: op::CLOSE_SESSION }) {
                Ok(Told::Done { .. }) => return Ok(()),
                Ok(Told::Refused(code)) => bail!("closing is refused with {code}"),
                Ok(Told::Unknown) => {}
                // It was closed by the request whose answer was lost.
                Err(error) if error.is::<Expired>() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
    }

    /// One request, and what became of it.
    ///
    /// # Errors
    /// When the session is expired, or no server takes it for a long time.
    pub fn ask(&mut self, request: Request) -> Result<Told> {
        self.ask_all(std::slice::from_ref(&request))?.pop().context("one answer")
    }

    /// Some requests in one go.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn ask_all(&mut self, requests: &[Request]) -> Result<Vec<Told>> {
        if self.link.is_none() {
            self.connect()?;
        }
        let mut bytes = Vec::new();
        let mut asked = Vec::new();
        for request in requests {
            let xid = request.xid(self.next_xid);
            if xid == self.next_xid {
                self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
            }
            bytes.extend(request.frame(xid, self.zxid));
            asked.push((xid, request));
        }
        if let Some(link) = &mut self.link {
            link.send(&bytes);
        }
        let mut told = Vec::new();
        for (xid, request) in asked {
            let answer = self.answer(xid, request.op())?;
            if let (Request::Read { path: Some(path), watch: true, op: op::GET_DATA }, Some(_)) =
                (request, answer.done())
            {
                self.data_watches.insert(path.clone());
            }
            told.push(answer);
        }
        Ok(told)
    }

    /// Says that we are there, and takes what events there are.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn ping(&mut self) -> Result<()> {
        self.ask(Request::Bare { op: op::PING }).map(drop)
    }

    /// The next watch that fired.
    pub fn next_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    fn answer(&mut self, asked: i32, op: i32) -> Result<Told> {
        let deadline = Instant::now() + ANSWER_LIMIT;
        loop {
            let Some(link) = &mut self.link else { return Ok(Told::Unknown) };
            let left = deadline.saturating_duration_since(Instant::now());
            let Received::Frame(frame) = link.receive_within(left)? else {
                self.link = None;
                return Ok(Told::Unknown);
            };
            let header = Header::parse(&frame).context("a reply without a header")?;
            if header.xid == xid::NOTIFICATION {
                self.event(&frame)?;
                continue;
            }
            ensure!(header.xid == asked, "an answer to {} where {asked} was asked", header.xid);
            ensure!(
                header.zxid >= self.zxid || op == op::CLOSE_SESSION,
                "session {:x}: the zxid goes back from {:x} to {:x}",
                self.id(),
                self.zxid,
                header.zxid
            );
            self.zxid = self.zxid.max(header.zxid);
            return Ok(match header.err {
                0 => Told::Done { zxid: header.zxid, body: reply::parse(&frame, op) },
                code => Told::Refused(code),
            });
        }
    }

    fn event(&mut self, frame: &[u8]) -> Result<()> {
        let event = reply::parse(frame, op::NOTIFICATION);
        let path = event["path"].as_str().context("an event without a path")?.to_owned();
        let kind = event["type"].as_i64().context("an event without a type")?;
        ensure!(self.data_watches.remove(&path), "an event for {path}, where no watch is: {event}");
        self.events.push_back(Event { kind, path });
        Ok(())
    }

    fn connect(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let addr = self.servers[self.next_server];
            self.next_server = (self.next_server + 1) % self.servers.len();
            if self.greet(addr)? && self.arm()? {
                self.connections += 1;
                return Ok(());
            }
            ensure!(Instant::now() < deadline, "no server takes session {:x}", self.id());
            ensure!(!self.give_up.load(Ordering::SeqCst), "session {:x} is given up", self.id());
            std::thread::sleep(PAUSE);
        }
    }

    /// The first frame on any connection.
    pub fn handshake(&self) -> Vec<u8> {
        let mut first = ConnectRequest::new(self.timeout_ms);
        first.last_zxid = self.zxid;
        if let Some((id, password)) = &self.identity {
            first.session = *id;
            first.password = Blob(Some(password.clone()));
        }
        first.frame()
    }

    /// Whether this server takes us.
    fn greet(&mut self, addr: SocketAddr) -> Result<bool> {
        let Ok(mut link) = Connection::open(addr) else { return Ok(false) };
        link.send(&self.handshake());
        let Received::Frame(frame) = link.receive_within(GREETING_LIMIT)? else { return Ok(false) };
        let greeting = reply::parse_connect(&frame);
        let id = greeting["sessionId"].as_i64().context("a greeting without a session")?;
        if id == 0 {
            return Err(Expired { session: self.id(), addr }.into());
        }
        match &self.identity {
            Some((known, _)) => ensure!(*known == id, "session {known:x} became {id:x}"),
            // version, timeout and id, then the password with its length.
            None => {
                let password = frame.get(20..36).context("a greeting without a password")?;
                self.identity = Some((id, password.to_vec()));
            }
        }
        self.link = Some(link);
        Ok(true)
    }

    /// Arms the watches that are left, as of the newest zxid that we have seen.
    fn arm(&mut self) -> Result<bool> {
        if self.data_watches.is_empty() {
            return Ok(true);
        }
        let data = self.data_watches.iter().cloned().map(Some).collect();
        let lists = vec![data, Vec::new(), Vec::new()];
        let request = Request::SetWatches { op: op::SET_WATCHES, back: 0, lists };
        if let Some(link) = &mut self.link {
            link.send(&request.frame(xid::SET_WATCHES, self.zxid));
        }
        match self.answer(xid::SET_WATCHES, op::SET_WATCHES)? {
            Told::Done { .. } => Ok(true),
            Told::Refused(code) => bail!("watches are refused with {code}"),
            Told::Unknown => Ok(false),
        }
    }
}

/// The session was lost.
#[derive(Debug)]
pub struct Expired {
    session: i64,
    addr: SocketAddr,
}

impl std::fmt::Display for Expired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "session {:x} was lost: {} does not know it", self.session, self.addr)
    }
}

impl std::error::Error for Expired {}
