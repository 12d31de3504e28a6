//! How long things may be, and that a module says what it is for.
//!
//! A file past its limit usually has a second room inside it, and a function past its limit a
//! second function. Comments and blank lines do not count against a function: explaining must
//! never be the thing that breaks the limit.

use super::source::{Source, item_end, words};
use crate::repo::Fault;

const FILE_LINES: usize = 800;
const FUNCTION_LINES: usize = 70;
const COLUMNS: usize = 100;
const ESSAY_WORDS: usize = 12;

/// A file without its `#[cfg(test)]` items and the examples in its comments has at most 800 lines.
pub fn file_length(source: &Source<'_>) -> Option<Fault> {
    let lines = source.text.lines().count();
    let tests = source.test_lines.iter().filter(|&&test| test).count();
    let own = lines.saturating_sub(tests + example_lines(source.text));
    (own > FILE_LINES).then(|| {
        let what = format!("{own} lines without its tests; at most {FILE_LINES}: split the room");
        Fault::of(source.path, what)
    })
}

/// Lines of the blocks of code in comments on items.
fn example_lines(text: &str) -> usize {
    let (mut count, mut inside) = (0, false);
    for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("///")) {
        let fence = line.trim_start().starts_with("```");
        count += usize::from(fence || inside);
        inside ^= fence;
    }
    count
}

/// A function has at most 70 lines that hold code, its signature and closing brace included.
pub fn function_length(source: &Source<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for start in words(&source.code, "fn") {
        let name = source.code[start + 2..].trim_start();
        if !name.starts_with(|c: char| c == '_' || c == '$' || c.is_ascii_alphabetic()) {
            continue; // a function pointer type
        }
        let (Some(_), end) = item_end(&source.code, start) else { continue };
        let lines = source.code[start..end].lines().filter(|line| !line.trim().is_empty()).count();
        if lines > FUNCTION_LINES {
            let name: String =
                name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            let what = format!("fn {name} has {lines} lines of code; at most {FUNCTION_LINES}");
            faults.push(Fault::at(source.path, source.line_of(start), what));
        }
    }
    faults
}

/// Lines of source code have at most 100 columns.
pub fn columns(path: &str, text: &str) -> Vec<Fault> {
    let is_source = [".rs", ".py", ".sh", ".java"].iter().any(|end| path.ends_with(end));
    if !is_source && path != ".ci/run" {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let width = line.chars().count();
        if width > COLUMNS {
            let what = format!("{width} columns; at most {COLUMNS}");
            faults.push(Fault::at(path, index + 1, what));
        }
    }
    faults
}

/// A module opens with an essay: `//!` from the first line on, and more than a title.
pub fn essay(source: &Source<'_>) -> Option<Fault> {
    let words: usize = source
        .text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(|line| line.split_whitespace().count())
        .sum();
    (words < ESSAY_WORDS).then(|| {
        let what = "open with an essay (//!): what is this module for, and why is it so?";
        Fault::at(source.path, 1, what)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_file_is_a_fault_but_its_tests_and_examples_are_free() {
        let code = "//! x\n".repeat(FILE_LINES);
        assert_eq!(file_length(&Source::new("a.rs", &code)), None);
        let tests = format!("{code}#[cfg(test)]\nmod tests {{\n{}}}\n", "fn a() {}\n".repeat(900));
        assert_eq!(file_length(&Source::new("a.rs", &tests)), None);
        let long = format!("{code}x\n");
        assert!(file_length(&Source::new("a.rs", &long)).is_some());
        let shown = format!("/// ```\n{}/// ```\nfn a() {{}}\n", "/// a();\n".repeat(900));
        assert_eq!(file_length(&Source::new("a.rs", &shown)), None);
        let told = format!("{}fn a() {{}}\n", "/// What it is.\n".repeat(900));
        assert!(file_length(&Source::new("a.rs", &told)).is_some());
    }

    #[test]
    fn a_long_function_is_a_fault_and_its_comments_are_free() {
        let body = |line: &str, times: usize| {
            format!("type F = fn(u8) -> u8;\nfn long(a: [u8; 2]) {{\n{}}}\n", line.repeat(times))
        };
        let faults = |text: &str| function_length(&Source::new("a.rs", text));
        assert_eq!(faults(&body("    a();\n", FUNCTION_LINES - 2)), []);
        assert_eq!(faults(&body("    // why\n\n", FUNCTION_LINES)), []);
        let found = faults(&body("    a();\n", FUNCTION_LINES - 1));
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].line, 2);
        assert!(found[0].what.contains("fn long has 71"), "{}", found[0]);
    }

    #[test]
    fn wide_source_is_a_fault_and_wide_prose_is_not() {
        let wide = format!("ok\n{}\n", "é".repeat(COLUMNS + 1));
        assert_eq!(columns("a.rs", &wide).len(), 1);
        assert_eq!(columns("a.rs", &wide)[0].line, 2);
        assert_eq!(columns("a.rs", &"é".repeat(COLUMNS)), []);
        assert_eq!(columns("a.md", &wide), []);
    }

    #[test]
    fn a_module_without_an_essay_is_a_fault() {
        let told = "//! Turns frames into requests and back, because a socket knows only bytes.\n";
        assert_eq!(essay(&Source::new("a.rs", told)), None);
        for text in ["", "use x;\n//! Too late.\n", "//! A title.\n\nfn x() {}\n"] {
            assert!(essay(&Source::new("a.rs", text)).is_some(), "{text}");
        }
    }
}
