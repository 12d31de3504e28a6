//! A plain client: one session, requests in, answers out. What it is told it returns, so that
//! checks say themselves what they expect.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::wire::{Blob, ConnectRequest, Connection, Received, Request, op, reply, xid};

/// Requests sent before their answers are read: far below any server's limit.
const WINDOW: usize = 200;

/// A connection with a session of its own.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    next_xid: i32,
    /// The session's id.
    pub session: i64,
    /// The timeout that the server granted.
    pub timeout_ms: i32,
    password: Vec<u8>,
}

/// What a session is known by: its id and its password.
pub type Identity = (i64, Vec<u8>);

impl Client {
    /// Begins a session.
    ///
    /// # Errors
    /// When the server does not give one.
    pub fn connect(addr: SocketAddr, timeout_ms: i32) -> Result<Self> {
        let begun = Self::greet(addr, &ConnectRequest::new(timeout_ms))?;
        begun.context("the server refused a session")
    }

    /// Goes on with a session; none if the server says that there is no such session.
    ///
    /// # Errors
    /// When it says nothing.
    pub fn resume(addr: SocketAddr, timeout_ms: i32, known: &Identity) -> Result<Option<Self>> {
        let mut first = ConnectRequest::new(timeout_ms);
        first.session = known.0;
        first.password = Blob(Some(known.1.clone()));
        Self::greet(addr, &first)
    }

    /// Sends this as the first frame; none if the server says that there is no such session.
    ///
    /// # Errors
    /// When it says nothing.
    pub fn greet(addr: SocketAddr, first: &ConnectRequest) -> Result<Option<Self>> {
        let mut connection =
            Connection::open(addr).with_context(|| format!("connecting to {addr}"))?;
        connection.send(&first.frame());
        let Received::Frame(frame) = connection.receive()? else { bail!("no handshake") };
        let greeting = reply::parse_connect(&frame);
        let session = greeting["sessionId"].as_i64().context("no session")?;
        let timeout = greeting["timeOut"].as_i64().context("no timeout")?;
        // version, timeout and id, then the password with its length.
        let password = frame.get(20..36).context("no password")?.to_vec();
        let timeout_ms = i32::try_from(timeout)?;
        let client = Self { connection, next_xid: 1, session, timeout_ms, password };
        Ok((session != 0).then_some(client))
    }

    /// What the session is known by.
    pub fn identity(&self) -> Identity {
        (self.session, self.password.clone())
    }

    /// Begins a session and logs in as the superuser of the test configuration.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub fn superuser(addr: SocketAddr, timeout_ms: i32) -> Result<Self> {
        let mut client = Self::connect(addr, timeout_ms)?;
        client.login("super:secret")?;
        Ok(client)
    }

    /// Adds a digest identity.
    ///
    /// # Errors
    /// When the server refuses it.
    pub fn login(&mut self, user_and_password: &str) -> Result<()> {
        let auth = Blob::text(user_and_password);
        let answer = self.ask(Request::Auth { scheme: Some("digest".into()), auth })?;
        ensure!(answer["err"] == 0, "the server refused the login: {answer}");
        Ok(())
    }

    /// One request and its answer.
    ///
    /// # Errors
    /// When the server closes, hangs or answers something else.
    pub fn ask(&mut self, request: Request) -> Result<Value> {
        self.ask_all(&[request])?.pop().context("no answer")
    }

    /// Many requests, and their answers in order. Events are dropped.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn ask_all(&mut self, requests: &[Request]) -> Result<Vec<Value>> {
        let mut answers = Vec::with_capacity(requests.len());
        for some in requests.chunks(WINDOW) {
            let mut bytes = Vec::new();
            let mut asked = Vec::new();
            for request in some {
                let xid = request.xid(self.next_xid);
                self.next_xid += i32::from(xid == self.next_xid);
                bytes.extend(request.frame(xid, 0));
                asked.push((xid, request.op()));
            }
            self.connection.send(&bytes);
            for (xid, op) in asked {
                answers.push(self.answer(xid, op)?);
            }
        }
        Ok(answers)
    }

    /// Ends the session.
    ///
    /// # Errors
    /// As [`ask`](Self::ask).
    pub fn close(mut self) -> Result<()> {
        let answer = self.ask(Request::Bare { op: op::CLOSE_SESSION })?;
        ensure!(answer["err"] == 0, "closing failed: {answer}");
        Ok(())
    }

    fn answer(&mut self, asked: i32, op: i32) -> Result<Value> {
        loop {
            let Received::Frame(frame) = self.connection.receive()? else {
                bail!("no answer to request {asked} ({})", crate::wire::op_name(op));
            };
            match reply::Header::parse(&frame).map(|header| header.xid) {
                Some(xid::NOTIFICATION) => {}
                Some(xid) if xid == asked => return Ok(reply::parse(&frame, op)),
                other => bail!("an answer to {other:?} where {asked} was asked"),
            }
        }
    }
}
