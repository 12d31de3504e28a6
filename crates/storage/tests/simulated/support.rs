//! A server reduced to what the storage sees of it: txns that are told apart by their zxid, and
//! snapshots that say how far they go.

use std::path::Path;

use oxkeeper_proto::Zxid;
use oxkeeper_storage::disk::DiskError;
use oxkeeper_storage::recovery::RecoveryOptions;
use oxkeeper_storage::{
    Compression, DataDir, Disk, LogReport, OpenError, OpenOptions, Recovery, RecoveryError,
    SimDisk, SnapshotError, SnapshotReader, SnapshotWriter, Start, TxnLogOptions, frame_entry,
};

pub const DIR: &str = "/data";

/// The payload of a txn: every byte follows from the zxid. Some are longer than a sector, a few
/// longer than a page.
pub fn payload(zxid: i64) -> Vec<u8> {
    let len = match zxid % 11 {
        3 => 5000,
        n => 8 + n as usize * 90,
    };
    let mut payload: Vec<u8> =
        (0..32 + len).map(|i| (i as i64 * 7 + zxid * 13) as u8 | 1).collect();
    payload[12..20].copy_from_slice(&zxid.to_be_bytes());
    payload
}

pub fn batch(first: i64, last: i64) -> Vec<u8> {
    let mut out = Vec::new();
    for zxid in first..=last {
        frame_entry(&mut out, &payload(zxid));
    }
    out
}

pub fn log_options() -> TxnLogOptions {
    // Small enough that files are extended in the middle of the workload.
    TxnLogOptions { prealloc_bytes: 16 << 10, ..TxnLogOptions::default() }
}

pub fn open(disk: &SimDisk) -> Result<DataDir<SimDisk>, OpenError> {
    DataDir::open(disk.clone(), Path::new(DIR), Path::new(DIR), OpenOptions::default())
}

pub fn write_snapshot<D: Disk>(
    dir: &DataDir<D>,
    zxid: i64,
    compression: Compression,
) -> Result<(), DiskError> {
    let disk = dir.disk().clone();
    let mut writer = SnapshotWriter::create(disk, dir.snapshot_dir(), Zxid(zxid), compression)?;
    writer.write(&snapshot_bytes(zxid))?;
    writer.seal()?;
    writer.finish().map(drop)
}

/// A snapshot without its seal.
pub fn snapshot_bytes(zxid: i64) -> Vec<u8> {
    let mut bytes = b"ZKSN".to_vec();
    bytes.extend(zxid.to_be_bytes());
    (0..200).for_each(|i| bytes.extend([i; 17]));
    bytes
}

/// Reads a snapshot of [`write_snapshot`].
pub fn read_snapshot(reader: &mut SnapshotReader, zxid: Zxid) -> Result<i64, SnapshotError> {
    assert_eq!(reader.next_array()?, *b"ZKSN");
    let says = i64::from_be_bytes(reader.next_array()?);
    reader.next_bytes(200 * 17)?;
    reader.check_seal()?;
    reader.check_end()?;
    assert_eq!(says, zxid.0, "a snapshot under another's name");
    Ok(says)
}

#[derive(Debug)]
pub struct Recovered {
    pub snapshot: Option<i64>,
    pub last: i64,
    pub report: LogReport,
}

/// Recovers, checking every byte of every txn on the way.
pub fn recover<D: Disk>(dir: &DataDir<D>) -> Result<Recovered, RecoveryError> {
    let mut recovery = Recovery::new(dir, RecoveryOptions::default())?;
    let snapshot = match recovery.start() {
        Start::Snapshots => Some(recovery.load(read_snapshot)?.value),
        _ => None,
    };
    let mut log = recovery.replay()?;
    let mut last = snapshot.unwrap_or(0);
    while let Some(entry) = log.next()? {
        assert_eq!(entry.zxid.0, last + 1, "a txn is missing or doubled");
        assert!(entry.payload == payload(last + 1), "txn {} is not what was written", last + 1);
        last += 1;
    }
    let report = recovery.finish(log)?;
    assert_eq!((report.gap, report.out_of_order), (None, 0));
    Ok(Recovered { snapshot, last, report })
}
