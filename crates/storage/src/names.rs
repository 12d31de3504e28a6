//! File names: `<kind>.<zxid in hex>`, as Java writes and finds them (`persistence/Util.java`).
//!
//! Java also takes `log.81.bak` for a log and `snapshot.81.old` for a plain snapshot, so that a
//! backup beside the original is replayed twice. Here a name has exactly the parts it needs, and
//! anything else is not ours.

use oxkeeper_proto::Zxid;

use crate::snapshots::Compression;

/// Prefix of a snapshot that is being written. Must not look like a snapshot.
pub(crate) const UNFINISHED: &str = "unfinished-";

/// Prefix of a snapshot that is being received. Begins as [`UNFINISHED`] does.
pub(crate) const UNFINISHED_RECEIVED: &str = "unfinished-received-";

/// Prefix of a file that is being purged. Must look like no snapshot and no log.
pub(crate) const PURGED: &str = "purged-";

/// Prefix of a log of Java's in which nothing could be read.
pub(crate) const PUT_ASIDE: &str = "torn-";

pub(crate) fn log_name(first: Zxid) -> String {
    format!("log.{:x}", first.0)
}

pub(crate) fn snapshot_name(zxid: Zxid, compression: Compression) -> String {
    format!("snapshot.{:x}{}", zxid.0, compression.extension())
}

pub(crate) fn parse_log_name(name: &str) -> Option<Zxid> {
    parse_zxid(name.strip_prefix("log.")?)
}

pub(crate) fn parse_snapshot_name(name: &str) -> Option<(Zxid, Compression)> {
    let rest = name.strip_prefix("snapshot.")?;
    let (zxid, compression) = match rest.split_once('.') {
        None => (rest, Compression::None),
        Some((zxid, extension)) => (zxid, Compression::from_extension(extension)?),
    };
    Some((parse_zxid(zxid)?, compression))
}

fn parse_zxid(hex: &str) -> Option<Zxid> {
    // from_str_radix would take a sign.
    let digits = !hex.is_empty() && hex.bytes().all(|b| b.is_ascii_hexdigit());
    digits.then(|| i64::from_str_radix(hex, 16).ok().map(Zxid)).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_count() {
        assert_eq!(parse_log_name("log.10000000d"), Some(Zxid(0x1_0000_000d)));
        let snapshots = [
            ("snapshot.0", Some((Zxid(0), Compression::None))),
            ("snapshot.80.gz", Some((Zxid(0x80), Compression::Gzip))),
            ("snapshot.80.snappy", Some((Zxid(0x80), Compression::Snappy))),
            ("snapshot.80.bak", None),
            ("snapshot.80.old.gz", None),
            ("snapshot.", None),
            ("snapshot.-1", None),
            ("unfinished-snapshot.80", None),
        ];
        for (name, expected) in snapshots {
            assert_eq!(parse_snapshot_name(name), expected, "{name}");
        }
        for name in ["log", "log.", "log.+5", "log.81.bak", "log.xyz", "log.ffffffffffffffff0"] {
            assert_eq!(parse_log_name(name), None, "{name}");
        }
    }

    #[test]
    fn names_survive_the_round_trip() {
        for zxid in [Zxid(0), Zxid(0x81), Zxid(i64::MAX)] {
            assert_eq!(parse_log_name(&log_name(zxid)), Some(zxid));
            for c in [Compression::None, Compression::Gzip, Compression::Snappy] {
                assert_eq!(parse_snapshot_name(&snapshot_name(zxid, c)), Some((zxid, c)));
            }
        }
    }
}
