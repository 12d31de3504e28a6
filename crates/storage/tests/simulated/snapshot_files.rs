//! Snapshots as files: what is written is read, what is damaged is noticed, and a file of a
//! snapshot's name is whole.

use std::io::Cursor;
use std::path::Path;

use oxkeeper_proto::Zxid;
use oxkeeper_storage::sim_disk::Fault;
use oxkeeper_storage::snapshots::{list_snapshots, whole_snapshots};
use oxkeeper_storage::{Compression, DataDir, Disk, SimDisk, SnapshotReader, SnapshotWriter};

use crate::support::{open, read_snapshot, write_snapshot};

const ALL: [Compression; 3] = [Compression::None, Compression::Gzip, Compression::Snappy];

/// Bytes that compress a little.
fn noise(len: usize) -> Vec<u8> {
    let mut state = 1u32;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8 & 0x3f
    };
    (0..len).map(|_| next()).collect()
}

fn write(dir: &DataDir<SimDisk>, compression: Compression, body: &[u8]) {
    let disk = dir.disk().clone();
    let mut writer =
        SnapshotWriter::create(disk, dir.snapshot_dir(), Zxid(5), compression).unwrap();
    for piece in body.chunks(70_001) {
        writer.write(piece).unwrap();
    }
    writer.seal().unwrap();
    writer.write(b"a digest and so on..").unwrap();
    writer.seal().unwrap();
    writer.finish().unwrap();
}

#[test]
fn what_is_written_is_read() {
    for compression in ALL {
        for len in [0, 1, 32_767, 32_768, 32_769, (1 << 20) - 13, 1 << 20, 3_000_000] {
            let disk = SimDisk::new();
            let dir = open(&disk).unwrap();
            let body = noise(len);
            write(&dir, compression, &body);
            let file = whole_snapshots(&disk, dir.snapshot_dir(), 9).unwrap().remove(0);
            assert_eq!((file.zxid, file.compression), (Zxid(5), compression));
            let mut reader = SnapshotReader::open(&disk, &file).unwrap();
            let mut read = Vec::new();
            while read.len() < len {
                let next = (len - read.len()).min(1 + read.len() * 3 / 2);
                read.extend_from_slice(reader.next_bytes(next).unwrap());
            }
            assert!(read == body, "{compression:?} {len}");
            reader.check_seal().unwrap();
            assert_eq!(reader.remaining(54).unwrap(), 33);
            reader.next_bytes(20).unwrap();
            reader.check_seal().unwrap();
            reader.check_end().unwrap();
            assert_eq!(reader.offset(), len as u64 + 46);
        }
    }
}

#[test]
fn every_cut_and_every_flipped_bit_is_noticed() {
    for compression in ALL {
        let disk = SimDisk::new();
        let dir = open(&disk).unwrap();
        write_snapshot(&dir, 7, compression).unwrap();
        let file = list_snapshots(&disk, dir.snapshot_dir()).unwrap().remove(0);
        let bytes = disk.bytes(&file.path);
        let read = |bytes: Vec<u8>| {
            let mut reader = SnapshotReader::new(Cursor::new(bytes), compression, &file.path);
            read_body(&mut reader)
        };
        let body = read(bytes.clone()).unwrap();
        for cut in 0..bytes.len() {
            assert!(read(bytes[..cut].to_vec()).is_err(), "{compression:?} cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            // Fields that say nothing about the content (gzip's time and system, the version
            // "compatible" of snappy's framing, the letter in the seal) may change.
            if let Ok(read) = read(damaged) {
                assert!(read == body, "{compression:?} bit {bit} went unnoticed");
            }
        }
    }
}

fn read_body(reader: &mut SnapshotReader) -> Result<Vec<u8>, Box<dyn std::error::Error>> {
    let body = reader.next_bytes(12 + 200 * 17)?.to_vec();
    reader.check_seal()?;
    reader.check_end()?;
    Ok(body)
}

#[test]
fn a_snapshot_is_there_whole_or_not_at_all() {
    for compression in ALL {
        for operation in 1.. {
            let disk = SimDisk::new();
            drop(open(&disk).unwrap());
            disk.fail_at(disk.operations() + operation, Fault::Stop);
            let dir = open(&disk).unwrap();
            let written = write_snapshot(&dir, 7, compression);
            for seed in 0..20 {
                let image = disk.crash(seed);
                let dir = open(&image).unwrap();
                let found = list_snapshots(&image, dir.snapshot_dir()).unwrap();
                assert!(written.is_err() || !found.is_empty(), "a finished snapshot is lost");
                for file in &found {
                    let mut reader = SnapshotReader::open(&image, file).unwrap();
                    read_snapshot(&mut reader, file.zxid).unwrap();
                }
                let left = image.list(dir.snapshot_dir()).unwrap();
                assert_eq!(left.len(), found.len(), "{left:?} left behind");
            }
            if written.is_ok() {
                assert!(operation > 4, "a snapshot in {operation} operations");
                break;
            }
        }
    }
}

#[test]
fn an_abandoned_or_failed_snapshot_leaves_nothing() {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    let begin = || {
        let path = dir.snapshot_dir();
        let mut writer =
            SnapshotWriter::create(disk.clone(), path, Zxid(3), Compression::Gzip).unwrap();
        writer.write(&noise(100_000)).unwrap();
        writer
    };
    drop(begin());
    assert_eq!(disk.list(dir.snapshot_dir()).unwrap(), Vec::<String>::new());
    let writer = begin();
    disk.fail_at(disk.operations() + 1, Fault::NoSpace);
    assert!(writer.finish().unwrap_err().is_full());
    disk.repair();
    assert_eq!(disk.list(dir.snapshot_dir()).unwrap(), Vec::<String>::new());
}

#[test]
fn files_that_cannot_be_whole_are_not_considered() {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    let put = |name: &str, bytes: &[u8]| disk.put(&dir.snapshot_dir().join(name), bytes);
    put("snapshot.9", b"ZKSN but the end is missing");
    put("snapshot.8", b"\0\0\0\x01/");
    put("snapshot.7", b"long enough \0\0\0\x01/");
    put("snapshot.6.gz", b"\x1f\x8b");
    put("snapshot.5.gz", b"\x1f");
    put("snapshot.4.snappy", b"\x82SNAPPY\0 and more");
    put("snapshot.3.snappy", b"\x82SNAPPY");
    put("snapshot.2", b"");
    put("snapshot.1.bak", b"long enough \0\0\0\x01/");
    let found = whole_snapshots(&disk, dir.snapshot_dir(), 100).unwrap();
    let zxids: Vec<i64> = found.iter().map(|file| file.zxid.0).collect();
    assert_eq!(zxids, [7, 6, 4]);
    assert_eq!(whole_snapshots(&disk, dir.snapshot_dir(), 2).unwrap().len(), 2);
    assert_eq!(list_snapshots(&disk, dir.snapshot_dir()).unwrap().len(), 8);
    assert!(found[0].path.starts_with(Path::new("/data/version-2")));
}
