//! A TCP connection to a name: all its addresses, each a little after the one before (RFC 8305).

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use super::site::Family;
use crate::{Failure, FailureKind};

/// RFC 8305 §5.
const STAGGER: Duration = Duration::from_millis(250);
/// A silent control connection is what routers and firewalls forget.
const KEEPALIVE_AFTER: Duration = Duration::from_secs(30);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(10);

/// Connects a control connection, or one of SSH, to addresses of one family where that is wanted.
pub(crate) async fn dial(
    host: &str,
    port: u16,
    family: Family,
    within: Duration,
) -> Result<TcpStream, Failure> {
    let attempt = async {
        let addresses: Vec<_> = lookup_host((host, port))
            .await
            .map_err(|error| {
                Failure::new(
                    FailureKind::Connect,
                    format!("the name {host:?} cannot be resolved: {error}"),
                )
            })?
            .filter(|address| family.has(*address))
            .collect();
        if addresses.is_empty() {
            let lacks =
                |which: &str| Failure::new(FailureKind::Connect, format!("{host} has no {which}address"));
            let hint = "allow the other family of addresses too";
            return Err(match family {
                Family::Any => lacks(""),
                Family::Ipv4 => lacks("IPv4 ").hint(hint),
                Family::Ipv6 => lacks("IPv6 ").hint(hint),
            });
        }
        race(addresses).await.map_err(|error| {
            let failure = Failure::new(
                FailureKind::Connect,
                format!("no connection to {host} on port {port}: {error}"),
            );
            if error.kind() == io::ErrorKind::ConnectionRefused {
                failure.hint("nothing listens there: check the port, and whether the server runs")
            } else {
                failure
            }
        })
    };
    let tcp = timeout(within, attempt).await.unwrap_or_else(|_| {
        Err(Failure::new(
            FailureKind::Timeout,
            format!("{host} does not answer on port {port}"),
        )
        .hint("a firewall may drop the packets, or the server is down"))
    })?;
    tracing::debug!(peer = ?tcp.peer_addr().ok(), "connected to the server");
    // Where these fail the connection is slower or is forgotten sooner, and works.
    let _ = tcp.set_nodelay(true);
    let keepalive = TcpKeepalive::new()
        .with_time(KEEPALIVE_AFTER)
        .with_interval(KEEPALIVE_EVERY);
    let _ = SockRef::from(&tcp).set_tcp_keepalive(&keepalive);
    Ok(tcp)
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

/// Connects a data connection: to this address, from the address that the control connection has here.
pub(super) async fn dial_data(from: SocketAddr, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }?;
    let mut from = from;
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
        let within = Duration::from_secs(20);
        for (host, family, missing) in [
            ("127.0.0.1", Family::Any, None),
            ("127.0.0.1", Family::Ipv4, None),
            ("::ffff:127.0.0.1", Family::Ipv4, None),
            ("127.0.0.1", Family::Ipv6, Some("127.0.0.1 has no IPv6 address")),
            ("::1", Family::Ipv4, Some("::1 has no IPv4 address")),
        ] {
            let dialed = dial(host, port, family, within).await;
            let failure = dialed.err().map(|failure| failure.sentence);
            assert_eq!(failure.as_deref(), missing, "{host} {family:?}");
        }
    }
}
