//! What clients of an ensemble see, with every server as a value: forwarding, sessions and their
//! moves, roles that end, sessions of one server alone, readers without a quorum.

mod local;
mod read_only;
mod requests;
mod sessions;
mod world;

use oxkeeper_proto::request::{CreateRequest, PathVersion, PathWatch, SetDataRequest};
use oxkeeper_proto::{OPEN_ACL_UNSAFE, OpCode, Request};

const EPHEMERAL: i32 = 1;

fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create(creation(path, flags))
}

fn creation(path: &str, flags: i32) -> CreateRequest<'_> {
    CreateRequest {
        op: OpCode::CREATE,
        path: path.into(),
        data: Some(b"0"),
        acl: OPEN_ACL_UNSAFE,
        flags,
        ttl_ms: -1,
    }
}

fn set<'a>(path: &'a str, data: &'a [u8]) -> Request<'a> {
    Request::SetData(SetDataRequest { path: path.into(), data: Some(data), version: -1 })
}

fn get(path: &str) -> Request<'_> {
    Request::GetData(PathWatch { path: path.into(), watch: false })
}

fn delete(path: &str) -> Request<'_> {
    Request::Delete(PathVersion { path: path.into(), version: -1 })
}

fn sync() -> Request<'static> {
    Request::Sync(Some("/".into()))
}
