//! Digests: whether two members have the same tree (`DigestCalculator`, version 2).
//!
//! A znode's digest is the CRC-32 of its path, its data and the 60 bytes of its stat; the tree's is
//! their sum modulo 2⁶⁴. The stat comes last, so the CRC over path and data is kept with the znode
//! and a change of its stat costs 60 bytes, not a look at the data.

use std::collections::VecDeque;

use crc32fast::Hasher;
use oxkeeper_proto::{StatPersisted, Zxid};

use crate::limits::DIGEST_LOG_ENTRIES;
use crate::path;

/// The CRC-32 over path and data, the part of a digest that a change of the stat leaves alone. The
/// root counts as `""`, however it is spelled.
pub fn data_crc(path: &str, data: Option<&[u8]>) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(path::canonical(path).as_bytes());
    hasher.update(data.unwrap_or(&[]));
    hasher.finalize()
}

/// A znode's digest from [`data_crc`] and its stored stat. Znodes below `/zookeeper/` do not count;
/// [`path::is_digested`] tells.
#[inline]
pub fn node_digest(data_crc: u32, stat: &StatPersisted) -> i64 {
    // The order is the calculator's own, not that of the stat in snapshots.
    let mut raw = [0u8; 60];
    raw[0..8].copy_from_slice(&stat.czxid.0.to_be_bytes());
    raw[8..16].copy_from_slice(&stat.mzxid.0.to_be_bytes());
    raw[16..24].copy_from_slice(&stat.pzxid.0.to_be_bytes());
    raw[24..32].copy_from_slice(&stat.ctime_ms.to_be_bytes());
    raw[32..40].copy_from_slice(&stat.mtime_ms.to_be_bytes());
    raw[40..44].copy_from_slice(&stat.version.to_be_bytes());
    raw[44..48].copy_from_slice(&stat.cversion.to_be_bytes());
    raw[48..52].copy_from_slice(&stat.aversion.to_be_bytes());
    raw[52..60].copy_from_slice(&stat.ephemeral_owner.to_be_bytes());
    let mut hasher = Hasher::new_with_initial(data_crc);
    hasher.update(&raw);
    i64::from(hasher.finalize())
}

/// The [`data_crc`]s of transactions that were prepared here and are not applied yet: the one part
/// of a digest that depends on the request's bytes alone, and the largest, is then computed once.
/// Everything else is computed anew when it is applied, so that the comparison of digests still
/// says something.
#[derive(Debug, Default)]
pub struct PreparedCrcs {
    /// By transaction and place in it.
    queue: VecDeque<(Zxid, u32, u32)>,
}

impl PreparedCrcs {
    pub(crate) fn put(&mut self, zxid: Zxid, nth: u32, crc: u32) {
        self.queue.push_back((zxid, nth, crc));
    }

    /// Forgets what a transaction that came to nothing put in last.
    pub(crate) fn take_back(&mut self, zxid: Zxid) {
        while self.queue.back().is_some_and(|&(last, ..)| last == zxid) {
            self.queue.pop_back();
        }
    }

    pub(crate) fn clear(&mut self) {
        self.queue.clear();
    }

    /// The CRC for one operation of a transaction, if it was prepared here. To be asked in the
    /// order in which transactions are applied.
    #[inline]
    pub(crate) fn take(&mut self, zxid: Zxid, nth: u32) -> Option<u32> {
        while let Some(&(prepared, place, crc)) = self.queue.front() {
            if (prepared, place) > (zxid, nth) {
                return None;
            }
            self.queue.pop_front();
            if (prepared, place) == (zxid, nth) {
                return Some(crc);
            }
        }
        None
    }
}

/// Digests remembered for comparison between members: one for every 128th transaction, the `hash`
/// word and the admin command print them (`DataTree.logZxidDigest`).
#[derive(Debug, Clone, Default)]
pub(crate) struct DigestLog {
    entries: VecDeque<(Zxid, i64)>,
}

impl DigestLog {
    pub fn record(&mut self, zxid: Zxid, digest: i64) {
        if zxid.0 % 128 != 0 {
            return;
        }
        if self.entries.len() == DIGEST_LOG_ENTRIES {
            self.entries.pop_front();
        }
        self.entries.push_back((zxid, digest));
    }

    pub fn iter(&self) -> impl Iterator<Item = (Zxid, i64)> {
        self.entries.iter().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_crc_goes_on_where_the_data_ended() {
        let stat = StatPersisted { czxid: Zxid(1), version: 2, ..StatPersisted::default() };
        let mut whole = Hasher::new();
        whole.update(b"/ab");
        whole.update(b"data");
        let mut raw = [0u8; 60];
        raw[7] = 1;
        raw[43] = 2;
        whole.update(&raw);
        let expected = i64::from(whole.finalize());
        assert_eq!(node_digest(data_crc("/ab", Some(b"data")), &stat), expected);
        assert_eq!(data_crc("/", None), data_crc("", Some(b"")));
    }

    #[test]
    fn a_prepared_crc_is_found_by_its_place_only() {
        let mut crcs = PreparedCrcs::default();
        for (zxid, nth) in [(1, 0), (2, 0), (2, 2), (2, 3), (4, 0), (5, 1)] {
            crcs.put(Zxid(zxid), nth, zxid as u32 * 10 + nth);
        }
        crcs.take_back(Zxid(5));
        // Nobody asked for the first; the second transaction's middle operation has none.
        let asked = [(2, 0), (2, 1), (2, 2), (3, 0), (2, 3), (4, 0), (4, 1)];
        let found: Vec<_> = asked.map(|(zxid, nth)| crcs.take(Zxid(zxid), nth)).into();
        assert_eq!(found, [Some(20), None, Some(22), None, None, Some(40), None]);
    }

    #[test]
    fn the_log_keeps_the_last_entries() {
        let mut log = DigestLog::default();
        for zxid in 1..=128 * (DIGEST_LOG_ENTRIES as i64 + 2) {
            log.record(Zxid(zxid), zxid);
        }
        assert_eq!(log.iter().count(), DIGEST_LOG_ENTRIES);
        assert_eq!(log.iter().next(), Some((Zxid(3 * 128), 3 * 128)));
    }
}
