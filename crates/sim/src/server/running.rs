//! One life of a server: its core, its threads and what waits between them.

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use oxkeeper_node::{
    Committed, ConnId, Core, CoreLink, Front, FrontId, Now, OwnedToCore, Shared, ToCore, ToFront,
};
use oxkeeper_proto::Zxid;
use oxkeeper_server::log_thread::{Epochs, LogReports, LogWorker, Rebuilt};
use oxkeeper_server::snapshot_thread::{SnapshotCommand, SnapshotReports, SnapshotWorker};
use oxkeeper_storage::{LogError, SimDisk};
use oxkeeper_zab as zab;

use super::Mistake;
use super::archive::{Archive, LogQueue};
use super::ports::Ports;
use crate::agenda::{Micros, Stage};
use crate::dice::Dice;
use crate::net::{End, WireId};
use crate::world::Ground;

/// A life of a server.
#[derive(Debug)]
pub(super) struct Running {
    pub(super) shared: Shared,
    pub(super) core: Core,
    pub(super) io: Vec<Io>,
    pub(super) to_core: Vec<(FrontId, OwnedToCore)>,
    pub(super) log: LogWorker<SimDisk>,
    pub(super) to_log: LogQueue,
    pub(super) snapshots: SnapshotWorker<SimDisk>,
    pub(super) to_snapshots: VecDeque<SnapshotCommand>,
    /// The other servers; none for a server that is alone.
    pub(super) ports: Option<Ports>,
    pub(super) archive: Archive,
    /// The wire on which a snapshot comes that the log's thread is asked to take over.
    pub(super) installing: Option<WireId>,
    pub(super) reports: Reports,
    pub(super) committed: Committed,
    pub(super) planned: BTreeMap<Stage, Micros>,
    /// Its number, if it may be an observer that keeps no log.
    pub(super) without_log: Option<usize>,
    pub(super) mistake: Option<Mistake>,
    /// For [`Mistake::HoldsMessages`] alone: until when, and of which connection.
    pub(super) held: Vec<(Micros, FrontId, OwnedToCore)>,
}

/// An I/O thread.
#[derive(Debug)]
pub(super) struct Io {
    pub(super) front: Front,
    pub(super) mail: VecDeque<Mail>,
    pub(super) sockets: BTreeMap<ConnId, Socket>,
    pub(super) conns: BTreeMap<WireId, ConnId>,
}

#[derive(Debug)]
pub(super) struct Socket {
    pub(super) wire: WireId,
    /// Read and not yet taken by the Front.
    pub(super) inbox: Vec<u8>,
}

/// What the core's thread sends to another.
#[derive(Debug)]
pub(super) enum Mail {
    Committed(Arc<Committed>),
    Told(ToFront),
}

/// What log and snapshots have reported and the core has not yet been told.
#[derive(Debug, Default)]
pub(super) struct Reports {
    pub(super) disk: RefCell<VecDeque<Report>>,
    /// Of links that have whole packets after a snapshot.
    pub(super) inputs: Vec<zab::Input>,
    pub(super) chunks: Cell<usize>,
    pub(super) over: Cell<bool>,
}

impl LogReports for Reports {
    fn synced(&self, zxid: Zxid, _: Duration) {
        self.disk.borrow_mut().push_back(Report::Disk(zab::Disk::Synced(zxid)));
    }

    fn epochs_saved(&self, epochs: Epochs) {
        self.disk.borrow_mut().push_back(Report::Disk(zab::Disk::EpochsSaved(epochs)));
    }

    fn ensemble_id_saved(&self, id: u128) {
        self.disk.borrow_mut().push_back(Report::Disk(zab::Disk::EnsembleIdSaved(id)));
    }

    fn rebuilt(&self, rebuilt: Rebuilt) {
        self.disk.borrow_mut().push_back(Report::Rebuilt(rebuilt));
    }

    fn failed(&self, error: LogError) {
        unreachable!("a worker without a thread returns its errors: {error}");
    }
}

impl SnapshotReports for Reports {
    fn chunk_written(&self) {
        self.chunks.set(self.chunks.get() + 1);
    }

    fn snapshot_over(&self) {
        self.over.set(true);
    }
}

/// From the log's thread.
#[derive(Debug)]
pub(super) enum Report {
    Disk(zab::Disk),
    Rebuilt(Rebuilt),
}

/// From a Front on the core's thread: a call.
pub(super) struct LocalLink<'a> {
    pub(super) core: &'a mut Core,
    pub(super) shared: &'a Shared,
}

impl CoreLink for LocalLink<'_> {
    fn submit(&mut self, now: Now, front: FrontId, message: ToCore<'_>) {
        self.core.submit(self.shared, now, front, message);
    }
}

/// From a Front on another thread: the core's mailbox.
pub(super) struct RemoteLink<'a> {
    to_core: &'a mut Vec<(FrontId, OwnedToCore)>,
}

impl CoreLink for RemoteLink<'_> {
    fn submit(&mut self, _: Now, front: FrontId, message: ToCore<'_>) {
        self.to_core.push((front, message.to_owned()));
    }
}

impl Io {
    pub(super) fn new(front: Front) -> Io {
        Io { front, mail: VecDeque::new(), sockets: BTreeMap::new(), conns: BTreeMap::new() }
    }
}

impl Running {
    pub(super) fn find(&self, wire: WireId) -> Option<(usize, ConnId)> {
        let found = |(io, thread): (usize, &Io)| Some((io, *thread.conns.get(&wire)?));
        self.io.iter().enumerate().find_map(found)
    }

    pub(super) fn wants_turn(&self, io: usize) -> bool {
        let thread = &self.io[io];
        let any = !thread.mail.is_empty() || thread.front.has_dirty() || thread.front.has_work();
        if io > 0 {
            return any;
        }
        let Reports { disk, inputs, chunks, over } = &self.reports;
        let told = !disk.borrow().is_empty() || !inputs.is_empty() || chunks.get() > 0;
        let told = told || over.get() || self.to_log.holds();
        let core = self.core.can_apply() || self.core.has_work() || self.core.snapshot_wants_step();
        any || told || core || !self.to_core.is_empty()
    }

    /// The log has got further, or has become another.
    pub(super) fn disk_reports(&mut self, ground: &mut Ground, server: usize, now: Now) {
        while let Some(report) = self.reports.disk.get_mut().pop_front() {
            match report {
                Report::Disk(zab::Disk::Synced(zxid)) if self.ports.is_none() => {
                    if zxid > self.core.last_synced() {
                        self.core.synced(zxid);
                    }
                }
                Report::Disk(disk) => self.core.disk(now, disk),
                Report::Rebuilt(Rebuilt { tree, disk }) => {
                    let zxid = tree.last_zxid();
                    ground.note(format_args!("server {server} rebuilt: {disk:?}, at {zxid}"));
                    ground.history.rebuilt(server, zxid);
                    self.core.rebuilt(&mut self.shared, now, *tree, disk);
                }
            }
        }
    }

    /// What was just applied goes to every Front: at once on this thread, by mail to the others.
    pub(super) fn deliver(&mut self, now: Now, dice: &mut Dice) {
        let Running { core, shared, io, committed, mistake, .. } = self;
        let mut link = LocalLink { core, shared };
        io[0].front.committed(shared, now, committed, &mut link);
        let whose = committed.outcome.map(|outcome| usize::from(outcome.front.0));
        if committed.changes.is_empty() && whose.is_none_or(|front| front == 0) {
            return;
        }
        let shared = Arc::new(std::mem::take(committed));
        for (index, thread) in io.iter_mut().enumerate().skip(1) {
            let lost = *mistake == Some(Mistake::DropsMail) && dice.one_in(8);
            if !lost || whose == Some(index) {
                thread.mail.push_back(Mail::Committed(Arc::clone(&shared)));
            }
        }
    }

    /// Takes a thread's mail, as `IoThread::drain_mail` does.
    pub(super) fn take_mail(&mut self, now: Now, index: usize) {
        let Running { shared, io, to_core, mistake, .. } = self;
        let mut link = RemoteLink { to_core };
        let thread = &mut io[index];
        let mut late = Vec::new();
        thread.front.catch_up();
        for mail in std::mem::take(&mut thread.mail) {
            match mail {
                Mail::Committed(committed) if *mistake == Some(Mistake::EventsAfterReplies) => {
                    let Committed { outcome, body, zxid, .. } = &*committed;
                    let (outcome, body, zxid) = (*outcome, body.clone(), *zxid);
                    let first = Committed { outcome, body, zxid, ..Committed::default() };
                    thread.front.committed(shared, now, &first, &mut link);
                    let changes = committed.changes.clone();
                    late.push(Committed { changes, zxid, ..Committed::default() });
                }
                Mail::Committed(committed) => {
                    thread.front.committed(shared, now, &committed, &mut link);
                }
                Mail::Told(message) => thread.front.told(shared, now, message, &mut link),
            }
        }
        for committed in late {
            thread.front.committed(shared, now, &committed, &mut link);
        }
        thread.front.caught_up(shared, now, &mut link);
    }

    /// Hands a Front what was read for one of its connections; `in_pieces` as a kernel might. True
    /// if it took any of it.
    pub(super) fn feed(&mut self, now: Now, index: usize, conn: ConnId, in_pieces: bool) -> bool {
        if index > 0 && self.mistake != Some(Mistake::ReadsBeforeMail) {
            self.take_mail(now, index);
        }
        let Running { core, shared, io, to_core, .. } = self;
        let Io { front, sockets, .. } = &mut io[index];
        let Some(Socket { inbox, .. }) = sockets.get_mut(&conn) else { return false };
        let came = inbox.len();
        let upto = if in_pieces { inbox.len().div_ceil(2) } else { inbox.len() };
        for end in [upto, inbox.len()] {
            let end = end.min(inbox.len());
            let used = match index {
                0 => {
                    let mut link = LocalLink { core, shared };
                    front.receive(shared, now, conn, &inbox[..end], &mut link)
                }
                _ => front.receive(shared, now, conn, &inbox[..end], &mut RemoteLink { to_core }),
            };
            inbox.drain(..used);
        }
        inbox.len() < came
    }

    /// The turn of a thread without the core.
    pub(super) fn remote_turn(&mut self, ground: &mut Ground, now: Now, index: usize) {
        self.take_mail(now, index);
        self.work(now, index);
        self.io[index].front.sweep();
        self.flush(ground, now, index);
    }

    /// A step of the answers that take long.
    pub(super) fn work(&mut self, now: Now, index: usize) {
        if !self.io[index].front.has_work() {
            return;
        }
        let Running { core, shared, io, to_core, .. } = self;
        let front = &mut io[index].front;
        match index {
            0 => front.work(shared, now, &mut LocalLink { core, shared }),
            _ => front.work(shared, now, &mut RemoteLink { to_core }),
        };
    }

    /// Sends what a thread's connections have to say, reads on where it may, closes what is over.
    pub(super) fn flush(&mut self, ground: &mut Ground, now: Now, index: usize) {
        let mut dirty = Vec::new();
        self.io[index].front.drain_dirty(&mut dirty);
        while let Some(conn) = dirty.pop() {
            let Io { front, sockets, .. } = &mut self.io[index];
            let Some(socket) = sockets.get(&conn) else { continue };
            let wire = socket.wire;
            let held_back = !socket.inbox.is_empty();
            let state = front.state(conn);
            if !state.close_now {
                let bytes = front.output(conn);
                if !bytes.is_empty() {
                    ground.net.send(&mut ground.agenda, wire, End::Listener, bytes);
                    let count = bytes.len();
                    front.sent(conn, count);
                }
            }
            if state.close_now || state.close_after_output {
                self.drop_conn(ground, now, index, conn);
            } else if state.wants_input && held_back && self.feed(now, index, conn, false) {
                ground.history.contact(ground.agenda.now(), wire);
            }
            self.io[index].front.drain_dirty(&mut dirty);
        }
    }

    /// A connection is over, whoever ended it.
    pub(super) fn drop_conn(&mut self, ground: &mut Ground, now: Now, index: usize, conn: ConnId) {
        let Running { core, shared, io, to_core, .. } = self;
        let Io { front, sockets, conns, .. } = &mut io[index];
        let Some(Socket { wire, .. }) = sockets.remove(&conn) else { return };
        conns.remove(&wire);
        match index {
            0 => front.closed(now, conn, &mut LocalLink { core, shared }),
            _ => front.closed(now, conn, &mut RemoteLink { to_core }),
        }
        ground.net.close(&mut ground.agenda, wire, End::Listener);
    }

    pub(super) fn snapshot_turn(&mut self) {
        if let Some(command) = self.to_snapshots.pop_front() {
            self.snapshots.carry_out(command, &self.reports);
        }
    }
}
