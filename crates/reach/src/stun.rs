//! "Which address do you see?", asked over the network: STUN from the port that is listened on, and over UDP.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use pasarela_nat_proto::frame::Frames;
pub use pasarela_nat_proto::stun::behaviour::{Behaviour, Dependence};
use pasarela_nat_proto::stun::behaviour::{BehaviourError, Discovery};
use pasarela_nat_proto::stun::{Answer, Binding, BindingError, ChangeRequest};
use pasarela_nat_proto::transaction::{Schedule, TransactionId};
use socket2::SockRef;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpSocket, TcpStream, UdpSocket};
use tokio::time::{Instant, sleep_until, timeout};

/// Longer datagrams are no answers to what is asked here.
const DATAGRAM: usize = 2048;

/// A TCP connection to a STUN server from the port that is listened on, so that what the server sees is what other
/// peers can connect to, if the NAT lets them. While it stands the NAT keeps the mapping. It never listens: a second
/// listener on the port would take half of the connections.
#[derive(Debug)]
pub struct Line {
    tcp: TcpStream,
    /// Of the line, not of one question: an answer that came too late may be half read.
    frames: Frames,
}

impl Line {
    /// Connects from `local`, where somebody listens, to `server`. The listener must have set SO_REUSEADDR and
    /// SO_REUSEPORT before it was bound. A wildcard address becomes the one of the server's family.
    ///
    /// # Errors
    /// What the system says; `AddrInUse` when the listener lacks SO_REUSEPORT, or when an earlier connection to the
    /// same server is still in TIME_WAIT; `TimedOut`; `InvalidInput` when the families differ.
    pub async fn open(local: SocketAddr, server: SocketAddr, patience: Duration) -> io::Result<Self> {
        let server = SocketAddr::new(server.ip().to_canonical(), server.port());
        let local = from(local, server)?;
        let socket = if server.is_ipv4() {
            TcpSocket::new_v4()
        } else {
            TcpSocket::new_v6()
        }?;
        socket.set_reuseaddr(true)?;
        socket.set_reuseport(true)?;
        // Closed by a reset: from TIME_WAIT the same server could not be asked again from this port for a minute.
        SockRef::from(&socket).set_linger(Some(Duration::ZERO))?;
        socket.bind(local)?;
        let tcp = timeout(patience, socket.connect(server)).await??;
        Ok(Self {
            tcp,
            frames: Frames::default(),
        })
    }

    /// Our address as the server sees it. May be asked again and again; after an error the line is of no use, except
    /// after `TimedOut`.
    ///
    /// # Errors
    /// `TimedOut`; `UnexpectedEof` when the server closed; what the server refused as `Other`.
    pub async fn ask(&mut self, patience: Duration) -> io::Result<SocketAddr> {
        let deadline = Instant::now() + patience;
        let mut binding = Binding::new(
            Instant::now().into_std(),
            TransactionId::generate(),
            &Schedule::reliable(patience),
            ChangeRequest::default(),
        );
        let asked = async {
            while let Some(request) = binding.poll_transmit() {
                self.tcp.write_all(&request).await?;
            }
            let mut buffer = [0; DATAGRAM];
            loop {
                let length = self.tcp.read(&mut buffer).await?;
                if length == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                let mut input = &buffer[..length];
                while let Some(message) = self.frames.decode(&mut input).map_err(invalid)? {
                    binding.handle_message(&message);
                }
                if let Some(outcome) = binding.poll_outcome() {
                    return mapped(outcome);
                }
            }
        };
        tokio::time::timeout_at(deadline, asked).await?
    }

    /// Our side of the line.
    ///
    /// # Errors
    /// What the system says.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

/// Where to bind so that `server` can be connected to from the port of `local`.
fn from(local: SocketAddr, server: SocketAddr) -> io::Result<SocketAddr> {
    let ip = match (local.ip().to_canonical(), server.ip()) {
        (ip, IpAddr::V4(_)) if ip.is_unspecified() => Ipv4Addr::UNSPECIFIED.into(),
        (ip, IpAddr::V6(_)) if ip.is_unspecified() => Ipv6Addr::UNSPECIFIED.into(),
        (ip, server) if ip.is_ipv4() == server.is_ipv4() => ip,
        _ => {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "local and server differ in family",
            ));
        }
    };
    match local {
        // A link-local address means nothing without its scope.
        SocketAddr::V6(local) if ip.is_ipv6() && !ip.is_unspecified() => Ok(SocketAddr::V6(local)),
        _ => Ok(SocketAddr::new(ip, local.port())),
    }
}

/// Our address as the server sees it over UDP, of a port of its own. Says nothing about TCP.
///
/// # Errors
/// `TimedOut` when UDP does not get through; `ConnectionRefused` when nobody serves there; what the server refused as
/// `Other`.
pub async fn udp(server: SocketAddr, patience: Duration) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind(anywhere(server)).await?;
    // From now on the system passes over what others send.
    socket.connect(server).await?;
    let id = TransactionId::generate();
    let now = Instant::now().into_std();
    let mut binding = Binding::new(now, id, &Schedule::default(), ChangeRequest::default());
    let asked = async {
        let mut buffer = [0; DATAGRAM];
        loop {
            while let Some(request) = binding.poll_transmit() {
                socket.send(&request).await?;
            }
            if let Some(outcome) = binding.poll_outcome() {
                return mapped(outcome);
            }
            let due = due(binding.poll_timeout());
            tokio::select! {
                received = socket.recv(&mut buffer) => binding.handle_message(&buffer[..received?]),
                () = sleep_until(due) => binding.handle_timeout(Instant::now().into_std()),
            }
        }
    };
    timeout(patience, asked).await?
}

/// What kind of NAT this is, over UDP (RFC 5780). Takes 3.5 s where the filter keeps the answers out, as most do.
///
/// # Errors
/// As [`udp`]; `Unsupported` when the server has no other address to compare with.
pub async fn behaviour(server: SocketAddr, patience: Duration) -> io::Result<Behaviour> {
    let socket = UdpSocket::bind(anywhere(server)).await?;
    let now = Instant::now().into_std();
    let mut discovery = Discovery::new(
        now,
        server,
        Schedule::default(),
        Box::new(TransactionId::generate),
    );
    let asked = async {
        let mut buffer = [0; DATAGRAM];
        loop {
            while let Some((to, request)) = discovery.poll_transmit() {
                socket.send_to(&request, to).await?;
            }
            if let Some(outcome) = discovery.poll_outcome() {
                return outcome.map_err(|error| match error {
                    BehaviourError::Binding(error) => refused(error),
                    BehaviourError::OtherSilent => io::Error::new(io::ErrorKind::TimedOut, error),
                    error => io::Error::new(io::ErrorKind::Unsupported, error),
                });
            }
            let due = due(discovery.poll_timeout());
            tokio::select! {
                received = socket.recv_from(&mut buffer) => {
                    let (length, from) = received?;
                    discovery.handle_datagram(Instant::now().into_std(), from, &buffer[..length]);
                }
                () = sleep_until(due) => discovery.handle_timeout(Instant::now().into_std()),
            }
        }
    };
    timeout(patience, asked).await?
}

/// What is due never is due now: the machines have an outcome then.
fn due(at: Option<std::time::Instant>) -> Instant {
    at.map_or_else(Instant::now, Instant::from_std)
}

fn anywhere(server: SocketAddr) -> SocketAddr {
    let ip = if server.is_ipv4() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED)
    } else {
        Ipv6Addr::UNSPECIFIED.into()
    };
    SocketAddr::new(ip, 0)
}

fn mapped(outcome: Result<Answer, BindingError>) -> io::Result<SocketAddr> {
    outcome.map(|answer| answer.mapped).map_err(refused)
}

fn refused(error: BindingError) -> io::Error {
    let kind = match error {
        BindingError::Silent => io::ErrorKind::TimedOut,
        BindingError::Malformed => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

fn invalid(error: impl std::error::Error + Send + Sync + 'static) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests;
