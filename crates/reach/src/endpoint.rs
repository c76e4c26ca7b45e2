//! What is announced to a peer, how it was come by, and why one could not be had.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

use serde::Serialize;

use crate::dial_back::Unanswered;
use crate::router::{Protocol, Refusal};

/// An address to announce, and how it was come by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoint {
    /// What the peer is told: all of it by a 227, its port by a 229.
    pub announce: SocketAddr,
    /// The rung of the ladder.
    pub via: Via,
}

/// A rung of the ladder, the best first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Via {
    /// The address that this machine has itself.
    Direct,
    /// The operator's word: a public address, forwarded ports.
    Fixed,
    /// A mapping that a router made at our request.
    Mapped,
    /// A port that the router keeps open because we keep talking from it (full-cone NAT).
    Punched,
    /// A relay's address.
    Relayed,
}

impl Via {
    /// All of them, the best first.
    pub const ALL: [Self; 5] = [
        Self::Direct,
        Self::Fixed,
        Self::Mapped,
        Self::Punched,
        Self::Relayed,
    ];

    /// Its word in flags, configuration and logs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Fixed => "fixed",
            Self::Mapped => "mapped",
            Self::Punched => "punched",
            Self::Relayed => "relayed",
        }
    }
}

impl fmt::Display for Via {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
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
    /// The operator named none of what it takes.
    #[error("not configured")]
    NotConfigured,
    /// The operator does not want it tried.
    #[error("switched off")]
    NotAllowed,
    /// The peer is on this side of the router.
    #[error("the peer is on the local network")]
    LocalPeer,
    /// A loopback or unspecified address, which means another machine to a peer that is not on this one.
    #[error("{0} means nothing to a peer on another machine")]
    OnlyHere(IpAddr),
    /// This machine has a public address itself.
    #[error("not needed: this machine's own address is public")]
    NotNeeded,
    /// This machine's address is not one that the Internet can reach.
    #[error("this machine's address {0} is not public")]
    NotPublic(IpAddr),
    /// This machine has no address of the family, or no route.
    #[error("there is no default route")]
    NoRoute,
    /// Nothing is known of a standing endpoint of this port.
    #[error("nothing stands for this port")]
    NothingStands,
    /// The router refused, or did not answer.
    #[error("{protocol}: {why}")]
    Router {
        /// How it was asked.
        protocol: Protocol,
        /// What it said.
        why: Refusal,
    },
    /// The router mapped the port to an address that is not public: there is another router beyond it.
    #[error("the router's own address {0} is not public: there is another router beyond it")]
    BehindAnother(IpAddr),
    /// Router and STUN server see different addresses.
    #[error("the router says {router}, but the Internet sees {seen}")]
    Differs {
        /// The router's word.
        router: IpAddr,
        /// The STUN server's word.
        seen: IpAddr,
    },
    /// The STUN server did not answer.
    #[error("no answer from the STUN server {0}")]
    StunSilent(String),
    /// Two servers see two ports: each flow gets one of its own.
    #[error("the NAT gives every connection another port ({0} and {1})")]
    Symmetric(SocketAddr, SocketAddr),
    /// With one server nothing can be compared.
    #[error("one STUN server cannot tell whether the NAT keeps a port; name two")]
    OneServer,
    /// The listening port is not shared with other sockets.
    #[error("the listening socket cannot share its port (SO_REUSEPORT)")]
    PortNotShared,
    /// A relay dialled the endpoint from outside and nobody could connect.
    #[error("nobody outside could connect to {0}: {1}")]
    DialledBack(SocketAddr, Unanswered),
    /// The relay refused or could not be reached.
    #[error("{0}")]
    Relay(String),
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
