//! Entry points for fuzzers: any bytes are a log, any bytes are a snapshot. They must neither
//! panic nor take more memory than the bytes themselves justify.

use std::io::Cursor;
use std::path::Path;

use oxkeeper_proto::Zxid;

use crate::disk::Disk;
use crate::log_reader::LogReader;
use crate::sim_disk::SimDisk;
use crate::snapshot_reader::SnapshotReader;
use crate::snapshots::Compression;

/// Reads the bytes as the only log of a directory, then tidies up and reads what is left, which
/// must be the same entries.
///
/// # Panics
///
/// If the second reading differs: that is what the fuzzer is looking for.
pub fn log_bytes(bytes: &[u8]) {
    let dir = Path::new("/fuzz");
    let disk = SimDisk::new();
    disk.put(&dir.join("log.1"), bytes);
    let Some(first) = read_log(&disk, dir) else { return };
    let Ok(reader) = LogReader::new(disk.clone(), dir.to_owned(), Zxid::ZERO) else { return };
    let finished = reader.finish();
    assert!(finished.is_ok(), "read once, but not again: {finished:?}");
    let removed = disk.list(dir).is_ok_and(|names| !names.iter().any(|name| name == "log.1"));
    let second = read_log(&disk, dir);
    assert_eq!(second, Some(if removed { Vec::new() } else { first }));
}

fn read_log(disk: &SimDisk, dir: &Path) -> Option<Vec<(Zxid, usize)>> {
    let mut reader = LogReader::new(disk.clone(), dir.to_owned(), Zxid::ZERO).ok()?;
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().ok()? {
        entries.push((entry.zxid, entry.payload.len()));
    }
    Some(entries)
}

/// Reads the bytes as a snapshot, the first of them choosing the compression and how many bytes
/// are asked for at a time. The whole stream is read, but never kept.
pub fn snapshot_bytes(bytes: &[u8]) {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    let compression = match choice % 3 {
        0 => Compression::None,
        1 => Compression::Gzip,
        _ => Compression::Snappy,
    };
    let stream = Cursor::new(bytes.to_vec());
    let mut reader = SnapshotReader::new(stream, compression, Path::new("fuzzed"));
    let step = usize::from(choice / 3) + 1;
    // gzip makes a thousand bytes of one; nothing longer is worth the fuzzer's time.
    while reader.offset() < 1 << 24 && reader.next_bytes(step).is_ok() {
        if reader.offset().is_multiple_of(64) && reader.check_seal().is_err() {
            return;
        }
    }
    let _ = reader.next_bytes(usize::MAX >> 1);
    let _ = reader.check_end();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log_format::{frame_entry, header};

    #[test]
    fn any_cut_and_any_flipped_bit_of_a_log_is_survived() {
        let mut log = header(16).to_vec();
        for zxid in 1..4u8 {
            let mut payload = [zxid; 40];
            payload[12..20].copy_from_slice(&i64::from(zxid).to_be_bytes());
            frame_entry(&mut log, &payload);
        }
        for (mark, zeros) in [([0; 8], 30), (log[8..16].try_into().unwrap(), 0)] {
            let mut log = log.clone();
            log[8..16].copy_from_slice(&mark);
            log.extend_from_slice(&vec![0; zeros]);
            for cut in 0..log.len() {
                log_bytes(&log[..cut]);
            }
            for bit in 0..log.len() * 8 {
                log[bit / 8] ^= 1 << (bit % 8);
                log_bytes(&log);
                log[bit / 8] ^= 1 << (bit % 8);
            }
        }
    }

    #[test]
    fn a_lying_length_costs_no_memory() {
        for choice in 0..3 {
            snapshot_bytes(&[choice]);
            snapshot_bytes(&[choice, 0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff]);
        }
        let mut snappy = b"\x02\x82SNAPPY\0\0\0\0\x01\0\0\0\x01".to_vec();
        snappy.extend_from_slice(&[0x00, 0x3f, 0xff, 0xff, 0xff]);
        snapshot_bytes(&snappy);
    }
}
