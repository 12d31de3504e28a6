//! Placeholder until the thread that reads for learners is in: it only says what it was asked for.
use crate::snapshot_link::SnapshotSink;
use oxkeeper_proto::Zxid;
use oxkeeper_zab::LinkId;
use std::sync::Arc;
/// c
#[derive(Debug)]
pub enum HistoryCommand {
    /// a
    Survey { link: LinkId, peer: Zxid },
    /// a
    Read { link: LinkId, after: Zxid, to: Zxid },
    /// a
    OpenSnapshot { link: LinkId, at_least: Zxid },
    /// a
    SendSnapshot { link: LinkId, sink: SnapshotSink },
    /// a
    Forget { link: LinkId },
}
/// t
#[derive(Debug)]
pub struct HistoryThread;
impl HistoryThread {
    /// s
    pub fn start<D, R>(_: Arc<D>, _: Arc<R>) -> std::io::Result<Self> {
        Ok(HistoryThread)
    }
    /// s
    pub fn send(&self, c: HistoryCommand) {
        tracing::error!(?c, "stub");
    }
}
