//! Releases of Apache's server, for ensembles that have several of them.
//!
//! Clients and programs come with 3.9.5; of the other releases only the server is needed, and only
//! by whoever asks for it. Each goes into a folder of its own in the cache (`zookeeper-3.8.6`).

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::str::FromStr;

use anyhow::{Error, Result, bail};

use super::install::Peers;
use super::system;

/// A release line of Apache ZooKeeper, each pinned to one version.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[allow(missing_docs, reason = "the names are the lines")]
pub enum Release {
    V3_5,
    V3_6,
    V3_7,
    V3_8,
    V3_9,
}

impl Release {
    /// All, the oldest first.
    pub const ALL: [Release; 5] =
        [Release::V3_5, Release::V3_6, Release::V3_7, Release::V3_8, Release::V3_9];

    /// The version that stands for the line.
    pub fn version(self) -> &'static str {
        match self {
            Release::V3_5 => "3.5.10",
            Release::V3_6 => "3.6.4",
            Release::V3_7 => "3.7.2",
            Release::V3_8 => "3.8.6",
            Release::V3_9 => "3.9.5",
        }
    }
}

impl fmt::Display for Release {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.version())
    }
}

/// By version, or by line: `3.8.6`, `3.8`.
impl FromStr for Release {
    type Err = Error;

    fn from_str(text: &str) -> Result<Release> {
        let found = Release::ALL.into_iter().find(|release| {
            let version = release.version();
            version == text || version.rsplit_once('.').is_some_and(|(line, _)| line == text)
        });
        match found {
            Some(release) => Ok(release),
            None => bail!("no release of ZooKeeper here is called {text}"),
        }
    }
}

/// A release, fetched. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Apache {
    release: Release,
    lib: PathBuf,
}

impl Apache {
    pub(super) fn new(release: Release, lib: PathBuf) -> Apache {
        Apache { release, lib }
    }

    /// Which release.
    pub fn release(&self) -> Release {
        self.release
    }

    /// A command that runs `main_class` on its class path.
    pub(super) fn java(&self, jvm_args: &[String], main_class: &str) -> Command {
        let mut class_path = self.lib.clone().into_os_string();
        class_path.push("/*");
        let mut command = Command::new("java");
        command.args(jvm_args).arg("-cp").arg(class_path).arg(main_class);
        command
    }
}

/// Lets Maven copy a release and what it needs into `out/lib`.
pub(super) fn fetch(peers: &Peers, release: Release, out: &Path) -> Result<()> {
    let mut out_property = std::ffi::OsString::from("-Dpeers.out=");
    out_property.push(out);
    system::run(
        Command::new("mvn")
            .args(["-q", "-B", "dependency:copy-dependencies"])
            .arg(format!("-Dzookeeper.version={release}"))
            .arg(out_property)
            .current_dir(peers.sources().join("releases")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_is_named_by_its_line_or_in_full() {
        assert_eq!("3.8".parse::<Release>().unwrap(), Release::V3_8);
        assert_eq!("3.5.10".parse::<Release>().unwrap(), Release::V3_5);
        assert!("3".parse::<Release>().is_err());
        assert!("3.8.5".parse::<Release>().is_err(), "pinned to another");
    }
}
