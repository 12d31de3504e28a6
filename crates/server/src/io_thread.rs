//! One I/O thread: a single-threaded runtime, its connections, a Front, and on the first thread the
//! core.
//!
//! Connections are tasks that read, hand the bytes to the Front and send what it has for them. What
//! they cause elsewhere is collected and carried out in *turns*: the turn's task is woken by the
//! first connection that needs it and runs behind all others that are ready, so one turn serves
//! them all; group commit falls out of that. Nothing here waits while holding the lock on the tree.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::task::Waker;
use std::thread;
use std::time::Duration;

use oxkeeper_node::limits::APPLY_BATCH;
use oxkeeper_node::{
    AdminRequest, Batch, Committed, ConnId, Core, CoreLink, Effect, Front, FrontId, Now, Shared,
    ToCore,
};
use oxkeeper_storage::LogError;
use oxkeeper_zab::State as ServerState;
use tokio::net::TcpStream;

use crate::admin::{AdminContext, Deliveries};
use crate::clock::Clock;
use crate::connection::{self, Scratch};
use crate::ensemble::{Member, Unfit};
use crate::fan_out::{self, FanOut, Sent};
use crate::log_thread::{LogCommand, LogThread};
use crate::mailbox::{FrontMail, HistoryReport, LogReport, Mailbox};
use crate::snapshot_thread::{SnapshotCommand, SnapshotThread};
use crate::tree_lock::TreeLock;

/// A batch is alone if no more than this was taken since the one before: what a client reads and
/// writes in turns.
const TAKEN_ALONE_MAX: usize = 4;

/// The core and the threads that write for it.
#[derive(Debug)]
pub struct CorePart {
    /// The core.
    pub core: Core,
    /// Writes the log.
    pub log: LogThread,
    /// Writes snapshots.
    pub snapshots: SnapshotThread,
    /// The other servers; none standalone.
    pub member: Option<Member>,
}

impl CorePart {
    /// Whether this server leads others.
    fn leads(&self) -> bool {
        self.member.is_some() && self.core.state() == Some(ServerState::Leading)
    }

    /// Gives the log a batch. One that is alone is nobody's hurry: see [`LogThread::hold`] and
    /// [`LogThread::put_off`].
    fn log(&self, now: Now, batch: Batch, alone: bool) {
        match self.core.peer() {
            _ if !alone => self.log.send(LogCommand::Append(batch)),
            // The only client there is waits for this write, and nobody else for anything.
            None if self.core.sessions().len() <= 1 => self.log.hold(batch),
            None => self.log.send(LogCommand::Append(batch)),
            Some(peer) if peer.leading().is_none() => self.log.hold(batch),
            Some(peer) if peer.others_suffice() => {
                self.log.put_off(now.mono_us, peer.cursors().committed, batch);
            }
            Some(_) => self.log.send(LogCommand::Append(batch)),
        }
    }

    /// Hands over what a leader's log has put off, if it is due; when that will be. A leader no
    /// more, or one who needs its own vote, puts nothing off.
    fn log_due_us(&self, clock: &Clock) -> Option<u64> {
        let peer = self.core.peer().filter(|_| self.log.puts_off())?;
        let (committed, others_suffice) = (peer.cursors().committed, peer.others_suffice());
        self.log.hand_over_due(clock.now().mono_us, committed, others_suffice)
    }
}

/// A thread's own state.
#[derive(Debug)]
pub struct State {
    /// The connections.
    pub front: Front,
    /// On the first thread only.
    pub core: Option<CorePart>,
    /// Whom to wake and where to send, by the connections' slots.
    tasks: Vec<Task>,
    fan_out: FanOut,
    dirty: Vec<ConnId>,
    committed: Committed,
}

/// What a thread knows of a connection's task.
#[derive(Debug, Default)]
struct Task {
    waker: Option<Waker>,
    /// Its socket, if bytes may be sent on it past the task.
    socket: Option<Arc<TcpStream>>,
}

/// See the module's essay.
#[derive(Debug)]
pub struct IoThread {
    /// Which of the server's threads.
    pub id: FrontId,
    /// The time.
    pub clock: Clock,
    /// The tree.
    pub shared: Arc<TreeLock>,
    /// Every thread's mailbox; the first is the core's.
    pub mailboxes: Arc<[Arc<Mailbox>]>,
    /// What the four-letter words report besides.
    pub admin: Arc<AdminContext>,
    /// Answers to four-letter words that are being read.
    pub admin_deliveries: Deliveries,
    scratch: Scratch,
    state: RefCell<State>,
    turn_wanted: Cell<bool>,
    /// What was taken of connections and other threads since the last batch for the log.
    taken: Cell<usize>,
    stopping: Cell<Stopping>,
    /// This thread's clients have been answered, and the core's thread was told.
    told_still: Cell<bool>,
    /// On the core's thread: how many others have told so.
    others_still: Cell<usize>,
    /// On the core's thread: clients that do not take their answers are waited for no longer.
    waited: Cell<bool>,
    /// On the core's thread: it was told to lead no more.
    retired: Cell<bool>,
}

/// How far the end of a server has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stopping {
    /// Nobody has asked for it.
    #[default]
    No,
    /// A leader's clients: nothing more is read, what was taken is answered, and they stay until
    /// the lead is given up. Sent away earlier they would go to servers that lose their leader
    /// next, and connect twice.
    Still,
    /// Nothing more is read, and whoever is answered is sent away.
    Closing,
}

/// How long a leader that stops waits for clients to take their answers before it gives up leading.
const STILL_MAX: Duration = Duration::from_millis(500);

/// Why a thread's turns ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to stop and everything is answered.
    Stopped,
    /// The log cannot be written any more.
    LogFailed(LogError),
    /// The agreement with the other servers cannot go on.
    Fatal(Unfit),
}

impl IoThread {
    /// A thread's state, before its runtime starts.
    pub fn new(
        clock: Clock,
        shared: Arc<TreeLock>,
        mailboxes: Arc<[Arc<Mailbox>]>,
        admin: Arc<AdminContext>,
        front: Front,
        core: Option<CorePart>,
        fan_out: FanOut,
    ) -> Rc<IoThread> {
        Rc::new(IoThread {
            id: front.id(),
            clock,
            shared,
            mailboxes,
            admin,
            admin_deliveries: Deliveries::default(),
            state: RefCell::new(State {
                front,
                core,
                tasks: Vec::new(),
                fan_out,
                dirty: Vec::new(),
                committed: Committed::default(),
            }),
            scratch: connection::scratch(),
            turn_wanted: Cell::new(false),
            taken: Cell::new(0),
            stopping: Cell::default(),
            told_still: Cell::new(false),
            others_still: Cell::new(0),
            waited: Cell::new(false),
            retired: Cell::new(false),
        })
    }

    /// The buffer that this thread's connections read into.
    pub fn scratch(&self) -> Scratch {
        Rc::clone(&self.scratch)
    }

    /// This thread's mailbox.
    pub fn mailbox(&self) -> &Mailbox {
        &self.mailboxes[usize::from(self.id.0)]
    }

    /// Whether this server is to end, and how far that has come.
    pub fn stopping(&self) -> Stopping {
        self.stopping.get()
    }

    /// Begins the end of this server: everything taken is answered, a leader gives up leading, and
    /// clients are sent away. For the core's thread.
    pub fn retire(self: &Rc<Self>) {
        let leads = self.with(|state| state.core.as_ref().is_some_and(CorePart::leads));
        if !leads {
            return self.stop_all(Stopping::Closing);
        }
        self.stop_all(Stopping::Still);
        let thread = Rc::clone(self);
        tokio::task::spawn_local(async move {
            tokio::time::sleep(STILL_MAX).await;
            thread.waited.set(true);
            thread.want_turn();
        });
    }

    fn stop_all(&self, stopping: Stopping) {
        for (at, mailbox) in self.mailboxes.iter().enumerate() {
            if at != usize::from(self.id.0) {
                mailbox.put_work(Box::new(move |thread| thread.stop(stopping)));
            }
        }
        self.stop(stopping);
    }

    /// Stops reading from all connections; what was taken is still answered.
    fn stop(&self, stopping: Stopping) {
        self.stopping.set(stopping);
        self.state.borrow().tasks.iter().for_each(Task::wake);
        self.want_turn();
    }

    /// Runs `f` with the thread's state.
    pub fn with<R>(&self, f: impl FnOnce(&mut State) -> R) -> R {
        f(&mut self.state.borrow_mut())
    }

    /// Lets a task of the core's thread say something to the core, at one moment. A turn is the
    /// caller's to ask for.
    pub fn with_core(&self, f: impl FnOnce(&mut CorePart, &Shared, Now)) {
        let now = self.clock.now();
        let shared = self.shared.read();
        if let Some(part) = &mut self.state.borrow_mut().core {
            f(part, &shared, now);
        }
    }

    /// Lets a connection hand bytes to the Front; returns how many were used.
    pub fn receive(&self, id: ConnId, bytes: &[u8]) -> usize {
        let now = self.clock.now();
        self.taken.set(self.taken.get() + 1);
        let mut state = self.state.borrow_mut();
        let used = self.shared.read_in_slices(bytes, |shared, slice, fresh| {
            let State { front, core, .. } = &mut *state;
            match core {
                Some(part) => {
                    let mut link = LocalLink { core: &mut part.core, shared };
                    front.receive(shared, now, id, slice, &mut link)
                }
                None => {
                    let mut link = RemoteLink { mailbox: &self.mailboxes[0] };
                    if fresh {
                        take_mail(self.mailbox(), front, shared, now, &mut link);
                    }
                    front.receive(shared, now, id, slice, &mut link)
                }
            }
        });
        let State { front, core, .. } = &mut *state;
        // The caller sends what this connection now has to say; a turn is for everything else.
        front.attended(id);
        let busy = core.as_ref().is_some_and(|part| part.core.has_work());
        if busy || front.has_dirty() || front.has_admin() || front.has_work() {
            self.want_turn();
        }
        used
    }

    /// Notes that a connection's socket is gone.
    pub fn connection_closed(&self, id: ConnId) {
        let now = self.clock.now();
        let shared = self.shared.read();
        let mut state = self.state.borrow_mut();
        let State { front, core, tasks, .. } = &mut *state;
        if let Some(task) = tasks.get_mut(id.slot as usize) {
            *task = Task::default();
        }
        match core {
            Some(part) => {
                let mut link = LocalLink { core: &mut part.core, shared: &shared };
                front.closed(now, id, &mut link);
            }
            None => front.closed(now, id, &mut RemoteLink { mailbox: &self.mailboxes[0] }),
        }
        drop(state);
        self.admin_deliveries.connection_closed(id);
        self.want_turn();
    }

    /// Has a turn taken for what was done to a connection outside of one.
    pub fn attend(&self) {
        self.want_turn();
    }

    /// Remembers whom to wake when a connection has something to do.
    pub fn register_waker(&self, id: ConnId, waker: &Waker) {
        let mut state = self.state.borrow_mut();
        match &mut state.task(id).waker {
            Some(known) if known.will_wake(waker) => {}
            entry => *entry = Some(waker.clone()),
        }
    }

    /// Remembers where a connection's events may be sent past its task.
    pub fn register_socket(&self, id: ConnId, socket: &Arc<TcpStream>) {
        self.state.borrow_mut().task(id).socket = Some(Arc::clone(socket));
    }

    fn want_turn(&self) {
        if !self.turn_wanted.replace(true) {
            self.mailbox().wake();
        }
    }

    /// Takes turns until the server stops.
    pub async fn run(self: &Rc<Self>) -> Ended {
        loop {
            if let Some(ended) = self.turn() {
                return ended;
            }
            let deadline = self.deadline_us();
            if self.turn_wanted.get() {
                // There is more to do, but not before everybody else had a turn: a snapshot is
                // walked in thousands of steps, and clients are served between any two of them.
                tokio::task::yield_now().await;
                continue;
            }
            let arrived = self.mailbox().arrived();
            match deadline {
                Some(at_us) => {
                    let _ = tokio::time::timeout(self.clock.until(at_us), arrived).await;
                }
                None => arrived.await,
            }
        }
    }

    /// When the next turn is due, whatever arrives.
    fn deadline_us(&self) -> Option<u64> {
        let due = |part: &CorePart| {
            let log = part.log_due_us(&self.clock);
            [part.core.deadline_us(), log].into_iter().flatten().min()
        };
        self.with(|state| state.core.as_ref().and_then(due))
    }

    fn turn(self: &Rc<Self>) -> Option<Ended> {
        self.turn_wanted.set(false);
        for work in self.mailbox().take_work() {
            work(self);
        }
        if self.send_events() {
            self.want_turn();
        }
        let now = self.clock.now();
        let more = if self.with(|state| state.core.is_some()) {
            match self.core_turn(now) {
                Ok(more) => more,
                Err(ended) => return Some(ended),
            }
        } else {
            self.remote_turn(now);
            false
        };
        let more = self.work(now) || more;
        let woken = self.wake_connections();
        let more = match self.write_alone(woken) {
            Ok(at_once) => at_once || more,
            Err(ended) => return Some(ended),
        };
        crate::admin::answer(self);
        let unswept = self.with(|state| state.front.sweep());
        if more || unswept {
            self.want_turn();
        }
        match self.stopping() {
            Stopping::No => None,
            Stopping::Still => {
                self.give_up_lead(now);
                None
            }
            Stopping::Closing => self.is_done(now).then_some(Ended::Stopped),
        }
    }

    /// While clients stay: once all are answered, a leader gives up leading, and with its role its
    /// clients go.
    fn give_up_lead(&self, now: Now) {
        let mut state = self.state.borrow_mut();
        let still = state.front.is_still();
        let Some(part) = &mut state.core else {
            if still && !self.told_still.replace(true) {
                let count = |thread: &Rc<IoThread>| {
                    thread.others_still.set(thread.others_still.get() + 1);
                    thread.want_turn();
                };
                self.mailboxes[0].put_work(Box::new(count));
            }
            return;
        };
        if !part.leads() {
            drop(state);
            return self.stop_all(Stopping::Closing);
        }
        let all_still = still && self.others_still.get() + 1 == self.mailboxes.len();
        if all_still || self.waited.get() {
            self.lead_no_more(part, now);
        }
    }

    /// Whether everything that was taken is answered, and nobody needs this server any more.
    fn is_done(&self, now: Now) -> bool {
        let mut state = self.state.borrow_mut();
        if state.front.connections() > 0 {
            return false;
        }
        let Some(part) = &mut state.core else { return true };
        if part.member.is_none() {
            return part.core.outstanding() == 0;
        }
        // Elected while its clients went.
        if part.leads() {
            self.lead_no_more(part, now);
            return false;
        }
        true
    }

    fn lead_no_more(&self, part: &mut CorePart, now: Now) {
        if !self.retired.replace(true) {
            part.core.retire(now);
        }
        if part.core.has_work() || !part.leads() {
            self.want_turn();
        }
    }

    /// The turn of the thread that has the core. True if more is to be done at once.
    fn core_turn(&self, now: Now) -> Result<bool, Ended> {
        let mailbox = self.mailbox();
        if let Some(error) = mailbox.take_failure() {
            return Err(Ended::LogFailed(error));
        }
        let mut state = self.state.borrow_mut();
        let State { front, core, committed, .. } = &mut *state;
        let Some(part) = core else { return Ok(false) };
        for _ in 0..mailbox.take_chunks_written() {
            part.core.snapshot_written();
        }
        if mailbox.take_snapshot_over() {
            part.core.snapshot_done();
            if let Some(member) = &mut part.member {
                member.snapshot_over();
            }
        }
        self.take_reports(part, now);
        {
            let shared = self.shared.read();
            for (from, message) in mailbox.take_to_core() {
                self.taken.set(self.taken.get() + 1);
                part.core.submit(&shared, now, from, message.borrow());
            }
            part.core.wake(&shared, now);
            part.core.end_turn(now);
        }
        self.run_effects(front, part, now)?;
        let synced = mailbox.synced();
        if part.member.is_none() && synced > part.core.last_synced() {
            part.core.synced(synced);
        }
        if part.core.can_apply() || part.core.snapshot_wants_step() {
            let mut shared = self.shared.write();
            for _ in 0..APPLY_BATCH {
                if !part.core.apply_next(&mut shared, now, committed) {
                    break;
                }
                let mut link = LocalLink { core: &mut part.core, shared: &shared };
                front.committed(&shared, now, committed, &mut link);
                self.send_to_others(committed);
            }
            part.core.snapshot_step(&mut shared);
            part.core.end_turn(now);
            drop(shared);
            self.wake_others();
        }
        self.run_effects(front, part, now)?;
        if let Some(member) = &part.member {
            member.quorum.flush();
        }
        Ok(part.core.can_apply() || part.core.snapshot_wants_step())
    }

    /// Writes a batch that is alone to the log, unless somebody waits for an answer that is ready,
    /// and does what follows from it. Everything that had to leave before is on its way. True if
    /// more is to be done at once.
    fn write_alone(&self, others_wait: bool) -> Result<bool, Ended> {
        let write = |state: &mut State| match &state.core {
            Some(part) if part.log.holds() => {
                part.log.write_held(!others_wait && !part.core.can_apply())
            }
            _ => false,
        };
        if !self.with(write) {
            return Ok(false);
        }
        let more = self.core_turn(self.clock.now())?;
        self.wake_connections();
        self.with(|state| state.core.as_ref().is_some_and(|part| part.log.write_held(false)));
        Ok(more)
    }

    /// What the threads of a member have done.
    fn take_reports(&self, part: &mut CorePart, now: Now) {
        if part.member.is_none() {
            return;
        }
        let mailbox = self.mailbox();
        for report in mailbox.take_log_reports() {
            match report {
                LogReport::Disk(disk) => part.core.disk(now, disk),
                LogReport::Rebuilt(rebuilt) => {
                    let mut shared = self.shared.write();
                    let before = part.core.rebuilt(&mut shared, now, *rebuilt.tree, rebuilt.disk);
                    drop(shared);
                    // A million znodes take a fifth of a second to go. Without a thread they go
                    // here.
                    let _ = thread::Builder::new().name("old-tree".into()).spawn(|| drop(before));
                }
            }
        }
        for report in mailbox.take_history_reports() {
            match report {
                HistoryReport::Input(input) => part.core.peer_input(now, input),
                HistoryReport::SnapshotTooOld { link, at_least } => {
                    part.core.request_snapshot_for_learner();
                    if let Some(member) = &mut part.member {
                        member.await_snapshot(link, at_least);
                    }
                }
            }
        }
    }

    /// Carries out what the core wants done, in its order.
    fn run_effects(&self, front: &mut Front, part: &mut CorePart, now: Now) -> Result<(), Ended> {
        while let Some(effect) = part.core.poll_effect() {
            match effect {
                Effect::Append(batch) => {
                    let alone = self.taken.replace(0) <= TAKEN_ALONE_MAX;
                    part.log(now, batch, alone);
                }
                Effect::RollLog => part.log.send(LogCommand::Roll),
                Effect::SnapshotBegin(head) => part.snapshots.send(SnapshotCommand::Begin(head)),
                Effect::SnapshotChunk(chunk) => part.snapshots.send(SnapshotCommand::Chunk(chunk)),
                Effect::SnapshotEnd => part.snapshots.send(SnapshotCommand::End),
                Effect::SnapshotAbandon => part.snapshots.send(SnapshotCommand::Abandon),
                Effect::Peer(effect) => {
                    let CorePart { core, log, member, .. } = &mut *part;
                    if let Some(member) = member {
                        member.carry_out(core, log, effect).map_err(Ended::Fatal)?;
                    }
                }
                Effect::Tell(to, message) if to == front.id() => {
                    let shared = self.shared.read();
                    let mut link = LocalLink { core: &mut part.core, shared: &shared };
                    front.told(&shared, now, message, &mut link);
                    part.core.end_turn(now);
                }
                Effect::Tell(to, message) => {
                    let mailbox = &self.mailboxes[usize::from(to.0)];
                    mailbox.put_to_front(FrontMail::Told(message));
                    mailbox.wake();
                }
            }
        }
        Ok(())
    }

    fn send_to_others(&self, committed: &mut Committed) {
        if self.mailboxes.len() == 1 {
            return;
        }
        let theirs = committed.outcome.is_some_and(|outcome| outcome.front != self.id);
        if committed.changes.is_empty() && !theirs {
            return;
        }
        let shared = Arc::new(std::mem::take(committed));
        for (index, mailbox) in self.mailboxes.iter().enumerate() {
            if index != usize::from(self.id.0) {
                mailbox.put_to_front(FrontMail::Committed(Arc::clone(&shared)));
            }
        }
    }

    fn wake_others(&self) {
        for (index, mailbox) in self.mailboxes.iter().enumerate() {
            if index != usize::from(self.id.0) {
                mailbox.wake();
            }
        }
    }

    /// The turn of a thread without the core: what was committed elsewhere reaches its Front.
    fn remote_turn(&self, now: Now) {
        let shared = self.shared.read();
        self.drain_mail(&shared, now);
    }

    /// Brings the Front what the core's thread sent. Whoever reads the tree does this first, under
    /// the same lock: an event thus precedes any reply that could show its change.
    fn drain_mail(&self, shared: &Shared, now: Now) {
        let mut link = RemoteLink { mailbox: &self.mailboxes[0] };
        let front = &mut self.state.borrow_mut().front;
        take_mail(self.mailbox(), front, shared, now, &mut link);
    }

    /// A step of the answers that take long. True if there is more.
    fn work(&self, now: Now) -> bool {
        if !self.with(|state| state.front.has_work()) {
            return false;
        }
        let shared = self.shared.read();
        if self.id.0 != 0 {
            self.drain_mail(&shared, now);
        }
        let mut state = self.state.borrow_mut();
        let State { front, core, .. } = &mut *state;
        match core {
            Some(part) => {
                let mut link = LocalLink { core: &mut part.core, shared: &shared };
                front.work(&shared, now, &mut link)
            }
            None => front.work(&shared, now, &mut RemoteLink { mailbox: &self.mailboxes[0] }),
        }
    }

    /// True if any was woken.
    fn wake_connections(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let State { front, dirty, tasks, fan_out, .. } = &mut *state;
        front.drain_dirty(dirty);
        let any = !dirty.is_empty();
        let many = dirty.len() >= fan_out::MANY && self.stopping() == Stopping::No;
        let mut taken = false;
        for id in dirty.drain(..) {
            let Some(task) = tasks.get(id.slot as usize) else { continue };
            match &task.socket {
                Some(socket) if many && fan_out.take(front, id, socket) => taken = true,
                _ => task.wake(),
            }
        }
        if taken {
            fan_out.begin();
            self.want_turn();
        }
        any
    }

    /// Sends some of the events that go past the connections' tasks. True if there are more.
    fn send_events(&self) -> bool {
        let mut state = self.state.borrow_mut();
        let State { front, fan_out, .. } = &mut *state;
        let more = fan_out.step(front);
        if more.is_some() {
            self.let_them_end(&state);
        }
        more == Some(true)
    }

    /// Takes back what the helper has sent.
    pub fn events_sent(&self, sent: Sent) {
        let mut state = self.state.borrow_mut();
        sent.settle(&mut state.front);
        self.let_them_end(&state);
    }

    /// While the server ends, connections wait until their events are sent.
    fn let_them_end(&self, state: &State) {
        if self.stopping() != Stopping::No {
            state.tasks.iter().for_each(Task::wake);
        }
    }

    /// Four-letter words that wait for their answer.
    pub fn take_admin(&self) -> Vec<AdminRequest> {
        self.with(|state| state.front.drain_admin())
    }
}

impl State {
    fn task(&mut self, id: ConnId) -> &mut Task {
        let slot = id.slot as usize;
        if self.tasks.len() <= slot {
            self.tasks.resize_with(slot + 1, Task::default);
        }
        &mut self.tasks[slot]
    }
}

impl Task {
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }
}

fn take_mail(
    mailbox: &Mailbox,
    front: &mut Front,
    shared: &Shared,
    now: Now,
    link: &mut RemoteLink<'_>,
) {
    front.catch_up();
    for mail in mailbox.take_to_front() {
        match mail {
            FrontMail::Committed(committed) => front.committed(shared, now, &committed, link),
            FrontMail::Told(message) => front.told(shared, now, message, link),
        }
    }
    front.caught_up(shared, now, link);
}

/// The core on the same thread: a call.
struct LocalLink<'a> {
    core: &'a mut Core,
    shared: &'a Shared,
}

impl CoreLink for LocalLink<'_> {
    fn submit(&mut self, now: Now, front: FrontId, message: ToCore<'_>) {
        self.core.submit(self.shared, now, front, message);
    }
}

/// The core on another thread: its mailbox.
struct RemoteLink<'a> {
    mailbox: &'a Mailbox,
}

impl CoreLink for RemoteLink<'_> {
    fn submit(&mut self, _now: Now, front: FrontId, message: ToCore<'_>) {
        self.mailbox.put_to_core(front, message.to_owned());
    }
}
