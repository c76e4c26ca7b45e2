//! What can be found about this machine's network.

use super::kinds;

kinds! {
    SERVER_RUNNING = "network.server-running", Ok, exit 0, rank 0,
        "a server of this state folder runs and says how it is reached", "";
    NO_DEFAULT_ROUTE = "network.no-default-route", Failure, exit 3, rank 9,
        "this machine has no way out: no default route for IPv4 or IPv6",
        "connect this machine to a network, or set a default route (ip route)";
    ADDRESS_PUBLIC = "network.address-public", Ok, exit 0, rank 0,
        "this machine has a public IPv4 address", "";
    ADDRESS_PRIVATE = "network.address-private", Note, exit 0, rank 0,
        "this machine's IPv4 address is private: a NAT stands between it and the Internet", "";
    ADDRESS_CARRIER = "network.address-carrier", Note, exit 0, rank 0,
        "this machine's IPv4 address is from a carrier's NAT (100.64.0.0/10, or 192.0.0.0/29 of DS-Lite)", "";
    ADDRESS_UNUSABLE = "network.address-unusable", Warning, exit 0, rank 6,
        "this machine's IPv4 address is of a kind that leads nowhere, such as 169.254.0.0/16",
        "see why no router gave this machine an address (DHCP), or set one by hand";
    ADDRESS_TRANSLATED = "network.address-translated", Note, exit 0, rank 0,
        "this machine's address looks public, but the Internet sees another one", "";
    IPV4_ABSENT = "network.ipv4-absent", Warning, exit 0, rank 2,
        "this machine has no way out by IPv4, so that only clients with IPv6 can come to it",
        "where clients without IPv6 are expected, lend an IPv4 address from a relay: --relay HOST";
    MAPPING_PCP = "network.mapping-pcp", Ok, exit 0, rank 0,
        "the router maps ports on request, by PCP", "";
    MAPPING_NAT_PMP = "network.mapping-nat-pmp", Ok, exit 0, rank 0,
        "the router maps ports on request, by NAT-PMP", "";
    MAPPING_UPNP = "network.mapping-upnp", Ok, exit 0, rank 0,
        "the router maps ports on request, by UPnP", "";
    MAPPING_REFUSED = "network.mapping-refused", Note, exit 0, rank 0,
        "the router knows a protocol for mappings and refuses this one",
        "allow this machine to map ports, in the router's settings for UPnP, NAT-PMP or PCP";
    MAPPING_ABSENT = "network.mapping-absent", Note, exit 0, rank 0,
        "the router maps no ports on request: it knows none of PCP, NAT-PMP and UPnP, or they are off",
        "switch UPnP, NAT-PMP or PCP on in the router, or forward the port there by hand";
    MAPPING_NOT_ASKED = "network.mapping-not-asked", Note, exit 0, rank 0,
        "no router was asked for a mapping", "";
    DOUBLE_NAT = "network.double-nat", Warning, exit 0, rank 3,
        "two routers translate one after the other, so that a port opened at the first leads nowhere",
        "put the first router into bridge mode, or forward the port on both and say so: --public-address HOST";
    CARRIER_NAT = "network.carrier-nat", Warning, exit 0, rank 4,
        "a carrier's NAT stands beyond the router; nobody but the carrier can open a port there",
        "ask the carrier for a public IPv4 address, or let clients come by IPv6 or through a relay: --relay HOST";
    STUN_NOT_ASKED = "network.stun-not-asked", Note, exit 0, rank 0,
        "no STUN server was asked, as none was named: the address that the Internet sees is not known",
        "name one, or better two: --stun HOST";
    STUN_SILENT = "network.stun-silent", Warning, exit 0, rank 1,
        "no STUN server that was named answers over TCP",
        "see whether the name is right and the server speaks STUN over TCP; a firewall may hold port 3478 back";
    STUN_MAPPED_ADDRESS = "network.stun-mapped-address", Ok, exit 0, rank 0,
        "a STUN server says which address the Internet sees", "";
    UDP_BLOCKED = "network.udp-blocked", Note, exit 0, rank 0,
        "UDP does not get through to STUN servers that answer over TCP", "";
    NAT_FULL_CONE = "network.nat-full-cone", Ok, exit 0, rank 0,
        "the NAT keeps one port for all destinations and lets everybody in there (RFC 4787: endpoint-independent), over UDP", "";
    NAT_RESTRICTED = "network.nat-restricted", Note, exit 0, rank 0,
        "the NAT keeps one port for all destinations and lets in only addresses that were sent to, over UDP", "";
    NAT_PORT_RESTRICTED = "network.nat-port-restricted", Note, exit 0, rank 0,
        "the NAT keeps one port for all destinations and lets in only addresses and ports that were sent to, over UDP", "";
    NAT_SYMMETRIC = "network.nat-symmetric", Note, exit 0, rank 0,
        "the NAT gives each destination another port, so that no port can be kept open through it", "";
    NAT_UNKNOWN = "network.nat-unknown", Note, exit 0, rank 0,
        "what kind of NAT this is could not be found out",
        "name a STUN server that has a second address (RFC 5780): --stun HOST";
    NO_HAIRPIN = "network.no-hairpin", Note, exit 0, rank 0,
        "the router does not lead connections to its own public address back into this network",
        "clients on this network use this machine's own address";
    IPV6_ABSENT = "network.ipv6-absent", Note, exit 0, rank 0,
        "this machine has no global IPv6 address", "";
    IPV6_PINHOLE = "network.ipv6-pinhole", Ok, exit 0, rank 0,
        "the router opens its IPv6 firewall on request", "";
    IPV6_OPEN = "network.ipv6-open", Ok, exit 0, rank 0,
        "somebody outside could connect to this machine's IPv6 address", "";
    IPV6_CLOSED = "network.ipv6-closed", Note, exit 0, rank 0,
        "nobody outside could connect to this machine's IPv6 address",
        "open the port for this machine in the router's IPv6 firewall";
    IPV6_FIREWALL_UNKNOWN = "network.ipv6-firewall-unknown", Note, exit 0, rank 0,
        "whether a firewall keeps connections to this machine's IPv6 address out cannot be seen from inside",
        "open the port for this machine in the router's IPv6 firewall, and try it from another network";
    RELAY_NOT_ASKED = "network.relay-not-asked", Note, exit 0, rank 0,
        "no relay was asked, as none was named: nothing was tried from outside",
        "name yours, which also connects from outside to prove what cannot be seen from here: --relay HOST";
    RELAY_LENDS = "network.relay-lends", Ok, exit 0, rank 0,
        "a relay lends this machine a public address", "";
    RELAY_REFUSED = "network.relay-refused", Warning, exit 0, rank 2,
        "a relay that was named lends nothing",
        "see whether the relay runs, its port is open, and name and password are right (docs/relay.md)";
    PUBLIC_ADDRESS_DIFFERS = "network.public-address-differs", Warning, exit 0, rank 4,
        "the public address that was named is another one than the Internet sees",
        "name the address that the Internet sees, or bring the DNS name up to date: reach.on_change can do that at each change";
    CLOSED_FROM_OUTSIDE = "network.closed-from-outside", Warning, exit 0, rank 6,
        "a relay could not connect to an address that should lead here",
        "open the port in this machine's firewall and in the provider's";
    REACHABLE = "network.reachable", Ok, exit 0, rank 0,
        "this machine can be reached from outside", "";
    REACHABLE_UNPROVEN = "network.reachable-unproven", Warning, exit 0, rank 5,
        "this machine may be reached from outside, and nothing proves it",
        "try it from another network, or name a relay of yours, which tries it from outside: --relay HOST";
    UNREACHABLE = "network.unreachable", Failure, exit 3, rank 5,
        "nothing leads to this machine from outside: it cannot host without a relay",
        "forward the port on the router, or use a relay: --relay HOST";
}
