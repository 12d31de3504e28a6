//! The cache of fetched peers.
//!
//! One directory, `.peers` at the root of the repository unless `OXKEEPER_PEERS` names another,
//! holds the Java class path (`java/classes` of ours, `java/lib` of theirs) and a Python
//! environment with kazoo (`kazoo`). Each part carries a *stamp*: the very text of the files it was
//! built from. A part whose stamp equals the sources on disk is complete and current; any other is
//! built anew, so neither an interrupted download nor an edited program can be mistaken for it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::releases::{self, Apache, Release};
use super::system;

/// The environment variable that moves the cache.
const CACHE_VARIABLE: &str = "OXKEEPER_PEERS";

/// The fetched peers: where their programs are. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Peers {
    cache: PathBuf,
    sources: PathBuf,
}

impl Peers {
    /// Fetches and builds what the cache lacks, and nothing else; the first call on a machine takes
    /// a minute or so, every further one a few milliseconds. `progress` is told each slow step.
    ///
    /// Several processes may call this at once: they take turns by a lock file in the cache.
    ///
    /// # Errors
    /// When a tool is missing and cannot be installed, or a download or build fails.
    pub fn ensure(progress: &mut dyn FnMut(&str)) -> Result<Peers> {
        let peers = Peers::at_home()?;
        peers.complete(progress).context("fetching the conformance peers")?;
        Ok(peers)
    }

    /// Where the cache is, whatever is in it.
    fn at_home() -> Result<Peers> {
        let package = Path::new(env!("CARGO_MANIFEST_DIR"));
        let cache = match std::env::var_os(CACHE_VARIABLE) {
            Some(path) => std::path::absolute(PathBuf::from(path))?,
            None => package.ancestors().nth(2).unwrap_or(package).join(".peers"),
        };
        Ok(Peers { cache, sources: package.join("peers") })
    }

    fn complete(&self, progress: &mut dyn FnMut(&str)) -> Result<()> {
        fs::create_dir_all(&self.cache)
            .with_context(|| format!("cannot create {}", self.cache.display()))?;
        let turn = File::create(self.cache.join("lock"))?;
        turn.lock().context("cannot lock the cache")?;

        let java = stamp_of(&self.sources.join("java"), &["xml", "java"])?;
        let kazoo = stamp_of(&self.sources.join("kazoo"), &["txt"])?;
        let stale = (!self.is_current("java", &java), !self.is_current("kazoo", &kazoo));
        if stale.0 || stale.1 {
            system::ensure_tools(progress)?;
        }
        if stale.0 {
            progress("fetching Apache ZooKeeper and Curator with Maven, compiling our programs");
            self.rebuild("java", &java, |out| self.build_java(out))?;
        }
        if stale.1 {
            progress("fetching kazoo with pip");
            self.rebuild("kazoo", &kazoo, |out| self.build_kazoo(out))?;
        }
        Ok(())
    }

    /// kazoo and nothing else, for runs that need no Java. Nothing is installed on the machine.
    ///
    /// # Errors
    /// When there is no Python that makes environments, or kazoo cannot be fetched.
    pub fn kazoo_alone(progress: &mut dyn FnMut(&str)) -> Result<Peers> {
        let peers = Peers::at_home()?;
        fs::create_dir_all(&peers.cache)?;
        let turn = File::create(peers.cache.join("lock"))?;
        turn.lock().context("cannot lock the cache")?;
        let kazoo = stamp_of(&peers.sources.join("kazoo"), &["txt"])?;
        if !peers.is_current("kazoo", &kazoo) {
            progress("fetching kazoo with pip");
            peers.rebuild("kazoo", &kazoo, |out| peers.build_kazoo(out))?;
        }
        Ok(peers)
    }

    /// One release of Apache's server, fetched now if the cache lacks it.
    ///
    /// # Errors
    /// As [`ensure`](Self::ensure).
    pub fn apache(&self, release: Release, progress: &mut dyn FnMut(&str)) -> Result<Apache> {
        if release == Release::V3_9 {
            return Ok(Apache::new(release, self.cache.join("java/lib")));
        }
        let part = format!("zookeeper-{release}");
        let turn = File::create(self.cache.join("lock"))?;
        turn.lock().context("cannot lock the cache")?;
        let stamp = stamp_of(&self.sources.join("releases"), &["xml"])?;
        if !self.is_current(&part, &stamp) {
            progress(&format!("fetching Apache ZooKeeper {release} with Maven"));
            self.rebuild(&part, &stamp, |out| releases::fetch(self, release, out))
                .with_context(|| format!("fetching ZooKeeper {release}"))?;
        }
        Ok(Apache::new(release, self.cache.join(part).join("lib")))
    }

    fn is_current(&self, part: &str, stamp: &str) -> bool {
        fs::read_to_string(self.stamp_path(part)).is_ok_and(|found| found == stamp)
    }

    /// Builds one part; its stamp is taken away before and comes back only after success.
    fn rebuild(
        &self,
        part: &str,
        stamp: &str,
        build: impl FnOnce(&Path) -> Result<()>,
    ) -> Result<()> {
        let out = self.cache.join(part);
        remove(&self.stamp_path(part), fs::remove_file)?;
        remove(&out, fs::remove_dir_all)?;
        fs::create_dir_all(&out)?;
        build(&out)?;
        fs::write(self.stamp_path(part), stamp)?;
        Ok(())
    }

    fn build_java(&self, out: &Path) -> Result<()> {
        let mut out_property = std::ffi::OsString::from("-Dpeers.out=");
        out_property.push(out);
        system::run(
            Command::new("mvn")
                .args(["-q", "-B", "compile", "dependency:copy-dependencies"])
                .arg(out_property)
                .current_dir(self.sources.join("java")),
        )
    }

    fn build_kazoo(&self, out: &Path) -> Result<()> {
        system::run(Command::new("python3").args(["-m", "venv"]).arg(out))?;
        system::run(
            Command::new(out.join("bin/python"))
                .args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"])
                .args(["--require-hashes", "-r"])
                .arg(self.sources.join("kazoo/requirements.txt")),
        )
    }

    fn stamp_path(&self, part: &str) -> PathBuf {
        self.cache.join(format!("{part}.stamp"))
    }

    /// A command that runs `main_class` on the peers' class path; JVM arguments, if any, first.
    pub fn java(&self, jvm_args: &[String], main_class: &str) -> Command {
        let java = self.cache.join("java");
        let mut class_path = java.join("classes").into_os_string();
        class_path.push(":");
        class_path.push(java.join("lib").join("*"));
        let mut command = Command::new("java");
        command.args(jvm_args).arg("-cp").arg(class_path).arg(main_class);
        command
    }

    /// A command that runs a Python program of `peers/kazoo` where kazoo can be imported.
    pub fn python(&self, program: &str) -> Command {
        let mut command = Command::new(self.cache.join("kazoo/bin/python"));
        command.arg(self.sources.join("kazoo").join(program));
        command.env("PYTHONDONTWRITEBYTECODE", "1");
        command
    }

    /// The checked-in sources of the foreign programs and their recorded answers.
    pub fn sources(&self) -> &Path {
        &self.sources
    }
}

/// The text of all files below `dir` with one of the extensions, each under its name, in order.
fn stamp_of(dir: &Path, extensions: &[&str]) -> Result<String> {
    let mut files = Vec::new();
    collect(dir, extensions, &mut files)?;
    files.sort();
    let mut stamp = String::new();
    for file in files {
        let text =
            fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let name = file.strip_prefix(dir)?;
        stamp.push_str(&format!("=== {}\n{text}", name.display()));
    }
    Ok(stamp)
}

fn collect(dir: &Path, extensions: &[&str], files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(dir).with_context(|| format!("cannot list {}", dir.display()))?;
    for entry in entries {
        let entry = entry?;
        let path = entry.path();
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                collect(&path, extensions, files)?;
            }
        } else if path.extension().is_some_and(|e| extensions.iter().any(|x| e == *x)) {
            files.push(path);
        }
    }
    Ok(())
}

/// Removes what may not be there.
fn remove(path: &Path, how: impl FnOnce(PathBuf) -> std::io::Result<()>) -> Result<()> {
    match how(path.to_path_buf()) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("oxkeeper-{name}-{}", std::process::id()));
        remove(&dir, fs::remove_dir_all).unwrap();
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    #[test]
    fn the_stamp_follows_every_source_and_nothing_else() {
        let dir = scratch("stamp");
        fs::create_dir_all(dir.join("src/deep")).unwrap();
        fs::create_dir_all(dir.join("target")).unwrap();
        fs::write(dir.join("pom.xml"), "a").unwrap();
        fs::write(dir.join("src/deep/A.java"), "b").unwrap();
        let first = stamp_of(&dir, &["xml", "java"]).unwrap();

        fs::write(dir.join("notes.md"), "c").unwrap();
        fs::write(dir.join("target/B.java"), "d").unwrap();
        assert_eq!(stamp_of(&dir, &["xml", "java"]).unwrap(), first);

        fs::write(dir.join("src/deep/A.java"), "bb").unwrap();
        assert_ne!(stamp_of(&dir, &["xml", "java"]).unwrap(), first);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_part_whose_build_failed_is_not_current() {
        let dir = scratch("parts");
        let peers = Peers { cache: dir.clone(), sources: dir.clone() };
        peers.rebuild("java", "one", |_| Ok(())).unwrap();
        assert!(peers.is_current("java", "one"));
        assert!(!peers.is_current("java", "two"), "an edited source makes it stale");

        peers.rebuild("java", "two", |_| anyhow::bail!("no network")).unwrap_err();
        assert!(!peers.is_current("java", "one"));
        assert!(!peers.is_current("java", "two"));
        fs::remove_dir_all(&dir).unwrap();
    }
}
