//! One connection: a byte stream between a client and the Front.
//!
//! Any stream will do, so that TLS and what else wraps a socket come in here and nowhere deeper.
//! The task keeps no buffer while the connection is idle: input lands in the thread's own buffer
//! and only the beginning of an incomplete frame is kept.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use oxkeeper_node::ConnId;
use rustix::net::{SendFlags, Shutdown};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

use crate::io_thread::{IoThread, Stopping};

/// Bytes read at once. A pipelining client fills it; larger gains nothing measurable, and serving
/// this many takes less than 200 µs under the lock.
pub const READ_BYTES: usize = 32 << 10;

/// What a client is connected by.
pub trait ClientStream: AsyncRead + AsyncWrite + Unpin {
    /// Writes the last bytes of all together with the end of the stream, if the stream can do that:
    /// one packet instead of two, and the client is woken once.
    fn poll_write_last(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.as_mut().poll_write(cx, bytes)
    }

    /// The socket, if bytes may be sent on it as they are, by whoever has it.
    fn socket(&self) -> Option<&Arc<TcpStream>> {
        None
    }
}

/// A socket that the connection's task shares with those who send events to many at once.
#[derive(Debug)]
pub struct ClientSocket(Arc<TcpStream>);

impl ClientSocket {
    /// A client that connected.
    pub fn new(stream: TcpStream) -> ClientSocket {
        ClientSocket(Arc::new(stream))
    }
}

impl ClientStream for ClientSocket {
    fn poll_write_last(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let stream = &self.0;
        let flags = SendFlags::MORE | SendFlags::NOSIGNAL;
        let sent = stream.try_io(Interest::WRITABLE, || {
            rustix::net::send(stream, bytes, flags).map_err(io::Error::from)
        });
        match sent {
            Ok(sent) => {
                if sent == bytes.len() {
                    // What the kernel held back for more to come goes out with the end.
                    rustix::net::shutdown(stream, Shutdown::Write)?;
                }
                Poll::Ready(Ok(sent))
            }
            Err(_) => self.poll_write(cx, bytes),
        }
    }

    fn socket(&self) -> Option<&Arc<TcpStream>> {
        Some(&self.0)
    }
}

impl AsyncRead for ClientSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let stream = &self.0;
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let unfilled = buffer.initialize_unfilled();
            let room = unfilled.len();
            match stream.try_read(unfilled) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                read => {
                    let bytes = read?;
                    if 0 < bytes && bytes < room {
                        // A short read has emptied the socket. Once the runtime knows that, it
                        // asks the kernel only when there is more.
                        let empty = || Err::<(), _>(io::ErrorKind::WouldBlock.into());
                        let _ = stream.try_io(Interest::READABLE, empty);
                    }
                    buffer.advance(bytes);
                    return Poll::Ready(Ok(()));
                }
            }
        }
    }
}

impl AsyncWrite for ClientSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.0.poll_write_ready(cx))?;
            match self.0.try_write(bytes) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                written => return Poll::Ready(written),
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(rustix::net::shutdown(&self.0, Shutdown::Write).map_err(io::Error::from))
    }
}

/// Serves a connection to its end.
pub async fn serve<S>(thread: Rc<IoThread>, scratch: Scratch, mut stream: S, id: ConnId)
where
    S: ClientStream,
{
    let mut left = Vec::new();
    if let Some(socket) = stream.socket() {
        thread.register_socket(id, socket);
    }
    poll_fn(|cx| {
        thread.register_waker(id, cx.waker());
        match step(&thread, &scratch, &mut stream, id, &mut left, cx) {
            Poll::Ready(_) => Poll::Ready(()),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if thread.stopping() != Stopping::No {
        let _ = tokio::time::timeout(LINGER_MAX, linger(&scratch, &mut stream)).await;
    }
    thread.connection_closed(id);
}

/// How long a stopping server waits for a client to take its last answers and hang up.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// Ends the output and reads to the end. A socket closed with input unread resets the connection,
/// which takes from the client answers that are on their way.
async fn linger<S>(scratch: &Scratch, stream: &mut S)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    poll_fn(|cx| Pin::new(&mut *stream).poll_shutdown(cx).map(drop)).await;
    poll_fn(|cx| {
        let mut scratch = scratch.borrow_mut();
        loop {
            let mut buffer = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
                Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
    })
    .await;
}

/// The buffer that all connections of a thread read into.
pub type Scratch = Rc<std::cell::RefCell<Box<[u8]>>>;

/// A buffer for a thread.
pub fn scratch() -> Scratch {
    Rc::new(std::cell::RefCell::new(vec![0; READ_BYTES].into_boxed_slice()))
}

/// Sends and reads as far as it goes. Ready means that the connection is over.
fn step<S>(
    thread: &IoThread,
    scratch: &Scratch,
    stream: &mut S,
    id: ConnId,
    left: &mut Vec<u8>,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    S: ClientStream,
{
    let mut retried = false;
    loop {
        if let Poll::Ready(result) = send(thread, stream, id, cx) {
            result?;
        }
        let state = thread.with(|state| state.front.state(id));
        if state.close_now || (state.close_after_output && !state.has_output) {
            return Poll::Ready(Ok(()));
        }
        if thread.stopping() != Stopping::No {
            if state.has_output || !thread.with(|state| state.front.is_quiet(id)) {
                return Poll::Pending;
            }
            if thread.stopping() == Stopping::Closing {
                return Poll::Ready(Ok(()));
            }
            thread.attend();
            return Poll::Pending;
        }
        if !state.wants_input {
            // A client that goes away meanwhile is noticed when it is read or written to again.
            return Poll::Pending;
        }
        if !left.is_empty() && !retried {
            // What was held back may be taken now, without waiting for more to arrive.
            retried = true;
            if take(thread, id, left, &[]) > 0 {
                continue;
            }
        }
        let mut scratch = scratch.borrow_mut();
        let mut buffer = ReadBuf::new(&mut scratch);
        match Pin::new(&mut *stream).poll_read(cx, &mut buffer) {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(result) => result?,
        }
        let bytes = buffer.filled();
        if bytes.is_empty() {
            return Poll::Ready(Ok(()));
        }
        take(thread, id, left, bytes);
    }
}

/// Hands bytes to the Front, together with what was left before, and keeps what it does not take.
/// Returns how many were taken.
fn take(thread: &IoThread, id: ConnId, left: &mut Vec<u8>, bytes: &[u8]) -> usize {
    if left.is_empty() {
        let used = thread.receive(id, bytes);
        if used < bytes.len() {
            left.extend_from_slice(&bytes[used..]);
        }
        return used;
    }
    left.extend_from_slice(bytes);
    let used = thread.receive(id, left);
    if used == left.len() {
        *left = Vec::new();
    } else {
        left.drain(..used);
    }
    used
}

fn send<S>(
    thread: &IoThread,
    stream: &mut S,
    id: ConnId,
    cx: &mut Context<'_>,
) -> Poll<io::Result<()>>
where
    S: ClientStream,
{
    loop {
        let written = thread.with(|state| {
            state.front.attended(id);
            let last = state.front.state(id).close_after_output;
            let output = state.front.output(id);
            if output.is_empty() {
                return None;
            }
            let stream = Pin::new(&mut *stream);
            let written = match last {
                true => stream.poll_write_last(cx, output),
                false => stream.poll_write(cx, output),
            };
            match written {
                Poll::Ready(Ok(bytes)) => {
                    state.front.sent(id, bytes);
                    Some(Poll::Ready(Ok(bytes)))
                }
                other => Some(other),
            }
        });
        match written {
            None => return Poll::Ready(Ok(())),
            Some(Poll::Pending) => return Poll::Pending,
            Some(Poll::Ready(Err(error))) => return Poll::Ready(Err(error)),
            Some(Poll::Ready(Ok(0))) => {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            Some(Poll::Ready(Ok(_))) => {}
        }
    }
}
