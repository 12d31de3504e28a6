//! Every setting that ZooKeeper 3.9 (and 3.10) knows, in one table.
//!
//! ZooKeeper spreads its settings over some sixty classes: part is read from `zoo.cfg` only, part
//! from `zoo.cfg` or `-Dzookeeper.x`, part from `-Dx` alone, and a line it does not know silently
//! becomes a system property. Here a setting is one row: its name and other spellings, what values
//! it takes, what holds when it is absent, what it means, and, the part that matters to whoever
//! moves a file over, what this server does with it. Parsing, `check-config`, "did you mean" and
//! the notices at start are all generated from the rows.
//!
//! The rows are split by subject only to keep the files readable.

use std::collections::HashMap;
use std::sync::LazyLock;

mod access;
mod ensemble;
mod internals;
mod limits;
mod nearest;
mod operations;
mod serving;
mod storage;
mod tls;

/// One setting.
#[derive(Debug, Clone, Copy)]
pub struct Key {
    /// The name that takes effect in ZooKeeper, without the `zookeeper.` prefix. A name that ends
    /// in `.N` or `.*` stands for a family (`server.N`, `metricsProvider.*`).
    pub name: &'static str,
    /// Other names for it: documented ones that ZooKeeper itself ignores, or a second property.
    pub aliases: &'static [&'static str],
    /// Where ZooKeeper looks for it.
    pub taken: Taken,
    /// What its values look like.
    pub kind: Kind,
    /// The unit of a number, for people ("ms", "KB"); empty where there is none.
    pub unit: &'static str,
    /// What holds when it is not set.
    pub default: Fallback,
    /// What it does, in a line.
    pub meaning: &'static str,
    /// What this server does with it.
    pub status: Status,
    /// Whether its value must never be printed.
    pub secret: bool,
}

/// Where ZooKeeper looks for a setting. This server takes every setting in the file and from
/// `--set`, with and without the `zookeeper.` prefix.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// In `zoo.cfg` only.
    File,
    /// In `zoo.cfg`, or as `-Dzookeeper.<name>`.
    Property,
    /// As `-D<name>` only; ZooKeeper ignores a line in `zoo.cfg`.
    SystemProperty,
    /// By this server only.
    Own,
}

/// What the values of a setting look like.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// `true` or `false`, in any case.
    Bool,
    /// `yes` or `no`, lower case: the three settings ZooKeeper compares with these words.
    YesNo,
    /// A whole number, bounds included. In properties Java also takes `0x10`, `#10` and `010`.
    Int {
        /// The least value.
        min: i64,
        /// The greatest value.
        max: i64,
    },
    /// A decimal fraction, bounds included.
    Real {
        /// The least value.
        min: f64,
        /// The greatest value.
        max: f64,
    },
    /// One of a few words, in any case.
    Choice(&'static [&'static str]),
    /// The path of a file or directory.
    Path,
    /// Anything, the empty text included.
    Text,
}

/// What holds when a setting is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fallback {
    /// This value.
    Is(&'static str),
    /// A value worked out from other settings or from the machine, as described.
    From(&'static str),
    /// Nothing: the feature it names stays off.
    Unset,
}

/// What this server does with a setting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// It takes effect.
    Obeyed,
    /// It is accepted and does nothing, for good; the text says why.
    NoMeaning(&'static str),
    /// It is accepted and does nothing yet; the text says what holds meanwhile.
    Later(&'static str),
    /// It is not supported yet and ignoring it would be unsafe, so any value but those listed
    /// stops the start.
    NotYet {
        /// Values that ask for nothing and are therefore accepted.
        harmless: &'static [&'static str],
        /// Why ignoring the setting would be unsafe.
        because: &'static str,
    },
}

/// The bounds of Java's `int` and `long`.
pub(crate) const INT: Kind = Kind::Int { min: i32::MIN as i64, max: i32::MAX as i64 };
pub(crate) const LONG: Kind = Kind::Int { min: i64::MIN, max: i64::MAX };
const PORT: Kind = Kind::Int { min: 0, max: 65_535 };

const fn from(min: i64) -> Kind {
    Kind::Int { min, max: i32::MAX as i64 }
}

/// A setting that takes effect; the builders below state what is unusual about it.
const fn key(name: &'static str, kind: Kind, default: &'static str, meaning: &'static str) -> Key {
    Key {
        name,
        aliases: &[],
        taken: Taken::Property,
        kind,
        unit: "",
        default: Fallback::Is(default),
        meaning,
        status: Status::Obeyed,
        secret: false,
    }
}

/// Like [`key`], for a setting whose absence switches something off.
const fn unset(name: &'static str, kind: Kind, meaning: &'static str) -> Key {
    Key { default: Fallback::Unset, ..key(name, kind, "", meaning) }
}

/// Like [`key`], with a default that depends on something else.
const fn derived(name: &'static str, kind: Kind, how: &'static str, meaning: &'static str) -> Key {
    Key { default: Fallback::From(how), ..key(name, kind, "", meaning) }
}

impl Key {
    const fn also(self, aliases: &'static [&'static str]) -> Key {
        Key { aliases, ..self }
    }

    const fn unit(self, unit: &'static str) -> Key {
        Key { unit, ..self }
    }

    const fn in_file(self) -> Key {
        Key { taken: Taken::File, ..self }
    }

    const fn as_system_property(self) -> Key {
        Key { taken: Taken::SystemProperty, ..self }
    }

    const fn own(self) -> Key {
        Key { taken: Taken::Own, ..self }
    }

    const fn secret(self) -> Key {
        Key { secret: true, ..self }
    }

    const fn no_meaning(self, why: &'static str) -> Key {
        Key { status: Status::NoMeaning(why), ..self }
    }

    const fn later(self, meanwhile: &'static str) -> Key {
        Key { status: Status::Later(meanwhile), ..self }
    }

    const fn not_yet(self, harmless: &'static [&'static str], because: &'static str) -> Key {
        Key { status: Status::NotYet { harmless, because }, ..self }
    }

    /// Whether the row stands for a family of settings.
    pub fn is_family(&self) -> bool {
        self.stem().is_some()
    }

    /// The part of a family's name that its members share, with the dot.
    fn stem(&self) -> Option<&'static str> {
        self.name.strip_suffix('N').or(self.name.strip_suffix('*')).filter(|s| s.ends_with('.'))
    }

    /// Whether a bad value is an error: where ZooKeeper checks it too, or where we would use it.
    /// Elsewhere ZooKeeper falls back to the default in silence, and nothing here depends on it.
    pub(crate) fn is_checked(&self) -> bool {
        self.status == Status::Obeyed || self.taken == Taken::File
    }

    /// Whether Java reads its number with `decode`, which knows hexadecimal and octal.
    pub(crate) fn takes_radix_prefix(&self) -> bool {
        self.taken != Taken::File && self.name != "preAllocSize"
    }
}

/// All rows, by subject.
pub fn all() -> impl Iterator<Item = &'static Key> {
    let subjects: [&'static [Key]; 8] = [
        serving::KEYS,
        storage::KEYS,
        limits::KEYS,
        access::KEYS,
        ensemble::KEYS,
        tls::KEYS,
        operations::KEYS,
        internals::KEYS,
    ];
    subjects.into_iter().flatten()
}

/// The rows by name. The table never changes, so neither does this.
pub(crate) static INDEX: LazyLock<Index> = LazyLock::new(Index::new);

/// The rows by name.
pub(crate) struct Index {
    exact: HashMap<&'static str, &'static Key>,
    families: Vec<(&'static str, &'static Key)>,
}

/// What a name in the file or in `--set` stands for.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Found {
    pub key: &'static Key,
    /// The name under which the value is kept: the row's, or the family member's.
    pub canonical: String,
    /// The name as it was written.
    pub written: String,
    /// Written with the `zookeeper.` prefix.
    pub prefixed: bool,
    /// Written under another name than the one ZooKeeper obeys.
    pub by_alias: bool,
}

impl PartialEq for Key {
    fn eq(&self, other: &Key) -> bool {
        self.name == other.name
    }
}

impl Index {
    fn new() -> Index {
        let mut exact = HashMap::new();
        let mut families = Vec::new();
        for key in all() {
            match key.stem() {
                Some(stem) => families.push((stem, key)),
                None => {
                    exact.insert(key.name, key);
                }
            }
            exact.extend(key.aliases.iter().map(|alias| (*alias, key)));
        }
        // Of two families the more specific must be asked first.
        families.sort_by_key(|(stem, _)| std::cmp::Reverse(stem.len()));
        Index { exact, families }
    }

    pub fn find(&self, written: &str) -> Option<Found> {
        let stripped = written.strip_prefix("zookeeper.");
        let name = stripped.unwrap_or(written);
        let member_of = |stem: &str| name.strip_prefix(stem).is_some_and(|m| !m.is_empty());
        let family = || self.families.iter().find(|(stem, _)| member_of(stem));
        let (key, canonical) = match self.exact.get(name) {
            Some(key) => (*key, key.name),
            None => (family()?.1, name),
        };
        Some(Found {
            key,
            canonical: canonical.to_owned(),
            written: written.to_owned(),
            prefixed: stripped.is_some(),
            by_alias: canonical != name,
        })
    }

    /// The known name closest to a mistyped one, spelled as it was meant to be written.
    pub fn nearest(&self, written: &str) -> Option<&'static str> {
        let name = written.strip_prefix("zookeeper.").unwrap_or(written);
        let names = all().flat_map(|key| std::iter::once(&key.name).chain(key.aliases));
        nearest::nearest(name, names.copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn names_are_unique_and_rows_are_complete() {
        let mut seen = HashSet::new();
        for key in all() {
            for name in std::iter::once(&key.name).chain(key.aliases) {
                assert!(seen.insert(*name), "{name} stands twice in the table");
                assert!(!name.starts_with("zookeeper."), "{name} carries the prefix");
            }
            assert!(key.meaning.ends_with('.'), "{}: {}", key.name, key.meaning);
            let reason = match key.status {
                Status::Obeyed => continue,
                Status::NoMeaning(reason) | Status::Later(reason) => reason,
                Status::NotYet { because, .. } => because,
            };
            assert!(!reason.is_empty() && !reason.ends_with('.'), "{}: {reason}", key.name);
        }
    }

    #[test]
    fn every_setting_that_zookeeper_reads_is_known() {
        let index = &*INDEX;
        let names = include_str!("../../tests/fixtures/zookeeper-settings.txt");
        let mut count = 0;
        for name in names.lines().filter(|line| !line.starts_with('#')) {
            assert!(index.find(name).is_some(), "{name} is missing from the table");
            count += 1;
        }
        assert!(count > 250, "the fixture lists {count} names only");
    }

    #[test]
    fn both_spellings_families_and_aliases_are_found() {
        let index = &*INDEX;
        let plain = index.find("snapCount").unwrap();
        let prefixed = index.find("zookeeper.snapCount").unwrap();
        assert_eq!((plain.canonical.as_str(), plain.prefixed), ("snapCount", false));
        assert_eq!((prefixed.canonical.as_str(), prefixed.prefixed), ("snapCount", true));
        let member = index.find("server.12").unwrap();
        assert_eq!((member.key.name, member.canonical.as_str()), ("server.N", "server.12"));
        assert_eq!(index.find("server.realm").unwrap().key.name, "server.realm");
        assert!(index.find("server.").is_none());
        let alias = index.find("requestThrottleLimit").unwrap();
        assert_eq!(alias.canonical, "request_throttle_max_requests");
        assert!(alias.by_alias);
    }
}
