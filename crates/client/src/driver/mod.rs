//! The host of one client: a task that carries bytes, and a lock around the value.
//!
//! Whoever makes a request puts it into [`core::Client`](crate::core::Client) himself, under the
//! lock, and the order in which requests leave is the order in which they got it. The task is woken
//! for the first request of a batch only: what is submitted until it runs leaves in one write. It
//! alone reads, writes, dials and keeps the time, and hands outcomes and events, in the order in
//! which the server sent them, to those who wait.
//!
//! Who fetches many outcomes at a stretch, and asks anew with each, could keep the task from
//! running until a whole window of requests has gathered, and the server idle. So when a fair part
//! of the window waits to be sent, the next who fetches an outcome lets others run first, once.
//! Transactions are parted less: a server syncs at once what has come at once.
//!
//! ```text
//! futures ── submit ──► Mutex<core::Client, slots, watches> ◄── bytes, time ── task ── socket
//!     ▲                        │ outcomes, events, states                        ▲
//!     └────── woken ───────────┘                                  dials, probes ─┘
//! ```
//!
//! The lock is held for the handling of one buffer at most and never across an await. None of a
//! user's code runs under it: wakers are called behind it, connectors too.

mod dial;
mod slots;
mod states;
mod task;
mod watchers;

use std::hash::{BuildHasher, RandomState};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use oxkeeper_proto::Request;
use oxkeeper_proto::request::PathKind;
use tokio::time::Instant;

pub use dial::{
    Connecting, Connector, ResolvedTcp, Resolver, Resolving, Stream, SystemResolver, Tcp,
};
pub(crate) use slots::SlotId;

use crate::core::{
    Call, Client, Config, Credentials, Effect, Input, Outcome, Refused, WatchKind, Watcher,
};
use crate::error::is_read;
use crate::state::State;
use crate::watch::WatchItem;
use slots::Slots;
use states::States;
use watchers::Watchers;

/// One session, shared by its handles, futures and streams, and by the task.
pub(crate) struct Shared {
    start: Instant,
    inner: Mutex<Inner>,
}

struct Inner {
    client: Client,
    /// The clock when it was last looked at.
    now_us: u64,
    slots: Slots,
    watchers: Watchers,
    states: States,
    /// How to wake the task, if it is not awake.
    task: Option<Waker>,
    /// The task is gone, and with it everybody who could send.
    dead: bool,
    /// Why the last dial failed.
    dial_error: Option<String>,
    /// Somebody has let the task run for the sake of what has gathered.
    yielded: bool,
    /// There are transactions in what has gathered.
    writing: bool,
}

/// So many writes make a window of requests: while the server works on one part of it, the answers
/// to another are fetched.
const PARTS: usize = 4;

/// A part of fewer than this is not worth a write of its own.
const READS_MIN: usize = 16;

/// The same where transactions are among them: a server syncs at once what has come at once.
const WRITES_MIN: usize = 128;

impl Shared {
    /// Sets a session going on the current runtime.
    pub(crate) fn start(
        config: Config,
        auth: &[(String, Vec<u8>)],
        connector: Arc<dyn Connector>,
    ) -> Result<Arc<Shared>, Refused> {
        let seed = RandomState::new().hash_one(0);
        let mut client = Client::new(config, seed);
        for (scheme, proof) in auth {
            client.add_auth(0, scheme, proof)?;
        }
        let inner = Inner {
            client,
            now_us: 0,
            slots: Slots::default(),
            watchers: Watchers::default(),
            states: States::new(),
            task: None,
            dead: false,
            dial_error: None,
            yielded: false,
            writing: false,
        };
        let shared = Arc::new(Shared { start: Instant::now(), inner: Mutex::new(inner) });
        tokio::spawn(task::Task::new(Arc::clone(&shared), connector));
        Ok(shared)
    }

    fn now_us(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    fn at(&self, us: u64) -> Instant {
        // A moment that no clock reaches stands for one that is far away.
        let far = Duration::from_secs(1 << 31);
        self.start + Duration::from_micros(us).min(far)
    }

    /// Nothing of a user's runs under the lock, so it is poisoned by nobody.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Submits a request and returns where its outcome will be.
    pub(crate) fn submit(
        &self,
        mut call: Call<'_>,
        watch: Option<&mut Registration>,
    ) -> Result<SlotId, Refused> {
        let mut inner = self.lock();
        if inner.dead {
            return Err(Refused::Over);
        }
        // To look at the clock costs as much as all else here. Until the task has run, the time of
        // the request that woke it will do: an earlier time is the safe one.
        if inner.task.is_some() {
            inner.now_us = self.now_us();
        }
        let (now_us, read) = (inner.now_us, is_read(call.request.op()));
        let mut watcher = None;
        if let Some(watch) = watch {
            let new = inner.watchers.insert(watch.max);
            (watch.watcher, watcher, call.watcher) = (new, Some(new), Some(new));
        }
        let ticket = match inner.client.submit(now_us, call) {
            Ok(ticket) => ticket,
            Err(refused) => {
                if let Some(watcher) = watcher {
                    inner.watchers.remove(watcher);
                }
                return Err(refused);
            }
        };
        inner.writing |= !read;
        let slot = inner.slots.insert(ticket, watcher, true);
        wake_task(inner);
        Ok(slot)
    }

    /// Adds an identity.
    pub(crate) fn add_auth(&self, scheme: &str, proof: &[u8]) -> Result<SlotId, Refused> {
        let now_us = self.now_us();
        let mut inner = self.lock();
        if inner.dead {
            return Err(Refused::Over);
        }
        let ticket = inner.client.add_auth(now_us, scheme, proof)?;
        let slot = inner.slots.insert(ticket, None, true);
        wake_task(inner);
        Ok(slot)
    }

    /// Reads the outcome where it lies, under the lock: `read` drops nothing that asks for it.
    pub(crate) fn poll_outcome<T>(
        &self,
        slot: SlotId,
        cx: &mut Context<'_>,
        read: impl FnOnce(&mut Outcome) -> T,
    ) -> Poll<T> {
        let mut inner = self.lock();
        if inner.has_gathered() {
            drop(inner);
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        inner.slots.poll(slot, cx, read)
    }

    /// Nobody waits any more: what was not sent will not be.
    pub(crate) fn abandon(&self, slot: SlotId) {
        let mut inner = self.lock();
        if let Some(ticket) = inner.slots.abandon(slot)
            && inner.client.cancel(ticket)
        {
            wake_task(inner);
        }
    }

    pub(crate) fn poll_watch(
        &self,
        watcher: Watcher,
        cx: &mut Context<'_>,
    ) -> Poll<Option<WatchItem>> {
        self.lock().watchers.poll(watcher, cx)
    }

    /// The holder of a watch is gone. The server's persistent watch is removed in the background,
    /// because it would go on telling; one that fires once is only forgotten.
    pub(crate) fn forget(&self, watcher: Watcher, persistent: Option<(&str, WatchKind)>) {
        let now_us = self.now_us();
        let mut inner = self.lock();
        if !inner.watchers.remove(watcher) {
            return;
        }
        let Some((path, kind)) = persistent else { return inner.client.forget(watcher) };
        let kind = if kind == WatchKind::Recursive { 5 } else { 4 };
        let request = Request::RemoveWatches(PathKind { path: path.into(), kind });
        match inner.client.submit(now_us, Call::watched(request, watcher)) {
            Ok(ticket) => {
                inner.slots.insert(ticket, Some(watcher), false);
                wake_task(inner);
            }
            Err(_) => inner.client.forget(watcher),
        }
    }

    /// Removes watches here alone.
    pub(crate) fn forget_at(&self, path: &str, kind: i32) -> Result<usize, Refused> {
        let mut inner = self.lock();
        let gone = inner.client.forget_at(path, kind);
        wake_task(inner);
        gone
    }

    pub(crate) fn state(&self) -> State {
        self.lock().states.current()
    }

    pub(crate) fn follow_states(&self) -> u64 {
        self.lock().states.follow()
    }

    pub(crate) fn leave_states(&self, follower: u64) {
        self.lock().states.leave(follower);
    }

    pub(crate) fn poll_state(&self, follower: u64, cx: &mut Context<'_>) -> Poll<Option<State>> {
        self.lock().states.poll(follower, cx)
    }

    pub(crate) fn credentials(&self) -> Option<Credentials> {
        self.lock().client.credentials()
    }

    pub(crate) fn last_zxid(&self) -> oxkeeper_proto::Zxid {
        self.lock().client.last_zxid()
    }

    /// Why the last dial failed.
    pub(crate) fn dial_error(&self) -> Option<String> {
        self.lock().dial_error.clone()
    }

    pub(crate) fn set_hosts(&self, hosts: &crate::core::ConnectString) {
        let now_us = self.now_us();
        let mut inner = self.lock();
        inner.client.set_hosts(now_us, hosts);
        wake_task(inner);
    }

    /// Begins to end the session.
    pub(crate) fn close(&self) {
        let now_us = self.now_us();
        let mut inner = self.lock();
        inner.client.handle(now_us, Input::Close);
        wake_task(inner);
    }
}

/// A watch to be registered by a request.
#[derive(Debug)]
pub(crate) struct Registration {
    /// Events that may wait for its holder; `None` for one that fires once.
    pub(crate) max: Option<usize>,
    /// Filled in as the request is submitted.
    pub(crate) watcher: Watcher,
}

impl Registration {
    pub(crate) fn new(max: Option<usize>) -> Registration {
        Registration { max, watcher: Watcher(0) }
    }
}

/// Wakes the task, behind the lock.
fn wake_task(mut inner: MutexGuard<'_, Inner>) {
    let task = inner.task.take();
    drop(inner);
    if let Some(task) = task {
        task.wake();
    }
}

impl Inner {
    /// Whether the task should send what there is before more is asked; true once for each time
    /// that it does. It may be that nobody drives the task's runtime any more.
    fn has_gathered(&mut self) -> bool {
        let (gathered, window) = (self.client.gathered(), self.slots.used());
        let least = if self.writing { WRITES_MIN } else { READS_MIN };
        if window < least * PARTS || gathered * PARTS < window {
            self.writing &= gathered > 0;
            self.yielded = false;
            return false;
        }
        !std::mem::replace(&mut self.yielded, true)
    }

    /// Takes effects until there are none: what concerns users is done here, the rest is for the
    /// task. True if there was any.
    fn effects(&mut self, shared: &Shared, wakers: &mut Vec<Waker>, port: &mut task::Port) -> bool {
        let mut any = false;
        while let Some(effect) = self.client.poll_effect() {
            any = true;
            match effect {
                Effect::Completed(ticket, outcome) => {
                    let (waker, gone) = self.slots.complete(ticket, outcome);
                    wakers.extend(waker);
                    if let Some(watcher) = gone
                        && !self.watchers.holds(watcher)
                    {
                        self.client.forget(watcher);
                    }
                }
                Effect::Event(watcher, event) => {
                    wakers.extend(self.watchers.tell(watcher, event));
                }
                Effect::State(state) => {
                    let state = State::of(state, |us| shared.at(us));
                    tracing::debug!(?state, "session");
                    self.states.change(state, wakers);
                }
                Effect::Dial(link, host) => port.dial(link, host),
                Effect::Probe(link, host) => port.probe(link, host),
                Effect::Send(link, bytes) => port.send(link, bytes),
                Effect::Close(link, cause) => port.close(link, cause),
            }
        }
        any
    }

    /// The task ends before the session does, as when its runtime is shut down: nobody is left
    /// waiting.
    fn die(&mut self, shared: &Shared, wakers: &mut Vec<Waker>, port: &mut task::Port) {
        self.dead = true;
        let now_us = shared.now_us();
        if let Some(link) = port.link() {
            self.client.handle(now_us, Input::Disconnected(link));
        }
        for ticket in self.slots.tickets() {
            self.client.cancel(ticket);
        }
        self.effects(shared, wakers, port);
        if !self.states.current().is_over() {
            self.states.change(State::Closed { confirmed: false }, wakers);
            let over = crate::core::Loss::Session(crate::core::End::Closed);
            for watcher in self.watchers.all() {
                let lost = crate::core::WatchEvent::Lost(over);
                wakers.extend(self.watchers.tell(watcher, lost));
            }
        }
    }
}
