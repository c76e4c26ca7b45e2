//! Who has which address. They look public because miniupnpd maps nothing when its outside address is private,
//! shared (RFC 6598) or for documentation (RFC 5737).

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::Range;

use super::topology::{Ability, ClientSide, ServerSide, Topology};

/// The ports that [`Ability::Forward`] forwards beside 21 and 990.
pub const PASSIVE_PORTS: Range<u16> = 50000..50010;
/// Outside port of the first of [`PASSIVE_PORTS`] where they are remapped.
pub(crate) const REMAPPED_PASSIVE: u16 = 40000;
/// User name, password and realm of the TURN servers.
pub const TURN_ACCOUNT: &str = "lab";

pub(crate) const INTERNET: Ipv4Addr = Ipv4Addr::new(11, 9, 0, 1);
pub(crate) const INTERNET_OTHER: Ipv4Addr = Ipv4Addr::new(11, 9, 0, 2);
/// Of its own: what has spoken to the STUN servers has not spoken to the relay.
pub(crate) const INTERNET_RELAY: Ipv4Addr = Ipv4Addr::new(11, 9, 0, 3);
pub(crate) const SERVER_SITE: Ipv4Addr = Ipv4Addr::new(11, 9, 0, 20);
pub(crate) const OUTER_SITE: Ipv4Addr = Ipv4Addr::new(11, 9, 0, 30);
pub(crate) const CLIENT: Ipv4Addr = Ipv4Addr::new(11, 9, 0, 100);
pub(crate) const CLIENT_SITE: Ipv4Addr = Ipv4Addr::new(11, 9, 0, 101);
pub(crate) const LAN_ROUTER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub(crate) const LAN_SERVER: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 10);
pub(crate) const LAN_CLIENT: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 50);
pub(crate) const CLIENT_LAN_ROUTER: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 1);
pub(crate) const CLIENT_LAN_CLIENT: Ipv4Addr = Ipv4Addr::new(10, 10, 0, 10);

pub(crate) const INTERNET6: Ipv6Addr = Ipv6Addr::new(0x2a11, 9, 0, 0, 0, 0, 0, 1);
pub(crate) const INTERNET_RELAY6: Ipv6Addr = Ipv6Addr::new(0x2a11, 9, 0, 0, 0, 0, 0, 3);
pub(crate) const SERVER_SITE6: Ipv6Addr = Ipv6Addr::new(0x2a11, 9, 0, 0, 0, 0, 0, 0x20);
pub(crate) const CLIENT6: Ipv6Addr = Ipv6Addr::new(0x2a11, 9, 0, 0, 0, 0, 0, 0x100);
pub(crate) const LAN_ROUTER6: Ipv6Addr = Ipv6Addr::new(0x2a11, 9, 1, 0, 0, 0, 0, 1);
pub(crate) const LAN_SERVER6: Ipv6Addr = Ipv6Addr::new(0x2a11, 9, 1, 0, 0, 0, 0, 0x10);
/// The /64 that the server's LAN has.
pub(crate) const LAN6: &str = "2a11:9:1::/64";

/// The addresses that tests need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Addresses {
    /// What the internet calls the server's site; an address change moves it.
    pub public: IpAddr,
    /// Where clients reach a server that listens on port 21, as far as forwards decide that.
    pub control: SocketAddr,
    /// The same for a server that listens on port 990.
    pub implicit: SocketAddr,
    /// The server's own address.
    pub server: IpAddr,
    /// Its default router.
    pub gateway: IpAddr,
    /// The router beyond that one, seen from within.
    pub outer_gateway: Option<Ipv4Addr>,
    /// The client's own address.
    pub client: IpAddr,
    /// What the internet calls the client's site.
    pub client_site: IpAddr,
    /// STUN (RFC 8489, with RFC 5780) and TURN with permissions (RFC 8656, RFC 6062), over UDP and TCP.
    pub stun: SocketAddr,
    /// The same STUN server's other address and port.
    pub stun_other: SocketAddr,
    /// TURN that lets every peer in, permission or not.
    pub turn_open: SocketAddr,
    /// Nobody listens here: an address on the internet for a relay of ours.
    pub relay: IpAddr,
}

impl Addresses {
    pub(crate) fn of(topology: &Topology) -> Self {
        let public: IpAddr = match topology.server {
            ServerSide::Public | ServerSide::Home(_) | ServerSide::DualStack(_) => SERVER_SITE.into(),
            ServerSide::Double { .. } | ServerSide::Carrier => OUTER_SITE.into(),
            ServerSide::Firewall6(_) => LAN_SERVER6.into(),
        };
        let (server, gateway): (IpAddr, IpAddr) = match topology.server {
            ServerSide::Public => (SERVER_SITE.into(), INTERNET.into()),
            ServerSide::Firewall6(_) => (LAN_SERVER6.into(), LAN_ROUTER6.into()),
            _ => (LAN_SERVER.into(), LAN_ROUTER.into()),
        };
        let (client, client_site): (IpAddr, IpAddr) = match topology.client {
            ClientSide::Public | ClientSide::DualStack => (CLIENT.into(), CLIENT.into()),
            ClientSide::Home(_) | ClientSide::Strict => (CLIENT_LAN_CLIENT.into(), CLIENT_SITE.into()),
            ClientSide::SameLan => (LAN_CLIENT.into(), public),
            ClientSide::Public6 => (CLIENT6.into(), CLIENT6.into()),
        };
        let (control, implicit) = if topology.server_side_has(Ability::Remap) {
            (2121, 2990)
        } else {
            (21, 990)
        };
        let internet: IpAddr = if public.is_ipv6() {
            INTERNET6.into()
        } else {
            INTERNET.into()
        };
        Self {
            public,
            control: SocketAddr::new(public, control),
            implicit: SocketAddr::new(public, implicit),
            server,
            gateway,
            outer_gateway: far_side(topology.server).map(|(router, _)| router),
            client,
            client_site,
            stun: SocketAddr::new(internet, 3478),
            stun_other: SocketAddr::new(INTERNET_OTHER.into(), 3479),
            turn_open: SocketAddr::new(internet, 3488),
            relay: if public.is_ipv6() {
                INTERNET_RELAY6.into()
            } else {
                INTERNET_RELAY.into()
            },
        }
    }

    pub(crate) fn move_to(&mut self, public: IpAddr) {
        if self.server == self.public {
            self.server = public;
        }
        if self.client_site == self.public {
            self.client_site = public;
        }
        self.public = public;
        self.control.set_ip(public);
        self.implicit.set_ip(public);
    }
}

/// The net between two routers of the server's side: the outer one's address in it, and the inner one's.
pub(crate) fn far_side(server: ServerSide) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let net = |last| match server {
        ServerSide::Double { .. } => Some(Ipv4Addr::new(192, 168, 0, last)),
        ServerSide::Carrier => Some(Ipv4Addr::new(100, 64, 0, last)),
        _ => None,
    };
    Some((net(1)?, net(2)?))
}

/// Where an address change moves a site's public address.
pub(crate) fn next(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, last] = address.octets();
    Ipv4Addr::new(a, b, c, last ^ 1)
}
