//! The repository as the chores see it: where it is, what belongs to it, and how to fail.
//!
//! "What belongs to it" is what git would commit: tracked files and new ones that are not
//! ignored. A build directory or a downloaded peer can therefore never fail a check.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Path from the root of the repository.
    pub path: String,
    /// Counted from 1; 0 when the fault is the file's as a whole.
    pub line: usize,
    /// What is wrong and what would be right.
    pub what: String,
}

impl Fault {
    /// A fault at a line counted from 1.
    pub fn at(path: &str, line: usize, what: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, what: what.into() }
    }

    /// A fault of a whole file.
    pub fn of(path: &str, what: impl Into<String>) -> Self {
        Self::at(path, 0, what)
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.path, self.what),
            line => write!(f, "{}:{line}: {}", self.path, self.what),
        }
    }
}

/// Prints the faults in order, and fails if there is one; otherwise prints `well`.
pub fn verdict(mut faults: Vec<Fault>, well: &str) -> Result<()> {
    faults.sort();
    faults.dedup();
    for fault in &faults {
        eprintln!("{fault}");
    }
    ensure!(faults.is_empty(), "{} fault(s)", faults.len());
    println!("{well}");
    Ok(())
}

/// The top directory, found from this crate's place in it.
pub fn root() -> Result<PathBuf> {
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    Ok(manifest.parent().context("xtask lies at the top of the repository")?.to_owned())
}

/// Everything that git would commit, as sorted paths from the root.
pub fn files(root: &Path) -> Result<Vec<String>> {
    let listing = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"])
        .current_dir(root)
        .output()
        .context("git is needed to list the repository's files")?;
    ensure!(listing.status.success(), "git: {}", String::from_utf8_lossy(&listing.stderr).trim());
    let listing = String::from_utf8(listing.stdout).context("a file name is not UTF-8")?;
    let mut files: Vec<String> = listing
        .split('\0')
        .filter(|path| !path.is_empty() && root.join(path).is_file())
        .map(str::to_owned)
        .collect();
    files.sort();
    files.dedup();
    if files.is_empty() {
        bail!("git lists no files under {}", root.display());
    }
    Ok(files)
}

/// `cargo metadata` for a manifest; the whole graph when `resolve` is set.
pub fn cargo_metadata(manifest: &Path, resolve: bool) -> Result<serde_json::Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--format-version", "1", "--manifest-path"]).arg(manifest);
    if !resolve {
        command.arg("--no-deps");
    }
    let output = command.output().context("running cargo metadata")?;
    ensure!(
        output.status.success(),
        "cargo metadata: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(serde_json::from_slice(&output.stdout)?)
}
