//! Socket options, and what only the operating system knows of a connection.

use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{SocketFlags, acceptfrom_with};
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};

/// Keeps the mappings of home routers and carriers alive, and notices a peer that is gone (RFC 5382 asks for
/// hours; devices with five minutes exist).
const KEEPALIVE: Duration = Duration::from_secs(60);

/// What every accepted connection needs: replies at once, urgent bytes in their place (ABOR comes with them), and
/// keepalive.
pub(crate) fn prepare_accepted(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let socket = SockRef::from(stream);
    socket.set_out_of_band_inline(true)?;
    socket.set_tcp_keepalive(
        &TcpKeepalive::new()
            .with_time(KEEPALIVE)
            .with_interval(KEEPALIVE / 4),
    )
}

/// Whether an accept failed for want of descriptors or memory.
pub(crate) fn is_exhaustion(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM)
    )
}

/// Accepts a connection that is complete already; never waits.
pub(crate) fn accept_now(listener: &TcpListener) -> Option<(TcpStream, SocketAddr)> {
    let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
    let (socket, peer) = acceptfrom_with(listener.as_fd(), flags).ok()?;
    let peer = SocketAddr::try_from(peer?).ok()?;
    Some((TcpStream::from_std(socket.into()).ok()?, peer))
}

/// Whether the peer still has its sending side open, without reading.
pub(crate) fn is_open(stream: &TcpStream) -> bool {
    let mut fds = [PollFd::new(stream, PollFlags::RDHUP)];
    let now = Timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    match poll(&mut fds, Some(&now)) {
        Ok(0) => true,
        Ok(_) => !fds[0]
            .revents()
            .intersects(PollFlags::RDHUP | PollFlags::HUP | PollFlags::ERR),
        // Interrupted: nothing is known that speaks against it.
        Err(_) => true,
    }
}

/// On shorter paths than this the scheduler decides what comes first, not the network.
const SHORT_PATH: Duration = Duration::from_millis(2);

/// The least round trip that TCP has seen on this connection; zero where it is short or the system does not say.
#[allow(unsafe_code, reason = "TCP_INFO has no safe wrapper; this is the one place")]
pub(crate) fn least_round_trip(stream: &TcpStream) -> Duration {
    /// Where Linux keeps `tcpi_min_rtt` (microseconds) in `struct tcp_info`; stable, as it is user space ABI.
    const MIN_RTT: usize = 148;
    let mut info = [0_u8; 256];
    let mut len: libc::socklen_t = 256;
    // SAFETY: the descriptor is open for as long as `stream` is borrowed, and the kernel writes at most `len`
    // bytes into a buffer of that size.
    let result = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    if result != 0 || (len as usize) < MIN_RTT + 4 {
        return Duration::ZERO;
    }
    let micros = u32::from_ne_bytes([
        info[MIN_RTT],
        info[MIN_RTT + 1],
        info[MIN_RTT + 2],
        info[MIN_RTT + 3],
    ]);
    let round_trip = Duration::from_micros(micros.into());
    // All ones: no sample yet.
    if micros == u32::MAX || round_trip < SHORT_PATH {
        Duration::ZERO
    } else {
        round_trip
    }
}

/// A listening socket; `[::]` takes IPv4 too. One that shares its port lets connections go out from it.
pub(crate) fn listen(address: SocketAddr, shares_port: bool) -> io::Result<std::net::TcpListener> {
    let domain = Domain::for_address(address);
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shares_port)?;
    if address.is_ipv6() {
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(1024)?;
    Ok(socket.into())
}
