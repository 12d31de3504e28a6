//! The task: reads, writes, dials, and keeps the time.
//!
//! It is one hand-written future, so that a wake-up costs one pass over all that may have happened:
//! what has come is read, dials are looked after, the time is told, and what is to be sent is
//! written at once, however many requests it is. Before it sleeps it looks under the lock whether
//! anything was submitted meanwhile, and leaves its waker there: the next who submits takes it and
//! wakes it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

use super::Shared;
use super::dial::{Connecting, Connector, Probing, Stream, probe};
use crate::core::{Cause, Host, Input, LinkId};

/// What is read at once.
const READ_BYTES: usize = 64 * 1024;

/// Reads before what they brought is answered.
const READS_MAX: usize = 4;

/// Turns before others have theirs.
const TURNS_MAX: usize = 16;

/// A connection in use.
struct Up {
    link: LinkId,
    stream: Box<dyn Stream>,
    out: Vec<u8>,
    written: usize,
    /// It takes no more bytes. What it has sent before is still read.
    broken: bool,
}

/// The connections that the task has, or is making.
pub(crate) struct Port {
    connector: Arc<dyn Connector>,
    /// Begun behind the lock: a connector is its user's code.
    dialing: Option<(LinkId, Host, Option<Connecting>)>,
    up: Option<Up>,
    probing: Option<(LinkId, Host, Option<Probing>)>,
}

impl Port {
    pub(super) fn link(&self) -> Option<LinkId> {
        let dialing = self.dialing.as_ref().map(|(link, ..)| *link);
        dialing.or(self.up.as_ref().map(|up| up.link))
    }

    pub(super) fn dial(&mut self, link: LinkId, host: Host) {
        self.dialing = Some((link, host, None));
    }

    pub(super) fn probe(&mut self, link: LinkId, host: Host) {
        self.probing = Some((link, host, None));
    }

    pub(super) fn send(&mut self, link: LinkId, bytes: Vec<u8>) {
        if let Some(up) = self.up.as_mut().filter(|up| up.link == link && !up.broken) {
            if up.out.is_empty() {
                up.out = bytes;
            } else {
                up.out.extend_from_slice(&bytes);
            }
        }
    }

    pub(super) fn close(&mut self, link: LinkId, cause: Cause) {
        if self.dialing.as_ref().is_some_and(|(dialed, ..)| *dialed == link) {
            self.dialing = None;
        }
        if self.up.as_ref().is_some_and(|up| up.link == link) {
            tracing::debug!(?cause, "connection ended");
            self.up = None;
        }
    }
}

/// See the module's essay.
pub(crate) struct Task {
    shared: Arc<Shared>,
    port: Port,
    timer: Pin<Box<Sleep>>,
    /// What the timer is set to, µs.
    timer_us: u64,
    buffer: Box<[u8]>,
    wakers: Vec<Waker>,
    over: bool,
}

impl Task {
    pub(crate) fn new(shared: Arc<Shared>, connector: Arc<dyn Connector>) -> Task {
        Task {
            shared,
            port: Port { connector, dialing: None, up: None, probing: None },
            timer: Box::pin(tokio::time::sleep_until(Instant::now())),
            timer_us: 0,
            buffer: vec![0; READ_BYTES].into(),
            wakers: Vec::new(),
            over: false,
        }
    }

    /// An input, and everything that follows from it; true if anything did.
    fn input(&mut self, input: Option<Input<'_>>) -> bool {
        step(&self.shared, &mut self.port, &mut self.wakers, input)
    }

    /// True if something was read.
    fn read(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(up) = &mut self.port.up else { return false };
        let link = up.link;
        let mut buffer = ReadBuf::new(&mut self.buffer);
        match Pin::new(&mut up.stream).poll_read(cx, &mut buffer) {
            Poll::Pending => return false,
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {
                let input = Input::Bytes(link, buffer.filled());
                step(&self.shared, &mut self.port, &mut self.wakers, Some(input));
            }
            Poll::Ready(ended) => {
                tracing::debug!(?ended, "the server hung up");
                self.port.up = None;
                self.input(Some(Input::Disconnected(link)));
            }
        }
        true
    }

    /// As much as the socket takes.
    fn write(&mut self, cx: &mut Context<'_>) {
        let Some(up) = &mut self.port.up else { return };
        while up.written < up.out.len() {
            match Pin::new(&mut up.stream).poll_write(cx, &up.out[up.written..]) {
                Poll::Pending => return,
                Poll::Ready(Ok(bytes)) if bytes > 0 => up.written += bytes,
                // The reader finds out, once it has read what came before.
                Poll::Ready(_) => {
                    up.broken = true;
                    break;
                }
            }
        }
        up.out = Vec::new();
        up.written = 0;
    }

    /// True if a dial or a probe has ended.
    fn dials(&mut self, cx: &mut Context<'_>) -> bool {
        let Port { connector, dialing, up, probing } = &mut self.port;
        let mut progress = false;
        let mut input = None;
        if let Some((link, host, connecting)) = dialing
            && let connecting = connecting.get_or_insert_with(|| connector.connect(host.clone()))
            && let Poll::Ready(dialed) = connecting.as_mut().poll(cx)
        {
            input = Some(match dialed {
                Ok(stream) => {
                    let (link, out) = (*link, Vec::new());
                    *up = Some(Up { link, stream, out, written: 0, broken: false });
                    Input::Connected(link)
                }
                Err(error) => {
                    let text = format!("{}:{}: {error}", host.name, host.port);
                    tracing::debug!(error = text, "no connection");
                    self.shared.lock().dial_error = Some(text);
                    Input::Disconnected(*link)
                }
            });
            *dialing = None;
        }
        let mut probed = None;
        if let Some((link, host, asking)) = probing
            && let asking = asking.get_or_insert_with(|| probe(connector.connect(host.clone())))
            && let Poll::Ready(writable) = asking.as_mut().poll(cx)
        {
            probed = Some(Input::Probed(*link, writable));
            *probing = None;
        }
        for input in [input, probed].into_iter().flatten() {
            progress = true;
            self.input(Some(input));
        }
        progress
    }

    /// True if time has come for something. The timer is set anew only if it would ring too late:
    /// nearly every request moves the deadline a little further.
    fn time(&mut self, cx: &mut Context<'_>) -> bool {
        let deadline_us = self.shared.lock().client.deadline_us();
        let Some(deadline_us) = deadline_us else {
            self.over = true;
            return false;
        };
        if deadline_us < self.timer_us || self.timer.is_elapsed() {
            self.timer_us = deadline_us;
            self.timer.as_mut().reset(self.shared.at(deadline_us));
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        self.input(Some(Input::Wake));
        true
    }

    /// Sleeps until something happens; false if something has in the meantime.
    fn rest(&mut self, cx: &mut Context<'_>) -> bool {
        let mut inner = self.shared.lock();
        if inner.effects(&self.shared, &mut self.wakers, &mut self.port) {
            drop(inner);
            wake(&mut self.wakers);
            return false;
        }
        inner.task = Some(cx.waker().clone());
        true
    }
}

/// One input under the lock, and what follows from it; wakers are called behind it.
fn step(
    shared: &Shared,
    port: &mut Port,
    wakers: &mut Vec<Waker>,
    input: Option<Input<'_>>,
) -> bool {
    let mut inner = shared.lock();
    if let Some(input) = input {
        let now_us = shared.now_us();
        inner.now_us = now_us;
        inner.client.handle(now_us, input);
    }
    let any = inner.effects(shared, wakers, port);
    drop(inner);
    wake(wakers);
    any
}

fn wake(wakers: &mut Vec<Waker>) {
    for waker in wakers.drain(..) {
        waker.wake();
    }
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let task = self.get_mut();
        for _ in 0..TURNS_MAX {
            // What has come is taken before time is said to have passed.
            let mut progress = false;
            for _ in 0..READS_MAX {
                if !task.read(cx) {
                    break;
                }
                progress = true;
            }
            progress |= task.dials(cx);
            progress |= task.time(cx);
            progress |= task.input(None);
            task.write(cx);
            if task.over {
                return Poll::Ready(());
            }
            if !progress && task.rest(cx) {
                return Poll::Pending;
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        let mut inner = self.shared.lock();
        inner.die(&self.shared, &mut self.wakers, &mut self.port);
        drop(inner);
        wake(&mut self.wakers);
    }
}
