//! The wires between members, which can be cut.
//!
//! Every member is told of its peers under addresses of ours: a port per pair and direction of
//! dialling, for the quorum port and for the election port. What arrives there is carried to the
//! real port, as long as the wire is whole.
//!
//! A wire is *held* as a network loses a route: connections stay, nothing arrives, and what was
//! under way arrives when it is mended, as TCP would send it again. It is *cut* as a cable with
//! its switch: connections break, new ones are refused, and what was under way is lost. Both are
//! for one direction of the bytes if need be; a cut one takes the other direction with it, because
//! a connection has both.
//!
//! Members that have several addresses have a *route* to each: a wire in a network of its own. When
//! a member's address in one of them is *gone* or *lost*, new connections are refused, and those
//! that there are break or fall silent.
//!
//! A hello on the election port tells where its sender listens, and whoever has the larger id
//! dials back to there. The carrier writes our addresses in their place, as whoever translates
//! addresses has to; otherwise these connections would pass by the wires.

use std::collections::HashMap;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use oxkeeper_proto::{Hello, Split};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::runtime::{Builder, Handle};
use tokio::sync::{mpsc, oneshot, watch};

use super::tape::Tape;

/// Chunks under way on one direction of one connection, delayed or held.
const CHUNKS: usize = 4096;
/// Bytes read at once.
const CHUNK_BYTES: usize = 16 * 1024;
/// How long a leader may take to open its port.
const OPENING: Duration = Duration::from_secs(3);
/// How often it is dialled meanwhile.
const REDIAL: Duration = Duration::from_millis(10);
/// Addresses of one member.
const ROUTES_MAX: usize = 2;
/// No hello is longer.
const HELLO_BYTES_MAX: usize = 4096;

/// How bytes from one member to another fare.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// They arrive.
    #[default]
    Open,
    /// They arrive so much later.
    Late(Duration),
    /// They wait for better days.
    Held,
    /// Connections break, and there are no new ones.
    Cut,
    /// The same, but nobody listens where the wire begins.
    Gone,
    /// Connections stay and nothing arrives, and there are no new ones.
    Lost,
}

impl Flow {
    fn passes(self) -> bool {
        matches!(self, Flow::Open | Flow::Late(_))
    }

    fn breaks(self) -> bool {
        matches!(self, Flow::Cut | Flow::Gone)
    }

    fn refuses(self) -> bool {
        matches!(self, Flow::Gone | Flow::Lost)
    }
}

/// The far end of a wire: from where it comes, if that matters, and where it goes.
type End = (Option<Ipv4Addr>, SocketAddr);

/// Which of a member's ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Port {
    /// Where a leader awaits its learners.
    Quorum,
    /// Where everybody hears votes.
    Election,
    /// Where a follower awaits observers (`observerMasterPort`).
    Observers,
}

/// Who dials whom where.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Wire {
    dialler: i64,
    to: i64,
    port: Port,
    /// Which of the addresses of `to`.
    route: usize,
}

/// All wires of an ensemble. They end with this value.
#[derive(Debug)]
pub struct Wires {
    handle: Handle,
    shared: Arc<Shared>,
    ending: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    /// By who sends, who is to receive, and the route.
    flows: Mutex<HashMap<(i64, i64, usize), watch::Sender<Flow>>>,
    /// Where each wire begins.
    beginnings: Mutex<HashMap<Wire, SocketAddr>>,
    tapes: Mutex<Vec<Arc<Mutex<Tape>>>>,
}

impl Wires {
    /// A thread that carries, and no wires yet.
    ///
    /// # Errors
    /// The operating system's.
    pub fn new() -> Result<Wires> {
        let runtime = Builder::new_current_thread().enable_all().build()?;
        let handle = runtime.handle().clone();
        let (ending, ended) = oneshot::channel();
        let thread = std::thread::Builder::new().name("wires".to_owned()).spawn(move || {
            // Whether told to end or left alone, there is nothing more to carry.
            runtime.block_on(ended).ok();
        })?;
        let shared = Arc::default();
        Ok(Wires { handle, shared, ending: Some(ending), thread: Some(thread) })
    }

    /// Lays a wire on which `dialler` reaches `port` of `to`, which listens at `target`. It begins
    /// at `at`, where a port of 0 is any. Returns the port that `dialler` is to be told of.
    ///
    /// # Errors
    /// When no port is free.
    pub fn lay(
        &self,
        pair: (i64, i64),
        port: Port,
        at: SocketAddr,
        target: SocketAddr,
    ) -> Result<u16> {
        self.lay_route(0, pair, port, at, (None, target))
    }

    /// [`lay`](Self::lay) to one of several addresses. From where its end comes to the target may
    /// be said too: that is where `dialler` is for it.
    ///
    /// # Errors
    /// The same.
    pub fn lay_route(
        &self,
        route: usize,
        (dialler, to): (i64, i64),
        port: Port,
        at: SocketAddr,
        end: End,
    ) -> Result<u16> {
        let _inside = self.handle.enter();
        let listener = std::net::TcpListener::bind(at).with_context(|| format!("wire at {at}"))?;
        listener.set_nonblocking(true)?;
        let at = listener.local_addr()?;
        let listener = TcpListener::from_std(listener).context("listening")?;
        let wire = Wire { dialler, to, port, route };
        lock(&self.shared.beginnings).insert(wire, at);
        let shared = Arc::clone(&self.shared);
        self.handle.spawn(shared.carry(wire, at, listener, end));
        Ok(at.port())
    }

    /// Changes how bytes from `from` to `to` fare, on all connections between the two.
    pub fn set(&self, from: i64, to: i64, flow: Flow) {
        for route in 0..ROUTES_MAX {
            self.shared.flow(from, to, route).send_replace(flow);
        }
    }

    /// Changes how bytes fare on one route between `of` and `others`, whoever dialled: what is done
    /// to the network that one of its addresses is in.
    pub fn set_route(&self, route: usize, of: i64, others: &[i64], flow: Flow) {
        for &other in others.iter().filter(|&&other| other != of) {
            self.shared.flow(other, of, route).send_replace(flow);
            self.shared.flow(of, other, route).send_replace(flow);
        }
    }

    /// Changes both directions between each of `these` and each of `those`.
    pub fn set_between(&self, these: &[i64], those: &[i64], flow: Flow) {
        for &one in these {
            for &other in those.iter().filter(|&&other| other != one) {
                self.set(one, other, flow);
                self.set(other, one, flow);
            }
        }
    }

    /// Mends everything.
    pub fn heal(&self) {
        for flow in lock(&self.shared.flows).values() {
            flow.send_replace(Flow::Open);
        }
    }

    /// Looks at the connections of quorum ports opened since `since`, the oldest first.
    pub fn tapes<T>(&self, since: Instant, mut look: impl FnMut(&Tape) -> Option<T>) -> Vec<T> {
        let tapes: Vec<_> = lock(&self.shared.tapes).iter().map(Arc::clone).collect();
        let looked = tapes.iter().filter_map(|tape| {
            let tape = lock(tape);
            if tape.opened >= since { look(&tape) } else { None }
        });
        looked.collect()
    }
}

impl Drop for Wires {
    fn drop(&mut self) {
        // The thread ends when it is told, or when this sender is gone; it cannot panic itself.
        self.ending.take().map(|ending| ending.send(()).ok());
        self.thread.take().map(|thread| thread.join().ok());
    }
}

impl Shared {
    fn flow(&self, from: i64, to: i64, route: usize) -> watch::Sender<Flow> {
        let mut flows = lock(&self.flows);
        flows.entry((from, to, route)).or_insert_with(|| watch::channel(Flow::Open).0).clone()
    }

    async fn carry(
        self: Arc<Self>,
        wire: Wire,
        at: SocketAddr,
        mut listener: TcpListener,
        end: End,
    ) {
        let mut there = self.flow(wire.dialler, wire.to, wire.route).subscribe();
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => Some(accepted),
                _ = there.wait_for(|flow| flow.refuses()) => None,
            };
            let Some(accepted) = accepted else {
                drop(listener);
                there.wait_for(|flow| !flow.refuses()).await.ok();
                listener = listen_again(at).await;
                continue;
            };
            // An accept fails for the connection's own reasons; the next may not.
            let Ok((stream, _)) = accepted else { continue };
            let shared = Arc::clone(&self);
            tokio::spawn(async move {
                // Whatever happens to a connection, its ends see it by themselves.
                shared.connect(wire, stream, end).await.ok();
            });
        }
    }

    async fn connect(&self, wire: Wire, near: TcpStream, end: End) -> io::Result<()> {
        let mut there = self.flow(wire.dialler, wire.to, wire.route).subscribe();
        let mut back = self.flow(wire.to, wire.dialler, wire.route).subscribe();
        if there.borrow().breaks() || back.borrow().breaks() {
            return Ok(());
        }
        // No route, no connection at the far end.
        if there.wait_for(|flow| !matches!(flow, Flow::Held | Flow::Lost)).await.is_err() {
            return Ok(());
        }
        let far = reach(wire.port, end).await?;
        near.set_nodelay(true)?;
        far.set_nodelay(true)?;
        let tape = (wire.port != Port::Election).then(|| {
            let tape = Tape::new(wire.dialler, wire.to, wire.port == Port::Observers);
            let tape = Arc::new(Mutex::new(tape));
            lock(&self.tapes).push(Arc::clone(&tape));
            tape
        });
        let (mut near_in, near_out) = near.into_split();
        let (far_in, mut far_out) = far.into_split();
        if wire.port == Port::Election {
            let back = Wire { dialler: wire.to, to: wire.dialler, port: wire.port, route: 0 };
            let routes = (0..ROUTES_MAX).map(|route| Wire { route, ..back });
            let beginnings = lock(&self.beginnings).clone();
            let addresses: Vec<_> = routes.filter_map(|wire| beginnings.get(&wire)).collect();
            pass_hello(&mut near_in, &mut far_out, &addresses).await?;
        }
        let up_tape = tape.clone();
        let up = pump(near_in, far_out, there.clone(), move |bytes| {
            if let Some(tape) = &up_tape {
                lock(tape).up.feed(bytes);
            }
        });
        let down = pump(far_in, near_out, back.clone(), move |bytes| {
            if let Some(tape) = &tape {
                lock(tape).down.feed(bytes);
            }
        });
        // When one direction has broken, the other end learns of it by the close.
        tokio::select! {
            ended = async { tokio::try_join!(up, down) } => ended.map(drop),
            _ = there.wait_for(|flow| flow.breaks()) => Ok(()),
            _ = back.wait_for(|flow| flow.breaks()) => Ok(()),
        }
    }
}

/// Connects to the far end. A learner that is refused by a leader's port dials again for some time,
/// because the leader may not have opened it yet; for one whose connection is accepted and then
/// closed, the leader is dead. It has been accepted here, so it is for us to dial again.
async fn reach(port: Port, (from, target): End) -> io::Result<TcpStream> {
    let deadline = Instant::now() + OPENING;
    loop {
        let socket = TcpSocket::new_v4()?;
        if let Some(from) = from {
            socket.bind((from, 0).into())?;
        }
        match socket.connect(target).await {
            Err(_) if port == Port::Quorum && Instant::now() < deadline => {
                tokio::time::sleep(REDIAL).await;
            }
            reached => return reached,
        }
    }
}

/// A port that is to be had again: it was ours a moment ago.
async fn listen_again(at: SocketAddr) -> TcpListener {
    loop {
        match TcpListener::bind(at).await {
            Ok(listener) => return listener,
            Err(_) => tokio::time::sleep(REDIAL).await,
        }
    }
}

/// Passes the hello on, with the addresses at which its sender is to be dialled from the other end.
async fn pass_hello(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    addresses: &[&SocketAddr],
) -> io::Result<()> {
    let mut bytes = Vec::new();
    loop {
        if from.read_buf(&mut bytes).await? == 0 {
            return to.write_all(&bytes).await;
        }
        match Hello::split(&bytes) {
            Ok(Split::Whole(mut hello, rest)) => {
                for (told, address) in hello.addresses.iter_mut().zip(addresses) {
                    told.host = address.ip().to_string().into();
                    told.port = address.port();
                }
                hello.addresses.truncate(addresses.len());
                let mut out = Vec::new();
                hello.encode(&mut out);
                out.extend_from_slice(rest);
                return to.write_all(&out).await;
            }
            Ok(Split::Incomplete { .. }) if bytes.len() < HELLO_BYTES_MAX => {}
            // Not ours to judge.
            _ => return to.write_all(&bytes).await,
        }
    }
}

/// Carries one direction to its end. Bytes are taken, and shown, also while they cannot go on.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut flow: watch::Receiver<Flow>,
    mut show: impl FnMut(&[u8]),
) -> io::Result<()> {
    let (taken, mut waiting) = mpsc::channel::<(Instant, Vec<u8>)>(CHUNKS);
    let take = async move {
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            let count = from.read(&mut chunk).await?;
            if count == 0 {
                return Ok::<(), io::Error>(());
            }
            show(&chunk[..count]);
            if taken.send((Instant::now(), chunk[..count].to_vec())).await.is_err() {
                return Ok(());
            }
        }
    };
    let give = async move {
        while let Some((came, bytes)) = waiting.recv().await {
            let passable = flow.wait_for(|flow| flow.passes()).await;
            let Ok(flow) = passable.map(|flow| *flow) else { return Ok(()) };
            if let Flow::Late(delay) = flow {
                tokio::time::sleep_until((came + delay).into()).await;
            }
            to.write_all(&bytes).await?;
        }
        // The end of the stream is news like any other.
        if flow.wait_for(|flow| flow.passes()).await.is_ok() {
            to.shutdown().await?;
        }
        Ok::<(), io::Error>(())
    };
    tokio::try_join!(take, give).map(drop)
}

/// A lock whose holder cannot leave anything half done.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
