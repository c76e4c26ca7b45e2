//! The control port: who answers on which address; and where nobody does, how far the packets get.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use pasarela_reach::survey::{Class, Links, source_towards};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::advice::server as kinds;
use crate::examination::{Examination, milliseconds};
use crate::finding::Finding;
use crate::knock::{Answer, Knock, knock};
use crate::report::Report;
use crate::route::{self, Hop, Place};

/// A connection to the control port.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) to: SocketAddr,
    pub(crate) tcp: TcpStream,
}

/// Connects to every address at once; the first that answers, in the order of the resolver, comes first. `None`: none
/// does, and the report says why.
pub(crate) async fn check(
    examination: &Examination,
    links: &Links,
    addresses: &[SocketAddr],
    report: &mut Report,
) -> Option<Vec<Opened>> {
    let knocks = knock_all(addresses, examination.patience).await;
    if !knocks.iter().any(Knock::is_open) {
        let finding = diagnose(examination, links, &knocks).await;
        report.add(finding);
        return None;
    }
    let lines: Vec<_> = knocks.iter().map(Knock::line).collect();
    let (mut failed, mut not_from_here) = (Vec::new(), Vec::new());
    for knock in &knocks {
        match knock.answer {
            Answer::Open(_) => {}
            // What this machine cannot even send says nothing of the server.
            Answer::Unreachable(None) | Answer::Local(_) => not_from_here.push(knock.to),
            _ => failed.push(knock.to),
        }
    }
    let mut opened = Vec::new();
    for knock in knocks {
        if let Answer::Open(tcp) = knock.answer {
            if opened.is_empty() {
                report.fact("connect.milliseconds", milliseconds(knock.after));
                report.add(
                    Finding::new(&kinds::CONNECT_OPEN, format!("{} accepts connections", knock.to))
                        .all_evidence(lines.iter().cloned()),
                );
            }
            opened.push(Opened { to: knock.to, tcp });
        }
    }
    for (is_family, kind, word) in [
        (
            SocketAddr::is_ipv6 as fn(&SocketAddr) -> bool,
            &kinds::FAMILIES_IPV6,
            "IPv6",
        ),
        (SocketAddr::is_ipv4, &kinds::FAMILIES_IPV4, "IPv4"),
    ] {
        let silent: Vec<_> = failed.iter().filter(|to| is_family(to)).collect();
        if let ([first, ..], false) = (&silent[..], opened.iter().any(|open| is_family(&open.to))) {
            let way = route::to_closed(None, **first).await;
            report.add(
                Finding::new(
                    kind,
                    format!("no {word} address of the host answers: {}", list(&silent)),
                )
                .all_evidence(lines.iter().cloned())
                .evidence(way.line(**first)),
            );
        }
    }
    if let Some(first) = not_from_here.first() {
        let addresses: Vec<_> = not_from_here.iter().collect();
        let word = if first.is_ipv4() { "IPv4" } else { "IPv6" };
        report.add(
            Finding::new(
                &kinds::FAMILIES_NOT_HERE,
                format!("{} was not tried: this machine has no {word}", list(&addresses)),
            )
            .all_evidence(lines),
        );
    }
    Some(opened)
}

/// All at once; the order stays.
async fn knock_all(addresses: &[SocketAddr], within: Duration) -> Vec<Knock> {
    let mut attempts = JoinSet::new();
    for (index, to) in addresses.iter().copied().enumerate() {
        attempts.spawn(async move { (index, knock(None, to, None, within).await) });
    }
    let mut knocks: Vec<_> = attempts.join_all().await;
    knocks.sort_by_key(|(index, _)| *index);
    knocks.into_iter().map(|(_, knock)| knock).collect()
}

fn list(addresses: &[&SocketAddr]) -> String {
    let words: Vec<_> = addresses.iter().map(|address| address.ip().to_string()).collect();
    words.join(", ")
}

/// Why none of them answers. The answer that says most decides.
async fn diagnose(examination: &Examination, links: &Links, knocks: &[Knock]) -> Finding {
    let weight = |knock: &&Knock| match knock.answer {
        Answer::Refused(_) => 0,
        Answer::Unreachable(Some(_)) | Answer::Prohibited(_) | Answer::Expired(_) => 1,
        Answer::Silent => 2,
        _ => 3,
    };
    let lines = knocks.iter().map(Knock::line);
    let Some(knock) = knocks.iter().min_by_key(weight) else {
        return Finding::new(&kinds::CONNECT_NO_ROUTE, "there is no address to connect to");
    };
    let to = knock.to;
    let finding = match &knock.answer {
        Answer::Unreachable(None) | Answer::Local(_) | Answer::Open(_) => Finding::new(
            &kinds::CONNECT_NO_ROUTE,
            format!("this machine has no way to {}", to.ip()),
        ),
        Answer::Unreachable(Some(by)) | Answer::Expired(by) => Finding::new(
            &kinds::CONNECT_UNREACHABLE,
            format!("{by} says that there is no way to {}", to.ip()),
        ),
        Answer::Refused(by) => match hairpin(links, to, true).await {
            Some(finding) => finding,
            None => refused(links, to, *by),
        },
        Answer::Prohibited(by) => match hairpin(links, to, true).await {
            Some(finding) => finding,
            None => refused(links, to, Some(*by)),
        },
        Answer::Silent => silent(examination, links, to).await,
    };
    finding.all_evidence(lines)
}

/// Somebody refuses: the host itself, or a router or firewall by ICMP.
fn refused(links: &Links, to: SocketAddr, by: Option<IpAddr>) -> Finding {
    match by {
        Some(by) if by != to.ip() && is_near(links, by) => Finding::new(
            &kinds::CONNECT_CLIENT_FIREWALL,
            format!("{by}, at this end, does not let connections to {to} out"),
        ),
        Some(by) if by != to.ip() => Finding::new(
            &kinds::CONNECT_UNREACHABLE,
            format!("{by} does not let connections to {to} through"),
        ),
        Some(_) => Finding::new(
            &kinds::CONNECT_REFUSED,
            format!(
                "a firewall of {} forbids connections to port {}",
                to.ip(),
                to.port()
            ),
        ),
        None => Finding::new(&kinds::CONNECT_REFUSED, format!("{to} refuses connections")),
    }
}

/// Nobody answers: how far do packets get, and do those to other ports get further?
async fn silent(examination: &Examination, links: &Links, to: SocketAddr) -> Finding {
    let class = Class::of(to.ip());
    if let Some(finding) = hairpin(links, to, false).await {
        return finding;
    }
    if matches!(
        class,
        Class::Private | Class::Shared | Class::UniqueLocal | Class::LinkLocal
    ) && !links.is_on_link(to.ip())
    {
        return Finding::new(
            &kinds::CONNECT_PRIVATE,
            format!(
                "{} is a {class} address, and nobody answers there from here",
                to.ip()
            ),
        )
        .likely();
    }
    let way = route::to_closed(None, to).await;
    let web = SocketAddr::new(to.ip(), 443);
    let other = route::to_closed(None, web).await;
    if to.port() != 443
        && let Place::Ours(by) = route::compare(&way, &other, to.ip())
    {
        let by = by.map_or_else(
            || "something before the first router".to_owned(),
            |by| by.to_string(),
        );
        return Finding::new(
            &kinds::CONNECT_CLIENT_FIREWALL,
            format!(
                "{by}, at this end, does not let connections to port {} out",
                to.port()
            ),
        )
        .evidence(way.line(to))
        .evidence(other.line(web));
    }
    let patience = examination.patience.as_secs();
    let is_alive = to.port() != 443 && matches!(other.end(), Some((_, Hop::Open | Hop::Refused)));
    let far = way.last_router().filter(|(number, _)| !way.is_near(*number));
    let finding = match far {
        _ if is_alive => Finding::new(
            &kinds::CONNECT_SERVER_FIREWALL,
            format!("{} answers on port 443, and not on port {}", to.ip(), to.port()),
        ),
        Some((_, router)) if to.is_ipv6() && class == Class::Global => Finding::new(
            &kinds::CONNECT_IPV6_FIREWALL,
            format!(
                "packets to {} get as far as {router}, and are not answered",
                to.ip()
            ),
        ),
        _ => Finding::new(
            &kinds::CONNECT_SILENT,
            format!(
                "nobody answers at {to} within {patience} s: no router there forwards the port (a carrier's cannot), a \
                 firewall drops it, or the server is off"
            ),
        ),
    };
    finding.likely().evidence(way.line(to)).evidence(other.line(web))
}

/// Whether the address is the one that this network has outside, kept by its own router: packets that may live for
/// one hop end at the first router wherever they go to, unless they have arrived there.
async fn hairpin(links: &Links, to: SocketAddr, was_refused: bool) -> Option<Finding> {
    const WITHIN: Duration = Duration::from_millis(1500);
    /// Belongs to nobody (RFC 5737); such a packet does not leave the first router.
    const NOBODY: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
    let source = source_towards(to).ok()?;
    if !to.is_ipv4() || Class::of(source) != Class::Private || Class::of(to.ip()) != Class::Global {
        return None;
    }
    if links.is_own(to.ip()) {
        return None;
    }
    let one_hop = async |to: SocketAddr| Hop::of(&knock(None, to, Some(1), WITHIN).await.answer);
    let Hop::Router(gateway) = one_hop(SocketAddr::new(NOBODY, to.port())).await else {
        return None;
    };
    let other = SocketAddr::new(to.ip(), if to.port() == 443 { 80 } else { 443 });
    let (here, there) = (one_hop(to).await, one_hop(other).await);
    let arrives = |hop: Hop| !matches!(hop, Hop::Router(_));
    if !arrives(here) || !arrives(there) {
        return None;
    }
    let finding = Finding::new(
        &kinds::CONNECT_HAIRPIN,
        format!(
            "{} is the public address of this network itself: its router {gateway} has it, and sends nothing back in",
            to.ip()
        ),
    )
    .evidence(format!("packets of one hop to anywhere else end at {gateway}, and those to {to} do not"));
    // A router that drops them says less than one that refuses in the address's name.
    Some(if was_refused && here == Hop::Refused {
        finding
    } else {
        finding.likely()
    })
}

/// Whether an address is of a router at this end.
pub(crate) fn is_near(links: &Links, by: IpAddr) -> bool {
    links.is_own(by)
        || links.gateway_v4.map(IpAddr::V4) == Some(by)
        || links.gateway_v6.map(|(gateway, _)| IpAddr::V6(gateway)) == Some(by)
        || (links.is_on_link(by) && !Class::of(by).is_public())
}
