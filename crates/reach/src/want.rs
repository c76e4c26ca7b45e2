//! Whom an endpoint is for and what it may look like.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

/// Whom the endpoint is for and what it may look like.
#[derive(Debug, Clone)]
pub struct Want {
    /// The peer of the control connection.
    pub peer: IpAddr,
    /// This end of the control connection.
    pub control: SocketAddr,
    /// The port that listens here.
    pub port: u16,
    /// Only an IPv4 address can be announced (PASV). Without it a port alone is announced and the peer connects to
    /// the host of its control connection (EPSV, RFC 2428 §3), so that the host of the endpoint does not matter.
    pub ipv4_only: bool,
}

impl Want {
    /// The same with IPv4-mapped IPv6 addresses (`::ffff:192.0.2.1`) as what they are: a socket that listens for
    /// both families shows every IPv4 peer that way.
    pub(crate) fn canonical(&self) -> Self {
        Self {
            peer: self.peer.to_canonical(),
            control: SocketAddr::new(self.control.ip().to_canonical(), self.control.port()),
            ..*self
        }
    }

    /// Whether the peer is on this side of the router, so that the address it connected to is the right one.
    pub(crate) fn peer_is_local(&self) -> bool {
        let own = self.control.ip();
        if self.peer == own || self.peer.is_loopback() {
            return true;
        }
        match self.peer {
            // RFC 1918, RFC 3927; a carrier's network (RFC 6598) is ours only where we are in it ourselves.
            IpAddr::V4(peer) => {
                peer.is_private()
                    || peer.is_link_local()
                    || is_shared(peer) && matches!(own, IpAddr::V4(own) if is_shared(own))
            }
            // RFC 4193, RFC 4291 §2.5.6.
            IpAddr::V6(peer) => peer.is_unique_local() || peer.is_unicast_link_local(),
        }
    }
}

/// 100.64.0.0/10, between a carrier's NAT and its customers (RFC 6598), and in overlay networks.
fn is_shared(address: Ipv4Addr) -> bool {
    let [first, second, ..] = address.octets();
    first == 100 && second & 0b1100_0000 == 64
}
