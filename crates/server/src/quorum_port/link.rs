//! One connection between a leader and a learner: packets in and out, and a snapshot in between.
//!
//! A task reads and writes, but mostly it only reads: what the core sends in a turn is written at
//! the end of that turn, by whoever flushes, without waking anybody. The task takes over when the
//! socket is full, and for snapshots.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::ready;
use std::time::Duration;

use bytes::Bytes;
use oxkeeper_proto::packet::{Packet, PacketError};
use oxkeeper_proto::stream::Split;
use oxkeeper_zab::{LinkId, Outgoing};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{Notify, mpsc};
use tracing::{debug, info, warn};

use super::incoming::{self, Pipe};
use super::out::{Chunks, Out, Sent};
use super::{Inner, Origin, READ_BYTES};
use crate::snapshot_link::{CHUNKS_MAX, SnapshotSink, SnapshotSource};

/// How long a link that is closed may take to get rid of what was given to it.
const LINGER: Duration = Duration::from_secs(1);

/// The data of a first packet, until which nobody has said who it is. LearnerInfo has 20 bytes and
/// what a member of ours puts behind it; hundreds of strangers may hold this much each.
const FIRST_BYTES_MAX: usize = 4 << 10;

/// Why a link ended.
#[derive(Debug)]
pub(super) enum Fault {
    /// Bytes that are no packet.
    Packet(PacketError),
    /// The peer does not take what it is sent.
    Pending(usize),
    /// A snapshot could not be read to its end.
    Snapshot(io::Error),
    /// Nobody wanted the snapshot that came, or not to its end.
    SnapshotUnwanted,
    /// Others connect, and this one has said nothing.
    Silent,
    /// The peer hung up.
    Ended,
    /// The network's.
    Io(io::Error),
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Packet(error) => error.fmt(f),
            Fault::Pending(bytes) => write!(f, "it leaves {bytes} bytes unread"),
            Fault::Snapshot(error) => write!(f, "its snapshot cannot be read: {error}"),
            Fault::SnapshotUnwanted => f.write_str("its snapshot cannot be taken"),
            Fault::Silent => f.write_str("it says nothing, and there are too many of its kind"),
            Fault::Ended => f.write_str("it hung up"),
            Fault::Io(error) => error.fmt(f),
        }
    }
}

/// What is done when little waits to be sent.
struct Below {
    bytes: usize,
    then: Box<dyn FnOnce()>,
}

/// The whole packets of what was read, up to one that says that a snapshot follows.
struct Packets<'a> {
    link: &'a Link,
    port: &'a Inner,
    rest: &'a [u8],
    snapshot: bool,
    fault: Option<Fault>,
}

impl<'a> Iterator for Packets<'a> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        // Whoever was told of the last packet may have closed the link.
        if self.snapshot || self.fault.is_some() || self.link.over.get() {
            return None;
        }
        match Packet::split(self.rest, self.link.data_bytes_max(self.port)) {
            Ok(Split::Whole(packet, behind)) => {
                self.rest = behind;
                self.link.heard.set(true);
                self.snapshot = matches!(packet, Packet::Snap { .. });
                Some(packet)
            }
            Ok(Split::Incomplete { .. }) => None,
            Err(error) => {
                self.fault = Some(Fault::Packet(error));
                None
            }
        }
    }
}

/// See the module's essay.
pub(super) struct Link {
    pub(super) id: LinkId,
    pub(super) origin: Origin,
    pub(super) peer: SocketAddr,
    /// A packet came.
    pub(super) heard: Cell<bool>,
    /// Listed for the flush at the end of the turn.
    pub(super) listed: Cell<bool>,
    socket: OwnedWriteHalf,
    out: RefCell<Out>,
    below: RefCell<Option<Below>>,
    /// The socket is full: the task waits for it.
    blocked: Cell<bool>,
    /// There is something for the writing half of the task.
    work: Notify,
    pipe: RefCell<Option<Pipe>>,
    piped: Notify,
    /// The port has ended it: orderly, without a fault.
    over: Cell<bool>,
    fault: RefCell<Option<Fault>>,
    stopped: Notify,
}

impl Link {
    pub(super) fn new(
        id: LinkId,
        origin: Origin,
        peer: SocketAddr,
        socket: OwnedWriteHalf,
    ) -> Link {
        Link {
            id,
            origin,
            peer,
            heard: Cell::new(false),
            listed: Cell::new(false),
            socket,
            out: RefCell::default(),
            below: RefCell::default(),
            blocked: Cell::new(false),
            work: Notify::new(),
            pipe: RefCell::default(),
            piped: Notify::new(),
            over: Cell::new(false),
            fault: RefCell::default(),
            stopped: Notify::new(),
        }
    }

    /// Bytes of packets that are not sent yet.
    pub(super) fn pending(&self) -> usize {
        self.out.borrow().pending()
    }

    /// Adds a packet to what is to be sent. More than `pending_max` bytes of that end the link.
    pub(super) fn put(&self, packet: &Outgoing, pending_max: usize) {
        if self.fault.borrow().is_some() {
            return;
        }
        let mut out = self.out.borrow_mut();
        out.put(packet);
        if out.pending() > pending_max {
            self.cut(Fault::Pending(out.pending()));
        }
    }

    /// Has `then` called once no more than `bytes` wait; never if the link ends before.
    pub(super) fn when_below(&self, bytes: usize, then: Box<dyn FnOnce()>) {
        *self.below.borrow_mut() = Some(Below { bytes, then });
        self.work.notify_one();
    }

    /// Sends what the socket takes now; the task sees to the rest.
    pub(super) fn flush(&self) {
        self.listed.set(false);
        if self.blocked.get() {
            return;
        }
        let sent = self.out.borrow_mut().send(&self.socket);
        if !matches!(sent, Ok(Sent::All)) || self.below.borrow().is_some() {
            self.work.notify_one();
        }
    }

    /// The end of a snapshot that is to be sent, for whoever reads it.
    pub(super) fn send_snapshot(&self) -> SnapshotSink {
        let (sink, chunks) = mpsc::channel(CHUNKS_MAX);
        self.out.borrow_mut().put_snapshot(chunks);
        self.work.notify_one();
        sink
    }

    /// What follows the packet SNAP, for whoever takes it in.
    pub(super) fn receive_snapshot(&self) -> Box<dyn SnapshotSource> {
        let (pipe, source) = incoming::pipe();
        *self.pipe.borrow_mut() = Some(pipe);
        self.piped.notify_one();
        source
    }

    /// Ends the link and has that reported.
    pub(super) fn cut(&self, fault: Fault) {
        self.fault.borrow_mut().get_or_insert(fault);
        self.stopped.notify_one();
    }

    /// Ends the link once everything is sent, and has nothing reported.
    pub(super) fn close(&self) {
        self.over.set(true);
        self.stopped.notify_one();
    }

    /// The link's task.
    pub(super) async fn run(self: Rc<Self>, port: Rc<Inner>, mut from: OwnedReadHalf) {
        if !self.over.get() {
            port.upcall().linked(self.id, self.origin);
            port.upcall().turn();
        }
        let fault = tokio::select! {
            biased;
            () = self.stopped.notified() => None,
            fault = self.read(&port, &mut from) => Some(fault),
            fault = self.write(&port) => Some(fault),
        };
        if self.over.get() {
            let _ = tokio::time::timeout(LINGER, self.linger(&mut from)).await;
            return;
        }
        let fault = self.fault.take().or(fault).unwrap_or(Fault::Ended);
        port.forget(self.id);
        self.say_why(&port, &fault);
        port.upcall().unlinked(self.id);
        port.upcall().turn();
    }

    fn say_why(&self, port: &Inner, fault: &Fault) {
        let Link { id, origin, peer, .. } = self;
        let known = self.heard.get() || matches!(origin, Origin::Dialled(_));
        match fault {
            Fault::Ended | Fault::Io(_) if known => {
                info!(link = id.0, ?origin, %peer, "a quorum connection ended: {fault}");
            }
            Fault::Ended | Fault::Io(_) => {
                debug!(link = id.0, %peer, "a connection to the quorum port ended: {fault}");
            }
            _ => {
                if let Some(before) = port.faults.borrow_mut().may_speak() {
                    warn!(link = id.0, ?origin, %peer, before,
                        "a quorum connection is closed: {fault}");
                }
            }
        }
    }

    async fn read(&self, port: &Inner, from: &mut OwnedReadHalf) -> Fault {
        let mut left = Vec::new();
        loop {
            let behind = match self.read_packets(port, from, left).await {
                Ok(behind) => behind,
                Err(fault) => return fault,
            };
            let pipe = loop {
                if let Some(pipe) = self.pipe.take() {
                    break pipe;
                }
                self.piped.notified().await;
            };
            let progress = || port.upcall().progress(self.id);
            left = match pipe.carry(from, behind, progress).await {
                Ok(left) => left,
                Err(fault) => return fault,
            };
        }
    }

    /// Hands packets to the core until one says that a snapshot follows; returns what came behind
    /// that.
    async fn read_packets(
        &self,
        port: &Inner,
        from: &mut OwnedReadHalf,
        mut left: Vec<u8>,
    ) -> Result<Vec<u8>, Fault> {
        loop {
            let (used, snapshot) = self.hand_over(port, &left)?;
            left.drain(..used);
            if snapshot {
                return Ok(left);
            }
            if used == 0 && !left.is_empty() {
                // A large packet on a slow wire: whoever sends it is not silent.
                port.upcall().progress(self.id);
            }
            let count = if left.is_empty() {
                // Nothing is kept for a link that is silent.
                left = Vec::new();
                let (count, snapshot) = self.read_shared(port, from, &mut left).await?;
                if snapshot {
                    return Ok(left);
                }
                count
            } else {
                left.reserve(READ_BYTES);
                from.read_buf(&mut left).await.map_err(Fault::Io)?
            };
            if count == 0 {
                return Err(Fault::Ended);
            }
            if count >= READ_BYTES {
                // There is more. First let the core's turn, and others, deal with this.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Reads once, into the port's buffer, and keeps what is no whole packet. Returns how many
    /// bytes came, and whether a snapshot follows.
    async fn read_shared(
        &self,
        port: &Inner,
        from: &mut OwnedReadHalf,
        left: &mut Vec<u8>,
    ) -> Result<(usize, bool), Fault> {
        poll_fn(|cx| {
            let mut scratch = port.scratch.borrow_mut();
            let mut buffer = ReadBuf::new(&mut scratch);
            ready!(Pin::new(&mut *from).poll_read(cx, &mut buffer)).map_err(Fault::Io)?;
            let bytes = buffer.filled();
            let (used, snapshot) = self.hand_over(port, bytes)?;
            left.extend_from_slice(&bytes[used..]);
            Ok((bytes.len(), snapshot)).into()
        })
        .await
    }

    /// Hands over the whole packets of `bytes`, up to one that says that a snapshot follows.
    /// Returns how many bytes they were, and whether that came.
    fn hand_over(&self, port: &Inner, bytes: &[u8]) -> Result<(usize, bool), Fault> {
        if bytes.is_empty() {
            return Ok((0, false));
        }
        let (snapshot, fault) = (false, None);
        let mut packets = Packets { link: self, port, rest: bytes, snapshot, fault };
        port.upcall().packets(self.id, &mut packets);
        let Packets { rest, snapshot, fault, .. } = packets;
        if rest.len() < bytes.len() {
            port.upcall().turn();
        }
        let used = if self.over.get() { bytes.len() } else { bytes.len() - rest.len() };
        fault.map_or(Ok((used, snapshot)), Err)
    }

    fn data_bytes_max(&self, port: &Inner) -> usize {
        let max = port.settings.data_bytes_max;
        let stranger = self.origin.is_theirs() && !self.heard.get();
        if stranger { max.min(FIRST_BYTES_MAX) } else { max }
    }

    /// Sends what did not fit when it was flushed, and snapshots.
    async fn write(&self, port: &Inner) -> Fault {
        loop {
            let sent = self.out.borrow_mut().send(&self.socket);
            self.look_below();
            let went_on = match sent {
                Ok(Sent::All) => {
                    self.work.notified().await;
                    Ok(())
                }
                Ok(Sent::Blocked) => self.writable().await.map_err(Fault::Io),
                Ok(Sent::Snapshot) => match self.take_snapshot() {
                    Some(chunks) => self.stream(port, chunks).await,
                    None => Err(Fault::Ended),
                },
                Err(error) => Err(Fault::Io(error)),
            };
            if let Err(fault) = went_on {
                return fault;
            }
        }
    }

    /// Apart, so that nothing is borrowed while it is awaited.
    fn take_snapshot(&self) -> Option<Chunks> {
        self.out.borrow_mut().take_snapshot()
    }

    async fn writable(&self) -> io::Result<()> {
        self.blocked.set(true);
        let writable = self.socket.writable().await;
        self.blocked.set(false);
        writable
    }

    async fn stream(&self, port: &Inner, mut chunks: Chunks) -> Result<(), Fault> {
        loop {
            let chunk = tokio::select! {
                chunk = chunks.recv() => chunk,
                () = self.work.notified() => {
                    self.look_below();
                    continue;
                }
            };
            let Some(chunk) = chunk else {
                self.out.borrow_mut().snapshot_sent();
                return Ok(());
            };
            self.write_whole(chunk.map_err(Fault::Snapshot)?).await.map_err(Fault::Io)?;
            port.upcall().progress(self.id);
        }
    }

    async fn write_whole(&self, chunk: Bytes) -> io::Result<()> {
        let mut rest = &*chunk;
        while !rest.is_empty() {
            match self.socket.try_write(rest) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(count) => rest = &rest[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.writable().await?,
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn look_below(&self) {
        let pending = self.pending();
        let due = self.below.borrow_mut().take_if(|below| pending <= below.bytes);
        if let Some(Below { then, .. }) = due {
            then();
        }
    }

    /// Sends the rest, ends the output and reads to the end: a socket closed with input unread
    /// resets the connection, and what is on its way would be lost. A snapshot is not waited for.
    async fn linger(&self, from: &mut OwnedReadHalf) -> io::Result<()> {
        self.blocked.set(false);
        while self.out.borrow_mut().send(&self.socket)? == Sent::Blocked {
            self.writable().await?;
        }
        rustix::net::shutdown(self.socket.as_ref(), rustix::net::Shutdown::Write)?;
        let mut ignored = Vec::with_capacity(4 << 10);
        while from.read_buf(&mut ignored).await? > 0 {
            ignored.clear();
        }
        Ok(())
    }
}
