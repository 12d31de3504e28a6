//! Client sessions recorded from ZooKeeper: the same requests, the same answers.
//!
//! The connections of one server are merged by the zxid in their replies, and every request is
//! prepared and applied at the zxid Java gave it. Codes and bodies must be the recorded ones; only
//! times differ, which are blanked. Reads are answered from the tree, enough to see every stat.

use oxkeeper_proto::codec::Put;
use oxkeeper_proto::connect::ConnectResponse;
use oxkeeper_proto::request::{MultiHeader, RequestHeader};
use oxkeeper_proto::response::{ReplyHeader, xid};
use oxkeeper_proto::{
    Class, ErrorCode, OpCode, Payload, Reader, Request, SessionId, Stat, Zxid, perms,
};
use oxkeeper_tree::prep::{PrepContext, Prepared, Rules};
use oxkeeper_tree::{AuthId, Changes, NodeRef, acl_rules};

use crate::world::{World, extended};

type Frame = &'static [u8];

type Identities = &'static [(&'static str, &'static str)];

/// What the recorded clients proved.
const IDENTITIES: [(&[u8], Identities); 3] = [
    (b"bob:pw", &[("digest", "bob:ikIaKsbtGweaHnb/jKn7OHqbunM=")]),
    (b"second:id", &[("digest", "second:NdaBr6pAdd3NE54xvKwXrBBV7qE=")]),
    (b"super:secret", &[("super", ""), ("digest", "super:lK75jTNcA+U9vtVEw5vB51mj/w4=")]),
];

macro_rules! capture {
    ($name:literal) => {
        (
            $name,
            include_bytes!(concat!(
                "../../../../tests/conformance/golden/client/3.9.5/",
                $name,
                ".c-s.bin"
            )) as Frame,
            include_bytes!(concat!(
                "../../../../tests/conformance/golden/client/3.9.5/",
                $name,
                ".s-c.bin"
            )) as Frame,
        )
    };
}

/// One request with its reply, placed.
struct Exchange {
    capture: &'static str,
    connection: usize,
    session: SessionId,
    header: RequestHeader,
    body: Frame,
    reply: ReplyHeader,
    reply_body: Frame,
    /// Where it stands: the zxid it left the server at.
    at: Zxid,
}

fn frames(mut bytes: Frame) -> Vec<Frame> {
    let mut out = Vec::new();
    while let Some((len, rest)) = bytes.split_first_chunk::<4>() {
        let (frame, rest) = rest.split_at(i32::from_be_bytes(*len) as usize);
        out.push(frame);
        bytes = rest;
    }
    out
}

fn exchanges(
    connection: usize,
    (capture, to_server, to_client): (&'static str, Frame, Frame),
) -> Vec<Exchange> {
    let (requests, replies) = (frames(to_server), frames(to_client));
    let session =
        ConnectResponse::decode(&mut Reader::new(replies[0])).expect("a handshake").session;
    let mut replies: Vec<_> = replies[1..]
        .iter()
        .map(|frame| {
            let mut reader = Reader::new(frame);
            (ReplyHeader::decode(&mut reader).unwrap(), reader.rest())
        })
        .filter(|(header, _)| header.xid != xid::NOTIFICATION)
        .collect();
    let mut at = Zxid::ZERO;
    let mut out = Vec::new();
    for frame in &requests[1..] {
        let mut reader = Reader::new(frame);
        let header = RequestHeader::decode(&mut reader).unwrap();
        let Some(index) = replies.iter().position(|(reply, _)| reply.xid == header.xid) else {
            continue; // behind a close nothing is answered
        };
        let (reply, reply_body) = replies.remove(index);
        at = at.max(reply.zxid);
        out.push(Exchange {
            capture,
            connection,
            session,
            header,
            body: reader.rest(),
            reply,
            reply_body,
            at,
        });
    }
    out
}

fn blank_times(stat: Stat) -> Stat {
    Stat { ctime_ms: 0, mtime_ms: 0, ..stat }
}

fn put_blank_stat(out: &mut Vec<u8>, stat: Stat) {
    blank_times(stat).encode(out);
}

/// A result with the times in its stat blanked.
fn blanked_result(op: OpCode, reader: &mut Reader<'_>, out: &mut Vec<u8>) {
    match op {
        OpCode::CREATE => out.put_string(&reader.string().unwrap()),
        OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
            out.put_string(&reader.string().unwrap());
            put_blank_stat(out, Stat::decode(reader).unwrap());
        }
        OpCode::SET_DATA | OpCode::SET_ACL | OpCode::EXISTS => {
            put_blank_stat(out, Stat::decode(reader).unwrap());
        }
        OpCode::GET_DATA => {
            out.put_buffer(reader.buffer().unwrap());
            put_blank_stat(out, Stat::decode(reader).unwrap());
        }
        OpCode::ERROR => out.put_int(reader.i32().unwrap()),
        OpCode::DELETE | OpCode::CHECK | OpCode::CLOSE_SESSION | OpCode::DELETE_CONTAINER => {}
        OpCode::MULTI => loop {
            let header = MultiHeader::decode(reader).unwrap();
            header.encode(out);
            if header.done {
                break;
            }
            blanked_result(header.op, reader, out);
        },
        OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => {
            let list = oxkeeper_proto::StringList::decode(reader).unwrap();
            let mut names: Vec<_> = list.iter().collect();
            names.sort();
            oxkeeper_proto::data::encode_strings(out, &names);
            if op == OpCode::GET_CHILDREN2 {
                put_blank_stat(out, Stat::decode(reader).unwrap());
            }
        }
        other => panic!("{other} has no result here"),
    }
}

fn blanked(op: OpCode, body: &[u8]) -> Vec<u8> {
    let mut reader = Reader::new(body);
    let mut out = Vec::new();
    blanked_result(op, &mut reader, &mut out);
    assert!(reader.is_empty(), "{op}: {} bytes left", reader.rest().len());
    out
}

struct Replay {
    world: World,
    /// Identities by connection.
    auth: Vec<Vec<AuthId>>,
    writes: usize,
    reads: usize,
}

impl Replay {
    fn step(&mut self, exchange: &Exchange) {
        let op = exchange.header.op;
        if exchange.reply.err == ErrorCode::SESSION_EXPIRED {
            return; // the session is judged before us
        }
        match op.class() {
            Class::Write => self.write(exchange),
            Class::Read => self.read(exchange),
            _ if op == OpCode::AUTH => self.authenticate(exchange),
            _ if op == OpCode::DELETE_CONTAINER => self.delete_container(exchange),
            _ => {}
        }
    }

    fn authenticate(&mut self, exchange: &Exchange) {
        let request = Request::decode(OpCode::AUTH, &mut Reader::new(exchange.body)).unwrap();
        let Some(Request::Auth(auth)) = request else { panic!("{request:?}") };
        for (proof, ids) in IDENTITIES {
            if auth.auth == Some(proof) {
                let ids = ids.iter().map(|(scheme, id)| AuthId::new(*scheme, *id));
                self.auth[exchange.connection].extend(ids);
            }
        }
    }

    fn propose(
        &mut self,
        exchange: &Exchange,
        prep: impl FnOnce(&mut World, &PrepContext<'_>, &mut Vec<u8>) -> Prepared,
    ) -> (Prepared, ErrorCode, Vec<u8>) {
        let ctx = PrepContext {
            session: exchange.session,
            cxid: exchange.header.xid,
            zxid: exchange.at,
            time_ms: exchange.at.0,
            auth: &self.auth[exchange.connection].clone(),
            ephemerals_refused: None,
        };
        let mut payload = Vec::new();
        let prepared = prep(&mut self.world, &ctx, &mut payload);
        let payload = Payload::decode(&payload).unwrap();
        let mut reply = Vec::new();
        let code = self.world.tree.apply(&payload, &mut Changes::new(), Some(&mut reply));
        if let Some(digest) = payload.digest {
            assert_eq!(digest.tree_digest, self.world.tree.digest());
        }
        self.world.overlay.applied(exchange.at);
        (prepared, code, reply)
    }

    fn write(&mut self, exchange: &Exchange) {
        let op = exchange.header.op;
        let decoded = Request::decode(op, &mut Reader::new(exchange.body)).map(Option::unwrap);
        let decoded = match decoded {
            Ok(Request::Create(mut create)) => {
                // Where we refuse on purpose, the recorded rest depends on what Java made of it.
                match (create.op, create.flags) {
                    (OpCode::CREATE, 4) => create.flags = 0,
                    (OpCode::CREATE_CONTAINER, 0) => create.flags = 4,
                    _ => {}
                }
                Ok(Request::Create(create))
            }
            other => other,
        };
        let (prepared, code, reply) = self.propose(exchange, |world, ctx, out| {
            let World { overlay, tree, rules, .. } = world;
            match &decoded {
                Ok(request) => overlay.prep(tree, rules, ctx, request, out),
                Err(_) => overlay.prep_error(ctx, ErrorCode::MARSHALLING_ERROR, out),
            }
        });
        let what = format!("{} {decoded:?}", exchange.capture);
        assert_eq!(prepared.error, exchange.reply.err, "{what}");
        assert_eq!(code, exchange.reply.err, "{what}");
        if code.is_ok() {
            assert_eq!(blanked(op, &reply), blanked(op, exchange.reply_body), "{what}");
        } else {
            assert_eq!(exchange.reply_body, b"", "{what}");
            assert_eq!(reply, b"", "{what}");
        }
        self.writes += 1;
    }

    fn delete_container(&mut self, exchange: &Exchange) {
        let request = Request::decode(exchange.header.op, &mut Reader::new(exchange.body));
        let Ok(Some(Request::DeleteContainer(Some(path)))) = request else { panic!("{request:?}") };
        let path = std::str::from_utf8(path).unwrap();
        let (prepared, code, _) = self.propose(exchange, |world, ctx, out| {
            let World { overlay, tree, rules, .. } = world;
            overlay.prep_delete_container(tree, rules, ctx, path, out)
        });
        assert_eq!((prepared.error, code), (exchange.reply.err, exchange.reply.err), "{path}");
        self.writes += 1;
    }

    fn read(&mut self, exchange: &Exchange) {
        let op = exchange.header.op;
        let request = Request::decode(op, &mut Reader::new(exchange.body));
        let Ok(Some(
            Request::GetData(read)
            | Request::Exists(read)
            | Request::GetChildren(read)
            | Request::GetChildren2(read),
        )) = request
        else {
            return;
        };
        let auth = &self.auth[exchange.connection];
        let schemes = self.world.rules.schemes;
        let node = self.world.tree.node(&read.path);
        let what = format!("{} {op} {}", exchange.capture, read.path);
        let code = match &node {
            None => ErrorCode::NO_NODE,
            Some(node) if acl_rules::permits(node.acl().list(), perms::READ, auth, schemes) => {
                ErrorCode::OK
            }
            Some(_) => ErrorCode::NO_AUTH,
        };
        assert_eq!(code, exchange.reply.err, "{what}");
        if let Some(node) = node.filter(|_| code.is_ok()) {
            let body = answer(op, &node);
            assert_eq!(blanked(op, &body), blanked(op, exchange.reply_body), "{what}");
        }
        self.reads += 1;
    }
}

fn answer(op: OpCode, node: &NodeRef<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    match op {
        OpCode::GET_DATA => out.put_buffer(node.data()),
        OpCode::GET_CHILDREN | OpCode::GET_CHILDREN2 => {
            let names: Vec<_> = node.children().collect();
            oxkeeper_proto::data::encode_strings(&mut out, &names);
        }
        _ => {}
    }
    if op != OpCode::GET_CHILDREN {
        node.stat().encode(&mut out);
    }
    out
}

fn replay(captures: &[(&'static str, Frame, Frame)], rules: Rules) -> (usize, usize) {
    let mut all: Vec<Exchange> =
        captures.iter().enumerate().flat_map(|(at, capture)| exchanges(at, *capture)).collect();
    // A write stands at its own zxid, a read behind it; the sort is stable.
    all.sort_by_key(|exchange| {
        (exchange.at, exchange.header.op.class() != Class::Write, exchange.connection)
    });
    let mut replay = Replay {
        world: World::with(rules),
        auth: vec![vec![AuthId::new("ip", "127.0.0.1")]; captures.len()],
        writes: 0,
        reads: 0,
    };
    for exchange in &all {
        replay.step(exchange);
    }
    (replay.writes, replay.reads)
}

#[test]
fn recorded_sessions_are_answered_as_java_answered_them() {
    let captures = [
        capture!("10-crud"),
        capture!("11-node-types"),
        capture!("12-multi"),
        capture!("30-auth-digest"),
        capture!("31-auth-other"),
        capture!("40-session-first"),
        capture!("41-session-resumed"),
        capture!("42-session-taken-over"),
        capture!("45-session-close-pipelined"),
        capture!("46-pipelining"),
        capture!("51-marshalling-error"),
        capture!("53-reconfig-standalone"),
        capture!("61-quota"),
    ];
    let rules = Rules { owners: extended(), ..Rules::default() };
    let (writes, reads) = replay(&captures, rules);
    assert_eq!((writes, reads), (111, 28));
}

#[test]
fn enforced_quotas_are_answered_as_java_answered_them() {
    let rules = Rules { owners: extended(), enforce_quota: true, ..Rules::default() };
    let (writes, reads) = replay(&[capture!("62-quota-enforced")], rules);
    assert_eq!((writes, reads), (11, 1));
}
