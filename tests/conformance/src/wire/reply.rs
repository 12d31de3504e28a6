//! What a server answers, as JSON.
//!
//! The names are those of the golden captures: `xid`, `zxid`, `err`, `op`, and the fields of the
//! reply's record. Buffers are strings when they are printable ASCII, `{"hex": …}` otherwise, and
//! `null` is null. A body that does not parse, or has bytes left over, is shown as what it is: the
//! comparison must see it, not die of it.

use serde_json::{Map, Value, json};

use super::{op, op_name, xid};

/// A reply's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "the fields are the protocol's")]
pub struct Header {
    pub xid: i32,
    pub zxid: i64,
    pub err: i32,
}

impl Header {
    /// Reads the first sixteen bytes of a frame's content; `None` when it is shorter.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let mut input = Input(frame);
        Some(Self { xid: input.int()?, zxid: input.long()?, err: input.int()? })
    }
}

/// A frame's content, length excluded, as the answer to a request with operation `op`.
pub fn parse(frame: &[u8], op: i32) -> Value {
    let Some(header) = Header::parse(frame) else { return json!({ "headless": hex(frame) }) };
    let body = &frame[16..];
    let mut reply = Map::new();
    reply.insert("xid".into(), header.xid.into());
    reply.insert("zxid".into(), header.zxid.into());
    reply.insert("err".into(), header.err.into());
    let fields = if header.xid == xid::NOTIFICATION {
        reply.insert("op".into(), "event".into());
        whole(body, event)
    } else {
        reply.insert("op".into(), op_name(op).into());
        // A failed sasl request is the one error with a body.
        if header.err == 0 || (op == op::SASL && !body.is_empty()) {
            whole(body, |input| body_of(input, op))
        } else {
            whole(body, |_| Some(Map::new()))
        }
    };
    match fields {
        Some(fields) => reply.extend(fields),
        None => drop(reply.insert("undecodable".into(), hex(body))),
    }
    Value::Object(reply)
}

/// The answer to a handshake.
pub fn parse_connect(frame: &[u8]) -> Value {
    let fields = |input: &mut Input<'_>| {
        let mut fields = Map::new();
        fields.insert("protocolVersion".into(), input.int()?.into());
        fields.insert("timeOut".into(), input.int()?.into());
        fields.insert("sessionId".into(), input.long()?.into());
        fields.insert("passwd".into(), input.blob()?);
        if !input.0.is_empty() {
            fields.insert("readOnly".into(), input.bool()?.into());
        }
        Some(fields)
    };
    let mut reply = whole(frame, fields).unwrap_or_else(|| {
        let mut reply = Map::new();
        reply.insert("undecodable".into(), hex(frame));
        reply
    });
    reply.insert("op".into(), "connect".into());
    Value::Object(reply)
}

fn whole<'a>(
    body: &'a [u8],
    parse: impl FnOnce(&mut Input<'a>) -> Option<Map<String, Value>>,
) -> Option<Map<String, Value>> {
    let mut input = Input(body);
    parse(&mut input).filter(|_| input.0.is_empty())
}

fn event(input: &mut Input<'_>) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    fields.insert("type".into(), input.int()?.into());
    fields.insert("state".into(), input.int()?.into());
    fields.insert("path".into(), input.text()?);
    Some(fields)
}

fn body_of(input: &mut Input<'_>, op: i32) -> Option<Map<String, Value>> {
    let mut fields = Map::new();
    match op {
        op::CREATE | op::SYNC => drop(fields.insert("path".into(), input.text()?)),
        op::CREATE2 | op::CREATE_CONTAINER | op::CREATE_TTL => {
            fields.insert("path".into(), input.text()?);
            fields.insert("stat".into(), input.stat()?);
        }
        op::EXISTS | op::SET_DATA | op::SET_ACL => {
            drop(fields.insert("stat".into(), input.stat()?))
        }
        op::GET_DATA | op::RECONFIG => {
            fields.insert("data".into(), input.blob()?);
            fields.insert("stat".into(), input.stat()?);
        }
        op::GET_ACL => {
            fields.insert("acl".into(), input.list(Input::acl)?);
            fields.insert("stat".into(), input.stat()?);
        }
        op::GET_CHILDREN => drop(fields.insert("children".into(), input.list(Input::text)?)),
        op::GET_CHILDREN2 => {
            fields.insert("children".into(), input.list(Input::text)?);
            fields.insert("stat".into(), input.stat()?);
        }
        op::MULTI | op::MULTI_READ => drop(fields.insert("results".into(), results(input)?)),
        op::SASL => drop(fields.insert("token".into(), input.blob()?)),
        op::GET_EPHEMERALS => drop(fields.insert("ephemerals".into(), input.list(Input::text)?)),
        op::GET_ALL_CHILDREN_NUMBER => {
            drop(fields.insert("totalNumber".into(), input.int()?.into()))
        }
        op::ADD_WATCH => drop(fields.insert("watchErr".into(), input.int()?.into())),
        op::WHO_AM_I => drop(fields.insert("clientInfo".into(), input.list(Input::client_info)?)),
        _ => {}
    }
    Some(fields)
}

fn results(input: &mut Input<'_>) -> Option<Value> {
    let mut results = Vec::new();
    loop {
        let (op, done, err) = (input.int()?, input.bool()?, input.int()?);
        if done {
            // The end mark is always (-1, true, -1); anything else is left over and seen.
            return ((op, err) == (-1, -1)).then_some(Value::Array(results));
        }
        let mut result = if op == -1 {
            let mut fields = Map::new();
            fields.insert("errorResult".into(), input.int()?.into());
            fields
        } else {
            body_of(input, op)?
        };
        result.insert("op".into(), if op == -1 { "error".into() } else { op_name(op).into() });
        result.insert("err".into(), err.into());
        results.push(Value::Object(result));
    }
}

/// A buffer as the captures show it.
pub fn blob(bytes: &[u8]) -> Value {
    let printable = |byte: &u8| (0x20..0x7f).contains(byte);
    match std::str::from_utf8(bytes) {
        Ok(text) if bytes.iter().all(printable) => text.into(),
        _ => hex(bytes),
    }
}

fn hex(bytes: &[u8]) -> Value {
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    json!({ "hex": digits })
}

/// jute's primitives, read.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn int(&mut self) -> Option<i32> {
        Some(i32::from_be_bytes(self.take(4)?.try_into().ok()?))
    }

    fn long(&mut self) -> Option<i64> {
        Some(i64::from_be_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bool(&mut self) -> Option<bool> {
        match self.take(1)? {
            [0] => Some(false),
            [1] => Some(true),
            _ => None,
        }
    }

    fn bytes(&mut self) -> Option<Option<&'a [u8]>> {
        match self.int()? {
            -1 => Some(None),
            length => Some(Some(self.take(usize::try_from(length).ok()?)?)),
        }
    }

    fn blob(&mut self) -> Option<Value> {
        Some(self.bytes()?.map_or(Value::Null, blob))
    }

    fn text(&mut self) -> Option<Value> {
        Some(match self.bytes()? {
            None => Value::Null,
            Some(bytes) => std::str::from_utf8(bytes).map_or_else(|_| hex(bytes), Value::from),
        })
    }

    fn list(&mut self, item: impl Fn(&mut Self) -> Option<Value>) -> Option<Value> {
        let count = self.int()?;
        if count == -1 {
            return Some(Value::Null);
        }
        (0..usize::try_from(count).ok()?)
            .map(|_| item(self))
            .collect::<Option<_>>()
            .map(Value::Array)
    }

    fn acl(&mut self) -> Option<Value> {
        Some(json!({ "perms": self.int()?, "scheme": self.text()?, "id": self.text()? }))
    }

    fn client_info(&mut self) -> Option<Value> {
        Some(json!({ "authScheme": self.text()?, "user": self.text()? }))
    }

    fn stat(&mut self) -> Option<Value> {
        Some(json!({
            "czxid": self.long()?, "mzxid": self.long()?,
            "ctime": self.long()?, "mtime": self.long()?,
            "version": self.int()?, "cversion": self.int()?, "aversion": self.int()?,
            "ephemeralOwner": self.long()?,
            "dataLength": self.int()?, "numChildren": self.int()?, "pzxid": self.long()?,
        }))
    }
}
