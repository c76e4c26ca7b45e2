//! What the routers do: map ports on request or not, and whether another one stands beyond the first.

use std::net::IpAddr;

use pasarela_reach::router::{Protocol, Refusal};
use pasarela_reach::survey::Class;
use pasarela_reach::{Reason, Router, Rung, Via};

use super::addresses::said;
use super::{Facts, refusal};
use crate::advice::network as kinds;
use crate::{Finding, Kind, Severity};

/// Whether the own router, and the next one out, map ports on request.
pub(super) fn mappings(facts: &Facts) -> Vec<Finding> {
    if facts.is_public() || facts.ladder.view.source_v4.is_none() {
        return Vec::new();
    }
    if !facts.plan.rungs.contains(&Via::Mapped) {
        let says = "no router was asked for a mapping, as --reach does not allow it";
        let allowed: Vec<&str> = facts.plan.rungs.iter().map(|via| via.word()).collect();
        let evidence = format!("allowed: {}", allowed.join(", "));
        return vec![Finding::new(&kinds::MAPPING_NOT_ASKED, says).evidence(evidence)];
    }
    let Some(gateway) = facts.ladder.view.gateway_v4 else {
        let says = "no router was asked for a mapping: the default route names none";
        return vec![Finding::new(&kinds::MAPPING_NOT_ASKED, says).all_evidence(facts.interfaces())];
    };
    let mut findings = Vec::new();
    let next: Vec<&Rung> = facts
        .asked(Router::Next)
        .filter(|rung| grants(rung).is_some())
        .collect();
    let own: Vec<&Rung> = facts.asked(Router::Own).collect();
    // Where the next router has mapped the port, the ladder does not speak of the first one any more.
    if let Some((granted, (kind, protocol))) = own.iter().find_map(|rung| Some((rung, grants(rung)?))) {
        let says = match granted.outcome.endpoint() {
            Some(endpoint) => {
                format!("the router {gateway} maps ports on request, by {protocol}: {endpoint} leads here")
            }
            None => format!("the router {gateway} maps ports on request, by {protocol}"),
        };
        let finding = Finding::new(kind, says).evidence(answered(granted));
        findings.push(finding.all_evidence(refusals(&own)));
    } else if !own.is_empty() {
        let is_low = own.iter().any(|rung| is_low_port(rung));
        let (kind, says) = match own.iter().all(|rung| is_silence(rung) || is_low_port(rung)) {
            true if is_low => (
                &kinds::MAPPING_ABSENT,
                format!("does not map port {} on request", facts.ladder.port),
            ),
            true => (&kinds::MAPPING_ABSENT, "maps no ports on request".to_owned()),
            false => (
                &kinds::MAPPING_REFUSED,
                "was asked for a mapping and refuses".to_owned(),
            ),
        };
        findings
            .push(Finding::new(kind, format!("the router {gateway} {says}")).all_evidence(refusals(&own)));
    }
    for rung in next {
        if let (Some((kind, protocol)), Some(endpoint)) = (grants(rung), rung.outcome.endpoint()) {
            let says = format!(
                "the next router out maps ports on request, by {protocol}: {endpoint} leads to the first one"
            );
            findings.push(Finding::new(kind, says).evidence(answered(rung)));
        }
    }
    findings
}

/// Who answered, and how soon.
pub(super) fn answered(rung: &Rung) -> String {
    format!("{} answered in {} ms", rung.how, rung.took.as_millis())
}

/// Another NAT beyond the router: somebody else's, or one more at home.
pub(super) fn beyond(facts: &Facts) -> Vec<Finding> {
    let view = &facts.ladder.view;
    let Some(own) = view.source_v4.map(IpAddr::from).filter(|_| !facts.is_public()) else {
        return Vec::new();
    };
    let outside = facts
        .asked(Router::Own)
        .filter_map(refusal)
        .find_map(|reason| match reason {
            Reason::BehindAnother(ip) => Some((*ip, format!("the router's own outside address is {ip}"))),
            Reason::Differs { router, seen } => Some((
                *router,
                format!("the router says that its address is {router}, but the Internet sees {seen}"),
            )),
            _ => None,
        });
    let mut evidence: Vec<String> = outside.iter().map(|(_, line)| line.clone()).collect();
    if view.hops.len() > 1 {
        let hops: Vec<String> = view.hops.iter().map(ToString::to_string).collect();
        evidence.push(format!(
            "routers with private addresses on the way out: {}",
            hops.join(", ")
        ));
    }
    let is_carriers = Class::is_carriers(own)
        || outside.as_ref().is_some_and(|(ip, _)| Class::is_carriers(*ip))
        || view.hops.iter().any(|hop| Class::is_carriers(*hop));
    if Class::is_carriers(own) {
        evidence.push(format!("this machine's own address is {own}"));
    }
    let (kind, says) = match is_carriers {
        true => (
            &kinds::CARRIER_NAT,
            "a carrier's NAT (CGNAT) stands between the router and the Internet",
        ),
        false if evidence.is_empty() => return Vec::new(),
        false => (
            &kinds::DOUBLE_NAT,
            "two routers translate one after the other (double NAT)",
        ),
    };
    let severity = match facts.is_reached() {
        true => Severity::Note,
        false => Severity::Warning,
    };
    let is_private = |(ip, _): &(IpAddr, String)| !Class::of(*ip).is_public();
    let finding = Finding::new(kind, says).all_evidence(evidence).severity(severity);
    vec![
        match view.hops.len() > 1 || is_carriers || outside.as_ref().is_some_and(is_private) {
            true => finding,
            // Two public addresses that differ: a VPN looks the same.
            false => finding
                .likely()
                .evidence("a VPN on this machine or on the router would look the same"),
        },
    ]
}

/// By which protocol the router has mapped the port, whatever that is worth.
fn grants(rung: &Rung) -> Option<(&'static Kind, Protocol)> {
    let (_, protocol) = rung.asked?;
    if matches!(refusal(rung), Some(Reason::Router { .. })) {
        return None;
    }
    let kind = match protocol {
        Protocol::Pcp => &kinds::MAPPING_PCP,
        Protocol::NatPmp => &kinds::MAPPING_NAT_PMP,
        Protocol::Upnp => &kinds::MAPPING_UPNP,
    };
    Some((kind, protocol))
}

/// Whether the router does not know the protocol at all.
fn is_silence(rung: &Rung) -> bool {
    matches!(
        refusal(rung),
        Some(Reason::Router {
            why: Refusal::NoAnswer
                | Refusal::PortUnreachable
                | Refusal::VersionMismatch
                | Refusal::Unreachable(_)
                | Refusal::NoService,
            ..
        })
    )
}

/// Whether the protocol was not used, as the port is below 1024.
fn is_low_port(rung: &Rung) -> bool {
    let low = Refusal::LowPort;
    matches!(refusal(rung), Some(Reason::Router { why, .. }) if *why == low)
}

/// What the router said to each protocol that did not lead to a mapping.
fn refusals(rungs: &[&Rung]) -> Vec<String> {
    rungs
        .iter()
        .filter_map(|rung| match refusal(rung)? {
            reason @ Reason::Router { .. } => Some(format!("{}: {}", rung.how, said(reason))),
            _ => None,
        })
        .collect()
}
