//! One session on a blocking socket: handshakes, preparation, tidying up.
//!
//! Nothing here is measured, so it is plain: one request, one reply. Measured traffic goes through
//! [`crate::engine`], which takes over the sockets that [`Session::open_many`] has opened.

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use oxkeeper_proto::connect::{
    ConnectRequest, ConnectResponse, begin_frame, end_frame, split_frame,
};
use oxkeeper_proto::limits::FRAME_BYTES_CEILING;
use oxkeeper_proto::request::{CreateRequest, PathVersion, PathWatch, RequestHeader};
use oxkeeper_proto::response::{ReplyHeader, xid};
use oxkeeper_proto::{
    CreateMode, ErrorCode, OPEN_ACL_UNSAFE, OpCode, Reader, Request, SessionId, StringList, Zxid,
};

/// How long a server may take over one answer before we give up on it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);

/// Handshakes in flight at once: enough to share the server's fsyncs, and below the 50 that Java's
/// listen backlog holds, beyond which a connect is tried again only after a second.
const HANDSHAKES: usize = 40;

/// How long a connection to a server that starts may take to be made. When the queue of those not
/// yet accepted is full, the system would try again after a second, and nobody would look so long.
const CONNECT_LOCAL: Duration = Duration::from_millis(5);

/// What a client shows to go on with its session on another server.
#[derive(Debug, Clone)]
pub struct Ticket {
    session: SessionId,
    password: [u8; 16],
    /// The newest state that it has seen: a server that is behind must not take it.
    last_zxid: Zxid,
}

impl Ticket {
    /// Of a client that has no session yet.
    pub const NEW: Ticket =
        Ticket { session: SessionId::NONE, password: [0; 16], last_zxid: Zxid::ZERO };
}

/// A connected session.
pub struct Session {
    stream: TcpStream,
    timeout_ms: i32,
    ticket: Ticket,
    next_xid: i32,
    received: Vec<u8>,
}

/// What became of a session.
pub enum Resumed {
    /// It goes on, or has begun.
    Granted(Session),
    /// The servers have given it up.
    Expired,
}

/// What a server answered.
#[derive(Debug)]
pub struct Answer {
    /// The outcome.
    pub err: ErrorCode,
    /// The record behind the reply header; empty unless the request succeeded.
    pub body: Vec<u8>,
}

impl Session {
    /// Connects and performs the handshake.
    ///
    /// # Errors
    /// When the server cannot be reached, closes the connection or refuses the session.
    pub fn open(address: SocketAddr, timeout_ms: i32) -> Result<Session> {
        let mut session = Session::dial(address, timeout_ms)?;
        session.finish_handshake(address)?;
        Ok(session)
    }

    /// Opens `count` sessions, many handshakes at a time, with the servers of `addresses` in turns.
    ///
    /// # Errors
    /// When any of them fails; the others are closed.
    pub fn open_many(
        addresses: &[SocketAddr],
        count: usize,
        timeout_ms: i32,
    ) -> Result<Vec<Session>> {
        let address_of = |number: usize| addresses[number % addresses.len()];
        let mut sessions = Vec::with_capacity(count);
        while sessions.len() < count {
            let start = sessions.len();
            for number in start..count.min(start + HANDSHAKES) {
                sessions.push(Session::dial(address_of(number), timeout_ms)?);
            }
            for (offset, session) in sessions[start..].iter_mut().enumerate() {
                session.finish_handshake(address_of(start + offset)).with_context(|| {
                    format!("only {start} of {count} sessions were granted (maxClientCnxns?)")
                })?;
            }
        }
        Ok(sessions)
    }

    /// Connects and sends the handshake without waiting for its answer.
    fn dial(address: SocketAddr, timeout_ms: i32) -> Result<Session> {
        let stream = TcpStream::connect(address)
            .with_context(|| format!("cannot connect to {address}: is a server listening?"))?;
        Session::greet(stream, timeout_ms)
    }

    fn greet(mut stream: TcpStream, timeout_ms: i32) -> Result<Session> {
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(&connect_frame(timeout_ms))?;
        let ticket = Ticket::NEW;
        Ok(Session { stream, timeout_ms, ticket, next_xid: 1, received: Vec::new() })
    }

    /// Connects with the session of `ticket`, or a new one; the server has `patience` for it, and
    /// two thirds of the session timeout for every answer after that, as clients usually grant.
    ///
    /// # Errors
    /// When the server cannot be reached, closes the connection or lets the time pass.
    pub fn resume(
        address: SocketAddr,
        timeout_ms: i32,
        ticket: Ticket,
        patience: Duration,
    ) -> Result<Resumed> {
        let mut stream = TcpStream::connect_timeout(&address, patience)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(patience))?;
        stream.write_all(&frame_of(timeout_ms, &ticket))?;
        let mut session = Session { stream, timeout_ms, ticket, next_xid: 1, received: Vec::new() };
        if session.granted(address)? == SessionId::NONE {
            return Ok(Resumed::Expired);
        }
        let patience = Duration::from_millis(session.timeout_ms.max(3) as u64 * 2 / 3);
        session.stream.set_read_timeout(Some(patience))?;
        Ok(Resumed::Granted(session))
    }

    /// What it takes to go on elsewhere.
    pub fn ticket(&self) -> Ticket {
        self.ticket.clone()
    }

    /// Begins a handshake whose answer may never come; see [`Session::poll_handshake`].
    ///
    /// # Errors
    /// When nobody listens there.
    pub fn begin(address: SocketAddr, timeout_ms: i32) -> Result<Session> {
        let stream = TcpStream::connect_timeout(&address, CONNECT_LOCAL)?;
        let session = Session::greet(stream, timeout_ms)?;
        session.stream.set_nonblocking(true)?;
        Ok(session)
    }

    /// Whether the session of [`Session::begin`] has been granted by now; then it can be used.
    ///
    /// # Errors
    /// When it was refused or the connection closed.
    pub fn poll_handshake(&mut self, address: SocketAddr) -> Result<bool> {
        let mut byte = [0; 1];
        match self.stream.peek(&mut byte) {
            Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(false),
            peeked => peeked?,
        };
        self.stream.set_nonblocking(false)?;
        self.finish_handshake(address)?;
        Ok(true)
    }

    fn finish_handshake(&mut self, address: SocketAddr) -> Result<()> {
        let session = self.granted(address)?;
        ensure!(session != SessionId::NONE, "{address} refused the session");
        Ok(())
    }

    /// Reads the answer to the handshake.
    fn granted(&mut self, address: SocketAddr) -> Result<SessionId> {
        let frame = self.frame().with_context(|| format!("no session from {address}"))?;
        let response = ConnectResponse::decode(&mut Reader::new(&frame))?;
        self.timeout_ms = response.timeout_ms;
        self.ticket.session = response.session;
        self.ticket.password = response.password;
        Ok(response.session)
    }

    /// The timeout that the server granted.
    pub fn timeout_ms(&self) -> i32 {
        self.timeout_ms
    }

    /// The socket, for the event loop; no answer may be outstanding.
    pub fn into_stream(self) -> TcpStream {
        self.stream
    }

    /// Sends one request and waits for its answer; watch events in between are dropped.
    ///
    /// # Errors
    /// When the connection breaks or the answer belongs to another request.
    pub fn call(&mut self, request: &Request<'_>) -> Result<Answer> {
        let mut body = Vec::new();
        request.encode(&mut body);
        self.call_raw(request.op(), &body)
    }

    /// [`Session::call`] with a body that is encoded already.
    ///
    /// # Errors
    /// As [`Session::call`].
    pub fn call_raw(&mut self, op: OpCode, body: &[u8]) -> Result<Answer> {
        let sent = self.next_xid;
        self.next_xid += 1;
        let mut out = Vec::with_capacity(body.len() + 12);
        let start = begin_frame(&mut out);
        RequestHeader { xid: sent, op }.encode(&mut out);
        out.extend_from_slice(body);
        end_frame(&mut out, start);
        self.stream.write_all(&out)?;
        loop {
            let frame = self.frame()?;
            let mut reader = Reader::new(&frame);
            let header = ReplyHeader::decode(&mut reader)?;
            if header.xid == xid::NOTIFICATION || header.xid == xid::PING {
                continue;
            }
            ensure!(header.xid == sent, "reply to xid {} came for {sent}", header.xid);
            self.ticket.last_zxid = self.ticket.last_zxid.max(header.zxid);
            return Ok(Answer { err: header.err, body: reader.rest().to_vec() });
        }
    }

    /// Creates a persistent znode that anyone may use.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn create(&mut self, path: &str, data: &[u8]) -> Result<()> {
        let answer = self.call(&Request::Create(create_request(path, data)))?;
        ensure!(answer.err.is_ok(), "cannot create {path}: {:?}", answer.err);
        Ok(())
    }

    /// Names of the children of `path`; `None` if there is no such znode.
    ///
    /// # Errors
    /// When the server refuses.
    pub fn children(&mut self, path: &str) -> Result<Option<Vec<String>>> {
        let read = PathWatch { path: path.into(), watch: false };
        let answer = self.call(&Request::GetChildren(read))?;
        match answer.err {
            ErrorCode::NO_NODE => Ok(None),
            err if err.is_ok() => {
                let mut reader = Reader::with_field_max(&answer.body, usize::MAX);
                let names = StringList::decode(&mut reader)?;
                Ok(Some(names.iter().map(|name| name.into_owned()).collect()))
            }
            err => bail!("cannot list {path}: {err:?}"),
        }
    }

    /// Deletes a znode, whatever its version.
    ///
    /// # Errors
    /// When the connection breaks; a refusal is the returned code.
    pub fn delete(&mut self, path: &str) -> Result<ErrorCode> {
        let delete = PathVersion { path: path.into(), version: -1 };
        Ok(self.call(&Request::Delete(delete))?.err)
    }

    /// Waits until the server has what others have committed before.
    ///
    /// # Errors
    /// When the connection breaks or the server refuses.
    pub fn sync(&mut self) -> Result<()> {
        let answer = self.call(&Request::Sync(Some("/".into())))?;
        ensure!(answer.err.is_ok(), "cannot sync: {:?}", answer.err);
        Ok(())
    }

    /// The next frame, whole.
    fn frame(&mut self) -> Result<Vec<u8>> {
        let mut chunk = [0; 16 << 10];
        loop {
            if let Some((frame, rest)) = split_frame(&self.received, FRAME_BYTES_CEILING)? {
                let frame = frame.to_vec();
                let used = self.received.len() - rest.len();
                self.received.drain(..used);
                return Ok(frame);
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => bail!("the server closed the connection"),
                Ok(len) => self.received.extend_from_slice(&chunk[..len]),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    bail!("no answer in time")
                }
                Err(e) => return Err(e).context("reading from the server"),
            }
        }
    }

    /// Ends the session and waits until the server has closed the connection.
    ///
    /// # Errors
    /// When the connection breaks before.
    pub fn close(self) -> Result<()> {
        close_all(vec![self.stream])
    }
}

/// Ends the sessions of `streams` together: the requests go out first, then all are read until the
/// server has closed them, so that nothing of ours is left when the next measurement starts.
///
/// # Errors
/// When a server does not answer.
pub fn close_all(mut streams: Vec<TcpStream>) -> Result<()> {
    for stream in &mut streams {
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(ANSWER_TIMEOUT))?;
        stream.write_all(&close_frame()).context("closing a session")?;
    }
    let mut sink = vec![0; 64 << 10];
    for stream in &mut streams {
        loop {
            match stream.read(&mut sink) {
                Ok(0) => break,
                Ok(_) => {}
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) if e.kind() == ErrorKind::ConnectionReset => break,
                Err(e) => return Err(e).context("a session was not closed by the server"),
            }
        }
        let _ = stream.shutdown(Shutdown::Both);
    }
    Ok(())
}

/// A ConnectRequest for a new session, framed.
pub fn connect_frame(timeout_ms: i32) -> Vec<u8> {
    frame_of(timeout_ms, &Ticket::NEW)
}

fn frame_of(timeout_ms: i32, ticket: &Ticket) -> Vec<u8> {
    let mut out = Vec::with_capacity(49);
    let start = begin_frame(&mut out);
    ConnectRequest {
        protocol_version: 0,
        last_zxid_seen: ticket.last_zxid,
        timeout_ms,
        session: ticket.session,
        password: Some(&ticket.password),
        read_only: Some(false),
    }
    .encode(&mut out);
    end_frame(&mut out, start);
    out
}

/// A closeSession, framed.
pub fn close_frame() -> Vec<u8> {
    let mut out = Vec::with_capacity(12);
    let start = begin_frame(&mut out);
    RequestHeader { xid: i32::MAX, op: OpCode::CLOSE_SESSION }.encode(&mut out);
    end_frame(&mut out, start);
    out
}

/// A persistent znode that anyone may use.
pub fn create_request<'a>(path: &'a str, data: &'a [u8]) -> CreateRequest<'a> {
    CreateRequest {
        op: OpCode::CREATE,
        path: path.into(),
        data: Some(data),
        acl: OPEN_ACL_UNSAFE,
        flags: CreateMode::Persistent.flags(),
        ttl_ms: -1,
    }
}

/// Asks a server one of its four-letter words; empty when it does not allow it.
///
/// # Errors
/// When it cannot be reached.
pub fn admin_word(address: SocketAddr, word: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(Duration::from_secs(5)))?;
    stream.write_all(word.as_bytes())?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text)?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}
