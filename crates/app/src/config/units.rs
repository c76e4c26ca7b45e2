//! The units that configuration values are written in: durations, rates, ports, addresses, hosts.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use std::collections::BTreeSet;

use pasarela_reach::{PublicHost, TurnServer, Via};
use pasarela_server::DataPorts;

use crate::failure::Problem;

/// Bytes per second; never zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Rate(pub(crate) u64);

/// Where a control socket is to listen.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ListenAddress {
    /// An address of this machine, or a wildcard.
    Socket(SocketAddr),
    /// A name, resolved when the socket is bound.
    Name(String, u16),
}

impl fmt::Display for ListenAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(address) => address.fmt(f),
            Self::Name(name, port) => write!(f, "{name}:{port}"),
        }
    }
}

/// The rungs of the ladder: `auto`, `off`, or names with commas between.
pub(crate) fn rungs(text: &str) -> Result<BTreeSet<Via>, Problem> {
    match text {
        "auto" => Ok(BTreeSet::from(Via::ALL)),
        "off" => Ok(BTreeSet::from([Via::Direct, Via::Fixed])),
        names => names.split(',').map(|name| rung(name.trim())).collect(),
    }
}

fn rung(name: &str) -> Result<Via, Problem> {
    Via::ALL
        .into_iter()
        .find(|via| via.word() == name)
        .ok_or_else(|| {
            Problem::new(format!("`{name}` is no way to be reached")).hint(format!(
                "write auto, off, or some of {} with commas between",
                Via::ALL.map(Via::word).join(", ")
            ))
        })
}

/// `HOST` or `HOST:PORT`; the port of STUN is 3478 (RFC 8489 §9).
pub(crate) fn stun_server(text: &str) -> Result<String, Problem> {
    let wrong = || Problem::new(format!("`{text}` is no STUN server")).hint("write HOST or HOST:PORT");
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(address.to_string());
    }
    if let Ok(address) = text.parse::<IpAddr>() {
        return Ok(SocketAddr::new(address, 3478).to_string());
    }
    let (host, port) = text.split_once(':').unwrap_or((text, "3478"));
    match port.parse::<u16>() {
        Ok(port) if port > 0 && is_host_name(host) => Ok(format!("{host}:{port}")),
        _ => Err(wrong()),
    }
}

/// A relay of ours: `HOST[:PORT]`, `turns:HOST[:PORT]`, or with credentials as [`turn_server`].
pub(crate) fn relay_server(text: &str) -> Result<TurnServer, Problem> {
    let has_scheme = ["turn:", "turns:"].iter().any(|scheme| {
        text.get(..scheme.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
    });
    match text.parse::<std::net::Ipv6Addr>() {
        Ok(address) => turn_server(&format!("turn:[{address}]")),
        Err(_) if has_scheme => turn_server(text),
        Err(_) => turn_server(&format!("turn:{text}")),
    }
}

/// `turn:USER:PASSWORD@HOST:PORT`. The text may have a password in it: it is not repeated.
pub(crate) fn turn_server(text: &str) -> Result<TurnServer, Problem> {
    text.parse().map_err(|error| {
        Problem::new(format!("this is no TURN server: {error}"))
            .hint("write turn:USER:PASSWORD@HOST:PORT, or turns: for TLS")
    })
}

/// A number and a unit: `15s`, `5min`.
pub(crate) fn duration(text: &str) -> Result<Duration, Problem> {
    const UNITS: [(&str, u64); 5] = [
        ("ms", 1),
        ("s", 1_000),
        ("min", 60_000),
        ("h", 3_600_000),
        ("d", 86_400_000),
    ];
    measured(text, &UNITS).map(Duration::from_millis).ok_or_else(|| {
        Problem::new(format!("`{text}` is not a duration longer than zero"))
            .hint("write a number and one of ms, s, min, h, d, as in \"15s\" or \"5min\"")
    })
}

/// Bytes or bits a second: `10MiB/s`, `100Mbit/s`; `None` for `unlimited`.
pub(crate) fn rate(text: &str) -> Result<Option<Rate>, Problem> {
    const UNITS: [(&str, u64); 10] = [
        ("B", 8),
        ("kB", 8_000),
        ("MB", 8_000_000),
        ("GB", 8_000_000_000),
        ("KiB", 8 << 10),
        ("MiB", 8 << 20),
        ("GiB", 8 << 30),
        ("kbit", 1_000),
        ("Mbit", 1_000_000),
        ("Gbit", 1_000_000_000),
    ];
    if text == "unlimited" {
        return Ok(None);
    }
    text.strip_suffix("/s")
        .and_then(|amount| measured(amount, &UNITS))
        .map(|bits| bits / 8)
        .filter(|b| *b > 0)
        .map_or_else(
            || {
                Err(Problem::new(format!("`{text}` is not a rate"))
                    .hint("write a size per second, as in \"10MiB/s\" or \"100Mbit/s\", or \"unlimited\""))
            },
            |bytes| Ok(Some(Rate(bytes))),
        )
}

/// A whole number with one of `units`, in the base unit; `None` for anything else and for zero.
fn measured(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = units.iter().find(|(name, _)| *name == unit.trim_start())?.1;
    number
        .parse::<u64>()
        .ok()?
        .checked_mul(factor)
        .filter(|product| *product > 0)
}

/// A port, `host:port`, `address:port` or `[address]:port`.
pub(crate) fn listen_address(text: &str) -> Result<ListenAddress, Problem> {
    if let Ok(address) = text.parse::<SocketAddr>() {
        return Ok(ListenAddress::Socket(address));
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok(ListenAddress::Socket((Ipv6Addr::UNSPECIFIED, port).into()));
    }
    let wrong = Problem::new(format!("`{text}` is not an address to listen on"));
    if let Ok(ip) = text.trim_matches(['[', ']']).parse::<IpAddr>() {
        return Err(wrong.hint(format!("add the port: \"{}\"", SocketAddr::new(ip, 2121))));
    }
    match text
        .rsplit_once(':')
        .map(|(host, port)| (host, port.parse::<u16>()))
    {
        Some((host, Ok(port))) if is_host_name(host) => Ok(ListenAddress::Name(host.to_owned(), port)),
        _ => Err(wrong.hint("write a port or host:port, as in \"2121\", \"192.0.2.1:21\" or \"[::1]:2121\"")),
    }
}

/// `auto`, `control`, one port, or a range.
pub(crate) fn data_ports(text: &str) -> Result<DataPorts, Problem> {
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0);
    let ports = match text {
        "auto" => Some(DataPorts::Auto),
        "control" => Some(DataPorts::Control),
        _ => match text.split_once('-') {
            None => port(text).map(DataPorts::Port),
            Some((first, last)) => port(first)
                .zip(port(last))
                .filter(|(first, last)| first <= last)
                .map(|(first, last)| DataPorts::Range(first, last)),
        },
    };
    ports.ok_or_else(|| {
        Problem::new(format!("`{text}` names no data ports"))
            .hint("write \"auto\", \"control\", a port, or a range from low to high as in \"50000-50010\"")
    })
}

/// An IP address or a DNS name.
pub(crate) fn public_host(text: &str) -> Result<PublicHost, Problem> {
    match text.parse::<IpAddr>() {
        Ok(address) => Ok(PublicHost::Address(address)),
        Err(_) if is_host_name(text) => Ok(PublicHost::Name(text.to_owned())),
        Err(_) => Err(
            Problem::new(format!("`{text}` is neither an IP address nor a host name")).hint(
                "write it without a port and without a scheme, as in \"203.0.113.7\" or \"ftp.example.org\"",
            ),
        ),
    }
}

/// Whether `text` has the form of a DNS name (RFC 1123 §2.1), with at least one letter in its last label so
/// that a mistyped IPv4 address is not taken for a name.
pub(crate) fn is_host_name(text: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
    };
    text.len() <= 253
        && text.split('.').all(label)
        && text
            .rsplit('.')
            .next()
            .is_some_and(|last| last.bytes().any(|b| b.is_ascii_alphabetic()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in [
            ("500ms", 500),
            ("15s", 15_000),
            ("5min", 300_000),
            ("2 h", 7_200_000),
            ("7d", 604_800_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for text in [
            "",
            "15",
            "s",
            "0s",
            "-1s",
            "1.5s",
            "15 seconds",
            "5m",
            "99999999999999999999s",
            "1é",
        ] {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn rates_are_a_size_per_second_or_unlimited() {
        for (text, bytes) in [
            ("1B/s", 1),
            ("10MiB/s", 10 << 20),
            ("1 MB/s", 1_000_000),
            ("100Mbit/s", 12_500_000),
        ] {
            assert_eq!(rate(text), Ok(Some(Rate(bytes))), "{text}");
        }
        assert_eq!(rate("unlimited"), Ok(None));
        for text in ["10MiB", "0MiB/s", "10/s", "/s", "10mib/s", "99999999999GiB/s"] {
            assert!(rate(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_bare_port_listens_on_every_address() {
        assert_eq!(listen_address("21").unwrap().to_string(), "[::]:21");
        assert_eq!(listen_address("0.0.0.0:21").unwrap().to_string(), "0.0.0.0:21");
        assert_eq!(listen_address("[::1]:0").unwrap().to_string(), "[::1]:0");
        assert_eq!(
            listen_address("localhost:2121"),
            Ok(ListenAddress::Name("localhost".into(), 2121))
        );
    }

    #[test]
    fn an_address_without_a_port_is_told_what_to_add() {
        assert_eq!(
            listen_address("::1").unwrap_err().hint.unwrap(),
            "add the port: \"[::1]:2121\""
        );
        assert_eq!(
            listen_address("192.0.2.1").unwrap_err().hint.unwrap(),
            "add the port: \"192.0.2.1:2121\""
        );
        for text in ["", "70000", ":21", "a b:21", "host", "host:", "1.2.3:21"] {
            assert!(listen_address(text).is_err(), "{text}");
        }
    }

    #[test]
    fn data_ports_are_a_word_a_port_or_a_range() {
        assert_eq!(data_ports("auto"), Ok(DataPorts::Auto));
        assert_eq!(data_ports("control"), Ok(DataPorts::Control));
        assert_eq!(data_ports("2122"), Ok(DataPorts::Port(2122)));
        assert_eq!(data_ports("50000-50010"), Ok(DataPorts::Range(50000, 50010)));
        for text in ["", "0", "-", "5-", "10-5", "1-70000", "any"] {
            assert!(data_ports(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_public_address_is_an_ip_address_or_a_name() {
        assert_eq!(
            public_host("203.0.113.7"),
            Ok(PublicHost::Address([203, 0, 113, 7].into()))
        );
        assert_eq!(
            public_host("ftp.example.org"),
            Ok(PublicHost::Name("ftp.example.org".into()))
        );
        for text in ["", "ftp://x", "host:21", "1.2.3", "300.1.1.1", "-x.org"] {
            assert!(public_host(text).is_err(), "{text}");
        }
    }
}
