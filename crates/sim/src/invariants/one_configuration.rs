//! Of a version there is one configuration, whichever servers have it in force; no server goes back
//! to an older one; and in the end all members have the last.
//!
//! That quorums of the old and of the new agree on everything in between is what the others show.

use std::collections::BTreeMap;

use super::Case;
use crate::history::Configured;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut known: BTreeMap<i64, &Configured> = BTreeMap::new();
    let mut last: BTreeMap<usize, i64> = BTreeMap::new();
    for configured in &case.history.configured {
        let Configured { server, version, text } = configured;
        // By hand: a server that is no member is told where they are.
        let before = last.insert(*server, *version);
        if *version == 0 {
            continue;
        }
        if before.is_some_and(|before| before > *version) {
            breaches.push(format!("{configured:?} comes after {before:?}"));
        }
        let first = *known.entry(*version).or_insert(configured);
        if first.text != *text {
            breaches.push(format!("{first:?} and {configured:?} are of one version"));
        }
    }
    let newest = known.keys().last().copied().unwrap_or_default();
    for (server, version) in case.history.members_configured.iter().copied() {
        if version != newest && case.history.unfinished.is_empty() {
            breaches.push(format!("server {server} ends with version {version:x} of {newest:x}"));
        }
    }
    breaches
}
