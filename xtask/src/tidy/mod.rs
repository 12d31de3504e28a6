//! `cargo xtask tidy`: the habits of STYLE.md that a machine can check.
//!
//! Each rule is a function from one file's text to its faults, with no file system in it, and its
//! tests feed it an example that is wrong: a rule that cannot fail is no rule. The exceptions to
//! that shape are reachability, which needs the crate graph, examples, which need the files of
//! public modules, what is said to be tested, which needs them all, and the listing itself.

mod examples;
mod holes;
mod limits;
mod reach;
mod rooms;
mod shown;
mod source;
mod traces;

use anyhow::{Context, Result, ensure};

use crate::repo::{self, Fault};
use crate::{deviations, tidy::source::Source};

/// Checks the whole repository.
pub fn run(words: &[String]) -> Result<()> {
    ensure!(words.is_empty(), "tidy takes no words");
    let root = repo::root()?;
    let files = repo::files(&root)?;
    let mut faults = Vec::new();
    let mut rust = Vec::new();
    let mut deviation_ids = None;
    let mut named_ids = Vec::new();
    let mut said_tested = String::new();
    for path in &files {
        let bytes = std::fs::read(root.join(path)).with_context(|| path.clone())?;
        let Ok(text) = String::from_utf8(bytes) else { continue };
        faults.extend(check_text(path, &text));
        if path == deviations::PATH {
            let (ids, wrong) = deviations::check(&text);
            deviation_ids = Some(ids);
            faults.extend(wrong);
        } else {
            named_ids.extend(deviations::named_in(path, &text));
        }
        if path.ends_with(".rs") {
            faults.extend(check_rust(&Source::new(path, &text)));
            rust.push((path.clone(), text));
        } else if path == shown::PATH {
            said_tested = text;
        }
    }
    let known = deviation_ids.with_context(|| format!("{} is missing", deviations::PATH))?;
    faults.extend(deviations::unknown(&known, named_ids));
    let sources: Vec<_> = rust.iter().map(|(path, text)| Source::new(path, text)).collect();
    let (without, examples) = examples::check(&sources);
    faults.extend(without);
    let (gone, shown) = shown::check(&said_tested, &files, &sources);
    faults.extend(gone);
    let rust: Vec<String> = rust.into_iter().map(|(path, _)| path).collect();
    faults.extend(reach::check(&root, &rust)?);
    let counts =
        format!("tidy: {} files, {} of Rust, {examples}, {shown}", files.len(), rust.len());
    repo::verdict(faults, &counts)
}

/// Rules for every text file.
fn check_text(path: &str, text: &str) -> Vec<Fault> {
    let mut faults = traces::check(path, text);
    faults.extend(limits::columns(path, text));
    faults
}

/// Rules for Rust files.
fn check_rust(source: &Source<'_>) -> Vec<Fault> {
    let mut faults = Vec::from_iter(limits::file_length(source));
    faults.extend(limits::function_length(source));
    faults.extend(limits::essay(source));
    faults.extend(holes::names(source));
    faults.extend(holes::holes(source));
    faults.extend(holes::sleeps(source));
    faults.extend(rooms::check(source));
    faults
}

/// The crate names (as code writes them) that any source below a crate's directory speaks of.
pub fn named_crates(dir: &std::path::Path) -> Result<std::collections::BTreeSet<String>> {
    let mut named = std::collections::BTreeSet::new();
    let mut next = vec![dir.to_owned()];
    while let Some(dir) = next.pop() {
        for entry in std::fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                next.push(path);
            } else if path.extension().is_some_and(|end| end == "rs") {
                let code = source::mask(&std::fs::read_to_string(&path)?);
                let words = code.split(|c: char| !c.is_alphanumeric() && c != '_');
                named.extend(words.filter(|word| !word.is_empty()).map(str::to_owned));
            }
        }
    }
    Ok(named)
}
