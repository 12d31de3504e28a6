//! Reads are sequentially consistent: each shows exactly the state at the zxid in its header, no
//! session ever sees the past again, on whichever connection, and a sync sees everything that
//! anybody had been told of before it was sent.

use std::collections::BTreeMap;

use super::{Case, linearizable_writes};
use crate::asked::{Asked, normalised};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let floors = linearizable_writes::floors(case);
    let mut seen = BTreeMap::new();
    for (number, op) in case.history.ops.iter().enumerate() {
        let Some(reply) = &op.reply else { continue };
        // A ping shows nothing, and no client takes its zxid for something that it has seen.
        if matches!(op.asked, Asked::Ping) {
            continue;
        }
        // The bare zxid of an epoch is no transaction: who was there has seen no more than before.
        let at = case.truth.last_by(reply.zxid);
        let before = seen.insert(op.session, at);
        if before.is_some_and(|before| before > at) {
            let (session, zxid) = (op.session, reply.zxid);
            breaches.push(format!("op {number}: {session} is at {before:?} and sees {zxid}"));
        }
        if matches!(op.asked, Asked::Sync(_)) && reply.zxid < floors[number] {
            let (zxid, floor) = (reply.zxid, floors[number]);
            breaches.push(format!("op {number}: a sync at {zxid}, when {floor} was known"));
        }
        if let (false, Some(answer)) = (op.asked.is_write(), &case.truth.answers[number]) {
            let body = normalised(&op.asked, &reply.body);
            if (reply.err, &body) != (answer.err, &answer.body) {
                breaches.push(format!(
                    "op {number} {:?} at {}: {:?} {body:?} instead of {answer:?}",
                    op.asked, reply.zxid, reply.err
                ));
            }
        }
    }
    breaches
}
