//! One znode: a single allocation, shared by handle.
//!
//! Stat, number of the ACL, name and data lie one behind the other behind an 8-byte counted handle.
//! Readers and snapshots keep handles; a change writes in place while nobody else holds the znode
//! and into a copy otherwise, so whoever holds a handle sees one state for good. The children are
//! not here: they belong to the directory of the same path.

use std::fmt;

use oxkeeper_proto::{Put, StatPersisted, Zxid};
use triomphe::{Arc, ThinArc};

use crate::acl_table::AclId;

/// The fixed part, 72 bytes. The fields of [`StatPersisted`] stand here one by one because nested
/// they would be padded to 80.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Header {
    czxid: i64,
    mzxid: i64,
    pzxid: i64,
    ctime_ms: i64,
    mtime_ms: i64,
    ephemeral_owner: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    acl: AclId,
    /// CRC-32 over path and data; 0 for a znode that no digest counts.
    crc: u32,
    /// Length of the name above three flag bits.
    name: u32,
}

const NULL_DATA: u32 = 1;
const HAS_DIR: u32 = 2;
/// The name has a character beyond the basic plane: it is written differently than it is kept.
const SUPPLEMENTARY: u32 = 4;
const NAME_SHIFT: u32 = 3;
/// Names up to this length are copied without looking at it.
const SHORT_NAME: usize = 32;

impl Header {
    pub fn stat(&self) -> StatPersisted {
        StatPersisted {
            czxid: Zxid(self.czxid),
            mzxid: Zxid(self.mzxid),
            ctime_ms: self.ctime_ms,
            mtime_ms: self.mtime_ms,
            version: self.version,
            cversion: self.cversion,
            aversion: self.aversion,
            ephemeral_owner: self.ephemeral_owner,
            pzxid: Zxid(self.pzxid),
        }
    }

    /// Data was set.
    pub fn written(&mut self, version: i32, zxid: Zxid, time_ms: i64) {
        self.version = version;
        self.mzxid = zxid.0;
        self.mtime_ms = time_ms;
    }

    /// A child was created: the counter only goes up, and the zxid goes with it.
    pub fn raise_cversion(&mut self, cversion: i32, zxid: Zxid) {
        if cversion > self.cversion {
            self.cversion = cversion;
            self.pzxid = zxid.0;
        }
    }

    /// A child was deleted.
    pub fn raise_pzxid(&mut self, zxid: Zxid) {
        self.pzxid = self.pzxid.max(zxid.0);
    }

    /// The list was set.
    pub fn set_acl(&mut self, acl: AclId) {
        self.acl = acl;
    }

    pub fn set_aversion(&mut self, aversion: i32) {
        self.aversion = aversion;
    }

    /// A directory of this path exists.
    pub fn set_has_dir(&mut self) {
        self.name |= HAS_DIR;
    }
}

/// A counted handle to a znode.
#[derive(Clone)]
pub(crate) struct Node(ThinArc<Header, u8>);

impl Node {
    /// A znode. `scratch` is a buffer to build it in, its content is lost.
    pub fn new(
        scratch: &mut Vec<u8>,
        name: &str,
        data: Option<&[u8]>,
        stat: &StatPersisted,
        acl: AclId,
        crc: u32,
    ) -> Node {
        let mut packed = (name.len() as u32) << NAME_SHIFT;
        if data.is_none() {
            packed |= NULL_DATA;
        }
        if name.bytes().any(|b| b >= 0xf0) {
            packed |= SUPPLEMENTARY;
        }
        let header = Header {
            czxid: stat.czxid.0,
            mzxid: stat.mzxid.0,
            pzxid: stat.pzxid.0,
            ctime_ms: stat.ctime_ms,
            mtime_ms: stat.mtime_ms,
            ephemeral_owner: stat.ephemeral_owner,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            acl,
            crc,
            name: packed,
        };
        Node::build(scratch, header, name.as_bytes(), data.unwrap_or(&[]))
    }

    fn build(scratch: &mut Vec<u8>, header: Header, name: &[u8], data: &[u8]) -> Node {
        scratch.clear();
        scratch.extend_from_slice(name);
        scratch.extend_from_slice(data);
        let node = Node(ThinArc::from_header_and_slice(header, scratch));
        if scratch.capacity() > SCRATCH_BYTES_KEPT {
            *scratch = Vec::new();
        }
        node
    }

    #[inline]
    fn header(&self) -> &Header {
        &self.0.header.header
    }

    #[inline]
    fn name_len(&self) -> usize {
        (self.header().name >> NAME_SHIFT) as usize
    }

    /// The last part of the path.
    #[inline]
    pub fn name(&self) -> &[u8] {
        &self.0.slice[..self.name_len()]
    }

    /// The same as text.
    pub fn name_str(&self) -> &str {
        // It was text when it was put here.
        std::str::from_utf8(self.name()).unwrap_or_default()
    }

    #[inline]
    pub fn data(&self) -> Option<&[u8]> {
        match self.header().name & NULL_DATA {
            0 => Some(&self.0.slice[self.name_len()..]),
            _ => None,
        }
    }

    #[inline]
    pub fn data_len(&self) -> usize {
        self.0.slice.len() - self.name_len()
    }

    #[inline]
    pub fn stat(&self) -> StatPersisted {
        self.header().stat()
    }

    #[inline]
    pub fn owner(&self) -> i64 {
        self.header().ephemeral_owner
    }

    #[inline]
    pub fn acl(&self) -> AclId {
        self.header().acl
    }

    #[inline]
    pub fn crc(&self) -> u32 {
        self.header().crc
    }

    /// True if there is a directory of this path, be it empty.
    #[inline]
    pub fn has_dir(&self) -> bool {
        self.header().name & HAS_DIR != 0
    }

    /// Appends the name as a string of the wire.
    #[inline]
    pub fn put_name(&self, out: &mut Vec<u8>) {
        let len = self.name_len();
        match self.0.slice.first_chunk::<SHORT_NAME>() {
            // Listings live on this: a copy of fixed size is two instructions, one of any size is
            // a call. What stands behind the name is cut off again.
            Some(chunk) if len <= SHORT_NAME && self.is_plain() => {
                let mut string = [0; 4 + SHORT_NAME];
                string[..4].copy_from_slice(&(len as i32).to_be_bytes());
                string[4..].copy_from_slice(chunk);
                let end = out.len() + 4 + len;
                out.extend_from_slice(&string);
                out.truncate(end);
            }
            _ if self.is_plain() => out.put_buffer(Some(self.name())),
            _ => out.put_string(self.name_str()),
        }
    }

    /// True if the name is written as it is kept.
    #[inline]
    pub fn is_plain(&self) -> bool {
        self.header().name & SUPPLEMENTARY == 0
    }

    /// Changes the fixed part: in place if nobody else holds the znode.
    #[inline]
    pub fn edit(&mut self, change: impl FnOnce(&mut Header)) {
        let mut header = *self.header();
        change(&mut header);
        if !self.write_header(header) {
            self.0 = ThinArc::from_header_and_slice(header, &self.0.slice);
        }
    }

    #[inline]
    fn write_header(&mut self, header: Header) -> bool {
        self.0.with_arc_mut(|arc| match Arc::get_mut(arc) {
            Some(inner) => {
                *inner.header_mut() = header;
                true
            }
            None => false,
        })
    }

    /// Changes data and fixed part together.
    pub fn set_data(
        &mut self,
        scratch: &mut Vec<u8>,
        data: Option<&[u8]>,
        crc: u32,
        change: impl FnOnce(&mut Header),
    ) {
        let mut header = *self.header();
        change(&mut header);
        header.crc = crc;
        header.name = header.name & !NULL_DATA | if data.is_none() { NULL_DATA } else { 0 };
        let (name_len, bytes) = (self.name_len(), data.unwrap_or(&[]));
        if self.data_len() == bytes.len() {
            let done = self.0.with_arc_mut(|arc| match Arc::get_mut(arc) {
                Some(inner) => {
                    *inner.header_mut() = header;
                    inner.slice_mut()[name_len..].copy_from_slice(bytes);
                    true
                }
                None => false,
            });
            if done {
                return;
            }
        }
        *self = Node::build(scratch, header, &self.0.slice[..name_len], bytes);
    }
}

/// Room kept in the buffer znodes are built in.
const SCRATCH_BYTES_KEPT: usize = 64 * 1024;

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Node")
            .field("name", &self.name_str())
            .field("data", &self.data().map(<[u8]>::len))
            .field("stat", &self.stat())
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(name: &str, data: Option<&[u8]>) -> Node {
        let stat = StatPersisted { czxid: Zxid(1), version: 3, ..StatPersisted::default() };
        Node::new(&mut Vec::new(), name, data, &stat, AclId::OPEN, 9)
    }

    #[test]
    fn the_fixed_part_has_the_size_the_memory_goal_counts_on() {
        assert_eq!(size_of::<Header>(), 72);
        assert_eq!(size_of::<Node>(), 8);
    }

    #[test]
    fn who_holds_a_handle_sees_one_state() {
        let mut first = node("a", Some(b"xy"));
        let held = first.clone();
        first.edit(|h| h.written(4, Zxid(2), 5));
        first.set_data(&mut Vec::new(), Some(b"zz"), 1, |h| h.raise_pzxid(Zxid(7)));
        assert_eq!((held.stat().version, held.data()), (3, Some(&b"xy"[..])));
        assert_eq!((first.stat().version, first.data()), (4, Some(&b"zz"[..])));
        assert_eq!((first.crc(), first.stat().pzxid), (1, Zxid(7)));
        first.set_data(&mut Vec::new(), None, 2, |_| {});
        assert_eq!((first.data(), first.name()), (None, &b"a"[..]));
        first.set_data(&mut Vec::new(), Some(b""), 2, |_| {});
        assert_eq!((first.data(), first.data_len()), (Some(&b""[..]), 0));
    }

    #[test]
    fn names_are_written_as_java_writes_them() {
        for name in ["", "é", "\u{1f600}", &"x".repeat(32), &"x".repeat(33)] {
            for data in [None, Some(&[7u8; 40][..])] {
                let mut out = vec![1];
                node(name, data).put_name(&mut out);
                let mut expected = vec![1];
                expected.put_string(name);
                assert_eq!(out, expected);
            }
        }
    }
}
