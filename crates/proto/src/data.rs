//! Records that stand inside others: `Stat`, access control lists, lists of strings.
//!
//! Lists stay encoded. A create carries an ACL, a closeSession its paths; both are checked once
//! when they are decoded and walked in place afterwards, so neither costs an allocation on the way
//! through the server.

use std::borrow::Cow;

use crate::codec::{DecodeError, Put, Reader};
use crate::ids::{SessionId, Zxid};

/// What a client is told about a znode (68 bytes). `cversion` and `ephemeral_owner` are the
/// *visible* values, see [`StatPersisted`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Stat {
    /// Transaction that created the znode.
    pub czxid: Zxid,
    /// Transaction that last set its data.
    pub mzxid: Zxid,
    /// Wall clock at creation, ms.
    pub ctime_ms: i64,
    /// Wall clock at the last change of data, ms.
    pub mtime_ms: i64,
    /// Changes of data.
    pub version: i32,
    /// Changes of the set of children, creates and deletes counted.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// Owning session of an ordinary ephemeral, otherwise 0.
    pub ephemeral_owner: SessionId,
    /// Bytes of data; null counts as 0.
    pub data_length: i32,
    /// Children now.
    pub num_children: i32,
    /// Transaction that last changed the set of children.
    pub pzxid: Zxid,
}

impl Stat {
    /// Encoded size in bytes.
    pub const BYTES: usize = 68;

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut raw = [0u8; Self::BYTES];
        raw[0..8].copy_from_slice(&self.czxid.0.to_be_bytes());
        raw[8..16].copy_from_slice(&self.mzxid.0.to_be_bytes());
        raw[16..24].copy_from_slice(&self.ctime_ms.to_be_bytes());
        raw[24..32].copy_from_slice(&self.mtime_ms.to_be_bytes());
        raw[32..36].copy_from_slice(&self.version.to_be_bytes());
        raw[36..40].copy_from_slice(&self.cversion.to_be_bytes());
        raw[40..44].copy_from_slice(&self.aversion.to_be_bytes());
        raw[44..52].copy_from_slice(&self.ephemeral_owner.0.to_be_bytes());
        raw[52..56].copy_from_slice(&self.data_length.to_be_bytes());
        raw[56..60].copy_from_slice(&self.num_children.to_be_bytes());
        raw[60..68].copy_from_slice(&self.pzxid.0.to_be_bytes());
        out.extend_from_slice(&raw);
    }

    /// Decodes the record.
    #[inline]
    pub fn decode(reader: &mut Reader<'_>) -> Result<Stat, DecodeError> {
        // Looked for once: the rest knows that it is there.
        let reader = &mut Reader::new(reader.take(Self::BYTES)?);
        Ok(Stat {
            czxid: Zxid(reader.i64()?),
            mzxid: Zxid(reader.i64()?),
            ctime_ms: reader.i64()?,
            mtime_ms: reader.i64()?,
            version: reader.i32()?,
            cversion: reader.i32()?,
            aversion: reader.i32()?,
            ephemeral_owner: SessionId(reader.i64()?),
            data_length: reader.i32()?,
            num_children: reader.i32()?,
            pzxid: Zxid(reader.i64()?),
        })
    }
}

/// The stored form of a stat (60 bytes in snapshots). `cversion` counts only creations here, and
/// `ephemeral_owner` is the raw field that also marks containers and TTL nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StatPersisted {
    /// Transaction that created the znode.
    pub czxid: Zxid,
    /// Transaction that last set its data.
    pub mzxid: Zxid,
    /// Wall clock at creation, ms.
    pub ctime_ms: i64,
    /// Wall clock at the last change of data, ms.
    pub mtime_ms: i64,
    /// Changes of data.
    pub version: i32,
    /// Children created so far: the next sequence number.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// Session id, container mark or TTL (`EphemeralType`).
    pub ephemeral_owner: i64,
    /// Transaction that last changed the set of children.
    pub pzxid: Zxid,
}

impl StatPersisted {
    /// Encoded size in bytes.
    pub const BYTES: usize = 60;

    /// Appends the record as snapshots hold it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_long(self.czxid.0);
        out.put_long(self.mzxid.0);
        out.put_long(self.ctime_ms);
        out.put_long(self.mtime_ms);
        out.put_int(self.version);
        out.put_int(self.cversion);
        out.put_int(self.aversion);
        out.put_long(self.ephemeral_owner);
        out.put_long(self.pzxid.0);
    }

    /// Decodes the record.
    pub fn decode(reader: &mut Reader<'_>) -> Result<StatPersisted, DecodeError> {
        Ok(StatPersisted {
            czxid: Zxid(reader.i64()?),
            mzxid: Zxid(reader.i64()?),
            ctime_ms: reader.i64()?,
            mtime_ms: reader.i64()?,
            version: reader.i32()?,
            cversion: reader.i32()?,
            aversion: reader.i32()?,
            ephemeral_owner: reader.i64()?,
            pzxid: Zxid(reader.i64()?),
        })
    }
}

/// Permission bits of an ACL entry (`ZooDefs.Perms`).
pub mod perms {
    /// Read data, list children, receive events.
    pub const READ: i32 = 1;
    /// Set data.
    pub const WRITE: i32 = 2;
    /// Create children.
    pub const CREATE: i32 = 4;
    /// Delete children.
    pub const DELETE: i32 = 8;
    /// Set the ACL.
    pub const ADMIN: i32 = 16;
    /// Everything.
    pub const ALL: i32 = 31;
}

/// One entry of an access control list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl<'a> {
    /// Permission bits, see [`perms`].
    pub perms: i32,
    /// The authentication scheme, null as Java allows it to be sent.
    pub scheme: Option<Cow<'a, str>>,
    /// The identity within the scheme.
    pub id: Option<Cow<'a, str>>,
}

impl<'a> Acl<'a> {
    /// An entry from its parts.
    pub fn new(perms: i32, scheme: &'a str, id: &'a str) -> Self {
        Acl { perms, scheme: Some(Cow::Borrowed(scheme)), id: Some(Cow::Borrowed(id)) }
    }

    /// Appends the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.put_int(self.perms);
        out.put_opt_string(self.scheme.as_deref());
        out.put_opt_string(self.id.as_deref());
    }

    /// Decodes the record.
    pub fn decode(reader: &mut Reader<'a>) -> Result<Acl<'a>, DecodeError> {
        Ok(Acl { perms: reader.i32()?, scheme: reader.opt_string()?, id: reader.opt_string()? })
    }
}

/// An access control list, still encoded: count and entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AclList<'a> {
    raw: &'a [u8],
}

/// `world:anyone` with all permissions, encoded: what nearly every create carries.
pub const OPEN_ACL_UNSAFE: AclList<'static> = AclList { raw: OPEN_ACL_UNSAFE_BYTES };
const OPEN_ACL_UNSAFE_BYTES: &[u8] =
    b"\x00\x00\x00\x01\x00\x00\x00\x1f\x00\x00\x00\x05world\x00\x00\x00\x06anyone";

impl<'a> AclList<'a> {
    /// Decodes the list, checking every entry.
    pub fn decode(reader: &mut Reader<'a>) -> Result<AclList<'a>, DecodeError> {
        let start = reader.rest();
        if start.starts_with(OPEN_ACL_UNSAFE_BYTES) {
            return Ok(AclList { raw: reader.take(OPEN_ACL_UNSAFE_BYTES.len())? });
        }
        for _ in 0..reader.count()?.unwrap_or(0) {
            Acl::decode(reader)?;
        }
        Ok(AclList { raw: &start[..start.len() - reader.rest().len()] })
    }

    /// A list from bytes that [`encode_acl`] or [`AclList::raw`] produced.
    pub fn from_raw(raw: &'a [u8]) -> Result<AclList<'a>, DecodeError> {
        let mut reader = Reader::with_field_max(raw, usize::MAX);
        let list = AclList::decode(&mut reader)?;
        match reader.rest().len() {
            0 => Ok(list),
            left => Err(DecodeError::LeftOver { left }),
        }
    }

    /// The encoded bytes, count included.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// True if the list is null on the wire.
    pub fn is_null(&self) -> bool {
        self.raw.starts_with(&[0xff; 4])
    }

    /// The entries in order. Empty for a null list.
    pub fn iter(&self) -> impl Iterator<Item = Acl<'a>> + use<'a> {
        let mut reader = Reader::with_field_max(self.raw, usize::MAX);
        let count = reader.count().ok().flatten().unwrap_or(0);
        (0..count).map_while(move |_| Acl::decode(&mut reader).ok())
    }

    /// Appends the list.
    pub fn encode(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.raw);
    }
}

/// Appends a list of entries.
pub fn encode_acl(out: &mut Vec<u8>, acl: &[Acl<'_>]) {
    out.put_int(acl.len() as i32);
    for entry in acl {
        entry.encode(out);
    }
}

/// A list of strings, still encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StringList<'a> {
    raw: &'a [u8],
}

impl<'a> StringList<'a> {
    /// Decodes the list, checking every element. Null elements are refused.
    pub fn decode(reader: &mut Reader<'a>) -> Result<StringList<'a>, DecodeError> {
        let start = reader.rest();
        for _ in 0..reader.count()?.unwrap_or(0) {
            reader.string()?;
        }
        Ok(StringList { raw: &start[..start.len() - reader.rest().len()] })
    }

    /// The number of elements; 0 for a null list.
    pub fn len(&self) -> usize {
        Reader::new(self.raw).count().ok().flatten().unwrap_or(0)
    }

    /// True if there is no element.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The elements in order.
    pub fn iter(&self) -> impl Iterator<Item = Cow<'a, str>> + use<'a> {
        let mut reader = Reader::with_field_max(self.raw, usize::MAX);
        let count = reader.count().ok().flatten().unwrap_or(0);
        (0..count).map_while(move |_| reader.string().ok())
    }

    /// The encoded bytes, count included.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }
}

/// Appends a list of strings.
pub fn encode_strings<S: AsRef<str>>(out: &mut Vec<u8>, strings: &[S]) {
    out.put_int(strings.len() as i32);
    for text in strings {
        out.put_string(text.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_open_list_is_what_its_entries_encode_to() {
        let mut out = Vec::new();
        encode_acl(&mut out, &[Acl::new(perms::ALL, "world", "anyone")]);
        assert_eq!(AclList::from_raw(&out).unwrap(), OPEN_ACL_UNSAFE);
        assert_eq!(OPEN_ACL_UNSAFE.iter().count(), 1);
    }

    #[test]
    fn lists_are_walked_in_place() {
        let mut out = Vec::new();
        encode_acl(&mut out, &[Acl::new(1, "ip", "10.0.0.0/8"), Acl::new(31, "digest", "a:b")]);
        out.push(7);
        let mut reader = Reader::new(&out);
        let list = AclList::decode(&mut reader).unwrap();
        assert_eq!(reader.rest(), [7]);
        let ids: Vec<_> = list.iter().map(|a| a.id.unwrap().into_owned()).collect();
        assert_eq!(ids, ["10.0.0.0/8", "a:b"]);
        let null = (-1i32).to_be_bytes();
        assert!(AclList::from_raw(&null).unwrap().is_null());
    }

    #[test]
    fn a_count_without_elements_is_truncated_not_reserved() {
        let bytes = i32::MAX.to_be_bytes();
        assert!(StringList::decode(&mut Reader::new(&bytes)).is_err());
        assert!(AclList::decode(&mut Reader::new(&bytes)).is_err());
    }

    #[test]
    fn stat_round_trips() {
        let stat = Stat {
            czxid: Zxid(1),
            mzxid: Zxid(2),
            ctime_ms: 3,
            mtime_ms: 4,
            version: 5,
            cversion: -1,
            aversion: 7,
            ephemeral_owner: SessionId(8),
            data_length: 9,
            num_children: 10,
            pzxid: Zxid(11),
        };
        let mut out = Vec::new();
        stat.encode(&mut out);
        assert_eq!(out.len(), Stat::BYTES);
        assert_eq!(Stat::decode(&mut Reader::new(&out)).unwrap(), stat);
    }
}
