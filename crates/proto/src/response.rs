//! Reply headers and watch events: what stands before and between the results that a server sends.

use std::borrow::Cow;

use crate::codec::{DecodeError, Put, Reader};
use crate::error_code::ErrorCode;
use crate::ids::Zxid;

/// Xids with a meaning of their own.
pub mod xid {
    /// A watch event.
    pub const NOTIFICATION: i32 = -1;
    /// A ping and its reply.
    pub const PING: i32 = -2;
    /// An auth packet and its reply.
    pub const AUTH: i32 = -4;
    /// setWatches and its reply.
    pub const SET_WATCHES: i32 = -8;
}

/// The header of every reply but the first. A body follows only if `err` is 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request's xid.
    pub xid: i32,
    /// The last transaction applied when the reply was made.
    pub zxid: Zxid,
    /// The outcome.
    pub err: ErrorCode,
}

impl ReplyHeader {
    /// Encoded size in bytes.
    pub const BYTES: usize = 16;

    /// Appends the header.
    #[inline]
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.xid);
        out.put_long(self.zxid.0);
        out.put_int(self.err.0);
    }

    /// Decodes the header.
    pub fn decode(reader: &mut Reader<'_>) -> Result<ReplyHeader, DecodeError> {
        Ok(ReplyHeader {
            xid: reader.i32()?,
            zxid: Zxid(reader.i64()?),
            err: ErrorCode(reader.i32()?),
        })
    }
}

/// What happened to a watched znode (`Watcher.Event.EventType`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum EventType {
    /// It came into being.
    NodeCreated,
    /// It was removed.
    NodeDeleted,
    /// Its data was set.
    NodeDataChanged,
    /// A child came or went.
    NodeChildrenChanged,
}

impl EventType {
    /// The number on the wire.
    pub fn code(self) -> i32 {
        match self {
            EventType::NodeCreated => 1,
            EventType::NodeDeleted => 2,
            EventType::NodeDataChanged => 3,
            EventType::NodeChildrenChanged => 4,
        }
    }

    /// The event with this number.
    pub fn from_code(value: i32) -> Result<EventType, DecodeError> {
        Ok(match value {
            1 => EventType::NodeCreated,
            2 => EventType::NodeDeleted,
            3 => EventType::NodeDataChanged,
            4 => EventType::NodeChildrenChanged,
            _ => return Err(DecodeError::Unknown { what: "event type", value }),
        })
    }
}

/// The only state a server sends: SyncConnected (`KeeperState`).
pub const STATE_SYNC_CONNECTED: i32 = 3;

/// A watch event as it goes to a client (`WatcherEvent`), behind a header with xid −1.
#[derive(Debug, Clone, PartialEq)]
pub struct WatcherEvent<'a> {
    /// What happened.
    pub event: EventType,
    /// Where.
    pub path: Cow<'a, str>,
}

impl<'a> WatcherEvent<'a> {
    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.event.code());
        out.put_int(STATE_SYNC_CONNECTED);
        out.put_string(&self.path);
    }

    /// Decodes the record.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Self, DecodeError> {
        let event = EventType::from_code(reader.i32()?)?;
        reader.i32()?;
        Ok(WatcherEvent { event, path: reader.string()? })
    }
}
