//! Breaks in a member's transaction log: where what follows is not what comes next.
//!
//! Servers of Apache's before 3.9 that lose their leader under load go on as if they had logged
//! what was still on its way to their disk, or log it twice: the thread that logs is left to itself
//! when the role ends, and may still be writing beside the next one's (ZOOKEEPER-4541 and 4712),
//! and a failed synchronisation is logged again (4394). Nobody sees it before they start again.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use oxkeeper_proto::Zxid;

/// Of a log: magic number, version, database.
const FILE_HEADER: usize = 16;
/// Of a transaction: checksum and length before it.
const ENTRY_HEADER: usize = 12;
/// Where a transaction has its zxid: behind session and cxid.
const ZXID_AT: usize = 12;

/// Each place in the logs of a data directory where a transaction does not follow the one before.
///
/// # Errors
/// When the files cannot be read.
pub fn in_logs(version_2: &Path) -> Result<Vec<(Zxid, Zxid)>> {
    let mut logs = Vec::new();
    for entry in fs::read_dir(version_2)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let first = name.strip_prefix("log.").map(|hex| i64::from_str_radix(hex, 16));
        if let Some(first) = first.transpose().with_context(|| name.clone())? {
            logs.push((first, path));
        }
    }
    logs.sort();
    let mut zxids = Vec::new();
    for (_, path) in logs {
        zxids_of(&fs::read(path)?, &mut zxids);
    }
    let follows = |last: Zxid, next: Zxid| {
        next == last.next() || (next.epoch() > last.epoch() && next.counter() == 1)
    };
    let pairs = zxids.windows(2).map(|pair| (pair[0], pair[1]));
    Ok(pairs.filter(|&(last, next)| !follows(last, next)).collect())
}

/// Up to where a log is whole.
fn zxids_of(log: &[u8], zxids: &mut Vec<Zxid>) {
    let mut rest = log.get(FILE_HEADER..).unwrap_or_default();
    while let Some((header, behind)) = rest.split_at_checked(ENTRY_HEADER) {
        let length = header[8..].try_into().map_or(0, i32::from_be_bytes);
        let length = usize::try_from(length).unwrap_or(0);
        let Some((txn, behind)) = behind.split_at_checked(length) else { return };
        let zxid = txn.get(ZXID_AT..ZXID_AT + 8).and_then(|bytes| bytes.try_into().ok());
        let Some(zxid) = zxid.map(i64::from_be_bytes) else { return };
        zxids.push(Zxid(zxid));
        // A byte ends it.
        rest = behind.get(1..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn breaks_are_found_across_files_and_the_zeros_behind_the_last_transaction_are_none() {
        let dir = std::env::temp_dir().join(format!("oxkeeper-breaks-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        for (name, zxids) in [
            ("log.100000001", &[0x1_0000_0001, 0x1_0000_0002, 0x1_0000_0005][..]),
            ("log.200000001", &[0x2_0000_0001, 0x2_0000_0002, 0x2_0000_0001]),
        ] {
            let mut log = vec![0; FILE_HEADER];
            for &zxid in zxids {
                let txn = [&[0; ZXID_AT][..], &i64::to_be_bytes(zxid), &[0; 9]].concat();
                log.extend([0; 8]);
                log.extend(i32::try_from(txn.len()).unwrap().to_be_bytes());
                log.extend(txn);
                log.push(b'B');
            }
            log.extend([0; 64]);
            fs::write(dir.join(name), log).unwrap();
        }
        let found = in_logs(&dir).unwrap();
        fs::remove_dir_all(&dir).unwrap();
        let expected = [(0x1_0000_0002, 0x1_0000_0005), (0x2_0000_0002, 0x2_0000_0001)];
        assert_eq!(found, expected.map(|(last, next)| (Zxid(last), Zxid(next))));
    }
}
