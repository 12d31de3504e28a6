//! What must hold, checked whenever a server serves or commits while it serves.

use std::collections::BTreeMap;

use oxkeeper_proto::{Sid, Zxid};
use oxkeeper_zab::{Entry, Epochs};

/// The longest history that any server has served.
#[derive(Default)]
pub struct Oracle {
    history: Vec<Entry>,
    leaders: BTreeMap<u32, Sid>,
    epochs: BTreeMap<Sid, Epochs>,
}

impl Oracle {
    /// A server serves with this tree: `prefix_consistency`, `agreement`, `total_order`. What was
    /// once served is what every later server serves, in the same order.
    pub fn serves(&mut self, sid: Sid, memory: &[Entry], from: usize) -> Result<(), String> {
        let common = memory.len().min(self.history.len());
        let from = from.min(common);
        if let Some(at) = (from..common).find(|at| memory[*at] != self.history[*at]) {
            return Err(format!(
                "prefix_consistency: server {sid} serves {} where {} was served",
                memory[at].zxid, self.history[at].zxid
            ));
        }
        self.history.extend_from_slice(&memory[common..]);
        Ok(())
    }

    /// A leader begins to serve: `primary_integrity` (it has everything that was ever served) and
    /// one leader per epoch.
    pub fn leads(&mut self, sid: Sid, epoch: u32, memory: &[Entry]) -> Result<(), String> {
        if let Some(other) = self.leaders.insert(epoch, sid) {
            return Err(format!("two leaders in epoch {epoch}: {other} and {sid}"));
        }
        if let Some(missing) = self.history.get(memory.len()) {
            return Err(format!(
                "primary_integrity: leader {sid} of epoch {epoch} lacks {}, which was served",
                missing.zxid
            ));
        }
        self.serves(sid, memory, 0)
    }

    /// A transaction is committed by a serving leader.
    pub fn committed_in_epoch(&self, epoch: u32, zxid: Zxid) -> Result<(), String> {
        if zxid.epoch() == epoch {
            return Ok(());
        }
        Err(format!("local_primary_order: {zxid} committed by the leader of epoch {epoch}"))
    }

    /// Promises only grow, over crashes too.
    pub fn epochs(&mut self, sid: Sid, epochs: Epochs) -> Result<(), String> {
        let before = self.epochs.insert(sid, epochs).unwrap_or_default();
        if epochs.accepted < before.accepted || epochs.current < before.current {
            return Err(format!("epochs of {sid} went back: {before:?} to {epochs:?}"));
        }
        if epochs.accepted < epochs.current {
            return Err(format!("epochs of {sid}: current before accepted: {epochs:?}"));
        }
        Ok(())
    }

    /// How much was ever served.
    pub fn len(&self) -> usize {
        self.history.len()
    }
}
