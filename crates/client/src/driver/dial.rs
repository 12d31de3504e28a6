//! From a host's name to a stream of bytes.
//!
//! A [`Connector`] makes connections; [`Tcp`] is the plain one. A [`Resolver`] finds the addresses
//! of a name, the system's own unless another is given, and is asked at every dial, because
//! addresses change while names stay. All addresses of a name are tried, in an order drawn anew
//! each time; the next one begins when the one before has failed or has had 250 ms (RFC 8305), so
//! that one address that swallows packets does not cost the whole time for a dial.

use std::future::Future;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::task::JoinSet;

use crate::BoxFuture;
use crate::core::{Chance, Host};

/// What carries the bytes of one connection.
///
/// ```
/// # oxkeeper_scratch::example(async |_| {
/// use oxkeeper_client::Stream;
/// use tokio::io::{AsyncReadExt, AsyncWriteExt};
///
/// // Whatever carries bytes both ways will do, as TLS above a socket does.
/// let (ours, mut theirs) = tokio::io::duplex(64);
/// let mut stream: Box<dyn Stream> = Box::new(ours);
/// stream.write_all(b"isro").await?;
/// let mut heard = [0; 4];
/// theirs.read_exact(&mut heard).await?;
/// assert_eq!(&heard, b"isro");
/// # Ok(())
/// # });
/// ```
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin + 'static {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin + 'static> Stream for S {}

/// A connection being made.
///
/// ```
/// # oxkeeper_scratch::example(async |_| {
/// use oxkeeper_client::{Connecting, Stream};
///
/// let (ours, _theirs) = tokio::io::duplex(64);
/// let connecting: Connecting = Box::pin(async { Ok(Box::new(ours) as Box<dyn Stream>) });
/// assert!(connecting.await.is_ok());
/// # Ok(())
/// # });
/// ```
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send>>;

/// Makes connections to servers.
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// use oxkeeper_client::{Client, Connecting, Connector, Host, Tcp};
///
/// /// Where the names of the connect string really are.
/// struct Table(Host);
/// impl Connector for Table {
///     fn connect(&self, _: Host) -> Connecting {
///         Tcp.connect(self.0.clone())
///     }
/// }
/// let (name, port) = servers.split_once(':').expect("a host");
/// let table = Table(Host { name: name.to_owned(), port: port.parse()? });
/// let zk = Client::builder("coordination").connector(table).connect().await?;
/// assert!(zk.state().is_connected());
/// # Ok(())
/// # });
/// ```
pub trait Connector: Send + Sync + 'static {
    /// Connects to this host. The session's own bound on the time is kept by the caller, which
    /// drops the future.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// use oxkeeper_client::{Connector, Host, Tcp};
    ///
    /// let (name, port) = servers.split_once(':').expect("a host");
    /// let host = Host { name: name.to_owned(), port: port.parse()? };
    /// assert!(Tcp.connect(host).await.is_ok());
    /// # Ok(())
    /// # });
    /// ```
    fn connect(&self, host: Host) -> Connecting;
}

/// Plain TCP.
///
/// ```
/// # oxkeeper_scratch::example(async |_| {
/// use oxkeeper_client::{Connector, Host, Tcp};
///
/// let nobody = Host { name: "127.0.0.1".to_owned(), port: 1 };
/// assert!(Tcp.connect(nobody).await.is_err());
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct Tcp;

impl Tcp {
    /// The same to wherever a resolver of one's own finds the names.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |servers| {
    /// use oxkeeper_client::{Client, Host, Resolver, Resolving, Tcp};
    /// use std::net::SocketAddr;
    ///
    /// /// Where the coordination service is, says whoever runs it.
    /// struct Registry(SocketAddr);
    /// impl Resolver for Registry {
    ///     fn resolve(&self, _: Host) -> Resolving {
    ///         let found = self.0;
    ///         Box::pin(async move { Ok(vec![found]) })
    ///     }
    /// }
    /// let tcp = Tcp::resolved_by(Registry(servers.parse()?));
    /// let zk = Client::builder("coordination").connector(tcp).connect().await?;
    /// assert!(zk.state().is_connected());
    /// # Ok(())
    /// # });
    /// ```
    pub fn resolved_by<R: Resolver>(resolver: R) -> ResolvedTcp<R> {
        ResolvedTcp { resolver }
    }
}

impl Connector for Tcp {
    fn connect(&self, host: Host) -> Connecting {
        Tcp::resolved_by(SystemResolver).connect(host)
    }
}

/// TCP to wherever a [`Resolver`] finds the hosts: [`Tcp::resolved_by`].
///
/// ```
/// # oxkeeper_scratch::example(async |servers| {
/// use oxkeeper_client::{Connector, Host, ResolvedTcp, SystemResolver, Tcp};
///
/// let tcp: ResolvedTcp<SystemResolver> = Tcp::resolved_by(SystemResolver);
/// let (name, port) = servers.split_once(':').expect("a host");
/// let host = Host { name: name.to_owned(), port: port.parse()? };
/// assert!(tcp.connect(host).await.is_ok());
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy)]
pub struct ResolvedTcp<R> {
    resolver: R,
}

impl<R: Resolver> Connector for ResolvedTcp<R> {
    fn connect(&self, host: Host) -> Connecting {
        let resolving = self.resolver.resolve(host);
        Box::pin(async move {
            let mut addresses = resolving.await?;
            Chance::new(RandomState::new().hash_one(0)).shuffle(&mut addresses);
            let stream = first_of(addresses).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}

/// The addresses of a host being found.
///
/// ```
/// # oxkeeper_scratch::example(async |_| {
/// use oxkeeper_client::Resolving;
///
/// let both = vec!["192.0.2.1:2181".parse()?, "[2001:db8::1]:2181".parse()?];
/// let resolving: Resolving = Box::pin(async move { Ok(both) });
/// assert_eq!(resolving.await?.len(), 2);
/// # Ok(())
/// # });
/// ```
pub type Resolving = BoxFuture<io::Result<Vec<SocketAddr>>>;

/// Finds where the hosts of a connect string are. It is asked at every dial.
///
/// ```
/// # oxkeeper_scratch::example(async |_| {
/// use oxkeeper_client::{Client, ErrorKind, Host, Resolver, Resolving, Tcp};
/// use std::io;
/// use std::time::Duration;
///
/// struct Forgetful;
/// impl Resolver for Forgetful {
///     fn resolve(&self, host: Host) -> Resolving {
///         Box::pin(async move { Err(io::Error::other(format!("who is {}?", host.name))) })
///     }
/// }
/// let lost = Client::builder("zk1").connector(Tcp::resolved_by(Forgetful));
/// let error = lost.connect_within(Duration::from_millis(50)).connect().await;
/// let error = error.expect_err("nobody was found");
/// let ErrorKind::Unreachable(Some(why)) = error.kind() else { panic!("{error}") };
/// assert!(why.contains("who is zk1?"));
/// # Ok(())
/// # });
/// ```
pub trait Resolver: Send + Sync + 'static {
    /// All addresses of this host, in no particular order. It may take as long as a dial may: the
    /// session's own bound on the time is kept by the caller, which drops the future.
    ///
    /// ```
    /// # oxkeeper_scratch::example(async |_| {
    /// use oxkeeper_client::{Host, Resolver, SystemResolver};
    ///
    /// let host = Host { name: "127.0.0.1".to_owned(), port: 2181 };
    /// assert_eq!(SystemResolver.resolve(host).await?, ["127.0.0.1:2181".parse()?]);
    /// # Ok(())
    /// # });
    /// ```
    fn resolve(&self, host: Host) -> Resolving;
}

/// The operating system's resolver, on a thread of its own.
///
/// ```
/// # oxkeeper_scratch::example(async |_| {
/// use oxkeeper_client::{Host, Resolver, SystemResolver};
///
/// let host = Host { name: "::1".to_owned(), port: 2182 };
/// assert_eq!(SystemResolver.resolve(host).await?, ["[::1]:2182".parse()?]);
/// # Ok(())
/// # });
/// ```
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: Host) -> Resolving {
        Box::pin(async move { Ok(lookup_host((host.name.as_str(), host.port)).await?.collect()) })
    }
}

/// How long an address is alone before the next is tried as well.
const STAGGER: Duration = Duration::from_millis(250);

async fn first_of(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut failed = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    if let [address] = addresses[..] {
        return TcpStream::connect(address).await;
    }
    let mut dials = JoinSet::new();
    for address in addresses {
        dials.spawn(TcpStream::connect(address));
        match tokio::time::timeout(STAGGER, dials.join_next()).await {
            Ok(Some(Ok(Ok(stream)))) => return Ok(stream),
            Ok(Some(Ok(Err(error)))) => failed = error,
            Ok(Some(Err(_)) | None) | Err(_) => {}
        }
    }
    while let Some(dial) = dials.join_next().await {
        match dial {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => failed = error,
            Err(_) => {}
        }
    }
    Err(failed)
}

/// How long a server may take to say whether it takes writes.
const PROBE: Duration = Duration::from_secs(1);

/// The question whether a server takes writes.
pub(crate) type Probing = Pin<Box<dyn Future<Output = bool> + Send>>;

/// Asks `isro` and tells whether the server takes writes (`ClientCnxn.SendThread.pingRwServer`).
pub(crate) fn probe(connecting: Connecting) -> Probing {
    Box::pin(async move {
        let asking = async {
            let mut stream = connecting.await?;
            stream.write_all(b"isro").await?;
            let mut answer = [0; 2];
            stream.read_exact(&mut answer).await?;
            io::Result::Ok(&answer == b"rw")
        };
        matches!(tokio::time::timeout(PROBE, asking).await, Ok(Ok(true)))
    })
}
