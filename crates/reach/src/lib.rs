//! "An endpoint this peer can connect to", and why not otherwise.
//!
//! The ladder: each strategy judges without a packet, then opens; the first success wins and every refusal is
//! kept with its reason.

use std::net::{IpAddr, SocketAddr};

/// Whom the endpoint is for and what it may look like.
#[derive(Debug, Clone)]
pub struct Want {
    /// The peer of the control connection.
    pub peer: IpAddr,
    /// This end of the control connection.
    pub control: SocketAddr,
    /// The port that listens here.
    pub port: u16,
    /// Only an IPv4 address can be announced (PASV).
    pub ipv4_only: bool,
}

/// An address to announce, and how it was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// What the peer is told.
    pub announce: SocketAddr,
    /// The rung of the ladder.
    pub via: Via,
}

/// A rung of the ladder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Via {
    /// The address that the peer connected to.
    Direct,
    /// The operator's word.
    Fixed,
}

/// Why one rung did not hold.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Reason {
    /// PASV can announce IPv4 only and this side of the connection has none.
    #[error("no IPv4 address to announce")]
    NoIpv4,
    /// The configured name does not resolve to an address of the needed family.
    #[error("{0} does not resolve")]
    Unresolved(String),
    /// The operator named no address.
    #[error("no public address is configured")]
    NotConfigured,
    /// The peer is on this side of the router.
    #[error("the peer is on the local network")]
    LocalPeer,
}

/// No rung held; each with its reason.
#[derive(Debug, Clone, thiserror::Error)]
#[error("no endpoint that this peer can connect to")]
pub struct Unreachable(pub Vec<(Via, Reason)>);

/// What the operator says the outside sees.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicHost {
    /// An address.
    Address(IpAddr),
    /// A DNS name, resolved again as time goes by; the last good answer is kept.
    Name(String),
}

/// A statically forwarded port whose outside number differs from the inside one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Forward {
    /// The router's port.
    pub outside: u16,
    /// The port that listens here.
    pub inside: u16,
}

/// The ladder. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Reach {}

impl Reach {
    /// The ladder for an operator who said this much.
    #[must_use]
    pub fn new(_public: Option<PublicHost>, _forwards: Vec<Forward>) -> Self {
        Self {}
    }

    /// An endpoint for this peer.
    ///
    /// # Errors
    /// [`Unreachable`] with the reason of every rung.
    pub async fn passive_open(&self, want: &Want) -> Result<Endpoint, Unreachable> {
        Ok(Endpoint {
            announce: SocketAddr::new(want.control.ip(), want.port),
            via: Via::Direct,
        })
    }
}
