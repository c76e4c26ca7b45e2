//! Port Control Protocol, opcode MAP (RFC 6887 §11): mappings for IPv4, pinholes for IPv6.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::leftover::How;
use super::{Asked, Granted, Refusal, exchange};

const VERSION: u8 = 2;
const MAP: u8 = 1;
/// The bit of the opcode that makes a message a response (RFC 6887 §7.2).
const RESPONSE: u8 = 0x80;
const TCP: u8 = 6;
const HEADER: usize = 24;
const MESSAGE: usize = HEADER + 36;

/// What proves to the router that a mapping is ours (RFC 6887 §11.2).
#[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Nonce([u8; 12]);

impl fmt::Debug for Nonce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl Nonce {
    fn new() -> Result<Self, Refusal> {
        let mut nonce = [0; 12];
        // Without randomness there is nothing to ask with.
        getrandom::fill(&mut nonce).map_err(|_| Refusal::Unreachable(std::io::ErrorKind::Other))?;
        Ok(Self(nonce))
    }
}

/// Asks for a mapping, or again for one that was granted with this nonce at this outside address.
pub(super) async fn map(
    asked: &Asked,
    server: SocketAddr,
    before: Option<(Nonce, IpAddr)>,
) -> Result<Granted, Refusal> {
    let client = asked.client();
    let nonce = before.map_or_else(Nonce::new, |(nonce, _)| Ok(nonce))?;
    let wish = match (before, client.ip()) {
        (Some((_, outside)), _) => SocketAddr::new(outside, asked.outside),
        (None, IpAddr::V4(_)) => (Ipv4Addr::UNSPECIFIED, asked.outside).into(),
        // A pinhole changes neither address nor port.
        (None, IpAddr::V6(_)) => client,
    };
    let request = request(client, wish, nonce, asked.seconds());
    let answer = ask(asked.inside.ip(), client, server, &request).await?;
    let granted = Granted {
        outside: answer.outside,
        lifetime: Some(answer.lifetime),
        how: How::Pcp { server, nonce },
    };
    let otherwise = if client.is_ipv6() && answer.outside != client {
        Refusal::OtherOutside(answer.outside)
    } else if answer.outside.ip().is_unspecified() {
        Refusal::CannotProvideExternal
    } else if answer.outside.port() == 0 || answer.lifetime == 0 {
        Refusal::Malformed("a mapping without a port or a lifetime")
    } else {
        return Ok(granted);
    };
    // What cannot be used is not left open.
    if let Err(refusal) = unmap(asked.inside.ip(), client, server, nonce).await {
        tracing::debug!(%refusal, %server, "an unusable mapping stays");
    }
    Err(otherwise)
}

/// What remains of a mapping that a router does not take back but shortens.
const SHORT: u32 = 120;

/// Takes a mapping back: the same request with lifetime 0 and nothing suggested (RFC 6887 §15.1).
///
/// miniupnpd (2.3.1) forgets whose an IPv6 pinhole is when it is renewed, and then does not let anybody take it back;
/// but it lets us ask for it again, for a second.
pub(super) async fn unmap(
    from: IpAddr,
    client: SocketAddr,
    server: SocketAddr,
    nonce: Nonce,
) -> Result<(), Refusal> {
    let nothing: SocketAddr = match client {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let removal = request(client, nothing, nonce, 0);
    match ask(from, client, server, &removal).await {
        Err(Refusal::NotAuthorized) if client.is_ipv6() => {
            let shorter = request(client, client, nonce, 1);
            let shortened = ask(from, client, server, &shorter).await;
            match shortened {
                Ok(answer) if answer.lifetime <= SHORT => Ok(()),
                _ => Err(Refusal::NotAuthorized),
            }
        }
        answer => answer.map(drop),
    }
}

async fn ask(
    from: IpAddr,
    client: SocketAddr,
    server: SocketAddr,
    request: &[u8; MESSAGE],
) -> Result<Answer, Refusal> {
    let end = Instant::now() + exchange::PATIENCE;
    let socket = exchange::socket(from, server).await?;
    exchange::ask(&socket, request, client.port(), end, |datagram| {
        answer(datagram, request)
    })
    .await
}

/// RFC 6887 §7.1 and §11.1.
fn request(client: SocketAddr, wish: SocketAddr, nonce: Nonce, seconds: u32) -> [u8; MESSAGE] {
    let mut message = [0; MESSAGE];
    message[0] = VERSION;
    message[1] = MAP;
    message[4..8].copy_from_slice(&seconds.to_be_bytes());
    message[8..24].copy_from_slice(&wide(client.ip()));
    message[24..36].copy_from_slice(&nonce.0);
    message[36] = TCP;
    message[40..42].copy_from_slice(&client.port().to_be_bytes());
    message[42..44].copy_from_slice(&wish.port().to_be_bytes());
    message[44..60].copy_from_slice(&wide(wish.ip()));
    message
}

/// An address as PCP writes it (RFC 6887 §5).
fn wide(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => address.octets(),
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Answer {
    outside: SocketAddr,
    lifetime: u32,
}

/// What a datagram says to a request; nothing where it is no answer to it (RFC 6887 §8.3, §11.4).
fn answer(datagram: &[u8], request: &[u8; MESSAGE]) -> Option<Result<Answer, Refusal>> {
    let [version, opcode, _, code, ..] = *datagram else {
        return None;
    };
    if opcode & RESPONSE == 0 {
        return None;
    }
    // A server of NAT-PMP alone answers with its own version (RFC 6887 Appendix A), in fewer octets.
    if version != VERSION || code == 1 {
        return Some(Err(Refusal::VersionMismatch));
    }
    if opcode != RESPONSE | MAP || datagram.len() < HEADER {
        return None;
    }
    let Some(message) = datagram.first_chunk::<MESSAGE>() else {
        // Some servers refuse with the header alone.
        return (code != 0).then(|| Err(refusal(code)));
    };
    // Nonce, protocol and inside port come back as they were sent.
    if message[24..37] != request[24..37] || message[40..42] != request[40..42] {
        return None;
    }
    if code != 0 {
        return Some(Err(refusal(code)));
    }
    let port = u16::from_be_bytes([message[42], message[43]]);
    let address = Ipv6Addr::from(*message.last_chunk::<16>()?);
    Some(Ok(Answer {
        outside: SocketAddr::new(IpAddr::V6(address).to_canonical(), port),
        lifetime: u32::from_be_bytes([message[4], message[5], message[6], message[7]]),
    }))
}

/// RFC 6887 §7.4.
fn refusal(code: u8) -> Refusal {
    match code {
        2 => Refusal::NotAuthorized,
        4 | 5 | 9 => Refusal::Unsupported,
        7 => Refusal::NetworkFailure,
        8 => Refusal::NoResources,
        10 => Refusal::UserExceededQuota,
        11 => Refusal::CannotProvideExternal,
        12 => Refusal::AddressMismatch,
        code => Refusal::Code(code.into()),
    }
}

#[cfg(test)]
mod tests;
