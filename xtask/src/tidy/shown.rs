//! What the tables of `docs/testing.md` say is tested: the tests, scripts and files that they name
//! exist.
//!
//! A table that says which test holds a promise is believed by whoever changes the code next. A
//! test that was renamed or removed leaves a row that promises more than is there.
//!
//! A word in backticks within a row is
//! - a test, if it holds `::` or is as long as only tests' names are here: `file::test`, with as
//!   many directories and the crate in front as one likes; `file::te…` for what begins so; without
//!   a file for one of any file;
//! - a mistake of the storms, if it is `mistake 3911`: one that `crates/sim/tests/agreement.rs`
//!   looks for;
//! - a file or directory, if it begins with `crates/`, `tests/` or `scripts/` or ends with `.txt`
//!   or `.rs`: of the repository, or the end of exactly one path in it.

use std::collections::BTreeSet;

use super::source::Source;
use crate::repo::Fault;

/// Where the tables are.
pub const PATH: &str = "docs/testing.md";

/// Where the mistakes are that storms look for.
const MISTAKES: &str = "crates/sim/tests/agreement.rs";

/// A single word of at least so many parts is a test's name, not a module's or an invariant's.
const TEST_PARTS_MIN: usize = 5;

/// A test: the crate, directories and file it is in, and its name.
struct Test {
    place: Vec<String>,
    name: String,
}

/// Faults of the tables, and how many names they have.
pub fn check(text: &str, files: &[String], sources: &[Source<'_>]) -> (Vec<Fault>, String) {
    let tests: Vec<Test> = sources.iter().flat_map(tests).collect();
    let mistakes = sources.iter().find(|source| source.path == MISTAKES);
    let mistakes = mistakes.map_or_else(BTreeSet::new, |source| mistakes_in(source.text));
    let mut faults = Vec::new();
    let mut named = 0;
    let rows = text.lines().enumerate().filter(|(_, line)| line.starts_with('|'));
    for (index, row) in rows {
        for word in row.split('`').skip(1).step_by(2) {
            let Some(found) = (match word.strip_prefix("mistake ") {
                Some(mistake) => Some(mistakes.contains(mistake)),
                None if is_test(word) => Some(tests.iter().any(|test| test.is(word))),
                None if is_path(word) => Some(is_there(word, files)),
                None => None,
            }) else {
                continue;
            };
            named += 1;
            if !found {
                faults.push(Fault::at(PATH, index + 1, format!("there is no {word}")));
            }
        }
    }
    (faults, format!("{named} names in the tables of {PATH}"))
}

fn is_test(word: &str) -> bool {
    let parts = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '…');
    word.chars().all(parts) && (word.contains("::") || word.split('_').count() >= TEST_PARTS_MIN)
}

fn is_path(word: &str) -> bool {
    let begins = ["crates/", "tests/", "scripts/"].iter().any(|start| word.starts_with(start));
    begins || ((word.ends_with(".txt") || word.ends_with(".rs")) && !word.contains(' '))
}

/// Whether there is such a path; of one with alternatives, what stands before these.
fn is_there(word: &str, files: &[String]) -> bool {
    if let Some((before, _)) = word.split_once(['*', '{']) {
        return files.iter().any(|path| path.starts_with(before));
    }
    let below = format!("{word}/");
    if files.iter().any(|path| path == word || path.starts_with(&below)) {
        return true;
    }
    let end = format!("/{word}");
    files.iter().filter(|path| path.ends_with(&end)).count() == 1
}

impl Test {
    /// Whether these words name it: its name, or how it begins, behind some of where it is.
    fn is(&self, word: &str) -> bool {
        let (places, name) = word.rsplit_once("::").unwrap_or(("", word));
        let named = match name.strip_suffix('…') {
            Some(begins) => self.name.starts_with(begins),
            None => self.name == name,
        };
        let mut said = places.split("::").filter(|place| !place.is_empty());
        let last = places.rsplit("::").next().filter(|place| !place.is_empty());
        let mut rest = self.place.iter();
        named
            && last.is_none_or(|last| self.place.last().is_some_and(|place| place == last))
            && said.all(|place| rest.any(|part| part == place))
    }
}

/// The tests of a file.
fn tests(source: &Source<'_>) -> Vec<Test> {
    let mut place: Vec<String> = Vec::new();
    for part in source.path.trim_end_matches(".rs").split('/') {
        // What every path has, and what stands for the directory it is in.
        if !["crates", "src", "tests", "lib", "mod", "main"].contains(&part) {
            place.push(part.replace('-', "_"));
        }
    }
    let mut tests = Vec::new();
    for (mark, _) in source.code.match_indices("test]") {
        let attribute = source.code[..mark].rsplit('\n').next().unwrap_or_default().trim();
        let Some(behind) = source.code[mark..].split_once("fn ").map(|(_, behind)| behind) else {
            continue;
        };
        let name: String =
            behind.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
        if attribute == "#[" || attribute.ends_with("::") {
            tests.push(Test { place: place.clone(), name });
        }
    }
    tests
}

/// The mistakes that the storms must find: the first word of each entry.
fn mistakes_in(text: &str) -> BTreeSet<String> {
    let entries = text.lines().filter_map(|line| line.trim().strip_prefix("(\""));
    entries.filter_map(|entry| entry.split_once('"')).map(|(name, _)| name.to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOURCES: [(&str, &str); 4] = [
        (
            "crates/zab/src/ledger.rs",
            "#[cfg(test)]\nmod tests {\n    #[test]\n    fn two() {}\n}\n",
        ),
        ("crates/node/tests/world/main.rs", "#[tokio::test]\nasync fn it_is_all_as_it_was() {}\n"),
        ("crates/node/src/core/mod.rs", "fn no_test() {}\n// #[test]\n// fn not_any_more() {}\n"),
        (MISTAKES, "const CAUGHT: [(&str, u64); 1] = [\n    (\"3911\", 200),\n];\n"),
    ];

    fn missing(row: &str) -> Vec<String> {
        let sources: Vec<_> = SOURCES.iter().map(|(path, text)| Source::new(path, text)).collect();
        let mut files: Vec<String> = SOURCES.iter().map(|(path, _)| (*path).to_owned()).collect();
        files.push("crates/zab/tests/scripts/sync/a.txt".to_owned());
        let text = format!("Here `crates/no` and `no::test`:\n\n| {row} |\n");
        let faults = check(&text, &files, &sources).0;
        faults.into_iter().map(|fault| fault.what.replace("there is no ", "")).collect()
    }

    #[test]
    fn a_test_is_there_by_its_name_and_place() {
        for row in [
            "`ledger::two`, `zab::ledger::two`, `world::it_is_all_as_it_was`",
            "`node::world::it_is…` and `it_is_all_as_it_was`",
            "`prefix_consistency`, `set x=1`, `/a_b/c_d`, `cargo test`",
        ] {
            assert!(missing(row).is_empty(), "{row}: {:?}", missing(row));
        }
        for word in [
            "ledger::three",
            "two::ledger",
            "node::ledger::two",
            "zab::two",
            "world::core::it_is_all_as_it_was",
            "core::no_test",
            "core::not_any_more",
            "it_is_all_as_it_is",
            "world::is_all…",
        ] {
            assert_eq!(missing(&format!("x | `{word}`")), [word]);
        }
    }

    #[test]
    fn so_is_a_path_or_the_end_of_one_and_a_mistake() {
        let row = "`crates/zab`, `crates/node/tests/world`, `scripts/sync/a.txt`, `ledger.rs`, \
                   `crates/{zab,node}`, `crates/zab/tests/scr*`, `mistake 3911`";
        assert!(missing(row).is_empty(), "{:?}", missing(row));
        for word in ["crates/no", "scripts/sync/b.txt", "no.rs", "crates/zab/n*", "mistake 3912"] {
            assert_eq!(missing(&format!("`{word}`")), [word]);
        }
    }
}
