//! One attempt to connect, and who answered it: the server, a router on the way, or nobody.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd as _;
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::{Ipv4RecvErr, Ipv6RecvErr};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use socket2::{Domain, Protocol, SockAddr, SockRef, Socket, Type};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What came of it.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A connection.
    Open(TcpStream),
    /// RST; or, from the router or host named, ICMP "port unreachable".
    Refused(Option<IpAddr>),
    /// The router at which the hops that were allowed ended.
    Expired(IpAddr),
    /// ICMP "unreachable" from the router or host named; `None`: this machine has no way there.
    Unreachable(Option<IpAddr>),
    /// ICMP "administratively prohibited" from the router or host named.
    Prohibited(IpAddr),
    /// Nothing at all.
    Silent,
    /// This machine cannot even try.
    Local(io::Error),
}

/// An attempt to connect.
#[derive(Debug)]
pub(crate) struct Knock {
    pub(crate) to: SocketAddr,
    pub(crate) answer: Answer,
    /// How long it took.
    pub(crate) after: Duration,
}

impl Knock {
    pub(crate) fn is_open(&self) -> bool {
        matches!(self.answer, Answer::Open(_))
    }

    /// As a line of evidence.
    pub(crate) fn line(&self) -> String {
        let to = self.to;
        match &self.answer {
            Answer::Open(_) => format!("{to} answers ({} ms)", self.after.as_millis()),
            Answer::Refused(None) => format!("{to} refuses (RST)"),
            Answer::Refused(Some(by)) => format!("{by} says that the port of {to} is unreachable (ICMP)"),
            Answer::Expired(by) => format!("packets to {to} got as far as {by}"),
            Answer::Unreachable(None) => format!("this machine has no way to {to}"),
            Answer::Unreachable(Some(by)) => format!("{by} says that {to} is unreachable (ICMP)"),
            Answer::Prohibited(by) => format!("{by} says that {to} is prohibited (ICMP)"),
            Answer::Silent => format!("{to} does not answer ({} s)", self.after.as_secs_f32().round()),
            Answer::Local(error) => format!("{to}: {error}"),
        }
    }
}

/// Tries to connect, from this address where one is given; packets live for `hops` routers only, where that is given.
pub(crate) async fn knock(from: Option<IpAddr>, to: SocketAddr, hops: Option<u8>, within: Duration) -> Knock {
    let start = Instant::now();
    let answer = match timeout(within, attempt(from, to, hops)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => local(error),
        Err(_) => Answer::Silent,
    };
    Knock {
        to,
        answer,
        after: start.elapsed(),
    }
}

async fn attempt(from: Option<IpAddr>, to: SocketAddr, hops: Option<u8>) -> io::Result<Answer> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    // Routers that answer are told apart from hosts by the queue of errors (ip(7), IP_RECVERR).
    receive_errors(&socket, to, true)?;
    if let Some(hops) = hops {
        match to {
            SocketAddr::V4(_) => socket.set_ttl_v4(hops.into())?,
            SocketAddr::V6(_) => socket.set_unicast_hops_v6(hops.into())?,
        }
    }
    if let Some(from) = from.filter(|from| from.is_ipv4() == to.is_ipv4()) {
        socket.bind(&SockAddr::from(SocketAddr::new(from, 0)))?;
    }
    match socket.connect(&to.into()) {
        Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => return Ok(local(error)),
        _ => {}
    }
    let tcp = TcpStream::from_std(socket.into())?;
    tcp.writable().await?;
    match SockRef::from(&tcp).take_error()? {
        None => {
            // From now on an ICMP message is to be borne, as on any connection.
            receive_errors(&SockRef::from(&tcp), to, false)?;
            let _ = tcp.set_nodelay(true);
            Ok(Answer::Open(tcp))
        }
        Some(error) => {
            let own = tcp.local_addr().ok().map(|own| own.ip());
            Ok(judge(&error, read_error(&tcp), own))
        }
    }
}

/// What an ICMP message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Says {
    HopsEnded,
    Prohibited,
    Unreachable,
}

/// What an error of a connection in the making means.
fn judge(error: &io::Error, report: Option<(IpAddr, Says)>, own: Option<IpAddr>) -> Answer {
    match (report, error.raw_os_error()) {
        // Nobody on the link has the address: this machine tells itself so.
        (Some((by, _)), _) if Some(by) == own => Answer::Silent,
        (Some((by, Says::HopsEnded)), _) => Answer::Expired(by),
        (report, Some(libc::ECONNREFUSED)) => Answer::Refused(report.map(|(by, _)| by)),
        (Some((by, Says::Prohibited)), _) => Answer::Prohibited(by),
        (Some((by, Says::Unreachable)), _) => Answer::Unreachable(Some(by)),
        (None, Some(libc::ETIMEDOUT)) => Answer::Silent,
        // A firewall may answer with a FIN or RST of its own right behind the handshake.
        (None, Some(libc::ECONNRESET | libc::EPIPE)) => Answer::Refused(None),
        (None, _) => Answer::Unreachable(None),
    }
}

fn local(error: io::Error) -> Answer {
    match error.raw_os_error() {
        Some(libc::ENETUNREACH | libc::EHOSTUNREACH) => Answer::Unreachable(None),
        Some(libc::ECONNREFUSED) => Answer::Refused(None),
        _ => Answer::Local(error),
    }
}

fn receive_errors(socket: &Socket, to: SocketAddr, wanted: bool) -> io::Result<()> {
    match to {
        SocketAddr::V4(_) => setsockopt(socket, Ipv4RecvErr, &wanted)?,
        SocketAddr::V6(_) => setsockopt(socket, Ipv6RecvErr, &wanted)?,
    }
    Ok(())
}

/// Who reported the error at the head of the socket's queue, and what it says (RFC 792, RFC 1812 §5.2.7.1, RFC 4443 §3).
fn read_error(tcp: &TcpStream) -> Option<(IpAddr, Says)> {
    let mut payload = [0; 128];
    let mut slices = [IoSliceMut::new(&mut payload)];
    let mut control = nix::cmsg_space!(libc::sock_extended_err, libc::sockaddr_in6);
    let message = recvmsg::<SockaddrStorage>(
        tcp.as_raw_fd(),
        &mut slices,
        Some(&mut control),
        MsgFlags::MSG_ERRQUEUE,
    )
    .ok()?;
    message.cmsgs().ok()?.find_map(|message| match message {
        ControlMessageOwned::Ipv4RecvErr(error, Some(from)) if error.ee_origin == libc::SO_EE_ORIGIN_ICMP => {
            let by = Ipv4Addr::from(u32::from_be(from.sin_addr.s_addr));
            let says = match (error.ee_type, error.ee_code) {
                (11, _) => Says::HopsEnded,
                (3, 9 | 10 | 13) => Says::Prohibited,
                _ => Says::Unreachable,
            };
            Some((by.into(), says))
        }
        ControlMessageOwned::Ipv6RecvErr(error, Some(from))
            if error.ee_origin == libc::SO_EE_ORIGIN_ICMP6 =>
        {
            let by = Ipv6Addr::from(from.sin6_addr.s6_addr);
            let says = match (error.ee_type, error.ee_code) {
                (3, _) => Says::HopsEnded,
                (1, 1 | 5 | 6) => Says::Prohibited,
                _ => Says::Unreachable,
            };
            Some((by.into(), says))
        }
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(20);

    #[tokio::test]
    async fn who_listens_is_open_and_who_does_not_refuses() {
        for here in ["127.0.0.1:0", "[::1]:0"] {
            let listener = TcpListener::bind(here).await.unwrap();
            let to = listener.local_addr().unwrap();
            let open = knock(Some(to.ip()), to, None, WITHIN).await;
            assert!(open.is_open(), "{open:?}");
            drop((listener, open));
            let refused = knock(None, to, Some(3), WITHIN).await;
            assert!(matches!(refused.answer, Answer::Refused(None)), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn who_does_not_answer_is_silent() {
        // A listener whose backlog is full lets further SYNs lie.
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let to = listener.local_addr().unwrap().as_socket().unwrap();
        let mut held = Vec::new();
        let silent = loop {
            let knock = knock(None, to, None, Duration::from_millis(300)).await;
            match knock.answer {
                Answer::Open(tcp) if held.len() < 64 => held.push(tcp),
                answer => break answer,
            }
        };
        assert!(matches!(silent, Answer::Silent), "{silent:?}");
    }

    #[test]
    fn who_reports_an_error_decides_what_it_means() {
        let router: IpAddr = "192.0.2.1".parse().unwrap();
        let own = Some("192.0.2.7".parse().unwrap());
        let word = |errno, report| {
            let answer = judge(&io::Error::from_raw_os_error(errno), report, own);
            format!("{answer:?}")
        };
        for (errno, report, expected) in [
            (
                libc::EHOSTUNREACH,
                Some((router, Says::HopsEnded)),
                "Expired(192.0.2.1)",
            ),
            (
                libc::EHOSTUNREACH,
                Some((router, Says::Prohibited)),
                "Prohibited(192.0.2.1)",
            ),
            (
                libc::EHOSTUNREACH,
                Some((router, Says::Unreachable)),
                "Unreachable(Some(192.0.2.1))",
            ),
            (
                libc::ECONNREFUSED,
                Some((router, Says::Unreachable)),
                "Refused(Some(192.0.2.1))",
            ),
            (libc::ECONNREFUSED, None, "Refused(None)"),
            (libc::ETIMEDOUT, None, "Silent"),
            (libc::ENETUNREACH, None, "Unreachable(None)"),
            (
                libc::EHOSTUNREACH,
                own.map(|own| (own, Says::Unreachable)),
                "Silent",
            ),
        ] {
            assert_eq!(word(errno, report), expected);
        }
    }
}
