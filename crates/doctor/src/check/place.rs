//! Why no data connection comes about: what stops it, and at which end.

use std::net::{IpAddr, SocketAddr};

use pasarela_client::probe::Probe;
use pasarela_client::{Failure, FailureKind};
use pasarela_reach::survey::{Class, Links};

use super::alg;
use super::connect::is_near;
use super::passive::{Attempt, Outcome};
use crate::advice::server as kinds;
use crate::examination::Visit;
use crate::finding::Finding;
use crate::knock::{Answer, knock};
use crate::report::Report;
use crate::route::{self, Hop, Place, Route};

/// Adds the findings that explain attempts of which none works.
pub(crate) async fn diagnose(
    visit: &Visit<'_>,
    links: &Links,
    probe: &Probe,
    attempts: &[Attempt],
    report: &mut Report,
) {
    if probe.shown().is_some()
        && visit.examination.may_be_clear()
        && let Some(finding) = alg::compare(visit, attempts).await
    {
        report.add(finding);
    }
    let failed = attempts.iter().find_map(|attempt| match &attempt.outcome {
        Outcome::Failed(failure) => Some((attempt, failure)),
        _ => None,
    });
    if let Some((attempt, failure)) = failed {
        report.add(unusable(failure, probe.shown().is_some()).all_evidence(attempt.evidence()));
        return;
    }
    let evidence: Vec<_> = attempts.iter().flat_map(Attempt::evidence).collect();
    let Some(stopped) = attempts.iter().find(|attempt| attempt.is_stopped()) else {
        let says = match &attempts {
            [attempt] => format!("the server refuses {}: {}", attempt.verb(), attempt.reply),
            _ => "the server refuses EPSV and PASV".to_owned(),
        };
        report.add(Finding::new(&kinds::PASSIVE_REFUSED, says).all_evidence(evidence));
        return;
    };
    for finding in where_stopped(visit, links, probe, attempts, stopped).await {
        report.add(finding.all_evidence(evidence.iter().cloned()));
    }
}

/// The data connection stands, and cannot be used.
fn unusable(failure: &Failure, protected: bool) -> Finding {
    let text = failure
        .reply
        .as_ref()
        .map(|reply| reply.to_string().to_ascii_lowercase());
    let says = |words: &[&str]| {
        text.as_ref()
            .is_some_and(|text| words.iter().any(|word| text.contains(word)))
    };
    let kind = match (&failure.reply, failure.kind) {
        (Some(reply), _) if protected && (reply.code == 522 || says(&["reuse", "resum"])) => {
            &kinds::RESUMPTION_REFUSED
        }
        (Some(_), _)
            if says(&[
                "bad ip",
                "foreign",
                "possible bounce",
                "ip address",
                "address mismatch",
            ]) =>
        {
            &kinds::PASSIVE_SOURCE
        }
        (Some(reply), _) if reply.code == 426 => &kinds::TRANSFER_CUT,
        (Some(_), _) => &kinds::TRANSFER_REFUSED,
        (None, FailureKind::Timeout) => &kinds::TRANSFER_STALLED,
        (None, FailureKind::Tls) => &kinds::TRANSFER_TLS,
        (None, _) => &kinds::TRANSFER_CUT,
    };
    let finding = Finding::new(kind, failure.sentence.clone());
    // A reply's words are a server's own, and what stalls or breaks may have many reasons.
    match kind.id == kinds::TRANSFER_REFUSED.id {
        true => finding,
        false => finding.likely(),
    }
}

/// What is known of why packets to data ports are stopped.
#[derive(Debug)]
struct Evidence {
    peer: IpAddr,
    port: u16,
    /// How it shows that the server is behind a NAT.
    nat: Option<String>,
    place: Place,
    /// Who refuses, where somebody does.
    refuser: Option<Refuser>,
    /// Whether other ports of the server answer: low ones, high ones.
    low_answers: bool,
    high_answers: bool,
}

/// Who refuses data connections, by ICMP or, where nobody signs, by RST.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Refuser {
    /// Signed by whoever has the server's address.
    Peer,
    /// Signed by a router at this end.
    Near(IpAddr),
    /// Signed by a router elsewhere.
    Far(IpAddr),
    /// The router that has the server's address, and passes the control port on; surely, or perhaps one before it.
    Router { surely: bool },
    /// This router at our end, or what comes behind it.
    PerhapsNear(IpAddr),
    /// This router, or the one before it.
    PerhapsFar(IpAddr),
    /// The server itself, or what stands right before it.
    Server,
}

async fn where_stopped(
    visit: &Visit<'_>,
    links: &Links,
    probe: &Probe,
    attempts: &[Attempt],
    stopped: &Attempt,
) -> Vec<Finding> {
    let (peer, from) = (probe.peer(), Some(probe.local().ip()));
    let port = stopped.port.unwrap_or_default();
    let data = SocketAddr::new(peer.ip(), port);
    let closed = route::to_closed(from, data).await;
    let first = closed.last_router().map_or(1, |(number, _)| number + 1);
    let open = route::to_open(from, peer, first).await;
    let told = attempts.iter().find_map(|attempt| attempt.told);
    let is_inner = |class| matches!(class, Class::Private | Class::Shared | Class::LinkLocal);
    let nat = if open.has_router(peer.ip()) {
        Some(format!(
            "the router that has {} passes the control port on",
            peer.ip()
        ))
    } else {
        told.filter(|told| is_inner(Class::of((*told).into())) && !is_inner(Class::of(peer.ip())))
            .map(|told| format!("the server's own address is {told}"))
    };
    let mut evidence = Evidence {
        peer: peer.ip(),
        port,
        nat,
        place: route::compare(&closed, &open, peer.ip()),
        refuser: match stopped.outcome {
            Outcome::Refused(by) | Outcome::Unreachable(by) => {
                Some(refuser(links, peer.ip(), by, &closed, &open))
            }
            _ => None,
        },
        low_answers: false,
        high_answers: false,
    };
    let mut lines = vec![closed.line(data), open.line(peer)];
    if evidence.nat.is_none() && !matches!(evidence.place, Place::Ours(_) | Place::Between(..)) {
        lines.extend(neighbours(visit, peer, &mut evidence).await);
    }
    tracing::debug!(?evidence, "no data connection");
    judge(&evidence)
        .into_iter()
        .map(|finding| finding.all_evidence(lines.iter().cloned()))
        .collect()
}

fn refuser(links: &Links, peer: IpAddr, by: Option<IpAddr>, closed: &Route, open: &Route) -> Refuser {
    if let Some(by) = by {
        return match by {
            by if by == peer => Refuser::Peer,
            by if is_near(links, by) => Refuser::Near(by),
            by => Refuser::Far(by),
        };
    }
    let Some((hop, Hop::Refused)) = closed.end() else {
        return Refuser::Server;
    };
    // A router refuses what it would send on after it has counted: RST with so many hops is from that router, or from the
    // rules of the one before.
    let before = closed.last_router().filter(|(number, _)| number + 1 == hop);
    let is_last = open.end().is_some_and(|(end, _)| end == hop + 1);
    let there = open
        .0
        .iter()
        .find(|(number, _)| *number == hop)
        .map(|(_, there)| *there);
    match (before, there) {
        (Some((number, before)), _) if closed.is_near(number) => Refuser::PerhapsNear(before),
        (_, Some(Hop::Router(router))) if router == peer => Refuser::Router { surely: hop == 1 },
        (_, Some(Hop::Router(router))) if !is_last && hop > 1 => Refuser::PerhapsFar(router),
        _ => Refuser::Server,
    }
}

/// Whether other ports of the server's address answer, low and high ones.
async fn neighbours(visit: &Visit<'_>, peer: SocketAddr, evidence: &mut Evidence) -> Vec<String> {
    const LOW: [u16; 3] = [443, 990, 80];
    let high = if evidence.port > 60000 {
        evidence.port - 5000
    } else {
        evidence.port.max(30000) + 5000
    };
    let mut lines = Vec::new();
    for port in LOW.into_iter().chain([high]).filter(|port| *port != peer.port()) {
        let to = SocketAddr::new(peer.ip(), port);
        let knock = knock(
            None,
            to,
            None,
            visit.examination.patience.min(std::time::Duration::from_secs(2)),
        )
        .await;
        let answers = matches!(knock.answer, Answer::Open(_) | Answer::Refused(None));
        match port == high {
            true => evidence.high_answers = answers,
            false => evidence.low_answers |= answers,
        }
        lines.push(knock.line());
    }
    // A control port up there gets through too.
    evidence.high_answers |= peer.port() > 1023;
    lines
}

/// The causes that fit, the best one first.
fn judge(evidence: &Evidence) -> Vec<Finding> {
    let Evidence { peer, port, nat, .. } = evidence;
    let server_firewall = || {
        Finding::new(
            &kinds::PASSIVE_SERVER_FIREWALL,
            format!("a firewall at the server's end stops connections to data port {port}"),
        )
    };
    let client_firewall = |by: Option<IpAddr>| {
        let by = by.map_or_else(
            || "a firewall at this end".to_owned(),
            |by| format!("{by}, at this end,"),
        );
        Finding::new(
            &kinds::PASSIVE_CLIENT_FIREWALL,
            format!("{by} does not let connections to data port {port} out"),
        )
    };
    let between = |one: IpAddr, other: Option<IpAddr>| {
        let other = other
            .map(|other| format!(", or {other} behind it,"))
            .unwrap_or_default();
        let says = format!("{one}{other} does not let connections to data port {port} through");
        Finding::new(&kinds::PASSIVE_BETWEEN, says)
    };
    let not_forwarded = |nat: &str| {
        Finding::new(
            &kinds::PASSIVE_NOT_FORWARDED,
            format!(
                "the server is behind a NAT ({nat}), and data port {port} of {peer} is not forwarded to it"
            ),
        )
    };
    match (evidence.refuser, nat) {
        (Some(Refuser::Near(by)), _) => return vec![client_firewall(Some(by))],
        (Some(Refuser::Far(by)), _) => return vec![between(by, None)],
        (Some(Refuser::PerhapsFar(by)), _) => return vec![between(by, None).likely()],
        (Some(Refuser::PerhapsNear(by)), nat) => {
            let other = nat
                .as_ref()
                .map_or_else(&server_firewall, |nat| not_forwarded(nat));
            return vec![client_firewall(Some(by)).likely(), other.likely()];
        }
        (Some(Refuser::Router { surely: true }), Some(nat)) => return vec![not_forwarded(nat)],
        (Some(_), Some(nat)) => return vec![not_forwarded(nat).likely()],
        (Some(Refuser::Peer), None) => return vec![server_firewall()],
        (Some(_), None) => return vec![server_firewall().likely()],
        (None, _) => {}
    }
    match (evidence.place, nat) {
        (Place::Ours(by), _) => vec![client_firewall(by)],
        (Place::Between(one, other), _) => vec![between(one, Some(other))],
        (Place::Server, Some(nat)) => vec![not_forwarded(nat)],
        (Place::Server, None) => vec![server_firewall().likely()],
        (_, Some(nat)) => vec![not_forwarded(nat).likely(), client_firewall(None).likely()],
        (_, None) if evidence.high_answers => vec![server_firewall().likely()],
        (_, None) if evidence.low_answers => {
            // Firewalls in front of servers drop what they do not let in. Where low ports are refused, and no high one is,
            // it is more often the visitor's that lets out a few well-known ports.
            vec![client_firewall(None).likely(), server_firewall().likely()]
        }
        (_, None) => vec![
            Finding::new(
                &kinds::PASSIVE_NOT_FORWARDED,
                format!("data port {port} of {peer} is not let in, or not forwarded, at the server's end"),
            )
            .likely(),
            client_firewall(None).likely(),
        ],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Certainty;

    fn evidence() -> Evidence {
        Evidence {
            peer: "11.9.0.20".parse().unwrap(),
            port: 50000,
            nat: None,
            place: Place::Unknown,
            refuser: None,
            low_answers: false,
            high_answers: false,
        }
    }

    fn first(evidence: &Evidence) -> (&'static str, Certainty) {
        let found = judge(evidence);
        (found[0].kind.id, found[0].certainty)
    }

    #[test]
    fn a_cause_is_certain_only_where_nothing_else_fits() {
        use Certainty::{Certain, Likely};
        let nat = || Some("the server's own address is 192.168.1.10".to_owned());
        let router = "192.168.0.1".parse().unwrap();
        for (found, id, certainty) in [
            (evidence(), "passive.not-forwarded", Likely),
            (
                Evidence {
                    nat: nat(),
                    ..evidence()
                },
                "passive.not-forwarded",
                Likely,
            ),
            (
                Evidence {
                    nat: nat(),
                    place: Place::Server,
                    ..evidence()
                },
                "passive.not-forwarded",
                Certain,
            ),
            (
                Evidence {
                    nat: nat(),
                    refuser: Some(Refuser::Router { surely: true }),
                    ..evidence()
                },
                "passive.not-forwarded",
                Certain,
            ),
            (
                Evidence {
                    place: Place::Server,
                    ..evidence()
                },
                "passive.server-firewall",
                Likely,
            ),
            (
                Evidence {
                    refuser: Some(Refuser::Peer),
                    ..evidence()
                },
                "passive.server-firewall",
                Certain,
            ),
            (
                Evidence {
                    high_answers: true,
                    ..evidence()
                },
                "passive.server-firewall",
                Likely,
            ),
            (
                Evidence {
                    low_answers: true,
                    ..evidence()
                },
                "passive.client-firewall",
                Likely,
            ),
            (
                Evidence {
                    nat: nat(),
                    place: Place::Ours(Some(router)),
                    ..evidence()
                },
                "passive.client-firewall",
                Certain,
            ),
            (
                Evidence {
                    refuser: Some(Refuser::Near(router)),
                    ..evidence()
                },
                "passive.client-firewall",
                Certain,
            ),
            (
                Evidence {
                    place: Place::Between(router, router),
                    ..evidence()
                },
                "passive.blocked-between",
                Certain,
            ),
        ] {
            assert_eq!(first(&found), (id, certainty), "{found:?}");
        }
    }

    #[test]
    fn what_cannot_be_told_apart_is_said_to_be_both() {
        let found = judge(&Evidence {
            low_answers: true,
            ..evidence()
        });
        let ids: Vec<_> = found.iter().map(|finding| finding.kind.id).collect();
        assert_eq!(ids, ["passive.client-firewall", "passive.server-firewall"]);
    }
}
