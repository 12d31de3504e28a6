//! One socket to a server, blocking, with a limit on every wait: what hangs is a finding, and has
//! to be told as one.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a server may take to answer anything at all.
pub const REPLY_TIMEOUT: Duration = Duration::from_secs(30);

/// What came next on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Received {
    /// A frame's content, length excluded.
    Frame(Vec<u8>),
    /// The server has closed. Whether by FIN or RST depends on what it had not read.
    Closed,
    /// Nothing within the time given.
    Nothing,
}

/// A connection, handshake or not.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    pending: Vec<u8>,
    closed: bool,
}

impl Connection {
    /// Connects, and sends nothing.
    ///
    /// # Errors
    /// When the server does not accept.
    pub fn open(addr: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect_timeout(&addr, REPLY_TIMEOUT)?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(REPLY_TIMEOUT))?;
        Ok(Self { stream, pending: Vec::new(), closed: false })
    }

    /// Sends bytes. That the server has closed shows when its answer is awaited, not here: it may
    /// have answered before.
    pub fn send(&mut self, bytes: &[u8]) {
        // Nothing is lost by not looking: a broken pipe is followed by the close that is reported.
        self.stream.write_all(bytes).ok();
    }

    /// Tells the server that nothing more will come, and keeps listening.
    pub fn finish(&mut self) {
        self.stream.shutdown(Shutdown::Write).ok();
    }

    /// Waits for the next frame.
    ///
    /// # Errors
    /// An operating-system error other than a close.
    pub fn receive(&mut self) -> io::Result<Received> {
        self.receive_within(REPLY_TIMEOUT)
    }

    /// Waits for the next frame for at most `limit`.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_within(&mut self, limit: Duration) -> io::Result<Received> {
        let deadline = Instant::now() + limit;
        loop {
            if let Some(frame) = self.take_frame() {
                return Ok(Received::Frame(frame));
            }
            if self.closed {
                return Ok(Received::Closed);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Received::Nothing);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut chunk = [0; 16 * 1024];
            match self.stream.read(&mut chunk) {
                Ok(0) => self.closed = true,
                Ok(count) => self.pending.extend_from_slice(&chunk[..count]),
                Err(error) => match error.kind() {
                    ErrorKind::ConnectionReset | ErrorKind::BrokenPipe => self.closed = true,
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted => {}
                    _ => return Err(error),
                },
            }
        }
    }

    /// Everything up to the server's close, frames or not; `None` when it does not close in time.
    ///
    /// # Errors
    /// As [`receive`](Self::receive).
    pub fn receive_rest(&mut self) -> io::Result<Option<Vec<u8>>> {
        self.stream.set_read_timeout(Some(REPLY_TIMEOUT))?;
        match self.stream.read_to_end(&mut self.pending) {
            Ok(_) => Ok(Some(std::mem::take(&mut self.pending))),
            Err(error) => match error.kind() {
                ErrorKind::ConnectionReset => Ok(Some(std::mem::take(&mut self.pending))),
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Ok(None),
                _ => Err(error),
            },
        }
    }

    fn take_frame(&mut self) -> Option<Vec<u8>> {
        let (length, _) = self.pending.split_first_chunk::<4>()?;
        let end = 4usize.checked_add(usize::try_from(i32::from_be_bytes(*length)).ok()?)?;
        (self.pending.len() >= end).then(|| {
            let frame = self.pending[4..end].to_vec();
            self.pending.drain(..end);
            frame
        })
    }
}
