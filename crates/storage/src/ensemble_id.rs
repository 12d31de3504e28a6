//! The number by which servers of ours know their ensemble: `oxkeeper.ensemble`.
//!
//! 32 hexadecimal digits and a newline, replaced as a whole like the epochs beside it. Apache's
//! servers know nothing of it. A server that has one follows nobody who says another.

use std::path::Path;

use crate::disk::{Context, Disk, DiskError, DiskFile};
use crate::epochs::replace;

const NAME: &str = "oxkeeper.ensemble";

/// Digits, a newline, and one byte to see that there is no more.
const BYTES_MAX: usize = 34;

/// The number that a `version-2` directory for snapshots keeps; 0 if it keeps none.
///
/// # Errors
/// If the file cannot be read or holds something else.
pub fn read_ensemble_id<D: Disk>(disk: &D, dir: &Path) -> Result<u128, DiskError> {
    let path = dir.join(NAME);
    let file = match disk.open_read(&path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(0),
        opened => opened.at("open", &path)?,
    };
    let mut bytes = [0; BYTES_MAX];
    let n = file.read_at(&mut bytes, 0).at("read", &path)?;
    let text = std::str::from_utf8(&bytes[..n]).unwrap_or_default();
    u128::from_str_radix(text.trim_end(), 16)
        .map_err(|_| {
            std::io::Error::other(
                "it does not hold the number of an ensemble; remove it, and the leader tells it \
                 again",
            )
        })
        .at("read", &path)
}

/// Makes the number durable.
///
/// # Errors
/// If it cannot be written.
pub fn write_ensemble_id<D: Disk>(disk: &D, dir: &Path, id: u128) -> Result<(), DiskError> {
    replace(disk, dir, NAME, &format!("{id:032x}\n"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SimDisk;

    #[test]
    fn the_number_survives_a_power_cut_once_it_is_written() {
        let disk = SimDisk::new();
        let dir = Path::new("/data");
        disk.create_dir(dir).unwrap();
        disk.sync_dir(dir).unwrap();
        assert_eq!(read_ensemble_id(&disk, dir).unwrap(), 0);
        for id in [1, u128::MAX, 0xfeed << 64] {
            write_ensemble_id(&disk, dir, id).unwrap();
            assert_eq!(read_ensemble_id(&disk.crash(7), dir).unwrap(), id);
        }
        disk.put(&dir.join(NAME), b"yes");
        assert!(read_ensemble_id(&disk, dir).unwrap_err().to_string().contains(NAME));
    }
}
