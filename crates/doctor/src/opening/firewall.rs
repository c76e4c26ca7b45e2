//! The openings as a router's table of forwards and as nftables rules.

use std::fmt::Write as _;
use std::net::IpAddr;

use pasarela_reach::survey::{Class, Links};

use super::Server;
use super::ports::{Opening, written};

/// A row for each forward, and what an IPv6 firewall has to let through.
pub(super) fn router(server: &Server, openings: &[Opening], links: &Links) -> String {
    let mut rows: Vec<(String, String)> = Vec::new();
    let mut pinholes: Vec<String> = Vec::new();
    for opening in openings {
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = match opening.hosts.is_empty() {
            true => (
                links.source_v4.map(IpAddr::from).into_iter().collect(),
                links
                    .source_v6
                    .filter(|_| !opening.ipv4_only)
                    .map(IpAddr::from)
                    .into_iter()
                    .collect(),
            ),
            false => opening.hosts.iter().partition(|host| host.is_ipv4()),
        };
        for host in v4.iter().filter(|host| !Class::of(**host).is_public()) {
            for run in opening.runs(server) {
                rows.push((
                    format!("TCP {}", run.outside_numbers()),
                    format!("{host} TCP {}", run.inside_numbers()),
                ));
            }
        }
        for host in v6 {
            pinholes.push(format!("{host} TCP {}", opening.numbers()));
        }
    }
    let width = rows.iter().map(|(outside, _)| outside.len()).max().unwrap_or(0);
    let mut text = String::new();
    for (outside, inside) in &rows {
        let _ = writeln!(text, "forward  {outside:width$}  to  {inside}");
    }
    for pinhole in pinholes {
        let _ = writeln!(text, "IPv6 firewall: allow connections to {pinhole}");
    }
    if rows.is_empty() {
        let why = match links.source_v4 {
            Some(own) if Class::of(own.into()).is_public() => {
                "this machine's IPv4 address is public: nothing to forward"
            }
            _ => "no IPv4 address of this machine to forward to",
        };
        let _ = writeln!(text, "{why}");
    }
    text
}

/// Rules for a table `inet filter` with a chain `input`, which are made where they are not there. An accept in a table of
/// its own would not do: a packet has to pass the chains of all tables.
pub(super) fn nftables(server: &Server, openings: &[Opening]) -> String {
    let mut text = String::from(
        "# where your firewall's table and chain have other names, write those\n\
         add table inet filter\n\
         add chain inet filter input { type filter hook input priority filter; }\n",
    );
    // Openings at the same addresses share a rule.
    let mut rules: Vec<(&Opening, Vec<String>)> = Vec::new();
    for opening in openings {
        let place = |other: &Opening| (other.hosts.clone(), other.ipv4_only);
        match rules.iter_mut().find(|(other, _)| place(other) == place(opening)) {
            Some((_, ports)) => ports.push(opening.numbers()),
            None => rules.push((opening, vec![opening.numbers()])),
        }
    }
    for (opening, ports) in rules {
        let hosts = &opening.hosts;
        let ports = ports.join(", ");
        let mut insert = |place: &str| {
            let _ = writeln!(
                text,
                "insert rule inet filter input {place}tcp dport {{ {ports} }} accept comment \"pasarela\""
            );
        };
        let (v4, v6): (Vec<IpAddr>, Vec<IpAddr>) = hosts.iter().partition(|host| host.is_ipv4());
        if hosts.is_empty() {
            insert(if opening.ipv4_only {
                "meta nfproto ipv4 "
            } else {
                ""
            });
        }
        if !v4.is_empty() {
            insert(&format!("ip daddr {{ {} }} ", written(&v4)));
        }
        if !v6.is_empty() {
            insert(&format!("ip6 daddr {{ {} }} ", written(&v6)));
        }
    }
    if !server.relays.is_empty() {
        text.push_str(
            "# the server connects out to its relay: a chain `output` that drops has to let that through\n",
        );
    }
    text
}
