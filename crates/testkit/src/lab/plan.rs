//! A topology as nodes, wires, addresses and routes: lines for `ip -batch`, and rules for the routers. Touches nothing.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::net::IpAddr;

use super::addresses::{
    CLIENT, CLIENT_LAN_CLIENT, CLIENT_LAN_ROUTER, CLIENT_SITE, CLIENT6, INTERNET, INTERNET_OTHER,
    INTERNET_RELAY, INTERNET_RELAY6, INTERNET6, LAN_CLIENT, LAN_ROUTER, LAN_ROUTER6, LAN_SERVER, LAN_SERVER6,
    LAN6, OUTER_SITE, SERVER_SITE, SERVER_SITE6, far_side,
};
use super::router::Router;
use super::topology::{Ability, ClientSide, ServerSide, Topology};

/// A node of the network, each a network namespace of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// The internet: one segment that all public addresses are on, with STUN and TURN servers.
    Internet,
    /// The second router in front of the server: the outer one, or the carrier's.
    Outer,
    /// The server's own router.
    Router,
    /// A switch between that router, the server, and a client on the same LAN.
    Switch,
    /// The server.
    Server,
    /// The client's router.
    ClientRouter,
    /// The client.
    Client,
}

impl Role {
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Internet => "internet",
            Self::Outer => "outer",
            Self::Router => "router",
            Self::Switch => "switch",
            Self::Server => "server",
            Self::ClientRouter => "cliroute",
            Self::Client => "client",
        }
    }
}

/// The interface of a router that looks to the internet, and the one that looks to its LAN.
pub(crate) const WAN: &str = "wan";
pub(crate) const LAN: &str = "lan";
/// The only interface of hosts.
pub(crate) const HOST: &str = "eth0";
const SEGMENT: &str = "segment";

/// What is to be built.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    /// For each node its lines for `ip -batch`, run inside it once the wires are there.
    pub(crate) nodes: BTreeMap<Role, String>,
    pub(crate) wires: Vec<[(Role, String); 2]>,
    pub(crate) routers: BTreeMap<Role, Router>,
    /// The interface that has the site's public address, and the router it is next to.
    pub(crate) edge: Option<(Role, &'static str)>,
}

impl Plan {
    pub(crate) fn of(topology: &Topology) -> Self {
        let mut plan = Self::default();
        plan.switch(Role::Internet);
        for address in [INTERNET, INTERNET_OTHER, INTERNET_RELAY] {
            plan.address(Role::Internet, SEGMENT, address, 24);
        }
        for address in [INTERNET6, INTERNET_RELAY6] {
            plan.address(Role::Internet, SEGMENT, address, 64);
        }
        let same_lan = topology.client == ClientSide::SameLan;
        plan.server_side(topology.server, same_lan);
        plan.client_side(topology.client);
        if matches!(
            topology.server,
            ServerSide::Firewall6(_) | ServerSide::DualStack(_)
        ) {
            plan.line(Role::Internet, format!("route add {LAN6} via {SERVER_SITE6}"));
        }
        plan
    }

    fn server_side(&mut self, side: ServerSide, same_lan: bool) {
        let (v4, v6, inner, outer): (_, _, &[Ability], &[Ability]) = match side {
            ServerSide::Public => {
                self.plug(Role::Server, HOST);
                self.address(Role::Server, HOST, SERVER_SITE, 24);
                self.address(Role::Server, HOST, SERVER_SITE6, 64);
                self.default_route(Role::Server, INTERNET);
                self.default_route(Role::Server, INTERNET6);
                self.edge = Some((Role::Server, HOST));
                return;
            }
            ServerSide::Home(inner) => (true, false, inner, &[]),
            ServerSide::Double { inner, outer } => (true, false, inner, outer),
            ServerSide::Carrier => (true, false, &[], &[Ability::Symmetric]),
            ServerSide::Firewall6(inner) => (false, true, inner, &[]),
            ServerSide::DualStack(inner) => (true, true, inner, &[]),
        };
        if let Some((near, far)) = far_side(side) {
            self.plug(Role::Outer, WAN);
            self.address(Role::Outer, WAN, OUTER_SITE, 24);
            self.default_route(Role::Outer, INTERNET);
            self.wire((Role::Outer, LAN), (Role::Router, WAN));
            self.address(Role::Outer, LAN, near, 24);
            self.address(Role::Router, WAN, far, 24);
            self.default_route(Role::Router, near);
            self.router(Role::Outer, Router::new(outer, OUTER_SITE, far));
            self.edge = Some((Role::Outer, WAN));
        } else {
            self.plug(Role::Router, WAN);
            if v4 {
                self.address(Role::Router, WAN, SERVER_SITE, 24);
                self.default_route(Role::Router, INTERNET);
            }
            self.edge = Some((Role::Router, WAN));
        }
        if same_lan {
            self.switch(Role::Switch);
            for (host, interface) in [(Role::Router, LAN), (Role::Server, HOST), (Role::Client, HOST)] {
                self.port(Role::Switch, host, interface);
            }
        } else {
            self.wire((Role::Router, LAN), (Role::Server, HOST));
        }
        // miniupnpd wants an IPv4 address on its LAN even when it only opens pinholes for IPv6.
        self.address(Role::Router, LAN, LAN_ROUTER, 24);
        if v4 {
            self.address(Role::Server, HOST, LAN_SERVER, 24);
            self.default_route(Role::Server, LAN_ROUTER);
        }
        if v6 {
            self.address(Role::Router, WAN, SERVER_SITE6, 64);
            self.default_route(Role::Router, INTERNET6);
            self.address(Role::Router, LAN, LAN_ROUTER6, 64);
            self.address(Role::Server, HOST, LAN_SERVER6, 64);
            self.default_route(Role::Server, LAN_ROUTER6);
        }
        self.router(Role::Router, Router::new(inner, SERVER_SITE, LAN_SERVER));
    }

    fn client_side(&mut self, side: ClientSide) {
        let (v4, v6) = match side {
            ClientSide::SameLan => {
                self.address(Role::Client, HOST, LAN_CLIENT, 24);
                self.default_route(Role::Client, LAN_ROUTER);
                return;
            }
            ClientSide::Home(abilities) => {
                return self.client_router(Router::new(abilities, CLIENT_SITE, CLIENT_LAN_CLIENT));
            }
            ClientSide::Strict => {
                return self.client_router(Router::new(&[], CLIENT_SITE, CLIENT_LAN_CLIENT).strict());
            }
            ClientSide::Public => (true, false),
            ClientSide::Public6 => (false, true),
            ClientSide::DualStack => (true, true),
        };
        self.plug(Role::Client, HOST);
        if v4 {
            self.address(Role::Client, HOST, CLIENT, 24);
            self.default_route(Role::Client, INTERNET);
        }
        if v6 {
            self.address(Role::Client, HOST, CLIENT6, 64);
            self.default_route(Role::Client, INTERNET6);
        }
    }

    fn client_router(&mut self, router: Router) {
        self.plug(Role::ClientRouter, WAN);
        self.wire((Role::ClientRouter, LAN), (Role::Client, HOST));
        self.address(Role::ClientRouter, WAN, CLIENT_SITE, 24);
        self.address(Role::ClientRouter, LAN, CLIENT_LAN_ROUTER, 24);
        self.default_route(Role::ClientRouter, INTERNET);
        self.address(Role::Client, HOST, CLIENT_LAN_CLIENT, 24);
        self.default_route(Role::Client, CLIENT_LAN_ROUTER);
        self.router(Role::ClientRouter, router);
    }

    fn router(&mut self, role: Role, router: Router) {
        if router.maps_on_request() {
            self.line(role, format!("route add 224.0.0.0/4 dev {LAN}")); // SSDP goes to the LAN
        }
        self.routers.insert(role, router);
    }

    /// A bridge that knows no VLANs, no spanning tree and no IGMP.
    fn switch(&mut self, role: Role) {
        self.line(
            role,
            format!("link add {SEGMENT} type bridge stp_state 0 mcast_snooping 0"),
        );
        self.line(role, format!("link set {SEGMENT} up"));
    }

    fn plug(&mut self, role: Role, interface: &str) {
        self.port(Role::Internet, role, interface);
    }

    fn port(&mut self, switch: Role, role: Role, interface: &str) {
        let port = format!("to-{}", role.word());
        self.wire((role, interface), (switch, &port));
        self.line(switch, format!("link set {port} master {SEGMENT}"));
    }

    fn wire(&mut self, one: (Role, &str), other: (Role, &str)) {
        for (role, interface) in [one, other] {
            self.line(role, format!("link set {interface} up"));
        }
        self.wires
            .push([one, other].map(|(role, interface)| (role, interface.to_owned())));
    }

    fn address(&mut self, role: Role, interface: &str, address: impl Into<IpAddr>, prefix: u8) {
        let address = address.into();
        // Duplicate address detection (RFC 4862 §5.4) would hold an address back for a second.
        let nodad = if address.is_ipv6() { " nodad" } else { "" };
        self.line(
            role,
            format!("address add {address}/{prefix} dev {interface}{nodad}"),
        );
    }

    fn default_route(&mut self, role: Role, via: impl Into<IpAddr>) {
        let via = via.into();
        self.line(role, format!("route add default via {via}"));
    }

    fn line(&mut self, role: Role, line: String) {
        let lines = self
            .nodes
            .entry(role)
            .or_insert_with(|| "link set lo up\n".to_owned());
        let _ = writeln!(lines, "{line}");
    }
}

#[cfg(test)]
mod tests {
    use super::super::topology::TOPOLOGIES;
    use super::*;

    #[test]
    fn every_interface_has_its_wire_and_only_the_internet_has_no_way_out() {
        for topology in TOPOLOGIES {
            let plan = Plan::of(topology);
            for (role, lines) in &plan.nodes {
                let transit = matches!(role, Role::Internet | Role::Switch);
                assert_eq!(
                    !lines.contains("route add default"),
                    transit,
                    "{} {role:?}\n{lines}",
                    topology.name
                );
                for (interface, _) in plan
                    .wires
                    .iter()
                    .flatten()
                    .filter(|(at, _)| at == role)
                    .map(|(_, i)| (i, ()))
                {
                    assert!(lines.contains(&format!("link set {interface} up")), "{lines}");
                    assert!(interface.len() < 16, "IFNAMSIZ: {interface}");
                }
            }
            assert!(plan.edge.is_some());
        }
    }
}
