//! From a request of the user's to the bytes that are sent.

use std::borrow::Cow;

use oxkeeper_proto::connect::{begin_frame, end_frame};
use oxkeeper_proto::request::{
    CreateRequest, MultiOp, MultiReadOp, MultiReadRequest, MultiRequest, RequestHeader,
};
use oxkeeper_proto::{CreateMode, OpCode, Request};

use super::chroot::{Chroot, check_path};
use super::outcome::Refused;
use super::pending::OnReply;
use super::watches::{WatchKind, Watcher, kinds_of_removal};

/// A request and who is to be told afterwards.
///
/// ```
/// # use oxkeeper_client::core::{Client, Config, ConnectString};
/// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
/// # use oxkeeper_client::core::Call;
/// use oxkeeper_proto::Request;
///
/// let whoami = Call::from(Request::WhoAmI);
/// assert_eq!(whoami.watcher, None);
/// assert!(client.submit(0, whoami).is_ok());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Call<'a> {
    /// What is asked. Whether a watch is left is for `watcher` to say, not for the flag in here.
    pub request: Request<'a>,
    /// exists, getData, getChildren and addWatch: who is told. removeWatches: who is no longer
    /// told, everybody at that path if `None`.
    pub watcher: Option<Watcher>,
    /// The paths in it pass by the chroot, as for `/zookeeper/config`.
    pub absolute: bool,
}

impl<'a> From<Request<'a>> for Call<'a> {
    fn from(request: Request<'a>) -> Self {
        Call { request, watcher: None, absolute: false }
    }
}

impl<'a> Call<'a> {
    /// A request that leaves or removes a watch.
    ///
    /// ```
    /// # use oxkeeper_client::core::{Client, Config, ConnectString};
    /// # let mut client = Client::new(Config::new(ConnectString::parse("zk1,zk2/app")?), 7);
    /// # use oxkeeper_client::core::{Call, Refused, Watcher};
    /// use oxkeeper_proto::{OpCode, Request};
    ///
    /// let pointless = Call::watched(Request::Sync(Some("/a".into())), Watcher(1));
    /// assert_eq!(client.submit(0, pointless), Err(Refused::Watcher(OpCode::SYNC)));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn watched(request: Request<'a>, watcher: Watcher) -> Self {
        Call { request, watcher: Some(watcher), absolute: false }
    }

    /// The same request, its paths passing by the chroot.
    ///
    /// ```
    /// use oxkeeper_client::core::Call;
    /// use oxkeeper_proto::Request;
    ///
    /// let call = Call::from(Request::GetAcl("/zookeeper/config".into())).absolute();
    /// assert!(call.absolute, "read where it is, whatever the chroot");
    /// ```
    pub fn absolute(self) -> Self {
        Call { absolute: true, ..self }
    }

    /// Appends the whole frame with xid 0 and tells what its reply will mean for the watches. On
    /// an error `out` is as it was.
    pub(crate) fn encode(
        mut self,
        chroot: &Chroot,
        out: &mut Vec<u8>,
    ) -> Result<(OpCode, OnReply), Refused> {
        check(&self.request)?;
        let whole = Chroot::default();
        let chroot = if self.absolute { &whole } else { chroot };
        translate(&mut self.request, chroot, self.watcher.is_some());
        let op = self.request.op();
        let on_reply = on_reply(&self.request, self.watcher)?;
        let start = begin_frame(out);
        RequestHeader { xid: 0, op }.encode(out);
        match &self.request {
            Request::Multi(multi) => encode_multi(multi, chroot, out),
            Request::MultiRead(multi) => encode_multi_read(multi, chroot, out),
            other => other.encode(out),
        }
        end_frame(out, start);
        Ok((op, on_reply))
    }
}

/// Refuses what users do not send, and paths that no server takes.
fn check(request: &Request<'_>) -> Result<(), Refused> {
    match request {
        Request::Create(create) => check_create(create)?,
        Request::Delete(of) => check_path(&of.path, false)?,
        Request::Exists(of)
        | Request::GetData(of)
        | Request::GetChildren(of)
        | Request::GetChildren2(of) => check_path(&of.path, false)?,
        Request::SetData(of) => check_path(&of.path, false)?,
        Request::SetAcl(of) => check_path(&of.path, false)?,
        Request::GetAcl(path) | Request::GetAllChildrenNumber(path) => check_path(path, false)?,
        Request::CheckWatches(of) | Request::RemoveWatches(of) | Request::AddWatch(of) => {
            check_path(&of.path, false)?;
        }
        Request::Sync(path) | Request::GetEphemerals(path) => {
            // A null or empty prefix asks for all ephemerals; sync is about nothing in particular.
            if let Some(path) = path.as_deref().filter(|path| !path.is_empty()) {
                check_path(path, false)?;
            }
        }
        Request::Multi(multi) => {
            for op in multi.iter() {
                match &op {
                    MultiOp::Create(create) => check_create(create)?,
                    MultiOp::Delete(of) | MultiOp::Check(of) => check_path(&of.path, false)?,
                    MultiOp::SetData(of) => check_path(&of.path, false)?,
                }
            }
        }
        Request::MultiRead(multi) => {
            for op in multi.iter() {
                let (MultiReadOp::GetData(path) | MultiReadOp::GetChildren(path)) = &op;
                check_path(path, false)?;
            }
        }
        Request::Reconfig(_) | Request::WhoAmI => {}
        Request::Ping
        | Request::Check(_)
        | Request::DeleteContainer(_)
        | Request::Auth(_)
        | Request::SetWatches(_)
        | Request::Sasl(_)
        | Request::CreateSession
        | Request::CloseSession => return Err(Refused::NotForUsers(request.op())),
    }
    Ok(())
}

fn check_create(create: &CreateRequest<'_>) -> Result<(), Refused> {
    let mode = CreateMode::from_flags(create.flags);
    Ok(check_path(&create.path, mode.is_ok_and(CreateMode::is_sequential))?)
}

fn prefix(path: &mut Cow<'_, str>, chroot: &Chroot) {
    *path = chroot.server_path(std::mem::take(path));
}

/// Puts the chroot before the path and the flag where it belongs.
fn translate(request: &mut Request<'_>, chroot: &Chroot, watch: bool) {
    match request {
        Request::Create(of) => prefix(&mut of.path, chroot),
        Request::Delete(of) | Request::Check(of) => prefix(&mut of.path, chroot),
        Request::Exists(of)
        | Request::GetData(of)
        | Request::GetChildren(of)
        | Request::GetChildren2(of) => {
            prefix(&mut of.path, chroot);
            of.watch = watch;
        }
        Request::SetData(of) => prefix(&mut of.path, chroot),
        Request::SetAcl(of) => prefix(&mut of.path, chroot),
        Request::GetAcl(path) | Request::GetAllChildrenNumber(path) => prefix(path, chroot),
        Request::CheckWatches(of) | Request::RemoveWatches(of) | Request::AddWatch(of) => {
            prefix(&mut of.path, chroot);
        }
        Request::Sync(path) => {
            if let Some(path) = path.as_mut().filter(|path| !path.is_empty()) {
                prefix(path, chroot);
            }
        }
        Request::GetEphemerals(path) => {
            // All of the client's tree is a prefix too, once there is a chroot.
            if !chroot.path().is_empty() {
                let path = path.get_or_insert_default();
                if path.is_empty() {
                    *path = "/".into();
                }
                prefix(path, chroot);
            }
        }
        // Operations of a multi are still encoded: they are translated as they are written.
        Request::Multi(_) | Request::MultiRead(_) => {}
        Request::Reconfig(_)
        | Request::WhoAmI
        | Request::Ping
        | Request::DeleteContainer(_)
        | Request::Auth(_)
        | Request::SetWatches(_)
        | Request::Sasl(_)
        | Request::CreateSession
        | Request::CloseSession => {}
    }
}

fn encode_multi(multi: &MultiRequest<'_>, chroot: &Chroot, out: &mut Vec<u8>) {
    let ops = multi.iter().map(|mut op| {
        match &mut op {
            MultiOp::Create(of) => prefix(&mut of.path, chroot),
            MultiOp::Delete(of) | MultiOp::Check(of) => prefix(&mut of.path, chroot),
            MultiOp::SetData(of) => prefix(&mut of.path, chroot),
        }
        op
    });
    MultiRequest::encode_ops(out, ops);
}

fn encode_multi_read(multi: &MultiReadRequest<'_>, chroot: &Chroot, out: &mut Vec<u8>) {
    let ops = multi.iter().map(|mut op| {
        let (MultiReadOp::GetData(path) | MultiReadOp::GetChildren(path)) = &mut op;
        prefix(path, chroot);
        op
    });
    MultiReadRequest::encode_ops(out, ops);
}

/// What the reply will mean; the request's path is the server's by now.
fn on_reply(request: &Request<'_>, watcher: Option<Watcher>) -> Result<OnReply, Refused> {
    let op = request.op();
    let register = |path: &str, found: WatchKind, absent: Option<WatchKind>| match watcher {
        Some(watcher) => OnReply::Register { watcher, path: path.into(), found, absent },
        None => OnReply::Nothing,
    };
    Ok(match request {
        Request::Exists(of) => register(&of.path, WatchKind::Data, Some(WatchKind::Exist)),
        Request::GetData(of) => register(&of.path, WatchKind::Data, None),
        Request::GetChildren(of) | Request::GetChildren2(of) => {
            register(&of.path, WatchKind::Child, None)
        }
        Request::AddWatch(of) => match (of.kind, watcher) {
            (0, Some(_)) => register(&of.path, WatchKind::Persistent, None),
            (1, Some(_)) => register(&of.path, WatchKind::Recursive, None),
            _ => return Err(Refused::Watcher(op)),
        },
        Request::RemoveWatches(of) => {
            let kinds = kinds_of_removal(of.kind).ok_or(Refused::Watcher(op))?;
            OnReply::Remove { which: watcher, path: of.path.as_ref().into(), kinds }
        }
        _ if watcher.is_some() => return Err(Refused::Watcher(op)),
        _ => OnReply::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use oxkeeper_proto::request::{
        PathKind, PathVersion, PathWatch, ReconfigRequest, SetAclRequest, SetDataRequest,
    };
    use oxkeeper_proto::{OPEN_ACL_UNSAFE, Reader};

    fn path(path: &str) -> Cow<'_, str> {
        path.into()
    }

    fn multi<'a>(raw: &'a mut Vec<u8>, at: &'a str) -> Request<'a> {
        MultiRequest::encode_ops(
            raw,
            [
                MultiOp::Create(made(at)),
                MultiOp::Delete(PathVersion { path: at.into(), version: 1 }),
                MultiOp::SetData(SetDataRequest { path: at.into(), data: None, version: 2 }),
                MultiOp::Check(PathVersion { path: at.into(), version: 3 }),
            ],
        );
        Request::Multi(MultiRequest::decode(&mut Reader::new(raw)).unwrap())
    }

    fn multi_read<'a>(raw: &'a mut Vec<u8>, at: &'a str) -> Request<'a> {
        let ops = [MultiReadOp::GetData(at.into()), MultiReadOp::GetChildren(at.into())];
        MultiReadRequest::encode_ops(raw, ops);
        Request::MultiRead(MultiReadRequest::decode(&mut Reader::new(raw)).unwrap())
    }

    fn made(at: &str) -> CreateRequest<'_> {
        let (data, acl) = (Some(&b"d"[..]), OPEN_ACL_UNSAFE);
        CreateRequest { op: OpCode::CREATE, path: at.into(), data, acl, flags: 0, ttl_ms: -1 }
    }

    /// Every request with a path.
    fn requests(at: &str) -> Vec<Request<'_>> {
        let watch = || PathWatch { path: path(at), watch: false };
        let version = || PathVersion { path: path(at), version: 7 };
        vec![
            Request::Create(made(at)),
            Request::Delete(version()),
            Request::Exists(watch()),
            Request::GetData(watch()),
            Request::GetChildren(watch()),
            Request::GetChildren2(watch()),
            Request::SetData(SetDataRequest { path: path(at), data: None, version: 7 }),
            Request::GetAcl(path(at)),
            Request::SetAcl(SetAclRequest { path: path(at), acl: OPEN_ACL_UNSAFE, version: 7 }),
            Request::Sync(Some(path(at))),
            Request::CheckWatches(PathKind { path: path(at), kind: 1 }),
            Request::RemoveWatches(PathKind { path: path(at), kind: 1 }),
            Request::GetEphemerals(Some(path(at))),
            Request::GetAllChildrenNumber(path(at)),
        ]
    }

    fn body(call: Call<'_>, chroot: &str) -> Vec<u8> {
        let mut out = Vec::new();
        call.encode(&Chroot::new(chroot).unwrap(), &mut out).unwrap();
        out[12..].to_vec()
    }

    fn plain(request: &Request<'_>) -> Vec<u8> {
        let mut out = Vec::new();
        request.encode(&mut out);
        out
    }

    #[test]
    fn every_path_of_every_request_gets_the_chroot_and_nothing_else_changes() {
        for (inside, outside) in [("/a", "/app/a"), ("/", "/app")] {
            for (ours, theirs) in requests(inside).into_iter().zip(requests(outside)) {
                let expected = plain(&theirs);
                assert_eq!(body(ours.clone().into(), "/app"), expected, "{ours:?}");
                assert_eq!(body(Call::from(theirs).absolute(), "/app"), expected);
            }
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let expected = plain(&multi(&mut theirs, outside));
            assert_eq!(body(multi(&mut ours, inside).into(), "/app"), expected);
            let (mut ours, mut theirs) = (Vec::new(), Vec::new());
            let expected = plain(&multi_read(&mut theirs, outside));
            assert_eq!(body(multi_read(&mut ours, inside).into(), "/app"), expected);
        }
        let all = plain(&Request::GetEphemerals(Some("/app".into())));
        assert_eq!(body(Request::GetEphemerals(None).into(), "/app"), all);
        let none = plain(&Request::GetEphemerals(None));
        assert_eq!(body(Request::GetEphemerals(None).into(), ""), none);
    }

    #[test]
    fn every_path_of_every_request_is_checked_and_a_refusal_leaves_nothing_behind() {
        let mut raws = [Vec::new(), Vec::new()];
        let [first, second] = &mut raws;
        let mut all = requests("/a/");
        all.extend([multi(first, "/a/"), multi_read(second, "/a/")]);
        for request in all {
            let mut out = b"before".to_vec();
            let refused = Call::from(request.clone()).encode(&Chroot::default(), &mut out);
            assert!(matches!(refused, Err(Refused::Path(_))), "{request:?}");
            assert_eq!(out, b"before");
        }
    }

    #[test]
    fn the_flag_on_the_wire_is_whether_there_is_a_watcher() {
        let read = |watch| Request::GetData(PathWatch { path: path("/a"), watch });
        let with = body(Call::watched(read(false), Watcher(1)), "");
        assert_eq!(with, plain(&read(true)));
        assert_eq!(body(read(true).into(), ""), plain(&read(false)));
        let reconfig = Request::Reconfig(ReconfigRequest {
            joining: None,
            leaving: Some("1".into()),
            new_members: None,
            current_config_id: -1,
        });
        assert_eq!(body(reconfig.clone().into(), "/app"), plain(&reconfig));
    }
}
