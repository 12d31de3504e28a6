//! A snapshot file as a stream: plain, gzip or snappy, with its running checksum and seals.
//!
//! Holds whatever comes: nothing panics, the reader never claims to be past what it gave out, and
//! a stream read in small steps is the stream read in large ones, checksum included.

use std::io::Cursor;
use std::path::Path;

use oxkeeper_storage::{Compression, SnapshotReader};

/// Compressed bytes can stand for very many; reading stops here.
const UNCOMPRESSED_BYTES_MAX: usize = 1 << 18;

/// The first byte chooses the compression, the second the steps.
pub fn run(data: &[u8]) {
    let [form, step, stream @ ..] = data else { return };
    let compression = match form % 3 {
        0 => Compression::None,
        1 => Compression::Gzip,
        _ => Compression::Snappy,
    };
    let small = read(stream, compression, usize::from(*step) + 1);
    let large = read(stream, compression, 4096);
    let both = small.0.len().min(large.0.len());
    assert_eq!(small.0[..both], large.0[..both]);
    if small.0.len() == large.0.len() {
        assert_eq!(small.1, large.1, "checksums of the same bytes");
    }
}

/// Everything up to the end or the first fault, in steps of this size, and its checksum.
fn read(stream: &[u8], compression: Compression, step: usize) -> (Vec<u8>, u32) {
    let stream = Cursor::new(stream.to_vec());
    let mut reader = SnapshotReader::new(stream, compression, Path::new("snapshot.1"));
    let mut bytes = Vec::new();
    while bytes.len() < UNCOMPRESSED_BYTES_MAX {
        match reader.next_bytes(step) {
            Ok(taken) => {
                assert_eq!(taken.len(), step);
                bytes.extend_from_slice(taken);
            }
            Err(_) => break,
        }
        assert_eq!(reader.offset(), bytes.len() as u64);
    }
    let checksum = reader.checksum();
    if let Ok(left) = reader.remaining(64) {
        assert!(left <= 65);
    }
    let _ = reader.check_seal();
    let _ = reader.check_end();
    (bytes, checksum)
}
