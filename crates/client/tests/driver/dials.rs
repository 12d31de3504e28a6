//! From the connect string to a connection: who is dialled first, where a name leads, and what lies
//! between the client and the wire.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use oxkeeper_client::{
    Client, Connecting, Connector, ErrorKind, Host, Resolver, Resolving, State, Stream, Tcp,
};
use oxkeeper_scratch::Proxy;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{addr, place};
use crate::soon;

/// Where every name leads, until something else is said; and which names were asked for.
#[derive(Clone, Default)]
struct Names(Arc<Mutex<(Vec<SocketAddr>, Vec<String>)>>);

impl Names {
    fn lead_to(&self, addresses: &[SocketAddr]) {
        self.0.lock().unwrap().0 = addresses.to_vec();
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().1)
    }
}

impl Resolver for Names {
    fn resolve(&self, host: Host) -> Resolving {
        let mut names = self.0.lock().unwrap();
        names.1.push(format!("{}:{}", host.name, host.port));
        let found = names.0.clone();
        Box::pin(async move { Ok(found) })
    }
}

/// An address where nobody listens: none of a test's own, whose port another test could get.
fn nobody(port: u16) -> SocketAddr {
    assert!((1..10).contains(&port));
    SocketAddr::from(([127, 0, 0, 1], port))
}

#[tokio::test]
async fn names_are_resolved_at_every_dial() {
    let place = place().await;
    let (old, new) = (Proxy::before(addr()).await, Proxy::before(addr()).await);
    let names = Names::default();
    names.lead_to(&[old.addr]);
    let builder = Client::builder(&format!("coordination:2181{place}"));
    let builder = builder.connector(Tcp::resolved_by(names.clone()));
    let zk = soon(builder.connect()).await.unwrap();
    let session = zk.session_id();
    let mut states = zk.states();
    zk.create("/e", b"").ephemeral().await.unwrap();
    assert_eq!(names.asked(), ["coordination:2181"]);

    // The server moves: its name leads elsewhere, and nobody listens where it was.
    names.lead_to(&[new.addr]);
    old.refuse(true);
    while !matches!(soon(states.next()).await, Some(State::Suspended { .. })) {}
    soon(zk.sync("/").send()).await.unwrap();
    assert_eq!(zk.session_id(), session);
    let asked = names.asked();
    assert!(!asked.is_empty() && asked.iter().all(|name| name == "coordination:2181"), "{asked:?}");

    // And back again.
    names.lead_to(&[old.addr]);
    old.refuse(false);
    new.refuse(true);
    while !matches!(soon(states.next()).await, Some(State::Suspended { .. })) {}
    soon(zk.sync("/").send()).await.unwrap();
    assert_eq!((zk.session_id(), zk.ephemerals("/").await.unwrap()), (session, vec!["/e".into()]));
}

#[tokio::test]
async fn all_addresses_of_a_name_are_tried() {
    let names = Names::default();
    let client =
        |names: &Names| Client::builder("coordination").connector(Tcp::resolved_by(names.clone()));
    // Whichever comes first: one of them is the server's.
    names.lead_to(&[nobody(1), addr(), nobody(2), nobody(3)]);
    for _ in 0..8 {
        let zk = soon(client(&names).connect()).await.unwrap();
        zk.exists("/").await.unwrap();
        assert_eq!(names.asked(), ["coordination:2181"], "one dial, all addresses");
    }
    // A name without an address is nothing to dial, and says so.
    names.lead_to(&[]);
    let within = std::time::Duration::from_millis(100);
    let error = soon(client(&names).connect_within(within).connect()).await.unwrap_err();
    let ErrorKind::Unreachable(Some(why)) = error.kind() else { panic!("{error}") };
    assert!(why.ends_with("the name has no address"), "{why}");
}

#[tokio::test]
async fn clients_begin_with_different_servers() {
    /// Notes who was dialled, and never gets there.
    struct Nowhere(Arc<Mutex<Vec<String>>>);
    impl Connector for Nowhere {
        fn connect(&self, host: Host) -> Connecting {
            self.0.lock().unwrap().push(host.name);
            Box::pin(std::future::pending())
        }
    }
    let first = Arc::new(Mutex::new(Vec::new()));
    let clients: Vec<_> = (0..200)
        .map(|_| Client::builder("a,b,c,d,e").connector(Nowhere(Arc::clone(&first))).start())
        .collect();
    assert!(clients.iter().all(Result::is_ok));
    let all = async {
        while first.lock().unwrap().len() < clients.len() {
            tokio::task::yield_now().await;
        }
    };
    soon(all).await;
    let hosts: BTreeSet<String> = first.lock().unwrap().iter().cloned().collect();
    // That one of five is nobody's first among two hundred comes once in 10^19 runs. How evenly
    // they are spread is shown with seeds.
    assert_eq!(hosts.len(), 5, "{hosts:?}");
}

/// What TLS does to a stream, as far as a client can tell: a greeting that both sides wait for, and
/// then every byte is another on the wire.
struct Veil<S>(S);

const MASK: u8 = 0xa5;
const GREETING: &[u8; 6] = b"veiled";

impl<S: AsyncRead + AsyncWrite + Unpin> Veil<S> {
    async fn over(mut stream: S) -> io::Result<Veil<S>> {
        stream.write_all(GREETING).await?;
        let mut heard = [0; GREETING.len()];
        stream.read_exact(&mut heard).await?;
        match &heard == GREETING {
            true => Ok(Veil(stream)),
            false => Err(io::Error::new(io::ErrorKind::InvalidData, "no greeting")),
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Veil<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.0).poll_read(cx, buffer))?;
        buffer.filled_mut()[before..].iter_mut().for_each(|byte| *byte ^= MASK);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Veil<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let veiled: Vec<u8> = bytes.iter().map(|byte| byte ^ MASK).collect();
        Pin::new(&mut self.0).poll_write(cx, &veiled)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// Connections under a veil.
struct Veiled(Tcp);

impl Connector for Veiled {
    fn connect(&self, host: Host) -> Connecting {
        let connecting = self.0.connect(host);
        Box::pin(
            async move { Ok(Box::new(Veil::over(connecting.await?).await?) as Box<dyn Stream>) },
        )
    }
}

/// A port where only those are understood who come veiled.
async fn veiled_port(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut client = Veil::over(client).await?;
                let mut server = TcpStream::connect(server).await?;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    at
}

#[tokio::test]
async fn what_a_connector_puts_between_is_between_on_every_connection() {
    let proxy = Proxy::before(veiled_port(addr()).await).await;
    let hosts = format!("{}{}", proxy.addr, place().await);
    // Who comes without is not understood.
    let within = std::time::Duration::from_millis(300);
    assert!(soon(Client::builder(&hosts).connect_within(within).connect()).await.is_err());

    let builder = Client::builder(&hosts).connector(Veiled(Tcp)).auth("digest", "u:secret");
    let zk = soon(builder.connect()).await.unwrap();
    let session = zk.session_id();
    let mut states = zk.states();
    let large: Vec<u8> = (0..500_000).map(|n| n as u8).collect();
    zk.create("/large", &large).await.unwrap();
    for _ in 0..2 {
        assert_eq!(soon(zk.get("/large").send()).await.unwrap().bytes(), large);
        assert!(zk.whoami().await.unwrap().iter().any(|who| who.user == "u"));
        proxy.cut();
        while !matches!(soon(states.next()).await, Some(State::Suspended { .. })) {}
        soon(zk.sync("/").send()).await.unwrap();
        assert_eq!(zk.session_id(), session);
    }
}
