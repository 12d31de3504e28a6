//! Unfinished code, rooms with no subject, and tests that wait for the clock.
//!
//! An ignored test and a `todo!` both claim something that is not there. A module called `utils`
//! says only that its author did not decide where a thing belongs. A test that sleeps is slow on a
//! good day and wrong on a bad one: wait for the thing itself, or drive the time.

use super::source::Source;
use crate::repo::Fault;

/// Module names that name no subject.
const SHAPELESS: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "misc"];

/// Words that mark a hole, and what to do instead.
const HOLES: [(&str, &str); 4] = [
    ("todo!", "write it, or leave the feature out"),
    ("unimplemented!", "write it, or return an error that says what is not supported"),
    ("dbg!", "a trace left behind"),
    ("#[ignore", "a test either runs or does not exist"),
];

/// No file, directory or inline module has a shapeless name.
pub fn names(source: &Source<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    let stem = source.path.trim_end_matches(".rs");
    for part in stem.split('/') {
        if SHAPELESS.contains(&part) {
            faults.push(Fault::of(source.path, format!("a module called {part} has no subject")));
        }
    }
    for start in source.words("mod") {
        let rest = source.code[start + 3..].trim_start();
        let name: String = rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        if SHAPELESS.contains(&name.as_str()) {
            let what = format!("a module called {name} has no subject");
            faults.push(Fault::at(source.path, source.line_of(start), what));
        }
    }
    faults
}

/// No holes, in tests neither.
pub fn holes(source: &Source<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for (word, instead) in HOLES {
        for start in source.words(word) {
            let what = format!("{word}: {instead}");
            faults.push(Fault::at(source.path, source.line_of(start), what));
        }
    }
    faults
}

/// No test sleeps on real time.
pub fn sleeps(source: &Source<'_>) -> Vec<Fault> {
    let mut faults = Vec::new();
    for word in ["sleep", "sleep_ms", "sleep_until", "park_timeout"] {
        for start in source.words(word) {
            let called = source.code[start + word.len()..].trim_start().starts_with('(');
            if called && source.is_test(start) {
                let what = format!("a test calls {word}: wait for the event, or drive the time");
                faults.push(Fault::at(source.path, source.line_of(start), what));
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapeless_modules_are_faults() {
        for (path, text) in [
            ("crates/a/src/utils.rs", ""),
            ("crates/a/src/common/mod.rs", ""),
            ("crates/a/src/lib.rs", "mod helpers;"),
            ("crates/a/src/lib.rs", "pub mod misc { }"),
        ] {
            assert_eq!(names(&Source::new(path, text)).len(), 1, "{path} {text}");
        }
        assert_eq!(names(&Source::new("crates/a/src/quota.rs", "mod commons;")), []);
    }

    #[test]
    fn holes_are_faults_unless_they_are_only_spoken_of() {
        for text in [
            "fn a() { todo!() }",
            "fn a() { unimplemented!(\"later\") }",
            "fn a() { dbg!(1); }",
            "#[ignore]\nfn a() {}",
            "#[ignore = \"slow\"]\nfn a() {}",
        ] {
            assert_eq!(holes(&Source::new("a.rs", text)).len(), 1, "{text}");
        }
        assert_eq!(holes(&Source::new("a.rs", "// todo!()\nconst A: &str = \"dbg!\";")), []);
    }

    #[test]
    fn a_sleeping_test_is_a_fault_and_a_sleeping_program_is_not() {
        let call = "fn a() { std::thread::sleep(ONE_MS); }";
        let inline = format!("{call}\n#[cfg(test)]\nmod tests {{\n{call}\n}}\n");
        let found = sleeps(&Source::new("crates/a/src/lib.rs", &inline));
        assert_eq!(found.iter().map(|fault| fault.line).collect::<Vec<_>>(), [4]);
        assert_eq!(sleeps(&Source::new("crates/a/tests/b.rs", call)).len(), 1);
        assert_eq!(sleeps(&Source::new("crates/a/src/b/tests.rs", call)).len(), 1);
        let imported = "async fn a() { sleep (ONE_MS).await }";
        assert_eq!(sleeps(&Source::new("crates/a/tests/b.rs", imported)).len(), 1);
        assert_eq!(sleeps(&Source::new("tests/conformance/src/peers.rs", call)), []);
    }
}
