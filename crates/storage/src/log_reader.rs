//! Reading logs back: a stream of entries over all files, and a verdict on where each one ends.
//!
//! Files of ours are judged by their mark ([`crate::log_format`]), Java's as Java judges them:
//!
//! | what follows the last good entry | Java's file | ours, above mark | below mark |
//! |---|---|---|---|
//! | zeros, or the end of the file | clean end | clean end | rotten¹ |
//! | an entry cut short, or without its end byte; length 0 | torn | torn | rotten |
//! | a whole entry with a wrong checksum; an impossible length | rotten | torn | rotten |
//! | no whole header, zeros behind it, last file | no entries | no entries | – |
//!
//! ¹ unless the file ends exactly there: Java cuts like that (TRUNC), without moving our mark.
//!
//! *Torn*: nobody was promised what is behind it; the reader goes on with the next file, and
//! [`LogReader::finish`] cuts it off (in files of ours). *Rotten*: somebody was;
//! [`LogReader::next`] fails.
//!
//! Memory is bounded by the longest entry, and that by the file it is in.

use std::collections::VecDeque;
use std::io;
use std::path::{Path, PathBuf};

use oxkeeper_proto::Zxid;
use simd_adler32::Adler32;

use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::limits::{JAVA_ENTRY_BYTES_MAX, LOG_ENTRY_BYTES_MAX, READ_CHUNK_BYTES, TORN_SCAN_BYTES};
use crate::log_format::{
    END_OF_ENTRY, ENTRY_OVERHEAD_BYTES, ENTRY_PREFIX_BYTES, HEADER_BYTES, Header, MARK_OFFSET,
    mark_bytes, parse_header, payload_zxid,
};
use crate::names::{PUT_ASIDE, parse_log_name};

/// Why a log could not be read to its end.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The disk would not give the bytes.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// Bytes that were once written safely have changed. Starting without them would lose
    /// acknowledged writes.
    #[error("{} is damaged at offset {offset}: {flaw}{}; restore the file, or this server's \
        whole data from a snapshot, before starting it", file.display(), synced(*mark))]
    Rotten {
        /// The damaged file.
        file: PathBuf,
        /// Where the first bad entry begins.
        offset: u64,
        /// What is wrong there.
        flaw: Flaw,
        /// Up to where the file was known to be synced; none in a file of Java's.
        mark: Option<u64>,
    },
}

fn synced(mark: Option<u64>) -> String {
    match mark {
        Some(mark) => format!(", in what was synced (up to {mark})"),
        None => String::new(),
    }
}

/// What is wrong with bytes that should be an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// The file has no valid header.
    #[error("it has no valid log header")]
    Header,
    /// The file ends inside an entry.
    #[error("the file ends inside an entry")]
    CutShort,
    /// A checksum, but no length.
    #[error("an entry has a checksum but no length")]
    NoLength,
    /// The byte behind the payload is not 'B'.
    #[error("an entry was not written to its end")]
    NoEnd,
    /// The payload does not fit its checksum.
    #[error("the checksum of an entry does not match")]
    Checksum,
    /// The length is negative or larger than any entry.
    #[error("an entry has the impossible length {0}")]
    Length(i32),
    /// The payload is too short to name a zxid.
    #[error("an entry is too short for its header")]
    Short,
    /// Zeros where entries had been.
    #[error("entries are missing")]
    Vanished,
    /// Remains of entries after a gap of zeros.
    #[error("an entry's beginning is missing")]
    Remains,
}

impl Flaw {
    /// Flaws which Java takes for the end of the file; at the others it refuses to start.
    fn ends_javas_file(self) -> bool {
        matches!(self, Flaw::CutShort | Flaw::NoLength | Flaw::NoEnd)
    }
}

/// One txn of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogEntry<'a> {
    /// Its zxid.
    pub zxid: Zxid,
    /// TxnHeader, record and digest, as they go over the wire.
    pub payload: &'a [u8],
}

/// How one file ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileEnd {
    /// The file's name, without its directory.
    pub name: String,
    /// Whole entries in it, skipped ones included.
    pub entries: u64,
    /// The zxid of the last of them.
    pub last: Option<Zxid>,
    /// Offset behind the last of them.
    pub end: u64,
    /// Size of the file.
    pub size: u64,
    /// What follows, if not a clean end: a torn write, not promised to anyone.
    pub torn: Option<Flaw>,
    /// Up to where the file was known to be synced; none in a file of Java's.
    pub mark: Option<u64>,
}

/// What [`LogReader::finish`] found and did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogReport {
    /// The files read, in order, as they were found.
    pub files: Vec<FileEnd>,
    /// The highest zxid in them at or above the start.
    pub last: Option<Zxid>,
    /// Entries at or above the start.
    pub entries: u64,
    /// Entries whose zxid was not above all before them. Java applies such entries too.
    pub out_of_order: u64,
    /// The first place where zxids of one epoch are missing: the last before and the first
    /// after it. Something removed a file or an entry.
    pub gap: Option<(Zxid, Zxid)>,
    /// Files cut behind their last whole entry, with the number of bytes and what was wrong.
    pub cut: Vec<(String, u64, Flaw)>,
    /// Files removed at the end, or put aside, because they had no entry.
    pub removed: Vec<String>,
}

/// Streams the entries of a log directory from a zxid on.
#[derive(Debug)]
pub struct LogReader<D: Disk> {
    disk: D,
    dir: PathBuf,
    waiting: VecDeque<(Zxid, String)>,
    current: Option<OpenLog<D::File>>,
    from: Zxid,
    java_entry_bytes_max: usize,
    being_written: bool,
    report: LogReport,
}

#[derive(Debug)]
struct OpenLog<F> {
    name: String,
    path: PathBuf,
    window: Window<F>,
    mark: Option<u64>,
    entries: u64,
    last: Option<Zxid>,
}

impl<D: Disk> LogReader<D> {
    /// Reads the entries with a zxid of at least `from`. Begins with the last file whose name is
    /// not above it, or the first if there is none.
    pub fn new(disk: D, dir: PathBuf, from: Zxid) -> Result<LogReader<D>, DiskError> {
        let mut logs = list_logs(&disk, &dir)?;
        let first = logs.partition_point(|(zxid, _)| *zxid <= from).saturating_sub(1);
        let waiting = logs.drain(first..).collect();
        Ok(LogReader {
            disk,
            dir,
            waiting,
            current: None,
            from,
            java_entry_bytes_max: JAVA_ENTRY_BYTES_MAX,
            being_written: false,
            report: LogReport::default(),
        })
    }

    /// Sets the length above which Java would take the length of a torn entry for damage:
    /// `jute.maxbuffer` plus its `extrasize`.
    pub fn with_java_entry_bytes_max(mut self, bytes: usize) -> LogReader<D> {
        self.java_entry_bytes_max = bytes;
        self
    }

    /// For reading along with a server that writes: an end in the middle of an entry is nothing to
    /// speak of. What is written from now on may be seen or not; a reader that has come to the end
    /// stays there. [`LogReader::finish`] is not for such a log.
    pub fn being_written(mut self) -> LogReader<D> {
        self.being_written = true;
        self
    }

    /// Looks again at what is there, as far as the end has not been reached: what was written
    /// before this call is seen.
    pub fn refresh(&mut self) -> Result<(), DiskError> {
        let Some(log) = &mut self.current else { return Ok(()) };
        log.window.forget_what_is_ahead().at("read", &log.path)?;
        let current = parse_log_name(&log.name);
        let logs = list_logs(&self.disk, &self.dir)?;
        self.waiting = logs.into_iter().filter(|(first, _)| Some(*first) > current).collect();
        Ok(())
    }

    /// The next entry, or none after the last. After an error the reader is of no further use.
    #[expect(clippy::should_implement_trait, reason = "entries borrow the reader's buffer")]
    pub fn next(&mut self) -> Result<Option<LogEntry<'_>>, ReadError> {
        let range = loop {
            let java_entry_bytes_max = self.java_entry_bytes_max;
            let Some(log) = self.open_current()? else { return Ok(None) };
            let offset = log.window.offset();
            match log.step(java_entry_bytes_max).at("read", &log.path)? {
                Step::Entry(zxid, _) if zxid < self.from => {}
                Step::Entry(zxid, range) => {
                    self.note(zxid);
                    break (zxid, range);
                }
                Step::End(flaw) => self.close_current(offset, flaw)?,
            }
        };
        let (zxid, range) = range;
        let bytes = self.current.as_ref().map_or(&[][..], |log| &log.window.buf[range]);
        Ok(Some(LogEntry { zxid, payload: bytes }))
    }

    /// Reads what is left, then makes what was read durable and tidies the end of the log:
    /// torn remains are cut off, files without entries are removed. To be called once what was
    /// read is to be built upon: after a killed process the last entries may only be in memory.
    pub fn finish(mut self) -> Result<LogReport, ReadError> {
        while self.next()?.is_some() {}
        for end in &self.report.files {
            make_durable(&self.disk, &self.dir.join(&end.name), end)?;
        }
        let kept = self.remove_empty_tail()?;
        self.trim(kept)?;
        // A directory without logs has no name to lose; a first start waits for enough as it is.
        if !self.report.files.is_empty() {
            self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
        }
        Ok(self.report)
    }

    /// The file of the entry returned last, the offset behind that entry, and whether the file
    /// has our mark.
    pub fn position(&self) -> Option<(String, u64, bool)> {
        let log = self.current.as_ref()?;
        Some((log.name.clone(), log.window.offset(), log.mark.is_some()))
    }

    /// What was found so far. Complete once [`LogReader::next`] has returned none; nothing has
    /// been cut or removed.
    pub fn report(&self) -> &LogReport {
        &self.report
    }

    fn open_current(&mut self) -> Result<Option<&mut OpenLog<D::File>>, ReadError> {
        while self.current.is_none() {
            let Some((_, name)) = self.waiting.pop_front() else { return Ok(None) };
            self.current = self.open_log(name)?;
        }
        Ok(self.current.as_mut())
    }

    /// Opens a file and reads its header. None if it is the last and never had an entry.
    fn open_log(&mut self, name: String) -> Result<Option<OpenLog<D::File>>, ReadError> {
        let path = self.dir.join(&name);
        let file = self.disk.open_read(&path).at("open", &path)?;
        let mut window = Window::new(file).at("read", &path)?;
        window.fill(HEADER_BYTES).at("read", &path)?;
        let header = parse_header(window.available());
        let mark = match header {
            Header::Java => None,
            Header::Marked(mark) => Some(mark),
            Header::Invalid => {
                // Born but not christened: the header was never synced, so neither was any entry.
                window.consume(HEADER_BYTES.min(window.available().len()));
                let blank = window.rest_is_zero(u64::MAX).at("read", &path)?;
                if !blank || !self.waiting.is_empty() {
                    return Err(rotten(path, 0, Flaw::Header, None));
                }
                let size = window.size;
                let torn = (size > 0).then_some(Flaw::Header);
                self.end_file(FileEnd { end: 0, size, torn, ..FileEnd::unread(name, Some(0)) });
                return Ok(None);
            }
        };
        window.consume(HEADER_BYTES);
        Ok(Some(OpenLog { name, path, window, mark, entries: 0, last: None }))
    }

    /// Judges the end of the current file, which has its last good entry before `offset`.
    fn close_current(&mut self, offset: u64, flaw: Option<Flaw>) -> Result<(), ReadError> {
        let Some(mut log) = self.current.take() else { return Ok(()) };
        let size = log.window.size;
        let flaw = match log.mark {
            Some(mark) if offset < mark && !(flaw.is_none() && size == offset) => {
                return Err(rotten(log.path, offset, flaw.unwrap_or(Flaw::Vanished), Some(mark)));
            }
            None if flaw.is_some_and(|flaw| !flaw.ends_javas_file()) => {
                return Err(rotten(log.path, offset, flaw.unwrap_or(Flaw::Vanished), None));
            }
            // The first page of a torn batch can be lost while later ones are not.
            Some(_) if flaw.is_none() => {
                let blank = log.window.rest_is_zero(TORN_SCAN_BYTES).at("read", &log.path)?;
                (!blank).then_some(Flaw::Remains)
            }
            _ => flaw,
        };
        self.end_file(FileEnd {
            entries: log.entries,
            last: log.last,
            end: offset,
            size,
            torn: flaw,
            ..FileEnd::unread(log.name, log.mark)
        });
        Ok(())
    }

    fn end_file(&mut self, end: FileEnd) {
        if let Some(flaw) = end.torn.filter(|_| !self.being_written) {
            let FileEnd { name, end, size, .. } = &end;
            tracing::warn!(file = name, offset = end, size, %flaw, "log ends in a torn write");
        }
        self.report.files.push(end);
    }

    fn note(&mut self, zxid: Zxid) {
        let report = &mut self.report;
        report.entries += 1;
        let before = report.last.unwrap_or(Zxid(self.from.0.saturating_sub(1)));
        if zxid <= before && report.last.is_some() {
            report.out_of_order += 1;
            tracing::error!(%zxid, after = %before, "zxid out of order in the log");
            return;
        }
        // A new epoch begins with counter 1, whatever came before.
        let follows =
            zxid == before.next() || (zxid.epoch() > before.epoch() && zxid.counter() <= 1);
        if !follows && report.gap.is_none() && !self.being_written {
            tracing::warn!(after = %before, found = %zxid, "txns are missing in the log");
            report.gap = Some((before, zxid));
        }
        report.last = Some(zxid);
    }

    /// Removes files without entries from the end of the log: their names may be needed again.
    /// A file of Java's with something in it that is no entry is put aside, not removed: only
    /// a mark could tell that nobody was promised it.
    /// Returns how many of the files are left.
    fn remove_empty_tail(&mut self) -> Result<usize, DiskError> {
        let files = &self.report.files;
        let kept = files.iter().rposition(|end| end.entries > 0).map_or(0, |last| last + 1);
        for end in files[kept..].iter().rev() {
            let path = self.dir.join(&end.name);
            match end.torn {
                Some(flaw) if end.mark.is_none() => {
                    let aside = format!("{PUT_ASIDE}{}", end.name);
                    self.disk.rename(&path, &self.dir.join(&aside)).at("rename", &path)?;
                    tracing::warn!(file = end.name, aside, %flaw, "put aside a torn log");
                }
                _ => {
                    self.disk.remove(&path).at("remove", &path)?;
                    tracing::warn!(file = end.name, "removed a log without entries");
                }
            }
            self.report.removed.push(end.name.clone());
        }
        Ok(kept)
    }

    /// Cuts what is behind the last entry of the last file kept, if the file is ours: a torn write,
    /// and the padding with whatever a torn batch left further behind in it. Java's files stay
    /// as they are.
    fn trim(&mut self, kept: usize) -> Result<(), DiskError> {
        let last = match self.report.files[..kept].last() {
            Some(last) if last.mark.is_some() && last.size > last.end => last,
            _ => return Ok(()),
        };
        let path = self.dir.join(&last.name);
        let file = self.disk.open(&path).at("open", &path)?;
        file.set_len(last.end).at("cut", &path)?;
        // The caller has synced all of it.
        file.write_at(&mark_bytes(last.end), MARK_OFFSET).at("write", &path)?;
        file.sync_all().at("sync", &path)?;
        if let Some(flaw) = last.torn {
            let bytes = last.size - last.end;
            tracing::warn!(file = last.name, offset = last.end, bytes, "cut a torn write");
            self.report.cut.push((last.name.clone(), bytes, flaw));
        }
        Ok(())
    }
}

impl FileEnd {
    fn unread(name: String, mark: Option<u64>) -> FileEnd {
        FileEnd { name, entries: 0, last: None, end: 0, size: 0, torn: None, mark }
    }
}

/// Syncs what was read of a file. What lies above the mark is written once more before: if the
/// last process ended because a sync had failed, those bytes may be in memory only *and* count
/// as clean, so that no sync would ever write them.
fn make_durable<D: Disk>(disk: &D, path: &Path, end: &FileEnd) -> Result<(), DiskError> {
    let Some(mut offset) = end.mark.filter(|mark| *mark < end.end) else {
        return disk.open_read(path).at("open", path)?.sync_all().at("sync", path);
    };
    let file = disk.open(path).at("open", path)?;
    let mut chunk = vec![0; READ_CHUNK_BYTES];
    while offset < end.end {
        let len = chunk.len().min((end.end - offset) as usize);
        let n = file.read_at(&mut chunk[..len], offset).at("read", path)?;
        file.write_at(&chunk[..n], offset).at("write", path)?;
        if n == 0 {
            break;
        }
        offset += n as u64;
    }
    file.sync_all().at("sync", path)
}

fn rotten(file: PathBuf, offset: u64, flaw: Flaw, mark: Option<u64>) -> ReadError {
    ReadError::Rotten { file, offset, flaw, mark }
}

/// Bytes of entries from this place on, in the file and all later ones. Where a file of ours is
/// padded, the padding is not counted; what its mark has not yet reached is not either.
pub fn log_bytes_from<D: Disk>(
    disk: &D,
    dir: &Path,
    file: &str,
    offset: u64,
) -> Result<u64, DiskError> {
    let logs = list_logs(disk, dir)?;
    let mut bytes = 0;
    for (_, name) in logs.into_iter().skip_while(|(_, name)| name != file) {
        let path = dir.join(&name);
        let opened = disk.open_read(&path).at("open", &path)?;
        let mut header = [0; HEADER_BYTES];
        let n = opened.read_at(&mut header, 0).at("read", &path)?;
        let end = match parse_header(&header[..n]) {
            Header::Marked(mark) => mark,
            Header::Java | Header::Invalid => opened.size().at("read", &path)?,
        };
        let begin = if name == file { offset } else { HEADER_BYTES as u64 };
        bytes += end.saturating_sub(begin);
    }
    Ok(bytes)
}

/// The logs of a directory by the zxid in their names, ascending.
pub fn list_logs<D: Disk>(disk: &D, dir: &Path) -> Result<Vec<(Zxid, String)>, DiskError> {
    let names = disk.list(dir).at("list", dir)?;
    let mut logs: Vec<_> =
        names.into_iter().filter_map(|name| Some((parse_log_name(&name)?, name))).collect();
    logs.sort();
    Ok(logs)
}

enum Step {
    /// A whole entry: its zxid, and where its payload is in the window.
    Entry(Zxid, std::ops::Range<usize>),
    /// The file has no more: cleanly, or with a flaw.
    End(Option<Flaw>),
}

impl<F: DiskFile> OpenLog<F> {
    fn step(&mut self, java_entry_bytes_max: usize) -> io::Result<Step> {
        let window = &mut self.window;
        if !window.fill(ENTRY_PREFIX_BYTES)? {
            let blank = window.available().iter().all(|b| *b == 0);
            return Ok(Step::End((!blank).then_some(Flaw::CutShort)));
        }
        let (checksum, len) = parse_prefix(window.available());
        if len == 0 {
            return Ok(Step::End((checksum != 0).then_some(Flaw::NoLength)));
        }
        let Some(bytes) = usize::try_from(len).ok().filter(|n| *n <= LOG_ENTRY_BYTES_MAX) else {
            return Ok(Step::End(Some(Flaw::Length(len))));
        };
        if !window.fill(bytes + ENTRY_OVERHEAD_BYTES)? {
            let impossible = self.mark.is_none() && bytes > java_entry_bytes_max;
            let flaw = if impossible { Flaw::Length(len) } else { Flaw::CutShort };
            return Ok(Step::End(Some(flaw)));
        }
        let (payload, end) = window.available()[ENTRY_PREFIX_BYTES..].split_at(bytes);
        if end[0] != END_OF_ENTRY {
            return Ok(Step::End(Some(Flaw::NoEnd)));
        }
        if checksum != i64::from(adler32(payload)) {
            return Ok(Step::End(Some(Flaw::Checksum)));
        }
        let Some(zxid) = payload_zxid(payload) else {
            return Ok(Step::End(Some(Flaw::Short)));
        };
        let start = window.at + ENTRY_PREFIX_BYTES;
        window.consume(bytes + ENTRY_OVERHEAD_BYTES);
        self.entries += 1;
        self.last = Some(zxid);
        Ok(Step::Entry(zxid, start..start + bytes))
    }
}

fn parse_prefix(bytes: &[u8]) -> (i64, i32) {
    let checksum = bytes[..8].iter().fold(0i64, |n, b| n << 8 | i64::from(*b));
    let len = bytes[8..12].iter().fold(0i32, |n, b| n << 8 | i32::from(*b));
    (checksum, len)
}

fn adler32(bytes: &[u8]) -> u32 {
    let mut adler = Adler32::new();
    adler.write(bytes);
    adler.finish()
}

/// A stretch of a file in memory, moving forward.
#[derive(Debug)]
struct Window<F> {
    file: F,
    size: u64,
    buf: Vec<u8>,
    /// What is consumed of `buf`.
    at: usize,
    /// Offset in the file of the end of `buf`.
    end: u64,
}

impl<F: DiskFile> Window<F> {
    fn new(file: F) -> io::Result<Window<F>> {
        let size = file.size()?;
        Ok(Window { file, size, buf: Vec::new(), at: 0, end: 0 })
    }

    /// Offset in the file of the next byte.
    fn offset(&self) -> u64 {
        self.end - self.available().len() as u64
    }

    fn available(&self) -> &[u8] {
        &self.buf[self.at..]
    }

    fn consume(&mut self, bytes: usize) {
        self.at += bytes;
    }

    /// Reads from the file again what was not yet consumed.
    fn forget_what_is_ahead(&mut self) -> io::Result<()> {
        self.end = self.offset();
        self.buf.clear();
        self.at = 0;
        self.size = self.file.size()?;
        Ok(())
    }

    /// Makes `bytes` available, or says no if the file ends before; what there is is available
    /// then, unless it would not fit a chunk.
    fn fill(&mut self, bytes: usize) -> io::Result<bool> {
        if self.available().len() >= bytes {
            return Ok(true);
        }
        let possible = self.size - self.offset().min(self.size) >= bytes as u64;
        if !possible && bytes > READ_CHUNK_BYTES {
            return Ok(false);
        }
        self.buf.drain(..self.at);
        self.at = 0;
        let left = usize::try_from(self.size.saturating_sub(self.end)).unwrap_or(usize::MAX);
        let target = bytes.max(READ_CHUNK_BYTES).min(self.buf.len().saturating_add(left));
        let mut len = self.buf.len();
        self.buf.resize(target.max(len), 0);
        while len < target {
            let n = self.file.read_at(&mut self.buf[len..], self.end)?;
            if n == 0 {
                break;
            }
            len += n;
            self.end += n as u64;
        }
        self.buf.truncate(len);
        Ok(self.available().len() >= bytes)
    }

    /// Whether the next `limit` bytes are zeros, as far as the file goes.
    fn rest_is_zero(&mut self, limit: u64) -> io::Result<bool> {
        let stop = self.offset().saturating_add(limit);
        while self.offset() < stop {
            if !self.fill(1)? {
                return Ok(true);
            }
            let left = usize::try_from(stop - self.offset()).unwrap_or(usize::MAX);
            let bytes = &self.available()[..left.min(self.available().len())];
            if bytes.iter().any(|b| *b != 0) {
                return Ok(false);
            }
            let n = bytes.len();
            self.consume(n);
        }
        Ok(true)
    }
}
