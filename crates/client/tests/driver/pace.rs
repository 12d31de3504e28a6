//! How requests leave: what is asked at once in one write, and a window of them that is asked anew
//! as answers are fetched in parts, so that the server has work while answers are looked at.

use std::collections::VecDeque;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use oxkeeper_client::{Client, Connecting, Connector, Host, Stream, Tcp};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::server::addr;
use crate::soon;

/// Sizes of writes, in bytes.
type Sizes = Arc<Mutex<Vec<usize>>>;

/// TCP whose writes are written down.
struct Noted(Sizes);

struct NotedStream(Box<dyn Stream>, Sizes);

impl Connector for Noted {
    fn connect(&self, host: Host) -> Connecting {
        let (connecting, sizes) = (Tcp.connect(host), Arc::clone(&self.0));
        Box::pin(
            async move { Ok(Box::new(NotedStream(connecting.await?, sizes)) as Box<dyn Stream>) },
        )
    }
}

impl AsyncRead for NotedStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buffer)
    }
}

impl AsyncWrite for NotedStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.0).poll_write(cx, bytes));
        self.1.lock().expect("nobody panics").push(bytes.len());
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_window_leaves_at_once_and_is_filled_again_in_parts() {
    const WINDOW: usize = 256;
    // Length, xid, operation, the path with its length, whether to watch.
    const GET: usize = 4 + 4 + 4 + 5 + 1;
    let sizes = Sizes::default();
    let noted = Noted(Arc::clone(&sizes));
    let zk = Client::builder(&addr().to_string()).connector(noted).connect().await.unwrap();
    zk.get("/").await.unwrap();
    sizes.lock().unwrap().clear();
    let mut under_way: VecDeque<_> = (0..WINDOW).map(|_| zk.get("/").send()).collect();
    for _ in 0..WINDOW * 16 {
        let oldest = under_way.pop_front().unwrap();
        soon(oldest).await.unwrap();
        under_way.push_back(zk.get("/").send());
    }
    let sizes = std::mem::take(&mut *sizes.lock().unwrap());
    assert_eq!(sizes[0], WINDOW * GET, "what is asked at once");
    let largest = sizes[1..].iter().max().unwrap() / GET;
    assert!(largest <= WINDOW / 4, "{largest} requests at once");
}
