//! A network that can be told to fail.
//!
//! Connections are carried byte for byte until the test says otherwise: cut, let nobody in, or go
//! on reading and pass nothing on in one direction. That something was swallowed can be waited for,
//! so no test needs to guess when.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::AbortHandle;

#[derive(Debug, Default)]
struct Rules {
    /// Nobody gets through any more.
    refuse: AtomicBool,
    /// What clients send vanishes.
    deaf: AtomicBool,
    /// What the server sends vanishes.
    mute: AtomicBool,
    /// Told of whatever vanishes.
    vanished: Notify,
    connections: Mutex<Vec<AbortHandle>>,
}

/// Between clients and one server, until its runtime ends.
#[derive(Debug)]
pub struct Proxy {
    /// Where it listens.
    pub addr: SocketAddr,
    rules: Arc<Rules>,
}

impl Proxy {
    /// Begins to carry, on the current runtime.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn before(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let addr = listener.local_addr().expect("its address");
        let rules = Arc::new(Rules::default());
        let own = Arc::clone(&rules);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if own.refuse.load(Ordering::SeqCst) {
                    continue;
                }
                let carrying = tokio::spawn(carry(client, server, Arc::clone(&own)));
                lock(&own).push(carrying.abort_handle());
            }
        });
        Proxy { addr, rules }
    }

    /// Ends every connection.
    pub fn cut(&self) {
        for connection in lock(&self.rules).drain(..) {
            connection.abort();
        }
    }

    /// Ends every connection and lets nobody in, or lets them in again.
    pub fn refuse(&self, refuse: bool) {
        self.rules.refuse.store(refuse, Ordering::SeqCst);
        if refuse {
            self.cut();
        }
    }

    /// Waits until something has vanished.
    pub async fn vanished(&self) {
        self.rules.vanished.notified().await;
    }

    /// What clients send vanishes, or no longer does.
    pub fn deaf(&self, deaf: bool) {
        self.rules.deaf.store(deaf, Ordering::SeqCst);
    }

    /// What the server sends vanishes, or no longer does.
    pub fn mute(&self, mute: bool) {
        self.rules.mute.store(mute, Ordering::SeqCst);
    }
}

fn lock(rules: &Rules) -> MutexGuard<'_, Vec<AbortHandle>> {
    // Nothing is left half done under this lock.
    rules.connections.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn carry(client: TcpStream, server: SocketAddr, rules: Arc<Rules>) {
    let Ok(server) = TcpStream::connect(server).await else { return };
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        () = pump(from_client, to_server, &rules.deaf, &rules.vanished) => {}
        () = pump(from_server, to_client, &rules.mute, &rules.vanished) => {}
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    swallow: &AtomicBool,
    vanished: &Notify,
) {
    let mut buffer = vec![0; 16 * 1024];
    while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
        if swallow.load(Ordering::SeqCst) {
            vanished.notify_one();
        } else if to.write_all(&buffer[..bytes]).await.is_err() {
            return;
        }
    }
}
