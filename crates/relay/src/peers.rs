//! What the relay never connects to: everything that is not a global unicast address, however it is spelled.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

/// IPv6 addresses that stand for themselves or for an IPv4 address are brought to the latter.
///
/// IPv4-mapped and -compatible (RFC 4291 section 2.5.5), NAT64's well-known prefix (RFC 6052), 6to4 (RFC 3056) and
/// Teredo (RFC 4380, the client's address) all reach an IPv4 host on some network.
pub(crate) fn canonical(address: IpAddr) -> IpAddr {
    let IpAddr::V6(v6) = address else {
        return address;
    };
    let [a, b, c, d, e, f, g, h] = v6.segments();
    let v4 = |high: u16, low: u16| {
        let ([w, x], [y, z]) = (high.to_be_bytes(), low.to_be_bytes());
        IpAddr::V4(Ipv4Addr::new(w, x, y, z))
    };
    match (a, b, c, d, e, f) {
        (0, 0, 0, 0, 0, 0xffff) => v4(g, h),
        (0, 0, 0, 0, 0, 0) if g != 0 => v4(g, h),
        (0x64, 0xff9b, 0, 0, 0, 0) => v4(g, h),
        (0x2002, ..) => v4(b, c),
        (0x2001, 0, ..) => v4(!g, !h),
        _ => address,
    }
}

/// Whether `address`, in whatever spelling, is one that a stranger's server could have on the public Internet.
pub(crate) fn is_global(address: IpAddr) -> bool {
    match canonical(address) {
        IpAddr::V4(v4) => is_global_v4(v4),
        IpAddr::V6(v6) => is_global_v6(v6),
    }
}

/// The special blocks of RFC 6890 and its registry.
fn is_global_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(matches!(a, 0 | 10 | 127 | 224..=255)
        || (a, b) == (169, 254)
        || (a, b) == (192, 168)
        || (a == 172 && (16..=31).contains(&b))
        || (a == 100 && (64..=127).contains(&b))
        || (a == 198 && matches!(b, 18 | 19))
        || matches!(
            (a, b, c),
            (192, 0, 0 | 2) | (192, 88, 99) | (198, 51, 100) | (203, 0, 113)
        ))
}

/// Only 2000::/3 is given to anybody (RFC 4291 section 2.4 and IANA's registry), less what is special in it.
fn is_global_v6(address: Ipv6Addr) -> bool {
    let [a, b, ..] = address.segments();
    a & 0xe000 == 0x2000
        // Documentation, IETF protocol assignments (2001::/23), ORCHIDv2, the second documentation block.
        && !(a == 0x2001 && (b == 0xdb8 || b < 0x200))
        && !(a == 0x3fff && b < 0x1000)
}

/// Whether the network or the peer's machine said no, rather than nothing.
pub(crate) fn is_refusal(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::ConnectionRefused
        || Errno::from_io_error(error) == Some(Errno::CONNRESET)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_of_a_private_address_is_private() {
        for v4 in [
            "0.0.0.0",
            "0.1.2.3",
            "10.1.2.3",
            "100.64.0.1",
            "100.127.255.255",
            "127.0.0.1",
            "127.9.9.9",
            "169.254.169.254",
            "172.16.0.1",
            "172.31.255.255",
            "192.0.0.8",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "198.51.100.1",
            "203.0.113.1",
            "224.0.0.1",
            "239.1.1.1",
            "255.255.255.255",
        ] {
            let address: Ipv4Addr = v4.parse().unwrap();
            let [a, b, c, d] = address.octets();
            assert!(!is_global(address.into()), "{v4}");
            for spelling in [
                format!("::ffff:{v4}"),
                format!("::{v4}"),
                format!("64:ff9b::{v4}"),
                format!("2002:{a:02x}{b:02x}:{c:02x}{d:02x}::1"),
                format!("2001:0:0808:0808:0:0:{:02x}{:02x}:{:02x}{:02x}", !a, !b, !c, !d),
            ] {
                assert!(!is_global(spelling.parse().unwrap()), "{spelling}");
            }
        }
        for v6 in [
            "::",
            "::1",
            "fe80::1",
            "fec0::1",
            "fc00::1",
            "fd12::1",
            "ff02::1",
            "2001:db8::1",
            "3fff::1",
            "64:ff9b:1::1",
            "100::1",
            "2001:10::1",
            "5f00::1",
            "4000::1",
        ] {
            assert!(!is_global(v6.parse().unwrap()), "{v6}");
        }
    }

    #[test]
    fn public_addresses_are_public() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.1",
            "100.63.255.255",
            "100.128.0.1",
            "172.15.0.1",
            "172.32.0.1",
            "192.0.1.1",
            "198.17.0.1",
            "198.20.0.1",
            "223.255.255.255",
            "::ffff:8.8.8.8",
            "64:ff9b::8.8.8.8",
            "2002:0808:0808::1",
            "2a00:1450::1",
            "2606:4700::1111",
            "2001:4860::8888",
        ] {
            assert!(is_global(address.parse().unwrap()), "{address}");
        }
    }
}
