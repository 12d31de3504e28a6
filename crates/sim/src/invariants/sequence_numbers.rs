//! Numbers of sequential znodes are unique and increasing as long as their parent lives: told by
//! what clients were answered, whatever the model thinks.

use std::collections::BTreeMap;

use oxkeeper_proto::Reader;
use oxkeeper_proto::response::EventType;

use super::Case;
use crate::asked::{Asked, Edit};
use crate::model::parent_of;

pub(super) fn check(case: &Case<'_>) -> Vec<String> {
    let mut breaches = Vec::new();
    // By zxid: the parent, the number, and who was told.
    let mut created = BTreeMap::new();
    for (number, op) in case.history.ops.iter().enumerate() {
        let (Some(reply), Asked::Edit(Edit::Create(create))) = (&op.reply, &op.asked) else {
            continue;
        };
        if !create.mode.is_sequential() || !reply.err.is_ok() {
            continue;
        }
        let path = Reader::new(&reply.body).string().unwrap_or_default().into_owned();
        let tail = path.strip_prefix(&create.path);
        match tail.filter(|tail| tail.len() == 10).and_then(|tail| tail.parse::<i32>().ok()) {
            Some(value) => {
                created.insert(reply.zxid, (parent_of(&path).to_owned(), value, number));
            }
            None => breaches.push(format!("op {number} was told {path:?}")),
        }
    }
    let mut last: BTreeMap<String, (i32, usize)> = BTreeMap::new();
    let mut created = created.into_iter().peekable();
    for (entry, step) in case.ledger.iter().zip(&case.truth.steps) {
        for change in &step.changes {
            if change.event == EventType::NodeDeleted {
                last.remove(&change.path);
            }
        }
        while let Some((_, (parent, value, number))) = created.next_if(|(at, _)| *at <= entry.zxid)
        {
            let before = last.insert(parent, (value, number));
            if before.is_some_and(|(before, _)| before >= value) {
                breaches.push(format!("op {number} got {value} after {before:?} (number, op)"));
            }
        }
    }
    breaches
}
