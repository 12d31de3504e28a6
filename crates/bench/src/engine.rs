//! The generator's loop: many connections, one thread, nothing between socket and count.
//!
//! It shares a small machine with the server it measures, so it has to be the cheaper of the two:
//! non-blocking sockets in one edge-triggered poll set, one clock reading per turn, one `read` and
//! one `write` per connection and turn however many requests they carry, replies looked at no
//! further than their header. What is sent, and what a reply means, is a [`Work`]'s business.
//!
//! Two ways to send. A *closed* load keeps a window of requests in flight on every connection and
//! shows what a server can do. An *open* load sends on schedule whatever the server does, and times
//! every request from the moment it was *due*: when the server stalls, the requests that could not
//! be sent meanwhile count with the time that their senders would have waited.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Events, Interest, Poll, Token};
use oxkeeper_proto::connect::split_frame;
use oxkeeper_proto::limits::FRAME_BYTES_CEILING;
use oxkeeper_proto::request::RequestHeader;
use oxkeeper_proto::response::{ReplyHeader, xid};
use oxkeeper_proto::{ErrorCode, OpCode, Reader};

use crate::session::{Session, close_all};
use crate::tally::Tally;
use crate::timer::Timer;

/// How long all connections may stay silent with requests in flight.
const SILENCE_NS_MAX: u64 = 120_000_000_000;

/// Requests an open load may have waiting before the server is declared too slow for its rate.
const WAITING_MAX: usize = 4_000_000;

/// How long a poll lasts when nothing is due: the end of a run is noticed no later.
const IDLE_WAIT: Duration = Duration::from_millis(100);

const TIMER: Token = Token(usize::MAX);

/// Nanoseconds since a moment that all threads of a run share.
#[derive(Debug, Clone, Copy)]
pub struct Clock(Instant);

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock(Instant::now())
    }

    /// Nanoseconds since the start.
    #[inline]
    pub fn now_ns(self) -> u64 {
        self.0.elapsed().as_nanos() as u64
    }
}

/// One reply, as far as the loop understands it.
pub struct Reply<'a> {
    /// The connection's number.
    pub conn: usize,
    /// What [`Work::next`] called the request.
    pub kind: u8,
    /// The outcome in the header.
    pub err: ErrorCode,
    /// The record behind the header.
    pub body: &'a [u8],
}

/// What is sent, and what is made of the replies.
pub trait Work {
    /// Names of the kinds of requests; [`Work::next`] returns indices into them.
    fn kinds(&self) -> &[&'static str];

    /// Appends the next request of a connection, framed, and says its kind; `None` when there is
    /// nothing to send there until something arrives.
    fn next(&mut self, conn: usize, xid: i32, out: &mut Vec<u8>) -> Option<u8>;

    /// Takes a reply and returns its outcome, which for a multi lies in the body.
    fn reply(&mut self, reply: &Reply<'_>, now_ns: u64) -> ErrorCode {
        let _ = now_ns;
        reply.err
    }

    /// Takes a watch event.
    fn event(&mut self, conn: usize, now_ns: u64) {
        let _ = (conn, now_ns);
    }

    /// Another connection that has something to send now.
    fn woken(&mut self) -> Option<usize> {
        None
    }

    /// How long to let arrivals gather before they are looked at, while many are on their way and
    /// only the last of them counts. A generator that is woken for each takes from the server, on a
    /// machine that both share, as much as it measures.
    fn gathers(&self, unread: usize) -> Option<Duration> {
        let _ = unread;
        None
    }

    /// Whether what has come to `unread` connections that wait for no reply may stay there until
    /// more has come. It counts as heard when it came: a client that reads takes from the server,
    /// on a machine that both share, what clients on machines of their own do not.
    fn leaves(&self, unread: usize) -> bool {
        let _ = unread;
        false
    }

    /// Whether everything has been sent and answered.
    fn finished(&self) -> bool {
        false
    }
}

/// When requests are sent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    /// This many in flight per connection.
    Closed(usize),
    /// This many per second over all connections, whatever comes back.
    Open(f64),
}

/// The part of a run that counts, on the run's [`Clock`].
#[derive(Debug, Clone, Copy)]
pub struct Span {
    /// What comes before is warm-up.
    pub from_ns: u64,
    /// The end of sending.
    pub until_ns: u64,
}

struct Flight {
    xid: i32,
    kind: u8,
    sent_ns: u64,
}

struct Conn {
    stream: TcpStream,
    out: Vec<u8>,
    /// How much of `out` the socket has taken.
    written: usize,
    /// The beginning of a frame whose end has not arrived.
    partial: Vec<u8>,
    flights: VecDeque<Flight>,
    next_xid: i32,
    last_sent_ns: u64,
    /// When something came that is not read yet; 0 when nothing did.
    arrived_ns: u64,
}

/// A set of connections and the loop over them.
pub struct Engine {
    poll: Poll,
    timer: Timer,
    conns: Vec<Conn>,
    /// Connections with something that is not read yet.
    unread: Vec<usize>,
    clock: Clock,
    scratch: Vec<u8>,
    ping_every_ns: u64,
    next_ping_ns: u64,
    in_flight: usize,
    last_heard_ns: u64,
    /// Replies and events so far, for whoever shows progress.
    pub done: Arc<AtomicU64>,
}

impl Engine {
    /// Opens `count` sessions, spread over `addresses`.
    ///
    /// # Errors
    /// When a session is not granted or descriptors run out.
    pub fn connect(
        addresses: &[SocketAddr],
        count: usize,
        timeout_ms: i32,
        clock: Clock,
    ) -> Result<Self> {
        let sessions = Session::open_many(addresses, count, timeout_ms)?;
        let granted_ms = sessions.first().map_or(timeout_ms, Session::timeout_ms);
        let poll = Poll::new()?;
        let timer = Timer::new(poll.registry(), TIMER)?;
        let mut conns = Vec::with_capacity(count);
        for (number, session) in sessions.into_iter().enumerate() {
            let stream = session.into_stream();
            stream.set_nonblocking(true)?;
            let mut stream = TcpStream::from_std(stream);
            let both = Interest::READABLE | Interest::WRITABLE;
            poll.registry().register(&mut stream, Token(number), both)?;
            conns.push(Conn {
                stream,
                out: Vec::new(),
                written: 0,
                partial: Vec::new(),
                flights: VecDeque::new(),
                next_xid: 1,
                last_sent_ns: clock.now_ns(),
                arrived_ns: 0,
            });
        }
        let ping_every_ns = granted_ms as u64 * 1_000_000 / 3;
        Ok(Engine {
            poll,
            timer,
            conns,
            unread: Vec::new(),
            clock,
            scratch: vec![0; 256 << 10],
            ping_every_ns,
            next_ping_ns: 0,
            in_flight: 0,
            last_heard_ns: 0,
            done: Arc::default(),
        })
    }

    /// Sends `work` as `load` says until the end of `span`, then waits for what is in flight.
    ///
    /// # Errors
    /// When a connection breaks, replies come out of order, or the server falls silent.
    pub fn run<W: Work>(&mut self, work: &mut W, load: Load, span: Span) -> Result<Tally> {
        let mut tally = Tally::new(work.kinds().len());
        let mut events = Events::with_capacity(1024);
        let mut schedule = Schedule::new(load, self.clock.now_ns());
        let window = match load {
            Load::Closed(window) => window,
            Load::Open(_) => 0,
        };
        self.last_heard_ns = self.clock.now_ns();
        for conn in 0..self.conns.len() {
            self.fill(conn, work, window)?;
        }
        loop {
            let now_ns = self.clock.now_ns();
            let sending = now_ns < span.until_ns && !work.finished();
            if !sending && self.in_flight == 0 {
                return Ok(tally);
            }
            let wait = match sending {
                true => self.send_due(work, &mut schedule)?,
                false => IDLE_WAIT,
            };
            if let Some(while_more_come) = work.gathers(self.unread.len()) {
                std::thread::sleep(while_more_come);
            }
            match self.poll.poll(&mut events, Some(wait)) {
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                polled => polled?,
            }
            let now_ns = self.clock.now_ns();
            let window = if now_ns < span.until_ns { window } else { 0 };
            for event in events.iter().filter(|event| event.token() != TIMER) {
                let conn = event.token().0;
                let closed = event.is_read_closed();
                if closed || event.is_readable() && !self.leave(conn, work, now_ns) {
                    let mut turn = Turn { tally: &mut tally, load, span, now_ns };
                    self.receive(conn, work, &mut turn, closed)?;
                }
                self.fill(conn, work, window)?;
                while let Some(other) = work.woken() {
                    self.fill(other, work, window)?;
                }
            }
            if !work.leaves(self.unread.len()) {
                self.read_what_was_left(work, (&mut tally, load, span))?;
                while let Some(other) = work.woken() {
                    self.fill(other, work, window)?;
                }
            }
            self.keep_alive(now_ns)?;
        }
    }

    /// Leaves unread what has come to a connection, if `work` wants it so.
    fn leave<W: Work>(&mut self, number: usize, work: &W, now_ns: u64) -> bool {
        let conn = &mut self.conns[number];
        let known = conn.arrived_ns > 0;
        let may = conn.flights.is_empty() && work.leaves(self.unread.len());
        if !known && !may {
            return false;
        }
        conn.arrived_ns = now_ns;
        if !known {
            self.unread.push(number);
        }
        true
    }

    /// Reads what [`Engine::leave`] has left, as of when it came.
    fn read_what_was_left<W: Work>(
        &mut self,
        work: &mut W,
        (tally, load, span): (&mut Tally, Load, Span),
    ) -> Result<()> {
        let mut unread = std::mem::take(&mut self.unread);
        unread.sort_by_key(|&number| self.conns[number].arrived_ns);
        for number in unread {
            let now_ns = std::mem::take(&mut self.conns[number].arrived_ns);
            self.receive(number, work, &mut Turn { tally, load, span, now_ns }, false)?;
        }
        Ok(())
    }

    /// Sends until `window` requests are in flight on a connection.
    fn fill<W: Work>(&mut self, number: usize, work: &mut W, window: usize) -> Result<()> {
        let conn = &mut self.conns[number];
        let mut now_ns = None;
        while conn.flights.len() < window {
            let Some(kind) = work.next(number, conn.next_xid, &mut conn.out) else { break };
            let sent_ns = *now_ns.get_or_insert_with(|| self.clock.now_ns());
            conn.launch(kind, sent_ns, sent_ns);
            self.in_flight += 1;
        }
        conn.flush()
    }

    /// Sends what is due by now and sets the timer for the next; how long the poll may last.
    fn send_due<W: Work>(&mut self, work: &mut W, due: &mut Schedule) -> Result<Duration> {
        let Some(interval_ns) = due.interval_ns else { return Ok(IDLE_WAIT) };
        let now_ns = self.clock.now_ns();
        let conns = self.conns.len();
        let first = due.sent as usize;
        let mut touched = 0;
        let mut due_ns = due.at_ns(interval_ns);
        while due_ns <= now_ns {
            let number = due.sent as usize % conns;
            let conn = &mut self.conns[number];
            if let Some(kind) = work.next(number, conn.next_xid, &mut conn.out) {
                conn.launch(kind, due_ns, now_ns);
                self.in_flight += 1;
            }
            ensure!(self.in_flight < WAITING_MAX, "the server cannot keep up with this --rate");
            due.sent += 1;
            touched += 1;
            due_ns = due.at_ns(interval_ns);
        }
        for number in first..first + touched.min(conns) {
            self.conns[number % conns].flush()?;
        }
        let wait = Duration::from_nanos(due_ns - now_ns);
        // Replies wake us in between; the timer is then set already.
        if due.armed_ns != due_ns {
            due.armed_ns = due_ns;
            self.timer.arm(wait)?;
        }
        Ok(Timer::poll_wait(wait))
    }

    /// Reads a socket dry and hands its frames on.
    fn receive<W: Work>(
        &mut self,
        number: usize,
        work: &mut W,
        turn: &mut Turn<'_>,
        to_its_end: bool,
    ) -> Result<()> {
        let mut handled = 0;
        loop {
            let conn = &mut self.conns[number];
            let kept = conn.partial.len();
            if kept * 2 > self.scratch.len() {
                self.scratch.resize(kept * 4, 0);
            }
            self.scratch[..kept].copy_from_slice(&conn.partial);
            let room = self.scratch.len() - kept;
            let len = match conn.stream.read(&mut self.scratch[kept..]) {
                Ok(0) => bail!("the server closed connection {number} while it was in use"),
                Ok(len) => len,
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).context("reading from the server"),
            };
            let mut rest = &self.scratch[..kept + len];
            while let Some((frame, behind)) = split_frame(rest, FRAME_BYTES_CEILING)? {
                self.in_flight -= conn.take(number, frame, work, turn)?;
                handled += 1;
                rest = behind;
            }
            conn.partial.clear();
            conn.partial.extend_from_slice(rest);
            // A short read has emptied the socket, unless its end follows.
            if len < room && !to_its_end {
                break;
            }
        }
        self.last_heard_ns = turn.now_ns;
        self.done.fetch_add(handled, Ordering::Relaxed);
        Ok(())
    }

    /// Pings sessions that have been idle, and notices a server that has stopped answering.
    fn keep_alive(&mut self, now_ns: u64) -> Result<()> {
        if self.in_flight > 0 && now_ns.saturating_sub(self.last_heard_ns) > SILENCE_NS_MAX {
            bail!("no reply for {} s with requests in flight", SILENCE_NS_MAX / 1_000_000_000);
        }
        if now_ns < self.next_ping_ns {
            return Ok(());
        }
        self.next_ping_ns = now_ns + self.ping_every_ns / 4;
        for conn in &mut self.conns {
            if now_ns - conn.last_sent_ns.min(now_ns) > self.ping_every_ns {
                conn.out.extend_from_slice(&8_i32.to_be_bytes());
                RequestHeader { xid: xid::PING, op: OpCode::PING }.encode(&mut conn.out);
                conn.last_sent_ns = now_ns;
                conn.flush()?;
            }
        }
        Ok(())
    }

    /// Ends the sessions and waits until the server has closed the connections.
    ///
    /// # Errors
    /// When it does not.
    pub fn close(self) -> Result<()> {
        close_all(self.conns.into_iter().map(|conn| conn.stream.into()).collect())
    }
}

/// What handling a frame needs to know about the turn it is handled in.
struct Turn<'a> {
    tally: &'a mut Tally,
    load: Load,
    span: Span,
    now_ns: u64,
}

impl Turn<'_> {
    /// Whether a reply belongs to the measured part. A closed load counts by arrival. An open one
    /// counts by due time, however late the reply is: dropping the late ones would hide them.
    fn counts(&self, sent_ns: u64) -> bool {
        match self.load {
            Load::Closed(_) => (self.span.from_ns..self.span.until_ns).contains(&self.now_ns),
            Load::Open(_) => sent_ns >= self.span.from_ns,
        }
    }
}

impl Conn {
    /// Books the request that has just been appended to `out`.
    fn launch(&mut self, kind: u8, sent_ns: u64, now_ns: u64) {
        self.flights.push_back(Flight { xid: self.next_xid, kind, sent_ns });
        self.next_xid = if self.next_xid == i32::MAX - 1 { 1 } else { self.next_xid + 1 };
        self.last_sent_ns = now_ns;
    }

    /// Writes as much as the socket takes.
    fn flush(&mut self) -> Result<()> {
        while self.written < self.out.len() {
            match self.stream.write(&self.out[self.written..]) {
                Ok(len) => self.written += len,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e).context("writing to the server"),
            }
        }
        self.out.clear();
        self.written = 0;
        Ok(())
    }

    /// Handles one frame; returns how many requests it answers, 0 or 1.
    #[inline]
    fn take<W: Work>(
        &mut self,
        conn: usize,
        frame: &[u8],
        work: &mut W,
        turn: &mut Turn<'_>,
    ) -> Result<usize> {
        let mut reader = Reader::new(frame);
        let header = ReplyHeader::decode(&mut reader).context("reply header")?;
        if header.xid < 0 {
            if header.xid == xid::NOTIFICATION {
                turn.tally.events += u64::from(turn.counts(turn.now_ns));
                work.event(conn, turn.now_ns);
            }
            return Ok(0);
        }
        let flight = self.flights.pop_front().context("a reply that nobody asked for")?;
        ensure!(
            flight.xid == header.xid,
            "replies out of order on connection {conn}: xid {} instead of {}",
            header.xid,
            flight.xid
        );
        let reply = Reply { conn, kind: flight.kind, err: header.err, body: reader.rest() };
        let err = work.reply(&reply, turn.now_ns);
        if turn.counts(flight.sent_ns) {
            turn.tally.record(flight.kind, turn.now_ns.saturating_sub(flight.sent_ns), err);
        }
        Ok(1)
    }
}

/// When the requests of an open load are due.
struct Schedule {
    interval_ns: Option<f64>,
    start_ns: u64,
    sent: u64,
    /// What the timer is set for.
    armed_ns: u64,
}

impl Schedule {
    fn new(load: Load, start_ns: u64) -> Schedule {
        let interval_ns = match load {
            Load::Open(rate) => Some(1e9 / rate),
            Load::Closed(_) => None,
        };
        Schedule { interval_ns, start_ns, sent: 0, armed_ns: 0 }
    }

    /// The n-th is due n intervals after the start: rounding never adds up.
    fn at_ns(&self, interval_ns: f64) -> u64 {
        self.start_ns + (self.sent as f64 * interval_ns) as u64
    }
}
