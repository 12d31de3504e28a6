//! Listening: the port is bound again and again, as often as the configuration says.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use oxkeeper_config::ExitCode;
use oxkeeper_proto::notification::Address;
use rustix::net::sockopt;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tracing::{error, info, warn};

use super::Port;
use crate::StartError;
use crate::seldom::Seldom;

/// Between two attempts at binding; what holds the port may be a server of ours that is ending.
const BIND_PAUSE: Duration = Duration::from_secs(1);
/// How long to leave the port alone when accepting fails, for want of descriptors as a rule.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Connections not accepted yet. An ensemble is small, and who is turned away comes again.
const BACKLOG: u32 = 50;

/// How to listen.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Listening {
    /// For whom.
    pub(crate) port: Port,
    /// `quorumListenOnAllIPs`.
    pub(crate) on_all_ips: bool,
    /// `electionPortBindRetry`: attempts at each address, a second apart; 0: no end.
    pub(crate) attempts: u32,
    /// SO_KEEPALIVE on what is accepted.
    pub(crate) keep_alive: bool,
}

/// Listens at all of `addresses`, or at their ports on every interface.
pub(crate) async fn bind_all(
    addresses: &[Address],
    how: Listening,
) -> Result<Vec<TcpListener>, StartError> {
    let mut listeners: Vec<TcpListener> = Vec::new();
    let mut ports = Vec::new();
    for address in addresses {
        if how.on_all_ips {
            if ports.contains(&address.port) {
                continue;
            }
            ports.push(address.port);
        }
        listeners.push(bind_patiently(address, how).await?);
    }
    Ok(listeners)
}

async fn bind_patiently(address: &Address, how: Listening) -> Result<TcpListener, StartError> {
    let port = how.port.name();
    let mut attempts = 0;
    loop {
        attempts += 1;
        let error = match bind(address, how).await {
            Ok(listener) => {
                info!(%address, "the {port} listens");
                return Ok(listener);
            }
            Err(error) => error,
        };
        if how.attempts != 0 && attempts >= how.attempts {
            return Err(StartError {
                message: format!(
                    "cannot listen on the {port} {address} after {attempts} attempts \
                     (electionPortBindRetry): {error}"
                ),
                code: ExitCode::UnableToBindQuorumPort,
            });
        }
        warn!(%address, attempts, %error, "cannot listen on the {port} yet");
        tokio::time::sleep(BIND_PAUSE).await;
    }
}

async fn bind(address: &Address, how: Listening) -> io::Result<TcpListener> {
    let socket = if how.on_all_ips {
        let ipv6 = wildcard(SocketAddr::from((Ipv6Addr::UNSPECIFIED, address.port)));
        // Where there is no IPv6 at all.
        let none = |error: &io::Error| error.kind() != io::ErrorKind::AddrInUse;
        match ipv6 {
            Err(error) if none(&error) => {
                wildcard(SocketAddr::from((Ipv4Addr::UNSPECIFIED, address.port)))
            }
            bound => bound,
        }?
    } else {
        // Anew each time: the name may be about to appear.
        let mut found = tokio::net::lookup_host((&*address.host, address.port)).await?;
        let at = found.next().ok_or(io::ErrorKind::AddrNotAvailable)?;
        let socket = socket_for(at)?;
        socket.bind(at)?;
        socket
    };
    let listener = socket.listen(BACKLOG)?;
    // Linux gives an accepted socket the options of the one that listened.
    sockopt::set_tcp_nodelay(&listener, true)?;
    sockopt::set_socket_keepalive(&listener, how.keep_alive)?;
    Ok(listener)
}

/// A socket for all addresses, those of IPv4 included.
fn wildcard(at: SocketAddr) -> io::Result<TcpSocket> {
    let socket = socket_for(at)?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, false)?;
    }
    socket.bind(at)?;
    Ok(socket)
}

fn socket_for(at: SocketAddr) -> io::Result<TcpSocket> {
    let socket = if at.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    Ok(socket)
}

/// Accepts for as long as `take` wants what is accepted.
pub(crate) async fn accept(
    listener: TcpListener,
    port: Port,
    mut take: impl AsyncFnMut(TcpStream, SocketAddr) -> bool,
) {
    let mut troubles = Seldom::default();
    loop {
        match listener.accept().await {
            Ok((stream, from)) => {
                let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                if !take(stream, from).await {
                    return;
                }
            }
            // A peer that gave up before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                if let Some(before) = troubles.may_speak() {
                    error!(%error, before, "cannot accept on the {} at present", port.name());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}
