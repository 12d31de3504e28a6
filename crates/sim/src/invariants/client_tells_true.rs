//! The client tells its user the truth, once for every request: answered is what was answered,
//! unknown what left and was not, and nothing that left was not sent.

use std::collections::BTreeSet;

use super::Case;
use crate::history::Fate;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = case.history.untold.clone();
    let mut told = BTreeSet::new();
    for &(number, fate) in &case.history.fates {
        let reply = case.history.ops[number].reply.as_ref();
        let seen = reply.map_or(Fate::Unknown, |reply| Fate::Answered(reply.zxid));
        if fate != seen {
            breaches.push(format!("op {number} is {fate:?} to its user and was {seen:?}"));
        }
        if !told.insert(number) {
            breaches.push(format!("the end of op {number} is told again: {fate:?}"));
        }
    }
    breaches
}
