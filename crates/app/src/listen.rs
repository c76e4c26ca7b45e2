//! Control sockets: those that the service manager passes, or else those that the configuration asks for.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, ToSocketAddrs as _};

use listenfd::ListenFd;
use pasarela_server::{Listener, Protocol, Protocols};
use socket2::{Domain, Socket, Type};

use crate::config::typed::Typed;
use crate::config::units::ListenAddress;
use crate::failure::{Failure, Kind, Problem};

/// Connections that the kernel holds until they are accepted.
const BACKLOG: i32 = 1024;

/// The control sockets, bound and listening.
///
/// # Errors
/// The first that cannot be bound.
pub(crate) fn listeners(typed: &Typed) -> Result<Vec<Listener>, Failure> {
    let passed = passed(typed.protocols)?;
    if !passed.is_empty() {
        return Ok(passed);
    }
    let mut listeners = Vec::new();
    for (addresses, protocols) in [
        (&typed.listen, typed.protocols),
        (&typed.implicit_listen, Protocol::Ftps.into()),
        (&typed.sftp_listen, Protocol::Sftp.into()),
    ] {
        for address in addresses {
            for socket in bind(address, addresses, typed.plan().shares_port())? {
                listeners.push(Listener { socket, protocols });
            }
        }
    }
    Ok(listeners)
}

/// The sockets of the service manager (sd_listen_fds(3)); those named `ftps` are implicit, those named `sftp` speak SSH.
fn passed(protocols: Protocols) -> Result<Vec<Listener>, Failure> {
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let names: Vec<_> = names.split(':').collect();
    let mut sockets = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..sockets.len() {
        let wrong = |error: io::Error| {
            Problem::new(format!("socket {index} of the service manager: {error}"))
                .hint("pass listening TCP sockets only: ListenStream= in pasarela.socket")
                .fails(Kind::Bind)
        };
        let Some(socket) = sockets.take_tcp_listener(index).map_err(wrong)? else {
            continue;
        };
        socket.set_nonblocking(true).map_err(wrong)?;
        let protocols = match names.get(index) {
            Some(&"ftps") => Protocol::Ftps.into(),
            Some(&"sftp") => Protocol::Sftp.into(),
            _ => protocols,
        };
        listeners.push(Listener { socket, protocols });
    }
    Ok(listeners)
}

/// The sockets of one address, of which a name may have several; `all` are bound beside it.
fn bind(
    address: &ListenAddress,
    all: &[ListenAddress],
    shares_port: bool,
) -> Result<Vec<TcpListener>, Failure> {
    let addresses: Vec<SocketAddr> = match address {
        ListenAddress::Socket(address) => vec![*address],
        ListenAddress::Name(name, port) => {
            let resolved = (name.as_str(), *port).to_socket_addrs();
            let resolved =
                resolved.map_err(|error| Problem::new(format!("{address}: {error}")).fails(Kind::Bind))?;
            let mut resolved: Vec<_> = resolved.collect();
            resolved.dedup();
            resolved
        }
    };
    let mut sockets = Vec::new();
    for address in addresses {
        let ipv4_wildcard = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
        let has_ipv4 = all.contains(&ListenAddress::Socket(ipv4_wildcard));
        let socket = bound(address, has_ipv4, shares_port);
        sockets.push(socket.map_err(|error| cannot_bind(address, &error))?);
    }
    Ok(sockets)
}

/// A socket as the server makes it. The IPv6 wildcard takes IPv4 too, unless somebody else is to have that
/// (`has_ipv4`).
///
/// # Errors
/// What the system says.
pub(crate) fn bound(address: SocketAddr, has_ipv4: bool, shares_port: bool) -> io::Result<TcpListener> {
    match socket(address, has_ipv4, shares_port) {
        Err(error) if is_wildcard_v6(address) && !has_ipv4 && lacks_ipv6(&error) => {
            let ipv4_wildcard = SocketAddr::new(Ipv4Addr::UNSPECIFIED.into(), address.port());
            tracing::info!(address = %ipv4_wildcard, "no IPv6 on this machine, listening on IPv4");
            socket(ipv4_wildcard, false, shares_port)
        }
        result => result,
    }
}

/// The same where nobody else listens, also nobody who shares the port: of two that share it each gets half of the
/// connections.
///
/// # Errors
/// As [`bound`].
pub(crate) fn bound_alone(address: SocketAddr, has_ipv4: bool, shares_port: bool) -> io::Result<TcpListener> {
    let alone = bound(address, has_ipv4, false)?;
    if !shares_port {
        return Ok(alone);
    }
    drop(alone);
    bound(address, has_ipv4, true)
}

fn socket(address: SocketAddr, only_v6: bool, shares_port: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(socket2::Protocol::TCP),
    )?;
    if is_wildcard_v6(address) {
        socket.set_only_v6(only_v6)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares_port)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn is_wildcard_v6(address: SocketAddr) -> bool {
    matches!(address.ip(), IpAddr::V6(ip) if ip.is_unspecified())
}

fn lacks_ipv6(error: &io::Error) -> bool {
    use rustix::io::Errno;
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL]
        .map(|errno| errno.raw_os_error())
        .contains(&error.raw_os_error().unwrap_or(0))
}

fn cannot_bind(address: SocketAddr, error: &io::Error) -> Failure {
    let port = address.port();
    let problem = Problem::new(format!("cannot listen on {address}: {error}"));
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            problem.hint(format!("another program listens there (ss -ltnp 'sport = :{port}'); choose another port: --listen PORT"))
        }
        io::ErrorKind::PermissionDenied => problem.hint(
            "ports below 1024 take the capability CAP_NET_BIND_SERVICE, which the systemd unit grants; or choose another port: --listen 2121",
        ),
        io::ErrorKind::AddrNotAvailable => problem.hint("no interface of this machine has that address"),
        _ => problem,
    }
    .fails(Kind::Bind)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> ListenAddress {
        crate::config::units::listen_address(text).unwrap()
    }

    #[test]
    fn the_ipv6_wildcard_takes_ipv4_connections_too() {
        let sockets = bind(&at("0"), &[], true).unwrap();
        let port = sockets[0].local_addr().unwrap().port();
        assert!(std::net::TcpStream::connect((Ipv4Addr::LOCALHOST, port)).is_ok());
    }

    #[test]
    fn a_name_is_bound_at_every_address_it_has() {
        let sockets = bind(&at("localhost:0"), &[], false).unwrap();
        assert!(
            sockets
                .iter()
                .all(|socket| socket.local_addr().unwrap().ip().is_loopback())
        );
    }

    #[test]
    fn a_port_that_is_taken_is_a_bind_failure_with_a_hint() {
        let taken = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = taken.local_addr().unwrap();
        let failure = bind(&ListenAddress::Socket(address), &[], false).unwrap_err();
        assert_eq!(failure.kind, Kind::Bind);
        assert!(
            failure
                .to_string()
                .starts_with(&format!("error: cannot listen on {address}: ")),
            "{failure}"
        );
        assert!(
            failure
                .to_string()
                .contains("\nhint: another program listens there"),
            "{failure}"
        );
    }
}
