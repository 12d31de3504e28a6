//! The form of `docs/deviations.md`, which people read and the differential test obeys.
//!
//! A deviation is a heading `## D07 its title` and five list items, `- key: value`: what is sent
//! (`input`), what `java` does, what `oxkeeper` does, `why`, and how the `differential` run treats
//! it. Ids only grow and are never used again, because tests name them.

use std::collections::BTreeSet;

use crate::repo::Fault;

/// Where the file lies.
pub const PATH: &str = "docs/deviations.md";

const KEYS: [&str; 5] = ["input", "java", "oxkeeper", "why", "differential"];

/// First words of the `differential` item: the input is never generated, it is generated and
/// exactly this difference is accepted, or no client's bytes can show it.
const TREATMENTS: [&str; 3] = ["avoid", "expect", "outside"];

/// The ids that the file defines, and what is wrong with its form.
pub fn check(text: &str) -> (BTreeSet<String>, Vec<Fault>) {
    let mut ids = BTreeSet::new();
    let mut faults = Vec::new();
    let mut open: Option<(usize, String, Vec<String>)> = None;
    for (index, line) in text.lines().enumerate().chain([(usize::MAX - 1, "## ")]) {
        if let Some(heading) = line.strip_prefix("## ") {
            if let Some((at, id, keys)) = open.take() {
                let missing: Vec<&str> =
                    KEYS.into_iter().filter(|key| !keys.iter().any(|k| k == key)).collect();
                if !missing.is_empty() {
                    let what = format!("{id} does not say: {}", missing.join(", "));
                    faults.push(Fault::at(PATH, at, what));
                }
            }
            let id = heading.split(' ').next().unwrap_or_default();
            if !is_id(id) {
                continue; // a heading of the prose around the list
            }
            if ids.last().is_some_and(|last: &String| last.as_str() >= id) {
                faults.push(Fault::at(PATH, index + 1, format!("{id} is out of order")));
            }
            ids.insert(id.to_owned());
            open = Some((index + 1, id.to_owned(), Vec::new()));
        } else if let (Some((_, _, keys)), Some((key, value))) =
            (&mut open, line.strip_prefix("- ").and_then(|item| item.split_once(": ")))
        {
            let first = value.split([' ', ',', ';']).next().unwrap_or_default();
            if key == "differential" && !TREATMENTS.contains(&first) {
                let what = format!("differential: starts with one of {}", TREATMENTS.join(", "));
                faults.push(Fault::at(PATH, index + 1, what));
            }
            keys.push(key.to_owned());
        }
    }
    (ids, faults)
}

fn is_id(word: &str) -> bool {
    word.len() == 3 && word.starts_with('D') && word[1..].bytes().all(|b| b.is_ascii_digit())
}

/// Every id that a source file or a document names, with its place.
pub fn named_in(path: &str, text: &str) -> Vec<(String, Fault)> {
    let is_own = path.starts_with("xtask/");
    if is_own || !(path.ends_with(".rs") || path.ends_with(".md")) {
        return Vec::new();
    }
    let mut named = Vec::new();
    for (index, line) in text.lines().enumerate() {
        for word in line.split(|c: char| !c.is_alphanumeric() && c != '_') {
            if is_id(word) {
                let fault = Fault::at(path, index + 1, format!("{word} is not in {PATH}"));
                named.push((word.to_owned(), fault));
            }
        }
    }
    named
}

/// The faults of those ids that nobody defined.
pub fn unknown(known: &BTreeSet<String>, named: Vec<(String, Fault)>) -> Vec<Fault> {
    named.into_iter().filter(|(id, _)| !known.contains(id)).map(|(_, fault)| fault).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "# Deviations\n\n## How to read\n- note: x\n\n## D01 a\n- input: x\n\
        - java: x\n- oxkeeper: x\n- why: x\n- differential: avoid; it dies\n\n## D02 b\n\
        - input: x\n- java: x\n- oxkeeper: x\n- why: x\n- differential: expect\n";

    #[test]
    fn the_form_is_checked() {
        let (ids, faults) = check(GOOD);
        assert_eq!(faults, []);
        assert_eq!(ids.into_iter().collect::<Vec<_>>(), ["D01", "D02"]);
        for (from, to, part) in [
            ("D02 b", "D01 b", "out of order"),
            ("- why: x\n- differential: expect", "- differential: expect", "does not say: why"),
            ("differential: expect", "differential: ignore", "starts with one of"),
        ] {
            let (_, faults) = check(&GOOD.replace(from, to));
            assert_eq!(faults.len(), 1, "{to}");
            assert!(faults[0].what.contains(part), "{}", faults[0]);
        }
    }

    #[test]
    fn an_id_that_is_named_must_exist() {
        let (known, _) = check(GOOD);
        let named = named_in("tests/conformance/src/a.rs", "// D02, not 0xD03\nskip(\"D04\");");
        let unknown = unknown(&known, named);
        assert_eq!(unknown.len(), 1);
        assert_eq!(
            (unknown[0].line, unknown[0].what.as_str()),
            (2, "D04 is not in docs/deviations.md")
        );
    }
}
