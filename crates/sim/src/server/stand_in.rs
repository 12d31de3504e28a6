//! What the log's and the history's threads do for a member of an ensemble beyond appending.
//!
//! A snapshot travels as the file that it is, with a signature behind it.

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use oxkeeper_proto::Zxid;
use oxkeeper_server::boot::{BootOptions, recover};
use oxkeeper_server::log_thread::{FlushPolicy, LogCommand, LogWorker};
use oxkeeper_storage::disk::{Disk as _, DiskFile as _};
use oxkeeper_storage::log_reader::list_logs;
use oxkeeper_storage::snapshots::{list_snapshots, whole_snapshots};
use oxkeeper_storage::{
    DataDir, Epochs, LogReader, SimDisk, TruncateError, TxnLog, TxnLogOptions,
};
use oxkeeper_tree::Tree;
use oxkeeper_zab as zab;
use zab::{Entry, Input, LinkId, LogSurvey};

/// Behind a snapshot on a link.
const SIGNATURE: &[u8] = b"\0\0\0\x0aBenWasHere";

/// For the log's thread, in order.
#[derive(Debug)]
pub(super) enum Job {
    Log(LogCommand),
    Peer(zab::messages::Effect),
}

/// From the log's thread.
#[derive(Debug)]
pub(super) enum Report {
    Disk(zab::Disk),
    Rebuilt(Box<Tree>, zab::Disk),
}

/// A log to append to, small enough that files are extended in the middle of a workload.
pub(super) fn open_log(dir: &Arc<DataDir<SimDisk>>, last: Zxid) -> LogWorker<SimDisk> {
    let options = TxnLogOptions { prealloc_bytes: 16 << 10, ..TxnLogOptions::default() };
    let log = TxnLog::new(dir.disk().clone(), dir.log_dir().to_owned(), options, last);
    let (delay, slow) = (std::time::Duration::ZERO, std::time::Duration::from_secs(1));
    LogWorker::new(log, FlushPolicy { delay, batch_max: 1000, slow })
}

/// Both promises, as a start finds them.
pub(super) fn read_epochs(dir: &DataDir<SimDisk>, last: Zxid) -> Result<zab::Epochs, String> {
    let found = Epochs::read(dir.disk(), dir.snapshot_dir()).map_err(|error| error.to_string())?;
    let unfinished = found.current_unfinished.filter(|epoch| *epoch == i64::from(last.epoch()));
    let current = found.current.max(unfinished).unwrap_or(0) as u32;
    Ok(zab::Epochs { accepted: found.accepted.unwrap_or(0) as u32, current })
}

/// The last transactions of the log.
pub(super) fn read_tail(dir: &DataDir<SimDisk>, count: usize) -> Result<Vec<Entry>, String> {
    let mut entries = read_log(dir, Zxid::ZERO, Zxid(i64::MAX))?;
    entries.drain(..entries.len().saturating_sub(count));
    Ok(entries)
}

fn read_log(dir: &DataDir<SimDisk>, after: Zxid, to: Zxid) -> Result<Vec<Entry>, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let log_dir = dir.log_dir().to_owned();
    let mut reader = LogReader::new(dir.disk().clone(), log_dir, Zxid(after.0 + 1))
        .map_err(|error| told(&error))?;
    let mut entries = Vec::new();
    while let Some(entry) = reader.next().map_err(|error| told(&error))? {
        if entry.zxid > to {
            break;
        }
        let payload = entry.payload.to_vec().into();
        entries.push(Entry { zxid: entry.zxid, payload });
    }
    Ok(entries)
}

/// Writes the epochs that changed.
pub(super) fn save_epochs(
    dir: &DataDir<SimDisk>,
    before: zab::Epochs,
    epochs: zab::Epochs,
) -> Result<(), String> {
    let (disk, path) = (dir.disk(), dir.snapshot_dir());
    if before.accepted != epochs.accepted {
        Epochs::write_accepted(disk, path, i64::from(epochs.accepted))
            .map_err(|error| error.to_string())?;
    }
    if before.current != epochs.current {
        Epochs::write_current(disk, path, i64::from(epochs.current))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Reads everything anew.
pub(super) fn reload(dir: &DataDir<SimDisk>, options: &BootOptions) -> Result<Tree, String> {
    recover(dir, options).map(|(tree, _)| tree).map_err(|error| error.to_string())
}

/// Cuts the log, if it can be cut there.
pub(super) fn truncate(
    dir: &DataDir<SimDisk>,
    options: &BootOptions,
    to: Zxid,
) -> Result<Tree, String> {
    match dir.truncate(to) {
        Ok(_) | Err(TruncateError::Impossible { .. }) => reload(dir, options),
        Err(error) => Err(error.to_string()),
    }
}

/// Splits a snapshot off what has come in, once all of it has.
pub(super) fn split_snapshot(inbox: &mut Vec<u8>) -> Option<Vec<u8>> {
    let at = inbox.windows(SIGNATURE.len()).position(|window| window == SIGNATURE)?;
    let rest = inbox.split_off(at + SIGNATURE.len());
    let mut file = std::mem::replace(inbox, rest);
    file.truncate(at);
    Some(file)
}

/// Makes a snapshot that came in the whole history.
pub(super) fn install(
    dir: &DataDir<SimDisk>,
    options: &BootOptions,
    zxid: Zxid,
    file: &[u8],
) -> Result<Tree, String> {
    let told = |error: &dyn std::fmt::Display| error.to_string();
    let (disk, snapshots) = (dir.disk(), dir.snapshot_dir());
    let unfinished = snapshots.join("unfinished-received");
    let written = disk.create(&unfinished).map_err(|error| told(&error))?;
    written.write_at(file, 0).map_err(|error| told(&error))?;
    written.sync_all().map_err(|error| told(&error))?;
    let name = snapshots.join(format!("snapshot.{:x}", zxid.0));
    disk.rename(&unfinished, &name).map_err(|error| told(&error))?;
    disk.sync_dir(snapshots).map_err(|error| told(&error))?;
    for (_, log) in list_logs(disk, dir.log_dir()).map_err(|error| told(&error))?.iter().rev() {
        disk.remove(&dir.log_dir().join(log)).map_err(|error| told(&error))?;
        disk.sync_dir(dir.log_dir()).map_err(|error| told(&error))?;
    }
    for snapshot in list_snapshots(disk, snapshots).map_err(|error| told(&error))? {
        if snapshot.path != name {
            disk.remove(&snapshot.path).map_err(|error| told(&error))?;
            disk.sync_dir(snapshots).map_err(|error| told(&error))?;
        }
    }
    reload(dir, options)
}

/// What the history's thread is asked to do.
#[derive(Debug, Clone, Copy)]
pub(super) enum Question {
    Survey { link: LinkId, peer: Zxid },
    Read { link: LinkId, after: Zxid, to: Zxid },
    Open { link: LinkId, at_least: Zxid },
    Send { link: LinkId },
}

/// The history's thread.
#[derive(Debug, Default)]
pub(super) struct Archive {
    pub(super) questions: VecDeque<Question>,
    /// Snapshots opened, by link.
    opened: BTreeMap<LinkId, Vec<u8>>,
    /// Those that wait for a snapshot that is new enough.
    waiting: Vec<Question>,
}

/// What it has found.
#[derive(Debug)]
pub(super) enum Found {
    Input(Input),
    Snapshot(LinkId, Vec<u8>),
    /// A snapshot has to be written first.
    Wanted,
}

impl Archive {
    /// A snapshot was written: maybe it is new enough.
    pub(super) fn look_again(&mut self) {
        self.questions.extend(self.waiting.drain(..));
    }

    /// Answers the oldest question.
    pub(super) fn answer(&mut self, dir: &DataDir<SimDisk>) -> Option<Found> {
        let question = self.questions.pop_front()?;
        let found = match question {
            Question::Survey { link, peer } => {
                let survey = survey(dir, peer).unwrap_or_default();
                Found::Input(Input::LogSurveyed { link, survey })
            }
            Question::Read { link, after, to } => {
                let mut entries = read_log(dir, after, to).unwrap_or_default();
                entries.truncate(7);
                Found::Input(match entries.is_empty() {
                    true => Input::HistoryUnavailable(link),
                    false => Input::LogRead { link, entries },
                })
            }
            Question::Open { link, at_least } => {
                let newest = whole_snapshots(dir.disk(), dir.snapshot_dir(), 1);
                let newest = newest.ok().and_then(|mut found| found.pop());
                match newest.filter(|file| file.zxid >= at_least) {
                    Some(file) => {
                        let mut bytes = dir.disk().bytes(&PathBuf::from(&file.path));
                        bytes.extend_from_slice(SIGNATURE);
                        self.opened.insert(link, bytes);
                        Found::Input(Input::SnapshotOpened { link, zxid: file.zxid })
                    }
                    None => {
                        self.waiting.push(question);
                        Found::Wanted
                    }
                }
            }
            Question::Send { link } => {
                Found::Snapshot(link, self.opened.remove(&link).unwrap_or_default())
            }
        };
        Some(found)
    }
}

fn survey(dir: &DataDir<SimDisk>, peer: Zxid) -> Result<Option<LogSurvey>, String> {
    let entries = read_log(dir, Zxid::ZERO, Zxid(i64::MAX))?;
    let before = entries.iter().rev().find(|entry| entry.zxid <= peer);
    let behind = entries.iter().filter(|entry| entry.zxid > peer);
    let log_bytes = behind.clone().map(|entry| entry.payload.len() as u64).sum();
    let newest = whole_snapshots(dir.disk(), dir.snapshot_dir(), 1).ok();
    let newest = newest.and_then(|mut found| found.pop());
    let snapshot_bytes = newest.map_or(0, |file| dir.disk().bytes(&file.path).len() as u64);
    Ok(before.zip(behind.clone().next()).map(|(before, after)| LogSurvey {
        at_or_before: before.zxid,
        after: after.zxid,
        log_bytes,
        snapshot_bytes,
    }))
}

/// True if all of a snapshot has come in.
pub(super) fn is_whole(inbox: &[u8]) -> bool {
    inbox.windows(SIGNATURE.len()).any(|window| window == SIGNATURE)
}
