//! Whom an endpoint is for and what it may look like.

use std::net::{IpAddr, SocketAddr};

use crate::NetView;
use crate::survey::Class;

/// Whom the endpoint is for and what it may look like.
#[derive(Debug, Clone)]
pub struct Want {
    /// The peer of the control connection.
    pub peer: IpAddr,
    /// This end of the control connection.
    pub control: SocketAddr,
    /// What the peer connected to, where that is known not to be `control`: the address that a relay lends.
    pub dialled: Option<SocketAddr>,
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
        let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
        Self {
            peer: self.peer.to_canonical(),
            control: canonical(self.control),
            dialled: self.dialled.map(canonical),
            ..*self
        }
    }

    /// Whether the peer is on this side of the router, so that the address it connected to is the right one.
    pub(crate) fn peer_is_local(&self, view: &NetView) -> bool {
        let own = self.control.ip();
        if self.peer == own || self.peer.is_loopback() {
            return true;
        }
        // The router itself does not fetch files: it turned a connection to the public address back in (hairpin), and
        // that is where the peer will connect again.
        if view.gateway_v4.is_some_and(|gateway| self.peer == gateway) {
            return false;
        }
        match Class::of(self.peer) {
            Class::Private | Class::LinkLocal | Class::UniqueLocal => true,
            // A carrier's network, or an overlay, is ours only where we are in it ourselves.
            Class::Shared => Class::of(own) == Class::Shared,
            _ => false,
        }
    }
}
