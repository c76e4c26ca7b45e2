//! Socket options, listeners, and what the kernel still has to send.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fd::{AsFd, BorrowedFd};
use rustix::net::sockopt;
use socket2::{Domain, Protocol, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

/// A peer that is gone is noticed after half a minute; until then a connection may be idle for ever.
const KEEPALIVE: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(15))
    .with_interval(Duration::from_secs(5))
    .with_retries(3);

/// A listener that takes its port at once after another one gave it back. `[::]` is IPv6 only.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM.nonblocking(),
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    // Accepted connections inherit these. Urgent bytes (FTP's ABOR) are bytes of the stream like others.
    socket.set_out_of_band_inline(true)?;
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}

/// Bytes that a connection may have taken and not sent yet: enough to be sending until there are more, few enough to be in
/// the cache when the receiver reads them.
const UNSENT: u32 = 256 * 1024;

/// Makes a connection pass bytes on at once and notice that the other side is gone. What the kernel refuses is a
/// lesser service, no failure.
pub(crate) fn prepare(stream: &TcpStream) {
    let socket = socket2::SockRef::from(stream);
    let _ = socket.set_tcp_nodelay(true);
    let _ = socket.set_tcp_keepalive(&KEEPALIVE);
    let _ = socket.set_tcp_user_timeout(None);
    let _ = socket.set_out_of_band_inline(true);
    let _ = socket.set_tcp_notsent_lowat(UNSENT);
}

/// What is sent to a client that is gone keeps keepalive from asking, so it has as long to be acknowledged. Only for
/// control connections, which clients read all the time: a stream may stand still for long.
const UNACKNOWLEDGED: Duration = Duration::from_secs(30);

/// As if it were known when a control connection's client is gone.
const DOUBT: TcpKeepalive = TcpKeepalive::new()
    .with_time(Duration::from_secs(1))
    .with_interval(Duration::from_secs(1))
    .with_retries(2);

/// Notices that the client of a control connection is gone, also when something is on its way to it.
pub(crate) fn watch(control: &TcpStream) {
    let socket = socket2::SockRef::from(control);
    let _ = socket.set_tcp_keepalive(&KEEPALIVE);
    let _ = socket.set_tcp_user_timeout(Some(UNACKNOWLEDGED));
}

/// Notices it within 3 s, when nothing is on its way to it.
pub(crate) fn doubt(control: &TcpStream) {
    let socket = socket2::SockRef::from(control);
    // With it, Linux does not count what keepalive has asked in vain.
    let _ = socket.set_tcp_user_timeout(None);
    let _ = socket.set_tcp_keepalive(&DOUBT);
}

/// Connects from the address of `listener` (RFC 6062 section 5.2), which goes on listening.
///
/// The kernel lets both have the port when both say SO_REUSEPORT while the new one is bound. The listener says it
/// for that moment only, and [`listen`] never does, so that no other allocation gets the port. (Another process of
/// the same user that says it too can: Linux then remembers the port as shared.)
pub(crate) async fn connect_from(listener: &TcpListener, to: SocketAddr) -> io::Result<TcpStream> {
    let own = listener.local_addr()?;
    let socket = fresh(to)?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    sockopt::set_socket_reuseport(listener, true)?;
    let bound = socket.bind(own);
    sockopt::set_socket_reuseport(listener, false)?;
    bound?;
    socket.connect(to).await
}

/// Connects from whatever port of `own`.
pub(crate) async fn connect(own: Option<IpAddr>, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = fresh(to)?;
    if let Some(own) = own {
        socket.bind((own, 0).into())?;
    }
    socket.connect(to).await
}

fn fresh(to: SocketAddr) -> io::Result<TcpSocket> {
    if to.is_ipv4() {
        TcpSocket::new_v4()
    } else {
        TcpSocket::new_v6()
    }
}

/// Makes closing the socket a reset. A socket that refuses is gone already.
pub(crate) fn reset_at_close(socket: impl AsFd) {
    let _ = sockopt::set_socket_linger(socket, Some(Duration::ZERO));
}

/// Bytes that the other side's kernel has not acknowledged (SIOCOUTQ), with a FIN as one; 0 when the socket does
/// not say.
#[allow(unsafe_code, reason = "SIOCOUTQ has no safe wrapper; this is the one place")]
pub(crate) fn unacknowledged(socket: BorrowedFd<'_>) -> i32 {
    /// The same number on all of Linux's architectures but sparc's kin.
    const SIOCOUTQ: rustix::ioctl::Opcode = 0x5411;
    // SAFETY: for a TCP socket SIOCOUTQ writes one int through the pointer that `Getter` gives, and nothing else.
    let asked = unsafe {
        rustix::ioctl::ioctl(
            socket,
            rustix::ioctl::Getter::<SIOCOUTQ, rustix::ffi::c_int>::new(),
        )
    };
    asked.unwrap_or(0)
}

/// Whether nothing that is sent can arrive any more.
pub(crate) fn is_dead(socket: BorrowedFd<'_>) -> bool {
    let mut fds = [PollFd::from_borrowed_fd(socket, PollFlags::empty())];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    poll(&mut fds, Some(&now)).is_ok_and(|_| fds[0].revents().contains(PollFlags::ERR))
}
