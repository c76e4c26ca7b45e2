//! What STUN servers see, and what kind of NAT that shows (RFC 4787, RFC 5780).

use std::io;

use pasarela_reach::stun::Dependence;
use pasarela_reach::{Reason, Situation, Via};

use super::{Facts, refusal, with_hint};
use crate::Finding;
use crate::advice::network as kinds;

/// The address that the Internet sees, and whether UDP gets through.
pub(super) fn stun(facts: &Facts) -> Vec<Finding> {
    let seen = facts.ladder.view.seen_v4;
    if facts.plan.stun.is_empty() {
        let unasked = Finding::new(
            &kinds::STUN_NOT_ASKED,
            "no STUN server was asked, as none was named",
        );
        let relays = seen.map(|seen| {
            let says = format!("the relay sees this machine at {seen}");
            let relays = facts.rungs(Via::Relayed).map(|rung| rung.how.clone());
            Finding::new(&kinds::STUN_MAPPED_ADDRESS, says).all_evidence(relays)
        });
        return relays.into_iter().chain([with_hint(unasked)]).collect();
    }
    let over_udp: Vec<String> = facts
        .datagrams
        .sights
        .iter()
        .map(|sight| match sight.seen {
            Ok(seen) => format!("{} sees {seen} over UDP", sight.server),
            Err(io::ErrorKind::NotFound) => format!("{} does not resolve", sight.server),
            Err(_) => format!("no answer from {} over UDP", sight.server),
        })
        .collect();
    let mut refusals = facts.rungs(Via::Punched).filter_map(refusal);
    let silent = refusals.find_map(|reason| match reason {
        Reason::StunSilent(servers) => Some(servers.clone()),
        _ => None,
    });
    let mut findings = Vec::new();
    match (silent, seen, symmetric(facts)) {
        (Some(servers), ..) => {
            let says = format!("no STUN server answers over TCP: {servers}");
            return vec![Finding::new(&kinds::STUN_SILENT, says).all_evidence(over_udp)];
        }
        (None, Some(seen), _) => findings.push(
            Finding::new(
                &kinds::STUN_MAPPED_ADDRESS,
                format!("the Internet sees this machine at {seen}"),
            )
            .all_evidence(over_udp.clone()),
        ),
        (None, None, Some((one, other))) => findings.push(
            Finding::new(
                &kinds::STUN_MAPPED_ADDRESS,
                format!("the Internet sees this machine at different addresses: {one} and {other}"),
            )
            .all_evidence(over_udp.clone()),
        ),
        // IPv6 alone.
        (None, None, None) => {
            let sights = facts.datagrams.sights.iter();
            if let Some(seen) = sights.filter_map(|sight| sight.seen.ok()).next() {
                let says = format!("the Internet sees this machine at {}", seen.ip());
                findings.push(Finding::new(&kinds::STUN_MAPPED_ADDRESS, says).all_evidence(over_udp.clone()));
            }
        }
    }
    if !over_udp.is_empty() && !facts.datagrams.got_through() {
        let says = "UDP does not get through to the STUN servers, which answer over TCP";
        findings.push(Finding::new(&kinds::UDP_BLOCKED, says).all_evidence(over_udp));
    }
    findings
}

/// The kind of NAT, as far as somebody could be asked, and whether it turns connections back.
pub(super) fn kind(facts: &Facts) -> Vec<Finding> {
    let mut findings: Vec<Finding> = kind_alone(facts).into_iter().collect();
    let has_word = facts.plan.public.is_some() || !facts.plan.forwards.is_empty();
    if has_word && facts.ladder.situation.contains(&Situation::NoHairpin) {
        let says = "the router does not lead connections to its own public address back into this network";
        let dialled = facts.rungs(Via::Fixed).filter_map(|rung| rung.outcome.endpoint());
        let evidence =
            dialled.map(|endpoint| format!("dialled from here, {endpoint} did not lead to this machine"));
        findings.push(Finding::new(&kinds::NO_HAIRPIN, says).all_evidence(evidence));
    }
    findings
}

fn kind_alone(facts: &Facts) -> Option<Finding> {
    let is_behind_nat = facts.ladder.view.source_v4.is_some() && !facts.is_public();
    let is_silent = facts.ladder.view.seen_v4.is_none() && symmetric(facts).is_none();
    if !is_behind_nat || facts.plan.stun.is_empty() || is_silent {
        return None;
    }
    let ports = |line: String| format!("seen from two servers over TCP: {line}");
    if let Some((one, other)) = symmetric(facts) {
        let says = "the NAT gives each destination another port (symmetric): none can be kept open";
        return Some(Finding::new(&kinds::NAT_SYMMETRIC, says).evidence(ports(format!("{one} and {other}"))));
    }
    let Some(behaviour) = facts.datagrams.behaviour else {
        let says = "what kind of NAT this is could not be found out";
        let why = match facts.datagrams.got_through() {
            true => "no STUN server that was named has a second address (RFC 5780)",
            false => "UDP does not get through",
        };
        return Some(Finding::new(&kinds::NAT_UNKNOWN, says).evidence(why));
    };
    let evidence = format!(
        "over UDP: mapping {}, filtering {} (RFC 4787)",
        dependence_word(behaviour.mapping),
        dependence_word(behaviour.filtering),
    );
    let (kind, says) = match (behaviour.mapping, behaviour.filtering) {
        (Dependence::EndpointIndependent, Dependence::EndpointIndependent) => (
            &kinds::NAT_FULL_CONE,
            "the NAT keeps one port for all destinations and lets everybody in there (full cone)",
        ),
        (Dependence::EndpointIndependent, Dependence::AddressDependent) => (
            &kinds::NAT_RESTRICTED,
            "the NAT keeps one port for all destinations and lets in only addresses that were sent to",
        ),
        (Dependence::EndpointIndependent, Dependence::AddressAndPortDependent) => (
            &kinds::NAT_PORT_RESTRICTED,
            "the NAT keeps one port for all destinations and lets in only addresses and ports that were sent to",
        ),
        _ => (
            &kinds::NAT_SYMMETRIC,
            "the NAT gives each destination another port (symmetric): none can be kept open",
        ),
    };
    Some(Finding::new(kind, says).evidence(evidence))
}

/// What two servers see of one port, where that differs.
fn symmetric(facts: &Facts) -> Option<(std::net::SocketAddr, std::net::SocketAddr)> {
    facts
        .rungs(Via::Punched)
        .filter_map(refusal)
        .find_map(|reason| match reason {
            Reason::Symmetric(one, other) => Some((*one, *other)),
            _ => None,
        })
}

pub(super) fn dependence_word(dependence: Dependence) -> &'static str {
    match dependence {
        Dependence::EndpointIndependent => "endpoint-independent",
        Dependence::AddressDependent => "address-dependent",
        Dependence::AddressAndPortDependent => "address-and-port-dependent",
    }
}
