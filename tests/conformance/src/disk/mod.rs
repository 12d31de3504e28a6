//! Directories change hands: ours read by Java, Java's read by us, and back.
//!
//! Apache's own classes and servers are the judges. A directory that our server wrote, whatever
//! ended it, must give Java the same znodes, sessions, last zxid and digests; a server of Java's on
//! it must serve what ours served; and the other way round. Every transaction carries a digest of
//! the whole tree, which Java compares as it replays: one field wrong anywhere is one mismatch.
//!
//! [`interop`](crate::interop) plays long random games with one directory. Here are the cases that
//! have to be made: each compression, a log without snapshots, one torn in the middle of a write,
//! a transaction that Java could not read if it were written as Java writes it.

mod checks;
pub(crate) mod client;
pub(crate) mod served;
mod workload;

use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::peers::{Peers, ServerUnderTest, StartOpts};

/// What is checked, and with what.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Apache's server and classes.
    pub peers: Peers,
    /// Ours; Java's again shows that a check asks for nothing that Java does not do.
    pub examined: ServerUnderTest,
    /// The start of every random sequence.
    pub seed: u64,
    /// The one check to run, by a part of its name; `None` runs all.
    pub only: Option<String>,
    /// Where servers keep their files; removed when all went well.
    pub dir: PathBuf,
}

/// Runs the checks, one after the other, and returns how many there were.
///
/// # Errors
/// The first check that fails, by name, with what it found. Its directories are kept.
pub fn run(plan: &Plan, progress: &mut dyn FnMut(&str)) -> Result<usize> {
    let all = checks::ALL.iter();
    let wanted = |name: &str| plan.only.as_deref().is_none_or(|only| name.contains(only));
    let mut count = 0;
    for (name, check) in all.filter(|(name, _)| wanted(name)) {
        let began = Instant::now();
        let dir = plan.dir.join(name.replace(' ', "-"));
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        let desk = Desk { plan, dir, port: crate::free_port()? };
        check(&desk).with_context(|| {
            format!("{name} (seed {}, files in {})", plan.seed, desk.dir.display())
        })?;
        progress(&format!("{name}: ok in {:.1?}", began.elapsed()));
        std::fs::remove_dir_all(&desk.dir)?;
        count += 1;
    }
    ensure!(count > 0, "no check is called {:?}", plan.only.as_deref().unwrap_or_default());
    Ok(count)
}

/// What one check works with: a directory and a port of its own.
struct Desk<'a> {
    plan: &'a Plan,
    dir: PathBuf,
    port: u16,
}

impl Desk<'_> {
    /// The options that all servers of these checks share: sessions outlive them, nothing is
    /// reaped, and every start on this desk is on the same data.
    fn opts(&self) -> StartOpts {
        StartOpts::new(&self.dir, self.port)
            .for_programs()
            .config("tickTime", "2000")
            .config("maxSessionTimeout", "1000000")
            .config("enforceQuota", "false")
            .config("preAllocSize", "64")
            .property("znode.container.checkIntervalMs", "100000000")
    }

    fn java(&self) -> ServerUnderTest {
        ServerUnderTest::Java(self.plan.peers.clone())
    }

    fn data_dir(&self) -> PathBuf {
        self.opts().data_dir()
    }

    /// The names in `version-2`, in the order of their zxids.
    fn files(&self, prefix: &str) -> Result<Vec<String>> {
        files(&self.data_dir().join("version-2"), prefix)
    }
}

/// The names of files with a prefix and a zxid behind it, by zxid.
fn files(dir: &Path, prefix: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).with_context(|| format!("listing {}", dir.display()))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        let digits = name.strip_prefix(prefix).and_then(|rest| rest.split('.').next());
        if let Some(zxid) = digits.and_then(|digits| u64::from_str_radix(digits, 16).ok()) {
            found.push((zxid, name));
        }
    }
    found.sort();
    Ok(found.into_iter().map(|(_, name)| name).collect())
}
