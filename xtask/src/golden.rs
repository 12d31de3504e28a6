//! `cargo xtask golden`: fixtures are exactly the bytes that were recorded.
//!
//! Golden data is evidence: what a real ZooKeeper wrote or sent. An editor that trims blanks or a
//! checkout that turns line ends makes it worthless in silence. Each directory of fixtures
//! therefore carries a `SHA1SUMS` (readable by `sha1sum -c`) that must name every file in it and
//! nothing else, and a file kept in two rooms must be the same file.
//!
//! `golden` verifies, `golden list` shows what there is, `golden seal` rewrites the sums after a
//! deliberate change, and `golden copy FROM` refreshes the files from a directory of recordings
//! laid out alike, then seals.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use sha1::{Digest, Sha1};

use crate::repo::{self, Fault};

const SUMS: &str = "SHA1SUMS";

/// Directories by these names below a `tests` directory hold fixtures.
const HOLDERS: [&str; 2] = ["fixtures", "golden"];

/// Every fixture directory, with its files' paths below it and their sums.
type Sets = BTreeMap<String, BTreeMap<String, String>>;

/// Runs one of the four forms.
pub fn run(words: &[String]) -> Result<()> {
    let root = repo::root()?;
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match words[..] {
        [] => verify(&root),
        ["list"] => {
            for (dir, files) in sets(&root)? {
                println!("{dir}: {} files", files.len());
                files.keys().for_each(|file| println!("  {file}"));
            }
            Ok(())
        }
        ["seal"] => seal(&root),
        ["copy", from] => copy(&root, Path::new(from)),
        _ => bail!("golden takes nothing, `list`, `seal` or `copy FROM`"),
    }
}

/// The fixture directory that a path lies in, and the rest of it. What lies below `src` is code,
/// whatever it is called.
fn place(path: &str) -> Option<(&str, &str)> {
    let mut from = path.find("tests/")?;
    if path[from..].contains("/src/") {
        return None;
    }
    loop {
        let (name, end) = path[from..].split_once('/').map(|(n, _)| (n, from + n.len()))?;
        if HOLDERS.contains(&name) {
            return Some((&path[..end], &path[end + 1..]));
        }
        from = end + 1;
    }
}

fn sets(root: &Path) -> Result<Sets> {
    let mut sets = Sets::new();
    for path in repo::files(root)? {
        let Some((dir, file)) = place(&path) else { continue };
        let set = sets.entry(dir.to_owned()).or_default();
        if file != SUMS {
            let bytes = std::fs::read(root.join(&path)).with_context(|| path.clone())?;
            set.insert(file.to_owned(), sum(&bytes));
        }
    }
    Ok(sets)
}

fn sum(bytes: &[u8]) -> String {
    Sha1::digest(bytes).iter().fold(String::new(), |mut hex, byte| {
        let _ = write!(hex, "{byte:02x}"); // writing to a String cannot fail
        hex
    })
}

fn verify(root: &Path) -> Result<()> {
    let sets = sets(root)?;
    let mut faults = unequal(&sets);
    let mut count = 0;
    for (dir, files) in &sets {
        count += files.len();
        match std::fs::read_to_string(root.join(dir).join(SUMS)) {
            Ok(sealed) => faults.extend(differences(dir, &sealed, files)),
            Err(_) => {
                faults.push(Fault::of(dir, format!("has no {SUMS}: cargo xtask golden seal")))
            }
        }
    }
    repo::verdict(faults, &format!("golden: {count} files in {} directories as sealed", sets.len()))
}

/// What the files are against what was sealed.
fn differences(dir: &str, sealed: &str, files: &BTreeMap<String, String>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut left = files.clone();
    for (index, line) in sealed.lines().enumerate() {
        let Some((sum, file)) = line.split_once("  ") else {
            let path = format!("{dir}/{SUMS}");
            faults.push(Fault::at(&path, index + 1, "not a line of sums: <sha1>  <file>"));
            continue;
        };
        match left.remove(file) {
            Some(now) if now == sum => {}
            Some(_) => faults.push(Fault::of(&format!("{dir}/{file}"), "is not what was recorded")),
            None => faults.push(Fault::of(&format!("{dir}/{file}"), "was recorded and is gone")),
        }
    }
    for file in left.into_keys() {
        faults.push(Fault::of(&format!("{dir}/{file}"), "was never sealed"));
    }
    faults
}

/// Files of the same relative path, at least one directory deep, that differ between rooms.
fn unequal(sets: &Sets) -> Vec<Fault> {
    let mut faults = Vec::new();
    let mut first: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    for (dir, files) in sets {
        for (file, sum) in files.iter().filter(|(file, _)| file.contains('/')) {
            let (elsewhere, same) = first.entry(file).or_insert((dir, sum));
            if same != sum {
                let what = format!("differs from the one in {elsewhere}");
                faults.push(Fault::of(&format!("{dir}/{file}"), what));
            }
        }
    }
    faults
}

fn seal(root: &Path) -> Result<()> {
    for (dir, files) in sets(root)? {
        let lines: String = files.iter().map(|(file, sum)| format!("{sum}  {file}\n")).collect();
        std::fs::write(root.join(&dir).join(SUMS), lines)?;
        println!("{dir}: {} files sealed", files.len());
    }
    Ok(())
}

fn copy(root: &Path, from: &Path) -> Result<()> {
    ensure!(from.is_dir(), "{} is not a directory", from.display());
    let mut copied = 0;
    for (dir, files) in sets(root)? {
        for file in files.keys() {
            let source = from.join(file);
            if source.is_file() {
                std::fs::copy(&source, root.join(&dir).join(file))?;
                copied += 1;
            }
        }
    }
    ensure!(copied > 0, "{} holds no file that a fixture was made from", from.display());
    println!("{copied} files copied");
    seal(root)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixtures_are_found_below_tests_only() {
        let found = place("crates/storage/tests/fixtures/disk/3.9.5-plain/log.1");
        assert_eq!(found, Some(("crates/storage/tests/fixtures", "disk/3.9.5-plain/log.1")));
        let found = place("tests/conformance/golden/client/10-crud.jsonl");
        assert_eq!(found, Some(("tests/conformance/golden", "client/10-crud.jsonl")));
        assert_eq!(place("crates/storage/src/golden/log.rs"), None);
        assert_eq!(place("tests/conformance/src/golden/mod.rs"), None);
        assert_eq!(place("crates/storage/tests/golden.rs"), None);
    }

    #[test]
    fn a_changed_a_lost_and_a_new_file_are_faults() {
        let files: BTreeMap<String, String> = [("a", "one"), ("b", "two"), ("d", "four")]
            .map(|(file, bytes)| (file.to_owned(), sum(bytes.as_bytes())))
            .into();
        let good: String = files.iter().map(|(file, sum)| format!("{sum}  {file}\n")).collect();
        assert_eq!(differences("x", &good, &files), []);
        let sealed = format!("{}  a\n{}  b\n{}  c\n", sum(b"one"), sum(b"2"), sum(b"three"));
        let faults: Vec<String> =
            differences("x", &sealed, &files).iter().map(ToString::to_string).collect();
        assert_eq!(
            faults,
            [
                "x/b: is not what was recorded",
                "x/c: was recorded and is gone",
                "x/d: was never sealed"
            ]
        );
    }

    #[test]
    fn one_recording_in_two_rooms_is_one_file() {
        let set = |sum: &str| BTreeMap::from([("disk/log.1".to_owned(), sum.to_owned())]);
        let mut sets = Sets::from([("a".to_owned(), set("1")), ("b".to_owned(), set("1"))]);
        assert_eq!(unequal(&sets), []);
        sets.insert("c".to_owned(), set("2"));
        assert_eq!(unequal(&sets).len(), 1);
    }

    #[test]
    fn sums_are_those_of_sha1sum() {
        assert_eq!(sum(b"abc"), "a9993e364706816aba3e25717850c26c9cd0d89d");
    }
}
