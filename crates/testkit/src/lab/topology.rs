//! The topologies as data: what stands in front of the server, and what in front of the client.

/// One network. All of them are in [`TOPOLOGIES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Topology {
    /// The word for it.
    pub name: &'static str,
    /// What stands between the server and the internet.
    pub server: ServerSide,
    /// What stands between the client and the internet.
    pub client: ClientSide,
    /// What it is, for people.
    pub what: &'static str,
}

/// What stands between the server and the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ServerSide {
    /// Nothing: it has a public address.
    Public,
    /// A home router.
    Home(&'static [Ability]),
    /// A home router behind another home router.
    Double {
        /// What the one next to the server does.
        inner: &'static [Ability],
        /// What the one next to the internet does.
        outer: &'static [Ability],
    },
    /// A home router behind a carrier's NAT, which is symmetric and lives in 100.64/10 (RFC 6598).
    Carrier,
    /// IPv6 alone, behind a stateful firewall without NAT (RFC 6092).
    Firewall6(&'static [Ability]),
    /// A home router for IPv4 that is a stateful firewall for IPv6.
    DualStack(&'static [Ability]),
}

/// What stands between the client and the internet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientSide {
    /// Nothing: it has a public address.
    Public,
    /// A home router.
    Home(&'static [Ability]),
    /// A router that lets out TCP to ports 21, 443 and 990 and nothing else.
    Strict,
    /// The client is on the server's own LAN.
    SameLan,
    /// Nothing, and IPv6 alone.
    Public6,
    /// Nothing, IPv4 and IPv6.
    DualStack,
}

/// What a router can do beside masquerading its LAN, which keeps a flow's port when it is free and lets nobody in but
/// the peer of the flow (RFC 4787: endpoint-independent mapping, address- and port-dependent filtering).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ability {
    /// Forwards 21, 990 and [`PASSIVE_PORTS`](super::PASSIVE_PORTS) to the same ports of the inside host.
    Forward,
    /// Forwards the control ports alone: 21 and 990.
    ForwardControl,
    /// Forwards 2121 to 21, 2990 to 990, and 40000… to [`PASSIVE_PORTS`](super::PASSIVE_PORTS).
    Remap,
    /// Forwards everything that nobody asked for to the inside host ("exposed host", "DMZ").
    ExposedHost,
    /// Runs miniupnpd: PCP, NAT-PMP and UPnP-IGD, for IPv6 pinholes too.
    PortMapping,
    /// Endpoint-independent mapping and filtering, with an outside port that differs from the inside one.
    FullCone,
    /// A new outside port for every flow.
    Symmetric,
    /// Reads FTP on port 21, rewrites its addresses and opens the ports they name.
    FtpAlg,
    /// Hosts of the LAN reach forwarded ports through the public address (RFC 4787 §6).
    Hairpin,
}

use Ability::{ExposedHost, Forward, ForwardControl, FtpAlg, FullCone, Hairpin, PortMapping, Remap};

const fn topology(
    name: &'static str,
    server: ServerSide,
    client: ClientSide,
    what: &'static str,
) -> Topology {
    Topology {
        name,
        server,
        client,
        what,
    }
}

/// Every topology.
pub const TOPOLOGIES: &[Topology] = &[
    topology(
        "pub",
        ServerSide::Public,
        ClientSide::Home(&[]),
        "public server, client behind a NAT",
    ),
    topology(
        "fwd",
        ServerSide::Home(&[Forward]),
        ClientSide::Public,
        "static forwards, same ports outside",
    ),
    topology(
        "remap",
        ServerSide::Home(&[Remap]),
        ClientSide::Public,
        "static forwards, other ports outside",
    ),
    topology(
        "upnp",
        ServerSide::Home(&[PortMapping]),
        ClientSide::Public,
        "no forward, the router maps on request",
    ),
    topology(
        "cone",
        ServerSide::Home(&[FullCone]),
        ClientSide::Public,
        "no forward, full-cone NAT",
    ),
    topology(
        "plain",
        ServerSide::Home(&[]),
        ClientSide::Public,
        "no forward, port-restricted NAT",
    ),
    topology(
        "cgnat",
        ServerSide::Carrier,
        ClientSide::Public,
        "home router behind a symmetric carrier NAT",
    ),
    topology(
        "cgnat2",
        ServerSide::Carrier,
        ClientSide::Home(&[]),
        "the same, client behind a NAT",
    ),
    topology(
        "plain2",
        ServerSide::Home(&[]),
        ClientSide::Home(&[]),
        "port-restricted NAT on both sides",
    ),
    topology(
        "double",
        ServerSide::Double {
            inner: &[PortMapping],
            outer: &[],
        },
        ClientSide::Public,
        "double NAT: the inner router maps, the outer one does nothing",
    ),
    topology(
        "doublefwd",
        ServerSide::Double {
            inner: &[Forward],
            outer: &[ExposedHost],
        },
        ClientSide::Public,
        "double NAT: forwards in both routers",
    ),
    topology(
        "doubleupnp",
        ServerSide::Double {
            inner: &[Forward],
            outer: &[PortMapping],
        },
        ClientSide::Public,
        "double NAT: the inner router forwards, the outer one maps on request",
    ),
    topology(
        "hairoff",
        ServerSide::Home(&[Forward]),
        ClientSide::SameLan,
        "client on the LAN uses the public address, no hairpin",
    ),
    topology(
        "hairon",
        ServerSide::Home(&[Forward, Hairpin]),
        ClientSide::SameLan,
        "client on the LAN uses the public address, hairpin",
    ),
    topology(
        "clifw",
        ServerSide::Public,
        ClientSide::Strict,
        "client may reach ports 21, 443 and 990 only",
    ),
    topology(
        "clifwnat",
        ServerSide::Home(&[Forward]),
        ClientSide::Strict,
        "the same, server behind forwards",
    ),
    topology(
        "algsrv",
        ServerSide::Home(&[ForwardControl, FtpAlg]),
        ClientSide::Public,
        "control ports forwarded by a router with an FTP ALG",
    ),
    topology(
        "algcli",
        ServerSide::Public,
        ClientSide::Home(&[FtpAlg]),
        "client behind a router with an FTP ALG",
    ),
    topology(
        "v6",
        ServerSide::Firewall6(&[PortMapping]),
        ClientSide::Public6,
        "IPv6 alone, firewall opens pinholes on request",
    ),
    topology(
        "dual",
        ServerSide::DualStack(&[Forward]),
        ClientSide::DualStack,
        "IPv4 forwarded, IPv6 firewalled",
    ),
    topology(
        "ipchange",
        ServerSide::Home(&[Forward]),
        ClientSide::Public,
        "static forwards, and the public address changes",
    ),
];

impl Topology {
    /// The one of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<&'static Self> {
        TOPOLOGIES.iter().find(|topology| topology.name == name)
    }

    /// Whether some router in front of the server has that ability.
    #[must_use]
    pub fn server_side_has(&self, ability: Ability) -> bool {
        match self.server {
            ServerSide::Public | ServerSide::Carrier => false,
            ServerSide::Home(all) | ServerSide::Firewall6(all) | ServerSide::DualStack(all) => {
                all.contains(&ability)
            }
            ServerSide::Double { inner, outer } => inner.contains(&ability) || outer.contains(&ability),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_there_once_and_finds_its_topology() {
        assert_eq!(TOPOLOGIES.len(), 21);
        for topology in TOPOLOGIES {
            assert_eq!(Topology::named(topology.name), Some(topology));
        }
        assert_eq!(Topology::named("none"), None);
    }
}
