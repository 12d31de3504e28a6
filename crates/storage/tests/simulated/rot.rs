//! Torn is not rotten: every byte of a synced log is flipped, every unsynced tail is cut at every
//! byte, and what comes out is what the mark says.

use std::path::{Path, PathBuf};

use crate::support::{batch, log_options, open, recover, write_snapshot};
use oxkeeper_proto::Zxid;
use oxkeeper_storage::log_reader::Flaw;
use oxkeeper_storage::{
    Compression, LogReader, LogReport, ReadError, RecoveryError, SimDisk, TxnLog,
};

const LOG_1: &str = "/data/version-2/log.1";
const LOG_4: &str = "/data/version-2/log.4";
const LOG_DIR: &str = "/data/version-2";

/// snapshot.0, log.1 with txns 1 to 3, log.4 with 4 to 6, as a server leaves them.
fn two_logs(settled: bool) -> SimDisk {
    let disk = SimDisk::new();
    let dir = open(&disk).unwrap();
    write_snapshot(&dir, 0, Compression::None).unwrap();
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), log_options(), Zxid(0));
    log.append(&batch(1, 2), Zxid(2)).unwrap();
    log.append(&batch(3, 3), Zxid(3)).unwrap();
    log.roll().unwrap();
    log.append(&batch(4, 5), Zxid(5)).unwrap();
    log.settle().unwrap();
    log.append(&batch(6, 6), Zxid(6)).unwrap();
    if settled {
        log.settle().unwrap();
    }
    disk
}

/// Where the entries of a log end.
fn ends(disk: &SimDisk, path: &str) -> (usize, usize) {
    let reader = LogReader::new(disk.clone(), PathBuf::from(LOG_DIR), Zxid(0)).unwrap();
    let mut reader = reader;
    while reader.next().unwrap().is_some() {}
    let name = Path::new(path).file_name().unwrap().to_str().unwrap();
    let end = reader.report().files.iter().find(|end| end.name == name).unwrap().clone();
    (end.mark.unwrap() as usize, end.end as usize)
}

fn last_and_report(disk: &SimDisk) -> Result<(i64, LogReport), RecoveryError> {
    let recovered = recover(&open(disk).unwrap())?;
    Ok((recovered.last, recovered.report))
}

#[test]
fn synced_bytes_that_change_stop_the_server() {
    let pristine = two_logs(true);
    for path in [LOG_1, LOG_4] {
        let (mark, end) = ends(&pristine, path);
        assert_eq!(mark, end, "settled");
        for offset in 0..end {
            if (4..8).contains(&offset) {
                continue; // the version, which nobody reads
            }
            for bit in [0x01, 0x80] {
                let disk = pristine.crash(0);
                disk.rot(Path::new(path), offset, bit);
                let error = last_and_report(&disk).expect_err("damage went unnoticed");
                let RecoveryError::Read(ReadError::Rotten { file, .. }) = &error else {
                    panic!("{path} at {offset}: {error}")
                };
                assert_eq!(file, Path::new(path));
                assert!(error.to_string().contains("is damaged at offset"), "{error}");
            }
        }
    }
}

#[test]
fn bytes_behind_the_end_do_not_matter() {
    let pristine = two_logs(true);
    for path in [LOG_1, LOG_4] {
        let (_, end) = ends(&pristine, path);
        let size = pristine.bytes(Path::new(path)).len();
        for offset in (end..size).step_by(97) {
            let disk = pristine.crash(0);
            disk.rot(Path::new(path), offset, 0x10);
            assert_eq!(last_and_report(&disk).unwrap().0, 6, "{path} at {offset}");
        }
    }
}

#[test]
fn a_lost_tail_below_the_mark_is_noticed() {
    let pristine = two_logs(true);
    let (_, end) = ends(&pristine, LOG_4);
    let whole = pristine.bytes(Path::new(LOG_4));
    for from in 16..end {
        // Zeros where entries were.
        let mut bytes = whole.clone();
        bytes[from..].fill(0);
        let disk = pristine.crash(0);
        disk.put(Path::new(LOG_4), &bytes);
        let error = last_and_report(&disk).expect_err("zeros went unnoticed");
        assert!(matches!(error, RecoveryError::Read(ReadError::Rotten { .. })), "{error}");
    }
}

/// Java's TRUNC cuts the file and leaves the mark; so do we if the power fails in between.
#[test]
fn a_file_cut_behind_an_entry_is_shorter_on_purpose() {
    let pristine = two_logs(true);
    let whole = pristine.bytes(Path::new(LOG_4));
    let (_, end) = ends(&pristine, LOG_4);
    let entry_4 = batch(4, 4).len() + 16;
    let entry_5 = batch(4, 5).len() + 16;
    for cut in 16..end {
        let disk = pristine.crash(0);
        disk.put(Path::new(LOG_4), &whole[..cut]);
        let outcome = last_and_report(&disk).map(|(last, _)| last);
        match outcome {
            Ok(last) if cut == 16 => assert_eq!(last, 3),
            Ok(last) if cut == entry_4 => assert_eq!(last, 4),
            Ok(last) if cut == entry_5 => assert_eq!(last, 5),
            outcome => assert!(outcome.is_err(), "cut at {cut} inside an entry"),
        }
    }
}

#[test]
fn an_unsynced_tail_is_cut_wherever_it_was_torn() {
    let pristine = two_logs(false);
    let (mark, end) = ends(&pristine, LOG_4);
    assert!(mark < end, "the last batch is above the mark");
    let whole = pristine.bytes(Path::new(LOG_4));
    for from in mark..end {
        for fill in [0x00, 0x01, 0xff] {
            let mut bytes = whole.clone();
            bytes[from..end].iter_mut().for_each(|byte| *byte ^= fill);
            let disk = pristine.crash(0);
            let size = if fill == 0 { from } else { bytes.len() };
            disk.put(Path::new(LOG_4), &bytes[..size]);
            let (last, report) = last_and_report(&disk).unwrap();
            assert_eq!(last, 5, "torn at {from}");
            // The first bytes of a checksum are zeros: cut there, nothing is left to be seen.
            let torn = fill != 0 || whole[mark..from].iter().any(|byte| *byte != 0);
            assert_eq!(report.cut.len(), usize::from(torn), "torn at {from} with {fill}");
            assert_eq!(disk.bytes(Path::new(LOG_4)).len(), mark);
        }
    }
}

/// The first page of a torn batch is missing, a later one is there.
#[test]
fn remains_behind_a_gap_are_cut_and_said() {
    let disk = two_logs(false);
    let (mark, end) = ends(&disk, LOG_4);
    let mut bytes = disk.bytes(Path::new(LOG_4));
    bytes[mark..end - 10].fill(0);
    disk.put(Path::new(LOG_4), &bytes);
    let (last, report) = last_and_report(&disk).unwrap();
    assert_eq!(last, 5);
    assert!(matches!(&report.cut[..], [(name, _, Flaw::Remains)] if name == "log.4"));
}

/// A torn tail of ours that a Java server left in place, with a log of its own behind it.
#[test]
fn a_torn_tail_in_the_middle_is_still_a_torn_tail() {
    let disk = two_logs(false);
    let (mark, end) = ends(&disk, LOG_4);
    disk.rot(Path::new(LOG_4), end - 2, 0x55);
    let mut java = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
    java.extend_from_slice(&batch(6, 8));
    java.extend_from_slice(&[0; 500]);
    disk.put(Path::new("/data/version-2/log.6"), &java);
    let (last, report) = last_and_report(&disk).unwrap();
    assert_eq!(last, 8);
    assert_eq!(report.files[1].end, mark as u64);
    assert_eq!(report.files[1].torn, Some(Flaw::Checksum));
    assert_eq!(disk.bytes(Path::new("/data/version-2/log.6")), java, "Java's file is Java's");
}

/// A Java file has no mark: a wrong checksum could be a torn write or rot. Java refuses; so do
/// we. A torn end that Java would not notice we do not notice either.
#[test]
fn javas_files_are_judged_as_java_does() {
    let disk = two_logs(true);
    let end = 16 + batch(4, 6).len();
    let mut bytes = disk.bytes(Path::new(LOG_4));
    bytes[8..16].fill(0);
    for offset in 16..end {
        let mut damaged = bytes.clone();
        damaged[offset] ^= 0x20;
        disk.put(Path::new(LOG_4), &damaged);
        match last_and_report(&disk) {
            Ok((last, report)) => {
                let flaw = report.files[1].torn.expect("damage without a word");
                assert!(matches!(flaw, Flaw::NoEnd | Flaw::CutShort), "{offset}: {flaw}");
                assert!((3..6).contains(&last));
                assert!(report.cut.is_empty());
            }
            Err(RecoveryError::Read(ReadError::Rotten { flaw, .. })) => {
                assert!(matches!(flaw, Flaw::Checksum | Flaw::Length(_)), "{offset}: {flaw}");
            }
            Err(error) => panic!("{offset}: {error}"),
        }
        // A torn file without entries was put aside.
        let _ = oxkeeper_storage::Disk::remove(&disk, Path::new("/data/version-2/torn-log.4"));
    }
}

#[test]
fn a_length_no_request_could_have_is_damage_in_javas_file_but_only_above_its_limit() {
    let disk = two_logs(true);
    let mut java = b"ZKLG\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec();
    java.extend_from_slice(&[0, 0, 0, 0, 1, 2, 3, 4, 0x01, 0, 0, 0, 9, 9, 9]);
    disk.put(Path::new("/data/version-2/log.7"), &java);
    let reader = || LogReader::new(disk.clone(), PathBuf::from(LOG_DIR), Zxid(7)).unwrap();
    let error = reader().next().unwrap_err();
    assert!(matches!(error, ReadError::Rotten { flaw: Flaw::Length(0x100_0000), .. }), "{error}");
    // With jute.maxbuffer raised it is an ordinary torn write.
    let mut raised = reader().with_java_entry_bytes_max(32 << 20);
    assert_eq!(raised.next().unwrap(), None);
    assert_eq!(raised.report().files[0].torn, Some(Flaw::CutShort));
}

#[test]
fn a_missing_log_is_reported() {
    let disk = two_logs(true);
    let dir = open(&disk).unwrap();
    let mut log = TxnLog::new(disk.clone(), dir.log_dir().to_owned(), log_options(), Zxid(6));
    log.append(&batch(9, 9), Zxid(9)).unwrap();
    let reader = LogReader::new(disk.clone(), PathBuf::from(LOG_DIR), Zxid(1)).unwrap();
    assert_eq!(reader.finish().unwrap().gap, Some((Zxid(6), Zxid(9))));
    let reader = LogReader::new(disk, PathBuf::from(LOG_DIR), Zxid(8)).unwrap();
    let report = reader.finish().unwrap();
    assert_eq!((report.gap, report.entries), (Some((Zxid(7), Zxid(9))), 1));
}
