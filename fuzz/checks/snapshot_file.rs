//! A snapshot's file in memory, as its writer puts it together and its reader takes it apart.

use oxkeeper_proto::{Put, Zxid};
use oxkeeper_tree::snapshot::{self, Loaded};
use oxkeeper_tree::{LoadError, SnapshotHead, SnapshotSource, TreeOptions};

/// Begins a snapshot's file.
pub fn head(head: &SnapshotHead) -> Vec<u8> {
    let mut file = Vec::new();
    head.encode(&mut file);
    file
}

/// Writes what follows the znodes. Seals are left empty: [`File`] can be told not to look at them.
pub fn end(head: &SnapshotHead, file: &mut Vec<u8>) {
    head.encode_end(file);
    file.extend_from_slice(&[0; SEAL_BYTES]);
    if head.encode_digest(file) {
        file.extend_from_slice(&[0; SEAL_BYTES]);
        head.encode_last_zxid(file);
        file.extend_from_slice(&[0; SEAL_BYTES]);
    }
}

/// Loads a file whose seals are empty.
pub fn load(file: &[u8], options: TreeOptions, zxid: Zxid) -> Result<Loaded, LoadError<Fault>> {
    snapshot::load(&mut File { bytes: file, at: 0, seals: false }, options, zxid)
}

/// A snapshot file in memory.
pub struct File<'a> {
    pub bytes: &'a [u8],
    pub at: usize,
    /// Seals are compared with the bytes before them.
    pub seals: bool,
}

/// Why bytes could not be had.
#[derive(Debug)]
pub enum Fault {
    /// There are no more.
    Short,
    /// The seal is that of other bytes.
    Seal,
}

const SEAL_BYTES: usize = 13;

impl SnapshotSource for File<'_> {
    type Error = Fault;

    fn next_bytes(&mut self, len: usize) -> Result<&[u8], Fault> {
        let end = self.at.checked_add(len).ok_or(Fault::Short)?;
        let bytes = self.bytes.get(self.at..end).ok_or(Fault::Short)?;
        self.at = end;
        Ok(bytes)
    }

    fn check_seal(&mut self) -> Result<(), Fault> {
        let mut expected = Vec::new();
        expected.put_long(adler32(&self.bytes[..self.at]));
        expected.put_string("/");
        let seals = self.seals;
        let seal = self.next_bytes(SEAL_BYTES)?;
        if !seals || seal == expected { Ok(()) } else { Err(Fault::Seal) }
    }

    fn remaining(&mut self, max: usize) -> Result<usize, Fault> {
        Ok((self.bytes.len() - self.at).min(max + 1))
    }
}

fn adler32(bytes: &[u8]) -> i64 {
    let (mut low, mut high) = (1, 0);
    for byte in bytes {
        low = (low + i64::from(*byte)) % 65_521;
        high = (high + low) % 65_521;
    }
    high << 16 | low
}
