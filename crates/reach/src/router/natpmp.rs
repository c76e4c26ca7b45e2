//! NAT Port Mapping Protocol (RFC 6886): IPv4 mappings. A question does not name our address, so it works through an
//! inner router, too.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use tokio::time::Instant;

use super::leftover::How;
use super::{Asked, Granted, Refusal, exchange};

const VERSION: u8 = 0;
const EXTERNAL_ADDRESS: u8 = 0;
const MAP_TCP: u8 = 2;
/// The bit of the opcode that makes a message a response (RFC 6886 §3.5).
const RESPONSE: u8 = 0x80;

/// Asks for the router's outside address, and then for a mapping.
pub(super) async fn map(asked: &Asked, server: SocketAddr) -> Result<Granted, Refusal> {
    if asked.inside.is_ipv6() {
        return Err(Refusal::Unsupported);
    }
    let end = Instant::now() + exchange::PATIENCE;
    let socket = exchange::socket(asked.inside.ip(), server).await?;
    // First the question that opens nothing: an answer to it proves that somebody is there.
    let inside = asked.inside.port();
    let address = exchange::ask(
        &socket,
        &[VERSION, EXTERNAL_ADDRESS],
        inside,
        end,
        external_address,
    )
    .await?;
    if address.is_unspecified() {
        return Err(Refusal::NetworkFailure);
    }
    let request = request(inside, asked.outside, asked.seconds());
    let granted = exchange::ask(&socket, &request, inside, end, |datagram| {
        mapped(datagram, inside)
    })
    .await?;
    let (outside, lifetime) = granted;
    if outside == 0 || lifetime == 0 {
        return Err(Refusal::Malformed("a mapping without a port or a lifetime"));
    }
    Ok(Granted {
        outside: (address, outside).into(),
        lifetime: Some(lifetime),
        how: How::NatPmp { server },
    })
}

/// Takes a mapping back: the same request with lifetime and outside port 0 (RFC 6886 §3.4).
pub(super) async fn unmap(from: IpAddr, inside: u16, server: SocketAddr) -> Result<(), Refusal> {
    let end = Instant::now() + exchange::PATIENCE;
    let socket = exchange::socket(from, server).await?;
    let request = request(inside, 0, 0);
    exchange::ask(&socket, &request, inside, end, |datagram| {
        mapped(datagram, inside)
    })
    .await
    .map(drop)
}

/// RFC 6886 §3.3.
fn request(inside: u16, outside: u16, seconds: u32) -> [u8; 12] {
    let mut message = [0; 12];
    message[1] = MAP_TCP;
    message[4..6].copy_from_slice(&inside.to_be_bytes());
    message[6..8].copy_from_slice(&outside.to_be_bytes());
    message[8..12].copy_from_slice(&seconds.to_be_bytes());
    message
}

/// RFC 6886 §3.2.
fn external_address(datagram: &[u8]) -> Option<Result<Ipv4Addr, Refusal>> {
    match head(datagram, EXTERNAL_ADDRESS)? {
        Err(refusal) => Some(Err(refusal)),
        Ok(()) => Some(Ok(Ipv4Addr::from(*datagram.get(8..12)?.first_chunk::<4>()?))),
    }
}

/// RFC 6886 §3.3: outside port and lifetime.
fn mapped(datagram: &[u8], inside: u16) -> Option<Result<(u16, u32), Refusal>> {
    match head(datagram, MAP_TCP)? {
        Err(refusal) => Some(Err(refusal)),
        Ok(()) => {
            let [i0, i1, o0, o1, l0, l1, l2, l3] = *datagram.get(8..16)?.first_chunk::<8>()?;
            (u16::from_be_bytes([i0, i1]) == inside).then_some(Ok((
                u16::from_be_bytes([o0, o1]),
                u32::from_be_bytes([l0, l1, l2, l3]),
            )))
        }
    }
}

/// Version, opcode and result code (RFC 6886 §3.5).
fn head(datagram: &[u8], asked: u8) -> Option<Result<(), Refusal>> {
    let [version, opcode, c0, c1, ..] = *datagram else {
        return None;
    };
    if version != VERSION && opcode & RESPONSE != 0 {
        return Some(Err(Refusal::VersionMismatch));
    }
    if opcode != RESPONSE | asked {
        return None;
    }
    Some(match u16::from_be_bytes([c0, c1]) {
        0 => Ok(()),
        1 => Err(Refusal::VersionMismatch),
        2 => Err(Refusal::NotAuthorized),
        3 => Err(Refusal::NetworkFailure),
        4 => Err(Refusal::NoResources),
        5 => Err(Refusal::Unsupported),
        code => Err(Refusal::Code(code)),
    })
}

#[cfg(test)]
mod tests;
