//! Clients that write whatever happens to servers, and know when they were served again.
//!
//! Each has one session and one write in flight, as an application would; it knows all servers, and
//! when its connection breaks it goes on with its session at the next one, soon. The outage that
//! matters is the applications': from the fault to the first acknowledgement of a write that was
//! sent after it. A write that was on its way when the fault came proves nothing, for it may have
//! been agreed on before.
//!
//! After a fault all that lost their servers are at whichever served first, the new leader. The
//! next fault would find them all there: what would be measured of a frozen leader is how long a
//! client waits for an answer, and nothing of how long the others were without a leader. So each
//! has a home among the servers, and goes there before the next fault ([`Writers::go_home`]).

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, ensure};
use oxkeeper_proto::request::{PathWatch, SetDataRequest};
use oxkeeper_proto::{Reader, Request};

use crate::engine::Clock;
use crate::session::{Resumed, Session, Ticket};

/// Pause before the next server is tried.
const PAUSE: Duration = Duration::from_millis(3);

/// How long a server may take over a handshake.
const HANDSHAKE: Duration = Duration::from_millis(300);

/// Bytes of data in every write.
const VALUE_BYTES: usize = 100;

/// What writers and the one who watches them share.
struct Shared {
    stop: AtomicBool,
    clock: Clock,
    /// When the fault came; never, while there is none.
    fault_ns: AtomicU64,
    /// The first acknowledgement of a write sent after it.
    first_ns: AtomicU64,
    acknowledged: AtomicU64,
    /// How often the writers were sent home.
    homings: AtomicU64,
    /// Writers that have come home since: they have a session there.
    at_home: AtomicU64,
}

/// The clients, at work.
pub struct Writers {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    root: String,
    threads: Vec<JoinHandle<u64>>,
}

impl Writers {
    /// Starts `count` of them over `addresses`, below a znode `root` that exists.
    ///
    /// # Errors
    /// When their znodes cannot be created.
    pub fn start(
        addresses: &[SocketAddr],
        root: &str,
        count: usize,
        timeout_ms: i32,
    ) -> Result<Writers> {
        let mut session = Session::open(addresses[0], timeout_ms)?;
        for number in 0..count {
            session.create(&path_of(root, number), &value_of(0))?;
        }
        session.close()?;
        let shared = Arc::new(Shared {
            stop: AtomicBool::new(false),
            clock: Clock::start(),
            fault_ns: AtomicU64::new(u64::MAX),
            first_ns: AtomicU64::new(u64::MAX),
            acknowledged: AtomicU64::new(0),
            homings: AtomicU64::new(0),
            at_home: AtomicU64::new(0),
        });
        let threads = (0..count)
            .map(|number| {
                let (shared, addresses) = (Arc::clone(&shared), addresses.to_vec());
                let path = path_of(root, number);
                let writer = Writer {
                    shared,
                    addresses,
                    path,
                    home: number,
                    at: number,
                    homing: 0,
                    timeout_ms,
                    written: 0,
                };
                std::thread::spawn(move || writer.run())
            })
            .collect();
        Ok(Writers { shared, addresses: addresses.to_vec(), root: root.to_owned(), threads })
    }

    /// Writes acknowledged so far.
    pub fn acknowledged(&self) -> u64 {
        self.shared.acknowledged.load(Ordering::Relaxed)
    }

    /// Sends every writer to its own server, with its session: they are spread over all of them.
    pub fn go_home(&self) {
        self.shared.at_home.store(0, Ordering::SeqCst);
        self.shared.homings.fetch_add(1, Ordering::SeqCst);
    }

    /// Whether all are there since they were sent.
    pub fn are_home(&self) -> bool {
        self.shared.at_home.load(Ordering::SeqCst) >= self.threads.len() as u64
    }

    /// The fault comes now.
    pub fn fault(&self) {
        self.shared.first_ns.store(u64::MAX, Ordering::SeqCst);
        self.shared.fault_ns.store(self.shared.clock.now_ns(), Ordering::SeqCst);
    }

    /// How long it took from the fault to the first acknowledgement of a write sent after it, if
    /// there has been one.
    pub fn served_after(&self) -> Option<Duration> {
        let first_ns = self.shared.first_ns.load(Ordering::SeqCst);
        let fault_ns = self.shared.fault_ns.load(Ordering::SeqCst);
        (first_ns != u64::MAX).then(|| Duration::from_nanos(first_ns.saturating_sub(fault_ns)))
    }

    /// Ends them, and sees to it that every acknowledged write is there.
    ///
    /// # Errors
    /// When one is not, or nobody can be asked.
    pub fn finish(self) -> Result<()> {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut session = Session::open(self.addresses[0], 30_000)?;
        for (number, thread) in self.threads.into_iter().enumerate() {
            let written = thread.join().map_err(|_| anyhow!("a writer panicked"))?;
            let path = path_of(&self.root, number);
            session.sync()?;
            let read = PathWatch { path: path.as_str().into(), watch: false };
            let answer = session.call(&Request::GetData(read))?;
            ensure!(answer.err.is_ok(), "cannot read {path}: {:?}", answer.err);
            let data = Reader::new(&answer.body).buffer()?.unwrap_or_default();
            let found = number_in(data).with_context(|| format!("{path} holds foreign data"))?;
            ensure!(found >= written, "{path} holds write {found}; {written} was acknowledged");
        }
        session.close()
    }
}

fn path_of(root: &str, number: usize) -> String {
    format!("{root}/writer-{number:04}")
}

/// The data of the n-th write.
fn value_of(number: u64) -> Vec<u8> {
    format!("{number:0VALUE_BYTES$}").into_bytes()
}

fn number_in(data: &[u8]) -> Option<u64> {
    std::str::from_utf8(data).ok()?.parse().ok()
}

struct Writer {
    shared: Arc<Shared>,
    addresses: Vec<SocketAddr>,
    path: String,
    /// Its own server.
    home: usize,
    /// The server whose turn it is.
    at: usize,
    /// The last call home that it has followed.
    homing: u64,
    timeout_ms: i32,
    /// The last write sent.
    written: u64,
}

impl Writer {
    /// Writes until told to stop; the last write that was acknowledged.
    fn run(mut self) -> u64 {
        let mut ticket = Ticket::NEW;
        let mut acknowledged = 0;
        while !self.shared.stop.load(Ordering::SeqCst) {
            let called = self.called();
            if called != self.homing {
                self.at = self.home;
            }
            let address = self.addresses[self.at % self.addresses.len()];
            self.at += 1;
            match Session::resume(address, self.timeout_ms, ticket.clone(), HANDSHAKE) {
                Ok(Resumed::Granted(mut session)) => {
                    if called != self.homing {
                        self.homing = called;
                        self.shared.at_home.fetch_add(1, Ordering::SeqCst);
                    }
                    self.write(&mut session, &mut acknowledged);
                    ticket = session.ticket();
                }
                Ok(Resumed::Expired) => ticket = Ticket::NEW,
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
        acknowledged
    }

    /// How often all were sent home.
    fn called(&self) -> u64 {
        self.shared.homings.load(Ordering::SeqCst)
    }

    /// Writes until the connection breaks, or the writer is called home.
    fn write(&mut self, session: &mut Session, acknowledged: &mut u64) {
        while !self.shared.stop.load(Ordering::SeqCst) && self.called() == self.homing {
            self.written += 1;
            let value = value_of(self.written);
            let path = self.path.as_str().into();
            let set = SetDataRequest { path, data: Some(&value), version: -1 };
            let sent_ns = self.shared.clock.now_ns();
            match session.call(&Request::SetData(set)) {
                Ok(answer) if answer.err.is_ok() => {}
                _ => return,
            }
            *acknowledged = self.written;
            self.shared.acknowledged.fetch_add(1, Ordering::Relaxed);
            if sent_ns > self.shared.fault_ns.load(Ordering::SeqCst) {
                let now_ns = self.shared.clock.now_ns();
                self.shared.first_ns.fetch_min(now_ns, Ordering::SeqCst);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::time::Instant;

    use super::*;
    use crate::canned::Canned;

    fn serve(port: u16) -> SocketAddr {
        let server = Canned::bind((Ipv4Addr::LOCALHOST, port).into()).unwrap();
        let address = server.address().unwrap();
        std::thread::spawn(move || server.run());
        address
    }

    fn until(mut over: impl FnMut() -> bool) {
        let start = Instant::now();
        while !over() {
            assert!(start.elapsed() < Duration::from_secs(20), "it does not happen");
            std::thread::yield_now();
        }
    }

    #[test]
    fn writers_go_back_to_their_own_servers() {
        let there = serve(0);
        // Nobody listens here, until somebody does.
        let away = Canned::bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap().address().unwrap();
        let writers = Writers::start(&[there, away], "/r", 4, 6000).unwrap();
        let written = |count: u64| {
            let before = writers.acknowledged();
            until(|| writers.acknowledged() >= before + count);
        };
        written(100);
        writers.go_home();
        until(|| writers.shared.at_home.load(Ordering::SeqCst) == 2);
        // Two are at home and write; the others' server is away, and elsewhere is not home.
        written(100);
        assert!(!writers.are_home());
        serve(away.port());
        until(|| writers.are_home());
        written(100);
        let Writers { shared, threads, .. } = writers;
        shared.stop.store(true, Ordering::SeqCst);
        let counts: Vec<u64> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert!(counts.iter().all(|count| *count > 0), "{counts:?}");
    }

    #[test]
    fn a_write_says_its_number() {
        for number in [0, 7, u64::MAX] {
            let value = value_of(number);
            assert_eq!((value.len(), number_in(&value)), (VALUE_BYTES, Some(number)));
        }
        assert_eq!(number_in(b"x"), None);
    }
}
