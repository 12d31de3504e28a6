//! What a server answered, decoded and in the client's own paths.
//!
//! Everything here is owned: an answer outlives the buffer that it came in. Which body belongs to
//! a reply is known from the request alone, so a server cannot make one look like another.
//!
//! ```
//! # use oxkeeper_client::core::{Client, Config, ConnectString, Effect, Input, Outcome};
//! # use oxkeeper_client::{ErrorCode, SessionId, Zxid};
//! # use oxkeeper_proto::connect::{ConnectResponse, begin_frame, end_frame};
//! # use oxkeeper_proto::{Request, data::encode_strings, response::ReplyHeader};
//! use oxkeeper_client::core::answer::Answer;
//!
//! # fn frame(content: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
//! #     let mut bytes = Vec::new();
//! #     let start = begin_frame(&mut bytes);
//! #     content(&mut bytes);
//! #     end_frame(&mut bytes, start);
//! #     bytes
//! # }
//! let mut client = Client::new(Config::new(ConnectString::parse("zk1/app")?), 7);
//! # client.handle(0, Input::Wake);
//! # let Some(Effect::Dial(link, _)) = client.poll_effect() else { panic!("a dial") };
//! # client.handle(1, Input::Connected(link));
//! # while client.poll_effect().is_some() {}
//! # let granted = ConnectResponse::granted(SessionId(1), 10_000, Some(false));
//! # client.handle(2, Input::Bytes(link, &frame(|out| granted.encode(out))));
//! client.submit(3, Request::GetEphemerals(Some("/".into())).into())?;
//! # while client.poll_effect().is_some() {}
//! # let header = ReplyHeader { xid: 1, zxid: Zxid(1), err: ErrorCode::OK };
//! let reply = frame(|out| {
//! #   header.encode(out);
//!     encode_strings(out, &["/app/mine", "/apple/beside-the-chroot"]);
//! });
//! client.handle(4, Input::Bytes(link, &reply));
//! let answer = std::iter::from_fn(|| client.poll_effect()).find_map(|effect| match effect {
//!     Effect::Completed(_, Outcome::Done { answer, .. }) => Some(answer),
//!     _ => None,
//! });
//! assert_eq!(answer, Some(Answer::Ephemerals(vec!["/mine".to_owned()])));
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use oxkeeper_proto::codec::{DecodeError, Reader};
use oxkeeper_proto::request::MultiHeader;
use oxkeeper_proto::{Acl, AclList, ErrorCode, OpCode, Stat, StringList};

use super::chroot::Chroot;

/// The body of a successful reply.
///
/// ```
/// use oxkeeper_client::core::Answer;
///
/// let listing = Answer::Children(vec!["a".to_owned()]);
/// let Answer::Children(names) = listing else { panic!("what was asked says what comes") };
/// assert_eq!(names, ["a"]);
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// delete, checkWatches, removeWatches, addWatch, auth: that it happened is all there is.
    Nothing,
    /// create: the path, completed if it was sequential.
    Created(String),
    /// create2, createContainer, createTTL.
    CreatedWithStat(String, Stat),
    /// exists, setData, setACL.
    Stat(Stat),
    /// getData and reconfig; null data is kept apart from empty.
    Data(Option<Vec<u8>>, Stat),
    /// getACL.
    Acl(Vec<Acl<'static>>, Stat),
    /// getChildren, in no particular order.
    Children(Vec<String>),
    /// getChildren2.
    ChildrenWithStat(Vec<String>, Stat),
    /// getEphemerals: full paths.
    Ephemerals(Vec<String>),
    /// getAllChildrenNumber.
    Count(i32),
    /// sync.
    Synced,
    /// multi that happened: one per operation.
    Multi(Vec<OpAnswer>),
    /// multi that did not happen.
    MultiRefused {
        /// Which operation was refused.
        index: usize,
        /// Why.
        code: ErrorCode,
    },
    /// multiRead: one per operation.
    MultiRead(Vec<ReadAnswer>),
    /// whoAmI.
    Identities(Vec<Identity>),
}

/// The answer to one operation of a multi.
///
/// ```
/// use oxkeeper_client::core::{Answer, OpAnswer};
///
/// let done = Answer::Multi(vec![OpAnswer::Checked, OpAnswer::Deleted]);
/// assert!(matches!(done, Answer::Multi(ops) if ops[1] == OpAnswer::Deleted));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum OpAnswer {
    /// create; the stat is there for create2, createContainer and createTTL.
    Created(String, Option<Stat>),
    /// delete.
    Deleted,
    /// setData.
    Set(Stat),
    /// check.
    Checked,
}

/// The answer to one operation of a multiRead.
///
/// ```
/// use oxkeeper_client::core::ReadAnswer;
/// use oxkeeper_client::ErrorCode;
///
/// let answers = [ReadAnswer::Children(vec![]), ReadAnswer::Failed(ErrorCode::NO_NODE)];
/// let failed = answers.iter().filter(|answer| matches!(answer, ReadAnswer::Failed(_)));
/// assert_eq!(failed.count(), 1, "the other one did not");
/// ```
#[derive(Debug, Clone, PartialEq)]
pub enum ReadAnswer {
    /// getData.
    Data(Option<Vec<u8>>, Stat),
    /// getChildren.
    Children(Vec<String>),
    /// This one failed; the others did not.
    Failed(ErrorCode),
}

/// Who a server takes this connection for (`ClientInfo`).
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// # let zk = oxkeeper_client::Client::connect(&servers).await?;
/// let identities = zk.whoami().await?;
/// assert!(identities.iter().any(|of| of.scheme == "ip" && of.user == "127.0.0.1"));
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The scheme.
    pub scheme: String,
    /// The name within it.
    pub user: String,
}

impl Answer {
    /// Decodes the body of a reply to getData.
    #[inline(always)]
    pub(crate) fn data(reader: &mut Reader<'_>) -> Result<Answer, DecodeError> {
        Ok(Answer::Data(reader.buffer()?.map(<[u8]>::to_vec), Stat::decode(reader)?))
    }

    /// Decodes the body of a reply to `op`. An error blames the server.
    pub(crate) fn decode(
        op: OpCode,
        reader: &mut Reader<'_>,
        chroot: &Chroot,
    ) -> Result<Answer, DecodeError> {
        Ok(match op {
            OpCode::CREATE => Answer::Created(path(reader, chroot)?),
            OpCode::CREATE2 | OpCode::CREATE_CONTAINER | OpCode::CREATE_TTL => {
                Answer::CreatedWithStat(path(reader, chroot)?, Stat::decode(reader)?)
            }
            OpCode::EXISTS | OpCode::SET_DATA | OpCode::SET_ACL => {
                Answer::Stat(Stat::decode(reader)?)
            }
            OpCode::GET_DATA | OpCode::RECONFIG => Answer::data(reader)?,
            OpCode::GET_ACL => {
                let list = AclList::decode(reader)?;
                Answer::Acl(list.iter().map(owned_acl).collect(), Stat::decode(reader)?)
            }
            OpCode::GET_CHILDREN => Answer::Children(strings(reader)?),
            OpCode::GET_CHILDREN2 => {
                Answer::ChildrenWithStat(strings(reader)?, Stat::decode(reader)?)
            }
            OpCode::GET_EPHEMERALS => {
                let list = StringList::decode(reader)?;
                // The server compares prefixes as plain text: what lies beside the chroot goes.
                let inside = list.iter().filter_map(|p| chroot.client_path(&p).map(str::to_owned));
                Answer::Ephemerals(inside.collect())
            }
            OpCode::GET_ALL_CHILDREN_NUMBER => Answer::Count(reader.i32()?),
            // The path is an echo and may be null.
            OpCode::SYNC => Answer::Synced,
            OpCode::MULTI => multi(reader, chroot)?,
            OpCode::MULTI_READ => multi_read(reader)?,
            OpCode::WHO_AM_I => identities(reader)?,
            _ => Answer::Nothing,
        })
    }
}

fn path(reader: &mut Reader<'_>, chroot: &Chroot) -> Result<String, DecodeError> {
    Ok(chroot.strip(&reader.string()?))
}

fn strings(reader: &mut Reader<'_>) -> Result<Vec<String>, DecodeError> {
    Ok(StringList::decode(reader)?.iter().map(|name| name.into_owned()).collect())
}

fn owned_acl(acl: Acl<'_>) -> Acl<'static> {
    let owned = |text: Option<std::borrow::Cow<'_, str>>| text.map(|text| text.into_owned().into());
    Acl { perms: acl.perms, scheme: owned(acl.scheme), id: owned(acl.id) }
}

fn multi(reader: &mut Reader<'_>, chroot: &Chroot) -> Result<Answer, DecodeError> {
    let mut done = Vec::new();
    let (mut refused, mut errors) = (None, false);
    for index in 0.. {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            break;
        }
        match header.op {
            OpCode::ERROR => {
                // Zeros before the operation that failed, and "not tried" behind it.
                let code = ErrorCode(reader.i32()?);
                errors = true;
                if !code.is_ok() && refused.is_none() {
                    refused = Some((index, code));
                }
            }
            OpCode::CREATE => done.push(OpAnswer::Created(path(reader, chroot)?, None)),
            OpCode::CREATE2 => {
                let path = path(reader, chroot)?;
                done.push(OpAnswer::Created(path, Some(Stat::decode(reader)?)));
            }
            OpCode::DELETE => done.push(OpAnswer::Deleted),
            OpCode::CHECK => done.push(OpAnswer::Checked),
            OpCode::SET_DATA => done.push(OpAnswer::Set(Stat::decode(reader)?)),
            OpCode(value) => return Err(DecodeError::Unknown { what: "multi result", value }),
        }
    }
    match refused {
        Some((index, code)) => Ok(Answer::MultiRefused { index, code }),
        None if errors => Err(DecodeError::Unknown { what: "error in a multi", value: 0 }),
        None => Ok(Answer::Multi(done)),
    }
}

fn multi_read(reader: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    let mut done = Vec::new();
    loop {
        let header = MultiHeader::decode(reader)?;
        if header.done {
            return Ok(Answer::MultiRead(done));
        }
        done.push(match header.op {
            OpCode::GET_DATA => {
                ReadAnswer::Data(reader.buffer()?.map(<[u8]>::to_vec), Stat::decode(reader)?)
            }
            OpCode::GET_CHILDREN => ReadAnswer::Children(strings(reader)?),
            OpCode::ERROR => ReadAnswer::Failed(ErrorCode(reader.i32()?)),
            OpCode(value) => return Err(DecodeError::Unknown { what: "multiRead result", value }),
        });
    }
}

fn identities(reader: &mut Reader<'_>) -> Result<Answer, DecodeError> {
    let mut list = Vec::new();
    for _ in 0..reader.count()?.unwrap_or(0) {
        let scheme = reader.opt_string()?.unwrap_or_default().into_owned();
        let user = reader.opt_string()?.unwrap_or_default().into_owned();
        list.push(Identity { scheme, user });
    }
    Ok(Answer::Identities(list))
}
