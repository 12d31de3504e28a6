//! Calling a peer: names resolved anew, addresses tried one beside the other.
//!
//! The system's resolver blocks, for many seconds if the name server is away. So each name has a
//! thread of the runtime's pool to itself, one at a time, and whoever wants it meanwhile fails at
//! once and comes again; nothing else waits for it. Of several addresses the next one is tried when
//! the one before has failed or has taken a moment, so that an address which swallows everything
//! does not use up the time of the others.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use oxkeeper_proto::notification::Address;
use oxkeeper_zab::links::DialError;
use parking_lot::Mutex;
use rustix::net::sockopt;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tracing::{debug, warn};

use super::UnresolvedNames;
use crate::seldom::Seldom;

/// How long an address may take until the next is tried beside it.
const HEAD_START: Duration = Duration::from_millis(250);
/// Names that are being resolved at a time. Hellos can claim any; their number is bounded too.
const RESOLVING_MAX: usize = 64;
/// Names of which it is remembered when their trouble was last told.
const TOLD_MAX: usize = 256;

/// Resolves names, each at most once at a time.
#[derive(Debug)]
pub(crate) struct Resolver {
    busy: Arc<Mutex<HashSet<Address>>>,
    told: RefCell<HashMap<Address, Seldom>>,
    unresolved: UnresolvedNames,
}

/// A name that is being resolved, until this is dropped.
struct Busy {
    busy: Arc<Mutex<HashSet<Address>>>,
    address: Address,
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.busy.lock().remove(&self.address);
    }
}

impl Resolver {
    /// One that notes which names do not resolve.
    pub(crate) fn new(unresolved: UnresolvedNames) -> Resolver {
        Resolver { busy: Arc::default(), told: RefCell::default(), unresolved }
    }

    async fn resolve(&self, address: &Address) -> io::Result<Vec<SocketAddr>> {
        if let Ok(ip) = address.host.parse::<IpAddr>() {
            return Ok(vec![SocketAddr::new(ip, address.port)]);
        }
        let found = self.look_up(address).await;
        self.unresolved.tried(&address.host, found.is_ok());
        if let Err(error) = &found {
            let mut told = self.told.borrow_mut();
            if told.len() >= TOLD_MAX && !told.contains_key(address) {
                told.clear();
            }
            if let Some(before) = told.entry(address.clone()).or_default().may_speak() {
                warn!(%address, %error, before, "the name of a peer does not resolve");
            }
        }
        found
    }

    async fn look_up(&self, address: &Address) -> io::Result<Vec<SocketAddr>> {
        let busy = {
            let mut busy = self.busy.lock();
            if busy.len() >= RESOLVING_MAX || !busy.insert(address.clone()) {
                return Err(io::Error::other("the resolver has not answered the last question"));
            }
            Busy { busy: Arc::clone(&self.busy), address: address.clone() }
        };
        let resolving = tokio::task::spawn_blocking(move || {
            let Address { host, port } = &busy.address;
            (&**host, *port).to_socket_addrs().map(|found| found.collect::<Vec<_>>())
        });
        let found = resolving.await.map_err(io::Error::other)??;
        if found.is_empty() {
            return Err(io::ErrorKind::AddrNotAvailable.into());
        }
        Ok(found)
    }
}

/// Connects to the first of `addresses` that answers. Has no end of its own: whoever called gives
/// up by dropping it.
pub(crate) async fn dial(
    addresses: Vec<Address>,
    keep_alive: bool,
    resolver: Rc<Resolver>,
) -> Result<TcpStream, DialError> {
    let mut waiting = addresses.into_iter();
    let mut attempts = JoinSet::new();
    let mut error = DialError::Refused;
    loop {
        if let Some(address) = waiting.next() {
            let resolver = Rc::clone(&resolver);
            attempts.spawn_local(async move { connect(&address, keep_alive, &resolver).await });
        }
        let more = waiting.len() > 0;
        let ended = tokio::select! {
            ended = attempts.join_next() => ended,
            () = tokio::time::sleep(HEAD_START), if more => continue,
        };
        match ended {
            Some(Ok(Ok(stream))) => return Ok(stream),
            Some(Ok(Err(DialError::Refused))) => {}
            Some(_) => error = DialError::Unreachable,
            None => return Err(error),
        }
    }
}

async fn connect(
    address: &Address,
    keep_alive: bool,
    resolver: &Resolver,
) -> Result<TcpStream, DialError> {
    let found = resolver.resolve(address).await.map_err(|_| DialError::Unreachable)?;
    let mut worst = DialError::Refused;
    for at in found {
        let connected = TcpStream::connect(at).await.and_then(|stream| {
            stream.set_nodelay(true)?;
            sockopt::set_socket_keepalive(&stream, keep_alive)?;
            Ok(stream)
        });
        match connected {
            Ok(stream) => return Ok(stream),
            Err(error) => {
                debug!(%address, %at, %error, "a peer does not answer");
                if error.kind() != io::ErrorKind::ConnectionRefused {
                    worst = DialError::Unreachable;
                }
            }
        }
    }
    Err(worst)
}
