//! One connection: bytes in, bytes out, until either side has had enough.
//!
//! Reading and writing go on beside each other. What has come is kept until it is a whole hello or
//! message; the buffer grows with what comes and never by what was announced. A reader that is
//! ahead of the port waits, and TCP makes the peer wait.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use oxkeeper_proto::notification::{Hello, HelloError, MessageLength, split_message};
use oxkeeper_proto::stream::Split;
use oxkeeper_zab::links::ConnId;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::{mpsc, oneshot};

use super::Input;

/// A greeting and the one message that may be under way: more is never given to a connection.
const OUT_MAX: usize = 4;
/// How long a connection that is given up may take to get rid of what was given to it.
const LINGER: Duration = Duration::from_secs(1);
/// The room that a read is offered at the least.
const READ_BYTES: usize = 4 << 10;

/// Why a connection ended, if there is something to say about it.
#[derive(Debug)]
pub(super) enum Fault {
    /// The first bytes are no hello: somebody else's program, or a scanner.
    Hello(HelloError),
    /// A length that no message has.
    Length(MessageLength),
    /// The network's.
    Io(io::Error),
}

/// What is written.
#[derive(Debug)]
pub(super) enum Out {
    /// A hello. Nobody is told when it is out.
    Greeting(Vec<u8>),
    /// A message with its length; the port is told when the next may come.
    Message(Vec<u8>),
}

/// The port's end of a connection. Dropping it ends the connection, once all is written.
#[derive(Debug)]
pub(super) struct Wire {
    out: mpsc::Sender<Out>,
    _hang_up: oneshot::Sender<()>,
}

impl Wire {
    /// False if the connection has ended or is given more than it may be.
    pub(super) fn put(&self, out: Out) -> bool {
        self.out.try_send(out).is_ok()
    }
}

/// The port's end and the task of a connection. `greets`: the peer opened it, so that a hello is
/// what comes first.
pub(super) fn wire(
    conn: ConnId,
    stream: TcpStream,
    greets: bool,
    inputs: mpsc::Sender<Input>,
) -> (Wire, impl Future<Output = ()>) {
    let (out, outs) = mpsc::channel(OUT_MAX);
    let (hang_up, hung_up) = oneshot::channel::<()>();
    let task = async move {
        tokio::select! {
            () = serve(conn, stream, greets, outs, inputs) => {}
            () = async { hung_up.await.ok(); tokio::time::sleep(LINGER).await } => {}
        }
    };
    (Wire { out, _hang_up: hang_up }, task)
}

async fn serve(
    conn: ConnId,
    mut stream: TcpStream,
    greets: bool,
    outs: mpsc::Receiver<Out>,
    inputs: mpsc::Sender<Input>,
) {
    let (read, write) = stream.split();
    let ended = tokio::select! {
        ended = read_all(conn, read, greets, &inputs) => ended,
        ended = write_all(conn, write, outs, &inputs) => ended.map_err(Fault::Io),
    };
    // Nobody listens any more when the port itself is ending.
    inputs.send(Input::Ended(conn, ended.err())).await.ok();
}

async fn read_all(
    conn: ConnId,
    mut from: ReadHalf<'_>,
    greets: bool,
    inputs: &mpsc::Sender<Input>,
) -> Result<(), Fault> {
    let mut bytes = BytesMut::new();
    let mut expects_hello = greets;
    loop {
        while let Some(input) = next(conn, &mut bytes, &mut expects_hello)? {
            if inputs.send(input).await.is_err() {
                return Ok(());
            }
        }
        bytes.reserve(READ_BYTES);
        if from.read_buf(&mut bytes).await.map_err(Fault::Io)? == 0 {
            return Ok(());
        }
    }
}

/// Takes the first whole hello or message off the bytes.
fn next(
    conn: ConnId,
    bytes: &mut BytesMut,
    expects_hello: &mut bool,
) -> Result<Option<Input>, Fault> {
    if *expects_hello {
        let (hello, len) = match Hello::split(bytes).map_err(Fault::Hello)? {
            Split::Whole(hello, rest) => (hello, bytes.len() - rest.len()),
            Split::Incomplete { .. } => return Ok(None),
        };
        bytes.advance(len);
        *expects_hello = false;
        return Ok(Some(Input::Greeted(conn, hello)));
    }
    let len = match split_message(bytes).map_err(Fault::Length)? {
        Split::Whole(payload, _) => payload.len(),
        Split::Incomplete { .. } => return Ok(None),
    };
    bytes.advance(size_of::<i32>());
    let payload: Bytes = bytes.split_to(len).freeze();
    Ok(Some(Input::Message(conn, payload)))
}

async fn write_all(
    conn: ConnId,
    mut to: WriteHalf<'_>,
    mut outs: mpsc::Receiver<Out>,
    inputs: &mpsc::Sender<Input>,
) -> io::Result<()> {
    while let Some(out) = outs.recv().await {
        match out {
            Out::Greeting(bytes) => to.write_all(&bytes).await?,
            Out::Message(bytes) => {
                to.write_all(&bytes).await?;
                inputs.send(Input::Written(conn)).await.ok();
            }
        }
    }
    to.shutdown().await
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Fault::Hello(error) => error.fmt(f),
            Fault::Length(error) => error.fmt(f),
            Fault::Io(error) => error.fmt(f),
        }
    }
}
