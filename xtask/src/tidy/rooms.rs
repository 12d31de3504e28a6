//! The core rooms are pure: `proto`, `tree`, `zab`, `node` and `client::core` are values, fed
//! inputs and asked for effects.
//!
//! What makes them so is what they cannot reach: no sockets, files, threads or clocks, no
//! randomness, no locks and no statics. Then the same inputs give the same effects, byte for byte,
//! and a whole ensemble fits into one deterministic test. Their tests may do as they like, for
//! instance read fixtures.

use super::source::Source;
use crate::repo::Fault;

/// The files that may hold a static: the choice of a mistake to make, in builds for tests alone.
const WRONG: [&str; 2] = ["crates/tree/src/wrong.rs", "crates/zab/src/wrong.rs"];
const CORE: [&str; 5] = [
    "crates/proto/src/",
    "crates/tree/src/",
    "crates/zab/src/",
    "crates/node/src/",
    "crates/client/src/core/",
];

/// What a core room may not name, and where the thing it wants is.
const BANNED: [(&str, &str); 26] = [
    ("tokio", "the runtime belongs to `server`"),
    ("std::net", "sockets belong to `server`; for addresses as values take core::net"),
    ("std::fs", "files belong to `storage`; emit an effect"),
    ("std::thread", "threads belong to `server`"),
    ("std::process", "only the binary ends the process; emit an effect"),
    ("std::env", "settings are parsed once, in `config`"),
    ("std::io", "bytes come as slices and leave as buffers"),
    ("Instant::now", "time is an argument"),
    ("SystemTime", "time is an argument"),
    ("rand", "randomness is an argument"),
    ("getrandom", "randomness is an argument"),
    ("parking_lot", "one owner needs no lock; the host locks"),
    ("Mutex", "one owner needs no lock; the host locks"),
    ("RwLock", "one owner needs no lock; the host locks"),
    ("Condvar", "one owner needs no lock; the host locks"),
    ("OnceLock", "state has an owner; pass it"),
    ("LazyLock", "state has an owner; pass it"),
    ("OnceCell", "state has an owner; pass it"),
    ("mpsc", "queues are data, owned by the host"),
    ("thread_local!", "state has an owner; pass it"),
    ("static", "state has an owner; for tables take const"),
    ("println!", "say it with tracing"),
    ("eprintln!", "say it with tracing"),
    ("print!", "say it with tracing"),
    ("eprint!", "say it with tracing"),
    ("RandomState", "randomness is an argument; take a seeded hasher"),
];

/// Modules of `std` that are banned also when they are named inside `use std::{..}`.
const BANNED_OF_STD: [&str; 6] = ["net", "fs", "thread", "process", "env", "io"];

/// Names of what the core rooms cannot reach, outside their tests.
pub fn check(source: &Source<'_>) -> Vec<Fault> {
    if WRONG.contains(&source.path) || !CORE.iter().any(|room| source.path.starts_with(room)) {
        return Vec::new();
    }
    let mut faults = Vec::new();
    let mut fault = |at: usize, word: &str, instead: &str| {
        if !source.is_test(at) {
            let what = format!("{word} in a core room: {instead}");
            faults.push(Fault::at(source.path, source.line_of(at), what));
        }
    };
    for (word, instead) in BANNED {
        for at in source.words(word) {
            let lifetime = at > 0 && source.code.as_bytes()[at - 1] == b'\'';
            if !lifetime {
                fault(at, word, instead);
            }
        }
    }
    for at in source.words("std::{") {
        let open = at + "std::".len();
        let group = &source.code[open..super::source::closing(&source.code, open)];
        for word in BANNED_OF_STD {
            if super::source::words(group, word).next().is_some() {
                fault(at, word, "not for a core room");
            }
        }
    }
    faults
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn impure_words_are_faults_in_core_rooms_alone() {
        for text in [
            "use tokio::net::TcpStream;",
            "use std::net::TcpStream;",
            "use std::{collections::HashMap, fs};",
            "let now = Instant::now();",
            "let now = std::time::SystemTime::now();",
            "let dice = rand::random();",
            "static COUNT: u8 = 0;",
            "pub struct A { inner: RwLock<u8> }",
            "thread_local! { }",
            "use std::sync::{Arc, Mutex};",
            "eprintln!(\"a\");",
        ] {
            for room in ["proto", "tree", "zab", "node"] {
                let path = format!("crates/{room}/src/deep/file.rs");
                assert_eq!(check(&Source::new(&path, text)).len(), 1, "{path}: {text}");
            }
            assert_eq!(check(&Source::new("crates/server/src/lib.rs", text)), [], "{text}");
        }
    }

    #[test]
    fn pure_code_and_tests_pass() {
        let text = "fn a(x: &'static str, now: Instant) -> Operand { x } // no std::fs here\n\
                    use std::{collections::HashMap, sync::Arc};\n\
                    #[cfg(test)]\nmod tests { use std::fs; static A: u8 = 0; }\n";
        assert_eq!(check(&Source::new("crates/tree/src/lib.rs", text)), []);
        let test = "use std::fs;\nfn main() { std::thread::yield_now(); }";
        assert_eq!(check(&Source::new("crates/tree/tests/golden.rs", test)), []);
    }
}
