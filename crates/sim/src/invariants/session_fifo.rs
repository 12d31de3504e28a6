//! What a session asks is done in the order in which it asks: its writes stand in the log in that
//! order, also those whose connection was lost before the answer came; answers come in that order;
//! and a read between two writes sees the first and not the second.

use std::collections::{BTreeMap, BTreeSet};

use oxkeeper_proto::Zxid;

use super::Case;
use crate::asked::Asked;
use crate::history::{Heard, Kind};

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    let mut last = BTreeMap::new();
    // What comes late, behind the end of its session, comes to nothing.
    let mut ended = BTreeSet::new();
    let closes = case.history.ops.iter().zip(&case.truth.places);
    let closes = closes.filter(|(op, _)| op.asked == Asked::Close);
    let closes: BTreeSet<Zxid> = closes.filter_map(|(_, place)| *place).collect();
    for entry in case.ledger {
        let ends = closes.contains(&entry.zxid) || matches!(entry.kind, Kind::Expiry { .. });
        let asked = matches!(entry.kind, Kind::Request | Kind::Reconfig);
        if asked && !ended.contains(&entry.session) {
            let before = last.insert(entry.session, entry.cxid);
            if before.is_some_and(|before| before >= entry.cxid) {
                breaches.push(format!("{entry:?} comes after its request {before:?}"));
            }
        }
        if ends {
            ended.insert(entry.session);
        }
    }
    for (number, conn) in case.history.conns.iter().enumerate() {
        let strays = conn.heard.iter().filter(|(_, heard)| matches!(heard, Heard::Stray { .. }));
        breaches.extend(strays.map(|stray| format!("conn {number}: {stray:?} is out of turn")));
        let mut seen = Zxid::ZERO;
        for op in conn.heard.iter().filter_map(|(_, heard)| match heard {
            Heard::Reply(op) => Some(*op),
            Heard::Session { .. } | Heard::Refused | Heard::Stray { .. } | Heard::Event { .. } => {
                None
            }
        }) {
            let asked = &case.history.ops[op];
            let Some(reply) = &asked.reply else { continue };
            if asked.asked.is_write() && reply.zxid <= seen {
                let zxid = reply.zxid;
                breaches.push(format!("op {op} is done at {zxid}, seen before it was {seen}"));
            }
            seen = seen.max(reply.zxid);
        }
    }
    breaches
}
