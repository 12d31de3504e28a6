//! A connection with a session on it, as one side of the run sees it.
//!
//! It remembers what it has asked, because a reply does not say which operation it answers, and it
//! can *fence*: send a ping and read up to its answer, behind which nothing can be left that the
//! server had to say before.

use std::collections::VecDeque;
use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::wire::{Connection, Received, Request, op, reply, xid};

/// One connection after its handshake.
#[derive(Debug)]
pub struct Client {
    connection: Connection,
    waiting: VecDeque<(i32, i32)>,
    next_xid: i32,
}

/// What a handshake led to.
#[derive(Debug)]
pub enum Greeting {
    /// An answer, and the connection it came on.
    Answered(Value, Client),
    /// Closed without an answer.
    Closed,
}

/// Connects and sends `first`, the frame of a handshake.
///
/// # Errors
/// When the server cannot be reached, or neither answers nor closes.
pub fn greet(addr: SocketAddr, first: &[u8]) -> Result<Greeting> {
    let mut connection = Connection::open(addr).with_context(|| format!("connecting to {addr}"))?;
    connection.send(first);
    match connection.receive()? {
        Received::Frame(frame) => {
            let client = Client { connection, waiting: VecDeque::new(), next_xid: 1 };
            Ok(Greeting::Answered(reply::parse_connect(&frame), client))
        }
        Received::Closed => Ok(Greeting::Closed),
        Received::Nothing => bail!("{addr} does not answer a handshake"),
    }
}

impl Client {
    /// Sends requests in one piece, or in two with the cut after `cut` bytes.
    pub fn send(&mut self, requests: &[Request], cut: Option<usize>, zxid: i64) {
        let mut bytes = Vec::new();
        for request in requests {
            let xid = request.xid(self.next_xid);
            self.next_xid += i32::from(xid == self.next_xid);
            self.waiting.push_back((xid, request.op()));
            bytes.extend(request.frame(xid, zxid));
        }
        let (first, second) = bytes.split_at(cut.unwrap_or(bytes.len()).min(bytes.len()));
        self.connection.send(first);
        if !second.is_empty() {
            self.connection.send(second);
        }
    }

    /// Sends bytes that are no request.
    pub fn send_bytes(&mut self, bytes: &[u8]) {
        self.connection.send(bytes);
    }

    /// Reads until everything asked has been answered or the server has closed, then fences unless
    /// it has. Returns what came, in order; the last is `closed` if the server closed.
    ///
    /// # Errors
    /// When the server does neither.
    pub fn settle(&mut self, zxid: &mut i64) -> Result<Vec<Value>> {
        let mut lines = Vec::new();
        let answered = self.read_answers(&mut lines)?;
        *zxid = lines.iter().filter_map(|line| line["zxid"].as_i64()).fold(*zxid, i64::max);
        if answered && self.fence(&mut lines, zxid)? {
            return Ok(lines);
        }
        for (xid, op) in self.waiting.drain(..) {
            if xid != xid::PING || op != op::PING {
                lines.push(
                    json!({ "xid": xid, "op": crate::wire::op_name(op), "unanswered": true }),
                );
            }
        }
        lines.push(json!({ "op": "closed" }));
        Ok(lines)
    }

    /// Reads what is left before the server closes.
    ///
    /// # Errors
    /// When it does not close.
    pub fn until_closed(&mut self) -> Result<Vec<Value>> {
        let mut lines = Vec::new();
        while let Some(line) = self.read_one()? {
            lines.push(line);
        }
        lines.push(json!({ "op": "closed" }));
        Ok(lines)
    }

    /// Closes the connection from here, and waits until the server has closed it too. Java forgets
    /// which connection a session has when it notices that an older one is gone; a renewal that
    /// overtakes the notice would make the next one differ.
    ///
    /// # Errors
    /// When the server does not close.
    pub fn hang_up(mut self) -> Result<()> {
        self.connection.finish();
        self.until_closed().map(drop)
    }

    /// The answer to a createSession sent by a client (D04): a handshake where a reply should be.
    ///
    /// # Errors
    /// When there is none.
    pub fn second_handshake(&mut self) -> Result<Value> {
        self.waiting.clear();
        match self.connection.receive()? {
            Received::Frame(frame) => Ok(reply::parse_connect(&frame)),
            other => bail!("{other:?} instead of a second handshake"),
        }
    }

    fn read_answers(&mut self, lines: &mut Vec<Value>) -> Result<bool> {
        while !self.waiting.is_empty() {
            match self.read_one()? {
                Some(line) => lines.push(line),
                None => return Ok(false),
            }
        }
        Ok(true)
    }

    fn fence(&mut self, lines: &mut Vec<Value>, zxid: &mut i64) -> Result<bool> {
        self.send_fence();
        self.read_fence(lines, zxid)
    }

    /// The first half of a fence, to be followed by [`read_fence`](Self::read_fence): with many
    /// connections, all are asked before the first is read.
    pub fn send_fence(&mut self) {
        self.send(&[Request::Bare { op: op::PING }], None, 0);
    }

    /// Reads up to the answer of the fence; false if the server has closed. The fence itself shows
    /// only when its zxid is not the newest one known: no reply may lag behind another.
    ///
    /// # Errors
    /// When the server neither answers nor closes.
    pub fn read_fence(&mut self, lines: &mut Vec<Value>, zxid: &mut i64) -> Result<bool> {
        let mut newest = *zxid;
        while let Some(line) = self.read_one()? {
            let at = line["zxid"].as_i64().unwrap_or(0);
            if line["op"] == "ping" && self.waiting.is_empty() {
                if at != newest || line["err"] != 0 {
                    lines.push(line);
                }
                *zxid = newest.max(at);
                return Ok(true);
            }
            newest = newest.max(at);
            lines.push(line);
        }
        self.waiting.clear();
        Ok(false)
    }

    /// The next frame, understood; `None` when the server has closed.
    fn read_one(&mut self) -> Result<Option<Value>> {
        match self.connection.receive()? {
            Received::Frame(frame) => Ok(Some(self.understand(&frame))),
            Received::Closed => Ok(None),
            Received::Nothing => bail!("no answer, with {:?} waiting", self.waiting),
        }
    }

    fn understand(&mut self, frame: &[u8]) -> Value {
        let xid = reply::Header::parse(frame).map_or(0, |header| header.xid);
        if xid == xid::NOTIFICATION {
            return reply::parse(frame, op::NOTIFICATION);
        }
        // Answers of the connection layer (auth, sasl) may overtake others; nothing else may, and
        // whatever is overtaken shows as an order that differs.
        match self.waiting.iter().position(|(waiting, _)| *waiting == xid) {
            Some(at) => {
                let (_, op) = self.waiting.remove(at).unwrap_or_default();
                reply::parse(frame, op)
            }
            None => json!({ "unasked": reply::parse(frame, op::NOTIFICATION) }),
        }
    }
}
