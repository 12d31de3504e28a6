//! No acknowledged write is lost: every answer stands on a transaction that is still in the log at
//! the end, whatever became of the server that gave it; so does every session that was granted.

use std::collections::BTreeSet;

use super::Case;
use crate::history::{Heard, Kind};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let last = case.truth.last();
    for (number, op) in case.history.ops.iter().enumerate() {
        let Some(reply) = &op.reply else { continue };
        let place = case.truth.places[number];
        if op.asked.is_write() && place != Some(reply.zxid) {
            let zxid = reply.zxid;
            breaches.push(format!("op {number} was answered at {zxid} and stands at {place:?}"));
        } else if reply.zxid > last {
            breaches.push(format!("op {number} saw {}, but {last} is the last", reply.zxid));
        }
    }
    let begun = case.ledger.iter().filter(|entry| matches!(entry.kind, Kind::Begin { .. }));
    let begun: BTreeSet<_> = begun.map(|entry| entry.session).collect();
    for (number, conn) in case.history.conns.iter().enumerate() {
        let granted = conn.heard.iter().any(|(_, heard)| matches!(heard, Heard::Session { .. }));
        if granted && !begun.contains(&conn.session) {
            breaches.push(format!("conn {number} was granted {}, which is lost", conn.session));
        }
    }
    breaches
}
