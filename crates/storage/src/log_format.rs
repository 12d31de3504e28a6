//! The bytes of a log file: header, entries, and the mark in the header.
//!
//! ```text
//! header  "ZKLG" · version i32 = 2 · dbid i64
//! entry   Adler-32 of the payload, i64 · length i32 · payload · 'B'
//! rest    zeros
//! ```
//!
//! All numbers are big endian. A payload begins with a TxnHeader (client id i64, cxid i32, zxid
//! i64, time i64, type i32), which is all this crate ever reads of it: the zxid.
//!
//! # The mark
//!
//! Java writes 0 into `dbid` and ignores it on reading. Files written here keep a *mark* there:
//! an offset below which every byte was synced when the mark was written. It is written between
//! batches, after the fdatasync that makes it true, and becomes durable with some later sync. So
//! on disk it may be old, but never ahead of the truth:
//!
//! - damage, or the end of entries, *below* the mark: synced bytes changed. Rotten.
//! - damage *above* the mark: torn, to be cut. (Synced bytes that rot before the mark has passed
//!   them are misjudged; the log renews the mark every few batches and when it falls idle.)
//!
//! A file is left for the next one only after its mark has reached its end and was synced, hence
//! the same rule judges files in the middle, even when a Java server took over for a while and
//! left a torn tail of ours in place.
//!
//! The mark is 36 bits of offset under 28 bits of hash. A word of 8 bytes lies in one sector and
//! is not torn by disks; the hash is there for rot, and to tell marks from other numbers.

use oxkeeper_proto::Zxid;
use simd_adler32::adler32;

use crate::limits::LOG_ENTRY_BYTES_MAX;

/// Bytes of the file header.
pub const HEADER_BYTES: usize = 16;
/// Offset of the mark (`dbid`) in the header.
pub(crate) const MARK_OFFSET: u64 = 8;
/// Bytes before the payload of an entry: checksum and length.
pub const ENTRY_PREFIX_BYTES: usize = 12;
/// Bytes around a payload: prefix and end byte.
pub const ENTRY_OVERHEAD_BYTES: usize = ENTRY_PREFIX_BYTES + 1;
/// Bytes of a TxnHeader, the least a payload can have.
pub const TXN_HEADER_BYTES: usize = 32;

const MAGIC: &[u8; 4] = b"ZKLG";
const VERSION: i32 = 2;
pub(crate) const END_OF_ENTRY: u8 = b'B';
const OFFSET_BITS: u32 = 36;

/// Appends one framed entry: checksum, length, payload, end byte.
///
/// # Panics
///
/// If the payload is longer than [`LOG_ENTRY_BYTES_MAX`]: nothing that large passes the limits
/// on requests, and no reader would accept it.
pub fn frame_entry(out: &mut Vec<u8>, payload: &[u8]) {
    assert!(payload.len() <= LOG_ENTRY_BYTES_MAX, "log entry of {} bytes", payload.len());
    out.reserve(payload.len() + ENTRY_OVERHEAD_BYTES);
    out.extend_from_slice(&i64::from(adler32(&payload)).to_be_bytes());
    out.extend_from_slice(&(payload.len() as i32).to_be_bytes());
    out.extend_from_slice(payload);
    out.push(END_OF_ENTRY);
}

/// Frames an entry in place, for an encoder that writes payloads straight into the batch: leave
/// [`ENTRY_PREFIX_BYTES`] bytes, encode the payload behind them, then call this with the offset
/// of the entry (of the bytes left). Everything after them is the payload; the end byte is
/// appended.
///
/// # Panics
///
/// If fewer than [`ENTRY_PREFIX_BYTES`] bytes follow `start`, or the payload is longer than
/// [`LOG_ENTRY_BYTES_MAX`].
pub fn seal_entry(out: &mut Vec<u8>, start: usize) {
    let (prefix, payload) = out[start..].split_at_mut(ENTRY_PREFIX_BYTES);
    assert!(payload.len() <= LOG_ENTRY_BYTES_MAX, "log entry of {} bytes", payload.len());
    prefix[..8].copy_from_slice(&i64::from(adler32(&&*payload)).to_be_bytes());
    prefix[8..].copy_from_slice(&(payload.len() as i32).to_be_bytes());
    out.push(END_OF_ENTRY);
}

/// The zxid of a payload, or none if it is too short to have a TxnHeader.
pub fn payload_zxid(payload: &[u8]) -> Option<Zxid> {
    if payload.len() < TXN_HEADER_BYTES {
        return None;
    }
    payload[12..].first_chunk().map(|zxid| Zxid(i64::from_be_bytes(*zxid)))
}

/// A header with the mark at this offset.
pub(crate) fn header(mark: u64) -> [u8; HEADER_BYTES] {
    let mut out = [0; HEADER_BYTES];
    out[..4].copy_from_slice(MAGIC);
    out[4..8].copy_from_slice(&VERSION.to_be_bytes());
    out[8..].copy_from_slice(&mark_bytes(mark));
    out
}

pub(crate) fn mark_bytes(mark: u64) -> [u8; 8] {
    debug_assert!(mark < 1 << OFFSET_BITS);
    (u64::from(mark_hash(mark)) << OFFSET_BITS | mark).to_be_bytes()
}

fn mark_hash(mark: u64) -> u32 {
    // Any multiplication that spreads 36 bits over the upper 28 will do. The added constant
    // keeps small offsets from hashing to small numbers.
    let spread = (mark + 0x6f78_6b65).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (spread >> OFFSET_BITS) as u32
}

/// What a header says about its file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// Written by Java: no mark.
    Java,
    /// Ours, synced at least up to this offset.
    Marked(u64),
    /// Not a log header: too short, another magic, or a mark that was damaged.
    Invalid,
}

pub(crate) fn parse_header(bytes: &[u8]) -> Header {
    let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else { return Header::Invalid };
    if &bytes[..4] != MAGIC {
        return Header::Invalid;
    }
    let dbid = bytes[8..].iter().fold(0u64, |n, b| n << 8 | u64::from(*b));
    let mark = dbid & ((1 << OFFSET_BITS) - 1);
    match dbid {
        0 => Header::Java,
        _ if (dbid >> OFFSET_BITS) as u32 == mark_hash(mark) => Header::Marked(mark),
        _ => Header::Invalid,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_of_framing_agree() {
        let payload: Vec<u8> = (0..100).collect();
        let mut copied = b"before".to_vec();
        frame_entry(&mut copied, &payload);
        let mut in_place = b"before".to_vec();
        in_place.extend_from_slice(&[0xff; ENTRY_PREFIX_BYTES]);
        in_place.extend_from_slice(&payload);
        seal_entry(&mut in_place, 6);
        assert_eq!(copied, in_place);
        assert_eq!(copied.len(), 6 + ENTRY_OVERHEAD_BYTES + 100);
    }

    #[test]
    fn a_header_without_mark_is_javas() {
        let mut bytes = header(16);
        assert_eq!(&bytes[..8], b"ZKLG\0\0\0\x02");
        bytes[8..].fill(0);
        assert_eq!(parse_header(&bytes), Header::Java);
    }

    #[test]
    fn marks_survive_and_their_damage_shows() {
        for mark in [16, 319, 65536, (1 << 36) - 1] {
            let bytes = header(mark);
            assert_eq!(parse_header(&bytes), Header::Marked(mark));
            for bit in 64..128 {
                let mut damaged = bytes;
                damaged[bit / 8] ^= 1 << (bit % 8);
                assert_eq!(parse_header(&damaged), Header::Invalid, "mark {mark}, bit {bit}");
            }
        }
    }

    #[test]
    fn short_payloads_have_no_zxid() {
        let mut payload = [0; TXN_HEADER_BYTES];
        payload[12..20].copy_from_slice(&7i64.to_be_bytes());
        assert_eq!(payload_zxid(&payload), Some(Zxid(7)));
        assert_eq!(payload_zxid(&payload[..31]), None);
    }
}
