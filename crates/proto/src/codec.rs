//! Jute's primitives over a bounded cursor.
//!
//! Everything ZooKeeper puts on a socket or into a file is built from big-endian integers, one-byte
//! booleans and length-prefixed buffers, strings and vectors, where length −1 means *null*.
//! [`Reader`] walks borrowed bytes and is the only thing here that can fail; writing appends to a
//! `Vec<u8>` through [`Put`] and cannot. Strings are borrowed when they are valid UTF-8 and
//! repaired the way Java's decoder does when they are not, so a damaged name never costs a
//! connection.

use std::borrow::Cow;

use crate::limits::FIELD_BYTES_MAX_DEFAULT;

/// Why bytes could not be decoded. The fault always lies with whoever produced the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The record ends before its last field.
    #[error("record ends early: needed {needed} more bytes")]
    Truncated {
        /// Bytes that are missing at the least.
        needed: usize,
    },
    /// A length below −1, or beyond what the reader was told to accept.
    #[error("unreasonable length {len}, at most {max} are accepted")]
    Length {
        /// The length found.
        len: i32,
        /// The largest length accepted.
        max: usize,
    },
    /// A string that must be present is null.
    #[error("a required string is null")]
    NullString,
    /// A number stands for no known kind (an operation, a create mode, a watcher type).
    #[error("unknown {what} {value}")]
    Unknown {
        /// What the number should have named.
        what: &'static str,
        /// The number found.
        value: i32,
    },
    /// Operations that exclude each other in one multi.
    #[error("reads and writes in one multi")]
    MixedMulti,
    /// Bytes are left over where the format allows none.
    #[error("{left} bytes are left over")]
    LeftOver {
        /// How many.
        left: usize,
    },
}

/// A cursor over borrowed bytes that never reads past their end.
#[derive(Debug, Clone)]
pub struct Reader<'a> {
    rest: &'a [u8],
    field_bytes_max: usize,
}

impl<'a> Reader<'a> {
    /// A reader that accepts strings and buffers up to Java's default bound.
    pub fn new(bytes: &'a [u8]) -> Self {
        Reader { rest: bytes, field_bytes_max: FIELD_BYTES_MAX_DEFAULT }
    }

    /// A reader with its own bound for one string or buffer
    /// (`jute.maxbuffer` + `zookeeper.jute.maxbuffer.extrasize`; `BinaryInputArchive.checkLength`).
    pub fn with_field_max(bytes: &'a [u8], field_bytes_max: usize) -> Self {
        Reader { rest: bytes, field_bytes_max }
    }

    /// The bytes not read yet.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// True when everything has been read.
    pub fn is_empty(&self) -> bool {
        self.rest.is_empty()
    }

    /// Takes `n` raw bytes.
    #[inline]
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], DecodeError> {
        if self.rest.len() < n {
            return Err(DecodeError::Truncated { needed: n - self.rest.len() });
        }
        let (head, tail) = self.rest.split_at(n);
        self.rest = tail;
        Ok(head)
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((head, tail)) => {
                self.rest = tail;
                Ok(*head)
            }
            None => Err(DecodeError::Truncated { needed: N - self.rest.len() }),
        }
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        Ok(self.array::<1>()?[0])
    }

    /// A boolean: any byte but 0 is true, as in Java.
    pub fn bool(&mut self) -> Result<bool, DecodeError> {
        Ok(self.u8()? != 0)
    }

    /// A 32-bit integer.
    #[inline]
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A 64-bit integer.
    #[inline]
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A buffer; `None` is null, which is not the same as empty.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>, DecodeError> {
        let len = self.i32()?;
        if len == -1 {
            return Ok(None);
        }
        if len < 0 || len as usize > self.field_bytes_max {
            return Err(DecodeError::Length { len, max: self.field_bytes_max });
        }
        self.take(len as usize).map(Some)
    }

    /// A string that may be null.
    pub fn opt_string(&mut self) -> Result<Option<Cow<'a, str>>, DecodeError> {
        Ok(self.buffer()?.map(|bytes| match std::str::from_utf8(bytes) {
            Ok(text) => Cow::Borrowed(text),
            Err(_) => Cow::Owned(String::from_utf8_lossy(bytes).into_owned()),
        }))
    }

    /// A string that must be present.
    pub fn string(&mut self) -> Result<Cow<'a, str>, DecodeError> {
        self.opt_string()?.ok_or(DecodeError::NullString)
    }

    /// The element count of a vector; `None` is null. Counts below −1 read as empty, as in Java.
    /// Nothing may be reserved by the count alone: the elements behind it may be missing.
    pub fn count(&mut self) -> Result<Option<usize>, DecodeError> {
        let count = self.i32()?;
        Ok(if count == -1 { None } else { Some(count.max(0) as usize) })
    }
}

/// Appending jute primitives to a byte vector.
pub trait Put {
    /// A boolean as one byte.
    fn put_bool(&mut self, value: bool);
    /// A 32-bit integer.
    fn put_int(&mut self, value: i32);
    /// A 64-bit integer.
    fn put_long(&mut self, value: i64);
    /// A buffer; `None` is null.
    fn put_buffer(&mut self, value: Option<&[u8]>);
    /// A string, written as Java writes it: a character beyond the basic plane becomes two
    /// three-byte units (`BinaryOutputArchive.stringToByteBuffer`).
    fn put_string(&mut self, value: &str);
    /// A string that may be null.
    fn put_opt_string(&mut self, value: Option<&str>);
}

impl Put for Vec<u8> {
    #[inline]
    fn put_bool(&mut self, value: bool) {
        self.push(value as u8);
    }

    #[inline]
    fn put_int(&mut self, value: i32) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    fn put_long(&mut self, value: i64) {
        self.extend_from_slice(&value.to_be_bytes());
    }

    #[inline]
    fn put_buffer(&mut self, value: Option<&[u8]>) {
        match value {
            None => self.put_int(-1),
            Some(bytes) => {
                self.put_int(bytes.len() as i32);
                self.extend_from_slice(bytes);
            }
        }
    }

    #[inline]
    fn put_string(&mut self, value: &str) {
        // Four-byte sequences start with 0xF0 or more; text without them is the same in both forms.
        if value.bytes().all(|b| b < 0xf0) {
            self.put_buffer(Some(value.as_bytes()));
        } else {
            put_cesu8(self, value);
        }
    }

    fn put_opt_string(&mut self, value: Option<&str>) {
        match value {
            None => self.put_int(-1),
            Some(text) => self.put_string(text),
        }
    }
}

#[cold]
fn put_cesu8(out: &mut Vec<u8>, value: &str) {
    let start = out.len();
    out.put_int(0);
    for unit in value.encode_utf16() {
        match unit {
            0..=0x7f => out.push(unit as u8),
            0x80..=0x7ff => {
                out.extend_from_slice(&[0xc0 | (unit >> 6) as u8, 0x80 | (unit & 0x3f) as u8])
            }
            _ => out.extend_from_slice(&[
                0xe0 | (unit >> 12) as u8,
                0x80 | ((unit >> 6) & 0x3f) as u8,
                0x80 | (unit & 0x3f) as u8,
            ]),
        }
    }
    let len = (out.len() - start - 4) as i32;
    patch_int(out, start, len);
}

/// Overwrites the four bytes at `at` with `value`: lengths are known only behind their content.
#[inline]
pub fn patch_int(out: &mut [u8], at: usize, value: i32) {
    out[at..at + 4].copy_from_slice(&value.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_stay_apart() {
        let mut out = Vec::new();
        out.put_buffer(None);
        out.put_buffer(Some(b""));
        assert_eq!(out, [0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]);
        let mut reader = Reader::new(&out);
        assert_eq!(reader.buffer(), Ok(None));
        assert_eq!(reader.buffer(), Ok(Some(&b""[..])));
        assert!(reader.is_empty());
    }

    #[test]
    fn a_length_beyond_the_bound_is_refused_before_the_bytes_are_looked_at() {
        let bytes = 11i32.to_be_bytes();
        let mut reader = Reader::with_field_max(&bytes, 10);
        assert_eq!(reader.buffer(), Err(DecodeError::Length { len: 11, max: 10 }));
        let bytes = (-2i32).to_be_bytes();
        let mut reader = Reader::new(&bytes);
        assert!(matches!(reader.buffer(), Err(DecodeError::Length { len: -2, .. })));
    }

    #[test]
    fn characters_beyond_the_basic_plane_are_written_as_java_writes_them() {
        let mut out = Vec::new();
        out.put_string("a\u{1f600}é");
        // U+1F600 is the pair D83D DE00, each unit as three bytes.
        assert_eq!(out, [0, 0, 0, 9, b'a', 0xed, 0xa0, 0xbd, 0xed, 0xb8, 0x80, 0xc3, 0xa9]);
    }

    #[test]
    fn broken_text_is_repaired_not_refused() {
        let mut out = Vec::new();
        out.put_buffer(Some(b"/a\xff"));
        assert_eq!(Reader::new(&out).string().unwrap(), "/a\u{fffd}");
    }

    #[test]
    fn every_prefix_of_a_record_is_truncated() {
        let mut out = Vec::new();
        out.put_long(1);
        out.put_string("abc");
        for cut in 0..out.len() {
            let mut reader = Reader::new(&out[..cut]);
            let result = reader.i64().and_then(|_| reader.string().map(|_| ()));
            assert!(matches!(result, Err(DecodeError::Truncated { .. })), "cut at {cut}");
        }
    }
}
