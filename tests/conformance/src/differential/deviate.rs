//! The documented differences that a client can provoke.
//!
//! Each is provoked with bytes that both servers get. What Java does is held against what
//! `docs/deviations.md` says of Java, what ours does against what it says of ours; then each side
//! is brought back to a state equal to the other's by requests that only it needs.

use anyhow::{Result, bail, ensure};
use serde_json::{Value, json};

use super::client::{Client, Greeting, greet};
use super::side::{LONG_TIMEOUT_MS, Seen, Side};
use super::step::Deviation;
use crate::wire::request::password_of;
use crate::wire::{Acl, Blob, ConnectRequest, Request, op};

/// Where it happens; nothing else of a run is there.
const PLACE: &str = "/deviation";
const BAD_ARGUMENTS: i64 = -8;
const UNIMPLEMENTED: i64 = -6;

/// Whether a line is an event about [`PLACE`], which only one of the sides may have.
pub fn is_own_event(line: &Value) -> bool {
    line["op"] == "event" && line["path"].as_str().is_some_and(|path| path.starts_with(PLACE))
}

impl Side {
    /// Provokes one; what is seen is the same on both sides when each does as documented.
    pub(super) fn deviate(&mut self, deviation: Deviation) -> Result<Seen> {
        let found = match deviation {
            Deviation::CreateFlags { op, flags, multi } => self.create_flags(op, flags, multi)?,
            Deviation::DeleteContainer => self.delete_container()?,
            Deviation::CreateSession => self.create_session()?,
        };
        Ok(vec![json!({ "as documented": found.is_none(), "instead": found })])
    }

    /// D02. Java makes the node; ours makes none. Both have then used one zxid.
    fn create_flags(&mut self, op: i32, flags: i32, multi: bool) -> Result<Option<Value>> {
        let path = format!("{PLACE}/node");
        self.expect(create(op::CREATE, PLACE, 0), 0)?;
        let mut request = create(op, &path, flags);
        if multi {
            request = Request::Multi { op: op::MULTI, parts: vec![request] };
        }
        let reply = self.ask(request)?;
        let err = if multi { &reply["results"][0]["err"] } else { &reply["err"] };
        let expected = if self.is_java() { 0 } else { BAD_ARGUMENTS };
        let found = (*err != expected).then_some(reply.clone());
        // One zxid each: on Java's side it succeeds, on ours there is nothing to delete.
        self.ask(delete(&path))?;
        self.expect(delete(PLACE), 0)?;
        Ok(found)
    }

    /// D03. Java deletes; ours refuses and closes, so we delete by another connection.
    fn delete_container(&mut self) -> Result<Option<Value>> {
        self.expect(create(op::CREATE_CONTAINER, PLACE, 4), 0)?;
        let (id, mut client) = self.greet_new()?;
        client.send(
            &[Request::Path { op: op::DELETE_CONTAINER, path: Some(PLACE.into()) }],
            None,
            0,
        );
        let lines = client.settle(&mut self.zxid)?;
        let answered = if self.is_java() {
            lines.len() == 1 && lines[0]["err"] == 0
        } else {
            refused_and_closed(&lines)
        };
        if !self.is_java() {
            self.expect(delete(PLACE), 0)?;
        }
        self.end(id, self.is_java().then_some(client))?;
        Ok((!answered).then(|| lines.into()))
    }

    /// D04. Java answers with a handshake and uses one zxid; ours refuses and closes.
    fn create_session(&mut self) -> Result<Option<Value>> {
        let (id, mut client) = self.greet_new()?;
        let timeout = Blob(Some(LONG_TIMEOUT_MS.to_be_bytes().to_vec()));
        client.send(&[Request::Raw { op: op::CREATE_SESSION, body: timeout }], None, 0);
        let found = if self.is_java() {
            let reply = client.second_handshake()?;
            (reply["sessionId"] != id).then_some(reply)
        } else {
            let lines = client.settle(&mut self.zxid)?;
            let refused = refused_and_closed(&lines);
            self.ask(delete(PLACE))?;
            (!refused).then(|| lines.into())
        };
        self.end(id, self.is_java().then_some(client))?;
        Ok(found)
    }

    fn greet_new(&mut self) -> Result<(i64, Client)> {
        match greet(self.server.addr(), &ConnectRequest::new(LONG_TIMEOUT_MS).frame())? {
            Greeting::Answered(reply, client) => {
                let id = reply["sessionId"].as_i64().unwrap_or(0);
                ensure!(id != 0, "no new session: {reply}");
                Ok((id, client))
            }
            Greeting::Closed => bail!("no new session"),
        }
    }

    /// Ends a session by its connection, or by a new one if it has none left.
    fn end(&mut self, id: i64, client: Option<Client>) -> Result<()> {
        let mut client = match client {
            Some(client) => client,
            None => {
                let request = ConnectRequest {
                    session: id,
                    password: Blob(Some(password_of(id))),
                    ..ConnectRequest::new(LONG_TIMEOUT_MS)
                };
                match greet(self.server.addr(), &request.frame())? {
                    Greeting::Answered(_, client) => client,
                    Greeting::Closed => bail!("a session cannot be taken up after a refusal"),
                }
            }
        };
        client.send(&[Request::Bare { op: op::CLOSE_SESSION }], None, 0);
        for line in client.until_closed()? {
            self.zxid = self.zxid.max(line["zxid"].as_i64().unwrap_or(0));
        }
        Ok(())
    }

    fn expect(&mut self, request: Request, err: i64) -> Result<()> {
        let reply = self.ask(request.clone())?;
        ensure!(reply["err"] == err, "{request:?}: {reply}");
        Ok(())
    }
}

fn refused_and_closed(lines: &[Value]) -> bool {
    matches!(lines, [refusal, closed]
        if refusal["err"] == UNIMPLEMENTED && refusal["zxid"] == -1 && closed["op"] == "closed")
}

fn create(op: i32, path: &str, flags: i32) -> Request {
    let path = Some(path.to_owned());
    Request::Create { op, path, data: Blob(None), acl: Acl::open(), flags, ttl: None }
}

fn delete(path: &str) -> Request {
    Request::PathInt { op: op::DELETE, path: Some(path.to_owned()), number: -1 }
}
