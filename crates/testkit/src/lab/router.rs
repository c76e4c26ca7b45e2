//! What a router does to packets, as nftables rules, and which mappings its miniupnpd has made.

use std::fmt::Write as _;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use super::addresses::{PASSIVE_PORTS, REMAPPED_PASSIVE};
use super::topology::Ability;

/// The one table of a router, of family inet. miniupnpd fills three chains of it. They have to be in this table: what
/// one base chain accepts, another one can still drop.
pub(crate) const TABLE: &str = "router";
pub(crate) const MAPPED: &str = "mapped";
pub(crate) const MAPPED_OUT: &str = "mapped_out";
pub(crate) const PINHOLES: &str = "pinholes";

/// A router.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Router {
    abilities: &'static [Ability],
    pub(crate) public: Ipv4Addr,
    inside: Ipv4Addr,
    strict: bool,
}

impl Router {
    /// `inside` is who gets what is forwarded.
    pub(crate) fn new(abilities: &'static [Ability], public: Ipv4Addr, inside: Ipv4Addr) -> Self {
        Self {
            abilities,
            public,
            inside,
            strict: false,
        }
    }

    /// Lets out TCP to three ports and no UDP.
    pub(crate) fn strict(mut self) -> Self {
        self.strict = true;
        self
    }

    pub(crate) fn maps_on_request(&self) -> bool {
        self.has(Ability::PortMapping)
    }

    fn has(&self, ability: Ability) -> bool {
        self.abilities.contains(&ability)
    }

    /// Replaces all rules, and forgets all mappings.
    pub(crate) fn rules(&self) -> String {
        let alg = if self.has(Ability::FtpAlg) {
            // Since Linux 6.0 no helper works unless a rule hands a flow to it.
            "ct helper ftp { type \"ftp\" protocol tcp; l3proto ip; }
  chain helpers { type filter hook prerouting priority filter; tcp dport 21 ct helper set \"ftp\"; }"
        } else {
            ""
        };
        let strict = if self.strict {
            "iifname lan oifname wan tcp dport != { 21, 443, 990 } drop
    iifname lan oifname wan meta l4proto udp drop"
        } else {
            ""
        };
        format!(
            "table inet {TABLE}
delete table inet {TABLE}
table inet {TABLE} {{
  {alg}
  {cone}
  chain {MAPPED} {{ }}
  chain {MAPPED_OUT} {{ }}
  chain {PINHOLES} {{ }}
  chain arrivals {{ type nat hook prerouting priority dstnat
    jump {MAPPED}
{arrivals}  }}
  chain departures {{ type nat hook postrouting priority srcnat
    jump {MAPPED_OUT}
{departures}  }}
  chain transit {{ type filter hook forward priority filter
    {strict}
    ct state established,related accept
    iifname lan accept
    ct status dnat accept
    jump {PINHOLES}
    drop
  }}
  chain visits {{ type filter hook input priority filter
    ct state established,related accept
    iifname wan meta l4proto {{ icmp, ipv6-icmp }} accept
    iifname wan drop
  }}
}}
",
            cone = if self.has(Ability::FullCone) { CONE } else { "" },
            arrivals = self.arrivals(),
            departures = self.departures(),
        )
    }

    /// What comes to the router itself and is sent on to the inside host.
    fn arrivals(&self) -> String {
        let from = if self.has(Ability::Hairpin) {
            "{ wan, lan }"
        } else {
            "wan"
        };
        let own = format!("    iifname {from} fib daddr type local");
        let (inside, first, last) = (self.inside, PASSIVE_PORTS.start, PASSIVE_PORTS.end - 1);
        let mut rules = String::new();
        if self.has(Ability::Forward) {
            let _ = writeln!(
                rules,
                "{own} tcp dport {{ 21, 990, {first}-{last} }} dnat ip to {inside}"
            );
        }
        if self.has(Ability::ForwardControl) {
            let _ = writeln!(rules, "{own} tcp dport {{ 21, 990 }} dnat ip to {inside}");
        }
        if self.has(Ability::Remap) {
            let passive = PASSIVE_PORTS
                .enumerate()
                .map(|(n, port)| (usize::from(REMAPPED_PASSIVE) + n, port));
            let pairs = [(2121, 21), (2990, 990)].into_iter().chain(passive);
            let pairs: Vec<String> = pairs
                .map(|(outside, port)| format!("{outside} : {inside} . {port}"))
                .collect();
            let _ = writeln!(rules, "{own} dnat ip to tcp dport map {{ {} }}", pairs.join(", "));
        }
        if self.has(Ability::FullCone) {
            let _ = writeln!(
                rules,
                "{own} meta l4proto {{ tcp, udp }} dnat ip to meta l4proto . th dport map @cone"
            );
        }
        if self.has(Ability::ExposedHost) {
            let _ = writeln!(rules, "{own} meta l4proto {{ tcp, udp }} dnat ip to {inside}");
        }
        rules
    }

    /// Which address and port a flow has outside.
    fn departures(&self) -> String {
        let out = "    oifname wan meta nfproto ipv4";
        let mut rules = String::new();
        if self.has(Ability::Hairpin) {
            // Without this the answer would go from host to host, with the wrong source.
            rules.push_str("    iifname lan oifname lan ct status dnat masquerade\n");
        }
        if self.has(Ability::FullCone) {
            // The port depends on the inside address and port alone. nftables puts the number into the packet in the
            // machine's byte order, so it can be any port.
            let _ = writeln!(
                rules,
                "{out} meta l4proto {{ tcp, udp }} snat ip to {} : jhash ip saddr . th sport mod 20000 seed 0x51 offset 40000",
                self.public
            );
        }
        if self.has(Ability::Symmetric) {
            let _ = writeln!(rules, "{out} meta l4proto {{ tcp, udp }} masquerade fully-random");
        }
        let _ = writeln!(rules, "{out} masquerade");
        rules
    }
}

/// Remembers which inside port has which outside port, from each packet that leaves, for two minutes.
const CONE: &str = "map cone {
    typeof meta l4proto . th dport : ip saddr . th sport
    flags dynamic,timeout
    timeout 2m
    size 65535
  }
  chain remember { type filter hook postrouting priority srcnat + 10
    oifname wan meta nfproto ipv4 meta l4proto { tcp, udp } ct direction original update @cone { meta l4proto . th sport : ct original ip saddr . ct original proto-src }
    oifname wan meta nfproto ipv4 meta l4proto { tcp, udp } ct direction reply update @cone { meta l4proto . th sport : ct reply ip saddr . ct reply proto-src }
  }";

/// One mapping or pinhole that somebody asked a router for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mapping {
    /// Whether it is for TCP; else it is for UDP.
    pub tcp: bool,
    /// The port outside; a pinhole has the same one inside.
    pub outside: u16,
    /// Who gets what arrives there.
    pub inside: SocketAddr,
}

/// Reads `nft --numeric list chain` of the chains that miniupnpd fills. Its rules look at raw bytes of the IP header,
/// which some versions of nft show as fields.
pub(crate) fn mappings(listed: &str) -> Vec<Mapping> {
    listed.lines().filter_map(mapping).collect()
}

fn mapping(line: &str) -> Option<Mapping> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let after = |labels: &[&str]| {
        labels.iter().find_map(|label| {
            let label: Vec<&str> = label.split(' ').collect();
            let at = words.windows(label.len()).position(|seen| *seen == *label)?;
            words.get(at + label.len()).copied()
        })
    };
    let outside = after(&["dport"])?.parse().ok()?;
    let inside = match after(&["dnat ip to", "dnat to"]) {
        Some(inside) => inside.parse().ok()?,
        None => SocketAddr::new(
            after(&["@nh,192,128", "ip6 daddr"]).and_then(address6)?.into(),
            outside,
        ),
    };
    let protocol = after(&["@nh,72,8", "@nh,48,8", "l4proto", "ip protocol", "ip6 nexthdr"])?;
    Some(Mapping {
        tcp: matches!(protocol, "0x6" | "6" | "tcp"),
        outside,
        inside,
    })
}

/// An address, or its bits in hexadecimal.
fn address6(word: &str) -> Option<Ipv6Addr> {
    match word.strip_prefix("0x") {
        Some(bits) => Some(u128::from_str_radix(bits, 16).ok()?.into()),
        None => word.parse().ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nft 1.0.6 shows what miniupnpd 2.3.1 has written.
    const LISTED: &str = r#"table inet router {
	chain mapped {
		iif "wan" @nh,72,8 0x6 th dport 7003 dnat ip to 192.168.1.10:7002
		iif "wan" @nh,72,8 0x11 th dport 2100 dnat ip to 192.168.1.10:2100
	}
	chain pinholes {
		iif "wan" th dport 7002 @nh,128,32 0xc0a8010a @nh,72,8 0x6 accept
		iif "wan" th dport 21 @nh,192,128 0x2a110009000100000000000000000010 @nh,48,8 0x6 accept
	}
}"#;

    #[test]
    fn mappings_are_read_and_an_ipv4_mappings_pinhole_is_not_counted_again() {
        let of = |tcp, outside, inside: &str| Mapping {
            tcp,
            outside,
            inside: inside.parse().unwrap(),
        };
        let expected = [
            of(true, 7003, "192.168.1.10:7002"),
            of(false, 2100, "192.168.1.10:2100"),
            of(true, 21, "[2a11:9:1::10]:21"),
        ];
        assert_eq!(mappings(LISTED), expected);
        let as_fields = "iif \"wan\" meta l4proto 6 th dport 21 dnat to 192.168.1.10:21\n\
            iif \"wan\" th dport 21 ip6 daddr 2a11:9:1::10 ip6 nexthdr 6 accept";
        assert_eq!(
            mappings(as_fields),
            [of(true, 21, "192.168.1.10:21"), of(true, 21, "[2a11:9:1::10]:21")]
        );
    }
}
