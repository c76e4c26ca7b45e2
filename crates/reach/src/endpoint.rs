//! What is announced to a peer, how it was come by, and why one could not be had.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// An address to announce, and how it was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// What the peer is told: all of it by a 227, its port by a 229.
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

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Direct => "direct",
            Self::Fixed => "fixed",
        })
    }
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
    /// A loopback or unspecified address, which means another machine to a peer that is not on this one.
    #[error("{0} means nothing to a peer on another machine")]
    OnlyHere(IpAddr),
}

/// No rung held; each with its reason.
#[derive(Debug, Clone, thiserror::Error)]
pub struct Unreachable(pub Vec<(Via, Reason)>);

impl fmt::Display for Unreachable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no endpoint that this peer can connect to")?;
        for (index, (via, reason)) in self.0.iter().enumerate() {
            write!(f, "{}{via}: {reason}", if index == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}
