//! Whom an endpoint is for and what it may look like.

use std::net::{IpAddr, SocketAddr};

use crate::survey::Class;

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
        if self.peer == own {
            return true;
        }
        match Class::of(self.peer) {
            Class::Loopback | Class::Private | Class::LinkLocal | Class::UniqueLocal => true,
            // A carrier's network is ours only where we are in it ourselves.
            class @ Class::Shared => Class::of(own) == class,
            _ => false,
        }
    }
}
