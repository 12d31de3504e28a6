//! A port with a core that only notes what it is told, and peers that are plain sockets.

use std::cell::RefCell;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use bytes::Bytes;
use oxkeeper_proto::packet::Packet;
use oxkeeper_proto::stream::Split;
use oxkeeper_proto::{Sid, Zxid};
use oxkeeper_server::quorum_port::{Origin, QuorumPort, Settings, Upcall};
use oxkeeper_zab::messages::Drop as Why;
use oxkeeper_zab::quorum::{Membership, QuorumVerifier};
use oxkeeper_zab::{Entry, LinkId, Outgoing, State};
use tokio::io::AsyncReadExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::task::LocalSet;

/// How long anything may take.
pub const LIMIT: Duration = Duration::from_secs(60);
/// The quorum port of every server here; their addresses differ.
pub const PORT: u16 = 2888;

/// Runs a test as the core's thread runs the port.
pub fn run(test: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let limited = async {
        let limit = std::pin::pin!(tokio::time::timeout(LIMIT, test));
        limit.await.expect("it takes too long");
    };
    LocalSet::new().block_on(&runtime, limited);
    // A name that is still being resolved is not waited for.
    runtime.shutdown_background();
}

/// A loopback address that no other test uses, nor another run of them.
pub fn fresh_ip() -> Ipv4Addr {
    static NEXT: AtomicU8 = AtomicU8::new(1);
    let last = NEXT.fetch_add(1, Ordering::Relaxed);
    assert!(last < 255, "more servers than addresses");
    let run = std::process::id() % (250 * 250);
    Ipv4Addr::new(127, 1 + (run / 250) as u8, 1 + (run % 250) as u8, last)
}

/// A committed configuration and no other.
pub fn membership(text: &str) -> Membership {
    Membership::new(Arc::new(QuorumVerifier::parse(text, true).unwrap()), None)
}

/// What the core is told, with packets in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Linked(LinkId, Origin),
    DialFailed(Sid),
    Packet(LinkId, String),
    Unlinked(LinkId),
}

/// The core: it notes. Progress is counted apart, for nobody can say how often it comes.
#[derive(Debug)]
struct Notes {
    told: mpsc::UnboundedSender<Told>,
    progress: RefCell<Vec<LinkId>>,
    turns: RefCell<usize>,
}

impl Upcall for Notes {
    fn linked(&self, link: LinkId, origin: Origin) {
        self.told.send(Told::Linked(link, origin)).ok();
    }

    fn dial_failed(&self, sid: Sid) {
        self.told.send(Told::DialFailed(sid)).ok();
    }

    fn packets<'a>(&self, link: LinkId, packets: &mut dyn Iterator<Item = Packet<'a>>) {
        for packet in packets {
            self.told.send(Told::Packet(link, words(&packet))).ok();
        }
    }

    fn progress(&self, link: LinkId) {
        self.progress.borrow_mut().push(link);
    }

    fn unlinked(&self, link: LinkId) {
        self.told.send(Told::Unlinked(link)).ok();
    }

    fn turn(&self) {
        *self.turns.borrow_mut() += 1;
    }
}

/// A packet, short enough to be compared.
pub fn words(packet: &Packet<'_>) -> String {
    match packet {
        Packet::Proposal { zxid, entry } => format!("PROPOSAL {} {}", zxid.0, entry.len()),
        Packet::Commit { zxid } => format!("COMMIT {}", zxid.0),
        Packet::Ack { zxid } => format!("ACK {}", zxid.0),
        Packet::Snap { zxid } => format!("SNAP {}", zxid.0),
        other => other.kind().to_string(),
    }
}

/// A port and what its core was told.
pub struct Server {
    pub port: QuorumPort,
    pub ip: Ipv4Addr,
    told: mpsc::UnboundedReceiver<Told>,
    notes: Rc<Notes>,
}

impl Server {
    /// Server `sid` of an ensemble.
    pub async fn open(sid: i64, ensemble: &Ensemble) -> Server {
        Server::open_with(Settings::new(Sid(sid)), ensemble).await
    }

    /// The same with other settings.
    pub async fn open_with(settings: Settings, ensemble: &Ensemble) -> Server {
        let ip = ensemble.ips[settings.my_sid.0 as usize - 1];
        let port = QuorumPort::open(settings, &ensemble.membership()).await.unwrap();
        let (sender, told) = mpsc::unbounded_channel();
        let (progress, turns) = Default::default();
        let notes = Rc::new(Notes { told: sender, progress, turns });
        let serving = port.run(Rc::clone(&notes) as Rc<dyn Upcall>);
        tokio::task::spawn_local(async move { panic!("{}", serving.await) });
        Server { port, ip, told, notes }
    }

    /// A server that leads.
    pub async fn leading(sid: i64, ensemble: &Ensemble) -> Server {
        let server = Server::open(sid, ensemble).await;
        server.port.set_state(State::Leading);
        server
    }

    /// What the core is told next.
    pub async fn told(&mut self) -> Told {
        self.told.recv().await.unwrap()
    }

    /// The next link, which comes before anything else.
    pub async fn linked(&mut self) -> LinkId {
        match self.told().await {
            Told::Linked(link, _) => link,
            other => panic!("{other:?} instead of a link"),
        }
    }

    /// The next packet, which comes before anything else.
    pub async fn packet(&mut self) -> String {
        match self.told().await {
            Told::Packet(_, words) => words,
            other => panic!("{other:?} instead of a packet"),
        }
    }

    /// What it was told so far and nobody has asked for.
    pub fn rest(&mut self) -> Vec<Told> {
        std::iter::from_fn(|| self.told.try_recv().ok()).collect()
    }

    /// How often progress was reported of a link.
    pub fn progress(&self, link: LinkId) -> usize {
        self.notes.progress.borrow().iter().filter(|&&its| its == link).count()
    }

    /// How many turns were asked for.
    pub fn turns(&self) -> usize {
        *self.notes.turns.borrow()
    }

    /// Sends packets as a turn does.
    pub fn send(&self, link: LinkId, packets: impl IntoIterator<Item = Outgoing>) {
        for packet in packets {
            self.port.send(link, &packet);
        }
        self.port.flush();
    }

    /// Somebody connects.
    pub async fn visitor(&self) -> TcpStream {
        TcpStream::connect((self.ip, PORT)).await.unwrap()
    }
}

/// Who belongs together.
pub struct Ensemble {
    pub ips: Vec<Ipv4Addr>,
    pub config: String,
}

impl Ensemble {
    /// Servers 1 to `count`.
    pub fn of(count: usize) -> Ensemble {
        let ips: Vec<Ipv4Addr> = (0..count).map(|_| fresh_ip()).collect();
        let line = |(sid, ip): (usize, &Ipv4Addr)| format!("server.{sid}={ip}:{PORT}:3888\n");
        let config = (1..).zip(&ips).map(line).collect();
        Ensemble { ips, config }
    }

    pub fn membership(&self) -> Membership {
        membership(&self.config)
    }
}

/// A leader, a learner, and the link between them as each of them calls it.
pub async fn pair() -> (Server, LinkId, Server, LinkId) {
    let ensemble = Ensemble::of(2);
    let mut leader = Server::leading(2, &ensemble).await;
    let mut learner = Server::open(1, &ensemble).await;
    learner.port.set_state(State::Following(Sid(2)));
    learner.port.dial(Sid(2));
    let (theirs, ours) = (leader.linked().await, learner.linked().await);
    (leader, theirs, learner, ours)
}

pub fn proposal(zxid: i64, len: usize) -> Outgoing {
    Outgoing::Proposal(Entry { zxid: Zxid(zxid), payload: Bytes::from(vec![zxid as u8; len]) })
}

pub fn encoded(packets: impl IntoIterator<Item = Outgoing>) -> Vec<u8> {
    let mut bytes = Vec::new();
    packets.into_iter().for_each(|packet| packet.as_packet().encode(&mut bytes));
    bytes
}

/// Why a core may close a link.
pub const ENOUGH: Why = Why::RoleOver("leading");

/// The next packet on a plain socket.
pub async fn read_packet(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> String {
    loop {
        let mut found = None;
        if let Split::Whole(packet, rest) = Packet::split(bytes, 1 << 20).unwrap() {
            found = Some((words(&packet), bytes.len() - rest.len()));
        }
        if let Some((words, len)) = found {
            bytes.drain(..len);
            return words;
        }
        assert_ne!(stream.read_buf(bytes).await.unwrap(), 0, "the connection is cut");
    }
}

/// Awaits that the other side ends the connection, whichever way, without having said anything.
pub async fn is_cut(stream: &mut TcpStream) {
    let mut byte = [0];
    if let Ok(1..) = stream.read(&mut byte).await {
        panic!("it is answered");
    }
}
