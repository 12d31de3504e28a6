//! Writes are linearizable: their order in the log agrees with real time, and each is answered as
//! the one after the other in that order would be.
//!
//! Real time is checked in one sweep: when a write is sent, the highest zxid that anybody has been
//! told of so far is its floor, and its own zxid must lie above. That holds of writes that were
//! never answered too, if the log has them.

use oxkeeper_proto::Zxid;

use super::Case;

/// For each request the highest zxid of a write that was answered before it was sent.
pub(super) fn floors(case: &Case<'_>) -> Vec<Zxid> {
    let ops = &case.history.ops;
    let written = ops.iter().filter(|op| op.asked.is_write());
    let mut told: Vec<_> =
        written.filter_map(|op| op.reply.as_ref()).map(|reply| (reply.at, reply.zxid)).collect();
    told.sort_unstable();
    let mut told = told.into_iter().peekable();
    let mut highest = Zxid::ZERO;
    let sent = ops.iter().map(|op| {
        while let Some((_, zxid)) = told.next_if(|(at, _)| *at < op.sent) {
            highest = highest.max(zxid);
        }
        highest
    });
    sent.collect()
}

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let floors = floors(case);
    for (number, op) in case.history.ops.iter().enumerate() {
        if !op.asked.is_write() {
            continue;
        }
        if let Some(place) = case.truth.places[number]
            && place <= floors[number]
        {
            let floor = floors[number];
            breaches.push(format!("op {number} at {place} was sent when {floor} was known"));
        }
        let (Some(reply), Some(answer)) = (&op.reply, &case.truth.answers[number]) else {
            continue;
        };
        if (reply.err, &reply.body) != (answer.err, &answer.body) {
            breaches.push(format!(
                "op {number} {:?} at {}: {reply:?} instead of {answer:?}",
                op.asked, reply.zxid
            ));
        }
    }
    breaches
}
