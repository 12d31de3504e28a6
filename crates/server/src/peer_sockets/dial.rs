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

/// Asks whoever knows where a name is; blocks until the answer is there.
type LookUp = fn(&Address) -> io::Result<Vec<SocketAddr>>;

/// Resolves names, each at most once at a time.
#[derive(Debug)]
pub(crate) struct Resolver {
    look_up: LookUp,
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
        Resolver {
            look_up: |Address { host, port }| Ok((&**host, *port).to_socket_addrs()?.collect()),
            busy: Arc::default(),
            told: RefCell::default(),
            unresolved,
        }
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
        let look_up = self.look_up;
        let resolving = tokio::task::spawn_blocking(move || look_up(&busy.address));
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

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::net::TcpListener as Listener;
    use std::sync::mpsc;

    use tokio::task::LocalSet;

    use super::*;

    /// What the names of these tests mean at present.
    static ANSWERS: Mutex<Vec<(&str, Vec<SocketAddr>)>> = Mutex::new(Vec::new());
    /// Names that are not answered until this is dropped.
    static STUCK: Mutex<Vec<(&str, mpsc::Receiver<()>)>> = Mutex::new(Vec::new());
    /// Held by a test whose names do not resolve. The first thread to log from a place decides
    /// whether anybody listens there: it must not be another's than the one that does.
    static LOGGING: Mutex<()> = Mutex::new(());

    fn look_up(address: &Address) -> io::Result<Vec<SocketAddr>> {
        let mut stuck = STUCK.lock();
        if let Some(at) = stuck.iter().position(|(host, _)| *host == &*address.host) {
            let (_, answered) = stuck.swap_remove(at);
            drop(stuck);
            answered.recv().ok();
        }
        let answers = ANSWERS.lock();
        let its = answers.iter().find(|(host, _)| *host == &*address.host);
        its.map(|(_, at)| at.clone()).ok_or_else(|| io::Error::other("no such host"))
    }

    fn answer(host: &'static str, at: &[SocketAddr]) {
        let mut answers = ANSWERS.lock();
        answers.retain(|(other, _)| *other != host);
        answers.push((host, at.to_vec()));
    }

    fn resolver() -> Rc<Resolver> {
        Rc::new(Resolver { look_up, ..Resolver::new(UnresolvedNames::default()) })
    }

    fn named(host: &str) -> Vec<Address> {
        vec![Address { host: host.into(), port: 2888 }]
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(LocalSet::new().run_until(test));
    }

    async fn reached(host: &str, resolver: &Rc<Resolver>) -> Result<SocketAddr, DialError> {
        let stream = dial(named(host), false, Rc::clone(resolver)).await?;
        Ok(stream.peer_addr().unwrap())
    }

    fn listener() -> (Listener, SocketAddr) {
        let listener = Listener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap();
        (listener, at)
    }

    #[test]
    fn names_are_resolved_at_every_dial() {
        let _alone = LOGGING.lock();
        let ((_one, first), (_other, second)) = (listener(), listener());
        run(async {
            let resolver = resolver();
            assert_eq!(reached("moves", &resolver).await, Err(DialError::Unreachable));
            for at in [first, second, first] {
                answer("moves", &[at]);
                assert_eq!(reached("moves", &resolver).await, Ok(at));
            }
        });
    }

    #[test]
    fn all_addresses_of_a_name_are_tried() {
        let (gone, dead) = listener();
        drop(gone);
        let (_listener, at) = listener();
        answer("twofold", &[dead, at]);
        run(async { assert_eq!(reached("twofold", &resolver()).await, Ok(at)) });
    }

    #[test]
    fn a_name_that_takes_long_delays_no_other_and_is_asked_for_once() {
        let _alone = LOGGING.lock();
        let (_listener, at) = listener();
        answer("prompt", &[at]);
        answer("slow", &[at]);
        let (answered, waits) = mpsc::channel();
        STUCK.lock().push(("slow", waits));
        run(async {
            let resolver = resolver();
            let mut slow = std::pin::pin!(reached("slow", &resolver));
            tokio::select! {
                biased;
                found = &mut slow => panic!("nobody has answered: {found:?}"),
                found = reached("prompt", &resolver) => assert_eq!(found, Ok(at)),
            }
            // The next call for it fails at once, and asks nobody.
            assert_eq!(reached("slow", &resolver).await, Err(DialError::Unreachable));
            drop(answered);
            assert_eq!(slow.await, Ok(at));
            assert_eq!(reached("slow", &resolver).await, Ok(at));
        });
    }

    #[test]
    fn a_name_that_does_not_resolve_is_told_of_once_in_a_while_and_counted() {
        #[derive(Clone, Default)]
        struct Log(Arc<Mutex<Vec<u8>>>);
        impl Write for Log {
            fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
                self.0.lock().write(bytes)
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let _alone = LOGGING.lock();
        let log = Log::default();
        let to = log.clone();
        let subscriber = tracing_subscriber::fmt().with_writer(move || to.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            run(async {
                let resolver = resolver();
                for _ in 0..3 {
                    assert_eq!(reached("nowhere", &resolver).await, Err(DialError::Unreachable));
                }
                assert_eq!(resolver.unresolved.among(["nowhere", "slow"].into_iter()), 1);
            });
        });
        let said = String::from_utf8(log.0.lock().clone()).unwrap();
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.len(), 1, "{said}");
        let line = lines[0];
        assert!(line.contains("WARN") && line.contains("nowhere:2888"), "{line}");
        assert!(line.contains("no such host"), "{line}");
    }
}
