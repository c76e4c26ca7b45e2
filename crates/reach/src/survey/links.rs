//! This machine's addresses, its default gateways, and the addresses that it would send from.

use std::fs::File;
use std::io::{self, BufReader};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, UdpSocket};

use super::{Class, procfs};

/// An address that every Internet router has a route to; it is never sent anything.
const FAR_V4: Ipv4Addr = Ipv4Addr::new(198, 41, 0, 4);
const FAR_V6: Ipv6Addr = Ipv6Addr::new(0x2001, 0x503, 0xba3e, 0, 0, 0, 2, 0x30);

/// An address of this machine.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LocalAddress {
    /// The interface's name.
    pub interface: String,
    /// The interface's index, which is the scope id of its link-local addresses.
    pub index: u32,
    /// The address.
    pub address: IpAddr,
    /// The length of the prefix that is on the same link.
    pub prefix: u8,
}

impl LocalAddress {
    /// Whether the other address is on the same link by this prefix.
    #[must_use]
    pub fn shares_link_with(&self, other: IpAddr) -> bool {
        let (own, other, width) = match (self.address, other.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => (own.to_bits().into(), other.to_bits().into(), 32),
            (IpAddr::V6(own), IpAddr::V6(other)) => (own.to_bits(), other.to_bits(), 128),
            _ => return false,
        };
        let differing: u128 = own ^ other;
        // A prefix of length 0 says nothing about the link.
        self.prefix > 0 && differing.checked_shr(width - u32::from(self.prefix).min(width)) == Some(0)
    }
}

/// What this machine knows of its network.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Links {
    /// Its addresses, in order, so that two surveys can be compared.
    pub addresses: Vec<LocalAddress>,
    /// The default gateway for IPv4.
    pub gateway_v4: Option<Ipv4Addr>,
    /// The default gateway for IPv6 with its scope id (the interface's index).
    pub gateway_v6: Option<(Ipv6Addr, u32)>,
    /// The address that IPv4 packets to the Internet leave from.
    pub source_v4: Option<Ipv4Addr>,
    /// The global address that IPv6 packets to the Internet leave from; one that stays, where there is one beside
    /// a temporary one (RFC 8981).
    pub source_v6: Option<Ipv6Addr>,
}

impl Links {
    /// Reads them from the operating system, without a packet.
    ///
    /// # Errors
    /// What the operating system says. A gateway that cannot be read is none: only Linux shows them so far.
    pub async fn read() -> io::Result<Self> {
        tokio::task::spawn_blocking(Self::read_blocking).await?
    }

    fn read_blocking() -> io::Result<Self> {
        let mut addresses: Vec<_> = if_addrs::get_if_addrs()?.into_iter().map(local).collect();
        addresses.sort();
        addresses.dedup();
        let index = |name: &str| Some(addresses.iter().find(|local| local.interface == name)?.index);
        let gateway_v6 = opened("/proc/net/ipv6_route", procfs::default_v6)
            .and_then(|route| Some((route.gateway, index(&route.interface)?)));
        let source_v6 = match source_towards(SocketAddr::from((FAR_V6, 9))) {
            Ok(IpAddr::V6(source)) => Some(lasting(source, &addresses)),
            _ => None,
        };
        let source_v4 = match source_towards(SocketAddr::from((FAR_V4, 9))) {
            Ok(IpAddr::V4(source)) => Some(source),
            _ => None,
        };
        Ok(Self {
            gateway_v4: opened("/proc/net/route", procfs::default_v4).map(|route| route.gateway),
            gateway_v6,
            source_v4,
            source_v6: source_v6.filter(|source| Class::of((*source).into()).is_public()),
            addresses,
        })
    }

    /// Whether it is an address of this machine.
    #[must_use]
    pub fn is_own(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.addresses.iter().any(|local| local.address == address)
    }

    /// Whether an address is on a link of this machine, so that no router is needed to get there.
    #[must_use]
    pub fn is_on_link(&self, address: IpAddr) -> bool {
        self.addresses.iter().any(|local| local.shares_link_with(address))
    }
}

/// The address that packets to `target` would leave from. No packet is sent: connecting a datagram socket only asks
/// the routing table.
///
/// # Errors
/// What the operating system says, for example that there is no route.
pub fn source_towards(target: SocketAddr) -> io::Result<IpAddr> {
    let any: SocketAddr = match target {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(target) => SocketAddrV6::new(Ipv6Addr::UNSPECIFIED, 0, 0, target.scope_id()).into(),
    };
    let socket = UdpSocket::bind(any)?;
    socket.connect(target)?;
    Ok(socket.local_addr()?.ip())
}

/// The address that stays beside a temporary one, of the same prefix; without one the address itself.
fn lasting(source: Ipv6Addr, addresses: &[LocalAddress]) -> Ipv6Addr {
    let lasting =
        opened("/proc/net/if_inet6", |table| procfs::lasting_v6(table).map(Some)).unwrap_or_default();
    if lasting.contains(&source) {
        return source;
    }
    let prefix = addresses.iter().find(|local| local.address == source);
    let beside = lasting
        .into_iter()
        .find(|other| prefix.is_some_and(|local| local.shares_link_with((*other).into())));
    beside.unwrap_or(source)
}

fn opened<T>(path: &str, parse: impl FnOnce(BufReader<File>) -> io::Result<Option<T>>) -> Option<T> {
    File::open(path)
        .and_then(|file| parse(BufReader::new(file)))
        .unwrap_or_else(|error| {
            tracing::debug!(path, %error, "not read");
            None
        })
}

fn local(interface: if_addrs::Interface) -> LocalAddress {
    let (address, prefix) = match &interface.addr {
        if_addrs::IfAddr::V4(v4) => (v4.ip.into(), v4.prefixlen),
        if_addrs::IfAddr::V6(v6) => (v6.ip.into(), v6.prefixlen),
    };
    LocalAddress {
        index: interface.index.unwrap_or(0),
        interface: interface.name,
        address,
        prefix,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on(address: &str, prefix: u8) -> LocalAddress {
        LocalAddress {
            interface: "eth0".into(),
            index: 2,
            address: address.parse().unwrap(),
            prefix,
        }
    }

    #[test]
    fn the_prefix_decides_what_is_on_the_link() {
        for (own, prefix, other, expected) in [
            ("192.168.1.10", 24, "192.168.1.1", true),
            ("192.168.1.10", 24, "::ffff:192.168.1.1", true),
            ("192.168.1.10", 24, "192.168.2.1", false),
            ("192.168.1.10", 32, "192.168.1.10", true),
            ("192.168.1.10", 32, "192.168.1.11", false),
            ("192.168.1.10", 0, "8.8.8.8", false),
            ("2a11:9:1::10", 64, "2a11:9:1::1", true),
            ("2a11:9:1::10", 64, "2a11:9:2::1", false),
            ("2a11:9:1::10", 128, "2a11:9:1::10", true),
            ("2a11:9:1::10", 64, "192.168.1.1", false),
        ] {
            let local = on(own, prefix);
            assert_eq!(
                local.shares_link_with(other.parse().unwrap()),
                expected,
                "{own}/{prefix} {other}"
            );
        }
    }

    #[tokio::test]
    async fn every_machine_knows_its_loopback_address() {
        let links = Links::read().await.unwrap();
        let loopback = IpAddr::from(Ipv4Addr::LOCALHOST);
        assert!(links.is_own(loopback) && links.is_on_link(loopback), "{links:?}");
        assert_eq!(source_towards((loopback, 9).into()).unwrap(), loopback);
        let found = links
            .addresses
            .iter()
            .find(|local| local.address == loopback)
            .unwrap();
        assert!(found.index > 0 && found.prefix == 8, "{found:?}");
    }
}
