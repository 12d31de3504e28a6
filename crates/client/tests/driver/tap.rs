//! TCP with somebody who listens to what the client writes.
//!
//! A connector is where a test can stand between the client and the wire without a word to either:
//! it sees writes as they leave, their sizes and their bytes.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use oxkeeper_client::{Connecting, Connector, Host, Stream, Tcp};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Is told of each write.
type Listener = Arc<dyn Fn(&[u8]) + Send + Sync>;

pub struct Tapped(Listener);

impl Tapped {
    pub fn by(listener: impl Fn(&[u8]) + Send + Sync + 'static) -> Tapped {
        Tapped(Arc::new(listener))
    }
}

struct TappedStream(Box<dyn Stream>, Listener);

impl Connector for Tapped {
    fn connect(&self, host: Host) -> Connecting {
        let (connecting, listener) = (Tcp.connect(host), Arc::clone(&self.0));
        Box::pin(async move {
            Ok(Box::new(TappedStream(connecting.await?, listener)) as Box<dyn Stream>)
        })
    }
}

impl AsyncRead for TappedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for TappedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, bytes))?;
        self.1(&bytes[..written]);
        Poll::Ready(Ok(written))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}
