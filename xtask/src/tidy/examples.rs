//! Every public item of the client and of the recipes carries an example that shows something.
//!
//! A reader who looks up one method should not have to find the page on which it is used. An
//! example here is a block of code in the item's own doc comment that is compiled, run and claims
//! something: `cargo test --doc` runs it against a server, and one that asserts nothing could show
//! anything. Blocks that are only text, or that are not run, do not count.
//!
//! Items are found as text: `pub` at the beginning of a line and what it makes public, and the
//! functions of a public trait. Fields and variants speak with their type, re-exports where they
//! are defined.

use std::collections::BTreeSet;

use super::source::{Source, closing};
use crate::repo::Fault;

/// Rooms that are held to it.
const HELD: [&str; 2] = ["crates/client/src/", "crates/recipes/src/"];

/// Items that cannot have an example, and why: path, item, reason.
const WITHOUT: [(&str, &str, &str); 0] = [];

/// An item that others can name.
struct Item {
    line: usize,
    name: String,
    shown: bool,
}

/// Faults of the rooms that are held to it, and how many items they have.
pub fn check(sources: &[Source<'_>]) -> (Vec<Fault>, String) {
    check_rooms(sources, &HELD)
}

fn check_rooms(sources: &[Source<'_>], held: &[&str]) -> (Vec<Fault>, String) {
    let mut faults = Vec::new();
    let mut counted = 0;
    let mut excused = BTreeSet::new();
    for source in sources {
        if !held.iter().any(|room| source.path.starts_with(room)) {
            continue;
        }
        for item in items(source, sources) {
            counted += 1;
            let key = |without: &&(&str, &str, &str)| {
                without.0 == source.path && without.1 == item.name && !item.shown
            };
            if let Some((path, name, _)) = WITHOUT.iter().find(key) {
                excused.insert((*path, *name));
            } else if !item.shown {
                let what = format!("{} has no example that is run and asserts", item.name);
                faults.push(Fault::at(source.path, item.line, what));
            }
        }
    }
    for (path, name, _) in WITHOUT {
        if !excused.contains(&(path, name)) {
            faults.push(Fault::of(path, format!("{name} needs no leave to have no example")));
        }
    }
    (faults, format!("{counted} items with an example"))
}

/// The public items of a file, the file itself among them if it is a public module.
fn items(source: &Source<'_>, sources: &[Source<'_>]) -> Vec<Item> {
    let mut items = Vec::new();
    if source.path.ends_with("/lib.rs") {
        items.push(Item { line: 1, name: "the crate".to_owned(), shown: shows(&essay(source)) });
    }
    let (mut doc, mut offset, mut attribute_until) = (String::new(), 0, 0);
    let mut in_trait = 0..0;
    for (index, line) in source.text.split_inclusive('\n').enumerate() {
        let (start, text) = (offset, line.trim());
        offset += line.len();
        if source.is_test(start) || start < attribute_until {
            continue;
        }
        let at = start + line.len() - line.trim_start().len();
        if let Some(words) = text.strip_prefix("///") {
            doc.push_str(words);
            doc.push('\n');
            continue;
        }
        if text.starts_with("#[") {
            attribute_until = closing(&source.code, at + 1);
            continue;
        }
        if let Some((kind, name)) = public(text, in_trait.contains(&at)) {
            let shown = match kind {
                "mod" if text.ends_with(';') => {
                    shows(&doc)
                        || module(source, &name, sources).is_some_and(|of| shows(&essay(of)))
                }
                _ => shows(&doc),
            };
            if kind == "trait" {
                let open = source.code[at..].find('{').map_or(at, |open| at + open);
                in_trait = open..closing(&source.code, open);
            }
            items.push(Item { line: index + 1, name: format!("{kind} {name}"), shown });
        }
        doc.clear();
    }
    items
}

/// What a line makes public: the kind of item and its name.
fn public(line: &str, in_trait: bool) -> Option<(&'static str, String)> {
    const KINDS: [&str; 8] = ["fn", "struct", "enum", "trait", "type", "mod", "const", "static"];
    let (mut rest, public) = match line.strip_prefix("pub ") {
        Some(rest) => (rest, true),
        None => (line, false),
    };
    let mut constant = false;
    loop {
        let (word, behind) = rest.split_once(' ')?;
        match word {
            "async" => {}
            "const" => constant = true,
            _ => break,
        }
        rest = behind;
    }
    let (word, behind) = rest.split_once(' ')?;
    let kind = KINDS.into_iter().find(|kind| *kind == word);
    let (kind, name) = match kind {
        Some(kind) => (kind, behind),
        None if constant => ("const", rest),
        None => return None,
    };
    let name = name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
    (public || (in_trait && kind == "fn")).then_some((kind, name))
}

/// The file of a public module that a file declares.
fn module<'a, 'b>(
    source: &Source<'_>,
    name: &str,
    sources: &'b [Source<'a>],
) -> Option<&'b Source<'a>> {
    let (dir, file) = source.path.rsplit_once('/')?;
    let dir = match file {
        "lib.rs" | "mod.rs" => dir.to_owned(),
        file => format!("{dir}/{}", file.trim_end_matches(".rs")),
    };
    let paths = [format!("{dir}/{name}.rs"), format!("{dir}/{name}/mod.rs")];
    sources.iter().find(|other| paths.iter().any(|path| path == other.path))
}

/// The words that a file opens with.
fn essay(source: &Source<'_>) -> String {
    let words = source.text.lines().map_while(|line| line.strip_prefix("//!"));
    words.fold(String::new(), |all, line| all + line + "\n")
}

/// Whether a doc comment holds a block of Rust that is run and claims something.
fn shows(doc: &str) -> bool {
    let mut runs = None;
    for line in doc.lines().map(str::trim) {
        match (line.strip_prefix("```"), runs) {
            (Some(info), None) => {
                let all = |word: &str| matches!(word, "" | "rust" | "should_panic");
                runs = Some(info.split(',').map(str::trim).all(all));
            }
            (Some(_), Some(_)) => runs = None,
            (None, Some(true)) if line.contains("assert") || line.contains("panic!(") => {
                return true;
            }
            (None, _) => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHOWN: &str = "/// It is.\n///\n/// ```\n/// assert_eq!(1, 1);\n/// ```\n";

    fn missing(files: &[(&str, &str)]) -> Vec<String> {
        let sources: Vec<_> = files.iter().map(|(path, text)| Source::new(path, text)).collect();
        let faults = check_rooms(&sources, &["crates/client/src/"]).0;
        faults
            .into_iter()
            .map(|fault| fault.what.replace(" has no example that is run and asserts", ""))
            .collect()
    }

    #[test]
    fn each_kind_of_public_item_needs_one_and_nothing_else_does() {
        let text = "pub struct A {\n    pub field: u8,\n}\npub(crate) struct B;\nfn c() {}\n\
                    impl A {\n    pub async fn d(&self) {}\n    pub const fn e() {}\n\
                    \x20   fn f() {}\n}\n\
                    pub const G: u8 = 1;\npub type H = u8;\npub enum I {}\npub use x::J;\n\
                    pub trait K {\n    fn l(&self);\n    const M: u8;\n}\nfn n() {}\n\
                    #[cfg(test)]\nmod tests {\n    pub fn o() {}\n}\n";
        let names = ["struct A", "fn d", "fn e", "const G", "type H", "enum I", "trait K", "fn l"];
        assert_eq!(missing(&[("crates/client/src/a.rs", text)]), names);
        assert!(missing(&[("crates/tree/src/a.rs", text)]).is_empty());
    }

    #[test]
    fn an_example_counts_if_it_is_the_items_own_is_run_and_claims_something() {
        let of =
            |doc: &str| missing(&[("crates/client/src/a.rs", &format!("{doc}pub fn a() {{}}\n"))]);
        assert!(of(SHOWN).is_empty());
        assert!(of(&format!("{SHOWN}#[must_use = \"b\"]\n#[derive(\n    C,\n)]\n")).is_empty());
        assert_eq!(of(&format!("{SHOWN}\n")), ["fn a"], "another's");
        assert_eq!(of(&SHOWN.replace("```\n/// a", "```no_run\n/// a")), ["fn a"]);
        assert_eq!(of(&SHOWN.replace("```\n/// a", "```text\n/// a")), ["fn a"]);
        assert_eq!(of(&SHOWN.replace("assert_eq!(1, 1)", "b()")), ["fn a"]);
        assert_eq!(of("/// Not assert.\n"), ["fn a"]);
    }

    #[test]
    fn a_public_module_is_shown_by_its_own_file() {
        let (lib, shown) = ("crates/client/src/lib.rs", SHOWN.replace("///", "//!"));
        let declared = format!("{shown}pub mod a;\n");
        assert!(missing(&[(lib, &declared), ("crates/client/src/a/mod.rs", &shown)]).is_empty());
        assert_eq!(missing(&[(lib, &declared), ("crates/client/src/a.rs", "")]), ["mod a"]);
        assert_eq!(missing(&[(lib, "pub mod a;\n")]), ["the crate", "mod a"]);
    }
}
