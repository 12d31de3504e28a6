//! Sessions that come and go: connect, handshake, close, again.
//!
//! Blocking sockets in small crowds: the server sees several at a time, and the generator needs
//! neither poll set nor state machine for connections that live for three packets.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use oxkeeper_proto::connect::{ConnectResponse, split_frame};
use oxkeeper_proto::{Reader, SessionId};

use crate::engine::{Clock, Span};
use crate::session::{close_frame, connect_frame};
use crate::tally::Tally;
use oxkeeper_proto::ErrorCode;

/// Opens and closes sessions, `crowd` at a time, with all servers in turns, until the end of
/// `span`; the latency of one is the time from connecting to the granted session.
///
/// # Errors
/// When a connection breaks or a session is refused.
pub fn churn(
    addresses: &[SocketAddr],
    crowd: usize,
    timeout_ms: i32,
    clock: Clock,
    span: Span,
    done: &std::sync::atomic::AtomicU64,
) -> Result<Tally> {
    let (hello, goodbye) = (connect_frame(timeout_ms), close_frame());
    let mut tally = Tally::new(1);
    let mut buffer = [0; 256];
    while clock.now_ns() < span.until_ns {
        let mut streams = Vec::with_capacity(crowd);
        for number in 0..crowd {
            let address = addresses[number % addresses.len()];
            let start = Instant::now();
            let mut stream = TcpStream::connect(address).context("connecting")?;
            stream.set_nodelay(true)?;
            stream.set_read_timeout(Some(Duration::from_secs(60)))?;
            stream.write_all(&hello)?;
            streams.push((start, stream));
        }
        for (start, stream) in &mut streams {
            await_session(stream, &mut buffer)?;
            stream.write_all(&goodbye)?;
            let now_ns = clock.now_ns();
            if (span.from_ns..span.until_ns).contains(&now_ns) {
                tally.record(0, start.elapsed().as_nanos() as u64, ErrorCode::OK);
            }
        }
        for (_, stream) in &mut streams {
            while stream.read(&mut buffer).context("waiting for the close")? > 0 {}
        }
        done.fetch_add(crowd as u64, std::sync::atomic::Ordering::Relaxed);
    }
    Ok(tally)
}

/// Reads one ConnectResponse.
fn await_session(stream: &mut TcpStream, buffer: &mut [u8; 256]) -> Result<()> {
    let mut filled = 0;
    loop {
        let len = stream.read(&mut buffer[filled..]).context("waiting for a session")?;
        ensure!(len > 0, "the server closed a connection instead of granting a session");
        filled += len;
        if let Some((frame, _)) = split_frame(&buffer[..filled], buffer.len())? {
            let response = ConnectResponse::decode(&mut Reader::new(frame))?;
            ensure!(response.session != SessionId::NONE, "the server refused a session");
            return Ok(());
        }
    }
}
