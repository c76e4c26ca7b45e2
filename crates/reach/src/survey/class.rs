//! What an IP address is good for, by the block that it is from.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// The kind of block that an address is from (the IANA special-purpose registries, RFC 6890).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Class {
    /// 0.0.0.0/8 (RFC 1122 §3.2.1.3) and `::` (RFC 4291 §2.5.2): no machine.
    Unspecified,
    /// 127.0.0.0/8 and `::1`: the same machine.
    Loopback,
    /// 169.254.0.0/16 (RFC 3927) and fe80::/10 (RFC 4291 §2.5.6): one link.
    LinkLocal,
    /// 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 (RFC 1918): one site, behind a NAT.
    Private,
    /// fc00::/7 (RFC 4193): one site.
    UniqueLocal,
    /// 100.64.0.0/10 (RFC 6598): between a carrier's NAT and its customers, and in overlay networks.
    Shared,
    /// Blocks for examples (RFC 5737, RFC 3849, RFC 9637): no machine.
    Documentation,
    /// Blocks of translators and tunnels: 64:ff9b::/96 and 64:ff9b:1::/48 (RFC 6052, RFC 8215), Teredo
    /// (RFC 4380), 6to4 (RFC 3056): reachable through somebody else, if at all.
    Translated,
    /// 224.0.0.0/4 and ff00::/8: many machines.
    Multicast,
    /// Blocks for protocols and measurements, and all that nobody has been given.
    Reserved,
    /// An address that the Internet routes.
    Global,
}

impl Class {
    /// The class of an address. An IPv4 address that is written as IPv6 (`::ffff:192.0.2.1`) is an IPv4 address.
    #[must_use]
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => of_v4(address),
            IpAddr::V6(address) => of_v6(address),
        }
    }

    /// Whether an address is between a carrier's NAT and its customers: RFC 6598, or DS-Lite (RFC 6333 §5.7).
    #[must_use]
    pub fn is_carriers(address: IpAddr) -> bool {
        match address.to_canonical() {
            IpAddr::V4(v4) if v4.octets()[..3] == [192, 0, 0] => v4.octets()[3] < 8,
            address => Self::of(address) == Self::Shared,
        }
    }

    /// Whether strangers on the Internet can be told such an address.
    #[must_use]
    pub fn is_public(self) -> bool {
        self == Self::Global
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unspecified => "unspecified",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Private => "private",
            Self::UniqueLocal => "unique-local",
            Self::Shared => "shared by a carrier",
            Self::Documentation => "documentation",
            Self::Translated => "translated",
            Self::Multicast => "multicast",
            Self::Reserved => "reserved",
            Self::Global => "global",
        })
    }
}

fn of_v4(address: Ipv4Addr) -> Class {
    match address.octets() {
        [0, ..] => Class::Unspecified,
        [127, ..] => Class::Loopback,
        [169, 254, ..] => Class::LinkLocal,
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => Class::Private,
        [100, 64..=127, ..] => Class::Shared,
        [192, 0, 2, _] | [198, 51, 100, _] | [203, 0, 113, _] => Class::Documentation,
        [224..=239, ..] => Class::Multicast,
        // Protocol assignments, DS-Lite among them (RFC 6890, RFC 6333); the former 6to4 relays (RFC 7526);
        // measurements (RFC 2544); the future (RFC 1112 §4) and the broadcast address.
        [192, 0, 0, _] | [192, 88, 99, _] | [198, 18..=19, ..] | [240..=255, ..] => Class::Reserved,
        _ => Class::Global,
    }
}

fn of_v6(address: Ipv6Addr) -> Class {
    match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => Class::Unspecified,
        [0, 0, 0, 0, 0, 0, 0, 1] => Class::Loopback,
        [0xfe80..=0xfebf, ..] => Class::LinkLocal,
        [0xfc00..=0xfdff, ..] => Class::UniqueLocal,
        [0xff00..=0xffff, ..] => Class::Multicast,
        [0x2001, 0x0db8, ..] | [0x3fff, 0..=0x0fff, ..] => Class::Documentation,
        [0x64, 0xff9b, 0, 0, 0, 0, ..] | [0x64, 0xff9b, 1, ..] | [0x2001, 0, ..] | [0x2002, ..] => {
            Class::Translated
        }
        // Protocol assignments 2001::/23 (RFC 2928); Teredo is above.
        [0x2001, 0..=0x01ff, ..] => Class::Reserved,
        [0x2000..=0x3fff, ..] => Class::Global,
        _ => Class::Reserved,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_carriers_addresses_are_those_of_its_nat_and_of_ds_lite() {
        let is_carriers = |address: &str| Class::is_carriers(address.parse().unwrap());
        for address in [
            "100.64.0.1",
            "100.127.255.255",
            "192.0.0.0",
            "192.0.0.7",
            "::ffff:192.0.0.2",
        ] {
            assert!(is_carriers(address), "{address}");
        }
        for address in [
            "100.63.255.255",
            "192.0.0.8",
            "192.168.0.1",
            "5.6.7.8",
            "2a11:9::1",
        ] {
            assert!(!is_carriers(address), "{address}");
        }
    }

    #[test]
    fn each_block_has_its_class_from_its_first_address_to_its_last() {
        for (class, addresses) in [
            (Class::Unspecified, "0.0.0.0 0.255.255.255 :: ::ffff:0.0.0.0"),
            (Class::Loopback, "127.0.0.0 127.255.255.255 ::1 ::ffff:127.0.0.1"),
            (
                Class::LinkLocal,
                "169.254.0.0 169.254.255.255 fe80:: febf:ffff::1",
            ),
            (
                Class::Private,
                "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255 ::ffff:10.0.0.1",
            ),
            (Class::UniqueLocal, "fc00:: fdff:ffff::1"),
            (Class::Shared, "100.64.0.0 100.127.255.255 ::ffff:100.64.0.1"),
            (
                Class::Documentation,
                "192.0.2.0 198.51.100.255 203.0.113.7 2001:db8:: 2001:db8:ffff::1 3fff:: 3fff:fff:ffff::1",
            ),
            (
                Class::Translated,
                "64:ff9b::808:808 64:ff9b:1::1 2001:0:4136::1 2002:808:808::1",
            ),
            (Class::Multicast, "224.0.0.1 239.255.255.250 ff02::c ffff::1"),
            (
                Class::Reserved,
                "192.0.0.1 192.88.99.1 198.18.0.0 198.19.255.255 240.0.0.0 255.255.255.255 \
                 2001:2::1 2001:1ff::1 ::2 100::1 1fff::1 4000::1 fec0::1",
            ),
            (
                Class::Global,
                "1.0.0.0 9.255.255.255 11.9.0.20 100.63.255.255 100.128.0.0 126.0.0.1 128.0.0.1 169.253.0.1 \
                 172.15.255.255 172.32.0.0 192.0.1.1 192.169.0.0 198.17.0.1 198.20.0.0 223.255.255.255 \
                 2000::1 2001:200::1 2a11:9::1 3ffe::1 3fff:1000::1 ::ffff:8.8.8.8",
            ),
        ] {
            for address in addresses.split_whitespace() {
                assert_eq!(Class::of(address.parse().unwrap()), class, "{address}");
            }
        }
    }
}
