//! The client port: accepting connections and dealing them out to the I/O threads.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use oxkeeper_config::{BindAddr, Config, ExitCode};
use oxkeeper_node::Peer;
use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpSocket, TcpStream};

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
    backlog: u32,
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
    pub fn listen(self) -> Result<TcpListener, StartError> {
        let Bound { socket, addr, backlog } = self;
        socket.listen(backlog).map_err(|error| cannot_listen(addr, &error))
    }
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
    let socket = if addr.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() };
    let socket = socket.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    // Linux gives an accepted socket the options of the one that listened.
    socket.set_nodelay(true).map_err(failed)?;
    socket.set_keepalive(listen.tcp_keep_alive).map_err(failed)?;
    socket.bind(addr).map_err(failed)?;
    let addr = socket.local_addr().map_err(failed)?;
    Ok(Bound { socket, addr, backlog: listen.backlog.unwrap_or(BACKLOG_DEFAULT) })
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

/// The bounds on connections, and the counts they are held against.
#[derive(Debug)]
pub struct Door {
    per_ip_max: u32,
    total_max: u32,
    counts: Mutex<Counts>,
}

impl Door {
    /// A door with the bounds of the configuration; 0 means none.
    pub fn new(config: &Config) -> Self {
        Door {
            per_ip_max: config.limits.max_client_cnxns,
            total_max: config.limits.max_cnxns,
            counts: Mutex::default(),
        }
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

/// Accepts until it is dropped, on the first I/O thread. Connections go to `targets` in turn.
pub async fn accept(
    listener: TcpListener,
    door: Arc<Door>,
    first: Rc<IoThread>,
    targets: Vec<Arc<Mailbox>>,
) {
    let mut next = 0;
    let (mut troubles, mut refusals) = (Seldom::default(), Seldom::default());
    loop {
        let (stream, addr) = match listener.accept().await {
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
        let listener = bound.listen().unwrap();
        assert_eq!(listener.local_addr().unwrap(), addr);
        // All clients of a server that fails come before the first one is accepted.
        let mut clients = Vec::new();
        for _ in 0..200 {
            clients.push(std::net::TcpStream::connect(addr).unwrap());
        }
        let again = bind(&config(addr.port())).await.unwrap_err();
        assert!(again.message.contains("the port is in use"), "{}", again.message);
    }
}
