//! A log directory, read by recovery: header, mark, entries, what follows them.
//!
//! Holds whatever comes: nothing panics; entries are whole and have a header; what `finish` leaves
//! behind reads back as the same entries with nothing left to cut, unless it refused the file.

use std::path::{Path, PathBuf};

use oxkeeper_proto::Zxid;
use oxkeeper_storage::log_format::TXN_HEADER_BYTES;
use oxkeeper_storage::{LogReader, SimDisk, frame_entry};

/// Raw bytes seldom have a right checksum. If the first byte is odd, the rest is a header's `dbid`
/// and then payloads (a length byte, and that many bytes) to be framed, up to a zero length; what
/// is left follows as it is.
pub fn run(data: &[u8]) {
    let Some((&form, data)) = data.split_first() else { return };
    let disk = SimDisk::new();
    let file = if form & 1 == 0 { data.to_vec() } else { framed(data) };
    disk.put(Path::new("/d/log.1"), &file);
    if form & 2 != 0 {
        // A later file makes the first one a middle one, which is judged more strictly.
        disk.put(Path::new("/d/log.ffff"), &file[..file.len().min(16)]);
    }
    let mut reader = open(&disk);
    let Some(entries) = read(&mut reader) else { return };
    if reader.finish().is_ok() {
        let mut again = open(&disk);
        assert_eq!(read(&mut again).expect("finish left a sound log"), entries);
        let report = again.finish().expect("a sound log stays sound");
        assert_eq!(report.entries, entries.len() as u64);
    }
}

fn framed(data: &[u8]) -> Vec<u8> {
    let mut file = b"ZKLG\0\0\0\x02".to_vec();
    let (mark, mut rest) = data.split_at(data.len().min(8));
    file.extend_from_slice(mark);
    while let Some((&len, behind)) = rest.split_first() {
        rest = behind;
        if len == 0 {
            break;
        }
        let (payload, behind) = rest.split_at(rest.len().min(len.into()));
        frame_entry(&mut file, payload);
        rest = behind;
    }
    file.extend_from_slice(rest);
    file
}

fn open(disk: &SimDisk) -> LogReader<SimDisk> {
    LogReader::new(disk.clone(), PathBuf::from("/d"), Zxid(i64::MIN)).expect("the disk is sound")
}

fn read(reader: &mut LogReader<SimDisk>) -> Option<Vec<(Zxid, Vec<u8>)>> {
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().ok()? {
        assert!(entry.payload.len() >= TXN_HEADER_BYTES);
        entries.push((entry.zxid, entry.payload.to_vec()));
    }
    Some(entries)
}
