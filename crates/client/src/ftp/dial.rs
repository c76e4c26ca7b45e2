//! A TCP connection to a name: all its addresses, each a little after the one before (RFC 8305), or through a proxy.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::site::{Family, Options};
use crate::proxy::{Host, Proxy, Refused};
use crate::{Failure, FailureKind};

/// RFC 8305 §5.
const STAGGER: Duration = Duration::from_millis(250);
/// A silent control connection is what routers and firewalls forget.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// How a server is reached, and its data connections with it.
#[derive(Debug, Clone)]
pub(crate) enum Route {
    /// Data connections go to the address that the control connection has led to.
    Direct,
    /// Through a proxy, to what it was asked for.
    Through(Arc<Proxy>, Host),
}

/// Connects a control connection, or one of SSH: to addresses of one family where that is wanted, through a proxy where there is one.
pub(crate) async fn dial(host: &str, port: u16, options: &Options) -> Result<(TcpStream, Route), Failure> {
    let (near, near_port) = match &options.proxy {
        Some(proxy) => (proxy.host.as_str(), proxy.port),
        None => (host, port),
    };
    let attempt = async {
        match &options.proxy {
            None => Ok((to_any_of(host, port, options.family).await?, Route::Direct)),
            Some(proxy) => through(proxy, host, port, options.family).await,
        }
    };
    let (tcp, route) = timeout(options.connect_timeout, attempt)
        .await
        .unwrap_or_else(|_| {
            Err(Failure::new(
                FailureKind::Timeout,
                format!("{near} does not answer on port {near_port}"),
            )
            .hint(match &options.proxy {
                None => "a firewall may drop the packets, or the server is down",
                Some(_) => {
                    "the proxy may be down, be of another kind, or wait for a server that does not answer"
                }
            }))
        })?;
    tracing::debug!(peer = ?tcp.peer_addr().ok(), ?route, "connected to the server");
    // Where these fail the connection is slower or is forgotten sooner, and works.
    let _ = tcp.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY);
    let _ = SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
    Ok((tcp, route))
}

async fn resolve(host: &str, port: u16, family: Family) -> Result<Vec<SocketAddr>, Failure> {
    let addresses: Vec<_> = lookup_host((host, port))
        .await
        .map_err(|error| {
            Failure::new(
                FailureKind::Connect,
                format!("the name {host:?} cannot be resolved: {error}"),
            )
            .hint("check how the name is written, and this machine's network")
        })?
        .filter(|address| family.has(*address))
        .collect();
    if addresses.is_empty() {
        let lacks = |which: &str| Failure::new(FailureKind::Connect, format!("{host} has no {which}address"));
        let hint = "allow the other family of addresses too";
        return Err(match family {
            Family::Any => lacks(""),
            Family::Ipv4 => lacks("IPv4 ").hint(hint),
            Family::Ipv6 => lacks("IPv6 ").hint(hint),
        });
    }
    Ok(addresses)
}

async fn to_any_of(host: &str, port: u16, family: Family) -> Result<TcpStream, Failure> {
    let addresses = resolve(host, port, family).await?;
    race(addresses).await.map_err(|error| {
        let failure = Failure::new(
            FailureKind::Connect,
            format!("no connection to {host} on port {port}: {error}"),
        );
        failure.hint(match error.kind() {
            io::ErrorKind::ConnectionRefused => {
                "nothing listens there: check the port, and whether the server runs"
            }
            _ => "check the host, and this machine's network",
        })
    })
}

/// A name that is resolved here is tried by each of its addresses, for which one the proxy reaches is not known before.
async fn through(
    proxy: &Arc<Proxy>,
    host: &str,
    port: u16,
    family: Family,
) -> Result<(TcpStream, Route), Failure> {
    let hosts: Vec<Host> = match host.parse::<IpAddr>() {
        // One family of a name's addresses can be chosen here alone.
        Err(_) if proxy.resolves() && family == Family::Any => vec![Host::Name(host.to_owned())],
        _ => resolve(host, port, family)
            .await?
            .into_iter()
            .map(|address| Host::Address(address.ip().to_canonical()))
            .collect(),
    };
    let mut last = Failure::new(FailureKind::Connect, format!("{host} has no address"));
    for there in hosts {
        let mut tcp = to_any_of(&proxy.host, proxy.port, Family::Any).await?;
        match proxy.connect(&mut tcp, &there, port).await {
            Ok(()) => return Ok((tcp, Route::Through(Arc::clone(proxy), there))),
            Err(refused) => last = refused_by(proxy, &refused, FailureKind::Connect, host, port),
        }
        if last.kind == FailureKind::Login {
            break;
        }
    }
    Err(last)
}

fn refused_by(proxy: &Proxy, refused: &Refused, kind: FailureKind, host: &str, port: u16) -> Failure {
    let sentence = format!("the proxy {proxy} does not connect to {host} on port {port}: {refused}");
    match refused {
        Refused::Login => Failure::new(FailureKind::Login, sentence)
            .hint("the proxy wants a user and a password: SCHEME://USER:PASSWORD@HOST:PORT"),
        Refused::Said(_) if kind == FailureKind::Data => Failure::new(kind, sentence)
            .hint("the proxy must let connections to the server's passive ports through, as SOCKS proxies mostly do"),
        Refused::Said(_) => Failure::new(kind, sentence)
            .hint("check the host and the port; HTTP proxies often connect to ports of the web alone, SOCKS proxies to all"),
        _ => Failure::new(kind, sentence).hint("check which kind of proxy it is: socks5://, socks5h:// or http://"),
    }
}

async fn race(addresses: Vec<SocketAddr>) -> io::Result<TcpStream> {
    let mut attempts = JoinSet::new();
    for (address, delay) in addresses.into_iter().zip(0_u32..8) {
        attempts.spawn(async move {
            sleep(STAGGER * delay).await;
            TcpStream::connect(address).await
        });
    }
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    while let Some(attempt) = attempts.join_next().await {
        match attempt {
            Ok(Ok(tcp)) => return Ok(tcp),
            Ok(Err(error)) => last = error,
            Err(_) => {}
        }
    }
    Err(last)
}

/// Connects a data connection: to this port of the server, from the address that the control connection has here.
pub(super) async fn dial_data(
    route: &Route,
    from: SocketAddr,
    peer: SocketAddr,
    port: u16,
) -> Result<TcpStream, DataError> {
    match route {
        Route::Direct => Ok(connect_from(from, SocketAddr::new(peer.ip(), port)).await?),
        Route::Through(proxy, host) => {
            let connected = async {
                let mut tcp = connect_from(from, peer).await?;
                proxy.connect(&mut tcp, host, port).await?;
                Ok(tcp)
            };
            connected.await.map_err(|refused: Refused| {
                let host = match host {
                    Host::Name(name) => name.clone(),
                    Host::Address(address) => address.to_string(),
                };
                let failure = refused_by(proxy, &refused, FailureKind::Data, &host, port);
                DataError::Proxy(Box::new(failure))
            })
        }
    }
}

/// Why there is no data connection.
#[derive(Debug)]
pub(super) enum DataError {
    Io(io::Error),
    Proxy(Box<Failure>),
}

impl From<io::Error> for DataError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

async fn connect_from(mut from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    from.set_port(0);
    socket.bind(from)?;
    let tcp = socket.connect(to).await?;
    let _ = tcp.set_nodelay(true);
    Ok(tcp)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn only_addresses_of_the_wanted_family_are_connected_to() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        for (host, family, missing) in [
            ("127.0.0.1", Family::Any, None),
            ("127.0.0.1", Family::Ipv4, None),
            ("::ffff:127.0.0.1", Family::Ipv4, None),
            ("127.0.0.1", Family::Ipv6, Some("127.0.0.1 has no IPv6 address")),
            ("::1", Family::Ipv4, Some("::1 has no IPv4 address")),
        ] {
            let options = Options {
                family,
                ..Options::default()
            };
            let dialed = dial(host, port, &options).await;
            let failure = dialed.err().map(|failure| failure.sentence);
            assert_eq!(failure.as_deref(), missing, "{host} {family:?}");
        }
    }
}
