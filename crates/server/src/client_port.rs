//! The client port: accepting connections and dealing them out to the I/O threads.
//!
//! A reconfiguration may give this server another client address. Those who are connected stay.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use oxkeeper_config::{BindAddr, Config, ExitCode};
use oxkeeper_node::Peer;
use oxkeeper_proto::notification::Address;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;

use crate::StartError;
use crate::connection::{self, ClientSocket, Scratch};
use crate::descriptors;
use crate::io_thread::IoThread;
use crate::mailbox::Mailbox;
use crate::seldom::Seldom;

/// How many connections may wait to be accepted. When a server goes, all of its clients come here
/// at once, and whoever finds the queue full tries again after a whole second: Java's 50 are soon
/// full. The system may have a lower bound of its own.
const BACKLOG_DEFAULT: u32 = 4096;

/// How long to leave the port alone when there are no descriptors left. Long enough not to spin,
/// short enough for a client's connect timeout.
const PAUSE_WITHOUT_DESCRIPTORS: Duration = Duration::from_millis(100);

/// The client port, bound: nobody listened there before, and nobody can connect yet.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
    addr: SocketAddr,
    options: Options,
}

/// How it listens, wherever that is.
#[derive(Debug, Clone, Copy)]
struct Options {
    backlog: u32,
    keep_alive: bool,
}

impl Bound {
    /// Where it will listen.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Lets clients connect. They wait in the system's queue until they are accepted.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn listen(self) -> Result<Listening, StartError> {
        let Bound { socket, addr, options } = self;
        let listener = socket.listen(options.backlog);
        let listener = listener.map_err(|error| cannot_listen(addr, &error))?;
        Ok(Listening { listener: Some(listener), addr, options })
    }
}

/// The client port, open.
#[derive(Debug)]
pub struct Listening {
    /// None where the last move has failed, and the way back, too.
    listener: Option<TcpListener>,
    addr: SocketAddr,
    options: Options,
}

impl Listening {
    /// Where clients connect.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        match &self.listener {
            Some(listener) => listener.accept().await,
            None => std::future::pending().await,
        }
    }

    /// Goes on at another address (`ServerCnxnFactory.reconfigure`), or where it was if that cannot
    /// be had.
    async fn move_to(&mut self, to: &Address) {
        let from = self.addr;
        match self.try_at(to).await {
            Ok(()) if self.addr == from => {}
            Ok(()) => tracing::info!(%from, to = %self.addr, "the client port has moved"),
            Err(error) => {
                tracing::error!(%error, %from, host = &*to.host, port = to.port,
                    "the client port cannot be moved");
                if self.listener.is_none() {
                    self.listener = listen(from, self.options).ok();
                }
            }
        }
    }

    async fn try_at(&mut self, to: &Address) -> io::Result<()> {
        let mut found = tokio::net::lookup_host((&*to.host, to.port)).await?;
        let mut to = found.next().ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        // Any port will do: the one that it has does.
        if to.port() == 0 {
            to.set_port(self.addr.port());
        }
        if to == self.addr {
            return Ok(());
        }
        let listener = match listen(to, self.options) {
            // From one address to all of them, or back: the system takes both for the same.
            Err(error)
                if error.kind() == io::ErrorKind::AddrInUse && to.port() == self.addr.port() =>
            {
                self.listener = None;
                listen(to, self.options)?
            }
            listener => listener?,
        };
        self.addr = to;
        self.listener = Some(listener);
        Ok(())
    }
}

fn listen(addr: SocketAddr, options: Options) -> io::Result<TcpListener> {
    socket_at(addr, options)?.listen(options.backlog)
}

fn cannot_listen(addr: SocketAddr, error: &io::Error) -> StartError {
    let message = match error.kind() {
        io::ErrorKind::AddrInUse => format!(
            "cannot listen on {addr}: the port is in use; stop the other server or choose another \
             clientPort"
        ),
        _ => format!("cannot listen on {addr}: {error}"),
    };
    StartError { message, code: ExitCode::UnexpectedError }
}

/// Binds the client port.
///
/// # Errors
/// When it is taken, or the address is none of this machine's.
pub async fn bind(config: &Config) -> Result<Bound, StartError> {
    let listen = &config.listen;
    let addr = resolve(&listen.client_addr, listen.client_port).await?;
    let failed = |error: io::Error| cannot_listen(addr, &error);
    let backlog = listen.backlog.unwrap_or(BACKLOG_DEFAULT);
    let options = Options { backlog, keep_alive: listen.tcp_keep_alive };
    let socket = socket_at(addr, options).map_err(failed)?;
    let addr = socket.local_addr().map_err(failed)?;
    Ok(Bound { socket, addr, options })
}

fn socket_at(addr: SocketAddr, options: Options) -> io::Result<TcpSocket> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    // Linux gives an accepted socket the options of the one that listened.
    socket.set_nodelay(true)?;
    socket.set_keepalive(options.keep_alive)?;
    socket.bind(addr)?;
    Ok(socket)
}

async fn resolve(addr: &BindAddr, port: u16) -> Result<SocketAddr, StartError> {
    match addr {
        BindAddr::All => Ok(SocketAddr::from(([0, 0, 0, 0], port))),
        BindAddr::Ip(ip) => Ok(SocketAddr::new(*ip, port)),
        BindAddr::Name(name) => {
            let found = tokio::net::lookup_host((name.as_str(), port)).await;
            found.ok().and_then(|mut addrs| addrs.next()).ok_or_else(|| StartError {
                message: format!("clientPortAddress {name} does not resolve to an address"),
                code: ExitCode::UnexpectedError,
            })
        }
    }
}

/// How many connections there are, in all and per address.
#[derive(Debug, Default)]
pub struct Counts {
    total: usize,
    by_ip: HashMap<IpAddr, u32>,
    /// Connections closed at once because a limit was reached.
    pub rejected: u64,
}

/// Where clients come in: the bounds on connections, and the counts they are held against.
#[derive(Debug)]
pub struct Door {
    port: AtomicU16,
    per_ip_max: u32,
    total_max: u32,
    counts: Mutex<Counts>,
}

impl Door {
    /// A door at this port with the bounds of the configuration; 0 means none.
    pub fn new(config: &Config, port: u16) -> Self {
        Door {
            port: AtomicU16::new(port),
            per_ip_max: config.limits.max_client_cnxns,
            total_max: config.limits.max_cnxns,
            counts: Mutex::default(),
        }
    }

    /// The client port.
    pub fn port(&self) -> u16 {
        self.port.load(Ordering::Relaxed)
    }

    /// Connections refused so far.
    pub fn rejected(&self) -> u64 {
        self.counts.lock().rejected
    }

    fn enter(self: &Arc<Self>, ip: IpAddr) -> Result<Entered, String> {
        let mut counts = self.counts.lock();
        if self.total_max > 0 && counts.total >= self.total_max as usize {
            counts.rejected += 1;
            return Err(format!("too many connections, max is {} (maxCnxns)", self.total_max));
        }
        let here = counts.by_ip.get(&ip).copied().unwrap_or(0);
        if self.per_ip_max > 0 && here >= self.per_ip_max {
            counts.rejected += 1;
            return Err(format!(
                "too many connections from {ip}, max is {} (maxClientCnxns)",
                self.per_ip_max
            ));
        }
        counts.total += 1;
        *counts.by_ip.entry(ip).or_default() += 1;
        Ok(Entered { door: Arc::clone(self), ip })
    }
}

/// A connection that is counted; dropping it uncounts it.
#[derive(Debug)]
struct Entered {
    door: Arc<Door>,
    ip: IpAddr,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut counts = self.door.counts.lock();
        counts.total -= 1;
        if let Some(here) = counts.by_ip.get_mut(&self.ip) {
            *here -= 1;
            if *here == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

/// Accepts until it is dropped, on the first I/O thread. Connections go to `targets` in turn. What
/// `moves` says is where this server's clients are to connect from then on.
pub async fn accept(
    mut listening: Listening,
    mut moves: watch::Receiver<Option<Address>>,
    door: Arc<Door>,
    first: Rc<IoThread>,
    targets: Vec<Arc<Mailbox>>,
) {
    let mut next = 0;
    let (mut troubles, mut refusals) = (Seldom::default(), Seldom::default());
    loop {
        let accepted = tokio::select! {
            accepted = listening.accept() => accepted,
            Ok(()) = moves.changed() => {
                let to = moves.borrow_and_update().clone();
                if let Some(to) = to {
                    listening.move_to(&to).await;
                    door.port.store(listening.addr().port(), Ordering::Relaxed);
                }
                continue;
            }
        };
        let (stream, addr) = match accepted {
            Ok(accepted) => accepted,
            // A client that gave up before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => continue,
            Err(error) => {
                if let Some(before) = troubles.may_speak() {
                    say_why_not_accepting(&error, before);
                }
                tokio::time::sleep(PAUSE_WITHOUT_DESCRIPTORS).await;
                continue;
            }
        };
        match door.enter(addr.ip().to_canonical()) {
            Ok(entered) => {
                let target = &targets[next % targets.len()];
                next = next.wrapping_add(1);
                if std::ptr::eq(&**target, first.mailbox()) {
                    welcome(&first, stream, addr, entered);
                } else if let Ok(stream) = stream.into_std() {
                    target.put_work(Box::new(move |thread: &Rc<IoThread>| {
                        if let Ok(stream) = TcpStream::from_std(stream) {
                            welcome(thread, stream, addr, entered);
                        }
                    }));
                }
            }
            Err(why) => {
                if let Some(before) = refusals.may_speak() {
                    tracing::warn!(peer = %addr, before, "{why}");
                }
            }
        }
    }
}

fn say_why_not_accepting(error: &io::Error, before: u64) {
    if is_shortage(error) {
        tracing::error!(%error, limit = descriptors::limit(), before,
            "no descriptors left: new connections wait until others close; raise the limit on \
             open files");
    } else {
        tracing::error!(%error, before, "cannot accept connections at present");
    }
}

fn is_shortage(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    let shortages = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE, rustix::io::Errno::NOMEM];
    shortages.iter().any(|errno| code == Some(errno.raw_os_error()))
}

/// Makes a connection one of this thread's.
fn welcome(thread: &Rc<IoThread>, stream: TcpStream, addr: SocketAddr, entered: Entered) {
    let now = thread.clock.now();
    let id = thread.with(|state| state.front.open(now, Peer { addr }));
    let scratch: Scratch = thread.scratch();
    let (thread, stream) = (Rc::clone(thread), ClientSocket::new(stream));
    tokio::task::spawn_local(async move {
        connection::serve(thread, scratch, stream, id).await;
        drop(entered);
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(port: u16) -> Config {
        let text = format!("dataDir=/d\nclientPort={port}\nclientPortAddress=127.0.0.1\n");
        oxkeeper_config::parse(text.as_bytes()).unwrap()
    }

    #[tokio::test]
    async fn a_bound_port_turns_clients_away_until_it_listens() {
        let bound = bind(&config(0)).await.unwrap();
        let addr = bound.addr();
        assert_ne!(addr.port(), 0);
        let refused = TcpStream::connect(addr).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let listening = bound.listen().unwrap();
        assert_eq!(listening.addr(), addr);
        // All clients of a server that fails come before the first one is accepted.
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(std::net::TcpStream::connect(addr).unwrap());
        }
        let again = bind(&config(addr.port())).await.unwrap_err();
        assert!(again.message.contains("the port is in use"), "{}", again.message);
    }
    #[tokio::test]
    async fn the_port_moves_or_stays_where_it_was() {
        let mut listening = bind(&config(0)).await.unwrap().listen().unwrap();
        let first = listening.addr();
        let there = bind(&config(0)).await.unwrap().addr();
        let at = |host: &str, port| Address { host: host.into(), port };
        listening.move_to(&at("127.0.0.1", there.port())).await;
        assert_eq!(listening.addr(), there);
        TcpStream::connect(there).await.unwrap();
        listening.accept().await.unwrap();
        let refused = TcpStream::connect(first).await.unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        // No port in particular: the one that it has.
        listening.move_to(&at("127.0.0.1", 0)).await;
        assert_eq!(listening.addr(), there);
        // From one address to all, on the same port.
        listening.move_to(&at("0.0.0.0", there.port())).await;
        assert!(listening.addr().ip().is_unspecified());
        TcpStream::connect(there).await.unwrap();
        listening.accept().await.unwrap();
        // Somebody else is there, and nobody is.
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let _holder = std::net::TcpListener::bind(taken).unwrap();
        listening.move_to(&at("127.0.0.1", taken.port())).await;
        listening.move_to(&at("192.0.2.1", there.port())).await;
        assert_eq!(listening.addr().port(), there.port());
        TcpStream::connect(there).await.unwrap();
        listening.accept().await.unwrap();
    }
}
