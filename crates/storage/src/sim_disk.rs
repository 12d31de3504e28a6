//! A disk in memory that knows which bytes were synced.
//!
//! It keeps two truths: what a running process sees, and what is certain to survive a power cut.
//! Between them lie the writes, truncations and name changes that were not yet synced.
//! [`SimDisk::crash`] makes one of the many disks that may be found after the power comes back:
//! of everything uncertain a seed decides what is there, what is not, in which order, and where
//! a write was torn. What it allows is more than real disks do, except that an aligned word of 8
//! bytes is never torn: it lies within a sector.
//!
//! Faults strike at a given operation ([`SimDisk::fail_at`]); counting the operations of a
//! workload once and then cutting at each of them covers every moment of it. Directories are
//! durable as soon as they exist.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{Disk, DiskFile, LockError};

const ENOSPC: i32 = 28;
const EIO: i32 = 5;
const SECTOR_BYTES: usize = 512;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The process stops in the middle of the operation, which may have happened, in part or
    /// not at all, and everything afterwards fails. Whether the power went off as well is for
    /// the test to say: [`SimDisk::crash`] if it did, [`SimDisk::repair`] if not.
    Stop,
    /// From here on writes and creations fail for lack of space, after having written half.
    NoSpace,
    /// This operation fails. A failed sync drops what it should have synced, silently for the
    /// next one, as Linux does.
    Io,
}

/// See the module.
#[derive(Debug, Clone, Default)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

/// A file of a [`SimDisk`].
#[derive(Debug)]
pub struct SimFile {
    state: Arc<Mutex<State>>,
    inode: usize,
}

/// A lock on a [`SimDisk`]; it ends with the process, that is, when dropped.
#[derive(Debug)]
pub struct SimLock {
    state: Arc<Mutex<State>>,
    path: PathBuf,
}

#[derive(Debug, Default)]
struct State {
    inodes: Vec<Inode>,
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    pending_names: Vec<NameChange>,
    dirs: BTreeSet<PathBuf>,
    locks: BTreeSet<PathBuf>,
    operations: u64,
    plan: Option<(u64, Fault)>,
    stopped: bool,
    full: bool,
}

#[derive(Debug, Default)]
struct Inode {
    /// What a process reads.
    bytes: Vec<u8>,
    /// What certainly survives.
    durable: Vec<u8>,
    /// How the first differs from the second.
    pending: Vec<Change>,
}

#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

#[derive(Debug, Clone)]
enum NameChange {
    Link(PathBuf, usize),
    Unlink(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl NameChange {
    fn dir(&self) -> Option<&Path> {
        match self {
            NameChange::Link(path, _) | NameChange::Unlink(path) | NameChange::Rename(_, path) => {
                path.parent()
            }
        }
    }

    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        match self {
            NameChange::Link(path, inode) => {
                names.insert(path.clone(), *inode);
            }
            NameChange::Unlink(path) => {
                names.remove(path);
            }
            NameChange::Rename(from, to) => {
                if let Some(inode) = names.remove(from) {
                    names.insert(to.clone(), inode);
                }
            }
        }
    }
}

impl Change {
    fn apply(&self, bytes: &mut Vec<u8>) {
        match self {
            Change::Write(offset, written) => {
                let end = offset + written.len();
                bytes.resize(bytes.len().max(end), 0);
                bytes[*offset..end].copy_from_slice(written);
            }
            Change::SetLen(len) => bytes.resize(*len, 0),
        }
    }
}

impl SimDisk {
    /// An empty disk.
    pub fn new() -> SimDisk {
        SimDisk::default()
    }

    /// Lets the fault strike at the operation of this number (see [`SimDisk::operations`]).
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.state().plan = Some((operation, fault));
    }

    /// Ends all faults, planned and past: there is space, and a process can start again and
    /// read what the last one wrote, synced or not.
    pub fn repair(&self) {
        let mut state = self.state();
        (state.full, state.stopped, state.plan) = (false, false, None);
    }

    /// How many operations that change or sync something there were.
    pub fn operations(&self) -> u64 {
        self.state().operations
    }

    /// A disk as it may be found after the power was cut now. Equal seeds give equal disks.
    pub fn crash(&self, seed: u64) -> SimDisk {
        let mut dice = Dice(seed);
        let state = self.state();
        let mut image = State { dirs: state.dirs.clone(), ..State::default() };
        image.names = state.durable_names.clone();
        for change in dice.survivors(&state.pending_names) {
            change.apply(&mut image.names);
        }
        for inode in &state.inodes {
            let mut bytes = inode.durable.clone();
            let torn = dice.chance(2);
            for change in dice.survivors(&inode.pending) {
                for change in if torn { dice.tear(change) } else { vec![change] } {
                    change.apply(&mut bytes);
                }
            }
            image.inodes.push(Inode { durable: bytes.clone(), bytes, pending: Vec::new() });
        }
        image.durable_names = image.names.clone();
        SimDisk { state: Arc::new(Mutex::new(image)) }
    }

    /// Puts a durable file there, with its directory.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut state = self.state();
        let inode = Inode { bytes: bytes.to_vec(), durable: bytes.to_vec(), pending: Vec::new() };
        state.inodes.push(inode);
        let id = state.inodes.len() - 1;
        state.dirs.extend(path.ancestors().skip(1).map(Path::to_owned));
        state.names.insert(path.to_owned(), id);
        state.durable_names.insert(path.to_owned(), id);
    }

    /// What a process reads from the file; empty if there is none.
    pub fn bytes(&self, path: &Path) -> Vec<u8> {
        let state = self.state();
        let inode = state.names.get(path).map(|inode| &state.inodes[*inode]);
        inode.map(|inode| inode.bytes.clone()).unwrap_or_default()
    }

    /// Lets bits rot: changes bytes behind everyone's back, durably. Does nothing to a file that
    /// is not there or too short.
    pub fn rot(&self, path: &Path, offset: usize, xor: u8) {
        let mut state = self.state();
        let Some(inode) = state.names.get(path).copied() else { return };
        let inode = &mut state.inodes[inode];
        for bytes in [&mut inode.bytes, &mut inode.durable] {
            if let Some(byte) = bytes.get_mut(offset) {
                *byte ^= xor;
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    fn open_inode(&self, path: &Path) -> io::Result<SimFile> {
        let state = self.state();
        state.running()?;
        let inode = *state.names.get(path).ok_or(io::ErrorKind::NotFound)?;
        Ok(SimFile { state: Arc::clone(&self.state), inode })
    }

    fn create_inode(&self, path: &Path) -> io::Result<SimFile> {
        let mut state = self.state();
        let strikes = state.begin()?;
        if state.full {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        if !path.parent().is_some_and(|dir| state.dirs.contains(dir)) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.inodes.push(Inode::default());
        let inode = state.inodes.len() - 1;
        state.change_name(NameChange::Link(path.to_owned(), inode));
        state.end(strikes)?;
        Ok(SimFile { state: Arc::clone(&self.state), inode })
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    // A test that panicked elsewhere has its own message.
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl State {
    fn running(&self) -> io::Result<()> {
        if self.stopped { Err(io::Error::other("the process has stopped")) } else { Ok(()) }
    }

    /// Counts an operation and says whether the process stops in it.
    fn begin(&mut self) -> io::Result<bool> {
        self.running()?;
        self.operations += 1;
        match self.plan {
            Some((at, Fault::Stop)) if at == self.operations => return Ok(true),
            Some((at, Fault::Io)) if at == self.operations => {
                return Err(io::Error::from_raw_os_error(EIO));
            }
            Some((at, Fault::NoSpace)) if at == self.operations => self.full = true,
            _ => {}
        }
        Ok(false)
    }

    fn end(&mut self, strikes: bool) -> io::Result<()> {
        self.stopped |= strikes;
        self.running()
    }

    fn change_name(&mut self, change: NameChange) {
        change.apply(&mut self.names);
        self.pending_names.push(change);
    }

    fn change(&mut self, inode: usize, change: Change) {
        let inode = &mut self.inodes[inode];
        change.apply(&mut inode.bytes);
        inode.pending.push(change);
    }
}

impl Disk for SimDisk {
    type File = SimFile;
    type Lock = SimLock;

    fn create_new(&self, path: &Path) -> io::Result<SimFile> {
        if self.state().names.contains_key(path) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        self.create_inode(path)
    }

    fn create(&self, path: &Path) -> io::Result<SimFile> {
        match self.open_inode(path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => self.create_inode(path),
            opened => {
                let file = opened?;
                file.set_len(0)?;
                Ok(file)
            }
        }
    }

    fn open(&self, path: &Path) -> io::Result<SimFile> {
        self.open_inode(path)
    }

    fn open_read(&self, path: &Path) -> io::Result<SimFile> {
        self.open_inode(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state();
        let strikes = state.begin()?;
        if !state.names.contains_key(from) {
            return Err(io::ErrorKind::NotFound.into());
        }
        state.change_name(NameChange::Rename(from.to_owned(), to.to_owned()));
        state.end(strikes)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.running()?;
        if !state.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let strikes = state.begin()?;
        state.change_name(NameChange::Unlink(path.to_owned()));
        state.end(strikes)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state();
        state.running()?;
        if !state.dirs.contains(dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn canonical(&self, dir: &Path) -> io::Result<PathBuf> {
        Ok(dir.to_owned())
    }

    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.running()?;
        state.dirs.extend(dir.ancestors().map(Path::to_owned));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut state = self.state();
        let strikes = state.begin()?;
        if !strikes {
            let pending = std::mem::take(&mut state.pending_names);
            let (here, elsewhere) = pending.into_iter().partition(|c| c.dir() == Some(dir));
            state.pending_names = elsewhere;
            let here: Vec<NameChange> = here;
            here.iter().for_each(|change| change.apply(&mut state.durable_names));
        }
        state.end(strikes)
    }

    fn free_bytes(&self, _: &Path) -> io::Result<u64> {
        Ok(if self.state().full { 0 } else { 1 << 40 })
    }

    fn lock(&self, path: &Path) -> Result<SimLock, LockError> {
        if !self.state().locks.insert(path.to_owned()) {
            let dir = path.parent().unwrap_or(path).to_owned();
            return Err(LockError::Held { dir, pid: None });
        }
        Ok(SimLock { state: Arc::clone(&self.state), path: path.to_owned() })
    }
}

impl Drop for SimLock {
    fn drop(&mut self) {
        lock(&self.state).locks.remove(&self.path);
    }
}

impl DiskFile for SimFile {
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let begun = state.begin();
        let failed = begun.is_err() || state.full;
        // Every other stop is in the middle of the write.
        let half = failed || matches!(begun, Ok(true)) && state.operations.is_multiple_of(2);
        let written = match half {
            true if is_word(offset as usize, bytes) => &[][..],
            true => &bytes[..bytes.len() / 2],
            false => bytes,
        };
        if !state.stopped {
            state.change(self.inode, Change::Write(offset as usize, written.to_vec()));
        }
        let strikes = begun?;
        if failed {
            return Err(io::Error::from_raw_os_error(ENOSPC));
        }
        state.end(strikes)
    }

    fn read_at(&self, buf: &mut [u8], offset: u64) -> io::Result<usize> {
        let state = lock(&self.state);
        state.running()?;
        let bytes = &state.inodes[self.inode].bytes;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let n = rest.len().min(buf.len());
        buf[..n].copy_from_slice(&rest[..n]);
        Ok(n)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(lock(&self.state).inodes[self.inode].bytes.len() as u64)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = lock(&self.state);
        let strikes = state.begin()?;
        state.change(self.inode, Change::SetLen(len as usize));
        state.end(strikes)
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = lock(&self.state);
        let begun = state.begin();
        if matches!(begun, Ok(true)) || state.stopped {
            return state.end(true);
        }
        let inode = &mut state.inodes[self.inode];
        let pending = std::mem::take(&mut inode.pending);
        if begun.is_ok() {
            pending.iter().for_each(|change| change.apply(&mut inode.durable));
        }
        begun.map(drop)
    }

    fn sync_all(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Whether a write is too small to be torn.
fn is_word(offset: usize, bytes: &[u8]) -> bool {
    bytes.len() <= 8 && offset.is_multiple_of(8)
}

/// SplitMix64: all the randomness there is.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % sides.max(1) as u64) as usize
    }

    fn chance(&mut self, one_in: usize) -> bool {
        self.roll(one_in) == 0
    }

    /// Which of the uncertain changes made it: none, all, the first few, or any.
    fn survivors<T: Clone>(&mut self, changes: &[T]) -> Vec<T> {
        match self.roll(4) {
            0 => Vec::new(),
            1 => changes.to_vec(),
            2 => changes[..self.roll(changes.len() + 1)].to_vec(),
            _ => changes.iter().filter(|_| self.chance(2)).cloned().collect(),
        }
    }

    /// The parts of a write that made it: the beginning, the end, or any of its sectors.
    fn tear(&mut self, change: Change) -> Vec<Change> {
        let Change::Write(offset, bytes) = &change else { return vec![change] };
        if is_word(*offset, bytes) {
            return vec![change];
        }
        let cut = self.roll(bytes.len() + 1);
        match self.roll(3) {
            0 => vec![Change::Write(*offset, bytes[..cut].to_vec())],
            1 => vec![Change::Write(offset + cut, bytes[cut..].to_vec())],
            _ => {
                let sectors = bytes.chunks(SECTOR_BYTES).enumerate();
                let kept = sectors.filter(|_| self.chance(2));
                kept.map(|(i, b)| Change::Write(offset + i * SECTOR_BYTES, b.to_vec())).collect()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DIR: &str = "/d";

    fn disk_with_file() -> (SimDisk, SimFile) {
        let disk = SimDisk::new();
        disk.create_dir(Path::new(DIR)).unwrap();
        let file = disk.create_new(&Path::new(DIR).join("f")).unwrap();
        (disk, file)
    }

    fn images(disk: &SimDisk) -> BTreeSet<Vec<u8>> {
        (0..200).map(|seed| disk.crash(seed).bytes(Path::new("/d/f"))).collect()
    }

    #[test]
    fn what_was_synced_survives_every_crash() {
        let (disk, file) = disk_with_file();
        file.write_at(b"synced", 0).unwrap();
        file.sync_data().unwrap();
        assert!(images(&disk).contains(b"".as_slice()), "the name was not synced");
        disk.sync_dir(Path::new(DIR)).unwrap();
        assert_eq!(images(&disk), BTreeSet::from([b"synced".to_vec()]));
        file.write_at(b"UNS", 0).unwrap();
        file.write_at(b"SAFE", 6).unwrap();
        let images = images(&disk);
        for possible in ["synced", "UNSced", "UNSsedSAFE", "syncedSAFE", "UNSced\0\0FE"] {
            let found = images.contains(possible.replace("UNSsed", "UNSced").as_bytes());
            assert!(found, "{possible} is never found");
        }
        assert!(images.iter().all(|image| image.ends_with(b"ced") || image.len() > 6));
    }

    #[test]
    fn a_failed_sync_loses_what_it_should_have_kept() {
        let (disk, file) = disk_with_file();
        disk.sync_dir(Path::new(DIR)).unwrap();
        file.write_at(b"gone", 0).unwrap();
        disk.fail_at(disk.operations() + 1, Fault::Io);
        assert!(file.sync_data().is_err());
        file.sync_data().expect("the second one claims success");
        assert_eq!(disk.bytes(Path::new("/d/f")), b"gone");
        assert_eq!(images(&disk), BTreeSet::from([Vec::new()]));
    }

    #[test]
    fn a_renamed_file_is_under_one_of_its_names() {
        let (disk, file) = disk_with_file();
        file.write_at(b"x", 0).unwrap();
        file.sync_all().unwrap();
        disk.sync_dir(Path::new(DIR)).unwrap();
        disk.rename(Path::new("/d/f"), Path::new("/d/g")).unwrap();
        let names: BTreeSet<_> =
            (0..50).map(|seed| disk.crash(seed).list(Path::new(DIR)).unwrap()).collect();
        assert_eq!(names, BTreeSet::from([vec!["f".to_owned()], vec!["g".to_owned()]]));
    }
}
