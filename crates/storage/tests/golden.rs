//! Directories written by Java servers, healthy and damaged, are read to exactly the point their
//! expected files state.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use oxkeeper_proto::Zxid;
use oxkeeper_storage::log_reader::Flaw;
use oxkeeper_storage::recovery::RecoveryOptions;
use oxkeeper_storage::snapshot_reader::SEAL_BYTES;
use oxkeeper_storage::{
    Compression, DataDir, Epochs, LogReader, LogReport, OpenOptions, OsDisk, ReadError, Recovery,
    RecoveryError, SnapshotError, SnapshotReader, SnapshotWriter, Start, TxnLog, TxnLogOptions,
    frame_entry,
};
use serde_json::Value;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/fixtures/disk")
}

fn names() -> Vec<String> {
    let dir = fs::read_dir(fixtures()).unwrap().map(|entry| entry.unwrap());
    let dirs = dir.filter(|entry| entry.file_type().unwrap().is_dir());
    let mut names: Vec<String> =
        dirs.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    assert_eq!(names.len(), 47, "a fixture is missing, or one more is not expected here");
    names
}

fn report(name: &str) -> Value {
    let text = fs::read_to_string(fixtures().join(format!("{name}.expected.json"))).unwrap();
    serde_json::from_str::<Value>(&text).unwrap()["report"].take()
}

/// A copy whose directory can be opened as a server does.
fn copy_of(name: &str) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    fs::create_dir(to.path().join("version-2")).unwrap();
    for entry in fs::read_dir(fixtures().join(name)).unwrap() {
        let entry = entry.unwrap();
        fs::write(
            to.path().join("version-2").join(entry.file_name()),
            fs::read(entry.path()).unwrap(),
        )
        .unwrap();
    }
    to
}

fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<_> = fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap())
        .map(|e| (e.file_name().into_string().unwrap(), fs::read(e.path()).unwrap()))
        .collect();
    files.sort();
    files
}

fn open(dir: &Path) -> DataDir<OsDisk> {
    DataDir::open(OsDisk, dir, dir, OpenOptions::default()).unwrap()
}

/// Takes a snapshot for what the storage can see of it: bytes that end in a seal over all of
/// them. The length is known from a first reading.
fn parse(reader: &mut SnapshotReader) -> Result<usize, SnapshotError> {
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).unwrap();
    let (body, _) = bytes.split_at(bytes.len() - SEAL_BYTES);
    assert_eq!(&body[..4], b"ZKSN");
    let path = Path::new("again");
    let all = std::io::Cursor::new(bytes.clone());
    let mut again = SnapshotReader::new(all, Default::default(), path);
    again.next_bytes(body.len())?;
    again.check_seal()?;
    again.check_end()?;
    Ok(bytes.len())
}

struct Recovered {
    snapshot: String,
    replayed: u64,
    report: Result<LogReport, RecoveryError>,
}

fn recover(dir: &Path) -> Recovered {
    let dir = open(dir);
    let mut recovery = Recovery::new(&dir, RecoveryOptions::default()).unwrap();
    assert_eq!(recovery.start(), Start::Snapshots);
    let loaded = recovery.load(|reader, _| parse(reader)).unwrap();
    let mut log = recovery.replay().unwrap();
    let mut replayed = 0;
    let report = loop {
        match log.next() {
            Ok(Some(entry)) => {
                assert!(entry.zxid > loaded.zxid);
                replayed += 1;
            }
            Ok(None) => break recovery.finish(log),
            Err(error) => break Err(error.into()),
        }
    };
    let snapshot = loaded.file.path.file_name().unwrap().to_str().unwrap().to_owned();
    Recovered { snapshot, replayed, report }
}

#[test]
fn the_expected_snapshot_and_txns_are_used() {
    for name in names() {
        let expected = report(&name);
        let copy = copy_of(&name);
        let before = contents(&copy.path().join("version-2"));
        let recovered = recover(copy.path());
        assert_eq!(recovered.snapshot, expected["usedSnapshot"], "{name}");
        assert_eq!(recovered.replayed, expected["replayed"], "{name}");
        let after = contents(&copy.path().join("version-2"));

        let java = &expected["javaBehaviour"];
        // Java 3.8 does not start with an empty last log, 3.9 removes it. Nothing was ever
        // promised in a file without a header: we do as 3.9 for both.
        if java["starts"] == false && !name.ends_with("empty-last-log") {
            let refused = recovered.report.unwrap_err();
            let rotten = matches!(
                refused,
                RecoveryError::Read(ReadError::Rotten { flaw: Flaw::Checksum, mark: None, .. })
            );
            assert!(rotten, "{name}: {refused}");
            assert_eq!(before, after, "{name}: changed by a recovery that failed");
            continue;
        }
        let report = recovered.report.unwrap();
        assert_eq!((report.gap, report.out_of_order), (None, 0), "{name}");
        assert_eq!(report.cut, [], "{name}: Java's files are not cut");
        // A file without entries has the name that the next one may need.
        let without_entries = expected["logEnds"].as_object().unwrap().iter();
        let without_entries: Vec<_> = without_entries
            .filter(|(_, end)| end["offset"].as_u64().unwrap() <= 16)
            .map(|(log, _)| log.clone())
            .collect();
        assert_eq!(report.removed, without_entries, "{name}");
        let kept: Vec<_> =
            before.into_iter().filter(|(file, _)| !without_entries.contains(file)).collect();
        assert!(kept == after, "{name}: Java's files changed");

        let again = recover(copy.path());
        assert_eq!(again.replayed, recovered.replayed, "{name}: the second time");
        assert_eq!(again.report.unwrap().last, report.last, "{name}: the second time");
    }
}

#[test]
fn every_log_ends_where_expected() {
    for name in names() {
        let expected = report(&name);
        let mut log = LogReader::new(OsDisk, fixtures().join(&name), Zxid::ZERO).unwrap();
        let ends = expected["logEnds"].as_object().unwrap();
        let outcome = loop {
            match log.next() {
                Ok(Some(_)) => {}
                Ok(None) => break None,
                Err(ReadError::Rotten { file, offset, .. }) => break Some((file, offset)),
                Err(error) => panic!("{name}: {error}"),
            }
        };
        let files = &log.report().files;
        let rotten = outcome.iter().map(|(file, _)| file.file_name().unwrap().to_str().unwrap());
        let mut read: Vec<_> = files.iter().map(|end| &*end.name).chain(rotten).collect();
        read.sort();
        let mut all: Vec<_> = ends.keys().map(|log| &**log).collect();
        all.sort();
        assert_eq!(read, all, "{name}");
        for end in files {
            let expected = &ends[&end.name];
            let torn = match expected["reason"].as_str().unwrap() {
                "padding" | "eof" | "no complete header" => None,
                "partial" => Some(Flaw::CutShort),
                "partial (EOR byte is 0x00)" => Some(Flaw::NoEnd),
                other => panic!("{name}: {other} should have stopped the reader"),
            };
            assert_eq!(end.end, expected["offset"], "{name} {}", end.name);
            assert_eq!(end.size, expected["size"], "{name} {}", end.name);
            assert_eq!(end.torn, torn, "{name} {}", end.name);
            assert!(end.mark.is_none() || end.entries == 0, "{name}: Java's files have no mark");
        }
        if let Some((file, offset)) = outcome {
            let expected = &ends[file.file_name().unwrap().to_str().unwrap()];
            assert_eq!(
                ("crc", offset),
                (expected["reason"].as_str().unwrap(), expected["offset"].as_u64().unwrap())
            );
        }
    }
}

#[test]
fn payloads_are_the_txns_of_the_logs() {
    let mut compared = 0;
    for name in names() {
        let Ok(text) = fs::read_to_string(fixtures().join(format!("{name}.txns.jsonl"))) else {
            continue;
        };
        let mut log = LogReader::new(OsDisk, fixtures().join(&name), Zxid::ZERO).unwrap();
        // Lines without a header are about the files.
        let lines = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
        for expected in lines.filter(|line| line["hdr"].is_object()) {
            let entry = log.next().unwrap().expect("an entry is missing");
            assert_eq!(entry.zxid.0, expected["hdr"]["zxid"].as_i64().unwrap(), "{name}");
            assert_eq!(entry.payload.len() as u64, expected["length"], "{name} {}", entry.zxid);
            assert_eq!(simd_adler32::adler32(&entry.payload), expected["crc"], "{name}");
            compared += 1;
        }
        assert_eq!(log.next().unwrap(), None, "{name}");
    }
    assert!(compared > 2000, "only {compared} txns compared");
}

/// What stands behind the first seal depends on version and settings, and shows in its size.
#[test]
fn the_sections_behind_the_first_seal_are_told_by_their_size() {
    for name in names() {
        let (version, what) = name.split_once('-').unwrap();
        let sections = match (version, what) {
            ("3.5.9", _) | (_, "as35") => 0,
            ("3.9.5", "nodigest") => 21,
            ("3.9.5", _) => 54,
            _ => 33,
        };
        let copy = copy_of(&name);
        let dir = open(copy.path());
        let mut recovery = Recovery::new(&dir, RecoveryOptions::default()).unwrap();
        let all = recovery.load(|reader, _| parse(reader)).unwrap();
        let mut reader = SnapshotReader::open(&OsDisk, &all.file).unwrap();
        assert_eq!(reader.remaining(54).unwrap(), 55, "{name}");
        reader.next_bytes(all.value - sections - SEAL_BYTES).unwrap();
        reader.check_seal().unwrap();
        assert_eq!(reader.remaining(54).unwrap(), sections, "{name}");
    }
}

#[test]
fn epochs_are_read_as_java_wrote_them() {
    for name in names() {
        let epochs = Epochs::read(&OsDisk, &fixtures().join(&name)).unwrap();
        let expected = &report(&name)["epochs"];
        let number = |key: &str| expected[key].as_str().map(|text| text.parse::<i64>().unwrap());
        assert_eq!(epochs.current, number("currentEpoch"), "{name}");
        assert_eq!(epochs.accepted, number("acceptedEpoch"), "{name}");
        assert_eq!(epochs.current.is_some(), name.contains("ensemble"), "{name}");
    }
}

/// Taking over from Java, on real files: log, roll, snapshot, restart.
#[test]
fn a_directory_of_javas_is_continued() {
    let copy = copy_of("3.9.5-plain");
    let last = recover(copy.path()).report.unwrap().last.unwrap();
    let dir = open(copy.path());
    assert!(!dir.created_by_us());
    assert!(DataDir::open(OsDisk, copy.path(), copy.path(), OpenOptions::default()).is_err());
    let log_dir = dir.log_dir().to_owned();
    let mut log = TxnLog::new(OsDisk, log_dir, TxnLogOptions::default(), last);
    let mut zxid = last;
    for _ in 0..100 {
        let mut payload = vec![1; 200];
        zxid = zxid.next();
        payload[12..20].copy_from_slice(&zxid.0.to_be_bytes());
        let mut entries = Vec::new();
        frame_entry(&mut entries, &payload);
        assert_eq!(log.append(&entries, zxid).unwrap(), zxid);
        if zxid.0 % 40 == 0 {
            log.roll().unwrap();
        }
    }
    let body = b"ZKSN, and the rest of a tree";
    for compression in [Compression::Gzip, Compression::Snappy, Compression::None] {
        let path = dir.snapshot_dir();
        let mut writer = SnapshotWriter::create(OsDisk, path, last, compression).unwrap();
        writer.write(body).unwrap();
        writer.seal().unwrap();
        writer.finish().unwrap();
    }
    drop((dir, log));
    let recovered = recover(copy.path());
    assert_eq!(recovered.snapshot, format!("snapshot.{:x}", last.0));
    assert_eq!(recovered.replayed, 100);
    assert_eq!(recovered.report.unwrap().last, Some(zxid));
}
