//! Decoded messages in the words of the expectations that lie beside the captures.

use oxkeeper_proto::notification::{Address, HelloForm};
use oxkeeper_proto::quorum_auth::AuthStatus;
use oxkeeper_proto::request::CreateRequest;
use oxkeeper_proto::{
    AclList, Hello, LearnerInfo, MultiOp, Notification, OpCode, Packet, Payload, QuorumAuth,
    Reader, Request, Sid, Txn, Zxid,
};
use serde_json::{Map, Value, json};

fn hex(value: i64) -> Value {
    json!(format!("{value:#x}"))
}

/// Readable ASCII as text, anything else in hex.
fn bytes(bytes: Option<&[u8]>) -> Value {
    let readable = |bytes: &&[u8]| bytes.iter().all(|b| matches!(b, b' '..=b'~' | b'\n'));
    match bytes {
        None => Value::Null,
        Some(bytes) if readable(&bytes) => json!(std::str::from_utf8(bytes).expect("ASCII")),
        Some(bytes) => {
            json!({ "hex": bytes.iter().map(|b| format!("{b:02x}")).collect::<String>() })
        }
    }
}

fn merged(parts: impl IntoIterator<Item = Value>) -> Value {
    let objects = parts.into_iter().map(|part| match part {
        Value::Object(fields) => fields,
        other => panic!("{other} is no object"),
    });
    Value::Object(objects.flatten().collect::<Map<_, _>>())
}

pub fn auth(message: &QuorumAuth<'_>) -> Value {
    let status = match message.status {
        AuthStatus::InProgress => "IN_PROGRESS",
        AuthStatus::Success => "SUCCESS",
        AuthStatus::Error => "ERROR",
    };
    json!({ "msg": "quorumAuth", "status": status, "token": bytes(message.token) })
}

pub fn hello(hello: &Hello) -> Value {
    let version = match hello.form {
        HelloForm::Bare => return json!({ "msg": "hello", "sid": hello.sid.0 }),
        HelloForm::V1 => -65536,
        HelloForm::V2 => -65535,
    };
    let addresses: Vec<_> = hello.addresses.iter().map(Address::to_string).collect();
    json!({
        "msg": "hello", "protocolVersion": version, "sid": hello.sid.0, "electionAddr": addresses,
    })
}

pub fn notification(notification: &Notification<'_>) -> Value {
    json!({
        "msg": "notification",
        "state": notification.state.name(),
        "leader": notification.leader.0,
        "zxid": hex(notification.zxid.0),
        "electionEpoch": hex(notification.election_epoch),
        "peerEpoch": hex(notification.peer_epoch),
        "version": notification.version,
        "config": notification.config,
    })
}

pub fn packet(packet: &Packet<'_>) -> Value {
    let fields = match packet {
        Packet::Request(request) => {
            let mut told = json!({
                "sessionId": hex(request.session.0),
                "cxid": request.cxid,
                "op": request.op.name(),
            });
            if !request.body.is_empty() {
                told["request"] = body(request.op, request.body);
            }
            match request.identities {
                Some(identities) => {
                    let identities = identities.iter();
                    let list = identities.map(|one| json!({ "scheme": one.scheme, "id": one.id }));
                    json!({ "request": told, "authinfo": list.collect::<Value>() })
                }
                None => json!({ "request": told }),
            }
        }
        Packet::Proposal { entry, .. } | Packet::Inform { entry, .. } => {
            json!({ "entry": payload(entry) })
        }
        Packet::Ping { touched: Some(touched), .. } => {
            let sessions = touched.iter().map(|(session, ms)| json!([hex(session.0), ms]));
            json!({ "touched": sessions.collect::<Value>() })
        }
        Packet::Revalidate { session, timeout_ms } => {
            json!({ "sessionId": hex(session.0), "timeout": timeout_ms })
        }
        Packet::Revalidated { session, valid } => {
            json!({ "sessionId": hex(session.0), "valid": valid })
        }
        Packet::CommitAndActivate { designated_leader, .. } => designated(*designated_leader),
        Packet::NewLeader { config, .. } => json!({ "config": config }),
        Packet::FollowerInfo { info, .. } | Packet::ObserverInfo { info, .. } => learner(info),
        Packet::LeaderInfo { protocol_version, trailing, .. } => {
            assert!(trailing.is_empty());
            json!({ "protocolVersion": protocol_version })
        }
        Packet::AckEpoch { current_epoch, .. } => json!({ "currentEpoch": current_epoch }),
        Packet::InformAndActivate { designated_leader, entry, .. } => {
            merged([designated(*designated_leader), json!({ "entry": payload(entry) })])
        }
        Packet::Ours(_) | Packet::Unknown { .. } => panic!("{packet:?} from Apache's"),
        Packet::Ack { .. }
        | Packet::Commit { .. }
        | Packet::Ping { touched: None, .. }
        | Packet::Sync
        | Packet::UpToDate
        | Packet::Diff { .. }
        | Packet::Trunc { .. }
        | Packet::Snap { .. } => json!({}),
    };
    let Zxid(zxid) = packet.zxid();
    merged([json!({ "type": packet.kind().name(), "zxid": hex(zxid) }), fields])
}

fn designated(Sid(leader): Sid) -> Value {
    json!({ "designatedLeader": leader })
}

fn learner(info: &LearnerInfo<'_>) -> Value {
    assert!(info.trailing.is_empty());
    json!({
        "serverid": info.sid.0,
        "protocolVersion": info.protocol_version,
        "configVersion": hex(info.config_version),
    })
}

fn acl(list: &AclList<'_>) -> Value {
    let entries = list.iter().map(|acl| {
        let id = json!({ "scheme": acl.scheme, "id": acl.id });
        json!({ "perms": acl.perms, "id": id })
    });
    entries.collect()
}

/// A client's request behind REQUEST's session, cxid and op.
fn body(op: OpCode, raw: &[u8]) -> Value {
    let mut reader = Reader::new(raw);
    if op == OpCode::CREATE_SESSION {
        return json!({ "timeOut": reader.i32().expect("a timeout") });
    }
    match Request::decode(op, &mut reader).expect("sound").expect("known") {
        Request::Create(create) => create_request(&create),
        Request::Delete(one) | Request::Check(one) => {
            json!({ "path": one.path, "version": one.version })
        }
        Request::SetData(set) => set_data(&set.path, set.data, set.version),
        Request::SetAcl(set) => {
            json!({ "path": set.path, "acl": acl(&set.acl), "version": set.version })
        }
        Request::Sync(path) => json!({ "path": path }),
        Request::Multi(multi) => {
            let ops = multi.iter().map(|op| match op {
                MultiOp::Create(create) => merged([named(create.op), create_request(&create)]),
                MultiOp::Delete(one) => {
                    json!({ "op": "delete", "path": one.path, "version": one.version })
                }
                MultiOp::SetData(set) => {
                    merged([json!({ "op": "setData" }), set_data(&set.path, set.data, set.version)])
                }
                MultiOp::Check(one) => {
                    json!({ "op": "check", "path": one.path, "version": one.version })
                }
            });
            json!({ "ops": ops.collect::<Value>() })
        }
        Request::Reconfig(reconfig) => json!({
            "joiningServers": reconfig.joining,
            "leavingServers": reconfig.leaving,
            "newMembers": reconfig.new_members,
            "curConfigId": reconfig.current_config_id,
        }),
        other => panic!("{other:?} is not forwarded"),
    }
}

fn named(op: OpCode) -> Value {
    json!({ "op": op.name() })
}

fn create_request(create: &CreateRequest<'_>) -> Value {
    let mut told = json!({
        "path": create.path,
        "data": bytes(create.data),
        "acl": acl(&create.acl),
        "flags": create.flags,
    });
    if create.op == OpCode::CREATE_TTL {
        told["ttl"] = json!(create.ttl_ms);
    }
    told
}

fn set_data(path: &str, data: Option<&[u8]>, version: i32) -> Value {
    json!({ "path": path, "data": bytes(data), "version": version })
}

/// A transaction: header, record, digest.
fn payload(entry: &[u8]) -> Value {
    let payload = Payload::decode(entry).expect("a transaction");
    let header = payload.header;
    let mut told = json!({
        "hdr": {
            "clientId": header.session.0,
            "cxid": header.cxid,
            "zxid": header.zxid.0,
            "time": header.time_ms,
            "type": header.op.0,
        },
        "op": header.op.name(),
        "txn": txn(&payload.txn),
    });
    if let Some(digest) = payload.digest {
        told["digest"] = json!({ "version": digest.version, "treeDigest": digest.tree_digest });
    }
    told
}

fn txn(record: &Txn<'_>) -> Value {
    match record {
        Txn::Create(create) => {
            let mut told = json!({
                "path": create.path,
                "data": bytes(create.data),
                "acl": acl(&create.acl),
                "parentCVersion": create.parent_cversion,
            });
            match create.op {
                OpCode::CREATE | OpCode::CREATE2 => told["ephemeral"] = json!(create.ephemeral),
                OpCode::CREATE_TTL => told["ttl"] = json!(create.ttl_ms),
                _ => {}
            }
            told
        }
        Txn::Delete(path) => json!({ "path": path }),
        Txn::SetData(set) => set_data(&set.path, set.data, set.version),
        Txn::SetAcl(set) => {
            json!({ "path": set.path, "acl": acl(&set.acl), "version": set.version })
        }
        Txn::Check(check) => json!({ "path": check.path, "version": check.version }),
        Txn::CreateSession(timeout_ms) => json!({ "timeOut": timeout_ms }),
        Txn::CloseSession(None) => Value::Null,
        Txn::CloseSession(Some(paths)) => {
            json!({ "paths2Delete": paths.iter().map(|path| json!(path)).collect::<Value>() })
        }
        Txn::Error(code) => json!({ "err": code.0 }),
        Txn::Multi(multi) => {
            let subs =
                multi.iter().map(|(op, sub)| merged([json!({ "type": op.name() }), txn(&sub)]));
            json!({ "txns": subs.collect::<Value>() })
        }
    }
}
