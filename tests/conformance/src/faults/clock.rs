//! Clocks that can be stepped.
//!
//! All processes of a machine share its clock. `libfaketime`, where it is installed, stands between
//! a server and the C library and adds what a file says, as an operator does who sets the time of
//! one machine, or a time daemon that has been away. The clock that only goes forward is left
//! alone, as the kernel's is.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// Where distributions put it; the variant for processes with threads.
const LIBRARIES: [&str; 3] = [
    "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1",
    "/usr/lib64/faketime/libfaketimeMT.so.1",
];
/// In the directory of a member: how far its clock is off.
const FILE: &str = "clock";

/// The library, if it is installed.
///
/// # Errors
/// It is not.
pub(super) fn library() -> Result<PathBuf> {
    let found = LIBRARIES.iter().map(PathBuf::from).find(|path| path.exists());
    found.context("all processes of a machine share its clock, and there is no libfaketime")
}

/// What the script that starts a member has to say for it, in front of the server's name. `$dir` is
/// the member's directory there.
pub(super) fn prelude(library: &Path) -> String {
    format!(
        "[ -e \"$dir/{FILE}\" ] || echo +0 > \"$dir/{FILE}\"\n\
         export FAKETIME_TIMESTAMP_FILE=\"$dir/{FILE}\" FAKETIME_CACHE_DURATION=1 \
         FAKETIME_DONT_FAKE_MONOTONIC=1 NO_FAKE_STAT=1 LD_PRELOAD='{}'\n",
        library.display()
    )
}

/// Sets the clock of the member with this directory so many seconds off. It notices within one.
///
/// # Errors
/// When the file cannot be written.
pub(super) fn set(member: &Path, off_s: i64) -> Result<()> {
    // In one piece: a file that is half written says something else.
    let (path, new) = (member.join(FILE), member.join("clock.new"));
    fs::write(&new, format!("{off_s:+}\n"))?;
    fs::rename(new, path).context("setting a clock")
}
