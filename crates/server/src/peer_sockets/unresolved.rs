//! Which names of peers do not resolve at present: what the log says once in a while, and `mntr`
//! whenever it is asked.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::Mutex;

/// Names remembered. Hellos can claim any; those of a configuration are far fewer.
const NAMES_MAX: usize = 256;

/// Names that did not resolve when they were last tried. Clones are the same set: all ports of a
/// server share one.
#[derive(Debug, Clone, Default)]
pub struct UnresolvedNames {
    names: Arc<Mutex<BTreeSet<Box<str>>>>,
}

impl UnresolvedNames {
    /// A name was tried.
    pub(super) fn tried(&self, host: &str, resolved: bool) {
        let mut names = self.names.lock();
        if resolved {
            names.remove(host);
        } else if names.len() < NAMES_MAX && !names.contains(host) {
            names.insert(host.into());
        }
    }

    /// How many of these names do not resolve. One that is not asked for any more does not count,
    /// though nobody will ever try it again.
    pub fn among<'a>(&self, hosts: impl Iterator<Item = &'a str>) -> usize {
        let names = self.names.lock();
        let unresolved: BTreeSet<&str> = hosts.filter(|host| names.contains(*host)).collect();
        unresolved.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_counts_once_while_it_is_asked_for_and_does_not_resolve() {
        let unresolved = UnresolvedNames::default();
        let port = unresolved.clone();
        for host in ["a", "b", "a"] {
            port.tried(host, false);
        }
        assert_eq!(unresolved.among(["a", "a", "b", "c"].into_iter()), 2);
        assert_eq!(unresolved.among(["b", "c"].into_iter()), 1);
        port.tried("b", true);
        assert_eq!(unresolved.among(["a", "b"].into_iter()), 1);
    }

    #[test]
    fn strangers_names_are_bounded() {
        let unresolved = UnresolvedNames::default();
        for n in 0..2 * NAMES_MAX {
            unresolved.tried(&format!("host{n}"), false);
        }
        assert_eq!(unresolved.names.lock().len(), NAMES_MAX);
    }
}
