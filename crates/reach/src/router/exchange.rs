//! One question over UDP to the port that PCP and NAT-PMP share: sent a few times, answered once.

use std::net::{IpAddr, SocketAddr, SocketAddrV6};
use std::time::Duration;

use tokio::net::UdpSocket;
use tokio::time::{Instant, timeout_at};

use super::Refusal;

/// Where routers are asked (RFC 6886 §3.1, RFC 6887 §19.2).
pub(super) const PORT: u16 = 5351;

/// How long each sending is waited for. RFC 6886 §3.1 begins like this and goes on for a minute.
const WAITS: [Duration; 3] = [
    Duration::from_millis(250),
    Duration::from_millis(500),
    Duration::from_millis(1000),
];

/// How long a protocol has for all its questions.
pub(super) const PATIENCE: Duration = Duration::from_millis(1800);

/// Our address with the scope that the way to `server` has.
pub(super) fn local(from: IpAddr, server: SocketAddr) -> SocketAddr {
    match (from, server) {
        (IpAddr::V6(from), SocketAddr::V6(server)) => SocketAddrV6::new(from, 0, 0, server.scope_id()).into(),
        _ => (from, 0).into(),
    }
}

/// A socket that sends from our address and hears this server alone.
///
/// The address is said and not left to the kernel: to a link-local gateway that would be a link-local one, and the
/// router would map that or refuse (RFC 6887 §8.2, ADDRESS_MISMATCH).
pub(super) async fn socket(from: IpAddr, server: SocketAddr) -> Result<UdpSocket, Refusal> {
    let socket = UdpSocket::bind(local(from, server))
        .await
        .map_err(|error| not_ours(from, &error))?;
    socket
        .connect(server)
        .await
        .map_err(|error| Refusal::from_io(&error))?;
    Ok(socket)
}

/// Why our own address could not be used.
pub(super) fn not_ours(from: IpAddr, error: &std::io::Error) -> Refusal {
    match error.kind() {
        std::io::ErrorKind::AddrNotAvailable => Refusal::NotOurs(from),
        _ => Refusal::from_io(error),
    }
}

/// Asks until `answer` makes something of a datagram. One that it makes nothing of is passed over: it is late, or
/// somebody else's.
///
/// A port below 1024 is asked for once: a router that forbids it may look through all its ports for each repetition.
pub(super) async fn ask<T>(
    socket: &UdpSocket,
    request: &[u8],
    inside: u16,
    end: Instant,
    answer: impl Fn(&[u8]) -> Option<Result<T, Refusal>>,
) -> Result<T, Refusal> {
    let once = [PATIENCE];
    let waits: &[Duration] = if inside < 1024 { &once } else { &WAITS };
    let mut silent = Refusal::NoAnswer;
    for wait in waits {
        let due = end.min(Instant::now() + *wait);
        socket
            .send(request)
            .await
            .map_err(|error| Refusal::from_io(&error))?;
        // The longest message of PCP (RFC 6887 §7).
        let mut datagram = [0; 1100];
        while let Ok(received) = timeout_at(due, socket.recv(&mut datagram)).await {
            let length = received.map_err(|error| Refusal::from_io(&error))?;
            match answer(&datagram[..length]) {
                Some(answer) => return answer,
                None => silent = Refusal::Malformed("no answer to what was asked"),
            }
        }
    }
    Err(silent)
}
