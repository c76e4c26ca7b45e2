//! The kernel's routing tables and IPv6 address flags as text, as `/proc/net` shows them (proc_net(5)).

use std::io::{self, BufRead};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Route flags (`linux/route.h`): up, through a gateway, and a refusal instead of a route.
const UP: u32 = 0x1;
const GATEWAY: u32 = 0x2;
const REJECT: u32 = 0x200;

/// An address that changes by itself and is not used for long (`IFA_F_TEMPORARY`, RFC 8981).
const TEMPORARY: u32 = 0x01;

/// A default route through a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Default<A> {
    pub(super) gateway: A,
    pub(super) interface: String,
}

/// The IPv4 default gateway of the smallest metric, from `/proc/net/route`.
pub(super) fn default_v4(table: impl BufRead) -> io::Result<Option<Default<Ipv4Addr>>> {
    best(table, |fields| {
        let [interface, destination, gateway, flags, _, _, metric, mask, ..] = fields else {
            return None;
        };
        // The addresses stand there as the number that their four octets are in this machine's memory.
        let address = |text| Some(Ipv4Addr::from(hex(text)?.to_ne_bytes()));
        let default = address(destination)?.is_unspecified() && address(mask)?.is_unspecified();
        let route = Default {
            gateway: address(gateway)?,
            interface: (*interface).into(),
        };
        (default && through_gateway(hex(flags)?)).then_some((metric.parse().ok()?, route))
    })
}

/// The IPv6 default gateway of the smallest metric, from `/proc/net/ipv6_route`.
pub(super) fn default_v6(table: impl BufRead) -> io::Result<Option<Default<Ipv6Addr>>> {
    best(table, |fields| {
        let [destination, length, _, _, gateway, metric, _, _, flags, interface] = fields else {
            return None;
        };
        let default = address_v6(destination)?.is_unspecified() && hex(length)? == 0;
        let route = Default {
            gateway: address_v6(gateway)?,
            interface: (*interface).into(),
        };
        (default && through_gateway(hex(flags)?)).then_some((hex(metric)?, route))
    })
}

/// The IPv6 addresses that stay, without the temporary ones, from `/proc/net/if_inet6`.
pub(super) fn lasting_v6(table: impl BufRead) -> io::Result<Vec<Ipv6Addr>> {
    let mut lasting = Vec::new();
    for line in table.lines() {
        let line = line?;
        if let [address, _, _, _, flags, _] = line.split_whitespace().collect::<Vec<_>>()[..]
            && let (Some(address), Some(flags)) = (address_v6(address), hex(flags))
            && flags & TEMPORARY == 0
        {
            lasting.push(address);
        }
    }
    Ok(lasting)
}

/// The route of the smallest metric; of several the first. A line that is not understood (the heading) is none.
fn best<A>(
    table: impl BufRead,
    route: impl Fn(&[&str]) -> Option<(u32, Default<A>)>,
) -> io::Result<Option<Default<A>>> {
    let mut best: Option<(u32, Default<A>)> = None;
    for line in table.lines() {
        let line = line?;
        let fields: Vec<_> = line.split_whitespace().collect();
        if let Some(found) = route(&fields)
            && best.as_ref().is_none_or(|best| found.0 < best.0)
        {
            best = Some(found);
        }
    }
    Ok(best.map(|(_, route)| route))
}

fn through_gateway(flags: u32) -> bool {
    flags & (UP | GATEWAY | REJECT) == UP | GATEWAY
}

fn hex(text: &str) -> Option<u32> {
    u32::from_str_radix(text, 16).ok()
}

fn address_v6(text: &str) -> Option<Ipv6Addr> {
    (text.len() == 32)
        .then(|| u128::from_str_radix(text, 16).ok())?
        .map(Ipv6Addr::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An address as `/proc/net/route` of this machine writes it.
    fn word(address: &str) -> String {
        let address: Ipv4Addr = address.parse().unwrap();
        format!("{:08X}", u32::from_ne_bytes(address.octets()))
    }

    #[test]
    fn of_several_ipv4_default_routes_the_smallest_metric_wins() {
        let line =
            |interface: &str, destination: &str, gateway: &str, flags: &str, metric: u32, mask: &str| {
                format!(
                    "{interface}\t{}\t{}\t{flags}\t0\t0\t{metric}\t{}\t0\t0\t0\n",
                    word(destination),
                    word(gateway),
                    word(mask)
                )
            };
        let table = [
            "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n".into(),
            line("wlan0", "0.0.0.0", "192.168.1.1", "0003", 600, "0.0.0.0"),
            line("eth0", "0.0.0.0", "10.1.2.3", "0003", 100, "0.0.0.0"),
            line("eth0", "10.0.0.0", "0.0.0.0", "0001", 0, "255.0.0.0"),
            line("tun0", "0.0.0.0", "10.8.0.1", "0003", 0, "128.0.0.0"),
            line("ppp0", "0.0.0.0", "0.0.0.0", "0001", 0, "0.0.0.0"),
            line("dead0", "0.0.0.0", "10.9.9.9", "0203", 0, "0.0.0.0"),
        ]
        .concat();
        let found = default_v4(table.as_bytes()).unwrap().unwrap();
        assert_eq!(
            (found.gateway.to_string(), found.interface),
            ("10.1.2.3".into(), "eth0".into())
        );
    }

    #[test]
    fn of_several_ipv6_default_routes_the_smallest_metric_wins() {
        let zero = "00000000000000000000000000000000";
        let table = format!(
            "{zero} 00 {zero} 00 fe800000000000000000000000000002 00000400 00000001 00000000 00450003    wlan0\n\
             {zero} 00 {zero} 00 fe800000000000000000000000000001 00000064 00000001 00000000 00450003     eth0\n\
             2a110009000100000000000000000000 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth0\n\
             {zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n"
        );
        let found = default_v6(table.as_bytes()).unwrap().unwrap();
        assert_eq!(
            (found.gateway.to_string(), found.interface),
            ("fe80::1".into(), "eth0".into())
        );
    }

    #[test]
    fn what_is_no_table_has_no_default_route() {
        for text in [
            "",
            "\n\n",
            "one two three",
            "0 0 0 0 0 0 0 0 0 0 0 0",
            "\u{fffd} x",
        ] {
            assert_eq!(default_v4(text.as_bytes()).unwrap(), None, "{text}");
            assert_eq!(default_v6(text.as_bytes()).unwrap(), None, "{text}");
        }
    }

    #[test]
    fn a_temporary_address_does_not_last() {
        let table = "2a110009000100000000000000000010 02 40 00 80     eth0\n\
                     2a11000900010000abcdabcdabcdabcd 02 40 00 01     eth0\n";
        let lasting = lasting_v6(table.as_bytes()).unwrap();
        assert_eq!(lasting, ["2a11:9:1::10".parse::<Ipv6Addr>().unwrap()]);
    }
}
