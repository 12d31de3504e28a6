//! A network that can be told to fail: it ends connections and refuses new ones, and otherwise
//! carries what it is given.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use tokio::net::{TcpListener, TcpStream};
use tokio::task::AbortHandle;

#[derive(Default)]
struct Rules {
    /// Nobody gets through any more.
    refuse: AtomicBool,
    connections: Mutex<Vec<AbortHandle>>,
}

/// Between clients and one server.
pub struct Proxy {
    pub addr: SocketAddr,
    rules: Arc<Rules>,
}

impl Proxy {
    pub async fn before(server: SocketAddr) -> Proxy {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let rules = Arc::new(Rules::default());
        let own = Arc::clone(&rules);
        tokio::spawn(async move {
            while let Ok((mut client, _)) = listener.accept().await {
                if own.refuse.load(Ordering::SeqCst) {
                    continue;
                }
                let carrying = tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(server).await {
                        // How it ends is nobody's business.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
                own.connections.lock().unwrap().push(carrying.abort_handle());
            }
        });
        Proxy { addr, rules }
    }

    /// Ends every connection.
    pub fn cut(&self) {
        for connection in self.rules.connections.lock().unwrap().drain(..) {
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
}
